//! The stage turned by hand on a clock that the test moves: a client receives exactly what it subscribes to, whatever it
//! requested before.

use std::collections::BTreeMap;

use proptest::prelude::*;
use spreadwire::market::Decimal;
use spreadwire::market::book::{Book, BookStamp, Side};
use spreadwire::stage::Stage;
use spreadwire::time::HandClock;

use super::*;
use crate::client_frames::{masked, texts_of};

/// A gateway that only the test turns.
pub(super) struct Turned {
    pub(super) rig: Rig,
    pub(super) gateway: Gateway,
    hand: HandClock,
    /// How often quotes were replaced.
    round: u64,
}

impl Turned {
    pub(super) fn new(mut settings: GatewaySettings) -> Self {
        settings.books.levels = 5;
        let hand = HandClock::new(MonoNs(1000 * SECOND), UnixNs::from_ms(1_700_000_000_000));
        let (rig, gateway) = Rig::by_hand(settings, hand.clock());
        Self { rig, gateway, hand, round: 0 }
    }

    fn turn(&mut self) -> usize {
        self.gateway.turn(Duration::ZERO)
    }

    /// Turns until no work is left.
    pub(super) fn rest(&mut self) {
        while self.turn() > 0 {}
        self.turn();
    }

    /// Lets time pass in steps short enough for every interval.
    pub(super) fn pass(&mut self, mut ms: u64) {
        while ms > 0 {
            let step = ms.min(100);
            self.hand.advance(step * MS);
            self.rest();
            ms -= step;
        }
    }

    fn connect(&mut self) -> Peer {
        let tcp = TcpStream::connect(self.rig.address).unwrap();
        tcp.set_nonblocking(true).unwrap();
        tcp.set_nodelay(true).unwrap();
        Peer { tcp, input: Vec::new() }
    }

    fn client(&mut self) -> Peer {
        let peer = self.connect();
        self.upgraded(peer)
    }

    /// A client whose kernel buffers little: what it does not read waits in the gateway.
    fn narrow_client(&mut self) -> Peer {
        let peer = self.connect_narrow();
        self.upgraded(peer)
    }

    fn connect_narrow(&self) -> Peer {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        socket.connect(&self.rig.address.into()).unwrap();
        let tcp: TcpStream = socket.into();
        tcp.set_nonblocking(true).unwrap();
        Peer { tcp, input: Vec::new() }
    }

    fn upgraded(&mut self, mut peer: Peer) -> Peer {
        peer.tcp.write_all(UPGRADE.as_bytes()).unwrap();
        let end = self.until(&mut peer, |bytes| bytes.windows(4).position(|four| four == b"\r\n\r\n"));
        assert!(peer.input.starts_with(b"HTTP/1.1 101"));
        peer.input.drain(..end + 4);
        peer
    }

    /// Turns until `found` finds something in what `peer` received.
    fn until<T>(&mut self, peer: &mut Peer, found: impl Fn(&[u8]) -> Option<T>) -> T {
        for _ in 0..100_000 {
            self.turn();
            peer.read();
            if let Some(it) = found(&peer.input) {
                return it;
            }
        }
        panic!("nothing came but {:?}", String::from_utf8_lossy(&peer.input));
    }

    /// Changes every quote, every book and the one opportunity.
    fn renew(&mut self) {
        self.round += 1;
        for symbol in ["BTC/USDT", "ETH/USDT"] {
            for venue in ["binance", "kraken"] {
                self.rig.quote(symbol, venue, &self.round.to_string(), "100000");
                let mut book = Book::default();
                book.set(Side::Bid, Level { price: Decimal::new(self.round, 0), size: Decimal::new(1, 0) });
                let stamp = BookStamp { received: self.rig.clock.now(), ..BookStamp::default() };
                self.rig.books.publish(self.rig.pair(symbol, venue), &book, stamp);
            }
        }
        let change = if self.round == 1 { Change::Opened } else { Change::Updated };
        let event = self.rig.event("BTC/USDT", ("kraken", "42500"), ("binance", "42925"), change, false);
        let opened = Opportunity { opened: MonoNs(999 * SECOND), ..event.opportunity };
        self.rig.events.push(OpportunityEvent { opportunity: opened, ..event }).unwrap();
    }
}

