//! How long does one best-bid-ask frame take to become a quote, compared with serde_json into a borrowed typed struct
//! with the same checks (every price and size to an exact decimal, the symbol looked up, unknown symbols rejected)?
//! Same frame, same run, one group per venue. The frames of Coinbase and Crypto.com are changes of the book's top. Both
//! ways maintain the same book and check the same sequence, so each frame has the next number.
//!
//! `cargo bench --bench decode`; one row of [`rows`] per venue.

use std::hint::black_box;
use std::path::Path;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use serde::Deserialize;
use serde_json::value::RawValue;
use spreadwire::market::book::Side;
use spreadwire::market::{Decimal, InstrumentId, Level};
use spreadwire::record::capture::Capture;
use spreadwire::time::{MonoNs, UnixNs};
use spreadwire::venues::depth::{Depth, LevelChange};
use spreadwire::venues::{Decoded, FeedCodec, SymbolEntry, Symbols, Top, Update, venue};
use spreadwire::wire::gzip::{Gunzip, Gzip};
use spreadwire::wire::protobuf::Writer;
use spreadwire::wire::timestamp::parse_rfc3339;

/// Decodes a frame to a top of book with serde_json.
type Typed = Box<dyn FnMut(&[u8], &mut Symbols) -> Option<Top>>;

