//! What became of opportunities: counts of their classes. Pure; published at most a few times per second.

use crate::detector::precision::DailyClasses;
use crate::market::opportunity::{Class, Opportunity};
use crate::market::precision::PairPrecision;
use crate::time::{MonoNs, SECOND, UnixNs};

/// Least time between two reports, in nanoseconds.
const REPORT_NS: u64 = SECOND / 4;

/// See the file's head.
#[derive(Default)]
pub struct Outcomes {
    precision: DailyClasses,
    /// Something differs from the last report.
    is_changed: bool,
    reported: MonoNs,
}

impl Outcomes {
    /// `closed` was of this class and closed at `unix`.
    pub fn count(&mut self, closed: &Opportunity, class: Class, unix: UnixNs) {
        self.precision.count(closed, class, unix);
        self.is_changed = true;
    }

    /// The counts, if they differ from the last report and that is old enough at `now`. Allocates.
    pub fn report(&mut self, now: MonoNs) -> Option<Vec<PairPrecision>> {
        if !self.is_changed || now.since(self.reported) < REPORT_NS {
            return None;
        }
        (self.is_changed, self.reported) = (false, now);
        Some(self.precision.report())
    }
}
