//! When to dial again: doubling waits with full jitter, limits of attempts, longer rests when the
//! venue asks for them. Pure: time comes in, a time comes out. One per venue, on its feed thread.

use crate::random::Random;
use crate::time::{MonoNs, SECOND};

/// Attempts that any [`WINDOW_NS`] may hold, see [`attempts_max`]. The strictest venue bans at five times as many.
pub(crate) const ATTEMPTS_MAX: usize = 60;
/// Attempts of each connection in [`WINDOW_NS`], besides the paced ones, where that is more than [`ATTEMPTS_MAX`]: each may
/// be lost four times.
const ATTEMPTS_EACH: usize = 4;
/// The span that [`ATTEMPTS_MAX`] is about.
pub(crate) const WINDOW_NS: u64 = 300 * SECOND;
/// Time between two paced attempts, see [`Allowance`], from begin to begin, in nanoseconds.
pub(crate) const PACE_NS: u64 = 12 * SECOND;
/// Limits of at most this span have two thirds of their attempts paced, in nanoseconds.
const SHORT_SPAN_NS: u64 = 60 * SECOND;
/// Rest after HTTP 429 without `Retry-After`, in nanoseconds.
const TOO_MANY_NS: u64 = 60 * SECOND;
/// Pauses up to this long double whatever the time that a failure has lasted, in nanoseconds.
const SHORT_NS: u64 = SECOND;
/// A venue that asks for a longer wait gets this one, in nanoseconds.
const ASKED_MAX_NS: u64 = 3600 * SECOND;
/// Longest jitter on top of a wait that the venue stated, in nanoseconds.
const ASKED_JITTER_NS: u64 = SECOND;

/// `first_ns` doubled `times` times, at most `longest_ns`.
#[must_use]
pub(crate) fn doubled(first_ns: u64, times: u32, longest_ns: u64) -> u64 {
    first_ns.saturating_mul(1 << times.min(30)).min(longest_ns)
}

/// What the end of a connection says about the next attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// The usual doubling wait.
    Usual,
    /// The venue asked for a new connection: at once, if data had flowed on this one.
    AtOnce,
    /// The usual, but at least this many nanoseconds.
    AtLeast(u64),
    /// The venue wants us gone for so many nanoseconds: no attempt inside them, however it is asked for.
    Banned(u64),
}

impl Wait {
    /// What an HTTP status other than success asks for. `retry_after`, in seconds, is obeyed as the reply stated it;
    /// without it a ban (HTTP 403 or 418) lasts the `ban_s` seconds of the venue, see [`crate::venues::VenueLimits`].
    #[must_use]
    pub(crate) fn of_status(status: u16, retry_after: Option<u64>, ban_s: u64) -> Self {
        let asked = retry_after.map(|seconds| seconds.saturating_mul(SECOND).min(ASKED_MAX_NS));
        match status {
            429 => Self::Banned(asked.unwrap_or(TOO_MANY_NS)),
            403 | 418 => Self::Banned(asked.unwrap_or(ban_s.saturating_mul(SECOND))),
            _ => asked.map_or(Self::Usual, Self::AtLeast),
        }
    }
}

/// At most so many in any span of so long.
#[derive(Clone, Debug)]
pub(crate) struct SpanBudget {
    span_ns: u64,
    /// Times of the last ones, a ring; `None` where there was none yet.
    times: Box<[Option<MonoNs>]>,
    oldest: usize,
}

impl SpanBudget {
    /// `count` in any `span_ns`, none of them spent; a `count` of 0 is taken as 1.
    #[must_use]
    pub fn new(count: usize, span_ns: u64) -> Self {
        Self { span_ns, times: vec![None; count.max(1)].into(), oldest: 0 }
    }

    /// One happens now. Not before [`Self::free_at`].
    pub(crate) fn spend(&mut self, now: MonoNs) {
        self.times[self.oldest] = Some(now);
        self.oldest = (self.oldest + 1) % self.times.len();
    }

    /// When the next may happen.
    #[must_use]
    pub(crate) fn free_at(&self) -> MonoNs {
        self.free_at_leaving(0)
    }

    /// When the next may happen so that `left` more may follow at once; never, where that is the whole budget.
    #[must_use]
    pub(crate) fn free_at_leaving(&self, left: usize) -> MonoNs {
        let count = self.times.len();
        let Some(spent) = (count - 1).checked_sub(left) else { return MonoNs(u64::MAX) };
        // At most the last `spent` ones are within the span then.
        let last_but = self.times[(self.oldest + count - 1 - spent) % count];
        last_but.map_or(MonoNs(0), |at| at.plus(self.span_ns))
    }

