//! The protocol of one client without a socket: HTTP requests, the upgrade, WebSocket messages, streams. Bytes and time
//! come in; [`Ask`]s and bytes for the client come out. Contains no prices: the stage carries out the asks. Pure; used on
//! the gateway's thread.

use crate::gateway::options::{GatewayOptions, HEARTBEAT_MS};
use crate::gateway::outbox::Framing;
use crate::protocol::message;
use crate::protocol::request::{self, Command, RequestError};
use crate::time::{MS, MonoNs, SECOND};
use crate::wire::http::{self, Refusal, Request, Upgrade};
use crate::wire::sse;
use crate::wire::websocket::frame::FrameWalker;
use crate::wire::websocket::{self, Event, Failure, WebSocket};

/// Most fragments of one message.
const FRAGMENTS_MAX: u32 = 64;
/// Read buffer per client in bytes: requests are small, and there are many clients.
const READ_BUFFER: usize = 1024;
/// How long the peer has to complete a closing handshake, in nanoseconds.
const CLOSE_WITHIN_NS: u64 = SECOND;
/// Errors within `ERRORS_WITHIN_NS` that close a connection.
const ERRORS_MAX: u32 = 10;
/// See `ERRORS_MAX`; in nanoseconds.
const ERRORS_WITHIN_NS: u64 = 10 * SECOND;
/// How long the head of a liveness or readiness check above the limits may take, in nanoseconds.
const PROBE_WITHIN_NS: u64 = SECOND;

/// Path of WebSockets; must match exactly.
pub(crate) const SOCKET_PATH: &str = "/ws/prices";

/// Paths for liveness and readiness checks, answered even above the limit of connections.
pub(crate) const PROBE_PATHS: [&str; 2] = ["/livez", "/readyz"];

/// What the client requests, or what happened to its connection.
#[derive(Clone, Debug, PartialEq)]
pub enum Ask {
    /// Respond to this request, then call [`Connection::answered`] or [`Connection::begin_stream`].
    Request(Request),
    /// It is a WebSocket now.
    Opened,
    /// Apply this command and reply.
    Command(Command),
    /// Its message is invalid. The error is in the output.
    Mistaken,
    /// It violated the protocol or a limit. The reason is in the output, and nothing more is read.
    Misbehaved,
    /// Its HTTP request is refused. The response is in the output, and nothing more is read.
    Refused,
}

/// See the file's head.
pub struct Connection {
    state: ClientProtocol,
}

enum ClientProtocol {
    Http(HttpProtocol),
    Socket(Box<SocketProtocol>),
    /// A stream, and when its next heartbeat is due.
    Stream(MonoNs),
    /// Nothing more is sent; until when to wait for the peer to close, once all is written.
    Leaving(Option<MonoNs>),
}

struct HttpProtocol {
    input: Vec<u8>,
    /// When the head must be complete.
    head_by: MonoNs,
    /// The response to a request is pending: the next request waits.
    answering: bool,
    /// Bytes of a request whose body is incomplete, head included.
    awaited: usize,
    /// `100 Continue` was sent for that body.
    continued: bool,
    /// Above the limits: only liveness and readiness checks are answered.
    is_probe: bool,
}

struct SocketProtocol {
    inner: WebSocket,
    walker: FrameWalker,
    budget: MessageBudget,
    /// Time of the last input.
    heard: MonoNs,
    /// When the unanswered ping was sent.
    pinged: Option<MonoNs>,
    /// When a close frame was sent.
    closing: Option<MonoNs>,
    /// The closing handshake is complete, or the protocol was violated: nothing more is read.
    ended: bool,
    /// A large message enlarged the buffers; they are reduced after it.
    is_enlarged: bool,
}

impl Connection {
    /// A connection just accepted.
    #[must_use]
    pub fn new(options: &GatewayOptions, now: MonoNs) -> Self {
        let http = HttpProtocol {
            input: Vec::new(),
            head_by: now.plus(options.head_within_ns()),
            answering: false,
            awaited: 0,
            continued: false,
            is_probe: false,
        };
        Self { state: ClientProtocol::Http(http) }
    }

