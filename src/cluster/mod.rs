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
pub mod publisher;
pub mod readiness;
pub mod signals;
pub mod status;
pub mod store;

use crate::time::MS;

/// Limits and choices.
#[derive(Clone, Debug)]
pub struct ClusterOptions {
    /// Where Redis is: `redis://`, `rediss://`, or `redis+sentinel://host:port,host:port/name`.
    pub redis: String,
    /// User of the Sentinels; empty for the default one.
    pub sentinel_user: String,
    /// Their password; empty for none.
    pub sentinel_password: String,
    /// PEM file of the authority of Redis' certificates; empty for those that the system trusts.
    pub ca_file: String,
    /// PEM files of the certificate that we show, and of its key; both empty for none.
    pub cert_file: String,
    /// See [`Self::cert_file`].
    pub key_file: String,
    /// What every key begins with, so that several clusters can share a Redis.
    pub prefix: String,
    /// Id of this instance: no other process, now or later, has it.
    pub instance: String,
    /// The configured name; empty if there is none.
    pub name: String,
    /// Its host, for people.
    pub hostname: String,
    /// How long a lease lasts without renewal, in nanoseconds.
    pub lease_ns: u64,
    /// How often it is renewed, in nanoseconds.
    pub renew_ns: u64,
    /// A leader gives a venue away of its own will only after so long, in nanoseconds.
    pub tenure_ns: u64,
    /// Deadline of a call of Redis, in nanoseconds.
    pub call_ns: u64,
    /// How long Redis must answer well before it is relied on again, in nanoseconds.
    pub stable_ns: u64,
    /// Whether an instance that is cut off from Redis connects to the venues itself.
    pub alone: bool,
    /// Whether the keys of system 2 are written too.
    pub legacy_keys: bool,
    /// File to which accepted batches are written, see [`history`]; empty for none.
    pub history: String,
}

impl Default for ClusterOptions {
    fn default() -> Self {
        Self {
            redis: String::new(),
            sentinel_user: String::new(),
            sentinel_password: String::new(),
            ca_file: String::new(),
            cert_file: String::new(),
            key_file: String::new(),
            prefix: "spreadwire".to_owned(),
            instance: String::new(),
            name: String::new(),
            hostname: String::new(),
            lease_ns: 5000 * MS,
            renew_ns: 5000 * MS / 3,
            tenure_ns: 10_000 * MS,
            call_ns: 100 * MS,
            stable_ns: 3000 * MS,
            alone: true,
            legacy_keys: false,
            history: String::new(),
        }
    }
}
