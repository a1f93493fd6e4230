//! Lists of instruments as the venues' REST sides gave them: every row with the names that everything else uses.

use std::collections::HashMap;
use std::fs;

use spreadwire::venues::listing::Entry;
use spreadwire::venues::{DecodeError, VENUES, Venue, venue};

use super::fixtures;

fn recorded(venue: &dyn Venue) -> Option<Vec<Entry>> {
    let reply = fs::read(fixtures(venue.facts().name).join("instruments.json")).ok()?;
    Some(venue.read_listing(&reply).unwrap())
}

#[test]
fn every_row_of_a_recorded_list_has_the_names_that_the_feed_uses() {
    let mut venues = 0;
    for &venue in VENUES {
        let name = venue.facts().name;
        let (Some(entries), Ok(listing)) = (recorded(venue), fs::read_to_string(fixtures(name).join("listing.csv")))
        else {
            continue;
        };
        venues += 1;
        let known: HashMap<&str, (&str, &str)> = listing
            .lines()
            .skip(1)
            .filter_map(|row| row.split_once(','))
            .filter_map(|(symbol, codes)| Some((symbol, codes.split_once(',')?)))
            .collect();
        assert!(entries.len() >= 30, "{name}: {} rows", entries.len());
        for entry in &entries {
            if let Some((base, quote)) = known.get(entry.native.as_str()) {
                assert_eq!((entry.base.as_str(), entry.quote.as_str()), (*base, *quote), "{name}: {}", entry.native);
            }
            if let Ok(native) = venue.native(&entry.base, &entry.quote) {
                assert_eq!(native, entry.native, "{name}: {}", entry.symbol());
            }
        }
        let met = entries.iter().filter(|entry| known.contains_key(entry.native.as_str())).count();
        assert!(met * 10 >= entries.len() * 9, "{name}: only {met} of {} rows are known symbols", entries.len());
        let natives: std::collections::HashSet<&str> = entries.iter().map(|entry| entry.native.as_str()).collect();
        assert_eq!(natives.len(), entries.len(), "{name}: a symbol twice");
    }
    assert!(venues >= 7, "{venues}");
}

#[test]
fn steps_and_status_are_read_where_they_are_listed() {
    let find = |name: &str, symbol: &str| {
        let entries = recorded(venue(name).unwrap()).unwrap();
        entries.into_iter().find(|entry| entry.symbol() == symbol).unwrap_or_else(|| panic!("{name} {symbol}"))
    };
    let steps = |entry: &Entry| [entry.tick, entry.lot].map(|step| step.map(|step| step.to_string()));
    for (name, symbol, tick, lot) in STEPS {
        let entry = find(name, symbol);
        assert!(entry.is_trading, "{name} {symbol}");
        assert_eq!(steps(&entry), [Some((*tick).to_owned()), Some((*lot).to_owned())], "{name} {symbol}");
    }
    let halted = recorded(venue("binance").unwrap()).unwrap().iter().filter(|entry| !entry.is_trading).count();
    assert!(halted > 0, "the recorded list has markets on a break");
}

const STEPS: &[(&str, &str, &str, &str)] = &[
    ("binance", "ETH/BTC", "0.000001", "0.0001"),
    ("bybit", "BTC/USDT", "0.1", "0.000001"),
    ("coinbase", "BTC/USD", "0.01", "0.00000001"),
    ("kraken", "AAVE/AUD", "0.01", "0.00000001"),
    ("kucoin", "REQ/ETH", "0.0000001", "0.0001"),
    ("okx", "BTC/USDT", "0.1", "0.00000001"),
];

#[test]
fn f31_a_reply_that_is_no_list_is_an_error_and_a_strange_row_hides_no_other() {
    for &venue in VENUES {
        for reply in ["", "{}", "[]", "null", "<html>", r#"{"code":429,"msg":"Too many requests"}"#, r#"{"data":[]}"#] {
            let result = venue.read_listing(reply.as_bytes());
            assert!(result.is_err(), "{}: {reply}: {result:?}", venue.facts().name);
        }
    }
    let okx = venue("okx").unwrap();
    let reply = r#"{"code":"0","data":[{"instId":7},{},null,{"baseCcy":"BTC","quoteCcy":"USDT","instId":"BTC-USDT","state":"suspend"}]}"#;
    let entries = okx.read_listing(reply.as_bytes()).unwrap();
    assert_eq!(entries.len(), 1);
    assert!(!entries[0].is_trading);
    assert_eq!(okx.read_listing(b"[1"), Err(DecodeError::Json));
}
