//! An order book as clients see it: the `book` message of those who watch one, and the page `/api/book`. One object for
//! both. Levels are `[price, size]`, the best first, not rounded.

use std::sync::Arc;

use crate::market::Level;
use crate::market::book::{BookView, BookVoid};
use crate::protocol::{Object, array, object};

/// What a book is worth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It holds.
    Live,
    /// Nothing came of it for longer than a price would count; its levels are the last known.
    Stale,
    /// It was there and is no more.
    Void(BookVoid),
    /// There is none.
    None(Absence),
}

/// Why there is no book, and was none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Absence {
    /// It is asked for and did not come yet.
    Waiting,
    /// The exchange is not configured to quote the symbol.
    NotQuoted,
    /// The exchange offers no order books that are fit for use.
    NotOffered,
    /// This process keeps no order books.
    Off,
    /// No symbol or no exchange of this name is configured.
    Unknown,
    /// Order books come from the instance that leads the exchange, and that is another one: this, if it is known.
    Elsewhere(Option<Arc<String>>),
}

impl State {
    /// `live`, `stale`, `void`, `none`.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Stale => "stale",
            Self::Void(_) => "void",
            Self::None(_) => "none",
        }
    }

    /// Why it is void, or none.
    #[must_use]
    pub const fn reason(&self) -> Option<&'static str> {
        match self {
            Self::Live | Self::Stale => None,
            Self::Void(why) => Some(why.word()),
            Self::None(why) => Some(match why {
                Absence::Waiting => "waiting",
                Absence::NotQuoted => "not_quoted",
                Absence::NotOffered => "not_offered",
                Absence::Off => "off",
                Absence::Unknown => "unknown",
                Absence::Elsewhere(_) => "not_leader",
            }),
        }
    }
}

/// A book at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a> {
    /// Symbol as a JSON string, in the client's own spelling.
    pub symbol: &'a [u8],
    /// Exchange as a JSON string, in the client's own spelling.
    pub exchange: &'a [u8],
    /// What it is worth.
    pub state: &'a State,
    /// Levels and what goes with them. Levels are left out where the state has none.
    pub view: &'a BookView,
    /// Milliseconds since its last change was read.
    pub age_ms: u64,
    /// Unix milliseconds: now.
    pub timestamp: u64,
}

/// Appends a `book` message.
pub fn message(shown: &Shown<'_>, out: &mut Vec<u8>) {
    let mut o = Object::open(out);
    o.text("type", "book");
    members(shown, &mut o);
    o.close();
}

/// Appends one book of a page.
pub fn entry(shown: &Shown<'_>, out: &mut Vec<u8>) {
    let mut o = Object::open(out);
    members(shown, &mut o);
    o.close();
}

/// The books of one symbol; `write` appends one of `books`.
#[must_use]
pub fn page<T>(
    symbol: &str,
    timestamp: u64,
    books: impl Iterator<Item = T>,
    write: impl FnMut(T, &mut Vec<u8>),
) -> Vec<u8> {
    object(|root| {
        root.text("symbol", symbol).integer("timestamp", timestamp);
        array(books, root.key("books"), write);
    })
}

fn members(shown: &Shown<'_>, o: &mut Object<'_>) {
    let Shown { state, view, .. } = shown;
    o.key("symbol").extend_from_slice(shown.symbol);
    o.key("exchange").extend_from_slice(shown.exchange);
    o.text("state", state.word());
    if let Some(reason) = state.reason() {
        o.text("reason", reason);
    }
    if let State::None(Absence::Elsewhere(Some(leader))) = state {
        o.text("leader", leader);
    }
    let has_levels = matches!(state, State::Live | State::Stale);
    for (name, levels) in [("bids", &view.bids), ("asks", &view.asks)] {
        array(levels.iter().filter(|_| has_levels), o.key(name), level);
    }
    let is_there = !matches!(state, State::None(_));
    let stamp = &view.stamp;
    or_null(o, "sequence", (is_there && stamp.sequence > 0).then_some(stamp.sequence));
    or_null(o, "exchangeTime", (is_there && stamp.exchange_time.0 > 0).then(|| stamp.exchange_time.ms()));
    or_null(o, "ageMs", is_there.then_some(shown.age_ms));
    match is_there {
        true => o.text("source", stamp.source.word()),
        false => o.null("source"),
    };
    o.integer("voids", view.voids).integer("timestamp", shown.timestamp);
}

fn level(level: &Level, out: &mut Vec<u8>) {
    out.push(b'[');
    level.price.write(out);
    out.push(b',');
    level.size.write(out);
    out.push(b']');
}

fn or_null(o: &mut Object<'_>, name: &str, number: Option<u64>) {
    match number {
        Some(number) => o.integer(name, number),
        None => o.null(name),
    };
}
