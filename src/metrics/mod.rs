//! Counters, gauges and latencies. Counters and gauges are plain atomics with one writer each; latencies are HDR
//! histograms owned by the thread that records them. Health, the metrics page and logs read them.

pub mod cluster;
pub mod latency;
pub mod reasons;
pub mod scores;
pub mod turns;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwapOption;

use crate::time::MonoNs;

use reasons::{AlertRefusal, BookVoid, Class, Counts, DecodeReason, DropReason};

/// A number that only grows. One thread writes it, so an addition is a load and a store without a locked instruction.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`.
    #[inline]
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    /// The current value.
    #[must_use]
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number that goes up and down. One thread writes it.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    /// Sets the value.
    #[inline]
    pub fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    /// Subtracts `before` and adds `now`, for a gauge that is a sum of several parts.
    pub fn replace(&self, before: u64, now: u64) {
        self.set(self.value().wrapping_sub(before).wrapping_add(now));
    }

    /// The current value.
    #[must_use]
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A state that begins and ends, written by several threads. Exactly one of them learns that it changed the state.
#[derive(Debug, Default)]
pub struct Latch(AtomicU64);

impl Latch {
    /// Since when the state holds; `None` while it does not.
    #[must_use]
    pub fn since(&self) -> Option<MonoNs> {
        Some(MonoNs(self.0.load(Ordering::Acquire))).filter(|at| at.0 > 0)
    }

    /// Begins the state at `now`. Returns whether it did not hold before.
    pub fn begin(&self, now: MonoNs) -> bool {
        self.0.compare_exchange(0, now.0.max(1), Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Ends the state. Returns since when it held, if it did.
    pub fn end(&self) -> Option<MonoNs> {
        Some(MonoNs(self.0.swap(0, Ordering::AcqRel))).filter(|at| at.0 > 0)
    }
}

/// State of a venue's connection. The state of its data is separate: see the ages of its quotes.
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
    /// Not needed: another instance of the cluster is connected.
    Standby = 4,
}

impl LinkState {
    /// The words of system 2, and `standby`.
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

    /// How near the state is to a live connection, from 0. The state of several connections is the one with the highest
    /// rank.
    #[must_use]
    pub const fn rank(self) -> u8 {
        match self {
            Self::Idle => 0,
            Self::Standby => 1,
            Self::Backoff => 2,
            Self::Connecting => 3,
            Self::Connected => 4,
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

/// State of a circuit breaker; see `net::breaker`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum BreakerState {
    /// Attempts are made as usual.
    #[default]
    Closed = 0,
    /// One attempt at a time, until enough have succeeded.
    HalfOpen = 1,
    /// No attempts are made.
    Open = 2,
}

impl BreakerState {
    /// The words of system 2.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::HalfOpen => "half_open",
            Self::Open => "open",
        }
    }
}

/// One circuit breaker. The thread that runs it writes.
#[derive(Debug, Default)]
pub struct BreakerGauges {
    state: Gauge,
    /// Consecutive failures.
    pub failures: Gauge,
    /// Successes since it became half open; 0 while it is not.
    pub successes: Gauge,
    /// End of the open state, `MonoNs`; 0 while it is not open.
    pub until: Gauge,
    /// When the last failure was, `MonoNs`; 0 before the first.
    pub last_failure: Gauge,
    /// How often it opened.
    pub opened: Counter,
    reason: ArcSwapOption<String>,
}

impl BreakerGauges {
    /// The current state.
    #[must_use]
    pub fn state(&self) -> BreakerState {
        match self.state.value() {
            1 => BreakerState::HalfOpen,
            2 => BreakerState::Open,
            _ => BreakerState::Closed,
        }
    }

    /// Stores the current state.
    pub fn set_state(&self, state: BreakerState) {
        self.state.set(state as u64);
    }

    /// Why it last opened, as text; `None` before the first time.
    #[must_use]
    pub fn reason(&self) -> Option<Arc<String>> {
        self.reason.load_full()
    }

