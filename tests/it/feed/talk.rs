//! A session with one venue on a hand-turned clock: what it sends, when, and which events it emits.

use std::sync::Arc;

use proptest::prelude::*;
use spreadwire::feed::FeedOptions;
use spreadwire::feed::end::End;
use spreadwire::feed::session::{Session, SessionParts, entries};
use spreadwire::market::book::BookVoid;
use spreadwire::market::directory::{HaltedBy, VenueEntry};
use spreadwire::market::quote::{FeedEvent, Origin, QuoteOptions, Source};
use spreadwire::market::{Decimal, Directory, InstrumentId, VenueId};
use spreadwire::matrix::days::DayTable;
use spreadwire::metrics::{Board, LinkState};
use spreadwire::net::backoff::Wait;
use spreadwire::time::{HandClock, MS, MonoNs, SECOND, UnixNs};
use spreadwire::venues::Venue;
use spreadwire::wire::websocket::{Event, Failure, Limits, WebSocket, text_frame_header, upgrade_reply};

use super::toy;

const ID: VenueId = VenueId(0);
const BTC: InstrumentId = InstrumentId(0);

/// The feed's end and the venue's, and the events of the feed.
struct Talk {
    feed: Session,
    venue: WebSocket,
    hand: HandClock,
    directory: Arc<Directory>,
    board: Arc<Board>,
    events: Vec<FeedEvent>,
    /// Texts that the venue has read.
    heard: Vec<String>,
}

fn directory(venue: &dyn Venue) -> Directory {
    let native = vec![Some("BTCUSDT".to_owned()), Some("ETHUSDT".to_owned()), None];
    let entry = VenueEntry { name: venue.facts().name.into(), taker_fee_pct: Decimal::new(1, 1), native };
    Directory::new(["BTC/USDT", "ETH/USDT", "SOL/USDT"].map(str::to_owned).to_vec(), vec![entry])
}

impl Talk {
    fn closed(venue: &'static toy::Toy) -> Self {
        let directory = Arc::new(directory(venue));
        let board = Arc::new(Board::new(MonoNs(0), 1, 0));
        let days = Arc::new(DayTable::new(directory.pairs()));
        let parts = SessionParts {
            id: ID,
            venue,
            directory: Arc::clone(&directory),
            board: Arc::clone(&board),
            options: FeedOptions::default(),
            quotes: QuoteOptions::default(),
            pairs: 1,
        };
        let limits = Limits { message_max: 1 << 20, read_buffer: 1024, fragments_max: u32::MAX };
        Self {
            feed: Session::tops(parts, days, entries(&directory, ID)),
            venue: WebSocket::server(limits, b""),
            hand: HandClock::new(MonoNs(100 * SECOND), UnixNs::from_ms(1_700_000_000_000)),
            directory,
            board,
            events: Vec::new(),
            heard: Vec::new(),
        }
    }

    /// Upgraded, requests read.
    fn open(venue: &'static toy::Toy) -> Self {
        let mut talk = Self::closed(venue);
        talk.upgrade("simulated");
        talk
    }

    fn upgrade(&mut self, source: &str) {
        self.feed.open("ws://127.0.0.1:1/toy", self.now()).unwrap();
        self.venue =
            WebSocket::server(Limits { message_max: 1 << 20, read_buffer: 1024, fragments_max: u32::MAX }, b"");
        let request = std::mem::take(self.feed.output().unwrap());
        self.bytes(&upgrade_reply(&request, source).unwrap());
    }

    fn now(&self) -> MonoNs {
        self.hand.clock().now()
    }

    /// The venue sends these bytes.
    fn bytes(&mut self, bytes: &[u8]) {
        let (now, clock) = (self.now(), self.hand.clock());
        self.feed.receive(bytes, now, &clock, &mut |event| self.events.push(event));
        self.read();
    }

    /// The venue says this.
    fn say(&mut self, text: &str) {
        self.bytes(&frame(text));
    }

    fn read(&mut self) {
        let sent = self.feed.output().map(std::mem::take).unwrap_or_default();
        self.venue.receive(&sent);
        while let Ok(Some(event)) = self.venue.next() {
            self.heard.push(match event {
                Event::Text(text) => text.to_string(),
                other => format!("{other:?}"),
            });
        }
    }

