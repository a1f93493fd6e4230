//! An instrument's order book on one connection: whole books and changes in, changed tops out.
//!
//! [`Depth`] knows no numbers. [`Chained`] has its whole and its changes on one channel, each change naming
//! the one before; [`Stitched`] joins numbered changes to a whole, or to a page of the best levels, that comes by
//! another way. Which field has which number is the venue's affair. Runs on the feed thread; grows no further than
//! [`LEVELS_MAX`] a side.

use std::cmp::Ordering;
use std::collections::VecDeque;

use flate2::Crc;

use crate::market::book::{Book, Side};
use crate::market::{Decimal, InstrumentId, Level};
use crate::time::{MonoNs, SECOND, UnixNs};
use crate::venues::{BookNote, DecodeError, Decoded, Top, Update, VoidReason};

/// Most levels stored per side; the worst beyond it are discarded. Coinbase's BTC-USD had
/// 27,236 on 2026-08-09.
pub(crate) const LEVELS_MAX: usize = 200_000;

/// One level as a frame sets it: an absolute size, zero removes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LevelChange {
    /// Which side.
    pub side: Side,
    /// Price and size.
    pub level: Level,
}

impl LevelChange {
    /// Whether it is worse than a price.
    #[inline]
    fn is_behind(&self, edge: Decimal) -> bool {
        match self.side {
            Side::Bid => self.level.price < edge,
            Side::Ask => self.level.price > edge,
        }
    }
}

/// An order book that was read by REST, or its best levels, and is not joined to a stream yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BookPage {
    /// The venue's number of the last change in it; its stamp where the venue has no numbers.
    pub number: u64,
    /// The venue's stamp; 0 where there is none.
    pub at: UnixNs,
    /// Bids, then asks, the worst of each first. Each price once, every level with a size, at most [`LEVELS_MAX`] a side.
    pub levels: Vec<LevelChange>,
}

/// Reads the body of a venue's book page. Needs nothing of the connection, so that it runs on a dialer's thread.
pub type PageReader = fn(&[u8]) -> Result<BookPage, DecodeError>;

impl BookPage {
    /// Puts `levels` in order. Where a price appears twice the later level holds.
    #[must_use]
    pub fn new(number: u64, at: UnixNs, mut levels: Vec<LevelChange>) -> Self {
        levels.sort_by(worst_first);
        levels.dedup_by(|later, earlier| {
            let is_same = (later.side, later.level.price) == (earlier.side, earlier.level.price);
            if is_same {
                *earlier = *later;
            }
            is_same
        });
        levels.retain(|change| change.level.is_present());
        let mut page = Self { number, at, levels };
        page.cut(LEVELS_MAX);
        page.levels.shrink_to_fit();
        page
    }

    /// Keeps the best `most` levels of each side.
    pub fn cut(&mut self, most: usize) {
        let bids = self.levels.partition_point(|change| change.side == Side::Bid);
        let asks = self.levels.len() - bids;
        self.levels.drain(bids..bids + asks.saturating_sub(most));
        self.levels.drain(..bids.saturating_sub(most));
    }
}

/// What is asked for of a book that has more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PageSize {
    /// Levels of a side that are asked for.
    pub levels: usize,
    /// With fewer left of a side that was cut another page is wanted.
    pub(crate) enough: usize,
}

impl PageSize {
    /// The whole book.
    pub const ALL: Self = Self { levels: usize::MAX, enough: 0 };

    /// For whom wants `wanted` levels, where pages of `levels` can be had: another one is wanted before there are
    /// fewer, when three quarters of what was to spare are gone.
    #[must_use]
    pub const fn of(levels: usize, wanted: usize) -> Self {
        Self { levels, enough: if wanted < levels { wanted + (levels - wanted) / 4 } else { levels } }
    }

    /// Whether a side of so many levels goes on behind them. Venues cut below the number that was asked for, too, without
    /// a word; one that is far below is all that there is, so that a thin book is not asked for again and again.
    const fn is_cut(self, levels: usize) -> bool {
        levels >= self.enough + (self.levels - self.enough).div_ceil(2)
    }
}

/// A book, and the top that was last published of it.
#[derive(Clone, Debug, Default)]
pub struct Depth {
    book: Book,
    published: Option<(Level, Level)>,
    live: bool,
    crossed_since: Option<MonoNs>,
    /// The worst price of each [`Side`] down to which all levels are known; `None`: to the end.
    edges: [Option<Decimal>; 2],
    /// See [`PageSize`].
    enough: usize,
}

