//! Events of SSE clients, and the figures of the prices REST API, which are the same numbers under other names. Also
//! defines which pairs can be requested.

use crate::market::statistics::DayStatistics;
use crate::market::{Decimal, Figure};
use crate::protocol::message::number;
use crate::protocol::{Object, integer};

/// One pair: the top of book of the venue that serves it, with its 24-hour statistics.
#[derive(Clone, Copy, Debug)]
pub struct Ticker<'a> {
    /// The pair as a JSON string, as the client spells it.
    pub pair: &'a [u8],
    /// Best bid.
    pub bid: Decimal,
    /// Best ask.
    pub ask: Decimal,
    /// The statistics; `None` if the venue has sent none yet. The price is then the middle of bid and ask.
    pub day: Option<DayStatistics>,
    /// Unix milliseconds.
    pub timestamp: u64,
    /// Whether USDT books stand in for USD, which clients are informed of.
    pub(crate) usdt_alias: bool,
    /// Source and age, for clients that request them, and always if the quote was not pushed.
    pub more: Option<TickerMore>,
}

/// Additional fields of a pair.
#[derive(Clone, Copy, Debug)]
pub struct TickerMore {
    /// Source of the number.
    pub source: &'static str,
    /// How it reached this process.
    pub level: &'static str,
    /// `fresh`, or `cached` for a last known value that is no longer valid as a price.
    pub state: &'static str,
    /// Milliseconds since it was read from the venue's socket.
    pub age_ms: u64,
}

impl Ticker<'_> {
    fn price(&self, out: &mut Vec<u8>) {
        match self.day {
            Some(day) if day.last > 0.0 => number(day.last, out),
            _ => Figure::middle(self.bid, self.ask).write(out),
        }
    }

    fn notes(&self, object: &mut Object<'_>) {
        if self.day.is_none() {
            object.boolean("statistics", false);
        }
        if self.usdt_alias {
            object.text("quoteAlias", "USDT");
        }
        if let Some(more) = &self.more {
            object.text("source", more.source).text("level", more.level);
            object.text("state", more.state).integer("ageMs", more.age_ms);
        }
    }
}

/// Appends a price update: ten fields, all of them numbers except for the pair.
pub fn update(ticker: &Ticker<'_>, out: &mut Vec<u8>) {
    let day = ticker.day.unwrap_or_default();
    let mut object = Object::open(out);
    object.key("pair").extend_from_slice(ticker.pair);
    ticker.price(object.key("price"));
    ticker.bid.write(object.key("bid"));
    ticker.ask.write(object.key("ask"));
    object.float("high24h", day.high).float("low24h", day.low).float("change24h", day.change);
    object.float("changePercent24h", day.change_pct).float("volume24h", day.quote_volume);
    integer(ticker.timestamp, object.key("timestamp"));
    ticker.notes(&mut object);
    object.close();
}

/// Appends the same figures for the prices REST API, where `change24h` is in percent.
pub(crate) fn market_data(ticker: &Ticker<'_>, out: &mut Vec<u8>) {
    let day = ticker.day.unwrap_or_default();
    let mut object = Object::open(out);
    object.key("pair").extend_from_slice(ticker.pair);
    ticker.price(object.key("price"));
    object.float("volume", day.quote_volume).integer("timestamp", ticker.timestamp);
    object.float("change24h", day.change_pct).float("high24h", day.high).float("low24h", day.low);
    ticker.bid.write(object.key("bid"));
    ticker.ask.write(object.key("ask"));
    ticker.notes(&mut object);
    object.close();
}

/// Appends the first event of a stream.
pub fn connected<T: AsRef<str>>(pairs: impl IntoIterator<Item = T>, timestamp: u64, out: &mut Vec<u8>) {
    let mut object = Object::open(out);
    object.text("type", "connected").texts("pairs", pairs).integer("timestamp", timestamp);
    object.close();
}

/// The texts of a list separated by commas, with blanks trimmed and empty ones dropped.
pub fn list(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty())
}

/// Whether `pair` can be requested: capital letters and digits, 1 to 10 for the base and 3 to 10 for the quote.
#[must_use]
pub(crate) fn is_pair(pair: &str) -> bool {
    let word = |text: &str| text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
    pair.split_once('/').is_some_and(|(base, quote)| {
        (1..=10).contains(&base.len()) && (3..=10).contains(&quote.len()) && word(base) && word(quote)
    })
}
