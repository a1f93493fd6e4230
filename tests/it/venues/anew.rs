//! A venue that restarts counts anew: its numbers fall back, by a lot or by a little. What it quoted before is void and
//! what it quotes now is believed within seconds, whether its frames carry a stamp or not.

use spreadwire::time::{MS, MonoNs};
use spreadwire::venues::{Decoded, Symbols, Update, VoidReason, venue};

/// Frames of a top with a sequence number: venue, and the frame with `~` for the number.
const NUMBERED: &[(&str, &str)] = &[
    ("binance", r#"{"u":~,"s":"BTCUSDT","b":"1","B":"2","a":"3","A":"4"}"#),
    ("binance", r#"{"stream":"btcusdt@depth5","data":{"lastUpdateId":~,"bids":[["1","~"]],"asks":[["3","4"]]}}"#),
    ("binanceus", r#"{"u":~,"s":"BTCUSD","b":"1","B":"2","a":"3","A":"4"}"#),
    (
        "okx",
        r#"{"arg":{"channel":"bbo-tbt","instId":"BTC-USDT"},"data":[{"asks":[["3","4","0","1"]],"bids":[["1","2","0","2"]],"ts":"5","seqId":~}]}"#,
    ),
    (
        "okx",
        r#"{"arg":{"channel":"books5","instId":"BTC-USDT"},"data":[{"asks":[["3","4","0","1"]],"bids":[["1","~","0","2"]],"ts":"5","seqId":~}]}"#,
    ),
    (
        "bybit",
        r#"{"topic":"orderbook.1.BTCUSDT","ts":5,"type":"snapshot","data":{"s":"BTCUSDT","b":[["1","2"]],"a":[["3","4"]],"u":~,"seq":8},"cts":5}"#,
    ),
    (
        "gateio",
        r#"{"time":1,"channel":"spot.book_ticker","event":"update","result":{"t":5,"u":~,"s":"BTC_USDT","b":"1","B":"2","a":"3","A":"4"}}"#,
    ),
    (
        "gateio",
        r#"{"time":1,"channel":"spot.order_book","event":"update","result":{"t":5,"lastUpdateId":~,"s":"BTC_USDT","bids":[["1","~"]],"asks":[["3","4"]]}}"#,
    ),
    ("gemini", r#"{"u":~,"E":1751508438600000000,"s":"btcusd","b":"1","B":"2","a":"3","A":"4"}"#),
    (
        "htx",
        r#"{"ch":"market.btcusdt.bbo","ts":5,"tick":{"seqId":~,"ask":3,"askSize":4,"bid":1,"bidSize":2,"quoteTime":5,"symbol":"btcusdt"}}"#,
    ),
    ("htx", r#"{"ch":"market.btcusdt.mbp.refresh.5","ts":5,"tick":{"seqNum":~,"bids":[[1,~]],"asks":[[3,4]]}}"#),
    (
        "bitget",
        r#"{"action":"snapshot","arg":{"instType":"SPOT","channel":"books1","instId":"BTCUSDT"},"data":[{"asks":[["3","4"]],"bids":[["1","2"]],"checksum":0,"seq":~,"ts":"5"}],"ts":5}"#,
    ),
    (
        "kucoin",
        r#"{"type":"message","topic":"/market/ticker:BTC-USDT","subject":"trade.ticker","data":{"sequence":"~","bestBid":"1","bestBidSize":"2","bestAsk":"3","bestAskSize":"4","time":5}}"#,
    ),
];

#[test]
fn a_count_that_falls_back_is_followed_within_seconds_by_every_top() {
    for (name, frame) in NUMBERED {
        let venue = venue(name).unwrap();
        // By more than half, and by a little.
        for fallen in [10, 999_000] {
            let mut codec = venue.codec(Symbols::discovering(venue.symbol_of()));
            let mut read = |number: u64, ms: u64| {
                let mut out = Decoded::default();
                let frame = frame.replace('~', &number.to_string());
                codec.decode(frame.as_bytes(), MonoNs(ms * MS), &mut out).unwrap();
                out.updates
            };
            read(1_000_000, 1000);
            let late = read(999_990, 1010);
            assert!(
                !late.iter().any(|it| matches!(it, Update::Void(..))),
                "{name}: a late frame is no restart: {frame}"
            );
            read(1_000_001, 1020);
            let anew: Vec<bool> = (0..20u64)
                .map(|n| {
                    let said = read(fallen + n, 1120 + 100 * n);
                    assert!(said.iter().any(|it| matches!(it, Update::Top(_))), "{name}: {frame}: {said:?}");
                    matches!(said[..], [Update::Void(_, VoidReason::Gap), Update::Top(_)])
                })
                .collect();
            assert_eq!(anew.iter().filter(|it| **it).count(), 1, "{name}: once: {frame}");
            assert!(anew[..12].contains(&true), "{name}: within 1.2 s: {frame}");
        }
    }
}

#[test]
fn a_numbered_book_whose_count_falls_back_is_void_within_seconds() {
    // OKX, Gate and Crypto.com name the number before; Coinbase counts the messages of the connection.
    let snapshot = r#"{"channel":"l2_data","timestamp":"","sequence_num":900,"events":[{"type":"snapshot","product_id":"BTC-USD","updates":[{"side":"bid","event_time":"","price_level":"1","new_quantity":"1"},{"side":"offer","event_time":"","price_level":"2","new_quantity":"1"}]}]}"#;
    let change = r#"{"channel":"l2_data","timestamp":"","sequence_num":~,"events":[{"type":"update","product_id":"BTC-USD","updates":[{"side":"bid","event_time":"","price_level":"1.~","new_quantity":"1"}]}]}"#;
    let okx_snapshot = r#"{"arg":{"channel":"books","instId":"BTC-USDT"},"action":"snapshot","data":[{"asks":[["3","1","0","3"]],"bids":[["1","2","0","3"]],"ts":"7","checksum":0,"seqId":900,"prevSeqId":-1}]}"#;
    let okx_change = r#"{"arg":{"channel":"books","instId":"BTC-USDT"},"action":"update","data":[{"asks":[],"bids":[["1.~","2","0","3"]],"ts":"7","checksum":0,"seqId":~,"prevSeqId":0}]}"#;
    for (name, snapshot, change) in [("coinbase", snapshot, change), ("okx", okx_snapshot, okx_change)] {
        let venue = venue(name).unwrap();
        let mut codec = venue.codec(Symbols::discovering(venue.symbol_of()));
        let mut out = Decoded::default();
        codec.decode(snapshot.as_bytes(), MonoNs(0), &mut out).unwrap();
        out.clear();
        for number in 5..25_u64 {
            let frame = change.replace('~', &number.to_string());
            let _ = codec.decode(frame.as_bytes(), MonoNs(number * 100 * MS), &mut out);
        }
        let is_void = |it: &Update| matches!(it, Update::Void(_, VoidReason::Gap));
        assert!(out.updates.iter().any(is_void), "{name}: {:?}", out.updates);
    }
}