    /// Records that it opened for this reason. Allocates.
    pub fn count_opened(&self, reason: &str) {
        self.opened.add(1);
        self.reason.store(Some(Arc::new(crate::log::tamed(reason))));
    }
}

/// Counters of one venue. Its feed thread writes all of them except `dropped`, which the detector writes.
#[derive(Debug, Default)]
pub struct VenueGauges {
    state: Gauge,
    source: Gauge,
    /// Attempts to connect.
    pub attempts: Counter,
    /// Immediate retries requested by an admin call or a signal.
    pub retries: Counter,
    /// Attempts that ended with an open connection.
    pub connects: Counter,
    /// Connections lost after they were open.
    pub disconnects: Counter,
    /// Failed attempts and lost connections since data last flowed.
    pub consecutive_errors: Gauge,
    /// Consecutive errors without a byte from the venue.
    pub unanswered: Gauge,
    /// When the next attempt is due, [`MonoNs`]; 0 if none is scheduled.
    pub next_attempt: Gauge,
    /// Until when the venue asked us to wait, [`MonoNs`]; 0 if it never did.
    pub held_until: Gauge,
    /// Instruments whose checksum failed repeatedly,
    pub checksum_pairs: Gauge,
    /// and one of these, as its index in the directory; meaningless while there are none.
    pub checksum_one: Gauge,
    /// Instruments with three or more unreadable frames within a minute,
    pub unreadable_pairs: Gauge,
    /// and one of these, as its index in the directory; meaningless while there are none.
    pub unreadable_one: Gauge,
    /// When the connection was opened; 0 while it is not.
    pub connected_since: Gauge,
    /// When the last bytes arrived from the venue, [`MonoNs`]; 0 before the first.
    pub last_bytes: Gauge,
    /// Bytes read from the socket, after TLS.
    pub bytes: Counter,
    /// Messages read.
    pub frames: Counter,
    /// Turns that ended before all bytes read from the socket were decoded.
    pub turns_cut: Counter,
    /// Messages of unused channels.
    pub frames_unused: Counter,
    /// Tops of book decoded.
    pub quotes: Counter,
    /// Decoded quotes that were, by the venue's own timestamps, so much later than usual that their age was corrected.
    pub lagged: Counter,
    /// Lag of its quotes in nanoseconds while they are lagging; otherwise 0.
    pub lag_ns: Gauge,
    /// Our monotonic clock minus the venue's timestamps, measured on its fastest frames; `None` for a venue that sends no
    /// timestamps.
    pub usual: Difference,
    /// Connections that have a backlog or are unusually silent, so that their quotes cannot be legs.
    pub behind: Gauge,
    /// How often this state began.
    pub backlogs: Counter,
    /// Reads after a pause of 200 ms or more,
    pub pause_reads: Counter,
    /// bytes that these reads found, both read and still in the socket,
    pub waiting_bytes: Counter,
    /// and the most bytes that one of them found.
    pub waiting_bytes_max: Gauge,
    /// Instruments with an acknowledged subscription on an open connection.
    pub subscribed: Gauge,
    /// Open connections,
    pub connections_open: Gauge,
    /// and how many there should be.
    pub connections_wanted: Gauge,
    /// Instruments that are subscribed and quoted, but silent for longer than usual.
    pub silent_pairs: Gauge,
    /// Instruments that were requested but never arrived: rejected or ignored by the venue.
    pub missing_pairs: Gauge,
    /// One of these, as its index in the directory; meaningless while there are none.
    pub missing_one: Gauge,
    /// How often an instrument became silent.
    pub silenced: Counter,
    /// How often a single instrument was resubscribed.
    pub resubscribed: Counter,
    /// Connections that were replaced by a new one before they ended.
    pub replaced: Counter,
    /// Announcements of the venue, such as a restart or maintenance.
    pub notices: Counter,
    /// Timestamps later than their arrival by more than clocks usually differ.
    pub future_stamps: Counter,
    /// Offset of its clock, if known.
    pub clock: ClockGauges,
    /// Rejected subscriptions and requests.
    pub refused: Counter,
    /// Frames that could not be decoded.
    pub decode_errors: Counts<DecodeReason>,
    /// Quotes conflated because the ring was full; only the newest of each instrument remains.
    pub ring_conflated: Counter,
    /// Silences that closed a connection.
    pub silences: Counter,
    /// Connections that were open, but received no price in time after subscribing.
    pub mute: Counter,
    /// Attempts that failed because the certificate or TLS of the other end was rejected.
    pub tls_refused: Counter,
    /// Book pages that were not read because they exceeded `net::dial::BOOK_PAGE_MAX`.
    pub pages_refused: Counter,
    /// Rejected quotes.
    pub dropped: Counts<DropReason>,
    /// Order books that became void; only for book connections.
    pub voids: Counts<BookVoid>,
    /// The circuit breaker of its address.
    pub breaker: BreakerGauges,
    last_error: ArcSwapOption<String>,
    last_notice: ArcSwapOption<String>,
}

/// Difference between two clocks in nanoseconds; empty until the first measurement.
#[derive(Debug, Default)]
pub struct Difference {
    ns: Gauge,
    known: Gauge,
}

impl Difference {
    /// Stores a measurement.
    #[inline]
    pub fn set(&self, ns: i64) {
        self.ns.set(ns as u64);
        self.known.set(1);
    }

