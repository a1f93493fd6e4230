//! Upbit spot (Korea): `orderbook` of one unit live, in the short format, of more units for order books; every format and
//! unit count from recordings, and `ticker` for the day's figures and the state of a market.
//!
//! Each message is a whole book and comes as a binary WebSocket message that holds JSON. Numbers are bare and may
//! have an exponent. Symbols are quote first: `KRW-BTC`. A request replaces all earlier ones of its connection,
//! and nothing is acknowledged: the first message of an instrument is. Called on the feed's thread.

use serde_json::{Value as Json, json};

use crate::market::book::{Book, Side};
use crate::market::statistics::{self, DayStatistics};
use crate::market::{Decimal, InstrumentId, Level};
use crate::time::{MonoNs, UnixNs};
use crate::venues::codes::{Codes, other};
use crate::venues::depth::{Depth, LevelChange, OVERTAKEN_MAX_NS, PerInstrument};
use crate::venues::listing::{self, Listing, ListingEntry};
use crate::venues::reading::{self, level, time};
use crate::venues::{
    BookFacts, BookNote, Check, Cut, DecodeError, Decoded, ExchangeSide, Facts, FeedCodec, Frame, HaltSource,
    Keepalive, Market, Messages, Opening, Pace, Requests, StampFacts, Symbols, Top, Update, Venue, VenueLimits,
    VenueQuote,
};
use crate::wire::json::{Parser, Scan, Value};

/// Upbit, spot.
pub(crate) struct Upbit;

/// <https://docs.upbit.com/kr/reference/connection> and `/websocket-orderbook`, `/websocket-ticker`, read
/// 2026-11-21: idle for 120 s is cut, the text `PING` is answered by `{"status":"UP"}`; 5 messages a second and
/// 100 a minute. A BTC or USDT market costs 0.25 %, a KRW market 0.05 % (public pages of 2025, unconfirmed).
static FACTS: Facts = Facts {
    name: "upbit",
    title: "Upbit",
    address: "wss://api.upbit.com/websocket/v1",
    opening: Opening::Direct,
    taker_fee_pct: "0.25",
    keepalive: Keepalive::Client { every_ms: 60_000, cut: Cut::Idle { ms: 120_000 } },
    message_max: 1 << 20,
    request_gap_ms: 600,
    channel: "orderbook.1",
    books: Some(BookFacts { channel: "orderbook", levels_max: 30, check: Check::Whole }),
    // 311 of 1,061 recorded stamps go back on a connection (409 ms at most), none within an instrument.
    stamps: StampFacts::MILLISECONDS,
    limits: VenueLimits { connects: Pace { count: 100, per_ms: 60_000 }, ..VenueLimits::UNPUBLISHED },
    docs: "https://docs.upbit.com/kr/reference/websocket-orderbook (2026-11-21)",
};

/// Levels of a side that a book can be asked for: any other number is taken for 30
/// (<https://docs.upbit.com/kr/reference/websocket-orderbook>, read 2026-11-21).
const UNITS: [usize; 4] = [1, 5, 15, 30];

/// TON is Tokamak Network, not Toncoin (ccxt 4.5.90, `commonCurrencies`, read 2026-11-29).
const CODES: Codes = Codes { venue: "Upbit", table: &[other("TON", "TOKAMAK")] };

