//! Lines of log, on the standard error, and what a server tells its terminal, on the standard output. Any thread.
//!
//! A reader that stops reading a pipe must not stop a server, so after [`Outlet::writer`] lines go through a bounded
//! ring to a thread of their own. What does not fit is dropped and counted, and the log says so when writing goes on.
//! Before that, and in commands that end by themselves, the caller writes and may wait.

use std::fmt;
use std::io::{self, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crossbeam::channel::{Receiver, Sender, bounded};

/// Lines that wait for a reader.
const LINES_MAX: usize = 1024;

/// One of the two standard streams.
pub struct Outlet {
    ring: OnceLock<Sender<String>>,
    /// Texts that were accepted, and that were written.
    accepted: AtomicU64,
    written: AtomicU64,
    dropped: AtomicU64,
    /// Writes; may wait for the reader.
    sink: fn(&str),
    /// Whether lines that were dropped are told in it.
    tells_loss: bool,
}

/// The standard output.
pub static OUTPUT: Outlet = Outlet::new(write_output, false);
/// The standard error.
pub static ERROR: Outlet = Outlet::new(write_error, true);

/// One line on the standard error.
pub fn say(line: fmt::Arguments<'_>) {
    ERROR.write(format!("{line}\n"));
}

/// Waits until both streams have what was said, while their readers take something; at most a second.
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
    const fn new(sink: fn(&str), tells_loss: bool) -> Self {
        Self {
            ring: OnceLock::new(),
            accepted: AtomicU64::new(0),
            written: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            sink,
            tells_loss,
        }
    }

    /// Writes `text`, or hands it to the writer. Where nobody listens any more (a closed terminal, the end of a pipe) it
    /// is lost: a log is no reason to stop, and `eprintln!` would panic.
    pub fn write(&self, text: String) {
        let Some(ring) = self.ring.get() else { return (self.sink)(&text) };
        self.accepted.fetch_add(1, Ordering::AcqRel);
        if ring.try_send(text).is_err() {
            self.accepted.fetch_sub(1, Ordering::AcqRel);
            self.dropped.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// From now on nobody who writes here waits for the reader; what this returns must be turned for that, on a thread of
    /// its own. `None` when there is one.
    #[must_use]
    pub fn writer(&'static self) -> Option<Writer> {
        let (ring, lines) = bounded(LINES_MAX);
        self.ring.set(ring).ok().map(|()| Writer { outlet: self, lines, told: 0 })
    }

    /// Texts that were dropped because nobody read, since the start.
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
    // In one piece, so that the lines of two threads do not mix.
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// Writes what was handed to an [`Outlet`]; waits for the reader for as long as it takes.
pub struct Writer {
    outlet: &'static Outlet,
    lines: Receiver<String>,
    /// How many dropped lines the log has told.
    told: u64,
}

impl Writer {
    /// Writes what waits, or waits for it for this long. Returns how many lines it wrote.
    pub fn turn(&mut self, wait: Duration) -> usize {
        let Ok(text) = self.lines.recv_timeout(wait) else { return 0 };
        (self.outlet.sink)(&text);
        let dropped = self.outlet.dropped();
        // What was dropped comes after all that had its place.
        if self.lines.is_empty() && dropped > self.told {
            if self.outlet.tells_loss {
                let count = dropped - self.told;
                (self.outlet.sink)(&format!("log: {count} lines were dropped, because nobody read the log\n"));
            }
            self.told = dropped;
        }
        self.outlet.written.fetch_add(1, Ordering::AcqRel);
        1
    }
}

/// Characters of somebody else's words that are worth keeping.
const WORDS_MAX: usize = 300;

/// Whether a terminal or a page would do something else with `c` than show it where it stands: controls, line
/// and paragraph ends, marks of writing direction (Unicode 17, UAX #9 and its table of format characters),
/// and what has no width.
#[must_use]
pub fn is_unruly(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
        || matches!(c, '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Somebody else's words, fit for a line of log or a page: cut, and without marks that would move the
/// cursor, turn the direction of writing or begin another line.
#[must_use]
pub fn tamed(text: &str) -> String {
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
        assert_eq!(told[LINES_MAX - 1..], ["1023\n", "log: 7 lines were dropped, because nobody read the log\n"]);
        assert!(TESTED.is_idle());
        TESTED.write("after\n".to_owned());
        while writer.turn(Duration::ZERO) > 0 {}
        assert_eq!(read(), ["after\n"], "told once");
    }

    #[test]
    fn f123_the_words_of_others_stay_on_their_line_and_are_cut() {
        assert_eq!(tamed("no\r\nfeed okx: \x1b[31mfine\u{85}"), "no  feed okx:  [31mfine ");
        assert_eq!(tamed("a\u{202e}b\u{200f}\u{2066}c\u{2028}d\u{feff}"), "a b  c d ");
        assert_eq!(tamed(&"é".repeat(300)), "é".repeat(300));
        assert_eq!(tamed(&"é".repeat(1 << 20)), "é".repeat(300) + "…");
    }
}
