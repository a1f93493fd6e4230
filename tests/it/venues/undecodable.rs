//! A frame that holds the whole top of an instrument, or a change of its book, and that cannot be read: what was quoted
//! before does not hold any more. Every fixture of every venue is damaged in each of the numbers of its top.

use std::collections::BTreeSet;

use spreadwire::market::{Decimal, InstrumentId, Level};
use spreadwire::time::MonoNs;
use spreadwire::venues::{Decoded, FeedCodec, Symbols, Top, Update, VENUES, Venue, VoidReason};
use spreadwire::wire::protobuf::{Field, Fields, Writer};

use super::captures::captures;
use super::frames::check;
use super::{is_json, recorded_frames, single_frames};

/// Frames of one recording that are looked at, and their bytes.
const FRAMES_MAX: usize = 60;
const BYTES_MAX: usize = 64 * 1024;
/// Frames of one channel that are damaged in each recording.
const OF_A_CHANNEL: usize = 2;

/// A part of a JSON text: a value, and what to cut out to remove it.
#[derive(Clone, Debug)]
struct Part {
    value: std::ops::Range<usize>,
    whole: std::ops::Range<usize>,
}

/// All values of a JSON text, the outer ones first.
fn parts(text: &str) -> Vec<Part> {
    let mut found = Vec::new();
    walk(text.as_bytes(), 0, 0, &mut found);
    found
}

/// Notes the value at `at`, whose member begins at `from`; gives where it ends.
fn walk(text: &[u8], from: usize, at: usize, found: &mut Vec<Part>) -> usize {
    let place = found.len();
    found.push(Part { value: at..at, whole: from..at });
    let mut end = at + 1;
    match text[at] {
        b'"' => end = string_end(text, at),
        open @ (b'{' | b'[') => loop {
            while text[end] == b',' || text[end].is_ascii_whitespace() {
                end += 1;
            }
            if matches!(text[end], b'}' | b']') {
                end += 1;
                break;
            }
            let (member, mut value) = (end, end);
            if open == b'{' {
                value = string_end(text, end);
                while text[value] == b':' || text[value].is_ascii_whitespace() {
                    value += 1;
                }
            }
            end = walk(text, member, value, found);
        },
        _ => {
            while end < text.len() && !b",]} \n".contains(&text[end]) {
                end += 1;
            }
        }
    }
    found[place].value.end = end;
    found[place].whole.end = end;
    end
}

fn string_end(text: &[u8], at: usize) -> usize {
    let mut end = at + 1;
    while text[end] != b'"' {
        end += if text[end] == b'\\' { 2 } else { 1 };
    }
    end + 1
}

/// The text without a part, and without the comma that parted it from another.
fn without(text: &str, part: &Part) -> String {
    let (head, tail) = (&text[..part.whole.start], &text[part.whole.end..]);
    match tail.trim_start().strip_prefix(',') {
        Some(tail) => head.to_owned() + tail,
        None => head.trim_end().trim_end_matches(',').to_owned() + tail,
    }
}

/// The tops that `updates` end with for `instrument`: `None` when nothing was said of it, absent sides when it is void.
fn said(updates: &[Update], instrument: InstrumentId) -> Option<(Level, Level)> {
    updates.iter().rev().find_map(|update| match update {
        Update::Top(top) if top.instrument == instrument => Some((top.bid, top.ask)),
        Update::Void(id, _) if *id == instrument => Some((Level::ABSENT, Level::ABSENT)),
        _ => None,
    })
}

/// A codec that has read `frames`; gives what the last one meant.
fn after(venue: &dyn Venue, frames: &[&[u8]]) -> (Box<dyn FeedCodec>, Decoded, bool) {
    let mut codec = venue.codec(Symbols::discovering(venue.symbol_of()));
    let mut out = Decoded::default();
    codec.opened(&mut out.requests);
    let mut is_ok = true;
    for frame in frames {
        out.clear();
        is_ok = codec.decode(frame, MonoNs(0), &mut out).is_ok();
    }
    (codec, out, is_ok)
}

