//! The cluster in one thread on virtual time: several instances' [`Coordinator`]s, a model of Redis with the meaning of its
//! scripts, and between them delays, loss, one-sided partitions, standstills, drifting clocks, restarts, flushes and
//! failovers that lose writes. One seed, one run; whatever must never happen is an error that names the seed.
//!
//! Where only instances come and go, venues have events, numbered as a venue numbers them. An event is *lost* in a change of
//! leader when nobody published it and the new leader's first batch carries a later one, which is not the next.
//!
//! `SPREADWIRE_SEEDS=20000` runs so many seeds; `SPREADWIRE_SEED=7` runs that one and tells its story.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use spreadwire::cluster::coordinator::{Coordinator, RedisAnswer};
use spreadwire::cluster::election::ElectionAction;
use spreadwire::cluster::lead::STOP_NS;
use spreadwire::cluster::readiness::{CoveredInstrument, Readiness};
use spreadwire::cluster::store::{Claim, ClusterMember, ClusterView, Control, Lease};
use spreadwire::cluster::{ClusterOptions, ClusterSettings, OwnUpstream};
use spreadwire::metrics::cluster::{ClusterRole, RedisState};
use spreadwire::random::Random;
use spreadwire::time::{MS, MonoNs, SECOND};

use super::history::{Accepted, Checker, Summary};

const VENUES: [&str; 6] = ["binance", "bybit", "coinbase", "kraken", "kucoin", "okx"];
/// How often a leader publishes what it leads.
const PUBLISH_NS: u64 = 400 * MS;
const NODES_MAX: usize = 5;

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Faults {
    /// Instances come and go in order.
    None,
    /// Instances stand still and are killed; Redis and the network are well.
    Standstills,
    /// Everything.
    All,
}

/// What is broken on purpose, to show that it would be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Broken {
    Nothing,
    /// Redis publishes for anybody and followers believe anybody.
    NobodyIsFenced,
    /// A claim looks first and writes then.
    ClaimsInTwoSteps,
    /// Redis counts tokens and nobody remembers them: no floor, no clock.
    TokensAreForgotten,
    /// Leaders do not look at their deadline before they publish.
    DeadlinesAreIgnored,
    /// An old leader hangs up before the new one publishes, and successors are not waited for.
    EveryoneIsConnected,
    /// A leader that has named a successor publishes nothing more.
    LeadersLeaveEarly,
}

#[derive(Clone, Copy, Debug)]
struct Setup {
    seed: u64,
    faults: Faults,
    broken: Broken,
    /// Tells what happens on the standard error.
    tells: bool,
}

/// One call on its way.
#[derive(Clone)]
enum Request {
    Call(ElectionAction),
    Publish {
        venue: usize,
        token: u64,
        sequence: u64,
        event: u64,
    },
    /// [`ElectionAction::Take`] with a first batch of this event.
    Take {
        venue: usize,
        token: u64,
        event: u64,
    },
}

#[derive(Clone)]
enum Reply {
    Answer(RedisAnswer),
    Published(bool),
}

#[derive(Clone)]
enum Message {
    Pulse,
    Control(Control),
    Batch { venue: usize, leader: String, token: u64, sequence: u64, event: u64 },
}

enum Event {
    Turn(u64),
    Execute(u64, Box<Request>),
    Reply(u64, Box<Reply>),
    Late(u64),
    Deliver(Box<Message>),
    Dialled(usize, u64),
    Pulse,
    /// The venues have something new.
    News,
    Heal(Fault),
    Start,
    Fault,
    Quiet,
    SlowJudgement,
    Judgement,
}

#[derive(Clone, Copy)]
enum Fault {
    Path,
    Venue(usize),
    Redis,
    Clock,
}

