//! What does the path through Redis add? Measures from a quote in the leader's matrix to the same quote in the
//! follower's, compared with a bare message of the same bytes in the same run; and whether a stream would be better
//! than pub/sub.
//!
//!     cargo bench --bench redis_hop [SECONDS]
//!
//! Starts its own redis-server on a free port of this machine. Samples of the ways alternate in blocks, so that all are
//! exposed to the same noise. The hop includes all threads of a real cluster: lead (matrix to batch, fenced publish),
//! follower (batch to ring), detector (ring to matrix). The bar is 3 at the 99th percentile, compared with bare
//! pub/sub. The server's work per message is its own CPU time, reported for each way.

#[path = "../tests/it/cluster/server.rs"]
mod server;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam::sync::Parker;
use hdrhistogram::Histogram;
use redis::Connection;
use spreadwire::cluster::batch::{BatchEntry, BatchWriter, Head};
use spreadwire::cluster::follow::{Follow, FollowParts};
use spreadwire::cluster::publisher::{Publisher, PublisherParts};
use spreadwire::cluster::signals::{LeaderProgress, Pulse, SnapshotRequests};
use spreadwire::cluster::store::{Claim, Store};
use spreadwire::cluster::{ClusterOptions, ClusterSettings};
use spreadwire::detector::{Core, Detector, DetectorParts, Subscriber};
use spreadwire::handover::Handover;
use spreadwire::market::directory::VenueEntry;
use spreadwire::market::quote::Origin;
use spreadwire::market::rule::DetectorOptions;
use spreadwire::market::{Decimal, Directory, InstrumentId, Level, PairId, Quote, VenueId};
use spreadwire::matrix::changes::Changes;
use spreadwire::matrix::days::DayTable;
use spreadwire::matrix::{CellState, QuoteMatrix};
use spreadwire::metrics::Board;
use spreadwire::metrics::cluster::ClusterBoard;
use spreadwire::stage::{Alarm, Idle, Stage, Stop, spawn};
use spreadwire::time::{Clock, MonoNs, UnixNs};

use server::Server;

/// Samples of one way before the next; few, so that a burst of noise affects all ways.
const BLOCK: usize = 20;
/// Time between samples. The system is idle when a quote arrives, which is the usual case.
const PAUSE: Duration = Duration::from_millis(1);
/// A sample that takes longer is lost.
const LOST: Duration = Duration::from_secs(5);
const VENUE: VenueId = VenueId(0);
const INSTRUMENT: InstrumentId = InstrumentId(0);

fn main() {
    let is_smoke = std::env::args().any(|a| a == "--test");
    let seconds = if is_smoke { 1 } else { std::env::args().find_map(|a| a.parse().ok()).unwrap_or(20) };
    let server = Server::start(&[]);
    let bytes = a_batch();
    let mut ways: [(&str, Box<dyn Way>); 4] = [
        ("leader's matrix to follower's", Box::new(Hop::start(&server))),
        ("bare pub/sub", Box::new(PubSub::start(&server, &bytes))),
        ("bare stream (XADD, XREAD BLOCK)", Box::new(Stream::start(&server, &bytes))),
        ("fenced pub/sub (script)", Box::new(Fenced::start(&server, &bytes))),
    ];
    let mut results: Vec<(Histogram<u64>, f64)> = ways.iter().map(|_| (histogram(), 0.0)).collect();
    let mut watch = server.client();
    let end = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < end {
        for ((_, way), (times, cpu)) in ways.iter_mut().zip(&mut results) {
            let before = server_cpu(&mut watch);
            for _ in 0..BLOCK {
                std::thread::sleep(PAUSE);
                times.saturating_record(way.sample().as_nanos() as u64);
            }
            *cpu += server_cpu(&mut watch) - before;
        }
    }
    println!("one batch of one quote: {} bytes", bytes.len());
    println!("{:<34} {:>8} {:>9} {:>9} {:>9} {:>9} {:>12}", "", "samples", "p50", "p99", "p99.9", "max", "server CPU");
    for ((name, _), (times, cpu)) in ways.iter().zip(&results) {
        let us = |ns: u64| format!("{:.1} us", ns as f64 / 1e3);
        let q = |q| us(times.value_at_quantile(q));
        let cost = format!("{:.1} us", cpu * 1e6 / times.len() as f64);
        println!(
            "{name:<34} {:>8} {:>9} {:>9} {:>9} {:>9} {cost:>12}",
            times.len(),
            q(0.5),
            q(0.99),
            q(0.999),
            us(times.max())
        );
    }
    let ratio =
        |way: usize, q: f64| results[way].0.value_at_quantile(q) as f64 / results[1].0.value_at_quantile(q) as f64;
    println!("the hop to bare pub/sub: p50 {:.2}, p99 {:.2}", ratio(0, 0.5), ratio(0, 0.99));
    println!("a stream to bare pub/sub: p50 {:.2}, p99 {:.2}", ratio(2, 0.5), ratio(2, 0.99));
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 10_000_000_000, 3).expect("constant bounds")
}

