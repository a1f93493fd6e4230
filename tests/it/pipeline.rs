//! The whole way of a quote in one thread, on a clock that only the test moves: simulated venues, feed sessions, the
//! ring, the detector, the gateway and its clients. A seed draws prices, faults and clients, so a failing run repeats.
//!
//! `PIPELINE_SEEDS=10000` runs more seeds than CI does, `PIPELINE_SEED=17` one.

use std::collections::HashMap;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use serde_json::Value;
use spreadwire::gateway::transport::LocalClient;
use spreadwire::gateway::{Gateway, GatewaySettings};
use spreadwire::market::opportunity::{Change, OpportunityEvent};
use spreadwire::market::rule::DetectorOptions;
use spreadwire::market::{InstrumentId, Level, VenueId};
use spreadwire::matrix::CellState;
use spreadwire::random::Random;
use spreadwire::sim::prices::Liveliness;
use spreadwire::stage::Stage;
use spreadwire::time::{MS, SECOND};

use crate::client_frames::{masked, texts_of};
use crate::one_thread::{OneThread, Setting};

/// Seeds in CI.
const SEEDS: u64 = 200;
/// Parts of [`SEEDS`] that run side by side.
const PARTS: u64 = 4;
/// One step of the clock, in milliseconds: while things fail, and afterwards.
const STEP_MS: u64 = 10;
const WELL_STEP_MS: u64 = 20;
/// Faults begin and end in this part of a run; then the venues are well for the rest of it.
const FAULTS_MS: u64 = 6_000;
/// Long enough to reconnect, to catch up and to renew every price.
const WELL_MS: u64 = 8_000;
/// A beat of a client lasts a second; a price may be silent for two.
const LAST_BEAT_MS: u64 = 1_100;
/// After this time no fault of a venue has an effect on its prices, in nanoseconds: each of them has changed.
const FORGOTTEN_NS: u64 = 2 * SECOND;
/// Venues of every kind: with numbers and without, with checksums, gzip, pings of either side.
const VENUES: [&str; 8] = ["binance", "kraken", "okx", "bybit", "coinbase", "htx", "bitstamp", "gateio"];
/// Unread bytes of a client, beyond which the gateway must wait: a few prices.
const UNREAD_MAX: usize = 4096;
/// The place of the client that wants each change.
const PROMPT: usize = 0;
const INSTRUMENTS: [(&str, &str); 3] = [("BTC", "USDT"), ("ETH", "USDT"), ("SOL", "USDT")];
/// Faults that end by themselves, with their own keys.
const FAULTS: [(&str, &str); 10] = [
    ("cut", ""),
    ("silence", ""),
    ("reorder", "one_in = 3"),
    ("duplicate", "one_in = 2"),
    ("lose", "one_in = 4"),
    ("clock", "offset_ms = -900"),
    ("clock", "offset_ms = 3000"),
    ("crossed", ""),
    ("damage", "one_in = 5"),
    ("halt", "instrument = \"BTC/USDT\""),
];

/// A client in memory.
struct Client {
    wire: LocalClient,
    input: Vec<u8>,
    /// Reads once in so many steps.
    reads_every: u64,
    /// By symbol and exchange: the last price.
    last: HashMap<(String, String), (Level, Level)>,
}

struct Pipeline {
    rig: OneThread,
    gateway: Gateway,
    clients: Vec<Client>,
    steps: u64,
    opened: HashMap<(InstrumentId, VenueId, VenueId), u64>,
    alerts: u64,
}

impl Deref for Pipeline {
    type Target = OneThread;

    fn deref(&self) -> &OneThread {
        &self.rig
    }
}

impl DerefMut for Pipeline {
    fn deref_mut(&mut self) -> &mut OneThread {
        &mut self.rig
    }
}

impl Pipeline {
    fn new(seed: u64) -> Self {
        let setting = Setting {
            seed,
            venues: &VENUES,
            instruments: &INSTRUMENTS,
            liveliness: Liveliness { rate: 300.0, opportunity_every_ms: 1500 },
            options: DetectorOptions { debounce_ms: 1000, ..DetectorOptions::default() },
        };
        let mut gateway = None;
        let mut rig = OneThread::new(&setting, |tables| {
            let (made, subscriber) = tables.gateway();
            gateway = Some(made);
            vec![subscriber]
        });
        let script = script(&mut rig.random);
        rig.follow(&script);
        Self { rig, gateway: gateway.unwrap(), clients: Vec::new(), steps: 0, opened: HashMap::new(), alerts: 0 }
    }

    /// A client with every price of every venue, at this interval.
    fn connect(&mut self, interval_ms: Option<u64>, reads_every: u64) {
        let wire = self.gateway.connect(UNREAD_MAX);
        let upgrade = "GET /ws/prices HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                       Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        wire.send(upgrade.as_bytes());
        let mut client = Client { wire, input: Vec::new(), reads_every, last: HashMap::new() };
        let end = loop {
            self.gateway.turn(Duration::ZERO);
            client.read();
            if let Some(at) = client.input.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
        };
        client.input.drain(..end);
        let symbols: Vec<String> = INSTRUMENTS.iter().map(|(base, quote)| format!("{base}/{quote}")).collect();
        let mut request = serde_json::json!({
            "action": "subscribe", "symbols": symbols, "exchanges": VENUES, "extended": true, "opportunities": true,
        });
        if let Some(interval) = interval_ms {
            request["intervalMs"] = interval.into();
        }
        client.say(&request.to_string());
        self.clients.push(client);
    }

