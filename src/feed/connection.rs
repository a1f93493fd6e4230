//! One venue's conversation, without a socket: WebSocket, codec, keepalive and staleness.
//!
//! In: the upgrade's address, bytes from the venue with the time of their read, the passing of time.
//! Out: bytes for the venue, deadlines, and [`FeedEvent`]s into the caller's hands; day statistics and
//! counters go where they live. Runs on the feed thread, and on the replay's. It never dials: when it
//! is over it says why, and waits to be opened again. Allocates nothing on the path of a quote.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use crate::feed::Options;
use crate::feed::backlog::{Backlog, PAUSE_NS};
use crate::feed::failing::Failing;
use crate::feed::lag::{self, Lag};
use crate::feed::reference::{self, Reference};
use crate::feed::silence::{Finding, Silence};
use crate::feed::stamps::Stamps;
use crate::market::book::{BookStamp, BookVoid};
use crate::market::directory::HaltedBy;
use crate::market::quote::{Delay, FeedEvent, LineId, Origin, Source};
use crate::market::{Directory, InstrumentId, PairId, Quote, VenueId};
use crate::matrix::books::BookTable;
use crate::matrix::days::DayTable;
use crate::metrics::{Board, LinkState, VenueGauges};
use crate::net::backoff::{Budget, Wait};
use crate::net::dial::DialError;
use crate::time::{Clock, MS, MonoNs, SECOND, UnixNs};
use crate::venues::depth::{BookPage, PageReader};
use crate::venues::{
    BookNote, DecodeError, Decoded, Facts, FeedCodec, Fetch, Frame, Keepalive, Notice, Opening, Pace, Requests,
    SymbolEntry, Symbols, Update, Venue, VoidReason,
};
use crate::wire::websocket::frame::framed_length;
use crate::wire::websocket::{Event, Failure, Limits, WebSocket};

/// Texts that may wait for their turn; a codec that wants more is in a loop.
const REQUESTS_MAX: usize = 4096;
/// Bytes that may wait for the socket. A venue that does not read is as good as gone.
const OUTPUT_MAX: usize = 1 << 20;
/// Frames that could not be decoded, and name no instrument, which a connection survives within [`BAD_WINDOW_NS`].
const BAD_FRAMES_MAX: usize = 10;
/// The span that [`BAD_FRAMES_MAX`] is about.
const BAD_WINDOW_NS: u64 = 10 * SECOND;
/// Pings of the venue that are answered within a second; of the rest the newest is, a second later.
const PONGS_PER_SECOND: u32 = 5;
/// When a round trip is measured: soon after the upgrade,
const FIRST_PING_NS: u64 = 5 * SECOND;
/// and then each so often.
const PING_EVERY_NS: u64 = 15 * SECOND;
/// WebSocket read buffer in bytes: a burst of quotes, not a snapshot.
const READ_BUFFER: usize = 16 * 1024;
/// Fragments of one message. Venues send none, or a few.
const FRAGMENTS_MAX: u32 = 16_384;
/// The clock is looked at after so many frames of a turn.
const FRAMES_PER_LOOK: usize = 16;
/// How old the reference of stamps may be, in nanoseconds.
const REFERENCE_NS: u64 = 100 * MS;
/// The wall clock is not believed when its reading took longer, in nanoseconds.
const WALL_MAX_NS: u64 = 5 * MS;

/// What a connection is made of.
pub struct Parts {
    /// Its id in the process.
    pub id: VenueId,
    /// The venue.
    pub venue: &'static dyn Venue,
    /// What it is for.
    pub purpose: Purpose,
    /// Who is who.
    pub directory: Arc<Directory>,
    /// Where day statistics go.
    pub days: Arc<DayTable>,
    /// Where counts go.
    pub board: Arc<Board>,
    /// Limits of time.
    pub options: Options,
}

/// What a connection is for.
#[derive(Clone)]
pub enum Purpose {
    /// Tops of book, for the detector.
    Tops,
    /// Order books, which go into this table; nothing is told to the detector.
    Books(Arc<BookTable>),
}

impl Purpose {
    /// Whether it is order books.
    #[must_use]
    pub const fn is_books(&self) -> bool {
        matches!(self, Self::Books(_))
    }

    /// The gauges of the venue with `id` for connections of this purpose.
    #[must_use]
    pub fn gauges<'a>(&self, board: &'a Board, id: VenueId) -> &'a VenueGauges {
        match self {
            Self::Tops => &board.venues[id.index()],
            Self::Books(_) => &board.books[id.index()],
        }
    }

    /// Where `venue` is asked for it, of which tops are at `address`.
    #[must_use]
    pub fn address(&self, venue: &dyn Venue, address: &str) -> String {
        match self {
            Self::Tops => address.to_owned(),
            Self::Books(_) => venue.book_address(address),
        }
    }

    fn codec(&self, venue: &dyn Venue, symbols: Symbols) -> Box<dyn FeedCodec> {
        match self {
            Self::Tops => venue.codec(symbols),
            // Who has no books is asked for none: see `feed::Feed`.
            Self::Books(table) => {
                venue.book_codec(symbols, table.levels()).unwrap_or_else(|| venue.codec(Symbols::default()))
            }
        }
    }
}

/// Why a conversation is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The WebSocket failed: refused, violated, not a WebSocket.
    WebSocket(Failure),
    /// The venue closed it, with this code.
    Closed(u16),
    /// The upgrade was not answered in time.
    NoUpgrade,
    /// No byte for too long, not even an answer to our ping.
    Silent,
    /// Too many frames that could not be decoded and name no instrument.
    BadFrames,
    /// The codec wants a new connection: the venue asked for one, or its state is lost.
    Wanted(&'static str),
    /// More requests, or more unread bytes, are waiting than can be right.
    Backlog,
    /// The socket ended or broke; in words.
    Socket(String),
    /// We did not run for so long that what waits in the socket is old.
    Overslept,
    /// We leave.
    Ours,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WebSocket(failure) => failure.fmt(f),
            Self::Closed(code) => write!(f, "closed by the venue ({code})"),
            Self::NoUpgrade => f.write_str("no answer to the upgrade"),
            Self::Silent => f.write_str("silent"),
            Self::BadFrames => f.write_str("too many frames that cannot be decoded"),
            Self::Wanted(why) => f.write_str(why),
            Self::Backlog => f.write_str("the venue does not read"),
            Self::Socket(why) => f.write_str(why),
            Self::Overslept => f.write_str("this process stood still"),
            Self::Ours => f.write_str("stopping"),
        }
    }
}

impl End {
    /// What it says about the next attempt; `ban_s` is how long a ban lasts whose end is not stated.
    #[must_use]
    pub fn wait(&self, ban_s: u64) -> Wait {
        match self {
            Self::WebSocket(Failure::Refused { status, retry_after }) => Wait::of_status(*status, *retry_after, ban_s),
            Self::Wanted(_) => Wait::AtOnce,
            _ => Wait::Usual,
        }
    }

    /// Whether the venue itself ended it, so that the way to it is there; `None`: it says nothing of that.
    #[must_use]
    pub const fn is_answer(&self) -> Option<bool> {
        match self {
            Self::WebSocket(_) | Self::Closed(_) | Self::BadFrames | Self::Wanted(_) => Some(true),
            Self::NoUpgrade | Self::Silent | Self::Backlog | Self::Socket(_) => Some(false),
            Self::Overslept | Self::Ours => None,
        }
    }
}

/// What the end of a connection makes void.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Voids {
    /// All that the venue quotes: it is the only connection.
    All,
    /// Its own instruments; others go on.
    Own,
    /// Nothing by itself: it is one of two with the same instruments, and whoever holds both knows what the other has.
    /// The second of them counts in no gauge.
    Told,
}

