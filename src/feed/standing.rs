//! How we stand with one venue: what all of its lines share. The breaker of its address, the waits, the budget of
//! attempts, and how often the log may hear of it. Pure: time comes in, a time comes out. One per venue, on its
//! feed's thread.

use crate::feed::Options;
use crate::log;
use crate::metrics::{BreakerGauges, BreakerState};
use crate::net::backoff::{Backoff, Budget, Wait};
use crate::net::breaker::Breaker;
use crate::time::{MS, MonoNs, SECOND};
use crate::venues::Pace;

/// What the end of an attempt, or of the connection that it led to, says about the venue's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing.
    Nothing,
    /// It came to nothing, or broke before it was good.
    Failed,
    /// We shall stay away for so many nanoseconds.
    Banned(u64),
}

/// What the lines of one venue share.
pub struct Standing {
    backoff: Backoff,
    /// The venue's own limit, of which half is used: what else runs at our address has the rest.
    budget: Budget,
    breaker: Breaker,
    /// The venue asked all of us to wait until then.
    not_before: MonoNs,
    voice: Voice,
}

impl Standing {
    /// Nothing tried yet, with a venue that allows `connects`. Different seeds spread a storm of reconnects.
    #[must_use]
    pub fn new(connects: Pace, options: &Options, seed: u64) -> Self {
        let [first_ns, longest_ns] = [options.backoff_first_ms, options.backoff_max_ms].map(|ms| ms.saturating_mul(MS));
        Self {
            backoff: Backoff::new(seed, first_ns, longest_ns),
            budget: Budget::new(connects.count as usize / 2, connects.per_ms.saturating_mul(MS)),
            breaker: Breaker::new(options.breaker),
            not_before: MonoNs(0),
            voice: Voice::default(),
        }
    }

    /// A line wants to dial now. After a yes it is told by [`Self::ended`], [`Self::abandoned`] or [`Self::good`] what
    /// became of it.
    ///
    /// # Errors
    /// When to ask again.
    pub fn begin(&mut self, now: MonoNs) -> Result<(), MonoNs> {
        let ready = self.ready_at();
        if now < ready {
            return Err(ready);
        }
        if !self.breaker.begin(now) {
            return Err(now.plus(SECOND));
        }
        self.backoff.attempt(now);
        self.budget.spend(now);
        Ok(())
    }

    /// The venue was dialled for another purpose.
    pub fn count_other(&mut self, now: MonoNs) {
        self.budget.spend(now);
    }

    /// No attempt before this time, by the venue's own word.
    #[must_use]
    pub const fn not_before(&self) -> MonoNs {
        self.not_before
    }

    /// No attempt before `until`: the venue said so to another of us.
    pub fn wait_until(&mut self, until: MonoNs) {
        self.not_before = self.not_before.max(until);
    }

    /// The venue answered something else than an attempt by `wait`.
    pub fn hold(&mut self, wait: Wait, now: MonoNs) {
        if let Wait::AtLeast(ns) | Wait::Banned(ns) = wait {
            self.wait_until(now.plus(ns));
        }
    }

    fn ready_at(&self) -> MonoNs {
        [self.not_before, self.breaker.ready_at(), self.backoff.free_at(), self.budget.free_at()]
            .into_iter()
            .max()
            .unwrap_or_default()
    }

    /// An attempt came to nothing, or a connection ended: when that line should try again, and whether it opened
    /// the breaker.
    pub fn ended(&mut self, now: MonoNs, wait: Wait, verdict: Verdict) -> (MonoNs, bool) {
        let opened = match verdict {
            Verdict::Nothing => {
                self.breaker.abandoned();
                false
            }
            Verdict::Failed => self.breaker.failed(now),
            Verdict::Banned(ns) => self.breaker.banned(now, ns),
        };
        let next = self.backoff.failed(now, wait);
        if matches!(wait, Wait::AtLeast(_) | Wait::Banned(_)) {
            self.not_before = self.not_before.max(next);
        }
        (next.max(self.breaker.ready_at()), opened)
    }

    /// An attempt, or a connection, ended for reasons of our own.
    pub fn abandoned(&mut self) {
        self.breaker.abandoned();
    }

    /// A connection has given prices: the next failure is a first one.
    pub fn flowed(&mut self) {
        self.backoff.flowed();
    }

    /// A connection gives prices, and still does some time later.
    pub fn good(&mut self) {
        self.breaker.succeeded();
    }

    /// Whether nothing is held against the address.
    #[must_use]
    pub fn is_clear(&self) -> bool {
        self.breaker.state() == BreakerState::Closed
    }

    /// Shows the breaker to health and metrics.
    pub fn show(&self, gauges: &BreakerGauges) {
        self.breaker.show(gauges);
    }

    /// A random time below `bound` nanoseconds.
    pub fn jitter(&mut self, bound: u64) -> u64 {
        self.backoff.jitter(bound)
    }

    /// Says a line to the log, unless too many were said.
    pub fn say(&mut self, now: MonoNs, line: std::fmt::Arguments<'_>) {
        self.voice.say(now, line);
    }
}

