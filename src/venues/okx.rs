//! OKX spot (v5): `bbo-tbt` live for quotes, `books` for order books; every other `books` channel from recordings.
//!
//! The `instruments` channel says what is traded. Each subscription is acknowledged separately. Books count `seqId`; in recordings of 2021-22 they
//! carry a checksum instead, which is verified (it is 0 since 2026-06). Times are milliseconds as text.
//! Where a subscription begins without a whole book, that is fetched by REST.
//! Called on the feed's thread; keeps a book only for the `books` channels.

use std::fmt::Write as _;

use rustc_hash::FxHashMap;
use serde_json::{Value as Json, json};

use crate::market::book::{Book, Side};
use crate::market::statistics::{self, DayStatistics};
use crate::market::{InstrumentId, Level};
use crate::time::{MonoNs, SECOND, UnixNs};
use crate::venues::codes::{Codes, other};
use crate::venues::depth::{
    BookPage, BookPart, ChainLink, Chained, DeltaOrder, Depth, LevelChange, PageReader, PageSize, PerInstrument,
    TopStamp,
};
use crate::venues::ladder::{self, levels_of};
use crate::venues::listing::{self, Listing, ListingEntry};
use crate::venues::paged::PagedBooks;
use crate::venues::reading::{self, SeenInstruments, Sequences, array, changes, figure, level, side, text, time};
use crate::venues::writing::{self, ClientSubscriptions};
use crate::venues::{
    BookFacts, Check, Cut, DecodeError, Decoded, ExchangeSide, Facts, FeedCodec, Frame, HaltSource, Keepalive, Listed,
    Maintenance, Market, Messages, Notice, Opening, Pace, Requests, StampFacts, Symbols, Top, Update, Venue,
    VenueLimits, VenueQuote, VoidReason,
};
use crate::wire::json::{Parser, Scan, Value};
use crate::wire::query;

/// OKX, spot.
pub(crate) struct Okx;

/// <https://www.okx.com/docs-v5/en/#order-book-trading-market-data-ws-order-book-channel>, read 2026-11-20: cut
/// after 30 s of silence; 480 requests an hour per connection, 64 KB each. Taker fee unconfirmed: 0.10 %
/// by a public survey of 2026-08-26, 0.15 % elsewhere; it differs by region and pair. The largest message is the first of
/// `instruments`: about a thousand of 1 KB each.
static FACTS: Facts = Facts {
    name: "okx",
    title: "OKX",
    address: "wss://ws.okx.com:8443/ws/v5/public",
    opening: Opening::Direct,
    taker_fee_pct: "0.10",
    keepalive: Keepalive::Client { every_ms: 20_000, cut: Cut::Idle { ms: 30_000 } },
    message_max: 4 << 20,
    request_gap_ms: 350,
    channel: "bbo-tbt",
    books: Some(BookFacts { channel: BOOKS, levels_max: LEVELS_MAX, check: Check::Sequence }),
    // 19 of 534 recorded stamps go back on a connection (11 s at most), none within an instrument.
    stamps: StampFacts { cadence_ms: 10, ..StampFacts::MILLISECONDS },
    limits: VenueLimits { connects: Pace { count: 3, per_ms: 1000 }, ..VenueLimits::UNPUBLISHED },
    docs: "https://www.okx.com/docs-v5/en/#order-book-trading-market-data-ws-order-book-channel (2026-11-20)",
};

/// The channel of quotes,
const BBO: &str = "bbo-tbt";
/// and that of order books: a whole one first, then each change after at most 100 ms. That first one the venue means to
/// leave out (<https://my.okx.com/docs-v5/log_en>, note of 2026-02-12, for 2026-08, read 2026-11-21; nobody said since
/// that it did): then a page of `GET /api/v5/market/books` has the number that the changes go on from. 400 levels. A level that leaves the 400 is removed, one
/// that enters is told: so in recordings of 2021-07, whose fuller side has 400 levels after every message.
const BOOKS: &str = "books";
const LEVELS_MAX: usize = 400;
const BOOKS_PATH: &str = "/api/v5/market/books";

/// What says which instruments are traded: all of a kind after the subscription, and then what changed
/// (<https://www.okx.com/docs-v5/en/#public-data-websocket-instruments-channel>, 2026-11-30). It cannot be narrowed to
/// single instruments.
const INSTRUMENTS: &str = "instruments";

/// Instruments in one request, about 60 bytes each: far below the 64 KB that a request may have.
const ARGS_PER_REQUEST: usize = 200;

/// AE is the token on Ethereum, not the coin (<https://github.com/ccxt/ccxt/issues/4981>).
const CODES: Codes = Codes { venue: "OKX", table: &[other("AE", "AET")] };

