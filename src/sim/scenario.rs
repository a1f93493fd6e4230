//! The fault script of a simulator: which fault, for which venue, from when, for how long. In: TOML, and the time since
//! the start. Out: the faults of each venue at that time. Pure: no clock, no socket, no file.
//!
//! An error in the text is reported in one sentence with its line, the key and what was expected.

use std::fmt;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::time::SECOND;
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
    /// instruments. Prices continue, as in a phase in which orders can only be cancelled.
    Halt,
    /// The venue's clock is wrong by `offset_ms`. It jumps when the fault begins and when it ends.
    Clock,
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
    pub const ALL: [Self; 17] = [
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
        )
    }

    /// Whether the fault changes the certificate.
    #[must_use]
    pub const fn is_of_tls(self) -> bool {
        matches!(self, Self::TlsExpired | Self::TlsWrongName)
    }

    /// The key of the kind's own figure, with its default, minimum and maximum.
    const fn own_key(self) -> Option<(&'static str, i64, i64, i64)> {
        match self {
            Self::Slow => Some(("bytes_per_s", 1024, 1, 1_000_000_000)),
            Self::Duplicate | Self::Reorder | Self::Lose | Self::Damage => Some(("one_in", 3, 1, 1_000_000)),
            Self::TooManyRequests => Some(("retry_after_s", 5, 0, 86_400)),
            Self::Clock => Some(("offset_ms", -3_600_000, -DAY_MS, DAY_MS)),
            _ => None,
        }
    }
}

const DAY_MS: i64 = 86_400_000;
/// How long a cut stays in effect, so that no turn misses it.
const CUT_NS: u64 = SECOND;
/// The longest duration in a script: one year.
const SPAN_S_MAX: f64 = 31_536_000.0;
/// Most faults in one script.
const FAULTS_MAX: usize = 1000;

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
    pub from_ns: u64,
    /// Duration of each occurrence, in nanoseconds.
    pub for_ns: u64,
    /// Interval between the beginnings, in nanoseconds; `None`: it happens once.
    pub every_ns: Option<u64>,
    /// The kind's own figure: `one_in`, `bytes_per_s`, `retry_after_s` or `offset_ms`; 0 if the kind has none.
    pub figure: i64,
}

impl Fault {
    /// Whether the fault is in effect at `elapsed_ns` since the start.
    #[must_use]
    pub const fn is_on(&self, elapsed_ns: u64) -> bool {
        let Some(since) = elapsed_ns.checked_sub(self.from_ns) else { return false };
        match self.every_ns {
            Some(every) => since % every < self.for_ns,
            None => since < self.for_ns,
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

    /// Whether the change from `before` to these faults closes the venue's sockets.
    #[must_use]
    pub fn cuts_after(&self, before: &Self) -> bool {
        const CUTTING: [FaultKind; 5] = [
            FaultKind::Cut,
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
        for fault in self.faults.iter().filter(|fault| fault.is_on(elapsed_ns)) {
            for (at, trouble) in troubles.iter_mut().enumerate().filter(|(at, _)| fault.venue.is_none_or(|v| v == *at))
            {
                let symbol = fault.instrument.as_deref().and_then(|symbol| symbol.split_once('/'));
                match symbol.map(|(base, quote)| venues[at].native(base, quote)) {
                    None => trouble.now.push((fault.kind, None, fault.figure)),
                    Some(Ok(native)) => trouble.now.push((fault.kind, Some(native), fault.figure)),
                    Some(Err(_)) => {}
                }
            }
        }
        troubles
    }

    /// The fault of the listener itself, which all venues share, at `elapsed_ns`.
    #[must_use]
    pub fn of_listener(&self, elapsed_ns: u64) -> Option<FaultKind> {
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
            figure: kind.own_key().map_or(0, |(_, default, _, _)| default),
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
        let Some((_, _, least, most)) = kind.own_key().filter(|(own, ..)| *own == name) else {
            let own = kind.own_key().map_or(String::new(), |(own, ..)| format!(", {own}"));
            let span = if kind == FaultKind::Cut { "" } else { ", for_s" };
            let what = format!("expected one of kind, venue, instrument, from_s{span}, every_s{own}");
            return Err(self.wrong(key.span().start, name, &what));
        };
        let whole = match value.get_ref() {
            DeValue::Integer(whole) => i64::from_str_radix(whole.as_str(), whole.radix()).ok(),
            _ => None,
        };
        whole.filter(|n| (least..=most).contains(n)).ok_or_else(|| {
            self.wrong(value.span().start, name, &format!("expected a whole number from {least} to {most}"))
        })
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
