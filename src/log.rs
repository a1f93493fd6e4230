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

/// Characters of somebody else's words that are worth keeping.
const WORDS_MAX: usize = 300;

/// Somebody else's words, fit for a line of log or a page: cut, and without marks that would move the
/// cursor or begin another line.
#[must_use]
pub fn tamed(text: &str) -> String {
    let kept = text.chars().take(WORDS_MAX).map(|c| if c.is_control() { ' ' } else { c });
    let cut = if text.chars().nth(WORDS_MAX).is_some() { "…" } else { "" };
    kept.chain(cut.chars()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f123_the_words_of_others_stay_on_their_line_and_are_cut() {
        assert_eq!(tamed("no\r\nfeed okx: \x1b[31mfine\u{85}"), "no  feed okx:  [31mfine ");
        assert_eq!(tamed(&"é".repeat(300)), "é".repeat(300));
        assert_eq!(tamed(&"é".repeat(1 << 20)), "é".repeat(300) + "…");
    }
}