/// Venue, base, quote, a real frame, and the typed decoder.
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
            "binanceus",
            "ETH",
            "USD",
            r#"{"stream":"ethusd@bookTicker","data":{"u":3793150009,"s":"ETHUSD","b":"2616.48000000","B":"0.0391","a":"2616.56000000","A":"0.1484"}}"#,
            Box::new(binanceus),
        ),
        (
            "gemini",
            "XRP",
            "GUSD",
            r#"{"u":1764549594389752,"E":1783981140076872200,"s":"xrpgusd","b":"1.0614900","B":"958.69148000","a":"1.0615000","A":"38.39060000","c":"1.0612500","C":"4.71027100"}"#,
            Box::new(gemini),
        ),
        (
            "gateio",
            "BTC",
            "USDT",
            r#"{"time":1786539989,"time_ms":1786539989549,"channel":"spot.book_ticker","event":"update","result":{"t":1786539989540,"u":6700000001,"s":"BTC_USDT","b":"64043.8","B":"2.3","a":"64043.9","A":"0.3"}}"#,
            Box::new(gateio),
        ),
        (
            "bitget",
            "BTC",
            "USDC",
            r#"{"action":"snapshot","arg":{"instType":"SPOT","channel":"books1","instId":"BTCUSDC"},"data":[{"asks":[["72377.25","0.00408"]],"bids":[["72354.67","1.16460"]],"checksum":0,"seq":451000000001,"ts":"1730332859984"}],"ts":1730332859985}"#,
            Box::new(bitget),
        ),
        (
            "cryptocom",
            "ETH",
            "USD",
            r#"{"id":-1,"method":"subscribe","code":0,"result":{"instrument_name":"ETH_USD","subscription":"book.ETH_USD.10","channel":"book.update","depth":10,"data":[{"update":{"asks":[["4457.07","1.000000000","8"]],"bids":[["4455.15","0.4","1"]]},"t":1758447954211,"tt":1758447954207,"u":1000000001,"pu":1000000000,"cs":590576900}]}}"#,
            Box::new(cryptocom()),
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
        (
            "htx",
            "BTC",
            "USDT",
            r#"{"ch":"market.btcusdt.bbo","ts":1654031600066,"tick":{"seqId":155441231856,"ask":31764.09,"askSize":0.794873,"bid":31764.08,"bidSize":4.378544,"quoteTime":1654031600064,"symbol":"btcusdt"}}"#,
            Box::new(htx),
        ),
        (
            "mexc",
            "BTC",
            "USDT",
            r#"{"channel":"spot@public.aggre.bookTicker.v3.api.pb@10ms@BTCUSDT","symbol":"BTCUSDT","sendTime":"1790281243450","publicAggreBookTicker":{"bidPrice":"84270","bidQuantity":"0.006387","askPrice":"84270.01","askQuantity":"5.42169969","version":"82164153436","lastOrderCreateTime":"1790281243444"}}"#,
            Box::new(mexc),
        ),
        ("bitfinex", "ETH", "USD", r#"[6959,[216,2,31.52000000],100000000001,1564617602483]"#, Box::new(bitfinex())),
        (
            "bitstamp",
            "BTC",
            "USD",
            r#"{"data":{"timestamp":"1653978373","microtimestamp":"1653978373164007","bids":[["31524.50","0.36400000"],["31521.05","0.23734197"],["31521.03","0.66028343"]],"asks":[["31535.44","0.31708837"],["31539.38","0.47520104"],["31543.37","0.01071471"]]},"channel":"order_book_btcusd","event":"data"}"#,
            Box::new(bitstamp),
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

/// Coinbase's first message: a book of 2,000 levels per side.
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

/// A typed decoder with its own book, for frames of `most` changes.
fn coinbase(most: usize) -> impl FnMut(&[u8], &mut Symbols) -> Option<Top> {
    let mut depth = Depth::default();
    let mut changes: Vec<LevelChange> = Vec::with_capacity(4000);
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
            changes.push(LevelChange { side, level: Level { price, size } });
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
    // Numbers as written, since a float would not be exact.
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

fn binanceus(frame: &[u8], symbols: &mut Symbols) -> Option<Top> {
    #[derive(Deserialize)]
    struct Wrapped<'a> {
        stream: &'a str,
        #[serde(borrow)]
        data: &'a RawValue,
    }
    let wrapped: Wrapped<'_> = serde_json::from_slice(frame).ok()?;
    wrapped.stream.ends_with("@bookTicker").then(|| binance(wrapped.data.get().as_bytes(), symbols)).flatten()
}

fn gemini(frame: &[u8], symbols: &mut Symbols) -> Option<Top> {
    #[derive(Deserialize)]
    struct BookTicker<'a> {
        u: u64,
        #[serde(rename = "E")]
        at: u64,
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
        exchange_time: UnixNs(ticker.at),
        channel: "bookTicker",
    })
}

fn gateio(frame: &[u8], symbols: &mut Symbols) -> Option<Top> {
    #[derive(Deserialize)]
    struct Message<'a> {
        channel: &'a str,
        event: &'a str,
        #[serde(borrow)]
        result: BookTicker<'a>,
    }
    #[derive(Deserialize)]
    struct BookTicker<'a> {
        t: u64,
        u: u64,
        s: &'a str,
        b: &'a str,
        #[serde(rename = "B")]
        bid_size: &'a str,
        a: &'a str,
        #[serde(rename = "A")]
        ask_size: &'a str,
    }
    let Message { channel, event, result } = serde_json::from_slice(frame).ok()?;
    let is_update = (channel, event) == ("spot.book_ticker", "update");
    Some(Top {
        instrument: symbols.find(result.s.as_bytes()).filter(|_| is_update)?,
        bid: level(result.b, result.bid_size)?,
        ask: level(result.a, result.ask_size)?,
        sequence: result.u,
        exchange_time: UnixNs::from_ms(result.t),
        channel: "spot.book_ticker",
    })
}

