//! Counts and ages of the prices and books of each venue, for health, status and metrics. Pure.

use crate::gateway::books::watches;
use crate::gateway::view::Snapshot;
use crate::market::quote::Source;
use crate::market::{Directory, PairId};
use crate::matrix::CellState;
use crate::metrics::Board;
use crate::protocol::health::{Known, KnownBooks};
use crate::time::{MonoNs, SECOND};

/// How long a survey is valid. It reads every cell, so that it is not taken for every request.
const VALID_NS: u64 = SECOND / 20;

/// See the file's head.
pub(crate) struct Survey {
    /// Prices by venue.
    pub prices: Vec<Known>,
    /// Books by venue.
    pub books: Vec<KnownBooks>,
    valid_until: MonoNs,
}

impl Survey {
    /// An empty survey, not valid at `now`.
    #[must_use]
    pub fn new(now: MonoNs) -> Self {
        Self { prices: Vec::new(), books: Vec::new(), valid_until: now }
    }

    /// Takes the survey again if it is no longer valid.
    pub(crate) fn refresh(&mut self, snapshot: &Snapshot<'_>) {
        if self.valid_until > snapshot.client_now {
            return;
        }
        self.valid_until = snapshot.client_now.plus(VALID_NS);
        survey_prices(&mut self.prices, snapshot);
        watches::survey(&mut self.books, snapshot);
    }
}

fn survey_prices(known: &mut Vec<Known>, snapshot: &Snapshot<'_>) {
    let (directory, now, stale_after_ns) =
        (snapshot.directory, snapshot.quote_now, snapshot.settings.quotes.stale_after_ns());
    known.clear();
    known.resize(directory.columns(), Known::default());
    for at in 0..directory.pairs() {
        let pair = PairId(at as u32);
        let (instrument, venue) = directory.split(pair);
        if !directory.is_quoted(instrument, venue) {
            continue;
        }
        let cell = snapshot.matrix.load(pair);
        // A halted instrument is not expected to have a price.
        if matches!(cell.state, CellState::Empty | CellState::Halted) {
            continue;
        }
        let is_fresh = cell.is_fresh(now, stale_after_ns);
        let is_cached = cell.is_cached(now, stale_after_ns);
        known[venue.index()].add(instrument, cell.origin, cell.age(now), is_fresh, is_cached);
    }
}

/// Sources of the numbers of all venues as a list of words; `none` before there are any.
#[must_use]
pub fn sources(board: &Board, directory: &Directory) -> String {
    let known = directory.venues_on().filter_map(|(venue, _)| board.source_of(venue.index()));
    let mut words: Vec<&str> = known.map(|source| Source::from_u8(source).word()).collect();
    words.sort_unstable();
    words.dedup();
    if words.is_empty() { "none".to_owned() } else { words.join(", ") }
}