    /// The last measurement, if there is one.
    #[must_use]
    pub fn value(&self) -> Option<i64> {
        (self.known.value() > 0).then(|| self.ns.value() as i64)
    }
}

/// State of our wall clock. All feed threads write it.
#[derive(Debug, Default)]
pub struct WallGauges {
    difference: Difference,
    doubted: Gauge,
}

impl WallGauges {
    /// Stores the monotonic clock minus the wall clock, in nanoseconds.
    pub fn set(&self, ns: i64) {
        self.difference.set(ns);
    }

    /// The last value passed to [`Self::set`], if there is one.
    #[must_use]
    pub fn value(&self) -> Option<i64> {
        self.difference.value()
    }

    /// Marks the wall clock as doubtful: it was set while the process runs, and nothing has confirmed it since.
    pub fn doubt(&self) {
        self.doubted.set(1);
    }

    /// Removes the mark, because the venues' timestamps agree with the wall clock.
    pub fn believe(&self) {
        self.doubted.set(0);
    }

    /// Whether the wall clock is marked as doubtful.
    #[must_use]
    pub fn is_doubted(&self) -> bool {
        self.doubted.value() > 0
    }
}

/// Offset between a venue's clock and ours.
#[derive(Debug, Default)]
pub struct ClockGauges {
    offset: Gauge,
    one_way: Gauge,
    known: Gauge,
}

impl ClockGauges {
    /// Records how far our wall clock is ahead of the venue's (negative: behind), and the shortest transit time of a
    /// frame; both in nanoseconds.
    pub fn set(&self, offset_ns: i64, one_way_ns: u64) {
        self.offset.set(offset_ns as u64);
        self.one_way.set(one_way_ns);
        self.known.set(1);
    }

    /// Discards the recorded values.
    pub fn forget(&self) {
        self.known.set(0);
    }

    /// The values recorded by [`Self::set`]; `None` before, and for a venue without timestamps.
    #[must_use]
    pub fn value(&self) -> Option<(i64, u64)> {
        (self.known.value() > 0).then(|| (self.offset.value() as i64, self.one_way.value()))
    }
}

impl VenueGauges {
    /// State of the connection.
    #[must_use]
    pub fn state(&self) -> LinkState {
        LinkState::from_u64(self.state.value())
    }

    /// Records that an attempt or a connection ended, or an upgrade completed. `is_answer`: whether the venue sent
    /// anything; `None`: unknown.
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

    /// Whether it is or was connected. Before that, the source of its numbers is unknown.
    #[must_use]
    pub fn was_connected(&self) -> bool {
        self.connects.value() > 0 || self.state() == LinkState::Connected
    }

    /// Source of its numbers, as `market::quote::Source as u8`.
    #[must_use]
    pub fn source(&self) -> u8 {
        self.source.value() as u8
    }

    /// Records the source of its numbers.
    pub fn set_source(&self, source: u8) {
        self.source.set(u64::from(source));
    }

    /// The last error of the connection, as text.
    #[must_use]
    pub fn last_error(&self) -> Option<Arc<String>> {
        self.last_error.load_full()
    }

    /// The last announcement of the venue, as text.
    #[must_use]
    pub fn last_notice(&self) -> Option<Arc<String>> {
        self.last_notice.load_full()
    }

    /// Counts and stores an announcement of the venue. Allocates.
    pub fn count_notice(&self, text: &str) {
        self.notices.add(1);
        self.last_notice.store(Some(Arc::new(crate::log::tamed(text))));
    }

    /// Stores an error. Allocates, so not for the hot path.
    pub fn set_last_error(&self, text: &str) {
        self.last_error.store(Some(Arc::new(crate::log::tamed(text))));
    }
}

/// Counters of the detector.
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
    /// Alerts.
    pub alerts: Counter,
    /// Openings and repetitions within the debounce time, for which no alert is sent.
    pub debounced: Counter,
    /// Candidates above the threshold without an alert, see `detector::judge`.
    pub refused: Counts<AlertRefusal>,
    /// Opportunities closed, by what they were.
    pub closed: Counts<Class>,
    /// Looks at refused candidates that were not counted, because too many others were refused at the same time.
    pub refusals_untracked: Counter,
    /// Routes whose basis is sampled.
    pub basis_routes: Gauge,
    /// How often a route was not sampled, because the memory was full.
    pub basis_refused: Counter,
    /// Events dropped because a gateway's ring was full.
    pub events_lost: Counter,
    /// The most events that waited in one feed's ring at the start of a turn, in the last whole second.
    pub ring_peak: Gauge,
    /// Events that one feed's ring can hold.
    pub ring_size: Gauge,
}

