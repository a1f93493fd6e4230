//! Which quotes are believed: late and impossible ones are dropped and counted by reason.

use crate::market::Quote;
use crate::time::{MonoNs, SECOND, UnixNs};

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

/// A stamp that runs back further than this is a broken clock, not an old quote.
const STAMP_BACK_MAX_NS: u64 = 60 * SECOND;

impl LastSeen {
    /// Whether `quote` was overtaken by one already seen. The venue's own number decides; its stamp only
    /// where it has no number. A number that falls by half or more is a venue counting anew.
    #[inline]
    fn overtook(&self, quote: &Quote) -> bool {
        if quote.received < self.received {
            return true;
        }
        if quote.sequence != 0 && self.sequence != 0 {
            return quote.sequence < self.sequence && quote.sequence > self.sequence / 2;
        }
        let back = self.exchange_time.0.saturating_sub(quote.exchange_time.0);
        quote.exchange_time.0 != 0 && back > 0 && back <= STAMP_BACK_MAX_NS
    }
}

/// Decides on `quote`, and remembers its place in the order. Negative and non-finite numbers cannot be
/// in a [`Quote`]; a zero price or size is an absent side.
///
/// # Errors
/// The reason to drop it.
#[inline]
pub fn check(quote: &Quote, last: &mut LastSeen) -> Result<(), Drop> {
    if last.overtook(quote) {
        return Err(Drop::Late);
    }
    *last = LastSeen { sequence: quote.sequence, exchange_time: quote.exchange_time, received: quote.received };
    if !quote.is_two_sided() {
        return Err(Drop::OneSided);
    }
    if quote.bid.price > quote.ask.price {
        return Err(Drop::Crossed);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::market::Level;

    fn quote(sequence: u64, stamp: u64, bid: &str, ask: &str) -> Quote {
        let level = |price: &str| match price {
            "" => Level::ABSENT,
            _ => Level { price: price.parse().unwrap(), size: "1".parse().unwrap() },
        };
        Quote { sequence, exchange_time: UnixNs(stamp), bid: level(bid), ask: level(ask), ..Quote::default() }
    }

    fn run(quotes: &[Quote]) -> Vec<Result<(), Drop>> {
        let mut last = LastSeen::default();
        quotes.iter().map(|q| check(q, &mut last)).collect()
    }

    #[test]
    fn f47_the_venues_number_decides_what_is_late() {
        let got = run(&[quote(10, 0, "1", "2"), quote(9, 0, "1", "2"), quote(10, 0, "1", "2"), quote(11, 5, "1", "2")]);
        assert_eq!(got, [Ok(()), Err(Drop::Late), Ok(()), Ok(())]);
    }

    #[test]
    fn f51_a_venue_that_counts_anew_is_believed() {
        assert_eq!(run(&[quote(72_212_457, 0, "1", "2"), quote(1, 0, "1", "2")]), [Ok(()), Ok(())]);
    }

    #[test]
    fn f45_stamps_order_quotes_without_numbers_and_a_wild_stamp_poisons_nothing() {
        let s = SECOND;
        let got = run(&[
            quote(0, 1_000 * s, "1", "2"),
            quote(0, 999 * s, "1", "2"),
            quote(0, 9_000_000 * s, "1", "2"),
            quote(0, 1_001 * s, "1", "2"),
            quote(0, 0, "1", "2"),
        ]);
        assert_eq!(got, [Ok(()), Err(Drop::Late), Ok(()), Ok(()), Ok(())]);
    }

    #[test]
    fn f37_f38_f39_crossed_and_one_sided_void_the_cell_and_locked_is_fine() {
        let got = run(&[quote(0, 0, "3", "2"), quote(0, 0, "", "2"), quote(0, 0, "2", ""), quote(0, 0, "2", "2")]);
        assert_eq!(got, [Err(Drop::Crossed), Err(Drop::OneSided), Err(Drop::OneSided), Ok(())]);
        assert!(Drop::Crossed.voids() && Drop::OneSided.voids() && !Drop::Late.voids());
    }
}
