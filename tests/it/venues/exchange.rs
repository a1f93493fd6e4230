//! What a venue's exchange side writes, its codec reads back: acknowledgements, quotes, statistics.

use std::collections::HashMap;

use proptest::prelude::*;
use serde_json::json;
use spreadwire::market::statistics::DayStatistics;
use spreadwire::market::{Decimal, InstrumentId, Level};
use spreadwire::time::{MonoNs, SECOND, UnixNs};
use spreadwire::venues::{
    Cut, Decoded, ExchangeSide, FeedCodec, Keepalive, Market, Message, Messages, Opening, SymbolEntry, Symbols, Top,
    Update, VENUES, Venue, VenueQuote,
};
use spreadwire::wire::gzip::Gunzip;

use super::{WITHOUT_DAY, is_json};

const SYMBOLS: [(&str, &str); 3] = [("BTC", "USDT"), ("ETH", "BTC"), ("DOGE", "USDT")];
const START: UnixNs = UnixNs::from_ms(1_786_613_159_748);

#[derive(Default)]
struct Hall(HashMap<String, VenueQuote>);

impl Market for Hall {
    fn quote(&self, native: &str) -> Option<VenueQuote> {
        self.0.get(native).cloned()
    }

    fn now(&self) -> UnixNs {
        START
    }
}

/// A codec and an exchange side, joined without a socket.
struct Pair {
    venue: &'static dyn Venue,
    codec: Box<dyn FeedCodec>,
    /// Reads the same frames with a blank before each, which no scanner of a fixed shape accepts.
    general: Box<dyn FeedCodec>,
    side: Box<dyn ExchangeSide>,
    hall: Hall,
    /// Each time the codec listens it is a second later: day figures may be told at a pace.
    now: MonoNs,
}

impl Pair {
    /// Joined, with all requests sent and answered; gives all that the codec read by then.
    fn open(venue: &'static dyn Venue, hall: Hall) -> (Self, Vec<Update>) {
        let entries = SYMBOLS.iter().enumerate().map(|(at, (base, quote))| SymbolEntry {
            id: InstrumentId(at as u32),
            native: venue.native(base, quote).unwrap(),
            symbol: format!("{base}/{quote}"),
        });
        let symbols = Symbols::configured(entries.collect());
        let (codec, general) = (venue.codec(symbols.clone()), venue.codec(symbols));
        let mut pair = Self { venue, codec, general, side: venue.exchange_side(), hall, now: MonoNs(1) };
        let address = match venue.facts().opening {
            Opening::Direct | Opening::Prompt { .. } | Opening::Patient { .. } => venue.facts().address.to_owned(),
            Opening::Token { path } => {
                let reply = venue.rest("POST", path, "ws://127.0.0.1:9", &pair.hall).expect("a token reply");
                venue.endpoint(reply.as_bytes()).unwrap()
            }
        };
        let target = address.splitn(4, '/').nth(3).map_or("/".to_owned(), |path| format!("/{path}"));
        let mut said = Messages::default();
        pair.side.opened(&target, &pair.hall, &mut said);
        let mut requests = Vec::new();
        pair.codec.opened(&mut requests);
        pair.general.opened(&mut Vec::new());
        let mut updates = pair.listen(&said, &mut requests);
        while !requests.is_empty() {
            let mut said = Messages::default();
            for request in std::mem::take(&mut requests) {
                pair.side.receive(&request, &pair.hall, &mut said);
            }
            updates.extend(pair.listen(&said, &mut requests));
        }
        (pair, updates)
    }

