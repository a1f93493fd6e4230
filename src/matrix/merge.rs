//! Which quotes are believed: late and impossible ones are dropped and counted by reason.

use crate::market::Quote;
use crate::time::{MonoNs, UnixNs};

/// Why a quote was not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Drop {
    /// Older than what the cell holds, by the venue's own order or by its stamp.
    Late = 0,
    /// A side is missing.
    OneSided = 1,
    /// Bid above ask.
    Crossed = 2,
}

impl Drop {
    /// All reasons, in counter order.
    pub const ALL: [Self; 3] = [Self::Late, Self::OneSided, Self::Crossed];

    /// The name of its counter.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Late => "late",
            Self::OneSided => "one_sided",
            Self::Crossed => "crossed",
        }
    }

    /// Whether the cell's old quote is void by it: the venue has just said that it no longer holds.
    #[must_use]
    pub const fn voids(self) -> bool {
        !matches!(self, Self::Late)
    }
}

/// What orders the quotes of one cell. Forgotten when the venue's connection is lost: it may count anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LastSeen {
    sequence: u64,
    exchange_time: UnixNs,
    received: MonoNs,
}

/// Decides on `quote`, and remembers its place in the order. Negative and non-finite numbers cannot be
/// in a [`Quote`]; a zero price or size is an absent side.
///
/// # Errors
/// The reason to drop it.
#[inline]
pub fn check(quote: &Quote, last: &mut LastSeen) -> Result<(), Drop> {
    if quote.received < last.received
        || (quote.sequence != 0 && quote.sequence < last.sequence)
        || (quote.exchange_time.0 != 0 && quote.exchange_time < last.exchange_time)
    {
        return Err(Drop::Late);
    }
    last.received = quote.received;
    last.sequence = last.sequence.max(quote.sequence);
    last.exchange_time = last.exchange_time.max(quote.exchange_time);
    if !quote.is_two_sided() {
        return Err(Drop::OneSided);
    }
    if quote.bid.price > quote.ask.price {
        return Err(Drop::Crossed);
    }
    Ok(())
}
