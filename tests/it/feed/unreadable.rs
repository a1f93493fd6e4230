//! Every venue, its own frames, and one instrument that can never be read: it is void and named, and the others of its
//! connection go on.

use std::collections::HashMap;
use std::sync::Arc;

use spreadwire::feed::FeedOptions;
use spreadwire::feed::session::{Session, SessionParts, entries};
use spreadwire::market::directory::VenueEntry;
use spreadwire::market::quote::{FeedEvent, QuoteOptions};
use spreadwire::market::statistics::DayStatistics;
use spreadwire::market::{Decimal, Directory, InstrumentId, Level, VenueId};
use spreadwire::matrix::days::DayTable;
use spreadwire::metrics::Board;
use spreadwire::time::{HandClock, MS, MonoNs, SECOND, UnixNs};
use spreadwire::venues::{ExchangeSide, Market, Message, Messages, Opening, VENUES, Venue, VenueQuote};
use spreadwire::wire::gzip::{Gunzip, Gzip};
use spreadwire::wire::websocket::{Event, Limits, WebSocket, upgrade_reply};

const SYMBOLS: [(&str, &str); 2] = [("BTC", "USDT"), ("ETH", "BTC")];
const BTC: InstrumentId = InstrumentId(0);
const ETH: InstrumentId = InstrumentId(1);
const START: UnixNs = UnixNs::from_ms(1_786_613_159_748);
/// A price that stands nowhere else in a frame.
const PRICE: &str = "64321.5";

struct Hall {
    quotes: HashMap<String, VenueQuote>,
    now: UnixNs,
}

impl Market for Hall {
    fn quote(&self, native: &str) -> Option<VenueQuote> {
        self.quotes.get(native).cloned()
    }

    fn now(&self) -> UnixNs {
        self.now
    }
}

/// A connection and the venue at its other end.
struct Talk {
    venue: &'static dyn Venue,
    feed: Session,
    socket: WebSocket,
    side: Box<dyn ExchangeSide>,
    hall: Hall,
    hand: HandClock,
    board: Arc<Board>,
    events: Vec<FeedEvent>,
    sequence: u64,
}

impl Talk {
    /// Open, with all requests sent and answered.
    fn open(venue: &'static dyn Venue) -> Self {
        let native = SYMBOLS.map(|(base, quote)| Some(venue.native(base, quote).unwrap())).to_vec();
        let entry = VenueEntry { name: venue.facts().name.into(), taker_fee_pct: Decimal::new(1, 1), native };
        let symbols = SYMBOLS.map(|(base, quote)| format!("{base}/{quote}")).to_vec();
        let directory = Arc::new(Directory::new(symbols, vec![entry]));
        let board = Arc::new(Board::new(MonoNs(0), 1, 0));
        let days = Arc::new(DayTable::new(directory.pairs()));
        let entries = entries(&directory, VenueId(0));
        let parts = SessionParts {
            id: VenueId(0),
            venue,
            directory,
            board: Arc::clone(&board),
            options: FeedOptions::default(),
            quotes: QuoteOptions::default(),
            pairs: 1,
        };
        let limits = Limits { message_max: 1 << 20, read_buffer: 1024, fragments_max: u32::MAX };
        let mut talk = Self {
            venue,
            feed: Session::tops(parts, days, entries),
            socket: WebSocket::server(limits, b""),
            side: venue.exchange_side(),
            hall: Hall { quotes: HashMap::new(), now: START },
            hand: HandClock::new(MonoNs(100 * SECOND), START),
            board,
            events: Vec::new(),
            sequence: 1,
        };
        for at in 0..SYMBOLS.len() {
            talk.change(at);
        }
        let address = match venue.facts().opening {
            Opening::Token { path } => {
                let reply = venue.rest("POST", path, "ws://127.0.0.1:9", &talk.hall).expect("a token reply");
                venue.endpoint(reply.as_bytes()).unwrap()
            }
            _ => venue.facts().address.replace("wss://", "ws://"),
        };
        talk.feed.open(&address, talk.hand.clock().now()).unwrap();
        let request = std::mem::take(talk.feed.output().unwrap());
        talk.bytes(&upgrade_reply(&request, "simulated").unwrap());
        let target = address.splitn(4, '/').nth(3).map_or("/".to_owned(), |path| format!("/{path}"));
        let mut said = Messages::default();
        talk.side.opened(&target, &talk.hall, &mut said);
        talk.say(said);
        talk.wait(5000);
        // Some venues say nothing before the first change.
        (0..SYMBOLS.len()).for_each(|at| talk.quote(at, |message| message));
        talk
    }

    fn bytes(&mut self, bytes: &[u8]) {
        let clock = self.hand.clock();
        self.feed.receive(bytes, clock.now(), &clock, &mut |event| self.events.push(event));
    }

    fn say(&mut self, mut said: Messages) {
        for message in said.drain() {
            match message {
                Message::Text(text) => self.socket.send_text(&text),
                Message::Binary(bytes) => self.socket.send_binary(bytes),
            }
            let bytes = std::mem::take(self.socket.output());
            self.bytes(&bytes);
        }
    }