    /// The codec reads `said`; what it wants sent is added to `requests`.
    fn listen(&mut self, said: &[Message], requests: &mut Vec<String>) -> Vec<Update> {
        let (mut out, mut general) = (Decoded::default(), Decoded::default());
        self.now = self.now.plus(SECOND);
        for message in said {
            let frame = message.as_bytes();
            let result = self.codec.decode(frame, self.now, &mut out);
            assert!(result.is_ok(), "{}: {result:?} for {message:?}", self.venue.facts().name);
            let plain = Gunzip::new(1 << 20).unpack(frame).map_or(frame.to_vec(), <[u8]>::to_vec);
            let other = if is_json(&plain) { [b" ", &plain[..]].concat() } else { plain };
            assert_eq!(self.general.decode(&other, self.now, &mut general), result, "{message:?}");
        }
        assert_eq!(out.updates, general.updates, "{}: the two ways of reading differ", self.venue.facts().name);
        requests.append(&mut out.answers);
        requests.append(&mut out.requests);
        out.updates
    }

    /// The exchange changes its top, the codec reads what it writes.
    fn quote(&mut self, quote: &VenueQuote) -> Vec<Update> {
        let mut said = Messages::default();
        self.side.quote(quote, &mut said);
        self.listen(&said, &mut Vec::new())
    }
}

fn level(price: u64, size: u64, scales: (u8, u8)) -> Level {
    Level { price: Decimal::new(price, scales.0), size: Decimal::new(size, scales.1) }
}

fn venue_quote(venue: &dyn Venue, at: usize, bid: Level, ask: Level, sequence: u64) -> VenueQuote {
    let day = DayStatistics {
        last: 100.5,
        high: 110.25,
        low: 90.5,
        change: -2.0,
        change_pct: -1.951,
        quote_volume: 123_456.5,
        ..DayStatistics::default()
    };
    let native = venue.native(SYMBOLS[at].0, SYMBOLS[at].1).unwrap();
    VenueQuote { native, bid, ask, sequence, time: UnixNs(START.0 + sequence * 1_000_000), is_trading: true, day }
}

fn first_quotes(venue: &dyn Venue) -> Hall {
    let quotes = (0..SYMBOLS.len()).map(|at| {
        let quote = venue_quote(venue, at, level(100, 5, (1, 1)), level(101, 7, (1, 1)), 2);
        (quote.native.clone(), quote)
    });
    Hall(quotes.collect())
}

fn tops(updates: &[Update]) -> Vec<Top> {
    updates.iter().filter_map(|u| if let Update::Top(top) = u { Some(*top) } else { None }).collect()
}

#[test]
fn every_subscription_is_acknowledged() {
    for &venue in VENUES {
        let (_, updates) = Pair::open(venue, first_quotes(venue));
        for id in 0..SYMBOLS.len() {
            let subscribed = Update::Subscribed(InstrumentId(id as u32));
            assert!(updates.contains(&subscribed), "{}: {subscribed:?} in {updates:?}", venue.facts().name);
        }
        let refused: Vec<_> = updates.iter().filter(|u| matches!(u, Update::Refused(_))).collect();
        assert!(refused.is_empty(), "{}: {refused:?}", venue.facts().name);
    }
}

/// What the exchange side of `venue` says to these requests, as JSON.
fn answers(venue: &str, requests: &[serde_json::Value]) -> Vec<serde_json::Value> {
    let venue = spreadwire::venues::venue(venue).unwrap();
    let (mut side, hall, mut said) = (venue.exchange_side(), first_quotes(venue), Messages::default());
    requests.iter().for_each(|request| side.receive(&request.to_string(), &hall, &mut said));
    said.iter().map(|message| serde_json::from_slice(message.as_bytes()).unwrap()).collect()
}

