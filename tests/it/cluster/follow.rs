//! A leader's quotes at a follower, through a real Redis: all of them, in order, with their true ages, and none
//! that should not be believed.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use spreadwire::cluster::batch::{BatchEntry, BatchWriter, Head};
use spreadwire::cluster::follow::{Follow, FollowParts};
use spreadwire::cluster::publisher::{Publisher, PublisherParts};
use spreadwire::cluster::signals::{LeaderProgress, Pulse, SnapshotRequests};
use spreadwire::cluster::store::{Claim, Control, Keys, Store};
use spreadwire::cluster::{ClusterOptions, ClusterSettings};
use spreadwire::detector::Core;
use spreadwire::handover::Handover;
use spreadwire::market::book::BookVoid;
use spreadwire::market::directory::{HaltedBy, Room, VenueEntry};
use spreadwire::market::quote::{Delay, FeedEvent, LineId, Origin, Source};
use spreadwire::market::rule::DetectorOptions;
use spreadwire::market::statistics::DayStatistics;
use spreadwire::market::{Decimal, Directory, InstrumentId, Level, PairId, Quote, VenueId};
use spreadwire::matrix::changes::Changes;
use spreadwire::matrix::days::DayTable;
use spreadwire::matrix::{CellQuote, CellState, QuoteMatrix};
use spreadwire::metrics::Board;
use spreadwire::metrics::cluster::{ClusterBoard, ClusterVenue};
use spreadwire::stage::{Alarm, Stage};
use spreadwire::time::{Clock, MS, MonoNs, SECOND, UnixNs};

use super::server::Server;

const VENUES: [&str; 3] = ["binance", "okx", "kraken"];
const OKX: VenueId = VenueId(1);
/// Two instances on one thread wait for each other's turns, which nothing accounts for.
const TURN_NS: i64 = 25 * MS as i64;
/// What has not happened by then never will: a test fails rather than hangs, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(120);

fn directory(instruments: usize) -> Arc<Directory> {
    let symbols: Vec<String> = (0..instruments).map(|n| format!("C{n}/USDT")).collect();
    let venue = |name: &&str| VenueEntry {
        name: (*name).to_owned(),
        taker_fee_pct: Decimal::ZERO,
        native: symbols.iter().cloned().map(Some).collect(),
    };
    let room = Room { venues: 0, instruments: 1 };
    Arc::new(Directory::with_room(symbols.clone(), VENUES.iter().map(venue).collect(), room))
}

fn settings(url: &str, instance: &str) -> ClusterSettings {
    let cluster = ClusterOptions { redis: url.to_owned(), call_ms: 500, ..ClusterOptions::default() };
    ClusterSettings { cluster, id: instance.to_owned(), hostname: String::new() }
}

fn board(instance: &str) -> Arc<Board> {
    let mut board = Board::new(MonoNs(0), VENUES.len(), 0);
    board.cluster = Some(ClusterBoard::new(instance.to_owned(), VENUES.len()));
    Arc::new(board)
}

/// One instance: its detector's core, its publisher and its follower, turned by hand.
struct Node {
    directory: Arc<Directory>,
    core: Core,
    matrix: spreadwire::matrix::SharedMatrix,
    changes: Arc<Changes>,
    days: Arc<DayTable>,
    board: Arc<Board>,
    events: rtrb::Consumer<FeedEvent>,
    control: rtrb::Consumer<Control>,
    follow: Follow,
    publisher: Publisher,
    store: Store,
    pulse: Arc<Pulse>,
    /// Everything that the follower handed over, in order.
    heard: Vec<FeedEvent>,
}

impl Node {
    fn new(url: &str, instance: &str, instruments: usize) -> Self {
        let directory = directory(instruments);
        let (matrix, writer) = QuoteMatrix::new(directory.pairs());
        let board = board(instance);
        let (changes, days) = (Arc::new(Changes::new(directory.pairs())), Arc::new(DayTable::new(directory.pairs())));
        let (ring, events) = rtrb::RingBuffer::new(4096);
        let (said, control) = rtrb::RingBuffer::new(64);
        let (alarm, _) = Alarm::of_parker();
        let venues = (0..VENUES.len()).map(|at| VenueId(at as u16)).collect();
        let handover = Handover::new(ring, alarm.clone(), Arc::clone(&board), venues, directory.rows(), Origin::Shared);
        let (pulse, wanted) =
            (Arc::new(Pulse::default()), Arc::new(SnapshotRequests::new(VENUES.len(), alarm.clone())));
        let settings = settings(url, instance);
        let follow = Follow::new(FollowParts {
            directory: Arc::clone(&directory),
            handover,
            days: Arc::clone(&days),
            board: Arc::clone(&board),
            wanted: Arc::clone(&wanted),
            pulse: Arc::clone(&pulse),
            progress: Arc::new(LeaderProgress::new(directory.pairs())),
            control: said,
            lead: alarm,
            clock: Clock::System,
            settings: settings.clone(),
            history: None,
        })
        .unwrap();
        let publisher = Publisher::new(PublisherParts {
            directory: Arc::clone(&directory),
            matrix: Arc::clone(&matrix),
            changes: Arc::clone(&changes),
            days: Arc::clone(&days),
            board: Arc::clone(&board),
            wanted,
            pulse: Arc::clone(&pulse),
            clock: Clock::System,
            cluster: Keys::of(&settings.cluster).unwrap().cluster(),
            instance: instance.to_owned(),
        });
        let core = Core::new(Arc::clone(&directory), writer, DetectorOptions::default());
        let store = Store::new(&settings).unwrap();
        let heard = Vec::new();
        Self { directory, core, matrix, changes, days, board, events, control, follow, publisher, store, pulse, heard }
    }

    /// One turn of everything.
    fn turn(&mut self) {
        let mut lost = Vec::new();
        let publisher = &self.publisher;
        let tokens: Vec<Option<u64>> = (0..VENUES.len()).map(|at| publisher.token(VenueId(at as u16))).collect();
        if tokens.iter().any(Option::is_some) {
            // What fails is told again.
            let _ = self.publisher.turn(&mut self.store, |venue, _| tokens[venue.index()], &mut lost);
        }
        self.follow.turn(Duration::from_millis(5));
        while let Ok(event) = self.events.pop() {
            self.heard.push(event);
            self.merge(event);
        }
    }

