//! Server-sent events: writes events, comments and the reconnection time. Output only; browsers parse the stream
//! (<https://html.spec.whatwg.org/multipage/server-sent-events.html>, read 2026-11-20).

/// Starts an unnamed event. The caller appends its JSON on one line, then calls [`end_event`].
pub(crate) fn begin_event(out: &mut Vec<u8>) {
    out.extend_from_slice(b"data: ");
}

/// Ends the event with a blank line.
pub(crate) fn end_event(out: &mut Vec<u8>) {
    out.extend_from_slice(b"\n\n");
}

/// Sets how long the browser waits before it reconnects.
pub fn retry(ms: u64, out: &mut Vec<u8>) {
    let mut digits = itoa::Buffer::new();
    out.extend_from_slice(b"retry: ");
    out.extend_from_slice(digits.format(ms).as_bytes());
    out.extend_from_slice(b"\n\n");
}

/// A comment that keeps proxies from closing the stream; clients do not see it.
pub(crate) const HEARTBEAT: &[u8] = b": alive\n\n";

/// Index after the first event of `stream` that ends at or after `from`; the length of `stream` if there is none.
#[must_use]
pub(crate) fn boundary(stream: &[u8], from: usize) -> usize {
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
