//! Records of the simulated prices, for tests and for scoring a run.

use crate::market::Level;
use crate::sim::prices::CellId;
use crate::sim::truth::Truth;
use crate::time::MonoNs;

/// A top of book that changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuoteChange {
    /// The instrument and venue.
    pub cell: CellId,
    /// Time of the change.
    pub at: MonoNs,
    /// Best bid since then.
    pub bid: Level,
    /// Best ask since then.
    pub ask: Level,
}

/// The records that are requested.
#[derive(Default)]
pub(crate) struct SimRecords {
    /// All price changes, including those that are not sent to clients.
    pub(crate) journal: Option<Vec<QuoteChange>>,
    /// What the books really are.
    pub truth: Option<Truth>,
}

impl SimRecords {
    /// Takes the recorded changes, in the order in which they happened.
    pub fn take_journal(&mut self) -> Vec<QuoteChange> {
        self.journal.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Writes out what is buffered.
    pub fn flush(&mut self) {
        if let Some(truth) = &mut self.truth {
            truth.flush();
        }
    }
}
