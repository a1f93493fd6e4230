//! Topics: one price in one spelling and format, with the encoded message of its current quote. All clients that
//! subscribe to it share it, so that a price is encoded once per change and format. A pair of names that no venue quotes
//! has no topic. Pure: quotes and time come in with a [`Snapshot`]. Runs on the gateway's thread.

use std::collections::HashMap;
use std::sync::Arc;

/// How long a pair of a stream waits for its day statistics before it is sent without them, in nanoseconds.
const STATISTICS_WAIT_NS: u64 = 5 * SECOND;

use crate::gateway::prices::names::NameTables;
use crate::gateway::slab::{Slab, shrink};
use crate::gateway::view::{PriceFormat, Snapshot};
use crate::market::{Directory, PairId, VenueId};
use crate::matrix::changes::Changes;
use crate::matrix::{CellQuote, CellState};
use crate::protocol::message::{self, Price, PriceMore};
use crate::protocol::stream::{self, Ticker, TickerMore};
use crate::time::{MS, MonoNs, SECOND};
use crate::wire::sse;
use crate::wire::websocket::frame_text;

/// Format, symbol (or pair of a stream) and exchange.
type TopicKey = (PriceFormat, u32, u32);

/// Bytes of a topic with its message and its entries elsewhere, about.
pub(crate) const TOPIC_BYTES: usize = size_of::<Topic>() + 448;

/// See the file's head.
pub(crate) struct Topic {
    format: PriceFormat,
    symbol: u32,
    exchange: u32,
    /// Subscription sets that contain it.
    uses: u32,
    /// The cells that can serve it, in order of preference: one for a WebSocket, several for a stream.
    cells: Box<[PairId]>,
    /// A pair in USD that is served by a pair in USDT.
    usdt_alias: bool,
    /// The encoded message of the current quote; empty if there is no price.
    frame: Vec<u8>,
    /// The quote in `frame`: its cell, and the cell's count of changes.
    quote: (PairId, u64),
    /// Its age in `frame`, in milliseconds.
    age_ms: u64,
    received: MonoNs,
    venue: VenueId,
    /// Turn of the last refresh.
    turn: u64,
    /// The quote that was last handed to the sets that receive every change.
    delivered: (PairId, u64),
    /// When it was first subscribed to.
    since: MonoNs,
    /// Extended: it was sent as a fresh price, and not yet as stale.
    is_known: bool,
    /// Sets that receive every change, and its index in each.
    watchers: Vec<(u32, u32)>,
    /// Extended: sets whose clients are notified when it becomes stale,
    holders: Vec<u32>,
    /// and its index in the list of extended topics.
    extended_at: u32,
}

impl Topic {
    /// The encoded message of the current quote; empty if there is no price.
    #[inline]
    #[must_use]
    pub fn frame(&self) -> &[u8] {
        &self.frame
    }

    /// Venue of the current quote, and when it was read.
    #[inline]
    #[must_use]
    pub(crate) fn arrival(&self) -> (VenueId, MonoNs) {
        (self.venue, self.received)
    }

    /// The cells that can serve it.
    #[must_use]
    pub fn cells(&self) -> &[PairId] {
        &self.cells
    }

    /// How many subscription sets contain it.
    #[must_use]
    pub fn uses(&self) -> u32 {
        self.uses
    }

    /// Appends that the price is stale, for an extended client; nothing for others, or if there never was a price.
    pub(crate) fn encode_stale(&self, names: &NameTables, snapshot: &Snapshot<'_>, out: &mut Vec<u8>) {
        let Some(pair) = self.cells.first().copied().filter(|_| self.format == PriceFormat::Extended) else { return };
        let cell = snapshot.matrix.load(pair);
        let state = match cell.state {
            CellState::Empty => return,
            CellState::Suspect => "suspect",
            _ => "stale",
        };
        self.encode_price(&cell, state, names, snapshot, out);
    }

