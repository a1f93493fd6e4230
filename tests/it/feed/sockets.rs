//! The feed over real sockets on loopback: dialling, TLS, losing and dialling again, tokens, and all
//! simulated venues at once. Nothing here says how fast; a test that waits in vain fails at [`PATIENCE`].

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use spreadwire::feed::{Feed, FeedOptions, FeedParts, FeedVenue};
use spreadwire::market::book::BookVoid;
use spreadwire::market::directory::VenueEntry;
use spreadwire::market::quote::{FeedEvent, Origin, QuoteOptions, Source};
use spreadwire::market::{Decimal, Directory, InstrumentId, VenueId};
use spreadwire::matrix::books::BookTable;
use spreadwire::matrix::days::DayTable;
use spreadwire::metrics::{Board, BreakerState, LinkState};
use spreadwire::net::breaker::GOOD_NS;
use spreadwire::net::dial::{self, http_address};
use spreadwire::net::listen::Listener;
use spreadwire::net::switch::Switch;
use spreadwire::net::tls::Trust;
use spreadwire::sim::{self, Sim, SimParts, address_of, default_instruments, rest_address_of};
use spreadwire::stage::{Alarm, Idle, Stage, Stop, spawn};
use spreadwire::time::{Clock, HandClock, MS, MonoNs, SECOND, UnixNs};
use spreadwire::venues::{VENUES, Venue};

use super::toy;

const PATIENCE: Duration = Duration::from_secs(60);

/// A feed turned by hand, its dialers on threads of their own.
struct Rig {
    feed: Feed,
    ring: rtrb::Consumer<FeedEvent>,
    board: Arc<Board>,
    events: Vec<FeedEvent>,
    switch: Arc<Switch>,
    alarm: Alarm,
    stop: Stop,
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.stop.request();
    }
}

impl Rig {
    /// One toy venue at `address`, trusting the public roots and those in `ca`.
    fn toy(venue: &'static dyn Venue, address: String, ca: Option<&PathBuf>) -> Self {
        Self::toy_on(Clock::System, venue, address, ca)
    }

    fn toy_on(clock: Clock, venue: &'static dyn Venue, address: String, ca: Option<&PathBuf>) -> Self {
        Self::toy_with(clock, venue, address, ca, FeedOptions::default())
    }

    fn toy_with(
        clock: Clock,
        venue: &'static dyn Venue,
        address: String,
        ca: Option<&PathBuf>,
        options: FeedOptions,
    ) -> Self {
        let native = vec![Some("BTCUSDT".to_owned())];
        let entry = VenueEntry { name: venue.facts().name.into(), taker_fee_pct: Decimal::new(1, 1), native };
        let trust = Trust::new(ca.map(PathBuf::as_path)).unwrap();
        let directory = Directory::new(vec!["BTC/USDT".into()], vec![entry]);
        let venues = vec![FeedVenue {
            id: VenueId(0),
            venue,
            rest_address: http_address(&address, ""),
            address,
            trust,
            witness: true,
        }];
        Self::on(clock, directory, venues, 1024, options, true)
    }

    fn new(directory: Directory, venues: Vec<FeedVenue>, capacity: usize) -> Self {
        Self::on(Clock::System, directory, venues, capacity, FeedOptions::default(), true)
    }

    fn on(
        clock: Clock,
        directory: Directory,
        venues: Vec<FeedVenue>,
        capacity: usize,
        options: FeedOptions,
        wanted: bool,
    ) -> Self {
        let (producer, ring) = rtrb::RingBuffer::new(capacity);
        let board = Arc::new(Board::new(MonoNs(0), venues.len(), 0));
        let (dialer, stages) = dial::pool(venues.len(), &Clock::System).unwrap();
        let stop = Stop::default();
        for stage in stages {
            spawn(vec![stage], None, Idle::Wait, stop.clone()).unwrap();
        }
        let switch = Arc::new(Switch::new(venues.len(), wanted));
        let (feed, alarm) = Feed::new(FeedParts {
            days: Arc::new(DayTable::new(directory.pairs())),
            books: Arc::new(BookTable::new(directory.pairs(), 0)),
            directory: Arc::new(directory),
            venues,
            ring: producer,
            detector: Alarm::of_parker().0,
            board: Arc::clone(&board),
            switch: Arc::clone(&switch),
            changes: crossbeam::channel::never(),
            dialer,
            clock,
            options,
            quotes: QuoteOptions::default(),
            seed: Some(1),
        })
        .unwrap();
        Self { feed, ring, board, events: Vec::new(), switch, alarm, stop }
    }

    /// As the cluster does it.
    fn want(&self, on: bool) {
        self.switch.set(VenueId(0), on);
        self.alarm.ring();
    }

    /// Turns the feed, and its hand-turned clock with it, until `met`.
    #[track_caller]
    fn until_by(&mut self, hand: &HandClock, what: &str, met: impl Fn(&Self) -> bool) {
        let start = Instant::now();
        while !met(self) {
            assert!(start.elapsed() < PATIENCE, "never {what}: {:?}", self.board.venues);
            self.turn_by(hand);
        }
    }

    fn turn_by(&mut self, hand: &HandClock) {
        hand.advance(50 * MS);
        self.feed.turn(Duration::from_millis(2));
        self.events.extend(std::iter::from_fn(|| self.ring.pop().ok()));
    }

    fn breaker(&self) -> BreakerState {
        self.board.venues[0].dial.breaker.state()
    }

    /// Turns the feed until `met`.
    #[track_caller]
    fn until(&mut self, what: &str, met: impl Fn(&Self) -> bool) {
        let start = Instant::now();
        while !met(self) {
            assert!(start.elapsed() < PATIENCE, "never {what}: {:?}", self.board.venues);
            self.feed.turn(Duration::from_millis(20));
            self.events.extend(std::iter::from_fn(|| self.ring.pop().ok()));
        }
    }

    /// Turns the feed until there is nothing to do for it now.
    fn idle(&mut self) {
        while self.feed.turn(Duration::ZERO) > 0 {}
    }

    fn quotes(&self) -> usize {
        self.events.iter().filter(|event| matches!(event, FeedEvent::Quote(_))).count()
    }

    /// Turns until an attempt has failed, and gives the reason in words.
    fn failure(&mut self) -> String {
        self.until("failed", |rig| rig.board.venues[0].connection.state() == LinkState::Backoff);
        assert_eq!(self.board.venues[0].connection.connects.value(), 0, "it was let in");
        self.board.venues[0].connection.last_error().unwrap().to_string()
    }
}

/// Listens on loopback, and lets `serve` have each connection with its number on a thread that nobody waits for.
fn serve(serve: impl Fn(usize, TcpStream) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for (at, stream) in listener.incoming().enumerate() {
            serve(at, stream.unwrap());
        }
    });
    address
}

/// Upgrades, waits for the subscription, sends a quote.
fn quote_over<S: Read + Write>(stream: S) -> tungstenite::WebSocket<S> {
    quote_unless_cut(stream).unwrap()
}

