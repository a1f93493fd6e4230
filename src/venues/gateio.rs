//! Gate spot (API v4): `spot.book_ticker` live, `spot.tickers` for the statistics, `spot.obu` for order books; all
//! kinds of book from recordings. The tickers have prices without sizes, so they are no quotes.
//!
//! Three kinds of book: `spot.obu` sends its whole and then changes, `spot.order_book_update` sends changes to
//! be joined to a snapshot by REST, `spot.order_book` sends wholes. None has a checksum. Requests carry the
//! time. Called on the feed's thread; keeps a book only of `spot.obu`, and for recordings.

use std::borrow::Cow;
use std::fmt::Write as _;

use rustc_hash::FxHashMap;
use serde_json::{Value as Json, json};

use crate::market::book::{Book, Side};
use crate::market::statistics::{self, DayStatistics};
use crate::market::{InstrumentId, Level};
use crate::time::{MonoNs, SECOND, UnixNs};
use crate::venues::codes::{Codes, alias, other};
use crate::venues::depth::{
    BookPage, ChainLink, Chained, DeltaOrder, Depth, Diffs, LevelChange, PageReader, PerInstrument, TopStamp,
};
use crate::venues::ladder::{self, levels_of};
use crate::venues::listing::{self, Fee, Listing, ListingEntry};
use crate::venues::reading::{
    self, Asked, BookTicker, Sequences, changes, figure, integer, integer_if_any, side_if_any, text, time,
};
use crate::venues::writing::{self, ClientSubscriptions};
use crate::venues::{
    BookFacts, Check, Cut, DecodeError, Decoded, ExchangeSide, Facts, FeedCodec, Frame, Keepalive, Listed, Market,
    Messages, Opening, Requests, StampFacts, Symbols, Top, Update, Venue, VenueLimits, VenueQuote,
};
use crate::wire::json::{Parser, Scan, Value};
use crate::wire::query;

/// Gate, spot.
pub(crate) struct Gate;

/// <https://www.gate.com/docs/developers/apiv4/ws/en/>, facts of 2026-09. A maintainer (<https://github.com/gateio/gatews/issues/25>,
/// read 2026-11-21): no limit of subscriptions or requests, 100 connections from one host advised; a client that
/// does not read in time is closed. The server pings by WebSocket, and answers `spot.ping`. Fee: listing and base tier.
static FACTS: Facts = Facts {
    name: "gateio",
    title: "Gate",
    address: "wss://api.gateio.ws/ws/v4/",
    opening: Opening::Direct,
    taker_fee_pct: "0.20",
    keepalive: Keepalive::Client { every_ms: 15_000, cut: Cut::Never },
    message_max: 1 << 20,
    request_gap_ms: 100,
    channel: "spot.book_ticker",
    books: Some(BookFacts { channel: OBU, levels_max: OBU_LEVELS[1], check: Check::Sequence }),
    // No recorded stamps of this channel; `u` orders the quotes of an instrument.
    stamps: StampFacts::MILLISECONDS,
    limits: VenueLimits::UNPUBLISHED,
    docs: "https://www.gate.com/docs/developers/apiv4/ws/en/ (2026-11-21)",
};

/// Pairs in one request. No limit is published.
const PAIRS_PER_REQUEST: usize = 100;

const BOOK_TICKER: &str = "spot.book_ticker";
const TICKERS: &str = "spot.tickers";
/// "Order Book V2" of the page of [`FACTS`] (read 2026-11-21): a whole first, and whenever the venue likes, then changes
/// numbered without a hole; the levels a side that there are, every 20 ms and every 100 ms. That a level is told when it
/// enters the best 50 the page does not say, but that the local book is kept by these messages alone. A second
/// subscription to one book is refused; the examples ask for one book in each request. `spot.order_book_update`
/// would need REST pages of 100 levels besides, without a word on what is behind them.
const OBU: &str = "spot.obu";
const OBU_LEVELS: [usize; 2] = [50, 400];
const BOOK_UPDATE: &str = "spot.order_book_update";
const BOOK: &str = "spot.order_book";

