//! A handle on a running simulator, for tests and experiments: sets prices, silences venues, cuts connections. Commands
//! go over a bounded channel to the simulator's thread; this side never blocks.

use std::sync::Arc;

use crossbeam::channel::{Receiver, Sender, bounded};
use rustc_hash::FxHashMap;

use crate::market::Level;
use crate::sim::prices::{CellId, SimPrices};
use crate::stage::Alarm;
use crate::venues::Venue;

/// Controls a simulator. Clones share one channel; commands take effect in order, at the next turn.
#[derive(Clone)]
pub struct SimControl {
    commands: Sender<SimCommand>,
    names: Arc<SimNames>,
    alarm: Alarm,
}

/// Why a command was rejected. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ControlError {
    /// No simulated venue has this name.
    Venue,
    /// The venue has no such instrument.
    Instrument,
    /// [`WAITING_MAX`] commands are waiting already, or the simulator has ended.
    Full,
}

/// Most commands that may wait.
pub(crate) const WAITING_MAX: usize = 256;

#[derive(Clone, Copy, Debug)]
pub(super) enum SimCommand {
    Set { cell: CellId, bid: Level, ask: Level },
    Release(CellId),
    Silent(usize, bool),
    Refuse(usize, bool),
    Cut(usize),
}

struct SimNames {
    venues: Vec<&'static str>,
    cells: FxHashMap<(usize, String), CellId>,
}

impl SimControl {
    pub(super) fn new(venues: &[&'static dyn Venue], prices: &SimPrices, alarm: Alarm) -> (Self, Receiver<SimCommand>) {
        let (sender, receiver) = bounded(WAITING_MAX);
        let cells = prices.cells().map(|c| ((prices.quote(c).0, prices.symbol(c).to_owned()), c)).collect();
        let names = SimNames { venues: venues.iter().map(|v| v.facts().name).collect(), cells };
        (Self { commands: sender, names: Arc::new(names), alarm }, receiver)
    }

    /// Sets a top of book exactly as given, even crossed or one-sided ([`Level::ABSENT`]), and sends it. The price path
    /// does not change it until [`Self::release`]. `symbol` is `BASE/QUOTE`.
    ///
    /// # Errors
    /// [`ControlError`].
    pub fn set_quote(&self, venue: &str, symbol: &str, bid: Level, ask: Level) -> Result<(), ControlError> {
        let cell = self.cell(venue, symbol)?;
        self.send(SimCommand::Set { cell, bid, ask })
    }

    /// Returns a top of book that was set by hand to its price path.
    ///
    /// # Errors
    /// [`ControlError`].
    pub fn release(&self, venue: &str, symbol: &str) -> Result<(), ControlError> {
        self.send(SimCommand::Release(self.cell(venue, symbol)?))
    }

    /// Stops the prices and heartbeats of the venue. It stays connected and answers requests and pings.
    ///
    /// # Errors
    /// [`ControlError`].
    pub fn silence(&self, venue: &str) -> Result<(), ControlError> {
        self.send(SimCommand::Silent(self.venue(venue)?, true))
    }

    /// Ends [`Self::silence`] and sends the current prices.
    ///
    /// # Errors
    /// [`ControlError`].
    #[cfg(test)]
    pub(crate) fn speak(&self, venue: &str) -> Result<(), ControlError> {
        self.send(SimCommand::Silent(self.venue(venue)?, false))
    }

    /// Closes all sockets of the venue without a close frame.
    ///
    /// # Errors
    /// [`ControlError`].
    pub fn cut(&self, venue: &str) -> Result<(), ControlError> {
        self.send(SimCommand::Cut(self.venue(venue)?))
    }

    /// Makes the venue answer upgrades with 503 (`true`), or accept clients again.
    ///
    /// # Errors
    /// [`ControlError`].
    pub fn refuse(&self, venue: &str, refuse: bool) -> Result<(), ControlError> {
        self.send(SimCommand::Refuse(self.venue(venue)?, refuse))
    }

    fn venue(&self, name: &str) -> Result<usize, ControlError> {
        self.names.venues.iter().position(|v| *v == name).ok_or(ControlError::Venue)
    }

    fn cell(&self, venue: &str, symbol: &str) -> Result<CellId, ControlError> {
        let key = (self.venue(venue)?, symbol.to_owned());
        self.names.cells.get(&key).copied().ok_or(ControlError::Instrument)
    }

    fn send(&self, command: SimCommand) -> Result<(), ControlError> {
        self.commands.try_send(command).map_err(|_| ControlError::Full)?;
        self.alarm.ring();
        Ok(())
    }
}
