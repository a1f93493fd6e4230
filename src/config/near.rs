//! "Did you mean": the known name that is closest to a mistyped one. Pure; used for keys, venues and variables.

/// The candidate nearest to `typed`, ignoring letter case, if it is near enough to be a typing error: at most a third
/// of its letters wrong, missing, extra or swapped, and never more than three.
#[must_use]
pub fn nearest<'a>(typed: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let typed = typed.to_lowercase();
    let length = typed.chars().count();
    // A long text is not a typing error, and comparing it would take quadratic time.
    if length > TYPED_MAX {
        return None;
    }
    let allowed = (length / 3).clamp(1, 3);
    candidates
        .into_iter()
        .map(|candidate| (distance(&typed, &candidate.to_lowercase()), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// `; did you mean `x`?`, or an empty text.
#[must_use]
pub fn did_you_mean<'a>(typed: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    nearest(typed, candidates).map_or_else(String::new, |name| format!("; did you mean `{name}`?"))
}

const TYPED_MAX: usize = 64;

/// Edits between two words: insert, delete, replace, or swap two neighbours.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for (i, row) in rows.iter_mut().enumerate() {
        row[0] = i;
    }
    for (j, cell) in rows[0].iter_mut().enumerate() {
        *cell = j;
    }
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replaced.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = best;
        }
    }
    rows[a.len()][b.len()]
}

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

    #[test]
    fn distance_counts_single_edits() {
        for (a, b, edits) in [("", "", 0), ("ab", "ba", 1), ("abc", "abd", 1), ("abc", "ab", 1), ("", "abc", 3)] {
            assert_eq!(distance(a, b), edits, "{a} {b}");
            assert_eq!(distance(b, a), edits, "{b} {a}");
        }
    }
}
