use super::*;
use crate::detector::lives::{CellLife, LineClocks};
use crate::market::quote::{LineClock, LineId, StampOrder};
use crate::market::{Decimal, InstrumentId, Level, Quote, VenueId};
use crate::time::{MS, UnixNs};
use proptest::prelude::*;
use proptest::strategy::ValueTree;

/// A leg with these bounds in milliseconds, whose venue's clock is known to 5 ms.
fn life(begun: u64, until: u64) -> LegLife {
    let (error, begun) = (5, begun * MS);
    LegLife {
        begun: Bounds { earliest: MonoNs(begun - error * MS), latest: MonoNs(begun + error * MS) },
        until: MonoNs((until.saturating_sub(error)) * MS),
        error_ns: Some(error * MS),
        unit_ns: MS,
        is_stamped: true,
    }
}

#[test]
fn legs_coexist_in_the_interval_that_is_left_after_both_errors() {
    let known = of(&life(1000, 1100), &life(1040, 1090));
    assert_eq!((known.proof, known.length_ns, known.error_ns), (Proof::Proven, 40 * MS, Some(5 * MS)));
    // The interval from 1045 to 1045 ms has one moment; one of 1046 to 1045 ms has none.
    assert_eq!(of(&life(1000, 1100), &life(1040, 1050)).proof, Proof::Proven);
    assert_eq!(of(&life(1000, 1100), &life(1041, 1050)).proof, Proof::Likely);
}

#[test]
fn nothing_finer_than_the_unit_is_claimed() {
    let fine = LegLife { unit_ns: 1000, ..life(1000, 1100) };
    let mut other = LegLife { unit_ns: 1000, ..life(1000, 1100) };
    other.until = MonoNs(1_050_700_000);
    assert_eq!(of(&fine, &other).length_ns, 45_700_000);
    other.unit_ns = MS;
    other.error_ns = Some(5_300_000);
    let known = of(&fine, &other);
    assert_eq!((known.length_ns, known.error_ns), (45 * MS, Some(6 * MS)));
}

#[test]
fn a_leg_without_a_stamp_proves_nothing_and_an_unknown_clock_not_yet() {
    let (good, none) = (life(1000, 1100), LegLife { is_stamped: false, ..life(1000, 1100) });
    assert_eq!(of(&good, &none).proof, Proof::Unproven);
    let unknown = LegLife { error_ns: None, ..good };
    assert_eq!(of(&unknown, &good).proof, Proof::Likely);
}

#[test]
fn a_proof_is_not_lost_and_grows() {
    let [proven, longer] = [1060, 1080].map(|until| of(&life(1000, until), &life(1000, until)));
    let likely = of(&life(1000, 1100), &life(1095, 1095));
    assert_eq!(joined(likely, proven).proof, Proof::Proven);
    assert_eq!(joined(proven, likely).length_ns, proven.length_ns);
    assert_eq!(joined(proven, longer).length_ns, longer.length_ns);
}

#[test]
fn a_leg_that_had_moved_before_the_other_began_refutes_them() {
    let (buy, sell) = (life(1000, 1000), life(1100, 1100));
    let before = of(&buy, &sell);
    assert_eq!(before.proof, Proof::Likely);
    let end = |moved_ms: u64| {
        let buy = LegEnd { life: life(1000, moved_ms), moved: Some(MonoNs((moved_ms + 5) * MS)) };
        at_end(before, &[buy, LegEnd { life: sell, moved: None }]).proof
    };
    assert_eq!(end(1089), Proof::Refuted);
    assert_eq!(end(1091), Proof::Likely, "within the error");
    assert_eq!(end(1150), Proof::Likely, "the sell leg is certain for a moment only");
    let sell = LegEnd { life: life(1100, 1200), moved: None };
    let buy = LegEnd { life: life(1000, 1150), moved: Some(MonoNs(1155 * MS)) };
    assert_eq!(at_end(before, &[buy, sell]).proof, Proof::Proven, "the frame that ends a leg proves its life");
}

