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
    Decoded, FeedCodec, Market, Message, Messages, Requests, SymbolEntry, Symbols, Update, VENUES, Venue, VenueQuote,
    venue,
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
pub(crate) struct Recorded {
    venue: &'static dyn Venue,
    lines: String,
    /// The price that it quotes.
    bid: u64,
    /// When the last line came, and whether lines have a time.
    at_ms: u64,
    is_timed: bool,
    session: Option<Box<dyn spreadwire::venues::ExchangeSide>>,
    /// Reads what the venue sends, to leave out what it says about trading.
    reader: Option<Box<dyn FeedCodec>>,
    /// Requests that were left out for the same reason.
    withheld: Vec<String>,
    is_trading: bool,
    sequence: u64,
    conn: u32,
}

impl Recorded {
    /// Nothing of it yet; it quotes BTC/USDT at `bid` cents.
    pub(crate) fn new(name: &str, bid: u64) -> Self {
        let venue = venue(name).unwrap();
        Self {
            venue,
            lines: String::new(),
            bid,
            at_ms: START_MS,
            is_timed: true,
            session: None,
            reader: None,
            withheld: Vec::new(),
            is_trading: true,
            sequence: 2,
            conn: 0,
        }
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
            is_trading: self.is_trading,
        }
    }

    fn write(&mut self, messages: &[Message]) {
        for message in messages {
            if self.is_about_trading(message) {
                continue;
            }
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

    fn is_about_trading(&mut self, message: &Message) -> bool {
        let Some(reader) = &mut self.reader else { return false };
        let mut decoded = Decoded::default();
        let _ = reader.decode(message.as_bytes(), MonoNs(1), &mut decoded);
        decoded.updates.iter().any(|update| matches!(update, Update::Trading(..)))
    }

    fn codec(&self) -> Box<dyn FeedCodec> {
        let native = self.venue.native("BTC", "USDT").unwrap();
        let entry = SymbolEntry { id: InstrumentId(0), native, symbol: "BTC/USDT".into() };
        self.venue.codec(Symbols::configured(vec![entry]))
    }

    /// From now on its stream says nothing about trading.
    pub(crate) fn mute(mut self) -> Self {
        self.reader = Some(self.codec());
        self
    }

    /// Says whether it trades, and goes on to do so.
    pub(crate) fn says(mut self, is_trading: bool) -> Self {
        (self.is_trading, self.reader) = (is_trading, None);
        let (state, mut said) = (self.state(20), Messages::default());
        let hall = Hall { now: state.time, quote: state.clone() };
        let mut codec = self.codec();
        if let Some(side) = &mut self.session {
            self.withheld.drain(..).for_each(|request| side.receive(&request, &hall, &mut said));
            side.trading(&state, &mut said);
            if is_trading {
                // As a client does that was not quoted in the halt.
                let mut requests = Requests::new();
                codec.resubscribe(&[InstrumentId(0)], &mut requests);
                requests.iter().for_each(|request| side.receive(request, &hall, &mut said));
            }
        }
        let messages: Vec<Message> = said.drain().collect();
        assert!(!messages.is_empty());
        self.write(&messages);
        self
    }

    /// A new connection, subscribed; its first prices are so late.
    fn connect(&mut self, late_ms: i64) {
        self.conn += 1;
        let state = self.state(late_ms);
        let mut codec = self.codec();
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
            // A number of Coinbase's stream counts all its messages, so one that was left out would be a gap.
            for request in requests {
                match self.reader.is_some() && request.contains(r#""status""#) {
                    true => self.withheld.push(request),
                    false => side.receive(&request, &hall, &mut said),
                }
            }
        }
        self.session = Some(side);
    }

    /// Quotes for so long, each so late by its stamp.
    pub(crate) fn quotes(mut self, seconds: u64, late_ms: i64) -> Self {
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
    pub(crate) fn at(mut self, bid: u64) -> Self {
        self.bid = bid;
        self
    }

    /// Says nothing for so long.
    pub(crate) fn silence(mut self, seconds: u64) -> Self {
        self.at_ms += seconds * 1000;
        self
    }

    /// The next quotes come by another connection.
    pub(crate) fn reconnects(mut self) -> Self {
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
    let (mut told, mut quotes) = (Vec::new(), HashMap::<String, usize>::new());
    for line in lines(test, recordings) {
        let text = |key: &str| line[key].as_str().unwrap_or_default().to_owned();
        match (text("type").as_str(), text("change").as_str()) {
            ("quote", _) => *quotes.entry(text("exchange")).or_default() += 1,
            (_, "opened") => told.push(Told([text("buyExchange"), text("sellExchange")])),
            _ => {}
        }
    }
    (told, quotes)
}

/// What a replay of these prints.
pub(crate) fn lines(test: &str, recordings: &[&Recorded]) -> Vec<Value> {
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
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
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
pub(crate) const LOW: u64 = 9850;
pub(crate) const HIGH: u64 = 10_000;

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
fn a_new_connection_to_a_server_whose_clock_is_behind_replaces_the_old_price_at_once() {
    for name in stamped() {
        for (late_ms, gap_s) in [(3000, 0), (3000, 2), (20_000, 0), (20_000, 2)] {
            let seconds = 2 + gap_s + 4;
            let [first, second] = others(name).map(|other| Recorded::new(other, HIGH).quotes(seconds, 20));
            let moved = before(name).silence(gap_s).reconnects().at(LOW).quotes(4, late_ms);
            let lines = lines("clock-behind", &[&moved, &first, &second]);
            let is_new = |line: &&Value| {
                let bid: f64 = line["bid"].as_str().map_or(0.0, |bid| bid.parse().unwrap());
                line["exchange"] == name && (90.0..99.0).contains(&bid)
            };
            let new = lines.iter().filter(is_new).count() as u64;
            // Until it is certain that the old connection has given way, half a second.
            assert!(new >= 4 * 1000 / EVERY_MS - 10, "{name}, {late_ms} ms, {gap_s} s: {new} quotes");
            // Nothing tells a clock that is behind from quotes that are late.
            let is_alert = |line: &Value| line["change"] == "opened";
            assert!(!lines.iter().any(is_alert), "{name}, {late_ms} ms, {gap_s} s");
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
