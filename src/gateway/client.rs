//! One client on its socket: the pure [`Connection`] and [`Outbox`], and the one place where bytes for a
//! client are written. Runs on the gateway's thread.

use std::io;

use crate::gateway::books::Seat;
use crate::gateway::connection::Connection;
use crate::gateway::options::Options;
use crate::gateway::outbox::{Marks, Outbox};
use crate::net::Link;
use crate::net::listen::Admission;
use crate::time::MonoNs;

/// When a beat or chore is due that is not armed.
pub const UNARMED: MonoNs = MonoNs(u64::MAX);

/// What a write came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// All is with the kernel.
    All,
    /// The rest waits in the outbox.
    Partly,
    /// The connection is broken.
    Gone,
}

/// What is counted while writing; handed to the gauges once per turn.
#[derive(Debug, Default)]
pub struct Totals {
    /// Price messages.
    pub prices: u64,
    /// Alert messages.
    pub alerts: u64,
    /// Messages of opportunities.
    pub opportunities: u64,
    /// Bytes.
    pub bytes: u64,
    /// Prices that a newer one replaced.
    pub conflated: u64,
    /// Messages of order books.
    pub books: u64,
    /// States of a book that a newer one replaced.
    pub books_conflated: u64,
    /// Clients closed because they did not read.
    pub slow: u64,
    /// Bytes that wait in the outboxes of all clients now; not reset.
    pub waiting: usize,
}

/// What a connection has become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Plain HTTP so far.
    Http,
    /// A WebSocket.
    Socket,
    /// A stream.
    Stream,
}

/// See the file's head.
pub struct Client {
    /// The socket.
    pub link: Link,
    /// The conversation.
    pub connection: Connection,
    /// What it is owed.
    pub outbox: Outbox,
    /// Its place among the connections of its address.
    pub admission: Option<Admission>,
    /// There was no room for it: it may only ask for life and readiness.
    pub is_probe: bool,
    /// Which tenant of its place it is.
    pub generation: u32,
    /// What it has become.
    pub kind: Kind,
    /// What it subscribes to.
    pub bundle: Option<u32>,
    /// Asked for the longer messages.
    pub extended: bool,
    /// Asked for the lives of opportunities.
    pub follows: bool,
    /// The last update of an opportunity that it was told, by the ledger's count.
    pub followed: u64,
    /// The order books that it watches.
    pub books: Vec<Seat>,
    /// One of those changed since it was told.
    pub owes_books: bool,
    /// Nanoseconds between two bursts; `None`: every change.
    pub beat: Option<u64>,
    /// When the next burst is due; [`UNARMED`] when no call for it is on the wheel.
    pub beat_at: MonoNs,
    /// Prices that it got out of turn, and that the next burst leaves out.
    pub held: Option<Box<Marks>>,
    /// When its next chore is armed for; [`UNARMED`] when it is not.
    pub chore_at: MonoNs,
    /// Takes prices and alerts: what the connection says, kept where bursts look.
    pub listens: bool,
    /// The peer has ended its side.
    pub ended: bool,
    /// It waits to be attended to.
    pub queued: bool,
}

impl Client {
    /// A client just accepted; `is_probe` when there is no room for it.
    #[must_use]
    pub fn new(mut link: Link, (generation, is_probe): (u32, bool), options: &Options, now: MonoNs) -> Self {
        link.limit_send_buffer(options.send_buffer);
        link.limit_unsent(options.unsent_max);
        link.limit_unacknowledged(options.unacknowledged_within());
        Self {
            link,
            connection: if is_probe { Connection::probe(options, now) } else { Connection::new(options, now) },
            outbox: Outbox::default(),
            admission: None,
            is_probe,
            generation,
            kind: Kind::Http,
            bundle: None,
            extended: false,
            follows: false,
            followed: 0,
            books: Vec::new(),
            owes_books: false,
            beat: Some(options.beat_ms * crate::time::MS),
            beat_at: UNARMED,
            held: None,
            chore_at: UNARMED,
            listens: false,
            ended: false,
            queued: false,
        }
    }