/// The same; `None` if the client ends the connection before that.
fn quote_unless_cut<S: Read + Write>(stream: S) -> Option<tungstenite::WebSocket<S>> {
    let mut socket = tungstenite::accept(stream).ok()?;
    let request = socket.read().ok().filter(|message| !message.is_close())?;
    assert_eq!(request.to_string(), "sub BTCUSDT");
    socket.send("ack BTCUSDT".into()).ok()?;
    socket.send("q BTCUSDT 100 1 101 2 1".into()).ok()?;
    Some(socket)
}

#[test]
fn a_lost_connection_is_down_at_once_dialled_again_and_subscribed_again() {
    let address = serve(|at, stream| {
        let mut socket = quote_over(stream);
        if at == 0 {
            // A close with a word; the next one stays.
            socket.close(None).unwrap();
            while socket.read().is_ok() {}
        } else {
            std::mem::forget(socket);
        }
    });
    let mut rig = Rig::toy(&toy::PLAIN, format!("ws://{address}/toy"), None);
    rig.until("quoted twice", |rig| rig.quotes() == 2);
    assert!(matches!(rig.events[..], [FeedEvent::Quote(_), FeedEvent::Down(VenueId(0), _), FeedEvent::Quote(_)]));
    let gauges = &rig.board.venues[0];
    assert_eq!(
        (gauges.connection.connects.value(), gauges.connection.disconnects.value(), gauges.dial.attempts.value()),
        (2, 1, 2)
    );
    assert_eq!((gauges.connection.state(), gauges.coverage.subscribed.value()), (LinkState::Connected, 1));
    assert_eq!(gauges.dial.consecutive_errors.value(), 0, "data flowed");
}

#[test]
fn after_a_standstill_all_is_void_and_nothing_old_is_read() {
    let address = serve(|at, stream| {
        let mut socket = quote_over(stream);
        // Waits in the feed's socket while the feed stands still.
        socket.send(format!("q BTCUSDT 100 1 101 2 {}", 10 + at).into()).unwrap();
        std::mem::forget(socket);
    });
    let hand = HandClock::new(MonoNs(3600 * SECOND), UnixNs::from_ms(1_700_000_000_000));
    let mut rig = Rig::toy_on(hand.clock(), &toy::PLAIN, format!("ws://{address}/"), None);
    rig.until("quoted", |rig| rig.quotes() > 0);
    hand.advance(10 * SECOND);
    rig.feed.turn(Duration::ZERO);
    rig.events.extend(std::iter::from_fn(|| rig.ring.pop().ok()));
    assert_eq!(rig.events.last(), Some(&FeedEvent::Down(VenueId(0), Origin::Own)));
    assert!(rig.board.venues[0].connection.last_error().unwrap().contains("stood still"));
    hand.advance(SECOND);
    rig.until("connected again", |rig| rig.board.venues[0].connection.connects.value() == 2);
    rig.until("quoted again", |rig| matches!(rig.events.last(), Some(FeedEvent::Quote(_))));
}

#[test]
fn a_venue_that_is_not_wanted_is_left_politely_its_quotes_hold_and_it_is_back_at_once() {
    let (closes, closed) = std::sync::mpsc::channel();
    let address = serve(move |_, stream| {
        let mut socket = quote_over(stream);
        let closes = closes.clone();
        std::thread::spawn(move || {
            while let Ok(message) = socket.read() {
                if let tungstenite::Message::Close(frame) = message {
                    let _ = closes.send(frame.map(|frame| u16::from(frame.code)));
                }
            }
        });
    });
    let mut rig = Rig::toy(&toy::PLAIN, format!("ws://{address}/"), None);
    rig.until("quoted", |rig| rig.quotes() == 1);
    rig.want(false);
    rig.until("left", |rig| rig.board.venues[0].connection.state() == LinkState::Standby);
    assert_eq!(closed.recv_timeout(PATIENCE), Ok(Some(1000)), "without a word");
    rig.idle();
    rig.events.extend(std::iter::from_fn(|| rig.ring.pop().ok()));
    assert!(
        matches!(rig.events[..], [FeedEvent::Quote(_), FeedEvent::Left(_)]),
        "its quotes are void: {:?}",
        rig.events
    );
    let gauges = &rig.board.venues[0];
    assert_eq!(
        (gauges.dial.attempts.value(), gauges.connection.disconnects.value(), gauges.dial.consecutive_errors.value()),
        (1, 0, 0)
    );
    assert_eq!((gauges.coverage.subscribed.value(), gauges.connection.last_error()), (0, None));
    rig.want(true);
    rig.until("quoted again", |rig| rig.quotes() == 2);
    assert_eq!(
        (rig.board.venues[0].connection.state(), rig.board.venues[0].dial.attempts.value()),
        (LinkState::Connected, 2)
    );
}

#[test]
fn a_venue_that_is_not_wanted_from_the_start_is_never_dialled() {
    let dialled = Arc::new(AtomicU64::new(0));
    let seen = Arc::clone(&dialled);
    let address = serve(move |_, stream| {
        seen.fetch_add(1, Ordering::Relaxed);
        std::mem::forget(quote_over(stream));
    });
    let native = vec![Some("BTCUSDT".to_owned())];
    let entry = VenueEntry { name: "toy".into(), taker_fee_pct: Decimal::new(1, 1), native };
    let directory = Directory::new(vec!["BTC/USDT".into()], vec![entry]);
    let (venue, trust) = (&toy::PLAIN, Trust::new(None).unwrap());
    let venues = vec![FeedVenue {
        id: VenueId(0),
        venue,
        address: format!("ws://{address}/"),
        rest_address: String::new(),
        trust,
        witness: true,
    }];
    let mut rig = Rig::on(Clock::System, directory, venues, 64, FeedOptions::default(), false);
    rig.idle();
    assert_eq!(rig.board.venues[0].connection.state(), LinkState::Standby);
    rig.want(true);
    rig.until("quoted", |rig| rig.quotes() == 1);
    assert_eq!((rig.board.venues[0].dial.attempts.value(), dialled.load(Ordering::Relaxed)), (1, 1));
}

#[test]
fn a_switch_that_is_turned_while_a_dialler_is_at_work_leaves_one_connection_or_none() {
    let address = serve(|_, stream| std::mem::forget(quote_unless_cut(stream)));
    let mut rig = Rig::toy(&toy::PLAIN, format!("ws://{address}/"), None);
    for _ in 0..10 {
        rig.feed.turn(Duration::ZERO);
        rig.want(false);
        rig.feed.turn(Duration::ZERO);
        rig.want(true);
    }
    rig.until("quoted", |rig| rig.quotes() >= 1);
    rig.want(false);
    rig.until("left", |rig| rig.board.venues[0].connection.state() == LinkState::Standby);
    let attempts = rig.board.venues[0].dial.attempts.value();
    rig.idle();
    assert_eq!(rig.board.venues[0].connection.state(), LinkState::Standby);
    let quotes = rig.quotes();
    rig.want(true);
    rig.until("quoted again", |rig| rig.quotes() > quotes);
    assert_eq!(rig.board.venues[0].dial.attempts.value(), attempts + 1);
}

/// Opens after three failures in a row, however short the time.
fn quick_breaker() -> FeedOptions {
    FeedOptions { breaker_failures: 3, breaker_after_ms: 0, breaker_open_ms: 20_000, ..FeedOptions::default() }
}

