//! What a gateway's pages say, as far as it is shown. Read leniently: a member that is not there is zero or
//! empty, one that nobody knows is ignored, so that another version's gateway can be looked at. Texts are
//! tamed here, once; whatever is shown comes from these structs.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::log;

/// A text from the wire without marks that would disturb a terminal.
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

/// Whole numbers by name, in the order of the page; what is no whole number is left out.
#[derive(Clone, Debug, Default)]
pub struct Counts(pub Vec<(Text, u64)>);

impl Counts {
    /// The one of this name.
    #[must_use]
    pub fn of(&self, name: &str) -> Option<u64> {
        self.0.iter().find(|(known, _)| &**known == name).map(|(_, count)| *count)
    }
}

impl<'de> Deserialize<'de> for Counts {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(Members)
    }
}

struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Counts;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of counts")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Counts, A::Error> {
        let mut counts = Vec::new();
        while let Some((name, value)) = members.next_entry::<Text, Value>()? {
            counts.extend(value.as_u64().map(|count| (name, count)));
        }
        Ok(Counts(counts))
    }
}

/// `/api/status`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Status {
    /// Unix milliseconds.
    pub timestamp: u64,
    /// `healthy`, `degraded`, `at_capacity`.
    pub status: Text,
    /// How the numbers come here: `websocket`, `shared`, `redis_cache`, `local_cache`, `degraded`.
    pub level: Text,
    /// What is wrong.
    pub alerts: Vec<Text>,
    /// The process.
    pub process: Process,
    /// Venues.
    pub venues: Vec<Venue>,
    /// The detector's counts.
    pub detector: Counts,
    /// The gateway's counts.
    pub gateway: Counts,
    /// Limits.
    pub limits: BTreeMap<Text, Value>,
    /// The cluster; null when there is none.
    pub cluster: Value,
}

/// The process.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Process {
    /// Version of spreadwire.
    pub version: Text,
    /// Milliseconds since its start.
    pub uptime_ms: u64,
    /// Its name.
    pub instance: Text,
    /// Where its numbers come from.
    pub source: Text,
}

/// A venue.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Venue {
    /// Its name.
    pub exchange: Text,
    /// State of the connection.
    pub state: Text,
    /// `fresh`, `partial`, `none`.
    pub data: Text,
    /// Pairs with a fresh price.
    pub fresh_pairs: u64,
    /// Pairs that it quotes.
    pub quoted_pairs: u64,
    /// Where its numbers come from.
    pub source: Option<Text>,
    /// How its numbers come here, as [`Status::level`].
    pub level: Text,
    /// What this process does for it in a cluster; empty without one.
    pub role: Text,
    /// Who leads it.
    pub leader: Option<Text>,
    /// Milliseconds from the leader to here.
    pub lag_ms: Option<f64>,
    /// How late its quotes are while they make no alert, in milliseconds.
    pub quote_lag_ms: Option<f64>,
    /// Of its address.
    pub circuit_breaker: Breaker,
    /// Milliseconds until it is dialled again, while that is known.
    pub next_attempt_ms: Option<u64>,
    /// Milliseconds since the last bytes.
    pub last_bytes_ms: Option<u64>,
    /// Milliseconds since it is connected.
    pub connected_ms: Option<u64>,
    /// Connections after the first.
    pub reconnects: u64,
    /// Failures in a row.
    pub consecutive_errors: u64,
    /// In words.
    pub last_error: Option<Text>,
    /// Messages.
    pub frames: u64,
    /// Quotes.
    pub quotes: u64,
    /// Bytes.
    pub bytes: u64,
    /// By reason.
    pub decode_errors: BTreeMap<Text, u64>,
    /// By reason.
    pub dropped: BTreeMap<Text, u64>,
    /// Quotes put aside because the ring was full.
    pub ring_conflated: u64,
    /// Silences that ended a connection.
    pub silences: u64,
    /// How far its clock is from ours, in milliseconds.
    pub clock_offset_ms: Option<f64>,
}

/// A circuit breaker.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Breaker {
    /// `closed`, `open`, `half_open`.
    pub state: Text,
}

/// `/api/opportunities`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Opportunities {
    /// Open now.
    pub open: Vec<Opportunity>,
    /// Closed lately, the newest first.
    pub closed: Vec<Opportunity>,
}

/// An opportunity.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Opportunity {
    /// Symbol.
    pub symbol: Text,
    /// Whose ask is paid.
    pub buy_exchange: Text,
    /// Whose bid is hit.
    pub sell_exchange: Text,
    /// That ask.
    pub buy_price: f64,
    /// That bid.
    pub sell_price: f64,
    /// Gross, in percent.
    pub spread_pct: f64,
    /// After fees, in percent.
    pub net_spread_pct: f64,
    /// In base.
    pub executable_size: f64,
    /// Age of the buy leg.
    pub buy_age_ms: u64,
    /// Age of the sell leg.
    pub sell_age_ms: u64,
    /// How long it lives or lived.
    pub lived_ms: u64,
    /// Largest gross spread.
    pub peak_spread_pct: f64,
    /// Where the numbers come from.
    pub source: Text,
    /// Unix milliseconds: now, or when it closed.
    pub timestamp: u64,
}

/// `/api/latency`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Latency {
    /// Hops in the order of a quote's way.
    pub hops: Vec<HopLatency>,
    /// Stages whose turns are measured; none where the gateway does not tell.
    pub stages: Vec<StageTurns>,
}

/// One stage.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct StageTurns {
    /// Its name.
    pub stage: Text,
    /// Duration of a turn without its sleep.
    pub turn: Percentiles,
    /// Time slept beyond what was meant.
    pub overrun: Percentiles,
}

/// One hop.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct HopLatency {
    /// Its name.
    pub hop: Text,
    /// Over all venues.
    pub all: Percentiles,
    /// By venue.
    pub exchanges: BTreeMap<Text, Percentiles>,
}

/// Nanoseconds.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Percentiles {
    /// How many.
    pub count: u64,
    /// Median.
    pub p50: u64,
    /// 90 %.
    pub p90: u64,
    /// 99 %.
    pub p99: u64,
    /// 99.9 %.
    pub p999: u64,
    /// Largest.
    pub max: u64,
}

/// `/api/instruments`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Instruments {
    /// Instruments.
    pub instruments: Vec<Instrument>,
}

/// An instrument.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Instrument {
    /// `BASE/QUOTE`.
    pub symbol: Text,
    /// Who quotes it.
    pub exchanges: Vec<Text>,
}

/// `/api/exchanges/prices?extended=1`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Prices {
    /// The symbol.
    pub symbol: Text,
    /// By exchange; none where there is no fresh price.
    pub prices: BTreeMap<Text, Option<Price>>,
}

/// A price.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Price {
    /// Best bid.
    pub bid: f64,
    /// Best ask.
    pub ask: f64,
    /// Size there.
    pub bid_size: f64,
    /// Size there.
    pub ask_size: f64,
    /// Milliseconds since it was read from the exchange.
    pub age_ms: u64,
}

/// One look at a gateway.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    /// `/api/status`.
    pub status: Status,
    /// `/api/opportunities`.
    pub opportunities: Opportunities,
    /// `/api/latency`.
    pub latency: Latency,
    /// `/api/instruments`.
    pub instruments: Vec<Instrument>,
    /// Prices of the instrument that was asked for.
    pub prices: Option<Prices>,
}