    /// Time passes, in steps no longer than the deadlines allow.
    fn wait(&mut self, ms: u64) {
        let until = self.now().plus(ms * MS);
        while let Some(deadline) = self.feed.deadline().filter(|at| *at <= until) {
            self.hand.advance(deadline.since(self.now()));
            let now = self.now();
            self.feed.elapsed(now, &mut |event| self.events.push(event));
            assert!(self.feed.deadline() != Some(deadline), "the same deadline again");
            self.read();
        }
        self.hand.advance(until.since(self.now()));
    }

    fn is_over(&self) -> bool {
        self.feed.end().is_some()
    }
}

fn frame(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    text_frame_header(text.len(), &mut bytes);
    bytes.extend_from_slice(text.as_bytes());
    bytes
}

const QUOTE: &str = "q BTCUSDT 100 1 101 2 7";

#[test]
fn a_quote_carries_the_time_of_its_read_and_its_provenance() {
    let mut talk = Talk::open(&toy::PLAIN);
    assert_eq!(talk.heard, ["sub BTCUSDT", "sub ETHUSDT"]);
    talk.hand.advance(5 * MS);
    talk.say(QUOTE);
    let [FeedEvent::Quote(quote)] = talk.events[..] else { panic!("{:?}", talk.events) };
    assert_eq!((quote.instrument, quote.venue, quote.sequence), (BTC, ID, 7));
    assert_eq!((quote.bid.price, quote.ask.size), (Decimal::new(100, 0), Decimal::new(2, 0)));
    assert_eq!(quote.received, talk.now());
    assert!(quote.decoded >= quote.received);
    assert_eq!(talk.board.venues[0].source(), Source::Simulated as u8);
}

#[test]
fn the_source_is_live_unless_the_venue_says_otherwise() {
    for (said, source) in [("live", Source::Live), ("replay", Source::Replay), ("simulated", Source::Simulated)] {
        let mut talk = Talk::closed(&toy::PLAIN);
        talk.upgrade(said);
        assert_eq!(talk.board.venues[0].source(), source as u8);
    }
}

#[test]
fn requests_keep_their_distance_and_keepalives_their_beat() {
    let mut talk = Talk::open(&toy::CHATTY);
    assert_eq!(talk.heard, ["sub BTCUSDT"]);
    talk.wait(99);
    assert_eq!(talk.heard.len(), 1);
    talk.wait(1);
    assert_eq!(talk.heard, ["sub BTCUSDT", "sub ETHUSDT"]);
    talk.heard.clear();
    for _ in 0..60 {
        talk.wait(100);
        talk.say("hb");
    }
    talk.heard.retain(|text| text != "Ping");
    assert_eq!(talk.heard, ["alive", "alive"], "every 3 s");
}

#[test]
fn a_venue_that_waits_for_an_answer_hears_it_before_the_requests_that_wait() {
    let mut talk = Talk::open(&toy::CHATTY);
    talk.say("ping 7");
    assert_eq!(talk.heard, ["sub BTCUSDT", "pong 7"]);
    talk.wait(200);
    assert_eq!(talk.heard, ["sub BTCUSDT", "pong 7", "sub ETHUSDT"]);
}

#[test]
fn what_waited_in_the_socket_during_a_pause_is_measured() {
    const PING: [u8; 2] = [0x89, 0];
    let mut talk = Talk::open(&toy::PLAIN);
    let mut read = |after: u64, waiting| {
        talk.hand.advance(after);
        let (now, clock) = (talk.now(), talk.hand.clock());
        talk.feed.receive_some(&PING, waiting, now, &clock, &mut |_| {});
        let gauges = &talk.board.venues[0];
        (
            gauges.backlog.pause_reads.value(),
            gauges.backlog.waiting_bytes.value(),
            gauges.backlog.waiting_bytes_max.value(),
        )
    };
    assert_eq!(read(199 * MS, 0), (0, 0, 0), "no pause");
    assert_eq!(read(200 * MS, 1000), (1, 1002, 1002));
    assert_eq!(read(MS, 500), (1, 1002, 1002), "the rest of the same");
    assert_eq!(read(SECOND, 0), (2, 1004, 1002));
}

#[test]
fn silence_is_pinged_after_2_s_and_dead_after_5() {
    let mut talk = Talk::open(&toy::PLAIN);
    talk.say(QUOTE);
    talk.heard.clear();
    talk.wait(1999);
    assert!(talk.heard.is_empty());
    talk.wait(1);
    assert_eq!(talk.heard, ["Ping"]);
    talk.wait(2999);
    assert!(!talk.is_over());
    talk.wait(1);
    assert_eq!(talk.feed.end(), Some(&End::Silent));
    assert_eq!(talk.events.last(), Some(&FeedEvent::Down(ID, Origin::Own)));
    assert_eq!(talk.board.venues[0].silence.closed.value(), 1);
    assert_eq!(talk.feed.deadline(), None);
}

