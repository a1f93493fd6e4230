//! Who leads which venue. Pure: what Redis and the others said comes in with the time, calls to make come out of
//! [`Election::poll`]. Turned by the lead thread, one call at a time; decides everything, touches nothing.
//!
//! A lease is held until *the moment before its last renewal was asked for*, plus its length, minus a margin, by our
//! own monotonic clock: earlier than Redis ends it, whatever the clocks show and however long we slept. A token is
//! never used again once we stopped leading under it, and no venue is led under a token below the highest that
//! anybody was seen to lead under, even if Redis forgot it.
//!
//! Venues are shared out evenly: free ones go to the instance with the fewest, by a plan that all compute alike from the same
//! view, and the others only try later. Leaders with two more than another instance give one away, and a leader that is
//! about to end gives all away. They name a successor and go on leading. The successor connects to the venue, waits until it
//! knows the whole of it, and takes the lease in the same atomic step that publishes its first batches: every batch of
//! the old leader comes before them, and there is no moment without a leader.

use crate::cluster::store::{Claim, ClusterMember, ClusterView, Control, Lease, TOKEN_MAX};
use crate::cluster::{ClusterSettings, OwnUpstream};
use crate::metrics::cluster::ClusterRole;
use crate::time::{MS, MonoNs, SECOND};

/// An instance that is not the first to claim a free venue waits this long for each one before it.
const STAGGER_NS: u64 = 150 * MS;
/// How long a successor has to connect and to take over, before the leader keeps the venue.
const SUCCESSOR_NS: u64 = 10 * SECOND;
/// How long a successor has when the leader is about to end and could name another one.
const SUCCESSOR_STOPPING_NS: u64 = 2 * SECOND;
/// How long a leader that is about to end goes on leading until its successors have taken over, in nanoseconds. Then it gives
/// the rest back and ends.
pub const HANDOVER_MAX_NS: u64 = 5 * SECOND;
/// Pause between two looks of a leader that is about to end: how soon it learns that a successor is gone.
const LOOK_STOPPING_NS: u64 = 100 * MS;
/// How long an instance that did not take over is not named again for the same venue.
const SHUN_NS: u64 = 30 * SECOND;
/// How long a leader whose connection to the venue is broken tries, before it looks for a successor.
const DRY_NS: u64 = 5 * SECOND;
/// How long it takes on no venue of that name after it gave it away.
const REST_NS: u64 = 60 * SECOND;
/// How long the old leader stays connected, unless the new one's first batch came before.
const LINGER_NS: u64 = 2 * SECOND;
/// Pause before a call that had no answer is made again, and before a word is repeated.
const AGAIN_NS: u64 = 200 * MS;
/// Least pause between two looks.
const LOOK_NS: u64 = 10 * MS;

/// A call to make. Pass its outcome to the function that is named with it; a call without an outcome is repeated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ElectionAction {
    /// [`Election::seen`].
    Beat,
    /// The same without becoming a member. [`Election::seen`].
    Look,
    /// By venue and token; [`Election::renewed`].
    Renew(Vec<(usize, u64)>),
    /// With a token above `floor`; [`Election::claimed`].
    Claim {
        /// Which venue.
        venue: usize,
        /// Highest token that we know of.
        floor: u64,
    },
    /// The next leader; empty for none. [`Election::successor_named`].
    NameSuccessor {
        /// Which venue.
        venue: usize,
        /// Ours.
        token: u64,
        /// Id of the next leader.
        successor: String,
    },
    /// As its successor, with our first batches. [`Election::taken`].
    Take {
        /// Which venue.
        venue: usize,
        /// The old leader's.
        token: u64,
    },
    /// [`Election::released`].
    Release {
        /// Which venue.
        venue: usize,
        /// Ours, which is over.
        token: u64,
    },
    /// Has no outcome.
    Say(Control),
    /// [`Election::left`].
    Leave,
}

/// One instance's view of all venues. Venues are counted as in the list that it was made with.
pub struct Election {
    me: String,
    lease_ns: u64,
    margin_ns: u64,
    renew_ns: u64,
    tenure_ns: u64,
    may_be_alone: bool,
    seats: Vec<VenueElection>,
    /// Places in `seats` by name: the order of every plan.
    by_name: Vec<usize>,
    /// Who is alive, by id.
    members: Vec<ClusterMember>,
    takes_part: bool,
    is_alone: bool,
    beat_at: MonoNs,
    looked: MonoNs,
    stopping: Option<MonoNs>,
    has_left: bool,
    leave_at: MonoNs,
}

