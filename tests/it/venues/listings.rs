//! Lists of instruments as the venues' REST sides gave them: every row with the names that everything else uses.

use std::collections::HashMap;
use std::fs;

use spreadwire::time::UnixNs;
use spreadwire::venues::listing::{Fee, ListingEntry};
use spreadwire::venues::{DecodeError, Listed, Market, VENUES, Venue, VenueQuote, venue};

use super::fixtures;

fn recorded(venue: &dyn Venue) -> Option<Vec<ListingEntry>> {
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
    let steps = |entry: &ListingEntry| [entry.tick, entry.lot].map(|step| step.map(|step| step.to_string()));
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
fn a_reply_that_is_no_list_is_an_error_and_a_strange_row_hides_no_other() {
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

/// An exchange that lists two instruments.
struct Hall(Vec<Listed>);

impl Market for Hall {
    fn quote(&self, _: &str) -> Option<VenueQuote> {
        None
    }

    fn now(&self) -> UnixNs {
        UnixNs::from_ms(1_700_000_000_000)
    }

    fn listed(&self) -> Vec<Listed> {
        self.0.clone()
    }
}

/// Venues whose lists do not contain halts.
const WITHOUT_STATES: [&str; 3] = ["bitfinex", "gemini", "upbit"];

#[test]
fn what_a_simulated_exchange_lists_is_read_as_it_was_meant() {
    for &venue in VENUES {
        let name = venue.facts().name;
        // The names that this venue has; markets in won, dollars or coins, as it likes.
        let pairs = [("BTC", "USDT"), ("ETH", "USDT"), ("BTC", "USD"), ("DOGE", "USD"), ("ETH", "BTC")];
        let listed = pairs.iter().filter_map(|(base, quote)| {
            let native = venue.native(base, quote).ok()?;
            let [base, quote] = [base, quote].map(|code| (*code).to_owned());
            Some(Listed { native, base, quote, price_decimals: 2, size_decimals: 5, is_trading: true })
        });
        let hall = Hall(listed.collect());
        let reply = venue.rest("GET", venue.listing().path, "ws://127.0.0.1:9", &hall).unwrap_or_else(|| {
            panic!("{name} does not answer GET {}", venue.listing().path);
        });
        let entries = venue.read_listing(reply.as_bytes()).unwrap_or_else(|why| panic!("{name}: {why}: {reply}"));
        let names = |rows: Vec<(String, String, String)>| rows.into_iter().collect::<std::collections::BTreeSet<_>>();
        assert_eq!(
            names(entries.iter().map(|e| (e.base.clone(), e.quote.clone(), e.native.clone())).collect()),
            names(hall.0.iter().map(|e| (e.base.clone(), e.quote.clone(), e.native.clone())).collect()),
            "{name}"
        );
        for entry in &entries {
            assert!(entry.is_trading, "{name}");
            assert!(entry.tick.is_none_or(|tick| tick == "0.01".parse().unwrap()), "{name}: {entry:?}");
            assert!(entry.lot.is_none_or(|lot| lot == "0.00001".parse().unwrap()), "{name}: {entry:?}");
        }
        let mut hall = hall;
        hall.0[0].is_trading = false;
        let reply = venue.rest("GET", venue.listing().path, "ws://127.0.0.1:9", &hall).unwrap();
        for entry in venue.read_listing(reply.as_bytes()).unwrap() {
            let is_halted = entry.native == hall.0[0].native && !WITHOUT_STATES.contains(&name);
            assert_eq!(entry.is_trading, !is_halted, "{name}: {entry:?}");
        }
        assert_eq!(venue.rest("GET", "/nothing", "ws://127.0.0.1:9", &hall), None, "{name}");
        assert_eq!(venue.rest("DELETE", venue.listing().path, "ws://127.0.0.1:9", &hall), None, "{name}");
    }
}

#[test]
fn a_status_page_of_a_simulated_exchange_states_what_its_list_does_not() {
    let listed = |native: &str, is_trading| Listed {
        native: native.to_owned(),
        base: native[..3].to_uppercase(),
        quote: "USD".to_owned(),
        price_decimals: 2,
        size_decimals: 5,
        is_trading,
    };
    let hall = Hall(vec![listed("btcusd", true), listed("ethusd", false)]);
    let gemini = venue("gemini").unwrap();
    let page = gemini.status_page().unwrap();
    let state = |native: &str| {
        let reply = gemini.rest("GET", &(page.path)(native), "ws://127.0.0.1:9", &hall).unwrap();
        (page.read)(reply.as_bytes())
    };
    assert_eq!((state("btcusd"), state("ethusd")), (Ok(true), Ok(false)));
    for reply in [&b"{}"[..], b"{\"status\":null}", b"<html>", b"", b"[]"] {
        assert!((page.read)(reply).is_err(), "{}", String::from_utf8_lossy(reply));
    }
}

/// What a venue's list says of one instrument, and whether a taker can trade it. `STATE` stands for a member and its value.
const STATES: &[(&str, &str, &str, &[&str])] = &[
    (
        "binance",
        r#"{"symbols":[{"symbol":"AUSDT","baseAsset":"A","quoteAsset":"USDT",STATE}]}"#,
        r#""status":"TRADING""#,
        &[
            r#""status":"HALT""#,
            r#""status":"BREAK""#,
            r#""status":"AUCTION_MATCH""#,
            r#""status":"CANCEL_ONLY""#,
            r#""status":"END_OF_DAY""#,
            r#""status":"PRE_TRADING""#,
            r#""status":"POST_TRADING""#,
            r#""status":"TRADING","isSpotTradingAllowed":false"#,
        ],
    ),
    (
        "bitget",
        r#"{"data":[{"symbol":"AUSDT","baseCoin":"A","quoteCoin":"USDT",STATE}]}"#,
        r#""status":"online""#,
        &[r#""status":"offline""#, r#""status":"gray""#, r#""status":"halt""#],
    ),
    (
        "bitstamp",
        r#"[{"name":"A/USD","market_symbol":"ausd",STATE}]"#,
        r#""trading":"Enabled""#,
        &[r#""trading":"Disabled""#],
    ),
    (
        "bybit",
        r#"{"result":{"list":[{"symbol":"AUSDT","baseCoin":"A","quoteCoin":"USDT",STATE}]}}"#,
        r#""status":"Trading""#,
        &[r#""status":"PreLaunch""#, r#""status":"Delivering""#, r#""status":"Closed""#],
    ),
    (
        "coinbase",
        r#"{"products":[{"product_id":"A-USD","base_currency_id":"A","quote_currency_id":"USD",STATE}]}"#,
        r#""status":"online","limit_only":true"#,
        &[
            r#""status":"offline""#,
            r#""status":"delisted""#,
            r#""status":"online","trading_disabled":true"#,
            r#""status":"online","is_disabled":true"#,
            r#""status":"online","view_only":true"#,
            r#""status":"online","cancel_only":true"#,
            r#""status":"online","post_only":true"#,
            r#""status":"online","auction_mode":true"#,
        ],
    ),
    (
        "cryptocom",
        r#"{"result":{"data":[{"symbol":"A_USD","inst_type":"CCY_PAIR","base_ccy":"A","quote_ccy":"USD",STATE}]}}"#,
        r#""tradable":true"#,
        &[r#""tradable":false"#],
    ),
    (
        "gateio",
        r#"[{"id":"A_USDT","base":"A","quote":"USDT",STATE}]"#,
        r#""trade_status":"tradable""#,
        &[r#""trade_status":"untradable""#, r#""trade_status":"sellable""#, r#""trade_status":"buyable""#],
    ),
    (
        "htx",
        r#"{"data":[{"sc":"ausdt","bc":"a","qc":"usdt",STATE}]}"#,
        r#""state":"online","te":true"#,
        &[
            r#""state":"offline""#,
            r#""state":"suspend""#,
            r#""state":"pre-online""#,
            r#""state":"online","te":false"#,
            r#""state":"online","api-trading":"disabled""#,
        ],
    ),
    (
        "kraken",
        r#"{"result":{"AUSD":{"wsname":"A/USD",STATE}}}"#,
        r#""status":"limit_only""#,
        &[
            r#""status":"cancel_only""#,
            r#""status":"post_only""#,
            r#""status":"reduce_only""#,
            r#""status":"delisted""#,
            r#""status":"maintenance""#,
            r#""status":"work_in_progress""#,
        ],
    ),
    (
        "kucoin",
        r#"{"data":[{"symbol":"A-USDT",STATE}]}"#,
        r#""enableTrading":true"#,
        &[r#""enableTrading":false"#, r#""enableTrading":true,"callauctionIsEnabled":true"#],
    ),
    (
        "mexc",
        r#"{"symbols":[{"symbol":"AUSDT","baseAsset":"A","quoteAsset":"USDT",STATE}]}"#,
        r#""status":"1","tradeSideType":1"#,
        &[
            r#""status":"2""#,
            r#""status":"3""#,
            r#""status":"1","isSpotTradingAllowed":false"#,
            r#""status":"1","tradeSideType":2"#,
            r#""status":"1","tradeSideType":3"#,
            r#""status":"1","tradeSideType":4"#,
        ],
    ),
    (
        "okx",
        r#"{"data":[{"instId":"A-USDT","baseCcy":"A","quoteCcy":"USDT",STATE}]}"#,
        r#""state":"live""#,
        &[
            r#""state":"suspend""#,
            r#""state":"preopen""#,
            r#""state":"rebase""#,
            r#""state":"post_only""#,
            r#""state":"test""#,
            r#""state":"expired""#,
        ],
    ),
];

#[test]
fn only_what_a_taker_can_buy_and_sell_is_trading() {
    for (name, reply, trading, not_trading) in STATES {
        let is_trading = |state: &str| {
            let reply = reply.replace("STATE", state);
            let entries =
                venue(name).unwrap().read_listing(reply.as_bytes()).unwrap_or_else(|why| panic!("{reply}: {why}"));
            entries[0].is_trading
        };
        assert!(is_trading(trading), "{name}: {trading}");
        for state in *not_trading {
            assert!(!is_trading(state), "{name}: {state}");
        }
    }
}

#[test]
fn fees_of_a_list_are_read_in_percent() {
    let fee = |name: &str, reply: &str| venue(name).unwrap().read_listing(reply.as_bytes()).unwrap()[0].fee;
    let percent = |text: &str| Some(Fee::Percent(text.parse().unwrap()));
    let coefficient = r#"{"data":[{"symbol":"A-USDT","enableTrading":true,"takerFeeCoefficient":"3.00"}]}"#;
    assert_eq!(fee("kucoin", coefficient), Some(Fee::Times("3".parse().unwrap())));
    assert_eq!(fee("gateio", r#"[{"id":"A_USDT","base":"A","quote":"USDT","fee":"0.2"}]"#), percent("0.2"));
    let bitget = r#"{"data":[{"symbol":"AUSDT","baseCoin":"A","quoteCoin":"USDT","takerFeeRate":"0.0010"}]}"#;
    assert_eq!(fee("bitget", bitget), percent("0.1"));
    let mexc = r#"{"symbols":[{"symbol":"AUSDT","baseAsset":"A","quoteAsset":"USDT","takerCommission":"0.0005"}]}"#;
    assert_eq!(fee("mexc", mexc), percent("0.05"));
    let kraken = r#"{"result":{"AUSD":{"wsname":"A/USD","fees":[[0,0.40],[10000,0.35]],"fees_maker":[[0,0.25]]}}}"#;
    assert_eq!(fee("kraken", kraken), percent("0.4"));
    for wrong in [r#""100""#, r#""-1""#, "null", r#""""#] {
        let reply = format!(r#"[{{"id":"A_USDT","base":"A","quote":"USDT","fee":{wrong}}}]"#);
        assert_eq!(fee("gateio", &reply), None, "{wrong}");
    }
}
