//! What is measured. Gauges and counters are plain atomics with one writer each; latencies are HDR
//! histograms owned by the thread that records them. Health, metrics page and logs all read these.

pub mod cluster;
pub mod latency;
pub mod turns;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwapOption;

use crate::time::MonoNs;

/// Reasons not to alert a candidate: how many there are of `detector::judge::Refusal`.
pub const REFUSALS: usize = 3;

/// A number that only grows. One thread writes it, so adding is a load and a store, no locked instruction.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`.
    #[inline]
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    /// The number now.
    #[must_use]
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number that goes up and down. One thread writes it.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    /// Replaces the number.
    #[inline]
    pub fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    /// Takes away `before` and adds `now`: the share of one of several whose sum this is.
    pub fn replace(&self, before: u64, now: u64) {
        self.set(self.value().wrapping_sub(before).wrapping_add(now));
    }

    /// The number now.
    #[must_use]
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A state that begins and ends, written by several threads: one of them is told that it was the one that changed it.
#[derive(Debug, Default)]
pub struct Latch(AtomicU64);

impl Latch {
    /// Since when it holds; `None` while it does not.
    #[must_use]
    pub fn since(&self) -> Option<MonoNs> {
        Some(MonoNs(self.0.load(Ordering::Acquire))).filter(|at| at.0 > 0)
    }

    /// It holds since `now`. Whether it did not before.
    pub fn begin(&self, now: MonoNs) -> bool {
        self.0.compare_exchange(0, now.0.max(1), Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// It holds no longer. Since when it did, if it did.
    pub fn end(&self) -> Option<MonoNs> {
        Some(MonoNs(self.0.swap(0, Ordering::AcqRel))).filter(|at| at.0 > 0)
    }
}

/// State of a venue's connection. Data state is another matter: see the ages of its quotes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum LinkState {
    /// Not dialled yet.
    #[default]
    Idle = 0,
    /// Resolving, connecting, upgrading.
    Connecting = 1,
    /// Open and subscribed.
    Connected = 2,
    /// Waiting before the next attempt.
    Backoff = 3,
    /// Not wanted here: another instance of the cluster is connected.
    Standby = 4,
}

impl LinkState {
    /// System 2's words for it, and `standby`.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Idle => "disconnected",
            Self::Connecting => "connecting",
            Self::Connected => "connected",
            Self::Backoff => "reconnecting",
            Self::Standby => "standby",
        }
    }

    const fn from_u64(n: u64) -> Self {
        match n {
            1 => Self::Connecting,
            2 => Self::Connected,
            3 => Self::Backoff,
            4 => Self::Standby,
            _ => Self::Idle,
        }
    }
}

/// What a circuit breaker is; see `net::breaker`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum BreakerState {
    /// Attempts are made as usual.
    #[default]
    Closed = 0,
    /// One attempt at a time, until enough were good.
    HalfOpen = 1,
    /// No attempt is made.
    Open = 2,
}

impl BreakerState {
    /// System 2's words for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::HalfOpen => "half_open",
            Self::Open => "open",
        }
    }
}

/// One circuit breaker. Whoever turns it writes.
#[derive(Debug, Default)]
pub struct BreakerGauges {
    state: Gauge,
    /// Failures in a row.
    pub failures: Gauge,
    /// Successes since it became half open; 0 while it is not.
    pub successes: Gauge,
    /// Until when it is open, `MonoNs`; 0 while it is not.
    pub until: Gauge,
    /// When the last failure was, `MonoNs`; 0 before the first.
    pub last_failure: Gauge,
    /// How often it opened.
    pub opened: Counter,
    reason: ArcSwapOption<String>,
}

impl BreakerGauges {
    /// What it is.
    #[must_use]
    pub fn state(&self) -> BreakerState {
        match self.state.value() {
            1 => BreakerState::HalfOpen,
            2 => BreakerState::Open,
            _ => BreakerState::Closed,
        }
    }

    /// Records what it is.
    pub fn set_state(&self, state: BreakerState) {
        self.state.set(state as u64);
    }

    /// Why it last opened, in words; `None` before.
    #[must_use]
    pub fn reason(&self) -> Option<Arc<String>> {
        self.reason.load_full()
    }

    /// It opened, for this reason. Allocates.
    pub fn count_opened(&self, reason: &str) {
        self.opened.add(1);
        self.reason.store(Some(Arc::new(crate::log::tamed(reason))));
    }
}

