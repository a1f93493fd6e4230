//! When a successor may take over: what its own connection to the venue has delivered, compared with what the leader has published.
//! Pure; turned by the lead thread, one per venue.
//!
//! Two things are waited for, each within a bound. *Whole*: our own connection has quoted every instrument that has a
//! live quote, so that our first snapshot is complete. *Level*: the leader has published everything that we have read, so
//! that no event of the venue falls between its last batch and our first. A venue with more quotes than the way
//! through Redis has moments is never quite level, and what is not published then is overtaken by something newer.

use crate::time::{MS, MonoNs, SECOND};

/// A connection that is open for so long brings nothing more of instruments on which it was silent, in nanoseconds.
pub(crate) const QUIET_NS: u64 = 2 * SECOND;
/// The longest wait for a moment at which the leader has published everything, in nanoseconds.
const LEVEL_NS: u64 = 500 * MS;

/// One instrument of the venue.
#[derive(Clone, Copy, Debug)]
pub struct CoveredInstrument {
    /// Its number.
    pub at: usize,
    /// Whether it has a quote that holds.
    pub is_live: bool,
    /// Whether that was read by our own connection.
    pub is_own: bool,
    /// Whether the leader has published it, or a newer one.
    pub is_published: bool,
}

/// What was seen of one venue while we are its successor.
#[derive(Clone, Debug, Default)]
pub struct Readiness {
    connected: Option<MonoNs>,
    /// By instrument: whether this connection has quoted it.
    quoted: Vec<bool>,
    whole_since: Option<MonoNs>,
}

impl Readiness {
    /// Whether to take over now. `connected`: since when our own connection is open, if it brings quotes.
    pub fn look(
        &mut self,
        connected: Option<MonoNs>,
        now: MonoNs,
        all: impl Iterator<Item = CoveredInstrument>,
    ) -> bool {
        if connected != self.connected {
            *self = Self { connected, ..Self::default() };
        }
        let Some(connected) = connected else { return false };
        let (mut is_whole, mut is_level) = (true, true);
        for known in all {
            if known.at >= self.quoted.len() {
                self.quoted.resize(known.at + 1, false);
            }
            let quoted = &mut self.quoted[known.at];
            *quoted |= known.is_own;
            is_whole &= *quoted || !known.is_live;
            is_level &= known.is_published;
        }
        if !is_whole && now.since(connected) < QUIET_NS {
            self.whole_since = None;
            return false;
        }
        let since = *self.whole_since.get_or_insert(now);
        is_level || now.since(since) >= LEVEL_NS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: MonoNs = MonoNs(1000 * SECOND);

    fn known(at: usize, marks: &str) -> CoveredInstrument {
        let has = |mark| marks.contains(mark);
        CoveredInstrument { at, is_live: has('l'), is_own: has('o'), is_published: has('t') }
    }

    fn look(readiness: &mut Readiness, ms: u64, all: &[&str]) -> bool {
        let all = all.iter().enumerate().map(|(at, marks)| known(at, marks));
        readiness.look(Some(START), START.plus(ms * MS), all)
    }

    #[test]
    fn nothing_is_taken_over_without_a_connection() {
        assert!(!Readiness::default().look(None, START.plus(60 * SECOND), std::iter::once(known(0, "lot"))));
    }

    #[test]
    fn every_live_instrument_must_be_quoted_once_by_our_own_connection() {
        let mut readiness = Readiness::default();
        assert!(!look(&mut readiness, 0, &["lot", "lt", "t"]));
        // The leader's word on the first is newer by now, which takes nothing away.
        assert!(!look(&mut readiness, 10, &["lt", "lt", "t"]));
        assert!(look(&mut readiness, 20, &["lt", "lot", "t"]));
        let again = [known(0, "lt"), known(1, "lt")].into_iter();
        assert!(!readiness.look(Some(START.plus(SECOND)), START.plus(SECOND), again), "another connection begins anew");
    }

    #[test]
    fn an_instrument_on_which_the_venue_is_silent_is_waited_for_only_so_long() {
        let mut readiness = Readiness::default();
        assert!(!look(&mut readiness, QUIET_NS / MS - 1, &["lot", "lt"]));
        assert!(look(&mut readiness, QUIET_NS / MS, &["lot", "lt"]));
    }

    #[test]
    fn the_leader_must_have_told_all_that_we_have_read_or_have_had_the_time_to() {
        let mut readiness = Readiness::default();
        assert!(!look(&mut readiness, 0, &["lo", "lot"]));
        assert!(look(&mut readiness.clone(), 1, &["lot", "lot"]));
        assert!(!look(&mut readiness, LEVEL_NS / MS - 1, &["lo", "lot"]));
        assert!(look(&mut readiness, LEVEL_NS / MS, &["lo", "lot"]));
    }
}
