//! Which opportunities a client receives: it may ask for a weakest proof. Pure.
//!
//! A client receives an opportunity that opens with less proof from the event with which it reaches the proof, to its end.
//! A client that asks for more proof still receives the end of all that it knows.

use crate::market::opportunity::Proof;

/// What a client can ask for, the weakest first.
const STEPS: [Proof; 3] = [Proof::Unproven, Proof::Likely, Proof::Proven];

/// The proofs that an opportunity has reached while it was open.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProofsReached {
    /// By step: the number of the event with which it was reached, from 1; 0: not reached.
    at: [u64; STEPS.len()],
}

impl ProofsReached {
    /// The event of this number has this proof.
    pub fn reach(&mut self, proof: Proof, number: u64) {
        for (step, at) in STEPS.iter().zip(&mut self.at) {
            if *step <= proof && *at == 0 {
                *at = number;
            }
        }
    }

    /// The strongest of them; [`Proof::Refuted`]: none.
    #[must_use]
    pub(crate) fn strongest(&self) -> Proof {
        STEPS.iter().zip(self.at).rev().find(|(_, at)| *at != 0).map_or(Proof::Refuted, |(step, _)| *step)
    }

    /// Whether the event of this number reached a proof.
    #[must_use]
    pub(crate) fn is_new_at(&self, number: u64) -> bool {
        self.at.contains(&number)
    }
}

/// The weakest proof that a client asks for, and those that it asked for before.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ProofDemand {
    min: Proof,
    /// By step: the client receives what reached it up to the event of this number.
    until: [u64; STEPS.len()],
}

impl Default for ProofDemand {
    fn default() -> Self {
        Self::of(Proof::Unproven)
    }
}

impl ProofDemand {
    /// Asks for `min`, and knows no opportunity yet.
    #[must_use]
    pub fn of(min: Proof) -> Self {
        Self { min, until: STEPS.map(|step| if step == min { u64::MAX } else { 0 }) }
    }

    /// The weakest proof.
    #[must_use]
    pub const fn min(&self) -> Proof {
        self.min
    }

    /// Asks for `min` after the event of this number.
    pub fn ask(&mut self, min: Proof, number: u64) {
        for (step, until) in STEPS.iter().zip(&mut self.until) {
            if *step == min {
                *until = u64::MAX;
            } else if *step == self.min {
                *until = number;
            }
        }
        self.min = min;
    }

    /// The number of the first event of an opportunity that the client receives; `None` if it receives none.
    #[must_use]
    pub(crate) fn first_event(&self, reached: &ProofsReached) -> Option<u64> {
        reached.at.into_iter().zip(self.until).filter(|(at, until)| (1..=*until).contains(at)).map(|(at, _)| at).min()
    }
}

/// A symbol whose open opportunities may be new to a client.
pub(crate) struct NewSymbol {
    /// Its number.
    pub symbol: u32,
    /// What the client asked for before; `None`: it received nothing of this symbol.
    pub before: Option<ProofDemand>,
}

impl NewSymbol {
    /// Whether an open opportunity is new to a client that now asks for `demand`.
    #[must_use]
    pub fn is_new(&self, reached: &ProofsReached, demand: &ProofDemand) -> bool {
        demand.first_event(reached).is_some() && self.before.is_none_or(|before| before.first_event(reached).is_none())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reached(proofs: &[(Proof, u64)]) -> ProofsReached {
        let mut reached = ProofsReached::default();
        proofs.iter().for_each(|(proof, number)| reached.reach(*proof, *number));
        reached
    }

    #[test]
    fn a_client_receives_an_opportunity_from_the_event_with_which_it_reaches_the_proof() {
        let it = reached(&[(Proof::Unproven, 3), (Proof::Likely, 4), (Proof::Unproven, 5), (Proof::Proven, 6)]);
        let first = STEPS.map(|min| ProofDemand::of(min).first_event(&it));
        assert_eq!(first, [Some(3), Some(4), Some(6)]);
        let likely = reached(&[(Proof::Likely, 2)]);
        assert_eq!(STEPS.map(|min| ProofDemand::of(min).first_event(&likely)), [Some(2), Some(2), None]);
        assert!(likely.is_new_at(2) && !it.is_new_at(5));
    }

    #[test]
    fn a_client_that_asks_for_more_receives_the_end_of_what_it_knows() {
        let mut demand = ProofDemand::default();
        demand.ask(Proof::Proven, 10);
        assert_eq!(demand.first_event(&reached(&[(Proof::Likely, 10)])), Some(10));
        assert_eq!(demand.first_event(&reached(&[(Proof::Likely, 11)])), None);
        assert_eq!(demand.first_event(&reached(&[(Proof::Likely, 10), (Proof::Proven, 12)])), Some(10), "not anew");
        assert_eq!(demand.first_event(&reached(&[(Proof::Likely, 11), (Proof::Proven, 12)])), Some(12));
        demand.ask(Proof::Likely, 20);
        assert_eq!(demand.first_event(&reached(&[(Proof::Likely, 11)])), Some(11));
        assert_eq!(demand.first_event(&reached(&[(Proof::Unproven, 10)])), Some(10));
        assert_eq!(demand.first_event(&reached(&[(Proof::Unproven, 11)])), None);
        assert_eq!(demand.min(), Proof::Likely);
    }
}
