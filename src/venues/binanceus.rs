//! Binance.US spot: another company with books of its own, that speaks Binance's protocol. The codec and the
//! exchange's side are [`Binance`]'s; here are the facts and the symbols.
//!
//! Books are thin: minutes without a message and books without one side are usual. Binance's later changes
//! (`serverShutdown`, stamps in microseconds) are not announced here, and understood if they come.

use crate::market::quote::StampOrder;
use crate::venues::binance::{BOOKS, Binance};
use crate::venues::codes::Codes;
use crate::venues::listing::Listing;
use crate::venues::reading;
use crate::venues::{Facts, Keepalive, Opening, Pace, StampFacts, VenueLimits};

/// <https://github.com/binance-us/binance-us-api-docs/blob/master/web-socket-streams.md> (text of 2022-09-30), read
/// 2026-11-21: the server pings every 3 min and wants its pong within 10 min; 5 incoming messages a second, pings
/// and pongs included; 1024 streams and 24 h per connection. No limit of new connections is published. Taker fee
/// unconfirmed: 0.10 % by ccxt 4.5.90; it differs by pair.
static FACTS: Facts = Facts {
    name: "binanceus",
    title: "Binance.US",
    address: "wss://stream.binance.us:9443/ws",
    opening: Opening::Direct,
    taker_fee_pct: "0.10",
    keepalive: Keepalive::Server,
    message_max: 1 << 20,
    request_gap_ms: 300,
    channel: "bookTicker",
    books: Some(BOOKS),
    // Stamps of `depth@100ms` and trades: 38 of 3,659 go back on a connection, by 2 ms at most. 2,750 of 2,751 recorded
    // `bookTicker` frames arrive before the `depth@100ms` that contains their change, and all before any frame with a
    // later stamp.
    stamps: StampFacts { order: StampOrder::Connection, slack_ms: 100, ..StampFacts::MILLISECONDS },
    limits: VenueLimits {
        connects: Pace { count: 300, per_ms: 300_000 },
        age_max_s: Some(86_400),
        ..VenueLimits::UNPUBLISHED
    },
    docs: "https://github.com/binance-us/binance-us-api-docs/blob/master/web-socket-streams.md (2026-11-21)",
};

/// Quote assets of the venue's listing of 2021-10. BUSD is gone since 2023; recordings have it.
const QUOTES: &[&str] = &["USD", "USDT", "BTC", "USDC", "BUSD"];

/// Symbols that two of the quote assets fit, of the same listing.
const EXCEPTIONS: &[(&str, usize)] = &[
    ("ALGOBUSD", 4),
    ("BNBBUSD", 3),
    ("BNBUSD", 3),
    ("BTCBUSD", 3),
    ("EOSBUSD", 3),
    ("ETHBUSD", 3),
    ("HBARBUSD", 4),
    ("MATICBUSD", 5),
    ("OMGBUSD", 3),
    ("ONEBUSD", 3),
    ("REPBUSD", 3),
    ("SHIBBUSD", 4),
    ("XRPBUSD", 3),
    ("XTZBUSD", 3),
    ("ZILBUSD", 3),
];

/// Binance.US, spot.
pub(crate) static BINANCE_US: Binance = Binance {
    facts: &FACTS,
    listing: Listing { address: "https://api.binance.us", path: "/api/v3/exchangeInfo" },
    quotes: QUOTES,
    instead: |_| "; most are in USD or USDT",
    codes: Codes::usual("Binance.US"),
    symbol_of: |native| reading::split(native, QUOTES, EXCEPTIONS),
};
