//! Which quotes are believed: late and impossible ones are dropped and counted by reason.

use crate::market::Quote;
use crate::matrix::CellState;
use crate::time::{MS, MonoNs, SECOND, UnixNs};

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
    /// Far from the venue's own last mid, or from the other venues' where it has none: a decimal slip, until
    /// it is confirmed.
    Suspect = 3,
    /// Of what is not to be quoted, or no more.
    NotWanted = 4,
}

impl Drop {
    /// All reasons, in counter order.
    pub const ALL: [Self; 5] = [Self::Late, Self::OneSided, Self::Crossed, Self::Suspect, Self::NotWanted];

    /// The name of its counter.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Late => "late",
            Self::OneSided => "one_sided",
            Self::Crossed => "crossed",
            Self::Suspect => "suspect",
            Self::NotWanted => "not_wanted",
        }
    }

    /// What becomes of the cell: a late or unwanted quote changes nothing; the others say that the old one no longer holds.
    #[must_use]
    pub const fn cell(self) -> Option<CellState> {
        match self {
            Self::Late | Self::NotWanted => None,
            Self::OneSided | Self::Crossed => Some(CellState::Void),
            Self::Suspect => Some(CellState::Suspect),
        }
    }
}

/// What a believed quote may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// Another quote than the last.
    New,
    /// By its number and stamp the last one again; whether it is, its prices say. It comes by another connection,
    /// or the venue repeats itself.
    MaybeOld,
}

/// What orders the quotes of one cell. Forgotten when the venue's connection is lost: it may count anew.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LastSeen {
    sequence: u64,
    exchange_time: UnixNs,
    received: MonoNs,
    /// Mid of the last believed quote; 0 before the first.
    mid: f64,
    /// The quote that is not believed yet.
    doubt: Doubt,
}

/// A level far from what is known, and how often it was seen. All zero: none.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Doubt {
    mid: f64,
    quotes: u32,
    since: MonoNs,
}

/// A stamp that runs back further than this is a stepped clock, not an old quote. Also the longest that a
/// clock which steps back can keep good quotes out.
const STAMP_BACK_MAX_NS: u64 = 5 * SECOND;
/// Two ways here may differ by this in when they say that something was read, in nanoseconds: one is an estimate.
const HAIR_NS: u64 = 20 * MS;
/// A mid that differs by more than this share is doubted.
const JUMP_MAX: f64 = 0.2;
/// So many further quotes at the new level confirm it,
const CONFIRMING_QUOTES: u32 = 3;
/// or this time without a word to the contrary.
pub const CONFIRMING_NS: u64 = SECOND;

fn is_far(mid: f64, from: f64) -> bool {
    (mid - from).abs() > from * JUMP_MAX
}

impl Doubt {
    /// The new level was seen at `mid` again, or first. Whether it is confirmed by now.
    fn confirmed_by(&mut self, mid: f64, received: MonoNs) -> bool {
        if self.quotes == 0 || is_far(mid, self.mid) {
            *self = Self { mid, quotes: 1, since: received };
            return false;
        }
        self.quotes += 1;
        self.quotes > CONFIRMING_QUOTES || received.since(self.since) >= CONFIRMING_NS
    }
}

impl LastSeen {
    /// Whether `quote` was overtaken by one already seen. The venue's own number decides; its stamp only
    /// where it has no number. A number that falls by half or more is a venue counting anew.
    #[inline]
    fn overtook(&self, quote: &Quote) -> bool {
        if quote.received < self.received {
            return !self.precedes_by_a_hair(quote);
        }
        if quote.sequence != 0 && self.sequence != 0 {
            return quote.sequence < self.sequence && quote.sequence > self.sequence / 2;
        }
        is_stamped_before(quote.exchange_time, self.exchange_time)
    }

    /// Whether nothing was seen yet, or what was seen is forgotten.
    #[inline]
    #[must_use]
    pub fn is_blank(&self) -> bool {
        self.received == MonoNs(0)
    }
}

/// Whether the venue's stamp `time` says that its quote came before one stamped `last`.
#[inline]
#[must_use]
pub fn is_stamped_before(time: UnixNs, last: UnixNs) -> bool {
    let back = last.0.saturating_sub(time.0);
    time.0 != 0 && back > 0 && back <= STAMP_BACK_MAX_NS
}

impl LastSeen {
    /// Whether the venue says that `quote`, which seems to have been read before the last one, came after it.
    #[cold]
    fn precedes_by_a_hair(&self, quote: &Quote) -> bool {
        let order = |sequence: u64, time: UnixNs| if sequence == 0 { (0, time.0) } else { (1, sequence) };
        let (last, next) = (order(self.sequence, self.exchange_time), order(quote.sequence, quote.exchange_time));
        self.received.since(quote.received) <= HAIR_NS && last.0 == next.0 && last.1 > 0 && next.1 > last.1
    }
}

