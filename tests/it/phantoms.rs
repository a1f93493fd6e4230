//! Phantoms: opportunities that do not exist. The simulator plays one kind after the other and records what each book
//! really was. The detector is compared with that record, in one thread on a clock that only the test moves: each alert
//! has a cross in the true books, each true cross without a fault is found, and each refusal has an expected reason.
//!
//! `PHANTOM_MINUTES=60 PHANTOM_SEEDS=20` plays more than CI does, `PHANTOM_SEED=17` one seed.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use spreadwire::market::opportunity::{Change, Opportunity, Proof, gross_pct};
use spreadwire::market::rule::DetectorOptions;
use spreadwire::market::{Decimal, InstrumentId, Level, VenueId};
use spreadwire::sim::prices::Liveliness;
use spreadwire::sim::truth::{TrueTop, Truth, TruthSink};
use spreadwire::time::{MS, MonoNs, UnixNs};

use crate::one_thread::{OneThread, Setting};

/// One step of the clock: the cadence of every channel here.
const STEP_MS: u64 = 10;
/// Changed tops in a step.
const UPDATES: usize = 1;
/// The feed may treat a quote that is this late, in nanoseconds, as on time: its limit, and the two steps of the clock that the
/// measurement takes.
const LATE_MAX_NS: u64 = (250 + 2 * STEP_MS) * MS;
/// Time after the start in which a connection learns what is usual, in milliseconds. No cross has to be found in it.
const LEARNING_MS: u64 = 15_000;
/// A venue recovers from a fault within this time, in milliseconds. Its crosses do not have to be found in it.
const RECOVERY_MS: u64 = 15_000;
/// Faults are played on [`Phantom::venue`]; the other venues have none.
const VENUES: [&str; 5] = ["okx", "kraken", "bybit", "coinbase", "bitget"];
const INSTRUMENTS: [(&str, &str); 2] = [("BTC", "USDT"), ("ETH", "USDT")];
/// Lists are read this often, in milliseconds.
const LIST_EVERY_MS: u64 = 5_000;

/// A kind of phantom.
#[derive(Clone, Copy)]
struct Phantom {
    /// The faults of the venue: tables without their `venue`.
    faults: &'static [&'static str],
    /// The reasons for which candidates of the venue may be refused.
    reasons: &'static [&'static str],
    /// The reason that must be seen; empty: none needs to be.
    seen: &'static str,
    /// The venue's own true crosses must be found, too.
    is_harmless: bool,
    /// The venue that has the faults.
    venue: &'static str,
    minutes: f64,
    seeds: u64,
}

const PHANTOM: Phantom =
    Phantom { faults: &[], reasons: &[], seen: "", is_harmless: false, venue: "okx", minutes: 1.0, seeds: 3 };

/// The record in memory.
#[derive(Clone, Default)]
struct Record(Arc<Mutex<Vec<TrueTop>>>);

impl TruthSink for Record {
    fn record(&mut self, top: &TrueTop, _: &str, _: &str) {
        self.0.lock().unwrap().push(top.clone());
    }
}

/// An opportunity that was open; `to` is `None` while it is.
struct Seen {
    opportunity: Opportunity,
    from: UnixNs,
    to: Option<UnixNs>,
}