    fn merge(&mut self, event: FeedEvent) {
        let changes = &self.changes;
        let mark = |pair: PairId| changes.mark(pair);
        match event {
            FeedEvent::Quote(quote) => drop(self.core.merge(&quote, mark)),
            FeedEvent::Void(instrument, venue, origin, why) => self.core.void(instrument, venue, origin, why, mark),
            FeedEvent::Left(venue) => self.core.left(venue),
            FeedEvent::Behind(venue, line, true) => self.core.fall_behind(venue, line),
            FeedEvent::Behind(venue, line, false) => self.core.caught_up(venue, line),
            FeedEvent::Down(..) | FeedEvent::LineEnded(..) | FeedEvent::Clock(..) => {
                panic!("a follower ends no connection")
            }
        }
    }

    /// Leads `venue` from now on.
    fn lead(&mut self, venue: VenueId) -> u64 {
        match self.store.claim(&self.directory.venue(venue).name, 0).unwrap() {
            Claim::Won(token) => {
                self.publisher.lead(venue, token);
                token
            }
            held => panic!("{held:?}"),
        }
    }

    /// Its file has one more instrument from now on.
    fn add(&self, symbol: &str) -> u32 {
        let id = self.directory.add_instrument(symbol).unwrap();
        (0..VENUES.len()).for_each(|at| assert!(self.directory.quote(id, VenueId(at as u16), symbol)));
        self.directory.publish();
        id.0
    }

    /// As if read from the venue just now.
    fn quote(&mut self, instrument: u32, venue: VenueId, bid: u64, sequence: u64) -> Quote {
        let level = |mantissa| Level { price: Decimal::new(mantissa, 2), size: Decimal::new(150, 2) };
        let now = Clock::System.now();
        let quote = Quote {
            instrument: InstrumentId(instrument),
            venue,
            bid: level(bid),
            ask: level(bid + 10),
            sequence,
            exchange_time: UnixNs::from_ms(1_700_000_000_000 + sequence),
            received: now,
            decoded: now,
            source: Source::Simulated,
            origin: Origin::Own,
            line: LineId::NONE,
            delay: Delay::None,
            ..Quote::default()
        };
        self.merge(FeedEvent::Quote(quote));
        quote
    }

    /// Whether an opportunity is open in its first instrument.
    fn has_opportunity(&mut self) -> bool {
        self.core.scan(InstrumentId(0), Clock::System.now(), &mut Vec::new());
        self.core.open() > 0
    }

    fn cell(&self, instrument: u32, venue: VenueId) -> CellQuote {
        self.matrix.load().load(self.directory.pair(InstrumentId(instrument), venue))
    }

    fn counts(&self, venue: VenueId) -> &ClusterVenue {
        &self.board.cluster.as_ref().unwrap().venues[venue.index()]
    }

    fn last_error(&self) -> String {
        self.board.cluster.as_ref().unwrap().last_error.load_full().map_or(String::new(), |text| text.to_string())
    }

    /// Quotes that the follower handed over.
    fn quotes(&self) -> impl Iterator<Item = Quote> + '_ {
        self.heard.iter().filter_map(|event| if let FeedEvent::Quote(quote) = event { Some(*quote) } else { None })
    }
}

/// Turns all until `done`, or fails with `what` did not happen.
fn until(nodes: &mut [&mut Node], what: &str, mut done: impl FnMut(&mut [&mut Node]) -> bool) {
    let end = Instant::now() + PATIENCE;
    while !done(nodes) {
        assert!(Instant::now() < end, "{what}: does not happen; {}", nodes[nodes.len() - 1].last_error());
        for node in nodes.iter_mut() {
            node.turn();
        }
    }
}

/// Turns all nodes until each has received everything that was published before: two more of its own messages, the second
/// sent after this call began, on the connection that carries everything else.
fn hear_all(nodes: &mut [&mut Node]) {
    for _ in 0..2 {
        let heard: Vec<MonoNs> = nodes.iter().map(|node| node.pulse.heard()).collect();
        until(nodes, "hearing itself", |nodes| {
            nodes.iter().zip(&heard).all(|(node, heard)| node.pulse.heard() > *heard)
        });
    }
}

fn joined(nodes: &mut [&mut Node]) {
    until(nodes, "joining", |nodes| nodes.iter().all(|node| node.follow.is_joined() && node.pulse.trip_ns() > 0));
}

/// A leader of OKX and a follower that has joined.
fn pair(server: &Server) -> (Node, Node) {
    let (mut leader, mut follower) = (Node::new(&server.url(), "a", 3), Node::new(&server.url(), "b", 3));
    joined(&mut [&mut leader, &mut follower]);
    leader.lead(OKX);
    (leader, follower)
}

/// The latest value of an instrument on OKX that is kept in Redis; empty for none.
fn kept(server: &Server, instrument: u32) -> String {
    let key = format!("spreadwire:latest:okx:C{instrument}/USDT");
    let found: Option<String> = redis::cmd("GET").arg(key).query(&mut server.client()).unwrap();
    found.unwrap_or_default()
}

fn is_kept(server: &Server, instrument: u32) -> bool {
    !kept(server, instrument).is_empty()
}

#[test]
fn every_change_reaches_the_follower_in_order_with_all_that_is_known_of_it() {
    let server = Server::start(&[]);
    let (mut leader, mut follower) = pair(&server);
    for n in 1..=200 {
        let sent = leader.quote((n % 3) as u32, OKX, 10_000 + n, n);
        let all = [&mut leader, &mut follower];
        until(&mut { all }, "a quote", |nodes| nodes[1].quotes().last().is_some_and(|q| q.sequence == n));
        let got = follower.quotes().last().unwrap();
        let age_error = sent.received.0 as i64 - got.received.0 as i64;
        assert!((-TURN_NS..200 * MS as i64).contains(&age_error), "{age_error} ns off");
        let of_its_way = |got: Quote| Quote { received: sent.received, decoded: sent.decoded, ..got };
        assert_eq!(Quote { origin: Origin::Own, line: sent.line, ..of_its_way(got) }, sent);
        assert_eq!(got.origin, Origin::Shared);
    }
    let (mine, theirs) = (leader.cell(2, OKX), follower.cell(2, OKX));
    assert_eq!((mine.bid, mine.ask, mine.sequence), (theirs.bid, theirs.ask, theirs.sequence));
    assert_eq!(follower.board.venues[OKX.index()].source(), Source::Simulated as u8);
    let counts = follower.counts(OKX);
    assert_eq!((counts.gaps.value(), counts.refused.value(), counts.fenced.value()), (0, 0, 0));
    assert_eq!(counts.leader.load_full().as_deref().map(String::as_str), Some("a"));
    assert!(counts.accepted.value() >= 200 && leader.counts(OKX).published.value() >= counts.accepted.value());
    assert_eq!(leader.heard, [], "a leader does not hear itself");
}

