//! The active and the standby line for the same instruments. The active line's quotes and books are the channel's. The
//! standby is idle, except when it is to replace the active line: before the venue ends that one, or when the instruments
//! change. It takes over when it covers what the active line quotes, or when the active line is lost.
//!
//! The pair decides what reaches the detector: what a standby quotes counts only as far as the venue's numbers or
//! timestamps put it in order with the active line, and what the end of the active line voids depends on the standby.
//! Runs on the feed's thread.

use crate::feed::end::End;
use crate::feed::line::Line;
use crate::feed::session::Session;
use crate::feed::venue_health::VenueHealth;
use crate::market::book::BookVoid;
use crate::market::quote::{FeedEvent, Origin};
use crate::market::{Quote, VenueId};
use crate::time::{Clock, MonoNs, SECOND};
use crate::venues::SymbolEntry;

/// A standby must quote all instruments that the active line has quoted within this time, in nanoseconds.
const PROOF_NS: u64 = 10 * SECOND;
/// A standby that has not done so after this time is given up,
const PROOF_MAX_NS: u64 = 60 * SECOND;
/// and the next attempt is made this much later.
const PROOF_REST_NS: u64 = 120 * SECOND;

/// Which line of a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Active,
    Standby,
}

impl Role {
    pub(crate) const BOTH: [Self; 2] = [Self::Active, Self::Standby];
}

/// What became of a line in a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PairOutcome {
    Nothing,
    /// Its session ended. What the venue said about the next attempt holds for all its channels.
    Ended,
    /// The standby took over.
    Replaced,
}

/// Two lines for the same instruments.
pub(super) struct Pair {
    id: VenueId,
    /// The instruments, in order of their ids.
    pub plan: Vec<SymbolEntry>,
    pub(crate) active: Line,
    pub(crate) standby: Line,
    /// By instrument: the last quote of the standby, if it has no number. Its timestamp may be that of another server
    /// than the active line's, so it is judged again when the standby takes over.
    unordered: Vec<Option<Quote>>,
    /// No other pair of the channel has instruments, so its end is the end of the venue's quotes.
    pub(crate) is_alone: bool,
    /// What the end of the active session voids has been voided.
    is_voided: bool,
    is_of_books: bool,
}

impl Pair {
    pub fn new(id: VenueId, plan: Vec<SymbolEntry>, active: Line, standby: Line, is_of_books: bool) -> Self {
        Self { id, plan, active, standby, unordered: Vec::new(), is_alone: true, is_voided: false, is_of_books }
    }

    pub const fn line(&self, role: Role) -> &Line {
        match role {
            Role::Active => &self.active,
            Role::Standby => &self.standby,
        }
    }

    pub(crate) const fn line_mut(&mut self, role: Role) -> &mut Line {
        match role {
            Role::Active => &mut self.active,
            Role::Standby => &mut self.standby,
        }
    }

    pub fn lines(&self) -> impl Iterator<Item = &Line> {
        [&self.active, &self.standby].into_iter()
    }

    pub(crate) fn lines_mut(&mut self) -> impl Iterator<Item = &mut Line> {
        [&mut self.active, &mut self.standby].into_iter()
    }

    /// The line with this slot.
    pub(crate) fn role_of(&self, slot: usize) -> Option<Role> {
        Role::BOTH.into_iter().find(|role| {
            let line = self.line(*role);
            line.slot == slot || line.page_slot == slot
        })
    }

    /// Whether it has instruments.
    pub(crate) const fn is_busy(&self) -> bool {
        !self.plan.is_empty()
    }

    /// Whether the line should be connected, if the venue should be.
    pub(crate) fn wants(&self, role: Role, now: MonoNs) -> bool {
        self.is_busy() && (role == Role::Active || self.active.wants_successor(now))
    }

    /// Whether a session asks for the planned instruments and no others.
    fn follows_plan(&self, session: &Session) -> bool {
        session.entries().iter().map(|entry| entry.id).eq(self.plan.iter().map(|entry| entry.id))
    }

    /// Sets the planned instruments. With `is_more`, quotes of some of them may have been missed by the present sessions.
    pub(crate) fn set_plan(&mut self, plan: Vec<SymbolEntry>, is_more: bool) {
        self.plan = plan;
        self.lines_mut().for_each(|line| line.missed_quotes |= is_more);
    }

    /// The plans of the channel have changed. A new set of instruments may succeed where the last one did not.
    pub(crate) fn review_plan(&mut self, now: MonoNs) {
        for role in Role::BOTH {
            let follows_plan = self.follows_plan(&self.line(role).session);
            let line = self.line_mut(role);
            line.outdated = line.missed_quotes || !follows_plan;
            line.not_before = now.min(line.not_before);
            line.changed = true;
        }
    }

