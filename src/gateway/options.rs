//! The section `[gateway]`, and what else a gateway is set to.

use std::net::SocketAddr;
use std::time::Duration;

use crate::gateway::http::admin;
use crate::market::VenueId;
use crate::market::book::BookOptions;
use crate::market::quote::QuoteOptions;
use crate::market::rule::DetectorOptions;
use crate::net::listen::{Addresses, Network};
use crate::settings::section;
use crate::time::MS;
use crate::wire::http;

/// Interval of the comments in a stream, in milliseconds: shorter than the idle timeout of proxies.
pub(super) const HEARTBEAT_MS: u64 = 15_000;

section! {
    /// Where clients connect, and limits for clients.
    GatewayOptions {
        /// Address to listen on. There is no authentication yet, so the default is this machine only.
        listen: SocketAddr = SocketAddr::from(([127, 0, 0, 1], 3000));
        /// Gateway threads, each with its own share of the clients.
        threads: usize = 1, 1..=64;
        /// Milliseconds between two bursts of prices to a client that has not chosen another interval.
        beat_ms: u64 = 500, 10..=60_000;
        /// Milliseconds between two bursts of an SSE stream. Existing dashboards drop updates that arrive within 600 ms
        /// of the previous one.
        sse_beat_ms: u64 = 1000, 100..=60_000;
        /// Simultaneous connections of all kinds; further ones can only request `/livez` and `/readyz`. Each takes a
        /// file descriptor and a few KiB.
        clients_max: usize = 19_500, 1..=1_000_000;
        /// Simultaneous connections from one address, or from one IPv6 network of 64 bits; further ones can only
        /// request `/livez` and `/readyz`. 0: no limit.
        address_clients_max: usize = 2000, 0..=1_000_000;
        /// Addresses and networks of proxies, which connect for many clients, separated by commas. They are exempt from
        /// that limit, and `X-Forwarded-For` in their admin calls is trusted. The default is this machine.
        proxies: String = "127.0.0.0/8, ::1".to_owned();
        /// Simultaneous SSE streams over all connections.
        streams_max: usize = 10_000, 1..=1_000_000;
        /// Pairs (symbol × exchange) that one client may subscribe to.
        pairs_max: usize = 4096, 1..=1_000_000;
        /// Approximate limit of the memory for one client's subscription, in bytes: its names, and 700 for each price
        /// that no other client receives.
        client_bytes_max: usize = 4_194_304, 65_536..=1_073_741_824;
        /// Approximate limit of the memory for the subscriptions of all clients, in bytes: three quarters for
        /// prices, a quarter for order books. One client gets at most an eighth of the remainder.
        clients_bytes_max: usize = 268_435_456, 1_048_576..=68_719_476_736;
        /// Largest message of a client in bytes. Subscriptions are small; a larger message closes the connection.
        message_max_bytes: usize = 65_536, 1024..=16_777_216;
        /// Largest HTTP head in bytes.
        header_max_bytes: usize = 8192, 1024..=65_536;
        /// Milliseconds in which the HTTP head must be complete, so that slow senders do not hold a connection for
        /// longer.
        header_wait_ms: u64 = 5000, 100..=60_000;
        /// Milliseconds that a connection may be idle between two HTTP requests. Must be longer than a load balancer in
        /// front keeps idle connections, usually 60 s; otherwise the balancer sends requests on connections that are
        /// being closed.
        keep_alive_ms: u64 = 75_000, 1000..=3_600_000;
        /// Milliseconds of silence after which a client is pinged.
        ping_ms: u64 = 25_000, 1000..=600_000;
        /// Milliseconds in which the client must answer the ping.
        pong_wait_ms: u64 = 8000, 100..=600_000;
        /// Milliseconds without any progress in writing after which a client is closed.
        write_stall_ms: u64 = 10_000, 100..=600_000;
        /// Kernel send buffer per client in bytes: a large one hides seconds of old prices.
        send_buffer_bytes: usize = 49_152, 4096..=4_194_304;
        /// Bytes of alerts and replies that may wait for a client that does not read. Above this, the client is
        /// notified and closed.
        outbox_max_bytes: usize = 65_536, 4096..=16_777_216;
        /// The same for all clients together, including responses to HTTP requests. Above this, the clients with the
        /// most waiting bytes are closed, a WebSocket with 1013. The default has room for a thousand clients that stop
        /// reading.
        outboxes_max_bytes: usize = 67_108_864, 1_048_576..=68_719_476_736;
        /// Commands per second of one client, on average.
        commands_per_s: u64 = 20, 1..=100_000;
        /// Commands of one client in one burst.
        commands_burst: u64 = 40, 1..=100_000;
    }
}

