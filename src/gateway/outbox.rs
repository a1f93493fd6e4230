//! What one client is owed while it does not read: the rest of a frame that was cut, alerts and replies
//! up to a limit, and which of its prices have changed. Prices themselves never wait: when the client
//! reads again it gets the newest of each. Ages in what waits are brought up to date before it leaves.
//! Pure; the gateway's thread uses it.

use std::collections::VecDeque;

use crate::protocol::message;
use crate::time::{MS, MonoNs};
use crate::wire::sse;
use crate::wire::websocket::{self, frame};

/// How messages follow each other on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// WebSocket frames without a mask.
    WebSocket,
    /// Events ended by a blank line.
    Stream,
}

impl Framing {
    /// The end of the message of `bytes` in which byte `from` is; `from` itself between two messages.
    #[must_use]
    pub fn boundary(self, bytes: &[u8], from: usize) -> usize {
        match self {
            Self::Stream if from == 0 => 0,
            Self::Stream => sse::boundary(bytes, from),
            Self::WebSocket => frame::boundary(bytes, from),
        }
    }

    /// How many messages `bytes` holds.
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

/// A message that waits.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    /// Bytes of it that are pending.
    length: usize,
    /// The moment for which its ages are right.
    as_of: MonoNs,
}

/// See the file's head.
#[derive(Debug, Default)]
pub struct Outbox {
    pending: Vec<u8>,
    /// The messages that `pending` consists of.
    messages: VecDeque<Waiting>,
    /// Whether the first of them has begun to go out.
    is_begun: bool,
    /// What comes after it: the rest of an embedded file, which needs no copy.
    following: &'static [u8],
    /// When the client last took something, or began to block.
    progress: MonoNs,
    /// One bit per place of the client's subscription: changed since it blocked.
    dirty: Vec<u64>,
    /// It missed a beat: it is owed all its prices, those of `dirty` first.
    pub owes_all: bool,
}

impl Outbox {
    /// Whether bytes wait: nothing may overtake them.
    #[inline]
    #[must_use]
    pub fn is_blocked(&self) -> bool {
        !self.pending.is_empty() || !self.following.is_empty()
    }

    /// Since when a blocked client has taken nothing.
    #[must_use]
    pub fn blocked_since(&self) -> Option<MonoNs> {
        self.is_blocked().then_some(self.progress)
    }

    /// The socket took `written` bytes of `messages`, not all: keeps the rest of the message that was cut, or the next one
    /// when the cut is between two, so that the client is known to block. Returns where the first message begins that is
    /// lost; newer ones will stand in for these.
    pub fn keep_cut(&mut self, framing: Framing, messages: &[u8], written: usize, now: MonoNs) -> usize {
        let end = match framing.boundary(messages, written) {
            end if end == written => framing.boundary(messages, (written + 1).min(messages.len())),
            end => end,
        };
        self.keep(framing, &messages[..end], written, now);
        end
    }

