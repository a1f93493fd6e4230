//! One connection of a client to a simulated venue. Bytes and time go in, bytes come out; it owns no socket.
//!
//! A connection starts as HTTP: a page that lists the addresses, a REST response of a venue, or the upgrade to the
//! venue's WebSocket, which the venue's [`ExchangeSide`] then handles. Client input is not trusted: heads, messages and
//! output are bounded, and a violation ends only this connection. Runs on the simulator's thread.

use std::net::SocketAddr;

use crate::random::Random;
use crate::sim::distortion::{self, DistortedMarket};
use crate::sim::late::LateMessages;
use crate::sim::prices::SimPrices;
use crate::sim::scenario::{FaultKind, Trouble};
use crate::sim::stale::StaleQuotes;
use crate::time::{MS, MonoNs, SECOND, UnixNs};
use crate::venues::{Cut, ExchangeSide, Facts, Keepalive, Maintenance, Message, Messages, Opening, Venue, VenueQuote};
use crate::wire::http::{self, Method, Request, Upgrade};
use crate::wire::websocket::{Event, Failure, Limits, SOURCE_HEADER, WebSocket};

/// The state of the simulation that connections read.
#[derive(Clone, Copy)]
pub struct World<'a> {
    /// The simulated venues. Venue indices refer to this list.
    pub venues: &'a [&'static dyn Venue],
    /// Their tops of book.
    pub prices: &'a SimPrices,
    /// The wall clock from which venues take their timestamps.
    pub unix: UnixNs,
    /// Where the simulator listens.
    pub listen: SocketAddr,
    /// By venue index: whether the venue refuses upgrades now.
    pub refusing: &'a [bool],
    /// By venue index: the faults in effect now; none if the entry is missing.
    pub troubles: &'a [Trouble],
    /// Whether clients connect with TLS.
    pub tls: bool,
    /// By venue index: counts of WebSockets.
    pub sockets: &'a [Sockets],
}

impl<'a> World<'a> {
    /// The faults in effect for the venue with this index.
    #[must_use]
    pub fn trouble(&self, venue: usize) -> &'a Trouble {
        static NONE: Trouble = Trouble::NONE;
        self.troubles.get(venue).unwrap_or(&NONE)
    }

    fn market(&self, venue: usize) -> DistortedMarket<'a> {
        let trouble = self.trouble(venue);
        DistortedMarket { market: self.prices.market(venue, self.unix), trouble, stale: None, is_page: false }
    }
}

/// WebSockets of one venue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sockets {
    /// Open now.
    pub open: u64,
    /// Most open at the same time since the start.
    pub most: u64,
    /// Opened since the start.
    pub opened: u64,
}

/// Limits for one client.
#[derive(Clone, Copy, Debug)]
pub struct ClientLimits {
    /// Output that may wait for a client that does not read, in bytes. Above it, the client is dropped.
    pub output_max: usize,
    /// Interval of WebSocket pings, in milliseconds, for venues that ping. A ping without a pong by the next ping ends
    /// the connection.
    pub ping_every_ms: u64,
    /// Time in which a request head must be complete, in milliseconds.
    pub head_ms: u64,
}

impl Default for ClientLimits {
    fn default() -> Self {
        Self { output_max: 256 * 1024, ping_every_ms: 20_000, head_ms: 10_000 }
    }
}

/// The connection of one client.
pub struct SimConnection {
    limits: ClientLimits,
    state: ConnectionState,
    /// Output until the connection is a WebSocket.
    output: Vec<u8>,
    /// Messages from the exchange side that are being framed; empty between calls.
    messages: Messages,
    /// A price frame that the `reorder` fault sends after the next one, and the latest time to send it.
    held: Option<(MonoNs, Message)>,
    /// Messages that the `lag` fault sends later.
    late: LateMessages,
    /// Quotes that the `reconnect` fault sends first.
    stale: StaleQuotes,
    deadline: Option<MonoNs>,
    ending: Option<Ending>,
}

/// Why a connection has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The request was answered, or either side closed in order.
    Done,
    /// The client violated HTTP or WebSocket, or was silent when it had to send something.
    Fault,
    /// The client does not read its data.
    Slow,
    /// The fault script resets the connection without a close frame.
    Reset,
}

