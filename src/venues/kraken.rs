//! Kraken: WebSocket v2 live, and v1 (array messages, XBT names) for recordings.
//!
//! Frames in, quotes out, on the feed thread. The feed subscribes to `ticker` with the `bbo` trigger: each change
//! of the best bid and ask, with the day's figures beside. Order books come by `book`: cut to the
//! subscribed depth and held against the venue's checksum. Numbers are JSON numbers and are read as text,
//! since the checksum needs every written digit. Nothing is quoted while the venue takes no taker's orders; of single
//! pairs the `instrument` channel tells that.

use std::fmt::Write as _;

use rustc_hash::FxHashMap;
use serde_json::json;

use crate::market::book::{Book, Side};
use crate::market::decimal::POW10;
use crate::market::statistics::{self, DayStatistics};
use crate::market::{Decimal, InstrumentId, Level};
use crate::time::{MonoNs, SECOND, UnixNs};
use crate::venues::codes::{Codes, alias};
use crate::venues::depth::{Depth, LevelChange, PerInstrument};
use crate::venues::ladder::levels_of;
use crate::venues::listing::{self, Fee, Listing, ListingEntry};
use crate::venues::reading::{self, array, level, text};
use crate::venues::{
    BookFacts, BookNote, Check, Cut, DecodeError, Decoded, ExchangeSide, Facts, FeedCodec, Frame, HaltSource,
    Keepalive, Listed, Maintenance, Market, Messages, Notice, Opening, Pace, Requests, StampFacts, Symbols, Top,
    Update, Venue, VenueLimits, VenueQuote, VoidReason,
};
use crate::wire::json::{Parser, Scan, Value};
use crate::wire::timestamp::{parse_rfc3339, write_rfc3339};

/// The venue.
pub(crate) struct Kraken;

/// Read on 2026-11-20: "Spot WebSocket v2" pages Ticker, Book, Status, Ping. The fee is the base tier (survey of
/// 2026-08-26). Without any message for about 60 s the venue closes. The largest message is the first of `instrument`:
/// all assets and pairs, some 2000 of at most 500 bytes each.
/// No pace of requests is published.
static FACTS: Facts = Facts {
    name: "kraken",
    title: "Kraken",
    address: "wss://ws.kraken.com/v2",
    opening: Opening::Direct,
    taker_fee_pct: "0.40",
    keepalive: Keepalive::Client { every_ms: 30_000, cut: Cut::Idle { ms: 60_000 } },
    message_max: 4 << 20,
    request_gap_ms: 100,
    channel: "ticker (bbo)",
    books: Some(BookFacts { channel: "book", levels_max: 1000, check: Check::ChecksumOf(CHECKSUM_LEVELS) }),
    // 9 of 14,518 recorded stamps of version 1 go back on a connection (2.8 s at most), none within an instrument.
    stamps: StampFacts::MICROSECONDS,
    limits: VenueLimits { connects: Pace { count: 150, per_ms: 600_000 }, ..VenueLimits::UNPUBLISHED },
    docs: "https://docs.kraken.com/api/docs/websocket-v2/ticker (2026-11-20)",
};

/// Codes of the v2 feed that mean something else elsewhere (ccxt 4.5.90, `commonCurrencies`, read 2026-11-29). Where the venue renamed nothing they are other
/// coins elsewhere: its LUNA is Terra Classic, its REP the first Augur token.
const CODES: Codes = Codes {
    venue: "Kraken",
    table: &[
        alias("LUNA", "LUNC"),
        alias("LUNA2", "LUNA"),
        alias("UST", "USTC"),
        alias("REP", "REPV1"),
        alias("REPV2", "REP"),
        alias("FEE", "KFEE"),
    ],
};

/// Codes of v1 and REST only, and the usual ones, which v2 has. It refuses the former.
const V1_ONLY: [(&str, &str); 2] = [("XBT", "BTC"), ("XDG", "DOGE")];

/// Symbols in one subscribe request. No limit is published.
const SYMBOLS_PER_REQUEST: usize = 100;

/// What says whether single pairs are traded: `data.pairs[]` with `symbol` and `status`, all of them after the
/// subscription and then what changed (<https://docs.kraken.com/exchange/api-reference/spot-websocket-v2/instrument>,
/// 2026-11-30). It cannot be narrowed to some pairs.
const INSTRUMENT: &str = "instrument";

/// Minimum interval between two publications of an instrument's day figures.
const STATISTICS_EVERY: u64 = SECOND;

