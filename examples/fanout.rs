//! What does a delivered message cost the server? Starts the gateway, or a bare loop that writes the same
//! bytes, as a child process; holds the clients in this one; reads the child's CPU time and memory.
//!
//! `cargo run --release --example fanout -- CLIENTS INTERVAL_MS UPDATES_PER_S SECONDS [different]`
//!
//! INTERVAL_MS 0 measures every change and compares with the bare loop. `different` gives every client
//! a subscription of its own (its own spelling), so that nothing can be shared.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use spreadwire::gateway::{Gateway, GatewayParts, Options};
use spreadwire::market::directory::VenueEntry;
use spreadwire::market::{Decimal, Directory, Level, PairId};
use spreadwire::matrix::changes::Changes;
use spreadwire::matrix::days::DayTable;
use spreadwire::matrix::{CellQuote, CellState, QuoteMatrix};
use spreadwire::metrics::Board;
use spreadwire::net::listen::Listener;
use spreadwire::stage::{Idle, Stop, spawn};
use spreadwire::time::Clock;
use spreadwire::wire::websocket::text_frame_header;

const SYMBOLS: [&str; 5] = ["BTC/USDT", "ETH/USDT", "SOL/USDT", "XRP/USDT", "ADA/USDT"];
const VENUES: [&str; 3] = ["binance", "kraken", "okx"];

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize| args.get(at).and_then(|a| a.parse::<u64>().ok()).unwrap_or(0);
    match args.first().map(String::as_str) {
        Some("gateway") => serve(number(1)),
        Some("bare") => bare(number(1), number(2) as usize),
        _ => {
            let plan = Plan {
                clients: number(0) as usize,
                interval_ms: number(1),
                updates: number(2),
                seconds: number(3).max(1),
                different: args.get(4).is_some_and(|a| a == "different"),
            };
            plan.run("gateway");
            if plan.interval_ms == 0 {
                plan.run("bare");
            }
        }
    }
}

struct Plan {
    clients: usize,
    interval_ms: u64,
    updates: u64,
    seconds: u64,
    different: bool,
}