impl Venue for Upbit {
    fn facts(&self) -> &'static Facts {
        &FACTS
    }

    fn codes(&self) -> Codes {
        CODES
    }

    fn native(&self, base: &str, quote: &str) -> Result<String, String> {
        let [base, quote] = CODES.native(base, quote)?;
        Ok(format!("{quote}-{base}"))
    }

    fn symbol_of(&self) -> fn(&str) -> Option<String> {
        |native| {
            let (quote, base) = native.split_once('-')?;
            CODES.symbol(base, quote)
        }
    }

    fn codec(&self, symbols: Symbols) -> Box<dyn FeedCodec> {
        Box::new(UpbitCodec { parser: Parser::default(), feed: UpbitState { symbols, ..UpbitState::default() } })
    }

    fn book_codec(&self, symbols: Symbols, levels: usize) -> Option<Box<dyn FeedCodec>> {
        let units = UNITS.into_iter().find(|units| *units >= levels).unwrap_or(30);
        let feed = UpbitState { symbols, units: Some(units), ..UpbitState::default() };
        Some(Box::new(UpbitCodec { parser: Parser::default(), feed }))
    }

    fn halts(&self) -> HaltSource {
        HaltSource::Stream
    }

    fn listing(&self) -> Listing {
        Listing { address: "https://api.upbit.com", path: "/v1/market/all" }
    }

    fn read_listing(&self, reply: &[u8]) -> Result<Vec<ListingEntry>, DecodeError> {
        listing::read(
            reply,
            &CODES,
            |root| root.is_array().then(|| root.items().collect()),
            |row| {
                let native = row.text_of("market")?;
                let (quote, base) = native.split_once('-')?;
                // What is listed is traded; steps depend on the price and are not listed.
                let [base, quote] = [base, quote].map(str::to_owned);
                Some(ListingEntry {
                    base,
                    quote,
                    native: native.to_owned(),
                    is_trading: true,
                    ..ListingEntry::default()
                })
            },
        )
    }

    fn exchange_side(&self) -> Box<dyn ExchangeSide> {
        Box::new(UpbitExchange::default())
    }

    fn rest(&self, method: &str, target: &str, _base: &str, market: &dyn Market) -> Option<String> {
        if method != "GET" {
            return None;
        }
        let listed = market.listed();
        let rows: Vec<Json> = match target.split('?').next()? {
            "/v1/market/all" => {
                let row = |native| json!({"market": native, "korean_name": native, "english_name": native});
                listed.iter().map(|entry| row(entry.native.as_str())).collect()
            }
            "/v1/orderbook/instruments" => {
                let row = |native: &str, tick: Decimal| json!({"market": native, "quote_currency": native.split('-').next(), "tick_size": tick.to_string(), "supported_levels": ["0"]});
                listed.iter().map(|entry| row(&entry.native, Decimal::new(1, entry.price_decimals))).collect()
            }
            _ => return None,
        };
        Some(Json::from(rows).to_string())
    }
}

struct UpbitCodec {
    parser: Parser,
    feed: UpbitState,
}

/// What is remembered of one connection.
#[derive(Default)]
struct UpbitState {
    symbols: Symbols,
    instruments: PerInstrument<UpbitInstrument>,
    /// Order books of so many levels are asked for, and not quotes.
    units: Option<usize>,
    books: PerInstrument<UpbitBook>,
    /// Room for the levels of one message.
    levels: Vec<LevelChange>,
}

/// The book of the last message.
#[derive(Default)]
struct UpbitBook {
    depth: Depth,
    at: UnixNs,
}

#[derive(Clone, Copy, Default)]
struct UpbitInstrument {
    /// Its book has come, which is the only acknowledgement there is.
    heard: bool,
}

impl FeedCodec for UpbitCodec {
    fn opened(&mut self, requests: &mut Requests) {
        self.feed.instruments.clear();
        self.feed.books.clear();
        let entries = self.feed.symbols.entries();
        if entries.is_empty() {
            return;
        }
        let codes: Vec<&str> = entries.iter().map(|entry| entry.native.as_str()).collect();
        let units = self.feed.units.unwrap_or(1);
        let books: Vec<String> = codes.iter().map(|code| format!("{code}.{units}")).collect();
        let mut parts = vec![json!({"ticket": "spreadwire"})];
        if self.feed.units.is_none() {
            // First, so that it is known before the first quote what is traded.
            parts.push(json!({"type": "ticker", "codes": codes}));
        }
        parts.extend([json!({"type": "orderbook", "codes": books}), json!({"format": "SIMPLE"})]);
        requests.push(Json::from(parts).to_string());
    }

    fn read(&mut self, frame: &[u8], _received: MonoNs, out: &mut Decoded) -> Result<Frame, DecodeError> {
        let feed = &mut self.feed;
        if feed.units.is_none()
            && let Some((code, quoted)) = scan(frame)
        {
            let Some(instrument) = feed.symbols.find(code) else { return Ok(Frame::Unused) };
            return Ok(feed.top(instrument, &quoted, out));
        }
        self.parser.parse(frame, |root| feed.read(root, out))?
    }

    /// Each request replaces the one before it, so it is the whole list.
    fn resubscribe(&mut self, _instruments: &[InstrumentId], requests: &mut Requests) {
        self.opened(requests);
    }

    fn keepalive(&mut self, requests: &mut Requests) {
        requests.push("PING".to_owned());
    }

