//! Whether venues send in the order of their stamps, measured from the recorded connections: the facts of each venue and
//! the table of `docs/proof.md`. `UPDATE_GOLDEN=1` rewrites the table.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::Path;

use spreadwire::market::InstrumentId;
use spreadwire::market::quote::StampOrder;
use spreadwire::record::capture::{Capture, Direction};
use spreadwire::time::{MS, MonoNs, UnixNs};
use spreadwire::venues::{Decoded, Symbols, Update, VENUES, Venue};

use super::captures::captures;

/// Stamps that were read in the order of their arrival.
#[derive(Default)]
struct Disorder {
    frames: usize,
    /// Stamps earlier than one before.
    back: usize,
    /// The largest step back, in nanoseconds.
    worst_ns: u64,
}

/// The newest stamp of one sequence.
#[derive(Default)]
struct Newest(UnixNs);

impl Disorder {
    fn add(&mut self, newest: &mut Newest, stamp: UnixNs) {
        self.frames += 1;
        let back = newest.0.0.saturating_sub(stamp.0);
        self.back += usize::from(back > 0);
        self.worst_ns = self.worst_ns.max(back);
        newest.0 = newest.0.max(stamp);
    }

    fn share(&self) -> String {
        if self.frames == 0 {
            return "–".to_owned();
        }
        let pct = self.back as f64 * 100.0 / self.frames as f64;
        format!("{} of {} ({pct:.2} %), {} ms", self.back, self.frames, self.worst_ns.div_ceil(MS))
    }
}

/// Stamps of all messages of each connection, and of each instrument in each channel, of all recordings of `venue`.
fn measured(venue: &'static dyn Venue) -> [Disorder; 2] {
    let mut found = [Disorder::default(), Disorder::default()];
    for path in captures(venue.facts().name) {
        let mut capture = Capture::open(&path).unwrap();
        let mut codecs = HashMap::new();
        let mut connections: HashMap<u32, Newest> = HashMap::new();
        let mut channels: HashMap<(u32, InstrumentId, &str), Newest> = HashMap::new();
        let mut out = Decoded::default();
        while let Some((_, record)) = capture.next_record().unwrap() {
            let Ok(record) = record else { continue };
            let codec =
                codecs.entry(record.conn).or_insert_with(|| venue.codec(Symbols::discovering(venue.symbol_of())));
            // Frames without a time were chosen by hand, from several connections.
            if record.dir != Direction::In || record.ts.is_none() {
                continue;
            }
            out.clear();
            // Broken frames are the subject of other tests.
            let _ = codec.decode(&record.frame, MonoNs(0), &mut out);
            let stamps = out.updates.iter().filter_map(|update| match update {
                Update::Top(top) => Some((top.instrument, top.channel, top.exchange_time)),
                Update::Stamp(instrument, stamp) => Some((*instrument, "witness", *stamp)),
                _ => None,
            });
            for (instrument, channel, stamp) in stamps.filter(|(_, _, stamp)| stamp.0 != 0) {
                found[0].add(connections.entry(record.conn).or_default(), stamp);
                found[1].add(channels.entry((record.conn, instrument, channel)).or_default(), stamp);
            }
        }
    }
    found
}

/// Fewer stamps than this prove no order of a connection.
const ENOUGH: usize = 400;

#[test]
fn venues_send_in_the_order_of_their_stamps_as_far_as_their_facts_say() {
    let mut table = String::from(
        "\n| venue | order | of a connection: stamps that go back, largest step | of an instrument in its channel |\n|---|---|---|---|\n",
    );
    for &venue in VENUES {
        let [connection, channel] = measured(venue);
        let (name, stamps) = (venue.facts().name, venue.facts().stamps);
        match stamps.order {
            StampOrder::Connection => {
                assert!(connection.frames >= ENOUGH, "{name}: {} stamps are too few", connection.frames);
                assert!(connection.worst_ns <= stamps.slack_ms * MS, "{name}: {}", connection.share());
            }
            StampOrder::Channel => assert_eq!(channel.back, 0, "{name}: {}", channel.share()),
            StampOrder::None => {}
        }
        let _ = writeln!(table, "| {name} | {} | {} | {} |", stamps.order.word(), connection.share(), channel.share());
    }
    table.push('\n');
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/proof.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let (begin, end) = ("<!-- order: written by the tests with UPDATE_GOLDEN=1 -->\n", "<!-- end of order -->");
    let (head, rest) = text.split_once(begin).unwrap();
    let (shown, tail) = rest.split_once(end).unwrap();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, format!("{head}{begin}{table}{end}{tail}")).unwrap();
    } else {
        assert_eq!(shown, table, "run the tests with UPDATE_GOLDEN=1");
    }
}