/// A book that stays crossed for longer has lost something.
const CROSSED_MAX_NS: u64 = SECOND;
/// One of a row of whole books that is behind the one before by no more, in nanoseconds, was overtaken; behind by more,
/// the venue's clock was put back.
pub(crate) const OVERTAKEN_MAX_NS: u64 = SECOND;

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
    pub fn replace(&mut self, levels: &mut [LevelChange]) {
        self.book.clear();
        self.live = true;
        self.crossed_since = None;
        self.edges = [None; 2];
        // Worst first, so that each insertion is an append. The sort is stable: of two equal prices the later one holds.
        // It takes memory, which what is in order need not pay for.
        if !levels.is_sorted_by(|a, b| worst_first(a, b).is_le()) {
            levels.sort_by(worst_first);
        }
        self.apply(levels);
    }

    /// Takes `levels` as a page of a book that may go on behind them, nobody knows how: levels that are worse than the
    /// worst of a side that was cut are not kept from now on, however many of these go away. Sorts them in place.
    pub(crate) fn replace_cut(&mut self, levels: &mut [LevelChange], page: PageSize) {
        self.replace(levels);
        self.enough = page.enough;
        for side in [Side::Bid, Side::Ask] {
            let worst = self.book.worst(side).filter(|_| page.is_cut(self.book.count(side)));
            self.edges[side as usize] = worst.map(|level| level.price);
        }
    }

    /// Whether a side that was cut has less than [`PageSize::enough`] left.
    #[inline]
    #[must_use]
    pub(crate) fn is_short(&self) -> bool {
        let is_short = |side| self.edges[side as usize].is_some() && self.book.count(side) < self.enough;
        is_short(Side::Bid) || is_short(Side::Ask)
    }

    /// Whether nothing is left of a side that was truncated: its best level is unknown.
    #[inline]
    #[must_use]
    pub(crate) fn is_spent(&self) -> bool {
        [Side::Bid, Side::Ask].into_iter().any(|side| self.edges[side as usize].is_some() && self.book.count(side) == 0)
    }

    /// Applies changes in order. The caller has checked all of them.
    #[inline]
    pub fn apply(&mut self, changes: &[LevelChange]) {
        for change in changes {
            if self.edges[change.side as usize].is_none_or(|edge| !change.is_behind(edge)) {
                self.book.set(change.side, change.level);
            }
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
        self.crossed_since = None;
        std::mem::take(&mut self.live)
    }

    /// Whether a top was returned since the last loss.
    #[must_use]
    pub const fn is_published(&self) -> bool {
        self.published.is_some()
    }

    /// The next top is to be published even if it is the last one.
    pub(crate) fn forget_published(&mut self) {
        self.published = None;
    }

    /// Whether the book has been crossed for more than a second. To be asked after each change.
    #[inline]
    pub(crate) fn is_crossed_too_long(&mut self, now: MonoNs) -> bool {
        if !self.book.is_crossed() {
            self.crossed_since = None;
            return false;
        }
        now.since(*self.crossed_since.get_or_insert(now)) > CROSSED_MAX_NS
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
    pub fn publish(&mut self, quoted: TopStamp, out: &mut Decoded) {
        let TopStamp { instrument, sequence, exchange_time, channel } = quoted;
        if let Some((bid, ask)) = self.changed_top() {
            out.updates.push(Update::Top(Top { instrument, bid, ask, sequence, exchange_time, channel }));
        }
    }
}

/// Bids before asks, the worst of each first.
fn worst_first(a: &LevelChange, b: &LevelChange) -> Ordering {
    match (a.side, b.side) {
        (Side::Bid, Side::Bid) => a.level.price.cmp(&b.level.price),
        (Side::Ask, Side::Ask) => b.level.price.cmp(&a.level.price),
        (Side::Bid, Side::Ask) => Ordering::Less,
        (Side::Ask, Side::Bid) => Ordering::Greater,
    }
}

/// What goes with a top that a book gives.
#[derive(Clone, Copy, Debug)]
pub struct TopStamp {
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
pub(crate) struct ChainLink {
    /// The number of the message that it follows; `None`: the venue does not say.
    pub after: Option<u64>,
    /// Its own number; `None`: the venue numbers nothing.
    pub number: Option<u64>,
    /// Its stamp.
    pub at: UnixNs,
}

/// The increasing numbers of a venue's messages on one stream. It distinguishes a late message, which is ignored, from a
/// counter that started again, which voids everything before it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Count {
    highest: u64,
    /// The stamp of the highest, and when it was read.
    at: UnixNs,
    received: MonoNs,
    /// Numbers behind the highest since.
    behind: u32,
}

/// So many numbers in a row behind the highest are no late messages.
const BEHIND_MAX: u32 = 16;
/// A message is overtaken by less than this on one connection.
const LATE_MAX_NS: u64 = SECOND;

impl Count {
    /// Takes the next number, its stamp (0: none) and when it was read. Whether the count begins anew with it: it is
    /// behind, and that for too long, too often or with a stamp that is later than the highest one's by more than
    /// `later_ns`.
    #[inline(always)]
    pub(crate) fn begins_anew(&mut self, number: u64, at: UnixNs, received: MonoNs, later_ns: u64) -> bool {
        if number >= self.highest {
            *self = Self { highest: number, at, received, behind: 0 };
            return false;
        }
        self.behind += 1;
        let is_stamped_later = self.at.0 != 0 && at.0 > self.at.0.saturating_add(later_ns);
        let is_anew = self.behind > BEHIND_MAX || is_stamped_later || received.since(self.received) > LATE_MAX_NS;
        if is_anew {
            *self = Self { highest: number, at, received, behind: 0 };
        }
        is_anew
    }

    /// Takes a number that is known to be the newest, whatever came before.
    #[inline(always)]
    const fn restart(&mut self, number: u64, at: UnixNs, received: MonoNs) {
        *self = Self { highest: number, at, received, behind: 0 };
    }
}

/// A book whose whole and changes come on one channel, each change naming the number that it follows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Chained {
    /// The levels.
    pub depth: Depth,
    number: Option<u64>,
    at: UnixNs,
    count: Count,
}

