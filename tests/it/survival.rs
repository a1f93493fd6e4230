//! The estimator of survival against Python's `lifelines`. `scripts/survival` runs this with 1,000 new random histories; otherwise
//! those of the fixture are compared.

use serde_json::Value;
use spreadwire::detector::survival::estimate;
use spreadwire::market::survival::HORIZONS_MS;
use spreadwire::time::MS;

const FIXTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/survival.jsonl");

#[test]
fn survival_equals_that_of_lifelines() {
    let file = std::env::var("SPREADWIRE_SURVIVAL_CASES").unwrap_or_else(|_| FIXTURE.into());
    let cases = std::fs::read_to_string(&file).unwrap();
    let mut compared = 0;
    for case in cases.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()) {
        let lives = case["lives"].as_array().unwrap().iter();
        let lives: Vec<_> = lives.map(|life| (life[0].as_u64().unwrap(), life[1].as_bool().unwrap())).collect();
        let points = estimate(lives, HORIZONS_MS.map(|ms| ms * MS));
        for (point, expected) in points.iter().zip(case["points"].as_array().unwrap()) {
            assert_eq!(u64::from(point.at_risk), expected["atRisk"], "{case}");
            assert_eq!(u64::from(point.censored), expected["censored"], "{case}");
            for (name, value) in [("alive", point.alive), ("low", point.band.0), ("high", point.band.1)] {
                let distance = (value - expected[name].as_f64().unwrap()).abs();
                assert!(distance <= 1e-9, "{name} of {point:?} in {case}");
            }
            compared += 1;
        }
    }
    assert!(compared >= 5 * 20, "{compared} in {file}");
}