    fn symbols(&self) -> &Symbols {
        &self.feed.symbols
    }

    fn forget(&mut self, instrument: InstrumentId) {
        self.feed.books.of(instrument).depth.void();
    }

    fn book(&self, instrument: InstrumentId) -> Option<&Book> {
        let whole = self.feed.books.get(instrument)?;
        whole.depth.is_live().then(|| whole.depth.book())
    }
}

/// The best of one book.
struct UpbitTop {
    bid: Level,
    ask: Level,
    time: UnixNs,
}

/// The fast path: an `orderbook` of one unit in the short format, in the order of the documentation.
#[inline(always)]
fn scan(frame: &[u8]) -> Option<(&[u8], UpbitTop)> {
    let mut scan = Scan::new(frame);
    scan.literal(b"{\"ty\":\"orderbook\",\"cd\":\"")?;
    let code = scan.string()?;
    scan.literal(b",\"tms\":")?;
    let stamp = scan.integer()?;
    scan.literal(b",\"tas\":")?;
    scan.any_decimal()?;
    scan.literal(b",\"tbs\":")?;
    scan.any_decimal()?;
    scan.literal(b",\"obu\":[{\"ap\":")?;
    let ask = scan.any_decimal()?;
    scan.literal(b",\"bp\":")?;
    let bid = scan.any_decimal()?;
    scan.literal(b",\"as\":")?;
    let ask_size = scan.any_decimal()?;
    scan.literal(b",\"bs\":")?;
    let bid_size = scan.any_decimal()?;
    scan.literal(b"}],\"st\":\"")?;
    scan.string()?;
    if scan.literal(b",\"lv\":").is_some() {
        scan.any_decimal()?;
    }
    scan.literal(b"}")?;
    scan.end()?;
    Some((code, UpbitTop { bid: level(bid, bid_size), ask: level(ask, ask_size), time: time(stamp) }))
}

impl UpbitState {
    #[inline(always)]
    fn top(&mut self, instrument: InstrumentId, quoted: &UpbitTop, out: &mut Decoded) -> Frame {
        let known = self.instruments.of(instrument);
        if !known.heard {
            known.heard = true;
            out.updates.push(Update::Subscribed(instrument));
        }
        let &UpbitTop { bid, ask, time } = quoted;
        let top = Top { instrument, bid, ask, sequence: 0, exchange_time: time, channel: "orderbook" };
        out.updates.push(Update::Top(top));
        Frame::Data
    }
}

/// The general path: every format, any number of units.
impl UpbitState {
    fn read(&mut self, root: Value<'_>, out: &mut Decoded) -> Result<Frame, DecodeError> {
        if !root.is_array() {
            return self.message(root, out);
        }
        // The list formats.
        reading::each(root.items(), |item| self.message(item, out))
    }

    fn message(&mut self, root: Value<'_>, out: &mut Decoded) -> Result<Frame, DecodeError> {
        if let Some(error) = root.get("error") {
            let name = error.text_of("name").unwrap_or("an error without a name");
            let why = error.text_of("message").unwrap_or_default();
            out.updates.push(Update::Refused(format!("{name}: {why}")));
            return Ok(Frame::Control);
        }
        if root.get("status").is_some() {
            return Ok(Frame::Control);
        }
        match either(root, "type", "ty").and_then(|kind| kind.text()).ok_or(DecodeError::Missing("type"))? {
            "orderbook" if self.units.is_some() => self.book(root, out),
            "orderbook" => {
                let Some(instrument) = self.symbols.find(code(root)?) else { return Ok(Frame::Unused) };
                let quoted = out.void_unread(instrument, best(root))?;
                Ok(self.top(instrument, &quoted, out))
            }
            "ticker" => self.ticker(root, out),
            _ => Ok(Frame::Unused),
        }
    }

