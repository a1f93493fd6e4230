//! What waits for one client that does not read: the rest of a frame that was cut, alerts and replies up to a limit, and
//! which of its prices have changed. Prices themselves never wait: when the client reads again it receives the newest of
//! each. Ages in waiting messages are updated before they are sent. Pure; used on the gateway's thread.

use std::collections::VecDeque;

use crate::protocol::message;
use crate::time::{MS, MonoNs};
use crate::wire::sse;
use crate::wire::websocket::{self, frame};

/// How messages are delimited on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// WebSocket frames without a mask.
    WebSocket,
    /// Events ended by a blank line.
    Stream,
}

impl Framing {
    /// The end of the message in `bytes` that contains byte `from`; `from` itself if it is between two messages.
    #[must_use]
    pub(crate) fn boundary(self, bytes: &[u8], from: usize) -> usize {
        match self {
            Self::Stream if from == 0 => 0,
            Self::Stream => sse::boundary(bytes, from),
            Self::WebSocket => frame::boundary(bytes, from),
        }
    }

    /// Number of messages in `bytes`.
    #[must_use]
    pub fn messages(self, bytes: &[u8]) -> usize {
        let (mut at, mut count) = (0, 0);
        while at < bytes.len() {
            at = match self {
                Self::Stream => sse::boundary(bytes, at + 2),
                Self::WebSocket => at + frame::frame_length(&bytes[at..]),
            };
            count += 1;
        }
        count
    }
}

/// A waiting message.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    /// Its unsent bytes.
    length: usize,
    /// The time at which its ages are correct.
    as_of: MonoNs,
}

/// See the file's head.
#[derive(Debug, Default)]
pub struct Outbox {
    pending: Vec<u8>,
    /// The messages in `pending`.
    messages: VecDeque<Waiting>,
    /// Whether the first of them is partly sent.
    is_begun: bool,
    /// The rest of an embedded file, to be sent after `pending`; needs no copy.
    file: &'static [u8],
    /// When the client last took bytes, or began to block.
    progress: MonoNs,
    /// One bit per index of the client's subscription set: the price changed since the client blocked.
    dirty: Vec<u64>,
    /// The client missed a burst: it must receive all its prices, those in `dirty` first.
    pub(crate) is_all_due: bool,
}

impl Outbox {
    /// Whether bytes wait. Nothing may be sent before them.
    #[inline]
    #[must_use]
    pub(crate) fn is_blocked(&self) -> bool {
        !self.pending.is_empty() || !self.file.is_empty()
    }

    /// Since when a blocked client has taken no bytes; `None` if it is not blocked.
    #[must_use]
    pub(crate) fn blocked_since(&self) -> Option<MonoNs> {
        self.is_blocked().then_some(self.progress)
    }

    /// The socket took only `written` bytes of `messages`: queues the rest of the message that was cut, or the next one if
    /// the cut is between two, so that the client counts as blocked. Returns where the first dropped message begins; newer
    /// messages will replace the dropped ones.
    pub(crate) fn queue_cut(&mut self, framing: Framing, messages: &[u8], written: usize, now: MonoNs) -> usize {
        let end = match framing.boundary(messages, written) {
            end if end == written => framing.boundary(messages, (written + 1).min(messages.len())),
            end => end,
        };
        self.queue(framing, &messages[..end], written, now);
        end
    }

    /// Queues what follows the first `written` bytes of `messages`; `written` is 0 if others wait.
    pub fn queue(&mut self, framing: Framing, messages: &[u8], written: usize, now: MonoNs) {
        if !self.is_blocked() {
            self.progress = now;
        }
        let mut begin = 0;
        while begin < messages.len() {
            let end = match framing {
                Framing::WebSocket if frame::begins_frame(messages[begin]) => {
                    begin + frame::frame_length(&messages[begin..])
                }
                // Messages of a stream are not dropped and their ages not updated, like the response to an upgrade.
                _ => messages.len(),
            };
            let from = begin.max(written);
            if end > from {
                self.is_begun |= from > begin;
                self.messages.push_back(Waiting { length: end - from, as_of: now });
            }
            begin = end;
        }
        self.pending.extend_from_slice(&messages[written..]);
    }

