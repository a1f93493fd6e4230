//! Subscriptions to prices. A *subscription set* is a whole subscription: symbols, exchanges and a format. Clients with
//! equal ones share it, so that a burst is composed once and written to all of them. The *index* of a price in its set
//! identifies it when it is conflated or sent out of turn. Nothing is hashed while prices are sent. Memory is limited per
//! client and for all clients.
//!
//! Pure: quotes and time come in with a [`Snapshot`]. Runs on the gateway's thread.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use rustc_hash::FxHashSet;

use crate::gateway::outbox::IndexSet;
use crate::gateway::prices::names::{Meaning, NAME_BYTES, Name, NameList, NameTables};
use crate::gateway::prices::topics::{TOPIC_BYTES, Topics};
use crate::gateway::slab::{Slab, shrink};
use crate::gateway::view::{PriceFormat, Snapshot};
use crate::market::{Directory, InstrumentId, PairId, VenueId};
use crate::matrix::changes::Changes;
use crate::time::MonoNs;

/// The names of a subscription, in the order in which they were requested.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct RequestedNames {
    format: PriceFormat,
    /// Symbols, or pairs of a stream.
    pub symbols: NameList,
    /// Exchanges; none for a stream.
    pub exchanges: NameList,
}

/// A whole subscription.
pub struct SubscriptionSet {
    /// Format of its messages.
    pub format: PriceFormat,
    requested: Arc<RequestedNames>,
    /// Symbols times exchanges.
    pairs: usize,
    /// Its known symbols, in their order.
    symbols: Vec<u32>,
    /// Its known exchanges, in their order.
    exchanges: Vec<u32>,
    /// Its topics, in the order in which clients receive them.
    topics: Vec<u32>,
    /// Clients that have it.
    pub members: Vec<u32>,
    /// Those of them that receive every change.
    pub live: Vec<u32>,
    is_watching: bool,
    /// Indexes of prices that changed in this turn.
    changed: Vec<u32>,
    /// Its burst, and the epoch in which that was composed.
    burst: (u64, Burst),
}

impl SubscriptionSet {
    /// Number of its prices that some venue quotes.
    #[must_use]
    pub fn topics(&self) -> usize {
        self.topics.len()
    }

    /// Number of requested pairs.
    #[must_use]
    pub fn pairs(&self) -> usize {
        self.pairs
    }

    /// Bytes that it uses in addition to its names and topics, about.
    fn size(&self) -> usize {
        let ids = self.symbols.len() + self.exchanges.len() + self.topics.len();
        SET_BYTES + self.requested.symbols.size() + self.requested.exchanges.size() + ids * size_of::<u32>()
    }
}

/// Bytes of an empty subscription set, about.
const SET_BYTES: usize = 512;

/// A subscription needs more memory than is available.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryLimit {
    /// About how many of its pairs would be accepted.
    pub pairs: usize,
}

/// A price that was written: its venue, and when it was read there.
pub(crate) type Arrival = (VenueId, MonoNs);

/// Messages of one subscription set, ready to be written.
#[derive(Clone, Debug, Default)]
pub struct Burst {
    range: Range<usize>,
    /// The index of each message.
    indexes: Range<usize>,
}

impl Burst {
    /// Whether it is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.range.is_empty()
    }
}

/// The bytes of bursts. Emptied every turn, and when it grows too large.
#[derive(Default)]
struct Arena {
    bytes: Vec<u8>,
    /// The index of each message in its subscription set.
    indexes: Vec<u32>,
    /// Incremented when the arena is emptied: bursts of earlier epochs are gone.
    epoch: u64,
}

impl Arena {
    fn clear(&mut self) {
        self.bytes.clear();
        self.indexes.clear();
        self.epoch += 1;
    }

    /// Where the next burst begins.
    fn begin(&mut self) -> (usize, usize) {
        if self.bytes.len() > ARENA_MAX {
            self.clear();
        }
        (self.bytes.len(), self.indexes.len())
    }

    fn burst_since(&self, (bytes, indexes): (usize, usize)) -> Burst {
        Burst { range: bytes..self.bytes.len(), indexes: indexes..self.indexes.len() }
    }
}