struct Node {
    life: u64,
    id: String,
    coordinator: Option<Coordinator>,
    /// Local time is `offset + global * rate`.
    offset: u64,
    rate: f64,
    asleep_until: u64,
    turn: u64,
    calls: u64,
    busy: Option<(u64, Request, MonoNs)>,
    publish_at: u64,
    publish_next: usize,
    sequences: [(u64, u64); VENUES.len()],
    /// Batches that may have gone out with a lease that was taken, if it was.
    offered: [u64; VENUES.len()],
    /// The last event that it has read from each venue, published, and heard from the leader.
    read: [u64; VENUES.len()],
    told: [u64; VENUES.len()],
    heard: [u64; VENUES.len()],
    connected: [MonoNs; VENUES.len()],
    readiness: Vec<Readiness>,
    started: u64,
    /// Highest token of each venue that somebody said was given out.
    known: [u64; VENUES.len()],
    /// What its follower believes: token, leader, sequence.
    believed: Vec<(u64, String, u64)>,
    upstream: Vec<Upstream>,
    dials: u64,
    broken: [bool; VENUES.len()],
    /// Requests, replies and messages that are lost.
    cut: [bool; 3],
    loses_one_in: usize,
    slow_ns: u64,
    delivered: u64,
    stopping: Option<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Upstream {
    Off,
    Dialling(u64),
    Up,
}

#[derive(Clone, Default)]
struct Redis {
    leases: Vec<Option<Row>>,
    fences: Vec<u64>,
    members: BTreeMap<String, (u64, ClusterMember)>,
}

#[derive(Clone)]
struct Row {
    owner: String,
    token: u64,
    successor: Option<String>,
    ends: u64,
}

struct World {
    setup: Setup,
    random: Random,
    options: ClusterOptions,
    venues: usize,
    now: u64,
    order: u64,
    events: BinaryHeap<Reverse<Queued>>,
    nodes: Vec<Node>,
    redis: Redis,
    replica: Redis,
    redis_up: bool,
    redis_rate: f64,
    /// By how much the present master's wall clock is ahead.
    redis_ahead: u64,
    quiet: bool,
    /// Judgements that may be put off, for a lease may be on its way from one to another just now.
    patience: u32,
    checker: Checker,
    /// When each venue last changed hands.
    changed: Vec<Option<u64>>,
    /// Last token of each venue that Redis gave out.
    granted: Vec<u64>,
    /// Tokens whose lease was taken by a successor, with their venues.
    handed_over: BTreeSet<(usize, u64)>,
    /// The last event of each venue, and the last that was published.
    events_of: Vec<u64>,
    published: Vec<u64>,
    /// Leases that successors took.
    handovers: u64,
}

struct Queued {
    at: u64,
    order: u64,
    node: usize,
    life: u64,
    event: Event,
}

impl PartialEq for Queued {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.order) == (other.at, other.order)
    }
}
impl Eq for Queued {}
impl PartialOrd for Queued {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Queued {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

type Outcome = Result<(), String>;

impl World {
    fn new(setup: Setup) -> Self {
        let mut random = Random::new(setup.seed);
        let options = ClusterOptions {
            lease_ms: [1000, 2000, 5000][random.below(3)],
            tenure_ms: [2000, 10_000][random.below(2)],
            stable_ms: [500, 3000][random.below(2)],
            own_upstream: if random.below(4) > 0 { OwnUpstream::On } else { OwnUpstream::Off },
            ..ClusterOptions::default()
        };
        let venues = 1 + random.below(VENUES.len());
        let count = 2 + random.below(NODES_MAX - 1);
        let drift = if setup.faults == Faults::None { 0.0 } else { 0.02 };
        let nodes = (0..count).map(|_| Node::new(&mut random, venues, drift)).collect();
        let redis = Redis { leases: vec![None; venues], fences: vec![0; venues], members: BTreeMap::new() };
        let redis_rate = 1.0 + random.between(-drift, drift);
        let mut world = Self {
            setup,
            options,
            venues,
            now: 3600 * SECOND,
            order: 0,
            events: BinaryHeap::new(),
            nodes,
            replica: redis.clone(),
            redis,
            redis_up: true,
            redis_rate,
            redis_ahead: 0,
            quiet: false,
            patience: 20,
            checker: Checker::default(),
            changed: vec![None; venues],
            granted: vec![0; venues],
            handed_over: BTreeSet::new(),
            events_of: vec![0; venues],
            published: vec![0; venues],
            handovers: 0,
            random,
        };
        for node in 0..count {
            let at = world.soon(3 * SECOND);
            world.push(at, node, Event::Start);
        }
        let storm = world.now + 12 * SECOND;
        world.push(world.now + 500 * MS, 0, Event::Fault);
        world.push(storm, 0, Event::Quiet);
        if setup.faults == Faults::None {
            world.push(world.now, 0, Event::News);
        }
        world
    }

    fn run(mut self) -> Result<(Summary, u64), String> {
        self.turn_all().map(|()| (self.checker.summary(), self.handovers)).map_err(|what| {
            let Setup { seed, faults, broken, .. } = self.setup;
            format!("seed {seed} ({faults:?}, {broken:?}) at {} ms: {what}", self.now / MS)
        })
    }

    fn turn_all(&mut self) -> Outcome {
        while let Some(Reverse(next)) = self.events.pop() {
            self.now = next.at;
            let node = &self.nodes[next.node];
            let is_own = matches!(
                next.event,
                Event::Turn(_)
                    | Event::Reply(..)
                    | Event::Late(_)
                    | Event::Deliver(_)
                    | Event::Dialled(..)
                    | Event::Pulse
            );
            if is_own && node.life != next.life {
                continue;
            }
            if is_own && node.asleep_until > self.now {
                // What comes to an instance that stands still waits for it, in order.
                let at = node.asleep_until;
                self.order += 1;
                self.events.push(Reverse(Queued { at, order: self.order, ..next }));
                continue;
            }
            match next.event {
                Event::Judgement => match self.judge(true) {
                    Err(_) if self.is_patient() => self.push(self.now + 20 * MS, 0, Event::Judgement),
                    judged => return judged,
                },
                event => self.handle(next.node, next.life, event)?,
            }
        }
        Err("nothing happens any more".to_owned())
    }

    fn handle(&mut self, at: usize, life: u64, event: Event) -> Outcome {
        match event {
            Event::Turn(turn) if turn == self.nodes[at].turn => return self.turn(at),
            Event::Turn(_) => {}
            Event::Execute(call, request) => self.execute(at, life, call, *request)?,
            Event::Reply(call, reply) => {
                if let Some((_, request, sent)) = self.nodes[at].busy.take_if(|(busy, ..)| *busy == call) {
                    self.tell(at, &request, Some(*reply), sent);
                    return self.turn(at);
                }
            }
            Event::Late(call) => {
                if let Some((_, request, sent)) = self.nodes[at].busy.take_if(|(busy, ..)| *busy == call) {
                    self.tell(at, &request, None, sent);
                    return self.turn(at);
                }
            }
            Event::Deliver(message) => {
                self.deliver(at, *message)?;
                return self.turn(at);
            }
            Event::Dialled(venue, dial) => {
                let node = &mut self.nodes[at];
                if node.upstream[venue] == Upstream::Dialling(dial) && !node.broken[venue] {
                    node.upstream[venue] = Upstream::Up;
                    // As it stands is what a venue sends first.
                    node.read[venue] = self.events_of[venue];
                    self.nodes[at].connected[venue] = self.local(at);
                    return self.turn(at);
                }
            }
            Event::Pulse => {
                // The follower's own, on the connection that it listens on.
                if self.redis_up {
                    self.post(at, Message::Pulse);
                }
                self.push(self.now + 100 * MS, at, Event::Pulse);
            }
            Event::News => self.news()?,
            Event::Heal(fault) => self.heal(at, life, fault),
            Event::Start => return self.start(at),
            Event::Fault => self.strike(),
            Event::Quiet => self.calm_down(),
            Event::SlowJudgement => match self.judge(false) {
                Err(_) if self.is_patient() => self.push(self.now + 20 * MS, 0, Event::SlowJudgement),
                judged => return judged,
            },
            Event::Judgement => unreachable!("taken by the loop"),
        }
        Ok(())
    }