    /// Keeps what follows the first `written` bytes of `messages` for later; 0 while others wait.
    pub fn keep(&mut self, framing: Framing, messages: &[u8], written: usize, now: MonoNs) {
        if !self.is_blocked() {
            self.progress = now;
        }
        let mut begin = 0;
        while begin < messages.len() {
            let end = match framing {
                Framing::WebSocket if frame::begins_frame(messages[begin]) => {
                    begin + frame::frame_length(&messages[begin..])
                }
                // Nothing of a stream is cut off or brought up to date; nor is the answer to an opening handshake.
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

    /// Makes the ages in messages that have not begun to go out right for `now`: call it before they do.
    pub fn bring_up_to_date(&mut self, now: MonoNs) {
        let begun = usize::from(self.is_begun);
        let waited_ms = |message: &Waiting| now.since(message.as_of) / MS;
        if self.messages.iter().skip(begun).all(|message| waited_ms(message) == 0) {
            return;
        }
        let mut pending = Vec::with_capacity(self.pending.len() + 64);
        let mut rest = self.pending.as_slice();
        for (place, message) in self.messages.iter_mut().enumerate() {
            let (bytes, after) = rest.split_at(message.length.min(rest.len()));
            let (from, ms) = (pending.len(), waited_ms(message));
            if place >= begun && append_older(bytes, ms, &mut pending) {
                message.as_of = message.as_of.plus(ms * MS);
            } else {
                pending.extend_from_slice(bytes);
            }
            (message.length, rest) = (pending.len() - from, after);
        }
        self.pending = pending;
    }

    /// The first `taken` bytes of what waited are sent.
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

    /// Drops everything but the rest of a message that has begun to go out, and gives its memory back.
    pub fn drop_whole(&mut self) {
        self.following = &[];
        self.messages.truncate(usize::from(self.is_begun));
        self.pending.truncate(self.messages.front().map_or(0, |first| first.length));
        self.messages.shrink_to_fit();
        self.pending.shrink_to_fit();
    }

    /// Lets `file` follow what waits. Nothing else may be kept until it is sent: only for a client whose
    /// next request waits for this answer.
    pub fn follow(&mut self, file: &'static [u8], now: MonoNs) {
        if !self.is_blocked() {
            self.progress = now;
        }
        self.following = file;
    }

    /// How many bytes wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.pending.len() + self.following.len()
    }

    /// How many of them take memory here.
    #[must_use]
    pub fn held(&self) -> usize {
        self.pending.len()
    }

    /// The waiting bytes; the caller removes from the front what it has sent.
    pub fn pending(&mut self) -> &mut Vec<u8> {
        &mut self.pending
    }

    /// The file that follows them; the caller cuts from the front what it has sent.
    pub fn following(&mut self) -> &mut &'static [u8] {
        &mut self.following
    }

    /// The client has taken something.
    pub fn progressed(&mut self, now: MonoNs) {
        self.progress = now;
        if self.pending.is_empty() && self.pending.capacity() > PENDING_KEPT_MAX {
            self.pending = Vec::new();
            self.messages = VecDeque::new();
        }
    }

    /// The price at `place` changed while the client blocks. `true` when it replaces one not yet sent.
    pub fn mark(&mut self, place: u32) -> bool {
        let (word, bit) = (place as usize / 64, 1 << (place % 64));
        if self.dirty.len() <= word {
            self.dirty.resize(word + 1, 0);
        }
        let again = self.dirty[word] & bit != 0 || self.owes_all;
        self.dirty[word] |= bit;
        again
    }

    /// Takes the marks.
    pub fn take_marks(&mut self) -> Marks {
        Marks(std::mem::take(&mut self.dirty))
    }

    /// The client's subscription is another one: marks of the old one mean nothing.
    pub fn forget_marks(&mut self) {
        self.owes_all |= !self.dirty.is_empty();
        self.dirty = Vec::new();
    }
}

/// Appends the frame `bytes` with the ages of a message that has waited for `ms` more. `false`, and nothing, when that
/// changes nothing.
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

/// Memory that an outbox keeps when nothing waits in it.
const PENDING_KEPT_MAX: usize = 256;

/// Places of a subscription.
#[derive(Debug, Default)]
pub struct Marks(Vec<u64>);

impl Marks {
    /// Whether `place` is one of them.
    #[must_use]
    pub fn has(&self, place: usize) -> bool {
        self.0.get(place / 64).is_some_and(|word| word & (1 << (place % 64)) != 0)
    }

    /// Adds `place`.
    pub fn add(&mut self, place: usize) {
        if self.0.len() <= place / 64 {
            self.0.resize(place / 64 + 1, 0);
        }
        self.0[place / 64] |= 1 << (place % 64);
    }

    /// Adds the places of `other`.
    pub fn add_all(&mut self, other: &Self) {
        if self.0.len() < other.0.len() {
            self.0.resize(other.0.len(), 0);
        }
        self.0.iter_mut().zip(&other.0).for_each(|(word, more)| *word |= more);
    }

    /// Whether there are none.
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
        fn a_cut_burst_goes_on_at_a_frame_and_loses_only_whole_ones(
            lengths in proptest::collection::vec(prop_oneof![0usize..130, 60_000usize..70_000], 1..5), cut: prop::sample::Index,
        ) {
            let (bytes, ends) = frames(&lengths);
            let written = cut.index(bytes.len());
            let mut outbox = Outbox::default();
            let kept = outbox.keep_cut(Framing::WebSocket, &bytes, written, MonoNs(1));
            let end = *ends.iter().find(|end| **end > written).unwrap();
            prop_assert!(outbox.is_blocked());
            prop_assert_eq!(outbox.pending().as_slice(), &bytes[written..end]);
            prop_assert_eq!(kept, end);
            let lost = ends.iter().filter(|e| **e > end).count();
            prop_assert_eq!(Framing::WebSocket.messages(&bytes[end..]), lost);
        }

