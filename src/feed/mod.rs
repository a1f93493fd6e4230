//! Stage: one feed thread's venue connections on one poll.
//!
//! In: bytes from the venues' sockets. Out: [`FeedEvent`]s on the ring to the detector, day statistics,
//! counters. Each venue is a [`connection::Connection`] with a line of its own here: dial, talk, lose,
//! wait, dial again, as long as its [`Switch`] is on. It never resolves, never blocks on a socket or a full ring, and between a read and
//! the ring it neither locks, allocates nor logs.

pub mod connection;
pub mod lag;

use std::io;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::Duration;

use crossbeam::channel::{Receiver, Sender, bounded};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};

use crate::log;
use crate::market::quote::{FeedEvent, Origin};
use crate::market::{Directory, VenueId};
use crate::matrix::days::DayTable;
use crate::matrix::handover::Handover;
use crate::metrics::latency::{Hop, Recorder};
use crate::metrics::{Board, BreakerState, LinkState};
use crate::net::backoff::{self, Backoff, Wait};
use crate::net::breaker::{self, Breaker, GOOD_NS};
use crate::net::dial::{Answer, DialError, DialerHandle, Job, Order, Reached, http_address};
use crate::net::switch::Switch;
use crate::net::tls::Trust;
use crate::net::{Link, ReadOutcome};
use crate::stage::{Alarm, Stage};
use crate::time::{Clock, MS, MonoNs, SECOND};
use crate::venues::{Opening, Venue};

use connection::{Connection, End, Parts};

/// Events besides those of the venues: the waker, and stages that sleep here.
const OTHER_EVENTS: usize = 8;
/// Of stages that sleep here.
const OTHERS: Token = Token(usize::MAX);
/// Bytes read at once.
const READ_BUFFER: usize = 64 * 1024;
/// Reads of one venue in a turn, so that a burst of one does not starve the others.
const READS_PER_TURN: usize = 4;
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
    /// First pause before connecting again, in milliseconds; it doubles each time until data has flowed.
    pub backoff_first_ms: u64,
    /// Longest such pause in milliseconds.
    pub backoff_max_ms: u64,
    /// When a venue's address is left alone for a while.
    pub breaker: breaker::Options,
    /// Messages of one venue in a turn; one read's worth may come on top.
    pub frames_per_turn: usize,
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
            backoff_first_ms: backoff::FIRST_NS / MS,
            backoff_max_ms: backoff::LONGEST_NS / MS,
            breaker: breaker::Options::default(),
            frames_per_turn: 512,
            seed: None,
        }
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
    /// Who may vouch for it.
    pub trust: Trust,
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
    /// Counters and latencies.
    pub board: Arc<Board>,
    /// Which of the venues shall be connected. Ring the feed after a change.
    pub switch: Arc<Switch>,
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
    lines: Vec<Line>,
    switch: Arc<Switch>,
    handover: Handover,
    recorder: Recorder,
    buffer: Box<[u8]>,
    board: Arc<Board>,
    clock: Clock,
    options: Options,
    /// When the last turn ended.
    turned: MonoNs,
}

/// One venue's way from dialling to talking and back.
struct Line {
    id: VenueId,
    venue: &'static dyn Venue,
    address: String,
    trust: Trust,
    /// What was dialled: the address, or what the token request named.
    target: String,
    connection: Connection,
    backoff: Backoff,
    breaker: Breaker,
    /// When the connection is next a success, if it is still there; `None` before its first price.
    good_at: Option<MonoNs>,
    /// Whether it has been one.
    was_good: bool,
    /// No attempt before this time, even if the switch is turned on.
    not_before: MonoNs,
    state: State,
    /// The socket may hold more than was read.
    readable: bool,
    /// The poll said that the stream ends: it is read to its end.
    ending: bool,
    /// When the attempt that is under way, or that led here, began.
    began: MonoNs,
    /// Whether the log knows that the connection is open.
    told: bool,
    voice: Voice,
}

