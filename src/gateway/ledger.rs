//! Which opportunities are open, and which were lately: for those who join, for those who follow, for the
//! page. Pure; each gateway's thread keeps its own from the detector's events.

use std::collections::{BTreeMap, VecDeque};

use crate::gateway::desk::View;
use crate::market::opportunity::{self, Opportunity, OpportunityEvent};
use crate::market::quote::Source;
use crate::market::{Directory, InstrumentId, VenueId};
use crate::protocol::opportunity::{Change, Moment};
use crate::time::{MS, MonoNs, UnixNs};

/// Open opportunities that are remembered.
const OPEN_MAX: usize = 4096;
/// Closed ones that are remembered.
const CLOSED_MAX: usize = 100;

type Key = (InstrumentId, VenueId, VenueId);

fn key(o: &Opportunity) -> Key {
    (o.instrument, o.buy.venue, o.sell.venue)
}

/// One opportunity.
pub struct Entry {
    /// As it was last heard of.
    pub opportunity: Opportunity,
    /// What clients know it by.
    id: Box<str>,
    /// When it opened, for people. Kept, so that it is the same in every message.
    opened_at: UnixNs,
    /// When it closed, for people; 0 while it is open.
    closed_at: UnixNs,
    /// Order number of its last update, over all opportunities; 0 before the first.
    pub changed: u64,
}

impl Entry {
    /// What is said of it now. `symbol` is a JSON string.
    #[must_use]
    pub fn moment<'a>(
        &'a self,
        change: Change,
        symbol: &'a [u8],
        directory: &'a Directory,
        view: &View<'_>,
    ) -> Moment<'a> {
        let o = &self.opportunity;
        let is_open = self.closed_at.0 == 0;
        let until = if is_open { view.now } else { o.detected };
        let ms_since = |at: MonoNs| until.since(at) / MS;
        let name = |venue: VenueId| directory.venue(venue).name.as_str();
        Moment {
            change,
            id: &self.id,
            symbol,
            buy_exchange: name(o.buy.venue),
            sell_exchange: name(o.sell.venue),
            buy: o.buy.level.price,
            sell: o.sell.level.price,
            spread_pct: o.gross_pct,
            net_spread_pct: o.net_pct,
            executable_size: o.executable_size(),
            buy_age_ms: ms_since(o.buy.received),
            sell_age_ms: ms_since(o.sell.received),
            opened_at: self.opened_at.ms(),
            lived_ms: ms_since(o.opened),
            peak_spread_pct: o.peak_gross_pct,
            source: less_real(o.buy.source, o.sell.source).word(),
            timestamp: if is_open { view.unix.ms() } else { self.closed_at.ms() },
        }
    }
}

/// An opportunity is only as real as its less real leg.
#[must_use]
pub const fn less_real(buy: Source, sell: Source) -> Source {
    match (buy, sell) {
        (Source::Simulated, _) | (_, Source::Simulated) => Source::Simulated,
        (Source::Replay, _) | (_, Source::Replay) => Source::Replay,
        (Source::Live, Source::Live) => Source::Live,
    }
}

/// See the file's head.
#[derive(Default)]
pub struct Ledger {
    open: BTreeMap<Key, Entry>,
    closed: VecDeque<Entry>,
    updates: u64,
}

impl Ledger {
    /// Takes an event. Returns what followers are told of it, and the entry; `None` when there is nothing to
    /// tell. An event says the whole state, so that one whose beginning was lost begins now.
    pub fn record(
        &mut self,
        event: &OpportunityEvent,
        directory: &Directory,
        view: &View<'_>,
    ) -> Option<(Change, &Entry)> {
        let key = key(&event.opportunity);
        if event.change == opportunity::Change::Closed {
            let mut entry = self.open.remove(&key)?;
            entry.opportunity = event.opportunity;
            entry.closed_at = view.unix_at(event.opportunity.detected);
            self.closed.truncate(CLOSED_MAX - 1);
            self.closed.push_front(entry);
            return self.closed.front().map(|entry| (Change::Closed, entry));
        }
        if let Some(entry) = self.open.get_mut(&key) {
            self.updates += 1;
            (entry.opportunity, entry.changed) = (event.opportunity, self.updates);
            return self.open.get(&key).map(|entry| (Change::Updated, entry));
        }
        if self.open.len() >= OPEN_MAX {
            return None;
        }
        let o = event.opportunity;
        let name = |venue: VenueId| &directory.venue(venue).name;
        let symbol = directory.symbol(o.instrument);
        let entry = Entry {
            opportunity: o,
            id: format!("{symbol}:{}:{}:{}", name(o.buy.venue), name(o.sell.venue), o.opened.0).into(),
            opened_at: view.unix_at(o.opened),
            closed_at: UnixNs(0),
            changed: 0,
        };
        Some((Change::Opened, self.open.entry(key).or_insert(entry)))
    }

    /// The end of the open one that `event` says has begun anew: its own end was lost.
    #[must_use]
    pub fn lost_end(&self, event: &OpportunityEvent) -> Option<OpportunityEvent> {
        let known = self.open.get(&key(&event.opportunity))?.opportunity;
        let is_other = known.opened != event.opportunity.opened;
        let ended = Opportunity { detected: event.opportunity.opened, ..known };
        is_other.then_some(OpportunityEvent { opportunity: ended, change: opportunity::Change::Closed, alert: false })
    }

    /// The open ones of `instrument`.
    pub fn of(&self, instrument: InstrumentId) -> impl Iterator<Item = &Entry> {
        let ends = [VenueId(0), VenueId(u16::MAX)].map(|venue| (instrument, venue, venue));
        self.open.range(ends[0]..=ends[1]).map(|(_, entry)| entry)
    }

    /// All open ones, by instrument.
    pub fn open(&self) -> impl Iterator<Item = &Entry> {
        self.open.values()
    }

    /// Closed ones, the newest first.
    pub fn closed(&self) -> impl Iterator<Item = &Entry> {
        self.closed.iter()
    }

    /// Order number of the last update.
    #[must_use]
    pub fn updates(&self) -> u64 {
        self.updates
    }
}
