//! Stage: clients. One poll with the listener, all clients and a waker; prices from the matrix at each
//! client's pace, alerts from the detector at once. Runs on its own thread; several may share an address.
//!
//! In: changed cells (a bitmap), opportunity events (a ring), clients' bytes. Out: bytes for clients,
//! gauges, latencies. A client that does not read is conflated and never makes another wait. This stage
//! never blocks, never writes the matrix, and does nothing per message that it could do per change.

pub mod admin;
pub mod assets;
pub mod books;
pub mod client;
pub mod connection;
mod deliver;
pub mod desk;
mod follow;
pub mod ledger;
pub mod names;
pub mod options;
pub mod outbox;
mod pages;
pub mod routes;
mod serve;
mod set;
pub mod shelf;
pub mod slots;

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::Cache;
use mio::{Events, Poll, Token, Waker};

use crate::gateway::client::{Client, Kind, Sent, Totals, UNARMED};
use crate::gateway::connection::Ask;
use crate::gateway::desk::{Desk, Format, Stamp, View};
use crate::gateway::ledger::{Ledger, id_of, leader_of, less_real};
use crate::gateway::outbox::Marks;
use crate::gateway::pages::Pages;
use crate::gateway::routes::{Answer, Scene};
use crate::gateway::shelf::{Look, Shelf};
use crate::gateway::slots::{Call, Slots, Wheel};
use crate::log;
use crate::market::opportunity::{Opportunity, OpportunityEvent, gross_pct, net_pct};
use crate::market::{Directory, VenueId};
use crate::matrix::books::BookTable;
use crate::matrix::changes::Changes;
use crate::matrix::days::DayTable;
use crate::matrix::{QuoteMatrix, SharedMatrix};
use crate::metrics::Board;
use crate::metrics::latency::{Hop, Recorder};
use crate::net::listen::Listener;
use crate::net::{Link, ReadOutcome};
use crate::os;
use crate::protocol::health::{Known, KnownBooks};
use crate::protocol::message::{self, Alert, AlertMore};
use crate::protocol::opportunity::GroupOf;
use crate::protocol::request::{Action, Command, RequestError};
use crate::protocol::stream;
use crate::stage::{Alarm, Sleep, Stage, WAIT_MAX};
use crate::time::{Clock, MS, MonoNs, SECOND, UnixNs};
use crate::wire::http::{self, Method, Request};
use crate::wire::sse;
use crate::wire::websocket::frame_text;

pub use options::Options;

const LISTENER: Token = Token(usize::MAX - 1);
const WAKER: Token = Token(usize::MAX - 2);
/// Connections accepted in one turn: a storm of them must not keep others waiting.
const ACCEPT_MAX: usize = 64;
/// The same in a turn whose time for requests is spent.
const ACCEPT_MIN: usize = 4;
/// Socket events taken in one turn.
const EVENTS_MAX_POLLED: usize = 1024;
/// Bursts written in one turn before alerts and changes are looked at again.
const BEATS_MAX: usize = 64;
/// Opportunity events taken in one turn.
const EVENTS_MAX: usize = 256;
/// Reads of one client in one turn.
const READS_MAX: usize = 4;
/// Connections beyond the limits, for those who ask whether the gateway lives and is ready.
pub const PROBES_MAX: usize = 16;
/// Requests of one client in one turn: pages, upgrades, subscriptions.
const ASKS_OF_ONE_MAX: usize = 4;
/// Requests of all clients in one turn.
const ASKS_MAX: usize = 64;
/// Time for requests in one turn. Prices wait at most this long, plus the request that is under way.
const ASKS_NS: u64 = MS;
/// How often extended clients' prices are looked at for staleness.
const SWEEP_NS: u64 = 50 * MS;
/// How often the header lines of responses are brought up to date.
const SURVEY_NS: u64 = SECOND / 4;
/// For how long a look at all prices holds.
const KNOWN_NS: u64 = SECOND / 20;
/// Bursts are due in slots of this width: the shortest interval that a client may ask for.
const BEAT_TICK_NS: u64 = 10 * MS;
/// Beats of at least twice this length begin on a multiple of it.
const BEAT_ALIGN_NS: u64 = 100 * MS;
/// Bytes that a client takes beside its subscription, about.
const CLIENT_BYTES: usize = 4096;
/// Free memory below this is not worth the time to give it back, in bytes.
const GIVEN_BACK_MIN: usize = 2 << 20;
/// Memory is given back at most this often.
const GIVE_BACK_NS: u64 = 5 * SECOND;
/// Slots of a wheel of due times.
const WHEEL_SLOTS: usize = 512;
/// Time-outs are due in slots of this width.
const CHORE_TICK_NS: u64 = 100 * MS;

