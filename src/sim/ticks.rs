//! Approximate prices of instruments, and the ticks and lots of venues. Typical figures of 2024 to 2026: the simulator
//! needs plausible values, not current ones.

use crate::market::Decimal;

/// The price tick and size lot of one instrument on one venue.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Precision {
    /// A tick is `10^-price_decimals` in quote currency.
    pub price_decimals: u8,
    /// A lot is `10^-size_decimals` in base.
    pub size_decimals: u8,
    /// Price of one unit of the quote currency in US dollars.
    quote_usd: f64,
}

impl Precision {
    /// `price` rounded to the nearest tick, as a number of ticks, at least 1.
    #[must_use]
    pub(crate) fn ticks(&self, price: f64) -> u64 {
        ((price * self.per_unit()).round() as u64).max(1)
    }

    /// The number of ticks at or below `price`, at least 1.
    #[must_use]
    pub(crate) fn ticks_below(&self, price: f64) -> u64 {
        ((price * self.per_unit()).floor() as u64).max(1)
    }

    /// The number of ticks at or above `price`, at least 1.
    #[must_use]
    pub(crate) fn ticks_above(&self, price: f64) -> u64 {
        ((price * self.per_unit()).ceil() as u64).max(1)
    }

    /// The exact price of `ticks`.
    #[must_use]
    pub const fn price(&self, ticks: u64) -> Decimal {
        Decimal::new(ticks, self.price_decimals)
    }

    /// The price of one unit of base in US dollars at `ticks`.
    #[must_use]
    pub(crate) fn dollars_of(&self, ticks: u64) -> f64 {
        ticks as f64 / self.per_unit() * self.quote_usd
    }

    /// The exact size that is nearest to `base`, at least one lot.
    #[must_use]
    pub fn size(&self, base: f64) -> Decimal {
        let lots = (base * 10f64.powi(i32::from(self.size_decimals))).round() as u64;
        Decimal::new(lots.max(1), self.size_decimals)
    }

    fn per_unit(&self) -> f64 {
        10f64.powi(i32::from(self.price_decimals))
    }
}

/// The precision of `base`/`quote` on the venue of this name.
#[must_use]
pub fn of(venue: &str, base: &str, quote: &str) -> Precision {
    let asset = asset(base);
    let price_decimals = match (venue, base) {
        // Five significant digits.
        ("bitfinex", _) => decimals_for(price(base, quote)).saturating_sub(1),
        _ if !is_dollar(quote) => decimals_for(price(base, quote)),
        ("kraken" | "okx" | "bybit" | "kucoin", "BTC") => 1,
        ("kraken", "XRP" | "LINK") => 5,
        ("kraken", "DOGE") => 7,
        ("kraken", "ADA") => 6,
        ("kraken", "DOT") => 4,
        ("coinbase", "LINK") | ("okx" | "bybit", "LINK") => 3,
        _ => asset.price_decimals,
    };
    let size_decimals = match venue {
        "coinbase" | "kraken" | "bitfinex" | "bitstamp" | "upbit" => 8,
        _ => asset.size_decimals,
    };
    Precision { price_decimals, size_decimals, quote_usd: dollars(quote) }
}

/// Whether the venue of this name trades against `quote`. Only some venues trade against the US dollar itself (their
/// public listings).
#[must_use]
pub(crate) fn lists(venue: &str, quote: &str) -> bool {
    quote != "USD" || !NO_DOLLARS.contains(&venue)
}

/// Venues that trade against dollar coins, but not against the US dollar.
const NO_DOLLARS: [&str; 9] = ["binance", "okx", "bybit", "kucoin", "htx", "mexc", "upbit", "gateio", "bitget"];

/// The approximate price of `base` in `quote`.
#[must_use]
pub fn price(base: &str, quote: &str) -> f64 {
    asset(base).usd / dollars(quote)
}

/// The approximate 24-hour volume on one venue, in `quote`.
#[must_use]
pub(crate) fn day_volume(base: &str, quote: &str) -> f64 {
    let share = if is_dollar(quote) { 1.0 } else { 0.05 };
    asset(base).day_volume_usd * share / dollars(quote)
}

/// Whether `quote` is the US dollar or a dollar coin.
#[must_use]
pub(crate) fn is_dollar(quote: &str) -> bool {
    matches!(quote, "USD" | "USDT" | "USDC")
}

fn dollars(currency: &str) -> f64 {
    match currency {
        "EUR" => 1.1,
        "GBP" => 1.3,
        _ if is_dollar(currency) => 1.0,
        _ => asset(currency).usd,
    }
}

/// Decimals that make a tick between a tenth of a basis point and one basis point of the price.
fn decimals_for(price: f64) -> u8 {
    (5.0 - price.log10().floor()).clamp(0.0, 12.0) as u8
}

struct SimAsset {
    name: &'static str,
    usd: f64,
    price_decimals: u8,
    size_decimals: u8,
    day_volume_usd: f64,
}

const fn row(name: &'static str, usd: f64, price_decimals: u8, size_decimals: u8, day_volume_usd: f64) -> SimAsset {
    SimAsset { name, usd, price_decimals, size_decimals, day_volume_usd }
}

/// The last entry stands for all other assets.
static ASSETS: [SimAsset; 11] = [
    row("BTC", 63_700.0, 2, 5, 1.4e9),
    row("ETH", 2_480.0, 2, 4, 7e8),
    row("SOL", 146.0, 2, 3, 3e8),
    row("XRP", 0.5434, 4, 0, 1.2e8),
    row("DOGE", 0.1175, 5, 0, 1e8),
    row("ADA", 0.3562, 4, 1, 4e7),
    row("LTC", 66.2, 2, 3, 2.5e7),
    row("AVAX", 27.4, 2, 2, 4e7),
    row("LINK", 11.6, 2, 2, 3e7),
    row("DOT", 4.28, 3, 2, 2e7),
    row("", 12.5, 4, 2, 5e6),
];

fn asset(base: &str) -> &'static SimAsset {
    ASSETS.iter().find(|a| a.name == base).unwrap_or(&ASSETS[ASSETS.len() - 1])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_are_on_the_grid_and_exact() {
        let precision = of("binance", "BTC", "USDT");
        assert_eq!(precision.price(precision.ticks(63_700.004)).to_string(), "63700");
        assert_eq!(precision.price(precision.ticks_above(63_700.001)).to_string(), "63700.01");
        assert_eq!(precision.price(precision.ticks_below(0.0)).to_string(), "0.01");
        assert_eq!(precision.size(0.0).to_string(), "0.00001");
        assert_eq!(of("kraken", "BTC", "USD").price_decimals, 1);
    }

    #[test]
    fn a_tick_is_small_against_the_price_everywhere() {
        for venue in ["binance", "coinbase", "kraken", "okx", "bybit", "kucoin", "another"] {
            for (base, quote) in [("BTC", "USDT"), ("LINK", "USDT"), ("ETH", "BTC"), ("NEW", "USD"), ("DOGE", "EUR")] {
                let tick = of(venue, base, quote).price(1).to_f64();
                assert!(tick / price(base, quote) < 0.001, "{venue} {base}/{quote}");
            }
        }
    }
}
