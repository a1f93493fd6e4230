//! Opportunities: buy on one venue, sell on another. Spread arithmetic, exact wherever it decides.

use std::cmp::Ordering;

use crate::market::decimal::{POW10, aligned, compare_products};
use crate::market::quote::{ExcessLag, Source};
use crate::market::{Decimal, Figure, InstrumentId, Level, VenueId};
pub use crate::metrics::reasons::Class;
use crate::time::MonoNs;

/// One leg of an opportunity: a price and a size on a venue, and when we read them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Leg {
    /// Venue of this leg.
    pub venue: VenueId,
    /// The ask we pay or the bid we hit, with its size.
    pub level: Level,
    /// When the quote was read from the socket.
    pub received: MonoNs,
    /// Source of the quote.
    pub source: Source,
    /// How much later than usual the quote arrived.
    pub excess: ExcessLag,
}

/// Buying at the ask of `buy` and selling at the bid of `sell`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Opportunity {
    /// The traded instrument.
    pub instrument: InstrumentId,
    /// We pay this venue's ask.
    pub buy: Leg,
    /// We hit this venue's bid.
    pub sell: Leg,
    /// `(sell − buy) / buy × 100`.
    pub gross_pct: Percent,
    /// The same after both taker fees: `(sell × (1 − fee) − buy × (1 + fee)) / buy × 100`.
    pub net_pct: Percent,
    /// Net spread at which the route usually stands, if that is more than half of the threshold.
    pub basis_pct: Option<Percent>,
    /// When it opened.
    pub opened: MonoNs,
    /// When the detector found this state; for a closed opportunity, when it found it closed.
    pub detected: MonoNs,
    /// Largest gross spread since it opened.
    pub peak_gross_pct: Percent,
    /// The group that it belongs to.
    pub group: Group,
    /// Whether both legs could have been hit at the same moment.
    pub coexistence: Coexistence,
}

/// One of the two trades of an opportunity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum LegSide {
    /// Paying the ask.
    #[default]
    Buy,
    /// Hitting the bid.
    Sell,
}

impl LegSide {
    /// The word for clients.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Buy => "buy",
            Self::Sell => "sell",
        }
    }
}

/// Opportunities with one cause: the price of one venue moved, and each other venue forms an opportunity with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Group {
    /// Unique within this process; 0: no group.
    pub number: u64,
    /// The member that represents the group, identified by buy venue, sell venue and opening time.
    pub leader: (VenueId, VenueId, MonoNs),
    /// The leg that all members share; for a group that never had two members, the leg with the later quote.
    pub leg: LegSide,
    /// Number of open members after the whole event: equal in all events of one scan.
    pub size: u32,
}

/// What is known about whether both legs of an opportunity could have been hit at the same moment, the weakest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Proof {
    /// A later frame shows that one leg had moved before the other began.
    Refuted,
    /// A leg has neither a timestamp nor a witness.
    #[default]
    Unproven,
    /// Both legs have a timestamp or a witness, but the frames that show a common interval have not arrived yet.
    Likely,
    /// The timestamps of both venues show a common interval.
    Proven,
}

impl Proof {
    /// The word for clients.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Proven => "proven",
            Self::Likely => "likely",
            Self::Unproven => "unproven",
            Self::Refuted => "refuted",
        }
    }
}

/// Whether both legs could have been hit at the same moment, with the measurements.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Coexistence {
    /// What is known.
    pub proof: Proof,
    /// Length of the common interval in nanoseconds, truncated to the coarser unit of the timestamps; 0 unless proven.
    pub length_ns: u64,
    /// The larger error of the two venues' clocks, in nanoseconds; `None` while it is unknown.
    pub error_ns: Option<u64>,
    /// The earliest times at which the legs can have begun, buy and sell; 0: unknown.
    pub begun: [MonoNs; 2],
}

impl Opportunity {
    /// The size that can be traded at these two prices: the smaller of the two sizes, in base.
    #[must_use]
    pub(crate) fn executable_size(&self) -> Decimal {
        self.buy.level.size.min(self.sell.level.size)
    }

    /// The leg whose quote arrived last and so caused the present state.
    #[must_use]
    pub(crate) fn trigger(&self) -> &Leg {
        if self.buy.received >= self.sell.received { &self.buy } else { &self.sell }
    }
}

/// What happened to an opportunity. The detector sends it to every gateway.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OpportunityEvent {
    /// State of the opportunity after the event.
    pub opportunity: Opportunity,
    /// What happened.
    pub change: Change,
    /// Whether clients receive an alert now; `false` within the debounce time, and on closing.
    pub alert: bool,
    /// What it was; `None` while it is open.
    pub class: Option<Class>,
}

