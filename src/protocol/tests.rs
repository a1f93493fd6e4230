use super::message::{Alert, AlertMore, Price, PriceMore};
use super::opportunity::{GroupOf, Moment, OpportunityUpdate, ProofOf};
use super::request::{Action, BookName, Command, RequestError, parse};
use super::survival::{SurvivalOf, SurvivalRow};
use super::*;
use crate::market::book::{BookOptions, BookStamp, BookView, BookVoid};
use crate::market::directory::VenueEntry;
use crate::market::opportunity::{Class, CloseReason, Coexistence, LegSide, Proof};
use crate::market::precision::{ClassCounts, PairPrecision};
use crate::market::quote::{ExcessLag, Origin, QuoteOptions, Source};
use crate::market::rule::DetectorOptions;
use crate::market::statistics::DayStatistics;
use crate::market::survival::{SurvivalCurve, SurvivalPoint};
use crate::market::{Decimal, Directory, InstrumentId, Level, VenueId};
use crate::metrics::reasons::{DecodeReason, DropReason};
use crate::metrics::{Board, LinkState};
use crate::time::{MS, MonoNs, SECOND, UnixNs};
use proptest::prelude::*;
use std::sync::Arc;

fn d(text: &str) -> Decimal {
    text.parse().unwrap()
}

fn pct(text: &str) -> Percent {
    Percent((text.parse::<f64>().unwrap() * 1e10).round() as i64)
}

/// A leg without timestamps, and clocks that are not known yet.
const LIKELY: ProofOf = ProofOf {
    coexistence: Coexistence { proof: Proof::Likely, length_ns: 0, error_ns: None, begun: [MonoNs(0); 2] },
    buy_excess: ExcessLag::NONE,
    sell_excess: ExcessLag::of(0, 1_000_000),
};

const PROVEN: ProofOf = ProofOf {
    coexistence: Coexistence {
        proof: Proof::Proven,
        length_ns: 40_000_000,
        error_ns: Some(12_250_000),
        begun: [MonoNs(0); 2],
    },
    buy_excess: ExcessLag::of(2_999_999, 1_000_000),
    sell_excess: ExcessLag::of(250_000, 1000),
};

const GROUP: GroupOf<'static> =
    GroupOf { leader: "BTC/USDT:kraken:binance:6182614415060", leg: LegSide::Sell, size: 3 };

fn level(price: &str, size: &str) -> Level {
    Level { price: d(price), size: d(size) }
}

/// Compares with the golden file `name`; `UPDATE_GOLDEN=1` rewrites it.
fn golden(name: &str, written: &[u8]) {
    let path = format!("{}/tests/fixtures/protocol/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let mut text = String::from_utf8(written.to_vec()).unwrap();
    text.push('\n');
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    assert_eq!(text, std::fs::read_to_string(&path).unwrap(), "{name}");
    serde_json::from_str::<serde_json::Value>(&text).unwrap();
}

fn written(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut out);
    out
}

fn a_price(more: Option<PriceMore>) -> Price<'static> {
    Price {
        symbol: b"\"BTC/USDT\"",
        exchange: b"\"binance\"",
        bid: level("42500.50", "1.25000000"),
        ask: level("42501.00", "0.00031"),
        timestamp: 1_700_000_000_123,
        more,
    }
}

/// One venue sends changes every 10 ms.
const SURVIVAL: SurvivalOf = {
    const fn point(alive: f64, low: f64, high: f64, at_risk: u32, censored: u32) -> Option<SurvivalPoint> {
        Some(SurvivalPoint { alive, band: (low, high), at_risk, censored, net_kept: Some(0.5) })
    }
    let last = Some(SurvivalPoint { alive: 0.0, band: (0.0, 0.0), at_risk: 0, censored: 2, net_kept: None });
    let points = [None, None, point(0.916_666_666_666_666_6, 0.705, 0.978, 24, 0), point(0.25, 0.1, 0.43, 6, 1), last];
    SurvivalOf { curve: SurvivalCurve { episodes: 24, points }, is_pooled: true }
};