#[test]
fn a_follower_makes_no_alert_of_a_leg_that_its_leader_would_refuse() {
    let server = Server::start(&[]);
    let (mut leader, mut follower) = pair(&server);
    let kraken = VenueId(2);
    let mut sequence = 0;
    // The leader's quote with this delay, again and again at one price: only what the leader says of it may close anything.
    let mut changed = |leader: &mut Node, follower: &mut Node, what: &str, delay, is_open: bool| {
        until(&mut [leader, follower], what, |nodes| {
            sequence += 1;
            if nodes[0].board.venues[OKX.index()].backlog.behind.value() == 0 {
                let quote = nodes[0].quote(0, OKX, 10_000, sequence);
                nodes[0].merge(FeedEvent::Quote(Quote { delay, ..quote }));
            }
            nodes[1].quote(0, kraken, 10_200, sequence);
            nodes[1].has_opportunity() == is_open
        });
    };
    changed(&mut leader, &mut follower, "an opportunity", Delay::None, true);
    leader.board.venues[OKX.index()].lag.lag_ns.set(30 * SECOND);
    changed(&mut leader, &mut follower, "the end of it: late quotes", Delay::Lagging, false);
    assert_eq!(follower.cell(0, OKX).delay, Delay::Lagging);
    until(&mut [&mut leader, &mut follower], "the lag", |nodes| {
        nodes[1].board.venues[OKX.index()].lag.lag_ns.value() == 30 * SECOND
    });
    leader.board.venues[OKX.index()].lag.lag_ns.set(0);
    changed(&mut leader, &mut follower, "it again", Delay::None, true);
    leader.board.venues[OKX.index()].backlog.behind.set(1);
    changed(&mut leader, &mut follower, "the end of it: a backlog", Delay::None, false);
    assert_eq!(follower.cell(0, OKX).state, CellState::Live);
    leader.board.venues[OKX.index()].backlog.behind.set(0);
    changed(&mut leader, &mut follower, "it again", Delay::None, true);
    for (is_halted, state) in [(true, CellState::Halted), (false, CellState::Live)] {
        leader.directory.set_halted(InstrumentId(0), OKX, HaltedBy::List, is_halted);
        let changes = Arc::clone(&leader.changes);
        leader.core.look_at_facts(|pair| changes.mark(pair));
        changed(&mut leader, &mut follower, "what the leader's list says", Delay::None, !is_halted);
        until(&mut [&mut leader, &mut follower], "its state", |nodes| nodes[1].cell(0, OKX).state == state);
    }
}

#[test]
fn an_instrument_that_is_added_where_it_is_led_reaches_those_who_have_it_and_troubles_nobody_else() {
    let server = Server::start(&[]);
    let (mut leader, mut follower) = pair(&server);
    let added = leader.add("SOL/USDT");
    leader.quote(added, OKX, 10_000, 1);
    leader.quote(0, OKX, 20_000, 2);
    until(&mut [&mut leader, &mut follower], "the price of what both have", |nodes| {
        nodes[1].cell(0, OKX).bid.price == Decimal::new(20_000, 2)
    });
    assert!(follower.quotes().all(|quote| quote.instrument.0 != added));
    assert_eq!(follower.counts(OKX).refused.value(), 1, "counted, and skipped");
    follower.add("SOL/USDT");
    until(&mut [&mut leader, &mut follower], "its price, told before it was wanted", |nodes| {
        nodes[1].cell(added, OKX).bid.price == Decimal::new(10_000, 2)
    });
    leader.quote(added, OKX, 10_500, 3);
    until(&mut [&mut leader, &mut follower], "its price", |nodes| {
        nodes[1].cell(added, OKX).bid.price == Decimal::new(10_500, 2)
    });
}

#[test]
fn a_new_leader_whose_connection_is_behind_takes_nobody_back() {
    let server = Server::start(&[]);
    let (mut old, mut follower) = pair(&server);
    let mut new = Node::new(&server.url(), "c", 3);
    joined(&mut [&mut new]);
    old.quote(0, OKX, 10_100, 100);
    until(&mut [&mut old, &mut follower, &mut new], "a quote", |nodes| nodes[1].cell(0, OKX).sequence == 100);
    // The lease is gone, and the next leader has read less than the old one.
    server.tell("DEL spreadwire:lease:okx");
    old.publisher.stop(OKX);
    new.quote(0, OKX, 10_099, 99);
    new.quote(1, OKX, 20_000, 7);
    new.lead(OKX);
    until(&mut [&mut new, &mut follower], "its first batch", |nodes| nodes[1].cell(1, OKX).sequence == 7);
    assert_eq!(follower.cell(0, OKX).sequence, 100);
    new.quote(0, OKX, 10_101, 101);
    until(&mut [&mut new, &mut follower], "what is newer", |nodes| nodes[1].cell(0, OKX).sequence == 101);
}

