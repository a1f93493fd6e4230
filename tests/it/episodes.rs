//! The life of opportunities through detector and gateway, on a clock that only the test moves: when they close, what they were,
//! and how long they lived.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use spreadwire::detector::{Detector, DetectorParts};
use spreadwire::gateway::Gateway;
use spreadwire::gateway::transport::LocalClient;
use spreadwire::market::book::BookVoid;
use spreadwire::market::directory::VenueEntry;
use spreadwire::market::quote::{FeedEvent, Origin};
use spreadwire::market::rule::DetectorOptions;
use spreadwire::market::{Decimal, Directory, InstrumentId, Level, Quote, VenueId};
use spreadwire::matrix::QuoteMatrix;
use spreadwire::matrix::days::DayTable;
use spreadwire::metrics::Board;
use spreadwire::stage::Stage;
use spreadwire::time::{HandClock, MS, MonoNs, SECOND, UnixNs};

use crate::client_frames::{masked, texts_of};
use crate::one_thread::Tables;

const BTC: InstrumentId = InstrumentId(0);
const BINANCE: VenueId = VenueId(0);
const OKX: VenueId = VenueId(1);
const KRAKEN: VenueId = VenueId(2);

struct Desk {
    hand: HandClock,
    ring: rtrb::Producer<FeedEvent>,
    detector: Detector,
    gateway: Gateway,
    follower: LocalClient,
    input: Vec<u8>,
}

impl Desk {
    /// Bitcoin on three venues with fees of 0.1 % each, and a client that follows it, extended.
    fn new() -> Self {
        let hand = HandClock::new(MonoNs(1000 * SECOND), UnixNs::from_ms(1_796_000_000_000));
        let clock = hand.clock();
        let venue = |name: &str| VenueEntry {
            name: name.into(),
            taker_fee_pct: Decimal::new(1, 1),
            native: vec![Some("BTC".into())],
        };
        let venues = ["binance", "okx", "kraken"].map(venue).into();
        let directory = Arc::new(Directory::new(vec!["BTC/USDT".into()], venues));
        let board = Arc::new(Board::new(clock.now(), 3, 1));
        let (matrix, writer) = QuoteMatrix::new(directory.pairs());
        let days = Arc::new(DayTable::new(directory.pairs()));
        let tables = Tables { directory, matrix, days, board, clock };
        let (mut gateway, subscriber) = tables.gateway();
        let (ring, consumer) = rtrb::RingBuffer::new(64);
        let (detector, _) = Detector::new(DetectorParts {
            directory: tables.directory,
            matrix: writer,
            rings: vec![consumer],
            subscribers: vec![subscriber],
            board: tables.board,
            clock: tables.clock,
            options: DetectorOptions { debounce_ms: 1000, ..DetectorOptions::default() },
        });
        let follower = gateway.connect(1 << 20);
        let mut desk = Self { hand, ring, detector, gateway, follower, input: Vec::new() };
        desk.follower.send(
            b"GET /ws/prices HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
              Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        );
        desk.turn();
        desk.follower.receive(usize::MAX, &mut desk.input);
        let end = desk.input.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
        desk.input.drain(..end + 4);
        let request = json!({"action": "subscribe", "symbols": ["BTC/USDT"], "exchanges": [], "extended": true,
                             "opportunities": true, "intervalMs": 0});
        desk.follower.send(&masked(&request.to_string()));
        desk.turn();
        desk.news();
        desk
    }

    fn turn(&mut self) {
        while self.detector.turn(Duration::ZERO) > 0 {}
        while self.gateway.turn(Duration::ZERO) > 0 {}
    }

    fn pass(&mut self, ms: u64) {
        for _ in 0..ms {
            self.hand.advance(MS);
            self.turn();
        }
    }

    /// `venue` quotes, with bid and ask in cents.
    fn quote(&mut self, venue: VenueId, bid: u64, ask: u64) {
        let now = self.hand.clock().now();
        let level = |cents| Level { price: Decimal::new(cents, 2), size: Decimal::new(1, 0) };
        let (bid, ask) = (level(bid), level(ask));
        let quote = Quote { instrument: BTC, venue, bid, ask, received: now, decoded: now, ..Quote::default() };
        self.ring.push(FeedEvent::Quote(quote)).unwrap();
        self.turn();
    }

