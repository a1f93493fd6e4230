//! What clients are told around a hiccup of the network or of the gateway: alerts on quotes that their venue has
//! replaced, and ages.
//!
//!     cargo bench --bench hold [TIMES]
//!
//! `spreadwire sim` plays 16 venues with 10 instruments, 1,500 updates a second; `spreadwire serve` has default
//! settings; a proxy between them holds all bytes, or the gateway is stopped (SIGSTOP), and records what each venue sent
//! and when. That recording, read by the venues' own codecs, is the truth: a leg is a phantom if its venue had sent
//! another price more than 30 ms before the alert. Ages are held against the time at which the quote was sent.
//!
//! The bar is about all bytes held for 3 s and the process stopped for 3 s, five times each: no phantom, ages within
//! 300 ms. Exit code 1 if it is missed. Other lengths, and one venue held, are measured beside it: what a single venue
//! replaced in the first moments of its silence nobody can know.

#[path = "proxy.rs"]
mod proxy;
#[path = "rig.rs"]
mod rig;

use std::collections::HashMap;
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde::Deserialize;
use spreadwire::market::{Decimal, InstrumentId, Level};
use spreadwire::sim;
use spreadwire::time::{Clock, MS, MonoNs, SECOND};
use spreadwire::venues::{Decoded, FeedCodec, Requests, SymbolEntry, Symbols, Update, VENUES};

use proxy::{Proxy, Sent};
use rig::Server;

const BASES: [&str; 10] = ["BTC", "ETH", "SOL", "XRP", "DOGE", "ADA", "LTC", "AVAX", "LINK", "DOT"];
/// Updates a second over all that the simulator plays, of which these instruments are 160 of 174.
const RATE: f64 = 1500.0 * 174.0 / 160.0;
/// A quote that was replaced by less than this before an alert was not yet known to be.
const WAY_NS: u64 = 30 * MS;
/// Told ages may be wrong by this.
const AGE_ERROR_MS: i64 = 300;
/// What is learnt of the venues before the first hiccup.
const WARM: Duration = Duration::from_secs(15);
/// From the end of one hiccup to the next.
const BETWEEN: Duration = Duration::from_secs(8);

fn main() -> ExitCode {
    let is_smoke = rig::is_smoke();
    let times = if is_smoke { 1 } else { rig::seconds(5) as usize };
    let mut bench = Bench::start();
    if is_smoke {
        for hiccup in [Hiccup::Held(None), Hiccup::Stopped] {
            let Row { all, .. } = bench.trial(hiccup, 1, Duration::from_secs(2));
            assert!(all.quotes > 0 && all.prices > 0, "nothing was quoted, or told");
        }
        return ExitCode::SUCCESS;
    }
    bench.pause(WARM);
    println!("{}", Row::HEAD);
    Row::new("before", bench.judge_all()).print();
    let mut is_missed = false;
    for hiccup in [Hiccup::Held(None), Hiccup::Stopped] {
        let mut sum = Row::default();
        for n in 1..=times {
            let mut row = bench.trial(hiccup, 3, BETWEEN);
            row.name = format!("{} for 3 s, {n}", hiccup.name());
            row.print();
            sum.add(&row);
        }
        sum.name = format!("{} for 3 s: all", hiccup.name());
        sum.print();
        is_missed |= sum.is_missed();
    }
    for seconds in [1, 2, 4] {
        for hiccup in [Hiccup::Held(None), Hiccup::Stopped] {
            let mut row = bench.trial(hiccup, seconds, BETWEEN);
            row.name = format!("{} for {seconds} s", hiccup.name());
            row.print();
        }
    }
    for (venue, seconds) in [("binance", 3), ("kraken", 1), ("okx", 2), ("bitstamp", 4)] {
        let at = VENUES.iter().position(|it| it.facts().name == venue);
        let mut row = bench.trial(Hiccup::Held(at), seconds, BETWEEN);
        row.name = format!("{venue} held for {seconds} s");
        row.print();
    }
    println!("bar: no phantom, ages within {AGE_ERROR_MS} ms: {}", if is_missed { "missed" } else { "met" });
    if is_missed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

#[derive(Clone, Copy)]
enum Hiccup {
    /// The bytes of one venue, or of all, are held.
    Held(Option<usize>),
    /// The gateway is stopped.
    Stopped,
}

impl Hiccup {
    fn name(self) -> &'static str {
        match self {
            Self::Held(_) => "all bytes held",
            Self::Stopped => "process stopped",
        }
    }
}

