//! A WebSocket without a socket: bytes in, messages out; messages in, bytes out.
//!
//! tungstenite implements the protocol (RFC 6455, no extensions). This wrapper adds an in-memory stream, small buffers,
//! limits, and the close code for each violation. Runs on the thread that owns the connection. Feed, simulator and
//! gateway use it. [`frame`] parses and writes the frames.

pub mod frame;

use std::io::{self, Read, Write};

pub use tungstenite::Bytes;
pub(crate) use tungstenite::Utf8Bytes;
use tungstenite::client::IntoClientRequest;
use tungstenite::error::{CapacityError, Error};
use tungstenite::handshake::MidHandshake;
use tungstenite::handshake::client::ClientHandshake;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tungstenite::{HandshakeError, Message};

pub(crate) use frame::frame_text;
use frame::{FrameWalker, TOO_MANY_FRAGMENTS};
pub use frame::{binary_frame_header, text_frame_header};

/// Limits on what the peer may send.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Largest message in bytes. A larger frame is rejected when its header arrives.
    pub message_max: usize,
    /// Size of the read buffer in bytes, allocated when the connection opens.
    pub read_buffer: usize,
    /// Most fragments of one message, empty ones included. One more closes the connection with 1008.
    pub fragments_max: u32,
}

/// An event of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The upgrade is complete (client side only). Holds the `x-spreadwire-source` header of the response, if any.
    Open(Option<String>),
    /// A whole text message, valid UTF-8.
    Text(Utf8Bytes),
    /// A whole binary message.
    Binary(Bytes),
    /// A ping; its pong is already in the output.
    Ping,
    /// A pong to one of our pings.
    Pong,
    /// The peer closed with this code (1005 if it sent none). The reply is in the output.
    Closed(u16),
}

/// Why a connection ended. The close frame, if one is due, is in the output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The peer rejected the upgrade.
    Refused {
        /// HTTP status.
        status: u16,
        /// Seconds of `Retry-After`, if the peer sent it.
        retry_after: Option<u64>,
    },
    /// The response to the upgrade was not a valid WebSocket handshake.
    Handshake(String),
    /// The peer violated RFC 6455 or a limit. Holds the close code that was sent (1002, 1007, 1008 or 1009).
    Protocol(u16, String),
    /// The close handshake is complete, or the connection was used after its end.
    Over,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Refused { status, .. } => write!(f, "upgrade refused with HTTP {status}"),
            Self::Handshake(why) => write!(f, "not a WebSocket handshake: {why}"),
            Self::Protocol(code, why) => write!(f, "WebSocket violation ({code}): {why}"),
            Self::Over => f.write_str("connection ended"),
        }
    }
}

/// The header with which a simulated venue identifies itself.
pub(crate) const SOURCE_HEADER: &str = "x-spreadwire-source";

/// One end of a WebSocket connection.
pub struct WebSocket {
    state: SocketState,
    fragments_max: u32,
}

enum SocketState {
    Opening(Box<MidHandshake<ClientHandshake<Pipe>>>),
    Open(Box<tungstenite::WebSocket<Pipe>>),
    Over(Pipe),
}

impl WebSocket {
    /// The client end. The upgrade request for `url` is in the output immediately. Only the host and path of `url`
    /// (`ws://` or `wss://`) are used.
    ///
    /// # Errors
    /// [`Failure::Handshake`] when `url` is not a WebSocket address.
    pub fn client(url: &str, limits: Limits) -> Result<Self, Failure> {
        let request = url.into_client_request().map_err(|e| Failure::Handshake(e.to_string()))?;
        let pipe = Pipe { head: Some(0), ..Pipe::new(limits.fragments_max) };
        let handshake = ClientHandshake::start(pipe, request, Some(config(limits)))
            .map_err(|e| Failure::Handshake(e.to_string()))?;
        let fragments_max = limits.fragments_max;
        let mut socket = Self { state: SocketState::Opening(Box::new(handshake)), fragments_max };
        // One step writes the request; the response cannot have arrived yet.
        socket.next()?;
        Ok(socket)
    }

