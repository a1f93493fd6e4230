//! The lead and follower threads of instances against a real Redis; the feeds are played by the test, which opens
//! what is switched on.

use std::sync::Arc;
use std::time::{Duration, Instant};

use spreadwire::cluster::follow::{Follow, FollowParts};
use spreadwire::cluster::lead::{Lead, LeadParts};
use spreadwire::cluster::publisher::{Publisher, PublisherParts};
use spreadwire::cluster::signals::{LeaderProgress, Pulse, SnapshotRequests};
use spreadwire::cluster::{ClusterOptions, ClusterSettings};
use spreadwire::handover::Handover;
use spreadwire::market::directory::VenueEntry;
use spreadwire::market::quote::Origin;
use spreadwire::market::{Decimal, Directory, VenueId};
use spreadwire::matrix::QuoteMatrix;
use spreadwire::matrix::changes::Changes;
use spreadwire::matrix::days::DayTable;
use spreadwire::metrics::cluster::{ClusterBoard, ClusterRole, RedisState};
use spreadwire::metrics::{Board, LinkState};
use spreadwire::net::switch::Switch;
use spreadwire::stage::{self, Alarm, Idle, Stage, Stop};
use spreadwire::time::Clock;

use super::server::Server;

const VENUES: [&str; 4] = ["binance", "bybit", "kraken", "okx"];
/// What has not happened by then never will: a test fails rather than hangs, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(120);

/// One instance on threads of its own.
struct Node {
    board: Arc<Board>,
    switch: Arc<Switch>,
    lead: (Stop, std::thread::JoinHandle<()>),
    follow: Stop,
}

impl Node {
    fn start(url: &str, instance: &str) -> Self {
        let venue = |name: &&str| VenueEntry {
            name: (*name).to_owned(),
            taker_fee_pct: Decimal::ZERO,
            native: vec![Some("BTCUSDT".to_owned())],
        };
        let directory = Arc::new(Directory::new(vec!["BTC/USDT".to_owned()], VENUES.iter().map(venue).collect()));
        let cluster =
            ClusterOptions { redis: url.to_owned(), stable_ms: 300, tenure_ms: 0, ..ClusterOptions::default() };
        let settings = ClusterSettings { cluster, id: instance.to_owned(), hostname: String::new() };
        let mut board = Board::new(Clock::System.now(), VENUES.len(), 0);
        board.cluster = Some(ClusterBoard::new(instance.to_owned(), VENUES.len()));
        let board = Arc::new(board);
        let (matrix, _) = QuoteMatrix::new(directory.pairs());
        let (changes, days) = (Arc::new(Changes::new(directory.pairs())), Arc::new(DayTable::new(directory.pairs())));
        let (alarm, parker) = Alarm::of_parker();
        let (pulse, wanted) =
            (Arc::new(Pulse::default()), Arc::new(SnapshotRequests::new(VENUES.len(), alarm.clone())));
        let progress = Arc::new(LeaderProgress::new(directory.pairs()));
        let (ring, _) = rtrb::RingBuffer::new(64);
        let (said, control) = rtrb::RingBuffer::new(64);
        let venues = (0..VENUES.len()).map(|at| VenueId(at as u16)).collect();
        let follow = Follow::new(FollowParts {
            directory: Arc::clone(&directory),
            handover: Handover::new(ring, alarm.clone(), Arc::clone(&board), venues, 1, Origin::Shared),
            days: Arc::clone(&days),
            board: Arc::clone(&board),
            wanted: Arc::clone(&wanted),
            pulse: Arc::clone(&pulse),
            progress: Arc::clone(&progress),
            control: said,
            lead: alarm.clone(),
            clock: Clock::System,
            settings: settings.clone(),
            history: None,
        })
        .unwrap();
        let publisher = Publisher::new(PublisherParts {
            directory: Arc::clone(&directory),
            matrix: Arc::clone(&matrix),
            changes: Arc::clone(&changes),
            days,
            board: Arc::clone(&board),
            wanted,
            pulse: Arc::clone(&pulse),
            clock: Clock::System,
            cluster: "spreadwire/0".to_owned(),
            instance: instance.to_owned(),
        });
        let switch = Arc::new(Switch::new(VENUES.len(), false));
        let lead = Lead::new(LeadParts {
            directory,
            publisher,
            legacy: None,
            changes,
            control,
            pulse,
            progress,
            matrix,
            board: Arc::clone(&board),
            switch: Arc::clone(&switch),
            feeds: Vec::new(),
            alarm: (alarm, parker),
            clock: Clock::System,
            settings,
        })
        .unwrap();
        let spawn = |stage: Box<dyn Stage>| {
            let stop = Stop::default();
            (stop.clone(), stage::spawn(vec![stage], None, Idle::Wait, stop).unwrap())
        };
        let follow = spawn(Box::new(follow)).0;
        Self { board, switch, lead: spawn(Box::new(lead)), follow }
    }