fn bitget(frame: &[u8], symbols: &mut Symbols) -> Option<Top> {
    #[derive(Deserialize)]
    struct Message<'a> {
        action: &'a str,
        #[serde(borrow)]
        arg: Arg<'a>,
        data: [Item<'a>; 1],
    }
    #[derive(Deserialize)]
    struct Arg<'a> {
        #[serde(rename = "instType")]
        kind: &'a str,
        channel: &'a str,
        #[serde(rename = "instId")]
        symbol: &'a str,
    }
    #[derive(Deserialize)]
    struct Item<'a> {
        #[serde(borrow)]
        asks: [[&'a str; 2]; 1],
        #[serde(borrow)]
        bids: [[&'a str; 2]; 1],
        seq: u64,
        ts: &'a str,
    }
    let Message { action, arg, data: [item] } = serde_json::from_slice(frame).ok()?;
    let is_best = (action, arg.kind, arg.channel) == ("snapshot", "SPOT", "books1");
    Some(Top {
        instrument: symbols.find(arg.symbol.as_bytes()).filter(|_| is_best)?,
        bid: level(item.bids[0][0], item.bids[0][1])?,
        ask: level(item.asks[0][0], item.asks[0][1])?,
        sequence: item.seq,
        exchange_time: UnixNs::from_ms(item.ts.parse().ok()?),
        channel: "books1",
    })
}

/// Crypto.com's first message: ten levels per side.
fn cryptocom_snapshot() -> String {
    let side = |price: fn(u64) -> u64| -> String {
        let level = |n| format!(r#"["{}.{:02}","0.5","2"]"#, price(n) / 100, price(n) % 100);
        (0..10).map(level).collect::<Vec<_>>().join(",")
    };
    let (asks, bids) = (side(|n| 445_707 + n), side(|n| 445_700 - n));
    format!(
        r#"{{"id":-1,"method":"subscribe","code":0,"result":{{"instrument_name":"ETH_USD","subscription":"book.ETH_USD.10","channel":"book","depth":10,"data":[{{"asks":[{asks}],"bids":[{bids}],"t":1758447954111,"tt":1758447954107,"u":1000000000,"cs":1}}]}}}}"#
    )
}

#[derive(Deserialize)]
struct CryptoCom<'a> {
    code: u32,
    #[serde(borrow)]
    result: CryptoComBook<'a>,
}

#[derive(Deserialize)]
struct CryptoComBook<'a> {
    instrument_name: &'a str,
    channel: &'a str,
    depth: usize,
    #[serde(borrow)]
    data: [CryptoComItem<'a>; 1],
}

#[derive(Deserialize)]
struct CryptoComItem<'a> {
    #[serde(borrow)]
    update: Option<CryptoComSides<'a>>,
    #[serde(borrow)]
    asks: Option<Vec<[&'a str; 3]>>,
    #[serde(borrow)]
    bids: Option<Vec<[&'a str; 3]>>,
    t: u64,
    u: u64,
    pu: Option<u64>,
}

#[derive(Deserialize)]
struct CryptoComSides<'a> {
    #[serde(borrow)]
    asks: Vec<[&'a str; 3]>,
    #[serde(borrow)]
    bids: Vec<[&'a str; 3]>,
}

/// A typed decoder with its own book.
fn cryptocom() -> impl FnMut(&[u8], &mut Symbols) -> Option<Top> {
    let mut depth = Depth::default();
    let mut changes: Vec<LevelChange> = Vec::with_capacity(64);
    let mut last = 0;
    move |frame, symbols| {
        let message: CryptoCom<'_> = serde_json::from_slice(frame).ok()?;
        let book = &message.result;
        let [item] = &book.data;
        let instrument = symbols.find(book.instrument_name.as_bytes()).filter(|_| message.code == 0)?;
        let is_change = book.channel == "book.update";
        if is_change && item.pu != Some(last) {
            return None;
        }
        last = item.u;
        changes.clear();
        let sides = match &item.update {
            Some(update) if is_change => (&update.asks, &update.bids),
            _ => (item.asks.as_ref()?, item.bids.as_ref()?),
        };
        for (side, levels) in [(Side::Ask, sides.0), (Side::Bid, sides.1)] {
            for [price, size, _] in levels {
                let price = Decimal::parse(price.as_bytes()).ok()?;
                let size = Decimal::parse(size.as_bytes()).ok()?;
                changes.push(LevelChange { side, level: Level { price, size } });
            }
        }
        if is_change {
            depth.apply(&changes);
        } else {
            depth.replace(&mut changes);
        }
        depth.truncate(book.depth);
        let (bid, ask) = depth.changed_top()?;
        let exchange_time = UnixNs::from_ms(item.t);
        Some(Top { instrument, bid, ask, sequence: item.u, exchange_time, channel: "book" })
    }
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

fn htx(frame: &[u8], symbols: &mut Symbols) -> Option<Top> {
    #[derive(Deserialize)]
    struct Message<'a> {
        ch: &'a str,
        #[serde(borrow)]
        tick: Tick<'a>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Tick<'a> {
        seq_id: u64,
        #[serde(borrow)]
        ask: &'a RawValue,
        #[serde(borrow)]
        ask_size: &'a RawValue,
        #[serde(borrow)]
        bid: &'a RawValue,
        #[serde(borrow)]
        bid_size: &'a RawValue,
        quote_time: u64,
    }
    let Message { ch, tick } = serde_json::from_slice(frame).ok()?;
    Some(Top {
        instrument: symbols.find(ch.strip_prefix("market.")?.strip_suffix(".bbo")?.as_bytes())?,
        bid: level(tick.bid.get(), tick.bid_size.get())?,
        ask: level(tick.ask.get(), tick.ask_size.get())?,
        sequence: tick.seq_id,
        exchange_time: UnixNs::from_ms(tick.quote_time),
        channel: "bbo",
    })
}

/// The same message in the JSON form of protobuf.
fn mexc(frame: &[u8], symbols: &mut Symbols) -> Option<Top> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Wrapper<'a> {
        symbol: &'a str,
        send_time: &'a str,
        #[serde(borrow)]
        public_aggre_book_ticker: BookTicker<'a>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct BookTicker<'a> {
        bid_price: &'a str,
        bid_quantity: &'a str,
        ask_price: &'a str,
        ask_quantity: &'a str,
        version: &'a str,
    }
    let Wrapper { symbol, send_time, public_aggre_book_ticker: ticker } = serde_json::from_slice(frame).ok()?;
    Some(Top {
        instrument: symbols.find(symbol.as_bytes())?,
        bid: level(ticker.bid_price, ticker.bid_quantity)?,
        ask: level(ticker.ask_price, ticker.ask_quantity)?,
        sequence: ticker.version.parse().ok()?,
        exchange_time: UnixNs::from_ms(send_time.parse().ok()?),
        channel: "aggre.bookTicker",
    })
}

/// The bytes that the venue's codec reads for a frame of its row: the text itself, but a protobuf message for MEXC.
fn on_the_wire(name: &str, frame: &str) -> Vec<u8> {
    if name != "mexc" {
        return frame.as_bytes().to_vec();
    }
    let message: serde_json::Value = serde_json::from_str(frame).expect("JSON");
    let text = |key: &str| message.pointer(key).and_then(serde_json::Value::as_str).expect("a text");
    let number = |key: &str| text(key).parse().expect("a number");
    let keys = ["bidPrice", "bidQuantity", "askPrice", "askQuantity", "version"];
    let body = keys
        .iter()
        .zip(1..)
        .fold(Writer::default(), |body, (key, at)| body.text(at, text(&format!("/publicAggreBookTicker/{key}"))));
    let body = body.integer(6, number("/publicAggreBookTicker/lastOrderCreateTime"));
    let wrapper = Writer::default().text(1, text("/channel")).text(3, text("/symbol"));
    wrapper.integer(6, number("/sendTime")).message(315, body).finish()
}

/// Bitfinex's first message: a book of 25 levels per side.
fn bitfinex_snapshot() -> String {
    let side = |start: f64, step: f64, sign: &str| -> Vec<String> {
        (0..25).map(|n| format!("[{},1,{sign}4.5]", start + step * f64::from(n))).collect()
    };
    let levels = [side(216.0, -0.1, ""), side(216.5, 0.1, "-")].concat().join(",");
    format!("[6959,[{levels}],100000000000,1564617602400]")
}

/// A typed decoder with its own book.
fn bitfinex() -> impl FnMut(&[u8], &mut Symbols) -> Option<Top> {
    #[derive(Deserialize)]
    struct Changed<'a>(u64, #[serde(borrow)] [&'a RawValue; 3], u64, u64);
    #[derive(Deserialize)]
    struct Snapshot<'a>(u64, #[serde(borrow)] Vec<[&'a RawValue; 3]>, u64, u64);
    let mut depth = Depth::default();
    let mut last = None;
    let change = |[price, count, amount]: &[&RawValue; 3]| {
        let price = Decimal::parse(price.get().as_bytes()).ok()?;
        let (side, digits) = match amount.get().strip_prefix('-') {
            Some(digits) => (Side::Ask, digits),
            None => (Side::Bid, amount.get()),
        };
        let amount = Decimal::parse(digits.as_bytes()).ok()?;
        let size = if count.get() == "0" { Decimal::ZERO } else { amount };
        Some(LevelChange { side, level: Level { price, size } })
    };
    move |frame, symbols| {
        let time = if let Ok(Changed(id, fields, sequence, time)) = serde_json::from_slice(frame) {
            if id != 6959 || last.replace(sequence).is_some_and(|last| sequence != last + 1) {
                return None;
            }
            depth.apply(&[change(&fields)?]);
            time
        } else {
            let Snapshot(id, levels, sequence, time) = serde_json::from_slice(frame).ok()?;
            last = Some(sequence).filter(|_| id == 6959);
            depth.replace(&mut levels.iter().map(change).collect::<Option<Vec<_>>>()?);
            time
        };
        let (bid, ask) = depth.changed_top()?;
        let instrument = symbols.find(b"tETHUSD")?;
        Some(Top { instrument, bid, ask, sequence: 0, exchange_time: UnixNs::from_ms(time), channel: "book" })
    }
}

