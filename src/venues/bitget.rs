//! Bitget spot (v2): `books1` live, `ticker` for the statistics, `books` for order books; the other books from
//! recordings, of v1 and v3 too, which name some things differently.
//!
//! Stamps are milliseconds as text. Books count `seq` and name in `pseq` what they follow; older recordings
//! have a checksum instead, which is verified wherever there is one. The tickers of v1 have no sizes, so they
//! are no quotes. Other kinds of market have the same symbols, and differ by `instType`. Called on the feed's
//! thread; keeps a book only of `books`, and for recordings.

use std::fmt::Write as _;

use rustc_hash::FxHashMap;
use serde_json::{Value as Json, json};

use crate::market::book::{Book, Side};
use crate::market::statistics::{self, DayStatistics};
use crate::market::{InstrumentId, Level};
use crate::time::{MonoNs, UnixNs};
use crate::venues::codes::{Codes, alias, other};
use crate::venues::depth::{BookPart, ChainLink, Chained, LEVELS_MAX, LevelChange, TopStamp, paired_checksum};
use crate::venues::ladder::{self, levels_of};
use crate::venues::listing::{self, Fee, Listing, ListingEntry};
use crate::venues::reading::{
    self, Sequences, array, changes, figure, integer, integer_if_any, scan_level, side_if_any, text, time,
};
use crate::venues::writing::{self, ClientSubscriptions};
use crate::venues::{
    BookFacts, Check, Cut, DecodeError, Decoded, ExchangeSide, Facts, FeedCodec, Frame, Keepalive, Listed, Market,
    Messages, Opening, Pace, Requests, StampFacts, Symbols, Top, Update, Venue, VenueLimits, VenueQuote,
};
use crate::wire::json::{Parser, Scan, Value};

/// Bitget, spot.
pub(crate) struct Bitget;

/// <https://www.bitget.com/api-doc/spot/websocket/public/Depth-Channel>, facts of 2026-09: a text ping every 30 s, cut
/// after 2 min without; 240 subscriptions an hour and 10 messages a second per connection, 1000 channels and
/// better below 50, 24 h. 300 connections in 5 min and 100 at once per IP. Fee: the listing's base tier.
static FACTS: Facts = Facts {
    name: "bitget",
    title: "Bitget",
    address: "wss://ws.bitget.com/v2/ws/public",
    opening: Opening::Direct,
    taker_fee_pct: "0.10",
    keepalive: Keepalive::Client { every_ms: 25_000, cut: Cut::Unheard { ms: 120_000 } },
    message_max: 1 << 20,
    request_gap_ms: 150,
    channel: "books1",
    books: Some(BookFacts { channel: BOOKS, levels_max: LEVELS_MAX, check: Check::Checksum }),
    // 0 of 205 recorded stamps go back, which is too few for more than `channel`.
    stamps: StampFacts { cadence_ms: 10, ..StampFacts::MILLISECONDS },
    limits: VenueLimits {
        connects: Pace { count: 300, per_ms: 300_000 },
        age_max_s: Some(86_400),
        ..VenueLimits::UNPUBLISHED
    },
    docs: "https://www.bitget.com/api-doc/spot/websocket/public/Depth-Channel (2026-11-21)",
};

/// Quote assets of the venue's listing of 2022-04, and later ones.
const QUOTES: &[&str] = &["USDT", "BTC", "ETH", "USDC", "EUR", "BRL", "BGB"];

/// Instruments in one request: requests are counted, what is in them is not.
const ARGS_PER_REQUEST: usize = 100;

const BOOKS1: &str = "books1";
const TICKER: &str = "ticker";
/// All levels of the book, first whole, then each change after at most 200 ms. Where there is a checksum it is of 25
/// levels a side; `seq` and `pseq` are of every change. After a restart of the venue a `pseq` may be 0, and all numbers
/// smaller (the page of [`FACTS`] and <https://www.bitget.com/api-doc/uta/websocket/public/Order-Book-Channel>, read 2026-11-21).
const BOOKS: &str = "books";

