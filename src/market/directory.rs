//! Names and ids of the venues and instruments of this process. Built from the configuration, then shared. Other
//! machines receive names, never ids.
//!
//! The directory grows in place while other threads read it, without a lock. An added entry takes the next free id. A
//! removed entry keeps its id and is switched off; if it is added again, it is switched on again. The meaning of an id
//! never changes. Only one stage writes: the one that changes the set at run time. Tables that are sized at the start
//! use the capacity, see [`Directory::rows`] and [`Directory::columns`].

use std::hash::Hasher;
use std::ops::Index;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use rustc_hash::FxHasher;

use crate::market::Decimal;
use crate::time::MonoNs;

/// Index of a configured venue in the [`Directory`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VenueId(pub u16);

/// Index of an instrument in the [`Directory`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstrumentId(pub u32);

/// Index of an (instrument, venue) cell: `instrument * columns + venue`, see [`Directory::columns`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PairId(pub u32);

impl VenueId {
    /// As an index.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl InstrumentId {
    /// As an index.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl PairId {
    /// As an index.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// One configured venue, input of a new directory.
#[derive(Clone, Debug)]
pub struct VenueEntry {
    /// Lower-case id that clients use, such as `binance`.
    pub name: String,
    /// Taker fee in percent of the notional, such as 0.1.
    pub taker_fee_pct: Decimal,
    /// Native symbol per instrument of the directory; `None` if the venue does not quote it.
    pub native: Vec<Option<String>>,
}

/// How many venues and instruments may be added after the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Room {
    /// Venues.
    pub venues: usize,
    /// Instruments.
    pub instruments: usize,
}

/// A venue of the directory.
#[derive(Debug)]
pub struct Member {
    /// Lower-case id that clients use, such as `binance`.
    pub name: String,
    /// Taker fee in percent of the notional, such as 0.1.
    pub taker_fee_pct: Decimal,
    on: AtomicBool,
}

/// A list that grows at its end while other threads read it, up to a fixed capacity.
#[derive(Debug)]
pub struct Roll<T> {
    slots: Box<[OnceLock<T>]>,
    count: AtomicUsize,
}

impl<T> Default for Roll<T> {
    fn default() -> Self {
        Self::new(Vec::new(), 0)
    }
}

impl<T> Roll<T> {
    fn new(first: Vec<T>, room: usize) -> Self {
        let count = AtomicUsize::new(first.len());
        let free = (0..room).map(|_| OnceLock::new());
        Self { slots: first.into_iter().map(OnceLock::from).chain(free).collect(), count }
    }

    /// Current number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    /// Whether the list is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Capacity.
    #[must_use]
    pub fn room(&self) -> usize {
        self.slots.len()
    }

    /// The entry at index `at`, if there is one.
    #[must_use]
    pub fn get(&self, at: usize) -> Option<&T> {
        self.slots.get(at)?.get()
    }

    /// The current entries, in order of their ids.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &T> + Clone {
        self.slots[..self.len()].iter().filter_map(OnceLock::get)
    }

    /// Appends an entry. Returns its index, or `None` if the list is full.
    fn push(&self, one: T) -> Option<usize> {
        let at = self.len();
        self.slots.get(at)?.set(one).ok()?;
        self.count.store(at + 1, Ordering::Release);
        Some(at)
    }
}

/// Finds the index of a name in a [`Roll`], ignoring letter case, in constant time. One thread adds names while others
/// read; names are never removed. Open addressing with linear probing, at most half full.
#[derive(Debug, Default)]
struct Lookup(Box<[AtomicU32]>);

impl Lookup {
    fn new(room: usize) -> Self {
        Self((0..(2 * room).next_power_of_two()).map(|_| AtomicU32::new(FREE)).collect())
    }

    /// The entries to probe for `name`, in order.
    fn probe(&self, name: &str) -> impl Iterator<Item = &AtomicU32> {
        let mut hasher = FxHasher::default();
        name.bytes().for_each(|byte| hasher.write_u8(byte.to_ascii_lowercase()));
        let first = hasher.finish() as usize;
        (0..self.0.len()).map(move |step| &self.0[first.wrapping_add(step) & (self.0.len() - 1)])
    }

