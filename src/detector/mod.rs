//! The detector: feed rings in, matrix cells and opportunities out.
//!
//! One thread. Each event is merged into the matrix, and only the touched instrument's row is scanned.
//! Never blocks on a gateway, allocates nothing on the path of a quote that opens nothing, logs nothing.

pub(crate) mod basis;
pub mod class;
pub(crate) mod dirty;
pub(crate) mod episode;
pub(crate) mod evidence;
pub mod group;
pub(crate) mod identity;
pub mod judge;
pub(crate) mod lifetime;
pub mod lives;
pub mod merge;
#[cfg(test)]
mod oracle;
pub(crate) mod outcomes;
pub(crate) mod precision;
pub mod proof;
pub(crate) mod quarantine;
pub mod refusals;
pub mod scan;
pub(crate) mod scorecard;
pub mod survival;

use std::sync::Arc;
use std::time::Duration;

use crossbeam::sync::Parker;

use crate::market::book::BookVoid;
use crate::market::opportunity::{
    Bar, Change, CloseReason, Coexistence, Group, Leg, Opportunity, OpportunityEvent, Percent, Proof, gross_pct,
    net_pct,
};
use crate::market::quote::{FeedEvent, LineClock, LineId, Origin};
use crate::market::refusal::{Grounds, LegFault, RefusedCandidate, RefusedLeg};
use crate::market::rule::DetectorOptions;
use crate::market::{Decimal, Directory, InstrumentId, PairId, Quote, VenueId};
use crate::matrix::changes::Changes;
use crate::matrix::{CACHED_MAX_NS, CellQuote, CellState, MatrixWriter};
use crate::metrics::Board;
use crate::metrics::latency::{Hop, Recorder};
use crate::metrics::reasons::{AlertRefusal, DropReason, Reason};
use crate::stage::{Alarm, Sleep, Stage};
use crate::time::{Clock, MS, MonoNs, SECOND};
use crate::venues::{self, codes};

use basis::BasisRoute;
use dirty::DirtyRows;
use episode::{Episodes, Standing};
use evidence::{BEHIND_MAX, Evidence};
use judge::{RouteEvidence, is_standing, judge};
use lifetime::LegsInView;
use lives::CellLife;
use merge::{LastSeen, News, Peers};
use outcomes::Outcomes;
use refusals::Refusals;
use scan::Spreads;
use scorecard::Scorecards;

/// An event that waited longer in its ring, in nanoseconds, means that this thread was not running, as does
const WAITED_MAX_NS: u64 = 50 * MS;
/// this time between two turns. It is longer than any sleep.
const STILL_NS: u64 = 450 * MS;
/// After either, no opportunity is searched for during this time, so that the feeds first deliver what they hold.
const PAUSE_NS: u64 = 100 * MS;
/// A pause that goes on for longer closes what is open.
const PAUSE_MAX_NS: u64 = SECOND;
/// Nothing is told by time alone from so long after the last quote, in nanoseconds: the line may be silent,
const UNHEARD_NS: u64 = 25 * MS;
/// until so long after it, when feeds have said which of their connections are.
const UNHEARD_MAX_NS: u64 = SECOND / 2;
/// Rows with an open opportunity are scanned at least this often, so that age alone closes them.
const SWEEP_EVERY_NS: u64 = 20 * MS;
/// All routes with a basis are sampled in this many sweeps, about a second.
const BASIS_SWEEPS: usize = 50;
/// All rows are looked at for refusals in this many sweeps,
const REFUSAL_SWEEPS: usize = 5;
/// and at most this many of them exactly in one sweep.
const REFUSAL_ROWS_MAX: usize = 128;
/// Minimum interval between two updates of an open opportunity.
const UPDATE_EVERY_NS: u64 = 100 * MS;

/// A reader of the results of the detector: a gateway, or the cluster leader.
pub struct Subscriber {
    /// Marks the cells that changed.
    pub changes: Arc<Changes>,
    /// Receives opportunity events; `None` for a subscriber to prices only. Openings and ends are not dropped while it turns.
    pub opportunities: Option<rtrb::Producer<OpportunityEvent>>,
    /// Wakes it.
    pub alarm: Alarm,
}

/// What a detector is built from.
pub struct DetectorParts {
    /// Names and ids of instruments and venues.
    pub directory: Arc<Directory>,
    /// The matrix's only writer.
    pub matrix: MatrixWriter,
    /// One ring per feed thread.
    pub rings: Vec<rtrb::Consumer<FeedEvent>>,
    /// Readers of the results.
    pub subscribers: Vec<Subscriber>,
    /// Counters and latencies.
    pub board: Arc<Board>,
    /// Time.
    pub clock: Clock,
    /// What counts.
    pub options: DetectorOptions,
}

/// The detector stage.
pub struct Detector {
    core: Core,
    scorecards: Scorecards,
    rings: Vec<rtrb::Consumer<FeedEvent>>,
    subscribers: Vec<Subscriber>,
    board: Arc<Board>,
    recorder: Recorder,
    clock: Clock,
    alarm: Alarm,
    parker: Parker,
    slept: Sleep,
    swept: MonoNs,
    events: Vec<OpportunityEvent>,
    /// Events were sent since the subscribers were last woken.
    told: bool,
    /// The most events that waited in a ring since the time of the other.
    waiting: (usize, MonoNs),
    /// Edition of the directory when what is not wanted was last dropped.
    edition: u64,
    /// Edition of the directory's trading states when they were last applied.
    facts: u64,
    /// When the last turn began; `None` if the clock jumps.
    turned: Option<MonoNs>,
    /// When the last quote came.
    heard: MonoNs,
    /// No opportunity is looked for from the first until the second of these.
    pause: (MonoNs, MonoNs),
    /// Rows to scan.
    dirty: DirtyRows,
}

