//! Why a spread above the threshold is not alerted: feed sessions of simulated venues, the detector and the gateway in
//! one thread on a clock that only the test moves. Each test makes one reason apply and reads it from `/api/refusals`.

use std::ops::{Deref, DerefMut};
use std::time::Duration;

use serde_json::Value;
use spreadwire::gateway::Gateway;
use spreadwire::market::rule::{DetectorOptions, ThresholdOn};
use spreadwire::market::{Decimal, Level};
use spreadwire::sim::prices::Liveliness;
use spreadwire::stage::Stage;
use spreadwire::time::{MS, SECOND, UnixNs};
use spreadwire::venues::VenueQuote;

use crate::one_thread::{OneThread, REOPEN_MS, Setting};

/// Kraken reports halts in its stream.
const VENUES: [&str; 3] = ["kraken", "bybit", "okx"];
/// One step of the clock, in milliseconds.
const STEP_MS: u64 = 20;

/// What a venue quotes.
struct Quoting {
    /// The price in ten-thousandths of the first price, quoted at each step; `None`: nothing is quoted.
    level: Option<u64>,
    /// Time that the venue's stamps are behind its frames, in milliseconds.
    late_ms: u64,
    sequence: u64,
}

struct Rig {
    rig: OneThread,
    gateway: Gateway,
    quoting: Vec<Quoting>,
}

impl Deref for Rig {
    type Target = OneThread;

    fn deref(&self) -> &OneThread {
        &self.rig
    }
}

impl DerefMut for Rig {
    fn deref_mut(&mut self) -> &mut OneThread {
        &mut self.rig
    }
}

impl Rig {
    /// All venues quote the same price for two seconds.
    fn new(options: DetectorOptions) -> Self {
        let mut rig = Self::begin(options);
        rig.run(2000);
        assert_eq!(rig.board.detector.opened.value(), 0);
        rig
    }

    fn begin(options: DetectorOptions) -> Self {
        let setting = Setting {
            seed: 7,
            venues: &VENUES,
            instruments: &[("BTC", "USDT")],
            liveliness: Liveliness { rate: 1.0, opportunity_every_ms: 1_000_000 },
            options,
        };
        let mut gateway = None;
        let rig = OneThread::new(&setting, |tables| {
            let (made, subscriber) = tables.gateway();
            gateway = Some(made);
            vec![subscriber]
        });
        let quoting = VENUES.map(|_| Quoting { level: Some(10_000), late_ms: 0, sequence: 10 });
        let mut rig = Self { rig, gateway: gateway.unwrap(), quoting: quoting.into() };
        rig.connect();
        rig
    }

    /// Opens the connections that are due.
    fn connect(&mut self) {
        self.open();
        self.pump();
    }

    /// The connection is lost. It can be opened again after [`REOPEN_MS`].
    fn lose(&mut self, at: usize) {
        self.quoting[at].level = None;
        self.pipes[at].far = None;
        self.open();
    }

    /// Nothing was read from the venue's connection until now.
    fn stand_still(&mut self, at: usize) {
        let now = self.now();
        let OneThread { pipes, handover, .. } = &mut self.rig;
        pipes[at].feed.stood_still(now, &mut |event| handover.push(event));
    }

    /// The quote of the venue at its level; `change` makes another one of it.
    fn quote(&mut self, at: usize, change: impl Fn(&mut VenueQuote)) {
        let (now, unix) = (self.now(), self.hand.clock().unix());
        let OneThread { pipes, prices, .. } = &mut self.rig;
        let Quoting { level, late_ms, sequence } = &mut self.quoting[at];
        let (_, first) = prices.quote(prices.cell_of(0, "BTC/USDT").unwrap());
        let cents = (first.ask.price.to_f64() * 100.0) as u64 * level.unwrap_or(10_000) / 10_000;
        // The size differs each time, so that no frame repeats the last one.
        *sequence += 1;
        let size = Decimal::new(10_000 + *sequence, 4);
        let side = |cents| Level { price: Decimal::new(cents, 2), size };
        let (_, own) = prices.quote(prices.cell_of(at, "BTC/USDT").unwrap());
        let time = UnixNs(unix.0 - *late_ms * MS);
        let mut quote =
            VenueQuote { bid: side(cents - 10), ask: side(cents), sequence: *sequence, time, ..own.clone() };
        change(&mut quote);
        pipes[at].far.as_mut().unwrap().quote(&quote, now);
    }

