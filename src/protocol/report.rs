//! Reports about the process itself, for people and machines: stats, latency, metrics. All of them read the same
//! [`Board`].

use std::io::Write as _;

use crate::log;
use crate::market::precision::PairPrecision;
use crate::market::survival::{HORIZONS_MS, SurvivalReport};
use crate::market::{Directory, VenueId};
use crate::metrics::cluster::{ClusterBoard, ClusterVenue, RedisState};
use crate::metrics::latency::{Hop, Summary};
use crate::metrics::turns::Span;
use crate::metrics::{Board, GatewayGauges, LinkState, VenueGauges};
use crate::protocol::health::{Known, KnownBooks};
use crate::protocol::{Object, array, object};
use crate::time::MonoNs;

/// The body of `/api/websocket/stats`. `symbols` and `exchanges` are counts of distinct names over all clients.
#[must_use]
pub fn stats(board: &Board, symbols: u64, exchanges: u64) -> Vec<u8> {
    object(|root| {
        root.text("status", "active").object("stats", |stats| {
            stats.integer("clientCount", board.gateway_sum(|g| &g.clients.websocket));
            stats.integer("totalSubscriptions", board.gateway_sum(|g| &g.subscriptions.pairs));
            stats.integer("uniqueSymbols", symbols).integer("uniqueExchanges", exchanges);
        });
    })
}

/// Start and end of a hop.
const fn span(hop: Hop) -> (&'static str, &'static str) {
    match hop {
        Hop::Decode => ("last byte read from the venue's socket", "quote decoded"),
        Hop::Merge => ("quote decoded", "quote in the matrix"),
        Hop::Detect => ("quote in the matrix", "row scanned for opportunities"),
        Hop::WireToPrice => ("last byte read from the venue's socket", "price written to a client of every change"),
        Hop::WireToAlert => ("later leg read from the venue's socket", "alert written to a client"),
        Hop::WireToBook => ("last byte read from the venue's socket", "order book in its table"),
    }
}

/// The body of `/api/latency`: nanoseconds per hop and exchange, and per stage, since the start.
#[must_use]
pub fn latency(board: &Board, directory: &Directory) -> Vec<u8> {
    object(|root| {
        root.text("unit", "ns");
        root.object("clocks", |each| {
            for (id, venue) in directory.venues_on() {
                let gauges = &board.venues[id.index()];
                let Some((offset_ns, one_way_ns)) = gauges.lag.clock.value() else { continue };
                each.object(&venue.name, |o| {
                    o.float("offset", offset_ns as f64).integer("oneWay", one_way_ns);
                });
            }
        });
        array(Hop::ALL, root.key("hops"), |hop, out| {
            let (from, to) = span(hop);
            let mut o = Object::open(out);
            o.text("hop", hop.word()).text("from", from).text("to", to);
            o.object("all", |all| summary(all, &board.latency.summary_of_all(hop)));
            o.object("exchanges", |each| {
                for (id, venue) in directory.venues_on() {
                    each.object(&venue.name, |one| summary(one, &board.latency.summary(hop, id.index())));
                }
            });
            o.close();
        });
        array(board.turns.stages(), root.key("stages"), |stage, out| {
            let mut o = Object::open(out);
            o.text("stage", &stage.stage).text("thread", &stage.thread).integer("stalls", stage.stalls.value());
            for span in Span::ALL {
                o.object(span.word(), |s| summary(s, &stage.summary(span)));
            }
            o.close();
        });
    })
}

fn summary(o: &mut Object<'_>, s: &Summary) {
    o.integer("count", s.count).integer("p50", s.p50).integer("p90", s.p90);
    o.integer("p99", s.p99).integer("p999", s.p999).integer("max", s.max);
}

/// One metric of every gateway or venue: name after `spreadwire_<subsystem>_`, help, how to read it.
type MetricRow<T> = (&'static str, &'static str, fn(&T) -> u64);