impl Detector {
    /// The stage, and the alarm by which feeds wake it.
    #[must_use]
    pub fn new(parts: DetectorParts) -> (Self, Alarm) {
        let (alarm, parker) = Alarm::of_parker();
        let recorder =
            Recorder::new(parts.directory.columns(), parts.directory.venues().len(), &[Hop::Merge, Hop::Detect]);
        let detector = Self {
            edition: parts.directory.edition(),
            facts: parts.directory.facts(),
            turned: Some(parts.clock.now()),
            heard: MonoNs(0),
            pause: (MonoNs(0), MonoNs(0)),
            dirty: DirtyRows::new(parts.directory.rows()),
            scorecards: Scorecards::new(parts.directory.columns(), parts.options.feed_score_min),
            core: Core::new(parts.directory, parts.matrix, parts.options),
            rings: parts.rings,
            subscribers: parts.subscribers,
            board: parts.board,
            recorder,
            clock: parts.clock,
            alarm: alarm.clone(),
            parker,
            slept: Sleep::default(),
            swept: MonoNs(0),
            events: Vec::with_capacity(64),
            told: false,
            waiting: (0, MonoNs(0)),
        };
        let size = detector.rings.iter().map(|ring| ring.buffer().capacity()).min().unwrap_or(0);
        detector.board.detector.ring_size.set(size as u64);
        (detector, alarm)
    }

    /// The same for a clock whose time jumps, such as that of a recording: a long time between two turns is no standstill.
    #[must_use]
    pub fn on_jumping_clock(self) -> Self {
        Self { turned: None, ..self }
    }

    /// Merges all that waits in the rings, and only then scans what it touched: no quote meets another one that is
    /// replaced by what waits behind it.
    fn take_events(&mut self) -> usize {
        let mut work = 0;
        for ring in 0..self.rings.len() {
            let waiting = self.rings[ring].slots();
            self.waiting.0 = self.waiting.0.max(waiting);
            if waiting == self.rings[ring].buffer().capacity() {
                // The feed keeps more aside.
                self.pause_from(self.clock.now());
            }
            for _ in 0..waiting {
                let Ok(event) = self.rings[ring].pop() else { break };
                self.handle(event);
                work += 1;
            }
        }
        if !self.dirty.is_empty() || (work > 0 && self.core.awaits_proof()) {
            self.scan_dirty();
        }
        if !self.events.is_empty() {
            self.tell();
        }
        work
    }

    #[inline]
    fn handle(&mut self, event: FeedEvent) {
        let now = self.clock.now();
        let (subscribers, board) = (&self.subscribers, &self.board);
        let mark = |pair| subscribers.iter().for_each(|s| s.changes.mark(pair));
        match event {
            FeedEvent::Quote(quote) => {
                self.heard = now;
                board.detector.quotes.add(1);
                match self.core.merge(&quote, mark) {
                    Ok(()) => board.detector.merged.add(1),
                    Err(reason) => board.venues[quote.venue.index()].quotes.dropped.add(reason, 1),
                }
                self.recorder.record(Hop::Merge, quote.venue.index(), quote.decoded, now);
                if now.since(quote.decoded) > WAITED_MAX_NS && quote.origin == Origin::Own {
                    self.pause_from(now);
                }
                self.dirty.add(quote.instrument, quote.venue, now);
            }
            FeedEvent::Void(instrument, venue, origin, why) => {
                self.core.void(instrument, venue, origin, why, mark);
                self.dirty.add(instrument, venue, now);
            }
            FeedEvent::Down(venue, origin) => {
                self.core.down(venue, origin, mark);
                self.touch_all(venue, now);
            }
            FeedEvent::Left(venue) => self.core.left(venue),
            FeedEvent::Clock(venue, line, clock) => {
                if self.core.set_clock(line, clock, now) {
                    self.touch_all(venue, now);
                }
            }
            FeedEvent::LineEnded(venue, line) => self.core.line_ended(venue, line),
            FeedEvent::Behind(venue, line, true) => {
                self.core.fall_behind(venue, line);
                self.touch_open(venue, now);
            }
            FeedEvent::Behind(venue, line, false) => {
                self.core.caught_up(venue, line);
                self.touch_all(venue, now);
            }
        }
    }

    /// All rows are to be scanned, because of `venue`.
    #[cold]
    fn touch_all(&mut self, venue: VenueId, now: MonoNs) {
        for instrument in (0..self.core.directory.instruments().len() as u32).map(InstrumentId) {
            self.dirty.add(instrument, venue, now);
        }
    }

    /// Rows with something open, which may close.
    #[cold]
    fn touch_open(&mut self, venue: VenueId, now: MonoNs) {
        for instrument in (0..self.core.directory.instruments().len() as u32).map(InstrumentId) {
            if self.core.episodes.is_open(instrument) {
                self.dirty.add(instrument, venue, now);
            }
        }
    }

    #[cold]
    fn pause_from(&mut self, now: MonoNs) {
        if now > self.pause.1 {
            self.pause.0 = now;
            self.core.outcomes.lose_view();
        }
        self.pause.1 = now.plus(PAUSE_NS);
    }

    fn scan_dirty(&mut self) {
        let now = self.clock.now();
        if !self.may_look(now) {
            return;
        }
        while let Some((instrument, venue, merged)) = self.dirty.take() {
            let began = self.clock.now();
            self.core.scan(instrument, began, &mut self.events);
            self.recorder.record(Hop::Detect, venue.index(), merged, self.clock.now());
        }
        if self.core.awaits_proof() {
            self.core.scan_awaiting(self.clock.now(), &mut self.events);
        }
    }

    /// Whether opportunities are looked for now. In a pause nothing opens or closes, unless it lasts; then all closes.
    fn may_look(&mut self, now: MonoNs) -> bool {
        let (from, until) = self.pause;
        let is_paused = now < until;
        self.core.evidence.is_late = is_paused && now.since(from) >= PAUSE_MAX_NS;
        !is_paused || self.core.evidence.is_late
    }

    /// Quotes of what was removed hold no longer: before the events of this turn, so that whoever sent one before it
    /// knew of the removal is not believed.
    fn look_at_set(&mut self) {
        let edition = self.core.directory.edition();
        if edition == self.edition {
            return;
        }
        self.edition = edition;
        let subscribers = &self.subscribers;
        let mark = |pair| subscribers.iter().for_each(|s| s.changes.mark(pair));
        self.core.drop_unwanted(mark);
        self.touch_all(VenueId(0), self.clock.now());
    }