#[derive(Default)]
struct VenueElection {
    name: String,
    /// Highest token that was seen, and its owner.
    highest: u64,
    highest_owner: String,
    /// The lease as it was last seen.
    seen: Option<SeenLease>,
    held: Option<Held>,
    /// Highest token that was ours and is over.
    spent: u64,
    /// A token that is said to be ours, and when to ask whether it is.
    adopt: Option<(u64, MonoNs)>,
    succession: Option<Succession>,
    /// Token of the last leader whose successor we were.
    succession_over: u64,
    linger: Option<Linger>,
    /// A lease of ours to give back.
    give_back: Option<GiveBack>,
    claim_at: Option<MonoNs>,
    rest_until: MonoNs,
    /// Since when the connection that we should have brings nothing.
    dry_since: Option<MonoNs>,
    flowing: bool,
    /// Instances that did not take over, and until when each is not asked again.
    shunned: Vec<(String, MonoNs)>,
    /// Somebody leads under a token below `highest`: said again at this time.
    warn_at: Option<MonoNs>,
}

struct SeenLease {
    owner: String,
    token: u64,
    successor: Option<String>,
    /// When the lease ends unless renewed, at the latest.
    ends: Option<MonoNs>,
}

struct Held {
    token: u64,
    since: MonoNs,
    /// No leader from then on.
    until: MonoNs,
    renew_at: MonoNs,
    successor: Option<Successor>,
    /// A successor to be unnamed.
    unname: bool,
}

struct Successor {
    id: String,
    since: MonoNs,
    named: bool,
    /// When to name it.
    at: MonoNs,
}

struct Succession {
    token: u64,
    since: MonoNs,
    /// Whether we know the whole venue by our own connection.
    ready: bool,
    take_at: MonoNs,
}

/// Still connected, so that clients have no gap.
struct Linger {
    /// Ends when a batch under a higher token is accepted.
    after: u64,
    /// Or then.
    until: Option<MonoNs>,
}

struct GiveBack {
    token: u64,
    at: MonoNs,
    until: MonoNs,
    /// Claim it anew then.
    reclaim: bool,
}

impl Election {
    /// For the venues named `venues`; takes part once it is enabled.
    #[must_use]
    pub fn new(settings: &ClusterSettings, venues: &[&str], now: MonoNs) -> Self {
        let ClusterSettings { cluster, id, .. } = settings;
        let seat = |name: &&str| VenueElection { name: (*name).to_owned(), ..VenueElection::default() };
        let mut by_name: Vec<usize> = (0..venues.len()).collect();
        by_name.sort_by_key(|&at| venues[at]);
        Self {
            me: id.clone(),
            lease_ns: cluster.lease_ns(),
            margin_ns: cluster.lease_ns() / 10,
            renew_ns: cluster.renew_ns(),
            tenure_ns: cluster.tenure_ms * MS,
            may_be_alone: cluster.own_upstream == OwnUpstream::On,
            seats: venues.iter().map(seat).collect(),
            by_name,
            members: Vec::new(),
            takes_part: false,
            is_alone: false,
            beat_at: now,
            looked: MonoNs(0),
            stopping: None,
            has_left: false,
            leave_at: now,
        }
    }

    /// Under which token a batch of `venue` may be published now; `None` when we do not lead. Ask right before.
    #[must_use]
    pub fn may_publish(&self, venue: usize, now: MonoNs) -> Option<u64> {
        let seat = &self.seats[venue];
        seat.held.as_ref().filter(|held| now < held.until && held.token >= seat.highest).map(|held| held.token)
    }

    /// What we are for `venue`.
    #[must_use]
    pub fn role(&self, venue: usize, now: MonoNs) -> ClusterRole {
        let seat = &self.seats[venue];
        if seat.held.as_ref().is_some_and(|held| now < held.until) {
            ClusterRole::Leader
        } else if self.is_alone {
            ClusterRole::Alone
        } else if seat.succession.is_some() {
            ClusterRole::Successor
        } else {
            ClusterRole::Follower
        }
    }

    /// Whether this instance shall be connected to `venue`.
    #[must_use]
    pub fn wants_upstream(&self, venue: usize) -> bool {
        let seat = &self.seats[venue];
        self.is_alone || seat.held.is_some() || seat.succession.is_some() || seat.linger.is_some()
    }

    /// How many venues we lead.
    #[must_use]
    pub fn leads(&self) -> usize {
        self.seats.iter().filter(|seat| seat.held.is_some()).count()
    }

    /// Who is alive, by id.
    #[must_use]
    pub fn members(&self) -> &[ClusterMember] {
        &self.members
    }

    /// Id of the leader of `venue`, as far as we know.
    #[must_use]
    pub fn leader(&self, venue: usize) -> Option<&str> {
        let seat = &self.seats[venue];
        if seat.held.is_some() { Some(&self.me) } else { seat.seen.as_ref().map(|seen| seen.owner.as_str()) }
    }

    // Inputs.

    /// The answer to [`ElectionAction::Beat`], which was asked for at `sent`.
    pub fn seen(&mut self, view: &ClusterView, sent: MonoNs, now: MonoNs) {
        self.members.clone_from(&view.members);
        self.members.sort_by(|a, b| a.id.cmp(&b.id));
        self.members.dedup_by(|a, b| a.id == b.id);
        for at in 0..self.seats.len() {
            let lease = view.leases.iter().find(|(name, _)| *name == self.seats[at].name);
            match lease {
                Some((_, lease)) => self.see_lease(at, lease, sent, now),
                None => self.see_free(at, now),
            }
        }
        self.plan(now);
        if self.stopping.is_some_and(|begun| sent >= begun) {
            self.pass_on(now);
            self.give_back_rest(now);
        }
    }