#[test]
fn an_answer_to_the_ping_keeps_the_connection_but_makes_no_price_newer() {
    let mut talk = Talk::open(&toy::PLAIN);
    talk.say(QUOTE);
    for _ in 0..10 {
        talk.wait(2000);
        let mut pong = vec![0x8a, 0];
        std::mem::swap(&mut pong, talk.venue.output());
        talk.bytes(&[0x8a, 0]);
    }
    assert!(!talk.is_over());
    assert_eq!(talk.events.len(), 1, "nothing but the one quote: its age tells");
}

#[test]
fn pings_are_answered_at_once_and_a_flood_by_its_newest() {
    let mut talk = Talk::open(&toy::PLAIN);
    talk.say(QUOTE);
    let flood: Vec<u8> = (0..100u8).flat_map(|n| [0x89, 1, n]).collect();
    let clock = talk.hand.clock();
    let now = talk.now();
    talk.feed.receive(&flood, now, &clock, &mut |_| {});
    let count = |output: &[u8]| output.len() / 7;
    assert_eq!(count(talk.feed.output().unwrap()), 5, "masked pongs of one byte");
    talk.feed.output().unwrap().clear();
    talk.hand.advance(SECOND);
    let now = talk.now();
    assert!(talk.feed.deadline().is_some_and(|at| at <= now));
    talk.feed.elapsed(now, &mut |_| {});
    let output = talk.feed.output().unwrap();
    assert_eq!(count(output), 1);
    assert_eq!(output[6] ^ output[2], 99, "the newest payload");
}

#[test]
fn a_refused_subscription_is_no_connection() {
    let mut talk = Talk::open(&toy::PLAIN);
    talk.say("no such symbol");
    let gauges = &talk.board.venues[0];
    assert_eq!((gauges.replies.refused.value(), gauges.coverage.subscribed.value()), (1, 0));
    assert_ne!(gauges.connection.state(), LinkState::Connected);
    assert_eq!(**gauges.connection.last_error().unwrap(), *"refused: such symbol");
    talk.say("ack ETHUSDT");
    talk.say("ack ETHUSDT");
    let gauges = &talk.board.venues[0];
    assert_eq!((gauges.connection.state(), gauges.coverage.subscribed.value()), (LinkState::Connected, 1));
}

#[test]
fn an_acknowledged_connection_without_a_price_is_told() {
    let mut talk = Talk::open(&toy::PLAIN);
    talk.say("ack BTCUSDT");
    for _ in 0..10 {
        assert_eq!(talk.board.venues[0].silence.mute.value(), 0);
        talk.wait(1000);
        talk.say("hb");
    }
    let gauges = &talk.board.venues[0];
    assert_eq!((gauges.silence.mute.value(), gauges.connection.state()), (1, LinkState::Connected));
    assert!(gauges.connection.last_error().unwrap().contains("1 of 2 instruments acknowledged"));
    assert!(!talk.is_over());
}

#[test]
fn bad_frames_are_counted_and_skipped_and_the_eleventh_in_10_s_that_names_nothing_ends_it() {
    let mut talk = Talk::open(&toy::PLAIN);
    for n in 0..10 {
        talk.say("\u{feff}{\"truncated");
        talk.say(&format!("q BTCUSDT 100 1 101 2 {n}"));
        talk.say("gap");
        talk.hand.advance(900 * MS);
    }
    assert!(!talk.is_over());
    assert_eq!(talk.events.len(), 10, "what is good is still taken");
    talk.say("q BTCUSDT 1e999 1 101 2 9");
    assert!(!talk.is_over(), "the frame names an instrument");
    talk.say("nonsense");
    assert_eq!(talk.feed.end(), Some(&End::BadFrames));
    assert_eq!(talk.events.last(), Some(&FeedEvent::Down(ID, Origin::Own)));
    let errors: Vec<u64> = talk.board.venues[0].read.decode_errors.iter().map(|(_, count)| count).collect();
    assert_eq!((errors[1], errors[3], errors[4]), (1, 11, 10), "number, shape, gap");
}

#[test]
fn bad_frames_far_apart_end_nothing() {
    let mut talk = Talk::open(&toy::PLAIN);
    for _ in 0..50 {
        talk.say("nonsense");
        talk.hand.advance(1001 * MS);
    }
    assert!(!talk.is_over());
}