const VENUE_ROWS: &[MetricRow<VenueGauges>] = &[
    ("connected", "1 while the connection is open and subscribed.", |v| {
        u64::from(v.connection.state() == LinkState::Connected)
    }),
    ("connect_attempts_total", "Attempts to connect.", |v| v.dial.attempts.value()),
    ("retries_total", "Admin calls and signals that requested an immediate retry.", |v| v.dial.retries.value()),
    ("connects_total", "Attempts that ended with an open connection.", |v| v.connection.connects.value()),
    ("disconnects_total", "Connections lost after they were open.", |v| v.connection.disconnects.value()),
    ("consecutive_errors", "Failures since data last flowed.", |v| v.dial.consecutive_errors.value()),
    ("received_bytes_total", "Bytes read from the socket, after TLS.", |v| v.read.bytes.value()),
    ("frames_total", "Messages read.", |v| v.read.frames.value()),
    ("turns_cut_total", "Turns that ended before all received bytes were decoded.", |v| v.read.turns_cut.value()),
    ("frames_unused_total", "Messages of unused channels.", |v| v.read.frames_unused.value()),
    ("quotes_total", "Tops of book decoded.", |v| v.quotes.decoded.value()),
    ("subscribed_instruments", "Subscriptions that the venue acknowledged.", |v| v.coverage.subscribed.value()),
    ("connections", "Open connections.", |v| v.connection.open.value()),
    ("connections_wanted", "Connections that should be open.", |v| v.connection.wanted.value()),
    ("replaced_total", "Connections replaced by a new one before they ended.", |v| v.connection.replaced.value()),
    ("silent_pairs", "Subscribed pairs that have been silent for longer than usual.", |v| v.silence.pairs.value()),
    ("missing_pairs", "Pairs that were requested but never arrived.", |v| v.coverage.missing.pairs.value()),
    ("checksum_pairs", "Pairs whose checksum failed three times in a minute.", |v| v.coverage.checksum.pairs.value()),
    ("unreadable_pairs", "Pairs with three unreadable frames within a minute.", |v| {
        v.coverage.unreadable.pairs.value()
    }),
    ("silenced_total", "How often a pair became silent.", |v| v.silence.silenced.value()),
    ("resubscribed_total", "How often a single pair was resubscribed.", |v| v.silence.resubscribed.value()),
    ("notices_total", "Announcements of the venue, such as maintenance.", |v| v.replies.notices.value()),
    ("future_stamps_total", "Timestamps later than their arrival by more than clocks usually differ.", |v| {
        v.lag.future_stamps.value()
    }),
    ("refused_total", "Rejected subscriptions and requests.", |v| v.replies.refused.value()),
    ("ring_conflated_total", "Quotes conflated because the ring was full.", |v| v.quotes.ring_conflated.value()),
    ("silences_total", "Silences that closed a connection.", |v| v.silence.closed.value()),
    ("mute_total", "Open connections that received no price in time.", |v| v.silence.mute.value()),
    ("breaker_state", "Circuit breaker of its address: 0 closed, 1 half open, 2 open.", |v| {
        v.dial.breaker.state() as u64
    }),
    ("breaker_failures", "Consecutive failures that it counts.", |v| v.dial.breaker.failures.value()),
    ("breaker_opened_total", "How often it opened.", |v| v.dial.breaker.opened.value()),
    ("quotes_lagged_total", "Quotes that were late by the venue's timestamps.", |v| v.lag.lagged.value()),
    ("lag_ms", "How late its quotes are by their timestamps, while this prevents alerts; otherwise 0.", |v| {
        v.lag.lag_ns.value() / crate::time::MS
    }),
    ("behind", "Connections that have a backlog or are unusually silent: their quotes cause no alerts.", |v| {
        v.backlog.behind.value()
    }),
    ("backlogs_total", "How often a connection fell behind.", |v| v.backlog.begun.value()),
    ("pause_reads_total", "Reads after a pause of 200 ms or more.", |v| v.backlog.pause_reads.value()),
    ("waiting_bytes_total", "Bytes that these reads found waiting.", |v| v.backlog.waiting_bytes.value()),
    ("waiting_bytes_max", "Most bytes that one of these reads found waiting.", |v| v.backlog.waiting_bytes_max.value()),
    ("tls_refused_total", "Attempts that failed because a certificate or TLS was rejected.", |v| {
        v.dial.tls_refused.value()
    }),
];

