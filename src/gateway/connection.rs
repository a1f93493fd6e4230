//! One client's conversation without a socket: HTTP heads, the upgrade, WebSocket messages, a stream
//! that only listens. Bytes and time come in, [`Ask`]s and bytes for the client come out. Knows no
//! prices; [`super::routes`] and the stage answer the asks. Runs on the gateway's thread.

use crate::gateway::options::GatewayOptions;
use crate::gateway::outbox::Framing;
use crate::protocol::message;
use crate::protocol::request::{self, Command, RequestError};
use crate::time::{MS, MonoNs, SECOND};
use crate::wire::http::{self, Refusal, Request, Upgrade};
use crate::wire::sse;
use crate::wire::websocket::frame::FrameWalker;
use crate::wire::websocket::{self, Event, Failure, WebSocket};

/// Path of WebSockets; must match exactly.
pub const SOCKET_PATH: &str = "/ws/prices";

/// Paths for liveness and readiness checks, answered even above the limit of connections.
pub const PROBE_PATHS: [&str; 2] = ["/livez", "/readyz"];

/// What the client wants, or what became of it.
#[derive(Clone, Debug, PartialEq)]
pub enum Ask {
    /// Answer this request, then call [`Connection::answered`] or [`Connection::begin_stream`].
    Request(Request),
    /// It is a WebSocket now.
    Opened,
    /// Apply this and reply.
    Command(Command),
    /// It was told that its message is wrong.
    Mistaken,
    /// It broke the protocol or a limit; it was told, and nothing more is read.
    Misbehaved,
    /// Its HTTP was refused; it was told, and nothing more is read.
    Refused,
}

/// See the file's head.
pub struct Connection {
    state: State,
}

enum State {
    Http(Http),
    Socket(Box<Socket>),
    /// A stream; when its next heartbeat is due.
    Stream(MonoNs),
    /// All is said; when to stop waiting for the peer to take it and leave.
    Leaving(Option<MonoNs>),
}

struct Http {
    input: Vec<u8>,
    /// By when the head must be there.
    head_by: MonoNs,
    /// A request is being answered: the next one waits.
    answering: bool,
    /// Bytes of the request whose body is not all there, head included.
    awaited: usize,
    /// The client was asked for that body.
    continued: bool,
    /// There is no room for another client: only what asks for life and readiness is answered.
    is_probe: bool,
}

struct Socket {
    inner: WebSocket,
    walker: FrameWalker,
    budget: Budget,
    /// When something last came.
    heard: MonoNs,
    /// When the ping that is not yet answered was sent.
    pinged: Option<MonoNs>,
    /// When a close frame was sent.
    closing: Option<MonoNs>,
    /// The closing handshake is complete, or the protocol was broken: nothing more is read.
    ended: bool,
    /// A message came that took more memory than the next ones will.
    swollen: bool,
}

impl Connection {
    /// A connection just accepted.
    #[must_use]
    pub fn new(options: &GatewayOptions, now: MonoNs) -> Self {
        let http = Http {
            input: Vec::new(),
            head_by: now.plus(options.head_within_ns),
            answering: false,
            awaited: 0,
            continued: false,
            is_probe: false,
        };
        Self { state: State::Http(http) }
    }

    /// A connection just accepted that there is no room for: it may ask whether the gateway lives and is ready, once.
    #[must_use]
    pub fn probe(options: &GatewayOptions, now: MonoNs) -> Self {
        let mut connection = Self::new(options, now);
        if let State::Http(http) = &mut connection.state {
            http.head_by = now.plus(options.probe_within_ns.min(options.head_within_ns));
            http.is_probe = true;
        }
        connection
    }

    /// Takes bytes; call [`Self::next`] until it has nothing more. Replies are appended to `out`.
    pub fn receive(&mut self, bytes: &[u8], options: &GatewayOptions, now: MonoNs, out: &mut Vec<u8>) {
        match &mut self.state {
            State::Http(http) => {
                if http.input.is_empty() && !http.answering && !http.is_probe {
                    http.head_by = now.plus(options.head_within_ns);
                }
                http.input.extend_from_slice(bytes);
            }
            State::Socket(socket) => {
                socket.heard = now;
                socket.pinged = None;
                socket.receive(bytes, now, out);
            }
            // A stream's client has nothing to say; a leaving one is not heard.
            State::Stream(_) | State::Leaving(_) => {}
        }
    }

    /// Whether more bytes may be read now: a client whose answer waits must wait too.
    #[must_use]
    pub fn wants_bytes(&self, options: &GatewayOptions) -> bool {
        match &self.state {
            State::Http(http) => http.input.len() <= options.head.head_max.max(http.awaited),
            _ => true,
        }
    }