/// What a client subscribes to.
#[derive(Clone, Copy, Debug)]
pub struct SubscriptionRequest<'a> {
    /// Every change, instead of bursts.
    pub live: bool,
    /// Format of the messages.
    pub format: PriceFormat,
    /// Symbols, or pairs of a stream, each once.
    pub symbols: &'a [String],
    /// Exchanges, each once; none for a stream.
    pub exchanges: &'a [String],
}

/// Part of a subscription set for [`Subscriptions::burst_from`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Portion {
    /// First index.
    pub from: usize,
    /// Ends after the message that reaches this number of bytes.
    pub(crate) bytes_max: usize,
    /// Extended clients also receive that a price is stale.
    pub(crate) with_stale: bool,
}

impl Portion {
    const WHOLE: Self = Self { from: 0, bytes_max: usize::MAX, with_stale: false };
}

/// See the file's head.
pub struct Subscriptions {
    directory: Arc<Directory>,
    /// Names as clients spell them.
    pub names: NameTables,
    topics: Topics,
    set_ids: HashMap<Arc<RequestedNames>, u32>,
    sets: Slab<SubscriptionSet>,
    /// Bytes of all sets, about.
    bytes: usize,
    /// Most bytes of the subscription of one client, and of all clients.
    limits: (usize, usize),
    /// Sets whose names are to be looked up again.
    renewing: VecDeque<u32>,
    /// Sets with changed prices.
    touched: Vec<u32>,
    arena: Arena,
}

/// The arena is emptied above this many bytes, so that many different subscription sets do not enlarge it.
const ARENA_MAX: usize = 1 << 20;
/// Bytes of names that are looked up again in one turn.
const RENEWED_MAX: usize = 64 * 1024;

impl Subscriptions {
    /// No subscriptions. Venues that are not in `price_venues` follow in the order of the directory. `limits`: most bytes
    /// of the subscription of one client, and of all clients.
    #[must_use]
    pub fn new(
        directory: Arc<Directory>,
        changes: Arc<Changes>,
        price_venues: &[VenueId],
        limits: (usize, usize),
    ) -> Self {
        Self {
            names: NameTables::default(),
            topics: Topics::new(Arc::clone(&directory), changes, price_venues),
            set_ids: HashMap::new(),
            sets: Slab::default(),
            bytes: 0,
            limits,
            renewing: VecDeque::new(),
            touched: Vec::new(),
            arena: Arena { epoch: 1, ..Arena::default() },
            directory,
        }
    }

    /// Bytes of all subscriptions, about.
    #[must_use]
    pub fn size(&self) -> usize {
        self.bytes + self.topics.size() + self.names.size()
    }

    /// The set of instruments and venues changed: unknown names may be known now, and another venue may serve a pair of a
    /// stream. The meaning of a known name does not change; the price of a removed pair becomes stale.
    pub fn renew(&mut self, snapshot: &Snapshot<'_>) {
        self.renewing = self.sets.keys().into();
        // The present price of another cell is sent, too.
        for cell in self.topics.renew(&self.names) {
            self.changed(cell, snapshot);
        }
    }

    /// Whether names are still to be looked up again.
    #[must_use]
    pub(crate) fn is_renewing(&self) -> bool {
        !self.renewing.is_empty()
    }

    /// Looks up the names of some sets again after [`Self::renew`].
    pub(crate) fn renew_some(&mut self, snapshot: &Snapshot<'_>) {
        let mut bytes = 0;
        while bytes < RENEWED_MAX
            && let Some(id) = self.renewing.pop_front()
        {
            bytes += self.sets.get(id).map_or(0, SubscriptionSet::size);
            self.renew_set(id, snapshot);
        }
    }

