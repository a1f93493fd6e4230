//! Exact decimal numbers as venues write them: a mantissa and a number of decimals. Never a float.
//!
//! The written form is preserved (`63704.00000000` keeps eight decimals), because some venues compute checksums over
//! it. Comparison is by value. Negative numbers are not supported: no price or size is negative.

use std::cmp::Ordering;
use std::fmt;
use std::ops::RangeInclusive;

use crate::settings::{Given, Setting};

/// A non-negative decimal, `mantissa / 10^scale`; at most 19 significant digits, at most 19 decimals.
#[derive(Clone, Copy, Default)]
pub struct Decimal {
    mantissa: u64,
    scale: u8,
}

/// Why a text is not a [`Decimal`]. A venue's mistake: the frame is counted and skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecimalError {
    /// Empty, or not of the form `digits[.digits][e[±]digits]`.
    Malformed,
    /// A well-formed number below zero.
    Negative,
    /// More than 19 digits, or more than 19 decimals.
    TooLong,
}

/// The most decimals a [`Decimal`] can have.
pub const SCALE_MAX: u8 = 19;

/// `10^n` for `n` in `0..=38`.
pub(crate) const POW10: [u128; 39] = {
    let mut table = [1u128; 39];
    let mut n = 1;
    while n < 39 {
        table[n] = table[n - 1] * 10;
        n += 1;
    }
    table
};

impl Decimal {
    /// Zero, without decimals.
    pub const ZERO: Self = Self { mantissa: 0, scale: 0 };

    /// `mantissa / 10^scale`.
    ///
    /// # Panics
    /// If `scale` is above [`SCALE_MAX`], which is our own mistake.
    #[must_use]
    pub const fn new(mantissa: u64, scale: u8) -> Self {
        assert!(scale <= SCALE_MAX);
        Self { mantissa, scale }
    }

    /// The digits without the point.
    #[must_use]
    pub const fn mantissa(self) -> u64 {
        self.mantissa
    }

    /// How many of the digits are decimals.
    #[must_use]
    pub const fn scale(self) -> u8 {
        self.scale
    }

