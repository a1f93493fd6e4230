//! The lead thread: what [`Coordinator`] decides is asked of Redis here, one call after the other, and what came of it is
//! shown. In: changed cells of the matrix, control messages and pulses that the follower heard, the state of our own
//! connections. Out: leases, batches and latest values in Redis; which venues the feeds shall be connected to; the
//! cluster's gauges. A thread of its own, since calls wait, each within its deadline; no other thread waits for it.
//!
//! Nothing is published before the lease's deadline was looked at, whatever happened since the last turn: the
//! publisher asks right before each call.

use std::sync::Arc;
use std::time::Duration;

use crossbeam::sync::Parker;

use crate::cluster::ClusterSettings;
use crate::cluster::coordinator::{Coordinator, RedisAnswer};
use crate::cluster::election::{ElectionAction, HANDOVER_MAX_NS};
use crate::cluster::error::{RefusalClass, StoreError};
use crate::cluster::legacy::Legacy;
use crate::cluster::publisher::Publisher;
use crate::cluster::readiness::{CoveredInstrument, QUIET_NS, Readiness};
use crate::cluster::signals::{LeaderProgress, Pulse};
use crate::cluster::store::{ClusterMember, ClusterView, Control, Store};
use crate::log;
use crate::market::quote::Origin;
use crate::market::{Directory, InstrumentId, VenueId};
use crate::matrix::changes::Changes;
use crate::matrix::{CellState, SharedMatrix};
use crate::metrics::cluster::{ClusterBoard, ClusterRole, RedisState};
use crate::metrics::{Board, BreakerState, LinkState};
use crate::net::switch::Switch;
use crate::stage::{Alarm, Sleep, Stage};
use crate::time::{Clock, MS, MonoNs};

/// Calls of the election in one turn; then the publisher has its turn.
const CALLS_PER_TURN: usize = 8;
/// The longest sleep: how late a lost connection to a venue is noticed.
const SLEEP_MAX: Duration = Duration::from_millis(50);
/// The longest while we are to take a venue over: how exact the moment is.
const SLEEP_SUCCESSOR_MAX: Duration = Duration::from_millis(2);
/// The shortest: what is due at once was done already.
const SLEEP_MIN: Duration = Duration::from_millis(1);
/// So many batches of a leader without a quote do too.
const QUIET_BATCHES: u64 = 10;
/// How long handing over may take when the process ends, in nanoseconds: what the election allows, and the time to say so.
pub const STOP_NS: u64 = HANDOVER_MAX_NS + 500 * MS;
/// The longest sleep while handing over.
const STOP_SLEEP: Duration = Duration::from_millis(2);

/// What the stage is made of.
pub struct LeadParts {
    /// Names and ids of instruments and venues.
    pub directory: Arc<Directory>,
    /// Tells what we lead.
    pub publisher: Publisher,
    /// Writes the replaced system's keys, where that is wanted.
    pub legacy: Option<Legacy>,
    /// Changed cells for the publisher; they wake this thread.
    pub changes: Arc<Changes>,
    /// What the follower heard on the control channel.
    pub control: rtrb::Consumer<Control>,
    /// That it hears itself.
    pub pulse: Arc<Pulse>,
    /// What it heard from the leaders.
    pub progress: Arc<LeaderProgress>,
    /// The quotes.
    pub matrix: SharedMatrix,
    /// Counters; with those of the cluster.
    pub board: Arc<Board>,
    /// Which venues the feeds shall be connected to.
    pub switch: Arc<Switch>,
    /// Wakes the feeds.
    pub feeds: Vec<Alarm>,
    /// Wakes us, and what we sleep in.
    pub alarm: (Alarm, Parker),
    /// Time.
    pub clock: Clock,
    /// Name of this instance, and its time limits.
    pub settings: ClusterSettings,
}

/// The stage.
pub struct Lead {
    parts: LeadParts,
    store: Store,
    coordinator: Coordinator,
    /// By venue.
    views: Vec<VenueView>,
    /// By venue: whether we could take it over.
    readiness: Vec<Readiness>,
    state: RedisState,
    /// Whether the log knows that we are cut off.
    reported_cut_off: bool,
    twins: Twins,
    slept: Sleep,
}

/// What was last seen and shown of one venue.
#[derive(Clone, Copy, Default)]
struct VenueView {
    role: ClusterRole,
    /// Token that is led under; 0 for none.
    token: u64,
    /// Quotes of our own connection before it was opened.
    quotes_before: u64,
    /// The token of the leader's batches, and how many batches and quotes there had been when it was first seen.
    heard: (u64, u64, u64),
}

