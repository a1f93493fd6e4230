//! WebSocket frames (RFC 6455, 5.2). Parses headers and finds the ends of frames in input that may be split anywhere,
//! and writes headers. Never reads payloads.

/// First byte of a whole text message: FIN and the opcode of text.
const TEXT: u8 = 0x81;
/// First byte of a whole binary message.
const BINARY: u8 = 0x82;
/// FIN: no fragment follows.
const FINAL: u8 = 0x80;
/// The opcode bit that is set in all control frames.
const CONTROL: u8 = 0x08;
/// Bytes of the longest header, without the mask.
const HEADER_MAX: usize = 10;
/// Bytes of a mask.
const MASK: u64 = 4;

/// The header of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Header {
    /// FIN, reserved bits and opcode.
    first: u8,
    is_masked: bool,
    /// Bytes of the header, without the mask.
    length: usize,
    /// Bytes of the payload.
    payload: u64,
}

impl Header {
    /// Parses the header at the start of `bytes`; `None` while it is incomplete.
    fn read(bytes: &[u8]) -> Option<Self> {
        let [first, second, rest @ ..] = bytes else { return None };
        let (length, payload) = match second & 0x7f {
            126 => (4, u64::from(u16::from_be_bytes(*rest.first_chunk()?))),
            127 => (10, u64::from_be_bytes(*rest.first_chunk()?)),
            short => (2, u64::from(short)),
        };
        Some(Self { first: *first, is_masked: second & 0x80 != 0, length, payload })
    }

    /// Bytes of the frame after this header: mask and payload.
    const fn rest(self) -> u64 {
        self.payload.saturating_add(if self.is_masked { MASK } else { 0 })
    }

    /// Whether the length is encoded in the fewest bytes and its highest bit is 0.
    const fn is_length_valid(self) -> bool {
        self.length == header_length(self.payload) && self.payload <= i64::MAX as u64
    }

    const fn is_control(self) -> bool {
        self.first & CONTROL != 0
    }

    const fn is_final(self) -> bool {
        self.first & FINAL != 0
    }
}

/// Bytes of the header, without a mask, of a frame with `payload` bytes.
const fn header_length(payload: u64) -> usize {
    match payload {
        0..=125 => 2,
        126..=0xffff => 4,
        _ => 10,
    }
}

/// Size on the wire of a message of `length` bytes, sent in one frame without a mask.
#[must_use]
pub(crate) const fn framed_length(length: usize) -> usize {
    header_length(length as u64) + length
}

/// Length of the frame at the start of `bytes`, header included. If the frame or its header is incomplete, the length of
/// `bytes`. At least 1.
#[must_use]
pub(crate) fn frame_length(bytes: &[u8]) -> usize {
    let length = Header::read(bytes).map(|it| it.rest().saturating_add(it.length as u64));
    length.and_then(|length| usize::try_from(length).ok()).unwrap_or(usize::MAX).min(bytes.len()).max(1)
}

/// End of the frame that contains byte `from` of `frames`; `from` itself if a frame begins there.
#[must_use]
pub(crate) fn boundary(frames: &[u8], from: usize) -> usize {
    let mut at = 0;
    while at < from {
        at += frame_length(&frames[at..]);
    }
    at.min(frames.len())
}

/// Whether `byte` can begin a frame that we send: an unfragmented message without extensions.
#[must_use]
pub(crate) const fn begins_frame(byte: u8) -> bool {
    byte & 0xf0 == FINAL
}

/// The text in `frame`, an unfragmented text message without a mask; `None` for any other frame.
#[must_use]
pub(crate) fn text_of(frame: &[u8]) -> Option<&[u8]> {
    let header = Header::read(frame).filter(|it| it.first == TEXT && !it.is_masked)?;
    frame.get(header.length..)
}