    /// The server end, after the caller has answered the upgrade. `early` holds the bytes that arrived after the
    /// request head.
    #[must_use]
    pub fn server(limits: Limits, early: &[u8]) -> Self {
        let mut pipe = Pipe::new(limits.fragments_max);
        pipe.input.extend_from_slice(early);
        let inner = tungstenite::WebSocket::from_raw_socket(pipe, Role::Server, Some(config(limits)));
        Self { state: SocketState::Open(Box::new(inner)), fragments_max: limits.fragments_max }
    }

    /// Takes bytes from the peer. Call [`Self::next`] until it returns `None`.
    pub fn receive(&mut self, bytes: &[u8]) {
        self.pipe().input.extend_from_slice(bytes);
    }

    /// Sets how many of the received frames may be read from now on, including control frames and fragments. Without a
    /// call there is no limit.
    pub fn allow(&mut self, frames: usize) {
        self.pipe().frames_left = frames;
    }

    /// How many frames may still be read, see [`Self::allow`].
    pub(crate) fn frames_left(&mut self) -> usize {
        self.pipe().frames_left
    }

    /// Whether received bytes wait for [`Self::allow`].
    pub(crate) fn has_input(&mut self) -> bool {
        let pipe = self.pipe();
        pipe.frames_left == 0 && pipe.taken < pipe.input.len()
    }

