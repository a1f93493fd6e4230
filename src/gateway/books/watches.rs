//! Watched order books: each combination of book, spelling and depth once for all clients that watch it. A book is
//! compared once per interval and encoded only if it changed.
//!
//! Every state of a watched book has a version, and a client stores only the version that it was last sent. A slow client
//! receives the newest state when it reads again. If the book was void in between, that message is stored with the newest
//! state and sent before it. Pure: books and time come in with a [`Snapshot`]. Runs on the gateway's thread.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::gateway::slab::Slab;
use crate::gateway::view::Snapshot;
use crate::market::book::{BookStamp, BookView};
use crate::market::{InstrumentId, PairId, VenueId};
use crate::metrics::{Board, LinkState};
use crate::protocol::book::{self, Absence, BookState, ShownBook};
use crate::protocol::health::KnownBooks;
use crate::time::{MS, MonoNs};
use crate::venues;
use crate::wire::websocket::frame_text;

/// Where a book is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BookLocation {
    /// In this cell of the book table.
    Pair(PairId, VenueId),
    /// The exchange does not quote the symbol.
    NotQuoted,
    /// The symbol or the exchange is unknown.
    Unknown,
}

impl BookLocation {
    /// The location of the book of `symbol` on `exchange`.
    #[must_use]
    pub fn find(symbol: &str, exchange: &str, snapshot: &Snapshot<'_>) -> Self {
        let directory = snapshot.directory;
        match (directory.instrument_named(symbol), directory.venue_named(exchange)) {
            (Some(instrument), Some(venue)) if directory.is_quoted(instrument, venue) => {
                Self::Pair(directory.pair(instrument, venue), venue)
            }
            (Some(_), Some(_)) => Self::NotQuoted,
            _ => Self::Unknown,
        }
    }

    /// Loads the book, up to `levels` levels a side, into `view` and returns its state.
    pub fn load(self, levels: usize, view: &mut BookView, snapshot: &Snapshot<'_>) -> BookState {
        let absence = match self {
            Self::Pair(pair, venue) if snapshot.books.levels() > 0 => {
                return load_pair((pair, venue), levels, view, snapshot);
            }
            Self::Pair(..) => Absence::Off,
            Self::NotQuoted => Absence::NotQuoted,
            Self::Unknown => Absence::Unknown,
        };
        *view = BookView::default();
        BookState::None(absence)
    }
}

fn load_pair(
    (pair, venue): (PairId, VenueId),
    levels: usize,
    view: &mut BookView,
    snapshot: &Snapshot<'_>,
) -> BookState {
    snapshot.books.load(pair, levels, view);
    if is_led_elsewhere(snapshot.board, venue) {
        BookState::None(Absence::Elsewhere(leader(snapshot.board, venue)))
    } else if view.changes == 0 {
        BookState::None(if is_offered(venue, snapshot) { Absence::Waiting } else { Absence::NotOffered })
    } else if let Some(reason) = view.void {
        BookState::Void(reason)
    } else if is_stale(view.stamp.received, snapshot) {
        BookState::Stale
    } else {
        BookState::Live
    }
}

/// Whether this process subscribes to books of `venue` while it is connected to it.
fn is_offered(venue: VenueId, snapshot: &Snapshot<'_>) -> bool {
    venues::venue(&snapshot.directory.venue(venue).name).is_some_and(|it| it.facts().books.is_some())
}

fn is_stale(received: MonoNs, snapshot: &Snapshot<'_>) -> bool {
    snapshot.quote_now.since(received) > snapshot.settings.quotes.stale_after_ns()
}

/// Only the instance that leads a venue is connected to it.
fn is_led_elsewhere(board: &Board, venue: VenueId) -> bool {
    board.venues[venue.index()].connection.state() == LinkState::Standby
}

fn leader(board: &Board, venue: VenueId) -> Option<Arc<String>> {
    board.cluster.as_ref()?.venues.get(venue.index())?.leader.load_full()
}

/// A book as clients receive it now. `names`: symbol and exchange as JSON strings.
#[must_use]
pub fn shown<'a>(
    names: (&'a [u8], &'a [u8]),
    state: &'a BookState,
    view: &'a BookView,
    now: &Snapshot<'_>,
) -> ShownBook<'a> {
    let age_ms = now.quote_now.since(view.stamp.received) / MS;
    ShownBook { symbol: names.0, exchange: names.1, state, view, age_ms, timestamp: now.unix.ms() }
}

