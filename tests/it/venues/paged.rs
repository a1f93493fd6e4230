//! Recorded order books through the codecs for books, against the same recordings put together here in the plainest
//! way: a map a side, the page, then every change behind it.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value as Json;
use spreadwire::market::book::{Book, Side};
use spreadwire::market::{Decimal, InstrumentId, Level};
use spreadwire::record::capture::{Capture, Direction, Record};
use spreadwire::time::MonoNs;
use spreadwire::venues::{Decoded, FeedCodec, SymbolEntry, Symbols, Update, venue};

use super::fixtures;

const LEVELS: usize = 20;

/// What a recorded frame says of one book.
struct Said {
    native: String,
    is_page: bool,
    number: u64,
    levels: Vec<(Side, Level)>,
}

/// A book as the plainest reader has it.
#[derive(Default)]
struct Plain {
    /// The last number; `None` before the page.
    number: Option<u64>,
    bids: BTreeMap<Decimal, Level>,
    asks: BTreeMap<Decimal, Level>,
    waiting: Vec<Said>,
}

impl Plain {
    fn take(&mut self, said: Said) {
        if said.is_page {
            (self.bids, self.asks) = Default::default();
            self.number = Some(said.number);
            self.set(&said);
            std::mem::take(&mut self.waiting).into_iter().for_each(|said| self.take(said));
        } else if self.number.is_none() {
            self.waiting.push(said);
        } else if self.number < Some(said.number) {
            self.number = Some(said.number);
            self.set(&said);
        }
    }

    fn set(&mut self, said: &Said) {
        for (side, level) in &said.levels {
            let levels = if *side == Side::Bid { &mut self.bids } else { &mut self.asks };
            match level.size.is_zero() {
                true => levels.remove(&level.price),
                false => levels.insert(level.price, *level),
            };
        }
    }

    fn levels(&self, side: Side) -> Vec<Level> {
        match side {
            Side::Bid => self.bids.values().rev().copied().collect(),
            Side::Ask => self.asks.values().copied().collect(),
        }
    }
}

fn number(value: &Json) -> u64 {
    value.as_u64().or_else(|| value.as_str()?.parse().ok()).unwrap()
}

fn decimal(value: &Json) -> Decimal {
    value.as_str().unwrap().parse().unwrap()
}

/// Levels as `[price, size, …]`.
fn rows(side: Side, rows: &Json) -> Vec<(Side, Level)> {
    let level = |row: &Json| Level { price: decimal(&row[0]), size: decimal(&row[1]) };
    rows.as_array().unwrap().iter().map(|row| (side, level(row))).collect()
}

fn both(bids: &Json, asks: &Json) -> Vec<(Side, Level)> {
    [rows(Side::Bid, bids), rows(Side::Ask, asks)].concat()
}

fn symbol_of_page(record: &Record) -> String {
    let (_, rest) = record.url.split_once("symbol=").unwrap();
    rest.split('&').next().unwrap().to_owned()
}

fn binance(record: &Record) -> Option<Said> {
    let root: Json = serde_json::from_slice(&record.frame).ok()?;
    if record.dir == Direction::Http {
        let levels = both(root.get("bids")?, &root["asks"]);
        let (native, number) = (symbol_of_page(record), number(&root["lastUpdateId"]));
        return Some(Said { native, is_page: true, number, levels });
    }
    let data = root.get("data").unwrap_or(&root);
    let native = data.get("s").filter(|_| data["e"] == "depthUpdate")?.as_str()?.to_owned();
    Some(Said { native, is_page: false, number: number(&data["u"]), levels: both(&data["b"], &data["a"]) })
}

fn kucoin(record: &Record) -> Option<Said> {
    let root: Json = serde_json::from_slice(&record.frame).ok()?;
    let data = root.get("data")?;
    if record.dir == Direction::Http {
        let levels = both(data.get("bids")?, &data["asks"]);
        let (native, number) = (symbol_of_page(record), number(&data["sequence"]));
        return Some(Said { native, is_page: true, number, levels });
    }
    let native = root["topic"].as_str()?.strip_prefix("/market/level2:")?.to_owned();
    let changes = &data["changes"];
    let mut numbered: Vec<_> = [(Side::Bid, "bids"), (Side::Ask, "asks")]
        .into_iter()
        .flat_map(|(side, field)| {
            let numbers = changes[field].as_array().unwrap().iter().map(|row| number(&row[2]));
            numbers.zip(rows(side, &changes[field]))
        })
        .collect();
    numbered.sort_by_key(|(number, _)| *number);
    let levels = numbered.into_iter().map(|(_, level)| level).filter(|(_, level)| !level.price.is_zero()).collect();
    Some(Said { native, is_page: false, number: number(&data["sequenceEnd"]), levels })
}

