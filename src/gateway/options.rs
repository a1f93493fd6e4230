//! Every limit of the gateway, with its unit and the reason for its default.

use std::time::Duration;

use crate::gateway::http::admin;
use crate::market::{Decimal, VenueId};
use crate::net::listen::Addresses;
use crate::time::{MS, SECOND};
use crate::wire::http;

/// Limits and choices of one gateway. Times in nanoseconds unless the name says otherwise.
#[derive(Clone, Debug)]
pub struct GatewayOptions {
    /// A quote older than this is no price.
    pub stale_after_ns: u64,
    /// How often a plain client gets all its prices, in milliseconds: system 1's beat.
    pub beat_ms: u64,
    /// The least and the most that a client may ask for as `intervalMs`; others are moved to the nearer one.
    pub interval_ms: (u64, u64),
    /// How often those who watch order books are told of the ones that changed: what a person can follow, and a tenth of
    /// what some venues send.
    pub book_beat_ns: u64,
    /// Levels a side of an order book that a client gets who does not say how many.
    pub book_levels: usize,
    /// How often a stream gets all its pairs, in milliseconds: above the 600 ms that its hook needs.
    pub stream_beat_ms: u64,
    /// Comment on a stream this often, in milliseconds: below what proxies call idle.
    pub heartbeat_ms: u64,
    /// What browsers are told to wait before they reconnect a stream, in milliseconds. Each is told another number from
    /// here to three times as much, so that they do not all come back at once.
    pub retry_ms: u64,
    /// How long a stream waits for a pair's day statistics before it goes without.
    pub statistics_wait_ns: u64,
    /// Which venues serve a pair on streams and in the prices REST, in order of preference; venues that
    /// are not named follow in the directory's order.
    pub price_venues: Vec<VenueId>,
    /// Open streams above this get 503: system 2's figure.
    pub streams_max: usize,
    /// Open connections above this are only asked for life and readiness: below the descriptors that a process has.
    pub connections_max: usize,
    /// Counts the connections of each address; shared by all gateways.
    pub addresses: Addresses,
    /// How long the head of such a request may take, where there is no room for another client.
    pub probe_within_ns: u64,
    /// Kernel send buffer per client in bytes (the kernel doubles it): a large one hides old prices.
    pub send_buffer: usize,
    /// Bytes that the kernel may hold unsent before it takes more: about 30 prices.
    pub unsent_max: u32,
    /// Bytes of alerts and replies that wait for a client that does not read; above, it is closed.
    pub outbox_max: usize,
    /// The same for all clients of this gateway together, pages of HTTP included; above, those for which most waits are
    /// closed.
    pub outboxes_max: usize,
    /// Largest client message in bytes.
    pub message_max: usize,
    /// Fragments of one client message.
    pub fragments_max: u32,
    /// WebSocket read buffer per client in bytes: requests are small, clients are many.
    pub read_buffer: usize,
    /// Silence after which a client is pinged.
    pub ping_after_ns: u64,
    /// How long it has to answer.
    pub pong_within_ns: u64,
    /// How long a client that takes nothing is kept.
    pub progress_within_ns: u64,
    /// How long the peer has to finish a closing handshake.
    pub close_within_ns: u64,
    /// HTTP head limits.
    pub head: http::HeadLimits,
    /// How long a head may take to arrive, from the connection or its first byte.
    pub head_within_ns: u64,
    /// How long a kept connection may be quiet between two requests: longer than the 60 s of most balancers, who would
    /// otherwise send a request into a connection that is just being closed.
    pub idle_within_ns: u64,
    /// Pairs (symbols × exchanges) that one client may subscribe to, and order books; a panel has tens.
    pub pairs_max: usize,
    /// Names in each of a client's two requested.
    pub names_max: usize,
    /// Bytes of one name.
    pub name_max: usize,
    /// Bytes of all of a client's names as its replies repeat them.
    pub names_bytes_max: usize,
    /// Bytes that the subscription of one client may take here: 4096 prices that nobody else has, and some.
    pub client_bytes_max: usize,
    /// Bytes that the subscriptions of all clients of this gateway may take.
    pub clients_bytes_max: usize,
    /// Client messages per second, and how many may come at once.
    pub commands: (u32, u32),
    /// Errors within ten seconds that end a connection.
    pub errors_max: u32,
    /// Spread in percent above which the detector tells of an opportunity; for the status page.
    pub threshold_pct: Decimal,
    /// Whether that is before fees (`gross`) or after them (`net`).
    pub threshold_on: &'static str,
    /// Milliseconds in which the detector alerts an opportunity at most once.
    pub debounce_ms: u64,
    /// Name of this instance: `<hostname>_<pid>_<startMs>`.
    pub instance: String,
    /// Name of this machine.
    pub hostname: String,
}

