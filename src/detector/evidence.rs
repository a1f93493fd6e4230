//! Collects the evidence about the legs of one row, on which `detector::judge` decides. Pure.

use crate::detector::basis::BasisMemory;
use crate::detector::identity::Identity;
use crate::detector::judge::{LegEvidence, RouteEvidence};
use crate::detector::lives::LineClocks;
use crate::detector::merge::LastSeen;
use crate::detector::quarantine::Quarantine;
use crate::market::opportunity::Percent;
use crate::market::quote::{Delay, LineId};
use crate::market::refusal::LegFault;
use crate::market::{Directory, InstrumentId, VenueId};
use crate::matrix::{CellQuote, CellState};
use crate::time::MonoNs;

/// A venue and its cell of the row.
pub type HeldLeg<'a> = (VenueId, &'a CellQuote);

/// What is read about one row in addition to its cells.
pub struct RowEvidence<'a> {
    /// Which venues quote it.
    pub directory: &'a Directory,
    /// By cell: the last quote.
    pub last: &'a [LastSeen],
    /// By cell: why its quote does not hold, where it does not.
    pub faults: &'a [LegFault],
    /// Connections that are behind.
    pub behind: &'a [(VenueId, LineId)],
    /// What the timestamps of connections show.
    pub lines: &'a LineClocks,
    /// All connections are behind, because the detector is.
    pub is_late: bool,
    /// Which venues are comparable.
    pub identity: &'a Identity,
    /// Which venues reconnect too often.
    pub quarantine: &'a Quarantine,
    /// The basis of each route.
    pub basis: &'a BasisMemory,
    /// The row.
    pub instrument: InstrumentId,
    /// The current time.
    pub now: MonoNs,
}

impl RowEvidence<'_> {
    /// The evidence of a candidate with this net spread. `is_above`: see [`RouteEvidence`].
    pub fn of(
        &self,
        (buy, from): HeldLeg<'_>,
        (sell, to): HeldLeg<'_>,
        net_pct: Percent,
        is_above: bool,
    ) -> RouteEvidence {
        RouteEvidence {
            buy: self.leg((buy, from)),
            sell: self.leg((sell, to)),
            is_one: self.identity.is_one(
                self.instrument,
                (buy, sell),
                [buy, sell].map(|venue| self.directory.claim(self.instrument, venue)),
            ),
            net_pct,
            basis_pct: self.basis.basis((self.instrument, buy, sell)),
            is_open: false,
            is_above,
        }
    }

    fn leg(&self, (venue, held): HeldLeg<'_>) -> LegEvidence {
        let at = self.directory.pair(self.instrument, venue).index();
        LegEvidence {
            fault: self.fault((venue, held)),
            age_ns: held.age(self.now),
            is_unsettled: !self.last[at].is_settled(),
            reconnected_ns: self.quarantine.since(venue, self.now),
            is_behind: self.is_late || self.behind.contains(&(venue, self.last[at].line())),
            delay: if self.lines.is_lagging(self.last[at].line()) { Delay::Lagging } else { held.delay },
            is_quarantined: self.quarantine.has_feed(venue),
        }
    }

    fn fault(&self, (venue, held): HeldLeg<'_>) -> Option<LegFault> {
        if !self.directory.is_quoted(self.instrument, venue) {
            return Some(LegFault::Removed);
        }
        match held.state {
            // Looked up in place of what was pushed.
            CellState::Live => (!held.origin.is_pushed()).then_some(LegFault::Lost),
            CellState::Halted => Some(LegFault::Halted),
            CellState::Suspect => Some(LegFault::Suspect),
            CellState::Void | CellState::Empty => {
                Some(self.faults[self.directory.pair(self.instrument, venue).index()])
            }
        }
    }
}
