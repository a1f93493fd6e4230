//! A session with one venue, without a socket: WebSocket, codec, requests, keepalive and pongs.
//!
//! In: the address of the upgrade, bytes from the venue with the time of their read, and the passage of time. Out: bytes
//! for the venue, deadlines, and [`FeedEvent`]s. A session drives either `Tops` or `FeedBooks`, which know nothing of it.
//! It runs on the feed's thread, or on that of a replay. It never dials: when it ends, it says why, and waits to be
//! opened again. It allocates nothing on the path of a quote.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::feed::backlog::PAUSE_NS;
use crate::feed::books::FeedBooks;
use crate::feed::coverage::Coverage;
use crate::feed::end::End;
use crate::feed::floods::{BadFrames, Pongs};
use crate::feed::kind::{ChannelGauges, ChannelKind};
use crate::feed::options::FeedOptions;
use crate::feed::pages::PageQueue;
use crate::feed::probe::Probe;
use crate::feed::reference;
use crate::feed::tops::Tops;
use crate::market::book::BookVoid;
use crate::market::quote::{FeedEvent, LineId, QuoteOptions, Source};
use crate::market::{Directory, InstrumentId, VenueId};
use crate::matrix::books::BookTable;
use crate::matrix::days::DayTable;
use crate::metrics::Board;
use crate::net::backoff::Wait;
use crate::net::dial::DialError;
use crate::time::{Clock, MS, MonoNs, SECOND, UnixNs};
use crate::venues::depth::{BookPage, PageReader};
use crate::venues::{
    DecodeError, Decoded, Facts, FeedCodec, Fetch, Frame, Keepalive, Notice, Opening, Pace, Requests, SymbolEntry,
    Symbols, Update, Venue, VoidReason,
};
use crate::wire::websocket::frame::framed_length;
use crate::wire::websocket::{Event, Failure, Limits, WebSocket};

/// Most requests that may wait to be sent. A codec that wants more is in a loop.
const REQUESTS_MAX: usize = 4096;
/// Most bytes that may wait for the socket. A venue that does not read is lost.
const OUTPUT_MAX: usize = 1 << 20;
/// WebSocket read buffer in bytes: enough for a burst of quotes, not for a snapshot.
const READ_BUFFER: usize = 16 * 1024;
/// Most fragments of one message. Venues send none, or a few.
const FRAGMENTS_MAX: u32 = 16_384;
/// The clock is read after this many frames of a turn.
const FRAMES_PER_LOOK: usize = 16;
/// A reading of the wall clock that took longer than this is discarded, in nanoseconds.
const WALL_MAX_NS: u64 = 5 * MS;
/// Longest wait for the reply to the upgrade request, in nanoseconds.
const UPGRADE_MAX_NS: u64 = 5 * SECOND;

/// Constructor arguments of [`Session`].
pub struct SessionParts {
    /// Id of the venue in the process.
    pub id: VenueId,
    /// The venue.
    pub venue: &'static dyn Venue,
    /// Names and ids.
    pub directory: Arc<Directory>,
    /// Counters and gauges.
    pub board: Arc<Board>,
    /// Time limits.
    pub options: FeedOptions,
    /// Validity of quotes.
    pub quotes: QuoteOptions,
    /// How many pairs of lines to the venue share its limits.
    pub pairs: usize,
}

/// A session with one venue. It lives as long as the venue is configured, over many sockets.
pub struct Session {
    facts: &'static Facts,
    codec: Box<dyn FeedCodec>,
    decoded: Decoded,
    gauges: ChannelGauges,
    directory: Arc<Directory>,
    options: FeedOptions,
    socket: Option<WebSocket>,
    phase: Phase,
    end: Option<End>,
    /// When the last bytes were read, or the socket was opened.
    heard: MonoNs,
    /// The clocks when the upgrade was complete.
    opened_at: (MonoNs, UnixNs),
    turn: Turn,
    requests: RequestQueue,
    probe: Probe,
    pongs: Pongs,
    bad: BadFrames,
    coverage: Coverage,
    stream: Stream,
    /// The venue has announced that it will close the connection.
    is_leaving: bool,
    /// The last announcement that has not been taken.
    notice: Option<Notice>,
}

/// What the session drives.
#[allow(clippy::large_enum_variant, reason = "there are a few sessions, and none of them is moved")]
enum Stream {
    Tops(Tops),
    Books(FeedBooks),
}

/// What a session may read in one turn of its thread, so that it does not delay others.
#[derive(Clone, Copy, Debug)]
struct Turn {
    frames_left: usize,
    until: MonoNs,
    /// Received frames were left over.
    is_cut: bool,
}

