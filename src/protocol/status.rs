//! `/api/status`, the page behind the dashboard and `spreadwire top`, and `/api/instruments`. Like health and metrics,
//! they are read from the [`Board`](crate::metrics::Board).

use crate::market::book::BookOptions;
use crate::market::quote::{QuoteOptions, Source};
use crate::market::rule::DetectorOptions;
use crate::market::{Directory, VenueId};
use crate::metrics::{Counter, DetectorGauges, GatewayGauges, VenueGauges};
use crate::protocol::health::Health;
use crate::protocol::request::{NAME_BYTES_MAX, NAMES_BYTES_MAX, NAMES_MAX};
use crate::protocol::{Object, array, object};
use crate::time::MonoNs;

/// Limits of this process that clients may want to know, except for those of [`Health`] and of
/// [requests](crate::protocol::request).
#[derive(Clone, Copy, Debug)]
pub struct ServiceLimits {
    /// Most pairs (symbols × exchanges) of one client.
    pub pairs_max: u64,
    /// Milliseconds between two bursts of a plain client.
    pub beat_ms: u64,
    /// Milliseconds between two bursts of a stream.
    pub(crate) stream_beat_ms: u64,
    /// Validity of quotes.
    pub quotes: QuoteOptions,
    /// Order books.
    pub books: BookOptions,
    /// When a spread is alerted.
    pub detector: DetectorOptions,
}

/// Input of the page.
pub struct Status<'a> {
    /// Board, directory, state of prices, names of this process, and time.
    pub health: Health<'a>,
    /// Source of the numbers, as in `X-Spreadwire-Source`.
    pub sources: &'a str,
    /// Limits.
    pub limits: ServiceLimits,
}

impl Status<'_> {
    /// The body of `/api/status`.
    #[must_use]
    pub fn text(&self) -> Vec<u8> {
        let health = &self.health;
        object(|root| {
            root.integer("timestamp", health.unix.ms()).text("status", health.status());
            root.texts("alerts", health.alerts());
            root.object("process", |o| self.process(o));
            array(health.on(), root.key("venues"), |at, out| self.venue(at, out));
            root.object("detector", |o| detector(o, &health.board.detector));
            root.object("gateway", |o| self.gateway(o));
            root.object("limits", |o| limits(o, health, &self.limits));
            root.text("level", health.level());
            health.line(root);
            health.cluster(root);
        })
    }

    fn process(&self, o: &mut Object<'_>) {
        let health = &self.health;
        o.text("version", env!("CARGO_PKG_VERSION"));
        o.integer("uptimeMs", health.now.since(health.board.started) / 1_000_000);
        o.text("instance", health.instance).text("hostname", health.hostname).text("source", self.sources);
    }

    fn venue(&self, at: usize, out: &mut Vec<u8>) {
        let health = &self.health;
        let (entry, v) = (&health.directory.venues()[at], &health.board.venues[at]);
        let since_ms = |at: u64| health.now.since(MonoNs(at)) / 1_000_000;
        let quoted = health.directory.quoted_by(VenueId(at as u16)).count() as u64;
        let fresh = health.known.get(at).map_or(0, |known| known.fresh);
        let mut o = Object::open(out);
        o.text("exchange", &entry.name).text("state", v.connection.state().word());
        o.text("data", data_state(fresh, quoted)).integer("freshPairs", fresh).integer("quotedPairs", quoted);
        o.integer("subscribedPairs", v.coverage.subscribed.value());
        o.integer("silentPairs", v.silence.pairs.value()).integer("missingPairs", v.coverage.missing.pairs.value());
        o.integer("connections", v.connection.open.value());
        o.integer("connectionsWanted", v.connection.wanted.value());
        match health.board.source_of(at) {
            Some(source) => o.text("source", Source::from_u8(source).word()),
            None => o.null("source"),
        };
        maybe(&mut o, "connectedMs", v.connection.since.value(), since_ms);
        maybe(&mut o, "lastBytesMs", v.read.last_bytes.value(), since_ms);
        o.integer("reconnects", v.connection.connects.value().saturating_sub(1))
            .integer("disconnects", v.connection.disconnects.value());
        o.integer("connectionAttempts", v.dial.attempts.value())
            .integer("consecutiveErrors", v.dial.consecutive_errors.value());
        match v.connection.last_error() {
            Some(text) => o.text("lastError", &text),
            None => o.null("lastError"),
        };
        match v.replies.last_notice() {
            Some(text) => o.text("lastNotice", &text),
            None => o.null("lastNotice"),
        };
        counts(&mut o, v);
        match v.lag.clock.value() {
            Some((offset_ns, one_way_ns)) => {
                o.float("clockOffsetMs", offset_ns as f64 / 1e6).float("oneWayMs", one_way_ns as f64 / 1e6);
            }
            None => {
                o.null("clockOffsetMs").null("oneWayMs");
            }
        }
        entry.taker_fee_pct.write(o.key("takerFeePct"));
        let score = &health.board.scores[at];
        o.integer("feedScore", score.score());
        o.object("feedFaults", |o| {
            for (part, points) in score.parts() {
                o.integer(part, points);
            }
        });
        health.standing(at, &mut o);
        o.close();
    }

    fn gateway(&self, o: &mut Object<'_>) {
        let board = self.health.board;
        let total = |read: fn(&GatewayGauges) -> &Counter| board.gateways.iter().map(|g| read(g).value()).sum();
        o.integer("threads", board.gateways.len() as u64);
        o.integer("clients", board.gateway_sum(|g| &g.clients.websocket))
            .integer("streams", board.gateway_sum(|g| &g.clients.sse));
        o.integer("connections", board.gateway_sum(|g| &g.clients.connections))
            .integer("followers", board.gateway_sum(|g| &g.subscriptions.followers));
        o.integer("subscriptions", board.gateway_sum(|g| &g.subscriptions.pairs));
        o.integer("prices", total(|g| &g.sent.prices)).integer("alerts", total(|g| &g.sent.alerts));
        o.integer("opportunities", total(|g| &g.sent.opportunities)).integer("bytes", total(|g| &g.sent.bytes));
        o.integer("conflated", total(|g| &g.sent.prices_conflated))
            .integer("slowClosed", total(|g| &g.clients.slow_closed));
        o.integer("misbehavedClosed", total(|g| &g.clients.misbehaved_closed))
            .integer("errors", total(|g| &g.clients.errors));
        o.integer("accepted", total(|g| &g.clients.accepted)).integer("refused", total(|g| &g.clients.refused));
        o.integer("requests", total(|g| &g.http.requests)).integer("badRequests", total(|g| &g.http.bad));
        o.integer("booksWatched", board.gateway_sum(|g| &g.subscriptions.books))
            .integer("books", total(|g| &g.sent.books));
        o.integer("booksConflated", total(|g| &g.sent.books_conflated));
    }
}

