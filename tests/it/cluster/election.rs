//! The election by hand: one instance, what it is told and what it asks for.

use spreadwire::cluster::election::{Election, ElectionAction, HANDOVER_MAX_NS};
use spreadwire::cluster::store::{Claim, ClusterMember, ClusterView, Control, Lease};
use spreadwire::cluster::{ClusterOptions, ClusterSettings, OwnUpstream};
use spreadwire::metrics::cluster::ClusterRole;
use spreadwire::time::{MS, MonoNs, SECOND};

const VENUES: [&str; 4] = ["binance", "bybit", "kraken", "okx"];
const START: MonoNs = MonoNs(1000 * SECOND);
const LEASE_NS: u64 = 5 * SECOND;

fn joined(me: &str) -> Election {
    let settings = ClusterSettings { id: me.to_owned(), ..ClusterSettings::default() };
    let mut election = Election::new(&settings, &VENUES, START);
    election.joined(START);
    election
}

fn lease(owner: &str, token: u64) -> Lease {
    Lease { owner: owner.to_owned(), token, left_ns: LEASE_NS, ..Lease::default() }
}

fn view(members: &[&str], leases: &[(usize, Lease)]) -> ClusterView {
    let member = |id: &&str| ClusterMember { id: (*id).to_owned(), ..ClusterMember::default() };
    ClusterView {
        members: members.iter().map(member).collect(),
        leases: leases.iter().map(|(venue, lease)| (VENUES[*venue].to_owned(), lease.clone())).collect(),
        refused: 0,
    }
}

fn polled(election: &mut Election, now: MonoNs) -> Vec<ElectionAction> {
    let mut actions = Vec::new();
    while let Some(action) = election.poll(now) {
        actions.push(action);
        assert!(actions.len() < 20, "{actions:?}");
    }
    actions
}

/// Leads the venues `held` under token 7 since `START`, as all of `members` know.
fn leading(me: &str, members: &[&str], held: &[usize]) -> Election {
    let mut election = joined(me);
    for &venue in held {
        election.claimed(venue, &Claim::Won(7), START, START);
    }
    let others: Vec<&str> = members.iter().copied().filter(|id| *id != me).collect();
    let owner = |venue: usize| if held.contains(&venue) { me } else { others[venue % others.len()] };
    let leases: Vec<(usize, Lease)> = (0..VENUES.len()).map(|venue| (venue, lease(owner(venue), 7))).collect();
    election.seen(&view(members, &leases), START, START);
    polled(&mut election, START);
    election
}

fn renew(election: &mut Election, now: MonoNs) {
    let asked: Vec<(usize, u64)> =
        (0..VENUES.len()).filter_map(|venue| Some((venue, election.may_publish(venue, now)?))).collect();
    election.renewed(&asked, &vec![true; asked.len()], now, now);
}

#[test]
fn a_free_venue_is_claimed_as_soon_as_it_is_seen() {
    let mut election = joined("a");
    assert_eq!(polled(&mut election, START), [ElectionAction::Beat]);
    election.seen(&view(&["a"], &[(1, lease("b", 3))]), START, START);
    let claims = [0, 2, 3].map(|venue| ElectionAction::Claim { venue, floor: 0 });
    assert_eq!(polled(&mut election, START), claims);
    // When the other's lease should have ended, it looks again at once, and not before.
    let ends = START.plus(LEASE_NS + MS);
    assert!(polled(&mut election, START.plus(SECOND)).is_empty());
    polled(&mut election, START.plus(SECOND * 4));
    assert_eq!(polled(&mut election, ends), [ElectionAction::Beat]);
    election.seen(&view(&["a"], &[]), ends, ends);
    assert!(polled(&mut election, ends).contains(&ElectionAction::Claim { venue: 1, floor: 3 }), "with a floor");
}

