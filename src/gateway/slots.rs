//! Two small containers: numbered places that are used again, and a wheel of due times. Pure.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash};

use crate::time::MonoNs;

/// Places with stable numbers; freed ones are used again, and memory that is not needed is given back.
pub struct Slots<T> {
    places: Vec<Option<Box<T>>>,
    /// Places to use again. One that was cut off, or taken again since, may still be among them.
    free: Vec<u32>,
    used: usize,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self { places: Vec::new(), free: Vec::new(), used: 0 }
    }
}

/// Memory that is kept however little is in use, in elements.
const KEPT: usize = 64;

/// Gives back the memory of a table that was much larger.
pub fn give_back<K: Eq + Hash, V, S: BuildHasher>(table: &mut HashMap<K, V, S>) {
    if table.capacity() > KEPT + 4 * table.len() {
        table.shrink_to(2 * table.len());
    }
}

impl<T> Slots<T> {
    /// Puts `item` somewhere and says where.
    pub fn insert(&mut self, item: T) -> u32 {
        self.used += 1;
        let item = Some(Box::new(item));
        while let Some(at) = self.free.pop() {
            if let Some(place @ None) = self.places.get_mut(at as usize) {
                *place = item;
                return at;
            }
        }
        self.places.push(item);
        (self.places.len() - 1) as u32
    }

    /// Takes out what is at `at`.
    pub fn remove(&mut self, at: u32) -> Option<T> {
        let item = self.places.get_mut(at as usize)?.take()?;
        self.used -= 1;
        self.free.push(at);
        while self.places.last().is_some_and(Option::is_none) {
            self.places.pop();
        }
        if self.places.capacity() > KEPT + 4 * self.places.len() {
            self.places.shrink_to(2 * self.places.len());
            self.free.retain(|at| (*at as usize) < self.places.len());
            self.free.shrink_to(self.places.len());
        }
        Some(*item)
    }

    /// What is at `at`.
    #[inline]
    #[must_use]
    pub fn get(&self, at: u32) -> Option<&T> {
        self.places.get(at as usize)?.as_deref()
    }

    /// What is at `at`.
    #[inline]
    pub fn get_mut(&mut self, at: u32) -> Option<&mut T> {
        self.places.get_mut(at as usize)?.as_deref_mut()
    }

    /// How many places are in use.
    #[must_use]
    pub fn len(&self) -> usize {
        self.used
    }

    /// Whether no place is in use.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All places in use.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        self.places.iter().enumerate().filter_map(|(at, item)| Some((at as u32, item.as_deref()?)))
    }

    /// All that is in use, to be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.places.iter_mut().filter_map(Option::as_deref_mut)
    }

    /// All places in use have numbers below this.
    #[must_use]
    pub fn end(&self) -> u32 {
        self.places.len() as u32
    }

    /// The numbers of all places in use.
    #[must_use]
    pub fn keys(&self) -> Vec<u32> {
        self.iter().map(|(at, _)| at).collect()
    }
}

/// Somebody who wants to be called at a time: a place and its generation, so that a later tenant of the
/// same place is not mistaken for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// Place.
    pub key: u32,
    /// Which tenant of the place.
    pub generation: u32,
}

/// Due times in slots of one tick: arming and taking cost the same however many there are. Calls that
/// are no longer wanted stay until due and are ignored by their owner.
pub struct Wheel {
    slots: Vec<Vec<(u64, Call)>>,
    tick_ns: u64,
    /// The last tick that was taken.
    done: u64,
    armed: usize,
}

impl Wheel {
    /// A wheel of `slots` slots of `tick_ns` each, standing at `now`.
    #[must_use]
    pub fn new(slots: usize, tick_ns: u64, now: MonoNs) -> Self {
        Self { slots: (0..slots).map(|_| Vec::new()).collect(), tick_ns, done: now.0 / tick_ns, armed: 0 }
    }

