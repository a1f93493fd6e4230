//! The circuit breaker: stops attempts to an address that does not answer, then tries again one attempt at a time. Pure:
//! time comes in, a decision comes out. One per address, on the thread that calls there.
//!
//! ```text
//! closed - failures in a row, for long enough - open - its time is over - half open - successes - closed
//!                                                 ^--------- any failure ----'
//! ```
//!
//! What a failure is its caller says, once per attempt. A short interruption opens nothing: the failures must
//! also have lasted [`BreakerOptions::after_ns`]. A ban opens at once, for as long as it was asked for.

use crate::metrics::{BreakerGauges, BreakerState};
use crate::time::{MS, MonoNs};

/// When a breaker opens and closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BreakerOptions {
    /// So many failures in a row open it; at least 1.
    pub failures: u32,
    /// But not before they have gone on for so long, in nanoseconds. 0: the number alone decides.
    pub(crate) after_ns: u64,
    /// How long it stays open, in nanoseconds.
    pub(crate) open_ns: u64,
    /// So many successes in a row close it again; at least 1.
    pub(crate) successes: u32,
}

/// One address and how it has answered.
#[derive(Clone, Debug)]
pub(crate) struct Breaker {
    options: BreakerOptions,
    state: BreakerState,
    /// In a row, up to now.
    failures: u32,
    /// The first of them.
    since: MonoNs,
    /// While half open.
    successes: u32,
    /// Until when it is open.
    until: MonoNs,
    /// Whether the one attempt of a half-open breaker is under way.
    probing: bool,
    last_failure: Option<MonoNs>,
}

impl Breaker {
    /// A closed one.
    #[must_use]
    pub fn new(options: BreakerOptions) -> Self {
        Self {
            options,
            state: BreakerState::Closed,
            failures: 0,
            since: MonoNs(0),
            successes: 0,
            until: MonoNs(0),
            probing: false,
            last_failure: None,
        }
    }

    /// What it is.
    #[must_use]
    pub const fn state(&self) -> BreakerState {
        self.state
    }

    /// The earliest time at which [`Self::begin`] may say yes; an attempt that is under way may put it off.
    #[must_use]
    pub(crate) fn ready_at(&self) -> MonoNs {
        if self.state == BreakerState::Open { self.until } else { MonoNs(0) }
    }

    /// Whether an attempt may begin now. After a yes, one of [`Self::succeeded`], [`Self::failed`], [`Self::banned`]
    /// or [`Self::abandoned`] must follow before a half-open one says yes again.
    pub fn begin(&mut self, now: MonoNs) -> bool {
        match self.state {
            BreakerState::Closed => true,
            BreakerState::Open if now < self.until => false,
            BreakerState::Open => {
                (self.state, self.failures, self.successes, self.probing) = (BreakerState::HalfOpen, 0, 0, true);
                true
            }
            BreakerState::HalfOpen => !std::mem::replace(&mut self.probing, true),
        }
    }

    /// An attempt was good, or what it led to is still good some time later.
    pub(crate) fn succeeded(&mut self) {
        self.failures = 0;
        if self.state == BreakerState::HalfOpen {
            self.probing = false;
            self.successes += 1;
            if self.successes >= self.options.successes {
                (self.state, self.successes) = (BreakerState::Closed, 0);
            }
        }
    }

    /// An attempt came to nothing. Whether that opened the breaker.
    pub fn failed(&mut self, now: MonoNs) -> bool {
        self.count(now);
        let has_lasted = now.since(self.since) >= self.options.after_ns;
        let opens = match self.state {
            BreakerState::Closed => self.failures >= self.options.failures && has_lasted,
            BreakerState::HalfOpen => true,
            // An attempt that began before it opened has failed.
            BreakerState::Open => false,
        };
        if opens {
            self.open(now.plus(self.options.open_ns));
        }
        opens
    }

    /// The other end said to stay away for `ns` nanoseconds: open for that time, whatever was before. Whether
    /// that opened the breaker.
    pub fn banned(&mut self, now: MonoNs, ns: u64) -> bool {
        self.count(now);
        let opens = self.state != BreakerState::Open;
        self.open(self.until.max(now.plus(ns)));
        opens
    }

    /// An attempt ended without saying anything about the other end.
    pub(crate) fn abandoned(&mut self) {
        self.probing = false;
    }

    /// What was counted says nothing of the other end: closed, as if nothing had been.
    pub(crate) fn reset(&mut self) {
        *self = Self { last_failure: self.last_failure, ..Self::new(self.options) };
    }

    fn count(&mut self, now: MonoNs) {
        if self.failures == 0 {
            self.since = now;
        }
        self.failures = self.failures.saturating_add(1);
        self.last_failure = Some(now);
    }

    fn open(&mut self, until: MonoNs) {
        (self.state, self.until, self.successes, self.probing) = (BreakerState::Open, until, 0, false);
    }

    /// Shows it to health and metrics.
    pub fn show(&self, gauges: &BreakerGauges) {
        gauges.set_state(self.state);
        gauges.failures.set(u64::from(self.failures));
        gauges.successes.set(u64::from(self.successes));
        gauges.until.set(if self.state == BreakerState::Open { self.until.0 } else { 0 });
        gauges.last_failure.set(self.last_failure.map_or(0, |at| at.0));
    }
}

