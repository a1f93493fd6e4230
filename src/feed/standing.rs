//! How we stand with one venue: what all of its lines share. The breaker of its address, the waits, the budget of
//! attempts, and how often the log may hear of it. Pure: time comes in, a time comes out. One per venue, on its
//! feed's thread.

use crate::feed::Options;
use crate::log;
use crate::metrics::{BreakerGauges, BreakerState};
use crate::net::backoff::{Backoff, Budget, WINDOW_NS, Wait};
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
    /// When the last failure was; `None` before the first.
    failed_at: Option<MonoNs>,
    /// When the venue last came back and the reserve of the budgets was opened to its other lines.
    returned_at: Option<MonoNs>,
    /// Attempts that were begun, of which it is not known whether they are good.
    under_way: usize,
    /// Since when no venue answers: failures say nothing of this one.
    is_cut_off: bool,
    voice: Voice,
}

/// The longest wait while no venue answers, in nanoseconds. The budgets hold all the same.
const CUT_OFF_NS: u64 = 2 * SECOND;
/// After so many failures in a row one line tries alone, until it is good.
const PROBE_AFTER: u32 = 3;
/// So long after its return the other lines of a venue may use the reserve, in nanoseconds; once in [`WINDOW_NS`], for one
/// that comes and goes.
const RETURN_NS: u64 = 30 * SECOND;
/// A line that waits for the one that tries looks again after this time, in nanoseconds.
const PROBE_LATER_NS: u64 = 250 * MS;

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
            failed_at: None,
            returned_at: None,
            under_way: 0,
            is_cut_off: false,
            voice: Voice::default(),
        }
    }

    /// A line wants to dial now. After a yes it tells what became of it: [`Self::settled`] once, and [`Self::ended`],
    /// [`Self::abandoned`] or [`Self::good`].
    ///
    /// # Errors
    /// When to ask again.
    pub fn begin(&mut self, now: MonoNs) -> Result<(), MonoNs> {
        let ready = self.ready_at(now);
        if now < ready {
            return Err(ready);
        }
        if self.under_way >= self.at_once() || !self.breaker.begin(now) {
            return Err(now.plus(PROBE_LATER_NS));
        }
        self.backoff.attempt(now);
        self.budget.spend(now);
        self.under_way += 1;
        Ok(())
    }

    /// So many attempts may be under way.
    fn at_once(&self) -> usize {
        if self.backoff.failures() >= PROBE_AFTER {
            return 1;
        }
        [self.backoff.budget(), &self.budget].into_iter().filter_map(Budget::half).min().unwrap_or(usize::MAX)
    }

    /// An attempt has proved to be good, or has ended.
    pub fn settled(&mut self) {
        self.under_way = self.under_way.saturating_sub(1);
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

    /// No attempt of any line begins before this time: the venue's word, the breaker and the budgets have their say. It
    /// moves as other lines try.
    #[must_use]
    pub fn ready_at(&self, now: MonoNs) -> MonoNs {
        // A part of the budgets is kept for the venue's return, and for whoever wants to be tried at once.
        let has_failed = self.failed_at.is_some_and(|at| now.since(at) < WINDOW_NS);
        let has_returned = self.returned_at.is_some_and(|at| now.since(at) < RETURN_NS);
        let is_paced = self.is_cut_off || ((self.backoff.failures() > 0 || has_failed) && !has_returned);
        let at = |budget: &Budget| if is_paced { budget.paced_at() } else { budget.free_at() };
        let budgets = [at(self.backoff.budget()), at(&self.budget)];
        budgets.into_iter().fold(self.not_before.max(self.breaker.ready_at()), Ord::max)
    }

    /// An attempt came to nothing, or a connection ended: when that line should try again, and whether it opened
    /// the breaker.
    pub fn ended(&mut self, now: MonoNs, wait: Wait, verdict: Verdict) -> (MonoNs, bool) {
        self.failed_at = Some(now);
        if self.is_cut_off && !matches!(wait, Wait::AtLeast(_) | Wait::Banned(_)) {
            self.breaker.abandoned();
            return (now.plus(self.backoff.jitter(CUT_OFF_NS)), false);
        }
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
        (next, opened)
    }

    /// An attempt, or a connection, ended for reasons of our own.
    pub fn abandoned(&mut self) {
        self.breaker.abandoned();
    }

    /// A connection gives prices, and still does some time later: the next failure is a first one.
    pub fn good(&mut self, now: MonoNs) {
        self.returned(now);
        self.breaker.succeeded();
        self.backoff.flowed();
    }

    /// The venue is well again, as far as others of us know: what failed may use the reserve of the budgets for a while.
    pub fn returned(&mut self, now: MonoNs) {
        if self.backoff.failures() > 0 && self.returned_at.is_none_or(|at| now.since(at) >= WINDOW_NS) {
            self.returned_at = Some(now);
        }
    }

    /// Whether no venue answers, this one among them: then failures are this machine's, and forgiven.
    pub fn set_cut_off(&mut self, is_cut_off: bool, now: MonoNs) {
        self.is_cut_off = is_cut_off;
        self.forgive(now);
    }

    /// All failures are forgotten: the next attempt may be at once, as far as the venue itself and the budgets allow.
    pub fn forgive(&mut self, now: MonoNs) {
        self.failed_at = None;
        self.backoff.flowed();
        if now >= self.not_before {
            self.breaker.reset();
        }
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
    use crate::net::backoff::ATTEMPTS_MAX;
    use crate::net::breaker::GOOD_NS;
    use crate::venues::VENUES;

    const TEN_MINUTES: MonoNs = MonoNs(600 * SECOND);

    /// What a venue does with an attempt.
    #[derive(Clone, Copy, Debug)]
    struct Fate {
        /// The first price comes so long after the attempt began; `None`: there is none.
        price_ns: Option<u64>,
        /// The end comes so long after that, or after the attempt began; `None`: never.
        end_ns: Option<u64>,
        wait: Wait,
    }

    impl Fate {
        const WELL: Self = Self { price_ns: Some(300 * MS), end_ns: None, wait: Wait::Usual };

        const fn fails(after_ns: u64, wait: Wait) -> Self {
            Self { price_ns: None, end_ns: Some(after_ns), wait }
        }

        const fn breaks(after_ns: u64, wait: Wait) -> Self {
            Self { price_ns: Some(50 * MS), end_ns: Some(after_ns), wait }
        }
    }

    /// What became of the attempts of a venue's lines.
    struct Run {
        /// When they began.
        attempts: Vec<MonoNs>,
        /// When each line had a price that stayed; `None`: never.
        back: Vec<Option<MonoNs>>,
    }

    /// `lines` lines until `end`, of which each attempt meets the `fate` that its time and number say. Drives the
    /// standing as [`crate::feed::Feed`] does. What is said of the next attempt is what happens.
    fn run(standing: &mut Standing, lines: usize, end: MonoNs, fate: impl Fn(MonoNs, usize) -> Fate) -> Run {
        #[derive(Clone, Copy)]
        enum At {
            Waiting(MonoNs),
            Linked { fate: Fate, began: MonoNs, owes: bool, good_at: MonoNs },
        }
        let mut at = vec![At::Waiting(MonoNs(SECOND)); lines];
        let mut run = Run { attempts: Vec::new(), back: vec![None; lines] };
        let mut now = MonoNs(SECOND);
        loop {
            let due = |it: &At| match *it {
                At::Waiting(at) => at.max(standing.ready_at(now)),
                At::Linked { fate, began, good_at, .. } => {
                    let end = fate.end_ns.map_or(MonoNs(u64::MAX), |ns| began.plus(fate.price_ns.unwrap_or(0) + ns));
                    good_at.min(end)
                }
            };
            let (line, next) = at.iter().map(due).enumerate().min_by_key(|(_, at)| *at).unwrap();
            if next >= end {
                return run;
            }
            now = next.max(now);
            at[line] = match at[line] {
                At::Waiting(_) => match standing.begin(now) {
                    Err(later) => {
                        assert!(later > now, "it never comes to rest");
                        At::Waiting(later)
                    }
                    Ok(()) => {
                        run.attempts.push(now);
                        let fate = fate(now, run.attempts.len());
                        run.back[line] = fate.price_ns.filter(|_| fate.end_ns.is_none()).map(|ns| now.plus(ns));
                        let good_at = fate.price_ns.map_or(MonoNs(u64::MAX), |ns| now.plus(ns + GOOD_NS));
                        At::Linked { fate, began: now, owes: true, good_at }
                    }
                },
                At::Linked { fate, began, owes, good_at } if now >= good_at => {
                    standing.good(now);
                    if owes {
                        standing.settled();
                    }
                    let good_at = if standing.is_clear() { MonoNs(u64::MAX) } else { now.plus(GOOD_NS) };
                    At::Linked { fate, began, owes: false, good_at }
                }
                At::Linked { fate, owes, .. } => {
                    if owes {
                        standing.settled();
                    }
                    let verdict = match fate.wait {
                        Wait::Banned(ns) => Verdict::Banned(ns),
                        _ if !owes && standing.is_clear() => Verdict::Nothing,
                        _ => Verdict::Failed,
                    };
                    run.back[line] = None;
                    At::Waiting(standing.ended(now, fate.wait, verdict).0)
                }
            };
        }
    }

    fn new(connects: Pace, seed: u64) -> Standing {
        Standing::new(connects, &Options::default(), seed)
    }

    /// `lines` lines that meet `fate`, by the number of the attempt, for ten minutes: when they dialled.
    fn storm(connects: Pace, lines: usize, seed: u64, fate: impl Fn(usize) -> Fate) -> Vec<MonoNs> {
        run(&mut new(connects, seed), lines, TEN_MINUTES, |_, n| fate(n)).attempts
    }

    /// Each way in which a venue can be unwell.
    const MODES: [(&str, Fate); 11] = [
        ("refused", Fate::fails(3 * MS, Wait::Usual)),
        ("a black hole", Fate::fails(3 * SECOND, Wait::Usual)),
        ("upgrade refused", Fate::fails(20 * MS, Wait::Usual)),
        ("upgrade unanswered", Fate::fails(5 * SECOND, Wait::Usual)),
        ("closed after the upgrade", Fate::fails(40 * MS, Wait::Usual)),
        ("wants another connection", Fate::fails(40 * MS, Wait::AtOnce)),
        ("bad frames", Fate::fails(SECOND, Wait::Usual)),
        ("one price, then broken", Fate::breaks(100 * MS, Wait::Usual)),
        ("one price, then silent", Fate::breaks(4999 * MS, Wait::Usual)),
        ("one price, then wants another", Fate::breaks(100 * MS, Wait::AtOnce)),
        ("well for seven seconds", Fate::breaks(7 * SECOND, Wait::Usual)),
    ];

    #[test]
    fn in_every_mode_of_breaking_a_venue_is_back_within_30_s_of_being_well() {
        // (mode, longest time until the first line is back, until the last of all).
        for (mode, broken) in MODES {
            let mut longest = [0; 2];
            for seed in 0..200u64 {
                for venue in VENUES {
                    let connects = venue.facts().limits.connects;
                    let mut standing = new(connects, seed);
                    // One second to ten minutes, after a while of being well.
                    let length = SECOND + standing.jitter(600 * SECOND);
                    let from = MonoNs((1 + standing.jitter(400)) * SECOND);
                    let well = from.plus(length);
                    let lines = [1, 1, 3][seed as usize % 3];
                    let fate = |at: MonoNs, _| {
                        let lasts = |until: MonoNs| Fate { end_ns: Some(until.since(at) + MS), ..Fate::WELL };
                        match () {
                            () if at < from => lasts(from),
                            () if at < well => broken,
                            () => Fate::WELL,
                        }
                    };
                    let run = run(&mut standing, lines, well.plus(120 * SECOND), fate);
                    let back = |line: &Option<MonoNs>| line.map_or(u64::MAX, |at| at.since(well));
                    let first = run.back.iter().map(back).min().unwrap();
                    let last = run.back.iter().map(back).max().unwrap();
                    longest = [longest[0].max(first), longest[1].max(last)];
                    let name = venue.facts().name;
                    assert!(first <= 30 * SECOND, "{name}, {mode}, seed {seed}: {} ms", first / MS);
                    // Lines that are lost again and again share what the venue allows.
                    let most = if mode == "well for seven seconds" { 90 } else { 35 };
                    assert!(last <= most * SECOND, "{name}, {mode}, seed {seed}: all in {} ms", last / MS);
                    assert!(most_in(&run.attempts, WINDOW_NS) <= ATTEMPTS_MAX, "{name}, {mode}");
                    let most = (connects.count as usize / 2).max(1);
                    assert!(most_in(&run.attempts, connects.per_ms * MS) <= most, "{name}, {mode}");
                }
            }
            println!("{mode}: back in {} ms, all lines in {} ms", longest[0] / MS, longest[1] / MS);
        }
    }

    fn most_in(attempts: &[MonoNs], span_ns: u64) -> usize {
        let within = |from: usize| attempts[from..].iter().take_while(|at| at.since(attempts[from]) < span_ns).count();
        (0..attempts.len()).map(within).max().unwrap_or(0)
    }

    #[test]
    fn f13_b15_every_venue_refusing_for_ten_minutes_stays_inside_its_published_limits() {
        for (seed, venue) in VENUES.iter().enumerate() {
            let (name, connects) = (venue.facts().name, venue.facts().limits.connects);
            for lines in [1, 3, 20] {
                for (mode, fate) in MODES {
                    let attempts = storm(connects, lines, seed as u64, |_| fate);
                    let most = most_in(&attempts, connects.per_ms * MS);
                    assert!(most <= (connects.count as usize / 2).max(1), "{name}: {most} with {lines} lines, {mode}");
                    assert!(most_in(&attempts, WINDOW_NS) <= ATTEMPTS_MAX, "{name} with {lines} lines, {mode}");
                    let gaps = attempts.windows(2).map(|pair| pair[1].since(pair[0])).max().unwrap_or(u64::MAX);
                    // Twenty lines may be more than a venue allows.
                    let most =
                        [(1, 30 * SECOND), (3, 40 * SECOND), (20, u64::MAX)].into_iter().find(|it| it.0 == lines);
                    assert!(
                        most.is_some_and(|(_, most)| gaps <= most),
                        "{name} with {lines} lines, {mode}: no attempt for {} s",
                        gaps / SECOND
                    );
                }
            }
        }
    }

    #[test]
    fn f19_a_ban_or_a_wait_that_one_line_is_told_holds_all_of_them() {
        let connects = Pace { count: 1000, per_ms: 1000 };
        for (wait, rest) in [
            (Wait::of_status(418, Some(240), 300), 240),
            (Wait::of_status(403, None, 300), 300),
            (Wait::of_status(418, Some(3), 300), 3),
            (Wait::of_status(429, Some(90), 300), 90),
            (Wait::of_status(503, Some(45), 300), 45),
        ] {
            let told = |n| Fate::fails(3 * MS, if n == 3 { wait } else { Wait::Usual });
            // The third attempt of eight that begin at once: the others have begun.
            let attempts = storm(connects, 8, 5, told);
            let gap = attempts[8].since(attempts[7]);
            assert!(gap >= rest * SECOND, "after {wait:?} it came back in {} s", gap / SECOND);
            assert!(gap <= (rest + 2) * SECOND, "after {wait:?} it came back only in {} s", gap / SECOND);
        }
    }

    #[test]
    fn after_some_failures_one_line_tries_for_all() {
        let mut standing = new(Pace { count: 1000, per_ms: 1000 }, 3);
        let now = MonoNs(SECOND);
        for _ in 0..PROBE_AFTER {
            standing.begin(now).unwrap();
            standing.settled();
            standing.ended(now, Wait::Usual, Verdict::Failed);
        }
        let now = now.plus(30 * SECOND);
        assert_eq!(standing.begin(now), Ok(()));
        assert!((0..5).all(|_| standing.begin(now).is_err()), "one tries already");
        standing.settled();
        standing.good(now);
        assert!((0..5).all(|_| standing.begin(now).is_ok()), "it is well");
    }

    #[test]
    fn while_no_venue_answers_nothing_is_held_against_this_one() {
        let mut standing = new(Pace { count: 300, per_ms: 300_000 }, 3);
        let fails = |_, _| Fate::fails(3 * SECOND, Wait::Usual);
        run(&mut standing, 1, MonoNs(60 * SECOND), fails);
        assert!(!standing.is_clear(), "by itself it opens the breaker");
        standing.set_cut_off(true, MonoNs(60 * SECOND));
        let attempts = run(&mut standing, 1, TEN_MINUTES, fails).attempts;
        assert!(standing.is_clear());
        assert!(most_in(&attempts, WINDOW_NS) < ATTEMPTS_MAX);
        standing.set_cut_off(false, TEN_MINUTES);
        assert_eq!(standing.begin(TEN_MINUTES), Ok(()), "it is tried at once, from the reserve");
    }

    #[test]
    fn a_retry_does_not_go_behind_the_venues_own_word() {
        let mut standing = new(Pace { count: 1000, per_ms: 1000 }, 1);
        let wait = Wait::Banned(60 * SECOND);
        standing.begin(MonoNs(0)).unwrap();
        let (next, opened) = standing.ended(MonoNs(0), wait, Verdict::Banned(60 * SECOND));
        standing.forgive(MonoNs(SECOND));
        assert!(opened && !standing.is_clear());
        assert!(standing.begin(next.plus(0)).is_ok() && next >= MonoNs(60 * SECOND));
        let mut standing = new(Pace { count: 1000, per_ms: 1000 }, 1);
        run(&mut standing, 1, MonoNs(60 * SECOND), |_, _| Fate::fails(MS, Wait::Usual));
        assert!(standing.begin(MonoNs(60 * SECOND)).is_err());
        standing.forgive(MonoNs(60 * SECOND));
        assert_eq!(standing.begin(MonoNs(60 * SECOND)), Ok(()));
    }

    #[test]
    fn f18_a_half_open_breaker_admits_one_line() {
        let mut standing = Standing::new(Pace { count: 1000, per_ms: 1000 }, &Options::default(), 1);
        standing.ended(MonoNs(0), Wait::Banned(SECOND), Verdict::Banned(SECOND));
        let now = MonoNs(10 * SECOND);
        assert_eq!(standing.begin(now), Ok(()));
        assert!((0..5).all(|_| standing.begin(now).is_err()));
        (0..3).for_each(|_| standing.good(now));
        assert!(standing.is_clear() && standing.begin(now).is_ok());
    }
}