    /// Adds the names of a set that are known by now. Their prices follow its others.
    fn renew_set(&mut self, id: u32, snapshot: &Snapshot<'_>) {
        let Some(set) = self.sets.get_mut(id) else { return };
        let (format, requested, before) = (set.format, Arc::clone(&set.requested), set.size());
        let (mut symbols, mut exchanges) = (std::mem::take(&mut set.symbols), std::mem::take(&mut set.exchanges));
        let directory = Arc::clone(&self.directory);
        let table = self.names.of_format(format);
        symbols.extend(table.add_new(&requested.symbols, id, &symbols, |it| symbol_meaning(&directory, format, it)));
        let table = &mut self.names.exchanges;
        exchanges.extend(table.add_new(&requested.exchanges, id, &exchanges, |it| exchange_meaning(&directory, it)));
        let known: FxHashSet<u32> = self.topics_of(id).iter().copied().collect();
        let mut topics = Vec::new();
        for (symbol, exchange) in pairs(format, &symbols, &exchanges) {
            if self.topics.find(format, symbol, exchange).is_none_or(|topic| !known.contains(&topic)) {
                topics.extend(self.topics.acquire((format, symbol, exchange), &self.names, snapshot.quote_now));
            }
        }
        let Some(set) = self.sets.get_mut(id) else { return };
        let (first, is_watching) = (set.topics.len(), set.is_watching);
        (set.symbols, set.exchanges) = (symbols, exchanges);
        set.topics.extend(topics);
        self.bytes = self.bytes + set.size() - before;
        self.hold(id, first);
        if is_watching {
            self.watch_from(id, first);
            let topics = self.topics_of(id)[first..].iter().filter_map(|topic| self.topics.get(*topic));
            let cells: Vec<PairId> = topics.flat_map(|topic| topic.cells().to_vec()).collect();
            cells.into_iter().for_each(|cell| self.changed(cell, snapshot));
        }
    }

    /// Drops the bursts of the turn before.
    pub(crate) fn begin_turn(&mut self) {
        self.arena.clear();
    }

    /// Bytes of a burst, and the index of each of its messages.
    #[inline]
    #[must_use]
    pub fn bytes(&self, burst: &Burst) -> (&[u8], &[u32]) {
        (&self.arena.bytes[burst.range.clone()], &self.arena.indexes[burst.indexes.clone()])
    }

    /// The subscription set `id`.
    #[must_use]
    pub fn set(&self, id: u32) -> Option<&SubscriptionSet> {
        self.sets.get(id)
    }

    /// The names of a set as they were requested.
    #[must_use]
    pub(crate) fn requested(&self, id: Option<u32>) -> Option<&RequestedNames> {
        Some(&self.sets.get(id?)?.requested)
    }

    /// The known symbols of a set, in the order of the subscription.
    #[must_use]
    pub(crate) fn symbols_of(&self, id: Option<u32>) -> &[u32] {
        id.and_then(|id| self.sets.get(id)).map_or(&[], |set| &set.symbols)
    }

    /// Number of requested pairs of a set.
    #[must_use]
    pub(crate) fn pairs_of(&self, id: Option<u32>) -> u64 {
        id.and_then(|id| self.sets.get(id)).map_or(0, |set| set.pairs as u64)
    }

    fn topics_of(&self, id: u32) -> &[u32] {
        self.sets.get(id).map_or(&[], |set| &set.topics)
    }

    /// Makes `client` a member of the set of these names; `None` if there are no names. The client also remains a member
    /// of its set `before`, until [`Self::leave`] unless it is the same.
    ///
    /// # Errors
    /// If there is not enough memory; then nothing is changed.
    pub fn join(
        &mut self,
        before: Option<u32>,
        client: u32,
        request: &SubscriptionRequest<'_>,
        now: MonoNs,
    ) -> Result<Option<u32>, MemoryLimit> {
        let SubscriptionRequest { live, format, symbols, exchanges } = *request;
        if symbols.is_empty() && exchanges.is_empty() {
            return Ok(None);
        }
        let requested = RequestedNames { format, symbols: NameList::new(symbols), exchanges: NameList::new(exchanges) };
        let id = match self.set_ids.get(&requested) {
            Some(id) => *id,
            None => {
                let width = if format.is_stream() { 1 } else { exchanges.len() };
                let id = self.new_set(requested, symbols.len() * width, now);
                if let Err(limit) = self.check_memory(id, before) {
                    self.remove_set(id);
                    return Err(limit);
                }
                id
            }
        };
        if let Some(set) = self.sets.get_mut(id).filter(|_| before != Some(id)) {
            set.members.push(client);
        }
        self.set_live(id, client, live);
        Ok(Some(id))
    }

