//! Stage: replays captures as if they arrived now. Each recorded connection becomes a feed connection, which receives
//! WebSocket frames made of the recorded texts, on the recorded clock. Its output goes over the same handover to the
//! same ring.
//!
//! In: capture files, merged by time. Out: feed events, day statistics, counters. Runs before the detector on the
//! detector's thread and advances the clock no further than the detector has followed, so that a replay gives the same
//! opportunities at any speed. Uses no socket; requests of the connections are discarded. This is the only stage that
//! uses another one: a replay is a feed from a file.

use std::collections::BTreeMap;
use std::io::{self, Cursor, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::feed::FeedOptions;
use crate::feed::end::End;
use crate::feed::session::{Session, SessionParts, entries};
use crate::handover::Handover;
use crate::log;
use crate::market::directory::VenueEntry;
use crate::market::quote::{FeedEvent, LineId, Origin, QuoteOptions, Source};
use crate::market::{Decimal, Directory, VenueId};
use crate::matrix::days::DayTable;
use crate::metrics::Board;
use crate::record::capture::{Capture, Direction, Record};
use crate::stage::{Alarm, Stage};
use crate::time::{Clock, HandClock, MS, MonoNs, SECOND, UnixNs};
use crate::venues::{Decoded, FeedCodec, Symbols, Update, Venue, venue};
use crate::wire::websocket::{binary_frame_header, text_frame_header, upgrade_reply};

/// Largest accepted standard input, in bytes. It has to be read twice and is therefore stored.
const INPUT_MAX: u64 = 256 << 20;
/// Most connections of one recording.
const CONNECTIONS_MAX: usize = 64;
/// Most REST replies stored before the first connection begins.
const EARLY_MAX: usize = 256;
/// The longest recorded silence that is replayed; the rest of it is skipped.
const GAP_MAX_NS: u64 = 60 * SECOND;
/// A connection that sent nothing for this long, and nothing since another one was opened, has given way to that one.
const SUCCEEDED_NS: u64 = 500 * MS;
/// The largest step of the clock, so that effects of age alone happen at the right time.
const CLOCK_STEP_NS: u64 = 20 * MS;
/// The longest sleep while the clock advances smoothly.
const STEP: Duration = Duration::from_millis(5);
/// Most bad lines that are logged; further ones are only counted.
const LOGGED_MAX: u64 = 20;

/// A capture and its venue.
#[derive(Clone)]
pub struct Recording {
    path: PathBuf,
    venue: &'static dyn Venue,
    /// Content of the standard input, which cannot be read twice.
    kept: Option<Arc<[u8]>>,
}

/// How fast a recording is replayed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ReplayPace {
    /// A multiple of the recorded speed; above 0.
    Times(f64),
    /// Without waiting.
    Max,
}

impl Recording {
    /// The capture at `path`; `-` is the standard input, which is read completely. Its venue is `named`, or the one
    /// before `=` in `kraken=some.jsonl`, or the one that the file name begins with, up to the first `.` or `-`.
    ///
    /// # Errors
    /// A sentence: there is no such venue, or the input cannot be read or stored.
    pub fn new(path: &Path, named: Option<&'static dyn Venue>) -> Result<Self, String> {
        let text = path.to_string_lossy();
        let prefixed = text.split_once('=').and_then(|(name, rest)| Some((venue(name)?, PathBuf::from(rest))));
        let (in_name, path) = match prefixed {
            Some((venue, rest)) if !path.exists() => (Some(venue), rest),
            _ => (venue(venue_in(path)), path.to_owned()),
        };
        let Some(venue) = named.or(in_name) else {
            let known = crate::venues::VENUES.iter().map(|v| v.facts().name).collect::<Vec<_>>().join(", ");
            return Err(format!(
                "{}: the file name does not begin with a venue; write NAME={0}, with NAME one of {known}",
                path.display()
            ));
        };
        let kept = if path == Path::new("-") { Some(read_input(io::stdin())?) } else { None };
        Ok(Self { path, venue, kept })
    }

