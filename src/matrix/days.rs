//! Day statistics of every instrument on every venue, beside the quote matrix. The venue's feed thread
//! writes them, or the cluster's follower while another instance is connected to the venue; any thread reads.
//! Off the hot path.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::market::statistics::DayStatistics;
use crate::market::{InstrumentId, PairId};
use crate::time::UnixNs;

use super::seqlock::Seqlock;

/// The day statistics of every pair.
pub struct DayTable {
    cells: Box<[Seqlock<[AtomicU64; 7]>]>,
}

impl DayTable {
    /// A table of `pairs` cells, all unknown.
    #[must_use]
    pub fn new(pairs: usize) -> Self {
        Self { cells: (0..pairs).map(|_| Seqlock::default()).collect() }
    }

    /// Replaces the statistics of `pair`. While another thread does the same, the other's are taken: they are as good.
    pub fn store(&self, pair: PairId, day: &DayStatistics) {
        let values = [day.last, day.high, day.low, day.change, day.change_pct, day.quote_volume].map(f64::to_bits);
        let values = values.into_iter().chain([day.exchange_time.0]);
        self.cells[pair.index()]
            .try_write(|words| words.iter().zip(values).for_each(|(word, value)| word.store(value, Ordering::Relaxed)));
    }

    /// The statistics of `pair`; `None` before the first. `instrument` of the result is 0.
    #[must_use]
    pub fn load(&self, pair: PairId) -> Option<DayStatistics> {
        let cell = Some(&self.cells[pair.index()]).filter(|cell| cell.is_written())?;
        let [numbers @ .., exchange_time] = cell.read(|words| words.each_ref().map(|w| w.load(Ordering::Relaxed)));
        let [last, high, low, change, change_pct, quote_volume] = numbers.map(f64::from_bits);
        Some(DayStatistics {
            instrument: InstrumentId(0),
            last,
            high,
            low,
            change,
            change_pct,
            quote_volume,
            exchange_time: UnixNs(exchange_time),
        })
    }
}
