//! Reports about the process itself, for people and machines: stats, health, latency, metrics. All of
//! them read the same [`Board`]; there is no second truth.

use std::io::Write as _;

use crate::market::Directory;
use crate::market::quote::Source;
use crate::metrics::latency::{Hop, LatencyBoard, Summary};
use crate::metrics::{Board, Counter, DECODE_REASONS, GatewayGauges, Gauge, LinkState, VenueGauges};
use crate::protocol::{Object, array, object};
use crate::time::{MonoNs, UnixNs};

/// The text of `/api/websocket/stats`. `symbols` and `exchanges` are the different names over all clients.
#[must_use]
pub fn stats(board: &Board, symbols: u64, exchanges: u64) -> Vec<u8> {
    object(|root| {
        root.text("status", "active").object("stats", |stats| {
            stats.integer("clientCount", sum(board, |g| &g.websocket_clients));
            stats.integer("totalSubscriptions", sum(board, |g| &g.subscriptions));
            stats.integer("uniqueSymbols", symbols).integer("uniqueExchanges", exchanges);
        });
    })
}

pub(super) fn sum(board: &Board, gauge: impl Fn(&GatewayGauges) -> &Gauge) -> u64 {
    board.gateways.iter().map(|g| gauge(g).value()).sum()
}

/// Names of the counters of quotes not believed, in order.
pub(super) const DROP_REASONS: [&str; 4] = ["late", "one_sided", "crossed", "suspect"];

/// Streams above this: [`Health::status`] says so, and so does the scaling advice.
const STREAMS_HIGH: u64 = 8000;
/// Streams above this deserve a look.
const STREAMS_WATCH: u64 = 5000;
/// Streams that system 2 calls full.
const STREAMS_FULL: u64 = 10_000;

/// What health is made of.
pub struct Health<'a> {
    /// Counters and gauges.
    pub board: &'a Board,
    /// Names.
    pub directory: &'a Directory,
    /// Fresh prices per venue, in directory order.
    pub fresh: &'a [u64],
    /// Pairs that streams are subscribed to on this gateway.
    pub stream_pairs: Vec<&'a str>,
    /// This instance.
    pub instance: &'a str,
    /// Its host.
    pub hostname: &'a str,
    /// Now.
    pub now: MonoNs,
    /// Now, for people.
    pub unix: UnixNs,
}

