//! Stage: one feed thread's venue connections on one poll.
//!
//! In: bytes from the venues' sockets. Out: [`FeedEvent`]s on the ring to the detector, day statistics,
//! counters. Each venue has one line for so many instruments as it allows on a connection, and a
//! [`standing::Standing`] that they share, as long as its [`Switch`] is on. It never resolves, never blocks on a socket or a full ring, and between a read and
//! the ring it neither locks, allocates nor logs.

pub mod backlog;
pub mod connection;
mod cutoff;
mod failing;
pub mod lag;
mod line;
pub mod reference;
mod set;
pub mod silence;
pub mod stamps;
pub mod standing;

use std::io;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::Duration;

use crossbeam::channel::{Receiver, Sender, bounded};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};

use crate::log;
use crate::market::quote::{Delay, FeedEvent, Origin};
use crate::market::{Directory, VenueId};
use crate::matrix::books::BookTable;
use crate::matrix::days::DayTable;
use crate::matrix::handover::Handover;
use crate::metrics::latency::{Hop, Recorder};
use crate::metrics::{Board, LinkState};
use crate::net::Link;
use crate::net::backoff::{self, Wait};
use crate::net::breaker;
use crate::net::dial::{Answer, DialError, DialerHandle, Job, Order, Reached, http_address};
use crate::net::switch::Switch;
use crate::net::tls::Trust;
use crate::stage::{Alarm, Sleep, Stage};
use crate::time::{Clock, MS, MonoNs, SECOND};
use crate::venues::{Opening, SymbolEntry, Venue};

use connection::{Connection, End, Parts, Purpose};
use line::{Line, Role, State};
use standing::{Lines, Standing, Verdict};

pub use set::SetChange;

/// Events besides those of the venues: the waker, and stages that sleep here.
const OTHER_EVENTS: usize = 8;
/// Of what wakes us.
const WAKER: Token = Token(usize::MAX - 1);
/// Of stages that sleep here.
const OTHERS: Token = Token(usize::MAX);
/// Books that wait for the venue's prices look again after this time.
const BOOKS_AFTER_NS: u64 = 100 * MS;
/// Who must wait for the page of another line asks again after this time.
const PAGE_LATER_NS: u64 = 100 * MS;
/// Connections and pages that are requested at the same time, at most.
const ORDERS_MAX: usize = 1024;
/// The slot of a line's page is so far beyond the line's own.
const FETCHES: usize = 1 << 32;
/// Bytes read at once.
const READ_BUFFER: usize = 64 * 1024;
/// A turn, or a sleep beyond its end, that takes longer is a standstill, in nanoseconds.
const STILL_NS: u64 = 150 * MS;
/// How long a turn may sleep while quotes are set aside for want of room in the ring.
const BEHIND_WAIT: Duration = Duration::from_millis(1);

/// Limits of a feed's patience.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Silence after which the venue is pinged, in milliseconds.
    pub silence_ping_ms: u64,
    /// Silence after which the connection is dead, in milliseconds.
    pub silence_max_ms: u64,
    /// Longest wait for the reply to the upgrade, in milliseconds.
    pub upgrade_max_ms: u64,
    /// Wait for a first price before its absence is told, in milliseconds.
    pub first_price_ms: u64,
    /// Least silence of one instrument that counts, in milliseconds: it does when it is four times what is usual for the
    /// instrument, at least this and at most [`Self::stale_after_ms`]. 0: it never counts.
    pub pair_silence_ms: u64,
    /// An older quote is no price, in milliseconds.
    pub stale_after_ms: u64,
    /// Least time between two instruments of one venue that are subscribed again, in milliseconds.
    pub again_ms: u64,
    /// First pause before connecting again, in milliseconds; it doubles each time until data has flowed.
    pub backoff_first_ms: u64,
    /// Longest such pause in milliseconds.
    pub backoff_max_ms: u64,
    /// When a venue's address is left alone for a while.
    pub breaker: breaker::Options,
    /// Frames of one connection in a turn, control frames and fragments included.
    pub frames_per_turn: usize,
    /// Time of one connection in a turn, in microseconds; what is begun is finished.
    pub turn_us: u64,
    /// Seed of the jitter; `None` takes one from the clock, so that no two processes wait alike.
    pub seed: Option<u64>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            silence_ping_ms: 2000,
            silence_max_ms: 5000,
            upgrade_max_ms: 5000,
            first_price_ms: 10_000,
            pair_silence_ms: 2000,
            stale_after_ms: 30_000,
            again_ms: 5000,
            backoff_first_ms: backoff::FIRST_NS / MS,
            backoff_max_ms: backoff::LONGEST_NS / MS,
            breaker: breaker::Options::default(),
            frames_per_turn: 512,
            turn_us: 1000,
            seed: None,
        }
    }
}