    /// Quotes of what is not traded any more hold no longer, and fees are those of now.
    fn look_at_facts(&mut self) {
        let facts = self.core.directory.facts();
        if facts == self.facts {
            return;
        }
        self.facts = facts;
        let subscribers = &self.subscribers;
        let mark = |pair| subscribers.iter().for_each(|s| s.changes.mark(pair));
        self.core.look_at_facts(mark);
        self.touch_all(VenueId(0), self.clock.now());
    }

    fn sweep(&mut self, now: MonoNs) {
        if now.since(self.swept) < SWEEP_EVERY_NS {
            return;
        }
        self.swept = now;
        if !self.may_look(now) {
            return;
        }
        self.scan_dirty();
        self.core.is_unheard = (UNHEARD_NS..UNHEARD_MAX_NS).contains(&now.since(self.heard));
        let subscribers = &self.subscribers;
        self.core.sweep(now, |pair| subscribers.iter().for_each(|s| s.changes.mark(pair)), &mut self.events);
        self.core.tell_updated(now, &mut self.events);
        self.core.is_unheard = false;
        self.tell();
    }

    #[cold]
    fn tell(&mut self) {
        let counts = &self.board.detector;
        self.told |= !self.events.is_empty();
        for event in self.events.drain(..) {
            counts.opened.add(u64::from(event.change == Change::Opened));
            counts.alerts.add(u64::from(event.alert));
            counts.debounced.add(u64::from(event.change == Change::Opened && !event.alert));
            if let Some(class) = event.class {
                counts.closed.add(class, 1);
                let closed = &event.opportunity;
                self.core.outcomes.count(closed, class, self.clock.unix_at(closed.detected));
            }
            for ring in self.subscribers.iter_mut().filter_map(|subscriber| subscriber.opportunities.as_mut()) {
                // A gateway that is behind keeps its room for what must not be lost; the next update says it all.
                if event.change == Change::Updated && ring.slots() < ring.buffer().capacity() / 2 {
                    continue;
                }
                if ring.push(event).is_err() {
                    counts.events_lost.add(1);
                }
            }
        }
        for (reason, count) in AlertRefusal::ALL.iter().zip(self.core.refusals.take_counts()) {
            counts.refused.add(*reason, count);
        }
        counts.refusals_untracked.add(self.core.refusals.take_untracked());
        counts.basis_routes.set(self.core.evidence.basis.len() as u64);
        counts.basis_refused.add(self.core.evidence.basis.take_refused());
        counts.open.set(self.core.open() as u64);
    }

    /// Publishes the feed scores, and how full the rings were.
    fn survey(&mut self, now: MonoNs) {
        if self.scorecards.look(&self.board.venues, &self.board.scores, now) {
            self.core.quarantine(self.scorecards.quarantined());
            self.touch_all(VenueId(0), now);
        }
        if now.since(self.waiting.1) >= SECOND {
            self.board.detector.ring_peak.set(self.waiting.0 as u64);
            self.waiting = (0, now);
        }
    }

    /// Wakes the subscribers with work to do now; prices that are sent at an interval do not wake a gateway.
    fn wake_subscribers(&mut self) {
        let told = std::mem::take(&mut self.told);
        let is_news = |it: &&Subscriber| (told && it.opportunities.is_some()) || it.changes.is_marked();
        for subscriber in self.subscribers.iter().filter(is_news) {
            subscriber.alarm.ring();
        }
    }

    fn sleep(&mut self, wait: Duration) {
        let wait = self.patience().unwrap_or(wait).min(wait);
        self.alarm.set();
        if self.rings.iter().all(|ring| ring.is_empty()) {
            let from = self.clock.now();
            self.parker.park_timeout(wait);
            self.slept = Sleep::new(from, self.clock.now(), wait, false);
        }
        self.alarm.clear();
    }
}

impl Stage for Detector {
    fn name(&self) -> &str {
        "detector"
    }

    fn turn(&mut self, wait: Duration) -> usize {
        let now = self.clock.now();
        if let Some(turned) = &mut self.turned
            && now.since(std::mem::replace(turned, now)) > STILL_NS
        {
            self.pause_from(now);
        }
        self.look_at_set();
        self.look_at_facts();
        let work = self.take_events();
        let now = self.clock.now();
        self.sweep(now);
        self.wake_subscribers();
        self.survey(now);
        self.recorder.publish(&self.board.latency, now);
        if work == 0 && !wait.is_zero() {
            self.sleep(wait);
        }
        work
    }

    fn patience(&self) -> Option<Duration> {
        let is_restless = self.core.is_restless() || !self.dirty.is_empty();
        is_restless.then_some(Duration::from_nanos(SWEEP_EVERY_NS))
    }

    fn slept(&self) -> Option<Sleep> {
        Some(self.slept)
    }
}

/// The detector without rings, threads and clocks: what benches and property tests drive.
pub struct Core {
    directory: Arc<Directory>,
    matrix: MatrixWriter,
    spreads: Spreads,
    evidence: Evidence,
    /// By venue: whether our own connection speaks for its quotes.
    is_own: Vec<bool>,
    episodes: Episodes,
    /// Cells whose quote is suspect.
    doubted: Vec<PairId>,
    /// By instrument: whether each venue's is its own whatever it costs, as leveraged tokens are; `None`: not looked at.
    funds: Vec<Option<bool>>,
    /// Nothing came for a while, and it is not known yet whether the line is silent.
    is_unheard: bool,
    refusals: Refusals,
    outcomes: Outcomes,
    options: DetectorOptions,
}

impl Core {
    /// Nothing known yet.
    #[must_use]
    pub fn new(directory: Arc<Directory>, matrix: MatrixWriter, options: DetectorOptions) -> Self {
        let fees: Vec<_> = directory.venues().iter().map(|v| v.taker_fee_pct).collect();
        let mut spreads = Spreads::with_room(directory.rows(), directory.columns(), &fees, &options);
        spreads.set_lowest_fee(directory.lowest_fee_pct());
        Self {
            spreads,
            evidence: Evidence::new(&directory, Percent::of(options.threshold_pct)),
            funds: vec![None; directory.rows()],
            is_own: vec![false; directory.columns()],
            episodes: Episodes::new(directory.rows()),
            doubted: Vec::new(),
            is_unheard: false,
            refusals: Refusals::new(directory.rows(), directory.columns()),
            outcomes: Outcomes::new(directory.rows(), options.leg_age_max_ns()),
            directory,
            matrix,
            options,
        }
    }

