//! A quote: the best bid and ask of one instrument on one venue, with timestamps.

use crate::market::{Decimal, InstrumentId, VenueId};
use crate::metrics::reasons::BookVoid;
use crate::settings::section;
use crate::time::{MS, MonoNs, UnixNs};

section! {
    /// Validity of quotes.
    #[derive(Copy)]
    QuoteOptions {
        /// Milliseconds after which a quote without an update is no longer used as a price.
        stale_after_ms: u64 = 30_000, 100..=3_600_000;
    }
}

impl QuoteOptions {
    /// [`Self::stale_after_ms`] in nanoseconds.
    #[must_use]
    pub(crate) const fn stale_after_ns(&self) -> u64 {
        self.stale_after_ms * MS
    }
}

/// One side of a top of book.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Level {
    /// Price in quote currency per unit of base; zero if the side is empty.
    pub price: Decimal,
    /// Size in units of base.
    pub size: Decimal,
}

impl Level {
    /// An empty side.
    pub const ABSENT: Self = Self { price: Decimal::ZERO, size: Decimal::ZERO };

    /// Whether the side has a price and a size. An absent side is not a price of 0.
    #[must_use]
    pub const fn is_present(&self) -> bool {
        !self.price.is_zero() && !self.size.is_zero()
    }
}

/// The top of book of one instrument on one venue at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quote {
    /// The quoted instrument.
    pub instrument: InstrumentId,
    /// The quoting venue.
    pub venue: VenueId,
    /// Best bid; may be absent.
    pub bid: Level,
    /// Best ask; may be absent.
    pub ask: Level,
    /// The venue's sequence number of this quote within its instrument, equal on every connection; 0 if the venue has
    /// none.
    pub sequence: u64,
    /// The venue's timestamp; 0 if the venue sends none.
    pub exchange_time: UnixNs,
    /// When its last byte was read from the socket.
    pub received: MonoNs,
    /// When the codec had decoded it.
    pub decoded: MonoNs,
    /// Whether it is live, simulated or replayed.
    pub source: Source,
    /// How it reached this process.
    pub origin: Origin,
    /// The connection that delivered it.
    pub line: LineId,
    /// Whether it arrived late.
    pub delay: Delay,
    /// How much later than usual it arrived.
    pub excess: ExcessLag,
    /// It replaced quotes of its instrument that the detector has not seen, because their ring was full.
    pub is_conflated: bool,
}

/// How much later than usual for its connection a quote arrived, in microseconds, truncated to the unit of the venue's
/// timestamps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExcessLag(u32);

impl ExcessLag {
    /// Unknown: the quote has no timestamp, and its connection no witness.
    pub const NONE: Self = Self(u32::MAX);

    /// From nanoseconds, for timestamps in this unit.
    #[inline]
    #[must_use]
    pub const fn of(ns: u64, unit_ns: u64) -> Self {
        let us = ns / unit_ns * unit_ns / 1000;
        Self(if us < u32::MAX as u64 { us as u32 } else { u32::MAX - 1 })
    }

    /// In microseconds; `None` if unknown.
    #[must_use]
    pub const fn us(self) -> Option<u64> {
        if self.0 == u32::MAX { None } else { Some(self.0 as u64) }
    }

    /// The inverse of [`Self::to_bits`].
    #[must_use]
    pub(crate) const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// As stored in a cell.
    #[must_use]
    pub const fn to_bits(self) -> u32 {
        self.0
    }
}

impl Default for ExcessLag {
    fn default() -> Self {
        Self::NONE
    }
}

/// What the timestamps of one connection show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LineClock {
    /// Our monotonic clock minus the venue's clock, in nanoseconds.
    pub offset_ns: i64,
    /// The largest error of the offset in nanoseconds; `None` until a round trip is known.
    pub(crate) error_ns: Option<u64>,
    /// The newest timestamp of a message that is not a quote; 0: none.
    pub(crate) witnessed: UnixNs,
    /// Unit of the timestamps in nanoseconds.
    pub(crate) unit_ns: u64,
    /// What a later timestamp shows about earlier changes,
    pub order: StampOrder,
    /// except those of this time before it, in nanoseconds.
    pub(crate) slack_ns: u64,
    /// Whether the connection as a whole is late, so that no quote of it can be a leg, not even one that was on time.
    pub(crate) is_lagging: bool,
}

/// Whether a quote arrived too late to be a leg of an opportunity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Delay {
    /// On time, or the delay is unknown.
    #[default]
    None = 0,
    /// Much later than usual for its line, according to the venue's timestamps.
    Lagging = 1,
}

impl Delay {
    /// The inverse of `self as u8`; anything unknown is [`Delay::None`].
    #[must_use]
    pub(crate) const fn from_u8(n: u8) -> Self {
        match n {
            1 => Self::Lagging,
            _ => Self::None,
        }
    }
}

/// Within which messages a venue sends in the order of its timestamps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StampOrder {
    /// All messages of a connection: a timestamp shows that the changes before it have arrived.
    Connection,
    /// The messages of one instrument in one channel.
    Channel,
    /// Unknown, or not in order.
    #[default]
    None,
}