const KNOWN_ROWS: &[MetricRow<Known>] = &[
    ("fresh_pairs", "Pairs with a fresh price.", |k| k.fresh),
    ("known_pairs", "Pairs that were ever quoted.", |k| k.held),
    ("stale_pairs", "Quoted pairs without an update for more than a minute.", |k| k.old),
    ("level", "Best level of its prices: 0 websocket, 1 shared, 2 redis_cache, 3 local_cache, 4 none.", |k| {
        k.level.or(k.cached).map_or(4, |origin| origin as u64)
    }),
];

const CLUSTER_ROWS: &[MetricRow<ClusterVenue>] = &[
    ("role", "Role of this instance for it: 0 follower, 1 leader, 2 heir, 3 alone.", |v| v.role.value()),
    ("token", "Highest fencing token seen.", |v| v.token.value()),
    ("leader_changes_total", "Observed changes of its leader.", |v| v.changes.value()),
    ("published_total", "Batches published.", |v| v.published.value()),
    ("accepted_total", "Batches accepted from a leader.", |v| v.accepted.value()),
    ("fenced_total", "Batches rejected for a token lower than one already seen.", |v| v.fenced.value()),
    ("gaps_total", "Batches missing in a sequence.", |v| v.gaps.value()),
    ("refused_total", "Batches or values that could not be decoded or were not plausible.", |v| v.refused.value()),
    ("foreign_total", "Batches or values of another cluster, which are ignored.", |v| v.foreign.value()),
];

/// The same for times in nanoseconds.
type Seconds = (&'static str, &'static str, fn(&ClusterVenue, MonoNs) -> u64);

const CLUSTER_SECONDS: &[Seconds] = &[
    ("lag_seconds", "Estimated time of the last batch from the leader to this instance.", |v, _| v.lag_ns.value()),
    ("last_batch_seconds", "Time since the last batch, sent or accepted; 0 before the first.", |v, now| {
        match v.last_batch.value() {
            0 => 0,
            at => now.since(MonoNs(at)),
        }
    }),
];

const GATEWAY_ROWS: &[MetricRow<GatewayGauges>] = &[
    ("websocket_clients", "Open WebSocket clients.", |g| g.clients.websocket.value()),
    ("sse_clients", "Open SSE streams.", |g| g.clients.sse.value()),
    ("accepted_total", "Accepted connections.", |g| g.clients.accepted.value()),
    ("refused_total", "Connections refused at a limit or because file descriptors ran out.", |g| {
        g.clients.refused.value()
    }),
    ("http_requests_total", "Plain HTTP requests answered.", |g| g.http.requests.value()),
    ("http_shared_total", "Plain HTTP requests answered with a page rendered less than 20 ms before.", |g| {
        g.http.shared.value()
    }),
    ("http_bad_total", "HTTP requests rejected as malformed, too slow or too large.", |g| g.http.bad.value()),
    ("subscribed_pairs", "Pairs of symbol and exchange over all clients.", |g| g.subscriptions.pairs.value()),
    ("subscribed_symbols", "Distinct symbols over all clients.", |g| g.subscriptions.symbols.count.value()),
    ("subscribed_exchanges", "Distinct exchanges over all clients.", |g| g.subscriptions.exchanges.count.value()),
    ("followers", "WebSocket clients that follow opportunities.", |g| g.subscriptions.followers.value()),
    ("sse_pairs", "Distinct pairs with a stream.", |g| g.subscriptions.sse_pairs.count.value()),
    ("prices_sent_total", "Price messages written.", |g| g.sent.prices.value()),
    ("alerts_sent_total", "Alert messages written.", |g| g.sent.alerts.value()),
    ("opportunities_sent_total", "Opportunity messages written.", |g| g.sent.opportunities.value()),
    ("sent_bytes_total", "Bytes written to clients.", |g| g.sent.bytes.value()),
    ("outbox_bytes", "Bytes queued for clients that do not read.", |g| g.sent.waiting_bytes.value()),
    ("outbox_conflated_total", "Prices replaced by a newer one before a slow client received them.", |g| {
        g.sent.prices_conflated.value()
    }),
    ("slow_closed_total", "Clients closed because they did not read.", |g| g.clients.slow_closed.value()),
    ("misbehaved_closed_total", "Clients closed for breaking the protocol or a limit.", |g| {
        g.clients.misbehaved_closed.value()
    }),
    ("client_errors_total", "Client messages answered with an error.", |g| g.clients.errors.value()),
    ("watched_books", "Subscribed order books over all clients.", |g| g.subscriptions.books.value()),
    ("books_sent_total", "Order book messages written.", |g| g.sent.books.value()),
    ("books_conflated_total", "States of an order book replaced before a slow client received them.", |g| {
        g.sent.books_conflated.value()
    }),
];

