//! The quote matrix: the latest quote of every instrument on every venue, the changes that each reader has yet to see, and
//! what else the detector has found.
//!
//! One thread (the detector) writes; any thread reads without a lock. A cell is a sequence-locked block
//! of atomics: a reader gets a consistent quote or tries again, the writer never waits.

pub mod books;
pub mod changes;
pub mod days;
pub mod findings;
mod seqlock;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;

use crate::market::quote::{Delay, ExcessLag, Origin, Source};
use crate::market::{Decimal, Level, PairId};
use crate::time::{MonoNs, SECOND, UnixNs};

use findings::Findings;
use seqlock::Seqlock;

/// The atomics of [`seqlock`].
mod atomic {
    pub use std::hint::spin_loop;
    pub use std::sync::atomic::{AtomicU64, Ordering, fence};
}

/// The matrix as threads share it: the pointer is swapped when the set of instruments or venues changes.
pub type SharedMatrix = Arc<ArcSwap<QuoteMatrix>>;

/// A cell's content: the last quote and whether it still holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CellQuote {
    /// Best bid; absent only while [`CellState::Empty`].
    pub bid: Level,
    /// Best ask; absent only while [`CellState::Empty`].
    pub ask: Level,
    /// The venue's own order number of it; 0 where it has none.
    pub sequence: u64,
    /// The venue's stamp; 0 where it sends none.
    pub exchange_time: UnixNs,
    /// When it was read from the socket.
    pub received: MonoNs,
    /// How many times the cell changed, by quotes or by becoming void; grows, never repeats. Renewal is no change.
    pub changes: u64,
    /// Whether the quote still holds.
    pub state: CellState,
    /// What sent it.
    pub source: Source,
    /// How it came here.
    pub origin: Origin,
    /// Whether it was late when it came.
    pub delay: Delay,
    /// How much later than usual it came.
    pub excess: ExcessLag,
}

/// A last known value that is older is worth nothing: as long as system 2 keeps one.
pub(crate) const CACHED_MAX_NS: u64 = 300 * SECOND;

/// Whether a cell's quote still holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum CellState {
    /// No quote yet.
    #[default]
    Empty = 0,
    /// The venue's word, as far as we know; its age says the rest.
    Live = 1,
    /// Known to be no longer true: connection lost or silent, gap, halt, crossed or one-sided since.
    Void = 2,
    /// Too far from what is known to be believed yet: shown as such, part of no alert.
    Suspect = 3,
    /// The venue's word, but the venue also says that it cannot be traded now: shown as such, part of no alert.
    Halted = 4,
}

impl CellQuote {
    /// Nanoseconds since the quote was read; its receive time is the authority, whatever the venue stamps.
    #[must_use]
    pub const fn age(&self, now: MonoNs) -> u64 {
        now.since(self.received)
    }

    /// Whether it is anything that can stop to hold.
    #[must_use]
    pub const fn holds(&self) -> bool {
        matches!(self.state, CellState::Live | CellState::Suspect | CellState::Halted)
    }

    /// Live, not older than `age_max` nanoseconds, and not from the disk of an earlier run: only then is it a price.
    #[must_use]
    pub fn is_fresh(&self, now: MonoNs, age_max: u64) -> bool {
        self.state == CellState::Live && self.age(now) <= age_max && self.origin != Origin::Disk
    }

    /// A last known value: looked up, not pushed, and no price any more, or never one. Worth showing to those who ask
    /// for its age, up to [`CACHED_MAX_NS`].
    #[must_use]
    pub fn is_cached(&self, now: MonoNs, age_max: u64) -> bool {
        self.state == CellState::Live
            && !self.origin.is_pushed()
            && !self.is_fresh(now, age_max)
            && self.age(now) <= CACHED_MAX_NS
    }
}

/// One cell: eleven words, aligned so that two cells never share a cache line pair.
#[repr(align(128))]
#[derive(Default)]
struct QuoteCell(Seqlock<[AtomicU64; 10]>);