/// The client's end of a connection; does not block.
struct Peer {
    tcp: TcpStream,
    input: Vec<u8>,
}

impl Peer {
    fn read(&mut self) {
        let mut buffer = [0; 16 * 1024];
        while let Ok(length) = self.tcp.read(&mut buffer) {
            if length == 0 {
                return;
            }
            self.input.extend_from_slice(&buffer[..length]);
        }
    }

    /// Sends a text message under the mask 0.
    fn say(&mut self, text: &str) {
        self.tcp.write_all(&masked(text)).unwrap();
    }

    /// All whole text messages that arrived.
    fn texts(&mut self) -> Vec<String> {
        self.read();
        texts_of(&mut self.input)
    }
}

impl Drop for Peer {
    /// A reset: thousands of connections must not occupy the ports of the machine.
    fn drop(&mut self) {
        let _ = rustix::net::sockopt::set_socket_linger(&self.tcp, Some(Duration::ZERO));
    }
}

// What is subscribed to is sent, and nothing else.

const SPELLINGS: [&str; 4] = ["BTC/USDT", "btc/usdt", "ETH/USDT", "NOPE/USDT"];
const EXCHANGES: [&str; 3] = ["binance", "Kraken", "nowhere"];
const BOOKS: [(&str, &str); 3] = [("BTC/USDT", "binance"), ("eth/usdt", "kraken"), ("ETH/USDT", "nowhere")];

#[derive(Clone, Debug)]
struct Step {
    subscribes: bool,
    symbols: u8,
    exchanges: u8,
    books: Option<u8>,
    interval: Option<u64>,
    extended: Option<bool>,
    follows: Option<bool>,
    /// Milliseconds until the next step.
    pause: u64,
    /// Whether messages are checked after this step.
    looks: bool,
}

fn step() -> impl Strategy<Value = Step> {
    let masks = (prop_oneof![Just(15u8), 0u8..16], prop_oneof![Just(7u8), 0u8..8], proptest::option::of(0u8..8));
    let interval =
        prop_oneof![3 => Just(None), 1 => prop_oneof![Just(0), Just(20), Just(500), Just(700)].prop_map(Some)];
    let asked = (interval, proptest::option::of(any::<bool>()), proptest::option::of(any::<bool>()));
    let pause = prop_oneof![Just(0), 0u64..60, Just(499), Just(501), 600u64..1300];
    (any::<bool>(), masks, asked, pause, proptest::bool::weighted(0.3)).prop_map(
        |(subscribes, (symbols, exchanges, books), (interval, extended, follows), pause, looks)| Step {
            subscribes,
            symbols,
            exchanges,
            books,
            interval,
            extended,
            follows,
            pause,
            looks,
        },
    )
}

fn chosen<T: Copy>(all: &[T], mask: u8) -> Vec<T> {
    all.iter().enumerate().filter(|(at, _)| mask >> at & 1 == 1).map(|(_, name)| *name).collect()
}

/// What a client is subscribed to.
#[derive(Debug)]
struct Holds {
    symbols: Vec<&'static str>,
    exchanges: Vec<&'static str>,
    books: Vec<(&'static str, &'static str)>,
    /// 0: every change.
    interval: u64,
    extended: bool,
    follows: bool,
}

fn amend<T: Copy + PartialEq>(set: &mut Vec<T>, names: &[T], adds: bool) {
    match adds {
        true => names.iter().for_each(|name| {
            if !set.contains(name) {
                set.push(*name);
            }
        }),
        false => set.retain(|name| !names.contains(name)),
    }
}

