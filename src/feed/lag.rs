//! How late a venue's frames arrive, according to the venue's own timestamps. A congested line, or a venue's server that
//! is behind, delivers old prices in order and without a gap, so only the timestamps show it. They are compared with two
//! values, and the larger lag counts:
//!
//! - The usual difference between our monotonic clock and the timestamps: its lower envelope over ten minutes. Neither clock
//!   needs to be right, and a step of our wall clock makes no price older.
//! - The [`Reference`], the time of day by most clocks, which detects a line that is late from its first frame.
//!
//! A timestamp that jumps back is lag, however far, because it cannot be told from a step of the venue's clock. It is a
//! step only if the venue's clock had been ahead and agrees with all other clocks after the jump. Otherwise a clock that
//! was set back becomes the usual difference after ten minutes, and not before it is close to the reference. For quotes
//! without timestamps, other messages of the same connection are measured. On the path of a quote; without I/O.

use crate::feed::reference::{AGREE_NS, Reference};
use crate::time::{MS, MonoNs, SECOND, UnixNs};

/// Lag of one line. The usual difference outlives the connection.
#[derive(Clone, Debug)]
pub(crate) struct Lag {
    /// Smallest difference of each finished bucket and its time, by number of the bucket.
    buckets: [Option<Point>; BUCKETS],
    /// The current bucket: its number and smallest difference.
    current: (u64, Option<Point>),
    /// The last point of the envelope, which rises with time.
    envelope: Option<Point>,
    /// The reference that the last frame was compared with.
    reference: Option<i64>,
    /// Lag of the last frame with a timestamp, in nanoseconds.
    excess_ns: u64,
    /// Consecutive frames that look like a step of the venue's clock.
    step: Step,
    /// Number of consecutive frames whose lag is not small.
    high: u32,
    /// Since when frames are on time again.
    low_since: Option<MonoNs>,
    is_lagging: bool,
    /// Until then, quotes without timestamps wait for the first timestamp of a new connection.
    unproven_until: MonoNs,
}

/// Time of arrival, and arrival minus timestamp in nanoseconds.
type Point = (MonoNs, i64);

/// A run of frames that agree with the reference and are much later than usual. All zero: none.
#[derive(Clone, Copy, Debug, Default)]
struct Step {
    frames: u32,
    since: MonoNs,
    /// Smallest difference in the first half of the run, and since then.
    least: [i64; 2],
}

/// A lag above this makes a quote older and unfit as a leg, in nanoseconds.
pub(crate) const LAGGING_NS: u64 = 250 * MS;
/// This many consecutive frames above half of [`LAGGING_NS`] make the line lagging,
const HIGH_FRAMES: u32 = 3;
/// until all frames are below half of it for this time, in nanoseconds.
const LEAVE_NS: u64 = SECOND;
/// The envelope consists of this many buckets
const BUCKETS: usize = 60;
/// of this length in nanoseconds: ten minutes in all.
const BUCKET_NS: u64 = 10 * SECOND;
/// This many consecutive frames,
const STEP_FRAMES: u32 = 16;
/// over this time in nanoseconds, show that the venue's clock was set.
const STEP_SPAN_NS: u64 = 10 * SECOND;
/// Largest difference between the fastest frames of the two halves, in nanoseconds. A backlog shrinks or grows by more.
const STEP_DRIFT_NS: u64 = 50 * MS;
/// A clock was ahead if its frames are later than usual by more than this, in nanoseconds, and agree with the reference.
const AHEAD_NS: i64 = 4 * AGREE_NS;
/// Largest drift between two clocks, as a divisor: 200 ppm.
const DRIFT: u64 = 5000;
/// How long quotes without timestamps wait for the first timestamp of a connection, in nanoseconds.
const PROOF_NS: u64 = 3 * SECOND / 2;

impl Default for Lag {
    fn default() -> Self {
        Self {
            buckets: [None; BUCKETS],
            current: (0, None),
            envelope: None,
            reference: None,
            excess_ns: 0,
            step: Step::default(),
            high: 0,
            low_since: None,
            is_lagging: false,
            unproven_until: MonoNs(0),
        }
    }
}

/// The envelope at `now`, extrapolated from one point.
fn risen((at, difference): Point, now: MonoNs) -> i64 {
    difference.saturating_add((now.since(at) / DRIFT) as i64)
}

/// How far two clocks may drift apart in a time, both in nanoseconds.
#[must_use]
pub(crate) const fn drift_ns(time_ns: u64) -> u64 {
    time_ns.div_ceil(DRIFT)
}

/// Arrival minus timestamp in nanoseconds, each by its own clock.
#[must_use]
pub const fn difference(stamp: UnixNs, received: MonoNs) -> i64 {
    received.0.wrapping_sub(stamp.0) as i64
}

