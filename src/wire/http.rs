//! HTTP/1.1 requests in, responses out: bytes only, no socket. Parsing is strict. A request that a proxy in front of
//! the gateway could interpret differently is rejected and the connection closed, which prevents request smuggling.
//!
//! Only requests to [`HeadLimits::posts`] may have a body, and the head must state its length. Grammar: RFC 9110, 9112,
//! 6455 (read 2026-11-20).

use std::borrow::Cow;

use crate::wire::query;

/// Limits of a request.
#[derive(Clone, Copy, Debug)]
pub struct HeadLimits {
    /// Bytes of the whole head, including the request line.
    pub head_max: usize,
    /// Number of header lines.
    pub lines_max: usize,
    /// Bytes of the request line, and of each header line.
    pub line_max: usize,
    /// Paths that accept POST.
    pub posts: Posts,
    /// Largest body of such a request, in bytes.
    pub body_max: usize,
}

/// Paths that accept POST.
#[derive(Clone, Copy, Debug)]
pub enum Posts {
    /// These, without queries. They accept neither GET nor HEAD.
    Only(&'static [&'static str]),
    /// Any path.
    All,
}

impl Posts {
    /// Whether `path` accepts requests with `method`.
    fn allow(self, method: Method, path: &str) -> bool {
        match (self, method) {
            (Self::All, _) | (_, Method::Options) => true,
            (Self::Only(paths), Method::Post) => paths.contains(&path),
            (Self::Only(paths), Method::Get | Method::Head) => !paths.contains(&path),
        }
    }

    /// The methods that `path` accepts, as in the header `Allow`.
    #[must_use]
    pub fn methods(self, path: &str) -> &'static str {
        match self {
            Self::Only(paths) if paths.contains(&path) => "POST, OPTIONS",
            Self::Only(_) => "GET, HEAD, OPTIONS",
            Self::All => "GET, HEAD, POST, OPTIONS",
        }
    }
}

/// Largest accepted value of [`HeadLimits::lines_max`].
pub(crate) const LINES_MAX: usize = 128;

/// Supported methods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// GET.
    Get,
    /// HEAD: as GET, without the body.
    Head,
    /// OPTIONS.
    Options,
    /// POST, accepted for [`HeadLimits::posts`] only.
    Post,
}

/// A request head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Method of the request.
    pub method: Method,
    /// Path as sent, starting with `/`; `*` for OPTIONS of the whole server.
    pub path: String,
    /// Query as sent, without the question mark; empty if there is none.
    pub query: String,
    /// `Host` as sent: a name or address with an optional port; empty if there is none.
    pub host: String,
    /// Whether the connection stays open after the response.
    pub(crate) keep_alive: bool,
    /// Whether the client requests a WebSocket.
    pub upgrade: Upgrade,
    /// Whether the response may be compressed with gzip.
    pub gzip: bool,
    /// `If-None-Match` as sent: the entity tags that the client already has; empty if there are none.
    pub known: String,
    /// `Authorization` as sent; empty if there is none.
    pub(crate) authorization: String,
    /// The values of all `X-Forwarded-For` lines in order, joined by commas; empty if there are none. Any client can
    /// write this header, so use it only in requests from a known proxy.
    pub(crate) forwarded_for: String,
    /// Length of the body that follows the head, in bytes.
    pub length: usize,
    /// The body. [`parse`] leaves it empty; the connection fills it in.
    pub body: Vec<u8>,
    /// Whether the client sends the body only after [`CONTINUE`].
    pub(crate) expects_continue: bool,
}

/// Interim response that asks a waiting client to send the request body.
pub(crate) const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

impl Request {
    /// Whether the client already has the version with the entity tag `etag`, quotes included. Weak tags match too (RFC
    /// 9110, 13.1.2).
    #[must_use]
    pub(crate) fn knows(&self, etag: &str) -> bool {
        let tag = |text: &str| text.trim().trim_start_matches("W/") == etag;
        self.known.trim() == "*" || self.known.split(',').any(tag)
    }
}

/// The WebSocket part of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Upgrade {
    /// No upgrade is requested.
    None,
    /// A valid opening handshake; holds the value of `Sec-WebSocket-Accept` for the response.
    WebSocket(String),
    /// A WebSocket version other than 13: 426.
    Version,
    /// An upgrade with an invalid handshake: 400.
    Broken,
}

