//! Health of one channel of a venue, shared by all its lines: the circuit breaker of the address, the waits, and the
//! budget of attempts. Time comes in, the time of the next attempt comes out. One per channel, on its feed's thread.

use crate::feed::log_limiter::LogLimiter;
use crate::feed::options::FeedOptions;
use crate::metrics::{BreakerGauges, BreakerState};
use crate::net::backoff::{Allowance, Backoff, PACE_NS, Payment, WINDOW_NS, Wait, attempts_max};
use crate::net::breaker::{Breaker, GOOD_NS};
use crate::time::{MS, MonoNs, SECOND};
use crate::venues::Pace;

/// What the end of an attempt, or of the connection that it led to, says about the venue's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing: the cause is on our side.
    Nothing,
    /// A connection was lost after it had delivered prices for a while.
    Lost,
    /// The attempt failed, or its connection was lost before it was good.
    Failed,
    /// The venue bans us for this many nanoseconds.
    Banned(u64),
}

/// Number of lines of a venue. The limits reserve one attempt of each for the venue's recovery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lines {
    /// Lines of this channel.
    pub own: usize,
    /// Lines of all channels of the venue.
    pub all: usize,
    /// Lines of the channels that are dialled after this one.
    pub later: usize,
}

/// State shared by the lines of one channel.
///
/// A venue is *suspect* after a failed attempt or the loss of a young connection. It is proven again when nothing has
/// been lost for a while and a connection has outlived those that were lost. While it is suspect, only one line dials at
/// a time. The reserve of the limits (one attempt per line) is spent only on a proven venue, so that all lines return
/// quickly, however often the venue broke before.
pub(crate) struct VenueHealth {
    backoff: Backoff,
    /// Our own limit of attempts in [`WINDOW_NS`].
    attempts: Allowance,
    /// The venue's published limit, halved: other programs at our address use the rest.
    connects: Allowance,
    lines: Lines,
    breaker: Breaker,
    /// No attempt before this time, because the venue asked for it.
    not_before: MonoNs,
    /// The last end of an attempt or a connection; `None` before the first and after [`Self::forgive`].
    broke_at: Option<MonoNs>,
    is_suspect: bool,
    /// Attempts that may use the reserve: one per line after the first loss of a venue that was not suspect, because most
    /// losses are short.
    at_once: usize,
    /// Lifetimes of the last connections that were lost young, a ring in nanoseconds; 0 for one without a price.
    lives: [u64; LIVES],
    oldest_life: usize,
    /// For each open connection, since when it delivers prices.
    flowing: Vec<MonoNs>,
    /// Attempts whose outcome is unknown.
    under_way: usize,
    /// No venue answers, so failures say nothing about this one.
    is_cut_off: bool,
    log: LogLimiter,
}

/// The longest wait while no venue answers, in nanoseconds. The limits still apply.
const CUT_OFF_NS: u64 = 2 * SECOND;
/// A connection that delivered prices for longer than this, in nanoseconds, is not young when it is lost.
const YOUNG_NS: u64 = 120 * SECOND;
/// Number of lost connections that are remembered. A failed attempt counts twice.
const LIVES: usize = 8;
/// A loss older than this, in nanoseconds, does not affect a connection that outlives those that were lost. It is longer
/// than the gap between two paced attempts, because lines that are dialled at that pace are lost at that pace.
const QUIET_NS: u64 = PACE_NS + 1500 * MS;
/// A loss older than this, in nanoseconds, does not affect any connection: all lines of a healthy venue are back within
/// 30 s, even if its connections lived longer than that before.
const SURE_NS: u64 = 25 * SECOND;
const _: () = assert!(GOOD_NS < QUIET_NS && QUIET_NS < SURE_NS && SURE_NS < YOUNG_NS);
/// A line that may not dial asks again after this time, in nanoseconds.
const LATER_NS: u64 = 250 * MS;

