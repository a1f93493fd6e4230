//! When to dial again: doubling waits with full jitter, a budget of attempts, longer rests when the
//! venue asks for them. Pure: time comes in, a time comes out. One per venue, on its feed thread.

use crate::time::{MS, MonoNs, SECOND};

/// First wait unless configured otherwise, before jitter, in nanoseconds.
pub const FIRST_NS: u64 = 250 * MS;
/// Longest wait of our own unless configured otherwise, in nanoseconds; a venue may ask for more. With it a venue is back
/// within 30 s of being well, even when an attempt that hangs had begun just before.
pub const LONGEST_NS: u64 = 15 * SECOND;
/// Attempts that any [`WINDOW_NS`] may hold. The strictest venue bans at five times as many.
pub const ATTEMPTS_MAX: usize = 60;
/// The span that [`ATTEMPTS_MAX`] is about.
pub const WINDOW_NS: u64 = 300 * SECOND;
/// A budget of at most this span is whole again soon.
const MINUTE_NS: u64 = 60 * SECOND;
/// The longest time between two attempts, from begin to begin, that is left to [`Budget::paced_at`].
pub const PACE_NS: u64 = 15 * SECOND;
/// Rest after HTTP 429 without `Retry-After`, in nanoseconds.
const TOO_MANY_NS: u64 = 60 * SECOND;
/// Pauses up to this long double whatever the time that a failure has lasted, in nanoseconds.
const SHORT_NS: u64 = SECOND;
/// A venue that asks for a longer wait gets this one, in nanoseconds.
const ASKED_MAX_NS: u64 = 3600 * SECOND;
/// Longest jitter on top of a wait that the venue stated, in nanoseconds.
const ASKED_JITTER_NS: u64 = SECOND;

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
    /// without it a ban (HTTP 403 or 418) lasts the `ban_s` seconds of the venue, see [`crate::venues::Limits`].
    #[must_use]
    pub fn of_status(status: u16, retry_after: Option<u64>, ban_s: u64) -> Self {
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
pub struct Budget {
    span_ns: u64,
    /// Times of the last ones, a ring; `None` where there was none yet.
    times: Box<[Option<MonoNs>]>,
    oldest: usize,
    paced_at: MonoNs,
}

impl Budget {
    /// `count` in any `span_ns`, none of them spent; a `count` of 0 is taken as 1.
    #[must_use]
    pub fn new(count: usize, span_ns: u64) -> Self {
        Self { span_ns, times: vec![None; count.max(1)].into(), oldest: 0, paced_at: MonoNs(0) }
    }

    /// One happens now. Not before [`Self::free_at`].
    pub fn spend(&mut self, now: MonoNs) {
        self.times[self.oldest] = Some(now);
        self.oldest = (self.oldest + 1) % self.times.len();
        let at = |spent| now.plus(self.gap_ns(spent)).max(self.spent_at_most(spent));
        self.paced_at = (0..self.times.len()).map(at).min().unwrap_or(now);
    }

    /// When the next may happen.
    #[must_use]
    pub fn free_at(&self) -> MonoNs {
        self.spent_at_most(self.times.len() - 1)
    }

    /// When the next may happen that shall leave a reserve: at once while a third of the budget is not spent (half, when
    /// it is one of a minute), then after
    /// gaps that grow up to [`PACE_NS`] when two thirds are.
    #[must_use]
    pub const fn paced_at(&self) -> MonoNs {
        self.paced_at
    }

    /// Half of what may be spent before time gives it back; `None` where that is soon.
    #[must_use]
    pub fn half(&self) -> Option<usize> {
        (self.span_ns > PACE_NS).then_some((self.times.len() / 2).max(1))
    }

    /// The gap before the next when `spent` are.
    fn gap_ns(&self, spent: usize) -> u64 {
        let count = self.times.len();
        let at_once = (count / if self.span_ns <= MINUTE_NS { 2 } else { 3 }).max(1);
        let over = (spent + 1).saturating_sub(at_once) as u64;
        (2 * PACE_NS * over / (count - at_once).max(1) as u64).min(PACE_NS)
    }

    /// When at most the last `spent` attempts are within the span.
    fn spent_at_most(&self, spent: usize) -> MonoNs {
        let count = self.times.len();
        let last_but = self.times[(self.oldest + count - 1 - spent) % count];
        last_but.map_or(MonoNs(0), |at| at.plus(self.span_ns))
    }
}

/// One venue's memory of attempts and failures.
#[derive(Clone, Debug)]
pub struct Backoff {
    random: XorShift,
    first_ns: u64,
    longest_ns: u64,
    failures: u32,
    /// When the first of these was.
    failing_since: MonoNs,
    /// Whether an attempt was made since the last failure was counted.
    tried: bool,
    attempts: Budget,
}

impl Backoff {
    /// Nothing tried yet; waits grow from `first_ns` to `longest_ns`. Different seeds spread a storm of
    /// reconnects.
    #[must_use]
    pub fn new(seed: u64, first_ns: u64, longest_ns: u64) -> Self {
        let attempts = Budget::new(ATTEMPTS_MAX, WINDOW_NS);
        Self {
            random: XorShift::new(seed),
            first_ns,
            longest_ns,
            failures: 0,
            failing_since: MonoNs(0),
            tried: false,
            attempts,
        }
    }

    /// An attempt begins now. Not before the time that [`Self::failed`] gave, nor before [`Budget::free_at`].
    pub fn attempt(&mut self, now: MonoNs) {
        self.attempts.spend(now);
        self.tried = true;
    }

    /// The budget of attempts.
    #[must_use]
    pub const fn budget(&self) -> &Budget {
        &self.attempts
    }

    /// A random time below `bound` nanoseconds, to spread what would happen at once.
    pub fn jitter(&mut self, bound: u64) -> u64 {
        self.random.below(bound.max(1))
    }

    /// Data has flowed for a while: the next failure is a first one. The budget of attempts stays spent.
    pub fn flowed(&mut self) {
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
        let doubled = self.first_ns.saturating_mul(1 << self.failures.min(20));
        let ceiling = doubled.min(lasted.max(self.first_ns)).min(self.longest_ns);
        let usual = self.random.below(ceiling.saturating_add(1));
        let wait_ns = match wait {
            Wait::AtOnce if self.failures == 0 => 0,
            Wait::Usual | Wait::AtOnce => usual,
            // Jitter on top, so that those who were told the same time do not come at the same time.
            Wait::AtLeast(ns) | Wait::Banned(ns) => ns.saturating_add(usual.min(ASKED_JITTER_NS)),
        };
        if std::mem::take(&mut self.tried) || self.failures == 0 {
            self.failures = self.failures.saturating_add(1);
        }
        now.plus(wait_ns)
    }
}

/// Marsaglia's xorshift64*: enough to spread reconnects, no secret depends on it.
#[derive(Clone, Debug)]
struct XorShift(u64);

impl XorShift {
    /// Any seed; neighbours are spread, 0 is fine.
    fn new(seed: u64) -> Self {
        Self((seed ^ 0x9e37_79b9_7f4a_7c15).wrapping_mul(0xbf58_476d_1ce4_e5b9) | 1)
    }

    /// Uniform enough in `0..bound`; `bound` is not 0.
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let word = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d);
        ((u128::from(word) * u128::from(bound)) >> 64) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn new(seed: u64) -> Backoff {
        Backoff::new(seed, FIRST_NS, LONGEST_NS)
    }

    #[test]
    fn f3_waits_double_to_a_cap_and_only_data_resets_them() {
        let mut longest = [0; 12];
        for seed in 0..500 {
            let mut backoff = new(seed);
            for (n, longest) in longest.iter_mut().enumerate() {
                // It has been failing for long.
                let now = MonoNs(n as u64 * 3600 * SECOND);
                backoff.attempt(now);
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
                backoff.attempt(now);
                let next = backoff.failed(now, Wait::Usual);
                assert!(next.since(now) <= now.0.max(SECOND), "{} after {}", next.since(now), now.0);
                now = next.plus(MS);
            }
        }
    }

    #[test]
    fn f13_a_storm_is_spread_over_the_whole_wait() {
        let mut quarters = [0; 4];
        for seed in 0..400 {
            let at = new(seed).failed(MonoNs(0), Wait::Usual).0;
            quarters[(at * 4 / (FIRST_NS + 1)) as usize] += 1;
        }
        assert!(quarters.iter().all(|n| *n > 60), "{quarters:?}");
    }

    #[test]
    fn f8_f19_a_venue_that_says_wait_is_obeyed() {
        const DEFAULT_S: u64 = 300;
        let check = |status, retry_after, seconds: u64| {
            for seed in 0..50 {
                let mut backoff = new(seed);
                // However often it has failed before.
                for _ in 0..seed {
                    backoff.attempt(MonoNs(0));
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
        (0..3).for_each(|_| backoff.attempt(MonoNs(0)));
        for _ in 0..3 {
            backoff.failed(MonoNs(0), Wait::Usual);
        }
        assert_eq!(backoff.failures(), 2);
    }

    #[test]
    fn a_paced_budget_keeps_a_reserve() {
        for (count, span_s, left) in [(60, 300, 8), (10, 60, 1), (15, 60, 3)] {
            let mut budget = Budget::new(count, span_s * SECOND);
            let (mut now, mut times) = (MonoNs(SECOND), Vec::new());
            while now < MonoNs(3600 * SECOND) {
                now = budget.paced_at().max(now.plus(MS));
                budget.spend(now);
                times.push(now);
            }
            let within = |at: usize| times[at..].iter().take_while(|t| t.since(times[at]) < span_s * SECOND).count();
            let most = (0..times.len()).map(within).max().unwrap();
            assert!(count - most >= left, "{} of {count} are left", count - most);
            assert!(times.windows(2).all(|pair| pair[1].since(pair[0]) <= PACE_NS));
        }
    }

    #[test]
    fn a_wanted_reconnect_is_at_once_but_not_twice_without_data() {
        let mut backoff = new(3);
        backoff.attempt(MonoNs(0));
        assert_eq!(backoff.failed(MonoNs(5), Wait::AtOnce), MonoNs(5));
        let again: u64 = (0..20).map(|_| backoff.failed(MonoNs(5), Wait::AtOnce).0 - 5).sum();
        assert!(again > 0, "a venue that always asks would be dialled in a loop");
    }

    proptest! {
        #[test]
        fn f3_b15_no_window_holds_more_attempts_than_the_budget(
            seed: u64,
            steps in prop::collection::vec((0u64..2 * SECOND, any::<bool>(), 0u8..3), 200..400),
        ) {
            let mut backoff = new(seed);
            let mut next = MonoNs(SECOND);
            let mut attempts = Vec::new();
            for (life, flowed, wait) in steps {
                backoff.attempt(next);
                attempts.push(next);
                if flowed {
                    backoff.flowed();
                }
                let wait = [Wait::Usual, Wait::AtOnce, Wait::AtLeast(SECOND)][wait as usize];
                next = backoff.failed(next.plus(life), wait).max(backoff.budget().free_at());
            }
            for pair in attempts.windows(ATTEMPTS_MAX + 1) {
                prop_assert!(pair[ATTEMPTS_MAX].since(pair[0]) >= WINDOW_NS);
            }
        }
    }
}
