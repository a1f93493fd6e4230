//! Rules for merging a quote into its cell: late and impossible quotes are dropped, with a reason.

use crate::market::Quote;
use crate::market::quote::LineId;
use crate::market::refusal::LegFault;
use crate::metrics::reasons::DropReason;
use crate::time::{MS, MonoNs, SECOND, UnixNs};

/// Why the previous quote of a cell no longer holds after a quote was dropped; `None` if it does, as after a late or
/// unwanted quote.
#[must_use]
pub(crate) const fn fault_of(reason: DropReason) -> Option<LegFault> {
    match reason {
        DropReason::Late | DropReason::NotWanted => None,
        DropReason::OneSided => Some(LegFault::OneSided),
        DropReason::Crossed => Some(LegFault::Crossed),
        DropReason::Suspect => Some(LegFault::Suspect),
    }
}

/// What an accepted quote is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// Another quote than the last.
    New,
    /// The last one again, by its number and timestamp, unless its prices differ: it arrived on another connection, or the
    /// venue repeats itself.
    MaybeOld,
}

/// What orders the quotes of one cell. Discarded when the venue's connection is lost, after which it may count anew.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LastSeen {
    sequence: u64,
    exchange_time: UnixNs,
    /// The latest time of receipt of an accepted quote, corrected for lag.
    received: MonoNs,
    /// When the last accepted quote arrived in this process. Unlike `received`, it does not depend on timestamps.
    arrived: MonoNs,
    line: LineId,
    /// `line` has ended or given way to another connection, so its timestamps no longer order the quotes of others.
    has_ended: bool,
    /// Quotes with lower numbers than `sequence` since the last one with a higher number.
    fallen: Fallen,
    /// Mid of the last accepted quote; 0 before the first.
    mid: f64,
    /// The quote that is not confirmed yet.
    doubt: Doubt,
    /// Quotes of the connection so far, up to [`SETTLED`].
    quotes: u8,
    /// When the first of them arrived.
    begun: MonoNs,
}

/// A run of quotes with growing numbers, all lower than one seen before. All zero: none.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Fallen {
    sequence: u64,
    quotes: u32,
    since: MonoNs,
}

/// A price level far from the last one, and how often it was seen. All zero: none.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Doubt {
    mid: f64,
    quotes: u32,
    since: MonoNs,
}

/// What the prices of other venues say about a level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peers {
    /// No other venue has a fresh price.
    Absent,
    /// At least one fresh price is near it.
    Agree,
    /// There are fresh prices, and all of them are far from it.
    Contradict,
}

/// A looked-up quote, or a leader's, with a timestamp earlier than that of the cell by more than this, in nanoseconds,
/// follows a step of the venue's clock.
const STAMP_BACK_MAX_NS: u64 = 5 * SECOND;
/// This many consecutive quotes with lower numbers mean that the venue counts anew,
const FALLEN_QUOTES: u32 = 3;
/// if they span at least this time, in nanoseconds; frames out of order arrive closer together.
const FALLEN_SPAN_NS: u64 = 200 * MS;
/// After this time without an accepted quote, in nanoseconds, the old order no longer applies.
const ORDER_NS: u64 = 3 * SECOND;
/// From this many quotes on a cell is settled: the first one after a connect or a resubscription may be older than it.
const SETTLED: u8 = 2;
/// Quotes that were read together differ by less than this in the time of their decoding, in nanoseconds.
const ONE_READ_NS: u64 = 10 * MS;
/// A mid that differs by more than this share is suspect.
const JUMP_MAX: f64 = 0.2;
/// This many further quotes at the new level confirm it,
const CONFIRMING_QUOTES: u32 = 3;
/// or this time in nanoseconds, unless other venues contradict it.
pub(crate) const CONFIRMING_NS: u64 = SECOND;

/// Whether `mid` differs from `from` by more than a venue's price plausibly moves between two quotes.
#[must_use]
pub(crate) fn is_far(mid: f64, from: f64) -> bool {
    (mid - from).abs() > from * JUMP_MAX
}

impl Doubt {
    /// The level `mid` was seen, for the first time or again. Returns whether it is confirmed. A quote that `repeats` the
    /// one before does not count as another: some venues send the same message every few seconds.
    fn confirmed_by(&mut self, mid: f64, received: MonoNs, repeats: bool, peers: Peers) -> bool {
        if self.quotes == 0 || is_far(mid, self.mid) {
            *self = Self { mid, quotes: 1, since: received };
            return false;
        }
        self.quotes += u32::from(!repeats);
        self.quotes > CONFIRMING_QUOTES || self.is_confirmed_by_time(received, peers)
    }

