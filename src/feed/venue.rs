//! One venue of a feed, and changes of what it quotes.

use crate::market::VenueId;
use crate::net::tls::Trust;
use crate::venues::Venue;

/// One venue of a feed.
pub struct FeedVenue {
    /// Its id in the directory.
    pub id: VenueId,
    /// The venue.
    pub venue: &'static dyn Venue,
    /// WebSocket address, or the base of the REST address where a token is requested first.
    pub address: String,
    /// REST address, for pages of books.
    pub rest_address: String,
    /// Certificates that are trusted for it.
    pub trust: Trust,
    /// Subscribe to a stream with timestamps where tops have none.
    pub witness: bool,
}

/// The instruments of a venue have changed; the directory has the new ones.
pub struct SetChange {
    /// The venue.
    pub venue: VenueId,
    /// Its addresses, if it is added or comes back.
    pub place: Option<FeedVenue>,
}
