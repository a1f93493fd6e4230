//! Names of instruments: the venue's spelling and back, never a silent rename.

use std::fs;

use spreadwire::venues::{VENUES, venue};

use super::fixtures;

#[test]
fn f41_every_listed_symbol_is_split_right_or_not_at_all() {
    for &venue in VENUES {
        let name = venue.facts().name;
        let Ok(listing) = fs::read_to_string(fixtures(name).join("listing.csv")) else { continue };
        let mut split = 0;
        for row in listing.lines().skip(1) {
            let parts: Vec<&str> = row.split(',').collect();
            let [symbol, base, quote] = parts[..] else { panic!("{name}: {row}") };
            let Some(read) = (venue.symbol_of())(symbol) else { continue };
            assert_eq!(read, format!("{base}/{quote}"), "{name}: {symbol}");
            split += 1;
            if let Ok(native) = venue.native(base, quote) {
                assert_eq!(native, symbol, "{name}");
            }
        }
        assert!(split * 100 >= listing.lines().count() * 95, "{name}: only {split} symbols could be split");
    }
}

#[test]
fn f42_a_dollar_is_not_a_dollar_coin() {
    let why = venue("binance").unwrap().native("BTC", "USD").unwrap_err();
    assert!(why.contains("USD") && why.contains("USDT"), "{why}");
    for &venue in VENUES {
        let [usd, usdt] = ["USD", "USDT"].map(|quote| venue.native("BTC", quote));
        assert!(usd.is_err() || usd != usdt, "{}", venue.facts().name);
    }
}

#[test]
fn f41_a_name_that_is_no_asset_code_is_refused_in_words() {
    for &venue in VENUES {
        for (base, quote) in [("", "USDT"), ("BTC-", "USDT"), ("BTC", "US DT"), ("btc", "USDT"), ("BTC", "")] {
            let result = venue.native(base, quote);
            assert!(result.as_ref().is_err_and(|why| why.len() > 20), "{}: {result:?}", venue.facts().name);
        }
    }
}
