//! Whether the network of this machine is down, rather than venues. Reads the counters of all feed threads.

use crate::metrics::{LinkState, VenueGauges};
use crate::time::{MonoNs, SECOND};

/// Venues whose last bytes arrived within this time were lost together, in nanoseconds. Twice the default silence after
/// which a connection is closed.
const TOGETHER_NS: u64 = 10 * SECOND;
/// A venue whose next attempt is later than this, in nanoseconds, has asked us to wait and is not being tried.
const TRIED_NS: u64 = 40 * SECOND;

/// Whether no venue that is being tried answers, and at least two of them were lost together. One venue can fail alone, and
/// so can two at different times. `books` are the same venues' connections for order books.
pub fn is_cut_off(venues: &[VenueGauges], books: &[VenueGauges], now: MonoNs) -> bool {
    let is_tried = |venue: &&VenueGauges| {
        venue.connection.wanted.value() > 0 && venue.dial.next_attempt.value() <= now.plus(TRIED_NS).0
    };
    let is_lost =
        |venue: &VenueGauges| venue.dial.unanswered.value() > 0 && venue.connection.state() != LinkState::Connected;
    let tried = venues.iter().filter(is_tried);
    if !tried.clone().all(is_lost) || books.iter().any(|books| books.connection.state() == LinkState::Connected) {
        return false;
    }
    let last = tried.clone().map(|venue| venue.read.last_bytes.value()).max().unwrap_or(0);
    tried.filter(|venue| last - venue.read.last_bytes.value() <= TOGETHER_NS).count() >= 2
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: MonoNs = MonoNs(1000 * SECOND);

    /// Venues that are tried and do not answer, by the seconds since their last bytes.
    fn lost(heard_s_ago: &[u64]) -> Vec<VenueGauges> {
        let venue = |ago: &u64| {
            let venue = VenueGauges::default();
            venue.connection.set_state(LinkState::Backoff, NOW);
            venue.connection.wanted.set(1);
            venue.dial.count_failure(Some(false));
            venue.read.last_bytes.set(NOW.0 - ago * SECOND);
            venue
        };
        heard_s_ago.iter().map(venue).collect()
    }

    #[track_caller]
    fn check(venues: &[VenueGauges], is_ours: bool) {
        assert_eq!(is_cut_off(venues, &[], NOW), is_ours);
    }

    #[test]
    fn venues_lost_together_are_a_failure_of_this_machine_and_one_venue_is_not() {
        check(&lost(&[7, 8, 9]), true);
        check(&lost(&[7, 8]), true);
        check(&lost(&[7]), false);
        check(&[], false);
        // The first had failed alone, long before the network.
        check(&lost(&[900, 8, 9]), true);
        // Two venues that failed at different times.
        check(&lost(&[900, 8]), false);
    }

    #[test]
    fn a_venue_that_answers_shows_that_the_network_works() {
        let venues = lost(&[7, 8, 9]);
        venues[1].dial.count_failure(Some(true));
        check(&venues, false);
        let venues = lost(&[7, 8, 9]);
        venues[2].connection.set_state(LinkState::Connected, NOW);
        check(&venues, false);
        let books = VenueGauges::default();
        books.connection.set_state(LinkState::Connected, NOW);
        assert!(!is_cut_off(&lost(&[7, 8]), &[books], NOW));
    }

    #[test]
    fn a_venue_that_is_not_tried_does_not_count() {
        let venues = lost(&[7, 8, 900]);
        venues[2].dial.count_failure(Some(true));
        venues[2].dial.next_attempt.set(NOW.plus(300 * SECOND).0);
        check(&venues, true);
        venues[1].connection.wanted.set(0);
        check(&venues, false);
    }

    #[test]
    fn at_the_start_the_network_is_down_if_no_venue_can_be_reached() {
        let venues = lost(&[1000, 1000, 1000]);
        check(&venues, true);
        venues[0].dial.unanswered.set(0);
        check(&venues, false);
    }
}