/// What the codec wants to request.
struct RequestQueue {
    /// Texts, sent with a gap of [`Facts::request_gap_ms`].
    waiting: VecDeque<String>,
    next_at: MonoNs,
    keepalive_at: Option<MonoNs>,
    /// REST pages.
    pages: PageQueue,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Closed,
    /// The upgrade is under way since this time.
    Opening(MonoNs),
    Open,
}

/// Where decoded updates came from.
#[derive(Clone, Copy)]
enum Input<'a> {
    Frame(&'a [u8]),
    /// A REST reply.
    Page,
}

impl Session {
    /// A closed session for tops of `entries`; day statistics go to `days`. Takes its memory here.
    #[must_use]
    pub fn tops(parts: SessionParts, days: Arc<DayTable>, entries: Vec<SymbolEntry>) -> Self {
        let stream =
            Stream::Tops(Tops::new((parts.id, parts.venue.facts().stamps), &parts.board, &parts.directory, days));
        let instruments = entries.iter().map(|entry| entry.id).collect();
        let codec = parts.venue.codec(Symbols::configured(entries));
        Self::new(parts, ChannelKind::Tops, codec, stream, instruments)
    }

    /// The same session, which subscribes to a stream with timestamps where tops have none, or does not.
    #[must_use]
    pub fn with_witness(mut self, is_wanted: bool) -> Self {
        self.codec.set_witness(is_wanted);
        self
    }

    /// A closed session for order books of `entries`, which go to `table`. Takes its memory here.
    #[must_use]
    pub fn books(parts: SessionParts, table: Arc<BookTable>, entries: Vec<SymbolEntry>) -> Self {
        let instruments = entries.iter().map(|entry| entry.id).collect();
        // The feed makes no such session for a venue without books.
        let codec = (parts.venue.book_codec(Symbols::configured(entries), table.levels()))
            .unwrap_or_else(|| parts.venue.codec(Symbols::default()));
        let books = FeedBooks::new(parts.id, &parts.board, &parts.directory, table);
        Self::new(parts, ChannelKind::Books, codec, Stream::Books(books), instruments)
    }

    fn new(
        parts: SessionParts,
        kind: ChannelKind,
        codec: Box<dyn FeedCodec>,
        stream: Stream,
        instruments: Box<[InstrumentId]>,
    ) -> Self {
        let SessionParts { id, venue, directory, board, options, quotes, pairs } = parts;
        let silence = options.silence(&quotes, pairs);
        let gauges = ChannelGauges::new(board, id, kind);
        let requests = RequestQueue {
            waiting: VecDeque::new(),
            next_at: MonoNs(0),
            keepalive_at: None,
            pages: PageQueue::new(codec.fetch_pace()),
        };
        Self {
            facts: venue.facts(),
            codec,
            decoded: Decoded::default(),
            coverage: Coverage::new(id, gauges.clone(), &directory, silence, instruments, venue.halts()),
            gauges,
            directory,
            options,
            socket: None,
            phase: Phase::Closed,
            end: None,
            heard: MonoNs(0),
            opened_at: (MonoNs(0), UnixNs(0)),
            turn: Turn { frames_left: usize::MAX, until: MonoNs(u64::MAX), is_cut: false },
            requests,
            probe: Probe::default(),
            pongs: Pongs::default(),
            bad: BadFrames::default(),
            stream,
            is_leaving: false,
            notice: None,
        }
    }

    /// A socket to `address` is connected: the upgrade request is in the output. All state of an earlier socket is
    /// discarded.
    ///
    /// # Errors
    /// When `address` is not a WebSocket address.
    pub fn open(&mut self, address: &str, now: MonoNs) -> Result<(), Failure> {
        let limits =
            Limits { message_max: self.facts.message_max, read_buffer: READ_BUFFER, fragments_max: FRAGMENTS_MAX };
        self.socket = Some(WebSocket::client(address, limits)?);
        (self.phase, self.end, self.heard) = (Phase::Opening(now), None, now);
        self.turn.is_cut = false;
        self.requests.waiting.clear();
        (self.requests.next_at, self.requests.keepalive_at) = (now, None);
        self.requests.pages.begin_anew();
        self.probe = Probe::default();
        (self.pongs, self.bad) = (Pongs::default(), BadFrames::default());
        (self.is_leaving, self.notice) = (false, None);
        self.coverage.begin();
        match &mut self.stream {
            Stream::Tops(tops) => tops.begin(now),
            Stream::Books(books) => books.begin(now),
        }
        Ok(())
    }