/// One element of a message of a [`Chained`] book, whose levels have been read.
pub(crate) struct BookPart {
    /// Where its levels end.
    pub to: usize,
    /// Its place in the chain.
    pub link: ChainLink,
    /// `None` when missing or 0, which both mean that there is none.
    pub(crate) checksum: Option<i64>,
}

impl Chained {
    /// The number of the last message; 0 where the venue has none.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.number.unwrap_or(0)
    }

    /// The stamp of the last message; 0 before the first.
    #[must_use]
    pub const fn at(&self) -> UnixNs {
        self.at
    }

    /// The book while nothing of it is lost.
    #[must_use]
    pub fn book(&self) -> Option<&Book> {
        self.depth.is_live().then(|| self.depth.book())
    }

    /// Takes `levels` as the whole book, read at `received`; gives whether it did. One that was overtaken changes
    /// nothing. Where the venue counts anew what was before no longer orders what comes, so it becomes void.
    pub fn replace(
        &mut self,
        instrument: InstrumentId,
        (link, received): (ChainLink, MonoNs),
        levels: &mut [LevelChange],
        out: &mut Decoded,
    ) -> bool {
        if self.depth.is_live() && link.number < self.number {
            if !self.begins_anew(link, received, 0) {
                return false;
            }
            self.depth.forget_published();
            out.updates.push(Update::Void(instrument, VoidReason::Gap));
        }
        self.depth.replace(levels);
        self.place(link, received);
        true
    }

    /// Whether the venue counts anew with a message that is behind: see [`Count::begins_anew`].
    fn begins_anew(&mut self, link: ChainLink, received: MonoNs, later_ns: u64) -> bool {
        self.count.begins_anew(link.number.unwrap_or(0), link.at, received, later_ns)
    }

    #[inline]
    fn place(&mut self, link: ChainLink, received: MonoNs) {
        (self.number, self.at) = (link.number, link.at);
        self.count.restart(self.sequence(), link.at, received);
    }

    /// Says that the book changed.
    #[inline]
    pub fn note(&self, instrument: InstrumentId, out: &mut Decoded) {
        let (sequence, exchange_time) = (self.sequence(), self.at);
        out.updates.push(Update::Book(BookNote { instrument, sequence, exchange_time }));
    }

    /// Applies changes, which the caller has checked; gives whether it did. Older ones change nothing, and those before a
    /// whole book neither.
    ///
    /// # Errors
    /// [`DecodeError::Gap`]: something was lost, or the venue counts anew. [`DecodeError::Crossed`]: the book is crossed
    /// for too long. It is void until [`Self::replace`].
    #[inline]
    pub fn follow(&mut self, link: ChainLink, changes: &[LevelChange], received: MonoNs) -> Result<bool, DecodeError> {
        if !self.depth.is_live() {
            return Ok(false);
        }
        let is_next = link.after.is_some() && link.after == self.number;
        if !is_next {
            // `None` is below every number: a chain that begins without one has lost its beginning.
            let is_behind = link.number.is_some() && link.number <= self.number;
            if is_behind && !self.begins_anew(link, received, LATE_MAX_NS) {
                return Ok(false);
            }
            if is_behind || (link.after.is_some() && link.after > self.number) {
                self.depth.void();
                return Err(DecodeError::Gap);
            }
        }
        self.depth.apply(changes);
        self.place(link, received);
        if self.depth.is_crossed_too_long(received) {
            self.depth.void();
            return Err(DecodeError::Crossed);
        }
        Ok(true)
    }

    /// Compares the book with the venue's [`paired_checksum`], if there is one. `text` is room to write in.
    ///
    /// # Errors
    /// [`DecodeError::Checksum`]: they differ.
    #[inline]
    pub(crate) fn check_paired(&self, checksum: Option<i64>, text: &mut Vec<u8>) -> Result<(), DecodeError> {
        match checksum {
            Some(sum) if sum != i64::from(paired_checksum(self.depth.book(), text)) => Err(DecodeError::Checksum),
            _ => Ok(()),
        }
    }
}