/// Counters of one gateway thread.
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
    /// Connections beyond a limit, which may only request liveness and readiness, or closed because file descriptors
    /// ran out.
    pub refused: Counter,
    /// Plain HTTP requests answered.
    pub http_requests: Counter,
    /// Plain HTTP requests answered with a page that was rendered a moment before.
    pub http_shared: Counter,
    /// HTTP requests rejected as malformed, too slow or too large.
    pub http_bad: Counter,
    /// WebSocket clients that follow open opportunities.
    pub followers: Gauge,
    /// (symbol, exchange) pairs over all clients.
    pub subscriptions: Gauge,
    /// Distinct symbols over all clients.
    pub symbols: Gauge,
    /// Distinct exchanges over all clients.
    pub exchanges: Gauge,
    /// Distinct pairs with an SSE subscriber.
    pub sse_pairs: Gauge,
    /// Names of these pairs, for the health page of another gateway thread; slightly delayed.
    pub stream_pairs: ArcSwapOption<Vec<String>>,
    /// Names of the symbols, for the stats page of another gateway thread; slightly delayed.
    pub symbol_names: ArcSwapOption<Vec<String>>,
    /// Names of the exchanges, for the same page.
    pub exchange_names: ArcSwapOption<Vec<String>>,
    /// Price messages delivered to sockets.
    pub prices_sent: Counter,
    /// Alert messages delivered to sockets.
    pub alerts_sent: Counter,
    /// Opportunity messages written to clients that follow them.
    pub opportunities_sent: Counter,
    /// Bytes written to clients.
    pub bytes_sent: Counter,
    /// Bytes queued for clients that do not read.
    pub outbox_bytes: Gauge,
    /// Prices replaced by a newer one before a slow client received them.
    pub outbox_conflated: Counter,
    /// (symbol, exchange) pairs with a subscribed order book, over all clients.
    pub books_watched: Gauge,
    /// Order book messages written.
    pub books_sent: Counter,
    /// States of a book replaced by a newer one before a slow client received them.
    pub books_conflated: Counter,
    /// Clients closed because they did not read.
    pub slow_closed: Counter,
    /// Clients closed for breaking the protocol or the limits.
    pub misbehaved_closed: Counter,
    /// Client messages answered with an error.
    pub client_errors: Counter,
}

/// Counters of last known values on disk; the thread of the `keeper` stage writes.
#[derive(Debug, Default)]
pub struct LastKnownGauges {
    /// Files written.
    pub writes: Counter,
    /// Files that could not be written or read.
    pub failures: Counter,
    /// Values loaded at the start.
    pub taken: Counter,
    /// Values rejected at the start: too old, from the future, or not configured.
    pub refused: Counter,
}

/// Counters of changes to the set at run time; the reload stage writes.
#[derive(Debug, Default)]
pub struct ReloadGauges {
    /// Changes applied.
    pub applied: Counter,
    /// Changes that were rejected as a whole because of an error.
    pub refused: Counter,
    /// 1 if the last change was rejected.
    pub is_refused: Gauge,
    mistakes: ArcSwapOption<Vec<String>>,
}

impl ReloadGauges {
    /// Errors of the file when it was last read; `None` if it could be used.
    #[must_use]
    pub fn mistakes(&self) -> Option<Arc<Vec<String>>> {
        self.mistakes.load_full()
    }

    /// Stores the errors of the file; none if it could be used.
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
    /// The same for the connections of order books; their `quotes` are changes of books.
    pub books: Vec<VenueGauges>,
    /// The feed score of each venue.
    pub scores: Vec<scores::ScoreGauges>,
    /// Counters of the detector.
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
    /// Holds while no venue answers, which suggests that this machine has lost its network connection.
    pub cut_off: Latch,
    /// State of our wall clock.
    pub wall: WallGauges,
    /// Counters of the cluster, if one is configured.
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
            scores: (0..venues).map(|_| scores::ScoreGauges::default()).collect(),
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

    /// The sum of a gauge over all gateway threads.
    #[must_use]
    pub fn gateway_sum(&self, gauge: impl Fn(&GatewayGauges) -> &Gauge) -> u64 {
        self.gateways.iter().map(|gateway| gauge(gateway).value()).sum()
    }

    /// The number of a new connection, from 1; unique within the process.
    #[must_use]
    pub fn count_line(&self) -> u32 {
        self.lines.fetch_add(1, Ordering::Relaxed) as u32 + 1
    }

    /// Source of the numbers of the venue with index `at`, as `market::quote::Source as u8`; `None` while nothing is
    /// known, from the venue or from its leader.
    #[must_use]
    pub fn source_of(&self, at: usize) -> Option<u8> {
        let followed = || self.cluster.as_ref()?.venues.get(at).map(|venue| venue.accepted.value() > 0);
        let venue = self.venues.get(at)?;
        (venue.was_connected() || followed() == Some(true)).then(|| venue.source())
    }
}
