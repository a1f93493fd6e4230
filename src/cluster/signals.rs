//! What the follower's and the leader's thread of one process share: round trips, the progress of other leaders, and
//! requests for snapshots.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::cluster::batch::BatchEntry;
use crate::market::{PairId, VenueId};
use crate::matrix::CellQuote;
use crate::metrics::Gauge;
use crate::stage::Alarm;
use crate::time::MonoNs;

/// How long our own messages take through Redis. The follower writes, any thread reads.
#[derive(Debug, Default)]
pub struct Pulse {
    pub(super) heard: Gauge,
    pub(super) trip_ns: Gauge,
}

impl Pulse {
    /// When the last one came back; 0 before the first.
    #[must_use]
    pub fn heard(&self) -> MonoNs {
        MonoNs(self.heard.value())
    }

    /// The shortest round trip lately, in nanoseconds; 0 before the first.
    #[must_use]
    pub fn trip_ns(&self) -> u64 {
        self.trip_ns.value()
    }
}

/// The newest quote that a leader published, by pair, in the venue's own order. The follower writes, any thread reads.
#[derive(Debug)]
pub struct LeaderProgress {
    /// Number and stamp.
    pairs: Box<[[AtomicU64; 2]]>,
}

impl LeaderProgress {
    /// No quotes yet, for `pairs` pairs.
    #[must_use]
    pub fn new(pairs: usize) -> Self {
        Self { pairs: (0..pairs).map(|_| Default::default()).collect() }
    }

    pub(super) fn set(&self, pair: PairId, entry: &BatchEntry) {
        let [sequence, time] = &self.pairs[pair.index()];
        sequence.store(entry.sequence, Ordering::Relaxed);
        time.store(entry.exchange_time.0, Ordering::Relaxed);
    }

    /// Whether a leader has published the quote of `cell` or a newer one. Yes for a quote without sequence number and
    /// timestamp.
    #[must_use]
    pub fn covers(&self, pair: PairId, cell: &CellQuote) -> bool {
        let [sequence, time] = self.pairs[pair.index()].each_ref().map(|it| it.load(Ordering::Relaxed));
        if cell.sequence == 0 { time >= cell.exchange_time.0 } else { sequence >= cell.sequence }
    }
}

/// Venues for which a follower requests all quotes. The follower's thread writes, the leader's thread reads.
pub struct SnapshotRequests {
    venues: Box<[AtomicBool]>,
    alarm: Alarm,
}

impl SnapshotRequests {
    /// For `venues` venues; `alarm` wakes the leader's thread.
    #[must_use]
    pub fn new(venues: usize, alarm: Alarm) -> Self {
        Self { venues: (0..venues).map(|_| AtomicBool::new(false)).collect(), alarm }
    }

    /// A follower requests all quotes of `venue`.
    pub fn ask(&self, venue: VenueId) {
        self.venues[venue.index()].store(true, Ordering::Release);
        self.alarm.ring();
    }

    pub(super) fn take(&self, venue: VenueId) -> bool {
        self.venues[venue.index()].swap(false, Ordering::AcqRel)
    }
}
