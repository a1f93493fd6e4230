//! How far Redis can be relied on: a circuit breaker whose open state has a use of its own. Pure: answers, failures
//! and times come in, a [`RedisState`] comes out. Turned by the lead thread.
//!
//! Two things are watched, for either can fail alone: calls, and the way of a pulse that this instance publishes
//! and its follower hears. `joined` is closed, `cut_off` open, `returning` half open: one call at a time probes.

use crate::metrics::cluster::RedisState;
use crate::time::{MS, MonoNs};

/// How often a pulse is sent, in nanoseconds.
pub const PULSE_EVERY_NS: u64 = 100 * MS;
/// A pulse that is not heard, or calls without an answer, for so long: Redis is not relied on.
pub const LATE_NS: u64 = 300 * MS;
/// So many failed calls in a row tell the same sooner.
const FAILURES_MAX: u32 = 3;
/// Pause after a first failure; it doubles while we are cut off.
const RETRY_FIRST_NS: u64 = 50 * MS;
/// Longest pause between two probes.
const RETRY_MAX_NS: u64 = 500 * MS;
/// Whoever did not look for so long slept, and what was not heard meanwhile says nothing about Redis.
const OVERSLEPT_NS: u64 = 150 * MS;

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
    pulse_at: MonoNs,
    /// The oldest pulse that was sent and that neither it nor a later one was heard.
    unheard: Option<MonoNs>,
    /// The newest pulse that was sent.
    sent: MonoNs,
    /// Whether a pulse was heard since `since`.
    heard: bool,
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
            answered: now,
            failures: 0,
            call_at: now,
            pulse_at: now,
            unheard: None,
            sent: MonoNs(0),
            heard: false,
            looked: now,
        }
    }

    /// The state, after all that was told.
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
    pub fn may_call(&self, now: MonoNs) -> bool {
        now >= self.call_at
    }

    /// A call was answered in time.
    pub fn answered(&mut self, now: MonoNs) {
        self.answered = now;
        self.failures = 0;
        self.call_at = now;
        if self.state == RedisState::CutOff {
            self.enter(RedisState::Returning, now);
            // What was sent before the return is lost, and proves nothing.
            self.unheard = None;
            self.pulse_at = now;
        }
    }

    /// A call was refused, late, or not possible at all.
    pub fn failed(&mut self, now: MonoNs) {
        self.failures = self.failures.saturating_add(1);
        let doublings = self.failures.saturating_sub(FAILURES_MAX).min(10);
        self.call_at = now.plus((RETRY_FIRST_NS << doublings).min(RETRY_MAX_NS));
        let is_gone = match self.state {
            // Nothing was ever had: whoever starts without Redis serves by itself at once.
            RedisState::Connecting | RedisState::Returning => true,
            RedisState::Joined => self.failures >= FAILURES_MAX || now.since(self.answered) >= LATE_NS,
            RedisState::CutOff => false,
        };
        if is_gone {
            self.enter(RedisState::CutOff, now);
        }
    }

    /// A pulse to send now, if it is time for one: its mark, which is told to [`Self::heard`] when it comes back.
    pub fn pulse(&mut self, now: MonoNs) -> Option<MonoNs> {
        if self.state == RedisState::CutOff || now < self.pulse_at || !self.may_call(now) {
            return None;
        }
        self.pulse_at = now.plus(PULSE_EVERY_NS);
        self.sent = now;
        self.unheard.get_or_insert(now);
        Some(now)
    }

    /// The pulse with `mark` came back, and so all that is older is accounted for.
    pub fn heard(&mut self, mark: MonoNs, now: MonoNs) {
        if mark > self.sent {
            return;
        }
        if self.unheard.is_some_and(|oldest| oldest <= mark) {
            // Later ones are on their way since at least the next beat.
            self.unheard = (mark < self.sent).then(|| mark.plus(PULSE_EVERY_NS).min(self.sent));
        }
        if mark >= self.since {
            self.heard = true;
        }
        self.elapsed(now);
    }

    /// Time alone. Call at least every 100 ms, after what was heard meanwhile was told.
    pub fn elapsed(&mut self, now: MonoNs) {
        let overslept = now.since(self.looked) > OVERSLEPT_NS;
        self.looked = now;
        if overslept && self.unheard.is_some() {
            self.unheard = Some(now);
        }
        let late = self.unheard.is_some_and(|oldest| now.since(oldest) > LATE_NS);
        match self.state {
            RedisState::CutOff => {}
            _ if late => self.enter(RedisState::CutOff, now),
            RedisState::Connecting if self.heard => self.enter(RedisState::Joined, now),
            RedisState::Connecting if now.since(self.since) > LATE_NS => self.enter(RedisState::CutOff, now),
            RedisState::Returning if self.heard && now.since(self.since) >= self.stable_ns => {
                self.enter(RedisState::Joined, now);
            }
            RedisState::Connecting | RedisState::Returning | RedisState::Joined => {}
        }
    }

    /// When something is to be done without news.
    #[must_use]
    pub fn deadline(&self) -> MonoNs {
        if self.state == RedisState::CutOff { self.call_at } else { self.pulse_at.max(self.call_at) }
    }

    fn enter(&mut self, state: RedisState, now: MonoNs) {
        if state == RedisState::CutOff {
            self.unheard = None;
            self.call_at = self.call_at.max(now.plus(RETRY_FIRST_NS));
        }
        (self.state, self.since, self.heard) = (state, now, false);
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

    /// Turned every 10 ms from `from` to `to`; `answers` and `hears` tell what works.
    fn run(fallback: &mut Fallback, from: u64, to: u64, answers: bool, hears: bool) {
        for now in (from..to).step_by(10).map(ms) {
            fallback.elapsed(now);
            if let Some(mark) = fallback.pulse(now) {
                if answers {
                    fallback.answered(now)
                } else {
                    fallback.failed(now)
                }
                if answers && hears {
                    fallback.heard(mark, now.plus(MS));
                }
            } else if fallback.state() == CutOff && fallback.may_call(now) {
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
    fn f64_without_redis_at_start_we_are_on_our_own_at_once() {
        let mut fallback = Fallback::new(STABLE_NS, ms(0));
        assert_eq!(fallback.state(), Connecting);
        run(&mut fallback, 0, 10, false, false);
        assert_eq!(fallback.state(), CutOff);
    }

    #[test]
    fn a_first_pulse_that_is_heard_is_enough_at_start() {
        let mut fallback = Fallback::new(STABLE_NS, ms(0));
        run(&mut fallback, 0, 20, true, true);
        assert_eq!(fallback.state(), Joined);
    }

    #[test]
    fn f65_f66_calls_that_fail_are_known_in_half_a_second() {
        let mut fallback = joined();
        run(&mut fallback, 1000, 1400, false, false);
        assert_eq!(fallback.state(), CutOff);
    }

    #[test]
    fn f67_calls_that_are_answered_do_not_hide_that_nothing_is_heard() {
        let mut fallback = joined();
        run(&mut fallback, 1000, 1290, true, false);
        assert_eq!(fallback.state(), Joined);
        for ms in (1290..10_000).step_by(10) {
            run(&mut fallback, ms, ms + 10, true, false);
            assert!(ms < 1420 || matches!(fallback.state(), CutOff | Returning), "{ms}: {:?}", fallback.state());
        }
        run(&mut fallback, 10_000, 14_000, true, true);
        assert_eq!(fallback.state(), Joined);
    }

    #[test]
    fn f66_one_late_call_is_no_reason() {
        let mut fallback = joined();
        fallback.failed(ms(1000));
        run(&mut fallback, 1060, 3000, true, true);
        assert_eq!(fallback.state(), Joined);
    }

    #[test]
    fn f82_redis_is_relied_on_again_only_after_it_was_stable() {
        let mut fallback = joined();
        run(&mut fallback, 1000, 5000, false, false);
        run(&mut fallback, 5000, 7000, true, true);
        assert_eq!(fallback.state(), Returning);
        run(&mut fallback, 7000, 7100, false, false);
        assert_eq!(fallback.state(), CutOff, "one failure, and it starts anew");
        run(&mut fallback, 7100, 9900, true, true);
        assert_eq!(fallback.state(), Returning);
        run(&mut fallback, 9900, 10_800, true, true);
        assert_eq!(fallback.state(), Joined);
    }

    #[test]
    fn f60_f72_our_own_standstill_is_not_the_fault_of_redis() {
        let mut fallback = joined();
        let mark = (1000..).step_by(10).map(ms).find_map(|now| fallback.pulse(now)).unwrap();
        run(&mut fallback, 11_000, 11_200, true, true);
        fallback.heard(mark, ms(11_200));
        run(&mut fallback, 11_200, 12_000, true, true);
        assert_eq!(fallback.state(), Joined);
    }

    #[test]
    fn probes_of_a_redis_that_is_away_grow_rarer_to_a_bound() {
        let mut fallback = joined();
        let mut probes = Vec::new();
        for now in (1000..20_000).step_by(10).map(ms) {
            fallback.elapsed(now);
            if fallback.state() == CutOff && fallback.may_call(now) {
                probes.push(now);
            }
            if fallback.pulse(now).is_some() || fallback.may_call(now) {
                fallback.failed(now);
            }
        }
        let gaps: Vec<u64> = probes.windows(2).map(|pair| pair[1].since(pair[0])).collect();
        assert!(gaps.is_sorted(), "{gaps:?}");
        assert_eq!(gaps.last(), Some(&RETRY_MAX_NS));
    }
}