impl Lag {
    /// Takes the timestamp of a frame that was read at `received`, and returns its lag in nanoseconds. A frame without a
    /// timestamp (0) has the lag of the frame before.
    #[inline]
    pub fn take(&mut self, stamp: UnixNs, received: MonoNs, reference: Option<Reference>) -> u64 {
        if stamp.0 == 0 {
            return self.excess_ns;
        }
        let difference = difference(stamp, received);
        let number = received.0 / BUCKET_NS;
        if number != self.current.0 {
            self.begin_bucket(number, received);
        }
        let usual = self.envelope.map(|point| risen(point, received));
        let mut excess = usual.map_or(0, |usual| difference.saturating_sub(usual));
        if excess > AHEAD_NS && self.was_set(difference, received, reference) {
            excess = 0;
        }
        if excess <= 0 || self.envelope.is_none() {
            self.envelope = Some((received, difference));
        }
        let least = self.current.1.map_or(i64::MAX, |point| risen(point, received));
        if difference <= least {
            self.current.1 = Some((received, difference));
        }
        let behind_ns = reference.map_or(0, |reference| self.hold_against(reference, difference));
        self.excess_ns = excess.max(0).unsigned_abs().max(behind_ns);
        self.unproven_until = MonoNs(0);
        self.judge(received);
        self.excess_ns
    }

    /// How far behind the reference a frame is. When the reference has moved, conclusions from earlier frames are discarded.
    #[inline]
    fn hold_against(&mut self, reference: Reference, difference: i64) -> u64 {
        let before = self.reference.replace(reference.difference);
        if before.is_some_and(|before| before.abs_diff(reference.difference) > AGREE_NS as u64) {
            (self.high, self.is_lagging, self.low_since) = (0, false, None);
        }
        reference.behind_ns(difference)
    }

    /// A frame arrived much later than usual. Returns whether enough frames show that the venue's clock had been ahead and
    /// was corrected; then the usual difference is discarded.
    #[cold]
    fn was_set(&mut self, difference: i64, received: MonoNs, reference: Option<Reference>) -> bool {
        if !reference.is_some_and(|reference| reference.confirms(difference)) {
            self.step.frames = 0;
            return false;
        }
        if self.step.frames == 0 {
            self.step = Step { frames: 0, since: received, least: [i64::MAX; 2] };
        }
        let Step { frames, since, least } = &mut self.step;
        let ran = received.since(*since);
        let half = &mut least[usize::from(ran >= STEP_SPAN_NS / 2)];
        *half = difference.min(*half);
        *frames = frames.saturating_add(1);
        if *frames < STEP_FRAMES || ran < STEP_SPAN_NS {
            return false;
        }
        let was_set = least[0].abs_diff(least[1]) <= STEP_DRIFT_NS;
        if was_set {
            *self = Self { current: (self.current.0, None), reference: self.reference, ..Self::default() };
        }
        self.step.frames = 0;
        was_set
    }

