//! Refusals: candidates above the threshold that are not alerted, each for one named reason, with the numbers that decided.

use crate::market::opportunity::{LegSide, Percent};
use crate::market::{Decimal, InstrumentId, VenueId};
use crate::metrics::reasons::AlertRefusal;
use crate::time::MonoNs;

/// Why one candidate is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grounds {
    /// The first reason that applies.
    pub reason: AlertRefusal,
    /// The leg that it applies to; `None` if it applies to both together.
    pub leg: Option<LegSide>,
    /// The figure that decided, if one did.
    pub figure: Option<Deciding>,
}

/// A figure that was compared with a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deciding {
    /// Nanoseconds.
    Time {
        /// As measured.
        ns: u64,
        /// The limit.
        limit_ns: u64,
    },
    /// Percent.
    Share {
        /// As computed.
        pct: Percent,
        /// The limit.
        limit_pct: Percent,
    },
}

/// One leg of a refused candidate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RefusedLeg {
    /// Its venue.
    pub venue: VenueId,
    /// The ask that would be paid, or the bid that would be hit.
    pub price: Decimal,
    /// When the quote was read, corrected for lag.
    pub received: MonoNs,
}

/// A refused candidate with its numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RefusedCandidate {
    /// The instrument.
    pub instrument: InstrumentId,
    /// The leg that would be bought.
    pub buy: RefusedLeg,
    /// The leg that would be sold.
    pub sell: RefusedLeg,
    /// `(sell − buy) / buy × 100`.
    pub gross_pct: Percent,
    /// The same after both taker fees.
    pub net_pct: Percent,
    /// Why it is refused.
    pub grounds: Grounds,
    /// When the refusal for this reason began.
    pub since: MonoNs,
    /// When these numbers were seen.
    pub seen: MonoNs,
}

/// All refusals, at one moment.
#[derive(Clone, Debug, Default)]
pub struct RefusalReport {
    /// Refusals counted by buy venue, sell venue and reason; only counts above 0.
    pub routes: Vec<(VenueId, VenueId, AlertRefusal, u64)>,
    /// Refusals counted by instrument and reason; only counts above 0.
    pub instruments: Vec<(InstrumentId, AlertRefusal, u64)>,
    /// Candidates that are refused now.
    pub current: Vec<RefusedCandidate>,
    /// The last examples of each reason, the newest first.
    pub examples: Vec<RefusedCandidate>,
    /// Looks at refused candidates that were not counted, because too many others were refused at the same time.
    pub untracked: u64,
}