    fn is_confirmed_by_time(&self, now: MonoNs, peers: Peers) -> bool {
        self.quotes > 0 && peers != Peers::Contradict && now.since(self.since) >= CONFIRMING_NS
    }
}

impl LastSeen {
    /// Whether `quote` was overtaken by one already seen. The venue's number decides if both have one. Without numbers, the
    /// quotes of one line are in the order of their arrival, whatever their timestamps; between two open lines the timestamp
    /// decides, then the time of receipt. After a line has ended, its successor is ordered by arrival.
    #[inline]
    fn overtook(&mut self, quote: &Quote) -> bool {
        if !quote.origin.is_pushed() && quote.received < self.received {
            return true;
        }
        let is_same_line = quote.line == self.line && quote.line != LineId::NONE;
        if quote.sequence != 0 && self.sequence != 0 {
            return quote.sequence < self.sequence && !self.counts_anew(quote, is_same_line);
        }
        !is_same_line && self.is_before(quote)
    }

    /// The connection that delivered the last accepted quote.
    #[inline]
    #[must_use]
    pub const fn line(&self) -> LineId {
        self.line
    }

    /// The connection of the last accepted quote has ended or given way to another one.
    #[inline]
    pub(crate) const fn end_line(&mut self) {
        self.has_ended = true;
    }

    /// Whether its quotes may be legs: after a connect or a resubscription, a further quote has come that by its
    /// timestamp was sent after the first one arrived. A quote without a timestamp was sent when it came.
    #[inline]
    #[must_use]
    pub const fn is_settled(&self) -> bool {
        self.quotes >= SETTLED
    }

    /// Counts one of the first quotes of a connection. Quotes that are not from our own connections settle the cell at
    /// once.
    #[cold]
    fn settle(&mut self, quote: &Quote) {
        if !quote.line.is_own() {
            self.quotes = SETTLED;
        } else if self.quotes == 0 {
            (self.quotes, self.begun) = (1, arrival(quote));
        } else if quote.received.plus(ONE_READ_NS) >= self.begun {
            self.quotes = SETTLED;
        }
    }

    /// Whether no quote was seen since the beginning or since the cell was reset.
    #[inline]
    #[must_use]
    pub(crate) fn is_blank(&self) -> bool {
        self.received == MonoNs(0)
    }

    /// Whether `quote` comes from the connection that replaced the one of the last quote. Both are our own: what a leader
    /// publishes may be older than what our connection gave last, and the reverse.
    #[inline]
    const fn is_succeeded_by(&self, quote: &Quote) -> bool {
        self.has_ended && self.line.is_own() && quote.line.is_own()
    }

    /// Whether `quote`, which arrived on another line, is older than the last one.
    fn is_before(&self, quote: &Quote) -> bool {
        let arrived = arrival(quote);
        if self.is_succeeded_by(quote) {
            return arrived < self.arrived;
        }
        if arrived.since(self.arrived) >= ORDER_NS {
            return false;
        }
        let stamps = (quote.exchange_time, self.exchange_time);
        match stamps {
            (UnixNs(0), _) | (_, UnixNs(0)) => quote.received < self.received,
            (next, last) if next == last => quote.received < self.received,
            (next, last) => next < last,
        }
    }

    /// Whether the lower number of `quote` means that the venue counts anew, and not that the quote is late.
    #[cold]
    fn counts_anew(&mut self, quote: &Quote, is_same_line: bool) -> bool {
        let arrived = arrival(quote);
        if quote.sequence <= self.sequence / 2 || arrived.since(self.arrived) >= ORDER_NS {
            return true;
        }
        if !is_same_line && !self.is_succeeded_by(quote) {
            return false;
        }
        let fallen = &mut self.fallen;
        if fallen.quotes == 0 || quote.sequence <= fallen.sequence {
            *fallen = Fallen { sequence: quote.sequence, quotes: 1, since: arrived };
            return false;
        }
        (fallen.sequence, fallen.quotes) = (quote.sequence, fallen.quotes + 1);
        fallen.quotes >= FALLEN_QUOTES && arrived.since(fallen.since) >= FALLEN_SPAN_NS
    }
}

