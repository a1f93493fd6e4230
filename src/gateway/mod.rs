//! Stage: serves clients. Sends prices at the pace of each client and alerts at once. Runs on its own thread; several
//! gateways may listen on one address.
//!
//! In: changed cells (a bitmap), opportunity events (a ring), bytes of clients. Out: bytes for clients, gauges,
//! latencies. A client that does not read has its prices conflated and never delays another. The stage never blocks and
//! never writes the matrix; work that several clients share is done once.
//!
//! Each part owns its state: [`clients`] the connections, [`prices`], [`books`] and [`opportunities`] the subscriptions
//! to them ([`services`] is all three), [`http`] the pages, [`view`] what a turn reads. This file has the order of a turn.

pub mod accept;
pub mod books;
pub mod client;
pub mod clients;
pub mod connection;
pub mod http;
pub mod memory;
pub mod opportunities;
pub mod options;
pub mod outbox;
pub(crate) mod poller;
pub mod prices;
pub(crate) mod services;
pub(crate) mod set_changes;
pub(crate) mod slab;
pub(crate) mod timers;
pub(crate) mod totals;
pub mod transport;
pub mod view;
pub mod wanted;

use std::io;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::Duration;

use mio::{Events, Token};

use crate::gateway::accept::Acceptor;
use crate::gateway::books::deliver::Books;
use crate::gateway::client::{ClientKind, Sent};
use crate::gateway::clients::Clients;
use crate::gateway::connection::Ask;
use crate::gateway::http::admin::{AdminCalls, AdminPort};
use crate::gateway::http::respond::HttpResponder;
use crate::gateway::memory::MemoryUse;
use crate::gateway::opportunities::deliver::Opportunities;
use crate::gateway::poller::{LISTENER, Poller, WAKER};
use crate::gateway::prices::deliver::Prices;
use crate::gateway::prices::subscriptions::Subscriptions;
use crate::gateway::services::Services;
use crate::gateway::set_changes::SetChanges;
use crate::gateway::timers::ClientId;
use crate::gateway::transport::{LocalClient, Transport};
use crate::gateway::view::{Sources, View};
use crate::market::Directory;
use crate::market::opportunity::OpportunityEvent;
use crate::matrix::SharedMatrix;
use crate::matrix::books::BookTable;
use crate::matrix::changes::Changes;
use crate::matrix::days::DayTable;
use crate::metrics::Board;
use crate::metrics::latency::{Hop, Recorder};
use crate::net::ReadOutcome;
use crate::net::listen::Listener;
use crate::os;
use crate::stage::{Alarm, Sleep, Stage, WAIT_MAX};
use crate::time::{MS, MonoNs, SECOND};

pub(crate) use options::GatewayOptions;
pub use options::GatewaySettings;
pub use view::Clocks;

/// Connections accepted in one turn, so that many new ones do not delay others.
const ACCEPT_MAX: usize = 64;
/// The same in a turn whose time for requests is spent.
const ACCEPT_MIN: usize = 4;
/// Reads of one client in one turn.
const READS_MAX: usize = 4;
/// Bytes of one read.
const READ_BYTES: usize = 16 * 1024;
/// Requests of one client in one turn: pages, upgrades, subscriptions.
const ASKS_OF_ONE_MAX: usize = 4;
/// Requests of all clients in one turn.
const ASKS_MAX: usize = 64;
/// Time for requests in one turn. Prices wait at most this long, plus the request in progress.
const ASKS_NS: u64 = MS;
/// Bytes of a client in addition to its subscription, about.
const CLIENT_BYTES: usize = 4096;
/// How long clients have to receive what waits when the server stops.
const FINISH_NS: u64 = SECOND;

/// What a gateway is built from.
pub struct GatewayParts {
    /// Names.
    pub directory: Arc<Directory>,
    /// Quotes.
    pub matrix: SharedMatrix,
    /// Day statistics.
    pub days: Arc<DayTable>,
    /// Order books.
    pub books: Arc<BookTable>,
    /// Cells that changed since this gateway last looked.
    pub changes: Arc<Changes>,
    /// Events of the detector.
    pub opportunities: rtrb::Consumer<OpportunityEvent>,
    /// Counters and gauges.
    pub board: Arc<Board>,
    /// Index of this gateway on the board.
    pub index: usize,
    /// Clocks of quotes and of clients.
    pub clocks: Clocks,
    /// Sections of the configuration, and what the process decides.
    pub settings: GatewaySettings,
    /// Accepts clients; `None` for a gateway that has only local ones.
    pub listener: Option<Listener>,
    /// Receives admin calls, if they are enabled.
    pub admin: Option<AdminPort>,
}