/// One venue's lines of log: a few at once, then one each [`Voice::EVERY_NS`].
#[derive(Default)]
struct Voice {
    since: MonoNs,
    said: u32,
    unsaid: u32,
}

impl Voice {
    const BURST: u32 = 6;
    const EVERY_NS: u64 = 10 * SECOND;

    fn say(&mut self, now: MonoNs, line: std::fmt::Arguments<'_>) {
        let rested = (now.since(self.since) / Self::EVERY_NS).min(u64::from(Self::BURST));
        if rested > 0 {
            self.since = now;
            self.said = self.said.saturating_sub(rested as u32);
        }
        if self.said >= Self::BURST {
            self.unsaid += 1;
            return;
        }
        self.said += 1;
        match std::mem::take(&mut self.unsaid) {
            0 => log::say(line),
            unsaid => log::say(format_args!("{line} ({unsaid} lines like it before were not shown)")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::backoff::{ATTEMPTS_MAX, WINDOW_NS};
    use crate::venues::VENUES;

    const TEN_MINUTES: MonoNs = MonoNs(600 * SECOND);

    /// `lines` lines that are answered with `answer` some time after each attempt, for ten minutes: when they dialled.
    fn storm(connects: Pace, lines: usize, seed: u64, answer: impl Fn(usize) -> (Wait, Verdict)) -> Vec<MonoNs> {
        storm_with(connects, lines, seed, answer, false)
    }

    /// The same; each connection `flows` before it ends, or not.
    fn storm_with(
        connects: Pace,
        lines: usize,
        seed: u64,
        answer: impl Fn(usize) -> (Wait, Verdict),
        flows: bool,
    ) -> Vec<MonoNs> {
        let mut standing = Standing::new(connects, &Options::default(), seed);
        let mut next = vec![MonoNs(SECOND); lines];
        let mut attempts = Vec::new();
        while let Some(now) = next.iter().copied().min().filter(|at| *at < TEN_MINUTES) {
            let line = next.iter().position(|at| *at == now).unwrap();
            next[line] = match standing.begin(now) {
                Err(later) => later,
                Ok(()) => {
                    attempts.push(now);
                    let (wait, verdict) = answer(attempts.len());
                    if flows {
                        standing.flowed();
                    }
                    standing.ended(now.plus(3 * MS), wait, verdict).0
                }
            };
            assert!(next[line] > now, "it never comes to rest");
        }
        attempts
    }

    fn most_in(attempts: &[MonoNs], span_ns: u64) -> usize {
        let within = |from: usize| attempts[from..].iter().take_while(|at| at.since(attempts[from]) < span_ns).count();
        (0..attempts.len()).map(within).max().unwrap_or(0)
    }

    #[test]
    fn f13_b15_every_venue_refusing_for_ten_minutes_stays_inside_its_published_limits() {
        let refused = |_| (Wait::Usual, Verdict::Failed);
        // The worst for us: each connection is accepted, gives a price, and is ended in a way that asks for another.
        let ended = |_| (Wait::AtOnce, Verdict::Nothing);
        for (seed, venue) in VENUES.iter().enumerate() {
            let (name, connects) = (venue.facts().name, venue.facts().limits.connects);
            for lines in [1, 3, 20] {
                let storms = [
                    storm(connects, lines, seed as u64, refused),
                    storm_with(connects, lines, seed as u64, ended, true),
                ];
                for attempts in storms {
                    let most = most_in(&attempts, connects.per_ms * MS);
                    assert!(most <= (connects.count as usize / 2).max(1), "{name}: {most} with {lines} lines");
                    assert!(most_in(&attempts, WINDOW_NS) <= ATTEMPTS_MAX, "{name} with {lines} lines");
                    assert!(attempts.len() > 5, "{name}: it gave up");
                }
            }
        }
    }

    #[test]
    fn f19_a_ban_or_a_wait_that_one_line_is_told_holds_all_of_them() {
        let connects = Pace { count: 1000, per_ms: 1000 };
        let ban = Wait::of_status(418, Some(240));
        for (wait, verdict, rest) in [
            (ban, Verdict::Banned(300 * SECOND), 300),
            (Wait::of_status(429, Some(90)), Verdict::Banned(90 * SECOND), 90),
            (Wait::of_status(503, Some(45)), Verdict::Failed, 45),
        ] {
            let told = |n| if n == 3 { (wait, verdict) } else { (Wait::Usual, Verdict::Nothing) };
            let attempts = storm(connects, 8, 5, told);
            let gap = attempts[3].since(attempts[2]);
            assert!(gap >= rest * SECOND, "after {wait:?} it came back in {} s", gap / SECOND);
        }
    }

    #[test]
    fn f18_a_half_open_breaker_admits_one_line() {
        let mut standing = Standing::new(Pace { count: 1000, per_ms: 1000 }, &Options::default(), 1);
        standing.ended(MonoNs(0), Wait::Banned(SECOND), Verdict::Banned(SECOND));
        let now = MonoNs(10 * SECOND);
        assert_eq!(standing.begin(now), Ok(()));
        assert!((0..5).all(|_| standing.begin(now).is_err()));
        (0..3).for_each(|_| standing.good());
        assert!(standing.is_clear() && standing.begin(now).is_ok());
    }
}
