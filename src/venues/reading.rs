//! What the venue files share when they read a frame: levels, changes of a book, times, and symbols
//! that have no mark between base and quote. JSON values in, nouns out; no state.

use std::ops::Range;

use crate::market::book::{Book, Side};
use crate::market::{Decimal, InstrumentId, Level};
use crate::time::{MonoNs, UnixNs};
use crate::venues::depth::{Count, LevelChange, PerInstrument};
use crate::venues::{DecodeError, Decoded, Frame, SymbolEntry, Top, Update, VoidReason};
use crate::wire::json::{Scan, Value};

/// A book keeps at most this many levels a side; the worst go first, so the top is never one of them.
pub(crate) const BOOK_LEVELS_MAX: usize = 10_000;

/// The level as it is published: [`Level::ABSENT`] unless it has both a price and a size.
#[inline(always)]
#[must_use]
pub fn level(price: Decimal, size: Decimal) -> Level {
    let level = Level { price, size };
    if level.is_present() { level } else { Level::ABSENT }
}

/// Scans `price","size"`, behind the first quotation mark. A level at price 0 is refused by the general way.
#[inline(always)]
pub(crate) fn scan_level(scan: &mut Scan<'_>) -> Option<Level> {
    let price = scan.quoted_decimal()?;
    scan.literal(b",\"")?;
    let size = scan.quoted_decimal()?;
    (!price.is_zero()).then(|| level(price, size))
}

/// What the book tickers of Binance, Gate and Gemini have in common, with the same names and in the same order.
pub(crate) struct BookTicker<'a> {
    /// `s`.
    pub symbol: &'a [u8],
    /// `b`, `B`.
    pub bid: Level,
    /// `a`, `A`.
    pub ask: Level,
}

/// Scans the members of a [`BookTicker`] behind `"s":"`, to the last size.
#[inline(always)]
pub(crate) fn scan_book_ticker<'a>(scan: &mut Scan<'a>) -> Option<BookTicker<'a>> {
    let symbol = scan.string()?;
    scan.literal(b",\"b\":\"")?;
    let bid = scan.quoted_decimal()?;
    scan.literal(b",\"B\":\"")?;
    let bid_size = scan.quoted_decimal()?;
    scan.literal(b",\"a\":\"")?;
    let ask = scan.quoted_decimal()?;
    scan.literal(b",\"A\":\"")?;
    let ask_size = scan.quoted_decimal()?;
    Some(BookTicker { symbol, bid: level(bid, bid_size), ask: level(ask, ask_size) })
}

/// The decimal in `value`.
///
/// # Errors
/// [`DecodeError::Missing`] without a text, [`DecodeError::Number`] when the text is no decimal.
pub fn decimal(value: Option<Value<'_>>, field: &'static str) -> Result<Decimal, DecodeError> {
    let text = value.as_ref().and_then(Value::text).ok_or(DecodeError::Missing(field))?;
    Decimal::parse(text.as_bytes()).map_err(|why| DecodeError::Number(field, why))
}

/// One side of a quote from two members of `object`. Empty texts and zeros are an absent side.
///
/// # Errors
/// As [`decimal`].
pub fn side(object: Value<'_>, price: &'static str, size: &'static str) -> Result<Level, DecodeError> {
    let number = |field: &'static str| match object.text_of(field) {
        Some("") => Ok(Decimal::ZERO),
        _ => decimal(object.get(field), field),
    };
    Ok(level(number(price)?, number(size)?))
}

/// As [`side`]; a price that is missing or null is an absent side, too.
///
/// # Errors
/// As [`decimal`].
pub(crate) fn side_if_any(object: Value<'_>, price: &'static str, size: &'static str) -> Result<Level, DecodeError> {
    match object.get(price) {
        Some(value) if !value.is_null() => side(object, price, size),
        _ => Ok(Level::ABSENT),
    }
}

/// The member `field` of `object`, which must be an array.
///
/// # Errors
/// [`DecodeError::Missing`].
pub fn array<'a>(object: Value<'a>, field: &'static str) -> Result<Value<'a>, DecodeError> {
    object.get(field).filter(Value::is_array).ok_or(DecodeError::Missing(field))
}

/// The whole number in the member `field` of `object`.
///
/// # Errors
/// [`DecodeError::Missing`].
pub fn integer(object: Value<'_>, field: &'static str) -> Result<u64, DecodeError> {
    object.get(field).and_then(|v| v.integer()).ok_or(DecodeError::Missing(field))
}

/// The whole number in the member `field` of `object`, which may be missing, but not be something else.
///
/// # Errors
/// [`DecodeError::Missing`].
pub(crate) fn integer_if_any(object: Value<'_>, field: &'static str) -> Result<Option<u64>, DecodeError> {
    match object.get(field) {
        None => Ok(None),
        Some(value) => value.integer().map(Some).ok_or(DecodeError::Missing(field)),
    }
}