/// A connection is a success each time it has been good for this long, the first price being the beginning: one
/// that breaks as soon as it gives prices is none, and one that stays earns all that are asked for.
pub const GOOD_NS: u64 = 5000 * MS;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::SECOND;
    use BreakerState::{Closed, HalfOpen, Open};
    use proptest::prelude::*;

    const AT_ONCE: BreakerOptions = BreakerOptions { failures: 5, after_ns: 0, open_ns: 60 * SECOND, successes: 3 };
    const USUAL: BreakerOptions =
        BreakerOptions { failures: 5, after_ns: 15 * SECOND, open_ns: 15 * SECOND, successes: 3 };

    /// Open since `at`.
    fn open(at: MonoNs) -> Breaker {
        let mut breaker = Breaker::new(AT_ONCE);
        assert!((0..4).all(|_| !breaker.failed(at)) && breaker.failed(at));
        breaker
    }

    #[test]
    fn the_fifth_failure_in_a_row_opens_it_and_a_success_begins_the_count_anew() {
        let mut breaker = Breaker::new(AT_ONCE);
        let now = MonoNs(SECOND);
        (0..4).for_each(|_| assert!(!breaker.failed(now)));
        breaker.succeeded();
        (0..4).for_each(|_| assert!(!breaker.failed(now)));
        assert_eq!((breaker.state(), breaker.failures, breaker.begin(now)), (Closed, 4, true));
        assert!(breaker.failed(now));
        assert_eq!((breaker.state(), breaker.failures, breaker.begin(now)), (Open, 5, false));
    }

    #[test]
    fn after_its_time_it_admits_one_probe_and_three_successes_close_it() {
        let mut breaker = open(MonoNs(0));
        assert_eq!(breaker.ready_at(), MonoNs(60 * SECOND));
        assert!(!breaker.begin(MonoNs(60 * SECOND - 1)));
        let now = MonoNs(60 * SECOND);
        assert!(breaker.begin(now));
        assert_eq!((breaker.state(), breaker.failures), (HalfOpen, 0));
        assert!(!breaker.begin(now), "a second probe beside the first");
        breaker.succeeded();
        assert!(breaker.begin(now) && !breaker.begin(now));
        breaker.succeeded();
        assert_eq!(breaker.state(), HalfOpen);
        breaker.succeeded();
        assert_eq!(breaker.state(), Closed);
    }

    #[test]
    fn a_failure_while_half_open_opens_it_for_its_whole_time() {
        let mut breaker = open(MonoNs(0));
        let now = MonoNs(70 * SECOND);
        assert!(breaker.begin(now));
        breaker.succeeded();
        assert!(breaker.failed(now));
        assert_eq!((breaker.state(), breaker.ready_at()), (Open, MonoNs(130 * SECOND)));
    }

    #[test]
    fn a_short_interruption_opens_nothing_and_a_long_one_does() {
        let mut breaker = Breaker::new(USUAL);
        for second in 0..15 {
            assert!(!breaker.failed(MonoNs(second * SECOND)), "after {second} s");
        }
        assert!(breaker.failed(MonoNs(15 * SECOND)));
    }

    #[test]
    fn a_ban_opens_it_for_as_long_as_it_lasts_and_a_shorter_one_does_not_end_it() {
        let mut breaker = Breaker::new(USUAL);
        assert!(breaker.banned(MonoNs(0), 600 * SECOND));
        assert!(!breaker.banned(MonoNs(SECOND), 7 * SECOND));
        assert_eq!((breaker.state(), breaker.ready_at()), (Open, MonoNs(600 * SECOND)));
        assert!(!breaker.begin(MonoNs(600 * SECOND - 1)) && breaker.begin(MonoNs(600 * SECOND)));
    }

    #[test]
    fn an_attempt_that_says_nothing_leaves_room_for_the_next() {
        let mut breaker = open(MonoNs(0));
        assert!(breaker.begin(MonoNs(60 * SECOND)));
        breaker.abandoned();
        assert!(breaker.begin(MonoNs(60 * SECOND)));
    }

    #[test]
    fn what_is_shown_is_what_it_is() {
        let gauges = BreakerGauges::default();
        Breaker::new(AT_ONCE).show(&gauges);
        assert_eq!((gauges.state(), gauges.last_failure.value()), (Closed, 0));
        open(MonoNs(9)).show(&gauges);
        assert_eq!((gauges.state(), gauges.failures.value(), gauges.last_failure.value()), (Open, 5, 9));
        assert_eq!(gauges.until.value(), 60 * SECOND + 9);
    }

    proptest! {
        #[test]
        fn whatever_happens_an_open_one_admits_nothing_and_a_half_open_one_a_single_attempt(
            steps in prop::collection::vec((0u64..40 * SECOND, 0u8..5), 1..200),
        ) {
            let mut breaker = Breaker::new(AT_ONCE);
            let (mut now, mut under_way, mut opened) = (MonoNs(0), 0u32, None);
            for (passed, step) in steps {
                now = now.plus(passed);
                match step {
                    0 | 1 => {
                        if breaker.begin(now) {
                            if breaker.state() == HalfOpen {
                                prop_assert_eq!(under_way, 0, "two probes");
                            }
                            prop_assert!(opened.is_none_or(|at| now.since(at) >= 60 * SECOND), "asked while open");
                            under_way += u32::from(breaker.state() == HalfOpen);
                            opened = None;
                        }
                    }
                    2 => {
                        if breaker.failed(now) {
                            opened = Some(now);
                        }
                        under_way = 0;
                    }
                    3 => {
                        breaker.succeeded();
                        under_way = 0;
                    }
                    _ => {
                        breaker.abandoned();
                        under_way = 0;
                    }
                }
                prop_assert_eq!(opened.is_some(), breaker.state() == Open);
            }
        }
    }
}
