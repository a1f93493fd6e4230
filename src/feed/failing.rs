//! Instruments that fail repeatedly, by the checksum of their book or because their frames cannot be read. The next book or
//! frame recovers from one failure; three within a minute are reported. Time comes in. One per connection and kind of
//! failure, on the feed's thread.

use crate::market::InstrumentId;
use crate::time::{MonoNs, SECOND};

/// This many failures
const FAILURES: usize = 3;
/// within this time, in nanoseconds, are too many. An instrument without a failure for this time is healthy again.
const WINDOW_NS: u64 = 60 * SECOND;

/// Failures of the instruments of one connection. Allocates on the first failure of an instrument.
#[derive(Debug, Default)]
pub(crate) struct Failing(Vec<Failures>);

#[derive(Debug)]
struct Failures {
    instrument: InstrumentId,
    /// Times of the last failures, the newest first.
    times: [Option<MonoNs>; FAILURES],
    is_flagged: bool,
}

impl Failing {
    /// Counts a failure of the instrument.
    pub fn failed(&mut self, instrument: InstrumentId, now: MonoNs) {
        let at = self.0.iter().position(|it| it.instrument == instrument).unwrap_or_else(|| {
            self.0.push(Failures { instrument, times: [None; FAILURES], is_flagged: false });
            self.0.len() - 1
        });
        let it = &mut self.0[at];
        it.times.rotate_right(1);
        it.times[0] = Some(now);
        it.is_flagged |= it.times[FAILURES - 1].is_some_and(|first| now.since(first) <= WINDOW_NS);
    }

    /// Removes instruments that are healthy again. Returns whether there were any.
    pub fn check(&mut self, now: MonoNs) -> bool {
        let before = self.0.len();
        self.0.retain(|it| it.times[0].is_some_and(|last| now.since(last) <= WINDOW_NS));
        self.0.len() != before
    }

    /// Number of instruments that failed too often.
    #[must_use]
    pub(crate) fn flagged(&self) -> usize {
        self.0.iter().filter(|it| it.is_flagged).count()
    }

    /// One of these instruments.
    #[must_use]
    pub(crate) fn flagged_one(&self) -> Option<InstrumentId> {
        self.0.iter().find(|it| it.is_flagged).map(|it| it.instrument)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_failures_within_a_minute_are_too_many_until_a_minute_without_one() {
        let mut failing = Failing::default();
        let at = |second: u64| MonoNs(second * SECOND);
        let (one, other) = (InstrumentId(4), InstrumentId(2));
        for second in [10, 30] {
            failing.failed(one, at(second));
            failing.failed(other, at(second));
        }
        assert_eq!(failing.flagged(), 0);
        failing.failed(other, at(91));
        assert_eq!(failing.flagged(), 0, "three, but not in a minute");
        failing.failed(one, at(70));
        assert_eq!((failing.flagged(), failing.flagged_one()), (1, Some(one)));
        // Another failure starts the minute again.
        failing.failed(one, at(125));
        assert!(!failing.check(at(130)));
        assert_eq!(failing.flagged(), 1);
        assert!(failing.check(at(186)));
        assert_eq!((failing.flagged(), failing.flagged_one()), (0, None));
    }
}