    /// How many opportunities are open.
    #[must_use]
    pub fn open(&self) -> usize {
        self.episodes.open()
    }

    /// How many events the open ones are: those of one venue's jump are one.
    #[cfg(test)]
    #[must_use]
    pub(crate) fn groups(&self) -> usize {
        self.episodes.groups()
    }

    /// Whether something changes by time alone, so that [`Self::sweep`] is wanted soon.
    #[must_use]
    pub(crate) fn is_restless(&self) -> bool {
        self.open() > 0 || !self.doubted.is_empty() || self.awaits_proof()
    }

    /// Takes a quote into the matrix and marks its cell, or drops it.
    ///
    /// # Errors
    /// Why it was dropped; the cell's old quote is void where the reason says so.
    #[inline]
    pub fn merge(&mut self, quote: &Quote, mark: impl Fn(PairId)) -> Result<(), DropReason> {
        if !self.directory.is_quoted(quote.instrument, quote.venue) {
            self.forget(quote.instrument, quote.venue, mark);
            return Err(DropReason::NotWanted);
        }
        if !self.spreads.knows(quote.venue) {
            self.spreads.admit(quote.venue, self.directory.venue(quote.venue).taker_fee_pct);
        }
        let pair = self.directory.pair(quote.instrument, quote.venue);
        if quote.origin == Origin::Disk {
            return self.remember(pair, quote, mark);
        }
        if self.evidence.last[pair.index()].is_blank() {
            if quote.origin == Origin::Own {
                self.evidence.quarantine.quoted(quote.venue, quote.decoded.max(quote.received));
            } else if self.is_overtaken(pair, quote) {
                return Err(DropReason::Late);
            }
        }
        let Self { evidence, directory, matrix, spreads, options, .. } = self;
        let now = quote.received.max(quote.decoded);
        let fresh = FreshPrices { directory, matrix, spreads, age_max_ns: options.leg_age_max_ns(), now };
        let checked = merge::check(quote, &mut evidence.last[pair.index()], |mid| fresh.peers(pair, mid));
        let cell = CellQuote { state: self.state_in(quote.instrument, quote.venue), ..cell_of(quote) };
        let news = match checked {
            Ok(news) => news,
            Err(reason) => {
                match merge::fault_of(reason) {
                    Some(LegFault::Suspect) => self.doubt(pair, quote.instrument, quote.venue, cell, mark),
                    Some(fault) => self.void_cell(pair, quote.instrument, quote.venue, fault, mark),
                    None => {}
                }
                return Err(reason);
            }
        };
        self.evidence.lives[pair.index()].take(quote, &mut self.evidence.lines);
        if cell.state == CellState::Halted {
            // Its quotes hold; nothing but the halt keeps them from being legs.
            self.evidence.faults[pair.index()] = LegFault::Halted;
        }
        let is_own = &mut self.is_own[quote.venue.index()];
        *is_own |= quote.origin == Origin::Own;
        let held = if news == News::MaybeOld { self.matrix.load(pair) } else { CellQuote::default() };
        if held.state == cell.state && (held.bid, held.ask) == (quote.bid, quote.ask) {
            // What our own connection has said stays its word when the leader says the same.
            let stays = *is_own && held.origin == Origin::Own;
            let (received, origin) =
                if stays { (quote.received.max(held.received), held.origin) } else { (quote.received, quote.origin) };
            self.matrix.renew(pair, received, origin, (quote.delay, quote.excess));
        } else {
            self.matrix.store(pair, &cell);
            mark(pair);
        }
        self.enter(quote.instrument, quote.venue, &cell);
        Ok(())
    }

    /// Whether the cell is void, and held something newer before. Our own connection may count anew after it was lost.
    /// Others must not take the cell back: a looked-up value is compared by the time of its read, a leader's by the
    /// venue's stamp.
    #[cold]
    fn is_overtaken(&self, pair: PairId, quote: &Quote) -> bool {
        let held = self.matrix.load(pair);
        matches!(held.state, CellState::Void | CellState::Halted)
            && if quote.origin.is_pushed() {
                merge::is_stamped_before(quote.exchange_time, held.exchange_time)
            } else {
                quote.received < held.received
            }
    }

    /// Takes what an earlier run knew into a cell that knows nothing yet. It says nothing about what may follow.
    #[cold]
    fn remember(&mut self, pair: PairId, quote: &Quote, mark: impl Fn(PairId)) -> Result<(), DropReason> {
        if self.matrix.load(pair).state != CellState::Empty {
            return Err(DropReason::Late);
        }
        if !quote.is_two_sided() {
            return Err(DropReason::OneSided);
        }
        if quote.is_crossed() {
            return Err(DropReason::Crossed);
        }
        self.matrix.store(pair, &cell_of(quote));
        mark(pair);
        Ok(())
    }

    /// The state of a quote that is believed. A halt ends when the venue says so, not with a quote.
    #[inline]
    fn state_in(&self, instrument: InstrumentId, venue: VenueId) -> CellState {
        if self.directory.is_halted(instrument, venue) { CellState::Halted } else { CellState::Live }
    }

    /// What was pushed may make an alert; what was looked up never does, nor what cannot be traded.
    #[inline]
    fn enter(&mut self, instrument: InstrumentId, venue: VenueId, cell: &CellQuote) {
        if !cell.origin.is_pushed() || cell.state != CellState::Live {
            return self.spreads.clear(instrument, venue);
        }
        self.spreads.set(instrument, venue, cell.bid.price, cell.ask.price);
        let others = self.spreads.quoting(instrument) & !self.evidence.identity.comparable(instrument, venue);
        if others != 0 && !self.is_fund(instrument) {
            let mid = self.spreads.mid(instrument, venue);
            self.evidence.identity.see(instrument, venue, mid, others, |other| self.spreads.mid(instrument, other));
        }
    }

    fn is_fund(&mut self, instrument: InstrumentId) -> bool {
        let Self { directory, funds, .. } = self;
        *funds[instrument.index()].get_or_insert_with(|| {
            let base = directory.symbol(instrument).split('/').next().unwrap_or_default();
            codes::is_leveraged(base, |_| false)
        })
    }

