//! A price-level book of one instrument: levels in, top of book out. For venues that send books only,
//! and for recordings of book channels. Sequence rules live with the venue that has them.

use crate::market::Level;
use crate::market::quote::Source;
use crate::time::{MonoNs, UnixNs};

/// Which side of the book.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// Buyers.
    Bid,
    /// Sellers.
    Ask,
}

/// Levels of both sides. The best level stands last in each, so that the usual change, near the top, moves little.
#[derive(Clone, Debug, Default)]
pub struct Book {
    bids: Vec<Level>,
    asks: Vec<Level>,
}

impl Book {
    /// Forgets all levels and keeps the memory.
    pub fn clear(&mut self) {
        self.bids.clear();
        self.asks.clear();
    }

    /// Sets the absolute size at a price; size zero removes the level. Absent levels are removed in silence.
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

    /// Cuts each side to its best `depth` levels.
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

    /// How many levels a side has.
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

    /// Best bid above best ask. A crossed book is shown as it is, and refused by the merge.
    #[must_use]
    pub fn is_crossed(&self) -> bool {
        self.best_bid().is_present() && self.best_ask().is_present() && self.best_bid().price > self.best_ask().price
    }
}

/// Why there is no book where there was one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum BookVoid {
    /// Sequence numbers jumped.
    Gap = 1,
    /// The checksum did not agree.
    Checksum = 2,
    /// It is crossed; after a second it is asked for anew.
    Crossed = 3,
    /// The venue says that it is not trading.
    Halt = 4,
    /// Nothing came of it for longer than is usual.
    Silent = 5,
    /// The connection is lost, or was given up.
    Lost = 6,
}

impl BookVoid {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Gap, Self::Checksum, Self::Crossed, Self::Halt, Self::Silent, Self::Lost];

    /// One word for clients and metrics.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Gap => "gap",
            Self::Checksum => "checksum",
            Self::Crossed => "crossed",
            Self::Halt => "halt",
            Self::Silent => "silent",
            Self::Lost => "lost",
        }
    }

    /// The reverse of `as u8`; `None` for 0 and what is none.
    #[must_use]
    pub fn from_u8(n: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|it| *it as u8 == n)
    }
}

/// What goes with a book.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BookStamp {
    /// The venue's number of its last change; 0 where it has none.
    pub sequence: u64,
    /// The venue's stamp of its last change; 0 where it sends none.
    pub exchange_time: UnixNs,
    /// When its last change was read from the socket.
    pub received: MonoNs,
    /// What sent it.
    pub source: Source,
}

/// A book at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BookView {
    /// How many times it changed, or became void; grows, never repeats. 0: nothing came yet.
    pub changes: u64,
    /// Why there is none; then it has no levels. The stamp is that of the last one.
    pub void: Option<BookVoid>,
    /// How many times it became void; grows.
    pub voids: u64,
    /// Why it last became void, even if it holds again; `None` before the first time.
    pub last_void: Option<BookVoid>,
    /// What goes with it.
    pub stamp: BookStamp,
    /// Bids, the best first.
    pub bids: Vec<Level>,
    /// Asks, the best first.
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