/// Codes that mean something else elsewhere (ccxt 4.5.90, `commonCurrencies`, read 2026-11-29).
const CODES: Codes = Codes {
    venue: "Bitget",
    table: &[
        other("APX", "ASTROPEPEX"),
        other("DEGEN", "DEGENREBORN"),
        other("EVA", "EVADORE"),
        other("JADE", "JADEPROTOCOL"),
        other("OMNI", "OMNIBITGET"),
        alias("TONCOIN", "TON"),
    ],
};

impl Venue for Bitget {
    fn facts(&self) -> &'static Facts {
        &FACTS
    }

    fn codes(&self) -> Codes {
        CODES
    }

    fn native(&self, base: &str, quote: &str) -> Result<String, String> {
        let [base, quote] = CODES.native(base, quote)?;
        if !QUOTES.contains(&quote) {
            return Err(format!("Bitget has no market in {quote}; most are in USDT or USDC"));
        }
        Ok(format!("{base}{quote}"))
    }

    fn symbol_of(&self) -> fn(&str) -> Option<String> {
        // As v1 called them over REST.
        |native| CODES.renamed(&reading::split(native.strip_suffix("_SPBL").unwrap_or(native), QUOTES, &[])?)
    }

    fn codec(&self, symbols: Symbols) -> Box<dyn FeedCodec> {
        Box::new(BitgetCodec { parser: Parser::default(), state: BitgetState { symbols, ..BitgetState::default() } })
    }

    fn book_codec(&self, symbols: Symbols, _levels: usize) -> Option<Box<dyn FeedCodec>> {
        let state = BitgetState { symbols, wants_books: true, ..BitgetState::default() };
        Some(Box::new(BitgetCodec { parser: Parser::default(), state }))
    }

    fn listing(&self) -> Listing {
        Listing { address: "https://api.bitget.com", path: "/api/v2/spot/public/symbols" }
    }

    fn read_listing(&self, reply: &[u8]) -> Result<Vec<ListingEntry>, DecodeError> {
        listing::read(
            reply,
            &CODES,
            |root| listing::array_of(root, "data"),
            |row| {
                Some(ListingEntry {
                    base: row.text_of("baseCoin")?.to_owned(),
                    quote: row.text_of("quoteCoin")?.to_owned(),
                    native: row.text_of("symbol")?.to_owned(),
                    // `gray` is open to some accounts only; `halt` and `offline` to none
                    // (<https://www.bitget.com/api-doc/spot/market/Get-Symbols>).
                    is_trading: row.text_of("status") == Some("online"),
                    tick: listing::decimals(row, "pricePrecision"),
                    lot: listing::decimals(row, "quantityPrecision"),
                    fee: Fee::of_share(row.get("takerFeeRate")),
                })
            },
        )
    }

    fn exchange_side(&self) -> Box<dyn ExchangeSide> {
        Box::new(BitgetExchange::default())
    }

    fn rest(&self, method: &str, target: &str, _base: &str, market: &dyn Market) -> Option<String> {
        // The lists of v1, which other clients read, have the symbol with a suffix; no futures are simulated.
        let (is_v1, is_spot) = match (method, target.split('?').next()?) {
            ("GET", "/api/v2/spot/public/symbols") => (false, true),
            ("GET", "/api/spot/v1/public/products") => (true, true),
            ("GET", "/api/mix/v1/market/contracts") => (true, false),
            _ => return None,
        };
        let row = |entry: &Listed| {
            if is_v1 {
                return json!({
                    "symbol": format!("{}_SPBL", entry.native), "symbolName": entry.native, "baseCoin": entry.base,
                    "quoteCoin": entry.quote, "priceScale": entry.price_decimals.to_string(),
                    "quantityScale": entry.size_decimals.to_string(), "minTradeAmount": entry.lot(),
                    "maxTradeAmount": "0", "takerFeeRate": "0.001", "makerFeeRate": "0.001", "status": if entry.is_trading { "online" } else { "halt" },
                });
            }
            json!({
                "symbol": entry.native, "baseCoin": entry.base, "quoteCoin": entry.quote,
                "pricePrecision": entry.price_decimals.to_string(),
                "quantityPrecision": entry.size_decimals.to_string(), "minTradeUSDT": "1",
                "takerFeeRate": "0.001", "makerFeeRate": "0.001", "status": if entry.is_trading { "online" } else { "halt" },
            })
        };
        let listed = if is_spot { market.listed() } else { Vec::new() };
        let data: Vec<Json> = listed.iter().map(row).collect();
        let reply = json!({"code": "00000", "msg": "success", "requestTime": market.now().ms(), "data": data});
        Some(reply.to_string())
    }
}