/// When the quote arrived in this process, not corrected for lag.
#[inline]
fn arrival(quote: &Quote) -> MonoNs {
    quote.received.max(quote.decoded)
}

/// Whether a quote with the venue's timestamp `time` is older than one with the timestamp `last`.
#[inline]
#[must_use]
pub(crate) fn is_stamped_before(time: UnixNs, last: UnixNs) -> bool {
    let back = last.0.saturating_sub(time.0);
    time.0 != 0 && back > 0 && back <= STAMP_BACK_MAX_NS
}

/// Accepts or drops `quote`, and records its place in the order. `peers` compares a mid with the prices of other venues; it
/// is called only for the first level and for one far from the last. Negative and non-finite numbers cannot occur in a
/// [`Quote`]; a zero price or size is an absent side.
///
/// # Errors
/// Why the quote is dropped.
#[inline]
pub fn check(quote: &Quote, last: &mut LastSeen, peers: impl FnOnce(f64) -> Peers) -> Result<News, DropReason> {
    if last.overtook(quote) {
        return Err(DropReason::Late);
    }
    if !last.is_settled() {
        last.settle(quote);
    }
    let order = (quote.sequence, quote.exchange_time);
    let repeats = order == (last.sequence, last.exchange_time) && order != (0, UnixNs(0));
    last.has_ended &= last.line == quote.line;
    (last.sequence, last.exchange_time, last.line) = (quote.sequence, quote.exchange_time, quote.line);
    (last.received, last.fallen) = (last.received.max(quote.received), Fallen::default());
    last.arrived = last.arrived.max(arrival(quote));
    if !quote.is_two_sided() {
        return Err(DropReason::OneSided);
    }
    if quote.bid.price > quote.ask.price {
        return Err(DropReason::Crossed);
    }
    let mid = (quote.bid.price.to_f64() + quote.ask.price.to_f64()) / 2.0;
    let is_usual = last.mid > 0.0 && !is_far(mid, last.mid);
    if !is_usual && is_doubtful(mid, last, quote.received, repeats, peers(mid)) {
        return Err(DropReason::Suspect);
    }
    (last.mid, last.doubt) = (mid, Doubt::default());
    Ok(if repeats { News::MaybeOld } else { News::New })
}

#[cold]
fn is_doubtful(mid: f64, last: &mut LastSeen, received: MonoNs, repeats: bool, peers: Peers) -> bool {
    match peers {
        // The market moved, or the venue returned from a wrong level.
        Peers::Agree => false,
        Peers::Absent if last.mid == 0.0 => false,
        Peers::Absent | Peers::Contradict => !last.doubt.confirmed_by(mid, received, repeats, peers),
    }
}

/// The mid of the suspect quote of the cell; `None` if there is none.
#[must_use]
pub(crate) fn doubted_mid(last: &LastSeen) -> Option<f64> {
    (last.doubt.quotes > 0).then_some(last.doubt.mid)
}

