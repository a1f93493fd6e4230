//! Stage: stores last known quotes on disk, so that they are available after a restart.
//!
//! In: the matrix, every few seconds; at the start, the file of the previous run. Out: that file, always replaced as a
//! whole; the quotes of the file, on a ring to the detector, with [`Origin::Disk`](crate::market::quote::Origin). Such
//! a quote is not used as a price and causes no alert: extended clients see it as `cached`, with its age. Runs on its
//! own thread, the only one that waits for the disk. Disk errors are counted and logged, and stop nothing.

pub mod file;

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crossbeam::sync::Parker;

use crate::log;
use crate::market::quote::FeedEvent;
use crate::market::{Directory, PairId, Quote};
use crate::matrix::{CACHED_MAX_NS, CellState, SharedMatrix};
use crate::metrics::Board;
use crate::stage::{Alarm, Sleep, Stage};
use crate::time::{Clock, MonoNs, SECOND};

/// Name of the file in the state directory.
pub const FILE: &str = "last-known-quotes";
/// Interval of writes, in nanoseconds.
const EVERY_NS: u64 = 5 * SECOND;
/// Minimum pause after a write, as a multiple of its duration.
const REST_SHARE: u64 = 50;
/// Largest accepted file, in bytes.
const FILE_MAX: u64 = 32 << 20;
/// Minimum time between two log lines about errors, in nanoseconds.
const COMPLAINT_NS: u64 = 60 * SECOND;

/// Constructor arguments of [`LastKnownStore`].
pub struct LastKnownParts {
    /// Directory of the file; created if it does not exist.
    pub directory: PathBuf,
    /// Names and ids.
    pub names: Arc<Directory>,
    /// The quotes to store.
    pub matrix: SharedMatrix,
    /// Ring to the detector.
    pub ring: rtrb::Producer<FeedEvent>,
    /// Wakes the detector.
    pub detector: Alarm,
    /// Counters.
    pub board: Arc<Board>,
    /// Source of time.
    pub clock: Clock,
    /// The boot to which the monotonic clock refers, see [`boot_id`].
    pub boot: String,
}

/// The id of the current boot of this machine; `None` if the system has none.
#[must_use]
pub fn boot_id() -> Option<String> {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(id.trim().to_owned()).filter(|id| !id.is_empty())
}

/// Stores quotes on disk and restores them at the start.
pub struct LastKnownStore {
    parts: LastKnownParts,
    parker: Parker,
    slept: Sleep,
    has_read: bool,
    /// Quotes of the file that have not been sent to the detector.
    found: Vec<Quote>,
    write_at: MonoNs,
    complained: Option<MonoNs>,
}

impl LastKnownStore {
    /// A store that reads the file on its first turn. Does not access the disk here.
    #[must_use]
    pub fn new(parts: LastKnownParts) -> Self {
        let write_at = parts.clock.now().plus(EVERY_NS);
        Self {
            parts,
            parker: Parker::new(),
            slept: Sleep::default(),
            has_read: false,
            found: Vec::new(),
            write_at,
            complained: None,
        }
    }

    fn path(&self) -> PathBuf {
        self.parts.directory.join(FILE)
    }

    /// A temporary file of this process, so that two processes with one directory never write to the same file.
    fn temporary(&self) -> PathBuf {
        self.parts.directory.join(format!("{FILE}.{}", std::process::id()))
    }

    fn read(&mut self) {
        let now = self.parts.clock.now();
        if let Err(why) = fs::create_dir_all(&self.parts.directory) {
            self.complain("cannot be created", &why.to_string(), now);
            return;
        }
        remove_left_over(&self.parts.directory);
        let bytes = match read_file(&self.path()) {
            Ok(bytes) => bytes,
            Err(why) if why.kind() == io::ErrorKind::NotFound => return,
            Err(why) => return self.complain("cannot be read", &why.to_string(), now),
        };
        match file::decode(&bytes, &self.parts.boot, now, &self.parts.names) {
            Ok(found) => {
                self.parts.board.last_known.taken.add(found.quotes.len() as u64);
                self.parts.board.last_known.refused.add(found.refused);
                self.found = found.quotes;
            }
            Err(why) => self.complain("is ignored", &why.to_string(), now),
        }
    }

