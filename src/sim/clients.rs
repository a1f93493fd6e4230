//! The simulator's sockets: each with its conversation, in a slab whose places are the poll's tokens.

use crate::net::{Link, ReadOutcome};
use crate::sim::connection::{Connection, World};
use crate::time::{MonoNs, SECOND};

/// One socket and its conversation.
pub struct Client {
    /// The socket.
    pub link: Link,
    /// What is said over it.
    pub connection: Connection,
    /// The socket may have input.
    pub readable: bool,
    /// The socket may take output.
    pub writable: bool,
    /// What the fault script lets it have now, in billionths of a byte, and since when that is counted.
    allowance: (u64, MonoNs),
}

/// The socket is of no more use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gone;

/// Reads of one client in one turn at most.
const READS_MAX: usize = 4;

impl Client {
    /// A client just accepted.
    #[must_use]
    pub const fn new(link: Link, connection: Connection) -> Self {
        Self { link, connection, readable: true, writable: true, allowance: (0, MonoNs(0)) }
    }

    /// Reads what is there, within bounds.
    ///
    /// # Errors
    /// [`Gone`] when the client has left.
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

    /// Writes what waits, of that no more than `bytes_per_s` where a limit is set.
    ///
    /// # Errors
    /// [`Gone`] when the client has left, or all is said.
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
        // What was not used within a second is not had later.
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
pub struct Clients {
    slots: Vec<Option<Client>>,
    free: Vec<usize>,
}

impl Clients {
    /// The place that the next [`Self::insert`] takes.
    #[must_use]
    pub fn next_place(&self) -> usize {
        self.free.last().copied().unwrap_or(self.slots.len())
    }

    /// Takes a client in at [`Self::next_place`].
    pub fn insert(&mut self, client: Client) {
        match self.free.pop() {
            Some(place) => self.slots[place] = Some(client),
            None => self.slots.push(Some(client)),
        }
    }

    /// The client at `place`, if it is still there.
    pub fn at(&mut self, place: usize) -> Option<&mut Client> {
        self.slots.get_mut(place)?.as_mut()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Client> {
        self.slots.iter().flatten()
    }

    /// All of them.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Client> {
        self.slots.iter_mut().flatten()
    }

    /// Lets go of those that `keep` does not want; their sockets close.
    pub fn retain(&mut self, mut keep: impl FnMut(&mut Client) -> bool) {
        for (place, slot) in self.slots.iter_mut().enumerate() {
            if slot.as_mut().is_some_and(|client| !keep(client)) {
                *slot = None;
                self.free.push(place);
            }
        }
    }
}
