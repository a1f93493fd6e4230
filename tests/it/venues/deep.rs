//! Order books of every venue that offers them, on a connection of their own: whatever is lost, repeated, late or cut,
//! a book that is held is one that the exchange had, all of its levels; and it comes back once nothing is lost any more.

use std::collections::VecDeque;

use proptest::prelude::*;
use spreadwire::market::book::{Book, Side};
use spreadwire::market::{Decimal, InstrumentId, Level};
use spreadwire::time::{MonoNs, SECOND, UnixNs};
use spreadwire::venues::{
    Check, Decoded, ExchangeSide, FeedCodec, Fetch, Market, Message, Messages, Opening, SymbolEntry, Symbols, Update,
    VENUES, Venue, VenueQuote, VoidReason, venue,
};

const ID: InstrumentId = InstrumentId(0);
/// Levels a side that are held against the exchange's.
const LEVELS: usize = 20;

/// What becomes of the messages of one change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Delivered,
    Lost,
    Twice,
    /// Behind those of the next change.
    Late,
    /// The connection is made anew first.
    Reconnected,
    /// Delivered; pages that were asked for are not answered before a later change.
    Unanswered,
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        6 => Just(Fate::Delivered),
        2 => Just(Fate::Lost),
        1 => Just(Fate::Twice),
        1 => Just(Fate::Late),
        1 => Just(Fate::Reconnected),
        2 => Just(Fate::Unanswered),
    ]
}

struct Hall(VenueQuote);

impl Market for Hall {
    fn quote(&self, native: &str) -> Option<VenueQuote> {
        (native == self.0.native).then(|| self.0.clone())
    }

    fn now(&self) -> UnixNs {
        self.0.time
    }
}

type Sides = (Vec<Level>, Vec<Level>);

fn sides(book: &Book, levels: usize) -> Sides {
    let side = |side| book.levels(side).take(levels).copied().collect();
    (side(Side::Bid), side(Side::Ask))
}

/// Levels a side that the venue vouches for, whatever is lost.
fn vouched(venue: &dyn Venue) -> usize {
    match venue.facts().books.unwrap().check {
        Check::ChecksumOf(levels) => levels,
        _ => LEVELS,
    }
}

/// A codec for books and its exchange, and what the exchange had.
struct Line {
    venue: &'static dyn Venue,
    codec: Box<dyn FeedCodec>,
    side: Box<dyn ExchangeSide>,
    hall: Hall,
    history: Vec<Sides>,
    /// Levels a side that are held against those.
    levels: usize,
    late: Vec<Message>,
    /// How many connections there were.
    connections: usize,
    fetches: Vec<Fetch>,
    now: MonoNs,
    /// What the codec said of its book last: that it changed, or that it is void.
    said: Option<bool>,
    is_subscribed: bool,
    /// Why it was void, each time.
    voids: Vec<VoidReason>,
}

impl Line {
    fn open(venue: &'static dyn Venue, levels: usize) -> Self {
        let (quote, native) =
            ["USDT", "USD", "KRW"].iter().find_map(|quote| Some((quote, venue.native("BTC", quote).ok()?))).unwrap();
        let entry = SymbolEntry { id: ID, native: native.clone(), symbol: format!("BTC/{quote}") };
        let first = VenueQuote {
            native,
            bid: level(10_000, 1),
            ask: level(10_010, 1),
            sequence: 2,
            time: UnixNs(1_786_613_159_748_000_000),
            is_trading: true,
            day: Default::default(),
        };
        let mut line = Self {
            venue,
            codec: venue
                .book_codec(Symbols::configured(vec![entry]), LEVELS)
                .expect("Facts::books says that there are"),
            side: venue.exchange_side(),
            history: Vec::new(),
            levels,
            hall: Hall(first),
            late: Vec::new(),
            connections: 0,
            fetches: Vec::new(),
            now: MonoNs(SECOND),
            said: None,
            is_subscribed: false,
            voids: Vec::new(),
        };
        line.remember();
        line.connect();
        line
    }

    fn remember(&mut self) {
        let side = |side| self.hall.0.levels(side, self.levels);
        self.history.push((side(Side::Bid), side(Side::Ask)));
    }

    fn connect(&mut self) {
        self.side = self.venue.exchange_side();
        self.connections += 1;
        (self.late, self.fetches, self.said) = (Vec::new(), Vec::new(), None);
        let mut said = Messages::default();
        self.side.opened(&target(self.venue), &self.hall, &mut said);
        let mut requests = Vec::new();
        self.codec.set_time(self.hall.0.time);
        self.codec.opened(&mut requests);
        requests.iter().for_each(|request| self.side.receive(request, &self.hall, &mut said));
        self.hear(said.drain().collect(), self.connections);
    }

