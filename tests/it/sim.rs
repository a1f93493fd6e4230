//! The simulator against every real codec: what a simulated venue says over its WebSocket is what it meant.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use proptest::prelude::*;
use spreadwire::market::InstrumentId;
use spreadwire::net::listen::Listener;
use spreadwire::sim::connection::{ClientLimits, SimConnection, World};
use spreadwire::sim::prices::{Liveliness, SimPrices};
use spreadwire::sim::scenario::{Scenario, Trouble};
use spreadwire::sim::{self, Sim, SimOptions, SimParts, address_of, default_instruments};
use spreadwire::stage::{Idle, Stop, spawn};
use spreadwire::time::{Clock, MS, MonoNs, UnixNs};
use spreadwire::venues::{
    Decoded, FeedCodec, Frame, Opening, SymbolEntry, Symbols, Top, Update, VENUES, Venue, VenueQuote,
};
use spreadwire::wire::gzip::Gunzip;
use spreadwire::wire::websocket::{Event, Limits, WebSocket};

use crate::venues::WITHOUT_DAY;

const START: UnixNs = UnixNs::from_ms(1_786_613_159_748);
const STEP_MS: u64 = 5;

fn listen() -> SocketAddr {
    "127.0.0.1:9000".parse().unwrap()
}

fn market(seed: u64) -> SimPrices {
    let lively = Liveliness { rate: 1000.0 / STEP_MS as f64, opportunity_every_ms: 2000 };
    SimPrices::new(VENUES, &default_instruments(), seed, lively, START)
}

/// What the simulator holds for each instrument of one venue, under the ids of [`codec`].
fn quotes(prices: &SimPrices, venue: usize) -> Vec<(String, VenueQuote)> {
    prices
        .cells()
        .filter(|&c| prices.quote(c).0 == venue)
        .map(|c| (prices.symbol(c).to_owned(), prices.quote(c).1.clone()))
        .collect()
}

fn codec(venue: &dyn Venue, quotes: &[(String, VenueQuote)]) -> Box<dyn FeedCodec> {
    let entries = quotes.iter().enumerate().map(|(at, (symbol, quote))| SymbolEntry {
        id: InstrumentId(at as u32),
        native: quote.native.clone(),
        symbol: symbol.clone(),
    });
    venue.codec(Symbols::configured(entries.collect()))
}

/// One feed of a simulated venue, joined without a socket.
struct Joined {
    name: &'static str,
    client: WebSocket,
    server: SimConnection,
    codec: Box<dyn FeedCodec>,
    now: MonoNs,
    /// All that the simulator said after its reply to the upgrade.
    frames: Vec<u8>,
    /// By venue: the faults in effect.
    troubles: Vec<Trouble>,
}

impl Joined {
    fn open(venue: usize, prices: &SimPrices) -> Self {
        let (facts, limits) = (VENUES[venue].facts(), ClientLimits::default());
        let address = match facts.opening {
            Opening::Direct | Opening::Prompt { .. } | Opening::Patient { .. } => address_of(VENUES[venue], listen()),
            Opening::Token { path } => {
                let mut asked = SimConnection::new(limits, MonoNs(1));
                let request = format!("POST /{}{path} HTTP/1.1\r\nHost: sim\r\nContent-Length: 0\r\n\r\n", facts.name);
                asked.receive(request.as_bytes(), MonoNs(1), &world(prices, MonoNs(1)));
                let reply = String::from_utf8(std::mem::take(asked.output())).unwrap();
                VENUES[venue].endpoint(reply.split_once("\r\n\r\n").unwrap().1.as_bytes()).unwrap()
            }
        };
        let limits_of_client = Limits { message_max: facts.message_max, read_buffer: 4096, fragments_max: u32::MAX };
        Self {
            name: facts.name,
            client: WebSocket::client(&address, limits_of_client).unwrap(),
            server: SimConnection::new(limits, MonoNs(1)),
            codec: codec(VENUES[venue], &quotes(prices, venue)),
            now: MonoNs(1),
            frames: Vec::new(),
            troubles: Vec::new(),
        }
    }

