//! The fault script of a simulator: which fault, for which venue, from when, for how long. In: TOML, and the time since
//! the start. Out: the faults of each venue at that time. Pure: no clock, no socket, no file.
//!
//! An error in the text is reported in one sentence with its line, the key and what was expected.

use std::fmt;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::time::{MS, SECOND};
use crate::venues::Venue;

/// Kinds of faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FaultKind {
    /// No prices and no heartbeats. The socket stays open; requests and pings are answered.
    Silence,
    /// Closes the sockets once, without a close frame, when the fault begins.
    Cut,
    /// Sockets stay open, but nothing is read or written. New ones are accepted and never answered.
    HalfOpen,
    /// Each socket accepts at most `bytes_per_s`.
    Slow,
    /// One price frame in `one_in` is sent twice.
    Duplicate,
    /// One price frame in `one_in` is sent after the next one.
    Reorder,
    /// One price frame in `one_in` is never sent.
    Lose,
    /// Each checksum of a book is wrong. No effect on venues whose frames have no checksum.
    Checksum,
    /// Bid and ask are swapped.
    Crossed,
    /// One price frame in `one_in` is damaged: one byte of a gzip frame is flipped, other frames are cut in half.
    Damage,
    /// Closes the sockets, and answers every request with 429 and `Retry-After: retry_after_s`.
    TooManyRequests,
    /// The venue announces maintenance in its own format if it has one, and continues if the real venue does. Otherwise
    /// it closes with 1012 and answers 503.
    Maintenance,
    /// Trading in an instrument is halted. The venue reports it in its stream, if the stream can, and in its list of
    /// instruments, or only in one of them. Prices continue, as in a phase in which orders can only be cancelled.
    Halt,
    /// The venue's clock is wrong by `offset_ms`. It jumps when the fault begins and when it ends.
    Clock,
    /// The venue's clock is too fast by `ppm`. It jumps back when the fault ends.
    Drift,
    /// Frames are sent `late_ms` after their time, at the full rate and with their true timestamps.
    Lag,
    /// Closes the sockets once. On sockets that open during the fault, the first frame of each instrument has the price
    /// of `stale_ms` before the beginning.
    Reconnect,
    /// The ticker means another asset: its price is `ratio` times the usual one, and moves by itself.
    Alien,
    /// The instrument is quoted in another unit: prices times `factor`, sizes divided by it.
    Unit,
    /// Prices are `percent` above those of the other venues.
    Basis,
    /// Closes the sockets. If the fault applies to all venues, the system refuses new connections. If it applies to
    /// one, new connections are reset after their request, since all venues share one port.
    Refused,
    /// Closes the sockets, and the certificate has expired. Only for all venues, and with `--tls`.
    TlsExpired,
    /// The same with a certificate for another name.
    TlsWrongName,
}

impl FaultKind {
    /// All kinds, in the order of the documentation.
    pub const ALL: [Self; 23] = [
        Self::Silence,
        Self::Cut,
        Self::HalfOpen,
        Self::Slow,
        Self::Duplicate,
        Self::Reorder,
        Self::Lose,
        Self::Checksum,
        Self::Crossed,
        Self::Damage,
        Self::TooManyRequests,
        Self::Maintenance,
        Self::Halt,
        Self::Clock,
        Self::Drift,
        Self::Lag,
        Self::Reconnect,
        Self::Alien,
        Self::Unit,
        Self::Basis,
        Self::Refused,
        Self::TlsExpired,
        Self::TlsWrongName,
    ];