/// Whether the suspect quote of the cell is confirmed by time, which never outvotes all `peers`. If so, it is accepted from
/// now on.
pub(crate) fn is_confirmed(last: &mut LastSeen, now: MonoNs, peers: Peers) -> bool {
    let confirmed = last.doubt.is_confirmed_by_time(now, peers);
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

    fn run(quotes: &[Quote]) -> Vec<Result<(), DropReason>> {
        let mut last = LastSeen::default();
        quotes.iter().map(|q| check(q, &mut last, |_| Peers::Absent).map(|_| ())).collect()
    }

    #[test]
    fn the_venues_number_decides_what_is_late() {
        let got = run(&[quote(10, 0, "1", "2"), quote(9, 0, "1", "2"), quote(10, 0, "1", "2"), quote(11, 5, "1", "2")]);
        assert_eq!(got, [Ok(()), Err(DropReason::Late), Ok(()), Ok(())]);
    }

    fn by(line: u32, received_ms: u64, quote: Quote) -> Quote {
        Quote { line: LineId::own(line), received: MonoNs(received_ms * MS), ..quote }
    }

    const LATE: Result<(), DropReason> = Err(DropReason::Late);

    #[test]
    fn between_two_lines_the_venues_number_decides_then_its_stamp_then_the_receipt() {
        let at = |line, received, sequence, stamp| by(line, received, quote(sequence, stamp, "1", "2"));
        assert_eq!(run(&[at(1, 100, 10, 0), at(2, 20, 11, 0), at(1, 100, 12, 0)]), [Ok(()); 3], "a late line");
        assert_eq!(run(&[at(1, 100, 10, 0), at(2, 200, 9, 0)]), [Ok(()), LATE]);
        assert_eq!(run(&[at(1, 100, 0, 10), at(2, 20, 0, 11)]), [Ok(()); 2]);
        assert_eq!(run(&[at(1, 100, 0, 10), at(2, 200, 0, 9)]), [Ok(()), LATE]);
        assert_eq!(run(&[at(1, 100, 0, 10), at(2, 99, 0, 10)]), [Ok(()), LATE], "the same moment, read before");
        assert_eq!(run(&[at(1, 100, 10, 0), at(2, 99, 0, 11)]), [Ok(()), LATE], "not comparable");
        assert_eq!(run(&[at(1, 100, 0, 0), at(2, 99, 0, 0)]), [Ok(()), LATE]);
        assert_eq!(run(&[at(1, 100, 0, 30_000), at(2, 200, 0, 1)]), [Ok(()), LATE], "half a minute behind");
        assert_eq!(run(&[at(1, 100, 0, 30_000), at(2, 4000, 0, 1)]), [Ok(()); 2], "nothing contradicts it for long");
    }

    #[test]
    fn a_line_that_has_ended_does_not_outrank_its_successor() {
        // The clock of the second server is behind, so its quotes seem to have arrived earlier.
        let behind_s = 20;
        let at = |line, arrived_ms: u64, stamp_ms: u64| {
            let received = arrived_ms - if line == 2 { behind_s * 1000 } else { 0 };
            Quote { decoded: MonoNs(arrived_ms * MS), ..by(line, received, quote(0, stamp_ms * MS, "1", "2")) }
        };
        let mut last = LastSeen::default();
        let mut check = |quote: Quote, has_ended: bool| {
            if has_ended {
                last.end_line();
            }
            check(&quote, &mut last, |_| Peers::Absent).map(|_| ())
        };
        assert_eq!(check(at(1, 30_000, 90_000), false), Ok(()));
        assert_eq!(check(at(2, 30_010, 70_010), false), LATE, "both are open");
        assert_eq!(check(at(2, 29_990, 69_990), true), LATE, "it came before the last quote of the old line");
        assert_eq!(check(at(2, 30_020, 70_020), true), Ok(()));
        assert_eq!(check(at(2, 30_030, 70_000), false), Ok(()), "in order by itself");
        assert_eq!(check(at(1, 30_100, 90_100), false), Ok(()), "another line");
        assert_eq!(check(at(2, 32_000, 72_000), false), LATE);
        assert_eq!(check(at(2, 33_100, 73_100), false), Ok(()), "the other one was silent for three seconds");
    }

    #[test]
    fn a_line_that_has_ended_still_orders_the_quotes_of_a_leader_and_the_reverse() {
        let own = |stamp_ms: u64| by(1, 1000 + stamp_ms, quote(0, stamp_ms * MS, "1", "2"));
        let shared = |stamp_ms: u64| Quote { line: LineId::of_leader(7), ..own(stamp_ms) };
        for (first, older, newer) in [(own(500), shared(400), shared(600)), (shared(500), own(400), own(600))] {
            let mut last = LastSeen::default();
            let check = |last: &mut LastSeen, quote| check(&quote, last, |_| Peers::Absent).map(|_| ());
            assert_eq!(check(&mut last, first), Ok(()));
            last.end_line();
            assert_eq!(check(&mut last, older), LATE);
            assert_eq!(check(&mut last, newer), Ok(()));
        }
    }

    #[test]
    fn after_the_end_of_a_line_a_lower_count_is_believed_soon() {
        let at = |line, received, sequence| by(line, received, quote(sequence, 0, "1", "2"));
        let mut last = LastSeen::default();
        let mut check = |quote: Quote| check(&quote, &mut last, |_| Peers::Absent).map(|_| ());
        assert_eq!(check(at(1, 1000, 9000)), Ok(()));
        assert_eq!([1100, 1200, 1400].map(|ms| check(at(2, ms, ms + 7000))), [LATE; 3]);
        last.end_line();
        let mut check = |quote: Quote| super::check(&quote, &mut last, |_| Peers::Absent).map(|_| ());
        assert_eq!([1500, 1600, 1700].map(|ms| check(at(2, ms, ms + 7000))), [LATE, LATE, Ok(())]);
    }

    #[test]
    fn one_line_without_numbers_is_in_order_as_it_comes_whatever_its_stamps_say() {
        let at = |received, stamp_ms: u64| by(1, received, quote(0, stamp_ms * MS, "1", "2"));
        assert_eq!(run(&[at(1000, 9000), at(1100, 6100), at(1200, 6200), at(900, 6150), at(1300, 0)]), [Ok(()); 5]);
    }

    #[test]
    fn a_corrected_receipt_never_overrules_the_number_of_a_late_line() {
        let quotes: Vec<Quote> =
            (0..80).map(|n| by(1, 5000 + n * 20 - n % 4 * 900, quote(100 + n, n, "1", "2"))).collect();
        assert!(run(&quotes).iter().all(Result::is_ok));
    }

    #[test]
    fn what_was_looked_up_is_held_against_the_time_of_its_read() {
        let looked_up = |received, sequence| Quote {
            origin: crate::market::quote::Origin::Redis,
            ..by(0, received, quote(sequence, 0, "1", "2"))
        };
        assert_eq!(run(&[by(1, 100, quote(10, 0, "1", "2")), looked_up(70, 11)]), [Ok(()), LATE], "another count");
    }

    #[test]
    fn a_venue_that_counts_anew_is_believed() {
        assert_eq!(run(&[quote(72_212_457, 0, "1", "2"), quote(1, 0, "1", "2")]), [Ok(()), Ok(())]);
    }

    #[test]
    fn a_count_that_begins_a_little_lower_is_believed_within_seconds() {
        let falls = |every_ms: u64| {
            let after = (1..20).map(|n| by(1, 1000 + n * every_ms, quote(60_000_000 + n, 0, "1", "2")));
            let quotes: Vec<Quote> = [by(1, 1000, quote(72_212_457, 0, "1", "2"))].into_iter().chain(after).collect();
            let late = run(&quotes).iter().filter(|it| **it == LATE).count() as u64;
            assert!(run(&quotes)[1 + late as usize..].iter().all(Result::is_ok), "each {every_ms} ms");
            (late + 1) * every_ms
        };
        for every_ms in [20, 100, 1000, 2000, 10_000] {
            assert!(falls(every_ms) <= 3000 + every_ms, "each {every_ms} ms: after {} ms", falls(every_ms));
        }
    }

    #[test]
    fn frames_out_of_order_are_no_new_count() {
        let at = |received, sequence| by(1, received, quote(sequence, 0, "1", "2"));
        let got = run(&[at(10, 104), at(11, 101), at(12, 102), at(13, 103), at(900, 103), at(950, 105)]);
        assert_eq!(got, [Ok(()), LATE, LATE, LATE, LATE, Ok(())]);
        let other = |received, sequence| by(2, received, quote(sequence, 0, "1", "2"));
        let got = run(&[at(10, 104), other(300, 101), other(600, 102), other(900, 103)]);
        assert_eq!(got, [Ok(()), LATE, LATE, LATE], "a second connection is behind");
    }

    #[test]
    fn a_cell_is_settled_by_its_second_quote_unless_that_was_sent_before_the_first_came() {
        let at = |line, arrived_ms: u64, received_ms: u64| Quote {
            decoded: MonoNs(arrived_ms * MS),
            ..by(line, received_ms, quote(0, 0, "1", "2"))
        };
        let settled = |quotes: &[Quote]| {
            let mut last = LastSeen::default();
            quotes.iter().for_each(|it| _ = check(it, &mut last, |_| Peers::Absent));
            last.is_settled()
        };
        assert!(!settled(&[at(1, 5000, 5000)]));
        assert!(settled(&[at(1, 5000, 5000), at(1, 5100, 5100)]));
        assert!(settled(&[at(1, 5001, 5000), at(1, 5002, 5000)]), "one read");
        assert!(!settled(&[at(1, 5000, 1000), at(1, 5100, 1100), at(1, 8900, 4900)]), "four seconds late");
        assert!(settled(&[at(1, 5000, 1000), at(1, 5100, 1100), at(1, 9100, 5100)]));
        assert!(settled(&[quote(0, 0, "1", "2")]), "not from a connection of our own");
    }

    #[test]
    fn a_wild_stamp_poisons_nothing_for_long() {
        let s = 1000;
        let at = |line, received, stamp_s: u64| by(line, received, quote(0, stamp_s * SECOND, "1", "2"));
        let got = run(&[at(1, 0, 1000), at(2, s, 9_000_000), at(1, 2 * s, 1002), at(1, 5 * s, 1005), at(2, 6 * s, 0)]);
        assert_eq!(got, [Ok(()), Ok(()), LATE, Ok(()), Ok(())]);
    }

    #[test]
    fn crossed_and_one_sided_void_the_cell_and_locked_is_fine() {
        let got = run(&[quote(0, 0, "3", "2"), quote(0, 0, "", "2"), quote(0, 0, "2", ""), quote(0, 0, "2", "2")]);
        assert_eq!(got, [Err(DropReason::Crossed), Err(DropReason::OneSided), Err(DropReason::OneSided), Ok(())]);
        assert_eq!(
            [DropReason::Late, DropReason::OneSided, DropReason::Crossed].map(fault_of),
            [None, Some(LegFault::OneSided), Some(LegFault::Crossed)]
        );
    }

    #[test]
    fn a_decimal_slip_is_suspect_until_it_is_confirmed() {
        let slip = quote(0, 0, "1000", "1001");
        let good = quote(0, 0, "100", "101");
        let suspect = Err(DropReason::Suspect);
        assert_eq!(run(&[good, slip, good, slip]), [Ok(()), suspect, Ok(()), suspect], "one is never believed");
        assert_eq!(run(&[good, slip, slip, slip, slip]), [Ok(()), suspect, suspect, suspect, Ok(())]);
        let later = Quote { received: MonoNs(SECOND), ..slip };
        assert_eq!(
            run(&[good, slip, later]),
            [Ok(()), suspect, Ok(())],
            "a second confirms it where nobody contradicts"
        );
        assert_eq!(run(&[good, quote(0, 0, "119", "120"), quote(0, 0, "98", "99")]), [Ok(()); 3]);
    }

    #[test]
    fn time_never_outvotes_all_other_venues_and_the_way_back_is_no_suspect() {
        let others = |mid: f64| if is_far(mid, 100.5) { Peers::Contradict } else { Peers::Agree };
        let at = |received_ms: u64, level: &Quote| Quote { received: MonoNs(received_ms * MS), ..*level };
        let (good, slip) = (quote(0, 0, "100", "101"), quote(0, 0, "10", "11"));
        let mut last = LastSeen::default();
        let mut check = |quote: Quote| check(&quote, &mut last, others).map(|_| ());
        assert_eq!(check(at(0, &good)), Ok(()));
        assert_eq!(check(at(100, &slip)), Err(DropReason::Suspect));
        assert_eq!(check(at(1500, &slip)), Err(DropReason::Suspect), "one further quote and time are not enough");
        assert_eq!(check(at(1600, &good)), Ok(()));
        for n in 0..3 {
            assert_eq!(check(at(1700 + n, &slip)), Err(DropReason::Suspect));
        }
        assert_eq!(check(at(1800, &slip)), Ok(()), "it insists");
        assert_eq!(check(at(1900, &good)), Ok(()), "and comes back to what the others say");
    }

    #[test]
    fn a_message_that_the_venue_repeats_does_not_confirm_itself() {
        let mut last = LastSeen::default();
        let mut check = |second: u64, sequence: u64, bid: &str, ask: &str| {
            let quote = Quote { received: MonoNs(second * SECOND), ..quote(sequence, 0, bid, ask) };
            check(&quote, &mut last, |_| Peers::Contradict).map(|_| ())
        };
        for second in 0..60 {
            assert_eq!(check(second, 7, "10", "11"), Err(DropReason::Suspect), "after {second} s");
        }
        for number in 8..10 {
            assert_eq!(check(60, number, "10", "11"), Err(DropReason::Suspect));
        }
        assert_eq!(check(60, 10, "10", "11"), Ok(()), "three others do");
    }

    #[test]
    fn a_first_quote_is_held_against_the_other_venues() {
        let slip = quote(0, 0, "10", "11");
        let mut last = LastSeen::default();
        assert_eq!(check(&slip, &mut last, |_| Peers::Contradict), Err(DropReason::Suspect));
        assert!(!is_confirmed(&mut last, MonoNs(60 * SECOND), Peers::Contradict));
        assert!(!is_confirmed(&mut last, MonoNs(SECOND - 1), Peers::Absent));
        assert!(is_confirmed(&mut last, MonoNs(SECOND), Peers::Absent), "the others are gone");
        assert_eq!(check(&slip, &mut last, |_| Peers::Contradict), Ok(News::New));
    }
}
