//! Order books over the whole path: a simulated exchange, a feed and a gateway on sockets, and a client that compares each
//! received book with that of the exchange.

use std::collections::HashMap;
use std::sync::mpsc;

use super::*;
use spreadwire::feed::{Feed, FeedParts, FeedVenue};
use spreadwire::market::book::Side;
use spreadwire::market::quote::QuoteOptions;
use spreadwire::market::{Decimal, VenueId};
use spreadwire::net::dial;
use spreadwire::net::switch::Switch;
use spreadwire::net::tls::Trust;
use spreadwire::sim::scenario::Scenario;
use spreadwire::sim::{self, Sim, SimParts, address_of};
use spreadwire::stage::Stage;
use spreadwire::venues::{self, VenueQuote};

const INSTRUMENTS: [(&str, &str); 2] = [("BTC", "USDT"), ("ETH", "USDT")];
const LEVELS: usize = 20;

/// Half of the messages of a second are lost.
const SCRIPT: &str = "[[fault]]\nkind = \"lose\"\nvenue = \"okx\"\nfrom_s = 1.5\nfor_s = 1\none_in = 2\n";

struct Street {
    sim: Sim,
    address: SocketAddr,
    board: Arc<Board>,
    /// What the exchange had, by symbol and its own number.
    had: HashMap<(String, u64), VenueQuote>,
    newest: HashMap<String, u64>,
    /// Prices are not checked here.
    ring: rtrb::Consumer<spreadwire::market::quote::FeedEvent>,
    stop: Stop,
}

impl Drop for Street {
    fn drop(&mut self) {
        self.stop.request();
    }
}

impl Street {
    fn new() -> Self {
        let (clock, okx) = (Clock::System, venues::venue("okx").unwrap());
        let listen = || Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let mut sim = Sim::new(SimParts {
            venues: vec![okx],
            instruments: INSTRUMENTS.map(|(base, quote)| (base.to_owned(), quote.to_owned())).to_vec(),
            listener: listen(),
            seed: 11,
            rate: 100.0,
            clock: clock.clone(),
            options: sim::SimOptions::default(),
        })
        .unwrap();
        sim.keep_journal();
        sim.follow(Scenario::read(SCRIPT, &[okx]).unwrap());
        let native = INSTRUMENTS.iter().map(|(base, quote)| okx.native(base, quote).ok()).collect();
        let entry = VenueEntry { name: "okx".into(), taker_fee_pct: Decimal::new(1, 1), native };
        let symbols = INSTRUMENTS.iter().map(|(base, quote)| format!("{base}/{quote}")).collect();
        let directory = Arc::new(Directory::new(symbols, vec![entry]));
        let board = Arc::new(Board::new(clock.now(), 1, 1));
        let books = Arc::new(BookTable::new(directory.pairs(), LEVELS));
        let days = Arc::new(DayTable::new(directory.pairs()));
        let stop = Stop::default();
        let (dialer, dialers) = dial::pool(2, &clock).unwrap();
        dialers.into_iter().for_each(|dialer| drop(spawn(vec![dialer], None, Idle::Wait, stop.clone()).unwrap()));
        let (producer, ring) = rtrb::RingBuffer::new(4096);
        let address = address_of(okx, sim.address());
        let (feed, _) = Feed::new(FeedParts {
            directory: Arc::clone(&directory),
            venues: vec![FeedVenue {
                id: VenueId(0),
                venue: okx,
                rest_address: address.clone(),
                address,
                trust: Trust::new(None).unwrap(),
                witness: true,
            }],
            ring: producer,
            detector: Alarm::of_parker().0,
            days: Arc::clone(&days),
            books: Arc::clone(&books),
            board: Arc::clone(&board),
            switch: Arc::new(Switch::new(1, true)),
            changes: crossbeam::channel::never(),
            dialer,
            clock: clock.clone(),
            options: spreadwire::feed::FeedOptions::default(),
            quotes: QuoteOptions::default(),
            seed: Some(1),
        })
        .unwrap();
        drop(spawn(vec![Box::new(feed)], None, Idle::Wait, stop.clone()).unwrap());
        let listener = listen();
        let address = listener.address();
        let (gateway, _) = Gateway::new(GatewayParts {
            matrix: QuoteMatrix::new(directory.pairs()).0,
            changes: Arc::new(Changes::new(directory.pairs())),
            directory,
            days,
            books,
            opportunities: rtrb::RingBuffer::new(1).1,
            board: Arc::clone(&board),
            index: 0,
            clocks: Clocks::both(&clock),
            settings: settings(|o| o.books.beat_ms = 20),
            listener: Some(listener),
            admin: None,
        })
        .unwrap();
        drop(spawn(vec![Box::new(gateway)], None, Idle::Wait, stop.clone()).unwrap());
        let mut street = Self { sim, address, board, had: HashMap::new(), newest: HashMap::new(), ring, stop };
        for (base, quote) in INSTRUMENTS {
            let symbol = format!("{base}/{quote}");
            let cell = street.sim.prices().cell_of(0, &symbol).unwrap();
            let now = street.sim.prices().quote(cell).1.clone();
            street.remember(symbol, now);
        }
        street
    }