/// A book that is put together from a snapshot and numbered deltas, in whichever order they come.
#[derive(Debug, Default)]
pub(crate) struct Stitched {
    /// The book. Live between a snapshot that fits and the next gap.
    pub depth: Depth,
    last: u64,
    /// What the snapshot's number was.
    seam: u64,
    /// Deltas since the last gap, while no snapshot has come; each follows the one before.
    waiting: VecDeque<(DeltaOrder, Vec<LevelChange>)>,
    /// The numbers of the deltas.
    count: Count,
    /// Deltas in a row that were old, and when the first of them was read.
    old: (usize, MonoNs),
    /// The book has too few levels left. All deltas behind this number wait for a new snapshot, besides being applied.
    short_since: Option<u64>,
}

/// Where a delta belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DeltaOrder {
    /// Number of the first change in it; `None` where the venue has stamps only, which cannot show a loss and
    /// may repeat.
    pub from: Option<u64>,
    /// Number of the last change in it, or its stamp.
    pub to: u64,
}

/// What became of a delta or a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stitch {
    /// The book has it.
    Applied,
    /// The book had it already, or something newer.
    Old,
    /// It waits for a snapshot.
    Waits,
    /// Something before it was lost; the book is void and a snapshot is needed.
    Gap,
}

/// Deltas that wait for a snapshot at most; one more and the wait begins anew.
const WAITING_MAX: usize = 4096;
/// So many old deltas in a row, or for so long, are no repetition: the snapshot is of another count.
const OLD_MAX: usize = 1000;
const OLD_MAX_NS: u64 = 5 * SECOND;

impl Stitched {
    /// Takes a delta with its stamp (0: none), read at `received`.
    #[inline]
    pub(crate) fn delta(
        &mut self,
        order: DeltaOrder,
        (at, received): (UnixNs, MonoNs),
        changes: &[LevelChange],
    ) -> Stitch {
        let is_anew = self.count.begins_anew(order.to, at, received, LATE_MAX_NS);
        if !self.depth.is_live() {
            if is_anew {
                self.waiting.clear();
            }
            self.take(Stitch::Waits, order, changes);
            return Stitch::Waits;
        }
        let mut stitch = if is_anew { Stitch::Gap } else { order.after(self.last, self.seam) };
        self.old = match (stitch, self.old) {
            (Stitch::Old, (0, _)) => (1, received),
            (Stitch::Old, (old, since)) => (old + 1, since),
            _ => (0, received),
        };
        if self.old.0 > OLD_MAX || received.since(self.old.1) > OLD_MAX_NS {
            stitch = Stitch::Gap;
        }
        self.take(stitch, order, changes);
        stitch
    }

    fn take(&mut self, stitch: Stitch, order: DeltaOrder, changes: &[LevelChange]) {
        match stitch {
            Stitch::Applied => {
                self.depth.apply(changes);
                if self.short_since.is_some() {
                    self.wait(order, changes);
                } else if self.depth.is_short() {
                    self.short_since = Some(order.to);
                }
                self.last = order.to;
            }
            Stitch::Gap => {
                self.void();
                self.wait(order, changes);
            }
            Stitch::Waits => self.wait(order, changes),
            Stitch::Old => {}
        }
    }

    /// Takes `levels` as the whole book as of `number`, and what waits behind it. A snapshot that is older than
    /// what waits leaves a gap, and is not taken.
    pub fn snapshot(&mut self, number: u64, levels: &mut [LevelChange]) -> Stitch {
        self.page(number, levels, PageSize::ALL)
    }

    /// The same with the best levels of the book as they were asked for: see [`Depth::replace_cut`]. One that is older than what a short book
    /// has kept is not taken, and the book stays as it is.
    pub fn page(&mut self, number: u64, levels: &mut [LevelChange], page: PageSize) -> Stitch {
        if self.short_since.is_some_and(|since| number < since) {
            return Stitch::Old;
        }
        let first_behind = self.waiting.iter().find(|(order, _)| order.after(number, number) != Stitch::Old);
        if first_behind.is_some_and(|(order, _)| order.after(number, number) == Stitch::Gap) {
            self.depth.void();
            return Stitch::Gap;
        }
        self.depth.replace_cut(levels, page);
        (self.last, self.seam, self.old.0, self.short_since) = (number, number, 0, None);
        for (order, changes) in std::mem::take(&mut self.waiting) {
            let is_live = self.depth.is_live();
            let stitch = if is_live { order.after(self.last, self.seam) } else { Stitch::Waits };
            self.take(stitch, order, &changes);
        }
        Stitch::Applied
    }