impl VenueHealth {
    /// A venue without history that allows `connects`. Different seeds spread simultaneous reconnects.
    #[must_use]
    pub fn new(connects: Pace, options: &FeedOptions, seed: u64) -> Self {
        let [first_ns, longest_ns] = [options.backoff_first_ms, options.backoff_max_ms].map(|ms| ms.saturating_mul(MS));
        Self {
            backoff: Backoff::new(seed, first_ns, longest_ns),
            attempts: Allowance::new(attempts_max(1), WINDOW_NS),
            connects: Allowance::new(connects.count as usize / 2, connects.per_ms.saturating_mul(MS)),
            lines: Lines { own: 1, all: 1, later: 0 },
            breaker: Breaker::new(options.breaker()),
            not_before: MonoNs(0),
            broke_at: None,
            is_suspect: false,
            at_once: 0,
            lives: [0; LIVES],
            oldest_life: 0,
            flowing: Vec::new(),
            under_way: 0,
            is_cut_off: false,
            log: LogLimiter::default(),
        }
    }

    /// Sets the number of lines of the venue.
    pub(crate) fn set_lines(&mut self, lines: Lines) {
        if lines.own != self.lines.own {
            self.attempts.resize(attempts_max(lines.own));
        }
        self.lines = lines;
    }

    /// A line whose last connection or attempt ended at `ended` wants to dial now. If it may, the caller reports the
    /// outcome: [`Self::settled`] once, and [`Self::ended`], [`Self::abandoned`] or [`Self::good`].
    ///
    /// # Errors
    /// When to ask again.
    pub fn begin(&mut self, now: MonoNs, ended: MonoNs) -> Result<Payment, MonoNs> {
        self.update_suspect(now);
        let at = self.next_attempt(now, ended).unwrap_or_else(|| now.plus(LATER_NS));
        if now < at {
            return Err(at);
        }
        // Several lines may dial a proven venue, even through a half-open breaker.
        let is_proven = self.proven_for(ended).is_some_and(|at| now >= at);
        let admits = self.breaker.begin(now) || (is_proven && self.breaker.state() == BreakerState::HalfOpen);
        if !admits {
            return Err(now.plus(LATER_NS));
        }
        let [own, all] = self.reserve(is_proven);
        self.at_once = self.at_once.saturating_sub(usize::from(!is_proven));
        let payment = self.connects.payment(all, now);
        self.backoff.attempt();
        self.attempts.spend(self.attempts.payment(own, now), now);
        self.connects.spend(payment, now);
        self.under_way += 1;
        Ok(payment)
    }

    /// The outcome of an attempt is known.
    pub fn settled(&mut self) {
        self.under_way = self.under_way.saturating_sub(1);
    }

    /// Another channel dialled the venue, which counts towards the venue's limit.
    pub(crate) fn count_other(&mut self, payment: Payment, now: MonoNs) {
        self.connects.spend(payment, now);
    }

    /// No attempt before this time, because the venue asked for it.
    #[must_use]
    pub const fn not_before(&self) -> MonoNs {
        self.not_before
    }

    /// No attempt before `until`: the venue asked another of its channels to wait.
    pub fn wait_until(&mut self, until: MonoNs) {
        self.not_before = self.not_before.max(until);
    }

    /// The venue answered `wait` to a request that was not an attempt to connect.
    pub fn hold(&mut self, wait: Wait, now: MonoNs) {
        if let Wait::AtLeast(ns) | Wait::Banned(ns) = wait {
            self.wait_until(now.plus(ns));
        }
    }

    /// When a line dials whose last connection or attempt ended at `ended` and whose own wait is over at `at`. The venue's
    /// waits, the breaker and the limits can delay it; it changes as other lines dial. `None` while it depends on the
    /// outcome of the current attempt.
    #[must_use]
    pub fn next_attempt(&self, at: MonoNs, ended: MonoNs) -> Option<MonoNs> {
        let proven = self.proven_for(ended).map(|at| at.max(self.allowed_at(true)));
        let waits_for_other = self.under_way > 0 && (self.is_suspect || self.is_cut_off);
        let own = (!waits_for_other).then(|| at.max(self.allowed_at(false)));
        let soonest = proven.into_iter().chain(own).min()?;
        Some(soonest.max(self.not_before).max(self.breaker.ready_at()))
    }

    /// When both limits allow an attempt.
    fn allowed_at(&self, is_proven: bool) -> MonoNs {
        let [own, all] = self.reserve(is_proven);
        self.attempts.ready_at(own).max(self.connects.ready_at(all))
    }

    /// Attempts of each limit that are reserved for the venue's recovery.
    const fn reserve(&self, is_proven: bool) -> [usize; 2] {
        match (is_proven, self.at_once > 0) {
            (true, _) => [0; 2],
            (false, true) => [0, self.lines.later],
            (false, false) => [self.lines.own, self.lines.all],
        }
    }

