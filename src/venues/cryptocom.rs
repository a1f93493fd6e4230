//! Crypto.com Exchange spot (v1): `book` in steps of 10 ms live, for tops and for order books, `ticker` for the
//! statistics; whole books, and frames of the older v2 socket with its bare numbers, from recordings as well.
//!
//! A book of ten or fifty levels comes whole once, then as changes that name in `pu` what they follow; a change without
//! levels says that all is quiet. A `ticker`'s `a` is the last trade, its ask is `k`. The server asks every 30 s
//! whether we live. Called on the feed's thread.

use std::fmt::Write as _;

use rustc_hash::FxHashSet;
use serde_json::{Value as Json, json};

use crate::market::book::{Book, Side};
use crate::market::quote::StampOrder;
use crate::market::statistics::{self, DayStatistics};
use crate::market::{Decimal, InstrumentId, Level};
use crate::time::{MonoNs, SECOND, UnixNs};
use crate::venues::codes::Codes;
use crate::venues::depth::{ChainLink, Chained, LevelChange, PerInstrument, TopStamp};
use crate::venues::ladder::levels_of;
use crate::venues::listing::{self, Listing, ListingEntry};
use crate::venues::reading::{self, Asked, array, changes, figure, integer, integer_if_any, side_if_any, text, time};
use crate::venues::writing::{self, ClientSubscriptions};
use crate::venues::{
    BookFacts, Check, DecodeError, Decoded, ExchangeSide, Facts, FeedCodec, Frame, Keepalive, Listed, Market, Messages,
    Opening, Requests, StampFacts, Symbols, Top, Update, Venue, VenueLimits, VenueQuote, VoidReason,
};
use crate::wire::json::{Parser, Scan, Value};

/// Crypto.com, spot.
pub struct CryptoCom;

/// <https://exchange-developer.crypto.com/exchange/v1/docs>, as public clients of autumn 2026 follow it: 100 requests a second, counted against the
/// rest of the second that the connection began in, so the first waits a second; a heartbeat every 30 s, to be
/// answered within 5 s; close code 1013 while the server restarts. A public measurement of 2026-09-22: 400 channels
/// per connection (then code 40107), an acknowledgement per book channel and none for tickers, a quiet book told
/// every 5 s, the window of levels kept by the server. Fee: base tier by ccxt 4.5.90.
static FACTS: Facts = Facts {
    name: "cryptocom",
    title: "Crypto.com",
    address: "wss://stream.crypto.com/exchange/v1/market",
    opening: Opening::Patient { wait_ms: 1000 },
    taker_fee_pct: "0.50",
    keepalive: Keepalive::Server,
    message_max: 1 << 20,
    request_gap_ms: 250,
    channel: "book.10",
    books: Some(BookFacts { channel: "book.50", levels_max: 50, check: Check::Sequence }),
    // 66 of 259 recorded stamps go back on a connection, and 26 within an instrument (662 ms at most); the recording is
    // of an older version.
    stamps: StampFacts { cadence_ms: 10, order: StampOrder::None, ..StampFacts::MILLISECONDS },
    limits: VenueLimits { instruments: 200, ..VenueLimits::UNPUBLISHED },
    docs: "https://exchange-developer.crypto.com/exchange/v1/docs (facts of autumn 2026)",
};

/// Channels in one request.
const CHANNELS_PER_REQUEST: usize = 100;

/// Refusals that say that one of the channels is wrong: the others are asked for by themselves.
const WRONG_CHANNEL: [&str; 2] = ["40003", "40004"];

const BOOK: &str = "book";
const TICKER: &str = "ticker";

const CODES: Codes = Codes::usual("Crypto.com");

