//! Limits of what one session tolerates from a venue: undecodable frames and pings.

use crate::time::{MonoNs, SECOND};

/// Undecodable frames, naming no instrument, that a session tolerates within [`BAD_WINDOW_NS`].
const BAD_FRAMES_MAX: usize = 10;
/// The window of [`BAD_FRAMES_MAX`], in nanoseconds.
const BAD_WINDOW_NS: u64 = 10 * SECOND;
/// Pings that are answered at once within a second.
const PONGS_PER_SECOND: u32 = 5;

/// When the last undecodable frames arrived.
#[derive(Default)]
pub struct BadFrames {
    times: [Option<MonoNs>; BAD_FRAMES_MAX],
    oldest: usize,
}

impl BadFrames {
    /// Counts one more. Returns whether there are too many.
    pub(crate) fn is_one_too_many(&mut self, now: MonoNs) -> bool {
        let before = self.times[self.oldest].replace(now);
        self.oldest = (self.oldest + 1) % BAD_FRAMES_MAX;
        before.is_some_and(|before| now.since(before) <= BAD_WINDOW_NS)
    }
}

/// Pongs: a few each second at once; of further ones only the newest, a second later.
#[derive(Default)]
pub(crate) struct Pongs {
    second: MonoNs,
    count: u32,
    delayed: Vec<u8>,
}

impl Pongs {
    /// A pong has been written to `output` behind its first `before` bytes.
    pub fn sent(&mut self, output: &mut Vec<u8>, before: usize, now: MonoNs) {
        if now.since(self.second) >= SECOND {
            (self.second, self.count) = (now, 0);
        }
        self.count += 1;
        if self.count > PONGS_PER_SECOND {
            self.delayed.clear();
            self.delayed.extend(output.drain(before.min(output.len())..));
        }
    }

    /// When [`Self::release`] is to be called.
    #[must_use]
    pub(crate) fn release_at(&self) -> Option<MonoNs> {
        (!self.delayed.is_empty()).then(|| self.second.plus(SECOND))
    }

    /// Writes the delayed pong to `output`, if it is due.
    pub fn release(&mut self, output: &mut Vec<u8>, now: MonoNs) {
        if self.release_at().is_some_and(|at| now >= at) {
            output.append(&mut self.delayed);
            (self.second, self.count) = (now, 1);
        }
    }
}
