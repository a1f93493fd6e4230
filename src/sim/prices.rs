//! Seeded price paths for simulated venues. In: a seed and steps. Each step changes the top of book of one instrument
//! on one venue. Pure: no clock, no socket; the same seed gives the same sequence.
//!
//! All venues of an instrument follow one common path, a geometric random walk. Each venue has an offset that is pulled
//! back to zero, so that venues stay close to each other. Every few seconds one venue is pushed away from the others
//! for a while, which opens and closes a real opportunity. A venue is never crossed, and all mids of an instrument stay
//! within 3 % of each other.

use rustc_hash::FxHashMap;

use crate::market::{Decimal, Level};
use crate::random::Random;
use crate::sim::rolling_24h::{BAR_NS, PriceHistory, Rolling24h};
use crate::sim::ticks::{self, Precision};
use crate::time::{SECOND, UnixNs};
use crate::venues::{Listed, Market, Venue, VenueQuote};

/// How active the simulated market is.
#[derive(Clone, Copy, Debug)]
pub struct Liveliness {
    /// Steps per second of virtual time; each is one changed top of book. Above 0.
    pub rate: f64,
    /// Mean time between two openings of an opportunity, in milliseconds; 0: none opens.
    pub opportunity_every_ms: u64,
}

/// How large opportunities are when they open, and how long they stay open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Openings {
    /// From 0.65 to 1.95 %, for one to five seconds.
    #[default]
    Long,
    /// From 0.55 to 1.95 %, for 10 ms to 8 s; small and short ones are more frequent.
    Varied,
}

impl Openings {
    /// The gross spread as a fraction, and the duration in nanoseconds.
    fn draw(self, random: &mut Random) -> (f64, u64) {
        match self {
            Self::Long => {
                let gross = random.between(OPENING_GROSS.0, OPENING_GROSS.1);
                (gross, random.between(OPENING_NS.0, OPENING_NS.1) as u64)
            }
            Self::Varied => {
                let mut draw = |(least, most): (f64, f64)| least * (most / least).powf(random.unit());
                (draw(VARIED_GROSS), draw(VARIED_NS) as u64)
            }
        }
    }
}

/// Index of an instrument on a venue within [`SimPrices`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CellId(pub u32);

/// The tops of book of all simulated venues.
pub struct SimPrices {
    cells: Vec<MarketCell>,
    instruments: Vec<SimInstrument>,
    paths: Vec<Path>,
    natives: Vec<FxHashMap<String, CellId>>,
    random: Random,
    /// All cells in random order; each one changes once per round.
    round: Vec<CellId>,
    next_in_round: usize,
    /// Virtual time since the start.
    elapsed_ns: u64,
    step_ns: u64,
    opening_every_ns: u64,
    next_opening_ns: u64,
    openings: Openings,
    next_bar_ns: u64,
}

struct MarketCell {
    venue: usize,
    instrument: usize,
    precision: Precision,
    quote: VenueQuote,
    rolling: Rolling24h,
    /// Distance from the common path as a fraction of it.
    offset: f64,
    /// Half of the usual distance between bid and ask, as a fraction of the mid.
    half_spread: f64,
    /// Displacement by an opportunity, as a fraction; 0 without one.
    push: f64,
    changed_ns: u64,
    /// Set by hand; the paths do not change it.
    held: bool,
    /// The quote when [`SimPrices::remember`] was last called.
    past: Option<VenueQuote>,
}

struct SimInstrument {
    symbol: String,
    path: usize,
    cells: Vec<CellId>,
    opportunity: Option<OpeningPrices>,
}

#[derive(Clone, Copy)]
struct OpeningPrices {
    cell: CellId,
    ends_ns: u64,
}

struct Path {
    start: f64,
    now: f64,
    moved_ns: u64,
}