    // One instance.

    fn start(&mut self, at: usize) -> Outcome {
        if self.nodes[at].coordinator.is_some() {
            return Ok(());
        }
        let (setup, venues) = (self.setup, self.venues);
        let drift = if setup.faults == Faults::None { 0.0 } else { 0.02 };
        let before = std::mem::replace(&mut self.nodes[at], Node::new(&mut self.random, venues, drift));
        let local = self.local(at);
        let node = &mut self.nodes[at];
        node.life = before.life + 1;
        node.started = self.now;
        node.id = format!("{}_{}", ["a", "b", "c", "d", "e"][at], node.life);
        let cluster = self.options.clone();
        let settings = ClusterSettings { cluster, id: node.id.clone(), hostname: String::new() };
        node.coordinator = Some(Coordinator::new(&settings, &VENUES[..venues], local));
        self.story(at, "starts");
        self.push(self.now, at, Event::Pulse);
        self.turn(at)
    }

    fn turn(&mut self, at: usize) -> Outcome {
        if self.nodes[at].asleep_until > self.now {
            return Ok(());
        }
        let local = self.local(at);
        let Some(mut coordinator) = self.nodes[at].coordinator.take() else { return Ok(()) };
        let mut request = None;
        if self.nodes[at].busy.is_none() {
            let call = coordinator.next(local);
            request = match call {
                Some(ElectionAction::Take { venue, token }) => {
                    Some(Request::Take { venue, token, event: self.nodes[at].read[venue] })
                }
                Some(call) => Some(Request::Call(call)),
                None => self.publish(at, &coordinator, local)?,
            };
        }
        self.connect(at, &mut coordinator, local);
        let deadline = coordinator.deadline();
        let is_over = self.nodes[at].stopping.is_some_and(|begun| {
            self.nodes[at].busy.is_none() && (coordinator.is_done() || self.now - begun >= STOP_NS)
        });
        self.nodes[at].coordinator = Some(coordinator);
        self.check_upstreams()?;
        if is_over && request.is_none() {
            self.end(at);
            return Ok(());
        }
        if let Some(request) = request {
            self.send(at, request, local);
        }
        if self.nodes[at].busy.is_none() {
            let wake = self.global(at, deadline).min(self.nodes[at].publish_at).max(self.now + MS);
            let node = &mut self.nodes[at];
            node.turn += 1;
            let turn = node.turn;
            self.push(wake.min(self.now + 100 * MS), at, Event::Turn(turn));
        }
        Ok(())
    }

    /// A batch for the next venue that is due, if the coordinator says that it may be published.
    fn publish(&mut self, at: usize, coordinator: &Coordinator, local: MonoNs) -> Result<Option<Request>, String> {
        let node = &mut self.nodes[at];
        // A new leader publishes at once, and every leader what is news.
        let broken = self.setup.broken;
        let is_new = |venue: usize| {
            let token = coordinator.may_publish(venue, local);
            let lease = self.redis.leases[venue].as_ref();
            let is_mute = broken == Broken::LeadersLeaveEarly && lease.is_some_and(|row| row.successor.is_some());
            let has_news = node.told[venue] < node.read[venue] && !is_mute;
            token.is_some_and(|token| token != node.sequences[venue].0 || has_news)
        };
        let new = (0..self.venues).find(|&venue| is_new(venue));
        if new.is_none() && self.now < node.publish_at {
            return Ok(None);
        }
        while new.is_some() || node.publish_next < self.venues {
            let venue = new.unwrap_or(node.publish_next);
            node.publish_next += usize::from(new.is_none());
            let mut token = coordinator.may_publish(venue, local);
            if self.setup.broken == Broken::DeadlinesAreIgnored && coordinator.wants_upstream(venue) && token.is_none()
            {
                token = Some(node.sequences[venue].0).filter(|token| *token > 0);
            }
            let Some(token) = token else { continue };
            // Redis forgets nothing here, so the one that may publish holds the last lease. A leader whose successor takes the
            // lease before it expires cannot know that until the message arrives; Redis refuses what it publishes meanwhile.
            let granted = self.granted[venue];
            let is_news = self.handed_over.contains(&(venue, token)) && node.known[venue] <= token;
            if self.setup.faults == Faults::Standstills && granted > token && !is_news {
                return Err(format!(
                    "{} may publish {} under {token}, but {granted} was given out",
                    node.id, VENUES[venue]
                ));
            }
            let (last, sequence) = &mut node.sequences[venue];
            *sequence = if *last == token { *sequence + 1 } else { std::mem::take(&mut node.offered[venue]) + 1 };
            *last = token;
            let event = node.read[venue];
            node.told[venue] = event;
            return Ok(Some(Request::Publish { venue, token, sequence: *sequence, event }));
        }
        node.publish_next = 0;
        node.publish_at = self.now + PUBLISH_NS;
        Ok(None)
    }

