//! Which cells changed since one reader last drained them: a bitmap, so that a burst of changes to one cell
//! is one change. The detector marks, one gateway drains. Only cells that the gateway watches are
//! marked: a change that no client waits for wakes no thread.

use std::sync::atomic::{AtomicU64, Ordering, fence};

use crate::market::PairId;

/// One reader's bitmap of changed cells.
pub struct Changes {
    words: Box<[AtomicU64]>,
    /// One bit per word of `words`, so that draining a quiet matrix touches little.
    summary: Box<[AtomicU64]>,
    watched: Box<[AtomicU64]>,
}

impl Changes {
    /// For a matrix of `pairs` cells; nothing is watched, nothing changed yet.
    #[must_use]
    pub fn new(pairs: usize) -> Self {
        let words = pairs.div_ceil(64);
        Self {
            words: (0..words).map(|_| AtomicU64::new(0)).collect(),
            summary: (0..words.div_ceil(64)).map(|_| AtomicU64::new(0)).collect(),
            watched: (0..words).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    /// Whether changes of `pair` are marked from now on. The reader calls this, and then reads the cell:
    /// either it sees a change or the change is marked.
    pub fn watch(&self, pair: PairId, watch: bool) {
        let (word, bit) = (&self.watched[pair.index() / 64], 1 << (pair.index() % 64));
        if watch {
            word.fetch_or(bit, Ordering::AcqRel);
        } else {
            word.fetch_and(!bit, Ordering::AcqRel);
        }
        fence(Ordering::SeqCst);
    }

    /// The cell of `pair` changed. Call after the cell is written. Ring for the reader only if
    /// [`Self::is_marked`] then.
    #[inline]
    pub fn mark(&self, pair: PairId) {
        let word = pair.index() / 64;
        let bit = 1 << (pair.index() % 64);
        fence(Ordering::SeqCst);
        if self.watched[word].load(Ordering::Relaxed) & bit == 0 {
            return;
        }
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
        (0..10_000).filter(|pair| *pair != 5).for_each(|pair| changes.watch(PairId(pair), true));
        changes.mark(PairId(5));
        assert!(!changes.is_marked(), "not watched");
        for pair in [9_999, 3, 64, 3, 3, 4_096] {
            changes.mark(PairId(pair));
        }
        let mut seen = Vec::new();
        changes.drain(|pair| seen.push(pair.0));
        assert_eq!(seen, [3, 64, 4_096, 9_999]);
        assert!(!changes.is_marked());
        changes.drain(|_| unreachable!("drained twice"));
        changes.watch(PairId(3), false);
        changes.mark(PairId(3));
        assert!(!changes.is_marked(), "no longer watched");
    }
}
