//! The keys of the replaced system, read as its instances read them.

use std::sync::Arc;

use redis::Commands;
use serde_json::Value;
use spreadwire::cluster::legacy::{Legacy, LegacyParts};
use spreadwire::cluster::store::Store;
use spreadwire::cluster::{ClusterOptions, ClusterSettings};
use spreadwire::market::directory::VenueEntry;
use spreadwire::market::quote::QuoteOptions;
use spreadwire::market::statistics::DayStatistics;
use spreadwire::market::{Decimal, Directory, InstrumentId, Level, VenueId};
use spreadwire::matrix::days::DayTable;
use spreadwire::matrix::{CellQuote, CellState, MatrixWriter, QuoteMatrix};
use spreadwire::time::{HandClock, MS, MonoNs, SECOND, UnixNs};

use super::server::Server;

struct Rig {
    directory: Arc<Directory>,
    writer: MatrixWriter,
    days: Arc<DayTable>,
    hand: HandClock,
    legacy: Legacy,
    store: Store,
}

const FIRST: VenueId = VenueId(0);
const SECOND_VENUE: VenueId = VenueId(1);

impl Rig {
    fn new(server: &Server) -> Self {
        let symbols: Vec<String> = ["BTC/USDT", "ETH/USDT", "ETH/USD", "ETH/BTC"].map(str::to_owned).into();
        let venue = |name: &str| VenueEntry {
            name: name.to_owned(),
            taker_fee_pct: Decimal::ZERO,
            native: symbols.iter().cloned().map(Some).collect(),
        };
        let directory = Arc::new(Directory::new(symbols.clone(), vec![venue("binance"), venue("okx")]));
        let (matrix, writer) = QuoteMatrix::new(directory.pairs());
        let days = Arc::new(DayTable::new(directory.pairs()));
        let hand = HandClock::new(MonoNs(100 * SECOND), UnixNs::from_ms(1_763_700_000_000));
        let legacy = Legacy::new(LegacyParts {
            directory: Arc::clone(&directory),
            matrix,
            days: Arc::clone(&days),
            clock: hand.clock(),
            instance: "gw_7_1763700000000".to_owned(),
            hostname: "gw".to_owned(),
            order: vec![FIRST],
            quotes: QuoteOptions::default(),
        });
        let options = ClusterOptions { redis: server.url(), call_ms: 2000, ..ClusterOptions::default() };
        let settings = ClusterSettings { cluster: options, ..ClusterSettings::default() };
        Self { directory, writer, days, hand, legacy, store: Store::new(&settings).unwrap() }
    }

    fn quote(&mut self, instrument: u32, venue: VenueId, bid: &str, ask: &str, stamp_ms: u64) {
        let level = |price: &str| Level { price: price.parse().unwrap(), size: "1".parse().unwrap() };
        let pair = self.directory.pair(InstrumentId(instrument), venue);
        let quote = CellQuote {
            bid: level(bid),
            ask: level(ask),
            exchange_time: UnixNs::from_ms(stamp_ms),
            received: self.hand.clock().now(),
            state: CellState::Live,
            ..CellQuote::default()
        };
        self.writer.store(pair, &quote);
    }

    fn turn(&mut self, leads: &[VenueId]) {
        self.hand.advance(300 * MS);
        self.legacy.turn(&mut self.store, |venue| leads.contains(&venue)).unwrap();
    }
}

fn read(server: &Server, pair: &str) -> Option<Value> {
    let text: Option<String> = server.client().get(format!("price:dist:{pair}:latest")).unwrap();
    text.map(|text| serde_json::from_str(&text).unwrap())
}

#[test]
fn a_follower_of_the_replaced_system_reads_prices_and_leader() {
    let server = Server::start(&[]);
    let mut rig = Rig::new(&server);
    rig.quote(0, FIRST, "63704.00", "63704.10", 1_763_700_000_123);
    let day = DayStatistics {
        last: 63_704.05,
        high: 64_100.0,
        low: 62_900.0,
        change: 604.0,
        change_pct: 0.96,
        quote_volume: 1.25e9,
        ..Default::default()
    };
    rig.days.store(rig.directory.pair(InstrumentId(0), FIRST), &day);
    rig.turn(&[FIRST]);
    let text: String = server.client().get("price:dist:BTC/USDT:latest").unwrap();
    assert_eq!(
        text,
        r#"{"pair":"BTC/USDT","price":63704.05,"bid":63704,"ask":63704.1,"high24h":64100,"low24h":62900,"change24h":604,"changePercent24h":0.96,"volume24h":1250000000,"timestamp":1763700000123}"#
    );
    let lasts: u64 = server.client().ttl("price:dist:BTC/USDT:latest").unwrap();
    assert!((295..=300).contains(&lasts), "{lasts} s");
    // It subscribes to dollars and hears of USDT.
    assert_eq!(read(&server, "BTC/USD").unwrap()["pair"], "BTC/USD");
    let leader: String = server.client().get("price_stream:leader").unwrap();
    assert_eq!(leader, r#"{"instanceId":"gw_7_1763700000000","hostname":"gw","timestamp":1763700000300}"#);
    let lasts: u64 = server.client().ttl("price_stream:leader").unwrap();
    assert!((1..=5).contains(&lasts), "{lasts} s");
}

#[test]
fn a_new_price_has_another_timestamp_and_an_old_one_is_not_written_again() {
    let server = Server::start(&[]);
    let mut rig = Rig::new(&server);
    rig.quote(1, FIRST, "1.0", "1.1", 1000);
    rig.quote(2, FIRST, "5.0", "5.1", 1000);
    rig.turn(&[FIRST]);
    assert_eq!(read(&server, "ETH/USD").unwrap()["bid"], 5, "quoted in dollars by somebody, so no stand-in");
    let () = server.client().del("price:dist:ETH/USDT:latest").unwrap();
    rig.turn(&[FIRST]);
    assert_eq!(read(&server, "ETH/USDT"), None, "it has not changed");
    rig.quote(1, FIRST, "1.0", "1.2", 1001);
    rig.turn(&[FIRST]);
    assert_eq!(read(&server, "ETH/USDT").unwrap()["timestamp"], 1001);
    let () = server.client().del("price:dist:ETH/USDT:latest").unwrap();
    rig.hand.advance(60 * SECOND);
    rig.quote(1, FIRST, "1.0", "1.2", 1002);
    rig.turn(&[FIRST]);
    assert_eq!(read(&server, "ETH/USDT").unwrap()["timestamp"], 1002);
}

#[test]
fn only_who_leads_the_serving_venue_writes_and_a_price_that_is_none_is_not_written() {
    let server = Server::start(&[]);
    let mut rig = Rig::new(&server);
    rig.quote(3, FIRST, "0.03", "0.04", 1000);
    rig.quote(3, SECOND_VENUE, "0.05", "0.06", 2000);
    rig.turn(&[SECOND_VENUE]);
    assert_eq!(read(&server, "ETH/BTC"), None, "the first venue serves, and another instance leads it");
    assert_eq!(server.client().exists("price_stream:leader"), Ok(false));
    rig.hand.advance(31 * SECOND);
    rig.turn(&[FIRST, SECOND_VENUE]);
    assert_eq!(read(&server, "ETH/BTC"), None, "both are too old");
    rig.quote(3, SECOND_VENUE, "0.07", "0.08", 0);
    rig.turn(&[SECOND_VENUE]);
    let price = read(&server, "ETH/BTC").unwrap();
    assert_eq!((&price["bid"], price["timestamp"].as_u64()), (&serde_json::json!(0.07), Some(1_763_700_031_600)));
}
