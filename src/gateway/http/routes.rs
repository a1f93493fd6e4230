//! The table of GET paths and their handlers. A handler reads a [`PageContext`] and returns a page, or the parameters of
//! a stream; it does no I/O.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;

use crate::gateway::books::watches::{BookLocation, shown};
use crate::gateway::connection::SOCKET_PATH;
use crate::gateway::http::assets;
use crate::gateway::http::page::{Answer, Page};
use crate::gateway::http::refusals as refusals_page;
use crate::gateway::http::survey::{Survey, sources};
use crate::gateway::opportunities::log::{LoggedOpportunity, OpportunityLog};
use crate::gateway::prices::names::Names;
use crate::gateway::prices::subscriptions::Subscriptions;
use crate::gateway::prices::topics::ticker;
use crate::gateway::view::{PriceFormat, Snapshot};
use crate::market::book::BookView;
use crate::market::opportunity::spread_of;
use crate::market::survival::PairSurvival;
use crate::market::{Decimal, Figure, PairId};
use crate::matrix::CellQuote;
use crate::matrix::books::LEVELS_MAX;
use crate::metrics::GatewayGauges;
use crate::metrics::gateway::NameGauges;
use crate::protocol::health::Health;
use crate::protocol::status::{self, ServiceLimits, Status};
use crate::protocol::survival::{SurvivalOf, SurvivalRow};
use crate::protocol::{
    Object, book, float, object, opportunity as lifecycle, precision, report, stream, string, survival,
};
use crate::time::MS;
use crate::wire::http::Request;
use crate::wire::query;

/// What handlers read.
pub struct PageContext<'a> {
    /// Quotes, statistics, books, gauges, limits and the time.
    pub snapshot: Snapshot<'a>,
    /// Subscriptions of clients.
    pub subscriptions: &'a Subscriptions,
    /// Opportunities.
    pub log: &'a OpportunityLog,
    /// Counts and ages of prices and books.
    pub(crate) survey: &'a Survey,
    /// Open streams on all gateways.
    pub(crate) streams: usize,
}

