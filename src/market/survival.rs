//! Survival: how long opportunities live after their alert, and how much of their net spread is left. In floats; only
//! displayed.

use std::sync::Arc;

use crate::market::{InstrumentId, VenueId};

/// The times after the alert at which survival is estimated, in milliseconds.
pub const HORIZONS_MS: [u64; 5] = [1, 5, 20, 100, 1000];
/// Number of [`HORIZONS_MS`].
pub(crate) const HORIZONS: usize = HORIZONS_MS.len();

/// Survival at one time after the alert, by Kaplan and Meier.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SurvivalPoint {
    /// Estimated share of opportunities whose net spread is above 0 for longer than this, from 0 to 1.
    pub alive: f64,
    /// Limits of the 95 % band (Greenwood, log-log).
    pub band: (f64, f64),
    /// Opportunities that had neither ended nor been lost from view before this time.
    pub at_risk: u32,
    /// Opportunities that had been lost from view before this time.
    pub censored: u32,
    /// Median of the net spread at this time, as a part of that at the alert; an opportunity that has ended counts as 0.
    /// `None` if no opportunity with a net spread above 0 at the alert was in view.
    pub(crate) net_kept: Option<f64>,
}

/// Survival at each of [`HORIZONS_MS`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SurvivalCurve {
    /// Number of opportunities from which it is estimated.
    pub episodes: u32,
    /// `None` for a time that is shorter than the interval at which a venue of the pair sends changes.
    pub points: [Option<SurvivalPoint>; HORIZONS],
}

/// Survival of the recent opportunities of one pair of venues.
#[derive(Clone, Debug, PartialEq)]
pub struct PairSurvival {
    /// Where they are bought.
    pub buy: VenueId,
    /// Where they are sold.
    pub sell: VenueId,
    /// Those of all instruments.
    pub(crate) pooled: SurvivalCurve,
    /// Those of single instruments, for instruments that have enough of them; by instrument.
    pub instruments: Vec<(InstrumentId, SurvivalCurve)>,
}

impl PairSurvival {
    /// The curve of `instrument`, and whether it is that of all instruments of the pair because `instrument` has too few
    /// opportunities.
    #[must_use]
    pub fn of(&self, instrument: InstrumentId) -> (&SurvivalCurve, bool) {
        match self.instruments.binary_search_by_key(&instrument, |(id, _)| *id) {
            Ok(at) => (&self.instruments[at].1, false),
            Err(_) => (&self.pooled, true),
        }
    }
}

/// Survival of all pairs of venues that had an opportunity, by buy venue and sell venue.
#[derive(Clone, Debug, Default)]
pub struct SurvivalReport(pub(crate) Vec<Arc<PairSurvival>>);

impl SurvivalReport {
    /// That of one pair of venues; `None` if none of its opportunities has ended.
    #[must_use]
    pub fn pair(&self, buy: VenueId, sell: VenueId) -> Option<&PairSurvival> {
        let at = self.0.binary_search_by_key(&(buy, sell), |pair| (pair.buy, pair.sell)).ok()?;
        Some(&self.0[at])
    }
}