    /// Whether the value is zero, regardless of its decimals.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.mantissa == 0
    }

    /// Parses the strict grammar `digits[.digits][(e|E)[+|-]digits]`. Blanks and signs are rejected; a number below
    /// zero is reported as [`DecimalError::Negative`].
    ///
    /// # Errors
    /// [`DecimalError`] names the reason. Nothing is rounded.
    #[inline]
    pub fn parse(text: &[u8]) -> Result<Self, DecimalError> {
        let mut mantissa: u64 = 0;
        let mut point = usize::MAX;
        // Up to 19 characters cannot overflow a u64, so the common case has no overflow check.
        if text.len() <= 19 {
            for (at, &byte) in text.iter().enumerate() {
                let digit = byte.wrapping_sub(b'0');
                if digit <= 9 {
                    mantissa = mantissa * 10 + u64::from(digit);
                } else if byte == b'.' && point == usize::MAX && at > 0 {
                    point = at;
                } else {
                    return Self::parse_rare(text);
                }
            }
            return match (text.len(), point) {
                (0, _) => Err(DecimalError::Malformed),
                (_, usize::MAX) => Ok(Self { mantissa, scale: 0 }),
                (len, at) if at + 1 < len => Ok(Self { mantissa, scale: (len - at - 1) as u8 }),
                _ => Err(DecimalError::Malformed),
            };
        }
        Self::parse_rare(text)
    }

    /// Parses long, exponent and negative forms, and rejects malformed text.
    #[cold]
    fn parse_rare(text: &[u8]) -> Result<Self, DecimalError> {
        let (negative, text) = match text {
            [b'-', rest @ ..] => (true, rest),
            _ => (false, text),
        };
        let (number, exponent) = match text.iter().position(|b| matches!(b, b'e' | b'E')) {
            Some(at) => (&text[..at], parse_exponent(&text[at + 1..])?),
            None => (text, 0),
        };
        let (whole, fraction) = match number.iter().position(|&b| b == b'.') {
            Some(at) if at + 1 < number.len() => (&number[..at], &number[at + 1..]),
            Some(_) => return Err(DecimalError::Malformed),
            None => (number, &number[..0]),
        };
        if whole.is_empty() || !whole.iter().chain(fraction).all(u8::is_ascii_digit) {
            return Err(DecimalError::Malformed);
        }
        let mut mantissa: u128 = 0;
        let mut scale: i64 = 0;
        let mut trailing_zeros: i64 = 0;
        for (at, byte) in whole.iter().chain(fraction).enumerate() {
            let digit = u128::from(byte - b'0');
            if at >= whole.len() {
                scale += 1;
            }
            // Zeros wait until another digit follows, so that padding never costs precision.
            if digit == 0 && mantissa != 0 {
                trailing_zeros += 1;
                continue;
            }
            let factor = usize::try_from(trailing_zeros + 1).ok().and_then(|zeros| POW10.get(zeros));
            mantissa = factor
                .and_then(|factor| mantissa.checked_mul(*factor)?.checked_add(digit))
                .filter(|mantissa| *mantissa <= u128::from(u64::MAX))
                .ok_or(DecimalError::TooLong)?;
            trailing_zeros = 0;
        }
        if negative && mantissa != 0 {
            return Err(DecimalError::Negative);
        }
        scale -= trailing_zeros + exponent;
        if mantissa == 0 {
            return Ok(Self { mantissa: 0, scale: scale.clamp(0, i64::from(SCALE_MAX)) as u8 });
        }
        // Restores as many of the written zeros as fit.
        while scale < 0 || (trailing_zeros > 0 && scale < i64::from(SCALE_MAX)) {
            let padded = mantissa * 10;
            if padded > u128::from(u64::MAX) {
                break;
            }
            mantissa = padded;
            scale += 1;
            trailing_zeros -= 1;
        }
        match (u64::try_from(mantissa), u8::try_from(scale)) {
            (Ok(mantissa), Ok(scale)) if scale <= SCALE_MAX => Ok(Self { mantissa, scale }),
            _ => Err(DecimalError::TooLong),
        }
    }

    /// The same value without trailing zeros after the decimal point.
    #[must_use]
    pub fn normalised(mut self) -> Self {
        while self.scale > 0 && self.mantissa.is_multiple_of(10) {
            self.mantissa /= 10;
            self.scale -= 1;
        }
        self
    }

    /// The value in units of `10^-scale`, rounded down; [`u64::MAX`] if it does not fit.
    #[must_use]
    pub(crate) fn to_units(self, scale: u8) -> u64 {
        let mantissa = u128::from(self.mantissa);
        let units = match scale.checked_sub(self.scale) {
            Some(more) => mantissa.checked_mul(POW10[usize::from(more)]),
            None => Some(mantissa / POW10[usize::from(self.scale - scale)]),
        };
        units.and_then(|units| u64::try_from(units).ok()).unwrap_or(u64::MAX)
    }

    /// The nearest float, for display and for preselecting candidates; never for a decision.
    #[inline]
    #[must_use]
    pub fn to_f64(self) -> f64 {
        const POW10_F64: [f64; 20] = [
            1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18,
            1e19,
        ];
        self.mantissa as f64 / POW10_F64[self.scale as usize]
    }

    /// Writes the value without trailing zeros (`0.5`, `42500`), valid as a JSON number and within a JSON string.
    pub fn write(self, out: &mut Vec<u8>) {
        let Self { mantissa, scale } = self.normalised();
        write_digits(mantissa, scale, out);
    }

    /// Writes the value exactly as the venue wrote it, including trailing zeros.
    pub fn write_verbatim(self, out: &mut Vec<u8>) {
        write_digits(self.mantissa, self.scale, out);
    }
}

/// An exact number computed from [`Decimal`]s. It may be negative and may have more digits.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Figure {
    is_negative: bool,
    mantissa: u128,
    scale: u8,
}

impl Figure {
    /// `±mantissa / 10^scale`.
    #[must_use]
    pub const fn new(is_negative: bool, mantissa: u128, scale: u8) -> Self {
        Self { is_negative, mantissa, scale }
    }

