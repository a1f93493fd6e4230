//! Coinbase: the Advanced Trade feed, and the Exchange feed for recordings.
//!
//! Frames in, quotes out, on the feed thread. No best-bid-ask channel sends every change,
//! so the `level2` book is maintained and its top published; `ticker` beside it gives the day's figures. Order books are
//! the same `level2`: all levels that there are.
//! The `status` channel says which of the requested products are traded.
//! `sequence_num` counts every message of a connection: a jump voids everything and asks for a new connection.
//! Never serves one book under two names: X-USDC is X-USD here, see [`Venue::native`].

use std::fmt::Write as _;

use rustc_hash::FxHashMap;
use serde_json::json;

use crate::market::book::{Book, Side};
use crate::market::quote::StampOrder;
use crate::market::statistics::{self, DayStatistics};
use crate::market::{Decimal, InstrumentId, Level};
use crate::time::{MonoNs, UnixNs};
use crate::venues::codes::{Codes, alias};
use crate::venues::depth::{Count, Depth, LEVELS_MAX, LevelChange, PerInstrument};
use crate::venues::ladder::{self, levels_of};
use crate::venues::listing::{self, Listing, ListingEntry};
use crate::venues::reading::{self, array, text};
use crate::venues::{
    BookFacts, BookNote, Check, DecodeError, Decoded, ExchangeSide, Facts, FeedCodec, Frame, HaltSource, Keepalive,
    Listed, Market, Messages, Opening, Pace, Requests, StampFacts, Symbols, Top, Update, Venue, VenueLimits,
    VenueQuote, VoidReason,
};
use crate::wire::json::{Parser, Scan, Value};
use crate::wire::timestamp::{parse_rfc3339, write_rfc3339};

/// The venue.
pub(crate) struct Coinbase;

/// Read on 2026-11-20: "Advanced Trade WebSocket Channels", "Advanced Trade WebSocket Rate Limits", "Exchange
/// WebSocket Channels". The fee is Advanced Trade's base tier (survey of 2026-08-26). The largest message is
/// the BTC-USD snapshot: 5,079,379 bytes on 2026-08-09. 8 requests a second without a key.
static FACTS: Facts = Facts {
    name: "coinbase",
    title: "Coinbase",
    address: "wss://advanced-trade-ws.coinbase.com",
    opening: Opening::Prompt { within_ms: 5000 },
    taker_fee_pct: "1.20",
    keepalive: Keepalive::Server,
    message_max: 32 << 20,
    request_gap_ms: 125,
    channel: "level2",
    books: Some(BookFacts { channel: "level2", levels_max: LEVELS_MAX, check: Check::Sequence }),
    // 1 of 1,296 recorded stamps goes back on a connection, by less than 1 ms.
    stamps: StampFacts { order: StampOrder::Connection, slack_ms: 1, ..StampFacts::MICROSECONDS },
    limits: VenueLimits { connects: Pace { count: 8, per_ms: 1000 }, ..VenueLimits::UNPUBLISHED },
    docs: "https://docs.cdp.coinbase.com/coinbase-app/advanced-trade-apis/websocket/websocket-channels (2026-11-20)",
};

/// Products in USDC that have a book of their own; all others are served as the USD book.
/// From the product listing of 2026-08-09: `alias` is empty for these.
const OWN_USDC_BOOK: [&str; 5] = ["USDT", "EURC", "XSGD", "TGBP", "AUDD"];

/// Products in one subscribe request. No limit is published; a request stays within a few kilobytes.
const PRODUCTS_PER_REQUEST: usize = 100;

/// Its CGLD is Celo (ccxt 4.5.90, `commonCurrencies`, read 2026-11-29).
const CODES: Codes = Codes { venue: "Coinbase", table: &[alias("CGLD", "CELO")] };

/// What says which products are traded: those that were asked for, every few seconds
/// (<https://docs.cdp.coinbase.com/api-reference/advanced-trade-api/websocket/product-status>, 2026-11-30).
const STATUS: &str = "status";

/// Flags of an online product with which no taker's order is accepted, in the list and in the stream. `limit_only` is not
/// one of them: an immediate limit order takes (<https://github.com/dougdellolio/coinbasepro-csharp/issues/208>). In an
/// auction the book is crossed by design. The documented fields of the stream are `status` and `status_message`; its flags
/// are read if it sends them.
const NOT_TRADING: [&str; 6] =
    ["trading_disabled", "is_disabled", "view_only", "cancel_only", "post_only", "auction_mode"];

/// Whether a taker can trade the product, by its status and flags, wherever they are sent. `None` if it has neither.
fn is_traded(product: Value<'_>) -> Option<bool> {
    if NOT_TRADING.into_iter().any(|flag| listing::is_set(product, flag)) {
        return Some(false);
    }
    product.text_of("status").map(|status| status == "online")
}

