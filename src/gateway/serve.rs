//! What clients ask for: pages, streams, the WebSocket's requests.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use super::*;
use crate::gateway::admin::{RELOAD_PATH, RETRY_PATH, Refused, Ticket, Wish};
use crate::gateway::desk::{Crowded, Wish as Subscription};
use crate::gateway::shelf::Watch;
use crate::matrix::books::LEVELS_MAX;
use crate::net::listen::Caller;
use crate::protocol;
use crate::protocol::request::BookName;
use crate::wire::query;

impl Gateway {
    /// Answers what the received bytes of a client ask for, at most `asks` requests and as many as this turn has left.
    /// `true` when nothing of it is left, or nothing can be answered now.
    pub(super) fn converse(&mut self, key: u32, asks: &mut usize) -> bool {
        loop {
            if *asks == 0 || self.is_spent() {
                return false;
            }
            let now = self.eye.now;
            let Some(client) = self.clients.get_mut(key) else { return true };
            let mut out = std::mem::take(&mut self.out);
            let waits = client.kind == Kind::Http && client.outbox.is_blocked();
            let ask = if waits { None } else { client.connection.next(&self.options, &self.extra, now, &mut out) };
            client.listens = client.connection.is_listening();
            let sent = if out.is_empty() { Sent::All } else { client.write_kept(&out, now, &mut self.totals) };
            let too_slow = client.kind == Kind::Socket && client.outbox.waiting() > 2 * self.options.outbox_max;
            out.clear();
            self.out = out;
            if sent == Sent::Gone || too_slow {
                client.link.forget_unsent();
                self.totals.slow += u64::from(too_slow);
                self.remove(key);
                return true;
            }
            let Some(ask) = ask else { return true };
            *asks -= 1;
            self.asks_left = self.asks_left.saturating_sub(1);
            self.answer(key, ask);
        }
    }

    fn answer(&mut self, key: u32, ask: Ask) {
        let gauges = &self.board.gateways[self.index];
        match ask {
            Ask::Request(request) => {
                gauges.http_requests.add(1);
                self.page(key, &request);
            }
            Ask::Opened => {
                self.sockets += 1;
                if let Some(client) = self.clients.get_mut(key) {
                    client.kind = Kind::Socket;
                }
            }
            Ask::Command(command) => self.command(key, command),
            Ask::Mistaken => gauges.client_errors.add(1),
            Ask::Misbehaved => gauges.misbehaved_closed.add(1),
            Ask::Refused => gauges.http_bad.add(1),
        }
    }

    // HTTP.

    fn page(&mut self, key: u32, request: &Request) {
        if request.method == Method::Post {
            return self.admin_call(key, request);
        }
        let is_shared = request.method != Method::Options && routes::is_shared(&request.path);
        let target = if is_shared { format!("{}?{}", request.path, request.query) } else { String::new() };
        if let Some(page) = self.pages.find(&target, self.eye.now) {
            self.board.gateways[self.index].http_shared.add(1);
            return self.send_page(key, (request.method, request.keep_alive), &page);
        }
        // What a page says about this gateway is of now.
        self.survey();
        self.survey_prices();
        let answer = if request.method == Method::Options {
            Answer::Page(routes::Page {
                status: 204,
                kind: "",
                lines: options_lines(request, &self.options).into(),
                body: [].as_slice().into(),
            })
        } else {
            routes::answer(&self.scene(), request)
        };
        match answer {
            Answer::Page(page) => {
                let page = Arc::new(page);
                if is_shared {
                    self.pages.keep(&target, Arc::clone(&page), self.eye.now);
                }
                self.send_page(key, (request.method, request.keep_alive), &page);
            }
            Answer::Stream { .. } if request.method == Method::Head => {
                let (kind, lines) = ("text/event-stream", STREAM_LINES.into());
                let page = routes::Page { status: 200, kind, lines, body: [].as_slice().into() };
                self.send_page(key, (request.method, request.keep_alive), &page);
            }
            Answer::Stream { pairs, raw, extended } => {
                let format = if extended { Format::ExtendedStream } else { Format::Stream };
                self.begin_stream(key, &pairs, raw, format);
            }
        }
    }