    fn open(&self) -> io::Result<Capture> {
        match &self.kept {
            Some(bytes) => Capture::new(Cursor::new(Arc::clone(bytes))),
            None => Capture::open(&self.path),
        }
    }

    fn wrong(&self, error: &io::Error) -> String {
        format!("{}: {error}", self.path.display())
    }
}

/// The part of a capture's file name that names its venue.
fn venue_in(path: &Path) -> &str {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name.split(['.', '-']).next().unwrap_or_default()
}

fn read_input(input: impl Read) -> Result<Arc<[u8]>, String> {
    let mut bytes = Vec::new();
    input.take(INPUT_MAX + 1).read_to_end(&mut bytes).map_err(|e| format!("standard input: {e}"))?;
    if bytes.len() as u64 > INPUT_MAX {
        return Err(format!("standard input: longer than {} MiB; replay a file instead", INPUT_MAX >> 20));
    }
    Ok(bytes.into())
}

/// Result of a first pass over recordings.
pub struct Discovery {
    /// Venues and instruments, in the order in which they were first seen.
    pub directory: Directory,
    /// The recorded time at which the first recording begins; `None` if no line has a time.
    pub begins: Option<UnixNs>,
    /// The latest timestamp of a quote, for recordings in which no line has a time.
    pub stamped: Option<UnixNs>,
}

/// Start of a recording that contains no time at all: 2020-01-01.
pub(crate) const NO_TIME: UnixNs = UnixNs(1_577_836_800 * SECOND);

impl Discovery {
    /// A clock at the start of the recordings. If they contain no times, only their order is known: the clock then
    /// stands at the latest timestamp of the venues, or at [`NO_TIME`], so that every run gives the same output.
    #[must_use]
    pub fn clock(&self) -> HandClock {
        // Not at zero, because ages and deadlines look back.
        HandClock::new(MonoNs(3600 * SECOND), self.begins.or(self.stamped).unwrap_or(NO_TIME))
    }
}

