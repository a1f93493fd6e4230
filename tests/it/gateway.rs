//! The gateway on loopback: a matrix that the test writes, and clients that are not our code (tungstenite) or plain
//! sockets. It has its own thread, or the test turns it on a clock that only the test moves.

mod books;
mod local;
mod opportunities;
mod simulated;
mod turned;

use std::cell::RefCell;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Stdio;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use spreadwire::gateway::http::assets;
use spreadwire::gateway::{Clocks, Gateway, GatewayParts, GatewaySettings};
use spreadwire::market::directory::VenueEntry;
use spreadwire::market::opportunity::{
    Change, Class, CloseReason, Coexistence, Group, Leg, LegSide, Opportunity, OpportunityEvent, Percent, Proof,
    gross_pct,
};
use spreadwire::market::quote::{ExcessLag, Origin, Source};
use spreadwire::market::statistics::DayStatistics;
use spreadwire::market::{Directory, Level, PairId};
use spreadwire::matrix::books::BookTable;
use spreadwire::matrix::changes::Changes;
use spreadwire::matrix::days::DayTable;
use spreadwire::matrix::{CellQuote, CellState, MatrixWriter, QuoteMatrix};
use spreadwire::metrics::{Board, LinkState};
use spreadwire::net::listen::{Addresses, Listener};
use spreadwire::stage::{Alarm, Idle, Stage, Stop, spawn};
use spreadwire::time::{Clock, HandClock, MS, MonoNs, SECOND, UnixNs};
use tungstenite::{Message, WebSocket};

/// A test fails after this time instead of waiting forever; long enough for any busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// An interval that no test waits for, in milliseconds.
const LONG_BEAT_MS: u64 = 60_000;
const SYMBOLS: [&str; 4] = ["BTC/USDT", "ETH/USDT", "SOL/USD", "SOL/USDT"];
const VENUES: [&str; 3] = ["binance", "kraken", "coinbase"];

/// Default settings with a change.
fn settings(change: impl FnOnce(&mut GatewaySettings)) -> GatewaySettings {
    let mut settings = GatewaySettings::default();
    change(&mut settings);
    settings
}

struct Rig {
    address: SocketAddr,
    directory: Arc<Directory>,
    writer: MatrixWriter,
    changes: Arc<Changes>,
    days: Arc<DayTable>,
    books: Arc<BookTable>,
    board: Arc<Board>,
    events: rtrb::Producer<OpportunityEvent>,
    alarm: Alarm,
    clock: Clock,
    stop: Stop,
    thread: Option<std::thread::JoinHandle<()>>,
    /// For a gateway without a thread.
    hand: Option<Hand>,
}

/// A gateway that the test turns. Time passes only in [`Hand::pass`].
#[derive(Clone)]
struct Hand {
    gateway: Rc<RefCell<Gateway>>,
    clock: HandClock,
}

impl Hand {
    fn turn(&self, wait: Duration) -> usize {
        self.gateway.borrow_mut().turn(wait)
    }

    /// Turns until no work is left.
    fn rest(&self) {
        while self.turn(Duration::ZERO) > 0 {}
        self.turn(Duration::ZERO);
    }

    /// Lets time pass in steps short enough for every interval.
    fn pass(&self, time: Duration) {
        self.rest();
        let mut left = time.as_nanos() as u64;
        while left > 0 {
            let step = left.min(10 * MS);
            self.clock.advance(step);
            self.rest();
            left -= step;
        }
    }
}

/// A client's end of a connection. Waiting at it turns a gateway without a thread.
struct Wire {
    tcp: TcpStream,
    hand: Option<Hand>,
}

impl Wire {
    fn new(address: SocketAddr, hand: Option<&Hand>) -> Self {
        let tcp = TcpStream::connect(address).unwrap();
        tcp.set_read_timeout(Some(PATIENCE)).unwrap();
        tcp.set_nonblocking(hand.is_some()).unwrap();
        Self { tcp, hand: hand.cloned() }
    }

