//! Latency by hop and venue. Each thread owns a [`Recorder`] and adds it to the shared board at an interval, between
//! turns. Recording itself does not touch shared data.

use std::sync::Mutex;

use hdrhistogram::Histogram;

use crate::time::{MonoNs, SECOND};

/// A hop on the path of a quote. Each latency starts where the previous one ends, except for the last three, which
/// start at the socket read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Hop {
    /// Socket read to decoded.
    Decode = 0,
    /// Decoded to stored in the matrix: the ring, and the detector's queue.
    Merge = 1,
    /// Stored in the matrix to row scanned.
    Detect = 2,
    /// Socket read to a price written to a client that receives every change.
    WireToPrice = 3,
    /// Socket read of the later leg to the alert written to a client.
    WireToAlert = 4,
    /// Socket read to a published order book.
    WireToBook = 5,
}

impl Hop {
    /// All hops in order.
    pub const ALL: [Self; 6] =
        [Self::Decode, Self::Merge, Self::Detect, Self::WireToPrice, Self::WireToAlert, Self::WireToBook];

    /// Its name in metrics and in `/api/latency`.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Decode => "decode",
            Self::Merge => "merge",
            Self::Detect => "detect",
            Self::WireToPrice => "wire_to_price",
            Self::WireToAlert => "wire_to_alert",
            Self::WireToBook => "wire_to_book",
        }
    }
}

/// Longer latencies are recorded as this: one minute.
const LONGEST_NS: u64 = 60 * SECOND;
/// Interval at which recorders publish, in nanoseconds.
pub(super) const PUBLISH_EVERY_NS: u64 = SECOND / 2;

pub(super) fn histogram() -> Histogram<u64> {
    // These bounds are within the limits of the crate.
    Histogram::new_with_bounds(1, LONGEST_NS, 2).expect("constant histogram bounds are valid")
}

/// The merged histograms of all threads, per hop and venue.
#[derive(Debug)]
pub struct LatencyBoard {
    venues: usize,
    /// `None`: nothing has been recorded yet.
    slots: Vec<Mutex<Option<Histogram<u64>>>>,
}

/// A summary of one histogram, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Number of values.
    pub count: u64,
    /// Median.
    pub p50: u64,
    /// 90th percentile.
    pub(crate) p90: u64,
    /// 99th percentile.
    pub p99: u64,
    /// 99.9th percentile.
    pub(crate) p999: u64,
    /// Largest value.
    pub max: u64,
    /// Sum of all values, computed from the middles of the buckets.
    pub sum: u64,
}

impl LatencyBoard {
    /// A board for `venues` venues.
    #[must_use]
    pub fn new(venues: usize) -> Self {
        Self { venues, slots: (0..venues * Hop::ALL.len()).map(|_| Mutex::default()).collect() }
    }

    /// Summary of `hop` for the venue with index `venue`, since the start.
    #[must_use]
    pub fn summary(&self, hop: Hop, venue: usize) -> Summary {
        let slot = self.slots[hop as usize * self.venues + venue].lock();
        slot.ok().and_then(|histogram| histogram.as_ref().map(summary_of)).unwrap_or_default()
    }

    /// Summary of `hop` over all venues, since the start.
    #[must_use]
    pub fn summary_of_all(&self, hop: Hop) -> Summary {
        let mut all = histogram();
        for slot in &self.slots[hop as usize * self.venues..][..self.venues] {
            if let Ok(slot) = slot.lock()
                && let Some(histogram) = &*slot
            {
                // All have the same bounds, so adding cannot fail.
                let _ = all.add(histogram);
            }
        }
        summary_of(&all)
    }
}

pub(super) fn summary_of(histogram: &Histogram<u64>) -> Summary {
    Summary {
        count: histogram.len(),
        p50: histogram.value_at_quantile(0.5),
        p90: histogram.value_at_quantile(0.9),
        p99: histogram.value_at_quantile(0.99),
        p999: histogram.value_at_quantile(0.999),
        max: histogram.max(),
        sum: (histogram.mean() * histogram.len() as f64) as u64,
    }
}

/// One thread's histograms.
pub(crate) struct Recorder {
    venues: usize,
    /// The hops that this thread measures.
    hops: Vec<Hop>,
    slots: Vec<Option<Histogram<u64>>>,
    published: MonoNs,
}

impl Recorder {
    /// A recorder for the hops that this thread measures (others are ignored) and for `venues` venues. Allocates memory
    /// for the first `now` venues; memory for another venue is allocated with its first value.
    #[must_use]
    pub fn new(venues: usize, now: usize, hops: &[Hop]) -> Self {
        let slot = |hop: &Hop, at: usize| (hops.contains(hop) && at < now).then(histogram);
        let slots = Hop::ALL.iter().flat_map(|hop| (0..venues).map(move |at| slot(hop, at))).collect();
        Self { venues, hops: hops.to_vec(), slots, published: MonoNs(0) }
    }

    /// Records the time from `from` to `to`.
    #[inline]
    pub fn record(&mut self, hop: Hop, venue: usize, from: MonoNs, to: MonoNs) {
        let ns = to.since(from).max(1);
        match self.slots.get_mut(hop as usize * self.venues + venue) {
            Some(Some(histogram)) => histogram.saturating_record(ns),
            Some(_) => self.begin(hop, venue, ns),
            None => {}
        }
    }

    /// Records the first value of a venue that was added after the start.
    #[cold]
    fn begin(&mut self, hop: Hop, venue: usize, ns: u64) {
        if self.hops.contains(&hop) {
            let mut first = histogram();
            first.saturating_record(ns);
            self.slots[hop as usize * self.venues + venue] = Some(first);
        }
    }

    /// Adds the recorded values to `board` if the interval has passed. Called between turns. A histogram that is being
    /// read is published at the next interval.
    pub fn publish(&mut self, board: &LatencyBoard, now: MonoNs) {
        if now.since(self.published) < PUBLISH_EVERY_NS {
            return;
        }
        self.published = now;
        for (mine, shared) in self.slots.iter_mut().zip(&board.slots) {
            let Some(mine) = mine.as_mut().filter(|h| !h.is_empty()) else { continue };
            if let Ok(mut shared) = shared.try_lock() {
                let _ = shared.get_or_insert_with(histogram).add(&*mine);
                mine.reset();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_thread_records_is_on_the_board_after_publishing() {
        let board = LatencyBoard::new(2);
        let mut recorder = Recorder::new(2, 1, &[Hop::Decode]);
        for ns in 1..=1000 {
            recorder.record(Hop::Decode, 1, MonoNs(0), MonoNs(ns * 1000));
            recorder.record(Hop::Merge, 1, MonoNs(0), MonoNs(5));
        }
        recorder.publish(&board, MonoNs(SECOND));
        let summary = board.summary(Hop::Decode, 1);
        assert_eq!(summary.count, 1000);
        assert!((495_000..=510_000).contains(&summary.p50), "{summary:?}");
        assert_eq!(board.summary(Hop::Decode, 0).count, 0);
        assert_eq!(board.summary_of_all(Hop::Decode).count, 1000);
        assert_eq!(board.summary_of_all(Hop::Merge).count, 0, "a hop that is not this thread's");
    }
}
