//! Election and fallback at one wheel: which call of Redis is made next, and what its outcome means for both.
//! Pure; turned by the lead thread, and by the simulation in the tests.

use crate::cluster::ClusterSettings;
use crate::cluster::election::{Election, ElectionAction};
use crate::cluster::fallback::Fallback;
use crate::cluster::store::{Claim, ClusterView, Control};
use crate::metrics::cluster::{ClusterRole, RedisState};
use crate::time::{MS, MonoNs};

/// What Redis answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RedisAnswer {
    /// To [`ElectionAction::Beat`] and [`ElectionAction::Look`].
    ClusterView(ClusterView),
    /// To [`ElectionAction::Renew`], in the order asked.
    Renewed(Vec<bool>),
    /// To [`ElectionAction::Claim`].
    Claim(Claim),
    /// To [`ElectionAction::NameSuccessor`]: whether the lease was ours.
    Named(bool),
    /// To [`ElectionAction::Take`].
    Taken(Option<u64>),
    /// To everything else, and to what Redis understood and refused.
    Done,
}

/// Both machines.
pub struct Coordinator {
    election: Election,
    fallback: Fallback,
    /// The state that the election knows.
    reported: RedisState,
}

impl Coordinator {
    /// Nothing tried yet.
    #[must_use]
    pub fn new(settings: &ClusterSettings, venues: &[&str], now: MonoNs) -> Self {
        let election = Election::new(settings, venues, now);
        Self {
            election,
            fallback: Fallback::new(settings.cluster.stable_ms * MS, now),
            reported: RedisState::Connecting,
        }
    }

    /// What was decided, for those who show it.
    #[must_use]
    pub const fn election(&self) -> &Election {
        &self.election
    }

    /// How Redis is, for those who show it.
    #[must_use]
    pub const fn fallback(&self) -> &Fallback {
        &self.fallback
    }

    /// Under which token a batch of `venue` may be published now. Ask right before each.
    #[must_use]
    pub fn may_publish(&self, venue: usize, now: MonoNs) -> Option<u64> {
        self.reaches(now).then(|| self.election.may_publish(venue, now)).flatten()
    }

    /// Whether calls beside those of [`Self::next`] may be made now.
    #[must_use]
    pub(crate) fn reaches(&self, now: MonoNs) -> bool {
        self.fallback.state() != RedisState::CutOff && self.fallback.may_call(now)
    }

    /// What we are for `venue`.
    #[must_use]
    pub fn role(&self, venue: usize, now: MonoNs) -> ClusterRole {
        self.election.role(venue, now)
    }

    /// Whether this instance shall be connected to `venue`.
    #[must_use]
    pub fn wants_upstream(&self, venue: usize) -> bool {
        self.election.wants_upstream(venue)
    }

    /// The call to make now, if one is due. Pass its outcome to [`Self::outcome`] before the next call.
    pub fn next(&mut self, now: MonoNs) -> Option<ElectionAction> {
        self.fallback.elapsed(now);
        self.tell(now);
        if !self.fallback.may_call(now) {
            self.election.expire(now);
            return None;
        }
        let action = self.election.poll(now);
        // While cut off any call is a probe, and there is always one.
        action.or_else(|| (self.fallback.state() == RedisState::CutOff).then_some(ElectionAction::Beat))
    }

    /// What became of `action`, a call made at `sent`; `None` when there was no answer in time.
    pub fn outcome(&mut self, action: &ElectionAction, answer: Option<&RedisAnswer>, sent: MonoNs, now: MonoNs) {
        match answer {
            Some(_) => self.fallback.answered(now),
            None => self.fallback.failed(now),
        }
        self.tell(now);
        let election = &mut self.election;
        match (action, answer) {
            (ElectionAction::Beat | ElectionAction::Look, Some(RedisAnswer::ClusterView(view))) => {
                election.seen(view, sent, now)
            }
            (ElectionAction::Renew(asked), Some(RedisAnswer::Renewed(kept))) => {
                election.renewed(asked, kept, sent, now)
            }
            (ElectionAction::Claim { venue, .. }, Some(RedisAnswer::Claim(claim))) => {
                election.claimed(*venue, claim, sent, now)
            }
            (ElectionAction::NameSuccessor { venue, token, .. }, Some(RedisAnswer::Named(kept))) => {
                election.successor_named(*venue, *token, *kept, now);
            }
            (ElectionAction::Take { venue, token }, Some(RedisAnswer::Taken(next))) => {
                election.taken(*venue, *token, *next, sent, now);
            }
            (ElectionAction::Release { venue, token }, Some(_)) => election.released(*venue, *token, now),
            (ElectionAction::Leave, Some(_)) => election.left(),
            _ => {}
        }
    }

    /// Whether Redis answered calls of the publisher in time.
    pub fn published(&mut self, in_time: bool, now: MonoNs) {
        if in_time {
            self.fallback.answered(now)
        } else {
            self.fallback.failed(now)
        }
        self.tell(now);
    }

    /// Redis refused a batch of `venue` under `token`: the lease is not ours any more.
    pub fn refused(&mut self, venue: usize, token: u64, now: MonoNs) {
        self.election.refused(venue, token, now);
    }

    /// Our own last pulse came back at `at`; may be called repeatedly.
    pub fn heard(&mut self, at: MonoNs) {
        self.fallback.heard(at);
    }

    /// Another instance said something.
    pub fn control(&mut self, message: &Control, now: MonoNs) {
        self.election.control(message, now);
    }

    /// A batch under `token` was accepted from the leader of `venue`, whose quotes are as good as our own now.
    pub fn accepted(&mut self, venue: usize, token: u64, now: MonoNs) {
        self.election.accepted(venue, token, now);
    }

    /// Whether our own connection to `venue` is open and brings quotes.
    pub fn upstream(&mut self, venue: usize, flowing: bool, now: MonoNs) {
        self.election.upstream(venue, flowing, now);
    }

    /// Whether our own connection to `venue` has delivered all its known quotes. We are its successor.
    pub fn prepared(&mut self, venue: usize, ready: bool) {
        self.election.prepared(venue, ready);
    }

    /// This instance is about to end.
    pub fn stop(&mut self, now: MonoNs) {
        self.election.stop(now);
    }

    /// Whether nothing is left to do before the end, or nothing can be done.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.election.is_done() || matches!(self.fallback.state(), RedisState::CutOff | RedisState::Connecting)
    }

    /// When to ask for the next call without news.
    #[must_use]
    pub fn deadline(&self) -> MonoNs {
        if self.fallback.state() == RedisState::CutOff {
            return self.fallback.deadline();
        }
        self.fallback.deadline().min(self.election.deadline())
    }

    fn tell(&mut self, now: MonoNs) {
        let state = self.fallback.state();
        let before = std::mem::replace(&mut self.reported, state);
        match state {
            _ if state == before => {}
            RedisState::CutOff => self.election.cut_off(now),
            RedisState::Returning => self.election.returning(now),
            RedisState::Joined => self.election.joined(now),
            RedisState::Connecting => {}
        }
    }
}
