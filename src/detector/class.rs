//! Classifies closed opportunities. Pure.

use crate::market::opportunity::{Class, CloseReason, Percent, Proof};
use crate::time::MS;

/// An unproven opportunity that lived for less than this could not be traded, in nanoseconds.
const FLICKER_NS: u64 = 100 * MS;

/// An episode at its end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EndedEpisode {
    /// What is known of the coexistence of both legs.
    pub proof: Proof,
    /// Why it closed.
    pub reason: CloseReason,
    /// Nanoseconds from its opening to its end.
    pub(crate) lived_ns: u64,
    /// Largest net spread since it opened.
    pub(crate) peak_net_pct: Percent,
    /// Whether its legs are known to be the same asset.
    pub(crate) is_one: bool,
}

/// The class of a closed opportunity: the first that applies. It is not real with another asset, with a refuted proof,
/// or without a profit after fees.
#[must_use]
pub(crate) fn class_of(episode: &EndedEpisode) -> Class {
    if !episode.is_one {
        return Class::Alien;
    }
    let is_late = matches!(episode.reason, CloseReason::LaggingVenue | CloseReason::LaggingOwn);
    match episode.proof {
        // One leg had moved before the other began, so what was seen of it was outdated.
        Proof::Refuted => Class::LaggedView,
        Proof::Proven if episode.peak_net_pct > Percent(0) => Class::Real,
        Proof::Proven => Class::Unclear,
        Proof::Likely | Proof::Unproven if is_late => Class::LaggedView,
        Proof::Likely | Proof::Unproven if episode.lived_ns < FLICKER_NS => Class::Flicker,
        Proof::Likely | Proof::Unproven => Class::Unclear,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_proven_and_worth_something_after_fees_is_real() {
        let long = EndedEpisode {
            proof: Proof::Proven,
            reason: CloseReason::SellMoved,
            lived_ns: 100 * MS,
            peak_net_pct: Percent(1),
            is_one: true,
        };
        let short = EndedEpisode { lived_ns: 100 * MS - 1, ..long };
        for (episode, class) in [
            (long, Class::Real),
            (short, Class::Real),
            (EndedEpisode { peak_net_pct: Percent(0), ..long }, Class::Unclear),
            (EndedEpisode { is_one: false, ..long }, Class::Alien),
            (EndedEpisode { reason: CloseReason::LaggingVenue, ..long }, Class::Real),
            (EndedEpisode { proof: Proof::Likely, ..long }, Class::Unclear),
            (EndedEpisode { proof: Proof::Unproven, ..long }, Class::Unclear),
            (EndedEpisode { proof: Proof::Likely, ..short }, Class::Flicker),
            (EndedEpisode { proof: Proof::Unproven, ..short }, Class::Flicker),
            (EndedEpisode { proof: Proof::Refuted, ..short }, Class::LaggedView),
            (EndedEpisode { proof: Proof::Unproven, reason: CloseReason::LaggingOwn, ..short }, Class::LaggedView),
        ] {
            assert_eq!(class_of(&episode), class, "{episode:?}");
        }
    }
}
