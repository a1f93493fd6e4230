//! Reads the file and the environment into a [`Draft`] with all keys set and the origin of each recorded. All errors
//! are collected; none stops the reading. Consistency between values is checked in `resolve`.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use crate::cluster::ClusterOptions;
use crate::config::sections::{AdminOptions, ProcessOptions, ThreadOptions, VenueSettings};
use crate::config::{ConfigPlace, Problem};
use crate::discovery::DiscoveryOptions;
use crate::feed::FeedOptions;
use crate::gateway::GatewayOptions;
use crate::market::Decimal;
use crate::market::book::BookOptions;
use crate::market::quote::QuoteOptions;
use crate::market::rule::DetectorOptions;
use crate::settings::near::{did_you_mean, nearest};
use crate::settings::{Given, Section as _, SectionKey, quoted, with_article};
use crate::venues::Venue;

/// Prefix of our environment variables.
const PREFIX: &str = "SPREADWIRE_";

/// One entry of a list, with its origin.
#[derive(Clone, Debug)]
pub(super) struct ListItem {
    pub text: String,
    pub place: ConfigPlace,
    /// Whether the entry is optional on each venue, because a pattern selected it or an admin call added it.
    pub chosen: bool,
}

impl ListItem {
    /// Whether a pattern in the configuration selected it.
    pub(crate) fn is_of_pattern(&self) -> bool {
        self.chosen && !matches!(self.place, ConfigPlace::Admin | ConfigPlace::Default)
    }
}

/// Settings of a venue.
#[derive(Clone)]
pub(super) struct VenueDraft {
    pub venue: &'static dyn Venue,
    pub settings: VenueSettings,
    /// `None`: the instruments of the whole configuration.
    pub instruments: Option<Vec<ListItem>>,
    /// Instruments that are the same asset as at other venues,
    pub(crate) same_asset: Option<Vec<ListItem>>,
    /// and those that are another one.
    pub(crate) other_asset: Option<Vec<ListItem>>,
}

impl VenueDraft {
    /// Keys with lists.
    const LISTS: [&str; 3] = ["instruments", "same_asset", "other_asset"];

    fn list(&mut self, key: &str) -> Option<&mut Option<Vec<ListItem>>> {
        match key {
            "instruments" => Some(&mut self.instruments),
            "same_asset" => Some(&mut self.same_asset),
            "other_asset" => Some(&mut self.other_asset),
            _ => None,
        }
    }
}

/// The configuration before its parts are checked against each other.
#[derive(Clone)]
pub(super) struct Draft {
    pub process: ProcessOptions,
    pub gateway: GatewayOptions,
    pub quotes: QuoteOptions,
    pub detector: DetectorOptions,
    pub threads: ThreadOptions,
    pub feed: FeedOptions,
    pub discovery: DiscoveryOptions,
    pub admin: AdminOptions,
    pub books: BookOptions,
    pub cluster: ClusterOptions,
    /// Every known venue, configured or not.
    pub known: Vec<VenueDraft>,
    pub venues: Option<Vec<ListItem>>,
    pub instruments: Option<Vec<ListItem>>,
    pub price_order: Option<Vec<ListItem>>,
    /// Instruments that are removed, wherever they are named.
    pub without: BTreeSet<String>,
    /// Origin of each key; a missing key has its default.
    pub places: BTreeMap<String, ConfigPlace>,
    pub(crate) problems: Vec<Problem>,
    pub warnings: Vec<String>,
}

