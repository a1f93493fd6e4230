//! Day statistics of one instrument on one venue, from its ticker channel. Display figures beside
//! the top of book: floats, off the hot path, never an input of detection.

use crate::market::InstrumentId;
use crate::time::UnixNs;

/// The rolling 24 hours of one instrument on one venue.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct DayStatistics {
    /// What it is about.
    pub instrument: InstrumentId,
    /// Last traded price.
    pub last: f64,
    /// Highest price of the last 24 hours.
    pub high: f64,
    /// Lowest price of the last 24 hours.
    pub low: f64,
    /// `last` minus the price of 24 hours ago.
    pub change: f64,
    /// The same in percent of the price of 24 hours ago.
    pub change_pct: f64,
    /// Volume of the last 24 hours in quote currency; where the venue gives only base volume, that
    /// times its average (else last) price.
    pub quote_volume: f64,
    /// The venue's stamp; 0 where it sends none.
    pub exchange_time: UnixNs,
}