impl Venue for Kraken {
    fn facts(&self) -> &'static Facts {
        &FACTS
    }

    fn codes(&self) -> Codes {
        CODES
    }

    fn native(&self, base: &str, quote: &str) -> Result<String, String> {
        if let Some((code, _)) = V1_ONLY.iter().find(|(code, _)| [base, quote].contains(code)) {
            let (base, quote) = (v2(base), v2(quote));
            return Err(format!("Kraken's v2 feed has no {code}: write {base}/{quote}"));
        }
        let [base, quote] = CODES.native(base, quote)?;
        Ok(format!("{base}/{quote}"))
    }

    fn symbol_of(&self) -> fn(&str) -> Option<String> {
        |native| {
            let (base, quote) = native.split_once('/')?;
            let plain = |code: &str| !code.is_empty() && code.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.');
            let (base, quote) = (CODES.canonical(v2(base))?, CODES.canonical(v2(quote))?);
            (plain(base) && plain(quote)).then(|| format!("{base}/{quote}"))
        }
    }

    fn codec(&self, symbols: Symbols) -> Box<dyn FeedCodec> {
        Box::new(KrakenCodec { parser: Parser::default(), feed: KrakenState { symbols, ..KrakenState::default() } })
    }

    fn book_codec(&self, symbols: Symbols, levels: usize) -> Option<Box<dyn FeedCodec>> {
        let levels = depth_for(levels);
        let feed = KrakenState { symbols, book_levels: Some(levels), ..KrakenState::default() };
        Some(Box::new(KrakenCodec { parser: Parser::default(), feed }))
    }

    fn halts(&self) -> HaltSource {
        HaltSource::ListAndStream
    }

    fn listing(&self) -> Listing {
        Listing { address: "https://api.kraken.com", path: "/0/public/AssetPairs" }
    }

    fn read_listing(&self, reply: &[u8]) -> Result<Vec<ListingEntry>, DecodeError> {
        listing::read(
            reply,
            &CODES,
            |root| Some(root.get("result")?.members().map(|(_, row)| row).collect()),
            |row| {
                // `wsname` is v1's; v2 writes the usual codes where v1 had its own. Dark pools (`.d`) have none.
                let (base, quote) = row.text_of("wsname")?.split_once('/')?;
                let [base, quote] = [v2(base), v2(quote)];
                Some(ListingEntry {
                    base: base.to_owned(),
                    quote: quote.to_owned(),
                    native: format!("{base}/{quote}"),
                    is_trading: row.text_of("status").is_none_or(is_trading),
                    tick: listing::step(row, "tick_size").or_else(|| listing::decimals(row, "pair_decimals")),
                    lot: listing::decimals(row, "lot_decimals"),
                    // Tiers by volume: the first is for everybody.
                    fee: Fee::of_percent(row.get("fees").and_then(|tiers| tiers.at(0)?.at(1))),
                })
            },
        )
    }

    fn exchange_side(&self) -> Box<dyn ExchangeSide> {
        Box::new(KrakenExchange::default())
    }

    fn rest(&self, method: &str, target: &str, _base: &str, market: &dyn Market) -> Option<String> {
        listing::asked(self, method, target)?;
        let v1 = |code: &str| {
            let own = V1_ONLY.iter().find(|(_, usual)| *usual == code);
            own.map_or(code, |(own, _)| own).to_owned()
        };
        let row = |it: Listed| {
            let (base, quote) = it.native.split_once('/').unwrap_or((&it.base, &it.quote));
            let [base, quote] = [v1(base), v1(quote)];
            let row = json!({"altname": format!("{base}{quote}"), "wsname": format!("{base}/{quote}"),
                "tick_size": it.tick(), "pair_decimals": it.price_decimals, "lot_decimals": it.size_decimals,
                "status": status_word(it.is_trading)});
            (format!("{base}{quote}"), row)
        };
        let result: serde_json::Map<_, _> = market.listed().into_iter().map(row).collect();
        Some(json!({"error": [], "result": result}).to_string())
    }
}

/// The code that v2 has for one of v1.
fn v2(code: &str) -> &str {
    V1_ONLY.iter().find(|(own, _)| *own == code).map_or(code, |(_, usual)| usual)
}

/// Whether a taker's order is executed in a state of the system or of a pair: not in `cancel_only`, `post_only`,
/// `reduce_only`, `maintenance`, `work_in_progress`, `delisted` and others. While only limit orders are taken, an immediate one takes.
fn is_trading(state: &str) -> bool {
    matches!(state, "online" | "limit_only")
}

struct KrakenCodec {
    parser: Parser,
    feed: KrakenState,
}

/// What is remembered of one connection.
#[derive(Default)]
struct KrakenState {
    symbols: Symbols,
    /// Order books of so many levels are asked for, and not quotes.
    book_levels: Option<usize>,
    halted: bool,
    instruments: PerInstrument<KrakenInstrument>,
    changes: Vec<LevelChange>,
    events: Vec<BookEvent>,
    pings: u64,
}

#[derive(Default)]
struct KrakenInstrument {
    depth: Depth,
    /// Levels a side that the subscription has; 0 before it is known.
    levels: usize,
    told_statistics: Option<MonoNs>,
}

/// One book of a frame: the changes from `from` up to the next event's.
struct BookEvent {
    instrument: InstrumentId,
    whole: bool,
    from: usize,
    /// A snapshot of v1 has none.
    checksum: Option<u32>,
    time: UnixNs,
}

impl FeedCodec for KrakenCodec {
    fn opened(&mut self, requests: &mut Requests) {
        self.feed.halted = false;
        self.feed.instruments.clear();
        if self.feed.book_levels.is_none() && !self.feed.symbols.entries().is_empty() {
            // First, so that it is known before the first quote.
            let params = json!({"channel": INSTRUMENT, "snapshot": true});
            requests.push(json!({"method": "subscribe", "params": params}).to_string());
        }
        for (at, part) in self.feed.symbols.entries().chunks(SYMBOLS_PER_REQUEST).enumerate() {
            let symbols: Vec<&str> = part.iter().map(|entry| entry.native.as_str()).collect();
            let params = self.feed.params("subscribe", &symbols);
            requests.push(serde_json::json!({"method": "subscribe", "params": params, "req_id": at + 1}).to_string());
        }
    }

    fn read(&mut self, frame: &[u8], received: MonoNs, out: &mut Decoded) -> Result<Frame, DecodeError> {
        if let Some(ticker) = scan(frame) {
            let Some(instrument) = self.feed.symbols.find(ticker.symbol) else { return Ok(Frame::Unused) };
            return Ok(self.feed.ticker(instrument, &ticker.top, &ticker.day, received, out));
        }
        let feed = &mut self.feed;
        match self.parser.parse(frame, |root| feed.read(root, received, out)) {
            Ok(result) => result,
            Err(why) => {
                // Frames carry no number: the change could be any instrument's.
                feed.lose_all(out);
                Err(why.into())
            }
        }
    }

    fn resubscribe(&mut self, instruments: &[InstrumentId], requests: &mut Requests) {
        let symbols: Vec<&str> = self.feed.symbols.natives(instruments).collect();
        for method in ["unsubscribe", "subscribe"] {
            let params = self.feed.params(method, &symbols);
            requests.push(serde_json::json!({"method": method, "params": params}).to_string());
        }
    }

    fn keepalive(&mut self, requests: &mut Requests) {
        self.feed.pings += 1;
        requests.push(format!(r#"{{"method":"ping","req_id":{}}}"#, self.feed.pings));
    }

    fn symbols(&self) -> &Symbols {
        &self.feed.symbols
    }

    fn forget(&mut self, instrument: InstrumentId) {
        // A change may be lost; the next checksum shows it.
        self.feed.instruments.of(instrument).depth.forget_published();
    }

    fn book(&self, instrument: InstrumentId) -> Option<&Book> {
        let depth = &self.feed.instruments.get(instrument)?.depth;
        (!self.feed.halted && depth.is_live()).then(|| depth.book())
    }
}

/// A `ticker` frame as both paths read it.
struct KrakenTicker<'a> {
    symbol: &'a [u8],
    top: TickerTop,
    day: Day<'a>,
}

struct TickerTop {
    bid: Level,
    ask: Level,
    time: UnixNs,
}

/// The day's figures as they were written; parsed only when they are published.
#[derive(Default)]
struct Day<'a> {
    last: &'a [u8],
    volume: &'a [u8],
    vwap: &'a [u8],
    low: &'a [u8],
    high: &'a [u8],
    change: &'a [u8],
    change_pct: &'a [u8],
}

