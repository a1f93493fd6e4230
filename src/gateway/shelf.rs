//! Which order books are watched by whom: each book, spelling and depth once, however many clients share it. A book
//! is looked at once per beat, and put into text only when it changed.
//!
//! Every state of a watched book has a number, and a client only keeps the number of the last one that it was told: who
//! reads slowly gets the newest state when it reads again. That the book became void in between is kept beside the
//! newest state and told before it. Pure: the table and time come in with a [`Look`]. Runs on the gateway's thread.

use std::collections::HashMap;
use std::sync::Arc;

use crate::gateway::desk::View;
use crate::gateway::slots::Slots;
use crate::market::book::{BookStamp, BookView};
use crate::market::{Directory, InstrumentId, PairId, VenueId};
use crate::matrix::books::BookTable;
use crate::metrics::{Board, LinkState};
use crate::protocol::book::{self, Absence, Shown, State};
use crate::protocol::health::KnownBooks;
use crate::time::{MS, MonoNs};
use crate::venues;
use crate::wire::websocket::frame_text;

/// Where a book is to be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Here, if it is anywhere.
    Pair(PairId, VenueId),
    /// The exchange does not quote the symbol.
    NotQuoted,
    /// One of the two names is nobody's.
    Unknown,
}

/// What books are looked up in, and when.
#[derive(Clone, Copy)]
pub struct Look<'a> {
    /// The books.
    pub table: &'a BookTable,
    /// Names.
    pub directory: &'a Directory,
    /// Gauges and time.
    pub view: View<'a>,
}

impl Look<'_> {
    /// Where the book of `symbol` on `exchange` is.
    #[must_use]
    pub fn place(&self, symbol: &str, exchange: &str) -> Place {
        match (self.directory.instrument_named(symbol), self.directory.venue_named(exchange)) {
            (Some(instrument), Some(venue)) if self.directory.is_quoted(instrument, venue) => {
                Place::Pair(self.directory.pair(instrument, venue), venue)
            }
            (Some(_), Some(_)) => Place::NotQuoted,
            _ => Place::Unknown,
        }
    }

    /// Whether this process asks `venue` for books, as long as it is connected to it.
    #[must_use]
    pub fn is_offered(&self, venue: VenueId) -> bool {
        venues::venue(&self.directory.venue(venue).name).is_some_and(|it| it.facts().books.is_some())
    }

    /// The book at `place` now, up to `levels` levels a side, in `into`; what it is worth.
    pub fn state(&self, place: Place, levels: usize, into: &mut BookView) -> State {
        let absence = match place {
            Place::Pair(pair, venue) if self.table.levels() > 0 => return self.held(pair, venue, levels, into),
            Place::Pair(..) => Absence::Off,
            Place::NotQuoted => Absence::NotQuoted,
            Place::Unknown => Absence::Unknown,
        };
        *into = BookView::default();
        State::None(absence)
    }

    fn held(&self, pair: PairId, venue: VenueId, levels: usize, into: &mut BookView) -> State {
        self.table.load(pair, levels, into);
        if is_led_elsewhere(self.view.board, venue) {
            State::None(Absence::Elsewhere(leader(self.view.board, venue)))
        } else if into.changes == 0 {
            State::None(if self.is_offered(venue) { Absence::Waiting } else { Absence::NotOffered })
        } else if let Some(why) = into.void {
            State::Void(why)
        } else if self.is_old(into.stamp.received) {
            State::Stale
        } else {
            State::Live
        }
    }

    fn is_old(&self, received: MonoNs) -> bool {
        self.view.now.since(received) > self.view.stale_after_ns
    }

    /// A book as clients are told of it now.
    #[must_use]
    pub fn shown<'a>(&self, symbol: &'a [u8], exchange: &'a [u8], state: &'a State, view: &'a BookView) -> Shown<'a> {
        let age_ms = self.view.now.since(view.stamp.received) / MS;
        Shown { symbol, exchange, state, view, age_ms, timestamp: self.view.unix.ms() }
    }

    /// What is known of the books of each venue.
    pub fn survey(&self, known: &mut Vec<KnownBooks>) {
        known.clear();
        let mut view = BookView::default();
        for venue in (0..self.directory.venues().len() as u16).map(VenueId) {
            let mut books = KnownBooks::default();
            let instruments = (0..self.directory.instruments().len() as u32).map(InstrumentId);
            let is_asked = self.table.levels() > 0 && self.is_offered(venue);
            let is_asked = is_asked && !is_led_elsewhere(self.view.board, venue);
            for instrument in instruments.filter(|it| is_asked && self.directory.is_quoted(*it, venue)) {
                let place = Place::Pair(self.directory.pair(instrument, venue), venue);
                let is_live = self.state(place, 0, &mut view) == State::Live;
                books.add(is_live, self.view.now.since(view.stamp.received));
            }
            known.push(books);
        }
    }
}

