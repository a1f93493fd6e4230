//! Accepts connections, and survives running out of file descriptors. Runs on the gateway's thread.

use std::fs::File;
use std::io;

use mio::{Registry, Token};

use crate::gateway::view::Snapshot;
use crate::log;
use crate::net::Link;
use crate::net::listen::Listener;
use crate::time::{MS, MonoNs, SECOND};

/// Pause after a failure to accept.
const PAUSE_NS: u64 = 50 * MS;
/// Shortest time between two log lines about it.
const LOG_NS: u64 = 5 * SECOND;

/// See the file's head.
pub(crate) struct Acceptor {
    listener: Option<Listener>,
    /// Further connections may wait in the kernel.
    is_ready: bool,
    /// Not before this time.
    accept_at: MonoNs,
    /// A descriptor that is released for a moment when none is left, to close the connection that waits.
    reserve: Option<File>,
    logged_at: Option<MonoNs>,
}

impl Acceptor {
    /// Accepts on `listener` from `now` on, after [`Self::register`].
    #[must_use]
    pub fn new(listener: Option<Listener>, now: MonoNs) -> Self {
        Self { is_ready: listener.is_some(), listener, accept_at: now, reserve: reserve(), logged_at: None }
    }

    /// Registers the listener on a poll.
    ///
    /// # Errors
    /// If the poll refuses it.
    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        self.listener.as_mut().map_or(Ok(()), |listener| listener.register(registry, token))
    }

    /// Closes the listener.
    pub fn close(&mut self, registry: &Registry) {
        if let Some(mut listener) = self.listener.take() {
            listener.deregister(registry);
        }
    }

    /// The poll reported a connection.
    pub(crate) fn set_ready(&mut self) {
        self.is_ready = true;
    }

    /// When to accept next; `None` until the poll reports a connection.
    #[must_use]
    pub fn deadline(&self) -> Option<MonoNs> {
        self.is_ready.then_some(self.accept_at)
    }

    /// Accepts a connection; `None` if there is none, or after a failure. `name` is that of the stage, for the log.
    pub fn accept(&mut self, name: &str, snapshot: &Snapshot<'_>) -> Option<Link> {
        if !self.is_ready || self.accept_at > snapshot.client_now {
            return None;
        }
        match self.listener.as_mut()?.accept() {
            Ok(Some(link)) => Some(link),
            Ok(None) => {
                self.is_ready = false;
                None
            }
            Err(error) => {
                self.fail(&error, name, snapshot);
                None
            }
        }
    }

    /// Accepting failed, most likely because no descriptor is left: closes the connection that waits with the help of the
    /// reserve, then pauses.
    fn fail(&mut self, error: &io::Error, name: &str, snapshot: &Snapshot<'_>) {
        let now = snapshot.client_now;
        snapshot.gauges().clients.refused.add(1);
        self.accept_at = now.plus(PAUSE_NS);
        if self.logged_at.is_none_or(|at| now.since(at) > LOG_NS) {
            self.logged_at = Some(now);
            log::say(format_args!("spreadwire: {name}: cannot accept a connection: {error}"));
        }
        if self.reserve.take().is_some()
            && let Some(listener) = &mut self.listener
        {
            drop(listener.accept());
        }
        self.reserve = reserve();
    }
}

fn reserve() -> Option<File> {
    File::open("/dev/null").ok()
}
