//! What venues say and how: one file per venue, three things in each: facts, a codec (their frames in,
//! quotes out) and the exchange's own side (for the simulator). Text only: no sockets, clocks, threads.

pub mod binance;
pub mod binanceus;
pub mod bitfinex;
pub mod bitget;
pub mod bitstamp;
pub mod bybit;
pub mod codes;
pub mod coinbase;
pub mod cryptocom;
pub mod depth;
pub mod gateio;
pub mod gemini;
pub mod htx;
pub mod kraken;
pub mod kucoin;
pub(crate) mod ladder;
pub mod listing;
pub mod mexc;
pub mod okx;
pub mod paged;
pub(crate) mod reading;
pub mod upbit;
pub mod writing;

use codes::Codes;
use depth::{BookPage, PageReader};
use listing::{Listing, ListingEntry, TradingStatusPage};
use rustc_hash::FxHashMap;

use crate::market::book::{Book, BookVoid};
use crate::market::decimal::DecimalError;
use crate::market::quote::StampOrder;
use crate::market::statistics::DayStatistics;
use crate::market::{Decimal, InstrumentId, Level};
use crate::metrics::reasons::DecodeReason;
use crate::time::{MonoNs, UnixNs};
use crate::wire::json::JsonError;

/// A configuration without `venues` uses this many, the first of [`VENUES`]. The others have to be named: they cost
/// connections, and some of their markets are not directly comparable, such as Upbit's in won.
pub const DEFAULT_VENUES: usize = 6;

/// Every venue, in the default order of preference for prices.
pub static VENUES: &[&dyn Venue] = &[
    &binance::BINANCE,
    &coinbase::Coinbase,
    &kraken::Kraken,
    &okx::Okx,
    &bybit::Bybit,
    &kucoin::Kucoin,
    &binanceus::BINANCE_US,
    &gemini::Gemini,
    &gateio::Gate,
    &bitget::Bitget,
    &cryptocom::CryptoCom,
    &bitfinex::Bitfinex,
    &bitstamp::Bitstamp,
    &htx::Htx,
    &mexc::Mexc,
    &upbit::Upbit,
];

/// The venue named `name` (lower case), if there is one.
#[must_use]
pub fn venue(name: &str) -> Option<&'static dyn Venue> {
    VENUES.iter().copied().find(|v| v.facts().name == name)
}

/// A venue: facts, a codec and the exchange's own side.
pub trait Venue: Sync {
    /// What is fixed about it.
    fn facts(&self) -> &'static Facts;

    /// Its asset codes that are not the usual ones.
    fn codes(&self) -> Codes {
        Codes::usual(self.facts().title)
    }

    /// The venue's own symbol for `base`/`quote` (upper case, canonical codes such as BTC).
    ///
    /// # Errors
    /// A sentence that says why the venue has no such instrument and what to write instead.
    fn native(&self, base: &str, quote: &str) -> Result<String, String>;

    /// The function that names a native symbol `BASE/QUOTE`, for recordings of instruments that no one
    /// configured; it gives `None` for a symbol that cannot be split without guessing. Two native symbols never get
    /// the same name, unless they are spellings of one asset in two versions of the venue's interface.
    fn symbol_of(&self) -> fn(&str) -> Option<String>;

    /// A codec for one connection.
    fn codec(&self, symbols: Symbols) -> Box<dyn FeedCodec>;

    /// A codec for one connection that asks for order books of up to `levels` levels a side and for nothing else; see
    /// [`FeedCodec::book`]. `None` where [`Facts::books`] is.
    fn book_codec(&self, _symbols: Symbols, _levels: usize) -> Option<Box<dyn FeedCodec>> {
        None
    }

    /// Where order books are asked for, when tops are asked for at `address`.
    fn book_address(&self, address: &str) -> String {
        address.to_owned()
    }

    /// The exchange's end of one connection.
    fn exchange_side(&self) -> Box<dyn ExchangeSide>;

    /// Where the venue lists its instruments.
    fn listing(&self) -> Listing;

    /// Reads the reply to [`Self::listing`]: every spot instrument, those that are halted too.
    ///
    /// # Errors
    /// What is wrong with the reply.
    fn read_listing(&self, reply: &[u8]) -> Result<Vec<ListingEntry>, DecodeError>;