    /// A venue that was silent for ten minutes keeps its last envelope.
    #[cold]
    fn begin_bucket(&mut self, number: u64, now: MonoNs) {
        let (before, least) = std::mem::replace(&mut self.current, (number, None));
        self.buckets[(before % BUCKETS as u64) as usize] = least;
        for skipped in (before + 1..number).take(BUCKETS) {
            self.buckets[(skipped % BUCKETS as u64) as usize] = None;
        }
        self.buckets[(number % BUCKETS as u64) as usize] = None;
        let points = self.buckets.iter().flatten();
        self.envelope = points.copied().min_by_key(|point| risen(*point, now)).or(self.envelope);
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

    /// How late something with the timestamp `stamp` was read at `received`, in nanoseconds, if it is no measurement of the
    /// line. 0 without a timestamp, or before the first measurement.
    #[must_use]
    pub fn of(&self, stamp: UnixNs, received: MonoNs, reference: Option<Reference>) -> u64 {
        if stamp.0 == 0 {
            return 0;
        }
        let difference = difference(stamp, received);
        let excess = self.envelope.map_or(0, |usual| difference.saturating_sub(risen(usual, received)));
        let behind_ns = reference.map_or(0, |reference| reference.behind_ns(difference));
        u64::try_from(excess).unwrap_or(0).max(behind_ns)
    }

    /// The usual difference: our monotonic clock minus the timestamps of the fastest frames, in nanoseconds; `None` before
    /// the first timestamp.
    #[inline]
    #[must_use]
    pub fn usual(&self) -> Option<i64> {
        self.envelope.map(|(_, difference)| difference)
    }

    /// When the usual difference was last measured, and what it was.
    #[inline]
    #[must_use]
    pub(crate) const fn envelope(&self) -> Option<(MonoNs, i64)> {
        self.envelope
    }

    /// A new connection begins. The usual difference is kept; the lag is unknown.
    pub fn begin(&mut self, now: MonoNs) {
        (self.excess_ns, self.high, self.is_lagging, self.low_since) = (0, 0, false, None);
        self.step = Step::default();
        self.unproven_until = if self.envelope.is_some() { now.plus(PROOF_NS) } else { MonoNs(0) };
    }

    /// Copies the usual difference of another line of the venue, if this one has none.
    pub(crate) fn learn_from(&mut self, other: &Self) {
        if self.envelope.is_none() {
            (self.buckets, self.current, self.envelope) = (other.buckets, other.current, other.envelope);
        }
    }

    /// Lag of the last frame with a timestamp, in nanoseconds.
    #[inline]
    #[must_use]
    pub(crate) const fn excess_ns(&self) -> u64 {
        self.excess_ns
    }

    /// Whether the line as a whole is late: several consecutive frames were, and it has not been on time for a second.
    #[inline]
    #[must_use]
    pub(crate) const fn is_lagging(&self) -> bool {
        self.is_lagging
    }

    /// Whether a quote without a timestamp waits for the first timestamp of this connection.
    #[inline]
    #[must_use]
    pub(crate) fn is_unproven(&self, now: MonoNs) -> bool {
        now < self.unproven_until
    }
}

/// The part of a lag that counts towards the age of a quote, in nanoseconds: 0 for a lag within a venue's usual jitter.
#[inline]
#[must_use]
pub(crate) const fn beyond_jitter_ns(excess_ns: u64) -> u64 {
    if excess_ns > LAGGING_NS { excess_ns } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lags in milliseconds of quotes as (timestamp, read), in milliseconds.
    fn lags(quotes: &[(u64, u64)]) -> Vec<u64> {
        let mut lag = Lag::default();
        quotes.iter().map(|&(s, r)| lag.take(UnixNs::from_ms(s), MonoNs(r * MS), None) / MS).collect()
    }

    /// One line whose timestamps are compared with a reference.
    struct Case {
        lag: Lag,
        /// Our monotonic clock, in milliseconds.
        now: u64,
        reference: Reference,
    }

    /// The time of day at 0 of our monotonic clock, in milliseconds.
    const DAY_MS: u64 = 1_700_000_000_000;

    impl Case {
        fn new() -> Self {
            let reference = Reference { difference: -((DAY_MS * MS) as i64), is_sure: true };
            Self { lag: Lag::default(), now: 10_000, reference }
        }

        /// A frame after 100 ms, with a timestamp this long before its arrival. Returns its lag in milliseconds.
        fn frame(&mut self, late_ms: i64) -> u64 {
            self.now += 100;
            let stamp = UnixNs::from_ms((DAY_MS + self.now).wrapping_add_signed(-late_ms));
            self.lag.take(stamp, MonoNs(self.now * MS), Some(self.reference)).div_ceil(MS)
        }

        fn frames(&mut self, count: usize, late_ms: i64) -> Vec<u64> {
            (0..count).map(|_| self.frame(late_ms)).collect()
        }
    }

    #[test]
    fn a_squeezed_line_is_late_by_what_its_stamps_say() {
        assert_eq!(lags(&[(1000, 1050), (2000, 3050), (3000, 5050), (6000, 6050)]), [0, 999, 1999, 0]);
    }

    #[test]
    fn a_lag_that_begins_with_a_jump_is_a_lag() {
        assert_eq!(lags(&[(90_000, 100_000), (60_100, 100_100), (60_200, 100_200)]), [0, 29_999, 29_999]);
        assert_eq!(lags(&[(90_000, 1000), (91_000, 2000)]), [0, 0], "a clock ahead of ours");
    }

    #[test]
    fn a_line_that_is_late_from_its_first_frame_is_late_by_the_reference() {
        let mut case = Case::new();
        assert_eq!(case.frames(2, 30_000), [30_000; 2]);
        assert!(!case.lag.is_lagging());
        case.frame(30_000);
        assert!(case.lag.is_lagging());
        assert_eq!(case.frames(6000, 30_000), [30_000; 6000], "and after ten minutes");
        assert_eq!(case.frame(20), 0);
        assert_eq!(Case::new().frames(2, 1400), [0; 2], "clocks and ways differ");
    }

    #[test]
    fn what_a_wrong_reference_made_of_a_line_is_void_when_the_reference_moves() {
        let mut case = Case::new();
        case.frames(5, 30_000);
        assert!(case.lag.is_lagging());
        case.reference.difference += 30 * SECOND as i64;
        assert_eq!(case.frame(30_000), 0);
        assert!(!case.lag.is_lagging());
    }

    #[test]
    fn a_lag_lasts_until_ten_minutes_have_passed() {
        let mut lag = Lag::default();
        let mut at =
            |ms: u64, behind_ms: u64| lag.take(UnixNs::from_ms(1_000_000 + ms - behind_ms), MonoNs(ms * MS), None) / MS;
        (0..600).for_each(|n| assert_eq!(at(n * 100, 0), 0));
        // The clocks may drift apart by 12 ms a minute.
        (600..6000).for_each(|n| assert!((2870..=3000).contains(&at(n * 100, 3000)), "{n}"));
        let _ = (6600..6800).map(|n| at(n * 100, 3000)).max();
        assert_eq!(at(680_000, 3000), 0, "it is the usual now");
    }

    #[test]
    fn a_silence_of_an_hour_does_not_make_a_lag_the_usual() {
        let hour = 3_600_000;
        let lag = lags(&[(90_000, 100_000), (90_000 + hour - 30_000, 100_000 + hour)]);
        // The clocks may have drifted apart by 720 ms.
        assert_eq!(lag, [0, 29_280]);
    }

    #[test]
    fn clocks_that_drift_are_no_lag() {
        let mut lag = Lag::default();
        for n in 0..100_000u64 {
            let ns = n * 100 * MS;
            assert!(lag.take(UnixNs(SECOND + ns - ns / 6000), MonoNs(ns), None) < MS, "{n}");
        }
    }

    #[test]
    fn a_wild_stamp_is_late_alone_and_a_clock_that_is_set_back_by_an_hour_is_no_reset() {
        let hour = 3_600_000;
        let mut quotes = vec![(2 * hour, 1000), (2 * hour + 100, 1100), (5, 1150), (2 * hour + 200, 1200)];
        assert_eq!(lags(&quotes), [0, 0, 2 * hour + 144, 0]);
        quotes.truncate(2);
        quotes.extend((0..20).map(|n| (hour + n * 100, 1200 + n * 100)));
        assert_eq!(lags(&quotes)[2..], [hour + 199; 20]);
    }

    #[test]
    fn a_clock_that_was_ahead_and_is_set_right_is_released_after_ten_seconds() {
        let mut case = Case::new();
        case.frames(100, -3_600_000);
        let after = case.frames(120, 20);
        let late = after.iter().take_while(|lag| **lag > 0).count();
        assert_eq!((late, &after[late..]), (100, &[0; 20][..]), "{after:?}");
        assert!(!case.lag.is_lagging());
        assert_eq!(case.frame(520), 500, "and from then on that is the usual");
    }

    #[test]
    fn what_is_not_surely_a_step_is_a_lag_for_ten_minutes() {
        let check = |what: &str, ahead: i64, is_sure: bool, late: &dyn Fn(usize) -> i64| {
            let mut case = Case::new();
            case.reference.is_sure = is_sure;
            case.frames(100, -ahead);
            (0..400).for_each(|n| assert!(case.frame(late(n)) > 1000, "{what}: frame {n}"));
        };
        check("a clock that was right", 0, true, &|_| 30_000);
        check("another difference than all others have", 60_000, true, &|_| -30_000);
        check("a backlog that shrinks", 30_000, true, &|n| 480 - 2 * (n as i64 % 400));
        check("our wall clock says otherwise", 60_000, false, &|_| 0);
        check("a small step", 1500, true, &|_| 0);
    }

    #[test]
    fn a_line_is_lagging_after_three_late_frames_until_it_was_on_time_for_a_second() {
        let mut lag = Lag::default();
        let mut at = |ms: u64, late_ms: u64| {
            lag.take(UnixNs::from_ms(50_000 + ms - late_ms), MonoNs(ms * MS), None);
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
        lag.take(UnixNs::from_ms(50_000), MonoNs(10_000 * MS), None);
        lag.begin(MonoNs(11_000 * MS));
        assert!(lag.is_unproven(MonoNs(11_001 * MS)));
        let mut second = Lag::default();
        second.learn_from(&lag);
        for lag in [&mut lag, &mut second] {
            assert_eq!(lag.take(UnixNs::from_ms(22_000), MonoNs(12_000 * MS), None).div_ceil(MS), 30_000);
            assert!(!lag.is_unproven(MonoNs(12_000 * MS)));
        }
    }

    #[test]
    fn what_has_no_stamp_is_as_late_as_the_last_that_had_one() {
        assert_eq!(lags(&[(1000, 1000), (0, 9500), (1400, 2400), (0, 2500)]), [0, 0, 999, 999]);
    }
}