struct BitgetCodec {
    parser: Parser,
    state: BitgetState,
}

#[derive(Default)]
struct BitgetState {
    symbols: Symbols,
    /// Order books are asked for, and not quotes.
    wants_books: bool,
    sequences: Sequences,
    books: FxHashMap<(InstrumentId, &'static str), Chained>,
    levels: Vec<LevelChange>,
    steps: Vec<BookPart>,
    checksum_text: Vec<u8>,
}

impl FeedCodec for BitgetCodec {
    fn opened(&mut self, requests: &mut Requests) {
        let state = &mut self.state;
        state.sequences.clear();
        state.books.clear();
        let channels: &[&str] = if state.wants_books { &[BOOKS] } else { &[BOOKS1, TICKER] };
        for channel in channels {
            for chunk in state.symbols.entries().chunks(ARGS_PER_REQUEST) {
                requests.push(request("subscribe", channel, chunk.iter().map(|entry| entry.native.as_str())));
            }
        }
    }

    fn read(&mut self, frame: &[u8], received: MonoNs, out: &mut Decoded) -> Result<Frame, DecodeError> {
        let Self { parser, state } = self;
        if let Some((symbol, best)) = scan_books1(frame) {
            let Some(instrument) = state.symbols.find(symbol) else { return Ok(Frame::Unused) };
            state.best(instrument, best, received, out);
            return Ok(Frame::Data);
        }
        if frame == b"pong" {
            return Ok(Frame::Control);
        }
        parser.parse(frame, |root| state.message(root, received, out))?
    }

    fn resubscribe(&mut self, instruments: &[InstrumentId], requests: &mut Requests) {
        for op in ["unsubscribe", "subscribe"] {
            requests.push(request(op, self.state.channel(), self.state.symbols.natives(instruments)));
        }
    }

    fn keepalive(&mut self, requests: &mut Requests) {
        requests.push("ping".to_owned());
    }

    fn symbols(&self) -> &Symbols {
        &self.state.symbols
    }

    fn book(&self, instrument: InstrumentId) -> Option<&Book> {
        self.state.books.get(&(instrument, BOOKS))?.book()
    }