    /// The pages of single instruments, for a venue whose list does not state what is traded. `None`: the list or a stream
    /// states it, or nothing does.
    fn status_page(&self) -> Option<TradingStatusPage> {
        None
    }

    /// Where the venue says whether an instrument is traded.
    fn halts(&self) -> HaltSource {
        HaltSource::List
    }

    /// Reads the reply to [`Opening::Token`]: the address to connect to.
    ///
    /// # Errors
    /// What is wrong with the reply.
    fn endpoint(&self, _reply: &[u8]) -> Result<String, DecodeError> {
        Err(DecodeError::Shape("this venue has no token request"))
    }

    /// The exchange's answer to a REST request of `method` and `target` (path and query below the venue's
    /// base), such as its list of instruments or a book; `base` is the simulator's own `ws://` address of
    /// this venue. `None`: not found.
    fn rest(&self, _method: &str, _target: &str, _base: &str, _market: &dyn Market) -> Option<String> {
        None
    }
}

/// Where a venue says whether an instrument is traded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HaltSource {
    /// In its list of instruments only.
    List,
    /// In its list, and in its stream as [`Update::Trading`].
    ListAndStream,
    /// In its stream only; the list names halted instruments like others.
    Stream,
}

/// What is fixed about a venue. Sources and the day they were read are in the venue's file.
#[derive(Debug)]
pub struct Facts {
    /// Lower-case id that clients use, such as `binance`.
    pub name: &'static str,
    /// As people write it, such as `Binance`.
    pub title: &'static str,
    /// Public WebSocket address, or the REST base for [`Opening::Token`].
    pub address: &'static str,
    /// How a connection begins.
    pub opening: Opening,
    /// Base-tier taker fee in percent.
    pub taker_fee_pct: &'static str,
    /// The side that keeps the connection alive.
    pub keepalive: Keepalive,
    /// Largest message that the venue may send, in bytes.
    pub message_max: usize,
    /// Least time between two requests on one connection, in milliseconds.
    pub request_gap_ms: u64,
    /// The channel that quotes come from, as the venue names it.
    pub channel: &'static str,
    /// Its order books; `None`: it offers none that are fit for use.
    pub books: Option<BookFacts>,
    /// What its timestamps show.
    pub stamps: StampFacts,
    /// What the venue allows.
    pub limits: VenueLimits,
    /// The venue's documentation and the day it was read.
    pub docs: &'static str,
}

/// A venue's timestamps of tops. Measured from captures by `tests/it/venues/order.rs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StampFacts {
    /// The unit of the stamps in nanoseconds.
    pub(crate) unit_ns: u64,
    /// What a later stamp proves about earlier changes.
    pub order: StampOrder,
    /// A change may arrive after a message with a timestamp up to this much later, in milliseconds.
    pub slack_ms: u64,
    /// Interval at which the channel of tops conflates changes, in milliseconds; 0: it sends each change.
    pub(crate) cadence_ms: u64,
}

impl StampFacts {
    /// Stamps in milliseconds of a channel that sends each change, in order within each instrument.
    pub const MILLISECONDS: Self = Self { unit_ns: 1_000_000, order: StampOrder::Channel, slack_ms: 0, cadence_ms: 0 };
    /// The same with microseconds.
    pub(crate) const MICROSECONDS: Self = Self { unit_ns: 1000, ..Self::MILLISECONDS };
}

/// A venue's order books.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BookFacts {
    /// The channel that they come from, as the venue names it.
    pub channel: &'static str,
    /// Most levels of a side that can be had of it.
    pub levels_max: usize,
    /// How a loss is noticed.
    pub check: Check,
}

/// How it is noticed that a book has lost something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// Changes are numbered.
    Sequence,
    /// The venue sends a checksum of its own book, which is computed of ours.
    Checksum,
    /// The same, of so many of the best levels: the worse ones are as they were last sent and may be outdated.
    ChecksumOf(usize),
    /// Each message is a whole book: there is nothing to lose.
    Whole,
    /// It cannot be: the venue numbers nothing.
    Nothing,
}