    /// Bytes go both ways until both have said all; gives what the codec read.
    fn talk(&mut self, prices: &SimPrices) -> Vec<Update> {
        let mut updates = Vec::new();
        loop {
            let asked = std::mem::take(self.client.output());
            let world = World { troubles: &self.troubles, ..world(prices, self.now) };
            self.server.receive(&asked, self.now, &world);
            let said = std::mem::take(self.server.output());
            if asked.is_empty() && said.is_empty() {
                return updates;
            }
            if self.client.is_open() {
                self.frames.extend_from_slice(&said);
            }
            self.client.receive(&said);
            self.hear(&mut updates);
        }
    }

    fn hear(&mut self, updates: &mut Vec<Update>) {
        while let Some(event) = self.client.next().unwrap() {
            let mut out = Decoded::default();
            match event {
                Event::Open(source) => {
                    assert_eq!(source.as_deref(), Some("simulated"));
                    self.codec.opened(&mut out.requests);
                }
                Event::Text(text) => self.decode(text.as_bytes(), &mut out),
                Event::Binary(bytes) => self.decode(&bytes, &mut out),
                Event::Ping | Event::Pong => {}
                other => panic!("{}: {other:?}", self.name),
            }
            out.answers.iter().chain(&out.requests).for_each(|request| self.client.send_text(request));
            updates.append(&mut out.updates);
        }
    }

    fn decode(&mut self, message: &[u8], out: &mut Decoded) {
        let frame = self.codec.decode(message, self.now, out);
        let shown = String::from_utf8_lossy(message);
        assert!(matches!(frame, Ok(Frame::Data | Frame::Control)), "{}: {frame:?} {shown}", self.name);
    }
}

fn world(prices: &SimPrices, now: MonoNs) -> World<'_> {
    World {
        venues: VENUES,
        prices,
        unix: UnixNs(START.0 + now.0),
        listen: listen(),
        refusing: &[],
        troubles: &[],
        tls: false,
        sockets: &[],
    }
}

fn tops(updates: &[Update]) -> Vec<Top> {
    updates.iter().filter_map(|u| if let Update::Top(top) = u { Some(*top) } else { None }).collect()
}

fn count_statistics(updates: &[Update]) -> usize {
    updates.iter().filter(|u| matches!(u, Update::Statistics(_))).count()
}

/// Nothing but prices, statistics, acknowledgements and the word that all is traded.
fn check_calm(name: &str, updates: &[Update]) {
    let calm = |u: &Update| {
        matches!(
            u,
            Update::Top(_)
                | Update::Statistics(_)
                | Update::Subscribed(_)
                | Update::Trading(_, true)
                | Update::System(true)
        )
    };
    assert!(updates.iter().all(calm), "{name}: {updates:?}");
}