    /// What a feed would do: connections that are wanted are open, and each brings quotes.
    fn tend(&self) {
        let now = Clock::System.now();
        for (at, venue) in self.board.venues.iter().enumerate() {
            let on = self.switch.is_on(VenueId(at as u16));
            if !on && venue.connection.state() == LinkState::Connected {
                venue.connection.set_state(LinkState::Idle, now);
            } else if on && venue.connection.state() != LinkState::Connected {
                venue.connection.set_state(LinkState::Connected, now);
                venue.connection.since.set(now.0);
            } else if on {
                venue.quotes.decoded.add(1);
            }
        }
    }

    fn cluster(&self) -> &ClusterBoard {
        self.board.cluster.as_ref().unwrap()
    }

    fn leads(&self) -> usize {
        (0..VENUES.len()).filter(|at| self.cluster().role(*at) == ClusterRole::Leader).count()
    }

    fn connected(&self) -> usize {
        (0..VENUES.len()).filter(|at| self.switch.is_on(VenueId(*at as u16))).count()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.lead.0.request();
        self.follow.request();
    }
}

/// Until it is so.
fn wait_for(nodes: &[&Node], what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        let shares: Vec<(usize, usize)> = nodes.iter().map(|node| (node.leads(), node.connected())).collect();
        assert!(begun.elapsed() < PATIENCE, "{what}: (leads, connected) {shares:?}");
        nodes.iter().for_each(|node| node.tend());
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn without_redis_all_venues_are_our_own_and_with_it_they_are_led() {
    let mut server = Server::start(&[]);
    server.kill();
    let node = Node::start(&server.url(), "a");
    wait_for(&[&node], "alone", || node.connected() == VENUES.len());
    assert_eq!((node.cluster().redis(), node.leads()), (RedisState::CutOff, 0));
    assert_eq!(node.cluster().role(0), ClusterRole::Alone);
    server.start_again();
    wait_for(&[&node], "led", || node.leads() == VENUES.len());
    assert_eq!(node.cluster().redis(), RedisState::Joined);
}

#[test]
fn two_share_the_venues_and_whoever_ends_hands_its_own_over_at_once() {
    let server = Server::start(&[]);
    let first = Node::start(&server.url(), "a");
    wait_for(&[&first], "all by one", || first.leads() == VENUES.len());
    let second = Node::start(&server.url(), "b");
    let both = [&first, &second];
    wait_for(&both, "evenly", || {
        (first.leads(), second.leads()) == (2, 2) && first.connected() + second.connected() == VENUES.len()
    });
    first.lead.0.request();
    wait_for(&both, "handed over", || first.lead.1.is_finished());
    wait_for(&both, "led by the other", || second.leads() == VENUES.len());
    assert_eq!(second.connected(), VENUES.len());
}

#[test]
fn after_a_flush_venues_are_led_again_under_higher_tokens() {
    let server = Server::start(&[]);
    let node = Node::start(&server.url(), "a");
    wait_for(&[&node], "led", || node.leads() == VENUES.len() && node.cluster().venues[0].token.value() > 0);
    let before = node.cluster().venues[0].token.value();
    server.tell("FLUSHALL");
    wait_for(&[&node], "led anew", || node.cluster().venues[0].token.value() > before);
    wait_for(&[&node], "all led", || node.leads() == VENUES.len());
}