#[test]
fn a_venue_that_flaps_is_left_alone_probed_once_and_trusted_again_while_its_connection_stays_good() {
    let is_good = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let good = Arc::clone(&is_good);
    let address = serve(move |_, stream| {
        let mut socket = quote_over(stream);
        if good.load(std::sync::atomic::Ordering::SeqCst) {
            std::thread::spawn(move || {
                for sequence in 2.. {
                    std::thread::sleep(Duration::from_millis(5));
                    if socket.send(format!("q BTCUSDT 100 1 101 2 {sequence}").into()).is_err() {
                        return;
                    }
                }
            });
        }
    });
    let hand = HandClock::new(MonoNs(3600 * SECOND), UnixNs::from_ms(1_700_000_000_000));
    let mut rig = Rig::toy_with(hand.clock(), &toy::PLAIN, format!("ws://{address}/"), None, quick_breaker());
    // Prices flow on each connection, and each breaks at once.
    rig.until_by(&hand, "opened", |rig| rig.breaker() == BreakerState::Open);
    let opened = hand.clock().now();
    let gauges =
        |rig: &Rig| (rig.board.venues[0].dial.attempts.value(), rig.board.venues[0].dial.breaker.opened.value());
    assert_eq!(gauges(&rig), (3, 1));
    assert!(rig.board.venues[0].dial.breaker.reason().is_some());
    rig.until_by(&hand, "probed", |rig| rig.board.venues[0].dial.attempts.value() == 4);
    assert!(hand.clock().now().since(opened) >= 20 * SECOND - 100 * MS, "probed too early");
    assert_eq!(rig.breaker(), BreakerState::HalfOpen);
    rig.until_by(&hand, "open again", |rig| rig.breaker() == BreakerState::Open);
    assert_eq!(gauges(&rig), (4, 2), "one failure is enough, and there was one probe");
    is_good.store(true, std::sync::atomic::Ordering::SeqCst);
    rig.until_by(&hand, "closed", |rig| rig.breaker() == BreakerState::Closed);
    let connected = rig.board.venues[0].connection.since.value();
    assert!(hand.clock().now().since(MonoNs(connected)) >= 3 * GOOD_NS, "trusted too early");
    assert_eq!(gauges(&rig), (5, 2), "on one connection");
}

#[test]
fn a_ban_is_waited_out_even_if_the_switch_is_turned() {
    let address = serve(|_, mut stream| {
        let _ = stream.read(&mut [0; 1024]);
        let _ = stream.write_all(b"HTTP/1.1 429 Too Many\r\nRetry-After: 60\r\nContent-Length: 0\r\n\r\n");
    });
    let hand = HandClock::new(MonoNs(3600 * SECOND), UnixNs::from_ms(1_700_000_000_000));
    let mut rig = Rig::toy_on(hand.clock(), &toy::PLAIN, format!("ws://{address}/"), None);
    rig.until_by(&hand, "banned", |rig| rig.breaker() == BreakerState::Open);
    let banned = hand.clock().now();
    rig.want(false);
    rig.until_by(&hand, "left", |rig| rig.board.venues[0].connection.state() == LinkState::Standby);
    rig.want(true);
    rig.until_by(&hand, "asked again", |rig| rig.board.venues[0].dial.attempts.value() == 2);
    assert!(hand.clock().now().since(banned) >= 60 * SECOND - 100 * MS, "inside the ban");
}

#[test]
fn a_ban_lasts_as_long_as_the_venue_states() {
    let address = serve(|_, mut stream| {
        let _ = stream.read(&mut [0; 1024]);
        let _ = stream.write_all(b"HTTP/1.1 403 Forbidden\r\nRetry-After: 3\r\nContent-Length: 0\r\n\r\n");
    });
    let hand = HandClock::new(MonoNs(3600 * SECOND), UnixNs::from_ms(1_700_000_000_000));
    let mut rig = Rig::toy_on(hand.clock(), &toy::PLAIN, format!("ws://{address}/"), None);
    rig.until_by(&hand, "banned", |rig| rig.breaker() == BreakerState::Open);
    let banned = hand.clock().now();
    rig.until_by(&hand, "asked again", |rig| rig.board.venues[0].dial.attempts.value() == 2);
    let rested = hand.clock().now().since(banned);
    assert!((3 * SECOND - 100 * MS..5 * SECOND).contains(&rested), "rested {} ms", rested / MS);
}

#[test]
fn what_is_said_of_the_next_attempt_is_what_happens() {
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let hand = HandClock::new(MonoNs(3600 * SECOND), UnixNs::from_ms(1_700_000_000_000));
    let mut rig = Rig::toy_with(hand.clock(), &toy::PLAIN, format!("ws://{gone}/"), None, quick_breaker());
    // Through backoff, breaker and the pace of the budget.
    for attempts in 1..=25 {
        let gauges = |rig: &Rig| (rig.board.venues[0].dial.attempts.value(), rig.board.venues[0].connection.state());
        rig.until_by(&hand, "failed", |rig| gauges(rig) == (attempts, LinkState::Backoff));
        let said = rig.board.venues[0].dial.next_attempt.value();
        rig.until_by(&hand, "tried again", |rig| rig.board.venues[0].dial.attempts.value() > attempts);
        let tried = hand.clock().now().0;
        assert!((said..=said + 100 * MS).contains(&tried), "attempt {attempts}: {} ms off", tried.abs_diff(said) / MS);
    }
}

#[test]
fn lines_that_are_lost_again_and_again_are_all_back_within_30_s_of_the_venue_being_well() {
    const LINES: usize = 6;
    let hand = HandClock::new(MonoNs(3600 * SECOND), UnixNs::from_ms(1_700_000_000_000));
    // The instrument of each connection, and when it began.
    let open = Arc::new(Mutex::new(Vec::new()));
    let (accepted, clock) = (Arc::clone(&open), hand.clock());
    let address = serve(move |_, stream| {
        let (accepted, clock) = (Arc::clone(&accepted), clock.clone());
        std::thread::spawn(move || {
            let mut socket = tungstenite::accept(stream).unwrap();
            let native = socket.read().unwrap().to_string().trim_start_matches("sub ").to_owned();
            accepted.lock().unwrap().push((Some(socket), native, clock.now()));
        });
    });
    let native = (0..LINES).map(|n| Some(format!("C{n}USDT"))).collect();
    let entry = VenueEntry { name: "narrow".into(), taker_fee_pct: Decimal::new(1, 1), native };
    let directory = Directory::new((0..LINES).map(|n| format!("C{n}/USDT")).collect(), vec![entry]);
    let (address, trust) = (format!("ws://{address}/toy"), Trust::new(None).unwrap());
    let venues = vec![FeedVenue {
        id: VenueId(0),
        venue: &toy::NARROW,
        address,
        rest_address: String::new(),
        trust,
        witness: true,
    }];
    let mut rig = Rig::on(hand.clock(), directory, venues, 1024, FeedOptions::default(), true);
    let mut attempts = Vec::new();
    let mut sequence = 0;
    // While `is_well` each connection goes on; else it gives prices for seven seconds.
    let mut turn = |rig: &mut Rig, is_well: bool| {
        let of = |rig: &Rig| {
            let gauges = &rig.board.venues[0];
            (gauges.dial.attempts.value(), gauges.dial.next_attempt.value(), gauges.connection.disconnects.value())
        };
        let (made, said, lost) = of(rig);
        let now = hand.clock().now();
        sequence += 1;
        for (socket, native, began) in open.lock().unwrap().iter_mut() {
            if !is_well && now.since(*began) > 7 * SECOND {
                *socket = None;
            }
            let quote = format!("q {native} 100 1 101 2 {sequence}");
            socket.iter_mut().for_each(|socket| socket.send(quote.clone().into()).unwrap());
        }
        rig.turn_by(&hand);
        // The clock stands while an attempt is under way.
        rig.until("accepted", |rig| open.lock().unwrap().len() as u64 == rig.board.venues[0].dial.attempts.value());
        let now = hand.clock().now();
        let (made_now, _, lost_now) = of(rig);
        attempts.extend((made..made_now).map(|_| now));
        // Another loss may put it off.
        assert!(said == 0 || said > now.0 || made_now > made || lost_now > lost, "said for {said}, it is {now:?}");
        now
    };
    let start = hand.clock().now();
    while turn(&mut rig, false).since(start) < 150 * SECOND {}
    let well = hand.clock().now();
    while rig.board.venues[0].connection.open.value() < LINES as u64 {
        let now = turn(&mut rig, true);
        assert!(now.since(well) <= 30 * SECOND, "{} lines are back", rig.board.venues[0].connection.open.value());
    }
    let within = |from: usize| attempts[from..].iter().take_while(|at| at.since(attempts[from]) < 300 * SECOND).count();
    let most = (0..attempts.len()).map(within).max().unwrap();
    assert!((20..=60).contains(&most), "{most} attempts in five minutes");
}