    /// Takes bytes that were read at `received`. Returns the number of messages in them.
    pub fn receive(
        &mut self,
        bytes: &[u8],
        received: MonoNs,
        clock: &Clock,
        events: &mut dyn FnMut(FeedEvent),
    ) -> usize {
        self.receive_some(bytes, 0, received, clock, events)
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
        if let Stream::Tops(tops) = &mut self.stream {
            tops.read(bytes.len(), waiting, received, events);
        }
        let Some(socket) = &mut self.socket else { return 0 };
        let is_after_pause = received.since(std::mem::replace(&mut self.heard, received)) >= PAUSE_NS;
        self.probe.heard();
        let gauges = &*self.gauges;
        if is_after_pause {
            gauges.backlog.count_pause_read((bytes.len() + waiting) as u64);
        }
        gauges.read.last_bytes.set(received.0);
        gauges.read.bytes.add(bytes.len() as u64);
        socket.receive(bytes);
        if self.probe.wants_wall(received) {
            self.read_wall(received, clock);
        }
        self.resume(clock, events)
    }

    /// Begins a turn of at most `frames` frames, control frames and fragments included, until the time `until`. What is
    /// left over waits for [`Self::resume`] in the next turn. Without a call there is no limit.
    pub(crate) fn begin_turn(&mut self, frames: usize, until: MonoNs) {
        self.turn = Turn { frames_left: frames, until, is_cut: false };
    }

    /// Remaining frames of the turn; 0 if its time is over.
    #[must_use]
    pub(crate) const fn frames_left(&self) -> usize {
        if self.turn.is_cut { 0 } else { self.turn.frames_left }
    }

    /// Whether received frames wait for another turn.
    #[must_use]
    pub(crate) const fn has_more(&self) -> bool {
        self.turn.is_cut
    }