/// What was counted in one span of time.
#[derive(Clone, Default)]
struct Counts {
    /// Updates that the venues sent.
    quotes: usize,
    prices: usize,
    /// Prices and legs that no venue ever sent.
    unknown: usize,
    alerts: usize,
    phantoms: usize,
    /// How long ago the leg of the worst phantom had been replaced.
    phantom_ns_max: u64,
    /// Told age minus true age of prices and of legs, in milliseconds: furthest below and above.
    price_error_ms: (i64, i64),
    leg_error_ms: (i64, i64),
    /// When the first alert came.
    first: Option<MonoNs>,
}

impl Counts {
    fn add(&mut self, other: &Self) {
        self.quotes += other.quotes;
        self.prices += other.prices;
        self.unknown += other.unknown;
        self.alerts += other.alerts;
        self.phantoms += other.phantoms;
        self.phantom_ns_max = self.phantom_ns_max.max(other.phantom_ns_max);
        for (mine, its) in
            [(&mut self.price_error_ms, other.price_error_ms), (&mut self.leg_error_ms, other.leg_error_ms)]
        {
            *mine = (mine.0.min(its.0), mine.1.max(its.1));
        }
    }
}

/// A line of the table.
#[derive(Clone, Default)]
struct Row {
    name: String,
    all: Counts,
    /// Alerts during the hiccup, within a second after it, and later.
    during: usize,
    soon: usize,
    later: usize,
    /// From the end of the hiccup to the first alert, in milliseconds.
    back_ms: Option<u64>,
}

impl Row {
    const HEAD: &'static str = "                                updates  prices  alerts (during, 1 s after, later)  \
                                phantoms (worst)  ages: prices      legs  first alert after";

    fn new(name: &str, all: Counts) -> Self {
        Self { name: name.to_owned(), later: all.alerts, all, ..Self::default() }
    }

    fn add(&mut self, other: &Self) {
        self.all.add(&other.all);
        self.during += other.during;
        self.soon += other.soon;
        self.later += other.later;
        self.back_ms = self.back_ms.max(other.back_ms);
    }

    fn is_missed(&self) -> bool {
        let (low, high) = self.all.price_error_ms;
        let (leg_low, leg_high) = self.all.leg_error_ms;
        let is_wrong = [low, high, leg_low, leg_high].iter().any(|error| error.abs() > AGE_ERROR_MS);
        is_wrong || self.all.phantoms > 0 || self.all.unknown > 0 || self.later == 0
    }

    fn print(&self) {
        let Counts { quotes, prices, unknown, alerts, phantoms, phantom_ns_max, price_error_ms, leg_error_ms, .. } =
            &self.all;
        let error = |(low, high): &(i64, i64)| format!("{low:+}..{high:+} ms");
        println!(
            "{:<30} {quotes:>8} {prices:>7} {alerts:>7} ({:>4}, {:>4}, {:>4})            {phantoms:>4} ({:>5} ms) \
             {:>16} {:>14} {}{}",
            self.name,
            self.during,
            self.soon,
            self.later,
            phantom_ns_max / MS,
            error(price_error_ms),
            error(leg_error_ms),
            self.back_ms.map_or("-".to_owned(), |ms| format!("{ms} ms")),
            if *unknown > 0 { format!("  {unknown} that no venue sent") } else { String::new() },
        );
    }
}

/// The simulator, the proxy, the gateway, its clients, and what is known of them.
struct Bench {
    clock: Clock,
    _sim: Sim,
    server: Server,
    proxy: Proxy,
    heard: Receiver<(MonoNs, String)>,
    truth: Truth,
    decoders: HashMap<usize, Decoder>,
}

struct Sim(Child);

