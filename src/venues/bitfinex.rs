//! Bitfinex spot: `book` P0 live, with sequence numbers, stamps and checksums, of 25 levels for tops and of as many as
//! are wanted for order books; `ticker` for the day.
//!
//! Data are arrays `[channel id, payload, sequence, milliseconds]`; ids are given anew with each subscription, and
//! the sequence counts all messages of a connection. Numbers are bare. The ticker's sizes are sums of 25 levels,
//! so it is never a quote. Called on the feed's thread; keeps a book for each `book` channel.

use std::collections::BTreeSet;
use std::io::Write as _;

use flate2::Crc;
use rustc_hash::FxHashMap;
use serde_json::{Value as Json, json};

use crate::market::book::{Book, Side};
use crate::market::decimal::DecimalError;
use crate::market::quote::StampOrder;
use crate::market::statistics::{self, DayStatistics};
use crate::market::{Decimal, InstrumentId, Level};
use crate::time::{MonoNs, SECOND, UnixNs};
use crate::venues::codes::{Codes, alias, other, unit};
use crate::venues::depth::{Depth, LevelChange};
use crate::venues::listing::{self, Listing, ListingEntry};
use crate::venues::reading::{self, text};
use crate::venues::{
    BookFacts, BookNote, Check, Cut, DecodeError, Decoded, ExchangeSide, Facts, FeedCodec, Frame, Keepalive,
    Maintenance, Market, Messages, Notice, Opening, Pace, Requests, StampFacts, Symbols, Top, Update, Venue,
    VenueLimits, VenueQuote, VoidReason,
};
use crate::wire::json::{Parser, Scan, Value};

/// Bitfinex, spot.
pub(crate) struct Bitfinex;

/// <https://docs.bitfinex.com/docs/ws-general>, `/ws-public-books` and `/ws-websocket-checksum`, read 2026-11-21:
/// 25 channels a connection, 20 connections a minute; a heartbeat each 15 s on a channel without data. The press
/// has had a zero fee since 2025-12, which no page of the venue that was found confirms: the fee before it stays.
static FACTS: Facts = Facts {
    name: "bitfinex",
    title: "Bitfinex",
    address: "wss://api-pub.bitfinex.com/ws/2",
    opening: Opening::Direct,
    taker_fee_pct: "0.20",
    keepalive: Keepalive::Client { every_ms: 15_000, cut: Cut::Never },
    message_max: 1 << 20,
    request_gap_ms: 100,
    channel: "book",
    books: Some(BookFacts { channel: "book", levels_max: 250, check: Check::Checksum }),
    // No recorded stamps of tops; their order is unknown.
    stamps: StampFacts { order: StampOrder::None, ..StampFacts::MILLISECONDS },
    limits: VenueLimits { instruments: 12, connects: Pace { count: 20, per_ms: 60_000 }, ..VenueLimits::UNPUBLISHED },
    docs: "https://docs.bitfinex.com/docs/ws-public-books (2026-11-21)",
};

/// Codes that mean something else elsewhere (ccxt 4.5.90, `commonCurrencies`, read 2026-11-29); the aliases are those of
/// <https://api-pub.bitfinex.com/v2/conf/pub:map:currency:sym>. DOG is a million Dogecoins
/// (<https://github.com/bitfinexcom/bfx-report-ui/pull/470>); BCHN is Bitcoin Cash, which has not been listed as BCH
/// since the fork of 2020-11 (<https://github.com/ccxt/ccxt/issues/8022>).
const CODES: Codes = Codes {
    venue: "Bitfinex",
    table: &[
        alias("UST", "USDT"),
        alias("UDC", "USDC"),
        alias("EUT", "EURT"),
        alias("EUS", "EURS"),
        alias("TSD", "TUSD"),
        alias("ALG", "ALGO"),
        alias("AMP", "AMPL"),
        alias("ATO", "ATOM"),
        alias("BCHABC", "XEC"),
        alias("BCHN", "BCH"),
        alias("DAT", "DATA"),
        alias("DSH", "DASH"),
        alias("EDO", "PNT"),
        alias("IDX", "ID"),
        alias("IOT", "IOTA"),
        alias("IQX", "IQ"),
        alias("LUNA", "LUNC"),
        alias("LUNA2", "LUNA"),
        alias("MNA", "MANA"),
        alias("PAS", "PASS"),
        alias("QSH", "QASH"),
        alias("QTM", "QTUM"),
        alias("RBT", "RBTC"),
        alias("SNG", "SNGLS"),
        alias("STJ", "STORJ"),
        alias("TERRAUST", "USTC"),
        alias("VSY", "VSYS"),
        alias("WAX", "WAXP"),
        alias("YYW", "YOYOW"),
        alias("HTX", "HT"),
        other("ORS", "ORSGROUP"),
        alias("WBT", "WBTC"),
        alias("XCH", "XCHF"),
        alias("YGG", "YEED"),
        alias("ZBT", "ZB"),
        unit("DOG", "MDOGE"),
    ],
};

/// Channels that a connection may have. Books come first, the day's figures have what is left.
const CHANNELS_MAX: usize = 25;
/// Channels that a recording may open; one more is refused.
const KNOWN_MAX: usize = 1000;

/// Options of a connection: a stamp and a sequence number behind each payload, checksums of books, and the changes of
/// one moment in one message, so that no top is seen half changed.
const TIMESTAMP: u64 = 32_768;
const SEQ_ALL: u64 = 65_536;
const OB_CHECKSUM: u64 = 131_072;
const BULK_UPDATES: u64 = 536_870_912;

/// How many levels a side a book may be asked for with (1 as well, which no checksum covers). What leaves the window is
/// told as removed before what enters it: a recording of 2021-04 with 100 levels never has more of them.
const LENGTHS: [usize; 3] = [25, 100, 250];

/// Levels a side that the checksum covers.
const CHECKSUM_LEVELS: usize = 25;

/// Base and quote of a spot symbol, in the venue's codes; `None` for paper trading and derivatives.
fn spot_codes(native: &str) -> Option<(&str, &str)> {
    let pair = native.strip_prefix('t')?;
    let (base, quote) = match pair.split_once(':') {
        Some(parts) => parts,
        None if pair.len() == 6 => pair.split_at_checked(3)?,
        None => return None,
    };
    let is_spot = |code: &str| !code.starts_with("TEST") && !code.ends_with("F0");
    (is_spot(base) && is_spot(quote)).then_some((base, quote))
}

