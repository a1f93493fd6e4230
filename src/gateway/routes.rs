//! The table of GET paths and their handlers. A handler reads what the stage shows it and returns a
//! page, or the wish for a stream; it never touches a socket.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;

use arc_swap::ArcSwapOption;

use crate::gateway::assets;
use crate::gateway::desk::{Desk, View};
use crate::gateway::ledger::{Entry, Ledger};
use crate::gateway::names::Names;
use crate::gateway::options::Options;
use crate::gateway::shelf::Look;
use crate::market::book::BookView;
use crate::market::opportunity::spread_of;
use crate::market::quote::Source;
use crate::market::{Decimal, Directory, Figure, PairId};
use crate::matrix::books::{BookTable, LEVELS_MAX};
use crate::matrix::{CellQuote, CellState};
use crate::metrics::{Board, GatewayGauges, Gauge};
use crate::protocol::book;
use crate::protocol::health::{Health, Known, KnownBooks};
use crate::protocol::opportunity as life;
use crate::protocol::report;
use crate::protocol::status::{self, Limits, Status};
use crate::protocol::{Object, float, object, stream, string};
use crate::time::MS;
use crate::wire::http::Request;
use crate::wire::query;

/// Where WebSockets live; exactly this path.
pub const SOCKET_PATH: &str = "/ws/prices";

/// What those ask who restart a gateway or send it clients; answered even when it is full.
pub const PROBE_PATHS: [&str; 2] = ["/livez", "/readyz"];

/// What handlers see.
pub struct Scene<'a> {
    /// Limits and choices.
    pub options: &'a Options,
    /// Names.
    pub directory: &'a Arc<Directory>,
    /// Who wants what.
    pub desk: &'a Desk,
    /// Opportunities.
    pub ledger: &'a Ledger,
    /// Quotes, statistics, gauges and time.
    pub view: View<'a>,
    /// What is known of the prices of each venue.
    pub known: &'a [Known],
    /// Order books,
    pub books: &'a BookTable,
    /// and what is known of those of each venue.
    pub known_books: &'a [KnownBooks],
    /// Which gateway this is.
    pub index: usize,
    /// Open streams on all gateways.
    pub streams: usize,
}

/// What a handler answers.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// A page.
    Page(Page),
    /// A stream of these pairs.
    Stream {
        /// Pairs as the client spells them, each once.
        pairs: Vec<String>,
        /// Every change instead of a burst per second.
        raw: bool,
        /// More about each price, and last known ones too.
        extended: bool,
    },
}

/// A page.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    /// HTTP status.
    pub status: u16,
    /// Content type.
    pub kind: &'static str,
    /// Further header lines, each ending with CR LF.
    pub lines: Cow<'static, str>,
    /// Body; borrowed when it is an embedded file.
    pub body: Cow<'static, [u8]>,
}

impl Page {
    /// The words behind the status.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self.status {
            200 => "OK",
            204 => "No Content",
            304 => "Not Modified",
            400 => "Bad Request",
            401 => "Unauthorized",
            404 => "Not Found",
            429 => "Too Many Requests",
            503 => "Service Unavailable",
            _ => "Error",
        }
    }
}

