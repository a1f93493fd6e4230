//! How long does one best-bid-ask frame take to become a quote, and how does that compare with serde_json
//! into a borrowed typed struct with the same checks (every price and size to an exact decimal, the symbol
//! looked up, an unknown one refused)? Same frame, same run, one group per venue. Coinbase's frame is a change of
//! the book's top; both ways keep the same book and count the same sequence, so each frame has the next number.
//!
//! `cargo bench --bench decode`; a row of [`rows`] per venue.

use std::hint::black_box;
use std::path::Path;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use serde::Deserialize;
use serde_json::value::RawValue;
use spreadwire::market::book::Side;
use spreadwire::market::{Decimal, InstrumentId, Level};
use spreadwire::record::capture::Capture;
use spreadwire::time::{MonoNs, UnixNs};
use spreadwire::venues::depth::{Change, Depth};
use spreadwire::venues::{Decoded, FeedCodec, SymbolEntry, Symbols, Top, Update, venue};
use spreadwire::wire::timestamp::parse_rfc3339;

/// serde_json's way from a frame to a top of book.
type Typed = Box<dyn FnMut(&[u8], &mut Symbols) -> Option<Top>>;

/// Venue, base, quote, a real frame, the typed way.
fn rows() -> Vec<(&'static str, &'static str, &'static str, &'static str, Typed)> {
    vec![
        (
            "binance",
            "BTC",
            "USDT",
            r#"{"u":98494969448,"s":"BTCUSDT","b":"63704.00000000","B":"4.77471000","a":"63704.01000000","A":"11.33198000"}"#,
            Box::new(binance),
        ),
        (
            "okx",
            "BTC",
            "USDT",
            r#"{"arg":{"channel":"bbo-tbt","instId":"BTC-USDT"},"data":[{"asks":[["31774.7","0.14368878","0","3"]],"bids":[["31774.6","0.2","0","2"]],"ts":"1654031600066","seqId":363996337}]}"#,
            Box::new(okx),
        ),
        (
            "bybit",
            "BTC",
            "USDT",
            r#"{"topic":"orderbook.1.BTCUSDT","ts":1786613159749,"type":"snapshot","data":{"s":"BTCUSDT","b":[["63705.3","2.045546"]],"a":[["63705.4","2.334566"]],"u":72212457,"seq":112603120278},"cts":1786613159748}"#,
            Box::new(bybit),
        ),
        (
            "coinbase",
            "BTC",
            "USD",
            r#"{"channel":"l2_data","timestamp":"2026-08-09T21:05:48.507227366Z","sequence_num":1000000000,"events":[{"type":"update","product_id":"BTC-USD","updates":[{"side":"offer","event_time":"2026-08-09T21:05:48.27841Z","price_level":"65083.71","new_quantity":"1.000000000"}]}]}"#,
            Box::new(coinbase(1)),
        ),
        (
            "coinbase-two-changes",
            "BTC",
            "USD",
            r#"{"channel":"l2_data","timestamp":"2026-08-09T21:05:48.507547362Z","sequence_num":1000000000,"events":[{"type":"update","product_id":"BTC-USD","updates":[{"side":"bid","event_time":"2026-08-09T21:05:48.407682Z","price_level":"56948.21","new_quantity":"0.01321935"},{"side":"offer","event_time":"2026-08-09T21:05:48.407682Z","price_level":"65083.71","new_quantity":"1.000000000"}]}]}"#,
            Box::new(coinbase(2)),
        ),
        (
            "kraken",
            "BTC",
            "USD",
            r#"{"channel":"ticker","type":"update","data":[{"symbol":"BTC/USD","bid":63297.7,"bid_qty":5.45673101,"ask":63297.8,"ask_qty":0.36974422,"last":63297.8,"volume":1020.88391276,"vwap":63685.7,"low":63250.0,"high":64409.2,"change":0.7,"change_pct":0.00,"trades":47536,"timestamp":"2026-08-12T19:29:02.066592Z"}]}"#,
            Box::new(kraken),
        ),
        (
            "kucoin",
            "BTC",
            "USDT",
            r#"{"topic":"/spotMarket/level1:BTC-USDT","type":"message","subject":"level1","data":{"asks":["68145.8","0.51987471"],"bids":["68145.7","1.29267802"],"timestamp":1729816058766}}"#,
            Box::new(kucoin),
        ),
        (
            "upbit",
            "BTC",
            "KRW",
            r#"{"ty":"orderbook","cd":"KRW-BTC","tms":1786613105466,"tas":0.00426302,"tbs":0.04721853,"obu":[{"ap":89890000,"bp":89886000,"as":0.00426302,"bs":0.04721853}],"st":"REALTIME","lv":0}"#,
            Box::new(upbit),
        ),
        (
            "upbit-exponents",
            "BTC",
            "KRW",
            r#"{"ty":"orderbook","cd":"KRW-BTC","tms":1786613105466,"tas":0.00426302,"tbs":0.04721853,"obu":[{"ap":8.989E7,"bp":8.9886E7,"as":0.00426302,"bs":0.04721853}],"st":"REALTIME","lv":0}"#,
            Box::new(upbit),
        ),
    ]
}