/// Metrics of book connections, for venues from which books are requested.
const BOOK_ROWS: &[MetricRow<VenueGauges>] = &[
    ("connected", "1 while the connection for order books is open and subscribed.", |v| {
        u64::from(v.connection.state() == LinkState::Connected)
    }),
    ("connections", "Open connections for order books.", |v| v.connection.open.value()),
    ("connections_wanted", "Connections for order books that should be open.", |v| v.connection.wanted.value()),
    ("connect_attempts_total", "Attempts to connect for order books.", |v| v.dial.attempts.value()),
    ("connects_total", "Attempts that ended with an open connection for order books.", |v| {
        v.connection.connects.value()
    }),
    ("disconnects_total", "Connections for order books lost after they were open.", |v| {
        v.connection.disconnects.value()
    }),
    ("consecutive_errors", "Failures since order books last flowed.", |v| v.dial.consecutive_errors.value()),
    ("received_bytes_total", "Bytes of order books read from the socket, after TLS.", |v| v.read.bytes.value()),
    ("frames_total", "Messages read on connections for order books.", |v| v.read.frames.value()),
    ("changes_total", "Changes of order books.", |v| v.quotes.decoded.value()),
    ("pages_refused_total", "Book pages that were larger than 16 MiB and not read.", |v| v.read.pages_refused.value()),
];

const KNOWN_BOOK_ROWS: &[MetricRow<KnownBooks>] =
    &[("wanted", "Requested order books.", |k| k.wanted), ("live", "Valid order books.", |k| k.live)];

/// The body of `/metrics`, in the Prometheus exposition format.
#[must_use]
pub fn metrics(
    board: &Board,
    directory: &Directory,
    (known, books): (&[Known], &[KnownBooks]),
    (precision, survival): (&[PairPrecision], &SurvivalReport),
    now: MonoNs,
) -> Vec<u8> {
    let mut out = Vec::with_capacity(16 * 1024);
    let uptime = now.since(board.started) as f64 / 1e9;
    head(&mut out, "process_uptime_seconds", "Time since the start.");
    sample(&mut out, "process_uptime_seconds", "", uptime);
    let dropped = [(0, log::ERROR.dropped())].into_iter();
    family(&mut out, "log_lines_dropped_total", "Log lines dropped because the log was not read.", dropped, &|_| {
        String::new()
    });
    head(
        &mut out,
        "process_line_down",
        "1 while no exchange answers: the network connection of this machine seems to be down.",
    );
    sample(&mut out, "process_line_down", "", f64::from(u8::from(board.cut_off.since().is_some())));
    let venue = |at: usize| format!("venue=\"{}\"", label(&directory.venues()[at].name));
    let on: Vec<usize> = directory.venues_on().map(|(id, _)| id.index()).collect();
    for (name, help, read) in VENUE_ROWS {
        family(&mut out, &format!("venue_{name}"), help, on.iter().map(|at| (*at, read(&board.venues[*at]))), &venue);
    }
    for (name, help, read) in KNOWN_ROWS {
        let known = on.iter().filter_map(|at| Some((*at, read(known.get(*at)?))));
        family(&mut out, &format!("venue_{name}"), help, known, &venue);
    }
    let all = || on.iter().map(|at| (*at, &board.venues[*at]));
    by_reason(&mut out, all(), "venue_decode_errors_total", "Frames that could not be decoded.", &venue, |v| {
        v.read.decode_errors.iter().collect()
    });
    by_reason(&mut out, all(), "venue_dropped_quotes_total", "Rejected quotes.", &venue, |v| {
        v.quotes.dropped.iter().collect()
    });
    scores(&mut out, board, &on, &venue);
    order_books(&mut out, board, books, now, &venue);
    clocks(&mut out, board, &on, &venue);
    if let Some(cluster) = &board.cluster {
        membership(&mut out, cluster, now, &on, &venue);
    }
    detector(&mut out, board);
    past_opportunities(&mut out, directory, precision, survival);
    kept(&mut out, board);
    reloaded(&mut out, board);
    let gateway = |at: usize| format!("gateway=\"{at}\"");
    for (name, help, read) in GATEWAY_ROWS {
        family(&mut out, &format!("gateway_{name}"), help, board.gateways.iter().map(read).enumerate(), &gateway);
    }
    latencies(&mut out, board, directory, &venue);
    turns(&mut out, board);
    out
}

