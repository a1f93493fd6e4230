//! Order books across connections: pages that an earlier connection requested, and books that only the old one had.

use std::sync::Arc;

use spreadwire::feed::FeedOptions;
use spreadwire::feed::session::{Session, SessionParts, entries};
use spreadwire::market::book::{BookView, BookVoid};
use spreadwire::market::directory::VenueEntry;
use spreadwire::market::quote::QuoteOptions;
use spreadwire::market::{Decimal, Directory, VenueId};
use spreadwire::matrix::books::BookTable;
use spreadwire::metrics::Board;
use spreadwire::time::{HandClock, MS, MonoNs, SECOND, UnixNs};
use spreadwire::venues::{SymbolEntry, binance};
use spreadwire::wire::websocket::{text_frame_header, upgrade_reply};

const VENUE: VenueId = VenueId(0);

/// Binance's books of two instruments.
struct Rig {
    directory: Arc<Directory>,
    board: Arc<Board>,
    books: Arc<BookTable>,
    hand: HandClock,
    both: Vec<SymbolEntry>,
}

impl Rig {
    fn new() -> Self {
        let native = ["BTCUSDT", "ETHUSDT"].map(|native| Some(native.to_owned())).to_vec();
        let entry = VenueEntry { name: "binance".into(), taker_fee_pct: Decimal::new(1, 1), native };
        let directory = Arc::new(Directory::new(["BTC/USDT", "ETH/USDT"].map(str::to_owned).to_vec(), vec![entry]));
        Self {
            board: Arc::new(Board::new(MonoNs(0), 1, 0)),
            books: Arc::new(BookTable::new(directory.pairs(), 5)),
            hand: HandClock::new(MonoNs(100 * SECOND), UnixNs::from_ms(1_700_000_000_000)),
            both: entries(&directory, VENUE),
            directory,
        }
    }

    /// An open session for these instruments.
    fn open(&self, plan: &[SymbolEntry]) -> Session {
        let parts = SessionParts {
            id: VENUE,
            venue: &binance::BINANCE,
            directory: Arc::clone(&self.directory),
            board: Arc::clone(&self.board),
            options: FeedOptions::default(),
            quotes: QuoteOptions::default(),
            pairs: 1,
        };
        let mut it = Session::books(parts, Arc::clone(&self.books), plan.to_vec());
        let now = self.hand.clock().now();
        it.open("ws://127.0.0.1:1/x", now).unwrap();
        let request = std::mem::take(it.output().unwrap());
        it.receive(&upgrade_reply(&request, "simulated").unwrap(), now, &self.hand.clock(), &mut |_| {});
        it
    }

    fn say(&self, to: &mut Session, text: &str) {
        let mut bytes = Vec::new();
        text_frame_header(text.len(), &mut bytes);
        bytes.extend_from_slice(text.as_bytes());
        to.receive(&bytes, self.hand.clock().now(), &self.hand.clock(), &mut |_| {});
    }

    fn acknowledge(&self, it: &mut Session) {
        self.say(it, r#"{"result":null,"id":1}"#);
    }

    fn change(&self, to: &mut Session, native: &str, number: u64) {
        self.say(
            to,
            &format!(
                r#"{{"e":"depthUpdate","E":1700000000000,"s":"{native}","U":{number},"u":{number},"b":[["100","{number}"]],"a":[]}}"#
            ),
        );
    }

    fn page(&self, to: &mut Session, bid: u64) {
        let body = format!(r#"{{"lastUpdateId":7,"bids":[["{bid}","1"]],"asks":[["{}","1"]]}}"#, bid + 1);
        to.fetched(to.page_reader()(body.as_bytes()), self.hand.clock().now(), &self.hand.clock(), &mut |_| {});
    }

    fn book(&self, at: usize) -> BookView {
        let mut view = BookView::default();
        self.books.load(self.directory.pair(self.both[at].id, VENUE), 5, &mut view);
        view
    }
}

#[test]
fn a_page_requested_by_an_earlier_session_of_the_line_is_discarded() {
    let rig = Rig::new();
    let mut old = rig.open(&rig.both[..1]);
    rig.acknowledge(&mut old);
    assert!(old.take_fetch(rig.hand.clock().now()).unwrap().path.contains("BTCUSDT"));
    let mut new = rig.open(&rig.both[1..]);
    new.take_pages_of(&mut old);
    rig.acknowledge(&mut new);
    rig.hand.advance(SECOND);
    assert_eq!(new.take_fetch(rig.hand.clock().now()), None, "another reply is still under way");
    rig.page(&mut new, 60_000);
    new.publish_books();
    assert!(rig.book(1).bids.is_empty(), "BTC's levels are shown as ETH's: {:?}", rig.book(1));
    rig.hand.advance(SECOND);
    rig.change(&mut new, "ETHUSDT", 8);
    assert!(new.take_fetch(rig.hand.clock().now()).unwrap().path.contains("ETHUSDT"), "its own page is requested then");
}

#[test]
fn a_quiet_book_that_only_the_old_connection_has_is_void_when_another_takes_over() {
    let rig = Rig::new();
    let mut first = rig.open(&rig.both);
    rig.acknowledge(&mut first);
    for _ in 0..2 {
        rig.hand.advance(SECOND);
        first.take_fetch(rig.hand.clock().now()).unwrap();
        rig.page(&mut first, 100);
        first.publish_books();
    }
    assert_eq!((rig.book(0).bids.len(), rig.book(1).bids.len()), (1, 1));
    // No change for a while; then a second session, which has a page of one of the two.
    rig.hand.advance(11 * SECOND);
    let mut second = rig.open(&rig.both);
    rig.acknowledge(&mut second);
    rig.hand.advance(SECOND);
    assert!(second.take_fetch(rig.hand.clock().now()).unwrap().path.contains("BTCUSDT"));
    rig.page(&mut second, 100);
    rig.change(&mut first, "BTCUSDT", 8);
    first.publish_books();
    rig.change(&mut second, "BTCUSDT", 8);
    assert!(second.covers(&first, rig.hand.clock().now(), 10 * SECOND));
    first.retire();
    second.take_over(&mut first, &mut |_| {});
    assert_eq!((rig.book(0).void, rig.book(1).void), (None, Some(BookVoid::Lost)));
}

#[test]
fn a_page_that_cannot_be_read_is_requested_again_at_growing_intervals() {
    let rig = Rig::new();
    let mut it = rig.open(&rig.both[..1]);
    rig.acknowledge(&mut it);
    let mut asked = Vec::new();
    for tenth in 0..400 {
        rig.hand.advance(100 * MS);
        rig.change(&mut it, "BTCUSDT", 8 + tenth);
        if it.take_fetch(rig.hand.clock().now()).is_some() {
            asked.push(tenth);
            it.fetched(it.page_reader()(b"<html>"), rig.hand.clock().now(), &rig.hand.clock(), &mut |_| {});
        }
    }
    assert!((4..8).contains(&asked.len()), "{asked:?}");
    assert_eq!(it.end(), None);
}