impl Venue for Coinbase {
    fn facts(&self) -> &'static Facts {
        &FACTS
    }

    fn codes(&self) -> Codes {
        CODES
    }

    fn native(&self, base: &str, quote: &str) -> Result<String, String> {
        let [native, quote] = CODES.native(base, quote)?;
        if base == "XBT" {
            return Err(format!("Coinbase calls it BTC: write BTC/{quote}"));
        }
        if quote == "USDC" && !OWN_USDC_BOOK.contains(&base) {
            return Err(format!("Coinbase serves {base}-USDC as the {base}-USD book: write {base}/USD"));
        }
        Ok(format!("{native}-{quote}"))
    }

    fn symbol_of(&self) -> fn(&str) -> Option<String> {
        |native| {
            let (base, quote) = native.split_once('-')?;
            CODES.symbol(base, quote)
        }
    }

    fn codec(&self, symbols: Symbols) -> Box<dyn FeedCodec> {
        Box::new(CoinbaseCodec {
            parser: Parser::default(),
            feed: CoinbaseState { symbols, ..CoinbaseState::default() },
        })
    }

    fn book_codec(&self, symbols: Symbols, _levels: usize) -> Option<Box<dyn FeedCodec>> {
        let feed = CoinbaseState { symbols, wants_books: true, ..CoinbaseState::default() };
        Some(Box::new(CoinbaseCodec { parser: Parser::default(), feed }))
    }

    fn halts(&self) -> HaltSource {
        HaltSource::ListAndStream
    }

    fn listing(&self) -> Listing {
        let path = "/api/v3/brokerage/market/products?product_type=SPOT";
        Listing { address: "https://api.coinbase.com", path }
    }

    fn read_listing(&self, reply: &[u8]) -> Result<Vec<ListingEntry>, DecodeError> {
        listing::read(
            reply,
            &CODES,
            |root| listing::array_of(root, "products"),
            |row| {
                // An alias is served as the book that it stands for; it is no second one.
                if row.text_of("alias").is_some_and(|alias| !alias.is_empty()) {
                    return None;
                }
                Some(ListingEntry {
                    base: row.text_of("base_currency_id")?.to_owned(),
                    quote: row.text_of("quote_currency_id")?.to_owned(),
                    native: row.text_of("product_id")?.to_owned(),
                    is_trading: is_traded(row).unwrap_or(false),
                    tick: listing::step(row, "price_increment"),
                    lot: listing::step(row, "base_increment"),
                    fee: None,
                })
            },
        )
    }

    fn exchange_side(&self) -> Box<dyn ExchangeSide> {
        Box::new(CoinbaseExchange::default())
    }

    fn rest(&self, method: &str, target: &str, _base: &str, market: &dyn Market) -> Option<String> {
        // The same list where clients with a key read it.
        if (method, target.split('?').next()?) != ("GET", "/api/v3/brokerage/products") {
            listing::asked(self, method, target)?;
        }
        let row = |it: Listed| {
            json!({"product_id": it.native, "product_type": "SPOT", "base_currency_id": it.base,
                "quote_currency_id": it.quote, "status": status_word(it.is_trading), "price_increment": it.tick(),
                "quote_increment": it.tick(), "base_increment": it.lot(), "trading_disabled": !it.is_trading,
                "is_disabled": false, "view_only": false, "alias": ""})
        };
        let products: Vec<_> = market.listed().into_iter().map(row).collect();
        Some(json!({"num_products": products.len(), "products": products}).to_string())
    }
}

struct CoinbaseCodec {
    parser: Parser,
    feed: CoinbaseState,
}

/// What is remembered of one connection.
#[derive(Default)]
struct CoinbaseState {
    symbols: Symbols,
    /// Order books are asked for, and not quotes.
    wants_books: bool,
    /// The last `sequence_num`; `None` before the first message.
    sequence: Option<u64>,
    count: Count,
    books: PerInstrument<Depth>,
    /// The changes of the frame being read, and which part of them belongs to which event.
    changes: Vec<LevelChange>,
    events: Vec<L2Event>,
}

/// One event of an `l2_data` frame: the changes from `from` up to the next event's.
#[derive(Clone, Copy)]
struct L2Event {
    instrument: InstrumentId,
    whole: bool,
    from: usize,
}

/// How a `sequence_num` stands to the last one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum SequenceOrder {
    Next,
    Repeated,
    Late,
    Lost,
}

impl FeedCodec for CoinbaseCodec {
    fn opened(&mut self, requests: &mut Requests) {
        (self.feed.sequence, self.feed.count) = (None, Count::default());
        self.feed.books.clear();
        let entries = self.feed.symbols.entries();
        if entries.is_empty() {
            return;
        }
        // What is traded comes first, so that it is known before the first quote.
        let channels: &[&str] = if self.feed.wants_books { &["level2"] } else { &[STATUS, "level2", "ticker"] };
        for channel in channels {
            for part in entries.chunks(PRODUCTS_PER_REQUEST) {
                requests.push(request("subscribe", channel, part.iter().map(|entry| entry.native.as_str())));
            }
        }
        // Without them the venue closes what is quiet, and a loss would be noticed with the next change only.
        requests.push(r#"{"type":"subscribe","channel":"heartbeats"}"#.to_owned());
    }

    fn read(&mut self, frame: &[u8], received: MonoNs, out: &mut Decoded) -> Result<Frame, DecodeError> {
        if let Some((update, sequence)) = self.feed.scan(frame) {
            let read = |feed: &mut CoinbaseState, order, out: &mut Decoded| feed.scanned(&update, order, received, out);
            return self.feed.in_order(Some(sequence), received, out, read);
        }
        let feed = &mut self.feed;
        match self.parser.parse(frame, |root| feed.read(root, received, out)) {
            Ok(read) => read,
            Err(why) => {
                feed.unreadable(frame, received, out);
                Err(why.into())
            }
        }
    }

    fn resubscribe(&mut self, instruments: &[InstrumentId], requests: &mut Requests) {
        for id in instruments {
            self.feed.books.of(*id).void();
        }
        for kind in ["unsubscribe", "subscribe"] {
            requests.push(request(kind, "level2", self.feed.symbols.natives(instruments)));
        }
    }

    fn symbols(&self) -> &Symbols {
        &self.feed.symbols
    }

    fn forget(&mut self, instrument: InstrumentId) {
        let is_numbered = self.feed.sequence.is_some();
        let depth = self.feed.books.of(instrument);
        if is_numbered {
            depth.forget_published();
        } else {
            depth.void();
        }
    }

    fn book(&self, instrument: InstrumentId) -> Option<&Book> {
        self.feed.books.get(instrument).filter(|depth| depth.is_live()).map(Depth::book)
    }
}

/// A subscribe or unsubscribe request of the Advanced feed.
fn request<'a>(kind: &str, channel: &str, products: impl Iterator<Item = &'a str>) -> String {
    let products: Vec<String> = products.map(|product| format!("\"{product}\"")).collect();
    format!(r#"{{"type":"{kind}","product_ids":[{}],"channel":"{channel}"}}"#, products.join(","))
}

/// An `l2_data` event of the fixed shape; its changes are in [`CoinbaseState::changes`].
struct Scanned<'a> {
    whole: bool,
    product: &'a [u8],
    time: UnixNs,
}