fn level(price: &str, size: &str) -> Option<Level> {
    let level = Level { price: Decimal::parse(price.as_bytes()).ok()?, size: Decimal::parse(size.as_bytes()).ok()? };
    Some(if level.is_present() { level } else { Level::ABSENT })
}

fn binance(frame: &[u8], symbols: &mut Symbols) -> Option<Top> {
    #[derive(Deserialize)]
    struct BookTicker<'a> {
        u: u64,
        s: &'a str,
        b: &'a str,
        #[serde(rename = "B")]
        bid_size: &'a str,
        a: &'a str,
        #[serde(rename = "A")]
        ask_size: &'a str,
    }
    let ticker: BookTicker<'_> = serde_json::from_slice(frame).ok()?;
    Some(Top {
        instrument: symbols.find(ticker.s.as_bytes())?,
        bid: level(ticker.b, ticker.bid_size)?,
        ask: level(ticker.a, ticker.ask_size)?,
        sequence: ticker.u,
        exchange_time: UnixNs(0),
        channel: "bookTicker",
    })
}

fn okx(frame: &[u8], symbols: &mut Symbols) -> Option<Top> {
    #[derive(Deserialize)]
    struct Message<'a> {
        #[serde(borrow)]
        arg: Arg<'a>,
        data: [Item<'a>; 1],
    }
    #[derive(Deserialize)]
    struct Arg<'a> {
        channel: &'a str,
        #[serde(rename = "instId")]
        symbol: &'a str,
    }
    #[derive(Deserialize)]
    struct Item<'a> {
        #[serde(borrow)]
        asks: [[&'a str; 4]; 1],
        #[serde(borrow)]
        bids: [[&'a str; 4]; 1],
        ts: &'a str,
        #[serde(rename = "seqId")]
        sequence: u64,
    }
    let message: Message<'_> = serde_json::from_slice(frame).ok()?;
    let item = &message.data[0];
    Some(Top {
        instrument: symbols.find(message.arg.symbol.as_bytes()).filter(|_| message.arg.channel == "bbo-tbt")?,
        bid: level(item.bids[0][0], item.bids[0][1])?,
        ask: level(item.asks[0][0], item.asks[0][1])?,
        sequence: item.sequence,
        exchange_time: UnixNs::from_ms(item.ts.parse().ok()?),
        channel: "bbo-tbt",
    })
}

fn bybit(frame: &[u8], symbols: &mut Symbols) -> Option<Top> {
    #[derive(Deserialize)]
    struct Message<'a> {
        topic: &'a str,
        #[serde(rename = "type")]
        kind: &'a str,
        #[serde(borrow)]
        data: Data<'a>,
        cts: u64,
    }
    #[derive(Deserialize)]
    struct Data<'a> {
        s: &'a str,
        #[serde(borrow)]
        b: [[&'a str; 2]; 1],
        #[serde(borrow)]
        a: [[&'a str; 2]; 1],
        u: u64,
    }
    let message: Message<'_> = serde_json::from_slice(frame).ok()?;
    let Data { s, b, a, u } = &message.data;
    if message.kind != "snapshot" || message.topic.strip_prefix("orderbook.1.") != Some(s) {
        return None;
    }
    Some(Top {
        instrument: symbols.find(s.as_bytes())?,
        bid: level(b[0][0], b[0][1])?,
        ask: level(a[0][0], a[0][1])?,
        sequence: *u,
        exchange_time: UnixNs::from_ms(message.cts),
        channel: "orderbook.1",
    })
}

/// What Coinbase sends first: a book of 2,000 levels a side.
fn coinbase_snapshot() -> String {
    let side = |side: &str, cents: fn(u64) -> u64| -> Vec<String> {
        let level = |n| {
            let cents = cents(n);
            format!(
                r#"{{"side":"{side}","event_time":"","price_level":"{}.{:02}","new_quantity":"0.5"}}"#,
                cents / 100,
                cents % 100
            )
        };
        (0..2000).map(level).collect()
    };
    let bids = side("bid", |n| 6_508_370 - n * 7);
    let asks = side("offer", |n| 6_508_372 + n * 7);
    format!(
        r#"{{"channel":"l2_data","timestamp":"2026-08-09T21:05:48Z","sequence_num":999999999,"events":[{{"type":"snapshot","product_id":"BTC-USD","updates":[{},{}]}}]}}"#,
        bids.join(","),
        asks.join(",")
    )
}

#[derive(Deserialize)]
struct L2Data<'a> {
    channel: &'a str,
    timestamp: &'a str,
    sequence_num: u64,
    #[serde(borrow)]
    events: [L2Event<'a>; 1],
}

#[derive(Deserialize)]
struct L2Event<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    product_id: &'a str,
    #[serde(borrow)]
    updates: Vec<L2Update<'a>>,
}

#[derive(Deserialize)]
struct L2Update<'a> {
    side: &'a str,
    price_level: &'a str,
    new_quantity: &'a str,
}

/// A typed reader with a book of its own, for frames of `most` changes.
fn coinbase(most: usize) -> impl FnMut(&[u8], &mut Symbols) -> Option<Top> {
    let mut depth = Depth::default();
    let mut changes: Vec<Change> = Vec::with_capacity(4000);
    let mut last = None;
    move |frame, symbols| {
        let message: L2Data<'_> = serde_json::from_slice(frame).ok()?;
        let event = &message.events[0];
        let exchange_time = parse_rfc3339(message.timestamp.as_bytes())?;
        let instrument = symbols.find(event.product_id.as_bytes()).filter(|_| message.channel == "l2_data")?;
        if last.is_some_and(|last| message.sequence_num != last + 1) {
            return None;
        }
        last = Some(message.sequence_num);
        changes.clear();
        for update in &event.updates {
            let side = match update.side {
                "bid" => Side::Bid,
                "offer" => Side::Ask,
                _ => return None,
            };
            let price = Decimal::parse(update.price_level.as_bytes()).ok()?;
            let size = Decimal::parse(update.new_quantity.as_bytes()).ok()?;
            changes.push(Change { side, level: Level { price, size } });
        }
        match event.kind {
            "snapshot" => depth.replace(&mut changes),
            _ if changes.len() == most => depth.apply(&changes),
            _ => return None,
        }
        let (bid, ask) = depth.changed_top()?;
        Some(Top { instrument, bid, ask, sequence: 0, exchange_time, channel: "l2_data" })
    }
}

fn kraken(frame: &[u8], symbols: &mut Symbols) -> Option<Top> {
    #[derive(Deserialize)]
    struct Message<'a> {
        channel: &'a str,
        #[serde(borrow)]
        data: [Ticker<'a>; 1],
    }
    // The numbers as they are written: a float would not be exact.
    #[derive(Deserialize)]
    struct Ticker<'a> {
        symbol: &'a str,
        #[serde(borrow)]
        bid: &'a RawValue,
        #[serde(borrow)]
        bid_qty: &'a RawValue,
        #[serde(borrow)]
        ask: &'a RawValue,
        #[serde(borrow)]
        ask_qty: &'a RawValue,
        timestamp: &'a str,
    }
    let message: Message<'_> = serde_json::from_slice(frame).ok()?;
    let ticker = &message.data[0];
    Some(Top {
        instrument: symbols.find(ticker.symbol.as_bytes()).filter(|_| message.channel == "ticker")?,
        bid: level(ticker.bid.get(), ticker.bid_qty.get())?,
        ask: level(ticker.ask.get(), ticker.ask_qty.get())?,
        sequence: 0,
        exchange_time: parse_rfc3339(ticker.timestamp.as_bytes())?,
        channel: "ticker",
    })
}

fn kucoin(frame: &[u8], symbols: &mut Symbols) -> Option<Top> {
    #[derive(Deserialize)]
    struct Message<'a> {
        topic: &'a str,
        #[serde(rename = "type")]
        kind: &'a str,
        #[serde(borrow)]
        data: Data<'a>,
    }
    #[derive(Deserialize)]
    struct Data<'a> {
        #[serde(borrow)]
        asks: [&'a str; 2],
        #[serde(borrow)]
        bids: [&'a str; 2],
        timestamp: u64,
    }
    let message: Message<'_> = serde_json::from_slice(frame).ok()?;
    let symbol = message.topic.strip_prefix("/spotMarket/level1:").filter(|_| message.kind == "message")?;
    Some(Top {
        instrument: symbols.find(symbol.as_bytes())?,
        bid: level(message.data.bids[0], message.data.bids[1])?,
        ask: level(message.data.asks[0], message.data.asks[1])?,
        sequence: 0,
        exchange_time: UnixNs::from_ms(message.data.timestamp),
        channel: "/spotMarket/level1",
    })
}

fn upbit(frame: &[u8], symbols: &mut Symbols) -> Option<Top> {
    #[derive(Deserialize)]
    struct Book<'a> {
        #[serde(rename = "ty")]
        kind: &'a str,
        #[serde(rename = "cd")]
        code: &'a str,
        #[serde(rename = "tms")]
        time: u64,
        #[serde(rename = "obu", borrow)]
        units: [Unit<'a>; 1],
    }
    #[derive(Deserialize)]
    struct Unit<'a> {
        #[serde(borrow)]
        ap: &'a RawValue,
        #[serde(borrow)]
        bp: &'a RawValue,
        #[serde(rename = "as", borrow)]
        ask_size: &'a RawValue,
        #[serde(borrow)]
        bs: &'a RawValue,
    }
    let book: Book<'_> = serde_json::from_slice(frame).ok()?;
    let [unit] = &book.units;
    Some(Top {
        instrument: symbols.find(book.code.as_bytes()).filter(|_| book.kind == "orderbook")?,
        bid: level(unit.bp.get(), unit.bs.get())?,
        ask: level(unit.ap.get(), unit.ask_size.get())?,
        sequence: 0,
        exchange_time: UnixNs::from_ms(book.time),
        channel: "orderbook",
    })
}