/// Why a request is rejected. The client's mistake: it receives the status, and the connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Not HTTP, or ambiguous: 400.
    Malformed,
    /// A known method that the path does not accept: 405.
    Method {
        /// The methods that it accepts, as in the header `Allow`.
        allowed: &'static str,
    },
    /// An unknown method: 501.
    UnknownMethod,
    /// Neither HTTP/1.0 nor HTTP/1.1: 505.
    Version,
    /// The request line is too long: 414.
    Target,
    /// The head is too long or has too many lines: 431.
    Head,
    /// A body that is not allowed or too large: 413.
    Body,
    /// A body in chunks, without a stated length: 411.
    Chunked,
    /// An expectation other than `100-continue`: 417.
    Expectation,
}

impl Refusal {
    /// Status code and reason.
    #[must_use]
    pub const fn status(self) -> (u16, &'static str) {
        match self {
            Self::Malformed => (400, "Bad Request"),
            Self::Method { .. } => (405, "Method Not Allowed"),
            Self::UnknownMethod => (501, "Not Implemented"),
            Self::Version => (505, "HTTP Version Not Supported"),
            Self::Target => (414, "URI Too Long"),
            Self::Head => (431, "Request Header Fields Too Large"),
            Self::Body => (413, "Content Too Large"),
            Self::Chunked => (411, "Length Required"),
            Self::Expectation => (417, "Expectation Failed"),
        }
    }
}

/// Parses the head at the start of `bytes`. Returns the request and the length of its head, or `None` while the head is
/// incomplete. One empty line before the request line is ignored and counts as part of the head (RFC 9112, 2.2).
///
/// # Errors
/// [`Refusal`], as soon as it can be detected.
pub fn parse(bytes: &[u8], limits: HeadLimits) -> Result<Option<(Request, usize)>, Refusal> {
    let skipped = match bytes {
        b"\r" => return Ok(None),
        [b'\r', b'\n', ..] => 2,
        _ => 0,
    };
    let parsed = parse_head(&bytes[skipped..], limits)?;
    Ok(parsed.map(|(request, length)| (request, skipped + length)))
}

fn parse_head(bytes: &[u8], limits: HeadLimits) -> Result<Option<(Request, usize)>, Refusal> {
    let end = head_end(bytes, limits)?;
    if let Some(line) = request_line(bytes) {
        check_version(line)?;
    }
    let Some(end) = end else { return Ok(None) };
    let mut lines = [httparse::EMPTY_HEADER; LINES_MAX];
    let mut head = httparse::Request::new(&mut lines[..limits.lines_max.min(LINES_MAX)]);
    match head.parse(&bytes[..end]) {
        Ok(httparse::Status::Complete(length)) if length == end => {}
        Ok(_) => return Err(Refusal::Malformed),
        Err(httparse::Error::TooManyHeaders) => return Err(Refusal::Head),
        Err(httparse::Error::Version) => return Err(Refusal::Version),
        Err(_) => return Err(Refusal::Malformed),
    }
    let is_1_1 = head.version == Some(1);
    let headers = Headers::read(head.headers)?;
    let bare = head.path.unwrap_or_default().split('?').next().unwrap_or_default();
    let method = method_of(head.method.unwrap_or_default())?
        .filter(|method| limits.posts.allow(*method, bare))
        .ok_or(Refusal::Method { allowed: limits.posts.methods(bare) })?;
    let is_posted = method == Method::Post;
    let (path, query) = target(head.path.unwrap_or_default(), method, &headers, is_1_1)?;
    let length = headers.body(if is_posted { limits.body_max } else { 0 })?;
    let keep_alive = if is_1_1 { !headers.close } else { headers.keep_alive && !headers.close };
    let upgrade = headers.upgrade(is_1_1 && method == Method::Get);
    let request = Request {
        method,
        path,
        query,
        host: headers.host.unwrap_or_default().to_owned(),
        keep_alive,
        upgrade,
        gzip: headers.gzip,
        known: headers.known.to_owned(),
        authorization: headers.authorization.unwrap_or_default().to_owned(),
        forwarded_for: headers.forwarded_for,
        length,
        body: Vec::new(),
        // Ignored in HTTP/1.0, and nothing to wait for without a body (RFC 9110, 10.1.1).
        expects_continue: headers.expects_continue && is_1_1 && length > 0,
    };
    Ok(Some((request, end)))
}

