//! Refusals: which candidates are refused now and for which reason, how often that happened, and the last examples with
//! their numbers. Pure; only called for a candidate above the threshold.
//!
//! A candidate is an instrument with a buy venue and a sell venue. It is counted when its refusal begins, when the
//! reason changes, and when it is refused again after a second without a refusal, not at each quote.
//!
//! All tables have a fixed size, and nothing is allocated per candidate. [`Refusals::report`] allocates.

use rustc_hash::{FxBuildHasher, FxHashMap};

use crate::market::refusal::{RefusalReport, RefusedCandidate};
use crate::market::{InstrumentId, VenueId};
use crate::matrix::CellQuote;
use crate::metrics::reasons::{AlertRefusal, Reason};
use crate::time::{MonoNs, SECOND};

/// A candidate that was not refused again within this time is no longer refused, in nanoseconds.
const FORGET_NS: u64 = SECOND;
/// Most candidates whose refusals are tracked at one time. Looks at others are counted as untracked.
const CURRENT_MAX: usize = 4096;
/// Examples of each reason.
const EXAMPLES: usize = 32;
/// A report is published at most once in this time, in nanoseconds.
const REPORT_NS: u64 = SECOND / 4;

const REASONS: usize = AlertRefusal::ALL.len();

type RouteKey = (InstrumentId, VenueId, VenueId);

/// See the file's head.
pub(crate) struct Refusals {
    venues: usize,
    current: FxHashMap<RouteKey, RefusedCandidate>,
    /// By buy venue, sell venue and reason.
    by_route: Vec<[u64; REASONS]>,
    /// By instrument and reason.
    by_instrument: Vec<[u64; REASONS]>,
    /// By reason: the last examples, the oldest of them at `next`.
    examples: [ExampleRing; REASONS],
    /// By reason: counted since [`Self::take_counts`].
    counted: [u64; REASONS],
    untracked: u64,
    /// How many of these were returned by [`Self::take_untracked`].
    untracked_taken: u64,
    /// Rows with a candidate that is refused until more is proven.
    awaiting: Vec<InstrumentId>,
    /// Something differs from the last report.
    is_changed: bool,
    reported: MonoNs,
    swept: MonoNs,
    /// The row at which the next look begins.
    next_row: usize,
    /// Buffer for the cells of one row.
    cells: Vec<(VenueId, CellQuote)>,
}

#[derive(Default)]
struct ExampleRing {
    examples: Vec<RefusedCandidate>,
    next: usize,
}

impl ExampleRing {
    fn push(&mut self, example: RefusedCandidate) {
        match self.examples.get_mut(self.next) {
            Some(oldest) => *oldest = example,
            None => self.examples.push(example),
        }
        self.next = (self.next + 1) % EXAMPLES;
    }
}

impl Refusals {
    /// No refusals yet, with room for `instruments` and `venues`.
    #[must_use]
    pub fn new(instruments: usize, venues: usize) -> Self {
        Self {
            venues,
            // Twice the room: deleted entries never make the table grow.
            current: FxHashMap::with_capacity_and_hasher(2 * CURRENT_MAX, FxBuildHasher),
            by_route: vec![[0; REASONS]; venues * venues],
            by_instrument: vec![[0; REASONS]; instruments],
            examples: std::array::from_fn(|_| ExampleRing { examples: Vec::with_capacity(EXAMPLES), next: 0 }),
            counted: [0; REASONS],
            untracked: 0,
            untracked_taken: 0,
            awaiting: Vec::with_capacity(instruments),
            is_changed: false,
            reported: MonoNs(0),
            swept: MonoNs(0),
            next_row: 0,
            cells: Vec::with_capacity(venues),
        }
    }

    /// The row to look at next, of `rows`.
    pub(crate) fn next_row(&mut self, rows: usize) -> InstrumentId {
        let at = self.next_row % rows;
        self.next_row = at + 1;
        InstrumentId(at as u32)
    }

    /// Takes the buffer for the cells of one row, to be returned by [`Self::keep_cells`].
    pub(crate) fn take_cells(&mut self) -> Vec<(VenueId, CellQuote)> {
        std::mem::take(&mut self.cells)
    }