    /// What is traded, or what it costs, has changed. All rows must be scanned after this.
    #[cold]
    pub fn look_at_facts(&mut self, mark: impl Fn(PairId)) {
        self.spreads.set_lowest_fee(self.directory.lowest_fee_pct());
        for pair in (0..self.directory.pairs() as u32).map(PairId) {
            let (instrument, venue) = self.directory.split(pair);
            let held = self.matrix.load(pair);
            let state = match self.state_in(instrument, venue) {
                // The quote became void during the halt.
                CellState::Live
                    if held.origin.is_pushed()
                        && (self.evidence.last[pair.index()].is_blank()
                            || self.evidence.faults[pair.index()] != LegFault::Halted) =>
                {
                    CellState::Void
                }
                state => state,
            };
            let is_other = match held.state {
                CellState::Live => state == CellState::Halted,
                CellState::Halted => state != CellState::Halted,
                _ => false,
            };
            if !is_other {
                continue;
            }
            let cell = CellQuote { state, ..held };
            if state == CellState::Halted {
                self.evidence.faults[pair.index()] = LegFault::Halted;
            }
            self.matrix.store(pair, &cell);
            mark(pair);
            self.enter(instrument, venue, &cell);
        }
    }

    /// Scans the row of `instrument` and adds the resulting events to `events`.
    #[inline]
    pub fn scan(&mut self, instrument: InstrumentId, now: MonoNs, events: &mut Vec<OpportunityEvent>) {
        let is_watched = self.episodes.is_open(instrument) || self.outcomes.is_followed(instrument);
        if is_watched || self.spreads.has_candidate(instrument) {
            self.scan_exactly(instrument, now, events);
        }
    }

    fn scan_exactly(&mut self, instrument: InstrumentId, now: MonoNs, events: &mut Vec<OpportunityEvent>) {
        let Self { directory, matrix, spreads, evidence, episodes, options, refusals, outcomes, is_unheard, .. } = self;
        let row = evidence.row(directory, instrument, now);
        let debounce_ns = if *is_unheard { u64::MAX } else { options.debounce_ns() };
        let told = events.len();
        let threshold = Percent::of(options.threshold_pct);
        let lines = &evidence.lines;
        let mut is_awaiting = false;
        episodes.begin();
        let cell = |venue| matrix.load(directory.pair(instrument, venue));
        let fee = |venue| directory.taker_fee_pct(instrument, venue);
        spreads.scan(instrument, cell, fee, |buy, sell, from, to| {
            let mut opportunity = opportunity(directory, instrument, (buy, from), (sell, to), now);
            let evidence = row.of((buy, from), (sell, to), opportunity.net_pct, true);
            let evidence = RouteEvidence { is_open: episodes.has(instrument, buy, sell), ..evidence };
            opportunity.coexistence = evidence.coexistence;
            opportunity.basis_pct = evidence.basis_pct.filter(|basis| is_standing(*basis, threshold));
            match judge(&evidence, options) {
                Ok(()) => events.extend(episodes.seen(opportunity, now, debounce_ns, options.proof_min.proof())),
                Err(grounds) => {
                    is_awaiting |= grounds.reason == AlertRefusal::NotCoexistent;
                    refusals.refuse(refused(&opportunity, grounds, now));
                }
            }
        });
        let look = |last: &Opportunity| {
            let (buy, sell) = (last.buy.venue, last.sell.venue);
            let (from, to) = (cell(buy), cell(sell));
            let mut opportunity = at_present(directory, last, [&from, &to], now);
            let evidence =
                RouteEvidence { is_open: true, ..row.of((buy, &from), (sell, &to), opportunity.net_pct, true) };
            opportunity.coexistence = evidence.coexistence;
            opportunity.basis_pct = evidence.basis_pct.filter(|basis| is_standing(*basis, threshold));
            let reason = judge(&evidence, options).err().map(|grounds| grounds.close_reason());
            Standing { opportunity, reason, is_one: evidence.is_one }
        };
        let stand = |last: &Opportunity, first| {
            let mut standing = look(last);
            let (buy, sell) = (standing.opportunity.buy, standing.opportunity.sell);
            let (prices, fees) = ((buy.level.price, sell.level.price), (fee(buy.venue), fee(sell.venue)));
            let stays = spreads.stays_open(prices, fees);
            // Below the threshold it is the prices that moved.
            standing.reason = standing.reason.filter(|reason| stays || *reason != CloseReason::StandingBasis);
            standing.opportunity.coexistence = match standing.reason {
                Some(_) => last.coexistence,
                None if stays => proof::joined(last.coexistence, standing.opportunity.coexistence),
                None => {
                    let (ask, bid) = (last.buy.level.price, last.sell.level.price);
                    let legs = [row.life(buy.venue).ask_end(ask, lines), row.life(sell.venue).bid_end(bid, lines)];
                    proof::at_end(last.coexistence, &legs)
                }
            };
            if standing.reason.is_none() && !stays {
                standing.reason = Some(moved(options, last, first, &standing.opportunity));
            }
            standing
        };
        episodes.settle_unseen(instrument, now, stand, |event| events.push(event));
        episodes.fill_groups(&mut events[told..]);
        outcomes.observe(instrument, now, &events[told..], |last| {
            let Standing { opportunity, reason, .. } = look(last);
            LegsInView { opportunity, holds: reason.is_none_or(|reason| reason == CloseReason::StandingBasis) }
        });
        self.refusals.set_awaiting(instrument, is_awaiting);
    }

    /// Whether candidates wait for a proof, which a message about any other instrument may bring.
    #[inline]
    #[must_use]
    pub(crate) fn awaits_proof(&self) -> bool {
        !self.refusals.awaiting().is_empty()
    }

    /// Scans the rows with candidates that wait for a proof, and adds the resulting events to `events`.
    #[cold]
    pub(crate) fn scan_awaiting(&mut self, now: MonoNs, events: &mut Vec<OpportunityEvent>) {
        // A row that still waits moves to the end.
        for at in (0..self.refusals.awaiting().len()).rev() {
            self.scan_exactly(self.refusals.awaiting()[at], now, events);
        }
    }