/// The next frame of a connection: of Coinbase's the number and the size grow by one, in place. The others stay.
struct Frames {
    frame: Vec<u8>,
    growing: Vec<usize>,
}

impl Frames {
    fn new(frame: &str) -> Self {
        let end_of = |text: &str| frame.find(text).map(|at| at + text.len() - 1);
        let growing = [end_of("sequence_num\":1000000000"), end_of("1.000000000")];
        Self { frame: frame.as_bytes().to_vec(), growing: growing.into_iter().flatten().collect() }
    }

    fn next(&mut self) -> &[u8] {
        for &last in &self.growing {
            let mut at = last;
            while self.frame[at] == b'9' {
                self.frame[at] = b'0';
                at -= 1;
            }
            self.frame[at] += 1;
        }
        &self.frame
    }
}

fn decode(criterion: &mut Criterion) {
    for (name, base, quote, frame, mut typed) in rows() {
        let venue = venue(name.split('-').next().unwrap_or(name)).expect("a venue of this name");
        let native = venue.native(base, quote).expect("an instrument of the venue");
        let entry = SymbolEntry { id: InstrumentId(0), native, symbol: format!("{base}/{quote}") };
        let mut symbols = Symbols::configured(vec![entry]);
        let mut codec = venue.codec(symbols.clone());
        let mut out = Decoded::default();

        if name.starts_with("coinbase") {
            let snapshot = coinbase_snapshot();
            codec.decode(snapshot.as_bytes(), MonoNs(0), &mut out).expect("a good snapshot");
            assert!(typed(snapshot.as_bytes(), &mut symbols).is_some());
            out.clear();
        }
        codec.decode(frame.as_bytes(), MonoNs(0), &mut out).expect("a good frame");
        let ours = out.updates.iter().find_map(|u| if let Update::Top(top) = u { Some(*top) } else { None });
        assert_eq!(ours, typed(frame.as_bytes(), &mut symbols), "{name}: both ways must read the same quote");

        let mut group = criterion.benchmark_group(format!("decode/{name}"));
        let mut frames = Frames::new(frame);
        group.bench_function("codec", |bencher| {
            bencher.iter(|| {
                out.clear();
                let result = codec.decode(black_box(frames.next()), MonoNs(0), &mut out);
                assert!(result.is_ok() && black_box(&out.updates).len() == 1);
            });
        });
        let mut frames = Frames::new(frame);
        group.bench_function("serde_json", |bencher| {
            bencher.iter(|| assert!(black_box(typed(black_box(frames.next()), &mut symbols)).is_some()));
        });
        group.finish();
    }
}

/// How long does Coinbase's first frame, the whole BTC-USD book of 46,000 levels in 5 MB, hold up the feed thread?
fn snapshot(criterion: &mut Criterion) {
    let path =
        concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/coinbase/captures/coinbase-adv.cf-20260809.jsonl.gz");
    let mut capture = Capture::open(Path::new(path)).expect("the capture");
    let frame = loop {
        let (_, record) = capture.next_record().expect("a readable capture").expect("a snapshot in it");
        match record {
            Ok(record) if record.frame.len() > 1 << 20 => break record.frame,
            _ => {}
        }
    };
    let venue = venue("coinbase").expect("a venue of this name");
    let mut group = criterion.benchmark_group("decode/coinbase-snapshot");
    group.sample_size(10);
    group.bench_function("codec", |bencher| {
        let codec = || venue.codec(Symbols::discovering(venue.symbol_of()));
        let mut out = Decoded::default();
        let decode = |mut codec: Box<dyn FeedCodec>| codec.decode(&frame, MonoNs(0), &mut out).is_ok();
        bencher.iter_batched(codec, decode, BatchSize::PerIteration);
    });
    group.finish();
}

criterion_group!(benches, decode, snapshot);
criterion_main!(benches);