/// Every message is a whole book, in the short format.
fn upbit(record: &Record) -> Option<Said> {
    let root: Json = serde_json::from_slice(&record.frame).ok()?;
    let native = root.get("cd").filter(|_| root["ty"] == "orderbook")?.as_str()?.to_owned();
    let text = |number: &Json| number.as_f64().unwrap().to_string().parse().unwrap();
    let level = |unit: &Json, [price, size]: [&str; 2]| Level { price: text(&unit[price]), size: text(&unit[size]) };
    let units = root["obu"].as_array()?.iter();
    let sides = units.flat_map(|unit| {
        let bid = (Side::Bid, level(unit, ["bp", "bs"]));
        [bid, (Side::Ask, level(unit, ["ap", "as"]))]
    });
    let levels = sides.filter(|(_, level)| level.is_present()).collect();
    Some(Said { native, is_page: true, number: number(&root["tms"]), levels })
}

/// Reads a recording both ways; gives how many times a book was compared, and how many books there are at the end.
fn check(name: &str, file: &str, read: fn(&Record) -> Option<Said>) -> (usize, usize) {
    let venue = venue(name).unwrap();
    let mut capture = Capture::open(&fixtures(name).join("captures").join(file)).unwrap();
    let mut codec = venue.book_codec(Symbols::discovering(venue.symbol_of()), LEVELS).unwrap();
    let mut plain: HashMap<String, Plain> = HashMap::new();
    let mut compared = 0;
    while let Some((line, record)) = capture.next_record().unwrap() {
        let record = record.unwrap();
        let mut out = Decoded::default();
        let result = match record.dir {
            Direction::In => codec.decode(&record.frame, MonoNs(1), &mut out),
            Direction::Http => codec.snapshot(&record.url, &record.frame, &mut out),
            Direction::Connect | Direction::Out => continue,
        };
        assert!(result.is_ok(), "{file}:{line}: {result:?}");
        if let Some(said) = read(&record) {
            plain.entry(said.native.clone()).or_default().take(said);
        }
        for update in out.updates {
            match update {
                Update::Book(note) => {
                    let entry = codec.symbols().entry(note.instrument).unwrap();
                    let held = codec.book(note.instrument).unwrap();
                    compare(held, &plain[&entry.native], &format!("{file}:{line}: {}", entry.native));
                    compared += 1;
                }
                Update::Void(..) => panic!("{file}:{line}: {update:?}"),
                _ => {}
            }
        }
    }
    (compared, plain.keys().filter(|native| book_of(&*codec, native).is_some()).count())
}

fn book_of<'a>(codec: &'a dyn FeedCodec, native: &str) -> Option<&'a Book> {
    let entry = codec.symbols().entries().iter().find(|entry| entry.native == native)?;
    codec.book(entry.id)
}

/// What is held is the best of what is meant, and as much as was asked for where there is as much.
fn compare(held: &Book, plain: &Plain, at: &str) {
    for side in [Side::Bid, Side::Ask] {
        let meant = plain.levels(side);
        let held: Vec<Level> = held.levels(side).copied().collect();
        assert!(held.len() >= LEVELS.min(meant.len()), "{at}: {} levels of {}", held.len(), meant.len());
        assert_eq!(held, meant[..held.len()], "{at} {side:?}");
    }
}

#[test]
fn recorded_order_books_are_those_of_the_plainest_reader_at_every_level() {
    for (name, file, read, books) in [
        ("binance", "binance.cf-20210405.jsonl.gz", binance as fn(&Record) -> Option<Said>, 10),
        ("binance", "binance.cf-20211012.jsonl.gz", binance, 4),
        ("binanceus", "binanceus.cf-20210405.jsonl.gz", binance, 10),
        ("binanceus", "binanceus.cf-20211012.jsonl", binance, 4),
        ("kucoin", "kucoin.cf-20210425.jsonl.gz", kucoin, 9),
        ("upbit", "upbit.cf-20210405.jsonl.gz", upbit, 9),
    ] {
        let (compared, at_the_end) = check(name, file, read);
        assert!(compared > 100 && at_the_end == books, "{file}: {compared} comparisons, {at_the_end} books");
    }
}

