//! Order books that begin with a page of their best levels, which comes by REST, and go on by numbered changes. Events
//! and pages in, whole books out, and what is to be fetched: a page at first and after each loss, and another one
//! before the levels of the last are used up. For the codecs that keep such books, on the feed thread.

use crate::market::InstrumentId;
use crate::market::book::Book;
use crate::time::{MonoNs, UnixNs};
use crate::venues::depth::{BookPage, DeltaOrder, LevelChange, PageSize, PerInstrument, Stitch, Stitched};
use crate::venues::{BookNote, DecodeError, Decoded, Fetch, Frame, SymbolEntry, Symbols, Update, VoidReason};

/// The books of one connection.
pub(crate) struct PagedBooks {
    page: PageSize,
    path: fn(&str, usize) -> String,
    books: PerInstrument<Paged>,
}

impl PagedBooks {
    /// No books yet. `path` gives the path and query of the page of a native symbol with so many levels.
    #[must_use]
    pub fn new(page: PageSize, path: fn(&str, usize) -> String) -> Self {
        Self { page, path, books: PerInstrument::default() }
    }

    /// There is a new connection.
    pub fn clear(&mut self) {
        self.books.clear();
    }

    /// The stream of these is asked for anew: their books are void until the next page.
    pub(crate) fn begin_anew(&mut self, instruments: &[InstrumentId]) {
        for instrument in instruments {
            self.books.of(*instrument).void();
        }
    }

    /// Takes an event of the stream as it was `read`: its place and its stamp. One that could not be read is lost.
    ///
    /// # Errors
    /// What was wrong with it; [`DecodeError::Gap`], [`DecodeError::Crossed`]: the book is void until the next page.
    #[inline]
    pub fn event(
        &mut self,
        entry: &SymbolEntry,
        read: Result<(DeltaOrder, UnixNs), DecodeError>,
        changes: &[LevelChange],
        received: MonoNs,
        out: &mut Decoded,
    ) -> Result<Frame, DecodeError> {
        let book = self.books.of(entry.id);
        let result = match read {
            Ok(place) => book.event(entry.id, place, changes, received, out),
            Err(why) => {
                out.updates.extend(book.void().then_some(Update::Void(entry.id, VoidReason::Undecodable)));
                Err(why)
            }
        };
        self.want(entry, out);
        result.map(|()| Frame::Data)
    }

    /// Takes a page, at most the requested levels of it. Ignores its stamp, which does not show how late
    /// the stream is.
    pub fn page(&mut self, entry: &SymbolEntry, mut given: BookPage, out: &mut Decoded) {
        given.cut(self.page.levels);
        self.books.of(entry.id).page(entry.id, given.number, &mut given.levels, self.page, out);
        self.want(entry, out);
    }

    /// Asks for a page if one would be of use.
    #[inline]
    pub fn want(&mut self, entry: &SymbolEntry, out: &mut Decoded) {
        if self.books.of(entry.id).wants_page() {
            out.fetches.push(Fetch { instrument: entry.id, path: (self.path)(&entry.native, self.page.levels) });
        }
    }

    /// The same for all of a connection.
    pub(crate) fn want_all(&mut self, symbols: &Symbols, out: &mut Decoded) {
        symbols.entries().iter().for_each(|entry| self.want(entry, out));
    }

    /// The book of `instrument`, while nothing of it is lost.
    #[must_use]
    pub fn book(&self, instrument: InstrumentId) -> Option<&Book> {
        self.books.get(instrument)?.book()
    }
}

/// One of them. Says each change of it.
#[derive(Debug, Default)]
struct Paged {
    stitched: Stitched,
    /// The stamp of the last event.
    at: UnixNs,
    /// The last number of the book before this one: a page below it was asked for too early.
    floor: u64,
    /// It was said that there is no book, since nothing is left of the page.
    is_spent: bool,
}

/// A number that is behind by more than this was begun anew by the venue, and is no repetition.
const RESTART: u64 = 1_000_000;

