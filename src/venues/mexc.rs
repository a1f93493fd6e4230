//! MEXC spot (v3): `aggre.bookTicker` each 10 ms live, `miniTicker` for the day; `aggre.depth` for order books; the
//! other book tickers and the small books from recordings as well.
//!
//! Requests, acknowledgements and pongs are JSON text; market data are one protobuf message per binary frame,
//! `PushDataV3ApiWrapper`, with prices as texts. A refusal comes as code 0, too. Called on the feed's thread;
//! keeps a book only for `aggre.depth`, which begins with a REST book.

use rustc_hash::FxHashMap;
use serde_json::{Value as Json, json};

use crate::market::book::{Book, Side};
use crate::market::statistics::{self, DayStatistics};
use crate::market::{Decimal, InstrumentId, Level};
use crate::time::{MonoNs, UnixNs};
use crate::venues::codes::{Codes, alias, other};
use crate::venues::depth::{
    BookPage, DeltaOrder, Depth, LevelChange, PageReader, PageSize, PerInstrument, Stitch, Stitched,
};
use crate::venues::ladder::{self, levels_of};
use crate::venues::listing::{self, Fee, Listing, ListingEntry};
use crate::venues::paged::PagedBooks;
use crate::venues::reading::{self, Sequences, array, integer, level};
use crate::venues::writing;
use crate::venues::{
    BookFacts, Check, Cut, DecodeError, Decoded, ExchangeSide, Facts, FeedCodec, Frame, Keepalive, Market, Messages,
    Opening, Requests, StampFacts, Symbols, Top, Update, Venue, VenueLimits, VenueQuote, VoidReason,
};
use crate::wire::json::{Parser, Value};
use crate::wire::protobuf::{Field, Fields, ProtobufError, Writer};
use crate::wire::query;

/// MEXC, spot.
pub(crate) struct Mexc;

/// <https://github.com/mexcdevelop/apidocs/pull/264/files> and <https://github.com/mexcdevelop/websocket-proto>,
/// read 2026-11-21: 30 subscriptions a connection, 24 h at most, closed after 30 s without a subscription and 60 s
/// without data. Base taker fee 0.05 % (ccxt 4.5.90). No pace of requests is published.
static FACTS: Facts = Facts {
    name: "mexc",
    title: "MEXC",
    address: "wss://wbs-api.mexc.com/ws",
    opening: Opening::Prompt { within_ms: 30_000 },
    taker_fee_pct: "0.05",
    keepalive: Keepalive::Client { every_ms: 15_000, cut: Cut::Idle { ms: 60_000 } },
    message_max: 1 << 20,
    request_gap_ms: 200,
    channel: "aggre.bookTicker@10ms",
    books: Some(BookFacts { channel: "aggre.depth@10ms", levels_max: PAGE / 2, check: Check::Sequence }),
    // No recorded stamps of this channel; `version` orders the quotes of an instrument.
    stamps: StampFacts { cadence_ms: 10, ..StampFacts::MILLISECONDS },
    limits: VenueLimits { instruments: 15, age_max_s: Some(24 * 3600), ..VenueLimits::UNPUBLISHED },
    docs: "https://github.com/mexcdevelop/apidocs/pull/264/files (2026-11-21)",
};

/// Codes that mean something else elsewhere (ccxt 4.5.90, `commonCurrencies`, read 2026-11-29). XBT is no Bitcoin, and no other venue's; STEPN is what others
/// call GMT (<https://github.com/ccxt/ccxt/issues/15766>).
const CODES: Codes = Codes {
    venue: "MEXC",
    table: &[
        other("GMT", "GMTTOKEN"),
        alias("STEPN", "GMT"),
        other("GAS", "GASDAO"),
        alias("GASNEO", "GAS"),
        other("FLUX", "FLUX1"),
        alias("FLUX1", "FLUX"),
        alias("BEYONDPROTOCOL", "BEYOND"),
        other("BIFI", "BIFIF"),
        other("BYN", "BEYONDFI"),
        other("COFI", "COFIX"),
        other("DFI", "DFISTARTER"),
        other("DFT", "DFUTURE"),
        other("EGC", "EGORASCREDIT"),
        other("FREE", "FREEROSSDAO"),
        other("HERO", "STEPHERO"),
        other("MIMO", "MIMOSA"),
        other("PROS", "PROSFINANCE"),
        other("SIN", "SINCITYTOKEN"),
        other("SOUL", "SOULSWAP"),
        other("XBT", "XBTMEXC"),
    ],
};

