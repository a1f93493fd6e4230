//! Changes made at run time, in addition to the file: names that are added and removed, checked as if they were in the
//! file.

use std::collections::BTreeSet;

use crate::config::read::{Draft, ListItem};
use crate::config::resolve::DEFAULT_INSTRUMENTS;
use crate::config::{ConfigPlace, Plan};
use crate::venues::DEFAULT_VENUES;

/// Names to add and names to remove. No name is in both.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Amendment {
    /// Instruments, `BASE/QUOTE`, for every venue that can quote them and has no list of its own.
    pub add: BTreeSet<String>,
    /// Instruments to remove from every venue.
    pub remove: BTreeSet<String>,
    /// Venues to add.
    pub(crate) add_venues: BTreeSet<String>,
    /// Venues to remove.
    pub(crate) remove_venues: BTreeSet<String>,
}

impl Amendment {
    /// Whether it changes nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        [&self.add, &self.remove, &self.add_venues, &self.remove_venues].iter().all(|names| names.is_empty())
    }

    /// Combines this change with `later`, which takes precedence.
    #[must_use]
    pub fn then(&self, later: &Self) -> Self {
        let both = |mine: &BTreeSet<String>, theirs: &BTreeSet<String>, against: &BTreeSet<String>| {
            mine.difference(against).chain(theirs).cloned().collect()
        };
        Self {
            add: both(&self.add, &later.add, &later.remove),
            remove: both(&self.remove, &later.remove, &later.add),
            add_venues: both(&self.add_venues, &later.add_venues, &later.remove_venues),
            remove_venues: both(&self.remove_venues, &later.remove_venues, &later.add_venues),
        }
    }
}

impl Plan {
    /// The plan with this amendment. Errors are reported by [`Self::resolve`].
    #[must_use]
    pub(crate) fn amended(mut self, amendment: &Amendment) -> Self {
        let draft = &mut self.draft;
        amend_instruments(draft, amendment);
        if amendment.add_venues.is_empty() && amendment.remove_venues.is_empty() {
            return self;
        }
        let names = draft.known.iter().take(DEFAULT_VENUES).map(|known| known.venue.facts().name);
        let defaults = names.map(|name| item(name, ConfigPlace::Default)).collect();
        let venues = draft.venues.get_or_insert(defaults);
        venues.retain(|item| !amendment.remove_venues.contains(&item.text));
        for name in &amendment.add_venues {
            if !venues.iter().any(|item| item.text == *name) {
                venues.push(item(name, ConfigPlace::Admin));
            }
        }
        if let Some(order) = &mut draft.price_order {
            order.retain(|item| !amendment.remove_venues.contains(&item.text));
        }
        self
    }
}

fn amend_instruments(draft: &mut Draft, amendment: &Amendment) {
    draft.without.extend(amendment.remove.iter().cloned());
    if amendment.add.is_empty() {
        return;
    }
    // Treated as if a pattern had selected them: venues that do not have them are skipped without an error.
    let chosen = |text: &str, place| ListItem { chosen: true, ..item(text, place) };
    let defaults = || DEFAULT_INSTRUMENTS.iter().map(|text| chosen(text, ConfigPlace::Default)).collect();
    let instruments = draft.instruments.get_or_insert_with(defaults);
    for text in &amendment.add {
        if !instruments.iter().any(|item| item.text == *text) {
            instruments.push(chosen(text, ConfigPlace::Admin));
        }
    }
}

fn item(text: &str, place: ConfigPlace) -> ListItem {
    ListItem { text: text.to_owned(), place, chosen: false }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::discovery::Catalogue;
    use crate::venues::VENUES;
    use std::path::Path;

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn resolved(text: &str, amendment: &Amendment) -> Result<Config, String> {
        let plan = Plan::build("a.toml", text, Path::new("."), &[], VENUES).amended(amendment);
        plan.resolve(&Catalogue::default()).map_err(|error| error.to_string())
    }

    #[test]
    fn names_come_and_go_as_if_the_file_had_said_so() {
        let text = "venues = [\"binance\", \"okx\"]\ninstruments = [\"BTC/USDT\", \"ETH/USDT\"]";
        let amendment = Amendment {
            add: names(&["SOL/USDT", "BTC/USDT"]),
            remove: names(&["ETH/USDT"]),
            add_venues: names(&["bybit"]),
            remove_venues: names(&["okx"]),
        };
        let config = resolved(text, &amendment).unwrap();
        assert_eq!(config.instruments, ["BTC/USDT", "SOL/USDT"]);
        assert_eq!(config.venues.iter().map(|venue| venue.name()).collect::<Vec<_>>(), ["binance", "bybit"]);
        let defaults = resolved("", &Amendment { add: names(&["LTC/USDT"]), ..Amendment::default() }).unwrap();
        let before = resolved("", &Amendment::default()).unwrap();
        assert_eq!(defaults.instruments.len(), before.instruments.len() + 1);
        let none = resolved(text, &Amendment { remove: names(&["BTC/USDT", "ETH/USDT"]), ..Amendment::default() });
        assert!(none.unwrap_err().contains("is empty"));
    }

    #[test]
    fn a_mistake_says_that_it_came_by_an_admin_call() {
        let wrong = Amendment { add: names(&["btc-usdt"]), add_venues: names(&["okex"]), ..Amendment::default() };
        let told = resolved("", &wrong).unwrap_err();
        assert!(told.lines().all(|line| line.starts_with("admin call: ")), "{told}");
        assert!(told.contains("did you mean `BTC/USDT`?") && told.contains("unknown venue `okex`"), "{told}");
    }

    #[test]
    fn a_later_word_counts() {
        let add = Amendment { add: names(&["A/B", "C/D"]), ..Amendment::default() };
        let remove = Amendment { remove: names(&["A/B"]), ..Amendment::default() };
        let both = add.then(&remove);
        assert_eq!((both.add.clone(), both.remove.clone()), (names(&["C/D"]), names(&["A/B"])));
        assert_eq!(both.then(&add).remove, names(&[]));
    }
}
