//! The rolling 24 hours of one simulated instrument on one venue, in bars of 15 minutes. Prices are counted in ticks,
//! so that all figures are multiples of the venue's tick.

use std::collections::VecDeque;

use crate::market::Decimal;
use crate::market::statistics::{self, DayStatistics};
use crate::random::Random;
use crate::time::{SECOND, UnixNs};

/// Number of bars in 24 hours.
const BARS: usize = 96;
/// Length of a bar in nanoseconds.
pub(crate) const BAR_NS: u64 = 900 * SECOND;
/// Deviation of a bar's move, as a fraction of the price: about that of the price path over 15 minutes.
const BAR_MOVE: f64 = 45e-4;

/// The 24 hours before the start of the simulation, relative to the price at the start. All venues of an instrument
/// share one history.
#[derive(Clone, Debug)]
pub(crate) struct PriceHistory(Vec<PastBar>);

#[derive(Clone, Copy, Debug)]
struct PastBar {
    open: f64,
    high: f64,
    low: f64,
    /// Share of the 24-hour volume.
    share: f64,
}

impl PriceHistory {
    /// A random history that ends at 1.0.
    #[must_use]
    pub fn new(random: &mut Random) -> Self {
        let mut bars = Vec::with_capacity(BARS);
        let mut close: f64 = 1.0;
        for _ in 0..BARS {
            let open = close * (1.0 - BAR_MOVE * random.bell());
            let high = open.max(close) * (1.0 + BAR_MOVE * 0.4 * random.unit());
            let low = open.min(close) * (1.0 - BAR_MOVE * 0.4 * random.unit());
            bars.push(PastBar { open, high, low, share: random.between(0.5, 1.5) / BARS as f64 });
            close = open;
        }
        bars.reverse();
        Self(bars)
    }
}

/// The last 24 hours.
#[derive(Clone, Debug)]
pub(crate) struct Rolling24h {
    /// Oldest first, the open bar last.
    bars: VecDeque<RollingBar>,
    decimals: u8,
    last: u64,
    volume_per_bar: f64,
}

#[derive(Clone, Copy, Debug)]
struct RollingBar {
    open: u64,
    high: u64,
    low: u64,
    volume: f64,
}

impl Rolling24h {
    /// Statistics that end now at `last` ticks of `10^-decimals`, with a volume of about `volume` in quote currency.
    #[must_use]
    pub fn new(history: &PriceHistory, last: u64, decimals: u8, volume: f64) -> Self {
        let ticks = |factor: f64| ((last as f64 * factor).round() as u64).max(1);
        let mut bars: VecDeque<RollingBar> = history
            .0
            .iter()
            .map(|b| RollingBar {
                open: ticks(b.open),
                high: ticks(b.high),
                low: ticks(b.low),
                volume: b.share * volume,
            })
            .collect();
        // The oldest bar is replaced by the one that opens now.
        bars.pop_front();
        bars.push_back(RollingBar { open: last, high: last, low: last, volume: 0.0 });
        Self { bars, decimals, last, volume_per_bar: volume / BARS as f64 }
    }

    /// Records a trade at `ticks` that represents all trades of the last `share` of a bar.
    pub(crate) fn trade(&mut self, ticks: u64, share: f64) {
        self.last = ticks;
        let volume = self.volume_per_bar * share;
        if let Some(bar) = self.bars.back_mut() {
            bar.high = bar.high.max(ticks);
            bar.low = bar.low.min(ticks);
            bar.volume += volume;
        }
    }

    /// Starts a new bar and drops the oldest.
    pub(crate) fn roll(&mut self) {
        self.bars.pop_front();
        self.bars.push_back(RollingBar { open: self.last, high: self.last, low: self.last, volume: 0.0 });
    }

    /// The statistics as a ticker shows them.
    #[must_use]
    pub fn statistics(&self, time: UnixNs) -> DayStatistics {
        let price = |ticks| Decimal::new(ticks, self.decimals).to_f64();
        let open = self.bars.front().map_or(self.last, |b| b.open);
        let high = self.bars.iter().map(|b| b.high).max().unwrap_or(self.last);
        let low = self.bars.iter().map(|b| b.low).min().unwrap_or(self.last);
        let change = statistics::difference(price(self.last), price(open));
        DayStatistics {
            last: price(self.last),
            high: price(high),
            low: price(low),
            change,
            change_pct: (change / price(open) * 1e5).round() / 1e3,
            quote_volume: self.bars.iter().map(|b| b.volume).sum::<f64>().round(),
            exchange_time: time,
            ..DayStatistics::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_day_agrees_with_its_trades() {
        let mut random = Random::new(3);
        let history = PriceHistory::new(&mut random);
        let mut rolling = Rolling24h::new(&history, 6_370_000, 2, 1e9);
        for n in 0..500u64 {
            if n % 5 == 4 {
                rolling.roll();
            }
            rolling.trade(6_370_000 + random.below(50_000) as u64, 0.2);
            let s = rolling.statistics(UnixNs(n));
            assert!(s.low <= s.last && s.last <= s.high, "{s:?}");
            let open = s.last - s.change;
            assert!(s.low <= open + 1e-6 && open <= s.high + 1e-6, "{s:?}");
            assert!((s.change_pct - s.change / open * 100.0).abs() < 0.001, "{s:?}");
            assert!(s.quote_volume > 5e8 && s.quote_volume < 2e9, "{s:?}");
        }
    }

    #[test]
    fn a_peak_is_forgotten_after_a_day() {
        let mut rolling = Rolling24h::new(&PriceHistory::new(&mut Random::new(1)), 1000, 1, 1e6);
        rolling.trade(5000, 0.5);
        rolling.trade(1000, 0.5);
        for _ in 0..BARS {
            assert_eq!(rolling.statistics(UnixNs(0)).high, 500.0);
            rolling.roll();
            rolling.trade(1000, 1.0);
        }
        assert_eq!(rolling.statistics(UnixNs(0)).high, 100.0);
    }
}
