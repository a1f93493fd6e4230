//! The state of the display: the last samples, the view, its order, the filter. Keys and samples in, tables out
//! (`views`). Pure: time is a parameter.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use crate::time::MonoNs;
use crate::top::pages::{Instrument, Sample, Status};
use crate::top::views;

/// A view of the display.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum View {
    /// Venues, open opportunities, latency.
    #[default]
    Overview,
    /// Open and closed opportunities.
    Opportunities,
    /// One instrument on all exchanges.
    Prices,
    /// Percentiles of each hop.
    Latency,
    /// Connections and losses.
    Venues,
    /// Clients, limits, cluster.
    Clients,
}

impl View {
    /// All views, in the order of their keys.
    pub const ALL: [Self; 6] =
        [Self::Overview, Self::Opportunities, Self::Prices, Self::Latency, Self::Venues, Self::Clients];

    /// Its name.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Overview => "overview",
            Self::Opportunities => "opportunities",
            Self::Prices => "prices",
            Self::Latency => "latency",
            Self::Venues => "venues",
            Self::Clients => "clients",
        }
    }

    /// The orders of its rows; the first is the default.
    #[must_use]
    pub const fn orders(self) -> &'static [&'static str] {
        match self {
            Self::Overview | Self::Opportunities => &["net", "gross", "lived", "symbol"],
            Self::Prices => &["exchange", "bid", "ask", "age"],
            Self::Latency => &["way", "p99", "count"],
            Self::Venues => &["exchange", "quotes/s", "heard", "reconnects", "lost"],
            Self::Clients => &["name"],
        }
    }
}

/// What the program must do after a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Draw again.
    Draw,
    /// Leave.
    Quit,
}

/// State of the display, see the module.
#[derive(Default)]
pub struct State {
    /// Address of the gateway.
    pub url: String,
    /// The last sample.
    pub sample: Option<Sample>,
    /// Status of the sample before, if it is from the same process.
    pub before: Option<Status>,
    /// Why polling fails, and since when.
    pub gone: Option<(String, MonoNs)>,
    /// When the last sample arrived.
    pub seen: Option<MonoNs>,
    /// The selected view.
    pub view: View,
    /// Order of each view: index in [`View::orders`].
    orders: [usize; View::ALL.len()],
    /// Whether the order is reversed.
    pub is_reversed: bool,
    /// Text that rows must contain, by view, ignoring letter case.
    filters: [String; View::ALL.len()],
    /// Whether the filter is being edited.
    pub is_typing: bool,
    /// Whether the help is shown.
    pub is_helping: bool,
    /// First visible row.
    pub scroll: usize,
    /// Index of the selected instrument among those that pass the filter.
    pub selected: usize,
}

impl State {
    /// The state before the first sample.
    #[must_use]
    pub fn new(url: &str) -> Self {
        Self { url: url.to_owned(), ..Self::default() }
    }

    /// Stores a sample, or the reason why there is none.
    pub fn take(&mut self, sample: Result<Sample, String>, now: MonoNs) {
        match sample {
            Ok(sample) => {
                let is_same = |before: &Sample| before.status.process.instance == sample.status.process.instance;
                self.before = self.sample.take().filter(is_same).map(|before| before.status);
                self.sample = Some(sample);
                (self.gone, self.seen) = (None, Some(now));
            }
            Err(why) => {
                let since = self.gone.as_ref().map_or(now, |(_, since)| *since);
                self.gone = Some((why, since));
            }
        }
    }

