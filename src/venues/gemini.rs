//! Gemini spot: `bookTicker` of the new socket live for tops, `depth` for order books; the old socket's `l2` from
//! recordings.
//!
//! A `bookTicker` has no name in it and is recognised by its keys; its stamp counts nanoseconds, and a side that is
//! missing or empty is absent. A book comes as changes: the first of a symbol is the whole. Neither socket tells
//! figures of the day. Called on the feed's thread; keeps a book for order books and for recordings.

use std::fmt::Write as _;

use serde_json::{Value as Json, json};

use crate::market::book::{Book, Side};
use crate::market::{InstrumentId, Level};
use crate::time::{MonoNs, UnixNs};
use crate::venues::codes::Codes;
use crate::venues::depth::{ChainLink, Chained, Depth, LEVELS_MAX, LevelChange, PerInstrument, TopStamp};
use crate::venues::ladder::{self, levels_of};
use crate::venues::listing::{self, Listing, ListingEntry, TradingStatusPage};
use crate::venues::reading::{self, Asked, BookTicker, Sequences, array, changes, integer, side_if_any, text, time};
use crate::venues::writing::{self, ClientSubscriptions};
use crate::venues::{
    BookFacts, Check, DecodeError, Decoded, ExchangeSide, Facts, FeedCodec, Frame, Keepalive, Market, Messages,
    Opening, Requests, StampFacts, SymbolEntry, Symbols, Top, Update, Venue, VenueLimits, VenueQuote, VoidReason,
};
use crate::wire::json::{Parser, Scan, Value};
use crate::wire::query;

/// Gemini, spot.
pub(crate) struct Gemini;

/// <https://developer.gemini.com/websocket/streams> and <https://developer.gemini.com/websocket/archived/v1>, read
/// 2026-11-21. No limit of requests, subscriptions or age is published for this socket. Fee: base tier of the API
/// schedule by ccxt 4.5.90.
static FACTS: Facts = Facts {
    name: "gemini",
    title: "Gemini",
    address: "wss://ws.gemini.com",
    opening: Opening::Direct,
    taker_fee_pct: "0.40",
    keepalive: Keepalive::Server,
    message_max: 8 << 20,
    request_gap_ms: 200,
    channel: "bookTicker",
    books: Some(BookFacts { channel: DEPTH, levels_max: LEVELS_MAX, check: Check::Sequence }),
    // No recorded stamps of this channel; `u` orders the quotes of an instrument.
    stamps: StampFacts { unit_ns: 1, ..StampFacts::MILLISECONDS },
    limits: VenueLimits::UNPUBLISHED,
    docs: "https://developer.gemini.com/websocket/streams (2026-11-21)",
};

/// The stream of tops,
const TICKER: &str = "bookTicker";
/// and that of order books: what changed within 100 ms. With `snapshot=-1` in the connection's address the first message
/// after each subscription is the whole book, without a cut (<https://docs.gemini.com/websocket/introduction>, read
/// 2026-11-21). By a public measurement of 2026-09-15 of 13 instruments it comes before the answer to the subscription,
/// its `U` is its `u`, which no change has, and the `U` of each change is the `u` before it; one above it is a loss.
const DEPTH: &str = "depth@100ms";

/// Quote assets of the venue's listing of 2026-08, and older ones that recordings have.
const QUOTES: &[&str] = &[
    "USD", "USDC", "GUSD", "RLUSD", "BTC", "ETH", "SOL", "FIL", "USDT", "EUR", "GBP", "SGD", "BCH", "LTC", "ZEC", "DAI",
];

/// Bases that end in the letters by which a longer quote asset begins: PAXG/USD is not PAX/GUSD. From the listing of
/// 2026-08, where every other base of a market in USD has one in GUSD and RLUSD.
const BASES_LIKE_QUOTES: [&str; 2] = ["PAXG", "USDG"];

/// Streams asked for in one request. No limit is published.
const STREAMS_PER_REQUEST: usize = 100;

const CODES: Codes = Codes::usual("Gemini");

/// Path of a symbol's page (<https://docs.gemini.com/rest/market-data>, read 2026-11-30). No stream and no list states
/// the status of a spot instrument; `contractStatus` is about prediction markets.
const DETAILS: &str = "/v1/symbols/details/";
/// Public REST requests: at most 120 per minute, 1 per second is recommended
/// (<https://developer.gemini.com/rate-limit>, read 2026-11-30).
const REST_GAP_MS: u64 = 1000;