/// Living instances that were given our name.
#[derive(Default)]
struct Twins {
    since: Option<MonoNs>,
    reported: bool,
}

impl Lead {
    /// Nothing asked yet. Touches no network. All switches are off until the first turns.
    ///
    /// # Errors
    /// A sentence about the address.
    pub fn new(parts: LeadParts) -> Result<Self, String> {
        let store = Store::new(&parts.settings)?;
        let names: Vec<&str> = parts.directory.venues().iter().map(|venue| venue.name.as_str()).collect();
        let coordinator = Coordinator::new(&parts.settings, &names, parts.clock.now());
        let views = vec![VenueView::default(); names.len()];
        Ok(Self {
            store,
            coordinator,
            readiness: views.iter().map(|_| Readiness::default()).collect(),
            views,
            state: RedisState::Connecting,
            reported_cut_off: false,
            twins: Twins::default(),
            slept: Sleep::default(),
            parts,
        })
    }

    fn cluster(&self) -> Option<&ClusterBoard> {
        self.parts.board.cluster.as_ref()
    }

    /// Takes what others have brought since.
    fn listen(&mut self) -> usize {
        let mut work = 0;
        while let Ok(message) = self.parts.control.pop() {
            self.coordinator.control(&message, self.parts.clock.now());
            work += 1;
        }
        self.coordinator.heard(self.parts.pulse.heard());
        let now = self.parts.clock.now();
        for at in 0..self.views.len() {
            let flowing = self.is_flowing(at, now);
            self.coordinator.upstream(at, flowing, now);
            let is_successor = self.coordinator.role(at, now) == ClusterRole::Successor;
            let ready = is_successor && self.is_ready(at, flowing, now);
            self.coordinator.prepared(at, ready);
            if let Some(token) = self.leader_flows(at) {
                self.coordinator.accepted(at, token, now);
            }
        }
        work
    }

    /// Whether our own connection to the venue is open and brings quotes.
    fn is_flowing(&mut self, at: usize, now: MonoNs) -> bool {
        let venue = &self.parts.board.venues[at];
        let (view, quotes) = (&mut self.views[at], venue.quotes.decoded.value());
        if venue.connection.state() != LinkState::Connected {
            view.quotes_before = quotes;
            return false;
        }
        let since = MonoNs(venue.connection.since.value());
        quotes != view.quotes_before || now.since(since) >= QUIET_NS
    }

    /// Whether our own connection to the venue has delivered all its known quotes. We are its successor.
    fn is_ready(&mut self, at: usize, flowing: bool, now: MonoNs) -> bool {
        let Self { parts, readiness, .. } = self;
        let (venue, directory) = (VenueId(at as u16), &parts.directory);
        let connected = flowing.then(|| MonoNs(parts.board.venues[at].connection.since.value()));
        let matrix = parts.matrix.load();
        let instruments = (0..directory.instruments().len() as u32).map(InstrumentId);
        let known = instruments.filter(|instrument| directory.is_quoted(*instrument, venue)).map(|instrument| {
            let pair = directory.pair(instrument, venue);
            let cell = matrix.load(pair);
            let is_own = cell.origin == Origin::Own && connected.is_some_and(|since| cell.received >= since);
            CoveredInstrument {
                at: instrument.index(),
                is_live: cell.state == CellState::Live,
                is_own,
                is_published: !is_own || parts.progress.covers(pair, &cell),
            }
        });
        readiness[at].look(connected, now, known)
    }

    /// The token of the leader whose quotes come in, if they do.
    fn leader_flows(&mut self, at: usize) -> Option<u64> {
        let venue = self.parts.board.cluster.as_ref()?.venues.get(at)?;
        let (batches, quotes, token) = (venue.accepted.value(), venue.quotes.value(), venue.token.value());
        let heard = &mut self.views[at].heard;
        if heard.0 != token {
            // The batch that brought the token may be counted already, or not yet.
            *heard = (token, batches.saturating_sub(1), heard.2);
        }
        let flows = quotes != heard.2 || batches - heard.1 > QUIET_BATCHES;
        if flows {
            heard.2 = quotes;
        }
        flows.then_some(token)
    }