    /// The next event in the received bytes; `None` if more bytes are needed, or [`Self::allow`] permits no more
    /// frames.
    ///
    /// # Errors
    /// [`Failure`] ends the connection. The output should still be sent.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<Option<Event>, Failure> {
        match std::mem::replace(&mut self.state, SocketState::Over(Pipe::new(self.fragments_max))) {
            SocketState::Opening(handshake) => match handshake.handshake() {
                // We offer no extension. If the venue uses one, its frames cannot be read.
                Ok((_, response)) if response.headers().contains_key("sec-websocket-extensions") => {
                    Err(Failure::Handshake("the server selected an extension that was not offered".to_owned()))
                }
                Ok((inner, response)) => {
                    let source = response.headers().get(SOURCE_HEADER).and_then(|v| v.to_str().ok()).map(str::to_owned);
                    self.state = SocketState::Open(Box::new(inner));
                    Ok(Some(Event::Open(source)))
                }
                Err(HandshakeError::Interrupted(handshake)) => {
                    self.state = SocketState::Opening(Box::new(handshake));
                    Ok(None)
                }
                Err(HandshakeError::Failure(Error::Http(response))) => Err(Failure::Refused {
                    status: response.status().as_u16(),
                    retry_after: response
                        .headers()
                        .get("retry-after")
                        .and_then(|v| v.to_str().ok())
                        .and_then(|v| v.trim().parse().ok()),
                }),
                Err(HandshakeError::Failure(error)) => Err(Failure::Handshake(error.to_string())),
            },
            SocketState::Open(mut inner) => {
                let read = inner.read();
                self.state = SocketState::Open(inner);
                self.settle(read)
            }
            SocketState::Over(pipe) => {
                self.state = SocketState::Over(pipe);
                Err(Failure::Over)
            }
        }
    }

    fn settle(&mut self, read: Result<Message, Error>) -> Result<Option<Event>, Failure> {
        let event = match read {
            Ok(Message::Text(text)) => return Ok(Some(Event::Text(text))),
            Ok(Message::Binary(bytes)) => return Ok(Some(Event::Binary(bytes))),
            Ok(Message::Ping(_)) => Event::Ping,
            Ok(Message::Pong(_)) => Event::Pong,
            Ok(Message::Close(frame)) => Event::Closed(frame.map_or(1005, |f| f.code.into())),
            Ok(Message::Frame(_)) => return Ok(None),
            Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                if self.pipe().walker.has_too_many() {
                    let (code, reason) = TOO_MANY_FRAGMENTS;
                    return Err(self.violation(code, reason, "too many fragments of one message"));
                }
                return Ok(None);
            }
            Err(Error::ConnectionClosed | Error::AlreadyClosed | Error::Io(_)) => return Err(self.over(Failure::Over)),
            Err(Error::Capacity(error @ CapacityError::MessageTooLong { .. })) => {
                return Err(self.violation(1009, "message too long", &error.to_string()));
            }
            Err(Error::Utf8(why)) => return Err(self.violation(1007, "text is not UTF-8", &why)),
            Err(error) => return Err(self.violation(1002, "protocol error", &error.to_string())),
        };
        // Pongs and close replies are queued by the library; this writes them to the output.
        if let SocketState::Open(inner) = &mut self.state {
            let _ = inner.flush();
        }
        Ok(Some(event))
    }

    fn violation(&mut self, code: u16, reason: &str, why: &str) -> Failure {
        self.close(code, reason);
        self.over(Failure::Protocol(code, why.to_owned()))
    }

    fn over(&mut self, failure: Failure) -> Failure {
        let output = std::mem::take(&mut self.pipe().output);
        self.state = SocketState::Over(Pipe { output, ..Pipe::new(self.fragments_max) });
        failure
    }

    /// Whether the upgrade is complete and neither side has closed.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(&self.state, SocketState::Open(inner) if inner.can_write())
    }

    /// Releases the memory that a large message took, on the server's side. Call it only after a whole message, when
    /// all received bytes have been read.
    pub(crate) fn give_back(&mut self, limits: Limits) {
        if !self.is_open() {
            return;
        }
        let fragments_max = self.fragments_max;
        if let SocketState::Open(inner) =
            std::mem::replace(&mut self.state, SocketState::Over(Pipe::new(fragments_max)))
        {
            let pipe = Pipe { output: inner.into_inner().output, ..Pipe::new(fragments_max) };
            let inner = tungstenite::WebSocket::from_raw_socket(pipe, Role::Server, Some(config(limits)));
            self.state = SocketState::Open(Box::new(inner));
        }
    }

    /// Sends a text message. Ignored unless the connection is open.
    pub fn send_text(&mut self, text: &str) {
        self.send(Message::text(text));
    }

    /// Sends a binary message. Ignored unless the connection is open.
    pub fn send_binary(&mut self, bytes: Vec<u8>) {
        self.send(Message::binary(bytes));
    }

    /// Sends a ping without payload.
    pub fn ping(&mut self) {
        self.send(Message::Ping(Bytes::new()));
    }

    /// Sends a close frame; the peer's reply comes as [`Event::Closed`] or [`Failure::Over`].
    pub fn close(&mut self, code: u16, reason: &str) {
        if let SocketState::Open(inner) = &mut self.state {
            let frame = CloseFrame { code: CloseCode::from(code), reason: reason.into() };
            let _ = inner.close(Some(frame));
            let _ = inner.flush();
        }
    }

    fn send(&mut self, message: Message) {
        if let SocketState::Open(inner) = &mut self.state {
            let _ = inner.send(message);
        }
    }

    /// Bytes for the peer. The caller removes the bytes that it has sent from the front, at any position.
    pub fn output(&mut self) -> &mut Vec<u8> {
        &mut self.pipe().output
    }

    fn pipe(&mut self) -> &mut Pipe {
        match &mut self.state {
            SocketState::Opening(handshake) => handshake.get_mut().get_mut(),
            SocketState::Open(inner) => inner.get_mut(),
            SocketState::Over(pipe) => pipe,
        }
    }
}

fn config(limits: Limits) -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(limits.read_buffer)
        .write_buffer_size(0)
        .max_message_size(Some(limits.message_max))
        .max_frame_size(Some(limits.message_max))
}

/// The in-memory stream under a WebSocket. Limits the frames of one turn and the fragments of one message.
#[derive(Debug)]
struct Pipe {
    input: Vec<u8>,
    taken: usize,
    output: Vec<u8>,
    /// While the upgrade response is read: how many bytes of [`HEAD_END`] have matched.
    head: Option<usize>,
    frames_left: usize,
    walker: FrameWalker,
}

/// End of the head of an HTTP response.
const HEAD_END: &[u8; 4] = b"\r\n\r\n";

impl Pipe {
    fn new(fragments_max: u32) -> Self {
        let (input, output) = (Vec::new(), Vec::new());
        let walker = FrameWalker::new(fragments_max);
        Self { input, taken: 0, output, head: None, frames_left: usize::MAX, walker }
    }

