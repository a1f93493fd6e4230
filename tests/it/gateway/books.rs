//! Order books for clients: the page, and messages to clients that watch a book.

use super::*;
use spreadwire::market::Decimal;
use spreadwire::market::book::{Book, BookStamp, BookVoid, Side};
use spreadwire::venues;

const SHORT: Duration = Duration::from_millis(300);

impl Rig {
    /// The book of `symbol` on `venue` has `levels` levels a side around 100, all of this size.
    fn book(&self, symbol: &str, venue: &str, levels: u64, size: u64) {
        let mut book = Book::default();
        for n in 1..=levels {
            let level = |price| Level { price: Decimal::new(price, 2), size: Decimal::new(size, 1) };
            book.set(Side::Bid, level(10_000 - 5 * n));
            book.set(Side::Ask, level(10_000 + 5 * n));
        }
        let stamp = BookStamp {
            sequence: 1000 + size,
            exchange_time: UnixNs::from_ms(1_700_000_000_123),
            received: self.clock.now(),
            source: Source::Simulated,
        };
        self.books.publish(self.pair(symbol, venue), &book, stamp);
    }

    fn void_book(&self, symbol: &str, venue: &str, why: BookVoid) {
        assert!(self.books.void(self.pair(symbol, venue), why));
    }

    fn page(&self, query: &str) -> Value {
        let (status, value) = self.json(&format!("/api/book?{query}"));
        assert_eq!(status, 200, "{value}");
        value
    }
}

impl Client {
    fn watch(&mut self, books: &[(&str, &str)], more: Value) -> Value {
        let books: Vec<Value> =
            books.iter().map(|(symbol, exchange)| json!({"symbol": symbol, "exchange": exchange})).collect();
        let mut request = json!({"action": "subscribe", "books": books});
        more.as_object().unwrap().iter().for_each(|(name, value)| request[name] = value.clone());
        self.send(request);
        self.next()
    }
}

/// State, reason, best bid and its size, and how often it was void.
fn gist(book: &Value) -> String {
    let reason = book["reason"].as_str().unwrap_or("-");
    format!("{} {reason} {} {}", book["state"].as_str().unwrap(), book["bids"][0], book["voids"])
}

const LIVE: &str = r#","state":"live","bids":[[99.95,0.7],[99.9,0.7]],"asks":[[100.05,0.7],[100.1,0.7]],"sequence":1007,"exchangeTime":1700000000123,"ageMs":"#;