    /// A whole book. One that is a little older than the last was overtaken.
    fn book(&mut self, root: Value<'_>, out: &mut Decoded) -> Result<Frame, DecodeError> {
        let Some(instrument) = self.symbols.find(code(root)?) else { return Ok(Frame::Unused) };
        self.levels.clear();
        let read = units(root, |bid, ask| {
            let sides = [(Side::Bid, bid), (Side::Ask, ask)].into_iter().filter(|(_, level)| level.is_present());
            self.levels.extend(sides.map(|(side, level)| LevelChange { side, level }));
        });
        if read.is_err() {
            self.books.of(instrument).depth.void();
        }
        let exchange_time = out.void_unread(instrument, read)?;
        let known = self.instruments.of(instrument);
        if !std::mem::replace(&mut known.heard, true) {
            out.updates.push(Update::Subscribed(instrument));
        }
        let book = self.books.of(instrument);
        let behind_ns = book.at.0.saturating_sub(exchange_time.0);
        if behind_ns == 0 || behind_ns > OVERTAKEN_MAX_NS {
            book.at = exchange_time;
            book.depth.replace(&mut self.levels);
            out.updates.push(Update::Book(BookNote { instrument, sequence: 0, exchange_time }));
        }
        Ok(Frame::Data)
    }

    /// The day's figures, and whether the market trades: `PREVIEW` and `DELISTED` do not, nor does one that is suspended,
    /// whatever its state (<https://docs.upbit.com/kr/reference/websocket-ticker>).
    fn ticker(&mut self, root: Value<'_>, out: &mut Decoded) -> Result<Frame, DecodeError> {
        let Some(instrument) = self.symbols.find(code(root)?) else { return Ok(Frame::Unused) };
        let state = either(root, "market_state", "ms").and_then(|state| state.text());
        let is_suspended = either(root, "is_trading_suspended", "its").and_then(|it| it.boolean()).unwrap_or(false);
        let is_traded = !is_suspended && state.is_none_or(|state| state == "ACTIVE");
        out.updates.push(Update::Trading(instrument, is_traded));
        out.updates.extend(statistics(root, instrument).map(Update::Statistics));
        Ok(Frame::Data)
    }
}

/// The member by its long or its short name.
fn either<'a>(root: Value<'a>, long: &str, short: &str) -> Option<Value<'a>> {
    root.get(long).or_else(|| root.get(short))
}

fn code<'a>(root: Value<'a>) -> Result<&'a [u8], DecodeError> {
    either(root, "code", "cd").and_then(|code| code.text()).map(str::as_bytes).ok_or(DecodeError::Missing("code"))
}

/// The best of all units.
fn best(root: Value<'_>) -> Result<UpbitTop, DecodeError> {
    let (mut best_bid, mut best_ask) = (Level::ABSENT, Level::ABSENT);
    let time = units(root, |bid, ask| {
        if bid.is_present() && bid.price > best_bid.price {
            best_bid = bid;
        }
        if ask.is_present() && (!best_ask.is_present() || ask.price < best_ask.price) {
            best_ask = ask;
        }
    })?;
    Ok(UpbitTop { bid: best_bid, ask: best_ask, time })
}

