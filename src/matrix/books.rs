//! The order books as threads share them: the best levels of every instrument on every venue that gives books.
//!
//! Each book has one writer, the feed thread of its venue; any thread reads without a lock. A book is a
//! sequence-locked block of atomics, like a cell of the matrix: a reader gets a consistent book or tries again, the
//! writer never waits. A book's memory is allocated when its first levels arrive.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::market::book::{Book, BookStamp, BookView, BookVoid, Side};
use crate::market::quote::Source;
use crate::market::{Decimal, Level, PairId};
use crate::time::{MonoNs, UnixNs};

use super::seqlock::Seqlock;

/// Greatest number of levels per side.
pub(crate) const LEVELS_MAX: usize = 1000;

/// The books of all pairs of a [`crate::market::Directory`].
pub struct BookTable {
    levels: usize,
    cells: Box<[OnceLock<BookCell>]>,
}

impl BookTable {
    /// No books yet, for `pairs` pairs, of up to `levels` levels a side (at most [`LEVELS_MAX`]); 0 disables books.
    #[must_use]
    pub fn new(pairs: usize, levels: usize) -> Self {
        Self { levels: levels.min(LEVELS_MAX), cells: (0..pairs).map(|_| OnceLock::new()).collect() }
    }

    /// Greatest number of stored levels per side; 0: there are no books.
    #[must_use]
    pub const fn levels(&self) -> usize {
        self.levels
    }

    /// The book of `pair` is this now. Only the pair's one writer calls this. Does not allocate after the first time.
    pub fn publish(&self, pair: PairId, book: &Book, stamp: BookStamp) {
        let Some(cell) = self.cells.get(pair.index()).filter(|_| self.levels > 0) else { return };
        cell.get_or_init(|| BookCell::new(self.levels)).store(book, self.levels, stamp);
    }

    /// The book of `pair` is void from now on. Whether it was not before. Only the pair's one writer calls this.
    pub fn void(&self, pair: PairId, why: BookVoid) -> bool {
        self.cells.get(pair.index()).and_then(OnceLock::get).is_some_and(|cell| cell.void(why))
    }

    /// How many times the book of `pair` changed: see [`BookView::changes`].
    #[must_use]
    pub fn changes(&self, pair: PairId) -> u64 {
        let cell = self.cells.get(pair.index()).and_then(OnceLock::get);
        cell.map_or(0, |cell| cell.0.words()[CHANGES].load(Ordering::Acquire))
    }

    /// Reads the book of `pair`, up to `levels` levels a side, into `view`, whose memory is used again.
    pub fn load(&self, pair: PairId, levels: usize, view: &mut BookView) {
        match self.cells.get(pair.index()).and_then(OnceLock::get) {
            Some(cell) => cell.load(levels.min(self.levels), self.levels, view),
            None => {
                (view.changes, view.void, view.stamp) = (0, None, BookStamp::default());
                (view.voids, view.last_void) = (0, None);
                view.bids.clear();
                view.asks.clear();
            }
        }
    }
}

/// Places of words in a cell; levels follow.
const CHANGES: usize = 0;
const MARKS: usize = 1;
const SEQUENCE: usize = 2;
const EXCHANGE_TIME: usize = 3;
const RECEIVED: usize = 4;
/// How many times it became void, above the byte of why it last did.
const VOIDS: usize = 5;
const LEVELS: usize = 6;
/// Words of a level: price, size, scales of both.
const WORDS: usize = 3;

/// One book.
struct BookCell(Seqlock<Words>);

type Words = Box<[AtomicU64]>;

impl BookCell {
    fn new(levels: usize) -> Self {
        let words = LEVELS + 2 * levels * WORDS;
        Self(Seqlock::new((0..words).map(|_| AtomicU64::new(0)).collect()))
    }

    /// Lets `change` replace words; counts a change if it says that there was one.
    fn write(&self, change: impl FnOnce(&Words) -> bool) {
        self.0.write(|words| {
            if change(words) {
                let changes = words[CHANGES].load(Ordering::Relaxed);
                words[CHANGES].store(changes + 1, Ordering::Relaxed);
            }
        });
    }

    fn store(&self, book: &Book, levels: usize, stamp: BookStamp) {
        self.write(|words| {
            let mut is_news = false;
            let mut counts = [0u64; 2];
            for (at, side) in [Side::Bid, Side::Ask].into_iter().enumerate() {
                let base = LEVELS + at * levels * WORDS;
                for (place, level) in book.levels(side).take(levels).enumerate() {
                    let scales = u64::from(level.price.scale()) << 8 | u64::from(level.size.scale());
                    let word = base + place * WORDS;
                    is_news |= put(words, word, level.price.mantissa());
                    is_news |= put(words, word + 1, level.size.mantissa());
                    is_news |= put(words, word + 2, scales);
                    counts[at] += 1;
                }
            }
            is_news |= put(words, MARKS, marks(counts, stamp.source, 0));
            put(words, SEQUENCE, stamp.sequence);
            put(words, EXCHANGE_TIME, stamp.exchange_time.0);
            put(words, RECEIVED, stamp.received.0);
            is_news
        });
    }

    fn void(&self, why: BookVoid) -> bool {
        let marks_now = self.0.words()[MARKS].load(Ordering::Relaxed);
        if marks_now as u8 != 0 {
            return false;
        }
        self.write(|words| {
            let voids = (words[VOIDS].load(Ordering::Relaxed) >> 8) + 1;
            put(words, VOIDS, voids << 8 | why as u64);
            put(words, MARKS, marks([0, 0], Source::from_u8((marks_now >> 8) as u8), why as u8))
        });
        true
    }

    fn load(&self, wanted: usize, levels: usize, view: &mut BookView) {
        self.0.read(|words| read(words, wanted, levels, view));
    }
}

