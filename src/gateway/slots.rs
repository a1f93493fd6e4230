//! Two small containers: numbered places that are used again, and a wheel of due times. Pure.

use crate::time::MonoNs;

/// Places with stable numbers; freed ones are used again.
pub struct Slots<T> {
    places: Vec<Option<T>>,
    free: Vec<u32>,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self { places: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slots<T> {
    /// Puts `item` somewhere and says where.
    pub fn insert(&mut self, item: T) -> u32 {
        if let Some(at) = self.free.pop() {
            self.places[at as usize] = Some(item);
            return at;
        }
        self.places.push(Some(item));
        (self.places.len() - 1) as u32
    }

    /// Takes out what is at `at`.
    pub fn remove(&mut self, at: u32) -> Option<T> {
        let item = self.places.get_mut(at as usize)?.take()?;
        self.free.push(at);
        Some(item)
    }

    /// What is at `at`.
    #[inline]
    #[must_use]
    pub fn get(&self, at: u32) -> Option<&T> {
        self.places.get(at as usize)?.as_ref()
    }

    /// What is at `at`.
    #[inline]
    pub fn get_mut(&mut self, at: u32) -> Option<&mut T> {
        self.places.get_mut(at as usize)?.as_mut()
    }

    /// How many places are in use.
    #[must_use]
    pub fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// Whether no place is in use.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All places in use.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        self.places.iter().enumerate().filter_map(|(at, item)| Some((at as u32, item.as_ref()?)))
    }

    /// All that is in use, to be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.places.iter_mut().flatten()
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
    fn places_are_used_again() {
        let mut slots = Slots::default();
        let (a, b) = (slots.insert('a'), slots.insert('b'));
        assert_eq!(slots.remove(a), Some('a'));
        assert_eq!(slots.remove(a), None);
        assert_eq!(slots.insert('c'), a);
        assert_eq!((slots.get(a), slots.get(b), slots.len()), (Some(&'c'), Some(&'b'), 2));
    }
}
