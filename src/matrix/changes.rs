//! Which cells changed since one reader last looked: a bitmap, so that a burst of changes to one cell
//! is one change. The detector marks, one gateway drains.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::market::PairId;

/// One reader's bitmap of changed cells.
pub struct Changes {
    words: Box<[AtomicU64]>,
    /// One bit per word of `words`, so that draining a quiet matrix touches little.
    summary: Box<[AtomicU64]>,
    wanted: AtomicBool,
    pairs: u32,
}

impl Changes {
    /// For a matrix of `pairs` cells; nothing changed yet.
    #[must_use]
    pub fn new(pairs: usize) -> Self {
        let words = pairs.div_ceil(64);
        Self {
            words: (0..words).map(|_| AtomicU64::new(0)).collect(),
            summary: (0..words.div_ceil(64)).map(|_| AtomicU64::new(0)).collect(),
            wanted: AtomicBool::new(true),
            pairs: pairs as u32,
        }
    }

    /// Whether the reader has anybody who takes every change. While it has not, nothing is marked, and
    /// nobody is woken for it. Whoever begins to want has missed what was before: then all is marked.
    pub fn want(&self, wanted: bool) {
        if self.wanted.load(Ordering::Relaxed) != wanted {
            self.wanted.store(wanted, Ordering::SeqCst);
            if wanted {
                self.mark_all();
            }
        }
    }

    /// Marks every cell: for a reader that has not been told for a while.
    pub fn mark_all(&self) {
        (0..self.pairs).for_each(|pair| self.mark(PairId(pair)));
    }

    /// The cell of `pair` changed. Call after the cell is written.
    #[inline]
    pub fn mark(&self, pair: PairId) {
        if !self.wanted.load(Ordering::Relaxed) {
            return;
        }
        let word = pair.index() / 64;
        let bit = 1 << (pair.index() % 64);
        if self.words[word].fetch_or(bit, Ordering::AcqRel) & bit == 0 {
            self.summary[word / 64].fetch_or(1 << (word % 64), Ordering::AcqRel);
        }
    }

    /// Whether anything is marked.
    #[must_use]
    pub fn is_marked(&self) -> bool {
        self.summary.iter().any(|word| word.load(Ordering::Acquire) != 0)
    }

    /// Takes all marks, lowest pair first.
    pub fn drain(&self, mut changed: impl FnMut(PairId)) {
        for (at, summary) in self.summary.iter().enumerate() {
            if summary.load(Ordering::Relaxed) == 0 {
                continue;
            }
            for word in bits(summary.swap(0, Ordering::AcqRel)).map(|bit| at * 64 + bit) {
                for bit in bits(self.words[word].swap(0, Ordering::AcqRel)) {
                    changed(PairId((word * 64 + bit) as u32));
                }
            }
        }
    }
}

fn bits(mut word: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let bit = (word != 0).then(|| word.trailing_zeros() as usize)?;
        word &= word - 1;
        Some(bit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_one_change_and_draining_forgets_it() {
        let changes = Changes::new(10_000);
        for pair in [9_999, 3, 64, 3, 3, 4_096] {
            changes.mark(PairId(pair));
        }
        let mut seen = Vec::new();
        changes.drain(|pair| seen.push(pair.0));
        assert_eq!(seen, [3, 64, 4_096, 9_999]);
        assert!(!changes.is_marked());
        changes.drain(|_| unreachable!("drained twice"));
    }

    #[test]
    fn who_begins_to_want_is_told_of_everything_and_who_does_not_of_nothing() {
        let changes = Changes::new(70);
        changes.want(false);
        changes.mark(PairId(3));
        assert!(!changes.is_marked());
        changes.want(true);
        let mut seen = 0;
        changes.drain(|_| seen += 1);
        assert_eq!(seen, 70);
    }
}
