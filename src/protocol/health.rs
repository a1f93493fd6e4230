//! Health of this process: `/api/market-data/health` with the names of system 2, and `/readyz`. The state of prices is
//! passed in as [`Known`], everything else is read from the [`Board`]. Health depends on prices that can be served, not
//! on open sockets.

use crate::market::quote::{Origin, Source};
use crate::market::{Directory, InstrumentId, VenueId};
use crate::metrics::cluster::{ClusterBoard, ClusterRole, RedisState};
use crate::metrics::venue::FaultyPairs;
use crate::metrics::{Board, BreakerGauges, BreakerState, LinkState, VenueGauges};
use crate::protocol::{Object, array, float, object};
use crate::time::{MS, MonoNs, SECOND, UnixNs};

/// State of the prices of one venue in the matrix, at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// Pairs with a fresh price.
    pub(crate) fresh: u64,
    /// The best origin of these prices; `None` if there are none.
    pub level: Option<Origin>,
    /// The best origin of last known values that are no longer valid as prices; extended clients see them.
    pub cached: Option<Origin>,
    /// Pairs that have ever been quoted.
    pub held: u64,
    /// Age of the oldest of these quotes, in nanoseconds.
    pub(crate) oldest_ns: u64,
    /// Pairs whose quote is older than [`OLD_NS`],
    pub old: u64,
    /// and the instrument of the oldest one.
    pub(crate) oldest: InstrumentId,
}

/// If our wall clock differs from those of most venues by more than this, there is an alert.
pub(crate) const CLOCK_WRONG_NS: u64 = 5 * SECOND;

/// Quotes that are later than this cause an alert.
pub(crate) const LATE_NS: u64 = SECOND;

/// A price older than this causes an alert.
pub(crate) const OLD_NS: u64 = 60 * SECOND;

impl Known {
    /// Adds one quoted pair: the origin and age of its quote, whether it is a fresh price, and whether it may at least
    /// be shown as a last known value.
    pub fn add(&mut self, instrument: InstrumentId, origin: Origin, age_ns: u64, is_fresh: bool, is_cached: bool) {
        let better = |known: Option<Origin>| Some(known.map_or(origin, |known| known.min(origin)));
        if is_fresh {
            self.fresh += 1;
            self.level = better(self.level);
        } else if is_cached {
            self.cached = better(self.cached);
        }
        self.held += 1;
        self.old += u64::from(age_ns > OLD_NS);
        if age_ns >= self.oldest_ns {
            (self.oldest_ns, self.oldest) = (age_ns, instrument);
        }
    }

    /// Level of service: a word of [`Origin`], or `degraded`.
    #[must_use]
    pub fn level(&self) -> &'static str {
        self.level.or(self.cached).map_or(DEGRADED, Origin::word)
    }
}

/// State of the order books of one venue, at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KnownBooks {
    /// Books that this process requests from the venue; 0 if the venue offers none, none are wanted, or another
    /// instance leads it.
    pub wanted: u64,
    /// Valid books.
    pub live: u64,
    /// Age of the last change of the oldest valid book, in nanoseconds.
    pub(crate) oldest_ns: u64,
}

impl KnownBooks {
    /// Adds a requested book: whether it is valid, and the age of its last change.
    pub fn add(&mut self, is_live: bool, age_ns: u64) {
        self.wanted += 1;
        if is_live {
            self.live += 1;
            self.oldest_ns = self.oldest_ns.max(age_ns);
        }
    }
}

/// The level without any price.
pub(super) const DEGRADED: &str = "degraded";

/// Input of the health report.
pub struct Health<'a> {
    /// Counters and gauges.
    pub board: &'a Board,
    /// Names.
    pub directory: &'a Directory,
    /// State of the prices of each venue, in directory order.
    pub known: &'a [Known],
    /// State of the order books of each venue, in directory order.
    pub books: &'a [KnownBooks],
    /// Pairs with a subscribed stream.
    pub(crate) stream_pairs: Vec<&'a str>,
    /// Most streams that may be open.
    pub streams_max: u64,
    /// Most connections that may be open.
    pub clients_max: u64,
    /// Name of this instance.
    pub instance: &'a str,
    /// Host name of this instance.
    pub hostname: &'a str,
    /// Current time.
    pub now: MonoNs,
    /// Current time, for display.
    pub unix: UnixNs,
}

/// Leadership as system 2 reports it: an instance that leads any venue is the leader.
struct Leadership {
    is_leader: bool,
    leader: String,
    host: String,
}