impl Health<'_> {
    /// `degraded` while no fresh price flows, `at_capacity` above 8,000 streams, else `healthy`.
    #[must_use]
    pub fn status(&self) -> &'static str {
        if self.fresh.iter().all(|n| *n == 0) {
            "degraded"
        } else if sum(self.board, |g| &g.sse_clients) > STREAMS_HIGH {
            "at_capacity"
        } else {
            "healthy"
        }
    }

    /// What is wrong, in words.
    #[must_use]
    pub fn alerts(&self) -> Vec<String> {
        let (errors, streams) = (self.errors(), sum(self.board, |g| &g.sse_clients));
        let mut alerts = Vec::new();
        if self.fresh.iter().all(|n| *n == 0) {
            alerts.push("No fresh price from any exchange".to_owned());
        }
        for (venue, gauges) in self.directory.venues().iter().zip(&self.board.venues) {
            if gauges.state() != LinkState::Connected {
                let why = gauges.last_error().map(|text| format!(": {text}")).unwrap_or_default();
                alerts.push(format!("Exchange {} is {}{why}", venue.name, gauges.state().word()));
            }
        }
        if errors > 3 {
            alerts.push(format!("High error rate: {errors} consecutive errors"));
        }
        if streams > STREAMS_HIGH {
            alerts.push("Server approaching capacity".to_owned());
        }
        alerts
    }

    /// The most failures in a row over all venues.
    fn errors(&self) -> u64 {
        self.board.venues.iter().map(|v| v.consecutive_errors.value()).max().unwrap_or(0)
    }

    /// The text of `/api/market-data/health`. System 2's fields first; `venues` is ours.
    #[must_use]
    pub fn text(&self) -> Vec<u8> {
        let venues = &self.board.venues;
        let streams = sum(self.board, |g| &g.sse_clients);
        let errors = self.errors();
        let pairs = &self.stream_pairs;
        object(|root| {
            root.text("status", self.status()).integer("timestamp", self.unix.ms());
            root.object("websocket", |o| self.upstream(o, errors, streams));
            root.object("broadcasting", |o| {
                o.boolean("initialized", true)
                    .text("role", "leader")
                    .integer("activeSubscriptions", pairs.len() as u64);
                o.texts("subscribedPairs", pairs);
                o.object("recovery", |r| recovery(r, "oldestCachedPrice"));
            });
            root.object("errorRecovery", |o| recovery(o, "oldestCachedPriceMs"));
            root.object("leadership", |o| {
                o.boolean("isLeader", true).text("currentLeader", self.instance).text("leaderHostname", self.hostname);
            });
            root.object("scaling", |o| {
                o.integer("activeConnections", streams);
                o.text("recommendation", recommendation(streams));
                o.integer("capacityPercentage", (streams * 100 + STREAMS_FULL / 2) / STREAMS_FULL);
            });
            root.texts("alerts", self.alerts());
            array(0..venues.len(), root.key("venues"), |at, out| self.venue(at, out));
        })
    }

    fn upstream(&self, o: &mut Object<'_>, errors: u64, streams: u64) {
        let venues = &self.board.venues;
        let best = venues.iter().map(VenueGauges::state).max_by_key(|s| rank(*s)).unwrap_or_default();
        let since = venues.iter().map(|v| v.connected_since.value()).filter(|t| *t > 0).min();
        let uptime = since.map_or(0, |t| self.now.since(MonoNs(t)) / 1_000_000);
        o.text("state", best.word()).boolean("isLeader", true).integer("uptime", uptime);
        o.integer("connectionAttempts", venues.iter().map(|v| v.attempts.value()).sum());
        o.integer("consecutiveErrors", errors);
        o.integer("subscribedPairs", venues.iter().map(|v| v.subscribed.value()).sum());
        o.integer("totalSubscribers", streams + sum(self.board, |g| &g.websocket_clients));
        o.object("circuitBreaker", |breaker| {
            breaker.text("state", "closed").integer("failureCount", errors);
            breaker.integer("successCount", 0).integer("timeSinceLastFailure", 0);
        });
    }

    fn venue(&self, at: usize, out: &mut Vec<u8>) {
        let (entry, gauges) = (&self.directory.venues()[at], &self.board.venues[at]);
        let mut o = Object::open(out);
        o.text("exchange", &entry.name).text("state", gauges.state().word());
        match gauges.was_connected() {
            true => o.text("source", Source::from_u8(gauges.source()).word()),
            false => o.null("source"),
        };
        o.integer("freshPairs", self.fresh.get(at).copied().unwrap_or(0));
        o.integer("subscribedPairs", gauges.subscribed.value());
        match gauges.last_bytes.value() {
            0 => o.null("lastBytesMs"),
            at => o.integer("lastBytesMs", self.now.since(MonoNs(at)) / 1_000_000),
        };
        o.integer("connectionAttempts", gauges.attempts.value());
        o.integer("consecutiveErrors", gauges.consecutive_errors.value());
        match gauges.last_error() {
            Some(text) => o.text("lastError", &text),
            None => o.null("lastError"),
        };
        o.close();
    }
}

/// No cache and no Redis exist in this process; a number is live or not there. What does not exist is
/// not healthy, and no alert either.
fn recovery(o: &mut Object<'_>, oldest: &str) {
    o.integer("localCacheSize", 0).boolean("redisHealthy", false).null(oldest);
}

const fn rank(state: LinkState) -> u8 {
    match state {
        LinkState::Connected => 3,
        LinkState::Connecting => 2,
        LinkState::Backoff => 1,
        LinkState::Idle => 0,
    }
}

const fn recommendation(streams: u64) -> &'static str {
    if streams > STREAMS_HIGH {
        "SCALE_UP_REQUIRED"
    } else if streams > STREAMS_WATCH {
        "MONITOR_CAPACITY"
    } else {
        "HEALTHY"
    }
}

/// What a hop spans.
const fn span(hop: Hop) -> (&'static str, &'static str) {
    match hop {
        Hop::Decode => ("last byte read from the venue's socket", "quote decoded"),
        Hop::Merge => ("quote decoded", "quote in the matrix"),
        Hop::Detect => ("quote in the matrix", "row scanned for opportunities"),
        Hop::WireToPrice => ("last byte read from the venue's socket", "price written to a client of every change"),
        Hop::WireToAlert => ("later leg read from the venue's socket", "alert written to a client"),
    }
}

/// The text of `/api/latency`: nanoseconds per hop and exchange, since the start.
#[must_use]
pub fn latency(board: &LatencyBoard, directory: &Directory) -> Vec<u8> {
    object(|root| {
        root.text("unit", "ns");
        array(Hop::ALL, root.key("hops"), |hop, out| {
            let (from, to) = span(hop);
            let mut o = Object::open(out);
            o.text("hop", hop.word()).text("from", from).text("to", to);
            o.object("all", |all| summary(all, &board.summary_of_all(hop)));
            o.object("exchanges", |each| {
                for (at, venue) in directory.venues().iter().enumerate() {
                    each.object(&venue.name, |one| summary(one, &board.summary(hop, at)));
                }
            });
            o.close();
        });
    })
}