    fn run(&mut self, ms: u64) {
        for _ in 0..ms / STEP_MS {
            for at in 0..VENUES.len() {
                if self.quoting[at].level.is_some() {
                    self.quote(at, |_| ());
                }
            }
            self.step();
        }
    }

    /// The same with one quote of each venue in half a second.
    fn run_slowly(&mut self, seconds: u64) {
        for _ in 0..seconds * 2 {
            (0..VENUES.len()).for_each(|at| self.quote(at, |_| ()));
            self.hand.advance(SECOND / 2 - STEP_MS * MS);
            self.step();
        }
    }

    fn step(&mut self) {
        self.hand.advance(STEP_MS * MS);
        self.pump();
        self.detect();
        while self.gateway.turn(Duration::ZERO) > 0 {}
    }

    /// Status and body of a page.
    fn page(&mut self, path: &str) -> (u64, Value) {
        let wire = self.gateway.connect(1 << 20);
        wire.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").as_bytes());
        let mut answer = Vec::new();
        while !wire.is_closed() || answer.is_empty() {
            self.gateway.turn(Duration::ZERO);
            wire.receive(usize::MAX, &mut answer);
        }
        let text = String::from_utf8(answer).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        (head[9..12].parse().unwrap(), serde_json::from_str(body).unwrap())
    }

    /// The examples of this reason. Fails if anything was alerted.
    #[track_caller]
    fn refused(&mut self, reason: &str) -> Vec<Value> {
        // The page is published a few times per second.
        self.run(400);
        self.look(reason)
    }

    #[track_caller]
    fn look(&mut self, reason: &str) -> Vec<Value> {
        let all = self.page("/api/refusals").1;
        assert_eq!(self.board.detector.alerts.value(), 0, "{all}");
        let (status, page) = self.page(&format!("/api/refusals?symbol=BTC/USDT&reason={reason}"));
        assert_eq!(status, 200, "{page}");
        let examples = page["examples"].as_array().unwrap().clone();
        assert!(page["reasons"][reason].as_u64().unwrap() >= examples.len() as u64, "{page}");
        assert!(!examples.is_empty(), "{all}");
        assert!(examples.iter().all(|it| it["reason"] == reason && it["symbol"] == "BTC/USDT"), "{page}");
        examples
    }
}

fn fields<'a>(example: &'a Value, names: &[&str]) -> Vec<&'a Value> {
    names.iter().map(|name| &example[*name]).collect()
}

const KRAKEN: usize = 0;
const BYBIT: usize = 1;

#[test]
fn a_venue_that_halts_the_instrument_is_not_traded_with() {
    let mut rig = Rig::new(DetectorOptions::default());
    let (_, own) = rig.prices.quote(rig.prices.cell_of(KRAKEN, "BTC/USDT").unwrap());
    let halted = VenueQuote { is_trading: false, ..own.clone() };
    let now = rig.now();
    rig.pipes[KRAKEN].far.as_mut().unwrap().trading(&halted, now);
    rig.step();
    (1..3).for_each(|at| rig.quoting[at].level = Some(10_100));
    let examples = rig.refused("not_trading");
    assert_eq!(fields(&examples[0], &["leg", "buyExchange", "fault"]), ["buy", "kraken", "halted"]);
}

#[test]
fn a_leg_that_is_not_quoted_any_more_is_stale_with_its_age_and_the_limit() {
    let options = DetectorOptions { leg_age_max_ms: 1000, ..DetectorOptions::default() };
    let mut rig = Rig::new(options);
    rig.quoting[KRAKEN].level = None;
    rig.run(1200);
    (1..3).for_each(|at| rig.quoting[at].level = Some(10_100));
    let examples = rig.refused("stale_leg");
    let newest = &examples[0];
    assert_eq!(
        fields(newest, &["leg", "buyExchange", "unit", "limit"]),
        [&Value::from("buy"), &Value::from("kraken"), &Value::from("ms"), &Value::from(1000)]
    );
    assert!(newest["value"].as_f64().unwrap() > 1000.0 && newest["buyAgeMs"].as_u64().unwrap() >= 1000, "{newest}");
    assert!(newest["spreadPct"].as_f64().unwrap() > 0.5, "{newest}");
    let (_, all) = rig.page("/api/refusals");
    let routes: Vec<&str> =
        all["routes"].as_array().unwrap().iter().map(|route| route["sellExchange"].as_str().unwrap()).collect();
    assert_eq!(routes, ["bybit", "okx"], "{all}");
}

