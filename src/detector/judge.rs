//! Why a candidate above the threshold is not alerted. Pure.

use crate::market::opportunity::LegSide;
use crate::market::quote::Delay;
use crate::market::refusal::Grounds;
use crate::metrics::reasons::AlertRefusal;

/// What is known of how late a leg is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Timeliness {
    /// Whether what we read of its connection is behind what was sent.
    pub is_behind: bool,
    /// Whether the quote was late when it came.
    pub delay: Delay,
    /// Whether its venue is quarantined, because its feed had too many faults lately.
    pub is_quarantined: bool,
}

/// Whether legs that are so late may make an alert; `is_one`: both are known to be the same asset in the same unit.
///
/// # Errors
/// The first reason why not.
pub fn judge([buy, sell]: [Timeliness; 2], is_one: bool) -> Result<(), Grounds> {
    let side = |is_so: fn(&Timeliness) -> bool| match (is_so(&buy), is_so(&sell)) {
        (true, _) => Some(LegSide::Buy),
        (_, true) => Some(LegSide::Sell),
        _ => None,
    };
    let of_leg = |reason, leg| Err(Grounds { reason, leg: Some(leg), figure: None });
    if let Some(leg) = side(|leg| leg.is_behind) {
        return of_leg(AlertRefusal::LaggingOwn, leg);
    }
    if let Some(leg) = side(|leg| leg.delay == Delay::Lagging) {
        return of_leg(AlertRefusal::LaggingVenue, leg);
    }
    if let Some(leg) = side(|leg| leg.is_quarantined) {
        return of_leg(AlertRefusal::Quarantined, leg);
    }
    if !is_one {
        return Err(Grounds { reason: AlertRefusal::Identity, leg: None, figure: None });
    }
    Ok(())
}