    /// When the venue is proven again, if nothing else is lost; `None` while no prices arrive.
    fn proven_at(&self) -> Option<MonoNs> {
        let Some(broke_at) = self.broke_at else { return Some(MonoNs(0)) };
        let since = self.flowing.iter().min()?;
        let life = self.lives.into_iter().max().unwrap_or(0);
        // If no lost connection delivered a price, any price is an improvement.
        let least = if life == 0 { SECOND } else { GOOD_NS };
        let outlived = (life + life / 10).saturating_add(SECOND).max(least);
        let other = broke_at.plus(outlived.min(QUIET_NS)).max(since.plus(outlived));
        Some(other.min(broke_at.plus(SURE_NS).max(since.plus(GOOD_NS))))
    }

    /// The same for a line that ended at `ended`. Connections that already delivered prices then prove nothing: one must
    /// have started to deliver since.
    fn proven_for(&self, ended: MonoNs) -> Option<MonoNs> {
        let has_evidence = self.broke_at.is_none() || self.flowing.iter().any(|since| *since >= ended);
        self.proven_at().filter(|_| has_evidence)
    }

    /// The venue is no longer suspect once it is proven.
    fn update_suspect(&mut self, now: MonoNs) {
        self.is_suspect &= self.proven_at().is_none_or(|at| now < at);
    }

    /// A connection delivers prices since `now`. The caller reports this once per connection, and [`Self::dry`] or
    /// [`Self::ended`] when it is over.
    pub fn flows(&mut self, now: MonoNs) {
        self.flowing.push(now);
    }

    /// A connection that delivered prices since `since` is closed.
    pub fn dry(&mut self, since: MonoNs) {
        if let Some(at) = self.flowing.iter().position(|it| *it == since) {
            self.flowing.swap_remove(at);
        }
    }

