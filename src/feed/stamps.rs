//! What a venue's stamps say: how its clock stands to ours, how long a frame is on its way at best, and which stamp
//! cannot be. Pure: times come in. One per connection, on its feed's thread; [`Stamps::read`] is on the path of every
//! quote and allocates nothing.
//!
//! A frame that arrives at `a` by our wall clock and is stamped `s` by the venue's has `a - s` = way + difference of
//! the clocks. The smallest of the last minute is that of the fastest way, which is half of the fastest round trip of a
//! ping; what remains is the difference. It is wrong by no more than the two ways differ, and by the venue's rounding:
//! most stamp whole milliseconds.

use crate::time::{Lowest, MonoNs, SECOND, UnixNs};

/// So many stamps are needed before their smallest delay means something.
const ENOUGH: u32 = 8;
/// A stamp that is so much earlier underway than the fastest is from the future, in nanoseconds.
const FUTURE_NS: i128 = SECOND as i128;
/// So many of those in a row: it was the venue's clock that was set.
const FUTURES_MAX: u32 = 8;
/// Our wall clock and the monotonic one differ by more than before: it was set.
const STEP_NS: u64 = SECOND / 10;
/// How often the wall clock is read.
pub const READ_EVERY_NS: u64 = SECOND;

/// What is known of one venue's clock by one connection.
#[derive(Clone, Debug, Default)]
pub struct Stamps {
    /// Wall clock minus monotonic clock.
    wall: Option<i128>,
    wall_read: MonoNs,
    delay: Lowest,
    seen: u32,
    futures: u32,
    trip: Lowest,
    /// The first ping that is not answered.
    pinged: Option<MonoNs>,
}

impl Stamps {
    /// Whether it is time to call [`Self::set_wall`].
    #[inline]
    #[must_use]
    pub const fn wants_wall(&self, now: MonoNs) -> bool {
        self.wall.is_none() || now.since(self.wall_read) >= READ_EVERY_NS
    }

    /// Our wall clock shows `unix` now. After it was set, what was known of the difference is void; the wall clock
    /// decides nothing else. Whether it was set.
    pub fn set_wall(&mut self, now: MonoNs, unix: UnixNs) -> bool {
        let wall = i128::from(unix.0) - i128::from(now.0);
        let was_set = self.wall.is_some_and(|before| (wall - before).unsigned_abs() > u128::from(STEP_NS));
        if was_set {
            self.forget_delay();
        }
        (self.wall, self.wall_read) = (Some(wall), now);
        was_set
    }

    fn forget_delay(&mut self) {
        (self.delay, self.seen, self.futures) = (Lowest::default(), 0, 0);
    }

    /// Reads the stamp of a quote that arrived at `received`. `Err` is what to take instead of one from the future: the
    /// moment of its arrival on the venue's clock. Without a stamp (0) nothing is read.
    ///
    /// # Errors
    /// For a stamp from the future.
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

    /// A ping was sent.
    pub fn pinged(&mut self, now: MonoNs) {
        self.pinged.get_or_insert(now);
    }

    /// A pong came.
    pub fn ponged(&mut self, now: MonoNs) {
        if let Some(sent) = self.pinged.take() {
            self.trip.add(i128::from(now.since(sent)), now);
        }
    }

