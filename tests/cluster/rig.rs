//! A cluster as it is run: a real Redis, simulated venues, `spreadwire serve` as processes of their own, clients on real
//! WebSockets; and somebody who listens to Redis and believes nobody. Everything is on loopback and on free ports, and
//! ends with the rig.
//!
//! The price of [`SYMBOL`] counts: bid = [`BASE`] + n cents, set at a known time. So whoever hears a price knows which
//! it is, how long it was on its way, and whether it comes twice or late.

#![allow(dead_code)]

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use spreadwire::market::{Decimal, Level};
use spreadwire::net::listen::Listener;
use spreadwire::sim::control::SimControl;
use spreadwire::sim::{self, Sim, SimParts};
use spreadwire::stage::{Idle, Stop, spawn};
use spreadwire::time::{Clock, MonoNs};
use spreadwire::venues::venue;
use tungstenite::{Message, WebSocket};

use crate::server::Server;

/// Venues that stamp every quote, so that an older one is known by its stamp as well.
pub const VENUES: [&str; 3] = ["okx", "bybit", "kraken"];
/// Counts, at all venues alike: nothing to arbitrage.
pub const SYMBOL: &str = "BTC/USDT";
/// What it counts from, in cents.
pub const BASE: u64 = 5_000_000;
/// What has not happened by then never will: a test fails rather than hangs, however busy the machine is.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Now, by the clock that all processes of this machine share.
pub fn now() -> MonoNs {
    Clock::System.now()
}

/// Milliseconds from one moment to another.
pub fn ms(from: MonoNs, to: MonoNs) -> f64 {
    to.since(from) as f64 / 1e6
}

pub fn pause(ms: u64) {
    std::thread::sleep(Duration::from_millis(ms));
}

/// Waits until `is_true`; whether it came true.
pub fn wait(most: Duration, mut is_true: impl FnMut() -> bool) -> bool {
    let end = now().plus(most.as_nanos() as u64);
    while now() < end {
        if is_true() {
            return true;
        }
        pause(5);
    }
    is_true()
}

/// The simulated venues, and who sets their prices.
pub struct Exchange {
    pub address: SocketAddr,
    pub control: SimControl,
    stop: Stop,
    thread: Option<JoinHandle<()>>,
    ticker: Option<JoinHandle<()>>,
    ends: Arc<AtomicBool>,
    /// When each count was set; 0 for not yet.
    pub set: Arc<Vec<AtomicU64>>,
}

impl Exchange {
    /// Counts every `every_us` microseconds; other prices change `rate` times a second.
    pub fn start(every_us: u64, rate: f64) -> Self {
        let sim = Sim::new(SimParts {
            venues: VENUES.map(|name| venue(name).unwrap()).to_vec(),
            instruments: sim::default_instruments(),
            listener: Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap(),
            seed: 7,
            rate,
            clock: Clock::System,
            options: sim::SimOptions { opportunity_every_ms: 0, ..sim::SimOptions::default() },
        })
        .unwrap();
        let (address, control, stop) = (sim.address(), sim.control(), Stop::default());
        let thread = spawn(vec![Box::new(sim)], None, Idle::Wait, stop.clone()).unwrap();
        let ends = Arc::new(AtomicBool::new(false));
        let set: Arc<Vec<AtomicU64>> = Arc::new((0..1_000_000).map(|_| AtomicU64::new(0)).collect());
        let ticker = std::thread::spawn({
            let (ends, set, control) = (Arc::clone(&ends), Arc::clone(&set), control.clone());
            move || tick(&control, &set, every_us, &ends)
        });
        Self { address, control, stop, thread: Some(thread), ticker: Some(ticker), ends, set }
    }

    /// When count `n` was set.
    pub fn set_at(&self, n: u64) -> MonoNs {
        MonoNs(self.set[n as usize].load(Ordering::Acquire))
    }

    /// Of each venue: WebSockets now, the most there ever were, and how many were opened.
    pub fn connections(&self) -> HashMap<String, [u64; 3]> {
        let page: Value = serde_json::from_str(&get(self.address, "/connections").1).unwrap();
        let of = |it: &Value| ["open", "most", "opened"].map(|name| it[name].as_u64().unwrap());
        page.as_object().unwrap().iter().map(|(venue, it)| (venue.clone(), of(it))).collect()
    }