/// One venue's conversation. Lives as long as the venue is configured; sockets come and go.
pub struct Connection {
    id: VenueId,
    purpose: Purpose,
    facts: &'static Facts,
    codec: Box<dyn FeedCodec>,
    decoded: Decoded,
    directory: Arc<Directory>,
    days: Arc<DayTable>,
    board: Arc<Board>,
    options: Options,
    socket: Option<WebSocket>,
    end: Option<End>,
    phase: Phase,
    /// When the last bytes came, or the socket was opened.
    heard: MonoNs,
    /// Whether the silence since then was answered by a ping of ours.
    pinged: bool,
    turn: Turn,
    requests: VecDeque<String>,
    request_at: MonoNs,
    keepalive_at: Option<MonoNs>,
    acknowledged: Vec<bool>,
    /// The last stamp of each instrument's quotes.
    stamped: Vec<UnixNs>,
    acknowledged_count: usize,
    /// Until when a first price is waited for before it is called missing.
    price_by: Option<MonoNs>,
    flowed: bool,
    lag: Lag,
    /// That of day statistics, which tell for quotes without stamps.
    lag_of_days: Lag,
    /// How late they say that quotes without stamps are, in nanoseconds; 0 from the end of a backlog to the next one.
    late_by_days_ns: u64,
    /// What stamps are held against, and when that was looked up.
    reference: (Option<Reference>, MonoNs),
    /// The times of what is read are those at which it came: without that there is no lag.
    is_timed: bool,
    backlog: Backlog,
    /// Whether the detector was told that the connection is behind.
    told_behind: bool,
    /// Whether its last quote was lagging.
    was_lagging: bool,
    source: Source,
    /// Identifies the socket that is open, or the last one.
    line: LineId,
    bad: BadFrames,
    /// Instruments whose checksums fail.
    checksums: Failing,
    /// Instruments whose frames cannot be read.
    unreadable: Failing,
    /// The instruments that the frame which is taken now is about, if it could not be read.
    blamed: Vec<InstrumentId>,
    pongs: Pongs,
    voids: Voids,
    silence: Silence,
    /// How much of the venue's gauges is ours.
    shown: Shown,
    /// The second of two with the same instruments.
    is_second: bool,
    /// Instruments that the venue's stream says are not traded.
    halts: Halts,
    /// The number of the facts that were looked at last, see [`Directory::facts`].
    listed: u64,
    /// What it heard of instruments whose quotes nothing orders, while another connection speaks for them.
    held: Vec<Option<Quote>>,
    /// Books that changed and are not yet in the table; when that was read, or should have been on a line that is late.
    touched: Vec<(BookNote, MonoNs)>,
    /// When what was last put into the table was read.
    published: Option<MonoNs>,
    fetches: Fetches,
    /// A REST reply is being read, no frame.
    reads_page: bool,
    stamps: Stamps,
    /// When the round trip is measured next.
    ping_at: Option<MonoNs>,
    /// The clocks when the upgrade was done.
    opened_at: (MonoNs, UnixNs),
    is_leaving: bool,
    in_maintenance: bool,
    /// What the venue said and the log does not know.
    notice: Option<Notice>,
}

/// What a connection may read in one turn of its thread, so that it holds up no other.
#[derive(Clone, Copy, Debug)]
struct Turn {
    frames_left: usize,
    until: MonoNs,
    /// Something was left over.
    is_cut: bool,
}

/// Our share of sums over the venue's connections.
#[derive(Clone, Copy, Debug, Default)]
struct Shown {
    subscribed: u64,
    silent: u64,
    missing: u64,
    checksums: u64,
    unreadable: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Closed,
    /// Since when the upgrade is under way.
    Opening(MonoNs),
    Open,
}

