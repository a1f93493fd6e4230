//! Recorded order books, read on a connection that is for order books only: after each message the best of the book is
//! what an independent decoder found, and at the end all of its levels are those of a plain map.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value as Json;
use spreadwire::market::book::Side;
use spreadwire::market::{Decimal, InstrumentId, Level};
use spreadwire::record::capture::{Capture, Direction};
use spreadwire::time::MonoNs;
use spreadwire::venues::{BookNote, DecodeError, Decoded, FeedCodec, Frame, Symbols, Update, VoidReason, venue};

use super::captures::beside;
use super::{fixtures, single_frames};

struct Recording {
    venue: &'static str,
    file: &'static str,
    /// As what is expected calls it, and as the connection asks for it.
    channel: (&'static str, &'static str),
    /// Levels that are wanted.
    levels: usize,
    /// Levels that the shortest side has at the end, at least.
    least: usize,
    /// Reads a frame for the plain map: the symbol, whether it is a whole book, and its levels.
    plain: Option<fn(&Json, &mut Channels) -> Vec<Part>>,
}

/// Symbols by the numbers that a connection gives them.
type Channels = HashMap<u64, String>;

/// Symbol, whether it is a whole book, and levels of a side.
type Part = (String, bool, Vec<(Side, Level)>);

const RECORDINGS: [Recording; 13] = [
    Recording {
        venue: "bybit",
        file: "bybit.cf-20260809.jsonl",
        channel: ("orderbook.200", "orderbook.200"),
        levels: 200,
        least: 11,
        plain: Some(bybit),
    },
    Recording {
        venue: "okx",
        file: "okx.cf-20210722a.jsonl.gz",
        channel: ("books-l2-tbt", "books"),
        levels: 20,
        least: 11,
        plain: Some(by_action),
    },
    Recording {
        venue: "okx",
        file: "okx.cf-20210722b.jsonl.gz",
        channel: ("books-l2-tbt", "books"),
        levels: 20,
        least: 11,
        plain: Some(by_action),
    },
    Recording {
        venue: "bitget",
        file: "bitget-v1.cf-20220407.jsonl.gz",
        channel: ("books", "books"),
        levels: 20,
        least: 11,
        plain: Some(by_action),
    },
    Recording {
        venue: "coinbase",
        file: "coinbase-adv.cf-20260809.jsonl.gz",
        channel: ("l2_data", "l2_data"),
        levels: 20,
        least: 11,
        plain: Some(coinbase),
    },
    Recording {
        venue: "coinbase",
        file: "coinbase-ex.cf-20210417.jsonl.gz",
        channel: ("level2", "level2"),
        levels: 20,
        least: 11,
        plain: None,
    },
    // These are cut to a depth, which their checksum would find amiss.
    Recording {
        venue: "kraken",
        file: "kraken-v1.cf-20210405.jsonl.gz",
        channel: ("book-1000", "book-1000"),
        levels: 1000,
        least: 11,
        plain: None,
    },
    Recording {
        venue: "kraken",
        file: "kraken-v2.raw-20260826.jsonl",
        channel: ("book", "book"),
        levels: 10,
        least: 11,
        plain: None,
    },
    Recording {
        venue: "bitfinex",
        file: "bitfinex.cf-20210405.jsonl.gz",
        channel: ("book", "book"),
        levels: 100,
        least: 11,
        plain: Some(bitfinex),
    },
    Recording {
        venue: "bitstamp",
        file: "bitstamp.cmp.jsonl",
        channel: ("order_book", "order_book"),
        levels: 20,
        least: 3,
        plain: Some(bitstamp),
    },
    Recording {
        venue: "bitstamp",
        file: "bitstamp.rm-20261007.jsonl",
        channel: ("order_book", "order_book"),
        levels: 20,
        least: 1,
        plain: Some(bitstamp),
    },
    Recording {
        venue: "cryptocom",
        file: "cryptocom-v2.cf-20211123.jsonl.gz",
        channel: ("book", "book"),
        levels: 50,
        least: 11,
        plain: Some(cryptocom),
    },
    Recording {
        venue: "cryptocom",
        file: "cryptocom.rm-20261007.jsonl",
        channel: ("book", "book"),
        levels: 10,
        least: 1,
        plain: Some(cryptocom),
    },
];

