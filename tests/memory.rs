//! What clients take is bounded and comes back. Alone in its binary, because it counts every byte of the process.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use spreadwire::gateway::books::deliver::UNQUOTED_BOOKS_MAX;
use spreadwire::gateway::{Clocks, Gateway, GatewayParts, GatewaySettings};
use spreadwire::market::directory::VenueEntry;
use spreadwire::market::{Decimal, Directory};
use spreadwire::matrix::QuoteMatrix;
use spreadwire::matrix::books::BookTable;
use spreadwire::matrix::changes::Changes;
use spreadwire::matrix::days::DayTable;
use spreadwire::metrics::Board;
use spreadwire::net::listen::Listener;
use spreadwire::stage::Stage;
use spreadwire::time::Clock;

struct Counting;

static LIVE: AtomicI64 = AtomicI64::new(0);

// SAFETY: every call is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size() as i64, Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size() as i64, Ordering::Relaxed);
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        LIVE.fetch_add(size as i64 - layout.size() as i64, Ordering::Relaxed);
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const SYMBOLS: [&str; 4] = ["BTC/USDT", "ETH/USDT", "SOL/USDT", "XRP/USDT"];
const VENUES: [&str; 4] = ["binance", "kraken", "okx", "bybit"];
const CLIENTS: usize = 100;
/// At most one part in so many is left after the clients have gone: tables that have grown.
const LEFT_SHARE: i64 = 50;
/// Names of one client; times four exchanges it is all that one may ask for.
const NAMES: usize = 1024;

fn gateway(settings: GatewaySettings) -> (Gateway, SocketAddr) {
    let native = vec![Some(String::new()); SYMBOLS.len()];
    let venue = |name: &str| VenueEntry { name: name.into(), taker_fee_pct: Decimal::ZERO, native: native.clone() };
    let venues = VENUES.iter().map(|name| venue(name)).collect();
    let directory = Arc::new(Directory::new(SYMBOLS.map(str::to_owned).to_vec(), venues));
    let clock = Clock::System;
    let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.address();
    let (_, opportunities) = rtrb::RingBuffer::new(64);
    let (gateway, _) = Gateway::new(GatewayParts {
        matrix: QuoteMatrix::new(directory.pairs()).0,
        days: Arc::new(DayTable::new(directory.pairs())),
        books: Arc::new(BookTable::new(directory.pairs(), 5)),
        changes: Arc::new(Changes::new(directory.pairs())),
        board: Arc::new(Board::new(clock.now(), VENUES.len(), 1)),
        directory,
        opportunities,
        index: 0,
        clocks: Clocks::both(&clock),
        settings,
        listener: Some(listener),
        admin: None,
    })
    .unwrap();
    (gateway, address)
}

fn settle(gateway: &mut Gateway) {
    for _ in 0..3 {
        while gateway.turn(Duration::ZERO) > 0 {}
    }
}