/// The fast path.
impl CoinbaseState {
    /// Reads an `l2_data` frame of one event in the documented field order, with plain numbers: a change, or
    /// the first snapshot of several megabytes.
    #[inline]
    fn scan<'a>(&mut self, frame: &'a [u8]) -> Option<(Scanned<'a>, u64)> {
        self.changes.clear();
        let mut scan = Scan::new(frame);
        scan.literal(b"{\"channel\":\"l2_data\",")?;
        let _ = scan.literal(b"\"client_id\":\"\",");
        scan.literal(b"\"timestamp\":\"")?;
        let time = parse_rfc3339(scan.string()?)?;
        scan.literal(b",\"sequence_num\":")?;
        let sequence = scan.integer()?;
        scan.literal(b",\"events\":[{\"type\":\"")?;
        let whole = scan.literal(b"update").is_none();
        if whole {
            scan.literal(b"snapshot")?;
        }
        scan.literal(b"\",\"product_id\":\"")?;
        let product = scan.string()?;
        scan.literal(b",\"updates\":[")?;
        loop {
            scan.literal(b"{\"side\":\"")?;
            let side = if scan.next_is(b'b') {
                scan.literal(b"bid\"")?;
                Side::Bid
            } else {
                scan.literal(b"offer\"")?;
                Side::Ask
            };
            scan.literal(b",\"event_time\":\"")?;
            scan.string()?;
            scan.literal(b",\"price_level\":\"")?;
            let price = scan.quoted_decimal()?;
            scan.literal(b",\"new_quantity\":\"")?;
            let size = scan.quoted_decimal()?;
            scan.literal(b"}")?;
            if price.is_zero() {
                return None;
            }
            self.changes.push(LevelChange { side, level: Level { price, size } });
            if scan.literal(b",").is_none() {
                break;
            }
        }
        scan.literal(b"]}]}")?;
        scan.end()?;
        Some((Scanned { whole, product, time }, sequence))
    }

    fn scanned(
        &mut self,
        update: &Scanned<'_>,
        order: SequenceOrder,
        received: MonoNs,
        out: &mut Decoded,
    ) -> Result<Frame, DecodeError> {
        if order == SequenceOrder::Repeated {
            return Ok(Frame::Data);
        }
        let Some(instrument) = self.symbols.find(update.product) else { return Ok(Frame::Unused) };
        let Self { books, changes, .. } = self;
        let depth = books.of(instrument);
        if update.whole {
            depth.replace(changes);
        } else if depth.is_live() {
            depth.apply(changes);
        } else {
            return Ok(Frame::Data);
        }
        self.publish(instrument, update.time, "l2_data", received, out)?;
        Ok(Frame::Data)
    }

    /// Says that a book changed, or its top if it is not the one last said.
    #[inline]
    fn publish(
        &mut self,
        instrument: InstrumentId,
        exchange_time: UnixNs,
        channel: &'static str,
        received: MonoNs,
        out: &mut Decoded,
    ) -> Result<(), DecodeError> {
        let depth = self.books.of(instrument);
        if self.wants_books {
            if depth.is_crossed_too_long(received) {
                self.lose(instrument, VoidReason::Crossed, out);
                return Err(DecodeError::Crossed);
            }
            // `sequence_num` is the connection's, and begins anew with each.
            out.updates.push(Update::Book(BookNote { instrument, sequence: 0, exchange_time }));
        } else if let Some((bid, ask)) = depth.changed_top() {
            out.updates.push(Update::Top(Top { instrument, bid, ask, sequence: 0, exchange_time, channel }));
        }
        Ok(())
    }

    /// A book is not to be trusted any more: it is void, and asked for anew.
    #[cold]
    fn lose(&mut self, instrument: InstrumentId, why: VoidReason, out: &mut Decoded) {
        if self.books.of(instrument).void() {
            out.updates.push(Update::Void(instrument, why));
            for kind in ["unsubscribe", "subscribe"] {
                out.requests.push(request(kind, "level2", self.symbols.natives(&[instrument])));
            }
        }
    }
}

/// The general path.
impl CoinbaseState {
    fn read(&mut self, root: Value<'_>, received: MonoNs, out: &mut Decoded) -> Result<Frame, DecodeError> {
        if let Some(channel) = root.text_of("channel") {
            let sequence = root.get("sequence_num").and_then(|value| value.integer());
            let read = |feed: &mut Self, order, out: &mut Decoded| feed.advanced(channel, (order, received), root, out);
            return self.in_order(sequence, received, out, read);
        }
        match root.text_of("type") {
            Some("error") => Ok(refused(root, out)),
            Some(kind) => self.exchange(kind, root, received, out),
            None => Err(DecodeError::Missing("channel")),
        }
    }

    /// Runs `read` for a message with this `sequence_num`, unless it is late. After a jump everything that
    /// was built from changes is void; a whole state in the same message still counts.
    #[inline]
    fn in_order(
        &mut self,
        sequence: Option<u64>,
        received: MonoNs,
        out: &mut Decoded,
        read: impl FnOnce(&mut Self, SequenceOrder, &mut Decoded) -> Result<Frame, DecodeError>,
    ) -> Result<Frame, DecodeError> {
        if sequence == Some(0) {
            self.count = Count::default();
        }
        let is_anew = sequence.is_some_and(|now| self.count.begins_anew(now, UnixNs(0), received, 0));
        let order = match (self.sequence, sequence) {
            (None, _) | (_, None) => SequenceOrder::Next,
            (Some(last), Some(now)) if now == last.wrapping_add(1) => SequenceOrder::Next,
            (Some(last), Some(now)) if now == last => SequenceOrder::Repeated,
            // Counting from 0 again is a restart, not a repeat.
            (Some(_), Some(0)) => SequenceOrder::Lost,
            (Some(last), Some(now)) if now < last && !is_anew => SequenceOrder::Late,
            _ => SequenceOrder::Lost,
        };
        if order == SequenceOrder::Late {
            return Ok(Frame::Data);
        }
        self.sequence = sequence.or(self.sequence);
        if order == SequenceOrder::Lost {
            self.void_all("sequence_num jumped", out);
        }
        let start = out.updates.len();
        let frame = read(self, order, out)?;
        let is_said = |update: &Update| matches!(update, Update::Top(_) | Update::Book(_));
        if order == SequenceOrder::Lost && !out.updates[start..].iter().any(is_said) {
            Err(DecodeError::Gap)
        } else {
            Ok(frame)
        }
    }

