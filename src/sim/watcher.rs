//! The demo's own client. It subscribes to all alerts, so that wire-to-alert latency is measured even without other
//! clients. One WebSocket on loopback, one thread; it discards what it receives.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use mio::{Events, Poll, Token};

use crate::net::{Link, ReadOutcome};
use crate::stage::Stage;
use crate::time::{Clock, MonoNs, SECOND};
use crate::wire::websocket::{Event, Limits, WebSocket};

const LIMITS: Limits = Limits { message_max: 1 << 20, read_buffer: 4096, fragments_max: u32::MAX };
/// Minimum time between two attempts to connect.
const RETRY_NS: u64 = SECOND;

/// A client that subscribes to alerts only.
pub(crate) struct Watcher {
    address: SocketAddr,
    subscribe: String,
    poll: Poll,
    events: Events,
    line: Option<(Link, WebSocket)>,
    tried: MonoNs,
    clock: Clock,
    buffer: Box<[u8]>,
}

impl Watcher {
    /// A watcher of the gateway at `address`, for all alerts on `symbols`. It connects on its first turn.
    ///
    /// # Errors
    /// If the system cannot create a poll.
    pub fn new(address: SocketAddr, symbols: &[String], clock: Clock) -> io::Result<Self> {
        let subscribe = serde_json::json!({ "action": "subscribe", "symbols": symbols, "exchanges": [] }).to_string();
        Ok(Self {
            address,
            subscribe,
            poll: Poll::new()?,
            events: Events::with_capacity(8),
            line: None,
            tried: MonoNs(0),
            clock,
            buffer: vec![0; 1 << 14].into(),
        })
    }

    fn connect(&mut self) -> Option<(Link, WebSocket)> {
        let socket = WebSocket::client(&format!("ws://{}/ws/prices", self.address), LIMITS).ok()?;
        let mut link = Link::connect(self.address).ok()?;
        link.register(self.poll.registry(), Token(0)).ok()?;
        Some((link, socket))
    }

    /// Reads and answers pending input; `None` if the connection is lost.
    fn pump(&mut self) -> Option<usize> {
        let (link, socket) = self.line.as_mut()?;
        let mut work = 0;
        loop {
            match link.read(&mut self.buffer) {
                Ok(ReadOutcome::Bytes(length)) => socket.receive(&self.buffer[..length]),
                Ok(ReadOutcome::Blocked) => break,
                // Not connected yet; the poll reports it later.
                Err(error) if error.kind() == io::ErrorKind::NotConnected => break,
                Ok(ReadOutcome::End) | Err(_) => return None,
            }
            while let Some(event) = socket.next().ok()? {
                work += 1;
                if matches!(event, Event::Open(_)) {
                    socket.send_text(&self.subscribe);
                }
            }
        }
        match link.drain(socket.output()) {
            Ok(_) => Some(work),
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Some(work),
            Err(_) => None,
        }
    }
}

impl Stage for Watcher {
    fn name(&self) -> &str {
        "watcher"
    }

    fn turn(&mut self, wait: Duration) -> usize {
        let now = self.clock.now();
        if self.line.is_none() && now.since(self.tried) >= RETRY_NS {
            self.tried = now;
            self.line = self.connect();
        }
        // An interrupted poll counts as a poll without events.
        let _ = self.poll.poll(&mut self.events, Some(wait));
        match self.pump() {
            Some(work) => work,
            None => {
                if let Some((mut link, _)) = self.line.take() {
                    link.deregister(self.poll.registry());
                }
                0
            }
        }
    }
}