    /// Hands on a call of somebody who may call; the answer comes later.
    fn admin_call(&mut self, key: u32, request: &Request) {
        let Some(client) = self.clients.get(key) else { return };
        let ticket = Ticket { key, generation: client.generation, keep_alive: request.keep_alive };
        let peer = client.link.peer().map(|address| address.ip());
        let caller = self.options.addresses.caller(peer, &request.forwarded_for);
        if let Err((status, text, lines)) = self.hand_on(request, ticket, caller) {
            self.board.gateways[self.index].http_bad.add(1);
            let Answer::Page(page) = routes::failure(status, &text) else { return };
            let page = routes::Page { lines: format!("{lines}{}", page.lines).into(), ..page };
            self.send_page(key, (Method::Post, request.keep_alive), &page);
        }
    }

    /// What is wrong with a call: status, text and further header lines.
    fn hand_on(
        &self,
        request: &Request,
        ticket: Ticket,
        caller: Caller,
    ) -> Result<(), (u16, String, Cow<'static, str>)> {
        let told = |status, text: &str, lines: &'static str| (status, text.to_owned(), Cow::Borrowed(lines));
        let desk = self.admin.as_ref().ok_or_else(|| told(404, "Not found", ""))?;
        desk.admit(&request.authorization, caller, self.eye.now).map_err(|refused| match refused {
            Refused::Unauthorized => told(401, "Unauthorized", "WWW-Authenticate: Bearer\r\n"),
            Refused::TooMany { retry_after_s } => {
                (429, "Too many wrong tokens".to_owned(), format!("Retry-After: {retry_after_s}\r\n").into())
            }
        })?;
        let wish = match request.path.as_str() {
            RELOAD_PATH => Wish::Reload,
            RETRY_PATH => {
                Wish::Retry(protocol::admin::parse_retry(&request.body).map_err(|why| (400, why, "".into()))?)
            }
            _ => Wish::Set(protocol::admin::parse(&request.body).map_err(|why| (400, why, "".into()))?),
        };
        let is_dry = query::value(&request.query, "dry").is_some_and(|v| v == "1" || v == "true");
        match desk.hand_on(wish, is_dry, ticket) {
            true => Ok(()),
            false => Err(told(503, "Too many admin calls wait already", "")),
        }
    }

    /// Answers of admin calls, to those who are still there. How many.
    pub(super) fn answer_admin(&mut self) -> usize {
        let mut work = 0;
        while let Some((ticket, told)) = self.admin.as_ref().and_then(admin::Desk::take) {
            work += 1;
            if self.clients.get(ticket.key).is_none_or(|client| client.generation != ticket.generation) {
                continue;
            }
            let page = routes::Page {
                status: told.status(),
                kind: "application/json",
                lines: "Cache-Control: no-store\r\n".into(),
                body: told.text().into(),
            };
            self.send_page(ticket.key, (Method::Post, ticket.keep_alive), &page);
            self.settle(ticket.key);
            self.attend_later(ticket.key);
        }
        work
    }

