//! The port that all venues share, and the sockets that arrive there. Runs on the simulator's thread.

use std::io;
use std::net::SocketAddr;

use mio::{Registry, Token};

use crate::net::Link;
use crate::net::listen::Listener;
use crate::sim::certificates::Certificates;
use crate::sim::scenario::FaultKind;
use crate::time::{MonoNs, SECOND};

/// How long to wait after a failed accept, for example when file descriptors have run out.
const ACCEPT_REST_NS: u64 = SECOND / 10;

/// The listening socket and the certificates that it presents.
pub(crate) struct Entrance {
    /// `None` while the fault script makes the system refuse connections.
    listener: Option<Listener>,
    token: Token,
    address: SocketAddr,
    /// Sockets may wait to be accepted.
    is_ready: bool,
    rest_until: MonoNs,
    certificates: Option<Certificates>,
}

impl Entrance {
    /// Listens with `listener`, whose events have `token`.
    ///
    /// # Errors
    /// If the system cannot watch the socket.
    pub fn new(mut listener: Listener, registry: &Registry, token: Token, now: MonoNs) -> io::Result<Self> {
        listener.register(registry, token)?;
        let address = listener.address();
        Ok(Self { listener: Some(listener), token, address, is_ready: true, rest_until: now, certificates: None })
    }

    /// The address that it listens on.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Requires TLS of clients from now on.
    pub fn secure(&mut self, certificates: Certificates) {
        self.certificates = Some(certificates);
    }

    /// Whether clients connect with TLS.
    pub(crate) const fn is_secure(&self) -> bool {
        self.certificates.is_some()
    }

    /// Handles an event of the listening socket.
    pub const fn wake(&mut self) {
        self.is_ready = true;
    }

    /// Whether a socket may wait to be accepted now.
    pub(crate) fn is_due(&self, now: MonoNs) -> bool {
        self.is_ready && now >= self.rest_until
    }

    /// The next socket, if one waits.
    pub fn accept(&mut self, now: MonoNs) -> Option<Link> {
        if !self.is_due(now) {
            return None;
        }
        match self.listener.as_mut()?.accept() {
            Ok(Some(link)) => Some(link),
            Ok(None) => {
                self.is_ready = false;
                None
            }
            Err(_) => {
                self.rest_until = now.plus(ACCEPT_REST_NS);
                None
            }
        }
    }

    /// `link`, with TLS if clients must use it, and the certificate of this fault. `None` if TLS cannot start.
    pub fn secured(&self, link: Link, fault: Option<FaultKind>) -> Option<Link> {
        match &self.certificates {
            Some(certificates) => link.serve_tls(certificates.of(fault)).ok(),
            None => Some(link),
        }
    }

    /// Makes the system refuse connections, or listens again.
    pub fn refuse(&mut self, is_refusing: bool, registry: &Registry) {
        if is_refusing {
            self.close(registry);
        } else if self.listener.is_none() {
            // Another process may hold the port for a moment; the next turn retries.
            self.listener = Listener::bind(self.address).ok();
            if let Some(listener) = &mut self.listener {
                self.is_ready = listener.register(registry, self.token).is_ok();
            }
        }
    }

    /// Stops listening.
    pub fn close(&mut self, registry: &Registry) {
        if let Some(mut listener) = self.listener.take() {
            listener.deregister(registry);
        }
    }
}