    /// `a − b`.
    #[must_use]
    pub fn difference(a: Decimal, b: Decimal) -> Self {
        let (a, b) = (a.normalised(), b.normalised());
        let (left, right) = aligned(a, b);
        Self { is_negative: left < right, mantissa: left.abs_diff(right), scale: a.scale.max(b.scale) }
    }

    /// Halfway between `a` and `b`.
    #[must_use]
    pub(crate) fn middle(a: Decimal, b: Decimal) -> Self {
        let (a, b) = (a.normalised(), b.normalised());
        let (left, right) = aligned(a, b);
        let scale = a.scale.max(b.scale);
        // Half of a number is five times the number with one more decimal. If 38 digits are not enough, the last one is
        // cut.
        let (mantissa, scale) = match left.checked_add(right).and_then(|sum| sum.checked_mul(5)) {
            Some(mantissa) => (mantissa, scale + 1),
            None => (left / 2 + right / 2, scale),
        };
        Self { is_negative: false, mantissa, scale }
    }

    /// The number times `factor`; saturates.
    #[must_use]
    pub const fn times(self, factor: u64) -> Self {
        Self { mantissa: self.mantissa.saturating_mul(factor as u128), ..self }
    }

    /// Writes the value as a JSON number without trailing zeros. Zero has no sign.
    pub fn write(self, out: &mut Vec<u8>) {
        let Self { is_negative, mut mantissa, mut scale } = self;
        while scale > 0 && mantissa.is_multiple_of(10) {
            (mantissa, scale) = (mantissa / 10, scale - 1);
        }
        if is_negative && mantissa != 0 {
            out.push(b'-');
        }
        write_digits(mantissa, scale, out);
    }
}

impl From<Decimal> for Figure {
    fn from(number: Decimal) -> Self {
        Self { is_negative: false, mantissa: u128::from(number.mantissa), scale: number.scale }
    }
}

/// Larger exponents are replaced by this one, which makes every number except zero too long.
const EXPONENT_MAX: i64 = 1 << 40;

fn parse_exponent(text: &[u8]) -> Result<i64, DecimalError> {
    let (sign, digits) = match text {
        [b'-', rest @ ..] => (-1, rest),
        [b'+', rest @ ..] => (1, rest),
        _ => (1, text),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(DecimalError::Malformed);
    }
    // No text in a frame is long enough to compensate an exponent at the limit.
    Ok(sign * digits.iter().fold(0, |n, b| (n * 10 + i64::from(b - b'0')).min(EXPONENT_MAX)))
}

fn write_digits(mantissa: impl itoa::Integer, scale: u8, out: &mut Vec<u8>) {
    let scale = usize::from(scale);
    let mut digits = itoa::Buffer::new();
    let digits = digits.format(mantissa).as_bytes();
    if scale == 0 {
        out.extend_from_slice(digits);
    } else if digits.len() > scale {
        let (whole, fraction) = digits.split_at(digits.len() - scale);
        out.extend_from_slice(whole);
        out.push(b'.');
        out.extend_from_slice(fraction);
    } else {
        out.extend_from_slice(b"0.");
        out.extend(std::iter::repeat_n(b'0', scale - digits.len()));
        out.extend_from_slice(digits);
    }
}

/// Compares `a * b` with `c * d` exactly, in 256 bits if 128 are not enough.
#[inline]
#[must_use]
pub(crate) fn compare_products(a: u128, b: u128, c: u128, d: u128) -> Ordering {
    match (a.checked_mul(b), c.checked_mul(d)) {
        (Some(left), Some(right)) => left.cmp(&right),
        _ => wide_product(a, b).cmp(&wide_product(c, d)),
    }
}

fn wide_product(a: u128, b: u128) -> (u128, u128) {
    const LOW: u128 = u64::MAX as u128;
    let (a1, a0, b1, b0) = (a >> 64, a & LOW, b >> 64, b & LOW);
    let low = a0 * b0;
    let middle = a1 * b0 + (low >> 64);
    let (cross, carry) = (a0 * b1).overflowing_add(middle & LOW);
    let high = a1 * b1 + (middle >> 64) + (cross >> 64) + (u128::from(carry) << 64);
    (high, (cross << 64) | (low & LOW))
}

