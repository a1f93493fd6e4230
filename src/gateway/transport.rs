//! What carries the bytes of a client: a socket, or memory. Memory is for programs that drive a gateway and its clients
//! in one thread, such as tests on a clock that they turn: see [`LocalClient`].

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mio::{Registry, Token};

use crate::gateway::options::GatewayOptions;
use crate::net::{Link, ReadOutcome};

/// Most unsent bytes in the kernel in addition to one write: about 30 prices.
const UNSENT_MAX: u32 = 4096;

/// See the file's head.
pub enum Transport {
    /// A socket.
    Socket(Link),
    /// Memory.
    Memory(MemoryPipe),
}

impl Transport {
    /// Sets the limits of the kernel for this client. Memory has its own.
    pub fn limit(&mut self, options: &GatewayOptions) {
        if let Self::Socket(link) = self {
            link.limit_send_buffer(options.send_buffer_bytes);
            link.limit_unsent(UNSENT_MAX);
            link.limit_unacknowledged(options.unacknowledged_within());
        }
    }

    /// Registers a socket on a poll.
    ///
    /// # Errors
    /// If the poll refuses it.
    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        match self {
            Self::Socket(link) => link.register(registry, token),
            Self::Memory(_) => Ok(()),
        }
    }

    /// Removes a socket from a poll.
    pub(crate) fn deregister(&mut self, registry: &Registry) {
        if let Self::Socket(link) = self {
            link.deregister(registry);
        }
    }

    /// Reads at most `buffer.len()` bytes.
    ///
    /// # Errors
    /// If the connection is broken.
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<ReadOutcome> {
        match self {
            Self::Socket(link) => link.read(buffer),
            Self::Memory(pipe) => Ok(pipe.read(buffer)),
        }
    }

    /// Writes as many of `bytes` as fit; 0 if none fit now.
    ///
    /// # Errors
    /// If the connection is broken.
    #[inline]
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Socket(link) => link.write(bytes),
            Self::Memory(pipe) => pipe.write(bytes),
        }
    }

    /// Writes the front of `output` and removes what was written. `true` if nothing is left.
    ///
    /// # Errors
    /// If the connection is broken.
    pub fn drain(&mut self, output: &mut Vec<u8>) -> io::Result<bool> {
        match self {
            Self::Socket(link) => link.drain(output),
            Self::Memory(pipe) => {
                let written = pipe.write(output)?;
                output.drain(..written);
                Ok(output.is_empty())
            }
        }
    }

    /// Closes the sending side. The peer receives what was written before.
    pub(crate) fn finish_writing(&self) {
        match self {
            Self::Socket(link) => link.finish_writing(),
            Self::Memory(pipe) => pipe.state().is_finished = true,
        }
    }

    /// Unsent bytes are dropped when the connection is.
    pub(crate) fn forget_unsent(&self) {
        if let Self::Socket(link) = self {
            link.forget_unsent();
        }
    }

    /// Address of the peer; `None` if it is not known, or for memory.
    #[must_use]
    pub fn peer(&self) -> Option<SocketAddr> {
        match self {
            Self::Socket(link) => link.peer(),
            Self::Memory(_) => None,
        }
    }

    /// Takes the events of memory since the last call: whether there is input, and whether there is room again. Like those
    /// of an edge-triggered poll, which reports sockets.
    pub(crate) fn take_events(&mut self) -> (bool, bool) {
        match self {
            Self::Socket(_) => (false, false),
            Self::Memory(pipe) => {
                let mut state = pipe.state();
                (std::mem::take(&mut state.has_input), std::mem::take(&mut state.has_room))
            }
        }
    }
}

/// Both directions of a connection in memory.
#[derive(Default)]
struct PipeState {
    to_gateway: Vec<u8>,
    to_client: Vec<u8>,
    /// Most bytes in `to_client`.
    capacity: usize,
    /// The client has sent or closed since the last event.
    has_input: bool,
    /// The client has read since the last event.
    has_room: bool,
    /// The client sends nothing more.
    is_closed: bool,
    /// The gateway sends nothing more.
    is_finished: bool,
}

/// The gateway's end of a connection in memory.
pub struct MemoryPipe(Arc<Mutex<PipeState>>);

fn lock(state: &Mutex<PipeState>) -> MutexGuard<'_, PipeState> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl MemoryPipe {
    fn state(&self) -> MutexGuard<'_, PipeState> {
        lock(&self.0)
    }

    fn read(&self, buffer: &mut [u8]) -> ReadOutcome {
        let mut state = self.state();
        let length = state.to_gateway.len().min(buffer.len());
        if length == 0 {
            return if state.is_closed { ReadOutcome::End } else { ReadOutcome::Blocked };
        }
        buffer[..length].copy_from_slice(&state.to_gateway[..length]);
        state.to_gateway.drain(..length);
        ReadOutcome::Bytes(length)
    }

    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.state();
        if state.is_closed {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let length = bytes.len().min(state.capacity.saturating_sub(state.to_client.len()));
        state.to_client.extend_from_slice(&bytes[..length]);
        Ok(length)
    }
}

impl Drop for MemoryPipe {
    fn drop(&mut self) {
        self.state().is_finished = true;
    }
}

/// The client's end of a connection in memory. The gateway handles what it sends, and what it makes room for, in its next
/// turn.
pub struct LocalClient(Arc<Mutex<PipeState>>);

impl LocalClient {
    /// A connection whose client has at most `capacity` unread bytes; further ones wait in the gateway, as for a client
    /// with a slow network. Also returns the gateway's end.
    #[must_use]
    pub fn new(capacity: usize) -> (Self, Transport) {
        let state = Arc::new(Mutex::new(PipeState { capacity, ..PipeState::default() }));
        (Self(Arc::clone(&state)), Transport::Memory(MemoryPipe(state)))
    }

    /// Sends bytes: an HTTP request, or masked WebSocket frames.
    pub fn send(&self, bytes: &[u8]) {
        let mut state = lock(&self.0);
        state.to_gateway.extend_from_slice(bytes);
        state.has_input = true;
    }

    /// Moves the first `bytes_max` received bytes to the end of `into`, which makes room for more. Returns how many.
    pub fn receive(&self, bytes_max: usize, into: &mut Vec<u8>) -> usize {
        let mut state = lock(&self.0);
        let length = state.to_client.len().min(bytes_max);
        into.extend(state.to_client.drain(..length));
        state.has_room |= length > 0;
        length
    }

    /// Closes the connection. Dropping the client does the same.
    pub fn close(&self) {
        let mut state = lock(&self.0);
        (state.is_closed, state.has_input) = (true, true);
    }

    /// Whether the gateway has closed its side, and everything that it sent is received.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        let state = lock(&self.0);
        state.is_finished && state.to_client.is_empty()
    }
}

impl Drop for LocalClient {
    fn drop(&mut self) {
        self.close();
    }
}
