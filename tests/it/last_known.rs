//! Last known quotes over a restart: from one matrix to disk, and from there to the next, on a hand-turned clock.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use spreadwire::detector::{Detector, DetectorParts, Subscriber};
use spreadwire::last_known::{FILE, LastKnownParts, LastKnownStore, boot_id};
use spreadwire::market::directory::VenueEntry;
use spreadwire::market::opportunity::OpportunityEvent;
use spreadwire::market::quote::{FeedEvent, Origin};
use spreadwire::market::rule::DetectorOptions;
use spreadwire::market::{Decimal, Directory, InstrumentId, Level, PairId, Quote, VenueId};
use spreadwire::matrix::changes::Changes;
use spreadwire::matrix::{CellQuote, CellState, QuoteMatrix, SharedMatrix};
use spreadwire::metrics::Board;
use spreadwire::stage::{Alarm, Stage};
use spreadwire::time::{HandClock, MonoNs, SECOND, UnixNs};

/// A directory of this test's own, gone with it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("spreadwire-keep-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        Self(path)
    }

    fn file(&self) -> PathBuf {
        self.0.join(FILE)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// One run of the program, as far as quotes are concerned: BTC/USDT on two venues.
struct Run {
    keeper: LastKnownStore,
    detector: Detector,
    feed: rtrb::Producer<FeedEvent>,
    opportunities: rtrb::Consumer<OpportunityEvent>,
    matrix: SharedMatrix,
    board: Arc<Board>,
    hand: HandClock,
}

impl Run {
    fn new(folder: &Path, hand: &HandClock) -> Self {
        let venue = |name: &str| VenueEntry {
            name: name.into(),
            taker_fee_pct: Decimal::ZERO,
            native: vec![Some("BTCUSDT".into())],
        };
        let directory = Arc::new(Directory::new(vec!["BTC/USDT".into()], vec![venue("binance"), venue("okx")]));
        let (matrix, writer) = QuoteMatrix::new(directory.pairs());
        let board = Arc::new(Board::new(hand.clock().now(), 2, 0));
        let (feed, quotes) = rtrb::RingBuffer::new(16);
        // Smaller than what is found: the rest waits for room.
        let (ring, found) = rtrb::RingBuffer::new(1);
        let (told, opportunities) = rtrb::RingBuffer::new(16);
        let subscriber = Subscriber {
            changes: Arc::new(Changes::new(directory.pairs())),
            opportunities: Some(told),
            alarm: Alarm::of_parker().0,
        };
        let (detector, alarm) = Detector::new(DetectorParts {
            directory: Arc::clone(&directory),
            matrix: writer,
            rings: vec![quotes, found],
            subscribers: vec![subscriber],
            board: Arc::clone(&board),
            clock: hand.clock(),
            options: DetectorOptions::default(),
        });
        let keeper = LastKnownStore::new(LastKnownParts {
            directory: folder.to_path_buf(),
            names: directory,
            matrix: Arc::clone(&matrix),
            ring,
            detector: alarm,
            board: Arc::clone(&board),
            clock: hand.clock(),
            boot: boot_id().unwrap(),
        });
        let hand = hand.clone();
        Self { keeper, detector, feed, opportunities, matrix, board, hand }
    }

    fn turn(&mut self) {
        for _ in 0..4 {
            self.keeper.turn(Duration::ZERO);
            self.detector.turn(Duration::ZERO);
        }
    }

    fn quote(&mut self, venue: u16, bid: &str, ask: &str) {
        let level = |price: &str| Level { price: price.parse().unwrap(), size: "1".parse().unwrap() };
        let now = self.hand.clock().now();
        let quote = Quote {
            instrument: InstrumentId(0),
            venue: VenueId(venue),
            bid: level(bid),
            ask: level(ask),
            sequence: 1,
            received: now,
            decoded: now,
            ..Quote::default()
        };
        self.feed.push(FeedEvent::Quote(quote)).unwrap();
        self.turn();
    }

    fn cell(&self, venue: u32) -> CellQuote {
        self.matrix.load().load(PairId(venue))
    }

    fn counts(&self) -> (u64, u64, u64) {
        let keep = &self.board.last_known;
        (keep.taken.value(), keep.refused.value(), keep.failures.value())
    }
}

fn hand() -> HandClock {
    HandClock::new(MonoNs(3600 * SECOND), UnixNs::from_ms(1_700_000_000_000))
}

/// A run that knew 100 to 101 on one venue and 110 to 111 on the other, a second ago.
fn a_run_before(folder: &Folder, hand: &HandClock) {
    let mut run = Run::new(&folder.0, hand);
    run.turn();
    run.quote(0, "100", "101");
    // One coin: the two agree before one moves.
    run.quote(1, "100", "101");
    run.quote(1, "110", "111");
    assert_eq!(run.opportunities.slots(), 1, "it was an opportunity then");
    hand.advance(SECOND);
    run.keeper.finish();
    assert_eq!(run.board.last_known.writes.value(), 1);
}

#[test]
fn what_one_run_knew_the_next_one_shows_as_no_price_and_no_alert() {
    let (folder, hand) = (Folder::new("shows"), hand());
    a_run_before(&folder, &hand);
    hand.advance(9 * SECOND);
    let mut run = Run::new(&folder.0, &hand);
    run.turn();
    assert_eq!(run.counts(), (2, 0, 0));
    let (cell, now) = (run.cell(0), hand.clock().now());
    assert_eq!((cell.bid.price.to_string(), cell.state, cell.origin), ("100".into(), CellState::Live, Origin::Disk));
    assert_eq!(cell.age(now), 10 * SECOND, "its age goes on");
    assert!(!cell.is_fresh(now, u64::MAX) && cell.is_cached(now, 30 * SECOND));
    assert_eq!(run.opportunities.slots(), 0, "an alert of what was");
    // One leg is back: still nothing to trade against.
    run.quote(0, "100", "101");
    assert_eq!((run.opportunities.slots(), run.cell(0).origin), (0, Origin::Own));
    // The detector stood still: it looks for nothing until the feeds have had time to tell what changed.
    for _ in 0..4 {
        hand.advance(SECOND / 10);
        run.turn();
    }
    run.quote(1, "100", "101");
    run.quote(1, "110", "111");
    assert_eq!(run.opportunities.slots(), 1, "both are back");
}

#[test]
fn a_last_known_quote_never_replaces_a_quote_and_casts_no_doubt_on_one() {
    let (folder, hand) = (Folder::new("replaces"), hand());
    a_run_before(&folder, &hand);
    let mut run = Run::new(&folder.0, &hand);
    run.quote(0, "50", "51");
    assert_eq!(run.cell(0).bid.price.to_string(), "50", "half of what was known is no reason for doubt");
    assert_eq!((run.cell(0).origin, run.cell(0).state), (Origin::Own, CellState::Live));
}

#[test]
fn what_is_older_than_five_minutes_is_forgotten() {
    let (folder, hand) = (Folder::new("old"), hand());
    a_run_before(&folder, &hand);
    hand.advance(300 * SECOND);
    let mut run = Run::new(&folder.0, &hand);
    run.turn();
    assert_eq!((run.counts(), run.cell(0).state), ((0, 2, 0), CellState::Empty));
}

#[test]
fn the_file_is_written_every_few_seconds_and_a_leftover_of_another_process_goes() {
    let (folder, hand) = (Folder::new("every"), hand());
    std::fs::create_dir_all(&folder.0).unwrap();
    // No process has this number.
    let leftover = folder.0.join(format!("{FILE}.4294967295"));
    std::fs::write(&leftover, "half a fi").unwrap();
    let mut run = Run::new(&folder.0, &hand);
    run.quote(0, "100", "101");
    assert!(!folder.file().exists() && !leftover.exists());
    hand.advance(5 * SECOND);
    run.turn();
    assert!(folder.file().exists());
    assert_eq!(std::fs::read_dir(&folder.0).unwrap().count(), 1);
    hand.advance(5 * SECOND);
    run.turn();
    assert_eq!(run.board.last_known.writes.value(), 2);
}

#[test]
fn a_damaged_file_is_counted_and_the_start_goes_on() {
    let (folder, hand) = (Folder::new("damaged"), hand());
    a_run_before(&folder, &hand);
    let mut bytes = std::fs::read(folder.file()).unwrap();
    bytes.truncate(bytes.len() / 2);
    std::fs::write(folder.file(), bytes).unwrap();
    let mut run = Run::new(&folder.0, &hand);
    run.turn();
    assert_eq!(run.counts(), (0, 0, 1));
    run.quote(0, "100", "101");
    run.keeper.finish();
    let mut next = Run::new(&folder.0, &hand);
    next.turn();
    assert_eq!(next.counts(), (1, 0, 0), "the next file is a good one");
}

#[test]
fn a_disk_that_takes_nothing_is_counted_and_stops_nothing() {
    let (folder, hand) = (Folder::new("full"), hand());
    std::fs::create_dir_all(&folder.0).unwrap();
    std::fs::write(folder.0.join("file"), "").unwrap();
    let mut run = Run::new(&folder.0.join("file/directory"), &hand);
    run.quote(0, "100", "101");
    assert_eq!(run.counts(), (0, 0, 1));
    hand.advance(5 * SECOND);
    run.turn();
    assert_eq!((run.counts(), run.board.last_known.writes.value()), ((0, 0, 2), 0));
    run.quote(1, "100", "101");
    assert_eq!(run.cell(1).state, CellState::Live);
}