/// What a gateway is made of.
pub struct GatewayParts {
    /// Names.
    pub directory: Arc<Directory>,
    /// Quotes.
    pub matrix: SharedMatrix,
    /// Day statistics.
    pub days: Arc<DayTable>,
    /// Order books.
    pub books: Arc<BookTable>,
    /// Which cells changed since this gateway last looked.
    pub changes: Arc<Changes>,
    /// What the detector found.
    pub opportunities: rtrb::Consumer<OpportunityEvent>,
    /// Counters and gauges.
    pub board: Arc<Board>,
    /// Which of the board's gateways this is.
    pub index: usize,
    /// The clock of the quotes. Clients live by the machine's.
    pub clock: Clock,
    /// Limits and choices.
    pub options: Options,
    /// Where clients come in.
    pub listener: Listener,
}

/// What a turn looks at, owned.
struct Eye {
    cache: Cache<SharedMatrix, Arc<QuoteMatrix>>,
    matrix: Arc<QuoteMatrix>,
    days: Arc<DayTable>,
    board: Arc<Board>,
    turn: u64,
    /// The clock of clients and their time-outs: the machine's.
    machine: Clock,
    /// Now, by that clock.
    now: MonoNs,
    /// By the clock of the quotes: another one in a replay, which may run fast, jump or stand.
    quoted: MonoNs,
    unix: UnixNs,
    stale_after_ns: u64,
    statistics_wait_ns: u64,
}

impl Eye {
    fn look(&mut self, clock: &Clock) {
        self.turn += 1;
        self.now = self.machine.now();
        self.quoted = if matches!(clock, Clock::System) { self.now } else { clock.now() };
        self.unix = clock.unix();
        let newest = self.cache.load();
        if !Arc::ptr_eq(newest, &self.matrix) {
            self.matrix = Arc::clone(newest);
        }
    }

    fn view(&self) -> View<'_> {
        View {
            matrix: &self.matrix,
            days: &self.days,
            board: &self.board,
            turn: self.turn,
            now: self.quoted,
            unix: self.unix,
            stale_after_ns: self.stale_after_ns,
            statistics_wait_ns: self.statistics_wait_ns,
        }
    }
}

/// The stage. See the file's head.
pub struct Gateway {
    name: String,
    options: Options,
    clock: Clock,
    directory: Arc<Directory>,
    board: Arc<Board>,
    index: usize,
    changes: Arc<Changes>,
    opportunities: rtrb::Consumer<OpportunityEvent>,
    recorder: Recorder,
    eye: Eye,
    desk: Desk,
    books: Arc<BookTable>,
    /// Order books that are watched.
    shelf: Shelf,
    /// When they are looked at next,
    books_at: MonoNs,
    /// and whether that is under way.
    sweeping: bool,
    /// Clients that have something to be told of them.
    owed: VecDeque<Call>,
    /// Watched books over all clients.
    watched: u64,

    poll: Poll,
    events: Option<Events>,
    slept: Sleep,
    alarm: Alarm,
    listener: Option<Listener>,
    /// The poll may hold more events than it gave.
    more: bool,
    /// More connections may wait than were accepted.
    accepting: bool,
    accept_after: MonoNs,
    /// Given up for a moment when descriptors run out, to turn away who waits.
    reserve: Option<File>,
    complained: Option<MonoNs>,