/// `seconds` of one venue: each change is read once, as it was meant.
fn check_venue(venue: usize, seed: u64, seconds: u64) {
    let mut prices = market(seed);
    let mut joined = Joined::open(venue, &prices);
    let name = joined.name;
    let opening = joined.talk(&prices);
    check_calm(name, &opening);
    let subscribed = opening.iter().filter(|u| matches!(u, Update::Subscribed(_))).count();
    let listed = quotes(&prices, venue);
    assert!(subscribed >= listed.len(), "{name}: {subscribed} of {}", listed.len());
    for (at, (symbol, quote)) in listed.iter().enumerate() {
        // Where the venue sends no snapshot, the first change is the first quote.
        let told = tops(&opening).into_iter().rfind(|t| t.instrument.index() == at);
        assert!(told.is_none_or(|t| (t.bid, t.ask) == (quote.bid, quote.ask)), "{name} {symbol}: {told:?}");
    }
    // Some venues tell the day's figures with each quote, some by themselves.
    let mut statistics = count_statistics(&opening);
    for n in 1..=seconds * 1000 / STEP_MS {
        joined.now = MonoNs(n * STEP_MS * MS);
        let cell = prices.step(UnixNs(START.0 + joined.now.0)).unwrap();
        let (of, quote) = prices.quote(cell);
        if n % (1000 / STEP_MS) == 0 {
            joined.server.heartbeat(UnixNs(START.0 + joined.now.0), joined.now);
            quotes(&prices, venue).iter().for_each(|(_, q)| joined.server.statistics(q, joined.now));
            joined.server.elapsed(joined.now);
            let updates = joined.talk(&prices);
            check_calm(name, &updates);
            statistics += count_statistics(&updates);
        }
        if of == venue {
            joined.server.quote(quote, joined.now);
            let updates = joined.talk(&prices);
            check_calm(name, &updates);
            statistics += count_statistics(&updates);
            let told = tops(&updates);
            let [top] = told[..] else { panic!("{name}: {told:?} for {quote:?}") };
            let native = &joined.codec.symbols().entry(top.instrument).unwrap().native;
            assert_eq!((native, top.bid, top.ask), (&quote.native, quote.bid, quote.ask), "{name}");
        }
    }
    let meant = if WITHOUT_DAY.contains(&name) { 0 } else { listed.len() };
    assert!(statistics >= meant, "{name}: {statistics} statistics");
}

#[test]
fn what_every_venue_says_is_what_it_meant() {
    for venue in 0..VENUES.len() {
        check_venue(venue, 7, 65);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]
    #[test]
    fn whatever_the_seed(seed: u64, venue in 0..VENUES.len()) {
        check_venue(venue, seed, 4);
    }
}

