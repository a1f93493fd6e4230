//! Why a candidate above the threshold is not alerted. Pure.

/// The reasons, in the order in which they are looked at: the first that applies is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Refusal {
    /// The two venues never agreed on the price: another asset or another unit under the same letters, see
    /// [`crate::detector::identity`].
    Identity = 0,
}

impl Refusal {
    /// All reasons, in counter order.
    pub const ALL: [Self; 1] = [Self::Identity];

    /// The name of its counter.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Identity => "identity",
        }
    }
}
