//! Survival of the recent opportunities of each pair of venues, by the Kaplan-Meier estimator. Pure.
//!
//! An opportunity that was lost from view is censored: it counts as at risk until then. The band is that of Greenwood on the
//! log-log scale, as Python's `lifelines` computes it; `scripts/survival` compares both.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use crate::detector::lifetime::Lifetime;
use crate::market::survival::{HORIZONS, HORIZONS_MS, PairSurvival, SurvivalCurve, SurvivalPoint, SurvivalReport};
use crate::market::{InstrumentId, VenueId};
use crate::time::MS;

/// Recent opportunities of a pair of venues that are counted.
const RECENT: usize = 512;
/// Least number of opportunities for a curve of a single instrument.
pub(crate) const OWN_CURVE_MIN: usize = 30;
/// The 97.5 % quantile of the standard normal distribution.
const Z: f64 = 1.959_963_984_540_054;

type VenuePair = (VenueId, VenueId);

/// See the file's head.
#[derive(Default)]
pub(crate) struct Survival {
    recent: BTreeMap<VenuePair, VecDeque<Lifetime>>,
    /// Pairs that have a lifetime that their curves do not contain.
    changed: BTreeSet<VenuePair>,
    curves: BTreeMap<VenuePair, Arc<PairSurvival>>,
}

impl Survival {
    /// An opportunity has ended, or was lost from view.
    pub fn add(&mut self, lifetime: Lifetime) {
        let pair = (lifetime.buy, lifetime.sell);
        let recent = self.recent.entry(pair).or_default();
        if recent.len() == RECENT {
            recent.pop_front();
        }
        recent.push_back(lifetime);
        self.changed.insert(pair);
    }

    /// Computes the curves of one pair that has changed. `cadence_ms` is the interval at which a venue sends changes. Returns
    /// whether there was one.
    pub(crate) fn refresh_one(&mut self, cadence_ms: impl Fn(VenueId) -> u64) -> bool {
        let Some(pair) = self.changed.pop_first() else { return false };
        let Some(recent) = self.recent.get(&pair) else { return false };
        let cadence_ms = cadence_ms(pair.0).max(cadence_ms(pair.1));
        let mut all: Vec<Lifetime> = recent.iter().copied().collect();
        all.sort_by_key(|lifetime| lifetime.instrument);
        let instruments = all.chunk_by(|a, b| a.instrument == b.instrument);
        let own = instruments.filter(|of| of.len() >= OWN_CURVE_MIN);
        let instruments: Vec<(InstrumentId, SurvivalCurve)> =
            own.map(|of| (of[0].instrument, curve(of, cadence_ms))).collect();
        let pooled = curve(&all, cadence_ms);
        self.curves.insert(pair, Arc::new(PairSurvival { buy: pair.0, sell: pair.1, pooled, instruments }));
        true
    }

    /// The curves as they were last computed.
    #[must_use]
    pub fn report(&self) -> SurvivalReport {
        SurvivalReport(self.curves.values().cloned().collect())
    }
}

/// The curve of `lifetimes` on venues that send changes at this interval, in milliseconds.
fn curve(lifetimes: &[Lifetime], cadence_ms: u64) -> SurvivalCurve {
    let lives: Vec<(u64, bool)> = lifetimes.iter().map(|lifetime| (lifetime.ns, lifetime.is_ended)).collect();
    let estimates = estimate(lives, HORIZONS_MS.map(|ms| ms * MS));
    let mut points = [None; HORIZONS];
    for (at, estimate) in estimates.into_iter().enumerate() {
        let kept = lifetimes.iter().map(|lifetime| f64::from(lifetime.kept[at])).filter(|kept| !kept.is_nan());
        let point = SurvivalPoint { net_kept: median(kept.collect()), ..estimate };
        points[at] = (HORIZONS_MS[at] >= cadence_ms).then_some(point);
    }
    SurvivalCurve { episodes: lifetimes.len() as u32, points }
}

/// Survival at each of `horizons` (ascending) by Kaplan and Meier, from durations and whether their end was seen.
#[must_use]
pub fn estimate<const N: usize>(mut lives: Vec<(u64, bool)>, horizons: [u64; N]) -> [SurvivalPoint; N] {
    lives.sort_unstable();
    let (mut alive, mut variance, mut at) = (1.0, 0.0, 0);
    horizons.map(|horizon| {
        let before = lives.partition_point(|life| life.0 < horizon);
        while at < lives.len() && lives[at].0 <= horizon {
            let same = lives[at..].iter().take_while(|life| life.0 == lives[at].0);
            let (count, ended) =
                same.fold((0, 0.0), |(count, ended), life| (count + 1, ended + f64::from(u8::from(life.1))));
            let at_risk = (lives.len() - at) as f64;
            if ended > 0.0 {
                alive *= (at_risk - ended) / at_risk;
                if ended < at_risk {
                    variance += ended / (at_risk * (at_risk - ended));
                }
            }
            at += count;
        }
        SurvivalPoint {
            alive,
            band: band(alive, variance),
            at_risk: (lives.len() - before) as u32,
            censored: lives[..before].iter().filter(|life| !life.1).count() as u32,
            net_kept: None,
        }
    })
}