    clients: Slots<Client>,
    /// Those that there was no room for, the oldest first.
    probes: VecDeque<u32>,
    generation: u32,
    sockets: usize,
    streams: usize,
    pairs: u64,
    /// Other gateways must be told which names are in use here.
    names_changed: bool,
    beats: Wheel,
    chores: Wheel,
    due: VecDeque<Call>,
    /// Clients with something to be read or answered, each once; who waits longest comes first.
    again: VecDeque<Call>,
    /// Requests that may still be answered in this turn,
    asks_left: usize,
    /// and until when.
    asks_until: MonoNs,
    /// Clients whose connection broke while others were written to.
    gone: Vec<u32>,
    /// Opportunities that are open, and lately closed ones.
    ledger: Ledger,
    /// Clients that follow them.
    followers: Vec<u32>,
    sweep_at: MonoNs,
    survey_at: MonoNs,
    /// What is known of the prices of each venue, and until when that counts as true.
    known: Vec<Known>,
    /// The same of its order books.
    known_books: Vec<KnownBooks>,
    known_until: MonoNs,
    /// Header lines of every response.
    extra: String,
    /// Pages that were rendered lately.
    pages: Pages,

    /// Where admin calls go, if there are any.
    admin: Option<admin::Desk>,
    /// The set of instruments and exchanges as it was last seen.
    seen: set::Seen,

    /// Most bytes that clients have taken since memory was given back, about,
    taken_most: usize,
    /// how many they took at the last look,
    taken_last: usize,
    /// and when memory may be given back next.
    give_back_at: MonoNs,
    totals: Totals,
    stamps: Vec<Stamp>,
    buffer: Box<[u8]>,
    out: Vec<u8>,
}

impl Gateway {
    /// Builds the stage, and the alarm by which the detector wakes it.
    ///
    /// # Errors
    /// When the system gives no poll.
    pub fn new(parts: GatewayParts) -> io::Result<(Self, Alarm)> {
        let GatewayParts { directory, matrix, days, books, changes, opportunities, board, .. } = parts;
        let GatewayParts { index, clock, options, listener, .. } = parts;
        let poll = Poll::new()?;
        let alarm = Alarm::of_poll(Arc::new(Waker::new(poll.registry(), WAKER)?));
        let mut listener = listener;
        listener.register(poll.registry(), LISTENER)?;
        let now = Clock::System.now();
        let eye = Eye {
            matrix: matrix.load_full(),
            cache: Cache::new(matrix),
            days,
            board: Arc::clone(&board),
            turn: 0,
            machine: Clock::System,
            now,
            quoted: clock.now(),
            unix: clock.unix(),
            stale_after_ns: options.stale_after_ns,
            statistics_wait_ns: options.statistics_wait_ns,
        };
        let gateway = Self {
            name: format!("gateway-{}", index + 1),
            recorder: Recorder::new(
                directory.columns(),
                directory.venues().len(),
                &[Hop::WireToPrice, Hop::WireToAlert],
            ),
            desk: Desk::new(Arc::clone(&directory), Arc::clone(&changes), &options.price_venues)
                .with_limits((options.client_bytes_max, options.clients_bytes_max)),
            books,
            shelf: Shelf::default(),
            books_at: now,
            sweeping: false,
            owed: VecDeque::new(),
            watched: 0,
            eye,
            poll,
            slept: Sleep::default(),
            events: Some(Events::with_capacity(EVENTS_MAX_POLLED)),
            more: false,
            alarm: alarm.clone(),
            listener: Some(listener),
            accepting: true,
            accept_after: now,
            reserve: reserve(),
            complained: None,
            clients: Slots::default(),
            probes: VecDeque::new(),
            generation: 0,
            sockets: 0,
            streams: 0,
            pairs: 0,
            names_changed: false,
            beats: Wheel::new(WHEEL_SLOTS, BEAT_TICK_NS, now),
            chores: Wheel::new(WHEEL_SLOTS, CHORE_TICK_NS, now),
            due: VecDeque::new(),
            again: VecDeque::new(),
            asks_left: ASKS_MAX,
            asks_until: now,
            gone: Vec::new(),
            ledger: Ledger::default(),
            followers: Vec::new(),
            sweep_at: now,
            survey_at: now,
            known: vec![Known::default(); directory.columns()],
            known_books: Vec::new(),
            known_until: now,
            extra: String::new(),
            pages: Pages::default(),
            admin: None,
            seen: set::Seen::of(&directory),
            taken_most: 0,
            taken_last: 0,
            give_back_at: now,
            totals: Totals::default(),
            stamps: Vec::new(),
            buffer: vec![0; 16 * 1024].into(),
            out: Vec::with_capacity(4096),
            options,
            clock,
            directory,
            board,
            index,
            changes,
            opportunities,
        };
        Ok((gateway, alarm))
    }