    /// Time passes, `updates` prices change, and every stage turns until it has nothing left to do.
    fn step(&mut self, ms: u64, updates: usize) {
        self.steps += 1;
        self.hand.advance(ms * MS);
        self.trouble();
        self.hold_now_and_then();
        self.open();
        self.step_prices(updates);
        self.each_second();
        self.pump();
        self.detect();
        self.check_events();
        self.serve();
        self.check_bounds();
        self.check_prompt();
    }

    /// Turns the gateway until it has nothing left to do. Clients read meanwhile: the gateway sends more when they have.
    fn serve(&mut self) {
        let steps = self.steps;
        loop {
            let mut work = self.gateway.turn(Duration::ZERO);
            for client in self.clients.iter_mut().filter(|client| steps.is_multiple_of(client.reads_every)) {
                work += client.read();
                client.take();
            }
            if work == 0 {
                return;
            }
        }
    }

    /// The network holds bytes.
    fn hold_now_and_then(&mut self) {
        if self.elapsed_ms() < FAULTS_MS && self.random.one_in(400) {
            let count = self.pipes.len();
            let at = self.random.below(count);
            let ms = self.random.between(50.0, 1500.0) as u64;
            let until = self.now().plus(ms * MS);
            self.pipes[at].held_until = until;
        }
    }

    /// Both legs of what is alerted are live: connected, quoted by the venue, in the matrix with this price.
    fn check_events(&mut self) {
        while let Ok(event) = self.events.pop() {
            let OpportunityEvent { opportunity, change, alert, .. } = event;
            let key = (opportunity.instrument, opportunity.buy.venue, opportunity.sell.venue);
            let open = self.opened.entry(key).or_default();
            match change {
                Change::Opened => {
                    assert_eq!(*open, 0, "opened twice: {event:?}");
                    *open = 1;
                }
                Change::Closed(_) => {
                    assert_eq!(*open, 1, "closed without being open: {event:?}");
                    *open = 0;
                }
                Change::Updated | Change::Repeated => assert_eq!(*open, 1, "updated without being open: {event:?}"),
            }
            if !alert {
                continue;
            }
            self.alerts += 1;
            for (leg, is_buy) in [(opportunity.buy, true), (opportunity.sell, false)] {
                let cell = self.cell(opportunity.instrument, leg.venue);
                let pipe = &self.pipes[leg.venue.index()];
                assert_eq!(cell.state, CellState::Live, "{event:?}");
                assert_eq!(if is_buy { cell.ask } else { cell.bid }, leg.level, "{event:?}");
                assert!(pipe.feed.is_open(), "alert on a venue that is not connected: {event:?}");
                assert!(cell.age(self.now()) <= DetectorOptions::default().leg_age_max_ns(), "{event:?}");
                let is_well = self.now().since(pipe.troubled) > FORGOTTEN_NS;
                if is_well && self.now() >= pipe.held_until {
                    let (symbol, venue) = (self.directory.symbol(opportunity.instrument), leg.venue.index());
                    let (_, truth) = self.prices.quote(self.prices.cell_of(venue, symbol).unwrap());
                    assert_eq!(if is_buy { truth.ask } else { truth.bid }, leg.level, "a phantom: {event:?}");
                }
            }
        }
    }

    fn check_bounds(&self) {
        let outbox = self.board.gateways[0].sent.waiting_bytes.value();
        let most = GatewaySettings::default().gateway.outboxes_max_bytes as u64;
        assert!(outbox <= most, "{outbox} bytes wait for clients");
        assert_eq!(self.board.detector.events_lost.value(), 0);
    }

    /// The client that wants each change has the price of every live cell.
    fn check_prompt(&self) {
        for (number, (base, quote)) in INSTRUMENTS.iter().enumerate() {
            for (at, name) in VENUES.iter().enumerate() {
                let held = self.cell(InstrumentId(number as u32), VenueId(at as u16));
                let symbol = format!("{base}/{quote}");
                if held.state == CellState::Live {
                    let last = self.clients[PROMPT].price(&symbol, name);
                    assert_eq!(last, Some((held.bid, held.ask)), "{name} {symbol}, step {}", self.steps);
                }
            }
        }
    }