    /// The first index under the hash of `name` for which `is_it` is true.
    fn find(&self, name: &str, is_it: impl Fn(usize) -> bool) -> Option<usize> {
        let taken = self.probe(name).map(|entry| entry.load(Ordering::Acquire)).take_while(|place| *place != FREE);
        taken.map(|place| place as usize).find(|place| is_it(*place))
    }

    fn add(&self, name: &str, place: usize) {
        if let Some(entry) = self.probe(name).find(|entry| entry.load(Ordering::Relaxed) == FREE) {
            entry.store(place as u32, Ordering::Release);
        }
    }
}

/// An empty entry of a [`Lookup`].
const FREE: u32 = u32::MAX;

impl<T> Index<usize> for Roll<T> {
    type Output = T;

    /// # Panics
    /// If there is no entry at `at`, which is our own mistake.
    fn index(&self, at: usize) -> &T {
        self.slots[at].get().expect("every id has an entry")
    }
}

/// Names and ids of all venues and instruments.
#[derive(Debug, Default)]
pub struct Directory {
    venues: Roll<Member>,
    instruments: Roll<String>,
    venue_places: Lookup,
    instrument_places: Lookup,
    /// By instrument: whether it is switched on.
    listed: Box<[AtomicBool]>,
    /// By pair: whether it is to be quoted. Read for every quote, so stored apart from rarely used data.
    quoted: Box<[AtomicBool]>,
    /// By pair: the venue's own symbol, set when the pair is first quoted.
    natives: Box<[OnceLock<Box<str>>]>,
    /// By pair: the sources that report a halt, one bit for each [`HaltedBy`].
    halted: Box<[AtomicU8]>,
    /// By pair: when a stream last reported a halt, as [`MonoNs`].
    halted_at: Box<[AtomicU64]>,
    /// By pair: an [`AssetClaim`] of the operator, 0 without one.
    claims: Box<[AtomicU8]>,
    /// By pair: its own taker fee with [`FEE_SCALE`] decimals; [`NO_FEE`] means the fee of the venue.
    fees: Box<[AtomicU64]>,
    edition: AtomicU64,
    facts: AtomicU64,
}

/// The source of a report that an instrument is not traded on a venue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum HaltedBy {
    /// The venue's list of instruments.
    List = 1,
    /// The venue's stream, about this instrument.
    Stream = 2,
    /// The venue's stream, about all its instruments.
    System = 4,
}

/// What the operator states about the asset that a venue quotes under the symbol of an instrument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum AssetClaim {
    /// The same asset, in the same unit, as at other venues.
    Same = 1,
    /// Another asset or another unit.
    Other = 2,
}

/// Decimals of a stored fee, in percent.
const FEE_SCALE: u8 = 6;
/// The pair has no fee of its own.
const NO_FEE: u64 = u64::MAX;

/// Why an entry cannot be added. Callers check for room before they add.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// No room for another venue.
    Venues,
    /// No room for another instrument.
    Instruments,
}

impl Directory {
    /// A directory of `instruments` (each `BASE/QUOTE`) and `venues`, without room for more. The `native` table of
    /// every venue must be as long as `instruments`.
    ///
    /// # Panics
    /// If a `native` table has another length, which is our own mistake.
    #[must_use]
    pub fn new(instruments: Vec<String>, venues: Vec<VenueEntry>) -> Self {
        Self::with_room(instruments, venues, Room::default())
    }

