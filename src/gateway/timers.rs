//! Timers of clients: bursts and timeouts. Pure.

use crate::time::MonoNs;

/// A client. The generation distinguishes it from a later client under the same key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientId {
    /// Key in the slab.
    pub key: u32,
    /// Number of the client, over all clients of the gateway.
    pub(crate) generation: u32,
}

/// A timer wheel: arming and taking cost the same for any number of timers. A timer is never disarmed; its owner ignores
/// one that is due and no longer wanted.
pub(crate) struct Timers {
    slots: Vec<Vec<(u64, ClientId)>>,
    tick_ns: u64,
    /// The last tick that was taken.
    done: u64,
    armed: usize,
}

impl Timers {
    /// A wheel of `slots` slots of `tick_ns` nanoseconds each, at the time `now`.
    #[must_use]
    pub fn new(slots: usize, tick_ns: u64, now: MonoNs) -> Self {
        Self { slots: (0..slots).map(|_| Vec::new()).collect(), tick_ns, done: now.0 / tick_ns, armed: 0 }
    }

    /// Arms a timer of `client` for the end of the tick that contains `at`.
    pub(crate) fn arm(&mut self, at: MonoNs, client: ClientId) {
        let tick = at.0.div_ceil(self.tick_ns).max(self.done + 1);
        let slot = (tick % self.slots.len() as u64) as usize;
        self.slots[slot].push((tick, client));
        self.armed += 1;
    }

    /// Appends the clients whose timers are due at `now`, in order of their ticks.
    pub(crate) fn take_due(&mut self, now: MonoNs, due: &mut impl Extend<ClientId>) {
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
            due.extend(slot.extract_if(.., |(at, _)| *at <= last).map(|(_, client)| client));
            self.armed -= before - slot.len();
        }
        self.done = self.done.max(last);
    }

    /// When the next timer may be due; `None` if none is armed.
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

    fn client(key: u32) -> ClientId {
        ClientId { key, generation: 0 }
    }

    fn due(wheel: &mut Timers, now: u64) -> Vec<u32> {
        let mut clients = Vec::new();
        wheel.take_due(MonoNs(now), &mut clients);
        clients.iter().map(|c| c.key).collect()
    }

    #[test]
    fn each_timer_is_taken_once_when_it_is_due() {
        let mut wheel = Timers::new(8, 10, MonoNs(100));
        wheel.arm(MonoNs(125), client(1));
        wheel.arm(MonoNs(100), client(2));
        wheel.arm(MonoNs(500), client(3));
        assert_eq!(wheel.next(), Some(MonoNs(110)));
        assert_eq!(due(&mut wheel, 109), [0u32; 0]);
        assert_eq!(due(&mut wheel, 119), [2]);
        assert_eq!(due(&mut wheel, 130), [1]);
        assert_eq!(due(&mut wheel, 499), [0u32; 0]);
        assert_eq!(due(&mut wheel, 10_000), [3]);
        assert_eq!(wheel.next(), None);
        wheel.arm(MonoNs(5), client(4));
        assert_eq!(due(&mut wheel, 10_010), [4]);
    }
}
