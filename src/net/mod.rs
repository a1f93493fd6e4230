//! Sockets: the only place that opens, reads and writes one. Everything is non-blocking and on
//! somebody's poll; the pure connections above never see a socket.

pub mod backoff;
pub mod breaker;
pub mod dial;
pub mod listen;
pub mod page;
pub mod switch;
pub mod tls;

use std::io::{self, IoSlice, Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use rustls::{ClientConnection, Connection as Tls, ServerConnection};

/// What a read brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadOutcome {
    /// This many bytes.
    Bytes(usize),
    /// Nothing now; the poll reports when there is more.
    Blocked,
    /// The peer has ended the stream.
    End,
}

/// One non-blocking socket, plain or inside TLS.
///
/// The poll is edge-triggered, so whoever is told that a link is readable reads until
/// [`ReadOutcome::Blocked`], and calls [`Self::drain`] when it is writable even with nothing of its
/// own to send: TLS has output too.
pub struct Link {
    tcp: TcpStream,
    tls: Option<Box<Tls>>,
    /// What is written is not added to what the kernel has not sent yet.
    apart: bool,
}

impl Link {
    /// A link on an accepted or connecting socket. Small messages go out at once (`TCP_NODELAY`).
    #[must_use]
    pub fn new(tcp: TcpStream) -> Self {
        // Fails only on a socket that is already dead, which the next read reports.
        let _ = tcp.set_nodelay(true);
        Self { tcp, tls: None, apart: false }
    }

    /// Starts to connect to `address`, without TLS. The poll reports when that has succeeded.
    ///
    /// # Errors
    /// If the system refuses a socket.
    pub fn connect(address: SocketAddr) -> io::Result<Self> {
        Ok(Self::new(TcpStream::connect(address)?))
    }

    /// The client end of TLS on a connecting socket. What is written before the handshake is done
    /// waits for it.
    #[must_use]
    pub fn secure(tcp: TcpStream, mut tls: ClientConnection) -> Self {
        tls.set_buffer_limit(Some(TLS_OUTPUT_MAX));
        Self { tls: Some(Box::new(tls.into())), ..Self::new(tcp) }
    }

    /// The server end of TLS on an accepted socket. The handshake is done by reading.
    ///
    /// # Errors
    /// When TLS cannot begin with this identity.
    pub(crate) fn serve_tls(self, identity: &tls::ServerIdentity) -> io::Result<Self> {
        let mut tls = ServerConnection::new(identity.config()).map_err(io::Error::other)?;
        tls.set_buffer_limit(Some(TLS_OUTPUT_MAX));
        Ok(Self { tls: Some(Box::new(tls.into())), ..self })
    }

    /// Does what can be done of the TLS handshake now. `true` when it is complete; a plain link needs none.
    ///
    /// # Errors
    /// When the peer is not who it should be, breaks the protocol or leaves; see [`tls::reason`].
    pub(crate) fn handshake(&mut self) -> io::Result<bool> {
        let Some(tls) = &mut self.tls else { return Ok(true) };
        while tls.is_handshaking() {
            tls::flush(tls, &mut self.tcp)?;
            match tls::feed(tls, &mut self.tcp)? {
                tls::Fed::Some => {}
                tls::Fed::Blocked => return Ok(false),
                tls::Fed::End => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
        }
        tls::flush(tls, &mut self.tcp)?;
        Ok(true)
    }

    /// Puts the socket on a poll for reading and writing, edge-triggered.
    ///
    /// # Errors
    /// When the poll refuses it.
    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        registry.register(&mut self.tcp, token, Interest::READABLE | Interest::WRITABLE)
    }

    /// Takes the socket off a poll.
    pub(crate) fn deregister(&mut self, registry: &Registry) {
        // It may never have been on it.
        let _ = registry.deregister(&mut self.tcp);
    }

