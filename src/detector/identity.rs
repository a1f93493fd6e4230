//! Identity: whether two venues' prices of one symbol are prices of the same asset, judged by the prices alone. Pure.
//!
//! The same letters may be another asset or another unit on another venue. Known cases are facts of the venues
//! (`venues::codes`); this is the rule for the rest. Two venues are comparable in an instrument from the first moment
//! that their mids agree within 3 %, and from then on, however far they part: that is what an alert is about. Venues
//! that never agreed are not comparable, however long their difference lasts. Agreement carries over: a venue that
//! agrees with one of several that agree with each other is comparable with all of them. Leveraged tokens are shares of a
//! fund of their venue and are never comparable; the caller does not ask about them.
//!
//! In: the mids of quotes that are believed. Out: which venues are comparable. Takes its memory at the start; a look at
//! venues that agreed already costs one comparison. Begins anew with the process, and for a venue's instrument when it
//! is removed and comes back.

use crate::market::directory::AssetClaim;
use crate::market::{InstrumentId, VenueId};

/// Mids that differ by at most this share of the larger one agree.
const AGREE_SHARE: f64 = 0.03;

/// Most venues that there can be: one bit each.
pub(crate) const VENUES_MAX: usize = 64;

/// Which venues are comparable, by instrument.
pub(crate) struct Identity {
    venues: usize,
    /// By instrument and venue: a bit for each venue that it is comparable with, itself included.
    together: Vec<u64>,
}

/// Whether the mids `a` and `b` may be those of one asset.
#[inline]
#[must_use]
pub(crate) fn agree(a: f64, b: f64) -> bool {
    (a - b).abs() <= a.max(b) * AGREE_SHARE
}

impl Identity {
    /// Nothing known of `instruments` rows of `venues` venues.
    ///
    /// # Panics
    /// With more than [`VENUES_MAX`] venues: our own mistake.
    #[must_use]
    pub fn new(instruments: usize, venues: usize) -> Self {
        assert!(venues <= VENUES_MAX);
        let together = (0..instruments * venues).map(|at| 1 << (at % venues)).collect();
        Self { venues, together }
    }

    fn at(&self, instrument: InstrumentId, venue: VenueId) -> usize {
        instrument.index() * self.venues + venue.index()
    }

    /// A bit for each venue that is comparable with `venue` in `instrument`, itself included.
    #[inline]
    #[must_use]
    pub(crate) fn comparable(&self, instrument: InstrumentId, venue: VenueId) -> u64 {
        self.together[self.at(instrument, venue)]
    }

    /// Whether `a` and `b` are comparable in `instrument`. `claims` are the operator's statements about both, which decide
    /// before the prices. A venue that has the same asset by such a statement is comparable with other such venues, and
    /// with the largest group of venues that agree with each other.
    #[inline]
    #[must_use]
    pub(crate) fn is_one(
        &self,
        instrument: InstrumentId,
        (a, b): (VenueId, VenueId),
        claims: [Option<AssetClaim>; 2],
    ) -> bool {
        use AssetClaim::{Other, Same};
        match claims {
            [Some(Other), _] | [_, Some(Other)] => false,
            [Some(Same), Some(Same)] => true,
            [Some(Same), None] if self.is_of_most(instrument, b) => true,
            [None, Some(Same)] if self.is_of_most(instrument, a) => true,
            _ => self.comparable(instrument, a) >> b.index() & 1 == 1,
        }
    }

    /// Whether `venue` belongs to a largest group of comparable venues of `instrument`.
    #[cold]
    fn is_of_most(&self, instrument: InstrumentId, venue: VenueId) -> bool {
        let row = &self.together[instrument.index() * self.venues..][..self.venues];
        let most = row.iter().map(|together| together.count_ones()).max().unwrap_or(0);
        // A venue that agrees with no other is no group.
        most > 1 && self.comparable(instrument, venue).count_ones() == most
    }

    /// `venue` quotes `instrument` at `mid`. `mid_of` gives the mid of each venue of `others`, one bit each.
    pub fn see(
        &mut self,
        instrument: InstrumentId,
        venue: VenueId,
        mid: f64,
        others: u64,
        mid_of: impl Fn(VenueId) -> f64,
    ) {
        let mut left = others;
        while left != 0 {
            let other = VenueId(left.trailing_zeros() as u16);
            left &= left - 1;
            if agree(mid, mid_of(other)) {
                self.join(instrument, venue, other);
            }
        }
    }

    fn join(&mut self, instrument: InstrumentId, a: VenueId, b: VenueId) {
        let all = self.comparable(instrument, a) | self.comparable(instrument, b);
        let row = &mut self.together[instrument.index() * self.venues..][..self.venues];
        let members = row.iter_mut().enumerate().filter(|(at, _)| all >> at & 1 == 1);
        members.for_each(|(_, together)| *together = all);
    }