impl Check {
    /// One word for tables.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Sequence => "sequence",
            Self::Checksum | Self::ChecksumOf(_) => "checksum",
            Self::Whole => "whole",
            Self::Nothing => "nothing",
        }
    }
}

/// What a venue allows one address of the internet. Kept with room to spare; where it publishes nothing, a guess that
/// no venue of the list would mind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VenueLimits {
    /// Most instruments on one connection; more are spread over several.
    pub instruments: usize,
    /// New connections of all kinds.
    pub connects: Pace,
    /// The venue ends a connection after so many seconds.
    pub age_max_s: Option<u64>,
    /// Seconds that a ban (HTTP 403 or 418) lasts whose reply states no `Retry-After`. Retrying inside it makes it longer.
    pub ban_s: u64,
}

impl VenueLimits {
    /// For a venue that publishes none.
    pub const UNPUBLISHED: Self =
        Self { instruments: 500, connects: Pace { count: 120, per_ms: 300_000 }, age_max_s: None, ban_s: 300 };
}

/// At most so many in any span of so many milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// How many.
    pub count: u32,
    /// The span in milliseconds.
    pub(crate) per_ms: u64,
}

/// How a connection begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// Dial the address.
    Direct,
    /// Dial the address, and ask for something soon: who has not is sent away.
    Prompt {
        /// Time until the first request, in milliseconds.
        within_ms: u64,
    },
    /// Dial the address, and say nothing for so long: requests count against the rest of the second that the
    /// connection began in.
    Patient {
        /// Time before the first request, in milliseconds.
        wait_ms: u64,
    },
    /// First POST to this path below the REST address; the reply names the address to dial.
    Token {
        /// Path below the REST base, such as `/api/v1/bullet-public`.
        path: &'static str,
    },
}

/// The side that keeps an idle connection alive, besides WebSocket pings, which are always answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keepalive {
    /// The server pings by WebSocket; nothing of ours is needed.
    Server,
    /// We send [`FeedCodec::keepalive`] this often, in milliseconds.
    Client {
        /// Interval in milliseconds.
        every_ms: u64,
        /// When the venue ends a connection for want of it.
        cut: Cut,
    },
}

/// When a venue ends a quiet connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// It publishes no such rule.
    Never,
    /// It has heard nothing from us for so long, in milliseconds.
    Unheard {
        /// The time.
        ms: u64,
    },
    /// Neither side has said anything for so long, in milliseconds.
    Idle {
        /// The time.
        ms: u64,
    },
}

/// Native symbols of one connection, and the instruments that they are.
#[derive(Clone, Debug, Default)]
pub struct Symbols {
    ids: FxHashMap<Box<[u8]>, Option<InstrumentId>>,
    entries: Vec<SymbolEntry>,
    by_id: Vec<Option<u32>>,
    discover: Option<fn(&str) -> Option<String>>,
}

/// How much of each end of a frame [`Symbols::named_in`] searches, in bytes: topics and symbols stand at the front of a
/// message, or behind its data.
pub(crate) const NAMED_WITHIN: usize = 4096;

/// One symbol of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SymbolEntry {
    /// The instrument's id in the process.
    pub id: InstrumentId,
    /// The venue's own spelling.
    pub native: String,
    /// `BASE/QUOTE`.
    pub symbol: String,
}

impl Symbols {
    /// The configured instruments of a venue; all other symbols are unknown.
    #[must_use]
    pub fn configured(entries: Vec<SymbolEntry>) -> Self {
        let mut symbols = Self::default();
        for entry in entries {
            symbols.add(entry);
        }
        symbols
    }

    /// No instruments yet; each symbol that `symbol_of` can name becomes one when it is first seen.
    /// For recordings.
    #[must_use]
    pub fn discovering(symbol_of: fn(&str) -> Option<String>) -> Self {
        Self { discover: Some(symbol_of), ..Self::default() }
    }

    /// Whether every symbol that can be named becomes an instrument, as in recordings.
    #[must_use]
    pub(crate) const fn is_discovering(&self) -> bool {
        self.discover.is_some()
    }