    /// Takes the buffer back.
    pub(crate) fn keep_cells(&mut self, mut cells: Vec<(VenueId, CellQuote)>) {
        cells.clear();
        self.cells = cells;
    }

    /// The candidate is refused at `candidate.seen`. `since` is filled in.
    pub fn refuse(&mut self, mut candidate: RefusedCandidate) {
        let now = candidate.seen;
        candidate.since = now;
        let key = (candidate.instrument, candidate.buy.venue, candidate.sell.venue);
        let reason = candidate.grounds.reason;
        let is_full = self.current.len() >= CURRENT_MAX;
        self.is_changed = true;
        match self.current.get_mut(&key) {
            Some(held) if held.grounds.reason == reason && now.since(held.seen) < FORGET_NS => {
                *held = RefusedCandidate { since: held.since, ..candidate };
                return;
            }
            Some(held) => *held = candidate,
            None if is_full => {
                self.untracked += 1;
                return;
            }
            None => _ = self.current.insert(key, candidate),
        }
        self.counted[reason.index()] += 1;
        self.by_route[key.1.index() * self.venues + key.2.index()][reason.index()] += 1;
        self.by_instrument[key.0.index()][reason.index()] += 1;
        self.examples[reason.index()].push(candidate);
    }

    /// Whether a candidate of the row is refused until more is proven. Such a row moves to the end of [`Self::awaiting`].
    #[inline]
    pub(crate) fn set_awaiting(&mut self, instrument: InstrumentId, is_awaiting: bool) {
        self.awaiting.retain(|other| *other != instrument);
        if is_awaiting {
            self.awaiting.push(instrument);
        }
    }

    /// The rows of these candidates.
    #[inline]
    #[must_use]
    pub(crate) fn awaiting(&self) -> &[InstrumentId] {
        &self.awaiting
    }

    /// Refusals counted since the last call, by reason.
    pub(crate) fn take_counts(&mut self) -> [u64; REASONS] {
        std::mem::replace(&mut self.counted, [0; REASONS])
    }

    /// How often a refused candidate was not tracked since the last call.
    pub(crate) fn take_untracked(&mut self) -> u64 {
        self.untracked - std::mem::replace(&mut self.untracked_taken, self.untracked)
    }

    /// Forgets candidates that are no longer refused. Returns whether a report is due: something has changed, and the last
    /// report is old enough.
    pub(crate) fn sweep(&mut self, now: MonoNs) -> bool {
        if now.since(self.swept) >= FORGET_NS / 4 {
            self.swept = now;
            let before = self.current.len();
            self.current.retain(|_, held| now.since(held.seen) < FORGET_NS);
            self.is_changed |= self.current.len() != before;
        }
        self.is_changed && now.since(self.reported) >= REPORT_NS
    }