    fn scene(&self) -> Scene<'_> {
        let others = self.board.gateways.iter().enumerate().filter(|(at, _)| *at != self.index);
        let elsewhere: u64 = others.map(|(_, gauges)| gauges.sse_clients.value()).sum();
        Scene {
            options: &self.options,
            directory: &self.directory,
            desk: &self.desk,
            ledger: &self.ledger,
            view: self.eye.view(),
            known: &self.known,
            books: &self.books,
            known_books: &self.known_books,
            index: self.index,
            streams: self.streams + elsewhere as usize,
        }
    }

    fn send_page(&mut self, key: u32, (method, keep_alive): (Method, bool), page: &routes::Page) {
        let Some(client) = self.clients.get_mut(key) else { return };
        let kind = if page.kind.is_empty() { String::new() } else { format!("Content-Type: {}\r\n", page.kind) };
        let lines = format!("{kind}{}{}", page.lines, self.extra);
        let length = (!matches!(page.status, 204 | 304)).then_some(page.body.len());
        let mut out = std::mem::take(&mut self.out);
        http::write_head(page.status, page.reason(), length, keep_alive, &lines, &mut out);
        let mut file: &'static [u8] = &[];
        match &page.body {
            _ if method == Method::Head => {}
            Cow::Borrowed(bytes) => file = bytes,
            Cow::Owned(bytes) => out.extend_from_slice(bytes),
        }
        client.connection.answered(keep_alive, &self.options, self.eye.now);
        let mut sent = client.write_kept(&out, self.eye.now, &mut self.totals);
        if sent != Sent::Gone && !file.is_empty() {
            sent = client.write_file(file, self.eye.now, &mut self.totals);
        }
        out.clear();
        self.out = out;
        if sent == Sent::Gone {
            self.remove(key);
        }
    }

    fn begin_stream(&mut self, key: u32, pairs: &[String], raw: bool, format: Format) {
        let now = self.eye.now;
        let wish = Subscription { live: raw, format, symbols: pairs, exchanges: &[] };
        let Ok(bundle) = self.desk.join(None, key, &wish, self.eye.quoted) else {
            let Answer::Page(page) = routes::at_capacity() else { return };
            return self.send_page(key, (Method::Get, false), &page);
        };
        let Some(client) = self.clients.get_mut(key) else { return };
        client.bundle = bundle;
        self.names_changed = true;
        let mut out = std::mem::take(&mut self.out);
        let lines = format!("Content-Type: text/event-stream\r\n{STREAM_LINES}{}", self.extra);
        http::write_head(200, "OK", None, true, &lines, &mut out);
        sse::retry(retry_ms(&self.options, u64::from(key) << 32 ^ now.0), &mut out);
        sse::begin_event(&mut out);
        stream::connected(pairs, self.eye.unix.ms(), &mut out);
        sse::end_event(&mut out);
        client.connection.begin_stream(&self.options, now);
        client.kind = Kind::Stream;
        client.listens = true;
        client.beat = (!raw).then_some(self.options.stream_beat_ms * MS);
        let sent = client.write_kept(&out, now, &mut self.totals);
        out.clear();
        self.out = out;
        self.streams += 1;
        if sent == Sent::Gone {
            return self.remove(key);
        }
        let marks = bundle.map(|bundle| self.desk.added(None, bundle)).unwrap_or_default();
        self.burst_now(key, marks);
    }

    // Requests of a WebSocket client.

    fn command(&mut self, key: u32, command: Command) {
        let Some(client) = self.clients.get(key) else { return };
        let watches = client.books.iter().filter_map(|seat| self.shelf.watch(seat.watch));
        let mut wanted = Wanted::of(&self.desk, client.bundle, watches);
        let is_whole = command.exchanges.is_some();
        wanted.apply(&command, &self.options, self.books.levels());
        let error = match wanted.check(&self.options) {
            Err(error) => Some(error),
            Ok(()) => match self.change(key, &command, &wanted) {
                Err(error) => Some(error),
                Ok(news) => {
                    if command.books.is_some() {
                        self.watch_books(key, &wanted.books);
                    }
                    if is_whole {
                        return self.confirm(key, &command, news);
                    }
                    // What was right in it counts; the client hears of what was not.
                    self.begin_lives(key, &news);
                    self.burst_now(key, news.prices);
                    self.begin_books(key);
                    Some(RequestError::Invalid)
                }
            },
        };
        if let Some(error) = error {
            self.mistake(key, &error);
        }
    }

    fn mistake(&mut self, key: u32, error: &RequestError) {
        let Some(client) = self.clients.get_mut(key) else { return };
        let mut out = Vec::new();
        let over = client.connection.mistake(error, &self.options, self.eye.now, &mut out);
        let sent = client.write_kept(&out, self.eye.now, &mut self.totals);
        let gauges = &self.board.gateways[self.index];
        gauges.client_errors.add(1);
        if over {
            gauges.misbehaved_closed.add(1);
        }
        if sent == Sent::Gone {
            self.remove(key);
        }
    }

    /// Gives the client its new subscription, and says what is new in it.
    fn change(&mut self, key: u32, command: &Command, wanted: &Wanted) -> Result<News, RequestError> {
        let Some(client) = self.clients.get(key) else { return Ok(News::default()) };
        let (before, followed, subscribes) = (client.bundle, client.follows, command.action == Action::Subscribe);
        let extended = command.extended.filter(|_| subscribes).unwrap_or(client.extended);
        let interval = command.interval_ms.filter(|_| subscribes);
        let beat = interval.map_or(client.beat, |interval| self.options.beat(interval));
        let format = if extended { Format::Extended } else { Format::Plain };
        let live = beat.is_none();
        let wish = Subscription { live, format, symbols: &wanted.symbols, exchanges: &wanted.exchanges };
        let crowded = |Crowded { pairs }| {
            RequestError::Limit(format!("Too many pairs: there is memory for at most {pairs} of these now"))
        };
        let after = self.desk.join(before, key, &wish, self.eye.quoted).map_err(crowded)?;
        self.names_changed = true;
        let Some(client) = self.clients.get_mut(key) else { return Ok(News::default()) };
        // Until when a client that takes every change from now on knows its prices.
        let told = client.beat.filter(|_| live).map(|period| match client.beat_at {
            UNARMED => MonoNs(0),
            next => MonoNs(self.eye.quoted.0.saturating_sub((self.eye.now.0 + period).saturating_sub(next.0))),
        });
        client.extended = extended;
        client.bundle = after;
        client.held = None;
        client.outbox.forget_marks();
        if interval.is_some() {
            // The new beat begins now, if there is one.
            (client.beat, client.beat_at) = (beat, UNARMED);
        }
        if subscribes {
            self.set_follows(key, command.opportunities.unwrap_or(followed));
        }
        let follows_anew = !followed && self.clients.get(key).is_some_and(|client| client.follows);
        let news = after.map_or_else(News::default, |after| {
            let known: HashSet<u32> = self.desk.symbols_of(before).iter().copied().collect();
            let symbols = self.desk.symbols_of(Some(after));
            let added: Vec<u32> = symbols.iter().copied().filter(|symbol| !known.contains(symbol)).collect();
            let followed = if follows_anew { symbols.to_vec() } else { added.clone() };
            let mut prices = self.desk.added(before, after);
            if let Some(told) = told {
                prices.add_all(&self.desk.newer(after, told, &self.eye.view()));
            }
            News { symbols: added, followed, prices }
        });
        let pairs = |id: Option<u32>| id.and_then(|id| self.desk.bundle(id)).map_or(0, |b| b.pairs() as u64);
        self.pairs = self.pairs + pairs(after) - pairs(before);
        if let Some(before) = before.filter(|before| after != Some(*before)) {
            self.desk.leave(before, key);
        }
        Ok(news)
    }

    /// The reply, then the open opportunities of symbols that are new, then prices that are new.
    fn confirm(&mut self, key: u32, command: &Command, news: News) {
        let Some(client) = self.clients.get_mut(key) else { return };
        let sets = self.desk.sets(client.bundle);
        let mut out = std::mem::take(&mut self.out);
        frame_text(&mut out, |out| {
            let symbols = sets.into_iter().flat_map(|sets| sets.symbols.iter());
            let exchanges = sets.into_iter().flat_map(|sets| sets.exchanges.iter());
            let books = client.books.iter().filter_map(|seat| Some(self.shelf.watch(seat.watch)?.asked()));
            let books = (command.books.is_some() || !client.books.is_empty()).then_some(books);
            message::subscription(command.action == Action::Subscribe, symbols, exchanges, books, out);
        });
        let extended = client.extended;
        let alerts = self.open_frames(&news.symbols, extended, &mut out);
        let Some(client) = self.clients.get_mut(key) else { return };
        let sent = client.write_kept(&out, self.eye.now, &mut self.totals);
        self.totals.alerts += alerts;
        out.clear();
        self.out = out;
        match sent {
            Sent::Gone => self.remove(key),
            _ => {
                self.begin_lives(key, &news);
                self.burst_now(key, news.prices);
                self.begin_books(key);
            }
        }
    }

    /// The open opportunities that a follower has not heard of.
    fn begin_lives(&mut self, key: u32, news: &News) {
        if self.clients.get(key).is_none_or(|client| !client.follows) {
            return;
        }
        let mut out = std::mem::take(&mut self.out);
        let count = self.open_lives(&news.followed, &mut out);
        let Some(client) = self.clients.get_mut(key) else { return };
        let sent = if count > 0 { client.write_kept(&out, self.eye.now, &mut self.totals) } else { Sent::All };
        self.totals.opportunities += count;
        out.clear();
        self.out = out;
        if sent == Sent::Gone {
            self.remove(key);
        }
    }
}

