//! Binance spot, and the venues that speak its protocol with facts of their own: `bookTicker` live for quotes, `depth`
//! for order books; `ticker` and the partial books from recordings as well.
//!
//! Frames come raw (`/ws`) or wrapped with their stream's name (`/stream`). `bookTicker` has no time at
//! all; its `u` orders the quotes of one symbol. Upper and lower case differ in meaning: `b` is a price,
//! `B` its size. An order book begins with a page of it by REST, which may be older or younger than the stream.
//! Called on the feed's thread; keeps a book only for diff depth streams.

use std::borrow::Cow;
use std::fmt::Write as _;

use rustc_hash::FxHashMap;
use serde_json::{Value as Json, json};

use crate::market::book::{Book, Side};
use crate::market::quote::StampOrder;
use crate::market::statistics::DayStatistics;
use crate::market::{Decimal, InstrumentId, Level};
use crate::time::{MonoNs, UnixNs};
use crate::venues::codes::{Codes, alias};
use crate::venues::depth::{BookPage, Count, DeltaOrder, Diffs, LevelChange, PageReader, PageSize, PerInstrument};
use crate::venues::ladder::{self, levels_of};
use crate::venues::listing::{self, Listing, ListingEntry};
use crate::venues::paged::PagedBooks;
use crate::venues::reading::{
    self, BookTicker, SeenInstruments, Sequences, changes, figure, integer, side, text, time,
};
use crate::venues::{
    BookFacts, Check, DecodeError, Decoded, ExchangeSide, Facts, FeedCodec, Frame, Keepalive, Listed, Maintenance,
    Market, Messages, Notice, Opening, Pace, Requests, StampFacts, SymbolEntry, Symbols, Top, Update, Venue,
    VenueLimits, VenueQuote, VoidReason,
};
use crate::wire::json::{Parser, Scan, Value};
use crate::wire::query;

/// A venue that speaks Binance's protocol.
pub struct Binance {
    /// What is fixed about it.
    pub facts: &'static Facts,
    /// Where it lists its instruments.
    pub listing: Listing,
    /// The quote assets that it has markets in.
    pub quotes: &'static [&'static str],
    /// What to write instead of a quote asset that it does not have; may be empty.
    pub instead: fn(&str) -> &'static str,
    /// Its asset codes that are not the usual ones.
    pub codes: Codes,
    /// Names a native symbol `BASE/QUOTE`.
    pub symbol_of: fn(&str) -> Option<String>,
}

/// <https://github.com/binance/binance-spot-api-docs/blob/master/web-socket-streams.md>, state of 2026-07-21:
/// the server pings every 20 s; 5 incoming messages a second, pongs included, 1024 streams per connection.
/// Fee: base tier, public survey of 2026-08-26.
static FACTS: Facts = Facts {
    name: "binance",
    title: "Binance",
    address: "wss://data-stream.binance.vision/ws",
    opening: Opening::Direct,
    taker_fee_pct: "0.10",
    keepalive: Keepalive::Server,
    message_max: 1 << 20,
    request_gap_ms: 300,
    channel: "bookTicker",
    books: Some(BOOKS),
    // Stamps of `depth@100ms` and trades: 15 of 6,070 go back on a connection, by 1 ms at most. All 5,492 recorded
    // `bookTicker` frames arrive before the `depth@100ms` that contains their change and before any frame with a later
    // stamp, which shows their order to within its 100 ms.
    stamps: StampFacts { order: StampOrder::Connection, slack_ms: 100, ..StampFacts::MILLISECONDS },
    limits: VenueLimits {
        connects: Pace { count: 300, per_ms: 300_000 },
        age_max_s: Some(86_400),
        ..VenueLimits::UNPUBLISHED
    },
    docs: "https://github.com/binance/binance-spot-api-docs/blob/master/web-socket-streams.md (2026-07-21)",
};

/// Order books, of this venue and of those that speak like it. The venue's advice on
/// <https://github.com/binance/binance-spot-api-docs/blob/master/web-socket-streams.md> (2026-07-21) is what
/// [`PagedBooks`] does: changes wait for the page, `U` follows `u`, and levels beyond the end of the page are unknown.
pub const BOOKS: BookFacts = BookFacts { channel: DEPTH, levels_max: 1000, check: Check::Sequence };

/// The stream of changes: all of the last 100 ms.
const DEPTH: &str = "depth@100ms";

/// Pages of the book that can be had: levels of a side, and how many in a minute. They weigh 5, 25, 50 and 250 of 6000
/// (<https://developers.binance.com/docs/binance-spot-api-docs/rest-api/market-data-endpoints#order-book>, as clients
/// of 2026 count; at Binance.US 1, 5, 10 and 50 of 1200:
/// <https://github.com/binance-us/binance-us-api-docs/blob/master/rest-api.md>, both read 2026-11-21). A connection
/// takes no more than a third of that, since there may be two.
const PAGES: [(usize, u32); 4] = [(100, 240), (500, 80), (1000, 40), (5000, 8)];

/// So many times the levels that are wanted a page should have: each time the market runs through it there must be
/// another one.
const PAGE_TIMES: usize = 10;