    /// Updates the ages in messages that have not been sent in part.
    pub(crate) fn update_ages(&mut self, now: MonoNs) {
        let begun = usize::from(self.is_begun);
        let waited_ms = |message: &Waiting| now.since(message.as_of) / MS;
        if self.messages.iter().skip(begun).all(|message| waited_ms(message) == 0) {
            return;
        }
        let mut pending = Vec::with_capacity(self.pending.len() + 64);
        let mut rest = self.pending.as_slice();
        for (index, message) in self.messages.iter_mut().enumerate() {
            let (bytes, after) = rest.split_at(message.length.min(rest.len()));
            let (from, ms) = (pending.len(), waited_ms(message));
            if index >= begun && append_older(bytes, ms, &mut pending) {
                message.as_of = message.as_of.plus(ms * MS);
            } else {
                pending.extend_from_slice(bytes);
            }
            (message.length, rest) = (pending.len() - from, after);
        }
        self.pending = pending;
    }

    /// Removes the first `taken` bytes, which are sent, from the list of messages.
    pub fn took(&mut self, mut taken: usize) {
        while let Some(first) = self.messages.front_mut().filter(|_| taken > 0) {
            if taken < first.length {
                first.length -= taken;
                self.is_begun = true;
                return;
            }
            taken -= first.length;
            self.messages.pop_front();
            self.is_begun = false;
        }
    }

    /// Drops everything except the rest of a partly sent message, and releases the memory.
    pub(crate) fn drop_whole(&mut self) {
        self.file = &[];
        self.messages.truncate(usize::from(self.is_begun));
        self.pending.truncate(self.messages.front().map_or(0, |first| first.length));
        self.messages.shrink_to_fit();
        self.pending.shrink_to_fit();
    }

    /// Queues `file` after what waits. Nothing else may be queued until it is sent: only for a client whose next request
    /// waits for this response.
    pub(crate) fn queue_file(&mut self, file: &'static [u8], now: MonoNs) {
        if !self.is_blocked() {
            self.progress = now;
        }
        self.file = file;
    }

    /// Number of waiting bytes.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.pending.len() + self.file.len()
    }

    /// Number of waiting bytes that use memory here.
    #[must_use]
    pub fn held(&self) -> usize {
        self.pending.len()
    }

    /// The waiting bytes. The caller removes what it has sent from the front.
    pub(crate) fn pending(&mut self) -> &mut Vec<u8> {
        &mut self.pending
    }

    /// The file to be sent after them. The caller removes what it has sent from the front.
    pub fn file(&mut self) -> &mut &'static [u8] {
        &mut self.file
    }

    /// The client has taken bytes.
    pub(crate) fn progressed(&mut self, now: MonoNs) {
        self.progress = now;
        if self.pending.is_empty() && self.pending.capacity() > PENDING_CAPACITY_MIN {
            self.pending = Vec::new();
            self.messages = VecDeque::new();
        }
    }

    /// Marks the price at `index` as changed while the client is blocked. `true` if it replaces one not yet sent.
    pub fn mark(&mut self, index: u32) -> bool {
        let (word, bit) = (index as usize / 64, 1 << (index % 64));
        if self.dirty.len() <= word {
            self.dirty.resize(word + 1, 0);
        }
        let again = self.dirty[word] & bit != 0 || self.is_all_due;
        self.dirty[word] |= bit;
        again
    }

    /// Takes the marked prices.
    pub(crate) fn take_marks(&mut self) -> IndexSet {
        IndexSet(std::mem::take(&mut self.dirty))
    }

    /// Clears the marks, because the indexes of the old subscription set are not valid for the new one.
    pub(crate) fn clear_marks(&mut self) {
        self.is_all_due |= !self.dirty.is_empty();
        self.dirty = Vec::new();
    }
}

