//! "Did you mean": the known name that is closest to a mistyped one. Pure; used for keys, venues and variables.

use strsim::osa_distance;

/// The candidate nearest to `typed`, ignoring letter case, if it is near enough to be a typing error: at most a third
/// of its letters wrong, missing, extra or swapped, and never more than three.
#[must_use]
pub(crate) fn nearest<'a>(typed: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let typed = typed.to_lowercase();
    let length = typed.chars().count();
    // A long text is not a typing error, and comparing it would take quadratic time.
    if length > TYPED_MAX {
        return None;
    }
    let allowed = (length / 3).clamp(1, 3);
    candidates
        .into_iter()
        .map(|candidate| (osa_distance(&typed, &candidate.to_lowercase()), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// `; did you mean `x`?`, or an empty text.
#[must_use]
pub(crate) fn did_you_mean<'a>(typed: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    nearest(typed, candidates).map_or_else(String::new, |name| format!("; did you mean `{name}`?"))
}

const TYPED_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_recognised_and_other_words_are_not() {
        let names = ["binance", "coinbase", "kraken", "okx", "bybit", "kucoin"];
        for (typed, meant) in [
            ("binanse", "binance"),
            ("Kraken", "kraken"),
            ("krakne", "kraken"),
            ("coinbse", "coinbase"),
            ("okex", "okx"),
        ] {
            assert_eq!(nearest(typed, names), Some(meant), "{typed}");
        }
        for typed in ["mtgox", "", "bitstamp", &"binance".repeat(1000)] {
            assert_eq!(nearest(typed, names), None, "{typed}");
        }
    }
}
