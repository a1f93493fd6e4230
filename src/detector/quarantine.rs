//! Venues whose quotes may not be legs for a while: those that reconnect too often, and those whose feed has a low
//! score. Pure. The wait of each cell for its second quote after a connect is in `detector::merge`.

use crate::market::VenueId;
use crate::time::{MonoNs, SECOND};

/// More reconnects than this
const RECONNECTS_MAX: usize = 3;
/// within this time, in nanoseconds, are too many.
const WITHIN_NS: u64 = 600 * SECOND;
/// How long a venue with too many is quarantined after each of them, in nanoseconds.
pub(crate) const QUARANTINE_NS: u64 = 30 * SECOND;

/// Reconnects of one venue.
#[derive(Clone, Copy, Default)]
struct Reconnects {
    /// A connection was lost, and nothing was quoted since.
    is_lost: bool,
    /// Times of the last reconnects, the oldest first; 0: none.
    times: [MonoNs; RECONNECTS_MAX + 1],
    until: MonoNs,
}

/// See the file's head.
pub(crate) struct Quarantine {
    venues: Vec<Reconnects>,
    /// A bit for each venue whose feed has a low score.
    feeds: u64,
}

impl Quarantine {
    /// No venue is quarantined.
    #[must_use]
    pub fn new(venues: usize) -> Self {
        Self { venues: vec![Reconnects::default(); venues], feeds: 0 }
    }

    /// Sets the venues whose feed has a low score, one bit each.
    pub(crate) const fn set_feeds(&mut self, venues: u64) {
        self.feeds = venues;
    }

    /// Whether the feed of `venue` has a low score.
    #[must_use]
    pub(crate) const fn has_feed(&self, venue: VenueId) -> bool {
        self.feeds >> venue.0 & 1 == 1
    }

    /// A connection to `venue` was lost. Several losses before the next quote count as one.
    pub fn lost(&mut self, venue: VenueId) {
        self.venues[venue.index()].is_lost = true;
    }

    /// The first quote of an instrument of `venue` arrived at `now`.
    pub fn quoted(&mut self, venue: VenueId, now: MonoNs) {
        let it = &mut self.venues[venue.index()];
        if !std::mem::take(&mut it.is_lost) {
            return;
        }
        it.times.rotate_left(1);
        it.times[RECONNECTS_MAX] = now;
        if it.times[0] > MonoNs(0) && now.since(it.times[0]) <= WITHIN_NS {
            it.until = now.plus(QUARANTINE_NS);
        }
    }

    /// Time since the last reconnect of a venue that is quarantined at `now`, in nanoseconds; `None` for any other venue.
    #[must_use]
    pub fn since(&self, venue: VenueId, now: MonoNs) -> Option<u64> {
        let it = &self.venues[venue.index()];
        (now < it.until).then(|| now.since(it.times[RECONNECTS_MAX]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_three_reconnects_in_ten_minutes_quarantine_the_venue_for_thirty_seconds() {
        let mut quarantine = Quarantine::new(2);
        let at = |second: u64| MonoNs(second * SECOND);
        let mut reconnect = |second| {
            quarantine.lost(VenueId(1));
            quarantine.lost(VenueId(1));
            quarantine.quoted(VenueId(1), at(second));
            quarantine.quoted(VenueId(1), at(second + 1));
            quarantine.since(VenueId(1), at(second + 29))
        };
        assert_eq!([1000, 1100, 1200].map(&mut reconnect), [None; 3], "three");
        assert_eq!(reconnect(1601), None, "the first was more than ten minutes ago");
        assert_eq!(reconnect(1650), Some(29 * SECOND), "the fourth in ten minutes");
        assert_eq!(quarantine.since(VenueId(1), at(1680)), None, "over");
        assert_eq!(quarantine.since(VenueId(0), at(1651)), None, "another venue");
    }
}