/// Appends the frame `bytes` with its ages increased by `ms`. Returns `false` and appends nothing if it has no ages or
/// `ms` is 0.
fn append_older(bytes: &[u8], ms: u64, out: &mut Vec<u8>) -> bool {
    let Some(text) = frame::text_of(bytes).filter(|_| ms > 0) else { return false };
    let mut older = Vec::with_capacity(text.len() + 8);
    if !message::older(text, ms, &mut older) {
        return false;
    }
    websocket::text_frame_header(older.len(), out);
    out.extend_from_slice(&older);
    true
}

/// Capacity of an empty outbox that is not released, in bytes.
const PENDING_CAPACITY_MIN: usize = 256;

/// A set of indexes in a subscription set.
#[derive(Debug, Default)]
pub struct IndexSet(Vec<u64>);

impl IndexSet {
    /// Whether it contains `index`.
    #[must_use]
    pub fn contains(&self, index: usize) -> bool {
        self.0.get(index / 64).is_some_and(|word| word & (1 << (index % 64)) != 0)
    }

    /// Adds `index`.
    pub fn insert(&mut self, index: usize) {
        if self.0.len() <= index / 64 {
            self.0.resize(index / 64 + 1, 0);
        }
        self.0[index / 64] |= 1 << (index % 64);
    }

    /// Adds the indexes of `other`.
    pub(crate) fn insert_all(&mut self, other: &Self) {
        if self.0.len() < other.0.len() {
            self.0.resize(other.0.len(), 0);
        }
        self.0.iter_mut().zip(&other.0).for_each(|(word, more)| *word |= more);
    }