impl Default for GatewayOptions {
    fn default() -> Self {
        Self {
            stale_after_ns: 30 * SECOND,
            beat_ms: 500,
            interval_ms: (10, 60_000),
            book_beat_ns: 100 * MS,
            book_levels: 10,
            stream_beat_ms: 1000,
            heartbeat_ms: 15_000,
            retry_ms: 1500,
            statistics_wait_ns: 5 * SECOND,
            price_venues: Vec::new(),
            streams_max: 10_000,
            connections_max: 19_500,
            addresses: Addresses::default(),
            probe_within_ns: SECOND,
            send_buffer: 48 * 1024,
            unsent_max: 4096,
            outbox_max: 64 * 1024,
            outboxes_max: 64 << 20,
            message_max: 64 * 1024,
            fragments_max: 64,
            read_buffer: 1024,
            ping_after_ns: 25 * SECOND,
            pong_within_ns: 8 * SECOND,
            progress_within_ns: 10 * SECOND,
            close_within_ns: SECOND,
            head: http::HeadLimits {
                head_max: 8192,
                lines_max: 64,
                line_max: 4096,
                posts: http::Posts::Only(&[admin::RELOAD_PATH, admin::SET_PATH, admin::RETRY_PATH]),
                body_max: admin::BODY_MAX,
            },
            head_within_ns: 5 * SECOND,
            idle_within_ns: 75 * SECOND,
            pairs_max: 4096,
            names_max: 1024,
            name_max: 64,
            names_bytes_max: 48 * 1024,
            client_bytes_max: 4 << 20,
            clients_bytes_max: 256 << 20,
            commands: (20, 40),
            errors_max: 10,
            threshold_pct: Decimal::new(5, 1),
            threshold_on: "gross",
            debounce_ms: 60_000,
            instance: "spreadwire".into(),
            hostname: "localhost".into(),
        }
    }
}

impl GatewayOptions {
    /// How long what was sent to a client may stay unacknowledged. A WebSocket whose peer vanished is closed after
    /// `ping_after_ns` and `pong_within_ns`; a stream has something to send at least every `heartbeat_ms`, so with this
    /// limit it is closed by the same time. Never less than a client may take nothing.
    #[must_use]
    pub fn unacknowledged_within(&self) -> Duration {
        let silence = (self.ping_after_ns + self.pong_within_ns).saturating_sub(self.heartbeat_ms * MS);
        Duration::from_nanos(silence.max(self.pong_within_ns).max(self.progress_within_ns))
    }

    /// The interval of a client that asked for `interval_ms`, in nanoseconds; `None` means every change.
    #[must_use]
    pub fn interval(&self, interval_ms: u64) -> Option<u64> {
        (interval_ms > 0).then(|| interval_ms.clamp(self.interval_ms.0, self.interval_ms.1) * MS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_whose_peer_vanished_is_gone_when_a_web_socket_is_and_one_that_reads_slowly_is_not() {
        let options = GatewayOptions::default();
        let silence = Duration::from_nanos(options.ping_after_ns + options.pong_within_ns);
        assert_eq!(options.unacknowledged_within() + Duration::from_millis(options.heartbeat_ms), silence);
        let patient = GatewayOptions { progress_within_ns: 600 * SECOND, ..options };
        assert_eq!(patient.unacknowledged_within(), Duration::from_secs(600));
    }
}