    fn remember(&mut self, symbol: String, quote: VenueQuote) {
        self.newest.insert(symbol.clone(), quote.sequence);
        self.had.insert((symbol, quote.sequence), quote);
    }

    /// Turns the exchange for a millisecond or so.
    fn step(&mut self) {
        self.sim.turn(Duration::from_millis(1));
        for change in self.sim.take_journal() {
            let symbol = self.sim.prices().symbol(change.cell).to_owned();
            let before = &self.had[&(symbol.clone(), self.newest[&symbol])];
            let sequence = before.sequence + 1;
            let now = VenueQuote { bid: change.bid, ask: change.ask, sequence, ..before.clone() };
            self.remember(symbol, now);
        }
        while self.ring.pop().is_ok() {}
    }

    /// A client that watches all books and returns what it receives.
    fn watcher(&self) -> mpsc::Receiver<Value> {
        let (tell, told) = mpsc::channel();
        let address = self.address;
        std::thread::spawn(move || {
            let tcp = TcpStream::connect(address).unwrap();
            let mut client = Client::over(address, Wire { tcp, hand: None });
            let books = INSTRUMENTS.map(|(b, q)| json!({"symbol": format!("{b}/{q}"), "exchange": "okx"}));
            client.send(json!({"action": "subscribe", "books": books, "levels": LEVELS}));
            while let Ok(message) = client.socket.read() {
                let Message::Text(text) = message else { continue };
                if tell.send(serde_json::from_str(&text).unwrap()).is_err() {
                    return;
                }
            }
        });
        told
    }

    #[track_caller]
    fn check(&self, book: &Value) {
        let key = (book["symbol"].as_str().unwrap().to_owned(), book["sequence"].as_u64().unwrap());
        let meant = self.had.get(&key).unwrap_or_else(|| panic!("the exchange never had {key:?}"));
        for (name, side) in [("bids", Side::Bid), ("asks", Side::Ask)] {
            let decimal = |value: &Value| value.to_string().parse::<Decimal>().unwrap();
            let told = book[name].as_array().unwrap().iter();
            let told: Vec<Level> =
                told.map(|level| Level { price: decimal(&level[0]), size: decimal(&level[1]) }).collect();
            assert_eq!(told, meant.levels(side, LEVELS), "{name} of {key:?}");
        }
        assert_eq!(book["source"], "simulated");
    }
}

#[test]
fn a_client_receives_the_book_of_the_exchange_and_void_after_a_loss() {
    let mut street = Street::new();
    let told = street.watcher();
    let begun = Instant::now();
    // For each book, how many states were correct before it was first void and after it was last void.
    let mut right: HashMap<String, (usize, usize)> = HashMap::new();
    let mut voids: HashMap<String, u64> = HashMap::new();
    let is_done = |right: &HashMap<String, (usize, usize)>| {
        right.len() == INSTRUMENTS.len() && right.values().all(|(before, after)| *before > 5 && *after > 20)
    };
    while begun.elapsed() < Duration::from_secs(3) || !is_done(&right) {
        assert!(begun.elapsed() < Duration::from_secs(120), "{right:?} {voids:?}");
        street.step();
        for book in told.try_iter().filter(|message| message["type"] == "book") {
            let symbol = book["symbol"].as_str().unwrap().to_owned();
            let (before, after) = right.entry(symbol.clone()).or_default();
            match book["state"].as_str().unwrap() {
                "none" => assert_eq!((&book["reason"], *before), (&json!("waiting"), 0)),
                "void" => {
                    assert_eq!((&book["reason"], &book["bids"]), (&json!("gap"), &json!([])));
                    voids.insert(symbol, book["voids"].as_u64().unwrap());
                    *after = 0;
                }
                "live" => {
                    street.check(&book);
                    let void = voids.get(&symbol).copied().unwrap_or(0);
                    assert_eq!(book["voids"], void, "it was void in between, and nobody said so");
                    *(if void == 0 { before } else { after }) += 1;
                }
                other => panic!("{other}: {book}"),
            }
        }
    }
    let counted: u64 = street.board.books[0].voids.total();
    assert_eq!(counted, voids.values().sum::<u64>(), "{voids:?}");
}