enum State {
    /// Nothing to ask for, or not wanted.
    Idle,
    /// The next attempt is at this time.
    Waiting(MonoNs),
    /// A dialer has the order.
    Dialling,
    /// Connected.
    Linked(Link),
}

impl Feed {
    /// A feed that dials on its first turn, and what wakes it.
    ///
    /// # Errors
    /// When the system refuses a poll.
    pub fn new(parts: FeedParts) -> io::Result<(Self, Alarm)> {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), Token(parts.venues.len()))?;
        let alarm = Alarm::of_poll(Arc::new(waker));
        let (answer, answers) = bounded(parts.venues.len().max(1));
        let ids = parts.venues.iter().map(|v| v.id).collect();
        let instruments = parts.directory.instruments().len();
        let now = parts.clock.now();
        let seed = parts.options.seed.unwrap_or_else(|| parts.clock.unix().0);
        let [first_ns, longest_ns] =
            [parts.options.backoff_first_ms, parts.options.backoff_max_ms].map(|ms| ms.saturating_mul(MS));
        let line = |it: FeedVenue| {
            let connection = Connection::new(Parts {
                id: it.id,
                venue: it.venue,
                directory: Arc::clone(&parts.directory),
                days: Arc::clone(&parts.days),
                board: Arc::clone(&parts.board),
                options: parts.options,
            });
            let gauges = &parts.board.venues[it.id.index()];
            if !parts.switch.is_on(it.id) {
                gauges.set_state(LinkState::Standby, now);
            }
            Line {
                id: it.id,
                venue: it.venue,
                target: String::new(),
                address: it.address,
                trust: it.trust,
                state: State::Idle,
                connection,
                breaker: Breaker::new(parts.options.breaker),
                good_at: None,
                was_good: false,
                not_before: now,
                backoff: Backoff::new(seed.wrapping_add(u64::from(it.id.0) << 48), first_ns, longest_ns),
                readable: false,
                ending: false,
                began: now,
                told: false,
                voice: Voice::default(),
            }
        };
        let feed = Self {
            events: Events::with_capacity(parts.venues.len() + OTHER_EVENTS),
            poll,
            alarm: alarm.clone(),
            dialer: parts.dialer,
            answer,
            answers,
            lines: parts.venues.into_iter().map(line).collect(),
            switch: parts.switch,
            handover: Handover::new(
                parts.ring,
                parts.detector,
                Arc::clone(&parts.board),
                ids,
                instruments,
                Origin::Own,
            ),
            recorder: Recorder::new(parts.board.venues.len(), &[Hop::Decode]),
            buffer: vec![0; READ_BUFFER].into(),
            board: parts.board,
            clock: parts.clock,
            options: parts.options,
            turned: now,
        };
        Ok((feed, alarm))
    }

    /// Sleeps until there is something to read or to do, at most `wait`.
    fn sleep(&mut self, wait: Duration) {
        let mut timeout = wait;
        if self.lines.iter().any(|line| line.readable) {
            timeout = Duration::ZERO;
        } else if let Some(deadline) = self.lines.iter().filter_map(Line::deadline).min() {
            timeout = timeout.min(Duration::from_nanos(deadline.since(self.clock.now())));
        }
        if self.handover.is_behind() {
            timeout = timeout.min(BEHIND_WAIT);
        }
        self.alarm.set();
        if !self.answers.is_empty() {
            timeout = Duration::ZERO;
        }
        if self.poll.poll(&mut self.events, Some(timeout)).is_err() {
            // Interrupted by a signal; the next turn polls again.
            self.events.clear();
        }
        self.alarm.clear();
        for event in &self.events {
            if let Some(line) = self.lines.get_mut(event.token().0) {
                // An error or a hang-up is told by the read.
                line.ending |= event.is_read_closed() || event.is_error();
                line.readable |= event.is_readable() || line.ending;
            }
        }
    }

    /// After a standstill (the process was stopped, the machine slept) the sockets hold old prices that would
    /// be stamped as new ones. They are not read: all is void, and fresh connections tell what holds now.
    fn wake(&mut self, wait: Duration) {
        let still = self.clock.now().since(self.turned);
        if still <= self.options.silence_max_ms.saturating_mul(MS).saturating_add(wait.as_nanos() as u64) {
            return;
        }
        let Self { lines, handover, .. } = self;
        for line in lines.iter_mut().filter(|line| matches!(line.state, State::Linked(_))) {
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
            work += line.read(buffer, clock, options.frames_per_turn, &mut |event| {
                if let FeedEvent::Quote(quote) = &event {
                    recorder.record(Hop::Decode, venue, quote.received, quote.decoded);
                }
                handover.push(event);
            });
        }
        work
    }

    /// Takes what the dialers bring.
    fn take_answers(&mut self, now: MonoNs) -> usize {
        let mut work = 0;
        while let Ok(answer) = self.answers.try_recv() {
            work += 1;
            let slot = answer.slot;
            let result = match answer.result {
                Ok(Reached::Link(link)) => self.linked(slot, link, now),
                Ok(Reached::Body(body)) => self.endpoint(slot, &body),
                Err(error) => Err(error),
            };
            if let Err(error) = result {
                self.failed(slot, &error, now);
            }
        }
        work
    }

    fn linked(&mut self, slot: usize, mut link: Link, now: MonoNs) -> Result<(), DialError> {
        let Some(line) = self.lines.get_mut(slot) else { return Ok(()) };
        if !line.is_wanted(&self.switch) {
            line.stand_by(&self.board, now);
            return Ok(());
        }
        link.limit_unacknowledged(Duration::from_millis(self.options.silence_max_ms));
        link.register(self.poll.registry(), Token(slot)).map_err(|e| DialError::Connect(e.to_string()))?;
        line.connection.open(&line.target, now).map_err(|e| DialError::Address(e.to_string()))?;
        line.state = State::Linked(link);
        // Bytes may have come before the poll knew the socket.
        line.readable = true;
        (line.told, line.good_at, line.was_good) = (false, None, false);
        Ok(())
    }

    /// The reply to a token request names the address to connect to.
    fn endpoint(&mut self, slot: usize, body: &[u8]) -> Result<(), DialError> {
        let Some(line) = self.lines.get_mut(slot) else { return Ok(()) };
        if !line.is_wanted(&self.switch) {
            line.stand_by(&self.board, self.clock.now());
            return Ok(());
        }
        line.target = line.venue.endpoint(body).map_err(|e| DialError::Reply(e.to_string()))?;
        let job = Job::Connect(line.target.clone());
        self.order(slot, job)
    }

    fn dial(&mut self, slot: usize, now: MonoNs) {
        let Some(line) = self.lines.get_mut(slot) else { return };
        if !line.breaker.begin(now) {
            line.state = State::Waiting(line.breaker.ready_at().max(now.plus(SECOND)));
            return;
        }
        line.began = now;
        line.backoff.attempt(now);
        line.state = State::Dialling;
        let gauges = &self.board.venues[line.id.index()];
        line.breaker.show(&gauges.breaker);
        gauges.attempts.add(1);
        gauges.set_state(LinkState::Connecting, now);
        let job = match line.venue.facts().opening {
            Opening::Direct | Opening::Patient { .. } => {
                line.target.clone_from(&line.address);
                Job::Connect(line.target.clone())
            }
            Opening::Token { path } => Job::Post(http_address(&line.address, path)),
        };
        if let Err(error) = self.order(slot, job) {
            self.failed(slot, &error, now);
        }
    }

    fn order(&self, slot: usize, job: Job) -> Result<(), DialError> {
        let (answers, alarm) = (self.answer.clone(), self.alarm.clone());
        self.dialer.dial(Order { slot, job, trust: self.lines[slot].trust.clone(), answers, alarm })
    }

    /// An attempt came to nothing.
    fn failed(&mut self, slot: usize, error: &DialError, now: MonoNs) {
        let Some(line) = self.lines.get_mut(slot) else { return };
        let gauges = &self.board.venues[line.id.index()];
        gauges.consecutive_errors.set(gauges.consecutive_errors.value() + 1);
        if matches!(error, DialError::Tls(..)) {
            gauges.tls_refused.add(1);
        }
        let verdict = match (error, error.wait()) {
            (_, Wait::Banned(ns)) => Verdict::Banned(ns),
            // Ours, not the venue's.
            (DialError::Busy, _) => Verdict::Nothing,
            _ => Verdict::Failed,
        };
        line.rest(&self.board, error.wait(), verdict, &error.to_string(), now);
    }

    /// Deadlines, ends, attempts that are due.
    fn tick(&mut self, now: MonoNs) {
        for slot in 0..self.lines.len() {
            let Self { lines, handover, board, switch, .. } = self;
            let line = &mut lines[slot];
            let is_wanted = line.is_wanted(switch);
            match &line.state {
                State::Idle if is_wanted => {
                    line.state = State::Waiting(line.not_before);
                    board.venues[line.id.index()].set_state(LinkState::Backoff, now);
                    if now >= line.not_before {
                        self.dial(slot, now);
                    }
                }
                State::Waiting(_) | State::Linked(_) if !is_wanted => line.stand_by(board, now),
                State::Waiting(at) if now >= *at => self.dial(slot, now),
                State::Linked(_) => line.tick(board, now, &mut |event| handover.push(event)),
                State::Idle | State::Waiting(_) | State::Dialling => {}
            }
        }
    }
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
        work += self.take_answers(now);
        self.tick(now);
        // What ended just now is told before the next sleep.
        self.handover.settle();
        self.recorder.publish(&self.board.latency, now);
        self.turned = now;
        work
    }

    fn finish(&mut self) {
        let Self { lines, handover, .. } = self;
        for line in lines {
            line.connection.lose(End::Ours, &mut |event| handover.push(event));
            line.hang_up();
        }
        self.handover.settle();
    }
}