/// Quote assets; there is no USD market.
const QUOTES: &[&str] = &["USDT", "USDC", "BTC", "ETH", "EUR", "TUSD", "BRL"];

/// Levels of a side that are asked for by REST. The documentation allows 5000
/// (<https://mexcdevelop.github.io/apidocs/spot_v3_en/#order-book>); who measured it got 2000 at most, without a word.
/// Half of them are for use, the other half is what the market may run through until there is another page.
const PAGE: usize = 1000;

/// Subscriptions that a connection may have. Top of book comes first, the day's figures have what is left.
const SUBSCRIPTIONS_MAX: usize = 30;

/// Topics of one request.
const TOPICS_PER_REQUEST: usize = 10;

/// The channels that are subscribed to, around the symbol.
const BOOK_TICKER: &str = "spot@public.aggre.bookTicker.v3.api.pb@10ms@";
const AGGRE_DEPTH: &str = "spot@public.aggre.depth.v3.api.pb@10ms@";
const MINI_TICKER: [&str; 2] = ["spot@public.miniTicker.v3.api.pb@", "@24H"];

impl Venue for Mexc {
    fn facts(&self) -> &'static Facts {
        &FACTS
    }

    fn codes(&self) -> Codes {
        CODES
    }

    fn native(&self, base: &str, quote: &str) -> Result<String, String> {
        let [base, quote] = CODES.native(base, quote)?;
        if quote == "USD" {
            return Err("MEXC has no market in USD; the dollar coins there are USDT and USDC".to_owned());
        }
        Ok(format!("{base}{quote}"))
    }

    fn symbol_of(&self) -> fn(&str) -> Option<String> {
        |native| CODES.renamed(&reading::split(native, QUOTES, &[])?)
    }

    fn codec(&self, symbols: Symbols) -> Box<dyn FeedCodec> {
        Box::new(MexcCodec { parser: Parser::default(), feed: MexcState { symbols, ..MexcState::default() } })
    }

    fn book_codec(&self, symbols: Symbols, levels: usize) -> Option<Box<dyn FeedCodec>> {
        let paged = Some(PagedBooks::new(PageSize::of(PAGE, levels.min(PAGE / 2)), depth_path));
        Some(Box::new(MexcCodec {
            parser: Parser::default(),
            feed: MexcState { symbols, paged, ..MexcState::default() },
        }))
    }

    fn listing(&self) -> Listing {
        Listing { address: "https://api.mexc.com", path: "/api/v3/exchangeInfo" }
    }

    fn read_listing(&self, reply: &[u8]) -> Result<Vec<ListingEntry>, DecodeError> {
        listing::read(
            reply,
            &CODES,
            |root| listing::array_of(root, "symbols"),
            |row| {
                let is_allowed = row.get("isSpotTradingAllowed").and_then(|it| it.boolean()).unwrap_or(true);
                // 2: buying only, 3: selling only, 4: closed
                // (<https://mexcdevelop.github.io/apidocs/spot_v3_en/#exchange-information>).
                let is_open_on_both_sides =
                    row.get("tradeSideType").and_then(|it| it.integer()).is_none_or(|it| it == 1);
                Some(ListingEntry {
                    base: row.text_of("baseAsset")?.to_owned(),
                    quote: row.text_of("quoteAsset")?.to_owned(),
                    native: row.text_of("symbol")?.to_owned(),
                    is_trading: row.text_of("status") == Some("1") && is_allowed && is_open_on_both_sides,
                    tick: listing::decimals(row, "quotePrecision"),
                    lot: listing::step(row, "baseSizePrecision"),
                    fee: Fee::of_share(row.get("takerCommission")),
                })
            },
        )
    }

    fn exchange_side(&self) -> Box<dyn ExchangeSide> {
        Box::new(MexcExchange::default())
    }

    fn rest(&self, method: &str, target: &str, _base: &str, market: &dyn Market) -> Option<String> {
        let listed = market.listed();
        match (method, target.split('?').next()?) {
            ("GET", "/api/v3/depth") => {
                let quote = market.quote(&query::value(query::of(target), "symbol")?)?;
                let limit =
                    query::value(query::of(target), "limit").and_then(|limit| limit.parse().ok()).unwrap_or(100);
                let side = |side| writing::pairs(&quote.levels(side, limit));
                let (bids, asks, time) = (side(Side::Bid), side(Side::Ask), market.now().ms());
                let number = quote.sequence;
                Some(format!(r#"{{"lastUpdateId":{number},"bids":{bids},"asks":{asks},"timestamp":{time}}}"#))
            }
            ("GET", "/api/v3/defaultSymbols") => {
                let natives: Vec<&str> = listed.iter().map(|entry| entry.native.as_str()).collect();
                Some(json!({"code": 0, "data": natives, "msg": null}).to_string())
            }
            ("GET", "/api/v3/exchangeInfo") => {
                let row = |entry: &crate::venues::Listed| {
                    json!({
                        "symbol": entry.native, "status": if entry.is_trading { "1" } else { "2" }, "baseAsset": entry.base, "quoteAsset": entry.quote,
                        "baseAssetPrecision": entry.size_decimals, "quotePrecision": entry.price_decimals,
                        "quoteAssetPrecision": entry.price_decimals, "isSpotTradingAllowed": true,
                        "baseSizePrecision": Decimal::new(1, entry.size_decimals).to_string(),
                        "quoteAmountPrecision": "1", "makerCommission": "0", "takerCommission": "0.0005", "st": false,
                    })
                };
                let symbols: Vec<Json> = listed.iter().map(row).collect();
                Some(json!({"timezone": "CST", "serverTime": market.now().ms(), "symbols": symbols}).to_string())
            }
            _ => None,
        }
    }
}

/// A book by REST.
fn read_page(root: Value<'_>) -> Result<BookPage, DecodeError> {
    let number = integer(root, "lastUpdateId")?;
    let mut levels = Vec::new();
    for (side, field) in [(Side::Bid, "bids"), (Side::Ask, "asks")] {
        for pair in array(root, field)?.items() {
            let (price, size) = (reading::decimal(pair.at(0), field)?, reading::decimal(pair.at(1), field)?);
            levels.push(LevelChange { side, level: Level { price, size } });
        }
    }
    let at = root.get("timestamp").and_then(|time| time.integer()).map(reading::time).unwrap_or_default();
    Ok(BookPage::new(number, at, levels))
}

struct MexcCodec {
    parser: Parser,
    feed: MexcState,
}

/// What is remembered of one connection.
#[derive(Default)]
struct MexcState {
    symbols: Symbols,
    sequences: Sequences,
    books: PerInstrument<Stitched>,
    /// Order books are asked for, and not quotes.
    paged: Option<PagedBooks>,
    limits: PerInstrument<Depth>,
    /// The versions of the books of `limits`.
    limit_sequences: Sequences,
    changes: Vec<LevelChange>,
}

impl FeedCodec for MexcCodec {
    fn opened(&mut self, requests: &mut Requests) {
        let feed = &mut self.feed;
        feed.sequences.clear();
        feed.books.clear();
        feed.limits.clear();
        feed.limit_sequences.clear();
        feed.paged.iter_mut().for_each(PagedBooks::clear);
        let natives = || feed.symbols.entries().iter().map(|entry| entry.native.as_str());
        let room = SUBSCRIPTIONS_MAX.saturating_sub(feed.symbols.entries().len());
        let first = natives().map(|native| format!("{}{native}", feed.channel()));
        let days = natives().map(|native| format!("{}{native}{}", MINI_TICKER[0], MINI_TICKER[1]));
        let room = if feed.paged.is_some() { 0 } else { room };
        let topics: Vec<String> = first.chain(days.take(room)).collect();
        for part in topics.chunks(TOPICS_PER_REQUEST) {
            requests.push(json!({"method": "SUBSCRIPTION", "params": part}).to_string());
        }
    }

    fn read(&mut self, frame: &[u8], received: MonoNs, out: &mut Decoded) -> Result<Frame, DecodeError> {
        // A wrapper begins with the tag of one of its fields, which is none of these.
        if matches!(frame.first(), None | Some(b'{' | b'[' | b' ')) {
            let feed = &mut self.feed;
            return self.parser.parse(frame, |root| feed.reply(root, out))?;
        }
        let wrapper = wrapper(frame)?;
        self.feed.push(&wrapper, received, out)
    }

    fn page_of(&mut self, url: &str) -> Option<InstrumentId> {
        let symbol = url.contains("/api/v3/depth?").then(|| query::value(query::of(url), "symbol")).flatten()?;
        self.feed.symbols.find(symbol.as_bytes())
    }

    fn page_reader(&self) -> PageReader {
        |body| Parser::default().parse(body, read_page)?
    }

    fn take_page(&mut self, instrument: InstrumentId, page: BookPage, out: &mut Decoded) -> Result<Frame, DecodeError> {
        self.feed.rest_book(instrument, page, out)
    }

    fn resubscribe(&mut self, instruments: &[InstrumentId], requests: &mut Requests) {
        let channel = self.feed.channel();
        let topics: Vec<String> =
            self.feed.symbols.natives(instruments).map(|native| format!("{channel}{native}")).collect();
        for method in ["UNSUBSCRIPTION", "SUBSCRIPTION"] {
            requests.push(json!({"method": method, "params": topics}).to_string());
        }
        self.feed.paged.iter_mut().for_each(|books| books.begin_anew(instruments));
    }

    fn forget(&mut self, instrument: InstrumentId) {
        self.feed.books.of(instrument).depth.forget_published();
        self.feed.limits.of(instrument).forget_published();
    }

    fn book(&self, instrument: InstrumentId) -> Option<&Book> {
        self.feed.paged.as_ref()?.book(instrument)
    }

    fn keepalive(&mut self, requests: &mut Requests) {
        requests.push(r#"{"method":"PING"}"#.to_owned());
    }

    fn symbols(&self) -> &Symbols {
        &self.feed.symbols
    }
}

impl From<ProtobufError> for DecodeError {
    fn from(_: ProtobufError) -> Self {
        Self::Protobuf
    }
}

/// `PushDataV3ApiWrapper`.
#[derive(Default)]
struct Wrapper<'a> {
    channel: &'a [u8],
    symbol: &'a [u8],
    /// When it was sent, or created if that is not stated.
    time: UnixNs,
    /// Number of the body's field, and the body.
    body: Option<(u32, &'a [u8])>,
}

#[inline(always)]
fn wrapper(frame: &[u8]) -> Result<Wrapper<'_>, DecodeError> {
    let mut wrapper = Wrapper::default();
    let mut created = 0;
    for field in Fields::new(frame) {
        match field? {
            (1, field) => wrapper.channel = field.bytes()?,
            (3, field) => wrapper.symbol = field.bytes()?,
            (5, field) => created = field.integer()?,
            (6, field) => wrapper.time = UnixNs::from_ms(field.integer()?),
            (number @ 301..=315, field) => wrapper.body = Some((number, field.bytes()?)),
            _ => {}
        }
    }
    if wrapper.time.0 == 0 {
        wrapper.time = UnixNs::from_ms(created);
    }
    Ok(wrapper)
}

/// What a book ticker says. The other kinds of book ticker have no `version`.
#[inline(always)]
fn book_ticker(body: &[u8]) -> Result<(Level, Level, u64), DecodeError> {
    let [mut bid, mut bid_size, mut ask, mut ask_size] = [Decimal::ZERO; 4];
    let mut version = 0;
    for field in Fields::new(body) {
        match field? {
            (1, field) => bid = number(field, "bidPrice")?,
            (2, field) => bid_size = number(field, "bidQuantity")?,
            (3, field) => ask = number(field, "askPrice")?,
            (4, field) => ask_size = number(field, "askQuantity")?,
            (5, field) => version = digits(field)?,
            _ => {}
        }
    }
    Ok((level(bid, bid_size), level(ask, ask_size), version))
}

/// The last of several book tickers of one symbol.
fn last_of_batch(body: &[u8]) -> Result<(Level, Level, u64), DecodeError> {
    let mut last = Err(DecodeError::Missing("items"));
    for field in Fields::new(body) {
        if let (1, item) = field? {
            last = Ok(book_ticker(item.bytes()?)?);
        }
    }
    last
}

/// A number as text; an empty one is none, which is 0.
#[inline(always)]
fn number(field: Field<'_>, name: &'static str) -> Result<Decimal, DecodeError> {
    match field.bytes()? {
        [] => Ok(Decimal::ZERO),
        text => Decimal::parse(text).map_err(|why| DecodeError::Number(name, why)),
    }
}

/// A text of digits; 0 when it is something else or empty.
#[inline(always)]
fn digits(field: Field<'_>) -> Result<u64, DecodeError> {
    let parse = |text: &[u8]| std::str::from_utf8(text).ok()?.parse().ok();
    Ok(parse(field.bytes()?).unwrap_or(0))
}

/// Whether a channel carries whole tops, by its name such as `spot@public.limit.depth.v3.api.pb@BTCUSDT@5`.
fn is_of_tops(channel: &[u8]) -> bool {
    let has = |name: &[u8]| channel.windows(name.len()).any(|part| part.eq_ignore_ascii_case(name));
    has(b"bookTicker") || has(b"limit.depth")
}

fn depth_path(symbol: &str, levels: usize) -> String {
    format!("/api/v3/depth?symbol={}&limit={levels}", query::encoded(symbol))
}

impl MexcState {
    /// What is asked for, before the symbol.
    const fn channel(&self) -> &'static str {
        if self.paged.is_some() { AGGRE_DEPTH } else { BOOK_TICKER }
    }

    #[inline(always)]
    fn push(&mut self, wrapper: &Wrapper<'_>, received: MonoNs, out: &mut Decoded) -> Result<Frame, DecodeError> {
        let Some((kind, body)) = wrapper.body else {
            if is_of_tops(wrapper.channel)
                && let Some(instrument) = self.symbols.find(wrapper.symbol)
            {
                self.limits.of(instrument).forget_published();
                out.undecodable(instrument);
            }
            return Err(DecodeError::Missing("body"));
        };
        if kind == 315 {
            let Some(instrument) = self.symbols.find(wrapper.symbol) else { return Ok(Frame::Unused) };
            let (bid, ask, sequence) = out.void_unread(instrument, book_ticker(body))?;
            let exchange_time = wrapper.time;
            let top = Top { instrument, bid, ask, sequence, exchange_time, channel: "aggre.bookTicker" };
            self.sequences.publish_sent(top, received, out);
            return Ok(Frame::Data);
        }
        self.other(kind, body, wrapper, received, out)
    }

    fn other(
        &mut self,
        kind: u32,
        body: &[u8],
        wrapper: &Wrapper<'_>,
        received: MonoNs,
        out: &mut Decoded,
    ) -> Result<Frame, DecodeError> {
        if kind == 310 {
            return self.mini_tickers(body, wrapper.time, out);
        }
        let Some(instrument) = self.symbols.find(wrapper.symbol) else { return Ok(Frame::Unused) };
        let exchange_time = wrapper.time;
        let mut top = |read, channel| {
            let (bid, ask, sequence) = out.void_unread(instrument, read)?;
            out.updates.push(Update::Top(Top { instrument, bid, ask, sequence, exchange_time, channel }));
            Ok(Frame::Data)
        };
        match kind {
            305 => return top(book_ticker(body), "bookTicker"),
            311 => return top(last_of_batch(body), "bookTicker.batch"),
            303 => return self.limit_depth(instrument, body, (exchange_time, received), out),
            309 => out.updates.extend(statistics(body, instrument, exchange_time)?.map(Update::Statistics)),
            313 => return self.aggre_depth(instrument, body, exchange_time, received, out),
            _ => return Ok(Frame::Unused),
        }
        Ok(Frame::Data)
    }

    /// The day's figures of all symbols. A frame is taken or left.
    fn mini_tickers(&mut self, body: &[u8], time: UnixNs, out: &mut Decoded) -> Result<Frame, DecodeError> {
        let mark = out.updates.len();
        let mut frame = Frame::Unused;
        for field in Fields::new(body) {
            let item = match field {
                Ok((1, item)) => item.bytes(),
                Ok(_) => continue,
                Err(why) => Err(why),
            };
            let read = item.map_err(DecodeError::from).and_then(|item| {
                let Some(instrument) = symbol_of_item(item)?.and_then(|symbol| self.symbols.find(symbol)) else {
                    return Ok(());
                };
                frame = Frame::Data;
                out.updates.extend(statistics(item, instrument, time)?.map(Update::Statistics));
                Ok(())
            });
            if let Err(why) = read {
                out.updates.truncate(mark);
                return Err(why);
            }
        }
        Ok(frame)
    }

    /// The best levels, whole.
    fn limit_depth(
        &mut self,
        instrument: InstrumentId,
        body: &[u8],
        (exchange_time, received): (UnixNs, MonoNs),
        out: &mut Decoded,
    ) -> Result<Frame, DecodeError> {
        let read = self.levels(body);
        let depth = self.limits.of(instrument);
        if read.is_err() {
            depth.void();
        }
        let [sequence, _] = out.void_unread(instrument, read)?;
        depth.replace(&mut self.changes);
        if let Some((bid, ask)) = depth.changed_top() {
            let top = Top { instrument, bid, ask, sequence, exchange_time, channel: "limit.depth" };
            self.limit_sequences.publish_sent(top, received, out);
        }
        Ok(Frame::Data)
    }

    fn aggre_depth(
        &mut self,
        instrument: InstrumentId,
        body: &[u8],
        time: UnixNs,
        received: MonoNs,
        out: &mut Decoded,
    ) -> Result<Frame, DecodeError> {
        let read = self.levels(body);
        if let (Some(books), Some(entry)) = (&mut self.paged, self.symbols.entry(instrument)) {
            let read = read.map(|[from, to]| (DeltaOrder { from: Some(from), to }, time));
            return books.event(entry, read, &self.changes, received, out);
        }
        let book = self.books.of(instrument);
        let why = match read {
            Ok([from, to]) => match book.delta(DeltaOrder { from: Some(from), to }, (time, received), &self.changes) {
                Stitch::Applied if !book.depth.is_crossed_too_long(received) => {
                    publish(book, instrument, time, out);
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
        Err(why)
    }

    fn rest_book(
        &mut self,
        instrument: InstrumentId,
        mut page: BookPage,
        out: &mut Decoded,
    ) -> Result<Frame, DecodeError> {
        if let (Some(books), Some(entry)) = (&mut self.paged, self.symbols.entry(instrument)) {
            books.page(entry, page, out);
            return Ok(Frame::Data);
        }
        let book = self.books.of(instrument);
        let was_live = book.depth.is_live();
        if book.snapshot(page.number, &mut page.levels) == Stitch::Gap {
            // Older than what waits: another one is needed.
            if was_live {
                out.updates.push(Update::Void(instrument, VoidReason::Gap));
            }
            return Err(DecodeError::Gap);
        }
        publish(book, instrument, page.at, out);
        Ok(Frame::Data)
    }

    /// Reads the levels of a depth body into `changes`, and its fields 4 and 5: the version or the versions.
    fn levels(&mut self, body: &[u8]) -> Result<[u64; 2], DecodeError> {
        self.changes.clear();
        let mut versions = [0; 2];
        for field in Fields::new(body) {
            let (side, item) = match field? {
                (1, item) => (Side::Ask, item.bytes()?),
                (2, item) => (Side::Bid, item.bytes()?),
                (4, field) => {
                    versions[0] = digits(field)?;
                    continue;
                }
                // In limit depths this is an integer, which is not needed.
                (5, Field::Bytes(text)) => {
                    versions[1] = digits(Field::Bytes(text))?;
                    continue;
                }
                _ => continue,
            };
            let [mut price, mut size] = [Decimal::ZERO; 2];
            for field in Fields::new(item) {
                match field? {
                    (1, field) => price = number(field, "price")?,
                    (2, field) => size = number(field, "quantity")?,
                    _ => {}
                }
            }
            self.change(side, price, size);
        }
        Ok(versions)
    }

    /// Notes one level; there is none at price zero.
    fn change(&mut self, side: Side, price: Decimal, size: Decimal) {
        if !price.is_zero() {
            self.changes.push(LevelChange { side, level: Level { price, size } });
        }
    }

    /// An answer in JSON: a pong, or the topics that were subscribed to and those that were refused.
    fn reply(&mut self, root: Value<'_>, out: &mut Decoded) -> Result<Frame, DecodeError> {
        let message = root.text_of("msg").ok_or(DecodeError::Missing("msg"))?;
        if message == "PONG" {
            return Ok(Frame::Control);
        }
        let is_error = root.get("code").and_then(|code| code.integer()) != Some(0);
        let (granted, refused) = match message.find("Not ") {
            _ if is_error => ("", message),
            Some(at) => message.split_at(at),
            None => (message, ""),
        };
        for topic in granted.split(',') {
            // It may come with another interval than was asked for.
            let (channel, _) = self.channel().trim_end_matches('@').rsplit_once('@').unwrap_or_default();
            let native = topic.trim().strip_prefix(channel).and_then(|topic| topic.strip_prefix('@')?.split_once('@'));
            let Some(id) = native.and_then(|(_, native)| self.symbols.find(native.as_bytes())) else { continue };
            out.updates.push(Update::Subscribed(id));
            if let (Some(books), Some(entry)) = (&mut self.paged, self.symbols.entry(id)) {
                books.want(entry, out);
            }
        }
        if !refused.is_empty() {
            out.updates.push(Update::Refused(refused.trim().to_owned()));
        }
        Ok(Frame::Control)
    }
}

fn publish(book: &mut Stitched, instrument: InstrumentId, exchange_time: UnixNs, out: &mut Decoded) {
    let sequence = book.last();
    if let Some((bid, ask)) = book.depth.changed_top() {
        out.updates.push(Update::Top(Top { instrument, bid, ask, sequence, exchange_time, channel: "aggre.depth" }));
    }
}

fn symbol_of_item(item: &[u8]) -> Result<Option<&[u8]>, ProtobufError> {
    for field in Fields::new(item) {
        if let (1, field) = field? {
            return field.bytes().map(Some);
        }
    }
    Ok(None)
}

/// A `miniTicker`: the rate is a fraction of the price 24 hours ago, `volume` is in the quote currency.
fn statistics(
    body: &[u8],
    instrument: InstrumentId,
    exchange_time: UnixNs,
) -> Result<Option<DayStatistics>, DecodeError> {
    let mut figures = [None; 9];
    for field in Fields::new(body) {
        if let (number @ 2..=8, field) = field? {
            let text = std::str::from_utf8(field.bytes()?).unwrap_or_default();
            figures[number as usize] = text.parse().ok().filter(|figure: &f64| figure.is_finite());
        }
    }
    let [_, _, last, rate, _, high, low, volume, _] = figures;
    let (Some(last), Some(high), Some(low)) = (last, high, low) else { return Ok(None) };
    let change_pct = statistics::hundredfold(rate.unwrap_or(0.0));
    Ok(Some(DayStatistics {
        instrument,
        last,
        high,
        low,
        change: statistics::change_of(last, change_pct),
        change_pct,
        quote_volume: volume.unwrap_or(0.0),
        exchange_time,
    }))
}

/// The venue's end of a connection.
#[derive(Default)]
struct MexcExchange {
    topics: Vec<MexcTopic>,
    /// What was sent last of each symbol's differences.
    shown: FxHashMap<String, VenueQuote>,
}

struct MexcTopic {
    name: String,
    kind: TopicKind,
    native: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum TopicKind {
    AggreBookTicker,
    BookTicker,
    LimitDepth,
    AggreDepth,
    MiniTicker,
}

/// The topics that the simulated venue serves: kind, and the text before the symbol.
const SERVED: [(TopicKind, &str); 7] = [
    (TopicKind::AggreBookTicker, BOOK_TICKER),
    (TopicKind::AggreBookTicker, "spot@public.aggre.bookTicker.v3.api.pb@100ms@"),
    (TopicKind::BookTicker, "spot@public.bookTicker.v3.api.pb@"),
    (TopicKind::LimitDepth, "spot@public.limit.depth.v3.api.pb@"),
    (TopicKind::AggreDepth, AGGRE_DEPTH),
    (TopicKind::AggreDepth, "spot@public.aggre.depth.v3.api.pb@100ms@"),
    (TopicKind::MiniTicker, MINI_TICKER[0]),
];

impl ExchangeSide for MexcExchange {
    fn opened(&mut self, _target: &str, _market: &dyn Market, _out: &mut Messages) {}

    fn receive(&mut self, text: &str, market: &dyn Market, out: &mut Messages) {
        let request = serde_json::from_str::<Json>(text).unwrap_or(Json::Null);
        let id = request.get("id").and_then(Json::as_u64).unwrap_or(0);
        let reply = |message: &str| json!({"id": id, "code": 0, "msg": message}).to_string();
        let params = request.get("params").and_then(Json::as_array).into_iter().flatten();
        let names: Vec<&str> = params.filter_map(Json::as_str).collect();
        match request.get("method").and_then(Json::as_str) {
            // Client libraries write it in either case.
            Some("PING" | "ping") => out.push(reply("PONG")),
            Some("SUBSCRIPTION") => {
                let (mut granted, mut refused) = (Vec::new(), Vec::new());
                for name in names {
                    match topic(name).filter(|topic| market.quote(&topic.native).is_some()) {
                        Some(topic) if self.topics.len() < SUBSCRIPTIONS_MAX => granted.push(topic),
                        _ => refused.push(name),
                    }
                }
                let mut words = granted.iter().map(|topic| topic.name.as_str()).collect::<Vec<_>>().join(",");
                if !refused.is_empty() {
                    words += &format!("Not Subscribed successfully! [{}].  Reason： Blocked! ", refused.join(","));
                }
                out.push(reply(&words));
                for topic in granted {
                    self.subscribe(topic, market, out);
                }
            }
            Some("UNSUBSCRIPTION") => {
                self.topics.retain(|topic| !names.contains(&topic.name.as_str()));
                out.push(reply(&names.join(",")));
            }
            _ => out.push(json!({"id": id, "code": 700_003, "msg": "msg format invalid"}).to_string()),
        }
    }

    fn quote(&mut self, quote: &VenueQuote, out: &mut Messages) {
        let mut is_shown = false;
        for topic in self.topics.iter().filter(|topic| topic.native == quote.native) {
            match topic.kind {
                TopicKind::MiniTicker => {}
                TopicKind::AggreDepth => {
                    out.push(depth_frame(&topic.name, self.shown.get(&quote.native), quote));
                    is_shown = true;
                }
                kind => out.push(whole_frame(&topic.name, kind, quote)),
            }
        }
        if is_shown {
            self.shown.insert(quote.native.clone(), quote.clone());
        }
    }

    fn statistics(&mut self, quote: &VenueQuote, out: &mut Messages) {
        for topic in self.topics.iter().filter(|topic| topic.native == quote.native) {
            if topic.kind == TopicKind::MiniTicker {
                out.push(day_frame(&topic.name, quote));
            }
        }
    }

    fn heartbeat(&mut self, _now: UnixNs, _out: &mut Messages) {}
}

fn topic(name: &str) -> Option<MexcTopic> {
    let (kind, rest) = SERVED.into_iter().find_map(|(kind, head)| Some((kind, name.strip_prefix(head)?)))?;
    // Levels or a time zone may follow.
    let native = rest.split('@').next()?.to_owned();
    Some(MexcTopic { name: name.to_owned(), kind, native })
}

impl MexcExchange {
    fn subscribe(&mut self, topic: MexcTopic, market: &dyn Market, out: &mut Messages) {
        let Some(quote) = market.quote(&topic.native) else { return };
        match topic.kind {
            TopicKind::MiniTicker => out.push(day_frame(&topic.name, &quote)),
            TopicKind::AggreDepth => {
                self.shown.insert(topic.native.clone(), quote);
            }
            kind => out.push(whole_frame(&topic.name, kind, &quote)),
        }
        if !self.topics.iter().any(|known| known.name == topic.name) {
            self.topics.push(topic);
        }
    }
}

fn wrapped(channel: &str, quote: &VenueQuote, number: u32, body: Writer) -> Vec<u8> {
    let wrapper = Writer::default().text(1, channel).text(3, &quote.native);
    wrapper.integer(6, quote.time.ms()).message(number, body).finish()
}

/// A message that holds the whole of what it shows. An absent side is left out.
fn whole_frame(channel: &str, kind: TopicKind, quote: &VenueQuote) -> Vec<u8> {
    if kind == TopicKind::LimitDepth {
        let count = channel.rsplit('@').next().and_then(|count| count.parse().ok()).unwrap_or(20);
        let body = items(&quote.levels(Side::Ask, count), &quote.levels(Side::Bid, count));
        let body = body.text(3, channel).text(4, &quote.sequence.to_string());
        return wrapped(channel, quote, 303, body);
    }
    let mut body = Writer::default();
    for (number, level) in [(1, quote.bid), (3, quote.ask)] {
        if level.is_present() {
            body = body.text(number, &level.price.to_string()).text(number + 1, &level.size.to_string());
        }
    }
    if kind == TopicKind::BookTicker {
        return wrapped(channel, quote, 305, body);
    }
    let body = body.text(5, &quote.sequence.to_string()).integer(6, quote.time.ms());
    wrapped(channel, quote, 315, body)
}

/// Asks and bids of a book's body.
fn items(asks: &[Level], bids: &[Level]) -> Writer {
    let item = |level: &Level| Writer::default().text(1, &level.price.to_string()).text(2, &level.size.to_string());
    let body = asks.iter().fold(Writer::default(), |body, level| body.message(1, item(level)));
    bids.iter().fold(body, |body, level| body.message(2, item(level)))
}

/// The differences since what was shown.
fn depth_frame(channel: &str, shown: Option<&VenueQuote>, quote: &VenueQuote) -> Vec<u8> {
    let changes = quote.changes(shown, ladder::LEVELS);
    let body = items(&levels_of(&changes, Side::Ask), &levels_of(&changes, Side::Bid));
    let from = shown.map_or(0, |shown| shown.sequence) + 1;
    let body = body.text(3, channel).text(4, &from.to_string()).text(5, &quote.sequence.to_string());
    wrapped(channel, quote, 313, body.integer(6, quote.time.ms()))
}

fn day_frame(channel: &str, quote: &VenueQuote) -> Vec<u8> {
    let day = &quote.day;
    let open = day.open();
    let rate = if open > 0.0 { day.change / open } else { 0.0 };
    let volume = if day.last > 0.0 { day.quote_volume / day.last } else { 0.0 };
    let body = Writer::default()
        .text(1, &quote.native)
        .text(2, &day.last.to_string())
        .text(3, &rate.to_string())
        .text(4, &rate.to_string())
        .text(5, &day.high.to_string())
        .text(6, &day.low.to_string())
        .text(7, &day.quote_volume.to_string())
        .text(8, &volume.to_string());
    wrapped(channel, quote, 309, body)
}
