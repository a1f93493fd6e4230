//! One client: [`Connection`] and [`Outbox`], which do no I/O, its subscriptions, and the only functions
//! that write to a client. Runs on the gateway's thread.

use std::io;

use crate::gateway::books::watches::WatchedBook;
use crate::gateway::connection::Connection;
use crate::gateway::opportunities::demand::ProofDemand;
use crate::gateway::options::GatewayOptions;
use crate::gateway::outbox::{IndexSet, Outbox};
use crate::gateway::timers::ClientId;
use crate::gateway::totals::Totals;
use crate::gateway::transport::Transport;
use crate::net::listen::Admission;
use crate::protocol::message;
use crate::time::{MS, MonoNs};
use crate::wire::websocket::frame_text;

/// The time of a timer that is not armed.
pub(crate) const UNARMED: MonoNs = MonoNs(u64::MAX);

/// Result of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// The kernel has all bytes.
    All,
    /// The rest waits in the outbox, or was dropped.
    Partly,
    /// The connection is broken.
    Gone,
}

/// Protocol of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientKind {
    /// HTTP requests.
    Http,
    /// A WebSocket.
    Socket,
    /// A stream of server-sent events.
    Stream,
}

/// A client's prices.
#[derive(Default)]
pub struct ClientPrices {
    /// Its subscription set; `None` without a subscription.
    pub set: Option<u32>,
    /// Receives extended messages.
    pub extended: bool,
    /// Nanoseconds between two bursts; `None`: the client receives every change.
    pub interval: Option<u64>,
    /// When the next burst is due; [`UNARMED`] if its timer is not armed.
    pub(crate) burst_at: MonoNs,
    /// Prices sent since the last burst, which the next one leaves out.
    pub(crate) skipped: Option<Box<IndexSet>>,
}

/// A client's opportunities.
#[derive(Default)]
pub struct ClientOpportunities {
    /// Receives the opening, updates and end of each opportunity.
    pub follows: bool,
    /// The last event of the log whose update was sent, by number.
    pub sent: u64,
    /// The weakest proof of its alerts and opportunities.
    pub(crate) demand: ProofDemand,
}

/// A client's order books.
#[derive(Default)]
pub struct ClientBooks {
    /// The books that it watches.
    pub(crate) watched: Vec<WatchedBook>,
    /// One of them changed since it was sent.
    pub(crate) is_due: bool,
}

/// See the file's head.
pub struct Client {
    /// Its identity.
    pub id: ClientId,
    /// What carries its bytes.
    pub transport: Transport,
    /// The protocol state.
    pub connection: Connection,
    /// What waits to be sent.
    pub outbox: Outbox,
    /// Its share of the limit per address.
    pub(crate) _admission: Option<Admission>,
    /// Accepted above the limits: it may only ask for liveness and readiness.
    pub(crate) is_probe: bool,
    /// Its protocol.
    pub kind: ClientKind,
    /// Its prices.
    pub prices: ClientPrices,
    /// Its opportunities.
    pub opportunities: ClientOpportunities,
    /// Its order books.
    pub books: ClientBooks,
    /// When its timeout is armed for; [`UNARMED`] if it is not.
    pub(crate) timeout_at: MonoNs,
    /// Receives prices and alerts: a copy of what the connection says, for bursts.
    pub(crate) listens: bool,
    /// The peer has closed its side.
    pub ended: bool,
    /// It is in the queue of clients with input.
    pub(crate) is_queued: bool,
    /// Its connection is closed or broken, and it will be removed.
    pub is_gone: bool,
}

impl Client {
    /// A client just accepted under `id`; `is_probe` if it is above the limits.
    #[must_use]
    pub fn new(
        mut transport: Transport,
        id: ClientId,
        admission: Option<Admission>,
        is_probe: bool,
        options: &GatewayOptions,
        now: MonoNs,
    ) -> Self {
        transport.limit(options);
        let interval = Some(options.beat_ms * MS);
        Self {
            id,
            transport,
            connection: if is_probe { Connection::probe(options, now) } else { Connection::new(options, now) },
            outbox: Outbox::default(),
            _admission: admission,
            is_probe,
            kind: ClientKind::Http,
            prices: ClientPrices { interval, burst_at: UNARMED, ..ClientPrices::default() },
            opportunities: ClientOpportunities::default(),
            books: ClientBooks::default(),
            timeout_at: UNARMED,
            listens: false,
            ended: false,
            is_queued: false,
            is_gone: false,
        }
    }

    /// Writes prices, one message for each of `indexes`. A price that the socket does not take is marked, and its newest
    /// value is sent later, except the rest of the message that was cut. Only for a client that is not blocked.
    #[inline]
    pub(crate) fn write_prices(&mut self, bytes: &[u8], indexes: &[u32], now: MonoNs, totals: &mut Totals) -> Sent {
        let (sent, taken) = self.write_newest(bytes, now, totals);
        totals.prices += indexes.len() as u64;
        if sent == Sent::Partly {
            let lost = self.connection.framing().messages(&bytes[taken..]).min(indexes.len());
            totals.prices -= lost as u64;
            totals.conflated += lost as u64;
            for index in &indexes[indexes.len() - lost..] {
                self.outbox.mark(*index);
            }
        }
        sent
    }

