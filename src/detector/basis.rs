//! The basis of routes: the net spread at which a route usually stands, because of capital controls, closed withdrawals
//! or a premium of a venue. A standing route alerts only while its net spread exceeds its basis by more than the
//! threshold. Pure.
//!
//! A route is an instrument with a buy and a sell venue. Once per second the net spread of each remembered route is
//! sampled while both legs hold. The basis is the median of the minute medians of the last hour, if there are at least
//! ten.
//!
//! A route is remembered once its net spread is above a quarter of the threshold, and forgotten when no minute of an
//! hour had a median above that. Memory for [`ROUTES_MAX`] routes is taken at the start; further routes are counted and
//! not remembered. Nothing here is on the path of a quote, except [`BasisMemory::basis`] for a candidate above the
//! threshold.

use rustc_hash::{FxBuildHasher, FxHashMap};

use crate::market::opportunity::Percent;
use crate::market::{InstrumentId, VenueId};
use crate::time::{MonoNs, SECOND};

/// Most routes that are remembered. Each takes about one kilobyte.
pub(crate) const ROUTES_MAX: usize = 2048;
/// Number of past minutes whose medians are used.
const MINUTES: usize = 60;
/// Least number of medians for a basis.
const MINUTES_MIN: usize = 10;
const MINUTE_NS: u64 = 60 * SECOND;
/// Samples of a route are at least this far apart, in nanoseconds.
const SAMPLE_NS: u64 = SECOND;

/// An instrument, its buy venue and its sell venue.
pub(crate) type BasisRoute = (InstrumentId, VenueId, VenueId);

/// See the file's head.
pub(crate) struct BasisMemory {
    at: FxHashMap<BasisRoute, u32>,
    routes: Vec<RouteBasis>,
    /// The route at which the next turn of sampling begins.
    next: usize,
    /// The row at which the next look for routes begins.
    next_row: usize,
    /// A quarter of the threshold.
    worth: Percent,
    /// Routes that were not remembered, because the memory was full.
    refused: u64,
}

struct RouteBasis {
    route: BasisRoute,
    /// Number of the current minute since the start of the clock.
    minute: u64,
    sampled: MonoNs,
    samples: [Percent; MINUTES],
    count: usize,
    /// Number plus one, and median, of each past minute; by number.
    medians: [(u64, Percent); MINUTES],
    /// The last minute whose median was above a quarter of the threshold.
    worth: u64,
    basis: Option<Percent>,
}

impl RouteBasis {
    fn new(route: BasisRoute, now: MonoNs) -> Self {
        let minute = now.0 / MINUTE_NS;
        Self {
            route,
            minute,
            sampled: MonoNs(0),
            samples: [Percent(0); MINUTES],
            count: 0,
            medians: [(0, Percent(0)); MINUTES],
            worth: minute,
            basis: None,
        }
    }

    fn sample(&mut self, net: Percent, now: MonoNs) {
        if let Some(slot) = self.samples.get_mut(self.count) {
            *slot = net;
            self.count += 1;
        }
        self.sampled = now;
    }

    /// Ends the current minute if `now` is in a later one.
    fn end_minute(&mut self, now: MonoNs, worth: Percent) {
        let minute = now.0 / MINUTE_NS;
        if minute == self.minute {
            return;
        }
        if let Some(median) = median(&mut self.samples[..self.count]) {
            // Number 0 marks an unused slot.
            self.medians[(self.minute % MINUTES as u64) as usize] = (self.minute + 1, median);
            if median > worth {
                self.worth = self.minute;
            }
        }
        (self.minute, self.count) = (minute, 0);
        let mut held = [Percent(0); MINUTES];
        let mut count = 0;
        let is_recent = |number: u64| number > 0 && number + MINUTES as u64 > minute;
        for (_, median) in self.medians.iter().filter(|(number, _)| is_recent(*number)) {
            held[count] = *median;
            count += 1;
        }
        self.basis = if count >= MINUTES_MIN { median(&mut held[..count]) } else { None };
    }
}

/// The lower median; `None` without values.
fn median(values: &mut [Percent]) -> Option<Percent> {
    values.sort_unstable();
    values.get(values.len().checked_sub(1)? / 2).copied()
}

impl BasisMemory {
    /// No route yet. Routes above a quarter of `threshold` are remembered.
    #[must_use]
    pub fn new(threshold: Percent) -> Self {
        Self {
            // Twice the room: deleted entries never make the table grow.
            at: FxHashMap::with_capacity_and_hasher(2 * ROUTES_MAX, FxBuildHasher),
            routes: Vec::with_capacity(ROUTES_MAX),
            next: 0,
            next_row: 0,
            worth: Percent(threshold.0 / 4),
            refused: 0,
        }
    }

    /// The basis of the route; `None` if it has none yet.
    #[must_use]
    pub(crate) fn basis(&self, route: BasisRoute) -> Option<Percent> {
        self.routes[*self.at.get(&route)? as usize].basis
    }

    /// Remembers a route whose legs hold if its net spread `net` is above a quarter of the threshold.
    pub(crate) fn admit(&mut self, route: BasisRoute, net: Percent, now: MonoNs) {
        if net <= self.worth || self.at.contains_key(&route) {
            return;
        }
        if self.routes.len() == ROUTES_MAX {
            self.refused += 1;
            return;
        }
        self.at.insert(route, self.routes.len() as u32);
        self.routes.push(RouteBasis::new(route, now));
    }