/// Reads all of `recordings` once, to find their venues and instruments. `fee` gives a venue's taker fee in percent.
///
/// # Errors
/// A sentence about the file that cannot be read. Invalid lines and frames are reported during the replay.
pub fn discover(recordings: &[Recording], fee: impl Fn(&'static dyn Venue) -> Decimal) -> Result<Discovery, String> {
    let mut instruments: Vec<String> = Vec::new();
    let mut venues: Vec<(&'static dyn Venue, BTreeMap<usize, String>)> = Vec::new();
    let (mut begins, mut stamped): (Option<UnixNs>, Option<UnixNs>) = (None, None);
    for recording in recordings {
        let (symbols, first, last) = symbols_of(recording).map_err(|e| recording.wrong(&e))?;
        begins = begins.into_iter().chain(first).min();
        stamped = stamped.max(last);
        let name = recording.venue.facts().name;
        let at = venues.iter().position(|(v, _)| v.facts().name == name).unwrap_or_else(|| {
            venues.push((recording.venue, BTreeMap::new()));
            venues.len() - 1
        });
        for (symbol, native) in symbols {
            let instrument = instruments.iter().position(|s| *s == symbol).unwrap_or_else(|| {
                instruments.push(symbol);
                instruments.len() - 1
            });
            // A second native symbol of the same instrument is unknown to the codec and counted as unused.
            venues[at].1.entry(instrument).or_insert(native);
        }
    }
    let entries = venues
        .into_iter()
        .map(|(venue, native)| VenueEntry {
            name: venue.facts().name.to_owned(),
            taker_fee_pct: fee(venue),
            native: (0..instruments.len()).map(|at| native.get(&at).cloned()).collect(),
        })
        .collect();
    Ok(Discovery { directory: Directory::new(instruments, entries), begins, stamped })
}

/// `(symbol, native)` of all instruments in a recording, its start, and the latest timestamp of a quote in it.
#[allow(clippy::type_complexity)]
fn symbols_of(recording: &Recording) -> io::Result<(Vec<(String, String)>, Option<UnixNs>, Option<UnixNs>)> {
    let mut capture = recording.open()?;
    let mut codecs: BTreeMap<u32, Box<dyn FeedCodec>> = BTreeMap::new();
    let (mut found, mut begins, mut decoded) = (Vec::new(), None, Decoded::default());
    let mut stamped = None;
    while let Some((_, record)) = capture.next_record()? {
        let Ok(record) = record else { continue };
        begins = begins.or(time_of(&record));
        if matches!(record.dir, Direction::Out | Direction::Connect) || codecs.len() >= CONNECTIONS_MAX {
            continue;
        }
        let codec = codecs.entry(record.conn).or_insert_with(|| {
            let mut codec = recording.venue.codec(Symbols::discovering(recording.venue.symbol_of()));
            codec.opened(&mut decoded.requests);
            codec
        });
        decoded.clear();
        // Errors in frames are reported during the replay.
        let _ = match record.dir {
            Direction::Http => codec.snapshot(&record.url, &record.frame, &mut decoded),
            _ => codec.decode(&record.frame, MonoNs(0), &mut decoded),
        };
        let stamps = decoded.updates.iter().filter_map(|update| match update {
            Update::Top(top) => Some(top.exchange_time).filter(|at| at.0 > 0 && at.0 < STAMP_MAX_NS),
            _ => None,
        });
        stamped = stamped.max(stamps.max());
    }
    for entry in codecs.values().flat_map(|codec| codec.symbols().entries()) {
        found.push((entry.symbol.clone(), entry.native.clone()));
    }
    Ok((found, begins, stamped))
}

/// When a line is to be replayed; `None`: immediately after the previous line. REST replies are replayed where they
/// occur, because recorders put them at the head of a file, before frames that are seconds older.
fn time_of(record: &Record) -> Option<UnixNs> {
    let seconds = record.ts.filter(|seconds| record.dir != Direction::Http && (0.0..SECONDS_MAX).contains(seconds))?;
    // Recorded in microseconds; a float cannot hold more for present times.
    Some(UnixNs((seconds * 1e6).round() as u64 * 1000))
}

/// Later values (the year 2286) are not seconds. One such line would move the clock there.
const SECONDS_MAX: f64 = 1e10;
/// The same limit for timestamps of venues.
const STAMP_MAX_NS: u64 = 10_000_000_000 * SECOND;

/// Constructor arguments of [`Replay`].
pub struct ReplayParts {
    /// Recordings to replay.
    pub recordings: Vec<Recording>,
    /// The directory from [`discover`] for the same recordings.
    pub directory: Arc<Directory>,
    /// Ring to the detector.
    pub ring: rtrb::Producer<FeedEvent>,
    /// Wakes the detector.
    pub detector: Alarm,
    /// Table for day statistics.
    pub days: Arc<DayTable>,
    /// Counters.
    pub board: Arc<Board>,
    /// The clock of the whole replay; moved only here.
    pub clock: HandClock,
    /// Speed.
    pub pace: ReplayPace,
}

/// Replays recordings.
pub struct Replay {
    lanes: Vec<Lane>,
    handover: Handover,
    hand: HandClock,
    clock: Clock,
    pace: ReplayPace,
    /// Recorded time and system time when the pace was last synchronised.
    origin: Option<(UnixNs, MonoNs)>,
    /// Recorded time of the last line.
    last: Option<UnixNs>,
    done: Arc<AtomicBool>,
    bytes: Vec<u8>,
    errors: u64,
}

/// Position of the clock after a step.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Approach {
    There,
    /// More steps are needed.
    Closer,
    /// The pace does not allow more yet.
    TooEarly,
}

/// State of one recording.
struct Lane {
    recording: Recording,
    id: VenueId,
    capture: Capture,
    next: Option<(usize, Record)>,
    /// Time of the last line that had one.
    time: UnixNs,
    connections: BTreeMap<u32, Session>,
    /// Connections that have given way to a later one.
    ended: Vec<LineId>,
    early: Vec<Record>,
    directory: Arc<Directory>,
    days: Arc<DayTable>,
    board: Arc<Board>,
}

impl Replay {
    /// A replay at its beginning.
    ///
    /// # Errors
    /// A sentence about the file that cannot be read, or about a venue that is not in the directory.
    pub fn new(parts: ReplayParts) -> Result<Self, String> {
        let clock = parts.clock.clock();
        let mut lanes = Vec::new();
        for recording in parts.recordings {
            let name = recording.venue.facts().name;
            let id = parts.directory.venue_named(name).ok_or_else(|| format!("{name} is not in the directory"))?;
            parts.board.venues[id.index()].set_source(Source::Replay as u8);
            let capture = recording.open().map_err(|e| recording.wrong(&e))?;
            lanes.push(Lane {
                recording,
                id,
                capture,
                next: None,
                time: clock.unix(),
                connections: BTreeMap::new(),
                ended: Vec::new(),
                early: Vec::new(),
                directory: Arc::clone(&parts.directory),
                days: Arc::clone(&parts.days),
                board: Arc::clone(&parts.board),
            });
        }
        let ids = (0..parts.directory.venues().len()).map(|at| VenueId(at as u16)).collect();
        let instruments = parts.directory.instruments().len();
        let mut replay = Self {
            lanes,
            handover: Handover::new(parts.ring, parts.detector, parts.board, ids, instruments, Origin::Own),
            hand: parts.clock,
            clock,
            pace: parts.pace,
            origin: None,
            last: None,
            done: Arc::default(),
            bytes: Vec::new(),
            errors: 0,
        };
        (0..replay.lanes.len()).for_each(|at| replay.read_ahead(at));
        Ok(replay)
    }

    /// Becomes true when every line has been replayed and handed over.
    #[must_use]
    pub fn done(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.done)
    }

    /// Lines that could not be read so far. Frames that could not be decoded are counted on the board.
    #[must_use]
    pub const fn errors(&self) -> u64 {
        self.errors
    }

    /// The lane with the earliest next line; if there are several, the first.
    fn earliest(&self) -> Option<usize> {
        let waiting = self.lanes.iter().enumerate().filter(|(_, lane)| lane.next.is_some());
        waiting.min_by_key(|(_, lane)| lane.time).map(|(at, _)| at)
    }

    /// Reads the next valid line of a lane.
    fn read_ahead(&mut self, at: usize) {
        let lane = &mut self.lanes[at];
        lane.next = None;
        let why = loop {
            match lane.capture.next_record() {
                Ok(None) => return,
                Ok(Some((line, Ok(record)))) => {
                    // A line without a time, or with an earlier one, follows the previous line immediately.
                    lane.time = time_of(&record).unwrap_or(lane.time).max(lane.time);
                    lane.next = Some((line, record));
                    return;
                }
                Ok(Some((line, Err(why)))) => {
                    self.errors += 1;
                    if self.errors <= LOGGED_MAX {
                        log::say(format_args!("replay: {}:{line}: {why}", lane.recording.path.display()));
                    }
                }
                Err(error) => break error,
            }
        };
        self.errors += 1;
        log::say(format_args!("replay: {}: {why}; the rest of the file is skipped", lane.recording.path.display()));
    }

    /// Moves the clock towards `due`, by one step at most and no faster than the pace allows.
    fn approach(&mut self, due: UnixNs) -> Approach {
        let shown = self.clock.unix();
        let quiet_since = self.last.get_or_insert(shown);
        let step = UnixNs(shown.0.saturating_add(CLOCK_STEP_NS));
        if shown.0.saturating_sub(quiet_since.0) >= GAP_MAX_NS {
            self.hand.advance_to_unix(due);
            self.origin = None;
            return Approach::There;
        }
        let target = due.min(step);
        if let ReplayPace::Times(speed) = self.pace {
            let now = Clock::System.now();
            let (from, since) = *self.origin.get_or_insert((shown, now));
            let allowed = UnixNs(from.0.saturating_add((now.since(since) as f64 * speed) as u64));
            if allowed < target {
                self.hand.advance_to_unix(allowed);
                return Approach::TooEarly;
            }
        }
        self.hand.advance_to_unix(target);
        if target >= due { Approach::There } else { Approach::Closer }
    }

    /// Replays the next line of lane `at`.
    fn step(&mut self, at: usize) {
        let Self { lanes, handover, clock, bytes, .. } = self;
        let mut events = |event| handover.push(event);
        let lane = &mut lanes[at];
        if let Some((_, record)) = lane.next.take() {
            lane.replay(record, clock, bytes, &mut events);
        }
    }
}