    /// Switches connections on and off as the coordinator wants them.
    fn connect(&mut self, at: usize, coordinator: &mut Coordinator, local: MonoNs) {
        let dial_max = if self.setup.faults == Faults::None || self.quiet { 200 * MS } else { 800 * MS };
        for venue in 0..self.venues {
            let wanted = coordinator.wants_upstream(venue) || self.setup.broken == Broken::EveryoneIsConnected;
            let node = &mut self.nodes[at];
            if wanted && node.upstream[venue] == Upstream::Off {
                node.dials += 1;
                let dial = node.dials;
                node.upstream[venue] = Upstream::Dialling(dial);
                let ready = self.soon(dial_max);
                self.push(ready, at, Event::Dialled(venue, dial));
            } else if !wanted {
                node.upstream[venue] = Upstream::Off;
            }
            let node = &mut self.nodes[at];
            let is_up = node.upstream[venue] == Upstream::Up;
            coordinator.upstream(venue, is_up, local);
            let is_told = node.heard[venue] >= node.read[venue];
            let known = CoveredInstrument { at: 0, is_live: true, is_own: is_up, is_published: is_told };
            let connected = is_up.then_some(node.connected[venue]);
            let ready = node.readiness[venue].look(connected, local, std::iter::once(known));
            coordinator.prepared(venue, ready);
        }
    }

    fn send(&mut self, at: usize, request: Request, local: MonoNs) {
        let there = self.delay(at);
        let late = self.global(at, local.plus(self.options.call_ns())).max(self.now + 1);
        let node = &mut self.nodes[at];
        node.calls += 1;
        let call = node.calls;
        node.busy = Some((call, request.clone(), local));
        let lost = node.cut[0] || (node.loses_one_in > 0 && self.random.one_in(node.loses_one_in));
        self.push(late, at, Event::Late(call));
        if !lost {
            self.push(self.now + there, at, Event::Execute(call, Box::new(request)));
        }
    }

    fn tell(&mut self, at: usize, request: &Request, reply: Option<Reply>, sent: MonoNs) {
        let local = self.local(at);
        let Some(coordinator) = &mut self.nodes[at].coordinator else { return };
        match (request, reply) {
            (Request::Call(call), Some(Reply::Answer(answer))) => coordinator.outcome(call, Some(&answer), sent, local),
            (Request::Call(call), _) => coordinator.outcome(call, None, sent, local),
            (Request::Publish { venue, token, .. }, Some(Reply::Published(taken))) => {
                coordinator.published(true, local);
                if !taken {
                    coordinator.refused(*venue, *token, local);
                }
            }
            (Request::Publish { .. }, _) => coordinator.published(false, local),
            (Request::Take { venue, token, event }, reply) => {
                let (venue, take) = (*venue, ElectionAction::Take { venue: *venue, token: *token });
                match &reply {
                    Some(Reply::Answer(answer)) => coordinator.outcome(&take, Some(answer), sent, local),
                    _ => coordinator.outcome(&take, None, sent, local),
                }
                let node = &mut self.nodes[at];
                match reply {
                    Some(Reply::Answer(RedisAnswer::Taken(Some(token)))) => {
                        (node.sequences[venue], node.told[venue]) = ((token, 1), *event);
                    }
                    Some(_) => {}
                    None => node.offered[venue] = 1,
                }
            }
        }
        if self.setup.tells {
            self.story(at, &told(request, sent, local));
        }
    }

    fn deliver(&mut self, at: usize, message: Message) -> Outcome {
        let (local, now) = (self.local(at), self.now);
        let believes_all = self.setup.broken == Broken::NobodyIsFenced;
        let node = &mut self.nodes[at];
        let Some(coordinator) = &mut node.coordinator else { return Ok(()) };
        match message {
            Message::Pulse => coordinator.heard(local),
            Message::Control(control) => {
                if let Control::Leads { venue, token, .. } = &control
                    && let Some(venue) = VENUES.iter().position(|name| name == venue)
                {
                    node.known[venue] = node.known[venue].max(*token);
                }
                coordinator.control(&control, local);
            }
            Message::Batch { venue, leader, token, sequence, event } => {
                node.heard[venue] = node.heard[venue].max(event);
                let (last, from, newest) = &mut node.believed[venue];
                let is_old = token < *last || (token == *last && (leader != *from || sequence <= *newest));
                if leader == node.id || (is_old && !believes_all) {
                    return Ok(());
                }
                let it =
                    Accepted { at: now, instance: &node.id, venue: VENUES[venue], leader: &leader, token, sequence };
                self.checker.accept(&it)?;
                (*last, *from, *newest) = (token, leader, sequence);
                coordinator.accepted(venue, token, local);
            }
        }
        Ok(())
    }

    /// The process is gone, whether it wanted or not.
    fn end(&mut self, at: usize) {
        self.story(at, "is gone");
        let node = &mut self.nodes[at];
        (node.coordinator, node.busy, node.stopping) = (None, None, None);
        node.life += 1;
        node.upstream.fill(Upstream::Off);
        let back = if self.quiet { 0 } else { self.random.below(3000) as u64 * MS };
        self.push(self.now + back, at, Event::Start);
    }

    // Redis.