    /// The answer to [`ElectionAction::Claim`].
    pub fn claimed(&mut self, venue: usize, outcome: &Claim, sent: MonoNs, now: MonoNs) {
        match outcome {
            Claim::Held(lease) => self.see_lease(venue, lease, sent, now),
            Claim::Won(token) => self.gain(venue, *token, sent, now),
        }
    }

    /// The answer to [`ElectionAction::Renew`].
    pub fn renewed(&mut self, asked: &[(usize, u64)], kept: &[bool], sent: MonoNs, now: MonoNs) {
        for (&(venue, token), &kept) in asked.iter().zip(kept) {
            let (lease_ns, margin_ns, renew_ns) = (self.lease_ns, self.margin_ns, self.renew_ns);
            let seat = &mut self.seats[venue];
            let is_held = seat.held.as_ref().is_some_and(|held| held.token == token);
            if seat.adopt.is_some_and(|(adopted, _)| adopted == token) {
                seat.adopt = None;
            }
            match (&mut seat.held, kept) {
                (Some(held), true) if is_held => {
                    held.until = held.until.max(sent.plus(lease_ns - margin_ns));
                    held.renew_at = sent.plus(renew_ns);
                }
                (_, true) => self.gain(venue, token, sent, now),
                (Some(_), false) if is_held => self.lose(venue, now),
                (_, false) => {}
            }
        }
    }

    /// The answer to [`ElectionAction::NameSuccessor`].
    pub fn successor_named(&mut self, venue: usize, token: u64, kept: bool, now: MonoNs) {
        let seat = &mut self.seats[venue];
        let Some(held) = seat.held.as_mut().filter(|held| held.token == token) else { return };
        if !kept {
            return self.lose(venue, now);
        }
        if let Some(successor) = &mut held.successor {
            successor.named = true;
            successor.at = now;
        }
    }

    /// The answer to [`ElectionAction::Take`]: our token, or `None` when the lease does not name us any more.
    pub fn taken(&mut self, venue: usize, token: u64, next: Option<u64>, sent: MonoNs, now: MonoNs) {
        if let Some(next) = next {
            return self.gain(venue, next, sent, now);
        }
        // Another instance is the successor, or there is no leader: the next look shows which.
        if self.seats[venue].succession.as_ref().is_some_and(|succession| succession.token == token) {
            self.beat_at = now;
        }
    }

    /// The answer to [`ElectionAction::Release`].
    pub fn released(&mut self, venue: usize, token: u64, now: MonoNs) {
        let takes_part = self.takes_part && self.stopping.is_none();
        let seat = &mut self.seats[venue];
        if let Some(gone) = seat.give_back.take_if(|gone| gone.token == token) {
            if seat.seen.as_ref().is_some_and(|seen| seen.token == token) {
                seat.seen = None;
            }
            if gone.reclaim && takes_part {
                seat.claim_at = Some(now);
            }
        }
    }

    /// The answer to [`ElectionAction::Leave`].
    pub fn left(&mut self) {
        self.has_left = true;
    }

    /// Redis refused a batch: the lease is not ours any more.
    pub fn refused(&mut self, venue: usize, token: u64, now: MonoNs) {
        if self.seats[venue].held.as_ref().is_some_and(|held| held.token == token) {
            self.lose(venue, now);
        }
    }

    /// Another instance said something.
    pub fn control(&mut self, message: &Control, now: MonoNs) {
        let venue = match message {
            Control::Successor { venue, .. } | Control::Leads { venue, .. } | Control::Free { venue, .. } => venue,
            // The publisher's business.
            Control::Again { .. } => return,
        };
        let Some(venue) = self.seats.iter().position(|seat| seat.name == *venue) else { return };
        match message {
            Control::Successor { token, successor, .. } => self.hear_successor(venue, *token, successor, now),
            Control::Leads { token, owner, .. } => self.hear_leads(venue, *token, owner, now),
            Control::Free { token, .. } => self.hear_free(venue, *token, now),
            Control::Again { .. } => {}
        }
    }

    /// A batch of the leader of `venue` under `token` was accepted, whose quotes are as good as our own now.
    pub fn accepted(&mut self, venue: usize, token: u64, now: MonoNs) {
        let seat = &mut self.seats[venue];
        seat.raise(token, "");
        seat.linger.take_if(|linger| token > linger.after);
        self.heed_highest(venue, now);
    }