/// A text, or a bare number, without its sign.
fn number(value: &Json) -> Decimal {
    value.to_string().trim_matches(['"', '-']).parse().unwrap()
}

fn levels(side: Side, pairs: &Json) -> impl Iterator<Item = (Side, Level)> {
    pairs.as_array().unwrap().iter().map(move |it| (side, Level { price: number(&it[0]), size: number(&it[1]) }))
}

fn bybit(root: &Json, _: &mut Channels) -> Vec<Part> {
    let Some(symbol) = root["topic"].as_str().and_then(|topic| topic.strip_prefix("orderbook.200.")) else {
        return Vec::new();
    };
    let data = &root["data"];
    let sides = levels(Side::Bid, &data["b"]).chain(levels(Side::Ask, &data["a"]));
    vec![(symbol.to_owned(), root["type"] == "snapshot", sides.collect())]
}

fn by_action(root: &Json, _: &mut Channels) -> Vec<Part> {
    if root["arg"]["channel"] != "books" || !root["data"].is_array() {
        return Vec::new();
    }
    let symbol = root["arg"]["instId"].as_str().unwrap();
    let part = |item: &Json| {
        let sides = levels(Side::Bid, &item["bids"]).chain(levels(Side::Ask, &item["asks"]));
        (symbol.to_owned(), root["action"] == "snapshot", sides.collect())
    };
    root["data"].as_array().unwrap().iter().map(part).collect()
}

fn coinbase(root: &Json, _: &mut Channels) -> Vec<Part> {
    if root["channel"] != "l2_data" {
        return Vec::new();
    }
    let part = |event: &Json| {
        let level = |it: &Json| {
            let side = if it["side"] == "bid" { Side::Bid } else { Side::Ask };
            (side, Level { price: number(&it["price_level"]), size: number(&it["new_quantity"]) })
        };
        let sides = event["updates"].as_array().unwrap().iter().map(level).collect();
        (event["product_id"].as_str().unwrap().to_owned(), event["type"] == "snapshot", sides)
    };
    root["events"].as_array().unwrap().iter().map(part).collect()
}

fn bitfinex(root: &Json, channels: &mut Channels) -> Vec<Part> {
    if root["event"] == "subscribed" && root["channel"] == "book" {
        channels.insert(root["chanId"].as_u64().unwrap(), root["symbol"].as_str().unwrap().to_owned());
    }
    let symbol = root[0].as_u64().and_then(|id| channels.get(&id));
    let (Some(symbol), Some(payload)) = (symbol, root[1].as_array()) else { return Vec::new() };
    let is_whole = payload.first().is_none_or(Json::is_array);
    let entries = if is_whole { &payload[..] } else { std::slice::from_ref(&root[1]) };
    let level = |it: &Json| {
        let side = if it[2].as_f64().unwrap() < 0.0 { Side::Ask } else { Side::Bid };
        (side, Level { price: number(&it[0]), size: if it[1] == 0 { Decimal::ZERO } else { number(&it[2]) } })
    };
    vec![(symbol.clone(), is_whole, entries.iter().map(level).collect())]
}

fn bitstamp(root: &Json, _: &mut Channels) -> Vec<Part> {
    let symbol = root["channel"].as_str().and_then(|channel| channel.strip_prefix("order_book_"));
    let (Some(symbol), true) = (symbol, root["event"] == "data") else { return Vec::new() };
    let data = &root["data"];
    let sides = levels(Side::Bid, &data["bids"]).chain(levels(Side::Ask, &data["asks"]));
    vec![(symbol.to_owned(), true, sides.collect())]
}

fn cryptocom(root: &Json, _: &mut Channels) -> Vec<Part> {
    let result = &root["result"];
    if result["channel"] != "book" {
        return Vec::new();
    }
    let part = |item: &Json| {
        let sides = levels(Side::Bid, &item["bids"]).chain(levels(Side::Ask, &item["asks"]));
        (result["instrument_name"].as_str().unwrap().to_owned(), true, sides.collect())
    };
    result["data"].as_array().unwrap().iter().map(part).collect()
}

