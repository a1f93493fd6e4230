//! Detects a backlog on a connection. After a silence that is unusual for the connection, or after a standstill of this
//! process, bytes have waited on the way, and the newest quote that was read may already have been replaced. Time comes in.
//! One per connection, on its feed's thread; allocates nothing.
//!
//! While a connection is behind, none of its quotes is a leg. It is behind from the beginning of the silence, because
//! newer bytes may be on their way, until [`SETTLE_NS`] after the last sign of a backlog.

use crate::time::{MS, MonoNs, SECOND};

/// A silence is unusual if it is longer than this multiple of the longest recent gap,
const USUAL_GAPS: u64 = 4;
/// and longer than this, in nanoseconds.
pub(crate) const PAUSE_NS: u64 = 200 * MS;
/// Half of the recent time, in nanoseconds.
const BUCKET_NS: u64 = 60 * SECOND;
/// The gaps of a connection are known after this many
const KNOWN_GAPS: u32 = 16;
/// over this time, in nanoseconds.
const KNOWN_NS: u64 = 2 * SECOND;
/// A connection has caught up after this time without a sign of a backlog, in nanoseconds.
pub(crate) const SETTLE_NS: u64 = 250 * MS;
/// A read of at least this many bytes after a silence is a sign of a backlog,
const FULL_READ: usize = 16 * 1024;
/// as is one of at least this fraction (one in this many) of the bytes that usually arrive in the same time.
const MISSED_PART: u128 = 2;

/// The pace of one connection's reads.
#[derive(Clone, Debug, Default)]
pub struct Backlog {
    /// The last read; 0 before the first.
    heard: MonoNs,
    first: MonoNs,
    gaps: u32,
    /// Longest gap since `since`, and in the span before.
    longest: u64,
    longest_before: u64,
    since: MonoNs,
    /// Bytes read since `since`, and in the span before, which began at `since_before`.
    bytes: u64,
    bytes_before: u64,
    since_before: MonoNs,
    state: BacklogState,
    /// The bytes that were waiting when a silence ended.
    burst: Option<ByteBurst>,
    /// Bytes that the last read left in the socket.
    waiting: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum BacklogState {
    #[default]
    Current,
    /// Silent for an unusual time.
    Quiet,
    /// Reads may be old. The time of the last sign, and whether there was one besides the silence.
    Behind(MonoNs, bool),
}

/// Bytes that were sent one after the other between two times, and read at once.
#[derive(Clone, Copy, Debug)]
struct ByteBurst {
    from: MonoNs,
    to: MonoNs,
    /// How many there are, and how many have been decoded.
    total: u64,
    done: u64,
    /// The position that was sent at `from`.
    base: u64,
}

impl Backlog {
    /// A new connection begins at `now`. What is usual is kept.
    pub fn begin(&mut self, now: MonoNs) {
        (self.heard, self.state, self.burst, self.waiting) = (now, BacklogState::Current, None, 0);
    }

    /// Copies what is usual from another connection that has seen more.
    pub(crate) fn learn_from(&mut self, other: &Self) {
        if self.gaps < other.gaps {
            *self = Self {
                heard: self.heard,
                state: self.state,
                burst: self.burst,
                waiting: self.waiting,
                ..other.clone()
            };
        }
    }

    /// Whether quotes of the connection are unfit as legs.
    #[inline]
    #[must_use]
    pub fn is_behind(&self) -> bool {
        self.state != BacklogState::Current
    }

    /// The longest usual silence; `None` until it is known.
    fn limit(&self) -> Option<u64> {
        let is_known = self.gaps >= KNOWN_GAPS && self.heard.since(self.first) >= KNOWN_NS;
        is_known.then(|| self.longest.max(self.longest_before).saturating_mul(USUAL_GAPS).max(PAUSE_NS))
    }

    /// `bytes` were read at `now`, and `waiting` more are in the socket.
    #[inline]
    pub fn read(&mut self, bytes: usize, waiting: usize, now: MonoNs) {
        let gap = now.since(self.heard);
        if self.gaps == 0 {
            (self.first, self.since, self.since_before) = (now, now, now);
        }
        let is_unusual = self.state == BacklogState::Quiet || self.limit().is_some_and(|limit| gap > limit);
        if is_unusual || self.state != BacklogState::Current {
            self.read_behind(bytes, waiting, now, is_unusual);
        } else {
            self.learn(gap, now);
        }
        (self.heard, self.waiting) = (now, waiting);
        self.bytes = self.bytes.saturating_add(bytes as u64);
    }

