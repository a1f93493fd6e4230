//! Whether a candidate above the threshold may be alerted, and the reason why not. Pure: [`judge`] decides on
//! the [`RouteEvidence`], and nothing else does.

use crate::detector::quarantine::QUARANTINE_NS;
use crate::market::opportunity::{Coexistence, LegSide, Percent, Proof};
use crate::market::quote::Delay;
use crate::market::refusal::{Deciding, Grounds, LegFault};
use crate::market::rule::DetectorOptions;
use crate::metrics::reasons::AlertRefusal;
use crate::time::MS;

/// What is known of one leg.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LegEvidence {
    /// Why its quote does not hold; `None` if it holds.
    pub fault: Option<LegFault>,
    /// Time since its quote was read, corrected for lag, in nanoseconds.
    pub age_ns: u64,
    /// Whether it waits for its second quote after a connect or a resubscription.
    pub(crate) is_unsettled: bool,
    /// Time since the last reconnect of a venue that reconnects too often, in nanoseconds.
    pub(crate) reconnected_ns: Option<u64>,
    /// Whether what we read of its connection is behind what was sent.
    pub is_behind: bool,
    /// Whether the quote was late when it came.
    pub delay: Delay,
    /// Whether its venue is quarantined, because its feed had too many faults lately.
    pub(crate) is_quarantined: bool,
    /// It has a timestamp, or a witness on its connection.
    pub(crate) is_stamped: bool,
}

/// What is known of a candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouteEvidence {
    /// The leg that would be bought.
    pub buy: LegEvidence,
    /// The leg that would be sold.
    pub sell: LegEvidence,
    /// Whether both legs are known to be the same asset in the same unit.
    pub(crate) is_one: bool,
    /// Net spread in percent of the buy price.
    pub net_pct: Percent,
    /// The basis of the route, if it has one.
    pub basis_pct: Option<Percent>,
    /// Whether both legs could have been hit at the same moment.
    pub coexistence: Coexistence,
    /// Whether the opportunity is open.
    pub is_open: bool,
    /// Whether the spread that is compared with the threshold is above it. `false` only for a gross spread above a
    /// threshold on the net spread.
    pub is_above: bool,
}