    /// What the client received: change, reason and class of each opportunity message, `alert` for an alert.
    fn news(&mut self) -> Vec<String> {
        self.messages().iter().map(told).collect()
    }

    fn messages(&mut self) -> Vec<Value> {
        self.follower.receive(usize::MAX, &mut self.input);
        let messages = texts_of(&mut self.input).into_iter().map(|text| serde_json::from_str::<Value>(&text).unwrap());
        messages.filter(|message| message["change"] != "updated").collect()
    }

    fn page(&mut self, path: &str) -> Value {
        serde_json::from_str(&self.text(path)).unwrap()
    }

    fn text(&mut self, path: &str) -> String {
        let client = self.gateway.connect(1 << 20);
        client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").as_bytes());
        let mut reply = Vec::new();
        while !client.is_closed() {
            self.gateway.turn(Duration::ZERO);
            client.receive(usize::MAX, &mut reply);
        }
        client.receive(usize::MAX, &mut reply);
        let reply = String::from_utf8(reply).unwrap();
        reply.split_once("\r\n\r\n").unwrap().1.to_owned()
    }
}

fn told(message: &Value) -> String {
    let text = |member: &str| message[member].as_str().unwrap_or_default();
    match text("type") {
        "opportunity" => format!("{} {} {}", text("change"), text("reason"), text("class")).trim().to_owned(),
        "arbitrage" => "alert".to_owned(),
        other => other.to_owned(),
    }
}

/// One value of each point, by time.
fn points(pair: &Value, member: &str) -> Value {
    pair["points"].as_array().unwrap().iter().map(|point| point[member].clone()).collect()
}

#[test]
fn an_opportunity_lives_until_its_net_spread_is_zero_however_it_closes() {
    let mut desk = Desk::new();
    desk.quote(BINANCE, 9_990, 10_000);
    desk.quote(KRAKEN, 10_060, 10_070);
    assert_eq!(desk.news(), ["alert", "opened"]);
    desk.pass(3);
    desk.quote(KRAKEN, 10_045, 10_070);
    assert_eq!(desk.news(), [""; 0], "0.9 of the threshold");
    assert_eq!(desk.page("/api/opportunities")["open"].as_array().unwrap().len(), 1);
    desk.pass(7);
    desk.quote(KRAKEN, 10_039, 10_070);
    assert_eq!(desk.news(), ["closed sell_moved flicker"], "below 0.8 of the threshold, after 10 ms");
    desk.pass(30);
    assert_eq!(desk.page("/api/survival")["pairs"], json!([]), "it is closed, and still worth something after fees");
    desk.quote(KRAKEN, 10_020, 10_070);
    desk.pass(300);
    let pairs = desk.page("/api/survival")["pairs"].clone();
    let [pair] = pairs.as_array().unwrap().as_slice() else { panic!("{pairs}") };
    assert_eq!(
        (&pair["buyExchange"], &pair["sellExchange"], &pair["symbol"]),
        (&json!("binance"), &json!("kraken"), &json!(null))
    );
    assert_eq!((&pair["episodes"], points(pair, "alive")), (&json!(1), json!([1, 1, 1, 0, 0])), "40 ms");

    // The next one is lost from view after 5 ms; the time after that is unknown.
    desk.quote(BINANCE, 9_990, 10_000);
    desk.quote(KRAKEN, 10_060, 10_070);
    assert_eq!(desk.news(), ["opened"], "within the debounce time");
    desk.pass(5);
    desk.ring.push(FeedEvent::Void(BTC, KRAKEN, Origin::Own, BookVoid::Gap)).unwrap();
    desk.turn();
    assert_eq!(desk.news(), ["closed leg_void flicker"]);
    desk.pass(300);
    let page = desk.page("/api/survival?symbol=btc/usdt&buy=Binance&sell=kraken");
    let pair = &page["pairs"][0];
    assert_eq!((&pair["episodes"], &pair["pooled"], &pair["symbol"]), (&json!(2), &json!(true), &json!("BTC/USDT")));
    assert_eq!(points(pair, "alive"), json!([1, 1, 1, 0, 0]));
    assert_eq!(points(pair, "atRisk"), json!([2, 2, 1, 0, 0]));
    assert_eq!(points(pair, "censored"), json!([0, 0, 1, 1, 1]));
    let kept = points(pair, "netKept");
    assert_eq!((&kept[0], &kept[3]), (&json!(1), &json!(0)));
    assert!((0.47..0.49).contains(&kept[2].as_f64().unwrap()), "0.19 of 0.40 % net: {kept}");
    assert_eq!(desk.page("/api/survival?buy=kraken")["pairs"], json!([]));
    assert_eq!(desk.page("/api/survival?symbol=NO/PE")["error"], "Unknown symbol NO/PE");
    assert_eq!(desk.page("/api/survival?sell=nowhere")["error"], "Unknown exchange");

    // The next alert, after the debounce time, contains the survival of those before it.
    desk.pass(1000);
    desk.quote(BINANCE, 9_990, 10_000);
    desk.quote(KRAKEN, 10_060, 10_070);
    let messages = desk.messages();
    assert_eq!(messages.iter().map(told).collect::<Vec<_>>(), ["alert", "opened"]);
    for message in &messages {
        assert_eq!(message["survival"]["episodes"], 2, "{message}");
        assert_eq!(message["survival"]["alive"], json!([1, 1, 1, 0, 0]));
    }
    let metrics = desk.text("/metrics");
    let metric = r#"spreadwire_survival_ratio{buy="binance",sell="kraken",after_ms="100"} 0"#;
    assert!(metrics.lines().any(|line| line == metric), "{metric}");
}