/// End of the head. Each line must end with CR LF; NUL bytes and folded lines are rejected.
fn head_end(bytes: &[u8], limits: HeadLimits) -> Result<Option<usize>, Refusal> {
    let (mut line_start, mut lines) = (0, 0);
    for (at, &byte) in bytes.iter().enumerate() {
        if at >= limits.head_max {
            return Err(if lines == 0 { Refusal::Target } else { Refusal::Head });
        }
        match byte {
            0 => return Err(Refusal::Malformed),
            b'\r' if bytes.get(at + 1).is_some_and(|next| *next != b'\n') => return Err(Refusal::Malformed),
            b'\n' if at == 0 || bytes[at - 1] != b'\r' => return Err(Refusal::Malformed),
            b'\n' if at - line_start == 1 => {
                return if lines == 0 { Err(Refusal::Malformed) } else { Ok(Some(at + 1)) };
            }
            b'\n' => {
                lines += 1;
                line_start = at + 1;
            }
            b' ' | b'\t' if at == line_start => return Err(Refusal::Malformed),
            _ if at - line_start >= limits.line_max => {
                return Err(if lines == 0 { Refusal::Target } else { Refusal::Head });
            }
            _ => {}
        }
        if lines > limits.lines_max + 1 {
            return Err(Refusal::Head);
        }
    }
    Ok(None)
}

fn request_line(bytes: &[u8]) -> Option<&[u8]> {
    bytes.iter().position(|b| *b == b'\r').map(|end| &bytes[..end])
}

/// Rejects HTTP/0.9, which has no version, and versions above 1.1.
fn check_version(line: &[u8]) -> Result<(), Refusal> {
    let mut words = line.split(|b| *b == b' ');
    let (Some(_), Some(target)) = (words.next(), words.next()) else { return Err(Refusal::Malformed) };
    match words.next() {
        None if target.starts_with(b"HTTP/") => Err(Refusal::Malformed),
        Some(b"HTTP/1.1" | b"HTTP/1.0") => Ok(()),
        Some(version) if version.starts_with(b"HTTP/") && words.next().is_none() => Err(Refusal::Version),
        None => Err(Refusal::Version),
        Some(_) => Err(Refusal::Malformed),
    }
}

/// `None` for a known method that no path accepts.
fn method_of(name: &str) -> Result<Option<Method>, Refusal> {
    match name {
        "GET" => Ok(Some(Method::Get)),
        "HEAD" => Ok(Some(Method::Head)),
        "OPTIONS" => Ok(Some(Method::Options)),
        "POST" => Ok(Some(Method::Post)),
        "PUT" | "DELETE" | "PATCH" | "TRACE" | "CONNECT" => Ok(None),
        _ => Err(Refusal::UnknownMethod),
    }
}

/// Path and query of a request target. Rejects paths with escapes that could stand for another path.
fn target(text: &str, method: Method, headers: &Headers<'_>, is_1_1: bool) -> Result<(String, String), Refusal> {
    if !text.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'\\' | b'#' | b'"' | b'<' | b'>')) {
        return Err(Refusal::Malformed);
    }
    if is_1_1 && headers.host.is_none() {
        return Err(Refusal::Malformed);
    }
    let origin_form = match text.strip_prefix("http://").or_else(|| text.strip_prefix("https://")) {
        Some(rest) => {
            let at = rest.find(['/', '?']).unwrap_or(rest.len());
            if headers.host.is_some_and(|host| !host.eq_ignore_ascii_case(&rest[..at])) || !is_host(&rest[..at]) {
                return Err(Refusal::Malformed);
            }
            if rest[at..].is_empty() { "/" } else { &rest[at..] }
        }
        None => text,
    };
    if origin_form == "*" && method == Method::Options {
        return Ok(("*".into(), String::new()));
    }
    let (path, query) = origin_form.split_once('?').unwrap_or((origin_form, ""));
    if !path.starts_with('/') || !is_plain_path(path) {
        return Err(Refusal::Malformed);
    }
    Ok((path.into(), query.into()))
}

