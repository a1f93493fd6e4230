//! The offline checker: what every instance accepted, one line per batch, held against what must never happen.
//!
//! A line is `<ns> <instance> <venue> <leader> <token> <sequence>`: the monotonic time of whoever wrote it, who
//! accepted, and the batch. Lines of one instance are in the order of acceptance; those of others may be anywhere.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

/// One accepted batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted<'a> {
    pub at: u64,
    pub instance: &'a str,
    pub venue: &'a str,
    pub leader: &'a str,
    pub token: u64,
    pub sequence: u64,
}

impl<'a> Accepted<'a> {
    /// The inverse of its text.
    pub fn parse(line: &'a str) -> Result<Self, String> {
        let fields: Vec<&str> = line.split(' ').collect();
        let [at, instance, venue, leader, token, sequence] = fields[..] else {
            return Err(format!("`{line}` has {} fields, expected 6", fields.len()));
        };
        let number = |text: &str| u64::from_str(text).map_err(|why| format!("`{line}`: `{text}`: {why}"));
        Ok(Self { at: number(at)?, instance, venue, leader, token: number(token)?, sequence: number(sequence)? })
    }
}

impl fmt::Display for Accepted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, instance, venue, leader, token, sequence } = self;
        write!(f, "{at} {instance} {venue} {leader} {token} {sequence}")
    }
}

/// What a history without a fault amounts to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Lines.
    pub batches: u64,
    /// Tokens under which anything was accepted.
    pub tokens: u64,
    /// Batches that somebody missed within a token.
    pub gaps: u64,
    /// The longest time between two acceptances of one venue by one instance, in nanoseconds.
    pub silence_ns_max: u64,
}

/// Takes a history line by line.
#[derive(Default)]
pub struct Checker {
    /// By venue and token: who publishes under it.
    leaders: HashMap<String, HashMap<u64, String>>,
    /// By instance and venue: token, sequence and time of the last that was accepted.
    last: HashMap<String, HashMap<String, (u64, u64, u64)>>,
    summary: Summary,
}

impl Checker {
    /// One more line.
    ///
    /// # Errors
    /// A sentence, when it is something that must never happen.
    pub fn accept(&mut self, it: &Accepted<'_>) -> Result<(), String> {
        if !self.leaders.contains_key(it.venue) {
            self.leaders.insert(it.venue.to_owned(), HashMap::new());
        }
        let leaders = self.leaders.get_mut(it.venue).unwrap();
        match leaders.get(&it.token) {
            Some(leader) if leader != it.leader => {
                return Err(format!("{leader} and {} both published under one token: {it}", it.leader));
            }
            Some(_) => {}
            None => {
                leaders.insert(it.token, it.leader.to_owned());
                self.summary.tokens += 1;
            }
        }
        if !self.last.contains_key(it.instance) {
            self.last.insert(it.instance.to_owned(), HashMap::new());
        }
        let last = self.last.get_mut(it.instance).unwrap();
        if let Some((token, sequence, at)) = last.get_mut(it.venue) {
            if it.token < *token {
                return Err(format!("a lower token was accepted after {token}: {it}"));
            }
            if it.token == *token && it.sequence <= *sequence {
                return Err(format!("a batch was accepted twice or late, after sequence {sequence}: {it}"));
            }
            if it.at < *at {
                return Err(format!("time went back from {at}: {it}"));
            }
            if it.token == *token {
                self.summary.gaps += it.sequence - *sequence - 1;
            }
            self.summary.silence_ns_max = self.summary.silence_ns_max.max(it.at - *at);
            (*token, *sequence, *at) = (it.token, it.sequence, it.at);
        } else {
            last.insert(it.venue.to_owned(), (it.token, it.sequence, it.at));
        }
        self.summary.batches += 1;
        Ok(())
    }

    /// What was seen so far.
    pub const fn summary(&self) -> Summary {
        self.summary
    }
}

/// Checks the text of a history.
///
/// # Errors
/// The first line that must never happen, or that is none.
pub fn check(text: &str) -> Result<Summary, String> {
    let mut checker = Checker::default();
    for line in text.lines().filter(|line| !line.is_empty()) {
        checker.accept(&Accepted::parse(line)?)?;
    }
    Ok(checker.summary())
}

#[test]
fn a_faultless_history_is_summed_up() {
    let text = "10 a okx b 1 1\n20 a okx b 1 2\n15 c okx b 1 2\n50 a okx c 3 1\n60 a okx c 3 4\n60 a kraken c 1 9\n";
    let summary = Summary { batches: 6, tokens: 3, gaps: 2, silence_ns_max: 30 };
    assert_eq!(check(text), Ok(summary));
}

#[test]
fn what_must_never_happen_is_named() {
    for (what, text) in [
        ("lower token", "10 a okx b 2 1\n20 a okx c 1 7\n"),
        ("both published", "10 a okx b 2 1\n20 d okx c 2 2\n"),
        ("twice or late", "10 a okx b 2 5\n20 a okx b 2 5\n"),
        ("time went back", "10 a okx b 2 5\n9 a okx b 2 6\n"),
        ("5 fields", "10 a okx b 2\n"),
        ("invalid digit", "10 a okx b x 1\n"),
    ] {
        assert!(check(text).unwrap_err().contains(what), "{what}: {:?}", check(text));
    }
}

#[test]
fn a_line_is_read_back_as_it_was_written() {
    let line = "10 a_1 okx b_2 3 4";
    assert_eq!(Accepted::parse(line).unwrap().to_string(), line);
}