    fn add(&mut self, entry: SymbolEntry) {
        let index = entry.id.index();
        if self.by_id.len() <= index {
            self.by_id.resize(index + 1, None);
        }
        self.by_id[index] = Some(self.entries.len() as u32);
        self.ids.insert(entry.native.as_bytes().into(), Some(entry.id));
        self.entries.push(entry);
    }

    /// The instrument of `native`; `None` if it was not requested. Does not allocate for a symbol seen before.
    #[inline]
    pub fn find(&mut self, native: &[u8]) -> Option<InstrumentId> {
        match self.ids.get(native) {
            Some(&id) => id,
            None => self.discover(native),
        }
    }

    /// The instrument of `native`, if there is one already.
    #[must_use]
    pub fn known(&self, native: &[u8]) -> Option<InstrumentId> {
        self.ids.get(native).copied().flatten()
    }

    #[cold]
    fn discover(&mut self, native: &[u8]) -> Option<InstrumentId> {
        let symbol_of = self.discover?;
        let text = std::str::from_utf8(native).ok()?;
        let Some(symbol) = symbol_of(text) else {
            self.ids.insert(native.into(), None);
            return None;
        };
        let id = InstrumentId(self.entries.len() as u32);
        self.add(SymbolEntry { id, native: text.to_owned(), symbol });
        Some(id)
    }

    /// All symbols, in the order they were added.
    #[must_use]
    pub fn entries(&self) -> &[SymbolEntry] {
        &self.entries
    }

    /// The native symbols of `instruments`, those that this connection has.
    pub fn natives<'a>(&'a self, instruments: &'a [InstrumentId]) -> impl Iterator<Item = &'a str> {
        instruments.iter().filter_map(|id| Some(self.entry(*id)?.native.as_str()))
    }

    /// The instruments whose native symbol stands in the first or the last [`NAMED_WITHIN`] bytes of `frame`, in either
    /// letter case and not as part of a longer word.
    #[must_use]
    pub(crate) fn named_in(&self, frame: &[u8]) -> Vec<InstrumentId> {
        let head = &frame[..frame.len().min(NAMED_WITHIN)];
        let tail = &frame[frame.len().saturating_sub(NAMED_WITHIN).max(head.len())..];
        let is_named_within = |text: &[u8], native: &[u8]| {
            let is_word = |at: usize| text.get(at).is_some_and(u8::is_ascii_alphanumeric);
            let mut places = text.windows(native.len().max(1)).enumerate();
            places.any(|(at, part)| {
                part.eq_ignore_ascii_case(native)
                    && !(at.checked_sub(1).is_some_and(is_word) || is_word(at + native.len()))
            })
        };
        let is_named = |native| is_named_within(head, native) || is_named_within(tail, native);
        self.entries.iter().filter(|entry| is_named(entry.native.as_bytes())).map(|entry| entry.id).collect()
    }

    /// The entry of `id`, if this connection has it.
    #[must_use]
    pub fn entry(&self, id: InstrumentId) -> Option<&SymbolEntry> {
        let at = (*self.by_id.get(id.index())?)?;
        self.entries.get(at as usize)
    }
}

/// One venue's frames to quotes, for one connection. Keeps sequence numbers and books where needed.
pub trait FeedCodec: Send {
    /// Sets the wall clock before [`Self::opened`] and [`Self::keepalive`], for venues whose requests carry it.
    fn set_time(&mut self, _now: UnixNs) {}

    /// Whether [`Self::opened`] asks for a stream with timestamps on the connection, where tops have none. Its messages are
    /// [`Update::Stamp`]s.
    fn set_witness(&mut self, _is_wanted: bool) {}

    /// The connection is open (again): everything remembered is void; asks for all symbols.
    /// Where the venue must speak first (a welcome), the requests come from [`Self::decode`] instead.
    fn opened(&mut self, requests: &mut Requests);

