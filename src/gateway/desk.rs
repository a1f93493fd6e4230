//! Who wants what: names, labels and bundles, each kept once however many clients share it.
//!
//! A *name* is a symbol, exchange or pair in some client's spelling. A *label* is one price as one kind
//! of client hears it: a spelling of symbol and exchange, its cell, and the encoded frame of the cell's
//! current quote; what no venue quotes has none. A *bundle* is a whole subscription; clients with equal
//! ones share it, so that a burst is put together once and written to all of them. Nothing here is hashed
//! when prices are sent. Memory is bounded per client and over all of them.
//!
//! Pure: matrix and time come in with a [`View`]. Runs on the gateway's thread.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use rustc_hash::FxHashSet;

use crate::gateway::names::{Meaning, NAME_BYTES, Name, NameList, Names};
use crate::gateway::outbox::Marks;
use crate::gateway::slots::{Slots, give_back};
use crate::market::quote::Origin;
use crate::market::{Directory, InstrumentId, PairId, VenueId};
use crate::matrix::changes::Changes;
use crate::matrix::days::DayTable;
use crate::matrix::{CellQuote, CellState, QuoteMatrix};
use crate::metrics::{Board, LinkState};
use crate::protocol::message::{self, Price, PriceMore};
use crate::protocol::stream::{self, Ticker, TickerMore};
use crate::time::{MonoNs, UnixNs};
use crate::wire::sse;
use crate::wire::websocket::frame_text;

/// How a client hears prices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// System 1's fields.
    Plain,
    /// Those and more.
    Extended,
    /// Events of a stream.
    Stream,
    /// Those and more.
    ExtendedStream,
}

impl Format {
    /// Whether it is one of pairs, without exchanges.
    #[must_use]
    pub const fn is_stream(self) -> bool {
        matches!(self, Self::Stream | Self::ExtendedStream)
    }

    /// Whether its clients asked for more, and so know what to make of a price that is none.
    #[must_use]
    pub const fn is_extended(self) -> bool {
        matches!(self, Self::Extended | Self::ExtendedStream)
    }
}

/// What a turn looks at.
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// Quotes.
    pub matrix: &'a QuoteMatrix,
    /// Day statistics.
    pub days: &'a DayTable,
    /// Whether links live, and where numbers come from.
    pub board: &'a Board,
    /// Number of the turn: what was looked at in it is not looked at again.
    pub turn: u64,
    /// Now.
    pub now: MonoNs,
    /// Now, for people.
    pub unix: UnixNs,
    /// A quote older than this is no price.
    pub stale_after_ns: u64,
    /// How long a pair may wait for its day statistics.
    pub statistics_wait_ns: u64,
}

impl View<'_> {
    /// The wall-clock time of a past instant.
    #[must_use]
    pub fn unix_at(&self, at: MonoNs) -> UnixNs {
        UnixNs(self.unix.0.saturating_sub(self.now.since(at)))
    }

    /// The quote of `pair`, if it is a price.
    #[must_use]
    pub fn fresh(&self, pair: PairId) -> Option<CellQuote> {
        let cell = self.matrix.load(pair);
        cell.is_fresh(self.now, self.stale_after_ns).then_some(cell)
    }

    /// How a client of `format` is told of `cell`: as a price, as one that cannot be traded on, as a last known value, or
    /// not at all.
    #[must_use]
    pub fn shown(&self, cell: &CellQuote, format: Format) -> Option<&'static str> {
        if cell.is_fresh(self.now, self.stale_after_ns) {
            return Some("fresh");
        }
        if cell.state == CellState::Halted {
            return format.is_extended().then_some("halted");
        }
        (format.is_extended() && cell.is_cached(self.now, self.stale_after_ns)).then_some("cached")
    }

    /// What clients are told as a quote's time: the venue's stamp, else when we read it.
    #[must_use]
    pub fn stamp(&self, cell: &CellQuote) -> u64 {
        if cell.exchange_time.0 != 0 { cell.exchange_time.ms() } else { self.unix_at(cell.received).ms() }
    }

    /// The same for a pair on a stream: while the link lives, its last bytes say that the quote still holds; for what
    /// the leader shares, its last batch does.
    #[must_use]
    pub fn stream_stamp(&self, cell: &CellQuote, venue: VenueId) -> u64 {
        let gauges = &self.board.venues[venue.index()];
        let heard = match cell.origin {
            Origin::Own if gauges.state() == LinkState::Connected => gauges.last_bytes.value(),
            Origin::Shared => self.board.cluster.as_ref().map_or(0, |c| c.venues[venue.index()].last_batch.value()),
            _ => 0,
        };
        let alive = if heard > 0 { self.unix_at(MonoNs(heard)).ms() } else { 0 };
        self.stamp(cell).max(alive)
    }
}

/// One price as one kind of client hears it.
struct Label {
    format: Format,
    symbol: u32,
    exchange: u32,
    uses: u32,
    /// The cells that can serve it, in order of preference: one for a WebSocket, several for a stream.
    cells: Box<[PairId]>,
    usdt_alias: bool,
    /// The encoded message of the current quote; empty when there is no price.
    frame: Vec<u8>,
    /// Which quote `frame` is: its cell and the cell's count of changes.
    quote: (PairId, u64),
    /// Its age in milliseconds as the frame says.
    age_ms: u64,
    received: MonoNs,
    venue: VenueId,
    /// Turn of the last look.
    seen: u64,
    /// Turn in which bundles of every change last got it, and which quote that was.
    delivered: (PairId, u64),
    /// Since when it is asked for.
    since: MonoNs,
    /// Extended: its clients know it as fresh.
    known: bool,
    /// Bundles that want every change, and its place in them.
    watchers: Vec<(u32, u32)>,
    /// Extended: bundles whose clients are told when it goes stale,
    holders: Vec<u32>,
    /// and its place among all such labels.
    extended_at: u32,
}