/// What is counted for one venue. Its feed thread writes all but `dropped`, which the detector writes.
#[derive(Debug, Default)]
pub struct VenueGauges {
    state: Gauge,
    source: Gauge,
    /// Attempts to connect.
    pub attempts: Counter,
    /// Times that somebody wanted it tried at once, by an admin call or a signal.
    pub retries: Counter,
    /// Attempts that ended with an open connection.
    pub connects: Counter,
    /// Connections lost after they were open.
    pub disconnects: Counter,
    /// Failed attempts and lost connections since data last flowed.
    pub consecutive_errors: Gauge,
    /// Consecutive errors in which the venue sent no byte.
    pub unanswered: Gauge,
    /// When the next attempt will be, [`MonoNs`]; 0 while none is waited for.
    pub next_attempt: Gauge,
    /// Until when the venue asked us to wait, [`MonoNs`]; 0: it never did.
    pub held_until: Gauge,
    /// Instruments whose checksum failed again and again,
    pub checksum_pairs: Gauge,
    /// and one of those, by its index in the directory; not to be believed while there are none.
    pub checksum_one: Gauge,
    /// Instruments of which three frames or more could not be read within a minute,
    pub unreadable_pairs: Gauge,
    /// and one of those, by its index in the directory; not to be believed while there are none.
    pub unreadable_one: Gauge,
    /// When the connection was opened; 0 while it is not.
    pub connected_since: Gauge,
    /// When the last bytes came from the venue, [`MonoNs`]; 0 before the first.
    pub last_bytes: Gauge,
    /// Bytes read from the socket, after TLS.
    pub bytes: Counter,
    /// Messages read.
    pub frames: Counter,
    /// Turns that were over before all that had been read from the socket was decoded.
    pub turns_cut: Counter,
    /// Messages of channels that are not used.
    pub frames_unused: Counter,
    /// Tops of book decoded.
    pub quotes: Counter,
    /// Of these, what came later than usual by the venue's own stamps, so much that its age was corrected.
    pub lagged: Counter,
    /// How late its quotes come while they are lagging, in nanoseconds; else 0.
    pub lag_ns: Gauge,
    /// Our monotonic clock minus its stamps, at their fastest; `None` for a venue that stamps nothing.
    pub usual: Difference,
    /// Connections that have a backlog or are unusually silent, so that their quotes are no legs.
    pub behind: Gauge,
    /// How often that began.
    pub backlogs: Counter,
    /// Reads that followed a pause of 200 ms or more,
    pub pause_reads: Counter,
    /// bytes that these reads found, in the read and still in the socket,
    pub waiting_bytes: Counter,
    /// and the most that one of them found.
    pub waiting_bytes_max: Gauge,
    /// Instruments whose subscription the venue acknowledged on connections that are open.
    pub subscribed: Gauge,
    /// Connections that are open,
    pub connections_open: Gauge,
    /// and how many there should be.
    pub connections_wanted: Gauge,
    /// Instruments that are subscribed and quoted, but silent for longer than is usual for them.
    pub silent_pairs: Gauge,
    /// Instruments that were asked for and never came: refused, or forgotten by the venue.
    pub missing_pairs: Gauge,
    /// One of those, by its index in the directory; not to be believed while there are none.
    pub missing_one: Gauge,
    /// How often an instrument fell silent.
    pub silenced: Counter,
    /// How often one instrument was subscribed again, alone.
    pub resubscribed: Counter,
    /// Connections that were replaced by a new one before they ended.
    pub replaced: Counter,
    /// What the venue said about itself: it will restart, it is in maintenance.
    pub notices: Counter,
    /// Stamps that were later than their arrival, by more than clocks differ.
    pub future_stamps: Counter,
    /// Its clock, as far as it is known.
    pub clock: ClockGauges,
    /// Refused subscriptions and requests.
    pub refused: Counter,
    /// Frames that could not be decoded, by [`DECODE_REASONS`].
    pub decode_errors: [Counter; DECODE_REASONS.len()],
    /// Quotes put aside because the ring was full; the newest of each instrument is kept.
    pub ring_conflated: Counter,
    /// Silences that ended a connection.
    pub silences: Counter,
    /// Connections on which no price came in time after subscribing, though they were open.
    pub mute: Counter,
    /// Attempts that ended because the other end's certificate or TLS was refused.
    pub tls_refused: Counter,
    /// Book pages that were larger than `net::dial::BOOK_PAGE_MAX` and not read.
    pub pages_refused: Counter,
    /// Quotes not believed, by `matrix::merge::Drop`.
    pub dropped: [Counter; 5],
    /// Order books that became void, by `market::book::BookVoid`, of connections for those.
    pub voids: [Counter; 6],
    /// The circuit breaker of its address.
    pub breaker: BreakerGauges,
    last_error: ArcSwapOption<String>,
    last_notice: ArcSwapOption<String>,
}