impl Ord for Decimal {
    #[inline]
    fn cmp(&self, other: &Self) -> Ordering {
        if self.scale == other.scale {
            return self.mantissa.cmp(&other.mantissa);
        }
        let (left, right) = aligned(*self, *other);
        left.cmp(&right)
    }
}

/// Both mantissas, scaled to the larger of the two scales.
#[inline]
#[must_use]
pub(crate) fn aligned(a: Decimal, b: Decimal) -> (u128, u128) {
    let scale = a.scale.max(b.scale);
    (
        u128::from(a.mantissa) * POW10[usize::from(scale - a.scale)],
        u128::from(b.mantissa) * POW10[usize::from(scale - b.scale)],
    )
}

impl PartialOrd for Decimal {
    #[inline]
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Decimal {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Decimal {}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Vec::with_capacity(24);
        self.write(&mut text);
        f.write_str(std::str::from_utf8(&text).unwrap_or_default())
    }
}

impl fmt::Debug for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::str::FromStr for Decimal {
    type Err = DecimalError;

    fn from_str(text: &str) -> Result<Self, DecimalError> {
        Self::parse(text.as_bytes())
    }
}

impl fmt::Display for DecimalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "not a decimal number",
            Self::Negative => "a number below zero",
            Self::TooLong => "more digits than 19",
        })
    }
}

/// Percentages have at most this many decimals, so that the detector's threshold is exact.
const PERCENT_DECIMALS_MAX: u8 = 6;

impl Setting for Decimal {
    fn set(&mut self, given: Given<'_>, bounds: &RangeInclusive<u64>) -> Result<(), String> {
        let expected = self.expected(bounds);
        let refused = |what: &str| format!("{} is {what}, expected {expected}", given.shown());
        let text = given.number().ok_or_else(|| refused("not a number"))?;
        let number = Self::parse(text.replace('_', "").as_bytes()).map_err(|why| refused(&why.to_string()))?;
        let (least, most) = (Self::new(*bounds.start(), 0), Self::new(*bounds.end(), 0));
        if number < least || number > most {
            return Err(refused("out of range"));
        }
        if number.normalised().scale() > PERCENT_DECIMALS_MAX {
            return Err(refused("finer than six decimals"));
        }
        *self = number;
        Ok(())
    }

    fn toml(&self) -> String {
        self.to_string()
    }

