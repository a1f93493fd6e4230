//! The section `[feed]`, and time limits that cannot be configured.

use crate::feed::silence::SilenceOptions;
use crate::market::quote::QuoteOptions;
use crate::net::breaker::BreakerOptions;
use crate::settings::section;
use crate::time::{MS, SECOND};

/// Time after subscribing within which a first price is expected, in nanoseconds.
pub(super) const FIRST_PRICE_NS: u64 = 10 * SECOND;
/// Shortest time between two resubscriptions of single instruments on the only pair of lines to a venue, in nanoseconds.
const AGAIN_NS: u64 = 5 * SECOND;

section! {
    /// Connections to venues.
    #[derive(Copy)]
    FeedOptions {
        /// Milliseconds of silence after which we ping the venue.
        silence_ping_ms: u64 = 2000, 100..=600_000;
        /// Milliseconds of silence after which the connection is dead: its quotes become void, and it is opened again.
        silence_max_ms: u64 = 5000, 200..=600_000;
        /// Least milliseconds of silence after which one instrument is stale, void and soon resubscribed. An instrument
        /// becomes stale after four times its longest recent pause, but not before this many milliseconds, and not
        /// later than `quotes.stale_after_ms`. 0: single instruments are not monitored.
        pair_silence_ms: u64 = 2000, 0..=600_000;
        /// First delay before reconnecting, in milliseconds. It doubles each time until prices have arrived for five
        /// seconds.
        backoff_first_ms: u64 = 250, 10..=60_000;
        // With it a venue is back within 30 s of being well, even when an attempt that hangs had begun just before.
        /// Longest delay before reconnecting, in milliseconds.
        backoff_max_ms: u64 = 15_000, 100..=3_600_000;
        /// Consecutive failures that open the circuit breaker of a venue's address: no attempts are made for a while.
        breaker_failures: u64 = 5, 1..=1000;
        /// The breaker opens only if the failures have lasted this many milliseconds, so that a venue that restarts is
        /// dialled again soon.
        breaker_after_ms: u64 = 15_000, 0..=600_000;
        /// Milliseconds that the breaker stays open; then one attempt at a time is made. A ban lasts as long as the
        /// venue says.
        breaker_open_ms: u64 = 15_000, 100..=3_600_000;
        /// Consecutive successes that close the breaker. A connection counts as one success for every five seconds in
        /// which it delivers prices.
        breaker_successes: u64 = 3, 1..=1000;
    }
}

impl FeedOptions {
    /// Limits for the silence of single instruments on one of `pairs` pairs of lines to a venue, which share the rate of
    /// resubscriptions.
    pub(super) fn silence(&self, quotes: &QuoteOptions, pairs: usize) -> SilenceOptions {
        SilenceOptions {
            floor_ns: self.pair_silence_ms.saturating_mul(MS),
            ceiling_ns: quotes.stale_after_ns(),
            first_ns: FIRST_PRICE_NS,
            again_ns: AGAIN_NS.saturating_mul(pairs.max(1) as u64),
        }
    }

    /// When the breaker of a venue's address opens and closes.
    pub(super) fn breaker(&self) -> BreakerOptions {
        BreakerOptions {
            failures: self.breaker_failures as u32,
            after_ns: self.breaker_after_ms * MS,
            open_ns: self.breaker_open_ms * MS,
            successes: self.breaker_successes as u32,
        }
    }
}