    /// The same, which takes admin calls.
    #[must_use]
    pub fn with_admin(mut self, port: admin::Port) -> Self {
        self.admin = Some(admin::Desk::new(port, self.alarm.clone()));
        self
    }

    /// The same, with clients and their time-outs on `clock` instead of the machine's. For tests that turn the stage by
    /// hand: call it before the first turn.
    #[must_use]
    pub fn with_client_clock(mut self, clock: &Clock) -> Self {
        let now = clock.now();
        self.eye.machine = clock.clone();
        self.beats = Wheel::new(WHEEL_SLOTS, BEAT_TICK_NS, now);
        self.chores = Wheel::new(WHEEL_SLOTS, CHORE_TICK_NS, now);
        for at in [
            &mut self.eye.now,
            &mut self.books_at,
            &mut self.accept_after,
            &mut self.sweep_at,
            &mut self.survey_at,
            &mut self.known_until,
        ] {
            *at = now;
        }
        self
    }

    /// How long to sleep in the poll: until the next thing is due, at most `wait`.
    fn sleep(&self, wait: Duration) -> Duration {
        let now = self.eye.machine.now();
        let waiting =
            self.more || !self.due.is_empty() || !self.again.is_empty() || (self.accepting && self.accept_after <= now);
        let waiting = waiting || !self.owed.is_empty() || self.sweeping || self.desk.is_renewing();
        if waiting || wait.is_zero() {
            return Duration::ZERO;
        }
        let sweep = self.desk.tells_stale().then_some(self.sweep_at);
        let accept = self.accepting.then_some(self.accept_after);
        let books = (!self.shelf.is_empty()).then_some(self.books_at);
        let next = [self.beats.next(), self.chores.next(), sweep, accept, books].into_iter().flatten().min();
        next.map_or(wait, |at| wait.min(Duration::from_nanos(at.since(now))))
    }

    fn poll(&mut self, wait: Duration) -> Option<Events> {
        let mut events = self.events.take()?;
        let mut timeout = self.sleep(wait);
        if !timeout.is_zero() {
            self.alarm.set();
            let is_answered = self.admin.as_ref().is_some_and(admin::Desk::has_answer);
            if self.changes.is_marked() || !self.opportunities.is_empty() || is_answered {
                timeout = Duration::ZERO;
            }
        }
        let from = self.eye.machine.now();
        let is_interrupted = self.poll.poll(&mut events, Some(timeout)).is_err();
        if is_interrupted {
            // The next turn polls again.
            events.clear();
        }
        self.slept = Sleep::new(from, self.eye.machine.now(), timeout, is_interrupted);
        self.alarm.clear();
        // A full set may not be all of them.
        self.more = events.iter().count() == EVENTS_MAX_POLLED;
        Some(events)
    }

