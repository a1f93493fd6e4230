//! Counters and gauges of one venue, by subject. The feed thread of the venue writes all of them except
//! [`QuoteGauges::dropped`], which the detector writes.

use std::sync::Arc;

use arc_swap::ArcSwapOption;

use crate::metrics::reasons::{BookVoid, Counts, DecodeReason, DropReason};
use crate::metrics::{BreakerGauges, Counter, Difference, Gauge};
use crate::time::MonoNs;

/// One venue's connections for prices, or those for order books.
#[derive(Debug, Default)]
pub struct VenueGauges {
    source: Gauge,
    /// Its connections.
    pub connection: ConnectionGauges,
    /// Attempts to open a connection.
    pub dial: DialGauges,
    /// What arrived on its connections.
    pub read: ReadGauges,
    /// Its quotes; for order books, the changes of its books.
    pub quotes: QuoteGauges,
    /// How late its quotes are, and what its timestamps show about its clock.
    pub lag: LagGauges,
    /// Connections that read older data than the venue has sent.
    pub backlog: BacklogGauges,
    /// Its instruments.
    pub coverage: CoverageGauges,
    /// Instruments and connections without data.
    pub silence: SilenceGauges,
    /// Messages of the venue to us.
    pub replies: ReplyGauges,
    /// Order books that became void; only for book connections.
    pub voids: Counts<BookVoid>,
}

impl VenueGauges {
    /// Source of its numbers, as `market::quote::Source as u8`.
    #[must_use]
    pub fn source(&self) -> u8 {
        self.source.value() as u8
    }

    /// Records the source of its numbers.
    pub fn set_source(&self, source: u8) {
        self.source.set(u64::from(source));
    }
}

/// State of a venue's connection. The state of its data is separate: see the ages of its quotes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum LinkState {
    /// Not dialled yet.
    #[default]
    Idle = 0,
    /// Resolving, connecting, upgrading.
    Connecting = 1,
    /// Open and subscribed.
    Connected = 2,
    /// Waiting before the next attempt.
    Backoff = 3,
    /// Not needed: another instance of the cluster is connected.
    Standby = 4,
}

impl LinkState {
    /// The words of system 2, and `standby`.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Idle => "disconnected",
            Self::Connecting => "connecting",
            Self::Connected => "connected",
            Self::Backoff => "reconnecting",
            Self::Standby => "standby",
        }
    }

    /// How near the state is to a live connection, from 0. The state of several connections is the one with the highest
    /// rank.
    #[must_use]
    pub(crate) const fn rank(self) -> u8 {
        match self {
            Self::Idle => 0,
            Self::Standby => 1,
            Self::Backoff => 2,
            Self::Connecting => 3,
            Self::Connected => 4,
        }
    }

    const fn from_u64(n: u64) -> Self {
        match n {
            1 => Self::Connecting,
            2 => Self::Connected,
            3 => Self::Backoff,
            4 => Self::Standby,
            _ => Self::Idle,
        }
    }
}

/// The connections of a venue.
#[derive(Debug, Default)]
pub struct ConnectionGauges {
    state: Gauge,
    /// When the connection was opened; 0 while it is not.
    pub since: Gauge,
    /// Open connections,
    pub open: Gauge,
    /// and how many there should be.
    pub wanted: Gauge,
    /// Attempts that ended with an open connection.
    pub connects: Counter,
    /// Connections lost after they were open.
    pub disconnects: Counter,
    /// Connections that were replaced by a new one before they ended.
    pub replaced: Counter,
    last_error: ArcSwapOption<String>,
}

impl ConnectionGauges {
    /// State of the connection.
    #[must_use]
    pub fn state(&self) -> LinkState {
        LinkState::from_u64(self.state.value())
    }

    /// Records a change of the connection's state.
    pub fn set_state(&self, state: LinkState, now: MonoNs) {
        self.state.set(state as u64);
        self.since.set(if state == LinkState::Connected { now.0 } else { 0 });
    }