/// CPU time of the server so far, in seconds.
fn server_cpu(link: &mut Connection) -> f64 {
    let facts: String = redis::cmd("INFO").arg("cpu").query(link).expect("the server answers");
    let figure = |name: &str| {
        let text = facts.lines().find_map(|line| line.strip_prefix(name)).and_then(|text| text.strip_prefix(':'));
        text.and_then(|text| text.trim().parse::<f64>().ok()).unwrap_or(0.0)
    };
    figure("used_cpu_user") + figure("used_cpu_sys")
}

/// A way to deliver a batch.
trait Way {
    /// Sends one batch and waits until it has arrived.
    fn sample(&mut self) -> Duration;
}

fn directory() -> Directory {
    let entry =
        VenueEntry { name: "binance".into(), taker_fee_pct: Decimal::ZERO, native: vec![Some("BTCUSDT".into())] };
    Directory::new(vec!["BTC/USDT".into()], vec![entry])
}

fn a_quote(sequence: u64) -> Quote {
    let level = |mantissa| Level { price: Decimal::new(mantissa, 8), size: Decimal::new(123_456, 5) };
    let now = Clock::System.now();
    Quote {
        instrument: INSTRUMENT,
        venue: VENUE,
        bid: level(6_370_400_000_000 + sequence),
        ask: level(6_370_500_000_000 + sequence),
        sequence,
        exchange_time: UnixNs(1_763_700_000_000_000_000 + sequence),
        received: now,
        decoded: now,
        ..Quote::default()
    }
}

/// The bytes that the hop sends for a quote.
fn a_batch() -> Vec<u8> {
    let (directory, mut text) = (directory(), Vec::new());
    let (from, sent) = ("host_12345_1763700000000".to_owned(), Clock::System.now());
    let cluster = "spreadwire/0".to_owned();
    let (whole, lag_ns, is_behind) = (None, 0, false);
    let head = Head {
        cluster,
        venue: VENUE,
        from,
        token: 1,
        sequence: 12_345,
        sent,
        trip_ns: 60_000,
        whole,
        lag_ns,
        is_behind,
    };
    let quote = a_quote(12_345);
    let mut writer = BatchWriter::begin(&head, &directory, &mut text);
    writer.quote(&BatchEntry {
        instrument: INSTRUMENT,
        bid: quote.bid,
        ask: quote.ask,
        sequence: quote.sequence,
        exchange_time: quote.exchange_time,
        age_ns: 12_345,
        source: quote.source,
        state: CellState::Live,
        delay: quote.delay,
    });
    writer.days(&[]);
    text
}

fn settings(server: &Server, instance: &str) -> ClusterSettings {
    let cluster = ClusterOptions { redis: server.url(), call_ms: 1000, ..ClusterOptions::default() };
    ClusterSettings { cluster, id: instance.to_owned(), hostname: String::new() }
}

/// The detector core, publisher and lead thread on one side; the follower and detector threads on the other.
struct Hop {
    core: Core,
    changes: Arc<Changes>,
    lead: Alarm,
    arrivals: Arrivals,
    sequence: u64,
    stop: Stop,
    threads: Vec<JoinHandle<()>>,
}

/// The changed cells of the follower, as its gateway would see them.
struct Arrivals {
    changes: Arc<Changes>,
    alarm: Alarm,
    parker: Parker,
}

impl Arrivals {
    fn wait(&self) {
        let end = Instant::now() + LOST;
        loop {
            let mut seen = false;
            self.changes.drain(|_| seen = true);
            if seen {
                return;
            }
            assert!(Instant::now() < end, "a quote was lost");
            self.alarm.set();
            if !self.changes.is_marked() {
                self.parker.park_timeout(Duration::from_millis(100));
            }
            self.alarm.clear();
        }
    }
}

/// The lead thread's work for a batch: sleeps until cells change, then publishes.
struct Lead {
    publisher: Publisher,
    store: Store,
    changes: Arc<Changes>,
    token: u64,
    alarm: Alarm,
    parker: Parker,
    renewed: Instant,
}

impl Stage for Lead {
    fn name(&self) -> &str {
        "lead"
    }

