//! The progress of a fault script. In: the time since its start, and the prices. Out: the faults in effect, by venue.
//! Pure; runs on the simulator's thread.

use crate::random::Random;
use crate::sim::distortion;
use crate::sim::prices::{CellId, SimPrices};
use crate::sim::scenario::{FaultKind, Scenario, Trouble};
use crate::time::{MonoNs, UnixNs};
use crate::venues::Venue;

/// A fault script and its current effects.
pub struct Script {
    scenario: Scenario,
    start: MonoNs,
    /// By venue index: the faults in effect.
    pub troubles: Vec<Trouble>,
    /// The fault in effect on the port that all venues share.
    pub listener: Option<FaultKind>,
    /// Selects the frames that suffer.
    pub random: Random,
    /// By venue index: whether past quotes were remembered for a `reconnect` that is ahead.
    remembered: Vec<bool>,
}

/// What a change of the faults of a venue means for its instruments.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Consequences {
    /// Instruments whose book changes.
    pub books: Vec<CellId>,
    /// Instruments whose trading stops or resumes in the venue's stream.
    pub trading: Vec<CellId>,
}

impl Script {
    /// No faults at `count` venues. `seed` selects the frames that suffer later.
    #[must_use]
    pub fn new(count: usize, seed: u64, start: MonoNs) -> Self {
        Self {
            scenario: Scenario::default(),
            start,
            troubles: vec![Trouble::NONE; count],
            listener: None,
            random: Random::new(seed),
            remembered: vec![false; count],
        }
    }

    /// Starts this scenario now, replacing an earlier one. It must have been read for the same venues.
    pub fn follow(&mut self, scenario: Scenario, now: MonoNs) {
        self.scenario = scenario;
        self.start = now;
    }

    /// Applies the faults of `now`; returns those before if they changed. Remembers the prices of venues whose
    /// connections begin with stale ones later.
    pub fn advance(
        &mut self,
        now: MonoNs,
        venues: &[&'static dyn Venue],
        prices: &mut SimPrices,
    ) -> Option<Vec<Trouble>> {
        if self.scenario.faults.is_empty() && self.troubles.iter().all(Trouble::is_none) {
            return None;
        }
        let elapsed_ns = now.since(self.start);
        self.listener = self.scenario.of_listener(elapsed_ns);
        let soon = self.scenario.reconnects_soon(elapsed_ns, venues.len());
        for (venue, (soon, remembered)) in soon.iter().zip(&mut self.remembered).enumerate() {
            if *soon && !*remembered {
                prices.remember(venue);
            }
            *remembered = *soon;
        }
        let troubles = self.scenario.at(elapsed_ns, venues);
        (troubles != self.troubles).then(|| std::mem::replace(&mut self.troubles, troubles))
    }

    /// What the change from `before` to the current faults means for the instruments of `venue`. Quotes of `unix` take
    /// the place of those whose book changes.
    pub fn consequences(&self, venue: usize, before: &Trouble, prices: &mut SimPrices, unix: UnixNs) -> Consequences {
        let trouble = &self.troubles[venue];
        let mut found = Consequences::default();
        if trouble == before {
            return found;
        }
        for cell in prices.cells() {
            let (of, quote) = prices.quote(cell);
            if of != venue {
                continue;
            }
            let [was, is] = [before, trouble].map(|it| distortion::is_halted_in_stream(it, &quote.native));
            if was != is {
                found.trading.push(cell);
            }
            if distortion::changes_book(before, trouble, &quote.native) {
                found.books.push(cell);
            }
        }
        found.books.iter().for_each(|cell| prices.requote_as_is(*cell, unix));
        found
    }
}