const UPGRADE: &[u8] = b"GET /ws/prices HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// A client that asks for `names` on all exchanges, once it has the answer that holds `reply`.
fn client(gateway: &mut Gateway, address: SocketAddr, names: &[String], more: &str, reply: &str) -> TcpStream {
    let mut tcp = TcpStream::connect(address).unwrap();
    tcp.write_all(UPGRADE).unwrap();
    let text = format!(r#"{{"action":"subscribe","symbols":{names:?},"exchanges":{VENUES:?}{more}}}"#);
    let mut frame = Vec::new();
    spreadwire::wire::websocket::text_frame_header(text.len(), &mut frame);
    frame[1] |= 0x80;
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(text.as_bytes());
    tcp.write_all(&frame).unwrap();
    tcp.set_nonblocking(true).unwrap();
    let (mut got, mut buffer) = (Vec::new(), vec![0; 64 * 1024]);
    for _ in 0..1_000_000 {
        gateway.turn(Duration::ZERO);
        if let Ok(length) = tcp.read(&mut buffer) {
            got.extend_from_slice(&buffer[..length]);
        }
        if String::from_utf8_lossy(&got).contains(reply) {
            return tcp;
        }
    }
    panic!("no {reply} in {}", String::from_utf8_lossy(&got));
}

/// Bytes of each of the clients that `ask` makes, and how much of it is left when they have gone.
fn cost(gateway: &mut Gateway, count: usize, mut ask: impl FnMut(&mut Gateway, usize) -> TcpStream) -> (i64, i64) {
    // What is taken once and kept is no client's.
    drop(ask(gateway, usize::MAX));
    settle(gateway);
    let before = LIVE.load(Ordering::Relaxed);
    let mut clients = Vec::with_capacity(count);
    let own = (count * size_of::<TcpStream>()) as i64;
    clients.extend((0..count).map(|n| ask(gateway, n)));
    settle(gateway);
    let held = LIVE.load(Ordering::Relaxed) - before - own;
    drop(clients);
    settle(gateway);
    (held / count as i64, (LIVE.load(Ordering::Relaxed) - before).max(0) / count as i64)
}

/// Resident memory of this process in bytes, without taking any.
fn resident() -> i64 {
    let mut bytes = [0; 4096];
    let length = std::fs::File::open("/proc/self/status").unwrap().read(&mut bytes).unwrap();
    let status = std::str::from_utf8(&bytes[..length]).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<i64>().unwrap() * 1024
}

/// A thread that freed a large block once, and then many small ones, keeps little.
fn check_that_a_thread_gives_memory_back() {
    spreadwire::os::limit_kept_memory();
    let thread = std::thread::spawn(|| {
        drop(vec![1_u8; 24 << 20]);
        let before = resident();
        let blocks: Vec<Vec<u8>> = (0..24 << 10).map(|_| vec![1_u8; 1000]).collect();
        let held = resident() - before;
        drop(blocks);
        spreadwire::os::give_back_memory();
        (held, resident() - before)
    });
    let (held, left) = thread.join().unwrap();
    println!("small blocks of a thread: {held} bytes, {left} left");
    assert!(held > 20 << 20 && left < held / 10, "{left} bytes of {held} are left");
}

/// One test, because what it counts is of the whole process.
#[test]
fn greedy_clients_take_little_and_give_it_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    check_that_a_thread_gives_memory_back();
    let (mut gateway, address) = gateway(GatewaySettings::default());
    // Names that nobody quotes.
    let (each, left) = cost(&mut gateway, CLIENTS, |gateway, n| {
        let names: Vec<String> = (0..NAMES).map(|name| format!("C{}N{name}/USDT", n % 1_000_000)).collect();
        client(gateway, address, &names, "", "Successfully subscribed")
    });
    println!("own names: {each} bytes each, {left} left");
    assert!(each <= 64 * 1024, "{each} bytes");
    assert!(left * LEFT_SHARE <= each, "{left} bytes of {each} are left");
    // Spellings of names that are quoted: each is a price of its own.
    let (each, left) = cost(&mut gateway, 20, |gateway, n| {
        let spell = |name: usize| -> String {
            let case = |(at, letter): (usize, char)| match (name + 1024 * (n % 8)) >> at & 1 {
                1 => letter.to_ascii_lowercase(),
                _ => letter,
            };
            format!("{}{}", SYMBOLS[name % 4], "").chars().enumerate().map(case).collect()
        };
        let mut names: Vec<String> = (0..NAMES).map(spell).collect();
        names.sort();
        names.dedup();
        client(gateway, address, &names, r#","extended":true"#, "Successfully subscribed")
    });
    println!("spellings: {each} bytes each, {left} left");
    assert!(left * LEFT_SHARE <= each, "{left} bytes of {each} are left");
    // Order books that nobody quotes.
    let books = |n: usize, count: usize| {
        let books: Vec<String> =
            (0..count).map(|at| format!(r#"{{"symbol":"C{}N{at}/USDT","exchange":"okx"}}"#, n % 1_000_000)).collect();
        format!(r#","books":[{}]"#, books.join(","))
    };
    let most = UNQUOTED_BOOKS_MAX;
    let (each, left) = cost(&mut gateway, CLIENTS, |gateway, n| {
        client(gateway, address, &[], &books(n, most), "Successfully subscribed")
    });
    println!("own books: {each} bytes each, {left} left");
    assert!(each <= 64 * 1024, "{each} bytes");
    assert!(left * LEFT_SHARE <= each, "{left} bytes of {each} are left");
    let reply = format!("Too many books that are not quoted: at most {most}");
    client(&mut gateway, address, &[], &books(0, most + 1), &reply);
    drop(gateway);

    // More than all may take is refused, and a small one still gets what it asks for.
    let (mut gateway, address) = {
        let mut settings = GatewaySettings::default();
        settings.gateway.clients_bytes_max = 1 << 20;
        self::gateway(settings)
    };
    let names = |n: usize| (0..NAMES).map(|name| format!("C{n}N{name}/USDT")).collect::<Vec<_>>();
    let held: Vec<TcpStream> = (0..80)
        .map(|n| client(&mut gateway, address, &names(n), "", if n < 20 { "ubscribed" } else { "\"type\":" }))
        .collect();
    let _refused = client(&mut gateway, address, &names(99), "", "Too many pairs: there is memory for at most");
    let _small = client(&mut gateway, address, &["BTC/USDT".to_owned()], "", "Successfully subscribed");
    // The same for books: depth and spelling make each another one.
    let depths = |client: usize| {
        let books: Vec<String> = (0..256)
            .map(|at| {
                let case = |bit: usize, letter: char| {
                    if (client * 256 + at) >> bit & 1 == 1 { letter.to_ascii_lowercase() } else { letter }
                };
                let symbol: String = "BTC/USDT".chars().enumerate().map(|(bit, letter)| case(bit, letter)).collect();
                format!(r#"{{"symbol":"{symbol}","exchange":"OKX"}}"#)
            })
            .collect();
        format!(r#","books":[{}],"levels":{}"#, books.join(","), 1 + client % 5)
    };
    let many: Vec<TcpStream> = (0..5).map(|n| client(&mut gateway, address, &[], &depths(n), "\"type\":")).collect();
    let _refused =
        client(&mut gateway, address, &[], &depths(7), "Too many books: there is no memory for all of these");
    let one = r#","books":[{"symbol":"BTC/USDT","exchange":"kraken"}]"#;
    let _one = client(&mut gateway, address, &[], one, "Successfully subscribed");
    drop(many);
    drop(held);
    settle(&mut gateway);
    client(&mut gateway, address, &names(99), "", "Successfully subscribed");
}
