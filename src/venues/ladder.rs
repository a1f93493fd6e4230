//! What stands behind a simulated top of book: the levels below the best bid and above the best ask, and what changes
//! of them from one state to the next. Pure: the same state always has the same levels, so they need not be stored.

use crate::market::book::Side;
use crate::market::{Decimal, Level};
use crate::venues::VenueQuote;
use crate::venues::depth::LevelChange;

/// Levels of a side that a simulated exchange has, at most.
pub const LEVELS: usize = 50;

/// Levels stand this far apart, in ticks of the top's price.
const STEP: u64 = 5;
/// One in so many levels has another size after each change of the top.
const CHANGES_ONE_IN: u64 = 16;

impl VenueQuote {
    /// The best `count` levels of a side, at most [`LEVELS`], the top first. None where the side is absent.
    #[must_use]
    pub fn levels(&self, side: Side, count: usize) -> Vec<Level> {
        let top = match side {
            Side::Bid => self.bid,
            Side::Ask => self.ask,
        };
        if !top.is_present() {
            return Vec::new();
        }
        let (mantissa, scale) = (top.price.mantissa(), top.price.scale());
        // Prices on a grid of their own, so that few of them change when the top moves.
        let first = mantissa / STEP;
        let price = |at: u64| match side {
            Side::Bid => (first + u64::from(!mantissa.is_multiple_of(STEP))).checked_sub(at).map(|n| n * STEP),
            Side::Ask => Some((first + at) * STEP),
        };
        let below = (1..=count.min(LEVELS) as u64).map_while(price).take_while(|mantissa| *mantissa > 0);
        let level =
            |mantissa: u64| Level { price: Decimal::new(mantissa, scale), size: self.size(side, mantissa, top) };
        std::iter::once(top).chain(below.map(level)).take(count.min(LEVELS)).collect()
    }

    /// The changes that turn the best `count` levels of `before` into those of now:
    /// bids, then asks; what is gone has no size. Without `before`: all of them.
    #[must_use]
    pub fn changes(&self, before: Option<&Self>, count: usize) -> Vec<LevelChange> {
        let mut changes = Vec::new();
        for side in [Side::Bid, Side::Ask] {
            let now = self.levels(side, count);
            let known = before.map(|before| before.levels(side, count)).unwrap_or_default();
            let gone = known.iter().filter(|old| !now.iter().any(|level| level.price == old.price));
            changes
                .extend(gone.map(|old| Level { size: Decimal::ZERO, ..*old }).map(|level| LevelChange { side, level }));
            let new = now.iter().filter(|level| !known.contains(level));
            changes.extend(new.map(|&level| LevelChange { side, level }));
        }
        changes
    }

    /// The size of a level behind the top: drawn from its price, and anew now and then.
    fn size(&self, side: Side, mantissa: u64, top: Level) -> Decimal {
        let mix = |n: u64| {
            let n = (n ^ (n >> 31)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            n ^ (n >> 29)
        };
        let place = mix(mantissa.wrapping_mul(2).wrapping_add(u64::from(side == Side::Bid)));
        let age = self.sequence.wrapping_add(place) / CHANGES_ONE_IN;
        let scale = top.size.scale();
        Decimal::new(
            1 + mix(place ^ age.wrapping_mul(0xd6e8_feb8_6659_fd93)) % 10u64.pow(u32::from(scale.min(12)) + 1),
            scale,
        )
    }
}

/// Those of one side.
#[must_use]
pub(crate) fn levels_of(changes: &[LevelChange], side: Side) -> Vec<Level> {
    changes.iter().filter(|change| change.side == side).map(|change| change.level).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::market::book::Book;
    use crate::time::UnixNs;
    use proptest::prelude::*;

    fn quote(bid: u64, ask: u64, sequence: u64) -> VenueQuote {
        let level = |price: u64| {
            if price == 0 {
                Level::ABSENT
            } else {
                Level { price: Decimal::new(price, 2), size: Decimal::new(sequence, 3) }
            }
        };
        VenueQuote {
            native: "X".to_owned(),
            bid: level(bid),
            ask: level(ask),
            sequence,
            time: UnixNs(1),
            is_trading: true,
            day: Default::default(),
        }
    }

    proptest! {
        #[test]
        fn changes_lead_from_one_ladder_to_the_next(tops in proptest::collection::vec((0u64..60, 1u64..9, 0u64..2), 1..20), count in 1usize..60) {
            let mut book = Book::default();
            let mut before: Option<VenueQuote> = None;
            for (at, (bid, above, has_ask)) in tops.into_iter().enumerate() {
                let now = quote(bid, has_ask * (bid + above), at as u64 + 2);
                for change in now.changes(before.as_ref(), count) {
                    book.set(change.side, change.level);
                }
                for side in [Side::Bid, Side::Ask] {
                    prop_assert!(book.levels(side).eq(now.levels(side, count).iter()), "{side:?}");
                }
                prop_assert!(!book.is_crossed());
                before = Some(now);
            }
        }
    }

    #[test]
    fn a_ladder_goes_away_from_the_top_and_most_of_it_stays() {
        let now = quote(100_003, 100_004, 7);
        let (bids, asks) = (now.levels(Side::Bid, 20), now.levels(Side::Ask, 20));
        assert!(bids.len() == 20 && bids.is_sorted_by(|a, b| a.price > b.price), "{bids:?}");
        assert!(asks.len() == 20 && asks.is_sorted_by(|a, b| a.price < b.price), "{asks:?}");
        assert!(bids.iter().chain(&asks).all(Level::is_present));
        let changes = quote(100_002, 100_004, 8).changes(Some(&now), 20);
        assert!((2..20).contains(&changes.len()), "{changes:?}");
    }
}
