//! Scanning one instrument's row: which venues can be bought and sold against each other above the bar.
//!
//! Floats pick candidates, integers decide. A row of floats (best ask, best bid per venue) is scanned on
//! each quote; only when its lowest ask and highest bid come near the bar are the exact quotes looked at.

use crate::market::opportunity::Bar;
use crate::market::rule::DetectorOptions;
use crate::market::{Decimal, InstrumentId, VenueId};
use crate::matrix::CellQuote;

/// Rows are padded to a multiple of this, so that the scan has no remainder loop.
const LANES: usize = 8;

/// The float mirror of the matrix.
pub struct Spreads {
    venues: usize,
    stride: usize,
    /// Per instrument: asks of all venues, then bids of all venues. No quote: ask infinite, bid 0.
    rows: Vec<f64>,
    /// Per instrument: a bit for each venue that has a quote.
    quoting: Vec<u64>,
    /// Per instrument: a bit for each venue that once had no quote.
    absent: Vec<u64>,
    /// By venue: whether its fee counts in the floor.
    known: Vec<bool>,
    /// The lowest taker fee in percent.
    lowest_fee: Decimal,
    options: DetectorOptions,
    /// A row whose highest bid is not above its lowest ask times this has no opportunity.
    ratio_floor: f64,
    /// The same for the gross spread,
    gross_floor: f64,
    /// and for a quarter of the threshold.
    worth_floor: f64,
}

impl Spreads {
    /// An empty spreads for `instruments` rows of the venues whose taker fees (percent) are given.
    #[must_use]
    pub fn new(instruments: usize, taker_fees_pct: &[Decimal], options: &DetectorOptions) -> Self {
        Self::with_room(instruments, taker_fees_pct.len(), taker_fees_pct, options)
    }

    /// The same with room for `venues` venues in all, which [`Self::admit`] adds.
    #[must_use]
    pub fn with_room(instruments: usize, venues: usize, taker_fees_pct: &[Decimal], options: &DetectorOptions) -> Self {
        let stride = venues.next_multiple_of(LANES);
        let mut rows = vec![0.0; instruments * stride * 2];
        for row in rows.chunks_exact_mut(stride * 2) {
            row[..stride].fill(f64::INFINITY);
        }
        let mut spreads = Self {
            venues,
            stride,
            rows,
            quoting: vec![0; instruments],
            absent: vec![0; instruments],
            known: (0..venues).map(|at| at < taker_fees_pct.len()).collect(),
            lowest_fee: Decimal::ZERO,
            options: *options,
            ratio_floor: 0.0,
            gross_floor: Bar::gross(options.threshold_pct).ratio_floor(),
            worth_floor: 1.0 + options.threshold_pct.to_f64() / 400.0 * (1.0 - 1e-9),
        };
        spreads.set_lowest_fee(taker_fees_pct.iter().copied().min().unwrap_or(Decimal::new(100, 0)));
        spreads
    }

    /// Whether the fee of `venue` is known, without which nothing of it may be scanned.
    #[inline]
    #[must_use]
    pub(crate) fn knows(&self, venue: VenueId) -> bool {
        self.known[venue.index()]
    }

    /// From now on `venue` takes part.
    #[cold]
    pub(crate) fn admit(&mut self, venue: VenueId, taker_fee_pct: Decimal) {
        self.known[venue.index()] = true;
        self.set_lowest_fee(taker_fee_pct.min(self.lowest_fee));
    }

    /// No taker fee is lower than `fee_pct` percent from now on.
    #[cold]
    pub(crate) fn set_lowest_fee(&mut self, fee_pct: Decimal) {
        self.lowest_fee = fee_pct;
        self.ratio_floor = self.options.bar(fee_pct, fee_pct).ratio_floor();
    }

    /// Whether an opportunity that is open at `ask` and `bid`, with these taker fees in percent, stays open. Exact.
    #[must_use]
    pub(crate) fn stays_open(
        &self,
        (ask, bid): (Decimal, Decimal),
        (buy_fee_pct, sell_fee_pct): (Decimal, Decimal),
    ) -> bool {
        let DetectorOptions { threshold_pct, close_ratio, .. } = self.options;
        let bar = self.options.bar(buy_fee_pct, sell_fee_pct);
        bar.at_ratio(threshold_pct, close_ratio).is_exceeded(ask, bid)
    }

    /// A bit for each venue that has a quote of `instrument`.
    #[inline]
    #[must_use]
    pub fn quoting(&self, instrument: InstrumentId) -> u64 {
        self.quoting[instrument.index()]
    }

    /// The mid of `venue`, which has a quote of `instrument`.
    #[inline]
    #[must_use]
    pub(crate) fn mid(&self, instrument: InstrumentId, venue: VenueId) -> f64 {
        let at = instrument.index() * self.stride * 2 + venue.index();
        (self.rows[at] + self.rows[at + self.stride]) / 2.0
    }

    /// The venue's top of book is this now.
    #[inline]
    pub fn set(&mut self, instrument: InstrumentId, venue: VenueId, bid: Decimal, ask: Decimal) {
        let at = instrument.index() * self.stride * 2 + venue.index();
        self.rows[at] = ask.to_f64();
        self.rows[at + self.stride] = bid.to_f64();
        self.quoting[instrument.index()] |= 1 << venue.index();
    }