/// A run of the simulation and its results.
struct Run {
    rig: OneThread,
    record: Record,
    alerts: Vec<(UnixNs, Opportunity)>,
    /// Opportunities that were sent as proven.
    proven: Vec<(UnixNs, MonoNs, Opportunity)>,
    seen: Vec<Seen>,
    /// Indices in `seen` of those that are open.
    open: HashMap<Route, usize>,
    /// Refusals by the pair of venues and the word of the reason.
    refused: BTreeMap<(VenueId, VenueId, &'static str), u64>,
    phantom: Phantom,
}

fn threshold() -> Decimal {
    DetectorOptions::default().threshold_pct
}

/// A market in which nothing has happened yet.
fn begin(phantom: Phantom, seed: u64) -> Run {
    let setting = Setting {
        seed,
        venues: &VENUES,
        instruments: &INSTRUMENTS,
        liveliness: Liveliness { rate: 1000.0 * UPDATES as f64 / STEP_MS as f64, opportunity_every_ms: 1500 },
        options: DetectorOptions { debounce_ms: 0, ..DetectorOptions::default() },
    };
    let mut rig = OneThread::new(&setting, |_| Vec::new());
    let entry = |fault: &&str| format!("[[fault]]\nvenue = \"{}\"\n{fault}\n", phantom.venue);
    rig.follow(&phantom.faults.iter().map(entry).collect::<String>());
    let record = Record::default();
    rig.record_truth(Truth::new(Box::new(record.clone())));
    let (alerts, proven, seen) = (Vec::new(), Vec::new(), Vec::new());
    let (open, refused) = (HashMap::new(), BTreeMap::new());
    Run { rig, record, alerts, proven, seen, open, refused, phantom }
}

fn play(phantom: Phantom, seed: u64, minutes: f64) -> Run {
    let mut run = begin(phantom, seed);
    let ms = (minutes * 60_000.0) as u64;
    while run.rig.elapsed_ms() < ms {
        run.step(UPDATES);
    }
    run.count();
    run
}

type Route = (InstrumentId, VenueId, VenueId);

impl Run {
    fn step(&mut self, updates: usize) {
        let rig = &mut self.rig;
        rig.hand.advance(STEP_MS * MS);
        rig.trouble();
        rig.open();
        rig.step_prices(updates);
        rig.each_second();
        if rig.elapsed_ms() % LIST_EVERY_MS < STEP_MS {
            rig.read_lists();
        }
        rig.pump();
        rig.detect();
        let now = rig.hand.clock().unix();
        while let Ok(event) = rig.events.pop() {
            let found = event.opportunity;
            let route = (found.instrument, found.buy.venue, found.sell.venue);
            match event.change {
                Change::Opened => {
                    self.open.insert(route, self.seen.len());
                    self.seen.push(Seen { opportunity: found, from: now, to: None });
                }
                Change::Closed(_) => {
                    let at = self.open.remove(&route).expect("closed without being open");
                    self.seen[at].to = Some(now);
                }
                _ => {}
            }
            if event.alert {
                self.alerts.push((now, found));
            }
            if found.coexistence.proof == Proof::Proven && event.change.reason().is_none() {
                self.proven.push((now, rig.now(), found));
            }
        }
    }

    /// Takes the refusals from the detector's report.
    fn count(&mut self) {
        let report = self.rig.matrix.load().findings().refusals.clone();
        self.refused = report.routes.iter().map(|(buy, sell, why, n)| ((*buy, *sell, why.word()), *n)).collect();
    }

    fn name(&self, venue: VenueId) -> &'static str {
        VENUES[venue.index()]
    }
}

/// The tops of one instrument on one venue, oldest first.
type History = Vec<TrueTop>;

/// The record by instrument and venue.
struct Books {
    histories: Vec<History>,
    venues: usize,
}

impl Books {
    fn new(run: &Run) -> Self {
        let mut histories = vec![Vec::new(); INSTRUMENTS.len() * VENUES.len()];
        for top in run.record.0.lock().unwrap().iter() {
            let (venue, _) = run.rig.prices.quote(top.cell);
            let symbol = run.rig.prices.symbol(top.cell);
            let instrument = INSTRUMENTS.iter().position(|(base, quote)| format!("{base}/{quote}") == symbol).unwrap();
            histories[instrument * VENUES.len() + venue].push(top.clone());
        }
        Self { histories, venues: VENUES.len() }
    }

    fn of(&self, instrument: InstrumentId, venue: VenueId) -> &History {
        &self.histories[instrument.index() * self.venues + venue.index()]
    }

    /// The tops that were in effect between `from` and `to`.
    fn between(&self, instrument: InstrumentId, venue: VenueId, from: UnixNs, to: UnixNs) -> &[TrueTop] {
        let history = self.of(instrument, venue);
        let first = history.partition_point(|top| top.time <= from).saturating_sub(1);
        let end = history.partition_point(|top| top.time <= to);
        &history[first..end.max(first)]
    }