impl Venue for Okx {
    fn facts(&self) -> &'static Facts {
        &FACTS
    }

    fn codes(&self) -> Codes {
        CODES
    }

    fn native(&self, base: &str, quote: &str) -> Result<String, String> {
        let [base, quote] = CODES.native(base, quote)?;
        Ok(format!("{base}-{quote}"))
    }

    fn symbol_of(&self) -> fn(&str) -> Option<String> {
        // Swaps, futures and options have more dashes.
        |native| match native.split_once('-') {
            Some((base, quote)) => CODES.symbol(base, quote),
            _ => None,
        }
    }

    fn codec(&self, symbols: Symbols) -> Box<dyn FeedCodec> {
        Box::new(OkxCodec { parser: Parser::default(), state: OkxState { symbols, ..OkxState::default() } })
    }

    fn book_codec(&self, symbols: Symbols, levels: usize) -> Option<Box<dyn FeedCodec>> {
        let paged = Some(PagedBooks::new(PageSize::of(LEVELS_MAX, levels.min(LEVELS_MAX / 2)), page_path));
        let state = OkxState { symbols, paged, ..OkxState::default() };
        Some(Box::new(OkxCodec { parser: Parser::default(), state }))
    }

    fn halts(&self) -> HaltSource {
        HaltSource::ListAndStream
    }

    fn listing(&self) -> Listing {
        Listing { address: "https://www.okx.com", path: "/api/v5/public/instruments?instType=SPOT" }
    }

    fn read_listing(&self, reply: &[u8]) -> Result<Vec<ListingEntry>, DecodeError> {
        listing::read(
            reply,
            &CODES,
            |root| listing::array_of(root, "data"),
            |row| {
                Some(ListingEntry {
                    base: row.text_of("baseCcy")?.to_owned(),
                    quote: row.text_of("quoteCcy")?.to_owned(),
                    native: row.text_of("instId")?.to_owned(),
                    is_trading: is_live(row),
                    tick: listing::step(row, "tickSz"),
                    lot: listing::step(row, "lotSz"),
                    fee: None,
                })
            },
        )
    }

    fn exchange_side(&self) -> Box<dyn ExchangeSide> {
        Box::new(OkxExchange::default())
    }

    fn rest(&self, method: &str, target: &str, _base: &str, market: &dyn Market) -> Option<String> {
        if (method, target.split('?').next()?) == ("GET", BOOKS_PATH) {
            let quote = market.quote(&query::value(query::of(target), "instId")?)?;
            let levels = query::value(query::of(target), "sz").and_then(|n| n.parse().ok()).unwrap_or(1);
            let [asks, bids] = [Side::Ask, Side::Bid].map(|side| levels_text(&quote.levels(side, levels)));
            let (ms, number) = (quote.time.ms(), quote.sequence);
            let book = format!(r#"{{"asks":{asks},"bids":{bids},"ts":"{ms}","seqId":{number}}}"#);
            return Some(format!(r#"{{"code":"0","msg":"","data":[{book}]}}"#));
        }
        listing::asked(self, method, target)?;
        let row = |it: Listed| {
            json!({"instType": "SPOT", "instId": it.native, "baseCcy": it.base, "quoteCcy": it.quote, "state": state_word(it.is_trading),
                "tickSz": it.tick(), "lotSz": it.lot()})
        };
        // Neither swaps nor futures are simulated.
        let is_spot = query::value(query::of(target), "instType").is_none_or(|kind| kind == "SPOT");
        let listed = if is_spot { market.listed() } else { Vec::new() };
        let data: Vec<_> = listed.into_iter().map(row).collect();
        Some(json!({"code": "0", "data": data, "msg": ""}).to_string())
    }
}

struct OkxCodec {
    parser: Parser,
    state: OkxState,
}

#[derive(Default)]
struct OkxState {
    symbols: Symbols,
    /// Order books are asked for, and not quotes: those whose subscription began without a whole one.
    paged: Option<PagedBooks>,
    /// Instruments with an acknowledged subscription that have received no whole book or page since.
    is_new: PerInstrument<bool>,
    /// Instruments that `bbo-tbt` has quoted.
    seen: SeenInstruments,
    /// The `seqId` of `bbo-tbt`.
    sequences: Sequences,
    books: FxHashMap<(InstrumentId, &'static str), Chained>,
    wholes: PerInstrument<Depth>,
    /// The `seqId` of `books5`.
    whole_sequences: Sequences,
    levels: Vec<LevelChange>,
    steps: Vec<BookPart>,
    checksum_text: Vec<u8>,
}

impl FeedCodec for OkxCodec {
    fn opened(&mut self, requests: &mut Requests) {
        let state = &mut self.state;
        state.seen.clear();
        state.sequences.clear();
        state.books.clear();
        state.wholes.clear();
        state.whole_sequences.clear();
        state.paged.iter_mut().for_each(PagedBooks::clear);
        state.is_new.clear();
        let mut id = 0;
        if state.paged.is_none() && !state.symbols.entries().is_empty() {
            // First, so that it is known before the first quote.
            requests.push(format!(r#"{{"op":"subscribe","args":[{{"channel":"{INSTRUMENTS}","instType":"SPOT"}}]}}"#));
        }
        let channels: &[&str] = if state.paged.is_some() { &[BOOKS] } else { &[BBO, "tickers"] };
        for channel in channels {
            for chunk in state.symbols.entries().chunks(ARGS_PER_REQUEST) {
                id += 1;
                let natives = chunk.iter().map(|entry| entry.native.as_str());
                requests.push(request(&format!(r#""id":"{id}","#), "subscribe", channel, natives));
            }
        }
    }

    fn read(&mut self, frame: &[u8], received: MonoNs, out: &mut Decoded) -> Result<Frame, DecodeError> {
        let Self { parser, state } = self;
        if let Some((symbol, bbo)) = scan_bbo(frame) {
            let Some(instrument) = state.symbols.find(symbol) else { return Ok(Frame::Unused) };
            return Ok(state.bbo(instrument, &bbo, received, out));
        }
        if frame == b"pong" {
            return Ok(Frame::Control);
        }
        parser.parse(frame, |root| state.message(root, received, out))?
    }

    fn page_of(&mut self, url: &str) -> Option<InstrumentId> {
        let native = url.contains(BOOKS_PATH).then(|| query::value(query::of(url), "instId")).flatten()?;
        self.state.symbols.find(native.as_bytes())
    }

    fn page_reader(&self) -> PageReader {
        |body| Parser::default().parse(body, read_page)?
    }

    fn take_page(&mut self, instrument: InstrumentId, page: BookPage, out: &mut Decoded) -> Result<Frame, DecodeError> {
        let OkxState { books, paged, symbols, .. } = &mut self.state;
        let is_whole = books.get(&(instrument, BOOKS)).is_some_and(|chain| chain.depth.is_live());
        match (paged, symbols.entry(instrument)) {
            (Some(paged), Some(entry)) if !is_whole => paged.page(entry, page, out),
            _ => {}
        }
        Ok(Frame::Data)
    }

    fn resubscribe(&mut self, instruments: &[InstrumentId], requests: &mut Requests) {
        let channel = self.state.channel();
        self.state.paged.iter_mut().for_each(|paged| paged.begin_anew(instruments));
        for native in self.state.symbols.natives(instruments) {
            for op in ["unsubscribe", "subscribe"] {
                requests.push(request("", op, channel, std::iter::once(native)));
            }
        }
    }

    fn keepalive(&mut self, requests: &mut Requests) {
        requests.push("ping".to_owned());
    }

    fn symbols(&self) -> &Symbols {
        &self.state.symbols
    }

    fn forget(&mut self, instrument: InstrumentId) {
        let its = self.state.books.iter_mut().filter(|((id, _), _)| *id == instrument);
        its.for_each(|(_, chain)| chain.depth.forget_published());
        self.state.wholes.of(instrument).forget_published();
    }

    fn book(&self, instrument: InstrumentId) -> Option<&Book> {
        let OkxState { books, paged, .. } = &self.state;
        let whole = books.get(&(instrument, BOOKS)).and_then(Chained::book);
        whole.or_else(|| paged.as_ref()?.book(instrument))
    }
}

fn request<'a>(id: &str, op: &str, channel: &str, natives: impl Iterator<Item = &'a str>) -> String {
    let mut request = format!(r#"{{{id}"op":"{op}","args":["#);
    for (at, native) in natives.enumerate() {
        let comma = if at == 0 { "" } else { "," };
        // Writing to a String cannot fail.
        let _ = write!(request, r#"{comma}{{"channel":"{channel}","instId":"{native}"}}"#);
    }
    request.push_str("]}");
    request
}

/// What one element of `bbo-tbt` says.
struct OkxBbo {
    bid: Level,
    ask: Level,
    /// 0 in recordings before 2023.
    sequence: u64,
    at: UnixNs,
}

/// Reads `bbo-tbt` in the field order that the venue documents; `None`: the general way.
#[inline(always)]
fn scan_bbo(frame: &[u8]) -> Option<(&[u8], OkxBbo)> {
    let mut scan = Scan::new(frame);
    scan.literal(b"{\"arg\":{\"channel\":\"bbo-tbt\",\"instId\":\"")?;
    let symbol = scan.string()?;
    scan.literal(b"},\"data\":[{\"asks\":[[\"")?;
    let ask = scan_level(&mut scan)?;
    scan.literal(b"]],\"bids\":[[\"")?;
    let bid = scan_level(&mut scan)?;
    scan.literal(b"]],\"ts\":\"")?;
    let at = time(scan.integer()?);
    scan.literal(b"\"")?;
    let sequence = match scan.literal(b",\"seqId\":") {
        Some(()) => scan.integer()?,
        None => 0,
    };
    scan.literal(b"}]}")?;
    scan.end()?;
    Some((symbol, OkxBbo { bid, ask, sequence, at }))
}

/// `price","size","0","orders"`.
#[inline(always)]
fn scan_level(scan: &mut Scan<'_>) -> Option<Level> {
    let price = scan.quoted_decimal()?;
    scan.literal(b",\"")?;
    let size = scan.quoted_decimal()?;
    scan.literal(b",\"")?;
    scan.integer()?;
    scan.literal(b"\",\"")?;
    scan.integer()?;
    scan.literal(b"\"")?;
    Some(level(price, size))
}

impl OkxState {
    /// What is asked for.
    const fn channel(&self) -> &'static str {
        if self.paged.is_some() { BOOKS } else { BBO }
    }

    #[inline(always)]
    fn bbo(&mut self, instrument: InstrumentId, bbo: &OkxBbo, received: MonoNs, out: &mut Decoded) -> Frame {
        self.seen.insert(instrument);
        let &OkxBbo { bid, ask, sequence, at: exchange_time } = bbo;
        let top = Top { instrument, bid, ask, sequence, exchange_time, channel: "bbo-tbt" };
        // Maintenance may start the numbers anew.
        self.sequences.publish(top, received, out);
        Frame::Data
    }

    fn message(&mut self, root: Value<'_>, received: MonoNs, out: &mut Decoded) -> Result<Frame, DecodeError> {
        if let Some(event) = root.text_of("event") {
            return self.event(event, root, out);
        }
        let arg = root.get("arg").ok_or(DecodeError::Missing("arg"))?;
        let symbol = arg.text_of("instId").unwrap_or_default();
        let channel = text(arg, "channel")?;
        if channel == INSTRUMENTS {
            return self.instruments(root, out);
        }
        let Some(instrument) = self.symbols.find(symbol.as_bytes()) else { return Ok(Frame::Unused) };
        match channel {
            "bbo-tbt" => {
                let items = out.void_unread(instrument, some_items(root))?;
                reading::each(items.items(), |item| {
                    let bbo = out.void_unread(instrument, read_bbo(item))?;
                    Ok(self.bbo(instrument, &bbo, received, out))
                })
            }
            "tickers" => {
                let is_quoted = self.symbols.is_discovering() || !self.seen.contains(instrument);
                let read = some_items(root)
                    .and_then(|data| reading::each(data.items(), |item| self.ticker(instrument, is_quoted, item, out)));
                if is_quoted { out.void_unread(instrument, read) } else { read }
            }
            "books5" => self.whole_books(instrument, root, received, out),
            _ => match ["books", "books50-l2-tbt", "books-l2-tbt"].into_iter().find(|name| *name == channel) {
                Some(channel) => match self.read_steps(root) {
                    Ok(is_whole) => self.book(instrument, channel, is_whole, received, out),
                    Err(why) => {
                        self.undecodable(instrument, channel, out);
                        Err(why)
                    }
                },
                None => Ok(Frame::Unused),
            },
        }
    }

    /// Which instruments are traded. An instrument without a state keeps the one it had.
    fn instruments(&self, root: Value<'_>, out: &mut Decoded) -> Result<Frame, DecodeError> {
        for item in array(root, "data")?.items() {
            let known = item.text_of("instId").and_then(|native| self.symbols.known(native.as_bytes()));
            let known = known.filter(|_| item.text_of("state").is_some());
            out.updates.extend(known.map(|instrument| Update::Trading(instrument, is_live(item))));
        }
        Ok(Frame::Control)
    }

    fn event(&mut self, event: &str, root: Value<'_>, out: &mut Decoded) -> Result<Frame, DecodeError> {
        match event {
            "subscribe" => {
                let arg = root.get("arg").ok_or(DecodeError::Missing("arg"))?;
                let symbol = arg.text_of("instId").unwrap_or_default();
                let is_ours = arg.text_of("channel") == Some(self.channel());
                if let (true, Some(id)) = (is_ours, self.symbols.find(symbol.as_bytes())) {
                    out.updates.push(Update::Subscribed(id));
                    *self.is_new.of(id) = true;
                }
            }
            "error" => {
                let why = root.text_of("msg").or(root.text_of("code")).unwrap_or("no reason given");
                out.updates.push(Update::Refused(why.to_owned()));
            }
            "notice" if root.text_of("code") == Some("64008") => {
                out.updates
                    .push(Update::Notice(Notice::Leaving("the connection will be closed for a service upgrade")));
            }
            _ => {}
        }
        Ok(Frame::Control)
    }

    fn ticker(
        &mut self,
        instrument: InstrumentId,
        is_quoted: bool,
        item: Value<'_>,
        out: &mut Decoded,
    ) -> Result<Frame, DecodeError> {
        let (bid, ask) = (side(item, "bidPx", "bidSz")?, side(item, "askPx", "askSz")?);
        let exchange_time = stamp(item)?;
        let channel = "tickers";
        if is_quoted {
            out.updates.push(Update::Top(Top { instrument, bid, ask, sequence: 0, exchange_time, channel }));
        }
        let (last, open) = (figure(item, "last"), figure(item, "open24h"));
        out.updates.push(Update::Statistics(DayStatistics {
            instrument,
            last,
            high: figure(item, "high24h"),
            low: figure(item, "low24h"),
            change: statistics::difference(last, open),
            change_pct: statistics::change_pct(last, open),
            quote_volume: figure(item, "volCcy24h"),
            exchange_time,
        }));
        Ok(Frame::Data)
    }

    /// `books5`: each message is a whole book.
    fn whole_books(
        &mut self,
        instrument: InstrumentId,
        root: Value<'_>,
        received: MonoNs,
        out: &mut Decoded,
    ) -> Result<Frame, DecodeError> {
        let read = self.read_whole(root);
        let depth = self.wholes.of(instrument);
        if read.is_err() {
            depth.void();
        }
        let (sequence, exchange_time) = out.void_unread(instrument, read)?;
        depth.replace(&mut self.levels);
        if let Some((bid, ask)) = depth.changed_top() {
            let sequence = number(sequence).unwrap_or(0);
            let top = Top { instrument, bid, ask, sequence, exchange_time, channel: "books5" };
            self.whole_sequences.publish(top, received, out);
        }
        Ok(Frame::Data)
    }

    /// Reads the last of the books in a message into `levels`; gives its number and its stamp.
    fn read_whole(&mut self, root: Value<'_>) -> Result<(Option<i64>, UnixNs), DecodeError> {
        let mut last = Err(DecodeError::Missing("data"));
        for item in some_items(root)?.items() {
            self.levels.clear();
            changes(item, "asks", Side::Ask, &mut self.levels)?;
            changes(item, "bids", Side::Bid, &mut self.levels)?;
            last = Ok((whole_number(item, "seqId")?, stamp(item)?));
        }
        last
    }

    /// A message of a book cannot be read: what was published of it is void, and the book is asked for anew.
    #[cold]
    fn undecodable(&mut self, instrument: InstrumentId, channel: &'static str, out: &mut Decoded) {
        out.undecodable(instrument);
        let is_paged = self.paged.as_ref().is_some_and(|paged| paged.book(instrument).is_some());
        if self.books.get_mut(&(instrument, channel)).is_some_and(|chain| chain.depth.void()) || is_paged {
            self.paged.iter_mut().for_each(|paged| paged.begin_anew(&[instrument]));
            self.ask_again(instrument, channel, out);
        }
    }

    /// Asks for a book anew. What still comes of the old subscription is of no use.
    #[cold]
    fn ask_again(&mut self, instrument: InstrumentId, channel: &str, out: &mut Decoded) {
        *self.is_new.of(instrument) = false;
        let native = self.symbols.entry(instrument).map_or("", |entry| entry.native.as_str());
        for op in ["unsubscribe", "subscribe"] {
            out.requests.push(request("", op, channel, std::iter::once(native)));
        }
    }

    /// Reads a message of one of the incremental books into `levels` and `steps`; gives whether it is a snapshot.
    fn read_steps(&mut self, root: Value<'_>) -> Result<bool, DecodeError> {
        let data = array(root, "data")?;
        let is_whole = match root.text_of("action") {
            Some("snapshot") => true,
            Some("update") => false,
            _ => return Err(DecodeError::Missing("action")),
        };
        self.levels.clear();
        self.steps.clear();
        for item in data.items() {
            changes(item, "asks", Side::Ask, &mut self.levels)?;
            changes(item, "bids", Side::Bid, &mut self.levels)?;
            let after = number(whole_number(item, "prevSeqId")?);
            let link = ChainLink { after, number: number(whole_number(item, "seqId")?), at: stamp(item)? };
            let checksum = whole_number(item, "checksum")?.filter(|n| *n != 0);
            self.steps.push(BookPart { to: self.levels.len(), link, checksum });
        }
        if self.steps.is_empty() { Err(DecodeError::Missing("data")) } else { Ok(is_whole) }
    }

    /// A snapshot or an update of one of the incremental books, which was read.
    fn book(
        &mut self,
        instrument: InstrumentId,
        channel: &'static str,
        is_whole: bool,
        received: MonoNs,
        out: &mut Decoded,
    ) -> Result<Frame, DecodeError> {
        let chain = self.books.entry((instrument, channel)).or_default();
        if is_whole {
            *self.is_new.of(instrument) = false;
        } else if !chain.depth.is_live() && *self.is_new.of(instrument) && channel == BOOKS && self.paged.is_some() {
            return self.join(instrument, received, out);
        }
        let before = chain.sequence();
        let (mut from, mut is_new) = (0, false);
        for step in &self.steps {
            let levels = &mut self.levels[from..step.to];
            from = step.to;
            let done = if is_whole {
                Ok(chain.replace(instrument, (step.link, received), levels, out))
            } else {
                chain.follow(step.link, levels, received)
            };
            let done = done.and_then(|is_applied| {
                let checksum = step.checksum.filter(|_| is_applied);
                chain.check_paired(checksum, &mut self.checksum_text).map(|()| is_applied)
            });
            match done {
                Ok(is_applied) => is_new |= is_applied,
                Err(why) => {
                    chain.depth.void();
                    out.updates.extend(why.loss().map(|reason| Update::Void(instrument, reason)));
                    self.ask_again(instrument, channel, out);
                    return Err(why);
                }
            }
        }
        let (Some(step), true) = (self.steps.last(), is_new) else { return Ok(Frame::Data) };
        // Maintenance may start the numbers anew: what was before no longer orders what comes.
        if !is_whole && chain.sequence() < before {
            chain.depth.forget_published();
            out.updates.push(Update::Void(instrument, VoidReason::Gap));
        }
        let quoted = TopStamp { instrument, sequence: chain.sequence(), exchange_time: step.link.at, channel };
        chain.depth.publish(quoted, out);
        if let Some(paged) = &mut self.paged {
            if is_whole {
                // It may have been known by a page until now.
                paged.begin_anew(&[instrument]);
            }
            chain.note(instrument, out);
        }
        Ok(Frame::Data)
    }

    /// Joins the changes that were read to a page.
    #[cold]
    fn join(&mut self, instrument: InstrumentId, received: MonoNs, out: &mut Decoded) -> Result<Frame, DecodeError> {
        let (Some(paged), Some(entry)) = (&mut self.paged, self.symbols.entry(instrument)) else {
            return Ok(Frame::Unused);
        };
        let mut from = 0;
        for step in &self.steps {
            let levels = &self.levels[from..step.to];
            from = step.to;
            let ChainLink { after, number, at } = step.link;
            let order = match (after, number) {
                // What changes nothing repeats the number.
                (Some(after), Some(number)) if number >= after => {
                    Ok((DeltaOrder { from: Some(after.saturating_add(1)), to: number }, at))
                }
                // The numbers begin anew.
                _ => Err(DecodeError::Gap),
            };
            paged.event(entry, order, levels, received, out)?;
        }
        Ok(Frame::Data)
    }
}

/// Whether an instrument is traded: in the states `suspend`, `preopen`, `rebase`, `post_only`, `test` it is not.
fn is_live(item: Value<'_>) -> bool {
    item.text_of("state") == Some("live")
}

/// A book by REST.
fn read_page(root: Value<'_>) -> Result<BookPage, DecodeError> {
    let item = root.get("data").and_then(|data| data.at(0)).ok_or(DecodeError::Missing("data"))?;
    let mut levels = Vec::new();
    changes(item, "asks", Side::Ask, &mut levels)?;
    changes(item, "bids", Side::Bid, &mut levels)?;
    Ok(BookPage::new(reading::integer(item, "seqId")?, UnixNs(0), levels))
}

/// The page of a book.
fn page_path(native: &str, levels: usize) -> String {
    format!("{BOOKS_PATH}?instId={native}&sz={levels}")
}

/// The elements of a message that carries whole tops: at least one.
fn some_items(root: Value<'_>) -> Result<Value<'_>, DecodeError> {
    array(root, "data").and_then(|data| if data.is_empty() { Err(DecodeError::Missing("data")) } else { Ok(data) })
}

fn read_bbo(item: Value<'_>) -> Result<OkxBbo, DecodeError> {
    let (bid, ask) = tops_of(item)?;
    let sequence = number(whole_number(item, "seqId")?).unwrap_or(0);
    Ok(OkxBbo { bid, ask, sequence, at: stamp(item)? })
}

/// The best levels of an element with `bids` and `asks`. An empty list is an absent side.
fn tops_of(item: Value<'_>) -> Result<(Level, Level), DecodeError> {
    let first = |field: &'static str| -> Result<Level, DecodeError> {
        let list = item.get(field).filter(Value::is_array).ok_or(DecodeError::Missing(field))?;
        match list.at(0) {
            None => Ok(Level::ABSENT),
            Some(pair) => Ok(level(reading::decimal(pair.at(0), field)?, reading::decimal(pair.at(1), field)?)),
        }
    };
    Ok((first("bids")?, first("asks")?))
}

fn stamp(item: Value<'_>) -> Result<UnixNs, DecodeError> {
    reading::integer(item, "ts").map(time)
}

/// A signed whole number that may be missing, but not be something else.
fn whole_number(item: Value<'_>, field: &'static str) -> Result<Option<i64>, DecodeError> {
    match item.get(field) {
        None => Ok(None),
        Some(value) => value.text().and_then(|n| n.parse().ok()).map(Some).ok_or(DecodeError::Missing(field)),
    }
}

/// A number of the chain; -1 is none.
fn number(number: Option<i64>) -> Option<u64> {
    number.and_then(|n| u64::try_from(n).ok())
}

/// The venue's end of a connection.
#[derive(Default)]
struct OkxExchange {
    subscriptions: ClientSubscriptions,
    /// Whether it asked which instruments are traded.
    instruments: bool,
}

/// The channels that the simulated venue serves.
const SERVED: [&str; 6] = ["bbo-tbt", "tickers", "books5", "books", "books50-l2-tbt", "books-l2-tbt"];

impl ExchangeSide for OkxExchange {
    fn opened(&mut self, _target: &str, _market: &dyn Market, _out: &mut Messages) {}

    fn receive(&mut self, text: &str, market: &dyn Market, out: &mut Messages) {
        if text == "ping" {
            return out.push("pong".to_owned());
        }
        let request = serde_json::from_str::<Json>(text).unwrap_or(Json::Null);
        let op = request.get("op").and_then(Json::as_str).unwrap_or_default();
        let args = request.get("args").and_then(Json::as_array);
        let (Some(args), "subscribe" | "unsubscribe") = (args, op) else {
            let message = format!("Invalid request: {text}");
            return out
                .push(json!({"event": "error", "code": "60012", "msg": message, "connId": CONNECTION}).to_string());
        };
        for arg in args {
            let word = |key: &str| arg.get(key).and_then(Json::as_str).unwrap_or_default().to_owned();
            if word("channel") == INSTRUMENTS {
                self.instruments = op == "subscribe";
                out.push(json!({"event": op, "arg": arg, "connId": CONNECTION}).to_string());
                let listed = market.listed();
                let items: Vec<_> = listed.iter().map(|it| instrument_item(&it.native, it.is_trading)).collect();
                if self.instruments {
                    out.push(instruments_frame(items));
                }
                continue;
            }
            self.argument(op, [word("channel"), word("instId")], request.get("id"), market, out);
        }
    }

    fn quote(&mut self, quote: &VenueQuote, out: &mut Messages) {
        for subscription in self.subscriptions.of(&quote.native) {
            match subscription.channel.as_str() {
                "tickers" => {}
                "bbo-tbt" | "books5" => out.push(whole_frame(&subscription.channel, quote)),
                _ => out.push(book_frame(&subscription.channel, Some(&subscription.last), quote)),
            }
            subscription.last = quote.clone();
            subscription.sent = quote.time;
        }
    }

    fn statistics(&mut self, quote: &VenueQuote, out: &mut Messages) {
        if self.subscriptions.has("tickers", &quote.native) {
            out.push(ticker_frame(quote));
        }
    }

    /// An unchanged best bid and ask is sent again after about a minute.
    fn heartbeat(&mut self, now: UnixNs, out: &mut Messages) {
        for subscription in self.subscriptions.on(BBO) {
            if now.0.saturating_sub(subscription.sent.0) >= 60 * SECOND {
                out.push(whole_frame(BBO, &subscription.last));
                subscription.sent = now;
            }
        }
    }

    fn trading(&mut self, quote: &VenueQuote, out: &mut Messages) {
        if self.instruments {
            out.push(instruments_frame(vec![instrument_item(&quote.native, quote.is_trading)]));
        }
    }

    fn maintenance(&mut self, begins: bool, _now: UnixNs, out: &mut Messages) -> Maintenance {
        if begins {
            let said = "The connection will soon be closed for a service upgrade. Please reconnect.";
            out.push(format!(r#"{{"event":"notice","code":"64008","msg":"{said}","connId":"a4d3ae55"}}"#));
        }
        Maintenance::Moves
    }
}

/// The simulated venue's name of every connection.
const CONNECTION: &str = "51a7ed00";

impl OkxExchange {
    fn argument(
        &mut self,
        op: &str,
        [channel, native]: [String; 2],
        id: Option<&Json>,
        market: &dyn Market,
        out: &mut Messages,
    ) {
        let quote = market.quote(&native).filter(|_| SERVED.contains(&channel.as_str()));
        let mut reply = json!({"event": op, "arg": {"channel": channel, "instId": native}, "connId": CONNECTION});
        if quote.is_none() {
            let message = format!(
                "Wrong URL or channel:{channel},instId:{native} doesn't exist. Please use the correct URL, channel and parameters referring to API document."
            );
            reply = json!({"event": "error", "code": "60018", "msg": message, "connId": CONNECTION});
        }
        if let Some(id) = id {
            reply["id"] = id.clone();
        }
        out.push(reply.to_string());
        let Some(quote) = quote else { return };
        if op == "unsubscribe" {
            return self.subscriptions.remove(&channel, &native);
        }
        match channel.as_str() {
            "tickers" => out.push(ticker_frame(&quote)),
            "bbo-tbt" | "books5" => out.push(whole_frame(&channel, &quote)),
            _ => out.push(book_frame(&channel, None, &quote)),
        }
        self.subscriptions.add(&channel, quote, market.now());
    }
}

/// An instrument's state.
const fn state_word(is_trading: bool) -> &'static str {
    if is_trading { "live" } else { "suspend" }
}

/// What `instruments` says of one.
fn instrument_item(native: &str, is_trading: bool) -> Json {
    json!({"instType": "SPOT", "instId": native, "state": state_word(is_trading)})
}

fn instruments_frame(items: Vec<Json>) -> String {
    json!({"arg": {"channel": INSTRUMENTS, "instType": "SPOT"}, "data": items}).to_string()
}

fn levels_text(levels: &[Level]) -> String {
    let orders = |level: &Level| if level.size.is_zero() { "0" } else { "1" };
    let pair = |l: &Level| format!(r#"["{}","{}","0","{}"]"#, l.price, l.size, orders(l));
    let present = levels.iter().filter(|level| !level.price.is_zero());
    format!("[{}]", present.map(pair).collect::<Vec<_>>().join(","))
}

/// A message that holds the whole of what it shows: `bbo-tbt`, `books5`.
fn whole_frame(channel: &str, quote: &VenueQuote) -> String {
    format!(
        r#"{{"arg":{{"channel":"{channel}","instId":"{}"}},"data":[{{"asks":{},"bids":{},"ts":"{}","seqId":{}}}]}}"#,
        quote.native,
        levels_text(&[quote.ask]),
        levels_text(&[quote.bid]),
        quote.time.ms(),
        quote.sequence
    )
}

/// A snapshot, or the update from `last`; its checksum is 0, as the venue sends it since 2026-06.
fn book_frame(channel: &str, last: Option<&VenueQuote>, quote: &VenueQuote) -> String {
    let changes = quote.changes(last, ladder::LEVELS);
    let step = |side: Side| levels_text(&levels_of(&changes, side));
    let (action, previous) = match last {
        None => ("snapshot", "-1".to_owned()),
        Some(_) => ("update", quote.sequence.saturating_sub(1).to_string()),
    };
    format!(
        r#"{{"arg":{{"channel":"{channel}","instId":"{}"}},"action":"{action}","data":[{{"asks":{},"bids":{},"ts":"{}","checksum":0,"seqId":{},"prevSeqId":{previous}}}]}}"#,
        quote.native,
        step(Side::Ask),
        step(Side::Bid),
        quote.time.ms(),
        quote.sequence,
    )
}

fn ticker_frame(quote: &VenueQuote) -> String {
    let day = &quote.day;
    format!(
        r#"{{"arg":{{"channel":"tickers","instId":"{native}"}},"data":[{{"instType":"SPOT","instId":"{native}","last":"{last}","lastSz":"0","askPx":"{}","askSz":"{}","bidPx":"{}","bidSz":"{}","open24h":"{open}","high24h":"{}","low24h":"{}","sodUtc0":"{open}","sodUtc8":"{open}","volCcy24h":"{}","vol24h":"{}","ts":"{}"}}]}}"#,
        writing::text(quote.ask, quote.ask.price),
        writing::text(quote.ask, quote.ask.size),
        writing::text(quote.bid, quote.bid.price),
        writing::text(quote.bid, quote.bid.size),
        day.high,
        day.low,
        day.quote_volume,
        if day.last > 0.0 { day.quote_volume / day.last } else { 0.0 },
        quote.time.ms(),
        native = quote.native,
        last = day.last,
        open = day.open(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::venues::BookNote;

    fn change(previous: u64, number: u64, bid: &str, size: &str) -> String {
        format!(
            r#"{{"arg":{{"channel":"books","instId":"BTC-USDT"}},"action":"update","data":[{{"asks":[],"bids":[["{bid}","{size}","0","1"]],"ts":"{number}","checksum":0,"seqId":{number},"prevSeqId":{previous}}}]}}"#
        )
    }

    #[test]
    fn a_subscription_that_begins_without_a_whole_book_is_joined_to_a_page() {
        let mut codec = Okx.book_codec(Symbols::discovering(Okx.symbol_of()), 2).unwrap();
        let id = InstrumentId(0);
        let read = |codec: &mut Box<dyn FeedCodec>, frame: &str| {
            let mut out = Decoded::default();
            let result = codec.decode(frame.as_bytes(), MonoNs(1), &mut out);
            (result, out)
        };
        let bids = |codec: &dyn FeedCodec| -> Option<Vec<String>> {
            let level = |level: &Level| format!("{} x {}", level.price, level.size);
            Some(codec.book(id)?.levels(Side::Bid).map(level).collect())
        };
        // Before the acknowledgement it may be of an older subscription.
        let (_, out) = read(&mut codec, &change(98, 99, "9", "1"));
        assert!(out.fetches.is_empty());
        let ack = r#"{"event":"subscribe","arg":{"channel":"books","instId":"BTC-USDT"},"connId":"a4d3ae55"}"#;
        let (_, out) = read(&mut codec, ack);
        assert_eq!(out.updates, [Update::Subscribed(id)]);
        for number in 100..103 {
            let (result, out) = read(&mut codec, &change(number - 1, number, "10", &number.to_string()));
            assert_eq!((result, bids(&*codec)), (Ok(Frame::Data), None));
            assert_eq!(out.fetches[0].path, "/api/v5/market/books?instId=BTC-USDT&sz=400");
        }
        let page = r#"{"code":"0","msg":"","data":[{"asks":[["11","5","0","1"]],"bids":[["10","100","0","1"],["8","3","0","1"]],"ts":"100","seqId":100}]}"#;
        let mut out = Decoded::default();
        codec
            .snapshot("https://www.okx.com/api/v5/market/books?instId=BTC-USDT&sz=400", page.as_bytes(), &mut out)
            .unwrap();
        assert!(matches!(out.updates[..], [Update::Book(BookNote { sequence: 102, .. })]), "{:?}", out.updates);
        assert_eq!(bids(&*codec).unwrap(), ["10 x 102", "8 x 3"]);
        let (_, out) = read(&mut codec, &change(102, 105, "9", "1"));
        assert!(out.fetches.is_empty() && bids(&*codec).unwrap() == ["10 x 102", "9 x 1", "8 x 3"]);
        // What is not the next is a loss, and a page is asked for.
        let (result, out) = read(&mut codec, &change(106, 107, "9", "2"));
        assert_eq!((result, bids(&*codec)), (Err(DecodeError::Gap), None));
        assert!(out.updates.contains(&Update::Void(id, VoidReason::Gap)) && out.fetches.len() == 1);
    }
}