/// What happened to an opportunity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The spread rose above the threshold.
    Opened,
    /// The spread is above the threshold while it is open, and the debounce time has passed.
    Repeated,
    /// Prices, sizes or times differ from the last event.
    Updated,
    /// The opportunity has ended.
    Closed(CloseReason),
}

impl Change {
    /// Why it closed; `None` while it is open.
    #[must_use]
    pub const fn reason(self) -> Option<CloseReason> {
        match self {
            Self::Closed(reason) => Some(reason),
            Self::Opened | Self::Repeated | Self::Updated => None,
        }
    }
}

/// Why an opportunity closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum CloseReason {
    /// The ask that we pay rose.
    BuyMoved,
    /// The bid that we hit fell.
    SellMoved,
    /// Both prices moved since it opened.
    BothMoved,
    /// One quote took the spread below zero by more than half of its former value, which shows that the leg was
    /// outdated.
    Collapsed,
    /// A leg's quote is too old, or too old compared with the other leg.
    LegStale,
    /// A leg's quote is no longer valid: a gap, a failed checksum, a missing side, or a crossed book.
    LegVoid,
    /// A leg's price is implausible, or the legs are no longer known to be the same asset.
    Quarantined,
    /// The route usually stands at such a spread.
    StandingBasis,
    /// The connection to a leg's venue was lost, or the leader of that venue stopped pushing quotes.
    VenueLost,
    /// A leg's venue sends its data late.
    LaggingVenue,
    /// This process lags behind the data of a leg's venue.
    LaggingOwn,
    /// A leg's venue reports that the instrument is not traded now.
    NotTrading,
    /// A later frame shows that one leg had moved before the other began.
    NeverCoexisted,
    /// A leg is no longer quoted.
    Removed,
    /// The server is shutting down.
    Shutdown,
    /// The end was missed; the opportunity has opened again.
    Unknown,
}

impl CloseReason {
    /// The word for clients.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::BuyMoved => "buy_moved",
            Self::SellMoved => "sell_moved",
            Self::BothMoved => "both_moved",
            Self::Collapsed => "collapsed",
            Self::LegStale => "leg_stale",
            Self::LegVoid => "leg_void",
            Self::Quarantined => "quarantined",
            Self::StandingBasis => "standing_basis",
            Self::VenueLost => "venue_lost",
            Self::LaggingVenue => "lagging_venue",
            Self::LaggingOwn => "lagging_own",
            Self::NotTrading => "not_trading",
            Self::NeverCoexisted => "never_coexisted",
            Self::Removed => "removed",
            Self::Shutdown => "shutdown",
            Self::Unknown => "unknown",
        }
    }
}

/// Percent with ten decimals, in units of 10⁻¹⁰ %. Rounded to the nearest unit, halves away from zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Percent(pub i64);

/// How many decimals a [`Percent`] has.
const PERCENT_SCALE: u8 = 10;

impl Percent {
    /// `pct` percent. Further decimals are cut; the configuration rejects them beforehand.
    #[must_use]
    pub fn of(pct: Decimal) -> Self {
        Self(i64::try_from(pct.to_units(PERCENT_SCALE)).unwrap_or(i64::MAX))
    }

    /// This part of it, `ratio` from 0 to 1 with at most six decimals. Rounded down.
    #[must_use]
    pub fn times(self, ratio: Decimal) -> Self {
        Self((i128::from(self.0) * i128::from(ratio.to_units(6)) / 1_000_000) as i64)
    }

    /// Writes it as a JSON number, without trailing zeros: `-0.25`.
    pub fn write(self, out: &mut Vec<u8>) {
        Figure::new(self.0 < 0, u128::from(self.0.unsigned_abs()), PERCENT_SCALE).write(out);
    }

    /// The nearest float; never for a decision.
    #[must_use]
    pub fn to_f64(self) -> f64 {
        self.0 as f64 / POW10[usize::from(PERCENT_SCALE)] as f64
    }
}

/// Gross spread in percent of the buy price: `(sell − buy) / buy × 100`.
#[must_use]
pub fn gross_pct(buy: Decimal, sell: Decimal) -> Percent {
    net_pct(buy, sell, Decimal::ZERO, Decimal::ZERO)
}

