//! What one client is owed while it does not read: the rest of a frame that was cut, alerts and replies
//! up to a limit, and which of its prices have changed. Prices themselves never wait: when the client
//! reads again it gets the newest of each. Pure; the gateway's thread uses it.

use crate::time::MonoNs;

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
            Self::Stream => crate::wire::sse::boundary(bytes, from),
            Self::WebSocket => {
                let mut at = 0;
                while at < from {
                    at += frame_length(&bytes[at..]);
                }
                at.min(bytes.len())
            }
        }
    }

    /// How many messages `bytes` holds.
    #[must_use]
    pub fn messages(self, bytes: &[u8]) -> usize {
        let (mut at, mut count) = (0, 0);
        while at < bytes.len() {
            at = match self {
                Self::Stream => crate::wire::sse::boundary(bytes, at + 2),
                Self::WebSocket => at + frame_length(&bytes[at..]),
            };
            count += 1;
        }
        count
    }
}

/// Length of the unmasked frame at the start of `bytes`; all of them if that is no whole header.
fn frame_length(bytes: &[u8]) -> usize {
    let length = match bytes {
        [_, 126, high, low, ..] => 4 + usize::from(u16::from_be_bytes([*high, *low])),
        [_, 127, rest @ ..] if rest.len() >= 8 => {
            let mut length = [0; 8];
            length.copy_from_slice(&rest[..8]);
            usize::try_from(u64::from_be_bytes(length)).map_or(usize::MAX, |n| n.saturating_add(10))
        }
        [_, length, ..] if *length < 126 => 2 + usize::from(*length),
        _ => usize::MAX,
    };
    length.min(bytes.len()).max(1)
}

/// See the file's head.
#[derive(Debug, Default)]
pub struct Outbox {
    pending: Vec<u8>,
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
        self.keep(&messages[written..end], now);
        end
    }

    /// Keeps `rest` for later. Whole messages, or the rest of one that began to go out.
    pub fn keep(&mut self, rest: &[u8], now: MonoNs) {
        if !self.is_blocked() {
            self.progress = now;
        }
        self.pending.extend_from_slice(rest);
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
            crate::wire::websocket::text_frame_header(length, &mut bytes);
            bytes.resize(bytes.len() + length, b'x');
            ends.push(bytes.len());
        }
        (bytes, ends)
    }

    proptest! {
        #[test]
        fn f83_a_cut_burst_goes_on_at_a_frame_and_loses_only_whole_ones(
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
    fn f83_the_newest_of_a_pair_wins_and_the_others_are_counted() {
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
        outbox.keep(b"head", MonoNs(1));
        outbox.follow(b"file", MonoNs(5));
        assert_eq!((outbox.waiting(), outbox.blocked_since()), (8, Some(MonoNs(1))));
        outbox.pending().clear();
        outbox.progressed(MonoNs(7));
        assert_eq!((outbox.waiting(), outbox.blocked_since()), (4, Some(MonoNs(7))));
        *outbox.following() = &outbox.following()[4..];
        assert!(!outbox.is_blocked());
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