/// Only for venues from which books are requested: a connection that is not wanted must not look like a lost one.
fn order_books(out: &mut Vec<u8>, board: &Board, known: &[KnownBooks], now: MonoNs, venue: &dyn Fn(usize) -> String) {
    let known = || known.iter().enumerate().filter(|(_, books)| books.wanted > 0);
    let gauges = || known().filter_map(|(at, _)| Some((at, board.books.get(at)?)));
    for (name, help, read) in BOOK_ROWS {
        family(out, &format!("book_{name}"), help, gauges().map(|(at, v)| (at, read(v))), venue);
    }
    for (name, help, read) in KNOWN_BOOK_ROWS {
        family(out, &format!("book_{name}"), help, known().map(|(at, books)| (at, read(books))), venue);
    }
    by_reason(out, gauges(), "book_voids_total", "Order books that became void.", venue, |v| v.voids.iter().collect());
    by_reason(
        out,
        gauges(),
        "book_decode_errors_total",
        "Frames of order books that could not be decoded.",
        venue,
        |v| v.read.decode_errors.iter().collect(),
    );
    head(out, "book_oldest_seconds", "Time since the last change of the valid book that changed least recently.");
    for (at, books) in known() {
        sample(out, "book_oldest_seconds", &venue(at), books.oldest_ns as f64 / 1e9);
    }
    head(out, "book_last_bytes_seconds", "Time since the last bytes of order books; 0 before the first.");
    for (at, v) in gauges() {
        let ago = match v.read.last_bytes.value() {
            0 => 0,
            at => now.since(MonoNs(at)),
        };
        sample(out, "book_last_bytes_seconds", &venue(at), ago as f64 / 1e9);
    }
}

fn scores(out: &mut Vec<u8>, board: &Board, on: &[usize], venue: &dyn Fn(usize) -> String) {
    let all = || on.iter().filter_map(|at| Some((*at, board.scores.get(*at)?)));
    let score = all().map(|(at, score)| (at, score.score()));
    family(out, "venue_feed_score", "Feed score, from 0 to 100 without faults.", score, venue);
    let quarantined = all().map(|(at, score)| (at, u64::from(score.quarantined_since().is_some())));
    let help = "1 while the venue makes no alerts because its feed score was too low.";
    family(out, "venue_quarantined", help, quarantined, venue);
}

/// Only for venues whose clock is known.
fn clocks(out: &mut Vec<u8>, board: &Board, on: &[usize], venue: &dyn Fn(usize) -> String) {
    let known = || on.iter().filter_map(|at| Some((*at, board.venues[*at].lag.clock.value()?)));
    head(out, "venue_clock_offset_seconds", "How far our wall clock is ahead of the venue's.");
    for (at, (offset_ns, _)) in known() {
        sample(out, "venue_clock_offset_seconds", &venue(at), offset_ns as f64 / 1e9);
    }
    head(out, "venue_one_way_seconds", "Shortest transit time of a frame from the venue.");
    for (at, (_, one_way_ns)) in known() {
        sample(out, "venue_one_way_seconds", &venue(at), one_way_ns as f64 / 1e9);
    }
}