impl Plan {
    fn run(&self, server: &str) {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([server, &self.updates.to_string(), &self.clients.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address: SocketAddr = line.trim().parse().unwrap();
        let memory_before = memory(&child);
        let sockets = (0..self.clients).map(|n| self.client(server, address, n)).collect();
        let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let count = Arc::new(std::sync::atomic::AtomicU64::new(0));
        let reader = {
            let (stop, count) = (Arc::clone(&stop), Arc::clone(&count));
            std::thread::spawn(move || read_all(sockets, &stop, &count))
        };
        std::thread::sleep(Duration::from_secs(2));
        let messages = || count.load(std::sync::atomic::Ordering::Relaxed);
        let (cpu, seen, begun) = (cpu_ns(&child, server == "bare"), messages(), Instant::now());
        std::thread::sleep(Duration::from_secs(self.seconds));
        let (cpu, seen, took) = (cpu_ns(&child, server == "bare") - cpu, messages() - seen, begun.elapsed());
        let memory = memory(&child).saturating_sub(memory_before) / self.clients.max(1) as u64;
        println!(
            "{server}: {} clients, {seen} messages in {:.1} s ({:.0}/s), {:.3} us CPU per message, {:.0} % of a core, {memory} B resident per client",
            self.clients,
            took.as_secs_f64(),
            seen as f64 / took.as_secs_f64(),
            cpu as f64 / seen.max(1) as f64 / 1000.0,
            cpu as f64 / took.as_nanos() as f64 * 100.0,
        );
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        reader.join().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    fn client(&self, server: &str, address: SocketAddr, n: usize) -> TcpStream {
        let mut tcp = TcpStream::connect(address).unwrap();
        if server == "gateway" {
            tcp.write_all(b"GET /ws/prices HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n").unwrap();
            let mut symbols = SYMBOLS.map(str::to_owned).to_vec();
            if self.different {
                symbols.iter_mut().for_each(|s| *s = spelling(s, n));
            }
            let request = format!(
                r#"{{"action":"subscribe","symbols":{symbols:?},"exchanges":{VENUES:?},"intervalMs":{}}}"#,
                self.interval_ms
            );
            let mut frame = vec![0x81, 0x80 | 126, (request.len() >> 8) as u8, request.len() as u8, 0, 0, 0, 0];
            frame.extend_from_slice(request.as_bytes());
            tcp.write_all(&frame).unwrap();
        }
        tcp
    }
}

/// The `n`th of the ways to spell `symbol` in large and small letters.
fn spelling(symbol: &str, n: usize) -> String {
    let mut letter = 0;
    let spell = |c: char| {
        letter += usize::from(c.is_ascii_alphabetic());
        if c.is_ascii_alphabetic() && n >> (letter - 1) & 1 == 1 { c.to_ascii_lowercase() } else { c }
    };
    symbol.chars().map(spell).collect()
}

/// Reads all sockets and counts messages by the text that each begins with.
fn read_all(sockets: Vec<TcpStream>, stop: &std::sync::atomic::AtomicBool, count: &std::sync::atomic::AtomicU64) {
    let mut poll = mio::Poll::new().unwrap();
    let mut events = mio::Events::with_capacity(1024);
    let mut sockets: Vec<mio::net::TcpStream> = sockets
        .into_iter()
        .map(|tcp| {
            tcp.set_nonblocking(true).unwrap();
            mio::net::TcpStream::from_std(tcp)
        })
        .collect();
    for (at, tcp) in sockets.iter_mut().enumerate() {
        poll.registry().register(tcp, mio::Token(at), mio::Interest::READABLE).unwrap();
    }
    let mut buffer = vec![0; 64 * 1024];
    while !stop.load(std::sync::atomic::Ordering::Relaxed) {
        poll.poll(&mut events, Some(Duration::from_millis(100))).unwrap();
        for event in &events {
            while let Ok(length) = sockets[event.token().0].read(&mut buffer) {
                // Every price has one of these, and nothing else does.
                let prices = buffer[..length].windows(6).filter(|w| w == b"\"bid\":").count();
                count.fetch_add(prices as u64, std::sync::atomic::Ordering::Relaxed);
                if length < buffer.len() {
                    break;
                }
            }
        }
    }
}

/// Nanoseconds on a core: the gateway's thread, or the bare loop's only one.
fn cpu_ns(child: &Child, bare: bool) -> u64 {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", child.id())).unwrap();
    tasks
        .flatten()
        // The thread that writes quotes stands for the feeds, which are not what is measured.
        .filter(|task| task.file_name().to_string_lossy() != child.id().to_string() || bare)
        .filter_map(|task| std::fs::read_to_string(task.path().join("schedstat")).ok())
        .filter_map(|text| text.split(' ').next()?.parse::<u64>().ok())
        .sum()
}

/// Resident bytes of the child.
fn memory(child: &Child) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let line = text.lines().find_map(|l| l.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

fn directory() -> Directory {
    let venue = |name: &&str| VenueEntry {
        name: (*name).into(),
        taker_fee_pct: "0.1".parse().unwrap(),
        native: SYMBOLS.iter().map(|s| Some(s.replace('/', ""))).collect(),
    };
    Directory::new(SYMBOLS.map(str::to_owned).to_vec(), VENUES.iter().map(venue).collect())
}

fn quote(n: u64, clock: &Clock) -> CellQuote {
    let level = |mantissa| Level { price: Decimal::new(mantissa, 2), size: Decimal::new(123_456, 5) };
    CellQuote {
        bid: level(4_250_001 + n % 1000 * 2),
        ask: level(4_250_113 + n % 1000 * 2),
        exchange_time: clock.unix(),
        received: clock.now(),
        changes: 0,
        state: CellState::Live,
    }
}

fn serve(updates: u64) {
    let directory = Arc::new(directory());
    let (matrix, mut writer) = QuoteMatrix::new(directory.pairs());
    let clock = Clock::System;
    let changes = Arc::new(Changes::new(directory.pairs()));
    let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.address();
    let parts = GatewayParts {
        matrix,
        days: Arc::new(DayTable::new(directory.pairs())),
        changes: Arc::clone(&changes),
        opportunities: rtrb::RingBuffer::new(16).1,
        board: Arc::new(Board::new(clock.now(), VENUES.len(), 1)),
        index: 0,
        clock: clock.clone(),
        options: Options::default(),
        listener,
        directory: Arc::clone(&directory),
    };
    let (gateway, alarm) = Gateway::new(parts).unwrap();
    spawn(Box::new(gateway), None, Idle::Wait, Stop::default()).unwrap();
    println!("{address}");
    at_rate(updates, |n| {
        let pair = PairId((n % directory.pairs() as u64) as u32);
        writer.store(pair, &quote(n, &clock));
        changes.mark(pair);
        if changes.is_marked() {
            alarm.ring();
        }
    });
}

/// Calls `update` as often as told, a millisecond's worth at a time.
fn at_rate(updates: u64, mut update: impl FnMut(u64)) {
    let begun = Instant::now();
    let mut done = 0;
    loop {
        let due = begun.elapsed().as_micros() as u64 * updates / 1_000_000;
        while done < due {
            update(done);
            done += 1;
        }
        std::thread::sleep(Duration::from_micros(500));
    }
}

/// Writes a frame of the same length to every socket for every update, and does nothing else.
fn bare(updates: u64, clients: usize) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    println!("{}", listener.local_addr().unwrap());
    let mut sockets: Vec<TcpStream> = listener.incoming().flatten().take(clients).collect();
    for tcp in &sockets {
        tcp.set_nodelay(true).unwrap();
        tcp.set_nonblocking(true).unwrap();
    }
    let text = br#"{"type":"price","symbol":"BTC/USDT","exchange":"binance","bid":42500.01,"ask":42501.13,"timestamp":1700000000123}"#;
    let mut frame = Vec::new();
    text_frame_header(text.len(), &mut frame);
    frame.extend_from_slice(text);
    at_rate(updates, |_| {
        for tcp in &mut sockets {
            let _ = tcp.write(&frame);
        }
    });
}