    /// Takes received frames, as many as the turn allows. Returns the number of messages in them.
    pub(crate) fn resume(&mut self, clock: &Clock, events: &mut dyn FnMut(FeedEvent)) -> usize {
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
                    self.message(text.as_bytes(), received, clock, events);
                }
                Ok(Some(Event::Binary(bytes))) => {
                    messages += 1;
                    self.message(&bytes, received, clock, events);
                }
                Ok(Some(Event::Ping)) => self.pongs.sent(socket.output(), written, received),
                Ok(Some(Event::Pong)) => self.probe.ponged(received),
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
        if let (false, Stream::Tops(tops)) = (self.turn.is_cut, &mut self.stream) {
            tops.end_read(received, events);
        }
        self.gauges.read.turns_cut.add(u64::from(self.turn.is_cut));
        self.send_requests(received);
        self.check_output(events);
        messages
    }

    /// Time has passed: sends pings, keepalives and spaced requests, and ends a silent session.
    pub fn elapsed(&mut self, now: MonoNs, events: &mut dyn FnMut(FeedEvent)) {
        match self.phase {
            Phase::Closed => return,
            Phase::Opening(_) => {
                if self.upgrade_by().is_some_and(|by| now >= by) {
                    self.finish(End::NoUpgrade, events);
                }
                return;
            }
            Phase::Open => {}
        }
        if now >= self.silent_at() {
            self.gauges.silence.closed.add(1);
            return self.finish(End::Silent, events);
        }
        let silence_ping_at = self.silence_ping_at();
        let Some(socket) = &mut self.socket else { return };
        if self.probe.wants_ping(silence_ping_at, now) {
            socket.ping();
        }
        self.pongs.release(socket.output(), now);
        if let Stream::Tops(tops) = &mut self.stream {
            tops.elapsed(now, events);
        }
        self.keep_alive(now);
        let Self { coverage, stream, .. } = self;
        let again = coverage.elapsed(now, &mut |instrument| stream.void(instrument, BookVoid::Silent, events));
        if let Some(instrument) = again {
            self.gauges.silence.resubscribed.add(1);
            self.resubscribe(&[instrument], now);
        }
        let resumed = self.coverage.take_resumed();
        if !resumed.is_empty() {
            self.resubscribe_resumed(&resumed, now);
        }
        self.send_requests(now);
        self.check_output(events);
    }

    /// When [`Self::elapsed`] is to be called; `None` while closed.
    #[must_use]
    pub fn deadline(&self) -> Option<MonoNs> {
        match self.phase {
            Phase::Closed => None,
            Phase::Opening(_) => self.upgrade_by(),
            Phase::Open => {
                let RequestQueue { waiting, next_at, keepalive_at, pages } = &self.requests;
                [
                    Some(self.silent_at()),
                    self.probe.deadline(self.silence_ping_at()),
                    (!waiting.is_empty()).then_some(*next_at),
                    *keepalive_at,
                    self.pongs.release_at(),
                    self.coverage.deadline(),
                    pages.due(),
                    match &self.stream {
                        Stream::Tops(tops) => tops.deadline(),
                        Stream::Books(_) => None,
                    },
                ]
                .into_iter()
                .flatten()
                .min()
            }
        }
    }

    /// Bytes for the venue. The caller removes from the front what it has sent.
    pub fn output(&mut self) -> Option<&mut Vec<u8>> {
        self.socket.as_mut().map(WebSocket::output)
    }

    /// Ends the session for this reason, unless it has already ended.
    pub fn lose(&mut self, why: End, events: &mut dyn FnMut(FeedEvent)) {
        self.finish(why, events);
    }

    /// Closes a session that is no longer wanted. This is no error, and voids nothing.
    pub fn retire(&mut self) {
        if let (Some(socket), Phase::Open) = (&mut self.socket, self.phase) {
            socket.close(1000, "");
        }
        self.close();
    }

    /// Why it ended; `None` while it has not. A close frame may be in the output.
    #[must_use]
    pub const fn end(&self) -> Option<&End> {
        self.end.as_ref()
    }

    /// Whether the upgrade is complete and the session has not ended.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.phase == Phase::Open
    }

    /// Whether a price has arrived on this socket.
    #[must_use]
    pub(crate) const fn has_flowed(&self) -> bool {
        self.coverage.has_flowed()
    }

    /// Whether the venue has acknowledged an instrument, or sent a price.
    #[must_use]
    pub const fn is_subscribed(&self) -> bool {
        self.coverage.is_subscribed()
    }

    /// When the upgrade was complete.
    #[must_use]
    pub(crate) const fn opened_at(&self) -> MonoNs {
        self.opened_at.0
    }

    /// Identifies the open connection, or the last one, in its quotes; `None` for books.
    #[must_use]
    pub const fn line(&self) -> Option<LineId> {
        match &self.stream {
            Stream::Tops(tops) => Some(tops.line()),
            Stream::Books(_) => None,
        }
    }

    /// When its last bytes were read.
    #[must_use]
    pub const fn heard(&self) -> MonoNs {
        self.heard
    }

    /// Whether the venue has announced that it will close the connection.
    #[must_use]
    pub(crate) const fn is_leaving(&self) -> bool {
        self.is_leaving
    }

    /// The last announcement of the venue since the last call.
    pub(crate) fn take_notice(&mut self) -> Option<Notice> {
        self.notice.take()
    }

    /// What is fixed about the venue.
    #[must_use]
    pub const fn facts(&self) -> &'static Facts {
        self.facts
    }

    /// The gauges that it counts in.
    #[must_use]
    pub(super) const fn gauges(&self) -> &ChannelGauges {
        &self.gauges
    }

    /// Its instruments, in order of their ids.
    #[must_use]
    pub fn entries(&self) -> &[SymbolEntry] {
        self.codec.symbols().entries()
    }

    /// Whether reads carry the time at which the bytes arrived, from now on. Without that, no lag is measured.
    pub(crate) const fn set_timed(&mut self, is_timed: bool) {
        if let Stream::Tops(tops) = &mut self.stream {
            tops.timing().set_timed(is_timed);
        }
    }

    /// Whether the venue's gauges include this session; those of a standby line do not count.
    pub(crate) fn set_counted(&mut self, is_counted: bool) {
        self.coverage.set_counted(is_counted);
    }

    /// Whether the caller should count how many bytes a read at `now` leaves in the socket.
    #[inline]
    #[must_use]
    pub fn wants_waiting(&self, now: MonoNs) -> bool {
        now.since(self.heard) >= PAUSE_NS || matches!(&self.stream, Stream::Tops(tops) if tops.has_backlog())
    }

    /// The process did not run until `now`: what is read next was sent in the meantime.
    pub fn stood_still(&mut self, now: MonoNs, events: &mut dyn FnMut(FeedEvent)) {
        if let (Phase::Open, Stream::Tops(tops)) = (self.phase, &mut self.stream) {
            tops.stood_still(now, events);
        }
    }

    /// Copies what is usual for the venue and its instruments from `old`, which this session replaces.
    pub(crate) fn learn_from(&mut self, old: &Self) {
        self.coverage.learn_from(&old.coverage);
        self.learn_times_from(old);
    }

    /// Copies how late frames of the venue usually are from another session, where this one has no measurement.
    pub(crate) fn learn_times_from(&mut self, other: &Self) {
        match (&mut self.stream, &other.stream) {
            (Stream::Tops(mine), Stream::Tops(theirs)) => mine.learn_from(theirs),
            (Stream::Books(mine), Stream::Books(theirs)) => mine.learn_from(theirs),
            (Stream::Tops(_) | Stream::Books(_), _) => {}
        }
    }

    /// Whether it quotes all instruments that `old` has quoted within the last `within_ns` nanoseconds.
    #[must_use]
    pub fn covers(&self, old: &Self, now: MonoNs, within_ns: u64) -> bool {
        let is_recent = |id| old.coverage.last(id).is_some_and(|at| now.since(at) <= within_ns);
        let mut entries = self.entries().iter();
        self.is_open()
            && self.has_flowed()
            && entries.all(|entry| !is_recent(entry.id) || self.coverage.holds(entry.id))
    }

    /// Voids all instruments.
    pub(crate) fn void_all(&mut self, why: BookVoid, events: &mut dyn FnMut(FeedEvent)) {
        for entry in self.codec.symbols().entries() {
            self.stream.void(entry.id, why, events);
        }
    }

    /// Voids the instruments that `other`, a session for the same ones, does not quote.
    pub(crate) fn void_beyond(&mut self, other: &Self, events: &mut dyn FnMut(FeedEvent)) {
        for entry in self.codec.symbols().entries() {
            if !other.is_open() || !other.coverage.holds(entry.id) {
                self.stream.void(entry.id, BookVoid::Lost, events);
            }
        }
    }

    /// Takes the place of `old`, for whose instruments it has collected its own quotes and books: keeps what is usual for
    /// each instrument, publishes the collected books, and voids what it does not have.
    pub fn take_over(&mut self, old: &mut Self, events: &mut dyn FnMut(FeedEvent)) {
        if let Stream::Books(books) = &mut self.stream {
            // They are not those of the books that `old` has published.
            books.discard_voids();
        }
        self.publish_books();
        let Self { coverage, stream, codec, .. } = self;
        for instrument in coverage.halted() {
            stream.void(instrument, BookVoid::Halt, events);
        }
        coverage.learn_from(&old.coverage);
        let mine = codec.symbols().entries();
        if let Stream::Books(books) = stream {
            // A quote that only `old` had becomes stale; a book would be shown for ever.
            for entry in mine.iter().filter(|entry| codec.book(entry.id).is_none()) {
                books.void(entry.id, BookVoid::Lost);
            }
        }
        for entry in old.codec.symbols().entries() {
            if mine.binary_search_by_key(&entry.id, |mine| mine.id).is_err() {
                old.stream.void(entry.id, BookVoid::Lost, events);
            }
        }
        old.publish_books();
        self.publish_books();
    }

    fn silent_at(&self) -> MonoNs {
        self.heard.plus(self.options.silence_max_ms.saturating_mul(MS))
    }

    fn silence_ping_at(&self) -> MonoNs {
        self.heard.plus(self.options.silence_ping_ms.saturating_mul(MS))
    }

    fn upgrade_by(&self) -> Option<MonoNs> {
        let Phase::Opening(since) = self.phase else { return None };
        Some(since.plus(UPGRADE_MAX_NS))
    }

    fn opened(&mut self, source: Option<&str>, now: MonoNs, unix: UnixNs) {
        self.phase = Phase::Open;
        self.opened_at = (now, unix);
        self.probe.opened(now);
        self.coverage.opened(now);
        if let Keepalive::Client { every_ms, .. } = self.facts.keepalive {
            self.requests.keepalive_at = Some(now.plus(every_ms.saturating_mul(MS)));
        }
        let source = [Source::Simulated, Source::Replay].into_iter().find(|it| Some(it.word()) == source);
        let source = source.unwrap_or_default();
        match &mut self.stream {
            Stream::Tops(tops) => tops.opened(source),
            Stream::Books(books) => books.opened(source),
        }
        self.gauges.set_source(source as u8);
        self.gauges.connection.connects.add(1);
        self.gauges.dial.count_failure(Some(true));
        if let Opening::Patient { wait_ms } = self.facts.opening {
            self.requests.next_at = now.plus(wait_ms.saturating_mul(MS));
        }
        let mut requests = Requests::new();
        self.codec.set_time(unix);
        self.codec.opened(&mut requests);
        self.requests.waiting.extend(requests);
    }

    #[inline]
    fn message(&mut self, frame: &[u8], received: MonoNs, clock: &Clock, events: &mut dyn FnMut(FeedEvent)) {
        if let Stream::Tops(tops) = &mut self.stream {
            tops.timing().backlog().decoded(framed_length(frame.len()));
        }
        self.decoded.clear();
        let result = self.codec.decode(frame, received, &mut self.decoded);
        self.take(result, Input::Frame(frame), received, clock, events);
    }

    /// Applies the meaning of a frame or page.
    fn take(
        &mut self,
        result: Result<Frame, DecodeError>,
        input: Input<'_>,
        received: MonoNs,
        clock: &Clock,
        events: &mut dyn FnMut(FeedEvent),
    ) {
        let now = if self.decoded.updates.is_empty() { received } else { clock.now() };
        if let Some(why) = self.update(matches!(input, Input::Page), received, now, events) {
            self.finish(End::Wanted(why), events);
        }
        self.requests.waiting.extend(self.decoded.requests.drain(..));
        let resumed = self.coverage.take_resumed();
        if !resumed.is_empty() {
            self.resubscribe_resumed(&resumed, received);
        }
        self.requests.pages.request(self.decoded.fetches.drain(..));
        if let (Phase::Open, Some(socket)) = (self.phase, &mut self.socket) {
            // The venue waits for these, so they are sent ahead of all requests.
            self.decoded.answers.drain(..).for_each(|text| socket.send_text(&text));
        }
        self.gauges.read.frames.add(1);
        match result {
            Ok(Frame::Unused) => self.gauges.read.frames_unused.add(1),
            Ok(Frame::Data | Frame::Control) => {}
            Err(error) => self.undecodable(error, input, received, events),
        }
    }

    /// Applies the decoded updates. Returns why a new connection is wanted; updates behind that are discarded, because
    /// all quotes are void.
    #[inline]
    fn update(
        &mut self,
        is_page: bool,
        received: MonoNs,
        decoded: MonoNs,
        events: &mut dyn FnMut(FeedEvent),
    ) -> Option<&'static str> {
        let Self { decoded: Decoded { updates, .. }, gauges, coverage, stream, is_leaving, notice, .. } = self;
        for update in updates {
            match update {
                Update::Top(top) => {
                    // A book's top is part of its change.
                    let Stream::Tops(tops) = stream else { continue };
                    if !coverage.has_flowed() {
                        coverage.first_price(received);
                    }
                    let quote = tops.quote(top, received, decoded);
                    tops.report_clock(received, events);
                    if coverage.heard(top.instrument, received) {
                        events(FeedEvent::Quote(quote));
                    }
                }
                Update::Statistics(day) => {
                    if let Stream::Tops(tops) = stream {
                        tops.statistics(day, received);
                    }
                }
                Update::Stamp(_, stamp) => {
                    if let Stream::Tops(tops) = stream {
                        tops.witness(*stamp, received);
                    }
                }
                Update::Book(note) => {
                    let Stream::Books(books) = stream else { continue };
                    if !coverage.has_flowed() {
                        coverage.first_price(received);
                    }
                    coverage.heard(note.instrument, received);
                    books.change(*note, is_page, received);
                }
                Update::Void(instrument, reason) => {
                    coverage.voided(*instrument, *reason, received);
                    stream.void(*instrument, (*reason).into(), events);
                }
                Update::Trading(instrument, is_traded) => {
                    if coverage.set_traded(*instrument, *is_traded, received) {
                        stream.void(*instrument, BookVoid::Halt, events);
                    }
                }
                Update::System(is_trading) => coverage.set_system(*is_trading),
                Update::Subscribed(instrument) => coverage.acknowledge(*instrument, received),
                Update::Refused(why) => {
                    gauges.replies.refused.add(1);
                    gauges.connection.set_last_error(&format!("refused: {why}"));
                }
                Update::Reconnect(why) => return Some(why),
                Update::Notice(said) => {
                    gauges.replies.count_notice(&said.to_string());
                    match said {
                        Notice::Leaving(_) => *is_leaving = true,
                        Notice::Maintenance => {
                            coverage.begin_maintenance();
                            for instrument in coverage.instruments() {
                                stream.void(*instrument, BookVoid::Halt, events);
                            }
                        }
                        Notice::Resumed => coverage.end_maintenance(),
                        Notice::Said(_) => {}
                    }
                    *notice = Some(said.clone());
                }
            }
        }
        None
    }

    /// Resubscribes the instruments whose trading has resumed: changes during the halt may not have been sent, and an
    /// instrument that does not move would not be quoted for long.
    #[cold]
    fn resubscribe_resumed(&mut self, instruments: &[InstrumentId], now: MonoNs) {
        instruments.iter().for_each(|instrument| self.codec.forget(*instrument));
        self.resubscribe(instruments, now);
    }

    fn resubscribe(&mut self, instruments: &[InstrumentId], now: MonoNs) {
        let mut requests = Requests::new();
        self.set_codec_time(now);
        self.codec.resubscribe(instruments, &mut requests);
        self.requests.waiting.extend(requests);
    }

    #[cold]
    fn undecodable(&mut self, error: DecodeError, input: Input<'_>, now: MonoNs, events: &mut dyn FnMut(FeedEvent)) {
        self.gauges.read.decode_errors.add(error.reason(), 1);
        // The codec recovers from a loss by itself.
        if error.loss().is_some() {
            return;
        }
        let blamed = self.blamed(input);
        if !blamed.is_empty() {
            // One instrument that is never readable must not cost the session's others.
            self.coverage.unreadable(blamed, now);
        } else if self.bad.is_one_too_many(now) {
            self.finish(End::BadFrames, events);
        }
    }

    /// The instruments of a frame that cannot be read: those that the codec has voided because of it, or else those that
    /// the frame names.
    fn blamed(&self, input: Input<'_>) -> Vec<InstrumentId> {
        let voided = self.decoded.updates.iter().filter_map(|update| match update {
            Update::Void(instrument, VoidReason::Undecodable) => Some(*instrument),
            _ => None,
        });
        let voided: Vec<InstrumentId> = voided.collect();
        match input {
            Input::Frame(frame) if voided.is_empty() => self.codec.symbols().named_in(frame),
            Input::Frame(_) | Input::Page => voided,
        }
    }

    fn keep_alive(&mut self, now: MonoNs) {
        let Keepalive::Client { every_ms, .. } = self.facts.keepalive else { return };
        if self.requests.keepalive_at.is_none_or(|at| now < at) {
            return;
        }
        self.requests.keepalive_at = Some(now.plus(every_ms.saturating_mul(MS)));
        let mut requests = Requests::new();
        self.set_codec_time(now);
        self.codec.keepalive(&mut requests);
        // Ahead of other requests, because the venue limits the time between keepalives.
        for request in requests.into_iter().rev() {
            self.requests.waiting.push_front(request);
        }
    }

    /// Some venues want the time in a request.
    fn set_codec_time(&mut self, now: MonoNs) {
        let (opened, unix) = self.opened_at;
        self.codec.set_time(UnixNs(unix.0.saturating_add(now.since(opened))));
    }

    /// Reads the wall clock, for the reference clock and the offset of the venue's clock.
    #[cold]
    fn read_wall(&mut self, now: MonoNs, clock: &Clock) {
        let before = clock.now();
        let unix = clock.unix();
        if clock.now().since(before) <= WALL_MAX_NS {
            reference::see_wall(&self.gauges.board().wall, before.0.wrapping_sub(unix.0) as i64);
        }
        if let Stream::Tops(tops) = &mut self.stream {
            tops.set_wall(now, clock.unix_at(now), self.probe.round_trip());
        }
    }

    fn send_requests(&mut self, now: MonoNs) {
        let (Phase::Open, Some(socket)) = (self.phase, &mut self.socket) else { return };
        let RequestQueue { waiting, next_at, .. } = &mut self.requests;
        while now >= *next_at {
            let Some(request) = waiting.pop_front() else { return };
            socket.send_text(&request);
            *next_at = now.plus(self.facts.request_gap_ms.saturating_mul(MS));
            if waiting.is_empty() {
                self.coverage.requested(now);
            }
        }
    }

    fn check_output(&mut self, events: &mut dyn FnMut(FeedEvent)) {
        let waiting = self.output().map_or(0, |output| output.len());
        if waiting > OUTPUT_MAX || self.requests.waiting.len() > REQUESTS_MAX {
            self.finish(End::Backlog, events);
        }
    }

    /// Ends the session. A session of tops emits [`FeedEvent::Down`]; nothing follows it.
    fn finish(&mut self, end: End, events: &mut dyn FnMut(FeedEvent)) {
        if self.phase == Phase::Closed {
            return;
        }
        if self.phase == Phase::Open {
            self.gauges.connection.disconnects.add(1);
        }
        if let (Some(socket), Some((code, reason))) = (&mut self.socket, end.close_frame()) {
            socket.close(code, reason);
        }
        self.close();
        self.gauges.dial.consecutive_errors.set(self.gauges.dial.consecutive_errors.value() + 1);
        self.end = Some(end);
        if let Stream::Tops(tops) = &self.stream {
            tops.down(events);
        }
    }

    fn close(&mut self) {
        self.phase = Phase::Closed;
        self.requests.waiting.clear();
        self.coverage.close();
        if let Stream::Tops(tops) = &mut self.stream {
            tops.close();
        }
    }
}

