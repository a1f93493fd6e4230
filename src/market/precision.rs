//! Precision: how many of the closed opportunities were real, per pair of venues and UTC day.

use crate::market::VenueId;
use crate::market::opportunity::Class;
use crate::metrics::reasons::Reason;

/// Closed opportunities by [`Class`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClassCounts(pub(crate) [u32; Class::ALL.len()]);

impl ClassCounts {
    /// Closed opportunities of `class`.
    #[must_use]
    pub fn of(&self, class: Class) -> u32 {
        self.0[class.index()]
    }

    /// All closed opportunities.
    #[must_use]
    pub fn closed(&self) -> u32 {
        self.0.iter().sum()
    }

    /// Real ones of all, from 0 to 1; `None` if none has closed.
    #[must_use]
    pub(crate) fn precision(&self) -> Option<f64> {
        let closed = self.closed();
        (closed > 0).then(|| f64::from(self.of(Class::Real)) / f64::from(closed))
    }

    /// Adds those of `other`.
    pub fn add(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0).for_each(|(sum, count)| *sum += count);
    }
}

/// The opportunities of one pair of venues that closed lately.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PairPrecision {
    /// Where they were bought.
    pub buy: VenueId,
    /// Where they were sold.
    pub sell: VenueId,
    /// By day, as days since 1970-01-01 UTC, the oldest first; only days with a closed one.
    pub days: Vec<(u64, ClassCounts)>,
}

impl PairPrecision {
    /// The sum over the days.
    #[must_use]
    pub fn total(&self) -> ClassCounts {
        let mut total = ClassCounts::default();
        self.days.iter().for_each(|(_, counts)| total.add(counts));
        total
    }
}