fn bitstamp(frame: &[u8], symbols: &mut Symbols) -> Option<Top> {
    #[derive(Deserialize)]
    struct Message<'a> {
        event: &'a str,
        channel: &'a str,
        #[serde(borrow)]
        data: Data<'a>,
    }
    #[derive(Deserialize)]
    struct Data<'a> {
        microtimestamp: &'a str,
        #[serde(borrow)]
        bids: Vec<[&'a str; 2]>,
        #[serde(borrow)]
        asks: Vec<[&'a str; 2]>,
    }
    let Message { event, channel, data } = serde_json::from_slice(frame).ok()?;
    let pair = channel.strip_prefix("order_book_").filter(|_| event == "data")?;
    let best = |levels: &[[&str; 2]]| levels.iter().find_map(|[price, size]| level(price, size)).unwrap_or_default();
    Some(Top {
        instrument: symbols.find(pair.as_bytes())?,
        bid: best(&data.bids),
        ask: best(&data.asks),
        sequence: 0,
        exchange_time: UnixNs(data.microtimestamp.parse::<u64>().ok()? * 1000),
        channel: "order_book",
    })
}

/// The next frame of a connection. For Coinbase, Crypto.com and Bitfinex, sequence numbers and sizes grow by one, in
/// place. Other frames stay the same.
struct Frames {
    frame: Vec<u8>,
    growing: Vec<usize>,
}