    /// Whether our own connection to `venue` is open and brings quotes.
    pub fn upstream(&mut self, venue: usize, flowing: bool, now: MonoNs) {
        let seat = &mut self.seats[venue];
        seat.flowing = flowing;
        if flowing || seat.held.is_none() {
            seat.dry_since = None;
        } else {
            seat.dry_since.get_or_insert(now);
        }
    }

    /// Whether our own connection to `venue` has delivered all its known quotes. We are its successor.
    pub fn prepared(&mut self, venue: usize, ready: bool) {
        if let Some(succession) = &mut self.seats[venue].succession {
            succession.ready = ready;
        }
    }

    /// Redis cannot be relied on. What is led is led until its lease ends, and nothing new is begun.
    pub fn cut_off(&mut self, now: MonoNs) {
        self.takes_part = false;
        self.is_alone = self.may_be_alone;
        for seat in &mut self.seats {
            (seat.succession, seat.claim_at, seat.seen) = (None, None, None);
            if let Some(held) = &mut seat.held {
                held.successor = None;
            }
        }
        self.expire(now);
    }

    /// Redis answers again, or for the first time: what is led is renewed, nothing new is begun.
    pub fn returning(&mut self, now: MonoNs) {
        self.beat_at = now;
        for held in self.seats.iter_mut().filter_map(|seat| seat.held.as_mut()) {
            held.renew_at = now;
        }
    }

    /// Redis can be relied on: takes part. Our own connections stay open until the leaders' quotes flow.
    pub fn joined(&mut self, now: MonoNs) {
        self.takes_part = true;
        self.beat_at = now;
        if std::mem::take(&mut self.is_alone) {
            for seat in self.seats.iter_mut().filter(|seat| seat.held.is_none()) {
                seat.linger = Some(Linger { after: 0, until: None });
            }
        }
    }

    /// This instance is about to end: all that it leads goes to others. It goes on leading until they have taken over,
    /// for [`HANDOVER_MAX_NS`] at most; when there are no others it ends at once.
    pub fn stop(&mut self, now: MonoNs) {
        if self.stopping.is_some() {
            return;
        }
        self.stopping = Some(now);
        (self.leave_at, self.beat_at) = (now, now);
        self.is_alone = false;
        for seat in &mut self.seats {
            (seat.succession, seat.claim_at, seat.linger, seat.adopt) = (None, None, None, None);
        }
        self.pass_on(now);
        if !self.takes_part {
            self.give_back_rest(now);
        }
    }

    /// While about to end: names a successor for everything that has none, or whose successor is gone.
    fn pass_on(&mut self, now: MonoNs) {
        if !self.takes_part {
            return;
        }
        let mut loads = self.loads();
        loads.retain(|load| load.id != self.me);
        for at in self.by_name.clone() {
            let seat = &mut self.seats[at];
            let Some(held) = &mut seat.held else { continue };
            let is_alive = |successor: &Successor| loads.iter().any(|load| load.id == successor.id);
            if held.successor.as_ref().is_some_and(is_alive) {
                continue;
            }
            let shunned = |id: &str| seat.shunned.iter().any(|(shunned, _)| shunned == id);
            let next = loads.iter_mut().min_by_key(|load| (shunned(&load.id), load.venues));
            held.successor = next.map(|load| {
                load.venues += 1;
                Successor { id: load.id.clone(), since: now, named: false, at: now }
            });
            held.unname &= held.successor.is_none();
        }
    }

    /// While about to end: releases what no instance can take over.
    fn give_back_rest(&mut self, now: MonoNs) {
        for seat in &mut self.seats {
            if seat.held.as_ref().is_some_and(|held| held.successor.is_none()) {
                seat.yield_lease(now, self.lease_ns, false);
            }
        }
    }

    /// Whether nothing is left to do before the end.
    #[must_use]
    pub fn is_done(&self) -> bool {
        let is_free = |seat: &VenueElection| seat.held.is_none() && seat.give_back.is_none();
        self.stopping.is_some() && self.has_left && self.seats.iter().all(is_free)
    }

    // What is done.

    /// Steps down where a deadline has passed. Part of [`Self::poll`]; call it alone while no call can be made.
    pub fn expire(&mut self, now: MonoNs) {
        for at in 0..self.seats.len() {
            let lease_ns = self.lease_ns;
            let seat = &mut self.seats[at];
            if seat.held.as_ref().is_some_and(|held| now >= held.until) {
                seat.yield_lease(now, lease_ns, false);
                seat.keep_upstream(self.may_be_alone, now);
                self.beat_at = now;
            }
            let is_gone = |successor: &Successor| !self.members.iter().any(|member| member.id == successor.id);
            let is_over = |successor: &Successor| now.since(successor.since) >= SUCCESSOR_NS || is_gone(successor);
            let successor = seat.held.as_ref().and_then(|held| held.successor.as_ref());
            if self.stopping.is_none() && successor.is_some_and(is_over) {
                seat.shun_successor(now);
            }
            seat.succession.take_if(|succession| now.since(succession.since) >= SUCCESSOR_NS + SECOND);
            seat.linger.take_if(|linger| linger.until.is_some_and(|until| now >= until));
            seat.give_back.take_if(|gone| now >= gone.until);
            seat.shunned.retain(|(_, until)| now < *until);
        }
        if let Some(begun) = self.stopping {
            self.hurry(begun, now);
        }
    }

