//! Messages that a lagging venue has not sent yet, in order, each with the time at which it is due. In: messages and
//! how late they are. Out: the messages that are due. The caller limits the bytes. Pure.

use std::collections::VecDeque;

use crate::time::MonoNs;
use crate::venues::Message;

/// Messages that wait.
#[derive(Default)]
pub(crate) struct LateMessages {
    late_ns: u64,
    waiting: VecDeque<(MonoNs, Message)>,
    bytes: usize,
}

impl LateMessages {
    /// Makes each message due `late_ns` after its time from now on. Messages that already wait keep their due time;
    /// with 0 all are due at once.
    pub const fn set(&mut self, late_ns: u64) {
        self.late_ns = late_ns;
    }

    /// Whether a new message must wait.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.late_ns > 0 || !self.waiting.is_empty()
    }

    /// Adds a message that was composed at `now`.
    pub fn push(&mut self, message: Message, now: MonoNs) {
        // No message overtakes another, also when the lag becomes shorter.
        let after = self.waiting.back().map_or(now, |(due, _)| *due);
        self.bytes += message.as_bytes().len();
        self.waiting.push_back((now.plus(self.late_ns).max(after), message));
    }

    /// The next message that is due at `now`.
    pub fn pop(&mut self, now: MonoNs) -> Option<Message> {
        let (_, message) = self.waiting.pop_front_if(|(due, _)| self.late_ns == 0 || *due <= now)?;
        self.bytes -= message.as_bytes().len();
        Some(message)
    }

    /// When the next message is due.
    #[must_use]
    pub(crate) fn next_due(&self) -> Option<MonoNs> {
        self.waiting.front().map(|(due, _)| *due)
    }

    /// Number of bytes that wait.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_late_in_order_and_all_at_once_when_the_lag_ends() {
        let mut late = LateMessages::default();
        assert!(!late.is_on());
        late.set(100);
        for at in [0, 10, 20, 30] {
            late.push(Message::Text(at.to_string()), MonoNs(at));
        }
        let due = |late: &mut LateMessages, at| std::iter::from_fn(|| late.pop(MonoNs(at))).count();
        assert_eq!((late.bytes(), late.next_due(), due(&mut late, 99)), (7, Some(MonoNs(100)), 0));
        assert_eq!((due(&mut late, 110), late.bytes()), (2, 4));
        late.set(10);
        late.push(Message::Text("x".to_owned()), MonoNs(110));
        assert_eq!(due(&mut late, 125), 1, "a later message waits for an earlier one");
        late.set(0);
        assert!(late.is_on());
        assert_eq!(due(&mut late, 126), 2);
        assert!(!late.is_on());
    }
}
