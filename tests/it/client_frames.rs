//! WebSocket frames of a client without a WebSocket library: the test decides when its bytes are sent and read.

use spreadwire::wire::websocket;

/// A text frame of a client, with the mask 0.
pub fn masked(text: &str) -> Vec<u8> {
    let mut frame = Vec::new();
    websocket::text_frame_header(text.len(), &mut frame);
    frame[1] |= 0x80;
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(text.as_bytes());
    frame
}

/// Takes the whole text messages at the front of `input`.
pub fn texts_of(input: &mut Vec<u8>) -> Vec<String> {
    let (mut texts, mut at) = (Vec::new(), 0);
    while let Some((from, to)) = frame_at(input, at) {
        if input[at] == 0x81 {
            texts.push(String::from_utf8(input[from..to].to_vec()).unwrap());
        }
        at = to;
    }
    input.drain(..at);
    texts
}

/// Where the payload of the frame that begins at `at` is, if all of it is there.
fn frame_at(bytes: &[u8], at: usize) -> Option<(usize, usize)> {
    let (from, length) = match *bytes.get(at + 1)? {
        126 => (at + 4, usize::from(u16::from_be_bytes([*bytes.get(at + 2)?, *bytes.get(at + 3)?]))),
        127 => (at + 10, u64::from_be_bytes(bytes.get(at + 2..at + 10)?.try_into().ok()?) as usize),
        short => (at + 2, usize::from(short)),
    };
    (bytes.len() >= from + length).then_some((from, from + length))
}
