//! Bitstamp spot: `order_book` live, the best hundred levels at each change, for tops and for order books;
//! `diff_order_book` from recordings.
//!
//! Prices and sizes are texts, stamps microseconds as text; the order of members is not fixed. There is no
//! sequence number: a difference book begins with a REST book and goes on behind its stamp. The venue tells no
//! day figures on its socket. Called on the feed's thread; keeps a book for order books and for `diff_order_book`.

use rustc_hash::FxHashMap;
use serde_json::{Value as Json, json};

use crate::market::book::{Book, Side};
use crate::market::{InstrumentId, Level};
use crate::time::{MonoNs, UnixNs};
use crate::venues::codes::{Codes, alias};
use crate::venues::depth::{
    BookPage, DeltaOrder, Depth, LevelChange, OVERTAKEN_MAX_NS, PageReader, PerInstrument, Stitch, Stitched,
};
use crate::venues::ladder::{self, levels_of};
use crate::venues::listing::{self, Listing, ListingEntry};
use crate::venues::reading::{self, array, level, text};
use crate::venues::writing;
use crate::venues::{
    BookFacts, BookNote, Check, Cut, DecodeError, Decoded, ExchangeSide, Facts, FeedCodec, Frame, Keepalive,
    Maintenance, Market, Messages, Notice, Opening, Requests, StampFacts, Symbols, Top, Update, Venue, VenueLimits,
    VenueQuote, VoidReason,
};
use crate::wire::json::{Parser, Scan, Value};

/// Bitstamp.
pub(crate) struct Bitstamp;

/// <https://www.bitstamp.net/websocket/v2/> as its client libraries have it, read 2026-11-21 (ccxt 4.5.90,
/// <https://pkg.go.dev/github.com/dydxprotocol/slinky/providers/websockets/bitstamp>): a connection lives for 90
/// days at most; a heartbeat is answered; no pace and no number of subscriptions is published. Books: `order_book`,
/// which is whole each time, comes with each change and never before the next one, and is overtaken by a higher
/// `microtimestamp` (a public measurement of 2026-09); the differences have no number that would show a loss. Fee: base
/// tier.
static FACTS: Facts = Facts {
    name: "bitstamp",
    title: "Bitstamp",
    address: "wss://ws.bitstamp.net",
    opening: Opening::Direct,
    taker_fee_pct: "0.40",
    keepalive: Keepalive::Client { every_ms: 30_000, cut: Cut::Never },
    message_max: 1 << 20,
    request_gap_ms: 100,
    channel: "order_book",
    books: Some(BookFacts { channel: "order_book", levels_max: 100, check: Check::Whole }),
    // 677 of 3,234 recorded stamps of `diff_order_book` and trades go back on a connection (21 %, 158 ms at most), none
    // within an instrument.
    stamps: StampFacts::MICROSECONDS,
    limits: VenueLimits::UNPUBLISHED,
    docs: "https://www.bitstamp.net/websocket/v2/ (2026-11-21)",
};

/// Quote assets: those of the venue's listing of 2022-01, and RLUSD, which came later.
const QUOTES: &[&str] = &["USD", "EUR", "BTC", "GBP", "USDT", "PAX", "ETH", "USDC", "RLUSD"];

/// Symbols that two of the quote assets fit.
const EXCEPTIONS: &[(&str, usize)] =
    &[("BTCRLUSD", 3), ("ETHRLUSD", 3), ("XRPRLUSD", 3), ("USDTRLUSD", 4), ("USDCRLUSD", 4)];

/// Its UST is Terra's dollar (ccxt 4.5.90, `commonCurrencies`, read 2026-11-29).
const CODES: Codes = Codes { venue: "Bitstamp", table: &[alias("UST", "USTC")] };

/// The two channels that are read, by the beginning of their names.
const BOOK: &str = "order_book_";
const DIFFERENCES: &str = "diff_order_book_";