impl Venue for Bitfinex {
    fn facts(&self) -> &'static Facts {
        &FACTS
    }

    fn codes(&self) -> Codes {
        CODES
    }

    fn native(&self, base: &str, quote: &str) -> Result<String, String> {
        let [base, quote] = CODES.native(base, quote)?;
        let colon = if base.len() == 3 && quote.len() == 3 { "" } else { ":" };
        Ok(format!("t{base}{colon}{quote}"))
    }

    fn symbol_of(&self) -> fn(&str) -> Option<String> {
        |native| {
            let (base, quote) = spot_codes(native)?;
            CODES.symbol(base, quote)
        }
    }

    fn codec(&self, symbols: Symbols) -> Box<dyn FeedCodec> {
        Box::new(BitfinexCodec {
            parser: Parser::default(),
            feed: BitfinexState { symbols, ..BitfinexState::default() },
        })
    }

    fn book_codec(&self, symbols: Symbols, levels: usize) -> Option<Box<dyn FeedCodec>> {
        Some(Box::new(BitfinexCodec {
            parser: Parser::default(),
            feed: BitfinexState { symbols, levels, ..BitfinexState::default() },
        }))
    }

    fn listing(&self) -> Listing {
        Listing { address: "https://api-pub.bitfinex.com", path: "/v2/conf/pub:list:pair:exchange" }
    }

    fn read_listing(&self, reply: &[u8]) -> Result<Vec<ListingEntry>, DecodeError> {
        listing::read(
            reply,
            &CODES,
            |root| root.at(0).filter(Value::is_array).map(|pairs| pairs.items().collect()),
            |pair| {
                let native = format!("t{}", pair.text()?);
                let (base, quote) = spot_codes(&native)?;
                let [base, quote] = [base, quote].map(str::to_owned);
                // What is listed is traded; prices have five significant digits, which is no fixed step.
                Some(ListingEntry { base, quote, native, is_trading: true, ..ListingEntry::default() })
            },
        )
    }

    fn exchange_side(&self) -> Box<dyn ExchangeSide> {
        Box::new(BitfinexExchange::default())
    }

    fn rest(&self, method: &str, target: &str, _base: &str, market: &dyn Market) -> Option<String> {
        if method != "GET" {
            return None;
        }
        let listed = market.listed();
        let pairs = listed.iter().filter_map(|entry| entry.native.strip_prefix('t'));
        let rows: Vec<Json> = match target.split('?').next()? {
            "/v2/conf/pub:list:pair:exchange" => pairs.map(Json::from).collect(),
            "/v2/conf/pub:info:pair" => {
                let limits = json!([null, null, null, "0.00001", "2000.0", null, null, null, null, null, null, null]);
                pairs.map(|pair| json!([pair, limits])).collect()
            }
            "/v2/conf/pub:list:currency" => {
                let codes = listed.iter().flat_map(|it| CODES.native(&it.base, &it.quote).into_iter().flatten());
                let codes: BTreeSet<&str> = codes.collect();
                codes.into_iter().map(Json::from).collect()
            }
            "/v2/conf/pub:list:pair:futures" => Vec::new(),
            "/v2/conf/pub:map:currency:sym" => {
                CODES.table.iter().map(|code| json!([code.native, code.canonical])).collect()
            }
            _ => return None,
        };
        Some(json!([rows]).to_string())
    }
}

struct BitfinexCodec {
    parser: Parser,
    feed: BitfinexState,
}

/// What is remembered of one connection.
#[derive(Default)]
struct BitfinexState {
    symbols: Symbols,
    /// Levels a side that order books are wanted with; 0: tops are wanted.
    levels: usize,
    channels: FxHashMap<u64, BitfinexChannel>,
    /// What the venue has granted of the options.
    flags: u64,
    /// The last sequence number, where there are any.
    sequence: Option<u64>,
    halted: bool,
    changes: Vec<LevelChange>,
    /// The form of the numbers of some of the changes.
    written: Vec<(LevelChange, [Written; 2])>,
    checksum_text: Vec<u8>,
}

struct BitfinexChannel {
    instrument: InstrumentId,
    kind: BitfinexChannelKind,
    depth: Depth,
    /// Numbers of the book that were sent in another form than [`Decimal::write_verbatim`] gives.
    written: FxHashMap<(Side, (u64, u8)), [Written; 2]>,
    /// It is being closed, to be opened anew.
    is_leaving: bool,
}

impl BitfinexChannel {
    /// Takes `changes` as the whole book; `written` has the form of the numbers of some.
    fn replace(&mut self, changes: &mut [LevelChange], written: &[(LevelChange, [Written; 2])]) {
        self.depth.replace(changes);
        self.written.clear();
        self.note(written);
    }

    /// Applies `changes` to the book.
    #[inline]
    fn apply(&mut self, changes: &[LevelChange], written: &[(LevelChange, [Written; 2])]) {
        self.depth.apply(changes);
        if !self.written.is_empty() {
            for change in changes {
                self.written.remove(&place_of(change));
            }
        }
        self.note(written);
    }

    fn note(&mut self, written: &[(LevelChange, [Written; 2])]) {
        let present = written.iter().filter(|(change, _)| change.level.is_present());
        self.written.extend(present.map(|(change, texts)| (place_of(change), *texts)));
    }
}

/// Side and price of a level, whatever form the price was sent in.
fn place_of(change: &LevelChange) -> (Side, (u64, u8)) {
    let price = change.level.price.normalised();
    (change.side, (price.mantissa(), price.scale()))
}

/// The text of a number as it was sent.
#[derive(Clone, Copy)]
struct Written {
    length: u8,
    bytes: [u8; WRITTEN_MAX],
}

/// Longest stored text of a number. JavaScript writes no longer ones.
const WRITTEN_MAX: usize = 30;