/// `fresh` if all pairs that the venue quotes have a fresh price, `partial` if some have, `none` if none has.
const fn data_state(fresh: u64, quoted: u64) -> &'static str {
    match fresh {
        0 => "none",
        n if n < quoted => "partial",
        _ => "fresh",
    }
}

/// Adds a member that is `null` while its number is 0.
fn maybe(o: &mut Object<'_>, name: &str, number: u64, shown: impl Fn(u64) -> u64) {
    match number {
        0 => o.null(name),
        n => o.integer(name, shown(n)),
    };
}

fn counts(o: &mut Object<'_>, v: &VenueGauges) {
    o.integer("frames", v.read.frames.value()).integer("unusedFrames", v.read.frames_unused.value());
    o.integer("quotes", v.quotes.decoded.value()).integer("bytes", v.read.bytes.value());
    o.counts("decodeErrors", &v.read.decode_errors);
    o.counts("dropped", &v.quotes.dropped);
    o.integer("ringConflated", v.quotes.ring_conflated.value()).integer("silences", v.silence.closed.value());
    o.integer("silenced", v.silence.silenced.value()).integer("resubscribed", v.silence.resubscribed.value());
    o.integer("replaced", v.connection.replaced.value()).integer("notices", v.replies.notices.value());
    o.integer("futureStamps", v.lag.future_stamps.value());
    o.integer("turnsCut", v.read.turns_cut.value()).integer("checksumPairs", v.coverage.checksum.pairs.value());
    o.integer("mute", v.silence.mute.value()).integer("refused", v.replies.refused.value());
    o.integer("tlsRefused", v.dial.tls_refused.value());
}

fn detector(o: &mut Object<'_>, d: &DetectorGauges) {
    o.integer("quotes", d.quotes.value()).integer("merged", d.merged.value());
    o.integer("open", d.open.value()).integer("opened", d.opened.value());
    o.integer("alerts", d.alerts.value()).integer("debounced", d.debounced.value());
    o.counts("refused", &d.refused);
    o.integer("eventsLost", d.events_lost.value());
    o.integer("ringPeak", d.ring_peak.value()).integer("ringSize", d.ring_size.value());
}

fn limits(o: &mut Object<'_>, health: &Health<'_>, limits: &ServiceLimits) {
    let ServiceLimits { quotes, books, detector, .. } = limits;
    o.integer("clientsMax", health.clients_max).integer("streamsMax", health.streams_max);
    o.integer("pairsMax", limits.pairs_max).integer("namesMax", NAMES_MAX as u64);
    o.integer("nameBytesMax", NAME_BYTES_MAX as u64).integer("namesBytesMax", NAMES_BYTES_MAX as u64);
    o.integer("beatMs", limits.beat_ms).integer("streamBeatMs", limits.stream_beat_ms);
    o.integer("staleAfterMs", quotes.stale_after_ms);
    detector.threshold_pct.write(o.key("thresholdPct"));
    o.text("thresholdOn", detector.threshold_on.word()).integer("debounceMs", detector.debounce_ms);
    o.integer("bookLevels", books.levels as u64).integer("bookBeatMs", books.beat_ms);
    detector.close_ratio.write(o.key("closeRatio"));
    o.text("proofMin", detector.proof_min.word());
}

/// The body of `/api/instruments`: the exchanges that quote each instrument.
#[must_use]
pub fn instruments(directory: &Directory) -> Vec<u8> {
    object(|root| {
        array(directory.instruments_on(), root.key("instruments"), |(instrument, symbol), out| {
            let quoting = directory.venues_on().filter(|(venue, _)| directory.is_quoted(instrument, *venue));
            let mut o = Object::open(out);
            o.text("symbol", symbol).texts("exchanges", quoting.map(|(_, venue)| &venue.name));
            o.close();
        });
    })
}
