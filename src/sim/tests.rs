use std::net::TcpStream;

use tungstenite::Message;
use tungstenite::stream::MaybeTlsStream;

use super::*;
use crate::market::{Decimal, Level};
use crate::sim::control::ControlError;
use crate::sim::plain::{PLAIN, line};
use crate::time::{HandClock, UnixNs};

fn sim(rate: f64, clock: Clock, options: SimOptions) -> Sim {
    let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let instruments = vec![("BTC".into(), "USDT".into()), ("ETH".into(), "USD".into())];
    Sim::new(SimParts { venues: PLAIN.to_vec(), instruments, listener, seed: 1, rate, clock, options }).unwrap()
}

/// Runs a simulator on its own thread until dropped.
struct Running {
    stop: crate::stage::Stop,
    address: SocketAddr,
    control: SimControl,
    thread: Option<std::thread::JoinHandle<()>>,
}

fn start(rate: f64, options: SimOptions) -> Running {
    start_at(rate, Clock::System, options)
}

fn start_at(rate: f64, clock: Clock, options: SimOptions) -> Running {
    let sim = sim(rate, clock, options);
    let (stop, address, control) = (crate::stage::Stop::default(), sim.address(), sim.control());
    let thread = crate::stage::spawn(vec![Box::new(sim)], None, crate::stage::Idle::Wait, stop.clone()).unwrap();
    Running { stop, address, control, thread: Some(thread) }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.request();
        let _ = self.thread.take().map(std::thread::JoinHandle::join);
    }
}

type Socket = tungstenite::WebSocket<MaybeTlsStream<TcpStream>>;

fn dial(address: &str) -> Socket {
    let (mut socket, reply) = tungstenite::connect(address).unwrap();
    assert_eq!(reply.headers()["x-spreadwire-source"], "simulated");
    if let MaybeTlsStream::Plain(tcp) = socket.get_mut() {
        tcp.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    }
    socket
}

/// The next text that begins with `word`.
fn next(socket: &mut Socket, word: &str) -> String {
    loop {
        match socket.read().unwrap() {
            Message::Text(text) if text.starts_with(word) => return text.to_string(),
            _ => {}
        }
    }
}

fn level(price: u64) -> Level {
    Level { price: Decimal::new(price, 0), size: Decimal::new(15, 1) }
}

#[test]
fn addresses_keep_the_path_of_the_real_ones() {
    let listen = "127.0.0.1:9000".parse().unwrap();
    let all: Vec<String> = PLAIN.iter().map(|v| address_of(*v, listen)).collect();
    let expected = ["ws://127.0.0.1:9000/plain/v1/ws", "ws://127.0.0.1:9000/bare", "ws://127.0.0.1:9000/asked"];
    assert_eq!(all, expected);
}

#[test]
fn a_real_client_subscribes_and_gets_quotes_over_a_socket() {
    let running = start(500.0, SimOptions::default());
    let mut socket = dial(&address_of(PLAIN[0], running.address));
    assert_eq!(next(&mut socket, "hello"), "hello /v1/ws");
    socket.send(Message::text("sub BTC-USDT")).unwrap();
    let mut last = 0;
    for _ in 0..20 {
        let text = next(&mut socket, "quote BTC-USDT ");
        let sequence: u64 = text.rsplit_once(' ').unwrap().1.parse().unwrap();
        assert!(last == 0 || sequence == last + 1, "{text} after {last}");
        last = sequence;
    }
    next(&mut socket, "day BTC-USDT ");
    next(&mut socket, "beat ");
}

#[test]
fn statistics_carry_the_time_of_their_own_event_and_not_that_of_the_last_quote() {
    let hand = HandClock::new(MonoNs(SECOND), UnixNs::from_ms(1_786_613_159_000));
    let running = start_at(0.0, hand.clock(), SimOptions::default());
    let mut socket = dial(&address_of(PLAIN[0], running.address));
    socket.send(Message::text("sub BTC-USDT")).unwrap();
    next(&mut socket, "quote BTC-USDT ");
    for _ in 0..3 {
        hand.advance(5 * SECOND);
        let day = next(&mut socket, "day BTC-USDT ");
        assert_eq!(day.rsplit_once(' ').unwrap().1, hand.clock().unix().ms().to_string(), "{day}");
    }
}

#[test]
fn what_is_set_by_hand_arrives_exactly_and_silence_is_silent() {
    let running = start(0.0, SimOptions::default());
    let control = &running.control;
    let mut socket = dial(&format!("ws://{}/bare", running.address));
    socket.send(Message::text("sub BTC-USDT")).unwrap();
    next(&mut socket, "quote");
    control.set_quote("bare", "BTC/USDT", level(100), level(101)).unwrap();
    assert_eq!(next(&mut socket, "quote"), "quote BTC-USDT 100 1.5 101 1.5 3");
    control.silence("bare").unwrap();
    control.set_quote("bare", "BTC/USDT", level(200), Level::ABSENT).unwrap();
    control.set_quote("bare", "BTC/USDT", level(300), level(250)).unwrap();
    control.speak("bare").unwrap();
    assert_eq!(next(&mut socket, "quote"), "quote BTC-USDT 300 1.5 250 1.5 5");
    assert_eq!(control.silence("no-such"), Err(ControlError::Venue));
    assert_eq!(control.release("asked", "ETH/USD"), Err(ControlError::Instrument));
}

