//! Shared parts of the whole-process measurements: the real binary as a child, venues that send exactly the required
//! frames, and raw clients that count frames. Loopback only, with limits on time and counts.

#![allow(dead_code)]

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};

/// The symbols of all measurements.
pub const SYMBOLS: [&str; 5] = ["BTC", "ETH", "SOL", "XRP", "DOGE"];
/// The venues of all measurements: 5 symbols on 3 venues are the 15 pairs.
pub const VENUES: [&str; 3] = ["binance", "okx", "bybit"];

/// A running `spreadwire serve`, killed when dropped.
pub struct Server {
    child: Child,
    /// Address for its clients.
    pub address: SocketAddr,
    config: std::path::PathBuf,
}

impl Server {
    /// Starts the real binary on `venues` (ws addresses in the order of [`VENUES`]), with `extra` appended to its
    /// configuration. Returns when it answers, with the time taken.
    pub fn start(venues: &[SocketAddr], extra: &str) -> (Self, Duration) {
        let names: Vec<String> = VENUES[..venues.len()].iter().map(|v| format!("\"{v}\"")).collect();
        let symbols: Vec<String> = SYMBOLS.iter().map(|s| format!("\"{s}/USDT\"")).collect();
        let mut text = format!("venues = [{}]\ninstruments = [{}]\n", names.join(", "), symbols.join(", "));
        for (name, venue) in VENUES.iter().zip(venues) {
            text += &format!("[venue.{name}]\naddress = \"ws://{venue}/\"\n");
        }
        Self::start_with(&format!("{text}[gateway]\n{extra}"))
    }

    /// Starts the real binary with this configuration, which must not set the listen address.
    pub fn start_with(config: &str) -> (Self, Duration) {
        let (address, text) = (free_address(), config);
        let config = std::env::temp_dir().join(format!("spreadwire-perf-{}.toml", address.port()));
        std::fs::write(&config, text).expect("the temporary folder takes a file");
        let begun = Instant::now();
        let child = Command::new(env!("CARGO_BIN_EXE_spreadwire"))
            .args(["serve", "--config"])
            .arg(&config)
            .env("SPREADWIRE_GATEWAY_LISTEN", address.to_string())
            .stderr(if std::env::var_os("PERF_VERBOSE").is_some() { Stdio::inherit() } else { Stdio::null() })
            .stdout(Stdio::null())
            .spawn()
            .expect("the binary starts");
        let server = Self { child, address, config };
        while http_get(address, "/api/websocket/stats").is_none() {
            assert!(begun.elapsed() < Duration::from_secs(20), "the server does not answer");
            std::thread::sleep(Duration::from_millis(2));
        }
        (server, begun.elapsed())
    }

    /// Sends a signal to the process.
    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).expect("it runs");
    }

    /// CPU time of all its threads, in nanoseconds.
    pub fn cpu_ns(&self) -> u64 {
        cpu_ns(self.child.id())
    }

    /// Resident memory in bytes.
    pub fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let kib = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).and_then(|l| l.trim().strip_suffix(" kB"));
        kib.and_then(|n| n.trim().parse::<u64>().ok()).unwrap_or(0) * 1024
    }

    /// The body of a GET.
    pub fn get(&self, path: &str) -> String {
        http_get(self.address, path).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_file(&self.config);
    }
}

/// CPU time of all threads of a process, in nanoseconds.
pub fn cpu_ns(pid: u32) -> u64 {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return 0 };
    threads
        .filter_map(|thread| std::fs::read_to_string(thread.ok()?.path().join("schedstat")).ok())
        .filter_map(|text| text.split(' ').next()?.parse::<u64>().ok())
        .sum()
}

/// An address on loopback that was free a moment ago.
pub fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("loopback has a free port")
}

