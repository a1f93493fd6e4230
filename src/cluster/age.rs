//! How old a message is that another machine sent, without comparing clocks: the sender's clock and ours run at one
//! speed, so the smallest difference seen between "sent" and "arrived" is the fastest way, and whatever exceeds it
//! is delay. What the fastest way itself takes is less than the two round trips that it is half of each: from the
//! sender to Redis and back, and from Redis to us and back. Pure.
//!
//! Errs to the older side, by about one round trip. Two machines of one kind beside one Redis are off by a tenth
//! of a millisecond.

use crate::time::{Lowest, MonoNs};

/// So many messages of a sender are needed before the fastest of them is believed to be fast.
const ENOUGH: u32 = 8;
/// Senders that are remembered.
const SENDERS_MAX: usize = 256;

/// One sender's clock against ours.
#[derive(Clone, Debug)]
struct Sender {
    name: String,
    difference: Lowest,
    seen: u32,
    last: MonoNs,
}

/// Our own round trips through Redis: what we sent to ourselves and got back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trips {
    lowest: Lowest,
    last_ns: u64,
    before_ns: u64,
    unmeasured_ns: u64,
}

impl Trips {
    /// Nothing measured yet; until then every trip counts as `unmeasured_ns`.
    #[must_use]
    pub fn new(unmeasured_ns: u64) -> Self {
        Self { lowest: Lowest::default(), last_ns: 0, before_ns: 0, unmeasured_ns }
    }

    /// Ours came back.
    pub fn add(&mut self, sent: MonoNs, arrived: MonoNs) {
        let took = arrived.since(sent);
        self.lowest.add(i128::from(took), arrived);
        (self.before_ns, self.last_ns) = (self.last_ns, took);
    }

    /// The shortest of the last half minute or more, in nanoseconds.
    #[must_use]
    pub(crate) fn shortest_ns(&self) -> u64 {
        self.lowest.value().map_or(self.unmeasured_ns, |ns| ns as u64)
    }

    /// The longer of the last two, in nanoseconds: how late Redis is now.
    #[must_use]
    pub(crate) fn recent_ns(&self) -> u64 {
        if self.last_ns == 0 { self.unmeasured_ns } else { self.last_ns.max(self.before_ns) }
    }
}

/// The clocks of all who send.
#[derive(Clone, Debug, Default)]
pub(crate) struct PeerClocks {
    senders: Vec<Sender>,
}

impl PeerClocks {
    /// A message of `from`, sent at `sent` by its clock, arrived at `arrived` by ours: how long it was on its way,
    /// in nanoseconds. `its_trip_ns` is the sender's own round trip.
    pub(crate) fn transit_ns(
        &mut self,
        from: &str,
        sent: MonoNs,
        arrived: MonoNs,
        trips: &Trips,
        its_trip_ns: u64,
    ) -> u64 {
        let sender = self.sender(from, arrived);
        let difference = i128::from(arrived.0) - i128::from(sent.0);
        sender.difference.add(difference, arrived);
        sender.seen = sender.seen.saturating_add(1);
        let excess = difference - sender.difference.value().unwrap_or(difference);
        // Before there is something to compare with, a message is taken to be as late as our own are now.
        let fastest = if sender.seen < ENOUGH { trips.recent_ns() } else { trips.shortest_ns() };
        (excess as u64).saturating_add(fastest).saturating_add(its_trip_ns)
    }

