//! Many gateways as one: each venue is led by one instance, which is connected to it and publishes its quotes
//! through Redis; the others follow. Runs on its own threads: no feed, detector or gateway thread calls Redis.
//!
//! ```text
//! matrix cell changed - leader: batch, token, sequence -> Redis pub/sub -> follower: token, age - ring -> merge
//! ```
//!
//! `election` and `fallback` decide and touch nothing; `store` calls Redis and decides nothing.

pub mod address;
pub mod age;
pub mod batch;
pub mod coordinator;
pub mod election;
pub mod error;
pub mod fallback;
pub mod follow;
pub mod history;
pub mod lead;
pub mod legacy;
mod options;
pub mod publisher;
pub mod readiness;
pub mod signals;
pub mod status;
pub mod store;

pub(crate) use options::LegacyKeys;
pub use options::{ClusterOptions, ClusterSettings, OwnUpstream};
