//! HTX (once Huobi) spot: `bbo` live, `detail` for the day, `mbp` for order books; `depth.step0`, the other `mbp` books
//! and `ticker` from recordings as well.
//!
//! Every message of the venue is gzip in a binary message; plain JSON is read, too. Prices are bare numbers and may
//! have an exponent. The venue pings in JSON and waits for the same number. Called on the feed's thread; keeps a
//! book only for `mbp` deltas, which begin with a snapshot that is asked for on the same connection.

use rustc_hash::FxHashMap;
use serde_json::{Value as Json, json};

use crate::market::book::{Book, Side};
use crate::market::statistics::{self, DayStatistics};
use crate::market::{Decimal, InstrumentId, Level};
use crate::time::{MonoNs, SECOND, UnixNs};
use crate::venues::codes::{Codes, other};
use crate::venues::depth::{DeltaOrder, LevelChange, Stitch, Stitched};
use crate::venues::ladder::{self, levels_of};
use crate::venues::listing::{self, Listing, ListingEntry};
use crate::venues::reading::{self, SeenInstruments, Sequences, integer, level};
use crate::venues::{
    BookFacts, BookNote, Check, DecodeError, Decoded, ExchangeSide, Facts, FeedCodec, Frame, Keepalive, Market,
    Messages, Opening, Requests, StampFacts, Symbols, Top, Update, Venue, VenueLimits, VenueQuote, VoidReason,
};
use crate::wire::gzip::{Gunzip, Gzip, MAGIC};
use crate::wire::json::{Parser, Scan, Value};

/// HTX, spot.
pub(crate) struct Htx;

/// <https://www.htx.com/en-us/opend/newApiPages/> as JKorf/HTX.Net and ccxt 4.5.90 have it, and the same heartbeat
/// at <https://huobius.readme.io/reference/general-request-process>, read 2026-11-21: a JSON ping each 5 s, closed
/// after two without an answer. No pace and no number of topics is published: ten a second as client libraries.
static FACTS: Facts = Facts {
    name: "htx",
    title: "HTX",
    address: "wss://api.huobi.pro/ws",
    opening: Opening::Direct,
    taker_fee_pct: "0.20",
    keepalive: Keepalive::Server,
    message_max: 1 << 20,
    request_gap_ms: 100,
    channel: "bbo",
    books: Some(BookFacts { channel: MBP_150, levels_max: 400, check: Check::Sequence }),
    // 6 of 131 recorded stamps go back on a connection (318 ms at most), none within an instrument.
    stamps: StampFacts::MILLISECONDS,
    limits: VenueLimits { instruments: 50, ..VenueLimits::UNPUBLISHED },
    docs: "https://www.htx.com/en-us/opend/newApiPages/ (2026-11-21)",
};

/// The channels of order books. They are at another path than the rest, as ccxt 4.5.90 has it; one of fewer levels, but
/// with each change at once, is there for some instruments only. Each change is the difference of two pictures 100 ms
/// apart (<https://www.huobi.com/support/en-us/detail/900001526643/>, read 2026-11-21), so what comes into the window is
/// told, and what leaves it as well: a recording of 2020-07 shows both.
const MBP_150: &str = "mbp.150";
const MBP_400: &str = "mbp.400";

/// Quote assets: those of the venue's listing of 2021-04, and later ones. There is no USD market.
const QUOTES: &[&str] = &["USDT", "BTC", "ETH", "HUSD", "HT", "TRX", "USDC", "USDD"];

/// The most bytes that one message may unpack to.
const UNPACKED_MAX: usize = 8 << 20;

/// Seconds between two pings of the venue.
const PING_EVERY: u64 = 5;

/// Codes that mean something else elsewhere (ccxt 4.5.90, `commonCurrencies`, read 2026-11-29).
const CODES: Codes = Codes {
    venue: "HTX",
    table: &[
        other("BIFI", "BITCOINFILE"),
        other("FUD", "FTXUSERSDEBT"),
        other("GET", "THEMIS"),
        other("GTC", "GAMECOM"),
        other("HIT", "HITCHAIN"),
        other("NGL", "GFNGL"),
        other("PNT", "PENTA"),
        other("SBTC", "SUPERBITCOIN"),
        other("SOUL", "SOULSAVER"),
    ],
};

