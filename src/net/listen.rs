//! Listening: accepts within limits, survives running out of descriptors; whose address counts behind a proxy.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

use mio::net::TcpListener;
use mio::{Interest, Registry, Token};
use rustc_hash::FxHashMap;

use crate::net::Link;

/// Raises the process's limit of open descriptors as far as the system allows without asking, and says
/// where it is now. Shells start programs with 1024, which is for programs that use `select`.
#[must_use]
pub(crate) fn raise_descriptors() -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    let before = getrlimit(Resource::Nofile);
    // Fails only if the limit is changed at the same moment; the old limit then holds.
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

    /// Another handle on the same socket, for another thread: the first thread to accept gets the connection.
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
    pub(crate) fn deregister(&mut self, registry: &Registry) {
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

/// Counts the open connections of each address and limits them. Clones share the count, so that threads which accept on
/// one socket limit their clients together. IPv6 clients are counted by network of 64 bits, which is what one of them has.
#[derive(Clone, Debug, Default)]
pub struct Addresses(Arc<Table>);

#[derive(Debug, Default)]
struct Table {
    /// 0: there is no limit.
    most: usize,
    proxies: Vec<Network>,
    open: Mutex<FxHashMap<IpAddr, usize>>,
}

impl Addresses {
    /// At most `most` connections of one address, 0 for no limit. `proxies` have no limit, and are believed when they say
    /// for whom they come.
    #[must_use]
    pub fn new(most: usize, proxies: Vec<Network>) -> Self {
        Self(Arc::new(Table { most, proxies, open: Mutex::default() }))
    }

    fn is_proxy(&self, address: IpAddr) -> bool {
        self.0.proxies.iter().any(|network| network.contains(address))
    }

    /// The sender of a request that came from `peer` with `forwarded_for`, the value of `X-Forwarded-For`. Each proxy adds the
    /// address that it was called from at the end (<https://developer.mozilla.org/docs/Web/HTTP/Reference/Headers/X-Forwarded-For>,
    /// read 2026-11-30), so the last address that is no proxy counts; what stands before it may be made up.
    #[must_use]
    pub(crate) fn caller(&self, peer: Option<IpAddr>, forwarded_for: &str) -> Caller {
        let peer = peer.map(|address| address.to_canonical());
        let Some(proxy) = peer.filter(|address| self.is_proxy(*address)) else {
            return Caller { address: peer, proxy: None };
        };
        let mut address = proxy;
        for item in forwarded_for.rsplit(',') {
            let Some(hop) = forwarded_address(item) else { break };
            address = hop.to_canonical();
            if !self.is_proxy(address) {
                break;
            }
        }
        Caller { address: Some(address), proxy: Some(proxy) }
    }

    /// A place for a connection of `peer`; `None` when its address has as many as it may have. A peer whose address is
    /// not known any more has just left.
    #[must_use]
    pub(crate) fn enter(&self, peer: Option<SocketAddr>) -> Option<Admission> {
        let address = peer.map(|peer| peer.ip().to_canonical());
        let Some(address) = address.filter(|address| self.0.most > 0 && !self.is_proxy(*address)) else {
            return Some(Admission(None));
        };
        let address = one_client(address);
        let mut open = self.0.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(address).or_default();
        if *count >= self.0.most {
            return None;
        }
        *count += 1;
        Some(Admission(Some((Arc::clone(&self.0), address))))
    }
}

/// The sender of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Caller {
    /// Its address, as far as it is known.
    pub address: Option<IpAddr>,
    /// The proxy that it came through, if it came through a known one.
    pub proxy: Option<IpAddr>,
}

/// What one client has of addresses: one of IPv4, a network of 64 bits of IPv6.
#[must_use]
pub(crate) fn one_client(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        address => address,
    }
}

/// An item of `X-Forwarded-For`: an address, which some proxies write with its port.
fn forwarded_address(item: &str) -> Option<IpAddr> {
    let item = item.trim();
    let address = item.parse().or_else(|_| item.parse().map(|address: SocketAddr| address.ip()));
    address.or_else(|_| item.trim_start_matches('[').trim_end_matches(']').parse()).ok()
}

/// The place of one connection in the count of its address; given back when it is dropped.
#[derive(Debug)]
pub struct Admission(Option<(Arc<Table>, IpAddr)>);

impl Drop for Admission {
    fn drop(&mut self) {
        let Some((table, address)) = self.0.take() else { return };
        let mut open = table.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                open.remove(&address);
            }
        }
    }
}

/// A range of addresses, such as `10.0.0.0/8` or `2001:db8::1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u32,
}