    /// Whether there is memory for the new set `id` of a client that has `before`. A smaller set is never refused, and
    /// none receives more than an eighth of the remaining memory, so that a small one always fits.
    fn check_memory(&self, id: u32, before: Option<u32>) -> Result<(), MemoryLimit> {
        let size = |id: u32| self.sets.get(id).map_or(0, SubscriptionSet::size);
        let Some(set) = self.sets.get(id).filter(|_| size(id) > before.map_or(0, size)) else { return Ok(()) };
        // A topic of two sets may be shared with the client's set `before`.
        let is_own = |topic: &&u32| self.topics.get(**topic).is_some_and(|topic| topic.uses() <= 2);
        let topics = set.topics.iter().filter(is_own).count();
        let names = set.symbols.len() + set.exchanges.len();
        let asked = set.size() + topics * TOPIC_BYTES + names * NAME_BYTES;
        let (of_one, of_all) = self.limits;
        let available = of_one.min(of_all.saturating_sub(self.size()) / 8);
        if asked > available { Err(MemoryLimit { pairs: set.pairs * available / asked }) } else { Ok(()) }
    }

    fn new_set(&mut self, requested: RequestedNames, pairs_requested: usize, now: MonoNs) -> u32 {
        let (format, requested) = (requested.format, Arc::new(requested));
        let id = self.sets.insert(SubscriptionSet {
            format,
            requested: Arc::clone(&requested),
            pairs: pairs_requested,
            symbols: Vec::new(),
            exchanges: Vec::new(),
            topics: Vec::new(),
            members: Vec::new(),
            live: Vec::new(),
            is_watching: false,
            changed: Vec::new(),
            burst: (0, Burst::default()),
        });
        let directory = Arc::clone(&self.directory);
        let table = self.names.of_format(format);
        let symbols = table.add(&requested.symbols, id, |name| symbol_meaning(&directory, format, name));
        let table = &mut self.names.exchanges;
        let exchanges = table.add(&requested.exchanges, id, |name| exchange_meaning(&directory, name));
        let mut topics = Vec::new();
        for (symbol, exchange) in pairs(format, &symbols, &exchanges) {
            topics.extend(self.topics.acquire((format, symbol, exchange), &self.names, now));
        }
        topics.shrink_to_fit();
        if let Some(set) = self.sets.get_mut(id) {
            (set.symbols, set.exchanges, set.topics) = (symbols, exchanges, topics);
            self.bytes += set.size();
        }
        self.hold(id, 0);
        self.set_ids.insert(requested, id);
        id
    }

    /// Clients of an extended set are notified when its prices from index `first` become stale.
    fn hold(&mut self, id: u32, first: usize) {
        let Some(set) = self.sets.get(id).filter(|set| set.format == PriceFormat::Extended) else { return };
        set.topics[first..].iter().for_each(|topic| self.topics.hold(*topic, id));
    }

    /// Whether `client` receives every change of the set `id`.
    fn set_live(&mut self, id: u32, client: u32, live: bool) {
        let Some(set) = self.sets.get_mut(id) else { return };
        set.live.retain(|c| *c != client);
        if live {
            set.live.push(client);
        }
        match (set.is_watching, !set.live.is_empty()) {
            (false, true) => {
                set.is_watching = true;
                self.watch_from(id, 0);
            }
            (true, false) => self.unwatch(id),
            _ => {}
        }
    }

    /// `client` leaves the set `id`.
    pub fn leave(&mut self, id: u32, client: u32) {
        let Some(set) = self.sets.get_mut(id) else { return };
        for list in [&mut set.members, &mut set.live] {
            if let Some(at) = list.iter().position(|c| *c == client) {
                list.swap_remove(at);
            }
        }
        if set.is_watching && set.live.is_empty() {
            self.unwatch(id);
        }
        if self.sets.get(id).is_some_and(|set| set.members.is_empty()) {
            self.remove_set(id);
        }
    }