/// Header lines of a stream.
const STREAM_LINES: &str = "Cache-Control: no-cache\r\nX-Accel-Buffering: no\r\n";
/// Header lines of an answer to OPTIONS, which browsers also send before a request with headers of its own. `*` stands for
/// all but Authorization (<https://fetch.spec.whatwg.org/#http-access-control-allow-headers>, read 2026-11-30); the named
/// ones are for browsers that do not know it.
fn options_lines(request: &Request, options: &Options) -> String {
    let methods = if options.head.posts.accept(&request.path) { "POST, OPTIONS" } else { "GET, HEAD, OPTIONS" };
    let headers = "Authorization, Content-Type, Last-Event-ID, Cache-Control, If-None-Match, X-Requested-With, *";
    format!(
        "Allow: {methods}\r\nAccess-Control-Allow-Methods: {methods}\r\n\
         Access-Control-Allow-Headers: {headers}\r\nAccess-Control-Max-Age: 7200\r\n"
    )
}

/// What one stream's client is told to wait before it comes back, see [`Options::retry_ms`]. Of each `seed` another.
fn retry_ms(options: &Options, seed: u64) -> u64 {
    // SplitMix64, so that neighbours are far from each other.
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    options.retry_ms + (z ^ (z >> 31)) % (2 * options.retry_ms + 1)
}