    fn encode_price(
        &self,
        cell: &CellQuote,
        state: &'static str,
        names: &NameTables,
        snapshot: &Snapshot<'_>,
        out: &mut Vec<u8>,
    ) {
        let more = (self.format == PriceFormat::Extended).then(|| PriceMore {
            seq: cell.changes,
            source: cell.source.word(),
            level: cell.origin.word(),
            state,
            age_ms: cell.age(snapshot.quote_now) / MS,
            received_ns: cell.received.0,
            excess: cell.excess,
        });
        let price = Price {
            symbol: names.symbols.json(self.symbol),
            exchange: names.exchanges.json(self.exchange),
            bid: cell.bid,
            ask: cell.ask,
            timestamp: snapshot.timestamp(cell),
            more,
        };
        frame_text(out, |out| message::price(&price, out));
    }

    fn refresh_price(&mut self, names: &NameTables, snapshot: &Snapshot<'_>) {
        let Some(pair) = self.cells.first().copied() else { return };
        let cell = snapshot.matrix.load(pair);
        let Some(state) = snapshot.shown(&cell, self.format) else {
            self.frame.clear();
            return;
        };
        let age_ms = cell.age(snapshot.quote_now) / MS;
        let is_same = self.quote == (pair, cell.changes) && !self.frame.is_empty();
        if is_same && (self.format == PriceFormat::Plain || self.age_ms == age_ms) {
            return;
        }
        self.quote = (pair, cell.changes);
        self.age_ms = age_ms;
        self.received = cell.received;
        self.venue = snapshot.directory.split(pair).1;
        self.is_known = true;
        let mut frame = std::mem::take(&mut self.frame);
        frame.clear();
        self.encode_price(&cell, state, names, snapshot, &mut frame);
        self.frame = frame;
    }

    fn refresh_stream(&mut self, names: &NameTables, snapshot: &Snapshot<'_>) {
        self.frame.clear();
        let found = ticker(&self.cells, (self.format, self.usdt_alias), names.pairs.json(self.symbol), snapshot);
        let Some((ticker, cell, quote)) = found else { return };
        if ticker.day.is_none() && snapshot.quote_now.since(self.since) < STATISTICS_WAIT_NS {
            return;
        }
        self.quote = (cell, quote.changes);
        self.received = quote.received;
        self.venue = snapshot.directory.split(cell).1;
        sse::begin_event(&mut self.frame);
        stream::update(&ticker, &mut self.frame);
        sse::end_event(&mut self.frame);
    }
}

/// All topics of a gateway.
pub(crate) struct Topics {
    directory: Arc<Directory>,
    /// Venues that serve a pair of a stream, in order of preference.
    price_venues: Vec<VenueId>,
    ids: HashMap<TopicKey, u32>,
    topics: Slab<Topic>,
    /// Watched topics of each cell.
    watched: Vec<Vec<u32>>,
    /// Which cells changed; only watched cells are marked.
    changes: Arc<Changes>,
    /// Extended topics, whose clients are notified when the price becomes stale.
    extended: Vec<u32>,
}

impl Topics {
    /// No topics. Venues that are not in `price_venues` follow in the order of the directory.
    #[must_use]
    pub fn new(directory: Arc<Directory>, changes: Arc<Changes>, price_venues: &[VenueId]) -> Self {
        let all = (0..directory.venues().len()).map(|at| VenueId(at as u16));
        let mut order = price_venues.to_vec();
        order.extend(all.filter(|venue| !price_venues.contains(venue)));
        Self {
            price_venues: order,
            ids: HashMap::new(),
            topics: Slab::default(),
            watched: vec![Vec::new(); directory.pairs()],
            changes,
            extended: Vec::new(),
            directory,
        }
    }

    /// Bytes of all topics, about.
    #[must_use]
    pub fn size(&self) -> usize {
        self.topics.len() * TOPIC_BYTES
    }

    /// The topic `id`.
    #[inline]
    #[must_use]
    pub fn get(&self, id: u32) -> Option<&Topic> {
        self.topics.get(id)
    }

    /// The topic of these names, if it exists.
    #[must_use]
    pub fn find(&self, format: PriceFormat, symbol: u32, exchange: u32) -> Option<u32> {
        self.ids.get(&(format, symbol, exchange)).copied()
    }

