//! How far Redis can be relied on: a circuit breaker whose open state has a use of its own. Pure: answers, failures
//! and times come in, a [`RedisState`] comes out. Turned by the lead thread.
//!
//! Two things are watched, for either can fail alone: calls, and the pulse that the follower sends to itself through
//! Redis. `joined` is closed, `cut_off` open, `returning` half open: one call at a time probes.

use crate::metrics::cluster::RedisState;
use crate::net::backoff::doubled;
use crate::time::{MS, MonoNs};

/// No pulse, or no answer to any call, for so long: Redis is not relied on. In nanoseconds; three pulses.
pub(crate) const LATE_NS: u64 = 300 * MS;
/// This number of consecutive failed calls shows the same sooner.
const FAILURES_MAX: u32 = 3;
/// Pause after a first failure; it doubles while we are cut off.
const RETRY_FIRST_NS: u64 = 50 * MS;
/// Longest pause between two probes.
const RETRY_MAX_NS: u64 = 500 * MS;
/// A process that did not run for this long stood still, and what it missed meanwhile says nothing about Redis.
const OVERSLEPT_NS: u64 = 250 * MS;
/// How soon to look again while nothing was heard yet.
const LOOK_NS: u64 = 5 * MS;

/// The state machine.
#[derive(Clone, Debug)]
pub struct Fallback {
    state: RedisState,
    since: MonoNs,
    stable_ns: u64,
    /// When a call was last answered.
    answered: MonoNs,
    /// Calls that failed since.
    failures: u32,
    /// The next call may be made then.
    call_at: MonoNs,
    /// When the last pulse was heard.
    heard: MonoNs,
    /// Silence counts from here on at the earliest.
    listening: MonoNs,
    looked: MonoNs,
}

impl Fallback {
    /// Nothing tried yet. Redis must answer well for `stable_ns` nanoseconds before it is relied on again.
    #[must_use]
    pub const fn new(stable_ns: u64, now: MonoNs) -> Self {
        Self {
            state: RedisState::Connecting,
            since: now,
            stable_ns,
            answered: MonoNs(0),
            failures: 0,
            call_at: now,
            heard: MonoNs(0),
            listening: now,
            looked: now,
        }
    }

    /// The current state.
    #[must_use]
    pub const fn state(&self) -> RedisState {
        self.state
    }

    /// When the state began.
    #[must_use]
    pub const fn since(&self) -> MonoNs {
        self.since
    }

    /// Calls that failed in a row.
    #[must_use]
    pub const fn failures(&self) -> u32 {
        self.failures
    }

    /// Whether a call may be made now. After a failure there is a pause, and while cut off only a probe at times.
    #[must_use]
    pub(crate) fn may_call(&self, now: MonoNs) -> bool {
        now >= self.call_at
    }

    /// A call was answered in time.
    pub fn answered(&mut self, now: MonoNs) {
        self.answered = now;
        self.failures = 0;
        self.call_at = now;
        if self.state == RedisState::CutOff {
            self.enter(RedisState::Returning, now);
            self.listening = now;
        }
    }

    /// A call was refused, late, or not possible at all.
    pub fn failed(&mut self, now: MonoNs) {
        self.failures = self.failures.saturating_add(1);
        let doublings = self.failures.saturating_sub(FAILURES_MAX);
        self.call_at = now.plus(doubled(RETRY_FIRST_NS, doublings, RETRY_MAX_NS));
        let is_gone = match self.state {
            // There was no connection yet: a process that starts without Redis serves alone at once.
            RedisState::Connecting | RedisState::Returning => true,
            RedisState::Joined => self.failures >= FAILURES_MAX,
            RedisState::CutOff => false,
        };
        if is_gone {
            self.enter(RedisState::CutOff, now);
        }
    }

    /// The last pulse came back at `at`; may be called repeatedly.
    pub fn heard(&mut self, at: MonoNs) {
        self.heard = self.heard.max(at);
    }

    /// Time alone. Call at least every 100 ms, after [`Self::heard`].
    pub fn elapsed(&mut self, now: MonoNs) {
        if now.since(self.looked) > OVERSLEPT_NS {
            self.listening = now;
        }
        self.looked = now;
        let is_silent = now.since(self.heard.max(self.listening)) > LATE_NS;
        let is_well = self.heard > self.since && self.answered > self.since;
        match self.state {
            RedisState::CutOff => {}
            _ if is_silent => self.enter(RedisState::CutOff, now),
            RedisState::Connecting if is_well => self.enter(RedisState::Joined, now),
            RedisState::Returning if is_well && now.since(self.since) >= self.stable_ns => {
                self.enter(RedisState::Joined, now);
            }
            RedisState::Connecting | RedisState::Returning | RedisState::Joined => {}
        }
    }

