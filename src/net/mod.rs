//! Sockets: the only place that opens, reads and writes one. Everything is non-blocking and on
//! somebody's poll; the pure connections above never see a socket.

pub mod listen;

use std::io::{self, IoSlice, Read, Write};
use std::net::SocketAddr;

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

/// A conversation without a socket. Bytes and time go in; bytes and deadlines come out.
pub trait Connection {
    /// Takes bytes from the peer.
    fn receive(&mut self, bytes: &[u8], now: crate::time::MonoNs);
    /// Bytes for the peer; the caller removes from the front what it has sent.
    fn output(&mut self) -> &mut Vec<u8>;
    /// When [`Self::elapsed`] wants to be called, if at all.
    fn deadline(&self) -> Option<crate::time::MonoNs>;
    /// Time has passed.
    fn elapsed(&mut self, now: crate::time::MonoNs);
    /// Nothing more is expected: close the socket once the output is sent.
    fn is_over(&self) -> bool;
}

/// What a read brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadOutcome {
    /// This many bytes.
    Bytes(usize),
    /// Nothing now; the poll will tell.
    Blocked,
    /// The peer has ended the stream.
    End,
}

/// One non-blocking socket.
pub struct Link {
    tcp: TcpStream,
}

impl Link {
    /// A link on an accepted or connecting socket. Small messages go out at once (`TCP_NODELAY`).
    #[must_use]
    pub fn new(tcp: TcpStream) -> Self {
        // Fails only on a socket that is already dead, which the next read will tell.
        let _ = tcp.set_nodelay(true);
        Self { tcp }
    }

    /// Puts the socket on a poll for reading and writing, edge-triggered.
    ///
    /// # Errors
    /// When the poll refuses it.
    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        registry.register(&mut self.tcp, token, Interest::READABLE | Interest::WRITABLE)
    }

    /// Takes the socket off a poll.
    pub fn deregister(&mut self, registry: &Registry) {
        // It may never have been on it.
        let _ = registry.deregister(&mut self.tcp);
    }

    /// Reads what is there, at most `buffer` full.
    ///
    /// # Errors
    /// When the connection is broken.
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<ReadOutcome> {
        loop {
            return match self.tcp.read(buffer) {
                Ok(0) => Ok(ReadOutcome::End),
                Ok(length) => Ok(ReadOutcome::Bytes(length)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(ReadOutcome::Blocked),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => Err(error),
            };
        }
    }

    /// Writes what the socket takes of `bytes`; 0 when it takes nothing now.
    ///
    /// # Errors
    /// When the connection is broken.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            return match self.tcp.write(bytes) {
                Ok(length) => Ok(length),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => Err(error),
            };
        }
    }

    /// The same for several pieces in one system call.
    ///
    /// # Errors
    /// When the connection is broken.
    pub fn write_gathered(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        loop {
            return match self.tcp.write_vectored(pieces) {
                Ok(length) => Ok(length),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => Err(error),
            };
        }
    }

    /// Writes the front of `output` and removes what was written. `true` when nothing is left.
    ///
    /// # Errors
    /// When the connection is broken.
    pub fn drain(&mut self, output: &mut Vec<u8>) -> io::Result<bool> {
        while !output.is_empty() {
            let written = self.write(output)?;
            if written == 0 {
                return Ok(false);
            }
            output.drain(..written);
        }
        Ok(true)
    }

    /// Says that nothing more will be written; the peer reads what is on its way and then the end.
    pub fn finish_writing(&self) {
        // Fails only where there is nobody left to tell.
        let _ = self.tcp.shutdown(std::net::Shutdown::Write);
    }

    /// The other end's address, if it is still known.
    #[must_use]
    pub fn peer(&self) -> Option<SocketAddr> {
        self.tcp.peer_addr().ok()
    }

    /// Limits what the kernel holds for a peer that does not read: old prices are worth nothing.
    pub fn limit_send_buffer(&self, bytes: usize) {
        // Only a hint; the outbox is bounded by itself.
        let _ = socket2::SockRef::from(&self.tcp).set_send_buffer_size(bytes);
    }
}