impl Holds {
    /// Applies `step` and returns the request for it.
    fn ask(&mut self, step: &Step) -> Value {
        let (symbols, exchanges) = (chosen(&SPELLINGS, step.symbols), chosen(&EXCHANGES, step.exchanges));
        let action = if step.subscribes { "subscribe" } else { "unsubscribe" };
        amend(&mut self.symbols, &symbols, step.subscribes);
        amend(&mut self.exchanges, &exchanges, step.subscribes);
        let mut request = json!({"action": action, "symbols": symbols, "exchanges": exchanges});
        if let Some(mask) = step.books {
            let books = chosen(&BOOKS, mask);
            amend(&mut self.books, &books, step.subscribes);
            request["books"] = books.iter().map(|(symbol, on)| json!({"symbol": symbol, "exchange": on})).collect();
        }
        if step.subscribes {
            self.interval = step.interval.unwrap_or(self.interval);
            self.extended = step.extended.unwrap_or(self.extended);
            self.follows = step.follows.unwrap_or(self.follows);
            for (name, value) in [
                ("intervalMs", step.interval.map(Value::from)),
                ("extended", step.extended.map(Value::from)),
                ("opportunities", step.follows.map(Value::from)),
            ] {
                if let Some(value) = value {
                    request[name] = value;
                }
            }
        }
        request
    }

