//! Why a candidate above the threshold is not alerted. Pure.

use crate::market::quote::Delay;
use crate::metrics::reasons::AlertRefusal;

/// What is known of how late a leg is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Timeliness {
    /// Whether what we read of its connection is behind what was sent.
    pub is_behind: bool,
    /// Whether the quote was late when it came.
    pub delay: Delay,
}

/// Whether legs that are so late may make an alert; `is_one`: both are known to be the same asset in the same unit.
///
/// # Errors
/// The reason why not.
pub fn judge(legs: [Timeliness; 2], is_one: bool) -> Result<(), AlertRefusal> {
    if legs.iter().any(|leg| leg.is_behind) {
        return Err(AlertRefusal::LaggingOwn);
    }
    if legs.iter().any(|leg| leg.delay == Delay::Lagging) {
        return Err(AlertRefusal::LaggingVenue);
    }
    if !is_one {
        return Err(AlertRefusal::Identity);
    }
    Ok(())
}
