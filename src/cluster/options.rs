//! The section `[cluster]`, and the names of this instance.

use crate::settings::{choice, section};
use crate::time::MS;

section! {
    /// Several gateways as a cluster, through Redis.
    ClusterOptions {
        /// Address of Redis: `redis://`, `rediss://`, or `redis+sentinel://host:port,host:port/name`, the last also
        /// with `rediss`. Empty: this gateway runs without a cluster.
        redis: String = String::new();
        /// User of the Sentinels, if they have users. Empty: the default user.
        sentinel_user: String = String::new();
        /// Password of the Sentinels, which is separate from that of Redis. Empty: none.
        sentinel_password: String = String::new();
        /// PEM file of the authority that signed the certificates of Redis, relative to this file. Empty: the
        /// authorities that the system trusts.
        ca_file: String = String::new();
        /// PEM file of the certificate that this gateway presents to Redis, relative to this file. Empty: none.
        cert_file: String = String::new();
        /// PEM file of the key of that certificate. Empty: none.
        key_file: String = String::new();
        /// Prefix of all keys in Redis, so that several clusters can share one Redis. Clusters in different databases
        /// can use the same prefix.
        prefix: String = "spreadwire".to_owned();
        /// Name of this instance, different for each. The id of an instance consists of this name, its process id and
        /// its start time, so that no two processes have the same id. Empty: the host name.
        instance: String = String::new();
        /// Milliseconds that a venue's lease lasts without renewal, and so the longest time that a venue can be without
        /// a leader.
        lease_ms: u64 = 5000, 300..=60_000;
        /// Milliseconds between two renewals. 0: a third of the lease.
        renew_ms: u64 = 0, 0..=30_000;
        /// Milliseconds for which a leader keeps a venue before it hands it over to an instance with less work.
        tenure_ms: u64 = 10_000, 0..=3_600_000;
        /// Milliseconds in which Redis must answer a call.
        call_ms: u64 = 100, 10..=10_000;
        /// Milliseconds for which Redis must answer in time before it is used again.
        stable_ms: u64 = 3000, 0..=600_000;
        /// Whether an instance that is cut off from Redis connects to the venues itself: on or off.
        own_upstream: OwnUpstream = OwnUpstream::On;
        /// Whether the keys of the replaced system (`price:dist:<PAIR>:latest`, `price_stream:leader`) are also
        /// written, for its instances during a migration: on or off.
        legacy_keys: LegacyKeys = LegacyKeys::Off;
        /// File to which one line is appended for every accepted batch, relative to this file: time, instance, venue,
        /// leader, token, sequence. For investigations only, since it grows without limit. Empty: none.
        history: String = String::new();
    }
}

choice! {
    /// Behaviour of an instance that is cut off from Redis.
    OwnUpstream {
        /// It connects to the venues itself, for its own clients.
        On = "on",
        /// It waits, while its prices grow older.
        Off = "off",
    }
}

choice! {
    /// Whether the keys of the replaced system are written.
    LegacyKeys {
        /// Not needed.
        Off = "off",
        /// During a migration.
        On = "on",
    }
}

/// What an instance of a cluster is set to: its section, and what the process decides.
#[derive(Clone, Debug, Default)]
pub struct ClusterSettings {
    /// Redis, leases and deadlines.
    pub cluster: ClusterOptions,
    /// Id of this instance: no other process, now or later, has it.
    pub id: String,
    /// Its host, for people.
    pub hostname: String,
}

impl ClusterOptions {
    /// How long a lease lasts without renewal, in nanoseconds.
    #[must_use]
    pub const fn lease_ns(&self) -> u64 {
        self.lease_ms * MS
    }

    /// How often it is renewed, in nanoseconds.
    #[must_use]
    pub(crate) const fn renew_ns(&self) -> u64 {
        let renew_ms = if self.renew_ms == 0 { self.lease_ms / 3 } else { self.renew_ms };
        renew_ms * MS
    }

    /// Deadline of a call of Redis, in nanoseconds.
    #[must_use]
    pub const fn call_ns(&self) -> u64 {
        self.call_ms * MS
    }
}