type Handler = fn(&PageContext<'_>, &Request) -> Answer;

/// Path, description with an example of its parameters, handler.
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
    (
        "/api/precision",
        "Classes of the opportunities that closed in the last seven days, per pair of exchanges, and how many were real",
        precision_page,
    ),
    (
        "/api/survival",
        "How long opportunities live, per pair of exchanges, ?symbol=BTC/USDT&buy=binance&sell=okx",
        survival_page,
    ),
    (
        "/api/refusals",
        "Why spreads above the threshold are not alerted, ?symbol=BTC/USDT&buy=okx&sell=kraken&reason=stale_leg",
        refusals,
    ),
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
pub fn answer(context: &PageContext<'_>, request: &Request) -> Answer {
    match ROUTES.iter().find(|(path, ..)| *path == request.path) {
        Some((.., handler)) => handler(context, request),
        None => match assets::answer(assets::FILES, request) {
            Some(page) => Answer::Page(page),
            None => failure(404, "Not found"),
        },
    }
}

/// Whether a rendering may be shared by requests at about the same time: pages that are expensive and show no prices.
#[must_use]
pub(crate) fn is_shared(path: &str) -> bool {
    SHARED.contains(&path)
}

const SHARED: [&str; 11] = [
    "/api",
    "/api/opportunities",
    "/api/precision",
    "/api/survival",
    "/api/refusals",
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
    Answer::Page(Page::json(status, lines, body))
}

fn failure(status: u16, text: &str) -> Answer {
    Answer::Page(Page::failure(status, text))
}

const NO_CACHE: &str = "Cache-Control: no-cache\r\n";
const NO_STORE: &str = "Cache-Control: no-store\r\n";

fn stats(context: &PageContext<'_>, _: &Request) -> Answer {
    // Other gateways publish no unknown names: these count once for each gateway.
    let gateways = &context.snapshot.board.gateways;
    let unique = |own: &Names, all: fn(&GatewayGauges) -> &NameGauges| {
        let others = others(context, all);
        let known = own.texts().count() + others.iter().map(|names| names.len()).sum::<usize>();
        let count: u64 = gateways.iter().map(|gateway| all(gateway).count.value()).sum();
        all_names(own, &others).len() as u64 + count.saturating_sub(known as u64)
    };
    let names = &context.subscriptions.names;
    let symbols = unique(&names.symbols, |gateway| &gateway.subscriptions.symbols);
    let exchanges = unique(&names.exchanges, |gateway| &gateway.subscriptions.exchanges);
    json(200, NO_STORE, report::stats(context.snapshot.board, symbols, exchanges))
}

/// The names that clients of the other gateways use, as last published.
fn others(context: &PageContext<'_>, names: fn(&GatewayGauges) -> &NameGauges) -> Vec<Arc<Vec<String>>> {
    let others = context.snapshot.board.gateways.iter().enumerate().filter(|(at, _)| *at != context.snapshot.index);
    others.filter_map(|(_, gauges)| names(gauges).names.load_full()).collect()
}

/// Those and this gateway's own, each once.
fn all_names<'a>(own: &'a Names, others: &'a [Arc<Vec<String>>]) -> Vec<&'a str> {
    let mut names: Vec<&str> = own.texts().chain(others.iter().flat_map(|n| n.iter().map(String::as_str))).collect();
    names.sort_unstable();
    names.dedup();
    names
}

fn latency(context: &PageContext<'_>, _: &Request) -> Answer {
    json(200, NO_STORE, report::latency(context.snapshot.board, context.snapshot.directory))
}

fn metrics(context: &PageContext<'_>, _: &Request) -> Answer {
    let findings = context.snapshot.matrix.findings();
    let body = report::metrics(
        context.snapshot.board,
        context.snapshot.directory,
        (&context.survey.prices, &context.survey.books),
        (&findings.precision, &findings.survival),
        context.snapshot.quote_now,
    );
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    Answer::Page(Page { status: 200, kind, lines: NO_STORE.into(), body: body.into() })
}

fn live(_: &PageContext<'_>, _: &Request) -> Answer {
    Answer::Page(Page { status: 200, kind: "text/plain", lines: NO_STORE.into(), body: b"ok\n".as_slice().into() })
}

fn ready(context: &PageContext<'_>, _: &Request) -> Answer {
    let health = health_of(context, Vec::new());
    json(if health.is_ready() { 200 } else { 503 }, NO_STORE, health.ready_text())
}

fn opportunities(context: &PageContext<'_>, _: &Request) -> Answer {
    let write = |entry: &LoggedOpportunity, out: &mut Vec<u8>| {
        let mut symbol = Vec::new();
        string(context.snapshot.directory.symbol(entry.opportunity.instrument), &mut symbol);
        lifecycle::opportunity(&entry.moment(entry.change(), &symbol, &context.snapshot), out);
    };
    json(200, NO_STORE, lifecycle::page(context.log.open(), context.log.closed(), write))
}

fn precision_page(context: &PageContext<'_>, _: &Request) -> Answer {
    let findings = context.snapshot.matrix.findings();
    json(200, NO_STORE, precision::page(&findings.precision, context.snapshot.directory))
}

fn survival_page(context: &PageContext<'_>, request: &Request) -> Answer {
    let directory = context.snapshot.directory;
    let value = |name: &str| query::value(&request.query, name).filter(|value| !value.is_empty());
    let (symbol, buy, sell) = (value("symbol"), value("buy"), value("sell"));
    let instrument = symbol.as_deref().and_then(|symbol| directory.instrument_named(symbol));
    if let (Some(symbol), None) = (&symbol, instrument) {
        return failure(404, &format!("Unknown symbol {symbol}"));
    }
    let venue = |name: &Option<Cow<'_, str>>| name.as_deref().map(|name| directory.venue_named(&name.to_lowercase()));
    let (buy, sell) = (venue(&buy), venue(&sell));
    if buy == Some(None) || sell == Some(None) {
        return failure(404, "Unknown exchange");
    }
    let is_asked = |pair: &PairSurvival| {
        buy.is_none_or(|buy| buy == Some(pair.buy)) && sell.is_none_or(|sell| sell == Some(pair.sell))
    };
    let findings = context.snapshot.matrix.findings();
    let rows = findings.survival.0.iter().filter(|pair| is_asked(pair)).flat_map(|pair| {
        let pooled = std::iter::once((instrument, &pair.pooled, true));
        let single = pair.instruments.iter().map(|(id, curve)| (Some(*id), curve, false));
        let all = pooled.chain(single);
        let (own, is_pooled) = instrument.map_or((&pair.pooled, true), |instrument| pair.of(instrument));
        let asked = instrument.map(|instrument| (Some(instrument), own, is_pooled));
        let rows: Vec<_> = if asked.is_some() { asked.into_iter().collect() } else { all.collect() };
        rows.into_iter().map(move |(instrument, curve, is_pooled)| SurvivalRow {
            buy_exchange: &directory.venue(pair.buy).name,
            sell_exchange: &directory.venue(pair.sell).name,
            symbol: instrument.map(|instrument| directory.symbol(instrument)),
            survival: SurvivalOf { curve: *curve, is_pooled },
        })
    });
    json(200, NO_STORE, survival::page(rows))
}

fn refusals(context: &PageContext<'_>, request: &Request) -> Answer {
    refusals_page::answer(&context.snapshot, request)
}

fn instruments(context: &PageContext<'_>, _: &Request) -> Answer {
    json(200, NO_CACHE, status::instruments(context.snapshot.directory))
}

fn status_page(context: &PageContext<'_>, _: &Request) -> Answer {
    let settings = context.snapshot.settings;
    let limits = ServiceLimits {
        pairs_max: settings.gateway.pairs_max as u64,
        beat_ms: settings.gateway.beat_ms,
        stream_beat_ms: settings.gateway.sse_beat_ms,
        quotes: settings.quotes,
        books: settings.books,
        detector: settings.detector,
    };
    let sources = sources(context.snapshot.board, context.snapshot.directory);
    json(200, NO_STORE, Status { health: health_of(context, Vec::new()), sources: &sources, limits }.text())
}

fn health_of<'a>(context: &PageContext<'a>, stream_pairs: Vec<&'a str>) -> Health<'a> {
    Health {
        board: context.snapshot.board,
        directory: context.snapshot.directory,
        known: &context.survey.prices,
        books: &context.survey.books,
        stream_pairs,
        streams_max: context.snapshot.settings.gateway.streams_max as u64,
        clients_max: context.snapshot.settings.gateway.clients_max as u64,
        instance: &context.snapshot.settings.instance,
        hostname: &context.snapshot.settings.hostname,
        now: context.snapshot.quote_now,
        unix: context.snapshot.unix,
    }
}

fn health(context: &PageContext<'_>, _: &Request) -> Answer {
    let others = others(context, |gauges| &gauges.subscriptions.sse_pairs);
    let stream_pairs = all_names(&context.subscriptions.names.pairs, &others);
    let report = Health { stream_pairs, ..health_of(context, Vec::new()) };
    json(if report.status() == "healthy" { 200 } else { 503 }, NO_CACHE, report.text())
}

fn events(context: &PageContext<'_>, request: &Request) -> Answer {
    let asked = query::value(&request.query, "pairs").unwrap_or_default();
    let pairs: Vec<String> = each_once(&asked).into_iter().map(str::to_owned).collect();
    if !pairs.iter().all(|pair| stream::is_pair(pair)) {
        return failure(400, "Invalid pairs format. Expected format: BTC/USD");
    }
    if pairs.is_empty() {
        return failure(400, "pairs parameter is required");
    }
    if context.streams >= context.snapshot.settings.gateway.streams_max {
        return Answer::Page(Page::at_capacity());
    }
    let is_set = |name: &str| query::value(&request.query, name).is_some_and(|v| v == "1" || v == "true");
    Answer::Stream { pairs, raw: is_set("raw"), extended: is_set("extended") }
}

fn market_prices(context: &PageContext<'_>, request: &Request) -> Answer {
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
            let (cells, alias) = context.subscriptions.stream_cells(pair);
            let mut name = Vec::new();
            string(pair, &mut name);
            if let Some((ticker, ..)) = ticker(&cells, (PriceFormat::Stream, alias), &name, &context.snapshot) {
                found += 1;
                stream::market_data(&ticker, root.key(pair));
            }
        }
    });
    if found > 0 {
        return json(200, NO_STORE, body);
    }
    if !pairs.iter().any(|pair| stream::is_pair(pair)) {
        return failure(400, "No valid pairs provided");
    }
    let body = object(|o| {
        o.text("error", "Price data temporarily unavailable");
        o.text("message", "No fresh price for these pairs yet. Try again in a moment.");
        o.texts("unavailablePairs", &pairs);
    });
    json(503, "Cache-Control: no-store\r\nRetry-After: 5\r\n", body)
}

