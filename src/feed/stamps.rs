//! A venue's timestamps: the difference of its clock to ours, and timestamps that cannot be true. Times come in. One per
//! connection, on its feed's thread; [`Stamps::read`] is on the path of every quote and allocates nothing.
//!
//! For a frame that arrives at `a` by our wall clock with the venue's timestamp `s`, `a - s` is the delay of the path plus
//! the difference of the clocks. The smallest value of the last minute belongs to the fastest path, whose delay is taken
//! as half of the shortest round trip of a ping; the remainder is the difference of the clocks. Its error is the asymmetry
//! of the path plus the resolution of the timestamps, which for most venues is a millisecond.

use crate::time::{Lowest, MonoNs, SECOND, UnixNs};

/// Number of timestamps after which their smallest delay is meaningful.
const ENOUGH: u32 = 8;
/// A timestamp whose delay is smaller than the fastest by more than this is in the future, in nanoseconds.
const FUTURE_NS: i128 = SECOND as i128;
/// This many future timestamps in a row mean that the venue's clock was set.
const FUTURES_MAX: u32 = 8;
/// Change of the difference between wall clock and monotonic clock, in nanoseconds, that means the wall clock was set.
const STEP_NS: u64 = SECOND / 10;

/// Timestamps of one connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stamps {
    /// Wall clock minus monotonic clock.
    wall: Option<i128>,
    delay: Lowest,
    seen: u32,
    futures: u32,
}

impl Stamps {
    /// Our wall clock shows `unix` at `now`. If it was set, the known difference is void; the wall clock decides nothing
    /// else. Returns whether it was set.
    pub fn set_wall(&mut self, now: MonoNs, unix: UnixNs) -> bool {
        let wall = i128::from(unix.0) - i128::from(now.0);
        let was_set = self.wall.is_some_and(|before| (wall - before).unsigned_abs() > u128::from(STEP_NS));
        if was_set {
            self.forget_delay();
        }
        self.wall = Some(wall);
        was_set
    }

    fn forget_delay(&mut self) {
        (self.delay, self.seen, self.futures) = (Lowest::default(), 0, 0);
    }

    /// Reads the timestamp of a quote that arrived at `received`. Without a timestamp (0) there is nothing to read.
    ///
    /// # Errors
    /// For a timestamp in the future: what to use instead, the time of arrival by the venue's clock.
    #[inline]
    pub fn read(&mut self, stamp: UnixNs, received: MonoNs) -> Result<(), UnixNs> {
        let Some(wall) = self.wall.filter(|_| stamp.0 != 0) else { return Ok(()) };
        let arrived = i128::from(received.0) + wall;
        let delay = arrived - i128::from(stamp.0);
        if self.seen >= ENOUGH
            && let Some(lowest) = self.delay.value()
            && delay < lowest - FUTURE_NS
        {
            return self.future(arrived - lowest);
        }
        self.delay.add(delay, received);
        self.seen = self.seen.saturating_add(1);
        self.futures = 0;
        Ok(())
    }

    #[cold]
    fn future(&mut self, by_its_clock: i128) -> Result<(), UnixNs> {
        self.futures += 1;
        if self.futures >= FUTURES_MAX {
            self.forget_delay();
        }
        Err(UnixNs(u64::try_from(by_its_clock).unwrap_or(0)))
    }

    /// How far our wall clock is ahead of the venue's, and the delay of the path from there to here, both in nanoseconds.
    /// `trip_ns` is the shortest round trip. `None` until there are enough timestamps and a round trip.
    #[must_use]
    pub fn value(&self, trip_ns: Option<u64>) -> Option<(i64, u64)> {
        let (delay, way) = (self.delay.value().filter(|_| self.seen >= ENOUGH)?, trip_ns? / 2);
        Some((i64::try_from(delay - i128::from(way)).ok()?, way))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::MS;
    use proptest::prelude::*;

    const START: MonoNs = MonoNs(1000 * SECOND);
    const UNIX: UnixNs = UnixNs(1_700_000_000 * SECOND);

    /// A venue whose clock is `behind_ns` behind ours, at a distance of `way_ns`.
    struct Case {
        stamps: Stamps,
        now: MonoNs,
        behind_ns: i64,
        way_ns: u64,
    }

    impl Case {
        fn new(behind_ns: i64, way_ns: u64) -> Self {
            let mut stamps = Stamps::default();
            stamps.set_wall(START, UNIX);
            Self { stamps, now: START, behind_ns, way_ns }
        }

        fn wall(&self) -> u64 {
            UNIX.0 + self.now.since(START)
        }

        fn value(&self) -> Option<(i64, u64)> {
            self.stamps.value(Some(2 * self.way_ns))
        }

        /// A quote that was delayed by `late_ns`.
        fn quote(&mut self, late_ns: u64) -> Result<(), UnixNs> {
            self.now = self.now.plus(50 * MS);
            let sent = self.wall() - self.way_ns - late_ns;
            self.stamps.read(UnixNs((sent as i64 - self.behind_ns) as u64), self.now)
        }
    }

    proptest! {
        #[test]
        fn the_difference_of_the_clocks_is_found_despite_delays(
            behind_ms in -600_000i64..600_000,
            way_us in 1u64..300_000,
            late_ms in prop::collection::vec(0u64..400, 20..100),
        ) {
            let mut case = Case::new(behind_ms * MS as i64, way_us * 1000);
            for late in &late_ms {
                prop_assert_eq!(case.quote(late * MS), Ok(()));
            }
            let (offset, one_way) = case.value().unwrap();
            let least = *late_ms.iter().min().unwrap() as i64 * MS as i64;
            prop_assert_eq!((offset, one_way), (behind_ms * MS as i64 + least, way_us * 1000));
        }
    }

    #[test]
    fn a_timestamp_in_the_future_is_replaced_by_the_time_of_arrival() {
        let mut case = Case::new(0, 20 * MS);
        (0..20).for_each(|_| assert_eq!(case.quote(0), Ok(())));
        let before = case.value();
        case.now = case.now.plus(50 * MS);
        let instead = case.stamps.read(UnixNs(case.wall() + 90 * SECOND), case.now);
        assert_eq!(instead, Err(UnixNs(case.wall() - 20 * MS)));
        assert_eq!(case.value(), before);
        assert_eq!(case.quote(5 * MS), Ok(()));
        assert_eq!(case.stamps.read(UnixNs(0), case.now), Ok(()), "without a timestamp");
    }

    #[test]
    fn a_venue_whose_clock_was_set_forward_is_believed_soon() {
        let mut case = Case::new(0, 20 * MS);
        (0..20).for_each(|_| assert_eq!(case.quote(0), Ok(())));
        case.behind_ns = -30 * SECOND as i64;
        let refused = (0..40).filter(|_| case.quote(0).is_err()).count();
        assert_eq!(refused as u32, FUTURES_MAX);
        assert_eq!(case.value(), Some((-30 * SECOND as i64, 20 * MS)));
    }

    #[test]
    fn after_our_wall_clock_was_set_the_difference_is_measured_anew() {
        let mut case = Case::new(0, 20 * MS);
        (0..20).for_each(|_| assert_eq!(case.quote(0), Ok(())));
        assert!(!case.stamps.set_wall(case.now, UnixNs(case.wall() + MS)), "clocks drift");
        assert!(case.stamps.set_wall(case.now, UnixNs(case.wall() + 3600 * SECOND)));
        assert_eq!(case.value(), None);
        (0..ENOUGH).for_each(|_| assert_eq!(case.quote(0), Ok(())));
        assert_eq!(case.value(), Some((3600 * SECOND as i64, 20 * MS)));
    }
}
