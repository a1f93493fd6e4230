//! Tops of book of one connection: decoded tops and day statistics in, [`FeedEvent`]s out. Adds what a codec does not
//! know: the source, the line, the delay and the corrected time of arrival. One per connection, on its feed's thread, or
//! on that of a replay; allocates nothing on the path of a quote.

use std::sync::Arc;

use crate::feed::clock::ClockReports;
use crate::feed::kind::{ChannelGauges, ChannelKind};
use crate::feed::stamps::Stamps;
use crate::feed::timing::{Lateness, Timing};
use crate::market::book::BookVoid;
use crate::market::quote::{Delay, ExcessLag, FeedEvent, LineId, Origin, Source};
use crate::market::statistics::DayStatistics;
use crate::market::{Directory, InstrumentId, Quote, VenueId};
use crate::matrix::days::DayTable;
use crate::metrics::Board;
use crate::time::{MonoNs, UnixNs};
use crate::venues::{StampFacts, Top};

/// Tops of book of one connection.
pub(crate) struct Tops {
    id: VenueId,
    gauges: ChannelGauges,
    directory: Arc<Directory>,
    days: Arc<DayTable>,
    source: Source,
    /// Identifies the open connection, or the last one.
    line: LineId,
    is_open: bool,
    stamps: Stamps,
    timing: Timing,
    clock: ClockReports,
    /// The detector has been notified that the connection is behind.
    is_behind: bool,
}

impl Tops {
    /// Tops of the venue with `id`. Takes its memory here.
    #[must_use]
    pub fn new(
        (id, stamps): (VenueId, StampFacts),
        board: &Arc<Board>,
        directory: &Arc<Directory>,
        days: Arc<DayTable>,
    ) -> Self {
        let gauges = ChannelGauges::new(Arc::clone(board), id, ChannelKind::Tops);
        Self {
            id,
            timing: Timing::new(gauges.clone(), directory.rows()),
            gauges,
            clock: ClockReports::new(stamps),
            directory: Arc::clone(directory),
            days,
            source: Source::default(),
            line: LineId::NONE,
            is_open: false,
            stamps: Stamps::default(),
            is_behind: false,
        }
    }

    /// A new connection begins.
    pub fn begin(&mut self, now: MonoNs) {
        self.line = LineId::own(self.gauges.board().count_line());
        self.timing.begin(now);
        self.clock.begin();
        self.stamps = Stamps::default();
        (self.is_open, self.is_behind) = (false, false);
    }

    /// Identifies the open connection, or the last one.
    #[must_use]
    pub const fn line(&self) -> LineId {
        self.line
    }

    /// The upgrade is complete; quotes are from `source`.
    pub const fn opened(&mut self, source: Source) {
        (self.source, self.is_open) = (source, true);
    }

    /// The connection is closed. The detector is not notified, so that its quotes stay unfit as legs.
    pub fn close(&mut self) {
        self.is_open = false;
        self.gauges.backlog.behind.replace(u64::from(std::mem::take(&mut self.is_behind)), 0);
        self.timing.close();
    }

    /// Timing of the connection.
    #[inline]
    #[must_use]
    pub(crate) const fn timing(&mut self) -> &mut Timing {
        &mut self.timing
    }

    /// Copies what another connection to the venue has measured as usual.
    pub(crate) fn learn_from(&mut self, other: &Self) {
        self.timing.learn_from(&other.timing);
    }

    /// `bytes` were read, and `waiting` more are in the socket.
    #[inline]
    pub fn read(&mut self, bytes: usize, waiting: usize, received: MonoNs, events: &mut dyn FnMut(FeedEvent)) {
        self.timing.backlog().read(bytes, waiting, received);
        self.notify_behind(events);
    }

    /// The process did not run until `now`: what is read next was sent in the meantime.
    pub fn stood_still(&mut self, now: MonoNs, events: &mut dyn FnMut(FeedEvent)) {
        self.timing.backlog().stood_still(now);
        self.notify_behind(events);
    }

    /// Time has passed.
    pub fn elapsed(&mut self, now: MonoNs, events: &mut dyn FnMut(FeedEvent)) {
        self.timing.backlog().elapsed(now);
        self.notify_behind(events);
    }

    /// When [`Self::elapsed`] is to be called.
    #[must_use]
    pub fn deadline(&self) -> Option<MonoNs> {
        self.timing.deadline()
    }

    /// Whether the connection has a backlog or is unusually silent.
    #[inline]
    #[must_use]
    pub(crate) fn has_backlog(&self) -> bool {
        self.timing.is_behind()
    }

    /// Notifies the detector when the connection falls behind or catches up.
    #[inline]
    fn notify_behind(&mut self, events: &mut dyn FnMut(FeedEvent)) {
        let is_behind = self.is_open && self.timing.is_behind();
        if is_behind != self.is_behind {
            self.gauges.backlog.behind.replace(u64::from(self.is_behind), u64::from(is_behind));
            self.gauges.backlog.begun.add(u64::from(is_behind));
            self.is_behind = is_behind;
            events(FeedEvent::Behind(self.id, self.line, is_behind));
        }
    }

