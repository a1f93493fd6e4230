//! Every venue of `VENUES` is held against its fixtures and its own exchange side.
//!
//! `tests/fixtures/<venue>/` has: `captures/` (recorded connections, each with the quotes that an
//! independent decoder found in it, and `<capture>.errors` with the lines that must be refused),
//! `frames.txt` (single frames and what they mean), and for venues whose symbols need a table `listing.csv`. A venue without fixtures fails. `UPDATE_GOLDEN=1` rewrites
//! what `frames.txt` expects.

pub mod captures;
mod channels;
mod exchange;
mod faults;
mod frames;
mod hostile;
mod paths;
mod symbols;

use std::path::PathBuf;

/// The folder of a venue's fixtures.
fn fixtures(venue: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(venue)
}
