//! How late the quotes of one connection are: from their own timestamps, or, for quotes without, from those of the day
//! statistics and, in a backlog, from their position among the waiting bytes. One per connection, on its feed's thread;
//! [`Timing::of`] is on the path of every quote and allocates nothing.

use crate::feed::backlog::Backlog;
use crate::feed::kind::ChannelGauges;
use crate::feed::lag::{self, Lag};
use crate::feed::reference::{CachedReference, Reference};
use crate::market::InstrumentId;
use crate::market::quote::Delay;
use crate::time::{MonoNs, UnixNs};

/// How late a quote is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lateness {
    /// Time between sending and reading, beyond the usual time, that makes the quote older, in nanoseconds.
    pub late_ns: u64,
    /// Whether it makes the quote unfit as a leg.
    pub delay: Delay,
    /// The excess lag in nanoseconds; `None` if unknown.
    pub(crate) excess_ns: Option<u64>,
}

/// Timing of one connection. What is usual outlives the connection.
pub(crate) struct Timing {
    gauges: ChannelGauges,
    /// By instrument: the last timestamp of its quotes.
    stamped: Vec<UnixNs>,
    lag: Lag,
    /// Lag of the day statistics, used for quotes without timestamps.
    lag_of_days: Lag,
    /// Delay of quotes without timestamps according to the day statistics, in nanoseconds; 0 from the end of a backlog to
    /// the next day statistics.
    late_by_days_ns: u64,
    reference: CachedReference,
    /// Reads carry the time at which the bytes arrived. Without that, no lag is measured.
    is_timed: bool,
    /// The gauge shows a lag.
    is_lag_shown: bool,
    backlog: Backlog,
}

impl Timing {
    /// Timing of a connection with instruments below `instruments`.
    #[must_use]
    pub fn new(gauges: ChannelGauges, instruments: usize) -> Self {
        Self {
            gauges,
            stamped: vec![UnixNs(0); instruments],
            lag: Lag::default(),
            lag_of_days: Lag::default(),
            late_by_days_ns: 0,
            reference: CachedReference::default(),
            is_timed: true,
            is_lag_shown: false,
            backlog: Backlog::default(),
        }
    }

    /// A new connection begins.
    pub fn begin(&mut self, now: MonoNs) {
        self.lag.begin(now);
        self.lag_of_days.begin(now);
        self.late_by_days_ns = 0;
        self.reference.forget();
        self.backlog.begin(now);
    }

    /// The connection is closed.
    pub fn close(&mut self) {
        if std::mem::take(&mut self.is_lag_shown) {
            self.gauges.lag.lag_ns.set(0);
        }
    }

    /// Whether reads carry the time at which the bytes arrived.
    pub(crate) const fn set_timed(&mut self, is_timed: bool) {
        self.is_timed = is_timed;
    }

    /// Copies what another connection to the venue has measured as usual, where this one has no measurement.
    pub(crate) fn learn_from(&mut self, other: &Self) {
        self.lag.learn_from(&other.lag);
        self.lag_of_days.learn_from(&other.lag_of_days);
        self.backlog.learn_from(&other.backlog);
    }

    /// The backlog of the connection.
    #[inline]
    #[must_use]
    pub const fn backlog(&mut self) -> &mut Backlog {
        &mut self.backlog
    }

    /// Whether the connection has a backlog or is unusually silent.
    #[inline]
    #[must_use]
    pub fn is_behind(&self) -> bool {
        self.backlog.is_behind()
    }

    /// Whether the connection as a whole is late by the timestamps that its quotes are judged by.
    #[inline]
    #[must_use]
    pub(crate) fn is_lagging(&self) -> bool {
        if self.lag.usual().is_some() { self.lag.is_lagging() } else { self.lag_of_days.is_lagging() }
    }

    /// When the backlog's [`Backlog::elapsed`] is to be called.
    #[must_use]
    pub fn deadline(&self) -> Option<MonoNs> {
        self.backlog.deadline()
    }

    /// Everything that was read has been decoded.
    #[inline]
    pub(crate) fn end_read(&mut self) {
        if self.backlog.end_read() {
            self.late_by_days_ns = 0;
        }
    }