    /// Makes the calls that are due, a bounded number of them.
    fn call(&mut self) -> usize {
        for made in 0..CALLS_PER_TURN {
            let Some(action) = self.coordinator.next(self.parts.clock.now()) else { return made };
            // Before anything is sent: a lease lasts from here at the earliest.
            let sent = self.parts.clock.now();
            let answer = self.make(&action);
            let now = self.parts.clock.now();
            self.count(answer.as_ref().err(), sent, now);
            let answer = understood(answer);
            if let Some(RedisAnswer::ClusterView(view)) = &answer {
                self.show_leaders(view);
                self.look_for_twins(view, now);
            }
            self.coordinator.outcome(&action, answer.as_ref(), sent, now);
            self.listen();
        }
        CALLS_PER_TURN
    }

    fn make(&mut self, action: &ElectionAction) -> Result<RedisAnswer, StoreError> {
        let Self { parts, store, coordinator, .. } = self;
        let name = |venue: usize| parts.directory.venue(VenueId(venue as u16)).name.as_str();
        Ok(match action {
            ElectionAction::Look => {
                let venues: Vec<&str> = (0..parts.directory.venues().len()).map(name).collect();
                RedisAnswer::ClusterView(store.look(&venues)?)
            }
            ElectionAction::Beat => {
                let venues: Vec<&str> = (0..parts.directory.venues().len()).map(name).collect();
                let lags = parts.board.cluster.iter().flat_map(|board| &board.venues).map(|venue| venue.lag_ns.value());
                let me = ClusterMember {
                    id: parts.settings.id.clone(),
                    hostname: parts.settings.hostname.clone(),
                    leads: coordinator.election().leads() as u32,
                    lag_ns: lags.max().unwrap_or(0),
                };
                RedisAnswer::ClusterView(store.beat(&me, &venues)?)
            }
            ElectionAction::Renew(held) => {
                let held: Vec<(&str, u64)> = held.iter().map(|(venue, token)| (name(*venue), *token)).collect();
                RedisAnswer::Renewed(store.renew(&held)?)
            }
            ElectionAction::Claim { venue, floor } => RedisAnswer::Claim(store.claim(name(*venue), *floor)?),
            ElectionAction::NameSuccessor { venue, token, successor } => {
                RedisAnswer::Named(store.name_successor(name(*venue), *token, successor)?)
            }
            ElectionAction::Take { venue, token } => {
                let id = VenueId(*venue as u16);
                let batches = parts.publisher.offer(id);
                let taken = store.take(name(*venue), *token, &batches);
                parts.publisher.took(id, taken.as_ref().copied().map_err(drop));
                RedisAnswer::Taken(taken?)
            }
            ElectionAction::Release { venue, token } => {
                store.release(name(*venue), *token)?;
                RedisAnswer::Done
            }
            ElectionAction::Say(message) => {
                store.say(message)?;
                RedisAnswer::Done
            }
            ElectionAction::Leave => {
                store.leave()?;
                RedisAnswer::Done
            }
        })
    }

    /// Publishes what changed of what we lead.
    fn publish(&mut self) -> usize {
        let now = self.parts.clock.now();
        let reaches = self.coordinator.reaches(now);
        let Self { parts, store, coordinator, views, .. } = self;
        for (at, view) in views.iter_mut().enumerate() {
            let venue = VenueId(at as u16);
            let token = coordinator.election().may_publish(at, now).unwrap_or(0);
            view.token = token;
            // What was taken over is led already.
            if token != parts.publisher.token(venue).unwrap_or(0) {
                if token == 0 { parts.publisher.stop(venue) } else { parts.publisher.lead(venue, token) }
            }
        }
        if !reaches || views.iter().all(|view| view.token == 0) {
            return 0;
        }
        let mut lost = Vec::new();
        let published =
            parts.publisher.turn(store, |venue, now| coordinator.may_publish(venue.index(), now), &mut lost);
        let after = parts.clock.now();
        for venue in lost {
            coordinator.refused(venue.index(), views[venue.index()].token, after);
        }
        let batches = *published.as_ref().unwrap_or(&0);
        if batches > 0 || published.is_err() {
            self.note(published.map(drop), now, after);
        }
        batches
    }

    fn write_legacy(&mut self) {
        let Self { parts, store, coordinator, .. } = self;
        let now = parts.clock.now();
        let Some(legacy) = parts.legacy.as_mut().filter(|legacy| now >= legacy.deadline() && coordinator.reaches(now))
        else {
            return;
        };
        let written = legacy.turn(store, |venue| coordinator.may_publish(venue.index(), now).is_some());
        if written.is_err() {
            let after = parts.clock.now();
            self.note(written, now, after);
        }
    }

