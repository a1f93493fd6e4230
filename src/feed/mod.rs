//! Stage: one feed thread's connections to venues, on one poll.
//!
//! In: bytes from the venues' sockets. Out: [`FeedEvent`]s on the ring to the detector, order books, day statistics,
//! counters. Each venue has a `Channel` for tops and, if it offers them, one for books; a channel has pairs of lines, as
//! many as the venue's limit of instruments per connection requires, while its [`Switch`] is on. The stage never resolves
//! names, never blocks on a socket or a full ring, and between a read and the ring it neither locks, allocates nor logs.

mod backlog;
mod books;
mod channel;
mod clock;
mod coverage;
mod cutoff;
pub mod end;
mod factory;
mod failing;
mod floods;
mod halts;
mod kind;
mod lag;
mod line;
mod log_limiter;
mod options;
mod pages;
mod pair;
mod plan;
mod probe;
mod reference;
pub mod session;
mod silence;
mod slots;
mod stamps;
mod timing;
mod tops;
mod venue;
mod venue_health;

use std::io;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::Duration;

use crossbeam::channel::{Receiver, Sender, bounded};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};

use crate::handover::Handover;
use crate::log;
use crate::market::quote::{Delay, FeedEvent, Origin, QuoteOptions};
use crate::market::{Directory, VenueId};
use crate::matrix::books::BookTable;
use crate::matrix::days::DayTable;
use crate::metrics::Board;
use crate::metrics::latency::{Hop, Recorder};
use crate::net::Link;
use crate::net::backoff::Wait;
use crate::net::dial::{DialAnswer, DialError, DialOrder, DialerHandle, Job, Reached, http_address};
use crate::net::switch::Switch;
use crate::net::tls::Trust;
use crate::stage::{Alarm, Sleep, Stage};
use crate::time::{Clock, MS, MonoNs, SECOND};
use crate::venues::Opening;

use channel::Channel;
use factory::SessionFactory;
use kind::ChannelKind;
use line::{Line, LineState};
use pair::{Pair, PairOutcome, Role};
use slots::Slots;
use venue_health::{Lines, Verdict};

pub use options::FeedOptions;
pub use venue::FeedVenue;
pub(crate) use venue::SetChange;

/// Poll events besides those of the venues: the waker, and stages that sleep here.
const OTHER_EVENTS: usize = 8;
/// Token of the waker.
const WAKER: Token = Token(usize::MAX - 1);
/// Token of stages that sleep here.
const OTHERS: Token = Token(usize::MAX);
/// How long books wait before they look again whether the venue's prices arrive, in nanoseconds.
const BOOKS_AFTER_NS: u64 = 100 * MS;
/// How long a line waits while a page of another line is fetched, in nanoseconds.
const PAGE_LATER_NS: u64 = 100 * MS;
/// Most orders without an answer.
const ORDERS_MAX: usize = 1024;
/// Size of a read in bytes.
const READ_BUFFER: usize = 64 * 1024;
/// A turn, or the overrun of a sleep, that takes longer is a standstill of the process, in nanoseconds.
const STILL_NS: u64 = 150 * MS;
/// The longest sleep while quotes are set aside because the ring is full.
const BEHIND_WAIT: Duration = Duration::from_millis(1);

/// Constructor arguments of [`Feed`].
pub struct FeedParts {
    /// Names and ids.
    pub directory: Arc<Directory>,
    /// The venues of this thread.
    pub venues: Vec<FeedVenue>,
    /// Ring to the detector.
    pub ring: rtrb::Producer<FeedEvent>,
    /// Wakes the detector.
    pub detector: Alarm,
    /// Table of day statistics.
    pub days: Arc<DayTable>,
    /// Table of order books; one without levels disables books.
    pub books: Arc<BookTable>,
    /// Counters and latencies.
    pub board: Arc<Board>,
    /// Which venues are to be connected. The feed must be woken after a change.
    pub switch: Arc<Switch>,
    /// Changes of the venues' instruments. The feed must be woken after one.
    pub changes: Receiver<SetChange>,
    /// Connects sockets and fetches pages.
    pub dialer: DialerHandle,
    /// Clock.
    pub clock: Clock,
    /// Time limits.
    pub options: FeedOptions,
    /// Validity of quotes.
    pub quotes: QuoteOptions,
    /// Seed of the jitter; `None` takes one from the clock, so that no two processes retry in step.
    pub seed: Option<u64>,
}