/// A venue with one instrument: its true asks or bids, and its frames as (true time of sending, arrival, frame).
#[derive(Clone, Debug)]
struct PlayedVenue {
    /// (time of change, price), in nanoseconds of our monotonic clock.
    history: Vec<(u64, u64)>,
    frames: Vec<(u64, PlayedFrame)>,
    clock: PlayedClock,
    /// Time that the fastest message takes, in nanoseconds.
    way_ns: u64,
}

#[derive(Clone, Copy, Debug)]
enum PlayedFrame {
    /// The price that began at this time.
    Quote(u64, u64),
    /// Another message of the connection.
    Other(u64),
}

/// A venue's clock: ahead of ours by `ahead_ns` at the beginning, and faster by `ppm`.
#[derive(Clone, Copy, Debug)]
struct PlayedClock {
    ahead_ns: i64,
    ppm: i64,
}

impl PlayedClock {
    fn stamp(self, at: u64) -> UnixNs {
        let drift = at as i64 / 1_000_000 * self.ppm;
        let ns = at.wrapping_add_signed(DAY_NS + self.ahead_ns + drift);
        UnixNs(ns / MS * MS)
    }

    /// What the feed would know at `now`: the difference of the fastest message, which took `way_ns` and not more than a
    /// round trip of `trip_ns`.
    fn known(self, now: u64, (way_ns, trip_ns): (u64, u64), order: StampOrder) -> LineClock {
        let difference = now.wrapping_sub(self.stamp(now - way_ns).0) as i64;
        LineClock {
            offset_ns: difference - trip_ns as i64 / 2,
            // The unit, and the drift until the next report.
            error_ns: Some(trip_ns.div_ceil(2) + MS + 200_000),
            witnessed: UnixNs(0),
            unit_ns: MS,
            order,
            slack_ns: 0,
            is_lagging: false,
        }
    }
}

const DAY_NS: i64 = 1_700_000_000_000_000_000;

/// Lives of the price 0 in true time: `[from, to)`.
fn spells(history: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let mut spells: Vec<(u64, u64)> = Vec::new();
    let mut last = None;
    for &(at, price) in history {
        match (price, last) {
            (0, Some(0)) | (1.., None | Some(1..)) => {}
            (0, _) => spells.push((at, u64::MAX)),
            (_, Some(0)) => spells.last_mut().unwrap().1 = at,
        }
        last = Some(price);
    }
    spells
}

fn venue() -> impl Strategy<Value = PlayedVenue> {
    let clock =
        (-5_000_000_000i64..5_000_000_000, -200i64..=200).prop_map(|(ahead_ns, ppm)| PlayedClock { ahead_ns, ppm });
    // Gaps in microseconds, prices, delays in milliseconds, and which messages are no quotes.
    let steps = prop::collection::vec((1_000u64..400_000, 0u64..4, 0u64..2_000, any::<bool>()), 4..60);
    (clock, steps, 1u64..60).prop_map(|(clock, steps, way_ms)| {
        let mut at = 10_000_000_000;
        let (mut history, mut frames, mut arrived): (Vec<(u64, u64)>, Vec<_>, u64) = (Vec::new(), Vec::new(), 0);
        for (gap_us, price, delay_ms, is_other) in steps {
            at += gap_us * 1000;
            // TCP keeps the order. Some messages are late, by up to two seconds.
            let late = if delay_ms < 1_800 { delay_ms % 20 } else { (delay_ms - 1_800) * 10 };
            arrived = (at + (way_ms + late) * MS).max(arrived + 1);
            if is_other {
                frames.push((arrived, PlayedFrame::Other(at)));
            } else {
                history.push((at, price));
                frames.push((arrived, PlayedFrame::Quote(at, price)));
            }
        }
        PlayedVenue { history, frames, clock, way_ns: way_ms * MS }
    })
}