    /// The topic of these names for one more subscription set; `None` if no venue quotes it.
    pub fn acquire(&mut self, key: TopicKey, names: &NameTables, now: MonoNs) -> Option<u32> {
        if let Some(id) = self.ids.get(&key) {
            if let Some(topic) = self.topics.get_mut(*id) {
                topic.uses += 1;
            }
            return Some(*id);
        }
        let (format, symbol, exchange) = key;
        let (cells, usdt_alias) = self.cells_for(key, names);
        if cells.is_empty() {
            return None;
        }
        let id = self.topics.insert(Topic {
            format,
            symbol,
            exchange,
            uses: 1,
            cells,
            usdt_alias,
            frame: Vec::new(),
            quote: (PairId(0), 0),
            age_ms: 0,
            received: MonoNs(0),
            venue: VenueId(0),
            turn: 0,
            delivered: (PairId(0), 0),
            since: now,
            is_known: false,
            watchers: Vec::new(),
            holders: Vec::new(),
            extended_at: self.extended.len() as u32,
        });
        self.ids.insert(key, id);
        if format == PriceFormat::Extended {
            self.extended.push(id);
        }
        Some(id)
    }

    /// The set `set` no longer contains the topic `id`.
    pub fn release(&mut self, id: u32, set: u32) {
        let Some(topic) = self.topics.get_mut(id) else { return };
        topic.uses -= 1;
        topic.holders.retain(|holder| *holder != set);
        if topic.uses > 0 {
            return;
        }
        let Some(topic) = self.topics.remove(id) else { return };
        self.ids.remove(&(topic.format, topic.symbol, topic.exchange));
        if topic.format == PriceFormat::Extended {
            let at = topic.extended_at as usize;
            self.extended.swap_remove(at);
            if let Some(moved) = self.extended.get(at).copied()
                && let Some(moved) = self.topics.get_mut(moved)
            {
                moved.extended_at = topic.extended_at;
            }
        }
    }

    /// Releases memory that is no longer used.
    pub(crate) fn shrink(&mut self) {
        shrink(&mut self.ids);
    }

    fn cells_for(&self, (format, symbol, exchange): TopicKey, names: &NameTables) -> (Box<[PairId]>, bool) {
        if format.is_stream() {
            return self.stream_cells(names.pairs.text(symbol));
        }
        let instrument = names.symbols.instrument(symbol);
        let venue = self.directory.venue_named(names.exchanges.text(exchange));
        let quoted = instrument.zip(venue).filter(|(i, v)| self.directory.is_quoted(*i, *v));
        (quoted.map(|(i, v)| self.directory.pair(i, v)).into_iter().collect(), false)
    }

    /// The cells that can serve a pair of a stream, in order of preference. `X/USD` that no venue quotes is served by
    /// `X/USDT`; then the second value is `true`.
    #[must_use]
    pub(crate) fn stream_cells(&self, pair: &str) -> (Box<[PairId]>, bool) {
        let exact = self.cells_of(pair);
        if exact.is_empty() && pair.ends_with("/USD") {
            let alias = self.cells_of(&format!("{pair}T"));
            let found = !alias.is_empty();
            return (alias, found);
        }
        (exact, false)
    }

    fn cells_of(&self, pair: &str) -> Box<[PairId]> {
        let Some(instrument) = self.directory.instrument_named(pair) else { return Box::default() };
        let quoted = self.price_venues.iter().filter(|v| self.directory.is_quoted(instrument, **v));
        quoted.map(|venue| self.directory.pair(instrument, *venue)).collect()
    }

    /// The set of instruments and venues changed: another venue may serve a pair of a stream. A topic that has no venue
    /// now becomes stale by its old cell. Returns the cells of watched topics that are served by others now.
    pub fn renew(&mut self, names: &NameTables) -> Vec<PairId> {
        let venues = (0..self.directory.venues().len()).map(|at| VenueId(at as u16));
        let new: Vec<VenueId> = venues.filter(|venue| !self.price_venues.contains(venue)).collect();
        self.price_venues.extend(new);
        let mut changed = Vec::new();
        for id in self.topics.keys() {
            let Some(topic) = self.topics.get(id) else { continue };
            let (cells, usdt_alias) = self.cells_for((topic.format, topic.symbol, topic.exchange), names);
            if !cells.is_empty() && cells != topic.cells {
                changed.extend(self.serve_by(id, cells, usdt_alias));
            }
        }
        changed
    }