    fn patiently<T>(&mut self, mut act: impl FnMut(&mut TcpStream) -> std::io::Result<T>) -> std::io::Result<T> {
        let begun = Instant::now();
        loop {
            match (act(&mut self.tcp), &self.hand) {
                (Err(error), Some(hand)) if error.kind() == ErrorKind::WouldBlock && begun.elapsed() < PATIENCE => {
                    hand.turn(Duration::from_millis(1));
                }
                (result, _) => return result,
            }
        }
    }
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.patiently(|tcp| tcp.read(buffer))
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.patiently(|tcp| tcp.write(bytes))
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Rig {
    fn new() -> Self {
        Self::with(GatewaySettings::default())
    }

    fn with(settings: GatewaySettings) -> Self {
        let (mut rig, gateway) = Self::by_hand(settings, Clock::System);
        rig.thread = Some(spawn(vec![Box::new(gateway)], None, Idle::Wait, rig.stop.clone()).unwrap());
        rig
    }

    /// On a clock that only the test moves.
    fn on_hand(settings: GatewaySettings) -> Self {
        let clock = HandClock::new(MonoNs(1000 * SECOND), UnixNs::from_ms(1_700_000_000_000));
        let (mut rig, gateway) = Self::by_hand(settings, clock.clock());
        let gateway = Rc::new(RefCell::new(gateway));
        rig.hand = Some(Hand { gateway, clock });
        rig
    }

    /// Lets time pass for a gateway without a thread.
    fn pass(&self, ms: u64) {
        self.hand.as_ref().unwrap().pass(Duration::from_millis(ms));
    }

    /// Turns a gateway without a thread until no work is left.
    fn rest(&self) {
        self.hand.as_ref().unwrap().rest();
    }

    /// The same, with the stage to be turned by hand, on `clock`.
    fn by_hand(settings: GatewaySettings, clock: Clock) -> (Self, Gateway) {
        let venue = |name: &str| VenueEntry {
            name: name.into(),
            taker_fee_pct: "0.1".parse().unwrap(),
            // Only coinbase has SOL/USD, and it has no pair in USDT.
            native: SYMBOLS
                .iter()
                .map(|s| ((name == "coinbase") == (*s == "SOL/USD")).then(|| s.replace('/', "")))
                .collect(),
        };
        let directory =
            Arc::new(Directory::new(SYMBOLS.map(str::to_owned).to_vec(), VENUES.iter().map(|v| venue(v)).collect()));
        let (matrix, writer) = QuoteMatrix::new(directory.pairs());
        let board = Arc::new(Board::new(clock.now(), VENUES.len(), 1));
        // There are no feeds: venues with prices count as connected for books, too.
        board.books.iter().for_each(|books| books.connection.set_state(LinkState::Connected, clock.now()));
        for gauges in &board.venues {
            gauges.set_source(1);
            gauges.connection.set_state(LinkState::Connected, clock.now());
        }
        let (events, opportunities) = rtrb::RingBuffer::new(64);
        let (changes, days) = (Arc::new(Changes::new(directory.pairs())), Arc::new(DayTable::new(directory.pairs())));
        let books = Arc::new(BookTable::new(directory.pairs(), settings.books.levels));
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.address();
        let (gateway, alarm) = Gateway::new(GatewayParts {
            directory: Arc::clone(&directory),
            matrix,
            days: Arc::clone(&days),
            books: Arc::clone(&books),
            changes: Arc::clone(&changes),
            opportunities,
            board: Arc::clone(&board),
            index: 0,
            clocks: Clocks::both(&clock),
            settings,
            listener: Some(listener),
            admin: None,
        })
        .unwrap();
        let (stop, thread, hand) = (Stop::default(), None, None);
        let rig =
            Self { address, directory, writer, changes, days, books, board, events, alarm, clock, stop, thread, hand };
        (rig, gateway)
    }

    fn pair(&self, symbol: &str, venue: &str) -> PairId {
        let instrument = self.directory.instrument_named(symbol).unwrap();
        self.directory.pair(instrument, self.directory.venue_named(venue).unwrap())
    }

    fn store(&mut self, symbol: &str, venue: &str, quote: CellQuote) {
        let pair = self.pair(symbol, venue);
        self.writer.store(pair, &quote);
        self.changes.mark(pair);
        self.alarm.ring();
    }

    /// A fresh quote with the venue's stamp 1,700,000,000,123 ms.
    fn quote(&mut self, symbol: &str, venue: &str, bid: &str, ask: &str) {
        let level = |price: &str| Level { price: price.parse().unwrap(), size: "1.50".parse().unwrap() };
        let quote = CellQuote {
            bid: level(bid),
            ask: level(ask),
            exchange_time: UnixNs::from_ms(1_700_000_000_123),
            received: self.clock.now(),
            state: CellState::Live,
            source: Source::Simulated,
            ..CellQuote::default()
        };
        self.store(symbol, venue, quote);
    }

    fn void(&mut self, symbol: &str, venue: &str) {
        let quote = self.writer.load(self.pair(symbol, venue));
        self.store(symbol, venue, CellQuote { state: CellState::Void, ..quote });
    }

    fn day(&self, symbol: &str, venue: &str, last: f64) {
        let day = DayStatistics {
            last,
            high: 2.0,
            low: 1.0,
            change: -0.5,
            change_pct: -1.5,
            quote_volume: 7.0,
            ..Default::default()
        };
        self.days.store(self.pair(symbol, venue), &day);
    }

    fn opportunity(&mut self, symbol: &str, buy: (&str, &str), sell: (&str, &str), change: Change, alert: bool) {
        let event = self.event(symbol, buy, sell, change, alert);
        self.events.push(event).unwrap();
        self.alarm.ring();
    }

    fn event(
        &self,
        symbol: &str,
        buy: (&str, &str),
        sell: (&str, &str),
        change: Change,
        alert: bool,
    ) -> OpportunityEvent {
        let now = self.clock.now();
        let leg = |(venue, price): (&str, &str)| Leg {
            venue: self.directory.venue_named(venue).unwrap(),
            level: Level { price: price.parse().unwrap(), size: "0.5".parse().unwrap() },
            received: now,
            source: Source::Simulated,
            excess: ExcessLag::of(0, 1),
        };
        let (buy, sell) = (leg(buy), leg(sell));
        let opportunity = Opportunity {
            instrument: self.directory.instrument_named(symbol).unwrap(),
            gross_pct: gross_pct(buy.level.price, sell.level.price),
            net_pct: Percent(8_000_000_000),
            basis_pct: None,
            buy,
            sell,
            opened: now,
            detected: now,
            peak_gross_pct: Percent(10_000_000_000),
            group: Group::default(),
            coexistence: Coexistence::default(),
        };
        OpportunityEvent { opportunity, change, alert, class: change.reason().map(|_| Class::Flicker) }
    }

    fn client(&self) -> Client {
        Client::over(self.address, self.raw())
    }

    fn raw(&self) -> Wire {
        Wire::new(self.address, self.hand.as_ref())
    }

    /// Status line, head and body of a GET on a connection of its own.
    fn get(&self, target: &str) -> (u16, String, String) {
        let request = format!("GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let text = exchange_over(self.raw(), request.as_bytes());
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        (head[9..12].parse().unwrap(), head.to_owned(), body.to_owned())
    }

    fn json(&self, target: &str) -> (u16, Value) {
        let (status, _, body) = self.get(target);
        (status, serde_json::from_str(&body).unwrap_or_else(|e| panic!("{e}: {body}")))
    }

    fn wait_until(&self, what: &str, done: impl Fn(&Board) -> bool) {
        let begun = Instant::now();
        while !done(&self.board) {
            assert!(begun.elapsed() < PATIENCE, "waited too long for: {what}");
            match &self.hand {
                Some(hand) => hand.pass(Duration::from_millis(5)),
                None => std::thread::sleep(Duration::from_millis(5)),
            }
        }
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.stop.request();
        if let Some(thread) = self.thread.take() {
            let result = thread.join();
            if !std::thread::panicking() {
                result.unwrap();
            }
        }
    }
}

struct Client {
    socket: WebSocket<Wire>,
}

impl Client {
    fn over(address: SocketAddr, wire: Wire) -> Self {
        Self { socket: tungstenite::client(format!("ws://{address}/ws/prices"), wire).unwrap().0 }
    }

    fn send(&mut self, request: Value) {
        self.send_text(&request.to_string());
    }

    fn send_text(&mut self, text: &str) {
        self.socket.send(Message::text(text)).unwrap();
    }

    fn subscribe(&mut self, symbols: &[&str], exchanges: &[&str]) -> String {
        self.send(json!({"action": "subscribe", "symbols": symbols, "exchanges": exchanges}));
        self.text()
    }

    /// The next text message.
    fn text(&mut self) -> String {
        loop {
            match self.socket.read().unwrap() {
                Message::Text(text) => return text.to_string(),
                Message::Ping(_) => {}
                other => panic!("unexpected {other:?}"),
            }
        }
    }

    fn next(&mut self) -> Value {
        serde_json::from_str(&self.text()).unwrap()
    }

    /// What arrives within `time` from a gateway without a thread.
    fn collect(&mut self, time: Duration) -> Vec<String> {
        self.socket.get_ref().hand.as_ref().expect("its time passes by itself").pass(time);
        // The reply arrives after everything that was sent before.
        self.socket.send(Message::Ping("all?".into())).unwrap();
        let mut texts = Vec::new();
        loop {
            match self.socket.read().unwrap() {
                Message::Text(text) => texts.push(text.to_string()),
                Message::Pong(_) => return texts,
                Message::Ping(_) => {}
                other => panic!("unexpected {other:?}"),
            }
        }
    }

    /// The code that the server closes with.
    fn close_code(&mut self) -> Option<u16> {
        loop {
            match self.socket.read() {
                Ok(Message::Close(frame)) => return frame.map(|f| f.code.into()),
                Ok(_) => {}
                Err(_) => return None,
            }
        }
    }
}

fn exchange(address: SocketAddr, request: &[u8]) -> String {
    exchange_over(Wire::new(address, None), request)
}

fn exchange_over(mut wire: Wire, request: &[u8]) -> String {
    wire.write_all(request).unwrap();
    let mut reply = Vec::new();
    wire.read_to_end(&mut reply).unwrap();
    String::from_utf8(reply).unwrap()
}

const BTC: &str =
    r#"{"type":"price","symbol":"BTC/USDT","exchange":"binance","bid":42500.5,"ask":42501,"timestamp":1700000000123}"#;

// WebSocket clients.

#[test]
fn nothing_is_sent_on_connect() {
    let rig = Rig::on_hand(GatewaySettings::default());
    assert_eq!(rig.client().collect(Duration::from_secs(2)), [""; 0]);
}

#[test]
fn a_subscription_is_confirmed_and_its_prices_follow_at_once() {
    let mut rig = Rig::on_hand(GatewaySettings::default());
    rig.quote("BTC/USDT", "binance", "42500.50", "42501.00");
    let mut client = rig.client();
    assert_eq!(
        client.subscribe(&["BTC/USDT"], &["binance", "nowhere"]),
        r#"{"type":"subscribed","symbols":["BTC/USDT"],"exchanges":["binance","nowhere"],"message":"Successfully subscribed"}"#
    );
    assert_eq!(client.text(), BTC);
    // Nor later: no time passes here.
    let mut client = rig.client();
    client.send(
        json!({"action": "subscribe", "symbols": ["BTC/USDT"], "exchanges": ["binance"], "intervalMs": LONG_BEAT_MS}),
    );
    assert!(client.text().contains("subscribed"));
    assert_eq!(client.text(), BTC);
}

#[test]
fn the_cross_product_comes_in_one_burst_in_order_of_subscription() {
    let mut rig = Rig::on_hand(GatewaySettings::default());
    for symbol in ["BTC/USDT", "ETH/USDT"] {
        for venue in ["binance", "kraken"] {
            rig.quote(symbol, venue, "10", "11");
        }
    }
    let mut client = rig.client();
    client.subscribe(&["ETH/USDT", "BTC/USDT"], &["kraken"]);
    let key = |v: &Value| format!("{}@{}", v["symbol"].as_str().unwrap(), v["exchange"].as_str().unwrap());
    assert_eq!([client.next(), client.next()].map(|v| key(&v)), ["ETH/USDT@kraken", "BTC/USDT@kraken"]);
    assert!(client.subscribe(&[], &["binance"]).contains(r#""exchanges":["kraken","binance"]"#));
    // Only new prices are sent at once; all prices are sent with the next bursts.
    assert_eq!([client.next(), client.next()].map(|v| key(&v)), ["ETH/USDT@binance", "BTC/USDT@binance"]);
    let mut seen = || -> Vec<String> {
        let texts = client.collect(Duration::from_millis(500));
        texts.iter().map(|text| key(&serde_json::from_str(text).unwrap())).collect()
    };
    let whole = ["ETH/USDT@kraken", "ETH/USDT@binance", "BTC/USDT@kraken", "BTC/USDT@binance"];
    assert_eq!(seen(), ["ETH/USDT@kraken", "BTC/USDT@kraken"], "a price came twice within its interval");
    assert_eq!(seen(), whole);
}

#[test]
fn every_fresh_price_comes_every_500_ms_changed_or_not() {
    let mut rig = Rig::on_hand(GatewaySettings::default());
    rig.quote("BTC/USDT", "binance", "42500.50", "42501.00");
    let mut client = rig.client();
    client.subscribe(&["BTC/USDT"], &["binance"]);
    assert_eq!(client.text(), BTC, "the first at once");
    for _ in 0..4 {
        assert_eq!(client.collect(Duration::from_millis(490)), [""; 0]);
        assert_eq!(client.collect(Duration::from_millis(10)), [BTC]);
    }
}

#[test]
fn unsubscribing_leaves_the_rest() {
    let mut rig = Rig::on_hand(GatewaySettings::default());
    rig.quote("BTC/USDT", "binance", "1", "2");
    let mut client = rig.client();
    client.subscribe(&["BTC/USDT", "ETH/USDT"], &["binance"]);
    client.next();
    client.send(json!({"action": "unsubscribe", "symbols": ["BTC/USDT", "absent"], "exchanges": ["absent"]}));
    assert_eq!(
        client.text(),
        r#"{"type":"unsubscribed","symbols":["ETH/USDT"],"exchanges":["binance"],"message":"Successfully unsubscribed"}"#
    );
    assert_eq!(client.collect(Duration::from_millis(1100)), [""; 0]);
    client.send(json!({"action": "unsubscribe", "symbols": ["ETH/USDT"], "exchanges": ["binance"]}));
    assert!(client.text().contains(r#""symbols":[],"exchanges":[]"#));
    rig.wait_until("no pairs", |board| board.gateways[0].subscriptions.symbols.count.value() == 0);
    // The subscription is empty again.
    assert!(client.subscribe(&["BTC/USDT"], &["binance"]).contains(r#""symbols":["BTC/USDT"]"#));
    assert_eq!(client.next()["type"], "price");
}

#[test]
fn an_error_keeps_the_connection_open_and_the_valid_part_is_applied() {
    let mut rig = Rig::new();
    rig.quote("BTC/USDT", "binance", "1", "2");
    let mut client = rig.client();
    client.send_text("{nonsense");
    assert_eq!(client.text(), r#"{"type":"error","message":"Invalid message format"}"#);
    client.send_text(r#"{"action":"dance"}"#);
    assert_eq!(client.text(), r#"{"type":"error","message":"Unknown action: dance"}"#);
    client.send_text("{}");
    assert_eq!(client.text(), r#"{"type":"error","message":"Unknown action: undefined"}"#);
    client.send_text(r#"{"action":"subscribe","symbols":["BTC/USDT"],"exchanges":"binance"}"#);
    assert_eq!(client.text(), r#"{"type":"error","message":"Invalid message format"}"#);
    // The symbols of that request are applied.
    assert!(client.subscribe(&[], &["binance"]).contains(r#""symbols":["BTC/USDT"],"exchanges":["binance"]"#));
    assert_eq!(client.next()["bid"], 1);
}

#[test]
fn a_binary_frame_with_json_is_a_request() {
    let rig = Rig::new();
    let mut client = rig.client();
    client.socket.send(Message::binary(br#"{"action":"subscribe","symbols":["X/Y"]}"#.to_vec())).unwrap();
    assert!(client.text().contains(r#""symbols":["X/Y"],"exchanges":[]"#));
}

#[test]
fn names_are_repeated_as_the_client_spells_them_and_each_spelling_counts() {
    let mut rig = Rig::new();
    rig.quote("BTC/USDT", "binance", "1", "2");
    let mut client = rig.client();
    let reply = client.subscribe(&["btc/usdt", "BTC/USDT", "btc/usdt", "<b>\"\u{e9}\\"], &["Binance"]);
    let reply: Value = serde_json::from_str(&reply).unwrap();
    assert_eq!(reply["symbols"], json!(["btc/usdt", "BTC/USDT", "<b>\"\u{e9}\\"]));
    let (a, b) = (client.next(), client.next());
    assert_eq!((&a["symbol"], &a["exchange"]), (&json!("btc/usdt"), &json!("Binance")));
    assert_eq!(b["symbol"], "BTC/USDT");
}

#[test]
fn an_alert_is_sent_to_all_subscribers_of_the_symbol_for_any_exchanges() {
    let mut rig = Rig::on_hand(GatewaySettings::default());
    let (mut with, mut without, mut other) = (rig.client(), rig.client(), rig.client());
    with.subscribe(&["btc/usdt"], &["kraken"]);
    without.subscribe(&["BTC/USDT"], &[]);
    other.subscribe(&["ETH/USDT"], &["binance"]);
    rig.opportunity("BTC/USDT", ("kraken", "42500"), ("binance", "42925"), Change::Opened, true);
    let alert = without.text();
    assert!(
        alert.starts_with(r#"{"type":"arbitrage","symbol":"BTC/USDT","buyExchange":"kraken","sellExchange":"binance","buyPrice":42500,"sellPrice":42925,"spreadPct":1,"profit":42500,"timestamp":"#),
        "{alert}"
    );
    assert_eq!(alert.matches(':').count(), 9, "{alert}");
    assert_eq!(with.next()["symbol"], "btc/usdt");
    assert_eq!(other.collect(Duration::from_millis(200)), [""; 0]);
    rig.wait_until("alerts counted", |board| board.gateways[0].sent.alerts.value() == 2);
}

#[test]
fn a_client_that_subscribes_later_receives_open_opportunities_at_once() {
    let mut rig = Rig::on_hand(GatewaySettings::default());
    rig.quote("BTC/USDT", "kraken", "42499", "42500");
    rig.quote("BTC/USDT", "binance", "42925", "42926");
    rig.opportunity("BTC/USDT", ("kraken", "42500"), ("binance", "42925"), Change::Opened, false);
    rig.opportunity("ETH/USDT", ("kraken", "1"), ("binance", "2"), Change::Opened, false);
    let mut early = rig.client();
    early.subscribe(&["BTC/USDT", "ETH/USDT"], &[]);
    // Only one of the two has fresh legs.
    let alert = early.next();
    assert_eq!(
        (&alert["type"], &alert["symbol"], &alert["sellPrice"]),
        (&json!("arbitrage"), &json!("BTC/USDT"), &json!(42925))
    );
    assert_eq!(early.collect(Duration::from_millis(150)), [""; 0]);
    rig.opportunity(
        "BTC/USDT",
        ("kraken", "42500"),
        ("binance", "42925"),
        Change::Closed(CloseReason::SellMoved),
        false,
    );
    let mut late = rig.client();
    late.subscribe(&["BTC/USDT"], &[]);
    assert_eq!(late.collect(Duration::from_millis(200)), [""; 0]);
}

#[test]
fn stats_count_pairs() {
    let rig = Rig::new();
    assert_eq!(
        rig.get("/api/websocket/stats").2,
        r#"{"status":"active","stats":{"clientCount":0,"totalSubscriptions":0,"uniqueSymbols":0,"uniqueExchanges":0}}"#
    );
    let (mut a, mut b) = (rig.client(), rig.client());
    a.subscribe(&["BTC/USDT", "ETH/USDT"], &["binance", "kraken", "okx"]);
    b.subscribe(&["BTC/USDT"], &["binance"]);
    let expected = json!({"clientCount": 2, "totalSubscriptions": 7, "uniqueSymbols": 2, "uniqueExchanges": 3});
    assert_eq!(rig.json("/api/websocket/stats").1["stats"], expected);
    drop(b);
    rig.wait_until("one client", |board| board.gateways[0].subscriptions.pairs.value() == 6);
}

#[test]
fn a_stale_or_void_price_is_not_sent() {
    let mut rig = Rig::on_hand(settings(|o| o.quotes.stale_after_ms = 300));
    rig.quote("BTC/USDT", "binance", "1", "2");
    let mut client = rig.client();
    client.subscribe(&["BTC/USDT", "ETH/USDT"], &["binance", "coinbase"]);
    assert_eq!(client.next()["bid"], 1);
    assert_eq!(client.collect(Duration::from_millis(1200)), [""; 0], "older than the limit");
    rig.quote("BTC/USDT", "binance", "3", "4");
    rig.void("BTC/USDT", "binance");
    assert_eq!(client.collect(Duration::from_millis(700)), [""; 0], "void");
}

#[test]
fn interval_0_sends_every_change_at_once_and_nothing_else() {
    let mut rig = Rig::on_hand(GatewaySettings::default());
    rig.quote("BTC/USDT", "binance", "1", "2");
    let mut client = rig.client();
    client.send(json!({"action": "subscribe", "symbols": ["BTC/USDT"], "exchanges": ["binance"], "intervalMs": 0}));
    client.next();
    assert_eq!(client.next()["bid"], 1);
    for n in 2..20u64 {
        rig.quote("BTC/USDT", "binance", &n.to_string(), &(n + 1).to_string());
        assert_eq!(client.next()["bid"], n);
    }
    rig.quote("ETH/USDT", "binance", "5", "6");
    assert_eq!(client.collect(Duration::from_millis(700)), [""; 0]);
    rig.wait_until("latency published", |board| {
        board.latency.summary_of_all(spreadwire::metrics::latency::Hop::WireToPrice).count >= 18
    });
    // Back to the interval.
    client.send(json!({"action": "subscribe", "intervalMs": 500}));
    client.next();
    assert_eq!(client.collect(Duration::from_millis(1000)).len(), 2);
}

#[test]
fn a_client_may_choose_its_interval() {
    let mut rig = Rig::on_hand(GatewaySettings::default());
    rig.quote("BTC/USDT", "binance", "1", "2");
    let mut client = rig.client();
    client.send(json!({"action": "subscribe", "symbols": ["BTC/USDT"], "exchanges": ["binance"], "intervalMs": 50}));
    client.next();
    assert_eq!(client.next()["bid"], 1);
    assert_eq!(client.collect(Duration::from_millis(1000)).len(), 20);
}

#[test]
fn extended_clients_receive_more_fields_and_one_message_when_a_price_becomes_stale() {
    let mut rig = Rig::on_hand(GatewaySettings::default());
    rig.quote("BTC/USDT", "binance", "42500.50", "42501.00");
    let mut client = rig.client();
    client.send(json!({"action": "subscribe", "symbols": ["BTC/USDT"], "exchanges": ["binance"], "intervalMs": 0, "extended": true}));
    client.next();
    let text = client.text();
    assert!(
        text.starts_with(&format!(
            "{},\"bidSize\":1.5,\"askSize\":1.5,\"seq\":1,\"source\":\"simulated\",\"level\":\"websocket\",\"state\":\"fresh\",\"ageMs\":",
            &BTC[..BTC.len() - 1]
        )),
        "{text}"
    );
    rig.void("BTC/USDT", "binance");
    rig.pass(50);
    let stale = client.next();
    assert_eq!((&stale["state"], &stale["bid"]), (&json!("stale"), &json!(42500.5)));
    assert_eq!(client.collect(Duration::from_millis(300)), [""; 0], "told more than once");
    rig.quote("BTC/USDT", "binance", "1", "2");
    assert_eq!(client.next()["state"], "fresh");
    rig.opportunity("BTC/USDT", ("kraken", "42500"), ("binance", "42925"), Change::Opened, true);
    let alert = client.text();
    assert!(
        alert.contains(r#","netSpreadPct":0.8,"executableSize":0.5,"buyAgeMs":"#)
            && alert.contains(r#","source":"simulated","id":"BTC/USDT:kraken:binance:"#),
        "{alert}"
    );
}

#[test]
fn a_halted_price_is_marked_for_extended_clients_and_not_sent_to_others() {
    let mut rig = Rig::new();
    rig.quote("BTC/USDT", "binance", "42500.50", "42501.00");
    let quote = rig.writer.load(rig.pair("BTC/USDT", "binance"));
    let (mut plain, mut extended) = (rig.client(), rig.client());
    for (client, is_extended) in [(&mut plain, false), (&mut extended, true)] {
        client.send(json!({"action": "subscribe", "symbols": ["BTC/USDT"], "exchanges": ["binance"], "intervalMs": 0,
            "extended": is_extended}));
        client.next();
        assert_eq!(client.next()["bid"], 42500.5);
    }
    let halted = CellQuote { state: CellState::Halted, ..quote };
    rig.store("BTC/USDT", "binance", halted);
    assert_eq!(extended.next()["state"], "halted");
    rig.store("BTC/USDT", "binance", CellQuote { bid: halted.ask, ..halted });
    let again = extended.next();
    assert_eq!((&again["state"], &again["bid"]), (&json!("halted"), &json!(42501)));
    rig.store("BTC/USDT", "binance", quote);
    assert_eq!(extended.next()["state"], "fresh");
    assert_eq!(plain.next()["bid"], 42500.5, "the first since, when it is traded again");
}

#[test]
fn a_last_known_value_is_sent_to_extended_clients_only_with_its_level_and_age() {
    let mut rig = Rig::on_hand(GatewaySettings::default());
    let (pair, now) = (rig.pair("BTC/USDT", "binance"), rig.clock.now());
    rig.quote("BTC/USDT", "binance", "42500.50", "42501.00");
    let quote = rig.writer.load(pair);
    let aged = |ms: u64| MonoNs(now.0 - ms * MS);
    // Just read from disk, 90 s old.
    rig.store("BTC/USDT", "binance", CellQuote { origin: Origin::Disk, received: aged(90_000), ..quote });
    let mut plain = rig.client();
    plain.subscribe(&["BTC/USDT"], &["binance"]);
    let mut extended = rig.client();
    extended.send(json!({"action": "subscribe", "symbols": ["BTC/USDT"], "exchanges": ["binance"], "extended": true}));
    extended.next();
    let cached = extended.next();
    assert_eq!((&cached["state"], &cached["level"]), (&json!("cached"), &json!("local_cache")));
    assert_eq!(cached["ageMs"], 90_000);
    assert_eq!((&cached["bid"], &cached["source"]), (&json!(42500.5), &json!("simulated")));
    assert_eq!(plain.collect(Duration::from_millis(700)), [""; 0], "a price to a plain client");
    assert_eq!(rig.get("/api/market-data/prices?pairs=BTC/USDT").0, 503);
    let (status, health) = rig.json("/api/market-data/health");
    assert_eq!((status, &health["status"], &health["level"]), (503, &json!("degraded"), &json!("local_cache")));
    assert_eq!(health["venues"][0]["freshPairs"], 0);
    // A fresh value of Redis is a price and shows its origin; one beyond the limit is not a price.
    rig.store("BTC/USDT", "binance", CellQuote { origin: Origin::Redis, received: aged(1000), ..quote });
    let shown = |client: &mut Client| -> Value {
        let texts = client.collect(Duration::from_millis(500));
        serde_json::from_str(texts.last().unwrap()).unwrap()
    };
    assert_eq!(shown(&mut plain)["bid"], 42500.5);
    let price = shown(&mut extended);
    assert_eq!((&price["state"], &price["level"]), (&json!("fresh"), &json!("redis_cache")));
    let (status, ready) = rig.json("/readyz");
    assert_eq!((status, &ready["level"]), (200, &json!("redis_cache")));
    assert_eq!(rig.json("/api/market-data/health").0, 503, "served, and yet degraded");
    // It was sent with the burst of the other, too.
    plain.collect(Duration::ZERO);
    rig.store("BTC/USDT", "binance", CellQuote { origin: Origin::Redis, received: aged(31_000), ..quote });
    assert_eq!(plain.collect(Duration::from_millis(700)), [""; 0], "older than its limit");
    // Too old to be shown: this is sent once.
    rig.store("BTC/USDT", "binance", CellQuote { origin: Origin::Redis, received: aged(299_000), ..quote });
    assert_eq!(shown(&mut extended)["state"], "stale");
    assert_eq!(extended.collect(Duration::from_millis(700)), [""; 0], "told more than once");
}

#[test]
fn clients_with_equal_subscriptions_leave_independently() {
    let mut rig = Rig::new();
    rig.quote("BTC/USDT", "binance", "1", "2");
    let mut clients: Vec<Client> = (0..20).map(|_| rig.client()).collect();
    for (at, client) in clients.iter_mut().enumerate() {
        let interval = if at % 2 == 0 { 0 } else { 500 };
        client.send(
            json!({"action": "subscribe", "symbols": ["BTC/USDT"], "exchanges": ["binance"], "intervalMs": interval}),
        );
        client.next();
        assert_eq!(client.next()["bid"], 1);
    }
    clients.truncate(10);
    clients.swap(0, 9);
    rig.wait_until("ten left", |board| board.gateways[0].clients.websocket.value() == 10);
    rig.quote("BTC/USDT", "binance", "3", "4");
    for client in &mut clients {
        while client.next()["bid"] != 3 {}
    }
}

// Limits and faults.

#[test]
fn a_client_that_does_not_read_is_conflated_then_closed_without_delaying_others() {
    let mut rig = Rig::with(settings(|o| o.gateway.write_stall_ms = 2000));
    let mut slow = rig.client();
    let mut good = rig.client();
    // With many spellings a burst is large enough to fill the buffers of the kernel soon.
    let spellings: Vec<String> = (0u32..256)
        .map(|n| {
            "btcusdt"
                .chars()
                .enumerate()
                .map(|(at, c)| if n >> at & 1 == 1 { c.to_ascii_uppercase() } else { c })
                .collect::<String>()
        })
        .map(|s| format!("{}/{}", &s[..3], &s[3..]))
        .take(128)
        .collect();
    for client in [&mut slow, &mut good] {
        client.send(
            json!({"action": "subscribe", "symbols": spellings, "exchanges": ["binance", "kraken"], "intervalMs": 0}),
        );
        client.next();
    }
    let mut last = 0;
    let begun = Instant::now();
    while rig.board.gateways[0].clients.slow_closed.value() == 0 {
        assert!(begun.elapsed() < PATIENCE, "the slow client was kept");
        last += 1;
        rig.quote("BTC/USDT", "binance", &last.to_string(), "1000000");
        while good.next()["bid"] != last {}
        for _ in 1..128 {
            good.next();
        }
    }
    let gauges = &rig.board.gateways[0];
    assert!(gauges.sent.prices_conflated.value() > 0);
    rig.wait_until("gone", |board| board.gateways[0].clients.websocket.value() == 1);
    // The kernel drops unsent bytes, too: the connection is reset, however much the client reads now.
    let end = loop {
        match slow.socket.read() {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    let tungstenite::Error::Io(end) = end else { panic!("an orderly end: {end}") };
    assert_eq!(end.kind(), std::io::ErrorKind::ConnectionReset);
}

#[test]
fn alerts_wait_up_to_a_limit_then_the_client_is_notified_and_closed() {
    let mut rig = Rig::new();
    let tcp = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    tcp.set_recv_buffer_size(4096).unwrap();
    tcp.connect(&rig.address.into()).unwrap();
    let tcp = TcpStream::from(tcp);
    tcp.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut slow = Client::over(rig.address, Wire { tcp, hand: None });
    slow.subscribe(&["BTC/USDT"], &[]);
    let mut given = 0;
    while rig.board.gateways[0].clients.slow_closed.value() == 0 {
        if rig.events.slots() > 0 {
            rig.opportunity("BTC/USDT", ("kraken", "42500"), ("binance", "42925"), Change::Repeated, true);
            given += 1;
        }
        assert!(given < 20_000, "alerts pile up");
    }
    // All waiting messages arrive, then the reason, then the end.
    let mut last = String::new();
    loop {
        match slow.socket.read().unwrap() {
            Message::Text(text) => {
                assert!(last.is_empty() || last.contains("arbitrage"));
                last = text.to_string();
            }
            Message::Close(frame) => {
                assert_eq!(frame.map(|f| u16::from(f.code)), Some(1013));
                break;
            }
            other => panic!("unexpected {other:?}"),
        }
    }
    assert_eq!(last, r#"{"type":"error","message":"Too slow: alerts were lost"}"#);
}

#[test]
fn without_descriptors_connections_are_closed_until_some_are_free() {
    let server = format!("ulimit -n 100; exec {} demo --listen 127.0.0.1:0", env!("CARGO_BIN_EXE_spreadwire"));
    let mut command = std::process::Command::new("sh");
    let command = command.args(["-c", &server]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut server = Killed(command.spawn().unwrap());
    let mut lines = BufReader::new(server.0.stdout.take().unwrap()).lines();
    let address = lines.by_ref().map_while(Result::ok).find_map(|line| {
        line.split_once("ws://127.0.0.1:").and_then(|(_, rest)| rest.split_once('/')?.0.parse::<u16>().ok())
    });
    let address = SocketAddr::from(([127, 0, 0, 1], address.unwrap()));
    // Reads its output to the end.
    std::thread::spawn(move || lines.for_each(drop));
    // The feeds and other parts open their descriptors first.
    let health = b"GET /api/market-data/health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let begun = Instant::now();
    while !exchange(address, health).starts_with("HTTP/1.1 200 ") {
        assert!(begun.elapsed() < PATIENCE, "no fresh price");
        std::thread::sleep(Duration::from_millis(50));
    }
    let held: Vec<TcpStream> = (0..200).map(|_| TcpStream::connect(address).unwrap()).collect();
    // Waiting connections are closed.
    let mut last = held.last().unwrap();
    last.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(last.read(&mut [0; 10]).unwrap_or(0), 0);
    drop(held);
    let is_served = || {
        let mut tcp = TcpStream::connect(address).unwrap();
        tcp.set_read_timeout(Some(PATIENCE)).unwrap();
        // Closed while the others are connected.
        let _ = tcp.write_all(b"GET /livez HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let mut reply = String::new();
        tcp.read_to_string(&mut reply).is_ok() && reply.starts_with("HTTP/1.1 200 ")
    };
    let begun = Instant::now();
    while !is_served() {
        assert!(begun.elapsed() < PATIENCE, "it does not recover");
    }
}

/// A process that ends with its test.
struct Killed(std::process::Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_client_that_reads_again_receives_the_newest_prices() {
    let mut rig = Rig::on_hand(GatewaySettings::default());
    let mut client = rig.client();
    let spellings: Vec<String> = (0u32..128)
        .map(|n| {
            let s: String = "btcusdt"
                .chars()
                .enumerate()
                .map(|(at, c)| if n >> at & 1 == 1 { c.to_ascii_uppercase() } else { c })
                .collect();
            format!("{}/{}", &s[..3], &s[3..])
        })
        .collect();
    client.send(json!({"action": "subscribe", "symbols": spellings, "exchanges": ["binance"], "intervalMs": 0}));
    client.next();
    let mut last = 0;
    while rig.board.gateways[0].sent.prices_conflated.value() < 1000 {
        last += 1;
        rig.quote("BTC/USDT", "binance", &last.to_string(), "1000000");
        rig.pass(1);
        assert!(last < 20_000);
    }
    // Every frame is whole, prices only increase, and the newest of all 128 arrives without a new change.
    let mut newest = std::collections::HashMap::new();
    while newest.values().filter(|bid| **bid == last).count() < 128 {
        let price = client.next();
        let bid = price["bid"].as_u64().unwrap();
        let before = newest.insert(price["symbol"].as_str().unwrap().to_owned(), bid);
        assert!(before.is_none_or(|before| before <= bid));
    }
}

#[test]
fn invalid_frames_are_closed_with_the_right_code() {
    let rig = Rig::new();
    let masked = |first: u8, length: &[u8], payload: &[u8]| [&[first], length, &[0, 0, 0, 0], payload].concat();
    let fragments = [masked(0x01, &[0x81], b"x"), masked(0x00, &[0x81], b"x").repeat(64)].concat();
    let short_in_four = masked(0x81, &[0xfe, 0, 125], &[b'x'; 125]);
    let short_in_ten = masked(0x81, &[0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff], &[b'x'; 0xffff]);
    let cases: [(&str, Vec<u8>, u16); 12] = [
        ("unmasked", vec![0x81, 1, b'x'], 1002),
        ("reserved bit", masked(0xc1, &[0x81], b"x"), 1002),
        ("reserved opcode", masked(0x83, &[0x81], b"x"), 1002),
        ("fragmented ping", masked(0x09, &[0x81], b"x"), 1002),
        ("long ping", masked(0x89, &[0xfe, 0, 126], &[0; 126]), 1002),
        ("close with one byte", masked(0x88, &[0x81], b"x"), 1002),
        ("invalid UTF-8", masked(0x81, &[0x81], b"\xff"), 1007),
        ("64 KiB and one", masked(0x81, &[0xff, 0, 0, 0, 0, 0, 1, 0, 1], b""), 1009),
        ("65 fragments", fragments, 1008),
        ("a length of 125 in four bytes", short_in_four, 1002),
        ("a length of 65535 in ten bytes", short_in_ten, 1002),
        ("a length with the highest bit", masked(0x81, &[0xff, 0x80, 0, 0, 0, 0, 0, 0, 1], b"x"), 1002),
    ];
    // The same applies to bytes that arrive with the upgrade.
    for (what, bytes, code) in &cases {
        if bytes.len() > 4096 {
            continue;
        }
        let mut tcp = rig.raw();
        tcp.write_all(&[UPGRADE.as_bytes(), bytes].concat()).unwrap();
        let mut reply = Vec::new();
        tcp.read_to_end(&mut reply).unwrap();
        let head = reply.windows(4).position(|end| end == b"\r\n\r\n").unwrap();
        let frame = &reply[head + 4..];
        assert_eq!((frame[0], u16::from_be_bytes([frame[2], frame[3]])), (0x88, *code), "{what} with the upgrade");
    }
    for (what, bytes, code) in cases {
        let mut client = rig.client();
        client.socket.get_mut().write_all(&bytes).unwrap();
        assert_eq!(client.close_code(), Some(code), "{what}");
        // Then the connection is closed.
        assert_eq!(client.socket.get_mut().read(&mut [0; 10]).unwrap_or(0), 0, "{what}");
    }
    rig.wait_until("all gone", |board| board.gateways[0].clients.websocket.value() == 0);
}

#[test]
fn a_close_is_answered() {
    let rig = Rig::new();
    let mut client = rig.client();
    client.socket.close(None).unwrap();
    assert_eq!(client.close_code(), None);
    rig.wait_until("gone", |board| board.gateways[0].clients.websocket.value() == 0);
}

#[test]
fn ten_errors_close_a_connection() {
    let rig = Rig::new();
    let mut client = rig.client();
    for _ in 0..10 {
        client.send_text("nonsense");
        assert_eq!(client.next()["type"], "error");
    }
    assert_eq!(client.close_code(), Some(1008));
    rig.wait_until("counted", |board| board.gateways[0].clients.misbehaved_closed.value() == 1);
}

#[test]
fn a_request_above_a_limit_is_rejected_with_the_limit_and_changes_nothing() {
    let rig = Rig::new();
    let mut client = rig.client();
    client.subscribe(&["A/B"], &["x"]);
    let names = |n: usize| (0..n).map(|n| n.to_string()).collect::<Vec<_>>();
    for (request, limit) in [
        (
            json!({"action": "subscribe", "symbols": names(1024)}),
            "Too many names: at most 1024 symbols and 1024 exchanges",
        ),
        (
            json!({"action": "subscribe", "symbols": names(100), "exchanges": names(100)}),
            "Too many pairs: at most 4096 symbols times exchanges",
        ),
        (json!({"action": "subscribe", "symbols": ["y".repeat(65)]}), "Name too long: at most 64 bytes"),
        (
            json!({"action": "subscribe", "symbols": (0..150).map(|n| format!("{n}{}", "\u{1}".repeat(60))).collect::<Vec<_>>()}),
            "Names too long: at most 49152 bytes in all",
        ),
    ] {
        client.send(request);
        assert_eq!(client.next(), json!({"type": "error", "message": limit}));
    }
    assert!(client.subscribe(&[], &[]).contains(r#""symbols":["A/B"],"exchanges":["x"]"#));
}

#[test]
fn the_rate_of_requests_is_limited() {
    let rig = Rig::new();
    let mut client = rig.client();
    for n in 0..60 {
        let action = if n % 2 == 0 { "subscribe" } else { "unsubscribe" };
        let _ = client.socket.send(Message::text(format!(r#"{{"action":"{action}","symbols":["BTC/USDT"]}}"#)));
    }
    let mut kinds = std::collections::HashMap::new();
    while let Ok(Message::Text(text)) = client.socket.read() {
        let value: Value = serde_json::from_str(&text).unwrap();
        *kinds.entry(value["type"].as_str().unwrap().to_owned()).or_insert(0) += 1;
    }
    assert!(kinds["subscribed"] + kinds["unsubscribed"] >= 40, "{kinds:?}");
    assert_eq!(kinds["error"], 10, "{kinds:?}");
}

#[test]
fn a_ping_is_answered_and_a_flood_of_pings_closes_the_connection() {
    let rig = Rig::new();
    let mut client = rig.client();
    client.socket.send(Message::Ping("x".into())).unwrap();
    assert_eq!(client.socket.read().unwrap(), Message::Pong("x".into()));
    for _ in 0..100 {
        let _ = client.socket.send(Message::Ping("y".into()));
    }
    assert_eq!(client.close_code(), Some(1008));
}

#[test]
fn a_silent_client_is_pinged_and_then_closed() {
    let rig = Rig::on_hand(settings(|o| {
        o.gateway.ping_ms = 200;
        o.gateway.pong_wait_ms = 300;
    }));
    let mut alive = rig.client();
    let mut dead = rig.raw();
    dead.write_all(UPGRADE.as_bytes()).unwrap();
    // This one answers, because it reads.
    let mut clients = (0..8).map(|_| {
        assert_eq!(alive.collect(Duration::from_millis(100)), [""; 0]);
        rig.board.gateways[0].clients.websocket.value()
    });
    assert!(clients.by_ref().take(4).all(|clients| clients == 2), "it was closed too early");
    assert_eq!(clients.last(), Some(1));
    let mut bytes = Vec::new();
    dead.read_to_end(&mut bytes).unwrap();
    assert!(bytes.ends_with(&[0x89, 0]), "a ping came last");
}

#[test]
fn stopping_closes_clients_with_1001() {
    let mut rig = Rig::new();
    let mut client = rig.client();
    let mut stream = rig.raw();
    stream.write_all(b"GET /api/market-data/stream?pairs=BTC/USDT HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    rig.wait_until("stream open", |board| board.gateways[0].clients.sse.value() == 1);
    rig.stop.request();
    assert_eq!(client.close_code(), Some(1001));
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    drop((client, stream));
    rig.thread.take().unwrap().join().unwrap();
    assert!(TcpStream::connect(rig.address).is_err());
}

// Streams.

struct Events {
    tcp: Wire,
    text: String,
}

impl Events {
    fn open(rig: &Rig, query: &str) -> Self {
        let mut tcp = rig.raw();
        tcp.write_all(
            format!("GET /api/market-data/stream?{query} HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\n\r\n")
                .as_bytes(),
        )
        .unwrap();
        Self { tcp, text: String::new() }
    }

    fn until(&mut self, mark: &str) -> String {
        loop {
            if let Some(at) = self.text.find(mark) {
                let rest = self.text.split_off(at + mark.len());
                return std::mem::replace(&mut self.text, rest);
            }
            let mut bytes = [0; 4096];
            let length = self.tcp.read(&mut bytes).unwrap();
            assert!(length > 0, "the stream ended: {}", self.text);
            self.text.push_str(std::str::from_utf8(&bytes[..length]).unwrap());
        }
    }

    /// What has arrived.
    fn so_far(&mut self) -> String {
        self.tcp.hand.as_ref().expect("more may come at any time").rest();
        let mut bytes = [0; 4096];
        while let Ok(length @ 1..) = self.tcp.tcp.read(&mut bytes) {
            self.text.push_str(std::str::from_utf8(&bytes[..length]).unwrap());
        }
        std::mem::take(&mut self.text)
    }

    fn event(&mut self) -> Value {
        let text = self.until("\n\n");
        serde_json::from_str(text.strip_prefix("data: ").unwrap_or_else(|| panic!("{text:?}")).trim_end()).unwrap()
    }
}

#[test]
fn a_stream_begins_with_connected_and_its_prices() {
    let mut rig = Rig::on_hand(GatewaySettings::default());
    rig.day("BTC/USDT", "kraken", 1.5);
    rig.quote("BTC/USDT", "kraken", "1.25", "1.75");
    let mut events = Events::open(&rig, "pairs=BTC%2FUSDT%2CETH/USDT,,");
    let head = events.until("\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    for line in [
        "Content-Type: text/event-stream",
        "Cache-Control: no-cache",
        "Connection: keep-alive",
        "X-Accel-Buffering: no",
        "Access-Control-Allow-Origin: *",
    ] {
        assert!(head.contains(&format!("{line}\r\n")), "{line} in {head}");
    }
    assert!(!head.contains("Transfer-Encoding") && !head.contains("Content-Length"));
    let retry = events.until("\n\n");
    let retry: u64 = retry.strip_prefix("retry: ").unwrap().trim_end().parse().unwrap();
    assert!((1500..=4500).contains(&retry), "{retry}");
    let connected = events.event();
    assert_eq!((&connected["type"], &connected["pairs"]), (&json!("connected"), &json!(["BTC/USDT", "ETH/USDT"])));
    let text = events.until("\n\n");
    assert!(text.starts_with(r#"data: {"pair":"BTC/USDT","price":1.5,"bid":1.25,"ask":1.75,"high24h":2,"low24h":1,"change24h":-0.5,"changePercent24h":-1.5,"volume24h":7,"timestamp":1700000000123}"#), "{text}");
    rig.pass(600);
    assert_eq!(events.so_far(), "", "bursts must leave 600 ms between them");
    rig.pass(400);
    assert_eq!(events.event()["pair"], "BTC/USDT");
    rig.wait_until("gauges", |board| board.gateways[0].subscriptions.sse_pairs.count.value() == 2);
    drop(events);
    rig.wait_until("closed", |board| {
        board.gateways[0].clients.sse.value() == 0 && board.gateways[0].subscriptions.sse_pairs.count.value() == 0
    });
}

#[test]
fn a_stream_request_with_invalid_pairs_is_refused() {
    let rig = Rig::with(settings(|o| o.gateway.streams_max = 1));
    for query in ["", "?pairs=", "?pairs=,%20,", "?x=1"] {
        let (status, value) = rig.json(&format!("/api/market-data/stream{query}"));
        assert_eq!((status, value), (400, json!({"error": "pairs parameter is required"})), "{query}");
    }
    for pair in ["btc/usd", "BTC", "BTC/USD,x", "BTC-USD", "BTC/U"] {
        let (status, value) = rig.json(&format!("/api/market-data/stream?pairs={pair}"));
        assert_eq!(
            (status, value),
            (400, json!({"error": "Invalid pairs format. Expected format: BTC/USD"})),
            "{pair}"
        );
    }
    let mut open = Events::open(&rig, "pairs=1INCH/USDT");
    open.until("connected");
    let mut first = Events::open(&rig, "pairs=BTC/USDT");
    let refused = first.until("moment.\"}");
    assert!(refused.starts_with("HTTP/1.1 503 ") && refused.contains("Retry-After: "), "{refused}");
    assert!(refused.ends_with(r#"{"error":"Service temporarily at capacity. Please try again in a moment."}"#));
}

#[test]
fn usd_is_served_by_usd_books_or_by_usdt_with_a_mark() {
    let mut rig = Rig::new();
    rig.day("BTC/USDT", "binance", 1.5);
    rig.day("SOL/USD", "coinbase", 7.5);
    rig.quote("BTC/USDT", "binance", "1", "2");
    rig.quote("SOL/USD", "coinbase", "7", "8");
    rig.quote("SOL/USDT", "binance", "5", "6");
    let mut events = Events::open(&rig, "pairs=BTC/USD,SOL/USD,BTC/USDT");
    events.until("connected");
    events.until("\n\n");
    let first = events.event();
    assert_eq!(
        (&first["pair"], &first["quoteAlias"], &first["price"]),
        (&json!("BTC/USD"), &json!("USDT"), &json!(1.5))
    );
    let second = events.event();
    assert_eq!((&second["pair"], &second["quoteAlias"], &second["bid"]), (&json!("SOL/USD"), &Value::Null, &json!(7)));
    let third = events.event();
    assert_eq!((&third["pair"], &third["quoteAlias"]), (&json!("BTC/USDT"), &Value::Null));
}

#[test]
fn a_raw_stream_has_every_change_and_no_repeats() {
    let mut rig = Rig::on_hand(GatewaySettings::default());
    rig.day("BTC/USDT", "binance", 1.5);
    rig.day("BTC/USDT", "kraken", 1.5);
    rig.quote("BTC/USDT", "binance", "1", "100");
    let mut events = Events::open(&rig, "pairs=BTC/USDT&raw=1");
    events.until("connected");
    events.until("\n\n");
    assert_eq!(events.event()["bid"], 1);
    for n in 2..10 {
        // Only changes of the preferred venue.
        rig.quote("BTC/USDT", "kraken", "50", "100");
        rig.pass(10);
        rig.quote("BTC/USDT", "binance", &n.to_string(), "100");
        assert_eq!(events.event()["bid"], n);
    }
}

#[test]
fn a_stream_shows_the_level_of_a_price_that_was_not_pushed_and_of_all_prices_if_extended() {
    let mut rig = Rig::on_hand(GatewaySettings::default());
    rig.quote("BTC/USDT", "binance", "1", "2");
    rig.day("BTC/USDT", "binance", 1.5);
    let (pair, now) = (rig.pair("BTC/USDT", "binance"), rig.clock.now());
    let quote = rig.writer.load(pair);
    let mut plain = Events::open(&rig, "pairs=BTC/USDT");
    let mut extended = Events::open(&rig, "pairs=BTC/USDT&extended=1");
    for stream in [&mut plain, &mut extended] {
        stream.until("connected");
        stream.until("\n\n");
    }
    assert_eq!(plain.event().get("level"), None, "its fields are those of the replaced system");
    let told = extended.event();
    assert_eq!(
        (&told["level"], &told["state"], &told["source"]),
        (&json!("websocket"), &json!("fresh"), &json!("simulated"))
    );
    assert!(told["ageMs"].is_u64());
    let of_redis = CellQuote { origin: Origin::Redis, ..quote };
    rig.store("BTC/USDT", "binance", CellQuote { received: rig.clock.now(), ..of_redis });
    rig.pass(1000);
    for stream in [&mut plain, &mut extended] {
        let told = stream.event();
        assert_eq!((&told["level"], &told["state"], &told["bid"]), (&json!("redis_cache"), &json!("fresh"), &json!(1)));
    }
    rig.store("BTC/USDT", "binance", CellQuote { received: MonoNs(now.0 - 40 * SECOND), ..of_redis });
    rig.pass(1000);
    let told = extended.event();
    assert_eq!((&told["state"], &told["ageMs"]), (&json!("cached"), &json!(42_000)));
}

#[test]
fn a_pair_without_day_statistics_is_sent_later_without_them() {
    let mut rig = Rig::on_hand(GatewaySettings::default());
    rig.quote("BTC/USDT", "binance", "1", "2");
    let mut events = Events::open(&rig, "pairs=BTC/USDT");
    events.until("connected");
    events.until("\n\n");
    rig.pass(4900);
    assert_eq!(events.so_far(), "");
    rig.pass(1000);
    let event = events.event();
    assert_eq!((&event["price"], &event["high24h"], &event["statistics"]), (&json!(1.5), &json!(0), &json!(false)));
}

#[test]
fn a_quiet_pair_on_a_connected_link_has_a_new_timestamp() {
    let mut rig = Rig::new();
    rig.day("BTC/USDT", "binance", 1.5);
    rig.quote("BTC/USDT", "binance", "1", "2");
    rig.board.venues[0].read.last_bytes.set(rig.clock.now().0);
    let now = rig.clock.unix().ms();
    let (_, value) = rig.json("/api/market-data/prices?pairs=BTC/USDT");
    assert!(value["BTC/USDT"]["timestamp"].as_u64().unwrap().abs_diff(now) < 5000, "{value}");
    rig.board.venues[0].connection.set_state(LinkState::Backoff, rig.clock.now());
    let (_, value) = rig.json("/api/market-data/prices?pairs=BTC/USDT");
    assert_eq!(value["BTC/USDT"]["timestamp"], 1_700_000_000_123u64);
}

#[test]
fn a_stream_is_kept_alive_by_comments() {
    let rig = Rig::on_hand(GatewaySettings::default());
    let mut events = Events::open(&rig, "pairs=BTC/USDT");
    events.until("connected");
    events.until("\n\n");
    for _ in 0..2 {
        rig.pass(15_100);
        assert_eq!(events.until("\n\n"), ": alive\n\n");
    }
}

// Pages.

#[test]
fn the_prices_page_has_fresh_prices_or_says_why_not() {
    let mut rig = Rig::new();
    assert_eq!(rig.json("/api/market-data/prices"), (400, json!({"error": "Missing pairs parameter"})));
    assert_eq!(rig.json("/api/market-data/prices?pairs=,"), (400, json!({"error": "No valid pairs provided"})));
    for names in ["%zz", "%FF,x", "BTC", "btc/usdt,/"] {
        let target = format!("/api/market-data/prices?pairs={names}");
        assert_eq!(rig.json(&target), (400, json!({"error": "No valid pairs provided"})), "{names}");
    }
    let (status, value) = rig.json("/api/market-data/prices?pairs=BTC/USD,X/Y");
    assert_eq!((status, &value["unavailablePairs"]), (503, &json!(["BTC/USD", "X/Y"])));
    assert!(value["error"].is_string() && value["message"].is_string());
    rig.day("BTC/USDT", "binance", 1.5);
    rig.quote("BTC/USDT", "binance", "1", "2");
    let (status, head, body) = rig.get("/api/market-data/prices?pairs=BTC/USDT,X/Y");
    assert_eq!(status, 200);
    assert!(head.contains("Cache-Control: no-store\r\n"));
    assert_eq!(
        body,
        r#"{"BTC/USDT":{"pair":"BTC/USDT","price":1.5,"volume":7,"timestamp":1700000000123,"change24h":-1.5,"high24h":2,"low24h":1,"bid":1,"ask":2}}"#
    );
}

#[test]
fn one_symbol_on_several_exchanges() {
    let mut rig = Rig::new();
    assert_eq!(rig.json("/api/exchanges/prices").0, 400);
    let (status, value) = rig.json("/api/exchanges/prices?symbol=BTC/USDT&exchanges=binance");
    assert_eq!(
        (status, value),
        (404, json!({"error": "No price data available for BTC/USDT on requested exchanges", "symbol": "BTC/USDT"}))
    );
    let (status, value) = rig.json("/api/exchanges/prices?symbol=BTC/USDT&exchanges=binance,mars");
    assert_eq!(
        (status, &value["error"], &value["available"]),
        (400, &json!("Invalid exchanges: mars"), &json!(VENUES))
    );
    rig.quote("BTC/USDT", "binance", "100", "101");
    rig.quote("BTC/USDT", "kraken", "100.5", "100.8");
    let (status, value) = rig.json("/api/exchanges/prices?symbol=BTC/USDT&exchanges=binance,kraken,coinbase");
    assert_eq!(status, 200);
    assert_eq!(value["prices"]["coinbase"], Value::Null);
    assert_eq!(value["prices"]["kraken"]["bid"], 100.5);
    assert_eq!(value["prices"]["kraken"].as_object().unwrap().len(), 7);
    let (_, extended) = rig.json("/api/exchanges/prices?symbol=BTC/USDT&extended=1");
    assert_eq!(extended["prices"]["kraken"]["askSize"], 1.5);
    assert!(extended["prices"]["kraken"]["ageMs"].as_u64().unwrap() < 5000, "{extended}");
    assert_eq!(
        value["analysis"],
        json!({"best_bid": 100.5, "best_ask": 100.8, "spread": 0.3, "spread_pct": 0.2985, "sources": 2})
    );
}

#[test]
fn health_has_all_its_fields_and_is_degraded_without_prices() {
    let mut rig = Rig::on_hand(GatewaySettings::default());
    let (status, value) = rig.json("/api/market-data/health");
    assert_eq!((status, &value["status"]), (503, &json!("degraded")));
    assert!(value["alerts"][0].as_str().unwrap().contains("No fresh price"));
    rig.quote("BTC/USDT", "binance", "1", "2");
    rig.pass(100);
    let (status, value) = rig.json("/api/market-data/health");
    assert_eq!((status, &value["status"]), (503, &json!("degraded")), "one of three");
    let missing = ["kraken", "coinbase"].map(|name| format!("Exchange {name} gives no fresh price"));
    assert_eq!(value["alerts"], json!(missing));
    rig.quote("BTC/USDT", "kraken", "1", "2");
    rig.quote("SOL/USD", "coinbase", "1", "2");
    // The page may be shared for some milliseconds.
    rig.pass(100);
    let (status, head, body) = rig.get("/api/market-data/health");
    assert_eq!(status, 200);
    assert!(head.contains("Cache-Control: no-cache\r\n") && head.contains("X-Spreadwire-Source: simulated\r\n"));
    let value: Value = serde_json::from_str(&body).unwrap();
    for path in [
        "/status",
        "/timestamp",
        "/websocket/state",
        "/websocket/isLeader",
        "/websocket/uptime",
        "/websocket/connectionAttempts",
        "/websocket/consecutiveErrors",
        "/websocket/totalSubscribers",
        "/websocket/circuitBreaker/state",
        "/websocket/circuitBreaker/failureCount",
        "/websocket/circuitBreaker/successCount",
        "/websocket/circuitBreaker/timeSinceLastFailure",
        "/broadcasting/initialized",
        "/broadcasting/role",
        "/broadcasting/activeSubscriptions",
        "/broadcasting/recovery/localCacheSize",
        "/broadcasting/recovery/redisHealthy",
        "/broadcasting/recovery/oldestCachedPrice",
        "/errorRecovery/localCacheSize",
        "/errorRecovery/redisHealthy",
        "/errorRecovery/oldestCachedPriceMs",
        "/leadership/isLeader",
        "/leadership/currentLeader",
        "/leadership/leaderHostname",
        "/scaling/activeConnections",
        "/scaling/recommendation",
        "/venues/0/exchange",
        "/venues/0/source",
    ] {
        assert!(value.pointer(path).is_some(), "{path}");
    }
    assert!(value.pointer("/websocket/subscribedPairs").unwrap().is_u64());
    assert!(value.pointer("/broadcasting/subscribedPairs").unwrap().is_array());
    assert!(value.pointer("/scaling/capacityPercentage").unwrap().is_u64());
    assert_eq!(value["alerts"], json!([]));
    let names = [
        "status",
        "timestamp",
        "websocket",
        "broadcasting",
        "errorRecovery",
        "leadership",
        "scaling",
        "alerts",
        "venues",
    ];
    let places: Vec<_> = names.iter().map(|name| body.find(&format!("\"{name}\":"))).collect();
    assert!(places.is_sorted() && places[0].is_some(), "the order of the names: {body}");
    assert_eq!(value["level"], "websocket");
    assert_eq!(value["cluster"], Value::Null);
}

#[test]
fn a_gateway_is_ready_while_it_has_a_fresh_price() {
    let mut rig = Rig::on_hand(GatewaySettings::default());
    let (status, value) = rig.json("/readyz");
    assert_eq!((status, &value["ready"]), (503, &json!(false)));
    let missing = ["binance", "kraken", "coinbase"].map(|name| format!("Exchange {name} gives no fresh price"));
    let nothing = "No fresh price from any exchange".to_owned();
    assert_eq!(value["alerts"], json!([&[nothing], missing.as_slice()].concat()));
    rig.quote("BTC/USDT", "binance", "1", "2");
    rig.pass(100);
    let (status, value) = rig.json("/readyz");
    assert_eq!((status, value), (200, json!({"ready": true, "level": "websocket", "alerts": missing[1..]})));
}

#[test]
fn pages_show_the_source_of_their_numbers() {
    let rig = Rig::new();
    let (status, _, index) = rig.get("/api");
    assert_eq!(status, 200);
    for path in [
        "/ws/prices",
        "/api/websocket/stats",
        "/api/market-data/stream",
        "/api/market-data/health",
        "/api/market-data/prices",
        "/api/exchanges/prices",
        "/api/book",
        "/metrics",
        "/api/latency",
        "simulated",
    ] {
        assert!(index.contains(path), "{path}");
    }
    let (status, head, front) = rig.get("/");
    assert_eq!(status, 200);
    assert!(head.contains("Content-Type: text/html") && front.starts_with("<!doctype html>"), "{head}");
    // With the dashboard, or a page that explains how to build it.
    assert_eq!(front.contains("npm --prefix web run build"), assets::FILES.is_empty());
    for line in
        ["default-src 'none'; script-src 'self'", "Referrer-Policy: no-referrer", "X-Content-Type-Options: nosniff"]
    {
        assert!(head.contains(line), "{line} in {head}");
    }
    let (status, _, metrics) = rig.get("/metrics");
    assert_eq!(status, 200);
    assert!(metrics.contains("\nspreadwire_venue_connected{venue=\"kraken\"} 1\n"), "{metrics}");
    for line in metrics.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').unwrap();
        assert!(name.starts_with("spreadwire_") && value.parse::<f64>().is_ok(), "{line}");
    }
    let (status, latency) = rig.json("/api/latency");
    assert_eq!(status, 200);
    assert_eq!(latency["hops"].as_array().unwrap().len(), 6);
    for key in ["count", "p50", "p90", "p99", "p999", "max"] {
        assert!(latency["hops"][0]["exchanges"]["binance"][key].is_u64(), "{key}");
    }
    assert_eq!(rig.get("/livez").0, 200);
    assert_eq!(rig.get("/nothing").0, 404);
    assert_eq!(rig.get("/ws/prices").0, 426);
    let head = exchange(rig.address, b"HEAD /ws/prices HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 426 ") && head.ends_with("\r\n\r\n"), "{head}");
}

// HTTP.

const UPGRADE: &str = "GET /ws/prices HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// Requests, and the status of the one response before the connection is closed.
fn refused() -> Vec<(String, u16)> {
    let get = |lines: &str| format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n\r\n");
    let line = |line: &str| format!("{line}\r\nHost: a\r\n\r\n");
    let upgrade = |from: &str, to: &str| UPGRADE.replace(from, to);
    let smuggled = "GET /livez HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut cases: Vec<(String, u16)> = [
        ("Content-Length: 5\r\nTransfer-Encoding: chunked", 400),
        ("Content-Length: 5\r\nContent-Length: 6", 400),
        ("Content-Length: 5\r\nContent-Length: 5", 400),
        ("Content-Length: +5", 400),
        ("Content-Length: 0x5", 400),
        ("Content-Length: 5,5", 400),
        ("Content-Length: -1", 400),
        ("Content-Length: ", 400),
        ("Content-Length: a", 400),
        ("Transfer-Encoding: chunked, x", 400),
        ("Transfer-Encoding: x", 400),
        ("Transfer-Encoding: identity", 400),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", 400),
        ("Transfer-Encoding : chunked", 400),
        ("X: a\r\n b", 400),
        ("X: a\r\n\tb", 400),
        ("X : a", 400),
        ("X: a\nY: b", 400),
        ("X: a\rY: b", 400),
        ("X: a\0", 400),
        ("X", 400),
        (": a", 400),
        ("X(: a", 400),
        ("Content-Length: 5", 413),
        ("Transfer-Encoding: chunked", 411),
        ("Content-Length: 1048576", 413),
        ("Expect: 200-ok", 417),
        ("Authorization: Bearer a\r\nAuthorization: Bearer a", 400),
        ("Host: a", 400),
        ("Host: b", 400),
    ]
    .map(|(lines, status)| (get(lines) + smuggled, status))
    .to_vec();
    cases.extend([
        ("GET / HTTP/1.1\r\n\r\n".into(), 400),
        ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n".into(), 400),
        ("GET / HTTP/1.1\r\nHost: \r\n\r\n".into(), 400),
        ("GET / HTTP/1.1\r\nHost: a:b:c:d\r\n\r\n".into(), 400),
        ("GET / HTTP/1.1\r\nHost: a:99999\r\n\r\n".into(), 400),
        ("GET / HTTP/1.1\r\nHost: [::1\r\n\r\n".into(), 400),
        ("GET / HTTP/1.1\r\nHost: :\r\n\r\n".into(), 400),
        (upgrade("Sec-WebSocket-Version: 13", "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Version: 13"), 400),
        (upgrade("Sec-WebSocket-Version: 13", "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Version: 8"), 400),
        ("GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n".into(), 400),
        (get(&format!("X: {}", "x".repeat(4096))), 431),
        (get(&"X: y\r\n".repeat(101)), 431),
        (line(&format!("GET /{} HTTP/1.1", "x".repeat(9000))), 414),
        (line(&format!("GET /livez?{} HTTP/1.1", "x".repeat(5000))), 414),
        ("\r\n\r\n".to_owned() + smuggled, 400),
        ("\n".to_owned() + smuggled, 400),
    ]);
    for path in [
        "/../etc/passwd",
        "/%2e%2e/x",
        "/.%2e/",
        "/a%00",
        "/a%2fb",
        "/%5c",
        "/a\\b",
        "/%c0%ae",
        "/%ff",
        "/%zz",
        "//a",
        "/a#b",
        "/a\"b",
        "a",
    ] {
        cases.push((line(&format!("GET {path} HTTP/1.1")), 400));
    }
    for (first, status) in [
        ("TRACE / HTTP/1.1", 405),
        ("CONNECT a:1 HTTP/1.1", 405),
        ("POST / HTTP/1.1", 405),
        ("PUT / HTTP/1.1", 405),
        ("DELETE / HTTP/1.1", 405),
        ("BREW / HTTP/1.1", 501),
        ("get / HTTP/1.1", 501),
        ("GET /", 505),
        ("GET / HTTP/1.2", 505),
        ("GET / HTTP/2.0", 505),
        ("GET / HTTP/0.9", 505),
        ("GET / XTTP/1.1", 400),
        ("GET  / HTTP/1.1", 400),
        (" GET / HTTP/1.1", 400),
        ("GET\t/ HTTP/1.1", 400),
        ("GET * HTTP/1.1", 400),
        ("garbage", 400),
        ("PRI * HTTP/2.0", 505),
    ] {
        cases.push((line(first), status));
    }
    cases.extend([
        (upgrade("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", ""), 400),
        (upgrade("dGhlIHNhbXBsZSBub25jZQ==", "c2hvcnQ="), 400),
        (upgrade("dGhlIHNhbXBsZSBub25jZQ==", "not base 64 !!!!!!!!!!!!"), 400),
        (upgrade("Sec-WebSocket-Version: 13", "Sec-WebSocket-Version: 12"), 426),
        (upgrade("Sec-WebSocket-Version: 13\r\n", ""), 426),
        (upgrade("Connection: Upgrade", "Connection: close"), 400),
        (upgrade("GET /ws/prices", "GET /ws/prices/"), 400),
        (upgrade("GET /ws/prices", "GET /ws"), 400),
        (upgrade("GET /ws/prices", "GET /"), 400),
        (upgrade("HTTP/1.1", "HTTP/1.0"), 400),
        (upgrade("GET", "HEAD"), 400),
        (upgrade("GET", "POST"), 405),
        (upgrade("Upgrade: websocket\r\n", ""), 426),
        (upgrade("Upgrade: websocket", "Upgrade: h2c"), 426),
    ]);
    cases
}

#[test]
fn an_invalid_request_receives_one_response_and_is_closed() {
    let rig = Rig::new();
    let cases = refused();
    assert!(cases.len() >= 60, "{}", cases.len());
    for (request, status) in &cases {
        let reply = exchange(rig.address, request.as_bytes());
        assert!(reply.starts_with(&format!("HTTP/1.1 {status} ")), "{request:?}: {reply}");
        assert_eq!(reply.matches("HTTP/1.1 ").count(), 1, "{request:?}: {reply}");
        assert!(reply.contains("\r\nConnection: close\r\n"), "{request:?}: {reply}");
    }
    rig.wait_until("counted", |board| board.gateways[0].http.bad.value() == cases.len() as u64);
}

#[test]
fn a_request_has_the_same_result_however_it_is_split() {
    let rig = Rig::new();
    let cases = refused();
    for (request, status) in [&cases[0], &cases[17], &cases[30], &cases[cases.len() - 5]] {
        for cut in 1..request.len() {
            let mut tcp = rig.raw();
            tcp.tcp.set_nodelay(true).unwrap();
            tcp.write_all(&request.as_bytes()[..cut]).unwrap();
            std::thread::sleep(Duration::from_micros(300));
            // The connection may already be closed.
            let _ = tcp.write_all(&request.as_bytes()[cut..]);
            let mut reply = Vec::new();
            let _ = tcp.read_to_end(&mut reply);
            let reply = String::from_utf8(reply).unwrap();
            assert!(reply.starts_with(&format!("HTTP/1.1 {status} ")), "{request:?} at {cut}: {reply:?}");
        }
    }
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let rig = Rig::new();
    let request = "GET /livez HTTP/1.1\r\nHost: a\r\n\r\nHEAD /livez HTTP/1.1\r\nHost: a\r\n\r\nOPTIONS /api/market-data/stream HTTP/1.1\r\nHost: a\r\n\r\nGET /nothing HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nGET /livez HTTP/1.1\r\nHost: a\r\n\r\n";
    let reply = exchange(rig.address, request.as_bytes());
    let statuses: Vec<&str> = reply.match_indices("HTTP/1.1 ").map(|(at, _)| &reply[at + 9..at + 12]).collect();
    assert_eq!(statuses, ["200", "200", "204", "404"]);
    assert_eq!(reply.matches("ok\n").count(), 1);
}

#[test]
fn a_preflight_allows_the_headers_of_front_ends_which_may_read_the_source() {
    let rig = Rig::new();
    for (target, methods) in [("/api/market-data/stream", "GET, HEAD, OPTIONS"), ("/api/admin/set", "POST, OPTIONS")] {
        let request = format!(
            "OPTIONS {target} HTTP/1.1\r\nHost: a\r\nOrigin: http://b\r\nConnection: close\r\n\
             Access-Control-Request-Method: GET\r\nAccess-Control-Request-Headers: authorization,last-event-id\r\n\r\n"
        );
        let reply = exchange(rig.address, request.as_bytes());
        assert!(reply.starts_with("HTTP/1.1 204 "), "{reply}");
        assert!(reply.contains(&format!("Access-Control-Allow-Methods: {methods}\r\n")), "{reply}");
        let allowed = reply.lines().find_map(|line| line.strip_prefix("Access-Control-Allow-Headers: ")).unwrap();
        for header in ["Authorization", "Content-Type", "Last-Event-ID", "Cache-Control"] {
            assert!(allowed.split(", ").any(|it| it == header), "{header} is not in {allowed}");
        }
        let refused = if methods.starts_with("POST") { "GET" } else { "POST" };
        for method in [refused, "DELETE"] {
            let reply = exchange(rig.address, format!("{method} {target} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
            assert!(
                reply.starts_with("HTTP/1.1 405 ") && reply.contains(&format!("\r\nAllow: {methods}\r\n")),
                "{reply}"
            );
        }
    }
    for target in ["/api/status", "/api/market-data/prices?pairs=BTC/USDT", "/livez", "/nothing"] {
        let request = format!("GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let reply = exchange(rig.address, request.as_bytes());
        let exposed = reply.lines().find_map(|line| line.strip_prefix("Access-Control-Expose-Headers: ")).unwrap();
        assert!(exposed.contains("X-Spreadwire-Source"), "{reply}");
    }
}

#[test]
fn a_request_that_expects_100_without_a_body_is_served() {
    let rig = Rig::new();
    let request = b"GET /livez HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n";
    assert!(exchange(rig.address, request).starts_with("HTTP/1.1 200 "));
}

#[test]
fn streams_receive_different_times_to_reconnect() {
    let rig = Rig::new();
    let times: std::collections::BTreeSet<String> = (0..20)
        .map(|_| Events::open(&rig, "pairs=BTC/USDT"))
        .map(|mut events| {
            events.until("\r\n\r\n");
            events.until("\n\n")
        })
        .collect();
    assert!(times.len() > 10, "{times:?}");
}

#[test]
fn bytes_behind_an_upgrade_are_frames() {
    let rig = Rig::new();
    let mut tcp = rig.raw();
    let mut bytes = UPGRADE.as_bytes().to_vec();
    let request = br#"{"action":"subscribe"}"#;
    bytes.extend_from_slice(&[0x81, 0x80 | request.len() as u8, 0, 0, 0, 0]);
    bytes.extend_from_slice(request);
    tcp.write_all(&bytes).unwrap();
    let mut reply = vec![0; 2000];
    let mut have = 0;
    while !String::from_utf8_lossy(&reply[..have]).contains("Successfully subscribed") {
        have += tcp.read(&mut reply[have..]).unwrap();
    }
    let text = String::from_utf8_lossy(&reply[..have]);
    assert!(
        text.starts_with("HTTP/1.1 101 Switching Protocols\r\n")
            && text.contains("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"),
        "{text}"
    );
    assert!(!text.contains("Sec-WebSocket-Extensions") && !text.contains("Sec-WebSocket-Protocol"));
}

#[test]
fn slow_and_silent_clients_are_closed_in_time_and_others_are_served() {
    let rig = Rig::on_hand(settings(|o| o.gateway.header_wait_ms = 700));
    let mut silent: Vec<Wire> = (0..300).map(|_| rig.raw()).collect();
    let mut slow: Vec<Wire> = (0..100).map(|_| rig.raw()).collect();
    slow.iter_mut().for_each(|tcp| tcp.write_all(b"GET / HTTP/1.1\r\nX: ").unwrap());
    for _ in 0..10 {
        assert_eq!(rig.get("/livez").0, 200);
        slow.iter_mut().for_each(|tcp| drop(tcp.write_all(b"x")));
        rig.pass(120);
    }
    for tcp in &mut slow {
        let mut reply = Vec::new();
        let _ = tcp.read_to_end(&mut reply);
        assert!(reply.starts_with(b"HTTP/1.1 408 "), "{}", String::from_utf8_lossy(&reply));
    }
    for tcp in &mut silent {
        assert_eq!(tcp.read(&mut [0; 10]).unwrap(), 0);
    }
}

#[test]
fn connections_above_the_limit_are_closed() {
    let rig = Rig::with(settings(|o| o.gateway.clients_max = 2));
    let held = [rig.client(), rig.client()];
    assert_eq!(rig.raw().read(&mut [0; 10]).unwrap_or(0), 0);
    rig.wait_until("refused", |board| board.gateways[0].clients.refused.value() >= 1);
    drop(held);
    rig.wait_until("room", |board| board.gateways[0].clients.websocket.value() == 0);
    rig.client();
}

#[test]
fn a_full_gateway_still_answers_liveness_and_readiness_checks() {
    let mut rig = Rig::with(settings(|o| o.gateway.clients_max = 2));
    rig.quote("BTC/USDT", "binance", "1", "2");
    let _held = [rig.client(), rig.client()];
    // More silent connections than are allowed.
    let _silent: Vec<Wire> = (0..40).map(|_| rig.raw()).collect();
    assert_eq!((rig.get("/livez").0, rig.get("/readyz").0), (200, 200));
    let (status, head, _) = rig.get("/api/status");
    assert!(status == 503 && head.contains("Retry-After: 5"), "{head}");
    assert!(exchange(rig.address, UPGRADE.as_bytes()).starts_with("HTTP/1.1 503 "));
    let twice = "GET /livez HTTP/1.1\r\nHost: a\r\n\r\n".repeat(2);
    assert_eq!(exchange(rig.address, twice.as_bytes()).matches("HTTP/1.1 200 ").count(), 1, "its place is for others");
    assert_eq!(rig.board.gateways[0].clients.connections.value(), 2);
}

#[test]
fn the_connections_of_an_address_are_limited() {
    let limited = settings(|o| o.addresses = Addresses::new(2, vec![]));
    let rig = Rig::with(limited);
    let held = [rig.client(), rig.client()];
    assert_eq!((rig.get("/livez").0, rig.get("/api").0), (200, 503));
    drop(held);
    rig.wait_until("room", |board| board.gateways[0].clients.websocket.value() == 0);
    rig.client();
}

#[test]
fn the_query_is_ignored_and_the_host_may_be_anything() {
    let rig = Rig::new();
    let request = UPGRADE.replace("/ws/prices", "/ws/prices?token=x").replace("Host: a", "Host: [::1]:3000");
    let mut tcp = rig.raw();
    tcp.write_all(request.as_bytes()).unwrap();
    let mut reply = [0; 12];
    tcp.read_exact(&mut reply).unwrap();
    assert_eq!(&reply, b"HTTP/1.1 101");
}