/// Codes that mean something else elsewhere (ccxt 4.5.90, `commonCurrencies`, read 2026-11-29).
const CODES: Codes = Codes { venue: "Binance", table: &[alias("YOYO", "YOYOW")] };

/// Binance, spot.
pub static BINANCE: Binance = Binance {
    facts: &FACTS,
    listing: Listing {
        address: "https://data-api.binance.vision",
        path: "/api/v3/exchangeInfo?permissions=SPOT&showPermissionSets=false",
    },
    quotes: QUOTES,
    instead: |quote| if quote == "USD" { "; the dollar coins there are USDT, USDC and FDUSD" } else { "" },
    codes: CODES,
    symbol_of: |native| CODES.renamed(&reading::split(native, QUOTES, EXCEPTIONS)?),
};

/// Quote assets: those of the venue's listing of 2021-10, and later ones. There is no USD market.
const QUOTES: &[&str] = &[
    "USDT", "USDC", "FDUSD", "USD1", "BTC", "ETH", "BNB", "TRY", "EUR", "BRL", "JPY", "MXN", "ARS", "COP", "CZK",
    "PLN", "RON", "ZAR", "UAH", "EURI", "IDR", "DOGE", "SOL", "BUSD", "TUSD", "PAX", "AUD", "GBP", "RUB", "BIDR",
    "BKRW", "NGN", "DAI", "IDRT", "USDS", "USDP", "XRP", "TRX", "BVND", "VAI", "GYEN",
];

/// Symbols that two of the quote assets fit: BIDR as listed in 2021-10, before IDR came.
const EXCEPTIONS: &[(&str, usize)] = &[
    ("ADABIDR", 3),
    ("ALGOBIDR", 4),
    ("ALICEBIDR", 5),
    ("AVAXBIDR", 4),
    ("AXSBIDR", 3),
    ("BNBBIDR", 3),
    ("BTCBIDR", 3),
    ("BUSDBIDR", 4),
    ("DOGEBIDR", 4),
    ("DOTBIDR", 3),
    ("ETHBIDR", 3),
    ("FTMBIDR", 3),
    ("MATICBIDR", 5),
    ("ONEBIDR", 3),
    ("SOLBIDR", 3),
    ("SRMBIDR", 3),
    ("SUSHIBIDR", 5),
    ("SXPBIDR", 3),
    ("TKOBIDR", 3),
    ("USDTBIDR", 4),
    ("XRPBIDR", 3),
    ("ZILBIDR", 3),
    ("BNBIDR", 3),
];

/// Most streams of a connection.
const STREAMS_MAX: usize = 1024;
/// Streams asked for in one request.
const STREAMS_PER_REQUEST: usize = 100;

