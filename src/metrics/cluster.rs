//! Counters of the cluster. The cluster's threads write them; health, metrics, status pages and logs read them.

use std::sync::Arc;

use arc_swap::ArcSwapOption;

use crate::metrics::{BreakerGauges, Counter, Gauge};
use crate::time::{MonoNs, SECOND};

/// Role of this instance for one venue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum ClusterRole {
    /// Another instance leads; this one uses its quotes.
    #[default]
    Follower = 0,
    /// Holds the lease, is connected and publishes.
    Leader = 1,
    /// Designated as the next leader: connects, but publishes nothing yet.
    Successor = 2,
    /// Cut off from Redis: connected for its own clients, publishes nothing.
    Alone = 3,
}

impl ClusterRole {
    /// The word shown to people and machines.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Follower => "follower",
            Self::Leader => "leader",
            Self::Successor => "heir",
            Self::Alone => "alone",
        }
    }

    /// The inverse of `self as u8`; anything unknown is [`ClusterRole::Follower`].
    #[must_use]
    pub(crate) const fn from_u64(n: u64) -> Self {
        match n {
            1 => Self::Leader,
            2 => Self::Successor,
            3 => Self::Alone,
            _ => Self::Follower,
        }
    }
}

/// State of the connection to Redis.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum RedisState {
    /// Not connected yet.
    #[default]
    Connecting = 0,
    /// Calls are answered in time.
    Joined = 1,
    /// Calls fail or are late; own connections to the venues serve the clients.
    CutOff = 2,
    /// Answers again, but not yet long enough to be relied on.
    Returning = 3,
}

impl RedisState {
    /// The word shown to people and machines.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Joined => "joined",
            Self::CutOff => "cut_off",
            Self::Returning => "returning",
        }
    }

    /// The inverse of `self as u8`; anything unknown is [`RedisState::Connecting`].
    #[must_use]
    pub(crate) const fn from_u64(n: u64) -> Self {
        match n {
            1 => Self::Joined,
            2 => Self::CutOff,
            3 => Self::Returning,
            _ => Self::Connecting,
        }
    }
}

/// Counters of one venue in the cluster.
#[derive(Debug, Default)]
pub struct ClusterVenue {
    /// Own role, a [`ClusterRole`].
    pub role: Gauge,
    /// Highest fencing token seen: our own while we lead, otherwise the leader's.
    pub token: Gauge,
    /// Id of the leading instance; `None` while it is unknown.
    pub leader: ArcSwapOption<String>,
    /// Host name of that instance.
    pub(crate) leader_host: ArcSwapOption<String>,
    /// When the last batch was accepted from a leader or published by us, as `MonoNs`; 0 before the first.
    pub(crate) last_batch: Gauge,
    /// Estimated time from the leader's send to our receipt of the last batch, in nanoseconds.
    pub lag_ns: Gauge,
    /// Observed changes of the leader.
    pub changes: Counter,
    /// Batches published.
    pub published: Counter,
    /// Batches accepted from a leader.
    pub accepted: Counter,
    /// Quotes in accepted batches.
    pub quotes: Counter,
    /// Batches rejected because their token was lower than one already seen.
    pub fenced: Counter,
    /// Batches missing in a sequence.
    pub gaps: Counter,
    /// Batches or values that could not be decoded or were not plausible.
    pub refused: Counter,
    /// Batches or values of another cluster.
    pub foreign: Counter,
}

/// How long a message of another cluster causes an alert, in nanoseconds.
const FOREIGN_NS: u64 = 60 * SECOND;

/// Counters of the cluster; present only if a cluster is configured.
#[derive(Debug, Default)]
pub struct ClusterBoard {
    /// Id of this instance.
    pub instance: String,
    /// A [`RedisState`].
    pub redis: Gauge,
    /// When that state began; `MonoNs`.
    pub(crate) redis_since: Gauge,
    /// The last problem with Redis, as text.
    pub last_error: ArcSwapOption<String>,
    /// The last other cluster whose messages arrived, as text.
    pub foreign: ArcSwapOption<String>,
    /// When its last message arrived, as `MonoNs`; 0 before the first.
    pub(crate) foreign_at: Gauge,
    /// Instances that are alive, this one included.
    pub members: ArcSwapOption<Vec<String>>,
    /// Calls of Redis.
    pub calls: Counter,
    /// Calls that failed or were late.
    pub failures: Counter,
    /// The circuit breaker of Redis.
    pub breaker: BreakerGauges,
    /// Last round trip of a call, in nanoseconds.
    pub(crate) round_trip_ns: Gauge,
    /// By venue of the directory.
    pub venues: Vec<ClusterVenue>,
}

impl ClusterBoard {
    /// Counters of the instance `instance` for `venues` venues.
    #[must_use]
    pub fn new(instance: String, venues: usize) -> Self {
        Self { instance, venues: (0..venues).map(|_| ClusterVenue::default()).collect(), ..Self::default() }
    }

    /// Role of this instance for the venue with index `at`.
    #[must_use]
    pub fn role(&self, at: usize) -> ClusterRole {
        self.venues.get(at).map_or(ClusterRole::Follower, |venue| ClusterRole::from_u64(venue.role.value()))
    }

    /// The other cluster whose messages arrived within the last minute, as text.
    #[must_use]
    pub fn foreign(&self, now: MonoNs) -> Option<Arc<String>> {
        let at = MonoNs(self.foreign_at.value());
        self.foreign.load_full().filter(|_| now.since(at) < FOREIGN_NS)
    }

    /// State of the connection to Redis.
    #[must_use]
    pub fn redis(&self) -> RedisState {
        RedisState::from_u64(self.redis.value())
    }

    /// Stores a problem with Redis. Allocates.
    pub fn set_last_error(&self, text: &str) {
        self.last_error.store(Some(Arc::new(crate::log::tamed(text))));
    }
}