/// The stage.
pub struct Feed {
    poll: Poll,
    events: Events,
    orders: Orders,
    venues: Vec<FeedVenue>,
    /// Tops before books, because prices are dialled first.
    channels: Vec<Channel>,
    slots: Slots,
    factory: SessionFactory,
    changes: Receiver<SetChange>,
    switch: Arc<Switch>,
    handover: Handover,
    recorder: Recorder,
    buffer: Box<[u8]>,
    clock: Clock,
    /// No venue answers, as last seen by this thread.
    is_cut_off: bool,
    /// Number of the last request for an immediate retry that was followed.
    retries: u64,
    /// When the last turn ended.
    turned: MonoNs,
    /// The sleep of this turn.
    slept: Sleep,
    /// The thread did not run for a while, which the next turn handles.
    stood_still: bool,
    /// Seed of the jitter.
    seed: u64,
}

/// Orders to the dialers, and their answers.
struct Orders {
    dialer: DialerHandle,
    answer: Sender<DialAnswer>,
    answers: Receiver<DialAnswer>,
    /// Orders without an answer, at most [`ORDERS_MAX`], so that each answer finds room in the channel.
    open: usize,
    /// Wakes this feed.
    alarm: Alarm,
}

impl Orders {
    fn place(&mut self, slot: usize, job: Job, trust: &Trust) -> Result<(), DialError> {
        if self.open == ORDERS_MAX {
            return Err(DialError::Busy);
        }
        let (answers, alarm) = (self.answer.clone(), self.alarm.clone());
        self.dialer.dial(DialOrder { slot, job, trust: trust.clone(), answers, alarm })?;
        self.open += 1;
        Ok(())
    }

    /// The next answer.
    fn take(&mut self) -> Option<DialAnswer> {
        let answer = self.answers.try_recv().ok()?;
        self.open -= 1;
        Some(answer)
    }
}

/// One line of a feed.
#[derive(Clone, Copy)]
struct Place {
    channel: usize,
    pair: usize,
    role: Role,
}