/// What a request brought that was not there before.
#[derive(Default)]
struct News {
    symbols: Vec<u32>,
    /// Symbols whose opportunities are new to this client, if it follows them.
    followed: Vec<u32>,
    prices: Marks,
}

/// A client's two sets, and its order books with their depth.
struct Wanted {
    symbols: Vec<String>,
    exchanges: Vec<String>,
    books: Vec<(BookName, usize)>,
}

impl Wanted {
    fn of<'a>(desk: &Desk, bundle: Option<u32>, watches: impl Iterator<Item = &'a Watch>) -> Self {
        let sets = desk.sets(bundle);
        let name = |watch: &Watch| {
            let (symbol, exchange) = (watch.symbol().to_owned(), watch.exchange().to_owned());
            (BookName { symbol, exchange }, watch.levels)
        };
        Self {
            books: watches.map(name).collect(),
            symbols: sets.into_iter().flat_map(|sets| sets.symbols.iter()).map(str::to_owned).collect(),
            exchanges: sets.into_iter().flat_map(|sets| sets.exchanges.iter()).map(str::to_owned).collect(),
        }
    }

    /// `kept` levels a side are what this process has.
    fn apply(&mut self, command: &Command, options: &Options, kept: usize) {
        self.apply_books(command, options, kept);
        let exchanges = command.exchanges.as_deref().unwrap_or_default();
        for (set, names) in [(&mut self.symbols, command.symbols.as_slice()), (&mut self.exchanges, exchanges)] {
            match command.action {
                Action::Subscribe => {
                    let mut known: HashSet<String> = set.iter().cloned().collect();
                    set.extend(names.iter().filter(|name| known.insert((*name).clone())).cloned());
                }
                Action::Unsubscribe => {
                    let gone: HashSet<&String> = names.iter().collect();
                    set.retain(|name| !gone.contains(name));
                }
            }
        }
    }

    /// A book that is named again is the same one at another depth.
    fn apply_books(&mut self, command: &Command, options: &Options, kept: usize) {
        let named = command.books.as_deref().unwrap_or_default();
        if named.is_empty() {
            return;
        }
        let levels = command.levels.map_or(options.book_levels, |n| usize::try_from(n).unwrap_or(usize::MAX));
        let levels = levels.clamp(1, if kept > 0 { kept } else { LEVELS_MAX });
        let places = self.books.iter().enumerate().map(|(at, (name, _))| (name.clone(), at));
        let mut places: HashMap<BookName, usize> = places.collect();
        match command.action {
            Action::Subscribe => {
                for name in named {
                    match places.get(name) {
                        Some(at) => self.books[*at].1 = levels,
                        None => {
                            places.insert(name.clone(), self.books.len());
                            self.books.push((name.clone(), levels));
                        }
                    }
                }
            }
            Action::Unsubscribe => {
                let gone: HashSet<&BookName> = named.iter().collect();
                self.books.retain(|(name, _)| !gone.contains(name));
            }
        }
    }

    fn check(&self, options: &Options) -> Result<(), RequestError> {
        let limit = |text: String| Err(RequestError::Limit(text));
        let of_books = || self.books.iter().flat_map(|(name, _)| [&name.symbol, &name.exchange]);
        let all = || self.symbols.iter().chain(&self.exchanges).chain(of_books());
        if self.symbols.len().max(self.exchanges.len()) > options.names_max {
            return limit(format!("Too many names: at most {} symbols and {0} exchanges", options.names_max));
        }
        if all().any(|name| name.len() > options.name_max) {
            return limit(format!("Name too long: at most {} bytes", options.name_max));
        }
        if self.symbols.len() * self.exchanges.len() > options.pairs_max {
            return limit(format!("Too many pairs: at most {} symbols times exchanges", options.pairs_max));
        }
        if self.symbols.len() * self.exchanges.len() + self.books.len() > options.pairs_max {
            return limit(format!("Too many books: at most {} with all pairs", options.pairs_max));
        }
        let mut shown = Vec::new();
        all().for_each(|name| crate::protocol::string(name, &mut shown));
        if shown.len() > options.names_bytes_max {
            return limit(format!("Names too long: at most {} bytes in all", options.names_bytes_max));
        }
        Ok(())
    }
}