fn summary(o: &mut Object<'_>, s: &Summary) {
    o.integer("count", s.count).integer("p50", s.p50).integer("p90", s.p90);
    o.integer("p99", s.p99).integer("p999", s.p999).integer("max", s.max);
}

/// One metric of every gateway or venue: name behind `spreadwire_<subsystem>_`, help, how to read it.
type Row<T> = (&'static str, &'static str, fn(&T) -> u64);

const VENUE_ROWS: &[Row<VenueGauges>] = &[
    ("connected", "1 while the connection is open and subscribed.", |v| u64::from(v.state() == LinkState::Connected)),
    ("connect_attempts_total", "Attempts to connect.", |v| v.attempts.value()),
    ("connects_total", "Attempts that ended with an open connection.", |v| v.connects.value()),
    ("disconnects_total", "Connections lost after they were open.", |v| v.disconnects.value()),
    ("consecutive_errors", "Failures since data last flowed.", |v| v.consecutive_errors.value()),
    ("received_bytes_total", "Bytes read from the socket, after TLS.", |v| v.bytes.value()),
    ("frames_total", "Messages read.", |v| v.frames.value()),
    ("frames_unused_total", "Messages of channels that are not used.", |v| v.frames_unused.value()),
    ("quotes_total", "Tops of book decoded.", |v| v.quotes.value()),
    ("subscribed_instruments", "Subscriptions that the venue acknowledged.", |v| v.subscribed.value()),
    ("refused_total", "Refused subscriptions and requests.", |v| v.refused.value()),
    ("ring_conflated_total", "Quotes put aside because the ring was full.", |v| v.ring_conflated.value()),
    ("silences_total", "Silences that ended a connection.", |v| v.silences.value()),
    ("mute_total", "Open connections on which no price came in time.", |v| v.mute.value()),
    ("tls_refused_total", "Attempts that ended because a certificate or TLS was refused.", |v| v.tls_refused.value()),
];

const GATEWAY_ROWS: &[Row<GatewayGauges>] = &[
    ("websocket_clients", "Open WebSocket clients.", |g| g.websocket_clients.value()),
    ("sse_clients", "Open SSE streams.", |g| g.sse_clients.value()),
    ("accepted_total", "Accepted connections.", |g| g.accepted.value()),
    ("refused_total", "Connections refused at a limit or for want of descriptors.", |g| g.refused.value()),
    ("http_requests_total", "Plain HTTP requests answered.", |g| g.http_requests.value()),
    ("http_bad_total", "HTTP requests refused as malformed, too slow or too large.", |g| g.http_bad.value()),
    ("subscribed_pairs", "Pairs of symbol and exchange over all clients.", |g| g.subscriptions.value()),
    ("subscribed_symbols", "Distinct symbols over all clients.", |g| g.symbols.value()),
    ("subscribed_exchanges", "Distinct exchanges over all clients.", |g| g.exchanges.value()),
    ("followers", "WebSocket clients that follow opportunities.", |g| g.followers.value()),
    ("sse_pairs", "Distinct pairs with a stream.", |g| g.sse_pairs.value()),
    ("prices_sent_total", "Price messages written.", |g| g.prices_sent.value()),
    ("alerts_sent_total", "Alert messages written.", |g| g.alerts_sent.value()),
    ("opportunities_sent_total", "Opportunity messages written.", |g| g.opportunities_sent.value()),
    ("sent_bytes_total", "Bytes written to clients.", |g| g.bytes_sent.value()),
    ("outbox_conflated_total", "Prices that a newer one replaced before a slow client took them.", |g| {
        g.outbox_conflated.value()
    }),
    ("slow_closed_total", "Clients closed because they did not read.", |g| g.slow_closed.value()),
    ("misbehaved_closed_total", "Clients closed for breaking the protocol or a limit.", |g| {
        g.misbehaved_closed.value()
    }),
    ("client_errors_total", "Client messages answered with an error.", |g| g.client_errors.value()),
];

