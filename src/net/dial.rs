//! Dialling: names resolved, sockets connected, TLS shaken hands, tokens and pages requested, book pages read, all on
//! threads of its own, so that no feed thread ever waits for a resolver, a SYN, a certificate or a large page.
//!
//! Orders come over a bounded channel from any stage; each answer goes to the channel that came with
//! its order, and rings that stage's alarm. Every step has a deadline. It never retries: when to try
//! again is the caller's to know (see [`super::backoff`]).

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, Read};
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, bounded};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use rustc_hash::FxHashMap;
use rustls::ClientConnection;
use rustls::pki_types::ServerName;

use crate::net::Link;
use crate::net::backoff::Wait;
use crate::net::tls::{self, Trust};
use crate::stage::{Alarm, Stage};
use crate::time::{Clock, MS, MonoNs, SECOND};
use crate::venues::DecodeError;
use crate::venues::depth::{BookPage, PageReader};
use crate::wire::url::Url;

/// Longest wait for a name.
const RESOLVE: Duration = Duration::from_secs(2);
/// Longest wait for a connection, over all addresses.
const CONNECT_NS: u64 = 3 * SECOND;
/// The next address is tried beside the first after this long.
const NEXT_ADDRESS_NS: u64 = 200 * MS;
/// Longest wait for a TLS handshake.
const HANDSHAKE_NS: u64 = 3 * SECOND;
/// Why there is no TLS, where nothing says more.
const NO_HANDSHAKE: &str = "no handshake";
/// Longest wait for the whole reply to a token request.
const TOKEN_REPLY: Duration = Duration::from_secs(3);
/// Largest reply to a token request in bytes.
const TOKEN_REPLY_MAX: u64 = 64 * 1024;
/// Longest wait for a list of instruments or a book page.
const PAGE_REPLY: Duration = Duration::from_secs(30);
/// Largest list of instruments in bytes; the longest one is about a third of it.
const LIST_REPLY_MAX: u64 = 64 << 20;
/// Largest book page in bytes. A page of 5,000 levels a side has less than 1 MB.
pub const BOOK_PAGE_MAX: u64 = 16 << 20;
/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 8;
/// Names whose last good addresses are remembered.
const NAMES_MAX: usize = 256;
/// Orders that may wait for a worker.
const ORDERS_MAX: usize = 256;
/// Threads that wait for the system's resolver.
const RESOLVERS: usize = 2;

/// What to reach.
#[derive(Clone, Debug)]
pub(crate) enum Job {
    /// Connect to this `ws://` or `wss://` address, TLS handshake included. The upgrade is the caller's.
    Connect(String),
    /// POST nothing to this `http://` or `https://` address; the reply's body is wanted.
    Post(String),
    /// GET this `http://` or `https://` list of instruments, unless this version of it is still the last one.
    Get(String, Version),
    /// GET the book page at this `http://` or `https://` address, at most [`BOOK_PAGE_MAX`] bytes, and read it here: that
    /// may take longer than a feed's turn.
    Page(String, PageReader),
}

/// What a server calls a version of a list, to be given back with the next request for it (RFC 9110, 13.1). Without
/// either member the list is always sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Version {
    /// The reply's `ETag`.
    pub(crate) etag: Option<String>,
    /// The reply's `Last-Modified`.
    pub(crate) modified: Option<String>,
}

/// One thing to do, and where to say that it is done.
pub struct DialOrder {
    /// The caller's own number, given back.
    pub(crate) slot: usize,
    /// What to reach.
    pub(crate) job: Job,
    /// The authorities that may certify the other end.
    pub trust: Trust,
    /// Has room for as many answers as its owner has orders out.
    pub answers: Sender<DialAnswer>,
    /// Wakes the stage that reads the answers.
    pub alarm: Alarm,
}

/// What became of an order.
pub struct DialAnswer {
    /// From the order.
    pub(crate) slot: usize,
    /// What was reached, or why not.
    pub result: Result<Reached, DialError>,
}