impl Health<'_> {
    /// `degraded` if no price is fresh, no fresh price was pushed, an exchange has no fresh price, or a circuit breaker
    /// is open; `at_capacity` above four fifths of the streams; otherwise `healthy`.
    #[must_use]
    pub fn status(&self) -> &'static str {
        let is_lost = |at: usize| self.is_missing(at) || self.has_open_breaker(at);
        if !self.best().is_some_and(Origin::is_pushed) || self.on().any(is_lost) {
            DEGRADED
        } else if self.streams() > self.streams_high() {
            "at_capacity"
        } else {
            "healthy"
        }
    }

    /// Whether there is a fresh price to serve.
    #[must_use]
    pub(crate) fn is_ready(&self) -> bool {
        self.best().is_some()
    }

    /// The best origin of a fresh price.
    fn best(&self) -> Option<Origin> {
        self.known.iter().filter_map(|known| known.level).min()
    }

    /// Level of service over all venues: that of the fresh prices, or else of the last known values.
    #[must_use]
    pub fn level(&self) -> &'static str {
        let cached = || self.known.iter().filter_map(|known| known.cached).min();
        self.best().or_else(cached).map_or(DEGRADED, Origin::word)
    }

    fn streams(&self) -> u64 {
        self.board.gateway_sum(|g| &g.clients.sse)
    }

    /// Four fifths, as 8,000 of 10,000 in system 2.
    const fn streams_high(&self) -> u64 {
        self.streams_max * 4 / 5
    }

    /// Milliseconds since a `MonoNs` of this process.
    fn ago_ms(&self, at: u64) -> u64 {
        self.now.since(MonoNs(at)) / MS
    }

    /// Indices of the venues that are switched on; others are not reported.
    pub(super) fn on(&self) -> impl Iterator<Item = usize> + Clone {
        self.directory.venues_on().map(|(id, _)| id.index())
    }

    fn gauges(&self) -> impl Iterator<Item = &VenueGauges> + Clone {
        self.on().map(|at| &self.board.venues[at])
    }

    /// State of the order books of the venue with index `at`.
    #[must_use]
    pub fn books(&self, at: usize) -> KnownBooks {
        self.books.get(at).copied().unwrap_or_default()
    }

    fn known(&self, at: usize) -> Known {
        self.known.get(at).copied().unwrap_or_default()
    }

    /// Whether the venue with index `at` quotes instruments but has no fresh price.
    fn is_missing(&self, at: usize) -> bool {
        self.known(at).fresh == 0 && self.directory.quoted_by(VenueId(at as u16)).next().is_some()
    }

    fn has_open_breaker(&self, at: usize) -> bool {
        self.board.venues[at].dial.breaker.state() == BreakerState::Open
    }

    /// Names of the venues for which `holds` is true.
    fn names(&self, holds: impl Fn(usize) -> bool) -> String {
        let venues = self.directory.venues();
        self.on().filter(|at| holds(*at)).map(|at| venues[at].name.as_str()).collect::<Vec<_>>().join(", ")
    }

    /// Present problems, as text.
    #[must_use]
    pub fn alerts(&self) -> Vec<String> {
        let mut alerts = Vec::new();
        if let Some(since) = self.board.cut_off.since() {
            let seconds = self.now.since(since) / SECOND;
            alerts.push(format!(
                "No exchange answers for {seconds} s: the network line of this machine seems to be down"
            ));
        }
        match self.best() {
            None => alerts.push("No fresh price from any exchange".to_owned()),
            Some(best) if !best.is_pushed() => {
                let names = self.names(|at| self.known(at).level.is_some());
                alerts.push(format!("Prices are only those of level {}: {names}", best.word()));
            }
            Some(_) => {}
        }
        if self.on().any(|at| self.has_open_breaker(at)) {
            let names = self.names(|at| self.has_open_breaker(at));
            alerts.push(format!("WebSocket circuit breaker is OPEN: {names}"));
        }
        for at in self.on() {
            alerts.extend(self.venue_alert(at));
            alerts.extend(self.lines_alert(at));
            alerts.extend(self.missing_alert(at));
            alerts.extend(self.checksum_alert(at));
            alerts.extend(self.unreadable_alert(at));
            alerts.extend(self.old_alert(at));
            alerts.extend(self.late_alert(at));
            alerts.extend(self.quarantine_alert(at));
            alerts.extend(self.books_alert(at));
        }
        alerts.extend(self.clock_alert());
        if self.errors() > 3 {
            let names = self.names(|at| self.board.venues[at].dial.consecutive_errors.value() > 3);
            alerts.push(format!("High error rate: {} consecutive errors: {names}", self.errors()));
        }
        if let Some(mistakes) = self.board.reload.mistakes() {
            let first = mistakes.first().map_or("", String::as_str);
            alerts.push(format!("The configuration file was refused: {first}{}", and_more(mistakes.len() as u64)));
        }
        if let Some(cluster) = &self.board.cluster
            && cluster.redis() != RedisState::Joined
        {
            alerts.push("Redis price distribution is unhealthy".to_owned());
            let why = cluster.last_error.load_full().map(|text| format!(": {text}")).unwrap_or_default();
            alerts.push(format!("Redis is {}{why}", cluster.redis().word()));
        }
        if let Some(other) = self.board.cluster.as_ref().and_then(|cluster| cluster.foreign(self.now)) {
            alerts.push(format!("Another cluster publishes on our channels in Redis: {other}; it is ignored"));
        }
        let connections = self.board.gateway_sum(|g| &g.clients.connections);
        if self.streams() > self.streams_high() || connections > self.clients_max.saturating_mul(4) / 5 {
            alerts.push("Server approaching capacity".to_owned());
        }
        alerts
    }

    /// Problem with the connection to a venue.
    fn venue_alert(&self, at: usize) -> Option<String> {
        let (name, gauges) = (&self.directory.venues()[at].name, &self.board.venues[at]);
        match gauges.connection.state() {
            LinkState::Connected if self.is_missing(at) => Some(format!("Exchange {name} gives no fresh price")),
            LinkState::Connected => None,
            // Another instance is connected, so only its prices matter.
            LinkState::Standby if self.known(at).fresh > 0 => None,
            LinkState::Standby => Some(match self.leader(at) {
                Some(leader) => format!("Exchange {name} has no fresh price from its leader {leader}"),
                None => format!("Exchange {name} has no leader"),
            }),
            state => {
                let why = gauges.connection.last_error().map(|text| format!(": {text}")).unwrap_or_default();
                Some(format!("Exchange {name} is {}{why}{}", state.word(), self.next(gauges)))
            }
        }
    }

    /// When a lost connection will be retried, in brackets; empty during an attempt.
    fn next(&self, gauges: &VenueGauges) -> String {
        let in_s = match gauges.dial.next_attempt.value() {
            0 => None,
            at => Some(format!("next attempt in {} s", MonoNs(at).since(self.now).div_ceil(SECOND))),
        };
        let breaker = (gauges.dial.breaker.state() == BreakerState::Open).then(|| "circuit breaker open".to_owned());
        let parts: Vec<String> = breaker.into_iter().chain(in_s).collect();
        if parts.is_empty() { String::new() } else { format!(" ({})", parts.join(", ")) }
    }

    /// Reports that only some of the venue's connections are open.
    fn lines_alert(&self, at: usize) -> Option<String> {
        let (name, gauges) = (&self.directory.venues()[at].name, &self.board.venues[at]);
        let (open, wanted) = (gauges.connection.open.value(), gauges.connection.wanted.value());
        (open > 0 && open < wanted)
            .then(|| format!("Exchange {name} has {open} of {wanted} connections{}", self.next(gauges)))
    }

    /// Reports pairs whose checksum fails repeatedly, which means that their books differ from the venue's.
    fn checksum_alert(&self, at: usize) -> Option<String> {
        let pairs = self.failing_pairs(at, |gauges| &gauges.coverage.checksum)?;
        Some(format!("Checksum fails repeatedly: {pairs}"))
    }

    /// Reports pairs whose frames repeatedly cannot be read, so that their prices are unknown.
    fn unreadable_alert(&self, at: usize) -> Option<String> {
        let pairs = self.failing_pairs(at, |gauges| &gauges.coverage.unreadable)?;
        Some(format!("Frames repeatedly cannot be read: {pairs}"))
    }

    /// The pairs of a venue that `read` counts, for prices and for order books: the name of one, and how many more.
    fn failing_pairs(&self, at: usize, read: fn(&VenueGauges) -> &FaultyPairs) -> Option<String> {
        let name = &self.directory.venues()[at].name;
        let both = [&self.board.venues[at], &self.board.books[at]].map(read);
        let count: u64 = both.iter().map(|faulty| faulty.pairs.value()).sum();
        let faulty = both.iter().find(|faulty| faulty.pairs.value() > 0)?;
        Some(format!("{name} {}{}", self.symbol(faulty.one.value()), and_more(count)))
    }

    /// The instrument with this index in the directory.
    fn symbol(&self, index: u64) -> &str {
        self.directory.instruments().get(index as usize).map_or("", String::as_str)
    }

    /// Reports pairs that were requested but have not arrived.
    fn missing_alert(&self, at: usize) -> Option<String> {
        let (name, gauges) = (&self.directory.venues()[at].name, &self.board.venues[at]);
        let count = gauges.coverage.missing.pairs.value();
        if count == 0 {
            return None;
        }
        let one = self.symbol(gauges.coverage.missing.one.value());
        Some(format!("Not subscribed: {name} {one} gives no price{}", and_more(count)))
    }

    /// Reports missing order books of a venue whose prices arrive. Prices and alerts do not need books, so the status
    /// does not change.
    fn books_alert(&self, at: usize) -> Option<String> {
        let (name, gauges) = (&self.directory.venues()[at].name, &self.board.books[at]);
        let is_wanted = self.books(at).wanted > 0 && self.board.venues[at].connection.state() == LinkState::Connected;
        let (open, wanted) = (gauges.connection.open.value(), gauges.connection.wanted.value());
        let missing = gauges.coverage.missing.pairs.value();
        if !is_wanted {
            None
        } else if gauges.connection.state() != LinkState::Connected {
            let why = gauges.connection.last_error().map(|text| format!(": {text}")).unwrap_or_default();
            Some(format!("Order books of {name} are {}{why}{}", gauges.connection.state().word(), self.next(gauges)))
        } else if open > 0 && open < wanted {
            Some(format!("Order books of {name} have {open} of {wanted} connections{}", self.next(gauges)))
        } else if missing > 0 {
            let one = self.symbol(gauges.coverage.missing.one.value());
            Some(format!("Not subscribed: the order book of {name} {one} does not come{}", and_more(missing)))
        } else {
            None
        }
    }

    /// Compares our wall clock with those of the venues. If it differs from one venue, nothing is reported; if it
    /// differs from most, this machine is wrong.
    fn clock_alert(&self) -> Option<String> {
        let offset = |at: usize| self.board.venues[at].lag.clock.value();
        let mut offsets: Vec<i64> = self.on().filter_map(|at| Some(offset(at)?.0)).collect();
        offsets.sort_unstable();
        let median = *offsets.get(offsets.len() / 2)?;
        if offsets.len() < 2 || median.unsigned_abs() < CLOCK_WRONG_NS {
            return None;
        }
        let (seconds, word) = (median.unsigned_abs() as f64 / 1e9, if median > 0 { "ahead of" } else { "behind" });
        let is_off = |at: usize| offset(at).is_some_and(|(ns, _)| ns.unsigned_abs() >= CLOCK_WRONG_NS);
        let (count, names) = (offsets.len(), self.names(is_off));
        Some(format!("Clock suspect: this machine is {seconds:.1} s {word} {count} exchanges: {names}"))
    }

    /// Reports prices that are old although the connection is open.
    fn old_alert(&self, at: usize) -> Option<String> {
        let known = self.known(at);
        let is_open = matches!(self.board.venues[at].connection.state(), LinkState::Connected | LinkState::Standby);
        if known.old == 0 || !is_open {
            return None;
        }
        let (venue, symbol) = (&self.directory.venues()[at].name, self.directory.symbol(known.oldest));
        let (seconds, others) = (known.oldest_ns / SECOND, and_more(known.old));
        Some(format!("Price stale for more than 1 minute: {venue} {symbol} ({seconds} s){others}"))
    }

    /// Alert that the quotes of the venue with index `at` are late by their timestamps.
    fn late_alert(&self, at: usize) -> Option<String> {
        let (name, lag_ns) = (&self.directory.venues()[at].name, self.board.venues[at].lag.lag_ns.value());
        (lag_ns > LATE_NS).then(|| {
            let seconds = lag_ns as f64 / 1e9;
            format!(
                "Exchange {name} is {seconds:.1} s late by its stamps, or its clock is wrong: no alert of its quotes"
            )
        })
    }

    /// Alert that the venue with index `at` is quarantined, with its faults.
    fn quarantine_alert(&self, at: usize) -> Option<String> {
        let (name, score) = (&self.directory.venues()[at].name, &self.board.scores[at]);
        score.quarantined_since()?;
        let faults: Vec<String> =
            score.parts().filter(|(_, n)| *n > 0).map(|(part, n)| format!("{part} {n}")).collect();
        let faults = if faults.is_empty() { "none lately".to_owned() } else { faults.join(", ") };
        Some(format!(
            "Exchange {name} is quarantined, no alert of its quotes: feed score {} (faults: {faults})",
            score.score()
        ))
    }

    /// The most consecutive failures of any venue.
    fn errors(&self) -> u64 {
        self.gauges().map(|v| v.dial.consecutive_errors.value()).max().unwrap_or(0)
    }

    /// The body of `/readyz`: whether a fresh price can be served, and present problems.
    #[must_use]
    pub(crate) fn ready_text(&self) -> Vec<u8> {
        object(|root| {
            root.boolean("ready", self.is_ready()).text("level", self.level()).texts("alerts", self.alerts());
        })
    }

    /// The body of `/api/market-data/health`. The fields of system 2 come first; `venues` and later ones are additions.
    #[must_use]
    pub fn text(&self) -> Vec<u8> {
        let streams = self.streams();
        let pairs = &self.stream_pairs;
        let leadership = self.leadership();
        object(|root| {
            root.text("status", self.status()).integer("timestamp", self.unix.ms());
            root.object("websocket", |o| self.upstream(o, leadership.is_leader));
            root.object("broadcasting", |o| {
                o.boolean("initialized", true);
                o.text(
                    "role",
                    if leadership.is_leader { ClusterRole::Leader.word() } else { ClusterRole::Follower.word() },
                );
                o.integer("activeSubscriptions", pairs.len() as u64).texts("subscribedPairs", pairs);
                o.object("recovery", |r| self.recovery(r, "oldestCachedPrice"));
            });
            root.object("errorRecovery", |o| self.recovery(o, "oldestCachedPriceMs"));
            root.object("leadership", |o| {
                o.boolean("isLeader", leadership.is_leader).text("currentLeader", &leadership.leader);
                o.text("leaderHostname", &leadership.host);
            });
            root.object("scaling", |o| {
                o.integer("activeConnections", streams).text("recommendation", self.recommendation());
                let full = self.streams_max.max(1);
                o.integer("capacityPercentage", (streams * 100 + full / 2) / full);
            });
            root.texts("alerts", self.alerts());
            array(self.on(), root.key("venues"), |at, out| self.venue(at, out));
            root.text("level", self.level());
            self.line(root);
            self.cluster(root);
        })
    }

    fn recommendation(&self) -> &'static str {
        let streams = self.streams();
        if streams > self.streams_high() {
            "SCALE_UP_REQUIRED"
        } else if streams > self.streams_max / 2 {
            "MONITOR_CAPACITY"
        } else {
            "HEALTHY"
        }
    }

    fn upstream(&self, o: &mut Object<'_>, is_leader: bool) {
        let venues = self.gauges();
        let best = venues.clone().map(|v| v.connection.state()).max_by_key(|s| s.rank()).unwrap_or_default();
        // System 2 has no word for a venue to which another instance is connected.
        let best = if best == LinkState::Standby { LinkState::Idle } else { best };
        let since = venues.clone().map(|v| v.connection.since.value()).filter(|t| *t > 0).min();
        let uptime = since.map_or(0, |t| self.ago_ms(t));
        o.text("state", best.word()).boolean("isLeader", is_leader).integer("uptime", uptime);
        o.integer("connectionAttempts", venues.clone().map(|v| v.dial.attempts.value()).sum());
        o.integer("consecutiveErrors", self.errors());
        o.integer("subscribedPairs", venues.clone().map(|v| v.coverage.subscribed.value()).sum());
        o.integer("totalSubscribers", self.streams() + self.board.gateway_sum(|g| &g.clients.websocket));
        // The worst of all venues.
        let key = |b: &&BreakerGauges| (b.state(), b.failures.value(), b.last_failure.value());
        o.object("circuitBreaker", |o| match venues.map(|v| &v.dial.breaker).max_by_key(key) {
            Some(breaker) => self.breaker(o, breaker),
            None => self.breaker(o, &BreakerGauges::default()),
        });
    }

    /// The four fields of system 2.
    fn breaker(&self, o: &mut Object<'_>, breaker: &BreakerGauges) {
        o.text("state", breaker.state().word()).integer("failureCount", breaker.failures.value());
        o.integer("successCount", breaker.successes.value());
        let last = breaker.last_failure.value();
        o.integer("timeSinceLastFailure", if last == 0 { 0 } else { self.ago_ms(last) });
    }

    /// The same, with the reason of the last opening and the time until the next attempt.
    fn whole_breaker(&self, o: &mut Object<'_>, breaker: &BreakerGauges) {
        self.breaker(o, breaker);
        match breaker.reason() {
            Some(reason) => o.text("reason", &reason),
            None => o.null("reason"),
        };
        match breaker.until.value() {
            0 => o.null("retryInMs"),
            until => o.integer("retryInMs", MonoNs(until).since(self.now) / MS),
        };
    }

    /// Known pairs with the age of the oldest, and whether Redis answers. Without a configured Redis, `redisHealthy` is
    /// false, but there is no alert.
    fn recovery(&self, o: &mut Object<'_>, oldest: &str) {
        let held = self.known.iter().map(|known| known.held).sum();
        let is_healthy = self.board.cluster.as_ref().is_some_and(|c| c.redis() == RedisState::Joined);
        o.integer("localCacheSize", held).boolean("redisHealthy", is_healthy);
        match self.known.iter().filter(|known| known.held > 0).map(|known| known.oldest_ns).max() {
            Some(ns) => o.integer(oldest, ns / MS),
            None => o.null(oldest),
        };
    }

    /// The leader of the venue with index `at`, if known.
    fn leader(&self, at: usize) -> Option<String> {
        let leader = self.board.cluster.as_ref()?.venues.get(at)?.leader.load_full()?;
        Some(leader.as_ref().clone())
    }

    /// Without a cluster, an instance is its own leader. An instance that is cut off has no leader role.
    fn leadership(&self) -> Leadership {
        let own =
            |is_leader| Leadership { is_leader, leader: self.instance.to_owned(), host: self.hostname.to_owned() };
        let Some(cluster) = &self.board.cluster else { return own(true) };
        if (0..cluster.venues.len()).any(|at| cluster.role(at) == ClusterRole::Leader) {
            return Leadership { leader: cluster.instance.clone(), ..own(true) };
        }
        let known = cluster.venues.iter().find_map(|venue| Some((venue.leader.load_full()?, venue)));
        let unknown = || "unknown".to_owned();
        match known {
            Some((leader, venue)) => Leadership {
                is_leader: false,
                host: venue.leader_host.load_full().map_or_else(unknown, |host| host.as_ref().clone()),
                leader: leader.as_ref().clone(),
            },
            None => Leadership { is_leader: false, leader: unknown(), host: unknown() },
        }
    }

    fn venue(&self, at: usize, out: &mut Vec<u8>) {
        let (entry, gauges) = (&self.directory.venues()[at], &self.board.venues[at]);
        let mut o = Object::open(out);
        o.text("exchange", &entry.name).text("state", gauges.connection.state().word());
        match self.board.source_of(at) {
            Some(source) => o.text("source", Source::from_u8(source).word()),
            None => o.null("source"),
        };
        o.integer("freshPairs", self.known(at).fresh);
        o.integer("subscribedPairs", gauges.coverage.subscribed.value());
        o.integer("silentPairs", gauges.silence.pairs.value())
            .integer("missingPairs", gauges.coverage.missing.pairs.value());
        o.integer("connections", gauges.connection.open.value());
        o.integer("connectionsWanted", gauges.connection.wanted.value());
        match gauges.replies.last_notice() {
            Some(text) => o.text("lastNotice", &text),
            None => o.null("lastNotice"),
        };
        match gauges.read.last_bytes.value() {
            0 => o.null("lastBytesMs"),
            at => o.integer("lastBytesMs", self.ago_ms(at)),
        };
        o.integer("connectionAttempts", gauges.dial.attempts.value());
        o.integer("consecutiveErrors", gauges.dial.consecutive_errors.value());
        match gauges.connection.last_error() {
            Some(text) => o.text("lastError", &text),
            None => o.null("lastError"),
        };
        self.standing(at, &mut o);
        o.close();
    }

    /// How the venue with index `at` is served: level, circuit breaker, and role in the cluster if there is one.
    pub(super) fn standing(&self, at: usize, o: &mut Object<'_>) {
        self.venue_books(at, o);
        let gauges = &self.board.venues[at];
        o.text("level", self.known(at).level());
        // These members are present only while the state lasts.
        if gauges.lag.lag_ns.value() > 0 {
            milliseconds(o, "quoteLagMs", gauges.lag.lag_ns.value());
        }
        if gauges.backlog.behind.value() > 0 {
            o.boolean("behind", true);
        }
        if let Some(since) = self.board.scores[at].quarantined_since() {
            o.integer("quarantinedMs", self.now.since(since) / MS);
        }
        match gauges.dial.next_attempt.value() {
            0 => o.null("nextAttemptMs"),
            next => o.integer("nextAttemptMs", MonoNs(next).since(self.now) / MS),
        };
        o.object("circuitBreaker", |o| self.whole_breaker(o, &gauges.dial.breaker));
        let Some(cluster) = &self.board.cluster else { return };
        let Some(venue) = cluster.venues.get(at) else { return };
        o.text("role", cluster.role(at).word());
        for (name, text) in [("leader", &venue.leader), ("leaderHostname", &venue.leader_host)] {
            match text.load_full() {
                Some(text) => o.text(name, &text),
                None => o.null(name),
            };
        }
        o.integer("token", venue.token.value());
        milliseconds(o, "lagMs", venue.lag_ns.value());
        match venue.last_batch.value() {
            0 => o.null("lastBatchMs"),
            at => o.integer("lastBatchMs", self.ago_ms(at)),
        };
    }

    /// The member `books`: `null` if no books are requested.
    fn venue_books(&self, at: usize, o: &mut Object<'_>) {
        let (known, gauges) = (self.books(at), &self.board.books[at]);
        if known.wanted == 0 {
            o.null("books");
            return;
        }
        o.object("books", |o| {
            o.text("state", gauges.connection.state().word())
                .integer("wanted", known.wanted)
                .integer("live", known.live);
            match known.live {
                0 => o.null("oldestMs"),
                _ => o.integer("oldestMs", known.oldest_ns / MS),
            };
            match gauges.read.last_bytes.value() {
                0 => o.null("lastBytesMs"),
                at => o.integer("lastBytesMs", self.ago_ms(at)),
            };
            o.integer("connections", gauges.connection.open.value());
            o.integer("connectionsWanted", gauges.connection.wanted.value());
            o.integer("reconnects", gauges.connection.connects.value().saturating_sub(1));
            o.integer("changes", gauges.quotes.decoded.value()).integer("frames", gauges.read.frames.value());
            o.integer("bytes", gauges.read.bytes.value());
            o.counts("voids", &gauges.voids);
            o.counts("decodeErrors", &gauges.read.decode_errors);
            match gauges.connection.last_error() {
                Some(text) => o.text("lastError", &text),
                None => o.null("lastError"),
            };
        });
    }

    /// The member `ownLineDownMs`: how long no exchange has answered; `null` while any answers.
    pub(super) fn line(&self, root: &mut Object<'_>) {
        match self.board.cut_off.since() {
            Some(since) => root.integer("ownLineDownMs", self.now.since(since) / MS),
            None => root.null("ownLineDownMs"),
        };
    }

    /// The member `cluster`: `null` without one.
    pub(super) fn cluster(&self, root: &mut Object<'_>) {
        match &self.board.cluster {
            Some(cluster) => root.object("cluster", |o| self.membership(o, cluster)),
            None => root.null("cluster"),
        };
    }

    fn membership(&self, o: &mut Object<'_>, cluster: &ClusterBoard) {
        o.text("instance", &cluster.instance).text("redis", cluster.redis().word());
        match cluster.redis_since.value() {
            0 => o.null("redisSinceMs"),
            at => o.integer("redisSinceMs", self.ago_ms(at)),
        };
        milliseconds(o, "roundTripMs", cluster.round_trip_ns.value());
        o.object("circuitBreaker", |o| self.whole_breaker(o, &cluster.breaker));
        match cluster.last_error.load_full() {
            Some(text) => o.text("lastError", &text),
            None => o.null("lastError"),
        };
        o.texts("members", cluster.members.load_full().iter().flat_map(|members| members.iter()));
        let leads = self.directory.venues_on().filter(|(id, _)| cluster.role(id.index()) == ClusterRole::Leader);
        o.texts("leads", leads.map(|(_, venue)| &venue.name));
    }
}