fn tops(out: &Decoded) -> Vec<Top> {
    out.updates.iter().filter_map(|update| if let Update::Top(top) = update { Some(*top) } else { None }).collect()
}

/// Whether frame `at` says its top by itself, without the data before it.
fn is_whole(venue: &dyn Venue, frames: &[Vec<u8>], at: usize, top: &Top) -> bool {
    let mut codec = venue.codec(Symbols::discovering(venue.symbol_of()));
    let mut out = Decoded::default();
    codec.opened(&mut out.requests);
    for frame in &frames[..at] {
        // What only says that something was subscribed to.
        let is_control = after(venue, &[frame]).1.updates.iter().all(|it| matches!(it, Update::Subscribed(_)));
        if is_control && frame.len() < 500 {
            let _ = codec.decode(frame, MonoNs(0), &mut out);
        }
    }
    out.clear();
    let _ = codec.decode(&frames[at], MonoNs(0), &mut out);
    tops(&out).iter().any(|it| (it.bid, it.ask) == (top.bid, top.ask))
}

/// All damaged forms of a JSON frame in what its top is made of, with a word on each.
fn damaged(text: &str, top: &Top, native: &str, whole: bool) -> Vec<(String, &'static str)> {
    let numbers = [top.bid.price, top.bid.size, top.ask.price, top.ask.size];
    let is_number = |value: &str| {
        let digits = value.trim_matches('"').trim_start_matches('-');
        Decimal::parse(digits.as_bytes()).is_ok_and(|it| !it.is_zero() && numbers.contains(&it))
    };
    let all = parts(text);
    let leaves: Vec<&Part> = all.iter().filter(|it| is_number(&text[it.value.clone()])).collect();
    let mut forms = Vec::new();
    for part in &all {
        let value = &text[part.value.clone()];
        let is_leaf = is_number(value);
        let holds = leaves.iter().any(|leaf| part.value.start < leaf.value.start && leaf.value.end < part.value.end);
        let is_container = whole && holds && part.value.start > 0;
        if !is_leaf && !is_container {
            continue;
        }
        let long = format!("\"{}\"", "9".repeat(400));
        let mut other = vec![
            ("null", "null"),
            ("\"\"", "an empty text"),
            ("\"abc\"", "a text"),
            ("{}", "an empty object"),
            ("{\"a\":[1]}", "an object"),
            ("true", "true"),
            ("\"-1\"", "below zero"),
            ("1e400", "overflowing"),
            ("NaN", "no JSON"),
            (long.as_str(), "400 digits"),
            ("\"10208471007628153904000000.00000000000001\"", "beyond 128 bits"),
        ];
        if is_container {
            other.push(("[]", "an empty list"));
        }
        for (instead, word) in other {
            forms.push((format!("{}{instead}{}", &text[..part.value.start], &text[part.value.end..]), word));
        }
        // Without a member that names the instrument, it may be another kind of message.
        if whole && !(is_container && names(value, native)) {
            forms.push((without(text, part), "removed"));
        }
    }
    forms
}

fn names(text: &str, native: &str) -> bool {
    text.to_lowercase().contains(&native.to_lowercase())
}