    /// The word used in scripts.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Silence => "silence",
            Self::Cut => "cut",
            Self::HalfOpen => "half_open",
            Self::Slow => "slow",
            Self::Duplicate => "duplicate",
            Self::Reorder => "reorder",
            Self::Lose => "lose",
            Self::Checksum => "checksum",
            Self::Crossed => "crossed",
            Self::Damage => "damage",
            Self::TooManyRequests => "too_many_requests",
            Self::Maintenance => "maintenance",
            Self::Halt => "halt",
            Self::Clock => "clock",
            Self::Drift => "drift",
            Self::Lag => "lag",
            Self::Reconnect => "reconnect",
            Self::Alien => "alien",
            Self::Unit => "unit",
            Self::Basis => "basis",
            Self::Refused => "refused",
            Self::TlsExpired => "tls_expired",
            Self::TlsWrongName => "tls_wrong_name",
        }
    }

    /// Whether the fault can be limited to one instrument.
    const fn is_of_instruments(self) -> bool {
        matches!(
            self,
            Self::Silence
                | Self::Duplicate
                | Self::Reorder
                | Self::Lose
                | Self::Checksum
                | Self::Crossed
                | Self::Damage
                | Self::Halt
                | Self::Alien
                | Self::Unit
                | Self::Basis
        )
    }

    /// Whether the fault changes the certificate.
    #[must_use]
    pub(crate) const fn is_of_tls(self) -> bool {
        matches!(self, Self::TlsExpired | Self::TlsWrongName)
    }

    /// The key of the kind's own figure.
    const fn own_key(self) -> Option<OwnKey> {
        match self {
            Self::Slow => Some(OwnKey::whole("bytes_per_s", 1024, 1, 1_000_000_000)),
            Self::Duplicate | Self::Reorder | Self::Lose | Self::Damage => {
                Some(OwnKey::whole("one_in", 3, 1, 1_000_000))
            }
            Self::TooManyRequests => Some(OwnKey::whole("retry_after_s", 5, 0, 86_400)),
            Self::Clock => Some(OwnKey::whole("offset_ms", -3_600_000, -DAY_MS, DAY_MS)),
            Self::Drift => Some(OwnKey::whole("ppm", 200, -200, 200)),
            Self::Lag => Some(OwnKey::whole("late_ms", 1000, 1, 60_000)),
            Self::Reconnect => Some(OwnKey::whole("stale_ms", 5000, 1, 600_000)),
            Self::Unit => Some(OwnKey::whole("factor", 1000, 2, 1_000_000)),
            Self::Alien => {
                Some(OwnKey { key: "ratio", default: 310_000, least: 1000, most: 1_000_000_000, per_one: ONE })
            }
            Self::Basis => {
                let per_one = ONE / 100;
                Some(OwnKey {
                    key: "percent",
                    default: 2 * per_one,
                    least: -50 * per_one,
                    most: 100 * per_one,
                    per_one,
                })
            }
            _ => None,
        }
    }
}

/// A key that belongs to one kind, and its figures: multiples of `1 / per_one`.
#[derive(Clone, Copy)]
struct OwnKey {
    key: &'static str,
    default: i64,
    least: i64,
    most: i64,
    per_one: i64,
}

impl OwnKey {
    const fn whole(key: &'static str, default: i64, least: i64, most: i64) -> Self {
        Self { key, default, least, most, per_one: 1 }
    }
}

/// The figures of `alien` and `basis` are millionths: of the usual price, and of the premium.
pub(crate) const ONE: i64 = 1_000_000;
const DAY_MS: i64 = 86_400_000;
/// How long a cut stays in effect, so that no turn misses it.
const CUT_NS: u64 = SECOND;
/// The longest duration in a script: one year.
const SPAN_S_MAX: f64 = 31_536_000.0;
/// Most faults in one script.
const FAULTS_MAX: usize = 1000;
/// How often the price of another asset moves by itself, in nanoseconds.
const ALIEN_STEP_NS: u64 = 250 * MS;
/// How it moves: amplitude as a fraction of its price, and period in seconds. The periods have no common multiple within
/// an hour, so that the path does not repeat.
const ALIEN_WAVES: [(f64, f64); 3] = [(0.02, 607.0), (0.004, 97.0), (0.0008, 23.0)];

/// One fault of the script.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    /// Kind of the fault.
    pub kind: FaultKind,
    /// Index of the venue; `None`: all.
    pub venue: Option<usize>,
    /// `BASE/QUOTE`; `None`: all.
    pub instrument: Option<String>,
    /// When it begins for the first time, in nanoseconds since the start.
    pub(crate) from_ns: u64,
    /// Duration of each occurrence, in nanoseconds.
    pub(crate) for_ns: u64,
    /// Interval between the beginnings, in nanoseconds; `None`: it happens once.
    pub(crate) every_ns: Option<u64>,
    /// The kind's own figure, such as `one_in` or `late_ms`, in millionths for `alien` and `basis`; of `halt`, one of
    /// [`BY_BOTH`], [`BY_LIST`] and [`BY_STREAM`]; 0 if the kind has none.
    pub figure: i64,
}

/// Where a halt is reported: in the list of instruments and in the stream.
pub(crate) const BY_BOTH: i64 = 0;
/// Only in the list of instruments.
pub(crate) const BY_LIST: i64 = 1;
/// Only in the stream.
pub(crate) const BY_STREAM: i64 = 2;

