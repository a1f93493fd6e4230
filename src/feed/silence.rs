//! Silent instruments: which instruments of a connection have been silent for longer than is usual for them, which never
//! arrived, and which one is to be resubscribed now. The connection itself may be healthy. Time comes in. One per
//! connection, on its feed's thread; [`Silence::heard`] is on the path of every quote and allocates nothing.
//!
//! The usual gap of an instrument is the longest one between two quotes in the last one to two minutes. An instrument is
//! silent after `USUAL_GAPS` times that, within the bounds of [`SilenceOptions`].

use crate::market::InstrumentId;
use crate::time::{MonoNs, SECOND};

/// An instrument is silent after this multiple of its longest recent gap.
const USUAL_GAPS: u64 = 4;
/// Half of the recent time, in nanoseconds.
const BUCKET_NS: u64 = 60 * SECOND;
/// The gaps of an instrument are known after this many
const KNOWN_GAPS: u32 = 8;
/// over this time, in nanoseconds; until then only the ceiling applies.
const KNOWN_NS: u64 = 10 * SECOND;
/// The longest time between two resubscriptions of one instrument, in nanoseconds.
const REST_MAX_NS: u64 = 600 * SECOND;

/// Time limits for single instruments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SilenceOptions {
    /// A shorter silence never counts, in nanoseconds; 0: no silence counts.
    pub(crate) floor_ns: u64,
    /// A longer silence always counts, in nanoseconds.
    pub(crate) ceiling_ns: u64,
    /// Time from the subscription after which an instrument without a quote is missing, in nanoseconds.
    pub(crate) first_ns: u64,
    /// Shortest time between two resubscriptions, in nanoseconds.
    pub(crate) again_ns: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum SilenceState {
    /// No quote is expected: not subscribed yet, or halted according to the last frame.
    #[default]
    Resting,
    /// No quote is expected until [`Silence::halted`] ends the halt.
    Halted,
    /// Subscribed.
    Asked,
    /// Quoted.
    Live,
    /// Quoted, but silent since.
    Silent,
    /// Subscribed, but never quoted.
    Missing,
}

#[derive(Clone, Copy, Debug, Default)]
struct PairSilence {
    state: SilenceState,
    /// Its last quote became void.
    is_void: bool,
    /// Time of the last quote, or of the subscription.
    last: MonoNs,
    /// Time of the first quote.
    first: MonoNs,
    gaps: u32,
    /// Longest gap since `since`, and in the span before.
    longest: u64,
    longest_before: u64,
    since: MonoNs,
    /// When it may be resubscribed, and how long not again after that.
    again_at: MonoNs,
    rest_ns: u64,
}

impl PairSilence {
    fn learn(&mut self, gap: u64, now: MonoNs) {
        if now.since(self.since) >= BUCKET_NS {
            (self.longest_before, self.longest, self.since) = (self.longest, 0, now);
        }
        self.longest = self.longest.max(gap);
        self.gaps = self.gaps.saturating_add(1);
    }

    /// The longest usual silence, in nanoseconds.
    fn limit(&self, options: &SilenceOptions) -> u64 {
        if self.gaps < KNOWN_GAPS || self.last.since(self.first) < KNOWN_NS {
            return options.ceiling_ns;
        }
        let usual = self.longest.max(self.longest_before).saturating_mul(USUAL_GAPS);
        usual.max(options.floor_ns).min(options.ceiling_ns)
    }

    /// When it will be silent or missing, or may be resubscribed; `None` if no quote is expected.
    fn due(&self, options: &SilenceOptions, again_at: MonoNs) -> Option<MonoNs> {
        match self.state {
            SilenceState::Resting | SilenceState::Halted => None,
            SilenceState::Asked => Some(self.last.plus(options.first_ns)),
            SilenceState::Live => Some(self.last.plus(self.limit(options))),
            SilenceState::Silent | SilenceState::Missing => Some(self.again_at.max(again_at)),
        }
    }
}

/// What [`Silence::check`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Finding {
    /// It has become silent: its last quote no longer holds.
    Silent(InstrumentId),
    /// It was subscribed, but no quote arrived.
    Missing(InstrumentId),
    /// It is to be resubscribed, alone.
    Again(InstrumentId),
}

/// The instruments of one connection.
pub struct Silence {
    options: SilenceOptions,
    mine: Box<[InstrumentId]>,
    /// By instrument, from `first` on.
    pairs: Box<[PairSilence]>,
    first: usize,
    check_at: MonoNs,
    again_at: MonoNs,
    asked: bool,
    silent: usize,
    missing: usize,
}

const NEVER: MonoNs = MonoNs(u64::MAX);