#[test]
fn a_successor_takes_the_lease_and_tells_the_whole_venue_in_one_step() {
    let server = Server::start(&[]);
    let (mut leader, mut successor) = pair(&server);
    for n in 0..3 {
        leader.quote(n, OKX, 10_000, u64::from(n) + 1);
    }
    let all = |node: &Node| (0..3).all(|n| node.cell(n, OKX).state == CellState::Live);
    until(&mut [&mut leader, &mut successor], "the leader's quotes", |nodes| all(nodes[1]));
    // Its own connection has quoted two of them so far, and one of these quotes is newer.
    successor.quote(0, OKX, 10_000, 1);
    successor.quote(1, OKX, 10_001, 9);
    let token = leader.publisher.token(OKX).unwrap();
    assert_eq!(leader.store.name_successor("okx", token, "b"), Ok(true));
    let mut witness = Node::new(&server.url(), "w", 3);
    joined(&mut [&mut witness]);
    let batches = successor.publisher.offer(OKX);
    let next = successor.store.take("okx", token, &batches).unwrap();
    successor.publisher.took(OKX, Ok(next));
    assert_eq!(successor.publisher.token(OKX), next);
    until(&mut [&mut witness], "the new leader's batch", |nodes| nodes[0].counts(OKX).token.value() == next.unwrap());
    assert_eq!((0..3).map(|n| witness.cell(n, OKX).sequence).collect::<Vec<_>>(), [1, 9, 3]);
    // What changes afterwards follows under the same token.
    successor.quote(2, OKX, 10_002, 10);
    until(&mut [&mut successor, &mut witness], "the next", |nodes| nodes[1].cell(2, OKX).sequence == 10);
    assert_eq!((witness.counts(OKX).gaps.value(), witness.counts(OKX).refused.value()), (0, 0));
}

#[test]
fn a_take_over_without_an_answer_uses_no_sequence_twice() {
    let server = Server::start(&[]);
    let (mut leader, mut successor) = pair(&server);
    successor.quote(0, OKX, 10_000, 1);
    let token = leader.publisher.token(OKX).unwrap();
    assert_eq!(leader.store.name_successor("okx", token, "b"), Ok(true));
    let batches = successor.publisher.offer(OKX);
    let next = successor.store.take("okx", token, &batches).unwrap().unwrap();
    successor.publisher.took(OKX, Err(()));
    until(&mut [&mut leader], "its first batch", |nodes| nodes[0].cell(0, OKX).sequence == 1);
    // It learns later that the lease is its own, and publishes the whole again.
    successor.quote(0, OKX, 10_001, 2);
    successor.publisher.lead(OKX, next);
    until(&mut [&mut successor, &mut leader], "the next", |nodes| nodes[1].cell(0, OKX).sequence == 2);
    assert_eq!((leader.counts(OKX).gaps.value(), leader.counts(OKX).refused.value()), (0, 0));
}

#[test]
fn what_our_own_connection_has_said_stays_its_word_until_it_is_left_to_the_leader() {
    let server = Server::start(&[]);
    let mut node = Node::new(&server.url(), "a", 3);
    let own = node.quote(0, OKX, 10_000, 1);
    node.merge(FeedEvent::Quote(Quote { origin: Origin::Shared, ..own }));
    assert_eq!(node.cell(0, OKX).origin, Origin::Own);
    node.merge(FeedEvent::Void(InstrumentId(0), OKX, Origin::Shared, BookVoid::Lost));
    assert_eq!(node.cell(0, OKX).state, CellState::Live, "our own connection speaks for itself");
    node.merge(FeedEvent::Left(OKX));
    assert_eq!((node.cell(0, OKX).origin, node.cell(0, OKX).state), (Origin::Shared, CellState::Live));
    node.merge(FeedEvent::Void(InstrumentId(0), OKX, Origin::Shared, BookVoid::Lost));
    assert_eq!(node.cell(0, OKX).state, CellState::Void);
}

#[test]
fn two_clusters_on_one_redis_with_different_databases_do_not_hear_each_other() {
    let server = Server::start(&[]);
    let other_url = format!("{}1", server.url());
    let (mut leader, mut follower) = pair(&server);
    let mut other = Node::new(&other_url, "x", 3);
    joined(&mut [&mut other]);
    other.lead(OKX);
    for n in 1..=60 {
        leader.quote(0, OKX, 10_000 + n, n);
        other.quote(0, OKX, 90_000 + n, 1000 + n);
        let all = [&mut leader, &mut follower, &mut other];
        until(&mut { all }, "a price", |nodes| nodes[1].quotes().last().is_some_and(|quote| quote.sequence == n));
    }
    // It speaks its last before it is asked.
    let published = other.counts(OKX).published.value();
    until(&mut [&mut other, &mut follower], "the other's", |nodes| nodes[0].counts(OKX).published.value() > published);
    assert!(follower.quotes().all(|quote| quote.sequence <= 60), "{:?}", follower.heard);
    assert_eq!((follower.counts(OKX).foreign.value(), follower.counts(OKX).refused.value()), (0, 0));
}

#[test]
fn what_a_foreign_cluster_says_on_our_channels_is_refused_and_raises_an_alarm() {
    let server = Server::start(&[]);
    let (mut leader, mut follower) = pair(&server);
    leader.quote(0, OKX, 10_000, 1);
    until(&mut [&mut leader, &mut follower], "a price", |nodes| nodes[1].cell(0, OKX).sequence == 1);
    let token = follower.counts(OKX).token.value();
    let ours = batch("x", token + 1, 9, 90_000);
    let theirs = ours.replace("spreadwire/0", "desk/7");
    let unnamed = ours.replace("\"cluster\":\"spreadwire/0\",", "");
    let mut link = server.client();
    for text in [&theirs, &unnamed] {
        redis::cmd("PUBLISH").arg("spreadwire:quotes:okx").arg(text).exec(&mut link).unwrap();
    }
    let free = "{\"cluster\":\"desk/7\",\"say\":\"free\",\"venue\":\"okx\",\"token\":9}";
    redis::cmd("PUBLISH").arg("spreadwire:control").arg(free).exec(&mut link).unwrap();
    leader.quote(0, OKX, 10_001, 2);
    until(&mut [&mut leader, &mut follower], "the next price", |nodes| nodes[1].cell(0, OKX).sequence == 2);
    let board = follower.board.cluster.as_ref().unwrap();
    assert_eq!((follower.counts(OKX).foreign.value(), follower.counts(OKX).token.value()), (2, token));
    assert_eq!(board.foreign(Clock::System.now()).as_deref().map(String::as_str), Some("desk/7"));
    assert!(follower.quotes().all(|quote| quote.sequence != 9), "{:?}", follower.heard);
    let said: Vec<Control> = std::iter::from_fn(|| follower.control.pop().ok()).collect();
    assert!(!said.iter().any(|message| matches!(message, Control::Free { .. })), "{said:?}");
}

