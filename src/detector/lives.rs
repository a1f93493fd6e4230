//! What the timestamps of connections show about the quotes in the matrix: since when each side has its price, and until
//! when that is certain. Written with each quote; allocates only at the start.

use crate::detector::proof::{Bounds, LegEnd, LegLife};
use crate::market::quote::{LineClock, LineId, StampOrder};
use crate::market::{Decimal, Quote};
use crate::time::{MonoNs, UnixNs};

/// A connection's slot is given by the lowest bits of its number. If two open connections have the same bits, only the
/// one that sent last is known, and no quote of the other is proven.
const SLOTS: usize = 4096;

/// What is known about each connection.
pub(crate) struct LineClocks {
    slots: Box<[LineSlot]>,
}

#[derive(Clone, Copy, Default)]
struct LineSlot {
    line: LineId,
    clock: Option<LineClock>,
    /// All changes before this time have arrived, if the venue sends in the order of its stamps.
    until: MonoNs,
}

impl Default for LineClocks {
    fn default() -> Self {
        Self { slots: vec![LineSlot::default(); SLOTS].into() }
    }
}

impl LineClocks {
    #[inline]
    fn slot_mut(&mut self, line: LineId) -> &mut LineSlot {
        let slot = &mut self.slots[line.number() % SLOTS];
        if slot.line != line {
            *slot = LineSlot { line, ..LineSlot::default() };
        }
        slot
    }

    fn slot(&self, line: LineId) -> LineSlot {
        let slot = self.slots[line.number() % SLOTS];
        if slot.line == line { slot } else { LineSlot::default() }
    }

    /// Whether `line` as a whole is late.
    #[must_use]
    pub(crate) fn is_lagging(&self, line: LineId) -> bool {
        self.slot(line).clock.is_some_and(|clock| clock.is_lagging)
    }

    /// Sets the clock of `line`, as measured at `now`. Returns whether the line begins or ceases to lag.
    pub fn set(&mut self, line: LineId, clock: LineClock, now: MonoNs) -> bool {
        let slot = self.slot_mut(line);
        let was_lagging = slot.clock.replace(clock).is_some_and(|clock| clock.is_lagging);
        if clock.witnessed.0 != 0 {
            slot.until = slot.until.max(slot.bounds(clock.witnessed, now).earliest);
        }
        was_lagging != clock.is_lagging
    }

    /// Notes the timestamp of a quote; returns the bounds of the time at which its top changed.
    #[inline]
    fn note(&mut self, quote: &Quote) -> Bounds {
        if !quote.line.is_own() {
            // The clock of a leader's connection is not known here, so it needs no slot.
            return Bounds { earliest: MonoNs(0), latest: quote.received.max(quote.decoded) };
        }
        let slot = self.slot_mut(quote.line);
        let bounds = slot.bounds(quote.exchange_time, quote.received.max(quote.decoded));
        if quote.exchange_time.0 != 0 {
            slot.until = slot.until.max(bounds.earliest);
        }
        bounds
    }
}

impl LineSlot {
    /// The bounds of the time with this timestamp, of a message that arrived at `arrived`. Without a timestamp, or while
    /// the venue's clock is unknown, only the arrival bounds it.
    #[inline]
    fn bounds(&self, stamp: UnixNs, arrived: MonoNs) -> Bounds {
        let Some((clock, error_ns)) = self.clock.and_then(|clock| Some((clock, clock.error_ns?))) else {
            return Bounds { earliest: MonoNs(0), latest: arrived };
        };
        if stamp.0 == 0 {
            return Bounds { earliest: MonoNs(0), latest: arrived };
        }
        let at = stamp.0.saturating_add_signed(clock.offset_ns);
        let earliest = at.saturating_sub(error_ns.saturating_add(clock.slack_ns));
        Bounds { earliest: MonoNs(earliest).min(arrived), latest: MonoNs(at.saturating_add(error_ns)).min(arrived) }
    }
}