impl Connection {
    /// A closed connection for all that the venue quotes. Takes its memory here.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let entries = entries(&parts.directory, parts.id);
        Self::share(parts, entries, Voids::All)
    }

    /// The same for some of its instruments.
    #[must_use]
    pub fn share(parts: Parts, entries: Vec<SymbolEntry>, voids: Voids) -> Self {
        let mine = entries.iter().map(|entry| entry.id).collect();
        let silence = Silence::new(parts.options.silence(), mine);
        let codec = parts.purpose.codec(parts.venue, Symbols::configured(entries));
        Self {
            id: parts.id,
            facts: parts.venue.facts(),
            fetches: Fetches::new(codec.fetch_pace()),
            reads_page: false,
            codec,
            purpose: parts.purpose,
            touched: Vec::new(),
            published: None,
            decoded: Decoded::default(),
            acknowledged: vec![false; parts.directory.rows()],
            stamped: vec![UnixNs(0); parts.directory.rows()],
            directory: parts.directory,
            days: parts.days,
            board: parts.board,
            options: parts.options,
            socket: None,
            end: None,
            phase: Phase::Closed,
            heard: MonoNs(0),
            pinged: false,
            turn: Turn { frames_left: usize::MAX, until: MonoNs(u64::MAX), is_cut: false },
            requests: VecDeque::new(),
            request_at: MonoNs(0),
            keepalive_at: None,
            acknowledged_count: 0,
            price_by: None,
            flowed: false,
            lag: Lag::default(),
            lag_of_days: Lag::default(),
            late_by_days_ns: 0,
            reference: (None, MonoNs(0)),
            is_timed: true,
            backlog: Backlog::default(),
            told_behind: false,
            was_lagging: false,
            source: Source::default(),
            line: LineId::NONE,
            bad: BadFrames::default(),
            checksums: Failing::default(),
            unreadable: Failing::default(),
            blamed: Vec::new(),
            pongs: Pongs::default(),
            voids,
            silence,
            shown: Shown::default(),
            is_second: false,
            halts: Halts::default(),
            listed: 0,
            held: Vec::new(),
            stamps: Stamps::default(),
            ping_at: None,
            opened_at: (MonoNs(0), UnixNs(0)),
            is_leaving: false,
            in_maintenance: false,
            notice: None,
        }
    }

    /// Whether it asks for the instruments of `plan`, which are in order of their ids, and no others.
    #[must_use]
    pub fn asks_for(&self, plan: &[SymbolEntry]) -> bool {
        let mine = self.codec.symbols().entries().iter().map(|entry| entry.id);
        mine.eq(plan.iter().map(|entry| entry.id))
    }

    /// Takes over what `old` has learned of what is usual.
    pub fn learn_from(&mut self, old: &Self) {
        self.silence.learn_from(&old.silence);
        self.learn_times_from(old);
    }

    /// Takes over what another connection to the venue has learned of how late its frames usually come, where this one
    /// knows nothing.
    pub fn learn_times_from(&mut self, other: &Self) {
        self.lag.learn_from(&other.lag);
        self.lag_of_days.learn_from(&other.lag_of_days);
        self.backlog.learn_from(&other.backlog);
    }

    /// Takes `old`'s place on its line: a page that is on its way belongs to nobody, and what was spent is spent.
    pub fn take_fetches_of(&mut self, old: &mut Self) {
        std::mem::swap(&mut self.fetches, &mut old.fetches);
        self.fetches.begin_anew();
    }

    /// How long the pages of all of its books take, at twice the least.
    #[must_use]
    pub fn pages_ns(&self) -> u64 {
        let Pace { count, per_ms } = self.codec.fetch_pace();
        let each = 2 * per_ms.saturating_mul(MS) / u64::from(count.max(1));
        if self.is_of_books() { each.saturating_mul(self.instruments() as u64) } else { 0 }
    }

    /// How many instruments it asks for.
    #[must_use]
    pub fn instruments(&self) -> usize {
        self.codec.symbols().entries().len()
    }

    /// A socket to `address` is connected: the upgrade request is in the output. Everything of an
    /// earlier socket is forgotten.
    ///
    /// # Errors
    /// When `address` is not a WebSocket address.
    pub fn open(&mut self, address: &str, now: MonoNs) -> Result<(), Failure> {
        let limits =
            Limits { message_max: self.facts.message_max, read_buffer: READ_BUFFER, fragments_max: FRAGMENTS_MAX };
        self.socket = Some(WebSocket::client(address, limits)?);
        self.end = None;
        self.phase = Phase::Opening(now);
        self.line = LineId::own(self.board.count_line());
        self.heard = now;
        self.pinged = false;
        self.turn.is_cut = false;
        self.requests.clear();
        self.request_at = now;
        self.keepalive_at = None;
        self.acknowledged.fill(false);
        self.acknowledged_count = 0;
        self.silence.reset();
        self.show();
        (self.is_leaving, self.in_maintenance, self.notice) = (false, false, None);
        self.lag.begin(now);
        self.lag_of_days.begin(now);
        self.late_by_days_ns = 0;
        self.reference.1 = MonoNs(0);
        self.backlog.begin(now);
        self.told_behind = false;
        self.halts.clear();
        self.held.clear();
        self.touched.clear();
        self.fetches.begin_anew();
        (self.stamps, self.ping_at) = (Stamps::default(), None);
        self.price_by = None;
        self.flowed = false;
        self.bad = BadFrames::default();
        self.pongs = Pongs::default();
        Ok(())
    }

    /// Takes bytes that were read at `received`. Returns how many messages were in them.
    pub fn receive(
        &mut self,
        bytes: &[u8],
        received: MonoNs,
        clock: &Clock,
        events: &mut dyn FnMut(FeedEvent),
    ) -> usize {
        self.receive_some(bytes, 0, received, clock, events)
    }

    /// Whether the times of what is received from now on are those at which it came. Without them no lag is told.
    pub const fn set_timed(&mut self, is_timed: bool) {
        self.is_timed = is_timed;
    }

    /// When its last bytes were read.
    #[must_use]
    pub const fn heard(&self) -> MonoNs {
        self.heard
    }

    /// Whether it matters for a read at `now` how many bytes it leaves in the socket.
    #[inline]
    #[must_use]
    pub fn wants_waiting(&self, now: MonoNs) -> bool {
        self.backlog.wants_waiting(now)
    }

    /// The process stood still until `now`: what is read next was sent meanwhile, and what is held may have been replaced.
    pub fn stood_still(&mut self, now: MonoNs, events: &mut dyn FnMut(FeedEvent)) {
        if self.phase == Phase::Open {
            self.backlog.stood_still(now);
            self.tell_behind(events);
        }
    }

    /// Tells the detector when the connection falls behind, or has caught up.
    #[inline]
    fn tell_behind(&mut self, events: &mut dyn FnMut(FeedEvent)) {
        let is_behind = self.phase == Phase::Open && self.backlog.is_behind();
        if is_behind != self.told_behind && !self.is_of_books() {
            self.gauges().behind.replace(u64::from(self.told_behind), u64::from(is_behind));
            self.told_behind = is_behind;
            self.gauges().backlogs.add(u64::from(is_behind));
            events(FeedEvent::Behind(self.id, self.line, is_behind));
        }
    }

    /// The same as [`Self::receive`] for a read that left `waiting` bytes in the socket.
    pub fn receive_some(
        &mut self,
        bytes: &[u8],
        waiting: usize,
        received: MonoNs,
        clock: &Clock,
        events: &mut dyn FnMut(FeedEvent),
    ) -> usize {
        self.backlog.read(bytes.len(), waiting, received);
        self.tell_behind(events);
        let Some(socket) = &mut self.socket else { return 0 };
        let is_after_pause = received.since(std::mem::replace(&mut self.heard, received)) >= PAUSE_NS;
        self.pinged = false;
        let gauges = self.purpose.gauges(&self.board, self.id);
        if is_after_pause {
            let found = (bytes.len() + waiting) as u64;
            gauges.pause_reads.add(1);
            gauges.waiting_bytes.add(found);
            gauges.waiting_bytes_max.set(gauges.waiting_bytes_max.value().max(found));
        }
        gauges.last_bytes.set(received.0);
        gauges.bytes.add(bytes.len() as u64);
        socket.receive(bytes);
        if self.stamps.wants_wall(received) {
            self.read_wall(received, clock);
        }
        self.resume(clock, events)
    }

    /// A turn begins, of at most `frames` frames, control frames and fragments included, until the time `until`. What is
    /// left over waits for [`Self::resume`] in the next one. Without a call there is no limit.
    pub fn begin_turn(&mut self, frames: usize, until: MonoNs) {
        self.turn = Turn { frames_left: frames, until, is_cut: false };
    }

    /// How many of the turn's frames are left; 0 when its time is over.
    #[must_use]
    pub const fn frames_left(&self) -> usize {
        if self.turn.is_cut { 0 } else { self.turn.frames_left }
    }

    /// Whether frames that were received wait for another turn.
    #[must_use]
    pub const fn has_more(&self) -> bool {
        self.turn.is_cut
    }

    /// Takes frames that were received, as many as the turn allows. Returns how many messages were in them.
    pub fn resume(&mut self, clock: &Clock, events: &mut dyn FnMut(FeedEvent)) -> usize {
        let received = self.heard;
        let (mut messages, mut looks) = (0, 0);
        while self.end.is_none() {
            let Some(socket) = &mut self.socket else { break };
            socket.allow(self.turn.frames_left);
            let written = socket.output().len();
            let next = socket.next();
            self.turn.frames_left = socket.frames_left();
            looks += 1;
            if looks % FRAMES_PER_LOOK == 0 && self.turn.until < MonoNs(u64::MAX) && clock.now() >= self.turn.until {
                self.turn.is_cut = true;
            }
            match next {
                Ok(None) => {
                    self.turn.is_cut = socket.has_input();
                    break;
                }
                Ok(Some(Event::Text(text))) => {
                    messages += 1;
                    self.backlog.decoded(framed_length(text.len()));
                    self.message(text.as_bytes(), received, clock, events);
                }
                Ok(Some(Event::Binary(bytes))) => {
                    messages += 1;
                    self.backlog.decoded(framed_length(bytes.len()));
                    self.message(&bytes, received, clock, events);
                }
                Ok(Some(Event::Ping)) => self.pongs.sent(socket.output(), written, received),
                Ok(Some(Event::Pong)) => self.stamps.ponged(received),
                Ok(Some(Event::Open(source))) => self.opened(source.as_deref(), received, clock.unix()),
                Ok(Some(Event::Closed(code))) => self.finish(End::Closed(code), events),
                Err(failure) => self.finish(End::WebSocket(failure), events),
            }
            if self.turn.is_cut {
                break;
            }
        }
        if self.end.is_some() {
            self.turn.is_cut = false;
        }
        if !self.turn.is_cut && self.backlog.end_read() {
            self.late_by_days_ns = 0;
        }
        self.gauges().turns_cut.add(u64::from(self.turn.is_cut));
        self.publish_books();
        self.send_requests(received);
        self.check_output(events);
        messages
    }

    /// Time has passed: pings, keepalives, spaced requests, and the ends that silence brings.
    pub fn elapsed(&mut self, now: MonoNs, events: &mut dyn FnMut(FeedEvent)) {
        match self.phase {
            Phase::Closed => return,
            Phase::Opening(since) => {
                if now.since(since) >= self.options.upgrade_max_ms.saturating_mul(MS) {
                    self.finish(End::NoUpgrade, events);
                }
                return;
            }
            Phase::Open => {}
        }
        if now >= self.silent_at() {
            self.gauges().silences.add(1);
            return self.finish(End::Silent, events);
        }
        let Some(socket) = &mut self.socket else { return };
        if !self.pinged && now >= self.heard.plus(self.options.silence_ping_ms.saturating_mul(MS)) {
            self.pinged = true;
            self.stamps.pinged(now);
            socket.ping();
        } else if self.ping_at.is_some_and(|at| now >= at) {
            self.stamps.pinged(now);
            socket.ping();
        }
        if self.ping_at.is_some_and(|at| now >= at) {
            self.ping_at = Some(now.plus(PING_EVERY_NS));
        }
        self.pongs.release(socket.output(), now);
        self.backlog.elapsed(now);
        self.tell_behind(events);
        self.keep_alive(now);
        self.miss_prices(now);
        if self.listed != self.directory.facts() {
            self.look_at_facts(now);
            self.show();
        }
        self.find_silent(now, events);
        let is_mended = [&mut self.checksums, &mut self.unreadable].map(|failing| failing.check(now));
        if is_mended.contains(&true) {
            self.show();
        }
        self.send_requests(now);
        self.check_output(events);
    }

    /// When [`Self::elapsed`] wants to be called; `None` while closed.
    #[must_use]
    pub fn deadline(&self) -> Option<MonoNs> {
        match self.phase {
            Phase::Closed => None,
            Phase::Opening(since) => Some(since.plus(self.options.upgrade_max_ms.saturating_mul(MS))),
            Phase::Open => {
                let ping = self.heard.plus(self.options.silence_ping_ms.saturating_mul(MS));
                let silence = if self.pinged { self.silent_at() } else { ping.min(self.silent_at()) };
                let request = (!self.requests.is_empty()).then_some(self.request_at);
                [
                    Some(silence),
                    request,
                    self.keepalive_at,
                    self.price_by,
                    self.pongs.release_at(),
                    self.silence.check_at(),
                    self.backlog.deadline().filter(|_| !self.is_of_books()),
                    self.ping_at,
                    self.fetches.due(),
                ]
                .into_iter()
                .flatten()
                .min()
            }
        }
    }

    /// Bytes for the venue; the caller removes from the front what it has sent.
    pub fn output(&mut self) -> Option<&mut Vec<u8>> {
        self.socket.as_mut().map(WebSocket::output)
    }

    /// The socket is lost, or we leave: the conversation is over for this reason, unless it already is.
    pub fn lose(&mut self, why: End, events: &mut dyn FnMut(FeedEvent)) {
        self.finish(why, events);
    }

    /// Nobody wants it any more: says goodbye. The quotes stay what they were, only older and older, so nobody is told
    /// that they are void; and it is no error.
    pub fn retire(&mut self) {
        if let (Some(socket), Phase::Open) = (&mut self.socket, self.phase) {
            socket.close(1000, "");
        }
        self.close();
        // A quote grows old by itself; a book would be shown for ever.
        if self.is_of_books() {
            self.void_all(&mut |_| {});
        }
    }

    /// Why it is over; `None` while it is not. A last word may be in the output.
    #[must_use]
    pub const fn end(&self) -> Option<&End> {
        self.end.as_ref()
    }

    /// Whether the upgrade is done and nothing has ended it.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.phase == Phase::Open
    }

    /// Whether prices have come on this socket.
    #[must_use]
    pub const fn has_flowed(&self) -> bool {
        self.flowed
    }

    /// Takes a REST reply, one of a recording as if the codec had asked for it. Whether it could be read.
    pub fn snapshot(
        &mut self,
        url: &str,
        body: &[u8],
        received: MonoNs,
        clock: &Clock,
        events: &mut dyn FnMut(FeedEvent),
    ) -> bool {
        self.take_rest(|codec, decoded| codec.snapshot(url, body, decoded), received, clock, events)
    }

    fn take_rest(
        &mut self,
        take: impl FnOnce(&mut dyn FeedCodec, &mut Decoded) -> Result<Frame, DecodeError>,
        received: MonoNs,
        clock: &Clock,
        events: &mut dyn FnMut(FeedEvent),
    ) -> bool {
        if self.phase != Phase::Open {
            return true;
        }
        self.decoded.clear();
        let result = take(&mut *self.codec, &mut self.decoded);
        let is_read = result.is_ok();
        if !is_read {
            self.blame(None);
        }
        self.reads_page = true;
        self.take(result, received, clock, events);
        self.reads_page = false;
        self.publish_books();
        is_read
    }

    fn gauges(&self) -> &VenueGauges {
        self.purpose.gauges(&self.board, self.id)
    }

    fn silent_at(&self) -> MonoNs {
        self.heard.plus(self.options.silence_max_ms.saturating_mul(MS))
    }

    fn opened(&mut self, source: Option<&str>, now: MonoNs, unix: UnixNs) {
        self.phase = Phase::Open;
        self.opened_at = (now, unix);
        self.ping_at = Some(now.plus(FIRST_PING_NS));
        self.price_by = Some(now.plus(self.options.first_price_ms.saturating_mul(MS)));
        if let Keepalive::Client { every_ms, .. } = self.facts.keepalive {
            self.keepalive_at = Some(now.plus(every_ms.saturating_mul(MS)));
        }
        let source = [Source::Simulated, Source::Replay].into_iter().find(|s| Some(s.word()) == source);
        self.source = source.unwrap_or_default();
        let gauges = self.gauges();
        gauges.set_source(self.source as u8);
        gauges.connects.add(1);
        gauges.count_failure(Some(true));
        if let Opening::Patient { wait_ms } = self.facts.opening {
            self.request_at = now.plus(wait_ms.saturating_mul(MS));
        }
        self.look_at_facts(now);
        let mut requests = Requests::new();
        self.codec.set_time(unix);
        self.codec.opened(&mut requests);
        self.requests.extend(requests);
    }

    fn message(&mut self, frame: &[u8], received: MonoNs, clock: &Clock, events: &mut dyn FnMut(FeedEvent)) {
        self.decoded.clear();
        let result = self.codec.decode(frame, received, &mut self.decoded);
        if result.is_err() {
            self.blame(Some(frame));
        }
        self.take(result, received, clock, events);
    }

    /// Does what a frame meant.
    fn take(
        &mut self,
        result: Result<Frame, DecodeError>,
        received: MonoNs,
        clock: &Clock,
        events: &mut dyn FnMut(FeedEvent),
    ) {
        // Taken out and put back, so that the updates can be walked while the rest of us is changed.
        let mut decoded = std::mem::take(&mut self.decoded);
        let now = if decoded.updates.is_empty() { received } else { clock.now() };
        for update in &decoded.updates {
            // Nothing may follow the word that all quotes are void.
            if self.phase == Phase::Open {
                self.update(update, received, now, events);
            }
        }
        self.requests.extend(decoded.requests.drain(..));
        if !self.halts.resumed.is_empty() {
            self.ask_for_resumed(received);
        }
        self.fetches.wanted(decoded.fetches.drain(..));
        for answer in decoded.answers.drain(..) {
            self.answer(&answer);
        }
        self.decoded = decoded;
        self.gauges().frames.add(1);
        match result {
            Ok(Frame::Unused) => self.gauges().frames_unused.add(1),
            Ok(Frame::Data | Frame::Control) => {}
            Err(error) => self.undecodable(error, received, events),
        }
    }

    /// Says what the venue waits for, ahead of all requests and their spacing.
    #[cold]
    fn answer(&mut self, text: &str) {
        if let (Phase::Open, Some(socket)) = (self.phase, &mut self.socket) {
            socket.send_text(text);
        }
    }

    #[inline]
    fn update(&mut self, update: &Update, received: MonoNs, decoded: MonoNs, events: &mut dyn FnMut(FeedEvent)) {
        match update {
            // What the book's own change says is enough.
            Update::Top(_) | Update::Statistics(_) if self.is_of_books() => {}
            Update::Book(note) => self.take_book(*note, received),
            Update::Top(top) => {
                if !self.flowed {
                    self.first_price(received);
                }
                let exchange_time = match self.stamps.read(top.exchange_time, received) {
                    Ok(()) => top.exchange_time,
                    Err(instead) => {
                        self.gauges().future_stamps.add(1);
                        instead
                    }
                };
                let (late_ns, delay) = self.lateness(top.instrument, exchange_time, received);
                self.gauges().quotes.add(1);
                self.gauges().lagged.add(u64::from(delay == Delay::Lagging));
                if self.halts.has(top.instrument) {
                    return;
                }
                self.heard_of(top.instrument, received);
                let quote = Quote {
                    instrument: top.instrument,
                    venue: self.id,
                    bid: top.bid,
                    ask: top.ask,
                    sequence: top.sequence,
                    exchange_time,
                    // A price that lay on the way is as old as if it had been read when it should have come.
                    received: MonoNs(received.0.saturating_sub(late_ns)),
                    decoded,
                    source: self.source,
                    origin: Origin::Own,
                    line: self.line,
                    delay,
                };
                if self.is_second || self.in_maintenance {
                    return self.hold(quote, events);
                }
                events(FeedEvent::Quote(quote));
            }
            Update::Statistics(day) => {
                self.witness(day.exchange_time, received);
                self.days.store(self.directory.pair(day.instrument, self.id), day);
            }
            Update::Void(instrument, reason) => {
                if *reason == VoidReason::Halt || self.is_second {
                    self.silence.rests(*instrument);
                    self.show();
                }
                if *reason == VoidReason::Checksum {
                    self.checksums.failed(*instrument, received);
                    self.show();
                }
                if self.is_second {
                    return;
                }
                self.void(*instrument, (*reason).into(), events);
            }
            Update::Trading(instrument, is_traded) => {
                if self.halts.has(*instrument) == *is_traded {
                    self.trading(*instrument, *is_traded, received, events);
                }
            }
            Update::Subscribed(instrument) => self.acknowledge(*instrument, received),
            Update::Refused(why) => {
                self.gauges().refused.add(1);
                self.gauges().set_last_error(&format!("refused: {why}"));
            }
            Update::Reconnect(why) => self.finish(End::Wanted(why), events),
            Update::Notice(notice) => self.take_note(notice, events),
        }
    }

    /// The venue says otherwise than before whether an instrument is traded.
    #[cold]
    fn trading(&mut self, instrument: InstrumentId, is_traded: bool, now: MonoNs, events: &mut dyn FnMut(FeedEvent)) {
        self.halts.set(instrument, !is_traded);
        let is_listed_halted = self.directory.is_halted_by(instrument, self.id, HaltedBy::List);
        self.silence.halted(instrument, !is_traded || is_listed_halted, now);
        self.show();
        if !is_traded && !self.is_second {
            self.void(instrument, BookVoid::Halt, events);
        }
    }

    /// An instrument that does not trade by the venue's list is not expected to quote, and is not resubscribed.
    fn look_at_facts(&mut self, now: MonoNs) {
        let Self { listed, directory, silence, codec, halts, id, .. } = self;
        *listed = directory.facts();
        for entry in codec.symbols().entries() {
            let is_halted = halts.has(entry.id) || directory.is_halted_by(entry.id, *id, HaltedBy::List);
            silence.halted(entry.id, is_halted, now);
        }
    }

    /// Asks for the instruments whose trading has resumed: what changed meanwhile is not known to have been told, and one
    /// that is quiet would not be quoted for long.
    #[cold]
    fn ask_for_resumed(&mut self, now: MonoNs) {
        let mut requests = Requests::new();
        self.tell_time(now);
        let resumed = std::mem::take(&mut self.halts.resumed);
        resumed.iter().for_each(|instrument| self.codec.forget(*instrument));
        self.codec.resubscribe(&resumed, &mut requests);
        self.requests.extend(requests);
    }

    /// How much later than it was sent a quote was read, beyond what is usual or what most clocks show, and whether it is
    /// no leg for that. A stamp that the instrument had before tells nothing new. Without a stamp the day statistics of
    /// the connection tell, and in a backlog the place among the bytes that waited.
    #[inline]
    fn lateness(&mut self, instrument: InstrumentId, stamp: UnixNs, received: MonoNs) -> (u64, Delay) {
        if stamp.0 == 0 {
            let days = &self.lag_of_days;
            let excess_ns = days.excess_ns();
            let is_lagging = excess_ns > lag::LAGGING_NS || days.is_lagging();
            let delay = if is_lagging || days.is_unproven(received) { Delay::Lagging } else { Delay::None };
            let late_ns = self.backlog.late_ns().unwrap_or(self.told_ns(self.late_by_days_ns));
            self.show_lag(is_lagging, excess_ns);
            return (late_ns, delay);
        }
        if !self.is_timed {
            return (0, Delay::None);
        }
        let is_repeated = match self.stamped.get_mut(instrument.index()) {
            Some(last) => std::mem::replace(last, stamp) == stamp,
            None => false,
        };
        let excess_ns = if is_repeated { self.lag.excess_ns() } else { self.take_stamp(stamp, received) };
        if self.backlog.is_behind() {
            self.backlog.proven(excess_ns, lag::LAGGING_NS, received);
        }
        let is_lagging = excess_ns > lag::LAGGING_NS || self.lag.is_lagging();
        self.show_lag(is_lagging, excess_ns);
        (self.told_ns(excess_ns), if is_lagging { Delay::Lagging } else { Delay::None })
    }

    /// The part of a lag that is told: all of it in a backlog, which is no jitter.
    #[inline]
    fn told_ns(&self, excess_ns: u64) -> u64 {
        if self.backlog.is_behind() { excess_ns } else { lag::told_ns(excess_ns) }
    }

    /// The lag of what is stamped `stamp`. What is usual on this connection is the venue's vote on the time of day.
    #[inline]
    fn take_stamp(&mut self, stamp: UnixNs, received: MonoNs) -> u64 {
        let before = self.lag.usual();
        if before.is_none() && stamp.0 != 0 {
            self.vote(Some(lag::difference(stamp, received)));
            self.reference.1 = MonoNs(0);
        }
        let reference = self.reference(received);
        let excess_ns = self.lag.take(stamp, received, reference);
        if self.lag.usual() != before {
            self.vote(self.lag.usual());
        }
        excess_ns
    }

    /// A message that is stamped when it is sent tells of the line for those that are not.
    fn witness(&mut self, stamp: UnixNs, received: MonoNs) {
        if stamp.0 == 0 || !self.is_timed {
            return;
        }
        let reference = self.reference(received);
        let excess_ns = self.lag_of_days.take(stamp, received, reference);
        self.late_by_days_ns = excess_ns;
        if self.lag.usual().is_none() {
            self.vote(self.lag_of_days.usual());
        }
        if self.backlog.is_behind() {
            self.backlog.proven(excess_ns, lag::LAGGING_NS, received);
        }
    }

    /// What stamps are held against, a moment old.
    #[inline]
    fn reference(&mut self, now: MonoNs) -> Option<Reference> {
        if self.reference.1 == MonoNs(0) || now.since(self.reference.1) >= REFERENCE_NS {
            self.reference = (reference::now(&self.board), now);
        }
        self.reference.0
    }

    /// Books tell of their own connections.
    #[inline]
    fn vote(&self, usual: Option<i64>) {
        if let Some(usual) = usual.filter(|_| !self.is_of_books()) {
            self.gauges().usual.set(usual);
        }
    }

    /// Shows how late the quotes are, while they are.
    #[inline]
    fn show_lag(&mut self, is_lagging: bool, excess_ns: u64) {
        if is_lagging || self.was_lagging {
            self.was_lagging = is_lagging;
            self.gauges().lag_ns.set(if is_lagging { excess_ns } else { 0 });
        }
    }

    #[inline]
    fn heard_of(&mut self, instrument: InstrumentId, received: MonoNs) {
        let before = self.silence.silent() + self.silence.missing();
        self.silence.heard(instrument, received);
        if self.silence.silent() + self.silence.missing() != before {
            self.show();
        }
    }

    /// What the venue says in maintenance does not hold. What a second connection says holds as well as what the first
    /// one says, if the venue's number or stamp puts the two in order.
    #[cold]
    fn hold(&mut self, quote: Quote, events: &mut dyn FnMut(FeedEvent)) {
        if self.in_maintenance {
            return;
        }
        if quote.sequence != 0 || quote.exchange_time.0 != 0 {
            events(FeedEvent::Quote(quote));
        } else if let Some(held) = self.held.get_mut(quote.instrument.index()) {
            *held = Some(quote);
        }
    }

    #[cold]
    fn take_note(&mut self, notice: &Notice, events: &mut dyn FnMut(FeedEvent)) {
        self.gauges().count_notice(&notice.to_string());
        match notice {
            Notice::Leaving(_) => self.is_leaving = true,
            Notice::Maintenance => {
                self.in_maintenance = true;
                for entry in self.codec.symbols().entries() {
                    self.silence.rests(entry.id);
                    if !self.is_second {
                        self.void(entry.id, BookVoid::Halt, events);
                    }
                }
                self.show();
            }
            Notice::Resumed => self.in_maintenance = false,
            Notice::Said(_) => {}
        }
        self.notice = Some(notice.clone());
    }

    #[cold]
    fn first_price(&mut self, now: MonoNs) {
        self.flowed = true;
        self.price_by = None;
        self.gauges().consecutive_errors.set(0);
        // What a leader said of its own line.
        self.gauges().lag_ns.set(0);
        self.connected(now);
    }

    fn acknowledge(&mut self, instrument: InstrumentId, now: MonoNs) {
        let Some(known) = self.acknowledged.get_mut(instrument.index()) else { return };
        if !std::mem::replace(known, true) {
            self.acknowledged_count += 1;
            self.show();
            self.connected(now);
        }
    }

    /// An open socket is not a connection yet: something must have been acknowledged, or have come.
    fn connected(&self, now: MonoNs) {
        if self.gauges().state() != LinkState::Connected {
            self.gauges().set_state(LinkState::Connected, now);
        }
    }

    #[cold]
    fn undecodable(&mut self, error: DecodeError, now: MonoNs, events: &mut dyn FnMut(FeedEvent)) {
        self.gauges().decode_errors.add(error.reason(), 1);
        // What the codec can mend by itself is no broken frame.
        if error.loss().is_some() {
            return;
        }
        if self.blamed.is_empty() {
            if self.bad.is_one_too_many(now) {
                self.finish(End::BadFrames, events);
            }
            return;
        }
        for instrument in self.blamed.drain(..) {
            self.unreadable.failed(instrument, now);
        }
        self.show();
    }

    /// Finds the instruments that a frame is about which cannot be read: those that the codec has voided for it, or else
    /// those that the frame names. One instrument that is never readable must not cost the connection's others.
    #[cold]
    fn blame(&mut self, frame: Option<&[u8]>) {
        let Self { blamed, decoded, codec, .. } = self;
        blamed.clear();
        blamed.extend(decoded.updates.iter().filter_map(|update| match update {
            Update::Void(instrument, VoidReason::Undecodable) => Some(*instrument),
            _ => None,
        }));
        if let (true, Some(frame)) = (blamed.is_empty(), frame) {
            *blamed = codec.symbols().named_in(frame);
        }
    }

    fn keep_alive(&mut self, now: MonoNs) {
        let (Keepalive::Client { every_ms, .. }, Some(at)) = (self.facts.keepalive, self.keepalive_at) else { return };
        if now < at {
            return;
        }
        self.keepalive_at = Some(now.plus(every_ms.saturating_mul(MS)));
        let mut requests = Requests::new();
        self.tell_time(now);
        self.codec.keepalive(&mut requests);
        // Before what else is waiting: the venue counts the seconds.
        for request in requests.into_iter().rev() {
            self.requests.push_front(request);
        }
    }

    /// Some venues want the time in a request.
    fn tell_time(&mut self, now: MonoNs) {
        let (opened, unix) = self.opened_at;
        self.codec.set_time(UnixNs(unix.0.saturating_add(now.since(opened))));
    }

    /// Reads the wall clock for the stamps, and tells what they say.
    #[cold]
    fn read_wall(&mut self, now: MonoNs, clock: &Clock) {
        let before = clock.now();
        let unix = clock.unix();
        if clock.now().since(before) <= WALL_MAX_NS {
            reference::see_wall(&self.board.wall, before.0.wrapping_sub(unix.0) as i64);
        }
        if self.stamps.set_wall(now, clock.unix_at(now)) {
            self.gauges().clock.forget();
        }
        if let Some((offset_ns, one_way_ns)) = self.stamps.value() {
            self.gauges().clock.set(offset_ns, one_way_ns);
        }
    }

    fn miss_prices(&mut self, now: MonoNs) {
        if self.price_by.is_some_and(|by| now >= by) {
            self.price_by = None;
            let gauges = self.gauges();
            gauges.mute.add(1);
            gauges.set_last_error(&format!(
                "no price {} s after subscribing; {} of {} instruments acknowledged",
                self.options.first_price_ms / 1000,
                self.acknowledged_count,
                self.instruments()
            ));
        }
    }

    /// Instruments that are silent or never came: void, and asked for again one by one.
    fn find_silent(&mut self, now: MonoNs, events: &mut dyn FnMut(FeedEvent)) {
        if self.silence.check_at().is_none_or(|at| now < at) {
            return;
        }
        let (mut again, mut silenced) = (None, 0);
        let Self { silence, purpose, board, directory, id, is_second, .. } = self;
        silence.check(now, &mut |finding| match finding {
            // While there are two, the first one speaks.
            Finding::Silent(instrument) if !*is_second => {
                silenced += 1;
                purpose.void(board, directory, (instrument, *id), BookVoid::Silent, events);
            }
            Finding::Again(instrument) => again = Some(instrument),
            Finding::Silent(_) | Finding::Missing(_) => {}
        });
        self.gauges().silenced.add(silenced);
        self.show();
        let Some(instrument) = again else { return };
        let mut requests = Requests::new();
        self.tell_time(now);
        self.codec.resubscribe(&[instrument], &mut requests);
        self.gauges().resubscribed.add(1);
        self.requests.extend(requests);
    }

    fn send_requests(&mut self, now: MonoNs) {
        if self.phase != Phase::Open {
            return;
        }
        let Some(socket) = &mut self.socket else { return };
        while now >= self.request_at {
            let Some(request) = self.requests.pop_front() else { return };
            socket.send_text(&request);
            self.request_at = now.plus(self.facts.request_gap_ms.saturating_mul(MS));
            if self.requests.is_empty() {
                self.silence.asked(now);
            }
        }
    }

    fn check_output(&mut self, events: &mut dyn FnMut(FeedEvent)) {
        let waiting = self.output().map_or(0, |output| output.len());
        if waiting > OUTPUT_MAX || self.requests.len() > REQUESTS_MAX {
            self.finish(End::Backlog, events);
        }
    }

    /// The conversation is over; all quotes of the venue are void from now on.
    fn finish(&mut self, end: End, events: &mut dyn FnMut(FeedEvent)) {
        if self.phase == Phase::Closed {
            return;
        }
        if self.phase == Phase::Open {
            self.gauges().disconnects.add(1);
        }
        if let (Some(socket), Some((code, reason))) = (&mut self.socket, farewell(&end)) {
            socket.close(code, reason);
        }
        self.close();
        let gauges = self.gauges();
        gauges.consecutive_errors.set(gauges.consecutive_errors.value() + 1);
        self.end = Some(end);
        self.void_all(events);
    }

    fn close(&mut self) {
        self.phase = Phase::Closed;
        // The detector keeps what it was told: quotes that came by this connection stay no legs.
        let (was_behind, was_lagging) = (std::mem::take(&mut self.told_behind), std::mem::take(&mut self.was_lagging));
        self.gauges().behind.replace(u64::from(was_behind), 0);
        if was_lagging {
            self.gauges().lag_ns.set(0);
        }
        self.requests.clear();
        self.acknowledged.fill(false);
        self.acknowledged_count = 0;
        self.silence.reset();
        self.show();
    }

    fn void_all(&self, events: &mut dyn FnMut(FeedEvent)) {
        match self.voids {
            Voids::All if !self.is_of_books() => events(FeedEvent::Down(self.id, Origin::Own)),
            Voids::All | Voids::Own => {
                for entry in self.codec.symbols().entries() {
                    self.void(entry.id, BookVoid::Lost, events);
                }
            }
            Voids::Told => {}
        }
    }

    fn void(&self, instrument: InstrumentId, why: BookVoid, events: &mut dyn FnMut(FeedEvent)) {
        self.purpose.void(&self.board, &self.directory, (instrument, self.id), why, events);
    }

    /// Makes the venue's gauges right, as far as they are ours.
    fn show(&mut self) {
        let before = self.shown;
        self.shown = match (self.phase, self.is_second) {
            (Phase::Open, false) => Shown {
                subscribed: self.acknowledged_count as u64,
                silent: self.silence.silent() as u64,
                missing: self.silence.missing() as u64,
                checksums: self.checksums.flagged() as u64,
                unreadable: self.unreadable.flagged() as u64,
            },
            _ => Shown::default(),
        };
        let (gauges, now) = (self.gauges(), self.shown);
        gauges.subscribed.replace(before.subscribed, now.subscribed);
        gauges.silent_pairs.replace(before.silent, now.silent);
        gauges.missing_pairs.replace(before.missing, now.missing);
        if let (true, Some(one)) = (now.missing > 0, self.silence.missing_one()) {
            gauges.missing_one.set(u64::from(one.0));
        }
        gauges.checksum_pairs.replace(before.checksums, now.checksums);
        if let (true, Some(one)) = (now.checksums > 0, self.checksums.flagged_one()) {
            gauges.checksum_one.set(u64::from(one.0));
        }
        gauges.unreadable_pairs.replace(before.unreadable, now.unreadable);
        if let (true, Some(one)) = (now.unreadable > 0, self.unreadable.flagged_one()) {
            gauges.unreadable_one.set(u64::from(one.0));
        }
    }
}

