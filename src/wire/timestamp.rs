//! Timestamps in the RFC 3339 format.

use crate::time::UnixNs;

/// Parses `2026-08-12T19:29:00.921195Z`: UTC only, 0 to 9 decimals of a second.
///
/// Returns `None` for anything else, and for times before 1970, such as the placeholder `0001-01-01T…`.
#[must_use]
pub fn parse_rfc3339(text: &[u8]) -> Option<UnixNs> {
    let (date_time, rest) = text.split_first_chunk::<19>()?;
    let marks = [date_time[4], date_time[7], date_time[10], date_time[13], date_time[16]];
    if marks != *b"--T::" {
        return None;
    }
    let fraction = match rest {
        [b'Z'] => 0,
        [b'.', digits @ .., b'Z'] if (1..=9).contains(&digits.len()) => {
            let mut value = 0u32;
            for byte in digits {
                let digit = byte.wrapping_sub(b'0');
                if digit > 9 {
                    return None;
                }
                value = value * 10 + u32::from(digit);
            }
            const TO_NS: [u32; 10] = [0, 100_000_000, 10_000_000, 1_000_000, 100_000, 10_000, 1_000, 100, 10, 1];
            u64::from(value * TO_NS[digits.len()])
        }
        _ => return None,
    };
    let mut is_number = true;
    let mut pair = |at: usize| {
        let (tens, ones) = (date_time[at].wrapping_sub(b'0'), date_time[at + 1].wrapping_sub(b'0'));
        is_number &= tens <= 9 && ones <= 9;
        u64::from(tens) * 10 + u64::from(ones)
    };
    let (year, month, day) = (pair(0) * 100 + pair(2), pair(5), pair(8));
    let (hour, minute, second) = (pair(11), pair(14), pair(17));
    if !is_number {
        return None;
    }
    if year < 1970 || !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60
    {
        return None;
    }
    let seconds = ((days_since_1970(year, month, day) * 24 + hour) * 60 + minute) * 60 + second;
    Some(UnixNs(seconds.checked_mul(1_000_000_000)?.checked_add(fraction)?))
}

/// Days from 1970-01-01 to a date of the Gregorian calendar.
fn days_since_1970(year: u64, month: u64, day: u64) -> u64 {
    // Years are counted from March, so that the leap day is the last of its year.
    let y = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    y * 365 + y / 4 - y / 100 + y / 400 + day_of_year - 719_468
}

/// Writes a time as RFC 3339 with `decimals` (0 to 9) decimals of a second.
pub(crate) fn write_rfc3339(time: UnixNs, decimals: usize, out: &mut String) {
    use std::fmt::Write as _;
    // The largest `UnixNs` is in the year 2554, within the range of the type.
    let Ok(timestamp) = jiff::Timestamp::from_nanosecond(i128::from(time.0)) else { return };
    // Writing to a String cannot fail.
    let _ = write!(out, "{timestamp:.decimals$}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn times_of_venues_are_read_or_taken_as_none() {
        let ms = |text: &str| parse_rfc3339(text.as_bytes()).map(UnixNs::ms);
        assert_eq!(ms("2026-08-12T19:29:00.921195Z"), Some(1_786_562_940_921));
        assert_eq!(ms("2026-08-09T21:05:51.422215528Z"), Some(1_786_309_551_422));
        assert_eq!(ms("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(ms("2024-02-29T23:59:59.5Z"), Some(1_709_251_199_500));
        for text in [
            "0001-01-01T00:00:00.000000Z",
            "",
            "2026-13-01T00:00:00Z",
            "2026-08-12 19:29:00Z",
            "2026-08-12T19:29:00",
            "2026-08-12T19:29:00.Z",
            "2026-08-12T19:29:0x.5Z",
            "2026-08-12T19:29:00.5xZ",
            "2554-07-21T23:34:33.999999999Z",
            "9999-12-31T23:59:59Z",
        ] {
            assert_eq!(ms(text), None, "{text}");
        }
    }

    #[test]
    fn times_are_written_with_the_requested_decimals() {
        let written = |decimals| {
            let mut text = String::new();
            write_rfc3339(UnixNs(1_786_562_940_921_195_999), decimals, &mut text);
            text
        };
        assert_eq!(written(0), "2026-08-12T19:29:00Z");
        assert_eq!(written(3), "2026-08-12T19:29:00.921Z");
        assert_eq!(written(6), "2026-08-12T19:29:00.921195Z");
        assert_eq!(written(9), "2026-08-12T19:29:00.921195999Z");
    }

    proptest! {
        #[test]
        fn writing_and_reading_give_the_same_time(ns in 0u64..7_000_000_000_000_000_000) {
            let mut text = String::new();
            write_rfc3339(UnixNs(ns), 9, &mut text);
            prop_assert_eq!(parse_rfc3339(text.as_bytes()), Some(UnixNs(ns)));
        }
    }
}