    /// A connection accepted above the limits: one liveness or readiness check is answered.
    #[must_use]
    pub fn probe(options: &GatewayOptions, now: MonoNs) -> Self {
        let mut connection = Self::new(options, now);
        if let ClientProtocol::Http(http) = &mut connection.state {
            http.head_by = now.plus(PROBE_WITHIN_NS.min(options.head_within_ns()));
            http.is_probe = true;
        }
        connection
    }

    /// Takes received bytes; call [`Self::next`] until it returns nothing. Appends replies to `out`.
    pub fn receive(&mut self, bytes: &[u8], options: &GatewayOptions, now: MonoNs, out: &mut Vec<u8>) {
        match &mut self.state {
            ClientProtocol::Http(http) => {
                if http.input.is_empty() && !http.answering && !http.is_probe {
                    http.head_by = now.plus(options.head_within_ns());
                }
                http.input.extend_from_slice(bytes);
            }
            ClientProtocol::Socket(socket) => {
                socket.heard = now;
                socket.pinged = None;
                socket.receive(bytes, now, out);
            }
            // Input on a stream or on a connection that is closing is ignored.
            ClientProtocol::Stream(_) | ClientProtocol::Leaving(_) => {}
        }
    }

    /// Whether more bytes may be read now; not while many wait behind a pending response.
    #[must_use]
    pub(crate) fn wants_bytes(&self, options: &GatewayOptions) -> bool {
        match &self.state {
            ClientProtocol::Http(http) => http.input.len() <= options.header_max_bytes.max(http.awaited),
            _ => true,
        }
    }

    /// The next request in the received bytes. `extra` are header lines of every response.
    pub fn next(&mut self, options: &GatewayOptions, extra: &str, now: MonoNs, out: &mut Vec<u8>) -> Option<Ask> {
        match &mut self.state {
            ClientProtocol::Http(http) => {
                if http.answering || http.input.is_empty() {
                    return None;
                }
                match http::parse(&http.input, options.head_limits()) {
                    Ok(None) => None,
                    Ok(Some((request, length))) if http.input.len() < length + request.length => {
                        http.awaited = length + request.length;
                        // Not if part of the body has arrived (RFC 9110, 10.1.1).
                        let waits = request.expects_continue && http.input.len() == length;
                        if waits && !std::mem::replace(&mut http.continued, true) {
                            out.extend_from_slice(http::CONTINUE);
                        }
                        None
                    }
                    Ok(Some((mut request, length))) => {
                        request.body = http.input[length..][..request.length].to_vec();
                        http.input.drain(..length + request.length);
                        (http.awaited, http.continued) = (0, false);
                        http.head_by = now.plus(options.head_within_ns());
                        Some(self.request(request, options, extra, now, out))
                    }
                    Err(refusal) => {
                        let (status, reason) = refusal.status();
                        let lines = match refusal {
                            Refusal::Method { allowed } => format!("Allow: {allowed}\r\n{extra}"),
                            _ => extra.to_owned(),
                        };
                        Some(self.refuse(status, reason, &lines, out))
                    }
                }
            }
            ClientProtocol::Socket(socket) => {
                let ask = socket.next(options, now, out);
                if socket.ended {
                    self.state = ClientProtocol::Leaving(None);
                }
                ask
            }
            ClientProtocol::Stream(_) | ClientProtocol::Leaving(_) => None,
        }
    }