/// Two connections with the same instruments.
impl Connection {
    /// What its end makes void.
    #[must_use]
    pub const fn voids(&self) -> Voids {
        self.voids
    }

    /// What its end makes void from now on.
    pub fn set_voids(&mut self, voids: Voids) {
        self.voids = voids;
    }

    /// It is the second of two, or no more. A second one tells no quotes that nothing orders.
    pub fn set_second(&mut self, is_second: bool) {
        self.is_second = is_second;
        self.held.clear();
        if is_second {
            self.held.resize(self.acknowledged.len(), None);
        }
        self.show();
    }

    /// Whether it is the second of two.
    #[must_use]
    pub const fn is_second(&self) -> bool {
        self.is_second
    }

    /// Since when it is open.
    #[must_use]
    pub const fn opened_at(&self) -> MonoNs {
        self.opened_at.0
    }

    /// Whether the venue said that it will close it.
    #[must_use]
    pub const fn is_leaving(&self) -> bool {
        self.is_leaving
    }

    /// Whether the venue has acknowledged something, or given a price.
    #[must_use]
    pub fn is_subscribed(&self) -> bool {
        self.phase == Phase::Open && (self.flowed || self.acknowledged_count > 0)
    }

    /// Whether it gives prices of all instruments of which `old` gave one within the last `within_ns` nanoseconds.
    #[must_use]
    pub fn gives_what(&self, old: &Self, now: MonoNs, within_ns: u64) -> bool {
        let is_recent = |id| old.silence.last(id).is_some_and(|at| now.since(at) <= within_ns);
        let entries = self.codec.symbols().entries();
        self.is_open()
            && self.flowed
            && entries.iter().all(|entry| !is_recent(entry.id) || self.silence.last(entry.id).is_some())
    }

