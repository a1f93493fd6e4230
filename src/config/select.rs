//! Resolves patterns of instruments: `BTC/*`, `*/USDT` and `*/*` over the lists of several venues. Pure.

use std::collections::{BTreeMap, BTreeSet};

use crate::discovery::List;
use crate::settings::quoted;
use crate::venues::codes;

/// One side of a pattern; `None` matches every code.
type PatternSide = Option<String>;

/// `BASE/QUOTE` with a star for one side or both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pattern {
    base: PatternSide,
    quote: PatternSide,
}

/// Limits for the instruments that patterns select.
#[derive(Clone, Copy, Debug)]
pub(super) struct SelectionLimits {
    /// Least number of venues that must list an instrument.
    pub(crate) common_to: usize,
    /// Most instruments; 0: all.
    pub top: usize,
}

impl SelectionLimits {
    /// No limits.
    pub const NONE: Self = Self { common_to: 1, top: 0 };
}

impl Pattern {
    /// `None` if `text` is not a pattern.
    ///
    /// # Errors
    /// What is wrong with a text that has a star but is not a valid pattern.
    pub fn read(text: &str) -> Option<Result<Self, String>> {
        if !text.contains('*') {
            return None;
        }
        let side = |text: &str| match text {
            "*" => Some(None),
            code if crate::venues::reading::is_code(code) => Some(Some(code.to_owned())),
            _ => None,
        };
        let sides = text.split_once('/').and_then(|(base, quote)| Some((side(base)?, side(quote)?)));
        Some(match sides {
            Some((base, quote)) => Ok(Self { base, quote }),
            None => Err(format!("{} is not a pattern, expected BTC/*, */USDT or */*", quoted(text))),
        })
    }

    /// Whether one of `lists` has a traded instrument that matches.
    pub(crate) fn selects_from(&self, lists: &[&List]) -> bool {
        let mut entries = lists.iter().flat_map(|list| &list.entries);
        entries.any(|entry| entry.is_trading && self.fits(&entry.base, &entry.quote))
    }

    fn fits(&self, base: &str, quote: &str) -> bool {
        let side = |side: &PatternSide, code: &str| side.as_deref().is_none_or(|wanted| wanted == code);
        side(&self.base, base) && side(&self.quote, quote)
    }
}

/// Result of resolving patterns.
#[derive(Debug, Default)]
pub(super) struct Chosen {
    /// Matching symbols that are traded somewhere: those listed by most venues first, then by name.
    pub symbols: Vec<String>,
    /// Matching symbols that are leveraged tokens, by name. Each venue issues its own.
    pub(crate) leveraged: BTreeSet<String>,
}

/// The instruments on `lists` that match one of `patterns`, within `limits`.
pub(super) fn chosen(patterns: &[&Pattern], lists: &[&List], limits: SelectionLimits) -> Chosen {
    let mut venues: BTreeMap<String, usize> = BTreeMap::new();
    let mut leveraged = BTreeSet::new();
    for list in lists {
        let bases: BTreeSet<&str> = list.entries.iter().map(|entry| entry.base.as_str()).collect();
        let fits = |base: &str, quote: &str| patterns.iter().any(|pattern| pattern.fits(base, quote));
        let fitting = list.entries.iter().filter(|entry| entry.is_trading && fits(&entry.base, &entry.quote));
        let (funds, coins): (Vec<_>, Vec<_>) =
            fitting.partition(|entry| codes::is_leveraged(&entry.base, |code| bases.contains(code)));
        leveraged.extend(funds.iter().map(|entry| entry.symbol()));
        let mut symbols: Vec<String> = coins.iter().map(|entry| entry.symbol()).collect();
        symbols.sort_unstable();
        symbols.dedup();
        for symbol in symbols {
            *venues.entry(symbol).or_default() += 1;
        }
    }
    // A leveraged token may be recognisable on the list of another venue only.
    venues.retain(|symbol, _| !leveraged.contains(symbol));
    let mut ranked: Vec<(String, usize)> = venues.into_iter().filter(|(_, n)| *n >= limits.common_to).collect();
    // Stable sort: equal counts stay in the order of names.
    ranked.sort_by_key(|(_, venues)| std::cmp::Reverse(*venues));
    if limits.top > 0 {
        ranked.truncate(limits.top);
    }
    Chosen { symbols: ranked.into_iter().map(|(symbol, _)| symbol).collect(), leveraged }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discovery::From;
    use crate::venues::listing::ListingEntry;

    fn list(venue: &'static str, symbols: &[&str]) -> List {
        let entries = symbols.iter().map(|text| {
            let (symbol, is_trading) = text.strip_prefix('-').map_or((*text, true), |halted| (halted, false));
            let (base, quote) = symbol.split_once('/').unwrap();
            let [base, quote] = [base, quote].map(str::to_owned);
            ListingEntry { native: format!("{base}{quote}"), base, quote, is_trading, ..ListingEntry::default() }
        });
        List { venue, entries: entries.collect(), from: From::Venue }
    }

    #[test]
    fn a_star_stands_for_what_is_traded_most_venues_first() {
        let a = list("a", &["BTC/USDT", "ETH/USDT", "BTC/USD", "-OLD/USDT"]);
        let b = list("b", &["ETH/USDT", "DOGE/USDT", "BTC/EUR"]);
        let of = |patterns: &[&str], common_to, top| {
            let read: Vec<Pattern> = patterns.iter().map(|text| Pattern::read(text).unwrap().unwrap()).collect();
            chosen(&read.iter().collect::<Vec<_>>(), &[&a, &b], SelectionLimits { common_to, top }).symbols
        };
        assert_eq!(of(&["*/USDT"], 1, 0), ["ETH/USDT", "BTC/USDT", "DOGE/USDT"]);
        assert_eq!(of(&["*/USDT"], 2, 0), ["ETH/USDT"]);
        assert_eq!(of(&["BTC/*", "*/USDT"], 1, 2), ["ETH/USDT", "BTC/EUR"]);
        assert_eq!(of(&["*/*"], 1, 0).len(), 5, "a halted one is not chosen");
        assert_eq!(of(&["XRP/*"], 1, 0), [""; 0]);
    }

    #[test]
    fn a_star_does_not_stand_for_leveraged_tokens() {
        let a = list("a", &["BTC/USDT", "BTC3L/USDT", "ETH5S/USDT", "BTCUP/USDT", "NEWDOWN/USDT", "SYRUP/USDT"]);
        let b = list("b", &["BTC/USDT", "BTC3L/USDT", "NEW/USDT", "NEWDOWN/USDT"]);
        let star = Pattern::read("*/USDT").unwrap().unwrap();
        let chosen = chosen(&[&star], &[&a, &b], SelectionLimits::NONE);
        assert_eq!(chosen.symbols, ["BTC/USDT", "NEW/USDT", "SYRUP/USDT"]);
        let leveraged: Vec<_> = chosen.leveraged.iter().map(String::as_str).collect();
        assert_eq!(leveraged, ["BTC3L/USDT", "BTCUP/USDT", "ETH5S/USDT", "NEWDOWN/USDT"]);
    }

    #[test]
    fn what_is_no_pattern_is_told() {
        assert_eq!(Pattern::read("BTC/USDT"), None);
        for text in ["*", "B*/USDT", "*/usdt", "*/", "/*", "*/*/*"] {
            assert!(Pattern::read(text).unwrap().is_err(), "{text}");
        }
    }
}