/// What was reached.
pub enum Reached {
    /// A connected socket, on no poll yet. It may be readable already.
    Link(Link),
    /// The body of the reply to [`Job::Post`].
    Body(Vec<u8>),
    /// The reply to [`Job::Get`], and its version; `None`: the version that was asked about is still the last one.
    List(Option<(Vec<u8>, Version)>),
    /// What the reply to [`Job::Page`] says.
    Page(Result<BookPage, DecodeError>),
}

/// Why something was not reached. All but [`Self::Address`] may pass by themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DialError {
    /// Not an address: ours, it should not have passed the configuration.
    Address(String),
    /// The name gave no address, or the resolver no answer. The environment's.
    Resolve(String),
    /// No address took the connection. The environment's or the venue's.
    Connect(String),
    /// The other end is not who it should be, or does not speak TLS as we do: a short reason and all of it.
    Tls(&'static str, String),
    /// The reply to a request had this HTTP status; seconds of `Retry-After`, if it had one.
    Status(u16, Option<u64>),
    /// There was no whole reply to a request.
    Reply(String),
    /// The reply to a request is larger than the limit; bytes. The venue's.
    TooLarge {
        /// The size that the reply states; `None`: it states none.
        size: Option<u64>,
        /// The most that is read of it.
        limit: u64,
    },
    /// Too many orders are waiting already.
    Busy,
}

impl fmt::Display for DialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(why) => write!(f, "address: {why}"),
            Self::Resolve(why) => write!(f, "name: {why}"),
            Self::Connect(why) => write!(f, "connect: {why}"),
            Self::Tls(reason, all) => write!(f, "TLS: {reason} ({all})"),
            Self::Status(status, _) => write!(f, "request refused with HTTP {status}"),
            Self::Reply(why) => write!(f, "request: {why}"),
            Self::TooLarge { size, limit } => {
                f.write_str("request: the reply ")?;
                size.map_or(Ok(()), |size| write!(f, "of {size} bytes "))?;
                write!(f, "is larger than the limit of {limit} bytes")
            }
            Self::Busy => f.write_str("dialers are busy"),
        }
    }
}

impl DialError {
    /// What it says about the next attempt; `ban_s` is how long a ban lasts whose end is not stated.
    #[must_use]
    pub fn wait(&self, ban_s: u64) -> Wait {
        match self {
            Self::Status(status, retry_after) => Wait::of_status(*status, *retry_after, ban_s),
            _ => Wait::Usual,
        }
    }

    /// Whether the other end said something, so that the way to it is there; `None`: it says nothing of that.
    #[must_use]
    pub(crate) fn is_answer(&self) -> Option<bool> {
        match self {
            Self::Status(..) | Self::TooLarge { .. } => Some(true),
            Self::Tls(reason, _) => Some(*reason != NO_HANDSHAKE),
            Self::Resolve(_) | Self::Connect(_) | Self::Reply(_) => Some(false),
            Self::Address(_) | Self::Busy => None,
        }
    }
}

/// Takes orders. Clones share the workers.
#[derive(Clone)]
pub struct DialerHandle(Sender<DialOrder>);

impl DialerHandle {
    /// Hands over `order`; the answer comes later, this never waits.
    ///
    /// # Errors
    /// [`DialError::Busy`] when too many orders wait, or the workers are gone.
    pub fn dial(&self, order: DialOrder) -> Result<(), DialError> {
        self.0.try_send(order).map_err(|_| DialError::Busy)
    }
}

