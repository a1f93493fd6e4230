//! Order books of one connection: changes in, [`BookTable`] out.
//!
//! Changes and voids are collected until [`FeedBooks::publish`], so that all changes of one read become one update, and so
//! that the owner decides whether this connection publishes at all. One per connection, on its feed's thread.

use std::sync::Arc;

use crate::feed::kind::{ChannelGauges, ChannelKind};
use crate::feed::lag::{self, Lag};
use crate::feed::reference::CachedReference;
use crate::market::book::{BookStamp, BookVoid};
use crate::market::quote::Source;
use crate::market::{Directory, InstrumentId, VenueId};
use crate::matrix::books::BookTable;
use crate::metrics::Board;
use crate::time::MonoNs;
use crate::venues::{BookNote, FeedCodec};

/// Order books of one connection.
pub(crate) struct FeedBooks {
    id: VenueId,
    gauges: ChannelGauges,
    directory: Arc<Directory>,
    table: Arc<BookTable>,
    source: Source,
    lag: Lag,
    reference: CachedReference,
    /// Changed books that are not published yet, each with the time of its last change, corrected for lag.
    changed: Vec<(BookNote, MonoNs)>,
    /// Books that became void, not published yet.
    voids: Vec<(InstrumentId, BookVoid)>,
    /// When the last change was read; `None` once [`Self::take_published`] has returned it.
    published: Option<MonoNs>,
}

impl FeedBooks {
    /// Books of the venue with `id`.
    #[must_use]
    pub fn new(id: VenueId, board: &Arc<Board>, directory: &Arc<Directory>, table: Arc<BookTable>) -> Self {
        Self {
            id,
            gauges: ChannelGauges::new(Arc::clone(board), id, ChannelKind::Books),
            directory: Arc::clone(directory),
            table,
            source: Source::default(),
            lag: Lag::default(),
            reference: CachedReference::default(),
            changed: Vec::new(),
            voids: Vec::new(),
            published: None,
        }
    }

    /// A new connection begins.
    pub fn begin(&mut self, now: MonoNs) {
        self.lag.begin(now);
        self.reference.forget();
        self.changed.clear();
        self.voids.clear();
    }

    /// The upgrade is complete; books are from `source`.
    pub const fn opened(&mut self, source: Source) {
        self.source = source;
    }

    /// Copies what another connection to the venue has measured as usual.
    pub(crate) fn learn_from(&mut self, other: &Self) {
        self.lag.learn_from(&other.lag);
    }

    /// A book changed, by a frame, or with `is_page` by a REST page, that was read at `received`.
    pub fn change(&mut self, note: BookNote, is_page: bool, received: MonoNs) {
        self.gauges.quotes.decoded.add(1);
        let reference = self.reference.at(received, self.gauges.board());
        // A page is no measurement of the line. If it is older than the stream, the book is as new as the last event.
        let excess_ns = if is_page {
            self.lag.of(note.exchange_time, received, reference)
        } else {
            self.lag.take(note.exchange_time, received, reference)
        };
        let late_ns = lag::beyond_jitter_ns(excess_ns);
        self.gauges.lag.lagged.add(u64::from(late_ns > 0 && !is_page));
        let changed = (note, MonoNs(received.0.saturating_sub(late_ns)));
        match self.changed.iter_mut().find(|(other, _)| other.instrument == note.instrument) {
            Some(other) => *other = changed,
            None => self.changed.push(changed),
        }
        self.published = Some(received);
    }

    /// The book of the instrument no longer holds. The first reason counts.
    pub fn void(&mut self, instrument: InstrumentId, why: BookVoid) {
        if !self.voids.iter().any(|(other, _)| *other == instrument) {
            self.voids.push((instrument, why));
        }
    }

    /// Discards collected voids, which are not those of the published books.
    pub(crate) fn discard_voids(&mut self) {
        self.voids.clear();
    }

    /// Publishes what has changed since the last call; `codec` has the books. While `is_paused`, only voids.
    pub fn publish(&mut self, codec: &dyn FeedCodec, is_paused: bool) {
        let Self { id, gauges, directory, table, source, changed, voids, .. } = self;
        let board = gauges.board();
        let void = |instrument: InstrumentId, why: BookVoid| {
            if table.void(directory.pair(instrument, *id), why) {
                board.books[id.index()].voids.add(why, 1);
            }
        };
        voids.drain(..).for_each(|(instrument, why)| void(instrument, why));
        if is_paused {
            return;
        }
        for (BookNote { instrument, sequence, exchange_time }, received) in changed.drain(..) {
            match codec.book(instrument) {
                // It became void after this change.
                None => {}
                // A venue's own book can be crossed for a moment. Such a book is not published; the codec voids it if it
                // stays crossed for a second.
                Some(book) if book.is_crossed() => void(instrument, BookVoid::Crossed),
                Some(book) => {
                    let stamp = BookStamp { sequence, exchange_time, received, source: *source };
                    table.publish(directory.pair(instrument, *id), book, stamp);
                }
            }
        }
    }

    /// When the changes were read that have been published since the last call.
    pub(crate) fn take_published(&mut self) -> Option<MonoNs> {
        if self.changed.is_empty() { self.published.take() } else { None }
    }
}