/// A difference of two clocks in nanoseconds, once it is known.
#[derive(Debug, Default)]
pub struct Difference {
    ns: Gauge,
    known: Gauge,
}

impl Difference {
    /// Records it.
    #[inline]
    pub fn set(&self, ns: i64) {
        self.ns.set(ns as u64);
        self.known.set(1);
    }

    /// What [`Self::set`] recorded; `None` before.
    #[must_use]
    pub fn value(&self) -> Option<i64> {
        (self.known.value() > 0).then(|| self.ns.value() as i64)
    }
}

/// Our wall clock. Each feed thread writes.
#[derive(Debug, Default)]
pub struct WallGauges {
    difference: Difference,
    doubted: Gauge,
}

impl WallGauges {
    /// Records our monotonic clock minus our wall clock.
    pub fn set(&self, ns: i64) {
        self.difference.set(ns);
    }

    /// What [`Self::set`] recorded; `None` before.
    #[must_use]
    pub fn value(&self) -> Option<i64> {
        self.difference.value()
    }

    /// It was set while we run, and nothing has confirmed it since.
    pub fn doubt(&self) {
        self.doubted.set(1);
    }

    /// The venues' stamps agree with it.
    pub fn believe(&self) {
        self.doubted.set(0);
    }

    /// Whether it is doubted.
    #[must_use]
    pub fn is_doubted(&self) -> bool {
        self.doubted.value() > 0
    }
}

/// How a venue's clock stands to ours.
#[derive(Debug, Default)]
pub struct ClockGauges {
    offset: Gauge,
    one_way: Gauge,
    known: Gauge,
}

impl ClockGauges {
    /// Records how far our wall clock is ahead of the venue's (negative: behind), and how long a frame is on its way at
    /// best; both in nanoseconds.
    pub fn set(&self, offset_ns: i64, one_way_ns: u64) {
        self.offset.set(offset_ns as u64);
        self.one_way.set(one_way_ns);
        self.known.set(1);
    }

    /// Nothing is known any more.
    pub fn forget(&self) {
        self.known.set(0);
    }

    /// What [`Self::set`] recorded; `None` before, and for a venue that stamps nothing.
    #[must_use]
    pub fn value(&self) -> Option<(i64, u64)> {
        (self.known.value() > 0).then(|| (self.offset.value() as i64, self.one_way.value()))
    }
}

/// Names of the decode error counters, in order.
pub const DECODE_REASONS: [&str; 10] =
    ["json", "number", "missing_field", "shape", "gap", "checksum", "crossed", "gzip", "protobuf", "other"];

impl VenueGauges {
    /// State of the connection.
    #[must_use]
    pub fn state(&self) -> LinkState {
        LinkState::from_u64(self.state.value())
    }

    /// An attempt or a connection ended, or an upgrade was done: whether the venue said anything; `None`: unknown.
    pub fn count_failure(&self, is_answer: Option<bool>) {
        match is_answer {
            Some(true) => self.unanswered.set(0),
            Some(false) => self.unanswered.set(self.unanswered.value() + 1),
            None => {}
        }
    }

    /// Records a change of the connection's state.
    pub fn set_state(&self, state: LinkState, now: MonoNs) {
        self.state.set(state as u64);
        self.connected_since.set(if state == LinkState::Connected { now.0 } else { 0 });
    }

    /// Whether it is connected or ever was. Before that nothing is known of where its numbers will come from.
    #[must_use]
    pub fn was_connected(&self) -> bool {
        self.connects.value() > 0 || self.state() == LinkState::Connected
    }

    /// Where its numbers come from, as `market::quote::Source as u8`.
    #[must_use]
    pub fn source(&self) -> u8 {
        self.source.value() as u8
    }

