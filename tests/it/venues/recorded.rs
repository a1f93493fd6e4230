//! Recorded order books, read as the feed reads them: by a codec for books alone. At the end it has of each instrument all
//! the levels that a reader as simple as can be finds in the same frames.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value as Json;
use spreadwire::market::book::Side;
use spreadwire::market::{Decimal, Level};
use spreadwire::record::capture::{Capture, Direction};
use spreadwire::time::MonoNs;
use spreadwire::venues::{DecodeError, Decoded, FeedCodec, Symbols, Update, VoidReason, venue};

use super::{fixtures, single_frames};

/// Sizes by price, bids and asks.
type Sides = [BTreeMap<Decimal, Decimal>; 2];

/// What the simple reader knows.
#[derive(Default)]
struct Reader {
    books: HashMap<String, Sides>,
    /// Symbols by channel number.
    channels: HashMap<u64, String>,
}

/// A recording of a venue, and how its frames are read.
struct Recording {
    venue: &'static str,
    file: &'static str,
    read: fn(&mut Reader, &Json),
    /// Instruments that have a book at the end.
    books: usize,
}

const RECORDINGS: [Recording; 5] = [
    Recording { venue: "bitfinex", file: "bitfinex.cf-20210405.jsonl.gz", read: bitfinex, books: 8 },
    Recording { venue: "bitstamp", file: "bitstamp.cmp.jsonl", read: bitstamp, books: 1 },
    Recording { venue: "bitstamp", file: "bitstamp.rm-20261007.jsonl", read: bitstamp, books: 1 },
    Recording { venue: "cryptocom", file: "cryptocom-v2.cf-20211123.jsonl.gz", read: cryptocom, books: 5 },
    Recording { venue: "cryptocom", file: "cryptocom.rm-20261007.jsonl", read: cryptocom, books: 1 },
];

/// The number without its sign.
fn number(value: &Json) -> Decimal {
    value.to_string().trim_matches(['"', '-']).parse().unwrap()
}

fn set(side: &mut BTreeMap<Decimal, Decimal>, levels: &Json) {
    for level in levels.as_array().unwrap() {
        let (price, size) = (number(&level[0]), number(&level[1]));
        if size.is_zero() {
            side.remove(&price)
        } else {
            side.insert(price, size)
        };
    }
}

fn sides(bids: &Json, asks: &Json) -> Sides {
    let mut sides = Sides::default();
    set(&mut sides[0], bids);
    set(&mut sides[1], asks);
    sides
}

fn bitfinex(reader: &mut Reader, frame: &Json) {
    if frame["event"] == "subscribed" && frame["channel"] == "book" {
        reader.channels.insert(frame["chanId"].as_u64().unwrap(), frame["symbol"].as_str().unwrap().to_owned());
    }
    let Some(native) = frame[0].as_u64().and_then(|id| reader.channels.get(&id)) else { return };
    let Some(payload) = frame[1].as_array() else { return };
    let book = reader.books.entry(native.clone()).or_default();
    let is_whole = payload.first().is_none_or(Json::is_array);
    if is_whole {
        *book = Sides::default();
    }
    for entry in if is_whole { payload } else { std::slice::from_ref(&frame[1]) } {
        let side = &mut book[usize::from(entry[2].as_f64().unwrap() < 0.0)];
        if entry[1] == 0 {
            side.remove(&number(&entry[0]))
        } else {
            side.insert(number(&entry[0]), number(&entry[2]))
        };
    }
}

fn bitstamp(reader: &mut Reader, frame: &Json) {
    let Some(native) = frame["channel"].as_str().and_then(|it| it.strip_prefix("order_book_")) else { return };
    if frame["event"] == "data" {
        reader.books.insert(native.to_owned(), sides(&frame["data"]["bids"], &frame["data"]["asks"]));
    }
}

fn cryptocom(reader: &mut Reader, frame: &Json) {
    let result = &frame["result"];
    if result["channel"] == "book" {
        let item = result["data"].as_array().unwrap().last().unwrap();
        let native = result["instrument_name"].as_str().unwrap().to_owned();
        reader.books.insert(native, sides(&item["bids"], &item["asks"]));
    }
}

/// All levels of a codec's book of `native`, the best first.
fn held(codec: &dyn FeedCodec, native: &str) -> Option<[Vec<Level>; 2]> {
    let entry = codec.symbols().entries().iter().find(|entry| entry.native == native)?;
    let book = codec.book(entry.id)?;
    Some([Side::Bid, Side::Ask].map(|side| book.levels(side).copied().collect()))
}

fn levels(sides: &Sides) -> [Vec<Level>; 2] {
    let level = |(&price, &size): (&Decimal, &Decimal)| Level { price, size };
    [sides[0].iter().rev().map(level).collect(), sides[1].iter().map(level).collect()]
}

#[test]
fn a_recorded_book_is_held_with_all_of_its_levels() {
    for Recording { venue: name, file, read, books } in &RECORDINGS {
        let venue = venue(name).unwrap();
        let mut codec = venue.book_codec(Symbols::discovering(venue.symbol_of()), 100).unwrap();
        codec.opened(&mut Vec::new());
        let mut capture = Capture::open(&fixtures(name).join("captures").join(file)).unwrap();
        let (mut reader, mut out) = (Reader::default(), Decoded::default());
        while let Some((line, record)) = capture.next_record().unwrap() {
            let record = record.unwrap();
            if record.dir != Direction::In {
                continue;
            }
            let result = codec.decode(&record.frame, MonoNs(0), &mut out);
            assert!(result.is_ok(), "{file}:{line}: {result:?}");
            if let Ok(frame) = serde_json::from_slice(&record.frame) {
                read(&mut reader, &frame);
            }
        }
        assert!(!out.updates.iter().any(|update| matches!(update, Update::Void(..))), "{file}");
        assert!(out.updates.iter().any(|update| matches!(update, Update::Book(_))), "{file}");
        assert_eq!(reader.books.len(), *books, "{file}");
        for (native, sides) in &reader.books {
            assert_eq!(held(&*codec, native), Some(levels(sides)), "{file}: {native}");
        }
    }
}

/// Changes of 2020-07, the whole book that was asked for, and a change that does not follow.
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
    let mut sides = sides(&whole["bids"], &whole["asks"]);
    for change in frames.iter().map(|frame| &frame["tick"]) {
        if change["seqNum"].as_u64() > whole["seqNum"].as_u64() {
            set(&mut sides[0], &change["bids"]);
            set(&mut sides[1], &change["asks"]);
        }
    }
    assert!(sides[0].len() > 5 && sides[1].len() > 5, "{sides:?}");
    assert_eq!(held(&*codec, "btcusdt"), Some(levels(&sides)));

    out.clear();
    let result = codec.decode(last.to_string().as_bytes(), MonoNs(2), &mut out);
    assert_eq!(result, Err(DecodeError::Gap));
    assert!(matches!(out.updates[..], [Update::Void(_, VoidReason::Gap)]), "{:?}", out.updates);
    assert_eq!(held(&*codec, "btcusdt"), None);
    assert_eq!(out.requests, [r#"{"req":"market.btcusdt.mbp.150","id":"btcusdt.mbp.150"}"#]);
}