/// Net spread in percent of the buy price, after both taker fees (percent): `(sell × (1 − fee) − buy × (1 + fee)) / buy
/// × 100`. 0 if `buy` is 0.
#[must_use]
pub fn net_pct(buy: Decimal, sell: Decimal, buy_fee_pct: Decimal, sell_fee_pct: Decimal) -> Percent {
    let (mut b, mut s) = aligned(buy.normalised(), sell.normalised());
    // 26 digits leave room for the factors below; no price needs more.
    while b.max(s) > POW10[26] {
        (b, s) = (b / 10, s / 10);
    }
    if b == 0 {
        return if buy.is_zero() { Percent::default() } else { Percent(i64::MAX) };
    }
    let bar = Bar::net(Decimal::ZERO, buy_fee_pct, sell_fee_pct);
    // The factors include the 100 of the percentage, with six decimals. Four more make the ten decimals of the result.
    const STEP: u128 = POW10[(PERCENT_SCALE - FACTOR_SCALE) as usize];
    let (income, cost) = (s * u128::from(bar.sell_factor) * STEP, b * u128::from(bar.buy_factor) * STEP);
    let (distance, divisor) = (income.abs_diff(cost), b);
    let rounded = distance / divisor + u128::from(distance % divisor * 2 >= divisor);
    let magnitude = i64::try_from(rounded).unwrap_or(i64::MAX);
    Percent(if income < cost { -magnitude } else { magnitude })
}

/// `(sell − buy) / buy × 100` with `decimals` decimals, at most ten; 0 if `buy` is 0.
#[must_use]
pub(crate) fn spread_of(buy: Decimal, sell: Decimal, decimals: u8) -> Figure {
    let (mut b, mut s) = aligned(buy.normalised(), sell.normalised());
    while b.max(s) > POW10[26] {
        (b, s) = (b / 10, s / 10);
    }
    let part = s.abs_diff(b) * POW10[usize::from(decimals.min(PERCENT_SCALE) + 2)];
    let whole = part.checked_div(b).unwrap_or(0) + u128::from(part.checked_rem(b).is_some_and(|rest| rest * 2 >= b));
    Figure::new(s < b, whole, decimals.min(PERCENT_SCALE))
}

/// A threshold for a pair of prices, tested exactly: `sell × sell_factor > buy × buy_factor`.
///
/// Gross above t %: factors 100 and 100 + t. Net above t %: 100 − sell fee and 100 + buy fee + t.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bar {
    sell_factor: u64,
    buy_factor: u64,
}

/// Factors of a [`Bar`] have this many decimals, so percentages may have up to six.
const FACTOR_SCALE: u8 = 6;

impl Bar {
    /// Gross spread strictly above `threshold_pct` percent.
    #[must_use]
    pub(crate) fn gross(threshold_pct: Decimal) -> Self {
        Self { sell_factor: factor(HUNDRED), buy_factor: factor(HUNDRED) + factor(threshold_pct) }
    }

    /// Net spread after both taker fees strictly above `threshold_pct` percent of the buy price.
    #[must_use]
    pub fn net(threshold_pct: Decimal, buy_fee_pct: Decimal, sell_fee_pct: Decimal) -> Self {
        Self {
            sell_factor: factor(HUNDRED).saturating_sub(factor(sell_fee_pct)),
            buy_factor: factor(HUNDRED) + factor(buy_fee_pct) + factor(threshold_pct),
        }
    }

    /// The same bar at `ratio`, from 0 to 1, of its threshold of `threshold_pct` percent. Exact.
    #[must_use]
    pub(crate) fn at_ratio(self, threshold_pct: Decimal, ratio: Decimal) -> Self {
        let (whole, part) = (factor(Decimal::new(1, 0)), factor(ratio));
        Self {
            sell_factor: self.sell_factor * whole,
            buy_factor: self.buy_factor * whole - factor(threshold_pct) * whole.saturating_sub(part),
        }
    }

    /// A float ratio `sell / buy` that is certainly not above the bar, for a fast preselection of candidates.
    #[must_use]
    pub(crate) fn ratio_floor(self) -> f64 {
        self.buy_factor as f64 / self.sell_factor.max(1) as f64 * (1.0 - 1e-12)
    }

    /// Whether buying at `buy` and selling at `sell` is strictly above the bar. Exact.
    #[inline]
    #[must_use]
    pub(crate) fn is_exceeded(self, buy: Decimal, sell: Decimal) -> bool {
        let (b, s) = aligned(buy, sell);
        compare_products(s, u128::from(self.sell_factor), b, u128::from(self.buy_factor)) == Ordering::Greater
    }
}

const HUNDRED: Decimal = Decimal::new(100, 0);

