//! How much do those who ask for much take from the others, and what memory do they leave?
//!
//!     cargo bench --bench crowd [SECONDS]
//!
//! Ten clients hear every change of one venue, 1,000 a second, alone and then beside 40 connections that pipeline
//! every page. Then 1,000 clients subscribe to 1,024 names of their own on four exchanges and leave again. The server is
//! the real binary in a process of its own; venue and clients are in this one, on the same machine.

#[path = "rig.rs"]
mod rig;

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};
use rig::{Server, Swarm, VenueSocket};

const HEALTHY: usize = 10;
const UPDATES_PER_SECOND: u32 = 1_000;
const BUSY: usize = 40;
const GREEDY: usize = 1_000;
/// The bid of the first update in cents; each has one more, so that a price says which update it is.
const FIRST: u64 = 6_370_400;
const PAGES: [&str; 12] = [
    "/",
    "/api",
    "/api/book?symbol=BTC/USDT",
    "/api/opportunities",
    "/api/instruments",
    "/api/status",
    "/api/market-data/health",
    "/api/websocket/stats",
    "/api/latency",
    "/metrics",
    "/livez",
    "/readyz",
];

fn main() {
    let seconds = rig::seconds(10);
    println!("{HEALTHY} clients of every change, {UPDATES_PER_SECOND} updates/s, {seconds} s each");
    let alone = updates(seconds, 0);
    let beside = updates(seconds, if rig::is_smoke() { 4 } else { BUSY });
    println!("p99 beside the busy ones, against alone: {:.1} (bar: 50 ms more)", beside / alone);
    memory(if rig::is_smoke() { 20 } else { GREEDY });
}

fn serve(extra: &str) -> (Server, VenueSocket) {
    let listeners = rig::venue_listeners(1);
    let (server, _) = Server::start(&[listeners[0].local_addr().expect("bound")], extra);
    let mut venue = rig::accept_venues(&listeners).remove(0);
    venue.all_quotes();
    thread::sleep(Duration::from_millis(300));
    (server, venue)
}