        #[test]
        fn any_bytes_have_an_end(bytes in proptest::collection::vec(any::<u8>(), 0..100), from in 0usize..100) {
            let from = from.min(bytes.len());
            for framing in [Framing::WebSocket, Framing::Stream] {
                prop_assert!((from..=bytes.len()).contains(&framing.boundary(&bytes, from)));
                prop_assert!(framing.messages(&bytes) <= bytes.len());
            }
        }
    }

    #[test]
    fn the_newest_of_a_pair_wins_and_the_others_are_counted() {
        let mut outbox = Outbox::default();
        assert!(!outbox.mark(70));
        assert!(outbox.mark(70));
        assert!(!outbox.mark(1));
        let marks = outbox.take_marks();
        assert!(marks.has(70) && marks.has(1) && !marks.has(2));
        assert!(outbox.take_marks().is_empty());
    }

    #[test]
    fn a_file_follows_what_waits_and_blocks_like_it() {
        let mut outbox = Outbox::default();
        outbox.keep(Framing::Stream, b"head", 0, MonoNs(1));
        outbox.follow(b"file", MonoNs(5));
        assert_eq!((outbox.waiting(), outbox.blocked_since()), (8, Some(MonoNs(1))));
        outbox.pending().clear();
        outbox.progressed(MonoNs(7));
        assert_eq!((outbox.waiting(), outbox.blocked_since()), (4, Some(MonoNs(7))));
        *outbox.following() = &outbox.following()[4..];
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
    fn what_waits_leaves_with_its_age_of_then_but_for_what_has_begun_to_go_out() {
        let mut outbox = Outbox::default();
        let two = [alert(7), alert(8)].concat();
        outbox.keep(Framing::WebSocket, &two, 5, MonoNs(1));
        outbox.keep(Framing::WebSocket, &alert(9), 0, MonoNs(1000 * MS));
        outbox.bring_up_to_date(MonoNs(1995 * MS + 1));
        let older = |age_ms: u64, by: u64| {
            let text = String::from_utf8(alert(age_ms + by)[2..].to_vec()).unwrap();
            let text = text.replace(r#""sellAgeMs":0"#, &format!(r#""sellAgeMs":{by}"#));
            let mut frame = Vec::new();
            websocket::text_frame_header(text.len(), &mut frame);
            [frame, text.into_bytes()].concat()
        };
        let expected = [alert(7)[5..].to_vec(), older(8, 1995), older(9, 995)].concat();
        assert_eq!(String::from_utf8_lossy(outbox.pending()), String::from_utf8_lossy(&expected));
        // What the socket takes in parts stays one message, and no time counts twice.
        let first = alert(7).len() - 5;
        outbox.pending().drain(..first + 3);
        outbox.took(first + 3);
        outbox.bring_up_to_date(MonoNs(2000 * MS + 1));
        let expected = [older(8, 1995)[3..].to_vec(), older(9, 1000)].concat();
        assert_eq!(String::from_utf8_lossy(outbox.pending()), String::from_utf8_lossy(&expected));
    }

    #[test]
    fn only_the_rest_of_a_message_that_has_begun_survives() {
        let mut outbox = Outbox::default();
        outbox.keep(Framing::WebSocket, &[alert(1), alert(2)].concat(), 4, MonoNs(1));
        outbox.drop_whole();
        assert_eq!(outbox.pending().as_slice(), &alert(1)[4..]);
        outbox.pending().clear();
        outbox.took(alert(1).len() - 4);
        outbox.keep(Framing::WebSocket, &alert(3), 0, MonoNs(1));
        outbox.drop_whole();
        assert_eq!((outbox.held(), outbox.is_blocked()), (0, false));
    }

    #[test]
    fn events_of_a_stream_are_counted_and_cut_at_blank_lines() {
        let bytes = b"data: 1\n\ndata: 22\n\n: x\n\n";
        assert_eq!(Framing::Stream.messages(bytes), 3);
        let mut outbox = Outbox::default();
        let kept = outbox.keep_cut(Framing::Stream, bytes, 3, MonoNs(1));
        assert_eq!(Framing::Stream.messages(&bytes[kept..]), 2);
        assert_eq!(outbox.pending().as_slice(), b"a: 1\n\n");
    }
}
