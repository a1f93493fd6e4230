//! Feed scores: how well the feed of each venue has worked lately, in one number, and the quarantine of a venue whose
//! score is too low. Faults of the last second become points, which halve every minute; the score is 100 minus all
//! points. A venue below the limit causes no alerts until it has recovered. Pure: counters in, points out, once a
//! second.

use crate::metrics::VenueGauges;
use crate::metrics::reasons::{DecodeReason, DropReason, Reason, ScorePart};
use crate::metrics::scores::{SCORE_MAX, ScoreGauges};
use crate::time::{MonoNs, SECOND};

/// Time between two looks at the counters, in nanoseconds.
pub(crate) const LOOK_EVERY_NS: u64 = SECOND;
/// Time in which points halve, in seconds.
const HALF_LIFE_S: f64 = 60.0;
/// Fewer points in one second than this do not delay a release: single faults happen on every feed.
const FAULTY_MIN: f64 = 0.5;
/// A quarantined venue is released at this score,
const WELL_SCORE: u64 = 80;
/// when no fault was counted for this time in nanoseconds.
const WELL_NS: u64 = 30 * SECOND;

/// Points for one second in which everything has the fault: all instruments, connections, frames or quotes. One such second
/// does not cause a quarantine, nor does an instrument of many that always has it.
const fn weight(part: ScorePart) -> f64 {
    match part {
        ScorePart::Gaps | ScorePart::Undecodable | ScorePart::Silences | ScorePart::Lost => 10.0,
        // Such quotes are refused one by one. Half a minute of them causes a quarantine.
        ScorePart::Crossed | ScorePart::Lagging => 2.0,
    }
}

const PARTS: usize = ScorePart::ALL.len();

/// Counters of one venue at the last look.
#[derive(Clone, Copy, Debug, Default)]
struct Counted {
    gaps: u64,
    undecodable: u64,
    silences: u64,
    silenced: u64,
    lost: u64,
    crossed: u64,
    lagged: u64,
    quotes: u64,
    frames: u64,
}

impl Counted {
    fn read(venue: &VenueGauges) -> Self {
        let decode = |reason| venue.read.decode_errors.value(reason);
        let gaps = decode(DecodeReason::Gap) + decode(DecodeReason::Checksum) + decode(DecodeReason::Crossed);
        Self {
            gaps,
            undecodable: venue.read.decode_errors.total() - gaps,
            silences: venue.silence.closed.value() + venue.silence.mute.value(),
            silenced: venue.silence.silenced.value(),
            lost: venue.connection.disconnects.value(),
            crossed: venue.quotes.dropped.value(DropReason::Crossed),
            lagged: venue.lag.lagged.value(),
            quotes: venue.quotes.decoded.value(),
            frames: venue.read.frames.value(),
        }
    }
}

/// The score of one venue.
#[derive(Clone, Debug, Default)]
struct Scorecard {
    counted: Counted,
    points: [f64; PARTS],
    /// When a fault was last counted.
    faulty: MonoNs,
    quarantined_since: Option<MonoNs>,
}

impl Scorecard {
    /// Adds the faults since the last look.
    fn add(&mut self, venue: &VenueGauges, elapsed_ns: u64, now: MonoNs) {
        let (before, counted) = (self.counted, Counted::read(venue));
        self.counted = counted;
        let lines = venue.connection.wanted.value().max(1) as f64;
        let pairs = venue.coverage.subscribed.value().max(1) as f64;
        let since = |now: u64, before: u64| now.saturating_sub(before) as f64;
        let quotes = since(counted.quotes, before.quotes).max(1.0);
        let frames = since(counted.frames, before.frames).max(1.0);
        let faults = |part| match part {
            ScorePart::Gaps => since(counted.gaps, before.gaps) / pairs,
            ScorePart::Undecodable => since(counted.undecodable, before.undecodable) / frames,
            ScorePart::Silences => {
                since(counted.silences, before.silences) / lines + since(counted.silenced, before.silenced) / pairs
            }
            ScorePart::Lost => since(counted.lost, before.lost) / lines,
            ScorePart::Crossed => since(counted.crossed, before.crossed) / quotes,
            ScorePart::Lagging => since(counted.lagged, before.lagged) / quotes,
        };
        let decay = 0.5f64.powf(elapsed_ns as f64 / SECOND as f64 / HALF_LIFE_S);
        for (part, points) in ScorePart::ALL.iter().zip(&mut self.points) {
            let added = faults(*part).min(1.0) * weight(*part);
            if added >= FAULTY_MIN {
                self.faulty = now;
            }
            *points = *points * decay + added;
        }
    }

    fn rounded(&self) -> [u64; PARTS] {
        self.points.map(|points| points.round() as u64)
    }

    fn score(&self) -> u64 {
        SCORE_MAX.saturating_sub(self.points.iter().sum::<f64>().round() as u64)
    }

    /// Begins or ends the quarantine. Returns whether it changed.
    fn judge(&mut self, score_min: u64, now: MonoNs) -> bool {
        let score = self.score();
        let is_quarantined = match self.quarantined_since {
            None => score < score_min,
            Some(_) => score < WELL_SCORE.max(score_min) || now.since(self.faulty) < WELL_NS,
        };
        let changed = is_quarantined != self.quarantined_since.is_some();
        if changed {
            self.quarantined_since = is_quarantined.then_some(now);
        }
        changed
    }
}

/// The scores of all venues.
#[derive(Debug)]
pub(crate) struct Scorecards {
    cards: Vec<Scorecard>,
    /// A venue with a lower score is quarantined; 0: none ever is.
    score_min: u64,
    /// A bit for each quarantined venue.
    quarantined: u64,
    looked: MonoNs,
}

