//! A quote: the best bid and ask of one instrument on one venue, with the stamps of its way.

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
    /// The venue's own order number of this quote within its instrument; 0 where the venue has none.
    pub sequence: u64,
    /// The venue's stamp; 0 where the venue sends none.
    pub exchange_time: UnixNs,
    /// When its last byte was read from the socket.
    pub received: MonoNs,
    /// When the codec had read it.
    pub decoded: MonoNs,
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

/// What a feed thread hands to the detector, in the order it happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FeedEvent {
    /// A new top of book.
    Quote(Quote),
    /// The last quote of one instrument is void until the next: a gap, a failed checksum, a halt.
    Void(InstrumentId, VenueId),
    /// All quotes of a venue are void: its connection is lost or silent.
    Down(VenueId),
}