impl Paged {
    /// Takes an event: joins it, or keeps it for the page to come.
    ///
    /// # Errors
    /// [`DecodeError::Gap`], [`DecodeError::Crossed`]: the book is void until the next page.
    #[inline]
    fn event(
        &mut self,
        instrument: InstrumentId,
        (order, at): (DeltaOrder, UnixNs),
        changes: &[LevelChange],
        received: MonoNs,
        out: &mut Decoded,
    ) -> Result<(), DecodeError> {
        let Self { stitched, .. } = self;
        let last = stitched.last();
        let is_live = stitched.depth.is_live();
        let has_fallen_far = is_live && order.to.saturating_add(RESTART) < last;
        let stitch = if has_fallen_far { Stitch::Gap } else { stitched.delta(order, (at, received), changes) };
        if stitch == Stitch::Old {
            return Ok(());
        }
        self.at = at;
        let why = match stitch {
            Stitch::Old => return Ok(()),
            Stitch::Waits => {
                if order.to < self.floor {
                    // The venue counts anew, and so do its pages.
                    self.floor = 0;
                }
                return Ok(());
            }
            Stitch::Applied if !stitched.depth.is_crossed_too_long(received) => {
                self.say(BookNote { instrument, sequence: order.to, exchange_time: at }, out);
                return Ok(());
            }
            Stitch::Applied => DecodeError::Crossed,
            Stitch::Gap => DecodeError::Gap,
        };
        // After a gap that it noticed itself it is void, and what shows the gap waits.
        let begins_anew = stitch == Stitch::Gap && order.to < last;
        (self.floor, self.is_spent) = (if begins_anew { 0 } else { last }, false);
        if stitched.depth.is_live() {
            stitched.void();
        }
        out.updates.extend(why.loss().map(|reason| Update::Void(instrument, reason)));
        Err(why)
    }

    /// Takes a page up to `number`, unless the book has no need of it; with what was asked for. Sorts `levels` in place.
    fn page(
        &mut self,
        instrument: InstrumentId,
        number: u64,
        levels: &mut [LevelChange],
        page: PageSize,
        out: &mut Decoded,
    ) {
        let is_early = number < self.floor && number.saturating_add(RESTART) >= self.floor;
        if self.wants_page() && !is_early && self.stitched.page(number, levels, page) == Stitch::Applied {
            let sequence = self.stitched.last();
            let exchange_time = if sequence > number { self.at } else { UnixNs(0) };
            self.say(BookNote { instrument, sequence, exchange_time }, out);
        }
    }

    /// The book has changed. Where the market has run through the whole page there is none until there is a new best.
    #[inline]
    fn say(&mut self, note: BookNote, out: &mut Decoded) {
        let was_spent = std::mem::replace(&mut self.is_spent, self.stitched.depth.is_spent());
        match self.is_spent {
            false => out.updates.push(Update::Book(note)),
            true if !was_spent => out.updates.push(Update::Void(note.instrument, VoidReason::Gap)),
            true => {}
        }
    }

    /// An event could not be read, so something is lost: the book is void until the next page. Whether there was one.
    fn void(&mut self) -> bool {
        (self.floor, self.is_spent) = (self.stitched.last(), false);
        self.stitched.void()
    }

    /// Whether a page would be of use.
    const fn wants_page(&self) -> bool {
        self.stitched.wants_snapshot()
    }

