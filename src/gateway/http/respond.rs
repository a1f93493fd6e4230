//! Responses to HTTP requests: pages, embedded files, streams, admin calls. Runs on the gateway's thread.

use std::borrow::Cow;
use std::sync::Arc;

use crate::gateway::client::Sent;
use crate::gateway::clients::Clients;
use crate::gateway::http::admin::{AdminCalls, POSTS, RELOAD_PATH, RETRY_PATH, Refused, Ticket, Wish};
use crate::gateway::http::page::{Answer, Page};
use crate::gateway::http::pages::PageCache;
use crate::gateway::http::routes::{self, PageContext};
use crate::gateway::http::survey::{Survey, sources};
use crate::gateway::prices::subscriptions::SubscriptionRequest;
use crate::gateway::services::Services;
use crate::gateway::view::{PriceFormat, Snapshot};
use crate::net::listen::Caller;
use crate::protocol::{self, stream};
use crate::random::Random;
use crate::time::{MonoNs, SECOND};
use crate::wire::http::{self, Method, Request};
use crate::wire::{query, sse};

/// How often the header lines of responses are updated.
const HEADERS_NS: u64 = SECOND / 4;
/// Header lines of a stream.
const STREAM_LINES: &str = "Cache-Control: no-cache\r\nX-Accel-Buffering: no\r\n";

/// See the file's head.
pub(crate) struct HttpResponder {
    cache: PageCache,
    survey: Survey,
    /// Header lines of every response.
    headers: String,
    headers_at: MonoNs,
    /// Admin calls, if they are enabled.
    admin: Option<AdminCalls>,
    out: Vec<u8>,
}

impl HttpResponder {
    /// Without cached pages, and without admin calls unless `admin` receives them.
    #[must_use]
    pub fn new(admin: Option<AdminCalls>, now: MonoNs) -> Self {
        Self {
            cache: PageCache::default(),
            survey: Survey::new(now),
            headers: String::new(),
            headers_at: now,
            admin,
            out: Vec::new(),
        }
    }

    /// Header lines of every response.
    #[must_use]
    pub(crate) fn headers(&self) -> &str {
        &self.headers
    }

    /// Updates the header lines, which contain the sources of the numbers, from time to time. `true` if it did.
    pub(crate) fn refresh_headers(&mut self, snapshot: &Snapshot<'_>) -> bool {
        if self.headers_at > snapshot.client_now && !self.headers.is_empty() {
            return false;
        }
        self.headers_at = snapshot.client_now.plus(HEADERS_NS);
        let sources = sources(snapshot.board, snapshot.directory);
        self.headers = format!(
            "Server: spreadwire\r\nX-Spreadwire-Source: {sources}\r\nX-Content-Type-Options: nosniff\r\n\
             Access-Control-Allow-Origin: *\r\nAccess-Control-Expose-Headers: X-Spreadwire-Source, ETag, Retry-After\r\n"
        );
        true
    }

    /// Answers a request of a client.
    pub fn answer(
        &mut self,
        key: u32,
        request: &Request,
        clients: &mut Clients,
        services: &mut Services,
        snapshot: &Snapshot<'_>,
    ) {
        let (method, keep_alive) = (request.method, request.keep_alive);
        if method == Method::Post {
            return self.call(key, request, clients, snapshot);
        }
        if method == Method::Options {
            let page = Page::empty(204, "", options_lines(request));
            return self.send_page(key, (method, keep_alive), &page, clients, snapshot);
        }
        let is_shared = routes::is_shared(&request.path);
        let target = if is_shared { format!("{}?{}", request.path, request.query) } else { String::new() };
        if let Some(page) = self.cache.find(&target, snapshot.client_now) {
            snapshot.gauges().http.shared.add(1);
            return self.send_page(key, (method, keep_alive), &page, clients, snapshot);
        }
        // A page shows the present numbers of this gateway.
        services.publish(clients, snapshot);
        self.survey.refresh(snapshot);
        match routes::answer(&self.context(clients, services, snapshot), request) {
            Answer::Page(page) => {
                let page = Arc::new(page);
                if is_shared {
                    self.cache.insert(&target, Arc::clone(&page), snapshot.client_now);
                }
                self.send_page(key, (method, keep_alive), &page, clients, snapshot);
            }
            Answer::Stream { .. } if method == Method::Head => {
                let page = Page::empty(200, "text/event-stream", STREAM_LINES);
                self.send_page(key, (method, keep_alive), &page, clients, snapshot);
            }
            Answer::Stream { pairs, raw, extended } => {
                let format = if extended { PriceFormat::ExtendedStream } else { PriceFormat::Stream };
                let request = SubscriptionRequest { live: raw, format, symbols: &pairs, exchanges: &[] };
                self.begin_stream(key, &request, clients, services, snapshot);
            }
        }
    }

