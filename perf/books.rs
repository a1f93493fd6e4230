//! How long does a change of an order book take, on real frames? Measures from the received frame to the updated book,
//! with its sequence or checksum verified and its best levels visible to readers. Compares with serde_json that only
//! walks over the same frame (no number parsed, nothing stored), in the same run.
//!
//!     cargo bench --bench books [PASSES]
//!
//! If a frame has its changes in `b` and `a` and the symbol in `s`, as Binance writes them, the book is also measured
//! without parsing: the changes are applied to the book, and its top is compared with the previous one.
//!
//! Replays every recorded connection below tests/fixtures that contains changes of a channel for which there is a book
//! codec. Snapshots are applied but not counted. Each time includes two clock readings; their cost is printed as the
//! floor.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use hdrhistogram::Histogram;
use serde::de::IgnoredAny;
use spreadwire::market::book::{BookStamp, Side};
use spreadwire::market::{Decimal, Level, PairId};
use spreadwire::matrix::books::BookTable;
use spreadwire::record::capture::{Capture, Direction};
use spreadwire::time::MonoNs;
use spreadwire::venues::depth::{Depth, LevelChange};
use spreadwire::venues::{Decoded, FeedCodec, Symbols, Update, VENUES, Venue};

/// Levels per side, as configured by default.
const LEVELS: usize = 20;
/// Recordings with fewer changes are not meaningful.
const CHANGES_MIN: usize = 20;

/// Frames of one recorded connection, or REST replies beside it.
struct Step {
    conn: u32,
    url: Option<String>,
    frame: Vec<u8>,
    /// A change of a book that already existed.
    is_change: bool,
}

fn main() {
    let is_smoke = std::env::args().any(|a| a == "--test");
    let passes = if is_smoke { 1 } else { std::env::args().find_map(|a| a.parse().ok()).unwrap_or(200) };
    println!(
        "recording, changes: frame to book in its table, p50 / p99 ns (the table alone, p50); walk by serde_json, p50; ratio"
    );
    let mut histogram = new_histogram();
    for _ in 0..10_000 {
        let begun = Instant::now();
        record(&mut histogram, begun);
    }
    println!("two readings of the clock: {} ns", histogram.value_at_quantile(0.5));
    for venue in VENUES.iter().filter(|venue| venue.facts().books.is_some()) {
        for path in captures(venue.facts().name) {
            measure(*venue, &path, passes);
        }
    }
}

fn new_histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 1_000_000_000, 3).unwrap()
}

fn record(histogram: &mut Histogram<u64>, begun: Instant) {
    histogram.saturating_record(begun.elapsed().as_nanos() as u64);
}

fn captures(venue: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(venue).join("captures");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    let is_capture =
        |name: &str| (name.ends_with(".jsonl") || name.ends_with(".jsonl.gz")) && !name.contains(".expected.");
    files.retain(|file| is_capture(&file.file_name().unwrap().to_string_lossy()));
    files.sort();
    files
}

fn codec(venue: &dyn Venue) -> Box<dyn FeedCodec> {
    let mut codec = venue.book_codec(Symbols::discovering(venue.symbol_of()), LEVELS).unwrap();
    codec.opened(&mut Vec::new());
    codec
}

/// The codecs of the connections, and the table for their books.
struct Replay<'a> {
    venue: &'a dyn Venue,
    codecs: Vec<(u32, Box<dyn FeedCodec>)>,
    table: BookTable,
    out: Decoded,
}

impl<'a> Replay<'a> {
    fn new(venue: &'a dyn Venue) -> Self {
        Self { venue, codecs: Vec::new(), table: BookTable::new(4096, LEVELS), out: Decoded::default() }
    }

    /// Returns whether this changed a book that already existed.
    fn step(&mut self, step: &Step) -> bool {
        if !self.codecs.iter().any(|(conn, _)| *conn == step.conn) {
            self.codecs.push((step.conn, codec(self.venue)));
        }
        let mut is_change = false;
        for (_, codec) in self.codecs.iter_mut().filter(|(conn, _)| step.url.is_some() || *conn == step.conn) {
            self.out.clear();
            let _ = match &step.url {
                Some(url) => codec.snapshot(url, &step.frame, &mut self.out),
                None => codec.decode(&step.frame, MonoNs(1), &mut self.out),
            };
            for update in &self.out.updates {
                let Update::Book(note) = update else { continue };
                let Some(book) = codec.book(note.instrument) else { continue };
                let pair = PairId(note.instrument.0);
                is_change |= self.table.changes(pair) > 0;
                let (sequence, exchange_time) = (note.sequence, note.exchange_time);
                self.table.publish(pair, book, BookStamp { sequence, exchange_time, ..BookStamp::default() });
            }
        }
        is_change && step.url.is_none()
    }
}

