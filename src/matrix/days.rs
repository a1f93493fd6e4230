//! Day statistics of every instrument on every venue, beside the quote matrix. The venue's feed thread
//! writes them, or the cluster's follower while another instance is connected to the venue; anybody reads.
//! Off the hot path.

use std::sync::atomic::{AtomicU64, Ordering, fence};

use crate::market::statistics::DayStatistics;
use crate::market::{InstrumentId, PairId};
use crate::time::UnixNs;

#[derive(Default)]
struct Cell {
    version: AtomicU64,
    words: [AtomicU64; 7],
}

/// The day statistics of every pair.
pub struct DayTable {
    cells: Box<[Cell]>,
}

impl DayTable {
    /// A table of `pairs` cells, all unknown.
    #[must_use]
    pub fn new(pairs: usize) -> Self {
        Self { cells: (0..pairs).map(|_| Cell::default()).collect() }
    }

    /// Replaces the statistics of `pair`. While another thread does the same, that one's are taken: they are
    /// as good.
    pub fn store(&self, pair: PairId, day: &DayStatistics) {
        let cell = &self.cells[pair.index()];
        let words = [day.last, day.high, day.low, day.change, day.change_pct, day.quote_volume].map(f64::to_bits);
        let version = cell.version.load(Ordering::Relaxed);
        let claimed = cell.version.compare_exchange(version & !1, version | 1, Ordering::Acquire, Ordering::Relaxed);
        if claimed.is_err() {
            return;
        }
        fence(Ordering::Release);
        for (slot, word) in cell.words.iter().zip(words.into_iter().chain([day.exchange_time.0])) {
            slot.store(word, Ordering::Relaxed);
        }
        cell.version.store((version | 1) + 1, Ordering::Release);
    }

    /// The statistics of `pair`; `None` before the first. `instrument` of the result is 0.
    #[must_use]
    pub fn load(&self, pair: PairId) -> Option<DayStatistics> {
        let cell = &self.cells[pair.index()];
        loop {
            let before = cell.version.load(Ordering::Acquire);
            if before == 0 {
                return None;
            }
            let words = cell.words.each_ref().map(|w| w.load(Ordering::Relaxed));
            fence(Ordering::Acquire);
            if before.is_multiple_of(2) && cell.version.load(Ordering::Relaxed) == before {
                let [last, high, low, change, change_pct, quote_volume] =
                    [words[0], words[1], words[2], words[3], words[4], words[5]].map(f64::from_bits);
                return Some(DayStatistics {
                    instrument: InstrumentId(0),
                    last,
                    high,
                    low,
                    change,
                    change_pct,
                    quote_volume,
                    exchange_time: UnixNs(words[6]),
                });
            }
            std::hint::spin_loop();
        }
    }
}