    /// While about to end: a successor that takes long is replaced where there is another, and all ends in time.
    fn hurry(&mut self, begun: MonoNs, now: MonoNs) {
        let is_late = now.since(begun) >= HANDOVER_MAX_NS;
        let mut shunned = false;
        for seat in &mut self.seats {
            let Some(held) = &seat.held else { continue };
            if is_late {
                // The successor is alive or not; if it is, it is notified and claims first.
                seat.yield_lease(now, self.lease_ns, false);
                continue;
            }
            let Some(successor) =
                held.successor.as_ref().filter(|successor| now.since(successor.since) >= SUCCESSOR_STOPPING_NS)
            else {
                continue;
            };
            let is_another = |member: &&ClusterMember| member.id != successor.id && member.id != self.me;
            if self.members.iter().filter(is_another).any(|member| !seat.is_shunned(&member.id)) {
                seat.shun_successor(now);
                shunned = true;
            }
        }
        if shunned {
            self.pass_on(now);
        }
    }

    /// The next call to make, if one is due.
    pub fn poll(&mut self, now: MonoNs) -> Option<ElectionAction> {
        self.expire(now);
        let action = self.renew(now);
        let action = action.or_else(|| (0..self.seats.len()).find_map(|at| self.poll_seat(at, now)));
        if action.is_some() {
            return action;
        }
        if self.stopping.is_some() {
            if !self.has_left && now >= self.leave_at {
                self.leave_at = now.plus(AGAIN_NS);
                return Some(ElectionAction::Leave);
            }
            return (self.leads() > 0 && now >= self.beat_at).then(|| {
                self.beat_at = now.plus(LOOK_STOPPING_NS);
                ElectionAction::Look
            });
        }
        (now >= self.look_at()).then(|| {
            (self.looked, self.beat_at) = (now, now.plus(self.renew_ns));
            ElectionAction::Beat
        })
    }

    /// When to poll again without news.
    #[must_use]
    pub fn deadline(&self) -> MonoNs {
        let mut at = match self.stopping {
            None => self.look_at(),
            Some(begun) => {
                let call_at = if self.has_left { self.beat_at } else { self.leave_at.min(self.beat_at) };
                call_at.min(begun.plus(HANDOVER_MAX_NS))
            }
        };
        let mut sooner = |other: Option<MonoNs>| at = other.map_or(at, |other| at.min(other));
        for seat in &self.seats {
            if let Some(held) = &seat.held {
                sooner(Some(held.until.min(held.renew_at)));
                sooner(held.successor.as_ref().map(|successor| successor.since.plus(SUCCESSOR_NS)));
                sooner(held.successor.as_ref().filter(|successor| !successor.named).map(|successor| successor.at));
            }
            sooner(seat.adopt.map(|(_, at)| at));
            sooner(seat.give_back.as_ref().map(|gone| gone.at));
            sooner(seat.claim_at);
            sooner(seat.linger.as_ref().and_then(|linger| linger.until));
            sooner(seat.succession.as_ref().filter(|succession| succession.ready).map(|succession| succession.take_at));
            sooner(seat.warn_at);
        }
        at
    }

    /// The regular look, or one when a lease of another's should have ended.
    fn look_at(&self) -> MonoNs {
        let others = self.seats.iter().filter(|seat| seat.held.is_none());
        let ends = others.filter_map(|seat| seat.seen.as_ref()?.ends).min();
        let ends = ends.filter(|_| self.takes_part).map(|ends| ends.max(self.looked.plus(LOOK_NS)));
        ends.map_or(self.beat_at, |ends| ends.min(self.beat_at))
    }

    fn renew(&mut self, now: MonoNs) -> Option<ElectionAction> {
        let is_due = |seat: &VenueElection| {
            seat.held.as_ref().is_some_and(|held| now >= held.renew_at) || seat.adopt.is_some_and(|(_, at)| now >= at)
        };
        if !self.seats.iter().any(is_due) {
            return None;
        }
        let again = now.plus(AGAIN_NS.min(self.renew_ns / 4));
        let mut asked = Vec::new();
        for (at, seat) in self.seats.iter_mut().enumerate() {
            if let Some(held) = &mut seat.held {
                held.renew_at = again;
                asked.push((at, held.token));
            } else if let Some((token, when)) = &mut seat.adopt {
                *when = again;
                asked.push((at, *token));
            }
        }
        Some(ElectionAction::Renew(asked))
    }

