//! A quote: the best bid and ask of one instrument on one venue, with the stamps of its way.

use crate::market::book::BookVoid;
use crate::market::{Decimal, InstrumentId, VenueId};
use crate::time::{MonoNs, UnixNs};

/// One side of a top of book.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Level {
    /// In quote currency per unit of base. Zero means that the side is empty.
    pub price: Decimal,
    /// In units of base.
    pub size: Decimal,
}

impl Level {
    /// An empty side.
    pub const ABSENT: Self = Self { price: Decimal::ZERO, size: Decimal::ZERO };

    /// Whether the side has a price and a size; an absent side is never a price of 0.
    #[must_use]
    pub const fn is_present(&self) -> bool {
        !self.price.is_zero() && !self.size.is_zero()
    }
}

/// The top of book of one instrument on one venue at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quote {
    /// What is quoted.
    pub instrument: InstrumentId,
    /// Where.
    pub venue: VenueId,
    /// Best bid; may be absent.
    pub bid: Level,
    /// Best ask; may be absent.
    pub ask: Level,
    /// The venue's own order number of this quote within its instrument, the same on every connection; 0 where the
    /// venue has none.
    pub sequence: u64,
    /// The venue's stamp; 0 where the venue sends none.
    pub exchange_time: UnixNs,
    /// When its last byte was read from the socket.
    pub received: MonoNs,
    /// When the codec had read it.
    pub decoded: MonoNs,
    /// What sent it.
    pub source: Source,
    /// How it came here.
    pub origin: Origin,
    /// The connection that it came by.
    pub line: LineId,
    /// Whether it was late when it came.
    pub delay: Delay,
}

/// Whether a quote came so late that it is no leg of an opportunity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Delay {
    /// As fast as usual, or nothing tells.
    #[default]
    None = 0,
    /// By the venue's stamps, much later than usual for its line.
    Lagging = 1,
}

impl Delay {
    /// The inverse of `self as u8`; anything unknown is [`Delay::None`].
    #[must_use]
    pub const fn from_u8(n: u8) -> Self {
        match n {
            1 => Self::Lagging,
            _ => Self::None,
        }
    }
}

/// One connection from its opening to its end, or one leader of the cluster: quotes of the same line are in the order
/// in which they arrived. Unique within the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct LineId(u32);

impl LineId {
    /// No line: quotes of it are not ordered by their arrival.
    pub const NONE: Self = Self(0);

    /// The set bit that tells the lines of leaders from our own.
    const LEADER: u32 = 1 << 31;

    /// Our own connection with this number.
    #[must_use]
    pub const fn own(number: u32) -> Self {
        Self(number & !Self::LEADER | (number & !Self::LEADER == 0) as u32)
    }

    /// What the leader with this fencing token sends. 0 is no token.
    #[must_use]
    pub const fn of_leader(token: u64) -> Self {
        if token == 0 { Self::NONE } else { Self(token as u32 | Self::LEADER) }
    }
}

impl Quote {
    /// Both sides present.
    #[must_use]
    pub const fn is_two_sided(&self) -> bool {
        self.bid.is_present() && self.ask.is_present()
    }

    /// Bid above ask: never executable on the venue itself, never believed.
    #[must_use]
    pub fn is_crossed(&self) -> bool {
        self.is_two_sided() && self.bid.price > self.ask.price
    }
}

/// Where a number comes from. Said on every surface that shows one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Source {
    /// The venue's own address.
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
    pub const fn from_u8(n: u8) -> Self {
        match n {
            1 => Self::Simulated,
            2 => Self::Replay,
            _ => Self::Live,
        }
    }
}

/// How a quote came to this process: the rungs of the fallback ladder, best first. Never a reason to believe
/// an older quote.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Origin {
    /// Read from the venue by this process.
    #[default]
    Own = 0,
    /// Read by the leader of the venue, pushed to us.
    Shared = 1,
    /// Found in Redis: the latest that a leader left there.
    Redis = 2,
    /// Found on the local disk: the last that an earlier run of this process knew.
    Disk = 3,
}

impl Origin {
    /// The word that clients are told: system 2's levels, and `shared` between them.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Own => "websocket",
            Self::Shared => "shared",
            Self::Redis => "redis_cache",
            Self::Disk => "local_cache",
        }
    }

    /// Whether it was pushed as it happened: only such a quote makes an alert.
    #[must_use]
    pub const fn is_pushed(self) -> bool {
        matches!(self, Self::Own | Self::Shared)
    }

    /// Whether the word of this way that a quote is void holds for a quote that came by the way `other`. Our own
    /// connection speaks for itself; the leader for all that was ever read by a leader.
    #[must_use]
    pub fn voids(self, other: Self) -> bool {
        self == other || (self == Self::Shared && other != Self::Own)
    }

    /// The inverse of `self as u8`; anything unknown is [`Origin::Disk`], the least.
    #[must_use]
    pub const fn from_u8(n: u8) -> Self {
        match n {
            0 => Self::Own,
            1 => Self::Shared,
            2 => Self::Redis,
            _ => Self::Disk,
        }
    }
}

/// What a feed thread hands to the detector, in the order it happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FeedEvent {
    /// A new top of book.
    Quote(Quote),
    /// The last quote of one instrument is void until the next, for this reason. Holds for what came by this way only,
    /// see [`Origin::voids`].
    Void(InstrumentId, VenueId, Origin, BookVoid),
    /// From now on no quote that came by the connection may be a leg: it has a backlog, or is unusually silent. `false`:
    /// it has caught up.
    Behind(VenueId, LineId, bool),
    /// All quotes of a venue that came by this way are void: its connection is lost or silent.
    Down(VenueId, Origin),
    /// Our own connection to a venue was closed since another instance leads it: its quotes hold, and what the leader
    /// says of them holds too.
    Left(VenueId),
}