/// The same of a protobuf frame: the fields of the body, one level deep.
fn damaged_bytes(frame: &[u8], top: &Top) -> Vec<Vec<u8>> {
    let numbers = [top.bid.price, top.bid.size, top.ask.price, top.ask.size];
    let is_number = |text: &[u8]| Decimal::parse(text).is_ok_and(|it| !it.is_zero() && numbers.contains(&it));
    let outer: Vec<(u32, Field<'_>)> = Fields::new(frame).map(|field| field.unwrap()).collect();
    let copy = |writer: Writer, number: u32, field: Field<'_>| match field {
        Field::Bytes(bytes) => writer.bytes(number, bytes),
        Field::Varint(value) => writer.integer(number, value),
        Field::Fixed64(_) | Field::Fixed32(_) => writer,
    };
    let with_body = |body: &[u8]| {
        let write = |writer, &(number, field): &(u32, Field<'_>)| match number {
            301..=315 => Writer::bytes(writer, number, body),
            _ => copy(writer, number, field),
        };
        outer.iter().fold(Writer::default(), write).finish()
    };
    let Some((_, Field::Bytes(body))) = outer.iter().find(|(number, _)| (301..=315).contains(number)) else {
        return Vec::new();
    };
    let mut forms = vec![with_body(&body[..body.len() - 1]), with_body(&[0xff; 11])];
    let Ok(fields) = Fields::new(body).collect::<Result<Vec<_>, _>>() else { return forms };
    for at in 0..fields.len() {
        let Field::Bytes(text) = fields[at].1 else { continue };
        if !is_number(text) {
            continue;
        }
        let long = "9".repeat(400);
        let others = [Some("".as_bytes()), Some(b"abc"), Some(b"-1"), Some(long.as_bytes()), Some(b"1e400"), None];
        for instead in others {
            let write = |writer, (place, &(number, field)): (usize, &(u32, Field<'_>))| match instead {
                Some(text) if place == at => Writer::bytes(writer, number, text),
                None if place == at => Writer::integer(writer, number, 7),
                _ => copy(writer, number, field),
            };
            forms.push(with_body(&fields.iter().enumerate().fold(Writer::default(), write).finish()));
        }
    }
    forms
}

#[test]
fn a_frame_of_a_top_that_cannot_be_read_voids_the_top() {
    let mut channels = BTreeSet::new();
    let mut forms = 0;
    let mut wrong = Vec::new();
    for &venue in VENUES {
        let name = venue.facts().name;
        let recordings = captures(name).into_iter().map(|path| recorded_frames(&path, FRAMES_MAX));
        for mut frames in recordings.chain([single_frames(name)]) {
            let mut bytes = 0;
            frames.retain(|frame| {
                bytes += frame.len();
                bytes <= BYTES_MAX
            });
            let mut seen: Vec<&'static str> = Vec::new();
            for at in 0..frames.len() {
                let before: Vec<&[u8]> = frames[..=at].iter().map(Vec::as_slice).collect();
                if String::from_utf8_lossy(&frames[at]).contains("\"rep\":") {
                    // An answer that was asked for: without it the changes go on.
                    continue;
                }
                let (codec, out, _) = after(venue, &before);
                for top in tops(&out) {
                    let is_enough = seen.iter().filter(|channel| **channel == top.channel).count() >= OF_A_CHANNEL;
                    if is_enough || !top.bid.is_present() || !top.ask.is_present() {
                        continue;
                    }
                    seen.push(top.channel);
                    let native = codec.symbols().entry(top.instrument).unwrap().native.clone();
                    let whole = is_whole(venue, &frames, at, &top);
                    let changed: Vec<(Vec<u8>, &str)> = match std::str::from_utf8(&frames[at]) {
                        Ok(text) if is_json(&frames[at]) => {
                            let damaged = damaged(text.trim(), &top, &native, whole);
                            damaged.into_iter().map(|(text, word)| (text.into_bytes(), word)).collect()
                        }
                        _ if name == "mexc" => {
                            damaged_bytes(&frames[at], &top).into_iter().map(|bytes| (bytes, "protobuf")).collect()
                        }
                        _ => Vec::new(),
                    };
                    for (frame, word) in changed {
                        // There a sign is a side.
                        if (name, word) == ("bitfinex", "below zero") {
                            continue;
                        }
                        let is_named = name == "bitfinex" || names(&String::from_utf8_lossy(&frame), &native);
                        if !is_named {
                            continue;
                        }
                        let mut frames = before.clone();
                        *frames.last_mut().unwrap() = &frame;
                        let (codec, out, _) = after(venue, &frames);
                        if codec.symbols().entry(top.instrument).is_none_or(|entry| entry.native != native) {
                            // Nobody has asked for it.
                            continue;
                        }
                        forms += 1;
                        channels.insert((name, top.channel));
                        let mut now = said(&out.updates, top.instrument);
                        if now.is_none() {
                            // An instrument that was not quoted needs no void: after the good frame it is quoted.
                            frames.insert(at, before[at]);
                            now = said(&after(venue, &frames).1.updates, top.instrument);
                            // A message that repeats the connection's number is not read.
                            if now.is_none() && ["bitfinex", "coinbase"].contains(&name) {
                                continue;
                            }
                        }
                        let is_void = now.is_some_and(|(bid, ask)| !bid.is_present() || !ask.is_present());
                        // Without one of its levels it is another book.
                        let is_other = word == "removed" && now.is_some();
                        if !is_void && !is_other && now != Some((top.bid, top.ask)) {
                            let shown = String::from_utf8_lossy(&frame).into_owned();
                            wrong.push(format!("{name} {} ({word}): {now:?}: {shown:.600}", top.channel));
                        }
                    }
                }
            }
        }
    }
    let mut one_of_each = wrong.clone();
    one_of_each.dedup_by_key(|line| line.split(':').next().map(str::to_owned));
    assert!(wrong.is_empty(), "{} of {forms}:\n{}", wrong.len(), one_of_each.join("\n"));
    assert!(forms > 2000, "{forms} damaged frames");
    for &venue in VENUES {
        let name = venue.facts().name;
        assert!(channels.iter().any(|(of, _)| *of == name), "{name}: no frame was damaged");
    }
}

#[test]
fn of_several_instruments_in_a_frame_only_the_one_that_cannot_be_read_is_void() {
    check(
        "kraken",
        r#"> {"channel":"ticker","type":"update","data":[{"symbol":"BTC/USD","bid":null,"bid_qty":2,"ask":3,"ask_qty":4},{"symbol":"ETH/USD","bid":1,"bid_qty":2,"ask":3,"ask_qty":4}]}
= void BTC/USD: Undecodable
= ticker ETH/USD: 1 x 2 | 3 x 4
= error: `bid` is missing or of another type"#,
    );
    check(
        "upbit",
        r#"> [{"type":"orderbook","code":"KRW-BTC","timestamp":5,"orderbook_units":[{"ask_price":3,"bid_price":"x","ask_size":1,"bid_size":1}]},{"type":"orderbook","code":"KRW-ETH","timestamp":5,"orderbook_units":[{"ask_price":3,"bid_price":2,"ask_size":1,"bid_size":1}]}]
= void BTC/KRW: Undecodable
= subscribed ETH/KRW
= orderbook ETH/KRW: 2 x 1 | 3 x 1 at 5 ms
= error: `bid_price` is not a decimal number"#,
    );
    check(
        "coinbase",
        r#"> {"channel":"ticker","timestamp":"","sequence_num":0,"events":[{"type":"update","tickers":[{"product_id":"BTC-USD","best_bid":"1","best_bid_quantity":"1","best_ask":null,"best_ask_quantity":"1"},{"product_id":"ETH-USD","best_bid":"1","best_bid_quantity":"1","best_ask":"2","best_ask_quantity":"1"}]}]}
= void BTC/USD: Undecodable
= ticker ETH/USD: 1 x 1 | 2 x 1
= error: `best_ask` is missing or of another type
> {"channel":"l2_data","timestamp":"","sequence_num":1,"events":[{"type":"snapshot","product_id":"BTC-USD","updates":[{"side":"bid","event_time":"","price_level":"1","new_quantity":"1"},{"side":"offer","event_time":"","price_level":"2","new_quantity":"1"}]}]}
= l2_data BTC/USD: 1 x 1 | 2 x 1
> {"channel":"l2_data","timestamp":"","sequence_num":2,"events":[{"type":"update","product_id":"BTC-USD","updates":[{"side":"bid","event_time":"","price_level":"1.5","new_quantity":"1e99"}]},{"type":"snapshot","product_id":"ETH-USD","updates":[{"side":"bid","event_time":"","price_level":"3","new_quantity":"1"},{"side":"offer","event_time":"","price_level":"4","new_quantity":"1"}]}]}
= void BTC/USD: Undecodable
= l2_data ETH/USD: 3 x 1 | 4 x 1
= request {"type":"unsubscribe","product_ids":["BTC-USD"],"channel":"level2"}
= request {"type":"subscribe","product_ids":["BTC-USD"],"channel":"level2"}
= error: `new_quantity` is more digits than 19"#,
    );
    check(
        "binance",
        r#"> [{"e":"24hrTicker","E":5,"s":"BTCUSDT","b":"1","B":"1","a":"-3","A":"1"},{"e":"24hrTicker","E":5,"s":"ETHUSDT","b":"1","B":"1","a":"3","A":"1"}]
= void BTC/USDT: Undecodable
= !ticker@arr ETH/USDT: 1 x 1 | 3 x 1 at 5 ms
= day ETH/USDT: last 0 high 0 low 0 change 0.00000000 (0.000 %) volume 0 at 5 ms
= error: `a` is a number below zero"#,
    );
}

#[test]
fn an_instrument_that_is_only_named_by_the_topic_is_void_too() {
    check(
        "binance",
        r#"> {"stream":"btcusdt@bookTicker","data":{"u":1,"s":"BTCUSDT","b":"1","B":"2","a":"3","A":"4"}}
= bookTicker BTC/USDT: 1 x 2 | 3 x 4 #1
> {"stream":"btcusdt@bookTicker","data":null}
= void BTC/USDT: Undecodable
= error: `data` is missing or of another type
> {"u":2,"s":"BTCUSDT","b":NaN,"B":"2","a":"3","A":"4"}
= void BTC/USDT: Undecodable
= error: not JSON, or nested too deep"#,
    );
    for (venue, topic) in [
        ("okx", r#"{"arg":{"channel":"bbo-tbt","instId":"BTC-USDT"},"data":[]}"#),
        ("okx", r#"{"arg":{"channel":"books5","instId":"BTC-USDT"},"data":null}"#),
        ("bybit", r#"{"topic":"orderbook.1.BTCUSDT","ts":5,"type":"snapshot","data":null,"cts":5}"#),
        ("kucoin", r#"{"type":"message","topic":"/spotMarket/level1:BTC-USDT","subject":"level1","data":null}"#),
        (
            "bitget",
            r#"{"action":"snapshot","arg":{"instType":"SPOT","channel":"books1","instId":"BTCUSDT"},"data":[]}"#,
        ),
        ("htx", r#"{"ch":"market.btcusdt.bbo","ts":1,"tick":null}"#),
        (
            "cryptocom",
            r#"{"id":-1,"method":"subscribe","code":0,"result":{"instrument_name":"BTC_USDT","subscription":"book.BTC_USDT.10","channel":"book","depth":10,"data":[]}}"#,
        ),
        (
            "cryptocom",
            r#"{"id":-1,"method":"subscribe","code":0,"result":{"instrument_name":"BTC_USDT","subscription":"ticker.BTC_USDT","channel":"ticker","data":[]}}"#,
        ),
        (
            "cryptocom",
            r#"{"id":-1,"method":"subscribe","code":0,"result":{"instrument_name":"BTC_USDT","subscription":"book.BTC_USDT.10","channel":"book.update","depth":10,"data":[]}}"#,
        ),
        ("okx", r#"{"arg":{"channel":"tickers","instId":"BTC-USDT"},"data":[]}"#),
        ("okx", r#"{"arg":{"channel":"books","instId":"BTC-USDT"},"action":"update","data":[]}"#),
        (
            "bitget",
            r#"{"action":"snapshot","arg":{"instType":"SPOT","channel":"ticker","instId":"BTCUSDT"},"data":[]}"#,
        ),
        ("bitget", r#"{"action":"update","arg":{"instType":"SPOT","channel":"books","instId":"BTCUSDT"},"data":[]}"#),
        ("bitstamp", r#"{"event":"data","channel":"order_book_btcusd","data":null}"#),
        ("bitstamp", r#"{"event":"data","channel":"order_book_btcusd","data":{}}"#),
        ("bybit", r#"{"topic":"orderbook.1.BTCUSDT","ts":5,"type":"snapshot","data":{},"cts":5}"#),
        ("kucoin", r#"{"type":"message","topic":"/spotMarket/level1:BTC-USDT","subject":"level1","data":{}}"#),
        ("htx", r#"{"ch":"market.btcusdt.bbo","ts":1,"tick":{}}"#),
        ("gemini", r#"{"s":"btcusd","b":"1","B":"1","a":{},"A":"1"}"#),
        (
            "gateio",
            r#"{"time":1,"channel":"spot.order_book","event":"update","result":{"s":"BTC_USDT","bids":null,"asks":[]}}"#,
        ),
    ] {
        let said = after(spreadwire::venues::venue(venue).unwrap(), &[topic.as_bytes()]).1;
        assert!(matches!(said.updates[..], [Update::Void(_, VoidReason::Undecodable)]), "{venue}: {:?}", said.updates);
    }
}

#[test]
fn an_instrument_that_is_named_behind_a_hundred_levels_is_void_too() {
    let levels = |price| vec![format!(r#"["{price}.00000000","1.00000000"]"#); 100].join(",");
    let frame = |size: &str| {
        let [bids, asks] = [levels(41), levels(42)];
        format!(
            r#"{{"data":{{"timestamp":"5","microtimestamp":"5000000","bids":[["41.5",{size}],{bids}],"asks":[{asks}]}},"channel":"order_book_btcusd","event":"data"}}"#
        )
    };
    let [good, bad] = [frame(r#""1""#), frame("NaN")];
    let (_, said, is_ok) = after(spreadwire::venues::venue("bitstamp").unwrap(), &[good.as_bytes(), bad.as_bytes()]);
    assert!(!is_ok);
    assert!(matches!(said.updates[..], [Update::Void(_, VoidReason::Undecodable)]), "{:?}", said.updates);
}

#[test]
fn a_change_that_may_be_of_any_book_voids_them_all() {
    check(
        "coinbase",
        r#"> {"channel":"l2_data","timestamp":"","sequence_num":0,"events":[{"type":"snapshot","product_id":"BTC-USD","updates":[{"side":"bid","event_time":"","price_level":"1","new_quantity":"1"},{"side":"offer","event_time":"","price_level":"2","new_quantity":"1"}]}]}
= l2_data BTC/USD: 1 x 1 | 2 x 1
> {"channel":"l2_data","timestamp":"","sequence_num":1,"events":[{"type":"update","updates":[{"side":"bid","event_time":"","price_level":"1","new_quantity":"0"}]}]}
= void BTC/USD: Gap
= reconnect: a change of a book names no product
= error: `product_id` is missing or of another type
> {"channel":"l2_data","timestamp":"","sequence_num":2,"events":[{"type":"snapshot","product_id":"BTC-USD","updates":[{"side":"bid","event_time":"","price_level":"1","new_quantity":"1"},{"side":"offer","event_time":"","price_level":"3","new_quantity":"1"}]}]}
= l2_data BTC/USD: 1 x 1 | 3 x 1
> {"channel":"l2_data","timestamp":"","sequence_num":3,"events":null}
= void BTC/USD: Gap
= reconnect: a change of a book names no product
= error: `events` is missing or of another type"#,
    );
}