/// The names of a subscription, in the order in which they were asked for.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Sets {
    format: Format,
    /// Symbols, or pairs of a stream.
    pub symbols: NameList,
    /// Exchanges; none for a stream.
    pub exchanges: NameList,
}

/// A whole subscription.
pub struct Bundle {
    /// How its clients hear prices.
    pub format: Format,
    sets: Arc<Sets>,
    /// Symbols times exchanges.
    pairs: usize,
    /// Those of its symbols that mean something, in their order.
    symbols: Vec<u32>,
    /// The same of its exchanges.
    exchanges: Vec<u32>,
    /// Its prices, in the order in which clients get them.
    labels: Vec<u32>,
    /// Clients that have it.
    pub members: Vec<u32>,
    /// Those of them that take every change.
    pub live: Vec<u32>,
    watching: bool,
    /// Places that changed in this turn.
    dirty: Vec<u32>,
    /// Its burst, and the epoch in which that was put together.
    burst: (u64, Burst),
}

impl Bundle {
    /// How many prices it is, of those that some venue quotes.
    #[must_use]
    pub fn places(&self) -> usize {
        self.labels.len()
    }

    /// How many pairs were asked for.
    #[must_use]
    pub fn pairs(&self) -> usize {
        self.pairs
    }

    /// Bytes that it takes beside its names and labels, about.
    fn size(&self) -> usize {
        let ids = self.symbols.len() + self.exchanges.len() + self.labels.len();
        BUNDLE_BYTES + self.sets.symbols.size() + self.sets.exchanges.size() + ids * size_of::<u32>()
    }
}

/// Bytes of an empty bundle, about.
const BUNDLE_BYTES: usize = 512;
/// Bytes of a label with its frame and its entries elsewhere, about.
const LABEL_BYTES: usize = size_of::<Label>() + 448;

/// There is no memory for a subscription, but for about so many of its pairs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crowded {
    /// Pairs that may be asked for now.
    pub pairs: usize,
}

/// A price that was written: its venue and when it was read there.
pub type Stamp = (VenueId, MonoNs);

/// Messages of one bundle, ready to be written.
#[derive(Clone, Debug, Default)]
pub struct Burst {
    range: Range<usize>,
    /// The place of each message.
    places: Range<usize>,
}

impl Burst {
    /// Whether it holds nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.range.is_empty()
    }
}

/// What a client wants.
#[derive(Clone, Copy, Debug)]
pub struct Wish<'a> {
    /// Every change, instead of bursts.
    pub live: bool,
    /// How it hears prices.
    pub format: Format,
    /// Symbols, or pairs of a stream, each once.
    pub symbols: &'a [String],
    /// Exchanges, each once; none for a stream.
    pub exchanges: &'a [String],
}

/// See the file's head.
pub struct Desk {
    directory: Arc<Directory>,
    price_venues: Vec<VenueId>,
    /// Symbols of WebSocket clients.
    pub symbols: Names,
    /// Exchanges of WebSocket clients.
    pub exchanges: Names,
    /// Pairs of streams.
    pub pairs: Names,
    label_ids: HashMap<(Format, u32, u32), u32>,
    labels: Slots<Label>,
    bundle_ids: HashMap<Arc<Sets>, u32>,
    bundles: Slots<Bundle>,
    /// Bytes of all bundles and labels, about.
    bytes: usize,
    /// Most bytes of one client's subscription, and of all.
    limits: (usize, usize),
    /// Bundles whose names are to be looked up again.
    renewing: VecDeque<u32>,
    /// Watched labels of each cell.
    watched: Vec<Vec<u32>>,
    changes: Arc<Changes>,
    /// Extended labels, whose staleness is told.
    extended: Vec<u32>,
    /// Bundles with changed places.
    touched: Vec<u32>,
    arena: Vec<u8>,
    /// The places of the messages in it.
    places: Vec<u32>,
    /// Grows whenever the arena is emptied: what was in it is gone.
    epoch: u64,
}

/// The arena is emptied above this many bytes: clients with many different bundles must not swell it.
const ARENA_MAX: usize = 1 << 20;
/// Bytes of names that are looked up again in one turn.
const RENEWED_MAX: usize = 64 * 1024;

impl Desk {
    /// An empty desk. Venues that `price_venues` does not name follow in the directory's order.
    #[must_use]
    pub fn new(directory: Arc<Directory>, changes: Arc<Changes>, price_venues: &[VenueId]) -> Self {
        let all = (0..directory.venues().len()).map(|at| VenueId(at as u16));
        let mut order = price_venues.to_vec();
        order.extend(all.filter(|venue| !price_venues.contains(venue)));
        Self {
            price_venues: order,
            symbols: Names::default(),
            exchanges: Names::default(),
            pairs: Names::default(),
            label_ids: HashMap::new(),
            labels: Slots::default(),
            bundle_ids: HashMap::new(),
            bundles: Slots::default(),
            bytes: 0,
            limits: (usize::MAX, usize::MAX),
            renewing: VecDeque::new(),
            watched: vec![Vec::new(); directory.pairs()],
            changes,
            extended: Vec::new(),
            touched: Vec::new(),
            arena: Vec::new(),
            places: Vec::new(),
            epoch: 1,
            directory,
        }
    }

    /// The same, with subscriptions of at most so many bytes for one client and for all.
    #[must_use]
    pub fn with_limits(mut self, limits: (usize, usize)) -> Self {
        self.limits = limits;
        self
    }

