//! One line to a venue: dial, talk, lose, wait, dial again; and the second line beside it, which takes its place
//! before the venue ends it. What it shares with the venue's other lines is its [`Standing`]. Runs on the feed's
//! thread.

use std::io;

use crate::feed::Options;
use crate::feed::connection::{Connection, End, Parts, Voids};
use crate::feed::standing::{Standing, Verdict};
use crate::log;
use crate::market::VenueId;
use crate::market::quote::FeedEvent;
use crate::metrics::{Board, LinkState, VenueGauges};
use crate::net::backoff::Wait;
use crate::net::breaker::GOOD_NS;
use crate::net::{Link, ReadOutcome};
use crate::time::{Clock, MS, MonoNs, SECOND};
use crate::venues::{Facts, SymbolEntry, Venue};

/// Reads of one line in a turn, so that a burst of one does not starve the others.
const READS_PER_TURN: usize = 4;
/// A line is replaced so long before the venue ends it, and up to half of that earlier, so that not all are at once.
const REPLACE_BEFORE_NS: u64 = 600 * SECOND;
/// What the old line quoted within this time the new one must quote too.
const PROOF_NS: u64 = 10 * SECOND;
/// A new line that has not proven itself by then is given up,
const PROOF_MAX_NS: u64 = 60 * SECOND;
/// and another tried so much later.
const PROOF_REST_NS: u64 = 120 * SECOND;

/// What a line is for. Lines come in pairs with the same instruments; at any time one of each is the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// The venue's prices come by it.
    First,
    /// It rests, or is to become the first.
    Second,
}

/// One venue's way from dialling to talking and back.
pub(super) struct Line {
    pub id: VenueId,
    pub venue: &'static dyn Venue,
    /// As the log calls it.
    pub name: String,
    /// Its place among the standings.
    pub standing: usize,
    pub role: Role,
    /// What was dialled: the address, or what the token request named.
    pub target: String,
    pub connection: Connection,
    pub state: State,
    /// What its end makes void while it is alone.
    voids: Voids,
    /// When the connection is next a success, if it is still there; `None` before its first price.
    good_at: Option<MonoNs>,
    /// Whether it has been one.
    was_good: bool,
    /// Since when the connection gives prices, as the standing knows.
    flows_since: Option<MonoNs>,
    /// Whether the attempt, or the connection that it led to, still owes the standing a word.
    owes: bool,
    /// When its last connection or attempt ended; 0 before the first.
    pub ended_at: MonoNs,
    /// No attempt before this time, even if it is wanted.
    pub not_before: MonoNs,
    /// When another line should take its place.
    replace_at: MonoNs,
    /// The socket may hold more than was read.
    pub readable: bool,
    /// The poll said that the stream ends: it is read to its end.
    pub ending: bool,
    /// When the attempt that is under way, or that led here, began.
    pub began: MonoNs,
    /// Whether the log knows that the connection is open.
    told: bool,
    /// Whether the venue's state must be looked at again.
    pub changed: bool,
    /// It asks for other instruments than it should, or it told the first price of one when nobody wanted it.
    pub outdated: bool,
    /// The latter: only another connection tells that price again.
    pub told_in_vain: bool,
}

pub(super) enum State {
    /// Nothing to ask for, or not wanted.
    Idle,
    /// The next attempt is at this time.
    Waiting(MonoNs),
    /// A dialer has the order.
    Dialling,
    /// Connected.
    Linked(Link),
}

impl Line {
    pub fn new(
        id: VenueId,
        venue: &'static dyn Venue,
        standing: usize,
        role: Role,
        connection: Connection,
        voids: Voids,
        now: MonoNs,
    ) -> Self {
        let books = if connection.purpose().is_books() { " (books)" } else { "" };
        Self {
            id,
            venue,
            name: format!("{}{books}", venue.facts().name),
            standing,
            role,
            target: String::new(),
            connection,
            state: State::Idle,
            voids,
            good_at: None,
            was_good: false,
            flows_since: None,
            owes: false,
            ended_at: MonoNs(0),
            not_before: now,
            replace_at: MonoNs(u64::MAX),
            readable: false,
            ending: false,
            began: now,
            told: false,
            changed: true,
            outdated: false,
            told_in_vain: false,
        }
    }