impl Drop for Sim {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Bench {
    /// Starts all of it, and returns when each instrument of each venue has been told.
    fn start() -> Self {
        let venues = rig::free_address();
        let sim = Command::new(env!("CARGO_BIN_EXE_spreadwire"))
            .args(["sim", "--seed", "7", "--listen", &venues.to_string(), "--rate", &RATE.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the binary starts");
        let sim = Sim(sim);
        let begun = Instant::now();
        while rig::http_get(venues, "/").is_none() {
            assert!(begun.elapsed() < Duration::from_secs(20), "the simulator does not answer");
            std::thread::sleep(Duration::from_millis(5));
        }
        let proxy = Proxy::start(VENUES.len(), venues);
        let names = VENUES.iter().map(|venue| venue.facts().name);
        let symbols: Vec<String> = BASES.iter().map(|base| format!("{base}/USDT")).collect();
        let mut text = format!("venues = {:?}\ninstruments = {symbols:?}\n", names.clone().collect::<Vec<_>>());
        for (venue, address) in VENUES.iter().zip(&proxy.addresses) {
            text += &format!(
                "[venue.{}]\naddress = \"{}\"\nrest_address = \"{}\"\n",
                venue.facts().name,
                sim::address_of(*venue, *address),
                sim::rest_address_of(*venue, *address)
            );
        }
        let (server, _) = Server::start_with(&text);
        let (out, heard) = channel();
        // One at the usual interval, one that hears each change.
        for more in ["", r#","intervalMs":0,"opportunities":true"#] {
            let request = format!(
                r#"{{"action":"subscribe","symbols":{symbols:?},"exchanges":{:?},"extended":true{more}}}"#,
                names.clone().collect::<Vec<_>>()
            );
            listen(server.address, &request, out.clone());
        }
        let clock = Clock::System;
        let (truth, decoders) = (Truth::default(), HashMap::new());
        let mut bench = Self { clock, _sim: sim, server, proxy, heard, truth, decoders };
        bench.wait_for_all();
        bench
    }

    fn wait_for_all(&mut self) {
        let (begun, mut told) = (Instant::now(), std::collections::HashSet::new());
        while told.len() < BASES.len() * VENUES.len() {
            assert!(begun.elapsed() < Duration::from_secs(60), "{} of 160 pairs have a price", told.len());
            let Ok((_, text)) = self.heard.recv_timeout(Duration::from_secs(1)) else { continue };
            if let Ok(Message::Price { symbol, exchange, .. }) = serde_json::from_str(&text) {
                told.insert((symbol, exchange));
            }
        }
        self.read_wire();
    }

    fn pause(&self, time: Duration) {
        std::thread::sleep(time);
    }

    /// One hiccup of so many seconds and what follows.
    fn trial(&mut self, hiccup: Hiccup, seconds: u64, after: Duration) -> Row {
        let mut row = Row::new("", self.judge_all());
        let from = self.clock.now();
        match hiccup {
            Hiccup::Held(one) => {
                let venues = || (0..VENUES.len()).filter(move |venue| one.is_none_or(|one| one == *venue));
                self.proxy.hold(venues(), true);
                self.pause(Duration::from_secs(seconds));
                self.proxy.hold(venues(), false);
            }
            Hiccup::Stopped => {
                self.server.signal(Signal::STOP);
                self.pause(Duration::from_secs(seconds));
                self.server.signal(Signal::CONT);
            }
        }
        let to = self.clock.now();
        explain(from, format_args!("{} for {seconds} s", hiccup.name()));
        self.pause(after);
        let [before, during, soon, later] = self.judge([from, to, to.plus(SECOND)]);
        row.all.add(&before);
        (row.during, row.soon) = (during.alerts, soon.alerts);
        row.later += before.alerts + later.alerts;
        row.back_ms = soon.first.or(later.first).map(|at| at.since(to) / MS);
        [during, soon, later].iter().for_each(|counts| row.all.add(counts));
        row
    }

    fn judge_all(&mut self) -> Counts {
        let [counts, _] = self.judge([MonoNs(u64::MAX)]);
        counts
    }

    /// Holds all that was told since the last call against what was sent, apart for each span of time that ends at one
    /// of `ends`, and after the last.
    fn judge<const N: usize, const M: usize>(&mut self, ends: [MonoNs; N]) -> [Counts; M] {
        const { assert!(M == N + 1) };
        let mut counts: [Counts; M] = std::array::from_fn(|_| Counts::default());
        let heard: Vec<(MonoNs, String)> = self.heard.try_iter().collect();
        // What was told was sent before.
        counts[0].quotes = self.read_wire();
        let offset_ns = self.clock.unix().0.saturating_sub(self.clock.now().0);
        for (at, text) in heard {
            let Ok(message) = serde_json::from_str::<Message>(&text) else { continue };
            self.truth.judge(&message, at, offset_ns, &mut counts[ends.partition_point(|end| *end <= at)]);
        }
        counts
    }

    /// Reads what the venues have sent; gives the number of quotes.
    fn read_wire(&mut self) -> usize {
        let Self { proxy, decoders, truth, .. } = self;
        let mut quotes = 0;
        for sent in proxy.sent.try_iter() {
            let decoder = decoders.entry(sent.connection).or_insert_with(|| Decoder::new(sent.venue));
            quotes += decoder.take(&sent, truth);
        }
        quotes
    }
}

/// A client on a thread of its own, which ends with the process.
fn listen(address: SocketAddr, request: &str, out: Sender<(MonoNs, String)>) {
    let stream = TcpStream::connect(address).expect("the server accepts");
    let (mut socket, _) =
        tungstenite::client(format!("ws://{address}/ws/prices"), stream).expect("the server upgrades");
    socket.send(tungstenite::Message::text(request)).expect("the server reads");
    std::thread::spawn(move || {
        while let Ok(message) = socket.read() {
            let now = Clock::System.now();
            if let tungstenite::Message::Text(text) = message
                && out.send((now, text.as_str().to_owned())).is_err()
            {
                return;
            }
        }
    });
}

/// What a client hears.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
enum Message {
    Price {
        symbol: String,
        exchange: String,
        bid: f64,
        ask: f64,
        bid_size: f64,
        ask_size: f64,
        state: String,
        age_ms: u64,
    },
    Arbitrage(Alert),
    Opportunity {
        change: String,
        #[serde(flatten)]
        alert: Alert,
    },
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Alert {
    symbol: String,
    buy_exchange: String,
    sell_exchange: String,
    buy_price: f64,
    sell_price: f64,
    buy_age_ms: u64,
    sell_age_ms: u64,
    timestamp: u64,
}

/// What each venue quoted, and when it sent that.
#[derive(Default)]
struct Truth(HashMap<(usize, usize), Vec<Quote>>);

#[derive(Clone, Copy)]
struct Quote {
    sent: MonoNs,
    bid: Level,
    ask: Level,
}

#[derive(Clone, Copy)]
enum Side {
    Bid,
    Ask,
}

impl Quote {
    fn price(&self, side: Side) -> Decimal {
        match side {
            Side::Bid => self.bid.price,
            Side::Ask => self.ask.price,
        }
    }
}

fn is(decimal: Decimal, number: f64) -> bool {
    (decimal.to_f64() - number).abs() <= number.abs() * 1e-13
}

impl Truth {
    /// What was sent of an instrument until `at`, the newest last.
    fn until(&self, exchange: &str, symbol: &str, at: MonoNs) -> &[Quote] {
        let venue = VENUES.iter().position(|venue| venue.facts().name == exchange);
        let base = BASES.iter().position(|base| symbol.strip_suffix("/USDT") == Some(base));
        let key = venue.zip(base).expect("what was subscribed");
        let quotes = self.0.get(&key).map_or(&[][..], Vec::as_slice);
        &quotes[..quotes.partition_point(|quote| quote.sent <= at)]
    }

    fn judge(&self, message: &Message, heard: MonoNs, offset_ns: u64, counts: &mut Counts) {
        match message {
            Message::Price { symbol, exchange, bid, ask, bid_size, ask_size, state, age_ms } if state == "fresh" => {
                counts.prices += 1;
                let is_it = |quote: &&Quote| {
                    let Quote { bid: b, ask: a, .. } = quote;
                    is(b.price, *bid) && is(a.price, *ask) && is(b.size, *bid_size) && is(a.size, *ask_size)
                };
                match self.until(exchange, symbol, heard).iter().rev().find(is_it) {
                    Some(quote) => {
                        let error = error_ms(*age_ms, heard, quote);
                        widen(&mut counts.price_error_ms, error);
                        if error.abs() > AGE_ERROR_MS {
                            explain(heard, format_args!("{exchange} {symbol}: {age_ms} ms told, {error:+} ms"));
                        }
                    }
                    None => counts.unknown += 1,
                }
            }
            Message::Arbitrage(alert) => {
                counts.alerts += 1;
                counts.first.get_or_insert(heard);
                self.judge_alert(alert, heard, offset_ns, counts);
            }
            Message::Opportunity { change, alert } if change != "closed" => {
                if change == "opened" {
                    counts.alerts += 1;
                    counts.first.get_or_insert(heard);
                }
                self.judge_alert(alert, heard, offset_ns, counts);
            }
            Message::Price { .. } | Message::Opportunity { .. } | Message::Other => {}
        }
    }

    fn judge_alert(&self, alert: &Alert, heard: MonoNs, offset_ns: u64, counts: &mut Counts) {
        let at = MonoNs((alert.timestamp * MS).saturating_sub(offset_ns));
        let legs = [
            (&alert.buy_exchange, Side::Ask, alert.buy_price, alert.buy_age_ms),
            (&alert.sell_exchange, Side::Bid, alert.sell_price, alert.sell_age_ms),
        ];
        let mut replaced_ns = 0;
        for (exchange, side, price, age_ms) in legs {
            // The stamp is in whole milliseconds.
            let sent = self.until(exchange, &alert.symbol, at.plus(MS));
            let Some(last) = sent.iter().rposition(|quote| is(quote.price(side), price)) else {
                counts.unknown += 1;
                continue;
            };
            replaced_ns = replaced_ns.max(sent.get(last + 1).map_or(0, |next| at.since(next.sent)));
            // Messages do not distinguish between quotes that differ in size only.
            let run = sent[..=last].iter().rev().take_while(|quote| is(quote.price(side), price));
            let error = run.map(|quote| error_ms(age_ms, at, quote)).min_by_key(|error| error.abs());
            widen(&mut counts.leg_error_ms, error.unwrap_or(0));
        }
        if replaced_ns > WAY_NS {
            counts.phantoms += 1;
            counts.phantom_ns_max = counts.phantom_ns_max.max(replaced_ns);
            let Alert { symbol, buy_exchange, sell_exchange, buy_age_ms, sell_age_ms, .. } = alert;
            explain(
                at,
                format_args!(
                    "phantom {symbol}: {buy_exchange} ({buy_age_ms} ms) {sell_exchange} ({sell_age_ms} ms), replaced {} ms \
                     before; stamped {} ms before it was read",
                    replaced_ns / MS,
                    heard.since(at) / MS,
                ),
            );
        }
    }
}

/// Told age minus true age in milliseconds.
fn error_ms(age_ms: u64, at: MonoNs, quote: &Quote) -> i64 {
    age_ms as i64 - (at.since(quote.sent) / MS) as i64
}

/// Says what was wrong with what was told at a time, if that is wanted.
fn explain(at: MonoNs, what: std::fmt::Arguments<'_>) {
    if std::env::var_os("PERF_VERBOSE").is_some() {
        eprintln!("{:.3} s: {what}", at.0 as f64 / SECOND as f64);
    }
}

fn widen(range: &mut (i64, i64), error: i64) {
    *range = (range.0.min(error), range.1.max(error));
}

/// One connection of a venue, read as the gateway reads it.
struct Decoder {
    codec: Box<dyn FeedCodec>,
    decoded: Decoded,
    head_done: bool,
    bytes: Vec<u8>,
}

impl Decoder {
    fn new(venue: usize) -> Self {
        let venue = VENUES[venue];
        let entry = |(at, base): (usize, &&str)| {
            let native = venue.native(base, "USDT").expect("what was configured");
            SymbolEntry { id: InstrumentId(at as u32), native, symbol: format!("{base}/USDT") }
        };
        let mut codec = venue.codec(Symbols::configured(BASES.iter().enumerate().map(entry).collect()));
        codec.opened(&mut Requests::new());
        Self { codec, decoded: Decoded::default(), head_done: false, bytes: Vec::new() }
    }

    fn take(&mut self, sent: &Sent, truth: &mut Truth) -> usize {
        self.bytes.extend_from_slice(&sent.bytes);
        if !self.head_done {
            let Some(end) = self.bytes.windows(4).position(|some| some == b"\r\n\r\n") else { return 0 };
            self.bytes.drain(..end + 4);
            self.head_done = true;
        }
        let (mut at, mut quotes) = (0, 0);
        while let Some((opcode, payload)) = frame(&self.bytes[at..]) {
            at += payload.end;
            let payload = at + payload.start - payload.end..at;
            if matches!(opcode, 1 | 2) {
                self.decoded.clear();
                // The gateway reads, and counts, the same errors.
                let _ = self.codec.decode(&self.bytes[payload], sent.at, &mut self.decoded);
                for update in &self.decoded.updates {
                    let (instrument, bid, ask) = match update {
                        Update::Top(top) => (top.instrument, top.bid, top.ask),
                        Update::Void(instrument, _) => (*instrument, Level::ABSENT, Level::ABSENT),
                        _ => continue,
                    };
                    quotes += 1;
                    let quote = Quote { sent: sent.at, bid, ask };
                    truth.0.entry((sent.venue, instrument.index())).or_default().push(quote);
                }
            }
        }
        self.bytes.drain(..at);
        quotes
    }
}

/// The first frame of a server: its opcode, and where its payload is.
fn frame(bytes: &[u8]) -> Option<(u8, std::ops::Range<usize>)> {
    let (length, header) = match bytes.get(1)? & 0x7f {
        126 => (usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?)), 4),
        127 => (u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?) as usize, 10),
        short => (short.into(), 2),
    };
    (bytes.len() >= header + length).then(|| (bytes[0] & 0xf, header..header + length))
}