/// Toy venues at these addresses, with a patience that opens a breaker soon.
fn toys(hand: &HandClock, addresses: &[String]) -> Rig {
    let entry = |at: usize| VenueEntry {
        name: format!("toy-{at}"),
        taker_fee_pct: Decimal::new(1, 1),
        native: vec![Some("BTCUSDT".to_owned())],
    };
    let directory = Directory::new(vec!["BTC/USDT".into()], (0..addresses.len()).map(entry).collect());
    let trust = Trust::new(None).unwrap();
    let venue = |(at, address): (usize, &String)| FeedVenue {
        id: VenueId(at as u16),
        venue: &toy::PLAIN,
        address: address.clone(),
        rest_address: String::new(),
        trust: trust.clone(),
        witness: true,
    };
    let venues = addresses.iter().enumerate().map(venue).collect();
    Rig::on(hand.clock(), directory, venues, 1024, quick_breaker(), true)
}

#[test]
fn when_no_venue_answers_it_is_our_own_line_and_all_are_tried_when_one_does() {
    let hand = HandClock::new(MonoNs(3600 * SECOND), UnixNs::from_ms(1_700_000_000_000));
    let ports: Vec<_> = (0..3).map(|_| TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()).collect();
    let mut rig = toys(&hand, &ports.iter().map(|port| format!("ws://{port}/")).collect::<Vec<_>>());
    rig.until_by(&hand, "our own line", |rig| rig.board.cut_off.since().is_some());
    let attempts = |rig: &Rig| rig.board.venues.iter().map(|v| v.dial.attempts.value()).collect::<Vec<_>>();
    rig.until_by(&hand, "tried often", |rig| attempts(rig).iter().all(|count| *count > 12));
    for venue in &rig.board.venues {
        assert_eq!((venue.dial.breaker.state(), venue.dial.breaker.opened.value()), (BreakerState::Closed, 0));
    }
    let before = attempts(&rig);
    let listener = TcpListener::bind(ports[1]).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            std::thread::spawn(move || {
                let mut socket = quote_over(stream.unwrap());
                for sequence in 2.. {
                    std::thread::sleep(Duration::from_millis(5));
                    if socket.send(format!("q BTCUSDT 100 1 101 2 {sequence}").into()).is_err() {
                        return;
                    }
                }
            });
        }
    });
    rig.until_by(&hand, "one answers", |rig| rig.board.venues[1].connection.state() == LinkState::Connected);
    let now = hand.clock().now();
    assert_eq!(rig.board.cut_off.since(), None);
    rig.until_by(&hand, "all tried", |rig| [0, 2].iter().all(|at| attempts(rig)[*at] > before[*at]));
    assert!(hand.clock().now().since(now) <= 200 * MS, "the others are tried at once");
}

#[test]
fn one_venue_alone_that_does_not_answer_is_not_our_line() {
    let hand = HandClock::new(MonoNs(3600 * SECOND), UnixNs::from_ms(1_700_000_000_000));
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut rig = toys(&hand, &[format!("ws://{gone}/")]);
    rig.until_by(&hand, "opened", |rig| rig.breaker() == BreakerState::Open);
    assert_eq!(rig.board.cut_off.since(), None);
}

#[test]
fn a_retry_dials_at_once_whatever_breaker_and_backoff_say() {
    let hand = HandClock::new(MonoNs(3600 * SECOND), UnixNs::from_ms(1_700_000_000_000));
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut rig = toys(&hand, &[format!("ws://{gone}/")]);
    for venue in [None, Some(VenueId(0))] {
        rig.until_by(&hand, "opened", |rig| rig.breaker() == BreakerState::Open);
        let before = rig.board.venues[0].dial.attempts.value();
        let now = hand.clock().now();
        let retries = rig.board.venues[0].dial.retries.value();
        rig.switch.retry(venue);
        rig.until_by(&hand, "tried", |rig| rig.board.venues[0].dial.attempts.value() > before);
        assert!(hand.clock().now().since(now) <= 100 * MS);
        assert_eq!((rig.breaker(), rig.board.venues[0].dial.retries.value()), (BreakerState::Closed, retries + 1));
    }
}

/// One venue sends `flood`, and another a quote before each turn, until `cuts` turns of the flood were cut: how many
/// quotes of the other are still unread, and the most messages of the flood in one turn.
fn beside(flood: Vec<u8>, cuts: u64) -> (u64, u64) {
    let (go, told) = std::sync::mpsc::channel::<()>();
    let told = std::sync::Mutex::new(told);
    let flooding = serve(move |_, stream| {
        let mut socket = quote_over(stream);
        let _ = told.lock().unwrap().recv();
        let _ = socket.get_mut().write_all(&flood);
        std::mem::forget(socket);
    });
    let (give, taken) = std::sync::mpsc::channel();
    let quiet = serve(move |_, stream| drop(give.send(quote_over(stream))));
    let hand = HandClock::new(MonoNs(3600 * SECOND), UnixNs::from_ms(1_700_000_000_000));
    let mut rig = toys(&hand, &[format!("ws://{flooding}/"), format!("ws://{quiet}/")]);
    rig.until("connected", |rig| rig.quotes() == 2);
    let mut quiet = taken.recv().unwrap();
    go.send(()).unwrap();
    rig.until("flooded", |rig| rig.board.venues[0].read.turns_cut.value() > 0);
    let counts = |rig: &Rig| {
        let venues = &rig.board.venues;
        (venues[1].quotes.decoded.value(), venues[0].read.turns_cut.value(), venues[0].read.frames.value())
    };
    let before = counts(&rig);
    let (mut frames, mut most, mut turned) = (before.2, 0, 0);
    // The thread that floods may fall behind: a turn in which it does is not cut, and does not count.
    while counts(&rig).1 - before.1 < cuts {
        turned += 1;
        quiet.send(format!("q BTCUSDT 100 1 101 2 {}", turned + 1).into()).unwrap();
        rig.feed.turn(Duration::ZERO);
        let now = counts(&rig).2;
        (frames, most) = (now, most.max(now - frames));
        assert!(turned < 1_000_000, "the flood is over");
    }
    let after = counts(&rig);
    assert_eq!(rig.board.venues[0].connection.disconnects.value(), 0);
    (turned - (after.0 - before.0), most)
}