/// One side of a cell.
#[derive(Clone, Copy, Debug, Default)]
struct SideLife {
    price: Decimal,
    begun: Bounds,
    before: FormerPrice,
}

/// The last price before the present one, which ended when that began.
#[derive(Clone, Copy, Debug, Default)]
struct FormerPrice {
    price: Decimal,
    begun: Bounds,
}

/// What is known about the quote of one cell; by default nothing.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CellLife {
    ask: SideLife,
    bid: SideLife,
    /// The price of both sides is certain until then, if the venue sends the quotes of an instrument in order.
    until: MonoNs,
    line: LineId,
    is_stamped: bool,
}

impl SideLife {
    #[inline]
    fn take(&mut self, price: Decimal, at: Bounds) {
        if self.price != price {
            // The first quote of a connection may repeat a price that has stood for long.
            let at = if self.price.is_zero() { Bounds { earliest: MonoNs(0), ..at } } else { at };
            *self = Self { price, begun: at, before: FormerPrice { price: self.price, begun: self.begun } };
        }
    }
}

impl CellLife {
    /// The quote was accepted.
    #[inline]
    pub fn take(&mut self, quote: &Quote, lines: &mut LineClocks) {
        let at = lines.note(quote);
        let is_stamped = quote.exchange_time.0 != 0;
        if self.line != quote.line || self.is_stamped != is_stamped || quote.is_conflated {
            *self = Self { line: quote.line, is_stamped, ..Self::default() };
        }
        self.ask.take(quote.ask.price, at);
        self.bid.take(quote.bid.price, at);
        self.until = self.until.max(at.earliest);
    }

    /// The life of the ask at its present price.
    #[must_use]
    pub fn ask(&self, lines: &LineClocks) -> LegLife {
        self.life(&self.ask, lines)
    }

    /// The life of the bid at its present price.
    #[must_use]
    pub fn bid(&self, lines: &LineClocks) -> LegLife {
        self.life(&self.bid, lines)
    }

    /// State of the ask at the end of an opportunity that had it at `price`.
    #[must_use]
    pub(crate) fn ask_end(&self, price: Decimal, lines: &LineClocks) -> LegEnd {
        self.end(&self.ask, price, lines)
    }

    /// State of the bid at the end of an opportunity that had it at `price`.
    #[must_use]
    pub(crate) fn bid_end(&self, price: Decimal, lines: &LineClocks) -> LegEnd {
        self.end(&self.bid, price, lines)
    }

    fn life(&self, side: &SideLife, lines: &LineClocks) -> LegLife {
        let slot = lines.slot(self.line);
        let order = slot.clock.map_or(StampOrder::None, |clock| clock.order);
        let until = match order {
            StampOrder::Connection => slot.until.max(self.until),
            StampOrder::Channel => self.until,
            StampOrder::None => MonoNs(0),
        };
        // The clock of a venue at a cluster's leader is unknown here.
        let is_stamped = self.is_stamped && (self.line.is_own() || slot.clock.is_some());
        LegLife {
            begun: side.begun,
            until,
            error_ns: slot.clock.and_then(|clock| clock.error_ns),
            unit_ns: slot.clock.map_or(1, |clock| clock.unit_ns),
            is_stamped: is_stamped || (order == StampOrder::Connection && self.line != LineId::NONE),
        }
    }

    fn end(&self, side: &SideLife, price: Decimal, lines: &LineClocks) -> LegEnd {
        let life = self.life(side, lines);
        if self.line == LineId::NONE || side.price == price {
            return LegEnd { life, moved: None };
        }
        let moved = Some(side.begun.latest);
        if side.before.price != price {
            // The price moved more than once. What the first move showed is lost.
            return LegEnd { life: LegLife { until: MonoNs(0), ..life }, moved };
        }
        let until = if life.until == MonoNs(0) { MonoNs(0) } else { side.begun.earliest };
        LegEnd { life: LegLife { begun: side.before.begun, until, ..life }, moved }
    }
}