    /// The book is void until a snapshot; deltas that come wait for it. Returns whether it was live.
    pub fn void(&mut self) -> bool {
        self.waiting.clear();
        (self.old.0, self.short_since) = (0, None);
        self.depth.void()
    }

    /// Whether there is no book, or too little of it: a snapshot is wanted.
    #[must_use]
    pub(crate) const fn wants_snapshot(&self) -> bool {
        !self.depth.is_live() || self.short_since.is_some()
    }

    /// The number of the last change.
    #[must_use]
    pub const fn last(&self) -> u64 {
        self.last
    }

    fn wait(&mut self, order: DeltaOrder, changes: &[LevelChange]) {
        let follows = |(last, _): &(DeltaOrder, Vec<LevelChange>)| order.after(last.to, 0) != Stitch::Gap;
        if self.waiting.len() >= WAITING_MAX || !self.waiting.back().is_none_or(follows) {
            self.waiting.clear();
            // The buffered changes of a short book begin here.
            self.short_since = self.short_since.map(|_| self.last);
        }
        self.waiting.push_back((order, changes.to_vec()));
    }
}

impl DeltaOrder {
    /// What a delta is to a book whose last change is `last`, and whose snapshot was `seam`.
    const fn after(self, last: u64, seam: u64) -> Stitch {
        match self.from {
            None if self.to <= seam || self.to < last => Stitch::Old,
            None => Stitch::Applied,
            Some(_) if self.to <= last => Stitch::Old,
            // It may begin before what the book has: sizes are absolute, and end as the venue has them.
            Some(from) if from <= last.saturating_add(1) => Stitch::Applied,
            Some(_) => Stitch::Gap,
        }
    }
}

/// A [`Stitched`] book whose snapshot comes by REST, and what goes with its tops.
#[derive(Debug, Default)]
pub(crate) struct Diffs {
    stitched: Stitched,
    /// The stream's name; unknown until its first event.
    channel: Option<&'static str>,
    /// The stamp of the last event.
    at: UnixNs,
}