impl Venue for Htx {
    fn facts(&self) -> &'static Facts {
        &FACTS
    }

    fn codes(&self) -> Codes {
        CODES
    }

    fn native(&self, base: &str, quote: &str) -> Result<String, String> {
        let [base, quote] = CODES.native(base, quote)?;
        if quote == "USD" {
            return Err("HTX has no market in USD; the dollar coins there are USDT, USDC and USDD".to_owned());
        }
        Ok(base.to_lowercase() + &quote.to_lowercase())
    }

    fn symbol_of(&self) -> fn(&str) -> Option<String> {
        |native| {
            let is_lower = !native.bytes().any(|byte| byte.is_ascii_uppercase());
            CODES.renamed(&is_lower.then(|| reading::split(&native.to_uppercase(), QUOTES, &[]))??)
        }
    }

    fn codec(&self, symbols: Symbols) -> Box<dyn FeedCodec> {
        Box::new(HtxCodec {
            gunzip: Gunzip::new(UNPACKED_MAX),
            parser: Parser::default(),
            feed: HtxState { symbols, ..HtxState::default() },
        })
    }

    fn book_codec(&self, symbols: Symbols, levels: usize) -> Option<Box<dyn FeedCodec>> {
        let channel = if levels <= 150 { MBP_150 } else { MBP_400 };
        Some(Box::new(HtxCodec {
            gunzip: Gunzip::new(UNPACKED_MAX),
            parser: Parser::default(),
            feed: HtxState { symbols, book_channel: Some(channel), ..HtxState::default() },
        }))
    }

    fn book_address(&self, address: &str) -> String {
        match address.strip_suffix("/ws") {
            Some(host) => format!("{host}/feed"),
            None => address.to_owned(),
        }
    }

    fn listing(&self) -> Listing {
        Listing { address: "https://api.huobi.pro", path: "/v2/settings/common/symbols" }
    }

    fn read_listing(&self, reply: &[u8]) -> Result<Vec<ListingEntry>, DecodeError> {
        listing::read(
            reply,
            &CODES,
            |root| listing::array_of(root, "data"),
            |row| {
                // By the names of the second list, or of the first.
                let word = |new: &str, old: &str| row.text_of(new).or(row.text_of(old));
                let is_enabled = row.get("te").and_then(|te| te.boolean()).unwrap_or(true)
                    && row.text_of("api-trading").is_none_or(|state| state == "enabled");
                Some(ListingEntry {
                    base: word("bc", "base-currency")?.to_uppercase(),
                    quote: word("qc", "quote-currency")?.to_uppercase(),
                    native: word("sc", "symbol")?.to_owned(),
                    is_trading: row.text_of("state") == Some("online") && is_enabled,
                    tick: listing::decimals(row, "tpp").or(listing::decimals(row, "price-precision")),
                    lot: listing::decimals(row, "tap").or(listing::decimals(row, "amount-precision")),
                    fee: None,
                })
            },
        )
    }

    fn exchange_side(&self) -> Box<dyn ExchangeSide> {
        Box::new(HtxExchange::default())
    }

    fn rest(&self, method: &str, target: &str, _base: &str, market: &dyn Market) -> Option<String> {
        if method != "GET" {
            return None;
        }
        let listed = market.listed();
        let rows: Vec<Json> = match target.split('?').next()? {
            "/v2/settings/common/symbols" => listed
                .iter()
                .map(|entry| {
                    json!({
                        "sc": entry.native, "bc": entry.base.to_lowercase(), "qc": entry.quote.to_lowercase(),
                        "dn": format!("{}/{}", entry.base, entry.quote), "state": state_word(entry.is_trading), "te": entry.is_trading,
                        "tpp": entry.price_decimals, "tap": entry.size_decimals,
                    })
                })
                .collect(),
            "/v1/common/symbols" => listed
                .iter()
                .map(|entry| {
                    json!({
                        "symbol": entry.native, "base-currency": entry.base.to_lowercase(),
                        "quote-currency": entry.quote.to_lowercase(), "price-precision": entry.price_decimals,
                        "amount-precision": entry.size_decimals, "state": state_word(entry.is_trading), "api-trading": "enabled",
                    })
                })
                .collect(),
            _ => return None,
        };
        Some(json!({"status": "ok", "data": rows, "ts": market.now().ms().to_string()}).to_string())
    }
}

/// A symbol's state in the list.
const fn state_word(is_trading: bool) -> &'static str {
    if is_trading { "online" } else { "suspend" }
}

struct HtxCodec {
    gunzip: Gunzip,
    parser: Parser,
    feed: HtxState,
}

/// The book of one instrument on one channel.
#[derive(Clone, Copy)]
struct HtxBookTopic<'a> {
    instrument: InstrumentId,
    symbol: &'a str,
    channel: &'static str,
    /// Levels per side of this channel.
    levels_max: usize,
}