    fn sockets_ready(&mut self, events: &Events) -> usize {
        let mut work = 0;
        (self.asks_left, self.asks_until) = (ASKS_MAX, self.eye.machine.now().plus(ASKS_NS));
        for event in events {
            work += 1;
            match event.token() {
                LISTENER => self.accepting = true,
                WAKER => {}
                Token(key) => {
                    let key = key as u32;
                    if event.is_writable() {
                        self.writable(key);
                    }
                    if event.is_readable() || event.is_read_closed() || event.is_error() {
                        self.attend_later(key);
                    }
                }
            }
        }
        // A client with requests left over continues in the next turn.
        for _ in 0..self.again.len() {
            if self.is_spent() {
                break;
            }
            let Some(call) = self.again.pop_front() else { break };
            work += 1;
            if let Some(client) = self.clients.get_mut(call.key).filter(|it| it.generation == call.generation) {
                client.queued = false;
                self.attend(call.key);
            }
        }
        work
    }

    /// Whether the requests of this turn have had their share of it.
    fn is_spent(&self) -> bool {
        self.asks_left == 0 || self.eye.machine.now() > self.asks_until
    }

    /// There is something to be read from a client, or to be answered.
    fn attend_later(&mut self, key: u32) {
        let Some(client) = self.clients.get_mut(key).filter(|client| !client.queued) else { return };
        client.queued = true;
        self.again.push_back(Call { key, generation: client.generation });
    }

    // Accepting.

    fn accept(&mut self) -> usize {
        if !self.accepting || self.accept_after > self.eye.now {
            return 0;
        }
        for count in 0..ACCEPT_MAX {
            if count >= ACCEPT_MIN && self.is_spent() {
                return count;
            }
            let Some(listener) = &mut self.listener else { return count };
            match listener.accept() {
                Ok(Some(link)) => self.admit(link),
                Ok(None) => {
                    self.accepting = false;
                    return count;
                }
                Err(error) => {
                    self.turn_away(&error);
                    return count;
                }
            }
        }
        ACCEPT_MAX
    }

    fn admit(&mut self, link: Link) {
        let gauges = &self.board.gateways[self.index];
        // Of all gateways: which of them accepts is chance.
        let open: u64 = self.board.gateways.iter().map(|gateway| gateway.connections.value()).sum();
        let admission = self.options.addresses.enter(link.peer());
        let is_probe = open >= self.options.connections_max as u64 || admission.is_none();
        if is_probe {
            gauges.refused.add(1);
            // The one that has kept its place longest makes room, most likely one that says nothing.
            if self.probes.len() >= PROBES_MAX
                && let Some(oldest) = self.probes.front().copied()
            {
                self.remove(oldest);
            }
        } else {
            gauges.accepted.add(1);
        }
        self.generation = self.generation.wrapping_add(1);
        let mut client = Client::new(link, (self.generation, is_probe), &self.options, self.eye.now);
        client.admission = admission;
        let key = self.clients.insert(client);
        if is_probe {
            self.probes.push_back(key);
        }
        let registered = match self.clients.get_mut(key) {
            Some(client) => client.link.register(self.poll.registry(), Token(key as usize)).is_ok(),
            None => false,
        };
        self.count_connections();
        if registered { self.settle(key) } else { self.remove(key) }
    }

    fn count_connections(&self) {
        self.board.gateways[self.index].connections.set((self.clients.len() - self.probes.len()) as u64);
    }

    /// Accepting failed, most likely for want of descriptors: gives up the reserve for a moment to close
    /// the one who waits, then leaves the others waiting for a while.
    fn turn_away(&mut self, error: &io::Error) {
        self.board.gateways[self.index].refused.add(1);
        self.accept_after = self.eye.now.plus(50 * MS);
        if self.complained.is_none_or(|at| self.eye.now.since(at) > 5 * SECOND) {
            self.complained = Some(self.eye.now);
            log::say(format_args!("spreadwire: {}: cannot accept a connection: {error}", self.name));
        }
        if self.reserve.take().is_some() {
            if let Some(listener) = &mut self.listener {
                drop(listener.accept());
            }
            self.reserve = reserve();
        } else {
            self.reserve = reserve();
        }
    }

    // Sockets.