/// The 99th percentile of the time from an update's due time to its arrival, in milliseconds.
fn updates(seconds: u64, busy: usize) -> f64 {
    let (server, mut venue) = serve("[books]\nlevels = 0\n");
    let hello = rig::client_hello(server.address, 1, &["binance"], r#","intervalMs":0"#);
    let stop = Arc::new(AtomicBool::new(false));
    let answered = Arc::new(AtomicU64::new(0));
    let (total, address) = (seconds * u64::from(UPDATES_PER_SECOND), server.address);
    let begin = Instant::now() + Duration::from_millis(500);
    let reader = thread::spawn(move || arrivals(address, &hello, begin, total));
    let crowd = (0..busy).map(|n| {
        let (stop, answered) = (Arc::clone(&stop), Arc::clone(&answered));
        thread::spawn(move || pipeline(address, &targets()[n % targets().len()], &stop, &answered))
    });
    let crowd: Vec<_> = crowd.collect();
    let feeding = thread::spawn(move || {
        for n in 0..total {
            let due = begin + Duration::from_secs(1) / UPDATES_PER_SECOND * n as u32;
            thread::sleep(due.saturating_duration_since(Instant::now()));
            venue.quote(0, FIRST + 1 + n);
        }
        venue
    });
    let (mut probes, mut slowest) = (0, Duration::ZERO);
    while !feeding.is_finished() {
        let asked = Instant::now();
        assert!(rig::http_get(server.address, "/livez").is_some(), "/livez does not answer");
        (probes, slowest) = (probes + 1, slowest.max(asked.elapsed()));
        thread::sleep(Duration::from_millis(100));
    }
    let latencies = reader.join().expect("the reader ends");
    let connected = server.get("/api/status").contains(r#""state":"connected""#);
    stop.store(true, Ordering::Relaxed);
    drop(feeding.join());
    drop(server);
    crowd.into_iter().for_each(|thread| drop(thread.join()));
    let at = |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    println!(
        "{busy:>3} busy: {} of {} updates came, the others were conflated; p50 {:.2} ms, p99 {:.2} ms, max {:.2} ms; \
         {} pages answered; {probes} of {probes} /livez answered, the slowest in {:.0} ms; venue {}",
        latencies.len(),
        total * HEALTHY as u64,
        at(0.5),
        at(0.99),
        at(1.0),
        answered.load(Ordering::Relaxed),
        slowest.as_secs_f64() * 1e3,
        if connected { "connected" } else { "LOST" },
    );
    at(0.99)
}

fn targets() -> Vec<String> {
    let names = (0..400).map(|n| format!("C{n}/USD")).collect::<Vec<_>>().join(",");
    let long = ["/api/market-data/prices?pairs=", "/api/exchanges/prices?symbol=BTC/USDT&exchanges="];
    let long = long.iter().map(|path| format!("{path}{names}"));
    PAGES.iter().map(|page| (*page).to_owned()).chain(long).collect()
}

/// Asks for a page again and again without waiting for answers.
fn pipeline(address: SocketAddr, target: &str, stop: &AtomicBool, answered: &AtomicU64) {
    let mut socket = TcpStream::connect(address).expect("the server accepts");
    socket.set_nonblocking(true).expect("a fresh socket");
    let request = format!("GET {target} HTTP/1.1\r\nHost: {address}\r\n\r\n").repeat(8).into_bytes();
    let (mut sent, mut buffer) = (0, vec![0; 1 << 16]);
    while !stop.load(Ordering::Relaxed) {
        let wrote = match socket.write(&request[sent..]) {
            Ok(length) => {
                sent = (sent + length) % request.len();
                true
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => false,
            Err(_) => return,
        };
        match socket.read(&mut buffer) {
            Ok(0) => return,
            Ok(length) => {
                let heads = buffer[..length].windows(9).filter(|bytes| bytes == b"HTTP/1.1 ").count();
                answered.fetch_add(heads as u64, Ordering::Relaxed);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                if !wrote {
                    thread::sleep(Duration::from_millis(1));
                }
            }
            Err(_) => return,
        }
    }
}

/// How long after its due time each update came to each client, sorted.
fn arrivals(address: SocketAddr, hello: &[u8], begin: Instant, total: u64) -> Vec<Duration> {
    let mut poll = Poll::new().expect("a poll");
    let mut clients: Vec<(mio::net::TcpStream, Vec<u8>, u64)> = Vec::new();
    for n in 0..HEALTHY {
        let mut socket = TcpStream::connect(address).expect("the server accepts");
        socket.write_all(hello).expect("the server reads");
        socket.set_nonblocking(true).expect("a fresh socket");
        let mut socket = mio::net::TcpStream::from_std(socket);
        poll.registry().register(&mut socket, Token(n), Interest::READABLE).expect("registered");
        clients.push((socket, Vec::new(), 0));
    }
    let (mut latencies, mut buffer) = (Vec::new(), vec![0; 1 << 16]);
    let mut events = Events::with_capacity(HEALTHY);
    let end = begin + Duration::from_secs(1) / UPDATES_PER_SECOND * total as u32 + Duration::from_secs(10);
    while clients.iter().any(|(_, _, last)| *last < total) && Instant::now() < end {
        poll.poll(&mut events, Some(Duration::from_millis(50))).expect("a poll");
        for event in &events {
            let (socket, input, last) = &mut clients[event.token().0];
            while let Ok(length @ 1..) = socket.read(&mut buffer) {
                input.extend_from_slice(&buffer[..length]);
            }
            let now = Instant::now();
            while let Some((update, rest)) = next_update(input) {
                input.drain(..rest);
                if update > 0 {
                    *last = update;
                    let due = begin + Duration::from_secs(1) / UPDATES_PER_SECOND * (update - 1) as u32;
                    latencies.push(now.saturating_duration_since(due));
                }
            }
        }
    }
    latencies.sort_unstable();
    assert!(!latencies.is_empty(), "no update came");
    latencies
}

/// The number of the next update in `bytes`, 0 for the price before the first, and where it ends.
fn next_update(bytes: &[u8]) -> Option<(u64, usize)> {
    let mark = b"\"bid\":";
    let from = bytes.windows(mark.len()).position(|some| some == mark)? + mark.len();
    let length = bytes[from..].iter().position(|byte| *byte == b',')?;
    let price: f64 = std::str::from_utf8(&bytes[from..from + length]).ok()?.parse().ok()?;
    Some((((price * 100.0).round() as u64).saturating_sub(FIRST), from + length))
}

fn memory(clients: usize) {
    let (server, _venue) = serve("");
    let exchanges = ["binance", "okx", "bybit", "kraken"];
    let hello = |n: usize| {
        let names: Vec<String> = (0..1024).map(|name| format!("C{n}N{name}/USDT")).collect();
        let text = format!(r#"{{"action":"subscribe","symbols":{names:?},"exchanges":{exchanges:?}}}"#);
        let mut hello = rig::client_hello(server.address, 0, &[], "");
        let head = hello.windows(4).position(|bytes| bytes == b"\r\n\r\n").expect("a head") + 4;
        hello.truncate(head);
        hello.extend_from_slice(&[0x81, 0x80 | 126]);
        hello.extend_from_slice(&(text.len() as u16).to_be_bytes());
        hello.extend_from_slice(&[0; 4]);
        hello.extend_from_slice(text.as_bytes());
        hello
    };
    // What is taken once and kept is no client's.
    drop(Swarm::connect(server.address, 1, &hello(clients)));
    thread::sleep(Duration::from_secs(1));
    let before = server.resident();
    let mut swarms: Vec<Swarm> = (0..clients).map(|n| Swarm::connect(server.address, 1, &hello(n))).collect();
    swarms.iter_mut().for_each(|swarm| swarm.read_for(Duration::from_millis(5)));
    thread::sleep(Duration::from_secs(1));
    let held = server.resident().saturating_sub(before);
    drop(swarms);
    thread::sleep(Duration::from_secs(5));
    let left = server.resident().saturating_sub(before);
    println!(
        "{clients} greedy clients: {:.1} KiB each (bar: 64); {:.0} % given back (bar: 90)",
        held as f64 / 1024.0 / clients as f64,
        100.0 - left as f64 / held.max(1) as f64 * 100.0,
    );
}