    fn execute(&mut self, at: usize, life: u64, call: u64, request: Request) -> Outcome {
        if !self.redis_up {
            return Ok(());
        }
        // The process may be gone since it asked.
        let id = match self.nodes[at].life == life {
            true => self.nodes[at].id.clone(),
            false => format!("{}_{life}", ["a", "b", "c", "d", "e"][at]),
        };
        let now = self.now;
        for row in &mut self.redis.leases {
            row.take_if(|row| row.ends <= now);
        }
        let reply = match request {
            Request::Publish { venue, token, sequence, event } => {
                let held = self.redis.leases[venue].as_ref();
                let is_ours = held.is_some_and(|row| row.owner == id && row.token == token);
                let taken = is_ours || self.setup.broken == Broken::NobodyIsFenced;
                if taken {
                    self.broadcast(&Message::Batch { venue, leader: id, token, sequence, event });
                }
                Reply::Published(taken)
            }
            Request::Take { venue, token, event } => Reply::Answer(self.take(&id, venue, token, event)?),
            Request::Call(action) => Reply::Answer(self.obey(at, &id, action)?),
        };
        let node = &self.nodes[at];
        let lost = node.cut[1] || (node.loses_one_in > 0 && self.random.one_in(node.loses_one_in));
        if node.life == life && !lost {
            let back = self.now + self.delay(at);
            self.push(back, at, Event::Reply(call, Box::new(reply)));
        }
        Ok(())
    }

    fn obey(&mut self, at: usize, id: &str, action: ElectionAction) -> Result<RedisAnswer, String> {
        let now = self.now;
        let lasts = (self.options.lease_ns() as f64 * self.redis_rate) as u64;
        let is_ours = |redis: &Redis, venue: usize, token: u64| {
            redis.leases[venue].as_ref().is_some_and(|row| row.owner == id && row.token == token)
        };
        Ok(match action {
            ElectionAction::Beat => {
                self.redis.members.retain(|_, (ends, _)| *ends > now);
                let me = ClusterMember { id: id.to_owned(), ..ClusterMember::default() };
                self.redis.members.insert(id.to_owned(), (now + lasts, me));
                RedisAnswer::ClusterView(self.view())
            }
            ElectionAction::Renew(asked) => {
                let kept = asked.iter().map(|(venue, token)| is_ours(&self.redis, *venue, *token)).collect::<Vec<_>>();
                for ((venue, _), _) in asked.iter().zip(&kept).filter(|(_, kept)| **kept) {
                    self.redis.leases[*venue].as_mut().unwrap().ends = now + lasts;
                }
                RedisAnswer::Renewed(kept)
            }
            ElectionAction::Claim { venue, floor } => {
                let in_two_steps = self.setup.broken == Broken::ClaimsInTwoSteps && self.random.one_in(3);
                match &self.redis.leases[venue] {
                    Some(row) if !in_two_steps => RedisAnswer::Claim(Claim::Held(row.lease(now))),
                    Some(row) => {
                        let token = row.token;
                        self.grant(venue, id, token)?;
                        RedisAnswer::Claim(Claim::Won(token))
                    }
                    None => {
                        let token = self.next_token(venue, floor);
                        self.grant(venue, id, token)?;
                        RedisAnswer::Claim(Claim::Won(token))
                    }
                }
            }
            ElectionAction::NameSuccessor { venue, token, successor } => {
                let ours = is_ours(&self.redis, venue, token);
                if ours {
                    self.redis.leases[venue].as_mut().unwrap().successor = Some(successor.clone());
                    self.broadcast(&Message::Control(Control::Successor {
                        venue: VENUES[venue].to_owned(),
                        token,
                        successor,
                    }));
                }
                RedisAnswer::Named(ours)
            }
            ElectionAction::Look => {
                self.redis.members.retain(|_, (ends, _)| *ends > now);
                RedisAnswer::ClusterView(self.view())
            }
            ElectionAction::Take { .. } => unreachable!("a request of its own"),
            ElectionAction::Release { venue, token } => {
                if is_ours(&self.redis, venue, token) {
                    self.check_need(at, venue)?;
                    self.redis.leases[venue] = None;
                    self.broadcast(&Message::Control(Control::Free { venue: VENUES[venue].to_owned(), token }));
                }
                RedisAnswer::Done
            }
            ElectionAction::Say(control) => {
                self.broadcast(&Message::Control(control));
                RedisAnswer::Done
            }
            ElectionAction::Leave => {
                self.redis.members.remove(id);
                RedisAnswer::Done
            }
        })
    }

    fn view(&self) -> ClusterView {
        let leases = (0..self.venues).filter_map(|venue| {
            let row = self.redis.leases[venue].as_ref()?;
            Some((VENUES[venue].to_owned(), row.lease(self.now)))
        });
        let members = self.redis.members.values().map(|(_, member)| member.clone()).collect();
        ClusterView { members, leases: leases.collect(), refused: 0 }
    }

    fn next_token(&self, venue: usize, floor: u64) -> u64 {
        let fence = self.redis.fences[venue];
        if self.setup.broken == Broken::TokensAreForgotten {
            return fence + 1;
        }
        let clock = (self.now + self.redis_ahead) / MS;
        fence.max(floor).max(clock - 1) + 1
    }

    fn grant(&mut self, venue: usize, owner: &str, token: u64) -> Outcome {
        let lasts = (self.options.lease_ns() as f64 * self.redis_rate) as u64;
        self.redis.fences[venue] = token;
        let ends = self.now + lasts;
        self.redis.leases[venue] = Some(Row { owner: owner.to_owned(), token, successor: None, ends });
        self.changed[venue] = Some(self.now);
        self.granted[venue] = token;
        let venue = VENUES[venue].to_owned();
        self.broadcast(&Message::Control(Control::Leads { venue, token, owner: owner.to_owned() }));
        Ok(())
    }

