//! The steady path allocates nothing: frame, codec, ring, merge, scan, change mark; for every venue.
//! Alone in its binary, because it counts every allocation of the process.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use spreadwire::detector::Core;
use spreadwire::feed;
use spreadwire::feed::session::{Session, SessionParts, entries};
use spreadwire::handover::Handover;
use spreadwire::market::book::BookStamp;
use spreadwire::market::directory::VenueEntry;
use spreadwire::market::quote::{FeedEvent, Origin, QuoteOptions};
use spreadwire::market::rule::DetectorOptions;
use spreadwire::market::statistics::DayStatistics;
use spreadwire::market::{Decimal, Directory, InstrumentId, Level, PairId, Quote, VenueId};
use spreadwire::matrix::QuoteMatrix;
use spreadwire::matrix::books::BookTable;
use spreadwire::matrix::changes::Changes;
use spreadwire::matrix::days::DayTable;
use spreadwire::metrics::Board;
use spreadwire::metrics::turns::{Span, TurnBoard};
use spreadwire::stage::{Alarm, Sleep, Stage, Stages};
use spreadwire::time::{Clock, HandClock, MS, MonoNs, UnixNs};
use spreadwire::venues::{
    Decoded, FeedCodec, Market, Message, Messages, SymbolEntry, Symbols, Update, VENUES, Venue, VenueQuote,
};
use spreadwire::wire::websocket::{Event, Limits, WebSocket, binary_frame_header, text_frame_header, upgrade_reply};

struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: every call is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const SYMBOLS: [(&str, &str); 3] = [("BTC", "USDT"), ("ETH", "USDT"), ("ADA", "USDT")];
const FRAMES: usize = 2_000;

#[derive(Default)]
struct Hall(HashMap<String, VenueQuote>);

impl Market for Hall {
    fn quote(&self, native: &str) -> Option<VenueQuote> {
        self.0.get(native).cloned()
    }

    fn now(&self) -> UnixNs {
        UnixNs::from_ms(1_786_613_159_748)
    }
}

fn state(native: String, n: u64) -> VenueQuote {
    let level = |price, size| Level { price: Decimal::new(price, 2), size: Decimal::new(size, 4) };
    VenueQuote {
        native,
        bid: level(10_000 + n % 7, 15_000 + n),
        ask: level(10_010 + n % 5, 25_000 + n),
        sequence: n + 2,
        time: UnixNs::from_ms(1_786_613_159_748 + n),
        is_trading: true,
        day: DayStatistics::default(),
    }
}

/// A codec that is subscribed, and `FRAMES` quote frames that its exchange wrote.
fn prepared(venue: &'static dyn Venue) -> (Box<dyn FeedCodec>, Messages) {
    prepared_by(venue, |symbols| venue.codec(symbols))
}

fn prepared_by(
    venue: &'static dyn Venue,
    codec: impl FnOnce(Symbols) -> Box<dyn FeedCodec>,
) -> (Box<dyn FeedCodec>, Messages) {
    let natives: Vec<String> =
        SYMBOLS.iter().map(|(b, q)| venue.native(b, q).expect("a symbol of all venues")).collect();
    let entries = natives.iter().enumerate().map(|(at, native)| SymbolEntry {
        id: InstrumentId(at as u32),
        native: native.clone(),
        symbol: format!("{}/{}", SYMBOLS[at].0, SYMBOLS[at].1),
    });
    let mut codec = codec(Symbols::configured(entries.collect()));
    let mut side = venue.exchange_side();
    let hall = Hall(natives.iter().map(|n| (n.clone(), state(n.clone(), 0))).collect());
    let mut decoded = Decoded::default();
    let mut said = Messages::default();
    // As Gemini is asked for whole books first; to the others it means nothing.
    side.opened("/ws?snapshot=-1", &hall, &mut said);
    codec.opened(&mut decoded.requests);
    loop {
        for message in said.drain() {
            codec.decode(message.as_bytes(), MonoNs(1), &mut decoded).expect("our own frames decode");
        }
        for fetch in std::mem::take(&mut decoded.fetches) {
            let page = venue.rest("GET", &fetch.path, "", &hall).expect("the exchange has the page");
            codec.snapshot(&fetch.path, page.as_bytes(), &mut decoded).expect("our own pages decode");
        }
        let requests = std::mem::take(&mut decoded.requests);
        if requests.is_empty() {
            break;
        }
        requests.iter().for_each(|request| side.receive(request, &hall, &mut said));
    }
    let mut frames = Messages::default();
    for n in 1..=FRAMES as u64 {
        let quote = state(natives[n as usize % natives.len()].clone(), n);
        // Each instrument counts by itself, without a gap.
        side.quote(&VenueQuote { sequence: 2 + n.div_ceil(natives.len() as u64), ..quote }, &mut frames);
    }
    (codec, frames)
}