fn exchange_prices(context: &PageContext<'_>, request: &Request) -> Answer {
    let Some(symbol) = query::value(&request.query, "symbol").filter(|s| !s.is_empty()) else {
        return failure(400, "Symbol parameter required (e.g., CELO/USDC)");
    };
    // There are at most a few dozen names, so a linear search is enough.
    let names: Vec<&str> = context.snapshot.directory.venues_on().map(|(_, v)| v.name.as_str()).collect();
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
        exchanges.iter().map(|name| (*name, quote_on(context, &symbol, name))).collect();
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
    json(200, NO_STORE, comparison(context, &symbol, &quotes, extended))
}

fn order_book(context: &PageContext<'_>, request: &Request) -> Answer {
    let value = |name: &str| query::value(&request.query, name).filter(|value| !value.is_empty());
    let Some(symbol) = value("symbol") else {
        return failure(400, "Symbol parameter required (e.g., BTC/USDT)");
    };
    let levels = match value("levels").map(|text| text.parse()) {
        None => PAGE_LEVELS,
        Some(Ok(levels)) if (1..=LEVELS_MAX).contains(&levels) => levels,
        Some(_) => return failure(400, &format!("Invalid levels: a whole number from 1 to {LEVELS_MAX}")),
    };
    let Some(instrument) = context.snapshot.directory.instrument_named(&symbol) else {
        let body = object(|o| {
            o.text("error", &format!("Unknown symbol: {symbol}")).text("symbol", &symbol);
        });
        return json(404, NO_STORE, body);
    };
    let exchange = value("exchange");
    let asked = exchange.as_deref().map(|name| context.snapshot.directory.venue_named(name));
    let written = |text: &str| {
        let mut out = Vec::new();
        string(text, &mut out);
        out
    };
    let symbol_json = written(&symbol);
    let mut view = BookView::default();
    let mut write = |name: &str, out: &mut Vec<u8>| {
        let state = BookLocation::find(&symbol, name, &context.snapshot).load(levels, &mut view, &context.snapshot);
        book::entry(&shown((&symbol_json, &written(name)), &state, &view, &context.snapshot), out);
    };
    match (exchange.as_deref(), asked) {
        (Some(name), Some(Some(_))) => {
            let mut body = Vec::new();
            write(name, &mut body);
            json(200, NO_STORE, body)
        }
        (Some(name), _) => {
            let names = context.snapshot.directory.venues_on().map(|(_, venue)| &venue.name);
            let body = object(|o| {
                o.text("error", &format!("Invalid exchange: {name}")).texts("available", names);
            });
            json(400, "", body)
        }
        (None, _) => {
            let quoting = context
                .snapshot
                .directory
                .venues_on()
                .filter(|(at, _)| context.snapshot.directory.is_quoted(instrument, *at));
            let names = quoting.map(|(_, venue)| venue.name.as_str());
            json(200, NO_STORE, book::page(&symbol, context.snapshot.unix.ms(), names, write))
        }
    }
}