    /// How far our wall clock is ahead of the venue's, and the way from there to here, in nanoseconds; `None` before
    /// there are stamps and an answered ping.
    #[must_use]
    pub fn value(&self) -> Option<(i64, u64)> {
        let (delay, trip) = (self.delay.value().filter(|_| self.seen >= ENOUGH)?, self.trip.value()?);
        let way = trip / 2;
        Some((i64::try_from(delay - way).ok()?, u64::try_from(way).ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::MS;
    use proptest::prelude::*;

    const START: MonoNs = MonoNs(1000 * SECOND);
    const UNIX: UnixNs = UnixNs(1_700_000_000 * SECOND);

    /// A venue whose clock is `behind_ns` behind ours, `way_ns` away.
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
            stamps.pinged(START);
            stamps.ponged(START.plus(2 * way_ns));
            Self { stamps, now: START, behind_ns, way_ns }
        }

        fn wall(&self) -> u64 {
            UNIX.0 + self.now.since(START)
        }

        /// A quote that was held up for `late_ns`.
        fn quote(&mut self, late_ns: u64) -> Result<(), UnixNs> {
            self.now = self.now.plus(50 * MS);
            let sent = self.wall() - self.way_ns - late_ns;
            self.stamps.read(UnixNs((sent as i64 - self.behind_ns) as u64), self.now)
        }
    }

    proptest! {
        #[test]
        fn the_difference_of_the_clocks_is_found_whatever_is_late(
            behind_ms in -600_000i64..600_000,
            way_us in 1u64..300_000,
            late_ms in prop::collection::vec(0u64..400, 20..100),
        ) {
            let mut case = Case::new(behind_ms * MS as i64, way_us * 1000);
            for late in &late_ms {
                prop_assert_eq!(case.quote(late * MS), Ok(()));
            }
            let (offset, one_way) = case.stamps.value().unwrap();
            let least = *late_ms.iter().min().unwrap() as i64 * MS as i64;
            prop_assert_eq!((offset, one_way), (behind_ms * MS as i64 + least, way_us * 1000));
        }
    }

    #[test]
    fn a_stamp_from_the_future_is_taken_for_the_moment_of_its_arrival_and_moves_nothing() {
        let mut case = Case::new(0, 20 * MS);
        (0..20).for_each(|_| assert_eq!(case.quote(0), Ok(())));
        let before = case.stamps.value();
        case.now = case.now.plus(50 * MS);
        let instead = case.stamps.read(UnixNs(case.wall() + 90 * SECOND), case.now);
        assert_eq!(instead, Err(UnixNs(case.wall() - 20 * MS)));
        assert_eq!(case.stamps.value(), before);
        assert_eq!(case.quote(5 * MS), Ok(()));
        assert_eq!(case.stamps.read(UnixNs(0), case.now), Ok(()), "no stamp, nothing to say");
    }

    #[test]
    fn a_venue_whose_clock_was_set_forward_is_believed_soon() {
        let mut case = Case::new(0, 20 * MS);
        (0..20).for_each(|_| assert_eq!(case.quote(0), Ok(())));
        case.behind_ns = -30 * SECOND as i64;
        let refused = (0..40).filter(|_| case.quote(0).is_err()).count();
        assert_eq!(refused as u32, FUTURES_MAX);
        assert_eq!(case.stamps.value(), Some((-30 * SECOND as i64, 20 * MS)));
    }

    #[test]
    fn after_our_wall_clock_was_set_the_difference_is_learned_anew() {
        let mut case = Case::new(0, 20 * MS);
        (0..20).for_each(|_| assert_eq!(case.quote(0), Ok(())));
        assert!(!case.stamps.set_wall(case.now, UnixNs(case.wall() + MS)), "it drifts, as clocks do");
        assert!(case.stamps.set_wall(case.now, UnixNs(case.wall() + 3600 * SECOND)));
        assert_eq!(case.stamps.value(), None);
        (0..ENOUGH).for_each(|_| assert_eq!(case.quote(0), Ok(())));
        assert_eq!(case.stamps.value(), Some((3600 * SECOND as i64, 20 * MS)));
    }

    #[test]
    fn an_answer_counts_once_and_from_the_first_ping() {
        let mut stamps = Stamps::default();
        stamps.ponged(START);
        stamps.pinged(START);
        stamps.pinged(START.plus(9 * MS));
        stamps.ponged(START.plus(10 * MS));
        stamps.ponged(START.plus(11 * MS));
        assert_eq!(stamps.trip.value(), Some(10 * MS as i128));
    }
}