    /// Samples a part of the routes, so that `parts` calls sample each of them. `net_of` is the net spread of a route at
    /// `now`, `None` while a leg does not hold.
    pub fn sample(&mut self, now: MonoNs, parts: usize, net_of: impl Fn(BasisRoute) -> Option<Percent>) {
        for _ in 0..self.routes.len().div_ceil(parts) {
            self.next = if self.next < self.routes.len() { self.next } else { 0 };
            let Some(route) = self.routes.get_mut(self.next) else { return };
            route.end_minute(now, self.worth);
            if route.minute > route.worth + MINUTES as u64 {
                self.forget(self.next);
                continue;
            }
            if now.since(route.sampled) >= SAMPLE_NS
                && let Some(net) = net_of(route.route)
            {
                route.sample(net, now);
            }
            self.next += 1;
        }
    }

    fn forget(&mut self, at: usize) {
        self.at.remove(&self.routes[at].route);
        self.routes.swap_remove(at);
        if let Some(moved) = self.routes.get(at) {
            self.at.insert(moved.route, at as u32);
        }
    }

    /// The row whose routes are looked at next, of `rows`.
    pub(crate) fn next_row(&mut self, rows: usize) -> InstrumentId {
        let at = self.next_row % rows;
        self.next_row = at + 1;
        InstrumentId(at as u32)
    }

    /// Number of remembered routes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.routes.len()
    }

    /// Whether no route is remembered.
    #[cfg(test)]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.routes.is_empty()
    }

    /// How often a route was not remembered since the last call, because the memory was full.
    pub(crate) fn take_refused(&mut self) -> u64 {
        std::mem::take(&mut self.refused)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTE: BasisRoute = (InstrumentId(3), VenueId(1), VenueId(2));
    const ONE: i64 = 10_000_000_000;

    fn memory() -> BasisMemory {
        BasisMemory::new(Percent(ONE / 2))
    }

    /// Runs `minutes` from minute `from` on with a net spread by second.
    fn run(memory: &mut BasisMemory, from: u64, minutes: u64, net: impl Fn(u64) -> Option<i64>) {
        for second in 0..minutes * 60 {
            let now = MonoNs((from * 60 + second) * SECOND);
            let net = net(second).map(Percent);
            if let Some(net) = net {
                memory.admit(ROUTE, net, now);
            }
            memory.sample(now, 1, |_| net);
        }
    }

    #[test]
    fn the_basis_is_the_median_of_minute_medians_from_ten_of_them_on() {
        let mut memory = memory();
        run(&mut memory, 100, 10, |_| Some(2 * ONE));
        assert_eq!(memory.basis(ROUTE), None, "nine minutes have ended");
        run(&mut memory, 110, 1, |_| Some(2 * ONE));
        assert_eq!(memory.basis(ROUTE), Some(Percent(2 * ONE)));
        // A minute in which it was three times as wide for 29 seconds.
        run(&mut memory, 111, 1, |second| Some(if second < 29 { 6 * ONE } else { 2 * ONE }));
        run(&mut memory, 112, 1, |_| Some(2 * ONE));
        assert_eq!(memory.basis(ROUTE), Some(Percent(2 * ONE)));
    }

    #[test]
    fn an_hour_counts_and_the_basis_follows_the_market() {
        let mut memory = memory();
        run(&mut memory, 100, 30, |_| Some(2 * ONE));
        run(&mut memory, 130, 32, |_| Some(ONE));
        assert_eq!(memory.basis(ROUTE), Some(Percent(ONE)));
        run(&mut memory, 162, 52, |_| None);
        assert_eq!(memory.basis(ROUTE), None, "fewer than ten minutes of the last hour are known");
    }

    #[test]
    fn a_route_that_is_not_worth_it_is_not_remembered_or_forgotten_after_an_hour() {
        let mut memory = memory();
        run(&mut memory, 100, 5, |_| Some(ONE / 8));
        assert!(memory.is_empty(), "a quarter of the threshold is not above it");
        run(&mut memory, 105, 1, |_| Some(ONE / 8 + 1));
        assert_eq!(memory.len(), 1);
        run(&mut memory, 106, 60, |_| Some(-ONE));
        assert_eq!((memory.len(), memory.basis(ROUTE)), (1, Some(Percent(-ONE))));
        run(&mut memory, 166, 1, |_| Some(-ONE));
        assert_eq!((memory.len(), memory.basis(ROUTE)), (0, None));
    }

    #[test]
    fn the_memory_is_bounded_and_says_what_it_did_not_take() {
        let mut memory = memory();
        let route = |at: usize| (InstrumentId(at as u32), VenueId(0), VenueId(1));
        for at in 0..ROUTES_MAX + 5 {
            memory.admit(route(at), Percent(ONE), MonoNs(0));
        }
        assert_eq!((memory.len(), memory.take_refused(), memory.take_refused()), (ROUTES_MAX, 5, 0));
        let room = memory.at.capacity();
        // All are forgotten after an hour, and each sampling turn visits its part of them.
        for _ in 0..3 {
            memory.sample(MonoNs(62 * MINUTE_NS), 2, |_| None);
        }
        assert!(memory.len() < ROUTES_MAX / 4 && memory.at.capacity() == room, "{}", memory.len());
    }
}