    /// Bytes that all subscriptions take, about.
    #[must_use]
    pub fn size(&self) -> usize {
        self.bytes + self.symbols.size() + self.exchanges.size() + self.pairs.size()
    }

    /// The set of instruments and venues has changed: names that meant nothing may mean something now, and a stream may
    /// be served by a venue that was not there. What a name means stays what it is; what went has no price by itself.
    pub fn renew(&mut self, view: &View<'_>) {
        let directory = Arc::clone(&self.directory);
        let venues = (0..directory.venues().len()).map(|at| VenueId(at as u16));
        let late: Vec<VenueId> = venues.filter(|venue| !self.price_venues.contains(venue)).collect();
        self.price_venues.extend(late);
        self.renewing = self.bundles.iter().map(|(id, _)| id).collect();
        let ids: Vec<u32> = self.labels.iter().map(|(id, _)| id).collect();
        for id in ids {
            let Some(label) = self.labels.get(id) else { continue };
            let (cells, usdt_alias) = match label.format {
                Format::Stream | Format::ExtendedStream => self.stream_cells(self.pairs.text(label.symbol)),
                _ => (self.cell(label.symbol, self.exchanges.text(label.exchange)), false),
            };
            // A price that went is told stale by the cell that it had.
            if !cells.is_empty() && cells != label.cells {
                self.serve_by(id, cells, usdt_alias, view);
            }
        }
    }

    /// Whether names are still to be looked up again.
    #[must_use]
    pub fn is_renewing(&self) -> bool {
        !self.renewing.is_empty()
    }

    /// Looks up the names of some bundles again after [`Self::renew`].
    pub fn renew_some(&mut self, view: &View<'_>) {
        let mut bytes = 0;
        while bytes < RENEWED_MAX
            && let Some(id) = self.renewing.pop_front()
        {
            bytes += self.bundles.get(id).map_or(0, Bundle::size);
            self.renew_bundle(id, view);
        }
    }

    /// What names of a bundle mean something since the set has changed; their prices come after its others.
    fn renew_bundle(&mut self, id: u32, view: &View<'_>) {
        let Some(bundle) = self.bundles.get_mut(id) else { return };
        let (format, sets, before) = (bundle.format, Arc::clone(&bundle.sets), bundle.size());
        let (mut symbols, mut exchanges) = (std::mem::take(&mut bundle.symbols), std::mem::take(&mut bundle.exchanges));
        let directory = Arc::clone(&self.directory);
        let table = if format.is_stream() { &mut self.pairs } else { &mut self.symbols };
        let late = table.add_late(&sets.symbols, id, &symbols, |name| symbol_meaning(&directory, format, name));
        symbols.extend(late);
        let late = self.exchanges.add_late(&sets.exchanges, id, &exchanges, |name| exchange_meaning(&directory, name));
        exchanges.extend(late);
        let known: FxHashSet<u32> =
            self.bundles.get(id).map(|b| b.labels.iter().copied().collect()).unwrap_or_default();
        let mut labels = Vec::new();
        for (symbol, exchange) in pairs(format, &symbols, &exchanges) {
            let known = self.label_ids.get(&(format, symbol, exchange)).is_some_and(|label| known.contains(label));
            if !known {
                labels.extend(self.label(format, symbol, exchange, view.now));
            }
        }
        let Some(bundle) = self.bundles.get_mut(id) else { return };
        let (first, watching) = (bundle.labels.len(), bundle.watching);
        (bundle.symbols, bundle.exchanges) = (symbols, exchanges);
        bundle.labels.extend(labels);
        self.bytes = self.bytes + bundle.size() - before;
        self.hold(id, first);
        if watching {
            self.watch_places(id, first);
            let labels = self.bundles.get(id).map(|b| b.labels[first..].to_vec()).unwrap_or_default();
            let cells =
                labels.iter().filter_map(|label| self.labels.get(*label)).flat_map(|label| label.cells.to_vec());
            cells.collect::<Vec<_>>().into_iter().for_each(|cell| self.changed(cell, view));
        }
    }

    fn serve_by(&mut self, id: u32, cells: Box<[PairId]>, usdt_alias: bool, view: &View<'_>) {
        let Some(label) = self.labels.get_mut(id) else { return };
        let before = std::mem::replace(&mut label.cells, cells.clone());
        (label.usdt_alias, label.seen) = (usdt_alias, 0);
        if label.watchers.is_empty() {
            return;
        }
        for cell in &before {
            let labels = &mut self.watched[cell.index()];
            labels.retain(|other| *other != id);
            if labels.is_empty() {
                self.changes.watch(*cell, false);
            }
        }
        for cell in &cells {
            self.watched[cell.index()].push(id);
            self.changes.watch(*cell, true);
        }
        // What was there before the watch is told too.
        cells.iter().for_each(|cell| self.changed(*cell, view));
    }

    /// Forgets the bursts of the turn before.
    pub fn begin_turn(&mut self) {
        self.arena.clear();
        self.places.clear();
        self.epoch += 1;
    }

    /// Bytes of a burst, and the place of each of its messages.
    #[inline]
    #[must_use]
    pub fn bytes(&self, burst: &Burst) -> (&[u8], &[u32]) {
        (&self.arena[burst.range.clone()], &self.places[burst.places.clone()])
    }

    /// The bundle `id`.
    #[must_use]
    pub fn bundle(&self, id: u32) -> Option<&Bundle> {
        self.bundles.get(id)
    }

    /// The names of a bundle as they were asked for.
    #[must_use]
    pub fn sets(&self, id: Option<u32>) -> Option<&Sets> {
        Some(&self.bundles.get(id?)?.sets)
    }

