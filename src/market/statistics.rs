//! Statistics of the last 24 hours of one instrument on one venue, from the venue's ticker channel. They are displayed
//! beside the top of book, are off the hot path, and are never an input of detection.
//!
//! The values are floats. A float that was read from up to 15 digits prints as the same digits. Derived values are
//! therefore computed exactly from the digits and rounded to 15 digits, so that no client sees `295.0000000000003`.

use std::io::Write as _;

use crate::market::InstrumentId;
use crate::time::UnixNs;

/// The rolling 24 hours of one instrument on one venue.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct DayStatistics {
    /// Instrument of these statistics.
    pub instrument: InstrumentId,
    /// Last traded price.
    pub last: f64,
    /// Highest price of the last 24 hours.
    pub high: f64,
    /// Lowest price of the last 24 hours.
    pub low: f64,
    /// `last` minus the price of 24 hours ago.
    pub change: f64,
    /// The same in percent of the price of 24 hours ago.
    pub change_pct: f64,
    /// Volume of the last 24 hours in quote currency. If the venue gives only base volume: base volume times the
    /// average price, or the last price if there is no average.
    pub quote_volume: f64,
    /// The venue's timestamp; 0 if the venue sends none.
    pub exchange_time: UnixNs,
}

impl DayStatistics {
    /// The price of 24 hours ago.
    #[must_use]
    pub fn open(&self) -> f64 {
        difference(self.last, self.change)
    }

    /// The change as a share of the price of 24 hours ago.
    #[must_use]
    pub(crate) fn change_rate(&self) -> f64 {
        shifted(self.change_pct, 2)
    }
}

/// `a − b`.
#[must_use]
pub fn difference(a: f64, b: f64) -> f64 {
    let exact = || {
        let (a, b) = (Digits::of(a)?, Digits::of(b)?);
        let scale = a.scale.max(b.scale);
        Digits { mantissa: a.at(scale)?.checked_sub(b.at(scale)?)?, scale }.to_float()
    };
    exact().unwrap_or(a - b)
}

/// `a × b`.
#[must_use]
pub(crate) fn product(a: f64, b: f64) -> f64 {
    let exact = || {
        let (a, b) = (Digits::of(a)?, Digits::of(b)?);
        Digits { mantissa: a.mantissa.checked_mul(b.mantissa)?, scale: a.scale + b.scale }.to_float()
    };
    exact().unwrap_or(a * b)
}

/// Converts a share to a percentage.
#[must_use]
pub(crate) fn hundredfold(share: f64) -> f64 {
    product(share, 100.0)
}

/// The change from `open` to `last` in percent of `open`, with ten decimals; 0 if `open` is 0.
#[must_use]
pub fn change_pct(last: f64, open: f64) -> f64 {
    let exact = || {
        let (last, open) = (Digits::of(last)?, Digits::of(open)?);
        let scale = last.scale.max(open.scale);
        let (last, open) = (last.at(scale)?, open.at(scale)?);
        let distance = last.checked_sub(open)?.checked_mul(10i128.pow(12))?;
        Digits { mantissa: divided(distance, open)?, scale: 10 }.to_float()
    };
    if open == 0.0 { 0.0 } else { exact().unwrap_or((last - open) / open * 100.0) }
}

/// The absolute change behind a change of `percent` percent that led to `last`, with eight decimals, or four more than
/// `last` has.
#[must_use]
pub(crate) fn change_of(last: f64, percent: f64) -> f64 {
    let exact = || {
        let (last, percent) = (Digits::of(last)?, Digits::of(percent)?);
        let whole = 100i128.checked_mul(10i128.checked_pow(percent.scale)?)?.checked_add(percent.mantissa)?;
        let scale = (last.scale + 4).max(8);
        let part = Digits { mantissa: last.mantissa.checked_mul(percent.mantissa)?, ..last }.at(scale)?;
        Digits { mantissa: divided(part, whole)?, scale }.to_float()
    };
    let ratio = 1.0 + percent / 100.0;
    if ratio > 0.0 { exact().unwrap_or(last - last / ratio) } else { 0.0 }
}

/// `number` divided by `10^places`.
fn shifted(number: f64, places: u32) -> f64 {
    let exact = || Digits::of(number).and_then(|n| Digits { scale: n.scale + places, ..n }.to_float());
    exact().unwrap_or(number / 10f64.powi(places as i32))
}