impl StampOrder {
    /// The word in tables.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Connection => "connection",
            Self::Channel => "channel",
            Self::None => "none",
        }
    }
}

/// One connection from its opening to its end, or one leader of the cluster. Quotes of one line are in the order of
/// their arrival. Unique within the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct LineId(u32);

impl LineId {
    /// No line. Such quotes are not ordered by arrival.
    pub const NONE: Self = Self(0);

    /// This bit marks the lines of leaders.
    const LEADER: u32 = 1 << 31;

    /// Our own connection with this number.
    #[must_use]
    pub const fn own(number: u32) -> Self {
        Self(number & !Self::LEADER | (number & !Self::LEADER == 0) as u32)
    }

    /// Its number.
    #[inline]
    #[must_use]
    pub const fn number(self) -> usize {
        self.0 as usize
    }

    /// Whether it is a connection of our own.
    #[must_use]
    pub const fn is_own(self) -> bool {
        self.0 != 0 && self.0 & Self::LEADER == 0
    }

    /// The line of the leader with this fencing token. A token of 0 means no leader.
    #[must_use]
    pub(crate) const fn of_leader(token: u64) -> Self {
        if token == 0 { Self::NONE } else { Self(token as u32 | Self::LEADER) }
    }
}

impl Quote {
    /// Both sides present.
    #[must_use]
    pub(crate) const fn is_two_sided(&self) -> bool {
        self.bid.is_present() && self.ask.is_present()
    }

    /// Whether the bid is above the ask. Such a quote cannot be executed on the venue and is never accepted.
    #[must_use]
    pub(crate) fn is_crossed(&self) -> bool {
        self.is_two_sided() && self.bid.price > self.ask.price
    }
}

/// Where a number comes from. Every output that shows a number also shows its source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Source {
    /// The venue's own server.
    #[default]
    Live = 0,
    /// A simulated venue.
    Simulated = 1,
    /// A capture file.
    Replay = 2,
}

impl Source {
    /// The word shown to people and clients.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Simulated => "simulated",
            Self::Replay => "replay",
        }
    }

    /// The inverse of `self as u8`; anything unknown is [`Source::Live`].
    #[must_use]
    pub(crate) const fn from_u8(n: u8) -> Self {
        match n {
            1 => Self::Simulated,
            2 => Self::Replay,
            _ => Self::Live,
        }
    }
}

/// How a quote reached this process: the levels of the fallback, best first. A better origin never makes an older quote
/// preferable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Origin {
    /// Read from the venue by this process.
    #[default]
    Own = 0,
    /// Read by the leader of the venue and pushed to us.
    Shared = 1,
    /// Read from Redis: the last quote that a leader stored there.
    Redis = 2,
    /// Read from the local disk: the last quote that an earlier run knew.
    Disk = 3,
}

impl Origin {
    /// The word for clients: the levels of system 2, and `shared` in addition.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Own => "websocket",
            Self::Shared => "shared",
            Self::Redis => "redis_cache",
            Self::Disk => "local_cache",
        }
    }

    /// Whether the quote was pushed when it changed. Only such a quote can cause an alert.
    #[must_use]
    pub(crate) const fn is_pushed(self) -> bool {
        matches!(self, Self::Own | Self::Shared)
    }

    /// Whether a report of this origin that a quote is void applies to a quote of the origin `other`. A report of our
    /// own connection covers our own quotes only; a report of the leader covers all quotes that any leader read.
    #[must_use]
    pub fn voids(self, other: Self) -> bool {
        self == other || (self == Self::Shared && other != Self::Own)
    }

    /// The inverse of `self as u8`; anything unknown is [`Origin::Disk`], the lowest level.
    #[must_use]
    pub(crate) const fn from_u8(n: u8) -> Self {
        match n {
            0 => Self::Own,
            1 => Self::Shared,
            2 => Self::Redis,
            _ => Self::Disk,
        }
    }
}

/// What a feed thread sends to the detector, in the order in which it happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FeedEvent {
    /// A new top of book.
    Quote(Quote),
    /// The last quote of one instrument is void until the next one, for this reason. [`Origin::voids`] defines to which
    /// quotes this applies.
    Void(InstrumentId, VenueId, Origin, BookVoid),
    /// Whether a connection is behind, because of a backlog or unusual silence. While it is, its quotes cannot be legs.
    /// `false`: it has caught up.
    Behind(VenueId, LineId, bool),
    /// What the timestamps of a connection show has changed, or a message that is not a quote had a timestamp.
    Clock(VenueId, LineId, LineClock),
    /// A connection to a venue, or a leader of it, has ended or given way to another one. Its quotes stay valid, but its
    /// timestamps no longer decide whether a quote of another connection is late.
    LineEnded(VenueId, LineId),
    /// All quotes of a venue with this origin are void, because the connection is lost or silent.
    Down(VenueId, Origin),
    /// Our own connection to a venue was closed because another instance leads the venue. Its quotes stay valid, and
    /// reports of the leader now apply to them.
    Left(VenueId),
}
