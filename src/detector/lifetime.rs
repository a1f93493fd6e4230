//! Measures how long opportunities live: from their opening, when the alert leaves, to the first moment at which the
//! net spread is not above 0. This is independent of the closing, which depends on the threshold. Pure; only called for
//! rows with an opportunity that is followed.
//!
//! A row does not change between events, so a state lasts until the next event; there are no timers. An opportunity
//! whose legs can no longer be seen is censored: how long it lived on is unknown.

use crate::market::opportunity::{Opportunity, Percent};
use crate::market::survival::{HORIZONS, HORIZONS_MS};
use crate::market::{InstrumentId, VenueId};
use crate::time::{MS, MonoNs, SECOND};

/// An opportunity is followed for at most this time, in nanoseconds.
pub(crate) const FOLLOWED_MAX_NS: u64 = 60 * SECOND;
/// Most opportunities that are followed at one time. Further ones are not measured.
const FOLLOWED_MAX: usize = 4096;

/// How long one opportunity lived.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Lifetime {
    /// The instrument.
    pub instrument: InstrumentId,
    /// Where it was bought.
    pub buy: VenueId,
    /// Where it was sold.
    pub sell: VenueId,
    /// Nanoseconds from its opening to its end, or until it was lost from view.
    pub ns: u64,
    /// Whether its end was seen. If not, it lived at least this long.
    pub(crate) is_ended: bool,
    /// Net spread at each of [`HORIZONS_MS`] as a part of that at its opening; 0 after its end, NaN where it is not known.
    pub kept: [f32; HORIZONS],
}

/// Current state of an opportunity that is followed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LegsInView {
    /// The opportunity at its current quotes.
    pub opportunity: Opportunity,
    /// Whether both legs still hold.
    pub holds: bool,
}

/// See the file's head.
pub(crate) struct Lifetimes {
    /// By instrument.
    followed: Vec<Vec<FollowedOpportunity>>,
    count: usize,
    /// A leg whose quote is older is not in view, in nanoseconds.
    leg_age_max_ns: u64,
}

struct FollowedOpportunity {
    /// As it was seen last.
    opportunity: Opportunity,
    opening_net: Percent,
    /// Until then its legs are in view if no event comes.
    until: MonoNs,
    /// When it was seen last.
    seen: MonoNs,
    /// Number of entries of `kept` that are known.
    passed: usize,
    kept: [f32; HORIZONS],
}

impl FollowedOpportunity {
    fn see(&mut self, opportunity: Opportunity, now: MonoNs, leg_age_max_ns: u64) {
        let oldest = opportunity.buy.received.min(opportunity.sell.received);
        self.until = oldest.plus(leg_age_max_ns).min(opportunity.opened.plus(FOLLOWED_MAX_NS));
        (self.opportunity, self.seen) = (opportunity, now);
    }

    /// Notes what is left at each time before `end`, in the state that was seen last.
    fn pass(&mut self, end: MonoNs) {
        let lived = end.since(self.opportunity.opened);
        while self.passed < HORIZONS && HORIZONS_MS[self.passed] * MS < lived {
            if self.opening_net > Percent(0) {
                self.kept[self.passed] = (self.opportunity.net_pct.to_f64() / self.opening_net.to_f64()) as f32;
            }
            self.passed += 1;
        }
    }

    fn finish(&mut self, end: MonoNs, is_ended: bool) -> Lifetime {
        self.pass(end);
        if is_ended && self.opening_net > Percent(0) {
            self.kept[self.passed..].fill(0.0);
        }
        let Opportunity { instrument, buy, sell, opened, .. } = self.opportunity;
        Lifetime { instrument, buy: buy.venue, sell: sell.venue, ns: end.since(opened), is_ended, kept: self.kept }
    }
}

impl Lifetimes {
    /// Follows none yet, with room for `instruments`; a leg older than `leg_age_max_ns` is not in view.
    #[must_use]
    pub fn new(instruments: usize, leg_age_max_ns: u64) -> Self {
        Self { followed: (0..instruments).map(|_| Vec::new()).collect(), count: 0, leg_age_max_ns }
    }

    /// Whether an opportunity of `instrument` is followed.
    #[inline]
    #[must_use]
    pub(crate) fn is_followed(&self, instrument: InstrumentId) -> bool {
        self.count > 0 && !self.followed[instrument.index()].is_empty()
    }

    /// Follows an opportunity from its opening. Returns a lifetime of zero if its net spread is not above 0.
    pub fn follow(&mut self, opened: &Opportunity) -> Option<Lifetime> {
        let mut followed = FollowedOpportunity {
            opportunity: *opened,
            opening_net: opened.net_pct,
            until: MonoNs(0),
            seen: MonoNs(0),
            passed: 0,
            kept: [f32::NAN; HORIZONS],
        };
        if opened.net_pct <= Percent(0) {
            return Some(followed.finish(opened.opened, true));
        }
        if self.count < FOLLOWED_MAX {
            followed.see(*opened, opened.opened, self.leg_age_max_ns);
            self.followed[opened.instrument.index()].push(followed);
            self.count += 1;
        }
        None
    }

