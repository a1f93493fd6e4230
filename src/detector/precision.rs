//! Counts closed opportunities by pair of venues, UTC day and class. Pure; only called when one closes.

use std::collections::BTreeMap;

use crate::market::VenueId;
use crate::market::opportunity::{Class, Opportunity};
use crate::market::precision::{ClassCounts, PairPrecision};
use crate::metrics::reasons::Reason;
use crate::time::{SECOND, UnixNs};

/// Days that are counted, including the present one.
const DAYS: u64 = 7;
const DAY_NS: u64 = 86_400 * SECOND;

/// See the file's head.
#[derive(Default)]
pub(crate) struct DailyClasses {
    /// By buy venue, sell venue and day; at most [`DAYS`] of each pair.
    days: BTreeMap<(VenueId, VenueId, u64), ClassCounts>,
    /// Day of the last closing.
    today: u64,
}

impl DailyClasses {
    /// Counts `closed`, which closed at `unix`.
    pub fn count(&mut self, closed: &Opportunity, class: Class, unix: UnixNs) {
        let today = unix.0 / DAY_NS;
        let counts = self.days.entry((closed.buy.venue, closed.sell.venue, today)).or_default();
        counts.0[class.index()] += 1;
        if std::mem::replace(&mut self.today, today) != today {
            self.days.retain(|(_, _, day), _| day.abs_diff(today) < DAYS);
        }
    }

    /// All counts.
    #[must_use]
    pub fn report(&self) -> Vec<PairPrecision> {
        let mut pairs: Vec<PairPrecision> = Vec::new();
        for ((buy, sell, day), counts) in &self.days {
            match pairs.last_mut().filter(|pair| (pair.buy, pair.sell) == (*buy, *sell)) {
                Some(pair) => pair.days.push((*day, *counts)),
                None => pairs.push(PairPrecision { buy: *buy, sell: *sell, days: vec![(*day, *counts)] }),
            }
        }
        pairs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pairs_last_seven_days_are_counted_one_by_one() {
        let mut precision = DailyClasses::default();
        let of = |buy, sell| {
            let mut o = Opportunity::default();
            (o.buy.venue, o.sell.venue) = (VenueId(buy), VenueId(sell));
            o
        };
        for day in 100..110 {
            precision.count(&of(1, 2), Class::Real, UnixNs(day * DAY_NS));
            precision.count(&of(1, 2), Class::Flicker, UnixNs((day + 1) * DAY_NS - 1));
        }
        precision.count(&of(2, 1), Class::Unclear, UnixNs(109 * DAY_NS));
        let report = precision.report();
        let pairs: Vec<_> = report.iter().map(|pair| (pair.buy.0, pair.sell.0, pair.days.len())).collect();
        assert_eq!(pairs, [(1, 2, 7), (2, 1, 1)]);
        assert_eq!(report[0].days[0].0, 103);
        assert_eq!((report[0].total().closed(), report[0].total().precision()), (14, Some(0.5)));
        assert_eq!(report[1].total().precision(), Some(0.0));
        assert_eq!(ClassCounts::default().precision(), None);
    }
}