    fn remove_set(&mut self, id: u32) {
        let Some(set) = self.sets.remove(id) else { return };
        self.bytes -= set.size();
        for topic in &set.topics {
            self.topics.release(*topic, id);
        }
        self.names.of_format(set.format).remove(&set.requested.symbols, id, &set.symbols);
        self.names.exchanges.remove(&set.requested.exchanges, id, &set.exchanges);
        self.set_ids.remove(&set.requested);
        self.touched.retain(|touched| *touched != id);
        shrink(&mut self.set_ids);
        self.topics.shrink();
    }

    /// A watching set watches its topics from index `first`.
    fn watch_from(&mut self, id: u32, first: usize) {
        let Some(set) = self.sets.get(id) else { return };
        for (index, topic) in set.topics.iter().enumerate().skip(first) {
            self.topics.watch(*topic, id, index as u32);
        }
    }

    fn unwatch(&mut self, id: u32) {
        let Some(set) = self.sets.get_mut(id) else { return };
        set.is_watching = false;
        set.topics.iter().for_each(|topic| self.topics.unwatch(*topic, id));
    }

    /// All prices of a set as one run of bytes; composed once per turn.
    pub fn burst(&mut self, id: u32, snapshot: &Snapshot<'_>) -> Burst {
        match self.sets.get(id) {
            Some(set) if set.burst.0 == self.arena.epoch => return set.burst.1.clone(),
            Some(_) => {}
            None => return Burst::default(),
        }
        let burst = self.burst_of(id, snapshot, |_| true);
        if let Some(set) = self.sets.get_mut(id) {
            set.burst = (self.arena.epoch, burst.clone());
        }
        burst
    }

    /// The prices of a set whose indexes are `wanted`.
    pub(crate) fn burst_of(&mut self, id: u32, snapshot: &Snapshot<'_>, wanted: impl Fn(usize) -> bool) -> Burst {
        self.burst_from(id, snapshot, Portion::WHOLE, wanted).0
    }

    /// The same for a portion of a set; also returns the index at which to continue.
    pub(crate) fn burst_from(
        &mut self,
        id: u32,
        snapshot: &Snapshot<'_>,
        portion: Portion,
        wanted: impl Fn(usize) -> bool,
    ) -> (Burst, usize) {
        let Portion { from, bytes_max, with_stale } = portion;
        let begin = self.arena.begin();
        let Some(set) = self.sets.get(id) else { return (Burst::default(), from) };
        let mut next = from;
        while next < set.topics.len() && self.arena.bytes.len() - begin.0 < bytes_max {
            let index = next;
            next += 1;
            if !wanted(index) {
                continue;
            }
            let Some(topic) = self.topics.refresh(set.topics[index], &self.names, snapshot) else { continue };
            let before = self.arena.bytes.len();
            if !topic.frame().is_empty() {
                self.arena.bytes.extend_from_slice(topic.frame());
            } else if with_stale {
                topic.encode_stale(&self.names, snapshot, &mut self.arena.bytes);
            }
            if self.arena.bytes.len() > before {
                self.arena.indexes.push(index as u32);
            }
        }
        (self.arena.burst_since(begin), next)
    }

    /// The cell of `pair` changed: adds it to the changed prices of the sets that receive every change.
    pub fn changed(&mut self, pair: PairId, snapshot: &Snapshot<'_>) {
        for at in 0..self.topics.watched_by(pair) {
            for (set_id, index) in self.topics.take_change(pair, at, &self.names, snapshot) {
                let Some(set) = self.sets.get_mut(*set_id).filter(|set| !set.live.is_empty()) else { continue };
                if set.changed.is_empty() {
                    self.touched.push(*set_id);
                }
                set.changed.push(*index);
            }
        }
    }

    /// The only client that receives every change of these prices has just received them: they are sent again only when
    /// they change.
    pub(crate) fn set_delivered(&mut self, id: u32, indexes: &IndexSet) {
        let Some(set) = self.sets.get(id).filter(|set| set.live.len() == 1) else { return };
        for (_, topic) in set.topics.iter().enumerate().filter(|(index, _)| indexes.contains(*index)) {
            self.topics.set_delivered(*topic);
        }
    }