impl Frames {
    fn new(frame: &[u8]) -> Self {
        let end_of = |text: &str| {
            frame.windows(text.len()).position(|part| part == text.as_bytes()).map(|at| at + text.len() - 1)
        };
        let numbers = [
            "sequence_num\":1000000000",
            "1.000000000",
            "100000000001",
            "31.52000000",
            "\"u\":1000000001",
            "\"pu\":1000000000",
        ];
        let growing = numbers.map(end_of);
        Self { frame: frame.to_vec(), growing: growing.into_iter().flatten().collect() }
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

        if name == "bitfinex" {
            let subscribed =
                br#"{"event":"subscribed","channel":"book","chanId":6959,"symbol":"tETHUSD","prec":"P0","len":"25"}"#;
            codec.decode(subscribed, MonoNs(0), &mut out).expect("a good acknowledgement");
        }
        let snapshot = match name.split('-').next() {
            Some("coinbase") => Some(coinbase_snapshot()),
            Some("cryptocom") => Some(cryptocom_snapshot()),
            Some("bitfinex") => Some(bitfinex_snapshot()),
            _ => None,
        };
        if let Some(snapshot) = snapshot {
            codec.decode(snapshot.as_bytes(), MonoNs(0), &mut out).expect("a good snapshot");
            assert!(typed(snapshot.as_bytes(), &mut symbols).is_some());
            out.clear();
        }
        let wire = on_the_wire(name, frame);
        codec.decode(&wire, MonoNs(0), &mut out).expect("a good frame");
        let ours = out.updates.iter().find_map(|u| if let Update::Top(top) = u { Some(*top) } else { None });
        assert_eq!(ours, typed(frame.as_bytes(), &mut symbols), "{name}: both ways must read the same quote");

        let mut group = criterion.benchmark_group(format!("decode/{name}"));
        let mut frames = Frames::new(&wire);
        group.bench_function("codec", |bencher| {
            bencher.iter(|| {
                out.clear();
                let result = codec.decode(black_box(frames.next()), MonoNs(0), &mut out);
                assert!(result.is_ok() && black_box(&out.updates).len() == 1);
            });
        });
        let mut frames = Frames::new(frame.as_bytes());
        group.bench_function("serde_json", |bencher| {
            bencher.iter(|| assert!(black_box(typed(black_box(frames.next()), &mut symbols)).is_some()));
        });
        group.finish();
    }
}

