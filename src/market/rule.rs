//! The rule of the detector: when a spread is an opportunity, and when it is alerted. The detector decides by it; the
//! gateway shows it, and compares present prices with its threshold.

use crate::market::Decimal;
use crate::market::opportunity::{Bar, Opportunity, Percent, Proof};
use crate::market::quote::QuoteOptions;
use crate::settings::{choice, section};
use crate::time::MS;

choice! {
    /// The spread that is compared with the alert threshold.
    ThresholdOn {
        /// Before fees, as the replaced system does.
        Gross = "gross",
        /// After both taker fees.
        Net = "net",
    }
}

choice! {
    /// The weakest proof that an alert may have.
    ProofMin {
        /// Any.
        None = "none",
        /// Both legs have a timestamp or a witness.
        Likely = "likely",
        /// Both legs are known to have existed at the same moment.
        Proven = "proven",
    }
}

impl ProofMin {
    /// An opportunity with this proof or a stronger one is enough.
    #[must_use]
    pub const fn proof(self) -> Proof {
        match self {
            Self::None => Proof::Unproven,
            Self::Likely => Proof::Likely,
            Self::Proven => Proof::Proven,
        }
    }
}

section! {
    /// When a spread is an opportunity, and when it is alerted.
    #[derive(Copy)]
    DetectorOptions {
        /// Percent of the buy price; a spread strictly above it is an opportunity. Read exactly.
        threshold_pct: Decimal = Decimal::new(5, 1), 0..=1000;
        /// Whether the threshold is compared with the spread before fees (gross) or after both taker fees (net).
        threshold_on: ThresholdOn = ThresholdOn::Gross;
        /// An open opportunity closes when its spread is at or below this part of the threshold, so that one that moves
        /// around the threshold stays one opportunity. 1: at the threshold itself. Read exactly.
        close_ratio: Decimal = Decimal::new(8, 1), 0..=1;
        /// Percent of the buy price; a net spread above it is implausible and causes no alert. Such a spread usually
        /// means another asset or another unit. 0: no limit. Read exactly.
        implausible_pct: Decimal = Decimal::new(10, 0), 0..=1000;
        /// The weakest proof with which an opportunity opens and is alerted. With likely or proven, venues that have
        /// neither timestamps nor a witness cause no alerts. With proven, an opportunity opens when the timestamps show
        /// that both legs existed at the same moment, usually some milliseconds later, or never.
        proof_min: ProofMin = ProofMin::None;
        /// Milliseconds in which the same symbol, buy venue and sell venue is alerted once. An opportunity that stays
        /// open is alerted again afterwards, when its spread is above the threshold. 0: every opening is alerted, and
        /// nothing is repeated.
        debounce_ms: u64 = 60_000, 0..=86_400_000;
        /// Greatest age of either quote in milliseconds; older quotes never cause an alert.
        leg_age_max_ms: u64 = 5000, 1..=3_600_000;
        /// Greatest difference between the ages of the two quotes in milliseconds.
        leg_skew_max_ms: u64 = 5000, 1..=3_600_000;
        /// Feed score from 0 to 100 below which a venue causes no alerts, until it has had no fault for half a minute
        /// and its score is at least 80. 0: never.
        feed_score_min: u64 = 50, 0..=100;
    }
}

impl DetectorOptions {
    /// The same, with legs that are not older than `quotes` allows: a quote that is too old to be a price is too old for an
    /// alert, whatever `leg_age_max_ms` says.
    #[must_use]
    pub fn within(self, quotes: &QuoteOptions) -> Self {
        Self { leg_age_max_ms: self.leg_age_max_ms.min(quotes.stale_after_ms), ..self }
    }

    /// The bar between two venues with these taker fees in percent.
    #[must_use]
    pub(crate) fn bar(&self, buy_fee_pct: Decimal, sell_fee_pct: Decimal) -> Bar {
        match self.threshold_on {
            ThresholdOn::Gross => Bar::gross(self.threshold_pct),
            ThresholdOn::Net => Bar::net(self.threshold_pct, buy_fee_pct, sell_fee_pct),
        }
    }

    /// The spread of `opportunity` that is compared with the threshold.
    #[must_use]
    pub const fn spread(&self, opportunity: &Opportunity) -> Percent {
        match self.threshold_on {
            ThresholdOn::Gross => opportunity.gross_pct,
            ThresholdOn::Net => opportunity.net_pct,
        }
    }

    /// [`Self::debounce_ms`] in nanoseconds.
    #[must_use]
    pub(crate) const fn debounce_ns(&self) -> u64 {
        self.debounce_ms * MS
    }

    /// [`Self::leg_age_max_ms`] in nanoseconds.
    #[must_use]
    pub const fn leg_age_max_ns(&self) -> u64 {
        self.leg_age_max_ms * MS
    }
}