/// A handle, and the stages to run, each on a thread of its own: `workers` dialers (one per venue lets
/// no venue wait for another) and the resolvers. A resolver may hang for as long as the system's does,
/// so these threads must not be waited for at the end.
///
/// # Errors
/// When the system refuses a poll.
pub fn pool(workers: usize, clock: &Clock) -> io::Result<(DialerHandle, Vec<Box<dyn Stage>>)> {
    let (orders, inbox) = bounded(ORDERS_MAX);
    let (names, questions) = bounded(workers.max(1));
    let good = Arc::new(Mutex::new(FxHashMap::default()));
    let mut stages: Vec<Box<dyn Stage>> = Vec::new();
    for n in 0..workers.max(1) {
        stages.push(Box::new(Dialer {
            name: format!("dial-{}", n + 1),
            inbox: inbox.clone(),
            names: names.clone(),
            good: Arc::clone(&good),
            poll: Poll::new()?,
            events: Events::with_capacity(ADDRESSES_MAX),
            clock: clock.clone(),
        }));
    }
    for n in 0..RESOLVERS {
        stages.push(Box::new(Resolver { name: format!("resolve-{}", n + 1), questions: questions.clone() }));
    }
    Ok((DialerHandle(orders), stages))
}

/// `host` and `port` of an address, and whether it wants TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// `wss` or `https`.
    pub tls: bool,
    /// Name or number, without brackets.
    pub host: String,
    /// As written, else the scheme's own.
    pub port: u16,
}

impl Endpoint {
    /// The endpoint of a `ws://`, `wss://`, `http://` or `https://` address.
    ///
    /// # Errors
    /// A sentence that says what is wrong with it.
    pub fn read(address: &str) -> Result<Self, String> {
        let url = Url::parse(address).map_err(|why| format!("`{address}` {why}"))?;
        if !matches!(url.scheme, "ws" | "wss" | "http" | "https") {
            return Err(format!("`{address}` does not start with ws:// or wss://"));
        }
        let tls = url.is_tls();
        Ok(Self { tls, host: url.host.to_owned(), port: url.port.unwrap_or(if tls { 443 } else { 80 }) })
    }

    fn key(&self) -> (String, u16) {
        (self.host.clone(), self.port)
    }
}

/// The address of `path` on the HTTP side of `base`, which may be a WebSocket or an HTTP address with
/// a path of its own: `ws://host:1/venue` and `/token` give `http://host:1/venue/token`.
#[must_use]
pub fn http_address(base: &str, path: &str) -> String {
    let base = base.trim_end_matches('/');
    let base = match base.split_once("://") {
        Some(("ws", rest)) => format!("http://{rest}"),
        Some(("wss", rest)) => format!("https://{rest}"),
        _ => base.to_owned(),
    };
    format!("{base}{path}")
}

/// Addresses by name and port.
type KnownAddresses = FxHashMap<(String, u16), Vec<SocketAddr>>;

type Question = (String, u16, Sender<io::Result<Vec<SocketAddr>>>);

/// Waits for the system's resolver, so that no other thread has to.
struct Resolver {
    name: String,
    questions: Receiver<Question>,
}

impl Stage for Resolver {
    fn name(&self) -> &str {
        &self.name
    }

    fn turn(&mut self, wait: Duration) -> usize {
        let Ok((host, port, answer)) = next(&self.questions, wait) else { return 0 };
        let addresses = (host.as_str(), port).to_socket_addrs().map(|all| all.take(ADDRESSES_MAX).collect());
        // The caller may have given up.
        let _ = answer.try_send(addresses);
        1
    }
}

/// A waiting receive; a stage whose every sender is gone still sleeps.
fn next<T>(inbox: &Receiver<T>, wait: Duration) -> Result<T, RecvTimeoutError> {
    let received = inbox.recv_timeout(wait);
    if received.as_ref().is_err_and(|e| *e == RecvTimeoutError::Disconnected) {
        std::thread::sleep(wait);
    }
    received
}

struct Dialer {
    name: String,
    inbox: Receiver<DialOrder>,
    names: Sender<Question>,
    /// Addresses of a name, the one that last took a connection first. Locked for a look-up only.
    good: Arc<Mutex<KnownAddresses>>,
    poll: Poll,
    events: Events,
    clock: Clock,
}

impl Stage for Dialer {
    fn name(&self) -> &str {
        &self.name
    }