enum ConnectionState {
    /// The part of a request head that has arrived.
    Head(Vec<u8>),
    /// An HTTP response is being sent; holds the number of request body bytes that remain to be skipped.
    Body(usize),
    /// The venue's WebSocket.
    Socket(Box<SimSocket>),
    /// The fault script: the socket stays open, but nothing is sent on it again.
    Mute,
}

struct SimSocket {
    venue: usize,
    facts: &'static Facts,
    inner: WebSocket,
    side: Box<dyn ExchangeSide>,
    unanswered_ping: bool,
    closing: bool,
    /// When the client last sent something, and when we did.
    heard: MonoNs,
    said: MonoNs,
    /// Deadline for the first request.
    ask_by: Option<MonoNs>,
}

impl SimSocket {
    /// When the venue closes the connection of a quiet client.
    fn cut_at(&self) -> Option<MonoNs> {
        let cut = match self.facts.keepalive {
            Keepalive::Client { cut: Cut::Unheard { ms }, .. } => Some(self.heard.plus(ms * MS)),
            Keepalive::Client { cut: Cut::Idle { ms }, .. } => Some(self.heard.max(self.said).plus(ms * MS)),
            Keepalive::Client { cut: Cut::Never, .. } | Keepalive::Server => None,
        };
        cut.into_iter().chain(self.ask_by).min()
    }
}

/// Largest request head in bytes.
const HEAD_MAX: usize = 8 * 1024;
/// Most headers of a request.
const HEADERS_MAX: usize = 64;
/// Limits for requests. Bodies are skipped: no request here needs one.
const HEAD_LIMITS: http::HeadLimits = http::HeadLimits {
    head_max: HEAD_MAX,
    lines_max: HEADERS_MAX,
    line_max: HEAD_MAX,
    posts: http::Posts::All,
    body_max: 64 * 1024,
};
/// Limits for messages from clients, whose requests are short.
const SOCKET_LIMITS: Limits = Limits { message_max: 64 * 1024, read_buffer: 4 * 1024, fragments_max: u32::MAX };
/// Longest time that a frame waits for the next one, in nanoseconds. Frames that a venue sends out of order were
/// created within moments of each other.
const HELD_MAX_NS: u64 = 100 * MS;
/// How long an ended connection may take to send its last bytes.
const GOODBYE_NS: u64 = SECOND;

impl SimConnection {
    /// A connection that was accepted at `now`.
    #[must_use]
    pub fn new(limits: ClientLimits, now: MonoNs) -> Self {
        Self {
            limits,
            state: ConnectionState::Head(Vec::new()),
            output: Vec::new(),
            messages: Messages::default(),
            held: None,
            late: LateMessages::default(),
            stale: StaleQuotes::default(),
            deadline: Some(now.plus(limits.head_ms * MS)),
            ending: None,
        }
    }

    /// Takes bytes from the client.
    pub fn receive(&mut self, bytes: &[u8], now: MonoNs, world: &World<'_>) {
        if self.ending.is_some() {
            return;
        }
        match &mut self.state {
            ConnectionState::Head(head) => {
                head.extend_from_slice(bytes);
                let head = std::mem::take(head);
                self.read_head(head, now, world);
            }
            ConnectionState::Mute => {}
            ConnectionState::Body(rest) => {
                *rest = rest.saturating_sub(bytes.len());
                if *rest == 0 {
                    self.end(Ending::Done, now);
                }
            }
            ConnectionState::Socket(socket) => {
                socket.heard = now;
                socket.inner.receive(bytes);
                self.read_messages(now, world);
            }
        }
    }

    /// Handles a change of the top of book of one instrument of this client's venue.
    pub fn quote(&mut self, quote: &VenueQuote, now: MonoNs) {
        let stale = self.stale.instead_of_change(quote);
        self.say(now, |side, out| side.quote(stale.as_ref().unwrap_or(quote), out));
        self.release_held(now);
    }

    /// Sends each message `late_ns` after its time from now on. With 0, those that wait are sent at once.
    pub fn delay(&mut self, late_ns: u64, now: MonoNs) {
        self.late.set(late_ns);
        self.release_due(now);
    }

    /// Sends the delayed messages that are due at `now`.
    pub(crate) fn release_due(&mut self, now: MonoNs) {
        while let Some(message) = self.late.pop(now) {
            self.frame(message);
        }
        self.check_output(now);
    }

    /// When [`Self::release_due`] has something to send.
    #[must_use]
    pub(crate) fn next_due(&self) -> Option<MonoNs> {
        self.late.next_due()
    }