#[test]
fn a_book_is_one_page_with_the_best_levels_first() {
    let rig = Rig::new();
    rig.book("BTC/USDT", "binance", 30, 7);
    let (status, head, body) = rig.get("/api/book?symbol=btc/usdt&exchange=Binance&levels=2");
    assert_eq!(status, 200);
    assert!(head.contains("Cache-Control: no-store"), "{head}");
    assert!(body.starts_with(&format!(r#"{{"symbol":"btc/usdt","exchange":"Binance"{LIVE}"#)), "{body}");
    assert!(body.contains(r#","source":"simulated","voids":0,"timestamp":"#), "{body}");
    let levels = |query: &str| rig.page(query)["asks"].as_array().unwrap().len();
    assert_eq!(levels("symbol=BTC/USDT&exchange=binance"), 20, "as usual");
    assert_eq!(levels("symbol=BTC/USDT&exchange=binance&levels=1000"), 20, "no more is kept");
}

#[test]
fn without_an_exchange_the_page_has_the_books_of_all_exchanges() {
    let rig = Rig::new();
    rig.book("BTC/USDT", "binance", 30, 7);
    let page = rig.page("symbol=BTC/USDT");
    assert_eq!(page["symbol"], "BTC/USDT");
    let books = page["books"].as_array().unwrap();
    let names: Vec<&str> = books.iter().map(|book| book["exchange"].as_str().unwrap()).collect();
    assert_eq!(names, ["binance", "kraken"]);
    assert_eq!(gist(&books[0]), "live - [99.95,0.7] 0");
    let none = if venues::venue("kraken").unwrap().facts().books.is_some() { "waiting" } else { "not_offered" };
    assert_eq!(gist(&books[1]), format!("none {none} null 0"));
    assert_eq!((&books[1]["ageMs"], &books[1]["sequence"]), (&Value::Null, &Value::Null));
}

#[test]
fn a_book_without_levels_has_a_reason() {
    let rig = Rig::on_hand(settings(|o| o.quotes.stale_after_ms = 250));
    let one = |exchange: &str| gist(&rig.page(&format!("symbol=BTC/USDT&exchange={exchange}")));
    rig.book("BTC/USDT", "binance", 3, 7);
    rig.void_book("BTC/USDT", "binance", BookVoid::Checksum);
    assert_eq!(one("binance"), "void checksum null 1");
    rig.book("BTC/USDT", "binance", 3, 7);
    assert_eq!(one("binance"), "live - [99.95,0.7] 1");
    rig.pass(260);
    assert_eq!(one("binance"), "stale - [99.95,0.7] 1");
    assert_eq!(one("coinbase"), "none not_quoted null 0");
    // Another instance is connected to it, so the local state is no longer valid.
    rig.board.venues[0].connection.set_state(LinkState::Standby, rig.clock.now());
    assert_eq!(one("binance"), "none not_leader null 1");
    let without = Rig::with(settings(|o| o.books.levels = 0));
    without.book("BTC/USDT", "binance", 3, 7);
    assert_eq!(gist(&without.page("symbol=BTC/USDT&exchange=binance")), "none off null 0");
}

#[test]
fn an_invalid_request_for_a_book_is_answered_with_the_mistake() {
    let rig = Rig::new();
    for (query, status, error) in [
        ("", 400, "Symbol parameter required (e.g., BTC/USDT)"),
        ("symbol=DOGE/USDT", 404, "Unknown symbol: DOGE/USDT"),
        ("symbol=BTC/USDT&exchange=mtgox", 400, "Invalid exchange: mtgox"),
        ("symbol=BTC/USDT&levels=0", 400, "Invalid levels: a whole number from 1 to 1000"),
        ("symbol=BTC/USDT&levels=-5", 400, "Invalid levels: a whole number from 1 to 1000"),
    ] {
        let (code, value) = rig.json(&format!("/api/book?{query}"));
        assert_eq!((code, value["error"].as_str()), (status, Some(error)), "{query}");
    }
}

#[test]
fn only_clients_that_watch_a_book_receive_it_at_once_and_each_change_once() {
    let rig = Rig::on_hand(GatewaySettings::default());
    rig.book("BTC/USDT", "binance", 30, 7);
    let (mut client, mut other) = (rig.client(), rig.client());
    other.subscribe(&["BTC/USDT"], &["binance"]);
    let reply = client.watch(&[("BTC/USDT", "binance")], json!({"levels": 2}));
    let asked = json!([{"symbol": "BTC/USDT", "exchange": "binance", "levels": 2}]);
    assert_eq!((&reply["type"], &reply["symbols"], &reply["books"]), (&json!("subscribed"), &json!([]), &asked));
    let text = client.text();
    assert!(text.starts_with(&format!(r#"{{"type":"book","symbol":"BTC/USDT","exchange":"binance"{LIVE}"#)), "{text}");
    assert_eq!(client.collect(SHORT), [""; 0], "it has not changed");
    rig.book("BTC/USDT", "binance", 30, 8);
    rig.pass(100);
    assert_eq!(gist(&client.next()), "live - [99.95,0.8] 0");
    client.send(json!({"action": "unsubscribe", "books": [{"symbol": "BTC/USDT", "exchange": "binance"}]}));
    assert_eq!(client.next()["books"], json!([]));
    rig.book("BTC/USDT", "binance", 30, 9);
    assert_eq!(client.collect(SHORT), [""; 0]);
    assert_eq!(other.collect(SHORT), [""; 0]);
    rig.wait_until("nobody", |board| board.gateways[0].subscriptions.books.value() == 0);
}

#[test]
fn clients_choose_their_depth_and_share_messages_of_equal_depth() {
    let rig = Rig::new();
    rig.book("BTC/USDT", "binance", 30, 7);
    let mut clients = [rig.client(), rig.client(), rig.client()];
    for (client, levels) in clients.iter_mut().zip([3, 3, 500]) {
        let reply = client.watch(&[("BTC/USDT", "binance")], json!({"levels": levels}));
        assert_eq!(reply["books"][0]["levels"], levels.min(20), "no more than is kept");
        assert_eq!(client.next()["bids"].as_array().unwrap().len(), levels.min(20));
    }
    rig.book("BTC/USDT", "binance", 30, 8);
    let [a, b, deep] = clients.each_mut().map(Client::text);
    assert_eq!(a, b);
    assert_ne!(a, deep);
    // Subscribing to the same book again changes its depth.
    let reply = clients[0].watch(&[("BTC/USDT", "binance")], json!({}));
    assert_eq!(reply["books"], json!([{"symbol": "BTC/USDT", "exchange": "binance", "levels": 10}]));
    assert_eq!(clients[0].next()["bids"].as_array().unwrap().len(), 10);
    rig.wait_until("three", |board| board.gateways[0].subscriptions.books.value() == 3);
    drop(clients);
    rig.wait_until("nobody", |board| board.gateways[0].subscriptions.books.value() == 0);
}

#[test]
fn clients_receive_that_a_book_was_void_even_if_it_is_live_again_within_one_interval() {
    let rig = Rig::with(settings(|o| o.books.beat_ms = 250));
    let mut client = rig.client();
    client.watch(&[("ETH/USDT", "binance")], json!({}));
    assert_eq!(client.next()["state"], "none");
    rig.book("ETH/USDT", "binance", 3, 7);
    assert_eq!(gist(&client.next()), "live - [99.95,0.7] 0");
    rig.void_book("ETH/USDT", "binance", BookVoid::Gap);
    assert_eq!(gist(&client.next()), "void gap null 1");
    rig.book("ETH/USDT", "binance", 3, 8);
    assert_eq!(gist(&client.next()), "live - [99.95,0.8] 1");
    rig.void_book("ETH/USDT", "binance", BookVoid::Lost);
    rig.book("ETH/USDT", "binance", 3, 8);
    assert_eq!(gist(&client.next()), "void lost null 2");
    assert_eq!(gist(&client.next()), "live - [99.95,0.8] 2");
}

#[test]
fn a_book_without_updates_is_sent_as_stale_once_and_as_live_with_the_next_update() {
    let rig = Rig::on_hand(settings(|o| o.quotes.stale_after_ms = 250));
    let mut client = rig.client();
    rig.book("ETH/USDT", "binance", 3, 7);
    client.watch(&[("ETH/USDT", "binance")], json!({}));
    assert_eq!(gist(&client.next()), "live - [99.95,0.7] 0");
    rig.pass(400);
    assert_eq!(gist(&client.next()), "stale - [99.95,0.7] 0");
    assert_eq!(client.collect(SHORT), [""; 0]);
    rig.book("ETH/USDT", "binance", 3, 7);
    rig.pass(100);
    assert_eq!(gist(&client.next()), "live - [99.95,0.7] 0");
}

#[test]
fn unknown_names_of_books_are_accepted_and_have_no_book() {
    let rig = Rig::new();
    let mut client = rig.client();
    client.watch(&[("DOGE/USDT", "binance"), ("BTC/USDT", "mtgox"), ("BTC/USDT", "coinbase")], json!({}));
    let reasons: Vec<Value> = (0..3).map(|_| client.next()["reason"].clone()).collect();
    assert_eq!(reasons, ["unknown", "unknown", "not_quoted"]);
}

#[test]
fn a_request_for_books_above_a_limit_changes_nothing() {
    let rig = Rig::with(settings(|o| o.gateway.pairs_max = 3));
    let mut client = rig.client();
    client.subscribe(&["BTC/USDT"], &["binance", "kraken"]);
    client.watch(&[("BTC/USDT", "binance")], json!({}));
    assert_eq!(client.next()["type"], "book");
    assert_eq!(
        client.watch(&[("BTC/USDT", "kraken")], json!({})),
        json!({"type": "error", "message": "Too many books: at most 3 with all pairs"})
    );
    for wrong in [
        json!("BTC/USDT"),
        json!(null),
        json!([{"symbol": "BTC/USDT"}]),
        json!([{"symbol": 5, "exchange": "okx"}]),
        json!(["BTC/USDT"]),
    ] {
        client.send(json!({"action": "subscribe", "books": wrong}));
        assert_eq!(client.next(), json!({"type": "error", "message": "Invalid message format"}));
    }
    client.send(json!({"action": "subscribe"}));
    assert_eq!(client.next()["books"], json!([{"symbol": "BTC/USDT", "exchange": "binance", "levels": 10}]));
}

#[test]
fn a_slow_client_receives_the_newest_book_and_that_it_was_void() {
    let rig = Rig::on_hand(settings(|o| o.books.beat_ms = 5));
    let mut client = rig.client();
    let books: Vec<(String, &str)> = (0u32..64)
        .map(|n| {
            let cased = |(at, c): (usize, char)| if n >> at & 1 == 1 { c.to_ascii_uppercase() } else { c };
            let name: String = "btcusdt".chars().enumerate().map(cased).collect();
            (format!("{}/{}", &name[..3], &name[3..]), "binance")
        })
        .collect();
    let books: Vec<(&str, &str)> = books.iter().map(|(symbol, exchange)| (symbol.as_str(), *exchange)).collect();
    client.watch(&books, json!({"levels": 20}));
    let mut last = 0;
    let gauges = &rig.board.gateways[0];
    while gauges.sent.books.value() < 64 || last < 500 {
        last += 1;
        rig.book("BTC/USDT", "binance", 20, last);
        if last == 400 {
            rig.void_book("BTC/USDT", "binance", BookVoid::Checksum);
        }
        rig.pass(6);
        assert!(last < 5000);
    }
    // It reads again: all frames are whole, and after the void message each book is the newest one.
    let (mut newest, mut void, mut heard) = (std::collections::HashMap::new(), std::collections::HashSet::new(), 0);
    while newest.values().filter(|sequence| **sequence == 1000 + last).count() < 64 {
        let book = client.next();
        heard += 1;
        let symbol = book["symbol"].as_str().unwrap().to_owned();
        if book["state"] == "void" {
            assert_eq!(book["reason"], "checksum");
            assert!(void.insert(symbol), "said twice");
        } else if book["state"] == "live" {
            let sequence = book["sequence"].as_u64().unwrap();
            assert!(newest.insert(symbol.clone(), sequence).is_none_or(|before| before < sequence));
            assert_eq!(book["voids"], u64::from(void.contains(&symbol)), "{symbol} at {sequence}");
        }
    }
    assert_eq!(void.len(), 64);
    assert!(heard < 64 * last, "nothing was conflated: {heard}");
    rig.wait_until("the count", |board| board.gateways[0].sent.books_conflated.value() > 0);
    assert_eq!(gauges.clients.slow_closed.value(), 0);
}