/// The fast path: a `ticker` frame of one symbol with all fields in the documented order.
#[inline]
fn scan(frame: &[u8]) -> Option<KrakenTicker<'_>> {
    let mut scan = Scan::new(frame);
    scan.literal(b"{\"channel\":\"ticker\",\"type\":\"")?;
    if scan.literal(b"update").is_none() {
        scan.literal(b"snapshot")?;
    }
    scan.literal(b"\",\"data\":[{\"symbol\":\"")?;
    let symbol = scan.string()?;
    scan.literal(b",\"bid\":")?;
    let bid = scan.decimal()?;
    scan.literal(b",\"bid_qty\":")?;
    let bid_size = scan.decimal()?;
    scan.literal(b",\"ask\":")?;
    let ask = scan.decimal()?;
    scan.literal(b",\"ask_qty\":")?;
    let ask_size = scan.decimal()?;
    let day = scan_day(&mut scan)?;
    scan.literal(b",\"timestamp\":\"")?;
    let time = parse_rfc3339(scan.string()?)?;
    scan.literal(b"}]}")?;
    scan.end()?;
    Some(KrakenTicker { symbol, top: TickerTop { bid: level(bid, bid_size), ask: level(ask, ask_size), time }, day })
}

#[inline]
fn scan_day<'a>(scan: &mut Scan<'a>) -> Option<Day<'a>> {
    scan.literal(b",\"last\":")?;
    let last = scan.number()?;
    scan.literal(b",\"volume\":")?;
    let volume = scan.number()?;
    scan.literal(b",\"vwap\":")?;
    let vwap = scan.number()?;
    scan.literal(b",\"low\":")?;
    let low = scan.number()?;
    scan.literal(b",\"high\":")?;
    let high = scan.number()?;
    scan.literal(b",\"change\":")?;
    let change = scan.number()?;
    scan.literal(b",\"change_pct\":")?;
    let change_pct = scan.number()?;
    if scan.literal(b",\"trades\":").is_some() {
        scan.number()?;
    }
    Some(Day { last, volume, vwap, low, high, change, change_pct })
}

impl KrakenState {
    /// What a request is about.
    fn params(&self, method: &str, symbols: &[&str]) -> serde_json::Value {
        let mut params = match self.book_levels {
            Some(depth) => json!({"channel": "book", "symbol": symbols, "depth": depth}),
            None => json!({"channel": "ticker", "symbol": symbols, "event_trigger": "bbo"}),
        };
        if method == "subscribe" {
            params["snapshot"] = true.into();
        }
        params
    }

    #[inline]
    fn ticker(
        &mut self,
        instrument: InstrumentId,
        top: &TickerTop,
        day: &Day<'_>,
        received: MonoNs,
        out: &mut Decoded,
    ) -> Frame {
        let &TickerTop { bid, ask, time } = top;
        if !self.halted {
            let top = Top { instrument, bid, ask, sequence: 0, exchange_time: time, channel: "ticker" };
            out.updates.push(Update::Top(top));
        }
        let told = &mut self.instruments.of(instrument).told_statistics;
        if told.is_none_or(|told| received.since(told) >= STATISTICS_EVERY)
            && let Some(statistics) = statistics(day, instrument, time)
        {
            *told = Some(received);
            out.updates.push(Update::Statistics(statistics));
        }
        Frame::Data
    }
}

fn statistics(day: &Day<'_>, instrument: InstrumentId, time: UnixNs) -> Option<DayStatistics> {
    let float = |text: &[u8]| std::str::from_utf8(text).ok()?.parse().ok().filter(|n: &f64| n.is_finite());
    Some(DayStatistics {
        instrument,
        last: float(day.last)?,
        high: float(day.high)?,
        low: float(day.low)?,
        change: float(day.change)?,
        change_pct: float(day.change_pct)?,
        quote_volume: statistics::product(float(day.volume)?, float(day.vwap)?),
        exchange_time: time,
    })
}

/// The general path.
impl KrakenState {
    fn read(&mut self, root: Value<'_>, received: MonoNs, out: &mut Decoded) -> Result<Frame, DecodeError> {
        if root.is_array() {
            return self.v1(root, received, out);
        }
        if let Some(channel) = root.text_of("channel") {
            return match channel {
                "ticker" => self.tickers(root, received, out),
                "book" => self.book(root, received, out),
                "status" => {
                    let state = root.get("data").and_then(|data| data.at(0)?.text_of("system"));
                    self.status(state.ok_or(DecodeError::Missing("system"))?, out)
                }
                INSTRUMENT => self.pairs(root, out),
                "heartbeat" => Ok(Frame::Control),
                _ => Ok(Frame::Unused),
            };
        }
        if root.text_of("method").is_some() {
            return Ok(self.reply(root, out));
        }
        match root.text_of("event") {
            Some("systemStatus") => self.status(text(root, "status")?, out),
            Some("subscriptionStatus") => Ok(self.v1_subscription(root, out)),
            Some(_) => Ok(Frame::Control),
            None => Err(DecodeError::Missing("channel")),
        }
    }

    /// The state of the system; see [`is_trading`].
    fn status(&mut self, state: &str, out: &mut Decoded) -> Result<Frame, DecodeError> {
        let was_halted = std::mem::replace(&mut self.halted, !is_trading(state));
        out.updates.push(Update::System(!self.halted));
        if was_halted && !self.halted {
            out.updates.push(Update::Notice(Notice::Resumed));
            self.ask_for_books_again(out);
        }
        if self.halted {
            out.updates.push(Update::Notice(Notice::Said(format!("the system is in state {state}"))));
            for entry in self.symbols.entries() {
                self.instruments.of(entry.id).depth.forget_published();
                out.updates.push(Update::Void(entry.id, VoidReason::Halt));
            }
        }
        Ok(Frame::Control)
    }

