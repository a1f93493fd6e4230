//! Bybit spot (v5): `orderbook.1` live, `tickers` for the statistics; a deeper `orderbook` channel for order
//! books, and from recordings. The spot `tickers` carry no quotes.
//!
//! A request has at most ten topics, and one bad topic fails all of them: the others are then asked for
//! one by one. Data can come before the acknowledgement. Called on the feed's thread; keeps a book only
//! for the deeper channels.

use std::fmt::Write as _;

use rustc_hash::FxHashMap;
use serde_json::{Value as Json, json};

use crate::market::book::{Book, Side};
use crate::market::statistics::{self, DayStatistics};
use crate::market::{InstrumentId, Level};
use crate::time::{MonoNs, SECOND, UnixNs};
use crate::venues::codes::Codes;
use crate::venues::depth::{ChainLink, Chained, LevelChange, TopStamp};
use crate::venues::ladder::{self, levels_of};
use crate::venues::listing::{self, Listing, ListingEntry};
use crate::venues::reading::{self, Sequences, best, changes, figure, integer, scan_level, text, time};
use crate::venues::writing::{self, ClientSubscriptions};
use crate::venues::{
    BookFacts, Check, Cut, DecodeError, Decoded, ExchangeSide, Facts, FeedCodec, Frame, Keepalive, Listed, Market,
    Messages, Opening, Pace, Requests, StampFacts, Symbols, Top, Update, Venue, VenueLimits, VenueQuote, VoidReason,
};
use crate::wire::json::{Parser, Scan, Value};
use crate::wire::query;

/// Bybit, spot.
pub(crate) struct Bybit;

/// <https://bybit-exchange.github.io/docs/v5/websocket/public/orderbook>, read 2026-11-20: a ping every 20 s, ten
/// topics per request, 21 000 characters of topics per connection. Fee: base tier.
static FACTS: Facts = Facts {
    name: "bybit",
    title: "Bybit",
    address: "wss://stream.bybit.com/v5/public/spot",
    opening: Opening::Direct,
    taker_fee_pct: "0.10",
    keepalive: Keepalive::Client { every_ms: 20_000, cut: Cut::Idle { ms: 600_000 } },
    message_max: 1 << 20,
    request_gap_ms: 100,
    channel: "orderbook.1",
    books: Some(BookFacts { channel: "orderbook.50", levels_max: 1000, check: Check::Sequence }),
    // `403, access too frequent`: "wait for 10 minutes", <https://bybit-exchange.github.io/docs/v5/rate-limit>.
    // 19 of 279 recorded stamps go back on a connection, none within an instrument.
    stamps: StampFacts { cadence_ms: 10, ..StampFacts::MILLISECONDS },
    limits: VenueLimits { connects: Pace { count: 500, per_ms: 300_000 }, ban_s: 600, ..VenueLimits::UNPUBLISHED },
    docs: "https://bybit-exchange.github.io/docs/v5/websocket/public/orderbook (2026-11-20)",
};

/// Quote assets of the venue's listing of 2026-08.
const QUOTES: &[&str] = &[
    "USDT", "USDC", "EUR", "BTC", "BRL", "GBP", "USD1", "AED", "USDE", "PLN", "TRY", "RLUSD", "USD", "ETH", "SOL",
    "XUSD",
];

/// Symbols that two of the quote assets fit.
const EXCEPTIONS: &[(&str, usize)] = &[("BTCXUSD", 3), ("BTCRLUSD", 3), ("XRPRLUSD", 3), ("ETHRLUSD", 3)];

/// The channels of deeper books, and how many levels a side they have. A level that leaves them is removed, one that
/// enters is told: so in the recording of 2026-08-09, where `orderbook.200` has 200 levels a side after every message.
const DEEP: [(&str, usize); 3] = [("orderbook.50", 50), ("orderbook.200", 200), ("orderbook.1000", 1000)];

/// Topics in one request.
const TOPICS_PER_REQUEST: usize = 10;

const CODES: Codes = Codes::usual("Bybit");

