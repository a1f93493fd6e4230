//! One socket's life: dial, talk, lose, wait, dial again. What it shares with the channel's other lines is the
//! [`VenueHealth`]. Runs on the feed's thread.

use std::io;

use mio::Token;

use crate::feed::end::End;
use crate::feed::session::Session;
use crate::feed::venue_health::{VenueHealth, Verdict};
use crate::log;
use crate::market::quote::FeedEvent;
use crate::metrics::{LinkState, VenueGauges};
use crate::net::backoff::Wait;
use crate::net::breaker::GOOD_NS;
use crate::net::{Link, ReadOutcome};
use crate::time::{Clock, MS, MonoNs, SECOND};
use crate::venues::Facts;

/// Most reads of one line in a turn, so that its burst does not delay other lines.
const READS_PER_TURN: usize = 4;
/// Most frames of one line in a turn, control frames and fragments included.
const FRAMES_PER_TURN: usize = 512;
/// Longest time of one line in a turn, in nanoseconds; a frame that has been started is finished.
const TURN_NS: u64 = MS;
/// A line is replaced this long before the venue ends it, or up to half of this earlier, so that lines do not all change
/// at once.
const REPLACE_BEFORE_NS: u64 = 600 * SECOND;

/// One line to a venue.
pub(super) struct Line {
    /// Name in log lines.
    name: String,
    /// Its entry in the feed's table of slots, which is also its token on the poll.
    pub(crate) slot: usize,
    /// The entry for its book pages.
    pub(crate) page_slot: usize,
    /// The dialled address: that of the venue, or the one that the reply to the token request named.
    pub target: String,
    pub session: Session,
    pub state: LineState,
    /// When the connection next counts as a success, if it is still open; `None` before its first price.
    good_at: Option<MonoNs>,
    /// Whether the connection has counted as a success.
    was_good: bool,
    /// Since when the connection delivers prices, as reported to the health.
    flows_since: Option<MonoNs>,
    /// The outcome of the attempt, or of the connection that followed, has not been reported to the health.
    is_unsettled: bool,
    /// When its last connection or attempt ended; 0 before the first.
    pub(crate) ended_at: MonoNs,
    /// No attempt before this time, even if one is wanted.
    pub not_before: MonoNs,
    /// When another line should take its place.
    replace_at: MonoNs,
    /// The socket may have more bytes than were read.
    pub(crate) readable: bool,
    /// The poll has reported the end of the stream, so the socket is read to its end.
    pub ending: bool,
    /// When the present attempt, or the one that led to the connection, began.
    began: MonoNs,
    /// The connection has been logged.
    is_logged: bool,
    /// The channel's gauges must be updated.
    pub changed: bool,
    /// Its session asks for other instruments than the plan, or [`Self::missed_quotes`] is set.
    pub(crate) outdated: bool,
    /// The first quote of an instrument arrived while nobody wanted it, and only a new connection repeats it.
    pub(crate) missed_quotes: bool,
}

pub(super) enum LineState {
    /// Nothing to subscribe to, or not wanted.
    Idle,
    /// The next attempt is at this time.
    Waiting(MonoNs),
    /// A dialer is at work.
    Dialling,
    /// Connected.
    Linked(Link),
}

impl Line {
    pub fn new(name: String, [slot, page_slot]: [usize; 2], session: Session, now: MonoNs) -> Self {
        Self {
            name,
            slot,
            page_slot,
            target: String::new(),
            session,
            state: LineState::Idle,
            good_at: None,
            was_good: false,
            flows_since: None,
            is_unsettled: false,
            ended_at: MonoNs(0),
            not_before: now,
            replace_at: MonoNs(u64::MAX),
            readable: false,
            ending: false,
            began: now,
            is_logged: false,
            changed: true,
            outdated: false,
            missed_quotes: false,
        }
    }

    /// The gauges of its channel.
    pub fn gauges(&self) -> &VenueGauges {
        self.session.gauges()
    }