/// Whether immediate orders are accepted on both sides: while the book is `open` or `limit_only`. A limit order with
/// `immediate-or-cancel` is Gemini's way to take; `closed`, `cancel_only` and `post_only` do not accept it.
fn read_status(reply: &[u8]) -> Result<bool, DecodeError> {
    Parser::default().parse(reply, |root| Ok(matches!(text(root, "status")?, "open" | "limit_only")))?
}

impl Venue for Gemini {
    fn facts(&self) -> &'static Facts {
        &FACTS
    }

    fn codes(&self) -> Codes {
        CODES
    }

    fn native(&self, base: &str, quote: &str) -> Result<String, String> {
        let [base, quote] = CODES.native(base, quote)?;
        if !QUOTES.contains(&quote) {
            return Err(format!("Gemini has no market in {quote}; most are in USD, USDC, GUSD or RLUSD"));
        }
        Ok(format!("{base}{quote}").to_lowercase())
    }

    fn symbol_of(&self) -> fn(&str) -> Option<String> {
        symbol_of
    }

    fn codec(&self, symbols: Symbols) -> Box<dyn FeedCodec> {
        Box::new(GeminiCodec { parser: Parser::default(), state: GeminiState { symbols, ..GeminiState::default() } })
    }

    fn book_codec(&self, symbols: Symbols, _levels: usize) -> Option<Box<dyn FeedCodec>> {
        let state = GeminiState { symbols, wants_books: true, ..GeminiState::default() };
        Some(Box::new(GeminiCodec { parser: Parser::default(), state }))
    }

    fn book_address(&self, address: &str) -> String {
        let (_, host) = address.split_once("://").unwrap_or(("", address));
        let mark = match (host.contains('?'), host.contains('/')) {
            (true, _) => "&",
            (false, true) => "?",
            (false, false) => "/?",
        };
        format!("{address}{mark}snapshot=-1")
    }

    fn listing(&self) -> Listing {
        Listing { address: "https://api.gemini.com", path: "/v1/symbols" }
    }

    fn read_listing(&self, reply: &[u8]) -> Result<Vec<ListingEntry>, DecodeError> {
        listing::read(
            reply,
            &CODES,
            |root| root.is_array().then(|| root.items().collect()),
            |row| {
                // The list has names only. Each symbol's page has its steps and status, see `status_page`.
                let native = row.text()?.to_lowercase();
                let symbol = symbol_of(&native)?;
                let (base, quote) = symbol.split_once('/')?;
                let (base, quote) = (base.to_owned(), quote.to_owned());
                Some(ListingEntry { base, quote, native, is_trading: true, ..ListingEntry::default() })
            },
        )
    }

    fn status_page(&self) -> Option<TradingStatusPage> {
        Some(TradingStatusPage { path: |native| format!("{DETAILS}{native}"), gap_ms: REST_GAP_MS, read: read_status })
    }

    fn exchange_side(&self) -> Box<dyn ExchangeSide> {
        Box::new(GeminiExchange::default())
    }

    fn rest(&self, method: &str, target: &str, _base: &str, market: &dyn Market) -> Option<String> {
        let path = target.split('?').next().filter(|_| method == "GET")?;
        let listed = market.listed();
        if path == "/v1/symbols" {
            let names: Vec<&str> = listed.iter().map(|entry| entry.native.as_str()).collect();
            return Some(Json::from(names).to_string());
        }
        let native = path.strip_prefix(DETAILS)?.to_lowercase();
        let entry = listed.iter().find(|entry| entry.native == native)?;
        // Numbers in the form that the venue has for small ones.
        let step = |decimals: u8| 10f64.powi(-i32::from(decimals));
        let details = json!({
            "symbol": native.to_uppercase(), "base_currency": entry.base, "quote_currency": entry.quote,
            "tick_size": step(entry.size_decimals), "quote_increment": step(entry.price_decimals),
            "min_order_size": entry.lot(), "status": if entry.is_trading { "open" } else { "closed" }, "wrap_enabled": false,
            "product_type": "spot", "contract_type": "vanilla", "contract_price_currency": entry.quote,
        });
        Some(details.to_string())
    }
}