    /// Whether it is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frames(lengths: &[usize]) -> (Vec<u8>, Vec<usize>) {
        let (mut bytes, mut ends) = (Vec::new(), vec![0]);
        for &length in lengths {
            websocket::text_frame_header(length, &mut bytes);
            bytes.resize(bytes.len() + length, b'x');
            ends.push(bytes.len());
        }
        (bytes, ends)
    }

    proptest! {
        #[test]
        fn after_a_cut_only_whole_messages_are_dropped(
            lengths in proptest::collection::vec(prop_oneof![0usize..130, 60_000usize..70_000], 1..5), cut: prop::sample::Index,
        ) {
            let (bytes, ends) = frames(&lengths);
            let written = cut.index(bytes.len());
            let mut outbox = Outbox::default();
            let dropped_from = outbox.queue_cut(Framing::WebSocket, &bytes, written, MonoNs(1));
            let end = *ends.iter().find(|end| **end > written).unwrap();
            prop_assert!(outbox.is_blocked());
            prop_assert_eq!(outbox.pending().as_slice(), &bytes[written..end]);
            prop_assert_eq!(dropped_from, end);
            let dropped = ends.iter().filter(|e| **e > end).count();
            prop_assert_eq!(Framing::WebSocket.messages(&bytes[end..]), dropped);
        }

        #[test]
        fn any_bytes_have_a_boundary(bytes in proptest::collection::vec(any::<u8>(), 0..100), from in 0usize..100) {
            let from = from.min(bytes.len());
            for framing in [Framing::WebSocket, Framing::Stream] {
                prop_assert!((from..=bytes.len()).contains(&framing.boundary(&bytes, from)));
                prop_assert!(framing.messages(&bytes) <= bytes.len());
            }
        }
    }

    #[test]
    fn a_newer_price_replaces_an_unsent_one_and_is_counted() {
        let mut outbox = Outbox::default();
        assert!(!outbox.mark(70));
        assert!(outbox.mark(70));
        assert!(!outbox.mark(1));
        let marks = outbox.take_marks();
        assert!(marks.contains(70) && marks.contains(1) && !marks.contains(2));
        assert!(outbox.take_marks().is_empty());
    }

    #[test]
    fn a_file_is_sent_after_what_waits_and_blocks_the_client() {
        let mut outbox = Outbox::default();
        outbox.queue(Framing::Stream, b"head", 0, MonoNs(1));
        outbox.queue_file(b"file", MonoNs(5));
        assert_eq!((outbox.waiting(), outbox.blocked_since()), (8, Some(MonoNs(1))));
        outbox.pending().clear();
        outbox.progressed(MonoNs(7));
        assert_eq!((outbox.waiting(), outbox.blocked_since()), (4, Some(MonoNs(7))));
        *outbox.file() = &outbox.file()[4..];
        assert!(!outbox.is_blocked());
    }

    fn alert(age_ms: u64) -> Vec<u8> {
        let text =
            format!(r#"{{"type":"arbitrage","symbol":"\"ageMs\":1","buyAgeMs":{age_ms},"sellAgeMs":0,"id":"x"}}"#);
        let mut frame = Vec::new();
        websocket::text_frame_header(text.len(), &mut frame);
        frame.extend_from_slice(text.as_bytes());
        frame
    }

    #[test]
    fn ages_of_waiting_messages_are_updated_unless_partly_sent() {
        let mut outbox = Outbox::default();
        let two = [alert(7), alert(8)].concat();
        outbox.queue(Framing::WebSocket, &two, 5, MonoNs(1));
        outbox.queue(Framing::WebSocket, &alert(9), 0, MonoNs(1000 * MS));
        outbox.update_ages(MonoNs(1995 * MS + 1));
        let older = |age_ms: u64, by: u64| {
            let text = String::from_utf8(alert(age_ms + by)[2..].to_vec()).unwrap();
            let text = text.replace(r#""sellAgeMs":0"#, &format!(r#""sellAgeMs":{by}"#));
            let mut frame = Vec::new();
            websocket::text_frame_header(text.len(), &mut frame);
            [frame, text.into_bytes()].concat()
        };
        let expected = [alert(7)[5..].to_vec(), older(8, 1995), older(9, 995)].concat();
        assert_eq!(String::from_utf8_lossy(outbox.pending()), String::from_utf8_lossy(&expected));
        // A message that is sent in parts stays one message, and no waiting time is added twice.
        let first = alert(7).len() - 5;
        outbox.pending().drain(..first + 3);
        outbox.took(first + 3);
        outbox.update_ages(MonoNs(2000 * MS + 1));
        let expected = [older(8, 1995)[3..].to_vec(), older(9, 1000)].concat();
        assert_eq!(String::from_utf8_lossy(outbox.pending()), String::from_utf8_lossy(&expected));
    }

    #[test]
    fn dropping_leaves_the_rest_of_a_partly_sent_message() {
        let mut outbox = Outbox::default();
        outbox.queue(Framing::WebSocket, &[alert(1), alert(2)].concat(), 4, MonoNs(1));
        outbox.drop_whole();
        assert_eq!(outbox.pending().as_slice(), &alert(1)[4..]);
        outbox.pending().clear();
        outbox.took(alert(1).len() - 4);
        outbox.queue(Framing::WebSocket, &alert(3), 0, MonoNs(1));
        outbox.drop_whole();
        assert_eq!((outbox.held(), outbox.is_blocked()), (0, false));
    }

    #[test]
    fn events_of_a_stream_end_at_blank_lines() {
        let bytes = b"data: 1\n\ndata: 22\n\n: x\n\n";
        assert_eq!(Framing::Stream.messages(bytes), 3);
        let mut outbox = Outbox::default();
        let dropped_from = outbox.queue_cut(Framing::Stream, bytes, 3, MonoNs(1));
        assert_eq!(Framing::Stream.messages(&bytes[dropped_from..]), 2);
        assert_eq!(outbox.pending().as_slice(), b"a: 1\n\n");
    }
}