/// `a / b`, rounded to the nearest whole number, halves away from zero.
fn divided(a: i128, b: i128) -> Option<i128> {
    let (quotient, rest) = (a.checked_div(b)?, a.checked_rem(b)?);
    let is_more = rest.unsigned_abs() * 2 >= b.unsigned_abs();
    Some(if is_more { quotient + a.signum() * b.signum() } else { quotient })
}

/// A number as it is written: `mantissa / 10^scale`.
#[derive(Clone, Copy)]
struct Digits {
    mantissa: i128,
    scale: u32,
}

impl Digits {
    /// The shortest digits that represent `number`; `None` if they are too many, or `number` is not finite.
    fn of(number: f64) -> Option<Self> {
        let mut text = [0; 40];
        let mut rest = &mut text[..];
        write!(rest, "{number}").ok()?;
        let unused = rest.len();
        let written = &text[..text.len() - unused];
        let (sign, written) = match written {
            [b'-', digits @ ..] => (-1, digits),
            digits => (1, digits),
        };
        let point = written.iter().position(|byte| *byte == b'.');
        let digits = written.iter().filter(|byte| **byte != b'.');
        let mantissa = digits.into_iter().try_fold(0i128, |whole, byte| {
            byte.is_ascii_digit().then(|| whole * 10 + i128::from(byte - b'0')).filter(|whole| *whole < 10i128.pow(20))
        })?;
        Some(Self { mantissa: sign * mantissa, scale: point.map_or(0, |at| (written.len() - at - 1) as u32) })
    }

    /// The mantissa at `scale` decimals, which must not be fewer than it has.
    fn at(self, scale: u32) -> Option<i128> {
        self.mantissa.checked_mul(10i128.checked_pow(scale - self.scale)?)
    }

    /// The nearest float, rounded to 15 significant digits: a float prints as the digits that it was read from if there
    /// are at most 15.
    fn to_float(self) -> Option<f64> {
        let extra = self.mantissa.unsigned_abs().checked_ilog10().unwrap_or(0).saturating_sub(14);
        let mantissa = divided(self.mantissa, 10i128.pow(extra))?;
        let exponent = i64::from(extra) - i64::from(self.scale);
        let mut text = [0; 64];
        let mut rest = &mut text[..];
        write!(rest, "{mantissa}e{exponent}").ok()?;
        let unused = rest.len();
        std::str::from_utf8(&text[..text.len() - unused]).ok()?.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_computed_has_no_dust() {
        assert_eq!(difference(42_500.5, 41_000.3).to_string(), "1500.2");
        assert_eq!(difference(100_000.1, 100_000.0).to_string(), "0.1");
        assert_eq!(difference(0.1, 0.3).to_string(), "-0.2");
        assert_eq!(product(0.1, 3.0).to_string(), "0.3");
        // Kraken's volume times its average price; the exact product has 23 digits.
        assert_eq!(product(22_051.232_380_775_335, 63_474.7).to_string(), "1399695360");
        assert_eq!(product(274_561.369_691_270_9, 2_488.59).to_string(), "683270679");
        assert_eq!(product(1234.5678, 63_704.12).to_string(), "78647055.279336");
        assert_eq!(hundredfold(0.0029).to_string(), "0.29");
        assert_eq!(hundredfold(-0.0057).to_string(), "-0.57");
        assert_eq!(change_pct(102.85, 99.9).to_string(), "2.952952953");
        assert_eq!(change_pct(1.0, 0.0), 0.0);
        assert_eq!(change_of(110.0, 10.0).to_string(), "10");
        assert_eq!(change_of(0.000_006_37, -2.5).to_string(), "-0.000000163333");
        assert_eq!(change_of(1.0, -100.0), 0.0);
        for wild in [f64::MAX, f64::MIN_POSITIVE, 1e300, f64::NAN, f64::INFINITY] {
            assert_eq!(difference(wild, 1.0).to_bits(), (wild - 1.0).to_bits());
            let _ = (product(wild, wild), change_pct(wild, 3.0), change_of(wild, 3.0), change_of(3.0, wild));
        }
    }

    proptest! {
        #[test]
        fn differences_are_those_of_the_digits(a in 0i64..1_000_000_000, b in 0i64..1_000_000_000, scale in 0u32..9) {
            let written = |whole: i64| whole as f64 / 10f64.powi(scale as i32);
            prop_assert_eq!(difference(written(a), written(b)).to_string(), written(a - b).to_string());
        }
    }
}