    /// Reads one message as received. The best-bid-ask frame that the feed subscribes to allocates nothing.
    ///
    /// # Errors
    /// The first thing that is wrong with the frame. What `out` holds is valid all the same: the quotes of other
    /// instruments in the frame, and [`Update::Void`] for each instrument whose quote could not be read.
    fn decode(&mut self, frame: &[u8], received: MonoNs, out: &mut Decoded) -> Result<Frame, DecodeError> {
        let read = self.read(frame, received, out);
        if matches!(read, Err(DecodeError::Json | DecodeError::Protobuf)) {
            void_named(self, frame, out);
        }
        read
    }

    /// Reads one message for [`Self::decode`].
    ///
    /// # Errors
    /// As [`Self::decode`].
    fn read(&mut self, frame: &[u8], received: MonoNs, out: &mut Decoded) -> Result<Frame, DecodeError>;

    /// Forgets what was published of `instrument`: the next top is published even if it equals the last one. A book
    /// without sequence numbers is void, since a change of it may be lost.
    fn forget(&mut self, _instrument: InstrumentId) {}

    /// Reads the REST reply to `url` and takes it: a book page of a recording. Other replies are [`Frame::Unused`]. A
    /// feed does the two steps on two threads.
    ///
    /// # Errors
    /// As [`Self::decode`].
    fn snapshot(&mut self, url: &str, body: &[u8], out: &mut Decoded) -> Result<Frame, DecodeError> {
        let Some(instrument) = self.page_of(url) else { return Ok(Frame::Unused) };
        let page = self.page_reader()(body)?;
        self.take_page(instrument, page, out)
    }

    /// The instrument whose book the REST address `url` gives; `None` for other addresses and instruments that this
    /// connection does not have.
    fn page_of(&mut self, _url: &str) -> Option<InstrumentId> {
        None
    }

    /// Reads the bodies of the pages that [`Decoded::fetches`] asks for.
    fn page_reader(&self) -> PageReader {
        |_| Err(DecodeError::Shape("the venue has no book pages"))
    }

    /// Takes a page of the book of `instrument`.
    ///
    /// # Errors
    /// As [`Self::decode`].
    fn take_page(
        &mut self,
        _instrument: InstrumentId,
        _page: BookPage,
        _out: &mut Decoded,
    ) -> Result<Frame, DecodeError> {
        Ok(Frame::Unused)
    }

    /// Asks for these instruments again, and for nothing else where the venue takes such a request: they are silent, or
    /// never came. What the venue still sends of them in between is read as ever.
    fn resubscribe(&mut self, instruments: &[InstrumentId], requests: &mut Requests);

    /// The order book of `instrument` as it is after the last frame, while nothing of it is lost; its best levels, or all.
    /// A codec of [`Venue::book_codec`] has one, and says each change of it by [`Update::Book`].
    fn book(&self, _instrument: InstrumentId) -> Option<&Book> {
        None
    }

    /// How many of the pages that it asks for by [`Decoded::fetches`] may be fetched: what the venue allows of them.
    fn fetch_pace(&self) -> Pace {
        Pace { count: 240, per_ms: 60_000 }
    }

    /// What to send each [`Keepalive::Client`] interval.
    fn keepalive(&mut self, _requests: &mut Requests) {}

    /// The symbols of this connection.
    fn symbols(&self) -> &Symbols;
}

/// Voids every instrument that `frame` names, a message that does not parse: a quote of it may be lost.
#[cold]
pub(crate) fn void_named<C: FeedCodec + ?Sized>(codec: &mut C, frame: &[u8], out: &mut Decoded) {
    for instrument in codec.symbols().named_in(frame) {
        codec.forget(instrument);
        out.updates.push(Update::Void(instrument, VoidReason::Undecodable));
    }
}

/// Texts to send to the venue, in order, spaced by [`Facts::request_gap_ms`].
pub type Requests = Vec<String>;

/// What kind of frame it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame {
    /// Market data of a channel that the codec uses (even if nothing changed by it).
    Data,
    /// Acknowledgements, heartbeats, notices.
    Control,
    /// A channel that the codec does not use, or a symbol that was not requested.
    Unused,
}