    /// What the timestamps of `line` show at `now`. Returns whether all rows must be scanned after this.
    #[inline]
    pub(crate) fn set_clock(&mut self, line: LineId, clock: LineClock, now: MonoNs) -> bool {
        self.evidence.lines.set(line, clock, now)
    }

    /// From now on no quote of these venues is a leg, one bit each. All rows must be scanned after this.
    #[cold]
    pub(crate) const fn quarantine(&mut self, venues: u64) {
        self.evidence.quarantine.set_feeds(venues);
    }

    /// Looks for candidates that a scan does not see, because the quote of a leg does not hold or because only the gross
    /// spread is above the threshold: by the last price of each cell, over all rows about ten times per second.
    fn look_for_refusals(&mut self, now: MonoNs) {
        let rows = self.directory.instruments().len();
        let mut exact = 0;
        for _ in 0..rows.div_ceil(REFUSAL_SWEEPS) {
            let instrument = self.refusals.next_row(rows);
            if self.spreads.may_be_refused(instrument) {
                self.look_at_refused(instrument, now);
                exact += 1;
            }
            if exact == REFUSAL_ROWS_MAX {
                break;
            }
        }
    }

    #[cold]
    fn look_at_refused(&mut self, instrument: InstrumentId, now: MonoNs) {
        let Self { directory, matrix, spreads, evidence, episodes, options, refusals, .. } = self;
        let row = evidence.row(directory, instrument, now);
        let mut cells = refusals.take_cells();
        cells.extend(directory.venues_on().filter_map(|(venue, _)| {
            let pair = directory.pair(instrument, venue);
            let (held, fault) = (matrix.load(pair), evidence.faults[pair.index()]);
            // What was removed and has come back may be something else.
            let is_removed = !directory.is_quoted(instrument, venue)
                || (held.state == CellState::Void && fault == LegFault::Removed);
            (!is_removed && is_known(&held, now)).then_some((venue, held))
        }));
        let fee = |venue| directory.taker_fee_pct(instrument, venue);
        let bar = Bar::gross(options.threshold_pct);
        let lowest = cells.iter().map(|(_, held)| held.ask.price).min().unwrap_or_default();
        let highest = cells.iter().map(|(_, held)| held.bid.price).max().unwrap_or_default();
        let may_be = bar.is_exceeded(lowest, highest);
        for (buy, from) in cells.iter().filter(|_| may_be) {
            for (sell, to) in cells.iter().filter(|(sell, _)| sell != buy) {
                if !bar.is_exceeded(from.ask.price, to.bid.price) {
                    continue;
                }
                let is_above = spreads.is_above((from.ask.price, to.bid.price), (fee(*buy), fee(*sell)));
                let opportunity = opportunity(directory, instrument, (*buy, from), (*sell, to), now);
                let evidence = row.of((*buy, from), (*sell, to), opportunity.net_pct, is_above);
                let evidence = RouteEvidence { is_open: episodes.has(instrument, *buy, *sell), ..evidence };
                if let Err(grounds) = judge(&evidence, options) {
                    refusals.refuse(refused(&opportunity, grounds, now));
                }
            }
        }
        refusals.keep_cells(cells);
    }

    /// Samples the net spreads of remembered routes, and remembers routes that are worth it: each about once per second.
    fn look_at_basis(&mut self, now: MonoNs) {
        let Self { directory, matrix, spreads, options, evidence: Evidence { basis, identity, .. }, .. } = self;
        let net_of = |(instrument, buy, sell): BasisRoute| {
            let cell = |venue| matrix.load(directory.pair(instrument, venue));
            let (from, to) = (cell(buy), cell(sell));
            let is_leg = |held: &CellQuote| {
                held.state == CellState::Live && held.origin.is_pushed() && held.age(now) <= options.leg_age_max_ns()
            };
            let holds = is_leg(&from)
                && is_leg(&to)
                && identity.is_one(
                    instrument,
                    (buy, sell),
                    [buy, sell].map(|venue| directory.claim(instrument, venue)),
                );
            let fee = |venue| directory.taker_fee_pct(instrument, venue);
            holds.then(|| net_pct(from.ask.price, to.bid.price, fee(buy), fee(sell)))
        };
        basis.sample(now, BASIS_SWEEPS, net_of);
        let rows = directory.instruments().len();
        for _ in 0..rows.div_ceil(BASIS_SWEEPS) {
            let instrument = basis.next_row(rows);
            spreads.worth_a_memory(instrument, |buy, sell| {
                if let Some(net) = net_of((instrument, buy, sell)) {
                    basis.admit((instrument, buy, sell), net, now);
                }
            });
        }
    }

    /// From now on no quote that came by `line` is a leg.
    #[cold]
    pub fn fall_behind(&mut self, venue: VenueId, line: LineId) {
        if self.evidence.behind.contains(&(venue, line)) {
            return;
        }
        if self.evidence.behind.len() == BEHIND_MAX {
            let Evidence { behind, last, .. } = &mut self.evidence;
            behind.retain(|(_, line)| last.iter().any(|last| last.line() == *line));
        }
        self.evidence.behind.push((venue, line));
    }

    /// Quotes that came by `line` are legs again. The rows must be scanned after this.
    #[cold]
    pub fn caught_up(&mut self, venue: VenueId, line: LineId) {
        self.evidence.behind.retain(|other| *other != (venue, line));
    }

    /// The last quote of one instrument no longer holds for this reason, if it came by a way that `origin` speaks for.
    pub fn void(
        &mut self,
        instrument: InstrumentId,
        venue: VenueId,
        origin: Origin,
        why: BookVoid,
        mark: impl Fn(PairId),
    ) {
        let pair = self.directory.pair(instrument, venue);
        let held = self.matrix.load(pair);
        if held.state != CellState::Empty && !origin.voids(held.origin) {
            return;
        }
        if why == BookVoid::Lost && origin == Origin::Own {
            self.evidence.quarantine.lost(venue);
        }
        self.evidence.last[pair.index()] = LastSeen::default();
        self.void_cell(pair, instrument, venue, why.into(), mark);
    }