    /// Whether the books of the buy venue and the sell venue satisfied `so` at some moment of the last `within_ns`.
    fn were(
        &self,
        found: &Opportunity,
        (now, within_ns): (UnixNs, u64),
        so: impl Fn(&TrueTop, &TrueTop) -> bool,
    ) -> bool {
        let from = UnixNs(now.0 - within_ns);
        let [buys, sells] =
            [found.buy.venue, found.sell.venue].map(|venue| self.between(found.instrument, venue, from, now));
        let until = |tops: &[TrueTop], at: usize| tops.get(at + 1).map_or(now, |next| next.time);
        buys.iter().enumerate().any(|(b, buy)| {
            sells.iter().enumerate().any(|(s, sell)| {
                let (start, end) = (buy.time.max(sell.time).max(from), until(buys, b).min(until(sells, s)));
                start <= end && so(buy, sell)
            })
        })
    }
}

/// Faults with which a book is not that of its ticker.
const OTHER: [&str; 3] = ["alien", "unit", "basis"];

/// Whether both books can be traded, and the spread between them is above the threshold.
fn is_real(buy: &TrueTop, sell: &TrueTop) -> bool {
    let is_tradable = |top: &TrueTop| top.is_trading && !top.faults.iter().any(|fault| OTHER.contains(fault));
    is_tradable(buy) && is_tradable(sell) && is_above(buy.ask, sell.bid)
}

fn is_above(ask: Level, bid: Level) -> bool {
    bid.price > ask.price && gross_pct(ask.price, bid.price).to_f64() > threshold().to_f64()
}

/// A cross in the true books.
#[derive(Clone, Copy, Debug)]
struct Cross {
    instrument: InstrumentId,
    buy: VenueId,
    sell: VenueId,
    from: UnixNs,
    to: UnixNs,
}

/// Crosses that lasted longer than the cadence.
fn crosses(books: &Books, end: UnixNs) -> Vec<Cross> {
    let mut found = Vec::new();
    for instrument in (0..INSTRUMENTS.len() as u32).map(InstrumentId) {
        for buy in (0..VENUES.len() as u16).map(VenueId) {
            for sell in (0..VENUES.len() as u16).map(VenueId).filter(|sell| *sell != buy) {
                crosses_of(books, (instrument, buy, sell), end, &mut found);
            }
        }
    }
    found.retain(|cross| cross.to.0 - cross.from.0 > STEP_MS * MS);
    found
}

fn crosses_of(books: &Books, (instrument, buy, sell): Route, end: UnixNs, found: &mut Vec<Cross>) {
    let [buys, sells] = [buy, sell].map(|venue| books.of(instrument, venue));
    let (mut b, mut s) = (0, 0);
    let mut since = None;
    loop {
        let now = buys[b].time.max(sells[s].time);
        match (since, is_real(&buys[b], &sells[s])) {
            (None, true) => since = Some(now),
            (Some(from), false) => {
                found.push(Cross { instrument, buy, sell, from, to: now });
                since = None;
            }
            _ => {}
        }
        let next = [buys.get(b + 1), sells.get(s + 1)].map(|top| top.map(|top| top.time));
        match next {
            [None, None] => break,
            [Some(one), Some(other)] if one <= other => b += 1,
            [Some(_), None] => b += 1,
            [_, Some(_)] => s += 1,
        }
    }
    if let Some(from) = since {
        found.push(Cross { instrument, buy, sell, from, to: end });
    }
}

/// Whether a fault was in effect for the leg between `from`, or [`RECOVERY_MS`] before it, and `to`.
fn is_troubled(books: &Books, instrument: InstrumentId, venue: VenueId, from: UnixNs, to: UnixNs) -> bool {
    let from = UnixNs(from.0 - RECOVERY_MS * MS);
    books.between(instrument, venue, from, to).iter().any(|top| !top.faults.is_empty())
}

/// What is wrong with the alerts, and their number.
fn judge_alerts(run: &Run) -> (Vec<String>, usize, Books) {
    let books = Books::new(run);
    let is_wrong = |(at, found): &&(UnixNs, Opportunity)| !books.were(found, (*at, LATE_MAX_NS), is_real);
    let wrong = run.alerts.iter().filter(is_wrong);
    let wrong =
        wrong.map(|(at, found)| format!("an alert without a cross at {}: {}", ms_of(run, *at), shown(run, found)));
    let mut wrong: Vec<String> = wrong.collect();
    for (at, now, found) in &run.proven {
        let [buy, sell] = [found.buy, found.sell].map(|leg| leg.level.price);
        let begun = found.coexistence.begun[0].max(found.coexistence.begun[1]);
        let within_ns = now.since(begun) + 2 * STEP_MS * MS;
        if !books.were(found, (*at, within_ns), |b, s| (b.ask.price, s.bid.price) == (buy, sell)) {
            wrong.push(format!("proven, and refuted by the truth, at {}: {}", ms_of(run, *at), shown(run, found)));
        }
    }
    (wrong, run.alerts.len(), books)
}

