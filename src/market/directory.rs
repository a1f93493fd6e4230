//! Names and ids of the venues and instruments of this process. Built once from the configuration,
//! then shared; other machines are told names, never ids.

use crate::market::Decimal;

/// Index of a configured venue in the [`Directory`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VenueId(pub u16);

/// Index of an instrument in the [`Directory`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstrumentId(pub u32);

/// Index of a (instrument, venue) cell: `instrument * venues + venue`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PairId(pub u32);

impl VenueId {
    /// As an index.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl InstrumentId {
    /// As an index.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl PairId {
    /// As an index.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// One configured venue.
#[derive(Clone, Debug)]
pub struct VenueEntry {
    /// Lower-case id that clients use, such as `binance`.
    pub name: String,
    /// Taker fee in percent of the notional, such as 0.1.
    pub taker_fee_pct: Decimal,
    /// Native symbol per instrument of the directory; `None` where the venue does not quote it.
    pub native: Vec<Option<String>>,
}

/// Who is who in this process.
#[derive(Clone, Debug, Default)]
pub struct Directory {
    venues: Vec<VenueEntry>,
    instruments: Vec<String>,
}

impl Directory {
    /// A directory of `instruments` (each `BASE/QUOTE`) and `venues`. Every venue's `native` is as
    /// long as `instruments`.
    ///
    /// # Panics
    /// When a `native` table has another length: our own mistake.
    #[must_use]
    pub fn new(instruments: Vec<String>, venues: Vec<VenueEntry>) -> Self {
        assert!(venues.iter().all(|v| v.native.len() == instruments.len()));
        Self { venues, instruments }
    }

    /// All venues in id order.
    #[must_use]
    pub fn venues(&self) -> &[VenueEntry] {
        &self.venues
    }

    /// All instruments (`BASE/QUOTE`) in id order.
    #[must_use]
    pub fn instruments(&self) -> &[String] {
        &self.instruments
    }

    /// The entry of `id`.
    #[must_use]
    pub fn venue(&self, id: VenueId) -> &VenueEntry {
        &self.venues[id.index()]
    }

    /// `BASE/QUOTE` of `id`.
    #[must_use]
    pub fn symbol(&self, id: InstrumentId) -> &str {
        &self.instruments[id.index()]
    }

    /// The venue named `name`, letter case ignored.
    #[must_use]
    pub fn venue_named(&self, name: &str) -> Option<VenueId> {
        self.venues.iter().position(|v| v.name.eq_ignore_ascii_case(name)).map(|at| VenueId(at as u16))
    }

    /// The instrument named `symbol` (`BASE/QUOTE`), letter case ignored.
    #[must_use]
    pub fn instrument_named(&self, symbol: &str) -> Option<InstrumentId> {
        self.instruments.iter().position(|s| s.eq_ignore_ascii_case(symbol)).map(|at| InstrumentId(at as u32))
    }

    /// The cell of `instrument` on `venue`.
    #[inline]
    #[must_use]
    pub fn pair(&self, instrument: InstrumentId, venue: VenueId) -> PairId {
        PairId(instrument.0 * self.venues.len() as u32 + u32::from(venue.0))
    }

    /// The instrument and venue of a cell.
    #[must_use]
    pub fn split(&self, pair: PairId) -> (InstrumentId, VenueId) {
        let width = self.venues.len() as u32;
        (InstrumentId(pair.0 / width), VenueId((pair.0 % width) as u16))
    }

    /// How many cells there are: instruments × venues.
    #[must_use]
    pub fn pairs(&self) -> usize {
        self.instruments.len() * self.venues.len()
    }

    /// Whether `venue` is configured to quote `instrument`.
    #[must_use]
    pub fn is_quoted(&self, instrument: InstrumentId, venue: VenueId) -> bool {
        self.venue(venue).native[instrument.index()].is_some()
    }
}
