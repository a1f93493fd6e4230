//! Binance spot, and the venues that speak its protocol with facts of their own: `bookTicker` live; `ticker`,
//! `depth` and the partial books from recordings as well.
//!
//! Frames come raw (`/ws`) or wrapped with their stream's name (`/stream`). `bookTicker` has no time at
//! all; its `u` orders the quotes of one symbol. Upper and lower case differ in meaning: `b` is a price,
//! `B` its size. Called on the feed's thread; keeps a book only for diff depth streams.

use std::fmt::Write as _;

use rustc_hash::FxHashMap;
use serde_json::{Value as Json, json};

use crate::market::book::{Book, Side};
use crate::market::statistics::DayStatistics;
use crate::market::{Decimal, InstrumentId, Level};
use crate::time::{MonoNs, UnixNs};
use crate::venues::depth::{Change, Diffs, Order, PerInstrument};
use crate::venues::listing::{self, Entry, Listing};
use crate::venues::reading::{self, Seen, changes, figure, integer, level, side, text, time};
use crate::venues::writing;
use crate::venues::{
    DecodeError, Decoded, ExchangeSide, Facts, FeedCodec, Frame, Keepalive, Limits, Listed, Maintenance, Market,
    Messages, Notice, Opening, Pace, Requests, Symbols, Top, Update, Venue, VenueQuote,
};
use crate::wire::json::{Parser, Scan, Value};

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
    books: None,
    limits: Limits { instruments: 500, connects: Pace { count: 300, per_ms: 300_000 }, age_max_s: Some(86_400) },
    docs: "https://github.com/binance/binance-spot-api-docs/blob/master/web-socket-streams.md (2026-07-21)",
};