    /// It takes the place of `old`: what that one learned of its instruments stays known, what was held back is told, and
    /// what it does not ask for any more is void.
    pub fn take_over(&mut self, old: &Self, events: &mut dyn FnMut(FeedEvent)) {
        for quote in self.held.iter().flatten() {
            events(FeedEvent::Quote(*quote));
        }
        // Its books were held back: not only those that changed just now.
        self.is_second = false;
        self.publish_books();
        for instrument in self.halts.iter() {
            self.void(instrument, BookVoid::Halt, events);
        }
        self.silence.learn_from(&old.silence);
        let mine = self.codec.symbols().entries();
        // A quote grows old by itself; a book that only `old` had is nobody's.
        for entry in mine.iter().filter(|it| self.is_of_books() && self.codec.book(it.id).is_none()) {
            self.void(entry.id, BookVoid::Lost, events);
        }
        // In order of their ids.
        for entry in old.codec.symbols().entries() {
            if mine.binary_search_by_key(&entry.id, |mine| mine.id).is_err() {
                old.void(entry.id, BookVoid::Lost, events);
            }
        }
    }

    /// Everything is void that `other`, with the same instruments, has not quoted.
    pub fn void_beyond(&self, other: &Self, events: &mut dyn FnMut(FeedEvent)) {
        for entry in self.codec.symbols().entries() {
            if !other.is_open() || other.silence.last(entry.id).is_none() {
                self.void(entry.id, BookVoid::Lost, events);
            }
        }
    }