    /// Which pairs are traded. A pair without a status keeps its state.
    fn pairs(&self, root: Value<'_>, out: &mut Decoded) -> Result<Frame, DecodeError> {
        let data = root.get("data").ok_or(DecodeError::Missing("data"))?;
        for pair in data.get("pairs").into_iter().flat_map(|pairs| pairs.items()) {
            let known = pair.text_of("symbol").and_then(|symbol| self.symbols.known(symbol.as_bytes()));
            let is_traded = pair.text_of("status").map(is_trading);
            out.updates.extend(known.zip(is_traded).map(|(instrument, it)| Update::Trading(instrument, it)));
        }
        Ok(Frame::Control)
    }

    /// A frame is lost, of whichever book.
    #[cold]
    fn lose_all(&mut self, out: &mut Decoded) {
        if self.book_levels.is_some() && !self.halted {
            let live = self.instruments.iter_mut().filter(|(_, it)| it.depth.is_live());
            out.updates.extend(live.map(|(instrument, _)| Update::Void(instrument, VoidReason::Gap)));
            self.ask_for_books_again(out);
        }
    }

    /// Changes during the halt may not have been published: order books begin anew.
    fn ask_for_books_again(&mut self, out: &mut Decoded) {
        if self.book_levels.is_none() {
            return;
        }
        for (_, it) in self.instruments.iter_mut() {
            it.depth.void();
        }
        for part in self.symbols.entries().chunks(SYMBOLS_PER_REQUEST) {
            let symbols: Vec<&str> = part.iter().map(|entry| entry.native.as_str()).collect();
            for method in ["unsubscribe", "subscribe"] {
                let params = self.params(method, &symbols);
                out.requests.push(serde_json::json!({"method": method, "params": params}).to_string());
            }
        }
    }

    /// The reply to a request of ours: one per symbol.
    fn reply(&mut self, root: Value<'_>, out: &mut Decoded) -> Frame {
        let result = root.get("result");
        if root.get("success").and_then(|success| success.boolean()) == Some(false) {
            let why = root.text_of("error").unwrap_or("refused without a reason");
            out.updates.push(Update::Refused(why.to_owned()));
        } else if root.text_of("method") == Some("subscribe")
            && let Some(result) = result
            && let Some(channel @ ("ticker" | "book")) = result.text_of("channel")
            && let Some(instrument) = result.text_of("symbol").and_then(|symbol| self.symbols.find(symbol.as_bytes()))
        {
            if let Some(levels) = result.get("depth").and_then(|depth| depth.integer()) {
                self.instruments.of(instrument).levels = (levels as usize).min(LEVELS_OF_DEPTH[4].0);
            }
            if self.book_levels.is_none() || channel == "book" {
                out.updates.push(Update::Subscribed(instrument));
            }
        }
        Frame::Control
    }

    fn tickers(&mut self, root: Value<'_>, received: MonoNs, out: &mut Decoded) -> Result<Frame, DecodeError> {
        reading::each(array(root, "data")?.items(), |item| {
            let symbol = text(item, "symbol")?;
            let Some(instrument) = self.symbols.find(symbol.as_bytes()) else { return Ok(Frame::Unused) };
            let (top, day) = out.void_unread(instrument, read_ticker(item))?;
            Ok(self.ticker(instrument, &top, &day, received, out))
        })
    }

    fn book(&mut self, root: Value<'_>, received: MonoNs, out: &mut Decoded) -> Result<Frame, DecodeError> {
        let read = self.book_events(root);
        if read.is_err() {
            for item in root.get("data").into_iter().flat_map(|data| data.items()) {
                self.lose(item.text_of("symbol"), VoidReason::Undecodable, false, out);
            }
        }
        read?;
        self.apply_events("book", false, received, out)
    }

    /// Reads all books of a v2 frame into `changes` and `events`; applies nothing.
    fn book_events(&mut self, root: Value<'_>) -> Result<(), DecodeError> {
        self.changes.clear();
        self.events.clear();
        let whole = match text(root, "type")? {
            "snapshot" => true,
            "update" => false,
            _ => return Err(DecodeError::Shape("a book is a snapshot or an update")),
        };
        for item in array(root, "data")?.items() {
            let Some(instrument) = self.symbols.find(text(item, "symbol")?.as_bytes()) else { continue };
            let from = self.changes.len();
            for (side, field) in [(Side::Bid, "bids"), (Side::Ask, "asks")] {
                for entry in array(item, field)?.items() {
                    let level = Level {
                        price: reading::decimal(entry.get("price"), "price")?,
                        size: reading::decimal(entry.get("qty"), "qty")?,
                    };
                    self.change(side, level);
                }
            }
            let checksum = text(item, "checksum")?.parse().map_err(|_| DecodeError::Missing("checksum"))?;
            let time = item.text_of("timestamp").and_then(|t| parse_rfc3339(t.as_bytes())).unwrap_or_default();
            let levels = &mut self.instruments.of(instrument).levels;
            if whole && *levels == 0 {
                *levels = self.book_levels.unwrap_or_else(|| levels_of_snapshot(&self.changes[from..]));
            }
            self.events.push(BookEvent { instrument, whole, from, checksum: Some(checksum), time });
        }
        Ok(())
    }

    /// Notes one level; there is none at price zero.
    fn change(&mut self, side: Side, level: Level) {
        if !level.price.is_zero() {
            self.changes.push(LevelChange { side, level });
        }
    }

    fn apply_events(
        &mut self,
        channel: &'static str,
        v1: bool,
        received: MonoNs,
        out: &mut Decoded,
    ) -> Result<Frame, DecodeError> {
        let events = std::mem::take(&mut self.events);
        let start = out.updates.len();
        let mut result = Ok(if events.is_empty() { Frame::Unused } else { Frame::Data });
        for (at, event) in events.iter().enumerate() {
            let to = events.get(at + 1).map_or(self.changes.len(), |next| next.from);
            if let Err((error, reason)) = self.apply_event(event, to, channel, received, out) {
                let native = self.symbols.entry(event.instrument).map(|entry| entry.native.clone());
                self.lose(native.as_deref(), reason, v1, out);
                result = Err(error);
            }
        }
        if result.is_err() {
            // A refused frame publishes nothing, not even its other books.
            events.iter().for_each(|event| self.instruments.of(event.instrument).depth.forget_published());
            out.take_back_tops(start);
        }
        self.events = events;
        result
    }