/// Plays both venues; returns how often the legs at price 0 were proven, refuted, and neither.
fn play(venues: &[PlayedVenue; 2], orders: [StampOrder; 2], trip_ns: u64) -> Result<[usize; 3], TestCaseError> {
    let mut frames: Vec<(u64, usize, PlayedFrame)> = Vec::new();
    for (side, venue) in venues.iter().enumerate() {
        frames.extend(venue.frames.iter().map(|(arrived, frame)| (*arrived, side, *frame)));
    }
    frames.sort_by_key(|frame| frame.0);
    let (mut lines, mut lives) = (LineClocks::default(), [CellLife::default(); 2]);
    let mut prices = [None; 2];
    let mut open: Option<Coexistence> = None;
    let mut counts = [0; 3];
    let good = [0, 1].map(|side: usize| spells(&venues[side].history));
    // When the last quote at price 0 that has arrived was sent.
    let mut seen = [0; 2];
    let met = |until: u64| {
        good[0].iter().any(|a| good[1].iter().any(|b| a.0.max(b.0) < a.1.min(b.1) && a.0.max(b.0) <= until))
    };
    for (arrived, side, frame) in frames {
        let (line, clock) = (LineId::own(side as u32 + 1), venues[side].clock);
        let known = clock.known(arrived, (venues[side].way_ns, trip_ns), orders[side]);
        let price = match frame {
            PlayedFrame::Other(at) => {
                lines.set(line, LineClock { witnessed: clock.stamp(at), ..known }, MonoNs(arrived));
                prices[side]
            }
            PlayedFrame::Quote(at, price) => {
                lines.set(line, known, MonoNs(arrived));
                let level = Level { price: Decimal::new(price + 100, 0), size: Decimal::new(1, 0) };
                let quote = Quote {
                    instrument: InstrumentId(0),
                    venue: VenueId(side as u16),
                    bid: level,
                    ask: level,
                    exchange_time: clock.stamp(at),
                    received: MonoNs(arrived),
                    line,
                    ..Quote::default()
                };
                lives[side].take(&quote, &mut lines);
                seen[side] = if price == 0 { at } else { seen[side] };
                Some(price)
            }
        };
        prices[side] = price;
        let hundred = Decimal::new(100, 0);
        if prices == [Some(0); 2] {
            let now = of(&lives[0].ask(&lines), &lives[1].bid(&lines));
            open = Some(open.map_or(now, |before| joined(before, now)));
        } else if let Some(before) = open.take() {
            let legs = [lives[0].ask_end(hundred, &lines), lives[1].bid_end(hundred, &lines)];
            let ended = at_end(before, &legs);
            counts[match ended.proof {
                Proof::Proven => 0,
                Proof::Refuted => 1,
                _ => 2,
            }] += 1;
            prop_assert!(ended.proof != Proof::Proven || met(arrived), "proven, and they never met");
            if ended.proof == Proof::Refuted {
                let [a, b] = [0, 1].map(|side| {
                    let is_seen = |spell: &&(u64, u64)| (spell.0..spell.1).contains(&seen[side]);
                    *good[side].iter().find(is_seen).unwrap()
                });
                prop_assert!(a.0.max(b.0) >= a.1.min(b.1), "refuted, and they met: {a:?} {b:?}");
            }
        }
        if let Some(now) = open {
            prop_assert!(now.proof != Proof::Proven || met(arrived), "proven, and they never met");
        }
    }
    Ok(counts)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn what_is_proven_was_so_in_true_time(
        venues in [venue(), venue()],
        orders in prop::array::uniform2(prop_oneof![Just(StampOrder::Connection), Just(StampOrder::Channel)]),
    ) {
        play(&venues, orders, 60 * MS)?;
    }
}

/// The play is no test of silence: it proves and refutes.
#[test]
fn plays_of_two_venues_have_proofs_and_refutations() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let strategy = [venue(), venue()];
    let mut all = [0; 3];
    for _ in 0..300 {
        let venues = strategy.new_tree(&mut runner).unwrap().current();
        let counts = play(&venues, [StampOrder::Connection; 2], 60 * MS).unwrap();
        all = std::array::from_fn(|at| all[at] + counts[at]);
    }
    assert!(all.iter().all(|count| *count > 20), "{all:?}");
}