#[test]
fn a_lost_connection_makes_void_legs() {
    let mut rig = Rig::new(DetectorOptions::default());
    rig.lose(KRAKEN);
    rig.run(100);
    (1..3).for_each(|at| rig.quoting[at].level = Some(10_100));
    let examples = rig.refused("void_leg");
    assert_eq!(fields(&examples[0], &["leg", "buyExchange", "fault"]), ["buy", "kraken", "lost"]);
}

#[test]
fn a_quote_without_a_side_and_a_crossed_one_are_no_legs() {
    for (reason, fault) in [("one_sided", "one_sided"), ("crossed_leg", "crossed")] {
        let mut rig = Rig::new(DetectorOptions::default());
        rig.quoting[BYBIT].level = None;
        rig.quote(BYBIT, |quote| match fault {
            "crossed" => std::mem::swap(&mut quote.bid, &mut quote.ask),
            _ => quote.ask.size = Decimal::ZERO,
        });
        rig.step();
        for at in [KRAKEN, 2] {
            rig.quoting[at].level = Some(10_100);
        }
        let examples = rig.refused(reason);
        assert_eq!(fields(&examples[0], &["leg", "buyExchange", "fault"]), ["buy", "bybit", fault]);
    }
}

#[test]
fn a_price_that_jumps_is_suspect() {
    let mut rig = Rig::new(DetectorOptions::default());
    rig.quoting[BYBIT].level = None;
    rig.quote(BYBIT, |quote| {
        for side in [&mut quote.bid, &mut quote.ask] {
            side.price = Decimal::new(side.price.mantissa() * 2, side.price.scale());
        }
    });
    let examples = rig.refused("suspect_jump");
    assert_eq!(fields(&examples[0], &["leg", "sellExchange"]), ["sell", "bybit"]);
}

#[test]
fn a_venue_whose_stamps_are_late_is_lagging() {
    let mut rig = Rig::new(DetectorOptions::default());
    let bybit = &mut rig.quoting[BYBIT];
    (bybit.level, bybit.late_ms) = (Some(10_100), 900);
    let examples = rig.refused("lagging_venue");
    assert_eq!(fields(&examples[0], &["leg", "sellExchange"]), ["sell", "bybit"]);
}

#[test]
fn the_first_quote_of_a_new_connection_is_no_leg_and_a_venue_that_reconnects_often_waits_for_half_a_minute() {
    let mut rig = Rig::new(DetectorOptions::default());
    rig.lose(BYBIT);
    rig.run(REOPEN_MS + STEP_MS);
    // The new connection begins with the first price, which the others have left.
    [KRAKEN, 2].into_iter().for_each(|at| rig.quoting[at].level = Some(10_100));
    rig.connect();
    let examples = rig.refused("reconnect");
    assert_eq!(fields(&examples[0], &["leg", "buyExchange"]), ["buy", "bybit"]);
    for _ in 0..3 {
        rig.lose(BYBIT);
        rig.run(REOPEN_MS + STEP_MS);
        rig.connect();
        rig.quoting[BYBIT].level = Some(10_100);
        rig.run(1000);
    }
    rig.quoting[BYBIT].level = Some(10_200);
    let examples = rig.refused("reconnect");
    assert_eq!(fields(&examples[0], &["sellExchange", "unit"]), ["bybit", "ms"], "{:?}", examples[0]);
    assert_eq!(examples[0]["limit"], 30_000);
    rig.run(30_000);
    assert!(rig.board.detector.alerts.value() > 0, "over after half a minute");
}