    pub fn is_connected_once(&self) -> bool {
        self.connections().values().all(|[open, ..]| *open == 1)
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Release);
        self.stop.request();
        let _ = self.ticker.take().map(JoinHandle::join);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn tick(control: &SimControl, set: &[AtomicU64], every_us: u64, ends: &AtomicBool) {
    let mut due = now();
    for (n, at) in set.iter().enumerate().skip(1) {
        due = due.plus(every_us * 1000);
        std::thread::sleep(Duration::from_nanos(due.since(now())));
        if ends.load(Ordering::Acquire) {
            return;
        }
        let level = |cents: u64| Level { price: Decimal::new(cents, 2), size: Decimal::new(15, 1) };
        let cents = BASE + n as u64;
        at.store(now().0, Ordering::Release);
        for venue in VENUES {
            // Haste: the next one comes soon.
            let _ = control.set_quote(venue, SYMBOL, level(cents), level(cents + 1));
        }
    }
}

/// How a gateway is started.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Lines of `[cluster]` beside `redis`, `instance` and `history`.
    pub cluster: String,
    /// What the wall clock of the instance is off by, as faketime writes it; empty for nothing.
    pub clock: &'static str,
    /// Levels of order books; with 0 each venue is connected once.
    pub book_levels: usize,
}

impl Settings {
    /// A lease of `lease_ms`, and venues change hands as soon as they may.
    pub fn lease(lease_ms: u64) -> Self {
        Self { cluster: format!("lease_ms = {lease_ms}\ntenure_ms = 300\n"), clock: "", book_levels: 0 }
    }
}

/// One `spreadwire serve`.
pub struct Gateway {
    pub name: String,
    pub address: SocketAddr,
    pub child: Child,
    folder: PathBuf,
    settings: Settings,
}

impl Gateway {
    fn start(folder: &Path, name: &str, redis: &str, exchange: SocketAddr, settings: &Settings) -> Self {
        let mut text = "venues = [\"okx\", \"bybit\", \"kraken\"]\n".to_owned();
        text += "instruments = [\"BTC/USDT\", \"ETH/USDT\", \"SOL/USDT\"]\n";
        text += &format!("state_dir = \"state-{name}\"\n[gateway]\nlisten = \"127.0.0.1:0\"\n");
        text += &format!("[cluster]\nredis = \"{redis}\"\ninstance = \"{name}\"\nhistory = \"{name}.history\"\n");
        text += &settings.cluster;
        text += &format!("[books]\nlevels = {}\n", settings.book_levels);
        for name in VENUES {
            let address = sim::address_of(venue(name).unwrap(), exchange);
            text += &format!("[venue.{name}]\naddress = \"{address}\"\n");
        }
        let config = folder.join(format!("{name}.toml"));
        std::fs::write(&config, text).unwrap();
        Self::run(folder, name, settings)
    }