    fn request(
        &mut self,
        mut request: Request,
        options: &GatewayOptions,
        extra: &str,
        now: MonoNs,
        out: &mut Vec<u8>,
    ) -> Ask {
        if matches!(&self.state, ClientProtocol::Http(http) if http.is_probe) {
            request.keep_alive = false;
            if !PROBE_PATHS.contains(&request.path.as_str()) {
                let lines = format!("Retry-After: 5\r\n{extra}");
                return self.refuse(503, "Service Unavailable", &lines, out);
            }
        }
        let is_socket_path = request.path == SOCKET_PATH;
        let version = format!("Sec-WebSocket-Version: 13\r\n{extra}");
        match request.upgrade {
            Upgrade::WebSocket(accept) if is_socket_path => {
                http::write_switch(&accept, extra, out);
                self.open_socket(options, now, out);
                Ask::Opened
            }
            Upgrade::Version if is_socket_path => self.refuse(426, "Upgrade Required", &version, out),
            // An invalid handshake, or a path without a WebSocket.
            Upgrade::WebSocket(_) | Upgrade::Version | Upgrade::Broken => {
                self.refuse(400, "Bad Request", &version, out)
            }
            Upgrade::None if is_socket_path && request.method != http::Method::Options => {
                let lines = format!("Upgrade: websocket\r\n{version}");
                write_refusal(426, "Upgrade Required", &lines, request.method != http::Method::Head, out);
                self.state = ClientProtocol::Leaving(None);
                Ask::Refused
            }
            Upgrade::None => {
                if let ClientProtocol::Http(http) = &mut self.state {
                    http.answering = true;
                }
                Ask::Request(request)
            }
        }
    }

    fn open_socket(&mut self, options: &GatewayOptions, now: MonoNs, out: &mut Vec<u8>) {
        let early = match &mut self.state {
            ClientProtocol::Http(http) => std::mem::take(&mut http.input),
            _ => Vec::new(),
        };
        let mut socket = Box::new(SocketProtocol {
            inner: WebSocket::server(limits(options), b""),
            walker: FrameWalker::new(FRAGMENTS_MAX),
            budget: MessageBudget::new(options, now),
            heard: now,
            pinged: None,
            closing: None,
            ended: false,
            is_enlarged: false,
        });
        socket.receive(&early, now, out);
        self.state = ClientProtocol::Socket(socket);
    }

    fn refuse(&mut self, status: u16, reason: &str, extra: &str, out: &mut Vec<u8>) -> Ask {
        write_refusal(status, reason, extra, true, out);
        self.state = ClientProtocol::Leaving(None);
        Ask::Refused
    }

    /// The response is written. The next request may follow if the connection is kept alive.
    pub fn answered(&mut self, keep: bool, options: &GatewayOptions, now: MonoNs) {
        match &mut self.state {
            ClientProtocol::Http(http) if keep => {
                http.answering = false;
                let within = if http.input.is_empty() { options.keep_alive_ms * MS } else { options.head_within_ns() };
                http.head_by = now.plus(within);
            }
            state => *state = ClientProtocol::Leaving(None),
        }
    }

    /// The response is a stream from now on.
    pub(crate) fn begin_stream(&mut self, now: MonoNs) {
        self.state = ClientProtocol::Stream(now.plus(HEARTBEAT_MS * MS));
    }

    /// Whether it is an open WebSocket.
    #[must_use]
    pub(crate) fn is_socket(&self) -> bool {
        matches!(&self.state, ClientProtocol::Socket(_))
    }

    /// Whether it receives prices and alerts.
    #[must_use]
    pub(crate) fn is_listening(&self) -> bool {
        match &self.state {
            ClientProtocol::Socket(socket) => socket.closing.is_none() && socket.inner.is_open(),
            ClientProtocol::Stream(_) => true,
            ClientProtocol::Http(_) | ClientProtocol::Leaving(_) => false,
        }
    }

    /// How its messages are delimited.
    #[must_use]
    pub(crate) fn framing(&self) -> Framing {
        if self.is_socket() { Framing::WebSocket } else { Framing::Stream }
    }

    /// Whether nothing more is sent: after all output, the sending side of the socket can be closed.
    #[must_use]
    pub fn is_done(&self) -> bool {
        matches!(&self.state, ClientProtocol::Leaving(_))
    }

