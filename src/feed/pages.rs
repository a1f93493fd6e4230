//! REST pages of order books that a codec needs: one request at a time, within the venue's limits. The pace outlives a
//! connection, because the venue counts requests by address.

use std::collections::VecDeque;

use crate::net::backoff::{SpanBudget, Wait};
use crate::time::{MS, MonoNs, SECOND};
use crate::venues::{Fetch, Pace};

/// Queue of book pages to fetch.
pub(crate) struct PageQueue {
    waiting: VecDeque<Fetch>,
    under_way: Option<Fetch>,
    /// The reply under way was requested for an earlier connection and will be discarded.
    is_orphan: bool,
    budget: SpanBudget,
    /// No request before this time.
    at: MonoNs,
    /// Consecutive failures.
    failures: u32,
}

impl PageQueue {
    /// Shortest time between two requests.
    const GAP_NS: u64 = 250 * MS;
    /// Pause after a first failure; it doubles with each further one,
    const FIRST_NS: u64 = SECOND;
    /// up to this many times.
    const DOUBLINGS: u32 = 5;

    /// An empty queue that keeps `pace`.
    #[must_use]
    pub fn new(pace: Pace) -> Self {
        let budget = SpanBudget::new(pace.count as usize, pace.per_ms.saturating_mul(MS));
        let (waiting, under_way) = (VecDeque::new(), None);
        Self { waiting, under_way, is_orphan: false, budget, at: MonoNs(0), failures: 0 }
    }

    /// A new connection begins: the queue is emptied, and the reply under way will be discarded. The pace stays.
    pub(crate) fn begin_anew(&mut self) {
        self.waiting.clear();
        self.is_orphan |= self.under_way.take().is_some();
    }

    /// Adds pages, unless one of the same instrument is already queued or under way.
    #[inline]
    pub fn request(&mut self, fetches: impl Iterator<Item = Fetch>) {
        for fetch in fetches {
            let is_known = |other: &Fetch| other.instrument == fetch.instrument;
            if !self.waiting.iter().chain(&self.under_way).any(is_known) {
                self.waiting.push_back(fetch);
            }
        }
    }

    /// When the next request may be sent; `None` if there is none, or one is under way.
    #[must_use]
    pub fn due(&self) -> Option<MonoNs> {
        let is_free = self.under_way.is_none() && !self.is_orphan;
        (is_free && !self.waiting.is_empty()).then(|| self.at.max(self.budget.free_at()))
    }

    /// The next page to fetch, if it is due.
    pub fn take(&mut self, now: MonoNs) -> Option<Fetch> {
        self.due().filter(|at| now >= *at)?;
        self.under_way = self.waiting.pop_front();
        self.at = now.plus(Self::GAP_NS);
        self.budget.spend(now);
        self.under_way.clone()
    }

    /// A reply arrived: the page it answers; `None` if it was requested for an earlier connection.
    pub fn done(&mut self, now: MonoNs) -> Option<Fetch> {
        self.is_orphan = false;
        self.at = self.at.max(now.plus(Self::GAP_NS));
        self.under_way.take()
    }

    /// The reply could be read.
    pub(crate) const fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// The request failed. The codec requests what it still needs again.
    pub fn failed(&mut self, wait: Wait, now: MonoNs) {
        (self.under_way, self.is_orphan) = (None, false);
        let usual = Self::FIRST_NS << self.failures.min(Self::DOUBLINGS);
        self.failures += 1;
        let pause = match wait {
            Wait::AtLeast(ns) | Wait::Banned(ns) => usual.max(ns),
            Wait::AtOnce | Wait::Usual => usual,
        };
        self.at = now.plus(pause);
    }

    /// No request before `until`.
    pub fn hold(&mut self, until: MonoNs) {
        self.at = self.at.max(until);
    }

    /// The page under way.
    #[must_use]
    pub(crate) const fn under_way(&self) -> Option<&Fetch> {
        self.under_way.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::market::InstrumentId;

    fn fetch(instrument: u32) -> Fetch {
        Fetch { instrument: InstrumentId(instrument), path: format!("/book?symbol={instrument}") }
    }

    #[test]
    fn a_page_requested_for_an_earlier_connection_is_discarded() {
        let mut pages = PageQueue::new(Pace { count: 10, per_ms: 1000 });
        pages.request([fetch(1)].into_iter());
        assert_eq!(pages.take(MonoNs(1)), Some(fetch(1)));
        pages.begin_anew();
        pages.request([fetch(2)].into_iter());
        // Two replies could not be told apart, so only one request is under way.
        assert_eq!(pages.take(MonoNs(SECOND)), None);
        assert_eq!(pages.done(MonoNs(SECOND)), None);
        assert_eq!(pages.take(MonoNs(2 * SECOND)), Some(fetch(2)));
        assert_eq!(pages.done(MonoNs(2 * SECOND)), Some(fetch(2)));
    }

    #[test]
    fn the_pace_of_pages_is_kept_across_reconnects() {
        let mut pages = PageQueue::new(Pace { count: 3, per_ms: 10_000 });
        let mut at = Vec::new();
        for ms in 0..25_000 {
            // The codec requests both with each frame.
            pages.request([fetch(1), fetch(2)].into_iter());
            if ms == 300 {
                pages.begin_anew();
            }
            if pages.take(MonoNs(ms * MS)).is_some() {
                at.push(ms);
                pages.done(MonoNs((ms + 10) * MS));
            }
        }
        assert_eq!(at, [0, 260, 520, 10_000, 10_260, 10_520, 20_000, 20_260, 20_520]);
        pages.request([fetch(1)].into_iter());
        assert!(pages.take(MonoNs(40 * SECOND)).is_some());
        pages.failed(Wait::Banned(60 * SECOND), MonoNs(41 * SECOND));
        pages.begin_anew();
        pages.request([fetch(1)].into_iter());
        assert_eq!(pages.take(MonoNs(100 * SECOND)), None);
        assert_eq!(pages.take(MonoNs(101 * SECOND)), Some(fetch(1)));
    }
}