/// What is remembered of one connection.
#[derive(Default)]
struct HtxState {
    symbols: Symbols,
    /// Order books are wanted of this channel, and no tops.
    book_channel: Option<&'static str>,
    /// Instruments that `bbo` has quoted.
    seen: SeenInstruments,
    sequences: Sequences,
    /// The numbers of the whole books.
    whole_sequences: FxHashMap<&'static str, Sequences>,
    books: FxHashMap<(InstrumentId, &'static str), Stitched>,
    changes: Vec<LevelChange>,
}

impl FeedCodec for HtxCodec {
    fn opened(&mut self, requests: &mut Requests) {
        let feed = &mut self.feed;
        feed.seen.clear();
        feed.sequences.clear();
        feed.whole_sequences.clear();
        feed.books.clear();
        let mut id = 0;
        let channels: &[&str] = feed.book_channel.as_slice();
        for channel in if channels.is_empty() { &["bbo", "detail"] } else { channels } {
            for entry in feed.symbols.entries() {
                id += 1;
                requests.push(format!(r#"{{"sub":"market.{}.{channel}","id":"{id}"}}"#, entry.native));
            }
        }
    }

    fn read(&mut self, frame: &[u8], received: MonoNs, out: &mut Decoded) -> Result<Frame, DecodeError> {
        let Self { gunzip, parser, feed } = self;
        let frame =
            if frame.starts_with(&MAGIC) { gunzip.unpack(frame).map_err(|_| DecodeError::Gzip)? } else { frame };
        if let Some((symbol, bbo)) = scan(frame) {
            let Some(instrument) = feed.symbols.find(symbol) else { return Ok(Frame::Unused) };
            return Ok(feed.bbo(instrument, &bbo, received, out));
        }
        match parser.parse(frame, |root| feed.read(root, received, out)) {
            Ok(read) => read,
            Err(why) => {
                // What the packed frame names is seen here only.
                for instrument in feed.symbols.named_in(frame) {
                    feed.forget(instrument);
                    out.undecodable(instrument);
                }
                Err(why.into())
            }
        }
    }

    fn forget(&mut self, instrument: InstrumentId) {
        self.feed.forget(instrument);
    }

    fn resubscribe(&mut self, instruments: &[InstrumentId], requests: &mut Requests) {
        let channel = self.feed.channel();
        for native in self.feed.symbols.natives(instruments) {
            for kind in ["unsub", "sub"] {
                requests.push(format!(r#"{{"{kind}":"market.{native}.{channel}","id":"again"}}"#));
            }
        }
    }

    fn symbols(&self) -> &Symbols {
        &self.feed.symbols
    }

    fn book(&self, instrument: InstrumentId) -> Option<&Book> {
        let depth = &self.feed.books.get(&(instrument, self.feed.book_channel?))?.depth;
        depth.is_live().then_some(depth.book())
    }
}

/// What a `bbo` message says.
struct HtxBbo {
    bid: Level,
    ask: Level,
    /// 0 where the frame has none.
    sequence: u64,
    time: UnixNs,
}

/// The fast path: `bbo` in the order of members that the venue writes.
#[inline(always)]
fn scan(frame: &[u8]) -> Option<(&[u8], HtxBbo)> {
    let mut scan = Scan::new(frame);
    scan.literal(b"{\"ch\":\"market.")?;
    let symbol = scan.string()?.strip_suffix(b".bbo")?;
    scan.literal(b",\"ts\":")?;
    scan.integer()?;
    scan.literal(b",\"tick\":{")?;
    let sequence = match scan.literal(b"\"seqId\":") {
        Some(()) => {
            let sequence = scan.integer()?;
            scan.literal(b",")?;
            sequence
        }
        None => 0,
    };
    scan.literal(b"\"ask\":")?;
    let ask = scan.any_decimal()?;
    scan.literal(b",\"askSize\":")?;
    let ask_size = scan.any_decimal()?;
    scan.literal(b",\"bid\":")?;
    let bid = scan.any_decimal()?;
    scan.literal(b",\"bidSize\":")?;
    let bid_size = scan.any_decimal()?;
    scan.literal(b",\"quoteTime\":")?;
    let time = reading::time(scan.integer()?);
    scan.literal(b",\"symbol\":\"")?;
    scan.string()?;
    scan.literal(b"}}")?;
    scan.end()?;
    Some((symbol, HtxBbo { bid: level(bid, bid_size), ask: level(ask, ask_size), sequence, time }))
}

impl HtxState {
    /// What is asked for.
    fn channel(&self) -> &'static str {
        self.book_channel.unwrap_or("bbo")
    }

    #[inline(always)]
    fn bbo(&mut self, instrument: InstrumentId, bbo: &HtxBbo, received: MonoNs, out: &mut Decoded) -> Frame {
        self.seen.insert(instrument);
        let &HtxBbo { bid, ask, sequence, time } = bbo;
        let top = Top { instrument, bid, ask, sequence, exchange_time: time, channel: "bbo" };
        self.sequences.publish_sent(top, received, out);
        Frame::Data
    }

    /// The next tops are published even if they equal the last ones.
    fn forget(&mut self, instrument: InstrumentId) {
        let its = self.books.iter_mut().filter(|((id, _), _)| *id == instrument);
        its.for_each(|(_, book)| book.depth.forget_published());
    }

    /// The general path.
    fn read(&mut self, root: Value<'_>, received: MonoNs, out: &mut Decoded) -> Result<Frame, DecodeError> {
        if let Some(topic) = root.text_of("ch") {
            return self.data(topic, root, received, out);
        }
        if let Some(ping) = root.get("ping") {
            let number = ping.integer().ok_or(DecodeError::Missing("ping"))?;
            out.answers.push(format!(r#"{{"pong":{number}}}"#));
            return Ok(Frame::Control);
        }
        match root.text_of("status") {
            Some("ok") => match root.text_of("rep") {
                Some(topic) => self.reply(topic, root, out),
                None => Ok(self.acknowledged(root.text_of("subbed").unwrap_or_default(), out)),
            },
            Some(_) => {
                let why = root.text_of("err-msg").or(root.text_of("err-code")).unwrap_or("refused without a reason");
                out.updates.push(Update::Refused(why.to_owned()));
                Ok(Frame::Control)
            }
            None if root.get("pong").is_some() => Ok(Frame::Control),
            None => Err(DecodeError::Missing("ch")),
        }
    }

    fn acknowledged(&mut self, topic: &str, out: &mut Decoded) -> Frame {
        let Some((symbol, channel)) = parts(topic) else { return Frame::Control };
        let Some(instrument) = self.symbols.find(symbol.as_bytes()) else { return Frame::Control };
        if channel == self.channel() {
            out.updates.push(Update::Subscribed(instrument));
        }
        if delta_book(channel).is_some() {
            out.requests.push(snapshot_request(symbol, channel));
        }
        Frame::Control
    }

    fn data(
        &mut self,
        topic: &str,
        root: Value<'_>,
        received: MonoNs,
        out: &mut Decoded,
    ) -> Result<Frame, DecodeError> {
        let Some((symbol, channel)) = parts(topic) else { return Ok(Frame::Unused) };
        let Some(instrument) = self.symbols.find(symbol.as_bytes()) else { return Ok(Frame::Unused) };
        match channel {
            "bbo" => {
                let bbo = out.void_unread(instrument, read_bbo(root))?;
                return Ok(self.bbo(instrument, &bbo, received, out));
            }
            "detail" => out.updates.extend(statistics(instrument, tick_of(root)?, root).map(Update::Statistics)),
            "ticker" => {
                let is_quoted = self.symbols.is_discovering() || !self.seen.contains(instrument);
                let read = read_ticker(root);
                let read = if is_quoted { out.void_unread(instrument, read) } else { read };
                let (tick, bid, ask, exchange_time) = read?;
                if is_quoted {
                    let top = Top { instrument, bid, ask, sequence: 0, exchange_time, channel: "ticker" };
                    out.updates.push(Update::Top(top));
                }
                out.updates.extend(statistics(instrument, tick, root).map(Update::Statistics));
            }
            _ => {
                if let Some((channel, levels_max)) = delta_book(channel) {
                    let topic = HtxBookTopic { instrument, symbol, channel, levels_max };
                    return self.delta(topic, root, received, out);
                }
                let Some(channel) = WHOLE_BOOKS.into_iter().find(|name| *name == channel) else {
                    return Ok(Frame::Unused);
                };
                return self.whole_book(instrument, channel, root, received, out);
            }
        }
        Ok(Frame::Data)
    }

    /// A message that holds the best levels of a book, and all that is needed.
    fn whole_book(
        &mut self,
        instrument: InstrumentId,
        channel: &'static str,
        root: Value<'_>,
        received: MonoNs,
        out: &mut Decoded,
    ) -> Result<Frame, DecodeError> {
        let read = self.read_whole(root);
        let book = self.books.entry((instrument, channel)).or_default();
        if read.is_err() {
            book.void();
        }
        let (sequence, exchange_time) = out.void_unread(instrument, read)?;
        book.depth.replace(&mut self.changes);
        if let Some((bid, ask)) = book.depth.changed_top() {
            let top = Top { instrument, bid, ask, sequence, exchange_time, channel };
            self.whole_sequences.entry(channel).or_default().publish_sent(top, received, out);
        }
        Ok(Frame::Data)
    }

    /// Reads a whole book into `changes`; gives its number, 0 for none, and its stamp.
    fn read_whole(&mut self, root: Value<'_>) -> Result<(u64, UnixNs), DecodeError> {
        let tick = tick_of(root)?;
        self.read_changes(tick)?;
        let number = ["version", "seqNum"].into_iter().find_map(|name| tick.get(name)?.integer()).unwrap_or(0);
        let time = tick.get("ts").and_then(|ts| ts.integer()).map_or_else(|| stamp(root), |ts| Ok(reading::time(ts)));
        Ok((number, time?))
    }

    fn delta(
        &mut self,
        topic: HtxBookTopic<'_>,
        root: Value<'_>,
        received: MonoNs,
        out: &mut Decoded,
    ) -> Result<Frame, DecodeError> {
        let HtxBookTopic { instrument, symbol, channel, .. } = topic;
        let read = tick_of(root).and_then(|tick| {
            self.read_changes(tick)?;
            let from = integer(tick, "prevSeqNum")?.saturating_add(1);
            Ok((DeltaOrder { from: Some(from), to: integer(tick, "seqNum")? }, stamp(root)?))
        });
        let book = self.books.entry((instrument, channel)).or_default();
        let why = match read {
            Ok((order, time)) => match book.delta(order, (time, received), &self.changes) {
                Stitch::Applied if !book.depth.is_crossed_too_long(received) => {
                    self.changed(topic, order.to, time, out);
                    return Ok(Frame::Data);
                }
                Stitch::Old | Stitch::Waits => return Ok(Frame::Data),
                Stitch::Gap => DecodeError::Gap,
                Stitch::Applied => {
                    book.void();
                    DecodeError::Crossed
                }
            },
            // What it said is lost, so the book is.
            Err(why) if book.void() => why,
            Err(why) => return Err(why),
        };
        out.updates.push(Update::Void(instrument, why.loss().unwrap_or(VoidReason::Undecodable)));
        out.requests.push(snapshot_request(symbol, channel));
        Err(why)
    }

    /// The answer to a request of ours: the snapshot that `mbp` deltas begin with.
    fn reply(&mut self, topic: &str, root: Value<'_>, out: &mut Decoded) -> Result<Frame, DecodeError> {
        let Some((symbol, channel)) = parts(topic) else { return Ok(Frame::Unused) };
        let Some((channel, levels_max)) = delta_book(channel) else { return Ok(Frame::Unused) };
        let Some(instrument) = self.symbols.find(symbol.as_bytes()) else { return Ok(Frame::Unused) };
        let data = root.get("data").filter(Value::is_object).ok_or(DecodeError::Missing("data"))?;
        self.read_changes(data)?;
        let (number, time) = (integer(data, "seqNum")?, stamp(root)?);
        let book = self.books.entry((instrument, channel)).or_default();
        let was_live = book.depth.is_live();
        // It was on its way while changes were sent: see `resubscribe`.
        if was_live && number < book.last() {
            return Ok(Frame::Control);
        }
        match book.snapshot(number, &mut self.changes) {
            // What followed it was lost, or went on before it came: another one is needed.
            Stitch::Gap => {
                if was_live {
                    out.updates.push(Update::Void(instrument, VoidReason::Gap));
                }
                out.requests.push(snapshot_request(symbol, channel));
                Err(DecodeError::Gap)
            }
            _ => {
                let number = book.last();
                self.changed(HtxBookTopic { instrument, symbol, channel, levels_max }, number, time, out);
                Ok(Frame::Data)
            }
        }
    }

    /// A live book has changed: publishes its top, or says that it did.
    fn changed(&mut self, topic: HtxBookTopic<'_>, sequence: u64, exchange_time: UnixNs, out: &mut Decoded) {
        let HtxBookTopic { instrument, channel, levels_max, .. } = topic;
        let book = self.books.entry((instrument, channel)).or_default();
        book.depth.truncate(levels_max);
        publish(book, instrument, sequence, exchange_time, channel, out);
        if self.book_channel == Some(channel) {
            out.updates.push(Update::Book(BookNote { instrument, sequence, exchange_time }));
        }
    }

    /// Reads both sides into `changes`; a side on which nothing changed may be missing.
    fn read_changes(&mut self, object: Value<'_>) -> Result<(), DecodeError> {
        self.changes.clear();
        for (side, field) in [(Side::Bid, "bids"), (Side::Ask, "asks")] {
            let Some(list) = object.get(field).filter(|list| !list.is_null()) else { continue };
            if !list.is_array() {
                return Err(DecodeError::Missing(field));
            }
            for pair in list.items() {
                let level =
                    Level { price: reading::decimal(pair.at(0), field)?, size: reading::decimal(pair.at(1), field)? };
                if !level.price.is_zero() {
                    self.changes.push(LevelChange { side, level });
                }
            }
        }
        Ok(())
    }
}

/// Books that come whole: the channels, and how they are shown. Steps above 0 are rounded, and no top of book.
const WHOLE_BOOKS: [&str; 4] = ["depth.step0", "mbp.refresh.5", "mbp.refresh.10", "mbp.refresh.20"];

/// Books that come as deltas, and how many levels a side they have.
const DELTA_BOOKS: [(&str, usize); 4] = [("mbp.5", 5), ("mbp.20", 20), ("mbp.150", 150), ("mbp.400", 400)];

fn delta_book(channel: &str) -> Option<(&'static str, usize)> {
    DELTA_BOOKS.into_iter().find(|(name, _)| *name == channel)
}

/// Symbol and channel of `market.<symbol>.<channel>`.
fn parts(topic: &str) -> Option<(&str, &str)> {
    topic.strip_prefix("market.")?.split_once('.')
}

fn snapshot_request(symbol: &str, channel: &str) -> String {
    format!(r#"{{"req":"market.{symbol}.{channel}","id":"{symbol}.{channel}"}}"#)
}

fn read_bbo(root: Value<'_>) -> Result<HtxBbo, DecodeError> {
    let tick = tick_of(root)?;
    let (bid, ask) = (side(tick, "bid", "bidSize")?, side(tick, "ask", "askSize")?);
    let sequence = tick.get("seqId").and_then(|sequence| sequence.integer()).unwrap_or(0);
    Ok(HtxBbo { bid, ask, sequence, time: reading::time(integer(tick, "quoteTime")?) })
}

/// The body of a `ticker`, its bid, ask and stamp.
fn read_ticker(root: Value<'_>) -> Result<(Value<'_>, Level, Level, UnixNs), DecodeError> {
    let tick = tick_of(root)?;
    Ok((tick, side(tick, "bid", "bidSize")?, side(tick, "ask", "askSize")?, stamp(root)?))
}

fn tick_of(root: Value<'_>) -> Result<Value<'_>, DecodeError> {
    root.get("tick").filter(Value::is_object).ok_or(DecodeError::Missing("tick"))
}

fn stamp(root: Value<'_>) -> Result<UnixNs, DecodeError> {
    integer(root, "ts").map(reading::time)
}

fn publish(
    book: &mut Stitched,
    instrument: InstrumentId,
    sequence: u64,
    exchange_time: UnixNs,
    channel: &'static str,
    out: &mut Decoded,
) {
    if let Some((bid, ask)) = book.depth.changed_top() {
        out.updates.push(Update::Top(Top { instrument, bid, ask, sequence, exchange_time, channel }));
    }
}

/// One side of a quote; `null` or nothing at all is an empty side.
fn side(tick: Value<'_>, price: &'static str, size: &'static str) -> Result<Level, DecodeError> {
    let is_there = |field: &str| tick.get(field).is_some_and(|value| !value.is_null());
    if !is_there(price) && !is_there(size) {
        return Ok(Level::ABSENT);
    }
    reading::side(tick, price, size)
}

/// Figures of 24 hours; the change is against the price a day ago.
fn statistics(instrument: InstrumentId, tick: Value<'_>, root: Value<'_>) -> Option<DayStatistics> {
    let figure = |field: &str| tick.get(field).and_then(|number| number.float());
    let (last, open) = (figure("close")?, figure("open")?);
    Some(DayStatistics {
        instrument,
        last,
        high: figure("high")?,
        low: figure("low")?,
        change: statistics::difference(last, open),
        change_pct: statistics::change_pct(last, open),
        quote_volume: figure("vol")?,
        exchange_time: stamp(root).unwrap_or_default(),
    })
}

/// The venue's end of a connection.
#[derive(Default)]
struct HtxExchange {
    gzip: Gzip,
    /// By topic.
    subscriptions: Vec<HtxSubscription>,
    seconds: u64,
}

struct HtxSubscription {
    channel: &'static str,
    /// What was sent last.
    shown: VenueQuote,
}

/// The channels that the simulated venue serves.
const SERVED: [&str; 11] = [
    "bbo",
    "detail",
    "ticker",
    "depth.step0",
    "mbp.refresh.5",
    "mbp.refresh.10",
    "mbp.refresh.20",
    "mbp.5",
    "mbp.20",
    "mbp.150",
    "mbp.400",
];

impl ExchangeSide for HtxExchange {
    fn opened(&mut self, _target: &str, _market: &dyn Market, _out: &mut Messages) {}

    fn receive(&mut self, text: &str, market: &dyn Market, out: &mut Messages) {
        let request = serde_json::from_str::<Json>(text).unwrap_or(Json::Null);
        let (id, now) = (request.get("id").cloned().unwrap_or(Json::Null), market.now().ms());
        if let Some(number) = request.get("ping") {
            return self.say(&json!({"pong": number}).to_string(), out);
        }
        if request.get("pong").is_some() {
            return;
        }
        let named = ["sub", "unsub", "req"].into_iter().find_map(|kind| Some((kind, request.get(kind)?.as_str()?)));
        let Some((kind, topic)) = named else {
            return self.say(&error(&id, "invalid command", now), out);
        };
        let Some((quote, channel)) = parts(topic).and_then(|(symbol, channel)| {
            Some((market.quote(symbol)?, SERVED.into_iter().find(|served| *served == channel)?))
        }) else {
            return self.say(&error(&id, &format!("invalid topic {topic}"), now), out);
        };
        let is_it = |known: &HtxSubscription| known.shown.native == quote.native && known.channel == channel;
        match kind {
            "sub" => {
                self.say(&json!({"id": id, "status": "ok", "subbed": topic, "ts": now}).to_string(), out);
                if !self.subscriptions.iter().any(is_it) {
                    self.subscribe(quote, channel, out);
                }
            }
            "unsub" => {
                self.subscriptions.retain(|known| !is_it(known));
                self.say(&json!({"id": id, "status": "ok", "unsubbed": topic, "ts": now}).to_string(), out);
            }
            _ => {
                // The book as it was sent, so that the next delta follows it.
                let shown = self.subscriptions.iter().find(|known| is_it(known)).map_or(&quote, |known| &known.shown);
                let [bids, asks] = sides(&shown.changes(None, depth_of(channel)));
                let data = format!(r#"{{"seqNum":{},"bids":{bids},"asks":{asks}}}"#, shown.sequence);
                let reply = format!(r#"{{"id":{id},"rep":"{topic}","status":"ok","ts":{now},"data":{data}}}"#);
                self.say(&reply, out);
            }
        }
    }

    fn quote(&mut self, quote: &VenueQuote, out: &mut Messages) {
        let Self { gzip, subscriptions, .. } = self;
        for known in subscriptions.iter_mut().filter(|known| known.shown.native == quote.native) {
            if !["detail", "ticker"].contains(&known.channel) {
                out.push(gzip.pack(frame(known, quote).as_bytes()));
                known.shown = quote.clone();
            }
        }
    }

    fn statistics(&mut self, quote: &VenueQuote, out: &mut Messages) {
        let Self { gzip, subscriptions, .. } = self;
        for known in subscriptions.iter_mut().filter(|known| known.shown.native == quote.native) {
            if ["detail", "ticker"].contains(&known.channel) {
                out.push(gzip.pack(frame(known, quote).as_bytes()));
            }
        }
    }

    fn heartbeat(&mut self, now: UnixNs, out: &mut Messages) {
        let second = now.0 / SECOND;
        if second >= self.seconds + PING_EVERY {
            self.seconds = second;
            self.say(&json!({"ping": now.ms()}).to_string(), out);
        }
    }
}

impl HtxExchange {
    fn say(&mut self, text: &str, out: &mut Messages) {
        out.push(self.gzip.pack(text.as_bytes()));
    }

    fn subscribe(&mut self, quote: VenueQuote, channel: &'static str, out: &mut Messages) {
        let subscription = HtxSubscription { channel, shown: quote };
        if delta_book(channel).is_none() {
            self.say(&frame(&subscription, &subscription.shown), out);
        }
        self.subscriptions.push(subscription);
    }
}

fn error(id: &Json, message: &str, now: u64) -> String {
    json!({"id": id, "status": "error", "err-code": "bad-request", "err-msg": message, "ts": now}).to_string()
}

/// What a subscriber hears of `quote`.
fn frame(to: &HtxSubscription, quote: &VenueQuote) -> String {
    let tick = match to.channel {
        "bbo" => bbo_tick(quote),
        "detail" => day_tick(quote, ""),
        "ticker" => {
            let quoted = |level: Level, [price, size]: [&str; 2]| {
                if level.is_present() {
                    format!(r#","{price}":{},"{size}":{}"#, level.price, level.size)
                } else {
                    String::new()
                }
            };
            let tops = quoted(quote.bid, ["bid", "bidSize"]) + &quoted(quote.ask, ["ask", "askSize"]);
            day_tick(quote, &tops)
        }
        channel if delta_book(channel).is_some() => {
            let [bids, asks] = sides(&quote.changes(Some(&to.shown), depth_of(channel)));
            let (number, last) = (quote.sequence, to.shown.sequence);
            format!(r#"{{"seqNum":{number},"prevSeqNum":{last},"bids":{bids},"asks":{asks}}}"#)
        }
        channel => {
            let number = if channel == "depth.step0" { "version" } else { "seqNum" };
            let ([bids, asks], ts) = (sides(&quote.changes(None, depth_of(channel))), quote.time.ms());
            format!(r#"{{"bids":{bids},"asks":{asks},"{number}":{},"ts":{ts}}}"#, quote.sequence)
        }
    };
    format!(r#"{{"ch":"market.{}.{}","ts":{},"tick":{tick}}}"#, quote.native, to.channel, quote.time.ms())
}

fn bbo_tick(quote: &VenueQuote) -> String {
    // An empty side is sent as null.
    let number =
        |level: Level, number: Decimal| if level.is_present() { number.to_string() } else { "null".to_owned() };
    format!(
        r#"{{"seqId":{},"ask":{},"askSize":{},"bid":{},"bidSize":{},"quoteTime":{},"symbol":"{}"}}"#,
        quote.sequence,
        number(quote.ask, quote.ask.price),
        number(quote.ask, quote.ask.size),
        number(quote.bid, quote.bid.price),
        number(quote.bid, quote.bid.size),
        quote.time.ms(),
        quote.native
    )
}

fn day_tick(quote: &VenueQuote, more: &str) -> String {
    let day = &quote.day;
    format!(
        r#"{{"id":{0},"low":{1},"high":{2},"open":{3},"close":{4},"vol":{5},"amount":{6},"version":{0},"count":0{more}}}"#,
        quote.sequence,
        day.low,
        day.high,
        day.open(),
        day.last,
        day.quote_volume,
        if day.last > 0.0 { day.quote_volume / day.last } else { 0.0 },
    )
}

/// Levels a side of a book channel that the simulated venue has.
fn depth_of(channel: &str) -> usize {
    let levels = channel.rsplit('.').next().and_then(|levels| levels.parse().ok());
    levels.unwrap_or(ladder::LEVELS)
}

/// Bids and asks, such as are there and such as are removed.
fn sides(changes: &[LevelChange]) -> [String; 2] {
    [Side::Bid, Side::Ask].map(|side| {
        let pair = |level: &Level| format!("[{},{}]", level.price, level.size);
        let pairs: Vec<String> = levels_of(changes, side).iter().map(pair).collect();
        format!("[{}]", pairs.join(","))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::venues::SymbolEntry;

    const ID: InstrumentId = InstrumentId(0);

    fn codec(levels: usize) -> Box<dyn FeedCodec> {
        let entry = SymbolEntry { id: ID, native: "btcusdt".to_owned(), symbol: "BTC/USDT".to_owned() };
        Htx.book_codec(Symbols::configured(vec![entry]), levels).unwrap()
    }

    fn whole(number: u64, bid: u64) -> String {
        let data = format!(r#"{{"seqNum":{number},"bids":[[{bid},1]],"asks":[[200,1]]}}"#);
        format!(r#"{{"id":"1","rep":"market.btcusdt.mbp.150","status":"ok","ts":1622707662703,"data":{data}}}"#)
    }

    fn change(number: u64, bids: &str) -> String {
        let tick = format!(r#"{{"seqNum":{number},"prevSeqNum":{},"bids":[{bids}],"asks":[]}}"#, number - 1);
        format!(r#"{{"ch":"market.btcusdt.mbp.150","ts":1622707662703,"tick":{tick}}}"#)
    }

    fn hear(codec: &mut dyn FeedCodec, frame: &str, received: MonoNs) -> (Result<Frame, DecodeError>, Decoded) {
        let mut out = Decoded::default();
        (codec.decode(frame.as_bytes(), received, &mut out), out)
    }

    #[test]
    fn a_whole_book_that_is_older_than_a_live_one_changes_nothing() {
        let mut codec = codec(20);
        hear(&mut *codec, &whole(10, 100), MonoNs(1)).0.unwrap();
        hear(&mut *codec, &change(11, "[101,1]"), MonoNs(1)).0.unwrap();
        // Requested by a resubscription, and on its way while the change was sent.
        let (result, out) = hear(&mut *codec, &whole(10, 100), MonoNs(1));
        assert_eq!((result, out.updates), (Ok(Frame::Control), vec![]));
        assert_eq!(codec.book(ID).unwrap().best_bid().price, Decimal::new(101, 0));
        assert_eq!(hear(&mut *codec, &change(12, "[101,0.0]"), MonoNs(1)).0, Ok(Frame::Data));
        assert_eq!(codec.book(ID).unwrap().best_bid().price, Decimal::new(100, 0));
    }

    #[test]
    fn a_book_that_stays_crossed_is_void_and_asked_for_again() {
        let mut codec = codec(20);
        hear(&mut *codec, &whole(10, 100), MonoNs(1)).0.unwrap();
        assert_eq!(hear(&mut *codec, &change(11, "[201,1]"), MonoNs(2)).0, Ok(Frame::Data));
        let (result, out) = hear(&mut *codec, &change(12, "[202,1]"), MonoNs(3 + SECOND));
        assert_eq!(result, Err(DecodeError::Crossed));
        assert_eq!(out.updates, [Update::Void(ID, VoidReason::Crossed)]);
        assert_eq!(out.requests, [r#"{"req":"market.btcusdt.mbp.150","id":"btcusdt.mbp.150"}"#]);
        assert!(codec.book(ID).is_none());
    }

    #[test]
    fn books_are_asked_for_at_the_path_and_with_the_levels_that_have_them() {
        assert_eq!(Htx.book_address(FACTS.address), "wss://api.huobi.pro/feed");
        assert_eq!(Htx.book_address("ws://127.0.0.1:9/elsewhere"), "ws://127.0.0.1:9/elsewhere");
        for (levels, channel) in [(1, "mbp.150"), (150, "mbp.150"), (151, "mbp.400"), (1000, "mbp.400")] {
            let mut requests = Requests::new();
            codec(levels).opened(&mut requests);
            assert_eq!(requests, [format!(r#"{{"sub":"market.btcusdt.{channel}","id":"1"}}"#)]);
        }
    }
}