    fn poll_seat(&mut self, venue: usize, now: MonoNs) -> Option<ElectionAction> {
        let again = now.plus(AGAIN_NS);
        let takes_part = self.takes_part;
        let seat = &mut self.seats[venue];
        if let Some(gone) = seat.give_back.as_mut().filter(|gone| now >= gone.at) {
            gone.at = again;
            return Some(ElectionAction::Release { venue, token: gone.token });
        }
        if !takes_part {
            return None;
        }
        if let Some(held) = &mut seat.held {
            if std::mem::take(&mut held.unname) {
                return Some(ElectionAction::NameSuccessor { venue, token: held.token, successor: String::new() });
            }
            let successor = held.successor.as_mut().filter(|successor| now >= successor.at && !successor.named)?;
            successor.at = again;
            return Some(ElectionAction::NameSuccessor { venue, token: held.token, successor: successor.id.clone() });
        }
        if let Some(succession) =
            seat.succession.as_mut().filter(|succession| succession.ready && now >= succession.take_at)
        {
            succession.take_at = again;
            return Some(ElectionAction::Take { venue, token: succession.token });
        }
        if seat.claim_at.take_if(|at| now >= *at).is_some() && seat.give_back.is_none() {
            return Some(ElectionAction::Claim { venue, floor: seat.highest });
        }
        if seat.warn_at.take_if(|at| now >= *at).is_some() {
            let (venue, token, owner) = (seat.name.clone(), seat.highest, seat.highest_owner.clone());
            return Some(ElectionAction::Say(Control::Leads { venue, token, owner }));
        }
        None
    }

    // How it is decided.

    fn see_lease(&mut self, venue: usize, lease: &Lease, sent: MonoNs, now: MonoNs) {
        let (lease_ns, takes_part) = (self.lease_ns, self.takes_part);
        let seat = &mut self.seats[venue];
        seat.raise(lease.token, &lease.owner);
        seat.claim_at = None;
        seat.warn_at = None;
        let ends = (lease.left_ns > 0).then(|| now.plus(lease.left_ns).plus(MS));
        let successor = lease.successor.clone().filter(|successor| !successor.is_empty());
        let is_successor = successor.as_ref() == Some(&self.me);
        seat.seen = Some(SeenLease { owner: lease.owner.clone(), token: lease.token, successor, ends });
        if lease.owner == self.me {
            seat.succession = None;
            let is_held = seat.held.as_ref().is_some_and(|held| held.token == lease.token);
            if let Some(held) = seat.held.as_mut().filter(|held| is_held && held.successor.is_none()) {
                // A successor that we no longer know of, after a call without an answer.
                held.unname = seat.seen.as_ref().is_some_and(|seen| seen.successor.is_some());
            }
            if is_held || seat.give_back.as_ref().is_some_and(|gone| gone.token == lease.token) {
                // Known.
            } else if lease.token > seat.spent && lease.token == seat.highest && self.stopping.is_none() {
                seat.adopt.get_or_insert((lease.token, now)).0 = lease.token;
            } else {
                let until = now.plus(lease_ns);
                seat.give_back = Some(GiveBack { token: lease.token, at: now, until, reclaim: true });
            }
        } else {
            seat.adopt = None;
            if seat.held.is_some() {
                self.lose(venue, now);
            }
            let seat = &mut self.seats[venue];
            if lease.token < seat.highest && takes_part {
                seat.warn_at = Some(now);
            }
            if is_successor {
                self.become_successor(venue, lease.token, now);
            } else {
                seat.succession.take_if(|succession| sent >= succession.since);
            }
        }
        self.heed_highest(venue, now);
    }

    fn see_free(&mut self, venue: usize, now: MonoNs) {
        let seat = &mut self.seats[venue];
        (seat.seen, seat.adopt, seat.give_back, seat.warn_at) = (None, None, None, None);
        if seat.held.is_some() {
            self.lose(venue, now);
        }
    }

    fn hear_successor(&mut self, venue: usize, token: u64, successor: &str, now: MonoNs) {
        let seat = &mut self.seats[venue];
        if let Some(seen) = seat.seen.as_mut().filter(|seen| seen.token == token) {
            seen.successor = (!successor.is_empty()).then(|| successor.to_owned());
        }
        if successor == self.me {
            self.become_successor(venue, token, now);
        } else {
            seat.succession.take_if(|succession| succession.token <= token);
        }
    }

    fn become_successor(&mut self, venue: usize, token: u64, now: MonoNs) {
        let may = self.takes_part && self.stopping.is_none();
        let seat = &mut self.seats[venue];
        let is_news = token > seat.succession_over && token >= seat.highest && token <= TOKEN_MAX;
        if may && is_news && seat.held.is_none() && now >= seat.rest_until {
            seat.raise(token, "");
            seat.succession = Some(Succession { token, since: now, ready: false, take_at: now });
            seat.succession_over = token;
        }
    }