#[test]
fn the_steady_path_allocates_nothing() {
    let native = || vec![Some(String::new()); SYMBOLS.len()];
    let venues = VENUES
        .iter()
        .map(|v| VenueEntry { name: v.facts().name.into(), taker_fee_pct: Decimal::ZERO, native: native() })
        .collect();
    let directory =
        Arc::new(Directory::new(SYMBOLS.iter().map(|(base, quote)| format!("{base}/{quote}")).collect(), venues));
    let (_, writer) = QuoteMatrix::new(directory.pairs());
    let changes = Changes::new(directory.pairs());
    let mut core = Core::new(Arc::clone(&directory), writer, DetectorOptions::default());
    let (mut producer, mut consumer) = rtrb::RingBuffer::<FeedEvent>::new(1024);
    let mut decoded = Decoded::default();
    let mut events = Vec::with_capacity(16);

    for (at, venue) in VENUES.iter().enumerate() {
        let (mut codec, frames) = prepared(*venue);
        assert!(frames.len() >= FRAMES, "{}: {} frames", venue.facts().name, frames.len());
        let (warm, steady) = frames.split_at(frames.len() / 10);
        let mut merged = 0;
        let mut run = |frames: &[Message], merged: &mut usize| {
            for frame in frames {
                decoded.clear();
                codec.decode(frame.as_bytes(), MonoNs(1), &mut decoded).expect("our own frames decode");
                for update in &decoded.updates {
                    let Update::Top(top) = update else { continue };
                    let quote = Quote {
                        instrument: top.instrument,
                        venue: VenueId(at as u16),
                        bid: top.bid,
                        ask: top.ask,
                        sequence: top.sequence,
                        exchange_time: top.exchange_time,
                        received: MonoNs(1),
                        decoded: MonoNs(2),
                        ..Quote::default()
                    };
                    producer.push(FeedEvent::Quote(quote)).expect("the ring is drained each time");
                }
                while let Ok(FeedEvent::Quote(quote)) = consumer.pop() {
                    *merged += usize::from(core.merge(&quote, |pair| changes.mark(pair)).is_ok());
                    core.scan(quote.instrument, MonoNs(3), &mut events);
                }
            }
        };
        run(warm, &mut merged);
        merged = 0;
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        run(steady, &mut merged);
        let allocations = ALLOCATIONS.load(Ordering::Relaxed) - before;
        assert!(merged * 10 >= steady.len() * 9, "{}: only {merged} of {} merged", venue.facts().name, steady.len());
        assert_eq!(allocations, 0, "{}: allocations in {} frames", venue.facts().name, steady.len());
    }
    VENUES.iter().for_each(|venue| the_socket_path_allocates_nothing(*venue));
    measured_turns_allocate_nothing();
    let with_books = VENUES.iter().filter(|venue| venue.facts().books.is_some());
    with_books.for_each(|venue| a_change_of_a_book_allocates_nothing(*venue));
}

/// Turns of two stages on one thread, with the publishing of what is measured of them.
fn measured_turns_allocate_nothing() {
    struct Turning(HandClock, Sleep);
    impl Stage for Turning {
        fn name(&self) -> &str {
            "turning"
        }
        fn turn(&mut self, wait: Duration) -> usize {
            let from = self.0.clock().now();
            self.0.advance(2 * MS);
            self.1 = Sleep::new(from, self.0.clock().now(), wait, false);
            1
        }
        fn slept(&self) -> Option<Sleep> {
            Some(self.1)
        }
    }
    let (hand, board) = (HandClock::new(MonoNs(1), UnixNs(1)), TurnBoard::default());
    let stage = || Box::new(Turning(hand.clone(), Sleep::default())) as Box<dyn Stage>;
    let mut stages = Stages::new(vec![stage(), stage()], Some(&board), hand.clock()).expect("no poll to wait for");
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    (0..FRAMES).for_each(|_| assert_eq!(stages.turn(Duration::from_millis(1)), 2));
    let allocations = ALLOCATIONS.load(Ordering::Relaxed) - before;
    assert!(board.stages().iter().all(|stage| stage.summary(Span::Overrun).count > 0), "nothing was published");
    assert_eq!(allocations, 0, "allocations in {FRAMES} measured turns");
}

/// From the frame to the book with it, where readers see it.
fn a_change_of_a_book_allocates_nothing(venue: &'static dyn Venue) {
    const LEVELS: usize = 20;
    let name = venue.facts().name;
    let (mut codec, frames) = prepared_by(venue, |symbols| venue.book_codec(symbols, LEVELS).expect("books"));
    let table = BookTable::new(SYMBOLS.len(), LEVELS);
    let mut decoded = Decoded::default();
    let mut changed = 0;
    let mut run = |frames: &[Message]| {
        for frame in frames {
            decoded.clear();
            codec.decode(frame.as_bytes(), MonoNs(1), &mut decoded).expect("our own frames decode");
            for update in &decoded.updates {
                let Update::Book(note) = update else { continue };
                let book = codec.book(note.instrument).expect("it was told");
                table.publish(PairId(note.instrument.0), book, BookStamp::default());
                changed += 1;
            }
        }
        std::mem::take(&mut changed)
    };
    let (warm, steady) = frames.split_at(frames.len() / 10);
    // A frame that is longer than all before it takes its room.
    let length = |message: &Message| message.as_bytes().len();
    let (mut longest, mut growths) = (warm.iter().map(length).max().unwrap_or(0), 0);
    for length in steady.iter().map(length) {
        growths += u64::from(length > longest);
        longest = longest.max(length);
    }
    run(warm);
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    let changed = run(steady);
    let allocations = ALLOCATIONS.load(Ordering::Relaxed) - before;
    assert_eq!(changed, steady.len(), "{name}: a change that was not told");
    assert!(allocations <= growths, "{name}: {allocations} allocations in {changed} changes of a book");
    assert!(growths < 20, "{name}: nothing was proven");
}

