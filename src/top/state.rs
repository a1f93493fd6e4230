//! The state of the display: the last samples, the view, its order, the filter. `keys` changes it, `views`
//! shows it. Pure: time is a parameter.

use crate::time::MonoNs;
use crate::top::pages::{InstrumentEntry, Sample, StatusPage};

/// A view of the display.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DisplayView {
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

impl DisplayView {
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
    pub(crate) const fn orders(self) -> &'static [&'static str] {
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
pub struct Display {
    /// Address of the gateway.
    pub url: String,
    /// The last sample.
    pub sample: Option<Sample>,
    /// Status of the sample before, if it is from the same process.
    pub before: Option<StatusPage>,
    /// Why polling fails, and since when.
    pub gone: Option<(String, MonoNs)>,
    /// When the last sample arrived.
    pub seen: Option<MonoNs>,
    /// The selected view.
    pub view: DisplayView,
    /// Order of each view: index in [`DisplayView::orders`].
    pub(super) orders: [usize; DisplayView::ALL.len()],
    /// Whether the order is reversed.
    pub(crate) is_reversed: bool,
    /// Text that rows must contain, by view, ignoring letter case.
    pub(super) filters: [String; DisplayView::ALL.len()],
    /// Whether the filter is being edited.
    pub(crate) is_typing: bool,
    /// Whether the help is shown.
    pub(crate) is_helping: bool,
    /// First visible row.
    pub(crate) scroll: usize,
    /// Index of the selected instrument among those that pass the filter.
    pub(crate) selected: usize,
}

impl Display {
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
    pub fn instruments(&self) -> impl Iterator<Item = &InstrumentEntry> {
        let all = self.sample.as_ref().map_or(&[][..], |sample| &sample.instruments);
        all.iter().filter(|instrument| self.passes(&[&instrument.symbol]))
    }

    /// The selected instrument, whose prices are fetched.
    #[must_use]
    pub fn symbol(&self) -> Option<&str> {
        let last = self.instruments().count().checked_sub(1)?;
        self.instruments().nth(self.selected.min(last)).map(|instrument| &*instrument.symbol)
    }
}