/// Order books and REST pages.
impl Session {
    /// Publishes the books that have changed and the voids since the last call. The owner calls this after each read, for
    /// sessions whose books are shown.
    pub fn publish_books(&mut self) {
        if let Stream::Books(books) = &mut self.stream {
            books.publish(&*self.codec, self.coverage.is_in_maintenance());
        }
    }

    /// When the changes were read that have been published since the last call.
    pub(crate) fn take_published(&mut self) -> Option<MonoNs> {
        if let Stream::Books(books) = &mut self.stream { books.take_published() } else { None }
    }

    /// Takes a recorded REST reply as if the codec had requested it. Returns whether it could be read.
    pub fn snapshot(
        &mut self,
        url: &str,
        body: &[u8],
        received: MonoNs,
        clock: &Clock,
        events: &mut dyn FnMut(FeedEvent),
    ) -> bool {
        self.take_page(|codec, decoded| codec.snapshot(url, body, decoded), received, clock, events)
    }

    fn take_page(
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
        self.take(result, Input::Page, received, clock, events);
        is_read
    }

    /// The next book page to fetch, if one is due. The caller reports the outcome by [`Self::fetched`] or
    /// [`Self::not_fetched`].
    pub fn take_fetch(&mut self, now: MonoNs) -> Option<Fetch> {
        (self.phase == Phase::Open).then(|| self.requests.pages.take(now)).flatten()
    }