#[test]
fn what_another_leader_told_is_not_told_on() {
    let server = Server::start(&[]);
    let (mut leader, mut follower) = pair(&server);
    leader.quote(0, OKX, 10_000, 1);
    until(&mut [&mut leader, &mut follower], "a quote", |nodes| nodes[1].cell(0, OKX).state == CellState::Live);
    // The leader is gone without a word; the other takes over before its own connection to the venue is up.
    server.tell("DEL spreadwire:lease:okx");
    leader.publisher.stop(OKX);
    follower.lead(OKX);
    leader.heard.clear();
    let published = follower.counts(OKX).published.value();
    until(&mut [&mut leader, &mut follower], "batches", |nodes| nodes[1].counts(OKX).published.value() > published + 2);
    hear_all(&mut [&mut leader]);
    assert_eq!(leader.heard, []);
    follower.quote(0, OKX, 10_001, 2);
    until(&mut [&mut leader, &mut follower], "its own", |nodes| nodes[0].quotes().any(|quote| quote.sequence == 2));
}

#[test]
fn a_newcomer_has_every_price_in_the_turn_in_which_it_joins() {
    let server = Server::start(&[]);
    let begun = Instant::now();
    let mut leader = Node::new(&server.url(), "a", 200);
    joined(&mut [&mut leader]);
    for venue in 0..VENUES.len() as u16 {
        leader.lead(VenueId(venue));
        for n in 0..200 {
            leader.quote(n, VenueId(venue), 10_000 + u64::from(n), 1);
        }
    }
    let kept = || -> usize {
        let keys: Vec<String> = redis::cmd("KEYS").arg("spreadwire:latest:*").query(&mut server.client()).unwrap();
        keys.len()
    };
    until(&mut [&mut leader], "all prices kept", |_| kept() == 600);
    // By what is kept in Redis alone: no leader turns meanwhile.
    let mut newcomer = Node::new(&server.url(), "b", 200);
    until(&mut [&mut newcomer], "joining", |nodes| nodes[0].follow.is_joined());
    let all = (0..600).all(|pair| newcomer.matrix.load().load(PairId(pair)).state == CellState::Live);
    assert!(all, "{} quotes", newcomer.quotes().count());
    assert!(newcomer.quotes().all(|quote| quote.origin == Origin::Redis));
    let now = Clock::System.now();
    for pair in 0..600 {
        let (mine, theirs) = (leader.matrix.load().load(PairId(pair)), newcomer.matrix.load().load(PairId(pair)));
        assert_eq!((mine.bid, mine.ask, mine.sequence), (theirs.bid, theirs.ask, theirs.sequence));
        let error = theirs.age(now) as i64 - mine.age(now) as i64;
        // The told age is never too low. It is too high by at most one call and the time that this test took.
        let most = 500 * MS as i64 + begun.elapsed().as_nanos() as i64;
        assert!((0..most).contains(&error), "{error} ns off");
    }
    // Then from the leader itself.
    let all_shared = |nodes: &mut [&mut Node]| {
        (0..600).all(|pair| nodes[1].matrix.load().load(PairId(pair)).origin == Origin::Shared)
    };
    until(&mut [&mut leader, &mut newcomer], "every price from the leader", all_shared);
}

#[test]
fn day_statistics_come_along() {
    let server = Server::start(&[]);
    let (mut leader, mut follower) = pair(&server);
    let day = DayStatistics { last: 101.5, high: 110.0, quote_volume: 1e9, change: -2.5, ..DayStatistics::default() };
    let pair = leader.directory.pair(InstrumentId(1), OKX);
    leader.days.store(pair, &day);
    until(&mut [&mut leader, &mut follower], "the day", |nodes| nodes[1].days.load(pair) == Some(day));
    leader.quote(1, OKX, 10_000, 1);
    until(&mut [&mut leader], "its value", |_| is_kept(&server, 1));
    let mut newcomer = Node::new(&server.url(), "c", 3);
    until(&mut [&mut newcomer], "the day for a newcomer", |nodes| nodes[0].days.load(pair) == Some(day));
}

#[test]
fn a_quiet_venue_keeps_its_prices_while_it_is_led_and_they_age_when_it_is_not() {
    let server = Server::start(&[]);
    let (mut leader, mut follower) = pair(&server);
    // The venue repeats itself without a change, as a quiet one does in its snapshots.
    leader.quote(0, OKX, 10_000, 7);
    until(&mut [&mut leader, &mut follower], "a quote", |nodes| nodes[1].cell(0, OKX).state == CellState::Live);
    let first = follower.cell(0, OKX).received;
    until(&mut [&mut leader, &mut follower], "being renewed twice", |nodes| {
        nodes[0].quote(0, OKX, 10_000, 7);
        nodes[1].cell(0, OKX).received >= first.plus(2 * SECOND)
    });
    let cell = follower.cell(0, OKX);
    assert_eq!(cell.changes, 1, "a repetition is no change");
    // The leader is gone: nothing is void, and nothing stays young.
    hear_all(&mut [&mut follower]);
    let left = follower.cell(0, OKX);
    assert_eq!((left.state, left.received), (CellState::Live, cell.received));
}

#[test]
fn what_is_void_for_the_leader_is_void_for_the_follower() {
    let server = Server::start(&[]);
    let (mut leader, mut follower) = pair(&server);
    leader.quote(0, OKX, 10_000, 1);
    leader.quote(1, OKX, 10_000, 1);
    until(&mut [&mut leader, &mut follower], "quotes", |nodes| nodes[1].cell(1, OKX).state == CellState::Live);
    leader.merge(FeedEvent::Void(InstrumentId(0), OKX, Origin::Own, BookVoid::Gap));
    until(&mut [&mut leader, &mut follower], "the void", |nodes| nodes[1].cell(0, OKX).state == CellState::Void);
    assert_eq!(follower.cell(1, OKX).state, CellState::Live);
    // A newcomer does not get the old price from what is kept.
    until(&mut [&mut leader], "the void kept", |_| kept(&server, 0).contains("\"void\""));
    let mut newcomer = Node::new(&server.url(), "c", 3);
    until(&mut [&mut newcomer], "the other quote", |nodes| nodes[0].cell(1, OKX).state == CellState::Live);
    assert_eq!(newcomer.cell(0, OKX).state, CellState::Empty);
    leader.quote(0, OKX, 10_001, 2);
    until(&mut [&mut leader, &mut follower], "a new quote", |nodes| nodes[1].cell(0, OKX).state == CellState::Live);
}

