//! What the detector has found beside quotes and opportunities, for pages. The detector publishes a new object at most a few
//! times per second; any thread reads. Each part is shared, so that a new object copies only the part that changed.

use std::sync::Arc;

use crate::market::precision::PairPrecision;
use crate::market::refusal::RefusalReport;
use crate::market::survival::SurvivalReport;

/// See the file's head.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// Candidates that are not alerted.
    pub refusals: Arc<RefusalReport>,
    /// Classes of closed opportunities, by pair of venues.
    pub(crate) precision: Arc<Vec<PairPrecision>>,
    /// How long opportunities live, by pair of venues.
    pub survival: Arc<SurvivalReport>,
}