    fn serve_by(&mut self, id: u32, cells: Box<[PairId]>, usdt_alias: bool) -> Vec<PairId> {
        let Some(topic) = self.topics.get_mut(id) else { return Vec::new() };
        let before = std::mem::replace(&mut topic.cells, cells.clone());
        (topic.usdt_alias, topic.turn) = (usdt_alias, 0);
        if topic.watchers.is_empty() {
            return Vec::new();
        }
        for cell in &before {
            self.unwatch_cell(*cell, id);
        }
        for cell in &cells {
            self.watched[cell.index()].push(id);
            self.changes.watch(*cell, true);
        }
        cells.into_vec()
    }

    fn unwatch_cell(&mut self, cell: PairId, id: u32) {
        let topics = &mut self.watched[cell.index()];
        topics.retain(|other| *other != id);
        if topics.is_empty() {
            *topics = Vec::new();
            self.changes.watch(cell, false);
        }
    }

    /// The clients of `set` are notified when the topic `id` becomes stale.
    pub fn hold(&mut self, id: u32, set: u32) {
        if let Some(topic) = self.topics.get_mut(id) {
            topic.holders.push(set);
        }
    }

    /// `set` receives every change of the topic `id`, at `index`.
    pub fn watch(&mut self, id: u32, set: u32, index: u32) {
        let Some(topic) = self.topics.get_mut(id) else { return };
        topic.watchers.push((set, index));
        // A refresh earlier in this turn may be older than the watch.
        topic.turn = 0;
        if topic.watchers.len() == 1 {
            for cell in &topic.cells {
                self.watched[cell.index()].push(id);
                self.changes.watch(*cell, true);
            }
        }
    }

    /// `set` no longer receives the changes of the topic `id`.
    pub(crate) fn unwatch(&mut self, id: u32, set: u32) {
        let Some(topic) = self.topics.get_mut(id) else { return };
        if let Some(at) = topic.watchers.iter().position(|(watcher, _)| *watcher == set) {
            topic.watchers.swap_remove(at);
        }
        if topic.watchers.is_empty() {
            for cell in topic.cells.clone() {
                self.unwatch_cell(cell, id);
            }
        }
    }

    /// The topic `id` with its current message.
    #[inline]
    pub(crate) fn refresh(&mut self, id: u32, names: &NameTables, snapshot: &Snapshot<'_>) -> Option<&Topic> {
        let topic = self.topics.get_mut(id)?;
        if topic.turn != snapshot.turn {
            topic.turn = snapshot.turn;
            if topic.format.is_stream() {
                topic.refresh_stream(names, snapshot);
            } else {
                topic.refresh_price(names, snapshot);
            }
        }
        Some(topic)
    }

    /// How many watched topics the cell of `pair` serves.
    #[must_use]
    pub(crate) fn watched_by(&self, pair: PairId) -> usize {
        self.watched.get(pair.index()).map_or(0, Vec::len)
    }

    /// The cell of `pair` changed: refreshes its watched topic number `at`. Returns its watchers if it has another price.
    pub(crate) fn take_change(
        &mut self,
        pair: PairId,
        at: usize,
        names: &NameTables,
        snapshot: &Snapshot<'_>,
    ) -> &[(u32, u32)] {
        let id = self.watched[pair.index()][at];
        // A refresh earlier in this turn was before the change.
        if let Some(topic) = self.topics.get_mut(id) {
            topic.turn = 0;
        }
        self.refresh(id, names, snapshot);
        let Some(topic) = self.topics.get_mut(id) else { return &[] };
        if topic.frame.is_empty() || topic.delivered == topic.quote {
            return &[];
        }
        topic.delivered = topic.quote;
        &topic.watchers
    }