    /// How calls beside those of the coordinator ended.
    fn note(&mut self, outcome: Result<(), StoreError>, sent: MonoNs, now: MonoNs) {
        self.count(outcome.as_ref().err(), sent, now);
        let in_time = understood(outcome.map(|()| RedisAnswer::Done)).is_some();
        self.coordinator.published(in_time, now);
    }

    fn count(&self, error: Option<&StoreError>, sent: MonoNs, now: MonoNs) {
        let Some(board) = self.cluster() else { return };
        board.calls.add(1);
        match error {
            None => board.round_trip_ns.set(now.since(sent)),
            Some(error) => {
                board.failures.add(1);
                board.breaker.last_failure.set(now.0);
                board.set_last_error(&error.to_string());
            }
        }
    }

    /// Shows what was decided, and lets the feeds know.
    fn show(&mut self) {
        let now = self.parts.clock.now();
        self.show_state();
        let mut switched = false;
        for at in 0..self.views.len() {
            let role = self.coordinator.role(at, now);
            switched |= self.parts.switch.set(VenueId(at as u16), self.coordinator.wants_upstream(at));
            if let Some(venue) = self.cluster().and_then(|board| board.venues.get(at)) {
                venue.role.set(role as u64);
            }
            let before = std::mem::replace(&mut self.views[at].role, role);
            if role != before && (role == ClusterRole::Leader || before == ClusterRole::Leader) {
                let (name, token) = (&self.parts.directory.venue(VenueId(at as u16)).name, self.views[at].token);
                match role {
                    ClusterRole::Leader => log::say(format_args!("cluster: leads {name}, token {token}")),
                    _ => log::say(format_args!("cluster: lost leadership of {name}")),
                }
            }
        }
        if switched {
            self.parts.feeds.iter().for_each(Alarm::ring);
        }
    }

    fn show_state(&mut self) {
        let fallback = self.coordinator.fallback();
        let (state, since) = (fallback.state(), fallback.since());
        let before = std::mem::replace(&mut self.state, state);
        let Some(board) = self.parts.board.cluster.as_ref() else { return };
        board.redis.set(state as u64);
        board.redis_since.set(since.0);
        board.breaker.set_state(match state {
            RedisState::Joined => BreakerState::Closed,
            RedisState::CutOff => BreakerState::Open,
            RedisState::Connecting | RedisState::Returning => BreakerState::HalfOpen,
        });
        board.breaker.failures.set(u64::from(fallback.failures()));
        if state == before {
            return;
        }
        if state == RedisState::CutOff {
            let why = board.last_error.load_full();
            let why = why.as_deref().map_or("its pulse does not come back", String::as_str);
            board.breaker.count_opened(why);
            // Once each: a Redis that comes and goes is one trouble.
            if !std::mem::replace(&mut self.reported_cut_off, true) {
                log::say(format_args!("cluster: cut off from Redis: {why}"));
            }
        }
        if state == RedisState::Joined {
            self.reported_cut_off = false;
            log::say(format_args!("cluster: joined as {}", self.parts.settings.id));
        }
    }

    /// The holders of the leases.
    fn show_leaders(&self, view: &ClusterView) {
        let Some(board) = self.cluster() else { return };
        for (venue, shown) in self.parts.directory.venues().iter().zip(&board.venues) {
            let lease = view.leases.iter().find(|(name, _)| *name == venue.name).map(|(_, lease)| lease);
            for (slot, text) in [
                (&shown.leader, lease.map(|lease| &lease.owner)),
                (&shown.leader_host, lease.map(|lease| &lease.hostname)),
            ] {
                if slot.load().as_deref() != text {
                    slot.store(text.cloned().map(Arc::new));
                }
            }
        }
    }

    fn show_members(&self) {
        let Some(board) = self.cluster() else { return };
        let members: Vec<&String> = self.coordinator.election().members().iter().map(|member| &member.id).collect();
        let shown = board.members.load();
        if !shown.as_ref().is_some_and(|shown| shown.iter().eq(members.iter().copied())) {
            board.members.store(Some(Arc::new(members.into_iter().cloned().collect())));
        }
    }