impl Venue for Bitstamp {
    fn facts(&self) -> &'static Facts {
        &FACTS
    }

    fn codes(&self) -> Codes {
        CODES
    }

    fn native(&self, base: &str, quote: &str) -> Result<String, String> {
        let [base, quote] = CODES.native(base, quote)?;
        Ok(base.to_lowercase() + &quote.to_lowercase())
    }

    fn symbol_of(&self) -> fn(&str) -> Option<String> {
        |native| {
            if native.bytes().any(|byte| byte.is_ascii_uppercase()) {
                return None;
            }
            CODES.renamed(&reading::split(&native.to_uppercase(), QUOTES, EXCEPTIONS)?)
        }
    }

    fn codec(&self, symbols: Symbols) -> Box<dyn FeedCodec> {
        Box::new(BitstampCodec {
            parser: Parser::default(),
            feed: BitstampState { symbols, ..BitstampState::default() },
        })
    }

    fn book_codec(&self, symbols: Symbols, _levels: usize) -> Option<Box<dyn FeedCodec>> {
        let feed = BitstampState { symbols, wants_books: true, ..BitstampState::default() };
        Some(Box::new(BitstampCodec { parser: Parser::default(), feed }))
    }

    fn listing(&self) -> Listing {
        Listing { address: "https://www.bitstamp.net", path: "/api/v2/markets/" }
    }

    fn read_listing(&self, reply: &[u8]) -> Result<Vec<ListingEntry>, DecodeError> {
        listing::read(
            reply,
            &CODES,
            |root| root.is_array().then(|| root.items().collect()),
            |row| {
                let (base, quote) = row.text_of("name")?.split_once('/')?;
                let [base, quote] = [base, quote].map(str::to_owned);
                let native = row.text_of("market_symbol").or(row.text_of("url_symbol"))?.to_owned();
                let is_trading = row.text_of("trading") == Some("Enabled");
                let (tick, lot) = (listing::decimals(row, "counter_decimals"), listing::decimals(row, "base_decimals"));
                Some(ListingEntry { base, quote, native, is_trading, tick, lot, fee: None })
            },
        )
    }

    fn exchange_side(&self) -> Box<dyn ExchangeSide> {
        Box::new(BitstampExchange::default())
    }

    fn rest(&self, method: &str, target: &str, _base: &str, market: &dyn Market) -> Option<String> {
        let path = target.split('?').next()?.trim_end_matches('/');
        if method != "GET" {
            return None;
        }
        if let Some(pair) = path.strip_prefix("/api/v2/order_book/") {
            return Some(format!("{{{}}}", whole_book(&market.quote(pair)?)));
        }
        if !["/api/v2/markets", "/api/v2/trading-pairs-info"].contains(&path) {
            return None;
        }
        let listed = market.listed();
        let rows: Vec<Json> = listed
            .iter()
            .map(|entry| {
                json!({
                    "name": format!("{}/{}", entry.base, entry.quote), "url_symbol": entry.native,
                    "market_symbol": entry.native, "base_decimals": entry.size_decimals,
                    "counter_decimals": entry.price_decimals, "minimum_order": format!("10.0 {}", entry.quote),
                    "trading": if entry.is_trading { "Enabled" } else { "Disabled" }, "instant_and_market_orders": "Enabled",
                })
            })
            .collect();
        Some(Json::from(rows).to_string())
    }
}

struct BitstampCodec {
    parser: Parser,
    feed: BitstampState,
}

/// What is remembered of one connection.
#[derive(Default)]
struct BitstampState {
    symbols: Symbols,
    /// Order books are wanted, and not tops.
    wants_books: bool,
    /// The order books.
    wholes: PerInstrument<BitstampBook>,
    /// Difference books; the numbers are stamps in microseconds.
    books: PerInstrument<Stitched>,
    changes: Vec<LevelChange>,
}

/// A book that comes whole each time.
#[derive(Default)]
struct BitstampBook {
    depth: Depth,
    /// Its stamp in microseconds.
    at: u64,
}

