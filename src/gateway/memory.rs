//! When the process should return freed memory to the system. Pure.

use crate::time::{MonoNs, SECOND};

/// Less free memory than this is not worth the time, in bytes.
const RELEASED_MIN: usize = 2 << 20;
/// Shortest time between two releases.
const RELEASE_NS: u64 = 5 * SECOND;

/// Estimated memory of clients over time.
pub(crate) struct MemoryUse {
    /// The most since the last release, in bytes.
    most: usize,
    /// At the last call, in bytes.
    last: usize,
    release_at: MonoNs,
}

impl MemoryUse {
    /// Nothing used.
    #[must_use]
    pub fn new(now: MonoNs) -> Self {
        Self { most: 0, last: 0, release_at: now }
    }

    /// Clients use `bytes` now. `true` if most of what they used is free and should be returned to the system.
    pub(crate) fn should_release(&mut self, bytes: usize, now: MonoNs) -> bool {
        self.most = self.most.max(bytes);
        // If many clients leave together, one release after the last of them is enough.
        let is_falling = bytes < std::mem::replace(&mut self.last, bytes);
        let releases = self.most > RELEASED_MIN + 2 * bytes && !is_falling && now >= self.release_at;
        if releases {
            (self.most, self.release_at) = (bytes, now.plus(RELEASE_NS));
        }
        releases
    }
}