    /// Allows `count` from now on; what was spent stays spent.
    pub(crate) fn resize(&mut self, count: usize) {
        let before = std::mem::replace(self, Self::new(count, self.span_ns));
        let (newer, older) = before.times.split_at(before.oldest);
        let skipped = before.times.len().saturating_sub(self.times.len());
        older.iter().chain(newer).skip(skipped).flatten().for_each(|at| self.spend(*at));
    }
}

/// How an attempt is paid for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Payment {
    /// From what is free.
    Free,
    /// From the reserve of one attempt per [`PACE_NS`].
    Paced,
}

/// A limit of attempts with a reserve: one may happen per [`PACE_NS`] at any time, however many were spent, so
/// that a venue is never left alone for long. The rest is free, and its user may leave a reserve of it.
#[derive(Clone, Debug)]
pub(crate) struct Allowance {
    free: SpanBudget,
    /// How many are free in the span.
    count: usize,
    /// Size of the reserve, one attempt per `pace_ns`. 0 if the span is short: then all are free, and soon again.
    paced: usize,
    pace_ns: u64,
    paced_at: MonoNs,
}

impl Allowance {
    /// `count` in any `span_ns`, none of them spent.
    #[must_use]
    pub fn new(count: usize, span_ns: u64) -> Self {
        let count = count.max(1);
        let most = count * 2 / 3;
        let paced = if span_ns <= PACE_NS {
            0
        } else if span_ns <= SHORT_SPAN_NS {
            // What is free comes back within the span: the paced ones may be as dense as the limit allows.
            most
        } else {
            most.min(span_ns.div_ceil(PACE_NS) as usize)
        };
        let pace_ns = if paced > 0 { span_ns.div_ceil(paced as u64) } else { 0 };
        let free = SpanBudget::new(count - paced, span_ns);
        Self { free, count: count - paced, paced, pace_ns, paced_at: MonoNs(0) }
    }

    /// Allows `count` in all from now on; what was spent stays spent. No less than what is paced, and one.
    pub(crate) fn resize(&mut self, count: usize) {
        self.count = count.saturating_sub(self.paced).max(1);
        self.free.resize(self.count);
    }

    /// When one may happen so that `reserve` more may follow at once, or all that are free where they are fewer.
    #[must_use]
    pub(crate) fn free_at(&self, reserve: usize) -> MonoNs {
        // What is free soon again needs no reserve.
        self.free.free_at_leaving(if self.paced == 0 { 0 } else { reserve.min(self.count) })
    }

    /// When the next paced one may happen.
    #[must_use]
    pub(crate) fn paced_at(&self) -> MonoNs {
        if self.paced == 0 { self.free.free_at() } else { self.paced_at }
    }

    /// When the next may happen, free or paced, with that `reserve`.
    #[must_use]
    pub(crate) fn ready_at(&self, reserve: usize) -> MonoNs {
        self.free_at(reserve).min(self.paced_at())
    }

    /// How one that happens now is paid for.
    #[must_use]
    pub(crate) fn payment(&self, reserve: usize, now: MonoNs) -> Payment {
        if self.free_at(reserve) <= now { Payment::Free } else { Payment::Paced }
    }

    /// One happens now. Not before the time that is said for this `payment`.
    pub(crate) fn spend(&mut self, payment: Payment, now: MonoNs) {
        match payment {
            Payment::Paced if self.paced > 0 => self.paced_at = now.plus(self.pace_ns),
            Payment::Paced | Payment::Free => self.free.spend(now),
        }
    }
}

/// Attempts that any [`WINDOW_NS`] may hold to a venue with so many lines.
#[must_use]
pub(crate) fn attempts_max(lines: usize) -> usize {
    ATTEMPTS_MAX.max((WINDOW_NS / PACE_NS) as usize + ATTEMPTS_EACH * lines)
}

/// One venue's memory of attempts and failures.
#[derive(Clone, Debug)]
pub struct Backoff {
    random: Random,
    first_ns: u64,
    longest_ns: u64,
    failures: u32,
    /// When the first of these was.
    failing_since: MonoNs,
    /// Whether an attempt was made since the last failure was counted.
    tried: bool,
}

impl Backoff {
    /// Nothing tried yet; waits grow from `first_ns` to `longest_ns`. Different seeds spread a storm of
    /// reconnects.
    #[must_use]
    pub fn new(seed: u64, first_ns: u64, longest_ns: u64) -> Self {
        let random = Random::new(seed);
        Self { random, first_ns, longest_ns, failures: 0, failing_since: MonoNs(0), tried: false }
    }

    /// An attempt begins. Not before the time that [`Self::failed`] gave.
    pub(crate) const fn attempt(&mut self) {
        self.tried = true;
    }