impl Written {
    /// `None`: it is too long.
    fn new(text: &str) -> Option<Self> {
        let mut bytes = [0; WRITTEN_MAX];
        bytes.get_mut(..text.len())?.copy_from_slice(text.as_bytes());
        Some(Self { length: text.len() as u8, bytes })
    }

    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

/// Whether `number` was sent in another form than [`Decimal::write_verbatim`] gives.
fn is_rewritten(text: &str, number: Decimal) -> bool {
    let is_plain = text.len() <= 19 && !text.contains(['e', 'E']) && (!text.starts_with('0') || text.starts_with("0."));
    let mut verbatim = Vec::new();
    !is_plain && text != "0" && {
        number.write_verbatim(&mut verbatim);
        verbatim != text.as_bytes()
    }
}

/// The channel id at the start of a data message.
#[cold]
fn channel_of(frame: &[u8]) -> Option<u64> {
    let mut scan = Scan::new(frame.trim_ascii_start());
    scan.literal(b"[")?;
    scan.integer()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum BitfinexChannelKind {
    Book,
    Ticker,
    /// Trades, candles, rounded and raw books.
    Other,
}

impl FeedCodec for BitfinexCodec {
    fn opened(&mut self, requests: &mut Requests) {
        let feed = &mut self.feed;
        feed.channels.clear();
        (feed.flags, feed.sequence, feed.halted) = (0, None, false);
        let flags = TIMESTAMP + SEQ_ALL + OB_CHECKSUM + BULK_UPDATES;
        requests.push(format!(r#"{{"event":"conf","flags":{flags}}}"#));
        let natives = || feed.symbols.entries().iter().map(|entry| entry.native.as_str());
        let room = CHANNELS_MAX.saturating_sub(feed.symbols.entries().len());
        requests.extend(natives().map(|native| book_request(native, feed.levels)));
        if feed.levels == 0 {
            requests.extend(natives().take(room).map(ticker_request));
        }
    }

    fn read(&mut self, frame: &[u8], received: MonoNs, out: &mut Decoded) -> Result<Frame, DecodeError> {
        let feed = &mut self.feed;
        if let Some((id, time)) = feed.scan(frame) {
            let Some(channel) = feed.channels.get_mut(&id) else { return Ok(Frame::Unused) };
            channel.apply(&feed.changes, &[]);
            return feed.changed(id, time, received, out);
        }
        match self.parser.parse(frame, |root| feed.read(root, received, out)) {
            Ok(read) => read,
            Err(why) => {
                // Data name no symbol, but their channel.
                if let Some(id) = channel_of(frame) {
                    feed.lose(id, VoidReason::Undecodable, out);
                }
                Err(why.into())
            }
        }
    }

    /// A channel is closed by its number; when that is done it is opened anew.
    fn resubscribe(&mut self, instruments: &[InstrumentId], requests: &mut Requests) {
        let mut out = Decoded::default();
        for &id in instruments {
            let is_its_book =
                |channel: &BitfinexChannel| channel.instrument == id && channel.kind == BitfinexChannelKind::Book;
            let open = self.feed.channels.iter().find(|(_, channel)| is_its_book(channel)).map(|(number, _)| *number);
            match open {
                Some(number) => {
                    // Again, in case the request to close it had no effect.
                    self.feed.channels.entry(number).and_modify(|channel| channel.is_leaving = false);
                    self.feed.lose(number, VoidReason::Gap, &mut out);
                }
                None => {
                    let levels = self.feed.levels;
                    requests.extend(self.feed.symbols.natives(&[id]).map(|native| book_request(native, levels)));
                }
            }
        }
        requests.append(&mut out.requests);
    }

    fn keepalive(&mut self, requests: &mut Requests) {
        requests.push(r#"{"event":"ping","cid":1}"#.to_owned());
    }

    fn symbols(&self) -> &Symbols {
        &self.feed.symbols
    }

    fn book(&self, instrument: InstrumentId) -> Option<&Book> {
        let is_its_book = |it: &&BitfinexChannel| {
            it.instrument == instrument && it.kind == BitfinexChannelKind::Book && it.depth.is_live()
        };
        self.feed.channels.values().find(is_its_book).filter(|_| !self.feed.halted).map(|channel| channel.depth.book())
    }
}

/// For a book of at least so many levels, or of all that can be had.
fn book_request(native: &str, levels: usize) -> String {
    let length = LENGTHS.into_iter().find(|length| *length >= levels).unwrap_or(LENGTHS[LENGTHS.len() - 1]);
    format!(r#"{{"event":"subscribe","channel":"book","symbol":"{native}","prec":"P0","freq":"F0","len":"{length}"}}"#)
}

fn ticker_request(native: &str) -> String {
    format!(r#"{{"event":"subscribe","channel":"ticker","symbol":"{native}"}}"#)
}

impl BitfinexState {
    /// The fast path: changes of a live book, in order, with both numbers behind them. Reads them into `changes` and
    /// counts the message; gives the channel and the time.
    #[inline]
    fn scan(&mut self, frame: &[u8]) -> Option<(u64, UnixNs)> {
        let mut scan = Scan::new(frame);
        scan.literal(b"[")?;
        let id = scan.integer()?;
        scan.literal(b",[")?;
        self.changes.clear();
        if scan.next_is(b'[') {
            // Without this option a list is a snapshot.
            if self.flags & BULK_UPDATES == 0 {
                return None;
            }
            loop {
                scan.literal(b"[")?;
                self.changes.push(scan_change(&mut scan)?);
                if scan.literal(b",").is_none() {
                    break;
                }
            }
            scan.literal(b"]")?;
        } else {
            self.changes.push(scan_change(&mut scan)?);
        }
        scan.literal(b",")?;
        let sequence = scan.integer()?;
        scan.literal(b",")?;
        let time = scan.integer()?;
        scan.literal(b"]")?;
        scan.end()?;
        let channel = self.channels.get(&id)?;
        let is_next = self.sequence == sequence.checked_sub(1).filter(|_| sequence < STAMPS_FROM);
        if channel.kind != BitfinexChannelKind::Book || !channel.depth.is_live() || !is_next || time < STAMPS_FROM {
            return None;
        }
        self.sequence = Some(sequence);
        Some((id, reading::time(time)))
    }

    /// A live book has changed: publishes its top, or says that it did.
    #[inline]
    fn changed(
        &mut self,
        id: u64,
        exchange_time: UnixNs,
        received: MonoNs,
        out: &mut Decoded,
    ) -> Result<Frame, DecodeError> {
        let Some(channel) = self.channels.get_mut(&id) else { return Ok(Frame::Unused) };
        if channel.depth.is_crossed_too_long(received) {
            self.lose(id, VoidReason::Crossed, out);
            return Err(DecodeError::Crossed);
        }
        if self.halted {
            return Ok(Frame::Data);
        }
        let instrument = channel.instrument;
        if let Some((bid, ask)) = channel.depth.changed_top() {
            out.updates.push(Update::Top(Top { instrument, bid, ask, sequence: 0, exchange_time, channel: "book" }));
        }
        if self.levels > 0 {
            out.updates.push(Update::Book(BookNote { instrument, sequence: 0, exchange_time }));
        }
        Ok(Frame::Data)
    }
}

/// Numbers behind a payload from here on are stamps in milliseconds (of 2001 and later), below sequence numbers.
const STAMPS_FROM: u64 = 1_000_000_000_000;

/// `price,count,amount]`. Numbers in another form than the checksum would have them go the general way.
#[inline(always)]
fn scan_change(scan: &mut Scan<'_>) -> Option<LevelChange> {
    let price = scan.decimal()?;
    scan.literal(b",")?;
    let count = scan.integer()?;
    scan.literal(b",")?;
    let side = if scan.literal(b"-").is_some() { Side::Ask } else { Side::Bid };
    // Two signs are none.
    if scan.next_is(b'-') {
        return None;
    }
    let amount = scan.decimal()?;
    scan.literal(b"]")?;
    change(price, count, side, amount).ok()
}

/// A count of 0 removes the level; the amount is then 1 or -1 and only names the side.
fn change(price: Decimal, count: u64, side: Side, amount: Decimal) -> Result<LevelChange, DecodeError> {
    if price.is_zero() || amount.is_zero() {
        return Err(DecodeError::Shape("a level at price 0 or of no amount"));
    }
    Ok(LevelChange { side, level: Level { price, size: if count == 0 { Decimal::ZERO } else { amount } } })
}

/// The general path.
impl BitfinexState {
    fn read(&mut self, root: Value<'_>, received: MonoNs, out: &mut Decoded) -> Result<Frame, DecodeError> {
        if root.is_array() {
            return self.data(root, received, out);
        }
        match text(root, "event")? {
            "subscribed" => self.subscribed(root, out),
            "unsubscribed" => {
                let channel = root.get("chanId").and_then(|id| self.channels.remove(&id.integer()?));
                if let Some(left) = channel.filter(|channel| channel.is_leaving)
                    && let Some(entry) = self.symbols.entry(left.instrument)
                {
                    out.requests.push(match left.kind {
                        BitfinexChannelKind::Book => book_request(&entry.native, self.levels),
                        BitfinexChannelKind::Ticker | BitfinexChannelKind::Other => ticker_request(&entry.native),
                    });
                }
                Ok(Frame::Control)
            }
            "conf" => {
                if root.text_of("status") == Some("OK") {
                    self.flags = root.get("flags").and_then(|flags| flags.integer()).unwrap_or(0);
                } else {
                    out.updates.push(Update::Refused("the options of the connection were refused".to_owned()));
                }
                Ok(Frame::Control)
            }
            "error" => {
                let symbol = root.text_of("symbol").or(root.text_of("pair")).unwrap_or_default();
                let why = root.text_of("msg").or(root.text_of("code")).unwrap_or("refused without a reason");
                out.updates.push(Update::Refused(format!("{symbol} {why}").trim_start().to_owned()));
                Ok(Frame::Control)
            }
            "info" => {
                self.notice(root, out);
                Ok(Frame::Control)
            }
            _ => Ok(Frame::Control),
        }
    }

    /// The venue's information about itself.
    fn notice(&mut self, root: Value<'_>, out: &mut Decoded) {
        let status = root.get("platform").and_then(|platform| platform.get("status")?.integer());
        match root.get("code").and_then(|code| code.integer()) {
            Some(20_051) => out.updates.push(Update::Notice(Notice::Leaving("the venue stops or restarts its server"))),
            Some(20_060) => self.halt(out),
            Some(20_061) => {
                self.resume(out);
                let mut ids: Vec<u64> = self.channels.keys().copied().collect();
                ids.sort_unstable();
                ids.into_iter().for_each(|id| self.lose(id, VoidReason::Halt, out));
            }
            None if status == Some(0) => self.halt(out),
            None if status == Some(1) => self.resume(out),
            _ => {}
        }
    }

    /// Nothing is quoted until the maintenance is over.
    fn halt(&mut self, out: &mut Decoded) {
        if !std::mem::replace(&mut self.halted, true) {
            out.updates.push(Update::Notice(Notice::Maintenance));
        }
        out.updates.push(Update::System(false));
        self.channels.values_mut().for_each(|channel| channel.depth.forget_published());
        out.updates.extend(self.symbols.entries().iter().map(|entry| Update::Void(entry.id, VoidReason::Halt)));
    }

    fn resume(&mut self, out: &mut Decoded) {
        if std::mem::replace(&mut self.halted, false) {
            out.updates.push(Update::Notice(Notice::Resumed));
        }
        out.updates.push(Update::System(true));
    }

    fn subscribed(&mut self, root: Value<'_>, out: &mut Decoded) -> Result<Frame, DecodeError> {
        let id = root.get("chanId").and_then(|id| id.integer()).ok_or(DecodeError::Missing("chanId"))?;
        let kind = match text(root, "channel")? {
            "book" if root.text_of("prec").is_none_or(|precision| precision == "P0") => BitfinexChannelKind::Book,
            "ticker" => BitfinexChannelKind::Ticker,
            _ => BitfinexChannelKind::Other,
        };
        let symbol = root.text_of("symbol").unwrap_or_default();
        let Some(instrument) = self.symbols.find(symbol.as_bytes()) else { return Ok(Frame::Control) };
        if self.channels.len() >= KNOWN_MAX {
            return Err(DecodeError::Shape("more channels than a connection can have"));
        }
        self.channels.insert(
            id,
            BitfinexChannel {
                instrument,
                kind,
                depth: Depth::default(),
                written: FxHashMap::default(),
                is_leaving: false,
            },
        );
        if kind == BitfinexChannelKind::Book {
            out.updates.push(Update::Subscribed(instrument));
        }
        Ok(Frame::Control)
    }

    /// `[channel id, payload, …]`: the payload is a list, or a word with what belongs to it.
    fn data(&mut self, root: Value<'_>, received: MonoNs, out: &mut Decoded) -> Result<Frame, DecodeError> {
        let id = root.at(0).and_then(|id| id.integer()).ok_or(DecodeError::Missing("channel id"))?;
        let payload = root.at(1).ok_or(DecodeError::Missing("payload"))?;
        let (word, rest) = match payload.text() {
            None => ("", 2),
            Some("hb") => ("hb", 2),
            Some(word) => (word, 3),
        };
        let (sequence, time) = behind(root, rest);
        if sequence.is_some() && sequence == self.sequence {
            // Once is enough.
            return Ok(Frame::Control);
        }
        let in_order = self.count(sequence, out);
        let mark = out.updates.len();
        let read = match word {
            "" if payload.is_array() => self.payload(id, payload, time, received, out),
            "" => {
                if self.channels.get(&id).is_some_and(|channel| channel.kind == BitfinexChannelKind::Book) {
                    self.lose(id, VoidReason::Undecodable, out);
                }
                Err(DecodeError::Missing("payload"))
            }
            "hb" => Ok(Frame::Control),
            "cs" => self.check(id, root.at(2), out),
            _ => Ok(Frame::Unused),
        };
        // What a snapshot says is not the worse for what was lost before it.
        let is_quote = out.updates[mark..].iter().any(|update| matches!(update, Update::Top(_)));
        read.and_then(|frame| if is_quote { Ok(frame) } else { in_order.map(|()| frame) })
    }

    /// Notes the message's sequence number. A jump, back or forth, means that messages were lost or the count has
    /// begun anew: no book is to be trusted.
    fn count(&mut self, sequence: Option<u64>, out: &mut Decoded) -> Result<(), DecodeError> {
        let Some(sequence) = sequence else { return Ok(()) };
        let last = self.sequence.replace(sequence);
        if last.is_none_or(|last| last.checked_add(1) == Some(sequence)) {
            return Ok(());
        }
        let mut lost: Vec<u64> = self.channels.iter().filter(|(_, it)| it.depth.is_live()).map(|(id, _)| *id).collect();
        lost.sort_unstable();
        let is_any = !lost.is_empty();
        lost.into_iter().for_each(|id| self.lose(id, VoidReason::Gap, out));
        if is_any { Err(DecodeError::Gap) } else { Ok(()) }
    }

    fn payload(
        &mut self,
        id: u64,
        payload: Value<'_>,
        time: UnixNs,
        received: MonoNs,
        out: &mut Decoded,
    ) -> Result<Frame, DecodeError> {
        let Some(channel) = self.channels.get_mut(&id) else { return Ok(Frame::Unused) };
        match channel.kind {
            BitfinexChannelKind::Other => Ok(Frame::Unused),
            BitfinexChannelKind::Ticker => {
                out.updates.extend(statistics(payload, channel.instrument, time).map(Update::Statistics));
                Ok(Frame::Data)
            }
            BitfinexChannelKind::Book => {
                // With bulk updates a list could be the changes of a book that is void; the snapshot comes with
                // the next subscription.
                if channel.is_leaving && self.flags & BULK_UPDATES != 0 {
                    return Ok(Frame::Data);
                }
                let is_list = payload.at(0).is_none_or(|first| first.is_array());
                let is_change = !is_list || (channel.depth.is_live() && self.flags & BULK_UPDATES != 0);
                if let Err(why) = read_changes(payload, is_list, &mut self.changes, &mut self.written) {
                    // What it said is lost, so the book is.
                    self.lose(id, VoidReason::Undecodable, out);
                    return Err(why);
                }
                if !is_change {
                    channel.replace(&mut self.changes, &self.written);
                } else if channel.depth.is_live() {
                    channel.apply(&self.changes, &self.written);
                } else {
                    return Ok(Frame::Data);
                }
                self.changed(id, time, received, out)
            }
        }
    }

    /// Holds a book against the venue's checksum.
    fn check(&mut self, id: u64, sum: Option<Value<'_>>, out: &mut Decoded) -> Result<Frame, DecodeError> {
        let sum: i32 = sum.and_then(|sum| sum.text()?.parse().ok()).ok_or(DecodeError::Missing("checksum"))?;
        let Some(channel) = self.channels.get(&id).filter(|channel| channel.depth.is_live()) else {
            return Ok(Frame::Control);
        };
        let as_sent = |change: &LevelChange, field: LevelField, text: &mut Vec<u8>| match channel
            .written
            .get(&place_of(change))
        {
            Some(written) => text.extend_from_slice(written[field as usize].as_bytes()),
            None => field.of(change.level).write_verbatim(text),
        };
        if checksum(channel.depth.book(), &mut self.checksum_text, as_sent) == sum {
            return Ok(Frame::Control);
        }
        self.lose(id, VoidReason::Checksum, out);
        Err(DecodeError::Checksum)
    }

    /// A channel is not to be trusted any more: its book is void, it is closed and, when that is done, opened anew.
    #[cold]
    fn lose(&mut self, id: u64, why: VoidReason, out: &mut Decoded) {
        let Some(channel) = self.channels.get_mut(&id).filter(|channel| channel.kind != BitfinexChannelKind::Other)
        else {
            return;
        };
        channel.written.clear();
        if channel.depth.void() {
            out.updates.push(Update::Void(channel.instrument, why));
        }
        if !std::mem::replace(&mut channel.is_leaving, true) {
            out.requests.push(format!(r#"{{"event":"unsubscribe","chanId":{id}}}"#));
        }
    }
}

/// Sequence number and time from the place `rest` on; either may be missing.
fn behind(root: Value<'_>, rest: usize) -> (Option<u64>, UnixNs) {
    let number = |at| root.at(at).and_then(|number| number.integer());
    match (number(rest), number(rest + 1)) {
        (Some(stamp), _) if stamp >= STAMPS_FROM => (None, reading::time(stamp)),
        (sequence, stamp) => (sequence, stamp.map(reading::time).unwrap_or_default()),
    }
}

/// Reads `[price, count, amount]`, or a list of such; applies nothing.
fn read_changes(
    payload: Value<'_>,
    is_list: bool,
    changes: &mut Vec<LevelChange>,
    written: &mut Vec<(LevelChange, [Written; 2])>,
) -> Result<(), DecodeError> {
    written.clear();
    let mut read = |entry: Value<'_>| -> Result<LevelChange, DecodeError> {
        let text = entry.at(0).and_then(|price| price.text()).ok_or(DecodeError::Missing("price"))?;
        let price = Decimal::parse(text.as_bytes()).map_err(|why| DecodeError::Number("price", why))?;
        let count = entry.at(1).and_then(|count| count.integer()).ok_or(DecodeError::Missing("count"))?;
        let amount = entry.at(2).and_then(|amount| amount.text()).ok_or(DecodeError::Missing("amount"))?;
        let (side, digits) = match amount.strip_prefix('-') {
            Some(digits) => (Side::Ask, digits),
            None => (Side::Bid, amount),
        };
        let amount = Decimal::parse(digits.as_bytes()).map_err(|why| DecodeError::Number("amount", why))?;
        let change = change(price, count, side, amount)?;
        if is_rewritten(text, price) || is_rewritten(digits, amount) {
            let texts = Written::new(text).zip(Written::new(digits));
            let (price, amount) = texts.ok_or(DecodeError::Number("price", DecimalError::TooLong))?;
            written.push((change, [price, amount]));
        }
        Ok(change)
    };
    changes.clear();
    if !is_list {
        changes.push(read(payload)?);
        return Ok(());
    }
    for entry in payload.items() {
        changes.push(read(entry)?);
    }
    Ok(())
}

/// CRC32 over the best 25 levels, bid and ask in turn, `price:amount`, asks with a minus, joined by colons; as a signed
/// number. `number` writes price and amount of a level, each in the very form in which it is sent, such as `8.4e-7`
/// (<https://github.com/bitfinexcom/bfx-api-node-models/issues/70>,
/// <https://github.com/bitfinexcom/bitfinex-api-go/pull/150>).
fn checksum(book: &Book, text: &mut Vec<u8>, number: impl Fn(&LevelChange, LevelField, &mut Vec<u8>)) -> i32 {
    text.clear();
    let mut bids = book.levels(Side::Bid).take(CHECKSUM_LEVELS);
    let mut asks = book.levels(Side::Ask).take(CHECKSUM_LEVELS);
    loop {
        let pair = [(bids.next(), Side::Bid), (asks.next(), Side::Ask)];
        if pair.iter().all(|(level, _)| level.is_none()) {
            break;
        }
        for (level, side) in pair.into_iter().filter_map(|(level, side)| Some((*level?, side))) {
            let change = LevelChange { side, level };
            number(&change, LevelField::Price, text);
            text.push(b':');
            if side == Side::Ask {
                text.push(b'-');
            }
            number(&change, LevelField::Amount, text);
            text.push(b':');
        }
    }
    text.pop();
    let mut crc = Crc::new();
    crc.update(text);
    crc.sum().cast_signed()
}

/// A number of a level.
#[derive(Clone, Copy)]
enum LevelField {
    Price,
    Amount,
}

impl LevelField {
    const fn of(self, level: Level) -> Decimal {
        match self {
            Self::Price => level.price,
            Self::Amount => level.size,
        }
    }
}

/// The last 24 hours. The venue gives the volume in base currency; times the last price it is about the quote volume.
fn statistics(payload: Value<'_>, instrument: InstrumentId, exchange_time: UnixNs) -> Option<DayStatistics> {
    let figure = |at| payload.at(at).and_then(|number| number.float());
    let last = figure(6)?;
    Some(DayStatistics {
        instrument,
        last,
        high: figure(8)?,
        low: figure(9)?,
        change: figure(4)?,
        change_pct: statistics::hundredfold(figure(5)?),
        quote_volume: statistics::product(figure(7)?, last),
        exchange_time,
    })
}

/// The venue's end of a connection.
#[derive(Default)]
struct BitfinexExchange {
    flags: u64,
    sequence: u64,
    subscriptions: Vec<BitfinexSubscription>,
    opened: u64,
}

struct BitfinexSubscription {
    id: u64,
    is_book: bool,
    /// Levels a side of a book.
    length: usize,
    /// What was sent last.
    shown: VenueQuote,
    spoke: UnixNs,
}

/// A channel without data says so this often.
const HEARTBEAT_EVERY: u64 = 15 * SECOND;

impl ExchangeSide for BitfinexExchange {
    fn opened(&mut self, _target: &str, _market: &dyn Market, out: &mut Messages) {
        let info = json!({"event": "info", "version": 2, "serverId": "simulated", "platform": {"status": 1}});
        out.push(info.to_string());
    }

    fn receive(&mut self, text: &str, market: &dyn Market, out: &mut Messages) {
        let request = serde_json::from_str::<Json>(text).unwrap_or(Json::Null);
        match request.get("event").and_then(Json::as_str) {
            Some("ping") => {
                out.push(json!({"event": "pong", "ts": market.now().ms(), "cid": request.get("cid")}).to_string());
            }
            Some("conf") => {
                self.flags = request.get("flags").and_then(Json::as_u64).unwrap_or(0);
                out.push(json!({"event": "conf", "status": "OK", "flags": self.flags}).to_string());
            }
            Some("subscribe") => self.subscribe(&request, market, out),
            Some("unsubscribe") => {
                let id = request.get("chanId").and_then(Json::as_u64);
                self.subscriptions.retain(|known| Some(known.id) != id);
                out.push(json!({"event": "unsubscribed", "status": "OK", "chanId": id}).to_string());
            }
            _ => out.push(json!({"event": "error", "msg": "event: unknown", "code": 10_000}).to_string()),
        }
    }

    fn quote(&mut self, quote: &VenueQuote, out: &mut Messages) {
        let Self { flags, sequence, subscriptions, .. } = self;
        for known in subscriptions.iter_mut().filter(|known| known.is_book && known.shown.native == quote.native) {
            let mut changes: Vec<String> =
                quote.changes(Some(&known.shown), known.length).iter().map(written).collect();
            known.shown = quote.clone();
            known.spoke = quote.time;
            if *flags & BULK_UPDATES != 0 && !changes.is_empty() {
                changes = vec![format!("[{}]", changes.join(","))];
            }
            for change in changes {
                out.push(message(*flags, sequence, known.id, &change, quote.time));
            }
        }
    }

    fn statistics(&mut self, quote: &VenueQuote, out: &mut Messages) {
        let Self { flags, sequence, subscriptions, .. } = self;
        for known in subscriptions.iter_mut().filter(|known| !known.is_book && known.shown.native == quote.native) {
            known.spoke = quote.time;
            out.push(message(*flags, sequence, known.id, &ticker(quote), quote.time));
        }
    }

    /// Checksums, and what channels without data say.
    fn heartbeat(&mut self, now: UnixNs, out: &mut Messages) {
        let Self { flags, sequence, subscriptions, .. } = self;
        for known in subscriptions {
            if known.is_book && *flags & OB_CHECKSUM != 0 {
                let mut book = Book::default();
                for LevelChange { side, level } in known.shown.changes(None, known.length) {
                    book.set(side, level);
                }
                let number = |change: &LevelChange, field: LevelField, text: &mut Vec<u8>| {
                    write_number(field.of(change.level), text)
                };
                let sum = checksum(&book, &mut Vec::new(), number);
                out.push(message(*flags, sequence, known.id, &format!("\"cs\",{sum}"), now));
            }
            if now.0.saturating_sub(known.spoke.0) >= HEARTBEAT_EVERY {
                known.spoke = now;
                out.push(message(*flags, sequence, known.id, "\"hb\"", now));
            }
        }
    }

    fn maintenance(&mut self, begins: bool, _now: UnixNs, out: &mut Messages) -> Maintenance {
        let code = if begins { 20_060 } else { 20_061 };
        out.push(format!(r#"{{"event":"info","code":{code},"msg":"maintenance"}}"#));
        Maintenance::Halts
    }
}

impl BitfinexExchange {
    fn subscribe(&mut self, request: &Json, market: &dyn Market, out: &mut Messages) {
        let word = |key: &str| request.get(key).and_then(Json::as_str);
        let (channel, symbol) = (word("channel").unwrap_or_default(), word("symbol").unwrap_or_default());
        let is_book = channel == "book";
        let error = |code: u32, why: &str| {
            json!({"event": "error", "msg": why, "code": code, "channel": channel, "symbol": symbol}).to_string()
        };
        if !is_book && channel != "ticker" {
            return out.push(error(10_302, "channel: unknown"));
        }
        let Some(quote) = market.quote(symbol) else { return out.push(error(10_300, "symbol: invalid")) };
        if self.subscriptions.iter().any(|known| known.is_book == is_book && known.shown.native == symbol) {
            return out.push(error(10_301, "subscribe: dup"));
        }
        if self.subscriptions.len() >= CHANNELS_MAX {
            return out.push(error(10_305, "subscribe: limit"));
        }
        self.opened += 1;
        let id = 17_000 + self.opened;
        let pair = symbol.trim_start_matches('t');
        let mut reply =
            json!({"event": "subscribed", "channel": channel, "chanId": id, "symbol": symbol, "pair": pair});
        if is_book {
            for (key, usual) in [("prec", "P0"), ("freq", "F0"), ("len", "25")] {
                reply[key] = word(key).unwrap_or(usual).into();
            }
        }
        // The client's own name for the subscription.
        if let Some(name) = request.get("subId") {
            reply["subId"] = name.clone();
        }
        out.push(reply.to_string());
        let length = word("len").and_then(|length| length.parse().ok()).unwrap_or(LENGTHS[0]);
        let payload = if is_book {
            let levels: Vec<String> = quote.changes(None, length).iter().map(written).collect();
            format!("[{}]", levels.join(","))
        } else {
            ticker(&quote)
        };
        out.push(message(self.flags, &mut self.sequence, id, &payload, market.now()));
        self.subscriptions.push(BitfinexSubscription { id, is_book, length, shown: quote, spoke: market.now() });
    }
}

/// `[price,count,amount]`.
fn written(change: &LevelChange) -> String {
    let LevelChange { side, level } = change;
    let text = |number: Decimal| {
        let mut text = Vec::new();
        write_number(number, &mut text);
        String::from_utf8(text).unwrap_or_default()
    };
    let sign = if *side == Side::Ask { "-" } else { "" };
    if level.size.is_zero() {
        format!("[{},0,{sign}1]", text(level.price))
    } else {
        format!("[{},1,{sign}{}]", text(level.price), text(level.size))
    }
}

/// As the venue's server, which is JavaScript, writes numbers: the shortest text that means the same double: up to 15 digits are all kept, and below 1e-6 there is an exponent.
fn write_number(number: Decimal, out: &mut Vec<u8>) {
    let number = number.normalised();
    let (mantissa, scale) = (number.mantissa(), i32::from(number.scale()));
    let mut buffer = itoa::Buffer::new();
    let digits = buffer.format(mantissa).as_bytes();
    let exponent = digits.len() as i32 - 1 - scale;
    if digits.len() > 15 {
        let double = number.to_f64();
        // Writing to a Vec cannot fail.
        let _ = if double < 1e-6 { write!(out, "{double:e}") } else { write!(out, "{double}") };
    } else if mantissa != 0 && exponent < -6 {
        out.extend_from_slice(&digits[..1]);
        if digits.len() > 1 {
            out.push(b'.');
            out.extend_from_slice(&digits[1..]);
        }
        let _ = write!(out, "e{exponent}");
    } else {
        number.write(out);
    }
}

/// A message with what the options want behind it.
fn message(flags: u64, sequence: &mut u64, id: u64, payload: &str, now: UnixNs) -> String {
    let mut frame = format!("[{id},{payload}");
    if flags & SEQ_ALL != 0 {
        *sequence += 1;
        frame += &format!(",{sequence}");
    }
    if flags & TIMESTAMP != 0 {
        frame += &format!(",{}", now.ms());
    }
    frame + "]"
}

fn ticker(quote: &VenueQuote) -> String {
    let day = &quote.day;
    let volume = if day.last > 0.0 { day.quote_volume / day.last } else { 0.0 };
    format!(
        "[{},{},{},{},{},{},{},{},{},{},null]",
        quote.bid.price,
        quote.bid.size,
        quote.ask.price,
        quote.ask.size,
        day.change,
        day.change_rate(),
        day.last,
        volume,
        day.high,
        day.low
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::venues::SymbolEntry;

    #[test]
    fn a_checksum_is_of_the_text_as_it_was_sent() {
        let cases = [
            ("[6000,1,1],[5900,1,2],[6100,1,-3],[6200,1,-4]", "6000:1:6100:-3:5900:2:6200:-4"),
            ("[6000,1,1],[1.7e-8,1,2],[6100,1,-3],[6200,1,-4]", "6000:1:6100:-3:1.7e-8:2:6200:-4"),
            ("[6000,1,4.5e-7],[5900,1,1],[6100,1,-1.2E-7]", "6000:4.5e-7:6100:-1.2E-7:5900:1"),
            ("[100,2,1.50],[101.0,1,-13.33333333]", "100:1.50:101.0:-13.33333333"),
            ("[6100,1,-3]", "6100:-3"),
            ("", ""),
        ];
        for (levels, meant) in cases {
            let (mut codec, mut out) = (with_book(), Decoded::default());
            codec.decode(format!("[17,[{levels}]]").as_bytes(), MonoNs(1), &mut out).unwrap();
            let mut crc = Crc::new();
            crc.update(meant.as_bytes());
            let sum = crc.sum().cast_signed();
            let told = codec.decode(format!(r#"[17,"cs",{sum}]"#).as_bytes(), MonoNs(1), &mut out);
            assert_eq!(told, Ok(Frame::Control), "{levels}");
        }
        let mut book = Book::default();
        for number in 1..=30 {
            let level = Level { price: Decimal::new(number, 0), size: Decimal::new(1, 0) };
            book.set(Side::Bid, level);
        }
        let mut text = Vec::new();
        checksum(&book, &mut text, |change, field, text| field.of(change.level).write_verbatim(text));
        assert!(text.starts_with(b"30:1:29:1:") && text.ends_with(b":7:1:6:1"), "25 levels");
    }

    /// A codec with the book channel 17.
    fn with_book() -> Box<dyn FeedCodec> {
        let entry = SymbolEntry { id: InstrumentId(0), native: "tBTCUSD".to_owned(), symbol: "BTC/USD".to_owned() };
        let mut codec = Bitfinex.codec(Symbols::configured(vec![entry]));
        let opened = br#"{"event":"subscribed","channel":"book","chanId":17,"symbol":"tBTCUSD","prec":"P0"}"#;
        codec.decode(opened, MonoNs(1), &mut Decoded::default()).unwrap();
        codec
    }

    #[test]
    fn a_level_that_is_sent_again_counts_in_its_new_form() {
        let mut codec = with_book();
        let mut check = |frame: &str, text: &str| {
            let mut out = Decoded::default();
            codec.decode(frame.as_bytes(), MonoNs(1), &mut out).unwrap();
            let mut crc = Crc::new();
            crc.update(text.as_bytes());
            let sum = format!(r#"[17,"cs",{}]"#, crc.sum().cast_signed());
            assert_eq!(codec.decode(sum.as_bytes(), MonoNs(1), &mut out), Ok(Frame::Control), "{frame}");
        };
        check("[17,[[8.4e-7,1,10000],[9e-7,1,-5e-8]]]", "8.4e-7:10000:9e-7:-5e-8");
        check("[17,[0.00000084,2,7.5]]", "0.00000084:7.5:9e-7:-5e-8");
        check("[17,[8.4e-7,2,7.25]]", "8.4e-7:7.25:9e-7:-5e-8");
        check("[17,[9e-7,0,-1]]", "8.4e-7:7.25");
        check("[17,[0.0000009,1,-12345678901234567.125]]", "8.4e-7:7.25:0.0000009:-12345678901234567.125");
    }

    #[test]
    fn a_channel_that_does_not_close_is_told_so_again() {
        let entry = SymbolEntry { id: InstrumentId(0), native: "tBTCUSD".to_owned(), symbol: "BTC/USD".to_owned() };
        let mut codec = Bitfinex.book_codec(Symbols::configured(vec![entry]), 20).unwrap();
        let opened = br#"{"event":"subscribed","channel":"book","chanId":17,"symbol":"tBTCUSD","prec":"P0"}"#;
        codec.decode(opened, MonoNs(1), &mut Decoded::default()).unwrap();
        for _ in 0..2 {
            let mut requests = Requests::new();
            codec.resubscribe(&[InstrumentId(0)], &mut requests);
            assert_eq!(requests, [r#"{"event":"unsubscribe","chanId":17}"#]);
        }
    }

    #[test]
    fn a_book_has_the_smallest_length_with_as_many_levels_as_are_wanted() {
        let asked = |levels: usize| {
            let entry = SymbolEntry { id: InstrumentId(0), native: "tBTCUSD".to_owned(), symbol: "BTC/USD".to_owned() };
            let mut requests = Requests::new();
            let symbols = Symbols::configured(vec![entry]);
            Bitfinex.book_codec(symbols, levels).unwrap().opened(&mut requests);
            let of_book = requests.iter().filter(|request| request.contains("book"));
            assert_eq!((requests.len(), of_book.count()), (2, 1), "the options, and the book: {requests:?}");
            let length = requests[1].split(r#""len":""#).nth(1).unwrap().trim_end_matches("\"}");
            length.parse::<usize>().unwrap()
        };
        for (levels, length) in [(1, 25), (20, 25), (25, 25), (26, 100), (100, 100), (101, 250), (1000, 250)] {
            assert_eq!(asked(levels), length, "{levels} levels");
        }
    }

    #[test]
    fn the_simulated_venue_writes_numbers_as_javascript_does() {
        let cases = [
            ("13.33333333", "13.33333333"),
            ("100.000", "100"),
            ("0.000001", "0.000001"),
            ("0.00000145", "0.00000145"),
            ("0.00000045", "4.5e-7"),
            ("4.5E-7", "4.5e-7"),
            ("0.0000001", "1e-7"),
            ("1E5", "100000"),
            ("123456789012345.5", "123456789012345.5"),
            // 17 digits of a double, of which JavaScript shows 16.
            ("0.30000000000000001", "0.3"),
            ("0", "0"),
        ];
        for (written, meant) in cases {
            let mut text = Vec::new();
            write_number(Decimal::parse(written.as_bytes()).unwrap(), &mut text);
            assert_eq!(String::from_utf8(text).unwrap(), meant, "{written}");
        }
    }

    #[test]
    fn paper_pairs_and_derivatives_are_left_out() {
        let symbol_of = Bitfinex.symbol_of();
        assert_eq!(symbol_of("tBTCUST").as_deref(), Some("BTC/USDT"));
        assert_eq!(symbol_of("tAVAX:USD").as_deref(), Some("AVAX/USD"));
        for native in ["tTESTBTC:TESTUSD", "tBTCF0:USTF0", "fUSD", "BTCUSD", "tBTCUSDX", "tB\u{fc}XUSD", "t"] {
            assert_eq!(symbol_of(native), None, "{native}");
        }
        assert_eq!(Bitfinex.native("BTC", "USDT").as_deref(), Ok("tBTCUST"));
        assert_eq!(Bitfinex.native("AVAX", "USDT").as_deref(), Ok("tAVAX:UST"));
        assert!(Bitfinex.native("UST", "USD").unwrap_err().ends_with("write USDT"));
    }
}