    /// Reads the body of a page, on any thread.
    #[must_use]
    pub fn page_reader(&self) -> PageReader {
        self.codec.page_reader()
    }

    /// The reply to [`Self::take_fetch`], as read by [`Self::page_reader`].
    pub fn fetched(
        &mut self,
        page: Result<BookPage, DecodeError>,
        received: MonoNs,
        clock: &Clock,
        events: &mut dyn FnMut(FeedEvent),
    ) {
        let Some(fetch) = self.requests.pages.done(received) else { return };
        let take = |codec: &mut dyn FeedCodec, decoded: &mut Decoded| {
            page.and_then(|page| codec.take_page(fetch.instrument, page, decoded))
        };
        if self.take_page(take, received, clock, events) {
            self.requests.pages.succeeded()
        } else {
            self.requests.pages.failed(Wait::Usual, received)
        }
    }

    /// The page could not be fetched; it is requested again after `wait`. Returns a sentence for the log.
    pub(crate) fn not_fetched(&mut self, wait: Wait, why: &DialError, now: MonoNs) -> String {
        let instrument = self.requests.pages.under_way().map(|fetch| fetch.instrument);
        let symbol = instrument.map_or("an earlier connection", |instrument| self.directory.symbol(instrument));
        self.requests.pages.failed(wait, now);
        let sentence = format!("no book page of {symbol} from {}: {why}", self.facts.name);
        self.gauges.connection.set_last_error(&sentence);
        sentence
    }