    /// The order of the rows in the view.
    #[must_use]
    pub fn order(&self) -> &'static str {
        self.view.orders()[self.orders[self.view as usize]]
    }

    /// The filter of the view; empty if all rows are shown.
    #[must_use]
    pub fn filter(&self) -> &str {
        &self.filters[self.view as usize]
    }

    /// Whether a row with these texts passes the filter.
    #[must_use]
    pub fn passes(&self, texts: &[&str]) -> bool {
        let filter = self.filter().to_lowercase();
        filter.is_empty() || texts.iter().any(|text| text.to_lowercase().contains(&filter))
    }

    /// Instruments that pass the filter.
    pub fn instruments(&self) -> impl Iterator<Item = &Instrument> {
        let all = self.sample.as_ref().map_or(&[][..], |sample| &sample.instruments);
        all.iter().filter(|instrument| self.passes(&[&instrument.symbol]))
    }

    /// The selected instrument, whose prices are fetched.
    #[must_use]
    pub fn symbol(&self) -> Option<&str> {
        let last = self.instruments().count().checked_sub(1)?;
        self.instruments().nth(self.selected.min(last)).map(|instrument| &*instrument.symbol)
    }

    /// Handles a key.
    pub fn press(&mut self, key: KeyEvent) -> Option<Act> {
        if key.kind == KeyEventKind::Release {
            return None;
        }
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return matches!(key.code, KeyCode::Char('c' | 'd')).then_some(Act::Quit);
        }
        if self.is_typing {
            self.type_filter(key.code);
        } else if key.code == KeyCode::Char('q') {
            return Some(Act::Quit);
        } else {
            self.command(key.code)?;
        }
        Some(Act::Draw)
    }

    fn type_filter(&mut self, code: KeyCode) {
        let filter = &mut self.filters[self.view as usize];
        match code {
            KeyCode::Enter => self.is_typing = false,
            KeyCode::Esc => {
                self.is_typing = false;
                filter.clear();
            }
            KeyCode::Backspace => drop(filter.pop()),
            KeyCode::Char(c) if filter.len() < FILTER_MAX && !crate::log::is_unruly(c) => filter.push(c),
            _ => {}
        }
        (self.scroll, self.selected) = (0, 0);
    }

    /// Returns `None` for a key without a function.
    fn command(&mut self, code: KeyCode) -> Option<()> {
        let at = self.view as usize;
        let count = View::ALL.len();
        match code {
            KeyCode::Char(digit @ '1'..='6') => self.turn_to(digit as usize - '1' as usize),
            KeyCode::Tab | KeyCode::Right | KeyCode::Char('l') => self.turn_to((at + 1) % count),
            KeyCode::BackTab | KeyCode::Left | KeyCode::Char('h') => self.turn_to((at + count - 1) % count),
            KeyCode::Char('s') => self.orders[at] = (self.orders[at] + 1) % self.view.orders().len(),
            KeyCode::Char('r') => self.is_reversed = !self.is_reversed,
            KeyCode::Char('/') => self.is_typing = true,
            KeyCode::Esc if self.is_helping => self.is_helping = false,
            KeyCode::Esc => {
                self.filters[at].clear();
                (self.scroll, self.selected) = (0, 0);
            }
            KeyCode::Char('?') => self.is_helping = !self.is_helping,
            KeyCode::Down | KeyCode::Char('j') => self.step(1),
            KeyCode::Up | KeyCode::Char('k') => self.step(-1),
            KeyCode::PageDown | KeyCode::Char(' ') => self.step(PAGE),
            KeyCode::PageUp => self.step(-PAGE),
            KeyCode::Home | KeyCode::Char('g') => self.step(isize::MIN),
            KeyCode::End | KeyCode::Char('G') => self.step(isize::MAX),
            _ => return None,
        }
        Some(())
    }

    fn turn_to(&mut self, at: usize) {
        (self.view, self.scroll, self.is_helping) = (View::ALL[at], 0, false);
    }

    /// Moves the selection if the view has one, otherwise scrolls.
    fn step(&mut self, by: isize) {
        if self.view == View::Prices {
            let last = self.instruments().count().saturating_sub(1);
            self.selected = self.selected.saturating_add_signed(by).min(last);
        } else {
            let last = views::body(self, LINE_MAX).len().saturating_sub(1);
            self.scroll = self.scroll.saturating_add_signed(by).min(last);
        }
    }
}

/// Longest filter in bytes.
const FILTER_MAX: usize = 40;
/// Rows per page key.
const PAGE: isize = 10;
/// A width that no line exceeds, used to count lines.
const LINE_MAX: usize = 1000;
