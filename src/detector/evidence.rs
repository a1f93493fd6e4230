//! Collects the evidence about the legs of one row, on which `detector::judge` decides. Pure.

use crate::detector::basis::BasisMemory;
use crate::detector::identity::Identity;
use crate::detector::judge::{LegEvidence, RouteEvidence};
use crate::detector::lives::{CellLife, LineClocks};
use crate::detector::merge::LastSeen;
use crate::detector::proof::{self, LegLife};
use crate::detector::quarantine::Quarantine;
use crate::market::opportunity::Percent;
use crate::market::quote::{Delay, LineId};
use crate::market::refusal::LegFault;
use crate::market::{Directory, InstrumentId, VenueId};
use crate::matrix::{CellQuote, CellState};
use crate::time::MonoNs;

/// A venue and its cell of the row.
pub(crate) type HeldLeg<'a> = (VenueId, &'a CellQuote);

/// Connections that are known to be behind; when there are more, those that no quote came by are forgotten.
pub(crate) const BEHIND_MAX: usize = 64;

/// What is known about the legs of all rows in addition to their cells.
pub(crate) struct Evidence {
    /// By cell: the last quote.
    pub last: Vec<LastSeen>,
    /// By cell: why its quote does not hold, where it does not.
    pub faults: Vec<LegFault>,
    /// Connections that are behind, whose quotes are no legs.
    pub behind: Vec<(VenueId, LineId)>,
    /// By cell: since when, and until when, its prices are certain.
    pub lives: Vec<CellLife>,
    /// All connections are behind, because the detector is.
    pub is_late: bool,
    /// What the timestamps of connections show.
    pub lines: LineClocks,
    /// Which venues are comparable.
    pub(crate) identity: Identity,
    /// Which venues reconnect too often, or have a low feed score.
    pub(crate) quarantine: Quarantine,
    /// The basis of each route.
    pub(crate) basis: BasisMemory,
}

impl Evidence {
    /// Nothing known yet.
    #[must_use]
    pub fn new(directory: &Directory, threshold_pct: Percent) -> Self {
        Self {
            last: vec![LastSeen::default(); directory.pairs()],
            faults: vec![LegFault::Gap; directory.pairs()],
            behind: Vec::with_capacity(BEHIND_MAX),
            lives: vec![CellLife::default(); directory.pairs()],
            is_late: false,
            lines: LineClocks::default(),
            identity: Identity::new(directory.rows(), directory.columns()),
            quarantine: Quarantine::new(directory.columns()),
            basis: BasisMemory::new(threshold_pct),
        }
    }

    /// The evidence about the row of `instrument` at `now`.
    #[inline]
    #[must_use]
    pub const fn row<'a>(&'a self, directory: &'a Directory, instrument: InstrumentId, now: MonoNs) -> RowEvidence<'a> {
        RowEvidence { evidence: self, directory, instrument, now }
    }
}

/// What is read about one row in addition to its cells.
pub(crate) struct RowEvidence<'a> {
    evidence: &'a Evidence,
    directory: &'a Directory,
    instrument: InstrumentId,
    now: MonoNs,
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
        let lines = &self.evidence.lines;
        let (ask, bid) = (self.life(buy).ask(lines), self.life(sell).bid(lines));
        RouteEvidence {
            buy: self.leg((buy, from), &ask),
            sell: self.leg((sell, to), &bid),
            is_one: self.evidence.identity.is_one(
                self.instrument,
                (buy, sell),
                [buy, sell].map(|venue| self.directory.claim(self.instrument, venue)),
            ),
            net_pct,
            basis_pct: self.evidence.basis.basis((self.instrument, buy, sell)),
            coexistence: proof::of(&ask, &bid),
            is_open: false,
            is_above,
        }
    }

    /// What is known about the life of the quote of `venue`.
    pub fn life(&self, venue: VenueId) -> &CellLife {
        &self.evidence.lives[self.directory.pair(self.instrument, venue).index()]
    }

    fn leg(&self, (venue, held): HeldLeg<'_>, life: &LegLife) -> LegEvidence {
        let at = self.directory.pair(self.instrument, venue).index();
        LegEvidence {
            fault: self.fault((venue, held)),
            age_ns: held.age(self.now),
            is_unsettled: !self.evidence.last[at].is_settled(),
            reconnected_ns: self.evidence.quarantine.since(venue, self.now),
            is_behind: self.evidence.is_late || self.evidence.behind.contains(&(venue, self.evidence.last[at].line())),
            delay: if self.evidence.lines.is_lagging(self.evidence.last[at].line()) {
                Delay::Lagging
            } else {
                held.delay
            },
            is_quarantined: self.evidence.quarantine.has_feed(venue),
            is_stamped: life.is_stamped,
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
                Some(self.evidence.faults[self.directory.pair(self.instrument, venue).index()])
            }
        }
    }
}