    /// The successor takes the lease and publishes its first batch, in one step.
    fn take(&mut self, id: &str, venue: usize, token: u64, event: u64) -> Result<RedisAnswer, String> {
        let row = self.redis.leases[venue].as_ref();
        let Some(row) = row.filter(|row| row.token == token && row.successor.as_deref() == Some(id)) else {
            return Ok(RedisAnswer::Taken(None));
        };
        let (old, is_well) = (row.owner.clone(), self.setup.faults == Faults::None);
        self.check_pace(&old, venue)?;
        let last = self.published[venue];
        if is_well && event > last + 1 {
            let lost = event - last - 1;
            return Err(format!(
                "{lost} events of {} are lost between {old} and {id}: {event} after {last}",
                VENUES[venue]
            ));
        }
        self.handovers += 1;
        self.handed_over.insert((venue, token));
        let next = self.next_token(venue, token);
        self.grant(venue, id, next)?;
        self.broadcast(&Message::Batch { venue, leader: id.to_owned(), token: next, sequence: 1, event });
        Ok(RedisAnswer::Taken(Some(next)))
    }

    /// Where all is well, nobody gives a venue back that somebody else could have taken over.
    fn check_need(&self, at: usize, venue: usize) -> Outcome {
        let could = |node: &&Node| {
            let is_member = self.redis.members.contains_key(&node.id);
            node.coordinator.is_some() && node.stopping.is_none() && is_member && self.now - node.started > SECOND
        };
        match self.nodes.iter().find(could) {
            Some(other) if self.setup.faults == Faults::None && self.nodes[at].stopping.is_some() => Err(format!(
                "{} gave {} back, though {} could have taken it",
                self.nodes[at].id, VENUES[venue], other.id
            )),
            _ => Ok(()),
        }
    }

    /// Every venue has something new, and those who are connected read it.
    fn news(&mut self) -> Outcome {
        self.events_of.iter_mut().for_each(|event| *event += 1);
        let next = self.now + 20 * MS + self.random.below(100) as u64 * MS;
        self.push(next, 0, Event::News);
        for at in 0..self.nodes.len() {
            for venue in 0..self.venues {
                if self.nodes[at].upstream[venue] == Upstream::Up {
                    self.nodes[at].read[venue] = self.events_of[venue];
                }
            }
            self.turn(at)?;
        }
        Ok(())
    }

    /// A leader that continues does not hand over an exchange that changed hands just before.
    fn check_pace(&self, old: &str, venue: usize) -> Outcome {
        let pace = self.options.tenure_ms * MS * 95 / 100;
        let leads_on = |node: &Node| node.id == old && node.coordinator.is_some() && node.stopping.is_none();
        match self.changed[venue] {
            Some(last) if self.nodes.iter().any(leads_on) && self.now - last < pace => {
                Err(format!("{} changes hands again after {} ms", VENUES[venue], (self.now - last) / MS))
            }
            _ => Ok(()),
        }
    }

    fn broadcast(&mut self, message: &Message) {
        if self.setup.tells
            && let Message::Control(control) = message
        {
            self.story(0, &format!("(all hear) {control:?}"));
        }
        if let Message::Batch { venue, event, .. } = message {
            self.published[*venue] = self.published[*venue].max(*event);
        }
        for at in 0..self.nodes.len() {
            self.post(at, message.clone());
        }
    }

    fn post(&mut self, at: usize, message: Message) {
        if self.nodes[at].coordinator.is_none() || self.nodes[at].cut[2] {
            return;
        }
        // One stream: late for one, late for all behind it.
        let there = (self.now + self.delay(at)).max(self.nodes[at].delivered);
        self.nodes[at].delivered = there;
        self.push(there, at, Event::Deliver(Box::new(message)));
    }

    // What goes wrong, and what must be right.

    fn strike(&mut self) {
        if self.quiet {
            return;
        }
        let at = self.random.below(self.nodes.len());
        let lease_ms = self.options.lease_ms as usize;
        let kinds = match self.setup.faults {
            Faults::None => 1,
            Faults::Standstills => 4,
            Faults::All => 14,
        };
        let kind = self.random.below(kinds);
        let long = self.random.below(2 * lease_ms) as u64 * MS;
        let node = &mut self.nodes[at];
        let mut heals = None;
        match kind {
            0 => {
                let local = self.local(at);
                let node = &mut self.nodes[at];
                if let (Some(coordinator), None) = (&mut node.coordinator, node.stopping) {
                    coordinator.stop(local);
                    node.stopping = Some(self.now);
                    self.story(at, "is asked to end");
                    node_turn(self, at);
                }
            }
            1 if node.coordinator.is_some() => self.end(at),
            2 | 3 => {
                node.asleep_until = self.now + long;
                self.story(at, &format!("stands still for {} ms", long / MS));
            }
            4..=6 => {
                node.cut = [kind != 5, kind != 4, self.random.one_in(2)];
                heals = Some(Fault::Path);
            }
            7 => {
                node.loses_one_in = 3;
                heals = Some(Fault::Path);
            }
            8 => {
                node.slow_ns = self.random.below(400) as u64 * MS;
                heals = Some(Fault::Path);
            }
            9 => {
                let venue = self.random.below(self.venues);
                node.broken[venue] = true;
                if node.upstream[venue] == Upstream::Up {
                    node.dials += 1;
                    node.upstream[venue] = Upstream::Dialling(node.dials);
                }
                heals = Some(Fault::Venue(venue));
            }
            10 => {
                self.redis_up = false;
                heals = Some(Fault::Redis);
            }
            11 => {
                self.story(at, "(Redis is flushed)");
                self.redis.leases.fill(None);
                self.redis.fences.fill(0);
                self.redis.members.clear();
            }
            12 => {
                self.story(at, "(Redis fails over, writes are lost)");
                self.redis = self.replica.clone();
                // A new master is not there at once, and its clock is another.
                self.redis_up = false;
                self.redis_ahead = self.random.below(200) as u64 * MS;
                let back = self.now + 300 * MS + self.random.below(1000) as u64 * MS;
                self.push(back, at, Event::Heal(Fault::Clock));
            }
            13 => {
                let venue = self.random.below(self.venues);
                self.redis.leases[venue] = None;
            }
            _ => {}
        }
        if self.random.one_in(2) {
            self.replica = self.redis.clone();
        }
        let life = self.nodes[at].life;
        if let Some(fault) = heals {
            self.story(at, &format!("fault {kind} for {} ms", long / MS));
            self.order += 1;
            let (heal_at, order) = (self.now + long, self.order);
            self.events.push(Reverse(Queued { at: heal_at, order, node: at, life, event: Event::Heal(fault) }));
        }
        let next = self.now + 100 * MS + self.random.below(1500) as u64 * MS;
        self.push(next, 0, Event::Fault);
    }

