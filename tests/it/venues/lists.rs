//! The exchanges' lists of instruments, as each venue writes them: what they name is what is traded.

use serde_json::Value as Json;
use spreadwire::sim::default_instruments;
use spreadwire::sim::prices::{Liveliness, Prices};
use spreadwire::time::UnixNs;
use spreadwire::venues::{Market, venue};

/// Venue, where its list is, the rows in it, and the names of symbol, base and quote in a row.
const LISTS: [(&str, &str, &str, [&str; 3]); 5] = [
    ("binance", "/api/v3/exchangeInfo", "/symbols", ["symbol", "baseAsset", "quoteAsset"]),
    ("binanceus", "/api/v3/exchangeInfo?permissions=SPOT", "/symbols", ["symbol", "baseAsset", "quoteAsset"]),
    ("gateio", "/api/v4/spot/currency_pairs", "", ["id", "base", "quote"]),
    ("bitget", "/api/v2/spot/public/symbols", "/data", ["symbol", "baseCoin", "quoteCoin"]),
    ("cryptocom", "/exchange/v1/public/get-instruments", "/result/data", ["symbol", "base_ccy", "quote_ccy"]),
];

fn prices(name: &str) -> Prices {
    let liveliness = Liveliness { rate: 100.0, opportunity_every_ms: 0 };
    let start = UnixNs::from_ms(1_786_613_159_748);
    Prices::new(&[venue(name).unwrap()], &default_instruments(), 5, liveliness, start)
}

fn ask(name: &str, method: &str, target: &str, market: &dyn Market) -> Option<Json> {
    let reply = venue(name).unwrap().rest(method, target, "ws://127.0.0.1:9", market)?;
    Some(serde_json::from_str(&reply).unwrap_or_else(|why| panic!("{name}: {why} in {reply}")))
}

#[test]
fn a_list_names_what_is_traded_and_how_its_symbol_is_made() {
    for (name, target, pointer, [symbol, base, quote]) in LISTS {
        let prices = prices(name);
        let market = prices.market(0, UnixNs::from_ms(1_786_613_159_748));
        let reply = ask(name, "GET", target, &market).unwrap_or_else(|| panic!("{name}: no list"));
        let rows = reply.pointer(pointer).and_then(Json::as_array).unwrap_or_else(|| panic!("{name}: {reply}"));
        assert!(rows.len() >= 10, "{name}: {}", rows.len());
        for row in rows {
            let word = |key: &str| row[key].as_str().unwrap_or_else(|| panic!("{name}: {key} in {row}")).to_owned();
            assert_eq!(venue(name).unwrap().native(&word(base), &word(quote)), Ok(word(symbol)), "{name}");
            assert!(market.quote(&word(symbol)).is_some(), "{name}: {row}");
        }
        assert_eq!(ask(name, "POST", target, &market), None, "{name}");
        assert_eq!(ask(name, "GET", "/nonesuch", &market), None, "{name}");
    }
}

#[test]
fn gemini_lists_names_first_and_each_ones_details_apart() {
    let prices = prices("gemini");
    let market = prices.market(0, UnixNs::from_ms(1_786_613_159_748));
    let names = ask("gemini", "GET", "/v1/symbols", &market).unwrap();
    assert!(names.as_array().unwrap().iter().any(|name| name == "btcusd"), "{names}");
    let details = ask("gemini", "GET", "/v1/symbols/details/btcusd", &market).unwrap();
    assert_eq!((&details["base_currency"], &details["quote_currency"]), (&Json::from("BTC"), &Json::from("USD")));
    assert_eq!(details["product_type"], "spot");
    assert_eq!(ask("gemini", "GET", "/v1/symbols/details/nonesuch", &market), None);
}