impl Diffs {
    /// Takes an event of the stream named `channel` as it was `read`: joins it, or keeps it for the snapshot to come.
    ///
    /// # Errors
    /// What was wrong with it; [`DecodeError::Gap`]: something was lost of a book that was quoted. It is void until the
    /// next snapshot.
    pub fn event(
        &mut self,
        (instrument, channel): (InstrumentId, &'static str),
        read: Result<(DeltaOrder, UnixNs), DecodeError>,
        changes: &[LevelChange],
        received: MonoNs,
        out: &mut Decoded,
    ) -> Result<(), DecodeError> {
        self.channel = Some(channel);
        let was_quoted = self.stitched.depth.is_published();
        let (order, at) = read.inspect_err(|_| {
            if self.stitched.void() {
                out.undecodable(instrument);
            }
        })?;
        match self.stitched.delta(order, (at, received), changes) {
            Stitch::Old => return Ok(()),
            Stitch::Applied => {
                let quoted = TopStamp { instrument, sequence: order.to, exchange_time: at, channel };
                self.stitched.depth.publish(quoted, out);
            }
            // A snapshot that is too old was never a quote, and is no fault of the stream.
            Stitch::Gap if was_quoted => {
                self.at = at;
                out.updates.push(Update::Void(instrument, VoidReason::Gap));
                return Err(DecodeError::Gap);
            }
            Stitch::Waits | Stitch::Gap => {}
        }
        self.at = at;
        Ok(())
    }

    /// The next top is published even if it equals the last one.
    pub(crate) fn forget_published(&mut self) {
        self.stitched.depth.forget_published();
    }

    /// Takes a snapshot up to `number`, unless the book has no need of it. Sorts `levels` in place.
    pub fn snapshot(&mut self, instrument: InstrumentId, number: u64, levels: &mut [LevelChange], out: &mut Decoded) {
        let depth = &self.stitched.depth;
        if depth.is_published() || (depth.is_live() && number <= self.stitched.last()) {
            return;
        }
        // Without an event, the stream is unknown.
        if let (Stitch::Applied, Some(channel)) = (self.stitched.snapshot(number, levels), self.channel) {
            let sequence = self.stitched.last();
            let exchange_time = if sequence > number { self.at } else { UnixNs(0) };
            self.stitched.depth.publish(TopStamp { instrument, sequence, exchange_time, channel }, out);
        }
    }
}

/// Levels a side that [`paired_checksum`] covers.
const CHECKSUM_LEVELS: usize = 25;

/// The checksum of OKX and Bitget: CRC32 over the best 25 levels, bid and ask in turn, `price:size` as they were written, joined by
/// colons; as a signed number. `text` is room to write in.
#[must_use]
pub(crate) fn paired_checksum(book: &Book, text: &mut Vec<u8>) -> i32 {
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
pub(crate) struct PerInstrument<T>(Vec<T>);

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

    /// That of `id`, if it was made.
    #[must_use]
    pub fn get(&self, id: InstrumentId) -> Option<&T> {
        self.0.get(id.index())
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
    use crate::time::MS;
    use proptest::prelude::*;

    /// The examples of OKX's guide (<https://www.okx.com/docs-v5/en/#order-book-trading-market-data-ws-order-book-channel>,
    /// "Checksum", 2026-11-30), whose rule Bitget's repeats word for word; the guides name the text and no number. Both say
    /// that zeros at the end count: 0.5000 is not 0.5.
    #[test]
    fn a_checksum_is_of_the_text_that_the_venues_guide_names() {
        for (bids, asks, meant) in [
            (
                &[("3366.1", "7"), ("3366", "6")][..],
                &[("3366.8", "9"), ("3368", "8")][..],
                "3366.1:7:3366.8:9:3366:6:3368:8",
            ),
            (&[("3366.1", "7")], &[("3366.8", "9"), ("3368", "8"), ("3372", "8")], "3366.1:7:3366.8:9:3368:8:3372:8"),
            (&[("0.0500", "0.5000")], &[], "0.0500:0.5000"),
        ] {
            let mut book = Book::default();
            for (side, levels) in [(Side::Bid, bids), (Side::Ask, asks)] {
                for (price, size) in levels {
                    book.set(side, Level { price: price.parse().unwrap(), size: size.parse().unwrap() });
                }
            }
            let mut crc = Crc::new();
            crc.update(meant.as_bytes());
            let mut text = Vec::new();
            assert_eq!(paired_checksum(&book, &mut text), crc.sum().cast_signed());
            assert_eq!(String::from_utf8(text).unwrap(), meant);
        }
    }

    #[test]
    fn levels_behind_the_25th_are_not_in_the_checksum() {
        let mut book = Book::default();
        for n in 0..30u64 {
            book.set(Side::Bid, change(true, 500 - n, 1 + n).level);
            book.set(Side::Ask, change(false, 501 + n, 1 + n).level);
        }
        let with_more = paired_checksum(&book, &mut Vec::new());
        book.truncate(25);
        assert_eq!(paired_checksum(&book, &mut Vec::new()), with_more);
        book.truncate(24);
        assert_ne!(paired_checksum(&book, &mut Vec::new()), with_more);
    }

    const NO_TIME: (UnixNs, MonoNs) = (UnixNs(0), MonoNs(0));

    fn change(bid: bool, price: u64, size: u64) -> LevelChange {
        let side = if bid { Side::Bid } else { Side::Ask };
        LevelChange { side, level: Level { price: Decimal::new(price, 1), size: Decimal::new(size, 0) } }
    }

    proptest! {
        #[test]
        fn a_whole_book_equals_its_levels_applied_one_by_one(
            levels in proptest::collection::vec((any::<bool>(), 1u64..30, 0u64..3), 0..60)
        ) {
            let mut levels: Vec<LevelChange> = levels.into_iter().map(|(bid, price, size)| change(bid, price, size)).collect();
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
    fn a_page_keeps_the_best_levels_of_each_side_in_order() {
        let bid = |price, size| change(true, price, size);
        let ask = |price, size| change(false, price, size);
        let levels = vec![ask(12, 1), bid(9, 1), ask(11, 1), bid(10, 1), bid(8, 1), ask(13, 0), bid(9, 5), ask(14, 1)];
        let mut page = BookPage::new(7, UnixNs(0), levels);
        assert_eq!(page.levels, [bid(8, 1), bid(9, 5), bid(10, 1), ask(14, 1), ask(12, 1), ask(11, 1)]);
        page.cut(2);
        assert_eq!(page.levels, [bid(9, 5), bid(10, 1), ask(12, 1), ask(11, 1)]);
        page.cut(5);
        assert_eq!(page.levels.len(), 4);
        let endless: Vec<LevelChange> = (1..=LEVELS_MAX as u64 + 5).map(|price| bid(price, 1)).collect();
        let page = BookPage::new(7, UnixNs(0), endless);
        assert_eq!((page.levels.len(), page.levels[0]), (LEVELS_MAX, bid(6, 1)));
    }

    #[test]
    fn a_book_grows_no_further_than_its_limit_and_keeps_the_best() {
        let mut depth = Depth::default();
        let mut levels: Vec<LevelChange> = (1..=LEVELS_MAX as u64 + 5).map(|price| change(true, price, 1)).collect();
        depth.replace(&mut levels);
        depth.apply(&[change(true, LEVELS_MAX as u64 + 6, 1)]);
        assert_eq!(depth.book().levels(Side::Bid).count(), LEVELS_MAX);
        assert_eq!(depth.book().best_bid().price, Decimal::new(LEVELS_MAX as u64 + 6, 1));
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

    proptest! {
        /// f46 f47 f48 f52: whatever is lost, repeated or late, a live book is the exchange's.
        #[test]
        fn a_live_book_is_the_exchanges_book(
            changes in proptest::collection::vec((any::<bool>(), 1u64..20, 0u64..4), 1..60),
            steps in proptest::collection::vec((0usize..60, 0usize..4, any::<bool>()), 1..80),
        ) {
            let books = history(&changes);
            let mut stitched = Stitched::default();
            for (at, length, is_snapshot) in steps {
                let at = at.min(changes.len() - 1);
                if is_snapshot {
                    let mut levels = Vec::new();
                    for side in [Side::Bid, Side::Ask] {
                        levels.extend(books[at].levels(side).map(|&level| LevelChange { side, level }));
                    }
                    stitched.snapshot(at as u64, &mut levels);
                } else {
                    let to = (at + length).min(changes.len() - 1);
                    let part: Vec<LevelChange> = changes[at..=to].iter().map(|&(b, p, s)| change(b, p, s)).collect();
                    stitched.delta(DeltaOrder { from: Some(at as u64 + 1), to: to as u64 + 1 }, NO_TIME, &part);
                }
                if stitched.depth.is_live() {
                    let meant = &books[stitched.last() as usize];
                    for side in [Side::Bid, Side::Ask] {
                        prop_assert!(stitched.depth.book().levels(side).eq(meant.levels(side)));
                    }
                }
            }
        }
    }

    #[test]
    fn a_side_of_few_levels_is_all_that_there_is() {
        let mut depth = Depth::default();
        let levels =
            [change(true, 10, 1), change(true, 9, 1), change(true, 8, 1), change(false, 11, 1), change(false, 12, 1)];
        depth.replace_cut(&mut levels.clone(), PageSize { levels: 3, enough: 3 });
        // Below the third bid the levels are unknown; above the second ask there are none.
        depth.apply(&[change(true, 7, 1), change(false, 13, 1)]);
        assert_eq!((depth.book().count(Side::Bid), depth.book().count(Side::Ask)), (3, 3));
        assert!(!depth.is_short());
        depth.apply(&[change(true, 10, 0), change(false, 11, 0)]);
        assert!(depth.is_short());
        depth.apply(&[change(true, 11, 5)]);
        assert!(!depth.is_short());
        depth.replace(&mut levels.clone());
        depth.apply(&[change(true, 7, 1), change(true, 10, 0), change(true, 9, 0)]);
        assert_eq!(depth.book().count(Side::Bid), 2);
        assert!(!depth.is_short());
    }

    #[test]
    fn what_waits_for_a_snapshot_is_bounded() {
        let mut stitched = Stitched::default();
        for number in 1..=WAITING_MAX as u64 + 7 {
            let order = DeltaOrder { from: Some(number), to: number };
            assert_eq!(stitched.delta(order, NO_TIME, &[change(true, 5, number)]), Stitch::Waits);
        }
        assert!(stitched.waiting.len() <= WAITING_MAX);
        assert_eq!(stitched.snapshot(1, &mut [change(true, 9, 1)]), Stitch::Gap);
        assert_eq!(stitched.snapshot(WAITING_MAX as u64 + 5, &mut [change(true, 9, 1)]), Stitch::Applied);
        assert_eq!(stitched.last(), WAITING_MAX as u64 + 7);
    }

    #[test]
    fn numbers_that_begin_anew_are_a_gap_before_long() {
        let mut stitched = Stitched::default();
        stitched.snapshot(1_000_000, &mut [change(true, 9, 1)]);
        let delta = |number| DeltaOrder { from: Some(number), to: number };
        let gap = |stitched: &mut Stitched, step_ns: u64| {
            (1..=2 * OLD_MAX as u64).find(|&n| {
                let at = (UnixNs(0), MonoNs(n * step_ns));
                stitched.delta(delta(n), at, &[change(true, 5, n)]) == Stitch::Gap
            })
        };
        assert_eq!(gap(&mut stitched, 0), Some(OLD_MAX as u64 + 1));
        assert!(!stitched.depth.is_live());
        // By time, where they come slowly.
        let mut stitched = Stitched::default();
        stitched.snapshot(1_000_000, &mut [change(true, 9, 1)]);
        assert_eq!(gap(&mut stitched, SECOND / 2), Some(12));
    }

    #[test]
    fn deltas_whose_numbers_fall_back_are_a_gap_within_a_second() {
        let delta = |stitched: &mut Stitched, n: u64, ms: u64| {
            let order = DeltaOrder { from: Some(n), to: n };
            stitched.delta(order, (UnixNs(0), MonoNs(ms * MS)), &[change(true, 5, n)])
        };
        let mut stitched = Stitched::default();
        stitched.snapshot(1000, &mut [change(true, 9, 1)]);
        assert_eq!(delta(&mut stitched, 1001, 0), Stitch::Applied);
        assert_eq!(delta(&mut stitched, 999, 10), Stitch::Old, "a late message is none");
        assert_eq!(delta(&mut stitched, 1002, 20), Stitch::Applied);
        let fallen: Vec<Stitch> = (1..=6).map(|n| delta(&mut stitched, n, 20 + n * 250)).collect();
        assert_eq!(fallen[..4], [Stitch::Old; 4]);
        assert_eq!(fallen[4..], [Stitch::Gap, Stitch::Waits]);
        assert_eq!(stitched.snapshot(4, &mut [change(true, 9, 1)]), Stitch::Applied);
        assert_eq!(stitched.last(), 6);
    }

    #[test]
    fn numbers_that_stay_behind_have_begun_anew() {
        let mut count = Count::default();
        let mut next = |number: u64| count.begins_anew(number, UnixNs(0), MonoNs(0), 0);
        // Late ones, also with one in between that is not.
        for number in [1000, 999, 998, 997, 1001, 990, 1002] {
            assert!(!next(number));
        }
        let anew: Vec<u64> = (1..40).filter(|&number| next(number)).collect();
        assert_eq!(anew, [u64::from(BEHIND_MAX) + 1]);
        // A late message is overtaken by less than a second, and stamped before.
        for (later, at, ms, is_anew) in [(900, 1, 1000, false), (900, 1, 1001, true), (900, 3, 1, true)] {
            let mut count = Count::default();
            assert!(!count.begins_anew(1000, UnixNs(2), MonoNs(0), 0));
            assert_eq!(count.begins_anew(later, UnixNs(at), MonoNs(ms * MS), 0), is_anew);
        }
    }

    #[test]
    fn a_crossed_book_is_given_a_second() {
        let mut depth = Depth::default();
        depth.replace(&mut [change(true, 10, 1), change(false, 9, 1)]);
        assert!(!depth.is_crossed_too_long(MonoNs(5)));
        assert!(!depth.is_crossed_too_long(MonoNs(5 + SECOND)));
        assert!(depth.is_crossed_too_long(MonoNs(6 + SECOND)));
        depth.apply(&[change(false, 9, 0)]);
        assert!(!depth.is_crossed_too_long(MonoNs(7 + SECOND)));
    }

    fn link(after: u64, number: u64, ms: u64) -> ChainLink {
        ChainLink { after: Some(after), number: Some(number), at: UnixNs::from_ms(ms) }
    }

    fn chained(levels: &mut [LevelChange]) -> Chained {
        let mut chain = Chained::default();
        let link = ChainLink { after: None, number: Some(100), at: UnixNs::from_ms(100) };
        chain.replace(InstrumentId(0), (link, MonoNs(0)), levels, &mut Decoded::default());
        chain
    }

    #[test]
    fn a_chain_says_that_it_is_crossed_and_a_whole_book_gives_it_a_second_again() {
        let mut chain = chained(&mut [change(true, 10, 1), change(false, 11, 1)]);
        let crossing = [change(true, 12, 1)];
        assert_eq!(chain.follow(link(100, 101, 101), &crossing, MonoNs(5)), Ok(true));
        let whole = ChainLink { after: None, number: Some(102), at: UnixNs::from_ms(102) };
        let mut levels = [change(true, 10, 1), change(false, 11, 1)];
        chain.replace(InstrumentId(0), (whole, MonoNs(5)), &mut levels, &mut Decoded::default());
        assert_eq!(chain.follow(link(102, 103, 103), &crossing, MonoNs(3 * SECOND)), Ok(true));
        assert_eq!(chain.follow(link(103, 104, 104), &[], MonoNs(4 * SECOND)), Ok(true));
        assert_eq!(chain.follow(link(104, 105, 105), &[], MonoNs(4 * SECOND + 1)), Err(DecodeError::Crossed));
        assert!(!chain.depth.is_live());
    }

    #[test]
    fn a_chain_that_counts_anew_is_void_at_once_and_a_late_message_is_not() {
        let levels = || [change(true, 10, 1), change(false, 11, 1)];
        let mut chain = chained(&mut levels());
        assert_eq!(chain.follow(link(98, 99, 99), &[change(true, 10, 7)], MonoNs(1)), Ok(false));
        assert_eq!(chain.depth.book().best_bid(), change(true, 10, 1).level);
        assert_eq!(chain.follow(link(0, 1, 1101), &[change(true, 10, 7)], MonoNs(1)), Err(DecodeError::Gap));
        assert!(!chain.depth.is_live());
        // The venue names what it follows: whatever its number is then, nothing was lost.
        let mut chain = chained(&mut levels());
        assert_eq!(chain.follow(link(100, 1, 101), &[change(true, 10, 7)], MonoNs(1)), Ok(true));
        assert_eq!(chain.depth.book().best_bid(), change(true, 10, 7).level);
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
