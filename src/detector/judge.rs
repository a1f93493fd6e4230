//! Why a candidate above the threshold is not alerted. Pure.

use crate::market::quote::Delay;

/// The reasons, in the order in which they are looked at: the first that applies is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Refusal {
    /// This process is behind, or a leg's connection has a backlog or is unusually silent: the leg may have been
    /// replaced by a quote that is still on its way.
    LaggingOwn = 0,
    /// A leg came much later than usual by its venue's stamps.
    LaggingVenue = 1,
    /// The two venues never agreed on the price: another asset or another unit under the same letters, see
    /// [`crate::detector::identity`].
    Identity = 2,
}

impl Refusal {
    /// All reasons, in counter order.
    pub const ALL: [Self; 3] = [Self::LaggingOwn, Self::LaggingVenue, Self::Identity];

    /// The name of its counter.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::LaggingOwn => "lagging_own",
            Self::LaggingVenue => "lagging_venue",
            Self::Identity => "identity",
        }
    }
}

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
pub fn judge(legs: [Timeliness; 2], is_one: bool) -> Result<(), Refusal> {
    if legs.iter().any(|leg| leg.is_behind) {
        return Err(Refusal::LaggingOwn);
    }
    if legs.iter().any(|leg| leg.delay == Delay::Lagging) {
        return Err(Refusal::LaggingVenue);
    }
    if !is_one {
        return Err(Refusal::Identity);
    }
    Ok(())
}
