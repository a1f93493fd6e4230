//! How long does one best-bid-ask frame take to become a quote, and how does that compare with serde_json
//! into a borrowed typed struct with the same checks (every price and size to an exact decimal, the symbol
//! looked up, an unknown one refused)? Same frame, same run, one group per venue.
//!
//! `cargo bench --bench decode`; a row of [`rows`] per venue.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use serde::Deserialize;
use spreadwire::market::{Decimal, InstrumentId, Level};
use spreadwire::time::{MonoNs, UnixNs};
use spreadwire::venues::{Decoded, SymbolEntry, Symbols, Top, Update, venue};

/// serde_json's way from a frame to a top of book.
type Typed = fn(&[u8], &mut Symbols) -> Option<Top>;

/// Venue, base, quote, a real frame, the typed way.
fn rows() -> Vec<(&'static str, &'static str, &'static str, &'static str, Typed)> {
    vec![
        (
            "binance",
            "BTC",
            "USDT",
            r#"{"u":98494969448,"s":"BTCUSDT","b":"63704.00000000","B":"4.77471000","a":"63704.01000000","A":"11.33198000"}"#,
            binance,
        ),
        (
            "okx",
            "BTC",
            "USDT",
            r#"{"arg":{"channel":"bbo-tbt","instId":"BTC-USDT"},"data":[{"asks":[["31774.7","0.14368878","0","3"]],"bids":[["31774.6","0.2","0","2"]],"ts":"1654031600066","seqId":363996337}]}"#,
            okx,
        ),
        (
            "bybit",
            "BTC",
            "USDT",
            r#"{"topic":"orderbook.1.BTCUSDT","ts":1786613159749,"type":"snapshot","data":{"s":"BTCUSDT","b":[["63705.3","2.045546"]],"a":[["63705.4","2.334566"]],"u":72212457,"seq":112603120278},"cts":1786613159748}"#,
            bybit,
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

fn decode(criterion: &mut Criterion) {
    for (name, base, quote, frame, typed) in rows() {
        let venue = venue(name).expect("a venue of this name");
        let native = venue.native(base, quote).expect("an instrument of the venue");
        let entry = SymbolEntry { id: InstrumentId(0), native, symbol: format!("{base}/{quote}") };
        let mut symbols = Symbols::configured(vec![entry]);
        let mut codec = venue.codec(symbols.clone());
        let mut out = Decoded::default();
        let frame = frame.as_bytes();

        codec.decode(frame, MonoNs(0), &mut out).expect("a good frame");
        let ours = out.updates.iter().find_map(|u| if let Update::Top(top) = u { Some(*top) } else { None });
        assert_eq!(ours, typed(frame, &mut symbols), "{name}: both ways must read the same quote");

        let mut group = criterion.benchmark_group(format!("decode/{name}"));
        group.bench_function("codec", |bencher| {
            bencher.iter(|| {
                out.clear();
                codec.decode(black_box(frame), MonoNs(0), &mut out).is_ok() && black_box(&out.updates).len() == 1
            });
        });
        group.bench_function("serde_json", |bencher| bencher.iter(|| black_box(typed(black_box(frame), &mut symbols))));
        group.finish();
    }
}

criterion_group!(benches, decode);
criterion_main!(benches);