/// Lower case on the new socket, upper case on the old one. The perpetuals (`btcusdcperp`) end in no quote asset.
fn symbol_of(native: &str) -> Option<String> {
    let upper = native.to_uppercase();
    let fits =
        |quote: &&&str| upper.strip_suffix(**quote).is_some_and(|base| !base.is_empty() && reading::is_code(base));
    let is_plain_usd = |base: &str| BASES_LIKE_QUOTES.contains(&base);
    if let Some(base) = upper.strip_suffix("USD").filter(|base| is_plain_usd(base)) {
        return Some(format!("{base}/USD"));
    }
    let quote = QUOTES.iter().filter(fits).max_by_key(|quote| quote.len())?;
    Some(format!("{}/{quote}", &upper[..upper.len() - quote.len()]))
}

struct GeminiCodec {
    parser: Parser,
    state: GeminiState,
}

#[derive(Default)]
struct GeminiState {
    symbols: Symbols,
    /// Order books are wanted, and no tops.
    wants_books: bool,
    asked: Asked,
    sequences: Sequences,
    books: PerInstrument<NewBook>,
    old_books: PerInstrument<Depth>,
    levels: Vec<LevelChange>,
}

/// A book of the new socket.
#[derive(Default)]
struct NewBook {
    chain: Chained,
    /// Something was lost: what comes next is no whole book, unless it says so.
    is_lost: bool,
}

impl FeedCodec for GeminiCodec {
    fn opened(&mut self, requests: &mut Requests) {
        let stream = self.state.stream();
        let GeminiState { symbols, asked, sequences, books, old_books, .. } = &mut self.state;
        asked.clear();
        sequences.clear();
        books.clear();
        old_books.clear();
        asked.for_each(stream, symbols.entries(), STREAMS_PER_REQUEST, |number, chunk| {
            requests.push(request(number, stream, chunk));
        });
    }

    fn read(&mut self, frame: &[u8], received: MonoNs, out: &mut Decoded) -> Result<Frame, DecodeError> {
        let Self { parser, state } = self;
        if let Some((symbol, ticker)) = scan_book_ticker(frame) {
            let Some(instrument) = state.symbols.find(symbol) else { return Ok(Frame::Unused) };
            return Ok(state.book_ticker(instrument, ticker, received, out));
        }
        parser.parse(frame, |root| state.message(root, received, out))?
    }

    fn resubscribe(&mut self, instruments: &[InstrumentId], requests: &mut Requests) {
        for &id in instruments {
            // A whole book is on its way, and is none of its changes.
            if self.state.wants_books {
                self.state.books.of(id).lose();
            }
            self.state.ask_again(id, requests);
        }
    }

    fn symbols(&self) -> &Symbols {
        &self.state.symbols
    }

    fn forget(&mut self, instrument: InstrumentId) {
        self.state.books.of(instrument).chain.depth.forget_published();
        // The changes of the old socket are not numbered: one may be lost.
        self.state.old_books.of(instrument).void();
    }

    fn book(&self, instrument: InstrumentId) -> Option<&Book> {
        let depth = &self.state.books.get(instrument)?.chain.depth;
        depth.is_live().then_some(depth.book())
    }
}

impl NewBook {
    fn lose(&mut self) {
        self.chain.depth.void();
        self.is_lost = true;
    }
}