    /// Those symbols of a bundle that mean something, in the order of subscription.
    #[must_use]
    pub fn symbols_of(&self, id: Option<u32>) -> &[u32] {
        id.and_then(|id| self.bundles.get(id)).map_or(&[], |bundle| &bundle.symbols)
    }

    /// Makes `client` a member of the bundle of these names; `None` when both sets are empty. It still
    /// has its bundle `before`, until [`Self::leave`] unless it is the same.
    ///
    /// # Errors
    /// When there is no memory for it; then nothing has changed.
    pub fn join(
        &mut self,
        before: Option<u32>,
        client: u32,
        wish: &Wish<'_>,
        now: MonoNs,
    ) -> Result<Option<u32>, Crowded> {
        let Wish { live, format, symbols, exchanges } = *wish;
        if symbols.is_empty() && exchanges.is_empty() {
            return Ok(None);
        }
        let sets = Sets { format, symbols: NameList::new(symbols), exchanges: NameList::new(exchanges) };
        let id = match self.bundle_ids.get(&sets) {
            Some(id) => *id,
            None => {
                let width = if format.is_stream() { 1 } else { exchanges.len() };
                let id = self.new_bundle(sets, symbols.len() * width, now);
                if let Err(why) = self.check_room(id, before) {
                    self.remove_bundle(id);
                    return Err(why);
                }
                id
            }
        };
        if let Some(bundle) = self.bundles.get_mut(id).filter(|_| before != Some(id)) {
            bundle.members.push(client);
        }
        self.set_live(id, client, live);
        Ok(Some(id))
    }

    /// Whether there is memory for the new bundle `id` of a client that has `before`. One that shrinks is never refused,
    /// and none gets more than an eighth of what is left, so that there is always room for a small one.
    fn check_room(&self, id: u32, before: Option<u32>) -> Result<(), Crowded> {
        let size = |id: u32| self.bundles.get(id).map_or(0, Bundle::size);
        let Some(bundle) = self.bundles.get(id).filter(|_| size(id) > before.map_or(0, size)) else { return Ok(()) };
        // A label that one other bundle has may be of this client's bundle before.
        let own = |label: &&u32| self.labels.get(**label).is_some_and(|label| label.uses <= 2);
        let labels = bundle.labels.iter().filter(own).count();
        let names = bundle.symbols.len() + bundle.exchanges.len();
        let asked = bundle.size() + labels * LABEL_BYTES + names * NAME_BYTES;
        let (of_one, of_all) = self.limits;
        let room = of_one.min(of_all.saturating_sub(self.size()) / 8);
        if asked > room { Err(Crowded { pairs: bundle.pairs * room / asked }) } else { Ok(()) }
    }

    fn new_bundle(&mut self, sets: Sets, pairs_asked: usize, now: MonoNs) -> u32 {
        let (format, sets) = (sets.format, Arc::new(sets));
        let id = self.bundles.insert(Bundle {
            format,
            sets: Arc::clone(&sets),
            pairs: pairs_asked,
            symbols: Vec::new(),
            exchanges: Vec::new(),
            labels: Vec::new(),
            members: Vec::new(),
            live: Vec::new(),
            watching: false,
            dirty: Vec::new(),
            burst: (0, Burst::default()),
        });
        let directory = Arc::clone(&self.directory);
        let table = if format.is_stream() { &mut self.pairs } else { &mut self.symbols };
        let symbols = table.add(&sets.symbols, id, |name| symbol_meaning(&directory, format, name));
        let exchanges = self.exchanges.add(&sets.exchanges, id, |name| exchange_meaning(&directory, name));
        let mut labels = Vec::new();
        for (symbol, exchange) in pairs(format, &symbols, &exchanges) {
            labels.extend(self.label(format, symbol, exchange, now));
        }
        labels.shrink_to_fit();
        if let Some(bundle) = self.bundles.get_mut(id) {
            (bundle.symbols, bundle.exchanges, bundle.labels) = (symbols, exchanges, labels);
            self.bytes += bundle.size();
        }
        self.hold(id, 0);
        self.bundle_ids.insert(sets, id);
        id
    }

    /// Clients of an extended bundle are told when its prices from `first` on go stale.
    fn hold(&mut self, id: u32, first: usize) {
        let Some(bundle) = self.bundles.get(id).filter(|bundle| bundle.format == Format::Extended) else { return };
        for label in &bundle.labels[first..] {
            if let Some(label) = self.labels.get_mut(*label) {
                label.holders.push(id);
            }
        }
    }

    /// The label of a name or two, `None` when no venue quotes it.
    fn label(&mut self, format: Format, symbol: u32, exchange: u32, now: MonoNs) -> Option<u32> {
        if let Some(id) = self.label_ids.get(&(format, symbol, exchange)) {
            if let Some(label) = self.labels.get_mut(*id) {
                label.uses += 1;
            }
            return Some(*id);
        }
        let (cells, usdt_alias) = match format {
            Format::Stream | Format::ExtendedStream => self.stream_cells(self.pairs.text(symbol)),
            _ => (self.cell(symbol, self.exchanges.text(exchange)), false),
        };
        if cells.is_empty() {
            return None;
        }
        let id = self.labels.insert(Label {
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
            seen: 0,
            delivered: (PairId(0), 0),
            since: now,
            known: false,
            watchers: Vec::new(),
            holders: Vec::new(),
            extended_at: self.extended.len() as u32,
        });
        self.bytes += LABEL_BYTES;
        self.label_ids.insert((format, symbol, exchange), id);
        if format == Format::Extended {
            self.extended.push(id);
        }
        Some(id)
    }

