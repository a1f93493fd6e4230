//! Whether both legs of an opportunity could have been hit at the same moment. Pure; times are those of our monotonic
//! clock.
//!
//! A leg is alive from the time of its quote until the latest time before which a change of it would have arrived. Both
//! are known with the error of the venue's clock, so each is stored as its safe bound. The legs coexisted if both are
//! known to be alive at one moment: `[max(s_buy + ε_buy, s_sell + ε_sell), min(p_buy − ε_buy, p_sell − ε_sell)]` is not
//! empty. They never coexisted if one of them is known to have moved before the other can have begun.

use crate::market::opportunity::{Coexistence, Proof};
use crate::time::MonoNs;

/// Bounds of a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// The earliest possible time; 0: unknown.
    pub(crate) earliest: MonoNs,
    /// The latest possible time.
    pub latest: MonoNs,
}

/// What is known about the life of one leg at its present price.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LegLife {
    /// When the leg began.
    pub begun: Bounds,
    /// It was certainly alive until then; 0: unknown.
    pub until: MonoNs,
    /// Error of the venue's clock in nanoseconds; `None` while it is unknown.
    pub(crate) error_ns: Option<u64>,
    /// Unit of the venue's timestamps in nanoseconds.
    pub(crate) unit_ns: u64,
    /// It has a timestamp, or a witness on its connection.
    pub(crate) is_stamped: bool,
}

/// What is known about two legs that hold now.
#[must_use]
pub fn of(buy: &LegLife, sell: &LegLife) -> Coexistence {
    let begun = [buy.begun.earliest, sell.begun.earliest];
    let unit_ns = buy.unit_ns.max(sell.unit_ns).max(1);
    let error_ns = buy.error_ns.zip(sell.error_ns).map(|(buy, sell)| buy.max(sell).next_multiple_of(unit_ns));
    let known = Coexistence { begun, error_ns, ..Coexistence::default() };
    if !(buy.is_stamped && sell.is_stamped) {
        return Coexistence { proof: Proof::Unproven, ..known };
    }
    let (from, to) = (buy.begun.latest.max(sell.begun.latest), buy.until.min(sell.until));
    if to < from || error_ns.is_none() {
        return Coexistence { proof: Proof::Likely, ..known };
    }
    Coexistence { proof: Proof::Proven, length_ns: to.since(from) / unit_ns * unit_ns, ..known }
}

/// Combines what was known before about an opportunity with what is known now. A proof is kept.
#[must_use]
pub fn joined(before: Coexistence, now: Coexistence) -> Coexistence {
    let earliest = |leg: usize| before.begun[leg].min(now.begun[leg]);
    let begun = [earliest(0), earliest(1)];
    if before.proof == Proof::Proven && (now.proof != Proof::Proven || now.length_ns < before.length_ns) {
        return Coexistence { begun, ..before };
    }
    Coexistence { begun, ..now }
}

/// State of a leg when its opportunity closed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LegEnd {
    /// Its life at the last price of the opportunity.
    pub life: LegLife,
    /// The latest time at which its price moved; `None`: it has not moved.
    pub moved: Option<MonoNs>,
}

/// What is known about an opportunity that a price change closed: the frame that ends a leg also shows how long the leg
/// was alive. `before`: what was known while it was open.
#[must_use]
pub(crate) fn at_end(before: Coexistence, legs: &[LegEnd; 2]) -> Coexistence {
    let known = joined(before, of(&legs[0].life, &legs[1].life));
    if known.proof != Proof::Proven && (never_met(known.begun[1], legs[0]) || never_met(known.begun[0], legs[1])) {
        return Coexistence { proof: Proof::Refuted, ..known };
    }
    known
}

/// Whether `leg` had moved before the other leg can have begun.
fn never_met(other_begun: MonoNs, leg: LegEnd) -> bool {
    leg.moved.is_some_and(|moved| moved < other_begun)
}

#[cfg(test)]
#[path = "proof_tests.rs"]
mod tests;