impl Feed {
    /// A feed that dials in its first turn, and what wakes it.
    ///
    /// # Errors
    /// When the system refuses a poll.
    pub fn new(parts: FeedParts) -> io::Result<(Self, Alarm)> {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), WAKER)?;
        let alarm = Alarm::of_poll(Arc::new(waker));
        let FeedParts { directory, venues, days, books, board, clock, options, quotes, .. } = parts;
        let ids = venues.iter().map(|venue| venue.id).collect();
        let (instruments, venues_now) = (directory.rows(), directory.venues().len());
        let now = clock.now();
        let (answer, answers) = bounded(ORDERS_MAX);
        let orders = Orders { dialer: parts.dialer, answer, answers, open: 0, alarm: alarm.clone() };
        let mut feed = Self {
            events: Events::with_capacity(OTHER_EVENTS),
            poll,
            orders,
            venues: Vec::new(),
            channels: Vec::new(),
            slots: Slots::default(),
            handover: Handover::new(parts.ring, parts.detector, Arc::clone(&board), ids, instruments, Origin::Own),
            recorder: Recorder::new(board.venues.len(), venues_now, &[Hop::Decode, Hop::WireToBook]),
            factory: SessionFactory { directory, days, books, board, options, quotes },
            changes: parts.changes,
            switch: parts.switch,
            buffer: vec![0; READ_BUFFER].into(),
            is_cut_off: false,
            retries: 0,
            turned: now,
            slept: Sleep { from: now, to: now, meant_ns: 0 },
            stood_still: false,
            seed: parts.seed.unwrap_or_else(|| clock.unix().0),
            clock,
        };
        venues.into_iter().for_each(|venue| feed.add_venue(venue));
        feed.channels.sort_by_key(|channel| channel.kind);
        let Self { channels, factory, slots, .. } = &mut feed;
        for (at, channel) in channels.iter_mut().enumerate() {
            channel.set_up(at, factory, slots, now);
        }
        feed.count_lines();
        feed.show(now);
        Ok((feed, alarm))
    }

    fn add_venue(&mut self, venue: FeedVenue) {
        let has_books = self.factory.books.levels() > 0 && venue.venue.facts().books.is_some();
        let kinds = [Some(ChannelKind::Tops), has_books.then_some(ChannelKind::Books)];
        for kind in kinds.into_iter().flatten() {
            self.channels.push(Channel::new(self.venues.len(), &venue, kind, &self.factory.options, self.seed));
        }
        self.venues.push(venue);
    }

    /// Follows changes of the venues' instruments. Returns their number.
    fn take_changes(&mut self, now: MonoNs) -> usize {
        let mut work = 0;
        while let Ok(change) = self.changes.try_recv() {
            work += 1;
            if let Some(place) = change.place {
                self.admit(place);
            }
            let Self { channels, factory, slots, .. } = self;
            for (at, channel) in channels.iter_mut().enumerate().filter(|(_, channel)| channel.id == change.venue) {
                channel.spread(at, factory, slots, now);
            }
            self.count_lines();
        }
        work
    }

    fn admit(&mut self, place: FeedVenue) {
        if let Some(known) = self.venues.iter_mut().find(|venue| venue.id == place.id) {
            *known = place;
            return;
        }
        self.handover.join(place.id);
        self.add_venue(place);
    }

    /// Sleeps until there is something to read or to do, at most `wait`.
    fn sleep(&mut self, wait: Duration) {
        let mut timeout = wait;
        if self.channels.iter().flat_map(Channel::lines).any(|line| line.readable) {
            timeout = Duration::ZERO;
        } else {
            let now = self.clock.now();
            let deadlines = |it: &Channel| it.lines().filter_map(|line| line.deadline(&it.health)).min();
            if let Some(deadline) = self.channels.iter().filter_map(deadlines).min() {
                timeout = timeout.min(Duration::from_nanos(deadline.since(now)));
            }
        }
        if self.handover.is_behind() {
            timeout = timeout.min(BEHIND_WAIT);
        }
        self.orders.alarm.set();
        if !self.orders.answers.is_empty() || !self.changes.is_empty() {
            timeout = Duration::ZERO;
        }
        let asleep = self.clock.now();
        let is_interrupted = self.poll.poll(&mut self.events, Some(timeout)).is_err();
        if is_interrupted {
            // By a signal, which may be that of a stop; the next turn polls again.
            self.events.clear();
        }
        self.orders.alarm.clear();
        self.slept = Sleep::new(asleep, self.clock.now(), timeout, is_interrupted);
        self.stood_still |= self.slept.overrun_ns() > STILL_NS;
        let Self { events, channels, slots, .. } = self;
        for event in &*events {
            let slot = event.token().0;
            let Some(at) = slots.get(slot) else { continue };
            let pair = &mut channels[at.channel].pairs[at.pair];
            let Some(role) = pair.role_of(slot) else { continue };
            let line = pair.line_mut(role);
            // The read returns what an error or a hang-up was.
            line.ending |= event.is_read_closed() || event.is_error();
            line.readable |= event.is_readable() || line.ending;
        }
    }

    /// After a standstill (the process was stopped, the machine slept) the sockets have old prices, and prices in use may
    /// have been replaced: no quote of a connection is a leg before the connection has caught up. After a long standstill
    /// the sockets are not read: everything is void, and new connections deliver current prices.
    fn wake(&mut self, wait: Duration) {
        let stood_still = std::mem::take(&mut self.stood_still);
        let awake = self.slept.to;
        let Self { channels, handover, factory, .. } = self;
        let is_long = awake.since(self.turned)
            > factory.options.silence_max_ms.saturating_mul(MS).saturating_add(wait.as_nanos() as u64);
        if !is_long && !stood_still {
            return;
        }
        let events = &mut |event| handover.push(event);
        for pair in channels.iter_mut().flat_map(|channel| &mut channel.pairs) {
            if is_long { pair.overslept(events) } else { pair.stood_still(awake, events) }
        }
    }

    /// Reads a bounded part of what the sockets have, and hands it over.
    fn read(&mut self) -> usize {
        let Self { channels, handover, recorder, buffer, clock, .. } = self;
        let mut work = 0;
        for Channel { id, pairs, .. } in channels {
            let venue = id.index();
            for pair in pairs.iter_mut().filter(|pair| pair.lines().any(|line| line.readable)) {
                work += pair.read(buffer, clock, &mut |event| {
                    if let FeedEvent::Quote(quote) = &event
                        && quote.delay == Delay::None
                    {
                        recorder.record(Hop::Decode, venue, quote.received, quote.decoded);
                    }
                    handover.push(event);
                });
                if let Some(received) = pair.active.session.take_published() {
                    recorder.record(Hop::WireToBook, venue, received, clock.now());
                }
            }
        }
        work
    }

    fn pair(&mut self, at: Place) -> &mut Pair {
        &mut self.channels[at.channel].pairs[at.pair]
    }

    fn line(&mut self, at: Place) -> &mut Line {
        self.pair(at).line_mut(at.role)
    }

    /// Takes the answers of the dialers.
    fn take_answers(&mut self, now: MonoNs) -> usize {
        let mut work = 0;
        while let Some(DialAnswer { slot, result }) = self.orders.take() {
            work += 1;
            let Some(known) = self.slots.get(slot) else { continue };
            let Some(role) = self.channels[known.channel].pairs[known.pair].role_of(slot) else { continue };
            let at = Place { channel: known.channel, pair: known.pair, role };
            if known.is_page {
                self.fetched(at, result, now);
                continue;
            }
            let result = match result {
                Ok(Reached::Link(link)) => self.linked(at, link, now),
                Ok(Reached::Body(body)) => self.endpoint(at, &body, now),
                Ok(Reached::Page(_) | Reached::List(_)) => Ok(()),
                Err(error) => Err(error),
            };
            if let Err(error) = result {
                self.failed(at, &error, now);
            }
        }
        work
    }

    /// The outcome of a request for a book page.
    fn fetched(&mut self, at: Place, result: Result<Reached, DialError>, now: MonoNs) {
        let Self { channels, handover, clock, .. } = self;
        let Channel { pairs, health, page_under_way, .. } = &mut channels[at.channel];
        *page_under_way = false;
        let pair = &mut pairs[at.pair];
        let error = match result {
            Ok(Reached::Page(page)) => {
                let events = &mut |event| handover.push(event);
                return pair.drive(at.role, events, |session, events| session.fetched(page, now, clock, events));
            }
            Ok(Reached::Link(_) | Reached::Body(_) | Reached::List(_)) => return,
            Err(error) => error,
        };
        let line = pair.line_mut(at.role);
        let wait = error.wait(line.session.facts().limits.ban_s);
        // A limit of requests applies to connections, too. A refusal of pages (403) says nothing about connections.
        if matches!(error, DialError::Status(418 | 429, _)) {
            health.hold(wait, now);
        }
        let why = line.session.not_fetched(wait, &error, now);
        if matches!(error, DialError::TooLarge { .. }) {
            line.gauges().read.pages_refused.add(1);
            health.say(now, format_args!("warning: feed {}: {why}", line.name()));
        }
        self.share_hold(at.channel);
    }

    /// The socket of a line is connected.
    fn linked(&mut self, at: Place, mut link: Link, now: MonoNs) -> Result<(), DialError> {
        if !self.is_wanted(at, now) {
            self.stand_by(at, now);
            return Ok(());
        }
        self.renew(at);
        let silence_max = Duration::from_millis(self.factory.options.silence_max_ms);
        let Self { channels, poll, .. } = self;
        let pair = &mut channels[at.channel].pairs[at.pair];
        let line = pair.line_mut(at.role);
        link.limit_unacknowledged(silence_max);
        link.register(poll.registry(), line.token()).map_err(|e| DialError::Connect(e.to_string()))?;
        line.session.open(&line.target, now).map_err(|e| DialError::Address(e.to_string()))?;
        line.linked(link);
        pair.opened(at.role);
        Ok(())
    }

    /// The reply to a token request names the address to connect to.
    fn endpoint(&mut self, at: Place, body: &[u8], now: MonoNs) -> Result<(), DialError> {
        if !self.is_wanted(at, now) {
            self.stand_by(at, now);
            return Ok(());
        }
        let venue = self.venues[self.channels[at.channel].place].venue;
        let line = self.line(at);
        line.gauges().dial.count_failure(Some(true));
        line.target = venue.endpoint(body).map_err(|e| DialError::Reply(e.to_string()))?;
        let (slot, job) = (line.slot, Job::Connect(line.target.clone()));
        let trust = &self.venues[self.channels[at.channel].place].trust;
        self.orders.place(slot, job, trust)
    }

    fn dial(&mut self, at: Place, now: MonoNs) {
        if self.waits_for_tops(at.channel) {
            let (line, later) = (self.line(at), now.plus(BOOKS_AFTER_NS));
            (line.not_before, line.state) = (later, LineState::Waiting(later));
            return;
        }
        self.renew(at);
        let ended_at = self.line(at).ended_at;
        let channel = &mut self.channels[at.channel];
        let payment = match channel.health.begin(now, ended_at) {
            Ok(payment) => payment,
            Err(later) => return self.line(at).wait_until(later),
        };
        let id = channel.id;
        for (n, other) in self.channels.iter_mut().enumerate().filter(|(_, other)| other.id == id) {
            if n != at.channel {
                other.health.count_other(payment, now);
            }
            // The venue's other lines may have to wait longer now.
            other.lines_mut().for_each(|line| line.changed = true);
        }
        let Channel { kind, place, pairs, health, .. } = &mut self.channels[at.channel];
        let pair = &mut pairs[at.pair];
        pair.begin(at.role, now);
        let line = pair.line_mut(at.role);
        health.show(&line.gauges().dial.breaker);
        line.gauges().dial.attempts.add(1);
        let venue = &self.venues[*place];
        let job = match venue.venue.facts().opening {
            Opening::Direct | Opening::Prompt { .. } | Opening::Patient { .. } => {
                line.target = kind.address(venue.venue, &venue.address);
                Job::Connect(line.target.clone())
            }
            Opening::Token { path } => Job::Post(http_address(&venue.address, path)),
        };
        if let Err(error) = self.orders.place(line.slot, job, &venue.trust) {
            self.failed(at, &error, now);
        }
    }

    /// Books are requested only from a venue that delivers prices: a venue that refuses is not asked twice, and prices
    /// come first in what it allows per minute.
    fn waits_for_tops(&self, channel: usize) -> bool {
        let Channel { id, kind, .. } = self.channels[channel];
        let has_tops = |it: &Channel| it.id == id && it.kind == ChannelKind::Tops && it.is_subscribed();
        kind == ChannelKind::Books && !self.channels.iter().any(has_tops)
    }

    /// What the venue asked of one of its channels applies to all of them.
    fn share_hold(&mut self, channel: usize) {
        let Channel { id, ref health, .. } = self.channels[channel];
        let until = health.not_before();
        for other in self.channels.iter_mut().filter(|other| other.id == id) {
            other.health.wait_until(until);
            other.lines_mut().for_each(|line| line.session.hold_pages(until));
        }
    }

    /// Requests a page that a codec needs, one at a time for each channel, so that a REST server that hangs blocks only
    /// one dialer.
    fn fetch(&mut self, at: Place, now: MonoNs) {
        let Channel { place, pairs, page_under_way, .. } = &mut self.channels[at.channel];
        let line = pairs[at.pair].line_mut(at.role);
        if *page_under_way {
            return line.session.hold_pages(now.plus(PAGE_LATER_NS));
        }
        let Some(fetch) = line.session.take_fetch(now) else { return };
        *page_under_way = true;
        let venue = &self.venues[*place];
        let job = Job::Page(http_address(&venue.rest_address, &fetch.path), line.session.page_reader());
        if let Err(error) = self.orders.place(line.page_slot, job, &venue.trust) {
            *page_under_way = false;
            line.session.not_fetched(Wait::Usual, &error, now);
        }
    }

    /// An attempt failed.
    fn failed(&mut self, at: Place, error: &DialError, now: MonoNs) {
        let Channel { pairs, health, .. } = &mut self.channels[at.channel];
        let line = pairs[at.pair].line_mut(at.role);
        let gauges = line.gauges();
        gauges.dial.consecutive_errors.set(gauges.dial.consecutive_errors.value() + 1);
        gauges.dial.count_failure(error.is_answer());
        if matches!(error, DialError::Tls(..)) {
            gauges.dial.tls_refused.add(1);
        }
        let wait = error.wait(line.session.facts().limits.ban_s);
        let verdict = match (error, wait) {
            (_, Wait::Banned(ns)) => Verdict::Banned(ns),
            // Our own limit, not the venue's fault.
            (DialError::Busy, _) => Verdict::Nothing,
            _ => Verdict::Failed,
        };
        line.rest(health, wait, verdict, &error.to_string(), now);
        self.share_hold(at.channel);
    }

    fn is_wanted(&self, at: Place, now: MonoNs) -> bool {
        let channel = &self.channels[at.channel];
        self.switch.is_on(channel.id) && channel.pairs[at.pair].wants(at.role, now)
    }

    /// A line is not wanted here, or no longer.
    fn stand_by(&mut self, at: Place, now: MonoNs) {
        let Self { channels, handover, switch, .. } = self;
        let Channel { id, kind, pairs, health, .. } = &mut channels[at.channel];
        let pair = &mut pairs[at.pair];
        let was_linked = pair.line(at.role).is_linked();
        pair.stand_by(at.role, health, &mut |event| handover.push(event));
        if at.role == Role::Standby {
            return;
        }
        pair.active.gauges().dial.consecutive_errors.set(0);
        if was_linked && *kind == ChannelKind::Tops && !switch.is_on(*id) {
            handover.push(FeedEvent::Left(*id));
        }
        if was_linked {
            health.say(now, format_args!("feed {}: closed, no longer wanted on this instance", pair.active.name()));
        }
    }

    /// Makes the session of an unconnected line follow its plan, which may have changed since the session was made.
    fn renew(&mut self, at: Place) {
        let Self { channels, factory, .. } = self;
        channels[at.channel].renew(at.pair, at.role, factory);
    }

    /// Handles deadlines, ends, and attempts that are due.
    fn tick(&mut self, now: MonoNs) {
        self.follow_retries(now);
        self.watch_cut_off(now);
        for channel in 0..self.channels.len() {
            for pair in 0..self.channels[channel].pairs.len() {
                for role in Role::BOTH {
                    self.tick_line(Place { channel, pair, role }, now);
                }
            }
        }
        self.show(now);
    }

    fn tick_line(&mut self, at: Place, now: MonoNs) {
        let is_wanted = self.is_wanted(at, now);
        let Channel { pairs, health, .. } = &mut self.channels[at.channel];
        let line = pairs[at.pair].line_mut(at.role);
        match line.state {
            LineState::Idle if is_wanted => {
                let not_before = line.not_before;
                line.wait_until(not_before);
                if now >= not_before {
                    self.dial(at, now);
                }
            }
            LineState::Waiting(_) | LineState::Linked(_) if !is_wanted => self.stand_by(at, now),
            LineState::Waiting(_) if line.next_attempt(health).is_some_and(|at| now >= at) => self.dial(at, now),
            LineState::Linked(_) => {
                self.tick_linked(at, now);
                self.fetch(at, now);
            }
            LineState::Idle | LineState::Waiting(_) | LineState::Dialling => {}
        }
    }

    fn tick_linked(&mut self, at: Place, now: MonoNs) {
        let Self { channels, handover, factory, .. } = self;
        let Channel { pairs, health, kind, id, .. } = &mut channels[at.channel];
        let pair = &mut pairs[at.pair];
        match pair.tick(at.role, health, now, &mut |event| handover.push(event)) {
            PairOutcome::Nothing => {}
            PairOutcome::Ended => self.share_hold(at.channel),
            PairOutcome::Replaced => {
                kind.gauges(&factory.board, *id).connection.replaced.add(1);
                let name = pair.active.session.facts().name;
                health.say(now, format_args!("feed {name}: a new connection took over"));
            }
        }
    }

    /// Follows requests to try venues at once.
    fn follow_retries(&mut self, now: MonoNs) {
        let count = self.switch.retries(None);
        if std::mem::replace(&mut self.retries, count) == count {
            return;
        }
        for channel in &mut self.channels {
            let count = self.switch.retries(Some(channel.id));
            if std::mem::replace(&mut channel.retries, count) != count {
                channel.health.forgive(now);
                let gauges = channel.gauges(&self.factory.board);
                gauges.dial.retries.add(1);
                channel.health.show(&gauges.dial.breaker);
                channel.hurry(now);
            }
        }
    }

    /// If no venue answers, the network of this machine is down: the failures do not count against the venues, and all are
    /// tried as soon as one answers.
    fn watch_cut_off(&mut self, now: MonoNs) {
        let Board { venues, books, cut_off, .. } = &*self.factory.board;
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
        for channel in &mut self.channels {
            channel.health.set_cut_off(is_cut_off, now);
            channel.health.show(&channel.gauges(&self.factory.board).dial.breaker);
            for pair in &mut channel.pairs {
                pair.hurry(if is_cut_off { now.plus(channel.health.jitter(SECOND)) } else { now });
            }
        }
    }

    /// Tells the health of each channel how many lines there are.
    fn count_lines(&mut self) {
        let own: Vec<(VenueId, usize)> = self.channels.iter().map(|it| (it.id, it.busy_pairs())).collect();
        for (at, channel) in self.channels.iter_mut().enumerate() {
            let of_venue = own.iter().enumerate().filter(|(_, (id, _))| *id == channel.id);
            let all = of_venue.clone().map(|(_, (_, count))| count).sum();
            let later = of_venue.filter(|(other, _)| *other > at).map(|(_, (_, count))| count).sum();
            channel.health.set_lines(Lines { own: own[at].1, all, later });
        }
        let lines = self.slots.len();
        if self.events.capacity() < lines + OTHER_EVENTS {
            self.events = Events::with_capacity(lines + OTHER_EVENTS);
        }
    }

    /// Publishes the states of the channels, if a line has changed.
    fn show(&mut self, now: MonoNs) {
        // Visits all lines, so that no change is left for the next turn.
        let lines = self.channels.iter_mut().flat_map(Channel::lines_mut);
        if lines.filter_map(|line| std::mem::take(&mut line.changed).then_some(())).count() == 0 {
            return;
        }
        for channel in &self.channels {
            channel.show(&self.factory.board, self.switch.is_on(channel.id), now);
        }
    }
}

impl Stage for Feed {
    fn name(&self) -> &str {
        "feed"
    }

    fn wait_for(&mut self, fd: RawFd) -> io::Result<()> {
        // Its own stage reads it; here it only ends the sleep.
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
        // Ends of this turn are handed over before the next sleep.
        self.handover.settle();
        self.recorder.publish(&self.factory.board.latency, now);
        self.turned = now;
        self.stood_still |= now.since(self.slept.to) > STILL_NS;
        work
    }

    fn slept(&self) -> Option<Sleep> {
        Some(self.slept)
    }

    fn finish(&mut self) {
        let Self { channels, handover, .. } = self;
        for pair in channels.iter_mut().flat_map(|channel| &mut channel.pairs) {
            pair.finish(&mut |event| handover.push(event));
        }
        self.handover.settle();
    }
}