    /// Answers what was read from a client and reads on, as far as its share of this turn goes.
    fn attend(&mut self, key: u32) {
        let mut asks = ASKS_OF_ONE_MAX;
        for _ in 0..READS_MAX {
            // What an earlier turn read comes first.
            if !self.converse(key, &mut asks) {
                break;
            }
            let Some(client) = self.clients.get_mut(key) else { return };
            if client.kind == Kind::Http && client.outbox.is_blocked() {
                return self.settle(key);
            }
            if client.ended {
                return self.remove(key);
            }
            if !client.connection.wants_bytes(&self.options) {
                return self.settle(key);
            }
            match client.link.read(&mut self.buffer) {
                Ok(ReadOutcome::Bytes(length)) => {
                    let mut out = std::mem::take(&mut self.out);
                    client.connection.receive(&self.buffer[..length], &self.options, self.eye.now, &mut out);
                    let is_gone =
                        !out.is_empty() && client.write_kept(&out, self.eye.now, &mut self.totals) == Sent::Gone;
                    out.clear();
                    self.out = out;
                    if is_gone {
                        return self.remove(key);
                    }
                }
                Ok(ReadOutcome::Blocked) => return self.settle(key),
                // A request may end with its sender's side; what waits for it is still sent.
                Ok(ReadOutcome::End) if client.outbox.is_blocked() && client.kind == Kind::Http => {
                    client.ended = true;
                    return self.settle(key);
                }
                Ok(ReadOutcome::End) | Err(_) => return self.remove(key),
            }
        }
        self.settle(key);
        self.attend_later(key);
    }

    fn writable(&mut self, key: u32) {
        let Some(client) = self.clients.get_mut(key).filter(|client| client.outbox.is_blocked()) else { return };
        match client.flush(self.eye.now, &mut self.totals) {
            Ok(Sent::All) => {
                self.catch_up(key);
                self.catch_up_books(key);
                self.attend_later(key);
            }
            Ok(_) => {}
            Err(_) => self.remove(key),
        }
    }

    /// After anything happened to a client: ends what is said, arms its next time-out.
    fn settle(&mut self, key: u32) {
        let now = self.eye.now;
        let Some(client) = self.clients.get_mut(key) else { return };
        client.listens = client.connection.is_listening();
        if client.connection.is_done() && !client.outbox.is_blocked() {
            if client.ended {
                return self.remove(key);
            }
            client.link.finish_writing();
            client.connection.sent_all(&self.options, now);
        }
        if let Some(at) = client.deadline(&self.options).filter(|at| *at < client.chore_at) {
            client.chore_at = at;
            self.chores.arm(at, Call { key, generation: client.generation });
        }
    }

    fn chores(&mut self) {
        let mut due = Vec::new();
        self.chores.take_due(self.eye.now, &mut due);
        for call in due {
            self.chore(call);
        }
    }

    fn chore(&mut self, call: Call) {
        let (key, now) = (call.key, self.eye.now);
        let Some(client) = self.clients.get_mut(key) else { return };
        if client.generation != call.generation || client.chore_at > now {
            return;
        }
        client.chore_at = UNARMED;
        let gauges = &self.board.gateways[self.index];
        if let Some(since) = client.outbox.blocked_since() {
            if now.since(since) >= self.options.progress_within_ns {
                // One that was told before is counted already.
                self.totals.slow += u64::from(client.listens || client.kind == Kind::Http);
                client.link.forget_unsent();
                return self.remove(key);
            }
            return self.settle(key);
        }
        let was_done = client.connection.is_done();
        let mut out = std::mem::take(&mut self.out);
        let keep = client.connection.elapsed(&self.options, &self.extra, now, &mut out);
        let sent = if keep && !out.is_empty() { client.write_kept(&out, now, &mut self.totals) } else { Sent::All };
        if client.kind == Kind::Http && !was_done && (!keep || client.connection.is_done()) {
            gauges.http_bad.add(1);
        }
        out.clear();
        self.out = out;
        if !keep || sent == Sent::Gone { self.remove(key) } else { self.settle(key) }
    }

