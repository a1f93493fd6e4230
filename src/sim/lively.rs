//! What the demo plays beside prices: a script with a lagging venue, a halt, a reconnect and a ticker that is another
//! asset, so that each of them can be seen within a minute. In: a seed, venues and instruments. Out: a script, and
//! sentences that describe one. Pure: the same seed gives the same script.

use crate::random::Random;
use crate::sim::scenario::{Fault, FaultKind, ONE, Scenario};
use crate::time::{MS, SECOND};
use crate::venues::Venue;

/// Mean time between two openings of an opportunity in the demo, in milliseconds.
pub(crate) const OPPORTUNITY_EVERY_MS: u64 = 1000;
/// The script repeats after this time, in nanoseconds.
const ROUND_NS: u64 = 60 * SECOND;
/// The fault that lasts as long as the simulation: a year.
const ALWAYS_NS: u64 = 31_536_000 * SECOND;

/// The script for these venues and instruments (base, quote). The first venue has no faults, and the first two
/// instruments have none of their own, so that there is always something to compare with.
#[must_use]
pub fn script(seed: u64, venues: &[&'static dyn Venue], instruments: &[(String, String)]) -> Scenario {
    let mut random = Random::new(seed);
    let mut choice: Vec<usize> = (1..venues.len()).collect();
    random.shuffle(&mut choice);
    let mut symbols: Vec<String> = instruments.iter().skip(2).map(|(base, quote)| format!("{base}/{quote}")).collect();
    random.shuffle(&mut symbols);
    let late_ms = random.between(700.0, 3700.0) as i64;
    let once = |kind, figure, from_s: u64, for_s: u64| Fault {
        kind,
        venue: None,
        instrument: None,
        from_ns: from_s * SECOND,
        for_ns: for_s * SECOND,
        every_ns: Some(ROUND_NS),
        figure,
    };
    let faults = [
        once(FaultKind::Lag, late_ms, 15, 8),
        Fault { instrument: symbols.first().cloned(), ..once(FaultKind::Halt, 0, 28, 10) },
        once(FaultKind::Reconnect, 5000, 45, 3),
        Fault {
            instrument: symbols.get(1).cloned(),
            for_ns: ALWAYS_NS,
            every_ns: None,
            ..once(FaultKind::Alien, 31 * ONE / 100, 0, 0)
        },
    ];
    let is_whole = |fault: &Fault| !matches!(fault.kind, FaultKind::Halt | FaultKind::Alien);
    let has = |venue: usize, symbol: &str| {
        symbol.split_once('/').is_some_and(|(base, quote)| venues[venue].native(base, quote).is_ok())
    };
    let mut script = Scenario::default();
    for fault in faults {
        let fits = |venue: &usize| is_whole(&fault) || fault.instrument.as_deref().is_some_and(|it| has(*venue, it));
        // Each fault is played on a different venue.
        if let Some(at) = choice.iter().position(fits) {
            script.faults.push(Fault { venue: Some(choice.remove(at)), ..fault });
        }
    }
    script
}

/// A sentence about each fault, in the order of the script.
#[must_use]
pub(crate) fn describe(script: &Scenario, venues: &[&'static dyn Venue]) -> Vec<String> {
    script.faults.iter().map(|fault| sentence(fault, venues)).collect()
}

fn sentence(fault: &Fault, venues: &[&'static dyn Venue]) -> String {
    let venue = fault.venue.map_or("each venue", |venue| venues[venue].facts().name);
    let what = fault.instrument.as_deref().map_or(venue.to_owned(), |symbol| format!("{symbol} at {venue}"));
    let figure = fault.figure;
    let does = match fault.kind {
        FaultKind::Lag => format!("is {} s late", seconds(figure.unsigned_abs() * MS)),
        FaultKind::Halt => "is halted".to_owned(),
        FaultKind::Reconnect => "reconnects, with stale first prices".to_owned(),
        FaultKind::Alien => "is another asset".to_owned(),
        FaultKind::Unit => format!("is quoted in units of {figure}"),
        FaultKind::Basis => format!("stands {} % off", figure as f64 / (ONE / 100) as f64),
        FaultKind::Clock => format!("has a clock that is {figure} ms off"),
        FaultKind::Drift => format!("has a clock that gains {figure} ppm"),
        other => format!("suffers `{}`", other.word()),
    };
    let when = match fault.every_ns {
        _ if fault.for_ns >= ALWAYS_NS => String::new(),
        Some(every) => format!(
            ", from second {} of each {} s for {} s",
            seconds(fault.from_ns),
            seconds(every),
            seconds(fault.for_ns)
        ),
        None => format!(", from second {} for {} s", seconds(fault.from_ns), seconds(fault.for_ns)),
    };
    format!("{what} {does}{when}")
}

fn seconds(ns: u64) -> f64 {
    (ns / MS) as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::venues::VENUES;

    #[test]
    fn the_demo_plays_each_kind_once_a_minute_on_different_venues() {
        let instruments = crate::sim::default_instruments();
        for seed in 0..50 {
            let script = script(seed, VENUES, &instruments);
            let kinds: Vec<FaultKind> = script.faults.iter().map(|fault| fault.kind).collect();
            assert_eq!(kinds, [FaultKind::Lag, FaultKind::Halt, FaultKind::Reconnect, FaultKind::Alien], "{seed}");
            let mut of: Vec<usize> = script.faults.iter().map(|fault| fault.venue.unwrap()).collect();
            of.sort_unstable();
            of.dedup();
            assert_eq!(of.len(), 4, "{seed}");
            assert!(!of.contains(&0), "{seed}: the first venue is well");
            assert_eq!(script, super::script(seed, VENUES, &instruments));
        }
        assert_ne!(script(1, VENUES, &instruments), script(2, VENUES, &instruments));
    }

    #[test]
    fn few_venues_and_instruments_suffer_less() {
        let instruments = [("BTC".to_owned(), "USDT".to_owned())];
        assert_eq!(script(1, &VENUES[..1], &instruments).faults.len(), 0);
        let kinds = |count: usize| script(1, &VENUES[..count], &instruments).faults.len();
        assert_eq!((kinds(2), kinds(9)), (1, 2), "no instrument may be halted or another");
    }

    #[test]
    fn each_fault_is_described_in_a_sentence() {
        let text = "[[fault]]\nkind = \"lag\"\nvenue = \"okx\"\nfrom_s = 15\nfor_s = 8\nevery_s = 60\nlate_ms = 3700\n\
                    [[fault]]\nkind = \"alien\"\nvenue = \"okx\"\ninstrument = \"DOT/USDT\"\nfor_s = 31536000\n\
                    [[fault]]\nkind = \"lose\"\nfrom_s = 2.5\nfor_s = 1\n\
                    [[fault]]\nkind = \"basis\"\nfor_s = 1\npercent = -1.5";
        let script = Scenario::read(text, VENUES).unwrap();
        assert_eq!(
            describe(&script, VENUES),
            [
                "okx is 3.7 s late, from second 15 of each 60 s for 8 s",
                "DOT/USDT at okx is another asset",
                "each venue suffers `lose`, from second 2.5 for 1 s",
                "each venue stands -1.5 % off, from second 0 for 1 s",
            ]
        );
    }
}