impl Options {
    /// The same for one of `lines` lines to a venue, which share the asking again.
    fn shared_by(self, lines: usize) -> Self {
        Self { again_ms: self.again_ms.saturating_mul(lines.max(1) as u64), ..self }
    }

    /// What they say of single instruments.
    fn silence(&self) -> silence::Options {
        let [floor_ns, ceiling_ns, first_ns, again_ns] =
            [self.pair_silence_ms, self.stale_after_ms, self.first_price_ms, self.again_ms]
                .map(|ms| ms.saturating_mul(MS));
        silence::Options { floor_ns, ceiling_ns, first_ns, again_ns }
    }
}

/// One venue of a feed.
pub struct FeedVenue {
    /// Its id in the directory.
    pub id: VenueId,
    /// The venue.
    pub venue: &'static dyn Venue,
    /// Where it is: a WebSocket address, or the base of its REST side where a token is asked for first.
    pub address: String,
    /// Where its REST side is, for snapshots of books.
    pub rest_address: String,
    /// Who may vouch for it.
    pub trust: Trust,
}

/// A venue and what it is asked for: it has lines and a standing of its own for each purpose.
struct Seat {
    /// Its place among the venues.
    venue: usize,
    id: VenueId,
    purpose: Purpose,
    /// A dialer fetches a page for one of its lines.
    page_under_way: bool,
}

/// What a feed is made of.
pub struct FeedParts {
    /// Who is who.
    pub directory: Arc<Directory>,
    /// This thread's share of the venues.
    pub venues: Vec<FeedVenue>,
    /// To the detector.
    pub ring: rtrb::Producer<FeedEvent>,
    /// Wakes the detector.
    pub detector: Alarm,
    /// Where day statistics go.
    pub days: Arc<DayTable>,
    /// Where order books go; of no levels: none are asked for.
    pub books: Arc<BookTable>,
    /// Counters and latencies.
    pub board: Arc<Board>,
    /// Which of the venues shall be connected. Ring the feed after a change.
    pub switch: Arc<Switch>,
    /// Changes of what the venues are to quote. Ring the feed after one.
    pub changes: Receiver<SetChange>,
    /// Connects for us.
    pub dialer: DialerHandle,
    /// Time.
    pub clock: Clock,
    /// Limits of patience.
    pub options: Options,
}

/// The stage.
pub struct Feed {
    poll: Poll,
    events: Events,
    alarm: Alarm,
    dialer: DialerHandle,
    answer: Sender<Answer>,
    answers: Receiver<Answer>,
    /// Orders without an answer so far, at most [`ORDERS_MAX`], so that each answer finds room in the channel.
    ordered: usize,
    venues: Vec<FeedVenue>,
    seats: Vec<Seat>,
    /// By seat.
    standings: Vec<Standing>,
    /// In pairs with the same instruments: one is the first, the other rests or is to become it.
    lines: Vec<Line>,
    /// What each pair of lines is to ask for, in order of ids.
    plans: Vec<Vec<SymbolEntry>>,
    changes: Receiver<SetChange>,
    directory: Arc<Directory>,
    days: Arc<DayTable>,
    books: Arc<BookTable>,
    switch: Arc<Switch>,
    handover: Handover,
    recorder: Recorder,
    buffer: Box<[u8]>,
    board: Arc<Board>,
    clock: Clock,
    options: Options,
    /// No venue answers, as far as this thread has taken it in.
    is_cut_off: bool,
    /// What of [`Switch::retries`] has been done, at all and by seat.
    retried: (u64, Vec<u64>),
    /// When the last turn ended.
    turned: MonoNs,
    /// The sleep of this turn.
    slept: Sleep,
    /// The thread did not run for a while: found at the next turn.
    stood_still: bool,
    /// Of the jitter.
    seed: u64,
}