    /// The venue has no quote that holds.
    pub fn clear(&mut self, instrument: InstrumentId, venue: VenueId) {
        let at = instrument.index() * self.stride * 2 + venue.index();
        self.rows[at] = f64::INFINITY;
        self.rows[at + self.stride] = 0.0;
        self.quoting[instrument.index()] &= !(1 << venue.index());
        self.absent[instrument.index()] |= 1 << venue.index();
    }

    /// The venues of the row that have a quote which holds, with its mid.
    pub(crate) fn mids(&self, instrument: InstrumentId) -> impl Iterator<Item = (VenueId, f64)> {
        let row = &self.rows[instrument.index() * self.stride * 2..][..self.stride * 2];
        let (asks, bids) = row.split_at(self.stride);
        let sides = asks.iter().zip(bids).enumerate().filter(|(_, (ask, _))| ask.is_finite());
        sides.map(|(at, (ask, bid))| (VenueId(at as u16), (ask + bid) / 2.0))
    }

    /// Whether the row may hold an opportunity: never says no when there is one.
    #[inline]
    #[must_use]
    pub fn has_candidate(&self, instrument: InstrumentId) -> bool {
        self.may_exceed(instrument, self.ratio_floor)
    }

    /// Whether the highest bid of the row is above its lowest ask times `floor`.
    #[inline]
    fn may_exceed(&self, instrument: InstrumentId, floor: f64) -> bool {
        let row = &self.rows[instrument.index() * self.stride * 2..][..self.stride * 2];
        let (asks, bids) = row.split_at(self.stride);
        let mut low = [f64::INFINITY; LANES];
        let mut high = [0.0f64; LANES];
        for (asks, bids) in asks.chunks_exact(LANES).zip(bids.chunks_exact(LANES)) {
            for lane in 0..LANES {
                low[lane] = if asks[lane] < low[lane] { asks[lane] } else { low[lane] };
                high[lane] = if bids[lane] > high[lane] { bids[lane] } else { high[lane] };
            }
        }
        let low = low.into_iter().fold(f64::INFINITY, |a, b| if b < a { b } else { a });
        let high = high.into_iter().fold(0.0, |a, b| if b > a { b } else { a });
        high > low * floor
    }

    /// All pairs of the row whose spread is above the bar, exactly: `found(buy, sell, buy's cell, sell's cell)`, buyer by
    /// buyer in venue order. `fee`: a venue's taker fee of this instrument in percent.
    pub fn scan(
        &self,
        instrument: InstrumentId,
        cell: impl Fn(VenueId) -> CellQuote,
        fee: impl Fn(VenueId) -> Decimal,
        mut found: impl FnMut(VenueId, VenueId, &CellQuote, &CellQuote),
    ) {
        let row = &self.rows[instrument.index() * self.stride * 2..][..self.stride * 2];
        let (asks, bids) = row.split_at(self.stride);
        for (buy, ask) in asks[..self.venues].iter().enumerate() {
            for (sell, bid) in bids[..self.venues].iter().enumerate() {
                if *bid <= ask * self.ratio_floor || buy == sell {
                    continue;
                }
                let (buy, sell) = (VenueId(buy as u16), VenueId(sell as u16));
                let (from, to) = (cell(buy), cell(sell));
                if self.is_above((from.ask.price, to.bid.price), (fee(buy), fee(sell))) {
                    found(buy, sell, &from, &to);
                }
            }
        }
    }

    /// Whether buying at `ask` and selling at `bid`, with these taker fees in percent, is above the threshold. Exact.
    #[must_use]
    pub fn is_above(&self, (ask, bid): (Decimal, Decimal), (buy_fee_pct, sell_fee_pct): (Decimal, Decimal)) -> bool {
        self.options.bar(buy_fee_pct, sell_fee_pct).is_exceeded(ask, bid)
    }

    /// Routes of the row whose net spread may be above a quarter of the threshold: `found(buy, sell)`.
    pub(crate) fn worth_a_memory(&self, instrument: InstrumentId, mut found: impl FnMut(VenueId, VenueId)) {
        if !self.may_exceed(instrument, self.worth_floor) {
            return;
        }
        let row = &self.rows[instrument.index() * self.stride * 2..][..self.stride * 2];
        let (asks, bids) = row.split_at(self.stride);
        for (buy, ask) in asks[..self.venues].iter().enumerate() {
            for (sell, bid) in bids[..self.venues].iter().enumerate() {
                if *bid > ask * self.worth_floor && buy != sell {
                    found(VenueId(buy as u16), VenueId(sell as u16));
                }
            }
        }
    }

    /// Whether a candidate of the row may be refused: a venue's last quote does not hold, or the gross spread may be above
    /// the threshold.
    #[must_use]
    pub(crate) fn may_be_refused(&self, instrument: InstrumentId) -> bool {
        self.absent[instrument.index()] & !self.quoting(instrument) != 0
            || self.may_exceed(instrument, self.gross_floor)
    }
}
