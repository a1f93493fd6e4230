//! The difference between the running set and the wanted one. Pure.

use std::collections::BTreeSet;
use std::fmt;

use crate::config::{Config, VenueConfig};
use crate::market::Directory;
use crate::protocol::admin::Outcome;

/// One instrument of one venue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// The venue's name.
    pub venue: &'static str,
    /// `BASE/QUOTE`.
    pub symbol: String,
    /// The venue's own symbol.
    pub native: String,
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ({})", self.venue, self.symbol, self.native)
    }
}

/// Additions and removals, and why they cannot be applied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SetDifference {
    /// Added venues.
    pub(crate) venues_added: Vec<&'static str>,
    /// Removed venues.
    pub(crate) venues_removed: Vec<&'static str>,
    /// Added instruments, including those of added venues.
    pub added: Vec<Item>,
    /// Removed instruments, including those of removed venues.
    pub(crate) removed: Vec<Item>,
    /// Why the whole change is rejected, one sentence for each reason.
    pub refused: Vec<String>,
}

impl SetDifference {
    /// The change from `running`, whose names have ids in `directory`, to `wanted`.
    #[must_use]
    pub fn between(running: &Config, wanted: &Config, directory: &Directory) -> Self {
        let has = |config: &Config, name: &str| config.venues.iter().any(|venue| venue.name() == name);
        let names = |of: &Config, not_in: &Config| -> Vec<&'static str> {
            of.venues.iter().map(VenueConfig::name).filter(|name| !has(not_in, name)).collect()
        };
        let mut change = Self {
            venues_added: names(wanted, running),
            venues_removed: names(running, wanted),
            added: items(wanted, running),
            removed: items(running, wanted),
            refused: Vec::new(),
        };
        change.check(running, wanted, directory);
        change
    }

    fn check(&mut self, running: &Config, wanted: &Config, directory: &Directory) {
        let restart = |key: String| format!("{key}: cannot be changed at run time, needs a restart");
        self.refused = running.differing_keys(wanted).into_iter().map(restart).collect();
        let is_of_venues = !self.venues_added.is_empty() || !self.venues_removed.is_empty();
        if is_of_venues && !wanted.cluster.redis.is_empty() {
            self.refused.push("venues: a change in a cluster needs a restart".to_owned());
        }
        for venue in wanted.venues.iter().filter(|venue| self.venues_added.contains(&venue.name())) {
            let known = directory.venue_named(venue.name()).map(|id| directory.venue(id).taker_fee_pct);
            if known.is_some_and(|fee| fee != venue.taker_fee_pct) {
                self.refused.push(restart(format!("venue.{}.taker_fee_pct", venue.name())));
            }
        }
        for Item { venue, symbol, native } in &self.added {
            let known = directory.venue_named(venue).zip(directory.instrument_named(symbol));
            let known = known.and_then(|(venue, instrument)| directory.native(instrument, venue));
            if let Some(known) = known.filter(|known| known != native) {
                self.refused.push(format!(
                    "instruments: {venue} has renamed {symbol} from {known} to {native}; needs a restart"
                ));
            }
        }
        let fresh: BTreeSet<&String> = self.added.iter().map(|item| &item.symbol).collect();
        let fresh = fresh.into_iter().filter(|symbol| directory.instrument_named(symbol).is_none()).count();
        let free = directory.rows() - directory.instruments().len();
        if fresh > free {
            self.refused
                .push(format!("instruments: {fresh} are new, but there is room for only {free}; needs a restart"));
        }
        let fresh = self.venues_added.iter().filter(|name| directory.venue_named(name).is_none()).count();
        let free = directory.columns() - directory.venues().len();
        if fresh > free && wanted.cluster.redis.is_empty() {
            self.refused.push(format!("venues: {fresh} are new, but there is room for only {free}; needs a restart"));
        }
    }

    /// Whether nothing changes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.venues_added.is_empty()
            && self.venues_removed.is_empty()
            && self.added.is_empty()
            && self.removed.is_empty()
    }

    /// Venues whose connections change, because they are added or their instruments change.
    #[must_use]
    pub(crate) fn touched(&self) -> Vec<&'static str> {
        let names = self.added.iter().chain(&self.removed).map(|item| item.venue);
        let all: BTreeSet<&'static str> = names.chain(self.venues_added.iter().copied()).collect();
        all.into_iter().collect()
    }

    /// One line for each addition (`+`) and removal (`-`).
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let venues = |sign: char, names: &[&'static str]| -> Vec<String> {
            names.iter().map(|name| format!("{sign} exchange {name}")).collect()
        };
        let items =
            |sign: char, items: &[Item]| -> Vec<String> { items.iter().map(|item| format!("{sign} {item}")).collect() };
        [
            venues('+', &self.venues_added),
            items('+', &self.added),
            items('-', &self.removed),
            venues('-', &self.venues_removed),
        ]
        .concat()
    }

    /// The same as a reply to an admin call.
    #[must_use]
    pub fn outcome(&self, is_dry: bool) -> Outcome {
        let names = |names: &[&'static str]| names.iter().map(|name| (*name).to_owned()).collect();
        let items = |items: &[Item]| {
            let item = |item: &Item| (item.venue.to_owned(), item.symbol.clone(), item.native.clone());
            items.iter().map(item).collect()
        };
        Outcome {
            is_dry,
            exchanges_added: names(&self.venues_added),
            exchanges_removed: names(&self.venues_removed),
            added: items(&self.added),
            removed: items(&self.removed),
            retried: None,
            mistakes: self.refused.clone(),
        }
    }
}