    /// All output is written. Waits for the peer to close, as long as a closing handshake may take.
    pub(crate) fn sent_all(&mut self, now: MonoNs) {
        if let ClientProtocol::Leaving(until @ None) = &mut self.state {
            *until = Some(now.plus(CLOSE_WITHIN_NS));
        }
    }

    /// Closes the connection: with a close frame for a WebSocket.
    pub fn close(&mut self, code: u16, reason: &str, now: MonoNs, out: &mut Vec<u8>) {
        match &mut self.state {
            ClientProtocol::Socket(socket) => {
                socket.close(code, reason, now);
                out.append(socket.inner.output());
            }
            state => *state = ClientProtocol::Leaving(None),
        }
    }

    /// Appends an error message and counts it. `true` if there were too many and the connection is closing.
    pub(crate) fn mistake(&mut self, error: &RequestError, now: MonoNs, out: &mut Vec<u8>) -> bool {
        match &mut self.state {
            ClientProtocol::Socket(socket) => socket.mistake(error, now, out),
            _ => false,
        }
    }

    /// When [`Self::elapsed`] should be called next.
    #[must_use]
    pub fn deadline(&self, options: &GatewayOptions) -> Option<MonoNs> {
        match &self.state {
            ClientProtocol::Http(http) if http.answering => None,
            ClientProtocol::Http(http) => Some(http.head_by),
            ClientProtocol::Socket(socket) => Some(match (socket.closing, socket.pinged) {
                (Some(since), _) => since.plus(CLOSE_WITHIN_NS),
                (None, Some(since)) => since.plus(options.pong_wait_ms * MS),
                (None, None) => socket.heard.plus(options.ping_ms * MS),
            }),
            ClientProtocol::Stream(heartbeat) => Some(*heartbeat),
            ClientProtocol::Leaving(until) => *until,
        }
    }

    /// Handles a deadline. `false` if the connection must be dropped now.
    pub fn elapsed(&mut self, options: &GatewayOptions, extra: &str, now: MonoNs, out: &mut Vec<u8>) -> bool {
        if self.deadline(options).is_none_or(|at| at > now) {
            return true;
        }
        match &mut self.state {
            // An incomplete head receives a response; a connection without input is closed without one.
            ClientProtocol::Http(http) if !http.input.is_empty() => {
                self.refuse(408, "Request Timeout", extra, out);
                true
            }
            ClientProtocol::Http(_) | ClientProtocol::Leaving(_) => false,
            ClientProtocol::Socket(socket) if socket.closing.is_some() || socket.pinged.is_some() => false,
            ClientProtocol::Socket(socket) => {
                socket.inner.ping();
                socket.pinged = Some(now);
                out.append(socket.inner.output());
                true
            }
            ClientProtocol::Stream(heartbeat) => {
                *heartbeat = now.plus(HEARTBEAT_MS * MS);
                out.extend_from_slice(sse::HEARTBEAT);
                true
            }
        }
    }
}

fn limits(options: &GatewayOptions) -> websocket::Limits {
    // The frame walker limits fragments as they arrive, before earlier messages are read.
    let fragments_max = u32::MAX;
    websocket::Limits { message_max: options.message_max_bytes, read_buffer: READ_BUFFER, fragments_max }
}

/// A response with the reason as JSON; without a body for HEAD.
fn write_refusal(status: u16, reason: &str, extra: &str, with_body: bool, out: &mut Vec<u8>) {
    let body = crate::protocol::object(|o| {
        o.text("error", reason);
    });
    let head = format!("Content-Type: application/json\r\n{extra}");
    http::write_head(status, reason, Some(body.len()), false, &head, out);
    if with_body {
        out.extend_from_slice(&body);
    }
}

impl SocketProtocol {
    fn receive(&mut self, bytes: &[u8], now: MonoNs, out: &mut Vec<u8>) {
        if let Err((code, reason)) = self.walker.check(bytes) {
            self.close(code, reason, now);
            out.append(self.inner.output());
        }
        self.inner.receive(bytes);
    }

