//! Every setting and limit, with its unit, default, range and reason. One row here makes the field, its
//! key in the file, its environment variable and its line in `docs/configuration.md`.

use std::net::SocketAddr;
use std::ops::RangeInclusive;

use crate::config::setting::{Setting, choice};
use crate::market::Decimal;

/// One key of a section, ready to be set or shown.
pub(super) struct Key<'a> {
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
    /// What it is about, line by line.
    const ABOUT: &'static [&'static str];
    /// Its keys, in the order of the documentation.
    fn keys(&mut self) -> Vec<Key<'_>>;
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

            fn keys(&mut self) -> Vec<Key<'_>> {
                vec![$(Key {
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
        /// Directory for what survives a restart, last known prices and the venues' lists, relative to this file; made if
        /// it is not there. Empty: nothing is kept.
        state_dir: String = String::new();
    }
}

section! {
    /// Where clients connect, and what one client may take.
    Gateway {
        /// Address that is listened on. There is no authentication yet, so the default is this machine only.
        listen: SocketAddr = SocketAddr::from(([127, 0, 0, 1], 3000));
        /// Gateway threads, each with its own share of the clients.
        threads: usize = 1, 1..=64;
        /// Milliseconds between two bursts of prices to a client that does not ask for another interval.
        beat_ms: u64 = 500, 10..=60_000;
        /// Milliseconds between two bursts of an SSE stream. The dashboards in use drop what comes faster than 600.
        sse_beat_ms: u64 = 1000, 100..=60_000;
        /// Connections of all kinds at once; on more only `/livez` and `/readyz` are answered. Each costs a descriptor and a
        /// few KiB.
        clients_max: usize = 19_500, 1..=1_000_000;
        /// Connections of one address at once, of an IPv6 network of 64 bits; on more only `/livez` and `/readyz` are
        /// answered. 0: no limit.
        address_clients_max: usize = 2000, 0..=1_000_000;
        /// Addresses and networks of proxies, which come for many clients, separated by commas. They have no such limit, and
        /// `X-Forwarded-For` of their admin calls is believed. The default is this machine.
        proxies: String = "127.0.0.0/8, ::1".to_owned();
        /// SSE streams at once, of all connections.
        streams_max: usize = 10_000, 1..=1_000_000;
        /// Pairs (symbol × exchange) that one client may subscribe to.
        pairs_max: usize = 4096, 1..=1_000_000;
        /// Bytes of memory that the subscription of one client may take, about: names, and 700 for each price that no other
        /// client has.
        client_bytes_max: usize = 4_194_304, 65_536..=1_073_741_824;
        /// Bytes of memory that the subscriptions of all clients may take, about. A client gets at most an eighth of what is
        /// left.
        clients_bytes_max: usize = 268_435_456, 1_048_576..=68_719_476_736;
        /// Largest message of a client in bytes. Subscriptions are small; a larger message closes the connection.
        message_max_bytes: usize = 65_536, 1024..=16_777_216;
        /// Largest HTTP head in bytes.
        header_max_bytes: usize = 8192, 1024..=65_536;
        /// Milliseconds in which the HTTP head must be complete; slow senders hold a place no longer.
        header_wait_ms: u64 = 5000, 100..=60_000;
        /// Milliseconds that a connection may be quiet between two HTTP requests. Longer than a balancer in front keeps its
        /// connections, usually 60 s, or it sends requests into connections that are being closed.
        keep_alive_ms: u64 = 75_000, 1000..=3_600_000;
        /// Milliseconds of silence after which a client is pinged.
        ping_ms: u64 = 25_000, 1000..=600_000;
        /// Milliseconds in which it must answer.
        pong_wait_ms: u64 = 8000, 100..=600_000;
        /// Milliseconds without any progress in writing after which a client is closed.
        write_stall_ms: u64 = 10_000, 100..=600_000;
        /// Kernel send buffer per client in bytes: a large one hides seconds of old prices.
        send_buffer_bytes: usize = 49_152, 4096..=4_194_304;
        /// Bytes of alerts and replies that wait for a client that does not read; then it is told and closed.
        outbox_max_bytes: usize = 65_536, 4096..=16_777_216;
        /// The same for all clients together, answers to HTTP requests included; above it, those for which most waits are
        /// closed, a WebSocket with 1013. The default has room for a thousand clients that stop reading.
        outboxes_max_bytes: usize = 67_108_864, 1_048_576..=68_719_476_736;
        /// Commands per second of one client, on average.
        commands_per_s: u64 = 20, 1..=100_000;
        /// Commands of one client at once.
        commands_burst: u64 = 40, 1..=100_000;
    }
}

section! {
    /// When a quote counts.
    Quotes {
        /// Milliseconds after which an unrenewed quote is no longer a price.
        stale_after_ms: u64 = 30_000, 100..=3_600_000;
    }
}

choice! {
    /// Which spread the alert threshold is held against.
    ThresholdOn {
        /// Before fees, as the replaced system does.
        Gross = "gross",
        /// After both taker fees.
        Net = "net",
    }
}

section! {
    /// When a spread is an opportunity, and when it is told.
    Detector {
        /// Percent of the buy price; a spread strictly above it is an opportunity. Read exactly.
        threshold_pct: Decimal = Decimal::new(5, 1), 0..=1000;
        /// Whether the threshold is held against the spread before fees (gross) or after both (net).
        threshold_on: ThresholdOn = ThresholdOn::Gross;
        /// Milliseconds in which the same symbol, buy venue and sell venue is told once; an opportunity that
        /// stays open is told again after it. 0: each opening is told, and nothing is repeated.
        debounce_ms: u64 = 60_000, 0..=86_400_000;
        /// Greatest age of either quote in milliseconds: older ones never make an alert.
        leg_age_max_ms: u64 = 5000, 1..=3_600_000;
        /// Greatest difference between the ages of the two quotes in milliseconds.
        leg_skew_max_ms: u64 = 5000, 1..=3_600_000;
    }
}

choice! {
    /// Whether threads are pinned to cores.
    Pin {
        /// When there are cores for it.
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
        /// One core each is used whole; falls back to waiting when there are not enough cores.
        On = "on",
    }
}

section! {
    /// Threads and cores.
    Threads {
        /// Pin threads to cores: auto (when there are enough) or off.
        pin: Pin = Pin::Auto;
        /// Spin for input instead of waiting: off, or on (when there is a core for each thread and one more).
        spin: Spin = Spin::Off;
        /// Feed threads; venues are shared out among them.
        feeds: usize = 1, 1..=64;
    }
}

section! {
    /// How connections to venues are kept.
    Feed {
        /// Milliseconds of silence after which we ping the venue.
        silence_ping_ms: u64 = 2000, 100..=600_000;
        /// Milliseconds of silence after which the connection is dead: its quotes are void, it is made again.
        silence_max_ms: u64 = 5000, 200..=600_000;
        /// Least milliseconds of silence after which one instrument is stale, void and soon subscribed again: it is
        /// when it says nothing for four times its longest recent pause, but not before so many milliseconds, and not
        /// after `quotes.stale_after_ms`. 0: single instruments are not watched.
        pair_silence_ms: u64 = 2000, 0..=600_000;
        /// First pause before connecting again, in milliseconds; it doubles each time until prices have flowed for five
        /// seconds.
        backoff_first_ms: u64 = 250, 10..=60_000;
        /// Longest such pause in milliseconds.
        backoff_max_ms: u64 = 15_000, 100..=3_600_000;
        /// Failures in a row that open the circuit breaker of a venue's address: then nothing is tried for a while.
        breaker_failures: u64 = 5, 1..=1000;
        /// But only when they have gone on for so many milliseconds: a venue that restarts is dialled again soon.
        breaker_after_ms: u64 = 15_000, 0..=600_000;
        /// Milliseconds that it stays open; then one attempt at a time is made. A ban lasts as long as the venue says.
        breaker_open_ms: u64 = 15_000, 100..=3_600_000;
        /// Successes in a row that close it again: a connection is one for every five seconds that it gives prices.
        breaker_successes: u64 = 3, 1..=1000;
    }
}

section! {
    /// What venues list: how often it is read, and what patterns such as `*/USDT` choose from it.
    Discovery {
        /// Seconds between two readings of the venues' lists of instruments, which say what is traded and some fees. 0: never.
        every_s: u64 = 60, 0..=604_800;
        /// Milliseconds that the start waits for lists, where `instruments` holds patterns and none are on disk.
        wait_ms: u64 = 10_000, 100..=120_000;
        /// A pattern chooses only what at least so many of the venues list.
        common_to: usize = 1, 1..=64;
        /// A pattern chooses at most so many, those that most venues list first. 0: all.
        top: usize = 0, 0..=10_000;
    }
}

choice! {
    /// Whether the configuration is read again when its file changes.
    WatchFile {
        /// It is.
        On = "on",
        /// Only when told.
        Off = "off",
    }
}

section! {
    /// Changing what is quoted while the process runs.
    Admin {
        /// What an admin call must bear, at least 16 letters: `Authorization: Bearer` and this. Empty: there are no admin
        /// calls. It is never shown.
        token: String = String::new();
        /// Whether the file is read again when it changes: on or off. SIGHUP has it read again in any case.
        watch_file: WatchFile = WatchFile::On;
    }
}

section! {
    /// Order books, on connections of their own beside those of prices.
    Books {
        /// Levels a side that are kept of each instrument on each venue that offers books. 0: no books are asked for.
        levels: usize = 20, 0..=1000;
        /// Milliseconds between two states of a book to a client that asked for it, and the most that one is told late that
        /// it is void.
        beat_ms: u64 = 100, 10..=60_000;
    }
}

section! {
    /// Several gateways as one, through Redis.
    Cluster {
        /// Address of Redis: `redis://`, `rediss://`, or `redis+sentinel://host:port,host:port/name`, the last also with
        /// `rediss`. Empty: this gateway is alone, and nothing of a cluster runs.
        redis: String = String::new();
        /// User of the Sentinels, where they have users. Empty: the default one.
        sentinel_user: String = String::new();
        /// Password of the Sentinels, which is not that of Redis. Empty: none.
        sentinel_password: String = String::new();
        /// PEM file of the authority that has signed the certificates of Redis, relative to this file. Empty: those that the
        /// system trusts.
        ca_file: String = String::new();
        /// PEM file of the certificate that this gateway shows to Redis, relative to this file. Empty: none.
        cert_file: String = String::new();
        /// PEM file of its key. Empty: none.
        key_file: String = String::new();
        /// What every key in Redis begins with, so that several clusters can share one; those in different databases can
        /// have the same.
        prefix: String = "spreadwire".to_owned();
        /// What this instance is called; another for each. Its id is this, its process id and its start time, so that no
        /// two processes ever pass for one. Empty: the host's name.
        instance: String = String::new();
        /// Milliseconds that a venue's lease lasts without renewal: how long a venue can be without a leader.
        lease_ms: u64 = 5000, 300..=60_000;
        /// Milliseconds between two renewals. 0: a third of the lease.
        renew_ms: u64 = 0, 0..=30_000;
        /// Milliseconds for which a leader keeps a venue before it gives it to an instance that has less to do.
        tenure_ms: u64 = 10_000, 0..=3_600_000;
        /// Milliseconds in which Redis must answer a call.
        call_ms: u64 = 100, 10..=10_000;
        /// Milliseconds for which Redis must answer well before it is relied on again.
        stable_ms: u64 = 3000, 0..=600_000;
        /// Whether an instance that is cut off from Redis connects to the venues itself: on or off.
        own_upstream: OwnUpstream = OwnUpstream::On;
        /// Whether the keys of the replaced system (`price:dist:<PAIR>:latest`, `price_stream:leader`) are written
        /// too, for its instances during a migration: on or off.
        legacy_keys: LegacyKeys = LegacyKeys::Off;
        /// File to which a line is added for every accepted batch, relative to this file: time, instance, venue, leader,
        /// token, sequence. For an investigation: it grows without bound. Empty: none.
        history: String = String::new();
    }
}

choice! {
    /// What an instance does that is cut off from Redis.
    OwnUpstream {
        /// It connects to the venues itself, for its own clients.
        On = "on",
        /// It waits, with older and older prices.
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
        /// Address to connect to, `wss://` or `ws://`; any other server that speaks the venue's protocol will do.
        address: String = String::new();
        /// REST address whose list of instruments is read, `https://` or `http://`. Empty: the venue's own, or none
        /// where `address` is not the venue's own.
        rest_address: String = String::new();
        /// Your taker fee in percent of the notional. The default is the venue's base tier. Read exactly.
        taker_fee_pct: Decimal = Decimal::ZERO, 0..=100;
        /// File with more certificate authorities (PEM) that are trusted for this address. Empty: none.
        ca_file: String = String::new();
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
            "What is quoted, `BASE/QUOTE` in capitals, on every venue without a list of its own. `BTC/*` and `*/USDT` stand for what the venues list, see `[discovery]`.",
        ),
    ];
    out.push_str("| key | default | may be | what it is |\n|---|---|---|---|\n");
    for (name, default, what) in lists {
        out.push_str(&format!("| `{name}` | {default} | a list of texts | {what} |\n"));
    }
    for key in Process::default().keys() {
        row(&mut out, &key, "");
    }
    table::<Quotes>(&mut out, "quotes", Quotes::default());
    out.push_str("| `price_order` | the order of `venues` | a list of venues | Whose price SSE and REST show: the first of these that has a fresh one, then the other venues. |\n");
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
        "| `instruments` | those above | a list of texts | What this venue quotes, instead of those above. |\n",
    );
    out
}

fn table<S: Section>(out: &mut String, path: &str, mut section: S) {
    out.push_str(&format!("| **`[{path}]`** | | | **{}** |\n", joined(S::ABOUT)));
    for key in section.keys() {
        row(out, &key, path);
    }
}

fn row(out: &mut String, key: &Key<'_>, path: &str) {
    // A venue's own facts are its defaults.
    let is_fact = path == "venue.NAME" && key.name != "ca_file";
    let default = if is_fact { "the venue's".to_owned() } else { format!("`{}`", key.slot.toml()) };
    let expected = key.slot.expected(&key.bounds);
    out.push_str(&format!("| `{}` | {default} | {expected} | {} |\n", key.name, joined(key.doc)));
}

fn joined(lines: &[&str]) -> String {
    lines.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ")
}