    /// The one cell of a symbol on an exchange, if that exchange quotes it.
    fn cell(&self, symbol: u32, exchange: &str) -> Box<[PairId]> {
        let instrument = self.symbols.instrument(symbol);
        let venue = self.directory.venue_named(exchange);
        let quoted = instrument.zip(venue).filter(|(i, v)| self.directory.is_quoted(*i, *v));
        quoted.map(|(i, v)| self.directory.pair(i, v)).into_iter().collect()
    }

    /// The cells that can serve a pair of a stream, in order of preference. `X/USD` without a USD book
    /// anywhere is served by `X/USDT`, which is said.
    #[must_use]
    pub fn stream_cells(&self, pair: &str) -> (Box<[PairId]>, bool) {
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

    /// `client` takes every change of the bundle `id` from now on, or no longer.
    fn set_live(&mut self, id: u32, client: u32, live: bool) {
        let Some(bundle) = self.bundles.get_mut(id) else { return };
        bundle.live.retain(|c| *c != client);
        if live {
            bundle.live.push(client);
        }
        match (bundle.watching, !bundle.live.is_empty()) {
            (false, true) => self.watch(id),
            (true, false) => self.unwatch(id),
            _ => {}
        }
    }

    /// `client` no longer has the bundle `id`.
    pub fn leave(&mut self, id: u32, client: u32) {
        let Some(bundle) = self.bundles.get_mut(id) else { return };
        for list in [&mut bundle.members, &mut bundle.live] {
            if let Some(at) = list.iter().position(|c| *c == client) {
                list.swap_remove(at);
            }
        }
        if bundle.watching && bundle.live.is_empty() {
            self.unwatch(id);
        }
        if self.bundles.get(id).is_some_and(|b| b.members.is_empty()) {
            self.remove_bundle(id);
        }
    }

    fn remove_bundle(&mut self, id: u32) {
        let Some(bundle) = self.bundles.remove(id) else { return };
        self.bytes -= bundle.size();
        for label in &bundle.labels {
            self.release_label(*label, id);
        }
        let table = if bundle.format.is_stream() { &mut self.pairs } else { &mut self.symbols };
        table.remove(&bundle.sets.symbols, id, &bundle.symbols);
        self.exchanges.remove(&bundle.sets.exchanges, id, &bundle.exchanges);
        self.bundle_ids.remove(&bundle.sets);
        self.touched.retain(|touched| *touched != id);
        give_back(&mut self.bundle_ids);
        give_back(&mut self.label_ids);
    }

    fn release_label(&mut self, id: u32, bundle: u32) {
        let Some(label) = self.labels.get_mut(id) else { return };
        label.uses -= 1;
        label.holders.retain(|holder| *holder != bundle);
        if label.uses > 0 {
            return;
        }
        let Some(label) = self.labels.remove(id) else { return };
        self.bytes -= LABEL_BYTES;
        self.label_ids.remove(&(label.format, label.symbol, label.exchange));
        if label.format == Format::Extended {
            let at = label.extended_at as usize;
            self.extended.swap_remove(at);
            if let Some(moved) = self.extended.get(at).copied()
                && let Some(moved) = self.labels.get_mut(moved)
            {
                moved.extended_at = label.extended_at;
            }
        }
    }

    fn watch(&mut self, id: u32) {
        if let Some(bundle) = self.bundles.get_mut(id) {
            bundle.watching = true;
        }
        self.watch_places(id, 0);
    }

    /// A watching bundle watches its places from `first` on.
    fn watch_places(&mut self, id: u32, first: usize) {
        let Some(bundle) = self.bundles.get_mut(id) else { return };
        for (place, label_id) in bundle.labels.iter().enumerate().skip(first) {
            let Some(label) = self.labels.get_mut(*label_id) else { continue };
            label.watchers.push((id, place as u32));
            // What was seen earlier in this turn may be older than the watch.
            label.seen = 0;
            if label.watchers.len() == 1 {
                for cell in &label.cells {
                    self.watched[cell.index()].push(*label_id);
                    self.changes.watch(*cell, true);
                }
            }
        }
    }

    fn unwatch(&mut self, id: u32) {
        let Some(bundle) = self.bundles.get_mut(id) else { return };
        bundle.watching = false;
        for label_id in &bundle.labels {
            let Some(label) = self.labels.get_mut(*label_id) else { continue };
            if let Some(at) = label.watchers.iter().position(|(bundle, _)| *bundle == id) {
                label.watchers.swap_remove(at);
            }
            if label.watchers.is_empty() {
                for cell in &label.cells {
                    let labels = &mut self.watched[cell.index()];
                    labels.retain(|l| l != label_id);
                    if labels.is_empty() {
                        *labels = Vec::new();
                        self.changes.watch(*cell, false);
                    }
                }
            }
        }
    }

    /// Brings the frame of a label up to date.
    #[inline]
    fn refresh(&mut self, id: u32, view: &View<'_>) {
        let Some(label) = self.labels.get_mut(id) else { return };
        if label.seen == view.turn {
            return;
        }
        label.seen = view.turn;
        match label.format {
            Format::Stream | Format::ExtendedStream => refresh_stream(label, &self.pairs, &self.directory, view),
            _ => refresh_price(label, &self.symbols, &self.exchanges, &self.directory, view),
        }
    }

    /// All prices of a bundle as one run of bytes; put together once per turn.
    pub fn burst(&mut self, id: u32, view: &View<'_>) -> Burst {
        match self.bundles.get(id) {
            Some(bundle) if bundle.burst.0 == self.epoch => return bundle.burst.1.clone(),
            Some(_) => {}
            None => return Burst::default(),
        }
        let burst = self.burst_of(id, view, |_| true);
        if let Some(bundle) = self.bundles.get_mut(id) {
            bundle.burst = (self.epoch, burst.clone());
        }
        burst
    }

    /// Those prices of a bundle whose places `wanted` names.
    pub fn burst_of(&mut self, id: u32, view: &View<'_>, wanted: impl Fn(usize) -> bool) -> Burst {
        self.burst_from(id, view, (0, usize::MAX), wanted, false).0
    }

    /// The same from a place on, until it has so many bytes; and the place to go on from. `tells_stale`: extended clients
    /// hear of a price that is none any more, too.
    pub fn burst_from(
        &mut self,
        id: u32,
        view: &View<'_>,
        (from, bytes): (usize, usize),
        wanted: impl Fn(usize) -> bool,
        tells_stale: bool,
    ) -> (Burst, usize) {
        if self.arena.len() > ARENA_MAX {
            self.begin_turn();
        }
        let (start, first) = (self.arena.len(), self.places.len());
        let end = self.bundles.get(id).map_or(0, Bundle::places);
        let mut next = from;
        while next < end && self.arena.len() - start < bytes {
            let place = next;
            next += 1;
            if !wanted(place) {
                continue;
            }
            // The bundle is there: nothing removes one while bursts are made.
            let Some(label_id) = self.bundles.get(id).map(|b| b.labels[place]) else { break };
            self.refresh(label_id, view);
            let Some(label) = self.labels.get(label_id) else { continue };
            let before = self.arena.len();
            if !label.frame.is_empty() {
                self.arena.extend_from_slice(&label.frame);
            } else if tells_stale && label.format == Format::Extended {
                encode_stale(label, &self.symbols, &self.exchanges, view, &mut self.arena);
            }
            if self.arena.len() > before {
                self.places.push(place as u32);
            }
        }
        (Burst { range: start..self.arena.len(), places: first..self.places.len() }, next)
    }

    /// The cell of `pair` changed: bundles that want every change have it among their dirty places.
    pub fn changed(&mut self, pair: PairId, view: &View<'_>) {
        for at in 0..self.watched.get(pair.index()).map_or(0, Vec::len) {
            let id = self.watched[pair.index()][at];
            // A look earlier in this turn was before the change.
            if let Some(label) = self.labels.get_mut(id) {
                label.seen = 0;
            }
            self.refresh(id, view);
            let Some(label) = self.labels.get_mut(id) else { continue };
            if label.frame.is_empty() || label.delivered == label.quote {
                continue;
            }
            label.delivered = label.quote;
            for (bundle_id, place) in &label.watchers {
                let Some(bundle) = self.bundles.get_mut(*bundle_id) else { continue };
                if bundle.live.is_empty() {
                    continue;
                }
                if bundle.dirty.is_empty() {
                    self.touched.push(*bundle_id);
                }
                bundle.dirty.push(*place);
            }
        }
    }

    /// The only client of every change of these places has just got them as they are: they need not come
    /// again before they change.
    pub fn caught_up(&mut self, id: u32, marks: &Marks) {
        let Some(bundle) = self.bundles.get(id).filter(|bundle| bundle.live.len() == 1) else { return };
        for (_, label) in bundle.labels.iter().enumerate().filter(|(place, _)| marks.has(*place)) {
            if let Some(label) = self.labels.get_mut(*label).filter(|label| label.watchers.len() == 1) {
                label.delivered = label.quote;
            }
        }
    }

    /// The next bundle with changed places: what to write, the places, and when each was read.
    pub fn next_touched(&mut self, view: &View<'_>, stamps: &mut Vec<Stamp>) -> Option<(u32, Burst, Vec<u32>)> {
        let id = self.touched.pop()?;
        let dirty = std::mem::take(&mut self.bundles.get_mut(id)?.dirty);
        if self.arena.len() > ARENA_MAX {
            self.begin_turn();
        }
        let (start, first) = (self.arena.len(), self.places.len());
        stamps.clear();
        for place in &dirty {
            let Some(label_id) = self.bundles.get(id).map(|b| b.labels[*place as usize]) else { break };
            self.refresh(label_id, view);
            if let Some(label) = self.labels.get(label_id).filter(|label| !label.frame.is_empty()) {
                self.arena.extend_from_slice(&label.frame);
                stamps.push((label.venue, label.received));
                self.places.push(*place);
            }
        }
        Some((id, Burst { range: start..self.arena.len(), places: first..self.places.len() }, dirty))
    }

    /// Gives back the places of [`Self::next_touched`], so that their memory is used again.
    pub fn done_touched(&mut self, id: u32, mut dirty: Vec<u32>) {
        dirty.clear();
        if let Some(bundle) = self.bundles.get_mut(id) {
            bundle.dirty = dirty;
        }
    }

    /// Whether somebody must be told when a price goes stale.
    #[must_use]
    pub fn tells_stale(&self) -> bool {
        !self.extended.is_empty()
    }

    /// Finds the extended labels that have gone stale since the last look; each is told once. Hands the message and the
    /// members of each bundle that has it to `tell`, and what finds its place there.
    pub fn gone_stale(&mut self, view: &View<'_>, mut tell: impl FnMut(&[u8], &[u32], &dyn Fn() -> Option<u32>)) {
        let mut frame = Vec::new();
        for id in &self.extended {
            let Some(label) = self.labels.get_mut(*id).filter(|label| label.known) else { continue };
            let Some(pair) = label.cells.first().copied() else { continue };
            if view.shown(&view.matrix.load(pair), Format::Extended).is_some() {
                continue;
            }
            label.known = false;
            label.frame.clear();
            frame.clear();
            encode_stale(label, &self.symbols, &self.exchanges, view, &mut frame);
            if frame.is_empty() {
                continue;
            }
            for bundle in label.holders.iter().filter_map(|bundle| self.bundles.get(*bundle)) {
                let place = || bundle.labels.iter().position(|label| label == id).map(|place| place as u32);
                tell(&frame, &bundle.members, &place);
            }
        }
    }

    /// The spellings of `instrument` that clients use.
    pub fn spellings(&self, instrument: InstrumentId) -> impl Iterator<Item = (u32, &Name)> {
        self.symbols.spellings(instrument)
    }

    /// The instrument that the symbol `id` means.
    #[must_use]
    pub fn instrument(&self, id: u32) -> Option<InstrumentId> {
        self.symbols.instrument(id)
    }

    /// The places of `after` that `before` did not have, or had in another format.
    #[must_use]
    pub fn added(&self, before: Option<u32>, after: u32) -> Marks {
        let labels = |id: u32| self.bundles.get(id).map_or(&[] as &[u32], |bundle| &bundle.labels);
        let known: FxHashSet<u32> = before.map(labels).unwrap_or_default().iter().copied().collect();
        self.places_of(after, |label| !known.contains(&label))
    }

    /// The places of `id` whose quote was read after `since`.
    #[must_use]
    pub fn newer(&self, id: u32, since: MonoNs, view: &View<'_>) -> Marks {
        let is_newer = |cell: &PairId| view.matrix.load(*cell).received > since;
        self.places_of(id, |label| self.labels.get(label).is_some_and(|label| label.cells.iter().any(is_newer)))
    }

    fn places_of(&self, id: u32, wanted: impl Fn(u32) -> bool) -> Marks {
        let mut marks = Marks::default();
        let labels = self.bundles.get(id).map_or(&[] as &[u32], |bundle| &bundle.labels);
        let places = labels.iter().enumerate().filter(|(_, label)| wanted(**label));
        places.for_each(|(place, _)| marks.add(place));
        marks
    }

    /// The ticker of the first cell that is a price.
    #[must_use]
    pub fn ticker<'a>(
        &self,
        cells: &[PairId],
        usdt_alias: bool,
        pair: &'a [u8],
        view: &View<'_>,
    ) -> Option<(Ticker<'a>, PairId, CellQuote)> {
        ticker(&self.directory, cells, (Format::Stream, usdt_alias), pair, view)
    }
}