/// Levels a side if the request does not specify them.
const PAGE_LEVELS: usize = 20;

fn quote_on(context: &PageContext<'_>, symbol: &str, exchange: &str) -> Option<(PairId, CellQuote)> {
    let instrument = context.snapshot.directory.instrument_named(symbol)?;
    let venue = context.snapshot.directory.venue_named(exchange)?;
    let pair = context
        .snapshot
        .directory
        .is_quoted(instrument, venue)
        .then(|| context.snapshot.directory.pair(instrument, venue))?;
    Some((pair, context.snapshot.fresh(pair)?))
}

fn comparison(
    context: &PageContext<'_>,
    symbol: &str,
    quotes: &[(&str, Option<(PairId, CellQuote)>)],
    extended: bool,
) -> Vec<u8> {
    let found = || quotes.iter().filter_map(|(_, quote)| quote.as_ref().map(|(_, cell)| cell));
    let best_bid = found().map(|cell| cell.bid.price).max().unwrap_or(Decimal::ZERO);
    let best_ask = found().map(|cell| cell.ask.price).min().unwrap_or(Decimal::ZERO);
    object(|root| {
        root.text("symbol", symbol).integer("timestamp", context.snapshot.unix.ms());
        root.object("prices", |prices| {
            for (exchange, quote) in quotes {
                match quote {
                    Some((pair, cell)) => prices.object(exchange, |o| {
                        price_on(context, o, symbol, exchange, *pair, cell);
                        if extended {
                            cell.bid.size.write(o.key("bidSize"));
                            cell.ask.size.write(o.key("askSize"));
                            o.integer("ageMs", cell.age(context.snapshot.quote_now) / MS);
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

fn price_on(
    context: &PageContext<'_>,
    o: &mut Object<'_>,
    symbol: &str,
    exchange: &str,
    pair: PairId,
    cell: &CellQuote,
) {
    o.text("symbol", symbol).text("exchange", exchange);
    cell.bid.price.write(o.key("bid"));
    cell.ask.price.write(o.key("ask"));
    let day = context.snapshot.days.load(pair);
    match day {
        Some(day) => float(day.last, o.key("last")),
        None => Figure::middle(cell.bid.price, cell.ask.price).write(o.key("last")),
    }
    o.float("volume", day.map_or(0.0, |d| d.quote_volume));
    o.integer("timestamp", context.snapshot.timestamp(cell));
}

fn front(context: &PageContext<'_>, request: &Request) -> Answer {
    match assets::answer(assets::FILES, request) {
        Some(page) => Answer::Page(page),
        None => list(context, request),
    }
}

/// The plain page: the list of paths, and how to build the dashboard if it is not in this binary.
fn list(context: &PageContext<'_>, _: &Request) -> Answer {
    let sources = sources(context.snapshot.board, context.snapshot.directory);
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
    for (_, venue) in context.snapshot.directory.venues_on() {
        body.push_str(&format!("<li>{}</li>", escaped(&venue.name)));
    }
    body.push_str("</ul></html>\n");
    let lines = Cow::Owned(format!("{NO_CACHE}{}", assets::PAGE_LINES));
    Answer::Page(Page { status: 200, kind: assets::HTML, lines, body: body.into_bytes().into() })
}

/// Text with markup characters escaped.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