/// Decides on `quote`, and remembers its place in the order. `others` gives the mid of the other venues,
/// which is asked for only while this one has none of its own. Negative and non-finite numbers cannot be
/// in a [`Quote`]; a zero price or size is an absent side.
///
/// # Errors
/// The reason to drop it.
#[inline]
pub fn check(quote: &Quote, last: &mut LastSeen, others: impl FnOnce() -> Option<f64>) -> Result<News, Drop> {
    if last.overtook(quote) {
        return Err(Drop::Late);
    }
    let order = (quote.sequence, quote.exchange_time);
    let repeats = order == (last.sequence, last.exchange_time) && order != (0, UnixNs(0));
    (last.sequence, last.exchange_time) = (quote.sequence, quote.exchange_time);
    last.received = last.received.max(quote.received);
    if !quote.is_two_sided() {
        return Err(Drop::OneSided);
    }
    if quote.bid.price > quote.ask.price {
        return Err(Drop::Crossed);
    }
    let mid = (quote.bid.price.to_f64() + quote.ask.price.to_f64()) / 2.0;
    let known = if last.mid > 0.0 { Some(last.mid) } else { others() };
    if known.is_some_and(|known| is_far(mid, known)) && !last.doubt.confirmed_by(mid, quote.received) {
        return Err(Drop::Suspect);
    }
    (last.mid, last.doubt) = (mid, Doubt::default());
    Ok(if repeats { News::MaybeOld } else { News::New })
}

/// Whether the suspect quote of the cell is confirmed by time alone. Then it is believed from now on.
pub fn is_confirmed(last: &mut LastSeen, now: MonoNs) -> bool {
    let confirmed = last.doubt.quotes > 0 && now.since(last.doubt.since) >= CONFIRMING_NS;
    if confirmed {
        (last.mid, last.doubt) = (last.doubt.mid, Doubt::default());
    }
    confirmed
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
        quotes.iter().map(|q| check(q, &mut last, || None).map(|_| ())).collect()
    }

    #[test]
    fn f47_the_venues_number_decides_what_is_late() {
        let got = run(&[quote(10, 0, "1", "2"), quote(9, 0, "1", "2"), quote(10, 0, "1", "2"), quote(11, 5, "1", "2")]);
        assert_eq!(got, [Ok(()), Err(Drop::Late), Ok(()), Ok(())]);
    }

    #[test]
    fn f82_of_two_ways_the_venues_order_decides_where_their_times_differ_by_a_hair() {
        let at =
            |received: u64, sequence, stamp| Quote { received: MonoNs(received), ..quote(sequence, stamp, "1", "2") };
        let (ms, late) = (MS, Err(Drop::Late));
        assert_eq!(run(&[at(100 * ms, 10, 0), at(99 * ms, 11, 0), at(100 * ms, 12, 0)]), [Ok(()); 3]);
        assert_eq!(run(&[at(100 * ms, 0, 10), at(99 * ms, 0, 11)]), [Ok(()); 2]);
        assert_eq!(run(&[at(100 * ms, 10, 0), at(99 * ms, 10, 0)]), [Ok(()), late], "the same again, and older");
        assert_eq!(run(&[at(100 * ms, 10, 0), at(99 * ms, 0, 11)]), [Ok(()), late], "not comparable");
        assert_eq!(run(&[at(100 * ms, 0, 0), at(99 * ms, 0, 0)]), [Ok(()), late]);
        assert_eq!(run(&[at(100 * ms, 10, 0), at(70 * ms, 11, 0)]), [Ok(()), late], "another count of an older day");
        assert_eq!(run(&[at(100 * ms, 10, 0), at(99 * ms, 11, 0), at(99 * ms - 1, 5, 0)]), [Ok(()), Ok(()), late]);
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
        assert_eq!(Drop::ALL.map(Drop::cell)[..3], [None, Some(CellState::Void), Some(CellState::Void)]);
    }

    #[test]
    fn f36_a_decimal_slip_is_suspect_until_it_is_confirmed() {
        let slip = quote(0, 0, "1000", "1001");
        let good = quote(0, 0, "100", "101");
        let suspect = Err(Drop::Suspect);
        assert_eq!(run(&[good, slip, good, slip]), [Ok(()), suspect, Ok(()), suspect], "one is never believed");
        assert_eq!(run(&[good, slip, slip, slip, slip]), [Ok(()), suspect, suspect, suspect, Ok(())]);
        let later = Quote { received: MonoNs(SECOND), ..slip };
        assert_eq!(run(&[good, slip, later]), [Ok(()), suspect, Ok(())], "a second confirms it too");
        assert_eq!(run(&[good, quote(0, 0, "119", "120"), quote(0, 0, "98", "99")]), [Ok(()); 3]);
    }

    #[test]
    fn f36_a_first_quote_is_held_against_the_other_venues_and_time_alone_confirms() {
        let mut last = LastSeen::default();
        assert_eq!(check(&quote(0, 0, "10", "11"), &mut last, || Some(100.0)), Err(Drop::Suspect));
        assert!(!is_confirmed(&mut last, MonoNs(SECOND - 1)));
        assert!(is_confirmed(&mut last, MonoNs(SECOND)));
        assert_eq!(check(&quote(0, 0, "10", "11"), &mut last, || Some(100.0)), Ok(News::New));
    }
}
