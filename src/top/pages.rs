//! The displayed parts of a gateway's pages. Deserialization is lenient, so that gateways of other versions can be
//! shown: a missing member is zero or empty, an unknown one is ignored. Texts are sanitized here, once; everything
//! displayed comes from these structs.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::log;

/// A received text without characters that would disturb a terminal.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Text(pub String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from).map(|text| Self(log::tamed(&text)))
    }
}

impl std::ops::Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

/// Whole numbers by name, in the order of the page. Other values are skipped.
#[derive(Clone, Debug, Default)]
pub struct CountsByName(pub(crate) Vec<(Text, u64)>);

impl CountsByName {
    /// The count named `name`.
    #[must_use]
    pub fn of(&self, name: &str) -> Option<u64> {
        self.0.iter().find(|(known, _)| &**known == name).map(|(_, count)| *count)
    }
}

impl<'de> Deserialize<'de> for CountsByName {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = CountsByName;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of counts")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<CountsByName, A::Error> {
        let mut counts = Vec::new();
        while let Some((name, value)) = members.next_entry::<Text, Value>()? {
            counts.extend(value.as_u64().map(|count| (name, count)));
        }
        Ok(CountsByName(counts))
    }
}

/// `/api/status`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct StatusPage {
    /// Unix milliseconds.
    pub timestamp: u64,
    /// `healthy`, `degraded`, `at_capacity`.
    pub status: Text,
    /// How prices reach the gateway: `websocket`, `shared`, `redis_cache`, `local_cache`, `degraded`.
    pub level: Text,
    /// Present problems.
    pub alerts: Vec<Text>,
    /// The gateway process.
    pub process: Process,
    /// Venues.
    pub venues: Vec<VenuePage>,
    /// The detector's counts.
    pub detector: CountsByName,
    /// The gateway's counts.
    pub gateway: CountsByName,
    /// Limits by name.
    pub limits: BTreeMap<Text, Value>,
    /// The cluster; null without one.
    pub cluster: Value,
}

/// The gateway process.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Process {
    /// Version of spreadwire.
    pub version: Text,
    /// Milliseconds since its start.
    pub(crate) uptime_ms: u64,
    /// Name of the instance.
    pub instance: Text,
    /// Source of its numbers.
    pub source: Text,
}

/// A venue.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct VenuePage {
    /// Its name.
    pub exchange: Text,
    /// State of the connection.
    pub state: Text,
    /// `fresh`, `partial`, `none`.
    pub data: Text,
    /// Pairs with a fresh price.
    pub(crate) fresh_pairs: u64,
    /// Pairs that are quoted.
    pub(crate) quoted_pairs: u64,
    /// Source of its numbers.
    pub source: Option<Text>,
    /// How its prices reach the gateway, as [`StatusPage::level`].
    pub level: Text,
    /// Role of the gateway for this venue in a cluster; empty without a cluster.
    pub role: Text,
    /// Milliseconds from the leader to the gateway.
    pub(crate) lag_ms: Option<f64>,
    /// Delay of its quotes in milliseconds, while it is too long for alerts.
    pub(crate) quote_lag_ms: Option<f64>,
    /// Offset of the venue's clock from ours, in milliseconds.
    pub(crate) clock_offset_ms: Option<f64>,
    /// From 0 to 100 without faults of its feed; `None`: an older gateway.
    pub(crate) feed_score: Option<u64>,
    /// Milliseconds since its quotes cause no alerts because of the score.
    pub(crate) quarantined_ms: Option<u64>,
    /// Its connections, in the same object of the page.
    #[serde(flatten)]
    pub connection: ConnectionEntry,
    /// Its quotes and losses, in the same object.
    #[serde(flatten)]
    pub received: ReceivedEntry,
}

/// Connections of a venue.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ConnectionEntry {
    /// Circuit breaker of its address.
    pub(crate) circuit_breaker: BreakerEntry,
    /// Milliseconds until the next attempt to connect, if known.
    pub(crate) next_attempt_ms: Option<u64>,
    /// Milliseconds since the last bytes.
    pub(crate) last_bytes_ms: Option<u64>,
    /// Milliseconds since the connection was established.
    pub(crate) connected_ms: Option<u64>,
    /// Number of connections after the first.
    pub reconnects: u64,
    /// Silences that closed a connection.
    pub silences: u64,
    /// The last error as text.
    pub last_error: Option<Text>,
}

/// Quotes of a venue, and losses.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ReceivedEntry {
    /// Quotes received.
    pub quotes: u64,
    /// Messages that could not be decoded, by reason.
    pub decode_errors: BTreeMap<Text, u64>,
    /// Quotes that were rejected, by reason.
    pub dropped: BTreeMap<Text, u64>,
    /// Quotes conflated because the ring was full.
    pub ring_conflated: u64,
}

impl ReceivedEntry {
    /// Messages and quotes that were lost, for all reasons.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.decode_errors.values().chain(self.dropped.values()).sum::<u64>() + self.ring_conflated
    }
}

/// A circuit breaker.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct BreakerEntry {
    /// `closed`, `open`, `half_open`.
    pub state: Text,
}

/// `/api/opportunities`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct OpportunitiesPage {
    /// Open now.
    pub open: Vec<OpportunityEntry>,
    /// Closed recently, newest first.
    pub closed: Vec<OpportunityEntry>,
}