    /// Applies the changes up to `to`.
    ///
    /// # Errors
    /// The book is then not the venue's.
    fn apply_event(
        &mut self,
        event: &BookEvent,
        to: usize,
        channel: &'static str,
        received: MonoNs,
        out: &mut Decoded,
    ) -> Result<(), (DecodeError, VoidReason)> {
        let KrakenInstrument { depth, levels, .. } = self.instruments.of(event.instrument);
        let changes = &mut self.changes[event.from..to];
        if event.whole {
            depth.replace(changes);
        } else if depth.is_live() {
            depth.apply(changes);
        } else {
            return Ok(());
        }
        depth.truncate(*levels);
        if event.checksum.is_some_and(|checksum| checksum != checksum_of(depth.book())) {
            return Err((DecodeError::Checksum, VoidReason::Checksum));
        }
        let wants_books = self.book_levels.is_some();
        if wants_books && depth.is_crossed_too_long(received) {
            return Err((DecodeError::Crossed, VoidReason::Crossed));
        }
        if self.halted {
            return Ok(());
        }
        let (instrument, exchange_time) = (event.instrument, event.time);
        if let Some((bid, ask)) = depth.changed_top() {
            let (bid, ask) = (level(bid.price, bid.size), level(ask.price, ask.size));
            out.updates.push(Update::Top(Top { instrument, bid, ask, sequence: 0, exchange_time, channel }));
        }
        if wants_books {
            out.updates.push(Update::Book(BookNote { instrument, sequence: 0, exchange_time }));
        }
        Ok(())
    }

