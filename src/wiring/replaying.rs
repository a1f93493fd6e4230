//! Replays captures through the same feed connection, ring, matrix and detector, on the recorded clock. Prints JSON
//! Lines from one thread, or serves the prices on the usual threads.

use std::io::{BufWriter, ErrorKind, Write};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::cli::{CommandFailure, ReplayArgs, Speed};
use crate::config::Config;
use crate::detector::{Detector, DetectorParts, Subscriber};
use crate::market::PairId;
use crate::market::opportunity::{Change, OpportunityEvent};
use crate::matrix::changes::Changes;
use crate::matrix::days::DayTable;
use crate::matrix::{QuoteMatrix, SharedMatrix};
use crate::metrics::Board;
use crate::record::lines;
use crate::record::replay::{Discovery, Recording, Replay, ReplayPace, ReplayParts, discover};
use crate::stage::{Alarm, Stage};
use crate::time::{Clock, HandClock};
use crate::wiring::threads::{self, ThreadRow};
use crate::wiring::{FEED_RING, Heed, OPPORTUNITY_RING, SharedParts, signals, terminal, until_signal};

/// Runs a replay.
///
/// # Errors
/// If a file cannot be read, the output cannot be written, or a port is in use.
pub fn run(config: Config, args: &ReplayArgs) -> Result<(), CommandFailure> {
    let recordings = args.files.iter().map(|file| Recording::new(file, args.venue));
    let recordings: Vec<Recording> = recordings.collect::<Result<_, _>>().map_err(CommandFailure::Unavailable)?;
    let fee = |venue: &'static dyn crate::venues::Venue| {
        let configured = config.venues.iter().find(|v| v.name() == venue.facts().name);
        configured.map_or_else(|| venue.facts().taker_fee_pct.parse().unwrap_or_default(), |v| v.taker_fee_pct)
    };
    let discovery = discover(&recordings, fee).map_err(CommandFailure::Unavailable)?;
    let clock = discovery.clock();
    let pace = match args.chosen_speed() {
        Speed::Max => ReplayPace::Max,
        Speed::Times(times) => ReplayPace::Times(times),
    };
    match args.listen {
        None => print(&config, recordings, discovery, clock, pace),
        Some(address) => serve(config.listening_on(address), recordings, discovery, clock, pace),
    }
}

fn serve(
    mut config: Config,
    recordings: Vec<Recording>,
    discovery: Discovery,
    clock: HandClock,
    pace: ReplayPace,
) -> Result<(), CommandFailure> {
    let signals = signals()?;
    // The configured order refers to configured venues; here the recordings determine the venues.
    config.price_order.clear();
    // Recordings are replayed as prices; recorded order books serve only as a source of prices.
    config.books.levels = 0;
    let parts = SharedParts::new(&config, discovery.directory, clock.clock(), None, None)?;
    terminal::greet(parts.address, "replayed", &parts.directory);
    let (directory, days, board) = (Arc::clone(&parts.directory), Arc::clone(&parts.days), Arc::clone(&parts.board));
    let (ring, events) = rtrb::RingBuffer::new(FEED_RING);
    let (detector, alarm, gateways) = parts.detector(&config, vec![events]);
    let replay = Replay::new(ReplayParts {
        recordings,
        directory,
        ring,
        detector: alarm,
        days,
        board: Arc::clone(&board),
        clock,
        pace,
    })
    .map_err(CommandFailure::Unavailable)?;
    let mut rows = vec![ThreadRow::hot(vec![Box::new(replay), Box::new(detector)])];
    rows.extend(gateways.into_iter().map(|gateway| ThreadRow::hot(vec![Box::new(gateway)])));
    rows.push(ThreadRow::cold(Box::new(terminal::LiveLine::new(board))));
    until_signal(signals, None, vec![threads::start(rows, &config.threads, None)?], &Heed::default())
}

/// Reads the detector's output in place of a gateway.
struct Printer {
    directory: Arc<crate::market::Directory>,
    matrix: SharedMatrix,
    changes: Arc<Changes>,
    opportunities: rtrb::Consumer<OpportunityEvent>,
    clock: Clock,
    text: Vec<u8>,
}

impl Printer {
    fn write(&mut self, out: &mut impl Write) -> std::io::Result<()> {
        let now = self.clock.unix();
        let matrix = self.matrix.load();
        let (text, directory) = (&mut self.text, &self.directory);
        text.clear();
        self.changes.drain(|pair| lines::write_quote(directory, pair, &matrix.load(pair), now, text));
        while let Ok(event) = self.opportunities.pop() {
            if event.change == Change::Updated {
                continue;
            }
            lines::write_opportunity(directory, &event, now, text);
        }
        out.write_all(text)
    }
}

fn print(
    config: &Config,
    recordings: Vec<Recording>,
    discovery: Discovery,
    clock: HandClock,
    pace: ReplayPace,
) -> Result<(), CommandFailure> {
    let directory = Arc::new(discovery.directory);
    let (matrix, writer) = QuoteMatrix::new(directory.pairs());
    let days = Arc::new(DayTable::new(directory.pairs()));
    let board = Arc::new(Board::new(clock.clock().now(), directory.columns(), 0));
    let (ring, events) = rtrb::RingBuffer::new(FEED_RING);
    let (producer, opportunities) = rtrb::RingBuffer::new(OPPORTUNITY_RING);
    let changes = Arc::new(Changes::new(directory.pairs()));
    (0..directory.pairs() as u32).for_each(|pair| changes.watch(PairId(pair), true));
    let (detector, alarm) = Detector::new(DetectorParts {
        directory: Arc::clone(&directory),
        matrix: writer,
        rings: vec![events],
        // Needs no alarm: the printer runs right after the detector.
        subscribers: vec![Subscriber {
            changes: Arc::clone(&changes),
            opportunities: Some(producer),
            alarm: Alarm::of_parker().0,
        }],
        board: Arc::clone(&board),
        clock: clock.clock(),
        options: config.detector.within(&config.quotes),
    });
    // The recorded clock jumps over long gaps.
    let mut detector = detector.on_jumping_clock();
    let mut printer = Printer {
        directory: Arc::clone(&directory),
        matrix,
        changes,
        opportunities,
        clock: clock.clock(),
        text: Vec::new(),
    };
    let parts = ReplayParts { recordings, directory, ring, detector: alarm, days, board, clock, pace };
    let mut replay = Replay::new(parts).map_err(CommandFailure::Unavailable)?;
    let done = replay.done();
    let mut out = BufWriter::with_capacity(1 << 16, std::io::stdout().lock());
    loop {
        let is_last = done.load(Ordering::Acquire);
        // One record at a time, so that each quote is printed before the next one replaces it.
        replay.turn(Duration::from_millis(50));
        detector.turn(Duration::ZERO);
        let written = printer.write(&mut out).and_then(|()| if is_last { out.flush() } else { Ok(()) });
        match written {
            Err(why) if why.kind() == ErrorKind::BrokenPipe => return Ok(()),
            Err(why) => return Err(CommandFailure::Unavailable(format!("cannot write the output: {why}"))),
            Ok(()) if is_last => return Ok(()),
            Ok(()) => {}
        }
    }
}