#[test]
fn all_share_out_free_venues_alike_and_only_later_each_takes_what_is_left() {
    let seen = view(&["a", "b", "c"], &[]);
    let mut taken = [0; VENUES.len()];
    for me in ["a", "b", "c"] {
        let mut election = joined(me);
        election.seen(&seen, START, START);
        let claims = polled(&mut election, START);
        for action in &claims {
            let ElectionAction::Claim { venue, .. } = action else { continue };
            taken[*venue] += 1;
        }
        let later = polled(&mut election, START.plus(400 * MS));
        let all = claims.iter().chain(&later).filter(|action| matches!(action, ElectionAction::Claim { .. })).count();
        assert_eq!(all, VENUES.len(), "{me}: if the others do not");
    }
    assert_eq!(taken, [1; VENUES.len()], "at first each venue is claimed by one");
}

#[test]
fn a_lease_lasts_from_before_the_renewal_was_asked_for() {
    let mut election = leading("a", &["a", "b"], &[0, 1]);
    let (asked, answered) = (START.plus(SECOND), START.plus(3 * SECOND));
    election.renewed(&[(0, 7)], &[true], asked, answered);
    let margin = LEASE_NS / 10;
    assert_eq!(election.may_publish(0, MonoNs(asked.0 + LEASE_NS - margin - 1)), Some(7));
    assert_eq!(election.may_publish(0, MonoNs(asked.0 + LEASE_NS - margin)), None);
}

#[test]
fn after_a_standstill_nothing_is_published_and_the_token_is_never_used_again() {
    let mut election = leading("a", &["a", "b"], &[0]);
    let woken = START.plus(10 * SECOND);
    assert_eq!(election.may_publish(0, woken), None, "before anything else is done");
    assert_eq!(election.role(0, woken), ClusterRole::Follower);
    assert_eq!(election.poll(woken), Some(ElectionAction::Release { venue: 0, token: 7 }));
    election.released(0, 7, woken);
    // Even if Redis should still say that it is ours.
    election.seen(&view(&["a", "b"], &[(0, lease("a", 7))]), woken, woken);
    let actions = polled(&mut election, woken);
    assert!(!actions.iter().any(|action| matches!(action, ElectionAction::Renew(_))), "{actions:?}");
    assert_eq!(election.may_publish(0, woken), None);
}

#[test]
fn a_lease_that_is_gone_is_not_led_under() {
    for lost in 0..3 {
        let mut election = leading("a", &["a", "b"], &[0]);
        let now = START.plus(SECOND);
        match lost {
            0 => election.renewed(&[(0, 7)], &[false], now, now),
            1 => election.refused(0, 7, now),
            _ => election.seen(&view(&["a", "b"], &[(1, lease("b", 7))]), now, now),
        }
        assert_eq!(election.may_publish(0, now), None, "{lost}");
        assert!(election.wants_upstream(0), "clients see no gap until another leads");
        election.accepted(0, 8, now);
        assert!(!election.wants_upstream(0));
    }
}

#[test]
fn an_answer_that_was_lost_is_made_up_for_by_asking() {
    let mut election = joined("a");
    election.seen(&view(&["a"], &[(0, lease("a", 9))]), START, START);
    assert_eq!(election.may_publish(0, START), None, "nobody knows since when");
    assert_eq!(election.poll(START), Some(ElectionAction::Renew(vec![(0, 9)])));
    election.renewed(&[(0, 9)], &[true], START, START.plus(MS));
    assert_eq!(election.may_publish(0, START.plus(MS)), Some(9));
}

#[test]
fn nobody_leads_under_a_token_below_one_that_was_seen() {
    let mut election = joined("a");
    election.claimed(0, &Claim::Won(57), START, START);
    let heard = Control::Leads { venue: VENUES[0].to_owned(), token: 60, owner: "x".to_owned() };
    election.control(&heard, START.plus(MS));
    assert_eq!(election.may_publish(0, START.plus(MS)), None);
    assert_eq!(election.poll(START.plus(MS)), Some(ElectionAction::Release { venue: 0, token: 57 }));
    election.released(0, 57, START.plus(2 * MS));
    assert_eq!(election.poll(START.plus(2 * MS)), Some(ElectionAction::Claim { venue: 0, floor: 60 }));
    // And whoever sees another do so says what it knows.
    let mut other = joined("b");
    other.control(&heard, START);
    other.seen(&view(&["a", "b"], &[(0, lease("a", 2))]), START, START);
    assert!(polled(&mut other, START).contains(&ElectionAction::Say(heard)));
}