/// Whether a candidate may be alerted. The reasons are checked in the order of [`AlertRefusal`].
///
/// # Errors
/// The first reason that applies.
pub fn judge(evidence: &RouteEvidence, options: &DetectorOptions) -> Result<(), Grounds> {
    use AlertRefusal as R;
    let RouteEvidence { buy, sell, .. } = evidence;
    let find = |applies: &dyn Fn(&LegEvidence) -> bool| {
        [(LegSide::Buy, buy), (LegSide::Sell, sell)].into_iter().find(|(_, leg)| applies(leg))
    };
    let refuse = |reason, leg: Option<(LegSide, &LegEvidence)>, figure| {
        let fault = leg.and_then(|(_, leg)| leg.fault);
        Err(Grounds { reason, leg: leg.map(|(side, _)| side), fault, figure })
    };
    for reason in [R::NotTrading, R::StaleLeg, R::VoidLeg, R::OneSided, R::CrossedLeg, R::SuspectJump] {
        if let leg @ Some(_) = find(&|leg| leg.fault.is_some_and(|fault| fault.refusal() == reason)) {
            return refuse(reason, leg, None);
        }
        if reason == R::StaleLeg
            && let Some((leg, figure)) = stale(buy, sell, options)
        {
            return refuse(reason, leg, Some(figure));
        }
    }
    if let leg @ Some(_) = find(&|leg| leg.is_unsettled) {
        return refuse(R::Reconnect, leg, None);
    }
    if let leg @ Some((_, LegEvidence { reconnected_ns: Some(ns), .. })) = find(&|leg| leg.reconnected_ns.is_some()) {
        return refuse(R::Reconnect, leg, Some(Deciding::Time { ns: *ns, limit_ns: QUARANTINE_NS }));
    }
    if let leg @ Some(_) = find(&|leg| leg.is_behind) {
        return refuse(R::LaggingOwn, leg, None);
    }
    if let leg @ Some(_) = find(&|leg| leg.delay == Delay::Lagging) {
        return refuse(R::LaggingVenue, leg, None);
    }
    if let leg @ Some(_) = find(&|leg| leg.is_quarantined) {
        return refuse(R::Quarantined, leg, None);
    }
    if !evidence.is_one {
        return refuse(R::Identity, None, None);
    }
    let share = |pct, limit_pct| Some(Deciding::Share { pct, limit_pct });
    let ceiling = Percent::of(options.implausible_pct);
    if evidence.net_pct > ceiling && ceiling > Percent(0) {
        return refuse(R::Implausible, None, share(evidence.net_pct, ceiling));
    }
    let threshold = Percent::of(options.threshold_pct);
    if let Some(basis) = evidence.basis_pct
        && is_standing(basis, threshold)
    {
        let beyond = Percent(evidence.net_pct.0.saturating_sub(basis.0));
        let limit = if evidence.is_open { threshold.times(options.close_ratio) } else { threshold };
        if beyond <= limit {
            return refuse(R::StandingBasis, None, share(beyond, limit));
        }
    }
    if !evidence.is_above {
        return refuse(R::Fees, None, share(evidence.net_pct, threshold));
    }
    let proof = evidence.coexistence.proof;
    // What has opened stays open: a connection that gives way to another one may take the proof of a leg with it.
    if proof < options.proof_min.proof() && !evidence.is_open {
        let without = if proof == Proof::Unproven { find(&|leg| !leg.is_stamped) } else { None };
        return refuse(R::NotCoexistent, without, None);
    }
    Ok(())
}

/// Whether a route with this basis is standing: the basis exceeds half of the threshold.
#[must_use]
pub(crate) const fn is_standing(basis: Percent, threshold: Percent) -> bool {
    basis.0 > threshold.0 / 2
}