/// Counts and ages of the books of each venue.
pub(crate) fn survey(known: &mut Vec<KnownBooks>, snapshot: &Snapshot<'_>) {
    let directory = snapshot.directory;
    known.clear();
    let mut view = BookView::default();
    for venue in (0..directory.venues().len() as u16).map(VenueId) {
        let mut books = KnownBooks::default();
        let instruments = (0..directory.instruments().len() as u32).map(InstrumentId);
        let is_subscribed = snapshot.books.levels() > 0 && is_offered(venue, snapshot);
        let is_subscribed = is_subscribed && !is_led_elsewhere(snapshot.board, venue);
        for instrument in instruments.filter(|it| is_subscribed && directory.is_quoted(*it, venue)) {
            let location = BookLocation::Pair(directory.pair(instrument, venue), venue);
            let is_live = location.load(0, &mut view, snapshot) == BookState::Live;
            books.add(is_live, snapshot.quote_now.since(view.stamp.received));
        }
        known.push(books);
    }
}

/// A book that is watched in one spelling and at one depth.
pub(crate) struct BookWatch {
    /// Approximate memory that it was counted with, in bytes.
    bytes: usize,
    symbol: Box<str>,
    exchange: Box<str>,
    symbol_json: Box<[u8]>,
    exchange_json: Box<[u8]>,
    /// Levels a side.
    pub levels: usize,
    location: BookLocation,
    /// Edition of the directory in which `location` was found.
    edition: u64,
    /// Clients.
    members: Vec<u32>,
    /// Version of the state in `frame`; from 1.
    version: u64,
    state: BookState,
    changes: u64,
    stamp: BookStamp,
    /// The encoded message of the current state.
    frame: Vec<u8>,
    voids: u64,
    /// The last void state: its version and its message.
    void: (u64, Vec<u8>),
}

impl BookWatch {
    /// The symbol as its clients spell it.
    #[must_use]
    pub fn symbol(&self) -> &str {
        &self.symbol
    }

    /// The exchange as its clients spell it.
    #[must_use]
    pub fn exchange(&self) -> &str {
        &self.exchange
    }

    /// Symbol and exchange as JSON strings, and the depth.
    #[must_use]
    pub(crate) fn requested(&self) -> (&[u8], &[u8], usize) {
        (&self.symbol_json, &self.exchange_json, self.levels)
    }

    /// Whether its state is newer than the version `sent`.
    #[must_use]
    pub(crate) const fn is_newer_than(&self, sent: u64) -> bool {
        self.version > sent
    }

    /// Appends what a client must receive to which the version `sent` was sent.
    pub(crate) fn append_update(&self, sent: u64, out: &mut Vec<u8>) -> BookUpdate {
        let (void_version, void) = &self.void;
        let was_void = *void_version > sent && *void_version < self.version;
        if was_void {
            out.extend_from_slice(void);
        }
        out.extend_from_slice(&self.frame);
        let messages = 1 + u64::from(was_void);
        BookUpdate { messages, missed: self.version.saturating_sub(sent + messages), version: self.version }
    }

    /// Whether the state cannot have changed: a cheap check for every interval.
    #[inline]
    fn is_unchanged(&self, snapshot: &Snapshot<'_>) -> bool {
        let BookLocation::Pair(pair, venue) = self.location else { return false };
        self.state == BookState::Live
            && snapshot.directory.edition() == self.edition
            && snapshot.books.changes(pair) == self.changes
            && !is_stale(self.stamp.received, snapshot)
            && !is_led_elsewhere(snapshot.board, venue)
    }

    /// Compares the book with the last state; `true` if it is another. `encode_always`: encodes the message even if only
    /// its age changed.
    fn update(&mut self, snapshot: &Snapshot<'_>, view: &mut BookView, encode_always: bool) -> bool {
        // Names are looked up only after a change of the directory.
        let edition = snapshot.directory.edition();
        if self.edition != edition {
            self.edition = edition;
            self.location = BookLocation::find(&self.symbol, &self.exchange, snapshot);
        }
        let state = self.location.load(self.levels, view, snapshot);
        self.stamp = view.stamp;
        let has_levels = matches!(state, BookState::Live | BookState::Stale);
        let is_new = state != self.state || (has_levels && view.changes != self.changes);
        // It was void since the last look, and is not any more.
        if let Some(reason) = view.last_void.filter(|_| view.voids > self.voids && !matches!(state, BookState::Void(_)))
        {
            self.version += 1;
            self.void.0 = self.version;
            let (state, levels) =
                (BookState::Void(reason), (std::mem::take(&mut view.bids), std::mem::take(&mut view.asks)));
            encode((&self.symbol_json, &self.exchange_json), &state, view, snapshot, &mut self.void.1);
            (view.bids, view.asks) = levels;
        }
        let is_void_again = view.voids > self.voids && matches!(state, BookState::Void(_));
        (self.changes, self.voids) = (view.changes, view.voids);
        if is_new || is_void_again || encode_always {
            encode((&self.symbol_json, &self.exchange_json), &state, view, snapshot, &mut self.frame);
        }
        if is_new || is_void_again {
            self.version += 1;
            if matches!(state, BookState::Void(_)) {
                self.void.0 = self.version;
                self.void.1.clone_from(&self.frame);
            }
        }
        self.state = state;
        is_new || is_void_again
    }
}

