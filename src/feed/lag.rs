//! How much later than usual a venue's frames come, by the venue's own stamps: a squeezed line, or a venue's server that
//! is behind, delivers old prices in order and without a gap, and only their stamps tell. What is usual is the lower
//! envelope of the difference between our monotonic clock and the stamp over ten minutes, so neither clock needs to be
//! right, and a step of our wall clock makes no price older. A stamp that jumps back is lag: nothing in the stamps
//! tells it from a step of the venue's clock, which is forgotten after ten minutes. Where quotes have no stamps, other
//! messages of the same connection tell. Pure; on the path of a quote.

use crate::time::{MS, MonoNs, SECOND, UnixNs};

/// The lag of one venue's line. What is usual outlives the connection.
#[derive(Clone, Debug)]
pub struct Lag {
    /// The least difference of each finished bucket and when it was, by number of the bucket.
    buckets: [Option<Point>; BUCKETS],
    /// The current bucket: its number and least difference.
    current: (u64, Option<Point>),
    /// The envelope, from which it rises with time.
    envelope: Option<Point>,
    /// Excess lag of the last frame that told of it, in nanoseconds.
    excess_ns: u64,
    /// Stamps in a row that are too old to be a lag.
    wild: u32,
    /// Frames in a row whose excess lag is not small.
    high: u32,
    /// Since when frames are on time again.
    low_since: Option<MonoNs>,
    is_lagging: bool,
    /// Until when quotes without stamps wait for the first stamp of a new connection.
    unproven_until: MonoNs,
}

/// Arrival minus stamp in nanoseconds, and the arrival.
type Point = (MonoNs, i64);

/// Excess lag above this is told, and makes a quote no leg, in nanoseconds.
pub const LAGGING_NS: u64 = 250 * MS;
/// So many frames in a row above half of it make the line a lagging one,
const HIGH_FRAMES: u32 = 3;
/// until all is below half of it for this time.
const LEAVE_NS: u64 = SECOND;
/// The envelope is made of this many buckets
const BUCKETS: usize = 60;
/// of this length: ten minutes.
const BUCKET_NS: u64 = 10 * SECOND;
/// What is older is not known, so a jump by more is no lag, in nanoseconds.
const SPAN_NS: u64 = BUCKETS as u64 * BUCKET_NS;
/// So many of those in a row: the venue's clock was set.
const WILD_MAX: u32 = 8;
/// Two clocks drift apart by at most one part in this many: 200 ppm.
const DRIFT: u64 = 5000;
/// How long quotes without stamps wait for the first stamp after a connect.
const PROOF_NS: u64 = 3 * SECOND / 2;

impl Default for Lag {
    fn default() -> Self {
        Self {
            buckets: [None; BUCKETS],
            current: (0, None),
            envelope: None,
            excess_ns: 0,
            wild: 0,
            high: 0,
            low_since: None,
            is_lagging: false,
            unproven_until: MonoNs(0),
        }
    }
}

/// The envelope at `now` that follows from one point of it.
fn risen((at, difference): Point, now: MonoNs) -> i64 {
    difference.saturating_add((now.since(at) / DRIFT) as i64)
}

impl Lag {
    /// Takes the stamp of a frame that was read at `received`, and gives its excess lag in nanoseconds. A frame without
    /// a stamp (0) is as late as the one before.
    #[inline]
    pub fn take(&mut self, stamp: UnixNs, received: MonoNs) -> u64 {
        if stamp.0 == 0 {
            return self.excess_ns;
        }
        let difference = received.0.wrapping_sub(stamp.0) as i64;
        let number = received.0 / BUCKET_NS;
        if number != self.current.0 {
            self.begin_bucket(number, received);
        }
        let excess = |lag: &Self| lag.envelope.map_or(0, |point| difference.saturating_sub(risen(point, received)));
        if excess(self) > SPAN_NS as i64 && !self.was_set() {
            return self.excess_ns;
        }
        let excess = excess(self);
        self.wild = 0;
        if excess <= 0 || self.envelope.is_none() {
            self.envelope = Some((received, difference));
        }
        let least = self.current.1.map_or(i64::MAX, |point| risen(point, received));
        if difference <= least {
            self.current.1 = Some((received, difference));
        }
        self.excess_ns = excess.max(0).unsigned_abs();
        self.unproven_until = MonoNs(0);
        self.judge(received);
        self.excess_ns
    }