#[test]
fn a_wanted_reconnect_is_down_first_and_nothing_follows() {
    let mut talk = Talk::open(&toy::PLAIN);
    talk.say(QUOTE);
    talk.bytes(&[frame("bye\nq BTCUSDT 100 1 101 2 8"), frame("q BTCUSDT 100 1 101 2 9")].concat());
    assert_eq!(talk.events.len(), 2);
    assert_eq!(talk.events[1], FeedEvent::Down(ID, Origin::Own));
    assert_eq!(talk.feed.end().map(|end| end.wait(300)), Some(Wait::AtOnce));
    assert_eq!(talk.heard.last().map(String::as_str), Some("Closed(1000)"));
}

#[test]
fn a_refused_upgrade_is_obeyed() {
    let mut talk = Talk::closed(&toy::PLAIN);
    talk.feed.open("ws://127.0.0.1:1/toy", talk.now()).unwrap();
    talk.bytes(b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 30\r\nContent-Length: 0\r\n\r\n");
    let end = talk.feed.end().unwrap();
    assert_eq!(*end, End::WebSocket(Failure::Refused { status: 429, retry_after: Some(30) }));
    assert_eq!(end.wait(300), Wait::Banned(30 * SECOND));
    let gauges = &talk.board.venues[0];
    assert_eq!(
        (
            gauges.connection.connects.value(),
            gauges.connection.disconnects.value(),
            gauges.dial.consecutive_errors.value()
        ),
        (0, 0, 1)
    );
}

#[test]
fn a_redirect_of_the_upgrade_is_not_followed() {
    let mut talk = Talk::closed(&toy::PLAIN);
    talk.feed.open("ws://127.0.0.1:1/toy", talk.now()).unwrap();
    talk.bytes(b"HTTP/1.1 301 Moved\r\nLocation: ws://127.0.0.1:2/\r\nContent-Length: 0\r\n\r\n");
    assert!(matches!(talk.feed.end(), Some(End::WebSocket(Failure::Refused { status: 301, .. }))));
}

#[test]
fn a_wrong_accept_key_or_what_was_not_asked_for_fails_the_connection() {
    for (spoil_from, spoil_to) in [
        ("Sec-WebSocket-Accept: ", "Sec-WebSocket-Accept: x"),
        ("Upgrade: w", "Sec-WebSocket-Protocol: v1\r\nUpgrade: w"),
        ("Upgrade: w", "Sec-WebSocket-Extensions: permessage-deflate\r\nUpgrade: w"),
    ] {
        let mut talk = Talk::closed(&toy::PLAIN);
        talk.feed.open("ws://127.0.0.1:1/toy", talk.now()).unwrap();
        let request = std::mem::take(talk.feed.output().unwrap());
        let reply = String::from_utf8(upgrade_reply(&request, "live").unwrap()).unwrap();
        talk.bytes(reply.replacen(spoil_from, spoil_to, 1).as_bytes());
        assert!(matches!(talk.feed.end(), Some(End::WebSocket(Failure::Handshake(_)))), "{spoil_to}");
    }
}

#[test]
fn an_upgrade_that_is_never_answered_ends() {
    let mut talk = Talk::closed(&toy::PLAIN);
    talk.feed.open("ws://127.0.0.1:1/toy", talk.now()).unwrap();
    talk.wait(4999);
    assert!(!talk.is_over());
    talk.wait(1);
    assert_eq!(talk.feed.end(), Some(&End::NoUpgrade));
}

#[test]
fn a_message_over_the_limit_is_told_1009() {
    let mut talk = Talk::open(&toy::PLAIN);
    talk.say(&format!("hb{}", " ".repeat(5000)));
    assert!(matches!(talk.feed.end(), Some(End::WebSocket(Failure::Protocol(1009, _)))));
    assert_eq!(talk.heard.last().map(String::as_str), Some("Closed(1009)"));
    assert_eq!(talk.events, [FeedEvent::Down(ID, Origin::Own)]);
}

#[test]
fn a_stream_cut_in_a_frame_gives_nothing_of_it() {
    let mut talk = Talk::open(&toy::PLAIN);
    talk.say(QUOTE);
    let whole = frame("q BTCUSDT 99 1 101 2 8");
    talk.bytes(&whole[..whole.len() - 1]);
    talk.feed.lose(End::Socket("cut".into()), &mut |event| talk.events.push(event));
    assert_eq!(talk.events.len(), 2);
    assert_eq!(talk.events[1], FeedEvent::Down(ID, Origin::Own));
    talk.upgrade("live");
    talk.say(&QUOTE.replace('7', "1"));
    assert!(matches!(talk.events[2], FeedEvent::Quote(quote) if quote.sequence == 1), "nothing was left over");
    assert_eq!(talk.heard.iter().filter(|text| text.starts_with("sub")).count(), 4, "subscribed again");
}

#[test]
fn a_message_in_endless_empty_fragments_ends_the_connection() {
    let mut talk = Talk::open(&toy::PLAIN);
    let fragments = |count: usize| [&[0x01, 0], [0x00, 0].repeat(count - 1).as_slice()].concat();
    talk.bytes(&[fragments(16_383).as_slice(), &[0x80, 2, b'h', b'b']].concat());
    assert_eq!(talk.feed.end(), None);
    talk.bytes(&fragments(16_385));
    assert!(matches!(talk.feed.end(), Some(End::WebSocket(Failure::Protocol(1008, _)))), "{:?}", talk.feed.end());
}

#[test]
fn a_ping_between_fragments_is_answered_at_once() {
    let mut talk = Talk::open(&toy::PLAIN);
    talk.heard.clear();
    talk.bytes(&[&[0x01, 2], b"q ".as_slice(), &[0x89, 0]].concat());
    assert_eq!(talk.heard, ["Pong"]);
    talk.bytes(&[&[0x80, 21], &QUOTE.as_bytes()[2..]].concat());
    assert_eq!(talk.events.len(), 1);
}

#[test]
fn broken_frames_are_told_1002() {
    for bytes in [
        vec![0xc1, 0],
        vec![0x83, 0],
        vec![0x81, 0x80, 1, 2, 3, 4],
        vec![0x09, 0],
        [&[0x89, 126, 0, 126], [b'x'; 126].as_slice()].concat(),
    ] {
        let mut talk = Talk::open(&toy::PLAIN);
        talk.bytes(&bytes);
        assert!(matches!(talk.feed.end(), Some(End::WebSocket(Failure::Protocol(1002, _)))), "{bytes:x?}");
        assert_eq!(talk.events, [FeedEvent::Down(ID, Origin::Own)]);
    }
}

#[test]
fn symbols_that_nobody_asked_for_are_counted_as_unused() {
    let mut talk = Talk::open(&toy::PLAIN);
    talk.say("q DOGEUSDT 1 1 2 2 1");
    assert!(talk.events.is_empty());
    assert_eq!(talk.board.venues[0].read.frames_unused.value(), 1);
}

#[test]
fn a_venue_that_does_not_read_is_left() {
    let mut talk = Talk::open(&toy::PLAIN);
    let clock = talk.hand.clock();
    // Answers to pings, five a second, of the longest payload; nobody takes them.
    let ping: Vec<u8> = [&[0x89, 125], [b'x'; 125].as_slice()].concat();
    for _ in 0..10_000 {
        talk.hand.advance(SECOND / 5);
        let now = talk.now();
        talk.feed.receive(&ping, now, &clock, &mut |event| talk.events.push(event));
        if talk.is_over() {
            break;
        }
    }
    assert_eq!(talk.feed.end(), Some(&End::Backlog));
}

/// What was said of the backlog.
fn behind(talk: &Talk) -> Vec<bool> {
    let told = |event: &FeedEvent| if let FeedEvent::Behind(_, _, is_behind) = event { Some(*is_behind) } else { None };
    talk.events.iter().filter_map(told).collect()
}

/// Quotes each 20 ms for three seconds.
fn steady(venue: &'static toy::Toy) -> Talk {
    let mut talk = Talk::open(venue);
    for n in 0..150 {
        talk.say(&format!("q BTCUSDT 100 1 101 2 {n}"));
        talk.wait(20);
    }
    assert!(behind(&talk).is_empty());
    talk.events.clear();
    talk
}

#[test]
fn a_hiccup_of_the_line_makes_its_quotes_no_legs_until_the_backlog_is_read() {
    let mut talk = steady(&toy::PLAIN);
    talk.wait(1500);
    assert_eq!(behind(&talk), [true], "silent: what is held may have been replaced");
    let held: Vec<u8> = (150..225).flat_map(|n| frame(&format!("q BTCUSDT 100 1 101 2 {n}"))).collect();
    talk.bytes(&held);
    let ages: Vec<u64> = talk
        .events
        .iter()
        .filter_map(|event| if let FeedEvent::Quote(quote) = event { Some(quote.received) } else { None })
        .map(|received| talk.now().since(received) / MS)
        .collect();
    let truth = (0..75).rev().map(|n| n * 20);
    assert!(ages.iter().zip(truth).all(|(age, true_age)| age.abs_diff(true_age) < 30), "{ages:?}");
    for n in 225..260 {
        assert_eq!(behind(&talk).len(), if n < 238 { 1 } else { 2 }, "{n}");
        talk.say(&format!("q BTCUSDT 100 1 101 2 {n}"));
        talk.wait(20);
    }
    assert_eq!(behind(&talk), [true, false]);
}

/// The ages of the quotes that were told since the last call, in milliseconds.
fn ages(talk: &mut Talk) -> Vec<u64> {
    let now = talk.now();
    let age = |event| if let FeedEvent::Quote(quote) = event { Some(now.since(quote.received) / MS) } else { None };
    talk.events.drain(..).filter_map(age).collect()
}

/// Quotes without stamps each 20 ms for so long, with a stamped figure of the day each second, as Binance sends them.
fn unstamped(talk: &Talk, from_ms: u64, for_ms: u64) -> Vec<(u64, String)> {
    let unix = talk.hand.clock().unix().ms();
    let quotes = (0..for_ms / 20).map(move |n| (n * 20, format!("q BTCUSDT 100 1 101 2 {}", from_ms / 20 + n)));
    let day = move |(at, quote): (u64, String)| match (from_ms + at) % 1000 {
        0 => (at, format!("{quote}\nday BTCUSDT {}", unix + at)),
        _ => (at, quote),
    };
    quotes.map(day).collect()
}

#[test]
fn after_a_backlog_prices_without_stamps_are_as_old_as_they_are_and_not_as_the_last_stamp_in_it() {
    let mut talk = Talk::open(&toy::PLAIN);
    for (_, text) in unstamped(&talk, 0, 4500) {
        talk.say(&text);
        talk.wait(20);
    }
    ages(&mut talk);
    // The last figure of the day among them is half a second old.
    let held = unstamped(&talk, 4500, 3000);
    talk.wait(3000);
    talk.bytes(&held.iter().flat_map(|(_, text)| frame(text)).collect::<Vec<u8>>());
    let truth = held.iter().map(|(at, _)| 3000 - at);
    let told = ages(&mut talk);
    assert!(
        told.len() == held.len() && told.iter().zip(truth).all(|(told, truth)| told.abs_diff(truth) < 200),
        "{told:?}"
    );
    for (_, text) in unstamped(&talk, 7500, 1000) {
        talk.say(&text);
        assert_eq!(ages(&mut talk), [0], "{text}");
        talk.wait(20);
    }
}

#[test]
fn in_a_backlog_the_age_that_stamps_say_is_told_however_small_it_is() {
    let mut talk = Talk::open(&toy::PLAIN);
    let quote = |unix: u64, n: u64| format!("q BTCUSDT 100 1 101 2 {n} {unix}");
    for n in 0..200 {
        talk.say(&quote(talk.hand.clock().unix().ms(), n));
        talk.wait(20);
    }
    ages(&mut talk);
    let unix = talk.hand.clock().unix().ms();
    talk.wait(1000);
    talk.bytes(&(0..50).flat_map(|n| frame(&quote(unix + n * 20, 200 + n))).collect::<Vec<u8>>());
    let told = ages(&mut talk);
    // The clocks may have drifted apart meanwhile.
    assert!(told.iter().zip(0..50).all(|(told, n)| told.abs_diff(1000 - n * 20) <= 1), "{told:?}");
}

#[test]
fn after_a_standstill_of_the_process_every_connection_is_behind_first() {
    let mut talk = steady(&toy::PLAIN);
    talk.hand.advance(120 * MS);
    let now = talk.now();
    talk.feed.stood_still(now, &mut |event| talk.events.push(event));
    assert_eq!(behind(&talk), [true]);
    talk.say(QUOTE);
    talk.wait(200);
    talk.say(QUOTE);
    assert_eq!(behind(&talk), [true]);
    talk.wait(60);
    assert_eq!(behind(&talk), [true, false]);
}

proptest! {
    #[test]
    fn any_split_of_the_bytes_gives_the_same_events(
        frames in prop::collection::vec(0usize..8, 1..30),
        cuts in prop::collection::vec(1usize..40, 1..60),
    ) {
        let texts = [QUOTE, "void BTCUSDT", "ack ETHUSDT", "q ETHUSDT 1 0 2 2 9", "hb", "junk", "q BTCUSDT 1 1 2 2 1\nvoid ETHUSDT", "no"];
        let bytes: Vec<u8> = frames.iter().flat_map(|at| frame(texts[*at])).collect();
        let mut whole = Talk::open(&toy::PLAIN);
        whole.bytes(&bytes);
        let mut split = Talk::open(&toy::PLAIN);
        let (mut rest, mut cuts) = (&bytes[..], cuts.into_iter().cycle());
        while !rest.is_empty() {
            let (front, back) = rest.split_at(cuts.next().unwrap().min(rest.len()));
            split.bytes(front);
            rest = back;
        }
        prop_assert_eq!(whole.events, split.events);
        prop_assert_eq!(whole.heard, split.heard);
        prop_assert_eq!(whole.feed.end(), split.feed.end());
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..400), early: bool) {
        let mut talk = Talk::closed(&toy::PLAIN);
        if early {
            talk.feed.open("ws://127.0.0.1:1/toy", talk.now()).unwrap();
        } else {
            talk.upgrade("live");
        }
        talk.bytes(&bytes);
        talk.wait(20_000);
        prop_assert!(talk.is_over());
        prop_assert_eq!(talk.events.last(), Some(&FeedEvent::Down(ID, Origin::Own)));
    }
}