    /// All refusals as they are at `now`. Allocates.
    pub fn report(&mut self, now: MonoNs) -> RefusalReport {
        (self.reported, self.is_changed) = (now, false);
        let mut examples: Vec<RefusedCandidate> =
            self.examples.iter().flat_map(|ring| &ring.examples).copied().collect();
        let mut current: Vec<RefusedCandidate> = self.current.values().copied().collect();
        examples.sort_by_key(|it| std::cmp::Reverse(it.seen));
        current.sort_by_key(|it| (it.instrument, it.buy.venue, it.sell.venue));
        let counts = |counts: &[u64; REASONS]| {
            AlertRefusal::ALL.iter().copied().zip(*counts).filter(|(_, count)| *count > 0).collect::<Vec<_>>()
        };
        let venue = |at: usize| VenueId(at as u16);
        RefusalReport {
            routes: (self.by_route.iter().enumerate())
                .flat_map(|(at, of)| {
                    let (buy, sell) = (venue(at / self.venues), venue(at % self.venues));
                    counts(of).into_iter().map(move |(reason, count)| (buy, sell, reason, count))
                })
                .collect(),
            instruments: (self.by_instrument.iter().enumerate())
                .flat_map(|(at, of)| {
                    counts(of).into_iter().map(move |(reason, count)| (InstrumentId(at as u32), reason, count))
                })
                .collect(),
            current,
            examples,
            untracked: self.untracked,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::market::opportunity::Percent;
    use crate::market::refusal::{Grounds, RefusedLeg};
    use crate::time::MS;

    fn candidate(instrument: u32, reason: AlertRefusal, ms: u64) -> RefusedCandidate {
        let leg = |at| RefusedLeg { venue: VenueId(at), ..RefusedLeg::default() };
        RefusedCandidate {
            instrument: InstrumentId(instrument),
            buy: leg(0),
            sell: leg(1),
            gross_pct: Percent::default(),
            net_pct: Percent::default(),
            grounds: Grounds { reason, leg: None, fault: None, figure: None },
            since: MonoNs(0),
            seen: MonoNs(ms * MS),
        }
    }

    const LAG: AlertRefusal = AlertRefusal::LaggingVenue;
    const ALIEN: AlertRefusal = AlertRefusal::Identity;

    fn count(refusals: &mut Refusals, reason: AlertRefusal) -> u64 {
        let report = refusals.report(MonoNs(0));
        report.routes.iter().filter(|it| it.2 == reason).map(|it| it.3).sum()
    }

    #[test]
    fn a_refusal_is_counted_when_it_begins_when_its_reason_changes_and_when_it_returns() {
        let mut refusals = Refusals::new(2, 3);
        for ms in (0..5000).step_by(100) {
            refusals.refuse(candidate(0, LAG, 1000 + ms));
        }
        assert_eq!(count(&mut refusals, LAG), 1, "for five seconds, however often it is seen");
        refusals.refuse(candidate(0, ALIEN, 5950));
        refusals.refuse(candidate(0, LAG, 6000));
        assert_eq!((count(&mut refusals, LAG), count(&mut refusals, ALIEN)), (2, 1));
        refusals.refuse(candidate(0, LAG, 6999));
        assert_eq!(count(&mut refusals, LAG), 2);
        refusals.refuse(candidate(0, LAG, 7999));
        assert_eq!(count(&mut refusals, LAG), 3, "it was not seen refused for a second");
        assert_eq!(refusals.take_counts()[LAG.index()], 3);
        assert_eq!(refusals.take_counts(), [0; REASONS]);
        assert_eq!(refusals.report(MonoNs(0)).instruments, [(InstrumentId(0), LAG, 3), (InstrumentId(0), ALIEN, 1)]);
    }

    #[test]
    fn the_report_lists_what_is_refused_now_with_its_beginning_and_the_newest_examples_first() {
        let mut refusals = Refusals::new(100, 3);
        for at in 0..100 {
            refusals.refuse(candidate(at, LAG, 1000 + u64::from(at)));
        }
        refusals.refuse(candidate(7, LAG, 1500));
        let report = refusals.report(MonoNs(0));
        assert_eq!(report.current.len(), 100);
        assert_eq!((report.current[7].since, report.current[7].seen), (MonoNs(1007 * MS), MonoNs(1500 * MS)));
        let examples: Vec<u32> = report.examples.iter().map(|it| it.instrument.0).collect();
        assert_eq!(examples, (68..100).rev().collect::<Vec<_>>(), "the last 32");
        assert!(refusals.sweep(MonoNs(2400 * MS)));
        assert_eq!(refusals.report(MonoNs(2400 * MS)).current.len(), 1);
        assert!(!refusals.sweep(MonoNs(2450 * MS)), "nothing new");
        refusals.refuse(candidate(8, LAG, 2500));
        assert!(!refusals.sweep(MonoNs(2500 * MS)), "too soon");
        assert!(refusals.sweep(MonoNs(2650 * MS)));
    }

    #[test]
    fn the_table_is_bounded_and_says_what_it_did_not_take() {
        let instruments = CURRENT_MAX + 100;
        let mut refusals = Refusals::new(instruments, 2);
        let room = refusals.current.capacity();
        for round in 0..5 {
            for at in 0..instruments {
                refusals.refuse(candidate(at as u32, LAG, 10_000 * round));
            }
            refusals.sweep(MonoNs((10_000 * round + 5000) * MS));
        }
        assert_eq!((refusals.current.capacity(), refusals.current.len()), (room, 0));
        assert_eq!((count(&mut refusals, LAG), refusals.report(MonoNs(0)).untracked), (5 * CURRENT_MAX as u64, 500));
    }
}