    fn remove(&mut self, key: u32) {
        let Some(mut client) = self.clients.remove(key) else { return };
        client.books.iter().for_each(|seat| self.shelf.leave(seat.watch, key));
        self.watched -= client.books.len() as u64;
        if client.is_probe {
            self.probes.retain(|probe| *probe != key);
        }
        self.totals.waiting = self.totals.waiting.saturating_sub(client.outbox.held());
        self.count_connections();
        client.link.deregister(self.poll.registry());
        if client.follows {
            self.followers.retain(|follower| *follower != key);
        }
        if let Some(bundle) = client.bundle {
            self.forget(&client, bundle);
            self.desk.leave(bundle, key);
            self.names_changed = true;
        }
        match client.kind {
            Kind::Http => {}
            Kind::Socket => self.sockets -= 1,
            Kind::Stream => self.streams -= 1,
        }
    }

    /// Its pairs no longer count.
    fn forget(&mut self, client: &Client, bundle: u32) {
        if client.kind == Kind::Socket {
            self.pairs -= self.desk.bundle(bundle).map_or(0, |b| b.pairs() as u64);
        }
    }

    fn remove_gone(&mut self) {
        while let Some(key) = self.gone.pop() {
            self.remove(key);
        }
    }

    // Gauges.

    fn survey(&mut self) {
        let now = self.eye.now;
        let gauges = &self.board.gateways[self.index];
        for (counter, total) in [
            (&gauges.prices_sent, &mut self.totals.prices),
            (&gauges.alerts_sent, &mut self.totals.alerts),
            (&gauges.opportunities_sent, &mut self.totals.opportunities),
            (&gauges.bytes_sent, &mut self.totals.bytes),
            (&gauges.outbox_conflated, &mut self.totals.conflated),
            (&gauges.books_sent, &mut self.totals.books),
            (&gauges.books_conflated, &mut self.totals.books_conflated),
            (&gauges.slow_closed, &mut self.totals.slow),
        ] {
            counter.add(std::mem::take(total));
        }
        gauges.outbox_bytes.set(self.totals.waiting as u64);
        gauges.websocket_clients.set(self.sockets as u64);
        gauges.sse_clients.set(self.streams as u64);
        gauges.followers.set(self.followers.len() as u64);
        gauges.subscriptions.set(self.pairs);
        gauges.books_watched.set(self.watched);
        gauges.symbols.set(self.desk.symbols.len() as u64);
        gauges.exchanges.set(self.desk.exchanges.len() as u64);
        gauges.sse_pairs.set(self.desk.pairs.len() as u64);
        self.recorder.publish(&self.board.latency, now);
    }

    /// Gives memory back to the system when most of what clients took is free again.
    fn give_back(&mut self) {
        let taken = self.desk.size() + self.clients.len() * CLIENT_BYTES;
        self.taken_most = self.taken_most.max(taken);
        // Once is enough for many that leave together: after the last of them.
        let is_falling = taken < std::mem::replace(&mut self.taken_last, taken);
        if self.taken_most > GIVEN_BACK_MIN + 2 * taken && !is_falling && self.eye.now >= self.give_back_at {
            (self.taken_most, self.give_back_at) = (taken, self.eye.now.plus(GIVE_BACK_NS));
            os::give_back_memory();
        }
    }

    /// What responses say about where numbers come from.
    fn look_around(&mut self) {
        if self.survey_at > self.eye.now && !self.extra.is_empty() {
            return;
        }
        self.survey_at = self.eye.now.plus(SURVEY_NS);
        self.give_back();
        if std::mem::take(&mut self.names_changed) && self.board.gateways.len() > 1 {
            let gauges = &self.board.gateways[self.index];
            for (names, told) in [
                (&self.desk.pairs, &gauges.stream_pairs),
                (&self.desk.symbols, &gauges.symbol_names),
                (&self.desk.exchanges, &gauges.exchange_names),
            ] {
                told.store(Some(Arc::new(names.texts().map(str::to_owned).collect())));
            }
        }
        let sources = routes::sources(&self.board, &self.directory);
        self.extra = format!(
            "Server: spreadwire\r\nX-Spreadwire-Source: {sources}\r\nX-Content-Type-Options: nosniff\r\n\
             Access-Control-Allow-Origin: *\r\nAccess-Control-Expose-Headers: X-Spreadwire-Source, ETag, Retry-After\r\n"
        );
    }