#[test]
fn a_quote_that_the_leader_doubts_is_a_price_nowhere() {
    let server = Server::start(&[]);
    let (mut leader, mut follower) = pair(&server);
    leader.quote(0, OKX, 10_000, 1);
    until(&mut [&mut leader, &mut follower], "the price", |nodes| nodes[1].cell(0, OKX).state == CellState::Live);
    leader.quote(0, OKX, 90_000, 2);
    until(&mut [&mut leader, &mut follower], "the doubt", |nodes| nodes[1].cell(0, OKX).state == CellState::Suspect);
    // Who has heard nothing before has nothing to doubt it by.
    let mut newcomer = Node::new(&server.url(), "c", 3);
    joined(&mut [&mut newcomer]);
    newcomer.follow.turn(Duration::ZERO);
    hear_all(&mut [&mut leader, &mut newcomer]);
    assert!(matches!(newcomer.cell(0, OKX).state, CellState::Empty | CellState::Void));
}

/// A batch as somebody might write it.
fn batch(from: &str, token: u64, sequence: u64, bid: u64) -> String {
    let level = |mantissa| Level { price: Decimal::new(mantissa, 2), size: Decimal::new(1, 0) };
    let (directory, mut text) = (directory(3), Vec::new());
    let sent = Clock::System.now();
    let cluster = "spreadwire/0".to_owned();
    let (from, trip_ns, whole, lag_ns, is_behind) = (from.to_owned(), 50_000, None, 0, false);
    let head = Head { cluster, venue: OKX, from, token, sequence, sent, trip_ns, whole, lag_ns, is_behind };
    let mut writer = BatchWriter::begin(&head, &directory, &mut text);
    writer.quote(&BatchEntry {
        instrument: InstrumentId(0),
        bid: level(bid),
        ask: level(bid + 10),
        sequence,
        exchange_time: UnixNs(0),
        age_ns: 0,
        source: Source::Simulated,
        state: CellState::Live,
        delay: Delay::None,
    });
    writer.days(&[]);
    String::from_utf8(text).unwrap()
}

fn shout(server: &Server, channel: &str, text: &str) {
    redis::cmd("PUBLISH").arg(channel).arg(text).exec(&mut server.client()).unwrap();
}

const QUOTES: &str = "spreadwire:quotes:okx";

#[test]
fn lower_tokens_and_second_owners_of_a_token_are_never_accepted() {
    let server = Server::start(&[]);
    let mut follower = Node::new(&server.url(), "b", 3);
    joined(&mut [&mut follower]);
    let say = |follower: &mut Node, text: &str| {
        shout(&server, QUOTES, text);
        hear_all(&mut [follower]);
        let counts = follower.counts(OKX);
        (counts.accepted.value(), counts.fenced.value(), counts.refused.value())
    };
    assert_eq!(say(&mut follower, &batch("a", 5, 1, 10_000)), (1, 0, 0));
    assert_eq!(say(&mut follower, &batch("old", 4, 99, 9_000)), (1, 1, 0), "an old leader on waking");
    assert_eq!(say(&mut follower, &batch("thief", 5, 2, 9_000)), (1, 1, 1), "two in one token");
    assert_eq!(say(&mut follower, &batch("a", 5, 1, 9_000)), (1, 1, 2), "said twice");
    assert_eq!(say(&mut follower, &batch("liar", 1 << 50, 1, 9_000)), (1, 1, 3), "no lease has given that out");
    assert_eq!(say(&mut follower, &batch("a", 5, 2, 10_001)), (2, 1, 3));
    assert_eq!(say(&mut follower, &batch("c", 6, 1, 10_002)), (3, 1, 3));
    assert_eq!(say(&mut follower, &batch("a", 5, 3, 9_000)), (3, 2, 3));
    let bids: Vec<u64> = follower.quotes().map(|quote| quote.bid.price.mantissa()).collect();
    assert_eq!(bids, [10_000, 10_001, 10_002]);
    assert_eq!((follower.counts(OKX).token.value(), follower.counts(OKX).changes.value()), (6, 1));
    assert_eq!(follower.counts(OKX).gaps.value(), 0);
}

#[test]
fn poison_is_refused_counted_and_named() {
    let server = Server::start(&[]);
    let mut follower = Node::new(&server.url(), "b", 3);
    joined(&mut [&mut follower]);
    let good = batch("a", 1, 1, 10_000);
    let poison = [
        "".to_owned(),
        "{".to_owned(),
        "[[[[[[".repeat(1000),
        good.replace("\"v\":1", "\"v\":9"),
        good.replace("\"okx\"", "\"binance\""),
        good.replace("\"100.00\"", "\"-100.00\""),
        good.replace("\"100.00\"", "\"1e999\""),
        good.replace("\"token\":1", "\"token\":9007199254740993"),
    ];
    for (at, text) in poison.iter().enumerate() {
        shout(&server, QUOTES, text);
        until(&mut [&mut follower], text, |nodes| nodes[0].counts(OKX).refused.value() == at as u64 + 1);
        assert!(follower.last_error().starts_with("a batch of okx was refused: "), "{}", follower.last_error());
    }
    for (channel, text) in [
        ("spreadwire:control", "{\"say\":\"dance\"}"),
        ("spreadwire:control", "\u{0}"),
        ("spreadwire:pulse", "1 18446744073709551615 liar"),
        ("spreadwire:pulse:b", "1 99999999999999999 b"),
        ("spreadwire:pulse:b", "1 1 b"),
    ] {
        shout(&server, channel, text);
    }
    // A crossed and a one-sided quote go the way of a feed's: the merge refuses them.
    shout(&server, QUOTES, &good.replace("\"100.00\"", "\"200.00\""));
    shout(&server, QUOTES, &good.replace("\"seq\":1,", "\"seq\":2,").replace("\"100.00\"", "\"0\""));
    until(&mut [&mut follower], "two batches", |nodes| nodes[0].counts(OKX).accepted.value() == 2);
    assert_ne!(follower.cell(0, OKX).state, CellState::Live);
    // And keys.
    server.tell("SET spreadwire:latest:okx:C0/USDT {\"v\":1,\"cluster\":\"spreadwire/0\"} EX 60");
    server.tell("SET spreadwire:latest:okx:C1/USDT nonsense EX 60");
    redis::cmd("SET")
        .arg(&["spreadwire:latest:okx:C2/USDT", &batch("a", 1, 1, 66_600), "EX", "60"])
        .exec(&mut server.client())
        .unwrap();
    let mut newcomer = Node::new(&server.url(), "c", 3);
    joined(&mut [&mut newcomer]);
    assert_eq!((newcomer.counts(OKX).refused.value(), newcomer.heard.len()), (3, 0), "one is about another symbol");
    assert!(newcomer.pulse.trip_ns() > 1000, "a forged pulse is believed");
}

