//! A TCP proxy between the gateway and simulated venues. It can hold back the bytes of a venue, and it records when the
//! venue sent them.
//!
//! There is one listener per venue, and one thread with one poll. The proxy reads the bytes of a venue immediately, even
//! while they are held or the gateway does not read; the time of this read counts as the time of sending. A connection is
//! recorded only if its first request equals that of the venue's first connection, so that connections for prices are
//! recorded and connections for order books are not.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Registry, Token, Waker};
use spreadwire::time::{Clock, MonoNs};

/// Bytes of one connection as its venue sent them.
pub struct Sent {
    /// Index of the connection.
    pub connection: usize,
    /// Index of the venue.
    pub venue: usize,
    /// Time of sending.
    pub at: MonoNs,
    pub bytes: Vec<u8>,
}

/// The running proxy. Its thread ends with the process.
pub struct Proxy {
    /// Addresses for the gateway to connect to, by venue.
    pub addresses: Vec<SocketAddr>,
    /// Bytes sent on connections for prices.
    pub sent: Receiver<Sent>,
    held: Arc<Vec<AtomicBool>>,
    waker: Arc<Waker>,
}

impl Proxy {
    /// Starts a proxy for `venues` venues that all listen on `target`.
    pub fn start(venues: usize, target: SocketAddr) -> Self {
        let poll = Poll::new().expect("a poll");
        let any = "127.0.0.1:0".parse().expect("an address");
        let mut listeners: Vec<TcpListener> = (0..venues).map(|_| TcpListener::bind(any).expect("a port")).collect();
        for (venue, listener) in listeners.iter_mut().enumerate() {
            poll.registry().register(listener, Token(venue), Interest::READABLE).expect("registered");
        }
        let waker = Arc::new(Waker::new(poll.registry(), WAKER).expect("a waker"));
        let addresses = listeners.iter().map(|listener| listener.local_addr().expect("bound")).collect();
        let held: Arc<Vec<AtomicBool>> = Arc::new((0..venues).map(|_| AtomicBool::new(false)).collect());
        let (out, sent) = channel();
        let thread =
            Thread { listeners, target, held: held.clone(), firsts: vec![None; venues], pairs: Vec::new(), out };
        std::thread::spawn(move || thread.run(poll));
        Self { addresses, sent, held, waker }
    }

    /// Starts or stops holding back the bytes of these venues. When it stops, the held bytes are forwarded first.
    pub fn hold(&self, venues: impl Iterator<Item = usize>, is_held: bool) {
        venues.for_each(|venue| self.held[venue].store(is_held, Ordering::Release));
        self.waker.wake().expect("the proxy runs");
    }
}

const WAKER: Token = Token(usize::MAX);

struct Thread {
    listeners: Vec<TcpListener>,
    target: SocketAddr,
    held: Arc<Vec<AtomicBool>>,
    /// First request of the venue's first connection, by venue.
    firsts: Vec<Option<Vec<u8>>>,
    pairs: Vec<Pair>,
    out: Sender<Sent>,
}

/// A connection from the gateway and the matching connection to the venue.
struct Pair {
    venue: usize,
    gateway: TcpStream,
    sim: TcpStream,
    to_gateway: Vec<u8>,
    to_sim: Vec<u8>,
    /// Bytes from the gateway until its first message is complete.
    asked: Vec<u8>,
    kind: Kind,
    is_over: bool,
}

enum Kind {
    /// The first message is not complete yet; contains the bytes that the venue has sent so far.
    Unknown(Vec<(MonoNs, Vec<u8>)>),
    Prices,
    Other,
}

impl Thread {
    fn run(mut self, mut poll: Poll) {
        let mut events = Events::with_capacity(256);
        let mut buffer = vec![0; 1 << 16];
        loop {
            match poll.poll(&mut events, None) {
                Err(error) if error.kind() != ErrorKind::Interrupted => panic!("poll: {error}"),
                _ => {}
            }
            let mut is_woken = false;
            for event in &events {
                match event.token() {
                    WAKER => is_woken = true,
                    Token(venue) if venue < self.listeners.len() => self.accept(venue, poll.registry()),
                    Token(side) => self.pump((side - self.listeners.len()) / 2, &mut buffer),
                }
            }
            if is_woken {
                (0..self.pairs.len()).for_each(|at| self.pump(at, &mut buffer));
            }
        }
    }