/// What the end of an attempt, or of the connection that it led to, says about the venue's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// Nothing.
    Nothing,
    /// It came to nothing, or broke before it was good.
    Failed,
    /// We shall stay away for so many nanoseconds.
    Banned(u64),
}

impl Line {
    fn is_wanted(&self, switch: &Switch) -> bool {
        switch.is_on(self.id) && self.connection.instruments() > 0
    }

    fn deadline(&self) -> Option<MonoNs> {
        match &self.state {
            State::Idle | State::Dialling => None,
            State::Waiting(at) => Some(*at),
            State::Linked(_) => self.connection.deadline().into_iter().chain(self.good_at).min(),
        }
    }

    fn read(
        &mut self,
        buffer: &mut [u8],
        clock: &Clock,
        frames_max: usize,
        events: &mut dyn FnMut(FeedEvent),
    ) -> usize {
        let State::Linked(link) = &mut self.state else {
            self.readable = false;
            return 0;
        };
        let mut frames = 0;
        for _ in 0..READS_PER_TURN {
            match link.read(buffer) {
                Ok(ReadOutcome::Bytes(length)) => {
                    let received = clock.now();
                    frames += self.connection.receive(&buffer[..length], received, clock, events).max(1);
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
            if self.connection.end().is_some() || frames >= frames_max {
                break;
            }
        }
        frames
    }

    /// One turn's care for an open socket.
    fn tick(&mut self, board: &Board, now: MonoNs, events: &mut dyn FnMut(FeedEvent)) {
        if self.connection.deadline().is_some_and(|at| now >= at) {
            self.connection.elapsed(now, events);
        }
        if let (State::Linked(link), Some(output)) = (&mut self.state, self.connection.output())
            && let Err(error) = link.drain(output)
        {
            self.connection.lose(End::Socket(error.to_string()), events);
        }
        if self.connection.is_open() && !std::mem::replace(&mut self.told, true) {
            let name = self.venue.facts().name;
            let took = now.since(self.began) / MS;
            let instruments = self.connection.instruments();
            let address = shown(&self.target);
            self.voice
                .say(now, format_args!("feed {name}: connected to {address} in {took} ms, {instruments} instruments"));
        }
        self.prove(board, now);
        if let Some(end) = self.connection.end() {
            let (wait, why, verdict) = (end.wait(), end.to_string(), self.verdict(end));
            self.hang_up();
            if self.connection.has_flowed() {
                self.backoff.flowed();
            }
            self.rest(board, wait, verdict, &why, now);
        }
    }

    /// A connection that gives prices, and still does some time later, is what the breaker calls a success.
    fn prove(&mut self, board: &Board, now: MonoNs) {
        if !self.connection.is_open() || !self.connection.has_flowed() {
            return;
        }
        let at = *self.good_at.get_or_insert(now.plus(GOOD_NS));
        if now < at {
            return;
        }
        self.breaker.succeeded();
        self.breaker.show(&board.venues[self.id.index()].breaker);
        self.was_good = true;
        let is_done = self.breaker.state() == BreakerState::Closed;
        self.good_at = Some(if is_done { MonoNs(u64::MAX) } else { now.plus(GOOD_NS) });
    }

    fn verdict(&self, end: &End) -> Verdict {
        let is_closed = self.breaker.state() == BreakerState::Closed;
        match end {
            _ if let Wait::Banned(ns) = end.wait() => Verdict::Banned(ns),
            End::Ours | End::Overslept => Verdict::Nothing,
            // Connections of venues end now and then; that of a half-open breaker should not.
            _ if self.was_good && (is_closed || matches!(end, End::Wanted(_))) => Verdict::Nothing,
            _ => Verdict::Failed,
        }
    }

    /// The venue is not wanted here: hangs up politely, and forgets what it was waiting for. When it is wanted again
    /// it is dialled at once, unless it was being left alone.
    fn stand_by(&mut self, board: &Board, now: MonoNs) {
        match &self.state {
            State::Waiting(at) => self.not_before = *at,
            State::Linked(_) => {
                self.connection.retire();
                if self.connection.has_flowed() {
                    self.backoff.flowed();
                }
                let name = self.venue.facts().name;
                self.voice.say(now, format_args!("feed {name}: hung up, not wanted here any more"));
            }
            State::Idle | State::Dialling => {}
        }
        self.breaker.abandoned();
        self.hang_up();
        let gauges = &board.venues[self.id.index()];
        gauges.set_state(LinkState::Standby, now);
        gauges.consecutive_errors.set(0);
    }

    /// Sends the last word and closes the socket.
    fn hang_up(&mut self) {
        if let State::Linked(link) = &mut self.state {
            if let Some(output) = self.connection.output() {
                // The other end may be long gone.
                let _ = link.drain(output);
            }
            link.say_end();
        }
        self.state = State::Idle;
        self.readable = false;
    }

    /// Waits for the next attempt.
    fn rest(&mut self, board: &Board, wait: Wait, verdict: Verdict, why: &str, now: MonoNs) {
        let gauges = &board.venues[self.id.index()];
        let opened = match verdict {
            Verdict::Nothing => {
                self.breaker.abandoned();
                false
            }
            Verdict::Failed => self.breaker.failed(now),
            Verdict::Banned(ns) => self.breaker.banned(now, ns),
        };
        if opened {
            gauges.breaker.count_opened(why);
        }
        self.breaker.show(&gauges.breaker);
        let next = self.backoff.failed(now, wait).max(self.breaker.ready_at());
        self.state = State::Waiting(next);
        self.good_at = None;
        gauges.set_state(LinkState::Backoff, now);
        gauges.set_last_error(why);
        let seconds = next.since(now) as f64 / SECOND as f64;
        let name = self.venue.facts().name;
        let open = if opened { "circuit breaker open, " } else { "" };
        self.voice.say(now, format_args!("feed {name}: {}; {open}next attempt in {seconds:.1} s", log::tamed(why)));
    }
}

/// An address without its query, which may hold a token.
fn shown(address: &str) -> &str {
    address.split_once('?').map_or(address, |(front, _)| front)
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
