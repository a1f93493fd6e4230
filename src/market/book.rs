//! A price-level book of one instrument: levels in, top of book out. Used for venues that send only books, and for
//! recordings of book channels. Sequence rules are in the venue's codec.

use crate::market::Level;
use crate::market::quote::Source;
pub use crate::metrics::reasons::BookVoid;
use crate::settings::section;
use crate::time::{MonoNs, UnixNs};

section! {
    /// Order books, on connections separate from those of prices.
    #[derive(Copy)]
    BookOptions {
        /// Levels per side that are kept for each instrument on each venue that offers books. 0: no books are
        /// requested.
        levels: usize = 20, 0..=1000;
        /// Milliseconds between two states of a book sent to a subscriber, and the longest delay before a subscriber
        /// learns that the book is void.
        beat_ms: u64 = 100, 10..=60_000;
    }
}

/// Which side of the book.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// Buyers.
    Bid,
    /// Sellers.
    Ask,
}

/// Levels of both sides. The best level of a side is last, so that a change near the top, the usual case, moves few
/// entries.
#[derive(Clone, Debug, Default)]
pub struct Book {
    bids: Vec<Level>,
    asks: Vec<Level>,
}

impl Book {
    /// Removes all levels; keeps the allocated memory.
    pub fn clear(&mut self) {
        self.bids.clear();
        self.asks.clear();
    }

    /// Sets the absolute size at a price. Size zero removes the level; removing an absent level has no effect.
    pub fn set(&mut self, side: Side, level: Level) {
        let levels = match side {
            Side::Bid => &mut self.bids,
            Side::Ask => &mut self.asks,
        };
        let better = |other: &Level| match side {
            Side::Bid => other.price < level.price,
            Side::Ask => other.price > level.price,
        };
        // `at` is the first level that is not worse than the new one, counted from the worst.
        let at = levels.partition_point(better);
        let found = levels.get(at).is_some_and(|l| l.price == level.price);
        match (found, level.size.is_zero()) {
            (true, true) => drop(levels.remove(at)),
            (true, false) => levels[at] = level,
            (false, true) => {}
            (false, false) => levels.insert(at, level),
        }
    }

    /// Keeps only the best `depth` levels of each side.
    pub fn truncate(&mut self, depth: usize) {
        for levels in [&mut self.bids, &mut self.asks] {
            if levels.len() > depth {
                levels.drain(..levels.len() - depth);
            }
        }
    }

    /// Best bid, or [`Level::ABSENT`].
    #[must_use]
    pub fn best_bid(&self) -> Level {
        self.bids.last().copied().unwrap_or_default()
    }

    /// Best ask, or [`Level::ABSENT`].
    #[must_use]
    pub fn best_ask(&self) -> Level {
        self.asks.last().copied().unwrap_or_default()
    }

    /// Levels of a side from best to worst.
    pub fn levels(&self, side: Side) -> impl Iterator<Item = &Level> {
        match side {
            Side::Bid => self.bids.iter().rev(),
            Side::Ask => self.asks.iter().rev(),
        }
    }

    /// Number of levels of a side.
    #[must_use]
    pub const fn count(&self, side: Side) -> usize {
        match side {
            Side::Bid => self.bids.len(),
            Side::Ask => self.asks.len(),
        }
    }

    /// The worst level of a side.
    #[must_use]
    pub fn worst(&self, side: Side) -> Option<&Level> {
        match side {
            Side::Bid => self.bids.first(),
            Side::Ask => self.asks.first(),
        }
    }

    /// Whether neither side has a level.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bids.is_empty() && self.asks.is_empty()
    }

    /// Whether the best bid is above the best ask. Clients see a crossed book as it is; the merge rejects its quote.
    #[must_use]
    pub(crate) fn is_crossed(&self) -> bool {
        self.best_bid().is_present() && self.best_ask().is_present() && self.best_bid().price > self.best_ask().price
    }
}

/// Metadata of a book.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BookStamp {
    /// The venue's sequence number of the last change; 0 if the venue has none.
    pub sequence: u64,
    /// The venue's timestamp of the last change; 0 if the venue sends none.
    pub exchange_time: UnixNs,
    /// When the last change was read from the socket.
    pub received: MonoNs,
    /// Whether the data is live, simulated or replayed.
    pub source: Source,
}

/// A book at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BookView {
    /// How often the book changed or became void; only grows. 0: nothing has arrived yet.
    pub changes: u64,
    /// Why the book is void; `None` while it is valid. A void book has no levels, and its stamp is that of the last
    /// valid one.
    pub void: Option<BookVoid>,
    /// How often it became void; only grows.
    pub voids: u64,
    /// Why it last became void, even if it is valid again; `None` before the first time.
    pub(crate) last_void: Option<BookVoid>,
    /// Metadata of the last change.
    pub stamp: BookStamp,
    /// Bids, best first.
    pub bids: Vec<Level>,
    /// Asks, best first.
    pub asks: Vec<Level>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::market::Decimal;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn level(price: u64, size: u64) -> Level {
        Level { price: Decimal::new(price, 2), size: Decimal::new(size, 0) }
    }

    #[test]
    fn a_level_is_found_however_its_price_is_written() {
        let mut book = Book::default();
        book.set(Side::Ask, Level { price: "1.50".parse().unwrap(), size: "3".parse().unwrap() });
        book.set(Side::Ask, Level { price: "1.5".parse().unwrap(), size: "0".parse().unwrap() });
        assert!(book.is_empty());
    }

    proptest! {
        #[test]
        fn the_top_equals_a_sorted_map(changes in proptest::collection::vec((any::<bool>(), 1u64..40, 0u64..3), 0..200)) {
            let mut book = Book::default();
            let mut maps = [BTreeMap::new(), BTreeMap::new()];
            for (bid, price, size) in changes {
                book.set(if bid { Side::Bid } else { Side::Ask }, level(price, size));
                let map = &mut maps[usize::from(bid)];
                if size == 0 { map.remove(&price); } else { map.insert(price, size); }
                let best_bid = maps[1].last_key_value().map_or(Level::ABSENT, |(&p, &s)| level(p, s));
                let best_ask = maps[0].first_key_value().map_or(Level::ABSENT, |(&p, &s)| level(p, s));
                prop_assert_eq!(book.best_bid(), best_bid);
                prop_assert_eq!(book.best_ask(), best_ask);
            }
        }
    }
}
