//! Reports to the detector what the timestamps of a connection show: at intervals, when the clocks turn out to differ
//! by less, when the connection begins or ceases to lag, and after messages with timestamps that are not quotes. One per connection, on its feed's thread; the check
//! is on the path of every quote.

use crate::feed::lag;
use crate::feed::timing::Timing;
use crate::market::quote::LineClock;
use crate::time::{MS, MonoNs, SECOND, UnixNs};
use crate::venues::StampFacts;

/// Longest time between two reports, in nanoseconds.
const EVERY_NS: u64 = SECOND;
/// A message that was faster by more than this is reported before its quote, in nanoseconds.
const FASTER_NS: i64 = MS as i64;

/// Reports of one connection.
#[derive(Clone, Debug)]
pub(crate) struct ClockReports {
    facts: StampFacts,
    /// The shortest round trip in nanoseconds.
    trip_ns: Option<u64>,
    witnessed: UnixNs,
    has_witness: bool,
    /// The next report, and the usual difference of the last one.
    due: MonoNs,
    usual: i64,
    /// Whether the connection was lagging at the last report.
    is_lagging: bool,
}

impl ClockReports {
    /// For a venue with these facts.
    #[must_use]
    pub const fn new(facts: StampFacts) -> Self {
        Self {
            facts,
            trip_ns: None,
            witnessed: UnixNs(0),
            has_witness: false,
            due: MonoNs(0),
            usual: i64::MAX,
            is_lagging: false,
        }
    }

    /// A new connection begins.
    pub const fn begin(&mut self) {
        *self = Self::new(self.facts);
    }

    /// Unit of the timestamps in nanoseconds.
    #[inline]
    #[must_use]
    pub(crate) const fn unit_ns(&self) -> u64 {
        self.facts.unit_ns
    }

    /// The shortest round trip is known.
    pub(crate) fn set_trip(&mut self, trip_ns: Option<u64>) {
        if self.trip_ns.is_none() && trip_ns.is_some() {
            self.due = MonoNs(0);
        }
        self.trip_ns = trip_ns;
    }

    /// A message that is not a quote has this timestamp.
    pub fn witness(&mut self, stamp: UnixNs) {
        self.has_witness |= stamp > self.witnessed;
        self.witnessed = self.witnessed.max(stamp);
    }

    /// Whether a report is due before the quote that was read at `received`.
    #[inline]
    #[must_use]
    pub(crate) fn is_due(&self, timing: &Timing, received: MonoNs) -> bool {
        timing.usual().is_some_and(|usual| {
            received >= self.due
                || usual < self.usual.saturating_sub(FASTER_NS)
                || timing.is_lagging() != self.is_lagging
        })
    }

    /// Whether messages with timestamps have been read that were not reported.
    #[inline]
    #[must_use]
    pub(crate) const fn has_witness(&self) -> bool {
        self.has_witness
    }

    /// The report at `now`; `None` without a timestamp.
    #[cold]
    pub fn report(&mut self, timing: &mut Timing, now: MonoNs) -> Option<LineClock> {
        let (offset_ns, error_ns) = timing.clock(self.trip_ns, now)?;
        (self.due, self.has_witness) = (now.plus(EVERY_NS), false);
        self.usual = timing.usual().unwrap_or(i64::MAX);
        self.is_lagging = timing.is_lagging();
        let StampFacts { unit_ns, order, slack_ms, cadence_ms } = self.facts;
        // The clocks may drift until the next report.
        let more_ns = unit_ns + lag::drift_ns(EVERY_NS);
        Some(LineClock {
            offset_ns,
            error_ns: error_ns.map(|error_ns| error_ns.saturating_add(more_ns)),
            witnessed: self.witnessed,
            unit_ns,
            order,
            slack_ns: slack_ms.saturating_add(cadence_ms).saturating_mul(MS),
            is_lagging: self.is_lagging,
        })
    }
}