type Handler = fn(&Scene<'_>, &Request) -> Answer;

/// Path, what it is, an example of how to ask, handler.
const ROUTES: &[(&str, &str, Handler)] = &[
    ("/", "The dashboard", front),
    ("/api", "The list of these", list),
    (
        "/api/market-data/stream",
        "Server-sent events: prices of pairs, ?pairs=BTC/USDT,ETH/USDT, &raw=1 for every change, &extended=1 for more",
        events,
    ),
    ("/api/market-data/prices", "Prices of pairs as JSON, ?pairs=BTC/USDT,ETH/USDT", market_prices),
    (
        "/api/exchanges/prices",
        "One symbol on several exchanges, ?symbol=BTC/USDT&exchanges=binance,kraken",
        exchange_prices,
    ),
    (
        "/api/book",
        "The order book of a symbol, ?symbol=BTC/USDT&exchange=okx&levels=20; without exchange those of all exchanges",
        order_book,
    ),
    ("/api/opportunities", "Opportunities: open now, and the last closed ones", opportunities),
    ("/api/instruments", "Which exchanges quote what", instruments),
    ("/api/status", "Everything about the process, its exchanges and its clients", status_page),
    ("/api/market-data/health", "Health: 200 while fresh prices are pushed, else 503", health),
    ("/api/websocket/stats", "Clients and subscriptions", stats),
    ("/api/latency", "Latency of each hop, in nanoseconds", latency),
    ("/metrics", "Prometheus metrics", metrics),
    ("/livez", "200 while the process turns", live),
    ("/readyz", "200 while there is a fresh price to serve", ready),
];

/// Answers `request`; 404 for a path that is not in the table.
#[must_use]
pub fn answer(scene: &Scene<'_>, request: &Request) -> Answer {
    match ROUTES.iter().find(|(path, ..)| *path == request.path) {
        Some((.., handler)) => handler(scene, request),
        None => match assets::answer(assets::FILES, request) {
            Some(page) => Answer::Page(page),
            None => failure(404, "Not found"),
        },
    }
}

/// Whether a page may be given to several who ask at about the same time: those that cost something, and no prices.
#[must_use]
pub fn is_shared(path: &str) -> bool {
    SHARED.contains(&path)
}

const SHARED: [&str; 8] = [
    "/api",
    "/api/opportunities",
    "/api/instruments",
    "/api/status",
    "/api/market-data/health",
    "/api/websocket/stats",
    "/api/latency",
    "/metrics",
];

/// The items of a comma list, each once.
fn each_once(text: &str) -> Vec<&str> {
    let mut known = HashSet::new();
    stream::list(text).filter(|item| known.insert(*item)).collect()
}

fn json(status: u16, lines: &'static str, body: Vec<u8>) -> Answer {
    Answer::Page(Page { status, kind: "application/json", lines: lines.into(), body: body.into() })
}

pub(super) fn failure(status: u16, text: &str) -> Answer {
    let lines = if status == 503 { "Retry-After: 5\r\n" } else { "" };
    json(
        status,
        lines,
        object(|o| {
            o.text("error", text);
        }),
    )
}

/// There is no room for another stream.
pub(super) fn at_capacity() -> Answer {
    failure(503, "Service temporarily at capacity. Please try again in a moment.")
}

const NO_CACHE: &str = "Cache-Control: no-cache\r\n";
const NO_STORE: &str = "Cache-Control: no-store\r\n";

fn stats(scene: &Scene<'_>, _: &Request) -> Answer {
    let (symbols, exchanges) = (others(scene, |g| &g.symbol_names), others(scene, |g| &g.exchange_names));
    // A name that means nothing here is told to no other gateway: it counts once for each that has it.
    let gateways = &scene.view.board.gateways;
    let unique = |own: &Names, others: &[Arc<Vec<String>>], all: fn(&GatewayGauges) -> &Gauge| {
        let known = own.texts().count() + others.iter().map(|names| names.len()).sum::<usize>();
        let strays = gateways.iter().map(|gateway| all(gateway).value()).sum::<u64>().saturating_sub(known as u64);
        all_names(own, others).len() as u64 + strays
    };
    let symbols = unique(&scene.desk.symbols, &symbols, |gateway| &gateway.symbols);
    let exchanges = unique(&scene.desk.exchanges, &exchanges, |gateway| &gateway.exchanges);
    json(200, NO_STORE, report::stats(scene.view.board, symbols, exchanges))
}

/// The names that clients of the other gateways use, as they were a moment ago.
fn others(scene: &Scene<'_>, names: fn(&GatewayGauges) -> &ArcSwapOption<Vec<String>>) -> Vec<Arc<Vec<String>>> {
    let others = scene.view.board.gateways.iter().enumerate().filter(|(at, _)| *at != scene.index);
    others.filter_map(|(_, gauges)| names(gauges).load_full()).collect()
}

/// Those, and this gateway's own as they are; each once.
fn all_names<'a>(own: &'a Names, others: &'a [Arc<Vec<String>>]) -> Vec<&'a str> {
    let mut names: Vec<&str> = own.texts().chain(others.iter().flat_map(|n| n.iter().map(String::as_str))).collect();
    names.sort_unstable();
    names.dedup();
    names
}

fn latency(scene: &Scene<'_>, _: &Request) -> Answer {
    json(200, NO_STORE, report::latency(scene.view.board, scene.directory))
}

fn metrics(scene: &Scene<'_>, _: &Request) -> Answer {
    let body = report::metrics(scene.view.board, scene.directory, scene.known, scene.known_books, scene.view.now);
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    Answer::Page(Page { status: 200, kind, lines: NO_STORE.into(), body: body.into() })
}

fn live(_: &Scene<'_>, _: &Request) -> Answer {
    Answer::Page(Page { status: 200, kind: "text/plain", lines: NO_STORE.into(), body: b"ok\n".as_slice().into() })
}

fn ready(scene: &Scene<'_>, _: &Request) -> Answer {
    let health = health_of(scene, Vec::new());
    json(if health.is_ready() { 200 } else { 503 }, NO_STORE, health.ready_text())
}

fn opportunities(scene: &Scene<'_>, _: &Request) -> Answer {
    let write = |entry: &Entry, out: &mut Vec<u8>| {
        let mut symbol = Vec::new();
        string(scene.directory.symbol(entry.opportunity.instrument), &mut symbol);
        life::opportunity(&entry.moment(entry.change(), &symbol, scene.directory, &scene.view), out);
    };
    json(200, NO_STORE, life::page(scene.ledger.open(), scene.ledger.closed(), write))
}

fn instruments(scene: &Scene<'_>, _: &Request) -> Answer {
    json(200, NO_CACHE, status::instruments(scene.directory))
}

fn status_page(scene: &Scene<'_>, _: &Request) -> Answer {
    let options = scene.options;
    let limits = Limits {
        clients_max: options.connections_max as u64,
        streams_max: options.streams_max as u64,
        pairs_max: options.pairs_max as u64,
        names_max: options.names_max as u64,
        name_bytes_max: options.name_max as u64,
        names_bytes_max: options.names_bytes_max as u64,
        beat_ms: options.beat_ms,
        stream_beat_ms: options.stream_beat_ms,
        stale_after_ms: options.stale_after_ns / MS,
        threshold_pct: options.threshold_pct,
        threshold_on: options.threshold_on,
        debounce_ms: options.debounce_ms,
        book_levels: scene.books.levels() as u64,
        book_beat_ms: options.book_beat_ns / MS,
    };
    let sources = sources(scene.view.board, scene.directory);
    json(200, NO_STORE, Status { health: health_of(scene, Vec::new()), sources: &sources, limits }.text())
}

fn health_of<'a>(scene: &Scene<'a>, stream_pairs: Vec<&'a str>) -> Health<'a> {
    Health {
        board: scene.view.board,
        directory: scene.directory,
        known: scene.known,
        books: scene.known_books,
        stream_pairs,
        streams_max: scene.options.streams_max as u64,
        clients_max: scene.options.connections_max as u64,
        instance: &scene.options.instance,
        hostname: &scene.options.hostname,
        now: scene.view.now,
        unix: scene.view.unix,
    }
}

fn health(scene: &Scene<'_>, _: &Request) -> Answer {
    let others = others(scene, |gauges| &gauges.stream_pairs);
    let stream_pairs = all_names(&scene.desk.pairs, &others);
    let report = Health { stream_pairs, ..health_of(scene, Vec::new()) };
    json(if report.status() == "healthy" { 200 } else { 503 }, NO_CACHE, report.text())
}

fn events(scene: &Scene<'_>, request: &Request) -> Answer {
    let asked = query::value(&request.query, "pairs").unwrap_or_default();
    let pairs: Vec<String> = each_once(&asked).into_iter().map(str::to_owned).collect();
    if !pairs.iter().all(|pair| stream::is_pair(pair)) {
        return failure(400, "Invalid pairs format. Expected format: BTC/USD");
    }
    if pairs.is_empty() {
        return failure(400, "pairs parameter is required");
    }
    if scene.streams >= scene.options.streams_max {
        return at_capacity();
    }
    let is_set = |name: &str| query::value(&request.query, name).is_some_and(|v| v == "1" || v == "true");
    Answer::Stream { pairs, raw: is_set("raw"), extended: is_set("extended") }
}

fn market_prices(scene: &Scene<'_>, request: &Request) -> Answer {
    let asked = query::value(&request.query, "pairs").unwrap_or_default();
    if asked.is_empty() {
        return failure(400, "Missing pairs parameter");
    }
    let pairs = each_once(&asked);
    if pairs.is_empty() {
        return failure(400, "No valid pairs provided");
    }
    let mut found = 0;
    let body = object(|root| {
        for pair in &pairs {
            let (cells, alias) = scene.desk.stream_cells(pair);
            let mut name = Vec::new();
            string(pair, &mut name);
            if let Some((ticker, ..)) = scene.desk.ticker(&cells, alias, &name, &scene.view) {
                found += 1;
                stream::market_data(&ticker, root.key(pair));
            }
        }
    });
    if found > 0 {
        return json(200, NO_STORE, body);
    }
    let body = object(|o| {
        o.text("error", "Price data temporarily unavailable");
        o.text("message", "No fresh price for these pairs yet. Try again in a moment.");
        o.texts("unavailablePairs", &pairs);
    });
    json(503, "Cache-Control: no-store\r\nRetry-After: 5\r\n", body)
}

fn exchange_prices(scene: &Scene<'_>, request: &Request) -> Answer {
    let Some(symbol) = query::value(&request.query, "symbol").filter(|s| !s.is_empty()) else {
        return failure(400, "Symbol parameter required (e.g., CELO/USDC)");
    };
    // There are at most a few dozen names, so a linear search is enough.
    let names: Vec<&str> = scene.directory.venues_on().map(|(_, v)| v.name.as_str()).collect();
    let asked = query::value(&request.query, "exchanges").unwrap_or_default().to_lowercase();
    let mut exchanges = each_once(&asked);
    let unknown: Vec<&str> = exchanges.iter().copied().filter(|name| !names.contains(name)).collect();
    if !unknown.is_empty() {
        let body = object(|o| {
            o.text("error", &format!("Invalid exchanges: {}", unknown.join(", "))).texts("available", &names);
        });
        return json(400, "", body);
    }
    if exchanges.is_empty() {
        exchanges = names;
    }
    let quotes: Vec<(&str, Option<(PairId, CellQuote)>)> =
        exchanges.iter().map(|name| (*name, quote_on(scene, &symbol, name))).collect();
    if quotes.iter().all(|(_, quote)| quote.is_none()) {
        let text = format!("No price data available for {symbol} on requested exchanges");
        return json(
            404,
            NO_STORE,
            object(|o| {
                o.text("error", &text).text("symbol", &symbol);
            }),
        );
    }
    let extended = query::value(&request.query, "extended").is_some_and(|v| v == "1" || v == "true");
    json(200, NO_STORE, comparison(scene, &symbol, &quotes, extended))
}

fn order_book(scene: &Scene<'_>, request: &Request) -> Answer {
    let value = |name: &str| query::value(&request.query, name).filter(|value| !value.is_empty());
    let Some(symbol) = value("symbol") else {
        return failure(400, "Symbol parameter required (e.g., BTC/USDT)");
    };
    let levels = match value("levels").map(|text| text.parse()) {
        None => PAGE_LEVELS,
        Some(Ok(levels)) if (1..=LEVELS_MAX).contains(&levels) => levels,
        Some(_) => return failure(400, &format!("Invalid levels: a whole number from 1 to {LEVELS_MAX}")),
    };
    let Some(instrument) = scene.directory.instrument_named(&symbol) else {
        let body = object(|o| {
            o.text("error", &format!("Unknown symbol: {symbol}")).text("symbol", &symbol);
        });
        return json(404, NO_STORE, body);
    };
    let exchange = value("exchange");
    let asked = exchange.as_deref().map(|name| scene.directory.venue_named(name));
    let look = Look { table: scene.books, directory: scene.directory, view: scene.view };
    let written = |text: &str| {
        let mut out = Vec::new();
        string(text, &mut out);
        out
    };
    let symbol_json = written(&symbol);
    let mut view = BookView::default();
    let mut write = |name: &str, out: &mut Vec<u8>| {
        let state = look.state(look.place(&symbol, name), levels, &mut view);
        book::entry(&look.shown(&symbol_json, &written(name), &state, &view), out);
    };
    match (exchange.as_deref(), asked) {
        (Some(name), Some(Some(_))) => {
            let mut body = Vec::new();
            write(name, &mut body);
            json(200, NO_STORE, body)
        }
        (Some(name), _) => {
            let names = scene.directory.venues_on().map(|(_, venue)| &venue.name);
            let body = object(|o| {
                o.text("error", &format!("Invalid exchange: {name}")).texts("available", names);
            });
            json(400, "", body)
        }
        (None, _) => {
            let quoting = scene.directory.venues_on().filter(|(at, _)| scene.directory.is_quoted(instrument, *at));
            let names = quoting.map(|(_, venue)| venue.name.as_str());
            json(200, NO_STORE, book::page(&symbol, scene.view.unix.ms(), names, write))
        }
    }
}

/// Levels a side on the page of a request that does not say how many.
const PAGE_LEVELS: usize = 20;

fn quote_on(scene: &Scene<'_>, symbol: &str, exchange: &str) -> Option<(PairId, CellQuote)> {
    let instrument = scene.directory.instrument_named(symbol)?;
    let venue = scene.directory.venue_named(exchange)?;
    let pair = scene.directory.is_quoted(instrument, venue).then(|| scene.directory.pair(instrument, venue))?;
    Some((pair, scene.view.fresh(pair)?))
}

fn comparison(
    scene: &Scene<'_>,
    symbol: &str,
    quotes: &[(&str, Option<(PairId, CellQuote)>)],
    extended: bool,
) -> Vec<u8> {
    let found = || quotes.iter().filter_map(|(_, quote)| quote.as_ref().map(|(_, cell)| cell));
    let best_bid = found().map(|cell| cell.bid.price).max().unwrap_or(Decimal::ZERO);
    let best_ask = found().map(|cell| cell.ask.price).min().unwrap_or(Decimal::ZERO);
    object(|root| {
        root.text("symbol", symbol).integer("timestamp", scene.view.unix.ms());
        root.object("prices", |prices| {
            for (exchange, quote) in quotes {
                match quote {
                    Some((pair, cell)) => prices.object(exchange, |o| {
                        price_on(scene, o, symbol, exchange, *pair, cell);
                        if extended {
                            cell.bid.size.write(o.key("bidSize"));
                            cell.ask.size.write(o.key("askSize"));
                            o.integer("ageMs", cell.age(scene.view.now) / MS);
                        }
                    }),
                    None => prices.null(exchange),
                };
            }
        });
        root.object("analysis", |o| {
            best_bid.write(o.key("best_bid"));
            best_ask.write(o.key("best_ask"));
            Figure::difference(best_ask, best_bid).write(o.key("spread"));
            spread_of(best_bid, best_ask, 4).write(o.key("spread_pct"));
            o.integer("sources", found().count() as u64);
        });
    })
}

fn price_on(scene: &Scene<'_>, o: &mut Object<'_>, symbol: &str, exchange: &str, pair: PairId, cell: &CellQuote) {
    o.text("symbol", symbol).text("exchange", exchange);
    cell.bid.price.write(o.key("bid"));
    cell.ask.price.write(o.key("ask"));
    let day = scene.view.days.load(pair);
    match day {
        Some(day) => float(day.last, o.key("last")),
        None => Figure::middle(cell.bid.price, cell.ask.price).write(o.key("last")),
    }
    o.float("volume", day.map_or(0.0, |d| d.quote_volume));
    o.integer("timestamp", scene.view.stamp(cell));
}

/// Where the numbers come from, over all venues: one word each, as a list; `none` before there are any.
#[must_use]
pub fn sources(board: &Board, directory: &Directory) -> String {
    let known = directory.venues_on().filter_map(|(venue, _)| board.source_of(venue.index()));
    let mut words: Vec<&str> = known.map(|source| Source::from_u8(source).word()).collect();
    words.sort_unstable();
    words.dedup();
    if words.is_empty() { "none".to_owned() } else { words.join(", ") }
}

fn front(scene: &Scene<'_>, request: &Request) -> Answer {
    match assets::answer(assets::FILES, request) {
        Some(page) => Answer::Page(page),
        None => list(scene, request),
    }
}

/// The plain page: what can be asked, and how to get the dashboard when it is not in this binary.
fn list(scene: &Scene<'_>, _: &Request) -> Answer {
    let sources = sources(scene.view.board, scene.directory);
    let mut body = String::from("<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>spreadwire</title>");
    body.push_str("<meta name=\"viewport\" content=\"width=device-width\">");
    body.push_str("<h1>spreadwire</h1><p>Prices here are <strong>");
    body.push_str(&escaped(&sources));
    body.push_str("</strong>.</p>");
    if assets::FILES.is_empty() {
        body.push_str("<p>This binary was built without the dashboard. To get it: <code>./scripts/run</code>, or ");
        body.push_str("<code>npm --prefix web ci</code>, <code>npm --prefix web run build</code> and build again.</p>");
    }
    body.push_str("<ul>");
    body.push_str(&format!("<li><code>{SOCKET_PATH}</code> WebSocket: prices and arbitrage alerts</li>"));
    for (path, what, _) in ROUTES {
        body.push_str(&format!("<li><a href=\"{path}\"><code>{path}</code></a> {}</li>", escaped(what)));
    }
    body.push_str("</ul><p>Exchanges</p><ul>");
    for (_, venue) in scene.directory.venues_on() {
        body.push_str(&format!("<li>{}</li>", escaped(&venue.name)));
    }
    body.push_str("</ul></html>\n");
    let lines = Cow::Owned(format!("{NO_CACHE}{}", assets::PAGE_LINES));
    Answer::Page(Page { status: 200, kind: assets::HTML, lines, body: body.into_bytes().into() })
}

/// Text as text, never as markup.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// What is known of the prices of each venue, for health and metrics.
pub fn survey_prices(directory: &Directory, view: &View<'_>, known: &mut Vec<Known>) {
    known.clear();
    known.resize(directory.columns(), Known::default());
    for at in 0..directory.pairs() {
        let pair = PairId(at as u32);
        let (instrument, venue) = directory.split(pair);
        if !directory.is_quoted(instrument, venue) {
            continue;
        }
        let cell = view.matrix.load(pair);
        // What the venue has halted owes nobody a price.
        if matches!(cell.state, CellState::Empty | CellState::Halted) {
            continue;
        }
        let is_fresh = cell.is_fresh(view.now, view.stale_after_ns);
        let is_cached = cell.is_cached(view.now, view.stale_after_ns);
        known[venue.index()].add(instrument, cell.origin, cell.age(view.now), is_fresh, is_cached);
    }
}