/// The leg that is too old, alone or compared with the other, among legs that hold and are on time: the age of a late quote
/// contains its lag.
fn stale<'a>(
    buy: &'a LegEvidence,
    sell: &'a LegEvidence,
    options: &DetectorOptions,
) -> Option<(Option<(LegSide, &'a LegEvidence)>, Deciding)> {
    let oldest = if buy.age_ns >= sell.age_ns { (LegSide::Buy, buy) } else { (LegSide::Sell, sell) };
    let is_held = |leg: &LegEvidence| leg.fault.is_none() && leg.delay != Delay::Lagging;
    let held = [(LegSide::Buy, buy), (LegSide::Sell, sell)].into_iter().filter(|(_, leg)| is_held(leg));
    let limit_ns = options.leg_age_max_ns();
    if let Some(leg) = held.clone().find(|(_, leg)| leg.age_ns > limit_ns) {
        return Some((Some(leg), Deciding::Time { ns: leg.1.age_ns, limit_ns }));
    }
    let (ns, limit_ns) = (buy.age_ns.abs_diff(sell.age_ns), options.leg_skew_max_ms * MS);
    (held.count() == 2 && ns > limit_ns).then_some((Some(oldest), Deciding::Time { ns, limit_ns }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::market::Decimal;
    use crate::market::rule::ProofMin;
    use crate::time::{MonoNs, SECOND};

    const SOUND: LegEvidence = LegEvidence {
        fault: None,
        age_ns: 0,
        is_unsettled: false,
        reconnected_ns: None,
        is_behind: false,
        delay: Delay::None,
        is_quarantined: false,
        is_stamped: true,
    };
    const GOOD: RouteEvidence = RouteEvidence {
        buy: SOUND,
        sell: SOUND,
        is_one: true,
        net_pct: Percent(10_000_000_000),
        basis_pct: None,
        coexistence: LIKELY,
        is_open: false,
        is_above: true,
    };
    const PROVEN: Coexistence = Coexistence { proof: Proof::Proven, ..LIKELY };
    const LIKELY: Coexistence =
        Coexistence { proof: Proof::Likely, length_ns: 0, error_ns: None, begun: [MonoNs(0); 2] };

    fn reason(evidence: &RouteEvidence) -> Option<(AlertRefusal, Option<LegSide>)> {
        reason_where(ProofMin::None, evidence)
    }

    fn reason_where(proof_min: ProofMin, evidence: &RouteEvidence) -> Option<(AlertRefusal, Option<LegSide>)> {
        let options = DetectorOptions { proof_min, ..DetectorOptions::default() };
        judge(evidence, &options).err().map(|grounds| (grounds.reason, grounds.leg))
    }

    #[test]
    fn the_first_reason_in_the_order_applies_whichever_leg_it_is_of() {
        use {AlertRefusal as R, LegFault as F, LegSide::*};
        let reason = |evidence: &RouteEvidence| reason_where(ProofMin::Proven, evidence);
        assert_eq!(reason(&RouteEvidence { coexistence: PROVEN, ..GOOD }), None);
        // Each step adds an earlier reason to those before it.
        let mut worse = GOOD;
        assert_eq!(reason(&worse), Some((R::NotCoexistent, None)));
        worse.is_above = false;
        assert_eq!(reason(&worse), Some((R::Fees, None)));
        worse.basis_pct = Some(Percent::of(Decimal::new(6, 1)));
        assert_eq!(reason(&worse), Some((R::StandingBasis, None)));
        worse.net_pct = Percent::of(Decimal::new(100_001, 4));
        assert_eq!(reason(&worse), Some((R::Implausible, None)));
        worse.is_one = false;
        assert_eq!(reason(&worse), Some((R::Identity, None)));
        worse.buy.is_quarantined = true;
        assert_eq!(reason(&worse), Some((R::Quarantined, Some(Buy))));
        worse.sell.delay = Delay::Lagging;
        assert_eq!(reason(&worse), Some((R::LaggingVenue, Some(Sell))));
        worse.buy.is_behind = true;
        assert_eq!(reason(&worse), Some((R::LaggingOwn, Some(Buy))));
        worse.sell.reconnected_ns = Some(SECOND);
        assert_eq!(reason(&worse), Some((R::Reconnect, Some(Sell))));
        worse.buy.is_unsettled = true;
        assert_eq!(reason(&worse), Some((R::Reconnect, Some(Buy))));
        for (fault, expected) in [
            (F::Suspect, R::SuspectJump),
            (F::Crossed, R::CrossedLeg),
            (F::OneSided, R::OneSided),
            (F::Gap, R::VoidLeg),
            (F::Silent, R::StaleLeg),
            (F::Halted, R::NotTrading),
        ] {
            worse.sell.fault = Some(fault);
            assert_eq!(reason(&worse), Some((expected, Some(Sell))));
        }
        worse.buy.fault = Some(F::Lost);
        assert_eq!(reason(&worse), Some((R::NotTrading, Some(Sell))), "the other leg is void");
    }

    #[test]
    fn a_candidate_with_less_proof_than_required_is_refused_but_what_is_open_stays_open() {
        let unproven = Coexistence { proof: Proof::Unproven, ..LIKELY };
        let mut evidence = RouteEvidence { coexistence: unproven, ..GOOD };
        evidence.sell.is_stamped = false;
        for (coexistence, refused_where) in [(PROVEN, 0), (LIKELY, 1), (unproven, 2)] {
            evidence.coexistence = coexistence;
            let steps = [ProofMin::Proven, ProofMin::Likely, ProofMin::None];
            let refused = steps.map(|least| reason_where(least, &evidence).is_some());
            assert_eq!(refused.iter().filter(|it| **it).count(), refused_where, "{:?}", coexistence.proof);
            assert!(refused.is_sorted_by(|strict, mild| strict >= mild), "{refused:?}");
        }
        let grounds = Some((AlertRefusal::NotCoexistent, Some(LegSide::Sell)));
        assert_eq!(reason_where(ProofMin::Likely, &evidence), grounds, "the leg without a timestamp");
        assert_eq!(reason_where(ProofMin::Likely, &RouteEvidence { is_open: true, ..evidence }), None);
    }

    #[test]
    fn a_leg_is_stale_by_its_age_or_by_its_distance_to_the_other() {
        let aged = |buy_s, sell_s| RouteEvidence {
            buy: LegEvidence { age_ns: buy_s * SECOND, ..SOUND },
            sell: LegEvidence { age_ns: sell_s * SECOND, ..SOUND },
            ..GOOD
        };
        let figure = |evidence: &RouteEvidence, skew_max_s: u64| {
            let options = DetectorOptions { leg_skew_max_ms: skew_max_s * 1000, ..DetectorOptions::default() };
            judge(evidence, &options)
                .err()
                .map(|grounds| (grounds.reason, grounds.leg.unwrap(), grounds.figure.unwrap()))
        };
        let time = |s, limit_s| Deciding::Time { ns: s * SECOND, limit_ns: limit_s * SECOND };
        assert_eq!(figure(&aged(5, 4), 5), None);
        assert_eq!(figure(&aged(5, 6), 5), Some((AlertRefusal::StaleLeg, LegSide::Sell, time(6, 5))));
        assert_eq!(figure(&aged(4, 1), 2), Some((AlertRefusal::StaleLeg, LegSide::Buy, time(3, 2))));
        let mut late = aged(60, 0);
        late.buy.delay = Delay::Lagging;
        assert_eq!(reason(&late), Some((AlertRefusal::LaggingVenue, Some(LegSide::Buy))));
        let mut void = aged(60, 0);
        void.buy.fault = Some(LegFault::Lost);
        let grounds = judge(&void, &DetectorOptions::default()).unwrap_err();
        assert_eq!((grounds.reason, grounds.fault), (AlertRefusal::VoidLeg, Some(LegFault::Lost)), "however old it is");
    }

    #[test]
    fn a_standing_route_alerts_only_for_what_exceeds_its_basis() {
        let pct = |text: &str| Percent::of(text.parse().unwrap());
        let at = |net: &str, basis: &str, is_open| {
            let evidence = RouteEvidence { net_pct: pct(net), basis_pct: Some(pct(basis)), is_open, ..GOOD };
            judge(&evidence, &DetectorOptions::default()).err().map(|it| (it.reason, it.figure.unwrap()))
        };
        let standing =
            |pct: Percent, limit_pct| Some((AlertRefusal::StandingBasis, Deciding::Share { pct, limit_pct }));
        assert_eq!(at("0.6", "0.25", false), None, "half of the threshold is not standing");
        assert_eq!(at("0.6", "0.2500000001", false), standing(pct("0.3499999999"), pct("0.5")));
        assert_eq!(at("2.5", "2", false), standing(pct("0.5"), pct("0.5")));
        assert_eq!(at("2.5000000001", "2", false), None);
        assert_eq!(at("2.4000000001", "2", true), None, "it stays open above 0.8 of the threshold");
        assert_eq!(at("2.4", "2", true), standing(pct("0.4"), pct("0.4")));
    }

    #[test]
    fn the_ceiling_itself_is_plausible_and_zero_is_no_ceiling() {
        let at = |text: &str, ceiling: &str| {
            let evidence = RouteEvidence { net_pct: Percent::of(text.parse().unwrap()), ..GOOD };
            let options = DetectorOptions { implausible_pct: ceiling.parse().unwrap(), ..DetectorOptions::default() };
            judge(&evidence, &options).is_ok()
        };
        assert!(at("10", "10") && !at("10.0000000001", "10") && at("900", "0"));
    }
}