/// A book that is nothing but a map of each side.
#[derive(Default)]
struct Plain([BTreeMap<Decimal, Decimal>; 2]);

impl Plain {
    fn take(&mut self, is_whole: bool, levels: Vec<(Side, Level)>) {
        if is_whole {
            *self = Self::default();
        }
        for (side, Level { price, size }) in levels {
            let map = &mut self.0[side as usize];
            if size.is_zero() {
                map.remove(&price)
            } else {
                map.insert(price, size)
            };
        }
    }

    /// The best first.
    fn side(&self, side: Side) -> Vec<Level> {
        let levels = self.0[side as usize].iter().map(|(&price, &size)| Level { price, size });
        if side == Side::Bid { levels.rev().collect() } else { levels.collect() }
    }
}

fn native(codec: &dyn FeedCodec, id: InstrumentId) -> String {
    codec.symbols().entry(id).unwrap().native.clone()
}

#[test]
fn recorded_order_books_are_read_to_the_last_level() {
    for recording in &RECORDINGS {
        let Recording { venue: name, file, channel: (expected, asked), levels, least, plain } = recording;
        let venue = venue(name).unwrap();
        let path = fixtures(name).join("captures").join(file);
        let mut capture = Capture::open(&path).unwrap();
        let mut codec = venue.book_codec(Symbols::discovering(venue.symbol_of()), *levels).unwrap();
        let mut tops: HashMap<String, Vec<(Level, Level)>> = HashMap::new();
        let mut plains: HashMap<String, Plain> = HashMap::new();
        let mut channels = Channels::new();
        while let Some((line, record)) = capture.next_record().unwrap() {
            let record = record.unwrap();
            if record.dir != Direction::In {
                continue;
            }
            let text = String::from_utf8(record.frame).unwrap().replace(expected, asked);
            let mut out = Decoded::default();
            let result = codec.decode(text.as_bytes(), MonoNs(1), &mut out);
            assert!(result.is_ok(), "{file}:{line}: {result:?}");
            if let Some(read) = plain {
                for (symbol, is_whole, levels) in read(&serde_json::from_str(&text).unwrap_or_default(), &mut channels)
                {
                    plains.entry(symbol).or_default().take(is_whole, levels);
                }
            }
            for update in out.updates {
                let Update::Book(BookNote { instrument, .. }) = update else {
                    assert!(!matches!(update, Update::Void(..)), "{file}:{line}: {update:?}");
                    continue;
                };
                let book = codec.book(instrument).unwrap();
                let top = (book.best_bid(), book.best_ask());
                let told = tops.entry(native(&*codec, instrument)).or_default();
                if top.0.is_present() && top.1.is_present() && told.last() != Some(&top) {
                    told.push(top);
                }
            }
        }

        let mut meant: HashMap<String, Vec<(Level, Level)>> = HashMap::new();
        for row in beside(&path, ".expected.jsonl").unwrap().lines() {
            let row: Json = serde_json::from_str(row).unwrap();
            let number = |field: &str| -> Decimal { row[field].as_str().unwrap().parse().unwrap() };
            if row["channel"] == *expected {
                let side = |price, size| Level { price: number(price), size: number(size) };
                let top = (side("bid", "bidSize"), side("ask", "askSize"));
                meant.entry(row["native"].as_str().unwrap().to_owned()).or_default().push(top);
            }
        }
        assert!(!meant.is_empty() && tops == meant, "{file}: the tops of the books");

        let ids: Vec<InstrumentId> = codec.symbols().entries().iter().map(|entry| entry.id).collect();
        for id in ids.into_iter().filter(|id| plain.is_some() && codec.book(*id).is_some()) {
            let symbol = native(&*codec, id);
            let plain = plains.remove(&symbol).unwrap();
            for side in [Side::Bid, Side::Ask] {
                let held: Vec<Level> = codec.book(id).unwrap().levels(side).copied().collect();
                assert_eq!(held, plain.side(side), "{file}: {symbol} {side:?}");
                assert!(held.len() >= *least, "{file}: {symbol} has {} levels", held.len());
            }
        }
        assert!(plains.is_empty(), "{file}: not read: {:?}", plains.keys());
    }
}