    /// Whether it is or was connected. Before that, the source of its numbers is unknown.
    #[must_use]
    pub(crate) fn was_connected(&self) -> bool {
        self.connects.value() > 0 || self.state() == LinkState::Connected
    }

    /// The last error of the connection, as text.
    #[must_use]
    pub fn last_error(&self) -> Option<Arc<String>> {
        self.last_error.load_full()
    }

    /// Stores an error. Allocates, so not for the hot path.
    pub fn set_last_error(&self, text: &str) {
        self.last_error.store(Some(Arc::new(crate::log::tamed(text))));
    }
}

/// Attempts to open a connection to a venue.
#[derive(Debug, Default)]
pub struct DialGauges {
    /// Attempts to connect.
    pub attempts: Counter,
    /// Immediate retries requested by an admin call or a signal.
    pub retries: Counter,
    /// Failed attempts and lost connections since data last flowed.
    pub consecutive_errors: Gauge,
    /// Consecutive errors without a byte from the venue.
    pub(crate) unanswered: Gauge,
    /// When the next attempt is due, [`MonoNs`]; 0 if none is scheduled.
    pub next_attempt: Gauge,
    /// Until when the venue asked us to wait, [`MonoNs`]; 0 if it never did.
    pub held_until: Gauge,
    /// Attempts that failed because the certificate or TLS of the other end was rejected.
    pub tls_refused: Counter,
    /// The circuit breaker of its address.
    pub breaker: BreakerGauges,
}

impl DialGauges {
    /// Records that an attempt or a connection ended, or an upgrade completed. `is_answer`: whether the venue sent
    /// anything; `None`: unknown.
    pub(crate) fn count_failure(&self, is_answer: Option<bool>) {
        match is_answer {
            Some(true) => self.unanswered.set(0),
            Some(false) => self.unanswered.set(self.unanswered.value() + 1),
            None => {}
        }
    }
}

/// Bytes and messages from a venue.
#[derive(Debug, Default)]
pub struct ReadGauges {
    /// When the last bytes arrived from the venue, [`MonoNs`]; 0 before the first.
    pub last_bytes: Gauge,
    /// Bytes read from the socket, after TLS.
    pub bytes: Counter,
    /// Messages read.
    pub frames: Counter,
    /// Messages of unused channels.
    pub frames_unused: Counter,
    /// Frames that could not be decoded.
    pub decode_errors: Counts<DecodeReason>,
    /// Turns that ended before all bytes read from the socket were decoded.
    pub turns_cut: Counter,
    /// Book pages that were not read because they exceeded `net::dial::BOOK_PAGE_MAX`.
    pub pages_refused: Counter,
}

/// Quotes of a venue, from the decoder to the matrix.
#[derive(Debug, Default)]
pub struct QuoteGauges {
    /// Tops of book decoded.
    pub decoded: Counter,
    /// Quotes conflated because the ring was full; only the newest of each instrument remains.
    pub ring_conflated: Counter,
    /// Rejected quotes.
    pub dropped: Counts<DropReason>,
}

/// Lag of a venue's quotes by its own timestamps, and its clock.
#[derive(Debug, Default)]
pub struct LagGauges {
    /// Decoded quotes that were, by the venue's own timestamps, so much later than usual that their age was corrected.
    pub lagged: Counter,
    /// Lag of its quotes in nanoseconds while they are lagging; otherwise 0.
    pub lag_ns: Gauge,
    /// Our monotonic clock minus the venue's timestamps, measured on its fastest frames; `None` for a venue that sends no
    /// timestamps.
    pub usual: Difference,
    /// Timestamps later than their arrival by more than clocks usually differ.
    pub future_stamps: Counter,
    /// Offset of its clock, if known.
    pub clock: ClockGauges,
}

/// Offset between a venue's clock and ours.
#[derive(Debug, Default)]
pub struct ClockGauges {
    offset: Gauge,
    one_way: Gauge,
    known: Gauge,
}