impl QuoteCell {
    #[inline]
    fn load(&self) -> CellQuote {
        unpack(self.0.read(|words| words.each_ref().map(|word| word.load(Ordering::Relaxed))))
    }

    /// Only the one writer calls this.
    #[inline]
    fn store(&self, values: [u64; 10]) {
        self.0.write(|words| words.iter().zip(values).for_each(|(word, value)| word.store(value, Ordering::Relaxed)));
    }
}

fn pack(quote: &CellQuote) -> [u64; 10] {
    let marks =
        (quote.delay as u64) << 24 | (quote.source as u64) << 16 | (quote.origin as u64) << 8 | quote.state as u64;
    let scales = [quote.bid.price, quote.bid.size, quote.ask.price, quote.ask.size]
        .iter()
        .fold(marks, |word, number| word << 8 | u64::from(number.scale()));
    [
        quote.bid.price.mantissa(),
        quote.bid.size.mantissa(),
        quote.ask.price.mantissa(),
        quote.ask.size.mantissa(),
        scales,
        quote.exchange_time.0,
        quote.received.0,
        quote.changes,
        quote.sequence,
        u64::from(quote.excess.to_bits()),
    ]
}

fn unpack(words: [u64; 10]) -> CellQuote {
    let number = |mantissa: u64, shift: u32| Decimal::new(mantissa, (words[4] >> shift) as u8);
    CellQuote {
        bid: Level { price: number(words[0], 24), size: number(words[1], 16) },
        ask: Level { price: number(words[2], 8), size: number(words[3], 0) },
        sequence: words[8],
        exchange_time: UnixNs(words[5]),
        received: MonoNs(words[6]),
        changes: words[7],
        state: match words[4] >> 32 & 0xff {
            1 => CellState::Live,
            2 => CellState::Void,
            3 => CellState::Suspect,
            4 => CellState::Halted,
            _ => CellState::Empty,
        },
        source: Source::from_u8((words[4] >> 48) as u8),
        origin: Origin::from_u8((words[4] >> 40) as u8),
        delay: Delay::from_u8((words[4] >> 56) as u8),
        excess: ExcessLag::from_bits(words[9] as u32),
    }
}

/// The latest quote of every (instrument, venue) pair of a [`crate::market::Directory`].
pub struct QuoteMatrix {
    cells: Box<[QuoteCell]>,
    findings: ArcSwap<Findings>,
}

impl QuoteMatrix {
    /// An empty matrix of `pairs` cells, and the only hand that may write it.
    #[must_use]
    pub fn new(pairs: usize) -> (SharedMatrix, MatrixWriter) {
        let matrix = Arc::new(Self {
            cells: (0..pairs).map(|_| QuoteCell::default()).collect(),
            findings: ArcSwap::from_pointee(Findings::default()),
        });
        (Arc::new(ArcSwap::new(Arc::clone(&matrix))), MatrixWriter { matrix })
    }

    /// The cell of `pair` at one moment.
    #[inline]
    #[must_use]
    pub fn load(&self, pair: PairId) -> CellQuote {
        self.cells[pair.index()].load()
    }

    /// How many cells there are.
    #[must_use]
    pub fn pairs(&self) -> usize {
        self.cells.len()
    }

    /// What the detector last published beside quotes.
    #[must_use]
    pub fn findings(&self) -> Arc<Findings> {
        self.findings.load_full()
    }
}

/// The one writer of a [`QuoteMatrix`].
pub struct MatrixWriter {
    matrix: Arc<QuoteMatrix>,
}

impl MatrixWriter {
    /// Replaces the quote of `pair`, which is a change; `changes` of the argument is ignored.
    #[inline]
    pub fn store(&mut self, pair: PairId, quote: &CellQuote) {
        let cell = &self.matrix.cells[pair.index()];
        let changes = cell.0.words()[7].load(Ordering::Relaxed) + 1;
        cell.store(pack(&CellQuote { changes, ..*quote }));
    }

