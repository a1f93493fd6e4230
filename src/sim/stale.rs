//! The quotes with which a connection begins during a `reconnect` fault: those of `stale_ms` before it, one per
//! instrument. In: past and current quotes, sent frames. Out: which quote a connection sees. Pure.

use rustc_hash::FxHashMap;

use crate::market::Decimal;
use crate::venues::{Message, VenueQuote};
use crate::wire::gzip::Gunzip;

/// By native symbol: past quotes that take the place of the current ones on a connection, and whether they were sent.
#[derive(Clone, Default)]
pub struct StaleQuotes(FxHashMap<String, (VenueQuote, bool)>);

/// Largest unpacked message in bytes.
const MESSAGE_MAX: usize = 1 << 20;

impl StaleQuotes {
    /// These quotes, once each.
    pub fn of(quotes: impl Iterator<Item = VenueQuote>) -> Self {
        Self(quotes.map(|quote| (quote.native.clone(), (quote, false))).collect())
    }

    /// The past quote of the same instrument, until the price changes after it was sent. It has the number of the current
    /// one, so that the next frame continues from it.
    #[must_use]
    pub(crate) fn instead_of(&self, quote: &VenueQuote) -> Option<VenueQuote> {
        let (stale, _) = self.0.get(&quote.native)?;
        Some(VenueQuote { sequence: quote.sequence, is_trading: quote.is_trading, ..stale.clone() })
    }

    /// The same for a price that changes to `quote`.
    pub(crate) fn instead_of_change(&mut self, quote: &VenueQuote) -> Option<VenueQuote> {
        if self.0.get(&quote.native).is_some_and(|(_, is_sent)| *is_sent) {
            self.0.remove(&quote.native);
        }
        self.instead_of(quote)
    }

    /// `message` is sent: quotes whose prices it shows were sent.
    pub(crate) fn see_sent(&mut self, message: &Message) {
        if self.0.is_empty() {
            return;
        }
        let mut gunzip = Gunzip::new(MESSAGE_MAX);
        let bytes = gunzip.unpack(message.as_bytes()).unwrap_or(message.as_bytes());
        let shows = |price: Decimal| {
            let price = price.to_string();
            bytes.windows(price.len()).any(|window| window == price.as_bytes())
        };
        for (quote, is_sent) in self.0.values_mut() {
            *is_sent |= shows(quote.bid.price) && shows(quote.ask.price);
        }
    }
}
