//! The keys of the replaced system, for its instances while both run: prices as it distributes them, and a leader
//! that it recognises and therefore leaves the venue alone. Runs on the cluster's lead thread, only where configured.
//!
//! Its instances read `price:dist:<PAIR>:latest` once a second at most, and take a changed `timestamp` for a new
//! price. A pair against USDT is also written against USD if no venue quotes that: it subscribes to those names.

use std::sync::Arc;

use crate::cluster::error::StoreError;
use crate::cluster::store::Store;
use crate::market::quote::QuoteOptions;
use crate::market::{Directory, InstrumentId, VenueId};
use crate::matrix::days::DayTable;
use crate::matrix::{CellQuote, SharedMatrix};
use crate::protocol::stream::{Ticker, update};
use crate::protocol::{object, string};
use crate::time::{Clock, MS, MonoNs, SECOND};

/// Lifetime of a price, in seconds: that of the replaced system.
const PRICE_LASTS_S: u64 = 300;
/// How long the leader is one after its last word, in seconds: the replaced system's lease.
const LEADER_LASTS_S: u64 = 5;
/// Changed prices are written this often, in nanoseconds; their readers come once a second.
const WRITE_EVERY_NS: u64 = 250 * MS;
/// The leader is written this often, in nanoseconds.
const LEADER_EVERY_NS: u64 = SECOND;
/// A price that stays is written again after so long, in nanoseconds: well before it would be gone.
const AGAIN_NS: u64 = 60 * SECOND;
/// Keys written by one call.
const KEYS_MAX: usize = 256;

/// What this is made of.
pub struct LegacyParts {
    /// Names and ids of instruments and venues.
    pub directory: Arc<Directory>,
    /// The quotes.
    pub matrix: SharedMatrix,
    /// Day statistics.
    pub days: Arc<DayTable>,
    /// Time.
    pub clock: Clock,
    /// Id of this instance.
    pub instance: String,
    /// Its host.
    pub hostname: String,
    /// Venues in order of preference: a pair shows the fresh price of the first that has one, then of the other venues.
    pub order: Vec<VenueId>,
    /// Validity of quotes.
    pub quotes: QuoteOptions,
}

/// The writer of those keys.
pub struct Legacy {
    parts: LegacyParts,
    /// By instrument: what was written last, and when.
    published: Vec<Option<(VenueId, u64, MonoNs)>>,
    next: MonoNs,
    next_leader: MonoNs,
}

impl Legacy {
    /// Nothing written yet.
    #[must_use]
    pub fn new(mut parts: LegacyParts) -> Self {
        let all = (0..parts.directory.venues().len()).map(|at| VenueId(at as u16));
        let others: Vec<VenueId> = all.filter(|venue| !parts.order.contains(venue)).collect();
        parts.order.extend(others);
        let published = vec![None; parts.directory.rows()];
        Self { parts, published, next: MonoNs(0), next_leader: MonoNs(0) }
    }

    /// When there is something to do.
    #[must_use]
    pub fn deadline(&self) -> MonoNs {
        self.next
    }

    /// Writes what changed since the last time: pairs whose serving venue this instance leads, and, if it leads the
    /// first venue, itself as the leader.
    ///
    /// # Errors
    /// The call that failed; what it was about is written the next time.
    pub fn turn(&mut self, store: &mut Store, leads: impl Fn(VenueId) -> bool) -> Result<(), StoreError> {
        let now = self.parts.clock.now();
        if now < self.next {
            return Ok(());
        }
        self.next = now.plus(WRITE_EVERY_NS);
        if now >= self.next_leader && self.parts.order.first().is_some_and(|venue| leads(*venue)) {
            self.next_leader = now.plus(LEADER_EVERY_NS);
            store.write_plain(&[("price_stream:leader".to_owned(), self.leader())], LEADER_LASTS_S)?;
        }
        let mut values = Vec::new();
        let mut written = Vec::new();
        for at in 0..self.published.len() {
            let instrument = InstrumentId(at as u32);
            let Some((venue, cell)) = self.serving(instrument, now).filter(|(venue, _)| leads(*venue)) else {
                continue;
            };
            let is_published = |published: &(VenueId, u64, MonoNs)| {
                (published.0, published.1) == (venue, cell.changes) && now.since(published.2) < AGAIN_NS
            };
            if !self.published[at].as_ref().is_some_and(is_published) {
                self.price(instrument, venue, &cell, &mut values);
                written.push((at, (venue, cell.changes, now)));
            }
        }
        for part in values.chunks(KEYS_MAX) {
            store.write_plain(part, PRICE_LASTS_S)?;
        }
        for (at, published) in written {
            self.published[at] = Some(published);
        }
        Ok(())
    }

    /// The venue whose price the pair shows, and the price.
    fn serving(&self, instrument: InstrumentId, now: MonoNs) -> Option<(VenueId, CellQuote)> {
        let (directory, matrix) = (&self.parts.directory, self.parts.matrix.load());
        let cell = |venue: VenueId| (venue, matrix.load(directory.pair(instrument, venue)));
        self.parts
            .order
            .iter()
            .map(|v| cell(*v))
            .find(|(_, cell)| cell.is_fresh(now, self.parts.quotes.stale_after_ns()))
    }

    fn price(&self, instrument: InstrumentId, venue: VenueId, cell: &CellQuote, out: &mut Vec<(String, Vec<u8>)>) {
        let directory = &self.parts.directory;
        let symbol = directory.symbol(instrument);
        let in_dollars = symbol.strip_suffix("/USDT").map(|base| format!("{base}/USD"));
        let alias =
            in_dollars.filter(|pair| directory.instrument_named(pair).is_none_or(|id| !directory.is_listed(id)));
        let stamp = match cell.exchange_time.ms() {
            0 => self.parts.clock.unix_at(cell.received).ms(),
            stamp => stamp,
        };
        for (pair, usdt_alias) in std::iter::once((symbol, false)).chain(alias.as_deref().map(|pair| (pair, true))) {
            let (mut name, mut text) = (Vec::new(), Vec::with_capacity(256));
            string(pair, &mut name);
            let day = self.parts.days.load(directory.pair(instrument, venue));
            let (bid, ask) = (cell.bid.price, cell.ask.price);
            update(&Ticker { pair: &name, bid, ask, day, timestamp: stamp, usdt_alias, more: None }, &mut text);
            out.push((format!("price:dist:{pair}:latest"), text));
        }
    }

    fn leader(&self) -> Vec<u8> {
        object(|o| {
            o.text("instanceId", &self.parts.instance).text("hostname", &self.parts.hostname);
            o.integer("timestamp", self.parts.clock.unix().ms());
        })
    }
}