/// Deviation of the common path after one second, as a fraction of the price: 4.4 % in a day.
const PATH_MOVE: f64 = 1.5e-4;
/// The longest time that one move of the path accounts for, so that slow rates cannot separate the venues.
const PATH_MOVE_NS_MAX: u64 = SECOND / 2;
/// The path is limited to this factor above and below its start.
const PATH_RANGE: f64 = 5.0;
/// Deviation of one move of a venue's offset.
const OFFSET_MOVE: f64 = 0.4e-4;
/// Share of the offset that each of its moves removes.
const OFFSET_PULL: f64 = 0.05;
/// Limit of a venue's offset from the common path.
const OFFSET_MAX: f64 = 8e-4;
/// Range of the gross spread of an opportunity when it opens, as a fraction.
const OPENING_GROSS: (f64, f64) = (0.0065, 0.0195);
/// How long an opportunity stays open, in nanoseconds.
const OPENING_NS: (f64, f64) = (1e9, 5e9);
/// The same for [`Openings::Varied`].
const VARIED_GROSS: (f64, f64) = (0.0055, 0.0195);
const VARIED_NS: (f64, f64) = (1e7, 8e9);
/// Limit of a push, even if other prices were set by hand.
const PUSH_MAX: f64 = 0.022;
/// Range of the value of one side of a top of book, in US dollars.
const NOTIONAL_USD: (f64, f64) = (400.0, 60_000.0);