/// Requests that may still be handled in this turn.
struct TurnBudget {
    left: usize,
    until: MonoNs,
}

/// The stage. See the file's head.
pub struct Gateway {
    name: String,
    view: View,
    poller: Poller,
    acceptor: Acceptor,
    clients: Clients,
    /// Clients in memory, which the poll does not report.
    local: Vec<ClientId>,
    services: Services,
    http: HttpResponder,
    budget: TurnBudget,
    memory: MemoryUse,
    buffer: Box<[u8]>,
    out: Vec<u8>,
}

impl Gateway {
    /// Builds the stage, and the alarm by which the detector wakes it.
    ///
    /// # Errors
    /// If the system provides no poll.
    pub fn new(parts: GatewayParts) -> io::Result<(Self, Alarm)> {
        let GatewayParts { directory, matrix, days, books, changes, opportunities, board, .. } = parts;
        let GatewayParts { index, clocks, settings, listener, admin, .. } = parts;
        let now = clocks.clients.now();
        let poller = Poller::new()?;
        let mut acceptor = Acceptor::new(listener, now);
        acceptor.register(poller.registry(), LISTENER)?;
        let alarm = poller.alarm().clone();
        let limits = (settings.gateway.client_bytes_max, settings.gateway.prices_bytes_max());
        let subscriptions =
            Subscriptions::new(Arc::clone(&directory), Arc::clone(&changes), &settings.price_order, limits);
        let hops = [Hop::WireToPrice, Hop::WireToAlert];
        let services = Services::new(
            Prices::new(subscriptions, changes, now),
            Books::new(now),
            Opportunities::new(opportunities),
            SetChanges::since(&directory),
            Recorder::new(directory.columns(), directory.venues().len(), &hops),
        );
        let gateway = Self {
            name: format!("gateway-{}", index + 1),
            view: View::new(Sources { settings, directory, matrix, days, books, board, index, clocks }),
            acceptor,
            clients: Clients::new(now),
            local: Vec::new(),
            services,
            http: HttpResponder::new(admin.map(|port| AdminCalls::new(port, alarm.clone())), now),
            budget: TurnBudget { left: ASKS_MAX, until: now },
            memory: MemoryUse::new(now),
            buffer: vec![0; READ_BYTES].into(),
            out: Vec::with_capacity(4096),
            poller,
        };
        Ok((gateway, alarm))
    }

    /// How long to sleep in the poll: until the next deadline, at most `wait`.
    fn sleep(&self, wait: Duration) -> Duration {
        let now = self.view.client_clock_now();
        let accept = self.acceptor.deadline();
        let is_busy = self.poller.is_full()
            || self.clients.queued() > 0
            || self.services.is_busy()
            || accept.is_some_and(|at| at <= now);
        if is_busy || wait.is_zero() {
            return Duration::ZERO;
        }
        let (prices, books) = (self.services.prices.deadline(), self.services.books.deadline());
        let next = [self.clients.next_timeout(), prices, books, accept].into_iter().flatten().min();
        next.map_or(wait, |at| wait.min(Duration::from_nanos(at.since(now))))
    }

    fn poll(&mut self, wait: Duration) -> Option<Events> {
        let timeout = self.sleep(wait);
        let Self { poller, view, services, http, .. } = self;
        let has_work =
            || services.prices.has_changes() || services.opportunities.has_events() || http.has_admin_response();
        poller.wait(timeout, view.client_clock(), has_work)
    }

    // Accepting.

    fn accept(&mut self) -> usize {
        for count in 0..ACCEPT_MAX {
            if count >= ACCEPT_MIN && self.is_spent() {
                return count;
            }
            let Some(link) = self.acceptor.accept(&self.name, &self.view.snapshot()) else { return count };
            self.admit(Transport::Socket(link));
            self.remove_gone();
        }
        ACCEPT_MAX
    }

