//! Recorded connections decode to exactly the quotes that an independent decoder found in them.

use std::collections::HashMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::Value as Json;
use spreadwire::market::Level;
use spreadwire::record::capture::{Capture, Direction};
use spreadwire::record::decode;
use spreadwire::time::MonoNs;
use spreadwire::venues::{self, Decoded, Symbols, Top, Update, VENUES, VoidReason};

use super::fixtures;

/// The capture files of a venue, without what is expected of them.
pub fn captures(venue: &str) -> Vec<PathBuf> {
    let folder = fixtures(venue).join("captures");
    let entries = fs::read_dir(&folder).unwrap_or_else(|why| panic!("{}: {why}", folder.display()));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| {
        let name = path.file_name().unwrap().to_string_lossy();
        (name.ends_with(".jsonl") || name.ends_with(".jsonl.gz")) && !name.contains(".expected.")
    });
    files.sort();
    assert!(!files.is_empty(), "{venue} has no captures");
    files
}

/// The text of `capture` with another ending, plain or packed; `None` when there is no such file.
pub fn beside(capture: &Path, ending: &str) -> Option<String> {
    let whole = capture.to_string_lossy();
    let stem = whole.trim_end_matches(".gz").trim_end_matches(".jsonl");
    let names = [format!("{stem}{ending}"), format!("{whole}{ending}")];
    let names = names.into_iter().flat_map(|name| [name.clone(), format!("{name}.gz")]);
    let bytes = names.into_iter().find_map(|name| fs::read(name).ok())?;
    let mut text = String::new();
    if bytes.starts_with(&[0x1f, 0x8b]) {
        flate2::read::GzDecoder::new(&bytes[..]).read_to_string(&mut text).unwrap();
    } else {
        text = String::from_utf8(bytes).unwrap();
    }
    Some(text)
}

#[test]
fn every_capture_decodes_to_the_quotes_that_its_venue_meant() {
    for &venue in VENUES {
        for path in captures(venue.facts().name) {
            let (mut quotes, mut errors) = (Vec::new(), Vec::new());
            let mut capture = Capture::open(&path).unwrap();
            let quote = |line: &[u8]| quotes.push(serde_json::from_slice::<Json>(line).unwrap());
            decode::decode(venue, &mut capture, quote, |line, why| errors.push((line, why.to_owned()))).unwrap();

            let expected = beside(&path, ".expected.jsonl").unwrap_or_else(|| panic!("{path:?}: nothing expected"));
            let expected: Vec<Json> = expected.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            for (at, (read, meant)) in quotes.iter().zip(&expected).enumerate() {
                assert_eq!(read, meant, "{path:?}, quote {at}");
            }
            assert_eq!(quotes.len(), expected.len(), "{path:?}");

            let expected = beside(&path, ".errors").unwrap_or_default();
            let expected: Vec<usize> =
                expected.lines().map(|line| line.split(' ').next().unwrap().parse().unwrap()).collect();
            let lines: Vec<usize> = errors.iter().map(|(line, _)| *line).collect();
            assert_eq!(lines, expected, "{path:?}: {errors:?}");
        }
    }
}

/// All tops and voids of a capture, through one codec for all its connections' frames of one kind.
fn updates(venue: &str, file: &str) -> Vec<Update> {
    let venue = venues::venue(venue).unwrap();
    let mut capture = Capture::open(&fixtures(venue.facts().name).join("captures").join(file)).unwrap();
    let mut codec = venue.codec(Symbols::discovering(venue.symbol_of()));
    let mut out = Decoded::default();
    while let Some((line, record)) = capture.next_record().unwrap() {
        let record = record.unwrap();
        let frame = &record.frame[..];
        let result = match record.dir {
            Direction::In => codec.decode(frame, MonoNs(0), &mut out),
            Direction::Http => codec.snapshot(&record.url, frame, &mut out),
            Direction::Connect | Direction::Out => continue,
        };
        assert!(result.is_ok(), "{file}:{line}: {result:?}");
    }
    out.updates
}

fn tops(updates: &[Update]) -> impl Iterator<Item = &Top> {
    updates.iter().filter_map(|update| if let Update::Top(top) = update { Some(top) } else { None })
}