    /// The only watcher of the topic `id` has its current price.
    pub(crate) fn set_delivered(&mut self, id: u32) {
        if let Some(topic) = self.topics.get_mut(id).filter(|topic| topic.watchers.len() == 1) {
            topic.delivered = topic.quote;
        }
    }

    /// Whether some clients are notified when a price becomes stale.
    #[must_use]
    pub(crate) fn has_extended(&self) -> bool {
        !self.extended.is_empty()
    }

    /// Calls `notify` with the id, message and holders of each extended topic that became stale since the last call.
    pub(crate) fn take_stale(
        &mut self,
        names: &NameTables,
        snapshot: &Snapshot<'_>,
        mut notify: impl FnMut(u32, &[u8], &[u32]),
    ) {
        let mut frame = Vec::new();
        for id in &self.extended {
            let Some(topic) = self.topics.get_mut(*id).filter(|topic| topic.is_known) else { continue };
            let Some(pair) = topic.cells.first().copied() else { continue };
            if snapshot.shown(&snapshot.matrix.load(pair), PriceFormat::Extended).is_some() {
                continue;
            }
            topic.is_known = false;
            topic.frame.clear();
            frame.clear();
            topic.encode_stale(names, snapshot, &mut frame);
            if !frame.is_empty() {
                notify(*id, &frame, &topic.holders);
            }
        }
    }
}

/// The ticker of the first of `cells` that has a price for `format`, with its cell and quote. A fresh price precedes one
/// that is not. `pair` is a JSON string.
#[must_use]
pub fn ticker<'a>(
    cells: &[PairId],
    (format, usdt_alias): (PriceFormat, bool),
    pair: &'a [u8],
    snapshot: &Snapshot<'_>,
) -> Option<(Ticker<'a>, PairId, CellQuote)> {
    let fresh = || cells.iter().find_map(|cell| Some((*cell, snapshot.fresh(*cell)?)));
    let shown = || {
        let mut known = cells.iter().map(|cell| (*cell, snapshot.matrix.load(*cell)));
        known.find(|(_, quote)| snapshot.shown(quote, format).is_some())
    };
    let (cell, quote) = fresh().or_else(shown)?;
    let (_, venue) = snapshot.directory.split(cell);
    // Clients of the replaced system receive these fields only for what it never had: a price that was not pushed.
    let more = (format.is_extended() || !quote.origin.is_pushed()).then(|| TickerMore {
        source: quote.source.word(),
        level: quote.origin.word(),
        state: snapshot.shown(&quote, format).unwrap_or("stale"),
        age_ms: quote.age(snapshot.quote_now) / MS,
    });
    let ticker = Ticker {
        pair,
        bid: quote.bid.price,
        ask: quote.ask.price,
        day: snapshot.days.load(cell),
        timestamp: snapshot.stream_timestamp(&quote, venue),
        usdt_alias,
        more,
    };
    Some((ticker, cell, quote))
}

#[cfg(test)]
impl Topics {
    /// Checks that the watched cells are those of watched topics, and returns the number of topics.
    pub fn check(&self) -> usize {
        for (cell, topics) in self.watched.iter().enumerate() {
            let is_watched =
                |(_, topic): &(u32, &Topic)| !topic.watchers.is_empty() && topic.cells.contains(&PairId(cell as u32));
            assert_eq!(topics.len(), self.topics.iter().filter(is_watched).count());
            self.changes.mark(PairId(cell as u32));
            let mut is_marked = false;
            self.changes.drain(|_| is_marked = true);
            assert_eq!(is_marked, !topics.is_empty());
        }
        assert_eq!(self.topics.len(), self.ids.len());
        assert_eq!(self.extended.len(), self.topics.iter().filter(|(_, t)| t.format == PriceFormat::Extended).count());
        self.topics.len()
    }

    /// How often `set` watches the topic `id`, and whether it holds it.
    pub(crate) fn uses_by(&self, id: u32, set: u32) -> (usize, bool) {
        let topic = self.topics.get(id).unwrap();
        (topic.watchers.iter().filter(|(watcher, _)| *watcher == set).count(), topic.holders.contains(&set))
    }
}