    /// Connects a client in memory: for a stage that is turned by hand, since nothing wakes it for such a client. The client
    /// has at most `capacity` unread bytes; further ones wait in the gateway.
    pub fn connect(&mut self, capacity: usize) -> LocalClient {
        let (client, transport) = LocalClient::new(capacity);
        if let Some(id) = self.admit(transport) {
            self.local.push(id);
        }
        self.remove_gone();
        client
    }

    fn admit(&mut self, transport: Transport) -> Option<ClientId> {
        let snapshot = self.view.snapshot();
        // The limit is for all gateways together: which of them accepts a connection is random.
        let open: u64 = snapshot.board.gateways.iter().map(|gateway| gateway.clients.connections.value()).sum();
        let admission = snapshot.settings.addresses.enter(transport.peer());
        let is_probe = open >= snapshot.settings.gateway.clients_max as u64 || admission.is_none();
        let gauges = snapshot.gauges();
        if is_probe {
            gauges.clients.refused.add(1)
        } else {
            gauges.clients.accepted.add(1)
        }
        let key = self.clients.insert(transport, admission, is_probe, &snapshot);
        let client = self.clients.get_mut(key)?;
        let id = client.id;
        let is_registered = client.transport.register(self.poller.registry(), Token(key as usize)).is_ok();
        self.clients.publish_connections(&snapshot);
        if is_registered {
            self.clients.settle(key, &snapshot)
        } else {
            self.clients.discard(key)
        }
        Some(id)
    }

    /// Removes the clients that were discarded from every part.
    fn remove_gone(&mut self) {
        while let Some(mut client) = self.clients.take_gone() {
            client.transport.deregister(self.poller.registry());
            self.services.remove(&client);
            self.clients.publish_connections(&self.view.snapshot());
        }
    }

    // Sockets.

    fn handle_sockets(&mut self, events: &Events) -> usize {
        let mut work = 0;
        self.budget = TurnBudget { left: ASKS_MAX, until: self.view.client_clock_now().plus(ASKS_NS) };
        for event in events {
            work += 1;
            match event.token() {
                LISTENER => self.acceptor.set_ready(),
                WAKER => {}
                Token(key) => {
                    let key = key as u32;
                    if event.is_writable() {
                        self.writable(key);
                    }
                    if event.is_readable() || event.is_read_closed() || event.is_error() {
                        self.clients.queue(key);
                    }
                }
            }
        }
        work += self.handle_local();
        // A client with more requests continues in the next turn.
        for _ in 0..self.clients.queued() {
            if self.is_spent() {
                break;
            }
            let Some(key) = self.clients.next_queued() else { break };
            work += 1;
            if let Some(key) = key {
                self.attend(key);
                self.remove_gone();
            }
        }
        work
    }

    /// What the poll does for sockets.
    fn handle_local(&mut self) -> usize {
        let mut work = 0;
        let clients = &self.clients;
        self.local.retain(|id| clients.holds(*id));
        for at in 0..self.local.len() {
            let ClientId { key, .. } = self.local[at];
            let Some(client) = self.clients.get_mut(key) else { continue };
            let (has_input, has_room) = client.transport.take_events();
            work += usize::from(has_input) + usize::from(has_room);
            if has_room {
                self.writable(key);
            }
            if has_input {
                self.clients.queue(key);
            }
        }
        work
    }

    /// Whether the requests of this turn have used their share of it.
    fn is_spent(&self) -> bool {
        self.budget.left == 0 || self.view.client_clock_now() > self.budget.until
    }

    fn writable(&mut self, key: u32) {
        let snapshot = self.view.snapshot();
        let Some((client, totals)) = self.clients.entry(key) else { return };
        if !client.outbox.is_blocked() {
            return;
        }
        match client.flush(snapshot.client_now, totals) {
            Ok(Sent::All) => {
                self.services.catch_up(key, &mut self.clients, &snapshot);
                self.clients.queue(key);
            }
            Ok(_) => {}
            Err(_) => self.clients.discard(key),
        }
        self.remove_gone();
    }

