//! Faults of sequences, books and payloads, one test a row of the fault list, in the notation of
//! `frames.txt`. What is said here of one venue is said of the others in their `frames.txt`.

use std::fmt::Write as _;

use spreadwire::time::MonoNs;
use spreadwire::venues::{DecodeError, Decoded, Frame, Symbols, venue};
use spreadwire::wire::gzip::Gzip;

use super::frames::check;

#[test]
fn an_announced_end_of_the_connection_asks_for_another_one() {
    check("binance", "> {\"e\":\"serverShutdown\",\"E\":1}\n= leaving: the server is about to stop\n= control");
    let notice = r#"> {"event":"notice","code":"64008","msg":"The connection will soon be closed."}"#;
    check("okx", &format!("{notice}\n= leaving: the connection will be closed for a service upgrade\n= control"));
    let request = r#"> {"event":"bts:request_reconnect","channel":"","data":{}}"#;
    check("bitstamp", &format!("{request}\n= leaving: the venue asks for a new connection\n= control"));
}

#[test]
fn a_packed_frame_that_unpacks_to_too_much_is_refused_and_the_next_one_read() {
    let venue = venue("htx").unwrap();
    let mut codec = venue.codec(Symbols::discovering(venue.symbol_of()));
    let (mut gzip, mut out) = (Gzip::default(), Decoded::default());
    for frame in [vec![b' '; 9 << 20], vec![0; 64 << 20]] {
        let packed = gzip.pack(&frame);
        assert!(packed.len() < venue.facts().message_max);
        assert_eq!(codec.decode(&packed, MonoNs(0), &mut out), Err(DecodeError::Gzip));
    }
    let ping = gzip.pack(br#"{"ping":7}"#);
    assert_eq!(codec.decode(&ping, MonoNs(0), &mut out), Ok(Frame::Control));
    assert_eq!(out.answers, [r#"{"pong":7}"#]);
}

#[test]
fn a_partly_refused_subscription_names_who_is_in() {
    check(
        "okx",
        r#"! BTC/USDT ETH/USDT
> {"event":"subscribe","arg":{"channel":"bbo-tbt","instId":"ETH-USDT"}}
= subscribed ETH/USDT
= control
> {"event":"error","code":"60018","msg":"no such instrument: BTC-USDT"}
= refused: no such instrument: BTC-USDT
= control"#,
    );
    check(
        "bybit",
        r#"! BTC/USDT ETH/USDT
> {"success":false,"ret_msg":"error:handler not found,topic:orderbook.1.BTCUSDT","req_id":"q0","op":"subscribe"}
= refused: error:handler not found,topic:orderbook.1.BTCUSDT
= request {"req_id":"Q0","op":"subscribe","args":["orderbook.1.BTCUSDT"]}
= request {"req_id":"Q1","op":"subscribe","args":["orderbook.1.ETHUSDT"]}
= control"#,
    );
}

#[test]
fn a_refused_request_is_made_again_for_each_of_its_instruments() {
    check(
        "gateio",
        r#"! BTC/USDT ETH/USDT
> {"time":1,"id":1,"channel":"spot.book_ticker","event":"subscribe","error":{"code":2,"message":"unknown currency pair: ETH_USDT"},"result":null}
= refused: unknown currency pair: ETH_USDT
= request {"time":0,"id":3,"channel":"spot.book_ticker","event":"subscribe","payload":["BTC_USDT"]}
= request {"time":0,"id":4,"channel":"spot.book_ticker","event":"subscribe","payload":["ETH_USDT"]}
= control
> {"time":1,"id":3,"channel":"spot.book_ticker","event":"subscribe","payload":["BTC_USDT"],"result":{"status":"success"}}
= subscribed BTC/USDT
= control"#,
    );
}

#[test]
fn nothing_on_a_side_is_absent_and_not_zero() {
    check(
        "binance",
        r#"> {"u":9,"s":"BTCUSDT","b":"0.00000000","B":"0.00000000","a":"63704.01","A":"1.0"}
= bookTicker BTC/USDT: none | 63704.01 x 1 #9"#,
    );
    check(
        "okx",
        r#"> {"arg":{"channel":"bbo-tbt","instId":"BTC-USDT"},"data":[{"asks":[],"bids":[["1","2","0","2"]],"ts":"5","seqId":6}]}
= bbo-tbt BTC/USDT: 1 x 2 | none #6 at 5 ms"#,
    );
    check(
        "bybit",
        r#"> {"topic":"orderbook.1.BTCUSDT","ts":5,"type":"snapshot","data":{"s":"BTCUSDT","b":[["1","2"]],"a":[],"u":7,"seq":8},"cts":5}
= orderbook.1 BTC/USDT: 1 x 2 | none #7 at 5 ms"#,
    );
}

#[test]
fn unknown_kinds_and_fields_are_passed_over() {
    check(
        "binance",
        r#"> {"e":"somethingNew","E":1,"s":"BTCUSDT"}
= unused
> {"u":7,"s":"BTCUSDT","b":"1","B":"2","a":"3","A":"4","z":{"deep":[1]}}
= bookTicker BTC/USDT: 1 x 2 | 3 x 4 #7"#,
    );
    check(
        "okx",
        "> {\"arg\":{\"channel\":\"new\",\"instId\":\"BTC-USDT\"},\"data\":[]}\n= unused\n> {\"event\":\"new\"}\n= control",
    );
    check("bybit", "> {\"topic\":\"new.BTCUSDT\",\"data\":{}}\n= unused\n> {\"op\":\"new\"}\n= control");
}

#[test]
fn an_error_instead_of_data_is_a_refusal() {
    let said = "= refused: Invalid symbol.\n= control";
    check("binance", &format!("> {{\"code\":-1121,\"msg\":\"Invalid symbol.\",\"id\":1}}\n{said}"));
    check("binance", &format!("> {{\"error\":{{\"code\":-1121,\"msg\":\"Invalid symbol.\"}}}}\n{said}"));
}

#[test]
fn times_of_another_unit_are_the_same_time() {
    let ticker = |time: &str| {
        format!(r#"> {{"e":"24hrTicker","E":{time},"s":"ETHUSDT","c":"2","b":"1","B":"1","a":"3","A":"1"}}"#)
    };
    let said = |time: &str| {
        format!(
            "= ticker ETH/USDT: 1 x 1 | 3 x 1{time}\n= day ETH/USDT: last 2 high 0 low 0 change 0.00000000 (0.000 %) volume 0{time}"
        )
    };
    for time in ["1653812650349", "1653812650349000"] {
        check("binance", &format!("{}\n{}", ticker(time), said(" at 1653812650349 ms")));
    }
    check("binance", &format!("{}\n{}", ticker("0"), said("")));
}

/// A Binance diff depth event of the update ids `first` to `last` with a bid of size 1.
fn depth(first: u64, last: u64, bid: u64) -> String {
    format!(r#"> {{"e":"depthUpdate","E":7,"s":"BTCUSDT","U":{first},"u":{last},"b":[["{bid}","1"]],"a":[]}}"#)
}

/// A Binance REST snapshot with a bid of 100 and an ask of 200.
fn snapshot(last: u64) -> String {
    let url = "https://api.binance.com/api/v3/depth?symbol=BTCUSDT&limit=5000";
    format!(r#"@ {url}{}> {{"lastUpdateId":{last},"bids":[["100","1"]],"asks":[["200","1"]]}}"#, '\n')
}

/// A KuCoin level2 message of one number with a bid of size 1.
fn level2(sequence: u64, bid: u64) -> String {
    format!(
        r#"> {{"type":"message","topic":"/market/level2:BTC-USDT","subject":"trade.l2update","data":{{"changes":{{"asks":[],"bids":[["{bid}","1","{sequence}"]]}},"sequenceStart":{sequence},"sequenceEnd":{sequence},"symbol":"BTC-USDT","time":7}}}}"#
    )
}

/// A KuCoin REST snapshot with a bid of 100 and an ask of 200.
fn level2_snapshot(sequence: u64) -> String {
    let url = "https://api.kucoin.com/api/v1/market/orderbook/level2_100?symbol=BTC-USDT";
    format!(
        r#"@ {url}{}> {{"code":"200000","data":{{"time":7,"sequence":"{sequence}","bids":[["100","1"]],"asks":[["200","1"]]}}}}"#,
        '\n'
    )
}

/// A Coinbase level2 frame with a bid of size 1; the snapshot has an ask of 200 as well.
fn l2_data(sequence: u64, kind: &str, bid: u64) -> String {
    let update = |side: &str, price: u64| {
        format!(r#"{{"side":"{side}","event_time":"","price_level":"{price}","new_quantity":"1"}}"#)
    };
    let ask = if kind == "snapshot" { format!(",{}", update("offer", 200)) } else { String::new() };
    let updates = update("bid", bid) + &ask;
    format!(
        r#"> {{"channel":"l2_data","timestamp":"","sequence_num":{sequence},"events":[{{"type":"{kind}","product_id":"BTC-USD","updates":[{updates}]}}]}}"#
    )
}

const NOTHING: &str = "= data, nothing new";

#[test]
fn a_gap_voids_the_book_at_that_message() {
    let case = [
        &snapshot(10),
        NOTHING,
        &depth(11, 12, 101),
        "= depth BTC/USDT: 101 x 1 | 200 x 1 #12 at 7 ms",
        &depth(14, 14, 102),
        "= void BTC/USDT: Gap",
        "= error: a gap in the sequence",
        &depth(15, 15, 103),
        NOTHING,
        &snapshot(13),
        "= depth BTC/USDT: 103 x 1 | 200 x 1 #15 at 7 ms",
    ];
    check("binance", &case.join("\n"));
    let case = [
        &level2_snapshot(10),
        "= /market/level2 BTC/USDT: 100 x 1 | 200 x 1 #10 at 7 ms",
        &level2(11, 101),
        "= /market/level2 BTC/USDT: 101 x 1 | 200 x 1 #11 at 7 ms",
        &level2(13, 102),
        "= void BTC/USDT: Gap",
        "= error: a gap in the sequence",
        &level2(14, 103),
        NOTHING,
        &level2_snapshot(12),
        "= /market/level2 BTC/USDT: 103 x 1 | 200 x 1 #14 at 7 ms",
    ];
    check("kucoin", &case.join("\n"));
    let case = [
        &l2_data(0, "snapshot", 100),
        "= l2_data BTC/USD: 100 x 1 | 200 x 1",
        &l2_data(2, "update", 101),
        "= void BTC/USD: Gap",
        "= reconnect: sequence_num jumped",
        "= error: a gap in the sequence",
        &l2_data(3, "update", 102),
        NOTHING,
    ];
    check("coinbase", &case.join("\n"));
}

#[test]
fn older_and_repeated_events_are_ignored_and_an_overlap_is_joined_once() {
    let case = [
        &snapshot(10),
        NOTHING,
        &depth(5, 10, 150),
        NOTHING,
        &depth(9, 12, 101),
        "= depth BTC/USDT: 101 x 1 | 200 x 1 #12 at 7 ms",
        &depth(9, 12, 150),
        NOTHING,
        &depth(12, 13, 102),
        "= depth BTC/USDT: 102 x 1 | 200 x 1 #13 at 7 ms",
        &depth(11, 12, 150),
        NOTHING,
    ];
    check("binance", &case.join("\n"));
    let case = [
        &l2_data(5, "snapshot", 100),
        "= l2_data BTC/USD: 100 x 1 | 200 x 1",
        &l2_data(6, "update", 101),
        "= l2_data BTC/USD: 101 x 1 | 200 x 1",
        &l2_data(6, "update", 150),
        NOTHING,
        &l2_data(4, "update", 150),
        NOTHING,
        &l2_data(7, "update", 102),
        "= l2_data BTC/USD: 102 x 1 | 200 x 1",
    ];
    check("coinbase", &case.join("\n"));
}

#[test]
fn a_snapshot_older_than_the_waiting_events_is_never_applied() {
    let case = [
        &depth(20, 21, 101),
        NOTHING,
        &depth(22, 23, 102),
        NOTHING,
        &snapshot(18),
        NOTHING,
        &snapshot(20),
        "= depth BTC/USDT: 102 x 1 | 200 x 1 #23 at 7 ms",
    ];
    check("binance", &case.join("\n"));
    let case = [
        &level2(20, 101),
        NOTHING,
        &level2(21, 102),
        NOTHING,
        &level2_snapshot(18),
        NOTHING,
        &level2_snapshot(20),
        "= /market/level2 BTC/USDT: 102 x 1 | 200 x 1 #21 at 7 ms",
    ];
    check("kucoin", &case.join("\n"));
}

#[test]
fn a_broken_snapshot_is_refused_and_the_next_one_taken() {
    let broken = snapshot(20).replace("\"200\"", "\"oops\"");
    let case = [
        &depth(20, 21, 101),
        NOTHING,
        &broken,
        "= error: `asks` is not a decimal number",
        &snapshot(20),
        "= depth BTC/USDT: 101 x 1 | 200 x 1 #21 at 7 ms",
    ];
    check("binance", &case.join("\n"));
    let refused = level2_snapshot(20).replace("200000", "429000");
    let case = [
        &level2(21, 101),
        NOTHING,
        &refused,
        "= error: the venue answered with another code than 200000",
        &level2_snapshot(20),
        "= /market/level2 BTC/USDT: 101 x 1 | 200 x 1 #21 at 7 ms",
    ];
    check("kucoin", &case.join("\n"));
}

#[test]
fn a_checksum_that_does_not_hold_voids_the_book_and_asks_for_it_anew() {
    check(
        "okx",
        r#"> {"arg":{"channel":"books","instId":"BTC-USDT"},"action":"snapshot","data":[{"asks":[["3366.8","9","10","3"]],"bids":[["3366.1","7","0","3"]],"ts":"7","checksum":-2058547290}]}
= books BTC/USDT: 3366.1 x 7 | 3366.8 x 9 at 7 ms
> {"arg":{"channel":"books","instId":"BTC-USDT"},"action":"update","data":[{"asks":[],"bids":[["3366.2","7","0","3"]],"ts":"8","checksum":1}]}
= void BTC/USDT: Checksum
= request {"op":"unsubscribe","args":[{"channel":"books","instId":"BTC-USDT"}]}
= request {"op":"subscribe","args":[{"channel":"books","instId":"BTC-USDT"}]}
= error: the checksum does not agree with the book
> {"arg":{"channel":"books","instId":"BTC-USDT"},"action":"update","data":[{"asks":[],"bids":[["3366.3","7","0","3"]],"ts":"9","checksum":2}]}
= data, nothing new"#,
    );
    check(
        "kraken",
        r#"> {"channel":"book","type":"snapshot","data":[{"symbol":"ETH/BTC","bids":[{"price":0.031348,"qty":0.03740000}],"asks":[{"price":0.031357,"qty":0.03740000}],"checksum":3133072332,"timestamp":"1970-01-01T00:00:07Z"}]}
= book ETH/BTC: 0.031348 x 0.0374 | 0.031357 x 0.0374 at 7000 ms
> {"channel":"book","type":"update","data":[{"symbol":"ETH/BTC","bids":[{"price":0.031349,"qty":1.00000000}],"asks":[],"checksum":1,"timestamp":"1970-01-01T00:00:08Z"}]}
= void ETH/BTC: Checksum
= request {"method":"unsubscribe","params":{"channel":"book","symbol":["ETH/BTC"],"depth":10}}
= request {"method":"subscribe","params":{"channel":"book","symbol":["ETH/BTC"],"depth":10}}
= error: the checksum does not agree with the book
> {"channel":"book","type":"update","data":[{"symbol":"ETH/BTC","bids":[{"price":0.031350,"qty":1.00000000}],"asks":[],"checksum":2,"timestamp":"1970-01-01T00:00:09Z"}]}
= data, nothing new"#,
    );
}

#[test]
fn numbers_that_begin_anew_are_no_gap_and_void_what_was_before() {
    check(
        "bybit",
        r#"> {"topic":"orderbook.1.BTCUSDT","ts":5,"type":"snapshot","data":{"s":"BTCUSDT","b":[["1","2"]],"a":[["3","4"]],"u":9000,"seq":8},"cts":5}
= orderbook.1 BTC/USDT: 1 x 2 | 3 x 4 #9000 at 5 ms
> {"topic":"orderbook.1.BTCUSDT","ts":6,"type":"snapshot","data":{"s":"BTCUSDT","b":[["1","3"]],"a":[["3","4"]],"u":1,"seq":9},"cts":6}
= void BTC/USDT: Gap
= orderbook.1 BTC/USDT: 1 x 3 | 3 x 4 #1 at 6 ms"#,
    );
    check(
        "okx",
        r#"> {"arg":{"channel":"books","instId":"BTC-USDT"},"action":"snapshot","data":[{"asks":[["3","1","0","3"]],"bids":[["1","2","0","3"]],"ts":"7","checksum":0,"seqId":500,"prevSeqId":-1}]}
= books BTC/USDT: 1 x 2 | 3 x 1 #500 at 7 ms
> {"arg":{"channel":"books","instId":"BTC-USDT"},"action":"update","data":[{"asks":[],"bids":[],"ts":"8","checksum":0,"seqId":4,"prevSeqId":500}]}
= void BTC/USDT: Gap
= books BTC/USDT: 1 x 2 | 3 x 1 #4 at 8 ms
> {"arg":{"channel":"books","instId":"BTC-USDT"},"action":"update","data":[{"asks":[],"bids":[["2","2","0","3"]],"ts":"9","checksum":0,"seqId":5,"prevSeqId":4}]}
= books BTC/USDT: 2 x 2 | 3 x 1 #5 at 9 ms"#,
    );
}

#[test]
fn a_flood_while_a_snapshot_is_awaited_is_bounded_and_starts_the_wait_anew() {
    let mut case = String::new();
    for id in 1..=4097 {
        let _ = writeln!(case, "{}\n{NOTHING}", depth(id, id, 101));
    }
    // Nothing is left of the first 4,096 events: a snapshot that would have needed them is too old.
    let _ = writeln!(case, "{}\n{NOTHING}", snapshot(4000));
    let _ = writeln!(case, "{}\n= depth BTC/USDT: 101 x 1 | 200 x 1 #4097 at 7 ms", snapshot(4096));
    check("binance", &case);
    let mut case = String::new();
    for number in 1..=4097 {
        let _ = writeln!(case, "{}\n{NOTHING}", level2(number, 101));
    }
    let _ = writeln!(case, "{}\n{NOTHING}", level2_snapshot(4000));
    let top = "= /market/level2 BTC/USDT: 101 x 1 | 200 x 1 #4097 at 7 ms";
    let _ = writeln!(case, "{}\n{top}", level2_snapshot(4096));
    check("kucoin", &case);
}