/// Codes that mean something else elsewhere (ccxt 4.5.90, `commonCurrencies`, read 2026-11-29). Its MPH is Morpher; 88mph has its
/// whole name.
const CODES: Codes = Codes {
    venue: "Gate",
    table: &[
        other("ASS", "ASSF"),
        other("AXIS", "AXISDEFI"),
        other("BIFI", "BITCOINFILE"),
        other("BOX", "DEFIBOX"),
        other("BYN", "BEYONDFI"),
        other("EGG", "GOOSEFINANCE"),
        other("GTC", "GAMECOM"),
        other("HIT", "HITCHAIN"),
        other("MM", "MILLION"),
        other("MPH", "MORPHER"),
        alias("88MPH", "MPH"),
        other("ORT", "XREATORS"),
        other("POINT", "GATEPOINT"),
        other("RAI", "RAIREFLEXINDEX"),
        other("SBTC", "SUPERBITCOIN"),
        other("TNC", "TRINITYNETWORKCREDIT"),
        other("TRAC", "TRACO"),
        other("VAI", "VAIOT"),
    ],
};

impl Venue for Gate {
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
        |native| match native.split_once('_') {
            Some((base, quote)) => CODES.symbol(base, quote),
            _ => None,
        }
    }

    fn codec(&self, symbols: Symbols) -> Box<dyn FeedCodec> {
        Box::new(GateCodec { parser: Parser::default(), state: GateState { symbols, ..GateState::default() } })
    }

    fn book_codec(&self, symbols: Symbols, levels: usize) -> Option<Box<dyn FeedCodec>> {
        let obu_levels = OBU_LEVELS.into_iter().find(|most| *most >= levels).or(Some(OBU_LEVELS[1]));
        Some(Box::new(GateCodec {
            parser: Parser::default(),
            state: GateState { symbols, obu_levels, ..GateState::default() },
        }))
    }

    fn listing(&self) -> Listing {
        Listing { address: "https://api.gateio.ws", path: "/api/v4/spot/currency_pairs" }
    }

    fn read_listing(&self, reply: &[u8]) -> Result<Vec<ListingEntry>, DecodeError> {
        listing::read(
            reply,
            &CODES,
            |root| root.is_array().then(|| root.items().collect()),
            |row| {
                Some(ListingEntry {
                    base: row.text_of("base")?.to_owned(),
                    quote: row.text_of("quote")?.to_owned(),
                    native: row.text_of("id")?.to_owned(),
                    // `buyable` and `sellable` are open on one side only.
                    is_trading: row.text_of("trade_status") == Some("tradable"),
                    tick: listing::decimals(row, "precision"),
                    lot: listing::decimals(row, "amount_precision"),
                    fee: Fee::of_percent(row.get("fee")),
                })
            },
        )
    }

    fn exchange_side(&self) -> Box<dyn ExchangeSide> {
        Box::new(GateExchange::default())
    }

    fn rest(&self, method: &str, target: &str, _base: &str, market: &dyn Market) -> Option<String> {
        match (method, target.split('?').next()?) {
            ("GET", "/api/v4/spot/order_book") => {
                let quote = market.quote(&query::value(query::of(target), "currency_pair")?)?;
                let levels = query::value(query::of(target), "limit").and_then(|n| n.parse().ok()).unwrap_or(10);
                let [bids, asks] = [Side::Bid, Side::Ask].map(|side| writing::pairs(&quote.levels(side, levels)));
                let ms = quote.time.ms();
                // The number only for those who ask for it.
                let id = match query::value(query::of(target), "with_id").as_deref() {
                    Some("true") => format!(r#""id":{},"#, quote.sequence),
                    _ => String::new(),
                };
                Some(format!(r#"{{{id}"current":{ms},"update":{ms},"asks":{asks},"bids":{bids}}}"#))
            }
            ("GET", "/api/v4/spot/currency_pairs") => {
                let listed = market.listed();
                let row = |entry: &Listed| {
                    json!({
                        "id": entry.native, "base": entry.base, "quote": entry.quote, "fee": FACTS.taker_fee_pct,
                        "min_quote_amount": "3", "precision": entry.price_decimals,
                        "amount_precision": entry.size_decimals, "trade_status": if entry.is_trading { "tradable" } else { "untradable" }, "sell_start": 0, "buy_start": 0,
                    })
                };
                Some(Json::from(listed.iter().map(row).collect::<Vec<_>>()).to_string())
            }
            _ => None,
        }
    }
}

struct GateCodec {
    parser: Parser,
    state: GateState,
}

#[derive(Default)]
struct GateState {
    symbols: Symbols,
    /// Order books of so many levels are asked for, and not quotes.
    obu_levels: Option<usize>,
    now: UnixNs,
    asked: Asked,
    sequences: Sequences,
    /// `spot.obu`, by instrument and levels.
    obu: FxHashMap<(InstrumentId, usize), Chained>,
    diffs: PerInstrument<Diffs>,
    wholes: PerInstrument<Depth>,
    whole_sequences: Sequences,
    levels: Vec<LevelChange>,
}

impl FeedCodec for GateCodec {
    fn set_time(&mut self, now: UnixNs) {
        self.state.now = now;
    }

    fn opened(&mut self, requests: &mut Requests) {
        let GateState { symbols, obu_levels, now, asked, sequences, obu, diffs, wholes, whole_sequences, .. } =
            &mut self.state;
        asked.clear();
        sequences.clear();
        obu.clear();
        diffs.clear();
        wholes.clear();
        whole_sequences.clear();
        if let Some(most) = *obu_levels {
            asked.for_each(OBU, symbols.entries(), 1, |number, entries| {
                let names: Vec<String> = entries.iter().map(|entry| book_name(&entry.native, most)).collect();
                let names = names.iter().map(String::as_str);
                requests.push(request(*now, Some(number), OBU, "subscribe", names));
            });
            return;
        }
        for channel in [BOOK_TICKER, TICKERS] {
            asked.for_each(channel, symbols.entries(), PAIRS_PER_REQUEST, |number, chunk| {
                let pairs = chunk.iter().map(|entry| entry.native.as_str());
                requests.push(request(*now, Some(number), channel, "subscribe", pairs));
            });
        }
    }

    fn read(&mut self, frame: &[u8], received: MonoNs, out: &mut Decoded) -> Result<Frame, DecodeError> {
        let Self { parser, state } = self;
        if let Some((symbol, ticker)) = scan_book_ticker(frame) {
            let Some(instrument) = state.symbols.find(symbol) else { return Ok(Frame::Unused) };
            return Ok(state.book_ticker(instrument, ticker, received, out));
        }
        parser.parse(frame, |root| state.message(root, received, out))?
    }

    fn page_of(&mut self, url: &str) -> Option<InstrumentId> {
        self.state.symbols.find(book_pair(url)?.as_bytes())
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
        self.state.diffs.of(instrument).snapshot(instrument, page.number, &mut page.levels, out);
        Ok(Frame::Data)
    }

    fn resubscribe(&mut self, instruments: &[InstrumentId], requests: &mut Requests) {
        let GateState { symbols, obu_levels, now, .. } = &self.state;
        if let Some(most) = *obu_levels {
            for name in symbols.natives(instruments).map(|native| book_name(native, most)) {
                ask_again(*now, &name, requests);
            }
            return;
        }
        for event in ["unsubscribe", "subscribe"] {
            requests.push(request(*now, None, BOOK_TICKER, event, symbols.natives(instruments)));
        }
    }

    fn keepalive(&mut self, requests: &mut Requests) {
        requests.push(format!(r#"{{"time":{},"channel":"spot.ping"}}"#, self.state.now.0 / SECOND));
    }

    fn symbols(&self) -> &Symbols {
        &self.state.symbols
    }

    fn forget(&mut self, instrument: InstrumentId) {
        let GateState { obu, diffs, wholes, .. } = &mut self.state;
        obu.iter_mut().filter(|((id, _), _)| *id == instrument).for_each(|(_, chain)| chain.depth.forget_published());
        diffs.of(instrument).forget_published();
        wholes.of(instrument).forget_published();
    }

    fn book(&self, instrument: InstrumentId) -> Option<&Book> {
        self.state.obu.get(&(instrument, self.state.obu_levels?))?.book()
    }
}

/// As `spot.obu` calls the book of a pair with so many levels.
fn book_name(native: &str, levels: usize) -> String {
    format!("ob.{native}.{levels}")
}

/// Asks for a book of `spot.obu` anew.
fn ask_again(now: UnixNs, name: &str, requests: &mut Requests) {
    for event in ["unsubscribe", "subscribe"] {
        requests.push(request(now, None, OBU, event, std::iter::once(name)));
    }
}

fn request<'a>(
    now: UnixNs,
    number: Option<usize>,
    channel: &str,
    event: &str,
    payload: impl Iterator<Item = &'a str>,
) -> String {
    let mut request = format!(r#"{{"time":{},"#, now.0 / SECOND);
    // Writing to a String cannot fail.
    if let Some(number) = number {
        let _ = write!(request, r#""id":{number},"#);
    }
    let _ = write!(request, r#""channel":"{channel}","event":"{event}","payload":["#);
    for (at, item) in payload.enumerate() {
        let comma = if at == 0 { "" } else { "," };
        let _ = write!(request, r#"{comma}"{item}""#);
    }
    request.push_str("]}");
    request
}

/// The pair of a REST address of the order book, such as `…/spot/order_book?currency_pair=BTC_USDT&with_id=true`.
fn book_pair(url: &str) -> Option<Cow<'_, str>> {
    let (path, query) = url.split_once('?')?;
    path.ends_with("/spot/order_book").then(|| query::value(query, "currency_pair"))?
}

/// A book by REST. One that was asked for without its number cannot be joined.
fn read_page(root: Value<'_>) -> Result<BookPage, DecodeError> {
    let number = integer(root, "id")?;
    let mut levels = Vec::new();
    changes(root, "bids", Side::Bid, &mut levels)?;
    changes(root, "asks", Side::Ask, &mut levels)?;
    Ok(BookPage::new(number, UnixNs(0), levels))
}

/// What `spot.book_ticker` says.
struct GateBookTicker {
    /// 0 where there is none.
    sequence: u64,
    at: UnixNs,
    bid: Level,
    ask: Level,
}

/// Reads `spot.book_ticker` in the field order that the venue documents; `None`: the general way.
#[inline(always)]
fn scan_book_ticker(frame: &[u8]) -> Option<(&[u8], GateBookTicker)> {
    let mut scan = Scan::new(frame);
    scan.literal(b"{\"time\":")?;
    scan.integer()?;
    scan.literal(b",\"time_ms\":")?;
    scan.integer()?;
    scan.literal(b",\"channel\":\"spot.book_ticker\",\"event\":\"update\",\"result\":{\"t\":")?;
    let at = time(scan.integer()?);
    scan.literal(b",\"u\":")?;
    let sequence = scan.integer()?;
    scan.literal(b",\"s\":\"")?;
    let BookTicker { symbol, bid, ask } = reading::scan_book_ticker(&mut scan)?;
    scan.literal(b"}}")?;
    scan.end()?;
    Some((symbol, GateBookTicker { sequence, at, bid, ask }))
}

impl GateState {
    #[inline(always)]
    fn book_ticker(
        &mut self,
        instrument: InstrumentId,
        ticker: GateBookTicker,
        received: MonoNs,
        out: &mut Decoded,
    ) -> Frame {
        let GateBookTicker { sequence, at: exchange_time, bid, ask } = ticker;
        let top = Top { instrument, bid, ask, sequence, exchange_time, channel: BOOK_TICKER };
        self.sequences.publish(top, received, out);
        Frame::Data
    }

    fn message(&mut self, root: Value<'_>, received: MonoNs, out: &mut Decoded) -> Result<Frame, DecodeError> {
        if let Some(error) = root.get("error").filter(|error| !error.is_null()) {
            let why = error.text_of("message").or(error.text_of("code")).or(error.text()).unwrap_or("no reason given");
            return Ok(self.refused(root, why, out));
        }
        let channel = text(root, "channel")?;
        match root.text_of("event") {
            Some("subscribe") => {
                let status = root.get("result").and_then(|result| result.text_of("status"));
                if status == Some("fail") {
                    return Ok(self.refused(root, "no reason given", out));
                }
                if channel == self.channel() {
                    self.acknowledged(root, out);
                }
                return Ok(Frame::Control);
            }
            Some("unsubscribe") => return Ok(Frame::Control),
            _ if channel == "spot.pong" => return Ok(Frame::Control),
            // Recordings have updates that do not say so.
            Some("update" | "all" | "") | None => {}
            Some(_) => return Ok(Frame::Unused),
        }
        let result = || root.get("result").filter(Value::is_object).ok_or(DecodeError::Missing("result"));
        match channel {
            BOOK_TICKER => {
                let result = result()?;
                let symbol = text(result, "s")?;
                let Some(instrument) = self.symbols.find(symbol.as_bytes()) else { return Ok(Frame::Unused) };
                let ticker = out.void_unread(instrument, read_book_ticker(result))?;
                Ok(self.book_ticker(instrument, ticker, received, out))
            }
            TICKERS => self.ticker(root, result()?, out),
            OBU => self.obu(result()?, received, out),
            BOOK_UPDATE => self.book_update(result()?, received, out),
            BOOK => self.whole_book(result()?, received, out),
            _ => Ok(Frame::Unused),
        }
    }

    /// What is asked for.
    const fn channel(&self) -> &'static str {
        if self.obu_levels.is_some() { OBU } else { BOOK_TICKER }
    }

    /// The answer lists the pairs that it is about; older recordings have neither these nor the number.
    fn acknowledged(&self, root: Value<'_>, out: &mut Decoded) {
        let entries = self.symbols.entries();
        if let Some(payload) = root.get("payload").filter(Value::is_array) {
            let channel = self.channel();
            let pairs: Vec<&str> = payload.items().filter_map(|it| Some(pair_of(channel, it.text()?))).collect();
            let named = entries.iter().filter(|entry| pairs.contains(&entry.native.as_str()));
            out.updates.extend(named.map(|entry| Update::Subscribed(entry.id)));
        } else if let Some((channel, range)) = self.asked.of(root.get("id").and_then(|id| id.integer()))
            && channel == self.channel()
        {
            out.updates.extend(entries[range].iter().map(|entry| Update::Subscribed(entry.id)));
        }
    }

    /// Whether one unknown pair spoils a request for all is not documented: each is asked for by itself then.
    fn refused(&mut self, root: Value<'_>, why: &str, out: &mut Decoded) -> Frame {
        out.updates.push(Update::Refused(why.to_owned()));
        let number = root.get("id").and_then(|id| id.integer());
        for (number, channel, at) in self.asked.singly(number) {
            let pair = std::iter::once(self.symbols.entries()[at].native.as_str());
            out.requests.push(request(self.now, Some(number), channel, "subscribe", pair));
        }
        Frame::Control
    }

    fn ticker(&mut self, root: Value<'_>, result: Value<'_>, out: &mut Decoded) -> Result<Frame, DecodeError> {
        let Some(instrument) = self.symbols.find(text(result, "currency_pair")?.as_bytes()) else {
            return Ok(Frame::Unused);
        };
        let (last, change_pct) = (figure(result, "last"), figure(result, "change_percentage"));
        let sent = integer_if_any(root, "time_ms")?.map_or(UnixNs(0), time);
        out.updates.push(Update::Statistics(DayStatistics {
            instrument,
            last,
            high: figure(result, "high_24h"),
            low: figure(result, "low_24h"),
            change: statistics::change_of(last, change_pct),
            change_pct,
            quote_volume: figure(result, "quote_volume"),
            exchange_time: sent,
        }));
        Ok(Frame::Data)
    }

    /// `spot.obu`: the whole book, then changes; the names are `ob.BTC_USDT.50` and `ob.BTC_USDT.400`.
    fn obu(&mut self, result: Value<'_>, received: MonoNs, out: &mut Decoded) -> Result<Frame, DecodeError> {
        let name = text(result, "s")?;
        let parts = name.strip_prefix("ob.").and_then(|rest| rest.rsplit_once('.'));
        let Some((pair, Ok(most))) = parts.map(|(pair, most)| (pair, most.parse::<usize>())) else {
            return Err(DecodeError::Shape("`s` is not a book's name such as ob.BTC_USDT.50"));
        };
        let Some(instrument) = self.symbols.find(pair.as_bytes()) else { return Ok(Frame::Unused) };
        let is_whole = result.get("full").and_then(|full| full.boolean()) == Some(true);
        let read = self.read_obu(result, is_whole);
        let chain = self.obu.entry((instrument, most)).or_default();
        if read.is_err() && chain.depth.void() {
            ask_again(self.now, name, &mut out.requests);
        }
        let (number, link) = out.void_unread(instrument, read)?;
        let exchange_time = link.at;
        let is_new = if is_whole {
            chain.replace(instrument, (link, received), &mut self.levels, out)
        } else {
            chain.follow(link, &self.levels, received).inspect_err(|why| {
                out.updates.extend(why.loss().map(|reason| Update::Void(instrument, reason)));
                ask_again(self.now, name, &mut out.requests);
            })?
        };
        if is_new {
            // Levels beyond the subscribed ones are no longer sent.
            chain.depth.truncate(most);
            chain.depth.publish(TopStamp { instrument, sequence: number, exchange_time, channel: OBU }, out);
            if self.obu_levels == Some(most) {
                chain.note(instrument, out);
            }
        }
        Ok(Frame::Data)
    }

    /// Reads a message of `spot.obu` into `levels`; gives its number and its place.
    fn read_obu(&mut self, result: Value<'_>, is_whole: bool) -> Result<(u64, ChainLink), DecodeError> {
        let (number, at) = (integer(result, "u")?, time(integer(result, "t")?));
        let first = if is_whole { None } else { Some(integer(result, "U")?) };
        self.levels.clear();
        changes(result, "b", Side::Bid, &mut self.levels)?;
        changes(result, "a", Side::Ask, &mut self.levels)?;
        Ok((number, ChainLink { after: first.map(|n| n.saturating_sub(1)), number: Some(number), at }))
    }

    fn book_update(&mut self, result: Value<'_>, received: MonoNs, out: &mut Decoded) -> Result<Frame, DecodeError> {
        let Some(instrument) = self.symbols.find(text(result, "s")?.as_bytes()) else { return Ok(Frame::Unused) };
        let read = self.read_update(result);
        let diffs = self.diffs.of(instrument);
        diffs.event((instrument, BOOK_UPDATE), read, &self.levels, received, out).map(|()| Frame::Data)
    }

    fn read_update(&mut self, result: Value<'_>) -> Result<(DeltaOrder, UnixNs), DecodeError> {
        let (first, last, at) = (integer(result, "U")?, integer(result, "u")?, time(integer(result, "t")?));
        if first > last {
            return Err(DecodeError::Shape("`U` is above `u`"));
        }
        self.levels.clear();
        changes(result, "b", Side::Bid, &mut self.levels)?;
        changes(result, "a", Side::Ask, &mut self.levels)?;
        Ok((DeltaOrder { from: Some(first), to: last }, at))
    }

    fn whole_book(&mut self, result: Value<'_>, received: MonoNs, out: &mut Decoded) -> Result<Frame, DecodeError> {
        let Some(instrument) = self.symbols.find(text(result, "s")?.as_bytes()) else { return Ok(Frame::Unused) };
        let read = self.read_whole(result);
        let depth = self.wholes.of(instrument);
        if read.is_err() {
            depth.void();
        }
        let (sequence, exchange_time) = out.void_unread(instrument, read)?;
        depth.replace(&mut self.levels);
        if let Some((bid, ask)) = depth.changed_top() {
            let top = Top { instrument, bid, ask, sequence, exchange_time, channel: BOOK };
            self.whole_sequences.publish(top, received, out);
        }
        Ok(Frame::Data)
    }

    fn read_whole(&mut self, result: Value<'_>) -> Result<(u64, UnixNs), DecodeError> {
        let place = (integer(result, "lastUpdateId")?, time(integer(result, "t")?));
        self.levels.clear();
        changes(result, "bids", Side::Bid, &mut self.levels)?;
        changes(result, "asks", Side::Ask, &mut self.levels)?;
        Ok(place)
    }
}

fn read_book_ticker(result: Value<'_>) -> Result<GateBookTicker, DecodeError> {
    Ok(GateBookTicker {
        sequence: integer_if_any(result, "u")?.unwrap_or(0),
        at: time(integer(result, "t")?),
        bid: side_if_any(result, "b", "B")?,
        ask: side_if_any(result, "a", "A")?,
    })
}

/// The venue's end of a connection.
#[derive(Default)]
struct GateExchange {
    subscriptions: ClientSubscriptions,
}

impl ExchangeSide for GateExchange {
    fn opened(&mut self, _target: &str, _market: &dyn Market, _out: &mut Messages) {}

    fn receive(&mut self, text: &str, market: &dyn Market, out: &mut Messages) {
        let request = serde_json::from_str::<Json>(text).unwrap_or(Json::Null);
        let (channel, event) = (word(&request, "channel"), word(&request, "event"));
        let now = market.now();
        if channel == "spot.ping" {
            return out.push(answer(now, "spot.pong", "", &request, Json::Null, None));
        }
        let payload: Vec<&str> = request["payload"].as_array().into_iter().flatten().filter_map(Json::as_str).collect();
        // A request of a book channel is for one book; its levels or its interval follow the name.
        let pairs: &[&str] = match channel {
            BOOK_TICKER | TICKERS | OBU => &payload,
            BOOK | BOOK_UPDATE => &payload[..payload.len().min(1)],
            _ => {
                let why = (2, format!("unknown channel {channel}"));
                return out.push(answer(now, channel, event, &request, Json::Null, Some(why)));
            }
        };
        if let Some(unknown) = pairs.iter().find(|name| market.quote(pair_of(channel, name)).is_none()) {
            let why = (2, format!("unknown currency pair: {unknown}"));
            return out.push(answer(now, channel, event, &request, json!({"status": "fail"}), Some(why)));
        }
        out.push(answer(now, channel, event, &request, json!({"status": "success"}), None));
        for name in pairs {
            let Some(quote) = market.quote(pair_of(channel, name)) else { continue };
            let channel = if channel == OBU { (*name).to_owned() } else { channel.to_owned() };
            if event != "subscribe" {
                self.subscriptions.remove(&channel, &quote.native);
                continue;
            }
            // The changes of `spot.order_book_update` are joined to what the client reads by REST.
            if channel != BOOK_UPDATE {
                out.push(frame(&channel, &quote, None, now));
            }
            self.subscriptions.add(&channel, quote, now);
        }
    }

    fn quote(&mut self, quote: &VenueQuote, out: &mut Messages) {
        for subscription in self.subscriptions.of(&quote.native).filter(|s| s.channel != TICKERS) {
            out.push(frame(&subscription.channel, quote, Some(&subscription.last), quote.time));
            subscription.last = quote.clone();
        }
    }

    fn statistics(&mut self, quote: &VenueQuote, out: &mut Messages) {
        if self.subscriptions.has(TICKERS, &quote.native) {
            out.push(frame(TICKERS, quote, None, quote.time));
        }
    }

    fn heartbeat(&mut self, _now: UnixNs, _out: &mut Messages) {}
}

fn word<'a>(request: &'a Json, key: &str) -> &'a str {
    request[key].as_str().unwrap_or_default()
}

/// The pair of an item of the payload: `spot.obu` asks for `ob.BTC_USDT.50`.
fn pair_of<'a>(channel: &str, name: &'a str) -> &'a str {
    if channel != OBU {
        return name;
    }
    name.strip_prefix("ob.").and_then(|rest| rest.rsplit_once('.')).map_or("", |(pair, _)| pair)
}

fn answer(
    now: UnixNs,
    channel: &str,
    event: &str,
    request: &Json,
    result: Json,
    error: Option<(u32, String)>,
) -> String {
    let mut answer = json!({"time": now.0 / SECOND, "time_ms": now.ms(), "channel": channel, "event": event});
    for key in ["id", "payload"] {
        if let Some(value) = request.get(key) {
            answer[key] = value.clone();
        }
    }
    if let Some((code, message)) = error {
        answer["error"] = json!({"code": code, "message": message});
    }
    answer["result"] = result;
    answer.to_string()
}

/// A message of the channel, or of the book of `spot.obu` that it names; `last` is what the client knows.
fn frame(channel: &str, quote: &VenueQuote, last: Option<&VenueQuote>, sent: UnixNs) -> String {
    let VenueQuote { native, bid, ask, sequence, time, day, .. } = quote;
    let ms = time.ms();
    let steps = || {
        let changes = quote.changes(last, ladder::LEVELS);
        [Side::Bid, Side::Ask].map(|side| writing::pairs(&levels_of(&changes, side)))
    };
    let (name, result) = match channel {
        BOOK_TICKER => {
            let [b, bid_size] = [bid.price, bid.size].map(|number| writing::text(*bid, number));
            let [a, ask_size] = [ask.price, ask.size].map(|number| writing::text(*ask, number));
            let sides = format!(r#""b":"{b}","B":"{bid_size}","a":"{a}","A":"{ask_size}""#);
            (BOOK_TICKER, format!(r#"{{"t":{ms},"u":{sequence},"s":"{native}",{sides}}}"#))
        }
        TICKERS => {
            let volume = if day.last > 0.0 { day.quote_volume / day.last } else { 0.0 };
            let (b, a) = (writing::text(*bid, bid.price), writing::text(*ask, ask.price));
            let result = format!(
                r#"{{"currency_pair":"{native}","last":"{}","lowest_ask":"{a}","highest_bid":"{b}","change_percentage":"{:.4}","base_volume":"{volume}","quote_volume":"{}","high_24h":"{}","low_24h":"{}"}}"#,
                day.last, day.change_pct, day.quote_volume, day.high, day.low
            );
            (TICKERS, result)
        }
        BOOK => {
            let (bids, asks) = (writing::pairs(&[*bid]), writing::pairs(&[*ask]));
            let head = format!(r#""t":{ms},"lastUpdateId":{sequence},"s":"{native}""#);
            (BOOK, format!(r#"{{{head},"bids":{bids},"asks":{asks}}}"#))
        }
        BOOK_UPDATE => {
            let head = format!(r#""t":{ms},"e":"depthUpdate","E":{},"s":"{native}""#, time.0 / SECOND);
            let [b, a] = steps();
            (BOOK_UPDATE, format!(r#"{{{head},"U":{sequence},"u":{sequence},"b":{b},"a":{a}}}"#))
        }
        name => {
            let [b, a] = steps();
            let first = if last.is_some() { format!(r#""U":{sequence},"#) } else { r#""full":true,"#.to_owned() };
            (OBU, format!(r#"{{"t":{ms},{first}"s":"{name}","u":{sequence},"b":{b},"a":{a}}}"#))
        }
    };
    let (seconds, ms) = (sent.0 / SECOND, sent.ms());
    format!(r#"{{"time":{seconds},"time_ms":{ms},"channel":"{name}","event":"update","result":{result}}}"#)
}
