//! Time from a venue's frame passed to the kernel until the first byte of the alert, over loopback, compared with a
//! plain TCP relay of the same two hops in the same run.
//!
//!     cargo bench --bench wire_to_alert [SECONDS]
//!
//! One thread here is venue and client: it writes a frame, then reads the alert. Samples of the server and of the
//! relays alternate in blocks, so that all are exposed to the same noise. The relays run in their own processes, like
//! the server. The bar is 3, compared with the relay that uses as many threads as the server: with fewer than four
//! cores the server uses one thread on this path, otherwise it hands over between threads as the other relay does.

#[path = "rig.rs"]
mod rig;

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use mio::{Events, Interest, Poll, Token, Waker};
use rig::{Server, VenueSocket};

/// Samples of one kind before the next kind.
const BLOCK: usize = 50;
/// Longest wait for an alert. After a standstill of the machine the gateway withholds it until the venue sends more.
const ALERT_MAX: Duration = Duration::from_secs(5);
/// So many alerts may be withheld; more are a fault.
const WITHHELD_MAX: u32 = 5;
/// Time between samples. The system is idle when a frame arrives, which is the usual case.
const PAUSE: Duration = Duration::from_millis(1);

fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("relay-threads") => return relay_on_threads(),
        Some("relay-one") => return relay_on_one(),
        _ => {}
    }
    let seconds = rig::seconds(20);
    let listeners = rig::venue_listeners(2);
    let addresses: Vec<_> = listeners.iter().map(|l| l.local_addr().expect("bound")).collect();
    let (server, _) = Server::start(&addresses, "[detector]\ndebounce_ms = 0\n");
    let mut venues = rig::accept_venues(&listeners);
    let mut client = alert_client(server.address);
    // A quote is a leg from the second one of its connection on.
    for venue in &mut venues {
        (0..2).for_each(|_| venue.quote(0, 6_370_400));
    }
    let mut threads = Relay::start("relay-threads");
    let mut one = Relay::start("relay-one");

    let mut results = [histogram(), histogram(), histogram()];
    let mut withheld = 0;
    let end = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < end {
        for _ in 0..BLOCK {
            match alert(&mut venues, &mut client) {
                Some(ns) => results[0].saturating_record(ns),
                None => withheld += 1,
            }
            assert!(withheld <= WITHHELD_MAX, "{withheld} opportunities without an alert");
        }
        for _ in 0..BLOCK {
            results[1].saturating_record(threads.sample());
        }
        for _ in 0..BLOCK {
            results[2].saturating_record(one.sample());
        }
    }
    println!("alerts withheld, because the machine had stopped the process: {withheld}");
    println!("{:<34} {:>8} {:>9} {:>9} {:>9} {:>9}", "", "samples", "p50", "p99", "p99.9", "max");
    for (name, h) in ["wire to alert", "TCP relay, two threads", "TCP relay, one thread"].iter().zip(&results) {
        let us = |ns: u64| format!("{:.1} us", ns as f64 / 1e3);
        let q = |q| us(h.value_at_quantile(q));
        println!("{name:<34} {:>8} {:>9} {:>9} {:>9} {:>9}", h.len(), q(0.5), q(0.99), q(0.999), us(h.max()));
    }
    let ratio = |to: &Histogram<u64>| results[0].value_at_quantile(0.5) as f64 / to.value_at_quantile(0.5) as f64;
    println!("p50 ratio to the relay on two threads: {:.2}", ratio(&results[1]));
    println!("p50 ratio to the relay on one thread: {:.2}", ratio(&results[2]));
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 10_000_000_000, 3).expect("constant bounds")
}

/// A client of alerts only: subscribes to one symbol and no exchange.
fn alert_client(address: SocketAddr) -> TcpStream {
    let mut socket = TcpStream::connect(address).expect("the server accepts");
    socket.set_nodelay(true).expect("a fresh socket");
    socket.write_all(&rig::client_hello(address, 1, &[], "")).expect("the server reads");
    socket.set_read_timeout(Some(ALERT_MAX)).expect("a timeout");
    let mut seen = Vec::new();
    let mut buffer = [0; 4096];
    while !String::from_utf8_lossy(&seen).contains("Successfully subscribed") {
        let length = socket.read(&mut buffer).expect("the server answers");
        seen.extend_from_slice(&buffer[..length]);
    }
    socket
}

