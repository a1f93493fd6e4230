//! What a client's subscription contains after a request, and whether that is within the limits. Pure.

use std::collections::{HashMap, HashSet};

/// Levels a side if a client does not specify them.
const LEVELS_DEFAULT: usize = 10;

use crate::gateway::books::watches::BookWatch;
use crate::gateway::options::GatewayOptions;
use crate::gateway::prices::subscriptions::RequestedNames;
use crate::matrix::books::LEVELS_MAX;
use crate::protocol::request::{Action, BookName, Command, NAME_BYTES_MAX, NAMES_BYTES_MAX, NAMES_MAX, RequestError};

/// Symbols and exchanges of a client, and its order books with their levels a side.
pub(crate) struct Wanted {
    /// Symbols, each once.
    pub symbols: Vec<String>,
    /// Exchanges, each once.
    pub exchanges: Vec<String>,
    /// Order books, each once.
    pub books: Vec<(BookName, usize)>,
}

impl Wanted {
    /// The present subscription.
    #[must_use]
    pub fn of<'a>(requested: Option<&RequestedNames>, watches: impl Iterator<Item = &'a BookWatch>) -> Self {
        let name = |watch: &BookWatch| {
            let (symbol, exchange) = (watch.symbol().to_owned(), watch.exchange().to_owned());
            (BookName { symbol, exchange }, watch.levels)
        };
        Self {
            books: watches.map(name).collect(),
            symbols: requested.into_iter().flat_map(|names| names.symbols.iter()).map(str::to_owned).collect(),
            exchanges: requested.into_iter().flat_map(|names| names.exchanges.iter()).map(str::to_owned).collect(),
        }
    }

    /// Applies a request. This process stores `levels_max` levels a side; 0 if it stores no books.
    pub fn apply(&mut self, command: &Command, levels_max: usize) {
        self.apply_books(command, levels_max);
        let exchanges = command.exchanges.as_deref().unwrap_or_default();
        for (list, names) in [(&mut self.symbols, command.symbols.as_slice()), (&mut self.exchanges, exchanges)] {
            match command.action {
                Action::Subscribe => {
                    let mut known: HashSet<String> = list.iter().cloned().collect();
                    list.extend(names.iter().filter(|name| known.insert((*name).clone())).cloned());
                }
                Action::Unsubscribe => {
                    let removed: HashSet<&String> = names.iter().collect();
                    list.retain(|name| !removed.contains(name));
                }
            }
        }
    }

    /// A book that is already watched is watched at the new depth.
    fn apply_books(&mut self, command: &Command, levels_max: usize) {
        let named = command.books.as_deref().unwrap_or_default();
        if named.is_empty() {
            return;
        }
        let levels = command.levels.map_or(LEVELS_DEFAULT, |n| usize::try_from(n).unwrap_or(usize::MAX));
        let levels = levels.clamp(1, if levels_max > 0 { levels_max } else { LEVELS_MAX });
        let indexes = self.books.iter().enumerate().map(|(at, (name, _))| (name.clone(), at));
        let mut indexes: HashMap<BookName, usize> = indexes.collect();
        match command.action {
            Action::Subscribe => {
                for name in named {
                    match indexes.get(name) {
                        Some(at) => self.books[*at].1 = levels,
                        None => {
                            indexes.insert(name.clone(), self.books.len());
                            self.books.push((name.clone(), levels));
                        }
                    }
                }
            }
            Action::Unsubscribe => {
                let removed: HashSet<&BookName> = named.iter().collect();
                self.books.retain(|(name, _)| !removed.contains(name));
            }
        }
    }

    /// Checks the limits.
    ///
    /// # Errors
    /// The limit that is exceeded; the client receives it.
    pub fn check(&self, options: &GatewayOptions) -> Result<(), RequestError> {
        let limit = |text: String| Err(RequestError::Limit(text));
        let of_books = || self.books.iter().flat_map(|(name, _)| [&name.symbol, &name.exchange]);
        let all = || self.symbols.iter().chain(&self.exchanges).chain(of_books());
        if self.symbols.len().max(self.exchanges.len()) > NAMES_MAX {
            return limit(format!("Too many names: at most {NAMES_MAX} symbols and {NAMES_MAX} exchanges"));
        }
        if all().any(|name| name.len() > NAME_BYTES_MAX) {
            return limit(format!("Name too long: at most {NAME_BYTES_MAX} bytes"));
        }
        if self.symbols.len() * self.exchanges.len() > options.pairs_max {
            return limit(format!("Too many pairs: at most {} symbols times exchanges", options.pairs_max));
        }
        if self.symbols.len() * self.exchanges.len() + self.books.len() > options.pairs_max {
            return limit(format!("Too many books: at most {} with all pairs", options.pairs_max));
        }
        let mut shown = Vec::new();
        all().for_each(|name| crate::protocol::string(name, &mut shown));
        if shown.len() > NAMES_BYTES_MAX {
            return limit(format!("Names too long: at most {NAMES_BYTES_MAX} bytes in all"));
        }
        Ok(())
    }
}
