//! Asset codes. Each venue's file has a table of the codes that do not mean there what they mean elsewhere; everything
//! else in the program sees canonical codes only. Also which codes are leveraged tokens. Pure, cold.

use crate::venues::reading;

/// A code of a venue that is not the usual one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code {
    /// As the venue writes it, in capitals.
    pub native: &'static str,
    /// What it is called here.
    pub canonical: &'static str,
    /// How the two differ.
    pub kind: CodeRule,
}

/// How a venue's code differs from the canonical one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodeRule {
    /// The same asset under another code.
    Alias,
    /// Another asset than the one that is known by this code. The canonical code is one that no other venue has.
    Other,
    /// The asset that is known by this code, or its name, in another unit, such as a million of it.
    Unit,
}

/// The same asset under another code.
pub(crate) const fn alias(native: &'static str, canonical: &'static str) -> Code {
    Code { native, canonical, kind: CodeRule::Alias }
}

/// Another asset than the one that is known by this code.
pub const fn other(native: &'static str, canonical: &'static str) -> Code {
    Code { native, canonical, kind: CodeRule::Other }
}

/// Another unit of an asset.
pub const fn unit(native: &'static str, canonical: &'static str) -> Code {
    Code { native, canonical, kind: CodeRule::Unit }
}

/// The table of one venue.
#[derive(Clone, Copy, Debug)]
pub struct Codes {
    /// The venue as people write it.
    pub venue: &'static str,
    /// Its codes that are not the usual ones. Neither a native nor a canonical code appears twice.
    pub table: &'static [Code],
}

impl Codes {
    /// A venue whose codes are the usual ones.
    #[must_use]
    pub const fn usual(venue: &'static str) -> Self {
        Self { venue, table: &[] }
    }

    /// The canonical code of the venue's `code`. `None` for a code that is canonical for another of the venue's: two
    /// codes of one venue never become the same asset.
    #[must_use]
    pub fn canonical<'a>(&self, code: &'a str) -> Option<&'a str> {
        match self.table.iter().find(|row| row.native == code) {
            Some(row) => Some(row.canonical),
            None if self.table.iter().any(|row| row.canonical == code) => None,
            None => Some(code),
        }
    }

    /// `BASE/QUOTE` in canonical codes of the venue's `base` and `quote`; `None` where one of them is no code, or none
    /// of the venue's.
    #[must_use]
    pub fn symbol(&self, base: &str, quote: &str) -> Option<String> {
        let is_plain = reading::is_code(base) && reading::is_code(quote);
        let (base, quote) = (self.canonical(base)?, self.canonical(quote)?);
        is_plain.then(|| format!("{base}/{quote}"))
    }

    /// The same for a symbol that is split already, `BASE/QUOTE` in the venue's codes.
    #[must_use]
    pub(crate) fn renamed(&self, symbol: &str) -> Option<String> {
        let (base, quote) = symbol.split_once('/')?;
        self.symbol(base, quote)
    }

    /// The venue's codes of canonical `base` and `quote`.
    ///
    /// # Errors
    /// The sentence of [`reading::codes`] or [`Self::alien`].
    pub fn native<'a>(&self, base: &'a str, quote: &'a str) -> Result<[&'a str; 2], String> {
        reading::codes(self.venue, base, quote)?;
        match self.alien(base, quote) {
            Some(why) => Err(why),
            None => Ok([base, quote].map(|code| self.native_code(code))),
        }
    }

    fn native_code<'a>(&self, code: &'a str) -> &'a str {
        self.table.iter().find(|row| row.canonical == code).map_or(code, |row| row.native)
    }

    /// Why canonical `base`/`quote` cannot be asked for by these letters: they mean something else on this venue.
    #[must_use]
    pub(crate) fn alien(&self, base: &str, quote: &str) -> Option<String> {
        let is_canonical = |code| self.table.iter().any(|row| row.canonical == code);
        let find = |code| self.table.iter().find(|row| row.native == code && !is_canonical(code));
        let Code { native, canonical, kind } = [base, quote].into_iter().find_map(find)?;
        let venue = self.venue;
        Some(match kind {
            CodeRule::Alias => format!("{venue}'s {native} is what others call {canonical}: write {canonical}"),
            CodeRule::Other => {
                format!(
                    "{venue}'s {native} is another asset than elsewhere, called {canonical} here: write {canonical}"
                )
            }
            CodeRule::Unit => {
                format!("{venue}'s {native} is another unit than elsewhere, called {canonical} here: write {canonical}")
            }
        })
    }
}

