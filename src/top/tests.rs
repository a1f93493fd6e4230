use std::collections::BTreeMap;

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::style::{Color, Modifier};
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::pages::{Instruments, Sample, Text};
use super::state::{Act, Display, DisplayView};
use super::{screen, table, views};
use crate::time::{MonoNs, SECOND};

/// Pages of an invented gateway: one healthy venue, one lost with a hostile error text, one led by another instance.
fn sample() -> Sample {
    let path = format!("{}/tests/fixtures/top/sample.json", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).unwrap();
    let pages: BTreeMap<&str, &RawValue> = serde_json::from_str(&text).unwrap();
    fn page<T: DeserializeOwned>(page: &RawValue) -> T {
        serde_json::from_str(page.get()).unwrap()
    }
    Sample {
        status: page(pages["status"]),
        opportunities: page(pages["opportunities"]),
        refusals: page(pages["refusals"]),
        latency: page(pages["latency"]),
        instruments: page::<Instruments>(pages["instruments"]).instruments,
        prices: Some(page(pages["prices"])),
    }
}

const NOW: MonoNs = MonoNs(100 * SECOND);

/// State after two samples, two seconds apart.
fn state() -> Display {
    let mut state = Display::new("http://127.0.0.1:3000");
    let mut before = sample();
    before.status.timestamp -= 2000;
    before.status.venues[0].received.quotes -= 3000;
    before.status.gateway.0.iter_mut().filter(|(name, _)| &**name == "prices").for_each(|(_, n)| *n -= 500);
    state.take(Ok(before), MonoNs(NOW.0 - 2 * SECOND));
    state.take(Ok(sample()), NOW);
    state
}

fn press(state: &mut Display, keys: &str) {
    for key in keys.chars() {
        let code = match key {
            '\n' => KeyCode::Enter,
            '\x1b' => KeyCode::Esc,
            '\t' => KeyCode::Tab,
            'v' => KeyCode::Down,
            '^' => KeyCode::Up,
            other => KeyCode::Char(other),
        };
        state.press(KeyEvent::new(code, KeyModifiers::NONE));
    }
}

fn drawn(state: &Display, now: MonoNs, (width, height): (u16, u16), colours: bool) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| screen::draw(frame, state, now, colours)).unwrap();
    terminal.backend().buffer().clone()
}

fn text(buffer: &Buffer) -> String {
    let rows = buffer.content.chunks(usize::from(buffer.area.width));
    let lines = rows.map(|row| row.iter().map(|cell| cell.symbol()).collect::<String>().trim_end().to_owned());
    lines.collect::<Vec<_>>().join("\n") + "\n"
}

/// Compares with the golden picture `name`; `UPDATE_GOLDEN=1` rewrites it.
fn golden(name: &str, picture: &str) {
    let path = format!("{}/tests/fixtures/top/{name}.txt", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, picture).unwrap();
    }
    assert_eq!(picture, std::fs::read_to_string(&path).unwrap(), "{name}");
}

#[test]
fn each_view_is_a_picture() {
    let mut state = state();
    for (at, view) in DisplayView::ALL.into_iter().enumerate() {
        press(&mut state, &(at + 1).to_string());
        assert_eq!(state.view, view);
        golden(view.word(), &text(&drawn(&state, NOW, (120, 36), true)));
    }
}

#[test]
fn a_narrow_terminal_shows_what_matters_most() {
    let mut state = state();
    golden("overview_narrow", &text(&drawn(&state, NOW, (40, 24), true)));
    press(&mut state, "3");
    golden("prices_narrow", &text(&drawn(&state, NOW, (32, 12), true)));
    for size in [(1, 1), (2, 30), (200, 2), (7, 3), (20, 5)] {
        for key in "123456?".chars() {
            press(&mut state, &key.to_string());
            drawn(&state, NOW, size, true);
        }
    }
}

#[test]
fn once_is_the_same_as_text() {
    golden("once", &views::text(&state(), NOW));
}

#[test]
fn hostile_texts_are_tamed_on_every_surface() {
    let mut state = state();
    let mut seen = views::text(&state, NOW);
    for at in 1..=6 {
        press(&mut state, &at.to_string());
        seen += &text(&drawn(&state, NOW, (200, 50), true));
    }
    assert!(seen.contains("SHIB  <b>/USDT") && seen.contains("[2J gnihton"), "{seen}");
    assert_eq!(seen.chars().find(|c| crate::log::is_unruly(*c) && *c != '\n'), None);
}

#[test]
fn a_venue_whose_quotes_are_late_has_a_column_that_says_how_late() {
    let mut it = state();
    let line = |it: &Display, first: &str| {
        let text = views::text(it, NOW);
        text.lines()
            .find(|line| line.trim_start().starts_with(first))
            .unwrap_or_else(|| panic!("{first} in {text}"))
            .to_owned()
    };
    assert!(!line(&it, "exchange").contains(" late "), "only in trouble");
    let mut late = sample();
    late.status.venues[0].quote_lag_ms = Some(30_040.0);
    let name = late.status.venues[0].exchange.to_string();
    it.take(Ok(late), NOW);
    assert!(line(&it, "exchange").contains(" late ") && line(&it, &name).contains(" 30.0s "), "{}", line(&it, &name));
}