/// The text of the member `field` of `object`.
///
/// # Errors
/// [`DecodeError::Missing`].
pub fn text<'a>(object: Value<'a>, field: &'static str) -> Result<&'a str, DecodeError> {
    object.text_of(field).ok_or(DecodeError::Missing(field))
}

/// A figure of the day statistics; absent or unreadable ones are 0, they are for display only.
#[must_use]
pub fn figure(object: Value<'_>, field: &str) -> f64 {
    object.get(field).and_then(|v| v.float()).unwrap_or(0.0)
}

/// Appends the levels of the array `object[field]`, each `[price, size, …]`, as changes of `side`.
///
/// # Errors
/// [`DecodeError`] for a missing array, a level that is not a pair, or a price of zero.
pub fn changes(
    object: Value<'_>,
    field: &'static str,
    side: Side,
    out: &mut Vec<LevelChange>,
) -> Result<(), DecodeError> {
    let list = object.get(field).filter(Value::is_array).ok_or(DecodeError::Missing(field))?;
    for pair in list.items() {
        let mut parts = pair.items();
        let level = Level { price: decimal(parts.next(), field)?, size: decimal(parts.next(), field)? };
        if level.price.is_zero() {
            return Err(DecodeError::Shape("a book level at price 0"));
        }
        out.push(LevelChange { side, level });
    }
    Ok(())
}

/// The best level with a size of one side, whatever their order.
#[must_use]
pub fn best(levels: &[LevelChange], side: Side) -> Option<Level> {
    let present = levels.iter().filter(|c| c.side == side && c.level.is_present()).map(|c| c.level);
    match side {
        Side::Bid => present.max_by_key(|l| l.price),
        Side::Ask => present.min_by_key(|l| l.price),
    }
}

/// Makes the changes in `book`, and keeps its size within [`BOOK_LEVELS_MAX`].
pub fn apply(book: &mut Book, changes: &[LevelChange]) {
    for &LevelChange { side, level } in changes {
        book.set(side, level);
    }
    book.truncate(BOOK_LEVELS_MAX);
}

/// Reads each of `items`. An unreadable one does not stop the others.
///
/// # Errors
/// The first one.
pub fn each<T>(
    items: impl Iterator<Item = T>,
    mut read: impl FnMut(T) -> Result<Frame, DecodeError>,
) -> Result<Frame, DecodeError> {
    let mut all = Ok(Frame::Unused);
    for item in items {
        match (read(item), &mut all) {
            (Err(why), Ok(_)) => all = Err(why),
            (Ok(Frame::Data), Ok(frame)) => *frame = Frame::Data,
            (Ok(Frame::Control), Ok(frame)) if *frame == Frame::Unused => *frame = Frame::Control,
            _ => {}
        }
    }
    all
}

/// Milliseconds, microseconds or nanoseconds since 1970, distinguished by magnitude. 0 is no time.
#[must_use]
pub const fn time(number: u64) -> UnixNs {
    // Below 1e14, milliseconds reach the year 5138; above it, microseconds begin in 1973, and
    // nanoseconds below 1e17 would be 1973 as well.
    match number {
        0..100_000_000_000_000 => UnixNs::from_ms(number),
        100_000_000_000_000..100_000_000_000_000_000 => UnixNs(number.saturating_mul(1000)),
        _ => UnixNs(number),
    }
}

/// Which instruments have been quoted by the channel of choice on this connection. Their quotes from
/// slower channels would only be older news.
#[derive(Debug, Default)]
pub(crate) struct SeenInstruments(Vec<bool>);

impl SeenInstruments {
    /// Remembers `instrument`.
    #[inline(always)]
    pub fn insert(&mut self, instrument: InstrumentId) {
        match self.0.get_mut(instrument.index()) {
            Some(seen) => *seen = true,
            None => self.grow(instrument),
        }
    }

    #[cold]
    fn grow(&mut self, instrument: InstrumentId) {
        self.0.resize(instrument.index() + 1, false);
        self.0[instrument.index()] = true;
    }