/// Both symbols quoted twice a second for a while, so that what is usual is known.
fn known() -> Talk {
    let mut talk = Talk::open(&toy::PLAIN);
    for n in 0..30 {
        talk.say(&format!("q BTCUSDT 100 1 101 2 {n}\nq ETHUSDT 10 1 11 2 {n}"));
        talk.wait(500);
    }
    (talk.events, talk.heard) = (Vec::new(), Vec::new());
    talk
}

#[test]
fn one_symbol_that_stops_is_void_alone_and_asked_for_again() {
    let mut talk = known();
    for n in 30..40 {
        talk.say(&format!("q BTCUSDT 100 1 101 2 {n}"));
        talk.wait(500);
    }
    let voids: Vec<_> = talk.events.iter().filter(|event| !matches!(event, FeedEvent::Quote(_))).collect();
    assert_eq!(voids, [&FeedEvent::Void(InstrumentId(1), ID, Origin::Own, BookVoid::Silent)]);
    let gauges = &talk.board.venues[0];
    assert_eq!(
        (gauges.silence.pairs.value(), gauges.silence.silenced.value(), gauges.coverage.missing.pairs.value()),
        (1, 1, 0)
    );
    assert_eq!(gauges.connection.state(), LinkState::Connected, "the connection is another matter");
    assert!(talk.heard.contains(&"again ETHUSDT".to_owned()) && !talk.heard.contains(&"again BTCUSDT".to_owned()));
    talk.say("q ETHUSDT 10 1 11 2 50");
    assert_eq!(talk.board.venues[0].silence.pairs.value(), 0);
}