#[test]
fn a_leader_with_two_more_gives_one_away_after_its_tenure_and_when_the_successor_is_ready() {
    let mut election = leading("a", &["a", "b"], &[0, 1, 2, 3]);
    let all: Vec<(usize, Lease)> = (0..4).map(|venue| (venue, lease("a", 7))).collect();
    let look = |election: &mut Election, now: MonoNs| {
        renew(election, now);
        election.seen(&view(&["a", "b"], &all), now, now);
        polled(election, now)
    };
    for second in [1, 3, 5, 7, 9] {
        let actions = look(&mut election, START.plus(second * SECOND));
        assert!(
            !actions.iter().any(|action| matches!(action, ElectionAction::NameSuccessor { .. })),
            "{second} s: {actions:?}"
        );
    }
    let now = START.plus(11 * SECOND);
    let actions = look(&mut election, now);
    let named = ElectionAction::NameSuccessor { venue: 0, token: 7, successor: "b".to_owned() };
    assert_eq!(
        actions.iter().filter(|action| matches!(action, ElectionAction::NameSuccessor { .. })).collect::<Vec<_>>(),
        [&named]
    );
    election.successor_named(0, 7, true, now);
    let later = now.plus(3 * SECOND);
    renew(&mut election, later);
    assert_eq!(election.may_publish(0, later), Some(7), "until the heir has taken over");

    let leads = Control::Leads { venue: VENUES[0].to_owned(), token: 8, owner: "b".to_owned() };
    election.control(&leads, later);
    assert_eq!(election.may_publish(0, later), None);
    assert!(election.wants_upstream(0), "until the new leader's first batch");
    election.expire(later.plus(1900 * MS));
    assert!(election.wants_upstream(0));
    election.expire(later.plus(2 * SECOND));
    assert!(!election.wants_upstream(0), "or two seconds");
}

#[test]
fn a_successor_connects_and_takes_the_lease_when_it_knows_the_whole_venue() {
    for is_answered in [true, false] {
        let mut election = leading("b", &["a", "b"], &[]);
        let venue = VENUES[0].to_owned();
        let now = START.plus(SECOND);
        election.control(&Control::Successor { venue: venue.clone(), token: 7, successor: "b".to_owned() }, now);
        assert_eq!(election.role(0, now), ClusterRole::Successor);
        assert!(election.wants_upstream(0));
        election.upstream(0, true, now);
        assert!(!polled(&mut election, now).iter().any(|action| matches!(action, ElectionAction::Take { .. })));
        election.prepared(0, true);
        assert_eq!(polled(&mut election, now), [ElectionAction::Take { venue: 0, token: 7 }]);
        assert_eq!(election.may_publish(0, now), None);
        if is_answered {
            election.taken(0, 7, Some(8), now, now.plus(2 * MS));
        } else {
            // Whatever became of our call: what all are told may be true.
            election.control(&Control::Leads { venue, token: 8, owner: "b".to_owned() }, now.plus(MS));
            assert_eq!(election.may_publish(0, now.plus(MS)), None, "a word is not a lease");
            assert_eq!(election.poll(now.plus(MS)), Some(ElectionAction::Renew(vec![(0, 8)])));
            election.renewed(&[(0, 8)], &[true], now.plus(MS), now.plus(2 * MS));
        }
        assert_eq!(election.may_publish(0, now.plus(2 * MS)), Some(8));
        assert_eq!(election.role(0, now.plus(2 * MS)), ClusterRole::Leader);
    }
}