/// cryptofeed writes a blank behind the colon of a topic.
#[test]
fn kucoin_takes_topics_with_blanks_and_refuses_what_is_not_there() {
    let ask = |topic: &str| {
        let request = json!({"id": 7, "type": "subscribe", "topic": topic, "privateChannel": false, "response": true});
        answers("kucoin", &[request])
    };
    let both = ask("/market/ticker:BTC-USDT,ETH-BTC");
    let topics: Vec<_> = both.iter().map(|it| it["topic"].as_str().unwrap_or_default()).collect();
    assert_eq!(topics, ["", "/market/ticker:BTC-USDT", "/market/ticker:ETH-BTC"]);
    assert_eq!(both[0], json!({"id": "7", "type": "ack"}));
    for topic in [
        "/market/ticker: BTC-USDT,ETH-BTC",
        "/market/ticker:BTC-USDT, ETH-BTC",
        "/market/ticker : BTC-USDT , ETH-BTC ",
        " /market/ticker:\tBTC-USDT,  ETH-BTC",
    ] {
        assert_eq!(ask(topic), both, "{topic:?}");
    }
    assert_eq!(ask("/market/ticker: all")[0]["type"], "ack");
    for topic in ["/market/ticker: DOGE-BTC", "/market/ticker:BTC USDT", "/market/ tick:BTC-USDT", "/market/ticker", ""]
    {
        let refused = ask(topic);
        assert_eq!(
            (refused.len(), &refused[0]["type"], &refused[0]["code"]),
            (1, &json!("error"), &json!(404)),
            "{topic:?}"
        );
    }
}

/// https://docs.bitfinex.com/docs/ws-general, "Subscribe to channels": `subId` is the client's own and comes back.
#[test]
fn bitfinex_gives_back_the_clients_own_name_of_a_subscription() {
    let ask = |more: serde_json::Value| {
        let mut request = json!({"event": "subscribe", "channel": "ticker", "symbol": "tBTCUST"});
        more.as_object().unwrap().iter().for_each(|(name, value)| request[name] = value.clone());
        answers("bitfinex", &[request]).into_iter().find(|it| it["event"] == "subscribed").expect("subscribed")
    };
    for name in [json!("mine"), json!("t BTC/USD"), json!(12), json!("")] {
        assert_eq!(ask(json!({"subId": name.clone()}))["subId"], name);
        assert_eq!(ask(json!({"subId": name.clone(), "channel": "book", "len": "25"}))["subId"], name);
    }
    assert_eq!(ask(json!({})).get("subId"), None);
}

#[test]
fn day_statistics_come_back_as_they_were() {
    for &venue in VENUES.iter().filter(|venue| !WITHOUT_DAY.contains(&venue.facts().name)) {
        let (mut pair, _) = Pair::open(venue, first_quotes(venue));
        let quote = venue_quote(venue, 1, level(100, 5, (1, 1)), level(101, 7, (1, 1)), 3);
        let mut said = Messages::default();
        pair.side.statistics(&quote, &mut said);
        let updates = pair.listen(&said, &mut Vec::new());
        let name = venue.facts().name;
        let day = updates.iter().find_map(|u| if let Update::Statistics(day) = u { Some(*day) } else { None });
        let day = day.unwrap_or_else(|| panic!("{name}: no statistics in {said:?}"));
        assert_eq!(day.instrument, InstrumentId(1), "{name}");
        let pairs = [
            (day.last, quote.day.last),
            (day.high, quote.day.high),
            (day.low, quote.day.low),
            (day.change, quote.day.change),
            (day.change_pct, quote.day.change_pct),
            (day.quote_volume, quote.day.quote_volume),
        ];
        for (read, meant) in pairs {
            assert!((read - meant).abs() <= meant.abs() / 100.0, "{name}: {read} for {meant} in {said:?}");
        }
    }
}

#[test]
fn statistics_of_binance_carry_their_own_time_and_not_that_of_the_quote_in_them() {
    for &venue in VENUES.iter().filter(|venue| venue.facts().name.starts_with("binance")) {
        let (mut pair, _) = Pair::open(venue, first_quotes(venue));
        let mut quote = venue_quote(venue, 1, level(100, 5, (1, 1)), level(101, 7, (1, 1)), 3);
        quote.day.exchange_time = UnixNs(quote.time.0 + 5 * SECOND);
        let mut said = Messages::default();
        pair.side.statistics(&quote, &mut said);
        let updates = pair.listen(&said, &mut Vec::new());
        let times: Vec<UnixNs> = updates
            .iter()
            .filter_map(|update| if let Update::Statistics(day) = update { Some(day.exchange_time) } else { None })
            .collect();
        assert_eq!(times, [quote.day.exchange_time], "{}", venue.facts().name);
    }
}