    /// Sends the frame that waits for the next one.
    fn release_held(&mut self, now: MonoNs) {
        if let Some((_, message)) = self.held.take() {
            self.say(now, |_, out| distortion::push(out, message));
        }
    }

    /// The same for a venue with faults in effect.
    pub fn troubled_quote(&mut self, quote: &VenueQuote, now: MonoNs, trouble: &Trouble, random: &mut Random) {
        let stale = self.stale.instead_of_change(quote);
        let quote = stale.unwrap_or_else(|| distortion::distort_quote(quote, trouble));
        let mut held = self.held.take();
        self.say(now, |side, out| {
            side.quote(&quote, out);
            distortion::distort_frames(out, &quote.native, trouble, (&mut held, now.plus(HELD_MAX_NS)), random);
        });
        self.held = held;
    }

    /// The heartbeat of a venue with faults in effect. Heartbeats may contain prices and checksums.
    pub fn troubled_heartbeat(&mut self, unix: UnixNs, now: MonoNs, trouble: &Trouble) {
        let unix = distortion::distort_time(unix, trouble);
        let is_spoilt = trouble.whole(FaultKind::Checksum).is_some();
        let names_silent =
            |frame: &Message| trouble.named(FaultKind::Silence).any(|native| find(frame.as_bytes(), native.as_bytes()));
        self.say(now, |side, out| {
            side.heartbeat(unix, out);
            let frames: Vec<Message> = out.drain().filter(|frame| !names_silent(frame)).collect();
            for mut frame in frames {
                if is_spoilt {
                    distortion::change_checksum(&mut frame);
                }
                distortion::push(out, frame);
            }
        });
    }

    /// Handles a halt or the resumption of trading in an instrument of this client's venue.
    pub fn trading(&mut self, quote: &VenueQuote, now: MonoNs) {
        self.say(now, |side, out| side.trading(quote, out));
    }

    /// Begins or ends maintenance.
    pub(crate) fn maintain(&mut self, begins: bool, unix: UnixNs, now: MonoNs) {
        let mut becomes = Maintenance::Halts;
        self.say(now, |side, out| becomes = side.maintenance(begins, unix, out));
        if begins && becomes == Maintenance::Closes {
            self.close(1012, "service restart", now);
        }
    }

    /// Keeps the socket open, but sends nothing on it from now on.
    pub(crate) fn fall_mute(&mut self) {
        self.output().clear();
        self.state = ConnectionState::Mute;
        self.deadline = None;
    }

    /// Handles new 24-hour statistics of one instrument of this client's venue.
    pub fn statistics(&mut self, quote: &VenueQuote, now: MonoNs) {
        self.say(now, |side, out| side.statistics(quote, out));
    }

    /// Sends the venue's heartbeat, about once a second.
    pub fn heartbeat(&mut self, unix: UnixNs, now: MonoNs) {
        self.say(now, |side, out| side.heartbeat(unix, out));
    }

    /// Closes the connection with this close code.
    pub fn close(&mut self, code: u16, reason: &str, now: MonoNs) {
        match &mut self.state {
            ConnectionState::Socket(socket) if self.ending.is_none() && !socket.closing => {
                socket.inner.close(code, reason);
                socket.closing = true;
                self.deadline = Some(now.plus(GOODBYE_NS));
            }
            ConnectionState::Head(_) => self.end(Ending::Done, now),
            ConnectionState::Socket(_) | ConnectionState::Body(_) | ConnectionState::Mute => {}
        }
    }

    /// Bytes for the client. The caller removes the bytes that it has sent from the front.
    pub fn output(&mut self) -> &mut Vec<u8> {
        match &mut self.state {
            ConnectionState::Socket(socket) => socket.inner.output(),
            ConnectionState::Head(_) | ConnectionState::Body(_) | ConnectionState::Mute => &mut self.output,
        }
    }

    /// When [`Self::elapsed`] must be called next, if at all.
    #[must_use]
    pub fn deadline(&self) -> Option<MonoNs> {
        let held_until = self.held.as_ref().map(|(until, _)| *until);
        self.deadline.into_iter().chain(self.cut_at()).chain(held_until).chain(self.next_due()).min()
    }

    fn cut_at(&self) -> Option<MonoNs> {
        match &self.state {
            ConnectionState::Socket(socket) if self.ending.is_none() && !socket.closing => socket.cut_at(),
            _ => None,
        }
    }