    /// Time passes; what the feed asks for is answered.
    fn wait(&mut self, ms: u64) {
        for _ in 0..ms / 50 {
            self.hand.advance(50 * MS);
            self.hall.now = self.hand.clock().unix();
            let now = self.hand.clock().now();
            self.feed.elapsed(now, &mut |event| self.events.push(event));
            let sent = self.feed.output().map(std::mem::take).unwrap_or_default();
            self.socket.receive(&sent);
            let mut said = Messages::default();
            while let Ok(Some(event)) = self.socket.next() {
                if let Event::Text(text) = event {
                    self.side.receive(&text, &self.hall, &mut said);
                }
            }
            self.say(said);
        }
    }

    /// The venue's top of an instrument is another one.
    fn change(&mut self, at: usize) -> VenueQuote {
        self.sequence += 1;
        let native = self.venue.native(SYMBOLS[at].0, SYMBOLS[at].1).unwrap();
        let level = |price: &str| Level { price: price.parse().unwrap(), size: Decimal::new(self.sequence, 3) };
        let (bid, ask) = if at == 0 { (level(PRICE), level("64322.5")) } else { (level("0.0345"), level("0.0346")) };
        let (sequence, time) = (self.sequence, self.hand.clock().unix());
        let day = DayStatistics { last: 1.0, high: 1.0, low: 1.0, ..DayStatistics::default() };
        let quote = VenueQuote { native: native.clone(), bid, ask, sequence, time, is_trading: true, day };
        self.hall.quotes.insert(native, quote.clone());
        quote
    }

    /// The top of an instrument changes, and the venue says so in a frame that `spoil` may change.
    fn quote(&mut self, at: usize, spoil: impl Fn(Message) -> Message) {
        let quote = self.change(at);
        let mut said = Messages::default();
        self.side.quote(&quote, &mut said);
        let mut spoilt = Messages::default();
        for message in said.drain() {
            match spoil(message) {
                Message::Text(text) => spoilt.push(text),
                Message::Binary(bytes) => spoilt.push(bytes),
            }
        }
        self.say(spoilt);
    }

    /// The last word on an instrument: whether it was a quote.
    fn is_quoted(&self, instrument: InstrumentId) -> Option<bool> {
        self.events.iter().rev().find_map(|event| match event {
            FeedEvent::Quote(quote) if quote.instrument == instrument => Some(true),
            FeedEvent::Void(id, ..) if *id == instrument => Some(false),
            _ => None,
        })
    }
}

/// The frame with something else in place of its price: a number that is too long, or no number where the length counts.
fn spoilt(message: Message) -> Message {
    let long = "9".repeat(400);
    match message {
        Message::Text(text) => Message::Text(text.replace(PRICE, &long)),
        Message::Binary(bytes) => {
            if let Ok(text) = Gunzip::new(1 << 20).unpack(&bytes) {
                let text = String::from_utf8(text.to_vec()).unwrap().replace(PRICE, &long);
                return Message::Binary(Gzip::default().pack(text.as_bytes()));
            }
            match String::from_utf8(bytes) {
                Ok(text) if text.starts_with(['{', '[']) => Message::Binary(text.replace(PRICE, &long).into_bytes()),
                Ok(text) => Message::Binary(text.replace(PRICE, "x4321.5").into_bytes()),
                Err(not_text) => {
                    let mut bytes = not_text.into_bytes();
                    let at = bytes.windows(PRICE.len()).position(|part| part == PRICE.as_bytes()).unwrap();
                    bytes[at] = b'x';
                    Message::Binary(bytes)
                }
            }
        }
    }
}

#[test]
fn one_instrument_that_is_never_readable_costs_the_connection_no_other() {
    for &venue in VENUES {
        let name = venue.facts().name;
        let mut talk = Talk::open(venue);
        assert_eq!([BTC, ETH].map(|id| talk.is_quoted(id)), [Some(true); 2], "{name}");
        for _ in 0..100 {
            talk.quote(0, spoilt);
            talk.quote(1, |message| message);
            talk.wait(50);
            assert_eq!(talk.feed.end(), None, "{name}");
        }
        assert_eq!([BTC, ETH].map(|id| talk.is_quoted(id)), [Some(false), Some(true)], "{name}");
        let gauges = &talk.board.venues[0];
        assert_eq!(
            (gauges.coverage.unreadable.pairs.value(), gauges.coverage.unreadable.one.value()),
            (1, 0),
            "{name}"
        );
        for _ in 0..140 {
            talk.quote(0, |message| message);
            talk.quote(1, |message| message);
            talk.wait(500);
        }
        assert_eq!(talk.is_quoted(BTC), Some(true), "{name}: it can be read again");
        assert_eq!((talk.board.venues[0].coverage.unreadable.pairs.value(), talk.feed.end()), (0, None), "{name}");
    }
}