/// The exchange's side of a book of 200 levels, which gives pages of the best `limit`.
struct Deep {
    plain: Plain,
    number: u64,
}

impl Deep {
    fn new() -> Self {
        let mut deep = Self { plain: Plain::default(), number: 7 };
        for at in 1..=200 {
            deep.set(Side::Bid, 10_000 - at, at);
            deep.set(Side::Ask, 10_000 + at, at);
        }
        deep
    }

    /// Sets a level, and tells it as the venue does.
    fn set(&mut self, side: Side, price: u64, size: u64) -> String {
        let level = Level { price: Decimal::new(price, 1), size: Decimal::new(size, 0) };
        self.plain.set(&Said { native: String::new(), is_page: false, number: 0, levels: vec![(side, level)] });
        self.number += 1;
        let row = format!(r#"["{}","{}"]"#, level.price, level.size);
        let (bids, asks) = if side == Side::Bid { (row.as_str(), "") } else { ("", row.as_str()) };
        let number = self.number;
        format!(
            r#"{{"e":"depthUpdate","E":1786613159748,"s":"BTCUSDT","U":{number},"u":{number},"b":[{bids}],"a":[{asks}]}}"#
        )
    }

    fn page(&self, limit: usize) -> String {
        let side = |side| {
            let rows = self.plain.levels(side).into_iter().take(limit);
            rows.map(|level| format!(r#"["{}","{}"]"#, level.price, level.size)).collect::<Vec<_>>().join(",")
        };
        let (bids, asks) = (side(Side::Bid), side(Side::Ask));
        format!(r#"{{"lastUpdateId":{},"bids":[{bids}],"asks":[{asks}]}}"#, self.number)
    }
}

#[test]
fn a_market_that_runs_away_from_the_page_is_never_seen_with_a_hole() {
    let venue = venue("binance").unwrap();
    let entry = SymbolEntry { id: InstrumentId(0), native: "BTCUSDT".to_owned(), symbol: "BTC/USDT".to_owned() };
    // Ten levels are wanted, so pages have a hundred.
    let mut codec = venue.book_codec(Symbols::configured(vec![entry]), 10).unwrap();
    let mut deep = Deep::new();
    let (mut pages, mut asked) = (0, None);
    for step in 0..1500 {
        // The best offer is taken, its place is taken by a bid, and far away there is always a new offer.
        let ask = deep.plain.levels(Side::Ask)[0].price.mantissa();
        for (side, price, size) in [(Side::Ask, ask, 0), (Side::Bid, ask - 1, 3), (Side::Ask, ask + 500, 9)] {
            let frame = deep.set(side, price, size);
            let mut out = Decoded::default();
            codec.decode(frame.as_bytes(), MonoNs(1), &mut out).unwrap();
            if let (None, Some(fetch)) = (&asked, out.fetches.pop()) {
                let limit = fetch.path.rsplit_once("limit=").unwrap().1.parse().unwrap();
                asked = Some((step, fetch.path.clone(), deep.page(limit)));
            }
        }
        if let Some(held) = codec.book(InstrumentId(0)) {
            for side in [Side::Bid, Side::Ask] {
                let (held, meant): (Vec<Level>, _) = (held.levels(side).copied().collect(), deep.plain.levels(side));
                assert!(held.len() >= 10, "{side:?} at {step}: only {} levels", held.len());
                assert_eq!(held, meant[..held.len()], "{side:?} at {step}");
            }
        } else {
            assert!(step < 10, "there is no book at {step}");
        }
        // The page comes some changes later, and is older than the book by then.
        if let Some((_, path, page)) = asked.take_if(|(since, ..)| step > *since + 5) {
            codec.snapshot(&path, page.as_bytes(), &mut Decoded::default()).unwrap();
            pages += 1;
        }
    }
    assert!((10..40).contains(&pages), "{pages} pages");
}