    /// When something is to be done without news.
    #[must_use]
    pub fn deadline(&self) -> MonoNs {
        let silent = self.heard.max(self.listening).plus(LATE_NS + MS);
        match self.state {
            RedisState::CutOff => self.call_at,
            RedisState::Connecting => self.looked.plus(LOOK_NS),
            RedisState::Returning => silent.min(self.since.plus(self.stable_ns).max(self.looked.plus(LOOK_NS))),
            RedisState::Joined => silent,
        }
    }

    fn enter(&mut self, state: RedisState, now: MonoNs) {
        if state == RedisState::CutOff {
            self.call_at = self.call_at.max(now.plus(RETRY_FIRST_NS));
        }
        (self.state, self.since) = (state, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use RedisState::{Connecting, CutOff, Joined, Returning};

    const STABLE_NS: u64 = 3000 * MS;

    fn ms(n: u64) -> MonoNs {
        MonoNs(n * MS)
    }

    /// Turned every 10 ms from `from` to `to`, with a call each 100 ms; `answers` and `hears`: what works.
    fn run(fallback: &mut Fallback, from: u64, to: u64, answers: bool, hears: bool) {
        for n in (from..to).step_by(10) {
            let now = ms(n);
            if hears && n.is_multiple_of(100) {
                fallback.heard(now);
            }
            fallback.elapsed(now);
            let is_due = n.is_multiple_of(100) || fallback.state() == CutOff;
            if is_due && fallback.may_call(now) {
                if answers { fallback.answered(now) } else { fallback.failed(now) }
            }
        }
    }

    fn joined() -> Fallback {
        let mut fallback = Fallback::new(STABLE_NS, ms(0));
        run(&mut fallback, 0, 1000, true, true);
        assert_eq!(fallback.state(), Joined);
        fallback
    }

    #[test]
    fn without_redis_at_start_we_are_on_our_own_at_once() {
        let mut fallback = Fallback::new(STABLE_NS, ms(0));
        assert_eq!(fallback.state(), Connecting);
        run(&mut fallback, 0, 10, false, false);
        assert_eq!(fallback.state(), CutOff);
    }

    #[test]
    fn an_answer_and_a_pulse_are_enough_at_start() {
        let mut fallback = Fallback::new(STABLE_NS, ms(0));
        run(&mut fallback, 10, 130, true, true);
        assert_eq!(fallback.state(), Joined);
    }

    #[test]
    fn calls_that_fail_are_known_in_half_a_second() {
        let mut fallback = joined();
        run(&mut fallback, 1000, 1400, false, true);
        assert_eq!(fallback.state(), CutOff);
    }

    #[test]
    fn calls_that_are_answered_do_not_hide_that_nothing_is_heard() {
        let mut fallback = joined();
        run(&mut fallback, 1000, 1200, true, false);
        assert_eq!(fallback.state(), Joined);
        for n in (1200..10_000).step_by(10) {
            run(&mut fallback, n, n + 10, true, false);
            assert!(n < 1320 || matches!(fallback.state(), CutOff | Returning), "{n}: {:?}", fallback.state());
        }
        run(&mut fallback, 10_000, 14_000, true, true);
        assert_eq!(fallback.state(), Joined);
    }

    #[test]
    fn one_late_call_is_no_reason() {
        let mut fallback = joined();
        fallback.failed(ms(1000));
        run(&mut fallback, 1060, 3000, true, true);
        assert_eq!(fallback.state(), Joined);
    }

    #[test]
    fn redis_is_relied_on_again_only_after_it_was_stable() {
        let mut fallback = joined();
        run(&mut fallback, 1000, 5000, false, false);
        run(&mut fallback, 5000, 7000, true, true);
        assert_eq!(fallback.state(), Returning);
        run(&mut fallback, 7000, 7100, false, false);
        assert_eq!(fallback.state(), CutOff, "one failure, and it starts anew");
        run(&mut fallback, 7100, 10_100, true, true);
        assert_eq!(fallback.state(), Returning);
        run(&mut fallback, 10_100, 10_800, true, true);
        assert_eq!(fallback.state(), Joined);
    }

    #[test]
    fn our_own_standstill_is_not_the_fault_of_redis() {
        let mut fallback = joined();
        run(&mut fallback, 11_050, 11_090, true, false);
        assert_eq!(fallback.state(), Joined);
        run(&mut fallback, 11_090, 12_000, true, true);
        assert_eq!(fallback.state(), Joined);
    }

    #[test]
    fn probes_of_a_redis_that_is_away_grow_rarer_to_a_bound() {
        let mut fallback = joined();
        let mut probes = Vec::new();
        for now in (1000..20_000).step_by(10).map(ms) {
            fallback.heard(now);
            fallback.elapsed(now);
            if fallback.may_call(now) {
                probes.push(now);
                fallback.failed(now);
            }
        }
        assert_eq!(fallback.state(), CutOff);
        let gaps: Vec<u64> = probes.windows(2).map(|pair| pair[1].since(pair[0])).collect();
        assert!(gaps.is_sorted(), "{gaps:?}");
        assert_eq!(gaps.last(), Some(&RETRY_MAX_NS));
    }
}