#[test]
fn a_successor_that_is_one_no_more_looks_and_claims_what_is_free() {
    let mut election = leading("b", &["a", "b", "c"], &[]);
    let now = START.plus(SECOND);
    election.control(&Control::Successor { venue: VENUES[0].to_owned(), token: 7, successor: "b".to_owned() }, now);
    election.prepared(0, true);
    assert!(polled(&mut election, now).contains(&ElectionAction::Take { venue: 0, token: 7 }));
    election.taken(0, 7, None, now, now.plus(MS));
    assert_eq!(polled(&mut election, now.plus(MS)), [ElectionAction::Beat]);
    let leases: Vec<(usize, Lease)> = (1..4).map(|venue| (venue, lease("a", 7))).collect();
    election.seen(&view(&["a", "b", "c"], &leases), now.plus(MS), now.plus(2 * MS));
    assert_eq!(
        polled(&mut election, now.plus(2 * MS))[0],
        ElectionAction::Claim { venue: 0, floor: 7 },
        "at once: it is connected"
    );
}

#[test]
fn a_successor_that_does_not_take_over_is_not_waited_for() {
    let mut election = leading("a", &["a", "b"], &[0, 1, 2, 3]);
    let all: Vec<(usize, Lease)> = (0..4).map(|venue| (venue, lease("a", 7))).collect();
    let mut named = Vec::new();
    for tick in 0..700 {
        let now = START.plus(tick * 100 * MS);
        renew(&mut election, now);
        if tick % 16 == 0 {
            election.seen(&view(&["a", "b"], &all), now, now);
        }
        for action in polled(&mut election, now) {
            let ElectionAction::NameSuccessor { venue, successor, .. } = action else { continue };
            election.successor_named(venue, 7, true, now);
            named.push((venue, successor));
        }
        assert!((0..4).all(|venue| election.may_publish(venue, now) == Some(7)));
    }
    // Each venue is tried once within half a minute, and each time taken back.
    let expected = (0..4).flat_map(|venue| [(venue, "b".to_owned()), (venue, String::new())]);
    assert_eq!(named[..8], expected.collect::<Vec<_>>());
}

/// The successors that are named by `actions`, by venue.
fn successors(actions: &[ElectionAction]) -> Vec<(usize, String)> {
    let successor = |action: &ElectionAction| match action {
        ElectionAction::NameSuccessor { venue, successor, .. } => Some((*venue, successor.clone())),
        _ => None,
    };
    actions.iter().filter_map(successor).collect()
}

/// All that is led by those who lead it, under token 7; of `members`.
fn look(election: &mut Election, members: &[&str], led: &[usize], now: MonoNs) {
    let leases: Vec<(usize, Lease)> =
        (0..VENUES.len()).map(|venue| (venue, lease(if led.contains(&venue) { "a" } else { "b" }, 7))).collect();
    election.seen(&view(members, &leases), now, now);
}

fn leads(venue: usize, owner: &str) -> Control {
    Control::Leads { venue: VENUES[venue].to_owned(), token: 8, owner: owner.to_owned() }
}

#[test]
fn sigterm_hands_everything_over_and_leads_until_the_successors_have_it() {
    let mut election = leading("a", &["a", "b", "c"], &[0, 1]);
    let now = START.plus(SECOND);
    election.stop(now);
    let actions = polled(&mut election, now);
    let successors = successors(&actions);
    assert_eq!((successors.len(), actions.contains(&ElectionAction::Leave)), (2, true));
    assert_ne!(successors[0].1, successors[1].1, "evenly");
    election.left();
    (0..2).for_each(|venue| election.successor_named(venue, 7, true, now));
    look(&mut election, &["b", "c"], &[0, 1], now);
    let later = now.plus(1900 * MS);
    look(&mut election, &["b", "c"], &[0, 1], later);
    assert!((0..2).all(|venue| election.may_publish(venue, later) == Some(7)), "for as long as it takes");
    election.control(&leads(0, &successors[0].1), later);
    assert_eq!((election.may_publish(0, later), election.may_publish(1, later)), (None, Some(7)));
    election.accepted(0, 8, later);
    assert!(!election.is_done());
    election.control(&leads(1, &successors[1].1), later);
    election.accepted(1, 8, later);
    assert!(election.is_done());
}