    /// Handles the requests of a client and reads further ones, within its share of this turn.
    fn attend(&mut self, key: u32) {
        let mut asks = ASKS_OF_ONE_MAX;
        for _ in 0..READS_MAX {
            // What an earlier turn read precedes.
            if !self.handle_requests(key, &mut asks) {
                break;
            }
            let snapshot = self.view.snapshot();
            let Some(client) = self.clients.get_mut(key) else { return };
            let is_waiting = client.kind == ClientKind::Http && client.outbox.is_blocked();
            if is_waiting || !client.ended && !client.connection.wants_bytes(&snapshot.settings.gateway) {
                return self.clients.settle(key, &snapshot);
            }
            if client.ended {
                return self.clients.discard(key);
            }
            match client.transport.read(&mut self.buffer) {
                Ok(ReadOutcome::Bytes(length)) => {
                    self.out.clear();
                    let bytes = &self.buffer[..length];
                    client.connection.receive(bytes, &snapshot.settings.gateway, snapshot.client_now, &mut self.out);
                    if !self.clients.write(key, &self.out, snapshot.client_now) {
                        return;
                    }
                }
                Ok(ReadOutcome::Blocked) => return self.clients.settle(key, &snapshot),
                // The sender of a request may close its side; the response is still sent.
                Ok(ReadOutcome::End) if client.outbox.is_blocked() && client.kind == ClientKind::Http => {
                    client.ended = true;
                    return self.clients.settle(key, &snapshot);
                }
                Ok(ReadOutcome::End) | Err(_) => return self.clients.discard(key),
            }
        }
        self.clients.settle(key, &self.view.snapshot());
        self.clients.queue(key);
    }

    /// Handles the requests in the received bytes of a client, at most `asks` and as many as this turn has left. `true` if
    /// none is left, or none can be handled now.
    fn handle_requests(&mut self, key: u32, asks: &mut usize) -> bool {
        loop {
            if *asks == 0 || self.is_spent() {
                return false;
            }
            let snapshot = self.view.snapshot();
            let (options, now) = (&snapshot.settings.gateway, snapshot.client_now);
            let Some((client, totals)) = self.clients.entry(key) else { return true };
            self.out.clear();
            let waits = client.kind == ClientKind::Http && client.outbox.is_blocked();
            let ask =
                if waits { None } else { client.connection.next(options, self.http.headers(), now, &mut self.out) };
            client.listens = client.connection.is_listening();
            let sent = if self.out.is_empty() { Sent::All } else { client.write_queued(&self.out, now, totals) };
            let is_too_slow =
                client.kind == ClientKind::Socket && client.outbox.waiting() > 2 * options.outbox_max_bytes;
            if sent == Sent::Gone || is_too_slow {
                client.transport.forget_unsent();
                totals.slow += u64::from(is_too_slow);
                self.clients.discard(key);
                return true;
            }
            let Some(ask) = ask else { return true };
            *asks -= 1;
            self.budget.left = self.budget.left.saturating_sub(1);
            self.handle(key, ask);
        }
    }

    fn handle(&mut self, key: u32, ask: Ask) {
        let Self { view, clients, services, http, .. } = self;
        let snapshot = &view.snapshot();
        let gauges = snapshot.gauges();
        match ask {
            Ask::Request(request) => {
                gauges.http.requests.add(1);
                http.answer(key, &request, clients, services, snapshot);
            }
            Ask::Opened => clients.set_socket(key),
            Ask::Command(command) => services.apply(key, &command, clients, snapshot),
            Ask::Mistaken => gauges.clients.errors.add(1),
            Ask::Misbehaved => gauges.clients.misbehaved_closed.add(1),
            Ask::Refused => gauges.http.bad.add(1),
        }
    }

    // The other parts of a turn.

    /// What is updated a few times per second.
    fn refresh(&mut self) {
        let snapshot = self.view.snapshot();
        if self.http.refresh_headers(&snapshot) {
            let subscribed = self.services.prices.subscriptions.size() + self.services.books.size();
            let bytes = subscribed + self.clients.len() * CLIENT_BYTES;
            if self.memory.should_release(bytes, snapshot.client_now) {
                os::give_back_memory();
            }
            self.services.publish_names(&snapshot);
        }
        self.services.refresh_set(&mut self.clients, &snapshot);
        self.remove_gone();
    }