    fn turn(&mut self, wait: Duration) -> usize {
        self.alarm.set();
        if !self.changes.is_marked() {
            self.parker.park_timeout(wait.min(Duration::from_millis(50)));
        }
        self.alarm.clear();
        if self.renewed.elapsed() > Duration::from_secs(1) {
            self.renewed = Instant::now();
            assert_eq!(self.store.renew(&[("binance", self.token)]).expect("the server answers"), [true]);
        }
        let token = self.token;
        self.publisher.turn(&mut self.store, |_, _| Some(token), &mut Vec::new()).expect("the server answers")
    }
}

impl Hop {
    fn start(server: &Server) -> Self {
        let stop = Stop::default();
        let (arrivals, mut threads) = Self::follower(server, &stop);
        let directory = Arc::new(directory());
        let (matrix, writer) = QuoteMatrix::new(directory.pairs());
        let changes = Arc::new(Changes::new(directory.pairs()));
        let (alarm, parker) = Alarm::of_parker();
        let mut publisher = Publisher::new(PublisherParts {
            directory: Arc::clone(&directory),
            matrix,
            changes: Arc::clone(&changes),
            days: Arc::new(DayTable::new(directory.pairs())),
            board: board("a"),
            wanted: Arc::new(SnapshotRequests::new(1, alarm.clone())),
            pulse: Arc::new(Pulse::default()),
            clock: Clock::System,
            cluster: "spreadwire/0".to_owned(),
            instance: "host_12345_1763700000000".to_owned(),
        });
        let mut store = Store::new(&settings(server, "a")).expect("the address is right");
        let Ok(Claim::Won(token)) = store.claim("binance", 0) else { panic!("the lease is not free") };
        publisher.lead(VENUE, token);
        let lead = Lead {
            publisher,
            store,
            changes: Arc::clone(&changes),
            token,
            alarm: alarm.clone(),
            parker,
            renewed: Instant::now(),
        };
        threads.push(spawn(vec![Box::new(lead)], None, Idle::Wait, stop.clone()).expect("a thread"));
        let core = Core::new(directory, writer, DetectorOptions::default());
        let mut hop = Self { core, changes, lead: alarm, arrivals, sequence: 0, stop, threads };
        // The follower may still be joining; it reads what is published until then as a complete snapshot.
        std::thread::sleep(Duration::from_millis(300));
        hop.sample();
        hop
    }

    fn follower(server: &Server, stop: &Stop) -> (Arrivals, Vec<JoinHandle<()>>) {
        let directory = Arc::new(directory());
        let (matrix, writer) = QuoteMatrix::new(directory.pairs());
        let changes = Arc::new(Changes::new(directory.pairs()));
        changes.watch(PairId(0), true);
        let (alarm, parker) = Alarm::of_parker();
        let (ring, consumer) = rtrb::RingBuffer::new(4096);
        let board = board("b");
        let subscriber = Subscriber { changes: Arc::clone(&changes), opportunities: None, alarm: alarm.clone() };
        let (detector, ears) = Detector::new(DetectorParts {
            directory: Arc::clone(&directory),
            matrix: writer,
            rings: vec![consumer],
            subscribers: vec![subscriber],
            board: Arc::clone(&board),
            clock: Clock::System,
            options: DetectorOptions::default(),
        });
        let (lead, _) = Alarm::of_parker();
        let follow = Follow::new(FollowParts {
            directory: Arc::clone(&directory),
            handover: Handover::new(ring, ears, Arc::clone(&board), vec![VENUE], 1, Origin::Shared),
            days: Arc::new(DayTable::new(directory.pairs())),
            board,
            wanted: Arc::new(SnapshotRequests::new(1, lead.clone())),
            pulse: Arc::new(Pulse::default()),
            progress: Arc::new(LeaderProgress::new(directory.pairs())),
            control: rtrb::RingBuffer::new(64).0,
            lead,
            clock: Clock::System,
            settings: settings(server, "b"),
            history: None,
        })
        .expect("the address is right");
        let stages = [Box::new(detector) as Box<dyn Stage>, Box::new(follow)];
        let threads = stages.map(|stage| spawn(vec![stage], None, Idle::Wait, stop.clone()).expect("a thread")).into();
        drop(matrix);
        (Arrivals { changes, alarm, parker }, threads)
    }
}

fn board(instance: &str) -> Arc<Board> {
    let mut board = Board::new(MonoNs(0), 1, 0);
    board.cluster = Some(ClusterBoard::new(instance.to_owned(), 1));
    Arc::new(board)
}