#[test]
fn one_venues_flood_of_whatever_frames_leaves_each_turn_to_the_others() {
    const CUTS: u64 = 40;
    // Enough for ten times as many turns.
    let pings = [0x89, 0].repeat(400 * 512);
    let fragments = [[0x01, 0].as_slice(), &[0x00, 0].repeat(510), &[0x80, 2, b'h', b'b']].concat().repeat(400);
    let quote = b"q BTCUSDT 100 1 101 2 9";
    let quotes = [&[0x81, quote.len() as u8], quote.as_slice()].concat().repeat(400 * 512);
    for (what, flood) in [("pings", pings), ("fragments", fragments), ("quotes", quotes)] {
        let (unread, most) = beside(flood, CUTS);
        // The last one may not be readable yet.
        assert!(unread <= 1, "{what}: {unread} quotes of the other are unread");
        assert!(most <= 512, "{what}: {most} messages in a turn");
    }
}

#[test]
fn a_refused_connection_is_tried_again() {
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut rig = Rig::toy(&toy::PLAIN, format!("ws://{gone}/"), None);
    rig.until("tried three times", |rig| rig.board.venues[0].dial.attempts.value() >= 3);
    assert!(rig.board.venues[0].connection.last_error().unwrap().contains("refused"));
    assert!(rig.events.is_empty());
}

#[test]
fn a_venue_that_says_too_many_is_not_asked_again() {
    let address = serve(|_, mut stream| {
        let _ = stream.read(&mut [0; 1024]);
        let _ = stream.write_all(b"HTTP/1.1 429 Too Many\r\nRetry-After: 600\r\nContent-Length: 0\r\n\r\n");
    });
    let hand = HandClock::new(MonoNs(SECOND), UnixNs::from_ms(1));
    let mut rig = Rig::toy_with(hand.clock(), &toy::PLAIN, format!("ws://{address}/"), None, patient());
    assert!(rig.failure().contains("429"));
    hand.advance(599 * SECOND);
    rig.idle();
    assert_eq!(rig.board.venues[0].dial.attempts.value(), 1);
    rig.until_by(&hand, "asked again", |rig| rig.board.venues[0].dial.attempts.value() == 2);
}

#[test]
fn a_token_venue_is_asked_where_it_is_each_time() {
    let address = serve(|at, stream| {
        if at % 2 == 1 {
            return drop(quote_over(stream));
        }
        let mut stream = stream;
        let mut head = [0; 1024];
        let length = stream.read(&mut head).unwrap();
        assert!(head[..length].starts_with(b"POST /toy/where HTTP/1.1\r\n"));
        let body = format!("ws://{}/?token=secret", stream.local_addr().unwrap());
        let reply = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
        stream.write_all(reply.as_bytes()).unwrap();
    });
    let mut rig = Rig::toy(&toy::TOKEN, format!("ws://{address}/toy"), None);
    rig.until("quoted twice", |rig| rig.quotes() == 2);
}

#[test]
fn a_refused_token_request_is_obeyed() {
    let address = serve(|_, mut stream| {
        let _ = stream.read(&mut [0; 1024]);
        let _ = stream.write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n");
    });
    let mut rig = Rig::toy(&toy::TOKEN, format!("http://{address}"), None);
    assert!(rig.failure().contains("HTTP 403"));
}

/// Answers a request for a page, the `at`th one: too large and saying so, too large and never at its end, good.
fn give_page(at: usize, mut stream: TcpStream) {
    let _ = stream.read(&mut [0; 1024]);
    let head = match at {
        0 => format!("Content-Length: {}\r\n\r\n", dial::BOOK_PAGE_MAX + 1),
        1 => "Connection: close\r\n\r\n".to_owned(),
        _ => "Content-Length: 3\r\n\r\n777".to_owned(),
    };
    let _ = stream.write_all(format!("HTTP/1.1 200 OK\r\n{head}").as_bytes());
    let digits = [b'7'; 1 << 16];
    while at == 1 && stream.write_all(&digits).is_ok() {}
    let _ = stream.read(&mut [0]);
}

#[test]
fn a_book_page_of_more_than_16_mib_is_refused_and_no_page_is_read_by_the_feed() {
    let pages = Arc::new(AtomicU64::new(0));
    let address = serve_each(move |_, stream| {
        let mut head = [0; 9];
        let length = stream.peek(&mut head).unwrap();
        if head[..length] == *b"GET /page" {
            return give_page(pages.fetch_add(1, Ordering::Relaxed) as usize, stream);
        }
        let mut socket = quote_over(stream);
        socket.get_mut().set_read_timeout(Some(Duration::from_millis(10))).unwrap();
        // Asks again with each frame, as codecs do.
        while socket.send("page BTCUSDT\nq BTCUSDT 100 1 101 2 1".into()).is_ok() {
            let _ = socket.read();
        }
    });
    let hand = HandClock::new(MonoNs(SECOND), UnixNs::from_ms(1));
    let mut rig = Rig::toy_with(hand.clock(), &toy::PLAIN, format!("ws://{address}/"), None, patient());
    let refused = |rig: &Rig| rig.board.venues[0].read.pages_refused.value();
    rig.until_by(&hand, "refused by its size", |rig| refused(rig) == 1);
    let said = rig.board.venues[0].connection.last_error().unwrap();
    assert_eq!(
        *said,
        "no book page of BTC/USDT from toy: request: the reply of 16777217 bytes is larger than the limit of 16777216 bytes"
    );
    rig.until_by(&hand, "refused as it came", |rig| refused(rig) == 2);
    assert!(
        rig.board.venues[0]
            .connection
            .last_error()
            .unwrap()
            .ends_with("the reply is larger than the limit of 16777216 bytes")
    );
    let quotes = rig.quotes();
    rig.until_by(&hand, "quoted on", |rig| rig.quotes() > quotes);
    let of_page = |event: &FeedEvent| matches!(event, FeedEvent::Quote(quote) if quote.sequence == 777);
    rig.until_by(&hand, "given a page", |rig| rig.events.iter().any(of_page));
    assert_eq!((refused(&rig), rig.board.venues[0].connection.disconnects.value()), (2, 0));
    let readers = toy::READERS.lock().unwrap();
    let here = std::thread::current().id();
    assert!(!readers.is_empty() && !readers.contains(&here), "the feed's turns read none: {readers:?}");
}

