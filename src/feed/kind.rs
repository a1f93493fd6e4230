//! The two kinds of data that a feed subscribes to, and the gauges of each.

use std::ops::Deref;
use std::sync::Arc;

use crate::market::VenueId;
use crate::metrics::{Board, VenueGauges};
use crate::venues::Venue;

/// What the lines of a channel subscribe to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ChannelKind {
    /// Tops of book, for the detector.
    Tops,
    /// Order books, for the book table.
    Books,
}

impl ChannelKind {
    /// The gauges of the venue with `id` for this kind.
    #[inline]
    #[must_use]
    pub fn gauges(self, board: &Board, id: VenueId) -> &VenueGauges {
        match self {
            Self::Tops => &board.venues[id.index()],
            Self::Books => &board.books[id.index()],
        }
    }

    /// The address to subscribe at, if tops of `venue` are at `address`.
    #[must_use]
    pub fn address(self, venue: &dyn Venue, address: &str) -> String {
        match self {
            Self::Tops => address.to_owned(),
            Self::Books => venue.book_address(address),
        }
    }
}

/// The gauges of one venue's channel.
#[derive(Clone)]
pub(crate) struct ChannelGauges {
    board: Arc<Board>,
    id: VenueId,
    kind: ChannelKind,
}

impl ChannelGauges {
    /// The gauges of the venue with `id` for `kind`.
    #[must_use]
    pub const fn new(board: Arc<Board>, id: VenueId, kind: ChannelKind) -> Self {
        Self { board, id, kind }
    }

    /// All gauges of the process.
    #[inline]
    #[must_use]
    pub fn board(&self) -> &Board {
        &self.board
    }
}

impl Deref for ChannelGauges {
    type Target = VenueGauges;

    #[inline]
    fn deref(&self) -> &VenueGauges {
        self.kind.gauges(&self.board, self.id)
    }
}