/// What a client receives of a book.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BookUpdate {
    /// Number of messages.
    pub messages: u64,
    /// Number of states in between that are not sent.
    pub missed: u64,
    /// Version that the client has after it.
    pub version: u64,
}

/// A watched book of one client.
#[derive(Clone, Copy, Debug)]
pub struct WatchedBook {
    /// Id of the watch.
    pub watch: u32,
    /// Version that was last sent.
    pub sent: u64,
}

fn encode(names: (&[u8], &[u8]), state: &BookState, view: &BookView, snapshot: &Snapshot<'_>, frame: &mut Vec<u8>) {
    frame.clear();
    frame_text(frame, |out| book::message(&shown(names, state, view, snapshot), out));
}

/// Symbol, exchange and levels a side.
type WatchKey = (Box<str>, Box<str>, usize);

/// Memory of a watch without its names and levels, in bytes: its own fields, its entries in tables, its messages.
const WATCH_BYTES: usize = 512;
/// How often the names of a watch are stored.
const NAME_COPIES: usize = 4;
/// Memory of one level of one side in an encoded message, in bytes.
const LEVEL_BYTES: usize = 32;

/// Approximate memory of the watch of a book, in bytes. A book that is not quoted has no levels.
fn watch_bytes((symbol, exchange, levels): (&str, &str, usize), location: BookLocation) -> usize {
    let levels = if matches!(location, BookLocation::Pair(..)) { levels } else { 0 };
    WATCH_BYTES + NAME_COPIES * (symbol.len() + exchange.len()) + 2 * levels * LEVEL_BYTES
}

/// The memory that a client's watches would take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct WatchCost {
    /// Books that no exchange quotes.
    pub(crate) unquoted: usize,
    /// Watches that no other client has, in bytes.
    pub own: usize,
    /// The part of `own` for watches that do not exist yet.
    pub new: usize,
}

/// See the file's head.
#[derive(Default)]
pub(crate) struct BookWatches {
    ids: HashMap<WatchKey, u32>,
    watches: Slab<BookWatch>,
    /// Approximate memory of all watches, in bytes.
    bytes: usize,
    /// Where the next sweep continues.
    next: u32,
    view: BookView,
}

/// Books that are compared in one turn, so that prices and alerts do not wait longer.
const UPDATES_MAX: usize = 64;