impl Fault {
    /// Whether the fault is in effect at `elapsed_ns` since the start.
    #[must_use]
    pub const fn is_on(&self, elapsed_ns: u64) -> bool {
        self.since(elapsed_ns).is_some()
    }

    /// How long it has been in effect at `elapsed_ns` since the start, in nanoseconds.
    const fn since(&self, elapsed_ns: u64) -> Option<u64> {
        let Some(mut since) = elapsed_ns.checked_sub(self.from_ns) else { return None };
        if let Some(every) = self.every_ns {
            since %= every;
        }
        if since < self.for_ns { Some(since) } else { None }
    }

    /// The figure after `since_ns` in effect: of a drift, the milliseconds by which the clock is ahead; of another asset,
    /// the ratio of its price then.
    fn figure_after(&self, since_ns: u64) -> i64 {
        match self.kind {
            FaultKind::Drift => (since_ns as i64 / 1000).saturating_mul(self.figure) / (1000 * MS as i64),
            FaultKind::Alien => {
                let seconds = (since_ns - since_ns % ALIEN_STEP_NS) as f64 / SECOND as f64;
                let wave = |(share, period): (f64, f64)| share * (seconds / period * std::f64::consts::TAU).sin();
                (self.figure as f64 * (1.0 + ALIEN_WAVES.map(wave).iter().sum::<f64>())).round() as i64
            }
            _ => self.figure,
        }
    }

    /// Whether it begins again within a time of its own figure in milliseconds.
    const fn is_soon(&self, elapsed_ns: u64) -> bool {
        let ahead_ns = elapsed_ns.saturating_add((self.figure as u64).saturating_mul(MS));
        if ahead_ns < self.from_ns {
            return false;
        }
        match self.every_ns {
            _ if elapsed_ns < self.from_ns => true,
            Some(every) => (elapsed_ns - self.from_ns) / every < (ahead_ns - self.from_ns) / every,
            None => false,
        }
    }
}

/// A complete script.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scenario {
    /// The faults in the order of the script.
    pub faults: Vec<Fault>,
}

/// Why a script cannot be used. The user's mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScenarioError {
    /// Line number, from 1.
    pub line: usize,
    /// The key as written; empty if the text is not valid TOML.
    pub key: String,
    /// What is wrong, and what was expected.
    pub what: String,
}

impl fmt::Display for ScenarioError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let between = if self.key.is_empty() { "" } else { ": " };
        write!(f, "{}: {}{between}{}", self.line, self.key, self.what)
    }
}

impl std::error::Error for ScenarioError {}

/// The faults in effect for one venue.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trouble {
    /// Kind, native symbol (`None`: all instruments) and figure of each fault.
    now: Vec<(FaultKind, Option<String>, i64)>,
}

impl Trouble {
    /// No faults.
    pub const NONE: Self = Self { now: Vec::new() };

    /// Whether there are no faults.
    #[must_use]
    pub const fn is_none(&self) -> bool {
        self.now.is_empty()
    }

    /// The figure of `kind`, if it applies to the instrument with this native symbol. If several apply, the first in
    /// the script.
    #[must_use]
    pub fn of(&self, kind: FaultKind, native: &str) -> Option<i64> {
        let is_meant = |of: &Option<String>| of.as_deref().is_none_or(|of| of == native);
        self.now.iter().find(|(k, of, _)| *k == kind && is_meant(of)).map(|(_, _, figure)| *figure)
    }

    /// The figure of `kind`, if it applies to the whole venue.
    #[must_use]
    pub fn whole(&self, kind: FaultKind) -> Option<i64> {
        self.now.iter().find(|(k, of, _)| *k == kind && of.is_none()).map(|(_, _, figure)| *figure)
    }

    /// The native symbols to which `kind` applies individually.
    pub fn named(&self, kind: FaultKind) -> impl Iterator<Item = &str> {
        self.now.iter().filter(move |(k, ..)| *k == kind).filter_map(|(_, of, _)| of.as_deref())
    }