/// The pairs of a subscription to these names; a stream's have no exchange.
fn pairs<'a>(format: Format, symbols: &'a [u32], exchanges: &'a [u32]) -> impl Iterator<Item = (u32, u32)> + 'a {
    let exchanges = if format.is_stream() { &[0] } else { exchanges };
    symbols.iter().flat_map(move |symbol| exchanges.iter().map(move |exchange| (*symbol, *exchange)))
}

fn symbol_meaning(directory: &Directory, format: Format, name: &str) -> Meaning {
    let stands_in = || directory.instrument_named(&format!("{name}T")).map(|_| None);
    let alias = || if format.is_stream() && name.ends_with("/USD") { stands_in() } else { None };
    directory.instrument_named(name).map(Some).or_else(alias)
}

fn exchange_meaning(directory: &Directory, name: &str) -> Meaning {
    directory.venue_named(name).map(|_| None)
}

fn ticker<'a>(
    directory: &Directory,
    cells: &[PairId],
    (format, usdt_alias): (Format, bool),
    pair: &'a [u8],
    view: &View<'_>,
) -> Option<(Ticker<'a>, PairId, CellQuote)> {
    let fresh = || cells.iter().find_map(|cell| Some((*cell, view.fresh(*cell)?)));
    let shown = || {
        let mut known = cells.iter().map(|cell| (*cell, view.matrix.load(*cell)));
        known.find(|(_, quote)| view.shown(quote, format).is_some())
    };
    let (cell, quote) = fresh().or_else(shown)?;
    let (_, venue) = directory.split(cell);
    // Clients of the replaced system are told only of what it never had: a price that was not pushed.
    let more = (format.is_extended() || !quote.origin.is_pushed()).then(|| TickerMore {
        source: quote.source.word(),
        level: quote.origin.word(),
        state: view.shown(&quote, format).unwrap_or("stale"),
        age_ms: quote.age(view.now) / 1_000_000,
    });
    let ticker = Ticker {
        pair,
        bid: quote.bid.price,
        ask: quote.ask.price,
        day: view.days.load(cell),
        timestamp: view.stream_stamp(&quote, venue),
        usdt_alias,
        more,
    };
    Some((ticker, cell, quote))
}