/// Whether the path has no `.`, `..` or empty segment, and no escape for one of these, a slash, a control character or
/// invalid UTF-8.
fn is_plain_path(path: &str) -> bool {
    let Some(text) = query::decoded_strictly(path) else { return false };
    let slashes = |s: &str| s.bytes().filter(|b| *b == b'/').count();
    !text.contains(['\\', '\0'])
        && !text.contains("//")
        && !text.chars().any(char::is_control)
        && slashes(&text) == slashes(path)
        && !text.split('/').any(|segment| segment == ".." || segment == ".")
}

/// The header lines that are used here.
#[derive(Default)]
struct Headers<'a> {
    host: Option<&'a str>,
    length: Option<u64>,
    chunked: bool,
    close: bool,
    keep_alive: bool,
    connection_upgrade: bool,
    websocket: bool,
    key: Option<&'a str>,
    keys: usize,
    version: Option<&'a str>,
    versions: usize,
    expects_continue: bool,
    gzip: bool,
    known: &'a str,
    authorization: Option<&'a str>,
    forwarded_for: String,
}

impl<'a> Headers<'a> {
    fn read(lines: &[httparse::Header<'a>]) -> Result<Self, Refusal> {
        let mut headers = Self::default();
        let mut tagged = false;
        for line in lines {
            let value = line.value.trim_ascii();
            match lower(line.name).as_ref() {
                "host" => {
                    let host = std::str::from_utf8(value).map_err(|_| Refusal::Malformed)?;
                    if headers.host.replace(host).is_some() || !is_host(host) {
                        return Err(Refusal::Malformed);
                    }
                }
                // Repeated lengths, even equal ones, are a sign of request smuggling.
                "content-length" => {
                    let digits = !value.is_empty() && value.len() <= 18 && value.iter().all(u8::is_ascii_digit);
                    let length = std::str::from_utf8(value).ok().filter(|_| digits).and_then(|v| v.parse().ok());
                    if headers.length.replace(length.ok_or(Refusal::Malformed)?).is_some() {
                        return Err(Refusal::Malformed);
                    }
                }
                // Only `chunked`, and only once: all parsers interpret it alike.
                "transfer-encoding" => {
                    if headers.chunked || !line.value.eq_ignore_ascii_case(b"chunked") {
                        return Err(Refusal::Malformed);
                    }
                    headers.chunked = true;
                }
                "connection" => {
                    for token in tokens(value) {
                        headers.close |= token.eq_ignore_ascii_case(b"close");
                        headers.keep_alive |= token.eq_ignore_ascii_case(b"keep-alive");
                        headers.connection_upgrade |= token.eq_ignore_ascii_case(b"upgrade");
                    }
                }
                "upgrade" => headers.websocket |= tokens(value).any(|t| t.eq_ignore_ascii_case(b"websocket")),
                "sec-websocket-key" => {
                    headers.keys += 1;
                    headers.key = std::str::from_utf8(value).ok();
                }
                "sec-websocket-version" => {
                    headers.versions += 1;
                    headers.version = std::str::from_utf8(value).ok();
                }
                "expect" => {
                    if !value.eq_ignore_ascii_case(b"100-continue") {
                        return Err(Refusal::Expectation);
                    }
                    headers.expects_continue = true;
                }
                "accept-encoding" => headers.gzip |= tokens(value).any(is_gzip),
                // A value that is not text cannot be one of our tags. If the header is repeated, the page is sent in
                // full.
                "if-none-match" => {
                    headers.known = if tagged { "" } else { std::str::from_utf8(value).unwrap_or_default() };
                    tagged = true;
                }
                "authorization" => {
                    let authorization = std::str::from_utf8(value).unwrap_or_default();
                    if headers.authorization.replace(authorization).is_some() {
                        return Err(Refusal::Malformed);
                    }
                }
                "x-forwarded-for" => {
                    if !headers.forwarded_for.is_empty() {
                        headers.forwarded_for.push(',');
                    }
                    headers.forwarded_for.push_str(&String::from_utf8_lossy(value));
                }
                _ => {}
            }
        }
        if headers.chunked && headers.length.is_some() {
            return Err(Refusal::Malformed);
        }
        Ok(headers)
    }

    /// Length of the body, at most `most`.
    fn body(&self, most: usize) -> Result<usize, Refusal> {
        let length = usize::try_from(self.length.unwrap_or(0)).unwrap_or(usize::MAX);
        if self.chunked {
            return Err(Refusal::Chunked);
        }
        if length > most {
            return Err(Refusal::Body);
        }
        Ok(length)
    }

    fn upgrade(&self, may: bool) -> Upgrade {
        if !self.websocket {
            return Upgrade::None;
        }
        match self.key {
            _ if !may || !self.connection_upgrade || self.versions > 1 => Upgrade::Broken,
            _ if self.version != Some("13") => Upgrade::Version,
            Some(key) if self.keys == 1 && is_key(key) => {
                Upgrade::WebSocket(tungstenite::handshake::derive_accept_key(key.as_bytes()))
            }
            _ => Upgrade::Broken,
        }
    }
}

fn lower(name: &str) -> Cow<'_, str> {
    if name.bytes().any(|b| b.is_ascii_uppercase()) { name.to_ascii_lowercase().into() } else { name.into() }
}