    /// The words of all faults that apply to the instrument with this native symbol, in the order of the script.
    pub fn words<'a>(&'a self, native: &'a str) -> impl Iterator<Item = &'static str> + 'a {
        let is_meant = move |of: &Option<String>| of.as_deref().is_none_or(|of| of == native);
        self.now.iter().filter(move |(_, of, _)| is_meant(of)).map(|(kind, ..)| kind.word())
    }

    /// Whether the change from `before` to these faults closes the venue's sockets.
    #[must_use]
    pub fn cuts_after(&self, before: &Self) -> bool {
        const CUTTING: [FaultKind; 6] = [
            FaultKind::Cut,
            FaultKind::Reconnect,
            FaultKind::TooManyRequests,
            FaultKind::Refused,
            FaultKind::TlsExpired,
            FaultKind::TlsWrongName,
        ];
        CUTTING.iter().any(|&kind| self.whole(kind).is_some() && before.whole(kind).is_none())
    }
}

impl Scenario {
    /// Parses a script for these venues.
    ///
    /// # Errors
    /// The first error in the script.
    pub fn read(text: &str, venues: &[&'static dyn Venue]) -> Result<Self, ScenarioError> {
        let line_of = |at: usize| 1 + text.bytes().take(at).filter(|&b| b == b'\n').count();
        let table = DeTable::parse(text).map_err(|why| ScenarioError {
            line: line_of(why.span().map_or(0, |span| span.start)),
            key: String::new(),
            what: format!("is not TOML: {}", why.message()),
        })?;
        let reader = ScenarioReader { venues, line_of: &line_of };
        let mut faults = Vec::new();
        for (key, value) in table.get_ref() {
            let wrong = |what: &str| reader.wrong(key.span().start, key.get_ref(), what);
            let (name, entries) = (key.get_ref().as_ref(), value.get_ref().as_array());
            let (true, Some(entries)) = (name == "fault", entries) else {
                return Err(wrong("expected nothing but tables [[fault]]"));
            };
            if entries.len() > FAULTS_MAX {
                return Err(wrong(&format!("expected at most {FAULTS_MAX}")));
            }
            for entry in entries {
                let table = entry.get_ref().as_table().ok_or_else(|| wrong("expected tables [[fault]]"))?;
                faults.push(reader.fault(entry.span().start, table)?);
            }
        }
        Ok(Self { faults })
    }

    /// The faults in effect for each of `venues` at `elapsed_ns` since the start. `venues` must be those that the
    /// script was read for. A fault of an instrument has no effect on venues without that instrument.
    #[must_use]
    pub fn at(&self, elapsed_ns: u64, venues: &[&'static dyn Venue]) -> Vec<Trouble> {
        let mut troubles = vec![Trouble::default(); venues.len()];
        for fault in &self.faults {
            let Some(since_ns) = fault.since(elapsed_ns) else { continue };
            let figure = fault.figure_after(since_ns);
            for (at, trouble) in troubles.iter_mut().enumerate().filter(|(at, _)| fault.venue.is_none_or(|v| v == *at))
            {
                let symbol = fault.instrument.as_deref().and_then(|symbol| symbol.split_once('/'));
                match symbol.map(|(base, quote)| venues[at].native(base, quote)) {
                    None => trouble.now.push((fault.kind, None, figure)),
                    Some(Ok(native)) => trouble.now.push((fault.kind, Some(native), figure)),
                    Some(Err(_)) => {}
                }
            }
        }
        troubles
    }

    /// By venue, of `count`: whether a `reconnect` is ahead whose stale price is that of `elapsed_ns` or later.
    #[must_use]
    pub(crate) fn reconnects_soon(&self, elapsed_ns: u64, count: usize) -> Vec<bool> {
        let mut soon = vec![false; count];
        for fault in self.faults.iter().filter(|f| f.kind == FaultKind::Reconnect && f.is_soon(elapsed_ns)) {
            for (_, soon) in soon.iter_mut().enumerate().filter(|(at, _)| fault.venue.is_none_or(|v| v == *at)) {
                *soon = true;
            }
        }
        soon
    }

    /// The fault of the listener itself, which all venues share, at `elapsed_ns`.
    #[must_use]
    pub(crate) fn of_listener(&self, elapsed_ns: u64) -> Option<FaultKind> {
        let is_meant = |fault: &&Fault| {
            fault.venue.is_none()
                && (fault.kind == FaultKind::Refused || fault.kind.is_of_tls())
                && fault.is_on(elapsed_ns)
        };
        self.faults.iter().find(is_meant).map(|fault| fault.kind)
    }
}

struct ScenarioReader<'a> {
    venues: &'a [&'static dyn Venue],
    line_of: &'a dyn Fn(usize) -> usize,
}