impl Way for Hop {
    fn sample(&mut self) -> Duration {
        self.sequence += 1;
        let quote = a_quote(self.sequence);
        let changes = &self.changes;
        let begun = Instant::now();
        self.core.merge(&quote, |pair| changes.mark(pair)).expect("a good quote");
        self.lead.ring();
        self.arrivals.wait();
        begun.elapsed()
    }
}

impl Drop for Hop {
    fn drop(&mut self) {
        self.stop.request();
        for thread in self.threads.drain(..) {
            // A thread that failed has already reported it.
            let _ = thread.join();
        }
    }
}

/// A thread that receives messages and reports when each arrived.
fn listener(receive: impl FnMut() + Send + 'static) -> Receiver<Instant> {
    let (sender, arrivals): (Sender<Instant>, _) = channel();
    let mut receive = receive;
    std::thread::spawn(move || {
        loop {
            receive();
            if sender.send(Instant::now()).is_err() {
                return;
            }
        }
    });
    arrivals
}

struct PubSub {
    link: Connection,
    bytes: Vec<u8>,
    arrivals: Receiver<Instant>,
}

impl PubSub {
    fn start(server: &Server, bytes: &[u8]) -> Self {
        Self { link: server.client(), bytes: bytes.to_vec(), arrivals: subscriber(server, "bare") }
    }
}

/// Reads a channel with as little code as possible and reports each arrival.
fn subscriber(server: &Server, name: &'static str) -> Receiver<Instant> {
    let mut link = endless(server);
    link.send_packed_command(&redis::cmd("SUBSCRIBE").arg(name).get_packed_command()).expect("the server reads");
    let _ = link.recv_response().expect("subscribed");
    listener(move || drop(link.recv_response()))
}

/// A connection without a read timeout.
fn endless(server: &Server) -> Connection {
    let link = server.client();
    link.set_read_timeout(None).expect("a live socket");
    link
}

impl Way for PubSub {
    fn sample(&mut self) -> Duration {
        let begun = Instant::now();
        redis::cmd("PUBLISH").arg("bare").arg(&self.bytes).exec(&mut self.link).expect("the server answers");
        self.arrivals.recv_timeout(LOST).expect("the message comes").duration_since(begun)
    }
}

/// Pub/sub with the store's own script, without the threads around it.
struct Fenced {
    store: Store,
    token: u64,
    bytes: Vec<u8>,
    arrivals: Receiver<Instant>,
}

impl Fenced {
    fn start(server: &Server, bytes: &[u8]) -> Self {
        let mut settings = settings(server, "c");
        settings.cluster.lease_ms = 3_600_000;
        let mut store = Store::new(&settings).expect("the address is right");
        let Ok(Claim::Won(token)) = store.claim("fenced", 0) else { panic!("the lease is not free") };
        Self { store, token, bytes: bytes.to_vec(), arrivals: subscriber(server, "spreadwire:quotes:fenced") }
    }
}

impl Way for Fenced {
    fn sample(&mut self) -> Duration {
        let begun = Instant::now();
        let batch = spreadwire::cluster::store::Outgoing { venue: "fenced", token: self.token, text: &self.bytes };
        assert_eq!(self.store.publish(&[batch]).expect("the server answers"), [true]);
        self.arrivals.recv_timeout(LOST).expect("the message comes").duration_since(begun)
    }
}

struct Stream {
    link: Connection,
    bytes: Vec<u8>,
    arrivals: Receiver<Instant>,
}

impl Stream {
    fn start(server: &Server, bytes: &[u8]) -> Self {
        let mut link = endless(server);
        let last = Arc::new(AtomicU64::new(0));
        let arrivals = listener(move || {
            // The sender assigns the ids, so that the reader does not have to look up the last one.
            let seen = last.fetch_add(1, Ordering::Relaxed);
            let mut read = redis::cmd("XREAD");
            read.arg(&["COUNT", "1", "BLOCK", "0", "STREAMS", "stream"]).arg(format!("0-{seen}"));
            drop(read.query::<redis::Value>(&mut link));
        });
        Self { link: server.client(), bytes: bytes.to_vec(), arrivals }
    }
}

impl Way for Stream {
    fn sample(&mut self) -> Duration {
        let begun = Instant::now();
        let mut add = redis::cmd("XADD");
        add.arg(&["stream", "MAXLEN", "~", "1000", "0-*", "b"]).arg(&self.bytes);
        add.exec(&mut self.link).expect("the server answers");
        self.arrivals.recv_timeout(LOST).expect("the entry comes").duration_since(begun)
    }
}