#[test]
fn keys_order_filter_and_select() {
    let mut state = state();
    let rows = |state: &Display| -> Vec<String> {
        let lines =
            views::body(state, 100).into_iter().map(|line| line.into_iter().map(|c| c.text).collect::<String>());
        lines.filter(|line| line.contains("/USDT")).collect()
    };
    press(&mut state, "2");
    assert!(rows(&state)[0].starts_with("SHIB"), "by net");
    press(&mut state, "s");
    assert_eq!(state.order(), "gross");
    assert!(rows(&state)[0].starts_with("BTC"));
    press(&mut state, "sr");
    assert_eq!(state.order(), "lived");
    assert!(rows(&state)[0].starts_with("BTC"), "the shortest first");
    // `q` is a letter while a filter is edited.
    press(&mut state, "/ethq");
    assert!(rows(&state).is_empty());
    state.press(KeyEvent::new(KeyCode::Backspace, KeyModifiers::NONE));
    press(&mut state, "\n");
    assert_eq!(rows(&state).len(), 2, "closed, and refused");
    assert!(rows(&state)[0].starts_with("ETH"));
    press(&mut state, "\x1b");
    assert_eq!(rows(&state).len(), 5);
    press(&mut state, "3");
    assert_eq!(state.symbol(), Some("BTC/USDT"));
    press(&mut state, "v");
    assert_eq!(state.symbol(), Some("ETH/USDT"));
    press(&mut state, "vvvv^");
    assert_eq!(state.symbol(), Some("ETH/USDT"));
    press(&mut state, "/shib");
    assert_eq!(state.symbol(), Some("SHIB  <b>/USDT"));
    press(&mut state, "/x\n");
    assert_eq!(state.symbol(), None);
    press(&mut state, "\x1b\t");
    assert_eq!(state.view, DisplayView::Latency);
    assert_eq!(state.press(KeyEvent::new(KeyCode::Char('q'), KeyModifiers::NONE)), Some(Act::Quit));
    assert_eq!(state.press(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL)), Some(Act::Quit));
    assert_eq!(state.press(KeyEvent::new(KeyCode::F(5), KeyModifiers::NONE)), None);
}

#[test]
fn a_gateway_that_is_gone_is_told_and_its_return_as_well() {
    let mut state = state();
    let first_lines = |state: &Display, now| text(&drawn(state, now, (90, 6), true));
    for second in 1..=5 {
        state.take(Err("http://127.0.0.1:3000/api/status: Connection refused".into()), NOW.plus(second * SECOND));
    }
    let told = first_lines(&state, NOW.plus(9 * SECOND));
    assert!(told.contains("GONE for 8.0s, last seen 9.0s ago: http://127.0.0.1:3000/api/status: Conn"), "{told}");
    let mut other = sample();
    other.status.process.instance = Text("desk_2".into());
    state.take(Ok(other), NOW.plus(10 * SECOND));
    assert!(!first_lines(&state, NOW.plus(10 * SECOND)).contains("GONE"));
    // Counts of another process are not comparable.
    assert!(state.before.is_none());
    let mut never = Display::new("http://desk:3000");
    never.take(Err("no answer".into()), NOW);
    assert!(first_lines(&never, NOW.plus(SECOND)).contains("not seen yet"));
}

#[test]
fn the_time_of_the_next_attempt_is_shown_while_one_is_waited_for() {
    let mut state = state();
    let shown = |state: &Display| text(&drawn(state, NOW, (120, 30), true));
    assert!(!shown(&state).contains("next try"));
    let mut waits = sample();
    waits.status.venues[1].connection.next_attempt_ms = Some(12_300);
    state.take(Ok(waits), NOW.plus(SECOND));
    for keys in ["", "5"] {
        press(&mut state, keys);
        let picture = shown(&state);
        assert!(picture.contains("next try") && picture.contains("in 12.3s"), "{picture}");
    }
    assert!(views::text(&state, NOW).contains("in 12.3s"));
}

#[test]
fn without_colours_there_are_none_and_with_them_only_sixteen() {
    let mut state = state();
    for at in 1..=6 {
        press(&mut state, &at.to_string());
        let plain = drawn(&state, NOW, (120, 36), false);
        assert!(plain.content.iter().all(|cell| cell.fg == Color::Reset && cell.bg == Color::Reset));
        let coloured = drawn(&state, NOW, (120, 36), true);
        let is_ansi = |colour| matches!(colour, Color::Reset | Color::Green | Color::Yellow | Color::Red);
        assert!(coloured.content.iter().all(|cell| is_ansi(cell.fg) && is_ansi(cell.bg)));
        assert_eq!(text(&plain), text(&coloured));
        // Problems are visible without colours, too.
        assert!(plain.content.iter().any(|cell| cell.modifier.contains(Modifier::REVERSED)));
    }
}

#[test]
fn pages_of_another_version_are_read_as_far_as_they_are_known() {
    let mut state = Display::new("http://a");
    let status = r#"{"process":{"version":"9","new":1},"venues":[{"exchange":"x","lagMs":null}],"gateway":{"a":1,"b":"text","c":-1}}"#;
    let sample = Sample { status: serde_json::from_str(status).unwrap(), ..Sample::default() };
    state.take(Ok(sample), NOW);
    for at in 1..=6 {
        press(&mut state, &at.to_string());
        drawn(&state, NOW, (80, 24), true);
    }
    let text = views::text(&state, NOW);
    assert!(text.starts_with("spreadwire 9") && text.contains("  x "), "{text}");
    assert!(text.lines().all(|line| table::width(line) < 200));
}
