//! Lists the keys that differ between two configurations, except for those that define what is quoted.

use crate::config::Config;
use crate::market::directory::AssetClaim;
use crate::settings::Section;

/// Described with its default, since the key may not be set.
const PRICE_ORDER: &str = "quotes.price_order (the order of `venues`, if it is not set)";

impl Config {
    /// Keys whose values differ from `other` and cannot be changed at run time. Excludes `venues`, `instruments`, and
    /// the tables of venues that only one of the two has.
    #[must_use]
    pub fn differing_keys(&self, other: &Self) -> Vec<String> {
        let mut keys = Vec::new();
        if self.state_dir != other.state_dir {
            keys.push("state_dir".to_owned());
        }
        let order = |it: &Self, with: &Self| -> Vec<&'static str> {
            let names = it.price_order.iter().map(|id| it.venues[id.index()].name());
            names.filter(|name| with.venues.iter().any(|venue| venue.name() == *name)).collect()
        };
        compare_sections(self, other, &mut keys);
        if order(self, other) != order(other, self) {
            keys.push(PRICE_ORDER.to_owned());
        }
        for mine in &self.venues {
            let Some(theirs) = other.venues.iter().find(|venue| venue.name() == mine.name()) else { continue };
            for (key, is_same) in [
                ("address", mine.address == theirs.address),
                // By default it depends on the address.
                ("rest_address", mine.rest_address == theirs.rest_address || mine.address != theirs.address),
                ("taker_fee_pct", mine.taker_fee_pct == theirs.taker_fee_pct),
                ("ca_file", mine.ca_file == theirs.ca_file),
                ("same_asset", mine.claimed(AssetClaim::Same).eq(theirs.claimed(AssetClaim::Same))),
                ("other_asset", mine.claimed(AssetClaim::Other).eq(theirs.claimed(AssetClaim::Other))),
                ("witness", mine.witness == theirs.witness),
            ] {
                if !is_same {
                    keys.push(format!("venue.{}.{key}", mine.name()));
                }
            }
        }
        keys
    }
}

macro_rules! compared {
    ($($section:ident),+) => {
        /// All sections except those of single venues.
        #[cfg(test)]
        const COMPARED: &[&str] = &[$(stringify!($section)),+];

        fn compare_sections(one: &Config, other: &Config, keys: &mut Vec<String>) {
            $(compare(stringify!($section), &one.$section, &other.$section, keys);)+
        }
    };
}

compared!(gateway, quotes, detector, threads, feed, discovery, admin, books, cluster);

fn compare<S: Section + Clone>(path: &str, one: &S, other: &S, keys: &mut Vec<String>) {
    let (mut one, mut other) = (one.clone(), other.clone());
    for (mine, theirs) in one.keys().iter().zip(other.keys()) {
        if mine.slot.toml() != theirs.slot.toml() {
            keys.push(format!("{path}.{}", mine.name));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::venues::VENUES;
    use std::path::Path;

    fn differ(one: &str, other: &str) -> Vec<String> {
        let [one, other] = [one, other].map(|text| Config::build("a", text, Path::new("."), &[], VENUES).unwrap());
        one.differing_keys(&other)
    }

    #[test]
    fn what_cannot_be_changed_is_named() {
        assert_eq!(differ("", "instruments = [\"BTC/USDT\"]\nvenues = [\"okx\", \"bybit\"]"), [""; 0]);
        assert_eq!(
            differ("venues = [\"okx\", \"bybit\"]\n[venue.okx]\naddress = \"wss://a\"", {
                "state_dir = \"x\"\nvenues = [\"bybit\", \"okx\", \"kraken\"]\n[detector]\nthreshold_pct = 1\n\
                 [admin]\ntoken = \"0123456789abcdef\"\n[venue.kraken]\naddress = \"wss://b\""
            }),
            ["state_dir", "detector.threshold_pct", "admin.token", PRICE_ORDER, "venue.okx.address"]
        );
    }

    #[test]
    fn every_section_is_compared() {
        let reference = Config::reference();
        let mut sections: Vec<&str> =
            reference.split("| **`[").skip(1).map(|rest| rest.split(']').next().unwrap()).collect();
        sections.retain(|section| *section != "venue.NAME");
        sections.sort_unstable();
        let mut compared = COMPARED.to_vec();
        compared.sort_unstable();
        assert_eq!(compared, sections);
    }
}