impl Silence {
    /// For the instruments `mine`. Takes its memory here.
    #[must_use]
    pub fn new(options: SilenceOptions, mine: Box<[InstrumentId]>) -> Self {
        let [first, last] = [mine.iter().min(), mine.iter().max()].map(|id| id.map_or(0, |id| id.index()));
        let count = if mine.is_empty() { 0 } else { last - first + 1 };
        Self {
            options,
            mine,
            pairs: vec![PairSilence::default(); count].into(),
            first,
            check_at: NEVER,
            again_at: MonoNs(0),
            asked: false,
            silent: 0,
            missing: 0,
        }
    }

    /// A new connection: nothing is subscribed yet. The usual gaps are kept.
    pub(crate) fn reset(&mut self) {
        for pair in &mut self.pairs {
            (pair.state, pair.rest_ns) = (SilenceState::Resting, 0);
        }
        (self.check_at, self.asked, self.silent, self.missing) = (NEVER, false, 0, 0);
    }

    /// All have been subscribed; only the first call on a connection counts.
    pub fn asked(&mut self, now: MonoNs) {
        if self.options.floor_ns == 0 || std::mem::replace(&mut self.asked, true) {
            return;
        }
        for id in &self.mine {
            let pair = &mut self.pairs[id.index() - self.first];
            if pair.state == SilenceState::Resting {
                (pair.state, pair.last) = (SilenceState::Asked, now);
            }
        }
        self.check_at = self.check_at.min(now.plus(self.options.first_ns));
    }

    /// A quote arrived.
    #[inline]
    pub fn heard(&mut self, id: InstrumentId, now: MonoNs) {
        let Some(pair) = self.pairs.get_mut(id.index().wrapping_sub(self.first)) else { return };
        if pair.state != SilenceState::Live {
            return self.revived(id, now);
        }
        pair.learn(now.since(pair.last), now);
        (pair.last, pair.is_void) = (now, false);
        if self.options.floor_ns > 0 {
            self.check_at = self.check_at.min(now.plus(pair.limit(&self.options)));
        }
    }

    #[cold]
    fn revived(&mut self, id: InstrumentId, now: MonoNs) {
        let pair = &mut self.pairs[id.index() - self.first];
        match pair.state {
            SilenceState::Halted => return,
            // The silence may be usual for the instrument, but not one of an hour.
            SilenceState::Silent => {
                self.silent -= 1;
                let limit = pair.limit(&self.options);
                pair.learn(now.since(pair.last).min(limit), now);
            }
            SilenceState::Missing => self.missing -= 1,
            SilenceState::Resting | SilenceState::Asked | SilenceState::Live => {}
        }
        if pair.gaps == 0 {
            (pair.first, pair.since) = (now, now);
        }
        (pair.state, pair.is_void, pair.last, pair.rest_ns) = (SilenceState::Live, false, now, 0);
        if self.options.floor_ns > 0 {
            self.check_at = self.check_at.min(now.plus(pair.limit(&self.options)));
        }
    }

    /// The instrument does not trade: no quote is expected until one arrives.
    pub fn rests(&mut self, id: InstrumentId) {
        let Some(pair) = self.pairs.get_mut(id.index().wrapping_sub(self.first)) else { return };
        match pair.state {
            SilenceState::Silent => self.silent -= 1,
            SilenceState::Missing => self.missing -= 1,
            SilenceState::Halted => return,
            SilenceState::Resting | SilenceState::Asked | SilenceState::Live => {}
        }
        pair.state = SilenceState::Resting;
    }

    /// Its last quote became void. It is expected to be quoted as before.
    pub(crate) fn voided(&mut self, id: InstrumentId) {
        if let Some(pair) = self.pairs.get_mut(id.index().wrapping_sub(self.first)) {
            pair.is_void = true;
        }
    }

    /// The instrument is halted, or traded again; then a quote is expected as after a subscription at `now`.
    pub fn halted(&mut self, id: InstrumentId, is_halted: bool, now: MonoNs) {
        let is_known = self.options.floor_ns > 0 && self.asked;
        let Some(pair) = self.pairs.get_mut(id.index().wrapping_sub(self.first)) else { return };
        let before = pair.state;
        match (is_halted, before) {
            (true, _) => pair.state = SilenceState::Halted,
            (false, SilenceState::Halted) if is_known => {
                (pair.state, pair.last, pair.rest_ns) = (SilenceState::Asked, now, 0);
                self.check_at = self.check_at.min(now.plus(self.options.first_ns));
            }
            (false, SilenceState::Halted) => pair.state = SilenceState::Resting,
            (false, _) => {}
        }
        self.silent -= usize::from(is_halted && before == SilenceState::Silent);
        self.missing -= usize::from(is_halted && before == SilenceState::Missing);
    }