    /// Everything that was read has been decoded. Returns whether this was the end of a burst.
    #[inline]
    pub(crate) fn end_read(&mut self) -> bool {
        self.waiting == 0 && self.burst.take().is_some()
    }

    #[cold]
    fn read_behind(&mut self, bytes: usize, waiting: usize, now: MonoNs, is_unusual: bool) {
        let total = (bytes + waiting) as u64;
        let is_full = waiting > 0 || bytes >= FULL_READ || (is_unusual && self.is_missed(total, now));
        match &mut self.state {
            BacklogState::Behind(last, was_seen) if is_unusual || is_full => (*last, *was_seen) = (now, true),
            BacklogState::Behind(..) => {}
            BacklogState::Current | BacklogState::Quiet => self.state = BacklogState::Behind(now, is_full),
        }
        match &mut self.burst {
            // The rest of the bytes that were waiting.
            Some(burst) if burst.done < burst.total && !is_unusual => burst.total = burst.total.max(burst.done + total),
            burst if now.since(self.heard) >= PAUSE_NS => {
                *burst = Some(ByteBurst { from: self.heard, to: now, total, done: 0, base: 0 });
            }
            burst => *burst = None,
        }
    }

    /// Whether `total` bytes are about as many as usually arrive in the time since the last read.
    fn is_missed(&self, total: u64, now: MonoNs) -> bool {
        let usual = u128::from(self.bytes.saturating_add(self.bytes_before)) * u128::from(now.since(self.heard));
        u128::from(total) * MISSED_PART * u128::from(now.since(self.since_before)) >= usual
    }

    fn learn(&mut self, gap: u64, now: MonoNs) {
        if now.since(self.since) >= BUCKET_NS {
            (self.longest_before, self.longest) = (self.longest, 0);
            (self.bytes_before, self.bytes) = (self.bytes, 0);
            (self.since_before, self.since) = (self.since, now);
        }
        self.longest = self.longest.max(gap);
        self.gaps = self.gaps.saturating_add(1);
    }

    /// A message of `bytes` bytes is about to be decoded.
    #[inline]
    pub fn decoded(&mut self, bytes: usize) {
        if let Some(burst) = &mut self.burst {
            burst.done = burst.done.saturating_add(bytes as u64);
        }
    }

    /// According to the venue's timestamp, the bytes decoded so far were sent `late_ns` before their read. If that is more
    /// than `much_ns`, there still is a backlog.
    pub fn proven(&mut self, late_ns: u64, much_ns: u64, now: MonoNs) {
        if let Some(burst) = &mut self.burst {
            burst.from = burst.from.max(MonoNs(burst.to.0.saturating_sub(late_ns)));
            burst.base = burst.done.min(burst.total);
        }
        if let BacklogState::Behind(last, was_seen) = &mut self.state
            && late_ns > much_ns
        {
            (*last, *was_seen) = (now, true);
        }
    }

    /// How long before its read the last decoded message was sent, in nanoseconds, assuming that the bytes of the burst
    /// were sent evenly; `None` outside a burst.
    #[inline]
    #[must_use]
    pub fn late_ns(&self) -> Option<u64> {
        let ByteBurst { from, to, total, done, base } = self.burst?;
        let (left, all) = (total.saturating_sub(done), total.saturating_sub(base).max(1));
        Some((u128::from(to.since(from)) * u128::from(left) / u128::from(all)) as u64)
    }

    /// The process did not run until `now`.
    pub fn stood_still(&mut self, now: MonoNs) {
        self.state = BacklogState::Behind(now, true);
    }

    /// When [`Self::elapsed`] is to be called; `None` until the usual gaps are known.
    #[must_use]
    pub fn deadline(&self) -> Option<MonoNs> {
        match self.state {
            BacklogState::Current => self.limit().map(|limit| self.heard.plus(limit.saturating_add(1))),
            BacklogState::Quiet => None,
            BacklogState::Behind(last, _) => Some(last.plus(SETTLE_NS)),
        }
    }