/// Assets that leveraged tokens by the endings of [`FUNDS`] have been issued for: Binance's of 2020 to 2024
/// (<https://github.com/freqtrade/freqtrade/issues/4476>), which KuCoin's, Gate's and others' follow.
const UNDERLYINGS: &[&str] = &[
    "1INCH", "AAVE", "ADA", "ALGO", "ATOM", "AVAX", "BCH", "BNB", "BSV", "BTC", "DOGE", "DOT", "EOS", "ETC", "ETH",
    "FIL", "LINK", "LTC", "MATIC", "NEAR", "SHIB", "SOL", "SUSHI", "SXP", "TRX", "UNI", "VET", "XLM", "XMR", "XRP",
    "XTZ", "YFI",
];

/// Endings of leveraged tokens that real coins have as well.
const FUNDS: &[&str] = &["UP", "DOWN", "BULL", "BEAR", "HEDGE", "HALF", "LONG", "SHORT"];

/// Whether `code` is a leveraged token: a share of a fund of its venue, which rebases and cannot be moved to another.
/// By its ending, such as BTC3L, ETH5S, BTCUP, XRPBEAR (<https://github.com/freqtrade/freqtrade/issues/3595>).
/// `is_listed`: whether the venue lists a base of that code; it separates SYRUP from BTCUP.
#[must_use]
pub(crate) fn is_leveraged(code: &str, is_listed: impl Fn(&str) -> bool) -> bool {
    if let Some(rest) = code.strip_suffix(['L', 'S']) {
        let name = rest.trim_end_matches(|c: char| c.is_ascii_digit());
        let factor = &rest[name.len()..];
        if matches!(factor.len(), 1 | 2) && !factor.starts_with('0') && name.len() >= 2 {
            return true;
        }
    }
    let opposite = |end: &str| match end {
        "UP" => "DOWN",
        "DOWN" => "UP",
        "BULL" => "BEAR",
        "BEAR" => "BULL",
        "LONG" => "SHORT",
        _ => "LONG",
    };
    FUNDS.iter().any(|end| match code.strip_suffix(end) {
        // FTX's tokens on Bitcoin had no name before the ending.
        Some("") => matches!(*end, "BULL" | "BEAR") && is_listed(opposite(end)),
        Some(name) => {
            UNDERLYINGS.contains(&name)
                || (name.len() >= 2 && (is_listed(name) || is_listed(&format!("{name}{}", opposite(end)))))
        }
        None => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const CODES: Codes = Codes {
        venue: "Some",
        table: &[alias("UST", "USDT"), other("GMT", "GMTTOKEN"), alias("STEPN", "GMT"), unit("DOG", "MDOGE")],
    };

    #[test]
    fn names_go_both_ways_and_letters_that_mean_something_else_are_refused() {
        for (canonical, native) in [("BTC", "BTC"), ("USDT", "UST"), ("GMT", "STEPN"), ("GMTTOKEN", "GMT")] {
            assert_eq!(CODES.native(canonical, "EUR"), Ok([native, "EUR"]), "{canonical}");
            assert_eq!(CODES.canonical(native), Some(canonical));
        }
        for (code, said) in [
            ("UST", "Some's UST is what others call USDT: write USDT"),
            ("STEPN", "Some's STEPN is what others call GMT: write GMT"),
            ("DOG", "Some's DOG is another unit than elsewhere, called MDOGE here: write MDOGE"),
        ] {
            assert_eq!(CODES.native(code, "EUR").unwrap_err(), said);
            assert_eq!(CODES.alien("BTC", code).unwrap(), said);
        }
        assert_eq!(CODES.alien("GMT", "USDT"), None);
        assert_eq!(CODES.canonical("MDOGE"), None, "DOG is that already");
        assert_eq!(CODES.symbol("DOG", "UST").as_deref(), Some("MDOGE/USDT"));
        assert_eq!(CODES.renamed("USDT/EUR"), None);
    }

    #[test]
    fn leveraged_tokens_are_known_by_their_ending_and_coins_that_look_like_it_are_not() {
        let listed = ["BTC", "STEP", "SYRUP", "BULL", "BEAR", "PERP"];
        let is = |code: &str| is_leveraged(code, |base| listed.contains(&base));
        for code in ["BTC3L", "BTC3S", "ETH5L", "FIL3S", "BTC10L", "ETH1S", "BTCUP", "ETHDOWN", "STEPUP", "XRPBULL"] {
            assert!(is(code), "{code}");
        }
        assert!(is("BULL") && is("BEAR") && is("PERPHEDGE") && is("ETHHALF"));
        for code in
            ["BTC", "SOL", "SYRUP", "ALL", "LSL", "SUPERS", "JUP", "UP", "COUP", "S2L", "1L", "DOWN", "LONG", "ATOMS"]
        {
            assert!(!is(code), "{code}");
        }
        assert!(!is_leveraged("BULL", |_| false), "a coin of that name");
    }
}
