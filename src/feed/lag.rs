//! How much later than usual a venue's quotes come, by the venue's own stamps: a squeezed line delivers old prices in
//! order and without a gap, and only their stamps tell. What is usual is the least difference between our monotonic
//! clock and the stamp, so neither clock needs to be right, and whoever sets our wall clock makes no price older.
//! Where quotes have no stamps, other messages of the same connection tell. Pure; on the path of a quote.

use crate::time::{MS, MonoNs, SECOND, UnixNs};

/// The lag of one venue's quotes.
#[derive(Debug)]
pub struct Lag {
    /// A stamp that is older than the newest by more tells of a clock that was set, not of a line, which keeps the order.
    step_ns: u64,
    /// The newest stamp so far.
    newest: UnixNs,
    /// How much later than usual it came, in nanoseconds.
    lag_ns: u64,
    /// Least difference in the span since `since`, and in the one before; `None`: no quote yet.
    least: Option<i64>,
    before: Option<i64>,
    since: MonoNs,
}

/// Lateness that is nobody's fault.
const FREE_NS: u64 = 250 * MS;
/// Half of the time for which the least difference is remembered: no longer, since clocks drift.
const SPAN_NS: u64 = 600 * SECOND;

impl Lag {
    /// For quotes, which come often and are stamped here and there.
    #[must_use]
    pub const fn of_quotes() -> Self {
        Self::new(SECOND)
    }

    /// For day statistics: about one a second for each instrument, stamped when they are sent.
    #[must_use]
    pub const fn of_days() -> Self {
        Self::new(SECOND / 4)
    }

    const fn new(step_ns: u64) -> Self {
        Self { step_ns, newest: UnixNs(0), lag_ns: 0, least: None, before: None, since: MonoNs(0) }
    }

    /// Takes the stamp of a quote that was read at `received`; a stamp of 0 is none. Gives the lateness that it has
    /// beyond a quarter of a second, in nanoseconds. Never so much that a later stamp would seem to come earlier.
    #[inline]
    pub fn take(&mut self, stamp: UnixNs, received: MonoNs) -> u64 {
        if stamp.0 == 0 {
            return 0;
        }
        if stamp.0.saturating_add(self.step_ns) < self.newest.0 {
            *self = Self::new(self.step_ns);
        }
        if stamp > self.newest {
            self.newest = stamp;
            self.measure(received.0.wrapping_sub(stamp.0) as i64, received);
        }
        self.late_ns()
    }

    /// Another connection begins: what comes by it is not late before its stamps say so.
    pub const fn begin(&mut self) {
        self.lag_ns = 0;
    }

    /// The lateness of what came last, beyond a quarter of a second, in nanoseconds.
    #[inline]
    #[must_use]
    pub const fn late_ns(&self) -> u64 {
        self.lag_ns.saturating_sub(FREE_NS)
    }

    /// How much later than usual a change stamped `stamp` was read at `received`, beyond a quarter of a second, in
    /// nanoseconds. Unlike [`Self::take`] it takes what has the newest stamp again for another change of that moment,
    /// and no repetition. 0 without a stamp, or before anything had one.
    #[must_use]
    pub fn since(&self, stamp: UnixNs, received: MonoNs) -> u64 {
        let usual = self.least.into_iter().chain(self.before).min().filter(|_| stamp.0 != 0);
        let difference = received.0.wrapping_sub(stamp.0) as i64;
        usual.map_or(0, |usual| u64::try_from(difference.saturating_sub(usual)).unwrap_or(0)).saturating_sub(FREE_NS)
    }

    fn measure(&mut self, difference: i64, received: MonoNs) {
        if received.since(self.since) >= SPAN_NS {
            (self.before, self.least, self.since) = (self.least, None, received);
        }
        let least = self.least.map_or(difference, |least| least.min(difference));
        self.least = Some(least);
        self.lag_ns = difference.saturating_sub(self.before.unwrap_or(least).min(least)).unsigned_abs();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Quotes as (stamp, read), in milliseconds; gives each one's lateness in milliseconds.
    fn lags(quotes: &[(u64, u64)]) -> Vec<u64> {
        let mut lag = Lag::of_quotes();
        quotes.iter().map(|&(s, r)| lag.take(UnixNs::from_ms(s), MonoNs(r * MS)) / MS).collect()
    }

    #[test]
    fn f20_a_squeezed_line_is_late_by_what_its_stamps_say() {
        assert_eq!(lags(&[(1000, 1050), (2000, 3050), (3000, 5050), (6000, 6050)]), [0, 750, 1750, 0]);
    }

    #[test]
    fn a_clock_that_is_wrong_or_set_is_no_lateness() {
        assert_eq!(lags(&[(90_000, 1000), (91_000, 2000)]), [0, 0], "ahead of ours");
        assert_eq!(lags(&[(90_000, 100_000), (80_000, 100_100), (80_100, 100_200)]), [0, 0, 0], "set back");
        assert_eq!(lags(&[(90_000, 90_000), (190_000, 90_100), (90_200, 90_200)]), [0, 0, 0], "forth and back");
    }

    #[test]
    fn f20_another_change_of_the_same_moment_is_as_late_as_it_comes() {
        let mut lag = Lag::of_quotes();
        let since = |lag: &Lag, stamp, at: u64| lag.since(UnixNs::from_ms(stamp), MonoNs(at * MS)) / MS;
        assert_eq!(since(&lag, 1000, 9000), 0);
        lag.take(UnixNs::from_ms(1000), MonoNs(1050 * MS));
        assert_eq!([1050, 1300, 3300].map(|at| since(&lag, 1000, at)), [0, 0, 2000]);
        assert_eq!([since(&lag, 0, 3300), since(&lag, 5000, 3300)], [0, 0]);
    }

    #[test]
    fn what_is_said_again_or_has_no_stamp_is_not_late() {
        assert_eq!(lags(&[(1000, 1000), (1000, 9000), (0, 9500), (9600, 9600)]), [0; 4]);
    }
}
