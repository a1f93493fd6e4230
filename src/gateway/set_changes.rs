//! Detects changes of the set of instruments and exchanges. Pure.

use crate::market::Directory;
use crate::protocol::message::SetNames;

/// The set as it was last seen.
pub(crate) struct SetChanges {
    edition: u64,
    symbols: Vec<String>,
    exchanges: Vec<String>,
}

impl SetChanges {
    /// Changes from now on.
    #[must_use]
    pub fn since(directory: &Directory) -> Self {
        Self {
            edition: directory.edition(),
            symbols: directory.instruments_on().map(|(_, symbol)| symbol.clone()).collect(),
            exchanges: directory.venues_on().map(|(_, venue)| venue.name.clone()).collect(),
        }
    }

    /// Whether the directory has another edition.
    #[must_use]
    pub(crate) fn is_changed(&self, directory: &Directory) -> bool {
        directory.edition() != self.edition
    }

    /// The names that changed since the last call; `None` if none did.
    pub fn take(&mut self, directory: &Directory) -> Option<SetNames> {
        let before = std::mem::replace(self, Self::since(directory));
        let difference = |of: &[String], without: &[String]| -> Vec<String> {
            of.iter().filter(|name| !without.contains(name)).cloned().collect()
        };
        let names = SetNames {
            added: difference(&self.symbols, &before.symbols),
            removed: difference(&before.symbols, &self.symbols),
            exchanges_added: difference(&self.exchanges, &before.exchanges),
            exchanges_removed: difference(&before.exchanges, &self.exchanges),
        };
        (names != SetNames::default()).then_some(names)
    }
}
