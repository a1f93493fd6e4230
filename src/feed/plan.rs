//! Plans: how the instruments of a channel are spread over its pairs of lines, each in order of ids. Without state.

use std::collections::VecDeque;

use crate::venues::SymbolEntry;

/// Spreads `entries` evenly over plans of at most `most` instruments each, so that the last one is not almost empty.
#[must_use]
pub(crate) fn evenly(entries: &[SymbolEntry], most: usize) -> Vec<Vec<SymbolEntry>> {
    let count = entries.len().div_ceil(most).max(1);
    entries.chunks(entries.len().div_ceil(count).max(1)).map(<[_]>::to_vec).collect()
}

/// Spreads `wanted` over plans of at most `most` instruments each; `before` are the present plans. Instruments stay in
/// their plan. New ones fill the fullest plan that has room, so that few plans change, or else new plans.
#[must_use]
pub fn spread(before: &[Vec<SymbolEntry>], wanted: Vec<SymbolEntry>, most: usize) -> Vec<Vec<SymbolEntry>> {
    let place = |id| before.iter().position(|plan| plan.iter().any(|entry| entry.id == id));
    let mut plans: Vec<Vec<SymbolEntry>> = before.iter().map(|_| Vec::new()).collect();
    let mut fresh = VecDeque::new();
    for entry in wanted {
        match place(entry.id) {
            Some(at) => plans[at].push(entry),
            None => fresh.push_back(entry),
        }
    }
    while !fresh.is_empty() {
        let with_room = (0..plans.len()).filter(|at| plans[*at].len() < most);
        let at = with_room.max_by_key(|at| (plans[*at].len(), std::cmp::Reverse(*at))).unwrap_or(plans.len());
        if at == plans.len() {
            plans.push(Vec::new());
        }
        let room = most - plans[at].len();
        plans[at].extend(fresh.drain(..room.min(fresh.len())));
    }
    plans.iter_mut().for_each(|plan| plan.sort_by_key(|entry| entry.id));
    plans
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::market::InstrumentId;
    use proptest::prelude::*;

    fn entries(ids: &[u32]) -> Vec<SymbolEntry> {
        let text = |id: &u32| format!("C{id}/USDT");
        ids.iter().map(|id| SymbolEntry { id: InstrumentId(*id), native: text(id), symbol: text(id) }).collect()
    }

    fn ids(plans: &[Vec<SymbolEntry>]) -> Vec<Vec<u32>> {
        plans.iter().map(|plan| plan.iter().map(|entry| entry.id.0).collect()).collect()
    }

    fn check(before: &[&[u32]], wanted: &[u32], after: &[&[u32]]) {
        let before: Vec<_> = before.iter().map(|ids| entries(ids)).collect();
        assert_eq!(ids(&spread(&before, entries(wanted), 3)), after);
    }

    #[test]
    fn instruments_stay_in_their_plan_and_one_plan_takes_the_new_ones() {
        check(&[&[0, 1, 2], &[3, 4]], &[0, 1, 2, 3, 4, 9], &[&[0, 1, 2], &[3, 4, 9]]);
        check(&[&[0], &[3, 4]], &[0, 3, 4, 9], &[&[0], &[3, 4, 9]]);
        check(&[&[0, 1, 2], &[3, 4]], &[0, 2, 3, 4], &[&[0, 2], &[3, 4]]);
        check(&[&[0, 1, 2]], &[0, 1, 2, 3], &[&[0, 1, 2], &[3]]);
        check(&[&[0, 1], &[3]], &[], &[&[], &[]]);
        check(&[&[], &[3]], &[5, 6, 7, 8], &[&[5, 6, 7], &[8]]);
        check(&[], &[1], &[&[1]]);
        check(&[&[5]], &[1, 5], &[&[1, 5]]);
    }

    proptest! {
        #[test]
        fn each_instrument_is_in_one_plan_and_no_plan_is_too_long(
            sets in prop::collection::vec(prop::collection::btree_set(0u32..40, 0..30), 1..6),
            most in 1usize..9,
        ) {
            let mut plans = Vec::new();
            for set in sets {
                let wanted: Vec<u32> = set.into_iter().collect();
                let before = ids(&plans);
                plans = spread(&plans, entries(&wanted), most);
                let after = ids(&plans);
                let mut all = after.concat();
                all.sort_unstable();
                prop_assert_eq!(&all, &wanted);
                prop_assert!(after.iter().all(|plan| plan.len() <= most && plan.is_sorted()));
                for (old, new) in before.iter().zip(&after) {
                    let staying: Vec<&u32> = old.iter().filter(|id| wanted.contains(id)).collect();
                    prop_assert!(staying.iter().all(|id| new.contains(id)), "one moved");
                }
            }
        }
    }
}
