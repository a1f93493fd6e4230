//! An instrument's order book on one connection: whole books and changes in, changed tops out.
//!
//! [`Depth`] knows no numbers. [`Chained`] has its whole and its changes on one channel, each change naming
//! the one before; [`Stitched`] joins numbered changes to a whole that comes by REST. Which field has which
//! number is the venue's affair. Runs on the feed thread; grows no further than [`LEVELS_MAX`] a side.

use std::cmp::Ordering;
use std::collections::VecDeque;

use flate2::Crc;

use crate::market::book::{Book, Side};
use crate::market::{InstrumentId, Level};
use crate::time::UnixNs;
use crate::venues::{DecodeError, Decoded, Top, Update, VoidReason};

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

    /// Whether a top was returned since the last loss.
    #[must_use]
    pub const fn is_published(&self) -> bool {
        self.published.is_some()
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

    /// Says the top if it is not the one that was last said.
    #[inline]
    pub fn publish(&mut self, quoted: Quoted, out: &mut Decoded) {
        let Quoted { instrument, sequence, exchange_time, channel } = quoted;
        if let Some((bid, ask)) = self.changed_top() {
            out.updates.push(Update::Top(Top { instrument, bid, ask, sequence, exchange_time, channel }));
        }
    }
}

/// What goes with a top that a book gives.
#[derive(Clone, Copy, Debug)]
pub struct Quoted {
    /// What is quoted.
    pub instrument: InstrumentId,
    /// The number of the last change; 0 where the venue has none.
    pub sequence: u64,
    /// The stamp of the last change; 0 where the venue has none.
    pub exchange_time: UnixNs,
    /// The venue's own name of the feed.
    pub channel: &'static str,
}

/// The place of a message of a [`Chained`] book.
#[derive(Clone, Copy, Debug)]
pub struct Link {
    /// The number of the message that it follows; `None`: the venue does not say.
    pub after: Option<u64>,
    /// Its own number; `None`: the venue numbers nothing.
    pub number: Option<u64>,
    /// Its stamp.
    pub at: UnixNs,
}

/// A book whose whole and changes come on one channel, each change naming the number that it follows.
#[derive(Clone, Debug, Default)]
pub struct Chained {
    /// The levels.
    pub depth: Depth,
    number: Option<u64>,
    at: UnixNs,
}

impl Chained {
    /// The number of the last message; 0 where the venue has none.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.number.unwrap_or(0)
    }

    /// Takes `levels` as the whole book. One that was overtaken changes nothing. A smaller number at a later
    /// time is a venue that counts anew: what was before no longer orders what comes, so it becomes void.
    pub fn replace(&mut self, instrument: InstrumentId, link: Link, levels: &mut [Change], out: &mut Decoded) {
        if self.depth.is_live() && link.number < self.number {
            if link.at <= self.at {
                return;
            }
            self.depth.forget_published();
            out.updates.push(Update::Void(instrument, VoidReason::Gap));
        }
        self.depth.replace(levels);
        (self.number, self.at) = (link.number, link.at);
    }

    /// Applies changes, which the caller has checked. Older ones change nothing, and those before a whole book neither.
    ///
    /// # Errors
    /// [`DecodeError::Gap`]: something was lost, and the book is void until [`Self::replace`].
    #[inline]
    pub fn follow(&mut self, link: Link, changes: &[Change]) -> Result<(), DecodeError> {
        if !self.depth.is_live() {
            return Ok(());
        }
        let is_next = link.after.is_some() && link.after == self.number;
        if !is_next {
            // `None` is below every number: a chain that begins without one has lost its beginning.
            if link.number.is_some() && link.number <= self.number {
                return Ok(());
            }
            if link.after.is_some() && link.after > self.number {
                self.depth.void();
                return Err(DecodeError::Gap);
            }
        }
        self.depth.apply(changes);
        (self.number, self.at) = (link.number, link.at);
        Ok(())
    }
}

/// Events kept while a snapshot is awaited; one more starts the wait anew.
const EVENTS_MAX: usize = 4096;

/// The changes of the numbers `first` to `last`, borrowed or kept.
#[derive(Clone, Debug)]
pub struct Event<C> {
    /// Number of the first change.
    pub first: u64,
    /// Number of the last change; not below `first`.
    pub last: u64,
    /// The venue's stamp.
    pub at: UnixNs,
    /// The changes.
    pub changes: C,
}

/// A stream of numbered changes that is joined to a snapshot by REST.
#[derive(Debug, Default)]
pub struct Stitched {
    depth: Depth,
    sync: Sync,
    /// Events that wait for a snapshot.
    waiting: VecDeque<Event<Box<[Change]>>>,
    /// The stream's name; unknown until its first event.
    channel: Option<&'static str>,
}

