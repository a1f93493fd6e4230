//! Channels that the feed does not subscribe to are served by the exchange sides as well, for other clients
//! and for recordings: each is subscribed to by hand here, and read back by the codec.

use std::collections::HashMap;

use proptest::prelude::*;
use spreadwire::market::statistics::DayStatistics;
use spreadwire::market::{Decimal, Level};
use spreadwire::time::{MonoNs, UnixNs};
use spreadwire::venues::{
    Decoded, ExchangeSide, FeedCodec, Market, Message, Messages, Requests, Symbols, Top, Update, VenueQuote, venue,
};

struct Hall(HashMap<String, VenueQuote>);

impl Market for Hall {
    fn quote(&self, native: &str) -> Option<VenueQuote> {
        self.0.get(native).cloned()
    }

    fn now(&self) -> UnixNs {
        UnixNs::from_ms(1_786_613_159_748)
    }
}

/// A channel: who has it, how it is asked for, what its quotes are called.
struct Channel {
    venue: &'static str,
    native: &'static str,
    request: &'static str,
    name: &'static str,
    /// A REST snapshot to read first: its path and query, and what it says.
    snapshot: Option<(&'static str, &'static str)>,
    /// Its quotes come with the beat of day figures, not with each change.
    is_beat: bool,
}

/// A channel that tells each change, and everything by itself.
const fn live(venue: &'static str, native: &'static str, request: &'static str, name: &'static str) -> Channel {
    Channel { venue, native, request, name, snapshot: None, is_beat: false }
}

