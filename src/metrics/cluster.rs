//! What is counted of the cluster. Health, metrics, status pages and logs read these; the cluster's threads write.

use std::sync::Arc;

use arc_swap::ArcSwapOption;

use crate::metrics::{BreakerGauges, Counter, Gauge};
use crate::time::{MonoNs, SECOND};

/// What this instance does for one venue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Role {
    /// Another instance leads; its quotes are taken.
    #[default]
    Follower = 0,
    /// Holds the lease, is connected, publishes.
    Leader = 1,
    /// Named as the next leader: connects, publishes nothing yet.
    Heir = 2,
    /// Cut off from Redis: connected for its own clients, publishes nothing.
    Alone = 3,
}

impl Role {
    /// The word shown to people and machines.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Follower => "follower",
            Self::Leader => "leader",
            Self::Heir => "heir",
            Self::Alone => "alone",
        }
    }

    /// The inverse of `self as u8`; anything unknown is [`Role::Follower`].
    #[must_use]
    pub const fn from_u64(n: u64) -> Self {
        match n {
            1 => Self::Leader,
            2 => Self::Heir,
            3 => Self::Alone,
            _ => Self::Follower,
        }
    }
}

/// How this instance stands to Redis.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum RedisState {
    /// Not reached yet.
    #[default]
    Connecting = 0,
    /// Calls are answered in time.
    Joined = 1,
    /// Calls fail or are late: own upstreams serve.
    CutOff = 2,
    /// Answers again, not yet for long enough to rely on it.
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
    pub const fn from_u64(n: u64) -> Self {
        match n {
            1 => Self::Joined,
            2 => Self::CutOff,
            3 => Self::Returning,
            _ => Self::Connecting,
        }
    }
}

/// One venue as the cluster sees it.
#[derive(Debug, Default)]
pub struct ClusterVenue {
    /// A [`Role`].
    pub role: Gauge,
    /// Highest fencing token seen: our own while we lead, else the leader's.
    pub token: Gauge,
    /// Id of the instance that leads; `None` while nobody is known to.
    pub leader: ArcSwapOption<String>,
    /// Host name of that instance.
    pub leader_host: ArcSwapOption<String>,
    /// When the last batch was accepted from a leader, or published by us; `MonoNs`, 0 before the first.
    pub last_batch: Gauge,
    /// Estimated time from the leader's send to our receipt of the last batch, in nanoseconds.
    pub lag_ns: Gauge,
    /// Changes of the leader that were seen.
    pub changes: Counter,
    /// Batches published.
    pub published: Counter,
    /// Batches accepted from a leader.
    pub accepted: Counter,
    /// Quotes in them.
    pub quotes: Counter,
    /// Batches refused for a token lower than one already seen.
    pub fenced: Counter,
    /// Batches that were missing in a sequence.
    pub gaps: Counter,
    /// Batches, or values, that were not understood or not believed.
    pub refused: Counter,
    /// Batches, or values, of another cluster.
    pub foreign: Counter,
}

/// After so long without a message of another cluster it is no alert any more, in nanoseconds.
const FOREIGN_NS: u64 = 60 * SECOND;

/// The cluster's counters; there only when a cluster is configured.
#[derive(Debug, Default)]
pub struct ClusterBoard {
    /// Id of this instance.
    pub instance: String,
    /// A [`RedisState`].
    pub redis: Gauge,
    /// When that state began; `MonoNs`.
    pub redis_since: Gauge,
    /// The last thing that went wrong with Redis, in words.
    pub last_error: ArcSwapOption<String>,
    /// The last other cluster whose messages came, in words.
    pub foreign: ArcSwapOption<String>,
    /// When the last of them came; `MonoNs`, 0 before the first.
    pub foreign_at: Gauge,
    /// Instances that are alive, this one included.
    pub members: ArcSwapOption<Vec<String>>,
    /// Calls of Redis.
    pub calls: Counter,
    /// Calls that failed or were late.
    pub failures: Counter,
    /// The circuit breaker of Redis.
    pub breaker: BreakerGauges,
    /// Last round trip of a call, in nanoseconds.
    pub round_trip_ns: Gauge,
    /// By venue of the directory.
    pub venues: Vec<ClusterVenue>,
}

impl ClusterBoard {
    /// For the instance `instance` with `venues` venues.
    #[must_use]
    pub fn new(instance: String, venues: usize) -> Self {
        Self { instance, venues: (0..venues).map(|_| ClusterVenue::default()).collect(), ..Self::default() }
    }

    /// What this instance does for the venue at `at`.
    #[must_use]
    pub fn role(&self, at: usize) -> Role {
        self.venues.get(at).map_or(Role::Follower, |venue| Role::from_u64(venue.role.value()))
    }

    /// The other cluster whose messages came within the last minute, in words.
    #[must_use]
    pub fn foreign(&self, now: MonoNs) -> Option<Arc<String>> {
        let at = MonoNs(self.foreign_at.value());
        self.foreign.load_full().filter(|_| now.since(at) < FOREIGN_NS)
    }

    /// How this instance stands to Redis.
    #[must_use]
    pub fn redis(&self) -> RedisState {
        RedisState::from_u64(self.redis.value())
    }

    /// Remembers what went wrong with Redis. Allocates.
    pub fn set_last_error(&self, text: &str) {
        self.last_error.store(Some(Arc::new(crate::log::tamed(text))));
    }
}
