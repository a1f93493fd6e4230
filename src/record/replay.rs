//! Stage: captures as if they came in now. Each recorded connection is a feed connection of its own,
//! fed WebSocket frames made of the recorded texts, on the recorded clock; what comes out goes over the
//! same handover to the same ring.
//!
//! In: capture files, merged by time. Out: feed events, day statistics, counters. Runs before the
//! detector on the detector's thread: it turns the clock no further than the detector has followed, so
//! that a replay gives the same opportunities at any speed. Never touches a socket; what a connection
//! wants to send is thrown away. It is the one stage that uses another: a replay is a feed from a file.

use std::collections::BTreeMap;
use std::io::{self, Cursor, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::feed::Options;
use crate::feed::connection::{Connection, Parts, Purpose};
use crate::log;
use crate::market::directory::VenueEntry;
use crate::market::quote::{FeedEvent, Origin, Source};
use crate::market::{Decimal, Directory, VenueId};
use crate::matrix::days::DayTable;
use crate::matrix::handover::Handover;
use crate::metrics::Board;
use crate::record::capture::{Capture, Direction, Record};
use crate::stage::{Alarm, Stage};
use crate::time::{Clock, HandClock, MS, MonoNs, SECOND, UnixNs};
use crate::venues::{Decoded, FeedCodec, Symbols, Update, Venue, venue};
use crate::wire::websocket::{binary_frame_header, text_frame_header, upgrade_reply};

/// Most of the standard input, which has to be read twice and so is kept, in bytes.
const INPUT_MAX: u64 = 256 << 20;
/// Connections of one recording.
const CONNECTIONS_MAX: usize = 64;
/// REST replies kept for a connection that has not begun.
const EARLY_MAX: usize = 256;
/// Recorded time in which nothing comes: after this much of it the rest is skipped.
const GAP_MAX_NS: u64 = 60 * SECOND;
/// The clock moves no further at once, so that what age alone brings about happens when it should.
const CLOCK_STEP_NS: u64 = 20 * MS;
/// Longest sleep while the clock is to move smoothly.
const STEP: Duration = Duration::from_millis(5);
/// Bad lines that are told; the rest is only counted.
const TOLD_MAX: u64 = 20;

/// One capture and whose it is.
#[derive(Clone)]
pub struct Recording {
    path: PathBuf,
    venue: &'static dyn Venue,
    /// The standard input, which cannot be read again.
    kept: Option<Arc<[u8]>>,
}

/// How fast a recording is replayed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// This many times as fast as it was recorded; above 0.
    Times(f64),
    /// Without waiting.
    Max,
}

impl Recording {
    /// The capture at `path`; `-` is the standard input, which is read whole. Its venue is `venue`, else the
    /// one before `=` in `kraken=some.jsonl`, else the one that the file name begins with, up to the first
    /// `.` or `-`.
    ///
    /// # Errors
    /// A sentence: no such venue, or the input cannot be read or kept.
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
                "{}: its name begins with no venue; write NAME={0}, NAME one of {known}",
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

/// What a first reading of recordings finds.
pub struct Discovery {
    /// Venues and instruments, in the order they were first seen.
    pub directory: Directory,
    /// The recorded time at which the first of them begins; `None` where no line has one.
    pub begins: Option<UnixNs>,
    /// The venues' latest stamp of a quote in them, where no line has a time.
    pub stamped: Option<UnixNs>,
}

/// When a recording begins in which nothing tells a time: 2020-01-01.
pub const NO_TIME: UnixNs = UnixNs(1_577_836_800 * SECOND);

impl Discovery {
    /// A clock that stands where the recordings begin. Without times their order is all that is known of it: the clock
    /// stands at the latest stamp of the venues in them, or at [`NO_TIME`], so that each run gives the same output.
    #[must_use]
    pub fn clock(&self) -> HandClock {
        // Not at zero: ages and deadlines look back.
        HandClock::new(MonoNs(3600 * SECOND), self.begins.or(self.stamped).unwrap_or(NO_TIME))
    }
}

/// Reads all of `recordings` once, to know who is in them. `fee` gives a venue's taker fee in percent.
///
/// # Errors
/// A sentence about the file that cannot be read. Lines and frames that cannot be are told when replayed.
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
            // A second spelling of the same instrument is unknown to the codec, and counted as unused.
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

/// `(symbol, native)` of all instruments in a recording, when it begins, and the latest stamp of a quote in it.
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
        // What is wrong with a frame is told when it is replayed.
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

/// When a line is to be replayed; `None`: right after the line before it. REST replies come when they
/// are there: recorders put them at the head of a file, before frames that are seconds older.
fn time_of(record: &Record) -> Option<UnixNs> {
    let seconds = record.ts.filter(|seconds| record.dir != Direction::Http && (0.0..SECONDS_MAX).contains(seconds))?;
    // Recorded to the microsecond; a float holds no more today.
    Some(UnixNs((seconds * 1e6).round() as u64 * 1000))
}

/// Later times (the year 2286) are no seconds: one such line would take the clock there.
const SECONDS_MAX: f64 = 1e10;
/// The same for venues' stamps.
const STAMP_MAX_NS: u64 = 10_000_000_000 * SECOND;

/// What a replay is made of.
pub struct ReplayParts {
    /// What to replay.
    pub recordings: Vec<Recording>,
    /// Of [`discover`] for the same recordings.
    pub directory: Arc<Directory>,
    /// To the detector.
    pub ring: rtrb::Producer<FeedEvent>,
    /// Wakes the detector.
    pub detector: Alarm,
    /// Where day statistics go.
    pub days: Arc<DayTable>,
    /// Counters.
    pub board: Arc<Board>,
    /// The clock that everybody in this replay reads; moved only here.
    pub clock: HandClock,
    /// How fast.
    pub pace: Pace,
}

/// The stage.
pub struct Replay {
    lanes: Vec<Lane>,
    handover: Handover,
    hand: HandClock,
    clock: Clock,
    pace: Pace,
    /// Where recorded time and ours last met, for a pace.
    origin: Option<(UnixNs, MonoNs)>,
    /// Recorded time of the last line.
    last: Option<UnixNs>,
    done: Arc<AtomicBool>,
    bytes: Vec<u8>,
    errors: u64,
}

/// Where the clock is after a step.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Approach {
    There,
    /// More steps are needed.
    Closer,
    /// The pace does not allow more now.
    TooEarly,
}