    /// The quote of a top that was read at `received` and decoded at `decoded`.
    #[inline]
    pub fn quote(&mut self, top: &Top, received: MonoNs, decoded: MonoNs) -> Quote {
        let exchange_time = match self.stamps.read(top.exchange_time, received) {
            Ok(()) => top.exchange_time,
            Err(instead) => {
                self.gauges.lag.future_stamps.add(1);
                instead
            }
        };
        let Lateness { late_ns, delay, excess_ns } = self.timing.of(top.instrument, exchange_time, received);
        self.gauges.quotes.decoded.add(1);
        self.gauges.lag.lagged.add(u64::from(delay == Delay::Lagging));
        Quote {
            instrument: top.instrument,
            venue: self.id,
            bid: top.bid,
            ask: top.ask,
            sequence: top.sequence,
            exchange_time,
            // A delayed price is as old as if it had been read when it should have arrived.
            received: MonoNs(received.0.saturating_sub(late_ns)),
            decoded,
            source: self.source,
            origin: Origin::Own,
            line: self.line,
            delay,
            excess: excess_ns.map_or(ExcessLag::NONE, |ns| ExcessLag::of(ns, self.clock.unit_ns())),
            is_conflated: false,
        }
    }

    /// Reports to the detector what timestamps show, if that is due before the quote that was read at `received`.
    #[inline]
    pub(crate) fn report_clock(&mut self, received: MonoNs, events: &mut dyn FnMut(FeedEvent)) {
        if self.clock.is_due(&self.timing, received) {
            self.send_clock(received, events);
        }
    }

    /// Everything that was read at `received` has been decoded.
    #[inline]
    pub(crate) fn end_read(&mut self, received: MonoNs, events: &mut dyn FnMut(FeedEvent)) {
        self.timing.end_read();
        if self.clock.has_witness() || self.clock.is_due(&self.timing, received) {
            self.send_clock(received, events);
        }
    }

    #[cold]
    fn send_clock(&mut self, now: MonoNs, events: &mut dyn FnMut(FeedEvent)) {
        if let Some(clock) = self.clock.report(&mut self.timing, now) {
            events(FeedEvent::Clock(self.id, self.line, clock));
        }
    }

    /// Stores day statistics that were read at `received`.
    pub fn statistics(&mut self, day: &DayStatistics, received: MonoNs) {
        self.timing.take_days(day.exchange_time, received);
        self.days.store(self.directory.pair(day.instrument, self.id), day);
    }

    /// A message with this timestamp that is not a quote was read at `received`. A timestamp in the future shows nothing.
    pub fn witness(&mut self, stamp: UnixNs, received: MonoNs) {
        if self.stamps.read(stamp, received).is_err() {
            self.gauges.lag.future_stamps.add(1);
            return;
        }
        self.timing.take_days(stamp, received);
        self.clock.witness(stamp);
    }

    /// The last quote of the instrument no longer holds.
    pub fn void(&self, instrument: InstrumentId, why: BookVoid, events: &mut dyn FnMut(FeedEvent)) {
        events(FeedEvent::Void(instrument, self.id, Origin::Own, why));
    }

    /// The connection is lost: none of its quotes holds any longer.
    pub fn down(&self, events: &mut dyn FnMut(FeedEvent)) {
        events(FeedEvent::Down(self.id, Origin::Own));
    }

    /// Our wall clock shows `unix` at `now`; `trip_ns` is the shortest round trip. Publishes the offset of the venue's
    /// clock.
    pub fn set_wall(&mut self, now: MonoNs, unix: UnixNs, trip_ns: Option<u64>) {
        self.clock.set_trip(trip_ns);
        if self.stamps.set_wall(now, unix) {
            self.gauges.lag.clock.forget();
        }
        if let Some((offset_ns, one_way_ns)) = self.stamps.value(trip_ns) {
            self.gauges.lag.clock.set(offset_ns, one_way_ns);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::market::Decimal;
    use crate::market::directory::VenueEntry;
    use crate::time::{MS, SECOND};
    use crate::venues;

    #[test]
    fn a_witness_in_the_future_shows_nothing() {
        let entry = VenueEntry { name: "binance".into(), taker_fee_pct: Decimal::ZERO, native: vec![None] };
        let directory = Arc::new(Directory::new(vec!["BTC/USDT".into()], vec![entry]));
        let board = Arc::new(Board::new(MonoNs(0), 1, 1));
        let days = Arc::new(DayTable::new(directory.pairs()));
        let stamps = venues::venue("binance").unwrap().facts().stamps;
        let mut tops = Tops::new((VenueId(0), stamps), &board, &directory, days);
        let (begin, unix) = (MonoNs(1000 * SECOND), UnixNs(1_700_000_000 * SECOND));
        tops.begin(begin);
        tops.set_wall(begin, unix, None);
        let mut witnessed = UnixNs(0);
        let mut see = |tops: &mut Tops, at_ms: u64, ahead_ns: u64| {
            let now = begin.plus(at_ms * MS);
            tops.witness(UnixNs(unix.0 + at_ms * MS - 20 * MS + ahead_ns), now);
            tops.end_read(now, &mut |event| {
                if let FeedEvent::Clock(_, _, clock) = event {
                    witnessed = clock.witnessed;
                }
            });
            witnessed.0.saturating_sub(unix.0) / MS
        };
        (0..20).for_each(|n| assert_eq!(see(&mut tops, 100 + n * 100, 0), 80 + n * 100));
        assert_eq!(see(&mut tops, 2200, 10 * SECOND), 1980, "the one before");
        assert_eq!(see(&mut tops, 2300, 0), 2280);
        assert_eq!(board.venues[0].lag.future_stamps.value(), 1);
    }
}