impl Feed {
    /// A feed that dials on its first turn, and what wakes it.
    ///
    /// # Errors
    /// When the system refuses a poll.
    pub fn new(parts: FeedParts) -> io::Result<(Self, Alarm)> {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), WAKER)?;
        let alarm = Alarm::of_poll(Arc::new(waker));
        let ids = parts.venues.iter().map(|v| v.id).collect();
        let (instruments, venues_now) = (parts.directory.rows(), parts.directory.venues().len());
        let now = parts.clock.now();
        let seed = parts.options.seed.unwrap_or_else(|| parts.clock.unix().0);
        let venues = parts.venues.iter().enumerate();
        let mut seats: Vec<Seat> = venues.flat_map(|(at, venue)| set::seats_of(at, venue, &parts.books)).collect();
        // Prices are dialled for first.
        seats.sort_by_key(|seat| seat.purpose.is_books());
        let standings = seats.iter().map(|seat| set::standing(seat, &parts.venues, &parts.options, seed)).collect();
        let (mut lines, mut plans) = (Vec::<Line>::new(), Vec::new());
        for (at, seat) in seats.iter().enumerate() {
            let shares = shares(&parts, seat);
            lines.extend(self::lines(&parts, seat, at, &shares, now));
            plans.extend(shares);
        }
        let (answer, answers) = bounded(ORDERS_MAX);
        let mut feed = Self {
            events: Events::with_capacity(lines.len() + OTHER_EVENTS),
            poll,
            alarm: alarm.clone(),
            dialer: parts.dialer,
            answer,
            answers,
            ordered: 0,
            venues: parts.venues,
            seats,
            standings,
            lines,
            plans,
            changes: parts.changes,
            directory: parts.directory,
            days: parts.days,
            books: parts.books,
            switch: parts.switch,
            handover: Handover::new(
                parts.ring,
                parts.detector,
                Arc::clone(&parts.board),
                ids,
                instruments,
                Origin::Own,
            ),
            recorder: Recorder::new(parts.board.venues.len(), venues_now, &[Hop::Decode, Hop::WireToBook]),
            buffer: vec![0; READ_BUFFER].into(),
            board: parts.board,
            clock: parts.clock,
            options: parts.options,
            is_cut_off: false,
            retried: (0, Vec::new()),
            turned: now,
            slept: Sleep { from: now, to: now, meant_ns: 0 },
            stood_still: false,
            seed,
        };
        feed.count_lines();
        feed.show(now);
        Ok((feed, alarm))
    }

    /// Sleeps until there is something to read or to do, at most `wait`.
    fn sleep(&mut self, wait: Duration) {
        let mut timeout = wait;
        if self.lines.iter().any(|line| line.readable) {
            timeout = Duration::ZERO;
        } else {
            let now = self.clock.now();
            let deadline = |line: &Line| line.deadline(&self.standings[line.standing]);
            if let Some(deadline) = self.lines.iter().filter_map(deadline).min() {
                timeout = timeout.min(Duration::from_nanos(deadline.since(now)));
            }
        }
        if self.handover.is_behind() {
            timeout = timeout.min(BEHIND_WAIT);
        }
        self.alarm.set();
        if !self.answers.is_empty() || !self.changes.is_empty() {
            timeout = Duration::ZERO;
        }
        let asleep = self.clock.now();
        let is_interrupted = self.poll.poll(&mut self.events, Some(timeout)).is_err();
        if is_interrupted {
            // By a signal, which may be the end of a stop; the next turn polls again.
            self.events.clear();
        }
        self.alarm.clear();
        self.slept = Sleep::new(asleep, self.clock.now(), timeout, is_interrupted);
        self.stood_still |= self.slept.overrun_ns() > STILL_NS;
        for event in &self.events {
            if let Some(line) = self.lines.get_mut(event.token().0) {
                // An error or a hang-up is told by the read.
                line.ending |= event.is_read_closed() || event.is_error();
                line.readable |= event.is_readable() || line.ending;
            }
        }
    }

    /// After a standstill (the process was stopped, the machine slept) the sockets hold old prices, and what is held
    /// may have been replaced: no quote of any connection is a leg before the connection has caught up. After a long
    /// one the sockets are not read: all is void, and fresh connections tell what holds now.
    fn wake(&mut self, wait: Duration) {
        let stood_still = std::mem::take(&mut self.stood_still);
        let awake = self.slept.to;
        let Self { lines, handover, .. } = self;
        let still = awake.since(self.turned);
        if still <= self.options.silence_max_ms.saturating_mul(MS).saturating_add(wait.as_nanos() as u64) {
            let linked = lines.iter_mut().filter(|line| stood_still && matches!(line.state, State::Linked(_)));
            linked.for_each(|line| line.connection.stood_still(awake, &mut |event| handover.push(event)));
            return;
        }
        for line in lines.iter_mut().filter(|line| matches!(line.state, State::Linked(_))) {
            if line.role == Role::First {
                line.speak_alone();
            }
            line.connection.lose(End::Overslept, &mut |event| handover.push(event));
            line.readable = false;
        }
    }

    /// Reads what the sockets hold, a bounded part of it, and hands over what it means.
    fn read(&mut self) -> usize {
        let Self { lines, handover, recorder, buffer, clock, options, .. } = self;
        let mut work = 0;
        for line in lines.iter_mut().filter(|line| line.readable) {
            let venue = line.id.index();
            work += line.read(buffer, clock, options, &mut |event| {
                if let FeedEvent::Quote(quote) = &event
                    && quote.delay == Delay::None
                {
                    recorder.record(Hop::Decode, venue, quote.received, quote.decoded);
                }
                handover.push(event);
            });
            if let Some(received) = line.connection.take_published() {
                recorder.record(Hop::WireToBook, venue, received, clock.now());
            }
        }
        work
    }

    /// Takes what the dialers bring.
    fn take_answers(&mut self, now: MonoNs) -> usize {
        let mut work = 0;
        while let Ok(answer) = self.answers.try_recv() {
            work += 1;
            self.ordered -= 1;
            let slot = answer.slot;
            if slot >= FETCHES {
                self.fetched(slot - FETCHES, answer.result, now);
                continue;
            }
            let result = match answer.result {
                Ok(Reached::Link(link)) => self.linked(slot, link, now),
                Ok(Reached::Body(body)) => self.endpoint(slot, &body, now),
                Ok(Reached::Page(_) | Reached::List(_)) => Ok(()),
                Err(error) => Err(error),
            };
            if let Err(error) = result {
                self.failed(slot, &error, now);
            }
        }
        work
    }

    /// A page that a codec asked for, or none.
    fn fetched(&mut self, slot: usize, result: Result<Reached, DialError>, now: MonoNs) {
        let Self { lines, handover, standings, seats, board, clock, .. } = self;
        let line = &mut lines[slot];
        seats[line.standing].page_under_way = false;
        let ban_s = line.venue.facts().limits.ban_s;
        match result {
            Ok(Reached::Page(page)) => line.connection.fetched(page, now, clock, &mut |event| handover.push(event)),
            Ok(Reached::Link(_) | Reached::Body(_) | Reached::List(_)) => {}
            Err(error) => {
                // Who is told that they ask too much makes no connection meanwhile, either. That pages are refused to us
                // (403) says nothing of those.
                if matches!(error, DialError::Status(418 | 429, _)) {
                    standings[line.standing].hold(error.wait(ban_s), now);
                }
                let why = line.connection.not_fetched(error.wait(ban_s), &error, now);
                if matches!(error, DialError::TooLarge { .. }) {
                    line.gauges(board).pages_refused.add(1);
                    standings[line.standing].say(now, format_args!("warning: feed {}: {why}", line.name));
                }
                let standing = line.standing;
                self.share_hold(standing);
            }
        }
    }

    fn linked(&mut self, slot: usize, mut link: Link, now: MonoNs) -> Result<(), DialError> {
        if !self.is_wanted(slot, now) {
            self.stand_by(slot, now);
            return Ok(());
        }
        self.renew(slot);
        let line = &mut self.lines[slot];
        link.limit_unacknowledged(Duration::from_millis(self.options.silence_max_ms));
        link.register(self.poll.registry(), Token(slot)).map_err(|e| DialError::Connect(e.to_string()))?;
        line.connection.open(&line.target, now).map_err(|e| DialError::Address(e.to_string()))?;
        line.linked(link);
        Ok(())
    }

    /// The reply to a token request names the address to connect to.
    fn endpoint(&mut self, slot: usize, body: &[u8], now: MonoNs) -> Result<(), DialError> {
        if !self.is_wanted(slot, now) {
            self.stand_by(slot, now);
            return Ok(());
        }
        let line = &mut self.lines[slot];
        line.gauges(&self.board).count_failure(Some(true));
        line.target = line.venue.endpoint(body).map_err(|e| DialError::Reply(e.to_string()))?;
        let job = Job::Connect(line.target.clone());
        self.order(slot, job)
    }

    fn dial(&mut self, slot: usize, now: MonoNs) {
        if self.waits_for_tops(slot) {
            let line = &mut self.lines[slot];
            line.not_before = now.plus(BOOKS_AFTER_NS);
            line.state = State::Waiting(line.not_before);
            return;
        }
        self.renew(slot);
        let Line { id, standing, ended_at, .. } = self.lines[slot];
        let payment = match self.standings[standing].begin(now, ended_at) {
            Ok(payment) => payment,
            Err(later) => {
                (self.lines[slot].state, self.lines[slot].changed) = (State::Waiting(later), true);
                return;
            }
        };
        let others = self.seats.iter().zip(&mut self.standings).enumerate();
        for (_, (_, other)) in others.filter(|(at, (seat, _))| *at != standing && seat.id == id) {
            other.count_other(payment, now);
        }
        // The venue's other lines may have to wait longer now.
        self.lines.iter_mut().filter(|line| line.id == id).for_each(|line| line.changed = true);
        let (line, other) = pair(&mut self.lines, slot);
        line.begin(now);
        match line.role {
            Role::First => line.speak_alone(),
            Role::Second => other.share_with(line),
        }
        let standing = &self.standings[standing];
        let gauges = line.gauges(&self.board);
        standing.show(&gauges.breaker);
        gauges.attempts.add(1);
        let address = &self.venues[self.seats[line.standing].venue].address;
        let job = match line.venue.facts().opening {
            Opening::Direct | Opening::Prompt { .. } | Opening::Patient { .. } => {
                line.target = line.connection.purpose().address(line.venue, address);
                Job::Connect(line.target.clone())
            }
            Opening::Token { path } => Job::Post(http_address(address, path)),
        };
        if let Err(error) = self.order(slot, job) {
            self.failed(slot, &error, now);
        }
    }

    /// Books are asked for of a venue that gives prices: one that refuses is not asked for both, and what it allows us
    /// in a minute is left to the prices.
    fn waits_for_tops(&self, slot: usize) -> bool {
        let line = &self.lines[slot];
        let gives_tops =
            |it: &Line| it.id == line.id && !it.connection.purpose().is_books() && it.connection.is_subscribed();
        line.connection.purpose().is_books() && !self.lines.iter().any(gives_tops)
    }

    /// `slot` is a line's, or [`FETCHES`] beyond it for a page.
    fn order(&mut self, slot: usize, job: Job) -> Result<(), DialError> {
        if self.ordered == ORDERS_MAX {
            return Err(DialError::Busy);
        }
        let (answers, alarm) = (self.answer.clone(), self.alarm.clone());
        let trust = self.venue_of(slot % FETCHES).trust.clone();
        self.dialer.dial(Order { slot, job, trust, answers, alarm })?;
        self.ordered += 1;
        Ok(())
    }

    fn venue_of(&self, slot: usize) -> &FeedVenue {
        &self.venues[self.seats[self.lines[slot].standing].venue]
    }

    /// What the venue asked of one seat holds for all of them.
    fn share_hold(&mut self, standing: usize) {
        let (id, until) = (self.seats[standing].id, self.standings[standing].not_before());
        for (seat, other) in self.seats.iter().zip(&mut self.standings) {
            if seat.id == id {
                other.wait_until(until);
            }
        }
        for line in self.lines.iter_mut().filter(|line| line.id == id) {
            line.connection.hold_fetches(until);
        }
    }

    /// Asks for the pages that codecs need, one at a time of each venue: a REST side that hangs holds one dialer.
    fn fetch(&mut self, slot: usize, now: MonoNs) {
        let line = &mut self.lines[slot];
        let seat = &mut self.seats[line.standing];
        if seat.page_under_way {
            return line.connection.hold_fetches(now.plus(PAGE_LATER_NS));
        }
        let Some(fetch) = line.connection.take_fetch(now) else { return };
        seat.page_under_way = true;
        let read = line.connection.page_reader();
        let job = Job::Page(http_address(&self.venue_of(slot).rest_address, &fetch.path), read);
        if let Err(error) = self.order(FETCHES + slot, job) {
            self.seats[self.lines[slot].standing].page_under_way = false;
            self.lines[slot].connection.not_fetched(Wait::Usual, &error, now);
        }
    }

    /// An attempt came to nothing.
    fn failed(&mut self, slot: usize, error: &DialError, now: MonoNs) {
        let line = &mut self.lines[slot];
        let gauges = line.gauges(&self.board);
        gauges.consecutive_errors.set(gauges.consecutive_errors.value() + 1);
        gauges.count_failure(error.is_answer());
        if matches!(error, DialError::Tls(..)) {
            gauges.tls_refused.add(1);
        }
        let wait = error.wait(line.venue.facts().limits.ban_s);
        let verdict = match (error, wait) {
            (_, Wait::Banned(ns)) => Verdict::Banned(ns),
            // Ours, not the venue's.
            (DialError::Busy, _) => Verdict::Nothing,
            _ => Verdict::Failed,
        };
        line.rest(&mut self.standings[line.standing], gauges, wait, verdict, &error.to_string(), now);
        let standing = line.standing;
        self.share_hold(standing);
    }

    fn is_wanted(&mut self, slot: usize, now: MonoNs) -> bool {
        let (line, other) = pair(&mut self.lines, slot);
        let is_on = self.switch.is_on(line.id) && !self.plans[slot / 2].is_empty();
        is_on && (line.role == Role::First || other.wants_successor(now))
    }

    /// The line is not wanted here, or no more.
    fn stand_by(&mut self, slot: usize, now: MonoNs) {
        let (line, other) = pair(&mut self.lines, slot);
        let standing = &mut self.standings[line.standing];
        let was_linked = matches!(line.state, State::Linked(_));
        if line.role == Role::First {
            line.speak_alone();
        }
        line.stand_by(standing);
        match line.role {
            Role::First => {
                line.gauges(&self.board).consecutive_errors.set(0);
                if was_linked && !line.connection.is_of_books() && !self.switch.is_on(line.id) {
                    self.handover.push(FeedEvent::Left(line.id));
                }
                if was_linked {
                    let name = &line.name;
                    standing.say(now, format_args!("feed {name}: hung up, not wanted here any more"));
                }
            }
            Role::Second => other.speak_alone(),
        }
    }

    /// Deadlines, ends, attempts that are due.
    fn tick(&mut self, now: MonoNs) {
        self.heed_retries(now);
        self.heed_line(now);
        for slot in 0..self.lines.len() {
            let is_wanted = self.is_wanted(slot, now);
            let is_due = self.is_due(slot, now);
            let line = &mut self.lines[slot];
            match line.state {
                State::Idle if is_wanted => {
                    (line.state, line.changed) = (State::Waiting(line.not_before), true);
                    if now >= line.not_before {
                        self.dial(slot, now);
                    }
                }
                State::Waiting(_) | State::Linked(_) if !is_wanted => self.stand_by(slot, now),
                State::Waiting(_) if is_due => self.dial(slot, now),
                State::Linked(_) => {
                    self.care(slot, now);
                    self.fetch(slot, now);
                }
                State::Idle | State::Waiting(_) | State::Dialling => {}
            }
        }
        self.show(now);
    }

    fn is_due(&self, slot: usize, now: MonoNs) -> bool {
        let line = &self.lines[slot];
        line.next_attempt(&self.standings[line.standing]).is_some_and(|at| now >= at)
    }

    /// Somebody wants venues to be tried at once.
    fn heed_retries(&mut self, now: MonoNs) {
        let count = self.switch.retries(None);
        if std::mem::replace(&mut self.retried.0, count) == count {
            return;
        }
        self.retried.1.resize(self.seats.len(), 0);
        for at in 0..self.seats.len() {
            let count = self.switch.retries(Some(self.seats[at].id));
            if std::mem::replace(&mut self.retried.1[at], count) != count {
                let standing = &mut self.standings[at];
                standing.forgive(now);
                let gauges = self.seats[at].purpose.gauges(&self.board, self.seats[at].id);
                gauges.retries.add(1);
                standing.show(&gauges.breaker);
                self.lines.iter_mut().filter(|line| line.standing == at).for_each(|line| line.hurry(now));
            }
        }
    }

    /// When no venue answers it is our own line: nothing is held against the venues, and all of them are tried as soon
    /// as one answers.
    fn heed_line(&mut self, now: MonoNs) {
        let Board { venues, books, cut_off, .. } = &*self.board;
        let is_cut_off = cutoff::is_cut_off(venues, books, now);
        match is_cut_off {
            true if cut_off.begin(now) => log::say(format_args!(
                "feed: no exchange answers: the network line of this machine seems to be down; \
                 all are tried again as soon as one answers"
            )),
            false if let Some(since) = cut_off.end() => log::say(format_args!(
                "feed: an exchange answers again after {} s: all are tried now",
                now.since(since) / SECOND
            )),
            _ => {}
        }
        if std::mem::replace(&mut self.is_cut_off, is_cut_off) == is_cut_off {
            return;
        }
        for (at, standing) in self.standings.iter_mut().enumerate() {
            standing.set_cut_off(is_cut_off, now);
            for line in self.lines.iter_mut().filter(|line| line.standing == at) {
                standing.show(&line.gauges(&self.board).breaker);
                line.hurry(if is_cut_off { now.plus(standing.jitter(SECOND)) } else { now });
            }
        }
    }

    /// One turn's care for an open socket, and what follows from its end or its proof.
    fn care(&mut self, slot: usize, now: MonoNs) {
        let Self { lines, standings, handover, board, .. } = self;
        let (line, other) = pair(lines, slot);
        let (standing, gauges) = (&mut standings[line.standing], line.gauges(board));
        let is_over = line.tick(standing, board, now, &mut |event| handover.push(event));
        if is_over {
            let events = &mut |event| handover.push(event);
            match (line.role, &other.state) {
                // Whoever is on the way to replace it is the first now;
                (Role::First, State::Dialling | State::Linked(_)) => line.give_way_to(other, events),
                // but not who waits for another attempt, which may be long.
                (Role::First, State::Waiting(_)) => line.connection.void_beyond(&other.connection, events),
                (Role::First, State::Idle) | (Role::Second, _) => {}
            }
            line.end(standing, gauges, now);
            let standing = line.standing;
            return self.share_hold(standing);
        }
        if line.role == Role::First {
            return;
        }
        match line.is_proven(other, now) {
            Some(true) => {
                other.give_way_to(line, &mut |event| handover.push(event));
                other.stand_by(standing);
                gauges.replaced.add(1);
                standing.say(now, format_args!("feed {}: a new connection took over", line.venue.facts().name));
            }
            Some(false) => {}
            None => {
                line.give_up(standing, now);
                other.speak_alone();
            }
        }
    }

    /// Tells each standing how many lines are dialled for it, and for all of the venue's purposes.
    fn count_lines(&mut self) {
        let busy = |at: usize| {
            let mine = self.lines.iter().enumerate().step_by(2).filter(|(_, line)| line.standing == at);
            mine.filter(|(slot, _)| !self.plans[slot / 2].is_empty()).count()
        };
        let own: Vec<usize> = (0..self.seats.len()).map(busy).collect();
        for (at, standing) in self.standings.iter_mut().enumerate() {
            let of_venue = self.seats.iter().zip(&own).enumerate().filter(|(_, (it, _))| it.id == self.seats[at].id);
            let all = of_venue.clone().map(|(_, (_, count))| count).sum();
            // Seats of prices stand before those of books.
            let later = of_venue.filter(|(other, _)| *other > at).map(|(_, (_, count))| count).sum();
            standing.set_lines(Lines { own: own[at], all, later });
        }
    }

    /// Makes the states of the venues right: each is what the best of its lines is.
    fn show(&mut self, now: MonoNs) {
        // All of them are looked at, so that none is left for the next turn.
        if self.lines.iter_mut().filter(|line| line.changed).map(|line| line.changed = false).count() == 0 {
            return;
        }
        for (at, seat) in self.seats.iter().enumerate() {
            let gauges = seat.purpose.gauges(&self.board, seat.id);
            let busy = |slot: usize| !self.plans[slot / 2].is_empty();
            let mine = self.lines.iter().enumerate().filter(|(slot, line)| line.standing == at && busy(*slot));
            let (mut best, mut open, mut wanted) = (LinkState::Idle, 0, 0);
            for (_, line) in mine.filter(|(_, line)| line.role == Role::First) {
                best = [best, line.link_state()].into_iter().max_by_key(|state| state.rank()).unwrap_or_default();
                open += u64::from(line.connection.is_open());
                wanted += 1;
            }
            if !self.switch.is_on(seat.id) {
                (best, wanted) = (LinkState::Standby, 0);
            }
            let standing = &self.standings[at];
            let waiting = self.lines.iter().enumerate().filter(|(slot, line)| line.standing == at && busy(*slot));
            let next = waiting.filter_map(|(_, line)| line.next_attempt(standing)).min();
            gauges.held_until.set(standing.not_before().0);
            gauges.next_attempt.set(next.map_or(0, |at| at.0.max(1)));
            gauges.connections_open.set(open);
            gauges.connections_wanted.set(wanted);
            if gauges.state() != best {
                gauges.set_state(best, now);
            }
        }
    }
}