/// Binance, spot.
pub static BINANCE: Binance = Binance {
    facts: &FACTS,
    listing: Listing { address: "https://data-api.binance.vision", path: "/api/v3/exchangeInfo?permissions=SPOT" },
    quotes: QUOTES,
    instead: |quote| if quote == "USD" { "; the dollar coins there are USDT, USDC and FDUSD" } else { "" },
    symbol_of: |native| reading::split(native, QUOTES, EXCEPTIONS),
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

/// Streams asked for in one request.
const STREAMS_PER_REQUEST: usize = 100;

impl Venue for Binance {
    fn facts(&self) -> &'static Facts {
        self.facts
    }

    fn native(&self, base: &str, quote: &str) -> Result<String, String> {
        reading::codes(self.facts.title, base, quote)?;
        if !self.quotes.contains(&quote) {
            return Err(format!("{} has no market in {quote}{}", self.facts.title, (self.instead)(quote)));
        }
        Ok(format!("{base}{quote}"))
    }

    fn symbol_of(&self) -> fn(&str) -> Option<String> {
        self.symbol_of
    }

    fn codec(&self, symbols: Symbols) -> Box<dyn FeedCodec> {
        Box::new(Codec { parser: Parser::default(), state: State { symbols, ..State::default() } })
    }

    fn listing(&self) -> Listing {
        self.listing
    }

    fn read_listing(&self, reply: &[u8]) -> Result<Vec<Entry>, DecodeError> {
        listing::read(
            reply,
            |root| listing::array_of(root, "symbols"),
            |row| {
                let filter = |kind: &str| row.get("filters")?.items().find(|f| f.text_of("filterType") == Some(kind));
                let is_spot = row.get("isSpotTradingAllowed").and_then(|v| v.boolean()).unwrap_or(true);
                Some(Entry {
                    base: row.text_of("baseAsset")?.to_owned(),
                    quote: row.text_of("quoteAsset")?.to_owned(),
                    native: row.text_of("symbol")?.to_owned(),
                    is_trading: is_spot && row.text_of("status") == Some("TRADING"),
                    tick: filter("PRICE_FILTER").and_then(|f| listing::step(f, "tickSize")),
                    lot: filter("LOT_SIZE").and_then(|f| listing::step(f, "stepSize")),
                })
            },
        )
    }

    fn exchange_side(&self) -> Box<dyn ExchangeSide> {
        Box::new(Exchange::default())
    }

    fn rest(&self, method: &str, target: &str, _base: &str, market: &dyn Market) -> Option<String> {
        if (method, target.split('?').next()?) == ("GET", "/api/v3/depth") {
            let quote = market.quote(writing::query(target, "symbol")?)?;
            let (bids, asks) = (levels_text(&[quote.bid]), levels_text(&[quote.ask]));
            return Some(format!(r#"{{"lastUpdateId":{},"bids":{bids},"asks":{asks}}}"#, quote.sequence));
        }
        listing::asked(self, method, target)?;
        let row = |it: Listed| {
            let filters = json!([
                {"filterType": "PRICE_FILTER", "tickSize": it.tick()},
                {"filterType": "LOT_SIZE", "stepSize": it.lot()},
            ]);
            json!({"symbol": it.native, "status": "TRADING", "baseAsset": it.base, "quoteAsset": it.quote,
                "isSpotTradingAllowed": true, "filters": filters})
        };
        let symbols: Vec<_> = market.listed().into_iter().map(row).collect();
        Some(json!({"timezone": "UTC", "serverTime": market.now().ms(), "symbols": symbols}).to_string())
    }
}

struct Codec {
    parser: Parser,
    state: State,
}

#[derive(Default)]
struct State {
    symbols: Symbols,
    /// Instruments that `bookTicker` has quoted.
    seen: Seen,
    depth: PerInstrument<Diffs>,
    /// The last published top of each partial book.
    partial: FxHashMap<(InstrumentId, &'static str), (Level, Level)>,
    levels: Vec<Change>,
    upper: String,
}

impl FeedCodec for Codec {
    fn opened(&mut self, requests: &mut Requests) {
        let state = &mut self.state;
        state.seen.clear();
        state.depth.clear();
        state.partial.clear();
        let mut id = 0;
        for stream in ["bookTicker", "ticker"] {
            for chunk in state.symbols.entries().chunks(STREAMS_PER_REQUEST) {
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

    fn decode(&mut self, frame: &[u8], _received: MonoNs, out: &mut Decoded) -> Result<Frame, DecodeError> {
        let Self { parser, state } = self;
        if let Some((symbol, top)) = scan_book_ticker(frame) {
            return Ok(state.book_ticker(symbol, top, out));
        }
        parser.parse(frame, |root| state.message(root, out))?
    }

    fn resubscribe(&mut self, instruments: &[InstrumentId], requests: &mut Requests) {
        for method in ["UNSUBSCRIBE", "SUBSCRIBE"] {
            for native in self.state.symbols.natives(instruments) {
                let stream = native.to_lowercase();
                // No chunk of symbols has the id 0.
                requests.push(format!(r#"{{"method":"{method}","params":["{stream}@bookTicker"],"id":0}}"#));
            }
        }
    }

    fn snapshot(&mut self, url: &str, body: &[u8], out: &mut Decoded) -> Result<Frame, DecodeError> {
        let Some(symbol) = depth_symbol(url) else { return Ok(Frame::Unused) };
        let Self { parser, state } = self;
        parser.parse(body, |root| state.snapshot(symbol, root, out))?
    }

    fn symbols(&self) -> &Symbols {
        &self.state.symbols
    }
}

/// The symbol of a REST address of the order book, such as `…/api/v3/depth?symbol=BTCUSDT&limit=5000`.
fn depth_symbol(url: &str) -> Option<&str> {
    let (path, query) = url.split_once('?')?;
    if !path.ends_with("/api/v3/depth") && !path.ends_with("/api/v1/depth") {
        return None;
    }
    query.split('&').find_map(|part| part.strip_prefix("symbol="))
}

/// What `bookTicker` says.
struct BookTicker {
    sequence: u64,
    bid: Level,
    ask: Level,
}

/// Reads `bookTicker` in the field order that the venue documents, raw or wrapped; `None`: the general way.
#[inline(always)]
fn scan_book_ticker(frame: &[u8]) -> Option<(&[u8], BookTicker)> {
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
    let symbol = scan.string()?;
    scan.literal(b",\"b\":\"")?;
    let bid = scan.quoted_decimal()?;
    scan.literal(b",\"B\":\"")?;
    let bid_size = scan.quoted_decimal()?;
    scan.literal(b",\"a\":\"")?;
    let ask = scan.quoted_decimal()?;
    scan.literal(b",\"A\":\"")?;
    let ask_size = scan.quoted_decimal()?;
    scan.literal(b"}")?;
    if wrapped {
        scan.literal(b"}")?;
    }
    scan.end()?;
    Some((symbol, BookTicker { sequence, bid: level(bid, bid_size), ask: level(ask, ask_size) }))
}

impl State {
    #[inline(always)]
    fn book_ticker(&mut self, symbol: &[u8], ticker: BookTicker, out: &mut Decoded) -> Frame {
        let Some(instrument) = self.symbols.find(symbol) else { return Frame::Unused };
        self.seen.insert(instrument);
        let BookTicker { sequence, bid, ask } = ticker;
        let exchange_time = UnixNs(0);
        out.updates.push(Update::Top(Top { instrument, bid, ask, sequence, exchange_time, channel: "bookTicker" }));
        Frame::Data
    }

    fn message(&mut self, root: Value<'_>, out: &mut Decoded) -> Result<Frame, DecodeError> {
        match root.text_of("stream") {
            Some(stream) => self.event(stream, root.get("data").ok_or(DecodeError::Missing("data"))?, out),
            None => self.event("", root, out),
        }
    }

    /// One event; `stream` is empty for a raw one.
    fn event(&mut self, stream: &str, data: Value<'_>, out: &mut Decoded) -> Result<Frame, DecodeError> {
        if data.is_array() {
            return self.all_tickers(data, out);
        }
        if !data.is_object() {
            return Err(DecodeError::Shape("neither an object nor a list of tickers"));
        }
        match data.text_of("e") {
            Some("24hrTicker") => self.ticker(data, "ticker", out),
            Some("depthUpdate") => self.depth_update(stream, data, out),
            Some("serverShutdown") => {
                out.updates.push(Update::Notice(Notice::Leaving("the server is about to stop")));
                Ok(Frame::Control)
            }
            Some(name) if name != "bookTicker" => Ok(Frame::Unused),
            _ if data.get("lastUpdateId").is_some() => self.partial_book(stream, data, out),
            _ if stream.ends_with("@bookTicker") || data.get("u").is_some() || data.get("s").is_some() => {
                let symbol = text(data, "s")?;
                let sequence = integer(data, "u")?;
                let ticker = BookTicker { sequence, bid: side(data, "b", "B")?, ask: side(data, "a", "A")? };
                Ok(self.book_ticker(symbol.as_bytes(), ticker, out))
            }
            _ => self.reply(data, out),
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
        }
        Ok(Frame::Control)
    }

    /// `!ticker@arr`: all or nothing.
    fn all_tickers(&mut self, list: Value<'_>, out: &mut Decoded) -> Result<Frame, DecodeError> {
        let mark = out.updates.len();
        let mut frame = Frame::Unused;
        for data in list.items().filter(|data| data.text_of("e") == Some("24hrTicker")) {
            match self.ticker(data, "!ticker@arr", out) {
                Ok(Frame::Data) => frame = Frame::Data,
                Ok(_) => {}
                Err(why) => {
                    out.updates.truncate(mark);
                    return Err(why);
                }
            }
        }
        Ok(frame)
    }

    fn ticker(&mut self, data: Value<'_>, channel: &'static str, out: &mut Decoded) -> Result<Frame, DecodeError> {
        let Some(instrument) = self.symbols.find(text(data, "s")?.as_bytes()) else { return Ok(Frame::Unused) };
        let (bid, ask) = (side(data, "b", "B")?, side(data, "a", "A")?);
        let exchange_time = time(integer(data, "E")?);
        if self.symbols.is_discovering() || !self.seen.contains(instrument) {
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
    fn partial_book(&mut self, stream: &str, data: Value<'_>, out: &mut Decoded) -> Result<Frame, DecodeError> {
        const CHANNELS: [&str; 6] = ["depth5", "depth10", "depth20", "depth5@100ms", "depth10@100ms", "depth20@100ms"];
        let Some((symbol, name)) = stream.split_once('@') else { return Ok(Frame::Unused) };
        let Some(channel) = CHANNELS.into_iter().find(|channel| *channel == name) else { return Ok(Frame::Unused) };
        self.upper.clear();
        self.upper.extend(symbol.chars().flat_map(char::to_uppercase));
        let Some(instrument) = self.symbols.find(self.upper.as_bytes()) else { return Ok(Frame::Unused) };
        let sequence = integer(data, "lastUpdateId")?;
        self.levels.clear();
        changes(data, "bids", Side::Bid, &mut self.levels)?;
        changes(data, "asks", Side::Ask, &mut self.levels)?;
        let mut book = Book::default();
        reading::apply(&mut book, &self.levels);
        let (bid, ask) = (book.best_bid(), book.best_ask());
        if self.partial.insert((instrument, channel), (bid, ask)) != Some((bid, ask)) {
            out.updates.push(Update::Top(Top { instrument, bid, ask, sequence, exchange_time: UnixNs(0), channel }));
        }
        Ok(Frame::Data)
    }

    fn depth_update(&mut self, stream: &str, data: Value<'_>, out: &mut Decoded) -> Result<Frame, DecodeError> {
        let Some(instrument) = self.symbols.find(text(data, "s")?.as_bytes()) else { return Ok(Frame::Unused) };
        let (first, last, at) = (integer(data, "U")?, integer(data, "u")?, time(integer(data, "E")?));
        if first > last {
            return Err(DecodeError::Shape("`U` is above `u`"));
        }
        self.levels.clear();
        changes(data, "b", Side::Bid, &mut self.levels)?;
        changes(data, "a", Side::Ask, &mut self.levels)?;
        let channel = if stream.ends_with("@depth@100ms") { "depth@100ms" } else { "depth" };
        let order = Order { from: Some(first), to: last };
        self.depth.of(instrument).event(instrument, channel, (order, at), &self.levels, out).map(|()| Frame::Data)
    }

    fn snapshot(&mut self, symbol: &str, root: Value<'_>, out: &mut Decoded) -> Result<Frame, DecodeError> {
        let Some(instrument) = self.symbols.find(symbol.as_bytes()) else { return Ok(Frame::Unused) };
        let last = integer(root, "lastUpdateId")?;
        self.levels.clear();
        changes(root, "bids", Side::Bid, &mut self.levels)?;
        changes(root, "asks", Side::Ask, &mut self.levels)?;
        self.depth.of(instrument).snapshot(instrument, last, &mut self.levels, out);
        Ok(Frame::Data)
    }
}

/// The venue's end of a connection.
#[derive(Default)]
struct Exchange {
    /// Wrapped with the stream's name.
    combined: bool,
    streams: Vec<String>,
    /// The last top sent on each depth stream.
    tops: FxHashMap<String, (Level, Level)>,
}

impl ExchangeSide for Exchange {
    fn opened(&mut self, target: &str, market: &dyn Market, _out: &mut Messages) {
        let path = target.split('?').next().unwrap_or_default();
        self.combined = path.starts_with("/stream");
        let streams = writing::query(target, "streams").or_else(|| path.strip_prefix("/ws/")).unwrap_or_default();
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
                    let last = self.tops.insert(self.streams[at].clone(), (quote.bid, quote.ask));
                    depth_frame(quote, last.unwrap_or_default())
                }
                "depth5" | "depth10" | "depth20" | "depth5@100ms" | "depth10@100ms" | "depth20@100ms" => format!(
                    r#"{{"lastUpdateId":{},"bids":{},"asks":{}}}"#,
                    quote.sequence,
                    levels_text(&[quote.bid]),
                    levels_text(&[quote.ask])
                ),
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

impl Exchange {
    /// What a client sees of a depth stream begins with the state at this moment, which it reads by REST.
    fn subscribe(&mut self, name: &str, market: &dyn Market) {
        if self.streams.iter().any(|s| s == name) {
            return;
        }
        self.streams.push(name.to_owned());
        if let Some((symbol, "depth" | "depth@100ms")) = name.split_once('@')
            && let Some(quote) = market.quote(&symbol.to_uppercase())
        {
            self.tops.insert(name.to_owned(), (quote.bid, quote.ask));
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
    let ms = quote.time.ms();
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
        open = day.last - day.change,
    )
}

/// The step from one one-level book to the next as a diff depth event.
fn depth_frame(quote: &VenueQuote, (last_bid, last_ask): (Level, Level)) -> String {
    let step = |last: Level, now: Level| {
        let gone = Level { price: last.price, size: Decimal::ZERO };
        let gone = (last.is_present() && last.price != now.price).then_some(gone);
        gone.into_iter().chain(now.is_present().then_some(now)).collect::<Vec<_>>()
    };
    format!(
        r#"{{"e":"depthUpdate","E":{},"s":"{}","U":{u},"u":{u},"b":{},"a":{}}}"#,
        quote.time.ms(),
        quote.native,
        levels_text(&step(last_bid, quote.bid)),
        levels_text(&step(last_ask, quote.ask)),
        u = quote.sequence,
    )
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
