//! What a venue lists: its spot instruments with their own names, steps and status, read from its REST side.
//! Cold: read at start and now and then, never on the way of a quote.

use crate::market::Decimal;
use crate::venues::codes::Codes;
use crate::venues::{DecodeError, Venue, reading};
use crate::wire::json::{Parser, Value};

/// Where a venue's list is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listing {
    /// Public REST address, such as `https://api.binance.com`.
    pub address: &'static str,
    /// Path and query of a GET below it.
    pub path: &'static str,
}

/// The page of one instrument that states whether it is traded, for a venue whose list does not.
#[derive(Clone, Copy)]
pub struct TradingStatusPage {
    /// Path and query of a GET below the REST address, by the venue's own symbol.
    pub path: fn(&str) -> String,
    /// Least time between two requests, in milliseconds.
    pub(crate) gap_ms: u64,
    /// Reads the reply: whether a taker can buy and sell the instrument now.
    pub read: fn(&[u8]) -> Result<bool, DecodeError>,
}

/// One spot instrument as its venue lists it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListingEntry {
    /// Canonical code of what is traded, such as BTC.
    pub base: String,
    /// Canonical code of what it is paid in.
    pub quote: String,
    /// The venue's own symbol, as its feed writes it.
    pub native: String,
    /// Whether a taker can buy and sell it now: an order that is executed at once is accepted on both sides.
    pub is_trading: bool,
    /// Least step of a price; `None` where the list does not say.
    pub tick: Option<Decimal>,
    /// Least step of a size; `None` where the list does not say.
    pub lot: Option<Decimal>,
    /// Taker fee of the base tier; `None` where the list does not say.
    pub fee: Option<Fee>,
}

/// What a list says of an instrument's taker fee.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fee {
    /// Percent of the notional.
    Percent(Decimal),
    /// A multiple of the venue's own fee.
    Times(Decimal),
}

impl Fee {
    /// A fee written in percent, such as `0.2`. `None` for what is no number, and for 100 % and more.
    #[must_use]
    pub(crate) fn of_percent(value: Option<Value<'_>>) -> Option<Self> {
        Some(Self::Percent(value?.decimal().filter(|percent| *percent < Decimal::new(100, 0))?))
    }

    /// A fee written as a share of the notional, such as `0.002`.
    #[must_use]
    pub(crate) fn of_share(value: Option<Value<'_>>) -> Option<Self> {
        let share = value?.decimal().filter(|share| *share < Decimal::new(1, 0))?.normalised();
        Some(Self::Percent(match share.scale().checked_sub(2) {
            Some(scale) => Decimal::new(share.mantissa(), scale),
            None => Decimal::new(share.mantissa() * 10, 0),
        }))
    }

    /// A multiple of the venue's fee, such as `3.00`; at most 100.
    #[must_use]
    pub(crate) fn of_times(value: Option<Value<'_>>) -> Option<Self> {
        Some(Self::Times(value?.decimal().filter(|times| *times <= Decimal::new(100, 0))?))
    }
}

impl ListingEntry {
    /// `BASE/QUOTE`.
    #[must_use]
    pub fn symbol(&self) -> String {
        format!("{}/{}", self.base, self.quote)
    }
}

/// Reads the rows that `rows` finds in a JSON reply by `row`, which gives the venue's own codes; `codes` makes them
/// canonical. A row without a usable name is passed over, as one strange entry must not hide all others.
///
/// # Errors
/// [`DecodeError`] when the reply is not JSON or has no rows.
pub fn read(
    body: &[u8],
    codes: &Codes,
    rows: impl for<'a> FnOnce(Value<'a>) -> Option<Vec<Value<'a>>>,
    row: impl Fn(Value<'_>) -> Option<ListingEntry>,
) -> Result<Vec<ListingEntry>, DecodeError> {
    let listed = Parser::default().parse(body, |root| {
        let rows = rows(root).ok_or(DecodeError::Shape("a reply without a list of instruments"))?;
        Ok::<_, DecodeError>(
            rows.into_iter().filter_map(&row).filter_map(|entry| canonical(entry, codes)).collect::<Vec<_>>(),
        )
    })??;
    if listed.is_empty() {
        return Err(DecodeError::Shape("a list without a spot instrument"));
    }
    Ok(listed)
}

fn canonical(entry: ListingEntry, codes: &Codes) -> Option<ListingEntry> {
    let is_named = reading::is_code(&entry.base) && reading::is_code(&entry.quote) && !entry.native.is_empty();
    let (base, quote) = (codes.canonical(&entry.base)?.to_owned(), codes.canonical(&entry.quote)?.to_owned());
    is_named.then_some(ListingEntry { base, quote, ..entry })
}

/// Whether the member `field` of `object` is `true`.
#[must_use]
pub(crate) fn is_set(object: Value<'_>, field: &str) -> bool {
    object.get(field).and_then(|value| value.boolean()).unwrap_or(false)
}

/// The elements of the array `field` of `object`.
#[must_use]
pub(crate) fn array_of<'a>(object: Value<'a>, field: &str) -> Option<Vec<Value<'a>>> {
    object.get(field).filter(Value::is_array).map(|array| array.items().collect())
}

/// A step written as a number or as text; zero and what is no number are none.
#[must_use]
pub fn step(object: Value<'_>, field: &str) -> Option<Decimal> {
    object.get(field).and_then(|value| value.decimal()).filter(|step| !step.is_zero())
}

/// A step written as a count of decimals.
#[must_use]
pub fn decimals(object: Value<'_>, field: &str) -> Option<Decimal> {
    let count = object.get(field).and_then(|value| value.integer())?;
    u8::try_from(count).ok().filter(|count| *count <= 19).map(|count| Decimal::new(1, count))
}

/// For the exchange's side: whether `target` of `method` asks for the list of `venue`, whatever its query.
#[must_use]
pub fn asked(venue: &dyn Venue, method: &str, target: &str) -> Option<()> {
    let path = |text: &str| text.split('?').next().unwrap_or_default().to_owned();
    (method == "GET" && path(target) == path(venue.listing().path)).then_some(())
}
