//! Which venues this process shall be connected to: written by one thread, obeyed by the feeds.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::market::VenueId;

/// One flag per venue of the directory. Whoever changes one rings the feeds afterwards.
#[derive(Debug)]
pub struct Switch {
    wanted: Box<[AtomicBool]>,
}

impl Switch {
    /// `venues` flags, all `on`.
    #[must_use]
    pub fn new(venues: usize, on: bool) -> Self {
        Self { wanted: (0..venues).map(|_| AtomicBool::new(on)).collect() }
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
}
