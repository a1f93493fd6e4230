//! Log lines on the standard error, and a server's messages to its terminal on the standard output. Used from any
//! thread.
//!
//! A reader that stops reading a pipe must not stop a server. After [`Outlet::writer`], lines therefore go through a
//! bounded ring to a thread of their own. Lines that do not fit are dropped and counted, and the log reports them when
//! writing resumes. Before that, and in commands that end by themselves, the caller writes and may block.

use std::fmt;
use std::io::{self, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crossbeam::channel::{Receiver, Sender, bounded};

/// Most lines that may wait to be written.
const LINES_MAX: usize = 1024;

/// One of the two standard streams.
pub(crate) struct Outlet {
    ring: OnceLock<Sender<String>>,
    /// Number of texts accepted, and of texts written.
    accepted: AtomicU64,
    written: AtomicU64,
    dropped: AtomicU64,
    /// Writes a text; may block.
    sink: fn(&str),
    /// Whether the stream itself reports dropped lines.
    reports_loss: bool,
}

/// The standard output.
pub(crate) static OUTPUT: Outlet = Outlet::new(write_output, false);
/// The standard error.
pub(crate) static ERROR: Outlet = Outlet::new(write_error, true);

/// Writes one line to the standard error.
pub fn say(line: fmt::Arguments<'_>) {
    ERROR.write(format!("{line}\n"));
}

/// Waits until both streams have written all accepted texts, while their readers make progress; at most a second.
pub fn flush() {
    const STEP: Duration = Duration::from_millis(5);
    const IDLE_STEPS_MAX: u32 = 20;
    const STEPS_MAX: u32 = 200;
    let (mut idle, mut before) = (0, 0);
    for _ in 0..STEPS_MAX {
        let written = ERROR.written.load(Ordering::Acquire) + OUTPUT.written.load(Ordering::Acquire);
        idle = if written == before { idle + 1 } else { 0 };
        before = written;
        if (ERROR.is_idle() && OUTPUT.is_idle()) || idle > IDLE_STEPS_MAX {
            return;
        }
        std::thread::sleep(STEP);
    }
}

impl Outlet {
    const fn new(sink: fn(&str), reports_loss: bool) -> Self {
        Self {
            ring: OnceLock::new(),
            accepted: AtomicU64::new(0),
            written: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            sink,
            reports_loss,
        }
    }

    /// Writes `text`, or passes it to the writer. If there is no reader (a closed terminal, the end of a pipe), the
    /// text is lost: that is no reason to stop, and `eprintln!` would panic.
    pub fn write(&self, text: String) {
        let Some(ring) = self.ring.get() else { return (self.sink)(&text) };
        self.accepted.fetch_add(1, Ordering::AcqRel);
        if ring.try_send(text).is_err() {
            self.accepted.fetch_sub(1, Ordering::AcqRel);
            self.dropped.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// From now on, callers of [`Self::write`] never block. The returned writer must run on its own thread. `None` if
    /// there already is a writer.
    #[must_use]
    pub fn writer(&'static self) -> Option<LogWriter> {
        let (ring, lines) = bounded(LINES_MAX);
        self.ring.set(ring).ok().map(|()| LogWriter { outlet: self, lines, reported: 0 })
    }

    /// Number of texts dropped since the start because they were not read in time.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Acquire)
    }

    fn is_idle(&self) -> bool {
        self.written.load(Ordering::Acquire) >= self.accepted.load(Ordering::Acquire)
    }
}

fn write_output(text: &str) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

fn write_error(text: &str) {
    // One call, so that lines of two threads do not mix.
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// Writes the texts that were passed to an [`Outlet`]. Blocks for as long as the reader does not read.
pub(crate) struct LogWriter {
    outlet: &'static Outlet,
    lines: Receiver<String>,
    /// Number of dropped lines that have been reported.
    reported: u64,
}

impl LogWriter {
    /// Writes one waiting text, or waits up to `wait` for one. Returns the number of texts written.
    pub fn turn(&mut self, wait: Duration) -> usize {
        let Ok(text) = self.lines.recv_timeout(wait) else { return 0 };
        (self.outlet.sink)(&text);
        let dropped = self.outlet.dropped();
        // Report losses only after all accepted texts have been written.
        if self.lines.is_empty() && dropped > self.reported {
            if self.outlet.reports_loss {
                let count = dropped - self.reported;
                (self.outlet.sink)(&format!("log: {count} lines dropped because the log was not read\n"));
            }
            self.reported = dropped;
        }
        self.outlet.written.fetch_add(1, Ordering::AcqRel);
        1
    }
}

/// Longest external text that is kept, in characters.
const WORDS_MAX: usize = 300;

/// Whether a terminal or a page would do anything with `c` other than display it in place: control characters, line and
/// paragraph separators, marks of writing direction (Unicode 17, UAX #9 and its table of format characters), and
/// characters without width.
#[must_use]
pub(crate) fn is_unruly(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
        || matches!(c, '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// An external text made safe for a log line or a page: limited in length, and without characters that would move the
/// cursor, change the direction of writing or start another line.
#[must_use]
pub(crate) fn tamed(text: &str) -> String {
    let kept = text.chars().take(WORDS_MAX).map(|c| if is_unruly(c) { ' ' } else { c });
    let cut = if text.chars().nth(WORDS_MAX).is_some() { "…" } else { "" };
    kept.chain(cut.chars()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    static READ: Mutex<Vec<String>> = Mutex::new(Vec::new());
    static TESTED: Outlet = Outlet::new(|text| READ.lock().unwrap().push(text.to_owned()), true);

    #[test]
    fn lines_that_nobody_reads_are_dropped_counted_and_told_when_writing_goes_on() {
        let read = || std::mem::take(&mut *READ.lock().unwrap());
        TESTED.write("before\n".to_owned());
        assert_eq!(read(), ["before\n"], "the caller writes");
        let mut writer = TESTED.writer().unwrap();
        assert!(TESTED.writer().is_none());
        for n in 0..LINES_MAX + 7 {
            TESTED.write(format!("{n}\n"));
        }
        assert_eq!((TESTED.dropped(), TESTED.is_idle(), read().len()), (7, false, 0));
        while writer.turn(Duration::ZERO) > 0 {}
        let told = read();
        assert_eq!(told.len(), LINES_MAX + 1);
        assert_eq!(told[LINES_MAX - 1..], ["1023\n", "log: 7 lines dropped because the log was not read\n"]);
        assert!(TESTED.is_idle());
        TESTED.write("after\n".to_owned());
        while writer.turn(Duration::ZERO) > 0 {}
        assert_eq!(read(), ["after\n"], "told once");
    }

    #[test]
    fn the_words_of_others_stay_on_their_line_and_are_cut() {
        assert_eq!(tamed("no\r\nfeed okx: \x1b[31mfine\u{85}"), "no  feed okx:  [31mfine ");
        assert_eq!(tamed("a\u{202e}b\u{200f}\u{2066}c\u{2028}d\u{feff}"), "a b  c d ");
        assert_eq!(tamed(&"é".repeat(300)), "é".repeat(300));
        assert_eq!(tamed(&"é".repeat(1 << 20)), "é".repeat(300) + "…");
    }
}