impl Venue for CryptoCom {
    fn facts(&self) -> &'static Facts {
        &FACTS
    }

    fn codes(&self) -> Codes {
        CODES
    }

    fn native(&self, base: &str, quote: &str) -> Result<String, String> {
        let [base, quote] = CODES.native(base, quote)?;
        Ok(format!("{base}_{quote}"))
    }

    fn symbol_of(&self) -> fn(&str) -> Option<String> {
        // Perpetuals and futures (`BTCUSD-PERP`) have no such mark.
        |native| match native.split_once('_') {
            Some((base, quote)) => CODES.symbol(base, quote),
            _ => None,
        }
    }

    fn codec(&self, symbols: Symbols) -> Box<dyn FeedCodec> {
        Box::new(CryptoComCodec {
            parser: Parser::default(),
            state: CryptoComState { symbols, ..CryptoComState::default() },
        })
    }

    fn book_codec(&self, symbols: Symbols, levels: usize) -> Option<Box<dyn FeedCodec>> {
        let state = CryptoComState {
            symbols,
            book_levels: Some(if levels <= 10 { 10 } else { 50 }),
            ..CryptoComState::default()
        };
        Some(Box::new(CryptoComCodec { parser: Parser::default(), state }))
    }

    fn listing(&self) -> Listing {
        Listing { address: "https://api.crypto.com", path: "/exchange/v1/public/get-instruments" }
    }

    fn read_listing(&self, reply: &[u8]) -> Result<Vec<ListingEntry>, DecodeError> {
        listing::read(
            reply,
            &CODES,
            |root| listing::array_of(root.get("result")?, "data"),
            |row| {
                if row.text_of("inst_type") != Some("CCY_PAIR") {
                    return None;
                }
                Some(ListingEntry {
                    base: row.text_of("base_ccy")?.to_owned(),
                    quote: row.text_of("quote_ccy")?.to_owned(),
                    native: row.text_of("symbol")?.to_owned(),
                    is_trading: row.get("tradable").and_then(|v| v.boolean()).unwrap_or(true),
                    tick: listing::step(row, "price_tick_size"),
                    lot: listing::step(row, "qty_tick_size"),
                    fee: None,
                })
            },
        )
    }

    fn exchange_side(&self) -> Box<dyn ExchangeSide> {
        Box::new(CryptoComExchange::default())
    }

    fn rest(&self, method: &str, target: &str, _base: &str, market: &dyn Market) -> Option<String> {
        match (method, target.split('?').next()?) {
            ("GET", "/exchange/v1/public/get-instruments") => {}
            // The list of v2, which other clients read.
            ("GET", "/v2/public/get-instruments") => {
                let row = |entry: &Listed| {
                    json!({
                        "instrument_name": entry.native, "base_currency": entry.base, "quote_currency": entry.quote,
                        "price_decimals": entry.price_decimals, "quantity_decimals": entry.size_decimals,
                        "margin_trading_enabled": false,
                    })
                };
                let instruments: Vec<Json> = market.listed().iter().map(row).collect();
                let result = json!({"instruments": instruments});
                return Some(json!({"code": 0, "method": "public/get-instruments", "result": result}).to_string());
            }
            _ => return None,
        }
        let row = |entry: &Listed| {
            json!({
                "symbol": entry.native, "inst_type": "CCY_PAIR", "display_name": format!("{}/{}", entry.base, entry.quote),
                "base_ccy": entry.base, "quote_ccy": entry.quote, "quote_decimals": entry.price_decimals,
                "quantity_decimals": entry.size_decimals, "price_tick_size": entry.tick(),
                "qty_tick_size": entry.lot(), "tradable": entry.is_trading,
            })
        };
        let data: Vec<Json> = market.listed().iter().map(row).collect();
        let reply = json!({"id": -1, "method": "public/get-instruments", "code": 0, "result": {"data": data}});
        Some(reply.to_string())
    }
}

struct CryptoComCodec {
    parser: Parser,
    state: CryptoComState,
}

