//! Lines of log, on the standard error. Any thread; the writer may wait for whoever reads them.

use std::fmt;
use std::io::{self, Write};

/// One line. Where nobody listens any more (a closed terminal, the end of a pipe) it is lost: a log is
/// no reason to stop, and `eprintln!` would panic.
pub fn say(line: fmt::Arguments<'_>) {
    // In one piece, so that the lines of two threads do not mix.
    let text = format!("{line}\n");
    let _ = io::stderr().lock().write_all(text.as_bytes());
}