    /// The next thing that the received bytes ask for. `extra` are header lines for every response.
    pub fn next(&mut self, options: &GatewayOptions, extra: &str, now: MonoNs, out: &mut Vec<u8>) -> Option<Ask> {
        match &mut self.state {
            State::Http(http) => {
                if http.answering || http.input.is_empty() {
                    return None;
                }
                match http::parse(&http.input, options.head) {
                    Ok(None) => None,
                    Ok(Some((request, length))) if http.input.len() < length + request.length => {
                        http.awaited = length + request.length;
                        // Not where the body has begun to come (RFC 9110, 10.1.1).
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
                        http.head_by = now.plus(options.head_within_ns);
                        Some(self.request(request, options, extra, now, out))
                    }
                    Err(refusal) => {
                        let (status, reason) = refusal.status();
                        let allow = if refusal == Refusal::Method { "Allow: GET, HEAD, OPTIONS\r\n" } else { "" };
                        Some(self.refuse(status, reason, &format!("{allow}{extra}"), out))
                    }
                }
            }
            State::Socket(socket) => {
                let ask = socket.next(options, now, out);
                if socket.ended {
                    self.state = State::Leaving(None);
                }
                ask
            }
            State::Stream(_) | State::Leaving(_) => None,
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
        if matches!(&self.state, State::Http(http) if http.is_probe) {
            request.keep_alive = false;
            if !PROBE_PATHS.contains(&request.path.as_str()) {
                let told = format!("Retry-After: 5\r\n{extra}");
                return self.refuse(503, "Service Unavailable", &told, out);
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
            // A handshake that is broken, or for a path that has no WebSocket.
            Upgrade::WebSocket(_) | Upgrade::Version | Upgrade::Broken => {
                self.refuse(400, "Bad Request", &version, out)
            }
            Upgrade::None if is_socket_path && request.method != http::Method::Options => {
                let told = format!("Upgrade: websocket\r\n{version}");
                write_refusal(426, "Upgrade Required", &told, request.method != http::Method::Head, out);
                self.state = State::Leaving(None);
                Ask::Refused
            }
            Upgrade::None => {
                if let State::Http(http) = &mut self.state {
                    http.answering = true;
                }
                Ask::Request(request)
            }
        }
    }

    fn open_socket(&mut self, options: &GatewayOptions, now: MonoNs, out: &mut Vec<u8>) {
        let early = match &mut self.state {
            State::Http(http) => std::mem::take(&mut http.input),
            _ => Vec::new(),
        };
        let mut socket = Box::new(Socket {
            inner: WebSocket::server(limits(options), b""),
            walker: FrameWalker::new(options.fragments_max),
            budget: Budget::new(options, now),
            heard: now,
            pinged: None,
            closing: None,
            ended: false,
            swollen: false,
        });
        socket.receive(&early, now, out);
        self.state = State::Socket(socket);
    }

    fn refuse(&mut self, status: u16, reason: &str, extra: &str, out: &mut Vec<u8>) -> Ask {
        write_refusal(status, reason, extra, true, out);
        self.state = State::Leaving(None);
        Ask::Refused
    }

    /// The request is answered; the next one may follow if the connection is kept.
    pub fn answered(&mut self, keep: bool, options: &GatewayOptions, now: MonoNs) {
        match &mut self.state {
            State::Http(http) if keep => {
                http.answering = false;
                let within = if http.input.is_empty() { options.idle_within_ns } else { options.head_within_ns };
                http.head_by = now.plus(within);
            }
            state => *state = State::Leaving(None),
        }
    }

    /// The answer is a stream from now on.
    pub fn begin_stream(&mut self, options: &GatewayOptions, now: MonoNs) {
        self.state = State::Stream(now.plus(options.heartbeat_ms * MS));
    }

    /// Whether it is an open WebSocket.
    #[must_use]
    pub fn is_socket(&self) -> bool {
        matches!(&self.state, State::Socket(_))
    }

    /// Whether it takes prices and alerts.
    #[must_use]
    pub fn is_listening(&self) -> bool {
        match &self.state {
            State::Socket(socket) => socket.closing.is_none() && socket.inner.is_open(),
            State::Stream(_) => true,
            State::Http(_) | State::Leaving(_) => false,
        }
    }

    /// How its messages follow each other.
    #[must_use]
    pub fn framing(&self) -> Framing {
        if self.is_socket() { Framing::WebSocket } else { Framing::Stream }
    }

    /// Whether all is said: once `out` is sent, the sending side of the socket can be closed.
    #[must_use]
    pub fn is_done(&self) -> bool {
        matches!(&self.state, State::Leaving(_))
    }

    /// All is sent; waits for the peer to leave, for as long as a closing handshake may take.
    pub fn sent_all(&mut self, options: &GatewayOptions, now: MonoNs) {
        if let State::Leaving(until @ None) = &mut self.state {
            *until = Some(now.plus(options.close_within_ns));
        }
    }

    /// Ends the conversation: a close frame for a WebSocket, nothing for others.
    pub fn close(&mut self, code: u16, reason: &str, now: MonoNs, out: &mut Vec<u8>) {
        match &mut self.state {
            State::Socket(socket) => {
                socket.close(code, reason, now);
                out.append(socket.inner.output());
            }
            state => *state = State::Leaving(None),
        }
    }

    /// An error message, counted against the client's budget; too many end the connection. `true` if so.
    pub fn mistake(&mut self, error: &RequestError, options: &GatewayOptions, now: MonoNs, out: &mut Vec<u8>) -> bool {
        match &mut self.state {
            State::Socket(socket) => socket.mistake(error, options, now, out),
            _ => false,
        }
    }

    /// When [`Self::elapsed`] should be called next.
    #[must_use]
    pub fn deadline(&self, options: &GatewayOptions) -> Option<MonoNs> {
        match &self.state {
            State::Http(http) if http.answering => None,
            State::Http(http) => Some(http.head_by),
            State::Socket(socket) => Some(match (socket.closing, socket.pinged) {
                (Some(since), _) => since.plus(options.close_within_ns),
                (None, Some(since)) => since.plus(options.pong_within_ns),
                (None, None) => socket.heard.plus(options.ping_after_ns),
            }),
            State::Stream(heartbeat) => Some(*heartbeat),
            State::Leaving(until) => *until,
        }
    }

    /// Time has passed. `false` when the connection must be dropped now.
    pub fn elapsed(&mut self, options: &GatewayOptions, extra: &str, now: MonoNs, out: &mut Vec<u8>) -> bool {
        if self.deadline(options).is_none_or(|at| at > now) {
            return true;
        }
        match &mut self.state {
            // A head that began and does not end is told so; a silent connection is just closed.
            State::Http(http) if !http.input.is_empty() => {
                self.refuse(408, "Request Timeout", extra, out);
                true
            }
            State::Http(_) | State::Leaving(_) => false,
            State::Socket(socket) if socket.closing.is_some() || socket.pinged.is_some() => false,
            State::Socket(socket) => {
                socket.inner.ping();
                socket.pinged = Some(now);
                out.append(socket.inner.output());
                true
            }
            State::Stream(heartbeat) => {
                *heartbeat = now.plus(options.heartbeat_ms * MS);
                out.extend_from_slice(sse::HEARTBEAT);
                true
            }
        }
    }
}

fn limits(options: &GatewayOptions) -> websocket::Limits {
    // The walker counts fragments as they arrive, before the messages in front of them are read.
    let fragments_max = u32::MAX;
    websocket::Limits { message_max: options.message_max, read_buffer: options.read_buffer, fragments_max }
}

/// Why, as JSON; only the head of it for HEAD.
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

impl Socket {
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
                    if self.swollen && self.walker.is_between() {
                        self.swollen = false;
                        self.inner.give_back(limits(options));
                    }
                    return None;
                }
                Ok(Some(Event::Text(text))) => {
                    self.swollen |= text.len() > options.read_buffer;
                    if let Some(ask) = self.message(text.as_bytes(), options, now, out) {
                        return Some(ask);
                    }
                }
                Ok(Some(Event::Binary(bytes))) => {
                    self.swollen |= bytes.len() > options.read_buffer;
                    if let Some(ask) = self.message(&bytes, options, now, out) {
                        return Some(ask);
                    }
                }
                Ok(Some(Event::Ping | Event::Pong)) => {
                    if !self.budget.spend(options, now) && self.budget.is_error_too_many(options, now) {
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
            let (rate, burst) = options.commands;
            RequestError::Limit(format!("Too many messages: at most {rate} per second, {burst} at once"))
        };
        Some(if self.mistake(&error, options, now, out) { Ask::Misbehaved } else { Ask::Mistaken })
    }

    fn mistake(&mut self, error: &RequestError, options: &GatewayOptions, now: MonoNs, out: &mut Vec<u8>) -> bool {
        websocket::frame_text(out, |out| message::error(&error.message(), out));
        let over = self.budget.is_error_too_many(options, now);
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

/// How many messages and errors a client may still send: a bucket that fills by the second.
struct Budget {
    left: u32,
    filled: MonoNs,
    errors: u32,
    errors_since: MonoNs,
}

impl Budget {
    const fn new(options: &GatewayOptions, now: MonoNs) -> Self {
        Self { left: options.commands.1, filled: now, errors: 0, errors_since: now }
    }

    /// Takes one; `false` when there is none.
    fn spend(&mut self, options: &GatewayOptions, now: MonoNs) -> bool {
        let (rate, burst) = options.commands;
        let drop_ns = SECOND / u64::from(rate.max(1));
        let drops = now.since(self.filled) / drop_ns;
        if drops > 0 {
            self.left = self.left.saturating_add(u32::try_from(drops).unwrap_or(u32::MAX)).min(burst);
            self.filled = self.filled.plus(drops * drop_ns);
        }
        let some = self.left > 0;
        self.left -= u32::from(some);
        some
    }

    /// Counts an error; `true` when it is one too many within ten seconds.
    fn is_error_too_many(&mut self, options: &GatewayOptions, now: MonoNs) -> bool {
        if now.since(self.errors_since) > 10 * SECOND {
            self.errors = 0;
            self.errors_since = now;
        }
        self.errors += 1;
        self.errors >= options.errors_max
    }
}