fn refresh_price(label: &mut Label, symbols: &Names, exchanges: &Names, directory: &Directory, view: &View<'_>) {
    let Some(pair) = label.cells.first().copied() else { return };
    let cell = view.matrix.load(pair);
    let Some(state) = view.shown(&cell, label.format) else {
        label.frame.clear();
        return;
    };
    let age_ms = cell.age(view.now) / 1_000_000;
    let same = label.quote == (pair, cell.changes) && !label.frame.is_empty();
    if same && (label.format == Format::Plain || label.age_ms == age_ms) {
        return;
    }
    label.quote = (pair, cell.changes);
    label.age_ms = age_ms;
    label.received = cell.received;
    label.venue = directory.split(pair).1;
    label.known = true;
    let mut frame = std::mem::take(&mut label.frame);
    frame.clear();
    encode_price(label, &cell, state, symbols, exchanges, view, &mut frame);
    label.frame = frame;
}

/// That a price is none any more; nothing where there never was one.
fn encode_stale(label: &Label, symbols: &Names, exchanges: &Names, view: &View<'_>, out: &mut Vec<u8>) {
    let Some(pair) = label.cells.first().copied() else { return };
    let cell = view.matrix.load(pair);
    let state = match cell.state {
        CellState::Empty => return,
        CellState::Suspect => "suspect",
        _ => "stale",
    };
    encode_price(label, &cell, state, symbols, exchanges, view, out);
}