impl FeedCodec for BitstampCodec {
    fn opened(&mut self, requests: &mut Requests) {
        self.feed.books.clear();
        self.feed.wholes.clear();
        for entry in self.feed.symbols.entries() {
            requests.push(format!(r#"{{"event":"bts:subscribe","data":{{"channel":"{BOOK}{}"}}}}"#, entry.native));
        }
    }

    fn read(&mut self, frame: &[u8], received: MonoNs, out: &mut Decoded) -> Result<Frame, DecodeError> {
        let feed = &mut self.feed;
        if feed.wants_books {
            if let Some((pair, stamp)) = scan(frame, |scan| scan_whole(scan, &mut feed.changes)) {
                return feed.whole(pair, Ok(stamp), out);
            }
        } else if let Some((pair, quoted)) = scan(frame, scan_quoted) {
            return Ok(feed.top(pair, &quoted, out));
        }
        self.parser.parse(frame, |root| feed.read(root, received, out))?
    }

    fn page_of(&mut self, url: &str) -> Option<InstrumentId> {
        let (_, rest) = url.split_once("/order_book/")?;
        self.feed.symbols.find(rest.split(['/', '?']).next()?.as_bytes())
    }

    fn page_reader(&self) -> PageReader {
        |body| Parser::default().parse(body, read_page)?
    }

    fn take_page(
        &mut self,
        instrument: InstrumentId,
        mut page: BookPage,
        out: &mut Decoded,
    ) -> Result<Frame, DecodeError> {
        let book = self.feed.books.of(instrument);
        book.snapshot(page.number, &mut page.levels);
        publish(book, instrument, out);
        Ok(Frame::Data)
    }

    fn resubscribe(&mut self, instruments: &[InstrumentId], requests: &mut Requests) {
        // What comes is to be believed.
        instruments.iter().for_each(|id| self.feed.wholes.of(*id).at = 0);
        for native in self.feed.symbols.natives(instruments) {
            for kind in ["bts:unsubscribe", "bts:subscribe"] {
                requests.push(format!(r#"{{"event":"{kind}","data":{{"channel":"{BOOK}{native}"}}}}"#));
            }
        }
    }

    fn keepalive(&mut self, requests: &mut Requests) {
        requests.push(r#"{"event":"bts:heartbeat"}"#.to_owned());
    }

    fn symbols(&self) -> &Symbols {
        &self.feed.symbols
    }

    fn forget(&mut self, instrument: InstrumentId) {
        // Differences are not numbered: one may be lost.
        self.feed.books.of(instrument).void();
        self.feed.wholes.of(instrument).depth.void();
    }

    fn book(&self, instrument: InstrumentId) -> Option<&Book> {
        let depth = &self.feed.wholes.get(instrument)?.depth;
        depth.is_live().then_some(depth.book())
    }
}

/// The best of one whole book.
struct BitstampTop {
    bid: Level,
    ask: Level,
    time: UnixNs,
}

/// The fast path: an `order_book` message in one of the two orders of members that are seen; `book` reads its data.
#[inline]
fn scan<'a, T>(frame: &'a [u8], book: impl FnOnce(&mut Scan<'a>) -> Option<T>) -> Option<(&'a [u8], T)> {
    let mut scan = Scan::new(frame);
    let (pair, read);
    if scan.literal(b"{\"data\":").is_some() {
        read = book(&mut scan)?;
        scan.literal(b",\"channel\":\"order_book_")?;
        pair = scan.string()?;
        scan.literal(b",\"event\":\"data\"}")?;
    } else {
        scan.literal(b"{\"event\":\"data\",\"channel\":\"order_book_")?;
        pair = scan.string()?;
        scan.literal(b",\"data\":")?;
        read = book(&mut scan)?;
        scan.literal(b"}")?;
    }
    scan.end()?;
    Some((pair, read))
}

#[inline]
fn scan_quoted(scan: &mut Scan<'_>) -> Option<BitstampTop> {
    let stamp = scan_stamp(scan)?;
    scan.literal(b",\"bids\":[")?;
    let bid = scan_best(scan)?;
    scan.literal(b",\"asks\":[")?;
    let ask = scan_best(scan)?;
    scan.literal(b"}")?;
    Some(BitstampTop { bid, ask, time: reading::time(stamp) })
}

/// All levels, into `changes`, worst first; gives the stamp.
#[inline]
fn scan_whole(scan: &mut Scan<'_>, changes: &mut Vec<LevelChange>) -> Option<u64> {
    let stamp = scan_stamp(scan)?;
    changes.clear();
    scan.literal(b",\"bids\":[")?;
    scan_levels(scan, Side::Bid, changes)?;
    changes.reverse();
    let bids = changes.len();
    scan.literal(b",\"asks\":[")?;
    scan_levels(scan, Side::Ask, changes)?;
    changes[bids..].reverse();
    scan.literal(b"}")?;
    Some(stamp)
}

/// From the start of the data up to and with the stamp in microseconds.
#[inline]
fn scan_stamp(scan: &mut Scan<'_>) -> Option<u64> {
    scan.literal(b"{\"")?;
    if scan.literal(b"timestamp\":\"").is_some() {
        scan.string()?;
        scan.literal(b",\"")?;
    }
    scan.literal(b"microtimestamp\":\"")?;
    let stamp = scan.integer()?;
    scan.literal(b"\"")?;
    Some(stamp)
}

/// All levels of a side, up to the end of the list.
#[inline]
fn scan_levels(scan: &mut Scan<'_>, side: Side, changes: &mut Vec<LevelChange>) -> Option<()> {
    if scan.literal(b"]").is_some() {
        return Some(());
    }
    loop {
        scan.literal(b"[\"")?;
        let price = scan.quoted_decimal()?;
        scan.literal(b",\"")?;
        let level = Level { price, size: scan.quoted_decimal()? };
        scan.literal(b"]")?;
        if !level.price.is_zero() {
            changes.push(LevelChange { side, level });
        }
        if scan.literal(b",").is_none() {
            return scan.literal(b"]");
        }
    }
}

/// The first level that is there, and all others stepped over, up to the end of the list.
#[inline]
fn scan_best(scan: &mut Scan<'_>) -> Option<Level> {
    let mut best = Level::ABSENT;
    if scan.literal(b"]").is_some() {
        return Some(best);
    }
    loop {
        scan.literal(b"[\"")?;
        if best.is_present() {
            scan.string()?;
            scan.literal(b",\"")?;
            scan.string()?;
        } else {
            let price = scan.quoted_decimal()?;
            scan.literal(b",\"")?;
            best = level(price, scan.quoted_decimal()?);
        }
        scan.literal(b"]")?;
        if scan.literal(b",").is_none() {
            scan.literal(b"]")?;
            return Some(best);
        }
    }
}

impl BitstampState {
    #[inline]
    fn top(&mut self, pair: &[u8], quoted: &BitstampTop, out: &mut Decoded) -> Frame {
        let Some(instrument) = self.symbols.find(pair) else { return Frame::Unused };
        let &BitstampTop { bid, ask, time } = quoted;
        let top = Top { instrument, bid, ask, sequence: 0, exchange_time: time, channel: "order_book" };
        out.updates.push(Update::Top(top));
        Frame::Data
    }

    /// A whole book with this stamp has been read into `changes`, or could not be.
    #[inline]
    fn whole(&mut self, pair: &[u8], stamp: Result<u64, DecodeError>, out: &mut Decoded) -> Result<Frame, DecodeError> {
        let Some(instrument) = self.symbols.find(pair) else { return Ok(Frame::Unused) };
        let BitstampBook { depth, at } = self.wholes.of(instrument);
        let stamp = match stamp {
            Ok(stamp) => stamp,
            Err(why) => {
                // The exchange has another book by now.
                depth.void();
                out.undecodable(instrument);
                return Err(why);
            }
        };
        // One that was overtaken; or the venue's clock was put back.
        if stamp < *at && stamp >= at.saturating_sub(OVERTAKEN_MAX_NS / 1000) {
            return Ok(Frame::Data);
        }
        *at = stamp;
        // A crossed one is the venue's own. Nothing was lost, and the next one is another.
        depth.replace(&mut self.changes);
        let exchange_time = reading::time(stamp);
        out.updates.push(Update::Book(BookNote { instrument, sequence: 0, exchange_time }));
        Ok(Frame::Data)
    }

    /// The general path.
    fn read(&mut self, root: Value<'_>, received: MonoNs, out: &mut Decoded) -> Result<Frame, DecodeError> {
        let event = text(root, "event")?;
        let channel = root.text_of("channel").unwrap_or_default();
        match event {
            "data" => {
                let data = root.get("data").filter(Value::is_object).ok_or(DecodeError::Missing("data"));
                if let Some(pair) = channel.strip_prefix(BOOK) {
                    if self.wants_books {
                        let stamp = data.and_then(|data| read_levels(data, &mut self.changes));
                        return self.whole(pair.as_bytes(), stamp, out);
                    }
                    let Some(instrument) = self.symbols.find(pair.as_bytes()) else { return Ok(Frame::Unused) };
                    let quoted = out.void_unread(instrument, data.and_then(quoted))?;
                    return Ok(self.top(pair.as_bytes(), &quoted, out));
                }
                match channel.strip_prefix(DIFFERENCES) {
                    Some(pair) => self.differences(pair, data, received, out),
                    None => Ok(Frame::Unused),
                }
            }
            "bts:subscription_succeeded" => {
                let instrument = channel.strip_prefix(BOOK).and_then(|pair| self.symbols.find(pair.as_bytes()));
                out.updates.extend(instrument.map(Update::Subscribed));
                Ok(Frame::Control)
            }
            "bts:error" => {
                // It does not say which pair it is about.
                let why = root.get("data").and_then(|data| data.text_of("message"));
                out.updates.push(Update::Refused(why.unwrap_or("refused without a reason").to_owned()));
                Ok(Frame::Control)
            }
            "bts:request_reconnect" => {
                out.updates.push(Update::Notice(Notice::Leaving("the venue asks for a new connection")));
                Ok(Frame::Control)
            }
            _ if event.starts_with("bts:") => Ok(Frame::Control),
            _ => Ok(Frame::Unused),
        }
    }

    fn differences(
        &mut self,
        pair: &str,
        data: Result<Value<'_>, DecodeError>,
        received: MonoNs,
        out: &mut Decoded,
    ) -> Result<Frame, DecodeError> {
        let Some(instrument) = self.symbols.find(pair.as_bytes()) else { return Ok(Frame::Unused) };
        let stamp = data.and_then(|data| read_levels(data, &mut self.changes));
        let book = self.books.of(instrument);
        let stitch = match stamp {
            Ok(to) => book.delta(DeltaOrder { from: None, to }, (UnixNs(0), received), &self.changes),
            Err(why) => {
                // What it said is lost, so the book is.
                lose(book, instrument, VoidReason::Undecodable, out);
                return Err(why);
            }
        };
        if book.depth.is_crossed_too_long(received) {
            lose(book, instrument, VoidReason::Crossed, out);
            return Err(DecodeError::Crossed);
        }
        if stitch == Stitch::Applied {
            publish(book, instrument, out);
        }
        Ok(Frame::Data)
    }
}

/// A book by REST; its number is the stamp.
fn read_page(root: Value<'_>) -> Result<BookPage, DecodeError> {
    let mut levels = Vec::new();
    let number = read_levels(root, &mut levels)?;
    Ok(BookPage::new(number, UnixNs(0), levels))
}

/// Reads both sides into `levels`; gives the stamp.
fn read_levels(data: Value<'_>, levels: &mut Vec<LevelChange>) -> Result<u64, DecodeError> {
    levels.clear();
    for (side, field) in [(Side::Bid, "bids"), (Side::Ask, "asks")] {
        for entry in side_of(data, field)?.into_iter().flat_map(|side| side.items()) {
            let level = pair(entry, field)?;
            if !level.price.is_zero() {
                levels.push(LevelChange { side, level });
            }
        }
    }
    stamp(data)
}

fn lose(book: &mut Stitched, instrument: InstrumentId, why: VoidReason, out: &mut Decoded) {
    if book.void() {
        out.updates.push(Update::Void(instrument, why));
    }
}

fn publish(book: &mut Stitched, instrument: InstrumentId, out: &mut Decoded) {
    let exchange_time = reading::time(book.last());
    if let Some((bid, ask)) = book.depth.changed_top() {
        let top = Top { instrument, bid, ask, sequence: 0, exchange_time, channel: "diff_order_book" };
        out.updates.push(Update::Top(top));
    }
}

/// The best of a whole book.
fn quoted(data: Value<'_>) -> Result<BitstampTop, DecodeError> {
    Ok(BitstampTop { bid: best(data, "bids")?, ask: best(data, "asks")?, time: stamp(data).map(reading::time)? })
}

/// The levels of a side. A book that has none on a side may be sent without it
/// (<https://github.com/tardis-dev/tardis-node/commit/fa74b64>).
fn side_of<'a>(data: Value<'a>, field: &'static str) -> Result<Option<Value<'a>>, DecodeError> {
    match data.get(field) {
        None => Ok(None),
        Some(side) if side.is_null() => Ok(None),
        Some(_) => array(data, field).map(Some),
    }
}

/// The first level of a side that is there: zero sizes occur, and are none.
fn best(data: Value<'_>, field: &'static str) -> Result<Level, DecodeError> {
    for entry in side_of(data, field)?.into_iter().flat_map(|side| side.items()) {
        let Level { price, size } = pair(entry, field)?;
        let level = level(price, size);
        if level.is_present() {
            return Ok(level);
        }
    }
    Ok(Level::ABSENT)
}

/// `[price, size]`.
fn pair(entry: Value<'_>, field: &'static str) -> Result<Level, DecodeError> {
    Ok(Level { price: reading::decimal(entry.at(0), field)?, size: reading::decimal(entry.at(1), field)? })
}

fn stamp(data: Value<'_>) -> Result<u64, DecodeError> {
    reading::integer(data, "microtimestamp")
}

/// The venue's end of a connection.
#[derive(Default)]
struct BitstampExchange {
    books: Vec<String>,
    /// Pairs whose differences are wanted, and what was sent of them last.
    differences: FxHashMap<String, VenueQuote>,
}

impl ExchangeSide for BitstampExchange {
    fn opened(&mut self, _target: &str, _market: &dyn Market, _out: &mut Messages) {}

    fn receive(&mut self, text: &str, market: &dyn Market, out: &mut Messages) {
        let request = serde_json::from_str::<Json>(text).unwrap_or(Json::Null);
        let channel = request.pointer("/data/channel").and_then(Json::as_str).unwrap_or_default();
        match request.get("event").and_then(Json::as_str) {
            Some("bts:heartbeat") => {
                out.push(json!({"event": "bts:heartbeat", "channel": "", "data": {"status": "success"}}).to_string());
            }
            Some("bts:subscribe") => self.subscribe(channel, market, out),
            Some("bts:unsubscribe") => {
                self.books.retain(|pair| channel.strip_prefix(BOOK) != Some(pair));
                self.differences.retain(|pair, _| channel.strip_prefix(DIFFERENCES) != Some(pair));
                out.push(json!({"event": "bts:unsubscription_succeeded", "channel": channel, "data": {}}).to_string());
            }
            _ => out.push(error("Incorrect JSON format.")),
        }
    }

    fn quote(&mut self, quote: &VenueQuote, out: &mut Messages) {
        if self.books.contains(&quote.native) {
            out.push(message(&whole_book(quote), BOOK, &quote.native));
        }
        if let Some(shown) = self.differences.get_mut(&quote.native) {
            let changes = quote.changes(Some(shown), ladder::LEVELS);
            out.push(message(&book(quote, &changes), DIFFERENCES, &quote.native));
            *shown = quote.clone();
        }
    }

    fn statistics(&mut self, _quote: &VenueQuote, _out: &mut Messages) {}

    fn heartbeat(&mut self, _now: UnixNs, _out: &mut Messages) {}

    fn maintenance(&mut self, begins: bool, _now: UnixNs, out: &mut Messages) -> Maintenance {
        if begins {
            out.push(r#"{"event":"bts:request_reconnect","channel":"","data":""}"#.to_owned());
        }
        Maintenance::Moves
    }
}

impl BitstampExchange {
    fn subscribe(&mut self, channel: &str, market: &dyn Market, out: &mut Messages) {
        let named = [BOOK, DIFFERENCES].into_iter().find_map(|kind| Some((kind, channel.strip_prefix(kind)?)));
        let Some((kind, quote)) = named.and_then(|(kind, pair)| Some((kind, market.quote(pair)?))) else {
            return out.push(error("Bad subscription string."));
        };
        out.push(json!({"event": "bts:subscription_succeeded", "channel": channel, "data": {}}).to_string());
        if kind == DIFFERENCES {
            self.differences.insert(quote.native.clone(), quote);
        } else if !self.books.contains(&quote.native) {
            out.push(message(&whole_book(&quote), BOOK, &quote.native));
            self.books.push(quote.native);
        }
    }
}

fn error(message: &str) -> String {
    json!({"event": "bts:error", "channel": "", "data": {"code": null, "message": message}}).to_string()
}

fn message(data: &str, channel: &str, pair: &str) -> String {
    format!(r#"{{"data":{{{data}}},"channel":"{channel}{pair}","event":"data"}}"#)
}

/// The members of a book message that lists `changes`.
fn book(quote: &VenueQuote, changes: &[LevelChange]) -> String {
    let micros = quote.time.0 / 1000;
    let seconds = micros / 1_000_000;
    let [bids, asks] = [Side::Bid, Side::Ask].map(|side| writing::pairs(&levels_of(changes, side)));
    format!(r#""timestamp":"{seconds}","microtimestamp":"{micros}","bids":{bids},"asks":{asks}"#)
}

fn whole_book(quote: &VenueQuote) -> String {
    book(quote, &quote.changes(None, ladder::LEVELS))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::venues::SymbolEntry;

    const ID: InstrumentId = InstrumentId(0);

    fn codec() -> Box<dyn FeedCodec> {
        let entry = SymbolEntry { id: ID, native: "btcusd".to_owned(), symbol: "BTC/USD".to_owned() };
        Bitstamp.book_codec(Symbols::configured(vec![entry]), 20).unwrap()
    }

    /// A book of these bids at this time, as the venue writes it.
    fn frame(micros: u64, bids: &str) -> String {
        let data = format!(r#""timestamp":"1","microtimestamp":"{micros}","bids":[{bids}],"asks":[["103","1"]]"#);
        format!(r#"{{"data":{{{data}}},"channel":"order_book_btcusd","event":"data"}}"#)
    }

    fn hear(codec: &mut dyn FeedCodec, frame: &str) -> (Result<Frame, DecodeError>, Decoded) {
        let mut out = Decoded::default();
        (codec.decode(frame.as_bytes(), MonoNs(1), &mut out), out)
    }

    fn best(codec: &dyn FeedCodec) -> Option<String> {
        codec.book(ID).map(|book| book.best_bid().price.to_string())
    }

    #[test]
    fn a_whole_book_that_was_overtaken_changes_nothing() {
        let mut codec = codec();
        hear(&mut *codec, &frame(20, r#"["101","1"],["100","0.00000000"],["99","2"]"#)).0.unwrap();
        assert_eq!(codec.book(ID).unwrap().levels(Side::Bid).count(), 2, "levels of no size are none");
        let (result, out) = hear(&mut *codec, &frame(19, r#"["102","1"]"#));
        assert_eq!((result, out.updates), (Ok(Frame::Data), vec![]));
        assert_eq!(best(&*codec).as_deref(), Some("101"));
        // Stamps may repeat.
        hear(&mut *codec, &frame(20, r#"["102","1"]"#)).0.unwrap();
        assert_eq!(best(&*codec).as_deref(), Some("102"));
        // A client that subscribes again accepts the next state.
        codec.resubscribe(&[ID], &mut Requests::new());
        hear(&mut *codec, &frame(3, r#"["98","1"]"#)).0.unwrap();
        assert_eq!(best(&*codec).as_deref(), Some("98"));
    }

    #[test]
    fn a_venue_whose_clock_is_put_back_is_heard_at_once() {
        let mut codec = codec();
        let hour = 3_600_000_000;
        hear(&mut *codec, &frame(2 * hour, r#"["101","1"]"#)).0.unwrap();
        hear(&mut *codec, &frame(hour, r#"["100","1"]"#)).0.unwrap();
        assert_eq!(best(&*codec).as_deref(), Some("100"));
    }

    #[test]
    fn a_whole_book_that_cannot_be_read_voids_the_one_before() {
        let mut codec = codec();
        hear(&mut *codec, &frame(20, r#"["101","1"]"#)).0.unwrap();
        let (result, out) = hear(&mut *codec, &frame(21, r#"["102","x"]"#));
        assert!(result.is_err());
        assert_eq!(out.updates, [Update::Void(ID, VoidReason::Undecodable)]);
        assert_eq!(best(&*codec), None);
        let (_, out) = hear(&mut *codec, &frame(22, r#"["100","1"]"#));
        let note = BookNote { instrument: ID, sequence: 0, exchange_time: reading::time(22) };
        assert_eq!(out.updates, [Update::Book(note)]);
        assert_eq!(best(&*codec).as_deref(), Some("100"));
    }
}