    fn accept(&mut self, venue: usize, registry: &Registry) {
        while let Ok((mut gateway, _)) = self.listeners[venue].accept() {
            let Ok(mut sim) = TcpStream::connect(self.target) else { continue };
            for (side, socket) in [&mut gateway, &mut sim].into_iter().enumerate() {
                let _ = socket.set_nodelay(true);
                let token = Token(self.listeners.len() + self.pairs.len() * 2 + side);
                let both = Interest::READABLE | Interest::WRITABLE;
                registry.register(socket, token, both).expect("registered");
            }
            let (to_gateway, to_sim, asked) = (Vec::new(), Vec::new(), Vec::new());
            let kind = Kind::Unknown(Vec::new());
            self.pairs.push(Pair { venue, gateway, sim, to_gateway, to_sim, asked, kind, is_over: false });
        }
    }

    fn pump(&mut self, at: usize, buffer: &mut [u8]) {
        let Self { held, firsts, pairs, out, .. } = self;
        let pair = &mut pairs[at];
        if pair.is_over {
            return;
        }
        let mut is_over = read(&mut pair.gateway, buffer, |bytes| {
            pair.to_sim.extend_from_slice(bytes);
            if matches!(pair.kind, Kind::Unknown(_)) {
                pair.asked.extend_from_slice(bytes);
            }
        });
        write(&mut pair.sim, &mut pair.to_sim);
        let now = Clock::System.now();
        is_over |= read(&mut pair.sim, buffer, |bytes| {
            pair.to_gateway.extend_from_slice(bytes);
            let sent = || Sent { connection: at, venue: pair.venue, at: now, bytes: bytes.to_vec() };
            match &mut pair.kind {
                Kind::Unknown(kept) => kept.push((now, bytes.to_vec())),
                Kind::Prices => out.send(sent()).expect("the measurement listens"),
                Kind::Other => {}
            }
        });
        if let (Kind::Unknown(_), Some(asked)) = (&pair.kind, first_text(&pair.asked)) {
            let is_prices = *firsts[pair.venue].get_or_insert_with(|| asked.clone()) == asked;
            let kind = if is_prices { Kind::Prices } else { Kind::Other };
            if let (Kind::Unknown(kept), true) = (std::mem::replace(&mut pair.kind, kind), is_prices) {
                for (at_time, bytes) in kept {
                    let sent = Sent { connection: at, venue: pair.venue, at: at_time, bytes };
                    out.send(sent).expect("the measurement listens");
                }
            }
        }
        if is_over || !held[pair.venue].load(Ordering::Acquire) {
            write(&mut pair.gateway, &mut pair.to_gateway);
        }
        if is_over {
            pair.is_over = true;
            let _ = pair.gateway.shutdown(std::net::Shutdown::Both);
            let _ = pair.sim.shutdown(std::net::Shutdown::Both);
        }
    }
}

/// Reads all available bytes and returns whether the stream has ended.
fn read(socket: &mut TcpStream, buffer: &mut [u8], mut take: impl FnMut(&[u8])) -> bool {
    loop {
        match socket.read(buffer) {
            Ok(0) => return true,
            Ok(length) => take(&buffer[..length]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected) => return false,
            Err(_) => return true,
        }
    }
}

fn write(socket: &mut TcpStream, bytes: &mut Vec<u8>) {
    while !bytes.is_empty() {
        let Ok(length @ 1..) = socket.write(bytes) else { return };
        bytes.drain(..length);
    }
}

/// The first text message of a client, without numbers of nine or more digits, because some requests contain the time.
fn first_text(bytes: &[u8]) -> Option<Vec<u8>> {
    let head = bytes.windows(4).position(|some| some == b"\r\n\r\n")? + 4;
    let mut rest = &bytes[head..];
    loop {
        let (first, second) = (*rest.first()?, *rest.get(1)?);
        let (length, header) = match second & 0x7f {
            126 => (usize::from(u16::from_be_bytes(rest.get(2..4)?.try_into().ok()?)), 4),
            127 => (u64::from_be_bytes(rest.get(2..10)?.try_into().ok()?) as usize, 10),
            short => (short.into(), 2),
        };
        let mask = rest.get(header..header + 4)?;
        let payload = rest.get(header + 4..header + 4 + length)?;
        if first & 0xf == 1 {
            let text: Vec<u8> = payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
            let runs = text.chunk_by(|a, b| a.is_ascii_digit() == b.is_ascii_digit());
            return Some(runs.filter(|run| !run[0].is_ascii_digit() || run.len() < 9).flatten().copied().collect());
        }
        rest = &rest[header + 4 + length..];
    }
}