/// As the venue sent them in 2025-08, levels cut by who recorded them: tardis-dev/tardis-node test/mappers.test.ts.
#[test]
fn a_recorded_book_of_gate_is_taken_and_void_with_the_next_that_does_not_follow() {
    const FRAMES: [&str; 2] = [
        r#"{"channel":"spot.obu","result":{"t":1754006400261,"full":true,"s":"ob.BTC_USDT.400","u":25847113075,"b":[["115765.1","0.337839"],["115764.2","0.005"],["115763.3","0.004365"]],"a":[["115765.2","0.631155"],["115765.9","0.001534"],["115769.4","0.005014"]]},"time_ms":1754006400264,"event":"update"}"#,
        r#"{"channel":"spot.obu","result":{"t":1754006460600,"s":"ob.BTC_USDT.400","u":25847129996,"U":25847129970,"b":[["115576.7","0.050772"]],"a":[["115731.3","0.687304"]]},"time_ms":1754006460601,"event":"update"}"#,
    ];
    let venue = venue("gateio").unwrap();
    let mut codec = venue.book_codec(Symbols::discovering(venue.symbol_of()), 51).unwrap();
    let mut out = Decoded::default();
    assert_eq!(codec.decode(FRAMES[0].as_bytes(), MonoNs(1), &mut out), Ok(Frame::Data));
    let id = InstrumentId(0);
    let worst = *codec.book(id).unwrap().levels(Side::Ask).nth(2).unwrap();
    assert_eq!((worst.price, worst.size), ("115769.4".parse().unwrap(), "0.005014".parse().unwrap()));
    assert!(codec.decode(FRAMES[1].as_bytes(), MonoNs(2), &mut out).is_err());
    assert!(codec.book(id).is_none());
    assert!(out.requests.iter().all(|request| request.contains(r#"["ob.BTC_USDT.400"]"#)) && out.requests.len() == 2);
}

/// Changes of 2020-07, the whole book that was asked for, and a change that does not follow: tardis-dev/tardis-node
/// test/mappers.test.ts.
#[test]
fn the_recorded_changes_of_htx_are_joined_to_the_whole_book_that_was_asked_for() {
    let venue = venue("htx").unwrap();
    let mut codec = venue.book_codec(Symbols::discovering(venue.symbol_of()), 20).unwrap();
    let frames: Vec<Json> =
        single_frames("htx").iter().filter_map(|frame| serde_json::from_slice(frame).ok()).collect();
    let is_meant = |it: &&Json| it["ch"] == "market.btcusdt.mbp.150" || it["rep"] == "market.btcusdt.mbp.150";
    let frames: Vec<&Json> = frames.iter().filter(is_meant).take(6).collect();
    let (last, frames) = frames.split_last().unwrap();
    let mut out = Decoded::default();
    for frame in frames {
        codec.decode(frame.to_string().as_bytes(), MonoNs(1), &mut out).unwrap();
    }
    let whole = &frames.last().unwrap()["data"];
    let sides = |part: &Json| -> Vec<(Side, Level)> {
        levels(Side::Bid, &part["bids"]).chain(levels(Side::Ask, &part["asks"])).collect()
    };
    let mut plain = Plain::default();
    plain.take(true, sides(whole));
    for change in frames.iter().map(|frame| &frame["tick"]) {
        if change["seqNum"].as_u64() > whole["seqNum"].as_u64() {
            plain.take(false, sides(change));
        }
    }
    for side in [Side::Bid, Side::Ask] {
        let held: Vec<Level> = codec.book(InstrumentId(0)).unwrap().levels(side).copied().collect();
        assert_eq!(held, plain.side(side), "{side:?}");
        assert!(held.len() > 5, "{side:?}: {} levels", held.len());
    }

    out.clear();
    let result = codec.decode(last.to_string().as_bytes(), MonoNs(2), &mut out);
    assert_eq!(result, Err(DecodeError::Gap));
    assert_eq!(out.updates, [Update::Void(InstrumentId(0), VoidReason::Gap)]);
    assert!(codec.book(InstrumentId(0)).is_none());
    assert_eq!(out.requests, [r#"{"req":"market.btcusdt.mbp.150","id":"btcusdt.mbp.150"}"#]);
}