#[test]
fn a_missing_batch_is_counted_and_the_whole_is_told_again() {
    let server = Server::start(&[]);
    let (mut leader, mut follower) = pair(&server);
    leader.quote(0, OKX, 10_000, 1);
    until(&mut [&mut leader, &mut follower], "a quote", |nodes| nodes[1].cell(0, OKX).state == CellState::Live);
    // A batch that the follower's connection loses: it is heard by the leader alone.
    follower.store.check().unwrap();
    server.tell("CLIENT KILL TYPE pubsub");
    leader.quote(0, OKX, 10_500, 2);
    let mut lost = Vec::new();
    let token = leader.publisher.token(OKX);
    leader.publisher.turn(&mut leader.store, |_, _| token, &mut lost).unwrap();
    leader.quote(1, OKX, 20_000, 1);
    until(&mut [&mut leader, &mut follower], "what was missed", |nodes| {
        let cells = [nodes[1].cell(0, OKX), nodes[1].cell(1, OKX)];
        cells.iter().all(|cell| cell.origin == Origin::Shared) && cells[0].sequence == 2
    });
    assert!(follower.counts(OKX).gaps.value() >= 1);
}

#[test]
fn redis_killed_and_restarted_empty_is_listened_to_again() {
    let mut server = Server::start(&[]);
    let (mut leader, mut follower) = pair(&server);
    leader.quote(0, OKX, 10_000, 1);
    until(&mut [&mut leader, &mut follower], "a quote", |nodes| nodes[1].cell(0, OKX).state == CellState::Live);
    server.kill();
    until(&mut [&mut leader, &mut follower], "being noticed", |nodes| {
        nodes[1].last_error().starts_with("listening: Redis cannot be reached")
    });
    let held = follower.cell(0, OKX);
    assert_eq!(held.state, CellState::Live, "it only ages");
    server.start_again();
    let heard = follower.pulse.heard();
    until(&mut [&mut leader, &mut follower], "joining again", |nodes| nodes[1].pulse.heard() > heard);
    // The lease is gone with the rest; the next token is above the last.
    leader.publisher.stop(OKX);
    let floor = follower.counts(OKX).token.value();
    let mut token = 0;
    // The first call after it was away may still fail.
    until(&mut [&mut follower], "a claim", |_| {
        if let Ok(Claim::Won(won)) = leader.store.claim("okx", floor) {
            token = won;
        }
        token > 0
    });
    assert!(token > floor);
    leader.publisher.lead(OKX, token);
    leader.quote(0, OKX, 10_001, 2);
    until(&mut [&mut leader, &mut follower], "quotes again", |nodes| nodes[1].cell(0, OKX).sequence == 2);
}

#[test]
fn with_a_full_redis_quotes_go_on() {
    let server = Server::start(&[]);
    let (mut leader, mut follower) = pair(&server);
    server.tell("CONFIG SET maxmemory 1");
    for sequence in 1..=20 {
        leader.quote(0, OKX, 10_000 + sequence, sequence);
        until(&mut [&mut leader, &mut follower], "a quote", |nodes| nodes[1].cell(0, OKX).sequence == sequence);
    }
    until(&mut [&mut leader], "being told", |nodes| nodes[0].last_error().contains("OOM"));
    assert_eq!(follower.counts(OKX).gaps.value(), 0);
    // And when there is room again, what was not kept is.
    server.tell("CONFIG SET maxmemory 0");
    leader.quote(0, OKX, 10_500, 21);
    until(&mut [&mut leader, &mut follower], "its value", |_| kept(&server, 0).contains("\"105.00\""));
    let mut newcomer = Node::new(&server.url(), "c", 3);
    until(&mut [&mut newcomer], "the kept price", |nodes| nodes[0].cell(0, OKX).sequence == 21);
}

#[test]
fn after_a_failover_quotes_go_on_at_the_new_master() {
    let (mut master, replica) = (Server::start(&[]), Server::start(&[]));
    replica.tell(&format!("REPLICAOF 127.0.0.1 {}", master.port));
    let sentinel = Server::start_sentinel(master.port);
    sentinel.await_replica();
    let url = format!("redis+sentinel://127.0.0.1:{}/prices", sentinel.port);
    let (mut leader, mut follower) = (Node::new(&url, "a", 3), Node::new(&url, "b", 3));
    joined(&mut [&mut leader, &mut follower]);
    leader.lead(OKX);
    leader.quote(0, OKX, 10_000, 1);
    until(&mut [&mut leader, &mut follower], "a quote", |nodes| nodes[1].cell(0, OKX).state == CellState::Live);
    master.kill();
    let killed = Instant::now();
    leader.publisher.stop(OKX);
    let token = loop {
        assert!(killed.elapsed() < PATIENCE, "no new master");
        follower.turn();
        let floor = follower.counts(OKX).token.value();
        match leader.store.claim("okx", floor) {
            Ok(Claim::Won(token)) => break token,
            // Replication has brought our own lease over.
            Ok(Claim::Held(lease)) => break lease.token,
            Err(_) => {}
        }
    };
    leader.publisher.lead(OKX, token);
    leader.quote(0, OKX, 10_001, 2);
    until(&mut [&mut leader, &mut follower], "quotes again", |nodes| nodes[1].cell(0, OKX).sequence == 2);
    assert_eq!(follower.counts(OKX).fenced.value(), 0);
}