    /// Handles elapsed time: sends pings, and closes connections of clients that were silent for too long.
    pub fn elapsed(&mut self, now: MonoNs) {
        self.release_due(now);
        if self.held.as_ref().is_some_and(|(until, _)| now >= *until) {
            self.release_held(now);
        }
        if self.cut_at().is_some_and(|at| now >= at) {
            return self.close(1000, "idle", now);
        }
        if self.deadline.is_none_or(|d| now < d) {
            return;
        }
        if self.ending.is_some() {
            // The last bytes could not be sent in time.
            self.output().clear();
            self.deadline = None;
            return;
        }
        let next_ping = now.plus(self.limits.ping_every_ms * MS);
        match &mut self.state {
            ConnectionState::Socket(socket) if !socket.closing && !socket.unanswered_ping => {
                socket.inner.ping();
                socket.unanswered_ping = true;
                self.deadline = Some(next_ping);
            }
            _ => self.end(Ending::Fault, now),
        }
    }

    /// Why the connection has ended; the caller closes the socket once the output is sent. `None` while it continues.
    #[must_use]
    pub const fn ending(&self) -> Option<Ending> {
        self.ending
    }

    /// Index of the venue, once the connection is a WebSocket.
    #[must_use]
    pub fn venue(&self) -> Option<usize> {
        match &self.state {
            ConnectionState::Socket(socket) => Some(socket.venue),
            ConnectionState::Head(_) | ConnectionState::Body(_) | ConnectionState::Mute => None,
        }
    }

    fn end(&mut self, ending: Ending, now: MonoNs) {
        self.ending = Some(ending);
        self.deadline = Some(now.plus(GOODBYE_NS));
    }

    fn read_head(&mut self, head: Vec<u8>, now: MonoNs, world: &World<'_>) {
        match http::parse(&head, HEAD_LIMITS) {
            Ok(Some((request, length))) => {
                let reply = answer(&request, world);
                self.act(reply, &head[length..], now, world);
            }
            Ok(None) => self.state = ConnectionState::Head(head),
            Err(refusal) => {
                let (status, reason) = refusal.status();
                write_reply(status, reason, TEXT, &format!("{reason}\n"), &mut self.output);
                self.end(Ending::Fault, now);
            }
        }
    }

    fn act(&mut self, reply: Reply, early: &[u8], now: MonoNs, world: &World<'_>) {
        match reply {
            Reply::Never => self.fall_mute(),
            Reply::Reset => self.end(Ending::Reset, now),
            Reply::Http { text, body_length } => {
                self.output.extend_from_slice(&text);
                let rest = body_length.saturating_sub(early.len());
                self.state = ConnectionState::Body(rest);
                if rest == 0 {
                    self.end(Ending::Done, now);
                }
            }
            Reply::Upgrade { venue, target, accept } => {
                let facts = world.venues[venue].facts();
                let mut socket = SimSocket {
                    venue,
                    inner: WebSocket::server(SOCKET_LIMITS, early),
                    side: world.venues[venue].exchange_side(),
                    facts,
                    unanswered_ping: false,
                    closing: false,
                    heard: now,
                    said: now,
                    ask_by: match facts.opening {
                        Opening::Prompt { within_ms } => Some(now.plus(within_ms * MS)),
                        Opening::Direct | Opening::Patient { .. } | Opening::Token { .. } => None,
                    },
                };
                http::write_switch(&accept, &format!("{SOURCE_HEADER}: simulated\r\n"), socket.inner.output());
                self.state = ConnectionState::Socket(Box::new(socket));
                self.deadline = match facts.keepalive {
                    Keepalive::Server => Some(now.plus(self.limits.ping_every_ms * MS)),
                    Keepalive::Client { .. } => None,
                };
                let (market, trouble) = (world.market(venue), world.trouble(venue));
                self.late.set(late_ns(trouble));
                if trouble.whole(FaultKind::Reconnect).is_some() {
                    let past = world.prices.past(venue);
                    self.stale = StaleQuotes::of(past.map(|quote| distortion::distort_quote(quote, trouble)));
                }
                self.say(now, |side, out| side.opened(&target, &market, out));
                if world.trouble(venue).whole(FaultKind::Maintenance).is_some()
                    && maintenance_of(world.venues[venue]) == Maintenance::Halts
                {
                    self.maintain(true, world.unix, now);
                }
                self.read_messages(now, world);
            }
        }
    }

