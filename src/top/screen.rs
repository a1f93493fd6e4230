//! Draws the terminal: banner, tabs, the view, keys. Uses sixteen colours or none. Pure except for the frame that it
//! draws on.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line as Row, Span};
use ratatui::widgets::{Clear, Paragraph};

use crate::time::MonoNs;
use crate::top::state::{Display, DisplayView};
use crate::top::table::{Cell, TableLine, Tone, cell, cut};
use crate::top::views;

/// Draws `state` as it is at `now`.
pub(crate) fn draw(frame: &mut Frame<'_>, state: &Display, now: MonoNs, colours: bool) {
    let most = usize::from(frame.area().width);
    let banner = views::banner(state, now, most);
    let heights =
        [Constraint::Length(banner.len() as u16), Constraint::Length(1), Constraint::Min(0), Constraint::Length(1)];
    let [top, tabs, body, foot] = Layout::vertical(heights).areas(frame.area());
    put(frame, top, &banner, colours);
    put(frame, tabs, &[tab_line(state, most)], colours);
    if state.is_helping {
        frame.render_widget(Clear, body);
        put(frame, body, &HELP.map(|line| vec![cell(cut(line, most), Tone::Plain)]), colours);
    } else {
        let lines = views::body(state, most);
        let from = first_line(state, &lines, usize::from(body.height));
        put(frame, body, &lines[from..], colours);
    }
    put(frame, foot, &[foot_line(state, most)], colours);
}

/// First visible line of the body: the scroll position, or the position that shows the selection.
fn first_line(state: &Display, lines: &[TableLine], height: usize) -> usize {
    let most = lines.len().saturating_sub(height);
    if state.view != DisplayView::Prices {
        return state.scroll.min(most);
    }
    let selected = lines.iter().position(|line| line.first().is_some_and(|cell| cell.text.starts_with('>')));
    selected.map_or(0, |at| (at + 1).saturating_sub(height)).min(most)
}

fn tab_line(state: &Display, most: usize) -> TableLine {
    let mut line = Vec::new();
    let mut room = most;
    for (at, view) in DisplayView::ALL.into_iter().enumerate() {
        // The names need room; the numbers are the keys.
        let text = if most >= 72 { format!(" {} {} ", at + 1, view.word()) } else { format!(" {} ", at + 1) };
        let text = cut(&text, room);
        room = room.saturating_sub(text.len());
        line.push(cell(text, if view == state.view { Tone::Best } else { Tone::Dim }));
    }
    if most < 72 {
        line.push(cell(cut(&format!(" {}", state.view.word()), room), Tone::Head));
    }
    line
}

fn foot_line(state: &Display, most: usize) -> TableLine {
    let text = if state.is_typing {
        return vec![cell(cut(&format!("filter: {}_   Enter keeps, Esc clears", state.filter()), most), Tone::Head)];
    } else if state.filter().is_empty() {
        "q quit  1-6 Tab view  s sort  r reverse  / filter  arrows move  ? keys".to_owned()
    } else {
        format!("filter: {}   Esc clears   / changes   q quit   ? keys", state.filter())
    };
    vec![cell(cut(&text, most), Tone::Dim)]
}

const HELP: [&str; 11] = [
    "Keys",
    "  1 to 6, Tab, left, right   another view",
    "  s                          another order",
    "  r                          the order reversed",
    "  /                          filter rows by a text; Enter keeps it, Esc clears it",
    "  up, down, PgUp, PgDn       move; in prices: another instrument",
    "  Home, End                  first, last row",
    "  ?                          these keys, and back",
    "  q, Ctrl-C                  leave",
    "",
    "The gateway is polled once a second, even while it is unreachable.",
];

fn put(frame: &mut Frame<'_>, area: Rect, lines: &[TableLine], colours: bool) {
    let span = |cell: &Cell| Span::styled(cell.text.clone(), style(cell.tone, colours));
    let rows = lines.iter().take(usize::from(area.height)).map(|line| Row::from_iter(line.iter().map(span)));
    frame.render_widget(Paragraph::new(rows.collect::<Vec<_>>()), area);
}

/// The style of a tone. Uses only the sixteen standard colours, in the shades that the terminal defines.
const fn style(tone: Tone, colours: bool) -> Style {
    let plain = Style::new();
    if !colours {
        return match tone {
            Tone::Plain | Tone::Good => plain,
            Tone::Head | Tone::Warn => plain.add_modifier(Modifier::BOLD),
            Tone::Bad | Tone::Best => plain.add_modifier(Modifier::REVERSED),
            Tone::Dim => plain.add_modifier(Modifier::DIM),
        };
    }
    match tone {
        Tone::Plain => plain,
        Tone::Head => plain.add_modifier(Modifier::BOLD),
        Tone::Good => plain.fg(Color::Green),
        Tone::Warn => plain.fg(Color::Yellow).add_modifier(Modifier::BOLD),
        Tone::Bad => plain.fg(Color::Red).add_modifier(Modifier::BOLD),
        Tone::Dim => plain.add_modifier(Modifier::DIM),
        Tone::Best => plain.fg(Color::Green).add_modifier(Modifier::BOLD).add_modifier(Modifier::REVERSED),
    }
}
