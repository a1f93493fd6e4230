//! What stamps should say at this moment: the reference that a venue's stamps are held against when nothing is known of
//! its own past, as at the first contact. Pure.
//!
//! All voters are differences between our monotonic clock and a clock that shows the time of day: that of each venue at
//! its fastest, from its stamps, and our own wall clock. The reference is their median. So one venue that is late, or
//! whose clock is wrong, moves it by at most the spread of the others. If our wall clock is wrong, the venues
//! outvote it. In a tie the middle value that is closer to our wall clock counts.

use crate::metrics::{Board, WallGauges};
use crate::time::SECOND;

/// A venue whose stamps are further behind the reference is late, or its clock is wrong, in nanoseconds. Venues' clocks, ways
/// and stamps of whole seconds differ by less.
pub const OFF_NS: i64 = 3 * SECOND as i64 / 2;
/// Clocks that differ by no more agree, in nanoseconds.
pub const AGREE_NS: i64 = SECOND as i64 / 2;
/// Most venues that vote.
const VENUES_MAX: usize = 64;

/// Monotonic clock minus time of day, as most clocks say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reference {
    /// In nanoseconds.
    pub difference: i64,
    /// Our wall clock says the same.
    pub is_sure: bool,
}

impl Reference {
    /// How much later than the reference says a frame came, `difference` being its arrival minus its stamp; 0 unless that
    /// is more than [`OFF_NS`].
    #[inline]
    #[must_use]
    pub const fn behind_ns(&self, difference: i64) -> u64 {
        let behind = difference.saturating_sub(self.difference);
        if behind > OFF_NS { behind as u64 } else { 0 }
    }

    /// Whether our wall clock, most venues and a frame with this `difference` show one time.
    #[must_use]
    pub const fn confirms(&self, difference: i64) -> bool {
        self.is_sure && difference.abs_diff(self.difference) <= AGREE_NS as u64
    }
}

/// The reference of these votes; `None` without any.
#[must_use]
pub fn of(venues: impl Iterator<Item = i64>, wall: Option<i64>) -> Option<Reference> {
    let mut votes = [0; VENUES_MAX + 1];
    let mut count = 0;
    for vote in venues.take(VENUES_MAX).chain(wall) {
        votes[count] = vote;
        count += 1;
    }
    let votes = &mut votes[..count];
    votes.sort_unstable();
    let (low, high) = (*votes.get(count.checked_sub(1)? / 2)?, votes[count / 2]);
    let difference = match wall {
        Some(wall) if high.abs_diff(wall) < low.abs_diff(wall) => high,
        // What is later makes no price older.
        _ => low,
    };
    let is_sure = wall.is_some_and(|wall| wall.abs_diff(difference) <= AGREE_NS as u64);
    Some(Reference { difference, is_sure })
}

/// The reference now, by all that the process knows. A wall clock that was set while we run has no vote until the venues
/// agree with it.
#[must_use]
pub fn now(board: &Board) -> Option<Reference> {
    let venues = || board.venues.iter().filter_map(|venue| venue.usual.value());
    if board.wall.is_doubted() {
        let of_venues = of(venues(), None);
        let agrees = |it: &Reference, wall: i64| wall.abs_diff(it.difference) <= AGREE_NS as u64;
        if of_venues.zip(board.wall.value()).is_none_or(|(it, wall)| !agrees(&it, wall)) {
            return of_venues;
        }
        board.wall.believe();
    }
    of(venues(), board.wall.value())
}

/// Takes what our wall clock shows: `difference` is our monotonic clock minus it.
pub fn see_wall(wall: &WallGauges, difference: i64) {
    if wall.value().is_some_and(|before| before.abs_diff(difference) > AGREE_NS as u64) {
        wall.doubt();
    }
    wall.set(difference);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::MonoNs;

    const S: i64 = SECOND as i64;

    /// Whose stamps are behind the reference, of venues with these differences in seconds.
    fn behind(wall: Option<i64>, venues: &[i64]) -> Vec<i64> {
        let reference = of(venues.iter().map(|s| s * S), wall.map(|s| s * S)).unwrap();
        venues.iter().copied().filter(|s| reference.behind_ns(s * S) > 0).collect()
    }

    #[test]
    fn a_venue_that_is_behind_the_others_and_our_wall_clock_is_found() {
        assert_eq!(behind(Some(0), &[30, 0, 0]), [30]);
        assert_eq!(behind(Some(0), &[30, 0]), [30]);
        assert_eq!(behind(Some(0), &[30, 30, 0]), [30, 30], "in a tie our wall clock decides");
        assert_eq!(behind(Some(0), &[30]), [30], "and where nobody else has stamps");
        assert_eq!(behind(Some(0), &[1, 0]), [0; 0], "within what clocks and ways differ");
        assert_eq!(behind(Some(0), &[-40, 0]), [0; 0], "a clock that is ahead makes nobody late");
    }

    #[test]
    fn our_own_clock_alone_makes_nobody_late() {
        assert_eq!(behind(Some(0), &[30, 30]), [0; 0]);
        assert_eq!(behind(Some(0), &[30, 30, 60]), [60]);
        assert_eq!(behind(Some(30), &[0, 0, 0, 30]), [30]);
        assert_eq!(behind(None, &[30]), [0; 0]);
        assert_eq!(behind(None, &[30, 0]), [30]);
    }

    #[test]
    fn of_nobody_there_is_no_reference() {
        assert_eq!(of([].into_iter(), None), None);
        let extremes = of([i64::MIN, i64::MAX].into_iter(), Some(0)).unwrap();
        assert_eq!(extremes, Reference { difference: 0, is_sure: true });
        assert_eq!(extremes.behind_ns(i64::MAX), i64::MAX as u64);
    }

    #[test]
    fn a_wall_clock_that_is_set_has_no_vote_until_the_venues_agree_with_it() {
        let board = Board::new(MonoNs(0), 2, 0);
        see_wall(&board.wall, 0);
        board.venues[0].usual.set(0);
        assert_eq!(now(&board), Some(Reference { difference: 0, is_sure: true }));
        see_wall(&board.wall, -3600 * S);
        assert_eq!(now(&board), Some(Reference { difference: 0, is_sure: false }));
        see_wall(&board.wall, 0);
        assert_eq!(now(&board), Some(Reference { difference: 0, is_sure: true }));
    }
}