    /// The next set with changed prices: what to write, the changed indexes, and when each price was read.
    pub(crate) fn next_touched(
        &mut self,
        snapshot: &Snapshot<'_>,
        arrivals: &mut Vec<Arrival>,
    ) -> Option<(u32, Burst, Vec<u32>)> {
        let id = self.touched.pop()?;
        let set = self.sets.get_mut(id)?;
        let changed = std::mem::take(&mut set.changed);
        let begin = self.arena.begin();
        arrivals.clear();
        for index in &changed {
            let topic = self.topics.refresh(set.topics[*index as usize], &self.names, snapshot);
            if let Some(topic) = topic.filter(|topic| !topic.frame().is_empty()) {
                self.arena.bytes.extend_from_slice(topic.frame());
                arrivals.push(topic.arrival());
                self.arena.indexes.push(*index);
            }
        }
        Some((id, self.arena.burst_since(begin), changed))
    }

    /// Returns the indexes of [`Self::next_touched`], so that their memory is reused.
    pub(crate) fn recycle_touched(&mut self, id: u32, mut changed: Vec<u32>) {
        changed.clear();
        if let Some(set) = self.sets.get_mut(id) {
            set.changed = changed;
        }
    }

    /// Whether some clients are notified when a price becomes stale.
    #[must_use]
    pub(crate) fn has_extended(&self) -> bool {
        self.topics.has_extended()
    }

    /// Finds the prices that became stale since the last call. Calls `notify` with the message and the members of each set
    /// that contains one, and with a function that finds its index there.
    pub(crate) fn take_stale(
        &mut self,
        snapshot: &Snapshot<'_>,
        mut notify: impl FnMut(&[u8], &[u32], &dyn Fn() -> Option<u32>),
    ) {
        let Self { topics, sets, names, .. } = self;
        topics.take_stale(names, snapshot, |id, frame, holders| {
            for set in holders.iter().filter_map(|set| sets.get(*set)) {
                let index = || set.topics.iter().position(|topic| *topic == id).map(|index| index as u32);
                notify(frame, &set.members, &index);
            }
        });
    }

    /// The spellings of `instrument` that clients use.
    pub fn spellings(&self, instrument: InstrumentId) -> impl Iterator<Item = (u32, &Name)> {
        self.names.symbols.spellings(instrument)
    }

    /// The instrument of the symbol `id`.
    #[must_use]
    pub fn instrument(&self, id: u32) -> Option<InstrumentId> {
        self.names.symbols.instrument(id)
    }

    /// The cells that can serve a pair of a stream, see [`Topics::stream_cells`].
    #[must_use]
    pub(crate) fn stream_cells(&self, pair: &str) -> (Box<[PairId]>, bool) {
        self.topics.stream_cells(pair)
    }

    /// The indexes of `after` that `before` did not have, or had in another format.
    #[must_use]
    pub fn added(&self, before: Option<u32>, after: u32) -> IndexSet {
        let known: FxHashSet<u32> = before.map_or(&[] as &[u32], |id| self.topics_of(id)).iter().copied().collect();
        self.indexes_of(after, |topic| !known.contains(&topic))
    }

    /// The indexes of the set `id` whose quote was read after `since`.
    #[must_use]
    pub(crate) fn newer(&self, id: u32, since: MonoNs, snapshot: &Snapshot<'_>) -> IndexSet {
        let is_newer = |cell: &PairId| snapshot.matrix.load(*cell).received > since;
        self.indexes_of(id, |topic| self.topics.get(topic).is_some_and(|topic| topic.cells().iter().any(is_newer)))
    }

    fn indexes_of(&self, id: u32, wanted: impl Fn(u32) -> bool) -> IndexSet {
        let mut indexes = IndexSet::default();
        let found = self.topics_of(id).iter().enumerate().filter(|(_, topic)| wanted(**topic));
        found.for_each(|(index, _)| indexes.insert(index));
        indexes
    }
}