    fn heal(&mut self, at: usize, life: u64, fault: Fault) {
        let node = &mut self.nodes[at];
        match fault {
            Fault::Redis | Fault::Clock => self.redis_up = true,
            _ if node.life != life => {}
            Fault::Path => (node.cut, node.loses_one_in, node.slow_ns) = ([false; 3], 0, 0),
            Fault::Venue(venue) => {
                node.broken[venue] = false;
                if let Upstream::Dialling(_) = node.upstream[venue] {
                    node.upstream[venue] = Upstream::Up;
                }
            }
        }
    }

    /// All faults end. From now on it is counted how long it takes until all is well.
    fn calm_down(&mut self) {
        self.quiet = true;
        self.redis_up = true;
        for at in 0..self.nodes.len() {
            let life = self.nodes[at].life;
            self.heal(at, life, Fault::Path);
            (0..self.venues).for_each(|venue| self.heal(at, life, Fault::Venue(venue)));
            self.nodes[at].asleep_until = self.nodes[at].asleep_until.min(self.now);
            self.push(self.now, at, Event::Start);
            node_turn(self, at);
        }
        let ClusterOptions { lease_ms, stable_ms, tenure_ms, .. } = self.options;
        let [lease_ns, stable_ns, tenure_ns] = [lease_ms, stable_ms, tenure_ms].map(|ms| ms * MS);
        let led = self.now + 2 * lease_ns + stable_ns + 2 * SECOND;
        // An instance that could not reach a venue may pause for a minute, and a failed successor is not chosen for 30 s.
        let rests = match self.setup.faults {
            Faults::All => 62 * SECOND,
            Faults::Standstills => 32 * SECOND,
            Faults::None => 0,
        };
        let level = led + rests + (2 + self.venues as u64) * (tenure_ns + 2 * SECOND);
        self.push(led, 0, Event::SlowJudgement);
        self.push(level, 0, Event::Judgement);
    }

    fn is_patient(&mut self) -> bool {
        self.patience = self.patience.saturating_sub(1);
        self.patience > 0
    }

    fn judge(&self, all: bool) -> Outcome {
        let mut counts = vec![0; self.nodes.len()];
        for (venue, name) in VENUES.iter().enumerate().take(self.venues) {
            let is_leader = |at: &usize| {
                let local = self.local(*at);
                self.nodes[*at]
                    .coordinator
                    .as_ref()
                    .is_some_and(|coordinator| coordinator.may_publish(venue, local).is_some())
            };
            let leaders: Vec<usize> = (0..self.nodes.len()).filter(is_leader).collect();
            if leaders.len() != 1 {
                return Err(format!("{name} is led by {leaders:?} though all is well"));
            }
            counts[leaders[0]] += 1;
            let connected = self.connected(venue);
            if all && connected != 1 {
                return Err(format!("{name} is connected {connected} times though all is well"));
            }
        }
        for node in &self.nodes {
            let state = node.coordinator.as_ref().map(|coordinator| coordinator.fallback().state());
            if state != Some(RedisState::Joined) {
                return Err(format!("{} is {state:?} though all is well", node.id));
            }
        }
        let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
        if all && most - least > 1 {
            return Err(format!("shares are {counts:?}"));
        }
        Ok(())
    }

    fn connected(&self, venue: usize) -> usize {
        self.nodes.iter().filter(|node| node.upstream[venue] != Upstream::Off).count()
    }

    /// Without faults no venue is ever connected to more than twice, and that only while somebody is a successor or lets go.
    fn check_upstreams(&self) -> Outcome {
        if self.setup.faults != Faults::None {
            return Ok(());
        }
        for (venue, name) in VENUES.iter().enumerate().take(self.venues) {
            let connected = self.connected(venue);
            if connected > 2 {
                let roles: Vec<Option<ClusterRole>> = (0..self.nodes.len())
                    .map(|at| {
                        self.nodes[at].coordinator.as_ref().map(|coordinator| coordinator.role(venue, self.local(at)))
                    })
                    .collect();
                return Err(format!("{name} is connected {connected} times: {roles:?}"));
            }
        }
        Ok(())
    }

    // Time and chance.