/// One recording.
struct Lane {
    recording: Recording,
    id: VenueId,
    capture: Capture,
    next: Option<(usize, Record)>,
    /// Of the last line that had a time.
    time: UnixNs,
    connections: BTreeMap<u32, Connection>,
    early: Vec<Record>,
    directory: Arc<Directory>,
    days: Arc<DayTable>,
    board: Arc<Board>,
}

impl Replay {
    /// A replay that stands at its beginning.
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

    /// The lane whose next line is the earliest; of several the first.
    fn earliest(&self) -> Option<usize> {
        let waiting = self.lanes.iter().enumerate().filter(|(_, lane)| lane.next.is_some());
        waiting.min_by_key(|(_, lane)| lane.time).map(|(at, _)| at)
    }

    /// Looks at a lane's next line that can be read.
    fn read_ahead(&mut self, at: usize) {
        let lane = &mut self.lanes[at];
        lane.next = None;
        let why = loop {
            match lane.capture.next_record() {
                Ok(None) => return,
                Ok(Some((line, Ok(record)))) => {
                    // A line without a time, or with an earlier one, follows the line before it at once.
                    lane.time = time_of(&record).unwrap_or(lane.time).max(lane.time);
                    lane.next = Some((line, record));
                    return;
                }
                Ok(Some((line, Err(why)))) => {
                    self.errors += 1;
                    if self.errors <= TOLD_MAX {
                        log::say(format_args!("replay: {}:{line}: {why}", lane.recording.path.display()));
                    }
                }
                Err(error) => break error,
            }
        };
        self.errors += 1;
        log::say(format_args!("replay: {}: {why}; the rest of it is left out", lane.recording.path.display()));
    }

    /// Moves the clock towards `due`, by a step at most and no faster than the pace allows.
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
        if let Pace::Times(speed) = self.pace {
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
    /// What time alone brings about, on all connections: one that says nothing is told by the others' lines.
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

    /// One line: the detector follows before the clock moves on, and before its quote is overtaken.
    fn turn(&mut self, wait: Duration) -> usize {
        let work = self.next_line(wait);
        self.handover.settle();
        work
    }
}

impl Replay {
    fn next_line(&mut self, wait: Duration) -> usize {
        if !self.handover.has_room() {
            // On a thread of its own it waits here until the detector has followed.
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
        if self.pace == Pace::Max {
            if !was_done {
                return;
            }
            self.pace = Pace::Times(1.0);
        }
        // Prices grow old after the end as they would in life.
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
                let open = self.connections.get(&record.conn).is_some_and(Connection::is_open);
                if !open {
                    self.connect(record.conn, clock, events);
                }
                bytes.clear();
                let header = if record.is_binary { binary_frame_header } else { text_frame_header };
                header(record.frame.len(), bytes);
                bytes.extend_from_slice(&record.frame);
                if let Some(connection) = self.connections.get_mut(&record.conn) {
                    connection.set_timed(time_of(&record).is_some());
                    connection.receive(bytes, now, clock, events);
                    forget_output(connection);
                }
            }
        }
    }

    /// A socket was opened, or must have been: the connection begins anew.
    fn connect(&mut self, conn: u32, clock: &Clock, events: &mut dyn FnMut(FeedEvent)) {
        use crate::feed::connection::End;

        if !self.connections.contains_key(&conn) {
            if self.connections.len() >= CONNECTIONS_MAX {
                return;
            }
            let parts = Parts {
                id: self.id,
                venue: self.recording.venue,
                purpose: Purpose::Tops,
                directory: Arc::clone(&self.directory),
                days: Arc::clone(&self.days),
                board: Arc::clone(&self.board),
                // What a recording does not hold is no silence: WebSocket pings are not in it.
                options: Options {
                    silence_ping_ms: u64::MAX,
                    silence_max_ms: u64::MAX,
                    pair_silence_ms: 0,
                    ..Options::default()
                },
            };
            let mut connection = Connection::new(parts);
            // A reconnect is a connection with another number.
            if let Some(other) = self.connections.values().max_by_key(|other| other.heard()) {
                connection.learn_times_from(other);
            }
            self.connections.insert(conn, connection);
        }
        let now = clock.now();
        let Some(connection) = self.connections.get_mut(&conn) else { return };
        connection.lose(End::Socket("connected anew in the recording".to_owned()), events);
        // A constant address is one.
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

/// Nobody is at the other end.
fn forget_output(connection: &mut Connection) {
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
