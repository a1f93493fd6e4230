//! Orders for the feeds: which venues this process connects to, and which it retries immediately. Other threads write,
//! the feeds read.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::market::VenueId;

/// One flag and one count per venue of the directory. After a change, the caller wakes the feeds.
#[derive(Debug)]
pub struct Switch {
    wanted: Box<[AtomicBool]>,
    /// How often each venue was to be tried again at once.
    retries: Box<[AtomicU64]>,
    /// How often any was.
    retried: AtomicU64,
}

impl Switch {
    /// `venues` flags, all `on`.
    #[must_use]
    pub fn new(venues: usize, on: bool) -> Self {
        Self {
            wanted: (0..venues).map(|_| AtomicBool::new(on)).collect(),
            retries: (0..venues).map(|_| AtomicU64::new(0)).collect(),
            retried: AtomicU64::new(0),
        }
    }

    /// Whether `venue` shall be connected.
    #[inline]
    #[must_use]
    pub fn is_on(&self, venue: VenueId) -> bool {
        self.wanted[venue.index()].load(Ordering::Acquire)
    }

    /// Connect `venue`, or hang up. Whether that is a change.
    pub fn set(&self, venue: VenueId, on: bool) -> bool {
        self.wanted[venue.index()].swap(on, Ordering::AcqRel) != on
    }

    /// Try `venue`, or all venues, at once, as far as its published limits and its own word allow.
    pub fn retry(&self, venue: Option<VenueId>) {
        for (at, count) in self.retries.iter().enumerate() {
            if venue.is_none_or(|venue| venue.index() == at) {
                count.fetch_add(1, Ordering::AcqRel);
            }
        }
        self.retried.fetch_add(1, Ordering::AcqRel);
    }

    /// How often [`Self::retry`] was called: for one venue, or at all.
    #[inline]
    #[must_use]
    pub fn retries(&self, venue: Option<VenueId>) -> u64 {
        venue.map_or(&self.retried, |venue| &self.retries[venue.index()]).load(Ordering::Acquire)
    }
}