    /// The codec reads these of a connection, and its requests are answered, whatever else is lost. What comes on one
    /// that is gone nobody reads.
    fn hear(&mut self, messages: Vec<Message>, connection: usize) {
        if connection != self.connections {
            return;
        }
        let mut waiting = VecDeque::from(messages);
        while let Some(message) = waiting.pop_front() {
            let mut out = Decoded::default();
            self.now = self.now.plus(1000);
            let _ = self.codec.decode(message.as_bytes(), self.now, &mut out);
            let mut said = Messages::default();
            out.answers.iter().chain(&out.requests).for_each(|it| self.side.receive(it, &self.hall, &mut said));
            waiting.extend(said.drain());
            let gives_up = out.updates.iter().any(|update| matches!(update, Update::Reconnect(_)));
            self.believe(out);
            if gives_up {
                return self.connect();
            }
        }
    }

    fn believe(&mut self, out: Decoded) {
        for update in &out.updates {
            match update {
                Update::Book(note) => {
                    assert_eq!(note.instrument, ID);
                    self.said = Some(true);
                }
                Update::Subscribed(instrument) => {
                    assert_eq!(*instrument, ID);
                    self.is_subscribed = true;
                }
                Update::Void(_, reason) => {
                    self.said = Some(false);
                    self.voids.push(*reason);
                }
                _ => {}
            }
        }
        for fetch in out.fetches {
            if self.fetches.iter().all(|other| other.instrument != fetch.instrument) {
                self.fetches.push(fetch);
            }
        }
        let name = self.venue.facts().name;
        let Some(book) = self.codec.book(ID) else {
            assert_ne!(self.said, Some(true), "{name}: a book that was told is gone without a word");
            return;
        };
        let held = sides(book, self.levels);
        assert!(self.history.contains(&held), "{name}: the exchange never had {held:?}\n{:?}", self.history.last());
    }

    fn answer_fetches(&mut self) {
        for fetch in std::mem::take(&mut self.fetches) {
            let body = self.venue.rest("GET", &fetch.path, "", &self.hall).expect("the exchange has the page");
            let mut out = Decoded::default();
            let _ = self.codec.snapshot(&fetch.path, body.as_bytes(), &mut out);
            self.believe(out);
        }
    }

    fn step(&mut self, bid: Level, ask: Level, fate: Fate) {
        if fate == Fate::Reconnected {
            self.connect();
        }
        let quote = &mut self.hall.0;
        (quote.bid, quote.ask, quote.sequence) = (bid, ask, quote.sequence + 1);
        quote.time = UnixNs(quote.time.0 + SECOND / 10);
        self.remember();
        let mut said = Messages::default();
        self.side.quote(&self.hall.0, &mut said);
        self.side.heartbeat(self.hall.0.time, &mut said);
        let messages: Vec<Message> = said.drain().collect();
        let late = std::mem::take(&mut self.late);
        let connection = self.connections;
        match fate {
            Fate::Lost => {}
            Fate::Late => self.late = messages,
            Fate::Twice => {
                self.hear(messages.clone(), connection);
                self.hear(messages, connection);
            }
            Fate::Delivered | Fate::Reconnected | Fate::Unanswered => self.hear(messages, connection),
        }
        self.hear(late, connection);
        if fate != Fate::Unanswered {
            self.answer_fetches();
        }
    }
}

/// Path and query of the address that books are asked for at.
fn target(venue: &dyn Venue) -> String {
    let address = venue.book_address(venue.facts().address);
    let host = address.split_once("://").map_or(&address[..], |(_, rest)| rest);
    host.find(['/', '?']).map_or("/".to_owned(), |at| host[at..].to_owned())
}

fn level(price: u64, size: u64) -> Level {
    Level { price: Decimal::new(price, 1), size: Decimal::new(size, 3) }
}

fn with_books() -> impl Iterator<Item = &'static dyn Venue> {
    VENUES.iter().copied().filter(|venue| venue.facts().books.is_some())
}

#[test]
fn a_venue_says_that_it_has_books_where_it_has_a_codec_for_them() {
    for venue in VENUES {
        let codec = venue.book_codec(Symbols::default(), LEVELS);
        assert_eq!(codec.is_some(), venue.facts().books.is_some(), "{}", venue.facts().name);
        let Some(books) = venue.facts().books else { continue };
        assert!(books.levels_max >= LEVELS || books.levels_max >= 10, "{}", venue.facts().name);
        let is_token = matches!(venue.facts().opening, Opening::Token { .. });
        assert!(!books.channel.is_empty() || is_token);
    }
}

#[test]
fn one_book_is_asked_for_and_comes_whole_with_every_change_told() {
    for venue in with_books() {
        let name = venue.facts().name;
        let mut line = Line::open(venue, LEVELS);
        assert!(line.is_subscribed, "{name}: nothing acknowledged");
        for number in 0..30 {
            line.step(level(10_000 - number % 7, 5 + number), level(10_010 + number % 3, 9), Fate::Delivered);
            assert_eq!(line.said, Some(true), "{name}: after {number} changes");
        }
        let held = sides(line.codec.book(ID).unwrap(), LEVELS);
        let meant = line.history.last().unwrap();
        assert_eq!(&held, meant, "{name}");
        let depth = held.0.len().min(held.1.len());
        assert!(depth >= 10.min(venue.facts().books.unwrap().levels_max), "{name}: {depth} levels");
    }
}