impl BookWatches {
    /// Whether no book is watched.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.watches.is_empty()
    }

    /// Approximate memory of all watches, in bytes.
    #[must_use]
    pub const fn size(&self) -> usize {
        self.bytes
    }

    /// What it would cost if a client, which watches `watched` now, watched the books `wanted` (names and levels a side).
    #[must_use]
    pub fn cost<'a>(
        &self,
        wanted: impl Iterator<Item = (&'a str, &'a str, usize)>,
        watched: &[WatchedBook],
        snapshot: &Snapshot<'_>,
    ) -> WatchCost {
        let mine: HashSet<u32> = watched.iter().map(|book| book.watch).collect();
        let mut cost = WatchCost::default();
        for book in wanted {
            let location = BookLocation::find(book.0, book.1, snapshot);
            cost.unquoted += usize::from(!matches!(location, BookLocation::Pair(..)));
            let id = self.ids.get(&(book.0.into(), book.1.into(), book.2));
            let bytes = watch_bytes(book, location);
            match id.and_then(|id| Some((id, self.watches.get(*id)?))) {
                None => (cost.own, cost.new) = (cost.own + bytes, cost.new + bytes),
                Some((id, watch)) if watch.members.len() == 1 && mine.contains(id) => cost.own += bytes,
                Some(_) => {}
            }
        }
        cost
    }

    /// The watch `id`.
    #[inline]
    #[must_use]
    pub fn get(&self, id: u32) -> Option<&BookWatch> {
        self.watches.get(id)
    }

    /// Adds `client` to the watch of this book and returns its id.
    pub fn join(
        &mut self,
        (symbol, exchange, levels): (&str, &str, usize),
        client: u32,
        snapshot: &Snapshot<'_>,
    ) -> u32 {
        let key: WatchKey = (symbol.into(), exchange.into(), levels);
        let id = match self.ids.get(&key) {
            Some(id) => *id,
            None => self.insert(key, snapshot),
        };
        if let Some(watch) = self.watches.get_mut(id) {
            watch.members.push(client);
        }
        id
    }

    fn insert(&mut self, key: WatchKey, snapshot: &Snapshot<'_>) -> u32 {
        let json = |name: &str| {
            let mut json = Vec::with_capacity(name.len() + 2);
            crate::protocol::string(name, &mut json);
            json.into_boxed_slice()
        };
        let location = BookLocation::find(&key.0, &key.1, snapshot);
        let bytes = watch_bytes((&key.0, &key.1, key.2), location);
        self.bytes += bytes;
        let mut watch = BookWatch {
            bytes,
            symbol_json: json(&key.0),
            exchange_json: json(&key.1),
            symbol: key.0.clone(),
            exchange: key.1.clone(),
            levels: key.2,
            location,
            edition: snapshot.directory.edition(),
            members: Vec::new(),
            version: 0,
            state: BookState::None(Absence::Waiting),
            changes: 0,
            stamp: BookStamp::default(),
            frame: Vec::new(),
            voids: u64::MAX,
            void: (0, Vec::new()),
        };
        watch.update(snapshot, &mut self.view, true);
        // States before the first client are not sent.
        (watch.version, watch.void.0) = (1, 0);
        let id = self.watches.insert(watch);
        self.ids.insert(key, id);
        id
    }

    /// `client` no longer watches `id`.
    pub fn leave(&mut self, id: u32, client: u32) {
        let Some(watch) = self.watches.get_mut(id) else { return };
        if let Some(at) = watch.members.iter().position(|member| *member == client) {
            watch.members.swap_remove(at);
        }
        if watch.members.is_empty()
            && let Some(watch) = self.watches.remove(id)
        {
            self.bytes -= watch.bytes;
            self.ids.remove(&(watch.symbol, watch.exchange, watch.levels));
            if self.ids.len() < self.ids.capacity() / 4 {
                self.ids.shrink_to_fit();
            }
        }
    }

    /// Compares all books, a limited number of possibly changed ones per call, and calls `changed` with the clients of each
    /// that changed. `true` when all are compared and the next call begins again.
    pub(crate) fn sweep(&mut self, snapshot: &Snapshot<'_>, mut changed: impl FnMut(&[u32])) -> bool {
        let mut updates = 0;
        while self.next < self.watches.end() {
            if updates == UPDATES_MAX {
                return false;
            }
            let watch = self.watches.get_mut(self.next).filter(|watch| !watch.is_unchanged(snapshot));
            self.next += 1;
            let Some(watch) = watch else { continue };
            updates += 1;
            if watch.update(snapshot, &mut self.view, false) {
                changed(&watch.members);
            }
        }
        self.next = 0;
        true
    }

    /// Updates the message of one book, its age included; calls `changed` with its clients if the state is another.
    pub fn renew(&mut self, id: u32, snapshot: &Snapshot<'_>, mut changed: impl FnMut(&[u32])) {
        if let Some(watch) = self.watches.get_mut(id)
            && watch.update(snapshot, &mut self.view, true)
        {
            changed(&watch.members);
        }
    }

    /// The version that a client which joins `id` counts as having: it is sent only the newest state.
    #[must_use]
    pub(crate) fn version_at_join(&self, id: u32) -> u64 {
        self.watches.get(id).map_or(0, |watch| watch.version - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::options::GatewaySettings;
    use crate::gateway::view::Clocks;
    use crate::market::book::{Book, Side};
    use crate::market::directory::VenueEntry;
    use crate::market::quote::QuoteOptions;
    use crate::market::{Decimal, Directory, Level};
    use crate::matrix::QuoteMatrix;
    use crate::matrix::books::BookTable;
    use crate::matrix::days::DayTable;
    use crate::metrics::cluster::ClusterBoard;
    use crate::time::{SECOND, UnixNs};

    struct Fixture {
        settings: GatewaySettings,
        books: BookTable,
        directory: Directory,
        board: Board,
        matrix: Arc<QuoteMatrix>,
        days: DayTable,
        clocks: Clocks,
    }

    impl Fixture {
        fn new() -> Self {
            let native = vec![Some("BTC-USDT".to_owned()), None];
            let entry = VenueEntry { name: "okx".into(), taker_fee_pct: Decimal::ZERO, native };
            let directory = Directory::new(vec!["BTC/USDT".into(), "ETH/USDT".into()], vec![entry]);
            let mut board = Board::new(MonoNs(0), 1, 1);
            board.cluster = Some(ClusterBoard::new("a_1_2".to_owned(), 1));
            Self {
                settings: GatewaySettings {
                    quotes: QuoteOptions { stale_after_ms: 1000 },
                    ..GatewaySettings::default()
                },
                books: BookTable::new(directory.pairs(), 5),
                matrix: QuoteMatrix::new(directory.pairs()).0.load_full(),
                days: DayTable::new(directory.pairs()),
                clocks: Clocks::default(),
                directory,
                board,
            }
        }

        fn snapshot(&self) -> Snapshot<'_> {
            Snapshot {
                settings: &self.settings,
                directory: &self.directory,
                matrix: &self.matrix,
                days: &self.days,
                books: &self.books,
                board: &self.board,
                index: 0,
                clocks: &self.clocks,
                turn: 1,
                client_now: MonoNs(100 * SECOND),
                quote_now: MonoNs(100 * SECOND),
                unix: UnixNs::from_ms(1),
            }
        }
    }

    #[test]
    fn an_instance_that_does_not_lead_a_venue_names_the_leader_and_expects_no_books_of_it() {
        let fixture = Fixture::new();
        let (mut view, mut known) = (BookView::default(), Vec::new());
        let location = BookLocation::find("btc/usdt", "OKX", &fixture.snapshot());
        assert_eq!(location.load(5, &mut view, &fixture.snapshot()), BookState::None(Absence::Waiting));
        survey(&mut known, &fixture.snapshot());
        assert_eq!(known, [KnownBooks { wanted: 1, live: 0, oldest_ns: 0 }]);
        fixture.board.venues[0].connection.set_state(LinkState::Standby, MonoNs(1));
        let leader = Arc::new("b_3_4".to_owned());
        fixture.board.cluster.as_ref().unwrap().venues[0].leader.store(Some(Arc::clone(&leader)));
        let state = location.load(5, &mut view, &fixture.snapshot());
        assert_eq!(state, BookState::None(Absence::Elsewhere(Some(leader))));
        survey(&mut known, &fixture.snapshot());
        assert_eq!(known, [KnownBooks::default()]);
    }

    #[test]
    fn a_sweep_pauses_after_a_number_of_books_and_omits_none() {
        let (fixture, mut watches) = (Fixture::new(), BookWatches::default());
        for levels in 1..=UPDATES_MAX as u32 + 10 {
            watches.join(("BTC/USDT", "okx", levels as usize), levels, &fixture.snapshot());
        }
        let mut book = Book::default();
        book.set(Side::Bid, Level { price: Decimal::new(1, 0), size: Decimal::new(1, 0) });
        fixture.books.publish(PairId(0), &book, BookStamp::default());
        let mut changed = Vec::new();
        assert!(!watches.sweep(&fixture.snapshot(), |members| changed.extend_from_slice(members)));
        assert_eq!(changed.len(), UPDATES_MAX);
        assert!(watches.sweep(&fixture.snapshot(), |members| changed.extend_from_slice(members)));
        assert!(changed.iter().copied().eq(1..=UPDATES_MAX as u32 + 10));
    }

    #[test]
    fn nothing_is_left_when_all_clients_have_left() {
        let (fixture, mut watches) = (Fixture::new(), BookWatches::default());
        let join = |levels: &usize| watches.join(("BTC/USDT", "okx", *levels), 7, &fixture.snapshot());
        let ids: Vec<u32> = [3, 3, 4].iter().map(join).collect();
        assert!(ids[0] == ids[1] && ids[0] != ids[2]);
        ids.iter().for_each(|id| watches.leave(*id, 7));
        assert!(watches.is_empty() && watches.ids.is_empty());
        assert_eq!(watches.size(), 0);
    }
}