    /// What the venue said about itself since the last call.
    pub fn take_notice(&mut self) -> Option<Notice> {
        self.notice.take()
    }
}

impl Purpose {
    /// What `instrument` says on the venue holds no more.
    fn void(
        &self,
        board: &Board,
        directory: &Directory,
        (instrument, id): (InstrumentId, VenueId),
        why: BookVoid,
        events: &mut dyn FnMut(FeedEvent),
    ) {
        match self {
            Self::Tops => events(FeedEvent::Void(instrument, id, Origin::Own, why)),
            Self::Books(table) => void_book(table, board, directory.pair(instrument, id), id, why),
        }
    }
}

/// A book becomes void, and is counted if it was not.
fn void_book(table: &BookTable, board: &Board, pair: PairId, id: VenueId, why: BookVoid) {
    if table.void(pair, why) {
        board.books[id.index()].voids.add(why, 1);
    }
}

/// Order books.
impl Connection {
    /// What it is for.
    #[must_use]
    pub const fn purpose(&self) -> &Purpose {
        &self.purpose
    }

    /// Whether it is for order books, not for tops.
    #[must_use]
    pub const fn is_of_books(&self) -> bool {
        self.purpose.is_books()
    }

    fn take_book(&mut self, note: BookNote, received: MonoNs) {
        if !self.flowed {
            self.first_price(received);
        }
        self.gauges().quotes.add(1);
        self.heard_of(note.instrument, received);
        // A page tells nothing of the line. One that is older than the stream is as young as the stream's last event.
        let excess_ns = match self.reads_page {
            _ if !self.is_timed => 0,
            true => {
                let reference = self.reference(received);
                self.lag.of(note.exchange_time, received, reference)
            }
            false => self.take_stamp(note.exchange_time, received),
        };
        let late_ns = lag::told_ns(excess_ns);
        self.gauges().lagged.add(u64::from(late_ns > 0 && !self.reads_page));
        let touched = (note, MonoNs(received.0.saturating_sub(late_ns)));
        match self.touched.iter_mut().find(|(other, _)| other.instrument == note.instrument) {
            Some(other) => *other = touched,
            None => self.touched.push(touched),
        }
        self.published = Some(received);
    }