    fn context<'a>(&'a self, clients: &Clients, services: &'a Services, snapshot: &Snapshot<'a>) -> PageContext<'a> {
        let others = snapshot.board.gateways.iter().enumerate().filter(|(at, _)| *at != snapshot.index);
        let elsewhere: u64 = others.map(|(_, gauges)| gauges.clients.sse.value()).sum();
        PageContext {
            snapshot: *snapshot,
            subscriptions: &services.prices.subscriptions,
            log: services.opportunities.log(),
            survey: &self.survey,
            streams: clients.streams() + elsewhere as usize,
        }
    }

    fn send_page(
        &mut self,
        key: u32,
        (method, keep_alive): (Method, bool),
        page: &Page,
        clients: &mut Clients,
        snapshot: &Snapshot<'_>,
    ) {
        let Some((client, totals)) = clients.entry(key) else { return };
        let kind = if page.kind.is_empty() { String::new() } else { format!("Content-Type: {}\r\n", page.kind) };
        let lines = format!("{kind}{}{}", page.lines, self.headers);
        let length = (!matches!(page.status, 204 | 304)).then_some(page.body.len());
        self.out.clear();
        http::write_head(page.status, page.reason(), length, keep_alive, &lines, &mut self.out);
        let mut file: &'static [u8] = &[];
        match &page.body {
            _ if method == Method::Head => {}
            Cow::Borrowed(bytes) => file = bytes,
            Cow::Owned(bytes) => self.out.extend_from_slice(bytes),
        }
        client.connection.answered(keep_alive, &snapshot.settings.gateway, snapshot.client_now);
        let mut sent = client.write_queued(&self.out, snapshot.client_now, totals);
        if sent != Sent::Gone && !file.is_empty() {
            sent = client.write_file(file, snapshot.client_now, totals);
        }
        if sent == Sent::Gone {
            clients.discard(key);
        }
    }

    // Streams.

    fn begin_stream(
        &mut self,
        key: u32,
        request: &SubscriptionRequest<'_>,
        clients: &mut Clients,
        services: &mut Services,
        snapshot: &Snapshot<'_>,
    ) {
        let now = snapshot.client_now;
        let Ok(new) = services.prices.subscribe_stream(key, request, clients, snapshot) else {
            return self.send_page(key, (Method::Get, false), &Page::at_capacity(), clients, snapshot);
        };
        let lines = format!("Content-Type: text/event-stream\r\n{STREAM_LINES}{}", self.headers);
        self.out.clear();
        http::write_head(200, "OK", None, true, &lines, &mut self.out);
        sse::retry(retry_ms(u64::from(key) << 32 ^ now.0), &mut self.out);
        sse::begin_event(&mut self.out);
        stream::connected(request.symbols, snapshot.unix.ms(), &mut self.out);
        sse::end_event(&mut self.out);
        let Some(client) = clients.get_mut(key) else { return };
        client.connection.begin_stream(now);
        clients.set_stream(key);
        if clients.write(key, &self.out, now) {
            services.prices.send_now(key, new, clients, snapshot);
        }
    }

    // Admin calls.

    /// Whether a response to an admin call waits.
    #[must_use]
    pub(crate) fn has_admin_response(&self) -> bool {
        self.admin.as_ref().is_some_and(AdminCalls::has_answer)
    }

    /// Forwards an admin call. Its response is sent later by [`Self::answer_admin`].
    fn call(&mut self, key: u32, request: &Request, clients: &mut Clients, snapshot: &Snapshot<'_>) {
        let Some(client) = clients.get(key) else { return };
        let ticket = Ticket { client: client.id, keep_alive: request.keep_alive };
        let peer = client.transport.peer().map(|address| address.ip());
        let caller = snapshot.settings.addresses.caller(peer, &request.forwarded_for);
        if let Err(refusal) = self.forward(request, ticket, caller, snapshot.client_now) {
            snapshot.gauges().http.bad.add(1);
            let page = Page::failure(refusal.status, &refusal.text);
            let page = Page { lines: format!("{}{}", refusal.lines, page.lines).into(), ..page };
            self.send_page(key, (Method::Post, request.keep_alive), &page, clients, snapshot);
        }
    }

    fn forward(&self, request: &Request, ticket: Ticket, caller: Caller, now: MonoNs) -> Result<(), AdminRefusal> {
        let calls = self.admin.as_ref().ok_or_else(|| AdminRefusal::new(404, "Not found"))?;
        calls.admit(&request.authorization, caller, now).map_err(|refused| match refused {
            Refused::Unauthorized => {
                AdminRefusal { lines: "WWW-Authenticate: Bearer\r\n".into(), ..AdminRefusal::new(401, "Unauthorized") }
            }
            Refused::TooMany { retry_after_s } => AdminRefusal {
                lines: format!("Retry-After: {retry_after_s}\r\n").into(),
                ..AdminRefusal::new(429, "Too many wrong tokens")
            },
        })?;
        let invalid = |why: String| AdminRefusal::new(400, &why);
        let wish = match request.path.as_str() {
            RELOAD_PATH => Wish::Reload,
            RETRY_PATH => Wish::Retry(protocol::admin::parse_retry(&request.body).map_err(invalid)?),
            _ => Wish::Set(protocol::admin::parse(&request.body).map_err(invalid)?),
        };
        let is_dry = query::value(&request.query, "dry").is_some_and(|v| v == "1" || v == "true");
        if calls.forward(wish, is_dry, ticket) {
            Ok(())
        } else {
            Err(AdminRefusal::new(503, "Too many admin calls wait already"))
        }
    }

    /// Sends responses of admin calls to clients that are still connected. Returns how many arrived.
    pub(crate) fn answer_admin(&mut self, clients: &mut Clients, snapshot: &Snapshot<'_>) -> usize {
        let mut count = 0;
        while let Some((ticket, outcome)) = self.admin.as_ref().and_then(AdminCalls::take) {
            count += 1;
            if !clients.holds(ticket.client) {
                continue;
            }
            let key = ticket.client.key;
            let page = Page::json(outcome.status(), "Cache-Control: no-store\r\n", outcome.text());
            self.send_page(key, (Method::Post, ticket.keep_alive), &page, clients, snapshot);
            clients.settle(key, snapshot);
            clients.queue(key);
        }
        count
    }
}