    /// No page before `until`, because the venue asked for it or is answering another request.
    pub(crate) fn hold_pages(&mut self, until: MonoNs) {
        self.requests.pages.hold(until);
    }

    /// Replaces `old` on its line: keeps the pace of its pages, and discards its page under way.
    pub fn take_pages_of(&mut self, old: &mut Self) {
        std::mem::swap(&mut self.requests.pages, &mut old.requests.pages);
        self.requests.pages.begin_anew();
    }

    /// How long the pages of all its books take at half of the allowed pace, in nanoseconds.
    #[must_use]
    pub(crate) fn pages_ns(&self) -> u64 {
        let Stream::Books(_) = self.stream else { return 0 };
        let Pace { count, per_ms } = self.codec.fetch_pace();
        let each = 2 * per_ms.saturating_mul(MS) / u64::from(count.max(1));
        each.saturating_mul(self.entries().len() as u64)
    }
}

impl Stream {
    /// What the instrument quoted no longer holds.
    #[inline]
    fn void(&mut self, instrument: InstrumentId, why: BookVoid, events: &mut dyn FnMut(FeedEvent)) {
        match self {
            Self::Tops(tops) => tops.void(instrument, why, events),
            Self::Books(books) => books.void(instrument, why),
        }
    }
}

/// The instruments that the venue with `id` quotes, in order of their ids.
#[must_use]
pub fn entries(directory: &Directory, id: VenueId) -> Vec<SymbolEntry> {
    let entry = |(id, native): (InstrumentId, &str)| {
        let (native, symbol) = (native.to_owned(), directory.symbol(id).to_owned());
        SymbolEntry { id, native, symbol }
    };
    directory.quoted_by(id).map(entry).collect()
}
