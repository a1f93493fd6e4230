//! Limits and choices of a gateway, each with its unit and the reason for its default. Times are in nanoseconds unless
//! the name says otherwise.

use std::time::Duration;

use crate::gateway::http::admin;
use crate::market::{Decimal, VenueId};
use crate::net::listen::Addresses;
use crate::time::{MS, SECOND};
use crate::wire::http;

/// All options of one gateway.
#[derive(Clone, Debug, Default)]
pub struct GatewayOptions {
    /// Prices.
    pub prices: PriceOptions,
    /// Order books.
    pub books: BookOptions,
    /// Streams.
    pub streams: StreamOptions,
    /// WebSockets.
    pub sockets: SocketOptions,
    /// HTTP requests.
    pub http: HttpOptions,
    /// Connections of any kind.
    pub clients: ClientOptions,
    /// Subscriptions.
    pub subscriptions: SubscriptionOptions,
    /// What the status page shows.
    pub status: StatusOptions,
}

/// Prices.
#[derive(Clone, Debug)]
pub struct PriceOptions {
    /// A quote older than this is stale.
    pub stale_after_ns: u64,
    /// Interval of a client that does not ask for one, in milliseconds: that of the replaced system 1.
    pub beat_ms: u64,
    /// Shortest and longest interval in milliseconds. A request for another one is moved to the nearer limit.
    pub interval_ms: (u64, u64),
    /// How long a pair of a stream waits for its day statistics before it is sent without them.
    pub statistics_wait_ns: u64,
    /// Venues that serve a pair on streams and in the prices page, in order of preference. Other venues follow in the order
    /// of the directory.
    pub venues: Vec<VenueId>,
}

/// Order books.
#[derive(Clone, Debug)]
pub struct BookOptions {
    /// Interval at which changed books are sent: what a person can follow, and a tenth of what some venues send.
    pub beat_ns: u64,
    /// Levels a side if a client does not specify them.
    pub levels: usize,
}

/// Streams.
#[derive(Clone, Debug)]
pub struct StreamOptions {
    /// Interval at which a stream receives all its pairs, in milliseconds: above the 600 ms that its React hook needs.
    pub beat_ms: u64,
    /// Interval of comments, in milliseconds: shorter than the idle timeout of proxies.
    pub heartbeat_ms: u64,
    /// Shortest wait of browsers before they reconnect, in milliseconds. Each stream is assigned a value from here to three
    /// times as much, so that browsers do not reconnect at the same time.
    pub retry_ms: u64,
    /// Most open streams; further ones receive 503. The limit of the replaced system 2.
    pub streams_max: usize,
}

/// WebSockets.
#[derive(Clone, Debug)]
pub struct SocketOptions {
    /// Largest message of a client in bytes.
    pub message_max: usize,
    /// Most fragments of one message.
    pub fragments_max: u32,
    /// Read buffer per client in bytes: requests are small, and there are many clients.
    pub read_buffer: usize,
    /// A client is pinged after this time without input.
    pub ping_after_ns: u64,
    /// How long it has to respond.
    pub pong_within_ns: u64,
    /// How long the peer has to complete a closing handshake.
    pub close_within_ns: u64,
    /// Messages of a client per second, and how many may arrive at once.
    pub commands: (u32, u32),
    /// Errors within ten seconds that close a connection.
    pub errors_max: u32,
}

/// HTTP requests.
#[derive(Clone, Debug)]
pub struct HttpOptions {
    /// Limits of a request.
    pub head: http::HeadLimits,
    /// How long a head may take to arrive, from the connection or its first byte.
    pub head_within_ns: u64,
    /// How long a connection may be idle between two requests: longer than the 60 s of most load balancers, which otherwise
    /// send a request into a connection that is being closed.
    pub idle_within_ns: u64,
}

/// Connections of any kind.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// Most open connections: fewer than the process has descriptors. Further ones may only ask for liveness and readiness.
    pub connections_max: usize,
    /// Counts and limits the connections of each address; shared by all gateways.
    pub addresses: Addresses,
    /// How long the head of a liveness or readiness check above the limits may take.
    pub probe_within_ns: u64,
    /// Kernel send buffer in bytes (the kernel doubles it): a large one delays prices.
    pub send_buffer: usize,
    /// Most unsent bytes in the kernel in addition to one write: about 30 prices.
    pub unsent_max: u32,
    /// Most bytes of alerts and replies that wait for one client; a client that exceeds it is closed.
    pub outbox_max: usize,
    /// Most bytes that wait for all clients of this gateway, pages included. Above it, the clients for which most waits are
    /// closed.
    pub outboxes_max: usize,
    /// A client that takes no bytes for this long is closed.
    pub progress_within_ns: u64,
}

/// Subscriptions.
#[derive(Clone, Debug)]
pub struct SubscriptionOptions {
    /// Most pairs (symbols × exchanges) and order books of one client; a panel has tens.
    pub pairs_max: usize,
    /// Most symbols, and most exchanges, of one client.
    pub names_max: usize,
    /// Most bytes of one name.
    pub name_max: usize,
    /// Most bytes of all names of a client, as its replies repeat them.
    pub names_bytes_max: usize,
    /// Most bytes of the subscription of one client: 4096 prices that no other client has, and a reserve.
    pub client_bytes_max: usize,
    /// Most bytes of the subscriptions of all clients of this gateway. A quarter of it is for order books.
    pub clients_bytes_max: usize,
    /// Most order books of one client that are not quoted. Each takes memory that no other client shares, and none ever
    /// has content.
    pub unquoted_books_max: usize,
}

