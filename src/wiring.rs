//! Builds every part, ring and reader; the thread table; start, stop, join.

use crate::cli::{Failure, ReplayArgs, SimArgs};
use crate::config::Config;

/// Simulated venues, feeds, detector and gateway in one process, with prices grown from `seed`.
///
/// # Errors
/// When a port is in use or a thread cannot be made.
pub fn demo(_config: Config, _seed: u64) -> Result<(), Failure> {
    Err(not_wired())
}

/// The gateway on the configured venues, until a signal.
///
/// # Errors
/// When a port is in use or a thread cannot be made.
pub fn serve(_config: Config) -> Result<(), Failure> {
    Err(not_wired())
}

/// Only the simulated venues, until a signal.
///
/// # Errors
/// When the port is in use.
pub fn sim(_args: SimArgs) -> Result<(), Failure> {
    Err(not_wired())
}

/// Captures through the whole path; limits and fees are those of `config`.
///
/// # Errors
/// When a file cannot be read or a port is in use.
pub fn replay(_config: Config, _args: ReplayArgs) -> Result<(), Failure> {
    Err(not_wired())
}

fn not_wired() -> Failure {
    Failure::Unavailable("not wired yet".to_owned())
}