    /// What is counted of it, and of the venue's other lines of the same purpose.
    pub fn gauges<'a>(&self, board: &'a Board) -> &'a VenueGauges {
        self.connection.purpose().gauges(board, self.id)
    }

    /// What it is as far as the venue's state goes.
    pub fn link_state(&self) -> LinkState {
        match self.state {
            State::Idle => LinkState::Idle,
            State::Waiting(_) => LinkState::Backoff,
            State::Linked(_) if self.connection.is_subscribed() => LinkState::Connected,
            State::Dialling | State::Linked(_) => LinkState::Connecting,
        }
    }

    /// Whether another line should take its place, while it is still good.
    pub fn wants_successor(&self, now: MonoNs) -> bool {
        self.role == Role::First
            && self.connection.is_open()
            && (self.outdated
                || (self.connection.has_flowed() && (self.connection.is_leaving() || now >= self.replace_at)))
    }

    /// When it wants a turn; `standing` is its own.
    pub fn deadline(&self, standing: &Standing) -> Option<MonoNs> {
        match &self.state {
            State::Idle | State::Dialling => None,
            State::Waiting(_) => self.next_attempt(standing),
            State::Linked(_) => self.connection.deadline().into_iter().chain(self.good_at).min(),
        }
    }

    /// When it will be dialled, while it waits for that; `standing` is its own. `None` while it waits for what becomes of
    /// another line.
    pub fn next_attempt(&self, standing: &Standing) -> Option<MonoNs> {
        let State::Waiting(at) = self.state else { return None };
        standing.next_attempt(at, self.ended_at).map(|at| at.max(self.not_before))
    }

    /// Its next attempt is not later than `at`, as far as its standing allows.
    pub fn hurry(&mut self, at: MonoNs) {
        if let State::Waiting(next) = &mut self.state {
            *next = at.min(*next);
            self.changed = true;
        }
        if self.role == Role::First {
            self.not_before = self.not_before.min(at);
        }
    }

    pub fn read(
        &mut self,
        buffer: &mut [u8],
        clock: &Clock,
        options: &Options,
        events: &mut dyn FnMut(FeedEvent),
    ) -> usize {
        let State::Linked(link) = &mut self.state else {
            self.readable = false;
            return 0;
        };
        let until = clock.now().plus(options.turn_us.saturating_mul(1000));
        let was_cut = self.connection.has_more();
        self.connection.begin_turn(options.frames_per_turn, until);
        // What an earlier turn left comes first, and keeps the time of its read.
        let mut frames = if was_cut { self.connection.resume(clock, events) } else { 0 };
        for _ in 0..READS_PER_TURN {
            if self.connection.end().is_some() || self.connection.frames_left() == 0 {
                break;
            }
            match link.read(buffer) {
                Ok(ReadOutcome::Bytes(length)) => {
                    let received = clock.now();
                    let waiting = if self.connection.wants_waiting(received) { link.waiting() } else { 0 };
                    let bytes = &buffer[..length];
                    frames += self.connection.receive_some(bytes, waiting, received, clock, events).max(1);
                    if self.connection.has_more() {
                        break;
                    }
                    if !self.ending && !link.may_hold_more(length, buffer.len()) {
                        self.readable = false;
                        break;
                    }
                }
                Ok(ReadOutcome::Blocked) => {
                    self.readable = false;
                    break;
                }
                Ok(ReadOutcome::End) => {
                    self.connection.lose(End::Socket("the stream ended without a close frame".to_owned()), events);
                }
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    self.connection.lose(End::Socket("the TLS stream was cut".to_owned()), events);
                }
                Err(error) => self.connection.lose(End::Socket(error.to_string()), events),
            }
        }
        frames
    }

    /// An attempt begins.
    pub fn begin(&mut self, now: MonoNs) {
        (self.began, self.owes, self.state) = (now, true, State::Dialling);
        self.changed = true;
    }

    /// The socket is there.
    pub fn linked(&mut self, link: Link) {
        self.state = State::Linked(link);
        // Bytes may have come before the poll knew the socket.
        self.readable = true;
        (self.told, self.good_at, self.was_good, self.replace_at) = (false, None, false, MonoNs(u64::MAX));
        self.changed = true;
    }

    /// One turn's care for an open socket. Whether it is over.
    pub fn tick(
        &mut self,
        standing: &mut Standing,
        board: &Board,
        now: MonoNs,
        events: &mut dyn FnMut(FeedEvent),
    ) -> bool {
        if self.connection.deadline().is_some_and(|at| now >= at) {
            self.connection.elapsed(now, events);
        }
        if let (State::Linked(link), Some(output)) = (&mut self.state, self.connection.output())
            && let Err(error) = link.drain(output)
        {
            self.connection.lose(End::Socket(error.to_string()), events);
        }
        let facts = self.venue.facts();
        if self.connection.is_open() && !std::mem::replace(&mut self.told, true) {
            self.changed = true;
            self.replace_at = replace_at(facts, standing, self.connection.opened_at());
            let took = now.since(self.began) / MS;
            let (name, instruments, address) = (&self.name, self.connection.instruments(), shown(&self.target));
            standing
                .say(now, format_args!("feed {name}: connected to {address} in {took} ms, {instruments} instruments"));
        }
        if let Some(notice) = self.connection.take_notice() {
            standing.say(now, format_args!("feed {}: the venue says: {}", self.name, log::tamed(&notice.to_string())));
        }
        self.prove(standing, board, now);
        self.connection.end().is_some()
    }

    /// A connection that gives prices, and still does some time later, is what the breaker calls a success.
    fn prove(&mut self, standing: &mut Standing, board: &Board, now: MonoNs) {
        if !self.connection.is_open() || !self.connection.has_flowed() {
            return;
        }
        if self.flows_since.is_none() {
            self.flows_since = Some(now);
            standing.flows(now);
            self.changed = true;
        }
        let at = *self.good_at.get_or_insert(now.plus(GOOD_NS));
        if now < at {
            return;
        }
        standing.good(now);
        if std::mem::take(&mut self.owes) {
            standing.settled();
        }
        standing.show(&self.gauges(board).breaker);
        (self.was_good, self.changed) = (true, true);
        self.good_at = Some(if standing.is_clear() { MonoNs(u64::MAX) } else { now.plus(GOOD_NS) });
    }

    /// The connection has ended by itself: closes the socket and waits for the next attempt.
    pub fn end(&mut self, standing: &mut Standing, gauges: &VenueGauges, now: MonoNs) {
        let Some(end) = self.connection.end() else { return };
        let (wait, why, verdict) =
            (end.wait(self.venue.facts().limits.ban_s), end.to_string(), self.verdict(standing, end));
        gauges.count_failure(end.is_answer());
        self.hang_up();
        self.rest(standing, gauges, wait, verdict, &why, now);
    }

    fn verdict(&self, standing: &Standing, end: &End) -> Verdict {
        match end {
            _ if let Wait::Banned(ns) = end.wait(self.venue.facts().limits.ban_s) => Verdict::Banned(ns),
            End::Ours | End::Overslept => Verdict::Nothing,
            // Connections of venues end now and then; that of a half-open breaker should not.
            _ if self.was_good && (standing.is_clear() || matches!(end, End::Wanted(_))) => Verdict::Lost,
            _ => Verdict::Failed,
        }
    }

    /// Waits for the next attempt.
    pub fn rest(
        &mut self,
        standing: &mut Standing,
        gauges: &VenueGauges,
        wait: Wait,
        verdict: Verdict,
        why: &str,
        now: MonoNs,
    ) {
        if std::mem::take(&mut self.owes) {
            standing.settled();
        }
        let (next, opened) = standing.ended(now, wait, verdict, self.flows_since.take());
        if opened {
            gauges.breaker.count_opened(why);
        }
        standing.show(&gauges.breaker);
        gauges.set_last_error(why);
        (self.state, self.good_at, self.changed, self.ended_at) = (State::Waiting(next), None, true, now);
        let name = &self.name;
        let open = if opened { "circuit breaker open, " } else { "" };
        let (why, next) = (log::tamed(why), self.next_attempt(standing));
        match next.map(|at| at.since(now) as f64 / SECOND as f64) {
            Some(s) => standing.say(now, format_args!("feed {name}: {why}; {open}next attempt in {s:.1} s")),
            None => standing.say(now, format_args!("feed {name}: {why}; {open}waits for another connection's attempt")),
        }
    }

    /// It is not wanted: hangs up politely, and forgets what it was waiting for. When it is wanted again it dials at
    /// once, unless it was to wait.
    pub fn stand_by(&mut self, standing: &mut Standing) {
        match &self.state {
            State::Waiting(at) => self.not_before = *at,
            State::Linked(_) => {
                self.connection.retire();
            }
            State::Idle | State::Dialling => {}
        }
        if std::mem::take(&mut self.owes) {
            standing.settled();
            standing.abandoned();
        }
        self.flows_since.take().into_iter().for_each(|since| standing.dry(since));
        self.hang_up();
    }

    /// Sends the last word and closes the socket.
    pub fn hang_up(&mut self) {
        if let State::Linked(link) = &mut self.state {
            if let Some(output) = self.connection.output() {
                // The other end may be long gone.
                let _ = link.drain(output);
            }
            link.say_end();
        }
        self.state = State::Idle;
        (self.readable, self.changed) = (false, true);
    }

    /// What its end makes void from now on, while it is alone.
    pub fn set_voids(&mut self, voids: Voids) {
        self.voids = voids;
        if self.connection.voids() != Voids::Told {
            self.connection.set_voids(voids);
        }
    }

    /// Another conversation, about the instruments of `plan`. Not while it has a socket.
    pub fn renew(&mut self, parts: Parts, plan: Vec<SymbolEntry>) {
        let mut connection = Connection::share(parts, plan, self.connection.voids());
        connection.learn_from(&self.connection);
        connection.take_fetches_of(&mut self.connection);
        connection.set_second(self.connection.is_second());
        self.connection = connection;
    }

    /// It speaks for its instruments alone, whatever another line does.
    pub fn speak_alone(&mut self) {
        self.connection.set_voids(self.voids);
        self.connection.set_second(false);
    }

    /// `second` dials, to take its place.
    pub fn share_with(&mut self, second: &mut Self) {
        self.connection.set_voids(Voids::Told);
        second.connection.set_voids(Voids::Told);
        second.connection.set_second(true);
        second.connection.learn_times_from(&self.connection);
    }

    /// `second` takes its place. It hangs up if it can, and rests.
    pub fn give_way_to(&mut self, second: &mut Self, events: &mut dyn FnMut(FeedEvent)) {
        if self.connection.end().is_some() {
            self.connection.void_beyond(&second.connection, events);
        } else {
            self.connection.retire();
        }
        second.connection.take_over(&self.connection, events);
        second.speak_alone();
        (self.role, second.role) = (Role::Second, Role::First);
        self.not_before = MonoNs(0);
        (self.changed, second.changed) = (true, true);
    }

    /// Whether it gives what `first` gives; `None` when it has had time enough and does not.
    pub fn is_proven(&self, first: &Self, now: MonoNs) -> Option<bool> {
        if self.connection.gives_what(&first.connection, now, PROOF_NS) {
            return Some(true);
        }
        let is_late = self.connection.is_open()
            && now.since(self.connection.opened_at()) >= PROOF_MAX_NS.saturating_add(self.connection.pages_ns());
        (!is_late).then_some(false)
    }

    /// It has not proven itself: another attempt will be made later.
    pub fn give_up(&mut self, standing: &mut Standing, now: MonoNs) {
        self.stand_by(standing);
        self.not_before = now.plus(PROOF_REST_NS);
        let name = &self.name;
        standing.say(
            now,
            format_args!("feed {name}: the new connection does not give what the old one gives, which goes on"),
        );
    }
}

/// When a line that is open since `opened` should be replaced, so that the venue does not end it first.
fn replace_at(facts: &Facts, standing: &mut Standing, opened: MonoNs) -> MonoNs {
    let Some(age_max) = facts.limits.age_max_s.map(|s| s.saturating_mul(SECOND)) else { return MonoNs(u64::MAX) };
    let before = REPLACE_BEFORE_NS.min(age_max / 4);
    opened.plus(age_max - before - standing.jitter(before / 2))
}

/// An address without its query, which may hold a token.
fn shown(address: &str) -> &str {
    address.split_once('?').map_or(address, |(front, _)| front)
}