    fn turn(&mut self, wait: Duration) -> usize {
        let Ok(order) = next(&self.inbox, wait) else { return 0 };
        let result = match &order.job {
            Job::Connect(address) => self.connect(address, &order.trust).map(Reached::Link),
            Job::Get(..) => request(&order.job, &order.trust).map(Reached::List),
            Job::Post(_) => body_of(&order).map(Reached::Body),
            Job::Page(_, read) => body_of(&order).map(|body| Reached::Page(read(&body))),
        };
        // Fails only when the stage that asked is gone.
        let _ = order.answers.try_send(DialAnswer { slot: order.slot, result });
        order.alarm.ring();
        1
    }
}

impl Dialer {
    fn connect(&mut self, address: &str, trust: &Trust) -> Result<Link, DialError> {
        let endpoint = Endpoint::read(address).map_err(DialError::Address)?;
        let addresses = self.addresses(&endpoint)?;
        let tcp = self.race(&addresses).map_err(|e| DialError::Connect(e.to_string()))?;
        if let Ok(winner) = tcp.peer_addr() {
            self.remember(&endpoint, winner, addresses);
        }
        if !endpoint.tls {
            return Ok(Link::new(tcp));
        }
        let name = ServerName::try_from(endpoint.host).map_err(|e| DialError::Address(e.to_string()))?;
        let tls = ClientConnection::new(Arc::clone(&trust.config), name)
            .map_err(|e| DialError::Tls("cannot begin", e.to_string()))?;
        let mut link = Link::secure(tcp, tls);
        match self.handshake(&mut link) {
            Ok(()) => Ok(link),
            Err(error) => Err(DialError::Tls(tls::reason(&error).unwrap_or(NO_HANDSHAKE), error.to_string())),
        }
    }