    /// Time has passed.
    pub fn elapsed(&mut self, now: MonoNs) {
        if self.deadline().is_none_or(|at| now < at) {
            return;
        }
        match self.state {
            BacklogState::Current => self.state = BacklogState::Quiet,
            BacklogState::Quiet => {}
            BacklogState::Behind(last, was_backlog) => {
                (self.state, self.burst) = (BacklogState::Current, None);
                // A silence without a backlog is usual for the venue, but not one of an hour.
                if let (false, Some(limit)) = (was_backlog, self.limit()) {
                    self.learn(limit / 2, last);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Case {
        backlog: Backlog,
        now: MonoNs,
    }

    impl Case {
        /// A connection that is read every `every_ms`.
        fn known(every_ms: u64) -> Self {
            let mut case = Self { backlog: Backlog::default(), now: MonoNs(100 * SECOND) };
            case.backlog.begin(case.now);
            case.flow(every_ms, 5000);
            case
        }

        fn flow(&mut self, every_ms: u64, for_ms: u64) {
            for _ in 0..for_ms / every_ms {
                self.pass(every_ms);
                self.backlog.read(100, 0, self.now);
            }
        }

        fn pass(&mut self, ms: u64) {
            let until = self.now.plus(ms * MS);
            while let Some(at) = self.backlog.deadline().filter(|at| *at <= until) {
                self.now = self.now.max(at);
                self.backlog.elapsed(self.now);
            }
            self.now = until;
        }
    }

    #[test]
    fn a_connection_is_behind_from_an_unusual_silence_until_it_has_settled() {
        let mut case = Case::known(10);
        case.pass(200);
        assert!(!case.backlog.is_behind());
        case.pass(1);
        assert!(case.backlog.is_behind(), "quiet");
        case.pass(3000);
        case.backlog.read(30_000, 0, case.now);
        case.flow(10, 240);
        assert!(case.backlog.is_behind());
        case.flow(10, 20);
        assert!(!case.backlog.is_behind());
        case.pass(202);
        assert!(case.backlog.is_behind(), "a silence with a backlog behind it is never usual");
    }

    #[test]
    fn a_usual_silence_is_no_sign() {
        let mut case = Case::known(400);
        case.pass(1600);
        assert!(!case.backlog.is_behind());
        let mut new = Case { backlog: Backlog::default(), now: MonoNs(SECOND) };
        new.backlog.begin(new.now);
        new.flow(1000, 10_000);
        new.pass(9000);
        assert!(!new.backlog.is_behind(), "its gaps are not known yet");
    }

    #[test]
    fn hiccups_with_small_backlogs_never_become_usual() {
        let mut case = Case::known(10);
        for _ in 0..6 {
            case.pass(1000);
            case.backlog.read(10_000, 0, case.now);
            case.flow(10, 5000);
        }
        case.pass(300);
        assert!(case.backlog.is_behind());
    }

    #[test]
    fn pauses_of_a_venue_become_usual() {
        let mut case = Case::known(10);
        for _ in 0..6 {
            case.pass(1000);
            case.flow(10, 5000);
        }
        case.pass(1000);
        assert!(!case.backlog.is_behind());
    }

    #[test]
    fn the_age_of_bytes_in_a_burst_follows_their_position() {
        let mut case = Case::known(10);
        let last = case.now;
        case.pass(3000);
        case.backlog.read(1000, 2000, case.now);
        let mut ages = Vec::new();
        for _ in 0..2 {
            case.backlog.decoded(500);
            ages.push(case.backlog.late_ns().unwrap() / MS);
        }
        case.backlog.read(2000, 0, case.now);
        for _ in 0..4 {
            case.backlog.decoded(500);
            ages.push(case.backlog.late_ns().unwrap() / MS);
        }
        assert_eq!(case.now.since(last) / MS, 3000);
        assert_eq!(ages, [2500, 2000, 1500, 1000, 500, 0]);
    }

    #[test]
    fn a_timestamp_in_the_burst_overrides_the_position() {
        let mut case = Case::known(10);
        case.pass(3000);
        case.backlog.read(3000, 0, case.now);
        case.backlog.decoded(500);
        case.backlog.proven(1000 * MS, 250 * MS, case.now);
        assert_eq!(case.backlog.late_ns().unwrap() / MS, 1000);
        case.backlog.decoded(1250);
        assert_eq!(case.backlog.late_ns().unwrap() / MS, 500);
    }

    #[test]
    fn after_a_standstill_every_connection_is_behind() {
        let mut case = Case::known(1000);
        case.pass(900);
        case.backlog.stood_still(case.now);
        assert!(case.backlog.is_behind());
        case.pass(260);
        assert!(!case.backlog.is_behind(), "no bytes arrived");
    }
}
