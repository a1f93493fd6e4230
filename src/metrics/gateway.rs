//! Counters and gauges of one gateway thread, by subject. The thread writes all of them.

use arc_swap::ArcSwapOption;

use crate::metrics::{Counter, Gauge};

/// One gateway thread.
#[derive(Debug, Default)]
pub struct GatewayGauges {
    /// Its connections.
    pub clients: ClientGauges,
    /// Plain HTTP requests.
    pub http: HttpGauges,
    /// What its clients subscribe to.
    pub subscriptions: SubscriptionGauges,
    /// What it sent, and what waits to be sent.
    pub sent: SentGauges,
}

/// Connections of clients.
#[derive(Debug, Default)]
pub struct ClientGauges {
    /// Open connections of all kinds.
    pub connections: Gauge,
    /// Open WebSocket clients.
    pub websocket: Gauge,
    /// Open SSE streams.
    pub sse: Gauge,
    /// Accepted connections.
    pub accepted: Counter,
    /// Connections beyond a limit, which may only request liveness and readiness, or closed because file descriptors
    /// ran out.
    pub refused: Counter,
    /// Clients closed because they did not read.
    pub slow_closed: Counter,
    /// Clients closed for breaking the protocol or the limits.
    pub misbehaved_closed: Counter,
    /// Client messages answered with an error.
    pub errors: Counter,
}

/// Plain HTTP requests.
#[derive(Debug, Default)]
pub struct HttpGauges {
    /// Requests answered.
    pub requests: Counter,
    /// Requests answered with a page that was rendered a moment before.
    pub shared: Counter,
    /// Requests rejected as malformed, too slow or too large.
    pub bad: Counter,
}

/// Subscriptions over all clients.
#[derive(Debug, Default)]
pub struct SubscriptionGauges {
    /// WebSocket clients that follow open opportunities.
    pub followers: Gauge,
    /// (symbol, exchange) pairs, counted once for each client.
    pub pairs: Gauge,
    /// (symbol, exchange) pairs with a subscribed order book, counted once for each client.
    pub books: Gauge,
    /// Symbols.
    pub symbols: NameGauges,
    /// Exchanges.
    pub exchanges: NameGauges,
    /// Pairs with an SSE subscriber.
    pub sse_pairs: NameGauges,
}

/// Distinct names in subscriptions.
#[derive(Debug, Default)]
pub struct NameGauges {
    /// How many.
    pub count: Gauge,
    /// The names, for the pages of another gateway thread; slightly delayed.
    pub names: ArcSwapOption<Vec<String>>,
}

/// Messages to clients.
#[derive(Debug, Default)]
pub struct SentGauges {
    /// Price messages delivered to sockets.
    pub prices: Counter,
    /// Alert messages delivered to sockets.
    pub alerts: Counter,
    /// Opportunity messages written to clients that follow them.
    pub opportunities: Counter,
    /// Order book messages written.
    pub books: Counter,
    /// Bytes written to clients.
    pub bytes: Counter,
    /// Bytes queued for clients that do not read.
    pub waiting_bytes: Gauge,
    /// Prices replaced by a newer one before a slow client received them.
    pub prices_conflated: Counter,
    /// States of a book replaced by a newer one before a slow client received them.
    pub books_conflated: Counter,
}