fn tokens(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    list.split(|b| *b == b',').map(<[u8]>::trim_ascii)
}

/// Whether an entry of `Accept-Encoding` allows gzip; a weight of 0 excludes it.
fn is_gzip(entry: &[u8]) -> bool {
    let mut parts = entry.split(|b| *b == b';').map(<[u8]>::trim_ascii);
    let named = parts.next().is_some_and(|name| name.eq_ignore_ascii_case(b"gzip"));
    named && !parts.any(|part| matches!(part, b"q=0" | b"q=0." | b"q=0.0" | b"q=0.00" | b"q=0.000"))
}

/// Whether this is a host name or address, with an optional port (RFC 3986, 3.2). A path or user name is rejected, so
/// that it cannot end up in a log or a link.
fn is_host(text: &str) -> bool {
    let (is_name, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']').unwrap_or_default();
            (address.parse::<std::net::Ipv6Addr>().is_ok(), port)
        }
        None => {
            let (name, port) = text.split_at(text.find(':').unwrap_or(text.len()));
            let is_plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
            (!name.is_empty() && name.bytes().all(is_plain), port)
        }
    };
    is_name && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port))
}

/// An empty port stands for the default port.
fn is_port(digits: &str) -> bool {
    digits.bytes().all(|b| b.is_ascii_digit()) && (digits.is_empty() || digits.parse::<u16>().is_ok())
}

/// 16 bytes in base 64: 22 digits and two padding signs.
fn is_key(text: &str) -> bool {
    let Some(digits) = text.strip_suffix("==") else { return false };
    digits.len() == 22
        && digits.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/'))
        // The last digit encodes only two bits.
        && matches!(digits.as_bytes()[21], b'A' | b'Q' | b'g' | b'w')
}

/// Appends a response head: status line, `Content-Length` (omitted if `length` is `None`: the end of the connection
/// then ends the body), `Connection`, then the `extra` lines, each ending with CR LF.
pub(crate) fn write_head(
    status: u16,
    reason: &str,
    length: Option<usize>,
    keep_alive: bool,
    extra: &str,
    out: &mut Vec<u8>,
) {
    let mut digits = itoa::Buffer::new();
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(digits.format(status).as_bytes());
    out.push(b' ');
    out.extend_from_slice(reason.as_bytes());
    if let Some(length) = length {
        out.extend_from_slice(b"\r\nContent-Length: ");
        out.extend_from_slice(digits.format(length).as_bytes());
    }
    out.extend_from_slice(if keep_alive {
        b"\r\nConnection: keep-alive\r\n".as_slice()
    } else {
        b"\r\nConnection: close\r\n"
    });
    out.extend_from_slice(extra.as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Appends the response that accepts an opening handshake.
pub fn write_switch(accept: &str, extra: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n");
    out.extend_from_slice(b"Sec-WebSocket-Accept: ");
    out.extend_from_slice(accept.as_bytes());
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(extra.as_bytes());
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
#[path = "http_tests.rs"]
mod tests;