    fn hear_leads(&mut self, venue: usize, token: u64, owner: &str, now: MonoNs) {
        let lease_ns = self.lease_ns;
        let seat = &mut self.seats[venue];
        let is_held = seat.held.as_ref().is_some_and(|held| held.token == token);
        if token < seat.highest || token > TOKEN_MAX || is_held {
            return;
        }
        let goes_to = |held: &&Held| held.successor.as_ref().is_some_and(|successor| successor.id == owner);
        if let Some(ours) = seat.held.as_ref().filter(goes_to).map(|held| held.token) {
            return self.passed_on(venue, ours, (token, owner), now);
        }
        seat.raise(token, owner);
        if owner != self.me {
            (seat.claim_at, seat.adopt) = (None, None);
            seat.succession.take_if(|succession| succession.token < token);
        } else if token > seat.spent && self.stopping.is_none() {
            seat.adopt = Some((token, now));
        }
        seat.seen = Some(SeenLease {
            owner: owner.to_owned(),
            token,
            successor: None,
            ends: Some(now.plus(lease_ns).plus(MS)),
        });
        self.heed_highest(venue, now);
    }

    /// Our successor leads now, under its token.
    fn passed_on(&mut self, venue: usize, ours: u64, (token, successor): (u64, &str), now: MonoNs) {
        let is_dry = self.is_dry(venue, now);
        let seat = &mut self.seats[venue];
        seat.held = None;
        seat.spent = seat.spent.max(ours);
        seat.raise(token, successor);
        let ends = Some(now.plus(self.lease_ns).plus(MS));
        seat.seen = Some(SeenLease { owner: successor.to_owned(), token, successor: None, ends });
        seat.linger = Some(Linger { after: ours, until: Some(now.plus(LINGER_NS)) });
        if is_dry {
            seat.rest_until = now.plus(REST_NS);
        }
    }

    fn hear_free(&mut self, venue: usize, token: u64, now: MonoNs) {
        let seat = &mut self.seats[venue];
        if token > TOKEN_MAX || token < seat.highest || seat.held.is_some() {
            return;
        }
        seat.raise(token, "");
        let successor = seat.seen.take().and_then(|seen| seen.successor);
        let was_successor = seat.succession.is_some();
        self.plan(now);
        let seat = &mut self.seats[venue];
        if was_successor && self.takes_part && self.stopping.is_none() {
            seat.claim_at = Some(now);
        } else if successor.is_some() {
            // The successor, which is connecting, comes first.
            seat.claim_at = seat.claim_at.map(|at| at.max(now.plus(STAGGER_NS)));
        }
    }

    fn gain(&mut self, venue: usize, token: u64, sent: MonoNs, now: MonoNs) {
        let (lease_ns, renew_ns) = (self.lease_ns, self.renew_ns);
        let until = sent.plus(lease_ns - self.margin_ns);
        let may = self.takes_part && self.stopping.is_none();
        let seat = &mut self.seats[venue];
        let is_news = token > seat.spent && token >= seat.highest;
        seat.raise(token, &self.me);
        seat.held =
            Some(Held { token, since: now, until, renew_at: sent.plus(renew_ns), successor: None, unname: false });
        (seat.adopt, seat.succession, seat.linger, seat.claim_at, seat.dry_since) = (None, None, None, None, None);
        seat.seen = Some(SeenLease { owner: self.me.clone(), token, successor: None, ends: None });
        if !may || !is_news || now >= until {
            seat.yield_lease(now, lease_ns, may);
        }
    }

    /// The lease is not ours any more: by its token nothing is published again.
    fn lose(&mut self, venue: usize, now: MonoNs) {
        let is_dry = self.is_dry(venue, now);
        let seat = &mut self.seats[venue];
        let Some(held) = seat.held.take() else { return };
        seat.spent = seat.spent.max(held.token);
        if is_dry && held.successor.is_some() {
            // The successor has it, and we hear so first by a refusal.
            seat.rest_until = now.plus(REST_NS);
        }
        seat.keep_upstream(self.may_be_alone, now);
        self.beat_at = now;
    }

    /// Somebody led under a higher token than ours: Redis forgot what it had given out. A new token is taken.
    fn heed_highest(&mut self, venue: usize, now: MonoNs) {
        let lease_ns = self.lease_ns;
        let seat = &mut self.seats[venue];
        if seat.held.as_ref().is_some_and(|held| held.token < seat.highest) {
            seat.yield_lease(now, lease_ns, true);
            seat.keep_upstream(self.may_be_alone, now);
        }
    }

    fn is_dry(&self, venue: usize, now: MonoNs) -> bool {
        self.seats[venue].dry_since.is_some_and(|since| now.since(since) >= DRY_NS)
    }

    /// How many venues each member has, or will have once the successors that are named have theirs.
    fn loads(&self) -> Vec<Load> {
        let mut loads: Vec<Load> =
            self.members.iter().map(|member| Load { id: member.id.clone(), venues: 0 }).collect();
        for seen in self.seats.iter().filter_map(|seat| seat.seen.as_ref()) {
            let has = |id: &String| self.members.iter().position(|member| member.id == *id);
            if let Some(at) = seen.successor.as_ref().and_then(has).or_else(|| has(&seen.owner)) {
                loads[at].venues += 1;
            }
        }
        loads
    }