    /// Ids differ by process whatever the configuration says, so nothing breaks when a name is given twice; but
    /// the two could not be told apart.
    fn look_for_twins(&mut self, view: &ClusterView, now: MonoNs) {
        let ClusterSettings { cluster, id, .. } = &self.parts.settings;
        let name = &cluster.instance;
        if name.is_empty() {
            return;
        }
        let Some(twin) = view.members.iter().find(|member| member.id != *id && is_named(&member.id, name)) else {
            self.twins = Twins::default();
            return;
        };
        let since = *self.twins.since.get_or_insert(now);
        // One that was killed is still on the list for a lease.
        if now.since(since) > 2 * cluster.lease_ns() && !std::mem::replace(&mut self.twins.reported, true) {
            let words =
                format!("cluster.instance: {} is called `{name}` too; each instance needs a name of its own", twin.id);
            log::say(format_args!("error: {words}"));
            self.cluster().iter().for_each(|board| board.set_last_error(&words));
        }
    }

    fn sleep(&mut self, wait: Duration) {
        let now = self.parts.clock.now();
        let reaches = self.coordinator.reaches(now);
        let mut deadline = self.coordinator.deadline();
        if reaches {
            let others = [self.parts.publisher.deadline(), self.parts.legacy.as_ref().map(Legacy::deadline)];
            deadline = others.into_iter().flatten().fold(deadline, MonoNs::min);
        }
        let is_successor = self.views.iter().any(|view| view.role == ClusterRole::Successor);
        let longest = if is_successor { SLEEP_SUCCESSOR_MAX } else { SLEEP_MAX };
        let wait = wait.min(longest).min(Duration::from_nanos(deadline.since(now)).max(SLEEP_MIN));
        let (alarm, parker) = &self.parts.alarm;
        // Nobody need wake us for what cannot be published.
        if reaches {
            alarm.set();
        }
        if !reaches || (self.parts.control.is_empty() && !self.parts.changes.is_marked()) {
            parker.park_timeout(wait);
            self.slept = Sleep::new(now, self.parts.clock.now(), wait, false);
        }
        alarm.clear();
    }
}

impl Stage for Lead {
    fn name(&self) -> &str {
        "cluster"
    }

    fn turn(&mut self, wait: Duration) -> usize {
        let mut work = self.listen();
        work += self.call();
        work += self.publish();
        self.write_legacy();
        self.show();
        self.show_members();
        if work == 0 && !wait.is_zero() {
            self.sleep(wait);
        }
        work
    }

    fn slept(&self) -> Option<Sleep> {
        Some(self.slept)
    }

    /// Hands over all that we lead, before the feeds end: until the successors have taken over it is led and published.
    fn finish(&mut self) {
        let begun = self.parts.clock.now();
        self.coordinator.stop(begun);
        while self.parts.clock.now().since(begun) < STOP_NS {
            self.turn(Duration::ZERO);
            if self.coordinator.is_done() {
                return;
            }
            self.sleep(STOP_SLEEP);
        }
    }
}

/// What Redis understood is an answer, even if it refused; `None` when it cannot be relied on.
fn understood(answer: Result<RedisAnswer, StoreError>) -> Option<RedisAnswer> {
    match answer {
        Ok(answer) => Some(answer),
        Err(StoreError::Refused(RefusalClass::Oom | RefusalClass::NoScript | RefusalClass::Other, _)) => {
            Some(RedisAnswer::Done)
        }
        Err(_) => None,
    }
}

/// Whether `id` is `name` with a process and its start time.
fn is_named(id: &str, name: &str) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let rest = id.strip_prefix(name).and_then(|rest| rest.strip_prefix('_')).and_then(|rest| rest.split_once('_'));
    rest.is_some_and(|(process, start)| is_number(process) && is_number(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_differs_from_a_longer_one() {
        assert!(is_named("gw_12_1700000000000", "gw"));
        for other in ["gw_1_2_3", "gw", "gw_12", "gwx_1_2", "gw_a_2"] {
            assert!(!is_named(other, "gw"), "{other}");
        }
    }

    #[test]
    fn a_refusal_is_an_answer_only_where_redis_still_works() {
        let refused = |class| understood(Err(StoreError::Refused(class, String::new())));
        for class in [RefusalClass::Oom, RefusalClass::NoScript, RefusalClass::Other] {
            assert_eq!(refused(class), Some(RedisAnswer::Done), "{class:?}");
        }
        for class in [
            RefusalClass::ReadOnly,
            RefusalClass::Loading,
            RefusalClass::MasterDown,
            RefusalClass::NoAuth,
            RefusalClass::Misconf,
            RefusalClass::Busy,
        ] {
            assert_eq!(refused(class), None, "{class:?}");
        }
        assert_eq!(understood(Err(StoreError::Late)), None);
    }
}