    /// Name in log lines.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn token(&self) -> Token {
        Token(self.slot)
    }

    pub(crate) const fn is_linked(&self) -> bool {
        matches!(self.state, LineState::Linked(_))
    }

    /// Its contribution to the state of the channel.
    pub(crate) fn link_state(&self) -> LinkState {
        match self.state {
            LineState::Idle => LinkState::Idle,
            LineState::Waiting(_) => LinkState::Backoff,
            LineState::Linked(_) if self.session.is_subscribed() => LinkState::Connected,
            LineState::Dialling | LineState::Linked(_) => LinkState::Connecting,
        }
    }

    /// Whether it is dialling, or connected and not over.
    pub(crate) fn is_under_way(&self) -> bool {
        match self.state {
            LineState::Idle | LineState::Waiting(_) => false,
            LineState::Dialling => true,
            LineState::Linked(_) => self.session.end().is_none(),
        }
    }

    /// Whether another line should take its place while it still works.
    pub(crate) fn wants_successor(&self, now: MonoNs) -> bool {
        let is_ageing = || self.session.is_leaving() || now >= self.replace_at;
        self.session.is_open() && (self.outdated || (self.session.has_flowed() && is_ageing()))
    }

    /// When it wants a turn. `health` is that of its channel.
    pub fn deadline(&self, health: &VenueHealth) -> Option<MonoNs> {
        match &self.state {
            LineState::Idle | LineState::Dialling => None,
            LineState::Waiting(_) => self.next_attempt(health),
            LineState::Linked(_) => self.session.deadline().into_iter().chain(self.good_at).min(),
        }
    }

    /// When it will dial; `None` if it is not waiting for that, or waits for the outcome of another line's attempt.
    pub fn next_attempt(&self, health: &VenueHealth) -> Option<MonoNs> {
        let LineState::Waiting(at) = self.state else { return None };
        health.next_attempt(at, self.ended_at).map(|at| at.max(self.not_before))
    }

    /// Its next attempt is not later than `at`, if the health allows it.
    pub(crate) fn hurry(&mut self, at: MonoNs) {
        if let LineState::Waiting(next) = &mut self.state {
            *next = at.min(*next);
            self.changed = true;
        }
    }

    /// Waits until `at` for its next attempt.
    pub fn wait_until(&mut self, at: MonoNs) {
        (self.state, self.changed) = (LineState::Waiting(at), true);
    }

    /// Reads what the socket has, within the limits of a turn. Returns the number of messages.
    pub fn read(&mut self, buffer: &mut [u8], clock: &Clock, events: &mut dyn FnMut(FeedEvent)) -> usize {
        let LineState::Linked(link) = &mut self.state else {
            self.readable = false;
            return 0;
        };
        let until = clock.now().plus(TURN_NS);
        let was_cut = self.session.has_more();
        self.session.begin_turn(FRAMES_PER_TURN, until);
        // Frames left over from an earlier turn come first, with the time of their read.
        let mut frames = if was_cut { self.session.resume(clock, events) } else { 0 };
        for _ in 0..READS_PER_TURN {
            if self.session.end().is_some() || self.session.frames_left() == 0 {
                break;
            }
            match link.read(buffer) {
                Ok(ReadOutcome::Bytes(length)) => {
                    let received = clock.now();
                    let waiting = if self.session.wants_waiting(received) { link.waiting() } else { 0 };
                    frames += self.session.receive_some(&buffer[..length], waiting, received, clock, events).max(1);
                    if self.session.has_more() {
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
                    self.session.lose(End::Socket("the stream ended without a close frame".to_owned()), events);
                }
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    self.session.lose(End::Socket("the TLS stream was cut".to_owned()), events);
                }
                Err(error) => self.session.lose(End::Socket(error.to_string()), events),
            }
        }
        frames
    }

    /// An attempt begins.
    pub fn begin(&mut self, now: MonoNs) {
        (self.began, self.is_unsettled, self.state) = (now, true, LineState::Dialling);
        self.changed = true;
    }

    /// The socket is connected.
    pub(crate) fn linked(&mut self, link: Link) {
        self.state = LineState::Linked(link);
        // Bytes may have arrived before the socket was on the poll.
        self.readable = true;
        (self.is_logged, self.good_at, self.was_good, self.replace_at) = (false, None, false, MonoNs(u64::MAX));
        self.changed = true;
    }

    /// Handles deadlines of an open socket and writes its output. Returns whether the session is over.
    pub fn tick(&mut self, health: &mut VenueHealth, now: MonoNs, events: &mut dyn FnMut(FeedEvent)) -> bool {
        if self.session.deadline().is_some_and(|at| now >= at) {
            self.session.elapsed(now, events);
        }
        if let (LineState::Linked(link), Some(output)) = (&mut self.state, self.session.output())
            && let Err(error) = link.drain(output)
        {
            self.session.lose(End::Socket(error.to_string()), events);
        }
        if self.session.is_open() && !std::mem::replace(&mut self.is_logged, true) {
            self.changed = true;
            self.replace_at = replace_at(self.session.facts(), health, self.session.opened_at());
            let took = now.since(self.began) / MS;
            let (name, instruments) = (&self.name, self.session.entries().len());
            let address = without_query(&self.target);
            health
                .say(now, format_args!("feed {name}: connected to {address} in {took} ms, {instruments} instruments"));
        }
        if let Some(notice) = self.session.take_notice() {
            let notice = notice.to_string();
            health.say(now, format_args!("feed {}: the venue says: {}", self.name, log::tamed(&notice)));
        }
        self.report_flow(health, now);
        self.session.end().is_some()
    }

    /// Reports to the health that the connection delivers prices, and at intervals that it still does.
    fn report_flow(&mut self, health: &mut VenueHealth, now: MonoNs) {
        if !self.session.is_open() || !self.session.has_flowed() {
            return;
        }
        if self.flows_since.is_none() {
            self.flows_since = Some(now);
            health.flows(now);
            self.changed = true;
        }
        let at = *self.good_at.get_or_insert(now.plus(GOOD_NS));
        if now < at {
            return;
        }
        health.good(now);
        if std::mem::take(&mut self.is_unsettled) {
            health.settled();
        }
        health.show(&self.gauges().dial.breaker);
        (self.was_good, self.changed) = (true, true);
        self.good_at = Some(if health.is_clear() { MonoNs(u64::MAX) } else { now.plus(GOOD_NS) });
    }

    /// The session has ended: closes the socket and waits for the next attempt.
    pub fn end(&mut self, health: &mut VenueHealth, now: MonoNs) {
        let Some(end) = self.session.end() else { return };
        let ban_s = self.session.facts().limits.ban_s;
        let (wait, why, verdict) = (end.wait(ban_s), end.to_string(), self.verdict(health, end));
        self.gauges().dial.count_failure(end.is_answer());
        self.hang_up();
        self.rest(health, wait, verdict, &why, now);
    }

    fn verdict(&self, health: &VenueHealth, end: &End) -> Verdict {
        match end {
            _ if let Wait::Banned(ns) = end.wait(self.session.facts().limits.ban_s) => Verdict::Banned(ns),
            End::Ours | End::Overslept => Verdict::Nothing,
            // Venues end connections now and then. The connection that tests a half-open breaker should not end.
            _ if self.was_good && (health.is_clear() || matches!(end, End::Wanted(_))) => Verdict::Lost,
            _ => Verdict::Failed,
        }
    }

    /// Waits for the next attempt, after one that failed or a connection that ended for the reason `why`.
    pub fn rest(&mut self, health: &mut VenueHealth, wait: Wait, verdict: Verdict, why: &str, now: MonoNs) {
        if std::mem::take(&mut self.is_unsettled) {
            health.settled();
        }
        let (next, opened) = health.ended(now, wait, verdict, self.flows_since.take());
        let gauges = self.gauges();
        if opened {
            gauges.dial.breaker.count_opened(why);
        }
        health.show(&gauges.dial.breaker);
        gauges.connection.set_last_error(why);
        (self.state, self.good_at, self.changed, self.ended_at) = (LineState::Waiting(next), None, true, now);
        let name = &self.name;
        let open = if opened { "circuit breaker open, " } else { "" };
        let (why, next) = (log::tamed(why), self.next_attempt(health));
        match next.map(|at| at.since(now) as f64 / SECOND as f64) {
            Some(s) => health.say(now, format_args!("feed {name}: {why}; {open}next attempt in {s:.1} s")),
            None => {
                health.say(now, format_args!("feed {name}: {why}; {open}waits for the attempt of another connection"))
            }
        }
    }

    /// The line is not wanted: closes the connection. When it is wanted again it dials at once, unless it was waiting.
    pub(crate) fn stand_by(&mut self, health: &mut VenueHealth) {
        match &self.state {
            LineState::Waiting(at) => self.not_before = *at,
            LineState::Linked(_) => self.session.retire(),
            LineState::Idle | LineState::Dialling => {}
        }
        if std::mem::take(&mut self.is_unsettled) {
            health.settled();
            health.abandoned();
        }
        self.flows_since.take().into_iter().for_each(|since| health.dry(since));
        self.hang_up();
    }

    /// Sends what is left of the output and closes the socket.
    pub fn hang_up(&mut self) {
        if let LineState::Linked(link) = &mut self.state {
            if let Some(output) = self.session.output() {
                // The other end may already be gone.
                let _ = link.drain(output);
            }
            link.say_end();
        }
        self.state = LineState::Idle;
        (self.readable, self.changed) = (false, true);
    }

    /// Replaces the session, while there is no socket.
    pub fn renew(&mut self, mut session: Session) {
        session.learn_from(&self.session);
        session.take_pages_of(&mut self.session);
        self.session = session;
    }
}

/// When a line that is open since `opened` should be replaced, so that the venue does not end it first.
fn replace_at(facts: &Facts, health: &mut VenueHealth, opened: MonoNs) -> MonoNs {
    let Some(age_max) = facts.limits.age_max_s.map(|s| s.saturating_mul(SECOND)) else { return MonoNs(u64::MAX) };
    let before = REPLACE_BEFORE_NS.min(age_max / 4);
    opened.plus(age_max - before - health.jitter(before / 2))
}

/// An address without its query, which may contain a token.
fn without_query(address: &str) -> &str {
    address.split_once('?').map_or(address, |(front, _)| front)
}