    /// Shares out what is free, and gives away what is too much.
    fn plan(&mut self, now: MonoNs) {
        if !self.takes_part || self.stopping.is_some() {
            return;
        }
        let mut loads = self.loads();
        let mut any_free = false;
        for at in self.by_name.clone() {
            let seat = &mut self.seats[at];
            if seat.seen.is_some() || seat.held.is_some() {
                continue;
            }
            any_free = true;
            // The fewest first; among equals the first by id, for the sort is stable.
            let mut order: Vec<usize> = (0..loads.len()).collect();
            order.sort_by_key(|&place| loads[place].venues);
            let Some(place) = order.iter().position(|&place| loads[place].id == self.me) else { continue };
            let mut claim_at = now.plus(place as u64 * STAGGER_NS);
            if seat.succession.is_some() {
                // Connected already.
                claim_at = now;
            }
            if loads.len() > 1 {
                claim_at = claim_at.max(seat.rest_until);
            }
            seat.claim_at = Some(seat.claim_at.map_or(claim_at, |before| before.min(claim_at)));
            loads[order[0]].venues += 1;
        }
        if !any_free && !self.seats.iter().any(|seat| seat.held.as_ref().is_some_and(|held| held.successor.is_some())) {
            self.give_dry(&loads, now);
            self.level(loads, now);
        }
    }

    /// A venue that we lead but cannot reach goes to the instance with the fewest.
    fn give_dry(&mut self, loads: &[Load], now: MonoNs) {
        for at in 0..self.seats.len() {
            if !self.is_dry(at, now) {
                continue;
            }
            let others = loads.iter().filter(|load| load.id != self.me && !self.seats[at].is_shunned(&load.id));
            if let Some(id) = others.min_by_key(|load| load.venues).map(|load| load.id.clone())
                && self.may_give(at, now)
            {
                return self.name(at, id, now);
            }
        }
    }

    /// One step of the way to equal shares, if it is ours to make.
    fn level(&mut self, mut loads: Vec<Load>, now: MonoNs) {
        if self.seats.iter().any(|seat| seat.held.as_ref().is_some_and(|held| held.successor.is_some())) {
            return;
        }
        for _ in 0..self.seats.len() {
            let places = 0..loads.len();
            let Some(most) = places.clone().min_by_key(|&place| usize::MAX - loads[place].venues) else { return };
            let Some(least) = places.min_by_key(|&place| loads[place].venues) else { return };
            if loads[most].venues < loads[least].venues + 2 {
                return;
            }
            if loads[most].id == self.me {
                let id = &loads[least].id;
                let mut venues = self.by_name.iter().copied();
                let give = venues.find(|&at| self.may_give(at, now) && !self.seats[at].is_shunned(id));
                if let Some(at) = give {
                    self.name(at, id.clone(), now);
                }
                return;
            }
            loads[most].venues -= 1;
            loads[least].venues += 1;
        }
    }

    /// Whether we lead it for long enough.
    fn may_give(&self, venue: usize, now: MonoNs) -> bool {
        self.seats[venue].held.as_ref().is_some_and(|held| now.since(held.since) >= self.tenure_ns)
    }

    fn name(&mut self, venue: usize, id: String, now: MonoNs) {
        if let Some(held) = &mut self.seats[venue].held {
            held.successor = Some(Successor { id, since: now, named: false, at: now });
        }
    }
}

struct Load {
    id: String,
    venues: usize,
}

impl VenueElection {
    /// `token` was seen with `owner`; empty where that is not known.
    fn raise(&mut self, token: u64, owner: &str) {
        if token > self.highest && token <= TOKEN_MAX {
            self.highest = token;
            self.highest_owner.clear();
        }
        if token == self.highest && self.highest_owner.is_empty() {
            self.highest_owner.push_str(owner);
        }
    }

    /// Stops leading of its own accord: the lease is given back.
    fn yield_lease(&mut self, now: MonoNs, lease_ns: u64, reclaim: bool) {
        let Some(held) = self.held.take() else { return };
        self.spent = self.spent.max(held.token);
        self.give_back = Some(GiveBack { token: held.token, at: now, until: now.plus(lease_ns), reclaim });
    }

    /// No longer the leader, but still connected until another's quotes are there.
    fn keep_upstream(&mut self, for_long: bool, now: MonoNs) {
        let until = (!for_long).then(|| now.plus(LINGER_NS));
        self.linger = Some(Linger { after: self.spent, until });
    }

    /// The successor did not take over.
    fn shun_successor(&mut self, now: MonoNs) {
        let Some(held) = &mut self.held else { return };
        if let Some(successor) = held.successor.take() {
            self.shunned.push((successor.id, now.plus(SHUN_NS)));
            held.unname = true;
        }
    }

    fn is_shunned(&self, id: &str) -> bool {
        self.shunned.iter().any(|(shunned, _)| shunned == id)
    }
}
