//! Halts that a venue's stream reports, in replays of what the venues' own exchange sides write: they last until the
//! venue says that trading goes on, whatever becomes of the connection.

use serde_json::Value;
use spreadwire::venues::{HaltSource, VENUES};

use crate::lag::{HIGH, LOW, Recorded, lines};

#[test]
fn a_halt_outlasts_the_connection_that_reported_it_and_ends_with_the_word_of_another() {
    for venue in VENUES.iter().filter(|venue| venue.halts() != HaltSource::List) {
        let name = venue.facts().name;
        let halted = Recorded::new(name, HIGH).quotes(3, 20).says(false).at(LOW).quotes(2, 20);
        // The new connection quotes first and says what it knows of trading later.
        let back = halted.reconnects().mute().quotes(3, 20);
        let said_again = back.says(false).quotes(2, 20);
        let resumed = said_again.says(true).quotes(4, 20);
        let other = if name == "okx" { "kraken" } else { "okx" };
        let lines = lines("halts", &[&resumed, &Recorded::new(other, HIGH).quotes(14, 20)]);
        let states: Vec<&str> =
            lines.iter().filter(|line| line["exchange"] == name).map(|line| line["state"].as_str().unwrap()).collect();
        let runs = states.chunk_by(|one, next| one == next).map(|run| run[0]).filter(|state| *state != "void");
        assert_eq!(runs.collect::<Vec<_>>(), ["live", "halted", "live"], "{name}");
        let opened: Vec<&Value> = lines.iter().filter(|line| line["change"] == "opened").collect();
        assert_eq!(opened.len(), 1, "{name}: {opened:?}");
        let resumed = lines.iter().rposition(|line| line["state"] == "halted" && line["exchange"] == name).unwrap();
        let alert = lines.iter().position(|line| line["change"] == "opened").unwrap();
        assert!(alert > resumed, "{name}: an alert in the halt");
    }
}