/// Limits of the 95 % band. If none or all have ended, the estimate has no variance, and the band has no width.
fn band(alive: f64, variance: f64) -> (f64, f64) {
    if alive <= 0.0 || alive >= 1.0 {
        return (alive, alive);
    }
    let (log, width) = (alive.ln(), Z * variance.sqrt());
    let limit = |width: f64| (-((-log).ln() + width / -log).exp()).exp();
    (limit(width), limit(-width))
}

/// The middle value, or the mean of the two middle ones; `None` without values.
fn median(mut values: Vec<f64>) -> Option<f64> {
    let middle = values.len() / 2;
    if values.is_empty() {
        return None;
    }
    let is_even = values.len().is_multiple_of(2);
    let (below, upper, _) = values.select_nth_unstable_by(middle, f64::total_cmp);
    let lower = below.iter().copied().max_by(f64::total_cmp).filter(|_| is_even);
    Some(lower.map_or(*upper, |lower| (lower + *upper) / 2.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lifetime(instrument: u32, ms: u64, is_ended: bool) -> Lifetime {
        let kept = HORIZONS_MS.map(|horizon| if horizon < ms { 0.5 } else { 0.0 });
        Lifetime {
            instrument: InstrumentId(instrument),
            buy: VenueId(0),
            sell: VenueId(1),
            ns: ms * MS,
            is_ended,
            kept,
        }
    }

    #[test]
    fn a_duration_at_a_time_is_at_risk_and_its_end_counts() {
        // The example of `lifelines`: ends at 0, 1, 2 and 3, censored at 0 and 2.
        let lives = vec![(3, true), (0, true), (0, false), (1, true), (2, true), (2, false)];
        let points = estimate(lives, [0, 1, 2, 3, 4]);
        let alive = points.map(|point| (point.alive * 1e6).round() / 1e6);
        assert_eq!(alive, [0.833_333, 0.625, 0.416_667, 0.0, 0.0]);
        assert_eq!(points.map(|point| point.at_risk), [6, 4, 3, 1, 0]);
        assert_eq!(points.map(|point| point.censored), [0, 1, 1, 2, 2]);
        let band = |point: &SurvivalPoint| ((point.band.0 * 1e6).round() / 1e6, (point.band.1 * 1e6).round() / 1e6);
        assert_eq!(band(&points[0]), (0.273_123, 0.974_712));
        assert_eq!(band(&points[3]), (0.0, 0.0));
    }

    #[test]
    fn an_instrument_has_its_own_curve_from_thirty_opportunities_on() {
        let mut survival = Survival::default();
        for n in 0..29 {
            survival.add(lifetime(7, 50, n > 0));
        }
        survival.add(lifetime(3, 2, true));
        let refreshed = |survival: &mut Survival| {
            assert!(survival.refresh_one(|venue| if venue == VenueId(1) { 10 } else { 0 }));
            assert!(!survival.refresh_one(|_| 0));
            survival.report().pair(VenueId(0), VenueId(1)).cloned().unwrap()
        };
        let pair = refreshed(&mut survival);
        let (curve, is_pooled) = pair.of(InstrumentId(7));
        assert_eq!((curve.episodes, is_pooled), (30, true));
        survival.add(lifetime(7, 50, true));
        let pair = refreshed(&mut survival);
        let (curve, is_pooled) = pair.of(InstrumentId(7));
        assert_eq!((curve.episodes, is_pooled), (30, false));
        assert!(pair.of(InstrumentId(3)).1);
        // A venue of the pair sends changes every 10 ms.
        assert_eq!((curve.points[0], curve.points[1]), (None, None));
        let point = curve.points[2].unwrap();
        assert_eq!((point.alive, point.at_risk, point.net_kept), (1.0, 30, Some(0.5)));
        let point = curve.points[3].unwrap();
        assert_eq!((point.at_risk, point.censored, point.net_kept), (0, 1, Some(0.0)));
        assert!((point.alive - 1.0 / 30.0).abs() < 1e-12, "one was lost from view when the others ended");
        assert_eq!(survival.report().pair(VenueId(1), VenueId(0)), None, "the other direction is another pair");
    }

    #[test]
    fn only_the_recent_opportunities_of_a_pair_are_counted() {
        let mut survival = Survival::default();
        (0..600).for_each(|n| survival.add(lifetime(0, n, true)));
        survival.refresh_one(|_| 0);
        let pair = survival.report().pair(VenueId(0), VenueId(1)).cloned().unwrap();
        assert_eq!((pair.pooled.episodes, pair.pooled.points[2].unwrap().alive), (512, 1.0));
    }

    #[test]
    fn a_median_of_an_even_number_is_the_mean_of_both_middle_values() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }
}