impl Venue for Binance {
    fn facts(&self) -> &'static Facts {
        self.facts
    }

    fn codes(&self) -> Codes {
        self.codes
    }

    fn native(&self, base: &str, quote: &str) -> Result<String, String> {
        let [base, quote] = self.codes.native(base, quote)?;
        if !self.quotes.contains(&quote) {
            return Err(format!("{} has no market in {quote}{}", self.facts.title, (self.instead)(quote)));
        }
        Ok(format!("{base}{quote}"))
    }

    fn symbol_of(&self) -> fn(&str) -> Option<String> {
        self.symbol_of
    }

    fn codec(&self, symbols: Symbols) -> Box<dyn FeedCodec> {
        Box::new(BinanceCodec { parser: Parser::default(), state: BinanceState { symbols, ..BinanceState::default() } })
    }

    fn book_codec(&self, symbols: Symbols, levels: usize) -> Option<Box<dyn FeedCodec>> {
        let levels = levels.min(BOOKS.levels_max);
        let fits = |(page, _): &&(usize, u32)| *page >= levels * PAGE_TIMES;
        let (page, pages_a_minute) = *PAGES.iter().find(fits).unwrap_or(&PAGES[PAGES.len() - 1]);
        let books = Some(PagedBooks::new(PageSize::of(page, levels), depth_path));
        let state = BinanceState { symbols, books, pages_a_minute, ..BinanceState::default() };
        Some(Box::new(BinanceCodec { parser: Parser::default(), state }))
    }

    fn listing(&self) -> Listing {
        self.listing
    }

    fn read_listing(&self, reply: &[u8]) -> Result<Vec<ListingEntry>, DecodeError> {
        listing::read(
            reply,
            &self.codes,
            |root| listing::array_of(root, "symbols"),
            |row| {
                let filter = |kind: &str| row.get("filters")?.items().find(|f| f.text_of("filterType") == Some(kind));
                let is_spot = row.get("isSpotTradingAllowed").and_then(|v| v.boolean()).unwrap_or(true);
                Some(ListingEntry {
                    base: row.text_of("baseAsset")?.to_owned(),
                    quote: row.text_of("quoteAsset")?.to_owned(),
                    native: row.text_of("symbol")?.to_owned(),
                    // BREAK, HALT, AUCTION_MATCH, CANCEL_ONLY, PRE_TRADING, POST_TRADING, END_OF_DAY are not
                    // (<https://github.com/binance/binance-spot-api-docs/blob/master/enums.md>).
                    is_trading: is_spot && row.text_of("status") == Some("TRADING"),
                    tick: filter("PRICE_FILTER").and_then(|f| listing::step(f, "tickSize")),
                    lot: filter("LOT_SIZE").and_then(|f| listing::step(f, "stepSize")),
                    fee: None,
                })
            },
        )
    }

    fn exchange_side(&self) -> Box<dyn ExchangeSide> {
        Box::new(BinanceExchange::default())
    }

    fn rest(&self, method: &str, target: &str, _base: &str, market: &dyn Market) -> Option<String> {
        if (method, target.split('?').next()?) == ("GET", "/api/v3/depth") {
            let quote = market.quote(&query::value(query::of(target), "symbol")?)?;
            let limit = query::value(query::of(target), "limit").and_then(|limit| limit.parse().ok()).unwrap_or(100);
            let side = |side| levels_text(&quote.levels(side, limit));
            let (bids, asks) = (side(Side::Bid), side(Side::Ask));
            return Some(format!(r#"{{"lastUpdateId":{},"bids":{bids},"asks":{asks}}}"#, quote.sequence));
        }
        listing::asked(self, method, target)?;
        let row = |it: Listed| {
            let filters = json!([
                {"filterType": "PRICE_FILTER", "tickSize": it.tick()},
                {"filterType": "LOT_SIZE", "stepSize": it.lot()},
            ]);
            json!({"symbol": it.native, "status": if it.is_trading { "TRADING" } else { "BREAK" }, "baseAsset": it.base, "quoteAsset": it.quote,
                "isSpotTradingAllowed": true, "filters": filters})
        };
        let symbols: Vec<_> = market.listed().into_iter().map(row).collect();
        Some(json!({"timezone": "UTC", "serverTime": market.now().ms(), "symbols": symbols}).to_string())
    }
}

struct BinanceCodec {
    parser: Parser,
    state: BinanceState,
}

#[derive(Default)]
struct BinanceState {
    symbols: Symbols,
    /// Instruments that `bookTicker` has quoted.
    seen: SeenInstruments,
    sequences: Sequences,
    depth: PerInstrument<Diffs>,
    /// Order books are asked for, and not quotes.
    books: Option<PagedBooks>,
    pages_a_minute: u32,
    /// `depth@100ms` is asked for beside quotes, for its timestamps only.
    has_witness: bool,
    /// The last published top of each partial book.
    partial: FxHashMap<(InstrumentId, &'static str), Partial>,
    levels: Vec<LevelChange>,
    upper: String,
}

impl FeedCodec for BinanceCodec {
    fn set_witness(&mut self, is_wanted: bool) {
        self.state.has_witness = is_wanted;
    }

    fn opened(&mut self, requests: &mut Requests) {
        let state = &mut self.state;
        state.seen.clear();
        state.sequences.clear();
        state.depth.clear();
        state.books.iter_mut().for_each(PagedBooks::clear);
        state.partial.clear();
        let mut id = 0;
        let all = state.symbols.entries();
        let streams: &[(&str, &[SymbolEntry])] = match state.books {
            Some(_) => &[(DEPTH, all)],
            None => &[("bookTicker", all), ("ticker", all), (DEPTH, state.witnesses())],
        };
        for (stream, entries) in streams {
            for chunk in entries.chunks(STREAMS_PER_REQUEST) {
                id += 1;
                let mut request = String::from(r#"{"method":"SUBSCRIBE","params":["#);
                for (at, entry) in chunk.iter().enumerate() {
                    let comma = if at == 0 { "" } else { "," };
                    // Writing to a String cannot fail.
                    let _ = write!(request, r#"{comma}"{}@{stream}""#, entry.native.to_lowercase());
                }
                let _ = write!(request, r#"],"id":{id}}}"#);
                requests.push(request);
            }
        }
    }

    fn read(&mut self, frame: &[u8], received: MonoNs, out: &mut Decoded) -> Result<Frame, DecodeError> {
        let Self { parser, state } = self;
        if let Some((symbol, top)) = scan_book_ticker(frame) {
            let Some(instrument) = state.symbols.find(symbol) else { return Ok(Frame::Unused) };
            return Ok(state.book_ticker(instrument, top, received, out));
        }
        if state.has_witness
            && let Some((symbol, at)) = scan_depth_update(frame)
        {
            let Some(instrument) = state.symbols.find(symbol) else { return Ok(Frame::Unused) };
            out.updates.push(Update::Stamp(instrument, at));
            return Ok(Frame::Data);
        }
        parser.parse(frame, |root| state.message(root, received, out))?
    }

    fn resubscribe(&mut self, instruments: &[InstrumentId], requests: &mut Requests) {
        let Self { state, .. } = self;
        // No chunk of symbols has the id 0; the other one brings the pages.
        let (stream, id) = if state.books.is_some() { (DEPTH, AGAIN) } else { ("bookTicker", "0") };
        for (method, id) in [("UNSUBSCRIBE", "0"), ("SUBSCRIBE", id)] {
            for native in state.symbols.natives(instruments) {
                let symbol = native.to_lowercase();
                requests.push(format!(r#"{{"method":"{method}","params":["{symbol}@{stream}"],"id":{id}}}"#));
            }
        }
        state.books.iter_mut().for_each(|books| books.begin_anew(instruments));
    }

    fn page_of(&mut self, url: &str) -> Option<InstrumentId> {
        self.state.symbols.find(depth_symbol(url)?.as_bytes())
    }

    fn page_reader(&self) -> PageReader {
        |body| {
            Parser::default().parse(body, |root| {
                let mut levels = Vec::new();
                let number = read_whole(root, &mut levels)?;
                Ok(BookPage::new(number, UnixNs(0), levels))
            })?
        }
    }

    fn take_page(
        &mut self,
        instrument: InstrumentId,
        mut page: BookPage,
        out: &mut Decoded,
    ) -> Result<Frame, DecodeError> {
        let BinanceState { books, depth, symbols, .. } = &mut self.state;
        match (books, symbols.entry(instrument)) {
            (Some(books), Some(entry)) => books.page(entry, page, out),
            _ => depth.of(instrument).snapshot(instrument, page.number, &mut page.levels, out),
        }
        Ok(Frame::Data)
    }

    fn book(&self, instrument: InstrumentId) -> Option<&Book> {
        self.state.books.as_ref()?.book(instrument)
    }

    fn fetch_pace(&self) -> Pace {
        Pace { count: self.state.pages_a_minute, per_ms: 60_000 }
    }

    fn symbols(&self) -> &Symbols {
        &self.state.symbols
    }

    fn forget(&mut self, instrument: InstrumentId) {
        self.state.depth.of(instrument).forget_published();
        self.state.partial.retain(|(id, _), _| *id != instrument);
    }
}

/// What was last published of a partial book, and its numbers.
#[derive(Default)]
struct Partial {
    top: Option<(Level, Level)>,
    count: Count,
}

/// The symbol of a REST address of the order book, such as `…/api/v3/depth?symbol=BTCUSDT&limit=5000`.
fn depth_symbol(url: &str) -> Option<Cow<'_, str>> {
    let (path, _) = url.split_once('?')?;
    let is_depth = path.ends_with("/api/v3/depth") || path.ends_with("/api/v1/depth");
    is_depth.then(|| query::value(query::of(url), "symbol")).flatten()
}

/// The page of the order book of a symbol.
fn depth_path(symbol: &str, levels: usize) -> String {
    format!("/api/v3/depth?symbol={}&limit={levels}", query::encoded(symbol))
}

/// The id of a request for a stream that was asked for before.
const AGAIN: &str = "\"again\"";

/// What `bookTicker` says.
struct BinanceBookTicker {
    sequence: u64,
    bid: Level,
    ask: Level,
}

/// Reads `bookTicker` in the field order that the venue documents, raw or wrapped; `None`: the general way.
#[inline(always)]
fn scan_book_ticker(frame: &[u8]) -> Option<(&[u8], BinanceBookTicker)> {
    let mut scan = Scan::new(frame);
    let wrapped = scan.literal(b"{\"stream\":\"").is_some();
    if wrapped {
        if !scan.string()?.ends_with(b"@bookTicker") {
            return None;
        }
        scan.literal(b",\"data\":")?;
    }
    scan.literal(b"{\"u\":")?;
    let sequence = scan.integer()?;
    scan.literal(b",\"s\":\"")?;
    let BookTicker { symbol, bid, ask } = reading::scan_book_ticker(&mut scan)?;
    scan.literal(b"}")?;
    if wrapped {
        scan.literal(b"}")?;
    }
    scan.end()?;
    Some((symbol, BinanceBookTicker { sequence, bid, ask }))
}

/// Reads the symbol and the timestamp of a `depthUpdate`, raw or wrapped, and nothing else; `None`: the general way.
#[inline]
fn scan_depth_update(frame: &[u8]) -> Option<(&[u8], UnixNs)> {
    let mut scan = Scan::new(frame);
    if scan.literal(b"{\"stream\":\"").is_some() {
        scan.string()?;
        scan.literal(b",\"data\":")?;
    }
    scan.literal(b"{\"e\":\"depthUpdate\",\"E\":")?;
    let at = time(scan.integer()?);
    scan.literal(b",\"s\":\"")?;
    Some((scan.string()?, at))
}

impl BinanceState {
    /// The instruments whose witness fits on the connection, beside two streams of each instrument.
    fn witnesses(&self) -> &[SymbolEntry] {
        let all = self.symbols.entries();
        let room = if self.has_witness { STREAMS_MAX.saturating_sub(2 * all.len()) } else { 0 };
        &all[..room.min(all.len())]
    }

    #[inline(always)]
    fn book_ticker(
        &mut self,
        instrument: InstrumentId,
        ticker: BinanceBookTicker,
        received: MonoNs,
        out: &mut Decoded,
    ) -> Frame {
        self.seen.insert(instrument);
        let BinanceBookTicker { sequence, bid, ask } = ticker;
        let top = Top { instrument, bid, ask, sequence, exchange_time: UnixNs(0), channel: "bookTicker" };
        self.sequences.publish(top, received, out);
        Frame::Data
    }

    fn message(&mut self, root: Value<'_>, received: MonoNs, out: &mut Decoded) -> Result<Frame, DecodeError> {
        let Some(stream) = root.text_of("stream") else { return self.event("", root, received, out) };
        let is_list = stream.starts_with('!');
        match root.get("data").filter(|data| data.is_object() || (is_list && data.is_array())) {
            Some(data) => self.event(stream, data, received, out),
            None => {
                self.undecodable(stream, out);
                Err(DecodeError::Missing("data"))
            }
        }
    }

    /// A frame of `stream` cannot be read and names no instrument itself: the top that the stream tells is void.
    #[cold]
    fn undecodable(&mut self, stream: &str, out: &mut Decoded) {
        if let Some((instrument, channel)) = self.quoted_on(stream) {
            self.partial.remove(&(instrument, channel));
            return out.undecodable(instrument);
        }
        let ticker = stream.strip_suffix("@ticker").and_then(|symbol| self.instrument_of_stream(symbol));
        if let Some(instrument) = ticker.filter(|instrument| self.quotes_ticker(*instrument)) {
            out.undecodable(instrument);
        }
    }

    /// Whether tops come from the ticker. Live, `bookTicker` is faster.
    fn quotes_ticker(&self, instrument: InstrumentId) -> bool {
        self.symbols.is_discovering() || !self.seen.contains(instrument)
    }

    /// The instrument and the channel of a stream that carries whole tops.
    #[cold]
    fn quoted_on(&mut self, stream: &str) -> Option<(InstrumentId, &'static str)> {
        let (symbol, name) = stream.split_once('@')?;
        let channel = WHOLE_TOPS.into_iter().find(|channel| *channel == name)?;
        Some((self.instrument_of_stream(symbol)?, channel))
    }

    /// The instrument of a stream's symbol, which is in lower case.
    fn instrument_of_stream(&mut self, symbol: &str) -> Option<InstrumentId> {
        self.upper.clear();
        self.upper.extend(symbol.chars().flat_map(char::to_uppercase));
        self.symbols.find(self.upper.as_bytes())
    }

    /// One event; `stream` is empty for a raw one.
    fn event(
        &mut self,
        stream: &str,
        data: Value<'_>,
        received: MonoNs,
        out: &mut Decoded,
    ) -> Result<Frame, DecodeError> {
        if data.is_array() {
            return self.all_tickers(data, out);
        }
        if !data.is_object() {
            return Err(DecodeError::Shape("neither an object nor a list of tickers"));
        }
        match data.text_of("e") {
            Some("24hrTicker") if data.text_of("s").is_some() => self.ticker(data, "ticker", out),
            Some("24hrTicker") => {
                self.undecodable(stream, out);
                Err(DecodeError::Missing("s"))
            }
            Some("depthUpdate") => self.depth_update(stream, data, received, out),
            Some("trade" | "aggTrade") => self.witness(data, out),
            Some("serverShutdown") => {
                out.updates.push(Update::Notice(Notice::Leaving("the server is about to stop")));
                Ok(Frame::Control)
            }
            Some(name) if name != "bookTicker" => Ok(Frame::Unused),
            _ if data.get("lastUpdateId").is_some() || stream.contains("@depth") => {
                self.partial_book(stream, data, received, out)
            }
            _ if stream.ends_with("@bookTicker") || data.get("u").is_some() || data.get("s").is_some() => {
                let named = data.text_of("s");
                let instrument = match named {
                    Some(symbol) => self.symbols.find(symbol.as_bytes()),
                    None => self.quoted_on(stream).map(|(instrument, _)| instrument),
                };
                let Some(instrument) = instrument else {
                    return if named.is_some() { Ok(Frame::Unused) } else { Err(DecodeError::Missing("s")) };
                };
                let ticker = out.void_unread(instrument, read_book_ticker(data))?;
                Ok(self.book_ticker(instrument, ticker, received, out))
            }
            _ if stream.is_empty() => self.reply(data, out),
            _ => {
                self.undecodable(stream, out);
                Err(DecodeError::Missing("e"))
            }
        }
    }

    /// An answer to one of our requests; two forms of error exist.
    fn reply(&mut self, data: Value<'_>, out: &mut Decoded) -> Result<Frame, DecodeError> {
        let error = data.get("error").unwrap_or(data);
        if let Some(message) = error.text_of("msg") {
            out.updates.push(Update::Refused(message.to_owned()));
            return Ok(Frame::Control);
        }
        if data.get("result").is_none() {
            return Err(DecodeError::Shape("neither an event nor an answer"));
        }
        let acknowledged = data.get("id").and_then(|id| id.integer()).and_then(|id| usize::try_from(id).ok());
        if let Some(chunk) = acknowledged.and_then(|id| id.checked_sub(1)) {
            let quotes = self.symbols.entries().chunks(STREAMS_PER_REQUEST).nth(chunk).unwrap_or_default();
            out.updates.extend(quotes.iter().map(|entry| Update::Subscribed(entry.id)));
            if let Some(books) = &mut self.books {
                quotes.iter().for_each(|entry| books.want(entry, out));
            }
        } else if let (Some(books), Some("again")) = (&mut self.books, data.text_of("id")) {
            books.want_all(&self.symbols, out);
        }
        Ok(Frame::Control)
    }

    /// `!ticker@arr`.
    fn all_tickers(&mut self, list: Value<'_>, out: &mut Decoded) -> Result<Frame, DecodeError> {
        let tickers = list.items().filter(|data| data.text_of("e") == Some("24hrTicker"));
        reading::each(tickers, |data| self.ticker(data, "!ticker@arr", out))
    }

    fn ticker(&mut self, data: Value<'_>, channel: &'static str, out: &mut Decoded) -> Result<Frame, DecodeError> {
        let Some(instrument) = self.symbols.find(text(data, "s")?.as_bytes()) else { return Ok(Frame::Unused) };
        let is_quoted = self.quotes_ticker(instrument);
        let read = || Ok((side(data, "b", "B")?, side(data, "a", "A")?, time(integer(data, "E")?)));
        let read = if is_quoted { out.void_unread(instrument, read()) } else { read() };
        let (bid, ask, exchange_time) = read?;
        if is_quoted {
            out.updates.push(Update::Top(Top { instrument, bid, ask, sequence: 0, exchange_time, channel }));
        }
        out.updates.push(Update::Statistics(DayStatistics {
            instrument,
            last: figure(data, "c"),
            high: figure(data, "h"),
            low: figure(data, "l"),
            change: figure(data, "p"),
            change_pct: figure(data, "P"),
            quote_volume: figure(data, "q"),
            exchange_time,
        }));
        Ok(Frame::Data)
    }

    /// `<symbol>@depth5` and its like: a whole small book, its symbol only in the stream's name.
    fn partial_book(
        &mut self,
        stream: &str,
        data: Value<'_>,
        received: MonoNs,
        out: &mut Decoded,
    ) -> Result<Frame, DecodeError> {
        let Some((instrument, channel)) = self.quoted_on(stream) else { return Ok(Frame::Unused) };
        let read = read_whole(data, &mut self.levels);
        if read.is_err() {
            self.partial.remove(&(instrument, channel));
        }
        let sequence = out.void_unread(instrument, read)?;
        let mut book = Book::default();
        reading::apply(&mut book, &self.levels);
        let (bid, ask) = (book.best_bid(), book.best_ask());
        let last = self.partial.entry((instrument, channel)).or_default();
        let begins_anew = last.count.begins_anew(sequence, UnixNs(0), received, 0);
        if begins_anew {
            out.updates.push(Update::Void(instrument, VoidReason::Gap));
        }
        if begins_anew || last.top != Some((bid, ask)) {
            last.top = Some((bid, ask));
            out.updates.push(Update::Top(Top { instrument, bid, ask, sequence, exchange_time: UnixNs(0), channel }));
        }
        Ok(Frame::Data)
    }

    /// A stamped message about an instrument that says nothing of its top.
    fn witness(&mut self, data: Value<'_>, out: &mut Decoded) -> Result<Frame, DecodeError> {
        let Some(instrument) = self.symbols.find(text(data, "s")?.as_bytes()) else { return Ok(Frame::Unused) };
        out.updates.push(Update::Stamp(instrument, time(integer(data, "E")?)));
        Ok(Frame::Data)
    }

    fn depth_update(
        &mut self,
        stream: &str,
        data: Value<'_>,
        received: MonoNs,
        out: &mut Decoded,
    ) -> Result<Frame, DecodeError> {
        let Some(instrument) = self.symbols.find(text(data, "s")?.as_bytes()) else { return Ok(Frame::Unused) };
        let read = read_depth(data, &mut self.levels);
        if let (Some(books), Some(entry)) = (&mut self.books, self.symbols.entry(instrument)) {
            return books.event(entry, read, &self.levels, received, out);
        }
        if let (Ok((_, at)), true) = (read, self.seen.contains(instrument)) {
            out.updates.push(Update::Stamp(instrument, at));
        }
        let channel = if stream.ends_with("@depth@100ms") { "depth@100ms" } else { "depth" };
        let depth = self.depth.of(instrument);
        depth.event((instrument, channel), read, &self.levels, received, out).map(|()| Frame::Data)
    }
}

/// Streams that carry whole tops.
const WHOLE_TOPS: [&str; 7] =
    ["bookTicker", "depth5", "depth10", "depth20", "depth5@100ms", "depth10@100ms", "depth20@100ms"];

fn read_book_ticker(data: Value<'_>) -> Result<BinanceBookTicker, DecodeError> {
    Ok(BinanceBookTicker { sequence: integer(data, "u")?, bid: side(data, "b", "B")?, ask: side(data, "a", "A")? })
}

/// Reads a whole book into `levels`; gives its number.
fn read_whole(data: Value<'_>, levels: &mut Vec<LevelChange>) -> Result<u64, DecodeError> {
    levels.clear();
    changes(data, "bids", Side::Bid, levels)?;
    changes(data, "asks", Side::Ask, levels)?;
    integer(data, "lastUpdateId")
}

/// The place of a diff depth event and its stamp; its changes go into `levels`.
fn read_depth(data: Value<'_>, levels: &mut Vec<LevelChange>) -> Result<(DeltaOrder, UnixNs), DecodeError> {
    let (first, last, at) = (integer(data, "U")?, integer(data, "u")?, time(integer(data, "E")?));
    if first > last {
        return Err(DecodeError::Shape("`U` is above `u`"));
    }
    levels.clear();
    changes(data, "b", Side::Bid, levels)?;
    changes(data, "a", Side::Ask, levels)?;
    Ok((DeltaOrder { from: Some(first), to: last }, at))
}

/// The venue's end of a connection.
#[derive(Default)]
struct BinanceExchange {
    /// Wrapped with the stream's name.
    combined: bool,
    streams: Vec<String>,
    /// What was last shown on each depth stream.
    shown: FxHashMap<String, VenueQuote>,
}

impl ExchangeSide for BinanceExchange {
    fn opened(&mut self, target: &str, market: &dyn Market, _out: &mut Messages) {
        let path = target.split('?').next().unwrap_or_default();
        self.combined = path.starts_with("/stream");
        let streams = query::value(query::of(target), "streams")
            .or_else(|| Some(path.strip_prefix("/ws/")?.into()))
            .unwrap_or_default();
        streams.split('/').filter(|name| !name.is_empty()).for_each(|name| self.subscribe(name, market));
    }

    fn receive(&mut self, text: &str, market: &dyn Market, out: &mut Messages) {
        let Ok(request) = serde_json::from_str::<Json>(text) else {
            return out.push(json!({"code": 3, "msg": "Invalid JSON: expected value at line 1 column 1"}).to_string());
        };
        let id = request.get("id").cloned().unwrap_or(Json::Null);
        let params = request.get("params").and_then(Json::as_array);
        let names = params.into_iter().flatten().filter_map(Json::as_str);
        match request.get("method").and_then(Json::as_str) {
            // A wrong stream name is acknowledged too, and never sends.
            Some("SUBSCRIBE") if params.is_some() => {
                names.for_each(|name| self.subscribe(name, market));
                out.push(json!({"result": null, "id": id}).to_string());
            }
            Some("UNSUBSCRIBE") if params.is_some() => {
                names.for_each(|name| self.streams.retain(|s| s != name));
                out.push(json!({"result": null, "id": id}).to_string());
            }
            Some("LIST_SUBSCRIPTIONS") => out.push(json!({"result": self.streams, "id": id}).to_string()),
            _ => out.push(json!({"code": 2, "msg": "Invalid request: unknown variant", "id": id}).to_string()),
        }
    }

    fn quote(&mut self, quote: &VenueQuote, out: &mut Messages) {
        for at in 0..self.streams.len() {
            let Some((symbol, channel)) = self.streams[at].split_once('@') else { continue };
            if !symbol.eq_ignore_ascii_case(&quote.native) {
                continue;
            }
            let frame = match channel {
                "bookTicker" => book_ticker_frame(quote),
                "depth" | "depth@100ms" => {
                    let last = self.shown.insert(self.streams[at].clone(), quote.clone());
                    depth_frame(quote, last.as_ref())
                }
                "depth5" | "depth5@100ms" => partial_frame(quote, 5),
                "depth10" | "depth10@100ms" => partial_frame(quote, 10),
                "depth20" | "depth20@100ms" => partial_frame(quote, 20),
                _ => continue,
            };
            out.push(self.wrapped(at, frame));
        }
    }

    fn statistics(&mut self, quote: &VenueQuote, out: &mut Messages) {
        for at in 0..self.streams.len() {
            let Some((symbol, "ticker")) = self.streams[at].split_once('@') else { continue };
            if symbol.eq_ignore_ascii_case(&quote.native) {
                out.push(self.wrapped(at, ticker_frame(quote)));
            }
        }
    }

    fn heartbeat(&mut self, _now: UnixNs, _out: &mut Messages) {}

    fn maintenance(&mut self, begins: bool, now: UnixNs, out: &mut Messages) -> Maintenance {
        if begins {
            out.push(format!(r#"{{"e":"serverShutdown","E":{}}}"#, now.ms()));
        }
        Maintenance::Moves
    }
}

impl BinanceExchange {
    /// What a client sees of a depth stream begins with the state at this moment, which it reads by REST.
    fn subscribe(&mut self, name: &str, market: &dyn Market) {
        if self.streams.iter().any(|s| s == name) {
            return;
        }
        self.streams.push(name.to_owned());
        if let Some((symbol, "depth" | "depth@100ms")) = name.split_once('@')
            && let Some(quote) = market.quote(&symbol.to_uppercase())
        {
            self.shown.insert(name.to_owned(), quote);
        }
    }

    fn wrapped(&self, at: usize, frame: String) -> String {
        if self.combined { format!(r#"{{"stream":"{}","data":{frame}}}"#, self.streams[at]) } else { frame }
    }
}

fn book_ticker_frame(quote: &VenueQuote) -> String {
    format!(
        r#"{{"u":{},"s":"{}","b":"{}","B":"{}","a":"{}","A":"{}"}}"#,
        quote.sequence,
        quote.native,
        padded(quote.bid.price),
        padded(quote.bid.size),
        padded(quote.ask.price),
        padded(quote.ask.size)
    )
}

fn ticker_frame(quote: &VenueQuote) -> String {
    let day = &quote.day;
    let ms = quote.day.exchange_time.ms();
    format!(
        r#"{{"e":"24hrTicker","E":{ms},"s":"{}","p":"{:.8}","P":"{:.3}","w":"{last:.8}","x":"{open:.8}","c":"{last:.8}","Q":"0.00000000","b":"{}","B":"{}","a":"{}","A":"{}","o":"{open:.8}","h":"{:.8}","l":"{:.8}","v":"{:.8}","q":"{:.8}","O":{},"C":{ms},"F":0,"L":0,"n":0}}"#,
        quote.native,
        day.change,
        day.change_pct,
        padded(quote.bid.price),
        padded(quote.bid.size),
        padded(quote.ask.price),
        padded(quote.ask.size),
        day.high,
        day.low,
        if day.last > 0.0 { day.quote_volume / day.last } else { 0.0 },
        day.quote_volume,
        ms.saturating_sub(86_400_000),
        last = day.last,
        open = day.open(),
    )
}

/// The step from what was shown last to now, as a diff depth event.
fn depth_frame(quote: &VenueQuote, last: Option<&VenueQuote>) -> String {
    let changes = quote.changes(last, ladder::LEVELS);
    format!(
        r#"{{"e":"depthUpdate","E":{},"s":"{}","U":{u},"u":{u},"b":{},"a":{}}}"#,
        quote.time.ms(),
        quote.native,
        levels_text(&levels_of(&changes, Side::Bid)),
        levels_text(&levels_of(&changes, Side::Ask)),
        u = quote.sequence,
    )
}

/// A whole small book.
fn partial_frame(quote: &VenueQuote, levels: usize) -> String {
    let side = |side| levels_text(&quote.levels(side, levels));
    let (bids, asks) = (side(Side::Bid), side(Side::Ask));
    format!(r#"{{"lastUpdateId":{},"bids":{bids},"asks":{asks}}}"#, quote.sequence)
}

fn levels_text(levels: &[Level]) -> String {
    let pair = |level: &Level| format!(r#"["{}","{}"]"#, padded(level.price), padded(level.size));
    let present = levels.iter().filter(|level| !level.price.is_zero());
    format!("[{}]", present.map(pair).collect::<Vec<_>>().join(","))
}

/// As Binance writes numbers: at least eight decimals.
fn padded(number: Decimal) -> String {
    let mut text = number.to_string();
    let decimals = text.find('.').map_or(0, |at| text.len() - at - 1);
    if decimals == 0 {
        text.push('.');
    }
    text.extend(std::iter::repeat_n('0', 8usize.saturating_sub(decimals)));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A codec for this many symbols, and what it asks for.
    fn codec(symbols: u32, witness: bool) -> (Box<dyn FeedCodec>, Requests) {
        let entry =
            |at| SymbolEntry { id: InstrumentId(at), native: format!("S{at}USDT"), symbol: format!("S{at}/USDT") };
        let mut codec = BINANCE.codec(Symbols::configured((0..symbols).map(entry).collect()));
        codec.set_witness(witness);
        let mut requests = Requests::new();
        codec.opened(&mut requests);
        (codec, requests)
    }

    fn streams(requests: &Requests, stream: &str) -> usize {
        requests.iter().map(|request| request.matches(&format!("@{stream}\"")).count()).sum()
    }

    #[test]
    fn a_witness_is_asked_for_within_the_streams_of_a_connection() {
        for (symbols, witnesses) in [(1, 1), (341, 341), (342, 340), (500, 24), (512, 0)] {
            let (_, requests) = codec(symbols, true);
            assert_eq!(streams(&requests, DEPTH), witnesses, "{symbols}");
            assert_eq!(streams(&requests, "bookTicker"), symbols as usize);
        }
        assert_eq!(streams(&codec(5, false).1, DEPTH), 0);
    }

    #[test]
    fn of_a_witness_only_the_timestamp_is_read() {
        let (mut codec, _) = codec(1, true);
        let mut out = Decoded::default();
        for frame in [
            r#"{"e":"depthUpdate","E":1617647604573,"s":"S0USDT","U":1,"u":2,"b":[],"a":[["0.5","1"]]}"#,
            r#"{"stream":"s0usdt@depth@100ms","data":{"e":"depthUpdate","E":1617647604573,"s":"S0USDT","U":1,"u":2}}"#,
        ] {
            out.clear();
            assert_eq!(codec.decode(frame.as_bytes(), MonoNs(0), &mut out), Ok(Frame::Data));
            assert_eq!(out.updates, [Update::Stamp(InstrumentId(0), UnixNs::from_ms(1_617_647_604_573))]);
        }
        let other = r#"{"e":"depthUpdate","E":1617647604573,"s":"OTHER","U":1,"u":2,"b":[],"a":[]}"#;
        assert_eq!(codec.decode(other.as_bytes(), MonoNs(0), &mut out), Ok(Frame::Unused));
    }
}