#[test]
fn heartbeats_and_keepalives_are_understood() {
    for &venue in VENUES {
        let (mut pair, _) = Pair::open(venue, first_quotes(venue));
        let mut said = Messages::default();
        for second in 0..120 {
            pair.side.heartbeat(UnixNs(START.0 + second * SECOND), &mut said);
        }
        let mut requests = Vec::new();
        pair.codec.keepalive(&mut requests);
        for request in requests {
            let before = said.len();
            pair.side.receive(&request, &pair.hall, &mut said);
            assert_eq!(said.len(), before + 1, "{}: no answer to {request}", venue.facts().name);
        }
        for top in tops(&pair.listen(&said, &mut Vec::new())) {
            assert_eq!(top.bid, level(100, 5, (1, 1)), "{}", venue.facts().name);
        }
    }
}

#[test]
fn a_keepalive_is_sent_well_before_its_venue_misses_it() {
    for venue in VENUES {
        let Keepalive::Client { every_ms, cut: Cut::Unheard { ms } | Cut::Idle { ms } } = venue.facts().keepalive
        else {
            continue;
        };
        assert!(every_ms * 5 <= ms * 4, "{}: each {every_ms} of {ms} ms", venue.facts().name);
    }
}

#[test]
fn a_one_sided_book_stays_one_sided() {
    for &venue in VENUES {
        let (mut pair, _) = Pair::open(venue, first_quotes(venue));
        let quote = venue_quote(venue, 0, level(100, 5, (1, 1)), Level::ABSENT, 3);
        let read = tops(&pair.quote(&quote));
        // A venue may say nothing at all when a side is gone; it may not say a price.
        if let Some(top) = read.last() {
            assert_eq!((top.bid, top.ask), (quote.bid, Level::ABSENT), "{}", venue.facts().name);
        }
    }
}

/// A random walk of quotes: instrument, prices and sizes, never crossed.
fn walk() -> impl Strategy<Value = Vec<(usize, Level, Level)>> {
    let step = (0..SYMBOLS.len(), 1u64..1_000_000_000, 1u64..1000, 1u64..1_000_000_000, 1u64..1_000_000_000, 0u8..8);
    let step = step.prop_map(|(at, bid, above, bid_size, ask_size, scale)| {
        (at, level(bid, bid_size, (scale, 5)), level(bid + above, ask_size, (scale, 8)))
    });
    proptest::collection::vec(step, 1..20)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn the_codec_reads_the_quote_that_the_exchange_wrote(steps in walk()) {
        for &venue in VENUES {
            let name = venue.facts().name;
            let (mut pair, _) = Pair::open(venue, first_quotes(venue));
            let mut shown = [(level(100, 5, (1, 1)), level(101, 7, (1, 1))); SYMBOLS.len()];
            for (at, bid, ask) in &steps {
                if shown[*at] == (*bid, *ask) {
                    continue;
                }
                shown[*at] = (*bid, *ask);
                let sequence = pair.hall.0[&venue.native(SYMBOLS[*at].0, SYMBOLS[*at].1).unwrap()].sequence + 1;
                let quote = venue_quote(venue, *at, *bid, *ask, sequence);
                pair.hall.0.insert(quote.native.clone(), quote.clone());
                let read = tops(&pair.quote(&quote));
                prop_assert_eq!(read.len(), 1, "{}: {:?}", name, &quote);
                let top = read[0];
                prop_assert_eq!(top.instrument, InstrumentId(*at as u32), "{}", name);
                prop_assert_eq!((top.bid, top.ask), (*bid, *ask), "{}", name);
                prop_assert!(top.exchange_time == UnixNs(0) || top.exchange_time.ms() == quote.time.ms(), "{}", name);
                prop_assert!(top.sequence == 0 || top.sequence == sequence || name == "coinbase", "{}", name);
            }
        }
    }
}
