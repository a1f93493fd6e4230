//! Quotes that are late by their stamps, in replays of what the venues' own exchange sides write: they are part of no
//! alert, at every venue that stamps its quotes, from the first contact on, after a silence and after a jump.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use spreadwire::market::statistics::DayStatistics;
use spreadwire::market::{Decimal, InstrumentId, Level};
use spreadwire::time::{MonoNs, UnixNs};
use spreadwire::venues::{
    Decoded, Market, Message, Messages, SymbolEntry, Symbols, Update, VENUES, Venue, VenueQuote, venue,
};

/// When recordings begin, in milliseconds since 1970.
const START_MS: u64 = 1_795_000_000_000;
/// Between two quotes of a venue.
const EVERY_MS: u64 = 100;
/// Venues whose tops of book have no stamp.
const STAMPLESS: [&str; 2] = ["binance", "binanceus"];

/// A venue's market with one instrument, on a clock that is late.
struct Hall {
    quote: VenueQuote,
    now: UnixNs,
}

impl Market for Hall {
    fn quote(&self, native: &str) -> Option<VenueQuote> {
        (native == self.quote.native).then(|| self.quote.clone())
    }

    fn now(&self) -> UnixNs {
        self.now
    }
}

/// A recording of one venue.
struct Recorded {
    venue: &'static dyn Venue,
    lines: String,
    /// The price that it quotes.
    bid: u64,
    /// When the last line came, and whether lines have a time.
    at_ms: u64,
    is_timed: bool,
    session: Option<Box<dyn spreadwire::venues::ExchangeSide>>,
    sequence: u64,
    conn: u32,
}

impl Recorded {
    /// Nothing of it yet; it quotes BTC/USDT at `bid` cents.
    fn new(name: &str, bid: u64) -> Self {
        let venue = venue(name).unwrap();
        let lines = String::new();
        Self { venue, lines, bid, at_ms: START_MS, is_timed: true, session: None, sequence: 2, conn: 0 }
    }

    fn state(&self, late_ms: i64) -> VenueQuote {
        let level = |price| Level { price: Decimal::new(price, 2), size: Decimal::new(15_000 + self.sequence, 4) };
        VenueQuote {
            native: self.venue.native("BTC", "USDT").unwrap(),
            bid: level(self.bid + self.sequence % 3),
            ask: level(self.bid + 5 + self.sequence % 3),
            sequence: self.sequence,
            time: UnixNs::from_ms(self.at_ms.saturating_add_signed(-late_ms)),
            day: DayStatistics::default(),
            is_trading: true,
        }
    }

    fn write(&mut self, messages: &[Message]) {
        for message in messages {
            let mut line = json!({"dir": "in", "conn": self.conn});
            if self.is_timed {
                line["ts"] = json!(self.at_ms as f64 / 1000.0);
            }
            match message {
                Message::Text(text) => line["frame"] = json!(text),
                Message::Binary(bytes) => {
                    let hex = bytes.iter().fold(String::new(), |mut hex, byte| {
                        let _ = write!(hex, "{byte:02x}");
                        hex
                    });
                    (line["frame"], line["enc"]) = (json!(hex), json!("hex"));
                }
            }
            self.lines.push_str(&format!("{line}\n"));
        }
    }

    /// A new connection, subscribed; its first prices are so late.
    fn connect(&mut self, late_ms: i64) {
        self.conn += 1;
        let state = self.state(late_ms);
        let entry = SymbolEntry { id: InstrumentId(0), native: state.native.clone(), symbol: "BTC/USDT".into() };
        let mut codec = self.venue.codec(Symbols::configured(vec![entry]));
        let mut side = self.venue.exchange_side();
        let hall = Hall { now: state.time, quote: state };
        let (mut said, mut decoded) = (Messages::default(), Decoded::default());
        // As Gemini is asked for whole books first; to the others it means nothing.
        side.opened("/ws?snapshot=-1", &hall, &mut said);
        codec.opened(&mut decoded.requests);
        loop {
            let messages: Vec<Message> = said.drain().collect();
            for message in &messages {
                codec.decode(message.as_bytes(), MonoNs(1), &mut decoded).unwrap();
            }
            self.write(&messages);
            let requests = std::mem::take(&mut decoded.requests);
            if requests.is_empty() {
                break;
            }
            requests.iter().for_each(|request| side.receive(request, &hall, &mut said));
        }
        self.session = Some(side);
    }