#[test]
fn a_connection_that_only_answers_pings_has_no_price_after_two_seconds() {
    let mut talk = known();
    talk.wait(1400);
    assert_eq!(talk.events, []);
    talk.wait(200);
    let voids = talk.events.iter().filter(|event| matches!(event, FeedEvent::Void(..))).count();
    assert_eq!(voids, 2, "both void: {:?}", talk.events);
    assert!(!talk.is_over());
}

#[test]
fn a_symbol_that_never_comes_is_told_and_asked_for_again_alone() {
    let mut talk = Talk::open(&toy::PLAIN);
    talk.heard.clear();
    for n in 0..210 {
        talk.say(&format!("q BTCUSDT 100 1 101 2 {n}"));
        talk.wait(100);
    }
    let gauges = &talk.board.venues[0];
    assert_eq!(
        (gauges.coverage.missing.pairs.value(), gauges.coverage.missing.one.value(), gauges.silence.pairs.value()),
        (1, 1, 0)
    );
    assert_eq!((gauges.connection.state(), gauges.silence.mute.value()), (LinkState::Connected, 0));
    assert_eq!(talk.heard.iter().filter(|text| text.starts_with("again")).collect::<Vec<_>>(), ["again ETHUSDT"]);
    talk.say("q ETHUSDT 10 1 11 2 50");
    assert_eq!(talk.board.venues[0].coverage.missing.pairs.value(), 0);
    talk.feed.retire();
    assert_eq!(talk.board.venues[0].coverage.missing.pairs.value(), 0);
}