impl Replay {
    /// Handles elapsed time on all connections. Silent connections have no lines, so lines of other connections trigger
    /// it.
    fn elapse(&mut self) {
        let Self { lanes, handover, clock, .. } = self;
        let now = clock.now();
        let connections = lanes.iter_mut().flat_map(|lane| lane.connections.values_mut());
        for connection in connections.filter(|it| it.deadline().is_some_and(|at| now >= at)) {
            connection.elapsed(now, &mut |event| handover.push(event));
            forget_output(connection);
        }
    }
}

impl Stage for Replay {
    fn name(&self) -> &str {
        "replay"
    }

    /// Replays one line, so that the detector follows before the clock moves on and before its quote is replaced.
    fn turn(&mut self, wait: Duration) -> usize {
        let work = self.next_line(wait);
        self.handover.settle();
        work
    }
}

impl Replay {
    fn next_line(&mut self, wait: Duration) -> usize {
        if !self.handover.has_room() {
            // If it has its own thread, it waits here for the detector.
            std::thread::sleep(wait.min(Duration::from_millis(1)));
            return 0;
        }
        let Some(at) = self.earliest() else {
            self.end(wait);
            return 0;
        };
        let due = self.lanes[at].time;
        let approach = self.approach(due);
        if approach != Approach::There {
            self.elapse();
        }
        match approach {
            Approach::There => {}
            Approach::Closer => return 0,
            Approach::TooEarly => {
                std::thread::sleep(wait.min(STEP));
                return 0;
            }
        }
        self.last = Some(due);
        self.step(at);
        self.read_ahead(at);
        1
    }