    /// A book of `symbol` is not to be trusted any more: it is void, and asked for anew.
    #[cold]
    fn lose(&mut self, symbol: Option<&str>, why: VoidReason, v1: bool, out: &mut Decoded) {
        let Some(symbol) = symbol else { return };
        let Some(instrument) = self.symbols.find(symbol.as_bytes()) else { return };
        let KrakenInstrument { depth, levels, .. } = self.instruments.of(instrument);
        if !depth.void() {
            return;
        }
        out.updates.push(Update::Void(instrument, why));
        for kind in ["unsubscribe", "subscribe"] {
            out.requests.push(if v1 {
                format!(r#"{{"event":"{kind}","pair":["{symbol}"],"subscription":{{"name":"book","depth":{levels}}}}}"#)
            } else {
                format!(r#"{{"method":"{kind}","params":{{"channel":"book","symbol":["{symbol}"],"depth":{levels}}}}}"#)
            });
        }
    }
}

/// One element of a `ticker` frame.
fn read_ticker(item: Value<'_>) -> Result<(TickerTop, Day<'_>), DecodeError> {
    let figure = |field: &str| item.text_of(field).unwrap_or_default().as_bytes();
    let bid = reading::side(item, "bid", "bid_qty")?;
    let ask = reading::side(item, "ask", "ask_qty")?;
    let time = item.text_of("timestamp").and_then(|t| parse_rfc3339(t.as_bytes())).unwrap_or_default();
    let day = Day {
        last: figure("last"),
        volume: figure("volume"),
        vwap: figure("vwap"),
        low: figure("low"),
        high: figure("high"),
        change: figure("change"),
        change_pct: figure("change_pct"),
    };
    Ok((TickerTop { bid, ask, time }, day))
}

/// Depths that can be subscribed to, and v1's names of them.
const LEVELS_OF_DEPTH: [(usize, &str); 5] =
    [(10, "book-10"), (25, "book-25"), (100, "book-100"), (500, "book-500"), (1000, "book-1000")];

/// The smallest depth that has so many levels.
fn depth_for(levels: usize) -> usize {
    LEVELS_OF_DEPTH.iter().map(|(depth, _)| *depth).find(|depth| *depth >= levels).unwrap_or(LEVELS_OF_DEPTH[4].0)
}

/// The smallest depth that a snapshot fits in.
fn levels_of_snapshot(changes: &[LevelChange]) -> usize {
    let bids = changes.iter().filter(|change| change.side == Side::Bid).count();
    depth_for(bids.max(changes.len() - bids))
}

/// Levels a side that the checksum covers.
const CHECKSUM_LEVELS: usize = 10;

/// CRC32 over the ten best asks, then the ten best bids: price and size without point and leading zeros,
/// which is the mantissa of each.
fn checksum_of(book: &Book) -> u32 {
    let mut crc = flate2::Crc::new();
    let mut digits = itoa::Buffer::new();
    for side in [Side::Ask, Side::Bid] {
        for level in book.levels(side).take(CHECKSUM_LEVELS) {
            crc.update(digits.format(level.price.mantissa()).as_bytes());
            crc.update(digits.format(level.size.mantissa()).as_bytes());
        }
    }
    crc.sum()
}

/// The v1 protocol: `[channel id, {…}, name, pair]`; five elements when both sides changed.
impl KrakenState {
    fn v1(&mut self, root: Value<'_>, received: MonoNs, out: &mut Decoded) -> Result<Frame, DecodeError> {
        let length = root.len();
        if length < 3 {
            return Err(DecodeError::Shape("an array message has four elements or five"));
        }
        let name = root.at(length - 2).and_then(|v| v.text()).ok_or(DecodeError::Missing("channel name"))?;
        let pair = root.at(length - 1).and_then(|v| v.text()).ok_or(DecodeError::Missing("pair"))?;
        if name == "ticker" {
            return self.v1_ticker(root, pair, received, out);
        }
        let Some((levels, channel)) = LEVELS_OF_DEPTH.into_iter().find(|(_, channel)| *channel == name) else {
            return Ok(Frame::Unused);
        };
        let read = self.v1_book(root, pair, levels);
        if read.is_err() {
            self.lose(Some(pair), VoidReason::Undecodable, true, out);
        }
        read?;
        self.apply_events(channel, true, received, out)
    }

    fn v1_book(&mut self, root: Value<'_>, pair: &str, levels: usize) -> Result<(), DecodeError> {
        self.changes.clear();
        self.events.clear();
        let Some(instrument) = self.symbols.find(pair.as_bytes()) else { return Ok(()) };
        let (mut whole, mut checksum, mut any) = (false, None, false);
        // What lies between the channel id and the two names.
        for part in root.items().skip(1).take(root.len().saturating_sub(3)) {
            for (side, field) in [(Side::Ask, "as"), (Side::Bid, "bs"), (Side::Ask, "a"), (Side::Bid, "b")] {
                let Some(entries) = part.get(field).filter(Value::is_array) else { continue };
                whole |= field.len() == 2;
                any = true;
                for entry in entries.items() {
                    self.change(side, v1_level(entry, field, 1)?);
                }
            }
            if let Some(text) = part.text_of("c") {
                checksum = Some(text.parse().map_err(|_| DecodeError::Missing("c"))?);
            }
        }
        if !any {
            return Err(DecodeError::Missing("a"));
        }
        if !whole && checksum.is_none() {
            return Err(DecodeError::Missing("c"));
        }
        self.instruments.of(instrument).levels = levels;
        self.events.push(BookEvent { instrument, whole, from: 0, checksum, time: UnixNs(0) });
        Ok(())
    }

    fn v1_ticker(
        &mut self,
        root: Value<'_>,
        pair: &str,
        received: MonoNs,
        out: &mut Decoded,
    ) -> Result<Frame, DecodeError> {
        let Some(instrument) = self.symbols.find(pair.as_bytes()) else { return Ok(Frame::Unused) };
        let read = || {
            let item = root.at(1).filter(Value::is_object).ok_or(DecodeError::Missing("ticker"))?;
            let side = |field: &'static str| v1_level(array(item, field)?, field, 2).map(|l| level(l.price, l.size));
            Ok((item, TickerTop { bid: side("b")?, ask: side("a")?, time: UnixNs(0) }))
        };
        let (item, top) = out.void_unread(instrument, read())?;
        let figure =
            |field: &str, at: usize| item.get(field).and_then(|v| v.at(at)?.text()).unwrap_or_default().as_bytes();
        // Each is [today, last 24 hours]; the change is not part of it.
        let day = Day {
            last: figure("c", 0),
            volume: figure("v", 1),
            vwap: figure("p", 1),
            low: figure("l", 1),
            high: figure("h", 1),
            ..Day::default()
        };
        Ok(self.ticker(instrument, &top, &day, received, out))
    }

    fn v1_subscription(&mut self, root: Value<'_>, out: &mut Decoded) -> Frame {
        let channel = root.text_of("channelName").unwrap_or_default();
        match root.text_of("status") {
            Some("error") => {
                let why = root.text_of("errorMessage").unwrap_or("refused without a reason");
                out.updates.push(Update::Refused(why.to_owned()));
            }
            Some("subscribed") if channel == "ticker" || channel.starts_with("book") => {
                let instrument = root.text_of("pair").and_then(|pair| self.symbols.find(pair.as_bytes()));
                out.updates.extend(instrument.map(Update::Subscribed));
            }
            _ => {}
        }
        Frame::Control
    }
}

/// A price at 0 and a size at `size_at` of an array.
fn v1_level(entry: Value<'_>, field: &'static str, size_at: usize) -> Result<Level, DecodeError> {
    Ok(Level { price: reading::decimal(entry.at(0), field)?, size: reading::decimal(entry.at(size_at), field)? })
}

/// The v2 feed from the exchange's chair.
#[derive(Default)]
struct KrakenExchange {
    /// Subscribed tickers, and whether each change of the top is sent (`bbo`) or only those with trades.
    ticker: FxHashMap<String, bool>,
    /// Subscribed books, how many levels each has, and what was shown of it last.
    book: FxHashMap<String, (usize, VenueQuote)>,
    /// Whether it asked which pairs are traded.
    instrument: bool,
}

impl ExchangeSide for KrakenExchange {
    fn opened(&mut self, _target: &str, _market: &dyn Market, out: &mut Messages) {
        let data =
            r#"[{"version":"2.0.10","system":"online","api_version":"v2","connection_id":12072546403441331453}]"#;
        out.push(format!(r#"{{"channel":"status","type":"update","data":{data}}}"#));
    }

    fn receive(&mut self, text: &str, market: &dyn Market, out: &mut Messages) {
        let time = stamp(market.now());
        let Ok(request) = serde_json::from_str::<serde_json::Value>(text) else {
            return out.push(r#"{"error":"Malformed request","success":false}"#.to_owned());
        };
        let id = request["req_id"].as_u64().map_or(String::new(), |id| format!(r#","req_id":{id}"#));
        let method = request["method"].as_str().unwrap_or_default();
        let times = format!(r#""time_in":"{time}","time_out":"{time}""#);
        if method == "ping" {
            return out.push(format!(r#"{{"method":"pong"{id},{times}}}"#));
        }
        let params = &request["params"];
        let channel = params["channel"].as_str().unwrap_or_default();
        if (method, channel) == ("subscribe", INSTRUMENT) {
            self.instrument = true;
            let result = format!(r#"{{"channel":"{INSTRUMENT}","snapshot":true}}"#);
            out.push(format!(r#"{{"method":"{method}"{id},"result":{result},"success":true,{times}}}"#));
            let pairs = market.listed().iter().map(|it| pair_text(&it.native, it.is_trading)).collect::<Vec<_>>();
            return out.push(pairs_frame("snapshot", &pairs.join(",")));
        }
        if !matches!(method, "subscribe" | "unsubscribe") || !matches!(channel, "ticker" | "book") {
            return out.push(format!(
                r#"{{"error":"Unsupported method or channel","method":"{method}"{id},"success":false,{times}}}"#
            ));
        }
        for symbol in params["symbol"].as_array().into_iter().flatten().filter_map(|symbol| symbol.as_str()) {
            let Some(quote) = market.quote(symbol) else {
                let error = format!("Currency pair not supported {symbol}");
                out.push(format!(
                    r#"{{"error":{},"method":"{method}"{id},"success":false,"symbol":{},{times}}}"#,
                    serde_json::Value::from(error),
                    serde_json::Value::from(symbol)
                ));
                continue;
            };
            let options = self.options(method, channel, params, &quote);
            let result = format!(r#"{{"channel":"{channel}"{options},"symbol":"{symbol}"}}"#);
            out.push(format!(r#"{{"method":"{method}"{id},"result":{result},"success":true,{times}}}"#));
            if method == "subscribe" && params["snapshot"].as_bool() != Some(false) {
                let levels = params["depth"].as_u64().map_or(CHECKSUM_LEVELS, |depth| depth as usize);
                out.push(match channel {
                    "ticker" => ticker_frame("snapshot", &quote),
                    _ => book_frame("snapshot", &quote, &quote.changes(None, levels)),
                });
            }
        }
    }

    fn quote(&mut self, quote: &VenueQuote, out: &mut Messages) {
        if self.ticker.get(&quote.native) == Some(&true) {
            out.push(ticker_frame("update", quote));
        }
        let Some((levels, last)) = self.book.get_mut(&quote.native) else { return };
        let mut changes = quote.changes(Some(last), *levels);
        *last = quote.clone();
        // A level that others have pushed out is not sent: the client truncates its own book.
        changes.retain(|change| !change.level.size.is_zero() || !is_beyond(quote, change, *levels));
        if !changes.is_empty() {
            out.push(book_frame("update", quote, &changes));
        }
    }

    fn statistics(&mut self, quote: &VenueQuote, out: &mut Messages) {
        if self.ticker.contains_key(&quote.native) {
            out.push(ticker_frame("update", quote));
        }
    }

    fn heartbeat(&mut self, _now: UnixNs, out: &mut Messages) {
        if !self.ticker.is_empty() || !self.book.is_empty() {
            out.push(r#"{"channel":"heartbeat"}"#.to_owned());
        }
    }

    fn trading(&mut self, quote: &VenueQuote, out: &mut Messages) {
        if self.instrument {
            out.push(pairs_frame("update", &pair_text(&quote.native, quote.is_trading)));
        }
    }

    fn maintenance(&mut self, begins: bool, _now: UnixNs, out: &mut Messages) -> Maintenance {
        let system = if begins { "maintenance" } else { "online" };
        let data = format!(
            r#"[{{"version":"2.0.10","system":"{system}","api_version":"v2","connection_id":12072546403441331453}}]"#
        );
        out.push(format!(r#"{{"channel":"status","type":"update","data":{data}}}"#));
        Maintenance::Halts
    }
}

impl KrakenExchange {
    /// Takes or drops a subscription; answers with what the acknowledgement says of it.
    fn options(&mut self, method: &str, channel: &str, params: &serde_json::Value, quote: &VenueQuote) -> String {
        let symbol = &quote.native;
        match (method, channel) {
            ("subscribe", "ticker") => {
                let trigger = params["event_trigger"].as_str().unwrap_or("trades");
                self.ticker.insert(symbol.clone(), trigger == "bbo");
                format!(r#","event_trigger":{},"snapshot":true"#, serde_json::Value::from(trigger))
            }
            ("subscribe", _) => {
                let levels = params["depth"].as_u64().map_or(CHECKSUM_LEVELS, |depth| depth as usize);
                self.book.insert(symbol.clone(), (levels, quote.clone()));
                format!(r#","depth":{levels},"snapshot":true"#)
            }
            (_, "ticker") => {
                self.ticker.remove(symbol);
                String::new()
            }
            _ => {
                self.book.remove(symbol);
                String::new()
            }
        }
    }
}

/// A pair's status.
const fn status_word(is_trading: bool) -> &'static str {
    if is_trading { "online" } else { "cancel_only" }
}

/// What `instrument` says of a pair.
fn pair_text(native: &str, is_trading: bool) -> String {
    let (base, quote) = native.split_once('/').unwrap_or((native, ""));
    let status = status_word(is_trading);
    format!(r#"{{"symbol":"{native}","base":"{base}","quote":"{quote}","status":"{status}"}}"#)
}

fn pairs_frame(kind: &str, pairs: &str) -> String {
    format!(r#"{{"channel":"{INSTRUMENT}","type":"{kind}","data":{{"assets":[],"pairs":[{pairs}]}}}}"#)
}

/// Whether a level is worse than all that the best `levels` of a side are.
fn is_beyond(quote: &VenueQuote, change: &LevelChange, levels: usize) -> bool {
    let best = quote.levels(change.side, levels);
    let Some(worst) = best.last().filter(|_| best.len() == levels) else { return false };
    match change.side {
        Side::Bid => change.level.price < worst.price,
        Side::Ask => change.level.price > worst.price,
    }
}

fn stamp(time: UnixNs) -> String {
    let mut text = String::new();
    write_rfc3339(time, 6, &mut text);
    text
}

/// A size at the eight decimals that the venue writes, where it has no more.
fn padded(size: Decimal) -> Decimal {
    const DECIMALS: u8 = 8;
    let zeros = DECIMALS.saturating_sub(size.scale());
    match u64::try_from(u128::from(size.mantissa()) * POW10[usize::from(zeros)]) {
        Ok(mantissa) => Decimal::new(mantissa, size.scale() + zeros),
        Err(_) => size,
    }
}

fn verbatim(number: Decimal) -> String {
    let mut digits = Vec::with_capacity(24);
    number.write_verbatim(&mut digits);
    String::from_utf8(digits).unwrap_or_default()
}

/// A book, or changes of it, with the checksum of what the exchange has.
fn book_frame(kind: &str, quote: &VenueQuote, changes: &[LevelChange]) -> String {
    let mut book = Book::default();
    for side in [Side::Bid, Side::Ask] {
        for Level { price, size } in quote.levels(side, CHECKSUM_LEVELS) {
            book.set(side, Level { price, size: padded(size) });
        }
    }
    let entry = |it: Level| format!(r#"{{"price":{},"qty":{}}}"#, verbatim(it.price), verbatim(padded(it.size)));
    let entries = |side| levels_of(changes, side).into_iter().map(entry).collect::<Vec<_>>().join(",");
    format!(
        r#"{{"channel":"book","type":"{kind}","data":[{{"symbol":"{}","bids":[{}],"asks":[{}],"checksum":{},"timestamp":"{}"}}]}}"#,
        quote.native,
        entries(Side::Bid),
        entries(Side::Ask),
        checksum_of(&book),
        stamp(quote.time)
    )
}

fn ticker_frame(kind: &str, quote: &VenueQuote) -> String {
    let VenueQuote { native, bid, ask, day, time, .. } = quote;
    let mut frame = format!(r#"{{"channel":"ticker","type":"{kind}","data":[{{"symbol":"{native}""#);
    let volume = if day.last > 0.0 { day.quote_volume / day.last } else { 0.0 };
    // Writing to a String cannot fail.
    let _ = write!(
        frame,
        r#","bid":{},"bid_qty":{},"ask":{},"ask_qty":{},"last":{},"volume":{volume},"vwap":{}"#,
        verbatim(bid.price),
        verbatim(padded(bid.size)),
        verbatim(ask.price),
        verbatim(padded(ask.size)),
        day.last,
        day.last
    );
    let _ = write!(
        frame,
        r#","low":{},"high":{},"change":{},"change_pct":{:.2},"trades":{},"timestamp":"{}"}}]}}"#,
        day.low,
        day.high,
        day.change,
        day.change_pct,
        quote.sequence,
        stamp(*time)
    );
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_that_kraken_alone_uses_are_renamed_both_ways() {
        let symbol = |native| Kraken.symbol_of()(native);
        for (native, is) in
            [("XBT/USD", "BTC/USD"), ("ALGO/XBT", "ALGO/BTC"), ("XDG/EUR", "DOGE/EUR"), ("BTC/USD", "BTC/USD")]
        {
            assert_eq!(symbol(native).as_deref(), Some(is));
        }
        for (base, native) in [("BTC", "BTC/USD"), ("LUNC", "LUNA/USD"), ("LUNA", "LUNA2/USD"), ("REP", "REPV2/USD")] {
            assert_eq!(Kraken.native(base, "USD").as_deref(), Ok(native));
            assert_eq!(symbol(native), Some(format!("{base}/USD")));
        }
        for (base, instead) in
            [("XBT", "BTC/USD"), ("XDG", "DOGE/USD"), ("LUNA2", "LUNA"), ("UST", "USTC"), ("REPV2", "REP")]
        {
            let why = Kraken.native(base, "USD").unwrap_err();
            assert!(why.ends_with(&format!("write {instead}")), "{why}");
        }
    }

    #[test]
    fn a_size_is_written_with_eight_decimals_where_they_fit() {
        for (size, written) in [("5", "5.00000000"), ("0.5", "0.50000000"), ("0.123456789", "0.123456789")] {
            assert_eq!(verbatim(padded(size.parse().unwrap())), written);
        }
        let most = Decimal::new(u64::MAX, 0);
        assert_eq!(verbatim(padded(most)), u64::MAX.to_string());
    }

    #[test]
    fn while_the_system_is_not_online_there_is_no_book_and_then_it_is_asked_for_anew() {
        const BOOK: &str = r#"{"channel":"book","type":"snapshot","data":[{"symbol":"BTC/USD","bids":[{"price":10.0,"qty":1.00000000}],"asks":[{"price":11.0,"qty":2.00000000}],"checksum":CRC,"timestamp":"2026-08-26T15:16:16.637831Z"}]}"#;
        let status = |system| format!(r#"{{"channel":"status","type":"update","data":[{{"system":"{system}"}}]}}"#);
        let mut crc = flate2::Crc::new();
        crc.update(b"110200000000100100000000");
        let book = BOOK.replace("CRC", &crc.sum().to_string());
        let mut codec = Kraken.book_codec(Symbols::discovering(Kraken.symbol_of()), 20).unwrap();
        let mut updates = |frame: &str| {
            let mut out = Decoded::default();
            codec.decode(frame.as_bytes(), MonoNs(0), &mut out).unwrap();
            (out.updates, codec.book(InstrumentId(0)).is_some())
        };
        let is_told = |updates: &[Update]| updates.iter().any(|update| matches!(update, Update::Book(_)));
        let (told, is_held) = updates(&book);
        assert!(is_told(&told) && is_held, "{told:?}");
        let (told, is_held) = updates(&status("cancel_only"));
        assert!(told.contains(&Update::Void(InstrumentId(0), VoidReason::Halt)) && !is_held, "{told:?}");
        let (told, is_held) = updates(&book);
        assert!(!is_told(&told) && !is_held, "{told:?}");
        let (told, is_held) = updates(&status("online"));
        assert!(!is_told(&told) && !is_held, "{told:?}");
        let (told, is_held) = updates(&book);
        assert!(is_told(&told) && is_held, "{told:?}");
        let (told, is_held) = updates(&status("limit_only"));
        assert!(told == [Update::System(true)] && is_held, "an immediate limit order takes: {told:?}");
    }

    /// The example of the venue's guide (<https://docs.kraken.com/api/docs/guides/spot-ws-book-v2>, 2026-11-30): sizes end
    /// in zeros, and begin with them.
    #[test]
    fn the_checksum_of_the_venues_own_example_holds() {
        let side = |levels: &[(&str, &str)]| {
            let level = |(price, qty): &(&str, &str)| format!(r#"{{"price":{price},"qty":{qty}}}"#);
            levels.iter().map(level).collect::<Vec<_>>().join(",")
        };
        let bids = side(&[
            ("45283.5", "0.10000000"),
            ("45283.4", "1.54582015"),
            ("45282.1", "0.10000000"),
            ("45281.0", "0.10000000"),
            ("45280.3", "1.54592586"),
            ("45279.0", "0.07990000"),
            ("45277.6", "0.03310103"),
            ("45277.5", "0.30000000"),
            ("45277.3", "1.54602737"),
            ("45276.6", "0.15445238"),
        ]);
        let asks = side(&[
            ("45285.2", "0.00100000"),
            ("45286.4", "1.54571953"),
            ("45286.6", "1.54571109"),
            ("45289.6", "1.54560911"),
            ("45290.2", "0.15890660"),
            ("45291.8", "1.54553491"),
            ("45294.7", "0.04454749"),
            ("45296.1", "0.35380000"),
            ("45297.5", "0.09945542"),
            ("45299.5", "0.18772827"),
        ]);
        for (sum, is_right) in [(3_310_070_434_u32, true), (3_310_070_435, false)] {
            let data = format!(r#"[{{"symbol":"BTC/USD","bids":[{bids}],"asks":[{asks}],"checksum":{sum}}}]"#);
            let frame = format!(r#"{{"channel":"book","type":"snapshot","data":{data}}}"#);
            let mut codec = Kraken.codec(Symbols::discovering(Kraken.symbol_of()));
            let read = codec.decode(frame.as_bytes(), MonoNs(0), &mut Decoded::default());
            assert_eq!(read.is_ok(), is_right, "{read:?}");
        }
    }

    #[test]
    fn a_checksum_is_over_the_ten_best_levels_of_each_side() {
        let mut book = Book::default();
        for n in 0..12u64 {
            let size = Decimal::new(100 + n, 2);
            book.set(Side::Bid, Level { price: Decimal::new(500 - n, 1), size });
            book.set(Side::Ask, Level { price: Decimal::new(501 + n, 1), size });
        }
        let with_more = checksum_of(&book);
        book.truncate(10);
        assert_eq!(checksum_of(&book), with_more);
        book.truncate(9);
        assert_ne!(checksum_of(&book), with_more);
    }
}
