//! Rows of the matrix that changed since they were last scanned. Takes its memory at the start.

use crate::market::{InstrumentId, VenueId};
use crate::time::MonoNs;

/// A row, the venue whose quote changed it first, and when.
pub(crate) type DirtyRow = (InstrumentId, VenueId, MonoNs);

/// See the file's head.
pub(crate) struct DirtyRows {
    rows: Vec<DirtyRow>,
    is_dirty: Vec<bool>,
}

impl DirtyRows {
    /// All of `rows` rows unchanged.
    #[must_use]
    pub fn new(rows: usize) -> Self {
        Self { rows: Vec::with_capacity(rows), is_dirty: vec![false; rows] }
    }

    /// The quote of `venue` changed the row of `instrument` at `now`.
    #[inline]
    pub fn add(&mut self, instrument: InstrumentId, venue: VenueId, now: MonoNs) {
        if !std::mem::replace(&mut self.is_dirty[instrument.index()], true) {
            self.rows.push((instrument, venue, now));
        }
    }

    /// Takes a row out.
    #[inline]
    pub fn take(&mut self) -> Option<DirtyRow> {
        let row = self.rows.pop()?;
        self.is_dirty[row.0.index()] = false;
        Some(row)
    }

    /// Whether all rows have been scanned.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}