fn request(number: usize, stream: &str, entries: &[SymbolEntry]) -> String {
    let mut request = format!(r#"{{"id":"{number}","method":"subscribe","params":["#);
    for (at, entry) in entries.iter().enumerate() {
        let comma = if at == 0 { "" } else { "," };
        // Writing to a String cannot fail.
        let _ = write!(request, r#"{comma}"{}@{stream}""#, entry.native);
    }
    request.push_str("]}");
    request
}

/// What `bookTicker` says.
struct GeminiBookTicker {
    sequence: u64,
    at: UnixNs,
    bid: Level,
    ask: Level,
}

/// Reads `bookTicker` in the field order that the venue documents, with the last trade behind it or without;
/// `None`: the general way.
#[inline(always)]
fn scan_book_ticker(frame: &[u8]) -> Option<(&[u8], GeminiBookTicker)> {
    let mut scan = Scan::new(frame);
    scan.literal(b"{\"u\":")?;
    let sequence = scan.integer()?;
    scan.literal(b",\"E\":")?;
    let at = time(scan.integer()?);
    scan.literal(b",\"s\":\"")?;
    let BookTicker { symbol, bid, ask } = reading::scan_book_ticker(&mut scan)?;
    if scan.literal(b",\"c\":\"").is_some() {
        scan.string()?;
        scan.literal(b",\"C\":\"")?;
        scan.string()?;
    }
    scan.literal(b"}")?;
    scan.end()?;
    Some((symbol, GeminiBookTicker { sequence, at, bid, ask }))
}

impl GeminiState {
    /// What is asked for.
    const fn stream(&self) -> &'static str {
        if self.wants_books { DEPTH } else { TICKER }
    }

    fn ask_again(&self, instrument: InstrumentId, requests: &mut Requests) {
        let stream = self.stream();
        for native in self.symbols.natives(&[instrument]) {
            for method in ["unsubscribe", "subscribe"] {
                // No request of ours that asks for all has the id 0.
                requests.push(format!(r#"{{"id":"0","method":"{method}","params":["{native}@{stream}"]}}"#));
            }
        }
    }

    #[inline(always)]
    fn book_ticker(
        &mut self,
        instrument: InstrumentId,
        ticker: GeminiBookTicker,
        received: MonoNs,
        out: &mut Decoded,
    ) -> Frame {
        let GeminiBookTicker { sequence, at: exchange_time, bid, ask } = ticker;
        let top = Top { instrument, bid, ask, sequence, exchange_time, channel: "bookTicker" };
        self.sequences.publish(top, received, out);
        Frame::Data
    }

    fn message(&mut self, root: Value<'_>, received: MonoNs, out: &mut Decoded) -> Result<Frame, DecodeError> {
        if !root.is_object() {
            return Err(DecodeError::Shape("not an object"));
        }
        if let Some(kind) = root.text_of("type") {
            return self.old(kind, root, out);
        }
        if root.text_of("result") == Some("error") {
            let why = root.text_of("message").or(root.text_of("reason")).unwrap_or("no reason given");
            out.updates.push(Update::Refused(why.to_owned()));
            return Ok(Frame::Control);
        }
        match root.text_of("e") {
            Some("depthUpdate") => self.depth_update(root, received, out),
            Some(_) => Ok(Frame::Unused),
            None if root.get("status").is_some() => self.reply(root, out),
            // Trades have no sizes of a bid and an ask.
            None if ["u", "b", "a", "B", "A"].iter().any(|key| root.get(key).is_some()) && root.get("s").is_some() => {
                let Some(instrument) = self.symbols.find(text(root, "s")?.as_bytes()) else { return Ok(Frame::Unused) };
                let ticker = out.void_unread(instrument, read_book_ticker(root))?;
                Ok(self.book_ticker(instrument, ticker, received, out))
            }
            // A trade, or one of the small books, which do not say whose they are.
            None if root.get("s").is_some() || root.get("lastUpdateId").is_some() => Ok(Frame::Unused),
            None => Err(DecodeError::Shape("nothing that this venue sends")),
        }
    }

    fn reply(&mut self, root: Value<'_>, out: &mut Decoded) -> Result<Frame, DecodeError> {
        let number = root.get("id").and_then(|id| id.integer());
        if integer(root, "status")? == 200 {
            if let Some((_, range)) = self.asked.of(number) {
                out.updates.extend(self.symbols.entries()[range].iter().map(|entry| Update::Subscribed(entry.id)));
            }
            return Ok(Frame::Control);
        }
        let error = root.get("error");
        let why = error.and_then(|error| error.text_of("msg").or(error.text_of("code"))).unwrap_or("no reason given");
        out.updates.push(Update::Refused(why.to_owned()));
        for (number, stream, at) in self.asked.singly(number) {
            out.requests.push(request(number, stream, &self.symbols.entries()[at..=at]));
        }
        Ok(Frame::Control)
    }

    fn depth_update(&mut self, root: Value<'_>, received: MonoNs, out: &mut Decoded) -> Result<Frame, DecodeError> {
        let Some(instrument) = self.symbols.find(text(root, "s")?.as_bytes()) else { return Ok(Frame::Unused) };
        let read = self.read_depth(root);
        if read.is_err() {
            let book = self.books.of(instrument);
            let was_live = book.chain.depth.is_live();
            book.lose();
            if was_live && self.wants_books {
                self.ask_again(instrument, &mut out.requests);
            }
        }
        let (first, last, exchange_time) = out.void_unread(instrument, read)?;
        // A recording cannot be asked for a new snapshot; there a number that follows is no loss.
        let after = if self.wants_books { first } else { first.saturating_sub(1) };
        let link = ChainLink { after: Some(after), number: Some(last), at: exchange_time };
        let book = self.books.of(instrument);
        if !book.chain.depth.is_live() {
            // A removal refers to an earlier message: a recording that begins in the middle.
            let is_change = self.levels.iter().any(|change| change.level.size.is_zero());
            if is_change || ((book.is_lost || self.wants_books) && !(self.wants_books && first == last)) {
                return Ok(Frame::Data);
            }
            book.chain.replace(instrument, (link, received), &mut self.levels, out);
            book.is_lost = false;
        } else if let Err(why) = book.chain.follow(link, &self.levels, received) {
            book.lose();
            out.updates.push(Update::Void(instrument, why.loss().unwrap_or(VoidReason::Gap)));
            if self.wants_books {
                self.ask_again(instrument, &mut out.requests);
            }
            return Err(why);
        } else if last < book.chain.sequence() {
            // An old one changed nothing.
            return Ok(Frame::Data);
        }
        let quoted = TopStamp { instrument, sequence: book.chain.sequence(), exchange_time, channel: "depth" };
        book.chain.depth.publish(quoted, out);
        if self.wants_books {
            book.chain.note(instrument, out);
        }
        Ok(Frame::Data)
    }

    /// Reads an event of the depth stream into `levels`; gives its first and last number and its stamp.
    fn read_depth(&mut self, root: Value<'_>) -> Result<(u64, u64, UnixNs), DecodeError> {
        let place = (integer(root, "U")?, integer(root, "u")?, time(integer(root, "E")?));
        if place.0 > place.1 {
            return Err(DecodeError::Shape("`U` is above `u`"));
        }
        self.levels.clear();
        changes(root, "b", Side::Bid, &mut self.levels)?;
        changes(root, "a", Side::Ask, &mut self.levels)?;
        Ok(place)
    }

    /// The old socket. <https://developer.gemini.com/websocket/archived/v2>
    fn old(&mut self, kind: &str, root: Value<'_>, out: &mut Decoded) -> Result<Frame, DecodeError> {
        match kind {
            "l2_updates" => {}
            "heartbeat" | "subscription_ack" => return Ok(Frame::Control),
            _ => return Ok(Frame::Unused),
        }
        let Some(instrument) = self.symbols.find(text(root, "symbol")?.as_bytes()) else { return Ok(Frame::Unused) };
        self.levels.clear();
        let read = self.old_changes(root);
        let depth = self.old_books.of(instrument);
        if let Err(why) = read {
            // There is no number by which a lost change would be noticed later.
            if depth.void() {
                out.undecodable(instrument);
            }
            return Err(why);
        }
        // The first message, and it alone, has a list of trades: it is the whole book.
        if root.get("trades").is_some() {
            depth.replace(&mut self.levels);
        } else if depth.is_live() {
            depth.apply(&self.levels);
        } else {
            return Ok(Frame::Data);
        }
        depth.publish(TopStamp { instrument, sequence: 0, exchange_time: UnixNs(0), channel: "l2" }, out);
        Ok(Frame::Data)
    }

    fn old_changes(&mut self, root: Value<'_>) -> Result<(), DecodeError> {
        for change in array(root, "changes")?.items() {
            let side = match change.at(0).and_then(|side| side.text()) {
                Some("buy") => Side::Bid,
                Some("sell") => Side::Ask,
                _ => return Err(DecodeError::Shape("a change is of the side buy or sell")),
            };
            let price = reading::decimal(change.at(1), "changes")?;
            let size = reading::decimal(change.at(2), "changes")?;
            if price.is_zero() {
                return Err(DecodeError::Shape("a book level at price 0"));
            }
            self.levels.push(LevelChange { side, level: Level { price, size } });
        }
        Ok(())
    }
}

fn read_book_ticker(root: Value<'_>) -> Result<GeminiBookTicker, DecodeError> {
    Ok(GeminiBookTicker {
        sequence: integer(root, "u")?,
        at: time(integer(root, "E")?),
        bid: side_if_any(root, "b", "B")?,
        ask: side_if_any(root, "a", "A")?,
    })
}

/// The venue's end of a connection to the new socket.
#[derive(Default)]
struct GeminiExchange {
    subscriptions: ClientSubscriptions,
    /// The client wants a whole book first (`?snapshot=-1`).
    wants_snapshot: bool,
}

/// The streams that the simulated venue serves.
const SERVED: [&str; 3] = [TICKER, "depth", DEPTH];

impl ExchangeSide for GeminiExchange {
    fn opened(&mut self, target: &str, _market: &dyn Market, _out: &mut Messages) {
        self.wants_snapshot = query::value(query::of(target), "snapshot").is_some();
    }

    fn receive(&mut self, text: &str, market: &dyn Market, out: &mut Messages) {
        let request = serde_json::from_str::<Json>(text).unwrap_or(Json::Null);
        let id = request.get("id").cloned().unwrap_or(Json::Null);
        let refuse = |why: String| json!({"id": id, "status": 400, "error": {"code": -1, "msg": why}}).to_string();
        let method = request["method"].as_str().unwrap_or_default().to_lowercase();
        let names = request["params"].as_array().into_iter().flatten().filter_map(Json::as_str);
        let streams: Vec<(&str, Option<(&str, VenueQuote)>)> = names.map(|name| (name, stream(name, market))).collect();
        if !matches!(method.as_str(), "subscribe" | "unsubscribe") {
            return out.push(refuse(format!("Unknown method {method}")));
        }
        if let Some((name, _)) = streams.iter().find(|(_, known)| known.is_none()) {
            return out.push(refuse(format!("Invalid stream {name}")));
        }
        out.push(json!({"id": id, "status": 200}).to_string());
        for (channel, quote) in streams.into_iter().filter_map(|(_, known)| known) {
            if method == "unsubscribe" {
                self.subscriptions.remove(channel, &quote.native);
                continue;
            }
            match channel {
                "bookTicker" => out.push(book_ticker_frame(&quote)),
                // Its stamp is that of the message.
                _ if self.wants_snapshot => {
                    out.push(depth_frame(&VenueQuote { time: market.now(), ..quote.clone() }, None));
                }
                _ => {}
            }
            self.subscriptions.add(channel, quote, market.now());
        }
    }

    fn quote(&mut self, quote: &VenueQuote, out: &mut Messages) {
        for subscription in self.subscriptions.of(&quote.native) {
            let last = &subscription.last;
            out.push(match subscription.channel.as_str() {
                "bookTicker" => book_ticker_frame(quote),
                _ => depth_frame(quote, Some(last)),
            });
            subscription.last = quote.clone();
        }
    }

    fn statistics(&mut self, _quote: &VenueQuote, _out: &mut Messages) {}

    fn heartbeat(&mut self, _now: UnixNs, _out: &mut Messages) {}
}

/// The channel of a stream and the state of its instrument, if both exist.
fn stream<'a>(name: &'a str, market: &dyn Market) -> Option<(&'a str, VenueQuote)> {
    let (native, channel) = name.split_once('@')?;
    SERVED.contains(&channel).then(|| market.quote(native)).flatten().map(|quote| (channel, quote))
}

fn book_ticker_frame(quote: &VenueQuote) -> String {
    let VenueQuote { native, bid, ask, sequence, time, .. } = quote;
    format!(
        r#"{{"u":{sequence},"E":{},"s":"{native}","b":"{}","B":"{}","a":"{}","A":"{}"}}"#,
        time.0,
        writing::text(*bid, bid.price),
        writing::text(*bid, bid.size),
        writing::text(*ask, ask.price),
        writing::text(*ask, ask.size),
    )
}

/// The changes since `last`, or all of a book.
fn depth_frame(quote: &VenueQuote, last: Option<&VenueQuote>) -> String {
    let changes = quote.changes(last, ladder::LEVELS);
    format!(
        r#"{{"e":"depthUpdate","E":{},"s":"{}","U":{},"u":{},"b":{},"a":{}}}"#,
        quote.time.0,
        quote.native,
        last.unwrap_or(quote).sequence,
        quote.sequence,
        writing::pairs(&levels_of(&changes, Side::Bid)),
        writing::pairs(&levels_of(&changes, Side::Ask)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: InstrumentId = InstrumentId(0);

    fn codec() -> Box<dyn FeedCodec> {
        let entry = SymbolEntry { id: ID, native: "btcusd".to_owned(), symbol: "BTC/USD".to_owned() };
        Gemini.book_codec(Symbols::configured(vec![entry]), 20).unwrap()
    }

    fn hear(codec: &mut dyn FeedCodec, first: u64, last: u64, bids: &str) -> (Result<Frame, DecodeError>, Decoded) {
        let mut out = Decoded::default();
        let stamp = 1_783_981_139_947_514_400 + last;
        let frame = format!(
            r#"{{"e":"depthUpdate","E":{stamp},"s":"btcusd","U":{first},"u":{last},"b":[{bids}],"a":[["200","1"]]}}"#
        );
        (codec.decode(frame.as_bytes(), MonoNs(1), &mut out), out)
    }

    fn bids(codec: &dyn FeedCodec) -> Option<Vec<String>> {
        let book = codec.book(ID)?;
        Some(book.levels(Side::Bid).map(|level| level.price.to_string()).collect())
    }

    #[test]
    fn after_a_loss_only_a_message_of_one_number_is_a_whole_book() {
        let mut codec = codec();
        codec.opened(&mut Requests::new());
        hear(&mut *codec, 100, 100, r#"["101","1"],["100","1"]"#).0.unwrap();
        hear(&mut *codec, 100, 107, r#"["101","0"]"#).0.unwrap();
        assert_eq!(bids(&*codec).unwrap(), ["100"]);

        // 108 is the number of something else that was lost.
        let (result, out) = hear(&mut *codec, 108, 110, r#"["99","1"]"#);
        assert_eq!(result, Err(DecodeError::Gap));
        assert_eq!(out.updates, [Update::Void(ID, VoidReason::Gap)]);
        assert_eq!(
            out.requests,
            ["unsubscribe", "subscribe"]
                .map(|method| format!(r#"{{"id":"0","method":"{method}","params":["btcusd@depth@100ms"]}}"#))
        );
        // A change on its way when the stream was asked for again, and no sign of it.
        let (result, out) = hear(&mut *codec, 110, 115, r#"["98","1"]"#);
        assert_eq!((result, out.updates), (Ok(Frame::Data), vec![]));
        assert_eq!(bids(&*codec), None);

        hear(&mut *codec, 117, 117, r#"["97","1"]"#).0.unwrap();
        hear(&mut *codec, 117, 120, r#"["96","1"]"#).0.unwrap();
        assert_eq!(bids(&*codec).unwrap(), ["97", "96"]);
    }

    /// A stream that is subscribed again begins with a whole book, which replaces everything that was known before.
    #[test]
    fn a_stream_that_is_asked_for_again_begins_anew() {
        let mut codec = codec();
        hear(&mut *codec, 100, 100, r#"["101","1"],["100","1"]"#).0.unwrap();
        codec.resubscribe(&[ID], &mut Requests::new());
        hear(&mut *codec, 100, 100, r#"["100","1"]"#).0.unwrap();
        assert_eq!(bids(&*codec).unwrap(), ["100"]);
    }

    #[test]
    fn the_whole_book_is_asked_for_with_the_address() {
        for (address, meant) in [
            (FACTS.address, "wss://ws.gemini.com/?snapshot=-1"),
            ("ws://127.0.0.1:9/gemini", "ws://127.0.0.1:9/gemini?snapshot=-1"),
            ("wss://host/?x=1", "wss://host/?x=1&snapshot=-1"),
        ] {
            assert_eq!(Gemini.book_address(address), meant);
        }
    }

    #[test]
    fn a_symbol_is_split_by_the_longest_quote_asset_that_is_one() {
        for (native, symbol) in [
            ("btcrlusd", "BTC/RLUSD"),
            ("xrpgusd", "XRP/GUSD"),
            ("2zgusd", "2Z/GUSD"),
            ("paxgusd", "PAXG/USD"),
            ("paxggusd", "PAXG/GUSD"),
            ("usdgusd", "USDG/USD"),
            ("gusdusd", "GUSD/USD"),
            ("rlusdusd", "RLUSD/USD"),
            ("ethbtc", "ETH/BTC"),
            ("LTCBCH", "LTC/BCH"),
        ] {
            assert_eq!(symbol_of(native).as_deref(), Some(symbol));
        }
        for native in ["btcusdcperp", "BTCGUSDPERP", "usd", ""] {
            assert_eq!(symbol_of(native), None, "{native}");
        }
    }
}