/// The same from the bytes of the socket on: WebSocket, codec, stamps, handover, ring.
fn the_socket_path_allocates_nothing(venue: &'static dyn Venue) {
    let (name, clock) = (venue.facts().name, Clock::System);
    let natives: Vec<String> = SYMBOLS.iter().map(|(b, q)| venue.native(b, q).expect("a symbol of all")).collect();
    let entry = VenueEntry {
        name: name.into(),
        taker_fee_pct: Decimal::ZERO,
        native: natives.iter().cloned().map(Some).collect(),
    };
    let symbols = SYMBOLS.iter().map(|(base, quote)| format!("{base}/{quote}")).collect();
    let directory = Arc::new(Directory::new(symbols, vec![entry]));
    let board = Arc::new(Board::new(MonoNs(0), 1, 0));
    let (producer, mut consumer) = rtrb::RingBuffer::<FeedEvent>::new(1024);
    let (alarm, _parker) = Alarm::of_parker();
    let mut handover = Handover::new(producer, alarm, Arc::clone(&board), vec![VenueId(0)], SYMBOLS.len(), Origin::Own);
    let days = Arc::new(DayTable::new(directory.pairs()));
    let options = feed::FeedOptions::default();
    let entries = entries(&directory, VenueId(0));
    let mut connection = Session::tops(
        SessionParts { id: VenueId(0), venue, directory, board, options, quotes: QuoteOptions::default(), pairs: 1 },
        days,
        entries,
    );

    connection.open("ws://127.0.0.1:1/ws", clock.now()).expect("an address");
    let reply = upgrade_reply(connection.output().expect("a request"), "simulated").expect("an upgrade");
    connection.output().expect("open").clear();
    connection.receive(&reply, clock.now(), &clock, &mut |event| handover.push(event));
    let mut server =
        WebSocket::server(Limits { message_max: 1 << 20, read_buffer: 4096, fragments_max: u32::MAX }, b"");
    let mut side = venue.exchange_side();
    let hall = Hall(natives.iter().map(|n| (n.clone(), state(n.clone(), 0))).collect());
    let mut said = Messages::default();
    side.opened("/ws", &hall, &mut said);
    // Requests keep their distance, so the clock is asked to be patient.
    for second in 0..30 {
        for message in said.drain() {
            connection.receive(&framed(&message), clock.now(), &clock, &mut |event| handover.push(event));
        }
        connection.elapsed(clock.now().plus(second * 100_000_000), &mut |event| handover.push(event));
        server.receive(connection.output().expect("open"));
        connection.output().expect("open").clear();
        while let Ok(Some(event)) = server.next() {
            if let Event::Text(text) = event {
                side.receive(&text, &hall, &mut said);
            }
        }
    }
    let mut frames = Messages::default();
    for n in 1..=FRAMES as u64 {
        side.quote(&state(natives[n as usize % natives.len()].clone(), n), &mut frames);
    }
    assert!(frames.len() >= FRAMES, "{name}: {} frames, {:?}", frames.len(), connection.end());
    let frames: Vec<Vec<u8>> = frames.iter().map(framed).collect();
    let (warm, steady) = frames.split_at(frames.len() / 10);
    let mut quotes = 0;
    let mut run = |frames: &[Vec<u8>], quotes: &mut usize| {
        for frame in frames {
            connection.receive(frame, clock.now(), &clock, &mut |event| handover.push(event));
            handover.settle();
            while consumer.pop().is_ok() {
                *quotes += 1;
            }
        }
    };
    run(warm, &mut quotes);
    quotes = 0;
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    run(steady, &mut quotes);
    let allocations = ALLOCATIONS.load(Ordering::Relaxed) - before;
    assert!(quotes * 10 >= steady.len() * 9, "{name}: only {quotes} quotes of {} frames", steady.len());
    assert_eq!(allocations, 0, "{name}: allocations in {} frames from the socket", steady.len());
}

fn framed(message: &Message) -> Vec<u8> {
    let mut bytes = Vec::new();
    match message {
        Message::Text(text) => text_frame_header(text.len(), &mut bytes),
        Message::Binary(packed) => binary_frame_header(packed.len(), &mut bytes),
    }
    bytes.extend_from_slice(message.as_bytes());
    bytes
}