    /// Looks at all prices, for a page that somebody asks for; costs a scan, so not for every one.
    fn survey_prices(&mut self) {
        if self.known_until > self.eye.now {
            return;
        }
        self.known_until = self.eye.now.plus(KNOWN_NS);
        routes::survey_prices(&self.directory, &self.eye.view(), &mut self.known);
        let look = Look { table: &self.books, directory: &self.directory, view: self.eye.view() };
        look.survey(&mut self.known_books);
    }

    /// Says goodbye to everybody: a close frame with 1001 for WebSockets, the end for others.
    fn dismiss(&mut self) {
        for event in self.ledger.last_ends(self.eye.now) {
            self.record(&event);
        }
        for key in self.clients.keys() {
            let Some(client) = self.clients.get_mut(key) else { continue };
            let mut out = Vec::new();
            client.connection.close(1001, "going away", self.eye.now, &mut out);
            if client.write_kept(&out, self.eye.now, &mut self.totals) == Sent::Gone {
                self.remove(key);
            } else if !client.outbox.is_blocked() {
                client.link.finish_writing();
            }
        }
    }

    /// Waits until everybody has what is owed and has left.
    fn flush_until(&mut self, end: MonoNs) {
        while !self.clients.is_empty() && self.eye.machine.now() < end {
            let Some(mut events) = self.events.take() else { return };
            let left = Duration::from_nanos(end.since(self.eye.machine.now()));
            let polled = self.poll.poll(&mut events, Some(left.min(Duration::from_millis(20))));
            self.eye.look(&self.clock);
            for key in self.clients.keys() {
                self.part(key);
            }
            self.events = Some(events);
            if polled.is_err() {
                return;
            }
        }
    }

    fn part(&mut self, key: u32) {
        let Some(client) = self.clients.get_mut(key) else { return };
        if client.outbox.is_blocked() {
            match client.flush(self.eye.now, &mut self.totals) {
                Ok(Sent::All) => client.link.finish_writing(),
                Ok(_) => return,
                Err(_) => return self.remove(key),
            }
        }
        loop {
            match client.link.read(&mut self.buffer) {
                Ok(ReadOutcome::Bytes(_)) => {}
                Ok(ReadOutcome::Blocked) => return,
                Ok(ReadOutcome::End) | Err(_) => return self.remove(key),
            }
        }
    }
}

fn reserve() -> Option<File> {
    File::open("/dev/null").ok()
}

impl Stage for Gateway {
    fn name(&self) -> &str {
        &self.name
    }

    fn turn(&mut self, wait: Duration) -> usize {
        let Some(events) = self.poll(wait) else { return 0 };
        self.eye.look(&self.clock);
        self.desk.begin_turn();
        self.look_around();
        self.look_at_set();
        let mut work = self.deliver_alerts() + self.deliver_changes();
        work += self.sockets_ready(&events);
        self.events = Some(events);
        work += self.answer_admin() + self.accept();
        work += self.deliver_alerts() + self.deliver_changes();
        work += self.deliver_beats();
        work += self.deliver_books();
        self.tell_stale();
        self.chores();
        self.remove_gone();
        self.relieve();
        self.survey();
        work
    }

    fn poll_fd(&self) -> Option<RawFd> {
        Some(self.poll.as_raw_fd())
    }

    fn patience(&self) -> Option<Duration> {
        Some(self.sleep(WAIT_MAX))
    }

    fn slept(&self) -> Option<Sleep> {
        Some(self.slept)
    }

    fn finish(&mut self) {
        self.eye.look(&self.clock);
        if let Some(mut listener) = self.listener.take() {
            listener.deregister(self.poll.registry());
        }
        self.dismiss();
        self.flush_until(self.eye.now.plus(SECOND));
        self.survey();
    }
}
