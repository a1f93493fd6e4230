//! The detector against a brute-force one: all pairs of venues, exact integers, nothing clever.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::market::directory::{AssetClaim, HaltedBy, Room, VenueEntry};
use crate::market::opportunity::{Change, LegSide};
use crate::market::quote::{Delay, StampOrder};
use crate::market::rule::{ProofMin, ThresholdOn};
use crate::market::{Decimal, Level};
use crate::matrix::QuoteMatrix;
use crate::time::{SECOND, UnixNs};

const VENUES: usize = 5;
const INSTRUMENTS: usize = 2;

#[derive(Clone, Debug)]
enum Step {
    /// Venue, instrument, bid and ask in cents (0: absent), the decimals they are written with.
    Quote(u16, u32, u64, u64, u8),
    Void(u16, u32),
    Down(u16),
    /// What the venue quotes of the instrument is nobody's price from now on, or is again.
    Want(u16, u32, bool),
    Wait(u64),
}

/// Prices lie around 100.00 so that a threshold of 0.5 % is hit exactly (100.00 to 100.50) and often, and the level at
/// which opportunities close (100.40) as well.
fn step() -> impl Strategy<Value = Step> {
    let side =
        prop_oneof![8 => 9_980u64..10_080, 3 => Just(10_000), 3 => Just(10_050), 2 => 10_039u64..10_042, 1 => Just(0)];
    prop_oneof![
        20 => (0..VENUES as u16, 0..INSTRUMENTS as u32, side.clone(), side, 2u8..8)
            .prop_map(|(v, i, b, a, s)| Step::Quote(v, i, b, a, s)),
        1 => (0..VENUES as u16, 0..INSTRUMENTS as u32).prop_map(|(v, i)| Step::Void(v, i)),
        1 => (0..VENUES as u16).prop_map(Step::Down),
        2 => (0..VENUES as u16, 0..INSTRUMENTS as u32, prop::bool::weighted(0.7)).prop_map(|(v, i, w)| Step::Want(v, i, w)),
        4 => (0u64..3_000_000_000).prop_map(Step::Wait),
        1 => Just(Step::Wait(61 * SECOND)),
    ]
}

/// `close_ratio` in thousandths.
fn ratio() -> impl Strategy<Value = u64> {
    prop_oneof![4 => Just(800), 1 => Just(0), 1 => Just(1000), 1 => 0u64..=1000]
}

/// `implausible_pct` in hundredths.
fn ceiling() -> impl Strategy<Value = u64> {
    prop_oneof![2 => Just(1000), 1 => 50u64..100]
}

fn level(cents: u64, scale: u8) -> Level {
    if cents == 0 {
        return Level::ABSENT;
    }
    let price = Decimal::new(cents * 10u64.pow(u32::from(scale - 2)), scale);
    Level { price, size: Decimal::new(1, 0) }
}

fn directory(fees: [u64; VENUES]) -> Arc<Directory> {
    let venues = fees
        .iter()
        .enumerate()
        .map(|(n, fee)| VenueEntry {
            name: format!("v{n}"),
            taker_fee_pct: Decimal::new(*fee, 2),
            native: vec![Some(String::new()); INSTRUMENTS],
        })
        .collect();
    Arc::new(Directory::new((0..INSTRUMENTS).map(|n| format!("I{n}/USD")).collect(), venues))
}

/// The same with room for the last venue.
fn directory_but_one(fees: [u64; VENUES]) -> Arc<Directory> {
    let all = directory(fees);
    let venues = all.venues().iter().take(VENUES - 1).map(|venue| VenueEntry {
        name: venue.name.clone(),
        taker_fee_pct: venue.taker_fee_pct,
        native: vec![Some(String::new()); INSTRUMENTS],
    });
    let room = Room { venues: 1, instruments: 3 };
    Arc::new(Directory::with_room(all.instruments().iter().cloned().collect(), venues.collect(), room))
}

type Key = (u32, u16, u16);

/// What the oracle knows of one cell: bid and ask in cents, when they came, and why they do not hold.
type Known = (u64, u64, MonoNs, Option<AlertRefusal>);

#[derive(Default)]
struct Oracle {
    cells: BTreeMap<(u32, u16), Known>,
    open: BTreeMap<Key, ()>,
    alerted: BTreeMap<Key, MonoNs>,
    /// Venues whose connection was lost, and that have quoted nothing since.
    lost: BTreeSet<u16>,
    /// Times of the first quotes of a venue after such a loss.
    reconnects: BTreeMap<u16, Vec<MonoNs>>,
    /// What happened, and whether it is alerted. `None`: closed, for whatever reason.
    told: Vec<(Key, Option<Change>, bool)>,
}

/// Whether the spread after these fees, in hundredths of a percent, is above `limit`, in thousandths of these.
fn is_above(from: &Known, to: &Known, (buy_fee, sell_fee): (u64, u64), limit: u64) -> bool {
    to.0 * (10_000 - sell_fee) * 1000 > from.1 * ((10_000 + buy_fee) * 1000 + limit)
}

/// The first reason for which two legs are refused whatever their prices.
fn refusal_of_legs(from: &Known, to: &Known, now: MonoNs, options: &DetectorOptions) -> Option<AlertRefusal> {
    use AlertRefusal as R;
    let is_old = |cell: &Known| cell.3.is_none() && now.0 - cell.2.0 > options.leg_age_max_ns();
    let is_far = (from.3, to.3) == (None, None) && from.2.0.abs_diff(to.2.0) > options.leg_skew_max_ms * MS;
    if is_old(from) || is_old(to) || is_far {
        return Some(R::StaleLeg);
    }
    [R::VoidLeg, R::OneSided, R::CrossedLeg].into_iter().find(|it| [from.3, to.3].contains(&Some(*it)))
}

impl Oracle {
    /// The last prices of a venue hold no longer.
    fn void(&mut self, instrument: u32, venue: u16, reason: AlertRefusal) {
        if let Some(cell) = self.cells.get_mut(&(instrument, venue)) {
            cell.3 = Some(reason);
        }
    }

    /// `venue` has quoted, whatever it was.
    fn heard(&mut self, venue: u16, now: MonoNs) {
        if self.lost.remove(&venue) {
            self.reconnects.entry(venue).or_default().push(now);
        }
    }

    /// Whether the last half minute has a reconnect of `venue` that was the fourth within ten minutes.
    fn reconnects_too_often(&self, venue: u16, now: MonoNs) -> bool {
        let times = self.reconnects.get(&venue).into_iter().flat_map(|times| times.windows(4));
        times.into_iter().any(|four| four[3].0 - four[0].0 <= 600 * SECOND && now.0 - four[3].0 < 30 * SECOND)
    }

    /// Whether the legs hold and their spread is above `ratio`, in thousandths, of the threshold.
    fn is_above(
        &self,
        (instrument, buy, sell): Key,
        now: MonoNs,
        fees: &[u64],
        options: &DetectorOptions,
        ratio: u64,
    ) -> bool {
        let (Some(from), Some(to)) = (self.cells.get(&(instrument, buy)), self.cells.get(&(instrument, sell))) else {
            return false;
        };
        let fees_of = |on| match on {
            ThresholdOn::Gross => (0, 0),
            ThresholdOn::Net => (fees[usize::from(buy)], fees[usize::from(sell)]),
        };
        refusal_of_legs(from, to, now, options).is_none()
            && ![buy, sell].into_iter().any(|venue| self.reconnects_too_often(venue, now))
            && is_above(from, to, fees_of(options.threshold_on), 50 * ratio)
            && !is_above(from, to, fees_of(ThresholdOn::Net), options.implausible_pct.to_units(5))
    }

    /// All candidates that are refused, each with its reason: those with a gross spread above the threshold by the last
    /// prices of both venues.
    fn refused(&self, now: MonoNs, fees: &[u64], options: &DetectorOptions) -> BTreeMap<Key, AlertRefusal> {
        let mut refused = BTreeMap::new();
        let known = || self.cells.iter().filter(|(_, cell)| cell.3.is_none() || now.0 - cell.2.0 <= 300 * SECOND);
        for ((instrument, buy), from) in known() {
            for ((_, sell), to) in known().filter(|((row, sell), _)| row == instrument && sell != buy) {
                if !is_above(from, to, (0, 0), 50_000) {
                    continue;
                }
                let of_net = (fees[usize::from(*buy)], fees[usize::from(*sell)]);
                let is_implausible = is_above(from, to, of_net, options.implausible_pct.to_units(5));
                let is_cheap = options.threshold_on == ThresholdOn::Gross || is_above(from, to, of_net, 50_000);
                let is_restless = [*buy, *sell].into_iter().any(|venue| self.reconnects_too_often(venue, now));
                let reason = refusal_of_legs(from, to, now, options)
                    .or(is_restless.then_some(AlertRefusal::Reconnect))
                    .or(is_implausible.then_some(AlertRefusal::Implausible))
                    .or((!is_cheap).then_some(AlertRefusal::Fees));
                if let Some(reason) = reason {
                    refused.insert((*instrument, *buy, *sell), reason);
                }
            }
        }
        refused
    }