const CHANNELS: [Channel; 28] = [
    Channel {
        venue: "coinbase",
        native: "BTC-USD",
        request: r#"{"type":"subscribe","product_ids":["BTC-USD"],"channel":"ticker"}"#,
        name: "ticker",
        snapshot: None,
        is_beat: true,
    },
    Channel {
        venue: "kraken",
        native: "BTC/USD",
        request: r#"{"method":"subscribe","params":{"channel":"book","symbol":["BTC/USD"],"depth":25},"req_id":9}"#,
        name: "book",
        snapshot: None,
        is_beat: false,
    },
    Channel {
        venue: "kraken",
        native: "BTC/USD",
        request: r#"{"method":"subscribe","params":{"channel":"ticker","symbol":["BTC/USD"]}}"#,
        name: "ticker",
        snapshot: None,
        is_beat: true,
    },
    Channel {
        venue: "kucoin",
        native: "BTC-USDT",
        request: r#"{"id":7,"type":"subscribe","topic":"/market/ticker:BTC-USDT","response":true}"#,
        name: "/market/ticker",
        snapshot: None,
        is_beat: false,
    },
    Channel {
        venue: "kucoin",
        native: "BTC-USDT",
        request: r#"{"id":"7","type":"subscribe","topic":"/market/ticker:all","response":true}"#,
        name: "/market/ticker",
        snapshot: None,
        is_beat: false,
    },
    Channel {
        venue: "kucoin",
        native: "BTC-USDT",
        request: r#"{"id":"7","type":"subscribe","topic":"/spotMarket/level2Depth5:BTC-USDT","response":true}"#,
        name: "/spotMarket/level2Depth5",
        snapshot: None,
        is_beat: false,
    },
    Channel {
        venue: "kucoin",
        native: "BTC-USDT",
        request: r#"{"id":"7","type":"subscribe","topic":"/spotMarket/level2Depth50:BTC-USDT","response":true}"#,
        name: "/spotMarket/level2Depth50",
        snapshot: None,
        is_beat: false,
    },
    Channel {
        venue: "kucoin",
        native: "BTC-USDT",
        request: r#"{"id":"7","type":"subscribe","topic":"/market/level2:BTC-USDT","response":true}"#,
        name: "/market/level2",
        snapshot: Some((
            "/api/v3/market/orderbook/level2?symbol=BTC-USDT",
            r#"{"code":"200000","data":{"sequence":"2","bids":[["10.0","0.5"]],"asks":[["10.1","0.7"]]}}"#,
        )),
        is_beat: false,
    },
    Channel {
        venue: "htx",
        native: "btcusdt",
        request: r#"{"sub":"market.btcusdt.mbp.150","id":"7"}"#,
        name: "mbp.150",
        snapshot: None,
        is_beat: false,
    },
    Channel {
        venue: "htx",
        native: "btcusdt",
        request: r#"{"sub":"market.btcusdt.mbp.refresh.20","id":7}"#,
        name: "mbp.refresh.20",
        snapshot: None,
        is_beat: false,
    },
    Channel {
        venue: "htx",
        native: "btcusdt",
        request: r#"{"sub":"market.btcusdt.depth.step0"}"#,
        name: "depth.step0",
        snapshot: None,
        is_beat: false,
    },
    Channel {
        venue: "htx",
        native: "btcusdt",
        request: r#"{"sub":"market.btcusdt.ticker","id":"7"}"#,
        name: "ticker",
        snapshot: None,
        is_beat: true,
    },
    Channel {
        venue: "bitstamp",
        native: "btcusd",
        request: r#"{"event":"bts:subscribe","data":{"channel":"diff_order_book_btcusd"}}"#,
        name: "diff_order_book",
        snapshot: Some((
            "/api/v2/order_book/btcusd/?group=1",
            r#"{"microtimestamp":"1786613159748001","bids":[["10.0","0.5"]],"asks":[["10.1","0.7"]]}"#,
        )),
        is_beat: false,
    },
    Channel {
        venue: "mexc",
        native: "BTCUSDT",
        request: r#"{"method":"SUBSCRIPTION","params":["spot@public.aggre.depth.v3.api.pb@10ms@BTCUSDT"]}"#,
        name: "aggre.depth",
        snapshot: Some((
            "/api/v3/depth?symbol=BTCUSDT&limit=1000",
            r#"{"lastUpdateId":2,"bids":[["10.0","0.5"]],"asks":[["10.1","0.7"]]}"#,
        )),
        is_beat: false,
    },
    Channel {
        venue: "mexc",
        native: "BTCUSDT",
        request: r#"{"id":3,"method":"SUBSCRIPTION","params":["spot@public.limit.depth.v3.api.pb@BTCUSDT@5"]}"#,
        name: "limit.depth",
        snapshot: None,
        is_beat: false,
    },
    Channel {
        venue: "mexc",
        native: "BTCUSDT",
        request: r#"{"method":"SUBSCRIPTION","params":["spot@public.bookTicker.v3.api.pb@BTCUSDT"]}"#,
        name: "bookTicker",
        snapshot: None,
        is_beat: false,
    },
    Channel {
        venue: "upbit",
        native: "KRW-BTC",
        request: r#"[{"ticket":"x"},{"type":"orderbook","codes":["KRW-BTC"],"is_only_realtime":true},{"format":"JSON_LIST"}]"#,
        name: "orderbook",
        snapshot: None,
        is_beat: false,
    },
    live("gemini", "btcusdt", r#"{"id":"7","method":"subscribe","params":["btcusdt@depth@100ms"]}"#, "depth"),
    live(
        "gateio",
        "BTC_USDT",
        r#"{"time":1,"id":7,"channel":"spot.obu","event":"subscribe","payload":["ob.BTC_USDT.50"]}"#,
        "spot.obu",
    ),
    live(
        "gateio",
        "BTC_USDT",
        r#"{"time":1,"channel":"spot.order_book","event":"subscribe","payload":["BTC_USDT","5","100ms"]}"#,
        "spot.order_book",
    ),
    Channel {
        snapshot: Some((
            "/api/v4/spot/order_book?currency_pair=BTC_USDT&limit=100&with_id=true",
            r#"{"id":2,"current":1,"update":1,"bids":[["10.0","0.5"]],"asks":[["10.1","0.7"]]}"#,
        )),
        ..live(
            "gateio",
            "BTC_USDT",
            r#"{"time":1,"channel":"spot.order_book_update","event":"subscribe","payload":["BTC_USDT","100ms"]}"#,
            "spot.order_book_update",
        )
    },
    live(
        "bitget",
        "BTCUSDT",
        r#"{"op":"subscribe","args":[{"instType":"SPOT","channel":"books","instId":"BTCUSDT"}]}"#,
        "books",
    ),
    live(
        "bitget",
        "BTCUSDT",
        r#"{"op":"subscribe","args":[{"instType":"SPOT","channel":"books15","instId":"BTCUSDT"}]}"#,
        "books15",
    ),
    Channel {
        is_beat: true,
        ..live(
            "bitget",
            "BTCUSDT",
            r#"{"op":"subscribe","args":[{"instType":"SPOT","channel":"ticker","instId":"BTCUSDT"}]}"#,
            "ticker",
        )
    },
    live(
        "cryptocom",
        "BTC_USDT",
        r#"{"id":7,"method":"subscribe","params":{"channels":["book.BTC_USDT.50"],"book_subscription_type":"SNAPSHOT_AND_UPDATE","book_update_frequency":100}}"#,
        "book",
    ),
    live("cryptocom", "BTC_USDT", r#"{"method":"subscribe","params":{"channels":["book.BTC_USDT.10"]}}"#, "book"),
    Channel {
        is_beat: true,
        ..live(
            "cryptocom",
            "BTC_USDT",
            r#"{"id":7,"method":"subscribe","params":{"channels":["ticker.BTC_USDT"]}}"#,
            "ticker",
        )
    },
    Channel {
        snapshot: Some((
            "/api/v3/depth?symbol=BTCUSDT&limit=1000",
            r#"{"lastUpdateId":2,"bids":[["10.0","0.5"]],"asks":[["10.1","0.7"]]}"#,
        )),
        ..live("binanceus", "BTCUSDT", r#"{"method":"SUBSCRIBE","params":["btcusdt@depth@100ms"],"id":7}"#, "depth")
    },
];

fn level(price: u64, size: u64, scales: (u8, u8)) -> Level {
    Level { price: Decimal::new(price, scales.0), size: Decimal::new(size, scales.1) }
}

/// The codec and the exchange side of one channel, subscribed.
struct Line {
    codec: Box<dyn FeedCodec>,
    side: Box<dyn ExchangeSide>,
}

impl Line {
    fn open(channel: &Channel, quote: VenueQuote) -> (Self, Vec<Update>) {
        let venue = venue(channel.venue).unwrap();
        let codec = venue.codec(Symbols::discovering(venue.symbol_of()));
        let mut line = Self { codec, side: venue.exchange_side() };
        let hall = Hall(HashMap::from([(quote.native.clone(), quote)]));
        let mut said = Messages::default();
        line.side.opened("/?connectId=x&snapshot=-1", &hall, &mut said);
        line.side.receive(channel.request, &hall, &mut said);
        let mut updates = Vec::new();
        while !said.is_empty() {
            let (heard, asked) = line.hear(&said);
            updates.extend(heard);
            said = Messages::default();
            asked.iter().for_each(|request| line.side.receive(request, &hall, &mut said));
        }
        if let Some((path, body)) = channel.snapshot {
            let url = format!("https://api.example{path}");
            line.codec.snapshot(&url, body.as_bytes(), &mut Decoded::default()).unwrap();
        }
        (line, updates)
    }

    fn listen(&mut self, said: &[Message]) -> Vec<Update> {
        self.hear(said).0
    }

    /// What the codec reads, and what it asks for then.
    fn hear(&mut self, said: &[Message]) -> (Vec<Update>, Requests) {
        let mut out = Decoded::default();
        for message in said {
            let result = self.codec.decode(message.as_bytes(), MonoNs(0), &mut out);
            assert!(result.is_ok(), "{result:?} for {message:?}");
        }
        (out.updates, out.requests)
    }

    fn tops(&mut self, channel: &Channel, quote: &VenueQuote) -> Vec<Top> {
        let mut said = Messages::default();
        if channel.is_beat {
            self.side.statistics(quote, &mut said);
        } else {
            self.side.quote(quote, &mut said);
        }
        let updates = self.listen(&said);
        updates.iter().filter_map(|update| if let Update::Top(top) = update { Some(*top) } else { None }).collect()
    }
}

fn quote(channel: &Channel, bid: Level, ask: Level, sequence: u64) -> VenueQuote {
    let day = DayStatistics { last: 10.0, high: 11.0, low: 9.0, quote_volume: 100.0, ..DayStatistics::default() };
    let time = UnixNs(1_786_613_159_748_000_000 + sequence * 1_000_000);
    VenueQuote { native: channel.native.to_owned(), bid, ask, sequence, time, is_trading: true, day }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn every_channel_carries_the_quote_that_the_exchange_has(
        steps in proptest::collection::vec((1u64..100_000, 1u64..100, 1u64..100_000, 1u64..100_000, 0u8..6), 1..20)
    ) {
        for channel in &CHANNELS {
            let first = (level(100, 5, (1, 1)), level(101, 7, (1, 1)));
            let (mut line, _) = Line::open(channel, quote(channel, first.0, first.1, 2));
            let mut shown = first;
            for (number, (bid, above, bid_size, ask_size, scale)) in steps.iter().enumerate() {
                let now = (level(*bid, *bid_size, (*scale, 4)), level(bid + above, *ask_size, (*scale, 8)));
                if now == shown {
                    continue;
                }
                shown = now;
                let read = line.tops(channel, &quote(channel, now.0, now.1, number as u64 + 3));
                prop_assert_eq!(read.len(), 1, "{} {}", channel.venue, channel.request);
                prop_assert_eq!(read[0].channel, channel.name);
                prop_assert_eq!((read[0].bid, read[0].ask), now, "{} {}", channel.venue, channel.request);
            }
        }
    }
}

#[test]
fn a_side_that_is_gone_is_gone_on_every_channel() {
    for channel in &CHANNELS {
        let (bid, ask) = (level(100, 5, (1, 1)), level(101, 7, (1, 1)));
        let (mut line, _) = Line::open(channel, quote(channel, bid, ask, 2));
        let read = line.tops(channel, &quote(channel, bid, Level::ABSENT, 3));
        assert_eq!(read.last().map(|top| (top.bid, top.ask)), Some((bid, Level::ABSENT)), "{}", channel.request);
    }
}

#[test]
fn what_an_exchange_does_not_have_it_refuses_in_its_manner() {
    for channel in &CHANNELS {
        let unknown = channel
            .request
            .replace(channel.native, &channel.native.replace("BTC", "NONESUCH").replace("btc", "nonesuch"));
        if unknown == channel.request {
            continue;
        }
        let first = quote(channel, level(100, 5, (1, 1)), level(101, 7, (1, 1)), 2);
        let (_, updates) = Line::open(&Channel { request: unknown.leak(), snapshot: None, ..*channel }, first);
        // These do not say which symbol they mean.
        let named = if ["bitstamp", "upbit"].contains(&channel.venue) { "" } else { "NONESUCH" };
        let is_refusal = |update: &Update| matches!(update, Update::Refused(why) if why.to_uppercase().contains(named));
        assert!(updates.iter().any(is_refusal), "{updates:?}");
        assert!(!updates.iter().any(|update| matches!(update, Update::Subscribed(_) | Update::Top(_))), "{updates:?}");
    }
}