    /// An event of `instrument` has come at `now`. `look` returns the current state of an opportunity that was last
    /// seen as its argument. Those that end or are lost from view are passed to `lived`.
    pub(crate) fn observe(
        &mut self,
        instrument: InstrumentId,
        now: MonoNs,
        look: impl Fn(&Opportunity) -> LegsInView,
        mut lived: impl FnMut(Lifetime),
    ) {
        let leg_age_max_ns = self.leg_age_max_ns;
        self.retain(instrument, |it| {
            if now > it.until {
                lived(it.finish(it.until, false));
                return false;
            }
            let LegsInView { mut opportunity, holds } = look(&it.opportunity);
            opportunity.opened = it.opportunity.opened;
            if !holds || opportunity.net_pct <= Percent(0) {
                lived(it.finish(now, holds));
                return false;
            }
            it.pass(now);
            it.see(opportunity, now, leg_age_max_ns);
            true
        });
    }

    /// This thread was late: what happened since each opportunity was seen last is unknown.
    pub fn lose(&mut self, mut lived: impl FnMut(Lifetime)) {
        self.retain_all(|it| {
            lived(it.finish(it.seen, false));
            false
        });
    }

    /// Ends those whose legs are too old at `now`, since no further event may come for them.
    pub fn expire(&mut self, now: MonoNs, mut lived: impl FnMut(Lifetime)) {
        self.retain_all(|it| {
            let is_in_view = now <= it.until;
            if !is_in_view {
                lived(it.finish(it.until, false));
            }
            is_in_view
        });
    }

    fn retain_all(&mut self, mut keep: impl FnMut(&mut FollowedOpportunity) -> bool) {
        for row in 0..self.followed.len() as u32 {
            if self.count == 0 {
                return;
            }
            self.retain(InstrumentId(row), &mut keep);
        }
    }

    fn retain(&mut self, instrument: InstrumentId, keep: impl FnMut(&mut FollowedOpportunity) -> bool) {
        let row = &mut self.followed[instrument.index()];
        let before = row.len();
        row.retain_mut(keep);
        self.count -= before - row.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: MonoNs = MonoNs(1000 * SECOND);
    const ROW: InstrumentId = InstrumentId(0);

    fn opportunity(net: i64, received: MonoNs) -> Opportunity {
        let mut o = Opportunity { opened: AT, net_pct: Percent(net), ..Opportunity::default() };
        (o.buy.received, o.sell.received, o.sell.venue) = (received, received, VenueId(1));
        o
    }

    /// An opportunity with a net spread of 100, and these events: milliseconds after it, net spread, whether the legs hold.
    fn lived(events: &[(u64, i64, bool)], until_ms: u64) -> Vec<(u64, bool, [f32; HORIZONS])> {
        let mut lifetimes = Lifetimes::new(1, 5 * SECOND);
        let mut out = Vec::new();
        out.extend(lifetimes.follow(&opportunity(100, AT)));
        for (ms, net, holds) in events {
            let now = AT.plus(ms * MS);
            let look = |_: &Opportunity| LegsInView { opportunity: opportunity(*net, now), holds: *holds };
            lifetimes.observe(ROW, now, look, |lifetime| out.push(lifetime));
        }
        lifetimes.expire(AT.plus(until_ms * MS), |lifetime| out.push(lifetime));
        assert_eq!(lifetimes.is_followed(ROW), out.is_empty());
        out.iter().map(|lifetime| (lifetime.ns / MS, lifetime.is_ended, lifetime.kept)).collect()
    }

    #[test]
    fn it_lives_until_an_event_takes_the_net_spread_to_zero() {
        let nan = f32::NAN;
        let told = |events, until| format!("{:?}", lived(events, until));
        let is = |ms: u64, is_ended: bool, kept: [f32; HORIZONS]| format!("{:?}", [(ms, is_ended, kept)]);
        assert_eq!(told(&[(3, 50, true), (20, 10, true), (30, 0, true)], 0), is(30, true, [1.0, 0.5, 0.1, 0.0, 0.0]));
        assert_eq!(told(&[(0, -5, true)], 0), is(0, true, [0.0; HORIZONS]));
        assert_eq!(told(&[(3, 50, true), (30, 40, false)], 0), is(30, false, [1.0, 0.5, 0.5, nan, nan]), "censored");
        assert_eq!(told(&[(30, 40, true)], 5030), "[]", "the legs are five seconds old");
        assert_eq!(told(&[(30, 40, true)], 6000), is(5030, false, [1.0, 1.0, 1.0, 0.4, 0.4]), "and then too old");
        assert_eq!(told(&[(30, 40, true), (5031, -1, true)], 0), is(5030, false, [1.0, 1.0, 1.0, 0.4, 0.4]));
        let minute: Vec<_> = (1..=61).map(|second| (second * 1000, 100, true)).collect();
        assert_eq!(told(&minute, 0), is(60_000, false, [1.0; HORIZONS]));
    }

    #[test]
    fn one_that_is_worth_nothing_after_fees_has_no_life() {
        let lifetime = Lifetimes::new(1, SECOND).follow(&opportunity(0, AT)).unwrap();
        assert_eq!((lifetime.ns, lifetime.is_ended), (0, true));
        assert!(lifetime.kept.iter().all(|kept| kept.is_nan()));
    }

    #[test]
    fn after_a_standstill_the_life_is_known_until_it_was_seen_last() {
        let mut lifetimes = Lifetimes::new(1, 5 * SECOND);
        assert_eq!(lifetimes.follow(&opportunity(100, AT)), None);
        let seen = AT.plus(7 * MS);
        let look = |_: &Opportunity| LegsInView { opportunity: opportunity(90, seen), holds: true };
        lifetimes.observe(ROW, seen, look, |_| panic!("it lives"));
        let mut lost = Vec::new();
        lifetimes.lose(|lifetime| lost.push((lifetime.ns, lifetime.is_ended)));
        assert_eq!((lost, lifetimes.is_followed(ROW)), (vec![(7 * MS, false)], false));
    }
}