#[test]
fn a_ring_that_nobody_reads_holds_up_nothing() {
    let address = serve(|_, stream| {
        let mut socket = quote_over(stream);
        for sequence in 2..=5000 {
            socket.send(format!("q BTCUSDT 100 1 101 2 {sequence}").into()).unwrap();
        }
        std::mem::forget(socket);
    });
    let mut rig = Rig::toy(&toy::PLAIN, format!("ws://{address}/"), None);
    let start = Instant::now();
    while rig.board.venues[0].quotes.decoded.value() < 5000 {
        assert!(start.elapsed() < PATIENCE);
        rig.feed.turn(Duration::from_millis(20));
    }
    assert_eq!(rig.board.venues[0].quotes.ring_conflated.value(), 5000 - 1024);
    rig.until("caught up", |rig| matches!(rig.events.last(), Some(FeedEvent::Quote(quote)) if quote.sequence == 5000));
    assert_eq!(rig.events.len(), 1025);
}

/// A venue behind TLS.
struct Secure {
    config: Arc<rustls::ServerConfig>,
    /// The authority that signed it, as a file.
    ca: PathBuf,
}

/// What a certificate is like.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Good,
    OtherName,
    Expired,
    NotYet,
    SelfSigned,
}

impl Secure {
    fn new(kind: Kind) -> Self {
        let mut authority = CertificateParams::new(Vec::new()).unwrap();
        authority.distinguished_name.push(rcgen::DnType::CommonName, "an authority");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        let address = if kind == Kind::OtherName { [127, 0, 0, 2] } else { [127, 0, 0, 1] };
        params.subject_alt_names = vec![SanType::IpAddress(address.into())];
        if kind == Kind::Expired {
            params.not_after = rcgen::date_time_ymd(2020, 1, 1);
        }
        if kind == Kind::NotYet {
            params.not_before = rcgen::date_time_ymd(2200, 1, 1);
        }
        let key = KeyPair::generate().unwrap();
        let certificate = match kind {
            Kind::SelfSigned => params.self_signed(&key).unwrap(),
            _ => params.signed_by(&key, &authority).unwrap(),
        };
        let ca = std::env::temp_dir().join(format!("spreadwire-ca-{}-{kind:?}-{:p}.pem", std::process::id(), &key));
        std::fs::write(&ca, authority.pem()).unwrap();
        Self { config: server(certificate.der().clone(), &key), ca }
    }

    fn serve(
        &self,
        each: impl Fn(rustls::StreamOwned<rustls::ServerConnection, TcpStream>) + Send + 'static,
    ) -> String {
        let config = Arc::clone(&self.config);
        let address = serve(move |_, stream| {
            let tls = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
            each(rustls::StreamOwned::new(tls, stream));
        });
        format!("wss://{address}/toy")
    }
}

impl Drop for Secure {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.ca);
    }
}

fn server(certificate: CertificateDer<'static>, key: &KeyPair) -> Arc<rustls::ServerConfig> {
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], PrivateKeyDer::try_from(key.serialize_der()).unwrap());
    Arc::new(config.unwrap())
}

#[test]
fn wss_is_spoken_with_a_venue_whose_authority_is_trusted() {
    let secure = Secure::new(Kind::Good);
    // Larger than one TLS record and one read.
    let address = secure.serve(|stream| {
        let mut socket = quote_over(stream);
        for sequence in 2..=3000 {
            socket.send(format!("q BTCUSDT 100 1 101 2 {sequence}").into()).unwrap();
        }
        std::mem::forget(socket);
    });
    let mut rig = Rig::toy(&toy::PLAIN, address, Some(&secure.ca));
    rig.until("quoted", |rig| rig.quotes() == 3000);
    assert_eq!(rig.board.venues[0].connection.connects.value(), 1);
}

#[test]
fn a_certificate_that_does_not_hold_is_refused() {
    for (kind, reason) in [
        (Kind::OtherName, "certificate for another name"),
        (Kind::Expired, "certificate expired"),
        (Kind::NotYet, "certificate not valid yet"),
        (Kind::SelfSigned, "certificate of an unknown issuer"),
    ] {
        let secure = Secure::new(kind);
        let address = secure.serve(|mut stream| drop(stream.read(&mut [0; 64])));
        let mut rig = Rig::toy(&toy::PLAIN, address, Some(&secure.ca));
        let why = rig.failure();
        assert!(why.contains(reason), "{kind:?}: {why}");
        assert_eq!(rig.board.venues[0].dial.tls_refused.value(), 1);
        assert!(rig.events.is_empty());
    }
}

#[test]
fn an_unknown_authority_is_refused_without_its_file() {
    let secure = Secure::new(Kind::Good);
    let address = secure.serve(|mut stream| drop(stream.read(&mut [0; 64])));
    let why = Rig::toy(&toy::PLAIN, address, None).failure();
    assert!(why.contains("unknown issuer"), "{why}");
}