    fn end(&mut self, wait: Duration) {
        if self.handover.is_behind() {
            return;
        }
        let was_done = self.done.swap(true, Ordering::AcqRel);
        if self.pace == ReplayPace::Max {
            if !was_done {
                return;
            }
            self.pace = ReplayPace::Times(1.0);
        }
        // After the end, prices age at normal speed.
        let shown = self.clock.unix();
        self.last = Some(shown);
        self.approach(UnixNs(shown.0.saturating_add(SECOND)));
        std::thread::sleep(wait.min(STEP));
    }
}

impl Lane {
    fn replay(&mut self, record: Record, clock: &Clock, bytes: &mut Vec<u8>, events: &mut dyn FnMut(FeedEvent)) {
        let now = clock.now();
        match record.dir {
            Direction::Out => {}
            Direction::Connect => self.connect(record.conn, clock, events),
            Direction::Http if self.connections.is_empty() => {
                if self.early.len() < EARLY_MAX {
                    self.early.push(record);
                }
            }
            Direction::Http => {
                for connection in self.connections.values_mut() {
                    connection.set_timed(false);
                    connection.snapshot(&record.url, &record.frame, now, clock, events);
                }
            }
            Direction::In => {
                let open = self.connections.get(&record.conn).is_some_and(Session::is_open);
                if !open {
                    self.connect(record.conn, clock, events);
                }
                bytes.clear();
                let header = if record.is_binary { binary_frame_header } else { text_frame_header };
                header(record.frame.len(), bytes);
                bytes.extend_from_slice(&record.frame);
                self.end_lines(record.conn, now, events);
                if let Some(connection) = self.connections.get_mut(&record.conn) {
                    connection.set_timed(time_of(&record).is_some());
                    connection.receive(bytes, now, clock, events);
                    forget_output(connection);
                }
            }
        }
    }