    /// Makes the session of an unconnected line follow the plan; `make` makes a new one.
    pub fn renew(&mut self, role: Role, make: impl FnOnce(Vec<SymbolEntry>) -> Session) {
        let session = (!self.follows_plan(&self.line(role).session)).then(|| make(self.plan.clone()));
        let line = self.line_mut(role);
        (line.outdated, line.missed_quotes) = (false, false);
        if let Some(session) = session {
            line.renew(session);
            line.session.set_counted(role == Role::Active);
        }
    }

    /// A line dials.
    pub fn begin(&mut self, role: Role, now: MonoNs) {
        self.line_mut(role).begin(now);
        self.line_mut(role).session.set_counted(role == Role::Active);
        if role == Role::Standby {
            self.standby.session.learn_times_from(&self.active.session);
            self.unordered.clear();
            let instruments = self.plan.last().map_or(0, |last| last.id.index() + 1);
            self.unordered.resize(instruments, None);
        }
    }

    /// A session was opened on the line's new socket.
    pub fn opened(&mut self, role: Role) {
        if role == Role::Active {
            self.is_voided = false;
        }
    }

    /// Its next attempts are not later than `at`, if the health allows it.
    pub(crate) fn hurry(&mut self, at: MonoNs) {
        self.lines_mut().for_each(|line| line.hurry(at));
        self.active.not_before = self.active.not_before.min(at);
    }

    /// Reads what the sockets have. Returns the number of messages.
    pub fn read(&mut self, buffer: &mut [u8], clock: &Clock, events: &mut dyn FnMut(FeedEvent)) -> usize {
        let mut messages = 0;
        if self.active.readable {
            messages += self.active.read(buffer, clock, &mut |event| pass_own(event, events));
            self.settle(events);
        }
        if self.standby.readable {
            let unordered = &mut self.unordered;
            messages += self.standby.read(buffer, clock, &mut |event| pass_ordered(event, unordered, events));
        }
        messages
    }

    /// Gives a session of one of the lines to `drive`, with where its events go.
    pub(crate) fn drive(
        &mut self,
        role: Role,
        events: &mut dyn FnMut(FeedEvent),
        drive: impl FnOnce(&mut Session, &mut dyn FnMut(FeedEvent)),
    ) {
        match role {
            Role::Active => {
                drive(&mut self.active.session, &mut |event| pass_own(event, events));
                self.settle(events);
            }
            Role::Standby => {
                let unordered = &mut self.unordered;
                drive(&mut self.standby.session, &mut |event| pass_ordered(event, unordered, events));
            }
        }
    }

    /// Publishes the books of the active line, and voids what its end voids.
    fn settle(&mut self, events: &mut dyn FnMut(FeedEvent)) {
        self.active.session.publish_books();
        if self.active.is_linked() && self.active.session.end().is_some() && !self.standby.is_under_way() {
            self.void_all(events);
        }
    }

    /// Voids all that the active line has quoted; only the first time after its opening.
    fn void_all(&mut self, events: &mut dyn FnMut(FeedEvent)) {
        if std::mem::replace(&mut self.is_voided, true) {
            return;
        }
        if self.is_alone && !self.is_of_books {
            return events(FeedEvent::Down(self.id, Origin::Own));
        }
        self.active.session.void_all(BookVoid::Lost, events);
        self.active.session.publish_books();
    }

    /// The process did not run until `now`: no quote of its lines is a leg until they have caught up.
    pub fn stood_still(&mut self, now: MonoNs, events: &mut dyn FnMut(FeedEvent)) {
        for line in self.lines_mut().filter(|line| line.is_linked()) {
            line.session.stood_still(now, events);
        }
    }

    /// The process did not run for so long that the sockets are not worth reading.
    pub(crate) fn overslept(&mut self, events: &mut dyn FnMut(FeedEvent)) {
        let was_linked = self.active.is_linked();
        for line in self.lines_mut().filter(|line| line.is_linked()) {
            line.session.lose(End::Overslept, &mut |_| {});
            line.readable = false;
        }
        if was_linked {
            self.void_all(events);
        }
    }

    /// Handles deadlines of a connected line, and what follows from its end or its proof.
    pub fn tick(
        &mut self,
        role: Role,
        health: &mut VenueHealth,
        now: MonoNs,
        events: &mut dyn FnMut(FeedEvent),
    ) -> PairOutcome {
        match role {
            Role::Active => self.tick_active(health, now, events),
            Role::Standby => self.tick_standby(health, now, events),
        }
    }