/// Close code and reason for a violation of the framing.
pub(crate) type Violation = (u16, &'static str);

/// A message exceeds the limit of fragments.
pub(crate) const TOO_MANY_FRAGMENTS: Violation = (1008, "too many fragments");
/// A length is not encoded in the fewest bytes, or its highest bit is 1.
const LENGTH_NOT_MINIMAL: Violation = (1002, "length not minimal");

/// Follows the frames of one peer by their headers and counts the fragments of each message. The input may be split
/// anywhere. Control frames may come between fragments and do not count.
#[derive(Debug)]
pub(crate) struct FrameWalker {
    header: [u8; HEADER_MAX],
    /// Number of header bytes so far.
    have: usize,
    /// Remaining mask and payload bytes of the current frame.
    rest: u64,
    /// Fragments of the current message so far.
    fragments: u32,
    fragments_max: u32,
}

impl FrameWalker {
    /// Starts before the first frame. A message may have at most `fragments_max` fragments.
    #[must_use]
    pub const fn new(fragments_max: u32) -> Self {
        Self { header: [0; HEADER_MAX], have: 0, rest: 0, fragments: 0, fragments_max }
    }

    /// Walks over all of `bytes`. Rejects lengths that are not encoded in the fewest bytes, which tungstenite accepts.
    ///
    /// # Errors
    /// The first violation. The walker then has lost the ends of frames, and the connection must be closed.
    pub fn check(&mut self, mut bytes: &[u8]) -> Result<(), Violation> {
        while !bytes.is_empty() {
            let (taken, header) = self.step(bytes);
            bytes = &bytes[taken..];
            if header.is_some_and(|it| !it.is_length_valid()) {
                self.rest = u64::MAX;
                return Err(LENGTH_NOT_MINIMAL);
            }
            if self.has_too_many() {
                return Err(TOO_MANY_FRAGMENTS);
            }
        }
        Ok(())
    }

    /// Number of leading bytes that may pass, and walks over them. They end with the last of the `frames_left` frames, or
    /// before the first fragment that exceeds the limit; after that nothing passes. Decrements `frames_left` per frame.
    pub fn pass(&mut self, bytes: &[u8], frames_left: &mut usize) -> usize {
        let (mut at, mut begun) = (0, 0);
        while at < bytes.len() && !self.has_too_many() {
            if self.have == 0 && self.rest == 0 {
                if *frames_left == 0 {
                    break;
                }
                begun = at;
            }
            let (taken, header) = self.step(&bytes[at..]);
            at += taken;
            if header.is_some() {
                *frames_left = frames_left.saturating_sub(1);
                if self.has_too_many() {
                    return begun;
                }
            }
        }
        at
    }

    /// Whether the current message exceeds the limit of fragments.
    #[must_use]
    pub(crate) const fn has_too_many(&self) -> bool {
        self.fragments > self.fragments_max
    }

    /// Whether the bytes so far end with a complete message.
    #[must_use]
    pub(crate) const fn is_between(&self) -> bool {
        self.have == 0 && self.rest == 0 && self.fragments == 0
    }

    /// Walks to the end of the current frame, or else to the end of the next header. Returns the number of bytes, and the
    /// header if it is complete.
    fn step(&mut self, bytes: &[u8]) -> (usize, Option<Header>) {
        if self.rest > 0 {
            let step = self.rest.min(bytes.len() as u64);
            self.rest -= step;
            return (step as usize, None);
        }
        for (at, byte) in bytes.iter().enumerate() {
            self.header[self.have] = *byte;
            self.have += 1;
            let Some(header) = Header::read(&self.header[..self.have]) else { continue };
            (self.have, self.rest) = (0, header.rest());
            if !header.is_control() {
                self.fragments = self.fragments.saturating_add(1);
                if header.is_final() && !self.has_too_many() {
                    self.fragments = 0;
                }
            }
            return (at + 1, Some(header));
        }
        (bytes.len(), None)
    }
}

/// Appends the header of an unmasked, unfragmented text frame of `length` bytes. A server writes it before a message
/// that is encoded once and sent to many clients.
pub fn text_frame_header(length: usize, out: &mut Vec<u8>) {
    let (header, end) = header(TEXT, length);
    out.extend_from_slice(&header[..end]);
}

/// The same for a binary frame.
pub fn binary_frame_header(length: usize, out: &mut Vec<u8>) {
    let (header, end) = header(BINARY, length);
    out.extend_from_slice(&header[..end]);
}

/// Appends an unmasked text frame whose payload is what `write` appends.
pub(crate) fn frame_text(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    // Nearly every message needs a header of four bytes. For another header the message is moved.
    const ROOM: usize = 4;
    let start = out.len();
    out.extend_from_slice(&[0; ROOM]);
    write(out);
    let (header, end) = header(TEXT, out.len() - start - ROOM);
    if end == ROOM {
        out[start..start + ROOM].copy_from_slice(&header[..ROOM]);
    } else {
        out.splice(start..start + ROOM, header[..end].iter().copied());
    }
}

/// A header without a mask, and its length.
fn header(first: u8, length: usize) -> ([u8; HEADER_MAX], usize) {
    let mut header = [0; HEADER_MAX];
    header[0] = first;
    let end = header_length(length as u64);
    match end {
        2 => header[1] = length as u8,
        4 => {
            header[1] = 126;
            header[2..4].copy_from_slice(&(length as u16).to_be_bytes());
        }
        _ => {
            header[1] = 127;
            header[2..].copy_from_slice(&(length as u64).to_be_bytes());
        }
    }
    (header, end)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use proptest::prelude::*;
    use proptest::sample::Index;
    use tungstenite::protocol::frame::FrameHeader;
    use tungstenite::protocol::frame::coding::{Data, OpCode};

    use super::*;

    /// A frame as a peer may send it. Its header may be longer than its length needs.
    fn frame() -> impl Strategy<Value = Vec<u8>> {
        let first = prop_oneof![
            4 => Just(0x00), 2 => Just(0x80), 2 => Just(0x01), 2 => Just(0x81), 1 => Just(0x82), 1 => Just(0x89), 1 => Just(0x8a),
        ];
        let length = prop_oneof![8 => 0usize..8, 4 => 120usize..130, 1 => 65_530usize..65_540];
        let room = prop_oneof![16 => Just(2), 1 => Just(4), 1 => Just(10)];
        (first, any::<bool>(), length, room).prop_map(|(first, is_masked, length, room): (u8, bool, usize, usize)| {
            let mask_bit = if is_masked { 0x80 } else { 0 };
            let mut bytes = vec![first];
            match room.max(header_length(length as u64)) {
                2 => bytes.push(length as u8 | mask_bit),
                4 => bytes.extend([&[126 | mask_bit], (length as u16).to_be_bytes().as_slice()].concat()),
                _ => bytes.extend([&[127 | mask_bit], (length as u64).to_be_bytes().as_slice()].concat()),
            }
            // The payload looks like headers.
            bytes.resize(bytes.len() + length + if is_masked { 4 } else { 0 }, 0x81);
            bytes
        })
    }

    /// Position and header of each frame in `bytes`, as tungstenite parses them.
    fn by_tungstenite(bytes: &[u8]) -> Vec<(usize, Header)> {
        let (mut at, mut found) = (0, Vec::new());
        while at < bytes.len() {
            let mut cursor = Cursor::new(&bytes[at..]);
            let Ok(Some((header, payload))) = FrameHeader::parse(&mut cursor) else { break };
            let mask = if header.mask.is_some() { 4 } else { 0 };
            let length = cursor.position() as usize - mask;
            let first = u8::from(header.opcode) | if header.is_final { 0x80 } else { 0 };
            found.push((at, Header { first, is_masked: mask > 0, length, payload }));
            at += length + mask + payload as usize;
        }
        found
    }

    /// `bytes`, split at `cuts`.
    fn pieces(bytes: &[u8], cuts: &[Index]) -> Vec<Vec<u8>> {
        let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).chain([bytes.len()]).collect();
        ends.sort_unstable();
        let begins = [0].into_iter().chain(ends.clone());
        begins.zip(ends.clone()).map(|(begin, end)| bytes[begin..end].to_vec()).collect()
    }

    /// Index of the first frame that is one fragment more than `max`.
    fn first_too_many(frames: &[(usize, Header)], max: u32) -> Option<usize> {
        let mut count = 0;
        frames.iter().position(|(_, header)| {
            let is_control = matches!(OpCode::from(header.first & 0x0f), OpCode::Control(_));
            count += u32::from(!is_control);
            let is_too_many = !is_control && count > max;
            count = if !is_control && header.first >= 0x80 { 0 } else { count };
            is_too_many
        })
    }

    proptest! {
        #[test]
        fn frames_are_those_that_tungstenite_finds_whatever_way_they_are_cut(
            frames in prop::collection::vec(frame(), 0..12), cuts in prop::collection::vec(any::<Index>(), 0..12),
        ) {
            let bytes = frames.concat();
            let mut walker = FrameWalker::new(u32::MAX);
            let (mut at, mut found) = (0, Vec::new());
            for piece in pieces(&bytes, &cuts) {
                let mut rest = piece.as_slice();
                while !rest.is_empty() {
                    let (taken, header) = walker.step(rest);
                    (at, rest) = (at + taken, &rest[taken..]);
                    found.extend(header.map(|header| (at - header.length, header)));
                }
            }
            let expected = by_tungstenite(&bytes);
            prop_assert_eq!(expected.len(), frames.len());
            prop_assert_eq!(&found, &expected);
            prop_assert!(walker.have == 0 && walker.rest == 0);
            // The functions on complete input find the same ends.
            for (frame, (begin, header)) in frames.iter().zip(expected) {
                prop_assert_eq!(frame_length(&bytes[begin..]), frame.len());
                prop_assert_eq!(boundary(&bytes, begin), begin);
                prop_assert_eq!(boundary(&bytes, begin + 1), begin + frame.len());
                prop_assert_eq!(text_of(frame).is_some(), header.first == 0x81 && !header.is_masked);
            }
        }

        #[test]
        fn the_first_violation_is_found_whatever_way_frames_are_cut(
            frames in prop::collection::vec(frame(), 0..20), cuts in prop::collection::vec(any::<Index>(), 0..12), max in 1u32..5,
        ) {
            let bytes = frames.concat();
            let headers = by_tungstenite(&bytes);
            let too_many = first_too_many(&headers, max).unwrap_or(usize::MAX);
            let not_minimal = headers.iter().position(|(_, it)| {
                let (length, payload) = (it.length, it.payload);
                (length == 4 && payload < 126) || (length == 10 && payload < 65_536)
            });
            let not_minimal = not_minimal.unwrap_or(usize::MAX);
            let expected = match not_minimal.min(too_many) {
                usize::MAX => Ok(()),
                first if first == not_minimal => Err((1002, "length not minimal")),
                _ => Err((1008, "too many fragments")),
            };
            let mut walker = FrameWalker::new(max);
            let result = pieces(&bytes, &cuts).iter().try_for_each(|piece| walker.check(piece));
            prop_assert_eq!(result, expected);
            if result.is_ok() {
                let is_data = |it: &&Header| it.first & 0x08 == 0;
                let last = headers.iter().map(|(_, it)| it).rfind(is_data);
                prop_assert_eq!(walker.is_between(), last.is_none_or(|it| it.first >= 0x80));
            }
        }

        #[test]
        fn bytes_pass_up_to_the_frame_that_is_not_allowed_whatever_way_they_are_cut(
            frames in prop::collection::vec(frame(), 0..20), cuts in prop::collection::vec(any::<Index>(), 0..12),
            max in 1u32..5, allowed in 0usize..25,
        ) {
            let bytes = frames.concat();
            let headers = by_tungstenite(&bytes);
            let too_many = first_too_many(&headers, max);
            let end = allowed.min(too_many.unwrap_or(usize::MAX));
            let end_at = headers.get(end).map_or(bytes.len(), |(begin, _)| *begin);
            let mut walker = FrameWalker::new(max);
            let (mut passed, mut frames_left) = (0, allowed);
            for piece in pieces(&bytes, &cuts) {
                let most = walker.pass(&piece, &mut frames_left);
                passed += most;
                // After that nothing passes.
                if most < piece.len() {
                    prop_assert_eq!(walker.pass(&piece[most..], &mut frames_left), 0);
                    break;
                }
            }
            let refused = too_many.is_some_and(|at| at < allowed);
            prop_assert_eq!(walker.has_too_many(), refused);
            if refused {
                // The start of its header may have passed with an earlier piece.
                prop_assert!((end_at..end_at + headers[end].1.length).contains(&passed));
            } else {
                prop_assert_eq!(passed, end_at);
            }
        }

        #[test]
        fn a_message_takes_the_bytes_that_tungstenite_writes(length in prop_oneof![0usize..300, 65_530usize..65_540]) {
            let text = "x".repeat(length);
            let mut expected = Vec::new();
            let header = FrameHeader { opcode: OpCode::Data(Data::Text), ..FrameHeader::default() };
            header.format(length as u64, &mut expected).unwrap();
            expected.extend_from_slice(text.as_bytes());
            let mut out = b"before".to_vec();
            frame_text(&mut out, |out| out.extend_from_slice(text.as_bytes()));
            prop_assert_eq!(&out[6..], &expected);
            let mut header = Vec::new();
            text_frame_header(length, &mut header);
            prop_assert_eq!(&header, &expected[..expected.len() - length]);
            header.clear();
            binary_frame_header(length, &mut header);
            prop_assert_eq!(header[0], 0x82);
            prop_assert_eq!(&header[1..], &expected[1..expected.len() - length]);
            prop_assert_eq!(framed_length(length), expected.len());
            prop_assert_eq!(text_of(&expected), Some(text.as_bytes()));
        }
    }
}