#[test]
fn after_a_reconnect_the_first_price_of_each_instrument_is_stale_and_the_next_is_true() {
    let script = Scenario::read("[[fault]]\nkind = \"reconnect\"\nfor_s = 5", VENUES).unwrap();
    for (venue, name) in VENUES.iter().map(|v| v.facts().name).enumerate() {
        let mut prices = market(9);
        prices.remember(venue);
        let past: Vec<VenueQuote> = quotes(&prices, venue).into_iter().map(|(_, quote)| quote).collect();
        for n in 0..5000 {
            prices.step(UnixNs(START.0 + n));
        }
        let mut joined = Joined::open(venue, &prices);
        joined.troubles = script.at(0, VENUES);
        let mut told = tops(&joined.talk(&prices));
        for n in 0..5000 {
            let cell = prices.step(UnixNs(START.0 + 5000 + n)).unwrap();
            let (of, quote) = prices.quote(cell);
            if of == venue {
                joined.server.quote(quote, joined.now);
                told.extend(tops(&joined.talk(&prices)));
            }
        }
        for (at, (symbol, now)) in quotes(&prices, venue).iter().enumerate() {
            let of_it: Vec<&Top> = told.iter().filter(|top| top.instrument.index() == at).collect();
            let shown = |top: &Top| (top.bid, top.ask);
            assert_eq!(shown(of_it[0]), (past[at].bid, past[at].ask), "{name} {symbol}");
            let again = of_it[1..].iter().filter(|top| shown(top) == (past[at].bid, past[at].ask)).count();
            assert_eq!((again, shown(of_it[of_it.len() - 1])), (0, (now.bid, now.ask)), "{name} {symbol}");
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_frames() {
    let run = |venue, seed| {
        let mut prices = market(seed);
        let mut joined = Joined::open(venue, &prices);
        joined.talk(&prices);
        for n in 1..=200 * VENUES.len() as u64 {
            joined.now = MonoNs(n * STEP_MS * MS);
            let cell = prices.step(UnixNs(START.0 + joined.now.0)).unwrap();
            let (of, quote) = prices.quote(cell);
            if of == venue {
                joined.server.quote(quote, joined.now);
                joined.talk(&prices);
            }
        }
        joined.frames
    };
    for (venue, name) in VENUES.iter().map(|v| v.facts().name).enumerate() {
        let first = run(venue, 21);
        assert!(first.len() > 10_000, "{name}");
        assert!(first == run(venue, 21), "{name}");
        assert!(first != run(venue, 22), "{name}");
    }
}

#[test]
fn every_venue_has_its_default_instruments() {
    let prices = market(1);
    for (venue, v) in VENUES.iter().enumerate() {
        let symbols: Vec<String> = quotes(&prices, venue).into_iter().map(|(symbol, _)| symbol).collect();
        let dollars = ["coinbase", "kraken", "bitfinex", "bitstamp", "binanceus", "gemini", "cryptocom"]
            .contains(&v.facts().name);
        assert_eq!(symbols.contains(&"BTC/USD".to_owned()), dollars, "{}", v.facts().name);
        assert_eq!(symbols.len(), if dollars { 12 } else { 10 }, "{symbols:?}");
    }
}

/// A simulator of all venues on a thread of its own, until dropped.
struct Running {
    stop: Stop,
    address: SocketAddr,
    thread: Option<std::thread::JoinHandle<()>>,
}

fn start() -> Running {
    let sim = Sim::new(SimParts {
        venues: VENUES.to_vec(),
        instruments: default_instruments(),
        listener: Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap(),
        seed: 3,
        rate: sim::RATE_DEFAULT,
        clock: Clock::System,
        options: SimOptions::default(),
    })
    .unwrap();
    let (stop, address) = (Stop::default(), sim.address());
    let thread = spawn(vec![Box::new(sim)], None, Idle::Wait, stop.clone()).unwrap();
    Running { stop, address, thread: Some(thread) }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.request();
        let _ = self.thread.take().map(std::thread::JoinHandle::join);
    }
}

#[test]
fn a_client_of_the_exchange_needs_only_another_address() {
    let running = start();
    for (path, subscribe, expected) in [
        ("/binance/ws/btcusdt@bookTicker", "", "\"s\":\"BTCUSDT\""),
        ("/binance/stream?streams=btcusdt@bookTicker/ethusdt@bookTicker", "", "{\"stream\":\"ethusdt@bookTicker\""),
        (
            "/coinbase",
            r#"{"type":"subscribe","product_ids":["BTC-USD"],"channel":"level2"}"#,
            "\"channel\":\"l2_data\"",
        ),
        (
            "/kraken/v2",
            r#"{"method":"subscribe","params":{"channel":"ticker","symbol":["BTC/USD"],"event_trigger":"bbo"}}"#,
            "\"symbol\":\"BTC/USD\"",
        ),
        (
            "/okx/ws/v5/public",
            r#"{"op":"subscribe","args":[{"channel":"bbo-tbt","instId":"BTC-USDT"}]}"#,
            "\"asks\":[[",
        ),
        ("/bybit/v5/public/spot", r#"{"op":"subscribe","args":["orderbook.1.BTCUSDT"]}"#, "\"b\":[["),
        (
            "/kucoin/?token=x&connectId=me",
            r#"{"id":"1","type":"subscribe","topic":"/spotMarket/level1:BTC-USDT","response":true}"#,
            "\"subject\":\"level1\"",
        ),
        ("/htx/ws", r#"{"sub":"market.btcusdt.bbo","id":"x"}"#, "market.btcusdt.bbo"),
        (
            "/bitfinex/ws/2",
            r#"{"event":"subscribe","channel":"book","symbol":"tBTCUST","prec":"P0","freq":"F0","len":"25"}"#,
            "[17001,[[",
        ),
        (
            "/bitstamp",
            r#"{"event":"bts:subscribe","data":{"channel":"order_book_btcusd"}}"#,
            "\"channel\":\"order_book_btcusd\",\"event\":\"data\"",
        ),
        (
            "/mexc/ws",
            r#"{"method":"SUBSCRIPTION","params":["spot@public.aggre.bookTicker.v3.api.pb@100ms@BTCUSDT"]}"#,
            "\u{1a}\u{7}BTCUSDT",
        ),
        (
            "/upbit/websocket/v1",
            r#"[{"ticket":"x"},{"type":"orderbook","codes":["USDT-BTC"],"isOnlyRealtime":true},{"format":"DEFAULT"}]"#,
            "\"orderbook_units\":[{\"ask_price\":",
        ),
    ] {
        let (mut socket, _) = tungstenite::connect(format!("ws://{}{path}", running.address)).unwrap();
        if !subscribe.is_empty() {
            socket.send(tungstenite::Message::text(subscribe)).unwrap();
        }
        let mut heard = Gunzip::new(1 << 20);
        let mut hear = || {
            let message = socket.read().unwrap().into_data();
            String::from_utf8_lossy(heard.unpack(&message).unwrap_or(&message)).into_owned()
        };
        let heard = std::iter::repeat_with(&mut hear).take(300);
        assert!(heard.into_iter().any(|text| text.contains(expected)), "{path} never said {expected}");
    }
}

#[test]
fn a_token_is_asked_for_over_a_socket() {
    let running = start();
    let mut socket = TcpStream::connect(running.address).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
    let request =
        format!("POST /kucoin/api/v1/bullet-public HTTP/1.1\r\nHost: {}\r\nContent-Length: 0\r\n\r\n", running.address);
    socket.write_all(request.as_bytes()).unwrap();
    let mut reply = String::new();
    socket.read_to_string(&mut reply).unwrap();
    let body = reply.split_once("\r\n\r\n").unwrap().1;
    let endpoint = spreadwire::venues::venue("kucoin").unwrap().endpoint(body.as_bytes()).unwrap();
    assert!(endpoint.starts_with(&format!("ws://{}/kucoin/?token=", running.address)), "{endpoint}");
    let (mut socket, _) = tungstenite::connect(endpoint).unwrap();
    assert!(socket.read().unwrap().to_string().contains("welcome"));
}

/// What cryptofeed 2.4.1 asks for a venue's symbols (`rest_endpoints` in cryptofeed/exchanges), where the rows are in the
/// reply, and what it reads of each (`_parse_symbol_data`).
const CRYPTOFEED: [(&str, &str, &str, &[&str]); 15] = [
    ("binance", "/api/v3/exchangeInfo", "/symbols", &["baseAsset", "quoteAsset", "symbol"]),
    ("binanceus", "/api/v3/exchangeInfo", "/symbols", &["baseAsset", "quoteAsset", "symbol"]),
    ("bitfinex", "/v2/conf/pub:list:pair:exchange", "/0", &[]),
    ("bitfinex", "/v2/conf/pub:list:currency", "/0", &[]),
    ("bitget", "/api/spot/v1/public/products", "/data", &["baseCoin", "quoteCoin", "symbolName", "symbol"]),
    ("bitstamp", "/api/v2/trading-pairs-info/", "", &["trading", "name", "url_symbol"]),
    (
        "bybit",
        "/v5/market/instruments-info?&category=spot&status=Trading&limit=1000",
        "/result/list",
        &["baseCoin", "quoteCoin", "symbol", "priceFilter"],
    ),
    (
        "coinbase",
        "/api/v3/brokerage/products",
        "/products",
        &["base_currency_id", "quote_currency_id", "quote_increment", "product_id"],
    ),
    (
        "cryptocom",
        "/v2/public/get-instruments",
        "/result/instruments",
        &["base_currency", "quote_currency", "instrument_name"],
    ),
    ("gateio", "/api/v4/spot/currency_pairs", "", &["trade_status", "base", "quote", "id"]),
    ("htx", "/v1/common/symbols", "/data", &["state", "base-currency", "quote-currency", "symbol"]),
    ("kraken", "/0/public/AssetPairs", "/result", &["wsname"]),
    (
        "kucoin",
        "/api/v1/symbols",
        "/data",
        &["enableTrading", "baseCurrency", "quoteCurrency", "priceIncrement", "symbol"],
    ),
    (
        "okx",
        "/api/v5/public/instruments?instType=SPOT",
        "/data",
        &["instType", "baseCcy", "quoteCcy", "instId", "tickSz"],
    ),
    ("upbit", "/v1/market/all", "", &["market"]),
];

/// Its further requests, which are not simulated: futures, swaps, options.
const CRYPTOFEED_NONE: [(&str, &str, &str); 8] = [
    ("bitfinex", "/v2/conf/pub:list:pair:futures", "/0"),
    ("bitget", "/api/mix/v1/market/contracts?productType=umcbl", "/data"),
    ("bitget", "/api/mix/v1/market/contracts?productType=dmcbl", "/data"),
    ("bybit", "/v5/market/instruments-info?&category=linear&status=Trading&limit=1000", "/result/list"),
    ("okx", "/api/v5/public/instruments?instType=SWAP", "/data"),
    ("okx", "/api/v5/public/instruments?instType=FUTURES", "/data"),
    ("okx", "/api/v5/public/instruments?instType=OPTION&uly=BTC-USD", "/data"),
    ("okx", "/api/v5/public/instruments?instType=OPTION&uly=ETH-USD", "/data"),
];

/// The reply of the simulated `venue` to a GET of `target`.
fn listed(prices: &SimPrices, venue: &str, target: &str) -> serde_json::Value {
    let at = VENUES.iter().position(|it| it.facts().name == venue).unwrap();
    let reply = VENUES[at].rest("GET", target, &format!("ws://127.0.0.1:9/{venue}"), &prices.market(at, START));
    let reply = reply.unwrap_or_else(|| panic!("{venue}: {target} is not found"));
    serde_json::from_str(&reply).unwrap()
}

#[test]
fn the_lists_that_cryptofeed_asks_for_have_what_it_reads() {
    let prices = market(7);
    for (venue, target, rows, fields) in CRYPTOFEED {
        let reply = listed(&prices, venue, target);
        let rows: Vec<serde_json::Value> = match reply.pointer(rows) {
            Some(serde_json::Value::Array(rows)) => rows.clone(),
            Some(serde_json::Value::Object(rows)) => rows.values().cloned().collect(),
            other => panic!("{venue}: {target}: no rows but {other:?}"),
        };
        let quoted = quotes(&prices, VENUES.iter().position(|it| it.facts().name == venue).unwrap()).len();
        assert!(rows.len() >= quoted.min(5) && quoted > 0, "{venue}: {target}: {} rows of {quoted}", rows.len());
        for (row, field) in rows.iter().flat_map(|row| fields.iter().map(move |field| (row, field))) {
            assert!(row.get(field).is_some_and(|it| !it.is_null()), "{venue}: {target}: no {field} in {row}");
        }
    }
    for (venue, target, rows) in CRYPTOFEED_NONE {
        assert_eq!(listed(&prices, venue, target).pointer(rows), Some(&serde_json::json!([])), "{venue}: {target}");
    }
    // Gemini's symbols come one by one.
    let symbols = listed(&prices, "gemini", "/v1/symbols");
    for symbol in symbols.as_array().unwrap() {
        let row = listed(&prices, "gemini", &format!("/v1/symbols/details/{}", symbol.as_str().unwrap()));
        for field in ["status", "base_currency", "quote_currency", "symbol", "tick_size"] {
            assert!(row.get(field).is_some_and(|it| !it.is_null()), "no {field} in {row}");
        }
    }
}