    fn read_messages(&mut self, now: MonoNs, world: &World<'_>) {
        while self.ending.is_none() {
            let ConnectionState::Socket(socket) = &mut self.state else { return };
            let stale = self.stale.clone();
            let market = DistortedMarket { stale: Some(&stale), ..world.market(socket.venue) };
            match socket.inner.next() {
                Ok(None) => return,
                Ok(Some(Event::Text(text))) => {
                    socket.ask_by = None;
                    self.say(now, |side, out| side.receive(&text, &market, out));
                }
                // Some clients send their JSON in binary messages. Other binary messages mean nothing to a venue.
                Ok(Some(Event::Binary(bytes))) => {
                    socket.ask_by = None;
                    if let Ok(text) = std::str::from_utf8(&bytes) {
                        self.say(now, |side, out| side.receive(text, &market, out));
                    }
                }
                Ok(Some(Event::Pong)) => socket.unanswered_ping = false,
                Ok(Some(Event::Ping | Event::Open(_))) => self.check_output(now),
                Ok(Some(Event::Closed(_))) | Err(Failure::Over) => self.end(Ending::Done, now),
                Err(_) => self.end(Ending::Fault, now),
            }
        }
    }

    /// Calls the exchange side and frames the messages that it returns.
    fn say(&mut self, now: MonoNs, speak: impl FnOnce(&mut dyn ExchangeSide, &mut Messages)) {
        let ConnectionState::Socket(socket) = &mut self.state else { return };
        if self.ending.is_some() || socket.closing {
            return;
        }
        speak(socket.side.as_mut(), &mut self.messages);
        if !self.messages.is_empty() {
            socket.said = now;
        }
        let mut messages = std::mem::take(&mut self.messages);
        for message in messages.drain() {
            self.stale.see_sent(&message);
            if self.late.is_on() {
                self.late.push(message, now);
            } else {
                self.frame(message);
            }
        }
        self.messages = messages;
        self.check_output(now);
    }

    fn frame(&mut self, message: Message) {
        let ConnectionState::Socket(socket) = &mut self.state else { return };
        match message {
            Message::Text(text) => socket.inner.send_text(&text),
            Message::Binary(bytes) => socket.inner.send_binary(bytes),
        }
    }

    fn check_output(&mut self, now: MonoNs) {
        if self.output().len() + self.late.bytes() > self.limits.output_max {
            self.output().clear();
            self.end(Ending::Slow, now);
        }
    }
}

enum Reply {
    /// No response; the socket stays open.
    Never,
    /// No response; the socket is closed.
    Reset,
    Http {
        text: Vec<u8>,
        body_length: usize,
    },
    Upgrade {
        venue: usize,
        target: String,
        accept: String,
    },
}

/// The reply to a request.
fn answer(request: &Request, world: &World<'_>) -> Reply {
    let host = if request.host.is_empty() { world.listen.to_string() } else { request.host.clone() };
    let base = format!("{}://{host}", if world.tls { "wss" } else { "ws" });
    let reply = |status: u16, reason: &str, extra: &str, body: &str| {
        let mut text = Vec::new();
        write_reply(status, reason, extra, body, &mut text);
        Reply::Http { text, body_length: request.length }
    };
    let page = |text: &str| reply(200, "OK", TEXT, text);
    let unavailable = |text: &str| reply(503, "Service Unavailable", TEXT, text);
    if request.path == "/" {
        return page(&venues_page(&base, world));
    }
    if request.path == "/connections" {
        return reply(200, "OK", JSON, &connections(world));
    }
    let Some((venue, target)) = route(request, world.venues) else {
        return reply(404, "Not Found", TEXT, "No such simulated venue; GET / lists them.\n");
    };
    let trouble = world.trouble(venue);
    if trouble.whole(FaultKind::HalfOpen).is_some() {
        return Reply::Never;
    }
    if trouble.whole(FaultKind::Refused).is_some() {
        return Reply::Reset;
    }
    if let Some(seconds) = trouble.whole(FaultKind::TooManyRequests) {
        let extra = format!("{TEXT}Retry-After: {seconds}\r\n");
        return reply(429, "Too Many Requests", &extra, "Too many requests.\n");
    }
    if trouble.whole(FaultKind::Maintenance).is_some() && maintenance_of(world.venues[venue]) == Maintenance::Closes {
        return unavailable("This simulated venue is under maintenance.\n");
    }
    if request.upgrade != Upgrade::None && world.refusing.get(venue).copied().unwrap_or(false) {
        return unavailable("This simulated venue is refusing connections.\n");
    }
    match &request.upgrade {
        Upgrade::WebSocket(accept) => return Reply::Upgrade { venue, target, accept: accept.clone() },
        Upgrade::Version => {
            let extra = format!("{TEXT}Sec-WebSocket-Version: 13\r\n");
            return reply(426, "Upgrade Required", &extra, "`Sec-WebSocket-Version` must be 13.\n");
        }
        Upgrade::Broken => return reply(400, "Bad Request", TEXT, "The WebSocket handshake is invalid.\n"),
        Upgrade::None => {}
    }
    let name = world.venues[venue].facts().name;
    let market = DistortedMarket { is_page: true, ..world.market(venue) };
    let is_get = request.method == Method::Get;
    let method = match request.method {
        Method::Get => "GET",
        Method::Head => "HEAD",
        Method::Options => "OPTIONS",
        Method::Post => "POST",
    };
    match world.venues[venue].rest(method, &target, &format!("{base}/{name}"), &market) {
        Some(body) => reply(200, "OK", JSON, &body),
        None if is_get && target == "/" => page(&venues_page(&base, world)),
        None => reply(404, "Not Found", TEXT, "The simulated venue has no such resource.\n"),
    }
}

