//! The only place that reads a clock.
//!
//! Two kinds of time that cannot be subtracted from each other by accident: [`MonoNs`] for ages, deadlines and
//! latencies, [`UnixNs`] for times that are shown to people or sent by a venue. Pure code receives them as arguments;
//! threads hold a [`Clock`] and read it once per turn or per event.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Nanoseconds of `CLOCK_MONOTONIC`. Never jumps; comparable between processes of one machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MonoNs(pub u64);

impl MonoNs {
    /// This instant plus `ns` nanoseconds; saturates.
    #[must_use]
    pub const fn plus(self, ns: u64) -> Self {
        Self(self.0.saturating_add(ns))
    }

    /// Nanoseconds since `earlier`; 0 if `earlier` is not earlier.
    #[must_use]
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// Nanoseconds since 1970-01-01T00:00:00Z. For display and for timestamps of venues, never for ages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixNs(pub u64);

impl UnixNs {
    /// From whole milliseconds.
    #[must_use]
    pub const fn from_ms(ms: u64) -> Self {
        Self(ms.saturating_mul(1_000_000))
    }

    /// Whole milliseconds, rounded down.
    #[must_use]
    pub const fn ms(self) -> u64 {
        self.0 / 1_000_000
    }
}

/// One millisecond in nanoseconds.
pub const MS: u64 = 1_000_000;
/// One second in nanoseconds.
pub const SECOND: u64 = 1_000_000_000;

/// Source of time: the system, or a [`HandClock`] (tests, replay on the recorded clock).
#[derive(Clone, Debug, Default)]
pub enum Clock {
    /// The machine's clocks.
    #[default]
    System,
    /// Moved by the holder of the [`HandClock`].
    Hand(HandClock),
}

impl Clock {
    /// The current time, for ages and deadlines.
    #[inline]
    #[must_use]
    pub fn now(&self) -> MonoNs {
        match self {
            Self::System => system(rustix::time::ClockId::Monotonic).into_mono(),
            Self::Hand(hand) => MonoNs(hand.mono.load(Ordering::Acquire)),
        }
    }

    /// The current time, for display.
    #[must_use]
    pub fn unix(&self) -> UnixNs {
        match self {
            Self::System => UnixNs(system(rustix::time::ClockId::Realtime).0),
            Self::Hand(hand) => {
                UnixNs(hand.mono.load(Ordering::Acquire).wrapping_add(hand.offset.load(Ordering::Acquire)))
            }
        }
    }

    /// The wall-clock time of a past monotonic instant, using the present offset between the two clocks.
    #[must_use]
    pub(crate) fn unix_at(&self, at: MonoNs) -> UnixNs {
        UnixNs(self.unix().0.saturating_sub(self.now().since(at)))
    }
}

struct Nanoseconds(u64);

impl Nanoseconds {
    fn into_mono(self) -> MonoNs {
        MonoNs(self.0)
    }
}

#[inline]
fn system(id: rustix::time::ClockId) -> Nanoseconds {
    let t = rustix::time::clock_gettime(id);
    Nanoseconds(t.tv_sec as u64 * SECOND + t.tv_nsec as u64)
}

/// A clock that is moved by hand. Clones share its state.
#[derive(Clone, Debug, Default)]
pub struct HandClock {
    mono: Arc<AtomicU64>,
    offset: Arc<AtomicU64>,
}

impl HandClock {
    /// A clock with the monotonic time `mono` and the wall-clock time `unix`.
    #[must_use]
    pub fn new(mono: MonoNs, unix: UnixNs) -> Self {
        let clock = Self::default();
        clock.mono.store(mono.0, Ordering::Release);
        clock.offset.store(unix.0.wrapping_sub(mono.0), Ordering::Release);
        clock
    }

    /// Moves both clocks forward by `ns`.
    pub fn advance(&self, ns: u64) {
        self.mono.fetch_add(ns, Ordering::AcqRel);
    }

    /// Moves both clocks forward until the wall clock shows `unix`. Does nothing if that is in the past.
    pub(crate) fn advance_to_unix(&self, unix: UnixNs) {
        let mono = unix.0.wrapping_sub(self.offset.load(Ordering::Acquire));
        self.mono.fetch_max(mono, Ordering::AcqRel);
    }

    /// Sets the wall clock to `unix`; the monotonic clock does not change.
    pub fn set_wall(&self, unix: UnixNs) {
        self.offset.store(unix.0.wrapping_sub(self.mono.load(Ordering::Acquire)), Ordering::Release);
    }

    /// This clock as a [`Clock`].
    #[must_use]
    pub fn clock(&self) -> Clock {
        Clock::Hand(self.clone())
    }
}

/// Half of the window of a [`Lowest`]. Longer than any pause in the data that matters, and short enough that two clocks
/// do not drift apart noticeably (one part in ten thousand of a minute is 6 ms).
const BUCKET_NS: u64 = 30 * SECOND;
/// The smallest value in a window of one to two `BUCKET_NS`.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Lowest {
    now: Option<i128>,
    before: Option<i128>,
    since: MonoNs,
}

impl Lowest {
    /// Adds `value`, which was measured at `at`.
    pub fn add(&mut self, value: i128, at: MonoNs) {
        if self.now.is_none() || at.since(self.since) >= BUCKET_NS {
            // An old value without a successor is still better than none.
            self.before = self.now.or(self.before);
            (self.now, self.since) = (None, at);
        }
        self.now = Some(self.now.map_or(value, |lowest| lowest.min(value)));
    }

    /// The smallest value; `None` before the first.
    #[must_use]
    pub fn value(&self) -> Option<i128> {
        match (self.now, self.before) {
            (Some(now), Some(before)) => Some(now.min(before)),
            (one, other) => one.or(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_clock_moves_forward() {
        let clock = Clock::System;
        let first = clock.now();
        assert!(clock.now() >= first);
        assert!(clock.unix().ms() > 1_700_000_000_000);
    }

    #[test]
    fn a_hand_clock_never_steps_back() {
        let hand = HandClock::new(MonoNs(5 * SECOND), UnixNs::from_ms(1_000_000));
        hand.advance_to_unix(UnixNs::from_ms(1_002_000));
        assert_eq!(hand.clock().now(), MonoNs(7 * SECOND));
        hand.advance_to_unix(UnixNs::from_ms(999_000));
        assert_eq!(hand.clock().now(), MonoNs(7 * SECOND));
        assert_eq!(hand.clock().unix_at(MonoNs(6 * SECOND)).ms(), 1_001_000);
    }
}