    /// The same, with `room` for more. Allocates all memory here.
    ///
    /// # Panics
    /// If a `native` table has another length, which is our own mistake.
    #[must_use]
    pub fn with_room(instruments: Vec<String>, venues: Vec<VenueEntry>, room: Room) -> Self {
        assert!(venues.iter().all(|v| v.native.len() == instruments.len()));
        let (rows, width) = (instruments.len() + room.instruments, venues.len() + room.venues);
        let quoted: Box<[AtomicBool]> = (0..rows * width).map(|_| AtomicBool::new(false)).collect();
        let natives: Box<[OnceLock<Box<str>>]> = (0..rows * width).map(|_| OnceLock::new()).collect();
        let count = instruments.len();
        let mut members = Vec::with_capacity(venues.len());
        for (at, VenueEntry { name, taker_fee_pct, native }) in venues.into_iter().enumerate() {
            for (row, native) in native.into_iter().enumerate() {
                let Some(native) = native else { continue };
                natives[row * width + at].get_or_init(|| native.into());
                quoted[row * width + at].store(true, Ordering::Relaxed);
            }
            members.push(Member { name, taker_fee_pct, on: AtomicBool::new(true) });
        }
        let (venue_places, instrument_places) = (Lookup::new(width), Lookup::new(rows));
        members.iter().enumerate().for_each(|(at, venue)| venue_places.add(&venue.name, at));
        instruments.iter().enumerate().for_each(|(at, symbol)| instrument_places.add(symbol, at));
        Self {
            venues: Roll::new(members, room.venues),
            instruments: Roll::new(instruments, room.instruments),
            venue_places,
            instrument_places,
            listed: (0..rows).map(|row| AtomicBool::new(row < count)).collect(),
            quoted,
            natives,
            halted: (0..rows * width).map(|_| AtomicU8::new(0)).collect(),
            halted_at: (0..rows * width).map(|_| AtomicU64::new(0)).collect(),
            claims: (0..rows * width).map(|_| AtomicU8::new(0)).collect(),
            fees: (0..rows * width).map(|_| AtomicU64::new(NO_FEE)).collect(),
            edition: AtomicU64::new(0),
            facts: AtomicU64::new(0),
        }
    }

    /// All venues, including removed ones, in id order.
    #[must_use]
    pub fn venues(&self) -> &Roll<Member> {
        &self.venues
    }

    /// All instruments (`BASE/QUOTE`), including removed ones, in id order.
    #[must_use]
    pub fn instruments(&self) -> &Roll<String> {
        &self.instruments
    }

    /// The venues that are switched on.
    pub(crate) fn venues_on(&self) -> impl DoubleEndedIterator<Item = (VenueId, &Member)> + Clone {
        let all = self.venues.slots[..self.venues.len()].iter().enumerate();
        all.filter_map(|(at, slot)| Some((VenueId(at as u16), slot.get()?)))
            .filter(|(_, venue)| venue.on.load(Ordering::Acquire))
    }

    /// The instruments that are switched on.
    pub(crate) fn instruments_on(&self) -> impl Iterator<Item = (InstrumentId, &String)> + Clone {
        let all = (0..self.instruments.len() as u32).map(InstrumentId);
        all.filter(|id| self.is_listed(*id)).map(|id| (id, &self.instruments[id.index()]))
    }

    /// Whether `venue` is switched on.
    #[must_use]
    pub fn is_on(&self, venue: VenueId) -> bool {
        self.venues.get(venue.index()).is_some_and(|venue| venue.on.load(Ordering::Acquire))
    }

    /// Whether `instrument` is switched on.
    #[must_use]
    pub(crate) fn is_listed(&self, instrument: InstrumentId) -> bool {
        self.listed.get(instrument.index()).is_some_and(|listed| listed.load(Ordering::Acquire))
    }

    /// Number of possible venue ids, for sizing tables.
    #[must_use]
    pub fn columns(&self) -> usize {
        self.venues.room()
    }