fn membership(out: &mut Vec<u8>, cluster: &ClusterBoard, now: MonoNs, on: &[usize], venue: &dyn Fn(usize) -> String) {
    let venues = || on.iter().filter_map(|at| Some((*at, cluster.venues.get(*at)?)));
    let members = cluster.members.load_full().map_or(0, |members| members.len() as u64);
    for (name, help, value) in [
        ("redis_joined", "1 while Redis answers in time and is used.", {
            u64::from(cluster.redis() == RedisState::Joined)
        }),
        ("redis_breaker_state", "Circuit breaker of Redis: 0 closed, 1 half open, 2 open.", {
            cluster.breaker.state() as u64
        }),
        ("redis_breaker_opened_total", "How often it opened.", cluster.breaker.opened.value()),
        ("redis_calls_total", "Calls of Redis.", cluster.calls.value()),
        ("redis_failures_total", "Calls that failed or were late.", cluster.failures.value()),
        ("members", "Instances that are alive, this one included.", members),
    ] {
        family(out, &format!("cluster_{name}"), help, [(0, value)].into_iter(), &|_| String::new());
    }
    head(out, "cluster_redis_round_trip_seconds", "The last round trip of a call.");
    sample(out, "cluster_redis_round_trip_seconds", "", cluster.round_trip_ns.value() as f64 / 1e9);
    for (name, help, read) in CLUSTER_ROWS {
        family(out, &format!("cluster_venue_{name}"), help, venues().map(|(at, one)| (at, read(one))), venue);
    }
    for (name, help, read) in CLUSTER_SECONDS {
        head(out, &format!("cluster_venue_{name}"), help);
        for (at, one) in venues() {
            sample(out, &format!("cluster_venue_{name}"), &venue(at), read(one, now) as f64 / 1e9);
        }
    }
}

fn kept(out: &mut Vec<u8>, board: &Board) {
    for (name, help, counter) in [
        ("writes_total", "Files of last known values written.", &board.last_known.writes),
        ("failures_total", "Files of last known values that could not be written or read.", &board.last_known.failures),
        ("taken_total", "Last known values loaded from disk.", &board.last_known.taken),
        ("refused_total", "Last known values on disk that were too old or not configured.", {
            &board.last_known.refused
        }),
    ] {
        family(out, &format!("keep_{name}"), help, [(0, counter.value())].into_iter(), &|_| String::new());
    }
}

fn reloaded(out: &mut Vec<u8>, board: &Board) {
    let reload = &board.reload;
    for (name, help, value) in [
        ("applied_total", "Changes of the quoted instruments that were applied.", reload.applied.value()),
        ("refused_total", "Changes of the quoted instruments that were rejected as a whole.", {
            reload.refused.value()
        }),
        ("last_refused", "1 if the configuration file was rejected when it was last read.", reload.is_refused.value()),
    ] {
        family(out, &format!("reload_{name}"), help, [(0, value)].into_iter(), &|_| String::new());
    }
}

fn detector(out: &mut Vec<u8>, board: &Board) {
    let d = &board.detector;
    for (name, help, value) in [
        ("quotes_total", "Quotes taken from the rings.", d.quotes.value()),
        ("merged_total", "Quotes that changed the matrix.", d.merged.value()),
        ("opened_total", "Opportunities opened.", d.opened.value()),
        ("open_opportunities", "Opportunities open now.", d.open.value()),
        ("alerts_total", "Alerts.", d.alerts.value()),
        ("debounced_total", "Openings and repetitions without an alert.", d.debounced.value()),
        (
            "refusals_untracked_total",
            "Looks at refused candidates that were not counted: too many at the same time.",
            { d.refusals_untracked.value() },
        ),
        ("basis_routes", "Routes whose usual net spread is sampled.", d.basis_routes.value()),
        ("basis_refused_total", "Looks at routes that were not sampled: too many at the same time.", {
            d.basis_refused.value()
        }),
        ("events_lost_total", "Events dropped because a gateway's ring was full.", d.events_lost.value()),
        ("ring_peak", "Events in the fullest ring before a turn, in the last second.", d.ring_peak.value()),
        ("ring_size", "Events that a ring can hold.", d.ring_size.value()),
    ] {
        family(out, &format!("detector_{name}"), help, [(0, value)].into_iter(), &|_| String::new());
    }
    let help = "Candidates above the threshold that were refused, by reason; each is counted when its refusal begins or its reason changes.";
    head(out, "detector_refused_total", help);
    for (reason, count) in d.refused.iter() {
        sample(out, "detector_refused_total", &format!("reason=\"{reason}\""), count as f64);
    }
    head(out, "detector_closed_total", "Opportunities closed, by what they were.");
    for (class, count) in d.closed.iter() {
        sample(out, "detector_closed_total", &format!("class=\"{class}\""), count as f64);
    }
}

