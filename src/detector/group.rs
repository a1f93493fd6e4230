//! Which open opportunities are one event. A venue whose price jumps makes one with each other venue; they share the
//! instrument and the leg that moved. Pure; only touched when an opportunity opens or closes.

use rustc_hash::FxHashMap;

use crate::market::opportunity::{Group, LegSide, Opportunity, Percent};
use crate::market::{InstrumentId, VenueId};

type LegKey = (InstrumentId, LegSide, VenueId);

/// All groups that have an open opportunity.
#[derive(Default)]
pub(crate) struct Groups {
    /// By number.
    groups: FxHashMap<u64, GroupMembers>,
    /// Groups by the leg that their members share. A group of one has both of its legs here: which of them others
    /// will share is not known yet.
    by_leg: FxHashMap<LegKey, u64>,
    last: u64,
}

struct GroupMembers {
    group: Group,
    /// Legs of its first member.
    legs: [LegKey; 2],
    /// Number of the scan that began it.
    begun: u64,
    /// Gross spread of the leader when it opened.
    leader_pct: Percent,
}

impl Groups {
    /// Takes an opportunity that opens in scan number `scan`; returns the number of its group.
    pub fn join(&mut self, opportunity: &Opportunity, scan: u64) -> u64 {
        let Opportunity { instrument, buy, sell, .. } = *opportunity;
        let mut legs = [(instrument, LegSide::Buy, buy.venue), (instrument, LegSide::Sell, sell.venue)];
        if opportunity.trigger() == &sell {
            legs.reverse();
        }
        let leader = (buy.venue, sell.venue, opportunity.opened);
        let found = legs.iter().find_map(|leg| Some((*leg, *self.by_leg.get(leg)?)));
        if let Some((shared, number)) = found
            && let Some(members) = self.groups.get_mut(&number)
        {
            members.group.size += 1;
            members.group.leg = shared.1;
            // The best of the scan that began the group stands for it.
            if members.begun == scan && opportunity.gross_pct > members.leader_pct {
                (members.group.leader, members.leader_pct) = (leader, opportunity.gross_pct);
            }
            for leg in members.legs.iter().filter(|leg| **leg != shared) {
                self.by_leg.remove(leg);
            }
            members.legs = [shared; 2];
            return number;
        }
        self.last += 1;
        let group = Group { number: self.last, leader, leg: legs[0].1, size: 1 };
        self.groups.insert(self.last, GroupMembers { group, legs, begun: scan, leader_pct: opportunity.gross_pct });
        self.by_leg.extend(legs.map(|leg| (leg, self.last)));
        self.last
    }

    /// How many groups have an open member.
    #[cfg(test)]
    #[must_use]
    pub fn len(&self) -> usize {
        self.groups.len()
    }

    /// A member of group `number` has closed.
    pub fn leave(&mut self, number: u64) {
        let Some(members) = self.groups.get_mut(&number) else { return };
        members.group.size -= 1;
        if members.group.size == 0 {
            for leg in members.legs {
                self.by_leg.remove(&leg);
            }
            self.groups.remove(&number);
        }
    }

    /// Brings what an opportunity says of its group up to date. A group without members has size 0.
    pub fn fill(&self, group: &mut Group) {
        match self.groups.get(&group.number) {
            Some(members) => *group = members.group,
            None => group.size = 0,
        }
    }
}