/// Tells bid and ask of each unit; gives the stamp. A side that has fewer levels than the other is filled up with zeros.
fn units(root: Value<'_>, mut tell: impl FnMut(Level, Level)) -> Result<UnixNs, DecodeError> {
    let units = either(root, "orderbook_units", "obu").filter(Value::is_array);
    let stamp = either(root, "timestamp", "tms").and_then(|stamp| stamp.integer());
    let at = time(stamp.ok_or(DecodeError::Missing("timestamp"))?);
    for unit in units.ok_or(DecodeError::Missing("orderbook_units"))?.items() {
        let side = |price: (&'static str, &str), size: (&'static str, &str)| -> Result<Level, DecodeError> {
            let number = |(long, short): (&'static str, &str)| reading::decimal(either(unit, long, short), long);
            Ok(level(number(price)?, number(size)?))
        };
        let ask = side(("ask_price", "ap"), ("ask_size", "as"))?;
        tell(side(("bid_price", "bp"), ("bid_size", "bs"))?, ask);
    }
    Ok(at)
}

/// High and low are of the day since 0:00 UTC, the volume of 24 hours; the change is against yesterday's close.
fn statistics(root: Value<'_>, instrument: InstrumentId) -> Option<DayStatistics> {
    let figure = |long: &str, short: &str| either(root, long, short).and_then(|number| number.float());
    Some(DayStatistics {
        instrument,
        last: figure("trade_price", "tp")?,
        high: figure("high_price", "hp")?,
        low: figure("low_price", "lp")?,
        change: figure("signed_change_price", "scp")?,
        change_pct: statistics::hundredfold(figure("signed_change_rate", "scr")?),
        quote_volume: figure("acc_trade_price_24h", "atp24h")?,
        exchange_time: either(root, "timestamp", "tms").and_then(|stamp| stamp.integer()).map(time).unwrap_or_default(),
    })
}

/// The venue's end of a connection.
#[derive(Default)]
struct UpbitExchange {
    /// Codes, and the levels that are wanted of each.
    books: Vec<(String, usize)>,
    tickers: Vec<String>,
    is_short: bool,
    is_list: bool,
}

/// What one part of a request asks for.
struct RequestPart {
    is_book: bool,
    codes: Vec<(String, usize)>,
    has_snapshot: bool,
    has_realtime: bool,
}

impl ExchangeSide for UpbitExchange {
    fn opened(&mut self, _target: &str, _market: &dyn Market, _out: &mut Messages) {}

    fn receive(&mut self, text: &str, market: &dyn Market, out: &mut Messages) {
        if text == "PING" {
            return out.push(json!({"status": "UP"}).to_string());
        }
        match self.request(text, market) {
            Err((name, message)) => {
                out.push(json!({"error": {"name": name, "message": message}}).to_string().into_bytes());
            }
            Ok(wanted) => {
                (self.books, self.tickers) = (Vec::new(), Vec::new());
                wanted.into_iter().for_each(|part| self.subscribe(part, market, out));
            }
        }
    }

    fn quote(&mut self, quote: &VenueQuote, out: &mut Messages) {
        if let Some((_, units)) = self.books.iter().find(|(code, _)| *code == quote.native) {
            out.push(self.book_frame(quote, *units, "REALTIME"));
        }
    }

    fn statistics(&mut self, quote: &VenueQuote, out: &mut Messages) {
        if self.tickers.contains(&quote.native) {
            out.push(self.ticker_frame(quote, "REALTIME"));
        }
    }

    fn trading(&mut self, quote: &VenueQuote, out: &mut Messages) {
        self.statistics(quote, out);
    }

    fn heartbeat(&mut self, _now: UnixNs, _out: &mut Messages) {}
}

impl UpbitExchange {
    /// Reads a request, or says what is wrong with it, by name and in words.
    fn request(&mut self, text: &str, market: &dyn Market) -> Result<Vec<RequestPart>, (&'static str, &'static str)> {
        let parts: Vec<Json> = serde_json::from_str(text).map_err(|_| ("WRONG_FORMAT", "not a list of parts"))?;
        if !parts.iter().any(|part| part.get("ticket").is_some()) {
            return Err(("NO_TICKET", "the ticket is missing"));
        }
        let format = parts.iter().find_map(|part| part.get("format")?.as_str()).unwrap_or("DEFAULT");
        (self.is_short, self.is_list) = (format.starts_with("SIMPLE"), format.ends_with("_LIST"));
        let mut wanted = Vec::new();
        for part in &parts {
            let Some(kind) = part.get("type").and_then(Json::as_str) else { continue };
            let is_book = match kind {
                "orderbook" => true,
                "ticker" => false,
                _ => return Err(("INVALID_PARAM", "the type is not served here")),
            };
            let codes = part.get("codes").and_then(Json::as_array).ok_or(("NO_CODES", "codes are missing"))?;
            let plain = |text: &str| {
                let (code, units) = text.split_once('.').unwrap_or((text, ""));
                (code.to_owned(), units.parse().ok().filter(|units| UNITS.contains(units)).unwrap_or(30))
            };
            let mut codes: Vec<(String, usize)> = codes.iter().filter_map(Json::as_str).map(plain).collect();
            // Codes that it does not know are left out in silence, unless none remains.
            codes.retain(|(code, _)| market.quote(code).is_some());
            if codes.is_empty() {
                return Err(("NO_CODES", "no known code"));
            }
            let flag = |names: [&str; 2]| names.iter().any(|name| part.get(name).and_then(Json::as_bool) == Some(true));
            let has_realtime = !flag(["isOnlySnapshot", "is_only_snapshot"]);
            let has_snapshot = !flag(["isOnlyRealtime", "is_only_realtime"]);
            wanted.push(RequestPart { is_book, codes, has_snapshot, has_realtime });
        }
        if wanted.is_empty() { Err(("NO_TYPE", "the type is missing")) } else { Ok(wanted) }
    }

    fn subscribe(&mut self, part: RequestPart, market: &dyn Market, out: &mut Messages) {
        for (code, units) in part.codes.iter().filter(|_| part.has_snapshot) {
            let Some(quote) = market.quote(code) else { continue };
            out.push(if part.is_book {
                self.book_frame(&quote, *units, "SNAPSHOT")
            } else {
                self.ticker_frame(&quote, "SNAPSHOT")
            });
        }
        match part.is_book {
            _ if !part.has_realtime => {}
            true => self.books.extend(part.codes),
            false => self.tickers.extend(part.codes.into_iter().map(|(code, _)| code)),
        }
    }

    /// The members by their long names or their short ones, in a binary message.
    fn frame(&self, members: &[(&str, &str, String)]) -> Vec<u8> {
        let name = |&(long, short, _): &(&'_ str, &'_ str, String)| if self.is_short { short } else { long }.to_owned();
        let members: Vec<String> = members.iter().map(|member| format!("\"{}\":{}", name(member), member.2)).collect();
        let object = format!("{{{}}}", members.join(","));
        if self.is_list { format!("[{object}]") } else { object }.into_bytes()
    }

    fn book_frame(&self, quote: &VenueQuote, units: usize, stream: &str) -> Vec<u8> {
        let keys =
            if self.is_short { ["ap", "bp", "as", "bs"] } else { ["ask_price", "bid_price", "ask_size", "bid_size"] };
        let (asks, bids) = (quote.levels(Side::Ask, units), quote.levels(Side::Bid, units));
        // A side that has fewer is filled up with zeros.
        let unit = |at: usize| {
            let [ask, bid] = [&asks, &bids].map(|side| side.get(at).copied().unwrap_or(Level::ABSENT));
            let numbers = [ask.price, bid.price, ask.size, bid.size];
            let members: Vec<String> = keys.iter().zip(numbers).map(|(key, n)| format!("\"{key}\":{n}")).collect();
            format!("{{{}}}", members.join(","))
        };
        let rows: Vec<String> = (0..asks.len().max(bids.len()).max(1)).map(unit).collect();
        let total = |levels: &[Level]| levels.iter().map(|level| level.size.to_f64()).sum::<f64>().to_string();
        self.frame(&[
            ("type", "ty", "\"orderbook\"".to_owned()),
            ("code", "cd", format!("\"{}\"", quote.native)),
            ("timestamp", "tms", quote.time.ms().to_string()),
            ("total_ask_size", "tas", total(&asks)),
            ("total_bid_size", "tbs", total(&bids)),
            ("orderbook_units", "obu", format!("[{}]", rows.join(","))),
            ("stream_type", "st", format!("\"{stream}\"")),
            ("level", "lv", "0".to_owned()),
        ])
    }

    fn ticker_frame(&self, quote: &VenueQuote, stream: &str) -> Vec<u8> {
        let day = &quote.day;
        let change = match day.change {
            change if change > 0.0 => "\"RISE\"",
            change if change < 0.0 => "\"FALL\"",
            _ => "\"EVEN\"",
        };
        let volume = if day.last > 0.0 { day.quote_volume / day.last } else { 0.0 };
        let close = (day.open()).to_string();
        self.frame(&[
            ("type", "ty", "\"ticker\"".to_owned()),
            ("code", "cd", format!("\"{}\"", quote.native)),
            ("opening_price", "op", close.clone()),
            ("high_price", "hp", day.high.to_string()),
            ("low_price", "lp", day.low.to_string()),
            ("trade_price", "tp", day.last.to_string()),
            ("prev_closing_price", "pcp", close),
            ("change", "c", change.to_owned()),
            ("change_price", "cp", day.change.abs().to_string()),
            ("signed_change_price", "scp", day.change.to_string()),
            ("change_rate", "cr", (day.change_rate()).abs().to_string()),
            ("signed_change_rate", "scr", (day.change_rate()).to_string()),
            ("acc_trade_volume_24h", "atv24h", volume.to_string()),
            ("acc_trade_price_24h", "atp24h", day.quote_volume.to_string()),
            ("market_state", "ms", "\"ACTIVE\"".to_owned()),
            ("is_trading_suspended", "its", (!quote.is_trading).to_string()),
            ("timestamp", "tms", quote.time.ms().to_string()),
            ("stream_type", "st", format!("\"{stream}\"")),
        ])
    }
}
