//! The sequence lock of the matrix under loom: every interleaving of one writer and a reader, and of two writers that
//! try, with every value that the memory model lets a load return.
//!
//! The source file is the library's own, compiled against loom's atomics. Twins with one ordering left out show that
//! the model finds what it is there to find.

use loom::sync::Arc;
use loom::thread;

mod atomic {
    pub use loom::hint::spin_loop;
    pub use loom::sync::atomic::{AtomicU64, Ordering, fence};
}
#[path = "../src/matrix/seqlock.rs"]
mod seqlock;

use atomic::{AtomicU64, Ordering, fence};
use seqlock::Seqlock;

type Words = [AtomicU64; 2];

fn copy(words: &Words) -> [u64; 2] {
    words.each_ref().map(|word| word.load(Ordering::Relaxed))
}

fn fill(words: &Words, value: u64) {
    words.iter().for_each(|word| word.store(value, Ordering::Relaxed));
}

/// A reader beside `writes` writes that reads `reads` times: both words are always of the same write, and never older
/// than before.
fn check(writes: u64, reads: usize) {
    loom::model(move || {
        let lock = Arc::new(Seqlock::<Words>::default());
        let writer = Arc::clone(&lock);
        let writing = thread::spawn(move || (1..=writes).for_each(|value| writer.write(|words| fill(words, value))));
        let mut last = 0;
        for _ in 0..reads {
            let [one, two] = lock.read(copy);
            assert_eq!(one, two, "torn");
            assert!(one >= last, "went back");
            last = one;
        }
        writing.join().unwrap();
        assert_eq!(lock.read(copy), [writes, writes]);
    });
}

#[test]
fn a_reader_never_sees_two_writes_at_once() {
    check(2, 1);
}

#[test]
fn a_reader_never_sees_an_older_write_again() {
    check(1, 2);
}

/// Of two threads that try to write at once, at least one does, and the words are the words of one of them.
#[test]
fn two_that_try_to_write_never_mix() {
    loom::model(|| {
        let lock = Arc::new(Seqlock::new(Words::default()));
        assert!(!lock.is_written());
        let other = Arc::clone(&lock);
        let theirs = thread::spawn(move || other.try_write(|words| fill(words, 1)));
        let ours = lock.try_write(|words| fill(words, 2));
        let theirs = theirs.join().unwrap();
        assert!(ours || theirs);
        assert!(lock.is_written());
        let [one, two] = lock.read(copy);
        assert_eq!(one, two, "mixed");
        assert_eq!(one, lock.words()[0].load(Ordering::Relaxed));
    });
}

/// The same lock, with its fences optional.
struct Twin {
    version: AtomicU64,
    words: Words,
    release: bool,
    acquire: bool,
}

impl Twin {
    fn write(&self, value: u64) {
        let version = self.version.load(Ordering::Relaxed);
        self.version.store(version + 1, Ordering::Relaxed);
        if self.release {
            fence(Ordering::Release);
        }
        fill(&self.words, value);
        self.version.store(version + 2, Ordering::Release);
    }

    fn read(&self) -> Option<[u64; 2]> {
        let before = self.version.load(Ordering::Acquire);
        let copied = copy(&self.words);
        if self.acquire {
            fence(Ordering::Acquire);
        }
        (before.is_multiple_of(2) && self.version.load(Ordering::Relaxed) == before).then_some(copied)
    }

    fn check(release: bool, acquire: bool) {
        loom::model(move || {
            let lock = Arc::new(Self { version: AtomicU64::new(0), words: Words::default(), release, acquire });
            let writer = Arc::clone(&lock);
            let writes = thread::spawn(move || writer.write(1));
            if let Some([one, two]) = lock.read() {
                assert_eq!(one, two, "torn");
            }
            writes.join().unwrap();
        });
    }
}

#[test]
fn the_twin_with_both_fences_is_sound() {
    Twin::check(true, true);
}

#[test]
#[should_panic(expected = "torn")]
fn without_the_release_fence_a_copy_is_torn() {
    Twin::check(false, true);
}

#[test]
#[should_panic(expected = "torn")]
fn without_the_acquire_fence_a_copy_is_torn() {
    Twin::check(true, false);
}