    /// Writes messages that newer ones may replace. Returns how many of the bytes are sent or wait; the others, always
    /// whole messages, are dropped. Only for a client that is not blocked.
    pub(crate) fn write_newest(&mut self, bytes: &[u8], now: MonoNs, totals: &mut Totals) -> (Sent, usize) {
        let written = match self.transport.write(bytes) {
            Ok(written) => written,
            Err(_) => return (Sent::Gone, 0),
        };
        totals.bytes += written as u64;
        if written == bytes.len() {
            return (Sent::All, written);
        }
        let framing = self.connection.framing();
        (Sent::Partly, self.change_outbox(totals, |outbox| outbox.queue_cut(framing, bytes, written, now)))
    }

    /// Changes what waits, and the sum over all clients.
    fn change_outbox<T>(&mut self, totals: &mut Totals, change: impl FnOnce(&mut Outbox) -> T) -> T {
        let before = self.outbox.held();
        let result = change(&mut self.outbox);
        totals.waiting = (totals.waiting + self.outbox.held()).saturating_sub(before);
        result
    }

    /// Queues `messages`, whose first `written` bytes are sent.
    fn queue(&mut self, messages: &[u8], written: usize, now: MonoNs, totals: &mut Totals) {
        let framing = self.connection.framing();
        self.change_outbox(totals, |outbox| outbox.queue(framing, messages, written, now));
    }

    /// Drops what waits, except the rest of a message that is partly sent.
    pub(crate) fn drop_waiting(&mut self, totals: &mut Totals) {
        self.change_outbox(totals, Outbox::drop_whole);
    }

    /// Writes messages that must not be lost; what the socket does not take is queued.
    pub(crate) fn write_queued(&mut self, bytes: &[u8], now: MonoNs, totals: &mut Totals) -> Sent {
        if self.outbox.is_blocked() {
            self.queue(bytes, 0, now, totals);
            return Sent::Partly;
        }
        let written = match self.transport.write(bytes) {
            Ok(written) => written,
            Err(_) => return Sent::Gone,
        };
        totals.bytes += written as u64;
        if written == bytes.len() {
            return Sent::All;
        }
        self.queue(bytes, written, now, totals);
        Sent::Partly
    }

    /// The same for a client that listens, within the limit of its outbox: above it, the client is notified and closed,
    /// and the message is dropped.
    pub fn deliver(&mut self, frame: &[u8], options: &GatewayOptions, now: MonoNs, totals: &mut Totals) -> Sent {
        if !self.listens {
            return Sent::Partly;
        }
        if self.outbox.waiting() + frame.len() > options.outbox_max_bytes {
            self.end_slow(now, totals);
            return Sent::Partly;
        }
        self.write_queued(frame, now, totals)
    }

    /// Notifies the client that it does not read fast enough, and begins to close its connection.
    pub(crate) fn end_slow(&mut self, now: MonoNs, totals: &mut Totals) {
        let mut out = Vec::new();
        frame_text(&mut out, |out| message::error("Too slow: alerts were lost", out));
        self.connection.close(1013, "too slow", now, &mut out);
        self.listens = false;
        totals.slow += 1;
        self.queue(&out, 0, now, totals);
    }

    /// Writes an embedded file after what was written before it. The rest waits without a copy.
    pub(crate) fn write_file(&mut self, file: &'static [u8], now: MonoNs, totals: &mut Totals) -> Sent {
        self.outbox.queue_file(file, now);
        self.flush(now, totals).unwrap_or(Sent::Gone)
    }

    fn drain(&mut self) -> io::Result<bool> {
        if !self.transport.drain(self.outbox.pending())? {
            return Ok(false);
        }
        while !self.outbox.file().is_empty() {
            match self.transport.write(self.outbox.file())? {
                0 => return Ok(false),
                written => *self.outbox.file() = &self.outbox.file()[written..],
            }
        }
        // A cipher may hold output, too.
        self.transport.drain(self.outbox.pending())
    }

    /// Writes what waits.
    ///
    /// # Errors
    /// If the connection is broken.
    pub fn flush(&mut self, now: MonoNs, totals: &mut Totals) -> io::Result<Sent> {
        self.change_outbox(totals, |outbox| outbox.update_ages(now));
        let (before, held) = (self.outbox.waiting(), self.outbox.held());
        let result = self.drain();
        let taken_here = held - self.outbox.held();
        totals.waiting = totals.waiting.saturating_sub(taken_here);
        self.outbox.took(taken_here);
        let taken = before - self.outbox.waiting();
        totals.bytes += taken as u64;
        if taken > 0 {
            self.outbox.progressed(now);
        }
        Ok(if result? { Sent::All } else { Sent::Partly })
    }

    /// When its timeout is due if nothing else happens; `None` if it has none.
    #[must_use]
    pub fn deadline(&self, options: &GatewayOptions) -> Option<MonoNs> {
        match self.outbox.blocked_since() {
            Some(since) => Some(since.plus(options.write_stall_ms * MS)),
            None => self.connection.deadline(options),
        }
    }

    /// Whether closing it now counts as closing a slow client. One that was notified is already counted.
    #[must_use]
    pub(crate) fn counts_as_slow(&self) -> bool {
        self.listens || self.kind == ClientKind::Http
    }
}