    /// Quotes for so long, each so late by its stamp.
    fn quotes(mut self, seconds: u64, late_ms: i64) -> Self {
        if self.session.is_none() {
            self.connect(late_ms);
        }
        for _ in 0..seconds * 1000 / EVERY_MS {
            self.at_ms += EVERY_MS;
            self.sequence += 1;
            let state = self.state(late_ms);
            let mut said = Messages::default();
            if let Some(side) = &mut self.session {
                side.quote(&state, &mut said);
            }
            let messages: Vec<Message> = said.drain().collect();
            self.write(&messages);
        }
        self
    }

    /// From now on it quotes at `bid` cents.
    fn at(mut self, bid: u64) -> Self {
        self.bid = bid;
        self
    }

    /// Says nothing for so long.
    fn silence(mut self, seconds: u64) -> Self {
        self.at_ms += seconds * 1000;
        self
    }

    /// The next quotes come by another connection.
    fn reconnects(mut self) -> Self {
        self.session = None;
        self
    }

    /// The first stamp of a quote in it, as its codec reads it.
    fn first_stamp(&self) -> UnixNs {
        let mut codec = self.venue.codec(Symbols::discovering(self.venue.symbol_of()));
        let mut decoded = Decoded::default();
        codec.opened(&mut Vec::new());
        let lines = self.lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        for frame in lines.filter(|line| line.get("enc").is_none()) {
            let _ = codec.decode(frame["frame"].as_str().unwrap().as_bytes(), MonoNs(1), &mut decoded);
        }
        let tops = decoded.updates.iter().filter_map(|it| if let Update::Top(top) = it { Some(top) } else { None });
        tops.map(|top| top.exchange_time).next().unwrap_or_default()
    }
}

/// Buy and sell venue of an opportunity.
struct Told([String; 2]);

/// Opportunities that open in a replay of these, and how many quotes there are by venue.
fn replay(test: &str, recordings: &[&Recorded]) -> (Vec<Told>, HashMap<String, usize>) {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("lag-{}-{test}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_spreadwire"));
    command.arg("replay").env_clear().stdin(Stdio::null());
    for recorded in recordings {
        let file = folder.join(format!("{}.jsonl", recorded.venue.facts().name));
        std::fs::write(&file, &recorded.lines).unwrap();
        command.arg(file);
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let _ = std::fs::remove_dir_all(&folder);
    let (mut told, mut quotes) = (Vec::new(), HashMap::<String, usize>::new());
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let text = |key: &str| line[key].as_str().unwrap_or_default().to_owned();
        match (text("type").as_str(), text("change").as_str()) {
            ("quote", _) => *quotes.entry(text("exchange")).or_default() += 1,
            (_, "opened") => told.push(Told([text("buyExchange"), text("sellExchange")])),
            _ => {}
        }
    }
    (told, quotes)
}

impl Told {
    fn is_of(&self, name: &str) -> bool {
        self.0.iter().any(|venue| venue == name)
    }
}

/// Two venues on time that have another price than `name`; not `name` itself.
fn others(name: &str) -> [&'static str; 2] {
    let mut names = ["okx", "kraken", "bybit"].into_iter().filter(|other| *other != name);
    [names.next().unwrap(), names.next().unwrap()]
}

/// 1.5 % below the others.
const LOW: u64 = 9850;
const HIGH: u64 = 10_000;

