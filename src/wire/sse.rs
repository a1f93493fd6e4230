//! Server-sent events: the three things we put on a stream. Bytes out only; browsers parse them
//! (<https://html.spec.whatwg.org/multipage/server-sent-events.html>, read 2026-11-20).

/// Opens an unnamed event; its JSON (one line) follows, then [`end_event`].
pub fn begin_event(out: &mut Vec<u8>) {
    out.extend_from_slice(b"data: ");
}

/// Ends the event: a blank line.
pub fn end_event(out: &mut Vec<u8>) {
    out.extend_from_slice(b"\n\n");
}

/// Tells the browser how long to wait before it reconnects.
pub fn retry(ms: u64, out: &mut Vec<u8>) {
    let mut digits = itoa::Buffer::new();
    out.extend_from_slice(b"retry: ");
    out.extend_from_slice(digits.format(ms).as_bytes());
    out.extend_from_slice(b"\n\n");
}

/// A comment: proves to proxies that the stream lives; clients never see it.
pub const HEARTBEAT: &[u8] = b": alive\n\n";

/// Length of the first whole event of `stream` that ends at or after `from`, counted from the start.
#[must_use]
pub fn boundary(stream: &[u8], from: usize) -> usize {
    let start = from.saturating_sub(2);
    stream[start..].windows(2).position(|pair| pair == b"\n\n").map_or(stream.len(), |at| start + at + 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_stream_goes_on_at_the_next_blank_line() {
        let mut stream = Vec::new();
        retry(3000, &mut stream);
        begin_event(&mut stream);
        stream.extend_from_slice(b"{}");
        end_event(&mut stream);
        assert_eq!(stream, b"retry: 3000\n\ndata: {}\n\n");
        assert_eq!(boundary(&stream, 1), 13);
        assert_eq!(boundary(&stream, 12), 13);
        assert_eq!(boundary(&stream, 13), 13);
        assert_eq!(boundary(&stream, 14), 23);
        assert_eq!(boundary(&stream, 22), 23);
        assert_eq!(boundary(&stream, 23), 23);
    }
}