#[test]
fn a_plain_server_behind_a_wss_address_is_refused() {
    let address = serve(|_, mut stream| drop(stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")));
    let mut rig = Rig::toy(&toy::PLAIN, format!("wss://{address}/"), None);
    assert!(rig.failure().starts_with("TLS: "));
}

#[test]
fn a_token_is_asked_for_over_verified_tls_only() {
    let secure = Secure::new(Kind::Good);
    let address = secure.serve(|mut stream| {
        // Fails where the client refuses the certificate.
        if stream.read(&mut [0; 1024]).is_ok() {
            let _ = stream.write_all(b"HTTP/1.1 418 Not you\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        }
    });
    let why = Rig::toy(&toy::TOKEN, address.clone(), Some(&secure.ca)).failure();
    assert!(why.contains("418"), "{why}");
    let mut rig = Rig::toy(&toy::TOKEN, address, None);
    let why = rig.failure();
    assert!(why.contains("UnknownIssuer"), "{why}");
    assert_eq!(rig.board.venues[0].dial.tls_refused.value(), 1);
}

#[test]
fn a_handshake_that_stalls_is_left() {
    let address = serve(|_, stream| std::mem::forget(stream));
    let mut rig = Rig::toy(&toy::PLAIN, format!("wss://{address}/"), None);
    let why = rig.failure();
    assert!(why.contains("takes too long"), "{why}");
}

#[test]
fn a_tls_stream_cut_in_a_frame_is_truncation() {
    let secure = Secure::new(Kind::Good);
    let address = secure.serve(|stream| {
        let mut socket = quote_over(stream);
        let stream = socket.get_mut();
        stream.write_all(&[0x81, 23, b'q', b' ']).unwrap();
        stream.flush().unwrap();
        // No close_notify: the socket is closed under TLS.
        stream.sock.shutdown(std::net::Shutdown::Both).unwrap();
    });
    let mut rig = Rig::toy(&toy::PLAIN, address, Some(&secure.ca));
    rig.until("down", |rig| rig.events.contains(&FeedEvent::Down(VenueId(0), Origin::Own)));
    assert_eq!(rig.quotes(), 1);
    assert!(rig.board.venues[0].connection.last_error().unwrap().contains("cut"));
}

#[test]
fn an_authority_file_that_holds_none_is_told_at_start() {
    let path = std::env::temp_dir().join(format!("spreadwire-no-ca-{}.pem", std::process::id()));
    assert!(Trust::new(Some(&path)).is_err_and(|why| why.contains("spreadwire-no-ca")));
    std::fs::write(&path, "no certificate").unwrap();
    let read = Trust::new(Some(&path));
    std::fs::remove_file(&path).unwrap();
    assert!(read.is_err_and(|why| why.contains("no certificate")));
}

/// Everything that the simulator offers, on the venues' own names for it.
fn simulated() -> (Rig, sim::control::SimControl) {
    let sim = Sim::new(SimParts {
        venues: VENUES.to_vec(),
        instruments: default_instruments(),
        listener: Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap(),
        seed: 3,
        rate: sim::RATE_DEFAULT,
        clock: Clock::System,
        options: sim::SimOptions::default(),
    })
    .unwrap();
    let (address, control) = (sim.address(), sim.control());
    // What all of them have; a symbol that one has not is refused, as in life.
    let instruments: Vec<_> = default_instruments().into_iter().filter(|(_, quote)| quote == "USDT").collect();
    let entries = VENUES.iter().map(|venue| VenueEntry {
        name: venue.facts().name.into(),
        taker_fee_pct: Decimal::new(1, 1),
        native: instruments.iter().map(|(base, quote)| venue.native(base, quote).ok()).collect(),
    });
    let directory =
        Directory::new(instruments.iter().map(|(base, quote)| format!("{base}/{quote}")).collect(), entries.collect());
    let venues = (0..).zip(VENUES).map(|(at, venue)| FeedVenue {
        id: VenueId(at),
        venue: *venue,
        address: address_of(*venue, address),
        rest_address: rest_address_of(*venue, address),
        trust: Trust::new(None).unwrap(),
        witness: true,
    });
    let rig = Rig::new(directory, venues.collect(), 4096);
    spawn(vec![Box::new(sim)], None, Idle::Wait, rig.stop.clone()).unwrap();
    (rig, control)
}

#[test]
fn every_simulated_venue_is_connected_subscribed_and_quotes_all_its_instruments() {
    let (mut rig, _control) = simulated();
    rig.until("all subscribed", |rig| {
        rig.board
            .venues
            .iter()
            .all(|v| v.connection.state() == LinkState::Connected && v.coverage.subscribed.value() > 0)
    });
    rig.until("quoted by all", |rig| rig.board.venues.iter().all(|v| v.quotes.decoded.value() > 50));
    for (venue, gauges) in VENUES.iter().zip(&rig.board.venues) {
        let name = venue.facts().name;
        assert_eq!(gauges.source(), Source::Simulated as u8, "{name}");
        assert_eq!(gauges.read.decode_errors.total(), 0, "{name}");
        assert_eq!((gauges.replies.refused.value(), gauges.connection.connects.value()), (0, 1), "{name}");
    }
    for at in 0..VENUES.len() as u16 {
        let instruments: std::collections::BTreeSet<u32> = rig
            .events
            .iter()
            .filter_map(|event| match event {
                FeedEvent::Quote(quote) if quote.venue == VenueId(at) => Some(quote.instrument.0),
                _ => None,
            })
            .collect();
        assert_eq!(instruments.len() as u64, rig.board.venues[usize::from(at)].coverage.subscribed.value());
    }
}

#[test]
fn one_venue_cut_disturbs_no_other() {
    let (mut rig, control) = simulated();
    rig.until("quoted by all", |rig| rig.board.venues.iter().all(|v| v.quotes.decoded.value() > 0));
    control.cut("okx").unwrap();
    let okx = VENUES.iter().position(|v| v.facts().name == "okx").unwrap();
    rig.until("connected again", |rig| rig.board.venues[okx].connection.connects.value() == 2);
    let down: Vec<_> = rig.events.iter().filter(|event| matches!(event, FeedEvent::Down(..))).collect();
    assert_eq!(down, [&FeedEvent::Down(VenueId(okx as u16), Origin::Own)]);
    assert!(rig.board.venues.iter().enumerate().all(|(at, v)| at == okx || v.connection.disconnects.value() == 0));
}

/// Numbers for quotes, rising over all connections of a venue.
static SEQUENCE: AtomicU64 = AtomicU64::new(1);

/// Says a new quote each 10 ms until the other end is gone, or `until`.
fn quotes_on(socket: &mut tungstenite::WebSocket<TcpStream>, until: impl Fn() -> bool) {
    socket.get_mut().set_read_timeout(Some(Duration::from_millis(10))).unwrap();
    while !until() {
        let number = SEQUENCE.fetch_add(1, Ordering::Relaxed);
        if socket.send(format!("q BTCUSDT 100 1 101 2 {number}").into()).is_err() {
            return;
        }
        match socket.read() {
            Err(tungstenite::Error::Io(error)) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => return,
            Ok(_) => {}
        }
    }
}

/// Serves each connection on a thread of its own.
fn serve_each(each: impl Fn(usize, TcpStream) + Clone + Send + 'static) -> String {
    serve(move |at, stream| {
        let each = each.clone();
        std::thread::spawn(move || each(at, stream));
    })
}

/// Silence is not what is tested, and the hand turns the clock faster than a loaded machine serves.
const PATIENT_MS: u64 = 3_600_000;

fn patient() -> FeedOptions {
    FeedOptions {
        silence_ping_ms: PATIENT_MS,
        silence_max_ms: PATIENT_MS,
        pair_silence_ms: 0,
        ..FeedOptions::default()
    }
}

/// A new connection that never quotes does not take over; when the old one ends, another is made as soon as ever.
#[test]
fn a_new_connection_without_prices_is_given_up_and_holds_nothing_up() {
    let leaves = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&leaves);
    let address = serve_each(move |at, stream| match at {
        0 => {
            let mut socket = quote_over(stream);
            socket.send("leaving".into()).unwrap();
            quotes_on(&mut socket, || flag.load(Ordering::Acquire));
        }
        1 => {
            let mut socket = tungstenite::accept(stream).unwrap();
            while socket.read().is_ok() {}
        }
        _ => quotes_on(&mut quote_over(stream), || false),
    });
    let hand = HandClock::new(MonoNs(100 * SECOND), UnixNs::from_ms(1_700_000_000_000));
    let mut rig = Rig::toy_with(hand.clock(), &toy::PLAIN, format!("ws://{address}/toy"), None, patient());
    rig.until_by(&hand, "tried", |rig| rig.board.venues[0].connection.connects.value() == 2);
    let opened = hand.clock().now();
    rig.until_by(&hand, "given up", |_| hand.clock().now().since(opened) > 70 * SECOND);
    assert_eq!((voids(&rig), rig.board.venues[0].connection.replaced.value()), (Vec::new(), 0));
    leaves.store(true, Ordering::Release);
    let left = hand.clock().now();
    rig.until_by(&hand, "connected anew", |rig| rig.board.venues[0].connection.connects.value() == 3);
    assert!(hand.clock().now().since(left) < 60 * SECOND, "it waited for what the second line waited for");
    let before = rig.quotes();
    rig.until_by(&hand, "quoted", |rig| rig.quotes() > before + 5);
    let gone = voids(&rig);
    assert!(!gone.is_empty() && gone.iter().all(|event| !matches!(event, FeedEvent::Quote(_))), "{gone:?}");
}

fn voids(rig: &Rig) -> Vec<&FeedEvent> {
    let is_void = |event: &&FeedEvent| matches!(event, FeedEvent::Void(..) | FeedEvent::Down(..) | FeedEvent::Left(_));
    rig.events.iter().filter(is_void).collect()
}

#[test]
fn a_connection_that_will_be_ended_is_replaced_before_and_no_quote_is_void() {
    let address = serve_each(|at, stream| {
        let mut socket = quote_over(stream);
        if at == 0 {
            socket.send("leaving".into()).unwrap();
        }
        quotes_on(&mut socket, || false);
    });
    let mut rig = Rig::toy(&toy::PLAIN, format!("ws://{address}/toy"), None);
    rig.until("replaced", |rig| rig.board.venues[0].connection.replaced.value() == 1);
    let before = rig.quotes();
    rig.until("quoted by the new one", |rig| rig.quotes() > before + 20);
    assert_eq!(voids(&rig), Vec::<&FeedEvent>::new());
    let gauges = &rig.board.venues[0];
    assert_eq!(
        (gauges.connection.connects.value(), gauges.connection.disconnects.value(), gauges.coverage.subscribed.value()),
        (2, 0, 1)
    );
    assert_eq!((gauges.connection.state(), gauges.connection.open.value()), (LinkState::Connected, 1));
    assert_eq!(gauges.connection.wanted.value(), 1);
}

#[test]
fn before_the_age_at_which_a_venue_ends_it_a_connection_is_replaced_again_and_again() {
    let address = serve_each(|_, stream| quotes_on(&mut quote_over(stream), || false));
    let hand = HandClock::new(MonoNs(100 * SECOND), UnixNs::from_ms(1_700_000_000_000));
    let mut rig = Rig::toy_with(hand.clock(), &toy::SHORT, format!("ws://{address}/toy"), None, patient());
    rig.until_by(&hand, "replaced three times", |rig| rig.board.venues[0].connection.replaced.value() == 3);
    assert_eq!(voids(&rig), Vec::<&FeedEvent>::new());
    assert_eq!(
        (rig.board.venues[0].connection.connects.value(), rig.board.venues[0].connection.disconnects.value()),
        (4, 0)
    );
}

#[test]
fn if_the_new_connection_fails_the_old_one_goes_on() {
    let address = serve_each(|at, stream| {
        if at == 0 {
            let mut socket = quote_over(stream);
            socket.send("leaving".into()).unwrap();
            quotes_on(&mut socket, || false);
        }
    });
    let mut rig = Rig::toy(&toy::PLAIN, format!("ws://{address}/toy"), None);
    rig.until("tried three times", |rig| rig.board.venues[0].dial.attempts.value() == 4);
    let before = rig.quotes();
    rig.until("quoted by the old one", |rig| rig.quotes() > before + 20);
    assert_eq!(voids(&rig), Vec::<&FeedEvent>::new());
    let gauges = &rig.board.venues[0];
    assert_eq!(
        (gauges.connection.state(), gauges.connection.open.value(), gauges.connection.replaced.value()),
        (LinkState::Connected, 1, 0)
    );
}

#[test]
fn if_the_old_connection_ends_too_early_only_what_the_new_one_has_not_quoted_is_void() {
    let (is_there, is_void) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let flags = (Arc::clone(&is_there), Arc::clone(&is_void));
    let address = serve_each(move |at, stream| {
        let (is_there, is_void) = &flags;
        if at == 0 {
            let mut socket = quote_over(stream);
            socket.send("leaving".into()).unwrap();
            quotes_on(&mut socket, || is_there.load(Ordering::Acquire));
            return;
        }
        let mut socket = tungstenite::accept(stream).unwrap();
        socket.read().unwrap();
        is_there.store(true, Ordering::Release);
        while !is_void.load(Ordering::Acquire) {
            std::thread::sleep(Duration::from_millis(5));
        }
        quotes_on(&mut socket, || false);
    });
    let mut rig = Rig::toy(&toy::PLAIN, format!("ws://{address}/toy"), None);
    rig.until("void", |rig| !voids(rig).is_empty());
    is_void.store(true, Ordering::Release);
    let before = rig.quotes();
    rig.until("quoted by the new one", |rig| rig.quotes() > before + 5);
    assert_eq!(voids(&rig), [&FeedEvent::Void(InstrumentId(0), VenueId(0), Origin::Own, BookVoid::Lost)]);
    assert_eq!((rig.board.venues[0].connection.connects.value(), rig.board.venues[0].dial.attempts.value()), (2, 2));
}

#[test]
fn a_venue_of_two_connections_loses_one_and_only_its_instruments_are_void() {
    let address = serve_each(|at, stream| {
        let mut socket = tungstenite::accept(stream).unwrap();
        let Ok(asked) = socket.read() else { return };
        let symbol = asked.to_string().split_once(' ').unwrap().1.to_owned();
        socket.send(format!("ack {symbol}").into()).unwrap();
        for n in 0.. {
            if socket.send(format!("q {symbol} 100 1 101 2 {}", at * 100_000 + n).into()).is_err()
                || (at == 1 && n == 20)
            {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    let native = vec![Some("BTCUSDT".to_owned()), Some("ETHUSDT".to_owned())];
    let entry = VenueEntry { name: "narrow".into(), taker_fee_pct: Decimal::new(1, 1), native };
    let directory = Directory::new(vec!["BTC/USDT".into(), "ETH/USDT".into()], vec![entry]);
    let trust = Trust::new(None).unwrap();
    let address = format!("ws://{address}/toy");
    let venues = vec![FeedVenue {
        id: VenueId(0),
        venue: &toy::NARROW,
        address,
        rest_address: String::new(),
        trust,
        witness: true,
    }];
    let mut rig = Rig::new(directory, venues, 1024);
    rig.until("both open", |rig| rig.board.venues[0].connection.open.value() == 2);
    rig.until("one lost", |rig| rig.board.venues[0].connection.open.value() == 1);
    assert_eq!(rig.board.venues[0].connection.state(), LinkState::Connected, "the other is there");
    rig.until("both again", |rig| rig.board.venues[0].connection.open.value() == 2);
    rig.until("subscribed again", |rig| rig.board.venues[0].coverage.subscribed.value() == 2);
    let [FeedEvent::Void(void, VenueId(0), Origin::Own, BookVoid::Lost)] = voids(&rig)[..] else {
        panic!("{:?}", voids(&rig))
    };
    let lost = rig.events.iter().position(|event| matches!(event, FeedEvent::Void(..))).unwrap();
    let after: Vec<_> = rig.events[lost..].iter().collect();
    assert!(after.iter().any(|event| matches!(event, FeedEvent::Quote(quote) if quote.instrument != *void)));
    assert_eq!(
        (rig.board.venues[0].connection.wanted.value(), rig.board.venues[0].connection.disconnects.value()),
        (2, 1)
    );
}

#[test]
fn the_clocks_of_simulated_venues_are_those_of_this_machine() {
    let (mut rig, _control) = simulated();
    let at = |name: &str| VENUES.iter().position(|venue| venue.facts().name == name).unwrap();
    let (okx, bybit) = (at("okx"), at("bybit"));
    rig.until("clocks known", |rig| [okx, bybit].iter().all(|at| rig.board.venues[*at].lag.clock.value().is_some()));
    for venue in [okx, bybit] {
        let (offset_ns, one_way_ns) = rig.board.venues[venue].lag.clock.value().unwrap();
        assert!(offset_ns.unsigned_abs() < SECOND && one_way_ns < SECOND, "{offset_ns} {one_way_ns}");
        assert_eq!(rig.board.venues[venue].lag.future_stamps.value(), 0);
    }
}