    /// The set has changed: the quotes of what is not to be quoted any longer become void, however they came. All rows must
    /// be scanned after this.
    #[cold]
    pub(crate) fn drop_unwanted(&mut self, mark: impl Fn(PairId)) {
        for pair in (0..self.directory.pairs() as u32).map(PairId) {
            let (instrument, venue) = self.directory.split(pair);
            let was_quoted = self.directory.native(instrument, venue).is_some();
            if !was_quoted || self.directory.is_quoted(instrument, venue) {
                continue;
            }
            self.evidence.identity.forget(instrument, venue);
            self.evidence.faults[pair.index()] = LegFault::Removed;
            if self.matrix.load(pair).holds() {
                self.evidence.last[pair.index()] = LastSeen::default();
                self.void_cell(pair, instrument, venue, LegFault::Removed, &mark);
            }
        }
    }

    /// All quotes of `venue` that [`Origin::voids`] assigns to `origin` are void. All rows must be scanned after this.
    pub fn down(&mut self, venue: VenueId, origin: Origin, mark: impl Fn(PairId)) {
        self.is_own[venue.index()] &= origin != Origin::Own;
        if origin == Origin::Own {
            self.evidence.quarantine.lost(venue);
        }
        for instrument in (0..self.directory.instruments().len() as u32).map(InstrumentId) {
            self.void(instrument, venue, origin, BookVoid::Lost, &mark);
        }
    }

    /// Our own connection to `venue` was closed because another instance leads: its leader speaks for its quotes now.
    #[cold]
    pub fn left(&mut self, venue: VenueId) {
        self.is_own[venue.index()] = false;
        for instrument in (0..self.directory.instruments().len() as u32).map(InstrumentId) {
            let pair = self.directory.pair(instrument, venue);
            let held = self.matrix.load(pair);
            if held.origin == Origin::Own && held.state != CellState::Empty {
                self.matrix.renew(pair, held.received, Origin::Shared, (held.delay, held.excess));
            }
        }
    }

    /// A connection to `venue` has ended or given way: what it stamped last no longer makes quotes of its successor late.
    #[cold]
    pub(crate) fn line_ended(&mut self, venue: VenueId, line: LineId) {
        for instrument in (0..self.directory.instruments().len() as u32).map(InstrumentId) {
            let last = &mut self.evidence.last[self.directory.pair(instrument, venue).index()];
            if last.line() == line {
                last.end_line();
            }
        }
    }

    /// Shows the quote as suspect and keeps it out of the scan until it is confirmed.
    #[cold]
    fn doubt(
        &mut self,
        pair: PairId,
        instrument: InstrumentId,
        venue: VenueId,
        cell: CellQuote,
        mark: impl Fn(PairId),
    ) {
        self.spreads.clear(instrument, venue);
        self.evidence.faults[pair.index()] = LegFault::Suspect;
        self.evidence.lives[pair.index()] = CellLife::default();
        self.matrix.store(pair, &CellQuote { state: CellState::Suspect, ..cell });
        mark(pair);
        if !self.doubted.contains(&pair) {
            self.doubted.push(pair);
        }
    }

    /// Believes suspect quotes that no other venue has contradicted for long enough.
    fn settle_doubts(&mut self, now: MonoNs, mark: impl Fn(PairId), events: &mut Vec<OpportunityEvent>) {
        for pair in std::mem::take(&mut self.doubted) {
            let cell = self.matrix.load(pair);
            if cell.state != CellState::Suspect {
                continue;
            }
            let Self { evidence, directory, matrix, spreads, options, .. } = &mut *self;
            let last = &mut evidence.last[pair.index()];
            let fresh = FreshPrices { directory, matrix, spreads, age_max_ns: options.leg_age_max_ns(), now };
            let word = merge::doubted_mid(last).map_or(Peers::Absent, |mid| fresh.peers(pair, mid));
            if !merge::is_confirmed(last, now, word) {
                self.doubted.push(pair);
                continue;
            }
            let (instrument, venue) = self.directory.split(pair);
            let cell = CellQuote { state: self.state_in(instrument, venue), ..cell };
            self.matrix.store(pair, &cell);
            self.enter(instrument, venue, &cell);
            mark(pair);
            self.scan(instrument, now, events);
        }
    }

    /// An instrument that is removed may be added again before the next look: its earlier state is forgotten.
    #[cold]
    fn forget(&mut self, instrument: InstrumentId, venue: VenueId, mark: impl Fn(PairId)) {
        let pair = self.directory.pair(instrument, venue);
        self.evidence.last[pair.index()] = LastSeen::default();
        self.evidence.identity.forget(instrument, venue);
        self.void_cell(pair, instrument, venue, LegFault::Removed, mark);
    }

    fn void_cell(
        &mut self,
        pair: PairId,
        instrument: InstrumentId,
        venue: VenueId,
        fault: LegFault,
        mark: impl Fn(PairId),
    ) {
        self.spreads.clear(instrument, venue);
        self.evidence.lives[pair.index()] = CellLife::default();
        let cell = self.matrix.load(pair);
        // What was removed stays so until its next quote.
        if cell.state != CellState::Void || self.evidence.faults[pair.index()] != LegFault::Removed {
            self.evidence.faults[pair.index()] = fault;
        }
        // The end of a connection does not end a halt.
        let is_halted = fault != LegFault::Removed && self.directory.is_halted(instrument, venue);
        let state = if fault == LegFault::Halted || is_halted { CellState::Halted } else { CellState::Void };
        if cell.holds() && cell.state != state {
            self.matrix.store(pair, &CellQuote { state, ..cell });
            mark(pair);
        }
    }

    /// Looks again at every open opportunity: age alone may close it, time alone may repeat its alert.
    pub(crate) fn sweep(&mut self, now: MonoNs, mark: impl Fn(PairId), events: &mut Vec<OpportunityEvent>) {
        self.settle_doubts(now, mark, events);
        if self.episodes.open() > 0 {
            let rows: Vec<InstrumentId> = self.episodes.instruments().collect();
            rows.into_iter().for_each(|instrument| self.scan_exactly(instrument, now, events));
        }
        self.episodes.forget_old(now, self.options.debounce_ns());
        self.look_for_refusals(now);
        self.look_at_basis(now);
        if self.refusals.sweep(now) {
            self.publish_refusals(now);
        }
        let directory = &self.directory;
        let cadence_ms =
            |id| venues::venue(&directory.venue(id).name).map_or(0, |venue| venue.facts().stamps.cadence_ms);
        if self.outcomes.refresh(now, cadence_ms) {
            self.matrix.publish(|findings| self.outcomes.report(now, findings));
        }
    }

