//! Counters, gauges and latencies. Counters and gauges are plain atomics with one writer each; latencies are HDR
//! histograms owned by the thread that records them. Health, the metrics page and logs read them.

pub mod cluster;
pub mod gateway;
pub mod latency;
pub mod reasons;
pub(crate) mod scores;
pub mod turns;
pub mod venue;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwapOption;

use crate::time::MonoNs;

pub(crate) use gateway::GatewayGauges;
pub use venue::{LinkState, VenueGauges};

use reasons::{AlertRefusal, Class, Counts};

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
    pub(crate) successes: Gauge,
    /// End of the open state, `MonoNs`; 0 while it is not open.
    pub until: Gauge,
    /// When the last failure was, `MonoNs`; 0 before the first.
    pub(crate) last_failure: Gauge,
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
    pub(crate) fn count_opened(&self, reason: &str) {
        self.opened.add(1);
        self.reason.store(Some(Arc::new(crate::log::tamed(reason))));
    }
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
    pub(crate) fn doubt(&self) {
        self.doubted.set(1);
    }

    /// Removes the mark, because the venues' timestamps agree with the wall clock.
    pub fn believe(&self) {
        self.doubted.set(0);
    }

    /// Whether the wall clock is marked as doubtful.
    #[must_use]
    pub(crate) fn is_doubted(&self) -> bool {
        self.doubted.value() > 0
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
    pub(crate) debounced: Counter,
    /// Candidates above the threshold without an alert, see `detector::judge`.
    pub refused: Counts<AlertRefusal>,
    /// Opportunities closed, by what they were.
    pub closed: Counts<Class>,
    /// Looks at refused candidates that were not counted, because too many others were refused at the same time.
    pub(crate) refusals_untracked: Counter,
    /// Routes whose basis is sampled.
    pub(crate) basis_routes: Gauge,
    /// How often a route was not sampled, because the memory was full.
    pub(crate) basis_refused: Counter,
    /// Events dropped because a gateway's ring was full.
    pub events_lost: Counter,
    /// The most events that waited in one feed's ring at the start of a turn, in the last whole second.
    pub(crate) ring_peak: Gauge,
    /// Events that one feed's ring can hold.
    pub(crate) ring_size: Gauge,
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
    pub(crate) is_refused: Gauge,
    mistakes: ArcSwapOption<Vec<String>>,
}

impl ReloadGauges {
    /// Errors of the file when it was last read; `None` if it could be used.
    #[must_use]
    pub(crate) fn mistakes(&self) -> Option<Arc<Vec<String>>> {
        self.mistakes.load_full()
    }

    /// Stores the errors of the file; none if it could be used.
    pub(crate) fn set_mistakes(&self, mistakes: &[String]) {
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
    pub(crate) scores: Vec<scores::ScoreGauges>,
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
    pub(crate) fn gateway_sum(&self, gauge: impl Fn(&GatewayGauges) -> &Gauge) -> u64 {
        self.gateways.iter().map(|gateway| gauge(gateway).value()).sum()
    }

    /// The number of a new connection, from 1; unique within the process.
    #[must_use]
    pub(crate) fn count_line(&self) -> u32 {
        self.lines.fetch_add(1, Ordering::Relaxed) as u32 + 1
    }

    /// Source of the numbers of the venue with index `at`, as `market::quote::Source as u8`; `None` while nothing is
    /// known, from the venue or from its leader.
    #[must_use]
    pub(crate) fn source_of(&self, at: usize) -> Option<u8> {
        let followed = || self.cluster.as_ref()?.venues.get(at).map(|venue| venue.accepted.value() > 0);
        let venue = self.venues.get(at)?;
        (venue.connection.was_connected() || followed() == Some(true)).then(|| venue.source())
    }
}