/// A key's value: a single value or a list.
enum KeySlot<'a> {
    One(SectionKey<'a>),
    List(&'a mut Option<Vec<ListItem>>),
}

impl Draft {
    /// The defaults, for the venues of `known`.
    pub fn new(known: &[&'static dyn Venue]) -> Self {
        let known = known.iter().map(|&venue| {
            let facts = venue.facts();
            let settings = VenueSettings {
                address: facts.address.to_owned(),
                taker_fee_pct: facts.taker_fee_pct.parse().unwrap_or(Decimal::ZERO),
                ..VenueSettings::default()
            };
            VenueDraft { venue, settings, instruments: None, same_asset: None, other_asset: None }
        });
        Self {
            process: ProcessOptions::default(),
            gateway: GatewayOptions::default(),
            quotes: QuoteOptions::default(),
            detector: DetectorOptions::default(),
            threads: ThreadOptions::default(),
            feed: FeedOptions::default(),
            discovery: DiscoveryOptions::default(),
            admin: AdminOptions::default(),
            books: BookOptions::default(),
            cluster: ClusterOptions::default(),
            known: known.collect(),
            venues: None,
            instruments: None,
            price_order: None,
            without: BTreeSet::new(),
            places: BTreeMap::new(),
            problems: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// All tables with their single-valued keys, in the order of the documentation.
    pub(crate) fn sections(&mut self) -> Vec<(String, Vec<SectionKey<'_>>)> {
        let mut sections = vec![
            ("gateway".to_owned(), self.gateway.keys()),
            ("quotes".to_owned(), self.quotes.keys()),
            ("detector".to_owned(), self.detector.keys()),
            ("threads".to_owned(), self.threads.keys()),
            ("feed".to_owned(), self.feed.keys()),
            ("discovery".to_owned(), self.discovery.keys()),
            ("admin".to_owned(), self.admin.keys()),
            ("books".to_owned(), self.books.keys()),
            ("cluster".to_owned(), self.cluster.keys()),
        ];
        for known in &mut self.known {
            sections.push((format!("venue.{}", known.venue.facts().name), known.settings.keys()));
        }
        sections
    }

    /// Paths of all keys.
    fn paths(&mut self) -> Vec<String> {
        let mut paths: Vec<String> = ["venues", "instruments", "quotes.price_order"].map(str::to_owned).into();
        let lists = |known: &VenueDraft| {
            let name = known.venue.facts().name;
            VenueDraft::LISTS.map(|key| format!("venue.{name}.{key}"))
        };
        paths.extend(self.known.iter().flat_map(lists));
        paths.extend(self.process.keys().iter().map(|key| key.name.to_owned()));
        for (section, keys) in self.sections() {
            paths.extend(keys.iter().map(|key| format!("{section}.{}", key.name)));
        }
        paths
    }

    fn slot(&mut self, path: &str) -> Option<KeySlot<'_>> {
        match path {
            "venues" => return Some(KeySlot::List(&mut self.venues)),
            "instruments" => return Some(KeySlot::List(&mut self.instruments)),
            "quotes.price_order" => return Some(KeySlot::List(&mut self.price_order)),
            _ => {}
        }
        if let Some((name, key)) = path.strip_prefix("venue.").and_then(|rest| rest.split_once('.'))
            && VenueDraft::LISTS.contains(&key)
        {
            let known = self.known.iter_mut().find(|known| known.venue.facts().name == name)?;
            return known.list(key).map(KeySlot::List);
        }
        let Some((section, name)) = path.rsplit_once('.') else {
            return self.process.keys().into_iter().find(|key| key.name == path).map(KeySlot::One);
        };
        let (_, keys) = self.sections().into_iter().find(|(path, _)| path == section)?;
        keys.into_iter().find(|key| key.name == name).map(KeySlot::One)
    }

    fn problem(&mut self, place: ConfigPlace, key: impl Into<String>, what: impl Into<String>) {
        self.problems.push(Problem { place, key: key.into(), what: what.into() });
    }

    /// Reads all keys of the TOML text `source`.
    pub(crate) fn read_file(&mut self, source: &str) {
        let lines = LineStarts::of(source);
        let (table, errors) = DeTable::parse_recoverable(source);
        let paths = self.paths();
        self.read_table("", table.get_ref(), &paths, &lines);
        // Values read from a line with a syntax error are meaningless, and the keys below a broken header belong to an
        // unknown table.
        let broken: Vec<usize> = errors.iter().map(|error| lines.of_span(error.span())).collect();
        let mut meaningless = HashSet::new();
        let mut is_below_broken = false;
        for (line, text) in (1..).zip(source.lines()) {
            if text.trim_start().starts_with('[') {
                is_below_broken = broken.contains(&line);
            }
            if is_below_broken || broken.contains(&line) {
                meaningless.insert(line);
            }
        }
        self.problems
            .retain(|problem| !matches!(problem.place, ConfigPlace::File(line) if meaningless.contains(&line)));
        for (error, line) in errors.iter().zip(broken) {
            let text = error.span().and_then(|span| source.get(span)).unwrap_or("").trim();
            let near = if text.is_empty() { String::new() } else { format!(" at {}", quoted(text)) };
            self.problem(ConfigPlace::File(line), "TOML", format!("{}{near}", error.message()));
        }
    }

    fn read_table(&mut self, prefix: &str, table: &DeTable<'_>, paths: &[String], lines: &LineStarts) {
        for (key, value) in table {
            let path =
                if prefix.is_empty() { key.get_ref().to_string() } else { format!("{prefix}.{}", key.get_ref()) };
            let place = ConfigPlace::File(lines.of_span(Some(key.span())));
            let is_group =
                paths.iter().any(|known| known.strip_prefix(&path).is_some_and(|rest| rest.starts_with('.')));
            match (is_group, value.get_ref()) {
                (true, DeValue::Table(inner)) => self.read_table(&path, inner, paths, lines),
                (true, other) => {
                    let what = format!("is {}, expected a table [{path}]", with_article(other.type_str()));
                    self.problem(place, path, what);
                }
                (false, _) if paths.contains(&path) => self.read_value(&path, value, lines),
                (false, _) => {
                    let what = unknown_key(prefix, key.get_ref(), paths);
                    self.problem(place, quoted(&path).trim_matches('`').to_owned(), what);
                }
            }
        }
    }

    fn read_value(&mut self, path: &str, value: &Spanned<DeValue<'_>>, lines: &LineStarts) {
        let place = ConfigPlace::File(lines.of_span(Some(value.span())));
        let mut wrong = Vec::new();
        match (self.slot(path), value.get_ref()) {
            (Some(KeySlot::One(key)), given) => {
                wrong.extend(key.slot.set(Given::Toml(given), &key.bounds).err().map(|what| (place.clone(), what)));
            }
            (Some(KeySlot::List(list)), DeValue::Array(array)) => *list = Some(read_items(array, lines, &mut wrong)),
            (Some(KeySlot::List(_)), other) => {
                let kind = with_article(other.type_str());
                wrong.push((place.clone(), format!("is {kind}, expected a list of texts such as [\"a\", \"b\"]")));
            }
            (None, _) => {}
        }
        for (place, what) in wrong {
            self.problem(place, path, what);
        }
        self.places.insert(path.to_owned(), place);
    }

    /// Reads all variables `SPREADWIRE_SECTION_KEY` of `environment`; lists are separated by commas.
    pub(crate) fn read_environment(&mut self, environment: &[(String, String)]) {
        let names: Vec<(String, String)> = self.paths().into_iter().map(|path| (variable(&path), path)).collect();
        for (name, value) in environment.iter().filter(|(name, _)| name.starts_with(PREFIX)) {
            let place = ConfigPlace::Environment(name.clone());
            let Some((_, path)) = names.iter().find(|(known, _)| known == name) else {
                self.read_unknown_variable(name, &names);
                continue;
            };
            let wrong = match self.slot(path) {
                Some(KeySlot::One(key)) => key.slot.set(Given::Bare(value), &key.bounds).err(),
                Some(KeySlot::List(list)) => {
                    let texts = value.split(',').map(str::trim).filter(|text| !text.is_empty());
                    *list = Some(
                        texts
                            .map(|text| ListItem { text: text.to_owned(), place: place.clone(), chosen: false })
                            .collect(),
                    );
                    None
                }
                None => None,
            };
            if let Some(what) = wrong {
                self.problem(place.clone(), path.clone(), what);
            }
            self.places.insert(path.clone(), place);
        }
    }

    /// A name that looks like a typing error is an error. Other names are ignored, because orchestrators put variables
    /// such as `SPREADWIRE_SERVICE_HOST` into every process.
    fn read_unknown_variable(&mut self, name: &str, names: &[(String, String)]) {
        let stem = name.trim_start_matches(PREFIX);
        match nearest(stem, names.iter().map(|(known, _)| known.trim_start_matches(PREFIX))) {
            Some(near) => {
                let what = format!("unknown variable; did you mean `{PREFIX}{near}`?");
                self.problem(ConfigPlace::Environment(name.to_owned()), "", what);
            }
            None => {
                self.warnings.push(format!("environment: {} is not a variable of spreadwire, ignored", quoted(name)))
            }
        }
    }
}

fn read_items(array: &DeArray<'_>, lines: &LineStarts, wrong: &mut Vec<(ConfigPlace, String)>) -> Vec<ListItem> {
    let mut items = Vec::with_capacity(array.len());
    for element in array.iter() {
        let place = ConfigPlace::File(lines.of_span(Some(element.span())));
        match element.get_ref() {
            DeValue::String(text) => items.push(ListItem { text: text.to_string(), place, chosen: false }),
            other => wrong.push((place, format!("contains {}, expected texts", with_article(other.type_str())))),
        }
    }
    items
}

/// The error text for a key that does not exist in the table `prefix`.
fn unknown_key(prefix: &str, key: &str, paths: &[String]) -> String {
    if prefix == "venue" {
        let venues = paths.iter().filter_map(|path| path.strip_prefix("venue.")?.strip_suffix(".instruments"));
        return unknown_venue(key, venues);
    }
    let here = if prefix.is_empty() { String::new() } else { format!("{prefix}.") };
    let siblings: Vec<&str> = paths.iter().filter_map(|path| path.strip_prefix(&here)?.split('.').next()).collect();
    let what = if prefix.is_empty() { "unknown key or table" } else { "unknown key" };
    if let Some(near) = nearest(key, siblings.iter().copied()) {
        return format!("{what}; did you mean `{near}`?");
    }
    // Perhaps the key belongs to another table.
    match paths.iter().find(|path| path.rsplit('.').next() == Some(key)) {
        Some(path) => format!("{what}; did you mean `{path}`?"),
        None => {
            let mut seen = HashSet::new();
            let expected: Vec<&str> = siblings.into_iter().filter(|name| seen.insert(*name)).collect();
            format!("{what}, expected one of {}", expected.join(", "))
        }
    }
}

/// The environment variable of a key.
pub(super) fn variable(path: &str) -> String {
    format!("{PREFIX}{}", path.replace('.', "_").to_uppercase())
}

/// Start offsets of lines.
struct LineStarts(Vec<usize>);

impl LineStarts {
    fn of(source: &str) -> Self {
        Self(std::iter::once(0).chain(source.match_indices('\n').map(|(at, _)| at + 1)).collect())
    }

    /// The 1-based line in which a span begins.
    fn of_span(&self, span: Option<std::ops::Range<usize>>) -> usize {
        self.0.partition_point(|&start| start <= span.as_ref().map_or(0, |span| span.start))
    }
}

/// The error text for a name that is not a venue.
pub(crate) fn unknown_venue<'a>(name: &str, names: impl Iterator<Item = &'a str> + Clone) -> String {
    let near = did_you_mean(name, names.clone());
    format!("unknown venue {}, expected one of {}{near}", quoted(name), names.collect::<Vec<_>>().join(", "))
}