    #[cold]
    fn publish_refusals(&mut self, now: MonoNs) {
        let report = Arc::new(self.refusals.report(now));
        self.matrix.publish(|findings| findings.refusals = report);
    }

    /// Adds to `events` how open opportunities have moved since they were last published. Not on the path of a
    /// quote: after [`Self::sweep`].
    pub(crate) fn tell_updated(&mut self, now: MonoNs, events: &mut Vec<OpportunityEvent>) {
        if self.is_unheard {
            return;
        }
        self.episodes.tell_updated(now, UPDATE_EVERY_NS, |event| events.push(event));
    }
}

/// The fresh prices of all venues.
struct FreshPrices<'a> {
    directory: &'a Directory,
    matrix: &'a MatrixWriter,
    spreads: &'a Spreads,
    /// Greatest age of a fresh price, in nanoseconds.
    age_max_ns: u64,
    now: MonoNs,
}

impl FreshPrices<'_> {
    /// What the other venues' prices say about `mid` on the venue of `pair`.
    #[cold]
    fn peers(&self, pair: PairId, mid: f64) -> Peers {
        let (instrument, venue) = self.directory.split(pair);
        let mut word = Peers::Absent;
        for (other, its) in self.spreads.mids(instrument) {
            let cell = || self.matrix.load(self.directory.pair(instrument, other));
            if other == venue || cell().age(self.now) > self.age_max_ns {
                continue;
            }
            if !merge::is_far(mid, its) {
                return Peers::Agree;
            }
            word = Peers::Contradict;
        }
        word
    }
}

fn cell_of(quote: &Quote) -> CellQuote {
    CellQuote {
        bid: quote.bid,
        ask: quote.ask,
        sequence: quote.sequence,
        exchange_time: quote.exchange_time,
        received: quote.received,
        changes: 0,
        state: CellState::Live,
        source: quote.source,
        origin: quote.origin,
        delay: quote.delay,
        excess: quote.excess,
    }
}

/// Buying on one venue and selling on the other at these quotes. `opened` and the peak are the caller's.
#[must_use]
pub fn opportunity(
    directory: &Directory,
    instrument: InstrumentId,
    (buy, from): (VenueId, &CellQuote),
    (sell, to): (VenueId, &CellQuote),
    now: MonoNs,
) -> Opportunity {
    let (ask, bid) = (from.ask.price, to.bid.price);
    let fee = |venue| directory.taker_fee_pct(instrument, venue);
    Opportunity {
        instrument,
        buy: Leg { venue: buy, level: from.ask, received: from.received, source: from.source, excess: from.excess },
        sell: Leg { venue: sell, level: to.bid, received: to.received, source: to.source, excess: to.excess },
        gross_pct: gross_pct(ask, bid),
        net_pct: net_pct(ask, bid, fee(buy), fee(sell)),
        basis_pct: None,
        opened: now,
        detected: now,
        peak_gross_pct: gross_pct(ask, bid),
        group: Group::default(),
        coexistence: Coexistence::default(),
    }
}

/// What `opportunity` would be at `now`, refused on these grounds.
fn refused(opportunity: &Opportunity, grounds: Grounds, now: MonoNs) -> RefusedCandidate {
    let Opportunity { instrument, gross_pct, net_pct, buy, sell, .. } = *opportunity;
    let [buy, sell] =
        [buy, sell].map(|leg| RefusedLeg { venue: leg.venue, price: leg.level.price, received: leg.received });
    RefusedCandidate { instrument, buy, sell, gross_pct, net_pct, grounds, since: now, seen: now }
}

/// Whether a cell has a price that a venue gave to this run and that may still matter.
fn is_known(held: &CellQuote, now: MonoNs) -> bool {
    match held.state {
        CellState::Empty => false,
        CellState::Live if held.origin.is_pushed() => true,
        CellState::Halted => true,
        _ => held.origin != Origin::Disk && held.age(now) <= CACHED_MAX_NS,
    }
}

/// An opportunity that was last seen as `last`, at the present quotes of its legs. A rejected quote is not published:
/// such a leg has the last accepted price.
fn at_present(directory: &Directory, last: &Opportunity, [from, to]: [&CellQuote; 2], now: MonoNs) -> Opportunity {
    let is_published = |held: &CellQuote| matches!(held.state, CellState::Live | CellState::Void | CellState::Halted);
    let (buy, sell) = (last.buy.venue, last.sell.venue);
    let mut stands = opportunity(directory, last.instrument, (buy, from), (sell, to), now);
    let (of_now, of_last) = ([&mut stands.buy, &mut stands.sell], [last.buy, last.sell]);
    for ((leg, old), held) in of_now.into_iter().zip(of_last).zip([from, to]) {
        if !is_published(held) {
            *leg = old;
        }
    }
    let (ask, bid) = (stands.buy.level.price, stands.sell.level.price);
    let fee = |venue: VenueId| directory.taker_fee_pct(last.instrument, venue);
    (stands.gross_pct, stands.net_pct) = (gross_pct(ask, bid), net_pct(ask, bid, fee(buy), fee(sell)));
    stands
}

/// Which price took the spread of an opportunity to its end. `last` is it as it was last seen, `first` its prices when
/// it opened, buy and sell.
#[cold]
fn moved(options: &DetectorOptions, last: &Opportunity, first: (Decimal, Decimal), ended: &Opportunity) -> CloseReason {
    let (ask, bid) = (ended.buy.level.price, ended.sell.level.price);
    if ended.coexistence.proof == Proof::Refuted {
        return CloseReason::NeverCoexisted;
    }
    let is_one_quote = (ask != last.buy.level.price) != (bid != last.sell.level.price);
    match (ask > first.0, bid < first.1) {
        _ if is_one_quote && options.spread(ended).0 < -(options.spread(last).0 / 2) => CloseReason::Collapsed,
        (true, false) => CloseReason::BuyMoved,
        (false, true) => CloseReason::SellMoved,
        // Neither price moved: the fees of both legs are higher now.
        (true, true) | (false, false) => CloseReason::BothMoved,
    }
}