    fn push(&mut self, at: u64, node: usize, event: Event) {
        self.order += 1;
        let life = self.nodes[node].life;
        self.events.push(Reverse(Queued { at: at.max(self.now), order: self.order, node, life, event }));
    }

    fn soon(&mut self, most: u64) -> u64 {
        self.now + (self.random.unit() * most as f64) as u64
    }

    fn delay(&mut self, at: usize) -> u64 {
        let slow = self.nodes[at].slow_ns;
        let usual = self.random.below(2_000) as u64 * 1000;
        let hiccup = if self.setup.faults == Faults::All && self.random.one_in(200) { 60 * MS } else { 0 };
        50_000 + usual + hiccup + slow
    }

    fn local(&self, at: usize) -> MonoNs {
        let node = &self.nodes[at];
        MonoNs(node.offset + (self.now as f64 * node.rate) as u64)
    }

    fn global(&self, at: usize, local: MonoNs) -> u64 {
        let node = &self.nodes[at];
        ((local.0.saturating_sub(node.offset)) as f64 / node.rate) as u64
    }

    fn story(&self, at: usize, what: &str) {
        if self.setup.tells {
            eprintln!("{:>8} ms {} {what}", self.now / MS - 3_600_000, self.nodes[at].id);
        }
    }
}

/// A turn of its own accord: the present one is replaced.
fn node_turn(world: &mut World, at: usize) {
    world.nodes[at].turn += 1;
    let turn = world.nodes[at].turn;
    world.push(world.now, at, Event::Turn(turn));
}

fn told(request: &Request, sent: MonoNs, now: MonoNs) -> String {
    let took = now.since(sent) / MS;
    match request {
        Request::Call(ElectionAction::Beat) => format!("looked in {took} ms"),
        Request::Call(action) => format!("{action:?} in {took} ms"),
        Request::Publish { venue, token, sequence, event } => {
            format!("published {} {token}/{sequence}, event {event}, in {took} ms", VENUES[*venue])
        }
        Request::Take { venue, token, event } => {
            format!("asked for {} of {token} with event {event} in {took} ms", VENUES[*venue])
        }
    }
}

impl Row {
    fn lease(&self, now: u64) -> Lease {
        let Self { owner, token, successor, ends } = self.clone();
        Lease { token, owner, hostname: String::new(), successor, left_ns: ends - now }
    }
}

impl Node {
    fn new(random: &mut Random, venues: usize, drift: f64) -> Self {
        Self {
            life: 0,
            id: String::new(),
            coordinator: None,
            offset: random.below(1_000_000) as u64 * SECOND,
            rate: 1.0 + random.between(-drift, drift),
            asleep_until: 0,
            turn: 0,
            calls: 0,
            busy: None,
            publish_at: 0,
            publish_next: 0,
            sequences: [(0, 0); VENUES.len()],
            offered: [0; VENUES.len()],
            read: [0; VENUES.len()],
            told: [0; VENUES.len()],
            heard: [0; VENUES.len()],
            connected: [MonoNs(0); VENUES.len()],
            known: [0; VENUES.len()],
            readiness: vec![Readiness::default(); venues],
            started: 0,
            believed: vec![(0, String::new(), 0); venues],
            upstream: vec![Upstream::Off; venues],
            dials: 0,
            broken: [false; VENUES.len()],
            cut: [false; 3],
            loses_one_in: 0,
            slow_ns: 0,
            delivered: 0,
            stopping: None,
        }
    }
}

fn run(seed: u64, faults: Faults, broken: Broken) -> Result<(Summary, u64), String> {
    World::new(Setup { seed, faults, broken, tells: false }).run()
}

/// How many seeds, unless somebody wants more.
fn seeds(usual: u64) -> std::ops::Range<u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    match (number("SPREADWIRE_SEED"), number("SPREADWIRE_SEEDS")) {
        (Some(seed), _) => seed..seed + 1,
        (None, Some(count)) => 0..count,
        (None, None) => 0..usual,
    }
}

fn check(usual: u64, faults: Faults) {
    let seeds = seeds(usual);
    let tells = seeds.end - seeds.start == 1;
    let (mut total, mut handovers) = (Summary::default(), 0);
    for seed in seeds {
        let world = World::new(Setup { seed, faults, broken: Broken::Nothing, tells });
        let (summary, handed) = world.run().unwrap_or_else(|what| panic!("{what}"));
        total.batches += summary.batches;
        total.tokens += summary.tokens;
        handovers += handed;
    }
    println!("{total:?}, {handovers} leases taken by heirs");
    assert!(total.batches > 100 && total.tokens > 3 && handovers > 0, "nothing was tried: {total:?}");
}

#[test]
fn whatever_happens_no_two_publish_under_one_token_and_all_ends_well() {
    check(50, Faults::All);
}

#[test]
fn only_the_last_holder_of_the_lease_may_publish() {
    check(50, Faults::Standstills);
}

#[test]
fn instances_come_and_go_with_two_connections_at_most_and_no_event_is_lost() {
    check(50, Faults::None);
}

#[test]
fn what_is_broken_on_purpose_is_found() {
    for (broken, faults) in [
        (Broken::NobodyIsFenced, Faults::All),
        (Broken::ClaimsInTwoSteps, Faults::All),
        (Broken::TokensAreForgotten, Faults::All),
        (Broken::DeadlinesAreIgnored, Faults::Standstills),
        (Broken::EveryoneIsConnected, Faults::None),
        (Broken::LeadersLeaveEarly, Faults::None),
    ] {
        let found = (0..200).find_map(|seed| run(seed, faults, broken).err());
        assert!(found.is_some(), "{broken:?} was not found");
    }
}