/// The changes in a frame, and the symbol of their book.
fn changes_of(frame: &[u8]) -> Option<(String, Vec<LevelChange>)> {
    let root: serde_json::Value = serde_json::from_slice(frame).ok()?;
    let root = if root.get("b").is_some() { &root } else { root.get("data")? };
    let symbol = root.get("s")?.as_str()?.to_owned();
    let mut changes = Vec::new();
    for (field, side) in [("b", Side::Bid), ("a", Side::Ask)] {
        for level in root.get(field)?.as_array()? {
            let number = |at: usize| level.get(at)?.as_str()?.parse::<Decimal>().ok();
            changes.push(LevelChange { side, level: Level { price: number(0)?, size: number(1)? } });
        }
    }
    Some((symbol, changes))
}

/// Measures only the book's part of the work.
fn apply(steps: &[Step], passes: usize) -> Histogram<u64> {
    let mut histogram = new_histogram();
    let all: Vec<_> = steps.iter().filter(|it| it.is_change).filter_map(|it| changes_of(&it.frame)).collect();
    for _ in 0..passes.min(10) {
        let mut books: HashMap<&str, Depth> = HashMap::new();
        for (symbol, changes) in &all {
            let depth = books.entry(symbol).or_default();
            let begun = Instant::now();
            depth.apply(changes);
            let top = depth.changed_top();
            record(&mut histogram, begun);
            std::hint::black_box(top);
        }
    }
    histogram
}

fn measure(venue: &dyn Venue, path: &Path, passes: usize) {
    let mut capture = Capture::open(path).unwrap();
    let mut steps = Vec::new();
    while let Some((_, record)) = capture.next_record().unwrap() {
        let Ok(record) = record else { continue };
        let url = match record.dir {
            Direction::In => None,
            Direction::Http => Some(record.url),
            _ => continue,
        };
        steps.push(Step { conn: record.conn, url, frame: record.frame, is_change: false });
    }
    let mut replay = Replay::new(venue);
    for step in &mut steps {
        step.is_change = replay.step(step);
    }
    let changes = steps.iter().filter(|step| step.is_change).count();
    if changes < CHANGES_MIN {
        return;
    }
    let (mut whole, mut table, mut walk) = (new_histogram(), new_histogram(), new_histogram());
    let passes = passes.min(400_000 / changes).max(1);
    for _ in 0..passes {
        let mut replay = Replay::new(venue);
        for step in &steps {
            let begun = Instant::now();
            replay.step(step);
            if step.is_change {
                record(&mut whole, begun);
                let noted = replay.out.updates.iter().find_map(|update| match update {
                    Update::Book(note) => Some(note.instrument),
                    _ => None,
                });
                let book = noted
                    .and_then(|id| Some((id, replay.codecs.iter().find(|(conn, _)| *conn == step.conn)?.1.book(id)?)));
                if let Some((id, book)) = book {
                    let begun = Instant::now();
                    replay.table.publish(PairId(id.0), book, BookStamp::default());
                    record(&mut table, begun);
                }
                let begun = Instant::now();
                let walked = serde_json::from_slice::<IgnoredAny>(&step.frame);
                record(&mut walk, begun);
                std::hint::black_box(walked.is_ok());
            }
        }
    }
    let at = |histogram: &Histogram<u64>, quantile| histogram.value_at_quantile(quantile);
    let applied = apply(&steps, passes);
    if !applied.is_empty() {
        println!("  changes applied and the top recomputed: {} / {} ns", at(&applied, 0.5), at(&applied, 0.99));
    }
    println!(
        "{}, {changes}: {} / {} ns ({}); {} ns; {:.2}",
        path.file_name().unwrap().to_string_lossy(),
        at(&whole, 0.5),
        at(&whole, 0.99),
        at(&table, 0.5),
        at(&walk, 0.5),
        at(&whole, 0.5) as f64 / at(&walk, 0.5) as f64,
    );
}