#[test]
fn a_spread_at_which_a_route_usually_stands_is_no_news_and_what_exceeds_it_is() {
    // With half a second between two quotes, neither a stall of the process nor a fault of the feed is detected.
    let options = DetectorOptions { feed_score_min: 0, ..DetectorOptions::default() };
    let mut rig = Rig::new(options);
    rig.rig.detector = rig.rig.detector.on_jumping_clock();
    rig.quoting[BYBIT].level = Some(10_049);
    rig.run_slowly(12 * 60);
    rig.quoting[BYBIT].level = Some(10_060);
    let examples = rig.refused("standing_basis");
    let newest = &examples[0];
    assert_eq!(fields(newest, &["sellExchange", "unit"]), ["bybit", "pct"], "{newest}");
    let beyond = newest["value"].as_f64().unwrap();
    assert!((0.1..0.12).contains(&beyond) && newest["limit"] == 0.5, "{newest}");
    rig.quoting[BYBIT].level = Some(10_150);
    rig.run(100);
    let open = rig.page("/api/opportunities").1["open"][0].clone();
    assert_eq!(open["sellExchange"], "bybit", "{open}");
    assert!((0.28..0.3).contains(&open["basisPct"].as_f64().unwrap()), "{open}");
}

#[test]
fn a_connection_that_was_not_read_for_a_while_is_behind() {
    let mut rig = Rig::new(DetectorOptions::default());
    rig.run(3000);
    rig.stand_still(BYBIT);
    rig.quoting[BYBIT].level = Some(10_100);
    rig.run(100);
    let examples = rig.look("lagging_own");
    assert_eq!(fields(&examples[0], &["leg", "sellExchange"]), ["sell", "bybit"]);
}

#[test]
fn a_venue_that_never_agreed_is_another_asset() {
    let mut rig = Rig::begin(DetectorOptions::default());
    rig.run(40);
    rig.quoting[BYBIT].level = Some(10_400);
    let examples = rig.refused("identity");
    assert_eq!(examples[0]["sellExchange"], "bybit");
}

#[test]
fn a_spread_above_the_ceiling_is_implausible_with_its_figure() {
    let mut rig = Rig::new(DetectorOptions::default());
    rig.quoting[BYBIT].level = Some(11_500);
    let examples = rig.refused("implausible");
    let newest = &examples[0];
    assert_eq!(
        fields(newest, &["sellExchange", "unit", "limit"]),
        [&Value::from("bybit"), &Value::from("pct"), &Value::from(10)]
    );
    assert_eq!(newest["value"], newest["netSpreadPct"]);
    assert!(newest["value"].as_f64().unwrap() > 14.0, "{newest}");
}

#[test]
fn a_gross_spread_that_the_fees_take_is_refused_where_the_threshold_is_for_the_net_spread() {
    let mut rig = Rig::new(DetectorOptions { threshold_on: ThresholdOn::Net, ..DetectorOptions::default() });
    rig.quoting[BYBIT].level = Some(10_065);
    let examples = rig.refused("fees");
    let newest = &examples[0];
    assert!(newest["spreadPct"].as_f64().unwrap() > 0.5 && newest["netSpreadPct"].as_f64().unwrap() < 0.5, "{newest}");
    assert_eq!(newest["limit"], 0.5);
    let taken = rig.page("/api/refusals?buy=bybit").1;
    assert_eq!(taken["examples"], serde_json::json!([]), "{taken}");
}

#[test]
fn a_parameter_that_names_nothing_is_answered_with_what_there_is() {
    let mut rig = Rig::begin(DetectorOptions::default());
    let (status, body) = rig.page("/api/refusals?reason=bad_luck");
    assert_eq!((status, body["error"].as_str()), (400, Some("Invalid reason: bad_luck")));
    assert!(body["available"].as_array().unwrap().contains(&Value::from("stale_leg")));
    let (status, body) = rig.page("/api/refusals?sell=nyse");
    assert_eq!((status, &body["available"]), (400, &serde_json::json!(VENUES)));
    assert_eq!(rig.page("/api/refusals?symbol=X/Y").0, 404);
    assert!(rig.directory.venue_named("kraken").is_some());
}