    /// Counts a frame that is no JSON, so that the next one is no loss. Its number is read from the head, or it is the next
    /// one. A frame of `l2_data` is not counted: its changes are lost.
    #[cold]
    fn unreadable(&mut self, frame: &[u8], received: MonoNs, out: &mut Decoded) {
        let Some((channel, rest)) = head_of(frame).filter(|(channel, _)| *channel != b"l2_data") else { return };
        let next = self.sequence.map(|last| last.wrapping_add(1));
        let _ = self.in_order(number_of(rest).or(next), received, out, |_, _, _| Err(DecodeError::Json));
        if channel.starts_with(b"ticker") && self.symbols.named_in(frame).is_empty() {
            // It may be about any instrument.
            for entry in self.symbols.entries() {
                if self.symbols.is_discovering() || !self.books.get(entry.id).is_some_and(Depth::is_live) {
                    out.undecodable(entry.id);
                }
            }
        }
    }

    fn has_book(&self) -> bool {
        self.symbols.entries().iter().any(|entry| self.books.get(entry.id).is_some_and(Depth::is_live))
    }

    #[cold]
    fn void_all(&mut self, why: &'static str, out: &mut Decoded) {
        for entry in self.symbols.entries() {
            self.books.of(entry.id).void();
            out.updates.push(Update::Void(entry.id, VoidReason::Gap));
        }
        out.updates.push(Update::Reconnect(why));
    }

    fn advanced(
        &mut self,
        channel: &str,
        (order, received): (SequenceOrder, MonoNs),
        root: Value<'_>,
        out: &mut Decoded,
    ) -> Result<Frame, DecodeError> {
        match channel {
            "l2_data" if order == SequenceOrder::Repeated => Ok(Frame::Data),
            "l2_data" => {
                let time = root.text_of("timestamp").and_then(|t| parse_rfc3339(t.as_bytes())).unwrap_or_default();
                let read = self.level2(root, out);
                // What could be read is published, whatever else is in the frame.
                let applied = self.apply_events(time, "l2_data", received, out);
                read.and(applied)
            }
            "ticker" => self.ticker("ticker", root, out),
            "ticker_batch" => self.ticker("ticker_batch", root, out),
            STATUS => self.products(root, out),
            "subscriptions" => Ok(self.subscriptions(root, out)),
            "heartbeats" => Ok(Frame::Control),
            _ => Ok(Frame::Unused),
        }
    }

    /// Reads the events of an `l2_data` frame into `changes` and `events`; applies nothing. The book of an event that
    /// cannot be read is lost: it is void, and asked for anew. Without a product it may be any of them.
    fn level2(&mut self, root: Value<'_>, out: &mut Decoded) -> Result<(), DecodeError> {
        self.changes.clear();
        self.events.clear();
        let events = array(root, "events");
        let is_nameless = |event: Value<'_>| event.text_of("product_id").is_none();
        if events.as_ref().map_or(true, |events| events.items().any(is_nameless)) && self.has_book() {
            self.void_all("a change of a book names no product", out);
        }
        let read = reading::each(events?.items(), |event| {
            let product = text(event, "product_id")?;
            let Some(instrument) = self.symbols.find(product.as_bytes()) else { return Ok(Frame::Unused) };
            let from = self.changes.len();
            match self.level2_event(event) {
                Ok(whole) => self.events.push(L2Event { instrument, whole, from }),
                Err(why) => {
                    self.changes.truncate(from);
                    self.lose(instrument, VoidReason::Undecodable, out);
                    return Err(why);
                }
            }
            Ok(Frame::Data)
        });
        read.map(drop)
    }

    /// Reads one event into `changes`; gives whether it is a snapshot.
    fn level2_event(&mut self, event: Value<'_>) -> Result<bool, DecodeError> {
        let whole = match text(event, "type")? {
            "snapshot" => true,
            "update" => false,
            _ => return Err(DecodeError::Shape("an l2_data event is a snapshot or an update")),
        };
        for update in array(event, "updates")?.items() {
            let side = match text(update, "side")? {
                "bid" => Side::Bid,
                "offer" => Side::Ask,
                _ => return Err(DecodeError::Shape("a side is bid or offer")),
            };
            let price = reading::decimal(update.get("price_level"), "price_level")?;
            self.change(side, price, text(update, "new_quantity")?, "new_quantity")?;
        }
        Ok(whole)
    }

    /// Notes one level. A size such as `0.-10000` has been seen in archives: that level is dropped,
    /// as is one at price zero.
    fn change(&mut self, side: Side, price: Decimal, size: &str, field: &'static str) -> Result<(), DecodeError> {
        if price.is_zero() || size.starts_with("0.-") {
            return Ok(());
        }
        self.changes.push(LevelChange { side, level: Level { price, size: number(size, field)? } });
        Ok(())
    }

    fn apply_events(
        &mut self,
        time: UnixNs,
        channel: &'static str,
        received: MonoNs,
        out: &mut Decoded,
    ) -> Result<Frame, DecodeError> {
        let mut result = Ok(if self.events.is_empty() { Frame::Unused } else { Frame::Data });
        for at in 0..self.events.len() {
            let L2Event { instrument, whole, from } = self.events[at];
            let to = self.events.get(at + 1).map_or(self.changes.len(), |next| next.from);
            let depth = self.books.of(instrument);
            if whole {
                depth.replace(&mut self.changes[from..to]);
            } else if depth.is_live() {
                depth.apply(&self.changes[from..to]);
            } else {
                continue;
            }
            if let Err(why) = self.publish(instrument, time, channel, received, out) {
                result = Err(why);
            }
        }
        result
    }

    fn ticker(&mut self, channel: &'static str, root: Value<'_>, out: &mut Decoded) -> Result<Frame, DecodeError> {
        let time = root.text_of("timestamp").and_then(|t| parse_rfc3339(t.as_bytes())).unwrap_or_default();
        reading::each(array(root, "events")?.items(), |event| {
            reading::each(array(event, "tickers")?.items(), |ticker| self.top_of_ticker(channel, ticker, time, out))
        })
    }

