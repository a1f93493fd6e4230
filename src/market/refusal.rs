//! Refusals: candidates above the threshold that are not alerted, each for one named reason, with the numbers that decided.

use crate::market::book::BookVoid;
use crate::market::opportunity::{CloseReason, LegSide, Percent};
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
    /// Why the quote of this leg does not hold, if it does not.
    pub fault: Option<LegFault>,
    /// The figure that was compared with a limit, if there is one.
    pub figure: Option<Deciding>,
}

impl Grounds {
    /// Why an open opportunity closes on these grounds.
    #[must_use]
    pub(crate) fn close_reason(&self) -> CloseReason {
        match (self.fault, self.reason) {
            (Some(fault), _) => fault.close_reason(),
            (None, AlertRefusal::NotTrading) => CloseReason::NotTrading,
            (None, AlertRefusal::VoidLeg | AlertRefusal::OneSided | AlertRefusal::CrossedLeg) => CloseReason::LegVoid,
            (None, AlertRefusal::StaleLeg) => CloseReason::LegStale,
            (None, AlertRefusal::LaggingOwn) => CloseReason::LaggingOwn,
            (None, AlertRefusal::LaggingVenue) => CloseReason::LaggingVenue,
            (
                None,
                AlertRefusal::SuspectJump
                | AlertRefusal::Reconnect
                | AlertRefusal::Quarantined
                | AlertRefusal::Identity
                | AlertRefusal::Implausible,
            ) => CloseReason::Quarantined,
            (None, AlertRefusal::StandingBasis) => CloseReason::StandingBasis,
            // The fees of both legs are higher now.
            (None, AlertRefusal::Fees) => CloseReason::BothMoved,
            // Only before it opens.
            (None, AlertRefusal::NotCoexistent) => CloseReason::NeverCoexisted,
        }
    }
}

/// Why the quote of a leg does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LegFault {
    /// The venue reports that the instrument is not traded now.
    Halted,
    /// The instrument is no longer quoted there.
    Removed,
    /// The connection was lost, or the leader of the venue stopped pushing quotes.
    Lost,
    /// No update arrived for longer than usual.
    Silent,
    /// A message was lost.
    Gap,
    /// The checksum did not match.
    Checksum,
    /// A side was missing in the last quote.
    OneSided,
    /// The bid was above the ask in the last quote.
    Crossed,
    /// The price jumped, and is not confirmed yet.
    Suspect,
}

impl LegFault {
    /// The word for clients.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Halted => "halted",
            Self::Removed => "removed",
            Self::Lost => "lost",
            Self::Silent => "silent",
            Self::Gap => "gap",
            Self::Checksum => "checksum",
            Self::OneSided => "one_sided",
            Self::Crossed => "crossed",
            Self::Suspect => "suspect",
        }
    }

    /// The reason for which a candidate with such a leg is refused.
    #[must_use]
    pub(crate) const fn refusal(self) -> AlertRefusal {
        match self {
            Self::Halted => AlertRefusal::NotTrading,
            Self::Silent => AlertRefusal::StaleLeg,
            Self::Removed | Self::Lost | Self::Gap | Self::Checksum => AlertRefusal::VoidLeg,
            Self::OneSided => AlertRefusal::OneSided,
            Self::Crossed => AlertRefusal::CrossedLeg,
            Self::Suspect => AlertRefusal::SuspectJump,
        }
    }

    /// Why an open opportunity with such a leg closes.
    #[must_use]
    pub(crate) const fn close_reason(self) -> CloseReason {
        match self {
            Self::Halted => CloseReason::NotTrading,
            Self::Removed => CloseReason::Removed,
            Self::Lost => CloseReason::VenueLost,
            Self::Silent => CloseReason::LegStale,
            Self::Gap | Self::Checksum | Self::OneSided | Self::Crossed => CloseReason::LegVoid,
            Self::Suspect => CloseReason::Quarantined,
        }
    }
}

impl From<BookVoid> for LegFault {
    fn from(why: BookVoid) -> Self {
        match why {
            BookVoid::Gap => Self::Gap,
            BookVoid::Checksum => Self::Checksum,
            BookVoid::Crossed => Self::Crossed,
            BookVoid::Halt => Self::Halted,
            BookVoid::Silent => Self::Silent,
            BookVoid::Lost => Self::Lost,
        }
    }
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
    pub(crate) grounds: Grounds,
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
    pub(crate) untracked: u64,
}