/// Whether alerts with `subject` open beside two venues that are on time, or late by `others_ms`.
fn is_alerted(test: &str, subject: &Recorded, others_ms: i64) -> bool {
    let name = subject.venue.facts().name;
    let seconds = (subject.at_ms - START_MS) / 1000;
    let [first, second] = others(name).map(|other| Recorded::new(other, HIGH).quotes(seconds, others_ms));
    let (told, quotes) = replay(test, &[subject, &first, &second]);
    assert!(quotes[name] > 10, "{name}: {quotes:?}");
    told.iter().any(|told| told.is_of(name))
}

/// Venues that stamp their quotes.
fn stamped() -> impl Iterator<Item = &'static str> {
    VENUES.iter().map(|venue| venue.facts().name).filter(|name| !STAMPLESS.contains(name))
}

#[test]
fn a_venue_that_is_late_from_the_first_contact_is_no_leg_at_any_venue() {
    for name in stamped() {
        let late = Recorded::new(name, LOW).quotes(4, 30_000);
        assert!(!is_alerted("contact", &late, 0), "{name}: a quote that is thirty seconds old");
        let on_time = Recorded::new(name, LOW).quotes(4, 20);
        assert!(is_alerted("on-time", &on_time, 0), "{name}: the same on time");
    }
    for name in STAMPLESS {
        let late = Recorded::new(name, LOW).quotes(4, 30_000);
        assert_eq!(late.first_stamp(), UnixNs(0), "{name} stamps its quotes now");
        assert!(is_alerted("stampless", &late, 0), "{name}: nothing tells");
    }
}

/// On time for two seconds, at the price of the others.
fn before(name: &str) -> Recorded {
    Recorded::new(name, HIGH).quotes(2, 20)
}

#[test]
fn a_venue_that_comes_back_late_after_a_silence_or_by_a_new_connection_is_no_leg() {
    for name in stamped() {
        for (test, gap_s, after, late_ms) in [
            ("jump", 0, before as fn(&str) -> Recorded, 1_500_000),
            ("silence", 660, |name| before(name).silence(660), 30_000),
            ("reconnect", 2, |name| before(name).silence(2).reconnects(), 30_000),
        ] {
            let [first, second] =
                others(name).map(|other| Recorded::new(other, HIGH).quotes(2, 20).silence(gap_s).quotes(3, 20));
            let late = after(name).at(LOW).quotes(3, late_ms);
            let (told, _) = replay(test, &[&late, &first, &second]);
            assert!(!told.iter().any(|told| told.is_of(name)), "{name}, {test}");
            let (told, _) = replay(test, &[&after(name).at(LOW).quotes(3, 20), &first, &second]);
            assert!(told.iter().any(|told| told.is_of(name)), "{name}, {test}: the same on time");
        }
    }
}

#[test]
fn with_one_other_venue_our_wall_clock_decides() {
    for other in ["kraken", "binance"] {
        let late = Recorded::new("okx", LOW).quotes(4, 30_000);
        let (told, quotes) = replay("two", &[&late, &Recorded::new(other, HIGH).quotes(4, 20)]);
        assert!(told.is_empty() && quotes["okx"] > 10, "{other}");
    }
}

#[test]
fn when_our_own_clock_is_wrong_nobody_is_refused_for_it() {
    for offset_ms in [30_000, -30_000, 7_200_000] {
        let subject = Recorded::new("kucoin", LOW).quotes(6, offset_ms);
        assert!(is_alerted("own-clock", &subject, offset_ms), "{offset_ms} ms");
        let late = Recorded::new("kucoin", LOW).quotes(6, offset_ms + 45_000);
        assert!(!is_alerted("own-clock-and-late", &late, offset_ms), "{offset_ms} ms, and late");
    }
}

#[test]
fn without_times_of_receipt_no_stamp_makes_a_quote_late() {
    let untimed =
        |name: &str, bid, late_ms| Recorded { is_timed: false, ..Recorded::new(name, bid) }.quotes(4, late_ms);
    let (told, _) = replay("untimed", &[&untimed("okx", LOW, 30_000), &untimed("kraken", HIGH, 20)]);
    assert!(!told.is_empty());
}