    /// A recording does not tell when a connection ended. One that is silent since the connection `conn` was opened has
    /// given way to it.
    fn end_lines(&mut self, conn: u32, now: MonoNs, events: &mut dyn FnMut(FeedEvent)) {
        let Self { connections, ended, id, .. } = self;
        let Some(opened) = connections.get(&conn).map(Session::opened_at) else { return };
        for (_, other) in connections.iter().filter(|(number, _)| **number != conn) {
            let is_over = other.heard() <= opened && now.since(other.heard()) >= SUCCEEDED_NS;
            if let Some(line) = other.line().filter(|line| is_over && !ended.contains(line)) {
                ended.push(line);
                events(FeedEvent::LineEnded(*id, line));
            }
        }
    }

    /// Opens a connection that was opened in the recording, or must have been. An existing connection starts again.
    fn connect(&mut self, conn: u32, clock: &Clock, events: &mut dyn FnMut(FeedEvent)) {
        if !self.connections.contains_key(&conn) {
            if self.connections.len() >= CONNECTIONS_MAX {
                return;
            }
            let parts = SessionParts {
                id: self.id,
                venue: self.recording.venue,
                directory: Arc::clone(&self.directory),
                board: Arc::clone(&self.board),
                // Gaps in a recording are not silence: WebSocket pings are not recorded.
                options: FeedOptions {
                    silence_ping_ms: u64::MAX,
                    silence_max_ms: u64::MAX,
                    pair_silence_ms: 0,
                    ..FeedOptions::default()
                },
                quotes: QuoteOptions::default(),
                pairs: 1,
            };
            let entries = entries(&self.directory, self.id);
            let mut connection = Session::tops(parts, Arc::clone(&self.days), entries);
            // A reconnect is recorded as a connection with another number.
            if let Some(other) = self.connections.values().max_by_key(|other| other.heard()) {
                connection.learn_times_from(other);
            }
            self.connections.insert(conn, connection);
        }
        let now = clock.now();
        let Some(connection) = self.connections.get_mut(&conn) else { return };
        connection.lose(End::Socket("reconnected in the recording".to_owned()), events);
        // A constant address is valid.
        if connection.open("ws://recording/", now).is_err() {
            return;
        }
        let reply = connection.output().and_then(|request| upgrade_reply(request, Source::Replay.word()));
        connection.receive(&reply.unwrap_or_default(), now, clock, events);
        connection.set_timed(false);
        for record in self.early.drain(..) {
            connection.snapshot(&record.url, &record.frame, now, clock, events);
        }
        forget_output(connection);
    }
}

/// Discards the output, which has no receiver.
fn forget_output(connection: &mut Session) {
    if let Some(output) = connection.output() {
        output.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_venue_of_a_recording_is_in_its_name_or_given() {
        assert_eq!(venue_in(Path::new("/captures/kraken-v2.raw-20260826.jsonl")), "kraken");
        assert_eq!(venue_in(Path::new("binance.cf-20210405.jsonl.gz")), "binance");
        assert_eq!(venue_in(Path::new("binanceus.cf.jsonl")), "binanceus");
        let name = |path: &str, given| Recording::new(Path::new(path), given).map(|r| (r.venue.facts().name, r.path));
        assert_eq!(name("okx=/x/y.jsonl", None), Ok(("okx", "/x/y.jsonl".into())));
        assert_eq!(name("/x/y.jsonl", venue("bybit")), Ok(("bybit", "/x/y.jsonl".into())));
        assert!(name("/x/y.jsonl", None).unwrap_err().contains("NAME="));
        assert!(name("nowhere.cf.jsonl", None).unwrap_err().contains("nowhere"));
    }
}
