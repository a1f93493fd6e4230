//! The sections that no stage owns, and the table of all sections in `docs/configuration.md`. All others stand in the module
//! that reads them.

use crate::cluster::ClusterOptions;
use crate::discovery::DiscoveryOptions;
use crate::feed::FeedOptions;
use crate::gateway::GatewayOptions;
use crate::market::Decimal;
use crate::market::book::BookOptions;
use crate::market::quote::QuoteOptions;
use crate::market::rule::DetectorOptions;
use crate::settings::{Section, SectionKey, choice, section};

section! {
    /// The process as a whole.
    ProcessOptions {
        /// Directory for data that survives a restart (last known prices and the venues' lists), relative to this file;
        /// created if it does not exist. Empty: nothing is stored.
        state_dir: String = String::new();
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
    ThreadOptions {
        /// Pin threads to cores: auto (if there are enough) or off.
        pin: Pin = Pin::Auto;
        /// Spin for input instead of waiting: off, or on (if there is a core for each thread and one more).
        spin: Spin = Spin::Off;
        /// Feed threads; the venues are divided among them.
        feeds: usize = 1, 1..=64;
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
    AdminOptions {
        /// Token of admin calls, at least 16 characters, sent as `Authorization: Bearer` and the token. Empty: admin
        /// calls are disabled. It is never shown.
        token: String = String::new();
        /// Whether the file is reloaded when it changes: on or off. SIGHUP always reloads it.
        watch_file: WatchFile = WatchFile::On;
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
    for key in ProcessOptions::default().keys() {
        row(&mut out, &key, "");
    }
    table::<QuoteOptions>(&mut out, "quotes", QuoteOptions::default());
    out.push_str("| `price_order` | the order of `venues` | a list of venues | Venues whose prices SSE and REST show: the first of these with a fresh price, then the other venues. |\n");
    table::<GatewayOptions>(&mut out, "gateway", GatewayOptions::default());
    table::<DetectorOptions>(&mut out, "detector", DetectorOptions::default());
    table::<ThreadOptions>(&mut out, "threads", ThreadOptions::default());
    table::<FeedOptions>(&mut out, "feed", FeedOptions::default());
    table::<DiscoveryOptions>(&mut out, "discovery", DiscoveryOptions::default());
    table::<AdminOptions>(&mut out, "admin", AdminOptions::default());
    table::<BookOptions>(&mut out, "books", BookOptions::default());
    table::<ClusterOptions>(&mut out, "cluster", ClusterOptions::default());
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
