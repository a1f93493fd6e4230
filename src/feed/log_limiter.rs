//! Limits the log lines of one venue's channel, so that a storm of reconnects does not flood the log.

use crate::log;
use crate::time::{MonoNs, SECOND};

/// A few lines at once, then one per [`LogLimiter::EVERY_NS`]. Lines beyond that are counted.
#[derive(Default)]
pub(crate) struct LogLimiter {
    since: MonoNs,
    written: u32,
    suppressed: u32,
}

impl LogLimiter {
    const BURST: u32 = 6;
    const EVERY_NS: u64 = 10 * SECOND;

    /// Writes the line, or suppresses and counts it.
    pub fn say(&mut self, now: MonoNs, line: std::fmt::Arguments<'_>) {
        let refilled = (now.since(self.since) / Self::EVERY_NS).min(u64::from(Self::BURST));
        if refilled > 0 {
            self.since = now;
            self.written = self.written.saturating_sub(refilled as u32);
        }
        if self.written >= Self::BURST {
            self.suppressed += 1;
            return;
        }
        self.written += 1;
        match std::mem::take(&mut self.suppressed) {
            0 => log::say(line),
            suppressed => log::say(format_args!("{line} ({suppressed} earlier lines suppressed)")),
        }
    }
}