impl Scorecards {
    /// No faults yet, for `venues` venues, at most 64.
    #[must_use]
    pub fn new(venues: usize, score_min: u64) -> Self {
        Self { cards: vec![Scorecard::default(); venues], score_min, quarantined: 0, looked: MonoNs(0) }
    }

    /// A bit for each quarantined venue.
    #[inline]
    #[must_use]
    pub(crate) const fn quarantined(&self) -> u64 {
        self.quarantined
    }

    /// Looks at the counters, if the last look was a second ago, and publishes the scores. Returns whether the quarantine of
    /// a venue began or ended.
    pub fn look(&mut self, venues: &[VenueGauges], scores: &[ScoreGauges], now: MonoNs) -> bool {
        if now.since(self.looked) < LOOK_EVERY_NS {
            return false;
        }
        let elapsed_ns = now.since(std::mem::replace(&mut self.looked, now));
        let mut changed = false;
        for (at, ((card, venue), gauges)) in self.cards.iter_mut().zip(venues).zip(scores).enumerate() {
            card.add(venue, elapsed_ns, now);
            if card.judge(self.score_min, now) {
                changed = true;
                self.quarantined ^= 1 << at;
                gauges.set_quarantined(card.quarantined_since);
            }
            gauges.set(card.rounded());
        }
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Case {
        cards: Scorecards,
        venues: Vec<VenueGauges>,
        scores: Vec<ScoreGauges>,
        now: MonoNs,
    }

    impl Case {
        fn new() -> Self {
            let venues: Vec<VenueGauges> = (0..2).map(|_| VenueGauges::default()).collect();
            venues[1].coverage.subscribed.set(10);
            let scores = (0..2).map(|_| ScoreGauges::default()).collect();
            Self { cards: Scorecards::new(2, 50), venues, scores, now: MonoNs(SECOND) }
        }

        /// Seconds pass in which `fault` happens to the second venue. Returns its score at the end.
        fn seconds(&mut self, count: u64, fault: impl Fn(&VenueGauges)) -> u64 {
            for _ in 0..count {
                self.now = self.now.plus(SECOND);
                self.venues[1].quotes.decoded.add(100);
                self.venues[1].read.frames.add(100);
                fault(&self.venues[1]);
                self.cards.look(&self.venues, &self.scores, self.now);
            }
            self.scores[1].score()
        }

        fn is_quarantined(&self) -> bool {
            assert_eq!(self.cards.quarantined() & 1, 0, "the first venue is well");
            assert_eq!(self.cards.quarantined() >> 1 == 1, self.scores[1].quarantined_since().is_some());
            self.cards.quarantined() >> 1 == 1
        }
    }

    fn gap(venue: &VenueGauges) {
        venue.read.decode_errors.add(DecodeReason::Gap, 1);
    }

    #[test]
    fn a_feed_that_loses_something_every_second_is_quarantined_until_it_has_been_well() {
        let mut case = Case::new();
        assert_eq!(case.seconds(10, |_| ()), 100);
        assert!(case.seconds(30, gap) > 50 && !case.is_quarantined());
        case.seconds(60, gap);
        assert!(case.is_quarantined());
        assert!(case.scores[1].parts().any(|(part, points)| part == "gaps" && points > 50));
        case.seconds(29, |_| ());
        assert!(case.is_quarantined(), "not well for long enough");
        let mut waited = 29;
        while case.is_quarantined() {
            case.seconds(1, |_| ());
            waited += 1;
        }
        assert!((60..180).contains(&waited), "{waited}: until the score is 80");
        assert!(case.scores[1].score() >= WELL_SCORE);
    }

    #[test]
    fn one_bad_instrument_of_many_and_single_late_quotes_are_no_quarantine() {
        let mut case = Case::new();
        case.venues[1].coverage.subscribed.set(400);
        let score = case.seconds(600, |venue| {
            gap(venue);
            venue.quotes.dropped.add(DropReason::Crossed, 10);
        });
        assert!(score > 65 && !case.is_quarantined(), "{score}");
        case.seconds(60, |venue| venue.lag.lagged.add(100));
        assert!(case.is_quarantined());
        case.seconds(200, |venue| venue.lag.lagged.add(1));
        assert!(!case.is_quarantined(), "a hundredth of the quotes is late, as on every feed");
    }

    #[test]
    fn one_bad_second_is_no_quarantine() {
        let mut case = Case::new();
        let score = case.seconds(1, |venue| {
            venue.read.decode_errors.add(DecodeReason::Json, 1000);
            venue.connection.disconnects.add(1);
            venue.lag.lagged.add(100);
        });
        assert_eq!(score, 78, "ten for the frames, ten for the connection, two for the lag");
        assert!(!case.is_quarantined());
    }

    #[test]
    fn half_a_minute_of_lag_is_a_quarantine_and_a_hiccup_is_not() {
        let mut case = Case::new();
        let lag = |venue: &VenueGauges| venue.lag.lagged.add(100);
        case.seconds(4, lag);
        assert!(!case.is_quarantined());
        case.seconds(30, lag);
        assert!(case.is_quarantined());
    }

    #[test]
    fn a_connection_of_twenty_counts_by_its_share() {
        let mut case = Case::new();
        case.venues[1].connection.wanted.set(20);
        assert_eq!(case.seconds(1, |venue| venue.connection.disconnects.add(2)), 99);
    }

    #[test]
    fn without_a_limit_nothing_is_quarantined() {
        let mut case = Case::new();
        case.cards = Scorecards::new(2, 0);
        assert_eq!(case.seconds(300, |venue| venue.read.decode_errors.add(DecodeReason::Json, 100)), 0);
        assert!(!case.is_quarantined());
    }
}
