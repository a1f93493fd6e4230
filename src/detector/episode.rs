//! Episodes: an opportunity opens, lives, closes; and when clients are alerted of it. Pure.

use rustc_hash::FxHashMap;

use crate::detector::class::{EndedEpisode, class_of};
use crate::detector::group::Groups;
use crate::detector::proof;
use crate::market::opportunity::{Change, CloseReason, Opportunity, OpportunityEvent, Percent, Proof};
use crate::market::{Decimal, InstrumentId, VenueId};
use crate::time::MonoNs;

type SpreadKey = (InstrumentId, VenueId, VenueId);

/// All open opportunities, and when each was last alerted.
#[derive(Default)]
pub(crate) struct Episodes {
    open: FxHashMap<SpreadKey, Episode>,
    /// Last alert of opportunities that closed within the debounce time; older ones are forgotten.
    alerted: FxHashMap<SpreadKey, MonoNs>,
    /// Open opportunities per instrument.
    counts: Vec<u32>,
    groups: Groups,
    round: u64,
}

struct Episode {
    opportunity: Opportunity,
    /// As last published.
    told: Opportunity,
    /// Prices of both legs when it opened.
    first: (Decimal, Decimal),
    peak_net_pct: Percent,
    alerted: Option<MonoNs>,
    round: u64,
}

/// State of an open opportunity that a scan did not see above the threshold.
pub(crate) struct Standing {
    /// Its current quotes.
    pub opportunity: Opportunity,
    /// Why it has ended; `None` while it stays open.
    pub reason: Option<CloseReason>,
    /// Whether its legs are known to be the same asset.
    pub(crate) is_one: bool,
}

impl Episodes {
    /// None open, for `instruments` instruments.
    #[must_use]
    pub fn new(instruments: usize) -> Self {
        Self { counts: vec![0; instruments], ..Self::default() }
    }

    /// How many are open.
    #[must_use]
    pub fn open(&self) -> usize {
        self.open.len()
    }

    /// How many groups the open ones are.
    #[cfg(test)]
    #[must_use]
    pub(crate) fn groups(&self) -> usize {
        self.groups.len()
    }

    /// Whether `instrument` has an open one.
    #[inline]
    #[must_use]
    pub fn is_open(&self, instrument: InstrumentId) -> bool {
        self.counts[instrument.index()] > 0
    }

    /// Whether the route has an open one.
    #[must_use]
    pub fn has(&self, instrument: InstrumentId, buy: VenueId, sell: VenueId) -> bool {
        self.is_open(instrument) && self.open.contains_key(&(instrument, buy, sell))
    }

    /// Instruments that have an open one.
    pub fn instruments(&self) -> impl Iterator<Item = InstrumentId> {
        self.counts.iter().enumerate().filter(|(_, n)| **n > 0).map(|(at, _)| InstrumentId(at as u32))
    }

    /// One scan of a row begins; [`Self::seen`] for each opportunity in it, then [`Self::settle_unseen`], then
    /// [`Self::fill_groups`].
    pub fn begin(&mut self) {
        self.round += 1;
    }

    /// The scan found `opportunity`. Returns the event to publish, if any; `opened` and the peak are filled in. An alert
    /// is repeated after `debounce_ns`, with the proof `proof_min` or a stronger one.
    pub fn seen(
        &mut self,
        mut opportunity: Opportunity,
        now: MonoNs,
        debounce_ns: u64,
        proof_min: Proof,
    ) -> Option<OpportunityEvent> {
        let key = (opportunity.instrument, opportunity.buy.venue, opportunity.sell.venue);
        let round = self.round;
        let is_due = |last: Option<MonoNs>| last.is_none_or(|at| now.since(at) > debounce_ns);
        if let Some(episode) = self.open.get_mut(&key) {
            opportunity.opened = episode.opportunity.opened;
            opportunity.group = episode.opportunity.group;
            opportunity.peak_gross_pct = episode.opportunity.peak_gross_pct.max(opportunity.gross_pct);
            opportunity.coexistence = proof::joined(episode.opportunity.coexistence, opportunity.coexistence);
            episode.opportunity = opportunity;
            episode.peak_net_pct = episode.peak_net_pct.max(opportunity.net_pct);
            episode.round = round;
            let is_weak = opportunity.coexistence.proof < proof_min;
            // Without a debounce time only openings are alerted: repeating at once would never end.
            if debounce_ns == 0 || is_weak || !is_due(episode.alerted) {
                let is_settled =
                    opportunity.coexistence.proof == Proof::Proven && episode.told.coexistence.proof != Proof::Proven;
                episode.told = if is_settled { opportunity } else { episode.told };
                let change = Change::Updated;
                return is_settled.then_some(OpportunityEvent { opportunity, change, alert: false, class: None });
            }
            episode.alerted = Some(now);
            episode.told = opportunity;
            return Some(OpportunityEvent { opportunity, change: Change::Repeated, alert: true, class: None });
        }
        opportunity.opened = now;
        opportunity.peak_gross_pct = opportunity.gross_pct;
        opportunity.group.number = self.groups.join(&opportunity, round);
        let first = (opportunity.buy.level.price, opportunity.sell.level.price);
        let last = self.alerted.remove(&key);
        let alert = is_due(last);
        let alerted = if alert { Some(now) } else { last };
        let peak_net_pct = opportunity.net_pct;
        self.open.insert(key, Episode { opportunity, told: opportunity, first, peak_net_pct, alerted, round });
        self.counts[key.0.index()] += 1;
        Some(OpportunityEvent { opportunity, change: Change::Opened, alert, class: None })
    }

