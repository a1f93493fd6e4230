//! Changes of what a feed is to quote, while it runs. What a venue is to quote stands in the directory; here it is
//! spread over the venue's lines, so that those whose instruments are what they were are not touched, and the others
//! are replaced by the second line of their pair, which proves itself before the first hangs up. Cold; runs on the
//! feed's thread.

use std::collections::VecDeque;
use std::sync::Arc;

use mio::Events;

use crate::feed::connection::{self, Connection, Parts, Purpose, Voids};
use crate::feed::line::{Line, Role};
use crate::feed::standing::Standing;
use crate::feed::{Feed, FeedVenue, OTHER_EVENTS, Options, Seat};
use crate::market::VenueId;
use crate::matrix::books::BookTable;
use crate::time::MonoNs;
use crate::venues::SymbolEntry;

/// What a venue is to quote has changed: the directory says how.
pub struct SetChange {
    /// The venue.
    pub venue: VenueId,
    /// Where it is from now on, when it joins or comes back.
    pub place: Option<FeedVenue>,
}

impl Feed {
    /// Takes what was ordered. How much that was.
    pub(super) fn take_changes(&mut self, now: MonoNs) -> usize {
        let mut work = 0;
        while let Ok(change) = self.changes.try_recv() {
            work += 1;
            if let Some(place) = change.place {
                self.admit(place);
            }
            let seats = (0..self.seats.len()).filter(|at| self.seats[*at].id == change.venue);
            seats.collect::<Vec<_>>().into_iter().for_each(|at| self.spread_anew(at, now));
        }
        work
    }

    fn admit(&mut self, place: FeedVenue) {
        if let Some(known) = self.venues.iter_mut().find(|venue| venue.id == place.id) {
            *known = place;
            return;
        }
        self.handover.join(place.id);
        let seats = seats_of(self.venues.len(), &place, &self.books);
        self.venues.push(place);
        for seat in seats {
            self.standings.push(standing(&seat, &self.venues, &self.options, self.seed));
            self.seats.push(seat);
        }
    }

    /// Makes the plans of the lines of the seat at `at` what the directory says now.
    fn spread_anew(&mut self, at: usize, now: MonoNs) {
        let venue = &self.venues[self.seats[at].venue];
        let (id, most) = (venue.id, most_of(venue));
        let slots: Vec<usize> =
            (0..self.lines.len()).step_by(2).filter(|slot| self.lines[*slot].standing == at).collect();
        let before: Vec<Vec<SymbolEntry>> =
            slots.iter().map(|slot| std::mem::take(&mut self.plans[slot / 2])).collect();
        let plans = spread(&before, connection::entries(&self.directory, id), most);
        let voids = voids(&plans);
        // Something went and came back before we looked: its quotes were dropped meanwhile.
        let is_back = plans == before;
        for (place, plan) in plans.into_iter().enumerate() {
            match slots.get(place) {
                Some(slot) => {
                    let has = |entry: &SymbolEntry| before[place].iter().any(|old| old.id == entry.id);
                    let is_more = is_back || plan.iter().any(|entry| !has(entry));
                    self.lines[*slot..][..2].iter_mut().for_each(|line| line.told_in_vain |= is_more);
                    self.plans[slot / 2] = plan;
                }
                None => self.add_lines(at, plan, voids, now),
            }
        }
        for (slot, line) in self.lines.iter_mut().enumerate().filter(|(_, line)| line.standing == at) {
            line.set_voids(voids);
            line.outdated = line.told_in_vain || !line.connection.asks_for(&self.plans[slot / 2]);
            // Another set may well prove itself where the one before did not.
            line.not_before = now.min(line.not_before);
            line.changed = true;
        }
        self.count_lines();
    }

    fn add_lines(&mut self, at: usize, plan: Vec<SymbolEntry>, voids: Voids, now: MonoNs) {
        for role in [Role::First, Role::Second] {
            let connection = Connection::share(self.parts_of(at), plan.clone(), voids);
            let venue = &self.venues[self.seats[at].venue];
            self.lines.push(Line::new(venue.id, venue.venue, at, role, connection, voids, now));
        }
        self.plans.push(plan);
        self.events = Events::with_capacity(self.lines.len() + OTHER_EVENTS);
    }

    fn parts_of(&self, at: usize) -> Parts {
        let seat = &self.seats[at];
        let venue = &self.venues[seat.venue];
        let shares = self.lines.iter().filter(|line| line.standing == at).count() / 2;
        Parts {
            id: venue.id,
            venue: venue.venue,
            purpose: seat.purpose.clone(),
            directory: Arc::clone(&self.directory),
            days: Arc::clone(&self.days),
            board: Arc::clone(&self.board),
            options: self.options.shared_by(shares),
        }
    }

    /// A connection is opened with what its plan says at that moment, whatever it was made for.
    pub(super) fn renew(&mut self, slot: usize) {
        let (plan, line) = (&self.plans[slot / 2], &mut self.lines[slot]);
        (line.outdated, line.told_in_vain) = (false, false);
        if line.connection.asks_for(plan) {
            return;
        }
        let parts = self.parts_of(self.lines[slot].standing);
        self.lines[slot].renew(parts, plan.clone());
    }
}

/// How we stand with a venue of which nothing is known yet.
pub(super) fn standing(seat: &Seat, venues: &[FeedVenue], options: &Options, seed: u64) -> Standing {
    let place = u64::from(seat.id.0) << 1 | u64::from(seat.purpose.is_books());
    let seed = seed.wrapping_add(place << 48);
    Standing::new(venues[seat.venue].venue.facts().limits.connects, options, seed)
}

/// What the venue, which is at `at` among the feed's, is asked for: its tops, and its books if it offers them and any
/// are wanted.
pub(super) fn seats_of(at: usize, venue: &FeedVenue, books: &Arc<BookTable>) -> Vec<Seat> {
    let seat = |purpose| Seat { venue: at, id: venue.id, purpose, page_under_way: false };
    let has_books = books.levels() > 0 && venue.venue.facts().books.is_some();
    let books = has_books.then(|| seat(Purpose::Books(Arc::clone(books))));
    [seat(Purpose::Tops)].into_iter().chain(books).collect()
}

/// The most instruments of one line.
pub(super) fn most_of(venue: &FeedVenue) -> usize {
    venue.venue.facts().limits.instruments.max(1)
}

/// What the end of one line makes void.
pub(super) fn voids(plans: &[Vec<SymbolEntry>]) -> Voids {
    let busy = plans.iter().filter(|plan| !plan.is_empty()).count();
    if busy > 1 { Voids::Own } else { Voids::All }
}

/// `wanted` over lines of at most `most` each, `before` being what each line has: what is wanted stays where it is, what
/// is new fills the fullest line with room for it, so that few lines change, or else new ones. All in order of their ids.
fn spread(before: &[Vec<SymbolEntry>], wanted: Vec<SymbolEntry>, most: usize) -> Vec<Vec<SymbolEntry>> {
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
    fn what_is_wanted_stays_where_it_is_and_one_line_takes_what_is_new() {
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
        fn each_wanted_one_is_on_one_line_and_no_line_has_too_many(
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
                    let kept: Vec<&u32> = old.iter().filter(|id| wanted.contains(id)).collect();
                    prop_assert!(kept.iter().all(|id| new.contains(id)), "one moved");
                }
            }
        }
    }
}