    /// What `venue` calls `instrument` may be something else from now on.
    pub fn forget(&mut self, instrument: InstrumentId, venue: VenueId) {
        let own = 1 << venue.index();
        let row = &mut self.together[instrument.index() * self.venues..][..self.venues];
        row.iter_mut().for_each(|together| *together &= !own);
        row[venue.index()] = own;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: InstrumentId = InstrumentId(1);

    /// The venues of a row that quote, and what is learnt of them.
    struct Rig {
        identity: Identity,
        mids: [f64; 4],
    }

    impl Rig {
        fn new() -> Self {
            Self { identity: Identity::new(2, 4), mids: [0.0; 4] }
        }

        fn quote(&mut self, venue: u16, mid: f64) {
            self.mids[usize::from(venue)] = mid;
            let quoting = self.mids.iter().enumerate().filter(|(_, mid)| **mid > 0.0);
            let others = quoting.fold(0, |bits, (at, _)| bits | 1 << at) & !(1 << venue);
            let mids = self.mids;
            self.identity.see(ROW, VenueId(venue), mid, others, |other| mids[other.index()]);
        }

        fn is_one(&self, a: u16, b: u16) -> bool {
            self.is_one_by(a, b, [None; 2])
        }

        fn is_one_by(&self, a: u16, b: u16, claims: [Option<AssetClaim>; 2]) -> bool {
            let there = self.identity.is_one(ROW, (VenueId(a), VenueId(b)), claims);
            let back = self.identity.is_one(ROW, (VenueId(b), VenueId(a)), [claims[1], claims[0]]);
            assert_eq!(there, back);
            there
        }
    }

    #[test]
    fn venues_that_never_agreed_are_not_comparable_however_long_it_lasts() {
        let mut rig = Rig::new();
        for step in 0..10_000 {
            rig.quote(0, 0.33 + f64::from(step % 5) * 1e-4);
            rig.quote(1, 0.061);
            rig.quote(2, 330.0);
        }
        assert!(!rig.is_one(0, 1) && !rig.is_one(0, 2) && !rig.is_one(1, 2));
        assert_eq!(rig.identity.comparable(InstrumentId(0), VenueId(0)), 1, "of another instrument nothing is known");
    }

    #[test]
    fn first_quotes_that_agree_are_comparable_at_once_and_stay_so_when_one_venue_moves() {
        let mut rig = Rig::new();
        rig.quote(0, 100.0);
        rig.quote(1, 97.0);
        assert!(rig.is_one(0, 1));
        for step in 1..50 {
            rig.quote(1, 97.0 + f64::from(step));
        }
        assert!(rig.is_one(0, 1), "146 against 100");
    }

    #[test]
    fn what_differed_first_is_comparable_from_when_it_agrees() {
        let mut rig = Rig::new();
        rig.quote(0, 100.0);
        rig.quote(1, 103.2);
        assert!(!rig.is_one(0, 1));
        rig.quote(0, 100.2);
        assert!(rig.is_one(0, 1), "whichever of the two moves");
    }

    #[test]
    fn agreement_carries_over_and_two_aliens_are_one_with_each_other() {
        let mut rig = Rig::new();
        rig.quote(0, 100.0);
        rig.quote(1, 102.0);
        rig.quote(2, 104.5);
        assert!(rig.is_one(0, 2), "by way of the one between them");
        let mut rig = Rig::new();
        for (venue, mid) in [(0, 100.0), (1, 101.0), (2, 7.0), (3, 7.1)] {
            rig.quote(venue, mid);
        }
        assert!(rig.is_one(0, 1) && rig.is_one(2, 3) && !rig.is_one(0, 2) && !rig.is_one(1, 3));
    }

    #[test]
    fn the_operator_decides_before_the_prices() {
        let (same, other) = (Some(AssetClaim::Same), Some(AssetClaim::Other));
        let mut rig = Rig::new();
        for (venue, mid) in [(0, 100.0), (1, 101.0), (2, 107.0), (3, 7.1)] {
            rig.quote(venue, mid);
        }
        assert!(!rig.is_one(0, 2));
        assert!(rig.is_one_by(0, 2, [None, same]), "a premium of 6 % that has always been there");
        assert!(!rig.is_one_by(3, 2, [None, same]), "that an asset is the common one does not make another one so");
        assert!(rig.is_one_by(3, 2, [same, same]));
        assert!(!rig.is_one_by(0, 1, [None, other]) && !rig.is_one_by(0, 1, [same, other]));
        let mut rig = Rig::new();
        rig.quote(0, 100.0);
        rig.quote(1, 106.0);
        assert!(!rig.is_one_by(0, 1, [same, None]), "nobody agrees with the other one yet");
    }

    #[test]
    fn what_is_listed_anew_begins_anew() {
        let mut rig = Rig::new();
        for venue in 0..3 {
            rig.quote(venue, 100.0);
        }
        rig.identity.forget(ROW, VenueId(1));
        assert!(!rig.is_one(0, 1) && !rig.is_one(1, 2) && rig.is_one(0, 2));
        rig.quote(1, 50.0);
        assert!(!rig.is_one(0, 1));
        rig.quote(1, 99.0);
        assert!(rig.is_one(0, 1) && rig.is_one(1, 2));
    }
}