/// How long does Coinbase's first frame, the whole BTC-USD book of 46,000 levels in 5 MB, occupy the feed thread?
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

/// What does HTX's compression cost? The same `bbo` frame as in `decode/htx`, compressed as on the wire. The other way
/// decompresses it with the same code and continues with serde_json.
fn packed(criterion: &mut Criterion) {
    let Some((_, base, quote, frame, mut typed)) = rows().into_iter().find(|(name, ..)| *name == "htx") else {
        return;
    };
    let venue = venue("htx").expect("a venue of this name");
    let native = venue.native(base, quote).expect("an instrument of the venue");
    let entry = SymbolEntry { id: InstrumentId(0), native, symbol: format!("{base}/{quote}") };
    let mut symbols = Symbols::configured(vec![entry]);
    let mut codec = venue.codec(symbols.clone());
    let packed = Gzip::default().pack(frame.as_bytes());
    let (mut out, mut gunzip) = (Decoded::default(), Gunzip::new(8 << 20));
    let mut group = criterion.benchmark_group("decode/htx-packed");
    group.bench_function("codec", |bencher| {
        bencher.iter(|| {
            out.clear();
            assert!(codec.decode(black_box(&packed), MonoNs(0), &mut out).is_ok() && out.updates.len() == 1);
        });
    });
    group.bench_function("unpacking", |bencher| {
        bencher.iter(|| assert!(black_box(gunzip.unpack(black_box(&packed))).is_ok()));
    });
    let mut gunzip = Gunzip::new(8 << 20);
    group.bench_function("serde_json", |bencher| {
        bencher.iter(|| {
            let frame = gunzip.unpack(black_box(&packed)).expect("a good frame");
            assert!(black_box(typed(frame, &mut symbols)).is_some());
        });
    });
    group.finish();
}

criterion_group!(benches, decode, snapshot, packed);
criterion_main!(benches);
