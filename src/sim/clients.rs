//! The simulator's sockets, each with its connection, in a slab. The slab index determines the poll token.

use crate::net::{Link, ReadOutcome};
use crate::sim::connection::{SimConnection, World};
use crate::time::{MonoNs, SECOND};

/// One socket and its connection.
pub(crate) struct SimClient {
    /// The socket.
    pub link: Link,
    /// The state machine that handles its bytes.
    pub connection: SimConnection,
    /// The socket may have input.
    pub(crate) readable: bool,
    /// The socket may take output.
    pub(crate) writable: bool,
    /// Bytes that the `slow` fault currently allows, in billionths of a byte, and when that was computed.
    allowance: (u64, MonoNs),
}

/// The socket can no longer be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gone;

/// Most reads of one client in one turn.
const READS_MAX: usize = 4;

impl SimClient {
    /// A client just accepted.
    #[must_use]
    pub const fn new(link: Link, connection: SimConnection) -> Self {
        Self { link, connection, readable: true, writable: true, allowance: (0, MonoNs(0)) }
    }

    /// Reads the available bytes, within a limit.
    ///
    /// # Errors
    /// [`Gone`] when the client has disconnected.
    pub fn read(&mut self, buffer: &mut [u8], now: MonoNs, world: &World<'_>) -> Result<(), Gone> {
        for _ in 0..READS_MAX {
            match self.link.read(buffer) {
                Ok(ReadOutcome::Bytes(length)) => self.connection.receive(&buffer[..length], now, world),
                Ok(ReadOutcome::Blocked) => {
                    self.readable = false;
                    return Ok(());
                }
                Ok(ReadOutcome::End) | Err(_) => return Err(Gone),
            }
        }
        Ok(())
    }

    /// Writes pending output, at most `bytes_per_s` if a limit is set.
    ///
    /// # Errors
    /// [`Gone`] when the client has disconnected, or the connection has ended and all output is sent.
    pub fn write(&mut self, bytes_per_s: Option<u64>, now: MonoNs) -> Result<(), Gone> {
        if let Some(rate) = bytes_per_s {
            self.trickle(rate, now)?;
        } else if self.writable && !self.connection.output().is_empty() {
            self.writable = self.link.drain(self.connection.output()).map_err(|_| Gone)?;
        }
        if self.connection.ending().is_some() && self.connection.output().is_empty() { Err(Gone) } else { Ok(()) }
    }

    fn trickle(&mut self, rate: u64, now: MonoNs) -> Result<(), Gone> {
        let (saved, since) = self.allowance;
        // At most one second's allowance accumulates.
        let saved = saved.saturating_add(now.since(since).saturating_mul(rate)).min(rate.saturating_mul(SECOND));
        let output = self.connection.output();
        let length = output.len().min((saved / SECOND) as usize);
        let written = self.link.write(&output[..length]).map_err(|_| Gone)?;
        output.drain(..written);
        self.allowance = (saved - written as u64 * SECOND, now);
        Ok(())
    }
}

/// All clients.
#[derive(Default)]
pub(crate) struct SimClients {
    slots: Vec<Option<SimClient>>,
    free: Vec<usize>,
}

impl SimClients {
    /// The index that the next [`Self::insert`] uses.
    #[must_use]
    pub(crate) fn next_place(&self) -> usize {
        self.free.last().copied().unwrap_or(self.slots.len())
    }

    /// Adds a client at [`Self::next_place`].
    pub fn insert(&mut self, client: SimClient) {
        match self.free.pop() {
            Some(place) => self.slots[place] = Some(client),
            None => self.slots.push(Some(client)),
        }
    }

    /// The client at index `place`, if it is still connected.
    pub fn at(&mut self, place: usize) -> Option<&mut SimClient> {
        self.slots.get_mut(place)?.as_mut()
    }

    /// Number of clients.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Whether there are no clients.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &SimClient> {
        self.slots.iter().flatten()
    }

    /// All of them.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut SimClient> {
        self.slots.iter_mut().flatten()
    }

    /// Removes the clients for which `keep` returns `false`; their sockets close.
    pub fn retain(&mut self, mut keep: impl FnMut(&mut SimClient) -> bool) {
        for (place, slot) in self.slots.iter_mut().enumerate() {
            if slot.as_mut().is_some_and(|client| !keep(client)) {
                *slot = None;
                self.free.push(place);
            }
        }
    }
}