/// Sends a GET on a new connection. Returns the body, or `None` if there is no server.
pub fn http_get(address: SocketAddr, path: &str) -> Option<String> {
    let mut socket = TcpStream::connect(address).ok()?;
    socket.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    write!(socket, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").ok()?;
    let mut reply = String::new();
    socket.read_to_string(&mut reply).ok()?;
    reply.split_once("\r\n\r\n").map(|(_, body)| body.to_owned())
}

/// A simulated venue: accepts one connection of the server, then sends frames on request.
pub struct VenueSocket {
    name: &'static str,
    socket: tungstenite::WebSocket<TcpStream>,
    sequence: u64,
    cents: u64,
}

/// Listeners for the first `count` venues; pass their addresses to [`Server::start`].
pub fn venue_listeners(count: usize) -> Vec<TcpListener> {
    (0..count).map(|_| TcpListener::bind("127.0.0.1:0").expect("loopback has a free port")).collect()
}

/// Accepts the server's connection on each listener.
pub fn accept_venues(listeners: &[TcpListener]) -> Vec<VenueSocket> {
    listeners
        .iter()
        .zip(VENUES)
        .map(|(listener, name)| {
            let (stream, _) = listener.accept().expect("the server connects");
            stream.set_nodelay(true).expect("a fresh socket");
            let socket = tungstenite::accept(stream).expect("the server upgrades");
            VenueSocket { name, socket, sequence: 1_000, cents: 6_370_400 }
        })
        .collect()
}

impl VenueSocket {
    /// Sends one best-bid-ask frame of `SYMBOLS[symbol]` with the bid at `cents` and the ask a cent above.
    pub fn quote(&mut self, symbol: usize, cents: u64) {
        self.sequence += 1;
        self.cents = cents;
        let base = SYMBOLS[symbol];
        let (bid, ask) = (price(cents), price(cents + 1));
        let size = format!("{}.{:03}", self.sequence % 7 + 1, self.sequence % 1000);
        let ms = std::time::SystemTime::UNIX_EPOCH.elapsed().map_or(0, |d| d.as_millis());
        let sequence = self.sequence;
        let frame = match self.name {
            "binance" => format!(
                r#"{{"u":{sequence},"s":"{base}USDT","b":"{bid}000000","B":"{size}00000","a":"{ask}000000","A":"{size}00000"}}"#
            ),
            "okx" => format!(
                r#"{{"arg":{{"channel":"bbo-tbt","instId":"{base}-USDT"}},"data":[{{"asks":[["{ask}","{size}","0","3"]],"bids":[["{bid}","{size}","0","2"]],"ts":"{ms}","seqId":{sequence}}}]}}"#
            ),
            _ => format!(
                r#"{{"topic":"orderbook.1.{base}USDT","ts":{ms},"type":"snapshot","data":{{"s":"{base}USDT","b":[["{bid}","{size}"]],"a":[["{ask}","{size}"]],"u":{sequence},"seq":{sequence}}},"cts":{ms}}}"#
            ),
        };
        self.socket.send(tungstenite::Message::text(frame)).expect("the server reads");
    }

    /// Quotes every symbol once, with the same price on all venues, so that there is no opportunity.
    pub fn all_quotes(&mut self) {
        for symbol in 0..SYMBOLS.len() {
            self.quote(symbol, 6_370_400);
        }
    }
}

fn price(cents: u64) -> String {
    format!("{}.{:02}", cents / 100, cents % 100)
}

/// The upgrade request and one masked subscribe frame for `pairs` = symbols x venues.
pub fn client_hello(address: SocketAddr, symbols: usize, venues: &[&str], extra: &str) -> Vec<u8> {
    let mut out = format!(
        "GET /ws/prices HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    .into_bytes();
    let symbols: Vec<String> = SYMBOLS[..symbols].iter().map(|s| format!("\"{s}/USDT\"")).collect();
    let venues: Vec<String> = venues.iter().map(|v| format!("\"{v}\"")).collect();
    let text = format!(
        r#"{{"action":"subscribe","symbols":[{}],"exchanges":[{}]{extra}}}"#,
        symbols.join(","),
        venues.join(",")
    );
    // A mask of zeros leaves the payload as it is.
    out.push(0x81);
    match text.len() {
        0..=125 => out.push(0x80 | text.len() as u8),
        length => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
    }
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(text.as_bytes());
    out
}

/// Counts the frames of a byte stream without parsing their content. The HTTP head is skipped.
#[derive(Default)]
pub struct FrameCounter {
    head_done: bool,
    tail: [u8; 4],
    header: Vec<u8>,
    skip: usize,
    /// Frames so far.
    pub frames: u64,
}

impl FrameCounter {
    /// A counter for a stream without an HTTP head.
    pub fn bare() -> Self {
        Self { head_done: true, ..Self::default() }
    }

    /// Takes bytes as read.
    pub fn take(&mut self, mut bytes: &[u8]) {
        while !self.head_done && !bytes.is_empty() {
            self.tail.rotate_left(1);
            self.tail[3] = bytes[0];
            bytes = &bytes[1..];
            self.head_done = &self.tail == b"\r\n\r\n";
        }
        while !bytes.is_empty() {
            if self.skip > 0 {
                let step = self.skip.min(bytes.len());
                self.skip -= step;
                bytes = &bytes[step..];
                continue;
            }
            self.header.push(bytes[0]);
            bytes = &bytes[1..];
            let length = match self.header.get(1).map(|b| b & 0x7f) {
                Some(126) if self.header.len() == 4 => u16::from_be_bytes([self.header[2], self.header[3]]).into(),
                Some(127) if self.header.len() == 10 => {
                    self.header[2..].iter().fold(0usize, |n, b| n << 8 | usize::from(*b))
                }
                Some(length) if length < 126 => usize::from(length),
                _ => continue,
            };
            self.skip = length;
            self.header.clear();
            self.frames += 1;
        }
    }
}

/// Many raw clients on one poll.
pub struct Swarm {
    poll: Poll,
    clients: Vec<(mio::net::TcpStream, FrameCounter)>,
    buffer: Vec<u8>,
}

impl Swarm {
    /// Connects `count` clients one after the other; each sends `hello`.
    pub fn connect(address: SocketAddr, count: usize, hello: &[u8]) -> Self {
        let poll = Poll::new().expect("a poll");
        let mut swarm = Self { poll, clients: Vec::with_capacity(count), buffer: vec![0; 1 << 18] };
        for n in 0..count {
            let mut socket = TcpStream::connect(address).expect("the server accepts");
            socket.write_all(hello).expect("the server reads");
            socket.set_nonblocking(true).expect("a fresh socket");
            let mut socket = mio::net::TcpStream::from_std(socket);
            swarm.poll.registry().register(&mut socket, Token(n), Interest::READABLE).expect("registered");
            swarm.clients.push((socket, if hello.is_empty() { FrameCounter::bare() } else { FrameCounter::default() }));
            if n % 64 == 0 {
                swarm.read_for(Duration::ZERO);
            }
        }
        swarm
    }

    /// Reads all arriving data for `time`.
    pub fn read_for(&mut self, time: Duration) {
        let end = Instant::now() + time;
        let mut events = Events::with_capacity(1024);
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match self.poll.poll(&mut events, Some(left.min(Duration::from_millis(50)))) {
                Err(error) if error.kind() != ErrorKind::Interrupted => panic!("poll: {error}"),
                _ => {}
            }
            for event in &events {
                let (socket, counter) = &mut self.clients[event.token().0];
                loop {
                    match socket.read(&mut self.buffer) {
                        Ok(0) => panic!("the server closed a client"),
                        Ok(length) => counter.take(&self.buffer[..length]),
                        Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                        Err(error) => panic!("the server broke a client: {error}"),
                    }
                }
            }
            if left.is_zero() {
                return;
            }
        }
    }

    /// Frames read by all clients so far.
    pub fn frames(&self) -> u64 {
        self.clients.iter().map(|(_, counter)| counter.frames).sum()
    }

    /// The fewest and the most frames of one client.
    pub fn spread(&self) -> (u64, u64) {
        let frames = || self.clients.iter().map(|(_, counter)| counter.frames);
        (frames().min().unwrap_or(0), frames().max().unwrap_or(0))
    }
}

/// The first numeric argument, or `default`: the duration of a measurement in seconds.
pub fn seconds(default: u64) -> u64 {
    if is_smoke() { 1 } else { std::env::args().find_map(|a| a.parse().ok()).unwrap_or(default) }
}

/// Whether this run only shows that the measurement still works (`--test`).
pub fn is_smoke() -> bool {
    std::env::args().any(|a| a == "--test")
}