/// What a frame meant. Reused between frames; cleared by the caller.
#[derive(Debug, Default)]
pub struct Decoded {
    /// In the order they happened.
    pub updates: Vec<Update>,
    /// Texts that the codec wants sent (a resubscription, a subscription after a welcome).
    pub requests: Requests,
    /// Texts that the venue is waiting for (the answer to its ping): sent at once, before all requests.
    pub answers: Requests,
    /// Book pages that the codec needs; they come by [`FeedCodec::take_page`]. It may ask again with each frame: the
    /// same is fetched once at a time, and not too often.
    pub fetches: Vec<Fetch>,
}

/// A REST reply that a codec needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetch {
    /// Instrument of the book.
    pub instrument: InstrumentId,
    /// Path and query below the venue's REST address, that of [`Venue::listing`].
    pub path: String,
}

impl Decoded {
    /// Forgets the last frame, keeps the memory.
    pub fn clear(&mut self) {
        self.updates.clear();
        self.requests.clear();
        self.answers.clear();
        self.fetches.clear();
    }

    /// Passes on what was read of a frame that holds the whole top, or book, of `instrument`. If it could not be read, the
    /// venue's quote is another one by now: what was quoted before is void until the next frame.
    ///
    /// # Errors
    /// That of `read`.
    #[inline(always)]
    pub(crate) fn void_unread<T>(
        &mut self,
        instrument: InstrumentId,
        read: Result<T, DecodeError>,
    ) -> Result<T, DecodeError> {
        if read.is_err() {
            self.undecodable(instrument);
        }
        read
    }

    /// A frame that holds the whole top, or book, of `instrument` cannot be read: what was quoted before is void.
    #[cold]
    pub fn undecodable(&mut self, instrument: InstrumentId) {
        self.updates.push(Update::Void(instrument, VoidReason::Undecodable));
    }

    /// Removes the tops after the first `kept` updates: a rejected frame yields no quotes.
    pub(crate) fn take_back_tops(&mut self, kept: usize) {
        let mut at = 0;
        self.updates.retain(|update| {
            at += 1;
            at <= kept || !matches!(update, Update::Top(_))
        });
    }
}

/// One thing that a frame meant.
#[derive(Clone, Debug, PartialEq)]
pub enum Update {
    /// The top of book is this now. A side may be absent; crossed quotes are passed on as they are.
    Top(Top),
    /// The order book changed: [`FeedCodec::book`] has it. Said by codecs of [`Venue::book_codec`] only.
    Book(BookNote),
    /// Day statistics.
    Statistics(DayStatistics),
    /// A message about the instrument that is not a quote has this timestamp.
    Stamp(InstrumentId, UnixNs),
    /// The instrument's last quote is void until the next one: a gap, a failed checksum, a halt.
    Void(InstrumentId, VoidReason),
    /// The venue's stream says whether the instrument is traded. While it is not, its quotes do not count, and when
    /// trading resumes it is asked for again. The same may be said again and again.
    Trading(InstrumentId, bool),
    /// The venue's stream says whether the venue trades at all. The same may be said again and again.
    System(bool),
    /// The venue acknowledged this instrument's subscription to the quote channel.
    Subscribed(InstrumentId),
    /// The venue refused a subscription or a request, in its own words.
    Refused(String),
    /// The connection should be given up and made again at once, for this reason.
    Reconnect(&'static str),
    /// What the venue says about itself.
    Notice(Notice),
}

/// A venue's word about its own state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// It will close this connection soon: another should be there before. Why, in words.
    Leaving(&'static str),
    /// Nothing that it quotes holds until [`Self::Resumed`], or until there is a new connection.
    Maintenance,
    /// It trades again.
    Resumed,
    /// What people should know, and nothing follows from it.
    Said(String),
}

impl std::fmt::Display for Notice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Leaving(why) => f.write_str(why),
            Self::Maintenance => f.write_str("maintenance: nothing that it quotes holds"),
            Self::Resumed => f.write_str("trading goes on"),
            Self::Said(text) => f.write_str(text),
        }
    }
}

/// A top of book as a codec reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Top {
    /// What is quoted.
    pub instrument: InstrumentId,
    /// Best bid; [`Level::ABSENT`] when the side is empty.
    pub bid: Level,
    /// Best ask; [`Level::ABSENT`] when the side is empty.
    pub ask: Level,
    /// The venue's own order number within the instrument and channel; 0 where it has none.
    pub sequence: u64,
    /// The venue's stamp; 0 where it sends none.
    pub exchange_time: UnixNs,
    /// The venue's own name of the feed, such as `bookTicker`.
    pub channel: &'static str,
}