    fn forget(&mut self, instrument: InstrumentId) {
        let its = self.state.books.iter_mut().filter(|((id, _), _)| *id == instrument);
        its.for_each(|(_, chain)| chain.depth.forget_published());
    }
}

fn request<'a>(op: &str, channel: &str, natives: impl Iterator<Item = &'a str>) -> String {
    let mut request = format!(r#"{{"op":"{op}","args":["#);
    for (at, native) in natives.enumerate() {
        let comma = if at == 0 { "" } else { "," };
        // Writing to a String cannot fail.
        let _ = write!(request, r#"{comma}{{"instType":"SPOT","channel":"{channel}","instId":"{native}"}}"#);
    }
    request.push_str("]}");
    request
}

/// What an element of `books1` says.
struct Best {
    bid: Level,
    ask: Level,
    /// 0 in recordings before 2024-11.
    sequence: u64,
    at: UnixNs,
}

/// Reads `books1` of one element with both sides, in the field order of the venue; `None`: the general way.
#[inline(always)]
fn scan_books1(frame: &[u8]) -> Option<(&[u8], Best)> {
    let mut scan = Scan::new(frame);
    scan.literal(b"{\"action\":\"snapshot\",\"arg\":{\"instType\":\"SPOT\",\"channel\":\"books1\",\"instId\":\"")?;
    let symbol = scan.string()?;
    scan.literal(b"},\"data\":[{\"asks\":[[\"")?;
    let ask = scan_level(&mut scan)?;
    scan.literal(b"]],\"bids\":[[\"")?;
    let bid = scan_level(&mut scan)?;
    scan.literal(b"]],\"checksum\":0,")?;
    let sequence = match scan.literal(b"\"seq\":") {
        Some(()) => {
            let sequence = scan.integer()?;
            scan.literal(b",")?;
            sequence
        }
        None => 0,
    };
    scan.literal(b"\"ts\":\"")?;
    let at = time(scan.integer()?);
    scan.literal(b"\"}],\"ts\":")?;
    scan.integer()?;
    scan.literal(b"}")?;
    scan.end()?;
    Some((symbol, Best { bid, ask, sequence, at }))
}

impl BitgetState {
    /// What is asked for.
    const fn channel(&self) -> &'static str {
        if self.wants_books { BOOKS } else { BOOKS1 }
    }

    #[inline(always)]
    fn best(&mut self, instrument: InstrumentId, best: Best, received: MonoNs, out: &mut Decoded) {
        let Best { bid, ask, sequence, at: exchange_time } = best;
        let top = Top { instrument, bid, ask, sequence, exchange_time, channel: BOOKS1 };
        self.sequences.publish(top, received, out);
    }

    fn message(&mut self, root: Value<'_>, received: MonoNs, out: &mut Decoded) -> Result<Frame, DecodeError> {
        if let Some(event) = root.text_of("event") {
            return Ok(self.event(event, root, out));
        }
        let arg = root.get("arg").ok_or(DecodeError::Missing("arg"))?;
        let (kind, channel, symbol) = names(arg);
        let channel = channel.ok_or(DecodeError::Missing("channel"))?;
        if !is_spot(kind) {
            return Ok(Frame::Unused);
        }
        let Some(instrument) = self.symbols.find(symbol.as_bytes()) else { return Ok(Frame::Unused) };
        match [BOOKS1, "books5", "books15", "books50", BOOKS].into_iter().find(|name| *name == channel) {
            Some(channel) => {
                let read = self.read_steps(root);
                match read {
                    Ok(is_whole) => self.book((instrument, channel), is_whole, received, out),
                    Err(why) => {
                        self.undecodable(instrument, channel, out);
                        Err(why)
                    }
                }
            }
            None if channel == TICKER => self.tickers(instrument, root, out),
            None => Ok(Frame::Unused),
        }
    }

    fn event(&mut self, event: &str, root: Value<'_>, out: &mut Decoded) -> Frame {
        let (kind, channel, symbol) = root.get("arg").map(names).unwrap_or_default();
        match event {
            "subscribe" if channel == Some(self.channel()) && is_spot(kind) => {
                out.updates.extend(self.symbols.find(symbol.as_bytes()).map(Update::Subscribed));
            }
            "error" => {
                let why = root.text_of("msg").or(root.text_of("code")).unwrap_or("no reason given");
                out.updates.push(Update::Refused(why.to_owned()));
            }
            _ => {}
        }
        Frame::Control
    }

    /// A message of a book cannot be read: what was published of it is void, and the book is asked for anew.
    #[cold]
    fn undecodable(&mut self, instrument: InstrumentId, channel: &'static str, out: &mut Decoded) {
        out.undecodable(instrument);
        if self.books.get_mut(&(instrument, channel)).is_some_and(|chain| chain.depth.void()) {
            self.ask_again(instrument, channel, out);
        }
    }

    /// Reads a message of one of the books into `levels` and `steps`; gives whether they are whole books, not changes.
    fn read_steps(&mut self, root: Value<'_>) -> Result<bool, DecodeError> {
        let data = array(root, "data")?;
        let is_whole = match text(root, "action")? {
            "snapshot" => true,
            "update" => false,
            _ => return Err(DecodeError::Shape("`action` is neither snapshot nor update")),
        };
        self.levels.clear();
        self.steps.clear();
        for item in data.items() {
            // v3 has shorter names.
            let (bids, asks) = if item.get("b").is_some() { ("b", "a") } else { ("bids", "asks") };
            changes(item, asks, Side::Ask, &mut self.levels)?;
            changes(item, bids, Side::Bid, &mut self.levels)?;
            let number = integer_if_any(item, "seq")?;
            let after = if is_whole { None } else { integer_if_any(item, "pseq")? };
            let link = ChainLink { after, number, at: stamp(item, root)? };
            self.steps.push(BookPart { to: self.levels.len(), link, checksum: checksum_of(item)? });
        }
        if self.steps.is_empty() {
            return Err(DecodeError::Missing("data"));
        }
        Ok(is_whole)
    }

    /// A message of one of the books that was read: wholes, or changes.
    fn book(
        &mut self,
        (instrument, channel): (InstrumentId, &'static str),
        is_whole: bool,
        received: MonoNs,
        out: &mut Decoded,
    ) -> Result<Frame, DecodeError> {
        let steps = std::mem::take(&mut self.steps);
        let done = self.take_steps((instrument, channel), is_whole, &steps, received, out);
        self.steps = steps;
        done
    }

    /// Takes the elements of a message, whose levels have been read.
    #[inline]
    fn take_steps(
        &mut self,
        (instrument, channel): (InstrumentId, &'static str),
        is_whole: bool,
        steps: &[BookPart],
        received: MonoNs,
        out: &mut Decoded,
    ) -> Result<Frame, DecodeError> {
        let (mut from, mut is_new) = (0, false);
        for step in steps {
            let levels = from..step.to;
            from = step.to;
            if channel == BOOKS1 && is_whole {
                let [bid, ask] = [Side::Bid, Side::Ask].map(|side| reading::best(&self.levels[levels.clone()], side));
                let [bid, ask] = [bid, ask].map(Option::unwrap_or_default);
                let ChainLink { number, at, .. } = step.link;
                self.best(instrument, Best { bid, ask, sequence: number.unwrap_or(0), at }, received, out);
                continue;
            }
            let chain = self.books.entry((instrument, channel)).or_default();
            let done = if is_whole {
                Ok(chain.replace(instrument, (step.link, received), &mut self.levels[levels], out))
            } else {
                chain.follow(step.link, &self.levels[levels], received)
            };
            // The small books carry the checksum of the large one.
            let done = done.and_then(|is_applied| {
                let checksum = step.checksum.filter(|_| channel == BOOKS && is_applied);
                chain.check_paired(checksum, &mut self.checksum_text).map(|()| is_applied)
            });
            match done {
                Ok(is_applied) => is_new |= is_applied,
                Err(why) => {
                    chain.depth.void();
                    self.lost(instrument, channel, why, out);
                    return Err(why);
                }
            }
        }
        if let (Some(chain), Some(step), true) = (self.books.get_mut(&(instrument, channel)), steps.last(), is_new) {
            let quoted = TopStamp { instrument, sequence: chain.sequence(), exchange_time: step.link.at, channel };
            chain.depth.publish(quoted, out);
            if self.wants_books {
                chain.note(instrument, out);
            }
        }
        Ok(Frame::Data)
    }

    /// A book is not to be trusted any more: it is void, and asked for anew.
    #[cold]
    fn lost(&self, instrument: InstrumentId, channel: &str, why: DecodeError, out: &mut Decoded) {
        out.updates.extend(why.loss().map(|reason| Update::Void(instrument, reason)));
        self.ask_again(instrument, channel, out);
    }

    #[cold]
    fn ask_again(&self, instrument: InstrumentId, channel: &str, out: &mut Decoded) {
        let native = self.symbols.entry(instrument).map_or("", |entry| entry.native.as_str());
        for op in ["unsubscribe", "subscribe"] {
            out.requests.push(request(op, channel, std::iter::once(native)));
        }
    }

    fn tickers(&mut self, instrument: InstrumentId, root: Value<'_>, out: &mut Decoded) -> Result<Frame, DecodeError> {
        // Live, the quotes are those of `books1`.
        let is_quoted = self.symbols.is_discovering();
        let some = array(root, "data")
            .and_then(|data| if data.is_empty() { Err(DecodeError::Missing("data")) } else { Ok(data) });
        let data = if is_quoted { out.void_unread(instrument, some) } else { some }?;
        reading::each(data.items(), |item| {
            let read = self.ticker(instrument, item, out);
            if is_quoted { out.void_unread(instrument, read) } else { read }
        })
    }

    fn ticker(&mut self, instrument: InstrumentId, item: Value<'_>, out: &mut Decoded) -> Result<Frame, DecodeError> {
        let exchange_time = time(integer(item, "ts")?);
        // Slower than `books1`, and with a bad name: the prices of v1 are rounded, and have no sizes.
        if self.symbols.is_discovering() && (item.get("bidSz").is_some() || item.get("askSz").is_some()) {
            let (bid, ask) = (side_if_any(item, "bidPr", "bidSz")?, side_if_any(item, "askPr", "askSz")?);
            out.updates.push(Update::Top(Top { instrument, bid, ask, sequence: 0, exchange_time, channel: TICKER }));
        }
        let is_v1 = item.get("lastPr").is_none();
        let last = figure(item, if is_v1 { "last" } else { "lastPr" });
        let open = figure(item, "open24h");
        // `change24h` is rounded to a thousandth of a percent; it serves where there is no `open24h`.
        let (change, change_pct) = if open > 0.0 {
            (statistics::difference(last, open), statistics::change_pct(last, open))
        } else {
            let change_pct = statistics::hundredfold(figure(item, "change24h"));
            (statistics::change_of(last, change_pct), change_pct)
        };
        out.updates.push(Update::Statistics(DayStatistics {
            instrument,
            last,
            high: figure(item, "high24h"),
            low: figure(item, "low24h"),
            change,
            change_pct,
            quote_volume: figure(item, "quoteVolume"),
            exchange_time,
        }));
        Ok(Frame::Data)
    }
}

/// Kind of market, channel and symbol; the latter two have other names in v3.
fn names(arg: Value<'_>) -> (&str, Option<&str>, &str) {
    let channel = arg.text_of("channel").or(arg.text_of("topic"));
    let symbol = arg.text_of("instId").or(arg.text_of("symbol")).unwrap_or_default();
    (arg.text_of("instType").unwrap_or_default(), channel, symbol)
}

/// `SPOT` in v2, `sp` in v1, `spot` in v3.
fn is_spot(kind: &str) -> bool {
    kind.eq_ignore_ascii_case("spot") || kind.eq_ignore_ascii_case("sp")
}

/// The engine's stamp; where it has none, when the message was sent.
fn stamp(item: Value<'_>, root: Value<'_>) -> Result<UnixNs, DecodeError> {
    integer(if item.get("ts").is_some() { item } else { root }, "ts").map(time)
}

fn checksum_of(item: Value<'_>) -> Result<Option<i64>, DecodeError> {
    let Some(value) = item.get("checksum") else { return Ok(None) };
    let sum = value.text().and_then(|n| n.parse().ok()).ok_or(DecodeError::Missing("checksum"))?;
    Ok(Some(sum).filter(|sum| *sum != 0))
}

/// The venue's end of a connection.
#[derive(Default)]
struct BitgetExchange {
    subscriptions: ClientSubscriptions,
}

/// The channels that the simulated venue serves.
const SERVED: [&str; 5] = [BOOKS1, TICKER, BOOKS, "books5", "books15"];

impl ExchangeSide for BitgetExchange {
    fn opened(&mut self, _target: &str, _market: &dyn Market, _out: &mut Messages) {}

    fn receive(&mut self, text: &str, market: &dyn Market, out: &mut Messages) {
        if text == "ping" {
            return out.push("pong".to_owned());
        }
        let request = serde_json::from_str::<Json>(text).unwrap_or(Json::Null);
        let op = request["op"].as_str().unwrap_or_default();
        let (Some(args), "subscribe" | "unsubscribe") = (request["args"].as_array(), op) else {
            return out.push(json!({"event": "error", "code": 30003, "msg": "Invalid op", "op": op}).to_string());
        };
        for arg in args {
            let word = |key: &str| arg[key].as_str().unwrap_or_default();
            let (kind, channel, native) = (word("instType"), word("channel"), word("instId"));
            let Some(quote) = market.quote(native).filter(|_| SERVED.contains(&channel) && kind == "SPOT") else {
                let message = format!("instType:{kind},channel:{channel},instId:{native} doesn't exist");
                out.push(json!({"event": "error", "arg": arg, "code": 30001, "msg": message, "op": op}).to_string());
                continue;
            };
            out.push(json!({"event": op, "arg": arg}).to_string());
            if op == "unsubscribe" {
                self.subscriptions.remove(channel, native);
                continue;
            }
            let now = market.now();
            out.push(if channel == TICKER { ticker_frame(&quote) } else { book_frame(channel, &quote, None, now) });
            self.subscriptions.add(channel, quote, now);
        }
    }

    fn quote(&mut self, quote: &VenueQuote, out: &mut Messages) {
        for subscription in self.subscriptions.of(&quote.native).filter(|s| s.channel != TICKER) {
            let last = Some(&subscription.last).filter(|_| subscription.channel == BOOKS);
            out.push(book_frame(&subscription.channel, quote, last, quote.time));
            subscription.last = quote.clone();
        }
    }

    fn statistics(&mut self, quote: &VenueQuote, out: &mut Messages) {
        if self.subscriptions.has(TICKER, &quote.native) {
            out.push(ticker_frame(quote));
        }
    }

    fn heartbeat(&mut self, _now: UnixNs, _out: &mut Messages) {}
}

/// A whole book, or of `books` the changes since `last`, with the checksum of the exchange's book.
fn book_frame(channel: &str, quote: &VenueQuote, last: Option<&VenueQuote>, sent: UnixNs) -> String {
    let VenueQuote { native, sequence, time, .. } = quote;
    let levels = match channel {
        BOOKS => ladder::LEVELS,
        _ => channel.strip_prefix("books").and_then(|levels| levels.parse().ok()).unwrap_or(1),
    };
    let changes = quote.changes(last, levels);
    let [bids, asks] = [Side::Bid, Side::Ask].map(|side| writing::pairs(&levels_of(&changes, side)));
    let checksum = if channel == BOOKS { ladder_checksum(quote) } else { 0 };
    let (action, previous) = match last {
        None => ("snapshot", if channel == BOOKS { r#","pseq":0"#.to_owned() } else { String::new() }),
        Some(last) => ("update", format!(r#","pseq":{}"#, last.sequence)),
    };
    format!(
        r#"{{"action":"{action}","arg":{{"instType":"SPOT","channel":"{channel}","instId":"{native}"}},"data":[{{"asks":{asks},"bids":{bids},"checksum":{checksum},"seq":{sequence}{previous},"ts":"{}"}}],"ts":{}}}"#,
        time.ms(),
        sent.ms(),
    )
}

/// The checksum of what the exchange has, as it is written: without zeros behind.
fn ladder_checksum(quote: &VenueQuote) -> i32 {
    let mut book = Book::default();
    for side in [Side::Bid, Side::Ask] {
        for level in quote.levels(side, ladder::LEVELS) {
            book.set(side, Level { price: level.price.normalised(), size: level.size.normalised() });
        }
    }
    paired_checksum(&book, &mut Vec::new())
}

fn ticker_frame(quote: &VenueQuote) -> String {
    let VenueQuote { native, bid, ask, time, day, .. } = quote;
    let open = day.open();
    let ratio = day.change_rate();
    let [bid_price, bid_size] = [bid.price, bid.size].map(|number| writing::text(*bid, number));
    let [ask_price, ask_size] = [ask.price, ask.size].map(|number| writing::text(*ask, number));
    format!(
        r#"{{"action":"snapshot","arg":{{"instType":"SPOT","channel":"ticker","instId":"{native}"}},"data":[{{"instId":"{native}","lastPr":"{}","open24h":"{open}","high24h":"{}","low24h":"{}","change24h":"{ratio:.5}","bidPr":"{bid_price}","askPr":"{ask_price}","bidSz":"{bid_size}","askSz":"{ask_size}","baseVolume":"{}","quoteVolume":"{}","openUtc":"{open}","changeUtc24h":"{ratio:.5}","ts":"{ms}"}}],"ts":{ms}}}"#,
        day.last,
        day.high,
        day.low,
        if day.last > 0.0 { day.quote_volume / day.last } else { 0.0 },
        day.quote_volume,
        ms = time.ms(),
    )
}