#[test]
fn a_halted_symbol_is_not_called_silent() {
    let mut talk = known();
    talk.say("void ETHUSDT");
    for n in 30..60 {
        talk.say(&format!("q BTCUSDT 100 1 101 2 {n}"));
        talk.wait(500);
    }
    assert_eq!((talk.board.venues[0].silence.silenced.value(), talk.board.venues[0].silence.pairs.value()), (0, 0));
}

#[test]
fn quotes_of_a_halted_symbol_do_not_count_and_it_is_asked_for_again_when_it_is_traded() {
    let mut talk = known();
    for _ in 0..3 {
        talk.say("halted ETHUSDT");
        talk.say("q ETHUSDT 10 1 11 2 70");
    }
    assert_eq!(talk.events, [FeedEvent::Void(InstrumentId(1), ID, Origin::Own, BookVoid::Halt)]);
    for n in 30..400 {
        talk.say(&format!("q BTCUSDT 100 1 101 2 {n}"));
        talk.wait(1000);
    }
    assert_eq!(talk.heard.iter().filter(|text| text.starts_with("again")).count(), 0);
    talk.events.clear();
    talk.say("traded ETHUSDT");
    talk.say("q BTCUSDT 100 1 101 2 400");
    assert_eq!(talk.heard.last().unwrap(), "again ETHUSDT");
    talk.say("traded ETHUSDT\nq ETHUSDT 10 1 11 2 71");
    let quoted = |event: &FeedEvent| matches!(event, FeedEvent::Quote(quote) if quote.instrument == InstrumentId(1));
    assert_eq!(talk.events.iter().filter(|event| quoted(event)).count(), 1, "{:?}", talk.events);
}