    /// Records where its numbers come from.
    pub fn set_source(&self, source: u8) {
        self.source.set(u64::from(source));
    }

    /// Counts a frame that could not be decoded. `reason` is one of [`DECODE_REASONS`].
    pub fn count_decode_error(&self, reason: &str) {
        let at = DECODE_REASONS.iter().position(|r| *r == reason).unwrap_or(DECODE_REASONS.len() - 1);
        self.decode_errors[at].add(1);
    }

    /// The last thing that went wrong with the connection, in words.
    #[must_use]
    pub fn last_error(&self) -> Option<Arc<String>> {
        self.last_error.load_full()
    }

    /// The last thing that the venue said about itself, in words.
    #[must_use]
    pub fn last_notice(&self) -> Option<Arc<String>> {
        self.last_notice.load_full()
    }

    /// Counts and remembers what the venue said about itself. Allocates.
    pub fn count_notice(&self, text: &str) {
        self.notices.add(1);
        self.last_notice.store(Some(Arc::new(crate::log::tamed(text))));
    }

    /// Remembers what went wrong. Off the hot path: allocates.
    pub fn set_last_error(&self, text: &str) {
        self.last_error.store(Some(Arc::new(crate::log::tamed(text))));
    }
}

/// What the detector counts.
#[derive(Debug, Default)]
pub struct DetectorGauges {
    /// Quotes taken from the rings.
    pub quotes: Counter,
    /// Quotes that changed the matrix.
    pub merged: Counter,
    /// Opportunities opened.
    pub opened: Counter,
    /// Opportunities open now.
    pub open: Gauge,
    /// Alerts given.
    pub alerts: Counter,
    /// Openings and repetitions inside the debounce time: no alert.
    pub debounced: Counter,
    /// Candidates above the threshold that were not alerted, by reason: those of `detector::judge`.
    pub refused: [Counter; REFUSALS],
    /// Events that a gateway's full ring could not take.
    pub events_lost: Counter,
    /// The most events that waited in one feed's ring at the beginning of a turn, in the last whole second.
    pub ring_peak: Gauge,
    /// Events that one feed's ring can hold.
    pub ring_size: Gauge,
}

/// What one gateway thread counts.
#[derive(Debug, Default)]
pub struct GatewayGauges {
    /// Open connections of all kinds.
    pub connections: Gauge,
    /// Open WebSocket clients.
    pub websocket_clients: Gauge,
    /// Open SSE streams.
    pub sse_clients: Gauge,
    /// Accepted connections.
    pub accepted: Counter,
    /// Connections beyond a limit, which may only ask for life and readiness, or closed for want of descriptors.
    pub refused: Counter,
    /// Plain HTTP requests answered.
    pub http_requests: Counter,
    /// Those of them that were answered with a page rendered a moment before.
    pub http_shared: Counter,
    /// HTTP requests refused as malformed, too slow or too large.
    pub http_bad: Counter,
    /// WebSocket clients that follow the lives of opportunities.
    pub followers: Gauge,
    /// (symbol, exchange) pairs over all clients.
    pub subscriptions: Gauge,
    /// Distinct symbols over all clients.
    pub symbols: Gauge,
    /// Distinct exchanges over all clients.
    pub exchanges: Gauge,
    /// Distinct pairs with an SSE subscriber.
    pub sse_pairs: Gauge,
    /// Their names, for the health page that another gateway thread serves; a moment old.
    pub stream_pairs: ArcSwapOption<Vec<String>>,
    /// The symbols, for the stats page that another gateway thread serves; a moment old.
    pub symbol_names: ArcSwapOption<Vec<String>>,
    /// The same of the exchanges.
    pub exchange_names: ArcSwapOption<Vec<String>>,
    /// Price messages delivered to sockets.
    pub prices_sent: Counter,
    /// Alert messages delivered to sockets.
    pub alerts_sent: Counter,
    /// Opportunity messages written to those who follow them.
    pub opportunities_sent: Counter,
    /// Bytes written to clients.
    pub bytes_sent: Counter,
    /// Bytes that wait for clients that do not read.
    pub outbox_bytes: Gauge,
    /// Prices replaced by a newer one before a slow client could take them.
    pub outbox_conflated: Counter,
    /// (symbol, exchange) pairs whose order book is asked for, over all clients.
    pub books_watched: Gauge,
    /// Messages of order books written.
    pub books_sent: Counter,
    /// States of a book replaced by a newer one before a slow client could take them.
    pub books_conflated: Counter,
    /// Clients closed because they did not read.
    pub slow_closed: Counter,
    /// Clients closed for breaking the protocol or the limits.
    pub misbehaved_closed: Counter,
    /// Client messages answered with an error.
    pub client_errors: Counter,
}