/// By how much these faults delay messages, in nanoseconds.
#[must_use]
pub fn late_ns(trouble: &Trouble) -> u64 {
    trouble.whole(FaultKind::Lag).and_then(|ms| u64::try_from(ms).ok()).unwrap_or(0).saturating_mul(MS)
}

/// How a venue treats its connections when maintenance begins.
pub(super) fn maintenance_of(venue: &dyn Venue) -> Maintenance {
    venue.exchange_side().maintenance(true, UnixNs(0), &mut Messages::default())
}

fn find(text: &[u8], part: &[u8]) -> bool {
    !part.is_empty() && text.windows(part.len()).any(|window| window == part)
}

/// The venue named by the first segment of the path, and the rest of the path with the query.
fn route(request: &Request, venues: &[&'static dyn Venue]) -> Option<(usize, String)> {
    let path = request.path.strip_prefix('/')?;
    let (name, rest) = path.split_at(path.find('/').unwrap_or(path.len()));
    let venue = venues.iter().position(|v| v.facts().name == name)?;
    let mark = if request.query.is_empty() { "" } else { "?" };
    Some((venue, format!("{}{mark}{}", if rest.is_empty() { "/" } else { rest }, request.query)))
}

/// The page for people: lists the venues and states that no price is real.
fn venues_page(base: &str, world: &World<'_>) -> String {
    let mut page = String::from("spreadwire simulator: every price here is simulated.\n\n");
    for venue in world.venues {
        let facts = venue.facts();
        page.push_str(&format!("{:<12} {}\n", facts.title, address_below(base, facts)));
    }
    page
}

/// The page for programs: counts of connections to each venue.
fn connections(world: &World<'_>) -> String {
    let venues = world.venues.iter().zip(world.sockets).map(|(venue, it)| {
        let Sockets { open, most, opened } = it;
        format!(r#""{}":{{"open":{open},"most":{most},"opened":{opened}}}"#, venue.facts().name)
    });
    format!("{{{}}}\n", venues.collect::<Vec<_>>().join(","))
}

/// The address of a venue below the simulator's `base`, with the path of the venue's real address.
pub(super) fn address_below(base: &str, facts: &Facts) -> String {
    let real = facts.address.split_once("://").map_or(facts.address, |(_, rest)| rest);
    let path = real.find('/').map_or("", |at| real[at..].trim_end_matches('/'));
    format!("{base}/{}{path}", facts.name)
}

/// Header lines of a page for people, and of one for programs.
const TEXT: &str = "Content-Type: text/plain; charset=utf-8\r\n";
const JSON: &str = "Content-Type: application/json; charset=utf-8\r\n";

/// Writes a reply after which the connection is closed. `extra`: header lines, each ending with CR LF.
fn write_reply(status: u16, reason: &str, extra: &str, body: &str, out: &mut Vec<u8>) {
    let extra = format!("{extra}{SOURCE_HEADER}: simulated\r\n");
    http::write_head(status, reason, Some(body.len()), false, &extra, out);
    out.extend_from_slice(body.as_bytes());
}

#[cfg(test)]
#[path = "connection_tests.rs"]
mod tests;