    /// Number of possible instrument ids, for sizing tables.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.instruments.room()
    }

    /// The entry of `id`.
    #[must_use]
    pub fn venue(&self, id: VenueId) -> &Member {
        &self.venues[id.index()]
    }

    /// `BASE/QUOTE` of `id`.
    #[must_use]
    pub fn symbol(&self, id: InstrumentId) -> &str {
        &self.instruments[id.index()]
    }

    /// The venue named `name`, ignoring letter case, switched on or off.
    #[must_use]
    pub fn venue_named(&self, name: &str) -> Option<VenueId> {
        let is_it = |at: usize| self.venues.get(at).is_some_and(|venue| venue.name.eq_ignore_ascii_case(name));
        self.venue_places.find(name, is_it).map(|at| VenueId(at as u16))
    }

    /// The instrument named `symbol` (`BASE/QUOTE`), ignoring letter case, switched on or off.
    #[must_use]
    pub fn instrument_named(&self, symbol: &str) -> Option<InstrumentId> {
        let is_it = |at: usize| self.instruments.get(at).is_some_and(|known| known.eq_ignore_ascii_case(symbol));
        self.instrument_places.find(symbol, is_it).map(|at| InstrumentId(at as u32))
    }

    /// The cell of `instrument` on `venue`.
    #[inline]
    #[must_use]
    pub fn pair(&self, instrument: InstrumentId, venue: VenueId) -> PairId {
        PairId(instrument.0 * self.venues.slots.len() as u32 + u32::from(venue.0))
    }

    /// The instrument and venue of a cell.
    #[must_use]
    pub fn split(&self, pair: PairId) -> (InstrumentId, VenueId) {
        let width = self.venues.slots.len() as u32;
        (InstrumentId(pair.0 / width), VenueId((pair.0 % width) as u16))
    }

    /// Number of possible cells: [`Self::rows`] × [`Self::columns`].
    #[must_use]
    pub fn pairs(&self) -> usize {
        self.quoted.len()
    }

    /// Whether `venue` is to quote `instrument` now.
    #[inline]
    #[must_use]
    pub fn is_quoted(&self, instrument: InstrumentId, venue: VenueId) -> bool {
        self.quoted[self.pair(instrument, venue).index()].load(Ordering::Acquire)
    }

    /// The venue's own symbol of `instrument`; `None` if the venue never quoted it.
    #[must_use]
    pub fn native(&self, instrument: InstrumentId, venue: VenueId) -> Option<&str> {
        self.natives[self.pair(instrument, venue).index()].get().map(|native| &**native)
    }

    /// Whether any source reports that `instrument` cannot be traded on `venue` now.
    #[inline]
    #[must_use]
    pub fn is_halted(&self, instrument: InstrumentId, venue: VenueId) -> bool {
        self.halted[self.pair(instrument, venue).index()].load(Ordering::Acquire) != 0
    }

    /// Whether `by` reports that `instrument` cannot be traded on `venue` now.
    #[inline]
    #[must_use]
    pub(crate) fn is_halted_by(&self, instrument: InstrumentId, venue: VenueId, by: HaltedBy) -> bool {
        self.halted[self.pair(instrument, venue).index()].load(Ordering::Acquire) & by as u8 != 0
    }

    /// Taker fee of `instrument` on `venue`, in percent of the notional.
    #[must_use]
    pub fn taker_fee_pct(&self, instrument: InstrumentId, venue: VenueId) -> Decimal {
        match self.fees[self.pair(instrument, venue).index()].load(Ordering::Relaxed) {
            NO_FEE => self.venue(venue).taker_fee_pct,
            fee => Decimal::new(fee, FEE_SCALE),
        }
    }

    /// The lowest of all taker fees, in percent.
    #[must_use]
    pub(crate) fn lowest_fee_pct(&self) -> Decimal {
        let own = self.fees.iter().map(|fee| fee.load(Ordering::Relaxed)).filter(|fee| *fee != NO_FEE);
        let own = own.min().map(|fee| Decimal::new(fee, FEE_SCALE));
        self.venues.iter().map(|venue| venue.taker_fee_pct).chain(own).min().unwrap_or(Decimal::ZERO)
    }

    /// The instruments that `venue` is to quote now, with the venue's symbols.
    pub fn quoted_by(&self, venue: VenueId) -> impl Iterator<Item = (InstrumentId, &str)> {
        let all = (0..self.instruments.len() as u32).map(InstrumentId);
        all.filter(move |id| self.is_quoted(*id, venue)).filter_map(move |id| Some((id, self.native(id, venue)?)))
    }

    /// A counter of changes in trading status and fees, see [`Self::publish_facts`].
    #[inline]
    #[must_use]
    pub fn facts(&self) -> u64 {
        self.facts.load(Ordering::Acquire)
    }

    /// A stream reported `instrument` as halted on `venue` at `now`; it may report the same again. Returns whether that
    /// is a change.
    pub(crate) fn halt_by_stream(&self, instrument: InstrumentId, venue: VenueId, now: MonoNs) -> bool {
        self.halted_at[self.pair(instrument, venue).index()].store(now.0, Ordering::Release);
        self.set_halted(instrument, venue, HaltedBy::Stream, true)
    }

    /// The list of `venue`, requested at `asked`, reports `instrument` as traded, which ends a halt that the stream
    /// reported before that. Returns whether that is a change.
    pub(crate) fn resume_by_list(&self, instrument: InstrumentId, venue: VenueId, asked: MonoNs) -> bool {
        let is_newer = self.halted_at[self.pair(instrument, venue).index()].load(Ordering::Acquire) < asked.0;
        is_newer && self.set_halted(instrument, venue, HaltedBy::Stream, false)
    }

    /// Stores whether `by` reports `instrument` as halted on `venue`. Returns whether that changed.
    pub fn set_halted(&self, instrument: InstrumentId, venue: VenueId, by: HaltedBy, is_halted: bool) -> bool {
        let bits = &self.halted[self.pair(instrument, venue).index()];
        let before = if is_halted {
            bits.fetch_or(by as u8, Ordering::AcqRel)
        } else {
            bits.fetch_and(!(by as u8), Ordering::AcqRel)
        };
        (before & by as u8 != 0) != is_halted
    }

    /// Sets the taker fee of `instrument` on `venue`, in percent below 100; `None` restores the fee of the venue.
    /// Decimals beyond six are cut. Returns whether the fee changed.
    pub(crate) fn set_taker_fee(&self, instrument: InstrumentId, venue: VenueId, fee_pct: Option<Decimal>) -> bool {
        let fee = fee_pct.map_or(NO_FEE, |fee| fee.to_units(FEE_SCALE).min(NO_FEE - 1));
        self.fees[self.pair(instrument, venue).index()].swap(fee, Ordering::Relaxed) != fee
    }

    /// What the operator states about the asset of `instrument` on `venue`.
    #[must_use]
    pub fn claim(&self, instrument: InstrumentId, venue: VenueId) -> Option<AssetClaim> {
        match self.claims[self.pair(instrument, venue).index()].load(Ordering::Relaxed) {
            1 => Some(AssetClaim::Same),
            2 => Some(AssetClaim::Other),
            _ => None,
        }
    }

    /// Stores a statement of the operator about the asset of `instrument` on `venue`.
    pub(crate) fn set_claim(&self, instrument: InstrumentId, venue: VenueId, claim: AssetClaim) {
        self.claims[self.pair(instrument, venue).index()].store(claim as u8, Ordering::Relaxed);
    }

    /// Announces a change in trading status or fees. The detector then evaluates its pairs again.
    pub fn publish_facts(&self) {
        self.facts.fetch_add(1, Ordering::AcqRel);
    }

    /// A counter of changes to the set. Holders of derived data rebuild it when the counter has grown.
    #[inline]
    #[must_use]
    pub(crate) fn edition(&self) -> u64 {
        self.edition.load(Ordering::Acquire)
    }

    /// Switches the venue `name` on; adds it if it is new.
    ///
    /// # Errors
    /// If there is no room for it.
    pub(crate) fn add_venue(&self, name: &str, taker_fee_pct: Decimal) -> Result<VenueId, Full> {
        if let Some(id) = self.venue_named(name) {
            self.venue(id).on.store(true, Ordering::Release);
            return Ok(id);
        }
        let member = Member { name: name.to_owned(), taker_fee_pct, on: AtomicBool::new(true) };
        let at = self.venues.push(member).ok_or(Full::Venues)?;
        self.venue_places.add(name, at);
        Ok(VenueId(at as u16))
    }

    /// Switches the instrument `symbol` on; adds it if it is new.
    ///
    /// # Errors
    /// If there is no room for it.
    pub fn add_instrument(&self, symbol: &str) -> Result<InstrumentId, Full> {
        let id = match self.instrument_named(symbol) {
            Some(id) => id,
            None => {
                let at = self.instruments.push(symbol.to_owned()).ok_or(Full::Instruments)?;
                self.instrument_places.add(symbol, at);
                InstrumentId(at as u32)
            }
        };
        self.listed[id.index()].store(true, Ordering::Release);
        Ok(id)
    }

    /// Lets `venue` quote `instrument` from now on, under its symbol `native`. The symbol of a pair never changes:
    /// returns `false` if it already has another one.
    pub fn quote(&self, instrument: InstrumentId, venue: VenueId, native: &str) -> bool {
        let pair = self.pair(instrument, venue).index();
        let is_same = **self.natives[pair].get_or_init(|| native.into()) == *native;
        if is_same {
            self.quoted[pair].store(true, Ordering::Release);
        }
        is_same
    }

    /// Ends the quoting of `instrument` on `venue`. Quotes that still arrive are ignored.
    pub(crate) fn drop_quote(&self, instrument: InstrumentId, venue: VenueId) {
        self.quoted[self.pair(instrument, venue).index()].store(false, Ordering::Release);
    }

    /// Switches `venue` off. The caller drops its quotes one by one with [`Self::drop_quote`].
    pub(crate) fn remove_venue(&self, venue: VenueId) {
        self.venue(venue).on.store(false, Ordering::Release);
    }

    /// Switches `instrument` off. The caller drops its quotes one by one with [`Self::drop_quote`].
    pub(crate) fn remove_instrument(&self, instrument: InstrumentId) {
        self.listed[instrument.index()].store(false, Ordering::Release);
    }

    /// Announces a change of the set. Readers notice it when they next check [`Self::edition`].
    pub fn publish(&self) {
        self.edition.fetch_add(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory() -> Directory {
        let venue = |name: &str, native: [Option<&str>; 2]| VenueEntry {
            name: name.into(),
            taker_fee_pct: Decimal::ZERO,
            native: native.map(|native| native.map(str::to_owned)).into(),
        };
        Directory::with_room(
            vec!["BTC/USDT".into(), "ETH/USDT".into()],
            vec![venue("binance", [Some("BTCUSDT"), Some("ETHUSDT")]), venue("okx", [Some("BTC-USDT"), None])],
            Room { venues: 1, instruments: 2 },
        )
    }

    #[test]
    fn what_is_added_takes_a_new_id_and_every_other_id_stays_what_it_was() {
        let it = directory();
        let before: Vec<(PairId, String)> =
            it.instruments_on().map(|(id, symbol)| (it.pair(id, VenueId(1)), symbol.clone())).collect();
        let (kraken, sol) = (it.add_venue("kraken", Decimal::ZERO).unwrap(), it.add_instrument("SOL/USDT").unwrap());
        assert_eq!((kraken, sol), (VenueId(2), InstrumentId(2)));
        assert!(!it.is_quoted(sol, kraken) && it.native(sol, kraken).is_none());
        assert!(it.quote(sol, kraken, "SOL/USDT") && it.is_quoted(sol, kraken));
        assert_eq!(it.split(it.pair(sol, kraken)), (sol, kraken));
        for (pair, symbol) in before {
            assert_eq!(it.symbol(it.split(pair).0), symbol);
        }
        assert_eq!((it.pairs(), it.rows(), it.columns()), (12, 4, 3));
        assert_eq!(it.quoted_by(kraken).collect::<Vec<_>>(), [(sol, "SOL/USDT")]);
    }

    #[test]
    fn what_is_removed_keeps_its_id_and_comes_back_under_it() {
        let it = directory();
        let (btc, binance) = (InstrumentId(0), VenueId(0));
        it.drop_quote(btc, binance);
        it.remove_venue(binance);
        it.remove_instrument(btc);
        assert!(!it.is_quoted(btc, binance) && !it.is_on(binance) && !it.is_listed(btc));
        assert_eq!(it.venues_on().map(|(id, _)| id).collect::<Vec<_>>(), [VenueId(1)]);
        assert_eq!(it.instruments_on().map(|(id, _)| id).collect::<Vec<_>>(), [InstrumentId(1)]);
        assert_eq!((it.add_venue("binance", Decimal::ZERO), it.add_instrument("BTC/USDT")), (Ok(binance), Ok(btc)));
        assert!(!it.quote(btc, binance, "XBTUSDT"), "its symbol there is another one");
        assert!(it.quote(btc, binance, "BTCUSDT") && it.is_quoted(btc, binance));
    }

    #[test]
    fn without_room_nothing_is_added() {
        let it = directory();
        assert!(it.add_instrument("A/B").is_ok() && it.add_instrument("C/D").is_ok());
        assert_eq!(it.add_instrument("E/F"), Err(Full::Instruments));
        assert!(it.add_venue("kraken", Decimal::ZERO).is_ok());
        assert_eq!(it.add_venue("bybit", Decimal::ZERO), Err(Full::Venues));
        assert_eq!((it.instruments().len(), it.venues().len(), it.instrument_named("E/F")), (4, 3, None));
    }

    #[test]
    fn every_name_is_found_in_any_case_and_no_other() {
        let symbols: Vec<String> = (0..1000).map(|n| format!("C{n}/USDT")).collect();
        let directory = Directory::with_room(symbols, vec![], Room { venues: 1, instruments: 500 });
        for n in 1000..1500 {
            assert_eq!(directory.add_instrument(&format!("c{n}/usdt")), Ok(InstrumentId(n)));
        }
        for n in 0..1500 {
            assert_eq!(directory.instrument_named(&format!("C{n}/usdT")), Some(InstrumentId(n)));
        }
        assert_eq!(directory.instrument_named("C1500/USDT"), None);
        assert_eq!(directory.add_instrument("C1500/USDT"), Err(Full::Instruments));
        assert_eq!(Directory::default().instrument_named(""), None);
    }

    #[test]
    fn an_instrument_is_halted_as_long_as_anybody_says_so_and_may_have_a_fee_of_its_own() {
        let it = directory();
        let (btc, eth, binance, okx) = (InstrumentId(0), InstrumentId(1), VenueId(0), VenueId(1));
        assert!(it.set_halted(btc, okx, HaltedBy::List, true) && !it.set_halted(btc, okx, HaltedBy::List, true));
        assert!(it.set_halted(btc, okx, HaltedBy::Stream, true) && it.set_halted(btc, okx, HaltedBy::Stream, false));
        assert!(it.is_halted(btc, okx) && !it.is_halted(btc, binance) && !it.is_halted(eth, okx));
        assert!(it.set_halted(btc, okx, HaltedBy::List, false) && !it.is_halted(btc, okx));

        let fee = |text: &str| -> Decimal { text.parse().unwrap() };
        assert!(it.set_taker_fee(btc, okx, Some(fee("0.30"))) && !it.set_taker_fee(btc, okx, Some(fee("0.3"))));
        assert_eq!((it.taker_fee_pct(btc, okx), it.taker_fee_pct(eth, okx)), (fee("0.3"), Decimal::ZERO));
        assert_eq!(it.lowest_fee_pct(), Decimal::ZERO);
        assert!(it.set_taker_fee(btc, okx, None) && it.taker_fee_pct(btc, okx).is_zero());
    }

    #[test]
    fn readers_never_see_half_of_what_is_added() {
        let it = Directory::with_room(Vec::new(), Vec::new(), Room { venues: 1, instruments: 2000 });
        it.add_venue("okx", Decimal::ZERO).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for n in 0..2000 {
                    let id = it.add_instrument(&format!("C{n}/USDT")).unwrap();
                    it.quote(id, VenueId(0), &format!("C{n}-USDT"));
                }
            });
            while it.instruments().len() < 2000 {
                for (id, symbol) in it.instruments_on() {
                    assert_eq!(*symbol, format!("C{}/USDT", id.0));
                }
                for (id, native) in it.quoted_by(VenueId(0)) {
                    assert_eq!(native, format!("C{}-USDT", id.0));
                }
            }
        });
    }
}
