//! Instruments of one connection that the venue's stream says are not traded. [`Halts::has`] is on the path of every
//! quote.

use crate::market::InstrumentId;

/// Instruments whose trading is halted.
#[derive(Default)]
pub(crate) struct Halts {
    /// By instrument.
    halted: Vec<bool>,
    count: usize,
    /// Instruments whose trading has resumed, and that have not been resubscribed since.
    resumed: Vec<InstrumentId>,
}

impl Halts {
    /// Whether the instrument is halted.
    #[inline]
    #[must_use]
    pub fn has(&self, instrument: InstrumentId) -> bool {
        self.count > 0 && self.halted.get(instrument.index()).copied().unwrap_or(false)
    }

    /// Sets the state of an instrument. Returns whether this is a change.
    pub fn set(&mut self, instrument: InstrumentId, is_halted: bool) -> bool {
        if self.has(instrument) == is_halted {
            return false;
        }
        let at = instrument.index();
        if self.halted.len() <= at {
            self.halted.resize(at + 1, false);
        }
        self.halted[at] = is_halted;
        if is_halted {
            self.count += 1;
            self.resumed.retain(|other| *other != instrument);
        } else {
            self.count -= 1;
            self.resumed.push(instrument);
        }
        true
    }

    /// All halted instruments.
    pub fn iter(&self) -> impl Iterator<Item = InstrumentId> {
        (0..).map(InstrumentId).zip(&self.halted).filter(|(_, is_halted)| **is_halted).map(|(instrument, _)| instrument)
    }

    /// Instruments whose trading has resumed since the last call.
    #[must_use]
    pub(crate) fn take_resumed(&mut self) -> Vec<InstrumentId> {
        std::mem::take(&mut self.resumed)
    }

    /// A new connection, which has not said anything yet.
    pub fn clear(&mut self) {
        self.halted.clear();
        self.resumed.clear();
        self.count = 0;
    }
}