/// What is wrong with a run, the number of alerts, and the number of crosses that had to be found.
fn judge(run: &Run) -> (Vec<String>, usize, usize) {
    let (mut wrong, _, books) = judge_alerts(run);
    let phantom = VenueId(VENUES.iter().position(|name| *name == run.phantom.venue).unwrap() as u16);
    let end = run.rig.hand.clock().unix();
    let expected: Vec<Cross> = crosses(&books, end)
        .into_iter()
        .filter(|cross| ms_of(run, cross.from) > LEARNING_MS)
        .filter(|cross| {
            let is_troubled = |venue| is_troubled(&books, cross.instrument, venue, cross.from, cross.to);
            run.phantom.is_harmless || !(is_troubled(cross.buy) || is_troubled(cross.sell))
        })
        .collect();
    for cross in &expected {
        let is_found = run.seen.iter().any(|seen| {
            let it = &seen.opportunity;
            (it.instrument, it.buy.venue, it.sell.venue) == (cross.instrument, cross.buy, cross.sell)
                && seen.from.0 <= cross.to.0 + STEP_MS * MS
                && seen.to.is_none_or(|to| to >= cross.from)
        });
        if !is_found {
            let names = [cross.buy, cross.sell].map(|venue| run.name(venue));
            let (from, to) = (ms_of(run, cross.from), ms_of(run, cross.to));
            wrong.push(format!("a cross that was not found: {} {names:?} from {from} to {to} ms", cross.instrument.0));
        }
    }
    for ((buy, sell, why), count) in &run.refused {
        if [*buy, *sell].contains(&phantom) && !run.phantom.reasons.contains(why) {
            wrong.push(format!("{count} times {why} for {} and {}", run.name(*buy), run.name(*sell)));
        }
    }
    (wrong, run.alerts.len(), expected.len())
}

fn ms_of(run: &Run, at: UnixNs) -> u64 {
    run.rig.elapsed_ms() - (run.rig.hand.clock().unix().0 - at.0) / MS
}

fn shown(run: &Run, found: &Opportunity) -> String {
    let [buy, sell] = [found.buy, found.sell].map(|leg| format!("{} {}", run.name(leg.venue), leg.level.price));
    format!("{} {buy} to {sell}, {:?} %", found.instrument.0, found.gross_pct)
}

/// Plays a kind with each seed, and fails with everything that is wrong.
fn check(phantom: &Phantom) {
    let setting = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<f64>().ok());
    let minutes = setting("PHANTOM_MINUTES").unwrap_or(phantom.minutes);
    let seeds = setting("PHANTOM_SEEDS").map_or(phantom.seeds, |count| count as u64);
    let one = setting("PHANTOM_SEED").map(|seed| seed as u64);
    let (mut alerts, mut proven, mut crosses, mut seen, mut failed) = (0, 0, 0, 0, Vec::new());
    for seed in (0..seeds).chain(one).filter(|seed| one.is_none_or(|one| one == *seed)) {
        let run = play(*phantom, seed, minutes);
        let (wrong, alerted, expected) = judge(&run);
        (alerts, crosses) = (alerts + alerted, crosses + expected);
        proven += run.proven.len();
        seen += run.refused.iter().filter(|((.., why), _)| *why == phantom.seen).map(|(_, count)| count).sum::<u64>();
        if !wrong.is_empty() {
            failed.push(format!(
                "PHANTOM_SEED={seed}: {} faults\n{}",
                wrong.len(),
                wrong[..wrong.len().min(10)].join("\n")
            ));
        }
    }
    println!(
        "{alerts} alerts, {proven} times proven, {crosses} true crosses expected, {seen} refused as {}",
        phantom.seen
    );
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    assert!(crosses > 0 && alerts > 0 && proven > 0, "nothing was shown: {alerts} alerts, {proven} times proven");
    assert!(phantom.seen.is_empty() || seen > 0, "no refusal for {}", phantom.seen);
}