    /// The book, while nothing of it is lost.
    fn book(&self) -> Option<&Book> {
        let is_known = self.stitched.depth.is_live() && !self.is_spent;
        is_known.then(|| self.stitched.depth.book())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::market::book::Side;
    use crate::market::{Decimal, Level};
    use crate::time::SECOND;
    use proptest::prelude::*;

    fn change(bid: bool, price: u64, size: u64) -> LevelChange {
        let side = if bid { Side::Bid } else { Side::Ask };
        LevelChange { side, level: Level { price: Decimal::new(price, 1), size: Decimal::new(size, 0) } }
    }

    /// The changes of an exchange's book, numbered from 1, and the book after each.
    fn history(changes: &[(bool, u64, u64)]) -> Vec<Book> {
        let mut books = vec![Book::default()];
        for &(bid, price, size) in changes {
            let mut book = books[books.len() - 1].clone();
            let LevelChange { side, level } = change(bid, price, size);
            book.set(side, level);
            books.push(book);
        }
        books
    }

    /// The best `count` levels of each side.
    fn page_of(book: &Book, count: usize) -> Vec<LevelChange> {
        let side = |side| book.levels(side).take(count).map(move |&level| LevelChange { side, level });
        side(Side::Bid).chain(side(Side::Ask)).collect()
    }

    const ID: InstrumentId = InstrumentId(0);
    const PAGE_OF_TWO: PageSize = PageSize { levels: 2, enough: 2 };

    proptest! {
        /// What is held of a book that was read as a page is its best levels, without a hole, however the market moves
        /// and whatever is lost; and when few are left, a new page makes more of them, also one that is late.
        #[test]
        fn no_hole_is_shown_behind_a_page_that_was_cut(
            changes in proptest::collection::vec((any::<bool>(), 1u64..40, 0u64..3), 1..120),
            steps in proptest::collection::vec((0usize..3, 0u8..10), 1..140),
        ) {
            const PAGE: PageSize = PageSize { levels: 4, enough: 3 };
            // Never crossed: bids below, asks above.
            let changes: Vec<_> = changes.iter().map(|&(bid, p, s)| (bid, if bid { p } else { 100 - p }, s)).collect();
            let books = history(&changes);
            let mut paged = Paged::default();
            let mut out = Decoded::default();
            let (mut now, mut asked) = (0, None);
            let check = |paged: &Paged, out: &mut Decoded| {
                let note = out.updates.drain(..).rev().find_map(|it| if let Update::Book(note) = it { Some(note) } else { None });
                let (Some(held), Some(note)) = (paged.book(), note) else { return Ok(()) };
                for side in [Side::Bid, Side::Ask] {
                    let meant = books[note.sequence as usize].levels(side);
                    prop_assert!(held.levels(side).eq(meant.take(held.count(side))), "{side:?} after {}", note.sequence);
                }
                Ok(())
            };
            for (length, fate) in steps {
                let to = (now + length).min(changes.len() - 1);
                if fate != 0 {
                    let part: Vec<LevelChange> = changes[now..=to].iter().map(|&(b, p, s)| change(b, p, s)).collect();
                    let order = DeltaOrder { from: Some(now as u64 + 1), to: to as u64 + 1 };
                    let _ = paged.event(ID, (order, UnixNs(1)), &part, MonoNs(1), &mut out);
                    check(&paged, &mut out)?;
                }
                now = (to + 1).min(changes.len() - 1);
                // A page is asked for, and comes some changes later, or is lost.
                if fate > 6 && let Some(at) = asked.take() {
                    paged.page(ID, at as u64, &mut page_of(&books[at], PAGE.levels), PAGE, &mut out);
                    check(&paged, &mut out)?;
                }
                if paged.wants_page() && asked.is_none() {
                    asked = Some(now);
                }
            }
            // Then nothing is lost any more.
            let end = changes.len();
            let (bid, price, size) = changes[end - 1];
            let last = DeltaOrder { from: Some(end as u64), to: end as u64 };
            let _ = paged.event(ID, (last, UnixNs(1)), &[change(bid, price, size)], MonoNs(1), &mut out);
            if paged.wants_page() {
                paged.page(ID, end as u64, &mut page_of(&books[end], PAGE.levels), PAGE, &mut out);
            }
            let held = paged.book();
            prop_assert!(held.is_some() && !paged.wants_page());
            for side in [Side::Bid, Side::Ask] {
                let meant = books[end].levels(side);
                let held = held.map(|book| book.levels(side).copied().collect::<Vec<_>>()).unwrap_or_default();
                prop_assert!(held.iter().eq(meant.take(held.len())));
                prop_assert!(held.len() >= PAGE.enough.min(books[end].count(side)), "{side:?}: {held:?}");
            }
        }
    }

    #[test]
    fn a_page_that_the_market_ran_through_is_no_empty_book() {
        let (mut paged, mut out) = (Paged::default(), Decoded::default());
        let levels = &mut [change(true, 10, 1), change(true, 9, 1), change(false, 11, 1), change(false, 12, 1)];
        paged.page(ID, 1, levels, PAGE_OF_TWO, &mut out);
        let mut event = |paged: &mut Paged, number: u64, level: LevelChange| {
            let order = DeltaOrder { from: Some(number), to: number };
            paged.event(ID, (order, UnixNs(1)), &[level], MonoNs(1), &mut out).unwrap();
        };
        event(&mut paged, 2, change(false, 11, 0));
        assert!(paged.wants_page());
        assert_eq!(paged.book().map(|book| book.count(Side::Ask)), Some(1));
        event(&mut paged, 3, change(false, 12, 0));
        // Offers at 13 and above were never sent.
        event(&mut paged, 4, change(false, 13, 5));
        assert!(paged.book().is_none());
        event(&mut paged, 5, change(false, 11, 7));
        assert_eq!(paged.book().map(|book| book.count(Side::Ask)), Some(1));
        let word = |update: &Update| matches!(update, Update::Book(_));
        assert_eq!(out.updates.iter().map(word).collect::<Vec<_>>(), [true, true, false, true]);
        // A page that is older than what was applied since it was asked for.
        let levels = &mut [change(true, 10, 1), change(true, 9, 1), change(false, 12, 1), change(false, 13, 1)];
        paged.page(ID, 2, levels, PAGE_OF_TWO, &mut out);
        assert_eq!(paged.book().map(|book| book.levels(Side::Ask).count()), Some(2));
    }

    #[test]
    fn a_paged_book_that_is_crossed_or_counts_anew_is_void_at_once() {
        let mut paged = Paged::default();
        let mut out = Decoded::default();
        let mut event = |paged: &mut Paged, number: u64, level: LevelChange, at: u64| {
            let order = DeltaOrder { from: Some(number), to: number };
            paged.event(ID, (order, UnixNs(1)), &[level], MonoNs(at), &mut out)
        };
        let mut said = Decoded::default();
        let mut page = |paged: &mut Paged, number: u64| {
            let levels = &mut [change(true, 10, 1), change(false, 11, 1)];
            paged.page(ID, number, levels, PageSize::of(100, 9), &mut said);
        };
        page(&mut paged, 5_000_000);
        assert_eq!(event(&mut paged, 5_000_001, change(false, 9, 1), 1), Ok(()));
        assert_eq!(event(&mut paged, 5_000_002, change(true, 8, 1), SECOND), Ok(()));
        assert_eq!(event(&mut paged, 5_000_003, change(true, 8, 2), 2 * SECOND), Err(DecodeError::Crossed));
        assert!(paged.book().is_none() && paged.wants_page());
        // A page that was asked for before is of no use; a newer one is.
        page(&mut paged, 5_000_001);
        assert!(paged.book().is_none());
        page(&mut paged, 5_000_004);
        assert!(paged.book().is_some() && !paged.wants_page());
        assert_eq!(event(&mut paged, 17, change(true, 8, 2), 3 * SECOND), Err(DecodeError::Gap));
        assert!(paged.book().is_none());
        page(&mut paged, 18);
        assert!(paged.book().is_some());
        let voids: Vec<_> = out.updates.into_iter().filter(|it| matches!(it, Update::Void(..))).collect();
        assert_eq!(voids, [Update::Void(ID, VoidReason::Crossed), Update::Void(ID, VoidReason::Gap)]);
    }
}
