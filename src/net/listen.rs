//! Listening: accepts within limits, survives running out of descriptors.

use std::io;
use std::net::SocketAddr;

use mio::net::TcpListener;
use mio::{Interest, Registry, Token};

use crate::net::Link;

/// Raises the process's limit of open descriptors as far as the system allows without asking, and says
/// where it is now. Shells start programs with 1024, which is for programs that use `select`.
#[must_use]
pub fn raise_descriptors() -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    let before = getrlimit(Resource::Nofile);
    // Refused only where somebody changes the limit at the same moment; then the old one holds.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: before.maximum, maximum: before.maximum });
    getrlimit(Resource::Nofile).current.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX))
}

/// A listening socket.
pub struct Listener {
    tcp: TcpListener,
    address: SocketAddr,
}

impl Listener {
    /// Binds `address`; port 0 picks a free one. `SO_REUSEADDR` is set, so a restart needs no waiting.
    ///
    /// # Errors
    /// When the address cannot be bound, for example because the port is in use.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(4096)?;
        let tcp = TcpListener::from_std(socket.into());
        let address = tcp.local_addr()?;
        Ok(Self { tcp, address })
    }

    /// A second hand on the same socket, for another thread: whoever accepts first has the connection.
    ///
    /// # Errors
    /// When the system gives no further descriptor.
    pub fn share(&self) -> io::Result<Self> {
        let socket: socket2::Socket = socket2::SockRef::from(&self.tcp).try_clone()?;
        Ok(Self { tcp: TcpListener::from_std(socket.into()), address: self.address })
    }

    /// The address that is bound.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Puts it on a poll.
    ///
    /// # Errors
    /// When the poll refuses it.
    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        registry.register(&mut self.tcp, token, Interest::READABLE)
    }

    /// Takes it off a poll: no more connections.
    pub fn deregister(&mut self, registry: &Registry) {
        let _ = registry.deregister(&mut self.tcp);
    }

    /// The next waiting connection; `None` when there is none now.
    ///
    /// # Errors
    /// When accepting fails, for example because descriptors have run out.
    pub fn accept(&mut self) -> io::Result<Option<Link>> {
        loop {
            match self.tcp.accept() {
                Ok((tcp, _)) => return Ok(Some(Link::new(tcp))),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                // The peer gave up while it waited; the next one may be fine.
                Err(error) if matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted) => {
                }
                Err(error) => return Err(error),
            }
        }
    }
}