    /// The addresses of a name, best first. When the resolver fails, those that were good last time.
    fn addresses(&self, endpoint: &Endpoint) -> Result<Vec<SocketAddr>, DialError> {
        if let Ok(number) = endpoint.host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(number, endpoint.port)]);
        }
        let known = self.good.lock().ok().and_then(|good| good.get(&endpoint.key()).cloned()).unwrap_or_default();
        match self.resolve(endpoint) {
            Ok(mut addresses) => {
                // The one that worked last time goes first.
                if let Some(at) = known.first().and_then(|best| addresses.iter().position(|a| a == best)) {
                    addresses.swap(0, at);
                }
                Ok(addresses)
            }
            Err(_) if !known.is_empty() => Ok(known),
            Err(why) => Err(DialError::Resolve(format!("{}: {why}", endpoint.host))),
        }
    }

    fn resolve(&self, endpoint: &Endpoint) -> Result<Vec<SocketAddr>, String> {
        let (answer, answers) = bounded(1);
        let question = (endpoint.host.clone(), endpoint.port, answer);
        self.names.try_send(question).map_err(|_| "the resolver is stuck".to_owned())?;
        match answers.recv_timeout(RESOLVE) {
            Ok(Ok(addresses)) if addresses.is_empty() => Err("no address".to_owned()),
            Ok(Ok(addresses)) => Ok(addresses),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("no answer in {RESOLVE:?}")),
        }
    }

    fn remember(&self, endpoint: &Endpoint, winner: SocketAddr, mut addresses: Vec<SocketAddr>) {
        if endpoint.host.parse::<IpAddr>().is_ok() {
            return;
        }
        if let Some(at) = addresses.iter().position(|a| *a == winner) {
            addresses.swap(0, at);
        }
        if let Ok(mut good) = self.good.lock() {
            if good.len() >= NAMES_MAX {
                good.clear();
            }
            good.insert(endpoint.key(), addresses);
        }
    }

    /// Connects to the first address that answers: each next one is tried beside the others when the one
    /// before it has failed or kept silent for [`NEXT_ADDRESS_NS`].
    fn race(&mut self, addresses: &[SocketAddr]) -> io::Result<TcpStream> {
        let started = self.clock.now();
        let deadline = started.plus(CONNECT_NS);
        let mut waiting: VecDeque<SocketAddr> = addresses.iter().copied().collect();
        let mut running: Vec<Option<TcpStream>> = Vec::new();
        let mut next_at = started;
        let mut last_error = io::Error::from(io::ErrorKind::TimedOut);
        loop {
            let now = self.clock.now();
            if now >= deadline {
                return Err(last_error);
            }
            if now >= next_at
                && let Some(address) = waiting.pop_front()
            {
                next_at = now.plus(NEXT_ADDRESS_NS);
                match self.begin(address, running.len()) {
                    Ok(tcp) => running.push(Some(tcp)),
                    Err(error) => {
                        (last_error, next_at) = (error, now);
                        continue;
                    }
                }
            }
            if waiting.is_empty() && running.iter().all(Option::is_none) {
                return Err(last_error);
            }
            self.sleep(if waiting.is_empty() { deadline } else { next_at.min(deadline) })?;
            for index in self.events.iter().map(|event| event.token().0) {
                let Some(slot) = running.get_mut(index) else { continue };
                let Some(tcp) = slot.as_mut() else { continue };
                match is_connected(tcp) {
                    Ok(true) => {
                        self.poll.registry().deregister(tcp)?;
                        return slot.take().ok_or_else(|| io::ErrorKind::NotConnected.into());
                    }
                    Ok(false) => {}
                    Err(error) => {
                        *slot = None;
                        (last_error, next_at) = (error, now);
                    }
                }
            }
        }
    }

    fn begin(&self, address: SocketAddr, index: usize) -> io::Result<TcpStream> {
        let mut tcp = TcpStream::connect(address)?;
        self.poll.registry().register(&mut tcp, Token(index), Interest::WRITABLE)?;
        Ok(tcp)
    }

    fn handshake(&mut self, link: &mut Link) -> io::Result<()> {
        let deadline = self.clock.now().plus(HANDSHAKE_NS);
        link.register(self.poll.registry(), Token(0))?;
        while !link.handshake()? {
            if self.clock.now() >= deadline {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "the TLS handshake takes too long"));
            }
            self.sleep(deadline)?;
        }
        link.deregister(self.poll.registry());
        Ok(())
    }

    /// Sleeps until a socket is ready or until `deadline`.
    fn sleep(&mut self, deadline: MonoNs) -> io::Result<()> {
        let wait = Duration::from_nanos(deadline.since(self.clock.now()));
        match self.poll.poll(&mut self.events, Some(wait)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                self.events.clear();
                Ok(())
            }
            result => result,
        }
    }
}

fn is_connected(tcp: &TcpStream) -> io::Result<bool> {
    if let Some(error) = tcp.take_error()? {
        return Err(error);
    }
    match tcp.peer_addr() {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(false),
        Err(error) => Err(error),
    }
}

/// The body of the reply to an order that is not about versions.
fn body_of(order: &DialOrder) -> Result<Vec<u8>, DialError> {
    let reply = request(&order.job, &order.trust)?;
    reply.map(|(body, _)| body).ok_or(DialError::Status(NOT_MODIFIED, None))
}

/// The status of a reply without a body: the version that was asked about is still the last one.
const NOT_MODIFIED: u16 = 304;