/// A percentage as an integer with [`FACTOR_SCALE`] decimals. Further decimals are cut; the configuration rejects them
/// beforehand.
fn factor(pct: Decimal) -> u64 {
    pct.to_units(FACTOR_SCALE).min(u64::MAX / 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn d(text: &str) -> Decimal {
        text.parse().unwrap()
    }

    #[test]
    fn the_threshold_itself_is_not_above_it() {
        let bar = Bar::gross(d("0.5"));
        assert!(!bar.is_exceeded(d("100"), d("100.5")));
        assert!(bar.is_exceeded(d("100"), d("100.50000001")));
        assert!(!bar.is_exceeded(d("42500.50"), d("42713.0025")));
        assert!(bar.is_exceeded(d("0.00000200"), d("0.00000202")));
    }

    #[test]
    fn net_is_after_both_fees() {
        let bar = Bar::net(d("0"), d("0.1"), d("0.6"));
        assert!(!bar.is_exceeded(d("100"), d("100.70")));
        assert!(bar.is_exceeded(d("100"), d("100.71")));
        assert_eq!(text(net_pct(d("100"), d("101"), d("0.1"), d("0.6"))), "0.294");
    }

    #[test]
    fn a_part_of_a_threshold_is_exact_to_the_last_decimal() {
        let gross = |ratio: &str| Bar::gross(d("0.5")).at_ratio(d("0.5"), d(ratio));
        assert!(!gross("0.8").is_exceeded(d("100"), d("100.4")));
        assert!(gross("0.8").is_exceeded(d("100"), d("100.4000000001")));
        assert!(!gross("1").is_exceeded(d("100"), d("100.5")));
        assert!(!gross("0").is_exceeded(d("100"), d("100")));
        assert!(gross("0").is_exceeded(d("100"), d("100.00000001")));
        // 0.000001 % × 0.000001 are twelve decimals.
        let fine = Bar::gross(d("0.000001")).at_ratio(d("0.000001"), d("0.000001"));
        assert!(!fine.is_exceeded(d("1000000"), d("1000000.00000001")));
        assert!(fine.is_exceeded(d("1000000"), d("1000000.000000010001")));
        let net = Bar::net(d("0.5"), d("0.1"), d("0.6")).at_ratio(d("0.5"), d("0.8"));
        assert!(!net.is_exceeded(d("99.4"), d("100.5")), "the fees stay whole");
        assert!(net.is_exceeded(d("99.4"), d("100.50000001")));
        let zero = Bar::gross(Decimal::ZERO).at_ratio(Decimal::ZERO, d("0.8"));
        assert!(!zero.is_exceeded(d("100"), d("100")));
        assert!(zero.is_exceeded(d("100"), d("100.01")));
    }

    fn text(percent: Percent) -> String {
        let mut out = Vec::new();
        percent.write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn percentages_are_rounded_quotients_and_never_floats() {
        for (buy, sell, shown) in [
            ("100", "101", "1"),
            ("99.9", "102.85", "2.952952953"),
            ("3", "4", "33.3333333333"),
            ("3", "5", "66.6666666667"),
            ("3", "1", "-66.6666666667"),
            ("42500.00000000", "42500", "0"),
            ("0.00000637", "0.00000638", "0.1569858713"),
            ("1234567890123456789", "1234567890123456790", "0"),
            ("0.0000000000000000001", "18446744073709551615", "922337203.6854775807"),
        ] {
            assert_eq!(text(gross_pct(d(buy), d(sell))), shown, "{buy} {sell}");
        }
    }

    #[test]
    fn a_spread_is_rounded_once() {
        let shown = |buy, sell, decimals| {
            let mut out = Vec::new();
            spread_of(d(buy), d(sell), decimals).write(&mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(shown("42500.50", "42501.00", 4), "0.0012");
        assert_eq!(shown("3", "2", 4), "-33.3333");
        assert_eq!(shown("100", "100.00005", 4), "0.0001", "halves go away from zero");
        assert_eq!(shown("0", "1", 4), "0");
    }

    proptest::proptest! {
        #[test]
        fn a_percentage_is_within_half_a_unit_of_the_quotient(b in 1u64..1_000_000_000_000, s in 1u64..1_000_000_000_000) {
            let exact = (i128::from(s) - i128::from(b)) * 1_000_000_000_000;
            let got = i128::from(gross_pct(Decimal::new(b, 7), Decimal::new(s, 7)).0);
            proptest::prop_assume!(got != i128::from(i64::MAX));
            proptest::prop_assert!((got * i128::from(b) - exact).abs() * 2 <= i128::from(b));
        }
    }
}