    /// Alerts and prices that are sent at once.
    fn deliver_urgent(&mut self) -> usize {
        let Self { view, clients, services, .. } = self;
        let snapshot = view.snapshot();
        let work = services.deliver_events(clients, &snapshot) + services.deliver_changes(clients, &snapshot);
        self.remove_gone();
        work
    }

    /// Bursts and order books.
    fn deliver_due(&mut self) -> usize {
        let Self { view, clients, services, .. } = self;
        let snapshot = view.snapshot();
        let mut work = services.deliver_bursts(clients, &snapshot);
        self.remove_gone();
        let Self { view, clients, services, .. } = self;
        let snapshot = view.snapshot();
        work += services.books.deliver(clients, &snapshot);
        services.prices.notify_stale(clients, &snapshot);
        self.remove_gone();
        work
    }

    fn time_out(&mut self) {
        let Self { view, clients, http, out, .. } = self;
        let snapshot = view.snapshot();
        for key in clients.take_timeouts(snapshot.client_now) {
            clients.time_out(key, http.headers(), out, &snapshot);
        }
        clients.limit_waiting(&snapshot);
        self.remove_gone();
    }

    fn publish(&mut self) {
        self.services.publish(&mut self.clients, &self.view.snapshot());
    }

    // Stopping.

    /// Closes all connections: WebSockets with 1001, others by their end.
    fn close_all(&mut self) {
        let Self { view, clients, services, .. } = self;
        let snapshot = view.snapshot();
        services.close_opportunities(clients, &snapshot);
        for key in clients.keys() {
            let Some((client, totals)) = clients.entry(key) else { continue };
            let mut out = Vec::new();
            client.connection.close(1001, "going away", snapshot.client_now, &mut out);
            if client.write_queued(&out, snapshot.client_now, totals) == Sent::Gone {
                clients.discard(key);
            } else if !client.outbox.is_blocked() {
                client.transport.finish_writing();
            }
        }
        self.remove_gone();
    }

    /// Waits until all clients have received what waits and have left.
    fn flush_until(&mut self, end: MonoNs) {
        while !self.clients.is_empty() && self.view.client_clock_now() < end {
            let left = Duration::from_nanos(end.since(self.view.client_clock_now()));
            let is_polled = self.poller.pause(left.min(Duration::from_millis(20)));
            self.view.refresh();
            for key in self.clients.keys() {
                self.flush(key);
            }
            self.remove_gone();
            if !is_polled {
                return;
            }
        }
    }

    fn flush(&mut self, key: u32) {
        let now = self.view.snapshot().client_now;
        let Some((client, totals)) = self.clients.entry(key) else { return };
        if client.outbox.is_blocked() {
            match client.flush(now, totals) {
                Ok(Sent::All) => client.transport.finish_writing(),
                Ok(_) => return,
                Err(_) => return self.clients.discard(key),
            }
        }
        loop {
            match client.transport.read(&mut self.buffer) {
                Ok(ReadOutcome::Bytes(_)) => {}
                Ok(ReadOutcome::Blocked) => return,
                Ok(ReadOutcome::End) | Err(_) => return self.clients.discard(key),
            }
        }
    }
}

impl Stage for Gateway {
    fn name(&self) -> &str {
        &self.name
    }

    fn turn(&mut self, wait: Duration) -> usize {
        let Some(events) = self.poll(wait) else { return 0 };
        self.view.refresh();
        self.services.prices.subscriptions.begin_turn();
        self.refresh();
        let mut work = self.deliver_urgent();
        work += self.handle_sockets(&events);
        self.poller.restore(events);
        work += self.http.answer_admin(&mut self.clients, &self.view.snapshot());
        work += self.accept();
        work += self.deliver_urgent();
        work += self.deliver_due();
        self.time_out();
        self.publish();
        work
    }

    fn poll_fd(&self) -> Option<RawFd> {
        Some(self.poller.fd())
    }

    fn patience(&self) -> Option<Duration> {
        Some(self.sleep(WAIT_MAX))
    }

    fn slept(&self) -> Option<Sleep> {
        Some(self.poller.slept())
    }

    fn finish(&mut self) {
        self.view.refresh();
        self.acceptor.close(self.poller.registry());
        self.close_all();
        self.flush_until(self.view.snapshot().client_now.plus(FINISH_NS));
        self.publish();
    }
}