/// The body of the reply to `job`, and its version; `None`: the version of `job` is still the last one. Follows no
/// redirect, asks no proxy. Lists may come packed by gzip, which makes megabytes of names some tenths of that.
fn request(job: &Job, trust: &Trust) -> Result<Option<(Vec<u8>, Version)>, DialError> {
    use ureq::tls::RootCerts;

    let (patience, limit) = match job {
        Job::Get(..) => (PAGE_REPLY, LIST_REPLY_MAX),
        Job::Page(..) => (PAGE_REPLY, BOOK_PAGE_MAX),
        _ => (TOKEN_REPLY, TOKEN_REPLY_MAX),
    };
    let ask = |roots| match job {
        Job::Get(address, Version { etag, modified }) => {
            let mut get = agent(roots, patience).get(address).header("accept-encoding", "gzip");
            for (name, value) in [("if-none-match", etag), ("if-modified-since", modified)] {
                get = if let Some(value) = value { get.header(name, value) } else { get };
            }
            get.call()
        }
        Job::Page(address, _) => agent(roots, patience).get(address).call(),
        Job::Post(address) | Job::Connect(address) => agent(roots, patience).post(address).send_empty(),
    };
    let reply = match ask(RootCerts::WebPki) {
        // The library takes the public roots or ours, not both at once.
        Err(error) if !trust.extra.is_empty() && is_about_certificate(&error) => {
            let extra: Vec<_> =
                trust.extra.iter().map(|der| ureq::tls::Certificate::from_der(der).to_owned()).collect();
            ask(RootCerts::new_with_certs(&extra))
        }
        reply => reply,
    };
    let mut reply = reply.map_err(|e| {
        if is_about_certificate(&e) {
            DialError::Tls("certificate refused", e.to_string())
        } else {
            DialError::Reply(e.to_string())
        }
    })?;
    let header = |name: &str| reply.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let version = Version { etag: header("etag"), modified: header("last-modified") };
    let is_packed = header("content-encoding").is_some_and(|coding| coding.trim().eq_ignore_ascii_case("gzip"));
    if reply.status().as_u16() == NOT_MODIFIED {
        return Ok(None);
    }
    if !reply.status().is_success() {
        let retry_after = reply.headers().get("retry-after").and_then(|v| v.to_str().ok());
        return Err(DialError::Status(reply.status().as_u16(), retry_after.and_then(|v| v.trim().parse().ok())));
    }
    let size = reply.body().content_length();
    if size.is_some_and(|size| size > limit) {
        return Err(DialError::TooLarge { size, limit });
    }
    let mut body = Vec::new();
    let reader = reply.body_mut().as_reader();
    let read = if is_packed {
        flate2::read::MultiGzDecoder::new(reader).take(limit + 1).read_to_end(&mut body)
    } else {
        reader.take(limit + 1).read_to_end(&mut body)
    };
    match read {
        Ok(_) if body.len() as u64 > limit => Err(DialError::TooLarge { size, limit }),
        Ok(_) => Ok(Some((body, version))),
        Err(error) => Err(DialError::Reply(error.to_string())),
    }
}

fn agent(roots: ureq::tls::RootCerts, patience: Duration) -> ureq::Agent {
    ureq::Agent::config_builder()
        .timeout_global(Some(patience))
        .max_redirects(0)
        .http_status_as_error(false)
        .proxy(None)
        .user_agent(concat!("spreadwire/", env!("CARGO_PKG_VERSION")))
        .tls_config(ureq::tls::TlsConfig::builder().root_certs(roots).build())
        .build()
        .into()
}