/// Only for pairs of venues that had an opportunity.
fn past_opportunities(
    out: &mut Vec<u8>,
    directory: &Directory,
    precision: &[PairPrecision],
    survival: &SurvivalReport,
) {
    let name = |venue: VenueId| label(&directory.venue(venue).name);
    let pair = |buy, sell| format!("buy=\"{}\",sell=\"{}\"", name(buy), name(sell));
    head(out, "precision_closed", "Opportunities of a pair of venues that closed in the last seven days.");
    for of in precision {
        sample(out, "precision_closed", &pair(of.buy, of.sell), f64::from(of.total().closed()));
    }
    head(out, "precision_ratio", "Share of real ones among them.");
    for of in precision {
        let ratio = of.total().precision().unwrap_or_default();
        sample(out, "precision_ratio", &pair(of.buy, of.sell), ratio);
    }
    head(out, "survival_episodes", "Recent opportunities of a pair of venues whose survival was measured.");
    for of in &survival.0 {
        sample(out, "survival_episodes", &pair(of.buy, of.sell), f64::from(of.pooled.episodes));
    }
    head(out, "survival_ratio", "Estimated share of them that lives longer than this time after the alert.");
    for of in &survival.0 {
        for (ms, point) in HORIZONS_MS.iter().zip(of.pooled.points) {
            let Some(point) = point else { continue };
            sample(out, "survival_ratio", &format!("{},after_ms=\"{ms}\"", pair(of.buy, of.sell)), point.alive);
        }
    }
}

fn latencies(out: &mut Vec<u8>, board: &Board, directory: &Directory, venue: &dyn Fn(usize) -> String) {
    let name = "latency_seconds";
    let _ = writeln!(out, "# HELP spreadwire_{name} Time of each hop of a quote, since the start.");
    let _ = writeln!(out, "# TYPE spreadwire_{name} summary");
    for hop in Hop::ALL {
        for at in directory.venues_on().map(|(id, _)| id.index()) {
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

fn turns(out: &mut Vec<u8>, board: &Board) {
    let stages = board.turns.stages();
    let labels = |at: usize| format!("stage=\"{}\"", label(&stages[at].stage));
    for (span, name, help) in [
        (Span::Turn, "stage_turn_seconds", "Duration of a stage's turn without its sleep, since the start."),
        (Span::Overrun, "stage_overrun_seconds", "Time that a stage slept beyond the intended time, since the start."),
    ] {
        let _ = writeln!(out, "# HELP spreadwire_{name} {help}\n# TYPE spreadwire_{name} summary");
        for (at, stage) in stages.iter().enumerate() {
            let (s, labels) = (stage.summary(span), labels(at));
            for (quantile, ns) in [("0.5", s.p50), ("0.9", s.p90), ("0.99", s.p99), ("0.999", s.p999), ("1", s.max)] {
                sample(out, name, &format!("{labels},quantile=\"{quantile}\""), ns as f64 / 1e9);
            }
            sample(out, &format!("{name}_sum"), &labels, s.sum as f64 / 1e9);
            sample(out, &format!("{name}_count"), &labels, s.count as f64);
        }
    }
    let stalls = stages.iter().map(|stage| stage.stalls.value()).enumerate();
    family(out, "stage_stalls_total", "Turns and overruns longer than 100 ms.", stalls, &labels);
}

fn by_reason<'a>(
    out: &mut Vec<u8>,
    venues: impl Iterator<Item = (usize, &'a VenueGauges)>,
    name: &str,
    help: &str,
    venue: &dyn Fn(usize) -> String,
    read: impl Fn(&'a VenueGauges) -> Vec<(&'static str, u64)>,
) {
    head(out, name, help);
    for (at, gauges) in venues {
        for (reason, count) in read(gauges) {
            sample(out, name, &format!("{},reason=\"{reason}\"", venue(at)), count as f64);
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

/// A label value with quotes, backslashes and line ends escaped.
fn label(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