#[test]
fn a_book_that_is_crossed_for_more_than_a_second_is_void_and_asked_for_anew() {
    for venue in with_books().filter(|venue| venue.facts().books.unwrap().check != Check::Whole) {
        let name = venue.facts().name;
        let mut line = Line::open(venue, LEVELS);
        line.step(level(10_000, 2), level(10_010, 2), Fate::Delivered);
        line.step(level(10_020, 3), level(10_015, 3), Fate::Delivered);
        line.now = line.now.plus(SECOND / 2);
        line.step(level(10_020, 4), level(10_015, 4), Fate::Delivered);
        assert_eq!(
            (line.said, &line.voids[..]),
            (Some(true), &[][..]),
            "{name}: it may be the venue's own for a moment"
        );
        line.now = line.now.plus(SECOND / 2 + 1);
        line.step(level(10_020, 5), level(10_015, 5), Fate::Delivered);
        assert_eq!(line.voids, [VoidReason::Crossed], "{name}");
        for number in 6..9 {
            line.step(level(10_000, number), level(10_010, number), Fate::Delivered);
        }
        let held = line.codec.book(ID).map(|book| sides(book, LEVELS));
        assert_eq!(held.as_ref(), line.history.last(), "{name}: the book has not come back");
    }
}

#[test]
fn the_smallest_depth_that_has_as_many_levels_is_asked_for_and_nothing_else() {
    let asked = |name: &str, levels: usize| {
        let venue = venue(name).unwrap();
        let entry = SymbolEntry {
            id: ID,
            native: venue.native("BTC", "USD").or(venue.native("BTC", "USDT")).unwrap(),
            symbol: "BTC/X".to_owned(),
        };
        let mut requests = Vec::new();
        venue.book_codec(Symbols::configured(vec![entry]), levels).unwrap().opened(&mut requests);
        requests
    };
    for (name, levels, said) in [
        ("kraken", 1, r#""depth":10,"#),
        ("kraken", 20, r#""depth":25,"#),
        ("kraken", 100, r#""depth":100,"#),
        ("kraken", 101, r#""depth":500,"#),
        ("kraken", 5000, r#""depth":1000,"#),
        ("bybit", 20, r#"["orderbook.50.BTC"#),
        ("bybit", 51, r#"["orderbook.200.BTC"#),
        ("bybit", 1000, r#"["orderbook.1000.BTC"#),
        ("gateio", 50, r#"["ob.BTC_USD.50"]"#),
        ("gateio", 51, r#"["ob.BTC_USD.400"]"#),
        ("okx", 20, r#""channel":"books""#),
        ("bitget", 20, r#""channel":"books""#),
    ] {
        let requests = asked(name, levels);
        assert!(requests.len() == 1 && requests[0].contains(said), "{name}, {levels} levels: {requests:?}");
    }
    // What keeps the connection open, besides.
    let requests = asked("coinbase", 20);
    assert!(
        requests.len() == 2 && requests[0].contains("level2") && requests[1].contains("heartbeats"),
        "{requests:?}"
    );
}

#[test]
fn a_book_that_is_asked_for_again_comes_whole() {
    for venue in with_books() {
        let name = venue.facts().name;
        let mut line = Line::open(venue, LEVELS);
        for number in 0..3 {
            line.step(level(9_990 + number, 5), level(10_020, 9 + number), Fate::Delivered);
        }
        line.said = None;
        let (mut requests, mut said) = (Vec::new(), Messages::default());
        line.codec.resubscribe(&[ID], &mut requests);
        requests.iter().for_each(|request| line.side.receive(request, &line.hall, &mut said));
        line.hear(said.drain().collect(), line.connections);
        line.answer_fetches();
        assert_eq!(line.said, Some(true), "{name}: nothing came, since the market is quiet");
        assert_eq!(line.codec.book(ID).map(|book| sides(book, LEVELS)).as_ref(), line.history.last(), "{name}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn no_schedule_of_faults_makes_a_wrong_book_believed_at_any_level(
        steps in proptest::collection::vec((9_960u64..10_040, 1u64..30, fate()), 1..50)
    ) {
        for venue in with_books() {
            let mut line = Line::open(venue, vouched(venue));
            for (number, (bid, above, fate)) in steps.iter().enumerate() {
                // No two tops are alike, so that a mixture of two is found out.
                let size = number as u64 + 2;
                line.step(level(*bid, size), level(bid + above, size), *fate);
            }
            for number in 0..4 {
                line.step(level(9_950, 1000 + number), level(10_050, 1000 + number), Fate::Delivered);
            }
            let now = line.history.last();
            let held = line.codec.book(ID).map(|book| sides(book, line.levels));
            prop_assert_eq!(held.as_ref(), now, "{}: the book has not come back", venue.facts().name);
        }
    }
}