#[test]
fn what_the_list_says_is_halted_is_not_asked_for_again_and_again() {
    for is_quoted in [false, true] {
        let mut talk = if is_quoted { known() } else { Talk::open(&toy::PLAIN) };
        let list = |talk: &Talk, is_halted| {
            talk.directory.set_halted(InstrumentId(1), ID, HaltedBy::List, is_halted);
            talk.directory.publish_facts();
        };
        list(&talk, true);
        let pass = |talk: &mut Talk, seconds: u64| {
            talk.heard.clear();
            for n in 0..seconds {
                talk.say(&format!("q BTCUSDT 100 1 101 2 {n}"));
                talk.wait(1000);
            }
            talk.heard.iter().filter(|text| text.starts_with("again")).count()
        };
        assert_eq!(pass(&mut talk, 600), 0, "quoted before: {is_quoted}");
        let gauges = &talk.board.venues[0];
        assert_eq!((gauges.silence.pairs.value(), gauges.coverage.missing.pairs.value()), (0, 0));
        list(&talk, false);
        assert!(pass(&mut talk, 60) > 0, "quoted before: {is_quoted}");
    }
}

#[test]
fn in_maintenance_nothing_holds_and_what_it_says_is_shown() {
    let mut talk = known();
    talk.say("maintenance\nq BTCUSDT 100 1 101 2 70");
    let voids = [0, 1].map(|at| FeedEvent::Void(InstrumentId(at), ID, Origin::Own, BookVoid::Halt));
    assert_eq!(talk.events, voids);
    assert_eq!(*talk.board.venues[0].replies.last_notice().unwrap(), "maintenance: nothing that it quotes holds");
    talk.say("resumed\nq BTCUSDT 100 1 101 2 71");
    assert_eq!((talk.events.len(), talk.board.venues[0].replies.notices.value()), (3, 2));
}

#[test]
fn a_wall_clock_that_is_set_makes_no_price_older() {
    let mut talk = Talk::open(&toy::PLAIN);
    let ages = |talk: &mut Talk| {
        talk.events.clear();
        for n in 0..3 {
            talk.hand.advance(SECOND);
            // The venue's own clock goes on as before.
            let stamp = 1_700_000_000_000 + (talk.now().0 / MS - 100_000);
            talk.say(&format!("q BTCUSDT 100 1 10{n} 2 {stamp} {stamp}"));
        }
        let quotes = talk.events.iter().filter_map(|event| match event {
            FeedEvent::Quote(quote) => Some(quote.decoded.since(quote.received)),
            _ => None,
        });
        quotes.collect::<Vec<_>>()
    };
    assert_eq!(ages(&mut talk), [0; 3]);
    for step_s in [3600_i64, -3600, -1, 1] {
        let wall = talk.hand.clock().unix();
        talk.hand.set_wall(UnixNs(wall.0.wrapping_add_signed(step_s * SECOND as i64)));
        assert_eq!(ages(&mut talk), [0; 3], "set by {step_s} s");
    }
    assert_eq!(talk.board.venues[0].lag.lagged.value(), 0);
}
