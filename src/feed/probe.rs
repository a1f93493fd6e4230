//! Pings of one session, their round trips, and when the wall clock is read. Time comes in.

use crate::time::{Lowest, MonoNs, SECOND};

/// Time from the upgrade to the first ping,
const FIRST_PING_NS: u64 = 5 * SECOND;
/// and between further ones.
const PING_EVERY_NS: u64 = 15 * SECOND;
/// How often the wall clock is read.
const WALL_EVERY_NS: u64 = SECOND;

/// Measurements that a session starts by itself.
#[derive(Debug, Default)]
pub(crate) struct Probe {
    /// The present silence has been answered with a ping.
    is_silence_pinged: bool,
    /// When the next ping is due that only measures the round trip.
    ping_at: Option<MonoNs>,
    /// The first unanswered ping.
    unanswered: Option<MonoNs>,
    trip: Lowest,
    wall_read: Option<MonoNs>,
}

impl Probe {
    /// The upgrade is complete.
    pub fn opened(&mut self, now: MonoNs) {
        self.ping_at = Some(now.plus(FIRST_PING_NS));
    }

    /// Bytes arrived.
    #[inline]
    pub const fn heard(&mut self) {
        self.is_silence_pinged = false;
    }

    /// Whether to ping now. `silence_at` is when the present silence is to be answered with a ping.
    pub(crate) fn wants_ping(&mut self, silence_at: MonoNs, now: MonoNs) -> bool {
        let is_for_silence = !self.is_silence_pinged && now >= silence_at;
        self.is_silence_pinged |= is_for_silence;
        let is_for_trip = self.ping_at.is_some_and(|at| now >= at);
        if is_for_trip {
            self.ping_at = Some(now.plus(PING_EVERY_NS));
        }
        if is_for_silence || is_for_trip {
            self.unanswered.get_or_insert(now);
        }
        is_for_silence || is_for_trip
    }

    /// When [`Self::wants_ping`] is to be called.
    #[must_use]
    pub fn deadline(&self, silence_at: MonoNs) -> Option<MonoNs> {
        let silence = (!self.is_silence_pinged).then_some(silence_at);
        silence.into_iter().chain(self.ping_at).min()
    }

    /// A pong arrived. It is counted as the answer to the first unanswered ping.
    pub(crate) fn ponged(&mut self, now: MonoNs) {
        if let Some(sent) = self.unanswered.take() {
            self.trip.add(i128::from(now.since(sent)), now);
        }
    }

    /// The shortest recent round trip in nanoseconds.
    #[must_use]
    pub(crate) fn round_trip(&self) -> Option<u64> {
        self.trip.value().and_then(|ns| u64::try_from(ns).ok())
    }

    /// Whether to read the wall clock now.
    #[inline]
    pub(crate) fn wants_wall(&mut self, now: MonoNs) -> bool {
        let is_due = self.wall_read.is_none_or(|read| now.since(read) >= WALL_EVERY_NS);
        if is_due {
            self.wall_read = Some(now);
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::MS;

    #[test]
    fn a_pong_counts_once_and_from_the_first_ping() {
        let mut probe = Probe::default();
        let start = MonoNs(1000 * SECOND);
        probe.ponged(start);
        assert_eq!(probe.round_trip(), None);
        assert!(probe.wants_ping(start, start));
        assert!(!probe.wants_ping(start, start.plus(9 * MS)), "one ping for one silence");
        probe.heard();
        assert!(probe.wants_ping(start, start.plus(9 * MS)));
        probe.ponged(start.plus(10 * MS));
        probe.ponged(start.plus(11 * MS));
        assert_eq!(probe.round_trip(), Some(10 * MS));
    }
}
