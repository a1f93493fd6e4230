//! What the exchange sides share when they write: the levels of a book of one level a side, and what each
//! client has subscribed to. Nouns in, text out; runs on the simulator's thread.

use std::fmt::Write as _;

use crate::market::{Decimal, Level};
use crate::time::UnixNs;
use crate::venues::VenueQuote;

/// The changes from a side that shows `last` to one that shows `now`: the level that is gone at size zero,
/// then the new one. None where nothing changed.
#[must_use]
pub fn step(last: Level, now: Level) -> Vec<Level> {
    if last == now {
        return Vec::new();
    }
    let is_gone = last.is_present() && last.price != now.price;
    let gone = is_gone.then_some(Level { price: last.price, size: Decimal::ZERO });
    gone.into_iter().chain(now.is_present().then_some(now)).collect()
}

/// `[["price","size"],…]`; levels without a price are left out, `[]` is an empty side.
#[must_use]
pub fn pairs(levels: &[Level]) -> String {
    rows(levels, "")
}

/// As [`pairs`], with `more` behind each size: `,"1"` for example.
#[must_use]
pub fn rows(levels: &[Level], more: &str) -> String {
    let mut text = String::from("[");
    for level in levels.iter().filter(|level| !level.price.is_zero()) {
        let comma = if text.len() == 1 { "" } else { "," };
        // Writing to a String cannot fail.
        let _ = write!(text, r#"{comma}["{}","{}"{more}]"#, level.price, level.size);
    }
    text.push(']');
    text
}

/// One side's number as a text: empty where the side is absent.
#[must_use]
pub fn text(level: Level, number: Decimal) -> String {
    if level.is_present() { number.to_string() } else { String::new() }
}

/// One thing that a client has subscribed to.
#[derive(Clone, Debug)]
pub(crate) struct ClientSubscription {
    /// As the venue calls it.
    pub channel: String,
    /// The instrument.
    pub native: String,
    /// What the client was last shown.
    pub last: VenueQuote,
    /// When that was.
    pub sent: UnixNs,
}

/// What a client has subscribed to.
#[derive(Clone, Debug, Default)]
pub(crate) struct ClientSubscriptions(Vec<ClientSubscription>);

impl ClientSubscriptions {
    /// Adds a subscription of `channel` that was shown `quote` at `now`; takes the place of the same one.
    pub fn add(&mut self, channel: &str, quote: VenueQuote, now: UnixNs) {
        self.remove(channel, &quote.native);
        let (channel, native) = (channel.to_owned(), quote.native.clone());
        self.0.push(ClientSubscription { channel, native, last: quote, sent: now });
    }

    /// Forgets a subscription.
    pub fn remove(&mut self, channel: &str, native: &str) {
        self.0.retain(|s| s.channel != channel || s.native != native);
    }

    /// Whether there is this subscription.
    #[must_use]
    pub fn has(&self, channel: &str, native: &str) -> bool {
        self.0.iter().any(|s| s.channel == channel && s.native == native)
    }

    /// All of one instrument.
    pub fn of<'a>(&'a mut self, native: &'a str) -> impl Iterator<Item = &'a mut ClientSubscription> {
        self.0.iter_mut().filter(move |s| s.native == native)
    }

    /// All of one channel.
    pub fn on<'a>(&'a mut self, channel: &'a str) -> impl Iterator<Item = &'a mut ClientSubscription> {
        self.0.iter_mut().filter(move |s| s.channel == channel)
    }
}