    /// How much later than it was sent a quote was read, beyond the usual delay and beyond what the other clocks show.
    /// A repeated timestamp of an instrument is not a measurement.
    #[inline]
    pub fn of(&mut self, instrument: InstrumentId, stamp: UnixNs, received: MonoNs) -> Lateness {
        if stamp.0 == 0 {
            return self.of_unstamped(received);
        }
        if !self.is_timed {
            return Lateness::default();
        }
        let is_repeated = match self.stamped.get_mut(instrument.index()) {
            Some(last) => std::mem::replace(last, stamp) == stamp,
            None => false,
        };
        let excess_ns = if is_repeated { self.lag.excess_ns() } else { self.take_stamp(stamp, received) };
        if self.backlog.is_behind() {
            self.backlog.proven(excess_ns, lag::LAGGING_NS, received);
        }
        let is_lagging = excess_ns > lag::LAGGING_NS || self.lag.is_lagging();
        self.show_lag(is_lagging, excess_ns);
        let delay = if is_lagging { Delay::Lagging } else { Delay::None };
        Lateness { late_ns: self.reported_ns(excess_ns), delay, excess_ns: Some(excess_ns) }
    }

    #[inline]
    fn of_unstamped(&mut self, received: MonoNs) -> Lateness {
        let days = &self.lag_of_days;
        let excess_ns = days.excess_ns();
        let is_lagging = excess_ns > lag::LAGGING_NS || days.is_lagging();
        let delay = if is_lagging || days.is_unproven(received) { Delay::Lagging } else { Delay::None };
        let late_ns = self.backlog.late_ns().unwrap_or(self.reported_ns(self.late_by_days_ns));
        self.show_lag(is_lagging, excess_ns);
        Lateness { late_ns, delay, excess_ns: self.lag_of_days.usual().map(|_| excess_ns) }
    }

    /// Our monotonic clock minus the venue's clock, and the largest error of it, both in nanoseconds. The transit of
    /// the fastest message took at most a round trip of `trip_ns`, unless the clocks show that it took longer. `None`
    /// until there is a timestamp.
    #[must_use]
    pub fn clock(&mut self, trip_ns: Option<u64>, now: MonoNs) -> Option<(i64, Option<u64>)> {
        let (at, difference) = self.lag.envelope().or(self.lag_of_days.envelope())?;
        let Some((trip_ns, reference)) = trip_ns.zip(self.reference(now)) else { return Some((difference, None)) };
        let wall = self.gauges.board().wall.value().filter(|_| reference.is_sure).unwrap_or(reference.difference);
        let way_ns = u64::try_from(difference.saturating_sub(wall)).unwrap_or(0).max(trip_ns);
        let offset_ns = difference.saturating_sub_unsigned(way_ns / 2);
        Some((offset_ns, Some(way_ns.div_ceil(2) + lag::drift_ns(now.since(at)))))
    }

    /// The usual difference of our monotonic clock and the timestamps, in nanoseconds.
    #[inline]
    #[must_use]
    pub fn usual(&self) -> Option<i64> {
        self.lag.usual().or_else(|| self.lag_of_days.usual())
    }

    /// The part of a lag that makes a quote older: all of it in a backlog, where it is not jitter.
    #[inline]
    fn reported_ns(&self, excess_ns: u64) -> u64 {
        if self.backlog.is_behind() { excess_ns } else { lag::beyond_jitter_ns(excess_ns) }
    }

    /// The lag of a message with this timestamp. The usual difference of this connection is the venue's vote on the time
    /// of day.
    #[inline]
    fn take_stamp(&mut self, stamp: UnixNs, received: MonoNs) -> u64 {
        let before = self.lag.usual();
        if before.is_none() {
            self.vote(Some(lag::difference(stamp, received)));
            self.reference.forget();
        }
        let reference = self.reference(received);
        let excess_ns = self.lag.take(stamp, received, reference);
        if self.lag.usual() != before {
            self.vote(self.lag.usual());
        }
        excess_ns
    }

    /// Day statistics arrived. Their timestamp is that of sending, so they measure the lag for quotes without timestamps.
    pub(crate) fn take_days(&mut self, stamp: UnixNs, received: MonoNs) {
        if stamp.0 == 0 || !self.is_timed {
            return;
        }
        let reference = self.reference(received);
        let excess_ns = self.lag_of_days.take(stamp, received, reference);
        self.late_by_days_ns = excess_ns;
        if self.lag.usual().is_none() {
            self.vote(self.lag_of_days.usual());
        }
        if self.backlog.is_behind() {
            self.backlog.proven(excess_ns, lag::LAGGING_NS, received);
        }
    }

    #[inline]
    fn reference(&mut self, now: MonoNs) -> Option<Reference> {
        self.reference.at(now, self.gauges.board())
    }

    #[inline]
    fn vote(&self, usual: Option<i64>) {
        if let Some(usual) = usual {
            self.gauges.lag.usual.set(usual);
        }
    }

    /// Shows the lag of the quotes while they are lagging.
    #[inline]
    fn show_lag(&mut self, is_lagging: bool, excess_ns: u64) {
        if is_lagging || self.is_lag_shown {
            self.is_lag_shown = is_lagging;
            self.gauges.lag.lag_ns.set(if is_lagging { excess_ns } else { 0 });
        }
    }
}