impl SubscriptionOptions {
    /// Most bytes of the watched order books of all clients of this gateway.
    #[must_use]
    pub const fn books_bytes_max(&self) -> usize {
        self.clients_bytes_max / 4
    }

    /// Most bytes of the subscribed prices of all clients of this gateway.
    #[must_use]
    pub const fn prices_bytes_max(&self) -> usize {
        self.clients_bytes_max - self.books_bytes_max()
    }
}

/// What the status page shows.
#[derive(Clone, Debug)]
pub struct StatusOptions {
    /// Spread in percent above which the detector finds an opportunity.
    pub threshold_pct: Decimal,
    /// Whether that is before fees (`gross`) or after them (`net`).
    pub threshold_on: &'static str,
    /// The part of the threshold at or below which an opportunity closes.
    pub close_ratio: Decimal,
    /// The weakest proof of an alert: `none`, `likely`, `proven`.
    pub proof_min: &'static str,
    /// Shortest time between two alerts of an opportunity, in milliseconds.
    pub debounce_ms: u64,
    /// Name of this instance: `<hostname>_<pid>_<startMs>`.
    pub instance: String,
    /// Name of this machine.
    pub hostname: String,
}

impl Default for PriceOptions {
    fn default() -> Self {
        Self {
            stale_after_ns: 30 * SECOND,
            beat_ms: 500,
            interval_ms: (10, 60_000),
            statistics_wait_ns: 5 * SECOND,
            venues: Vec::new(),
        }
    }
}

impl Default for BookOptions {
    fn default() -> Self {
        Self { beat_ns: 100 * MS, levels: 10 }
    }
}

impl Default for StreamOptions {
    fn default() -> Self {
        Self { beat_ms: 1000, heartbeat_ms: 15_000, retry_ms: 1500, streams_max: 10_000 }
    }
}

impl Default for SocketOptions {
    fn default() -> Self {
        Self {
            message_max: 64 * 1024,
            fragments_max: 64,
            read_buffer: 1024,
            ping_after_ns: 25 * SECOND,
            pong_within_ns: 8 * SECOND,
            close_within_ns: SECOND,
            commands: (20, 40),
            errors_max: 10,
        }
    }
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self {
            head: http::HeadLimits {
                head_max: 8192,
                lines_max: 64,
                line_max: 4096,
                posts: http::Posts::Only(&[admin::RELOAD_PATH, admin::SET_PATH, admin::RETRY_PATH]),
                body_max: admin::BODY_MAX,
            },
            head_within_ns: 5 * SECOND,
            idle_within_ns: 75 * SECOND,
        }
    }
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            connections_max: 19_500,
            addresses: Addresses::default(),
            probe_within_ns: SECOND,
            send_buffer: 48 * 1024,
            unsent_max: 4096,
            outbox_max: 64 * 1024,
            outboxes_max: 64 << 20,
            progress_within_ns: 10 * SECOND,
        }
    }
}

impl Default for SubscriptionOptions {
    fn default() -> Self {
        Self {
            pairs_max: 4096,
            names_max: 1024,
            name_max: 64,
            names_bytes_max: 48 * 1024,
            client_bytes_max: 4 << 20,
            clients_bytes_max: 256 << 20,
            unquoted_books_max: 64,
        }
    }
}

impl Default for StatusOptions {
    fn default() -> Self {
        Self {
            threshold_pct: Decimal::new(5, 1),
            threshold_on: "gross",
            close_ratio: Decimal::new(8, 1),
            proof_min: "none",
            debounce_ms: 60_000,
            instance: "spreadwire".into(),
            hostname: "localhost".into(),
        }
    }
}

impl GatewayOptions {
    /// How long bytes sent to a client may remain unacknowledged. A WebSocket whose peer has vanished is closed after
    /// `ping_after_ns` and `pong_within_ns`. A stream sends something at least every `heartbeat_ms`, so with this limit it
    /// is closed by the same time. Never shorter than a client may take no bytes.
    #[must_use]
    pub fn unacknowledged_within(&self) -> Duration {
        let SocketOptions { ping_after_ns, pong_within_ns, .. } = self.sockets;
        let silence = (ping_after_ns + pong_within_ns).saturating_sub(self.streams.heartbeat_ms * MS);
        Duration::from_nanos(silence.max(pong_within_ns).max(self.clients.progress_within_ns))
    }
}

impl PriceOptions {
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
    fn a_stream_whose_peer_vanished_is_closed_as_early_as_a_web_socket_but_a_slow_one_is_not() {
        let mut options = GatewayOptions::default();
        let silence = Duration::from_nanos(options.sockets.ping_after_ns + options.sockets.pong_within_ns);
        let heartbeat = Duration::from_millis(options.streams.heartbeat_ms);
        assert_eq!(options.unacknowledged_within() + heartbeat, silence);
        options.clients.progress_within_ns = 600 * SECOND;
        assert_eq!(options.unacknowledged_within(), Duration::from_secs(600));
    }
}
