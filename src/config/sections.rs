//! All settings and limits, with unit, default, range and reason. One row here defines the field, its key in the file,
//! its environment variable and its row in `docs/configuration.md`.

use std::net::SocketAddr;
use std::ops::RangeInclusive;

use crate::config::setting::{Setting, choice};
use crate::market::Decimal;

/// One key of a section, for reading and writing its value.
pub(super) struct SectionKey<'a> {
    /// Name within the section.
    pub name: &'static str,
    /// Its doc comment, line by line.
    pub doc: &'static [&'static str],
    /// The value.
    pub slot: &'a mut dyn Setting,
    /// Least and greatest value, for numbers.
    pub bounds: RangeInclusive<u64>,
}

/// A table of the file.
pub(super) trait Section {
    /// Description of the table, line by line.
    const ABOUT: &'static [&'static str];
    /// Its keys, in the order of the documentation.
    fn keys(&mut self) -> Vec<SectionKey<'_>>;
}

macro_rules! section {
    ($(#[doc = $about:literal])+ $name:ident {
        $($(#[doc = $doc:literal])+ $field:ident: $kind:ty = $default:expr $(, $bounds:expr)?;)+
    }) => {
        $(#[doc = $about])+
        #[derive(Clone, Debug, PartialEq)]
        pub struct $name { $($(#[doc = $doc])+ pub $field: $kind,)+ }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default,)+ }
            }
        }

        impl Section for $name {
            const ABOUT: &'static [&'static str] = &[$($about),+];

            fn keys(&mut self) -> Vec<SectionKey<'_>> {
                vec![$(SectionKey {
                    name: stringify!($field),
                    doc: &[$($doc),+],
                    slot: &mut self.$field,
                    bounds: [$($bounds,)? 0..=0][0].clone(),
                }),+]
            }
        }
    };
}

section! {
    /// The process as a whole.
    Process {
        /// Directory for data that survives a restart (last known prices and the venues' lists), relative to this file;
        /// created if it does not exist. Empty: nothing is stored.
        state_dir: String = String::new();
    }
}

section! {
    /// Where clients connect, and limits for clients.
    Gateway {
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

section! {
    /// Validity of quotes.
    Quotes {
        /// Milliseconds after which a quote without an update is no longer used as a price.
        stale_after_ms: u64 = 30_000, 100..=3_600_000;
    }
}

choice! {
    /// The spread that is compared with the alert threshold.
    ThresholdOn {
        /// Before fees, as the replaced system does.
        Gross = "gross",
        /// After both taker fees.
        Net = "net",
    }
}

choice! {
    /// The weakest proof that an alert may have.
    ProofMin {
        /// Any.
        None = "none",
        /// Both legs have a timestamp or a witness.
        Likely = "likely",
        /// Both legs are known to have existed at the same moment.
        Proven = "proven",
    }
}

section! {
    /// When a spread is an opportunity, and when it is alerted.
    Detector {
        /// Percent of the buy price; a spread strictly above it is an opportunity. Read exactly.
        threshold_pct: Decimal = Decimal::new(5, 1), 0..=1000;
        /// Whether the threshold is compared with the spread before fees (gross) or after both taker fees (net).
        threshold_on: ThresholdOn = ThresholdOn::Gross;
        /// An open opportunity closes when its spread is at or below this part of the threshold, so that one that moves
        /// around the threshold stays one opportunity. 1: at the threshold itself. Read exactly.
        close_ratio: Decimal = Decimal::new(8, 1), 0..=1;
        /// Percent of the buy price; a net spread above it is implausible and causes no alert. Such a spread usually
        /// means another asset or another unit. 0: no limit. Read exactly.
        implausible_pct: Decimal = Decimal::new(10, 0), 0..=1000;
        /// The weakest proof with which an opportunity opens and is alerted. With likely or proven, venues that have
        /// neither timestamps nor a witness cause no alerts. With proven, an opportunity opens when the timestamps show
        /// that both legs existed at the same moment, usually some milliseconds later, or never.
        proof_min: ProofMin = ProofMin::None;
        /// Milliseconds in which the same symbol, buy venue and sell venue is alerted once. An opportunity that stays
        /// open is alerted again afterwards, when its spread is above the threshold. 0: every opening is alerted, and
        /// nothing is repeated.
        debounce_ms: u64 = 60_000, 0..=86_400_000;
        /// Greatest age of either quote in milliseconds; older quotes never cause an alert.
        leg_age_max_ms: u64 = 5000, 1..=3_600_000;
        /// Greatest difference between the ages of the two quotes in milliseconds.
        leg_skew_max_ms: u64 = 5000, 1..=3_600_000;
        /// Feed score from 0 to 100 below which a venue causes no alerts, until it has had no fault for half a minute
        /// and its score is at least 80. 0: never.
        feed_score_min: u64 = 50, 0..=100;
    }
}

choice! {
    /// Whether threads are pinned to cores.
    Pin {
        /// If there are enough cores.
        Auto = "auto",
        /// Never.
        Off = "off",
    }
}

choice! {
    /// Whether threads spin instead of waiting.
    Spin {
        /// Sleep for input: idle CPU is near zero.
        Off = "off",
        /// Each thread uses a whole core; falls back to waiting if there are not enough cores.
        On = "on",
    }
}

section! {
    /// Threads and cores.
    Threads {
        /// Pin threads to cores: auto (if there are enough) or off.
        pin: Pin = Pin::Auto;
        /// Spin for input instead of waiting: off, or on (if there is a core for each thread and one more).
        spin: Spin = Spin::Off;
        /// Feed threads; the venues are divided among them.
        feeds: usize = 1, 1..=64;
    }
}

section! {
    /// Connections to venues.
    Feed {
        /// Milliseconds of silence after which we ping the venue.
        silence_ping_ms: u64 = 2000, 100..=600_000;
        /// Milliseconds of silence after which the connection is dead: its quotes become void, and it is opened again.
        silence_max_ms: u64 = 5000, 200..=600_000;
        /// Least milliseconds of silence after which one instrument is stale, void and soon resubscribed. An instrument
        /// becomes stale after four times its longest recent pause, but not before this many milliseconds, and not
        /// later than `quotes.stale_after_ms`. 0: single instruments are not monitored.
        pair_silence_ms: u64 = 2000, 0..=600_000;
        /// First delay before reconnecting, in milliseconds. It doubles each time until prices have arrived for five
        /// seconds.
        backoff_first_ms: u64 = 250, 10..=60_000;
        /// Longest delay before reconnecting, in milliseconds.
        backoff_max_ms: u64 = 15_000, 100..=3_600_000;
        /// Consecutive failures that open the circuit breaker of a venue's address: no attempts are made for a while.
        breaker_failures: u64 = 5, 1..=1000;
        /// The breaker opens only if the failures have lasted this many milliseconds, so that a venue that restarts is
        /// dialled again soon.
        breaker_after_ms: u64 = 15_000, 0..=600_000;
        /// Milliseconds that the breaker stays open; then one attempt at a time is made. A ban lasts as long as the
        /// venue says.
        breaker_open_ms: u64 = 15_000, 100..=3_600_000;
        /// Consecutive successes that close the breaker. A connection counts as one success for every five seconds in
        /// which it delivers prices.
        breaker_successes: u64 = 3, 1..=1000;
    }
}

section! {
    /// Lists that venues publish: how often they are read, and what patterns such as `*/USDT` select from them.
    Discovery {
        /// Seconds between two readings of the venues' lists of instruments, which contain the trading status and some
        /// fees. 0: never.
        every_s: u64 = 60, 0..=604_800;
        /// Milliseconds that the start waits for lists, if `instruments` contains patterns and no lists are on disk.
        wait_ms: u64 = 10_000, 100..=120_000;
        /// A pattern selects only instruments that at least this many venues list.
        common_to: usize = 1, 1..=64;
        /// A pattern selects at most this many instruments, starting with those that most venues list. 0: all.
        top: usize = 0, 0..=10_000;
    }
}

choice! {
    /// Whether the configuration is reloaded when its file changes.
    WatchFile {
        /// Reload when the file changes.
        On = "on",
        /// Reload only on request.
        Off = "off",
    }
}

section! {
    /// Changing what is quoted at run time.
    Admin {
        /// Token of admin calls, at least 16 characters, sent as `Authorization: Bearer` and the token. Empty: admin
        /// calls are disabled. It is never shown.
        token: String = String::new();
        /// Whether the file is reloaded when it changes: on or off. SIGHUP always reloads it.
        watch_file: WatchFile = WatchFile::On;
    }
}

section! {
    /// Order books, on connections separate from those of prices.
    Books {
        /// Levels per side that are kept for each instrument on each venue that offers books. 0: no books are
        /// requested.
        levels: usize = 20, 0..=1000;
        /// Milliseconds between two states of a book sent to a subscriber, and the longest delay before a subscriber
        /// learns that the book is void.
        beat_ms: u64 = 100, 10..=60_000;
    }
}

section! {
    /// Several gateways as a cluster, through Redis.
    Cluster {
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

section! {
    /// One venue; every key is optional.
    VenueSettings {
        /// Address to connect to, `wss://` or `ws://`; any server that implements the venue's protocol is accepted.
        address: String = String::new();
        /// REST address from which the list of instruments is read, `https://` or `http://`. Empty: the venue's own, or
        /// none if `address` is not the venue's own.
        rest_address: String = String::new();
        /// Your taker fee in percent of the notional. The default is the venue's base tier. Read exactly.
        taker_fee_pct: Decimal = Decimal::ZERO, 0..=100;
        /// File with additional certificate authorities (PEM) that are trusted for this address. Empty: none.
        ca_file: String = String::new();
        /// Subscribe to a stream with timestamps on the connection of the tops if the tops have none: `depth@100ms` on
        /// Binance and Binance.US. Without it their lag is measured once a second, and none of their opportunities is
        /// proven.
        witness: bool = true;
    }
}

/// All keys as a table for the documentation.
pub(super) fn reference() -> String {
    let mut out = String::new();
    let lists = [
        (
            "venues",
            "`binance`, `coinbase`, `kraken`, `okx`, `bybit`, `kucoin`",
            "Venues to connect to, by name, such as `[\"binance\", \"okx\"]`.",
        ),
        (
            "instruments",
            "nine against USDT",
            "Instruments to quote, `BASE/QUOTE` in capitals, on every venue without its own list. `BTC/*` and `*/USDT` select from the venues' lists, see `[discovery]`.",
        ),
    ];
    out.push_str("| key | default | allowed values | description |\n|---|---|---|---|\n");
    for (name, default, what) in lists {
        out.push_str(&format!("| `{name}` | {default} | a list of texts | {what} |\n"));
    }
    for key in Process::default().keys() {
        row(&mut out, &key, "");
    }
    table::<Quotes>(&mut out, "quotes", Quotes::default());
    out.push_str("| `price_order` | the order of `venues` | a list of venues | Venues whose prices SSE and REST show: the first of these with a fresh price, then the other venues. |\n");
    table::<Gateway>(&mut out, "gateway", Gateway::default());
    table::<Detector>(&mut out, "detector", Detector::default());
    table::<Threads>(&mut out, "threads", Threads::default());
    table::<Feed>(&mut out, "feed", Feed::default());
    table::<Discovery>(&mut out, "discovery", Discovery::default());
    table::<Admin>(&mut out, "admin", Admin::default());
    table::<Books>(&mut out, "books", Books::default());
    table::<Cluster>(&mut out, "cluster", Cluster::default());
    table::<VenueSettings>(&mut out, "venue.NAME", VenueSettings::default());
    out.push_str(
        "| `instruments` | those above | a list of texts | Instruments of this venue, instead of those above. |\n\
         | `same_asset` | none | a list of texts | Instruments that are the same asset in the same unit as at other venues, \
         although their prices never agreed: they are compared, see [venues that never \
         agreed](operating.md#venues-that-never-agreed). |\n\
         | `other_asset` | none | a list of texts | Instruments that are another asset or another unit under the same \
         symbol: they have prices, and are never compared with other venues. |\n",
    );
    out
}

fn table<S: Section>(out: &mut String, path: &str, mut section: S) {
    out.push_str(&format!("| **`[{path}]`** | | | **{}** |\n", joined(S::ABOUT)));
    for key in section.keys() {
        row(out, &key, path);
    }
}

fn row(out: &mut String, key: &SectionKey<'_>, path: &str) {
    // The defaults of a venue are its own facts.
    let is_fact = path == "venue.NAME" && key.name != "ca_file";
    let default = if is_fact { "the venue's".to_owned() } else { format!("`{}`", key.slot.toml()) };
    let expected = key.slot.expected(&key.bounds);
    out.push_str(&format!("| `{}` | {default} | {expected} | {} |\n", key.name, joined(key.doc)));
}

fn joined(lines: &[&str]) -> String {
    lines.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ")
}