    /// Sends the quotes of the file to the detector, as far as there is room.
    fn hand_over(&mut self) -> usize {
        let before = self.found.len();
        while let Some(quote) = self.found.pop() {
            if self.parts.ring.push(FeedEvent::Quote(quote)).is_err() {
                self.found.push(quote);
                break;
            }
        }
        if before > 0 {
            self.parts.detector.ring();
        }
        before - self.found.len()
    }

    fn write(&mut self) {
        let now = self.parts.clock.now();
        let matrix = self.parts.matrix.load();
        let is_quoted = |pair: &PairId| {
            let (instrument, venue) = self.parts.names.split(*pair);
            self.parts.names.is_quoted(instrument, venue)
        };
        let cells: Vec<_> = (0..matrix.pairs() as u32)
            .map(PairId)
            .filter(is_quoted)
            .map(|pair| (pair, matrix.load(pair)))
            // Void quotes were valid once; their age tells when.
            .filter(|(_, cell)| matches!(cell.state, CellState::Live | CellState::Void))
            .filter(|(_, cell)| cell.age(now) <= CACHED_MAX_NS)
            .collect();
        if !cells.is_empty() {
            let bytes = file::encode(&self.parts.boot, &cells, &self.parts.names);
            let temporary = self.temporary();
            let written = fs::create_dir_all(&self.parts.directory)
                .and_then(|()| fs::write(&temporary, bytes))
                .and_then(|()| fs::rename(&temporary, self.path()));
            match written {
                Ok(()) => self.parts.board.last_known.writes.add(1),
                Err(why) => {
                    // Remove the incomplete file.
                    let _ = fs::remove_file(&temporary);
                    self.complain("cannot be written", &why.to_string(), now);
                }
            }
        }
        let end = self.parts.clock.now();
        self.write_at = end.plus(EVERY_NS.max(end.since(now) * REST_SHARE));
    }

    fn complain(&mut self, what: &str, why: &str, now: MonoNs) {
        self.parts.board.last_known.failures.add(1);
        if self.complained.is_none_or(|at| now.since(at) >= COMPLAINT_NS) {
            self.complained = Some(now);
            log::say(format_args!("warning: last known quotes: {} {what}: {}", self.path().display(), log::tamed(why)));
        }
    }
}

impl Stage for LastKnownStore {
    fn name(&self) -> &str {
        "keeper"
    }

    fn turn(&mut self, wait: Duration) -> usize {
        if !std::mem::replace(&mut self.has_read, true) {
            self.read();
        }
        let mut work = self.hand_over();
        let now = self.parts.clock.now();
        // The file is not overwritten before its quotes are in the matrix.
        if now >= self.write_at && self.found.is_empty() {
            self.write();
            work += 1;
        }
        if work == 0 && !wait.is_zero() {
            self.parker.park_timeout(wait);
            self.slept = Sleep::new(now, self.parts.clock.now(), wait, false);
        }
        work
    }

    fn slept(&self) -> Option<Sleep> {
        Some(self.slept)
    }

    fn finish(&mut self) {
        if self.has_read && self.found.is_empty() {
            self.write();
        }
    }
}

fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(FILE_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_MAX {
        return Err(io::Error::other("larger than the limit"));
    }
    Ok(bytes)
}

/// Removes temporary files of processes that ended while writing.
fn remove_left_over(directory: &Path) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let writer = name.to_str().and_then(|name| name.strip_prefix(FILE)?.strip_prefix('.')?.parse::<u32>().ok());
        if writer.is_some_and(|process| !Path::new("/proc").join(process.to_string()).exists()) {
            // A file that remains does no harm.
            let _ = fs::remove_file(entry.path());
        }
    }
}
