//! An order book as clients see it: the `book` message to clients that subscribe to one, and the page `/api/book`. Both
//! contain the same object. Levels are `[price, size]`, best first, not rounded.

use std::sync::Arc;

use crate::market::Level;
use crate::market::book::{BookView, BookVoid};
use crate::protocol::{Object, array, object};

/// State of a book.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BookState {
    /// Valid and current.
    Live,
    /// No update arrived for longer than a price stays fresh; the levels are the last known ones.
    Stale,
    /// No longer valid, for this reason.
    Void(BookVoid),
    /// No book has existed.
    None(Absence),
}

/// Why no book has existed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Absence {
    /// Requested, but not received yet.
    Waiting,
    /// The exchange is not configured for this symbol.
    NotQuoted,
    /// The exchange has no usable order books.
    NotOffered,
    /// Order books are switched off in this process.
    Off,
    /// No symbol or exchange of this name is configured.
    Unknown,
    /// Another instance leads the exchange and has its order books. Holds that instance, if known.
    Elsewhere(Option<Arc<String>>),
}

impl BookState {
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

    /// The reason of `void` and `none`.
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
pub struct ShownBook<'a> {
    /// Symbol as a JSON string, in the client's own spelling.
    pub symbol: &'a [u8],
    /// Exchange as a JSON string, in the client's own spelling.
    pub exchange: &'a [u8],
    /// State of the book.
    pub state: &'a BookState,
    /// Levels and metadata. Levels are omitted if the state has none.
    pub view: &'a BookView,
    /// Milliseconds since its last change was read.
    pub age_ms: u64,
    /// Unix milliseconds: now.
    pub timestamp: u64,
}

/// Appends a `book` message.
pub fn message(shown: &ShownBook<'_>, out: &mut Vec<u8>) {
    let mut o = Object::open(out);
    o.text("type", "book");
    members(shown, &mut o);
    o.close();
}

/// Appends one book of a page.
pub fn entry(shown: &ShownBook<'_>, out: &mut Vec<u8>) {
    let mut o = Object::open(out);
    members(shown, &mut o);
    o.close();
}

/// The page with the books of one symbol; `write` appends one of `books`.
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

fn members(shown: &ShownBook<'_>, o: &mut Object<'_>) {
    let ShownBook { state, view, .. } = shown;
    o.key("symbol").extend_from_slice(shown.symbol);
    o.key("exchange").extend_from_slice(shown.exchange);
    o.text("state", state.word());
    if let Some(reason) = state.reason() {
        o.text("reason", reason);
    }
    if let BookState::None(Absence::Elsewhere(Some(leader))) = state {
        o.text("leader", leader);
    }
    let has_levels = matches!(state, BookState::Live | BookState::Stale);
    for (name, levels) in [("bids", &view.bids), ("asks", &view.asks)] {
        array(levels.iter().filter(|_| has_levels), o.key(name), level);
    }
    let is_there = !matches!(state, BookState::None(_));
    let stamp = &view.stamp;
    or_null(o, "sequence", (is_there && stamp.sequence > 0).then_some(stamp.sequence));
    or_null(o, "exchangeTime", (is_there && stamp.exchange_time.0 > 0).then(|| stamp.exchange_time.ms()));
    or_null(o, "ageMs", is_there.then_some(shown.age_ms));
    if is_there {
        o.text("source", stamp.source.word())
    } else {
        o.null("source")
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