    fn top_of_ticker(
        &mut self,
        channel: &'static str,
        ticker: Value<'_>,
        time: UnixNs,
        out: &mut Decoded,
    ) -> Result<Frame, DecodeError> {
        let product = text(ticker, "product_id")?;
        let Some(instrument) = self.symbols.find(product.as_bytes()) else { return Ok(Frame::Unused) };
        // Sent without the top of book by some accounts' endpoints; then there is nothing to read.
        const FIELDS: [&str; 4] = ["best_bid", "best_bid_quantity", "best_ask", "best_ask_quantity"];
        if channel == "ticker_batch" && FIELDS.iter().all(|field| ticker.get(field).is_none()) {
            return Ok(Frame::Unused);
        }
        let bid = || reading::side(ticker, FIELDS[0], FIELDS[1]);
        let read = bid().and_then(|bid| Ok((bid, reading::side(ticker, FIELDS[2], FIELDS[3])?)));
        // This one is later and less frequent than the book's top, so it is used only without a book.
        let is_quoted = self.symbols.is_discovering() || !self.books.of(instrument).is_live();
        let read = if is_quoted { out.void_unread(instrument, read) } else { read };
        let (bid, ask) = read?;
        if is_quoted {
            let top = Top { instrument, bid, ask, sequence: 0, exchange_time: time, channel };
            out.updates.push(Update::Top(top));
        }
        out.updates.extend(statistics(ticker, instrument, time).map(Update::Statistics));
        Ok(Frame::Data)
    }

    /// Which products are traded.
    fn products(&self, root: Value<'_>, out: &mut Decoded) -> Result<Frame, DecodeError> {
        for event in array(root, "events")?.items() {
            self.status_of_products(event, out);
        }
        Ok(Frame::Control)
    }

    /// The `products` of an event of the Advanced feed, or of a message of the Exchange feed.
    fn status_of_products(&self, message: Value<'_>, out: &mut Decoded) {
        for product in message.get("products").into_iter().flat_map(|products| products.items()) {
            let known = product.text_of("id").and_then(|id| self.symbols.known(id.as_bytes()));
            out.updates.extend(known.zip(is_traded(product)).map(|(instrument, it)| Update::Trading(instrument, it)));
        }
    }

    fn subscriptions(&mut self, root: Value<'_>, out: &mut Decoded) -> Frame {
        for event in root.get("events").into_iter().flat_map(|events| events.items()) {
            let products = event.get("subscriptions").and_then(|state| state.get("level2"));
            for product in products.into_iter().flat_map(|products| products.items()) {
                let instrument = product.text().and_then(|product| self.symbols.find(product.as_bytes()));
                out.updates.extend(instrument.map(Update::Subscribed));
            }
        }
        Frame::Control
    }
}

/// The channel of an Advanced frame, which stands first, and what follows it.
fn head_of(frame: &[u8]) -> Option<(&[u8], &[u8])> {
    let rest = frame.strip_prefix(b"{\"channel\":\"")?;
    let end = rest.iter().position(|byte| *byte == b'"')?;
    Some((&rest[..end], &rest[end..]))
}

/// The `sequence_num` behind the channel, if all of its digits are there.
fn number_of(rest: &[u8]) -> Option<u64> {
    const NAME: &[u8] = b"\"sequence_num\":";
    // Only `client_id` and `timestamp` stand before it.
    let at = rest.windows(NAME.len()).take(HEAD_MAX).position(|part| part == NAME)?;
    let digits = &rest[at + NAME.len()..];
    let end =
        digits.iter().position(|byte| !byte.is_ascii_digit()).filter(|end| matches!(digits[*end], b',' | b'}'))?;
    std::str::from_utf8(&digits[..end]).ok()?.parse().ok()
}

/// Longest distance of `sequence_num` from the channel, in bytes.
const HEAD_MAX: usize = 256;

/// `text` as a decimal; `field` is where it stood.
fn number(text: &str, field: &'static str) -> Result<Decimal, DecodeError> {
    Decimal::parse(text.as_bytes()).map_err(|why| DecodeError::Number(field, why))
}

fn refused(root: Value<'_>, out: &mut Decoded) -> Frame {
    let words: Vec<&str> = ["message", "reason"].into_iter().filter_map(|field| root.text_of(field)).collect();
    out.updates.push(Update::Refused(words.join(": ")));
    Frame::Control
}

fn statistics(ticker: Value<'_>, instrument: InstrumentId, time: UnixNs) -> Option<DayStatistics> {
    let figure = |field: &str| ticker.get(field)?.float();
    let last = figure("price")?;
    let change_pct = figure("price_percent_chg_24_h")?;
    Some(DayStatistics {
        instrument,
        last,
        high: figure("high_24_h")?,
        low: figure("low_24_h")?,
        change: statistics::change_of(last, change_pct),
        change_pct,
        quote_volume: statistics::product(figure("volume_24_h")?, last),
        exchange_time: time,
    })
}

/// The Exchange feed: recordings only. Its `ticker` moves with trades, so it is no top of book.
/// Its level2 messages have no sequence number: loss inside the channel cannot be seen.
impl CoinbaseState {
    fn exchange(
        &mut self,
        kind: &str,
        root: Value<'_>,
        received: MonoNs,
        out: &mut Decoded,
    ) -> Result<Frame, DecodeError> {
        let read = match kind {
            "snapshot" => self.exchange_snapshot(root),
            "l2update" => self.exchange_changes(root),
            "status" => {
                self.status_of_products(root, out);
                return Ok(Frame::Control);
            }
            "subscriptions" | "heartbeat" => return Ok(Frame::Control),
            _ => return Ok(Frame::Unused),
        };
        if read.is_err() {
            self.exchange_void(root, out);
        }
        let time = root.text_of("time").and_then(|t| parse_rfc3339(t.as_bytes())).unwrap_or_default();
        read.and_then(|()| self.apply_events(time, "level2", received, out))
    }

    fn exchange_event(&mut self, root: Value<'_>, whole: bool) -> Result<bool, DecodeError> {
        self.changes.clear();
        self.events.clear();
        let instrument = self.symbols.find(text(root, "product_id")?.as_bytes());
        self.events.extend(instrument.map(|instrument| L2Event { instrument, whole, from: 0 }));
        Ok(instrument.is_some())
    }

    fn exchange_snapshot(&mut self, root: Value<'_>) -> Result<(), DecodeError> {
        if !self.exchange_event(root, true)? {
            return Ok(());
        }
        for (side, field) in [(Side::Bid, "bids"), (Side::Ask, "asks")] {
            for pair in array(root, field)?.items() {
                let part = |at: usize| pair.at(at).and_then(|v| v.text()).ok_or(DecodeError::Missing(field));
                self.change(side, number(part(0)?, field)?, part(1)?, field)?;
            }
        }
        Ok(())
    }

