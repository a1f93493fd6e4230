//! Time limits and budgets of a feed.

use crate::feed::silence;
use crate::net::{backoff, breaker};
use crate::time::MS;

/// Time limits and budgets of a feed.
#[derive(Clone, Copy, Debug)]
pub struct FeedOptions {
    /// Silence after which the venue is pinged, in milliseconds.
    pub silence_ping_ms: u64,
    /// Silence after which the connection is closed, in milliseconds.
    pub silence_max_ms: u64,
    /// Longest wait for the reply to the upgrade request, in milliseconds.
    pub upgrade_max_ms: u64,
    /// Time after subscribing within which a first price is expected, in milliseconds.
    pub first_price_ms: u64,
    /// Shortest silence of one instrument that counts, in milliseconds. An instrument is silent after four times its usual
    /// gap, but not before this time and not after [`Self::stale_after_ms`]. 0: silence of an instrument never counts.
    pub pair_silence_ms: u64,
    /// Age in milliseconds at which a quote is stale.
    pub stale_after_ms: u64,
    /// Shortest time between two resubscriptions of single instruments of a venue, in milliseconds.
    pub again_ms: u64,
    /// First pause before reconnecting, in milliseconds; it doubles with each failure until data has flowed.
    pub backoff_first_ms: u64,
    /// Longest pause before reconnecting, in milliseconds.
    pub backoff_max_ms: u64,
    /// Circuit breaker of a venue's address.
    pub breaker: breaker::BreakerOptions,
    /// Frames of one connection per turn, control frames and fragments included.
    pub frames_per_turn: usize,
    /// Time of one connection per turn, in microseconds; a frame that has been started is finished.
    pub turn_us: u64,
    /// Seed of the jitter; `None` takes one from the clock, so that no two processes retry in step.
    pub seed: Option<u64>,
}

impl Default for FeedOptions {
    fn default() -> Self {
        Self {
            silence_ping_ms: 2000,
            silence_max_ms: 5000,
            upgrade_max_ms: 5000,
            first_price_ms: 10_000,
            pair_silence_ms: 2000,
            stale_after_ms: 30_000,
            again_ms: 5000,
            backoff_first_ms: backoff::FIRST_NS / MS,
            backoff_max_ms: backoff::LONGEST_NS / MS,
            breaker: breaker::BreakerOptions::default(),
            frames_per_turn: 512,
            turn_us: 1000,
            seed: None,
        }
    }
}

impl FeedOptions {
    /// The options for one of `pairs` pairs of lines to a venue, which share the rate of resubscriptions.
    pub(super) fn shared_by(self, pairs: usize) -> Self {
        Self { again_ms: self.again_ms.saturating_mul(pairs.max(1) as u64), ..self }
    }

    /// Limits for the silence of single instruments.
    pub(super) fn silence(&self) -> silence::SilenceOptions {
        let [floor_ns, ceiling_ns, first_ns, again_ns] =
            [self.pair_silence_ms, self.stale_after_ms, self.first_price_ms, self.again_ms]
                .map(|ms| ms.saturating_mul(MS));
        silence::SilenceOptions { floor_ns, ceiling_ns, first_ns, again_ns }
    }
}