/// Opens and closes one opportunity. Returns `None` if no alert came, or else the nanoseconds from passing the frame to the kernel until the alert is
/// read. The time is taken before the write, because on loopback the write itself runs the receiver's side.
fn alert(venues: &mut [VenueSocket], client: &mut TcpStream) -> Option<u64> {
    let mut buffer = [0; 4096];
    venues[1].quote(0, 6_370_400);
    venues[0].quote(0, 6_370_400);
    std::thread::sleep(PAUSE);
    // Messages about the previous opportunity must not be counted as the answer to the next.
    client.set_nonblocking(true).expect("a live socket");
    while client.read(&mut buffer).is_ok_and(|length| length > 0) {}
    client.set_nonblocking(false).expect("a live socket");
    // 1 % above: an opportunity.
    let written = Instant::now();
    venues[1].quote(0, 6_434_104);
    let length = match client.read(&mut buffer) {
        Err(why) if why.kind() == ErrorKind::WouldBlock => return None,
        read => read.expect("a live socket"),
    };
    let took = written.elapsed();
    assert!(length > 2 && buffer[0] == 0x81, "not an alert");
    Some(took.as_nanos() as u64)
}

/// A relay process and the two sockets to it.
struct Relay {
    child: std::process::Child,
    from: TcpStream,
    to: TcpStream,
}

impl Relay {
    fn start(mode: &str) -> Self {
        let address = rig::free_address();
        let child = std::process::Command::new(std::env::current_exe().expect("this binary"))
            .args([mode, &address.to_string()])
            .spawn()
            .expect("this binary starts again");
        let begun = Instant::now();
        let connect = || loop {
            if let Ok(socket) = TcpStream::connect(address) {
                socket.set_nodelay(true).expect("a fresh socket");
                return socket;
            }
            assert!(begun.elapsed() < Duration::from_secs(10), "the relay does not listen");
            std::thread::sleep(Duration::from_millis(10));
        };
        Self { child, from: connect(), to: connect() }
    }

    fn sample(&mut self) -> u64 {
        let mut buffer = [0; 4096];
        std::thread::sleep(PAUSE);
        let written = Instant::now();
        self.from.write_all(&[7; 200]).expect("the relay reads");
        let _ = self.to.read(&mut buffer).expect("the relay writes");
        written.elapsed().as_nanos() as u64
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn relay_sockets() -> (mio::net::TcpStream, mio::net::TcpStream) {
    let address = std::env::args().nth(2).expect("an address");
    let listener = TcpListener::bind(address).expect("the address is free");
    let accept = || {
        let (socket, _) = listener.accept().expect("the measurement connects");
        socket.set_nodelay(true).expect("a fresh socket");
        socket.set_nonblocking(true).expect("a fresh socket");
        mio::net::TcpStream::from_std(socket)
    };
    (accept(), accept())
}

/// One thread polls the first socket and writes to the second.
fn relay_on_one() {
    let (mut from, mut to) = relay_sockets();
    relay_reads(&mut from, |bytes| drop(to.write(bytes)));
}

/// One thread polls the first socket and hands over through a ring and a waker; another writes to the second.
fn relay_on_threads() {
    let (mut from, mut to) = relay_sockets();
    let (mut producer, mut consumer) = rtrb::RingBuffer::<Vec<u8>>::new(64);
    let mut poll = Poll::new().expect("a poll");
    let waker = Waker::new(poll.registry(), Token(0)).expect("a waker");
    std::thread::spawn(move || {
        let mut events = Events::with_capacity(8);
        loop {
            let _ = poll.poll(&mut events, None);
            while let Ok(bytes) = consumer.pop() {
                let _ = to.write(&bytes);
            }
        }
    });
    relay_reads(&mut from, |bytes| {
        let _ = producer.push(bytes.to_vec());
        let _ = waker.wake();
    });
}

fn relay_reads(from: &mut mio::net::TcpStream, mut hand_over: impl FnMut(&[u8])) {
    let mut poll = Poll::new().expect("a poll");
    poll.registry().register(from, Token(0), Interest::READABLE).expect("registered");
    let mut events = Events::with_capacity(8);
    let mut buffer = [0; 4096];
    loop {
        let _ = poll.poll(&mut events, None);
        loop {
            match from.read(&mut buffer) {
                Ok(0) => return,
                Ok(length) => hand_over(&buffer[..length]),
                Err(_) => break,
            }
        }
    }
}