/// Only the instance that leads a venue is connected to it.
fn is_led_elsewhere(board: &Board, venue: VenueId) -> bool {
    board.venues[venue.index()].state() == LinkState::Standby
}

fn leader(board: &Board, venue: VenueId) -> Option<Arc<String>> {
    board.cluster.as_ref()?.venues.get(venue.index())?.leader.load_full()
}

/// A book that is watched, as some clients spell it and at one depth.
pub struct Watch {
    symbol: Box<str>,
    exchange: Box<str>,
    symbol_json: Box<[u8]>,
    exchange_json: Box<[u8]>,
    /// Levels a side.
    pub levels: usize,
    place: Place,
    /// Edition of the directory when it was looked for.
    named: u64,
    /// Clients.
    members: Vec<u32>,
    /// Number of the state that `frame` tells; from 1.
    version: u64,
    state: State,
    changes: u64,
    stamp: BookStamp,
    /// The encoded message of the current state.
    frame: Vec<u8>,
    voids: u64,
    /// When it last became void: the number of that state, and its message.
    void: (u64, Vec<u8>),
}

impl Watch {
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
    pub fn asked(&self) -> (&[u8], &[u8], usize) {
        (&self.symbol_json, &self.exchange_json, self.levels)
    }

    /// Whether `told` is not its newest state.
    #[must_use]
    pub const fn has_news(&self, told: u64) -> bool {
        self.version > told
    }

    /// Appends what a client has to hear that was told the state `told`. How many messages that is, how many states it
    /// never heard of, and what it was told then.
    pub fn tell(&self, told: u64, out: &mut Vec<u8>) -> Told {
        let (void_version, void) = &self.void;
        let was_void = *void_version > told && *void_version < self.version;
        if was_void {
            out.extend_from_slice(void);
        }
        out.extend_from_slice(&self.frame);
        let messages = 1 + u64::from(was_void);
        Told { messages, missed: self.version.saturating_sub(told + messages), version: self.version }
    }

    /// Whether nothing can be new, seen from outside: looked at each beat.
    #[inline]
    fn is_as_before(&self, look: &Look<'_>) -> bool {
        let Place::Pair(pair, venue) = self.place else { return false };
        self.state == State::Live
            && look.directory.edition() == self.named
            && look.table.changes(pair) == self.changes
            && !look.is_old(self.stamp.received)
            && !is_led_elsewhere(look.view.board, venue)
    }

    fn look(&mut self, look: &Look<'_>, view: &mut BookView, remake: bool) -> bool {
        // Looking for names is no work for every beat.
        let named = look.directory.edition();
        if self.named != named {
            (self.named, self.place) = (named, look.place(&self.symbol, &self.exchange));
        }
        let state = look.state(self.place, self.levels, view);
        self.stamp = view.stamp;
        let has_levels = matches!(state, State::Live | State::Stale);
        let is_new = state != self.state || (has_levels && view.changes != self.changes);
        // It was void since the last look, and is something else by now.
        if let Some(why) = view.last_void.filter(|_| view.voids > self.voids && !matches!(state, State::Void(_))) {
            self.version += 1;
            self.void.0 = self.version;
            let (state, levels) = (State::Void(why), (std::mem::take(&mut view.bids), std::mem::take(&mut view.asks)));
            write(look, (&self.symbol_json, &self.exchange_json), &state, view, &mut self.void.1);
            (view.bids, view.asks) = levels;
        }
        let is_void_again = view.voids > self.voids && matches!(state, State::Void(_));
        (self.changes, self.voids) = (view.changes, view.voids);
        if is_new || is_void_again || remake {
            write(look, (&self.symbol_json, &self.exchange_json), &state, view, &mut self.frame);
        }
        if is_new || is_void_again {
            self.version += 1;
            if matches!(state, State::Void(_)) {
                self.void.0 = self.version;
                self.void.1.clone_from(&self.frame);
            }
        }
        self.state = state;
        is_new || is_void_again
    }
}