    /// The quote of `pair` was heard again: it is as young as `received`, if that is later than before, and came by
    /// `origin`, with this delay and lag. Not a change for readers.
    #[inline]
    pub fn renew(&mut self, pair: PairId, received: MonoNs, origin: Origin, (delay, excess): (Delay, ExcessLag)) {
        let cell = &self.matrix.cells[pair.index()];
        let quote = cell.load();
        cell.store(pack(&CellQuote { received: received.max(quote.received), origin, delay, excess, ..quote }));
    }

    /// Publishes the findings that `change` makes of those published last. Allocates, so at most a few times per second.
    pub fn publish(&mut self, change: impl FnOnce(&mut Findings)) {
        let mut findings = Findings::clone(&self.matrix.findings.load());
        change(&mut findings);
        self.matrix.findings.store(Arc::new(findings));
    }

    /// The cell of `pair`.
    #[inline]
    #[must_use]
    pub fn load(&self, pair: PairId) -> CellQuote {
        self.matrix.cells[pair.index()].load()
    }

    /// How many cells there are.
    #[must_use]
    pub fn pairs(&self) -> usize {
        self.matrix.pairs()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::atomic::AtomicBool;

    fn quote_of(n: u64) -> CellQuote {
        let number = |m: u64| Decimal::new(m, (m % 9) as u8);
        CellQuote {
            bid: Level { price: number(n), size: number(n + 1) },
            ask: Level { price: number(n + 2), size: number(n + 3) },
            sequence: n + 4,
            exchange_time: UnixNs(n),
            received: MonoNs(n),
            changes: 0,
            state: CellState::Live,
            source: [Source::Live, Source::Simulated, Source::Replay][(n % 3) as usize],
            origin: Origin::from_u8((n % 4) as u8),
            delay: Delay::from_u8((n % 2) as u8),
            excess: ExcessLag::of(n, 1),
        }
    }

    #[test]
    fn a_reader_never_sees_half_a_quote() {
        let (shared, mut writer) = QuoteMatrix::new(1);
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let readers: Vec<_> = (0..2)
                .map(|_| {
                    scope.spawn(|| {
                        let (mut seen, mut last) = (0u64, 0);
                        while !stop.load(Ordering::Relaxed) {
                            let cell = shared.load().load(PairId(0));
                            if cell.state == CellState::Empty {
                                continue;
                            }
                            assert_eq!(cell, CellQuote { changes: cell.changes, ..quote_of(cell.received.0) });
                            assert!(cell.received.0 >= last, "time went back");
                            last = cell.received.0;
                            seen += 1;
                        }
                        seen
                    })
                })
                .collect();
            for n in 0..200_000 {
                writer.store(PairId(0), &quote_of(n));
                if n % 1000 == 0 {
                    std::thread::yield_now();
                }
            }
            stop.store(true, Ordering::Relaxed);
            for reader in readers {
                reader.join().unwrap();
            }
        });
        assert_eq!(shared.load().load(PairId(0)).changes, 200_000);
    }

    proptest! {
        #[test]
        fn a_cell_gives_back_what_was_stored(m: [u64; 4], s in prop::array::uniform4(0u8..=19), t: u64, r: u64) {
            let level = |i: usize| Level { price: Decimal::new(m[i], s[i]), size: Decimal::new(m[i + 1], s[i + 1]) };
            let quote = CellQuote { bid: level(0), ask: level(2), sequence: m[3], exchange_time: UnixNs(t), received: MonoNs(r), changes: 1, state: CellState::Void, source: Source::Replay, origin: Origin::Disk, delay: Delay::Lagging, excess: ExcessLag::of(r, 1) };
            let (shared, mut writer) = QuoteMatrix::new(3);
            writer.store(PairId(2), &quote);
            prop_assert_eq!(shared.load().load(PairId(2)), quote);
            prop_assert_eq!(shared.load().load(PairId(1)).state, CellState::Empty);
        }
    }
}