fn is_about_certificate(error: &ureq::Error) -> bool {
    match error {
        ureq::Error::Rustls(rustls::Error::InvalidCertificate(_)) => true,
        ureq::Error::Io(error) => tls::reason(error).is_some_and(|reason| reason.starts_with("certificate")),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dialer() -> (Dialer, Receiver<Question>) {
        let (_, inbox) = bounded(1);
        let (names, questions) = bounded(1);
        let dialer = Dialer {
            name: "dial-1".into(),
            inbox,
            names,
            good: Arc::default(),
            poll: Poll::new().unwrap(),
            events: Events::with_capacity(8),
            clock: Clock::System,
        };
        (dialer, questions)
    }

    #[test]
    fn addresses_are_read_and_turned_into_http_ones() {
        let read = |address| Endpoint::read(address).map(|e| (e.tls, e.host, e.port));
        assert_eq!(read("wss://ws.okx.com:8443/ws/v5/public"), Ok((true, "ws.okx.com".into(), 8443)));
        assert_eq!(read("ws://[::1]/x"), Ok((false, "::1".into(), 80)));
        assert_eq!(read("https://api.kucoin.com"), Ok((true, "api.kucoin.com".into(), 443)));
        assert!(read("ftp://x").is_err() && read("x").is_err() && read("").is_err());
        assert_eq!(http_address("ws://127.0.0.1:9/kucoin/", "/api/v1/x"), "http://127.0.0.1:9/kucoin/api/v1/x");
        assert_eq!(http_address("wss://a.b", "/x"), "https://a.b/x");
        assert_eq!(http_address("https://a.b", "/x"), "https://a.b/x");
    }

    #[test]
    fn the_next_address_is_tried_when_the_first_is_dead() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let alive = listener.local_addr().unwrap();
        let dead = {
            let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            gone.local_addr().unwrap()
        };
        let (mut dialer, _questions) = dialer();
        let tcp = dialer.race(&[dead, alive]).unwrap();
        assert_eq!(tcp.peer_addr().unwrap(), alive);
        assert_eq!(dialer.race(&[dead, dead]).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    }

    /// A listener whose queue is full: the system answers no SYN to it.
    fn black_hole() -> (socket2::Socket, SocketAddr, Vec<TcpStream>) {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        socket.listen(0).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        let waiting = (0..4).map(|_| TcpStream::connect(address).unwrap()).collect();
        (socket, address, waiting)
    }

    #[test]
    fn a_black_hole_is_left_after_the_deadline() {
        let (_socket, address, _waiting) = black_hole();
        let (mut dialer, _questions) = dialer();
        assert_eq!(dialer.race(&[address]).unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn a_silent_address_does_not_hold_up_the_next() {
        let (_socket, silent, _waiting) = black_hole();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let alive = listener.local_addr().unwrap();
        let (mut dialer, _questions) = dialer();
        assert_eq!(dialer.race(&[silent, alive]).unwrap().peer_addr().unwrap(), alive);
    }

    #[test]
    fn the_address_that_worked_goes_first_next_time() {
        let (dialer, questions) = dialer();
        let [first, second] = [1, 2].map(|n| SocketAddr::from(([127, 0, 0, n], 80)));
        let endpoint = Endpoint { tls: false, host: "venue.test".into(), port: 80 };
        dialer.remember(&endpoint, second, vec![first, second]);
        std::thread::scope(|scope| {
            scope.spawn(|| questions.recv().unwrap().2.send(Ok(vec![first, second])).unwrap());
            assert_eq!(dialer.addresses(&endpoint), Ok(vec![second, first]));
        });
    }

    #[test]
    fn when_the_resolver_fails_the_last_good_address_is_used() {
        let (dialer, questions) = dialer();
        let endpoint = Endpoint { tls: false, host: "venue.test".into(), port: 80 };
        let address = SocketAddr::from(([127, 0, 0, 1], 80));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..2 {
                    questions.recv().unwrap().2.send(Err(io::Error::other("no such name"))).unwrap();
                }
            });
            assert!(matches!(dialer.addresses(&endpoint), Err(DialError::Resolve(_))));
            dialer.remember(&endpoint, address, vec![address]);
            assert_eq!(dialer.addresses(&endpoint), Ok(vec![address]));
        });
    }

    #[test]
    fn a_resolver_that_hangs_is_left_after_its_deadline() {
        let (dialer, questions) = dialer();
        let endpoint = Endpoint { tls: false, host: "venue.test".into(), port: 80 };
        // Nobody answers: first the deadline, then, with the queue full, at once.
        assert!(matches!(dialer.addresses(&endpoint), Err(DialError::Resolve(why)) if why.contains("no answer")));
        assert!(matches!(dialer.addresses(&endpoint), Err(DialError::Resolve(why)) if why.contains("stuck")));
        assert_eq!(questions.len(), 1);
    }
}