    /// A stamp that is too old for what is known. Whether there are enough of them to believe that the clock was set;
    /// then nothing is known any more.
    #[cold]
    fn was_set(&mut self) -> bool {
        self.wild += 1;
        let was_set = self.wild >= WILD_MAX;
        if was_set {
            *self = Self { current: (self.current.0, None), ..Self::default() };
        }
        was_set
    }

    #[cold]
    fn begin_bucket(&mut self, number: u64, now: MonoNs) {
        let (before, least) = std::mem::replace(&mut self.current, (number, None));
        self.buckets[(before % BUCKETS as u64) as usize] = least;
        for skipped in (before + 1..number).take(BUCKETS) {
            self.buckets[(skipped % BUCKETS as u64) as usize] = None;
        }
        self.buckets[(number % BUCKETS as u64) as usize] = None;
        let points = self.buckets.iter().flatten();
        self.envelope = points.copied().min_by_key(|point| risen(*point, now));
    }

    fn judge(&mut self, now: MonoNs) {
        if self.excess_ns >= LAGGING_NS / 2 {
            self.high = self.high.saturating_add(1);
            if self.high >= HIGH_FRAMES {
                self.is_lagging |= self.excess_ns > LAGGING_NS;
                self.low_since = None;
            }
            return;
        }
        self.high = 0;
        if self.is_lagging && now.since(*self.low_since.get_or_insert(now)) >= LEAVE_NS {
            (self.is_lagging, self.low_since) = (false, None);
        }
    }

    /// How much later than usual something stamped `stamp` was read at `received`, in nanoseconds, where that tells
    /// nothing of the line. 0 without a stamp, or before anything is usual.
    #[must_use]
    pub fn of(&self, stamp: UnixNs, received: MonoNs) -> u64 {
        let Some(usual) = self.envelope.filter(|_| stamp.0 != 0) else { return 0 };
        let difference = received.0.wrapping_sub(stamp.0) as i64;
        u64::try_from(difference.saturating_sub(risen(usual, received))).unwrap_or(0)
    }

    /// Another connection begins. What is usual stays known; nothing is known of how late it is.
    pub const fn begin(&mut self, now: MonoNs) {
        (self.excess_ns, self.high, self.is_lagging, self.low_since) = (0, 0, false, None);
        self.unproven_until = if self.envelope.is_some() { now.plus(PROOF_NS) } else { MonoNs(0) };
    }

    /// Takes over what is usual on another line of the venue, where nothing is known of this one.
    pub fn learn_from(&mut self, other: &Self) {
        if self.envelope.is_none() {
            (self.buckets, self.current, self.envelope) = (other.buckets, other.current, other.envelope);
        }
    }

    /// Excess lag of the last frame that told of it, in nanoseconds.
    #[inline]
    #[must_use]
    pub const fn excess_ns(&self) -> u64 {
        self.excess_ns
    }

    /// Whether the line as a whole is late: several frames in a row were, and it has not been on time for a second.
    #[inline]
    #[must_use]
    pub const fn is_lagging(&self) -> bool {
        self.is_lagging
    }

    /// Whether a quote without a stamp waits for the first stamp of this connection.
    #[inline]
    #[must_use]
    pub fn is_unproven(&self, now: MonoNs) -> bool {
        now < self.unproven_until
    }
}