#[test]
fn a_leader_that_ends_names_another_when_its_successor_is_gone_too_or_takes_long() {
    for is_gone in [true, false] {
        let mut election = leading("a", &["a", "b", "c"], &[0]);
        let now = START.plus(SECOND);
        election.stop(now);
        let first = successors(&polled(&mut election, now))[0].1.clone();
        election.left();
        election.successor_named(0, 7, true, now);
        let others: Vec<&str> = ["b", "c"].into_iter().filter(|id| !is_gone || *id != first).collect();
        let later = now.plus(if is_gone { 100 * MS } else { 2 * SECOND });
        look(&mut election, &others, &[0], later);
        let second = successors(&polled(&mut election, later)).pop().unwrap().1;
        assert!(!second.is_empty() && second != first, "{first} and then {second}");
        assert_eq!(election.may_publish(0, later), Some(7));
    }
}

#[test]
fn a_leader_that_ends_waits_for_nobody_for_ever() {
    let mut election = leading("a", &["a", "b"], &[0]);
    let now = START.plus(SECOND);
    election.stop(now);
    polled(&mut election, now);
    election.left();
    election.successor_named(0, 7, true, now);
    for tick in 0..50 {
        let at = now.plus(tick * 100 * MS);
        renew(&mut election, at);
        look(&mut election, &["b"], &[0], at);
        let actions = polled(&mut election, at);
        assert!(actions.iter().all(|action| *action == ElectionAction::Look), "{actions:?}");
        assert_eq!(election.may_publish(0, at), Some(7));
    }
    let over = now.plus(HANDOVER_MAX_NS);
    assert_eq!(polled(&mut election, over), [ElectionAction::Release { venue: 0, token: 7 }]);
    election.released(0, 7, over);
    assert!(election.is_done());
}

#[test]
fn two_that_end_at_once_give_nothing_to_each_other() {
    let mut election = leading("a", &["a", "b", "c"], &[0, 1]);
    let now = START.plus(SECOND);
    election.stop(now);
    polled(&mut election, now);
    election.left();
    // The other has left by now.
    look(&mut election, &["c"], &[0, 1], now.plus(MS));
    let named = successors(&polled(&mut election, now.plus(MS)));
    assert!(named.iter().all(|(_, successor)| successor == "c"), "{named:?}");
    let mut other = leading("b", &["a", "b", "c"], &[]);
    other.stop(now);
    other.control(&Control::Successor { venue: VENUES[0].to_owned(), token: 7, successor: "b".to_owned() }, now);
    assert_eq!(other.role(0, now), ClusterRole::Follower, "it accepts nothing any more");
}

#[test]
fn a_successor_claims_first_when_the_leader_could_not_wait() {
    let now = START.plus(SECOND);
    for (me, named) in [("b", true), ("c", false)] {
        let mut election = leading(me, &["a", "b", "c"], &[]);
        let venue = VENUES[3].to_owned();
        election.control(&Control::Successor { venue: venue.clone(), token: 7, successor: "b".to_owned() }, now);
        election.control(&Control::Free { venue, token: 7 }, now.plus(MS));
        let claims = polled(&mut election, now.plus(MS)).contains(&ElectionAction::Claim { venue: 3, floor: 7 });
        assert_eq!(claims, named, "{me}");
    }
}

