//! The reference clock: what timestamps should show at this moment. A venue's timestamps are compared with it when
//! nothing is known of the venue's past, as on the first connection.
//!
//! Each vote is the difference between our monotonic clock and a clock that shows the time of day: the clock of each
//! venue, from its fastest timestamps, and our own wall clock. The reference is the median. One venue that is late, or
//! whose clock is wrong, therefore moves it by at most the spread of the others, and the venues outvote a wrong wall
//! clock. In a tie, the middle value closer to our wall clock counts.

use crate::metrics::{Board, WallGauges};
use crate::time::{MS, MonoNs, SECOND};

/// A venue whose timestamps are further behind the reference is late, or its clock is wrong, in nanoseconds. Healthy
/// clocks, network paths and timestamps in whole seconds differ by less.
pub(crate) const OFF_NS: i64 = 3 * SECOND as i64 / 2;
/// Largest difference of clocks that agree, in nanoseconds.
pub(crate) const AGREE_NS: i64 = SECOND as i64 / 2;
/// Largest number of voting venues.
const VENUES_MAX: usize = 64;

/// Monotonic clock minus time of day, by the median of all clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reference {
    /// In nanoseconds.
    pub difference: i64,
    /// Our wall clock agrees.
    pub(crate) is_sure: bool,
}

impl Reference {
    /// How far a frame is behind the reference, in nanoseconds; 0 if that is not more than [`OFF_NS`]. `difference` is its
    /// arrival minus its timestamp.
    #[inline]
    #[must_use]
    pub(crate) const fn behind_ns(&self, difference: i64) -> u64 {
        let behind = difference.saturating_sub(self.difference);
        if behind > OFF_NS { behind as u64 } else { 0 }
    }

    /// Whether our wall clock, the reference and a frame with this `difference` agree.
    #[must_use]
    pub(crate) const fn confirms(&self, difference: i64) -> bool {
        self.is_sure && difference.abs_diff(self.difference) <= AGREE_NS as u64
    }
}

/// The reference by these votes; `None` without a vote.
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

/// The present reference of this process. A wall clock that was set while the process runs has no vote until the venues
/// agree with it.
#[must_use]
pub fn now(board: &Board) -> Option<Reference> {
    let venues = || board.venues.iter().filter_map(|venue| venue.lag.usual.value());
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

/// Records a reading of our wall clock: `difference` is the monotonic clock minus the wall clock.
pub(crate) fn see_wall(wall: &WallGauges, difference: i64) {
    if wall.value().is_some_and(|before| before.abs_diff(difference) > AGREE_NS as u64) {
        wall.doubt();
    }
    wall.set(difference);
}

/// How long a looked-up reference is used, in nanoseconds.
const CACHE_NS: u64 = 100 * MS;

/// The reference, looked up at most every 100 ms.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CachedReference {
    value: Option<Reference>,
    /// `None`: it must be looked up.
    read: Option<MonoNs>,
}

impl CachedReference {
    /// The reference at `now`.
    #[inline]
    pub fn at(&mut self, now: MonoNs, board: &Board) -> Option<Reference> {
        if self.read.is_none_or(|read| now.since(read) >= CACHE_NS) {
            *self = Self { value: self::now(board), read: Some(now) };
        }
        self.value
    }

    /// The next call of [`Self::at`] looks it up.
    pub const fn forget(&mut self) {
        self.read = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: i64 = SECOND as i64;

    /// The differences in seconds, of `venues`, that are behind the reference.
    fn behind(wall: Option<i64>, venues: &[i64]) -> Vec<i64> {
        let reference = of(venues.iter().map(|s| s * S), wall.map(|s| s * S)).unwrap();
        venues.iter().copied().filter(|s| reference.behind_ns(s * S) > 0).collect()
    }

    #[test]
    fn a_venue_that_is_behind_the_others_and_our_wall_clock_is_found() {
        assert_eq!(behind(Some(0), &[30, 0, 0]), [30]);
        assert_eq!(behind(Some(0), &[30, 0]), [30]);
        assert_eq!(behind(Some(0), &[30, 30, 0]), [30, 30], "in a tie our wall clock decides");
        assert_eq!(behind(Some(0), &[30]), [30], "and where no other venue has timestamps");
        assert_eq!(behind(Some(0), &[1, 0]), [0; 0], "within the usual differences of clocks and paths");
        assert_eq!(behind(Some(0), &[-40, 0]), [0; 0], "a clock that is ahead makes no other venue late");
    }

    #[test]
    fn our_own_clock_alone_makes_no_venue_late() {
        assert_eq!(behind(Some(0), &[30, 30]), [0; 0]);
        assert_eq!(behind(Some(0), &[30, 30, 60]), [60]);
        assert_eq!(behind(Some(30), &[0, 0, 0, 30]), [30]);
        assert_eq!(behind(None, &[30]), [0; 0]);
        assert_eq!(behind(None, &[30, 0]), [30]);
    }

    #[test]
    fn without_votes_there_is_no_reference() {
        assert_eq!(of([].into_iter(), None), None);
        let extremes = of([i64::MIN, i64::MAX].into_iter(), Some(0)).unwrap();
        assert_eq!(extremes, Reference { difference: 0, is_sure: true });
        assert_eq!(extremes.behind_ns(i64::MAX), i64::MAX as u64);
    }

    #[test]
    fn a_wall_clock_that_is_set_has_no_vote_until_the_venues_agree_with_it() {
        let board = Board::new(MonoNs(0), 2, 0);
        see_wall(&board.wall, 0);
        board.venues[0].lag.usual.set(0);
        assert_eq!(now(&board), Some(Reference { difference: 0, is_sure: true }));
        see_wall(&board.wall, -3600 * S);
        assert_eq!(now(&board), Some(Reference { difference: 0, is_sure: false }));
        see_wall(&board.wall, 0);
        assert_eq!(now(&board), Some(Reference { difference: 0, is_sure: true }));
    }
}
