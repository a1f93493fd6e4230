//! The file of last known quotes: lines of text with names instead of ids, a version at the start and a checksum at the
//! end. Encodes and decodes; pure.
//!
//! Times are those of the monotonic clock, stored with the id of the boot to which they refer. Ages are therefore
//! correct even if the wall clock was changed, and quotes from before the last boot are rejected.
//!
//! ```text
//! spreadwire last known quotes 1
//! boot 6a3e0d7c-…
//! okx  BTC/USDT  63703.7  0.19547  63719  0.00755  1795211778820000000  6182614415060  live
//! end 1 5f1c9a02
//! ```

use std::fmt;

use crate::market::quote::{Origin, Source};
use crate::market::{Decimal, Directory, Level, PairId, Quote};
use crate::matrix::{CACHED_MAX_NS, CellQuote};
use crate::time::{MonoNs, UnixNs};

/// Start of the file in every version.
const TITLE: &str = "spreadwire last known quotes ";
const VERSION: &str = "1";

/// Why a whole file was rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileError {
    /// Not a file of spreadwire.
    Foreign,
    /// Written by another version of spreadwire.
    Version,
    /// Truncated or changed: the checksum is missing or wrong, or the content is malformed.
    Damaged,
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Foreign => "not a file of last known quotes",
            Self::Version => "of another version of spreadwire",
            Self::Damaged => "damaged",
        })
    }
}

/// Content of a file.
#[derive(Debug, Default)]
pub struct Found {
    /// Quotes that may be shown, with [`Origin::Disk`].
    pub quotes: Vec<Quote>,
    /// Number of entries that were too old, from the future, from another boot, not configured, or absurd.
    pub refused: u64,
}

/// The text of `cells`, which were read during the boot `boot`.
#[must_use]
pub fn encode(boot: &str, cells: &[(PairId, CellQuote)], directory: &Directory) -> Vec<u8> {
    use std::io::Write as _;
    let mut out = Vec::with_capacity(64 + cells.len() * 128);
    // Writing to memory cannot fail.
    let _ = writeln!(out, "{TITLE}{VERSION}\nboot {boot}");
    for (pair, cell) in cells {
        let (instrument, venue) = directory.split(*pair);
        let (name, symbol) = (&directory.venue(venue).name, directory.symbol(instrument));
        let _ = writeln!(
            out,
            "{name}\t{symbol}\t{}\t{}\t{}\t{}\t{}\t{}\t{}",
            cell.bid.price,
            cell.bid.size,
            cell.ask.price,
            cell.ask.size,
            cell.exchange_time.0,
            cell.received.0,
            cell.source.word()
        );
    }
    let sum = checksum(&out);
    let _ = writeln!(out, "end {} {sum:08x}", cells.len());
    out
}

/// The quotes of the file `bytes` that may still be shown at `now`, during the boot `boot`.
///
/// # Errors
/// Why the whole file is rejected.
pub fn decode(bytes: &[u8], boot: &str, now: MonoNs, directory: &Directory) -> Result<Found, FileError> {
    let text = std::str::from_utf8(bytes).map_err(|_| FileError::Damaged)?;
    let version = text.strip_prefix(TITLE).ok_or(FileError::Foreign)?.lines().next();
    if version != Some(VERSION) {
        return Err(FileError::Version);
    }
    let whole = text.strip_suffix('\n').ok_or(FileError::Damaged)?;
    let at = whole.rfind('\n').ok_or(FileError::Damaged)? + 1;
    let (body, end) = whole.split_at(at);
    let mut lines = body.lines().skip(1);
    let written_in = lines.next().and_then(|line| line.strip_prefix("boot ")).ok_or(FileError::Damaged)?;
    let count = lines.clone().count();
    if end != format!("end {count} {:08x}", checksum(body.as_bytes())) {
        return Err(FileError::Damaged);
    }
    let mut found = Found::default();
    for line in lines {
        match entry(line, directory).filter(|quote| written_in == boot && may_be_shown(quote, now)) {
            Some(quote) => found.quotes.push(quote),
            None => found.refused += 1,
        }
    }
    Ok(found)
}

fn may_be_shown(quote: &Quote, now: MonoNs) -> bool {
    let is_past = quote.received <= now && now.since(quote.received) <= CACHED_MAX_NS;
    is_past && quote.is_two_sided() && !quote.is_crossed()
}

fn entry(line: &str, directory: &Directory) -> Option<Quote> {
    let mut words = line.split('\t');
    let mut word = || words.next();
    let venue = directory.venue_named(word()?)?;
    let instrument = directory.instrument_named(word()?).filter(|it| directory.is_quoted(*it, venue))?;
    let mut level = || {
        let mut number = || Decimal::parse(word()?.as_bytes()).ok();
        Some(Level { price: number()?, size: number()? })
    };
    let (bid, ask) = (level()?, level()?);
    let (exchange_time, received) = (word()?.parse().ok()?, word()?.parse().ok()?);
    let source = word()?;
    let source = [Source::Live, Source::Simulated, Source::Replay].into_iter().find(|it| it.word() == source)?;
    if word().is_some() {
        return None;
    }
    let (exchange_time, received) = (UnixNs(exchange_time), MonoNs(received));
    let origin = Origin::Disk;
    let decoded = received;
    Some(Quote { instrument, venue, bid, ask, exchange_time, received, decoded, source, origin, ..Quote::default() })
}