/// Items of `of` that `not_in` does not have, or has under another native symbol.
fn items(of: &Config, not_in: &Config) -> Vec<Item> {
    let mut items = Vec::new();
    for venue in &of.venues {
        let other = not_in.venues.iter().find(|other| other.name() == venue.name());
        let theirs: BTreeSet<(&str, &str)> = other.into_iter().flat_map(|other| quoted(not_in, other)).collect();
        let missing = quoted(of, venue).filter(|pair| !theirs.contains(pair));
        items.extend(missing.map(|(symbol, native)| Item {
            venue: venue.name(),
            symbol: symbol.to_owned(),
            native: native.to_owned(),
        }));
    }
    items
}

fn quoted<'a>(config: &'a Config, venue: &'a VenueConfig) -> impl Iterator<Item = (&'a str, &'a str)> {
    let all = config.instruments.iter().zip(&venue.native);
    all.filter_map(|(symbol, native)| Some((symbol.as_str(), native.as_deref()?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::venues::VENUES;
    use std::path::Path;

    fn config(text: &str) -> Config {
        Config::build("a.toml", text, Path::new("."), &[], VENUES).unwrap()
    }

    fn change(running: &str, wanted: &str) -> SetDifference {
        let running = config(running);
        SetDifference::between(&running, &config(wanted), &running.directory_with_room())
    }

    const BEFORE: &str = "venues = [\"binance\", \"okx\"]\ninstruments = [\"BTC/USDT\", \"ETH/USDT\"]";

    #[test]
    fn each_line_says_what_comes_and_what_goes() {
        let wanted = "venues = [\"binance\", \"kraken\"]\ninstruments = [\"BTC/USDT\", \"SOL/USDT\"]";
        let change = change(BEFORE, wanted);
        assert_eq!(
            change.lines(),
            [
                "+ exchange kraken",
                "+ binance SOL/USDT (SOLUSDT)",
                "+ kraken BTC/USDT (BTC/USDT)",
                "+ kraken SOL/USDT (SOL/USDT)",
                "- binance ETH/USDT (ETHUSDT)",
                "- okx BTC/USDT (BTC-USDT)",
                "- okx ETH/USDT (ETH-USDT)",
                "- exchange okx",
            ]
        );
        assert_eq!(change.touched(), ["binance", "kraken", "okx"]);
        assert_eq!(change.refused, [""; 0]);
    }

    #[test]
    fn another_order_is_no_change() {
        let change = change(BEFORE, "venues = [\"binance\", \"okx\"]\ninstruments = [\"ETH/USDT\", \"BTC/USDT\"]");
        assert!(change.is_empty() && change.refused.is_empty(), "{change:?}");
    }

    #[test]
    fn what_needs_a_restart_is_named_and_refuses_all() {
        let wanted = format!("{BEFORE}\n[detector]\nthreshold_pct = 2\n[gateway]\nbeat_ms = 100");
        assert_eq!(
            change(BEFORE, &wanted).refused,
            [
                "gateway.beat_ms: cannot be changed at run time, needs a restart",
                "detector.threshold_pct: cannot be changed at run time, needs a restart"
            ]
        );
        let cluster = "[cluster]\nredis = \"redis://127.0.0.1\"";
        let change = change(&format!("{BEFORE}\n{cluster}"), &format!("venues = [\"okx\"]\n{cluster}"));
        assert_eq!(change.refused, ["venues: a change in a cluster needs a restart"]);
    }

    #[test]
    fn more_than_there_is_room_for_is_refused() {
        let many: Vec<String> = (0..80).map(|n| format!("\"C{n}/USDT\"")).collect();
        let wanted = format!("venues = [\"binance\", \"okx\"]\ninstruments = [{}]", many.join(", "));
        let refused = change(BEFORE, &wanted).refused;
        assert_eq!(refused, ["instruments: 80 are new, but there is room for only 64; needs a restart"]);
    }

    #[test]
    fn what_comes_back_must_be_what_it_was() {
        let running = config(BEFORE);
        let directory = running.directory_with_room();
        let without = config("venues = [\"binance\"]\ninstruments = [\"BTC/USDT\"]");
        assert!(SetDifference::between(&running, &without, &directory).refused.is_empty());
        let okx = directory.venue_named("okx").unwrap();
        directory.remove_venue(okx);
        let dearer =
            config("venues = [\"binance\", \"okx\"]\ninstruments = [\"BTC/USDT\"]\n[venue.okx]\ntaker_fee_pct = 1");
        let refused = SetDifference::between(&without, &dearer, &directory).refused;
        assert_eq!(refused, ["venue.okx.taker_fee_pct: cannot be changed at run time, needs a restart"]);
        let mut renamed = config(BEFORE);
        renamed.venues[1].native[0] = Some("XBT-USDT".into());
        let refused = SetDifference::between(&without, &renamed, &directory).refused;
        assert_eq!(refused, ["instruments: okx has renamed BTC/USDT from BTC-USDT to XBT-USDT; needs a restart"]);
    }
}