    /// When [`Self::check`] is to be called; `None` if no quote is expected.
    #[must_use]
    pub(crate) fn check_at(&self) -> Option<MonoNs> {
        (self.check_at != NEVER).then_some(self.check_at)
    }

    /// Reports what has changed by `now`. Not on the path of a quote.
    pub fn check(&mut self, now: MonoNs, found: &mut dyn FnMut(Finding)) {
        if now < self.check_at {
            return;
        }
        for &id in &self.mine {
            let pair = &mut self.pairs[id.index() - self.first];
            if pair.due(&self.options, self.again_at).is_none_or(|at| now < at) {
                continue;
            }
            match pair.state {
                SilenceState::Live => {
                    self.silent += 1;
                    let limit = pair.limit(&self.options);
                    (pair.state, pair.again_at) = (SilenceState::Silent, now.plus(limit));
                    found(Finding::Silent(id));
                }
                SilenceState::Asked => {
                    self.missing += 1;
                    (pair.state, pair.again_at) = (SilenceState::Missing, now.plus(self.options.first_ns));
                    found(Finding::Missing(id));
                }
                SilenceState::Silent | SilenceState::Missing => {
                    pair.rest_ns = (pair.rest_ns * 2).clamp(self.options.first_ns.min(REST_MAX_NS), REST_MAX_NS);
                    pair.again_at = now.plus(pair.rest_ns);
                    self.again_at = now.plus(self.options.again_ns.max(1));
                    found(Finding::Again(id));
                }
                SilenceState::Resting | SilenceState::Halted => {}
            }
        }
        let due =
            self.mine.iter().filter_map(|id| self.pairs[id.index() - self.first].due(&self.options, self.again_at));
        self.check_at = due.min().unwrap_or(NEVER);
    }

    /// Number of silent instruments.
    #[must_use]
    pub const fn silent(&self) -> usize {
        self.silent
    }

    /// Number of missing instruments.
    #[must_use]
    pub const fn missing(&self) -> usize {
        self.missing
    }

    /// One of the missing instruments.
    #[must_use]
    pub(crate) fn missing_one(&self) -> Option<InstrumentId> {
        self.mine.iter().copied().find(|id| self.pairs[id.index() - self.first].state == SilenceState::Missing)
    }

    /// When it was last quoted on this connection; `None` if it never was, or is silent.
    #[must_use]
    pub fn last(&self, id: InstrumentId) -> Option<MonoNs> {
        self.pairs
            .get(id.index().wrapping_sub(self.first))
            .filter(|pair| pair.state == SilenceState::Live)
            .map(|pair| pair.last)
    }

    /// Whether its last quote on this connection still holds: it was quoted, and is neither silent nor void.
    #[must_use]
    pub fn holds(&self, id: InstrumentId) -> bool {
        let pair = self.pairs.get(id.index().wrapping_sub(self.first));
        pair.is_some_and(|pair| pair.state == SilenceState::Live && !pair.is_void)
    }

    /// All instruments of the connection.
    #[must_use]
    pub fn instruments(&self) -> &[InstrumentId] {
        &self.mine
    }