    /// Looks at all episodes of `instrument` that the scan at `now` did not see above the threshold. `stand` says how the
    /// opportunity that was last seen so, and opened at these prices of both legs, stands now.
    pub(crate) fn settle_unseen(
        &mut self,
        instrument: InstrumentId,
        now: MonoNs,
        stand: impl Fn(&Opportunity, (Decimal, Decimal)) -> Standing,
        mut closed: impl FnMut(OpportunityEvent),
    ) {
        if !self.is_open(instrument) {
            return;
        }
        let Self { round, counts, alerted, groups, .. } = self;
        self.open.retain(|key, episode| {
            if key.0 != instrument || episode.round == *round {
                return true;
            }
            let last = &episode.opportunity;
            let Standing { mut opportunity, reason, is_one } = stand(last, episode.first);
            (opportunity.opened, opportunity.group) = (last.opened, last.group);
            opportunity.peak_gross_pct = last.peak_gross_pct;
            opportunity.detected = now;
            episode.opportunity = opportunity;
            let Some(reason) = reason else { return true };
            counts[instrument.index()] -= 1;
            if let Some(at) = episode.alerted {
                alerted.insert(*key, at);
            }
            groups.leave(opportunity.group.number);
            let class = class_of(&EndedEpisode {
                proof: opportunity.coexistence.proof,
                reason,
                lived_ns: now.since(opportunity.opened),
                peak_net_pct: episode.peak_net_pct,
                is_one,
            });
            let change = Change::Closed(reason);
            closed(OpportunityEvent { opportunity, change, alert: false, class: Some(class) });
            false
        });
    }

    /// Completes what the events of one scan say of their groups.
    pub(crate) fn fill_groups(&mut self, events: &mut [OpportunityEvent]) {
        for OpportunityEvent { opportunity, .. } in events {
            self.groups.fill(&mut opportunity.group);
            let key = (opportunity.instrument, opportunity.buy.venue, opportunity.sell.venue);
            if let Some(episode) = self.open.get_mut(&key) {
                episode.told.group = opportunity.group;
            }
        }
    }

    /// Publishes open opportunities whose legs or groups have changed since they were last published, each at most once in
    /// `every_ns`.
    pub(crate) fn tell_updated(&mut self, now: MonoNs, every_ns: u64, mut updated: impl FnMut(OpportunityEvent)) {
        let Self { open, groups, .. } = self;
        for Episode { opportunity, told, .. } in open.values_mut() {
            groups.fill(&mut opportunity.group);
            let seen = |it: &Opportunity| (it.buy, it.sell, it.group, it.coexistence.proof);
            if seen(opportunity) != seen(told) && now.since(told.detected) >= every_ns {
                *told = Opportunity { detected: now, ..*opportunity };
                let change = Change::Updated;
                updated(OpportunityEvent { opportunity: *told, change, alert: false, class: None });
            }
        }
    }

    /// Forgets alerts that no longer matter, so that memory is bounded by what happened lately.
    pub(crate) fn forget_old(&mut self, now: MonoNs, debounce_ns: u64) {
        self.alerted.retain(|_, at| now.since(*at) <= debounce_ns);
    }
}