/// The text of `/metrics`, in Prometheus' exposition format.
#[must_use]
pub fn metrics(board: &Board, directory: &Directory, fresh: &[u64], now: MonoNs) -> Vec<u8> {
    let mut out = Vec::with_capacity(16 * 1024);
    let uptime = now.since(board.started) as f64 / 1e9;
    head(&mut out, "process_uptime_seconds", "Time since the start.");
    sample(&mut out, "process_uptime_seconds", "", uptime);
    let venue = |at: usize| format!("venue=\"{}\"", label(&directory.venues()[at].name));
    for (name, help, read) in VENUE_ROWS {
        family(&mut out, &format!("venue_{name}"), help, board.venues.iter().map(read).enumerate(), &venue);
    }
    family(&mut out, "venue_fresh_pairs", "Pairs with a fresh price.", fresh.iter().copied().enumerate(), &venue);
    by_reason(&mut out, board, "venue_decode_errors_total", "Frames that could not be decoded.", &venue, |v| {
        DECODE_REASONS.iter().copied().zip(&v.decode_errors).collect()
    });
    by_reason(&mut out, board, "venue_dropped_quotes_total", "Quotes not believed.", &venue, |v| {
        DROP_REASONS.into_iter().zip(&v.dropped).collect()
    });
    detector(&mut out, board);
    let gateway = |at: usize| format!("gateway=\"{at}\"");
    for (name, help, read) in GATEWAY_ROWS {
        family(&mut out, &format!("gateway_{name}"), help, board.gateways.iter().map(read).enumerate(), &gateway);
    }
    latencies(&mut out, board, directory, &venue);
    out
}

fn detector(out: &mut Vec<u8>, board: &Board) {
    let d = &board.detector;
    for (name, help, value) in [
        ("quotes_total", "Quotes taken from the rings.", d.quotes.value()),
        ("merged_total", "Quotes that changed the matrix.", d.merged.value()),
        ("opened_total", "Opportunities opened.", d.opened.value()),
        ("open_opportunities", "Opportunities open now.", d.open.value()),
        ("alerts_total", "Alerts given.", d.alerts.value()),
        ("debounced_total", "Openings and repetitions without an alert.", d.debounced.value()),
        ("events_lost_total", "Events that a gateway's full ring could not take.", d.events_lost.value()),
        ("ring_peak", "Events in the fullest ring before a turn, in the last second.", d.ring_peak.value()),
        ("ring_size", "Events that a ring can hold.", d.ring_size.value()),
    ] {
        family(out, &format!("detector_{name}"), help, [(0, value)].into_iter(), &|_| String::new());
    }
}

fn latencies(out: &mut Vec<u8>, board: &Board, directory: &Directory, venue: &dyn Fn(usize) -> String) {
    let name = "latency_seconds";
    let _ = writeln!(out, "# HELP spreadwire_{name} Time of each hop of a quote, since the start.");
    let _ = writeln!(out, "# TYPE spreadwire_{name} summary");
    for hop in Hop::ALL {
        for at in 0..directory.venues().len() {
            let s = board.latency.summary(hop, at);
            let labels = format!("hop=\"{}\",{}", hop.word(), venue(at));
            for (quantile, ns) in [("0.5", s.p50), ("0.9", s.p90), ("0.99", s.p99), ("0.999", s.p999)] {
                sample(out, name, &format!("{labels},quantile=\"{quantile}\""), ns as f64 / 1e9);
            }
            sample(out, "latency_seconds_sum", &labels, s.sum as f64 / 1e9);
            sample(out, "latency_seconds_count", &labels, s.count as f64);
        }
    }
}

fn by_reason<'a>(
    out: &mut Vec<u8>,
    board: &'a Board,
    name: &str,
    help: &str,
    venue: &dyn Fn(usize) -> String,
    read: impl Fn(&'a VenueGauges) -> Vec<(&'static str, &'a Counter)>,
) {
    head(out, name, help);
    for (at, gauges) in board.venues.iter().enumerate() {
        for (reason, counter) in read(gauges) {
            sample(out, name, &format!("{},reason=\"{reason}\"", venue(at)), counter.value() as f64);
        }
    }
}

fn family(
    out: &mut Vec<u8>,
    name: &str,
    help: &str,
    values: impl Iterator<Item = (usize, u64)>,
    labels: &dyn Fn(usize) -> String,
) {
    head(out, name, help);
    for (at, value) in values {
        sample(out, name, &labels(at), value as f64);
    }
}

fn head(out: &mut Vec<u8>, name: &str, help: &str) {
    let kind = if name.ends_with("_total") { "counter" } else { "gauge" };
    let _ = writeln!(out, "# HELP spreadwire_{name} {help}\n# TYPE spreadwire_{name} {kind}");
}

fn sample(out: &mut Vec<u8>, name: &str, labels: &str, value: f64) {
    let _ = match labels {
        "" => writeln!(out, "spreadwire_{name} {value}"),
        _ => writeln!(out, "spreadwire_{name}{{{labels}}} {value}"),
    };
}

/// A label value: quotes, backslashes and line ends escaped.
fn label(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