    /// `call` is due at `at`, or at the end of the tick that `at` is in.
    pub fn arm(&mut self, at: MonoNs, call: Call) {
        let tick = at.0.div_ceil(self.tick_ns).max(self.done + 1);
        let slot = (tick % self.slots.len() as u64) as usize;
        self.slots[slot].push((tick, call));
        self.armed += 1;
    }

    /// Appends the calls that are due at `now`, in order of their ticks.
    pub fn take_due(&mut self, now: MonoNs, due: &mut impl Extend<Call>) {
        let last = now.0 / self.tick_ns;
        if self.armed == 0 {
            self.done = self.done.max(last);
            return;
        }
        // After a long pause one round over the wheel finds everything.
        let first = (self.done + 1).max(last.saturating_sub(self.slots.len() as u64 - 1));
        let size = self.slots.len() as u64;
        for tick in first..=last {
            let slot = &mut self.slots[(tick % size) as usize];
            let before = slot.len();
            due.extend(slot.extract_if(.., |(at, _)| *at <= last).map(|(_, call)| call));
            self.armed -= before - slot.len();
        }
        self.done = self.done.max(last);
    }

    /// When the next call may be due; `None` when there is none.
    #[must_use]
    pub fn next(&self) -> Option<MonoNs> {
        if self.armed == 0 {
            return None;
        }
        let size = self.slots.len() as u64;
        let tick = (self.done + 1..=self.done + size).find(|tick| !self.slots[(tick % size) as usize].is_empty());
        tick.map(|tick| MonoNs(tick * self.tick_ns))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(key: u32) -> Call {
        Call { key, generation: 0 }
    }

    fn due(wheel: &mut Wheel, now: u64) -> Vec<u32> {
        let mut calls = Vec::new();
        wheel.take_due(MonoNs(now), &mut calls);
        calls.iter().map(|c| c.key).collect()
    }

    #[test]
    fn calls_come_once_when_they_are_due() {
        let mut wheel = Wheel::new(8, 10, MonoNs(100));
        wheel.arm(MonoNs(125), call(1));
        wheel.arm(MonoNs(100), call(2));
        wheel.arm(MonoNs(500), call(3));
        assert_eq!(wheel.next(), Some(MonoNs(110)));
        assert_eq!(due(&mut wheel, 109), [0u32; 0]);
        assert_eq!(due(&mut wheel, 119), [2]);
        assert_eq!(due(&mut wheel, 130), [1]);
        assert_eq!(due(&mut wheel, 499), [0u32; 0]);
        assert_eq!(due(&mut wheel, 10_000), [3]);
        assert_eq!(wheel.next(), None);
        wheel.arm(MonoNs(5), call(4));
        assert_eq!(due(&mut wheel, 10_010), [4]);
    }

    #[test]
    fn memory_of_many_is_given_back_and_no_place_is_given_twice() {
        let mut slots = Slots::default();
        let first: Vec<u32> = (0..10_000).map(|n| slots.insert(n)).collect();
        // One in the middle holds the places before it.
        assert!(first.iter().filter(|at| **at != 500).all(|at| slots.remove(*at).is_some()));
        assert!(slots.places.capacity() < 5000 && slots.free.len() < 10_000, "{}", slots.places.capacity());
        let mut again: Vec<u32> = (0..1000).map(|n| slots.insert(n)).collect();
        assert_eq!(slots.len(), 1001);
        again.push(500);
        again.sort_unstable();
        again.dedup();
        assert_eq!(again.len(), 1001);
        assert!(again.iter().all(|at| slots.remove(*at).is_some()));
        assert!(slots.is_empty() && slots.places.capacity() <= KEPT);
    }

    #[test]
    fn places_are_used_again() {
        let mut slots = Slots::default();
        let (a, b) = (slots.insert('a'), slots.insert('b'));
        assert_eq!(slots.remove(a), Some('a'));
        assert_eq!(slots.remove(a), None);
        assert_eq!(slots.insert('c'), a);
        assert_eq!((slots.get(a), slots.get(b), slots.len()), (Some(&'c'), Some(&'b'), 2));
    }
}