impl Venue for Bybit {
    fn facts(&self) -> &'static Facts {
        &FACTS
    }

    fn codes(&self) -> Codes {
        CODES
    }

    fn native(&self, base: &str, quote: &str) -> Result<String, String> {
        let [base, quote] = CODES.native(base, quote)?;
        if !QUOTES.contains(&quote) {
            return Err(format!("Bybit has no market in {quote}; most are in USDT or USDC"));
        }
        Ok(format!("{base}{quote}"))
    }

    fn symbol_of(&self) -> fn(&str) -> Option<String> {
        |native| CODES.renamed(&reading::split(native, QUOTES, EXCEPTIONS)?)
    }

    fn codec(&self, symbols: Symbols) -> Box<dyn FeedCodec> {
        let state = BybitState::asking(&[('q', 'Q', LEVEL_ONE), ('t', 'T', "tickers")], symbols);
        Box::new(BybitCodec { parser: Parser::default(), state })
    }

    fn book_codec(&self, symbols: Symbols, levels: usize) -> Option<Box<dyn FeedCodec>> {
        let asked: &'static [AskedChannel] = match levels {
            0..=50 => &[('b', 'B', DEEP[0].0)],
            51..=200 => &[('b', 'B', DEEP[1].0)],
            _ => &[('b', 'B', DEEP[2].0)],
        };
        Some(Box::new(BybitCodec { parser: Parser::default(), state: BybitState::asking(asked, symbols) }))
    }

    fn listing(&self) -> Listing {
        // The spot list is one page, whatever `limit` says.
        Listing { address: "https://api.bybit.com", path: "/v5/market/instruments-info?category=spot" }
    }

    fn read_listing(&self, reply: &[u8]) -> Result<Vec<ListingEntry>, DecodeError> {
        listing::read(
            reply,
            &CODES,
            |root| listing::array_of(root.get("result")?, "list"),
            |row| {
                Some(ListingEntry {
                    base: row.text_of("baseCoin")?.to_owned(),
                    quote: row.text_of("quoteCoin")?.to_owned(),
                    native: row.text_of("symbol")?.to_owned(),
                    is_trading: row.text_of("status") == Some("Trading"),
                    tick: row.get("priceFilter").and_then(|f| listing::step(f, "tickSize")),
                    lot: row.get("lotSizeFilter").and_then(|f| listing::step(f, "basePrecision")),
                    fee: None,
                })
            },
        )
    }

    fn exchange_side(&self) -> Box<dyn ExchangeSide> {
        Box::new(BybitExchange::default())
    }

    fn rest(&self, method: &str, target: &str, _base: &str, market: &dyn Market) -> Option<String> {
        listing::asked(self, method, target)?;
        let row = |it: Listed| {
            json!({"symbol": it.native, "baseCoin": it.base, "quoteCoin": it.quote, "status": if it.is_trading { "Trading" } else { "Closed" },
                "lotSizeFilter": {"basePrecision": it.lot()}, "priceFilter": {"tickSize": it.tick()}})
        };
        // No futures are simulated.
        let category = query::value(query::of(target), "category").unwrap_or("spot".into());
        let listed = if category == "spot" { market.listed() } else { Vec::new() };
        let list: Vec<_> = listed.into_iter().map(row).collect();
        let result = json!({"category": category, "list": list});
        Some(json!({"retCode": 0, "retMsg": "OK", "result": result, "time": market.now().ms()}).to_string())
    }
}

struct BybitCodec {
    parser: Parser,
    state: BybitState,
}

