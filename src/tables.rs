//! Output of `venues` and `instruments`: tables for people, JSON for machines. Pure: returns text.

use serde_json::json;

use crate::config::Config;
use crate::discovery::status::StatusPages;
use crate::discovery::{Catalogue, FeeFrom, From};
use crate::venues::depth::LEVELS_MAX;
use crate::venues::{BookFacts, Check, Facts, Keepalive, Pace, VENUES, Venue};

/// All venues with their facts.
#[must_use]
pub fn venues(as_json: bool) -> String {
    let facts = VENUES.iter().map(|venue| venue.facts());
    if as_json {
        let rows: Vec<_> = facts.map(facts_json).collect();
        return format!("{:#}\n", json!({ "venues": rows }));
    }
    let head =
        ["venue", "channel", "books", "keepalive", "per connection", "new connections", "lasts", "taker fee", "docs"];
    let rows = facts.map(|f| {
        let limits = &f.limits;
        [
            f.name.to_owned(),
            f.channel.to_owned(),
            f.books.as_ref().map_or("-".to_owned(), books),
            match f.keepalive {
                Keepalive::Server => "theirs".to_owned(),
                Keepalive::Client { every_ms, .. } => format!("ours, {} s", every_ms / 1000),
            },
            limits.instruments.to_string(),
            pace(limits.connects),
            limits.age_max_s.map_or("-".to_owned(), |s| format!("{} h", s / 3600)),
            format!("{} %", f.taker_fee_pct),
            f.docs.to_owned(),
        ]
    });
    table(head, rows.collect())
}

fn pace(pace: Pace) -> String {
    match pace.per_ms {
        ms if ms % 60_000 == 0 => format!("{} in {} min", pace.count, ms / 60_000),
        ms => format!("{} in {} s", pace.count, ms as f64 / 1000.0),
    }
}

/// Channel, most levels per side, and how lost updates are detected.
fn books(books: &BookFacts) -> String {
    let levels = if books.levels_max >= LEVELS_MAX { "all".to_owned() } else { books.levels_max.to_string() };
    let of = match books.check {
        Check::ChecksumOf(levels) => format!(" of {levels}"),
        _ => String::new(),
    };
    format!("{}, {levels}, {}{of}", books.channel, books.check.word())
}

fn facts_json(f: &Facts) -> serde_json::Value {
    let keepalive = match f.keepalive {
        Keepalive::Server => json!("server"),
        Keepalive::Client { every_ms, .. } => json!({ "everyMs": every_ms }),
    };
    json!({
        "venue": f.name, "title": f.title, "address": f.address, "channel": f.channel, "keepalive": keepalive,
        "instrumentsPerConnection": f.limits.instruments,
        "connects": { "count": f.limits.connects.count, "perMs": f.limits.connects.per_ms },
        "connectionLastsSeconds": f.limits.age_max_s, "requestGapMs": f.request_gap_ms,
        "takerFeePct": f.taker_fee_pct, "docs": f.docs,
        "books": f.books.map(|it| json!({ "channel": it.channel, "levelsMax": it.levels_max, "check": it.check.word() })),
    })
}

/// The instruments that `config` subscribes to, on all venues or only on `only`. Their status comes from the lists in
/// `catalogue`, and for venues whose list does not state it from `statuses`.
#[must_use]
pub fn instruments(
    config: &Config,
    catalogue: &Catalogue,
    statuses: &StatusPages,
    only: Option<&dyn Venue>,
    as_json: bool,
) -> String {
    let mut rows = Vec::new();
    for venue in config.venues.iter().filter(|v| only.is_none_or(|only| only.facts().name == v.name())) {
        let list = catalogue.of(venue.name());
        let from = list.map_or("by rule".to_owned(), |list| match list.from {
            From::Venue => "listed now".to_owned(),
            From::Disk(age) => format!("listed {} ago", age_text(age)),
        });
        let entries = list.map(crate::discovery::List::by_native).unwrap_or_default();
        for (symbol, native) in config.instruments.iter().zip(&venue.native) {
            let Some(native) = native else { continue };
            let entry = entries.get(native.as_str()).copied();
            let (fee, fee_from) = venue.fee().of(entry.and_then(|entry| entry.fee));
            let is_trading = match venue.venue.status_page() {
                Some(_) => statuses.of(venue.name(), native),
                None => entry.map(|entry| entry.is_trading),
            };
            let step = |step: Option<crate::market::Decimal>| step.map(|step| step.to_string());
            rows.push(TableRow {
                symbol,
                venue: venue.name(),
                native,
                tick: entry.and_then(|entry| step(entry.tick)),
                lot: entry.and_then(|entry| step(entry.lot)),
                status: is_trading.map_or("unknown", |it| if it { "trading" } else { "halted" }),
                fee: fee.to_string(),
                fee_from: match fee_from {
                    FeeFrom::List => "list",
                    FeeFrom::Configured => "configuration",
                    FeeFrom::Default => "default",
                },
                from: from.clone(),
            });
        }
    }
    if as_json {
        return rows.iter().map(|row| format!("{}\n", row.json())).collect();
    }
    let head = ["symbol", "venue", "native", "tick", "lot", "status", "taker fee", "fee from", "from"];
    table(head, rows.into_iter().map(TableRow::cells).collect())
}

struct TableRow<'a> {
    symbol: &'a str,
    venue: &'a str,
    native: &'a str,
    tick: Option<String>,
    lot: Option<String>,
    status: &'static str,
    /// Taker fee in percent.
    fee: String,
    fee_from: &'static str,
    from: String,
}

impl TableRow<'_> {
    fn cells(self) -> [String; 9] {
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        let names = [self.symbol, self.venue, self.native].map(crate::log::tamed);
        let [symbol, venue, native] = names;
        let [status, fee_from] = [self.status, self.fee_from].map(str::to_owned);
        let fee = format!("{} %", self.fee);
        [symbol, venue, native, or_dash(self.tick), or_dash(self.lot), status, fee, fee_from, self.from]
    }

    fn json(&self) -> serde_json::Value {
        json!({"symbol": self.symbol, "venue": self.venue, "native": self.native, "tick": self.tick, "lot": self.lot,
            "status": self.status, "takerFeePct": self.fee, "feeFrom": self.fee_from, "from": self.from})
    }
}

fn age_text(seconds: u64) -> String {
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7199 => format!("{} min", seconds / 60),
        _ => format!("{} h", seconds / 3600),
    }
}

/// Formats a table; each column is as wide as its widest cell.
fn table<const N: usize>(head: [&str; N], rows: Vec<[String; N]>) -> String {
    let head = head.map(str::to_owned);
    let width = |at: usize| rows.iter().chain([&head]).map(|row| row[at].chars().count()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    let mut out = String::new();
    for row in [&head].into_iter().chain(&rows) {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        out.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        out.push('\n');
    }
    out
}