#[test]
fn binance_depth_agrees_with_the_last_book_ticker_at_every_update_id() {
    for (venue, file) in [
        ("binance", "binance.cf-20210405.jsonl.gz"),
        ("binance", "binance.cf-20211012.jsonl.gz"),
        ("binanceus", "binanceus.cf-20210405.jsonl.gz"),
        ("binanceus", "binanceus.cf-20211012.jsonl"),
    ] {
        let updates = updates(venue, file);
        let mut tickers: HashMap<_, Vec<(u64, Level, Level)>> = HashMap::new();
        for top in tops(&updates).filter(|top| top.channel == "bookTicker") {
            tickers.entry(top.instrument).or_default().push((top.sequence, top.bid, top.ask));
        }
        let mut compared = 0;
        for top in tops(&updates).filter(|top| top.channel == "depth@100ms") {
            let Some(of_symbol) = tickers.get(&top.instrument) else { continue };
            let at = of_symbol.partition_point(|ticker| ticker.0 <= top.sequence);
            // Before its first message and after its last one, bookTicker says nothing.
            if at == 0 || at == of_symbol.len() {
                continue;
            }
            assert_eq!((top.bid, top.ask), (of_symbol[at - 1].1, of_symbol[at - 1].2), "{file}: {top:?}");
            compared += 1;
        }
        assert!(compared > 20, "{file}: {compared}");
    }
}

#[test]
fn kucoin_level2_agrees_with_the_ticker_at_every_sequence() {
    let updates = updates("kucoin", "kucoin.cf-20210425.jsonl.gz");
    let mut books: HashMap<_, Vec<(u64, Level, Level)>> = HashMap::new();
    for top in tops(&updates).filter(|top| top.channel == "/market/level2") {
        books.entry(top.instrument).or_default().push((top.sequence, top.bid, top.ask));
    }
    let mut compared = 0;
    for top in tops(&updates).filter(|top| top.channel == "/market/ticker") {
        let Some(of_symbol) = books.get(&top.instrument) else { continue };
        let at = of_symbol.partition_point(|book| book.0 <= top.sequence);
        if at == 0 || at == of_symbol.len() {
            continue;
        }
        assert_eq!((top.bid, top.ask), (of_symbol[at - 1].1, of_symbol[at - 1].2), "{top:?}");
        compared += 1;
    }
    assert!(compared > 100, "{compared}");
}

#[test]
fn long_recordings_have_no_gap_and_no_checksum_error() {
    let long = [
        ("binance", "binance.cf-20210405.jsonl.gz"),
        ("binance", "binance.cf-20211012.jsonl.gz"),
        ("okx", "okx.cf-20210722a.jsonl.gz"),
        ("okx", "okx.cf-20210722b.jsonl.gz"),
        ("bybit", "bybit.cf-20250613.jsonl"),
        ("bybit", "bybit.cf-20260809.jsonl"),
        ("coinbase", "coinbase-adv.cf-20260809.jsonl.gz"),
        ("coinbase", "coinbase-ex.cf-20210417.jsonl.gz"),
        ("bitfinex", "bitfinex.cf-20210405.jsonl.gz"),
        ("bitstamp", "bitstamp.cf-20210405.jsonl.gz"),
        ("htx", "htx.cf-20210417.jsonl.gz"),
        ("upbit", "upbit.cf-20210405.jsonl.gz"),
        ("kraken", "kraken-v1.cf-20210405.jsonl.gz"),
        ("kucoin", "kucoin.cf-20210425.jsonl.gz"),
        ("binanceus", "binanceus.cf-20210405.jsonl.gz"),
        ("gemini", "gemini-legacy.cf-20210405.jsonl.gz"),
        ("gemini", "gemini-legacy.cf-20260809.jsonl.gz"),
        ("gateio", "gateio.cf-20210422.jsonl"),
        ("bitget", "bitget-v1.cf-20220407.jsonl.gz"),
        ("cryptocom", "cryptocom-v2.cf-20211123.jsonl.gz"),
    ];
    for (venue, file) in long {
        let updates = updates(venue, file);
        let faults = [VoidReason::Gap, VoidReason::Checksum, VoidReason::Halt];
        let is_fault = |update: &&Update| faults.iter().any(|why| matches!(update, Update::Void(_, w) if w == why));
        assert_eq!(updates.iter().find(is_fault), None, "{file}");
        assert_eq!(tops(&updates).find(|top| top.bid.is_present() && top.bid.price > top.ask.price), None, "{file}");
    }
}