#[test]
fn a_cut_takes_one_venue_only_and_refusal_lasts_until_told() {
    let running = start(0.0, SimOptions::default());
    let mut cut = dial(&format!("ws://{}/bare", running.address));
    let mut kept = dial(&format!("ws://{}/plain", running.address));
    next(&mut cut, "hello");
    next(&mut kept, "hello");
    running.control.refuse("bare", true).unwrap();
    running.control.cut("bare").unwrap();
    while cut.read().is_ok() {}
    kept.send(Message::text("sub BTC-USDT")).unwrap();
    next(&mut kept, "ok");
    let again = tungstenite::connect(format!("ws://{}/bare", running.address));
    assert!(matches!(again, Err(tungstenite::Error::Http(reply)) if reply.status() == 503));
    running.control.refuse("bare", false).unwrap();
    kept.send(Message::text("sub ETH-USD")).unwrap();
    next(&mut kept, "ok ETH-USD");
    next(&mut dial(&format!("ws://{}/bare", running.address)), "hello");
}

#[test]
fn a_client_that_does_not_read_never_stops_the_others() {
    let mut options = SimOptions::default();
    options.client.output_max = 4096;
    let mut sim = sim(0.0, Clock::System, options);
    let address = format!("ws://{}/bare", sim.address());
    let dialling = std::thread::spawn(move || {
        let (mut deaf, mut good) = (dial(&address), dial(&address));
        for socket in [&mut deaf, &mut good] {
            socket.send(Message::text("sub BTC-USDT")).unwrap();
            next(socket, "quote");
        }
        (deaf, good)
    });
    while !dialling.is_finished() {
        sim.turn(Duration::from_millis(5));
    }
    let (_deaf, mut good) = dialling.join().unwrap();
    let cell = sim.prices().cell_of(1, "BTC/USDT").unwrap();
    let mut sent = 0;
    // Each turn sends a frame to both clients, and only one client reads. In the end only that client is left.
    while sim.clients() == 2 {
        for _ in 0..200 {
            sim.control().set_quote("bare", "BTC/USDT", level(100 + sent), level(101 + sent)).unwrap();
            sim.turn(Duration::ZERO);
            sent += 1;
            assert_eq!(next(&mut good, "quote"), line(sim.prices().quote(cell).1));
        }
        assert!(sent < 1_000_000, "the kernel took everything");
    }
    assert_eq!((sim.clients(), sim.counts().slow), (1, 1));
}

#[test]
fn the_pace_neither_drifts_nor_makes_up_for_a_long_pause() {
    let hand = HandClock::new(MonoNs(SECOND), UnixNs::from_ms(1_000_000));
    let mut sim = sim(200.0, hand.clock(), SimOptions::default());
    // Uneven turns of 3, 7 and 11 ms for ten seconds.
    for n in 0..1428 {
        hand.advance([3, 7, 11][n % 3] * 1_000_000);
        sim.turn(Duration::ZERO);
    }
    assert_eq!(sim.counts().updates, 1999);
    assert_eq!(sim.counts().skipped, 0);
    hand.advance(60 * SECOND);
    for _ in 0..10 {
        sim.turn(Duration::ZERO);
    }
    let made_up = sim.counts().updates - 1999;
    assert!(made_up <= 51, "{made_up}");
    assert_eq!(sim.counts().skipped + made_up, 12_000);
}

#[test]
fn clients_beyond_the_limit_are_closed_at_once() {
    let mut sim = sim(0.0, Clock::System, SimOptions { clients_max: 3, ..SimOptions::default() });
    let sockets: Vec<TcpStream> = (0..5).map(|_| TcpStream::connect(sim.address()).unwrap()).collect();
    while sim.counts().accepted + sim.counts().over_limit < 5 {
        sim.turn(Duration::from_millis(5));
    }
    assert_eq!((sim.clients(), sim.counts().over_limit), (3, 2));
    drop(sockets);
    while sim.clients() > 0 {
        sim.turn(Duration::from_millis(5));
    }
}

#[test]
fn at_the_end_every_client_is_told() {
    let running = start(50.0, SimOptions::default());
    let mut socket = dial(&format!("ws://{}/bare", running.address));
    next(&mut socket, "hello");
    drop(running);
    let close = loop {
        if let Message::Close(frame) = socket.read().unwrap() {
            break frame.unwrap();
        }
    };
    assert_eq!(u16::from(close.code), 1001);
}

#[test]
fn without_clients_the_thread_sleeps() {
    let hand = HandClock::new(MonoNs(SECOND), UnixNs(0));
    let mut sim = sim(10_000.0, hand.clock(), SimOptions::default());
    sim.turn(Duration::ZERO);
    assert_eq!(sim.sleep(crate::stage::WAIT_MAX), crate::stage::WAIT_MAX);
}