fn checksum(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::market::directory::VenueEntry;
    use crate::matrix::CellState;
    use crate::time::SECOND;
    use proptest::prelude::*;

    const NOW: MonoNs = MonoNs(1000 * SECOND);

    fn directory() -> Directory {
        let venue = |name: &str| VenueEntry {
            name: name.into(),
            taker_fee_pct: Decimal::ZERO,
            native: vec![Some("B".into()), Some("E".into())],
        };
        Directory::new(["BTC/USDT", "ETH/USDT"].map(str::to_owned).to_vec(), vec![venue("binance"), venue("okx")])
    }

    fn cell(bid: &str, ask: &str, age: u64) -> CellQuote {
        let level = |price: &str| Level { price: price.parse().unwrap(), size: "0.50".parse().unwrap() };
        CellQuote {
            bid: level(bid),
            ask: level(ask),
            exchange_time: UnixNs(77),
            received: MonoNs(NOW.0.wrapping_sub(age)),
            state: CellState::Live,
            source: Source::Simulated,
            ..CellQuote::default()
        }
    }

    fn read(bytes: &[u8]) -> Result<(usize, u64), FileError> {
        decode(bytes, "b", NOW, &directory()).map(|found| (found.quotes.len(), found.refused))
    }

    #[test]
    fn what_was_written_is_read_with_its_numbers_age_and_source() {
        let text = encode("b", &[(PairId(2), cell("100.10", "101", 9 * SECOND))], &directory());
        let found = decode(&text, "b", NOW, &directory()).unwrap();
        let quote = found.quotes[0];
        let (instrument, venue) = directory().split(PairId(2));
        assert_eq!((quote.instrument, quote.venue, quote.origin), (instrument, venue, Origin::Disk));
        assert_eq!((quote.bid.price.to_string(), quote.bid.size.to_string()), ("100.1".into(), "0.5".into()));
        assert_eq!(
            (NOW.since(quote.received), quote.exchange_time, quote.source),
            (9 * SECOND, UnixNs(77), Source::Simulated)
        );
    }

    #[test]
    fn what_is_too_old_or_of_the_future_or_of_another_boot_is_not_taken() {
        let entries = |age: u64| encode("b", &[(PairId(0), cell("1", "2", age))], &directory());
        assert_eq!(read(&entries(CACHED_MAX_NS)), Ok((1, 0)));
        assert_eq!(read(&entries(CACHED_MAX_NS + 1)), Ok((0, 1)));
        assert_eq!(read(&entries(u64::MAX)), Ok((0, 1)), "of the next nanosecond");
        let before = encode("a", &[(PairId(0), cell("1", "2", 0))], &directory());
        assert_eq!(read(&before), Ok((0, 1)), "of another boot");
    }

    #[test]
    fn what_is_not_configured_crossed_or_one_sided_is_refused() {
        let text = encode("b", &[(PairId(0), cell("3", "2", 0)), (PairId(1), cell("0", "2", 0))], &directory());
        assert_eq!(read(&text), Ok((0, 2)));
        let text = encode("b", &[(PairId(3), cell("1", "2", 0))], &directory());
        let alone = directory();
        let okx = alone.venue_named("okx").unwrap();
        alone.instruments_on().for_each(|(id, _)| alone.drop_quote(id, okx));
        assert_eq!(decode(&text, "b", NOW, &alone).unwrap().refused, 1);
    }

    #[test]
    fn another_file_another_version_and_a_cut_one_are_told_apart() {
        let text = encode("b", &[(PairId(0), cell("1", "2", 0))], &directory());
        assert_eq!(read(b"hello"), Err(FileError::Foreign));
        assert_eq!(read(b""), Err(FileError::Foreign));
        assert_eq!(read(b"spreadwire last known quotes 2\n"), Err(FileError::Version));
        for length in TITLE.len() + 2..text.len() {
            assert_eq!(read(&text[..length]), Err(FileError::Damaged), "{length}");
        }
    }

    proptest! {
        #[test]
        fn a_flipped_bit_is_noticed_and_no_bytes_panic(at: prop::sample::Index, bit in 0u8..8, noise: Vec<u8>) {
            let mut text = encode("b", &[(PairId(0), cell("1", "2", 0)), (PairId(3), cell("5", "6", 1))], &directory());
            let at = at.index(text.len());
            text[at] ^= 1 << bit;
            prop_assert!(read(&text).is_err());
            let _ = read(&noise);
            let _ = read(&[TITLE.as_bytes(), b"1\nboot b\n", &noise].concat());
        }
    }
}