    /// Copies the usual gaps from another connection, for the instruments that both have.
    pub(crate) fn learn_from(&mut self, other: &Self) {
        for (id, mine) in (self.first..).zip(&mut self.pairs) {
            let Some(theirs) = other.pairs.get(id.wrapping_sub(other.first)) else { continue };
            let PairSilence { gaps, longest, longest_before, since, first, .. } = *theirs;
            if gaps > 0 {
                mine.longest = mine.longest.max(longest);
                mine.longest_before = mine.longest_before.max(longest_before);
                mine.gaps = mine.gaps.saturating_add(gaps);
                (mine.since, mine.first) = (since, first);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::MS;

    const OPTIONS: SilenceOptions =
        SilenceOptions { floor_ns: 2 * SECOND, ceiling_ns: 30 * SECOND, first_ns: 10 * SECOND, again_ns: 5 * SECOND };
    const A: InstrumentId = InstrumentId(1);
    const B: InstrumentId = InstrumentId(2);

    struct Case {
        silence: Silence,
        now: MonoNs,
        found: Vec<(u64, Finding)>,
    }

    impl Case {
        fn new(options: SilenceOptions) -> Self {
            let mut silence = Silence::new(options, [A, B].into());
            silence.asked(MonoNs(SECOND));
            Self { silence, now: MonoNs(SECOND), found: Vec::new() }
        }

        /// Time passes; each of `quoted` is quoted every `every_ms`.
        fn pass(&mut self, ms: u64, quoted: &[InstrumentId], every_ms: u64) {
            let until = self.now.plus(ms * MS);
            let mut quote_at = self.now.plus(every_ms * MS);
            while self.now < until {
                let check_at = self.silence.check_at().unwrap_or(NEVER).max(self.now);
                self.now = quote_at.min(check_at).min(until);
                self.silence.check(self.now, &mut |finding| self.found.push((self.now.0 / MS, finding)));
                assert!(self.silence.check_at() != Some(self.now), "the same deadline again");
                if self.now == quote_at {
                    quote_at = self.now.plus(every_ms * MS);
                    quoted.iter().for_each(|id| self.silence.heard(*id, self.now));
                }
            }
        }

        fn found(&mut self) -> Vec<(u64, Finding)> {
            std::mem::take(&mut self.found)
        }
    }

    #[test]
    fn an_instrument_that_stops_is_silent_and_another_is_not() {
        let mut case = Case::new(OPTIONS);
        case.pass(60_000, &[A, B], 800);
        assert_eq!(case.found(), []);
        let last = case.silence.last(A).unwrap().0 / MS;
        case.pass(3900, &[B], 800);
        assert_eq!(case.found(), [(last + 3200, Finding::Silent(A))], "four of its usual gaps");
        assert_eq!((case.silence.silent(), case.silence.last(A)), (1, None));
        case.pass(800, &[A, B], 800);
        assert_eq!((case.silence.silent(), case.silence.last(A).is_some()), (0, true));
    }

    #[test]
    fn the_limit_is_between_floor_and_ceiling() {
        for (every_ms, limit_ms) in [(10, 2000), (1000, 4000), (9000, 30_000)] {
            let mut case = Case::new(SilenceOptions { first_ns: 60 * SECOND, ..OPTIONS });
            case.pass(200_000, &[A, B], every_ms);
            assert_eq!(case.found(), [], "each {every_ms} ms");
            let last = case.silence.last(A).unwrap().0 / MS;
            case.pass(limit_ms, &[], u64::MAX / MS / 2);
            let at = last + limit_ms;
            assert_eq!(case.found(), [(at, Finding::Silent(A)), (at, Finding::Silent(B))], "each {every_ms} ms");
        }
    }

    #[test]
    fn after_a_burst_the_usual_gap_of_a_quiet_instrument_stays_long() {
        let mut case = Case::new(OPTIONS);
        for _ in 0..20 {
            case.pass(1000, &[A, B], 10);
            case.pass(5000, &[], 60_000);
        }
        assert_eq!(case.found(), []);
    }

    #[test]
    fn a_missing_instrument_is_resubscribed_at_growing_intervals() {
        let mut case = Case::new(OPTIONS);
        case.pass(200_000, &[B], 500);
        let found = case.found();
        assert_eq!(found[0], (11_000, Finding::Missing(A)));
        let again: Vec<u64> = found[1..].iter().map(|(at, _)| at / 1000).collect();
        assert!(found[1..].iter().all(|(_, finding)| *finding == Finding::Again(A)));
        assert_eq!(again, [21, 31, 51, 91, 171]);
        assert_eq!((case.silence.missing(), case.silence.missing_one()), (1, Some(A)));
        case.silence.heard(A, case.now);
        assert_eq!((case.silence.missing(), case.silence.missing_one()), (0, None));
    }

    #[test]
    fn a_silent_instrument_is_resubscribed_after_a_further_limit_and_never_two_within_five_seconds() {
        let mut case = Case::new(OPTIONS);
        case.pass(60_000, &[A, B], 500);
        case.found();
        let last = case.silence.last(A).unwrap().0 / MS;
        case.pass(15_000, &[], 60_000);
        let found = case.found();
        assert_eq!(
            found[..3],
            [(last + 2000, Finding::Silent(A)), (last + 2000, Finding::Silent(B)), (last + 4000, Finding::Again(A)),]
        );
        assert_eq!(found[3], (last + 9000, Finding::Again(B)));
    }

    #[test]
    fn a_halted_instrument_is_not_expected_and_0_expects_nothing() {
        let mut case = Case::new(OPTIONS);
        case.pass(30_000, &[A, B], 500);
        case.silence.rests(A);
        case.pass(60_000, &[B], 500);
        assert_eq!(case.found(), []);
        let mut off = Case::new(SilenceOptions { floor_ns: 0, ..OPTIONS });
        off.pass(60_000, &[B], 7000);
        off.pass(60_000, &[], 70_000);
        assert_eq!((off.found(), off.silence.check_at()), (vec![], None));
    }
}
