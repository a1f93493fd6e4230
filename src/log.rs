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

    #[test]
    fn f123_the_words_of_others_stay_on_their_line_and_are_cut() {
        assert_eq!(tamed("no\r\nfeed okx: \x1b[31mfine\u{85}"), "no  feed okx:  [31mfine ");
        assert_eq!(tamed("a\u{202e}b\u{200f}\u{2066}c\u{2028}d\u{feff}"), "a b  c d ");
        assert_eq!(tamed(&"é".repeat(300)), "é".repeat(300));
        assert_eq!(tamed(&"é".repeat(1 << 20)), "é".repeat(300) + "…");
    }
}