    fn expected(&self, bounds: &RangeInclusive<u64>) -> String {
        format!("a number from {} to {} with at most six decimals", bounds.start(), bounds.end())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> Result<Decimal, DecimalError> {
        Decimal::parse(text.as_bytes())
    }

    #[test]
    fn texts_of_venues_keep_their_value() {
        for (text, shown) in [
            ("63704.00000000", "63704"),
            ("0.00000637", "0.00000637"),
            ("0", "0"),
            ("0.000", "0"),
            ("-0", "0"),
            ("1e3", "1000"),
            ("6.37E-6", "0.00000637"),
            ("123456789012.12345678000000", "123456789012.12345678"),
            ("1000000000000.0000000000", "1000000000000"),
            ("100000000000000000000e-3", "100000000000000000"),
            ("5e-0007", "0.0000005"),
        ] {
            assert_eq!(parse(text).map(|d| d.to_string()), Ok(shown.to_owned()), "{text}");
        }
    }

    #[test]
    fn number_shapes_that_are_no_price_are_refused() {
        for text in [
            "", ".", "1.", ".5", "+1", " 1", "1 ", "0x1", "1_000", "NaN", "Infinity", "1e", "e5", "1..2", "0.-10000",
            "1,5", "--1", "1e5e5", "1e+", "\u{0661}",
        ] {
            assert_eq!(parse(text), Err(DecimalError::Malformed), "{text}");
        }
        assert_eq!(parse("-1"), Err(DecimalError::Negative));
        assert_eq!(parse("-0.001"), Err(DecimalError::Negative));
        assert_eq!(parse("1e999"), Err(DecimalError::TooLong));
        assert_eq!(parse("1e9999"), Err(DecimalError::TooLong));
        assert_eq!(parse(&"9".repeat(400)), Err(DecimalError::TooLong));
        assert_eq!(parse(&format!("0.{}1", "0".repeat(30))), Err(DecimalError::TooLong));
        // Beyond 128 bits, with the zeros before the last digit.
        assert_eq!(parse("10208471007628153904000000.00000000000001"), Err(DecimalError::TooLong));
        assert_eq!(parse(&format!("1{}1", "0".repeat(400))), Err(DecimalError::TooLong));
    }

    #[test]
    fn figures_are_exact() {
        let written = |figure: Figure| {
            let mut out = Vec::new();
            figure.write(&mut out);
            String::from_utf8(out).unwrap()
        };
        let d = |text: &str| parse(text).unwrap();
        for (a, b, difference, middle) in [
            ("102.85", "99.90", "2.95", "101.375"),
            ("0.3", "0.1", "0.2", "0.2"),
            ("0.1", "0.30", "-0.2", "0.2"),
            ("1", "1.000", "0", "1"),
            ("0.0000000000000000001", "0", "0.0000000000000000001", "0.00000000000000000005"),
            ("18446744073709551615", "0.0000000000000000001", "18446744073709551614.9999999999999999999", ""),
        ] {
            assert_eq!(written(Figure::difference(d(a), d(b))), difference);
            if !middle.is_empty() {
                assert_eq!(written(Figure::middle(d(a), d(b))), middle);
            }
        }
        assert_eq!(written(Figure::difference(d("102.85"), d("99.90")).times(100)), "295");
        assert_eq!(written(Figure::difference(d("0.00000638"), d("0.00000637")).times(100)), "0.000001");
    }

    #[test]
    fn the_written_form_is_kept_for_checksums() {
        let mut out = Vec::new();
        for text in ["0.03740000", "0.031340", "58729.40000", "93.72697143", "0.000023630"] {
            out.clear();
            parse(text).unwrap().write_verbatim(&mut out);
            assert_eq!(std::str::from_utf8(&out).unwrap(), text);
        }
    }

    proptest! {
        #[test]
        fn parsing_what_was_written_gives_the_same_number(mantissa: u64, scale in 0u8..=19) {
            let number = Decimal::new(mantissa, scale);
            let mut text = Vec::new();
            number.write_verbatim(&mut text);
            let read = Decimal::parse(&text).unwrap();
            prop_assert_eq!(read, number);
            text.clear();
            number.write(&mut text);
            prop_assert_eq!(Decimal::parse(&text).unwrap(), number);
        }

        #[test]
        fn any_bytes_are_parsed_or_refused(text in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = Decimal::parse(&text);
        }

        #[test]
        fn order_is_by_value(a: u64, b: u64, sa in 0u8..=19, sb in 0u8..=19) {
            let (x, y) = (Decimal::new(a, sa), Decimal::new(b, sb));
            let wide = (u128::from(a) * POW10[usize::from(sb)]).cmp(&(u128::from(b) * POW10[usize::from(sa)]));
            prop_assert_eq!(x.cmp(&y), wide);
        }

        #[test]
        fn wide_products_agree_with_narrow_ones(a: u64, b: u64, c: u64, d: u64) {
            let (a, b, c, d) = (u128::from(a), u128::from(b), u128::from(c), u128::from(d));
            prop_assert_eq!(wide_product(a, b).cmp(&wide_product(c, d)), (a * b).cmp(&(c * d)));
        }
    }

    #[test]
    fn products_beyond_128_bits_compare() {
        let big = u128::MAX;
        assert_eq!(compare_products(big, big, big, big - 1), Ordering::Greater);
        assert_eq!(compare_products(big, 2, big, 2), Ordering::Equal);
        assert_eq!(wide_product(big, big), (big - 1, 1));
    }
}