    /// How many of the waiting bytes, at most `most`, may be read now.
    fn pass(&mut self, most: usize) -> usize {
        let rest = &self.input[self.taken..];
        let bytes = &rest[..rest.len().min(most)];
        let Some(mut seen) = self.head else {
            return self.walker.pass(bytes, &mut self.frames_left);
        };
        for (at, byte) in bytes.iter().enumerate() {
            seen = if *byte == HEAD_END[seen] { seen + 1 } else { usize::from(*byte == HEAD_END[0]) };
            if seen == HEAD_END.len() {
                self.head = None;
                return at + 1;
            }
        }
        self.head = Some(seen);
        bytes.len()
    }
}

impl Read for Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.pass(buffer.len());
        if length == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        buffer[..length].copy_from_slice(&self.input[self.taken..][..length]);
        self.taken += length;
        if self.taken == self.input.len() {
            self.taken = 0;
            self.input.clear();
            // An idle connection must not hold the memory of a rare large message.
            if self.input.capacity() > INPUT_KEPT_MAX {
                self.input = Vec::new();
            }
        }
        Ok(length)
    }
}

/// Largest input buffer, in bytes, that an idle connection keeps.
const INPUT_KEPT_MAX: usize = 256 * 1024;

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.output.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The response that accepts the upgrade in `request` and names `source` as the origin of the data; `None` if there is
/// no complete upgrade request. Used by servers that answer [`WebSocket::client`].
#[must_use]
pub fn upgrade_reply(request: &[u8], source: &str) -> Option<Vec<u8>> {
    let head = std::str::from_utf8(request).ok()?.split_once("\r\n\r\n")?.0;
    let (_, key) = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-key"))?;
    let accept = tungstenite::handshake::derive_accept_key(key.trim().as_bytes());
    Some(
        format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n{SOURCE_HEADER}: {source}\r\n\r\n"
        )
        .into_bytes(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { message_max: 1000, read_buffer: 1024, fragments_max: 4 };

    fn opened() -> (WebSocket, WebSocket) {
        let mut client = WebSocket::client("ws://127.0.0.1:1/path", LIMITS).unwrap();
        let reply = upgrade_reply(&std::mem::take(client.output()), "simulated").unwrap();
        client.receive(&reply);
        assert_eq!(client.next(), Ok(Some(Event::Open(Some("simulated".into())))));
        (client, WebSocket::server(LIMITS, b""))
    }

    #[test]
    fn messages_cross_whatever_way_they_are_cut() {
        let (mut client, mut server) = opened();
        client.send_text("hello");
        for byte in std::mem::take(client.output()) {
            assert_eq!(server.next(), Ok(None));
            server.receive(&[byte]);
        }
        assert_eq!(server.next(), Ok(Some(Event::Text("hello".into()))));
        let mut frame = Vec::new();
        text_frame_header(5, &mut frame);
        frame.extend_from_slice(b"world");
        client.receive(&frame);
        assert_eq!(client.next(), Ok(Some(Event::Text("world".into()))));
    }

    #[test]
    fn a_ping_is_answered_in_the_same_turn() {
        let (mut client, mut server) = opened();
        server.ping();
        client.receive(&std::mem::take(server.output()));
        assert_eq!(client.next(), Ok(Some(Event::Ping)));
        server.receive(&std::mem::take(client.output()));
        assert_eq!(server.next(), Ok(Some(Event::Pong)));
    }

    #[test]
    fn a_frame_too_long_is_refused_from_its_header() {
        let (_, mut server) = opened();
        server.receive(&[0x81, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4]);
        assert!(matches!(server.next(), Err(Failure::Protocol(1009, _))));
        assert_eq!(server.output()[..4], [0x88, 18, 3, 0xf1]);
        assert_eq!(server.next(), Err(Failure::Over));
    }

    #[test]
    fn a_message_of_too_many_fragments_is_a_violation_however_it_is_cut_and_whoever_sends_it() {
        let fragment = |first: u8| [first, 0x81, 1, 2, 3, 4, b'a' ^ 1];
        let ping = [0x89, 0x80, 1, 2, 3, 4];
        let message = |fragments: usize| {
            let mut bytes = fragment(0x01).to_vec();
            (2..fragments).for_each(|_| bytes.extend([fragment(0x00).as_slice(), &ping].concat()));
            bytes.extend(fragment(0x80));
            bytes
        };
        let all = |server: &mut WebSocket| {
            loop {
                match server.next() {
                    Ok(Some(Event::Ping)) => {}
                    other => return other,
                }
            }
        };
        // Also when the bytes arrive with the upgrade.
        let mut server = WebSocket::server(LIMITS, &message(4));
        assert_eq!(all(&mut server), Ok(Some(Event::Text("aaaa".into()))));
        let mut server = WebSocket::server(LIMITS, &message(5));
        assert!(matches!(all(&mut server), Err(Failure::Protocol(1008, _))));
        for cut in 1..9 {
            let (_, mut server) = opened();
            // The count restarts with each message.
            let bytes = [message(4), message(4), message(5)].concat();
            let mut texts = 0;
            let mut end = Ok(None);
            for part in bytes.chunks(cut) {
                server.receive(part);
                while let Ok(Some(Event::Text(_))) = {
                    end = all(&mut server);
                    &end
                } {
                    texts += 1;
                }
                if end.is_err() {
                    break;
                }
            }
            assert!(matches!((texts, &end), (2, Err(Failure::Protocol(1008, _)))), "{cut}: {texts}, {end:?}");
        }
    }

    #[test]
    fn no_more_frames_are_read_than_are_allowed() {
        let (mut client, _) = opened();
        let mut flood = Vec::new();
        for n in 0..100u8 {
            flood.extend_from_slice(&[0x89, 0, 0x01, 0, 0x00, 0, 0x80, 1, b'a' + n % 26]);
        }
        client.receive(&flood);
        // Four frames per repetition: a ping, and a text of three fragments.
        let (mut texts, mut turns) = (0, 0);
        loop {
            turns += 1;
            client.allow(10);
            while let Some(event) = client.next().unwrap() {
                texts += usize::from(matches!(event, Event::Text(_)));
            }
            assert!(texts <= turns * 10 / 4, "{texts} after {turns} turns");
            if !client.has_input() {
                break;
            }
            assert_eq!(client.frames_left(), 0);
        }
        assert_eq!((texts, turns), (100, 40));
    }

    #[test]
    fn frames_that_come_with_the_reply_to_the_upgrade_count() {
        let mut client = WebSocket::client("ws://127.0.0.1:1/path", LIMITS).unwrap();
        let mut bytes = upgrade_reply(&std::mem::take(client.output()), "simulated").unwrap();
        (0..5).for_each(|_| bytes.extend_from_slice(&[0x89, 0]));
        client.allow(2);
        for byte in bytes {
            client.receive(&[byte]);
        }
        let mut events = Vec::new();
        while let Some(event) = client.next().unwrap() {
            events.push(event);
        }
        assert_eq!(events.len(), 3, "{events:?}");
        assert!(client.has_input());
    }

    #[test]
    fn a_refused_upgrade_says_how_long_to_wait() {
        let mut client = WebSocket::client("ws://127.0.0.1:1/", LIMITS).unwrap();
        client.receive(b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(client.next(), Err(Failure::Refused { status: 429, retry_after: Some(7) }));
    }

    #[test]
    fn a_wrong_accept_key_fails_the_connection() {
        let mut client = WebSocket::client("ws://127.0.0.1:1/", LIMITS).unwrap();
        client.receive(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: nonsense\r\n\r\n");
        assert!(matches!(client.next(), Err(Failure::Handshake(_))));
    }

    #[test]
    fn an_unmasked_client_frame_is_a_violation() {
        let (_, mut server) = opened();
        server.receive(&[0x81, 0x01, b'x']);
        assert!(matches!(server.next(), Err(Failure::Protocol(1002, _))));
    }

    #[test]
    fn a_close_frame_of_one_byte_is_a_violation() {
        let (_, mut server) = opened();
        server.receive(&[0x88, 0x81, 0, 0, 0, 0, b'x']);
        assert!(matches!(server.next(), Err(Failure::Protocol(1002, _))));
    }

    #[test]
    fn text_that_is_not_utf8_is_closed_with_1007() {
        let (_, mut server) = opened();
        server.receive(&[0x81, 0x81, 0, 0, 0, 0, 0xff]);
        assert!(matches!(server.next(), Err(Failure::Protocol(1007, _))));
    }
}
