//! From a producer of quotes (feed, cluster, replay, last known prices) to the detector: a ring, and what is set aside
//! while the ring is full.
//!
//! Never blocks and never grows. While the ring is full, the newest quote of each instrument is set aside; voids are never
//! lost, and the order within an instrument is preserved. Runs on the producer's thread.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::market::book::BookVoid;
use crate::market::quote::{FeedEvent, LineId, Origin};
use crate::market::{InstrumentId, Quote, VenueId};
use crate::metrics::Board;
use crate::stage::Alarm;

/// The producing end of a ring to the detector.
pub struct Handover {
    ring: rtrb::Producer<FeedEvent>,
    detector: Alarm,
    board: Arc<Board>,
    instruments: usize,
    /// The venues of this producer, in the order of `down`.
    venues: Vec<VenueId>,
    /// Origin of its voids.
    origin: Origin,
    /// Venues whose quotes are all void; handed over before anything else that is set aside for them.
    down: Vec<bool>,
    /// Venues that were left; handed over after everything that is set aside for them.
    left: Vec<bool>,
    /// What is set aside, by venue and instrument.
    aside: Vec<Aside>,
    /// Connections that have ended: handed over before all that is set aside.
    ended: Vec<(VenueId, LineId)>,
    /// Connections that fell behind or caught up: the former is handed over before all that is set aside, the latter after.
    delayed: Vec<Delayed>,
    /// Indexes in `aside` with something to hand over, the oldest first; each at most once.
    order: VecDeque<u32>,
    /// Whether anything is set aside.
    behind: bool,
    pushed: bool,
}

/// What is set aside for one instrument of one venue: first it became void, then it was quoted.
#[derive(Clone, Copy, Default)]
struct Aside {
    void: Option<BookVoid>,
    quote: Option<Quote>,
    queued: bool,
}

/// What is set aside of [`FeedEvent::Behind`] for one connection.
struct Delayed {
    venue: VenueId,
    line: LineId,
    begins: bool,
    ends: bool,
}

impl Handover {
    /// For a producer with `venues`, each of up to `instruments` instruments, whose voids are those of `origin`.
    /// All memory is taken here.
    #[must_use]
    pub fn new(
        ring: rtrb::Producer<FeedEvent>,
        detector: Alarm,
        board: Arc<Board>,
        venues: Vec<VenueId>,
        instruments: usize,
        origin: Origin,
    ) -> Self {
        let places = venues.len() * instruments;
        Self {
            ring,
            detector,
            board,
            instruments,
            down: vec![false; venues.len()],
            left: vec![false; venues.len()],
            venues,
            origin,
            aside: vec![Aside::default(); places],
            ended: Vec::new(),
            delayed: Vec::new(),
            order: VecDeque::with_capacity(places),
            behind: false,
            pushed: false,
        }
    }

    /// Adds a venue. Takes the memory for it.
    pub fn join(&mut self, venue: VenueId) {
        if self.venues.contains(&venue) {
            return;
        }
        self.venues.push(venue);
        self.down.push(false);
        self.left.push(false);
        self.aside.resize(self.venues.len() * self.instruments, Aside::default());
        self.order.reserve(self.aside.len() - self.order.len());
    }

    /// Hands over one event, or sets it aside.
    #[inline]
    pub fn push(&mut self, event: FeedEvent) {
        if self.behind && !self.catch_up() {
            return self.set_aside(event);
        }
        match self.ring.push(event) {
            Ok(()) => self.pushed = true,
            Err(rtrb::PushError::Full(event)) => self.set_aside(event),
        }
    }

    /// Whether something is set aside.
    #[must_use]
    pub const fn is_behind(&self) -> bool {
        self.behind
    }

    /// Whether nothing is set aside and at least half of the ring is free, for producers that can wait.
    #[must_use]
    pub(crate) fn has_room(&self) -> bool {
        !self.behind && self.ring.slots() * 2 >= self.ring.buffer().capacity()
    }