#[test]
fn a_calm_market_refuses_nothing() {
    check(&Phantom { is_harmless: true, ..PHANTOM });
}

#[test]
fn the_judge_finds_what_is_wrong() {
    let mut run = play(PHANTOM, 1, 0.5);
    let (wrong, alerts, crosses) = judge(&run);
    assert!(wrong.is_empty() && alerts > 0 && crosses > 0, "{wrong:?}");
    // An alert the wrong way round, crosses that were not seen, and a refusal for another reason.
    let (at, found) = run.alerts[0];
    run.alerts.push((at, Opportunity { buy: found.sell, sell: found.buy, ..found }));
    run.seen.clear();
    run.refused.insert((VenueId(0), VenueId(1), "identity"), 1);
    let (wrong, ..) = judge(&run);
    let all = wrong.join("\n");
    for said in ["an alert without a cross at", "a cross that was not found: ", "1 times identity for okx and kraken"] {
        assert!(all.contains(said), "no `{said}` in {all}");
    }
    assert_eq!(wrong.len(), crosses + 2, "{all}");
}

/// Fourteen seconds of each minute.
macro_rules! again {
    ($fault:literal) => {
        concat!($fault, "\nfrom_s = 16\nfor_s = 14\nevery_s = 60")
    };
}

#[test]
fn a_quarter_of_a_second_late_at_the_full_rate() {
    let faults = &[again!("kind = \"lag\"\nlate_ms = 250")];
    check(&Phantom { faults, reasons: &["lagging_venue", "lagging_own", "quarantined"], ..PHANTOM });
}

#[test]
fn a_second_late_at_the_full_rate() {
    let faults = &[again!("kind = \"lag\"\nlate_ms = 1000")];
    check(&Phantom {
        faults,
        reasons: &["lagging_venue", "lagging_own", "quarantined"],
        seen: "lagging_venue",
        ..PHANTOM
    });
}

#[test]
fn almost_four_seconds_late_at_the_full_rate() {
    let faults = &[again!("kind = \"lag\"\nlate_ms = 3700")];
    // It begins with a silence of that length, after which the pairs are resubscribed.
    let reasons = &["lagging_venue", "lagging_own", "stale_leg", "reconnect", "quarantined"];
    check(&Phantom { faults, reasons, seen: "lagging_venue", ..PHANTOM });
}

#[test]
fn a_clock_that_is_stepped_by_five_seconds() {
    for faults in [&[again!("kind = \"clock\"\noffset_ms = 5000")], &[again!("kind = \"clock\"\noffset_ms = -5000")]] {
        check(&Phantom { faults, reasons: &["lagging_venue", "lagging_own", "quarantined"], seeds: 2, ..PHANTOM });
    }
}

#[test]
fn a_clock_that_drifts_is_no_lag() {
    for faults in [&["kind = \"drift\"\nfor_s = 86400"], &["kind = \"drift\"\nppm = -200\nfor_s = 86400"]] {
        check(&Phantom { faults, is_harmless: true, seeds: 2, ..PHANTOM });
    }
}

#[test]
fn a_reconnect_that_begins_with_stale_prices() {
    let faults = &["kind = \"reconnect\"\nfrom_s = 16\nfor_s = 2\nevery_s = 20"];
    check(&Phantom {
        faults,
        reasons: &["lagging_venue", "lagging_own", "void_leg", "stale_leg", "reconnect", "quarantined"],
        seen: "reconnect",
        ..PHANTOM
    });
}

#[test]
fn a_halt_that_only_the_stream_reports() {
    let faults = &[again!("kind = \"halt\"\nby = \"stream\"")];
    check(&Phantom { faults, reasons: &["not_trading", "lagging_own", "reconnect"], ..PHANTOM });
}

#[test]
fn a_halt_that_only_the_list_reports() {
    // A second after the halt the list is read.
    let faults = &["kind = \"halt\"\nby = \"list\"\nfrom_s = 14.995\nfor_s = 14\nevery_s = 60"];
    check(&Phantom { faults, reasons: &["not_trading", "lagging_own"], ..PHANTOM });
}

