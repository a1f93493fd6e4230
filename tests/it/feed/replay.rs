//! Recordings through the feed's own connection: the recorded clock, several files at once, and real
//! captures that must give what their codec alone gives.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use spreadwire::market::quote::{FeedEvent, Source};
use spreadwire::market::{Decimal, Directory, Level, VenueId};
use spreadwire::matrix::days::DayTable;
use spreadwire::metrics::Board;
use spreadwire::record::capture::{Capture, Direction};
use spreadwire::record::replay::{Recording, Replay, ReplayPace, ReplayParts, discover};
use spreadwire::stage::{Alarm, Stage};
use spreadwire::time::{MS, MonoNs, SECOND};
use spreadwire::venues::{Decoded, FeedCodec, SymbolEntry, Symbols, Update, VENUES, Venue};

use super::toy;

/// A capture file of these lines, removed in the end.
struct File(PathBuf);

impl File {
    fn new(name: &str, lines: &[String]) -> Self {
        let path = std::env::temp_dir().join(format!("spreadwire-{}-{name}", std::process::id()));
        std::fs::write(&path, lines.join("\n")).unwrap();
        Self(path)
    }

    fn of(&self, venue: &'static dyn Venue) -> Recording {
        Recording::new(&self.0, Some(venue)).unwrap()
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn line(ts: &str, dir: &str, conn: u32, frame: &str) -> String {
    format!(r#"{{"ts":{ts},"dir":"{dir}","conn":{conn},"url":"","frame":"{}"}}"#, frame.replace('\n', "\\n"))
}

fn fee(_: &'static dyn Venue) -> Decimal {
    Decimal::new(1, 1)
}

struct Replayed {
    directory: Arc<Directory>,
    board: Arc<Board>,
    events: Vec<FeedEvent>,
    /// When the reader saw each event, on the replay's clock.
    seen: Vec<MonoNs>,
}

/// Replays `recordings`, the reader following each turn.
fn replay(recordings: Vec<Recording>, capacity: usize, pace: ReplayPace) -> Replayed {
    let discovery = discover(&recordings, fee).unwrap();
    let hand = discovery.clock();
    let directory = discovery.directory;
    let clock = hand.clock();
    let (ring, mut reader) = rtrb::RingBuffer::new(capacity);
    let directory = Arc::new(directory);
    let board = Arc::new(Board::new(MonoNs(0), directory.venues().len(), 0));
    let parts = ReplayParts {
        recordings,
        days: Arc::new(DayTable::new(directory.pairs())),
        directory: Arc::clone(&directory),
        ring,
        detector: Alarm::of_parker().0,
        board: Arc::clone(&board),
        clock: hand,
        pace,
    };
    let mut replay = Replay::new(parts).unwrap();
    let done = replay.done();
    let (mut events, mut seen) = (Vec::new(), Vec::new());
    while !done.load(Ordering::Acquire) {
        replay.turn(Duration::ZERO);
        for event in std::iter::from_fn(|| reader.pop().ok()) {
            events.push(event);
            seen.push(clock.now());
        }
    }
    Replayed { directory, board, events, seen }
}

fn sequences(events: &[FeedEvent]) -> Vec<u64> {
    let sequence = |event: &FeedEvent| match event {
        FeedEvent::Quote(quote) => quote.sequence,
        FeedEvent::Void(..) => 0,
        FeedEvent::Down(..) | FeedEvent::Left(_) => 1000,
        FeedEvent::Behind(..) | FeedEvent::LineEnded(..) | FeedEvent::Clock(..) => 2000,
    };
    events.iter().map(sequence).collect()
}

#[test]
fn files_are_merged_by_time_and_the_clock_is_the_recorded_one() {
    let first = File::new(
        "merge-a.jsonl",
        &[
            line("100.0", "connect", 1, ""),
            line("100.5", "in", 1, "q BTCUSDT 100 1 101 2 1"),
            line("null", "in", 1, "q BTCUSDT 100 1 101 2 2"),
            line("102.0", "in", 1, "q ETHUSDT 10 1 11 2 5"),
        ],
    );
    let second = File::new(
        "merge-b.jsonl",
        &[
            line("100.6", "in", 1, "q BTCUSDT 100 1 101 2 3"),
            line("101.25", "out", 1, "whatever"),
            line("101.25", "in", 1, "q BTCUSDT 100 1 101 2 4"),
        ],
    );
    let it = replay(vec![first.of(&toy::PLAIN), second.of(&toy::CHATTY)], 1024, ReplayPace::Max);
    assert_eq!(it.directory.instruments().iter().collect::<Vec<_>>(), ["BTC/USDT", "ETH/USDT"]);
    assert_eq!(it.directory.venues().iter().map(|v| v.name.as_str()).collect::<Vec<_>>(), ["toy", "chatty"]);
    assert_eq!(sequences(&it.events), [1, 2, 3, 4, 5]);
    let received: Vec<u64> = it
        .events
        .iter()
        .map(|event| match event {
            FeedEvent::Quote(quote) => quote.received.since(MonoNs(3600 * SECOND)) / MS,
            _ => unreachable!(),
        })
        .collect();
    assert_eq!(received, [500, 500, 600, 1250, 2000]);
    for (event, seen) in it.events.iter().zip(&it.seen) {
        assert!(matches!(event, FeedEvent::Quote(quote) if quote.received == *seen), "the clock ran ahead");
    }
    assert!(it.board.venues.iter().all(|v| v.source() == Source::Replay as u8));
}

#[test]
fn a_recorded_reconnect_voids_what_was_there() {
    let file = File::new(
        "reconnect.jsonl",
        &[
            line("1", "in", 1, "q BTCUSDT 100 1 101 2 1"),
            line("2", "connect", 1, ""),
            line("3", "in", 1, "q BTCUSDT 100 1 101 2 2\nvoid BTCUSDT\nbye"),
            line("4", "in", 1, "q BTCUSDT 100 1 101 2 3"),
        ],
    );
    let it = replay(vec![file.of(&toy::PLAIN)], 1024, ReplayPace::Max);
    assert_eq!(sequences(&it.events), [1, 1000, 2, 0, 1000, 3]);
}

#[test]
fn a_rest_reply_before_its_connection_waits_for_it() {
    let file = File::new(
        "early.jsonl",
        &[
            line("1", "http", 0, "q BTCUSDT 100 1 101 2 1"),
            line("2", "in", 1, "hb"),
            line("3", "http", 0, "q BTCUSDT 100 1 101 2 2"),
        ],
    );
    let it = replay(vec![file.of(&toy::PLAIN)], 1024, ReplayPace::Max);
    assert_eq!(sequences(&it.events), [1, 2]);
}

#[test]
fn bad_lines_and_frames_are_passed_over() {
    let file = File::new(
        "bad.jsonl",
        &[
            "{\"ts\":1,\"dir\":\"in\",\"conn\":1,\"fra".to_owned(),
            line("1", "in", 1, "nonsense"),
            line("2", "in", 1, "q BTCUSDT 100 1 101 2 1"),
        ],
    );
    let it = replay(vec![file.of(&toy::PLAIN)], 1024, ReplayPace::Max);
    assert_eq!(sequences(&it.events), [1]);
    assert_eq!(it.board.venues[0].read.decode_errors.total(), 1);
}

#[test]
fn a_long_silence_is_skipped_and_a_pace_gives_the_same_events() {
    let file = File::new(
        "gap.jsonl",
        &[line("1", "in", 1, "q BTCUSDT 100 1 101 2 1"), line("90000", "in", 1, "q BTCUSDT 100 1 101 2 2")],
    );
    for pace in [ReplayPace::Max, ReplayPace::Times(10_000.0)] {
        let it = replay(vec![file.of(&toy::PLAIN)], 1024, pace);
        assert_eq!(sequences(&it.events), [1, 2]);
        assert_eq!(it.seen[1].since(it.seen[0]), 89_999 * SECOND);
    }
}

/// The quotes that the codec alone finds, in file order, when asked for what is in `directory`. (Asked for
/// nothing in particular it would also give the slower channels beside a book.)
fn decoded(venue: &dyn Venue, directory: &Directory, path: &Path) -> Vec<(String, Level, Level)> {
    let mut capture = Capture::open(path).unwrap();
    let mut codecs: BTreeMap<u32, Box<dyn FeedCodec>> = BTreeMap::new();
    let (mut early, mut found, mut out) = (Vec::new(), Vec::new(), Decoded::default());
    let opened = |venue: &dyn Venue| {
        let entries = directory.quoted_by(VenueId(0)).map(|(id, native)| {
            let (native, symbol) = (native.to_owned(), directory.symbol(id).to_owned());
            SymbolEntry { id, native, symbol }
        });
        let mut codec = venue.codec(Symbols::configured(entries.collect()));
        codec.opened(&mut Vec::new());
        codec
    };
    let mut take = |codec: &dyn FeedCodec, out: &mut Decoded| {
        for update in out.updates.drain(..) {
            if let Update::Top(top) = update {
                let symbol = codec.symbols().entry(top.instrument).unwrap().symbol.clone();
                found.push((symbol, top.bid, top.ask));
            }
        }
        out.clear();
    };
    while let Some((_, record)) = capture.next_record().unwrap() {
        let record = record.unwrap();
        match record.dir {
            Direction::Out => continue,
            Direction::Http if codecs.is_empty() => {
                early.push(record);
                continue;
            }
            Direction::Http => {
                for codec in codecs.values_mut() {
                    let _ = codec.snapshot(&record.url, &record.frame, &mut out);
                    take(codec.as_ref(), &mut out);
                }
                continue;
            }
            Direction::Connect => drop(codecs.insert(record.conn, opened(venue))),
            Direction::In => drop(codecs.entry(record.conn).or_insert_with(|| opened(venue))),
        }
        let codec = codecs.get_mut(&record.conn).unwrap();
        for early in early.drain(..) {
            let _ = codec.snapshot(&early.url, &early.frame, &mut out);
            take(codec.as_ref(), &mut out);
        }
        if record.dir == Direction::In {
            let _ = codec.decode(&record.frame, MonoNs(0), &mut out);
            take(codec.as_ref(), &mut out);
        }
    }
    found
}

#[test]
fn every_capture_replays_to_what_its_codec_reads() {
    for venue in VENUES.iter().copied() {
        for path in crate::venues::captures::captures(venue.facts().name) {
            let it = replay(vec![Recording::new(&path, None).unwrap()], 4096, ReplayPace::Max);
            let quotes: Vec<_> = it
                .events
                .iter()
                .filter_map(|event| match event {
                    FeedEvent::Quote(q) => Some((it.directory.symbol(q.instrument).to_owned(), q.bid, q.ask)),
                    _ => None,
                })
                .collect();
            let expected = decoded(venue, &it.directory, &path);
            assert_eq!(quotes.len(), expected.len(), "{path:?}");
            assert!(quotes == expected, "{path:?}");
            assert_eq!(it.board.venues[0].quotes.ring_conflated.value(), 0, "{path:?}");
        }
    }
}