fn encode_price(
    label: &Label,
    cell: &CellQuote,
    state: &'static str,
    symbols: &Names,
    exchanges: &Names,
    view: &View<'_>,
    out: &mut Vec<u8>,
) {
    let more = (label.format == Format::Extended).then(|| PriceMore {
        seq: cell.changes,
        source: cell.source.word(),
        level: cell.origin.word(),
        state,
        age_ms: cell.age(view.now) / 1_000_000,
        received_ns: cell.received.0,
    });
    let price = Price {
        symbol: symbols.json(label.symbol),
        exchange: exchanges.json(label.exchange),
        bid: cell.bid,
        ask: cell.ask,
        timestamp: view.stamp(cell),
        more,
    };
    frame_text(out, |out| message::price(&price, out));
}

fn refresh_stream(label: &mut Label, pairs: &Names, directory: &Directory, view: &View<'_>) {
    label.frame.clear();
    let wish = (label.format, label.usdt_alias);
    let found = ticker(directory, &label.cells, wish, pairs.json(label.symbol), view);
    let Some((ticker, cell, quote)) = found else { return };
    if ticker.day.is_none() && view.now.since(label.since) < view.statistics_wait_ns {
        return;
    }
    label.quote = (cell, quote.changes);
    label.received = quote.received;
    label.venue = directory.split(cell).1;
    sse::begin_event(&mut label.frame);
    stream::update(&ticker, &mut label.frame);
    sse::end_event(&mut label.frame);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::market::directory::VenueEntry;
    use proptest::prelude::*;

    const NAMES: [&str; 5] = ["A/USD", "a/usd", "B/USDT", "C/USDT", "unknown"];

    fn desk() -> Desk {
        let venue = |name: &str| VenueEntry {
            name: name.into(),
            taker_fee_pct: crate::market::Decimal::ZERO,
            native: vec![Some(String::new()); 3],
        };
        let symbols = ["A/USD", "B/USDT", "C/USDT"].map(str::to_owned).to_vec();
        let directory = Arc::new(Directory::new(symbols, vec![venue("x"), venue("y")]));
        let changes = Arc::new(Changes::new(directory.pairs()));
        Desk::new(directory, changes, &[])
    }

    fn chosen(all: &[&str], mask: u8) -> Vec<String> {
        all.iter().enumerate().filter(|(at, _)| mask >> at & 1 == 1).map(|(_, name)| (*name).to_owned()).collect()
    }

    /// What the desk watches is what its live clients want, no more and no less.
    fn check(desk: &Desk) {
        for (id, bundle) in desk.bundles.iter() {
            assert!(!bundle.members.is_empty(), "a bundle of nobody");
            assert_eq!(bundle.watching, !bundle.live.is_empty());
            assert!(bundle.live.iter().all(|client| bundle.members.contains(client)));
            for label in &bundle.labels {
                let label = desk.labels.get(*label).unwrap();
                assert_eq!(label.watchers.iter().filter(|(b, _)| *b == id).count(), usize::from(bundle.watching));
                assert_eq!(label.holders.contains(&id), bundle.format == Format::Extended);
            }
        }
        for (cell, labels) in desk.watched.iter().enumerate() {
            let wanted =
                |(_, label): &(u32, &Label)| !label.watchers.is_empty() && label.cells.contains(&PairId(cell as u32));
            assert_eq!(labels.len(), desk.labels.iter().filter(wanted).count());
            desk.changes.mark(PairId(cell as u32));
            let mut marked = false;
            desk.changes.drain(|_| marked = true);
            assert_eq!(marked, !labels.is_empty());
        }
    }

    proptest! {
        #[test]
        fn whatever_clients_do_nothing_is_left_when_they_have_gone(
            steps in proptest::collection::vec((0u32..6, 0u8..4, any::<bool>(), 0u8..32, 0u8..4), 1..60)
        ) {
            let mut desk = desk();
            let mut bundles: HashMap<u32, u32> = HashMap::new();
            for (client, format, live, symbols, exchanges) in steps {
                let format =
                    [Format::Plain, Format::Extended, Format::Stream, Format::ExtendedStream][usize::from(format)];
                let exchanges = if format.is_stream() { vec![] } else { chosen(&["x", "Y"], exchanges) };
                let symbols = chosen(&NAMES, symbols);
                let wish = Wish { live, format, symbols: &symbols, exchanges: &exchanges };
                let before = bundles.get(&client).copied();
                let after = desk.join(before, client, &wish, MonoNs(1)).unwrap();
                if let Some(before) = before.filter(|b| after != Some(*b)) {
                    desk.leave(before, client);
                }
                match after {
                    Some(after) => bundles.insert(client, after),
                    None => bundles.remove(&client),
                };
                check(&desk);
            }
            for (client, bundle) in bundles {
                desk.leave(bundle, client);
            }
            check(&desk);
            prop_assert_eq!((desk.labels.len(), desk.bundles.len(), desk.label_ids.len(), desk.bundle_ids.len()), (0, 0, 0, 0));
            prop_assert_eq!((desk.symbols.len(), desk.exchanges.len(), desk.pairs.len(), desk.extended.len()), (0, 0, 0, 0));
            prop_assert_eq!(desk.size(), 0);
        }
    }
}