#[derive(Default)]
struct CryptoComState {
    symbols: Symbols,
    /// Order books of so many levels a side are wanted, and no tops.
    book_levels: Option<usize>,
    now: UnixNs,
    asked: Asked,
    books: PerInstrument<Chained>,
    levels: Vec<LevelChange>,
}

impl FeedCodec for CryptoComCodec {
    fn set_time(&mut self, now: UnixNs) {
        self.state.now = now;
    }

    fn opened(&mut self, requests: &mut Requests) {
        let levels = self.state.levels();
        let CryptoComState { symbols, book_levels, now, asked, books, .. } = &mut self.state;
        asked.clear();
        books.clear();
        let channels: &[&str] = if book_levels.is_some() { &[BOOK] } else { &[BOOK, TICKER] };
        for channel in channels {
            asked.for_each(channel, symbols.entries(), CHANNELS_PER_REQUEST, |number, chunk| {
                let natives = chunk.iter().map(|entry| entry.native.as_str());
                requests.push(request("subscribe", Some(number), channel, levels, natives, *now));
            });
        }
    }

    fn read(&mut self, frame: &[u8], received: MonoNs, out: &mut Decoded) -> Result<Frame, DecodeError> {
        let Self { parser, state } = self;
        if let Some(update) = scan_update(frame, &mut state.levels) {
            let Some(instrument) = state.symbols.find(update.symbol) else { return Ok(Frame::Unused) };
            return state.follow(instrument, update.link, update.levels, received, out);
        }
        parser.parse(frame, |root| state.message(root, received, out))?
    }

    fn resubscribe(&mut self, instruments: &[InstrumentId], requests: &mut Requests) {
        let levels = self.state.levels();
        let CryptoComState { symbols, now, books, .. } = &mut self.state;
        instruments.iter().for_each(|id| books.of(*id).depth.forget_published());
        for method in ["unsubscribe", "subscribe"] {
            requests.push(request(method, None, BOOK, levels, symbols.natives(instruments), *now));
        }
    }

    fn symbols(&self) -> &Symbols {
        &self.state.symbols
    }

    fn forget(&mut self, instrument: InstrumentId) {
        self.state.books.of(instrument).depth.forget_published();
    }

    fn book(&self, instrument: InstrumentId) -> Option<&Book> {
        let depth = &self.state.books.get(instrument)?.depth;
        depth.is_live().then_some(depth.book())
    }
}