    fn look(&mut self, instrument: u32, now: MonoNs, fees: &[u64], options: &DetectorOptions) {
        for buy in 0..VENUES as u16 {
            for sell in 0..VENUES as u16 {
                let key = (instrument, buy, sell);
                let above = self.is_above(key, now, fees, options, 1000);
                let open = self.open.contains_key(&key);
                let holds = open && self.is_above(key, now, fees, options, options.close_ratio.to_units(3));
                let due = self.alerted.get(&key).is_none_or(|at| now.0 - at.0 > options.debounce_ns());
                if above && (!open || due) {
                    self.open.insert(key, ());
                    self.told.push((key, Some(if open { Change::Repeated } else { Change::Opened }), due));
                    if due {
                        self.alerted.insert(key, now);
                    }
                } else if open && !holds {
                    self.open.remove(&key);
                    self.told.push((key, None, false));
                }
            }
        }
    }
}

/// `ratio`: `close_ratio` in thousandths; `ceiling`: `implausible_pct` in hundredths.
fn compare(
    steps: &[Step],
    fees: [u64; VENUES],
    threshold_on: ThresholdOn,
    (ratio, ceiling): (u64, u64),
) -> Result<(), TestCaseError> {
    let (close_ratio, implausible_pct) = (Decimal::new(ratio, 3), Decimal::new(ceiling, 2));
    let options = DetectorOptions { threshold_on, close_ratio, implausible_pct, ..DetectorOptions::default() };
    let directory = directory_but_one(fees);
    let (_, writer) = QuoteMatrix::new(directory.pairs());
    let mut core = Core::new(Arc::clone(&directory), writer, options);
    // The last venue comes later.
    let last = directory.add_venue("late", Decimal::new(fees[VENUES - 1], 2)).unwrap();
    (0..INSTRUMENTS as u32).for_each(|at| assert!(directory.quote(InstrumentId(at), last, "")));
    let mut oracle = Oracle::default();
    let mut now = MonoNs(1_000 * SECOND);
    let mut events = Vec::new();
    for step in steps {
        oracle.told.clear();
        events.clear();
        now = now.plus(1);
        match *step {
            Step::Quote(venue, instrument, bid, ask, scale) => {
                let quote = Quote {
                    instrument: InstrumentId(instrument),
                    venue: VenueId(venue),
                    bid: level(bid, scale),
                    ask: level(ask, 9 - scale + 2),
                    received: now,
                    exchange_time: UnixNs(0),
                    ..Quote::default()
                };
                let merged = core.merge(&quote, |_| ());
                if directory.is_quoted(quote.instrument, quote.venue) {
                    oracle.heard(venue, now);
                }
                if !directory.is_quoted(quote.instrument, quote.venue) {
                    prop_assert_eq!(merged, Err(DropReason::NotWanted));
                } else if bid == 0 || ask == 0 || bid > ask {
                    prop_assert!(merged.is_err());
                    let is_one_sided = bid == 0 || ask == 0;
                    let reason = if is_one_sided { AlertRefusal::OneSided } else { AlertRefusal::CrossedLeg };
                    oracle.void(instrument, venue, reason);
                } else {
                    prop_assert!(merged.is_ok());
                    oracle.cells.insert((instrument, venue), (bid, ask, now, None));
                }
                core.scan(InstrumentId(instrument), now, &mut events);
                oracle.look(instrument, now, &fees, &options);
            }
            Step::Void(venue, instrument) => {
                core.void(InstrumentId(instrument), VenueId(venue), Origin::Own, BookVoid::Gap, |_| ());
                core.scan(InstrumentId(instrument), now, &mut events);
                oracle.void(instrument, venue, AlertRefusal::VoidLeg);
                oracle.look(instrument, now, &fees, &options);
            }
            Step::Down(venue) => {
                down(&mut core, VenueId(venue), Origin::Own, now, &mut events);
                oracle.lost.insert(venue);
                for instrument in 0..INSTRUMENTS as u32 {
                    oracle.void(instrument, venue, AlertRefusal::VoidLeg);
                    oracle.look(instrument, now, &fees, &options);
                }
            }
            Step::Want(venue, instrument, true) => {
                directory.quote(InstrumentId(instrument), VenueId(venue), "");
            }
            Step::Want(venue, instrument, false) => {
                directory.drop_quote(InstrumentId(instrument), VenueId(venue));
                core.drop_unwanted(|_| ());
                scan_all(&mut core, now, &mut events);
                oracle.cells.remove(&(instrument, venue));
                oracle.look(instrument, now, &fees, &options);
            }
            Step::Wait(ns) => {
                now = now.plus(ns);
                core.sweep(now, |_| (), &mut events);
                let mut rows: Vec<u32> = oracle.open.keys().map(|key| key.0).collect();
                rows.dedup();
                rows.into_iter().for_each(|row| oracle.look(row, now, &fees, &options));
            }
        }
        let mut told: Vec<_> = events
            .iter()
            .map(|e| {
                let o = &e.opportunity;
                let change = e.change.reason().is_none().then_some(e.change);
                ((o.instrument.0, o.buy.venue.0, o.sell.venue.0), change, e.alert)
            })
            .collect();
        told.sort_by_key(|t| t.0);
        oracle.told.sort_by_key(|t| t.0);
        prop_assert_eq!(&told, &oracle.told, "after {:?}", step);
        prop_assert_eq!(core.open(), oracle.open.len());
        (0..INSTRUMENTS).for_each(|_| core.look_for_refusals(now));
        let current = core.refusals.report(now).current;
        let refused = current.iter().filter(|it| it.seen == now);
        let refused =
            refused.map(|it| ((it.instrument.0, it.buy.venue.0, it.sell.venue.0), it.grounds.reason)).collect();
        prop_assert_eq!(oracle.refused(now, &fees, &options), refused, "after {:?}", step);
        for event in events.iter().filter(|e| e.change.reason().is_none()) {
            // No leg of a published opportunity is stale.
            let o = &event.opportunity;
            prop_assert!(now.since(o.buy.received) <= options.leg_age_max_ns());
            prop_assert!(now.since(o.sell.received) <= options.leg_age_max_ns());
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn detection_equals_brute_force_on_gross(steps in prop::collection::vec(step(), 1..120), ratio in ratio(), ceiling in ceiling()) {
        compare(&steps, [10, 60, 40, 10, 0], ThresholdOn::Gross, (ratio, ceiling))?;
    }

    #[test]
    fn detection_equals_brute_force_on_net(steps in prop::collection::vec(step(), 1..120), fees in prop::array::uniform5(0u64..15), ratio in ratio(), ceiling in ceiling()) {
        compare(&steps, fees, ThresholdOn::Net, (ratio, ceiling))?;
    }
}

#[test]
fn system_1s_example_opens_once_and_repeats_after_a_minute() {
    let steps = [
        Step::Quote(0, 0, 9_990, 10_000, 2),
        Step::Quote(1, 0, 10_051, 10_060, 2),
        Step::Quote(1, 0, 10_050, 10_060, 2),
        Step::Quote(1, 0, 10_055, 10_060, 2),
        Step::Wait(61 * SECOND),
        Step::Quote(0, 0, 9_990, 10_000, 2),
        Step::Quote(1, 0, 10_055, 10_060, 2),
    ];
    compare(&steps, [0; VENUES], ThresholdOn::Gross, (800, 1000)).unwrap();
}

#[test]
fn a_venue_that_reconnects_four_times_is_no_leg_for_half_a_minute() {
    let again = [Step::Down(0), Step::Quote(0, 0, 9_980, 9_980, 2)];
    let mut steps = vec![Step::Quote(1, 0, 10_050, 10_050, 2)];
    for _ in 0..4 {
        steps.extend(again.clone());
    }
    steps.extend([Step::Wait(31 * SECOND), Step::Quote(1, 0, 10_050, 10_050, 2), Step::Quote(0, 0, 9_980, 9_980, 2)]);
    compare(&steps, [0; VENUES], ThresholdOn::Gross, (800, 1000)).unwrap();
}

#[test]
fn a_decimal_slip_makes_no_alert_while_a_fresh_venue_contradicts_it() {
    let directory = directory([0; VENUES]);
    let (matrix, writer) = QuoteMatrix::new(directory.pairs());
    let mut core = Core::new(Arc::clone(&directory), writer, DetectorOptions::default());
    let mut events = Vec::new();
    let now = MonoNs(SECOND);
    for (venue, cents) in [(0, 10_000), (1, 10_000), (1, 100_000)] {
        let _ = core.merge(&tight(venue, cents, now), |_| ());
        core.scan(InstrumentId(0), now, &mut events);
    }
    assert!(events.is_empty(), "{events:?}");
    let shown = || matrix.load().load(directory.pair(InstrumentId(0), VenueId(1)));
    assert_eq!(shown().state, CellState::Suspect);

    core.sweep(now.plus(merge::CONFIRMING_NS), |_| (), &mut events);
    assert_eq!((shown().state, events.len()), (CellState::Suspect, 0), "silence confirms nothing: {events:?}");

    let later = now.plus(5 * SECOND + 1);
    core.sweep(later, |_| (), &mut events);
    assert_eq!(shown().state, CellState::Live, "the only other price is no longer fresh");
    assert!(events.is_empty(), "{events:?}");
}

#[test]
fn after_a_slip_the_right_quotes_are_believed_at_once() {
    let directory = directory([0; VENUES]);
    let (matrix, writer) = QuoteMatrix::new(directory.pairs());
    let mut core = Core::new(Arc::clone(&directory), writer, DetectorOptions::default());
    let (mut events, mut now) = (Vec::new(), MonoNs(SECOND));
    let mut quote = |core: &mut Core, venue, cents, after_ms: u64| {
        now = now.plus(after_ms * MS);
        core.sweep(now, |_| (), &mut events);
        let merged = core.merge(&tight(venue, cents, now), |_| ());
        core.scan(InstrumentId(0), now, &mut events);
        assert!(events.is_empty(), "{events:?}");
        merged
    };
    quote(&mut core, 0, 10_000, 0).unwrap();
    quote(&mut core, 1, 10_000, 0).unwrap();
    assert_eq!(quote(&mut core, 1, 1_000, 100), Err(DropReason::Suspect));
    // Silence for 1.3 s, then an alert of 900 % once went out.
    quote(&mut core, 0, 10_001, 1300).unwrap();
    for n in 0..3 {
        quote(&mut core, 1, 10_002 + n, 100).unwrap();
    }
    assert_eq!(matrix.load().load(directory.pair(InstrumentId(0), VenueId(1))).state, CellState::Live);
}

#[test]
fn a_quote_that_is_late_or_of_a_connection_that_is_behind_is_no_leg_and_starts_no_debounce() {
    let directory = directory([0; VENUES]);
    let (_, writer) = QuoteMatrix::new(directory.pairs());
    let mut core = Core::new(Arc::clone(&directory), writer, DetectorOptions::default());
    let mut events = Vec::new();
    let (now, line) = (MonoNs(SECOND), LineId::own(7));
    let mut look = |core: &mut Core, quote: Option<Quote>| {
        if let Some(quote) = quote {
            core.merge(&quote, |_| ()).unwrap();
        }
        core.scan(InstrumentId(0), now, &mut events);
        events.drain(..).map(|event| (event.change, event.alert)).collect::<Vec<_>>()
    };
    assert_eq!(look(&mut core, Some(tight(0, 10_000, now))), []);
    // Two quotes settle the cell.
    for _ in 0..2 {
        assert_eq!(look(&mut core, Some(Quote { line, ..tight(1, 10_000, now) })), []);
    }
    core.fall_behind(VenueId(1), line);
    let rich = Quote { line, ..tight(1, 10_100, now) };
    assert_eq!(look(&mut core, Some(rich)), []);
    core.caught_up(VenueId(1), line);
    assert_eq!(look(&mut core, None), [(Change::Opened, true)], "the phantoms before it started no debounce");
    core.fall_behind(VenueId(1), line);
    assert_eq!(look(&mut core, None), [(Change::Closed(CloseReason::LaggingOwn), false)]);
    core.caught_up(VenueId(1), line);
    let late = Quote { delay: Delay::Lagging, ..rich };
    assert_eq!(look(&mut core, Some(late)), []);
    let counts = core.refusals.take_counts();
    assert_eq!([AlertRefusal::LaggingOwn, AlertRefusal::LaggingVenue].map(|it| counts[it.index()]), [1, 1]);
    assert_eq!(counts.iter().sum::<u64>(), 2);
}

#[test]
fn what_waits_in_the_rings_is_merged_before_anything_is_scanned() {
    let directory = directory([0; VENUES]);
    let (_, matrix) = QuoteMatrix::new(directory.pairs());
    let (mut first, first_ring) = rtrb::RingBuffer::new(64);
    let (mut second, second_ring) = rtrb::RingBuffer::new(64);
    let (producer, mut heard) = rtrb::RingBuffer::new(8);
    let hand = crate::time::HandClock::new(MonoNs(100 * SECOND), UnixNs(0));
    let (mut detector, _) = Detector::new(DetectorParts {
        directory: Arc::clone(&directory),
        matrix,
        rings: vec![first_ring, second_ring],
        subscribers: vec![Subscriber {
            changes: Arc::new(Changes::new(directory.pairs())),
            opportunities: Some(producer),
            alarm: Alarm::of_parker().0,
        }],
        board: Arc::new(Board::new(MonoNs(0), VENUES, 1)),
        clock: hand.clock(),
        options: DetectorOptions::default(),
    });
    let now = || hand.clock().now();
    // The market rises: the newest quote of one venue meets the queued ones of the other.
    for cents in [10_000, 10_100, 10_200] {
        first.push(FeedEvent::Quote(tight(0, cents, now()))).unwrap();
        second.push(FeedEvent::Quote(tight(1, cents, now()))).unwrap();
    }
    detector.turn(Duration::ZERO);
    assert!(heard.pop().is_err());

    // This thread alone stood still: no opportunity is searched for before the feeds have delivered what they hold.
    hand.advance(3 * SECOND);
    first.push(FeedEvent::Quote(tight(0, 10_400, now()))).unwrap();
    detector.turn(Duration::ZERO);
    hand.advance(50 * MS);
    second.push(FeedEvent::Quote(tight(1, 10_400, now()))).unwrap();
    detector.turn(Duration::ZERO);
    hand.advance(200 * MS);
    detector.turn(Duration::ZERO);
    assert!(heard.pop().is_err());
    second.push(FeedEvent::Quote(tight(1, 10_500, now()))).unwrap();
    detector.turn(Duration::ZERO);
    assert!(heard.pop().is_ok_and(|event| event.alert));
}

/// Scans all rows.
fn scan_all(core: &mut Core, now: MonoNs, events: &mut Vec<OpportunityEvent>) {
    for instrument in (0..core.directory.instruments().len() as u32).map(InstrumentId) {
        core.scan(instrument, now, events);
    }
}

/// The quotes of `venue` are lost, and all rows are scanned.
fn down(core: &mut Core, venue: VenueId, origin: Origin, now: MonoNs, events: &mut Vec<OpportunityEvent>) {
    core.down(venue, origin, |_| ());
    scan_all(core, now, events);
}

fn tight(venue: u16, cents: u64, received: MonoNs) -> Quote {
    let (bid, ask, decoded) = (level(cents, 2), level(cents + 1, 2), received);
    Quote { venue: VenueId(venue), bid, ask, received, decoded, ..Quote::default() }
}

#[test]
fn an_open_opportunity_tells_how_it_moves_at_most_ten_times_a_second() {
    let directory = directory([0; VENUES]);
    let (_, writer) = QuoteMatrix::new(directory.pairs());
    let mut core = Core::new(Arc::clone(&directory), writer, DetectorOptions::default());
    let mut events = Vec::new();
    let start = MonoNs(SECOND);
    core.merge(&tight(0, 10_000, start), |_| ()).unwrap();
    let mut updates = Vec::new();
    // Ten seconds of a quote every 10 ms, then silence.
    for step in 0..1000 {
        let now = start.plus(step * 10 * MS);
        let cents = if step == 777 { 10_900 } else { 10_100 + step % 7 };
        core.merge(&tight(1, cents, now), |_| ()).unwrap();
        // The other leg lives on.
        core.merge(&tight(0, 10_000, now), |_| ()).unwrap();
        core.scan(InstrumentId(0), now, &mut events);
        core.sweep(now, |_| (), &mut events);
        core.tell_updated(now, &mut events);
        updates.extend(events.drain(..).filter(|e| e.change == Change::Updated).map(|e| (now, e.opportunity)));
    }
    assert!((90..=100).contains(&updates.len()), "{}", updates.len());
    assert!(updates.is_sorted_by(|a, b| b.0.since(a.0) >= 100 * MS));
    let peak = updates.last().unwrap().1.peak_gross_pct;
    assert_eq!(peak, gross_pct(Decimal::new(10_001, 2), Decimal::new(10_900, 2)));
    let end = start.plus(11 * SECOND);
    for step in 0..10 {
        core.tell_updated(end.plus(step * SECOND), &mut events);
    }
    assert_eq!(events.len(), 1, "the last state is told once: {events:?}");
}

#[test]
fn updates_leave_room_in_a_gateways_ring_for_what_must_not_be_lost() {
    let directory = directory([0; VENUES]);
    let (_, matrix) = QuoteMatrix::new(directory.pairs());
    let (mut feed, ring) = rtrb::RingBuffer::new(64);
    let (producer, mut heard) = rtrb::RingBuffer::new(8);
    let hand = crate::time::HandClock::new(MonoNs(SECOND), UnixNs(0));
    let (alarm, _parker) = Alarm::of_parker();
    let board = Arc::new(Board::new(MonoNs(0), VENUES, 1));
    let (mut detector, _) = Detector::new(DetectorParts {
        directory: Arc::clone(&directory),
        matrix,
        rings: vec![ring],
        subscribers: vec![Subscriber {
            changes: Arc::new(Changes::new(directory.pairs())),
            opportunities: Some(producer),
            alarm,
        }],
        board: Arc::clone(&board),
        clock: hand.clock(),
        options: DetectorOptions::default(),
    });
    let mut quote = |venue, cents| {
        feed.push(FeedEvent::Quote(tight(venue, cents, hand.clock().now()))).unwrap();
        for ms in [20, 130] {
            detector.turn(Duration::ZERO);
            hand.advance(ms * MS);
        }
    };
    quote(0, 10_000);
    for step in 0..30 {
        quote(1, 10_100 + step);
    }
    quote(1, 10_000);
    let told: Vec<Change> = std::iter::from_fn(|| heard.pop().ok()).map(|event| event.change).collect();
    assert_eq!(
        told,
        [&[Change::Opened][..], &[Change::Updated; 4], &[Change::Closed(CloseReason::SellMoved)]].concat()
    );
    assert_eq!(board.detector.events_lost.value(), 0);
}

#[test]
fn nothing_is_told_by_time_alone_until_a_silent_line_would_be_known() {
    let directory = directory([0; VENUES]);
    let (_, matrix) = QuoteMatrix::new(directory.pairs());
    let (mut feed, ring) = rtrb::RingBuffer::new(64);
    let (producer, mut heard) = rtrb::RingBuffer::new(64);
    let hand = crate::time::HandClock::new(MonoNs(SECOND), UnixNs(0));
    let (mut detector, _) = Detector::new(DetectorParts {
        directory: Arc::clone(&directory),
        matrix,
        rings: vec![ring],
        subscribers: vec![Subscriber {
            changes: Arc::new(Changes::new(directory.pairs())),
            opportunities: Some(producer),
            alarm: Alarm::of_parker().0,
        }],
        board: Arc::new(Board::new(MonoNs(0), VENUES, 1)),
        clock: hand.clock(),
        options: DetectorOptions { debounce_ms: 300, ..DetectorOptions::default() },
    });
    // Turns every 10 ms. In the first one, a venue sends this quote.
    let mut turns = |count: u64, said: Option<(u16, u64)>| {
        let quote = |(venue, cents)| FeedEvent::Quote(tight(venue, cents, hand.clock().now()));
        // What a feed finds by time alone says nothing of other connections.
        feed.push(said.map_or(FeedEvent::Behind(VenueId(2), LineId::own(9), true), quote)).unwrap();
        (0..count).for_each(|_| {
            detector.turn(Duration::ZERO);
            hand.advance(10 * MS);
        });
        std::iter::from_fn(|| heard.pop().ok()).map(|event| event.change).collect::<Vec<Change>>()
    };
    assert_eq!(turns(1, Some((0, 10_000))), []);
    assert_eq!(turns(1, Some((1, 10_100))), [Change::Opened]);
    assert_eq!(turns(20, Some((1, 10_110))), [], "the leg may be replaced by what is on its way");
    assert_eq!(turns(20, None), [], "another connection is found to be silent");
    let mut told = turns(1, Some((0, 10_000)));
    told.sort_by_key(|change| format!("{change:?}"));
    assert_eq!(told, [Change::Repeated], "which says how it stands, too");
    assert_eq!(turns(40, Some((1, 10_120))), []);
    assert_eq!(turns(20, None), [Change::Repeated], "it is the venues' way: nobody said that a line is silent");
}

#[test]
fn only_pushed_quotes_make_an_alert_and_each_way_voids_its_own() {
    let directory = directory([0; VENUES]);
    let (matrix, writer) = QuoteMatrix::new(directory.pairs());
    let mut core = Core::new(Arc::clone(&directory), writer, DetectorOptions::default());
    let mut events = Vec::new();
    let quote = |venue: u16, cents: u64, received: u64, origin| Quote {
        venue: VenueId(venue),
        bid: level(cents, 2),
        ask: level(cents + 1, 2),
        received: MonoNs(received),
        origin,
        ..Quote::default()
    };
    let now = MonoNs(SECOND);
    let shown = || matrix.load().load(directory.pair(InstrumentId(0), VenueId(1)));
    assert!(core.merge(&quote(0, 10_000, SECOND, Origin::Own), |_| ()).is_ok());
    for origin in [Origin::Disk, Origin::Redis] {
        assert!(core.merge(&quote(1, 10_100, SECOND, origin), |_| ()).is_ok());
        core.scan(InstrumentId(0), now, &mut events);
        assert_eq!((shown().origin, events.len()), (origin, 0));
    }
    assert!(core.merge(&quote(1, 10_100, SECOND + 1, Origin::Shared), |_| ()).is_ok());
    core.scan(InstrumentId(0), now, &mut events);
    assert_eq!(events.len(), 1, "{events:?}");

    down(&mut core, VenueId(1), Origin::Own, now, &mut events);
    assert_eq!(shown().state, CellState::Live, "our own connection does not speak for the leader's quotes");
    let older = core.merge(&quote(1, 10_200, SECOND, Origin::Own), |_| ());
    assert_eq!(older, Err(DropReason::Late), "never back to an older price");
    down(&mut core, VenueId(1), Origin::Shared, now, &mut events);
    assert_eq!(shown().state, CellState::Void);
    assert_eq!(events.len(), 2, "{events:?}");
}

#[test]
fn after_our_own_connection_is_lost_nobody_takes_us_back_to_an_older_price() {
    let directory = directory([0; VENUES]);
    let (matrix, writer) = QuoteMatrix::new(directory.pairs());
    let mut core = Core::new(Arc::clone(&directory), writer, DetectorOptions::default());
    let quote = |stamp: u64, received: u64, origin| Quote {
        bid: level(100, 2),
        ask: level(101, 2),
        exchange_time: UnixNs(stamp),
        received: MonoNs(received),
        origin,
        ..Quote::default()
    };
    let mut merge = |quote: Quote| {
        down(&mut core, VenueId(0), Origin::Own, MonoNs(SECOND), &mut Vec::new());
        core.merge(&quote, |_| ()).map(|()| matrix.load().load(PairId(0)).origin)
    };
    let late = Err(DropReason::Late);
    assert_eq!(merge(quote(SECOND, 500, Origin::Own)), Ok(Origin::Own));
    assert_eq!(merge(quote(SECOND - 1, 499, Origin::Redis)), late, "looked up, and read before");
    assert_eq!(merge(quote(SECOND - 1, 501, Origin::Shared)), late, "by the leader, who was behind");
    assert_eq!(merge(quote(SECOND, 400, Origin::Shared)), Ok(Origin::Shared), "the same, which still holds there");
    assert_eq!(merge(quote(SECOND + 1, 501, Origin::Own)), Ok(Origin::Own));
    assert_eq!(merge(quote(1, 502, Origin::Own)), Ok(Origin::Own), "our own connection may begin anew");
    assert_eq!(merge(quote(1, 503, Origin::Redis)), Ok(Origin::Redis), "looked up, and read after");
}

#[test]
fn a_quote_heard_again_by_another_connection_is_renewed_and_no_change() {
    let directory = directory([0; VENUES]);
    let (matrix, writer) = QuoteMatrix::new(directory.pairs());
    let mut core = Core::new(Arc::clone(&directory), writer, DetectorOptions::default());
    let marks = std::cell::Cell::new(0);
    let first = Quote { sequence: 7, bid: level(100, 2), ask: level(101, 2), received: MonoNs(1), ..Quote::default() };
    let again = Quote { received: MonoNs(5), origin: Origin::Shared, ..first };
    let other = Quote { ask: level(102, 2), received: MonoNs(6), ..again };
    for quote in [first, again] {
        assert!(core.merge(&quote, |_| marks.set(marks.get() + 1)).is_ok());
    }
    let shown = || matrix.load().load(PairId(0));
    // What our own connection has said stays its word when the leader says the same.
    assert_eq!((shown().changes, shown().received, shown().origin), (1, MonoNs(5), Origin::Own));
    assert_eq!(marks.get(), 1);
    assert!(core.merge(&other, |_| marks.set(marks.get() + 1)).is_ok(), "same number, other prices: a change");
    assert_eq!((shown().changes, marks.get()), (2, 2));
}

#[test]
fn what_was_dropped_while_it_was_not_wanted_leaves_no_old_price_when_it_is_wanted_again() {
    let directory = directory([0; VENUES]);
    let (matrix, writer) = QuoteMatrix::new(directory.pairs());
    let mut core = Core::new(Arc::clone(&directory), writer, DetectorOptions::default());
    let mut events = Vec::new();
    core.merge(&tight(0, 10_000, MonoNs(SECOND)), |_| ()).unwrap();
    let (instrument, venue) = (InstrumentId(0), VenueId(0));
    directory.drop_quote(instrument, venue);
    assert!(core.merge(&tight(0, 9_000, MonoNs(SECOND + 1)), |_| ()).is_err());
    let native = directory.native(instrument, venue).unwrap().to_owned();
    directory.quote(instrument, venue, &native);
    core.drop_unwanted(|_| ());
    scan_all(&mut core, MonoNs(SECOND + 2), &mut events);
    assert_eq!(matrix.load().load(directory.pair(instrument, venue)).state, CellState::Void);
}

/// Quotes of one instrument, and the events that followed each.
struct Story {
    directory: Arc<Directory>,
    core: Core,
    now: MonoNs,
}

impl Story {
    fn new() -> Self {
        let directory = directory([0; VENUES]);
        let (_, writer) = QuoteMatrix::new(directory.pairs());
        let core = Core::new(Arc::clone(&directory), writer, DetectorOptions::default());
        Self { directory, core, now: MonoNs(SECOND) }
    }

    /// Bid and ask of `venue` are this from now on, in cents.
    fn quote(&mut self, venue: u16, bid: u64, ask: u64) -> Vec<OpportunityEvent> {
        self.now = self.now.plus(MS);
        let quote = Quote {
            venue: VenueId(venue),
            bid: level(bid, 2),
            ask: level(ask, 2),
            received: self.now,
            ..Quote::default()
        };
        let mut events = Vec::new();
        let _ = self.core.merge(&quote, |_| ());
        self.core.scan(InstrumentId(0), self.now, &mut events);
        events
    }

    /// What `act` makes of an opportunity that buys at 100.00 on venue 0 and sells at 101.00 on venue 1.
    fn end(act: impl FnOnce(&mut Self) -> Vec<OpportunityEvent>) -> (CloseReason, u64, u64) {
        let mut story = Self::new();
        story.quote(0, 9_990, 10_000);
        let opened = story.quote(1, 10_100, 10_110);
        assert!(matches!(opened[..], [OpportunityEvent { change: Change::Opened, .. }]), "{opened:?}");
        let events = act(&mut story);
        let [OpportunityEvent { opportunity: ended, change: Change::Closed(reason), alert: false, .. }] = events[..]
        else {
            panic!("{events:?}")
        };
        let (buy, sell) = (ended.buy.level.price, ended.sell.level.price);
        assert_eq!(ended.gross_pct, gross_pct(buy, sell), "{ended:?}");
        assert_eq!(ended.net_pct, net_pct(buy, sell, Decimal::ZERO, Decimal::ZERO), "{ended:?}");
        assert_eq!(ended.peak_gross_pct, opened[0].opportunity.peak_gross_pct.max(ended.peak_gross_pct));
        assert_eq!((ended.opened, ended.detected), (opened[0].opportunity.opened, story.now));
        assert_eq!(ended.group.size, 0);
        let cents = |price: Decimal| (price.to_f64() * 100.0).round() as u64;
        (reason, cents(buy), cents(sell))
    }

    fn after(&mut self, act: impl FnOnce(&mut Core, MonoNs, &mut Vec<OpportunityEvent>)) -> Vec<OpportunityEvent> {
        let mut events = Vec::new();
        act(&mut self.core, self.now, &mut events);
        self.core.scan(InstrumentId(0), self.now, &mut events);
        events
    }
}

#[test]
fn an_opportunity_ends_with_the_prices_and_the_reason_of_its_end() {
    use CloseReason as R;
    let (row, buy, sell) = (InstrumentId(0), VenueId(0), VenueId(1));
    assert_eq!(Story::end(|s| s.quote(0, 10_050, 10_060)), (R::BuyMoved, 10_060, 10_100));
    assert_eq!(Story::end(|s| s.quote(1, 10_020, 10_030)), (R::SellMoved, 10_000, 10_020));
    let both = |s: &mut Story| {
        assert_eq!(s.quote(0, 10_020, 10_040), []);
        s.quote(1, 10_070, 10_080)
    };
    assert_eq!(Story::end(both), (R::BothMoved, 10_040, 10_070));
    assert_eq!(Story::end(|s| s.quote(0, 10_150, 10_160)), (R::Collapsed, 10_160, 10_100));
    assert_eq!(Story::end(|s| s.quote(0, 10_140, 10_150)), (R::BuyMoved, 10_150, 10_100), "half of it is not more");
    let void = |why, venue| Story::end(move |s| s.after(|core, _, _| core.void(row, venue, Origin::Own, why, |_| ())));
    assert_eq!(void(BookVoid::Gap, sell), (R::LegVoid, 10_000, 10_100));
    assert_eq!(void(BookVoid::Checksum, buy), (R::LegVoid, 10_000, 10_100));
    assert_eq!(void(BookVoid::Halt, buy), (R::NotTrading, 10_000, 10_100));
    assert_eq!(void(BookVoid::Silent, sell), (R::LegStale, 10_000, 10_100));
    assert_eq!(Story::end(|s| s.quote(0, 0, 9_000)), (R::LegVoid, 10_000, 10_100), "a missing side");
    assert_eq!(Story::end(|s| s.quote(1, 10_300, 10_200)), (R::LegVoid, 10_000, 10_100), "crossed");
    assert_eq!(
        Story::end(|s| s.quote(1, 101_000, 101_010)),
        (R::Quarantined, 10_000, 10_100),
        "not believed, not told"
    );
    let another = |s: &mut Story| s.after(|core, _, _| core.evidence.identity.forget(row, buy));
    assert_eq!(Story::end(another), (R::Quarantined, 10_000, 10_100), "above the threshold, and not known to be one");
    let down = |s: &mut Story| s.after(|core, now, events| down(core, sell, Origin::Own, now, events));
    assert_eq!(Story::end(down), (R::VenueLost, 10_000, 10_100));
    let old = |s: &mut Story| {
        s.now = s.now.plus(5 * SECOND);
        s.after(|core, now, events| core.sweep(now, |_| (), events))
    };
    assert_eq!(Story::end(old), (R::LegStale, 10_000, 10_100));
    let removed = |s: &mut Story| {
        s.directory.drop_quote(row, buy);
        s.after(|core, now, events| {
            core.drop_unwanted(|_| ());
            scan_all(core, now, events);
        })
    };
    assert_eq!(Story::end(removed), (R::Removed, 10_000, 10_100));
}

#[test]
fn an_opportunity_around_the_threshold_is_one_and_alerts_only_above_it() {
    let mut story = Story::new();
    let mut told = |bid: u64| {
        story.now = story.now.plus(SECOND);
        let mut events = story.quote(0, 9_990, 10_000);
        events.extend(story.quote(1, bid, bid + 10));
        events.iter().map(|event| (event.change, event.alert)).collect::<Vec<_>>()
    };
    assert_eq!(told(10_050), [], "at the threshold, nothing is open");
    assert_eq!(told(10_060), [(Change::Opened, true)]);
    for _ in 0..70 {
        assert_eq!(told(10_045), [], "0.9 of the threshold: no alert, even when one is due");
    }
    assert_eq!(told(10_051), [(Change::Repeated, true)]);
    assert_eq!(told(10_041), []);
    assert_eq!(told(10_040), [(Change::Closed(CloseReason::SellMoved), false)], "0.8 of it");
    assert_eq!(told(10_045), [], "closed, so the threshold itself counts again");
    assert_eq!(told(10_051), [(Change::Opened, false)]);
}

#[test]
fn a_leg_that_is_late_closes_an_opportunity_that_is_below_the_threshold() {
    let mut story = Story::new();
    story.quote(0, 9_990, 10_000);
    story.quote(1, 10_060, 10_070);
    assert_eq!(story.quote(1, 10_045, 10_055), []);
    let late = Quote { delay: Delay::Lagging, bid: level(10_046, 2), ask: level(10_056, 2), ..tight(1, 0, story.now) };
    let events = story.after(|core, _, _| core.merge(&late, |_| ()).unwrap());
    assert!(
        matches!(events[..], [OpportunityEvent { change: Change::Closed(CloseReason::LaggingVenue), .. }]),
        "{events:?}"
    );
}

#[test]
fn one_venues_jump_is_one_group_led_by_its_best() {
    let mut story = Story::new();
    for (venue, ask) in [(0, 10_003), (1, 10_001), (2, 10_002), (3, 10_004)] {
        assert_eq!(story.quote(venue, 9_990, ask), []);
    }
    let opened = story.quote(4, 10_100, 10_110);
    assert_eq!(opened.len(), 4);
    let group = opened[0].opportunity.group;
    let (best, at) = ((VenueId(1), VenueId(4)), opened[0].opportunity.opened);
    assert_eq!(group, Group { number: group.number, leader: (best.0, best.1, at), leg: LegSide::Sell, size: 4 });
    assert!(opened.iter().all(|event| event.opportunity.group == group), "{opened:?}");
    // Another venue's own jump is another event, but for the one that it has in common with the first.
    let other = story.quote(3, 9_900, 9_910);
    let of_other: Vec<u64> = other.iter().map(|event| event.opportunity.group.number).collect();
    assert_eq!(other.len(), 3, "{other:?}");
    assert!(of_other.iter().all(|number| *number == of_other[0] && *number != group.number), "{other:?}");
    assert_eq!(other[0].opportunity.group.leg, LegSide::Buy);
    // The first is over when its leg falls back; what the two had in common went with it.
    let closed = story.quote(4, 9_900, 10_110);
    assert_eq!(closed.iter().filter(|e| e.opportunity.group.number == group.number).count(), 4, "{closed:?}");
    assert!(
        closed.iter().all(|event| event.opportunity.group.size == 0 || event.opportunity.group.number != group.number)
    );
    // A route opened by itself; the next shares a leg with it, and both are one event from then on.
    let mut story = Story::new();
    story.quote(0, 9_990, 10_000);
    let first = story.quote(4, 10_100, 10_110);
    assert_eq!((first[0].opportunity.group.leg, first[0].opportunity.group.size), (LegSide::Sell, 1));
    let next = story.quote(1, 9_990, 10_020);
    assert_eq!(next[0].opportunity.group, Group { size: 2, ..first[0].opportunity.group });
    // The first has not moved, but is one of two now; that is published once.
    let updates = |story: &mut Story| {
        story.now = story.now.plus(SECOND);
        let mut events = Vec::new();
        story.core.tell_updated(story.now, &mut events);
        events
            .iter()
            .map(|event| (event.change, event.opportunity.sell.venue, event.opportunity.group))
            .collect::<Vec<_>>()
    };
    let grown = Group { size: 2, ..first[0].opportunity.group };
    assert_eq!(updates(&mut story), [(Change::Updated, first[0].opportunity.sell.venue, grown)]);
    assert_eq!(updates(&mut story), []);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn every_group_shares_a_leg_and_counts_its_open_members(quotes in prop::collection::vec((0..VENUES as u16, 9_950u64..10_060), 1..200)) {
        let mut story = Story::new();
        let mut open: BTreeMap<(u16, u16), Group> = BTreeMap::new();
        for (venue, bid) in quotes {
            for event in story.quote(venue, bid, bid + 1) {
                let o = event.opportunity;
                let key = (o.buy.venue.0, o.sell.venue.0);
                match event.change {
                    Change::Closed(_) => {
                        prop_assert_eq!(open.remove(&key).map(|group| group.number), Some(o.group.number));
                    }
                    _ => {
                        prop_assert!(open.insert(key, o.group).is_none());
                        let members = open.iter().filter(|(_, group)| group.number == o.group.number);
                        let of_leg = members.filter(|(member, _)| match o.group.leg {
                            LegSide::Buy => member.0 == key.0,
                            LegSide::Sell => member.1 == key.1,
                        });
                        prop_assert!(of_leg.count() >= 1);
                    }
                }
            }
            let mut last: BTreeMap<u64, usize> = BTreeMap::new();
            open.values().for_each(|group| *last.entry(group.number).or_default() += 1);
            prop_assert_eq!(last.values().sum::<usize>(), story.core.open());
            prop_assert_eq!(last.len(), story.core.groups());
        }
    }
}

/// A core of [`directory`], and what it publishes about instrument 0.
struct Rig {
    directory: Arc<Directory>,
    matrix: crate::matrix::SharedMatrix,
    core: Core,
    now: MonoNs,
    events: Vec<OpportunityEvent>,
}

impl Rig {
    fn new(fees: [u64; VENUES], options: DetectorOptions) -> Self {
        let directory = directory(fees);
        let (matrix, writer) = QuoteMatrix::new(directory.pairs());
        let core = Core::new(Arc::clone(&directory), writer, options);
        Self { directory, matrix, core, now: MonoNs(SECOND), events: Vec::new() }
    }

    fn quote(&mut self, venue: u16, cents: u64) {
        self.now = self.now.plus(MS);
        let _ = self.core.merge(&tight(venue, cents, self.now), |_| ());
        self.core.scan(InstrumentId(0), self.now, &mut self.events);
    }

    fn facts(&mut self) {
        self.core.look_at_facts(|_| ());
        scan_all(&mut self.core, self.now, &mut self.events);
    }

    fn state(&self, venue: u16) -> CellState {
        self.matrix.load().load(self.directory.pair(InstrumentId(0), VenueId(venue))).state
    }

    fn changes(&mut self) -> Vec<Change> {
        self.events.drain(..).map(|event| event.change).collect()
    }
}

#[test]
fn venues_that_never_agreed_make_no_alert_and_one_coin_that_moves_on_one_venue_does() {
    let mut rig = Rig::new([0; VENUES], DetectorOptions::default());
    for step in 0..500 {
        rig.quote(0, 10_000 + step % 7);
        rig.quote(1, 10_010 + step % 7);
        rig.quote(2, 10_400 + step % 7);
    }
    assert_eq!(rig.changes(), []);
    let refused = |rig: &mut Rig| rig.core.refusals.take_counts()[AlertRefusal::Identity as usize];
    assert_eq!(refused(&mut rig), 2, "both routes to the third, once each");
    rig.quote(1, 10_200);
    let told: Vec<_> = rig.events.iter().map(|it| (it.opportunity.buy.venue.0, it.opportunity.sell.venue.0)).collect();
    assert!(told.contains(&(0, 1)), "the two that agreed: {told:?}");
    assert!(told.contains(&(0, 2)), "now the third is one with both: {told:?}");
}

#[test]
fn the_operators_word_about_an_asset_decides_before_the_prices() {
    let opened = |claims: &[(u16, AssetClaim)]| {
        let mut rig = Rig::new([0; VENUES], DetectorOptions::default());
        for (venue, claim) in claims {
            rig.directory.set_claim(InstrumentId(0), VenueId(*venue), *claim);
        }
        for (venue, cents) in [(0, 10_000), (1, 10_010), (2, 10_600), (1, 10_200)] {
            rig.quote(venue, cents);
        }
        rig.events.iter().map(|it| (it.opportunity.buy.venue.0, it.opportunity.sell.venue.0)).collect::<Vec<_>>()
    };
    assert_eq!(opened(&[]), [(0, 1)], "the third is 6 % away");
    assert!(opened(&[(2, AssetClaim::Same)]).contains(&(0, 2)));
    assert_eq!(opened(&[(1, AssetClaim::Other)]), []);
}

#[test]
fn a_quote_that_was_crossed_during_a_halt_does_not_come_back_with_its_end() {
    let mut rig = Rig::new([0; VENUES], DetectorOptions::default());
    for (venue, cents) in [(0, 10_000), (1, 10_010), (1, 10_010)] {
        rig.quote(venue, cents);
    }
    let halt = |rig: &mut Rig, is_halted| {
        rig.directory.set_halted(InstrumentId(0), VenueId(1), HaltedBy::List, is_halted);
        rig.facts();
    };
    halt(&mut rig, true);
    let crossed = Quote { bid: level(10_010, 2), ask: level(9_000, 2), ..tight(1, 10_000, rig.now.plus(MS)) };
    assert_eq!(rig.core.merge(&crossed, |_| ()), Err(DropReason::Crossed));
    assert_eq!(rig.state(1), CellState::Halted);
    halt(&mut rig, false);
    assert_eq!(rig.state(1), CellState::Void);
    rig.quote(1, 10_010);
    assert_eq!(rig.state(1), CellState::Live);
    // A quote that came during the halt and holds is live at its end.
    halt(&mut rig, true);
    rig.quote(1, 10_020);
    halt(&mut rig, false);
    assert_eq!(rig.state(1), CellState::Live);
}

#[test]
fn that_one_venue_is_behind_says_nothing_about_another_of_the_same_leader_number() {
    let mut rig = Rig::new([0; VENUES], DetectorOptions::default());
    let line = LineId::of_leader(7);
    rig.core.fall_behind(VenueId(0), line);
    rig.core.fall_behind(VenueId(1), line);
    rig.core.caught_up(VenueId(0), line);
    for (venue, cents) in [(0, 10_000), (1, 10_010), (1, 10_200)] {
        rig.now = rig.now.plus(MS);
        rig.core.merge(&Quote { line, ..tight(venue, cents, rig.now) }, |_| ()).unwrap();
        rig.core.scan(InstrumentId(0), rig.now, &mut rig.events);
    }
    assert_eq!(rig.changes(), [], "the second one is still behind");
    rig.core.caught_up(VenueId(1), line);
    rig.core.scan(InstrumentId(0), rig.now, &mut rig.events);
    assert_eq!(rig.changes(), [Change::Opened]);
}

#[test]
fn a_quarantined_venue_is_no_leg_and_is_one_again_afterwards() {
    let mut rig = Rig::new([0; VENUES], DetectorOptions::default());
    for (venue, cents) in [(0, 10_000), (1, 10_010), (1, 10_200)] {
        rig.quote(venue, cents);
    }
    assert_eq!(rig.changes().len(), 1);
    rig.core.quarantine(1 << 1);
    rig.events.clear();
    rig.quote(0, 10_001);
    assert_eq!(rig.changes(), [Change::Closed(CloseReason::Quarantined)]);
    assert_eq!(rig.core.refusals.take_counts()[AlertRefusal::Quarantined as usize], 1);
    rig.core.quarantine(0);
    rig.events.clear();
    rig.quote(0, 10_000);
    assert_eq!(rig.changes(), [Change::Opened]);
}

#[test]
fn leveraged_tokens_of_two_venues_are_never_one() {
    let directory = |symbol: &str| {
        let native = vec![Some(String::new())];
        let venue = |name: &str| VenueEntry { name: name.into(), taker_fee_pct: Decimal::ZERO, native: native.clone() };
        Arc::new(Directory::new(vec![symbol.to_owned()], vec![venue("a"), venue("b")]))
    };
    for (symbol, openings) in [("BTC3L/USDT", 0), ("BTCUP/USDT", 0), ("BTC/USDT", 1)] {
        let directory = directory(symbol);
        let (_, writer) = QuoteMatrix::new(directory.pairs());
        let mut core = Core::new(directory, writer, DetectorOptions::default());
        let mut events = Vec::new();
        for (venue, cents) in [(0, 10_000), (1, 10_000), (1, 10_100)] {
            core.merge(&tight(venue, cents, MonoNs(SECOND)), |_| ()).unwrap();
            core.scan(InstrumentId(0), MonoNs(SECOND), &mut events);
        }
        assert_eq!(events.len(), openings, "{symbol}: {events:?}");
    }
}

#[test]
fn what_comes_back_under_a_symbol_must_agree_anew() {
    let mut rig = Rig::new([0; VENUES], DetectorOptions::default());
    (0..2).for_each(|venue| rig.quote(venue, 10_000));
    rig.directory.drop_quote(InstrumentId(0), VenueId(1));
    rig.core.drop_unwanted(|_| ());
    scan_all(&mut rig.core, rig.now, &mut rig.events);
    assert!(rig.directory.quote(InstrumentId(0), VenueId(1), ""));
    rig.quote(1, 10_500);
    assert_eq!(rig.changes(), []);
}

#[test]
fn what_the_list_says_is_not_traded_closes_at_once_and_no_quote_lifts_it() {
    let mut rig = Rig::new([0; VENUES], DetectorOptions::default());
    rig.quote(0, 10_000);
    rig.quote(1, 10_100);
    assert_eq!(rig.changes(), [Change::Opened]);
    let (btc, venue) = (InstrumentId(0), VenueId(1));
    rig.directory.set_halted(btc, venue, HaltedBy::List, true);
    rig.facts();
    assert_eq!(rig.changes(), [Change::Closed(CloseReason::NotTrading)]);
    for cents in [10_200, 10_150] {
        rig.quote(1, cents);
        assert_eq!((rig.state(1), rig.changes()), (CellState::Halted, vec![]));
    }
    // Nor what the stream says, and then takes back.
    rig.core.void(btc, venue, Origin::Own, BookVoid::Halt, |_| ());
    rig.quote(1, 10_150);
    assert_eq!((rig.state(1), rig.changes()), (CellState::Halted, vec![]));
    rig.directory.set_halted(btc, venue, HaltedBy::List, false);
    rig.facts();
    assert_eq!((rig.state(1), rig.changes()), (CellState::Live, vec![Change::Opened]));
}

#[test]
fn a_halt_of_the_stream_marks_the_price_until_the_venue_says_that_it_is_traded() {
    let mut rig = Rig::new([0; VENUES], DetectorOptions::default());
    let (btc, venue) = (InstrumentId(0), VenueId(1));
    rig.quote(0, 10_000);
    rig.quote(1, 10_100);
    rig.directory.halt_by_stream(btc, venue, rig.now);
    rig.core.void(btc, venue, Origin::Own, BookVoid::Halt, |_| ());
    rig.core.scan(btc, rig.now, &mut rig.events);
    assert_eq!(rig.changes(), [Change::Opened, Change::Closed(CloseReason::NotTrading)]);
    rig.facts();
    assert_eq!((rig.state(1), rig.changes()), (CellState::Halted, vec![]), "other facts lift nothing");
    down(&mut rig.core, venue, Origin::Own, rig.now, &mut rig.events);
    rig.quote(1, 10_100);
    assert_eq!((rig.state(1), rig.changes()), (CellState::Halted, vec![]), "nor does a quote of another connection");
    rig.directory.set_halted(btc, venue, HaltedBy::Stream, false);
    rig.facts();
    assert_eq!((rig.state(1), rig.changes()), (CellState::Live, vec![Change::Opened]));
}

#[test]
fn a_price_that_was_lost_in_a_halt_is_none_when_trading_resumes() {
    let mut rig = Rig::new([0; VENUES], DetectorOptions::default());
    let (btc, venue) = (InstrumentId(0), VenueId(1));
    rig.quote(0, 10_000);
    rig.quote(1, 10_000);
    rig.directory.set_halted(btc, venue, HaltedBy::List, true);
    rig.facts();
    rig.quote(1, 10_100);
    down(&mut rig.core, venue, Origin::Own, rig.now, &mut rig.events);
    assert_eq!(rig.state(1), CellState::Halted);
    rig.directory.set_halted(btc, venue, HaltedBy::List, false);
    rig.facts();
    assert_eq!((rig.state(1), rig.changes()), (CellState::Void, vec![]));
    rig.quote(1, 10_100);
    assert_eq!((rig.state(1), rig.changes()), (CellState::Live, vec![Change::Opened]));
}

#[test]
fn an_instruments_own_fee_counts_in_the_threshold_and_in_what_is_told() {
    let mut rig =
        Rig::new([10; VENUES], DetectorOptions { threshold_on: ThresholdOn::Net, ..DetectorOptions::default() });
    let fee = |text: &str| Some(text.parse().unwrap());
    rig.directory.set_taker_fee(InstrumentId(0), VenueId(1), fee("0.4"));
    rig.facts();
    rig.quote(0, 10_000);
    rig.quote(1, 10_090);
    assert_eq!(rig.changes(), [], "0.89 % less 0.5 % of fees");
    rig.directory.set_taker_fee(InstrumentId(0), VenueId(1), fee("0"));
    rig.facts();
    rig.quote(1, 10_090);
    let told = rig.events[0].opportunity.net_pct.to_f64();
    assert!((0.789..0.790).contains(&told), "{told}");
}

/// Two venues whose clocks are five seconds behind ours, which is known to 10 ms. They quote in units of a millisecond.
struct Stamped {
    core: Core,
    events: Vec<OpportunityEvent>,
    now: MonoNs,
}

/// Our monotonic clock at the beginning.
const BEGIN: MonoNs = MonoNs(1000 * SECOND);

impl Stamped {
    fn new() -> Self {
        Self::requiring(ProofMin::None)
    }

    /// An opportunity opens only with this proof.
    fn requiring(proof_min: ProofMin) -> Self {
        let directory = directory([0; VENUES]);
        let (_, writer) = QuoteMatrix::new(directory.pairs());
        let options = DetectorOptions { proof_min, ..DetectorOptions::default() };
        let mut case = Self { core: Core::new(directory, writer, options), events: Vec::new(), now: BEGIN };
        (0..2).for_each(|venue| case.clock(venue, UnixNs(0)));
        case
    }

    fn line(venue: u16) -> LineId {
        LineId::own(u32::from(venue) + 1)
    }

    fn stamp(at_ms: u64) -> UnixNs {
        UnixNs(BEGIN.0 + at_ms * MS - 5 * SECOND)
    }

    fn clock(&mut self, venue: u16, witnessed: UnixNs) {
        self.core.set_clock(Self::line(venue), Self::line_clock(witnessed), self.now);
    }

    fn line_clock(witnessed: UnixNs) -> LineClock {
        LineClock {
            offset_ns: 5 * SECOND as i64,
            error_ns: Some(10 * MS),
            witnessed,
            unit_ns: MS,
            order: StampOrder::Connection,
            slack_ns: 0,
            is_lagging: false,
        }
    }

    /// A quote that was stamped at `at_ms` and arrives 20 ms later, at `cents` and a cent more.
    fn quote(&mut self, venue: u16, cents: u64, at_ms: u64) {
        self.now = BEGIN.plus((at_ms + 20) * MS);
        let line = Self::line(venue);
        self.merge(&Quote { exchange_time: Self::stamp(at_ms), line, ..tight(venue, cents, self.now) });
        self.core.scan(InstrumentId(0), self.now, &mut self.events);
    }

    /// Twice, because the second quote settles a new connection.
    fn merge(&mut self, quote: &Quote) {
        (0..2).for_each(|_| self.core.merge(quote, |_| ()).unwrap());
    }

    /// Another message of the connection.
    fn witness(&mut self, venue: u16, at_ms: u64) {
        self.now = BEGIN.plus((at_ms + 20) * MS);
        self.clock(venue, Self::stamp(at_ms));
        self.core.scan_awaiting(self.now, &mut self.events);
        self.core.sweep(self.now, |_| (), &mut self.events);
    }

    /// What was said since the last call: the change, and what is known.
    fn said(&mut self) -> Vec<(Change, Proof, u64)> {
        let said = |event: OpportunityEvent| {
            let known = event.opportunity.coexistence;
            (event.change, known.proof, known.length_ns / MS)
        };
        self.events.drain(..).map(said).collect()
    }
}

#[test]
fn later_frames_of_both_connections_prove_an_open_opportunity_which_is_said_at_once() {
    let mut case = Stamped::new();
    case.quote(0, 10_000, 0);
    case.quote(1, 10_000, 0);
    case.quote(1, 10_100, 1000);
    assert_eq!(case.said(), [(Change::Opened, Proof::Likely, 0)]);
    case.witness(0, 1020);
    assert_eq!(case.said(), [], "the other leg may have moved meanwhile");
    case.witness(1, 1015);
    assert_eq!(case.said(), [], "within the error");
    case.witness(1, 1025);
    // From 1000 + 10 to 1020 - 10 ms.
    assert_eq!(case.said(), [(Change::Updated, Proof::Proven, 0)]);
    case.witness(0, 1200);
    case.witness(1, 1201);
    case.quote(1, 10_000, 1300);
    // From 1010 to 1200 - 10 ms: the frame that ends one leg says nothing of the other.
    assert_eq!(case.said(), [(Change::Closed(CloseReason::SellMoved), Proof::Proven, 180)]);
}

#[test]
fn a_leg_that_had_moved_before_the_other_began_closes_the_opportunity_as_one_that_never_was() {
    let mut case = Stamped::new();
    case.quote(0, 10_000, 0);
    case.quote(1, 10_000, 0);
    case.quote(1, 10_100, 1000);
    // Its frame takes longer than that of the other venue.
    case.now = BEGIN.plus(1100 * MS);
    let quote = Quote { exchange_time: Stamped::stamp(950), line: Stamped::line(0), ..tight(0, 10_100, case.now) };
    case.core.merge(&quote, |_| ()).unwrap();
    case.core.scan(InstrumentId(0), case.now, &mut case.events);
    let closed = (Change::Closed(CloseReason::NeverCoexisted), Proof::Refuted, 0);
    assert_eq!(case.said(), [(Change::Opened, Proof::Likely, 0), closed]);
}

#[test]
fn a_leg_without_a_stamp_is_proven_by_a_witness_on_its_connection_alone() {
    let mut case = Stamped::new();
    case.quote(0, 10_000, 0);
    case.now = BEGIN.plus(20 * MS);
    let unstamped = |case: &mut Stamped, line, cents, at_ms: u64| {
        case.now = BEGIN.plus(at_ms * MS);
        case.merge(&Quote { line, ..tight(1, cents, case.now) });
        case.core.scan(InstrumentId(0), case.now, &mut case.events);
    };
    unstamped(&mut case, LineId::own(9), 10_000, 20);
    unstamped(&mut case, LineId::own(9), 10_100, 1000);
    assert_eq!(case.said(), [(Change::Opened, Proof::Unproven, 0)]);
    // The same on a connection with a witness.
    unstamped(&mut case, Stamped::line(1), 10_000, 2000);
    case.said();
    unstamped(&mut case, Stamped::line(1), 10_100, 3000);
    assert_eq!(case.said()[0].1, Proof::Likely);
    case.witness(0, 3030);
    case.witness(1, 3030);
    assert_eq!(case.said().last(), Some(&(Change::Updated, Proof::Proven, 20)), "from its arrival on");
}

#[test]
fn while_a_connection_lags_a_quote_that_was_on_time_is_no_leg_either() {
    let mut case = Stamped::new();
    case.quote(0, 10_000, 0);
    case.quote(1, 10_000, 0);
    let lag = |case: &mut Stamped, is_lagging| {
        let clock = LineClock { is_lagging, ..Stamped::line_clock(UnixNs(0)) };
        case.core.set_clock(Stamped::line(0), clock, case.now)
    };
    assert!(lag(&mut case, true), "other instruments of its connection are late");
    assert!(!lag(&mut case, true));
    case.quote(1, 10_100, 1000);
    assert_eq!(case.said(), [], "the other venue has moved, and its own move is still on its way");
    assert!(lag(&mut case, false));
    case.core.scan(InstrumentId(0), case.now, &mut case.events);
    assert_eq!(case.said()[0].0, Change::Opened);
    assert!(lag(&mut case, true));
    case.core.scan(InstrumentId(0), case.now, &mut case.events);
    assert_eq!(case.said()[0].0, Change::Closed(CloseReason::LaggingVenue));
}

#[test]
fn a_void_and_another_connection_interrupt_what_is_known_of_a_leg() {
    let mut case = Stamped::new();
    case.quote(0, 10_000, 0);
    case.quote(1, 10_000, 0);
    case.quote(1, 10_100, 1000);
    case.said();
    case.core.void(InstrumentId(0), VenueId(0), Origin::Own, BookVoid::Gap, |_| ());
    case.witness(1, 1100);
    case.said();
    // It comes back at the same price.
    case.quote(0, 10_000, 1200);
    assert_eq!(case.said(), [(Change::Opened, Proof::Likely, 0)], "its life begins anew");
    case.witness(1, 1230);
    case.witness(0, 1230);
    assert_eq!(case.said(), [(Change::Updated, Proof::Proven, 10)]);
}

#[test]
fn where_proof_is_required_an_opportunity_opens_with_the_frame_that_proves_it() {
    let mut case = Stamped::requiring(ProofMin::Proven);
    case.quote(0, 10_000, 0);
    case.quote(1, 10_000, 0);
    case.quote(1, 10_100, 1000);
    case.witness(0, 1050);
    case.witness(1, 1015);
    assert_eq!(case.said(), [], "likely");
    assert!(case.core.awaits_proof());
    let refused = |case: &mut Stamped| case.core.refusals.take_counts()[AlertRefusal::NotCoexistent.index()];
    assert_eq!(refused(&mut case), 1);
    case.witness(1, 1050);
    assert!(case.events[0].alert);
    // From 1000 + 10 to 1050 - 10 ms.
    assert_eq!(case.said(), [(Change::Opened, Proof::Proven, 30)]);
    assert!(!case.core.awaits_proof());

    // It never opens if a leg moves first, although its last frame proves that it had existed.
    case.quote(1, 10_000, 2000);
    case.said();
    case.quote(1, 10_100, 3000);
    case.witness(0, 3100);
    case.quote(1, 10_000, 3100);
    case.core.scan_awaiting(case.now, &mut case.events);
    assert_eq!((case.said(), refused(&mut case)), (vec![], 1));
    assert!(!case.core.awaits_proof());
}

#[test]
fn an_alert_is_repeated_only_with_the_required_proof_but_the_opportunity_stays_open() {
    let mut case = Stamped::requiring(ProofMin::Likely);
    case.core.options.debounce_ms = 1000;
    let alerts = |case: &mut Stamped| case.events.drain(..).filter(|event| event.alert).count();
    let quote_on = |case: &mut Stamped, line, at_ms: u64, stamp| {
        case.now = BEGIN.plus((at_ms + 20) * MS);
        case.merge(&Quote { exchange_time: stamp, line, ..tight(1, 10_100, case.now) });
        case.core.scan(InstrumentId(0), case.now, &mut case.events);
    };
    case.quote(0, 10_000, 0);
    case.quote(1, 10_000, 0);
    let line = LineId::own(9);
    quote_on(&mut case, line, 1000, UnixNs(0));
    assert_eq!((alerts(&mut case), case.core.open()), (0, 0), "a leg has no timestamp");
    quote_on(&mut case, Stamped::line(1), 2000, Stamped::stamp(2000));
    assert_eq!(alerts(&mut case), 1);
    quote_on(&mut case, line, 3500, UnixNs(0));
    assert_eq!((alerts(&mut case), case.core.open()), (0, 1), "another connection took over");
    quote_on(&mut case, Stamped::line(1), 4500, Stamped::stamp(4500));
    assert_eq!(alerts(&mut case), 1);
}