#[test]
fn another_asset_under_the_same_ticker() {
    for faults in [
        &["kind = \"alien\"\ninstrument = \"BTC/USDT\"\nfor_s = 86400"],
        &["kind = \"alien\"\ninstrument = \"BTC/USDT\"\nfor_s = 86400\nratio = 1.07"],
    ] {
        check(&Phantom {
            faults,
            reasons: &["identity", "suspect_jump", "reconnect"],
            seen: "identity",
            seeds: 2,
            ..PHANTOM
        });
    }
}

#[test]
fn another_unit_under_the_same_ticker() {
    let faults = &["kind = \"unit\"\ninstrument = \"BTC/USDT\"\nfor_s = 86400"];
    check(&Phantom { faults, reasons: &["identity", "suspect_jump", "reconnect"], seen: "identity", ..PHANTOM });
}

/// At most this multiple of what usually arrives in a turn is read from a connection in one turn.
const READ_TIMES: u64 = 4;
/// Time in which what usually arrives is counted, in milliseconds.
const COUNT_MS: u64 = 10_000;
/// Lateness is reported within this time after it is above the limit, in nanoseconds.
const REPORTED_NS: u64 = 100 * MS;

#[test]
fn under_load_lateness_is_reported_and_no_old_price_is_alerted() {
    for (times, seed) in [(1, 1), (3, 2), (5, 3), (10, 4), (10, 5)] {
        let mut run = begin(PHANTOM, seed);
        while run.rig.elapsed_ms() < COUNT_MS {
            run.step(UPDATES);
        }
        for (pipe, gauges) in run.rig.pipes.iter_mut().zip(&run.rig.board.venues) {
            pipe.read_max = (gauges.read.bytes.value() * STEP_MS / COUNT_MS * READ_TIMES) as usize;
        }
        let (calm_ms, burst_ms) = (20_000, 4_000);
        let mut late_since = [None; VENUES.len()];
        let mut drained = None;
        let (mut late, mut oldest_ms) = (0, 0);
        while drained.is_none_or(|at| run.rig.elapsed_ms() < at + 1000) {
            let is_burst = (calm_ms..calm_ms + burst_ms).contains(&run.rig.elapsed_ms());
            run.step(if is_burst { times * UPDATES } else { UPDATES });
            let now = run.rig.now();
            for (venue, late_since) in late_since.iter_mut().enumerate() {
                let age_ns = run.rig.pipes[venue].unread_since().map_or(0, |at| now.since(at));
                oldest_ms = oldest_ms.max(age_ns / MS);
                let is_late = age_ns > LATE_MAX_NS && run.rig.elapsed_ms() > calm_ms;
                *late_since = is_late.then(|| late_since.unwrap_or(now));
                let Some(since) = *late_since else { continue };
                late += 1;
                let gauges = &run.rig.board.venues[venue];
                let is_reported = gauges.backlog.behind.value() > 0 || gauges.lag.lag_ns.value() > 0;
                let name = VENUES[venue];
                assert!(
                    is_reported || now.since(since) <= REPORTED_NS,
                    "{times} times: {name} is late since {since:?}"
                );
            }
            let is_over = run.rig.elapsed_ms() > calm_ms + burst_ms
                && run.rig.pipes.iter().all(|pipe| pipe.unread_since().is_none());
            if is_over && drained.is_none() {
                drained = Some(run.rig.elapsed_ms());
            }
            assert!(run.rig.elapsed_ms() < 200_000, "{times} times: the backlog does not end");
        }
        for (gauges, name) in run.rig.board.venues.iter().zip(VENUES) {
            let state = (gauges.backlog.behind.value(), gauges.lag.lag_ns.value());
            assert_eq!(state, (0, 0), "{times} times: {name} is not over it");
        }
        let (wrong, alerts, _) = judge_alerts(&run);
        println!("{times} times: {late} turns late, at most {oldest_ms} ms, {alerts} alerts");
        assert!(wrong.is_empty(), "{times} times, {}", wrong.join("\n"));
        assert_eq!(late > 0, times >= 5, "{times} times: {late} turns late");
    }
}