/// An opportunity.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct OpportunityEntry {
    /// Symbol.
    pub symbol: Text,
    /// The venue whose ask is paid.
    pub buy_exchange: Text,
    /// The venue whose bid is hit.
    pub sell_exchange: Text,
    /// The ask.
    pub buy_price: f64,
    /// The bid.
    pub sell_price: f64,
    /// Gross spread in percent.
    pub(crate) spread_pct: f64,
    /// Spread after fees in percent.
    pub(crate) net_spread_pct: f64,
    /// Executable size in base.
    pub(crate) executable_size: f64,
    /// Age of the buy leg in milliseconds.
    pub buy_age_ms: u64,
    /// Age of the sell leg in milliseconds.
    pub sell_age_ms: u64,
    /// How long it has been or was open, in milliseconds.
    pub(crate) lived_ms: u64,
    /// Largest gross spread in percent.
    pub(crate) peak_spread_pct: f64,
    /// Whether both legs existed at the same moment; empty: an older gateway.
    pub proof: Text,
    /// For how long at least, in milliseconds; `None` unless proven.
    pub(crate) proof_ms: Option<f64>,
    /// Error of the venues' clocks in milliseconds; `None` while it is unknown.
    pub(crate) proof_error_ms: Option<f64>,
    /// How much later than usual the buy leg arrived, in milliseconds; `None` while it is unknown.
    pub(crate) buy_excess_lag_ms: Option<f64>,
    /// The same of the sell leg.
    pub(crate) sell_excess_lag_ms: Option<f64>,
    /// Source of the numbers.
    pub source: Text,
    /// Unix milliseconds: now, or when it closed.
    pub timestamp: u64,
}

/// `/api/refusals`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct RefusalsPage {
    /// How often a refusal began, by reason.
    pub reasons: BTreeMap<Text, u64>,
    /// Refused now.
    pub current: Vec<RefusalEntry>,
    /// The last examples, newest first.
    pub examples: Vec<RefusalEntry>,
}

/// A spread above the threshold that is not alerted.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct RefusalEntry {
    /// Why.
    pub reason: Text,
    /// `buy` or `sell`; empty: both.
    pub leg: Text,
    /// The figure that decided,
    pub value: Option<f64>,
    /// its limit,
    pub limit: Option<f64>,
    /// and the unit of both: `ms` or `pct`.
    pub unit: Text,
    /// Symbol.
    pub symbol: Text,
    /// The venue whose ask would be paid.
    pub buy_exchange: Text,
    /// The venue whose bid would be hit.
    pub sell_exchange: Text,
    /// Gross spread in percent.
    pub(crate) spread_pct: f64,
    /// Spread after fees in percent.
    pub(crate) net_spread_pct: f64,
    /// Unix milliseconds: when it was seen.
    pub timestamp: u64,
}

/// `/api/latency`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Latency {
    /// Hops in the order of the data path.
    pub(crate) hops: Vec<HopLatency>,
    /// Stages with measured turns; empty if the gateway does not report them.
    pub stages: Vec<StageEntry>,
}

/// Turns of one stage.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct StageEntry {
    /// Its name.
    pub stage: Text,
    /// Duration of a turn without its sleep.
    pub turn: Percentiles,
    /// Time slept beyond the requested time.
    pub(crate) overrun: Percentiles,
}

/// Latency of one hop.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct HopLatency {
    /// Its name.
    pub hop: Text,
    /// Over all venues.
    pub all: Percentiles,
    /// By venue.
    pub exchanges: BTreeMap<Text, Percentiles>,
}

/// Percentiles in nanoseconds.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Percentiles {
    /// Number of samples.
    pub count: u64,
    /// Median.
    pub p50: u64,
    /// 90 %.
    pub(crate) p90: u64,
    /// 99 %.
    pub p99: u64,
    /// 99.9 %.
    pub(crate) p999: u64,
    /// Largest.
    pub max: u64,
}

/// `/api/instruments`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Instruments {
    /// Instruments.
    pub instruments: Vec<InstrumentEntry>,
}

/// An instrument.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct InstrumentEntry {
    /// `BASE/QUOTE`.
    pub symbol: Text,
    /// The exchanges that quote it.
    pub exchanges: Vec<Text>,
}

/// `/api/exchanges/prices?extended=1`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct PricesPage {
    /// The symbol.
    pub symbol: Text,
    /// By exchange; `None` if there is no fresh price.
    pub prices: BTreeMap<Text, Option<PriceEntry>>,
}

/// A price.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PriceEntry {
    /// Best bid.
    pub bid: f64,
    /// Best ask.
    pub ask: f64,
    /// Size at the best bid.
    pub bid_size: f64,
    /// Size at the best ask.
    pub ask_size: f64,
    /// Milliseconds since it was read from the exchange.
    pub age_ms: u64,
}

/// The pages of a gateway at one moment.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    /// `/api/status`.
    pub status: StatusPage,
    /// `/api/opportunities`.
    pub opportunities: OpportunitiesPage,
    /// `/api/refusals`.
    pub refusals: RefusalsPage,
    /// `/api/latency`.
    pub latency: Latency,
    /// `/api/instruments`.
    pub instruments: Vec<InstrumentEntry>,
    /// Prices of the selected instrument, if one was requested.
    pub prices: Option<PricesPage>,
}