/// Replaces a word; whether it was another.
#[inline]
fn put(words: &Words, at: usize, value: u64) -> bool {
    let word = &words[at];
    let is_new = word.load(Ordering::Relaxed) != value;
    if is_new {
        word.store(value, Ordering::Relaxed);
    }
    is_new
}

fn read(words: &Words, wanted: usize, levels: usize, view: &mut BookView) {
    let word = |at: usize| words[at].load(Ordering::Relaxed);
    let marks = word(MARKS);
    view.changes = word(CHANGES);
    view.void = BookVoid::from_u8(marks as u8);
    let voids = word(VOIDS);
    (view.voids, view.last_void) = (voids >> 8, BookVoid::from_u8(voids as u8));
    view.stamp = BookStamp {
        sequence: word(SEQUENCE),
        exchange_time: UnixNs(word(EXCHANGE_TIME)),
        received: MonoNs(word(RECEIVED)),
        source: Source::from_u8((marks >> 8) as u8),
    };
    for (at, side) in [&mut view.bids, &mut view.asks].into_iter().enumerate() {
        side.clear();
        let count = ((marks >> (16 + 16 * at)) as u16 as usize).min(levels).min(wanted);
        let base = LEVELS + at * levels * WORDS;
        side.extend((0..count).map(|place| {
            let at = base + place * WORDS;
            let scales = word(at + 2);
            Level { price: Decimal::new(word(at), (scales >> 8) as u8), size: Decimal::new(word(at + 1), scales as u8) }
        }));
    }
}

/// Levels of both sides, where they come from, and why there are none (0: they hold).
fn marks(counts: [u64; 2], source: Source, why: u8) -> u64 {
    counts[1] << 32 | counts[0] << 16 | (source as u64) << 8 | u64::from(why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;

    const PAIR: PairId = PairId(1);

    fn book(levels: u64, size: u64) -> Book {
        let mut book = Book::default();
        for n in 1..=levels {
            let level = |price| Level { price: Decimal::new(price, 1), size: Decimal::new(size, 2) };
            book.set(Side::Bid, level(1000 - n));
            book.set(Side::Ask, level(1000 + n));
        }
        book
    }

    fn view(table: &BookTable, levels: usize) -> BookView {
        let mut view = BookView::default();
        table.load(PAIR, levels, &mut view);
        view
    }

    #[test]
    fn a_book_is_read_as_it_was_written_down_to_the_depth_that_is_kept() {
        let table = BookTable::new(2, 3);
        assert_eq!(view(&table, 9), BookView::default());
        let stamp = BookStamp { sequence: 7, exchange_time: UnixNs(8), received: MonoNs(9), source: Source::Simulated };
        table.publish(PAIR, &book(5, 1), stamp);
        let it = view(&table, 9);
        assert_eq!((it.changes, it.void, it.stamp), (1, None, stamp));
        assert!(it.bids.iter().eq(book(5, 1).levels(Side::Bid).take(3)));
        assert!(it.asks.iter().eq(book(5, 1).levels(Side::Ask).take(3)));
        assert_eq!(view(&table, 1).bids.len(), 1);
        table.publish(PAIR, &book(1, 1), stamp);
        assert_eq!((view(&table, 9).bids.len(), table.changes(PAIR)), (1, 2));
    }

    #[test]
    fn a_change_below_the_depth_that_is_kept_is_none_and_renews_the_stamp() {
        let table = BookTable::new(2, 2);
        table.publish(PAIR, &book(2, 1), BookStamp::default());
        table.publish(PAIR, &book(4, 1), BookStamp { received: MonoNs(5), ..BookStamp::default() });
        assert_eq!((table.changes(PAIR), view(&table, 2).stamp.received), (1, MonoNs(5)));
    }

    #[test]
    fn a_void_book_has_no_levels_until_the_next_one() {
        let table = BookTable::new(2, 2);
        assert!(!table.void(PAIR, BookVoid::Gap), "nothing was there");
        table.publish(PAIR, &book(2, 1), BookStamp::default());
        assert!(table.void(PAIR, BookVoid::Checksum));
        assert!(!table.void(PAIR, BookVoid::Lost), "said once");
        let it = view(&table, 2);
        assert_eq!((it.changes, it.void, it.bids.len(), it.asks.len()), (2, Some(BookVoid::Checksum), 0, 0));
        table.publish(PAIR, &book(2, 1), BookStamp::default());
        assert_eq!((table.changes(PAIR), view(&table, 2).void), (3, None));
        let it = view(&table, 2);
        assert_eq!((it.voids, it.last_void), (1, Some(BookVoid::Checksum)), "it is still known that it was");
    }

    #[test]
    fn without_levels_nothing_is_kept() {
        let table = BookTable::new(2, 0);
        table.publish(PAIR, &book(2, 1), BookStamp::default());
        assert_eq!(view(&table, 2), BookView::default());
    }

    #[test]
    fn a_reader_beside_the_writer_never_sees_two_books_at_once() {
        let table = BookTable::new(2, 4);
        table.publish(PAIR, &book(4, 1), BookStamp { sequence: 1, ..BookStamp::default() });
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for n in 2..20_000 {
                    let levels = n % 4 + 1;
                    table.publish(PAIR, &book(levels, n), BookStamp { sequence: n, ..BookStamp::default() });
                }
                done.store(true, Ordering::Release);
            });
            let mut it = BookView::default();
            while !done.load(Ordering::Acquire) {
                table.load(PAIR, 4, &mut it);
                let size = Decimal::new(it.stamp.sequence, 2);
                assert!(it.bids.iter().chain(&it.asks).all(|level| level.size == size), "{it:?}");
                assert_eq!(it.bids.len(), it.asks.len());
            }
        });
    }
}
