//! All clients of a gateway: the slab that holds them, their timeouts, the queue of those with input, and the totals of
//! what is written. A part that finds a connection broken calls [`Clients::discard`]: the client is invisible from then
//! on, and the stage removes it from every part. Runs on the gateway's thread.

use std::collections::VecDeque;

use crate::gateway::client::{Client, ClientKind, Sent, UNARMED};
use crate::gateway::slab::Slab;
use crate::gateway::timers::{ClientId, Timers};
use crate::gateway::totals::Totals;
use crate::gateway::transport::Transport;
use crate::gateway::view::Snapshot;
use crate::net::listen::Admission;
use crate::protocol::request::RequestError;
use crate::time::{MS, MonoNs};

/// Slots of a timer wheel.
pub(crate) const WHEEL_SLOTS: usize = 512;
/// Resolution of timeouts.
const TIMEOUT_TICK_NS: u64 = 100 * MS;
/// Connections accepted above the limits, for liveness and readiness checks.
pub(crate) const PROBES_MAX: usize = 16;

/// See the file's head.
pub struct Clients {
    slab: Slab<Client>,
    timeouts: Timers,
    /// Clients accepted above the limits, the oldest first.
    probes: VecDeque<u32>,
    generation: u32,
    sockets: usize,
    streams: usize,
    /// Clients with input to read or to answer, each once; the longest waiting first.
    ready: VecDeque<ClientId>,
    /// Clients to be removed.
    gone: Vec<u32>,
    /// Counts of what is written.
    pub(crate) totals: Totals,
}

impl Clients {
    /// No clients.
    #[must_use]
    pub fn new(now: MonoNs) -> Self {
        Self {
            slab: Slab::default(),
            timeouts: Timers::new(WHEEL_SLOTS, TIMEOUT_TICK_NS, now),
            probes: VecDeque::new(),
            generation: 0,
            sockets: 0,
            streams: 0,
            ready: VecDeque::new(),
            gone: Vec::new(),
            totals: Totals::default(),
        }
    }

    /// The client of a key.
    #[inline]
    #[must_use]
    pub fn get(&self, key: u32) -> Option<&Client> {
        self.slab.get(key).filter(|client| !client.is_gone)
    }

    /// The client of a key.
    #[inline]
    pub fn get_mut(&mut self, key: u32) -> Option<&mut Client> {
        self.slab.get_mut(key).filter(|client| !client.is_gone)
    }

    /// The client of a key, and the totals to write with.
    #[inline]
    pub fn entry(&mut self, key: u32) -> Option<(&mut Client, &mut Totals)> {
        let client = self.slab.get_mut(key).filter(|client| !client.is_gone)?;
        Some((client, &mut self.totals))
    }

    /// Whether `id` is still connected.
    #[must_use]
    pub fn holds(&self, id: ClientId) -> bool {
        self.get(id.key).is_some_and(|client| client.id == id)
    }

    /// The keys of all clients.
    #[must_use]
    pub fn keys(&self) -> Vec<u32> {
        self.slab.keys()
    }