    /// Shows the books that changed, once for all that came together. A second one keeps them until it is the first.
    fn publish_books(&mut self) {
        let Self { purpose: Purpose::Books(table), touched, codec, board, directory, id, .. } = self else { return };
        if self.is_second || self.in_maintenance || touched.is_empty() {
            return;
        }
        for (BookNote { instrument, sequence, exchange_time }, received) in touched.drain(..) {
            let pair = directory.pair(instrument, *id);
            match codec.book(instrument) {
                // Lost since: it was said to be.
                None => {}
                // It may be the venue's own for a moment, and is nothing to act upon; the codec gives it a second.
                Some(book) if book.is_crossed() => {
                    void_book(table, board, pair, *id, BookVoid::Crossed);
                }
                Some(book) => {
                    let stamp = BookStamp { sequence, exchange_time, received, source: self.source };
                    table.publish(pair, book, stamp);
                }
            }
        }
    }

    /// When the books that were shown since the last call had been read.
    pub fn take_published(&mut self) -> Option<MonoNs> {
        if self.is_of_books() && self.touched.is_empty() { self.published.take() } else { None }
    }

    /// The next book page to fetch, if one is due; what became of it is told by [`Self::fetched`] or
    /// [`Self::not_fetched`].
    pub fn take_fetch(&mut self, now: MonoNs) -> Option<Fetch> {
        (self.phase == Phase::Open).then(|| self.fetches.take(now)).flatten()
    }

    /// Reads the pages that [`Self::take_fetch`] asks for, on any thread.
    #[must_use]
    pub fn page_reader(&self) -> PageReader {
        self.codec.page_reader()
    }

    /// The reply to what [`Self::take_fetch`] gave, as [`Self::page_reader`] read it.
    pub fn fetched(
        &mut self,
        page: Result<BookPage, DecodeError>,
        received: MonoNs,
        clock: &Clock,
        events: &mut dyn FnMut(FeedEvent),
    ) {
        let Some(fetch) = self.fetches.done(received) else { return };
        let take = |codec: &mut dyn FeedCodec, decoded: &mut Decoded| {
            page.and_then(|page| codec.take_page(fetch.instrument, page, decoded))
        };
        match self.take_rest(take, received, clock, events) {
            true => self.fetches.failed = 0,
            false => self.fetches.failed(Wait::Usual, received),
        }
    }

    /// No page before `until`: the venue said so to another of us, or is giving one.
    pub fn hold_fetches(&mut self, until: MonoNs) {
        self.fetches.at = self.fetches.at.max(until);
    }

    /// There was no reply, or it was refused; it is tried again after this `wait`. Returns what is said of it.
    pub fn not_fetched(&mut self, wait: Wait, why: &DialError, now: MonoNs) -> String {
        let instrument = self.fetches.under_way.as_ref().map(|fetch| fetch.instrument);
        let symbol = instrument.map_or("a former connection", |instrument| self.directory.symbol(instrument));
        let said = format!("no book page of {symbol} from {}: {why}", self.facts.name);
        self.fetches.failed(wait, now);
        self.gauges().set_last_error(&said);
        said
    }
}

/// The close frame that an end deserves, where the WebSocket has not already sent one.
const fn farewell(end: &End) -> Option<(u16, &'static str)> {
    match end {
        End::WebSocket(_)
        | End::Closed(_)
        | End::Socket(_)
        | End::NoUpgrade
        | End::Silent
        | End::Backlog
        | End::Overslept => None,
        End::BadFrames => Some((1007, "frames cannot be decoded")),
        End::Wanted(_) | End::Ours => Some((1000, "")),
    }
}