impl ScenarioReader<'_> {
    fn wrong(&self, at: usize, key: &str, what: &str) -> ScenarioError {
        ScenarioError { line: (self.line_of)(at), key: key.to_owned(), what: what.to_owned() }
    }

    fn fault(&self, at: usize, table: &DeTable<'_>) -> Result<Fault, ScenarioError> {
        let kinds = || FaultKind::ALL.map(FaultKind::word).join(", ");
        let missing = |key: &str, what: &str| self.wrong(at, key, &format!("is missing, expected {what}"));
        let kind = table.get("kind").ok_or_else(|| missing("kind", &format!("one of {}", kinds())))?;
        let expected = |what: &str| self.wrong(kind.span().start, "kind", what);
        let word = kind.get_ref().as_str().unwrap_or_default();
        let kind = FaultKind::ALL.into_iter().find(|kind| kind.word() == word);
        let kind = kind.ok_or_else(|| expected(&format!("expected one of {}", kinds())))?;
        let mut fault = Fault {
            kind,
            venue: None,
            instrument: None,
            from_ns: 0,
            for_ns: if kind == FaultKind::Cut { CUT_NS } else { 0 },
            every_ns: None,
            figure: kind.own_key().map_or(0, |own| own.default),
        };
        for (key, value) in table {
            let name = key.get_ref().as_ref();
            match name {
                "kind" => {}
                "venue" => fault.venue = self.venue(value)?,
                "instrument" => fault.instrument = self.instrument(kind, value)?,
                "from_s" => fault.from_ns = self.seconds(name, value, 0.0)?,
                "for_s" if kind != FaultKind::Cut => fault.for_ns = self.seconds(name, value, 0.001)?,
                "every_s" => fault.every_ns = Some(self.seconds(name, value, 0.001)?),
                "by" if kind == FaultKind::Halt => fault.figure = self.reported_by(value)?,
                _ => fault.figure = self.figure(kind, key, value)?,
            }
        }
        if fault.for_ns == 0 {
            return Err(missing("for_s", "seconds that it lasts"));
        }
        if let Some(every) = fault.every_ns.filter(|every| *every <= fault.for_ns) {
            let what = format!("is {} s, expected more than for_s", every as f64 / SECOND as f64);
            return Err(self.wrong(table.get("every_s").map_or(at, |v| v.span().start), "every_s", &what));
        }
        if kind.is_of_tls() && fault.venue.is_some() {
            let at = table.get("venue").map_or(at, |v| v.span().start);
            return Err(self.wrong(at, "venue", "expected \"all\": the venues share one port and its certificate"));
        }
        Ok(fault)
    }

    fn venue(&self, value: &Spanned<DeValue<'_>>) -> Result<Option<usize>, ScenarioError> {
        let name = value.get_ref().as_str().unwrap_or_default();
        let found = self.venues.iter().position(|venue| venue.facts().name == name);
        if found.is_none() && name != "all" {
            let names: Vec<&str> = self.venues.iter().map(|venue| venue.facts().name).collect();
            return Err(self.wrong(
                value.span().start,
                "venue",
                &format!("expected \"all\" or a simulated venue: {}", names.join(", ")),
            ));
        }
        Ok(found)
    }

    fn instrument(&self, kind: FaultKind, value: &Spanned<DeValue<'_>>) -> Result<Option<String>, ScenarioError> {
        let wrong = |what: &str| Err(self.wrong(value.span().start, "instrument", what));
        match value.get_ref().as_str() {
            Some("all") => Ok(None),
            Some(_) if !kind.is_of_instruments() => wrong("expected \"all\": this fault is about the whole venue"),
            Some(symbol) if symbol.split_once('/').is_some_and(|(b, q)| !b.is_empty() && !q.is_empty()) => {
                Ok(Some(symbol.to_owned()))
            }
            _ => wrong("expected \"all\" or a symbol such as \"BTC/USDT\""),
        }
    }

    fn seconds(&self, key: &str, value: &Spanned<DeValue<'_>>, least: f64) -> Result<u64, ScenarioError> {
        let seconds = match value.get_ref() {
            DeValue::Integer(whole) => i64::from_str_radix(whole.as_str(), whole.radix()).ok().map(|n| n as f64),
            DeValue::Float(float) => float.as_str().parse::<f64>().ok(),
            _ => None,
        };
        match seconds.filter(|s| (least..=SPAN_S_MAX).contains(s)) {
            Some(seconds) => Ok((seconds * SECOND as f64) as u64),
            None => Err(self.wrong(value.span().start, key, &format!("expected seconds from {least} to {SPAN_S_MAX}"))),
        }
    }

    fn figure(
        &self,
        kind: FaultKind,
        key: &Spanned<std::borrow::Cow<'_, str>>,
        value: &Spanned<DeValue<'_>>,
    ) -> Result<i64, ScenarioError> {
        let name = key.get_ref().as_ref();
        let Some(OwnKey { least, most, per_one, .. }) = kind.own_key().filter(|own| own.key == name) else {
            let own = if kind == FaultKind::Halt { Some("by") } else { kind.own_key().map(|own| own.key) };
            let own = own.map_or(String::new(), |own| format!(", {own}"));
            let span = if kind == FaultKind::Cut { "" } else { ", for_s" };
            let what = format!("expected one of kind, venue, instrument, from_s{span}, every_s{own}");
            return Err(self.wrong(key.span().start, name, &what));
        };
        let whole = match value.get_ref() {
            DeValue::Integer(whole) => {
                i64::from_str_radix(whole.as_str(), whole.radix()).ok().and_then(|whole| whole.checked_mul(per_one))
            }
            DeValue::Float(float) if per_one > 1 => {
                float.as_str().parse::<f64>().ok().map(|number| (number * per_one as f64).round() as i64)
            }
            _ => None,
        };
        whole.filter(|n| (least..=most).contains(n)).ok_or_else(|| {
            let [least, most] = [least, most].map(|figure| figure as f64 / per_one as f64);
            let number = if per_one > 1 { "number" } else { "whole number" };
            self.wrong(value.span().start, name, &format!("expected a {number} from {least} to {most}"))
        })
    }

    fn reported_by(&self, value: &Spanned<DeValue<'_>>) -> Result<i64, ScenarioError> {
        match value.get_ref().as_str() {
            Some("both") => Ok(BY_BOTH),
            Some("list") => Ok(BY_LIST),
            Some("stream") => Ok(BY_STREAM),
            _ => Err(self.wrong(value.span().start, "by", "expected \"both\", \"list\" or \"stream\"")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::plain::PLAIN;
    use crate::time::MS;

    fn read(text: &str) -> Scenario {
        Scenario::read(text, PLAIN).unwrap()
    }

    #[test]
    fn a_fault_lasts_from_when_it_begins_and_comes_back() {
        let script = read("[[fault]]\nkind = \"silence\"\nvenue = \"bare\"\nfrom_s = 10\nfor_s = 2.5\nevery_s = 60");
        let on = |ms: u64| {
            script.at(ms * MS, PLAIN).iter().map(|t| t.of(FaultKind::Silence, "A-B").is_some()).collect::<Vec<_>>()
        };
        let (bare, none): (Vec<bool>, Vec<bool>) = (vec![false, true, false], vec![false; 3]);
        for (ms, expected) in [(0, &none), (9_999, &none), (10_000, &bare), (12_499, &bare), (12_500, &none)] {
            assert_eq!(&on(ms), expected as &Vec<bool>, "{ms}");
            assert_eq!(&on(ms + 60_000), expected, "{ms} a minute later");
        }
    }

    #[test]
    fn a_fault_of_one_instrument_is_not_one_of_the_venue() {
        let script = read("[[fault]]\nkind = \"lose\"\ninstrument = \"BTC/USDT\"\nfor_s = 1\none_in = 7");
        let [trouble, ..] = &script.at(0, PLAIN)[..] else { panic!() };
        assert_eq!(trouble.of(FaultKind::Lose, "BTC-USDT"), Some(7));
        assert_eq!((trouble.of(FaultKind::Lose, "ETH-USDT"), trouble.whole(FaultKind::Lose)), (None, None));
    }

    #[test]
    fn a_clock_that_drifts_gains_a_millisecond_each_five_seconds() {
        let script = read("[[fault]]\nkind = \"drift\"\nfrom_s = 10\nfor_s = 600");
        let ahead_ms = |s: u64| script.at(s * SECOND, PLAIN)[0].whole(FaultKind::Drift);
        assert_eq!([9, 10, 14, 15, 60, 609].map(ahead_ms), [None, Some(0), Some(0), Some(1), Some(10), Some(119)]);
    }

    #[test]
    fn the_price_of_another_asset_moves_by_itself() {
        let script = read("[[fault]]\nkind = \"alien\"\ninstrument = \"A/B\"\nfor_s = 600\nratio = 0.5");
        let ratio = |s: u64| script.at(s * SECOND, PLAIN)[0].of(FaultKind::Alien, "A-B").unwrap();
        let ratios: Vec<i64> = (0..600).map(ratio).collect();
        assert!(ratios.iter().all(|ratio| (485_000..515_000).contains(ratio)));
        let (least, most) = (ratios.iter().min().unwrap(), ratios.iter().max().unwrap());
        assert!(most - least > 10_000, "{least} to {most}");
        // No jump: less than half a percent in a second.
        assert!(ratios.windows(2).all(|two| two[0].abs_diff(two[1]) < 2500));
    }

    #[test]
    fn the_stale_price_is_from_before_the_reconnect() {
        let script = read("[[fault]]\nkind = \"reconnect\"\nvenue = \"bare\"\nfrom_s = 3\nfor_s = 2\nevery_s = 20");
        let soon = |s: u64| script.reconnects_soon(s * SECOND, 3)[1];
        assert_eq!(
            [0, 2, 3, 4, 17, 18, 22, 23, 37, 38].map(soon),
            [true, true, false, false, false, true, true, false, false, true]
        );
        assert!(!script.reconnects_soon(0, 3)[0]);
    }

    #[test]
    fn every_kind_can_be_written() {
        for kind in FaultKind::ALL {
            let span = if kind == FaultKind::Cut { "" } else { "for_s = 1" };
            let script = read(&format!("[[fault]]\nkind = \"{}\"\n{span}", kind.word()));
            assert_eq!(script.faults[0].kind, kind);
            assert!(script.at(0, PLAIN)[0].whole(kind).is_some());
        }
    }

    #[test]
    fn a_mistake_names_line_key_and_what_was_expected() {
        for (text, said) in [
            ("[[fault]]\nkind = \"silense\"", "2: kind: expected one of silence, cut, "),
            ("\n[[fault]]\nfor_s = 1", "2: kind: is missing, expected one of silence"),
            ("[[fault]]\nkind = \"silence\"", "1: for_s: is missing, expected seconds"),
            ("[[fault]]\nkind = \"slow\"\nfor_s = \"long\"", "3: for_s: expected seconds from 0.001"),
            ("[[fault]]\nkind = \"slow\"\nfor_s = nan", "3: for_s: expected seconds"),
            ("[[fault]]\nkind = \"cut\"\nvenue = \"mtgox\"", "3: venue: expected \"all\" or a simulated venue: plain"),
            ("[[fault]]\nkind = \"cut\"\ninstrument = \"A/B\"", "3: instrument: expected \"all\""),
            ("[[fault]]\nkind = \"cut\"\none_in = 1", "3: one_in: expected one of kind, venue"),
            ("[[fault]]\nkind = \"lose\"\nfor_s = 1\none_in = 0", "4: one_in: expected a whole number from 1"),
            (
                "[[fault]]\nkind = \"halt\"\nfor_s = 1\nby = \"page\"",
                "4: by: expected \"both\", \"list\" or \"stream\"",
            ),
            ("[[fault]]\nkind = \"basis\"\nfor_s = 1\npercent = 200", "4: percent: expected a number from -50 to 100"),
            ("[[fault]]\nkind = \"alien\"\nfor_s = 1\nratio = nan", "4: ratio: expected a number from 0.001 to 1000"),
            ("[[fault]]\nkind = \"drift\"\nfor_s = 1\nppm = 0.5", "4: ppm: expected a whole number from -200 to 200"),
            ("[[fault]]\nkind = \"lose\"\nfor_s = 2\nevery_s = 1", "4: every_s: is 1 s, expected more than for_s"),
            ("[[fault]]\nkind = \"tls_expired\"\nfor_s = 2\nvenue = \"plain\"", "4: venue: expected \"all\""),
            ("[[fault]]\nkind =", "2: is not TOML: "),
            ("faults = 3", "1: faults: expected nothing but tables [[fault]]"),
        ] {
            let why = Scenario::read(text, PLAIN).unwrap_err().to_string();
            assert!(why.starts_with(said), "{text:?} gives {why:?}");
            assert!(!why.contains('\n'), "{why}");
        }
    }
}
