//! Every venue of `VENUES` is held against its fixtures and its own exchange side.
//!
//! `tests/fixtures/<venue>/` has: `captures/` (recorded connections, each with the quotes that an
//! independent decoder found in it, and `<capture>.errors` with the lines that must be refused),
//! `frames.txt` (single frames and what they mean), and for venues whose symbols need a table `listing.csv`. A venue without fixtures fails. `UPDATE_GOLDEN=1` rewrites
//! what `frames.txt` expects.

mod again;
mod anew;
mod books;
pub mod captures;
mod channels;
mod deep;
mod exchange;
mod faults;
mod frames;
mod hostile;
mod listings;
mod order;
mod paged;
mod paths;
mod recorded;
mod symbols;
mod undecodable;

use std::path::{Path, PathBuf};

use spreadwire::record::capture::{Capture, Direction};

/// Venues whose sockets tell no day figures.
pub const WITHOUT_DAY: &[&str] = &["bitstamp", "gemini"];

/// The frames of a venue's `frames.txt`, REST replies too.
fn single_frames(venue: &str) -> Vec<Vec<u8>> {
    let text = std::fs::read_to_string(fixtures(venue).join("frames.txt")).unwrap();
    let bytes = |line: &str| match line.split_at_checked(2)? {
        ("> ", frame) => Some(frame.as_bytes().to_vec()),
        ("x ", frame) => Some(frames::bytes_of(frame)),
        _ => None,
    };
    text.lines().filter_map(bytes).collect()
}

/// The first frames of a capture, of all channels.
fn recorded_frames(path: &Path, most: usize) -> Vec<Vec<u8>> {
    let mut capture = Capture::open(path).unwrap();
    let mut frames = Vec::new();
    while frames.len() < most {
        let Some((_, Ok(record))) = capture.next_record().unwrap() else { break };
        if record.dir == Direction::In {
            frames.push(record.frame);
        }
    }
    frames
}

/// Whether a frame is JSON, to which blanks can be added; not packed, not protobuf.
fn is_json(frame: &[u8]) -> bool {
    matches!(frame.first(), Some(b'{' | b'['))
}

/// The folder of a venue's fixtures.
fn fixtures(venue: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(venue)
}
