//! A slab: values under stable keys. Pure.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash};

/// Values under stable keys. Keys of removed values are reused, and unused memory is released.
pub(crate) struct Slab<T> {
    slots: Vec<Option<Box<T>>>,
    /// Free keys. May contain keys that are past the end or in use again; `insert` skips them.
    free: Vec<u32>,
    used: usize,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { slots: Vec::new(), free: Vec::new(), used: 0 }
    }
}

/// Capacity that is never released, in elements.
const CAPACITY_MIN: usize = 64;

/// Releases the memory of a table that was much larger.
pub(crate) fn shrink<K: Eq + Hash, V, S: BuildHasher>(table: &mut HashMap<K, V, S>) {
    if table.capacity() > CAPACITY_MIN + 4 * table.len() {
        table.shrink_to(2 * table.len());
    }
}

impl<T> Slab<T> {
    /// Inserts `item` and returns its key.
    pub fn insert(&mut self, item: T) -> u32 {
        self.used += 1;
        let item = Some(Box::new(item));
        while let Some(at) = self.free.pop() {
            if let Some(slot @ None) = self.slots.get_mut(at as usize) {
                *slot = item;
                return at;
            }
        }
        self.slots.push(item);
        (self.slots.len() - 1) as u32
    }

    /// Removes and returns the value of a key.
    pub fn remove(&mut self, at: u32) -> Option<T> {
        let item = self.slots.get_mut(at as usize)?.take()?;
        self.used -= 1;
        self.free.push(at);
        while self.slots.last().is_some_and(Option::is_none) {
            self.slots.pop();
        }
        if self.slots.capacity() > CAPACITY_MIN + 4 * self.slots.len() {
            self.slots.shrink_to(2 * self.slots.len());
            self.free.retain(|at| (*at as usize) < self.slots.len());
            self.free.shrink_to(self.slots.len());
        }
        Some(*item)
    }

    /// The value of a key.
    #[inline]
    #[must_use]
    pub fn get(&self, at: u32) -> Option<&T> {
        self.slots.get(at as usize)?.as_deref()
    }

    /// The value of a key.
    #[inline]
    pub fn get_mut(&mut self, at: u32) -> Option<&mut T> {
        self.slots.get_mut(at as usize)?.as_deref_mut()
    }

    /// Number of values.
    #[must_use]
    pub fn len(&self) -> usize {
        self.used
    }

    /// Whether it holds no value.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All values with their keys.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        self.slots.iter().enumerate().filter_map(|(at, item)| Some((at as u32, item.as_deref()?)))
    }

    /// All keys are below this.
    #[must_use]
    pub fn end(&self) -> u32 {
        self.slots.len() as u32
    }

    /// All keys.
    #[must_use]
    pub fn keys(&self) -> Vec<u32> {
        self.iter().map(|(at, _)| at).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_released_and_no_key_is_in_use_twice() {
        let mut slab = Slab::default();
        let first: Vec<u32> = (0..10_000).map(|n| slab.insert(n)).collect();
        // A value in the middle prevents the release of the slots before it.
        assert!(first.iter().filter(|at| **at != 500).all(|at| slab.remove(*at).is_some()));
        assert!(slab.slots.capacity() < 5000 && slab.free.len() < 10_000, "{}", slab.slots.capacity());
        let mut again: Vec<u32> = (0..1000).map(|n| slab.insert(n)).collect();
        assert_eq!(slab.len(), 1001);
        again.push(500);
        again.sort_unstable();
        again.dedup();
        assert_eq!(again.len(), 1001);
        assert!(again.iter().all(|at| slab.remove(*at).is_some()));
        assert!(slab.is_empty() && slab.slots.capacity() <= CAPACITY_MIN);
    }

    #[test]
    fn keys_are_reused() {
        let mut slab = Slab::default();
        let (a, b) = (slab.insert('a'), slab.insert('b'));
        assert_eq!(slab.remove(a), Some('a'));
        assert_eq!(slab.remove(a), None);
        assert_eq!(slab.insert('c'), a);
        assert_eq!((slab.get(a), slab.get(b), slab.len()), (Some(&'c'), Some(&'b'), 2));
    }
}
