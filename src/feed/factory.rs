//! Makes the sessions of a feed.

use std::sync::Arc;

use crate::feed::kind::ChannelKind;
use crate::feed::options::FeedOptions;
use crate::feed::session::{Session, SessionParts};
use crate::market::quote::QuoteOptions;
use crate::market::{Directory, VenueId};
use crate::matrix::books::BookTable;
use crate::matrix::days::DayTable;
use crate::metrics::Board;
use crate::venues::{SymbolEntry, Venue};

/// What all sessions of a feed share.
pub(super) struct SessionFactory {
    pub directory: Arc<Directory>,
    pub days: Arc<DayTable>,
    pub books: Arc<BookTable>,
    pub board: Arc<Board>,
    pub options: FeedOptions,
    pub quotes: QuoteOptions,
}

impl SessionFactory {
    /// A session for `entries`, on one of `pairs` pairs of lines to the venue, with a witness where tops have no
    /// timestamps.
    pub fn session(
        &self,
        (id, venue, witness): (VenueId, &'static dyn Venue, bool),
        kind: ChannelKind,
        pairs: usize,
        entries: Vec<SymbolEntry>,
    ) -> Session {
        let parts = SessionParts {
            id,
            venue,
            directory: Arc::clone(&self.directory),
            board: Arc::clone(&self.board),
            options: self.options,
            quotes: self.quotes,
            pairs,
        };
        match kind {
            ChannelKind::Tops => Session::tops(parts, Arc::clone(&self.days), entries).with_witness(witness),
            ChannelKind::Books => Session::books(parts, Arc::clone(&self.books), entries),
        }
    }
}