    /// Every price of every venue is live and right, here and at each client.
    fn check_restored(&mut self) {
        for client in &mut self.clients {
            client.reads_every = 1;
        }
        for _ in 0..1000 / WELL_STEP_MS {
            self.step(WELL_STEP_MS, 6);
        }
        for _ in 0..LAST_BEAT_MS / WELL_STEP_MS {
            self.step(WELL_STEP_MS, 0);
        }
        for (at, pipe) in self.pipes.iter().enumerate() {
            let name = pipe.venue.facts().name;
            assert!(pipe.feed.is_open() && pipe.feed.is_subscribed(), "{name} is not connected");
            for (number, (base, quote)) in INSTRUMENTS.iter().enumerate() {
                let symbol = format!("{base}/{quote}");
                let Some(cell) = self.prices.cell_of(at, &symbol) else { continue };
                let held = self.cell(InstrumentId(number as u32), VenueId(at as u16));
                let (_, truth) = self.prices.quote(cell);
                assert_eq!(held.state, CellState::Live, "{name} {symbol}");
                assert_eq!((held.bid, held.ask), (truth.bid, truth.ask), "{name} {symbol}");
                for (who, client) in self.clients.iter().enumerate() {
                    assert_eq!(
                        client.price(&symbol, name),
                        Some((held.bid, held.ask)),
                        "client {who}, {name} {symbol}"
                    );
                }
            }
        }
    }
}

/// Three to eight faults of any kind, each at one venue.
fn script(random: &mut Random) -> String {
    let mut script = String::new();
    for _ in 0..3 + random.below(6) {
        let (kind, own) = FAULTS[random.below(FAULTS.len())];
        let venue = VENUES[random.below(VENUES.len())];
        let from = random.between(1.0, FAULTS_MS as f64 / 1000.0 - 2.0);
        let length = if kind == "cut" { String::new() } else { format!("for_s = {:.2}\n", random.between(0.1, 2.0)) };
        script += &format!("[[fault]]\nkind = \"{kind}\"\nvenue = \"{venue}\"\nfrom_s = {from:.2}\n{length}{own}\n");
    }
    script
}

impl Client {
    /// Reads what has arrived; returns how many bytes that was.
    fn read(&mut self) -> usize {
        let length = self.wire.receive(usize::MAX, &mut self.input);
        assert!(!self.wire.is_closed(), "the gateway closed the connection");
        length
    }

    fn say(&mut self, text: &str) {
        self.wire.send(&masked(text));
    }

    /// The last bid and ask.
    fn price(&self, symbol: &str, exchange: &str) -> Option<(Level, Level)> {
        self.last.get(&(symbol.to_owned(), exchange.to_owned())).copied()
    }

    /// Takes the messages that came.
    fn take(&mut self) {
        for text in texts_of(&mut self.input) {
            let message: Value = serde_json::from_str(&text).unwrap();
            assert_ne!(message["type"], "error", "{message}");
            if message["type"] == "price" {
                let [symbol, exchange] = ["symbol", "exchange"].map(|key| message[key].as_str().unwrap().to_owned());
                let number = |key: &str| message[key].to_string().parse().unwrap();
                let level = |price: &str, size: &str| Level { price: number(price), size: number(size) };
                self.last.insert((symbol, exchange), (level("bid", "bidSize"), level("ask", "askSize")));
            }
        }
    }
}

fn run(seed: u64) -> u64 {
    let mut pipeline = Pipeline::new(seed);
    pipeline.connect(Some(0), 1);
    pipeline.connect(None, 1);
    pipeline.connect(Some(0), 90);
    while pipeline.elapsed_ms() < FAULTS_MS {
        pipeline.step(STEP_MS, 3);
    }
    while pipeline.elapsed_ms() < FAULTS_MS + WELL_MS {
        pipeline.step(WELL_STEP_MS, 6);
    }
    pipeline.check_restored();
    pipeline.alerts
}

/// Runs the seeds of one part. Every alert is live, and every client ends with the prices of the matrix.
fn run_part(part: u64) {
    let setting = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let count = setting("PIPELINE_SEEDS").unwrap_or(SEEDS);
    let one = setting("PIPELINE_SEED");
    let (mut runs, mut alerts) = (0, 0);
    for seed in (0..count).chain(one).filter(|seed| seed % PARTS == part && one.is_none_or(|one| one == *seed)) {
        match std::panic::catch_unwind(|| run(seed)) {
            Ok(count) => (runs, alerts) = (runs + 1, alerts + count),
            Err(cause) => {
                eprintln!("the seed that fails: PIPELINE_SEED={seed}");
                std::panic::resume_unwind(cause);
            }
        }
    }
    println!("{runs} seeds, {alerts} alerts");
    assert!(runs == 0 || alerts > 0);
}

#[test]
fn alerts_are_live_and_clients_end_with_the_prices_of_the_matrix_first_quarter_of_seeds() {
    run_part(0);
}

#[test]
fn alerts_are_live_and_clients_end_with_the_prices_of_the_matrix_second_quarter_of_seeds() {
    run_part(1);
}

#[test]
fn alerts_are_live_and_clients_end_with_the_prices_of_the_matrix_third_quarter_of_seeds() {
    run_part(2);
}

#[test]
fn alerts_are_live_and_clients_end_with_the_prices_of_the_matrix_last_quarter_of_seeds() {
    run_part(3);
}