    fn exchange_changes(&mut self, root: Value<'_>) -> Result<(), DecodeError> {
        if !self.exchange_event(root, false)? {
            return Ok(());
        }
        for change in array(root, "changes")?.items() {
            let part = |at: usize| change.at(at).and_then(|v| v.text()).ok_or(DecodeError::Missing("changes"));
            let side = match part(0)? {
                "buy" => Side::Bid,
                "sell" => Side::Ask,
                _ => return Err(DecodeError::Shape("a side is buy or sell")),
            };
            self.change(side, number(part(1)?, "changes")?, part(2)?, "changes")?;
        }
        Ok(())
    }

    fn exchange_void(&mut self, root: Value<'_>, out: &mut Decoded) {
        let Some(product) = root.text_of("product_id") else { return };
        let Some(instrument) = self.symbols.find(product.as_bytes()) else { return };
        if self.books.of(instrument).void() {
            out.updates.push(Update::Void(instrument, VoidReason::Undecodable));
            for kind in ["unsubscribe", "subscribe"] {
                out.requests
                    .push(format!(r#"{{"type":"{kind}","product_ids":["{product}"],"channels":["level2_batch"]}}"#));
            }
        }
    }
}

/// The Advanced feed from the exchange's chair.
#[derive(Default)]
struct CoinbaseExchange {
    /// Number of the next message.
    sequence: u64,
    /// What each subscribed book shows the client.
    level2: FxHashMap<String, VenueQuote>,
    ticker: Vec<String>,
    status: Vec<String>,
    heartbeats: bool,
    counter: u64,
}

impl ExchangeSide for CoinbaseExchange {
    fn opened(&mut self, _target: &str, _market: &dyn Market, _out: &mut Messages) {}

    fn receive(&mut self, text: &str, market: &dyn Market, out: &mut Messages) {
        let Ok(request) = serde_json::from_str::<serde_json::Value>(text) else {
            return out.push(error("malformed JSON"));
        };
        let channel = request["channel"].as_str().unwrap_or_default();
        let products: Vec<&str> =
            request["product_ids"].as_array().into_iter().flatten().filter_map(|product| product.as_str()).collect();
        match (request["type"].as_str(), channel) {
            (Some("subscribe"), "level2" | "ticker" | STATUS) => {
                if let Some(product) = products.iter().find(|product| market.quote(product).is_none()) {
                    return out.push(error(&format!("{product} is not a valid product")));
                }
                products
                    .iter()
                    .filter_map(|product| market.quote(product))
                    .for_each(|quote| self.add(channel, &VenueQuote { time: market.now(), ..quote }, out));
            }
            (Some("unsubscribe"), "level2") => self.level2.retain(|product, _| !products.contains(&product.as_str())),
            (Some("unsubscribe"), STATUS) => self.status.retain(|product| !products.contains(&product.as_str())),
            (Some("unsubscribe"), "ticker") => self.ticker.retain(|product| !products.contains(&product.as_str())),
            (Some(kind @ ("subscribe" | "unsubscribe")), "heartbeats") => self.heartbeats = kind == "subscribe",
            (Some("subscribe" | "unsubscribe"), _) => return out.push(error("unknown channel")),
            _ => return out.push(error("type must be subscribe or unsubscribe")),
        }
        let state = self.state();
        self.send("subscriptions", market.now(), &state, out);
    }

    fn quote(&mut self, quote: &VenueQuote, out: &mut Messages) {
        let Some(last) = self.level2.get_mut(&quote.native) else { return };
        let updates = updates(quote, Some(last));
        *last = quote.clone();
        if !updates.is_empty() {
            let event = book_event("update", &quote.native, &updates);
            self.send("l2_data", quote.time, &event, out);
        }
    }

    fn statistics(&mut self, quote: &VenueQuote, out: &mut Messages) {
        if self.ticker.contains(&quote.native) {
            self.send("ticker", quote.time, &ticker_event("update", quote), out);
        }
    }

    fn trading(&mut self, quote: &VenueQuote, out: &mut Messages) {
        if self.status.contains(&quote.native) {
            self.send(STATUS, quote.time, &status_event("update", quote), out);
        }
    }

    fn heartbeat(&mut self, now: UnixNs, out: &mut Messages) {
        if !self.heartbeats {
            return;
        }
        self.counter += 1;
        let mut time = String::new();
        write_rfc3339(now, 9, &mut time);
        let time = time.replace('T', " ").replace('Z', " +0000 UTC");
        let event = format!(r#"{{"current_time":"{time}","heartbeat_counter":"{}"}}"#, self.counter);
        self.send("heartbeats", now, &event, out);
    }
}

impl CoinbaseExchange {
    /// Subscribes a product; its state comes before the acknowledgement, as on the real wire.
    fn add(&mut self, channel: &str, quote: &VenueQuote, out: &mut Messages) {
        if channel == "ticker" {
            if !self.ticker.contains(&quote.native) {
                self.ticker.push(quote.native.clone());
            }
            return self.send("ticker", quote.time, &ticker_event("snapshot", quote), out);
        }
        if channel == STATUS {
            self.status.retain(|product| *product != quote.native);
            self.status.push(quote.native.clone());
            return self.send(STATUS, quote.time, &status_event("snapshot", quote), out);
        }
        self.level2.insert(quote.native.clone(), quote.clone());
        let updates = updates(quote, None);
        self.send("l2_data", quote.time, &book_event("snapshot", &quote.native, &updates), out);
    }

    /// Everything that is subscribed now, as an acknowledgement's event.
    fn state(&self) -> String {
        let list = |products: Vec<&String>| serde_json::to_string(&products).unwrap_or_default();
        let mut channels = Vec::new();
        if self.heartbeats {
            channels.push(r#""heartbeats":["heartbeats"]"#.to_owned());
        }
        if !self.level2.is_empty() {
            channels.push(format!(r#""level2":{}"#, list(self.level2.keys().collect())));
        }
        if !self.status.is_empty() {
            channels.push(format!(r#""status":{}"#, list(self.status.iter().collect())));
        }
        if !self.ticker.is_empty() {
            channels.push(format!(r#""ticker":{}"#, list(self.ticker.iter().collect())));
        }
        format!(r#"{{"subscriptions":{{{}}}}}"#, channels.join(","))
    }

    fn send(&mut self, channel: &str, time: UnixNs, event: &str, out: &mut Messages) {
        let mut frame = format!(r#"{{"channel":"{channel}","timestamp":""#);
        write_rfc3339(time, 9, &mut frame);
        // Writing to a String cannot fail.
        let _ = write!(frame, r#"","sequence_num":{},"events":[{event}]}}"#, self.sequence);
        self.sequence += 1;
        out.push(frame);
    }
}

fn error(message: &str) -> String {
    serde_json::json!({"type": "error", "message": message}).to_string()
}

fn one_update(side: &str, time: UnixNs, price: Decimal, size: Decimal) -> String {
    let mut update = format!(r#"{{"side":"{side}","event_time":""#);
    write_rfc3339(time, 6, &mut update);
    let _ = write!(update, r#"","price_level":"{price}","new_quantity":"{size}"}}"#);
    update
}

/// What to say to a client that was shown `last` of a book.
fn updates(quote: &VenueQuote, last: Option<&VenueQuote>) -> Vec<String> {
    let changes = quote.changes(last, ladder::LEVELS);
    let of = |side, name: &'static str| {
        let levels = levels_of(&changes, side).into_iter();
        levels.map(|level| one_update(name, quote.time, level.price, level.size)).collect::<Vec<_>>()
    };
    [of(Side::Bid, "bid"), of(Side::Ask, "offer")].concat()
}

fn book_event(kind: &str, product: &str, updates: &[String]) -> String {
    format!(r#"{{"type":"{kind}","product_id":"{product}","updates":[{}]}}"#, updates.join(","))
}

/// A product's status.
const fn status_word(is_trading: bool) -> &'static str {
    if is_trading { "online" } else { "offline" }
}

fn status_event(kind: &str, quote: &VenueQuote) -> String {
    let (native, status) = (&quote.native, status_word(quote.is_trading));
    let (base, counter) = native.split_once('-').unwrap_or((native, ""));
    let names = format!(r#""id":"{native}","base_currency":"{base}","quote_currency":"{counter}""#);
    let product = format!(r#"{{"product_type":"SPOT",{names},"status":"{status}","status_message":""}}"#);
    format!(r#"{{"type":"{kind}","products":[{product}]}}"#)
}

fn ticker_event(kind: &str, quote: &VenueQuote) -> String {
    let VenueQuote { native, bid, ask, day, .. } = quote;
    let volume = if day.last > 0.0 { day.quote_volume / day.last } else { 0.0 };
    let mut ticker =
        format!(r#"{{"type":"ticker","product_id":"{native}","price":"{}","volume_24_h":"{volume}""#, day.last);
    let _ = write!(
        ticker,
        r#","low_24_h":"{}","high_24_h":"{}","price_percent_chg_24_h":"{}","best_bid":"{}","best_ask":"{}""#,
        day.low, day.high, day.change_pct, bid.price, ask.price
    );
    let _ = write!(ticker, r#","best_bid_quantity":"{}","best_ask_quantity":"{}"}}"#, bid.size, ask.size);
    format!(r#"{{"type":"{kind}","tickers":[{ticker}]}}"#)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(frames: &[&str]) -> (Vec<Update>, Vec<Result<Frame, DecodeError>>, Requests) {
        let mut codec = Coinbase.codec(Symbols::discovering(Coinbase.symbol_of()));
        let mut out = Decoded::default();
        let results = frames.iter().map(|frame| codec.decode(frame.as_bytes(), MonoNs(0), &mut out)).collect();
        (out.updates, results, out.requests)
    }

    fn tops(updates: &[Update]) -> Vec<String> {
        let show = |level: Level| format!("{} x {}", level.price, level.size);
        updates
            .iter()
            .filter_map(|update| match update {
                Update::Top(top) => Some(format!("{} / {}", show(top.bid), show(top.ask))),
                _ => None,
            })
            .collect()
    }

    fn l2(sequence: u64, kind: &str, updates: &[(&str, &str, &str)]) -> String {
        let updates: Vec<String> = updates
            .iter()
            .map(|(side, price, size)| {
                format!(
                    r#"{{"side":"{side}","event_time":"2026-08-09T21:05:48.2Z","price_level":"{price}","new_quantity":"{size}"}}"#
                )
            })
            .collect();
        format!(
            r#"{{"channel":"l2_data","timestamp":"2026-08-09T21:05:48.507227366Z","sequence_num":{sequence},"events":[{{"type":"{kind}","product_id":"BTC-USD","updates":[{}]}}]}}"#,
            updates.join(",")
        )
    }

    #[test]
    fn the_top_of_the_book_is_told_when_it_changes() {
        let (updates, results, _) = decode(&[
            &l2(0, "snapshot", &[("bid", "10", "1"), ("bid", "9", "2"), ("offer", "11", "3")]),
            &l2(1, "update", &[("bid", "8", "5")]),
            &l2(2, "update", &[("bid", "10", "0")]),
            &l2(3, "update", &[("offer", "10.5", "4"), ("bid", "9", "1")]),
        ]);
        assert!(results.iter().all(|result| *result == Ok(Frame::Data)));
        assert_eq!(tops(&updates), ["10 x 1 / 11 x 3", "9 x 2 / 11 x 3", "9 x 1 / 10.5 x 4"]);
    }

    #[test]
    fn a_jump_of_the_sequence_voids_everything_and_reconnects() {
        let (updates, results, _) = decode(&[
            &l2(0, "snapshot", &[("bid", "10", "1"), ("offer", "11", "3")]),
            &l2(2, "update", &[("bid", "10.5", "5")]),
            &l2(3, "update", &[("bid", "10.6", "5")]),
        ]);
        assert_eq!(results, [Ok(Frame::Data), Err(DecodeError::Gap), Ok(Frame::Data)]);
        let btc = InstrumentId(0);
        assert_eq!(updates[1..], [Update::Void(btc, VoidReason::Gap), Update::Reconnect("sequence_num jumped")]);
    }

    #[test]
    fn a_repeated_or_late_frame_changes_nothing() {
        let update = l2(1, "update", &[("bid", "10", "7")]);
        let late = l2(0, "update", &[("bid", "10.9", "7")]);
        let first = l2(0, "snapshot", &[("bid", "10", "1"), ("offer", "11", "3")]);
        let next = l2(2, "update", &[("bid", "10", "8")]);
        let (updates, results, _) = decode(&[&first, &update, &update, &next]);
        assert!(results.iter().all(Result::is_ok));
        assert_eq!(tops(&updates), ["10 x 1 / 11 x 3", "10 x 7 / 11 x 3", "10 x 8 / 11 x 3"]);
        // Counting from 0 again is a restart, which is a loss.
        assert_eq!(decode(&[&first, &update, &next, &late]).1[3], Err(DecodeError::Gap));
    }

    #[test]
    fn a_frame_that_cannot_be_read_voids_its_book_and_asks_for_it_anew() {
        let (updates, results, requests) = decode(&[
            &l2(0, "snapshot", &[("bid", "10", "1"), ("offer", "11", "3")]),
            &l2(1, "update", &[("bid", "10.5", "5"), ("bid", "ten", "1")]),
            &l2(2, "update", &[("bid", "10.6", "5")]),
        ]);
        assert!(matches!(results[1], Err(DecodeError::Number("price_level", _))));
        assert_eq!(updates[1..], [Update::Void(InstrumentId(0), VoidReason::Undecodable)]);
        assert_eq!(requests.len(), 2);
    }

    fn ticker(sequence: u64, bid: &str) -> String {
        format!(
            r#"{{"channel":"ticker","client_id":"","timestamp":"2026-08-09T21:05:48.507227366Z","sequence_num":{sequence},"events":[{{"type":"update","tickers":[{{"type":"ticker","product_id":"BTC-USD","price":"10","best_bid":"{bid}","best_ask":"11","best_bid_quantity":"1","best_ask_quantity":"2"}}]}}]}}"#
        )
    }

    #[test]
    fn a_ticker_that_cannot_be_read_voids_the_price_and_the_next_one_counts() {
        let whole = ticker(1, "10");
        let unread = ticker(1, "ten");
        // Cut behind the product, in the time stamp, in the number, and not JSON's but our reason.
        for form in [&whole[..whole.len() - 2], &whole[..60], &whole[..104], &unread] {
            let (updates, results, _) = decode(&[&ticker(0, "9"), form, &ticker(2, "10.2"), &ticker(3, "10.3")]);
            assert!(results[1].is_err(), "{form}");
            assert!(results[2..].iter().all(|result| *result == Ok(Frame::Data)), "{form}: {results:?}");
            let is_loss = |update: &&Update| matches!(update, Update::Void(..) | Update::Reconnect(_));
            let losses: Vec<_> = updates.iter().filter(is_loss).collect();
            assert_eq!(losses, [&Update::Void(InstrumentId(0), VoidReason::Undecodable)], "{form}");
            assert_eq!(tops(&updates), ["9 x 1 / 11 x 2", "10.2 x 1 / 11 x 2", "10.3 x 1 / 11 x 2"], "{form}");
        }
    }

    #[test]
    fn a_change_of_a_book_that_cannot_be_read_is_a_loss() {
        let change = l2(1, "update", &[("bid", "10.5", "5")]);
        let (updates, results, _) = decode(&[
            &l2(0, "snapshot", &[("bid", "10", "1"), ("offer", "11", "3")]),
            &change[..change.len() - 2],
            &l2(2, "update", &[("bid", "10.6", "5")]),
        ]);
        assert_eq!(results[1..], [Err(DecodeError::Json), Err(DecodeError::Gap)]);
        assert!(updates.contains(&Update::Void(InstrumentId(0), VoidReason::Undecodable)), "{updates:?}");
        assert_eq!(updates.last(), Some(&Update::Reconnect("sequence_num jumped")));
    }

    #[test]
    fn flags_halt_a_product_in_the_stream_as_in_the_list() {
        let of_list = |members: &str| {
            let row =
                format!(r#"{{"product_id":"BTC-USD","base_currency_id":"BTC","quote_currency_id":"USD"{members}}}"#);
            Coinbase.read_listing(format!(r#"{{"products":[{row}]}}"#).as_bytes()).unwrap()[0].is_trading
        };
        let of_stream = |members: &str| {
            let product = format!(r#"{{"id":"BTC-USD"{members}}}"#);
            let advanced = format!(
                r#"{{"channel":"status","timestamp":"","sequence_num":1,"events":[{{"type":"update","products":[{product}]}}]}}"#
            );
            let exchange = format!(r#"{{"type":"status","products":[{product}],"currencies":[]}}"#);
            let first = l2(0, "snapshot", &[("bid", "10", "1"), ("offer", "11", "3")]);
            [advanced, exchange].map(|frame| {
                decode(&[&first, &frame])
                    .0
                    .into_iter()
                    .find_map(|it| if let Update::Trading(_, is) = it { Some(is) } else { None })
            })
        };
        for (members, is_traded) in [
            (r#","status":"online""#, Some(true)),
            (r#","status":"online","trading_disabled":false,"cancel_only":false,"auction_mode":false"#, Some(true)),
            (r#","status":"online","limit_only":true"#, Some(true)),
            (r#","status":"online","trading_disabled":true"#, Some(false)),
            (r#","status":"online","is_disabled":true"#, Some(false)),
            (r#","status":"online","view_only":true"#, Some(false)),
            (r#","status":"online","cancel_only":true"#, Some(false)),
            (r#","status":"online","post_only":true"#, Some(false)),
            (r#","status":"online","auction_mode":true"#, Some(false)),
            (r#","cancel_only":true"#, Some(false)),
            (r#","status":"offline""#, Some(false)),
            (r#","status":"delisted","limit_only":true"#, Some(false)),
            ("", None),
        ] {
            assert_eq!(of_stream(members), [is_traded; 2], "{members}");
            assert_eq!(of_list(members), is_traded.unwrap_or(false), "{members}");
        }
    }

    #[test]
    fn one_book_is_not_served_under_two_names() {
        assert_eq!(Coinbase.native("BTC", "USD"), Ok("BTC-USD".to_owned()));
        assert_eq!(Coinbase.native("USDT", "USDC"), Ok("USDT-USDC".to_owned()));
        assert!(Coinbase.native("BTC", "USDC").unwrap_err().contains("write BTC/USD"));
        assert_eq!(Coinbase.symbol_of()("BTC-USD"), Some("BTC/USD".to_owned()));
        for native in ["BTC", "BTC-PERP-INTX", "-USD", "BTC-", ""] {
            assert_eq!(Coinbase.symbol_of()(native), None);
        }
    }
}