/// What a gateway is set to: its section, the sections that it shares with other stages, and what the process decides.
#[derive(Clone, Debug)]
pub struct GatewaySettings {
    /// Limits for clients.
    pub gateway: GatewayOptions,
    /// Validity of quotes.
    pub quotes: QuoteOptions,
    /// Order books.
    pub books: BookOptions,
    /// When a spread is alerted.
    pub detector: DetectorOptions,
    /// Venues that serve a pair on streams and in the prices page, in order of preference. Other venues follow in the order
    /// of the directory.
    pub price_order: Vec<VenueId>,
    /// Counts and limits the connections of each address; shared by all gateways.
    pub addresses: Addresses,
    /// Name of this instance: `<hostname>_<pid>_<startMs>`.
    pub instance: String,
    /// Name of this machine.
    pub hostname: String,
}

impl Default for GatewaySettings {
    /// The default sections, without a limit for one address.
    fn default() -> Self {
        Self {
            gateway: GatewayOptions::default(),
            quotes: QuoteOptions::default(),
            books: BookOptions::default(),
            detector: DetectorOptions::default(),
            price_order: Vec::new(),
            addresses: Addresses::default(),
            instance: "spreadwire".to_owned(),
            hostname: "localhost".to_owned(),
        }
    }
}

impl GatewayOptions {
    /// The limit for one address. [`Self::proxies`] is validated with the rest of the configuration.
    #[must_use]
    pub fn addresses(&self) -> Addresses {
        Addresses::new(self.address_clients_max, Network::list(&self.proxies).unwrap_or_default())
    }

    /// Limits of a request.
    #[must_use]
    pub(crate) const fn head_limits(&self) -> http::HeadLimits {
        http::HeadLimits {
            head_max: self.header_max_bytes,
            lines_max: 64,
            line_max: 4096,
            posts: admin::POSTS,
            body_max: admin::BODY_MAX,
        }
    }

    /// Most bytes that wait for all clients of one gateway thread, pages included.
    #[must_use]
    pub const fn waiting_bytes_max(&self) -> usize {
        self.outboxes_max_bytes / self.threads
    }

    /// Most bytes of the watched order books of all clients of one gateway thread.
    #[must_use]
    pub(crate) const fn books_bytes_max(&self) -> usize {
        self.clients_bytes_max / self.threads / 4
    }

    /// Most bytes of the subscribed prices of all clients of one gateway thread.
    #[must_use]
    pub(crate) const fn prices_bytes_max(&self) -> usize {
        self.clients_bytes_max / self.threads - self.books_bytes_max()
    }

    /// How long bytes sent to a client may remain unacknowledged. A WebSocket whose peer has vanished is closed after
    /// `ping_ms` and `pong_wait_ms`. A stream sends something at least every `HEARTBEAT_MS`, so with this limit it is
    /// closed by the same time. Never shorter than a client may take no bytes.
    #[must_use]
    pub(crate) fn unacknowledged_within(&self) -> Duration {
        let silence_ms = (self.ping_ms + self.pong_wait_ms).saturating_sub(HEARTBEAT_MS);
        Duration::from_millis(silence_ms.max(self.pong_wait_ms).max(self.write_stall_ms))
    }

    /// How long the head of a request may take to arrive, from the connection or its first byte, in nanoseconds.
    #[must_use]
    pub(crate) const fn head_within_ns(&self) -> u64 {
        self.header_wait_ms * MS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_whose_peer_vanished_is_closed_as_early_as_a_web_socket_but_a_slow_one_is_not() {
        let mut options = GatewayOptions::default();
        let silence = Duration::from_millis(options.ping_ms + options.pong_wait_ms);
        assert_eq!(options.unacknowledged_within() + Duration::from_millis(HEARTBEAT_MS), silence);
        options.write_stall_ms = 600_000;
        assert_eq!(options.unacknowledged_within(), Duration::from_secs(600));
    }
}