    /// Hands over what is set aside, as far as the ring has room, and wakes the detector if anything was handed over since
    /// the last call. To be called once per turn. Returns whether anything was handed over.
    pub fn settle(&mut self) -> bool {
        if self.behind {
            self.catch_up();
        }
        let pushed = std::mem::take(&mut self.pushed);
        if pushed || self.behind {
            self.detector.ring();
        }
        pushed
    }

    #[cold]
    fn set_aside(&mut self, event: FeedEvent) {
        self.behind = true;
        match event {
            FeedEvent::Quote(quote) => {
                let Some(place) = self.place(quote.instrument, quote.venue) else { return };
                self.board.venues[quote.venue.index()].quotes.ring_conflated.add(1);
                self.left[place / self.instruments] = false;
                let is_conflated = self.aside[place].quote.is_some();
                self.aside[place].quote = Some(Quote { is_conflated, ..quote });
                self.queue(place);
            }
            FeedEvent::Void(instrument, venue, _, why) => {
                let Some(place) = self.place(instrument, venue) else { return };
                self.aside[place] = Aside { void: Some(why), quote: None, ..self.aside[place] };
                self.queue(place);
            }
            FeedEvent::Down(venue, _) => {
                let Some(at) = self.venues.iter().position(|v| *v == venue) else { return };
                self.down[at] = true;
                // One event voids all of it.
                for aside in &mut self.aside[at * self.instruments..][..self.instruments] {
                    *aside = Aside { queued: aside.queued, ..Aside::default() };
                }
            }
            FeedEvent::Left(venue) => {
                if let Some(at) = self.venues.iter().position(|v| *v == venue) {
                    self.left[at] = true;
                }
            }
            // The next one has all that this one says.
            FeedEvent::Clock(..) => {}
            FeedEvent::LineEnded(venue, line) => self.ended.push((venue, line)),
            FeedEvent::Behind(venue, line, is_behind) => {
                let at = self.delayed.iter().position(|delayed| delayed.line == line).unwrap_or_else(|| {
                    self.delayed.push(Delayed { venue, line, begins: false, ends: false });
                    self.delayed.len() - 1
                });
                let delayed = &mut self.delayed[at];
                (delayed.begins, delayed.ends) = (delayed.begins || is_behind, !is_behind);
            }
        }
    }

    fn place(&self, instrument: InstrumentId, venue: VenueId) -> Option<usize> {
        let at = self.venues.iter().position(|v| *v == venue)?;
        (instrument.index() < self.instruments).then(|| at * self.instruments + instrument.index())
    }

    fn queue(&mut self, place: usize) {
        if !std::mem::replace(&mut self.aside[place].queued, true) {
            self.order.push_back(place as u32);
        }
    }

    /// Moves what is set aside into the ring. `false` if the ring is full before all of it is moved.
    fn catch_up(&mut self) -> bool {
        for at in 0..self.delayed.len() {
            if self.delayed[at].begins && !self.push_delayed(at, true) {
                return false;
            }
            self.delayed[at].begins = false;
        }
        while let Some(&(venue, line)) = self.ended.last() {
            if self.ring.push(FeedEvent::LineEnded(venue, line)).is_err() {
                return false;
            }
            self.ended.pop();
            self.pushed = true;
        }
        for at in 0..self.down.len() {
            if self.down[at] {
                if self.ring.push(FeedEvent::Down(self.venues[at], self.origin)).is_err() {
                    return false;
                }
                (self.down[at], self.pushed) = (false, true);
            }
        }
        while let Some(&place) = self.order.front() {
            if !self.hand_over(place as usize) {
                return false;
            }
            self.aside[place as usize].queued = false;
            self.order.pop_front();
        }
        for at in 0..self.left.len() {
            if self.left[at] {
                if self.ring.push(FeedEvent::Left(self.venues[at])).is_err() {
                    return false;
                }
                (self.left[at], self.pushed) = (false, true);
            }
        }
        while let Some(at) = self.delayed.len().checked_sub(1) {
            if self.delayed[at].ends && !self.push_delayed(at, false) {
                return false;
            }
            self.delayed.pop();
        }
        self.behind = false;
        true
    }