#[derive(Default)]
struct BybitState {
    symbols: Symbols,
    /// What is asked for; the first is what matters.
    kinds: &'static [AskedChannel],
    /// `orderbook.1`, by instrument.
    tops: Vec<LevelOne>,
    sequences: Sequences,
    books: FxHashMap<(InstrumentId, &'static str), Chained>,
    levels: Vec<LevelChange>,
}

/// A channel that is asked for. A request's id is the first letter, or where it is for one symbol the second, and a number.
type AskedChannel = (char, char, &'static str);

const LEVEL_ONE: &str = "orderbook.1";

impl FeedCodec for BybitCodec {
    fn opened(&mut self, requests: &mut Requests) {
        let state = &mut self.state;
        state.tops.clear();
        state.sequences.clear();
        state.books.clear();
        for (kind, _, channel) in state.kinds {
            for (chunk, entries) in state.symbols.entries().chunks(TOPICS_PER_REQUEST).enumerate() {
                let natives = entries.iter().map(|entry| entry.native.as_str());
                requests.push(request(&format!("{kind}{chunk}"), "subscribe", channel, natives));
            }
        }
    }

    fn read(&mut self, frame: &[u8], received: MonoNs, out: &mut Decoded) -> Result<Frame, DecodeError> {
        let Self { parser, state } = self;
        if let Some((symbol, top)) = scan_level_one(frame) {
            let Some(instrument) = state.symbols.find(symbol) else { return Ok(Frame::Unused) };
            return Ok(state.level_one_snapshot(instrument, top, received, out));
        }
        parser.parse(frame, |root| state.message(root, received, out))?
    }

    fn resubscribe(&mut self, instruments: &[InstrumentId], requests: &mut Requests) {
        let state = &mut self.state;
        let &[(_, single, channel), ..] = state.kinds else { return };
        for (at, entry) in state.symbols.entries().iter().enumerate().filter(|(_, it)| instruments.contains(&it.id)) {
            if let Some(top) = state.tops.get_mut(entry.id.index()) {
                *top = LevelOne::default();
            }
            for (id, op) in [("r".to_owned(), "unsubscribe"), (format!("{single}{at}"), "subscribe")] {
                requests.push(request(&id, op, channel, std::iter::once(entry.native.as_str())));
            }
        }
    }

    fn keepalive(&mut self, requests: &mut Requests) {
        requests.push(r#"{"req_id":"p","op":"ping"}"#.to_owned());
    }

    fn symbols(&self) -> &Symbols {
        &self.state.symbols
    }

    fn book(&self, instrument: InstrumentId) -> Option<&Book> {
        self.state.books.get(&(instrument, self.state.book_channel()?))?.book()
    }

    fn forget(&mut self, instrument: InstrumentId) {
        let its = self.state.books.iter_mut().filter(|((id, _), _)| *id == instrument);
        its.for_each(|(_, chain)| chain.depth.forget_published());
    }
}

fn request<'a>(id: &str, op: &str, channel: &str, natives: impl Iterator<Item = &'a str>) -> String {
    let mut request = format!(r#"{{"req_id":"{id}","op":"{op}","args":["#);
    for (at, native) in natives.enumerate() {
        let comma = if at == 0 { "" } else { "," };
        // Writing to a String cannot fail.
        let _ = write!(request, r#"{comma}"{channel}.{native}""#);
    }
    request.push_str("]}");
    request
}

/// The top that `orderbook.1` holds, and its update id; 0 when there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct LevelOne {
    bid: Level,
    ask: Level,
    sequence: u64,
    at: UnixNs,
}

/// Reads a snapshot of `orderbook.1` in the field order that the venue documents; `None`: the general way.
#[inline(always)]
fn scan_level_one(frame: &[u8]) -> Option<(&[u8], LevelOne)> {
    let mut scan = Scan::new(frame);
    scan.literal(b"{\"topic\":\"orderbook.1.")?;
    let symbol = scan.string()?;
    scan.literal(b",\"ts\":")?;
    scan.integer()?;
    scan.literal(b",\"type\":\"snapshot\",\"data\":{\"s\":\"")?;
    if scan.string()? != symbol {
        return None;
    }
    scan.literal(b",\"b\":[[\"")?;
    let bid = scan_level(&mut scan)?;
    scan.literal(b"]],\"a\":[[\"")?;
    let ask = scan_level(&mut scan)?;
    scan.literal(b"]],\"u\":")?;
    let sequence = scan.integer()?;
    scan.literal(b",\"seq\":")?;
    scan.integer()?;
    scan.literal(b"},\"cts\":")?;
    let at = time(scan.integer()?);
    scan.literal(b"}")?;
    scan.end()?;
    Some((symbol, LevelOne { bid, ask, sequence, at }))
}

impl BybitState {
    fn asking(kinds: &'static [AskedChannel], symbols: Symbols) -> Self {
        Self { symbols, kinds, ..Self::default() }
    }

    /// The channel of order books, if they are asked for.
    fn book_channel(&self) -> Option<&'static str> {
        self.kinds.first().map(|(_, _, channel)| *channel).filter(|channel| *channel != LEVEL_ONE)
    }

    #[inline(always)]
    fn level_one_snapshot(
        &mut self,
        instrument: InstrumentId,
        top: LevelOne,
        received: MonoNs,
        out: &mut Decoded,
    ) -> Frame {
        if self.tops.len() <= instrument.index() {
            self.tops.resize(instrument.index() + 1, LevelOne::default());
        }
        let last = &mut self.tops[instrument.index()];
        // The book service began again.
        let is_anew = self.sequences.begins_anew(instrument, top.sequence, top.at, received);
        if is_anew {
            out.updates.push(Update::Void(instrument, VoidReason::Gap));
        }
        // A late one is published, for the merge to count, and does not affect the order.
        if is_anew || top.sequence >= last.sequence {
            *last = top;
        }
        let LevelOne { bid, ask, sequence, at: exchange_time } = top;
        out.updates.push(Update::Top(Top { instrument, bid, ask, sequence, exchange_time, channel: LEVEL_ONE }));
        Frame::Data
    }

    fn message(&mut self, root: Value<'_>, received: MonoNs, out: &mut Decoded) -> Result<Frame, DecodeError> {
        let Some(topic) = root.text_of("topic") else { return self.reply(root, out) };
        if let Some(symbol) = topic.strip_prefix("tickers.") {
            return self.ticker(symbol, root, out);
        }
        // `orderbook.50.BTCUSDT`; no symbol has a point.
        let (channel, symbol) = topic.rsplit_once('.').unwrap_or_default();
        if channel == LEVEL_ONE {
            return self.level_one(symbol, root, received, out);
        }
        match DEEP.into_iter().find(|(name, _)| *name == channel) {
            Some((channel, most)) => self.book(symbol, (channel, most), root, received, out),
            None if topic == "system.status" => Ok(Frame::Control),
            None => Ok(Frame::Unused),
        }
    }

    fn reply(&mut self, root: Value<'_>, out: &mut Decoded) -> Result<Frame, DecodeError> {
        let op = text(root, "op")?;
        let id = root.text_of("req_id").unwrap_or_default();
        match (op, root.get("success").and_then(|v| v.boolean())) {
            ("subscribe", Some(true)) => {
                let first = self.kinds.first().map(|(_, _, channel)| *channel);
                let asked = self.asked(id).filter(|(_, _, channel)| Some(*channel) == first);
                let range = asked.map_or(0..0, |(from, to, _)| from..to);
                out.updates.extend(self.symbols.entries()[range].iter().map(|entry| Update::Subscribed(entry.id)));
            }
            (_, Some(false)) => {
                let why = root.text_of("ret_msg").unwrap_or("no reason given");
                out.updates.push(Update::Refused(why.to_owned()));
                self.ask_singly(id, out);
            }
            _ => {}
        }
        Ok(Frame::Control)
    }

    /// The entries (from, to) and the channel of our request `id`.
    fn asked(&self, id: &str) -> Option<(usize, usize, &'static str)> {
        let kind = id.chars().next()?;
        let number: usize = id.get(1..)?.parse().ok()?;
        let &(batch, _, channel) = self.kinds.iter().find(|(batch, single, _)| kind == *batch || kind == *single)?;
        let length = if kind == batch { TOPICS_PER_REQUEST } else { 1 };
        let from = number.checked_mul(length)?;
        let to = from.checked_add(length)?.min(self.symbols.entries().len());
        (from < to).then_some((from, to, channel))
    }

    /// A refused request of several topics may be the fault of one: asks for each by itself.
    fn ask_singly(&self, id: &str, out: &mut Decoded) {
        let Some((from, to, channel)) = self.asked(id).filter(|(from, to, _)| to - from > 1) else { return };
        let single = self.kinds.iter().find(|(_, _, name)| *name == channel).map_or('q', |(_, single, _)| *single);
        for at in from..to {
            let native = self.symbols.entries()[at].native.as_str();
            out.requests.push(request(&format!("{single}{at}"), "subscribe", channel, std::iter::once(native)));
        }
    }

    fn ticker(&mut self, symbol: &str, root: Value<'_>, out: &mut Decoded) -> Result<Frame, DecodeError> {
        let Some(instrument) = self.symbols.find(symbol.as_bytes()) else { return Ok(Frame::Unused) };
        let data = root.get("data").ok_or(DecodeError::Missing("data"))?;
        text(data, "lastPrice")?;
        // `price24hPcnt` is rounded to a hundredth of a percent.
        let (last, open) = (figure(data, "lastPrice"), figure(data, "prevPrice24h"));
        out.updates.push(Update::Statistics(DayStatistics {
            instrument,
            last,
            high: figure(data, "highPrice24h"),
            low: figure(data, "lowPrice24h"),
            change: statistics::difference(last, open),
            change_pct: statistics::change_pct(last, open),
            quote_volume: figure(data, "turnover24h"),
            exchange_time: time(integer(root, "ts")?),
        }));
        Ok(Frame::Data)
    }

    /// Reads the levels of a book; gives whether they are all of it, their number and their stamp.
    fn levels(&mut self, symbol: &str, root: Value<'_>) -> Result<(bool, u64, UnixNs), DecodeError> {
        let data = root.get("data").ok_or(DecodeError::Missing("data"))?;
        if text(data, "s")? != symbol {
            return Err(DecodeError::Shape("`s` is not the topic's symbol"));
        }
        let sequence = integer(data, "u")?;
        let at = time(integer(root, if root.get("cts").is_some() { "cts" } else { "ts" })?);
        // Update id 1: the book service has restarted, and this is a whole book.
        let is_whole = match text(root, "type")? {
            "snapshot" => true,
            "delta" => sequence == 1,
            _ => return Err(DecodeError::Shape("`type` is neither snapshot nor delta")),
        };
        self.levels.clear();
        changes(data, "b", Side::Bid, &mut self.levels)?;
        changes(data, "a", Side::Ask, &mut self.levels)?;
        Ok((is_whole, sequence, at))
    }

    fn level_one(
        &mut self,
        symbol: &str,
        root: Value<'_>,
        received: MonoNs,
        out: &mut Decoded,
    ) -> Result<Frame, DecodeError> {
        let Some(instrument) = self.symbols.find(symbol.as_bytes()) else { return Ok(Frame::Unused) };
        let read = self.levels(symbol, root);
        if let (Err(_), Some(top)) = (&read, self.tops.get_mut(instrument.index())) {
            // A change may be lost, and with it the side that it named.
            *top = LevelOne::default();
        }
        let (is_whole, sequence, at) = out.void_unread(instrument, read)?;
        if is_whole {
            let [bid, ask] = [Side::Bid, Side::Ask].map(|side| best(&self.levels, side).unwrap_or(Level::ABSENT));
            return Ok(self.level_one_snapshot(instrument, LevelOne { bid, ask, sequence, at }, received, out));
        }
        self.level_one_delta(instrument, sequence, (at, received), out).inspect_err(|_| {
            lost(instrument, LEVEL_ONE, symbol, VoidReason::Gap, out);
        })?;
        Ok(Frame::Data)
    }

    /// A book of at most `most` levels a side, or changes of it.
    fn book(
        &mut self,
        symbol: &str,
        (channel, most): (&'static str, usize),
        root: Value<'_>,
        received: MonoNs,
        out: &mut Decoded,
    ) -> Result<Frame, DecodeError> {
        let Some(instrument) = self.symbols.find(symbol.as_bytes()) else { return Ok(Frame::Unused) };
        let read = self.levels(symbol, root);
        let wants_book = self.book_channel() == Some(channel);
        let chain = self.books.entry((instrument, channel)).or_default();
        let (is_whole, sequence, at) = match read {
            Ok(read) => read,
            Err(why) => {
                if chain.depth.void() {
                    lost(instrument, channel, symbol, VoidReason::Undecodable, out);
                } else {
                    out.undecodable(instrument);
                }
                return Err(why);
            }
        };
        let after = sequence.checked_sub(1).filter(|_| !is_whole);
        let link = ChainLink { after, number: Some(sequence), at };
        // The book service has restarted, which no stamp needs to show.
        if sequence == 1 && chain.sequence() > 1 && at >= chain.at() && chain.depth.void() {
            out.updates.push(Update::Void(instrument, VoidReason::Gap));
        }
        let is_new = if is_whole {
            chain.replace(instrument, (link, received), &mut self.levels, out)
        } else {
            chain.follow(link, &self.levels, received).inspect_err(|why| {
                why.loss().into_iter().for_each(|reason| lost(instrument, channel, symbol, reason, out));
            })?
        };
        if is_new {
            chain.depth.truncate(most);
            chain.depth.publish(TopStamp { instrument, sequence, exchange_time: at, channel }, out);
            if wants_book {
                chain.note(instrument, out);
            }
        }
        Ok(Frame::Data)
    }

    /// Recordings of 2023 have deltas of level one; a side that is not named stays.
    fn level_one_delta(
        &mut self,
        instrument: InstrumentId,
        sequence: u64,
        (at, received): (UnixNs, MonoNs),
        out: &mut Decoded,
    ) -> Result<(), DecodeError> {
        let is_anew = self.sequences.begins_anew(instrument, sequence, at, received);
        let Some(top) = self.tops.get_mut(instrument.index()).filter(|top| top.sequence != 0) else { return Ok(()) };
        if sequence <= top.sequence && !is_anew {
            return Ok(());
        }
        if is_anew || sequence != top.sequence.saturating_add(1) {
            *top = LevelOne::default();
            return Err(DecodeError::Gap);
        }
        for (side, known) in [(Side::Bid, &mut top.bid), (Side::Ask, &mut top.ask)] {
            let is_removed = |c: &LevelChange| c.side == side && c.level.size.is_zero() && c.level.price == known.price;
            if let Some(now) = best(&self.levels, side) {
                *known = now;
            } else if self.levels.iter().any(is_removed) {
                *known = Level::ABSENT;
            }
        }
        (top.sequence, top.at) = (sequence, at);
        let LevelOne { bid, ask, .. } = *top;
        out.updates.push(Update::Top(Top { instrument, bid, ask, sequence, exchange_time: at, channel: LEVEL_ONE }));
        Ok(())
    }
}

/// A book is not to be trusted any more: it is void, and asked for anew.
#[cold]
fn lost(instrument: InstrumentId, channel: &str, symbol: &str, reason: VoidReason, out: &mut Decoded) {
    out.updates.push(Update::Void(instrument, reason));
    for op in ["unsubscribe", "subscribe"] {
        out.requests.push(request("r", op, channel, std::iter::once(symbol)));
    }
}

/// The venue's end of a connection.
#[derive(Default)]
struct BybitExchange {
    subscriptions: ClientSubscriptions,
}

/// The channels that the simulated venue serves.
const SERVED: [&str; 5] = [LEVEL_ONE, DEEP[0].0, DEEP[1].0, DEEP[2].0, "tickers"];

/// The simulated venue's name of every connection.
const CONNECTION: &str = "51a7ed00-spread";

impl ExchangeSide for BybitExchange {
    fn opened(&mut self, _target: &str, _market: &dyn Market, _out: &mut Messages) {}

    fn receive(&mut self, text: &str, market: &dyn Market, out: &mut Messages) {
        let request = serde_json::from_str::<Json>(text).unwrap_or(Json::Null);
        let op = request.get("op").and_then(Json::as_str).unwrap_or_default();
        let reply = |success: bool, message: &str| {
            let mut reply = json!({"success": success, "ret_msg": message, "conn_id": CONNECTION, "op": op});
            if let Some(id) = request.get("req_id") {
                reply["req_id"] = id.clone();
            }
            reply.to_string()
        };
        let args = request.get("args").and_then(Json::as_array);
        let topics: Vec<&str> = args.into_iter().flatten().filter_map(Json::as_str).collect();
        match op {
            "ping" => out.push(reply(true, "pong")),
            "subscribe" | "unsubscribe" if topics.len() > TOPICS_PER_REQUEST => {
                out.push(reply(false, "args size >10"));
            }
            "subscribe" => match topics.iter().find(|topic| parse_topic(topic, market).is_none()) {
                Some(bad) => out.push(reply(false, &format!("error:handler not found,topic:{bad}"))),
                None => {
                    out.push(reply(true, "subscribe"));
                    let known = topics.iter().filter_map(|topic| parse_topic(topic, market));
                    known.for_each(|(channel, quote)| self.subscribe(channel, quote, market.now(), out));
                }
            },
            "unsubscribe" => {
                let topics = topics.iter().filter_map(|topic| topic.rsplit_once('.'));
                topics.for_each(|(channel, native)| self.subscriptions.remove(channel, native));
                out.push(reply(true, "unsubscribe"));
            }
            _ => out.push(reply(false, "error:request is invalid")),
        }
    }

    fn quote(&mut self, quote: &VenueQuote, out: &mut Messages) {
        for subscription in self.subscriptions.of(&quote.native) {
            match subscription.channel.as_str() {
                "tickers" => continue,
                LEVEL_ONE => out.push(book_frame(LEVEL_ONE, None, quote, quote.time)),
                channel => out.push(book_frame(channel, Some(&subscription.last), quote, quote.time)),
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

    /// An unchanged level one is sent again after three seconds, with the same update id.
    fn heartbeat(&mut self, now: UnixNs, out: &mut Messages) {
        for subscription in self.subscriptions.on(LEVEL_ONE) {
            if now.0.saturating_sub(subscription.sent.0) >= 3 * SECOND {
                out.push(book_frame(LEVEL_ONE, None, &subscription.last, now));
                subscription.sent = now;
            }
        }
    }
}

/// The channel of a topic and the state of its instrument, if both exist.
fn parse_topic<'a>(topic: &'a str, market: &dyn Market) -> Option<(&'a str, VenueQuote)> {
    let (channel, native) = topic.rsplit_once('.')?;
    SERVED.contains(&channel).then(|| market.quote(native)).flatten().map(|quote| (channel, quote))
}

impl BybitExchange {
    fn subscribe(&mut self, channel: &str, quote: VenueQuote, now: UnixNs, out: &mut Messages) {
        out.push(match channel {
            "tickers" => ticker_frame(&quote),
            _ => book_frame(channel, None, &quote, now),
        });
        self.subscriptions.add(channel, quote, now);
    }
}

/// A snapshot, or the delta from `last`.
fn book_frame(channel: &str, last: Option<&VenueQuote>, quote: &VenueQuote, sent: UnixNs) -> String {
    let levels = if channel == LEVEL_ONE { 1 } else { ladder::LEVELS };
    let changes = quote.changes(last, levels);
    let step = |side: Side| writing::pairs(&levels_of(&changes, side));
    format!(
        r#"{{"topic":"{channel}.{native}","ts":{},"type":"{}","data":{{"s":"{native}","b":{},"a":{},"u":{u},"seq":{u}}},"cts":{}}}"#,
        sent.ms(),
        if last.is_some() { "delta" } else { "snapshot" },
        step(Side::Bid),
        step(Side::Ask),
        quote.time.ms(),
        native = quote.native,
        u = quote.sequence,
    )
}

fn ticker_frame(quote: &VenueQuote) -> String {
    let day = &quote.day;
    format!(
        r#"{{"topic":"tickers.{native}","ts":{},"type":"snapshot","cs":{},"data":{{"symbol":"{native}","lastPrice":"{}","highPrice24h":"{}","lowPrice24h":"{}","prevPrice24h":"{}","volume24h":"{}","turnover24h":"{}","price24hPcnt":"{:.4}","usdIndexPrice":""}}}}"#,
        quote.time.ms(),
        quote.sequence,
        day.last,
        day.high,
        day.low,
        day.open(),
        if day.last > 0.0 { day.quote_volume / day.last } else { 0.0 },
        day.quote_volume,
        day.change_rate(),
        native = quote.native,
    )
}