/// The instruments that the venue with `id` quotes.
#[must_use]
pub fn entries(directory: &Directory, id: VenueId) -> Vec<SymbolEntry> {
    let entry = |(id, native): (InstrumentId, &str)| {
        let (native, symbol) = (native.to_owned(), directory.symbol(id).to_owned());
        SymbolEntry { id, native, symbol }
    };
    directory.quoted_by(id).map(entry).collect()
}

/// Book pages that the codec waits for: one at a time, and not too often.
struct Fetches {
    waiting: VecDeque<Fetch>,
    under_way: Option<Fetch>,
    /// The reply to come was asked for on another connection, and is of no use.
    is_orphan: bool,
    budget: Budget,
    /// None before this time.
    at: MonoNs,
    /// Failures in a row.
    failed: u32,
}

impl Fetches {
    /// Between two of them.
    const GAP_NS: u64 = 250 * MS;
    /// After a first failure; it doubles each time,
    const FIRST_NS: u64 = SECOND;
    /// up to this many times.
    const DOUBLINGS: u32 = 5;

    fn new(pace: Pace) -> Self {
        let budget = Budget::new(pace.count as usize, pace.per_ms.saturating_mul(MS));
        let (waiting, under_way) = (VecDeque::new(), None);
        Self { waiting, under_way, is_orphan: false, budget, at: MonoNs(0), failed: 0 }
    }

    /// There is another connection, to which no reply belongs that was asked for before. What the venue allows is as
    /// it was.
    fn begin_anew(&mut self) {
        self.waiting.clear();
        self.is_orphan |= self.under_way.take().is_some();
    }

    #[inline]
    fn wanted(&mut self, fetches: impl Iterator<Item = Fetch>) {
        for fetch in fetches {
            let is_known = |other: &Fetch| other.instrument == fetch.instrument;
            if !self.waiting.iter().chain(&self.under_way).any(is_known) {
                self.waiting.push_back(fetch);
            }
        }
    }

    fn due(&self) -> Option<MonoNs> {
        let is_free = self.under_way.is_none() && !self.is_orphan;
        (is_free && !self.waiting.is_empty()).then(|| self.at.max(self.budget.free_at()))
    }

    fn take(&mut self, now: MonoNs) -> Option<Fetch> {
        self.due().filter(|at| now >= *at)?;
        self.under_way = self.waiting.pop_front();
        self.at = now.plus(Self::GAP_NS);
        self.budget.spend(now);
        self.under_way.clone()
    }

    fn done(&mut self, now: MonoNs) -> Option<Fetch> {
        self.is_orphan = false;
        self.at = self.at.max(now.plus(Self::GAP_NS));
        self.under_way.take()
    }

    /// The codec asks again for what it still needs.
    fn failed(&mut self, wait: Wait, now: MonoNs) {
        (self.under_way, self.is_orphan) = (None, false);
        let usual = Self::FIRST_NS << self.failed.min(Self::DOUBLINGS);
        self.failed += 1;
        let pause = match wait {
            Wait::AtLeast(ns) | Wait::Banned(ns) => usual.max(ns),
            Wait::AtOnce | Wait::Usual => usual,
        };
        self.at = now.plus(pause);
    }
}

/// Instruments of a connection that are not traded. Looked at for each quote.
#[derive(Default)]
struct Halts {
    /// By instrument.
    halted: Vec<bool>,
    count: usize,
    /// Those that are traded again, and have not been asked for since.
    resumed: Vec<InstrumentId>,
}

impl Halts {
    #[inline]
    fn has(&self, instrument: InstrumentId) -> bool {
        self.count > 0 && self.halted.get(instrument.index()).copied().unwrap_or(false)
    }

    /// It is halted, or traded again, and was not before.
    fn set(&mut self, instrument: InstrumentId, is_halted: bool) {
        let at = instrument.index();
        if self.halted.len() <= at {
            self.halted.resize(at + 1, false);
        }
        self.halted[at] = is_halted;
        if is_halted {
            self.count += 1;
            self.resumed.retain(|other| *other != instrument);
        } else {
            self.count -= 1;
            self.resumed.push(instrument);
        }
    }

    fn iter(&self) -> impl Iterator<Item = InstrumentId> {
        (0..).map(InstrumentId).zip(&self.halted).filter(|(_, is_halted)| **is_halted).map(|(instrument, _)| instrument)
    }

    fn clear(&mut self) {
        self.halted.clear();
        self.resumed.clear();
        self.count = 0;
    }
}

/// When the last undecodable frames came.
#[derive(Default)]
struct BadFrames {
    times: [Option<MonoNs>; BAD_FRAMES_MAX],
    oldest: usize,
}

impl BadFrames {
    /// One more now: whether that is more than a connection survives.
    fn is_one_too_many(&mut self, now: MonoNs) -> bool {
        let before = self.times[self.oldest].replace(now);
        self.oldest = (self.oldest + 1) % BAD_FRAMES_MAX;
        before.is_some_and(|before| now.since(before) <= BAD_WINDOW_NS)
    }
}

/// Answers to the venue's pings: a few a second at once; of a flood only the newest, a second later.
#[derive(Default)]
struct Pongs {
    second: MonoNs,
    count: u32,
    held: Vec<u8>,
}

impl Pongs {
    /// A pong has just been written to `output` behind its first `before` bytes.
    fn sent(&mut self, output: &mut Vec<u8>, before: usize, now: MonoNs) {
        if now.since(self.second) >= SECOND {
            (self.second, self.count) = (now, 0);
        }
        self.count += 1;
        if self.count > PONGS_PER_SECOND {
            self.held.clear();
            self.held.extend(output.drain(before.min(output.len())..));
        }
    }

    fn release_at(&self) -> Option<MonoNs> {
        (!self.held.is_empty()).then(|| self.second.plus(SECOND))
    }

    fn release(&mut self, output: &mut Vec<u8>, now: MonoNs) {
        if self.release_at().is_some_and(|at| now >= at) {
            output.append(&mut self.held);
            (self.second, self.count) = (now, 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fetch(instrument: u32) -> Fetch {
        Fetch { instrument: InstrumentId(instrument), path: format!("/book?symbol={instrument}") }
    }

    #[test]
    fn a_page_that_another_connection_asked_for_is_nobodys() {
        let mut fetches = Fetches::new(Pace { count: 10, per_ms: 1000 });
        fetches.wanted([fetch(1)].into_iter());
        assert_eq!(fetches.take(MonoNs(1)), Some(fetch(1)));
        fetches.begin_anew();
        fetches.wanted([fetch(2)].into_iter());
        // Which of two replies comes first cannot be told, so there are never two to come.
        assert_eq!(fetches.take(MonoNs(SECOND)), None);
        assert_eq!(fetches.done(MonoNs(SECOND)), None);
        assert_eq!(fetches.take(MonoNs(2 * SECOND)), Some(fetch(2)));
        assert_eq!(fetches.done(MonoNs(2 * SECOND)), Some(fetch(2)));
    }

    #[test]
    fn pages_keep_their_distance_over_reconnects() {
        let mut fetches = Fetches::new(Pace { count: 3, per_ms: 10_000 });
        let mut at = Vec::new();
        for ms in 0..25_000 {
            // The codec asks for both with each frame.
            fetches.wanted([fetch(1), fetch(2)].into_iter());
            if ms == 300 {
                fetches.begin_anew();
            }
            if fetches.take(MonoNs(ms * MS)).is_some() {
                at.push(ms);
                fetches.done(MonoNs((ms + 10) * MS));
            }
        }
        assert_eq!(at, [0, 260, 520, 10_000, 10_260, 10_520, 20_000, 20_260, 20_520]);
        fetches.wanted([fetch(1)].into_iter());
        assert!(fetches.take(MonoNs(40 * SECOND)).is_some());
        fetches.failed(Wait::Banned(60 * SECOND), MonoNs(41 * SECOND));
        fetches.begin_anew();
        fetches.wanted([fetch(1)].into_iter());
        assert_eq!(fetches.take(MonoNs(100 * SECOND)), None);
        assert_eq!(fetches.take(MonoNs(101 * SECOND)), Some(fetch(1)));
    }
}