    /// Number of clients, probes included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slab.len()
    }

    /// Whether there is no client.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slab.is_empty()
    }

    /// Number of clients within the limits.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.slab.len() - self.probes.len()
    }

    /// Number of streams.
    #[must_use]
    pub(crate) fn streams(&self) -> usize {
        self.streams
    }

    /// Adds a client; `is_probe` if it is above the limits. Returns its key.
    pub fn insert(
        &mut self,
        transport: Transport,
        admission: Option<Admission>,
        is_probe: bool,
        snapshot: &Snapshot<'_>,
    ) -> u32 {
        self.generation = self.generation.wrapping_add(1);
        let id = ClientId { key: 0, generation: self.generation };
        let client = Client::new(transport, id, admission, is_probe, &snapshot.settings.gateway, snapshot.client_now);
        let key = self.slab.insert(client);
        if let Some(client) = self.slab.get_mut(key) {
            client.id.key = key;
        }
        if is_probe {
            // The oldest makes room: most likely one that asks for nothing.
            if self.probes.len() >= PROBES_MAX
                && let Some(oldest) = self.probes.front().copied()
            {
                self.discard(oldest);
            }
            self.probes.push_back(key);
        }
        key
    }

    /// The client is a WebSocket from now on.
    pub(crate) fn set_socket(&mut self, key: u32) {
        let Some(client) = self.get_mut(key) else { return };
        client.kind = ClientKind::Socket;
        self.sockets += 1;
    }

    /// The client is a stream from now on.
    pub(crate) fn set_stream(&mut self, key: u32) {
        let Some(client) = self.get_mut(key) else { return };
        client.kind = ClientKind::Stream;
        client.listens = true;
        self.streams += 1;
    }

    /// Closes a client: it is invisible from now on, until [`Self::take_gone`] removes it.
    pub(crate) fn discard(&mut self, key: u32) {
        let Some((client, totals)) = self.entry(key) else { return };
        client.is_gone = true;
        totals.waiting = totals.waiting.saturating_sub(client.outbox.held());
        let (kind, is_probe) = (client.kind, client.is_probe);
        if is_probe {
            self.probes.retain(|probe| *probe != key);
        }
        match kind {
            ClientKind::Http => {}
            ClientKind::Socket => self.sockets -= 1,
            ClientKind::Stream => self.streams -= 1,
        }
        self.gone.push(key);
    }

    /// Removes and returns a discarded client.
    pub(crate) fn take_gone(&mut self) -> Option<Client> {
        self.slab.remove(self.gone.pop()?)
    }

    // Input.

    /// Queues a client that may have input to read or to answer.
    pub fn queue(&mut self, key: u32) {
        let Some(client) = self.get_mut(key).filter(|client| !client.is_queued) else { return };
        client.is_queued = true;
        let id = client.id;
        self.ready.push_back(id);
    }

    /// Length of the queue. May count clients that have disconnected.
    #[must_use]
    pub(crate) fn queued(&self) -> usize {
        self.ready.len()
    }

    /// Takes the first of the queue; `None` within if it has disconnected.
    pub(crate) fn next_queued(&mut self) -> Option<Option<u32>> {
        let id = self.ready.pop_front()?;
        let client = self.get_mut(id.key).filter(|client| client.id == id);
        Some(client.map(|client| {
            client.is_queued = false;
            id.key
        }))
    }

    // Output.

    /// Writes a message that must not be lost, see [`Client::write_queued`]. `false` if the client is gone.
    pub fn write(&mut self, key: u32, bytes: &[u8], now: MonoNs) -> bool {
        let Some((client, totals)) = self.entry(key) else { return false };
        let is_gone = !bytes.is_empty() && client.write_queued(bytes, now, totals) == Sent::Gone;
        if is_gone {
            self.discard(key);
        }
        !is_gone
    }

    /// Sends a message to a client that listens, see [`Client::deliver`]. `true` if the kernel has all of it.
    pub fn deliver(&mut self, key: u32, frame: &[u8], snapshot: &Snapshot<'_>) -> bool {
        let Some((client, totals)) = self.entry(key) else { return false };
        let sent = client.deliver(frame, &snapshot.settings.gateway, snapshot.client_now, totals);
        if sent == Sent::Gone {
            self.discard(key);
        }
        sent == Sent::All
    }

    /// Sends an error message. A client with too many errors is closed.
    pub(crate) fn reject(&mut self, key: u32, error: &RequestError, snapshot: &Snapshot<'_>) {
        let (gauges, now) = (snapshot.gauges(), snapshot.client_now);
        let Some(client) = self.get_mut(key) else { return };
        let mut out = Vec::new();
        let is_closed = client.connection.mistake(error, now, &mut out);
        gauges.clients.errors.add(1);
        if is_closed {
            gauges.clients.misbehaved_closed.add(1);
        }
        self.write(key, &out, now);
    }

    /// What follows a write to one client.
    pub(crate) fn after_write(&mut self, key: u32, sent: Sent, snapshot: &Snapshot<'_>) {
        match sent {
            Sent::All => {}
            Sent::Partly => self.settle(key, snapshot),
            Sent::Gone => self.discard(key),
        }
    }

    // Timeouts.

    /// Call this after any change of a client: closes its sending side if nothing more will be sent, and arms its next
    /// timeout.
    pub fn settle(&mut self, key: u32, snapshot: &Snapshot<'_>) {
        let (options, now) = (&snapshot.settings.gateway, snapshot.client_now);
        let Some(client) = self.slab.get_mut(key).filter(|client| !client.is_gone) else { return };
        client.listens = client.connection.is_listening();
        if client.connection.is_done() && !client.outbox.is_blocked() {
            if client.ended {
                return self.discard(key);
            }
            client.transport.finish_writing();
            client.connection.sent_all(now);
        }
        if let Some(at) = client.deadline(options).filter(|at| *at < client.timeout_at) {
            client.timeout_at = at;
            self.timeouts.arm(at, client.id);
        }
    }

    /// Settles the clients that blocked while many were written to, and enforces the limit on what waits.
    pub(crate) fn settle_blocked(&mut self, snapshot: &Snapshot<'_>) {
        let is_new = |client: &Client| client.outbox.blocked_since() == Some(snapshot.client_now);
        let keys: Vec<u32> = self.slab.iter().filter(|(_, client)| is_new(client)).map(|(key, _)| key).collect();
        for key in keys {
            self.settle(key, snapshot);
        }
        self.limit_waiting(snapshot);
    }

    /// When the next timeout may be due.
    #[must_use]
    pub(crate) fn next_timeout(&self) -> Option<MonoNs> {
        self.timeouts.next()
    }

    /// Takes the clients whose timeout is due.
    pub(crate) fn take_timeouts(&mut self, now: MonoNs) -> Vec<u32> {
        let mut due = Vec::new();
        self.timeouts.take_due(now, &mut due);
        let take = |id: ClientId| {
            let client = self.get_mut(id.key).filter(|client| client.id == id && client.timeout_at <= now)?;
            client.timeout_at = UNARMED;
            Some(id.key)
        };
        due.into_iter().filter_map(take).collect()
    }

    /// Handles the timeout of a client. `headers` are the header lines of every response.
    pub(crate) fn time_out(&mut self, key: u32, headers: &str, out: &mut Vec<u8>, snapshot: &Snapshot<'_>) {
        let (options, now) = (&snapshot.settings.gateway, snapshot.client_now);
        let Some((client, totals)) = self.entry(key) else { return };
        if let Some(since) = client.outbox.blocked_since() {
            if now.since(since) >= options.write_stall_ms * MS {
                totals.slow += u64::from(client.counts_as_slow());
                client.transport.forget_unsent();
                return self.discard(key);
            }
            return self.settle(key, snapshot);
        }
        let was_done = client.connection.is_done();
        out.clear();
        let is_open = client.connection.elapsed(options, headers, now, out);
        let sent = if is_open && !out.is_empty() { client.write_queued(out, now, totals) } else { Sent::All };
        if client.kind == ClientKind::Http && !was_done && (!is_open || client.connection.is_done()) {
            snapshot.gauges().http.bad.add(1);
        }
        if is_open && sent != Sent::Gone { self.settle(key, snapshot) } else { self.discard(key) }
    }

    // The limit on what waits.

    /// Closes the clients for which most waits, while more waits for all together than `outboxes_max`. Frees a quarter of
    /// that at once, so that the search is rare.
    pub(crate) fn limit_waiting(&mut self, snapshot: &Snapshot<'_>) {
        let most = snapshot.settings.gateway.waiting_bytes_max();
        if self.totals.waiting <= most {
            return;
        }
        let waits = self.slab.iter().filter(|(_, client)| !client.is_gone);
        let mut waits: Vec<(usize, u32)> = waits.map(|(key, client)| (client.outbox.held(), key)).collect();
        waits.retain(|(held, _)| *held > 0);
        waits.sort_unstable_by(|one, other| other.cmp(one));
        for (_, key) in waits {
            if self.totals.waiting <= most / 4 * 3 {
                break;
            }
            self.shed(key, snapshot);
        }
    }

    /// Closes a client that does not read and drops what waits for it. A WebSocket client is notified.
    fn shed(&mut self, key: u32, snapshot: &Snapshot<'_>) {
        let Some((client, totals)) = self.entry(key) else { return };
        if client.kind == ClientKind::Socket && client.listens {
            client.drop_waiting(totals);
            client.end_slow(snapshot.client_now, totals);
            return self.settle(key, snapshot);
        }
        totals.slow += u64::from(client.counts_as_slow());
        client.transport.forget_unsent();
        self.discard(key);
    }

    /// Updates the gauges of clients.
    pub fn publish(&mut self, snapshot: &Snapshot<'_>) {
        let gauges = snapshot.gauges();
        self.totals.publish(gauges);
        gauges.clients.websocket.set(self.sockets as u64);
        gauges.clients.sse.set(self.streams as u64);
    }

    /// Updates the gauge of connections, which the gateways of one process limit together.
    pub(crate) fn publish_connections(&self, snapshot: &Snapshot<'_>) {
        snapshot.gauges().clients.connections.set(self.connections() as u64);
    }
}