#[test]
fn a_venue_that_sends_every_ten_milliseconds_shows_no_survival_of_one() {
    let mut desk = Desk::new();
    desk.quote(BINANCE, 9_990, 10_000);
    desk.quote(OKX, 10_060, 10_070);
    desk.pass(30);
    desk.quote(OKX, 10_000, 10_070);
    desk.pass(300);
    let page = desk.page("/api/survival");
    assert_eq!(points(&page["pairs"][0], "alive"), json!([null, null, 1, 0, 0]));
}

#[test]
fn precision_counts_what_closed_by_pair_and_day() {
    let mut desk = Desk::new();
    desk.quote(BINANCE, 9_990, 10_000);
    for (venue, ms) in [(KRAKEN, 20), (KRAKEN, 200), (OKX, 20)] {
        desk.quote(BINANCE, 9_990, 10_000);
        desk.quote(venue, 10_060, 10_070);
        desk.pass(ms);
        desk.quote(venue, 10_000, 10_010);
    }
    desk.pass(300);
    let page = desk.page("/api/precision");
    let count = |pair: &Value| {
        let classes = &pair["classes"];
        (pair["sellExchange"].clone(), pair["closed"].clone(), classes["flicker"].clone(), classes["unclear"].clone())
    };
    let counted: Vec<_> = page["pairs"].as_array().unwrap().iter().map(count).collect();
    assert_eq!(
        counted,
        [(json!("okx"), json!(1), json!(1), json!(0)), (json!("kraken"), json!(2), json!(1), json!(1))]
    );
    let kraken = &page["pairs"][1];
    assert_eq!((&kraken["real"], &kraken["precision"]), (&json!(0), &json!(0)), "nothing is proven yet");
    assert_eq!(kraken["days"][0]["day"], "2026-11-30");
    assert_eq!(kraken["days"].as_array().unwrap().len(), 1);
    let metrics = desk.text("/metrics");
    for metric in [
        r#"spreadwire_detector_closed_total{class="flicker"} 2"#,
        r#"spreadwire_precision_closed{buy="binance",sell="kraken"} 2"#,
    ] {
        assert!(metrics.lines().any(|line| line == metric), "{metric}");
    }
}