/// The line at `slot`, and the other one with the same instruments.
fn pair(lines: &mut [Line], slot: usize) -> (&mut Line, &mut Line) {
    let (before, after) = lines.split_at_mut(slot | 1);
    let (even, odd) = (&mut before[slot & !1], &mut after[0]);
    if slot.is_multiple_of(2) { (even, odd) } else { (odd, even) }
}

/// The instruments of a seat, spread over as many lines as it wants.
fn shares(parts: &FeedParts, seat: &Seat) -> Vec<Vec<SymbolEntry>> {
    let venue = &parts.venues[seat.venue];
    let entries = connection::entries(&parts.directory, venue.id);
    let count = entries.len().div_ceil(set::most_of(venue)).max(1);
    // Evenly: the last one is not to be almost empty.
    entries.chunks(entries.len().div_ceil(count).max(1)).map(<[_]>::to_vec).collect()
}

/// All lines of a seat: two for each share of its instruments.
fn lines(parts: &FeedParts, seat: &Seat, standing: usize, shares: &[Vec<SymbolEntry>], now: MonoNs) -> Vec<Line> {
    let venue = &parts.venues[seat.venue];
    let voids = set::voids(shares);
    let options = parts.options.shared_by(shares.len());
    let line = |share: &[SymbolEntry], role| {
        let it = Parts {
            id: venue.id,
            venue: venue.venue,
            purpose: seat.purpose.clone(),
            directory: Arc::clone(&parts.directory),
            days: Arc::clone(&parts.days),
            board: Arc::clone(&parts.board),
            options,
        };
        let connection = Connection::share(it, share.to_vec(), voids);
        Line::new(venue.id, venue.venue, standing, role, connection, voids, now)
    };
    shares.iter().flat_map(|share| [Role::First, Role::Second].map(|role| line(share, role))).collect()
}

impl Stage for Feed {
    fn name(&self) -> &str {
        "feed"
    }

    fn wait_for(&mut self, fd: RawFd) -> io::Result<()> {
        // Its own stage looks into it; here it only ends the sleep.
        self.poll.registry().register(&mut SourceFd(&fd), OTHERS, Interest::READABLE)
    }

    fn turn(&mut self, wait: Duration) -> usize {
        self.sleep(wait);
        self.wake(wait);
        let mut work = self.read();
        self.handover.settle();
        let now = self.clock.now();
        work += self.take_changes(now) + self.take_answers(now);
        self.tick(now);
        // What ended just now is told before the next sleep.
        self.handover.settle();
        self.recorder.publish(&self.board.latency, now);
        self.turned = now;
        self.stood_still |= now.since(self.slept.to) > STILL_NS;
        work
    }

    fn slept(&self) -> Option<Sleep> {
        Some(self.slept)
    }

    fn finish(&mut self) {
        let Self { lines, handover, .. } = self;
        for line in lines {
            if line.role == Role::First {
                line.speak_alone();
            }
            line.connection.lose(End::Ours, &mut |event| handover.push(event));
            line.hang_up();
        }
        self.handover.settle();
    }
}