impl ClockGauges {
    /// Records how far our wall clock is ahead of the venue's (negative: behind), and the shortest transit time of a
    /// frame; both in nanoseconds.
    pub fn set(&self, offset_ns: i64, one_way_ns: u64) {
        self.offset.set(offset_ns as u64);
        self.one_way.set(one_way_ns);
        self.known.set(1);
    }

    /// Discards the recorded values.
    pub fn forget(&self) {
        self.known.set(0);
    }

    /// The values recorded by [`Self::set`]; `None` before, and for a venue without timestamps.
    #[must_use]
    pub fn value(&self) -> Option<(i64, u64)> {
        (self.known.value() > 0).then(|| (self.offset.value() as i64, self.one_way.value()))
    }
}

/// Connections of a venue that are behind.
#[derive(Debug, Default)]
pub struct BacklogGauges {
    /// Connections that have a backlog or are unusually silent, so that their quotes cannot be legs.
    pub behind: Gauge,
    /// How often this state began.
    pub begun: Counter,
    /// Reads after a pause of 200 ms or more,
    pub pause_reads: Counter,
    /// bytes that these reads found, both read and still in the socket,
    pub waiting_bytes: Counter,
    /// and the most bytes that one of them found.
    pub waiting_bytes_max: Gauge,
}

impl BacklogGauges {
    /// Counts a read after a pause, which found this many bytes.
    pub(crate) fn count_pause_read(&self, found: u64) {
        self.pause_reads.add(1);
        self.waiting_bytes.add(found);
        self.waiting_bytes_max.set(self.waiting_bytes_max.value().max(found));
    }
}

/// Instruments of a venue.
#[derive(Debug, Default)]
pub struct CoverageGauges {
    /// Instruments with an acknowledged subscription on an open connection.
    pub subscribed: Gauge,
    /// Instruments that were requested but never arrived: rejected or ignored by the venue.
    pub missing: FaultyPairs,
    /// Instruments whose checksum failed repeatedly.
    pub(crate) checksum: FaultyPairs,
    /// Instruments with three or more unreadable frames within a minute.
    pub unreadable: FaultyPairs,
}

/// Instruments that have the same fault now.
#[derive(Debug, Default)]
pub struct FaultyPairs {
    /// How many.
    pub pairs: Gauge,
    /// One of these, as its index in the directory; meaningless while there are none.
    pub one: Gauge,
}

impl FaultyPairs {
    /// Replaces the share of one connection. `one`: the index of one of its instruments with the fault.
    pub fn replace(&self, before: u64, now: u64, one: impl FnOnce() -> Option<u64>) {
        self.pairs.replace(before, now);
        if now > 0
            && let Some(one) = one()
        {
            self.one.set(one);
        }
    }
}

/// Instruments and connections of a venue that are or were silent.
#[derive(Debug, Default)]
pub struct SilenceGauges {
    /// Instruments that are subscribed and quoted, but silent for longer than usual.
    pub pairs: Gauge,
    /// How often an instrument became silent.
    pub silenced: Counter,
    /// How often a single instrument was resubscribed.
    pub(crate) resubscribed: Counter,
    /// Silences that closed a connection.
    pub closed: Counter,
    /// Connections that were open, but received no price in time after subscribing.
    pub mute: Counter,
}

/// Messages of a venue that are not data.
#[derive(Debug, Default)]
pub struct ReplyGauges {
    /// Rejected subscriptions and requests.
    pub refused: Counter,
    /// Announcements of the venue, such as a restart or maintenance.
    pub notices: Counter,
    last_notice: ArcSwapOption<String>,
}

impl ReplyGauges {
    /// The last announcement of the venue, as text.
    #[must_use]
    pub fn last_notice(&self) -> Option<Arc<String>> {
        self.last_notice.load_full()
    }

    /// Counts and stores an announcement of the venue. Allocates.
    pub(crate) fn count_notice(&self, text: &str) {
        self.notices.add(1);
        self.last_notice.store(Some(Arc::new(crate::log::tamed(text))));
    }
}