    fn tick_active(&mut self, health: &mut VenueHealth, now: MonoNs, events: &mut dyn FnMut(FeedEvent)) -> PairOutcome {
        let is_over = self.active.tick(health, now, &mut |event| pass_own(event, events));
        self.settle(events);
        if !is_over {
            return PairOutcome::Nothing;
        }
        if self.standby.is_under_way() {
            self.give_way(events);
            self.standby.end(health, now);
        } else {
            self.active.end(health, now);
        }
        PairOutcome::Ended
    }

    fn tick_standby(
        &mut self,
        health: &mut VenueHealth,
        now: MonoNs,
        events: &mut dyn FnMut(FeedEvent),
    ) -> PairOutcome {
        let Self { standby, unordered, .. } = self;
        if standby.tick(health, now, &mut |event| pass_ordered(event, unordered, events)) {
            standby.end(health, now);
            return PairOutcome::Ended;
        }
        let (mine, theirs) = (&standby.session, &self.active.session);
        if mine.covers(theirs, now, PROOF_NS) {
            self.give_way(events);
            self.standby.stand_by(health);
            return PairOutcome::Replaced;
        }
        let patience_ns = PROOF_MAX_NS.saturating_add(mine.pages_ns());
        if mine.is_open() && now.since(mine.opened_at()) >= patience_ns {
            self.standby.stand_by(health);
            self.standby.not_before = now.plus(PROOF_REST_NS);
            let name = self.standby.name();
            health.say(
                now,
                format_args!("feed {name}: the new connection does not deliver all quotes; the old one stays in use"),
            );
        }
        PairOutcome::Nothing
    }

    /// The standby becomes the active line. The other one hangs up if it can, and is the standby from now on.
    fn give_way(&mut self, events: &mut dyn FnMut(FeedEvent)) {
        let (old, new) = (&mut self.active, &mut self.standby);
        if old.session.end().is_some() {
            old.session.void_beyond(&new.session, events);
            old.session.publish_books();
        } else {
            old.session.retire();
        }
        old.session.line().into_iter().for_each(|line| events(FeedEvent::LineEnded(self.id, line)));
        for quote in self.unordered.drain(..).flatten() {
            events(FeedEvent::Quote(quote));
        }
        new.session.take_over(&mut old.session, events);
        new.session.set_counted(true);
        old.not_before = MonoNs(0);
        (old.changed, new.changed) = (true, true);
        std::mem::swap(&mut self.active, &mut self.standby);
        self.is_voided = false;
    }

    /// A line is not wanted here, or no longer.
    pub(crate) fn stand_by(&mut self, role: Role, health: &mut VenueHealth, events: &mut dyn FnMut(FeedEvent)) {
        if role == Role::Standby {
            return self.standby.stand_by(health);
        }
        let was_linked = self.active.is_linked();
        let has_ended = self.active.session.end().is_some();
        self.active.stand_by(health);
        // Quotes that are still correct become stale; books would be shown for ever.
        if was_linked && (has_ended || self.is_of_books) {
            self.void_all(events);
        }
    }

    /// The feed ends.
    pub fn finish(&mut self, events: &mut dyn FnMut(FeedEvent)) {
        let was_linked = self.active.is_linked();
        for line in self.lines_mut() {
            line.session.lose(End::Ours, &mut |_| {});
            line.hang_up();
        }
        if was_linked {
            self.void_all(events);
        }
    }
}

/// Events of the active session: what its end voids is decided by the pair.
#[inline]
fn pass_own(event: FeedEvent, events: &mut dyn FnMut(FeedEvent)) {
    if !matches!(event, FeedEvent::Down(..)) {
        events(event);
    }
}

/// Events of the standby session: quotes without a number wait until it takes over, those with a timestamp also count
/// before that, and nothing is voided but by a halt, which the venue reports whichever line it comes by.
#[inline]
fn pass_ordered(event: FeedEvent, unordered: &mut [Option<Quote>], events: &mut dyn FnMut(FeedEvent)) {
    match event {
        FeedEvent::Quote(quote) if quote.sequence == 0 => {
            if let Some(waiting) = unordered.get_mut(quote.instrument.index()) {
                *waiting = Some(quote);
            }
            if quote.exchange_time.0 != 0 {
                events(event);
            }
        }
        FeedEvent::Void(instrument, .., why) => {
            if let Some(waiting) = unordered.get_mut(instrument.index()) {
                *waiting = None;
            }
            if why == BookVoid::Halt {
                events(event);
            }
        }
        FeedEvent::Quote(_) | FeedEvent::Behind(..) | FeedEvent::Clock(..) => events(event),
        FeedEvent::Down(..) | FeedEvent::Left(_) | FeedEvent::LineEnded(..) => {}
    }
}