/// The pairs of a subscription to these names; a stream's have no exchange.
fn pairs<'a>(
    format: PriceFormat,
    symbols: &'a [u32],
    exchanges: &'a [u32],
) -> impl Iterator<Item = (u32, u32)> + use<'a> {
    let exchanges = if format.is_stream() { &[0] } else { exchanges };
    symbols.iter().flat_map(move |symbol| exchanges.iter().map(move |exchange| (*symbol, *exchange)))
}

fn symbol_meaning(directory: &Directory, format: PriceFormat, name: &str) -> Meaning {
    let stands_in = || directory.instrument_named(&format!("{name}T")).map(|_| None);
    let alias = || if format.is_stream() && name.ends_with("/USD") { stands_in() } else { None };
    directory.instrument_named(name).map(Some).or_else(alias)
}

fn exchange_meaning(directory: &Directory, name: &str) -> Meaning {
    directory.venue_named(name).map(|_| None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::market::directory::VenueEntry;
    use proptest::prelude::*;

    const NAMES: [&str; 5] = ["A/USD", "a/usd", "B/USDT", "C/USDT", "unknown"];

    fn subscriptions() -> Subscriptions {
        let venue = |name: &str| VenueEntry {
            name: name.into(),
            taker_fee_pct: crate::market::Decimal::ZERO,
            native: vec![Some(String::new()); 3],
        };
        let symbols = ["A/USD", "B/USDT", "C/USDT"].map(str::to_owned).to_vec();
        let directory = Arc::new(Directory::new(symbols, vec![venue("x"), venue("y")]));
        let changes = Arc::new(Changes::new(directory.pairs()));
        Subscriptions::new(directory, changes, &[], (usize::MAX, usize::MAX))
    }

    fn chosen(all: &[&str], mask: u8) -> Vec<String> {
        all.iter().enumerate().filter(|(at, _)| mask >> at & 1 == 1).map(|(_, name)| (*name).to_owned()).collect()
    }

    /// Exactly what live clients subscribe to is watched.
    fn check(subscriptions: &Subscriptions) {
        for (id, set) in subscriptions.sets.iter() {
            assert!(!set.members.is_empty(), "a set without members");
            assert_eq!(set.is_watching, !set.live.is_empty());
            assert!(set.live.iter().all(|client| set.members.contains(client)));
            for topic in &set.topics {
                let uses = subscriptions.topics.uses_by(*topic, id);
                assert_eq!(uses, (usize::from(set.is_watching), set.format == PriceFormat::Extended));
            }
        }
        subscriptions.topics.check();
    }

    proptest! {
        #[test]
        fn nothing_is_left_when_all_clients_have_left(
            steps in proptest::collection::vec((0u32..6, 0u8..4, any::<bool>(), 0u8..32, 0u8..4), 1..60)
        ) {
            use PriceFormat::{Extended, ExtendedStream, Plain, Stream};
            let mut subscriptions = subscriptions();
            let mut sets: HashMap<u32, u32> = HashMap::new();
            for (client, format, live, symbols, exchanges) in steps {
                let format = [Plain, Extended, Stream, ExtendedStream][usize::from(format)];
                let exchanges = if format.is_stream() { vec![] } else { chosen(&["x", "Y"], exchanges) };
                let symbols = chosen(&NAMES, symbols);
                let request = SubscriptionRequest { live, format, symbols: &symbols, exchanges: &exchanges };
                let before = sets.get(&client).copied();
                let after = subscriptions.join(before, client, &request, MonoNs(1)).unwrap();
                if let Some(before) = before.filter(|b| after != Some(*b)) {
                    subscriptions.leave(before, client);
                }
                match after {
                    Some(after) => sets.insert(client, after),
                    None => sets.remove(&client),
                };
                check(&subscriptions);
            }
            for (client, set) in sets {
                subscriptions.leave(set, client);
            }
            prop_assert_eq!(subscriptions.topics.check(), 0);
            prop_assert_eq!((subscriptions.sets.len(), subscriptions.set_ids.len(), subscriptions.size()), (0, 0, 0));
            let names = &subscriptions.names;
            prop_assert_eq!((names.symbols.len(), names.exchanges.len(), names.pairs.len()), (0, 0, 0));
        }
    }
}