    fn push_delayed(&mut self, at: usize, is_behind: bool) -> bool {
        let Delayed { venue, line, .. } = self.delayed[at];
        let is_pushed = self.ring.push(FeedEvent::Behind(venue, line, is_behind)).is_ok();
        self.pushed |= is_pushed;
        is_pushed
    }

    fn hand_over(&mut self, place: usize) -> bool {
        let venue = self.venues[place / self.instruments];
        let instrument = InstrumentId((place % self.instruments) as u32);
        let aside = &mut self.aside[place];
        if let Some(why) = aside.void {
            if self.ring.push(FeedEvent::Void(instrument, venue, self.origin, why)).is_err() {
                return false;
            }
            (aside.void, self.pushed) = (None, true);
        }
        if let Some(quote) = aside.quote {
            if self.ring.push(FeedEvent::Quote(quote)).is_err() {
                return false;
            }
            (aside.quote, self.pushed) = (None, true);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::MonoNs;
    use proptest::prelude::*;

    const VENUES: [VenueId; 2] = [VenueId(1), VenueId(3)];

    fn handover(capacity: usize) -> (Handover, rtrb::Consumer<FeedEvent>, Arc<Board>) {
        let (ring, events) = rtrb::RingBuffer::new(capacity);
        let board = Arc::new(Board::new(MonoNs(0), 4, 0));
        let (alarm, _) = Alarm::of_parker();
        (Handover::new(ring, alarm, Arc::clone(&board), VENUES.to_vec(), 3, Origin::Own), events, board)
    }

    fn quote(venue: VenueId, instrument: u32, sequence: u64) -> FeedEvent {
        FeedEvent::Quote(Quote { venue, instrument: InstrumentId(instrument), sequence, ..Quote::default() })
    }

    fn conflated(venue: VenueId, instrument: u32, sequence: u64) -> FeedEvent {
        let FeedEvent::Quote(quote) = quote(venue, instrument, sequence) else { unreachable!() };
        FeedEvent::Quote(Quote { is_conflated: true, ..quote })
    }

    #[test]
    fn with_a_full_ring_the_newest_quote_of_each_instrument_is_delivered() {
        let (mut handover, mut events, board) = handover(1);
        for sequence in 1..=100 {
            handover.push(quote(VENUES[0], 0, sequence));
            handover.push(quote(VENUES[1], 2, sequence));
        }
        assert_eq!(board.venues[1].quotes.ring_conflated.value() + board.venues[3].quotes.ring_conflated.value(), 199);
        let mut seen = Vec::new();
        while handover.is_behind() {
            seen.extend(events.pop());
            handover.settle();
        }
        seen.extend(events.pop());
        assert_eq!(seen, [quote(VENUES[0], 0, 1), conflated(VENUES[1], 2, 100), conflated(VENUES[0], 0, 100)]);
    }

    #[test]
    fn with_room_in_the_ring_nothing_is_conflated() {
        let (mut handover, mut events, _) = handover(8);
        for round in 0..1000 {
            handover.push(quote(VENUES[0], 1, round));
            handover.push(FeedEvent::Down(VENUES[1], Origin::Own));
            assert_eq!(events.pop(), Ok(quote(VENUES[0], 1, round)));
            assert_eq!(events.pop(), Ok(FeedEvent::Down(VENUES[1], Origin::Own)));
        }
    }

    /// What a reader knows of each (venue, instrument): the sequence of the last quote, unless it is void.
    #[derive(Debug, Default, PartialEq)]
    struct Known {
        quotes: [[Option<u64>; 3]; 2],
        behind: [bool; 2],
    }

    impl Known {
        fn hear(&mut self, event: FeedEvent) {
            let at = |venue: VenueId| usize::from(venue == VENUES[1]);
            match event {
                FeedEvent::Quote(q) => {
                    let belief = &mut self.quotes[at(q.venue)][q.instrument.index()];
                    assert!(belief.is_none_or(|last| last < q.sequence), "out of order");
                    *belief = Some(q.sequence);
                }
                FeedEvent::Void(instrument, venue, ..) => self.quotes[at(venue)][instrument.index()] = None,
                FeedEvent::Down(venue, _) => self.quotes[at(venue)] = [None; 3],
                FeedEvent::Left(_) | FeedEvent::LineEnded(..) | FeedEvent::Clock(..) => {}
                FeedEvent::Behind(venue, _, is_behind) => self.behind[at(venue)] = is_behind,
            }
        }
    }

    #[test]
    fn a_void_is_delivered_even_if_a_newer_quote_follows() {
        let (mut handover, mut events, _) = handover(1);
        handover.push(quote(VENUES[0], 0, 1));
        handover.push(FeedEvent::Void(InstrumentId(0), VENUES[0], Origin::Own, BookVoid::Gap));
        handover.push(quote(VENUES[0], 0, 2));
        handover.push(FeedEvent::Down(VENUES[1], Origin::Own));
        handover.push(quote(VENUES[1], 0, 3));
        let mut seen = Vec::new();
        loop {
            handover.settle();
            let Ok(event) = events.pop() else { break };
            seen.push(event);
        }
        let void = FeedEvent::Void(InstrumentId(0), VENUES[0], Origin::Own, BookVoid::Gap);
        let [first, second, third] = [(0, 1), (0, 2), (1, 3)].map(|(venue, n)| quote(VENUES[venue], 0, n));
        assert_eq!(seen, [first, FeedEvent::Down(VENUES[1], Origin::Own), void, second, third]);
    }

    #[test]
    fn leaving_a_venue_is_delivered_after_its_last_quote() {
        let (mut handover, mut events, _) = handover(1);
        handover.push(quote(VENUES[0], 0, 1));
        handover.push(quote(VENUES[0], 0, 2));
        handover.push(FeedEvent::Left(VENUES[0]));
        let mut seen = Vec::new();
        loop {
            handover.settle();
            let Ok(event) = events.pop() else { break };
            seen.push(event);
        }
        assert_eq!(seen, [quote(VENUES[0], 0, 1), quote(VENUES[0], 0, 2), FeedEvent::Left(VENUES[0])]);
    }

    #[test]
    fn with_a_full_ring_a_backlog_is_delivered_before_its_quotes_and_its_end_after_them() {
        let (mut handover, mut events, _) = handover(1);
        let line = LineId::own(7);
        handover.push(quote(VENUES[0], 0, 1));
        handover.push(FeedEvent::Behind(VENUES[0], line, true));
        handover.push(quote(VENUES[0], 0, 2));
        handover.push(FeedEvent::Behind(VENUES[0], line, false));
        let mut seen = Vec::new();
        loop {
            handover.settle();
            let Ok(event) = events.pop() else { break };
            seen.push(event);
        }
        let behind = |is_behind| FeedEvent::Behind(VENUES[0], line, is_behind);
        assert_eq!(seen, [quote(VENUES[0], 0, 1), behind(true), quote(VENUES[0], 0, 2), behind(false)]);
    }

    proptest! {
        #[test]
        fn a_slow_reader_ends_with_the_same_state(
            steps in prop::collection::vec((0u8..10, 0usize..2, 0u32..3, 0u8..3), 0..300),
            capacity in 1usize..5,
        ) {
            let (mut handover, mut events, _) = handover(capacity);
            let (mut truth, mut heard) = (Known::default(), Known::default());
            for (sequence, (kind, venue, instrument, pops)) in (1..).zip(steps) {
                let event = match kind {
                    0 => FeedEvent::Down(VENUES[venue], Origin::Own),
                    1 => FeedEvent::Void(InstrumentId(instrument), VENUES[venue], Origin::Own, BookVoid::Gap),
                    2 | 3 => FeedEvent::Behind(VENUES[venue], LineId::own(venue as u32 + 1), kind == 2),
                    _ => quote(VENUES[venue], instrument, sequence),
                };
                truth.hear(event);
                handover.push(event);
                for event in (0..pops).map_while(|_| events.pop().ok()) {
                    heard.hear(event);
                }
                handover.settle();
            }
            loop {
                handover.settle();
                let Ok(event) = events.pop() else { break };
                heard.hear(event);
            }
            prop_assert!(!handover.is_behind());
            prop_assert_eq!(truth, heard);
        }
    }
}