    /// Reads what is there, at most `buffer` full.
    ///
    /// # Errors
    /// When the connection is broken; a TLS stream that ends without saying so is
    /// [`io::ErrorKind::UnexpectedEof`], since the stream may have been cut.
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<ReadOutcome> {
        if let Some(tls) = &mut self.tls {
            return tls::read(tls, &mut self.tcp, buffer);
        }
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

    /// Whether a read of `length` bytes into a buffer of `asked` may have left some behind. When it has not,
    /// the poll reports the next ones, and another read would be a wasted system call.
    #[must_use]
    pub(crate) const fn may_hold_more(&self, length: usize, asked: usize) -> bool {
        self.tls.is_some() || length == asked
    }

    /// Bytes that wait in the socket, after TLS or before; 0 if the system does not report it.
    #[must_use]
    pub fn waiting(&self) -> usize {
        rustix::io::ioctl_fionread(&self.tcp).map_or(0, |bytes| bytes as usize)
    }

    /// Writes what the socket takes of `bytes`; 0 when it takes nothing now.
    ///
    /// # Errors
    /// When the connection is broken.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.tls.is_some() {
            return self.write_gathered(&[IoSlice::new(bytes)]);
        }
        loop {
            let written = if self.apart {
                socket2::SockRef::from(&self.tcp).send_with_flags(bytes, MSG_EOR)
            } else {
                self.tcp.write(bytes)
            };
            return match written {
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
    pub(crate) fn write_gathered(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        if let Some(tls) = &mut self.tls {
            let written = tls.writer().write_vectored(pieces)?;
            tls::flush(tls, &mut self.tcp)?;
            return Ok(written);
        }
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
        match &mut self.tls {
            Some(tls) => tls::flush(tls, &mut self.tcp),
            None => Ok(true),
        }
    }

    /// Says that nothing more will be sent: TLS has a message for it, plain TCP needs none.
    pub(crate) fn say_end(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
            // The socket is closed right after; what does not fit now is not worth waiting for.
            let _ = tls::flush(tls, &mut self.tcp);
        }
    }

    /// Says that nothing more will be written; the peer reads what is on its way and then the end.
    pub(crate) fn finish_writing(&self) {
        // Fails only if the peer is gone.
        let _ = self.tcp.shutdown(std::net::Shutdown::Write);
    }

    /// What is still unsent is thrown away when the link is dropped, and the peer gets a reset. Otherwise
    /// the kernel would go on offering it for minutes to a peer that does not read.
    pub(crate) fn forget_unsent(&self) {
        // Fails only on a socket that is dead already.
        let _ = socket2::SockRef::from(&self.tcp).set_linger(Some(Duration::ZERO));
    }

    /// The other end's address, if it is still known.
    #[must_use]
    pub fn peer(&self) -> Option<SocketAddr> {
        self.tcp.peer_addr().ok()
    }

    /// Limits what the kernel holds for a peer that does not read: old prices are worth nothing.
    pub(crate) fn limit_send_buffer(&self, bytes: usize) {
        // Only a hint; the outbox is bounded by itself.
        let _ = socket2::SockRef::from(&self.tcp).set_send_buffer_size(bytes);
    }

    /// Limits what the kernel takes before it has sent what it took earlier, in bytes and beside one write: old prices are
    /// worth nothing, and what the kernel has can no longer be replaced by newer ones. Only for a link without TLS.
    pub(crate) fn limit_unsent(&mut self, bytes: u32) {
        // The limit holds for new buffers; with MSG_EOR each write takes a new one (Linux, tcp_sendmsg).
        self.apart = socket2::SockRef::from(&self.tcp).set_tcp_notsent_lowat(bytes).is_ok();
    }

    /// Ends the connection when what we sent stays unacknowledged for `limit`: the second line against
    /// a peer that is gone without a word.
    pub(crate) fn limit_unacknowledged(&self, limit: Duration) {
        // A system without the option still has the silence rule.
        let _ = rustix::net::sockopt::set_tcp_user_timeout(&self.tcp, limit.as_millis() as u32);
    }
}

/// Ends a record: nothing is added to the buffer of this write. `MSG_EOR` of Linux.
const MSG_EOR: i32 = 0x80;

/// Most output that TLS holds for a socket that does not take it, in bytes.
const TLS_OUTPUT_MAX: usize = 64 * 1024;
