//! Fields of venue frames: each reader says which field was wrong. JSON values in, numbers and levels out.
//! Runs on the feed thread; keeps nothing, allocates nothing.

use crate::market::{Decimal, Level};
use crate::time::UnixNs;
use crate::venues::DecodeError;
use crate::wire::json::Value;

/// The text of `object`'s member `field`.
///
/// # Errors
/// [`DecodeError::Missing`] when there is none, or it is no text or number.
#[inline]
pub fn text<'a>(object: Value<'a>, field: &'static str) -> Result<&'a str, DecodeError> {
    object.text_of(field).ok_or(DecodeError::Missing(field))
}

/// The decimal in `object`'s member `field`.
///
/// # Errors
/// [`DecodeError::Missing`] or [`DecodeError::Number`].
#[inline]
pub fn decimal(object: Value<'_>, field: &'static str) -> Result<Decimal, DecodeError> {
    number(text(object, field)?, field)
}

/// `text` as a decimal; `field` is where it stood.
///
/// # Errors
/// [`DecodeError::Number`].
#[inline]
pub fn number(text: &str, field: &'static str) -> Result<Decimal, DecodeError> {
    Decimal::parse(text.as_bytes()).map_err(|why| DecodeError::Number(field, why))
}

/// The member `field`, which must be an array.
///
/// # Errors
/// [`DecodeError::Missing`].
pub fn array<'a>(object: Value<'a>, field: &'static str) -> Result<Value<'a>, DecodeError> {
    object.get(field).filter(Value::is_array).ok_or(DecodeError::Missing(field))
}

/// A side of a top of book; a zero in either number means that the side is empty.
#[inline]
#[must_use]
pub fn level(price: Decimal, size: Decimal) -> Level {
    let level = Level { price, size };
    if level.is_present() { level } else { Level::ABSENT }
}

/// The figure in member `field`, for display only.
#[must_use]
pub fn figure(object: Value<'_>, field: &str) -> Option<f64> {
    object.get(field)?.float()
}

/// A venue's whole-number time of unknown unit: seconds, milliseconds, microseconds or nanoseconds,
/// told apart by magnitude. Holds for every time from 1973 to 2286.
#[must_use]
pub fn time_of_any_unit(time: u64) -> UnixNs {
    let unit = match time {
        0..100_000_000_000 => 1_000_000_000,
        100_000_000_000..100_000_000_000_000 => 1_000_000,
        100_000_000_000_000..100_000_000_000_000_000 => 1_000,
        _ => 1,
    };
    UnixNs(time.saturating_mul(unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f45_the_unit_of_a_time_is_told_by_its_size() {
        for time in [1_729_816_058, 1_729_816_058_000, 1_729_816_058_000_000, 1_729_816_058_000_000_000] {
            assert_eq!(time_of_any_unit(time).ms(), 1_729_816_058_000);
        }
        assert_eq!(time_of_any_unit(0), UnixNs(0));
        assert_eq!(time_of_any_unit(u64::MAX), UnixNs(u64::MAX));
    }
}