/// What is counted of last known values on disk; the keeper's thread writes.
#[derive(Debug, Default)]
pub struct LastKnownGauges {
    /// Files written.
    pub writes: Counter,
    /// Files that could not be written or read.
    pub failures: Counter,
    /// Values taken at the start.
    pub taken: Counter,
    /// Values not taken: too old, from the future, of what is not configured.
    pub refused: Counter,
}

/// What became of changes of the set at run time; the reload stage writes.
#[derive(Debug, Default)]
pub struct ReloadGauges {
    /// Changes applied.
    pub applied: Counter,
    /// Changes asked for that changed nothing, because something was wrong.
    pub refused: Counter,
    /// 1 when the last one was refused.
    pub is_refused: Gauge,
    mistakes: ArcSwapOption<Vec<String>>,
}

impl ReloadGauges {
    /// What is wrong with the file as it was last read; `None` when it could be used.
    #[must_use]
    pub fn mistakes(&self) -> Option<Arc<Vec<String>>> {
        self.mistakes.load_full()
    }

    /// Remembers what is wrong with the file; nothing: it could be used.
    pub fn set_mistakes(&self, mistakes: &[String]) {
        self.mistakes.store((!mistakes.is_empty()).then(|| Arc::new(mistakes.to_vec())));
    }
}

/// All counters and gauges of the process.
#[derive(Debug)]
pub struct Board {
    /// When the process started.
    pub started: MonoNs,
    /// One per venue of the directory.
    pub venues: Vec<VenueGauges>,
    /// The same for the connections that order books come by; `quotes` are changes of books.
    pub books: Vec<VenueGauges>,
    /// The detector's.
    pub detector: DetectorGauges,
    /// One per gateway thread.
    pub gateways: Vec<GatewayGauges>,
    /// Latencies.
    pub latency: latency::LatencyBoard,
    /// Turns of the stages.
    pub turns: turns::TurnBoard,
    /// Last known values on disk.
    pub last_known: LastKnownGauges,
    /// Changes of the set at run time.
    pub reload: ReloadGauges,
    /// No venue answers: this machine's own line seems to be down.
    pub cut_off: Latch,
    /// Our wall clock.
    pub wall: WallGauges,
    /// The cluster's, where one is configured.
    pub cluster: Option<cluster::ClusterBoard>,
    /// Connections to venues opened so far, by all threads.
    lines: AtomicU64,
}

impl Board {
    /// A board for `venues` venues and `gateways` gateway threads.
    #[must_use]
    pub fn new(started: MonoNs, venues: usize, gateways: usize) -> Self {
        Self {
            started,
            venues: (0..venues).map(|_| VenueGauges::default()).collect(),
            books: (0..venues).map(|_| VenueGauges::default()).collect(),
            detector: DetectorGauges::default(),
            gateways: (0..gateways).map(|_| GatewayGauges::default()).collect(),
            latency: latency::LatencyBoard::new(venues),
            turns: turns::TurnBoard::default(),
            last_known: LastKnownGauges::default(),
            reload: ReloadGauges::default(),
            cut_off: Latch::default(),
            wall: WallGauges::default(),
            cluster: None,
            lines: AtomicU64::new(0),
        }
    }

    /// A number for a connection that opens, from 1; no other connection of the process has it.
    #[must_use]
    pub fn count_line(&self) -> u32 {
        self.lines.fetch_add(1, Ordering::Relaxed) as u32 + 1
    }

    /// Where the numbers of the venue at `at` come from, as `market::quote::Source as u8`; `None` before anything is
    /// known, neither from the venue nor from its leader.
    #[must_use]
    pub fn source_of(&self, at: usize) -> Option<u8> {
        let followed = || self.cluster.as_ref()?.venues.get(at).map(|venue| venue.accepted.value() > 0);
        let venue = self.venues.get(at)?;
        (venue.was_connected() || followed() == Some(true)).then(|| venue.source())
    }
}