/// What goes with a change of a book.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BookNote {
    /// Instrument of the book.
    pub instrument: InstrumentId,
    /// The venue's number of the last change; 0 where it has none.
    pub sequence: u64,
    /// The venue's stamp; 0 where it sends none.
    pub exchange_time: UnixNs,
}

/// Why a quote, or a book, became void.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VoidReason {
    /// Sequence numbers jumped: something was lost.
    Gap,
    /// The book's checksum does not agree with the venue's.
    Checksum,
    /// The book is crossed for too long: something was lost.
    Crossed,
    /// The venue says that it is not trading.
    Halt,
    /// A frame that holds the whole top, or book, or a change of the book, cannot be read.
    Undecodable,
}

impl From<VoidReason> for BookVoid {
    fn from(reason: VoidReason) -> Self {
        match reason {
            // An unreadable change of a book is a lost one.
            VoidReason::Gap | VoidReason::Undecodable => Self::Gap,
            VoidReason::Checksum => Self::Checksum,
            VoidReason::Crossed => Self::Crossed,
            VoidReason::Halt => Self::Halt,
        }
    }
}

/// What was wrong with a venue's frame. The venue's mistake: counted; the quotes that it should have carried are void.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// Not JSON, or nested too deep.
    Json,
    /// A price or size is not a number as venues write them. The field's name.
    Number(&'static str, DecimalError),
    /// A field that must be there is missing or of another type. Its name.
    Missing(&'static str),
    /// Nothing that this venue sends.
    Shape(&'static str),
    /// A sequence number that does not follow; the book is void.
    Gap,
    /// The checksum does not agree; the book is void.
    Checksum,
    /// The book is crossed for longer than can be; it is void.
    Crossed,
    /// A packed frame cannot be unpacked, or holds more than a frame may.
    Gzip,
    /// Not a protobuf message.
    Protobuf,
}

impl DecodeError {
    /// What it says of the book that the frame was about: nothing, unless it reports a loss.
    #[must_use]
    pub(crate) const fn loss(&self) -> Option<VoidReason> {
        match self {
            Self::Gap => Some(VoidReason::Gap),
            Self::Checksum => Some(VoidReason::Checksum),
            Self::Crossed => Some(VoidReason::Crossed),
            _ => None,
        }
    }

    /// Which counter it increments.
    #[must_use]
    pub const fn reason(&self) -> DecodeReason {
        match self {
            Self::Json => DecodeReason::Json,
            Self::Number(..) => DecodeReason::Number,
            Self::Missing(_) => DecodeReason::MissingField,
            Self::Shape(_) => DecodeReason::Shape,
            Self::Gap => DecodeReason::Gap,
            Self::Checksum => DecodeReason::Checksum,
            Self::Crossed => DecodeReason::Crossed,
            Self::Gzip => DecodeReason::Gzip,
            Self::Protobuf => DecodeReason::Protobuf,
        }
    }
}

impl std::fmt::Display for DecodeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Json => f.write_str("not JSON, or nested too deep"),
            Self::Number(field, why) => write!(f, "`{field}` is {why}"),
            Self::Missing(field) => write!(f, "`{field}` is missing or of another type"),
            Self::Shape(what) => f.write_str(what),
            Self::Gap => f.write_str("a gap in the sequence"),
            Self::Checksum => f.write_str("the checksum does not agree with the book"),
            Self::Crossed => f.write_str("the book is crossed for too long"),
            Self::Gzip => f.write_str("not gzip, or more than a frame may hold"),
            Self::Protobuf => f.write_str("not a protobuf message"),
        }
    }
}

impl From<JsonError> for DecodeError {
    fn from(_: JsonError) -> Self {
        Self::Json
    }
}

/// One message of an exchange, in the WebSocket form that its venue uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// A text message.
    Text(String),
    /// A binary message.
    Binary(Vec<u8>),
}

impl Message {
    /// What a codec gets to read.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Binary(bytes) => bytes,
        }
    }
}

