//! Queries of addresses: percent coding and parameters. Text in, text out.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// All but what RFC 3986 (2.3, read 2026-11-20) reserves for no purpose. The tilde is encoded: older servers expect that.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.');

/// `text` as the value of a parameter.
#[must_use]
pub(crate) fn encoded(text: &str) -> String {
    utf8_percent_encode(text, ENCODED).to_string()
}

/// The query of `target`, without the question mark; empty if there is none.
#[must_use]
pub fn of(target: &str) -> &str {
    target.split_once('?').map_or("", |(_, query)| query)
}

/// The decoded value of the first parameter `name` of `query`; empty if it has no value. `+` is a space. An invalid
/// escape is copied as it is, and bytes that are not UTF-8 become the replacement character.
#[must_use]
pub fn value<'a>(query: &'a str, name: &str) -> Option<Cow<'a, str>> {
    query.split('&').find_map(|part| {
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        (decoded(key) == name).then(|| decoded(value))
    })
}

fn decoded(text: &str) -> Cow<'_, str> {
    if text.contains('+') {
        let spaced = text.replace('+', " ");
        return Cow::Owned(percent_decode_str(&spaced).decode_utf8_lossy().into_owned());
    }
    percent_decode_str(text).decode_utf8_lossy()
}

/// The decoded text; `None` if an escape is invalid or the bytes are not UTF-8.
pub(super) fn decoded_strictly(text: &str) -> Option<Cow<'_, str>> {
    let is_escape = |rest: &str| rest.as_bytes().get(..2).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit));
    if !text.split('%').skip(1).all(is_escape) {
        return None;
    }
    percent_decode_str(text).decode_utf8().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_decoded() {
        for (query, expected) in [
            ("pairs=BTC%2FUSD%2CETH/USD&raw=1", Some("BTC/USD,ETH/USD")),
            ("pairs=BTC/USD,+ETH/USD", Some("BTC/USD, ETH/USD")),
            ("p%61irs=1", Some("1")),
            ("x&pairs", Some("")),
            ("pairs=%zz%", Some("%zz%")),
            ("pairs=%FF", Some("\u{fffd}")),
            ("pairs2=1", None),
            ("", None),
        ] {
            assert_eq!(value(query, "pairs").as_deref(), expected, "{query}");
        }
    }

    #[test]
    fn a_text_of_any_letters_comes_back_from_an_address() {
        for text in ["BTCUSDT", "BTC-USDT", "BTC/USDT", "龙虾USDT", "A%41B", "a+b c&d=e", "100%", ""] {
            let target = format!("/api/v3/depth?limit=5&symbol={}", encoded(text));
            assert!(target.is_ascii(), "{target}");
            assert_eq!(value(of(&target), "symbol").as_deref(), Some(text));
        }
        assert_eq!(encoded("龙"), "%E9%BE%99");
        assert_eq!(of("/depth"), "");
    }

    #[test]
    fn strict_decoding_rejects_what_has_two_readings() {
        assert_eq!(decoded_strictly("/a%2Fb+").as_deref(), Some("/a/b+"));
        for text in ["%", "%4", "%zz", "a%+1", "%FF"] {
            assert_eq!(decoded_strictly(text), None, "{text}");
        }
    }
}