impl Network {
    /// Those of a comma list.
    ///
    /// # Errors
    /// The item that is none.
    pub fn list(text: &str) -> Result<Vec<Self>, &str> {
        let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
        items.map(|item| item.parse().map_err(|()| item)).collect()
    }

    /// Whether `address` is in it.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let is_same = |mine: u128, other: u128, width: u32| {
            let rest = width - self.bits;
            rest >= width || mine >> rest == other >> rest
        };
        match (self.address, address) {
            (IpAddr::V4(mine), IpAddr::V4(other)) => is_same(mine.to_bits().into(), other.to_bits().into(), 32),
            (IpAddr::V6(mine), IpAddr::V6(other)) => is_same(mine.to_bits(), other.to_bits(), 128),
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.parse().map_err(|_| ())?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(width), str::parse).map_err(|_| ())?;
        if bits > width { Err(()) } else { Ok(Self { address, bits }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_so_many_connections_and_a_proxy_any_number() {
        let addresses = Addresses::new(2, Network::list("127.0.0.0/8, 10.1.2.3").unwrap());
        let peer = |text: &str| Some(SocketAddr::new(text.parse().unwrap(), 7));
        for address in ["192.0.2.1", "192.0.2.2", "2001:db8::1"] {
            let held = [addresses.enter(peer(address)), addresses.enter(peer(address))];
            assert!(held.iter().all(Option::is_some));
            assert!(addresses.clone().enter(peer(address)).is_none());
            drop(held);
            assert!(addresses.enter(peer(address)).is_some());
        }
        let one = [addresses.enter(peer("2001:db8::1")), addresses.enter(peer("2001:db8::2"))];
        assert!(addresses.enter(peer("2001:db8::3")).is_none() && addresses.enter(peer("2001:db8:0:1::1")).is_some());
        for address in ["127.0.0.1", "127.9.9.9", "10.1.2.3", "::ffff:127.0.0.1"] {
            let held: Vec<_> = (0..10).map(|_| addresses.enter(peer(address))).collect();
            assert!(held.iter().all(Option::is_some), "{address}");
        }
        drop(one);
        assert!(addresses.0.open.lock().unwrap().is_empty());
        assert!(Addresses::default().enter(peer("192.0.2.1")).is_some());
    }

    #[test]
    fn behind_a_proxy_the_last_address_that_is_no_proxy_counts() {
        let addresses = Addresses::new(0, Network::list("127.0.0.0/8, ::1, 10.0.0.0/8").unwrap());
        let caller = |peer: &str, forwarded: &str| {
            let caller = addresses.caller(Some(peer.parse().unwrap()), forwarded);
            (caller.address.unwrap().to_string(), caller.proxy.is_some())
        };
        for (peer, forwarded, address, is_proxied) in [
            // Nobody else is believed.
            ("192.0.2.1", "198.51.100.7", "192.0.2.1", false),
            ("127.0.0.1", "", "127.0.0.1", true),
            ("127.0.0.1", "198.51.100.7", "198.51.100.7", true),
            ("::ffff:127.0.0.1", "::ffff:198.51.100.7", "198.51.100.7", true),
            // What the client wrote itself comes first.
            ("127.0.0.1", "1.2.3.4, 127.0.0.1,198.51.100.7", "198.51.100.7", true),
            ("127.0.0.1", "1.2.3.4, 198.51.100.7 , 10.0.0.2, 10.0.0.3", "198.51.100.7", true),
            ("127.0.0.1", "10.0.0.2", "10.0.0.2", true),
            ("::1", "198.51.100.7:4711", "198.51.100.7", true),
            ("::1", "[2001:db8::1]:4711", "2001:db8::1", true),
            ("::1", "[2001:db8::1]", "2001:db8::1", true),
            // What cannot be read ends the chain at the proxy that wrote it.
            ("127.0.0.1", "198.51.100.7, unknown", "127.0.0.1", true),
            ("127.0.0.1", "198.51.100.7, unknown, 10.0.0.2", "10.0.0.2", true),
            ("127.0.0.1", ",", "127.0.0.1", true),
        ] {
            assert_eq!(caller(peer, forwarded), (address.to_owned(), is_proxied), "{peer} for {forwarded}");
        }
        assert_eq!(addresses.caller(None, "198.51.100.7"), Caller { address: None, proxy: None });
    }

    #[test]
    fn what_is_no_network_is_said() {
        assert_eq!(Network::list("10.0.0.0/33"), Err("10.0.0.0/33"));
        assert_eq!(Network::list("::1, proxy"), Err("proxy"));
        assert_eq!(Network::list(" "), Ok(vec![]));
        let all: Network = "0.0.0.0/0".parse().unwrap();
        assert!(all.contains("192.0.2.1".parse().unwrap()) && !all.contains("::1".parse().unwrap()));
    }
}
