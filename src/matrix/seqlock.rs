//! A sequence lock over words: one writer replaces them, any number of readers copy a consistent set.
//!
//! The writer never waits; a reader that meets a write tries again. The words are atomics, so a torn copy is discarded
//! rather than undefined. `tests/loom.rs` compiles this file against loom's atomics and checks every interleaving;
//! that is why the atomics come from `super`.

use super::atomic::{AtomicU64, Ordering, fence, spin_loop};

/// Words `W` (an array or a boxed slice of atomics) behind a version number.
#[derive(Default)]
pub struct Seqlock<W> {
    /// Odd during a write, 0 before the first.
    version: AtomicU64,
    words: W,
}

impl<W> Seqlock<W> {
    /// A lock over `words`, which count as not written yet.
    pub fn new(words: W) -> Self {
        Self { version: AtomicU64::new(0), words }
    }

    /// Whether the words have been written, or are being written for the first time.
    pub fn is_written(&self) -> bool {
        self.version.load(Ordering::Acquire) != 0
    }

    /// The words themselves: for the one writer, and for readers of a single word.
    #[inline]
    pub fn words(&self) -> &W {
        &self.words
    }

    /// What `copy` returns for words of one write. `copy` runs again after each write that overlaps it; it may see a
    /// mixture of two writes, and must not panic on one.
    #[inline]
    pub fn read<T>(&self, mut copy: impl FnMut(&W) -> T) -> T {
        loop {
            let before = self.version.load(Ordering::Acquire);
            if before.is_multiple_of(2) {
                let copied = copy(&self.words);
                fence(Ordering::Acquire);
                if self.version.load(Ordering::Relaxed) == before {
                    return copied;
                }
            }
            spin_loop();
        }
    }

    /// Lets `change` store words. Only one thread may write at a time, and the caller ensures that: see
    /// [`Self::try_write`] for several.
    #[inline]
    pub fn write<T>(&self, change: impl FnOnce(&W) -> T) -> T {
        let version = self.version.load(Ordering::Relaxed);
        self.version.store(version + 1, Ordering::Relaxed);
        self.finish(version + 1, change)
    }

    /// Lets `change` store words unless another thread is writing; whether it did.
    pub fn try_write(&self, change: impl FnOnce(&W)) -> bool {
        let version = self.version.load(Ordering::Relaxed) & !1;
        let claimed = self.version.compare_exchange(version, version + 1, Ordering::Acquire, Ordering::Relaxed).is_ok();
        if claimed {
            self.finish(version + 1, change);
        }
        claimed
    }

    /// A reader that sees a word of this write also sees the odd version that was stored before.
    #[inline]
    fn finish<T>(&self, odd: u64, change: impl FnOnce(&W) -> T) -> T {
        fence(Ordering::Release);
        let result = change(&self.words);
        self.version.store(odd + 1, Ordering::Release);
        result
    }
}