    fn next(&mut self, options: &GatewayOptions, now: MonoNs, out: &mut Vec<u8>) -> Option<Ask> {
        loop {
            let event = self.inner.next();
            out.append(self.inner.output());
            match event {
                Ok(None) => {
                    if self.is_enlarged && self.walker.is_between() {
                        self.is_enlarged = false;
                        self.inner.give_back(limits(options));
                    }
                    return None;
                }
                Ok(Some(Event::Text(text))) => {
                    self.is_enlarged |= text.len() > READ_BUFFER;
                    if let Some(ask) = self.message(text.as_bytes(), options, now, out) {
                        return Some(ask);
                    }
                }
                Ok(Some(Event::Binary(bytes))) => {
                    self.is_enlarged |= bytes.len() > READ_BUFFER;
                    if let Some(ask) = self.message(&bytes, options, now, out) {
                        return Some(ask);
                    }
                }
                Ok(Some(Event::Ping | Event::Pong)) => {
                    if !self.budget.spend(options, now) && self.budget.is_error_too_many(now) {
                        self.close(1008, "too many control frames", now);
                        out.append(self.inner.output());
                        return Some(Ask::Misbehaved);
                    }
                }
                Ok(Some(Event::Open(_))) => {}
                Ok(Some(Event::Closed(_))) => {
                    self.ended = true;
                    return None;
                }
                Err(failure) => {
                    self.ended = true;
                    return matches!(failure, Failure::Protocol(..)).then_some(Ask::Misbehaved);
                }
            }
        }
    }

    fn message(&mut self, frame: &[u8], options: &GatewayOptions, now: MonoNs, out: &mut Vec<u8>) -> Option<Ask> {
        if self.closing.is_some() {
            return None;
        }
        let error = if self.budget.spend(options, now) {
            match request::parse(frame) {
                Ok(command) => return Some(Ask::Command(command)),
                Err(error) => error,
            }
        } else {
            let GatewayOptions { commands_per_s: rate, commands_burst: burst, .. } = options;
            RequestError::Limit(format!("Too many messages: at most {rate} per second, {burst} at once"))
        };
        Some(if self.mistake(&error, now, out) { Ask::Misbehaved } else { Ask::Mistaken })
    }

    fn mistake(&mut self, error: &RequestError, now: MonoNs, out: &mut Vec<u8>) -> bool {
        websocket::frame_text(out, |out| message::error(&error.message(), out));
        let over = self.budget.is_error_too_many(now);
        if over {
            self.close(1008, "too many errors", now);
            out.append(self.inner.output());
        }
        over
    }

    fn close(&mut self, code: u16, reason: &str, now: MonoNs) {
        if self.closing.is_none() {
            self.inner.close(code, reason);
            self.closing = Some(now);
        }
    }
}

/// How many messages and errors a client may still send: a token bucket.
struct MessageBudget {
    left: u64,
    filled: MonoNs,
    errors: u32,
    errors_since: MonoNs,
}

impl MessageBudget {
    const fn new(options: &GatewayOptions, now: MonoNs) -> Self {
        Self { left: options.commands_burst, filled: now, errors: 0, errors_since: now }
    }

    /// Takes a message; `false` if none is allowed now.
    fn spend(&mut self, options: &GatewayOptions, now: MonoNs) -> bool {
        let token_ns = SECOND / options.commands_per_s.max(1);
        let tokens = now.since(self.filled) / token_ns;
        if tokens > 0 {
            self.left = self.left.saturating_add(tokens).min(options.commands_burst);
            self.filled = self.filled.plus(tokens * token_ns);
        }
        let some = self.left > 0;
        self.left -= u64::from(some);
        some
    }

    /// Counts an error; `true` if there were too many.
    fn is_error_too_many(&mut self, now: MonoNs) -> bool {
        if now.since(self.errors_since) > ERRORS_WITHIN_NS {
            self.errors = 0;
            self.errors_since = now;
        }
        self.errors += 1;
        self.errors >= ERRORS_MAX
    }
}