/// The part of an excess lag that is told with the age of a quote, in nanoseconds: all of one that is not a venue's
/// usual jitter.
#[inline]
#[must_use]
pub const fn told_ns(excess_ns: u64) -> u64 {
    if excess_ns > LAGGING_NS { excess_ns } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Quotes as (stamp, read), in milliseconds; gives each one's excess lag in milliseconds.
    fn lags(quotes: &[(u64, u64)]) -> Vec<u64> {
        let mut lag = Lag::default();
        quotes.iter().map(|&(s, r)| lag.take(UnixNs::from_ms(s), MonoNs(r * MS)) / MS).collect()
    }

    #[test]
    fn f20_a_squeezed_line_is_late_by_what_its_stamps_say() {
        assert_eq!(lags(&[(1000, 1050), (2000, 3050), (3000, 5050), (6000, 6050)]), [0, 999, 1999, 0]);
    }

    #[test]
    fn a_lag_that_begins_with_a_jump_is_a_lag() {
        assert_eq!(lags(&[(90_000, 100_000), (60_100, 100_100), (60_200, 100_200)]), [0, 29_999, 29_999]);
        assert_eq!(lags(&[(90_000, 1000), (91_000, 2000)]), [0, 0], "a clock ahead of ours");
    }

    #[test]
    fn a_lag_lasts_until_ten_minutes_have_passed() {
        let mut lag = Lag::default();
        let mut at =
            |ms: u64, behind_ms: u64| lag.take(UnixNs::from_ms(1_000_000 + ms - behind_ms), MonoNs(ms * MS)) / MS;
        (0..600).for_each(|n| assert_eq!(at(n * 100, 0), 0));
        // The clocks may drift apart by 12 ms a minute.
        (600..6000).for_each(|n| assert!((2870..=3000).contains(&at(n * 100, 3000)), "{n}"));
        let _ = (6600..6800).map(|n| at(n * 100, 3000)).max();
        assert_eq!(at(680_000, 3000), 0, "it is the usual now");
    }

    #[test]
    fn clocks_that_drift_are_no_lag() {
        let mut lag = Lag::default();
        for n in 0..100_000u64 {
            let ns = n * 100 * MS;
            assert!(lag.take(UnixNs(SECOND + ns - ns / 6000), MonoNs(ns)) < MS, "{n}");
        }
    }

    #[test]
    fn f45_a_clock_that_is_set_back_by_an_hour_is_no_lag_and_one_wild_stamp_is_nothing() {
        let hour = 3_600_000;
        let mut quotes = vec![(2 * hour, 1000), (2 * hour + 100, 1100), (5, 1150), (2 * hour - 29_900, 1200)];
        assert_eq!(lags(&quotes)[1..], [0, 0, 30_099]);
        quotes.truncate(2);
        quotes.extend((0..20).map(|n| (hour + n * 100, 1200 + n * 100)));
        assert_eq!(lags(&quotes)[2..], [0; 20]);
    }

    #[test]
    fn a_line_is_lagging_after_three_late_frames_until_it_was_on_time_for_a_second() {
        let mut lag = Lag::default();
        let mut at = |ms: u64, late_ms: u64| {
            lag.take(UnixNs::from_ms(50_000 + ms - late_ms), MonoNs(ms * MS));
            lag.is_lagging()
        };
        assert!(!at(10_000, 0));
        assert_eq!([(10_100, 400), (10_200, 0), (10_300, 400)].map(|(ms, late)| at(ms, late)), [false; 3], "jitter");
        assert_eq!([(10_400, 400), (10_500, 400)].map(|(ms, late)| at(ms, late)), [false, true]);
        assert_eq!([(10_600, 50), (11_000, 200), (11_500, 50)].map(|(ms, late)| at(ms, late)), [true; 3]);
        assert!(!at(11_600, 50));
    }

    #[test]
    fn what_is_usual_outlives_a_connection_and_is_learnt_by_the_next_line() {
        let mut lag = Lag::default();
        lag.take(UnixNs::from_ms(50_000), MonoNs(10_000 * MS));
        lag.begin(MonoNs(11_000 * MS));
        assert!(lag.is_unproven(MonoNs(11_001 * MS)));
        let mut second = Lag::default();
        second.learn_from(&lag);
        for lag in [&mut lag, &mut second] {
            assert_eq!(lag.take(UnixNs::from_ms(22_000), MonoNs(12_000 * MS)).div_ceil(MS), 30_000);
            assert!(!lag.is_unproven(MonoNs(12_000 * MS)));
        }
    }

    #[test]
    fn what_has_no_stamp_is_as_late_as_the_last_that_had_one() {
        assert_eq!(lags(&[(1000, 1000), (0, 9500), (1400, 2400), (0, 2500)]), [0, 0, 999, 999]);
    }
}
