//! Outcomes of opportunities: how many closed in each class, and how long they lived. Pure; published at most a few
//! times per second.

use std::sync::Arc;

use crate::detector::lifetime::{LegsInView, Lifetimes};
use crate::detector::precision::DailyClasses;
use crate::detector::survival::Survival;
use crate::market::opportunity::{Change, Class, Opportunity, OpportunityEvent};
use crate::market::{InstrumentId, VenueId};
use crate::matrix::findings::Findings;
use crate::time::{MonoNs, SECOND, UnixNs};

/// Least time between two reports, in nanoseconds.
const REPORT_NS: u64 = SECOND / 4;

/// See the file's head.
pub(crate) struct Outcomes {
    precision: DailyClasses,
    lifetimes: Lifetimes,
    survival: Survival,
    /// Something differs from the last report.
    is_changed: bool,
    reported: MonoNs,
}

impl Outcomes {
    /// No outcomes yet, with room for `instruments`; a leg older than `leg_age_max_ns` is not in view.
    #[must_use]
    pub fn new(instruments: usize, leg_age_max_ns: u64) -> Self {
        Self {
            precision: DailyClasses::default(),
            lifetimes: Lifetimes::new(instruments, leg_age_max_ns),
            survival: Survival::default(),
            is_changed: false,
            reported: MonoNs(0),
        }
    }

    /// Counts `closed`, which was of this class and closed at `unix`.
    pub fn count(&mut self, closed: &Opportunity, class: Class, unix: UnixNs) {
        self.precision.count(closed, class, unix);
        self.is_changed = true;
    }

    /// Whether events of `instrument` are wanted, because an opportunity may still live after it closed.
    #[inline]
    #[must_use]
    pub(crate) fn is_followed(&self, instrument: InstrumentId) -> bool {
        self.lifetimes.is_followed(instrument)
    }

    /// A scan of `instrument` at `now` resulted in `events`. `look` returns the current state of an opportunity.
    pub(crate) fn observe(
        &mut self,
        instrument: InstrumentId,
        now: MonoNs,
        events: &[OpportunityEvent],
        look: impl Fn(&Opportunity) -> LegsInView,
    ) {
        let Self { lifetimes, survival, .. } = self;
        lifetimes.observe(instrument, now, look, |lifetime| survival.add(lifetime));
        for event in events.iter().filter(|event| event.change == Change::Opened) {
            lifetimes.follow(&event.opportunity).into_iter().for_each(|lifetime| survival.add(lifetime));
        }
    }

    /// This thread was late: the state of the opportunities in the meantime is unknown.
    pub(crate) fn lose_view(&mut self) {
        self.lifetimes.lose(|lifetime| self.survival.add(lifetime));
    }

    /// Computes a small part of what has changed. `cadence_ms` is the interval at which a venue sends changes. Returns whether
    /// [`Self::report`] has something new, and the last one is old enough at `now`.
    pub(crate) fn refresh(&mut self, now: MonoNs, cadence_ms: impl Fn(VenueId) -> u64) -> bool {
        self.is_changed |= self.survival.refresh_one(cadence_ms);
        if now.since(self.reported) < REPORT_NS {
            return false;
        }
        self.lifetimes.expire(now, |lifetime| self.survival.add(lifetime));
        self.is_changed
    }

    /// Writes what is known at `now`. Allocates.
    pub fn report(&mut self, now: MonoNs, findings: &mut Findings) {
        (self.is_changed, self.reported) = (false, now);
        findings.precision = Arc::new(self.precision.report());
        findings.survival = Arc::new(self.survival.report());
    }
}