    /// Writes prices, one message for each of `places`: what the socket does not take is marked, and its newest value is
    /// told later, but for the rest of the message that was cut. Only for a client that does not block.
    #[inline]
    pub fn write_prices(&mut self, bytes: &[u8], places: &[u32], now: MonoNs, totals: &mut Totals) -> Sent {
        let (sent, kept) = self.write_newest(bytes, now, totals);
        totals.prices += places.len() as u64;
        if sent == Sent::Partly {
            let lost = self.connection.framing().messages(&bytes[kept..]).min(places.len());
            totals.prices -= lost as u64;
            totals.conflated += lost as u64;
            for place in &places[places.len() - lost..] {
                self.outbox.mark(*place);
            }
        }
        sent
    }

    /// Writes messages that newer ones may replace. How many of the bytes are with the kernel or wait; the others, always
    /// whole messages, are dropped. Only for a client that does not block.
    pub fn write_newest(&mut self, bytes: &[u8], now: MonoNs, totals: &mut Totals) -> (Sent, usize) {
        let written = match self.link.write(bytes) {
            Ok(written) => written,
            Err(_) => return (Sent::Gone, 0),
        };
        totals.bytes += written as u64;
        if written == bytes.len() {
            return (Sent::All, written);
        }
        let framing = self.connection.framing();
        (Sent::Partly, self.change_outbox(totals, |outbox| outbox.keep_cut(framing, bytes, written, now)))
    }

    /// Changes what waits, and the sum of what waits for all clients.
    fn change_outbox<T>(&mut self, totals: &mut Totals, change: impl FnOnce(&mut Outbox) -> T) -> T {
        let before = self.outbox.held();
        let result = change(&mut self.outbox);
        totals.waiting = (totals.waiting + self.outbox.held()).saturating_sub(before);
        result
    }

    /// Lets `messages` wait behind what waits already, the first `written` bytes of which are sent.
    pub fn keep(&mut self, messages: &[u8], written: usize, now: MonoNs, totals: &mut Totals) {
        let framing = self.connection.framing();
        self.change_outbox(totals, |outbox| outbox.keep(framing, messages, written, now));
    }

    /// Drops what waits, but for the rest of a message that has begun to go out.
    pub fn drop_waiting(&mut self, totals: &mut Totals) {
        self.change_outbox(totals, Outbox::drop_whole);
    }

    /// Writes what must not be lost; the rest waits.
    pub fn write_kept(&mut self, bytes: &[u8], now: MonoNs, totals: &mut Totals) -> Sent {
        if self.outbox.is_blocked() {
            self.keep(bytes, 0, now, totals);
            return Sent::Partly;
        }
        let written = match self.link.write(bytes) {
            Ok(written) => written,
            Err(_) => return Sent::Gone,
        };
        totals.bytes += written as u64;
        if written == bytes.len() {
            return Sent::All;
        }
        self.keep(bytes, written, now, totals);
        Sent::Partly
    }

    /// Writes an embedded file after what was written before it; the rest waits without a copy.
    pub fn write_file(&mut self, file: &'static [u8], now: MonoNs, totals: &mut Totals) -> Sent {
        self.outbox.follow(file, now);
        self.flush(now, totals).unwrap_or(Sent::Gone)
    }

    fn drain(&mut self) -> io::Result<bool> {
        if !self.link.drain(self.outbox.pending())? {
            return Ok(false);
        }
        while !self.outbox.following().is_empty() {
            match self.link.write(self.outbox.following())? {
                0 => return Ok(false),
                written => *self.outbox.following() = &self.outbox.following()[written..],
            }
        }
        // What a cipher holds back.
        self.link.drain(self.outbox.pending())
    }

    /// Writes what waits.
    pub fn flush(&mut self, now: MonoNs, totals: &mut Totals) -> io::Result<Sent> {
        self.change_outbox(totals, |outbox| outbox.bring_up_to_date(now));
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

    /// When something about it is due, if nothing else happens.
    #[must_use]
    pub fn deadline(&self, options: &Options) -> Option<MonoNs> {
        match self.outbox.blocked_since() {
            Some(since) => Some(since.plus(options.progress_within_ns)),
            None => self.connection.deadline(options),
        }
    }
}