#[test]
fn the_last_one_looks_once_more_and_gives_its_leases_back() {
    let mut election = joined("a");
    (0..4).for_each(|venue| election.claimed(venue, &Claim::Won(7), START, START));
    election.stop(START);
    assert_eq!(polled(&mut election, START), [ElectionAction::Leave, ElectionAction::Look]);
    election.left();
    let all: Vec<(usize, Lease)> = (0..4).map(|venue| (venue, lease("a", 7))).collect();
    election.seen(&view(&[], &all), START, START);
    let actions = polled(&mut election, START);
    assert_eq!(
        actions.iter().filter(|action| matches!(action, ElectionAction::Release { .. })).count(),
        4,
        "{actions:?}"
    );
    (0..4).for_each(|venue| election.released(venue, 7, START));
    assert!(election.is_done());
}

#[test]
fn cut_off_it_connects_for_its_own_clients_and_leads_until_its_lease_ends() {
    for alone in [true, false] {
        let own_upstream = if alone { OwnUpstream::On } else { OwnUpstream::Off };
        let cluster = ClusterOptions { own_upstream, ..ClusterOptions::default() };
        let settings = ClusterSettings { cluster, id: "a".to_owned(), hostname: String::new() };
        let mut election = Election::new(&settings, &VENUES, START);
        election.joined(START);
        election.claimed(0, &Claim::Won(7), START, START);
        let (soon, over) = (START.plus(SECOND), START.plus(LEASE_NS));
        election.cut_off(soon);
        assert_eq!(election.role(0, soon), ClusterRole::Leader);
        assert_eq!(election.role(1, soon) == ClusterRole::Alone, alone);
        assert_eq!((election.wants_upstream(0), election.wants_upstream(1)), (true, alone));
        election.expire(over);
        assert_eq!(election.role(0, over), if alone { ClusterRole::Alone } else { ClusterRole::Follower });
        assert!((0..4).all(|venue| election.may_publish(venue, over).is_none()), "no token is made up");
    }
}

#[test]
fn after_a_return_our_own_connections_stay_until_the_leaders_quotes_flow() {
    let mut election = joined("a");
    election.cut_off(START);
    let back = START.plus(10 * SECOND);
    election.returning(back);
    assert!((0..4).all(|venue| election.wants_upstream(venue)));
    election.joined(back.plus(3 * SECOND));
    let now = back.plus(30 * SECOND);
    election.expire(now);
    assert!(election.wants_upstream(2), "however long it takes");
    election.accepted(2, 1, now);
    assert_eq!((election.wants_upstream(1), election.wants_upstream(2)), (true, false));
}

#[test]
fn a_leader_that_cannot_reach_its_venue_gives_it_away_and_rests() {
    let mut election = leading("a", &["a", "b"], &[0, 1]);
    let leases: Vec<(usize, Lease)> = (0..4).map(|at| (at, lease(if at < 2 { "a" } else { "b" }, 7))).collect();
    let mut named = None;
    for tick in 0..200 {
        let now = START.plus(tick * 100 * MS);
        renew(&mut election, now);
        (0..2).for_each(|venue| election.upstream(venue, venue == 1, now));
        if tick % 16 == 0 {
            election.seen(&view(&["a", "b"], &leases), now, now);
        }
        if let Some(ElectionAction::NameSuccessor { venue, .. }) = election.poll(now) {
            named = Some((venue, now));
            break;
        }
    }
    let (venue, now) = named.expect("an heir is named though shares are equal");
    assert_eq!(venue, 0);
    election.successor_named(0, 7, true, now);
    election.control(&leads(0, "b"), now);
    // It is neither claimed nor inherited for a while.
    election.control(
        &Control::Successor { venue: VENUES[0].to_owned(), token: 8, successor: "a".to_owned() },
        now.plus(SECOND),
    );
    assert_eq!(election.role(0, now.plus(SECOND)), ClusterRole::Follower);
    let successor = Control::Successor { venue: VENUES[0].to_owned(), token: 8, successor: "a".to_owned() };
    election.control(&successor, now.plus(61 * SECOND));
    assert_eq!(election.role(0, now.plus(61 * SECOND)), ClusterRole::Successor);
}