    /// Whether `instrument` was inserted.
    #[must_use]
    pub fn contains(&self, instrument: InstrumentId) -> bool {
        self.0.get(instrument.index()).copied().unwrap_or(false)
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

/// The venue's sequence numbers by instrument: notices when the venue begins to count anew, after which the numbers
/// before do not order what comes. A few numbers that are behind are late messages, which the merge drops.
#[derive(Debug, Default)]
pub(crate) struct Sequences(PerInstrument<Count>);

impl Sequences {
    /// Publishes `top`, after a void if its number begins the count anew.
    #[inline(always)]
    pub fn publish(&mut self, top: Top, received: MonoNs, out: &mut Decoded) {
        self.publish_at(top, top.exchange_time, received, out);
    }

    /// The same for a venue that stamps a message when it sends it: the stamp of a late one is later, too.
    #[inline(always)]
    pub(crate) fn publish_sent(&mut self, top: Top, received: MonoNs, out: &mut Decoded) {
        self.publish_at(top, UnixNs(0), received, out);
    }

    #[inline(always)]
    fn publish_at(&mut self, top: Top, at: UnixNs, received: MonoNs, out: &mut Decoded) {
        if self.begins_anew(top.instrument, top.sequence, at, received) {
            out.updates.push(Update::Void(top.instrument, VoidReason::Gap));
        }
        out.updates.push(Update::Top(top));
    }

    /// Takes the number of a quote, its stamp and when it was read. Whether the count begins anew with it.
    #[inline(always)]
    pub(crate) fn begins_anew(
        &mut self,
        instrument: InstrumentId,
        sequence: u64,
        at: UnixNs,
        received: MonoNs,
    ) -> bool {
        sequence != 0 && self.0.of(instrument).begins_anew(sequence, at, received, 0)
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

/// What each request of a connection was about, by the number that it carries and that its answer repeats.
#[derive(Debug, Default)]
pub(crate) struct Asked(Vec<(&'static str, Range<usize>)>);

impl Asked {
    /// Remembers a request for `channel` of the connection's entries in `range`; gives its number, from 1.
    pub fn number(&mut self, channel: &'static str, range: Range<usize>) -> usize {
        self.0.push((channel, range));
        self.0.len()
    }

    /// Numbers a request for `channel` for each `size` of the entries at most, and writes it by `request`.
    pub fn for_each(
        &mut self,
        channel: &'static str,
        entries: &[SymbolEntry],
        size: usize,
        mut request: impl FnMut(usize, &[SymbolEntry]),
    ) {
        for (at, chunk) in entries.chunks(size).enumerate() {
            let from = at * size;
            request(self.number(channel, from..from + chunk.len()), chunk);
        }
    }

    /// Numbers a request for each single entry of request `number`, if that was about several: one of them may
    /// have spoilt it for all. Each is (number, channel, entry). Once for a request.
    pub(crate) fn singly(&mut self, number: Option<u64>) -> Vec<(usize, &'static str, usize)> {
        let Some((channel, range)) = self.of(number).filter(|(_, range)| range.len() > 1) else { return Vec::new() };
        if let Some((_, range)) = number.and_then(|n| self.0.get_mut(n as usize - 1)) {
            *range = 0..0;
        }
        range.map(|entry| (self.number(channel, entry..entry + 1), channel, entry)).collect()
    }

    /// The channel and the entries of request `number`.
    #[must_use]
    pub fn of(&self, number: Option<u64>) -> Option<(&'static str, Range<usize>)> {
        self.0.get(usize::try_from(number?).ok()?.checked_sub(1)?).cloned()
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

/// Splits a symbol without a mark by the venue's quote assets. Two quote assets that both fit are a
/// guess, and a guess is `None`, unless `exceptions` (symbol, length of its base) settle it.
#[must_use]
pub fn split(native: &str, quotes: &[&str], exceptions: &[(&str, usize)]) -> Option<String> {
    if let Some(&(_, length)) = exceptions.iter().find(|(symbol, _)| *symbol == native) {
        return Some(format!("{}/{}", &native[..length], &native[length..]));
    }
    let mut fitting = quotes.iter().filter_map(|quote| native.strip_suffix(quote).map(|base| (base, quote)));
    match (fitting.next(), fitting.next()) {
        (Some((base, quote)), None) if is_code(base) => Some(format!("{base}/{quote}")),
        _ => None,
    }
}

/// Whether `text` can be an asset code: letters and digits, no lower case.
#[must_use]
pub fn is_code(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() && !c.is_lowercase())
}

/// Refuses what is not an asset code, in words.
///
/// # Errors
/// The sentence to show.
pub fn codes(venue: &str, base: &str, quote: &str) -> Result<(), String> {
    match [base, quote].into_iter().find(|code| !is_code(code)) {
        None => Ok(()),
        Some(code) => Err(format!("{venue}: `{code}` is not an asset code; write one such as BTC, in capitals")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_of_a_time_follows_from_its_magnitude() {
        let at = UnixNs(1_786_613_159_749_000_000);
        for number in [1_786_613_159_749, 1_786_613_159_749_000, 1_786_613_159_749_000_000] {
            assert_eq!(time(number), at);
        }
        assert_eq!(time(0), UnixNs(0));
        for number in [99_999_999_999_999_999, u64::MAX] {
            assert_eq!(time(number), UnixNs(u64::MAX));
        }
    }

    #[test]
    fn a_symbol_that_fits_two_quote_assets_is_not_split() {
        let quotes = ["USDT", "XUSD", "USD"];
        assert_eq!(split("BTCUSDT", &quotes, &[]).as_deref(), Some("BTC/USDT"));
        assert_eq!(split("AVAXUSD", &quotes, &[]), None);
        assert_eq!(split("AVAXUSD", &quotes, &[("AVAXUSD", 4)]).as_deref(), Some("AVAX/USD"));
        for text in ["USDT", "BTCJPY", "btcUSDT", "B-TCUSDT", ""] {
            assert_eq!(split(text, &quotes, &[]), None, "{text}");
        }
    }
}