    fn sender(&mut self, name: &str, now: MonoNs) -> &mut Sender {
        let at = match self.senders.iter().position(|sender| sender.name == name) {
            Some(at) => at,
            None => {
                if self.senders.len() == SENDERS_MAX {
                    let oldest = (0..SENDERS_MAX).min_by_key(|at| self.senders[*at].last).unwrap_or(0);
                    self.senders.swap_remove(oldest);
                }
                let difference = Lowest::default();
                self.senders.push(Sender { name: name.to_owned(), difference, seen: 0, last: now });
                self.senders.len() - 1
            }
        };
        self.senders[at].last = now;
        &mut self.senders[at]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::{MS, SECOND};
    use proptest::prelude::*;

    const WAY_NS: u64 = 50_000;
    const TRIP_NS: u64 = 120_000;

    /// Two machines: the sender's clock shows `ahead` nanoseconds more than ours, and gains `ppm` on it.
    struct Pair {
        clocks: PeerClocks,
        trips: Trips,
        ahead: i64,
        ppm: i64,
    }

    impl Pair {
        fn new(ahead: i64, ppm: i64) -> Self {
            let mut trips = Trips::new(100 * MS);
            trips.add(MonoNs(0), MonoNs(TRIP_NS));
            Self { clocks: PeerClocks::default(), trips, ahead, ppm }
        }

        /// Sent at `at` of our clock, `late_ns` slower than the fastest way: the error of the estimate.
        fn error(&mut self, at: u64, late_ns: u64) -> i64 {
            let theirs = at as i64 + self.ahead + (at as i64 / 1_000_000) * self.ppm;
            let arrived = MonoNs(at + WAY_NS + late_ns);
            let estimate = self.clocks.transit_ns("them", MonoNs(theirs as u64), arrived, &self.trips, TRIP_NS);
            estimate as i64 - (WAY_NS + late_ns) as i64
        }
    }

    const DAY: u64 = 86_400 * SECOND;

    #[test]
    fn clocks_ten_minutes_apart_change_no_age() {
        for ahead in [-600 * SECOND as i64, 0, 600 * SECOND as i64] {
            let mut pair = Pair::new(ahead, 0);
            for n in 0..100 {
                assert_eq!(pair.error(DAY + n * 200 * MS, 0), (2 * TRIP_NS - WAY_NS) as i64);
            }
        }
    }

    #[test]
    fn a_message_that_was_held_up_is_old_even_if_its_stamps_look_young() {
        let mut pair = Pair::new(-77, 0);
        (0..20).for_each(|n| assert!(pair.error(DAY + n * 200 * MS, 0) >= 0));
        // Ten seconds in a buffer on the way, and everything that waited behind it.
        for n in 0..50 {
            let error = pair.error(DAY + 4 * SECOND + n * 200 * MS, 10 * SECOND - n * 200 * MS);
            assert_eq!(error, (2 * TRIP_NS - WAY_NS) as i64);
        }
    }

    #[test]
    fn the_first_message_of_a_sender_is_as_late_as_our_own_are() {
        let mut pair = Pair::new(5, 0);
        pair.trips.add(MonoNs(SECOND), MonoNs(SECOND + 200 * MS));
        assert!(pair.error(DAY, 190 * MS) >= 0, "Redis takes 200 ms, and the message seems young");
        let mut nothing = Pair { trips: Trips::new(100 * MS), ..Pair::new(5, 0) };
        assert!(nothing.error(DAY, 90 * MS) >= 0, "nothing was measured, and the message seems young");
    }

    #[test]
    fn drift_is_forgotten_within_a_minute() {
        for ppm in [-100, 100] {
            let mut pair = Pair::new(0, ppm);
            for n in 0..2000 {
                let error = pair.error(DAY + n * SECOND, 0) - (2 * TRIP_NS - WAY_NS) as i64;
                // A part in ten thousand, over at most two buckets and a step.
                assert!((-1..=62 * 100_000).contains(&error), "{ppm} ppm: off by {error} ns after {n} s");
            }
        }
    }

    #[test]
    fn senders_are_bounded_and_the_longest_silent_is_forgotten_first() {
        let (mut clocks, trips) = (PeerClocks::default(), Trips::new(0));
        for n in 0..10_000u64 {
            clocks.transit_ns(&n.to_string(), MonoNs(5), MonoNs(n), &trips, 0);
            clocks.transit_ns("leader", MonoNs(5), MonoNs(n), &trips, 0);
        }
        assert_eq!(clocks.senders.len(), SENDERS_MAX);
        assert!(clocks.senders.iter().any(|sender| sender.name == "leader" && sender.seen == 10_000));
    }

    proptest! {
        #[test]
        fn an_age_is_never_younger_than_the_truth_while_some_messages_are_fast(
            ahead in -(DAY as i64 / 2)..DAY as i64,
            lates in prop::collection::vec(prop_oneof![Just(0u64), 0..5 * MS, 0..20 * SECOND], 1..300),
        ) {
            let mut pair = Pair::new(ahead, 0);
            prop_assert!(pair.error(DAY, 0) >= 0);
            for (n, late) in lates.into_iter().enumerate() {
                prop_assert_eq!(pair.error(DAY + n as u64 * 100 * MS, late), (2 * TRIP_NS - WAY_NS) as i64);
            }
        }

        #[test]
        fn any_stamps_are_survived(stamps in prop::collection::vec((any::<u64>(), any::<u64>(), any::<u64>()), 0..100)) {
            let (mut clocks, mut trips) = (PeerClocks::default(), Trips::new(1));
            for (sent, arrived, trip) in stamps {
                trips.add(MonoNs(sent), MonoNs(arrived));
                clocks.transit_ns("x", MonoNs(sent), MonoNs(arrived), &trips, trip);
            }
        }
    }
}