    /// A random time below `bound` nanoseconds, to spread what would happen at once.
    pub(crate) fn jitter(&mut self, bound: u64) -> u64 {
        self.random.within(bound)
    }

    /// Data has flowed for a while: the next failure is a first one.
    pub(crate) fn flowed(&mut self) {
        self.failures = 0;
    }

    /// Failures since data last flowed for a while. Several connections that are lost together are one.
    #[must_use]
    pub const fn failures(&self) -> u32 {
        self.failures
    }

    /// The attempt failed or the connection is lost: when to try again.
    pub fn failed(&mut self, now: MonoNs, wait: Wait) -> MonoNs {
        if self.failures == 0 {
            self.failing_since = now;
        }
        // No longer than it has been failing: after a short interruption it is back soon.
        let lasted = now.since(self.failing_since).max(SHORT_NS);
        let ceiling = doubled(self.first_ns, self.failures, self.longest_ns).min(lasted.max(self.first_ns));
        let usual = self.random.within(ceiling.saturating_add(1));
        let wait_ns = match wait {
            Wait::AtOnce if self.failures == 0 => 0,
            Wait::Usual | Wait::AtOnce => usual,
            // Jitter on top, so that clients that were given the same time do not return at the same time.
            Wait::AtLeast(ns) | Wait::Banned(ns) => ns.saturating_add(usual.min(ASKED_JITTER_NS)),
        };
        if std::mem::take(&mut self.tried) || self.failures == 0 {
            self.failures = self.failures.saturating_add(1);
        }
        now.plus(wait_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::MS;
    use proptest::prelude::*;

    const FIRST_NS: u64 = 250 * MS;
    const LONGEST_NS: u64 = 15 * SECOND;

    fn new(seed: u64) -> Backoff {
        Backoff::new(seed, FIRST_NS, LONGEST_NS)
    }

    #[test]
    fn waits_double_to_a_cap_and_only_data_resets_them() {
        let mut longest = [0; 12];
        for seed in 0..500 {
            let mut backoff = new(seed);
            for (n, longest) in longest.iter_mut().enumerate() {
                // It has been failing for long.
                let now = MonoNs(n as u64 * 3600 * SECOND);
                backoff.attempt();
                *longest = backoff.failed(now, Wait::Usual).since(now).max(*longest);
            }
            backoff.flowed();
            assert!(backoff.failed(MonoNs(0), Wait::Usual).0 <= FIRST_NS, "data flowed, yet it waits long");
        }
        for (n, longest) in longest.into_iter().enumerate() {
            let ceiling = (FIRST_NS << n).min(LONGEST_NS);
            assert!(longest <= ceiling && longest > ceiling * 9 / 10, "wait {n}: {longest} of {ceiling}");
        }
    }

    #[test]
    fn after_a_short_interruption_no_pause_is_longer_than_it_was() {
        for seed in 0..200 {
            let (mut backoff, mut now) = (new(seed), MonoNs(SECOND));
            while now < MonoNs(60 * SECOND) {
                backoff.attempt();
                let next = backoff.failed(now, Wait::Usual);
                assert!(next.since(now) <= now.0.max(SECOND), "{} after {}", next.since(now), now.0);
                now = next.plus(MS);
            }
        }
    }

    #[test]
    fn a_storm_is_spread_over_the_whole_wait() {
        let mut quarters = [0; 4];
        for seed in 0..400 {
            let at = new(seed).failed(MonoNs(0), Wait::Usual).0;
            quarters[(at * 4 / (FIRST_NS + 1)) as usize] += 1;
        }
        assert!(quarters.iter().all(|n| *n > 60), "{quarters:?}");
    }

    #[test]
    fn a_venue_that_says_wait_is_obeyed() {
        const DEFAULT_S: u64 = 300;
        let check = |status, retry_after, seconds: u64| {
            for seed in 0..50 {
                let mut backoff = new(seed);
                // However often it has failed before.
                for _ in 0..seed {
                    backoff.attempt();
                    backoff.failed(MonoNs(0), Wait::Usual);
                }
                let next = backoff.failed(MonoNs(0), Wait::of_status(status, retry_after, DEFAULT_S)).0;
                let most = (seconds + 1) * SECOND;
                assert!((seconds * SECOND..=most).contains(&next), "{status} {retry_after:?}: {next} ns");
            }
        };
        check(503, Some(20), 20);
        check(429, Some(7), 7);
        check(429, None, 60);
        check(403, Some(3), 3);
        check(403, None, DEFAULT_S);
        check(418, Some(3), 3);
        check(418, Some(900), 900);
        check(418, None, DEFAULT_S);
        check(418, Some(u64::MAX), 3600);
        assert_eq!(Wait::of_status(503, None, DEFAULT_S), Wait::Usual);
    }

    #[test]
    fn connections_that_are_lost_together_are_one_failure() {
        let mut backoff = new(4);
        for _ in 0..20 {
            backoff.failed(MonoNs(0), Wait::Usual);
        }
        assert_eq!(backoff.failures(), 1);
        (0..3).for_each(|_| backoff.attempt());
        for _ in 0..3 {
            backoff.failed(MonoNs(0), Wait::Usual);
        }
        assert_eq!(backoff.failures(), 2);
    }

    /// An hour of attempts that begin as soon as they may, paid from the free attempts beyond `reserve`, or paced.
    fn greedy(allowance: &mut Allowance, reserve: usize) -> Vec<(MonoNs, Payment)> {
        let (mut now, mut attempts) = (MonoNs(SECOND), Vec::new());
        while now < MonoNs(3600 * SECOND) {
            let (free, paced) = (allowance.free_at(reserve), allowance.paced_at());
            now = free.min(paced).max(now);
            let payment = if free <= now { Payment::Free } else { Payment::Paced };
            allowance.spend(payment, now);
            attempts.push((now, payment));
            now = now.plus(MS);
        }
        attempts
    }

    fn most_in(attempts: &[(MonoNs, Payment)], span_ns: u64) -> usize {
        let within =
            |from: usize| attempts[from..].iter().take_while(|at| at.0.since(attempts[from].0) < span_ns).count();
        (0..attempts.len()).map(within).max().unwrap_or(0)
    }

    #[test]
    fn an_allowance_keeps_a_reserve_and_leaves_no_venue_alone() {
        // The limits of the venues, halved, and ours.
        for (count, span_s, reserve) in
            [(60, 300, 1), (150, 300, 20), (75, 600, 3), (10, 60, 4), (15, 60, 20), (4, 1, 5)]
        {
            let mut allowance = Allowance::new(count, span_s * SECOND);
            let attempts = greedy(&mut allowance, reserve);
            let most = most_in(&attempts, span_s * SECOND);
            assert!(most <= count, "{most} of {count} in {span_s} s");
            assert!(attempts.windows(2).all(|pair| pair[1].0.since(pair[0].0) <= PACE_NS));
            if span_s * SECOND > PACE_NS {
                let now = attempts.last().unwrap().0;
                let left = (0..100).take_while(|left| allowance.free_at(*left) <= now).count();
                assert!(left >= reserve.min(allowance.count - 1), "{left} of {count} are left");
            }
        }
    }

    #[test]
    fn a_budget_that_changes_its_size_remembers_what_was_spent() {
        for (before, after) in [(3, 5), (5, 3), (4, 4), (2, 1)] {
            for spent in 0..8 {
                let (mut changed, mut new) = (SpanBudget::new(before, 100), SpanBudget::new(after, 100));
                (0..spent).for_each(|at| changed.spend(MonoNs(at)));
                changed.resize(after);
                // What was beyond the budget of before is forgotten: no more than that was ever within a span.
                (spent.saturating_sub(before as u64)..spent).for_each(|at| new.spend(MonoNs(at)));
                for left in 0..after {
                    assert_eq!(changed.free_at_leaving(left), new.free_at_leaving(left), "{before} {after} {spent}");
                }
            }
        }
    }

    #[test]
    fn a_wanted_reconnect_is_at_once_but_not_twice_without_data() {
        let mut backoff = new(3);
        backoff.attempt();
        assert_eq!(backoff.failed(MonoNs(5), Wait::AtOnce), MonoNs(5));
        let again: u64 = (0..20).map(|_| backoff.failed(MonoNs(5), Wait::AtOnce).0 - 5).sum();
        assert!(again > 0, "a venue that always asks would be dialled in a loop");
    }

    proptest! {
        #[test]
        fn no_window_holds_more_attempts_than_the_limit(
            count in 1usize..200,
            span_s in 1u64..700,
            reserve in 0usize..30,
            steps in prop::collection::vec((0u64..20 * SECOND, any::<bool>()), 200..400),
        ) {
            let mut allowance = Allowance::new(count, span_s * SECOND);
            let (mut now, mut attempts) = (MonoNs(SECOND), Vec::new());
            for (passed, is_released) in steps {
                let free = allowance.free_at(if is_released { 0 } else { reserve });
                now = free.min(allowance.paced_at()).max(now);
                let payment = if free <= now { Payment::Free } else { Payment::Paced };
                allowance.spend(payment, now);
                attempts.push((now, payment));
                now = now.plus(passed / count as u64);
            }
            prop_assert!(most_in(&attempts, span_s * SECOND) <= count);
        }
    }
}