#[test]
fn a_paused_redis_makes_old_quotes_old_and_is_noticed() {
    let server = Server::start(&[]);
    let (mut leader, mut follower) = pair(&server);
    leader.quote(0, OKX, 10_000, 1);
    (0..5).for_each(|_| hear_all(&mut [&mut leader, &mut follower]));
    server.tell("CLIENT PAUSE 3000 ALL");
    // What was answered before is heard still.
    until(&mut [&mut follower], "its own messages not coming back", |nodes| {
        Clock::System.now().since(nodes[0].pulse.heard()) >= 400 * MS
    });
    let silent = follower.pulse.heard();
    until(&mut [&mut leader, &mut follower], "joining again", |nodes| {
        nodes[1].follow.is_joined() && nodes[1].pulse.heard() > silent
    });
    let sent = leader.quote(0, OKX, 10_001, 2);
    until(&mut [&mut leader, &mut follower], "a quote", |nodes| nodes[1].cell(0, OKX).sequence == 2);
    assert!(follower.cell(0, OKX).received <= sent.received.plus(TURN_NS as u64));
}

/// Between a follower and Redis: forwards both ways, in pieces and late as told.
struct Slow {
    url: String,
    delay_ns: Arc<AtomicU64>,
    /// Bytes of one piece towards the follower; 0: all there is.
    piece: Arc<AtomicU64>,
}

impl Slow {
    fn before(server: &Server) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("redis://{}/", listener.local_addr().unwrap());
        let (delay_ns, piece) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let (port, delay, size) = (server.port, Arc::clone(&delay_ns), Arc::clone(&piece));
        std::thread::spawn(move || {
            while let Ok((near, _)) = listener.accept() {
                let far = TcpStream::connect(("127.0.0.1", port)).unwrap();
                for (from, to, back) in
                    [(near.try_clone().unwrap(), far.try_clone().unwrap(), false), (far, near, true)]
                {
                    let (delay, size) = (Arc::clone(&delay), Arc::clone(&size));
                    std::thread::spawn(move || forward(from, to, back, &delay, &size));
                }
            }
        });
        Self { url, delay_ns, piece }
    }
}

/// Until either end is gone. What arrives while it waits waits too, as in a queue.
fn forward(mut from: TcpStream, mut to: TcpStream, back: bool, delay: &AtomicU64, piece: &AtomicU64) {
    let mut buffer = [0; 1 << 16];
    to.set_nodelay(true).unwrap();
    loop {
        let length = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(_) => break,
        };
        std::thread::sleep(Duration::from_nanos(delay.load(Ordering::Relaxed)));
        let piece = piece.load(Ordering::Relaxed) as usize;
        let step = if back && piece > 0 { piece } else { length };
        for part in buffer[..length].chunks(step) {
            if to.write_all(part).is_err() {
                return;
            }
            if step < length {
                std::thread::sleep(Duration::from_millis(30));
            }
        }
    }
    let _ = to.shutdown(std::net::Shutdown::Both);
}

#[test]
fn a_message_that_was_held_up_on_its_way_is_as_old_as_it_is() {
    let server = Server::start(&[]);
    let slow = Slow::before(&server);
    let (mut leader, mut follower) = (Node::new(&server.url(), "a", 3), Node::new(&slow.url, "b", 3));
    joined(&mut [&mut leader, &mut follower]);
    leader.lead(OKX);
    leader.quote(0, OKX, 10_000, 1);
    (0..5).for_each(|_| hear_all(&mut [&mut leader, &mut follower]));
    slow.delay_ns.store(200 * MS, Ordering::Relaxed);
    hear_all(&mut [&mut leader, &mut follower]);
    for sequence in 2..6 {
        let sent = leader.quote(0, OKX, 10_000 + sequence, sequence);
        until(&mut [&mut leader, &mut follower], "a late quote", |nodes| {
            nodes[1].quotes().any(|quote| quote.sequence == sequence)
        });
        let got = follower.quotes().find(|quote| quote.sequence == sequence).unwrap();
        let seen = sent.received.0 as i64 - got.received.0 as i64;
        assert!((-TURN_NS..150 * MS as i64).contains(&seen), "{seen} ns off");
    }
    assert!(follower.counts(OKX).lag_ns.value() >= 150 * MS, "{}", follower.counts(OKX).lag_ns.value());
}

#[test]
fn a_message_that_comes_in_pieces_is_read_whole() {
    let server = Server::start(&[]);
    let slow = Slow::before(&server);
    let (mut leader, mut follower) = (Node::new(&server.url(), "a", 3), Node::new(&slow.url, "b", 3));
    joined(&mut [&mut leader, &mut follower]);
    // Each piece takes longer than one read waits.
    slow.piece.store(90, Ordering::Relaxed);
    leader.lead(OKX);
    for sequence in 1..=3 {
        leader.quote(0, OKX, 10_000 + sequence, sequence);
        until(&mut [&mut leader, &mut follower], "a quote in pieces", |nodes| {
            nodes[1].quotes().any(|quote| quote.sequence == sequence)
        });
    }
    assert_eq!(follower.counts(OKX).refused.value(), 0);
}

#[test]
fn what_is_said_on_the_control_channel_reaches_the_lead_thread() {
    let server = Server::start(&[]);
    let (mut leader, mut follower) = pair(&server);
    let mut heard = Vec::new();
    let token = leader.publisher.token(OKX).unwrap();
    leader.store.name_successor("okx", token, "b").unwrap();
    until(&mut [&mut leader, &mut follower], "both", |nodes| {
        while let Ok(message) = nodes[1].control.pop() {
            heard.push(message);
        }
        heard.len() == 2
    });
    let venue = || "okx".to_owned();
    let said = [
        Control::Leads { venue: venue(), token, owner: "a".into() },
        Control::Successor { venue: venue(), token, successor: "b".into() },
    ];
    assert_eq!(heard, said);
}
