//! Feed scores of the venues. The detector writes them; health, metrics and pages read them.

use crate::metrics::Gauge;
use crate::metrics::reasons::{Reason, ScorePart};
use crate::time::MonoNs;

/// Score of one venue.
#[derive(Debug, Default)]
pub(crate) struct ScoreGauges {
    /// Faults weigh this many points now, by [`ScorePart`].
    parts: [Gauge; ScorePart::ALL.len()],
    /// Since when the venue is quarantined, [`MonoNs`]; 0 while it is not.
    quarantined_since: Gauge,
}

/// The best score.
pub(crate) const SCORE_MAX: u64 = 100;

impl ScoreGauges {
    /// Stores the points of all parts.
    pub fn set(&self, points: [u64; ScorePart::ALL.len()]) {
        self.parts.iter().zip(points).for_each(|(gauge, points)| gauge.set(points));
    }

    /// The word and the points of each part.
    pub fn parts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        ScorePart::ALL.iter().zip(&self.parts).map(|(part, points)| (part.word(), points.value()))
    }

    /// From 0 to [`SCORE_MAX`]; higher is better.
    #[must_use]
    pub(crate) fn score(&self) -> u64 {
        SCORE_MAX.saturating_sub(self.parts().map(|(_, points)| points).sum())
    }

    /// Stores whether the venue is quarantined, and since when.
    pub(crate) fn set_quarantined(&self, since: Option<MonoNs>) {
        self.quarantined_since.set(since.map_or(0, |at| at.0.max(1)));
    }

    /// Since when the venue is quarantined.
    #[must_use]
    pub(crate) fn quarantined_since(&self) -> Option<MonoNs> {
        Some(MonoNs(self.quarantined_since.value())).filter(|at| at.0 > 0)
    }
}