impl SimPrices {
    /// The market of `venues` and `instruments` (base, quote). A venue gets the instruments that it can name and is
    /// known to list. All prices are set, as of `now`.
    #[must_use]
    pub fn new(
        venues: &[&'static dyn Venue],
        instruments: &[(String, String)],
        seed: u64,
        liveliness: Liveliness,
        now: UnixNs,
    ) -> Self {
        let mut prices = Self {
            cells: Vec::new(),
            instruments: Vec::new(),
            paths: Vec::new(),
            natives: vec![FxHashMap::default(); venues.len()],
            random: Random::new(seed),
            round: Vec::new(),
            next_in_round: 0,
            elapsed_ns: 0,
            step_ns: (SECOND as f64 / liveliness.rate).clamp(1.0, 1e15) as u64,
            opening_every_ns: liveliness.opportunity_every_ms.saturating_mul(SECOND / 1000),
            next_opening_ns: 0,
            openings: Openings::default(),
            next_bar_ns: BAR_NS,
        };
        let mut paths: FxHashMap<String, (usize, PriceHistory)> = FxHashMap::default();
        for (base, quote) in instruments {
            // Dollars and dollar coins share a path: BTC/USD and BTC/USDT move together.
            let key = if ticks::is_dollar(quote) { base.clone() } else { format!("{base}/{quote}") };
            let next = prices.paths.len();
            let random = &mut prices.random;
            let (path, history) = paths.entry(key).or_insert_with(|| (next, PriceHistory::new(random)));
            if *path == next {
                let start = ticks::price(base, quote);
                prices.paths.push(Path { start, now: start, moved_ns: 0 });
            }
            prices.add(venues, (base, quote), *path, history, now);
        }
        prices.next_opening_ns = prices.until_next_opening();
        prices
    }

    fn add(
        &mut self,
        venues: &[&'static dyn Venue],
        (base, quote): (&str, &str),
        path: usize,
        history: &PriceHistory,
        now: UnixNs,
    ) {
        let instrument = self.instruments.len();
        let symbol = format!("{base}/{quote}");
        self.instruments.push(SimInstrument { symbol, path, cells: Vec::new(), opportunity: None });
        for (venue, facts) in venues.iter().enumerate().map(|(at, v)| (at, v.facts())) {
            let Ok(native) = venues[venue].native(base, quote) else { continue };
            // If two instruments have the same native symbol, the first one keeps it.
            if self.natives[venue].contains_key(&native) || !ticks::lists(facts.name, quote) {
                continue;
            }
            let id = CellId(self.cells.len() as u32);
            self.natives[venue].insert(native.clone(), id);
            let precision = ticks::of(facts.name, base, quote);
            let ticks = precision.ticks(self.paths[path].now);
            self.cells.push(MarketCell {
                venue,
                instrument,
                precision,
                quote: blank(native, now),
                rolling: Rolling24h::new(history, ticks, precision.price_decimals, ticks::day_volume(base, quote)),
                offset: self.random.bell() * OFFSET_MAX / 4.0,
                half_spread: self.random.between(0.3e-4, 2e-4),
                push: 0.0,
                changed_ns: 0,
                held: false,
                past: None,
            });
            self.round.push(id);
            self.instruments[instrument].cells.push(id);
            self.requote(id, now);
        }
    }

    /// Changes the top of book of one instrument on one venue and returns its cell. Returns `None` if nothing may
    /// change: there are no instruments, or the cell whose turn it is was set by hand. `now` is the venue's timestamp.
    pub fn step(&mut self, now: UnixNs) -> Option<CellId> {
        self.elapsed_ns += self.step_ns;
        while self.elapsed_ns >= self.next_bar_ns {
            self.next_bar_ns += BAR_NS;
            self.cells.iter_mut().for_each(|c| c.rolling.roll());
        }
        if let Some(id) = self.close_due() {
            self.drift(id);
            self.requote(id, now);
            return Some(id);
        }
        if let Some(id) = self.open_due(now) {
            return Some(id);
        }
        let id = self.next_of_round()?;
        if self.cell(id).held {
            return None;
        }
        self.drift(id);
        self.requote(id, now);
        Some(id)
    }

    fn next_of_round(&mut self) -> Option<CellId> {
        if self.next_in_round == 0 {
            self.random.shuffle(&mut self.round);
        }
        let id = *self.round.get(self.next_in_round)?;
        self.next_in_round = (self.next_in_round + 1) % self.round.len();
        Some(id)
    }

    fn close_due(&mut self) -> Option<CellId> {
        let now = self.elapsed_ns;
        let due = |i: &&mut SimInstrument| i.opportunity.is_some_and(|o| o.ends_ns <= now);
        let cell = self.instruments.iter_mut().find(due)?.opportunity.take()?.cell;
        self.cells[cell.0 as usize].push = 0.0;
        (!self.cell(cell).held).then_some(cell)
    }

    /// Opens an opportunity if one is due: pushes one venue above the asks or below the bids of the others.
    fn open_due(&mut self, now: UnixNs) -> Option<CellId> {
        if self.opening_every_ns == 0 || self.elapsed_ns < self.next_opening_ns || self.cells.is_empty() {
            return None;
        }
        self.next_opening_ns = self.elapsed_ns + self.until_next_opening();
        let id = CellId(self.random.below(self.cells.len()) as u32);
        let (at, up) = (self.cell(id).instrument, self.random.one_in(2));
        if self.cell(id).held || self.instruments[at].opportunity.is_some() {
            return None;
        }
        let others = self.instruments[at].cells.iter().filter(|&&c| c != id).map(|&c| &self.cell(c).quote);
        let target = if up {
            others.filter(|q| q.ask.is_present()).map(|q| q.ask.price.to_f64()).reduce(f64::min)?
        } else {
            others.filter(|q| q.bid.is_present()).map(|q| q.bid.price.to_f64()).reduce(f64::max)?
        };
        let (gross, length_ns) = self.openings.draw(&mut self.random);
        self.drift(id);
        self.requote(id, now);
        let quote = &self.cell(id).quote;
        let ratio = if up {
            target * (1.0 + gross) / quote.bid.price.to_f64()
        } else {
            target / (1.0 + gross) / quote.ask.price.to_f64()
        };
        let ends_ns = self.elapsed_ns + length_ns;
        self.instruments[at].opportunity = Some(OpeningPrices { cell: id, ends_ns });
        self.cells[id.0 as usize].push = (ratio - 1.0).clamp(-PUSH_MAX, PUSH_MAX);
        // The pushed quote is the only change of the venue in this step; the quote before it was only measured.
        self.cells[id.0 as usize].quote.sequence -= 1;
        self.requote(id, now);
        Some(id)
    }

    fn until_next_opening(&mut self) -> u64 {
        (self.opening_every_ns as f64 * self.random.between(0.5, 1.5)) as u64
    }

    /// Advances the common path and the venue's offset.
    fn drift(&mut self, id: CellId) {
        let path = self.instruments[self.cell(id).instrument].path;
        let path = &mut self.paths[path];
        let past_ns = (self.elapsed_ns - path.moved_ns).min(PATH_MOVE_NS_MAX);
        path.moved_ns = self.elapsed_ns;
        let moved = PATH_MOVE * (past_ns as f64 / SECOND as f64).sqrt() * self.random.bell();
        path.now = (path.now * (1.0 + moved)).clamp(path.start / PATH_RANGE, path.start * PATH_RANGE);
        let pull = OFFSET_MOVE * self.random.bell();
        let cell = &mut self.cells[id.0 as usize];
        cell.offset = (cell.offset * (1.0 - OFFSET_PULL) + pull).clamp(-OFFSET_MAX, OFFSET_MAX);
    }

    /// Computes the cell's quote from its current path, offset and push.
    fn requote(&mut self, id: CellId, now: UnixNs) {
        let cell = &mut self.cells[id.0 as usize];
        let path = &self.paths[self.instruments[cell.instrument].path];
        let mid = path.now * (1.0 + cell.offset) * (1.0 + cell.push);
        let half = cell.half_spread * self.random.between(0.7, 1.3);
        let bid = cell.precision.ticks_below(mid * (1.0 - half));
        let ask = cell.precision.ticks_above(mid * (1.0 + half)).max(bid + 1);
        let mut size = |ticks: u64, old: Decimal| {
            // Often only the size of one side changes.
            if !old.is_zero() && self.random.one_in(4) {
                return old;
            }
            let notional = NOTIONAL_USD.0 * (NOTIONAL_USD.1 / NOTIONAL_USD.0).powf(self.random.unit());
            cell.precision.size(notional / cell.precision.dollars_of(ticks))
        };
        let bid_level = Level { price: cell.precision.price(bid), size: size(bid, cell.quote.bid.size) };
        let mut ask_level = Level { price: cell.precision.price(ask), size: size(ask, cell.quote.ask.size) };
        if (bid_level, ask_level) == (cell.quote.bid, cell.quote.ask) {
            // A step must change something, so add one lot.
            ask_level.size = Decimal::new(ask_level.size.mantissa() + 1, ask_level.size.scale());
        }
        let share = (self.elapsed_ns - cell.changed_ns) as f64 / BAR_NS as f64;
        cell.rolling.trade(if self.random.one_in(2) { bid } else { ask }, share.min(1.0));
        cell.changed_ns = self.elapsed_ns;
        cell.state(bid_level, ask_level, now);
    }

    /// Sets a top of book by hand, exactly as given, even crossed, one-sided or absurd. The paths do not change it
    /// until [`Self::release`].
    pub fn set_quote(&mut self, id: CellId, bid: Level, ask: Level, now: UnixNs) {
        let cell = &mut self.cells[id.0 as usize];
        cell.held = true;
        cell.state(bid, ask, now);
    }

    /// Returns a top of book that was set by hand to its path. It changes in its next step.
    pub fn release(&mut self, id: CellId) {
        self.cells[id.0 as usize].held = false;
    }

    /// Sets how large opportunities are from now on, and how long they last.
    pub(crate) const fn open_as(&mut self, openings: Openings) {
        self.openings = openings;
    }

    /// Quotes this cell again at `now`, with the next number.
    pub(crate) fn requote_as_is(&mut self, id: CellId, now: UnixNs) {
        let cell = &mut self.cells[id.0 as usize];
        let (bid, ask) = (cell.quote.bid, cell.quote.ask);
        cell.state(bid, ask, now);
    }

    /// Remembers the current quotes of a venue as its past ones.
    pub fn remember(&mut self, venue: usize) {
        for cell in self.cells.iter_mut().filter(|cell| cell.venue == venue) {
            cell.past = Some(cell.quote.clone());
        }
    }

    /// The past quotes of a venue: none unless they were remembered.
    pub fn past(&self, venue: usize) -> impl Iterator<Item = &VenueQuote> {
        self.cells.iter().filter(move |cell| cell.venue == venue).filter_map(|cell| cell.past.as_ref())
    }

    /// The cell of `symbol` (`BASE/QUOTE`) on the venue with this index.
    #[must_use]
    pub fn cell_of(&self, venue: usize, symbol: &str) -> Option<CellId> {
        let instrument = self.instruments.iter().find(|i| i.symbol == symbol)?;
        instrument.cells.iter().copied().find(|&c| self.cell(c).venue == venue)
    }

    /// All cells, in a fixed order.
    pub fn cells(&self) -> impl Iterator<Item = CellId> + use<> {
        (0..self.cells.len() as u32).map(CellId)
    }

    /// The venue index and the quote of a cell.
    #[must_use]
    pub fn quote(&self, id: CellId) -> (usize, &VenueQuote) {
        let cell = self.cell(id);
        (cell.venue, &cell.quote)
    }

    /// `BASE/QUOTE` of a cell.
    #[must_use]
    pub fn symbol(&self, id: CellId) -> &str {
        &self.instruments[self.cell(id).instrument].symbol
    }

    /// Virtual time between two steps, in nanoseconds.
    #[must_use]
    pub(crate) const fn step_ns(&self) -> u64 {
        self.step_ns
    }

    /// The market of the venue with this index, for its exchange side.
    #[must_use]
    pub const fn market(&self, venue: usize, now: UnixNs) -> VenueMarket<'_> {
        VenueMarket { prices: self, venue, now }
    }

    fn cell(&self, id: CellId) -> &MarketCell {
        &self.cells[id.0 as usize]
    }
}

impl MarketCell {
    fn state(&mut self, bid: Level, ask: Level, now: UnixNs) {
        self.quote.bid = bid;
        self.quote.ask = ask;
        self.quote.sequence += 1;
        self.quote.time = now;
        self.quote.day = self.rolling.statistics(now);
    }
}

/// The first quote gets sequence number 2.
fn blank(native: String, now: UnixNs) -> VenueQuote {
    let (bid, ask, day) = (Level::ABSENT, Level::ABSENT, Default::default());
    VenueQuote { native, bid, ask, sequence: 1, time: now, is_trading: true, day }
}

/// One venue's view of [`SimPrices`].
#[derive(Clone, Copy)]
pub struct VenueMarket<'a> {
    prices: &'a SimPrices,
    venue: usize,
    now: UnixNs,
}