    fn run(folder: &Path, name: &str, settings: &Settings) -> Self {
        let config = folder.join(format!("{name}.toml"));
        let log = std::fs::OpenOptions::new().create(true).append(true).open(folder.join(format!("{name}.log")));
        let binary = env!("CARGO_BIN_EXE_spreadwire");
        let mut command = Command::new(binary);
        if !settings.clock.is_empty() {
            command.envs(wrong_clock(settings.clock));
        }
        let child = command.arg("serve").arg("--config").arg(config).stdin(Stdio::null()).stdout(Stdio::piped());
        let child = child.stderr(log.unwrap()).spawn();
        let child = child.unwrap();
        let (folder, settings, nowhere) = (folder.to_owned(), settings.clone(), SocketAddr::from(([0, 0, 0, 0], 0)));
        let mut gateway = Self { name: name.to_owned(), address: nowhere, child, folder, settings };
        let mut lines = BufReader::new(gateway.child.stdout.take().unwrap());
        let mut line = String::new();
        loop {
            line.clear();
            assert!(lines.read_line(&mut line).unwrap() > 0, "{name} does not start: {}", gateway.log());
            if let Some((_, address)) = line.split_once("page        http://") {
                gateway.address = address.trim_end().trim_end_matches('/').parse().unwrap();
                // Its live line would fill the pipe.
                std::thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
                return gateway;
            }
        }
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Ends it as a power cut does.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Begins anew after its end.
    pub fn start_again(&mut self) {
        *self = Self::run(&self.folder, &self.name, &self.settings);
    }

    /// The page at `path`: status and body.
    pub fn get(&self, path: &str) -> (u16, String) {
        get(self.address, path)
    }

    /// The member `cluster` of its health.
    pub fn cluster(&self) -> Value {
        let page: Value = serde_json::from_str(&self.get("/api/market-data/health").1).unwrap();
        page["cluster"].clone()
    }

    /// How it stands with Redis.
    pub fn redis(&self) -> String {
        self.cluster()["redis"].as_str().unwrap_or_default().to_owned()
    }

    /// The sum over all venues of a counter of its metrics.
    pub fn metric(&self, name: &str) -> f64 {
        let page = self.get("/metrics").1;
        let lines: Vec<&str> = page.lines().filter(|line| line.starts_with(&format!("spreadwire_{name}{{"))).collect();
        assert_eq!(lines.len(), VENUES.len(), "{name}: {lines:?}");
        lines.iter().map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join(format!("{}.log", self.name))).unwrap_or_default()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What faketime sets for a program whose wall clock is off by `offset`. It would start the program itself, but as a child
/// of its own, which outlives it.
fn wrong_clock(offset: &str) -> Vec<(String, String)> {
    let shown = Command::new("faketime").args(["-f", offset, "env"]).output();
    let shown = shown.unwrap_or_else(|why| panic!("{why}; apt-get install faketime"));
    let lines = String::from_utf8(shown.stdout).unwrap();
    let pairs = lines.lines().filter_map(|line| line.split_once('='));
    let mut set: Vec<(String, String)> = pairs
        .filter(|(name, _)| ["FAKETIME", "LD_PRELOAD"].contains(name))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    assert!(set.iter().any(|(name, _)| name == "LD_PRELOAD"), "faketime sets nothing: {lines}");
    set.push(("FAKETIME_DONT_FAKE_MONOTONIC".to_owned(), "1".to_owned()));
    set
}

/// Asks for a page: status and body.
pub fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let mut link = TcpStream::connect(address).unwrap();
    link.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(link, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
    let mut reply = String::new();
    link.read_to_string(&mut reply).unwrap();
    let (head, body) = reply.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

/// A price as a client heard it.
#[derive(Clone, Debug)]
pub struct Heard {
    pub at: MonoNs,
    pub venue: String,
    pub symbol: String,
    pub bid: f64,
    pub ask: f64,
    pub sizes: (f64, f64),
    pub timestamp: u64,
    pub age_ms: f64,
    pub level: String,
    pub is_fresh: bool,
}

impl Heard {
    /// Which price of [`SYMBOL`] it is.
    pub fn count(&self) -> Option<u64> {
        let cents = (self.bid * 100.0).round() as u64;
        (self.symbol == SYMBOL && cents > BASE).then(|| cents - BASE)
    }
}

/// A client of one gateway, to which every change is sent at once.
pub struct Client {
    heard: Arc<Mutex<Vec<Heard>>>,
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Client {
    pub fn connect(gateway: &Gateway) -> Self {
        let link = TcpStream::connect(gateway.address).unwrap();
        link.set_nodelay(true).unwrap();
        let (mut socket, _) = tungstenite::client(format!("ws://{}/ws/prices", gateway.address), link).unwrap();
        let symbols = "\"BTC/USDT\",\"ETH/USDT\",\"SOL/USDT\"";
        let text = format!(
            r#"{{"action":"subscribe","symbols":[{symbols}],"exchanges":["okx","bybit","kraken"],"intervalMs":0,"extended":true}}"#
        );
        socket.send(Message::text(text)).unwrap();
        socket.get_ref().set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let (heard, ends) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let thread = std::thread::spawn({
            let (heard, ends) = (Arc::clone(&heard), Arc::clone(&ends));
            move || listen(socket, &heard, &ends)
        });
        Self { heard, ends, thread: Some(thread) }
    }

    /// All that it heard so far.
    pub fn heard(&self) -> Vec<Heard> {
        self.heard.lock().unwrap().clone()
    }

    /// The newest price of [`SYMBOL`] on `venue`.
    pub fn last_count(&self, venue: &str) -> Option<u64> {
        let heard = self.heard.lock().unwrap();
        heard.iter().rev().filter(|it| it.venue == venue && it.is_fresh).find_map(Heard::count)
    }

    /// Fresh prices of [`SYMBOL`] on `venue` that came between two moments.
    pub fn counts(&self, venue: &str, from: MonoNs, to: MonoNs) -> Vec<Heard> {
        let heard = self.heard.lock().unwrap();
        let wanted = |it: &&Heard| it.at >= from && it.at < to && it.venue == venue && it.is_fresh;
        heard.iter().filter(wanted).filter(|it| it.count().is_some()).cloned().collect()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Release);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn listen(mut socket: WebSocket<TcpStream>, heard: &Mutex<Vec<Heard>>, ends: &AtomicBool) {
    while !ends.load(Ordering::Acquire) {
        let message = match socket.read() {
            Ok(message) => message,
            Err(tungstenite::Error::Io(why)) if why.kind() == std::io::ErrorKind::WouldBlock => continue,
            // Its gateway is gone.
            Err(_) => return,
        };
        let at = now();
        let Message::Text(text) = message else { continue };
        let it: Value = serde_json::from_str(&text).unwrap();
        if it["type"] != "price" {
            continue;
        }
        let (text, number) = (|name: &str| it[name].as_str().unwrap().to_owned(), |name: &str| it[name].as_f64());
        heard.lock().unwrap().push(Heard {
            at,
            venue: text("exchange"),
            symbol: text("symbol"),
            bid: number("bid").unwrap_or(0.0),
            ask: number("ask").unwrap_or(0.0),
            sizes: (number("bidSize").unwrap_or(0.0), number("askSize").unwrap_or(0.0)),
            timestamp: it["timestamp"].as_u64().unwrap(),
            age_ms: number("ageMs").unwrap(),
            level: text("level"),
            is_fresh: it["state"] == "fresh",
        });
    }
}

/// What must hold of everything that one client hears: no price twice in a row, unless it was said to be none between,
/// and none that is older than the one before. A price that was void for too short a time to be told may come again:
/// `may_repeat` where exchanges hang up.
pub fn check_order(heard: &[Heard], may_repeat: bool) -> Result<(), String> {
    let mut last: HashMap<(&str, &str), &Heard> = HashMap::new();
    let mut void: HashMap<(&str, &str), bool> = HashMap::new();
    for it in heard {
        let pair = (it.venue.as_str(), it.symbol.as_str());
        let was_void = void.insert(pair, !it.is_fresh).unwrap_or(true);
        if !it.is_fresh {
            continue;
        }
        let Some(before) = last.insert(pair, it) else { continue };
        let same = |it: &Heard| (it.bid.to_bits(), it.ask.to_bits(), it.sizes.0.to_bits(), it.sizes.1.to_bits());
        if it.timestamp < before.timestamp || it.count() < before.count() {
            return Err(format!("an older price: {it:?} after {before:?}"));
        }
        if !was_void
            && !may_repeat
            && same(it) == same(before)
            && it.timestamp == before.timestamp
            && it.level == before.level
        {
            let from = before.at.0.saturating_sub(500_000_000);
            let near = |other: &&Heard| other.venue == it.venue && other.at.0 >= from && other.at <= it.at;
            let near: Vec<String> = heard.iter().filter(near).map(|it| format!("{it:?}")).collect();
            return Err(format!("a price twice: {it:?} after {before:?}, of:\n{}", near.join("\n")));
        }
    }
    Ok(())
}

/// A batch as it was published.
#[derive(Clone, Debug)]
pub struct Batch {
    pub at: MonoNs,
    pub venue: String,
    pub from: String,
    pub token: u64,
    pub sequence: u64,
    pub quotes: usize,
    /// Which price of [`SYMBOL`] is in it.
    pub count: Option<u64>,
}

/// Which price of [`SYMBOL`] a batch has, if it has one that counts.
fn count_of(batch: &Value) -> Option<u64> {
    let quote = batch["quotes"].as_array()?.iter().rfind(|quote| quote[0] == SYMBOL)?;
    let bid: f64 = quote[1].as_str()?.parse().ok()?;
    let cents = (bid * 100.0).round() as u64;
    cents.checked_sub(BASE).filter(|count| *count > 0)
}

/// Another leader of a venue.
#[derive(Clone, Debug)]
pub struct Change {
    pub venue: String,
    pub from: String,
    pub to: String,
    /// Prices of [`SYMBOL`] that nobody published: those between the last of the old leader and the first of the new one.
    pub lost: u64,
    /// What the first batch of the new leader has.
    pub first: Batch,
}

/// Listens to all that Redis distributes, and filters nothing.
pub struct Witness {
    seen: Arc<Mutex<Vec<Batch>>>,
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Witness {
    pub fn start(url: &str) -> Self {
        let (seen, ends) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let mut link = crate::server::client(url);
        let thread = std::thread::spawn({
            let (seen, ends) = (Arc::clone(&seen), Arc::clone(&ends));
            move || {
                let mut listening = link.as_pubsub();
                listening.psubscribe("spreadwire:quotes:*").unwrap();
                listening.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
                while !ends.load(Ordering::Acquire) {
                    let Ok(message) = listening.get_message() else { continue };
                    let at = now();
                    let batch: Value = serde_json::from_slice(message.get_payload_bytes()).unwrap();
                    let text = |name: &str| batch[name].as_str().unwrap().to_owned();
                    seen.lock().unwrap().push(Batch {
                        at,
                        venue: text("venue"),
                        from: text("from"),
                        token: batch["token"].as_u64().unwrap(),
                        sequence: batch["seq"].as_u64().unwrap(),
                        quotes: batch["quotes"].as_array().unwrap().len(),
                        count: count_of(&batch),
                    });
                }
            }
        });
        Self { seen, ends, thread: Some(thread) }
    }

    pub fn seen(&self) -> Vec<Batch> {
        self.seen.lock().unwrap().clone()
    }

    /// The first prices of `venue` above `token`.
    pub fn first_above(&self, venue: &str, token: u64) -> Option<Batch> {
        let is_it = |it: &&Batch| it.venue == venue && it.token > token && it.quotes > 0;
        self.seen.lock().unwrap().iter().find(is_it).cloned()
    }

    /// The last batch of `venue`.
    pub fn last(&self, venue: &str) -> Option<Batch> {
        self.seen.lock().unwrap().iter().rfind(|it| it.venue == venue).cloned()
    }

    /// Every change of a leader so far, in the order of Redis. The venue numbers its events by the price of [`SYMBOL`]. An
    /// event is lost when the old leader's last one came before it, and the new leader begins behind it: nobody was
    /// there to tell it. One that a leader replaced by a newer one before it was told is conflated, not lost; so it is
    /// only asked what lies *between* two leaders.
    pub fn changes(&self) -> Vec<Change> {
        let mut leaders: HashMap<String, (Batch, Option<u64>)> = HashMap::new();
        let mut changes: Vec<Change> = Vec::new();
        for it in self.seen() {
            let (last, newest) = leaders.entry(it.venue.clone()).or_insert_with(|| (it.clone(), it.count));
            if it.token != last.token {
                let lost = newest.map_or(0, |newest| it.count.unwrap_or(u64::MAX).saturating_sub(newest + 1));
                let (from, to) = (last.from.clone(), it.from.clone());
                changes.push(Change { venue: it.venue.clone(), from, to, lost, first: it.clone() });
            }
            (*last, *newest) = (it.clone(), it.count.max(*newest));
        }
        changes
    }

    /// What must hold of all that was published: tokens never fall, nobody shares one, sequences rise.
    pub fn check(&self) -> Result<(), String> {
        let mut last: HashMap<String, Batch> = HashMap::new();
        for it in self.seen() {
            let Some(before) = last.insert(it.venue.clone(), it.clone()) else { continue };
            let is_next = it.token == before.token && it.from == before.from && it.sequence > before.sequence;
            if !is_next && it.token <= before.token {
                return Err(format!("published: {it:?} after {before:?}"));
            }
        }
        Ok(())
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Release);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// A way to Redis on which every byte takes as long as is set.
pub struct SlowWay {
    pub port: u16,
    delay_ms: Arc<AtomicU64>,
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl SlowWay {
    pub fn to(port: u16) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let (delay_ms, ends) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let here = listener.local_addr().unwrap().port();
        let thread = std::thread::spawn({
            let (delay_ms, ends) = (Arc::clone(&delay_ms), Arc::clone(&ends));
            move || {
                while !ends.load(Ordering::Acquire) {
                    let Ok((near, _)) = listener.accept() else {
                        pause(2);
                        continue;
                    };
                    let Ok(far) = TcpStream::connect(("127.0.0.1", port)) else { continue };
                    near.set_nonblocking(false).unwrap();
                    for (from, to) in [(&near, &far), (&far, &near)] {
                        let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                        carry(from, to, &delay_ms);
                    }
                }
            }
        });
        Self { port: here, delay_ms, ends, thread: Some(thread) }
    }

    /// From now on every byte takes so long.
    pub fn delay(&self, ms: u64) {
        self.delay_ms.store(ms, Ordering::Release);
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }
}

impl Drop for SlowWay {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Release);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Two threads that end with the connection: one reads, the other writes when the time has come.
fn carry(mut from: TcpStream, mut to: TcpStream, delay_ms: &Arc<AtomicU64>) {
    let (sender, receiver) = std::sync::mpsc::channel::<(MonoNs, Vec<u8>)>();
    from.set_nodelay(true).unwrap();
    let delay_ms = Arc::clone(delay_ms);
    std::thread::spawn(move || {
        let mut buffer = [0; 1 << 14];
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            let due = now().plus(delay_ms.load(Ordering::Acquire) * 1_000_000);
            if sender.send((due, buffer[..length].to_vec())).is_err() {
                return;
            }
        }
    });
    std::thread::spawn(move || {
        to.set_nodelay(true).unwrap();
        while let Ok((due, bytes)) = receiver.recv() {
            std::thread::sleep(Duration::from_nanos(due.since(now())));
            if to.write_all(&bytes).is_err() {
                break;
            }
        }
        let _ = to.shutdown(std::net::Shutdown::Both);
    });
}

/// All of it.
pub struct Rig {
    /// First, so that they end first.
    pub gateways: Vec<Gateway>,
    pub exchange: Exchange,
    pub folder: PathBuf,
}

impl Rig {
    /// Gateways named a, b, c … on the Redis at `url`, one for each of `settings`; every venue is led when it returns.
    pub fn start(url: &str, settings: &[Settings]) -> Self {
        Self::start_on(Exchange::start(20_000, 60.0), url, settings)
    }

    pub fn start_on(exchange: Exchange, url: &str, settings: &[Settings]) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("spreadwire-cluster-{}-{count}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let names = ["a", "b", "c", "d"];
        let start =
            |(name, settings): (&&str, &Settings)| Gateway::start(&folder, name, url, exchange.address, settings);
        let gateways = names.iter().zip(settings).map(start).collect();
        Self { gateways, exchange, folder }
    }

    /// Which gateway is the instance `id`.
    pub fn place(&self, id: &str) -> Option<usize> {
        let of = |it: &Gateway| format!("{}_{}_", it.name, it.child.id());
        self.gateways.iter().position(|it| id.starts_with(&of(it)))
    }

    /// Whether every gateway is joined, leads as many as the others, and each venue is connected once.
    pub fn is_settled(&self) -> bool {
        let count = self.gateways.len();
        let mut all: Vec<String> = Vec::new();
        for gateway in &self.gateways {
            let cluster = gateway.cluster();
            let leads = cluster["leads"].as_array().cloned().unwrap_or_default();
            let is_even = leads.len() == VENUES.len() / count || leads.len() == VENUES.len().div_ceil(count);
            if cluster["redis"] != "joined" || !is_even || cluster["members"].as_array().map(Vec::len) != Some(count) {
                return false;
            }
            all.extend(leads.iter().map(ToString::to_string));
        }
        all.len() == VENUES.len() && self.exchange.is_connected_once()
    }

    /// Whether every gateway is joined, and each venue led and connected once, however unevenly.
    pub fn is_served(&self) -> bool {
        let clusters: Vec<Value> = self.gateways.iter().map(Gateway::cluster).collect();
        let led: usize = clusters.iter().filter_map(|it| it["leads"].as_array().map(Vec::len)).sum();
        let joined = clusters.iter().all(|it| it["redis"] == "joined");
        joined && led == VENUES.len() && self.exchange.is_connected_once()
    }

    pub fn settle(&self) {
        let settled = wait(PATIENCE, || self.is_settled());
        assert!(settled, "not settled: {:?}\n{}", self.exchange.connections(), self.logs());
    }

    /// What they say of themselves.
    pub fn logs(&self) -> String {
        let of = |it: &Gateway| format!("--- {}: {}\n{}", it.name, it.cluster(), it.log());
        self.gateways.iter().map(of).collect()
    }

    /// All that was accepted by anybody.
    pub fn history(&self) -> String {
        let text = |it: &Gateway| std::fs::read_to_string(self.folder.join(format!("{}.history", it.name))).unwrap();
        self.gateways.iter().map(text).collect()
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.gateways.clear();
        if !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }
}

/// One leader after the other meets `fault` and comes back by `mend`; how long each venue was without a batch that was
/// accepted, in milliseconds. Panics when it stays so.
pub fn fail_over(
    rig: &mut Rig,
    witness: &Witness,
    turns: usize,
    mut fault: impl FnMut(&mut Gateway),
    mut mend: impl FnMut(&mut Gateway, &Witness),
) -> Vec<f64> {
    let mut took = Vec::new();
    for turn in 0..turns {
        let venue = VENUES[turn % VENUES.len()];
        let led = |venue: &str| witness.last(venue).and_then(|it| rig.place(&it.from));
        let ready = wait(PATIENCE, || led(venue).is_some() && rig.gateways.iter().all(|it| it.redis() == "joined"));
        assert!(ready, "turn {turn}: {}", rig.logs());
        let victim = led(venue).unwrap();
        let (before, begun) = (witness.last(venue).unwrap(), now());
        fault(&mut rig.gateways[victim]);
        let next = wait(PATIENCE, || witness.first_above(venue, before.token).is_some());
        let survivors: String = (0..3).filter(|at| *at != victim).map(|at| rig.gateways[at].log()).collect();
        assert!(next, "turn {turn}: nobody leads {venue}: {survivors}");
        let next = witness.first_above(venue, before.token).unwrap();
        took.push(ms(begun, next.at));
        mend(&mut rig.gateways[victim], witness);
    }
    took
}

/// The longest time between two moments that follow each other, in milliseconds.
pub fn longest(moments: &[MonoNs]) -> f64 {
    moments.windows(2).map(|pair| ms(pair[0], pair[1])).fold(0.0, f64::max)
}

/// How clients fared from one moment to another.
#[derive(Debug)]
pub struct Fared {
    /// The longest silence of a venue at a client, in milliseconds.
    pub silence_ms: f64,
    /// Of prices, from being set to being heard, by client and venue, in milliseconds.
    pub p99_ms: HashMap<(usize, &'static str), f64>,
}

pub fn fared(rig: &Rig, clients: &[Client], from: MonoNs, to: MonoNs) -> Fared {
    let (mut silence_ms, mut p99_ms) = (0.0f64, HashMap::new());
    for (at, client) in clients.iter().enumerate() {
        for venue in VENUES {
            let counts = client.counts(venue, from, to);
            let mut moments = vec![from];
            moments.extend(counts.iter().map(|it| it.at));
            moments.push(to);
            silence_ms = silence_ms.max(longest(&moments));
            let mut way: Vec<f64> =
                counts.iter().map(|it| ms(rig.exchange.set_at(it.count().unwrap()), it.at)).collect();
            if !way.is_empty() {
                p99_ms.insert((at, venue), quantile(&mut way, 0.99));
            }
        }
    }
    Fared { silence_ms, p99_ms }
}

/// Work that leaves the machine no idle moment, until it is dropped.
pub struct Busy {
    ends: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Busy {
    /// As many loops as `count`.
    pub fn start(count: usize) -> Self {
        let ends = Arc::new(AtomicBool::new(false));
        let spin = |ends: Arc<AtomicBool>| {
            while !ends.load(Ordering::Relaxed) {
                std::hint::black_box(0u64);
            }
        };
        let threads = (0..count).map(|_| {
            let ends = Arc::clone(&ends);
            std::thread::spawn(move || spin(ends))
        });
        Self { threads: threads.collect(), ends }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        self.threads.drain(..).for_each(|thread| drop(thread.join()));
    }
}

/// A private Redis whose pub/sub outlives the rig.
pub fn redis() -> Server {
    Server::start(&[])
}

/// The value below which this part of `values` is, by rank.
pub fn quantile(values: &mut [f64], part: f64) -> f64 {
    assert!(!values.is_empty(), "nothing was measured");
    values.sort_by(f64::total_cmp);
    values[((values.len() - 1) as f64 * part).round() as usize]
}