impl From<String> for Message {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<Vec<u8>> for Message {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Binary(bytes)
    }
}

/// What an exchange says to one client, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Messages(Vec<Message>);

impl Messages {
    /// Adds a text (`String`) or a binary message (`Vec<u8>`).
    pub fn push(&mut self, message: impl Into<Message>) {
        self.0.push(message.into());
    }

    /// Takes all of them out, in order, and keeps the memory.
    pub fn drain(&mut self) -> impl Iterator<Item = Message> {
        self.0.drain(..)
    }
}

impl std::ops::Deref for Messages {
    type Target = [Message];

    fn deref(&self) -> &[Message] {
        &self.0
    }
}

/// The exchange's end of one connection: reads what a client asks for, writes what the venue would.
pub trait ExchangeSide: Send {
    /// The upgrade was for `target`, the path and query below the venue's base. Writes what the venue says first.
    fn opened(&mut self, target: &str, market: &dyn Market, out: &mut Messages);

    /// Reads one text message of the client; writes acks, errors and snapshots.
    fn receive(&mut self, text: &str, market: &dyn Market, out: &mut Messages);

    /// The top of book of an instrument changed: writes the frames due to this client, if it asked for them.
    fn quote(&mut self, quote: &VenueQuote, out: &mut Messages);

    /// A day-statistics tick of an instrument: writes the frames due to this client, if it asked for them.
    fn statistics(&mut self, quote: &VenueQuote, out: &mut Messages);

    /// Called about once a second: writes the heartbeats that this venue sends in JSON.
    fn heartbeat(&mut self, now: UnixNs, out: &mut Messages);

    /// Trading in an instrument stops or resumes, as [`VenueQuote::is_trading`] says: writes what the venue says of it to
    /// this client, if anything.
    fn trading(&mut self, _quote: &VenueQuote, _out: &mut Messages) {}

    /// Maintenance begins, or is over: writes what the venue says about it, and returns what happens to the connection.
    fn maintenance(&mut self, _begins: bool, _now: UnixNs, _out: &mut Messages) -> Maintenance {
        Maintenance::Closes
    }
}

/// What a venue does with its connections when maintenance begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Maintenance {
    /// It sends no message: it closes its connections and accepts none until the end.
    Closes,
    /// It keeps them and quotes nothing until the end.
    Halts,
    /// It asks for new ones, which are served.
    Moves,
}

/// What an exchange knows: its instruments and their state now.
pub trait Market {
    /// The state of the instrument with this native symbol, letter case as the venue writes it.
    fn quote(&self, native: &str) -> Option<VenueQuote>;
    /// The exchange's wall clock.
    fn now(&self) -> UnixNs;
    /// All instruments that it trades, in a fixed order.
    fn listed(&self) -> Vec<Listed> {
        Vec::new()
    }
}

/// What an exchange's list says of an instrument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The venue's own symbol.
    pub native: String,
    /// Base asset, canonical code.
    pub base: String,
    /// Quote asset, canonical code.
    pub quote: String,
    /// A tick is `10^-price_decimals` in quote currency.
    pub price_decimals: u8,
    /// A lot is `10^-size_decimals` in base.
    pub size_decimals: u8,
    /// Whether it is traded now.
    pub is_trading: bool,
}

impl Listed {
    /// The tick as venues write it, such as `0.01`.
    #[must_use]
    pub fn tick(&self) -> String {
        Decimal::new(1, self.price_decimals).to_string()
    }

    /// The lot as venues write it.
    #[must_use]
    pub fn lot(&self) -> String {
        Decimal::new(1, self.size_decimals).to_string()
    }
}

/// One instrument's state as its exchange sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct VenueQuote {
    /// The venue's own symbol.
    pub native: String,
    /// Best bid.
    pub bid: Level,
    /// Best ask.
    pub ask: Level,
    /// Order number, growing by one with every change of this instrument, from 2.
    pub sequence: u64,
    /// When the exchange changed it.
    pub time: UnixNs,
    /// Whether a taker's order is executed now.
    pub is_trading: bool,
    /// The day so far; `instrument` is not used here.
    pub day: DayStatistics,
}