    /// What can be sent now, as the beginnings of its messages.
    fn flow(&self) -> Vec<String> {
        let mut flow = Vec::new();
        let quoted = |symbol: &&&str| !symbol.starts_with("NOPE");
        for symbol in self.symbols.iter().filter(quoted) {
            for exchange in self.exchanges.iter().filter(|exchange| **exchange != "nowhere") {
                flow.push(format!(r#"{{"type":"price","symbol":"{symbol}","exchange":"{exchange}""#));
            }
            if self.follows && symbol.eq_ignore_ascii_case("BTC/USDT") {
                flow.push(format!(r#"{{"type":"opportunity" "{symbol}""#));
            }
        }
        for (symbol, exchange) in self.books.iter().filter(|(_, exchange)| *exchange != "nowhere") {
            flow.push(format!(r#"{{"type":"book","symbol":"{symbol}","exchange":"{exchange}""#));
        }
        flow.sort();
        flow
    }
}

/// What `text` is about, as in [`Holds::flow`].
fn subject(text: &str) -> Option<String> {
    if text.starts_with(r#"{"type":"opportunity""#) {
        let symbol = text.split(r#""symbol":""#).nth(1)?.split('"').next()?;
        return Some(format!(r#"{{"type":"opportunity" "{symbol}""#));
    }
    let is_flow = text.starts_with(r#"{"type":"price""#) || text.starts_with(r#"{"type":"book""#);
    let end = text.match_indices('"').nth(11)?.0;
    (is_flow && !text.contains(r#""exchange":"nowhere""#)).then(|| text[..=end].to_owned())
}

/// Counts the messages, and checks that all of them are subscribed to.
fn take(peer: &mut Peer, holds: &Holds) -> Result<BTreeMap<String, u64>, TestCaseError> {
    let (flow, mut came) = (holds.flow(), BTreeMap::new());
    for text in peer.texts() {
        let Some(subject) = subject(&text) else { continue };
        prop_assert!(flow.contains(&subject), "{subject} came, held is {flow:?}");
        if text.starts_with(r#"{"type":"price""#) {
            prop_assert_eq!(text.contains("ageMs"), holds.extended, "{}", text);
        }
        *came.entry(subject).or_default() += 1;
    }
    Ok(came)
}

/// Everything subscribed to arrives within the interval; a client of every change receives each change once.
fn looks(turned: &mut Turned, peer: &mut Peer, holds: &Holds) -> Result<(), TestCaseError> {
    turned.rest();
    take(peer, holds)?;
    turned.renew();
    turned.rest();
    // Bursts begin on a multiple of 100 ms, and books have an interval of that length. The next burst omits a price that was
    // sent out of turn.
    let time = 2 * holds.interval + 110;
    turned.pass(time);
    let came = take(peer, holds)?;
    prop_assert_eq!(came.keys().cloned().collect::<Vec<_>>(), holds.flow(), "of what is held");
    for (subject, count) in came.iter().filter(|(subject, _)| subject.starts_with(r#"{"type":"price""#)) {
        let most = 1 + time.checked_div(holds.interval).unwrap_or(0);
        prop_assert!(*count <= most, "{subject}: {count} times");
    }
    Ok(())
}

fn flows(steps: &[Step]) -> Result<(), TestCaseError> {
    let mut turned = Turned::new(settings(|o| (o.gateway.commands_per_s, o.gateway.commands_burst) = (1000, 1000)));
    turned.renew();
    let mut peer = turned.client();
    let (symbols, exchanges, books) = (Vec::new(), Vec::new(), Vec::new());
    let mut holds = Holds { symbols, exchanges, books, interval: 500, extended: false, follows: false };
    for step in steps {
        take(&mut peer, &holds)?;
        let request = holds.ask(step);
        peer.say(&request.to_string());
        let reply: &[u8] = if step.subscribes { b"Successfully subscribed" } else { b"Successfully unsubscribed" };
        turned.until(&mut peer, |bytes| bytes.windows(reply.len()).position(|some| some == reply));
        turned.rest();
        // Messages before the reply belong to the subscription before.
        let texts = peer.texts();
        let at = texts.iter().position(|text| text.contains("Successfully")).unwrap();
        for text in &texts[at + 1..] {
            if let Some(subject) = subject(text) {
                prop_assert!(holds.flow().contains(&subject), "{subject} came after {request}");
            }
        }
        if step.looks {
            looks(&mut turned, &mut peer, &holds)?;
        }
        turned.pass(step.pause);
    }
    looks(&mut turned, &mut peer, &holds)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_of_requests_leaves_exactly_the_subscribed_messages(steps in proptest::collection::vec(step(), 1..7)) {
        flows(&steps)?;
    }
}

#[test]
fn prices_are_sent_again_after_an_interval_without_subscription() {
    let all = Step {
        subscribes: true,
        symbols: 1,
        exchanges: 1,
        books: None,
        interval: None,
        extended: None,
        follows: None,
        pause: 700,
        looks: false,
    };
    let none = Step { subscribes: false, ..all.clone() };
    flows(&[all.clone(), none, all]).unwrap();
}

// A client with many requests does not delay others.

/// Every page, the expensive ones with as many names as fit.
fn targets() -> Vec<String> {
    let names: Vec<String> = (0..500).map(|n| format!("C{n}/USD")).collect();
    let pages = [
        "/",
        "/api",
        "/api/book?symbol=BTC/USDT&levels=1000",
        "/api/opportunities",
        "/api/instruments",
        "/api/status",
        "/api/market-data/health",
        "/api/websocket/stats",
        "/api/latency",
        "/metrics",
        "/livez",
        "/readyz",
        "/nowhere",
    ];
    let long = ["/api/market-data/prices?pairs=", "/api/exchanges/prices?symbol=BTC/USDT&exchanges="];
    let long = long.iter().map(|path| format!("{path}{}", names.join(",")));
    pages.iter().map(|page| (*page).to_owned()).chain(long).collect()
}

#[test]
fn pipelined_requests_use_a_limited_share_of_each_turn_and_do_not_delay_changes() {
    let mut turned = Turned::new(GatewaySettings::default());
    turned.renew();
    let mut live = turned.client();
    live.say(r#"{"action":"subscribe","symbols":["BTC/USDT"],"exchanges":["binance"],"intervalMs":0}"#);
    turned.until(&mut live, |bytes| bytes.windows(7).position(|some| some == b"\"price\""));
    let targets = targets();
    let mut busy: Vec<Peer> = (0..40).map(|_| turned.connect()).collect();
    turned.rest();
    let ask = |peer: &mut Peer, target: &str| {
        let _ = peer.tcp.write_all(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
    };
    for (at, peer) in busy.iter_mut().enumerate() {
        for _ in 0..30 {
            ask(peer, &targets[at % targets.len()]);
        }
    }
    let mut probe = turned.connect();
    turned.turn();
    ask(&mut probe, "/livez");
    live.texts();
    let gauge = |turned: &Turned| turned.rig.board.gateways[0].http.requests.value();
    let (begun, mut most, mut probed) = (gauge(&turned), 0, None);
    for round in 0..100 {
        turned.rig.quote("BTC/USDT", "binance", &(1000 + round).to_string(), "100000");
        let before = gauge(&turned);
        turned.turn();
        most = most.max(gauge(&turned) - before);
        let texts = live.texts();
        assert!(texts.iter().any(|text| text.contains(&format!(r#""bid":{}"#, 1000 + round))), "{round}: {texts:?}");
        busy.iter_mut().for_each(Peer::read);
        probe.read();
        probed = probed.or_else(|| probe.input.starts_with(b"HTTP/1.1 200").then_some(round));
    }
    assert!(most <= 64, "{most} requests in a turn");
    assert!(gauge(&turned) - begun >= 100, "none is left out for ever");
    // Each of the others waits for at most four responses.
    assert!(probed.is_some_and(|round| round <= 4), "{probed:?}");
}

#[test]
fn a_page_that_many_request_at_once_is_rendered_a_few_times() {
    let mut turned = Turned::new(GatewaySettings::default());
    let mut peers: Vec<Peer> = (0..40).map(|_| turned.connect()).collect();
    for peer in &mut peers {
        peer.tcp.write_all("GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n".repeat(4).as_bytes()).unwrap();
    }
    turned.rest();
    let gauges = &turned.rig.board.gateways[0];
    assert_eq!((gauges.http.requests.value(), gauges.http.shared.value()), (160, 156));
    for peer in &mut peers {
        let four = |bytes: &[u8]| (String::from_utf8_lossy(bytes).matches("HTTP/1.1 200").count() == 4).then_some(());
        turned.until(peer, four);
    }
    // Later it is rendered again.
    turned.pass(100);
    let mut client = turned.client();
    client.say(r#"{"action":"subscribe","symbols":["A/B"],"exchanges":["x"]}"#);
    turned.rest();
    let mut probe = turned.connect();
    probe.tcp.write_all(b"GET /api/websocket/stats HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    turned.until(&mut probe, |bytes| String::from_utf8_lossy(bytes).find(r#""totalSubscriptions":1,"#));
}

// A slow client receives the newest of everything.

fn member<'a>(text: &'a str, name: &str) -> &'a str {
    let rest = text.split_once(&format!(r#""{name}":"#)).map_or("", |(_, rest)| rest);
    rest.split([',', '}']).next().unwrap()
}

#[test]
fn after_a_pause_a_client_reads_few_old_prices_and_the_newest_has_its_age() {
    let mut turned = Turned::new(settings(|o| o.gateway.write_stall_ms = 60_000));
    turned.renew();
    let mut peer = turned.narrow_client();
    peer.say(
        r#"{"action":"subscribe","symbols":["BTC/USDT","ETH/USDT"],"exchanges":["binance"],"intervalMs":0,"extended":true}"#,
    );
    turned.until(&mut peer, |bytes| bytes.windows(7).position(|some| some == b"\"price\""));
    peer.texts();
    // The pause: each change is another bid, and the last quote is old when it ends.
    for bid in 1000..4000 {
        turned.rig.quote("BTC/USDT", "binance", &bid.to_string(), "100000");
        turned.hand.advance(MS);
        turned.turn();
    }
    turned.rig.quote("ETH/USDT", "binance", "7", "100000");
    turned.pass(2500);
    let mut texts = Vec::new();
    for _ in 0..1000 {
        texts.extend(peer.texts());
        turned.turn();
    }
    let last = |symbol: &str| texts.iter().rev().find(|text| text.contains(symbol)).unwrap();
    let (btc, eth) = (last("BTC/USDT"), last("ETH/USDT"));
    assert_eq!((member(btc, "bid"), member(eth, "bid")), ("3999", "7"), "of {} messages", texts.len());
    for (text, age) in [(btc, 2501), (eth, 2500)] {
        assert_eq!(member(text, "ageMs"), age.to_string(), "{text}");
    }
    let conflated = turned.rig.board.gateways[0].sent.prices_conflated.value();
    assert!(texts.len() < 100 && conflated > 2900, "{} messages, {conflated} conflated", texts.len());
}

#[test]
fn a_client_with_more_prices_than_it_reads_receives_each_of_them_in_turn() {
    let mut turned = Turned::new(settings(|o| o.gateway.write_stall_ms = 600_000));
    turned.renew();
    let spell = |n: usize| -> String {
        let case = |(at, letter): (usize, char)| if n >> at & 1 == 1 { letter.to_ascii_lowercase() } else { letter };
        "BTC/USDT".chars().enumerate().map(case).collect()
    };
    let mut symbols: Vec<String> = (0..256).map(spell).collect();
    symbols.sort();
    symbols.dedup();
    let mut peer = turned.narrow_client();
    peer.say(&json!({"action": "subscribe", "symbols": symbols, "exchanges": ["binance", "kraken"]}).to_string());
    // It reads about 1500 bytes per 100 ms of 30,000 per 500 ms.
    let (mut heard, mut bytes) = (std::collections::HashMap::<String, usize>::new(), vec![0; 1500]);
    for _ in 0..400 {
        turned.hand.advance(100 * MS);
        turned.renew();
        turned.rest();
        if let Ok(length) = peer.tcp.read(&mut bytes) {
            peer.input.extend_from_slice(&bytes[..length]);
        }
        for text in texts_of(&mut peer.input).iter().filter_map(|text| subject(text)) {
            *heard.entry(text).or_default() += 1;
        }
    }
    let (least, most) = (heard.values().min().unwrap(), heard.values().max().unwrap());
    assert_eq!(heard.len(), 2 * symbols.len());
    assert!(*least >= 5 && *most <= 3 * least, "each from {least} to {most} times");
}

/// An alert, and the opening of its opportunity.
fn alert(turned: &mut Turned, symbol: &str) {
    let mut event = turned.rig.event(symbol, ("kraken", "42500"), ("binance", "42925"), Change::Repeated, true);
    event.opportunity.opened = MonoNs(999 * SECOND);
    turned.rig.events.push(event).unwrap();
    turned.turn();
}

/// Sends alerts until one waits in the gateway for `peer`, which does not read.
fn block(turned: &mut Turned, symbol: &str) {
    for _ in 0..10_000 {
        if turned.rig.board.gateways[0].sent.waiting_bytes.value() > 0 {
            return;
        }
        alert(turned, symbol);
    }
    panic!("the kernel takes everything");
}

#[test]
fn an_open_opportunity_has_present_ages_for_clients_that_subscribe_later() {
    let mut turned = Turned::new(GatewaySettings::default());
    turned.rig.quote("BTC/USDT", "kraken", "42499", "42500");
    turned.rig.quote("BTC/USDT", "binance", "42925", "42926");
    alert(&mut turned, "BTC/USDT");
    turned.pass(3000);
    turned.rig.quote("BTC/USDT", "binance", "42930", "42931");
    turned.pass(500);
    let mut peer = turned.client();
    peer.say(r#"{"action":"subscribe","symbols":["BTC/USDT"],"exchanges":[],"extended":true,"opportunities":true}"#);
    turned.rest();
    let texts = peer.texts();
    let of = |kind: &str| texts.iter().find(|text| text.contains(kind)).unwrap_or_else(|| panic!("{texts:?}"));
    let told = of(r#""type":"arbitrage""#);
    assert_eq!(
        (member(told, "buyAgeMs"), member(told, "sellAgeMs"), member(told, "sellPrice")),
        ("3500", "500", "42930")
    );
    assert_eq!(member(told, "timestamp"), "1700000003500");
    // There was no event since.
    let life = of(r#""type":"opportunity""#);
    assert_eq!(
        (member(life, "buyAgeMs"), member(life, "sellAgeMs"), member(life, "livedMs")),
        ("3500", "3500", "4500")
    );
}

#[test]
fn an_alert_that_waited_has_the_age_at_which_it_is_sent() {
    let mut turned = Turned::new(GatewaySettings::default());
    let mut peer = turned.narrow_client();
    peer.say(r#"{"action":"subscribe","symbols":["BTC/USDT"],"exchanges":[],"extended":true,"opportunities":true}"#);
    turned.rest();
    block(&mut turned, "BTC/USDT");
    // This one waits as a whole, and so does the end of its opportunity.
    turned.hand.advance(SECOND);
    alert(&mut turned, "BTC/USDT");
    let mut event = turned.rig.event(
        "BTC/USDT",
        ("kraken", "42500"),
        ("binance", "42925"),
        Change::Closed(CloseReason::SellMoved),
        false,
    );
    event.opportunity.opened = MonoNs(999 * SECOND);
    turned.hand.advance(70 * MS);
    event.opportunity.detected = turned.rig.clock.now();
    turned.rig.events.push(event).unwrap();
    turned.turn();
    turned.hand.advance(3 * SECOND);
    let mut texts = Vec::new();
    for _ in 0..1000 {
        texts.extend(peer.texts());
        turned.turn();
    }
    assert_eq!(turned.rig.board.gateways[0].sent.waiting_bytes.value(), 0);
    let [.., alert, end] = texts.as_slice() else { panic!("{texts:?}") };
    assert_eq!((member(alert, "type"), member(alert, "timestamp")), (r#""arbitrage""#, "1700000001000"));
    assert_eq!((member(alert, "buyAgeMs"), member(alert, "sellAgeMs")), ("3070", "3070"), "{alert}");
    // The age of a closed opportunity does not grow.
    assert_eq!((member(end, "change"), member(end, "buyAgeMs")), (r#""closed""#, "70"), "{end}");
}

#[test]
fn if_too_much_waits_in_total_the_clients_with_most_are_closed() {
    const MOST: usize = 200_000;
    let mut turned = Turned::new(settings(|o| o.gateway.outboxes_max_bytes = MOST));
    let join = |turned: &mut Turned, symbol: &str| {
        let mut peer = turned.narrow_client();
        peer.say(&json!({"action": "subscribe", "symbols": [symbol], "exchanges": []}).to_string());
        turned.rest();
        peer
    };
    // A client for which little waits, one that reads, and many for which increasingly more waits.
    let mut little = join(&mut turned, "ETH/USDT");
    block(&mut turned, "ETH/USDT");
    alert(&mut turned, "ETH/USDT");
    let mut reader = join(&mut turned, "BTC/USDT");
    let mut many: Vec<Peer> = (0..8).map(|_| join(&mut turned, "BTC/USDT")).collect();
    let gauges = |turned: &Turned| {
        let gauges = &turned.rig.board.gateways[0];
        (gauges.sent.waiting_bytes.value() as usize, gauges.clients.slow_closed.value())
    };
    for given in 0.. {
        alert(&mut turned, "BTC/USDT");
        assert_eq!(reader.texts().last().map(|text| text.contains("arbitrage")), Some(true));
        let (waiting, closed) = gauges(&turned);
        assert!(waiting <= MOST && given < 10_000, "{waiting} bytes wait after {given} alerts");
        if closed > 0 {
            assert!(waiting <= MOST / 4 * 3 && closed < 8, "{waiting} bytes, {closed} closed");
            break;
        }
    }
    // These receive the reason, between two messages.
    let closed = gauges(&turned).1 as usize;
    let mut ends = 0;
    for peer in &mut many {
        for _ in 0..1000 {
            turned.turn();
            peer.read();
        }
        let texts = peer.texts();
        assert!(texts.iter().all(|text| serde_json::from_str::<Value>(text).is_ok()));
        ends += usize::from(texts.last().unwrap() == r#"{"type":"error","message":"Too slow: alerts were lost"}"#);
    }
    assert_eq!(ends, closed);
    alert(&mut turned, "ETH/USDT");
    for _ in 0..1000 {
        turned.turn();
        little.read();
    }
    assert!(little.texts().iter().skip(1).all(|text| text.contains("arbitrage")));
    assert_eq!(gauges(&turned), (0, closed as u64));
}

#[test]
fn pages_that_are_not_read_count_to_the_same_total() {
    const MOST: usize = 1 << 20;
    let mut turned = Turned::new(settings(|o| o.gateway.outboxes_max_bytes = MOST));
    turned.rig.quote("BTC/USDT", "binance", "1", "2");
    let peers: Vec<Peer> = (0..400)
        .map(|_| {
            let mut peer = turned.connect_narrow();
            peer.tcp.write_all("GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n".repeat(20).as_bytes()).unwrap();
            turned.rest();
            let waiting = turned.rig.board.gateways[0].sent.waiting_bytes.value();
            assert!(waiting <= MOST as u64, "{waiting} bytes wait");
            peer
        })
        .collect();
    assert!(turned.rig.board.gateways[0].clients.slow_closed.value() > 0, "of {} none was closed", peers.len());
}