/// ` and n more`, if `count` pairs are affected and one was named.
fn and_more(count: u64) -> String {
    if count > 1 { format!(" and {} more", count - 1) } else { String::new() }
}

/// Nanoseconds as milliseconds with three decimals.
fn milliseconds(o: &mut Object<'_>, name: &str, ns: u64) {
    float((ns / 1000) as f64 / 1000.0, o.key(name));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::market::Decimal;
    use crate::market::book::BookVoid;
    use crate::market::directory::VenueEntry;
    use crate::metrics::reasons::{Reason, ScorePart};
    use serde_json::{Value, json};
    use std::sync::Arc;

    const NOW: MonoNs = MonoNs(1000 * SECOND);

    /// Two connected venues, each with a fresh price from its own connection.
    struct Case {
        board: Board,
        directory: Directory,
        known: Vec<Known>,
        books: Vec<KnownBooks>,
    }

    fn fresh(origin: Origin) -> Known {
        let mut known = Known::default();
        known.add(InstrumentId(0), origin, 250 * MS, true, false);
        known
    }

    impl Case {
        fn new() -> Self {
            let venue = |name: &str| VenueEntry {
                name: name.into(),
                taker_fee_pct: Decimal::ZERO,
                native: vec![Some("BTCUSDT".into()), Some("ETHUSDT".into())],
            };
            let symbols = ["BTC/USDT", "ETH/USDT"].map(str::to_owned).to_vec();
            let board = Board::new(MonoNs(0), 2, 1);
            board.venues.iter().for_each(|venue| venue.connection.set_state(LinkState::Connected, NOW));
            let directory = Directory::new(symbols, vec![venue("binance"), venue("okx")]);
            Self { board, directory, known: vec![fresh(Origin::Own); 2], books: vec![KnownBooks::default(); 2] }
        }

        /// The same in a cluster with a working Redis.
        fn in_cluster() -> Self {
            let mut case = Self::new();
            let cluster = ClusterBoard::new("a_1_2".to_owned(), 2);
            cluster.redis.set(RedisState::Joined as u64);
            case.board.cluster = Some(cluster);
            case
        }

        /// Makes `b` the leader of the venue with index `at`; this instance is not connected to it.
        fn follow(&mut self, at: usize, origin: Option<Origin>) {
            self.board.venues[at].connection.set_state(LinkState::Standby, NOW);
            self.known[at] = origin.map(fresh).unwrap_or_default();
            let venue = &self.board.cluster.as_ref().unwrap().venues[at];
            venue.leader.store(Some(Arc::new("b_3_4".to_owned())));
            venue.leader_host.store(Some(Arc::new("b".to_owned())));
            venue.token.set(7);
            venue.lag_ns.set(420_000);
        }

        fn lead(&self, at: usize) {
            self.board.cluster.as_ref().unwrap().venues[at].role.set(ClusterRole::Leader as u64);
        }

        fn health(&self) -> Health<'_> {
            Health {
                board: &self.board,
                directory: &self.directory,
                known: &self.known,
                books: &self.books,
                stream_pairs: Vec::new(),
                streams_max: 10_000,
                clients_max: 19_500,
                instance: "a_1_2",
                hostname: "a",
                now: NOW,
                unix: UnixNs::from_ms(1),
            }
        }

        fn value(&self) -> Value {
            serde_json::from_slice(&self.health().text()).unwrap()
        }

        #[track_caller]
        fn check(&self, status: &str, is_ready: bool, level: &str, alerts: &[&str]) {
            let health = self.health();
            assert_eq!((health.status(), health.is_ready(), health.level()), (status, is_ready, level));
            assert_eq!(health.alerts(), alerts);
            assert_eq!((&self.value()["status"], &self.value()["level"]), (&json!(status), &json!(level)));
        }
    }

    #[test]
    fn health_is_what_can_be_served_whatever_the_sockets_say() {
        let mut case = Case::new();
        case.check("healthy", true, "websocket", &[]);
        case.known[0] = Known::default();
        let binance = "Exchange binance gives no fresh price";
        case.check("degraded", true, "websocket", &[binance]);
        case.known[1] = Known::default();
        let all = ["No fresh price from any exchange", binance, "Exchange okx gives no fresh price"];
        case.check("degraded", false, "degraded", &all);
    }

    #[test]
    fn one_of_three_venues_left_is_degraded_and_the_others_are_named() {
        let mut case = Case::new();
        for (at, why) in [(0, "connect: refused"), (1, "silent")] {
            case.known[at] = Known::default();
            case.board.venues[at].connection.set_state(LinkState::Backoff, NOW);
            case.board.venues[at].connection.set_last_error(why);
        }
        case.board.venues[1].dial.next_attempt.set(NOW.0 + 2500 * MS);
        case.known[0] = fresh(Origin::Own);
        case.board.venues[0].connection.set_state(LinkState::Connected, NOW);
        case.check("degraded", true, "websocket", &["Exchange okx is reconnecting: silent (next attempt in 3 s)"]);
        assert_eq!(case.value()["venues"][1]["nextAttemptMs"], 2500);
        assert_eq!(case.value()["venues"][0]["nextAttemptMs"], Value::Null);
    }

    #[test]
    fn our_own_line_a_refused_file_and_checksums_are_told() {
        let case = Case::new();
        case.board.cut_off.begin(MonoNs(NOW.0 - 31 * SECOND));
        case.board.reload.set_mistakes(&["a.toml:3: no".to_owned(), "a.toml:4: no".to_owned()]);
        case.board.venues[0].coverage.checksum.pairs.set(1);
        case.board.books[1].coverage.checksum.pairs.set(2);
        case.board.books[1].coverage.checksum.one.set(1);
        case.board.venues[1].coverage.unreadable.pairs.set(1);
        let alerts = [
            "No exchange answers for 31 s: the network line of this machine seems to be down",
            "Checksum fails repeatedly: binance BTC/USDT",
            "Checksum fails repeatedly: okx ETH/USDT and 1 more",
            "Frames repeatedly cannot be read: okx BTC/USDT",
            "The configuration file was refused: a.toml:3: no and 1 more",
        ];
        case.check("healthy", true, "websocket", &alerts);
        assert_eq!(case.value()["ownLineDownMs"], 31_000);
        case.board.reload.set_mistakes(&[]);
        case.board.cut_off.end();
        assert_eq!(case.health().alerts(), alerts[1..4]);
    }

    #[test]
    fn a_venue_whose_quotes_are_late_is_named_with_its_lag() {
        let case = Case::new();
        case.board.venues[1].lag.lag_ns.set(300 * MS);
        case.check("healthy", true, "websocket", &[]);
        case.board.venues[1].lag.lag_ns.set(30_040 * MS);
        case.board.venues[0].backlog.behind.set(1);
        let alert = "Exchange okx is 30.0 s late by its stamps, or its clock is wrong: no alert of its quotes";
        case.check("healthy", true, "websocket", &[alert]);
        let venues = &case.value()["venues"];
        assert_eq!((&venues[1]["quoteLagMs"], &venues[1]["behind"]), (&json!(30_040), &Value::Null));
        assert_eq!((&venues[0]["quoteLagMs"], &venues[0]["behind"]), (&Value::Null, &json!(true)));
    }

    #[test]
    fn a_quarantined_venue_is_named_with_its_score_and_its_faults() {
        let case = Case::new();
        let mut points = [0; ScorePart::ALL.len()];
        (points[ScorePart::Gaps.index()], points[ScorePart::Lost.index()]) = (41, 20);
        case.board.scores[1].set(points);
        case.check("healthy", true, "websocket", &[]);
        case.board.scores[1].set_quarantined(Some(NOW));
        let alert = "Exchange okx is quarantined, no alert of its quotes: feed score 39 (faults: gaps 41, lost 20)";
        case.check("healthy", true, "websocket", &[alert]);
        let venues = &case.value()["venues"];
        assert_eq!((&venues[0]["quarantinedMs"], &venues[1]["quarantinedMs"]), (&Value::Null, &json!(0)));
    }

    #[test]
    fn the_level_is_that_of_the_best_fresh_price_and_below_the_leaders_it_is_degraded() {
        let mut case = Case::new();
        case.known = vec![fresh(Origin::Redis), fresh(Origin::Shared)];
        case.check("healthy", true, "shared", &[]);
        case.known[1] = Known::default();
        let okx = "Exchange okx gives no fresh price";
        case.check("degraded", true, "redis_cache", &["Prices are only those of level redis_cache: binance", okx]);
        case.known[0] = Known::default();
        case.known[0].add(InstrumentId(0), Origin::Disk, 90 * SECOND, false, true);
        let old = "Price stale for more than 1 minute: binance BTC/USDT (90 s)";
        let binance = "Exchange binance gives no fresh price";
        case.check("degraded", false, "local_cache", &["No fresh price from any exchange", binance, old, okx]);
    }

    #[test]
    fn what_is_held_and_its_oldest_age_are_told() {
        let mut case = Case::new();
        case.known[1].add(InstrumentId(1), Origin::Own, 75_400 * MS, false, false);
        let value = case.value();
        assert_eq!(
            value["errorRecovery"],
            json!({"localCacheSize":3,"redisHealthy":false,"oldestCachedPriceMs":75400})
        );
        assert_eq!(value["broadcasting"]["recovery"]["oldestCachedPrice"], 75400);
        assert_eq!(value["alerts"], json!(["Price stale for more than 1 minute: okx ETH/USDT (75 s)"]));
        case.known = vec![Known::default(); 2];
        assert_eq!(case.value()["errorRecovery"]["oldestCachedPriceMs"], Value::Null);
    }

    #[test]
    fn an_open_breaker_is_told_and_does_not_blind_us() {
        let case = Case::new();
        let okx = &case.board.venues[1];
        okx.connection.set_state(LinkState::Backoff, NOW);
        okx.connection.set_last_error("connect: refused");
        okx.dial.consecutive_errors.set(6);
        okx.dial.breaker.set_state(BreakerState::Open);
        okx.dial.breaker.count_opened("connect: refused");
        okx.dial.breaker.failures.set(6);
        okx.dial.breaker.last_failure.set(NOW.0 - 2500 * MS);
        okx.dial.breaker.until.set(NOW.0 + 57 * SECOND + 1);
        okx.dial.next_attempt.set(NOW.0 + 57 * SECOND + 1);
        case.check(
            "degraded",
            true,
            "websocket",
            &[
                "WebSocket circuit breaker is OPEN: okx",
                "Exchange okx is reconnecting: connect: refused (circuit breaker open, next attempt in 58 s)",
                "High error rate: 6 consecutive errors: okx",
            ],
        );
        let value = case.value();
        let breaker = json!({"state":"open","failureCount":6,"successCount":0,"timeSinceLastFailure":2500});
        assert_eq!(value["websocket"]["circuitBreaker"], breaker, "the worst of them");
        assert_eq!(value["venues"][0]["circuitBreaker"]["state"], "closed");
        assert_eq!(value["venues"][1]["circuitBreaker"]["reason"], "connect: refused");
        assert_eq!(value["venues"][1]["circuitBreaker"]["retryInMs"], 57000);
    }

    #[test]
    fn capacity_is_by_open_streams() {
        let case = Case::new();
        for (streams, status, word, percent) in [
            (5000, "healthy", "HEALTHY", 50),
            (5001, "healthy", "MONITOR_CAPACITY", 50),
            (8000, "healthy", "MONITOR_CAPACITY", 80),
            (8001, "at_capacity", "SCALE_UP_REQUIRED", 80),
        ] {
            case.board.gateways[0].clients.sse.set(streams);
            let value = case.value();
            assert_eq!(value["status"], status);
            let scaling = json!({"activeConnections": streams, "recommendation": word, "capacityPercentage": percent});
            assert_eq!(value["scaling"], scaling);
            let is_told = value["alerts"].as_array().unwrap().contains(&json!("Server approaching capacity"));
            assert_eq!(is_told, streams > 8000);
        }
    }

    #[test]
    fn a_venue_that_another_instance_leads_is_fine_while_its_prices_are_fresh() {
        let mut case = Case::in_cluster();
        case.lead(0);
        case.follow(1, Some(Origin::Shared));
        case.check("healthy", true, "websocket", &[]);
        let value = case.value();
        assert_eq!(value["leadership"], json!({"isLeader":true,"currentLeader":"a_1_2","leaderHostname":"a"}));
        assert_eq!((&value["broadcasting"]["role"], &value["websocket"]["isLeader"]), (&json!("leader"), &json!(true)));
        let okx = &value["venues"][1];
        assert_eq!(
            (&okx["state"], &okx["level"], &okx["role"]),
            (&json!("standby"), &json!("shared"), &json!("follower"))
        );
        assert_eq!((&okx["leader"], &okx["token"], &okx["lagMs"]), (&json!("b_3_4"), &json!(7), &json!(0.42)));
        assert_eq!(value["cluster"]["leads"], json!(["binance"]));
        case.follow(1, None);
        case.check("degraded", true, "websocket", &["Exchange okx has no fresh price from its leader b_3_4"]);
        case.board.cluster.as_ref().unwrap().venues[1].leader.store(None);
        case.check("degraded", true, "websocket", &["Exchange okx has no leader"]);
    }

    #[test]
    fn an_instance_that_leads_nothing_is_a_follower_and_names_its_leader() {
        let mut case = Case::in_cluster();
        case.follow(0, Some(Origin::Shared));
        case.follow(1, Some(Origin::Shared));
        case.check("healthy", true, "shared", &[]);
        let value = case.value();
        assert_eq!(value["leadership"], json!({"isLeader":false,"currentLeader":"b_3_4","leaderHostname":"b"}));
        assert_eq!(value["broadcasting"]["role"], "follower");
        assert_eq!(value["websocket"]["state"], "disconnected", "system 2's word");
    }

    #[test]
    fn a_redis_that_does_not_answer_is_told() {
        let case = Case::in_cluster();
        let cluster = case.board.cluster.as_ref().unwrap();
        cluster.redis.set(RedisState::CutOff as u64);
        cluster.set_last_error("Redis does not answer in time");
        let alerts = ["Redis price distribution is unhealthy", "Redis is cut_off: Redis does not answer in time"];
        case.check("healthy", true, "websocket", &alerts);
        let value = case.value();
        assert_eq!(
            (&value["errorRecovery"]["redisHealthy"], &value["cluster"]["redis"]),
            (&json!(false), &json!("cut_off"))
        );
        let unknown = json!({"isLeader":false,"currentLeader":"unknown","leaderHostname":"unknown"});
        assert_eq!(value["leadership"], unknown);
    }

    #[test]
    fn pairs_that_never_came_are_told_and_so_are_connections_that_are_not_there() {
        let case = Case::new();
        let okx = &case.board.venues[1];
        okx.coverage.missing.pairs.set(3);
        okx.coverage.missing.one.set(0);
        okx.connection.wanted.set(2);
        okx.connection.open.set(1);
        okx.replies.count_notice("the server will stop");
        let symbol = case.directory.symbol(InstrumentId(0)).to_owned();
        let missing = format!("Not subscribed: okx {symbol} gives no price and 2 more");
        case.check("healthy", true, "websocket", &["Exchange okx has 1 of 2 connections", &missing]);
        let value = case.value();
        assert_eq!(value["venues"][1]["missingPairs"], 3);
        assert_eq!(value["venues"][1]["lastNotice"], "the server will stop");
    }

    #[test]
    fn order_books_that_do_not_come_are_told_and_prices_are_as_healthy_as_before() {
        let mut case = Case::new();
        assert_eq!(case.value()["venues"][1]["books"], Value::Null, "none are asked for");
        case.books[1].add(true, 250 * MS);
        case.books[1].add(false, 0);
        let okx = &case.board.books[1];
        okx.connection.set_state(LinkState::Connected, NOW);
        case.check("healthy", true, "websocket", &[]);
        okx.connection.set_state(LinkState::Backoff, NOW);
        okx.connection.set_last_error("connect: refused");
        okx.voids.add(BookVoid::Lost, 2);
        case.check("healthy", true, "websocket", &["Order books of okx are reconnecting: connect: refused"]);
        let books = &case.value()["venues"][1]["books"];
        assert_eq!((&books["wanted"], &books["live"], &books["oldestMs"]), (&json!(2), &json!(1), &json!(250)));
        assert_eq!((&books["state"], &books["voids"]["lost"]), (&json!("reconnecting"), &json!(2)));
        case.board.venues[1].connection.set_state(LinkState::Backoff, NOW);
        case.check("healthy", true, "websocket", &["Exchange okx is reconnecting"]);
    }

    #[test]
    fn a_clock_that_is_wrong_against_most_venues_is_suspect() {
        let case = Case::new();
        case.board.venues[0].lag.clock.set(-600 * SECOND as i64, MS);
        case.check("healthy", true, "websocket", &[]);
        case.board.venues[1].lag.clock.set(-599 * SECOND as i64, MS);
        let alert = "Clock suspect: this machine is 599.0 s behind 2 exchanges: binance, okx";
        case.check("healthy", true, "websocket", &[alert]);
        case.board.venues[1].lag.clock.set(MS as i64, MS);
        case.check("healthy", true, "websocket", &[]);
    }
}