/// What a client heard of a book.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// Messages.
    pub messages: u64,
    /// States in between that it will not hear of.
    pub missed: u64,
    /// The state that it knows now.
    pub version: u64,
}

fn write(look: &Look<'_>, (symbol, exchange): (&[u8], &[u8]), state: &State, view: &BookView, frame: &mut Vec<u8>) {
    frame.clear();
    frame_text(frame, |out| book::message(&look.shown(symbol, exchange, state, view), out));
}

type Key = (Box<str>, Box<str>, usize);

/// See the file's head.
#[derive(Default)]
pub struct Shelf {
    ids: HashMap<Key, u32>,
    watches: Slots<Watch>,
    /// Where the sweep goes on.
    next: u32,
    view: BookView,
}

/// Books that are put into text in one turn, before prices and alerts are looked at again.
const LOOKS_MAX: usize = 64;

impl Shelf {
    /// Whether nobody watches anything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.watches.is_empty()
    }

    /// The watch `id`.
    #[inline]
    #[must_use]
    pub fn watch(&self, id: u32) -> Option<&Watch> {
        self.watches.get(id)
    }

    /// Makes `client` one of those who watch this book; which watch that is.
    pub fn join(&mut self, symbol: &str, exchange: &str, levels: usize, client: u32, look: &Look<'_>) -> u32 {
        let key: Key = (symbol.into(), exchange.into(), levels);
        let id = match self.ids.get(&key) {
            Some(id) => *id,
            None => self.begin(key, look),
        };
        if let Some(watch) = self.watches.get_mut(id) {
            watch.members.push(client);
        }
        id
    }

    fn begin(&mut self, key: Key, look: &Look<'_>) -> u32 {
        let json = |name: &str| {
            let mut json = Vec::with_capacity(name.len() + 2);
            crate::protocol::string(name, &mut json);
            json.into_boxed_slice()
        };
        let mut watch = Watch {
            symbol_json: json(&key.0),
            exchange_json: json(&key.1),
            symbol: key.0.clone(),
            exchange: key.1.clone(),
            levels: key.2,
            place: look.place(&key.0, &key.1),
            named: look.directory.edition(),
            members: Vec::new(),
            version: 0,
            state: State::None(Absence::Waiting),
            changes: 0,
            stamp: BookStamp::default(),
            frame: Vec::new(),
            voids: u64::MAX,
            void: (0, Vec::new()),
        };
        watch.look(look, &mut self.view, true);
        // What it was before somebody watched it is nobody's news.
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
            self.ids.remove(&(watch.symbol, watch.exchange, watch.levels));
        }
    }

    /// Looks at all books, a bounded number of those that may have changed per call; `changed` gets the clients of each
    /// that is another. `true` when all were looked at, and the next call begins anew.
    pub fn sweep(&mut self, look: &Look<'_>, mut changed: impl FnMut(&[u32])) -> bool {
        let mut looks = 0;
        while self.next < self.watches.end() {
            if looks == LOOKS_MAX {
                return false;
            }
            let watch = self.watches.get_mut(self.next).filter(|watch| !watch.is_as_before(look));
            self.next += 1;
            let Some(watch) = watch else { continue };
            looks += 1;
            if watch.look(look, &mut self.view, false) {
                changed(&watch.members);
            }
        }
        self.next = 0;
        true
    }

    /// Brings the message of one book up to date, its age too; `changed` gets its clients if it is another.
    pub fn renew(&mut self, id: u32, look: &Look<'_>, mut changed: impl FnMut(&[u32])) {
        if let Some(watch) = self.watches.get_mut(id)
            && watch.look(look, &mut self.view, true)
        {
            changed(&watch.members);
        }
    }

    /// What a client that has just joined `id` is taken to know: all but the newest state.
    #[must_use]
    pub fn known_to_joiner(&self, id: u32) -> u64 {
        self.watches.get(id).map_or(0, |watch| watch.version - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::market::book::{Book, Side};
    use crate::market::directory::VenueEntry;
    use crate::market::{Decimal, Level};
    use crate::matrix::QuoteMatrix;
    use crate::matrix::days::DayTable;
    use crate::metrics::cluster::ClusterBoard;
    use crate::time::{SECOND, UnixNs};

    struct Hall {
        table: BookTable,
        directory: Directory,
        board: Board,
        matrix: std::sync::Arc<QuoteMatrix>,
        days: DayTable,
    }

    impl Hall {
        fn new() -> Self {
            let native = vec![Some("BTC-USDT".to_owned()), None];
            let entry = VenueEntry { name: "okx".into(), taker_fee_pct: Decimal::ZERO, native };
            let directory = Directory::new(vec!["BTC/USDT".into(), "ETH/USDT".into()], vec![entry]);
            let mut board = Board::new(MonoNs(0), 1, 1);
            board.cluster = Some(ClusterBoard::new("a_1_2".to_owned(), 1));
            Self {
                table: BookTable::new(directory.pairs(), 5),
                matrix: QuoteMatrix::new(directory.pairs()).0.load_full(),
                days: DayTable::new(directory.pairs()),
                directory,
                board,
            }
        }

        fn look(&self) -> Look<'_> {
            let view = View {
                matrix: &self.matrix,
                days: &self.days,
                board: &self.board,
                turn: 1,
                now: MonoNs(100 * SECOND),
                unix: UnixNs::from_ms(1),
                stale_after_ns: SECOND,
                statistics_wait_ns: 0,
            };
            Look { table: &self.table, directory: &self.directory, view }
        }
    }

    #[test]
    fn an_instance_that_does_not_lead_a_venue_names_the_one_that_does_and_wants_no_book_of_it() {
        let hall = Hall::new();
        let (mut view, mut known) = (BookView::default(), Vec::new());
        let place = hall.look().place("btc/usdt", "OKX");
        assert_eq!(hall.look().state(place, 5, &mut view), State::None(Absence::Waiting));
        hall.look().survey(&mut known);
        assert_eq!(known, [KnownBooks { wanted: 1, live: 0, oldest_ns: 0 }]);
        hall.board.venues[0].set_state(LinkState::Standby, MonoNs(1));
        let leader = Arc::new("b_3_4".to_owned());
        hall.board.cluster.as_ref().unwrap().venues[0].leader.store(Some(Arc::clone(&leader)));
        assert_eq!(hall.look().state(place, 5, &mut view), State::None(Absence::Elsewhere(Some(leader))));
        hall.look().survey(&mut known);
        assert_eq!(known, [KnownBooks::default()]);
    }

    #[test]
    fn a_sweep_rests_after_so_many_books_and_leaves_none_out() {
        let (hall, mut shelf) = (Hall::new(), Shelf::default());
        for levels in 1..=LOOKS_MAX as u32 + 10 {
            shelf.join("BTC/USDT", "okx", levels as usize, levels, &hall.look());
        }
        let mut book = Book::default();
        book.set(Side::Bid, Level { price: Decimal::new(1, 0), size: Decimal::new(1, 0) });
        hall.table.publish(PairId(0), &book, BookStamp::default());
        let mut changed = Vec::new();
        assert!(!shelf.sweep(&hall.look(), |members| changed.extend_from_slice(members)));
        assert_eq!(changed.len(), LOOKS_MAX);
        assert!(shelf.sweep(&hall.look(), |members| changed.extend_from_slice(members)));
        assert!(changed.iter().copied().eq(1..=LOOKS_MAX as u32 + 10));
    }

    #[test]
    fn nothing_is_left_when_all_have_left() {
        let (hall, mut shelf) = (Hall::new(), Shelf::default());
        let ids: Vec<u32> =
            [3, 3, 4].iter().map(|levels| shelf.join("BTC/USDT", "okx", *levels, 7, &hall.look())).collect();
        assert!(ids[0] == ids[1] && ids[0] != ids[2]);
        ids.iter().for_each(|id| shelf.leave(*id, 7));
        assert!(shelf.is_empty() && shelf.ids.is_empty());
    }
}
