//! Opportunities: buy on one venue, sell on another. The arithmetic of spreads, exact where it decides.

use std::cmp::Ordering;

use crate::market::decimal::{POW10, aligned, compare_products};
use crate::market::quote::Source;
use crate::market::{Decimal, InstrumentId, Level, VenueId};
use crate::time::MonoNs;

/// One leg of an opportunity: a price and a size on a venue, and when we read them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Leg {
    /// Where.
    pub venue: VenueId,
    /// The ask we pay or the bid we hit, and how much stands there.
    pub level: Level,
    /// When its quote was read from the socket.
    pub received: MonoNs,
    /// What sent its quote.
    pub source: Source,
}

/// Buy at `buy`'s ask, sell at `sell`'s bid.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Opportunity {
    /// What is traded.
    pub instrument: InstrumentId,
    /// We pay this venue's ask.
    pub buy: Leg,
    /// We hit this venue's bid.
    pub sell: Leg,
    /// `(sell − buy) / buy × 100`, in percent.
    pub gross_pct: f64,
    /// The same after both taker fees: `(sell × (1 − fee) − buy × (1 + fee)) / buy × 100`, in percent.
    pub net_pct: f64,
    /// When it opened.
    pub opened: MonoNs,
    /// When the detector found it in this state; of a closed one, when it found it closed.
    pub detected: MonoNs,
    /// Largest gross spread since it opened, in percent.
    pub peak_gross_pct: f64,
}

impl Opportunity {
    /// What can be traded at these two prices: the smaller of the two sizes, in base.
    #[must_use]
    pub fn executable_size(&self) -> Decimal {
        self.buy.level.size.min(self.sell.level.size)
    }

    /// The leg whose quote came last: the one that made the opportunity what it is.
    #[must_use]
    pub fn trigger(&self) -> &Leg {
        if self.buy.received >= self.sell.received { &self.buy } else { &self.sell }
    }
}

/// What happened to an opportunity; the detector tells every gateway.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OpportunityEvent {
    /// Its state at this moment.
    pub opportunity: Opportunity,
    /// What happened.
    pub change: Change,
    /// Whether clients are alerted now; `false` inside the debounce time, and on closing.
    pub alert: bool,
}

/// What happened to an opportunity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It went above the threshold.
    Opened,
    /// It is still above, and the debounce time has passed.
    Repeated,
    /// It is still above, at other prices, sizes or times than were last told.
    Updated,
    /// It fell to the threshold or below, or a leg became stale.
    Closed,
}

/// Gross spread in percent, computed from floats as system 1's clients do; for display.
#[must_use]
pub fn gross_pct(buy: Decimal, sell: Decimal) -> f64 {
    let (buy, sell) = (buy.to_f64(), sell.to_f64());
    (sell - buy) / buy * 100.0
}

/// Net spread in percent of the buy price, after both taker fees (percent); for display.
#[must_use]
pub fn net_pct(buy: Decimal, sell: Decimal, buy_fee_pct: Decimal, sell_fee_pct: Decimal) -> f64 {
    let (b, s) = (buy.to_f64(), sell.to_f64());
    (s * (1.0 - sell_fee_pct.to_f64() / 100.0) - b * (1.0 + buy_fee_pct.to_f64() / 100.0)) / b * 100.0
}

/// A bar that a pair of prices is above or not, exactly: `sell × sell_factor > buy × buy_factor`.
///
/// Gross above t %: factors 100 and 100 + t. Net above t %: 100 − sell fee and 100 + buy fee + t.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bar {
    sell_factor: u64,
    buy_factor: u64,
}

/// Factors of a [`Bar`] have this many decimals, so percentages may have up to six.
const FACTOR_SCALE: u8 = 6;

impl Bar {
    /// Gross spread strictly above `threshold_pct` percent.
    #[must_use]
    pub fn gross(threshold_pct: Decimal) -> Self {
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

    /// The float ratio `sell / buy` that is surely not above the bar: for picking candidates quickly.
    #[must_use]
    pub fn ratio_floor(self) -> f64 {
        self.buy_factor as f64 / self.sell_factor.max(1) as f64 * (1.0 - 1e-12)
    }

    /// Whether buying at `buy` and selling at `sell` is strictly above the bar. Exact.
    #[inline]
    #[must_use]
    pub fn is_exceeded(self, buy: Decimal, sell: Decimal) -> bool {
        let (b, s) = aligned(buy, sell);
        compare_products(s, u128::from(self.sell_factor), b, u128::from(self.buy_factor)) == Ordering::Greater
    }
}

const HUNDRED: Decimal = Decimal::new(100, 0);

/// A percentage as an integer with [`FACTOR_SCALE`] decimals; further decimals are cut, which
/// configuration refuses beforehand.
fn factor(pct: Decimal) -> u64 {
    let scale = pct.scale();
    let value = if scale <= FACTOR_SCALE {
        u128::from(pct.mantissa()) * POW10[usize::from(FACTOR_SCALE - scale)]
    } else {
        u128::from(pct.mantissa()) / POW10[usize::from(scale - FACTOR_SCALE)]
    };
    u64::try_from(value).unwrap_or(u64::MAX / 8)
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
    fn f57_net_is_after_both_fees() {
        let bar = Bar::net(d("0"), d("0.1"), d("0.6"));
        assert!(!bar.is_exceeded(d("100"), d("100.70")));
        assert!(bar.is_exceeded(d("100"), d("100.71")));
        assert!((net_pct(d("100"), d("101"), d("0.1"), d("0.6")) - 0.294).abs() < 1e-9);
        assert!((gross_pct(d("100"), d("101")) - 1.0).abs() < 1e-12);
    }
}