#[test]
fn a_price_has_five_fields_in_order() {
    golden("price", &written(|out| message::price(&a_price(None), out)));
    let more = PriceMore {
        seq: 17,
        source: "simulated",
        level: "websocket",
        state: "fresh",
        age_ms: 3,
        received_ns: 9_007_199_254_740_993,
        excess: ExcessLag::of(1_500_000, 1000),
    };
    golden("price_extended", &written(|out| message::price(&a_price(Some(more)), out)));
    let stale = PriceMore { state: "stale", age_ms: 30_001, excess: ExcessLag::NONE, ..more };
    golden("price_stale", &written(|out| message::price(&a_price(Some(stale)), out)));
}

#[test]
fn an_alert_has_nine_fields_in_order() {
    let alert = |more| Alert {
        symbol: b"\"BTC/USDT\"",
        buy_exchange: "kraken",
        sell_exchange: "binance",
        buy: d("42500"),
        sell: d("42925"),
        spread_pct: crate::market::opportunity::gross_pct(d("42500"), d("42925")),
        timestamp: 1_700_000_000_123,
        more,
    };
    golden("arbitrage", &written(|out| message::alert(&alert(None), out)));
    let more = AlertMore {
        net_spread_pct: pct("0.25"),
        basis_pct: None,
        executable_size: d("0.500"),
        buy_age_ms: 12,
        sell_age_ms: 0,
        source: "live",
        id: GROUP.leader,
        group: GROUP,
        evidence: LIKELY,
        survival: Some(SURVIVAL),
    };
    golden("arbitrage_extended", &written(|out| message::alert(&alert(Some(more)), out)));
    // As floats these are 295.0000000000003 and 2.9529529529529554.
    let (buy, sell) = (d("99.90"), d("102.85"));
    let spread_pct = crate::market::opportunity::gross_pct(buy, sell);
    let told = written(|out| message::alert(&Alert { buy, sell, spread_pct, ..alert(None) }, out));
    let told = String::from_utf8(told).unwrap();
    assert!(told.contains(r#""buyPrice":99.9,"sellPrice":102.85,"spreadPct":2.952952953,"profit":295,"#), "{told}");
}

#[test]
fn the_life_of_an_opportunity_is_one_object_from_its_opening_to_its_end() {
    let opened = Moment {
        change: OpportunityUpdate::Opened,
        id: "BTC/USDT:kraken:binance:6182614415060",
        symbol: b"\"BTC/USDT\"",
        buy_exchange: "kraken",
        sell_exchange: "binance",
        buy: d("42500"),
        sell: d("42925"),
        spread_pct: pct("1"),
        net_spread_pct: pct("0.25"),
        basis_pct: None,
        executable_size: d("0.500"),
        ages_ms: [12, 0],
        opened_at: 1_700_000_000_123,
        lived_ms: 0,
        peak_spread_pct: pct("1"),
        group: GROUP,
        evidence: LIKELY,
        survival: None,
        source: "live",
        timestamp: 1_700_000_000_123,
    };
    golden("opportunity_opened", &written(|out| opportunity::opportunity(&opened, out)));
    let updated = Moment {
        change: OpportunityUpdate::Updated,
        sell: d("43010"),
        evidence: PROVEN,
        spread_pct: pct("1.2"),
        net_spread_pct: pct("0.45"),
        basis_pct: None,
        ages_ms: [512, 0],
        lived_ms: 500,
        peak_spread_pct: pct("1.4"),
        timestamp: 1_700_000_000_623,
        survival: Some(SURVIVAL),
        ..opened
    };
    golden("opportunity_updated", &written(|out| opportunity::opportunity(&updated, out)));
    let closed = Moment {
        change: OpportunityUpdate::Closed(CloseReason::SellMoved, Class::Real),
        sell: d("42510.5"),
        evidence: PROVEN,
        spread_pct: pct("0.0247058824"),
        net_spread_pct: pct("-0.7253"),
        basis_pct: None,
        lived_ms: 2250,
        timestamp: 1_700_000_002_373,
        group: GroupOf { size: 0, ..GROUP },
        ..updated
    };
    golden("opportunity_closed", &written(|out| opportunity::opportunity(&closed, out)));
    let page = opportunity::page([opened].iter(), [closed].iter(), |moment, out| opportunity::opportunity(moment, out));
    golden("opportunities", &page);
}

#[test]
fn survival_has_a_point_for_each_time_and_null_where_it_cannot_be_seen() {
    let row = |symbol, is_pooled| SurvivalRow {
        buy_exchange: "kraken",
        sell_exchange: "okx",
        symbol,
        survival: SurvivalOf { is_pooled, ..SURVIVAL },
    };
    golden("survival", &survival::page([row(None, true), row(Some("BTC/USDT"), false)].into_iter()));
}

#[test]
fn precision_is_the_share_of_real_ones_of_each_pair_and_day() {
    let venue = |name: &str| VenueEntry { name: name.into(), taker_fee_pct: d("0.1"), native: vec![None] };
    let directory = Directory::new(vec!["BTC/USDT".into()], vec![venue("binance"), venue("kraken")]);
    let days = vec![(20_786, ClassCounts([3, 0, 1, 0, 0])), (20_787, ClassCounts([0, 2, 0, 1, 1]))];
    let pair = PairPrecision { buy: VenueId(1), sell: VenueId(0), days };
    golden("precision", &precision::page(&[pair], &directory));
}

#[test]
fn a_book_says_what_it_is_worth_and_has_levels_only_while_it_is_worth_something() {
    let view = BookView {
        changes: 7,
        void: None,
        voids: 2,
        last_void: Some(BookVoid::Gap),
        stamp: BookStamp {
            sequence: 123_456_789,
            exchange_time: UnixNs::from_ms(1_700_000_000_110),
            received: MonoNs(SECOND),
            source: Source::Live,
        },
        bids: vec![level("42500.50", "1.25000000"), level("42500.00", "0.3")],
        asks: vec![level("42501.00", "0.00031"), level("42501.5", "2")],
    };
    let shown = |state: &book::BookState| {
        let (symbol, exchange) = (b"\"BTC/USDT\"".as_slice(), b"\"okx\"".as_slice());
        let shown = book::ShownBook { symbol, exchange, state, view: &view, age_ms: 12, timestamp: 1_700_000_000_123 };
        (written(|out| book::message(&shown, out)), written(|out| book::entry(&shown, out)))
    };
    let (message, entry) = shown(&book::BookState::Live);
    golden("book", &message);
    assert_eq!(String::from_utf8(entry).unwrap(), String::from_utf8(message).unwrap().replace(r#""type":"book","#, ""));
    golden("book_stale", &shown(&book::BookState::Stale).0);
    golden("book_void", &shown(&book::BookState::Void(BookVoid::Checksum)).0);
    let leader = Some(Arc::new("b_3_4".to_owned()));
    golden("book_none", &shown(&book::BookState::None(book::Absence::Elsewhere(leader))).0);
}

#[test]
fn replies() {
    let names = |names: &'static [&'static str]| names.iter().copied();
    let reply = |on| {
        written(|out| {
            let (symbols, exchanges) = (names(&["BTC/USDT", "eth/usdt"]), names(&["binance"]));
            message::subscription(on, symbols, exchanges, None::<std::iter::Empty<message::BookAsked<'_>>>, out);
        })
    };
    golden("subscribed", &reply(true));
    let books = [(b"\"BTC/USDT\"".as_slice(), b"\"okx\"".as_slice(), 10)];
    let (symbols, exchanges) = (names(&[]), names(&[]));
    golden(
        "subscribed_books",
        &written(|out| message::subscription(true, symbols, exchanges, Some(books.into_iter()), out)),
    );
    golden("unsubscribed", &reply(false));
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let set = message::SetNames {
        added: names(&["SOL/USDT"]),
        removed: names(&["ETH/USDT"]),
        exchanges_added: names(&["kraken"]),
        exchanges_removed: names(&[]),
    };
    golden("set_changed", &written(|out| message::set(&set, out)));
    golden("error", &written(|out| message::error(&RequestError::Invalid.message(), out)));
    let unknown = RequestError::UnknownAction("\"><script>\u{1}".into());
    golden("error_unknown_action", &written(|out| message::error(&unknown.message(), out)));
}

#[test]
fn a_price_update_has_ten_fields_in_order() {
    let day = DayStatistics {
        instrument: InstrumentId(0),
        last: 42500.5,
        high: 43000.0,
        low: 41000.25,
        change: -12.5,
        change_pct: -0.03,
        quote_volume: 123_456_789.5,
        exchange_time: UnixNs(0),
    };
    let ticker = |day, usdt_alias| stream::Ticker {
        pair: b"\"BTC/USD\"",
        bid: d("42500.00"),
        ask: d("42501.0"),
        day,
        timestamp: 1_700_000_000_123,
        usdt_alias,
        more: None,
    };
    golden("stream_update", &written(|out| stream::update(&ticker(Some(day), false), out)));
    golden("stream_update_alias", &written(|out| stream::update(&ticker(Some(day), true), out)));
    golden("stream_update_no_statistics", &written(|out| stream::update(&ticker(None, false), out)));
    let more = stream::TickerMore { source: "live", level: "redis_cache", state: "cached", age_ms: 31_000 };
    let extended = stream::Ticker { more: Some(more), ..ticker(Some(day), false) };
    let told = String::from_utf8(written(|out| stream::update(&extended, out))).unwrap();
    let end = r#","timestamp":1700000000123,"source":"live","level":"redis_cache","state":"cached","ageMs":31000}"#;
    assert!(told.ends_with(end), "{told}");
    golden("market_data", &written(|out| stream::market_data(&ticker(Some(day), false), out)));
    golden("stream_connected", &written(|out| stream::connected(["BTC/USD", "ETH/USDT"], 1_700_000_000_123, out)));
}

#[test]
fn numbers_are_always_json() {
    for number in [f64::NAN, f64::INFINITY, -0.0, 1e300, 1e-300, 0.1 + 0.2, f64::MIN_POSITIVE] {
        let text = written(|out| float(number, out));
        assert!(serde_json::from_slice::<f64>(&text).is_ok(), "{number}");
    }
}

#[test]
fn pairs() {
    for pair in ["BTC/USD", "1INCH/USDT", "T/USDT", "ABCDEFGHIJ/ABCDEFGHIJ"] {
        assert!(stream::is_pair(pair), "{pair}");
    }
    for pair in
        ["", "BTC", "BTC/US", "btc/usd", "BTC/USD/X", "/USD", "BTC/", "ABCDEFGHIJK/USD", "BTC-USD", "B\u{c9}/USD"]
    {
        assert!(!stream::is_pair(pair), "{pair}");
    }
    assert_eq!(stream::list(" BTC/USD, ,ETH/USD,").collect::<Vec<_>>(), ["BTC/USD", "ETH/USD"]);
}

#[test]
fn requests_are_a_growing_record() {
    let full = br#"{"exchanges":["binance"],"x":1,"symbols":["BTC/USDT"],"action":"subscribe","intervalMs":0,"extended":true,"opportunities":true}"#;
    assert_eq!(
        parse(full),
        Ok(Command {
            action: Action::Subscribe,
            symbols: vec!["BTC/USDT".into()],
            exchanges: Some(vec!["binance".into()]),
            interval_ms: Some(0),
            extended: Some(true),
            opportunities: Some(true),
            ..Command::default()
        })
    );
    let books = br#"{"action":"subscribe","books":[{"symbol":"BTC/USDT","exchange":"okx"}],"levels":5}"#;
    let name = BookName { symbol: "BTC/USDT".into(), exchange: "okx".into() };
    let exchanges = Some(vec![]);
    let command = Command { exchanges, books: Some(vec![name]), levels: Some(5), ..Command::default() };
    assert_eq!(parse(books), Ok(command));
    for (word, proof) in [("none", Proof::Unproven), ("likely", Proof::Likely), ("proven", Proof::Proven)] {
        let text = format!(r#"{{"action":"subscribe","minProof":"{word}"}}"#);
        assert_eq!(parse(text.as_bytes()).unwrap().min_proof, Some(proof));
    }
    let bare = Command { action: Action::Unsubscribe, exchanges: Some(vec![]), ..Command::default() };
    assert_eq!(parse(br#"{"action":"unsubscribe"}"#), Ok(bare));
}

#[test]
fn wrong_types_in_every_field_are_one_error() {
    let invalid = [
        "",
        "{",
        "null",
        "nul",
        "{\"action\":\"subscribe\",}",
        "\u{feff}{}",
        "{} {}",
        "'a'",
        r#"{"action":"subscribe","symbols":"BTC/USDT"}"#,
        r#"{"action":"subscribe","symbols":{}}"#,
        r#"{"action":"subscribe","symbols":null}"#,
        r#"{"action":"subscribe","symbols":5}"#,
        r#"{"action":"subscribe","symbols":true}"#,
        r#"{"action":"subscribe","symbols":[5]}"#,
        r#"{"action":"subscribe","symbols":[null]}"#,
        r#"{"action":"subscribe","symbols":[["BTC/USDT"]]}"#,
        r#"{"action":"subscribe","intervalMs":"5"}"#,
        r#"{"action":"subscribe","intervalMs":-1}"#,
        r#"{"action":"subscribe","intervalMs":1.5}"#,
        r#"{"action":"subscribe","intervalMs":1e99}"#,
        r#"{"action":"subscribe","intervalMs":null}"#,
        r#"{"action":"subscribe","intervalMs":[]}"#,
        r#"{"action":"subscribe","extended":1}"#,
        r#"{"action":"subscribe","extended":"true"}"#,
        r#"{"action":"subscribe","extended":null}"#,
        r#"{"action":"subscribe","opportunities":1}"#,
        r#"{"action":"subscribe","opportunities":null}"#,
        r#"{"action":"subscribe","levels":"5"}"#,
        r#"{"action":"subscribe","books":{}}"#,
        r#"{"action":"subscribe","books":[{"symbol":"BTC/USDT"}]}"#,
    ];
    for text in invalid {
        assert_eq!(parse(text.as_bytes()), Err(RequestError::Invalid), "{text}");
    }
    assert_eq!(parse("[".repeat(60_000).as_bytes()), Err(RequestError::Invalid));
    assert_eq!(parse(b"\"\xff\""), Err(RequestError::Invalid));
    let partly = parse(br#"{"action":"subscribe","symbols":["A/B"],"exchanges":7}"#).unwrap();
    assert_eq!((partly.symbols, partly.exchanges), (vec!["A/B".to_owned()], None));
}

#[test]
fn an_unknown_proof_is_answered_with_those_that_exist() {
    for (value, shown) in [("\"sure\"", "sure"), ("\"Proven\"", "Proven"), ("null", "null"), ("2", "2")] {
        let error = parse(format!("{{\"action\":\"subscribe\",\"minProof\":{value}}}").as_bytes()).unwrap_err();
        let expected = format!("Unknown minProof: {shown}, expected one of none, likely, proven");
        assert_eq!(error.message(), expected);
    }
}

#[test]
fn unknown_actions_are_named_as_system_1_names_them() {
    for (text, shown) in [
        ("{}", "undefined"),
        ("5", "undefined"),
        ("[]", "undefined"),
        ("\"x\"", "undefined"),
        ("true", "undefined"),
        (r#"{"action":"ping"}"#, "ping"),
        (r#"{"action":"Subscribe"}"#, "Subscribe"),
        (r#"{"action":null}"#, "null"),
        (r#"{"action":5}"#, "5"),
        (r#"{"action":false}"#, "false"),
        (r#"{"action":{"a":1}}"#, "[object Object]"),
        (r#"{"action":["a",null,[1,2]]}"#, "a,,1,2"),
        (r#"{"action":"","symbols":7}"#, ""),
    ] {
        assert_eq!(parse(text.as_bytes()), Err(RequestError::UnknownAction(shown.into())), "{text}");
    }
    let long = format!("{{\"action\":\"{}\"}}", "\u{e9}".repeat(30_000));
    let Err(RequestError::UnknownAction(text)) = parse(long.as_bytes()) else { panic!("accepted") };
    assert_eq!(text.chars().count(), request::SHOWN_MAX);
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(frame in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(&frame);
    }

    #[test]
    fn a_price_is_json_with_exact_numbers(bid in 1u64.., ask in 1u64.., scale in 0u8..=19, name in "\\PC{0,20}") {
        let name = written(|out| string(&name, out));
        let level = |mantissa| Level { price: Decimal::new(mantissa, scale), size: Decimal::new(1, 0) };
        let price = Price { symbol: &name, exchange: &name, bid: level(bid), ask: level(ask), timestamp: 1, more: None };
        let text = String::from_utf8(written(|out| message::price(&price, out))).unwrap();
        serde_json::from_str::<serde_json::Value>(&text).unwrap();
        let shown = text.split("\"bid\":").last().unwrap().split(',').next().unwrap();
        prop_assert_eq!(shown.parse::<Decimal>().unwrap(), Decimal::new(bid, scale));
    }
}

/// Two venues; the second has never been connected.
fn a_board() -> (Board, Directory) {
    let venue = |name: &str, native: [Option<&str>; 2]| VenueEntry {
        name: name.into(),
        taker_fee_pct: d("0.1"),
        native: native.map(|n| n.map(str::to_owned)).to_vec(),
    };
    let venues = vec![venue("binance", [Some("BTCUSDT"), Some("ETHUSDT")]), venue("kraken", [Some("BTC/USDT"), None])];
    let directory = Directory::new(vec!["BTC/USDT".into(), "ETH/USDT".into()], venues);
    let board = Board::new(MonoNs(SECOND), 2, 2);
    let binance = &board.venues[0];
    binance.connection.connects.add(3);
    binance.connection.set_state(LinkState::Connected, MonoNs(2 * SECOND));
    binance.set_source(1);
    binance.read.last_bytes.set(60 * SECOND);
    binance.quotes.decoded.add(1234);
    binance.read.decode_errors.add(DecodeReason::Gap, 1);
    binance.quotes.dropped.add(DropReason::Crossed, 7);
    board.books[0].connection.set_state(LinkState::Connected, MonoNs(2 * SECOND));
    board.books[0].quotes.decoded.add(99);
    board.books[0].voids.add(BookVoid::Gap, 1);
    board.venues[1].connection.set_last_error("refused: \u{1b}[31m<b>no</b>");
    board.gateways[0].clients.websocket.set(3);
    board.gateways[1].clients.websocket.set(4);
    board.gateways[1].sent.prices.add(1 << 40);
    (board, directory)
}

#[test]
fn the_status_page_is_read_from_the_board() {
    let (board, directory) = a_board();
    let mut known = health::Known::default();
    known.add(InstrumentId(0), Origin::Own, 250 * MS, true, false);
    let mut books = health::KnownBooks::default();
    books.add(true, 250 * MS);
    let status = status::Status {
        health: health::Health {
            board: &board,
            directory: &directory,
            known: &[known, health::Known::default()],
            books: &[books, health::KnownBooks::default()],
            stream_pairs: Vec::new(),
            streams_max: 10_000,
            clients_max: 19_500,
            instance: "desk_1_1700000000000",
            hostname: "desk",
            now: MonoNs(61 * SECOND),
            unix: UnixNs::from_ms(1_700_000_060_000),
        },
        sources: "simulated",
        limits: status::ServiceLimits {
            pairs_max: 4096,
            beat_ms: 500,
            stream_beat_ms: 1000,
            quotes: QuoteOptions::default(),
            books: BookOptions::default(),
            detector: DetectorOptions::default(),
        },
    };
    golden("status", &status.text());
    golden("instruments", &status::instruments(&directory));
}
