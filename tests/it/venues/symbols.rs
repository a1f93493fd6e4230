//! Names of instruments: the venue's spelling and back, never a silent rename.

use std::fs;

use spreadwire::venues::{VENUES, venue};

use super::fixtures;

#[test]
fn every_listed_symbol_is_split_right_or_not_at_all() {
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
fn a_dollar_is_not_a_dollar_coin() {
    let why = venue("binance").unwrap().native("BTC", "USD").unwrap_err();
    assert!(why.contains("USD") && why.contains("USDT"), "{why}");
    for &venue in VENUES {
        let [usd, usdt] = ["USD", "USDT"].map(|quote| venue.native("BTC", quote));
        assert!(usd.is_err() || usd != usdt, "{}", venue.facts().name);
    }
}

#[test]
fn a_name_that_is_no_asset_code_is_refused_in_words() {
    for &venue in VENUES {
        for (base, quote) in [("", "USDT"), ("BTC-", "USDT"), ("BTC", "US DT"), ("btc", "USDT"), ("BTC", "")] {
            let result = venue.native(base, quote);
            assert!(result.as_ref().is_err_and(|why| why.len() > 20), "{}: {result:?}", venue.facts().name);
        }
    }
}

/// Native symbols that mean something else than their letters, and what they are here.
const MEANINGS: &[(&str, &str, &str)] = &[
    ("bitfinex", "tBCHN:USD", "BCH/USD"),
    ("bitfinex", "tDOGUSD", "MDOGE/USD"),
    ("bitfinex", "tTSDUSD", "TUSD/USD"),
    ("bitfinex", "tEUSUSD", "EURS/USD"),
    ("bitfinex", "tLUNA2:USD", "LUNA/USD"),
    ("bitfinex", "tLUNA:USD", "LUNC/USD"),
    ("bitfinex", "tTERRAUST:USD", "USTC/USD"),
    ("bitfinex", "tVSYUSD", "VSYS/USD"),
    ("bitfinex", "tWAXUSD", "WAXP/USD"),
    ("bitfinex", "tYGGUSD", "YEED/USD"),
    ("bitfinex", "tXCHUSD", "XCHF/USD"),
    ("bitfinex", "tZBTUSD", "ZB/USD"),
    ("bitfinex", "tHTXUSD", "HT/USD"),
    ("bitfinex", "tEDOUSD", "PNT/USD"),
    ("bitfinex", "tBTCUST", "BTC/USDT"),
    ("bitget", "APXUSDT", "ASTROPEPEX/USDT"),
    ("bitget", "TONCOINUSDT", "TON/USDT"),
    ("bitstamp", "ustusd", "USTC/USD"),
    ("coinbase", "CGLD-USD", "CELO/USD"),
    ("gateio", "GTC_USDT", "GAMECOM/USDT"),
    ("gateio", "88MPH_USDT", "MPH/USDT"),
    ("gateio", "MPH_USDT", "MORPHER/USDT"),
    ("htx", "gtcusdt", "GAMECOM/USDT"),
    ("htx", "pntusdt", "PENTA/USDT"),
    ("kraken", "LUNA/USD", "LUNC/USD"),
    ("kraken", "UST/USD", "USTC/USD"),
    ("kucoin", "ALT-USDT", "APTOSLAUNCHTOKEN/USDT"),
    ("kucoin", "KALT-USDT", "ALT/USDT"),
    ("kucoin", "BCHSV-USDT", "BSV/USDT"),
    ("mexc", "GMTUSDT", "GMTTOKEN/USDT"),
    ("mexc", "STEPNUSDT", "GMT/USDT"),
    ("mexc", "GASUSDT", "GASDAO/USDT"),
    ("okx", "AE-USDT", "AET/USDT"),
    ("upbit", "KRW-TON", "TOKAMAK/KRW"),
];

#[test]
fn the_same_letters_are_not_the_same_asset_and_names_go_both_ways() {
    for (name, native, symbol) in MEANINGS {
        let venue = venue(name).unwrap();
        assert_eq!((venue.symbol_of())(native).as_deref(), Some(*symbol), "{name} {native}");
        let (base, quote) = symbol.split_once('/').unwrap();
        assert_eq!(venue.native(base, quote).as_deref(), Ok(*native), "{name} {symbol}");
    }
    // Which coin these are is not known there: BCH has been another one since the fork.
    assert_eq!((venue("bitfinex").unwrap().symbol_of())("tBCHUSD"), None);
    for (name, base, quote, instead) in
        [("bitfinex", "DOG", "USD", "MDOGE"), ("mexc", "STEPN", "USDT", "GMT"), ("upbit", "TON", "KRW", "TOKAMAK")]
    {
        let why = venue(name).unwrap().native(base, quote).unwrap_err();
        assert!(why.ends_with(&format!("write {instead}")), "{why}");
    }
}

#[test]
fn no_two_native_symbols_of_a_venue_have_one_name() {
    for &venue in VENUES {
        let name = venue.facts().name;
        let table = venue.codes().table;
        for (at, code) in table.iter().enumerate() {
            let later = &table[at + 1..];
            assert!(later.iter().all(|other| other.native != code.native), "{name}: {} twice", code.native);
            assert!(later.iter().all(|other| other.canonical != code.canonical), "{name}: {} twice", code.canonical);
            assert!((1..=20).contains(&code.canonical.len()), "{name}: {} cannot be configured", code.canonical);
        }
        let Ok(listing) = fs::read_to_string(fixtures(name).join("listing.csv")) else { continue };
        let mut names = std::collections::HashMap::new();
        for native in listing.lines().skip(1).filter_map(|row| row.split(',').next()) {
            let Some(symbol) = (venue.symbol_of())(native) else { continue };
            let other = names.insert(symbol.clone(), native);
            assert!(other.is_none(), "{name}: {native} and {other:?} are both {symbol}");
        }
    }
}
