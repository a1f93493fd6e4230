//! An instrument's order book on one connection: whole books and changes in, changed tops out.
//! Runs on the feed thread. Knows no venue's sequence rules; grows no further than [`LEVELS_MAX`] a side.

use std::cmp::Ordering;

use crate::market::book::{Book, Side};
use crate::market::{InstrumentId, Level};

/// The most levels of a side that are kept; the worst beyond it are forgotten. Coinbase's BTC-USD had
/// 27,236 on 2026-08-09.
pub const LEVELS_MAX: usize = 200_000;

/// One level as a frame sets it: an absolute size, zero removes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// Which side.
    pub side: Side,
    /// Price and size.
    pub level: Level,
}

/// A book, and the top that was last published of it.
#[derive(Clone, Debug, Default)]
pub struct Depth {
    book: Book,
    published: Option<(Level, Level)>,
    live: bool,
}

impl Depth {
    /// Whether a whole book has been read and nothing was lost since.
    #[must_use]
    pub const fn is_live(&self) -> bool {
        self.live
    }

    /// The levels.
    #[must_use]
    pub const fn book(&self) -> &Book {
        &self.book
    }

    /// Takes `levels` as the whole book. Sorts them in place.
    pub fn replace(&mut self, levels: &mut [Change]) {
        self.book.clear();
        self.live = true;
        // Worst first, so that each insertion is an append. The sort is stable: of two equal prices the later one holds.
        levels.sort_by(|a, b| match (a.side, b.side) {
            (Side::Bid, Side::Bid) => a.level.price.cmp(&b.level.price),
            (Side::Ask, Side::Ask) => b.level.price.cmp(&a.level.price),
            (Side::Bid, Side::Ask) => Ordering::Less,
            (Side::Ask, Side::Bid) => Ordering::Greater,
        });
        self.apply(levels);
    }

    /// Applies changes in order. The caller has checked all of them.
    #[inline]
    pub fn apply(&mut self, changes: &[Change]) {
        for change in changes {
            self.book.set(change.side, change.level);
        }
        self.book.truncate(LEVELS_MAX);
    }

    /// Cuts each side to its best `levels`.
    pub fn truncate(&mut self, levels: usize) {
        self.book.truncate(levels);
    }

    /// Something was lost: the book is void until [`Self::replace`]. Returns whether it was live.
    pub fn void(&mut self) -> bool {
        self.book.clear();
        self.published = None;
        std::mem::take(&mut self.live)
    }

    /// The next top is to be published even if it is the last one.
    pub fn forget_published(&mut self) {
        self.published = None;
    }

    /// Best bid and ask, if they are not those that were last returned.
    #[inline]
    pub fn changed_top(&mut self) -> Option<(Level, Level)> {
        let top = (self.book.best_bid(), self.book.best_ask());
        if self.published == Some(top) {
            return None;
        }
        self.published = Some(top);
        Some(top)
    }
}

/// Something for each instrument of a connection; made when it is first asked for.
#[derive(Clone, Debug)]
pub struct PerInstrument<T>(Vec<T>);

impl<T> Default for PerInstrument<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Default> PerInstrument<T> {
    /// That of `id`. Ids are dense and as many as there are instruments, so the table is bounded by them.
    #[inline]
    pub fn of(&mut self, id: InstrumentId) -> &mut T {
        if self.0.len() <= id.index() {
            self.0.resize_with(id.index() + 1, T::default);
        }
        &mut self.0[id.index()]
    }

    /// All that were made, with their ids.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (InstrumentId, &mut T)> {
        self.0.iter_mut().enumerate().map(|(at, it)| (InstrumentId(at as u32), it))
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::market::Decimal;
    use proptest::prelude::*;

    fn change(bid: bool, price: u64, size: u64) -> Change {
        let side = if bid { Side::Bid } else { Side::Ask };
        Change { side, level: Level { price: Decimal::new(price, 1), size: Decimal::new(size, 0) } }
    }

    proptest! {
        #[test]
        fn a_whole_book_equals_its_levels_applied_one_by_one(
            levels in proptest::collection::vec((any::<bool>(), 1u64..30, 0u64..3), 0..60)
        ) {
            let mut levels: Vec<Change> = levels.into_iter().map(|(bid, price, size)| change(bid, price, size)).collect();
            let mut one_by_one = Book::default();
            for change in &levels {
                one_by_one.set(change.side, change.level);
            }
            let mut depth = Depth::default();
            depth.replace(&mut levels);
            for side in [Side::Bid, Side::Ask] {
                prop_assert!(depth.book().levels(side).eq(one_by_one.levels(side)));
            }
        }
    }

    #[test]
    fn a_book_grows_no_further_than_its_limit_and_keeps_the_best() {
        let mut depth = Depth::default();
        let mut levels: Vec<Change> = (1..=LEVELS_MAX as u64 + 5).map(|price| change(true, price, 1)).collect();
        depth.replace(&mut levels);
        depth.apply(&[change(true, LEVELS_MAX as u64 + 6, 1)]);
        assert_eq!(depth.book().levels(Side::Bid).count(), LEVELS_MAX);
        assert_eq!(depth.book().best_bid().price, Decimal::new(LEVELS_MAX as u64 + 6, 1));
    }

    #[test]
    fn a_top_is_told_once_and_again_after_a_loss() {
        let mut depth = Depth::default();
        depth.replace(&mut [change(true, 10, 1), change(false, 11, 1)]);
        assert!(depth.changed_top().is_some());
        depth.apply(&[change(true, 9, 5)]);
        assert_eq!(depth.changed_top(), None);
        assert!(depth.void());
        assert!(!depth.is_live());
        depth.replace(&mut [change(true, 10, 1), change(false, 11, 1)]);
        assert!(depth.changed_top().is_some());
    }
}