    /// An attempt failed, or a connection ended that delivered prices since `since`. Returns when its line should try
    /// again, regardless of other lines, and whether this opened the breaker.
    pub fn ended(&mut self, now: MonoNs, wait: Wait, verdict: Verdict, since: Option<MonoNs>) -> (MonoNs, bool) {
        self.update_suspect(now);
        since.into_iter().for_each(|since| self.dry(since));
        let is_first = self.broke_at.is_none_or(|at| now.since(at) >= YOUNG_NS);
        self.broke_at = Some(now);
        if self.is_cut_off && !matches!(wait, Wait::AtLeast(_) | Wait::Banned(_)) {
            self.breaker.abandoned();
            return (now.plus(self.backoff.jitter(CUT_OFF_NS)), false);
        }
        let life = since.map_or(0, |since| now.since(since));
        if verdict != Verdict::Nothing && life < YOUNG_NS {
            self.is_suspect = true;
            if is_first {
                self.at_once = self.lines.own;
            }
            // The first loss of a good connection does not predict how long others will live.
            let is_recorded = !is_first || life < GOOD_NS;
            for _ in 0..u8::from(is_recorded) + u8::from(since.is_none()) {
                self.lives[self.oldest_life] = life;
                self.oldest_life = (self.oldest_life + 1) % LIVES;
            }
        }
        let opened = match verdict {
            Verdict::Nothing | Verdict::Lost => {
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

    /// An attempt or a connection ended for a cause on our side.
    pub(crate) fn abandoned(&mut self) {
        self.breaker.abandoned();
    }

    /// A connection has delivered prices for a while: the next failure counts as the first.
    pub fn good(&mut self, now: MonoNs) {
        self.update_suspect(now);
        self.breaker.succeeded();
        self.backoff.flowed();
    }

    /// Whether no venue answers, including this one. Then the failures are caused by this machine and are forgiven.
    pub(crate) fn set_cut_off(&mut self, is_cut_off: bool, now: MonoNs) {
        self.is_cut_off = is_cut_off;
        self.forgive(now);
        if is_cut_off {
            self.broke_at = Some(now);
        }
    }

    /// Discards all failures: the next attempt may start at once, within the venue's own waits and the limits.
    pub(crate) fn forgive(&mut self, now: MonoNs) {
        (self.broke_at, self.is_suspect, self.lives) = (None, false, [0; LIVES]);
        self.backoff.flowed();
        if now >= self.not_before {
            self.breaker.reset();
        }
    }

    /// Whether the breaker is closed.
    #[must_use]
    pub(crate) fn is_clear(&self) -> bool {
        self.breaker.state() == BreakerState::Closed
    }

    /// Publishes the state of the breaker.
    pub fn show(&self, gauges: &BreakerGauges) {
        self.breaker.show(gauges);
    }

    /// A random time below `bound` nanoseconds.
    pub(crate) fn jitter(&mut self, bound: u64) -> u64 {
        self.backoff.jitter(bound)
    }

    /// Writes a line to the log, unless there were too many.
    pub fn say(&mut self, now: MonoNs, line: std::fmt::Arguments<'_>) {
        self.log.say(now, line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::backoff::ATTEMPTS_MAX;
    use crate::venues::VENUES;
    use proptest::prelude::*;

    const TEN_MINUTES: MonoNs = MonoNs(600 * SECOND);
    const NEVER: MonoNs = MonoNs(u64::MAX);

    /// What a venue does with an attempt.
    #[derive(Clone, Copy, Debug)]
    struct Fate {
        /// Time from the start of the attempt to the first price; `None` for no price.
        price_ns: Option<u64>,
        /// Time from the first price, or from the start of the attempt, to the end; `None` for no end.
        end_ns: Option<u64>,
        wait: Wait,
        /// A connection that is open when the venue recovers stays open.
        stays: bool,
        /// All connections end at the same time, at this interval.
        together_ns: Option<u64>,
    }

    impl Fate {
        const WELL: Self =
            Self { price_ns: Some(300 * MS), end_ns: None, wait: Wait::Usual, stays: false, together_ns: None };

        const fn fails(after_ns: u64, wait: Wait) -> Self {
            Self { price_ns: None, end_ns: Some(after_ns), wait, stays: false, together_ns: None }
        }

        const fn breaks(after_ns: u64, wait: Wait) -> Self {
            Self { price_ns: Some(50 * MS), end_ns: Some(after_ns), wait, stays: false, together_ns: None }
        }

        const fn well_for(ns: u64) -> Self {
            Self { stays: true, ..Self::breaks(ns, Wait::Usual) }
        }

        const fn cut_each(ns: u64) -> Self {
            Self { together_ns: Some(ns), ..Self::well_for(ns) }
        }

        /// The fate of a connection that begins this long after the venue broke.
        fn after(self, ns: u64) -> Self {
            let Some(every) = self.together_ns else { return self };
            Self { end_ns: Some(every - ns % every), price_ns: Some(0), ..self }
        }
    }

    /// The attempts of a venue's lines and their outcome.
    struct Run {
        /// Start of each attempt.
        attempts: Vec<MonoNs>,
        /// When each line had prices for good; `None` for never.
        back: Vec<Option<MonoNs>>,
    }

    #[derive(Clone, Copy)]
    enum At {
        Waiting { at: MonoNs, ended: MonoNs },
        Linked { fate: Fate, began: MonoNs, owes: bool, flows: Option<MonoNs>, good_at: MonoNs, ends_at: MonoNs },
    }

    impl At {
        /// The attempt that began at `began` meets `fate`, with a venue that is well from `well` on.
        fn linked(fate: Fate, began: MonoNs, well: MonoNs) -> Self {
            let price_at = began.plus(fate.price_ns.unwrap_or(0));
            let end_at = fate.end_ns.map_or(NEVER, |ns| price_at.plus(ns));
            let ends_at = if fate.stays && end_at > well { NEVER } else { end_at };
            Self::Linked { fate, began, owes: true, flows: None, good_at: NEVER, ends_at }
        }

        fn due(&self, health: &VenueHealth) -> MonoNs {
            match *self {
                Self::Waiting { at, ended } => health.next_attempt(at, ended).unwrap_or(NEVER),
                Self::Linked { fate, began, flows: None, ends_at, .. } => {
                    ends_at.min(fate.price_ns.map_or(NEVER, |ns| began.plus(ns)))
                }
                Self::Linked { good_at, ends_at, .. } => good_at.min(ends_at),
            }
        }
    }

    /// Runs `lines` lines until `end`. `fate` maps the time and number of an attempt to its fate; the venue is well from
    /// `well` on. Drives the health as [`crate::feed::Feed`] does, and checks that each announced attempt is allowed.
    fn run(
        health: &mut VenueHealth,
        lines: usize,
        end: MonoNs,
        well: MonoNs,
        fate: impl Fn(MonoNs, usize) -> Fate,
    ) -> Run {
        let mut now = MonoNs(SECOND);
        let mut at = vec![At::Waiting { at: now, ended: MonoNs(0) }; lines];
        let mut run = Run { attempts: Vec::new(), back: vec![None; lines] };
        health.set_lines(Lines { own: lines, all: lines, later: 0 });
        loop {
            let (line, next) = at.iter().map(|it| it.due(health)).enumerate().min_by_key(|(_, at)| *at).unwrap();
            if next >= end {
                return run;
            }
            now = next.max(now);
            at[line] = match at[line] {
                At::Waiting { ended, .. } => {
                    health.begin(now, ended).expect("the attempt was announced");
                    run.attempts.push(now);
                    let fate = fate(now, run.attempts.len());
                    let linked = At::linked(fate, now, well);
                    let stays = matches!(linked, At::Linked { ends_at: NEVER, .. });
                    run.back[line] = fate.price_ns.filter(|_| stays).map(|ns| now.plus(ns));
                    linked
                }
                At::Linked { fate, owes, flows, ends_at, .. } if now >= ends_at => {
                    if owes {
                        health.settled();
                    }
                    let verdict = match fate.wait {
                        Wait::Banned(ns) => Verdict::Banned(ns),
                        _ if !owes && health.is_clear() => Verdict::Lost,
                        _ => Verdict::Failed,
                    };
                    At::Waiting { at: health.ended(now, fate.wait, verdict, flows).0, ended: now }
                }
                At::Linked { fate, began, owes, flows: None, ends_at, .. } => {
                    health.flows(now);
                    At::Linked { fate, began, owes, flows: Some(now), good_at: now.plus(GOOD_NS), ends_at }
                }
                At::Linked { fate, began, owes, flows, ends_at, .. } => {
                    health.good(now);
                    if owes {
                        health.settled();
                    }
                    let good_at = if health.is_clear() { NEVER } else { now.plus(GOOD_NS) };
                    At::Linked { fate, began, owes: false, flows, good_at, ends_at }
                }
            };
        }
    }

    fn new(connects: Pace, seed: u64) -> VenueHealth {
        VenueHealth::new(connects, &FeedOptions::default(), seed)
    }

    /// The attempts of `lines` lines within ten minutes; `fate` maps the number of an attempt to its fate.
    fn storm(connects: Pace, lines: usize, seed: u64, fate: impl Fn(usize) -> Fate) -> Vec<MonoNs> {
        run(&mut new(connects, seed), lines, TEN_MINUTES, NEVER, |_, n| fate(n)).attempts
    }

    /// All modes of failure, with their names.
    fn modes() -> Vec<(String, Fate)> {
        let mut modes: Vec<(String, Fate)> = [
            ("refused", Fate::fails(3 * MS, Wait::Usual)),
            ("a black hole", Fate::fails(3 * SECOND, Wait::Usual)),
            ("no certificate that is trusted", Fate::fails(120 * MS, Wait::Usual)),
            ("upgrade refused", Fate::fails(20 * MS, Wait::Usual)),
            ("upgrade unanswered", Fate::fails(5 * SECOND, Wait::Usual)),
            ("closed after the upgrade", Fate::fails(40 * MS, Wait::Usual)),
            ("wants another connection", Fate::fails(40 * MS, Wait::AtOnce)),
            ("bad frames", Fate::fails(SECOND, Wait::Usual)),
            ("one price, then broken", Fate::breaks(100 * MS, Wait::Usual)),
            ("one price, then silent", Fate::breaks(4999 * MS, Wait::Usual)),
            ("one price, then wants another", Fate::breaks(100 * MS, Wait::AtOnce)),
        ]
        .map(|(name, fate)| (name.to_owned(), fate))
        .into();
        for seconds in [1, 7, 20, 90] {
            let asked = |status| Fate::fails(20 * MS, Wait::of_status(status, Some(seconds), 300));
            modes.push((format!("429, back in {seconds} s"), asked(429)));
            modes.push((format!("503, back in {seconds} s"), asked(503)));
        }
        modes.extend((1..=60).map(|s| (format!("well for {s} s"), Fate::well_for(s * SECOND))));
        modes.extend((1..=60).map(|s| (format!("all cut each {s} s"), Fate::cut_each(s * SECOND))));
        modes
    }

    fn most_in(attempts: &[MonoNs], span_ns: u64) -> usize {
        let within = |from: usize| attempts[from..].iter().take_while(|at| at.since(attempts[from]) < span_ns).count();
        (0..attempts.len()).map(within).max().unwrap_or(0)
    }

    /// Checks that the attempts use at most half of what the venue `allows`, and stay within our own limit.
    fn check_limits(attempts: &[MonoNs], lines: usize, allows: Pace, what: &str) {
        let (most, limit) = (most_in(attempts, allows.per_ms * MS), (allows.count as usize / 2).max(1));
        assert!(most <= limit, "{what}: {most} attempts in {} ms, {limit} are half of what is allowed", allows.per_ms);
        let (most, limit) = (most_in(attempts, WINDOW_NS), attempts_max(lines));
        assert!(most <= limit, "{what}: {most} attempts in five minutes, the limit is {limit}");
        assert!(lines > 8 || limit == ATTEMPTS_MAX);
    }

    /// A venue that is well until `from`, then fails until `well`.
    #[derive(Debug)]
    struct Outage {
        from: MonoNs,
        well: MonoNs,
        lines: usize,
        allows: Pace,
        broken: Fate,
    }

    impl Outage {
        fn run(&self, health: &mut VenueHealth) -> Run {
            let fate = |at: MonoNs, _| {
                let lasts = |until: MonoNs| Fate { end_ns: Some(until.since(at) + MS), ..Fate::WELL };
                match () {
                    () if at < self.from => lasts(self.from),
                    () if at < self.well => self.broken.after(at.since(self.from)),
                    () => Fate::WELL,
                }
            };
            run(health, self.lines, self.well.plus(700 * SECOND), self.well, fate)
        }

        /// Whether the limits have room for all lines when the venue recovers, whatever was dialled before: once at the
        /// start, once when it seemed to recover, and again if it seemed well for longer than any proof takes.
        fn has_room(&self) -> bool {
            let life = self.broken.price_ns.and(self.broken.end_ns).unwrap_or(0);
            let mut dials = vec![MonoNs(SECOND), self.well];
            if life >= GOOD_NS {
                dials.push(self.from.plus(60 * SECOND));
            }
            // The reserve is used once when the venue breaks.
            dials.push(self.from);
            for times in 1..=2 {
                if life + 4 * SECOND >= times * SURE_NS {
                    dials.push(self.from.plus(times * life + 60 * SECOND));
                }
            }
            if let Some(every) = self.broken.together_ns {
                // A connection that begins between two cuts lives for less than the interval.
                let every = if every + 4 * SECOND >= SURE_NS { every } else { every.max(60 * SECOND) };
                dials.extend((1..=self.well.since(self.from) / every).map(|n| self.from.plus(n * every)));
            }
            let room = |count: usize, span_ns: u64| {
                let dense = span_ns <= 60 * SECOND;
                let paced = if dense { count * 2 / 3 } else { (span_ns.div_ceil(PACE_NS) as usize).min(count * 2 / 3) };
                let within = dials.iter().filter(|at| self.well.since(**at) <= span_ns).count();
                span_ns <= PACE_NS || within * self.lines <= count - paced
            };
            room(attempts_max(self.lines), WINDOW_NS)
                && room((self.allows.count / 2).max(1) as usize, self.allows.per_ms * MS)
        }

        /// Delay of the last line by a limit with a short span.
        fn spread_ns(&self) -> u64 {
            let (count, span_ns) = (u64::from(self.allows.count / 2).max(1), self.allows.per_ms * MS);
            if span_ns <= PACE_NS { (self.lines as u64 - 1) / count * span_ns } else { 0 }
        }

        fn check(&self, health: &mut VenueHealth, what: &str) -> [u64; 2] {
            let run = self.run(health);
            check_limits(&run.attempts, self.lines, self.allows, what);
            // Not before the end of the venue's own wait.
            let base = self.well.max(health.not_before());
            let back = |line: &Option<MonoNs>| line.map_or(u64::MAX, |at| at.since(base));
            let (first, last) = (run.back.iter().map(back).min().unwrap(), run.back.iter().map(back).max().unwrap());
            assert!(first <= 30 * SECOND, "{what}: the first line in {} ms, {self:?}", first / MS);
            if self.has_room() {
                let most = 30 * SECOND + self.spread_ns();
                assert!(last <= most, "{what}: all lines in {} ms, {self:?}", last / MS);
                return [first, last - self.spread_ns().min(last)];
            }
            let most = 60 * SECOND + self.lines as u64 * PACE_NS;
            assert!(last <= most, "{what}: all {} lines in {} ms, {self:?}", self.lines, last / MS);
            [first, 0]
        }
    }

    #[test]
    fn in_every_mode_of_breaking_a_venue_is_back_within_30_s_of_being_well() {
        // (mode, longest time until the first line is back, until all are).
        for (place, (mode, broken)) in modes().into_iter().enumerate() {
            let mut longest = [0; 2];
            for seed in 0..8u64 {
                for venue in VENUES.iter().skip(place % 4).step_by(4) {
                    let allows = venue.facts().limits.connects;
                    let mut health = new(allows, seed);
                    // One second to ten minutes, after some time without a failure.
                    let length = SECOND + health.jitter(600 * SECOND);
                    let from = MonoNs((1 + health.jitter(400)) * SECOND);
                    let lines = [1, 2, 3, 5, 8, 12, 16, 20][seed as usize % 8];
                    let outage = Outage { from, well: from.plus(length), lines, allows, broken };
                    let back = outage.check(&mut health, &format!("{}, {mode}, seed {seed}", venue.facts().name));
                    longest = [longest[0].max(back[0]), longest[1].max(back[1])];
                }
            }
            println!("{mode}: back in {} ms, all lines in {} ms", longest[0] / MS, longest[1] / MS);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]
        #[test]
        fn whatever_breaks_for_however_long_all_lines_are_back_and_no_limit_is_passed(
            seed: u64,
            mode in prop::sample::select(modes()),
            venue in 0..VENUES.len(),
            lines in 1usize..=20,
            from_ms in 1000u64..700_000,
            length_ms in 1u64..700_000,
        ) {
            let allows = VENUES[venue].facts().limits.connects;
            let from = MonoNs(from_ms * MS);
            let outage = Outage { from, well: from.plus(length_ms * MS), lines, allows, broken: mode.1 };
            outage.check(&mut new(allows, seed), &format!("{}, {}, seed {seed}", VENUES[venue].facts().name, mode.0));
        }
    }

    #[test]
    fn every_venue_refusing_for_ten_minutes_stays_inside_its_published_limits() {
        for (seed, venue) in VENUES.iter().enumerate() {
            let (name, connects) = (venue.facts().name, venue.facts().limits.connects);
            for lines in [1, 3, 20] {
                for (mode, fate) in modes().into_iter().skip(seed % 4).step_by(4) {
                    let attempts = storm(connects, lines, seed as u64, |_| fate);
                    let what = format!("{name} with {lines} lines, {mode}");
                    check_limits(&attempts, lines, connects, &what);
                    if let Wait::Usual | Wait::AtOnce = fate.wait {
                        // All connections may live for this long.
                        let most = 30 * SECOND + fate.end_ns.filter(|_| fate.stays).unwrap_or(0);
                        let gaps = attempts.windows(2).map(|pair| pair[1].since(pair[0])).max().unwrap_or(u64::MAX);
                        assert!(gaps <= most, "{what}: no attempt for {} s", gaps / SECOND);
                    }
                }
            }
        }
    }

    #[test]
    fn a_ban_or_a_wait_of_one_line_holds_all_lines() {
        let connects = Pace { count: 1000, per_ms: 1000 };
        for (wait, rest) in [
            (Wait::of_status(418, Some(240), 300), 240),
            (Wait::of_status(403, None, 300), 300),
            (Wait::of_status(418, Some(3), 300), 3),
            (Wait::of_status(429, Some(90), 300), 90),
            (Wait::of_status(503, Some(45), 300), 45),
        ] {
            let fate = |n| Fate::fails(3 * MS, if n == 3 { wait } else { Wait::Usual });
            // The third of eight attempts that begin at once.
            let attempts = storm(connects, 8, 5, fate);
            let gap = attempts[8].since(attempts[7]);
            assert!(gap >= rest * SECOND, "after {wait:?} it came back in {} s", gap / SECOND);
            assert!(gap <= (rest + 2) * SECOND, "after {wait:?} it came back only in {} s", gap / SECOND);
        }
    }

    /// A venue with limits that are never reached.
    fn generous() -> VenueHealth {
        let mut health = new(Pace { count: 1000, per_ms: 1000 }, 3);
        health.set_lines(Lines { own: 6, all: 6, later: 0 });
        health
    }

    #[test]
    fn after_a_failure_one_line_tries_for_all_until_the_venue_has_proved_itself() {
        let (mut health, now) = (generous(), MonoNs(SECOND));
        health.begin(now, MonoNs(0)).unwrap();
        health.settled();
        health.ended(now, Wait::Usual, Verdict::Failed, None);
        let probe = now.plus(30 * SECOND);
        assert_eq!(health.begin(probe, now), Ok(Payment::Free));
        assert_eq!(health.next_attempt(probe, now), None, "one tries already");
        health.flows(probe);
        let proof = probe.plus(SECOND);
        assert_eq!(health.next_attempt(probe, now), Some(proof));
        assert!((0..5).all(|_| health.begin(proof, now).is_ok()), "it is well");
    }

    #[test]
    fn a_line_that_fails_while_others_are_well_is_not_hurried() {
        let (mut health, now) = (generous(), MonoNs(SECOND));
        health.begin(now, MonoNs(0)).unwrap();
        health.flows(now);
        health.settled();
        let mut at = now;
        let mut waits = Vec::new();
        for _ in 0..12 {
            health.begin(at, at).unwrap();
            health.settled();
            let (next, _) = health.ended(at, Wait::Usual, Verdict::Failed, None);
            let next = health.next_attempt(next, at).unwrap();
            waits.push(next.since(at));
            at = next;
        }
        assert!(waits.iter().max() > Some(&(7 * SECOND)), "{waits:?}");
    }

    #[test]
    fn while_no_venue_answers_failures_do_not_count() {
        let mut health = new(Pace { count: 300, per_ms: 300_000 }, 3);
        let fails = |_, _| Fate::fails(3 * SECOND, Wait::Usual);
        run(&mut health, 1, MonoNs(60 * SECOND), NEVER, fails);
        assert!(!health.is_clear(), "failures of one venue open the breaker");
        health.set_cut_off(true, MonoNs(60 * SECOND));
        let attempts = run(&mut health, 1, TEN_MINUTES, NEVER, fails).attempts;
        assert!(health.is_clear());
        assert!(most_in(&attempts, WINDOW_NS) <= ATTEMPTS_MAX);
        health.set_cut_off(false, TEN_MINUTES);
        assert_eq!(health.begin(TEN_MINUTES, TEN_MINUTES), Ok(Payment::Free), "dialled at once, from the reserve");
    }

    #[test]
    fn a_retry_respects_the_wait_that_the_venue_asked_for() {
        let (mut health, wait) = (generous(), Wait::Banned(60 * SECOND));
        health.begin(MonoNs(0), MonoNs(0)).unwrap();
        let (next, opened) = health.ended(MonoNs(0), wait, Verdict::Banned(60 * SECOND), None);
        health.settled();
        health.forgive(MonoNs(SECOND));
        assert!(opened && !health.is_clear());
        assert!(health.begin(next, MonoNs(0)).is_ok() && next >= MonoNs(60 * SECOND));
        let (mut health, now) = (generous(), MonoNs(60 * SECOND));
        run(&mut health, 1, now, NEVER, |_, _| Fate::fails(MS, Wait::Usual));
        assert!(health.begin(now, now).is_err());
        health.forgive(now);
        assert!(health.begin(now, now).is_ok());
    }

    #[test]
    fn a_half_open_breaker_admits_one_line() {
        let mut health = generous();
        health.ended(MonoNs(0), Wait::Banned(SECOND), Verdict::Banned(SECOND), None);
        let now = MonoNs(10 * SECOND);
        assert!(health.begin(now, MonoNs(0)).is_ok());
        assert!((0..5).all(|_| health.begin(now, MonoNs(0)).is_err()));
        (0..3).for_each(|_| health.good(now));
        health.settled();
        assert!(health.is_clear() && health.begin(now, MonoNs(0)).is_ok());
    }
}