/// Why an admin call is not forwarded.
struct AdminRefusal {
    status: u16,
    text: String,
    /// Further header lines.
    lines: Cow<'static, str>,
}

impl AdminRefusal {
    fn new(status: u16, text: &str) -> Self {
        Self { status, text: text.to_owned(), lines: Cow::Borrowed("") }
    }
}

/// Header lines of the response to OPTIONS, which browsers also send before a request with headers of its own. `*` stands
/// for all headers except Authorization (<https://fetch.spec.whatwg.org/#http-access-control-allow-headers>, read
/// 2026-11-30); the names are for browsers that do not support it.
fn options_lines(request: &Request) -> String {
    let methods = POSTS.methods(&request.path);
    let headers = "Authorization, Content-Type, Last-Event-ID, Cache-Control, If-None-Match, X-Requested-With, *";
    format!(
        "Allow: {methods}\r\nAccess-Control-Allow-Methods: {methods}\r\n\
         Access-Control-Allow-Headers: {headers}\r\nAccess-Control-Max-Age: 7200\r\n"
    )
}

/// Shortest wait of browsers before they reconnect, in milliseconds.
const RETRY_MS: u64 = 1500;

/// How long the client of one stream waits before it reconnects, up to three times as long as another one, so that browsers
/// do not reconnect at the same time; different for each `seed`.
fn retry_ms(seed: u64) -> u64 {
    RETRY_MS + Random::new(seed).within(2 * RETRY_MS + 1)
}