/// A request for `channel` of some instruments; of a book, with this many levels.
fn request<'a>(
    method: &str,
    number: Option<usize>,
    channel: &str,
    levels: usize,
    natives: impl Iterator<Item = &'a str>,
    now: UnixNs,
) -> String {
    let number = number.unwrap_or(0);
    let mut request = format!(r#"{{"id":{number},"method":"{method}","params":{{"channels":["#);
    for (at, native) in natives.enumerate() {
        let comma = if at == 0 { "" } else { "," };
        // Writing to a String cannot fail.
        let _ = match channel {
            BOOK => write!(request, r#"{comma}"book.{native}.{levels}""#),
            _ => write!(request, r#"{comma}"{channel}.{native}""#),
        };
    }
    request.push(']');
    if channel == BOOK && method == "subscribe" {
        request.push_str(r#","book_subscription_type":"SNAPSHOT_AND_UPDATE","book_update_frequency":10"#);
    }
    let _ = write!(request, r#"}},"nonce":{}}}"#, now.ms());
    request
}

/// A change of a book.
struct CryptoComBookUpdate<'a> {
    symbol: &'a [u8],
    levels: usize,
    link: ChainLink,
}

/// Reads a change of a book in the field order of the venue, its levels into `changes`; `None`: the general way.
#[inline(always)]
fn scan_update<'a>(frame: &'a [u8], changes: &mut Vec<LevelChange>) -> Option<CryptoComBookUpdate<'a>> {
    let mut scan = Scan::new(frame);
    scan.literal(b"{\"id\":-1,\"method\":\"subscribe\",\"code\":0,\"result\":{\"instrument_name\":\"")?;
    let symbol = scan.string()?;
    scan.literal(b",\"subscription\":\"")?;
    scan.string()?;
    scan.literal(b",\"channel\":\"book.update\",\"depth\":")?;
    let levels = scan.integer()?;
    scan.literal(b",\"data\":[{\"update\":{\"asks\":[")?;
    changes.clear();
    scan_levels(&mut scan, Side::Ask, changes)?;
    scan.literal(b",\"bids\":[")?;
    scan_levels(&mut scan, Side::Bid, changes)?;
    scan.literal(b"},\"t\":")?;
    let at = time(scan.integer()?);
    scan.literal(b",\"tt\":")?;
    scan.integer()?;
    scan.literal(b",\"u\":")?;
    let number = Some(scan.integer()?);
    scan.literal(b",\"pu\":")?;
    let after = Some(scan.integer()?);
    if scan.literal(b",\"cs\":").is_some() {
        scan.number()?;
    }
    scan.literal(b"}]}}")?;
    scan.end()?;
    Some(CryptoComBookUpdate { symbol, levels: usize::try_from(levels).ok()?, link: ChainLink { after, number, at } })
}

/// The levels of one side, each `["price","size","orders"]`, and the bracket behind them.
#[inline(always)]
fn scan_levels(scan: &mut Scan<'_>, side: Side, changes: &mut Vec<LevelChange>) -> Option<()> {
    if scan.literal(b"]").is_some() {
        return Some(());
    }
    loop {
        scan.literal(b"[\"")?;
        let price = scan.quoted_decimal()?;
        scan.literal(b",\"")?;
        let size = scan.quoted_decimal()?;
        scan.literal(b",\"")?;
        scan.integer()?;
        scan.literal(b"\"]")?;
        if price.is_zero() {
            return None;
        }
        changes.push(LevelChange { side, level: Level { price, size } });
        if scan.literal(b",").is_none() {
            return scan.literal(b"]");
        }
    }
}

impl CryptoComState {
    /// Levels a side of the books that are asked for.
    fn levels(&self) -> usize {
        self.book_levels.unwrap_or(10)
    }

    /// Applies the changes that were read to a book of at most `most` levels a side.
    #[inline(always)]
    fn follow(
        &mut self,
        instrument: InstrumentId,
        link: ChainLink,
        most: usize,
        received: MonoNs,
        out: &mut Decoded,
    ) -> Result<Frame, DecodeError> {
        let chain = self.books.of(instrument);
        if let Err(why) = chain.follow(link, &self.levels, received) {
            self.lost(instrument, why, most, out);
            return Err(why);
        }
        // An old one changed nothing.
        if link.number.is_none_or(|number| number >= chain.sequence()) {
            self.publish(instrument, link.at, most, out);
        }
        Ok(Frame::Data)
    }

    #[inline(always)]
    fn publish(&mut self, instrument: InstrumentId, exchange_time: UnixNs, most: usize, out: &mut Decoded) {
        let chain = self.books.of(instrument);
        if chain.depth.is_live() {
            // A level that leaves the window need not be sent.
            chain.depth.truncate(most);
            chain.depth.publish(TopStamp { instrument, sequence: chain.sequence(), exchange_time, channel: BOOK }, out);
            if self.book_levels.is_some() {
                chain.note(instrument, out);
            }
        }
    }

    /// Something was lost of a book: it is void, and asked for anew.
    #[cold]
    fn lost(&mut self, instrument: InstrumentId, why: DecodeError, levels: usize, out: &mut Decoded) {
        out.updates.push(Update::Void(instrument, why.loss().unwrap_or(VoidReason::Gap)));
        self.ask_again(instrument, levels, out);
    }

    #[cold]
    fn ask_again(&self, instrument: InstrumentId, levels: usize, out: &mut Decoded) {
        let native = self.symbols.entry(instrument).map_or("", |entry| entry.native.as_str());
        for method in ["unsubscribe", "subscribe"] {
            out.requests.push(request(method, None, BOOK, levels, std::iter::once(native), self.now));
        }
    }

    fn message(&mut self, root: Value<'_>, received: MonoNs, out: &mut Decoded) -> Result<Frame, DecodeError> {
        let method = root.text_of("method");
        if method == Some("public/heartbeat") {
            // 64 bits and signed; said again as it is.
            let id = text(root, "id")?;
            id.parse::<i64>().map_err(|_| DecodeError::Missing("id"))?;
            out.answers.push(format!(r#"{{"id":{id},"method":"public/respond-heartbeat"}}"#));
            return Ok(Frame::Control);
        }
        let code = root.text_of("code");
        if method.is_none() && code.is_none() {
            return Err(DecodeError::Missing("method"));
        }
        if let Some(code) = code.filter(|code| *code != "0") {
            return Ok(self.refused(code, root, out));
        }
        match root.get("result").filter(Value::is_object) {
            Some(result) => self.result(result, received, out),
            None => Ok(self.acknowledged(method, root, out)),
        }
    }

    /// One answer for each channel, which it names; v2 had one for each request.
    fn acknowledged(&mut self, method: Option<&str>, root: Value<'_>, out: &mut Decoded) -> Frame {
        if method != Some("subscribe") {
            return Frame::Control;
        }
        if let Some(channel) = root.text_of("channel") {
            let native = channel.strip_prefix("book.").and_then(|rest| rest.rsplit_once('.')).map(|(native, _)| native);
            let instrument = native.and_then(|native| self.symbols.find(native.as_bytes()));
            out.updates.extend(instrument.map(Update::Subscribed));
        } else if let Some((BOOK, range)) = self.asked.of(root.get("id").and_then(|id| id.integer())) {
            out.updates.extend(self.symbols.entries()[range].iter().map(|entry| Update::Subscribed(entry.id)));
        }
        Frame::Control
    }

    fn refused(&mut self, code: &str, root: Value<'_>, out: &mut Decoded) -> Frame {
        let message = root.text_of("message").unwrap_or("no reason given");
        let channel = root.text_of("channel").map(|channel| format!(" ({channel})")).unwrap_or_default();
        out.updates.push(Update::Refused(format!("{code}: {message}{channel}")));
        if channel.is_empty() && WRONG_CHANNEL.contains(&code) {
            for (number, channel, at) in self.asked.singly(root.get("id").and_then(|id| id.integer())) {
                let native = std::iter::once(self.symbols.entries()[at].native.as_str());
                out.requests.push(request("subscribe", Some(number), channel, self.levels(), native, self.now));
            }
        }
        Frame::Control
    }

    fn result(&mut self, result: Value<'_>, received: MonoNs, out: &mut Decoded) -> Result<Frame, DecodeError> {
        let channel = text(result, "channel")?;
        let is_change = match channel {
            "book" => false,
            "book.update" => true,
            "ticker" => return self.tickers(result, out),
            _ => return Ok(Frame::Unused),
        };
        let symbol = text(result, "instrument_name")?;
        let Some(instrument) = self.symbols.find(symbol.as_bytes()) else { return Ok(Frame::Unused) };
        let most = integer(result, "depth").and_then(|most| most.try_into().map_err(|_| DecodeError::Missing("depth")));
        let items = most.and_then(|most| Ok((most, array(result, "data")?)));
        // A quiet book sends an element with empty sides.
        let items = items.and_then(
            |(most, data)| {
                if data.is_empty() { Err(DecodeError::Missing("data")) } else { Ok((most, data)) }
            },
        );
        let (most, data) = items.inspect_err(|_| self.undecodable(instrument, out))?;
        let mark = out.updates.len();
        for item in data.items() {
            let read = self.read_book(item, is_change);
            let link = read.inspect_err(|_| {
                out.take_back_tops(mark);
                self.undecodable(instrument, out);
            })?;
            if is_change {
                self.follow(instrument, link, most, received, out).inspect_err(|_| out.take_back_tops(mark))?;
            } else {
                self.books.of(instrument).replace(instrument, (link, received), &mut self.levels, out);
                self.publish(instrument, link.at, most, out);
            }
        }
        Ok(Frame::Data)
    }

    /// A message of the book cannot be read: what was published of it is void, and the book is asked for anew.
    #[cold]
    fn undecodable(&mut self, instrument: InstrumentId, out: &mut Decoded) {
        out.undecodable(instrument);
        if self.books.of(instrument).depth.void() {
            self.ask_again(instrument, self.levels(), out);
        }
    }

    /// Reads a whole book, or a change of it, into `levels`; gives its place.
    fn read_book(&mut self, item: Value<'_>, is_change: bool) -> Result<ChainLink, DecodeError> {
        let levels = if is_change { item.get("update").ok_or(DecodeError::Missing("update"))? } else { item };
        self.levels.clear();
        changes(levels, "asks", Side::Ask, &mut self.levels)?;
        changes(levels, "bids", Side::Bid, &mut self.levels)?;
        let at = time(integer(item, "t")?);
        if is_change {
            let (number, after) = (Some(integer(item, "u")?), Some(integer(item, "pu")?));
            return Ok(ChainLink { after, number, at });
        }
        Ok(ChainLink { after: None, number: integer_if_any(item, "u")?, at })
    }

    fn tickers(&mut self, result: Value<'_>, out: &mut Decoded) -> Result<Frame, DecodeError> {
        let named = result.text_of("instrument_name").and_then(|symbol| self.symbols.find(symbol.as_bytes()));
        let Some(data) = array(result, "data").ok().filter(|data| !data.is_empty()) else {
            if let Some(instrument) = named.filter(|instrument| self.quotes_ticker(*instrument)) {
                out.undecodable(instrument);
            }
            return Err(DecodeError::Missing("data"));
        };
        reading::each(data.items(), |item| self.ticker(item, named, out))
    }

    /// Whether tops come from the ticker. Live, the book is faster.
    fn quotes_ticker(&mut self, instrument: InstrumentId) -> bool {
        self.symbols.is_discovering() || !self.books.of(instrument).depth.is_live()
    }

    /// One element; `named` is the instrument that the message is about.
    fn ticker(
        &mut self,
        item: Value<'_>,
        named: Option<InstrumentId>,
        out: &mut Decoded,
    ) -> Result<Frame, DecodeError> {
        let by_symbol = item.text_of("i").map(|symbol| self.symbols.find(symbol.as_bytes()));
        let Some(instrument) = by_symbol.unwrap_or(named) else {
            return if by_symbol.is_some() { Ok(Frame::Unused) } else { Err(DecodeError::Missing("i")) };
        };
        let is_quoted = self.quotes_ticker(instrument);
        let read = || {
            let at = time(integer(item, "t")?);
            // v2 has no sizes, so no quotes.
            if item.get("bs").is_none() && item.get("ks").is_none() {
                return Ok((at, None));
            }
            Ok((at, Some((side_if_any(item, "b", "bs")?, side_if_any(item, "k", "ks")?))))
        };
        let read = if is_quoted { out.void_unread(instrument, read()) } else { read() };
        let (exchange_time, top) = read?;
        if let Some((bid, ask)) = top.filter(|_| is_quoted) {
            out.updates.push(Update::Top(Top { instrument, bid, ask, sequence: 0, exchange_time, channel: TICKER }));
        }
        let (last, change) = (figure(item, "a"), figure(item, "c"));
        // The change is a ratio, of v2 an amount.
        let (change, change_pct) = match (item.get("vv").is_some(), statistics::difference(last, change)) {
            (true, _) => {
                let percent = statistics::hundredfold(change);
                (statistics::change_of(last, percent), percent)
            }
            (false, open) => (change, statistics::change_pct(last, open)),
        };
        out.updates.push(Update::Statistics(DayStatistics {
            instrument,
            last,
            high: figure(item, "h"),
            low: figure(item, "l"),
            change,
            change_pct,
            quote_volume: figure(item, "vv"),
            exchange_time,
        }));
        Ok(Frame::Data)
    }
}

/// The venue's end of a connection.
#[derive(Default)]
struct CryptoComExchange {
    subscriptions: ClientSubscriptions,
    /// Subscribed books that come whole each time.
    wholes: FxHashSet<String>,
    asked_at: UnixNs,
}

/// How often the server wants to hear from us.
const HEARTBEAT_EVERY: u64 = 30 * SECOND;

impl ExchangeSide for CryptoComExchange {
    fn opened(&mut self, _target: &str, market: &dyn Market, _out: &mut Messages) {
        self.asked_at = market.now();
    }

    fn receive(&mut self, text: &str, market: &dyn Market, out: &mut Messages) {
        // What is no JSON gets no answer.
        let Ok(request) = serde_json::from_str::<Json>(text) else { return };
        let id = request["id"].as_i64().unwrap_or(i64::MIN);
        let method = request["method"].as_str().unwrap_or_default();
        let reply = |code: u32, message: Option<&str>, channel: &str| {
            let mut reply = json!({"id": id, "method": method, "code": code, "channel": channel});
            if let Some(message) = message {
                reply["message"] = json!(message);
            }
            reply.to_string()
        };
        match method {
            "public/respond-heartbeat" => return,
            "subscribe" | "unsubscribe" => {}
            _ => return out.push(reply(40003, Some("No such method"), "")),
        }
        let is_whole = request["params"]["book_subscription_type"].as_str() != Some("SNAPSHOT_AND_UPDATE");
        let channels = request["params"]["channels"].as_array();
        for channel in channels.into_iter().flatten().filter_map(Json::as_str) {
            let Some(quote) = native_of(channel).and_then(|native| market.quote(native)) else {
                out.push(reply(40003, Some("Unknown symbol"), channel));
                continue;
            };
            if method == "unsubscribe" {
                self.subscriptions.remove(channel, &quote.native);
                out.push(reply(0, None, channel));
                continue;
            }
            self.wholes.remove(channel);
            if is_whole {
                self.wholes.insert(channel.to_owned());
            }
            if channel.starts_with("book.") {
                out.push(reply(0, None, channel));
                // Its stamp is that of the message.
                out.push(book_frame(channel, &VenueQuote { time: market.now(), ..quote.clone() }, None));
            } else {
                // The first ticker is the answer.
                out.push(ticker_frame(&quote, id));
            }
            self.subscriptions.add(channel, quote, market.now());
        }
    }

    fn quote(&mut self, quote: &VenueQuote, out: &mut Messages) {
        for subscription in self.subscriptions.of(&quote.native).filter(|s| s.channel.starts_with("book.")) {
            let last = Some(&subscription.last).filter(|_| !self.wholes.contains(&subscription.channel));
            out.push(book_frame(&subscription.channel, quote, last));
            subscription.last = quote.clone();
        }
    }

    fn statistics(&mut self, quote: &VenueQuote, out: &mut Messages) {
        if self.subscriptions.of(&quote.native).any(|s| s.channel.starts_with("ticker.")) {
            out.push(ticker_frame(quote, -1));
        }
    }

    fn heartbeat(&mut self, now: UnixNs, out: &mut Messages) {
        if now.0.saturating_sub(self.asked_at.0) >= HEARTBEAT_EVERY {
            self.asked_at = now;
            out.push(format!(r#"{{"id":{},"method":"public/heartbeat","code":0}}"#, now.ms()));
        }
    }
}

/// The instrument of `ticker.BTC_USD` or `book.BTC_USD.10`.
fn native_of(channel: &str) -> Option<&str> {
    match channel.split_once('.')? {
        ("ticker", native) => Some(native),
        ("book", rest) => rest.rsplit_once('.').filter(|(_, levels)| matches!(*levels, "10" | "50")).map(|(n, _)| n),
        _ => None,
    }
}

/// A whole book, or the changes since `last`.
fn book_frame(channel: &str, quote: &VenueQuote, last: Option<&VenueQuote>) -> String {
    let VenueQuote { native, sequence, time, .. } = quote;
    let levels = channel.rsplit_once('.').map_or("10", |(_, levels)| levels);
    let changes = quote.changes(last, levels.parse().unwrap_or(10));
    let [bids, asks] = [Side::Bid, Side::Ask].map(|side| writing::rows(&levels_of(&changes, side), r#","1""#));
    let ms = time.ms();
    let (name, data) = match last {
        None => ("book", format!(r#"{{"asks":{asks},"bids":{bids},"t":{ms},"tt":{ms},"u":{sequence}}}"#)),
        Some(last) => {
            let update = format!(r#""update":{{"asks":{asks},"bids":{bids}}}"#);
            let data = format!(r#"{{{update},"t":{ms},"tt":{ms},"u":{sequence},"pu":{}}}"#, last.sequence);
            ("book.update", data)
        }
    };
    format!(
        r#"{{"id":-1,"method":"subscribe","code":0,"result":{{"instrument_name":"{native}","subscription":"{channel}","channel":"{name}","depth":{levels},"data":[{data}]}}}}"#
    )
}

fn ticker_frame(quote: &VenueQuote, id: i64) -> String {
    let VenueQuote { native, bid, ask, time, day, .. } = quote;
    let [bid_price, bid_size] = [bid.price, bid.size].map(|number| number_or_null(*bid, number));
    let [ask_price, ask_size] = [ask.price, ask.size].map(|number| number_or_null(*ask, number));
    let volume = if day.last > 0.0 { day.quote_volume / day.last } else { 0.0 };
    format!(
        r#"{{"id":{id},"method":"subscribe","code":0,"result":{{"instrument_name":"{native}","subscription":"ticker.{native}","channel":"ticker","data":[{{"h":"{}","l":"{}","a":"{}","c":"{:.5}","b":{bid_price},"bs":{bid_size},"k":{ask_price},"ks":{ask_size},"i":"{native}","v":"{volume}","vv":"{}","oi":"0","t":{}}}]}}}}"#,
        day.high,
        day.low,
        day.last,
        day.change_rate(),
        day.quote_volume,
        time.ms(),
    )
}

fn number_or_null(level: Level, number: Decimal) -> String {
    if level.is_present() { format!("\"{number}\"") } else { "null".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::venues::SymbolEntry;

    #[test]
    fn a_book_is_asked_for_with_ten_levels_or_with_fifty() {
        for (levels, depth) in [(1, 10), (10, 10), (11, 50), (20, 50), (1000, 50)] {
            let entry = SymbolEntry { id: InstrumentId(0), native: "BTC_USD".to_owned(), symbol: "BTC/USD".to_owned() };
            let mut codec = CryptoCom.book_codec(Symbols::configured(vec![entry]), levels).unwrap();
            let (mut first, mut again) = (Requests::new(), Requests::new());
            codec.opened(&mut first);
            codec.resubscribe(&[InstrumentId(0)], &mut again);
            let is_it = |request: &String| request.contains(&format!(r#"["book.BTC_USD.{depth}"]"#));
            assert_eq!((first.len(), again.len()), (1, 2), "books alone are asked for");
            assert!(first.iter().chain(&again).all(is_it), "{first:?} {again:?}");
        }
    }
}