impl Market for VenueMarket<'_> {
    fn quote(&self, native: &str) -> Option<VenueQuote> {
        let id = *self.prices.natives.get(self.venue)?.get(native)?;
        Some(self.prices.cell(id).quote.clone())
    }

    fn now(&self) -> UnixNs {
        self.now
    }

    fn listed(&self) -> Vec<Listed> {
        let of_venue = self.prices.cells.iter().filter(|cell| cell.venue == self.venue);
        let listed = of_venue.map(|cell| {
            let (base, quote) = self.prices.instruments[cell.instrument].symbol.split_once('/')?;
            Some(Listed {
                native: cell.quote.native.clone(),
                base: base.to_owned(),
                quote: quote.to_owned(),
                price_decimals: cell.precision.price_decimals,
                size_decimals: cell.precision.size_decimals,
                is_trading: cell.quote.is_trading,
            })
        });
        listed.flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::market::opportunity::gross_pct;
    use crate::sim::plain::PLAIN;
    use proptest::prelude::*;

    const LIVELY: Liveliness = Liveliness { rate: 200.0, opportunity_every_ms: 4000 };

    fn prices(seed: u64, liveliness: Liveliness) -> SimPrices {
        let instruments = crate::sim::default_instruments();
        SimPrices::new(PLAIN, &instruments, seed, liveliness, UnixNs::from_ms(1_000_000))
    }

    fn mid(quote: &VenueQuote) -> f64 {
        f64::midpoint(quote.bid.price.to_f64(), quote.ask.price.to_f64())
    }

    /// The largest gross spread of any instrument now, in percent.
    fn widest(prices: &SimPrices) -> f64 {
        let mut widest = f64::MIN;
        for instrument in &prices.instruments {
            for &buy in &instrument.cells {
                for &sell in instrument.cells.iter().filter(|&&c| c != buy) {
                    let gross = gross_pct(prices.quote(buy).1.ask.price, prices.quote(sell).1.bid.price);
                    widest = widest.max(gross.to_f64());
                }
            }
        }
        widest
    }

    #[test]
    fn the_same_seed_gives_the_same_sequence() {
        let run = |seed| {
            let mut prices = prices(seed, LIVELY);
            let mut told = Vec::new();
            for n in 0..3000 {
                let id = prices.step(UnixNs(n)).unwrap();
                told.push(format!("{id:?} {:?}", prices.quote(id)));
            }
            told
        };
        let first = run(11);
        assert_eq!(first, run(11));
        assert_ne!(first, run(12));
    }

    #[test]
    fn opportunities_open_and_close_every_few_seconds() {
        let mut prices = prices(5, LIVELY);
        let (mut openings, mut open) = (0, false);
        for n in 0..200 * 120 {
            prices.step(UnixNs(n));
            let widest = widest(&prices);
            assert!(widest < 2.1, "{widest}");
            // A clear gap between opportunities and the usual noise.
            assert!(!(0.35..0.5).contains(&widest), "{widest}");
            if (widest > 0.5) != open {
                open = !open;
                openings += u32::from(open);
            }
        }
        // One every four seconds for two minutes; some overlap.
        assert!((12..=40).contains(&openings), "{openings}");
    }

    #[test]
    fn varied_opportunities_last_from_milliseconds_to_seconds() {
        let mut prices = prices(5, Liveliness { rate: 500.0, opportunity_every_ms: 500 });
        prices.open_as(Openings::Varied);
        let (mut lengths_ms, mut open) = (Vec::new(), None);
        for n in 0..500 * 240 {
            prices.step(UnixNs(n));
            let is_open = prices.instruments[0].opportunity.is_some();
            match (open, is_open) {
                (None, true) => open = Some(n),
                (Some(from), false) => {
                    lengths_ms.push((n - from) * 2);
                    open = None;
                }
                _ => {}
            }
        }
        let share = |range: std::ops::Range<u64>| lengths_ms.iter().filter(|ms| range.contains(ms)).count();
        let counts = [share(0..100), share(100..1000), share(1000..9000)];
        assert!(counts.iter().all(|count| *count >= 5), "{counts:?} of {}", lengths_ms.len());
        assert_eq!(counts.iter().sum::<usize>(), lengths_ms.len());
    }

    #[test]
    fn without_opportunities_venues_stay_close() {
        let mut prices = prices(9, Liveliness { opportunity_every_ms: 0, ..LIVELY });
        for n in 0..20_000 {
            prices.step(UnixNs(n));
            assert!(widest(&prices) < 0.35);
        }
    }

    #[test]
    fn a_quote_set_by_hand_stays_until_it_is_released() {
        let mut prices = prices(2, LIVELY);
        let id = prices.cell_of(1, "ETH/USDT").unwrap();
        let (bid, ask) = (Level { price: Decimal::new(9, 0), size: Decimal::new(1, 0) }, Level::ABSENT);
        let before = prices.quote(id).1.sequence;
        prices.set_quote(id, bid, ask, UnixNs(77));
        for n in 0..5000 {
            assert_ne!(prices.step(UnixNs(n)), Some(id));
        }
        let quote = prices.quote(id).1;
        assert_eq!((quote.bid, quote.ask, quote.sequence, quote.time), (bid, ask, before + 1, UnixNs(77)));
        prices.release(id);
        assert!((0..200).any(|n| prices.step(UnixNs(n)) == Some(id)));
        assert!(prices.quote(id).1.ask.is_present());
    }

    #[test]
    fn a_market_of_nothing_stands_still() {
        let mut prices = SimPrices::new(&[], &[("BTC".into(), "USD".into())], 1, LIVELY, UnixNs(0));
        assert!((0..2000).all(|n| prices.step(UnixNs(n)).is_none()));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]
        #[test]
        fn venues_are_never_crossed_and_never_far_apart(seed: u64, exponent in -2i32..5) {
            let mut prices = prices(seed, Liveliness { rate: 10f64.powi(exponent), ..LIVELY });
            let mut last = FxHashMap::default();
            for n in 0..4000 {
                let Some(id) = prices.step(UnixNs(n)) else { continue };
                let before = prices.quote(id).1.clone();
                let told = (before.bid, before.ask);
                prop_assert!(last.insert(id, told) != Some(told), "a step without a change");
                prop_assert!(before.bid.is_present() && before.ask.is_present());
                prop_assert!(before.bid.price < before.ask.price);
                let day = &before.day;
                prop_assert!(day.low <= day.last && day.last <= day.high);
                prop_assert!(day.low > 0.0 && day.quote_volume > 0.0);
                let instrument = &prices.instruments[prices.cell(id).instrument];
                for &other in &instrument.cells {
                    let ratio = mid(prices.quote(other).1) / mid(&before);
                    prop_assert!((0.97..=1.03).contains(&ratio), "{} {ratio}", instrument.symbol);
                }
            }
        }

        #[test]
        fn each_change_has_the_next_order_number(seed: u64) {
            let mut prices = prices(seed, LIVELY);
            let mut last: Vec<u64> = prices.cells().map(|c| prices.quote(c).1.sequence).collect();
            prop_assert!(last.iter().all(|&s| s == 2));
            for n in 0..4000 {
                let id = prices.step(UnixNs(n)).unwrap_or(CellId(0));
                let quote = prices.quote(id).1;
                last[id.0 as usize] += 1;
                prop_assert_eq!(quote.sequence, last[id.0 as usize]);
            }
        }
    }
}