/// How far a stitched book is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Sync {
    /// No snapshot.
    #[default]
    Waiting,
    /// A snapshot that no event has been joined to.
    Snapshot(u64),
    /// Whole up to this number.
    Whole(u64),
}

impl Stitched {
    /// Takes an event of the stream named `channel`: joins it, or keeps it for the snapshot to come.
    ///
    /// # Errors
    /// [`DecodeError::Gap`]: something was lost of a book that was whole. It is void until the next snapshot.
    pub fn event(
        &mut self,
        instrument: InstrumentId,
        channel: &'static str,
        event: &Event<&[Change]>,
        out: &mut Decoded,
    ) -> Result<(), DecodeError> {
        self.channel = Some(channel);
        let known = match self.sync {
            Sync::Waiting => {
                self.keep(event);
                return Ok(());
            }
            Sync::Snapshot(last) | Sync::Whole(last) => last,
        };
        if event.last <= known {
            return Ok(());
        }
        if event.first > known.saturating_add(1) {
            let was = std::mem::take(&mut self.sync);
            let was_published = self.depth.is_published();
            self.depth.void();
            self.keep(event);
            // A snapshot that is too old was never a quote, and is no fault of the stream.
            if was_published {
                out.updates.push(Update::Void(instrument, VoidReason::Gap));
            }
            return if was_published || matches!(was, Sync::Whole(_)) { Err(DecodeError::Gap) } else { Ok(()) };
        }
        self.depth.apply(event.changes);
        self.sync = Sync::Whole(event.last);
        self.publish(instrument, event.last, event.at, out);
        Ok(())
    }

    /// Keeps an event for the snapshot to come, within [`EVENTS_MAX`].
    fn keep(&mut self, event: &Event<&[Change]>) {
        if self.waiting.len() >= EVENTS_MAX {
            self.waiting.clear();
        }
        let &Event { first, last, at, changes } = event;
        self.waiting.push_back(Event { first, last, at, changes: changes.into() });
    }

    /// Takes a snapshot up to the number `last`. One that ends before the waiting events begin is of no use.
    /// Sorts `levels` in place.
    pub fn snapshot(&mut self, instrument: InstrumentId, last: u64, levels: &mut [Change], out: &mut Decoded) {
        let is_older = match self.sync {
            Sync::Whole(_) => true,
            Sync::Snapshot(known) => last <= known,
            Sync::Waiting => {
                let next = self.waiting.iter().find(|event| event.last > last);
                next.is_some_and(|event| event.first > last.saturating_add(1))
            }
        };
        if is_older {
            return;
        }
        self.depth.replace(levels);
        self.sync = Sync::Snapshot(last);
        let (mut last, mut at) = (last, UnixNs(0));
        let mut waiting = std::mem::take(&mut self.waiting);
        while let Some(event) = waiting.pop_front_if(|event| event.first <= last.saturating_add(1)) {
            if event.last > last {
                self.depth.apply(&event.changes);
                (last, at) = (event.last, event.at);
                self.sync = Sync::Whole(last);
            }
        }
        if !waiting.is_empty() {
            // Something was lost between two waiting events: only a newer snapshot helps.
            self.waiting = waiting;
            self.sync = Sync::Waiting;
        } else if self.channel.is_some() {
            self.publish(instrument, last, at, out);
        }
    }

    fn publish(&mut self, instrument: InstrumentId, sequence: u64, exchange_time: UnixNs, out: &mut Decoded) {
        let Some(channel) = self.channel else { return };
        self.depth.publish(Quoted { instrument, sequence, exchange_time, channel }, out);
    }
}

/// Levels a side that [`paired_checksum`] covers.
const CHECKSUM_LEVELS: usize = 25;

/// The checksum of OKX and Bitget: CRC32 over the best 25 levels, bid and ask in turn, `price:size` as they were written, joined by
/// colons; as a signed number. `text` is room to write in.
#[must_use]
pub fn paired_checksum(book: &Book, text: &mut Vec<u8>) -> i32 {
    text.clear();
    let mut bids = book.levels(Side::Bid).take(CHECKSUM_LEVELS);
    let mut asks = book.levels(Side::Ask).take(CHECKSUM_LEVELS);
    loop {
        let pair = [bids.next(), asks.next()];
        if pair == [None, None] {
            break;
        }
        for level in pair.into_iter().flatten() {
            for number in [level.price, level.size] {
                number.write_verbatim(text);
                text.push(b':');
            }
        }
    }
    text.pop();
    let mut crc = Crc::new();
    crc.update(text);
    crc.sum().cast_signed()
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
