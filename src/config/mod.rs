//! The configuration: file, environment and flags in, one checked [`Config`] out. Defaults < file <
//! environment < flags, and each value knows who set it. The only place that reads the environment.
//!
//! Read once, on the main thread, before anything is started. All mistakes are told at once, one line
//! each: `file:line: key: what is wrong, what was expected`. Nothing is guessed, renamed or left out.

mod amend;
mod differ;
mod listing;
pub mod near;
mod read;
mod resolve;
mod sections;
mod select;
mod setting;

use std::fmt;
use std::io::Read as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::discovery::{Catalogue, Quoted, Scope, VenueFee, Wanted};
use crate::market::directory::{Room, VenueEntry};
use crate::market::{Decimal, Directory, VenueId};
use crate::net::tls::Trust;
use crate::venues::{DEFAULT_VENUES, VENUES, Venue};

pub use amend::Amendment;
pub use sections::{
    Admin, Books, Cluster, Detector, Discovery, Feed, Gateway, LegacyKeys, OwnUpstream, Pin, Quotes, Spin, Threads,
    ThresholdOn, VenueSettings, WatchFile,
};
pub use setting::socket_address;

/// Everything that can be chosen, checked and with its names looked up.
#[derive(Clone, Debug)]
pub struct Config {
    /// Configured venues; the index is the [`VenueId`].
    pub venues: Vec<VenueConfig>,
    /// All instruments, `BASE/QUOTE`; the index is the [`crate::market::InstrumentId`].
    pub instruments: Vec<String>,
    /// Every venue once, in the order of preference for the prices of SSE and REST.
    pub price_order: Vec<VenueId>,
    /// Where what survives a restart is kept; `None`: nowhere.
    pub state_dir: Option<PathBuf>,
    /// Where clients connect, and what one client may take.
    pub gateway: Gateway,
    /// When a quote counts.
    pub quotes: Quotes,
    /// When a spread is an opportunity, and when it is told.
    pub detector: Detector,
    /// Threads and cores.
    pub threads: Threads,
    /// How connections to venues are kept.
    pub feed: Feed,
    /// What venues list.
    pub discovery: Discovery,
    /// Changing what is quoted while the process runs.
    pub admin: Admin,
    /// Order books.
    pub books: Books,
    /// Several gateways as one.
    pub cluster: Cluster,
    warnings: Vec<String>,
    listing: String,
}

/// One configured venue.
#[derive(Clone)]
pub struct VenueConfig {
    /// Its facts and codec.
    pub venue: &'static dyn Venue,
    /// Where to connect.
    pub address: String,
    /// Taker fee in percent of the notional.
    pub taker_fee_pct: Decimal,
    /// Whether the file or the environment says so.
    pub is_fee_set: bool,
    /// More certificate authorities (PEM) that are trusted for this address.
    pub ca_file: Option<PathBuf>,
    /// REST address whose list of instruments is read; empty: none is.
    pub rest_address: String,
    /// Native symbol per instrument of the configuration; `None` where this venue does not quote it.
    pub native: Vec<Option<String>>,
}

impl VenueConfig {
    /// Lower-case id, such as `binance`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.venue.facts().name
    }

    /// Its taker fee, as lists are held against it.
    #[must_use]
    pub const fn fee(&self) -> VenueFee {
        VenueFee { pct: self.taker_fee_pct, is_set: self.is_fee_set }
    }

    /// Who may vouch for it.
    ///
    /// # Errors
    /// When its file of authorities cannot be used.
    pub fn trust(&self) -> Result<Trust, String> {
        Trust::new(self.ca_file.as_deref()).map_err(|why| format!("venue.{}.ca_file: {why}", self.name()))
    }
}

impl PartialEq for VenueConfig {
    fn eq(&self, other: &Self) -> bool {
        let all = |v: &Self| (v.name(), v.address.clone(), v.taker_fee_pct, v.ca_file.clone(), v.native.clone());
        all(self) == all(other)
    }
}

impl fmt::Debug for VenueConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VenueConfig")
            .field("name", &self.name())
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

/// Who set a value, or where a mistake is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Place {
    /// Nobody: the default stands.
    #[default]
    Default,
    /// The file, at this 1-based line; 0 for the file as a whole.
    File(usize),
    /// The environment variable of this name.
    Environment(String),
    /// The flag of this name.
    Flag(&'static str),
    /// An admin call.
    Admin,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(line) => write!(f, "file, line {line}"),
            Self::Environment(name) => write!(f, "environment, {name}"),
            Self::Flag(name) => write!(f, "flag {name}"),
            Self::Admin => f.write_str("admin call"),
        }
    }
}

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub place: Place,
    /// The key, such as `gateway.listen`; empty when it is about no key.
    pub key: String,
    /// What is wrong and what was expected.
    pub what: String,
}

/// Everything that is wrong with a configuration. The user's mistake; nothing was started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// Name of the file as it was given.
    pub file: String,
    /// Every mistake, by line; those of the environment come last.
    pub problems: Vec<Problem>,
}

impl fmt::Display for ConfigError {
    /// One line per mistake, without a newline at the end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, problem) in self.problems.iter().enumerate() {
            let separator = if at == 0 { "" } else { "\n" };
            match &problem.place {
                Place::Default => write!(f, "{separator}default: ")?,
                Place::File(0) => write!(f, "{separator}{}: ", self.file)?,
                Place::File(line) => write!(f, "{separator}{}:{line}: ", self.file)?,
                Place::Environment(name) => write!(f, "{separator}environment: {name}: ")?,
                Place::Flag(name) => write!(f, "{separator}{name}: ")?,
                Place::Admin => write!(f, "{separator}admin call: ")?,
            }
            if !problem.key.is_empty() {
                write!(f, "{}: ", problem.key)?;
            }
            f.write_str(&problem.what)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

/// There is room for at least so many more instruments.
const ROOM_MIN: usize = 64;
/// A configuration file is never larger than this; anything else is not one.
const FILE_MAX: u64 = 4 << 20;

impl Config {
    /// Reads the file and the environment of this process.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        Plan::load(path)?.resolve(&Catalogue::default())
    }

    /// The defaults, changed only by the environment of this process.
    ///
    /// # Errors
    /// Everything that is wrong with the environment, at once.
    pub fn defaults() -> Result<Self, ConfigError> {
        Self::build("", "", Path::new("."), &environment(), VENUES)
    }

    /// The same from texts: `source` is the content of `file`, `known` are the venues that there are.
    /// Files that it names are looked for below `directory`.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn build(
        file: &str,
        source: &str,
        directory: &Path,
        environment: &[(String, String)],
        known: &[&'static dyn Venue],
    ) -> Result<Self, ConfigError> {
        Plan::build(file, source, directory, environment, known).resolve(&Catalogue::default())
    }

    /// Listens on `address` because the flag `--listen` said so.
    #[must_use]
    pub fn listening_on(mut self, address: SocketAddr) -> Self {
        self.gateway.listen = address;
        self
    }

    /// Names and ids for the rest of the process.
    #[must_use]
    pub fn directory(&self) -> Directory {
        Directory::new(self.instruments.clone(), self.members())
    }

    fn members(&self) -> Vec<VenueEntry> {
        let venues = self.venues.iter().map(|venue| VenueEntry {
            name: venue.name().to_owned(),
            taker_fee_pct: venue.taker_fee_pct,
            native: venue.native.clone(),
        });
        venues.collect()
    }

    /// The same, with room for what may be added while the process runs: as many instruments again, at least
    /// `ROOM_MIN`, and every venue there is. In a cluster the venues stay what they are.
    #[must_use]
    pub fn directory_with_room(&self) -> Directory {
        let instruments = self.instruments.len().max(ROOM_MIN);
        let venues = if self.cluster.redis.is_empty() { VENUES.len().saturating_sub(self.venues.len()) } else { 0 };
        Directory::with_room(self.instruments.clone(), self.members(), Room { venues, instruments })
    }

    /// Whose lists of instruments are to be read now and then, and what is asked for there.
    ///
    /// # Errors
    /// When a file of authorities cannot be used.
    pub fn scope(&self) -> Result<Scope, String> {
        let mut scope = Scope { wanted: Vec::new(), quoted: Vec::new() };
        for venue in self.venues.iter().filter(|venue| !venue.rest_address.is_empty()) {
            let trust = venue.trust()?;
            scope.wanted.push(Wanted { venue: venue.venue, address: venue.rest_address.clone(), trust });
        }
        scope.quoted = self.quoted();
        Ok(scope)
    }

    /// What each venue is asked for.
    #[must_use]
    pub fn quoted(&self) -> Vec<Quoted> {
        let of = |venue: &VenueConfig| {
            let symbols = self.instruments.iter().zip(&venue.native);
            let symbols = symbols.filter_map(|(symbol, native)| Some((symbol.clone(), native.clone()?))).collect();
            Quoted { venue: venue.name(), symbols, fee: venue.fee() }
        };
        self.venues.iter().map(of).collect()
    }

    /// What is allowed but may surprise, one sentence each.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = self.warnings.clone();
        if !self.gateway.listen.ip().is_loopback() {
            warnings.push(format!(
                "gateway.listen: {} can be reached from other machines, and there is no authentication",
                self.gateway.listen
            ));
        }
        warnings
    }

    /// The effective configuration as TOML; a comment on each line says who set the value.
    #[must_use]
    pub fn to_toml(&self) -> &str {
        &self.listing
    }

    /// The table of all keys in `docs/configuration.md`.
    #[must_use]
    pub fn reference() -> String {
        sections::reference()
    }
}

/// A configuration that is read but not resolved: what the venues list may still be needed.
#[derive(Clone)]
pub struct Plan {
    file: String,
    text: String,
    directory: PathBuf,
    draft: read::Draft,
}

impl Plan {
    /// Reads the file and the environment of this process.
    ///
    /// # Errors
    /// When the file cannot be read; what is wrong in it is told by [`Self::resolve`].
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let file = path.display().to_string();
        let text = read_text(path).map_err(|(line, what)| ConfigError {
            file: file.clone(),
            problems: vec![Problem { place: Place::File(line), key: String::new(), what }],
        })?;
        let directory = path.parent().unwrap_or(Path::new("."));
        Ok(Self::build(&file, &text, directory, &environment(), VENUES))
    }

    /// The defaults, changed only by the environment of this process.
    #[must_use]
    pub fn defaults() -> Self {
        Self::build("", "", Path::new("."), &environment(), VENUES)
    }

    /// The lists that are on disk; no venue is asked.
    #[must_use]
    pub fn kept(&self) -> Catalogue {
        self.state_dir().map(|folder| Catalogue::of_disk(&self.wanted(), &folder)).unwrap_or_default()
    }

    /// Where what survives a restart is kept, if anywhere.
    #[must_use]
    pub fn state_dir(&self) -> Option<PathBuf> {
        resolve::state_dir(&self.draft, &self.directory)
    }

    /// The same from texts; see [`Config::build`].
    #[must_use]
    pub fn build(
        file: &str,
        source: &str,
        directory: &Path,
        environment: &[(String, String)],
        known: &[&'static dyn Venue],
    ) -> Self {
        let mut draft = read::Draft::new(known);
        draft.read_file(source);
        draft.read_environment(environment);
        Self { file: file.to_owned(), text: source.to_owned(), directory: directory.to_owned(), draft }
    }

    /// The text of the file.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether some instruments are patterns, which mean nothing without the venues' lists.
    #[must_use]
    pub fn has_patterns(&self) -> bool {
        let own = self.draft.known.iter().filter_map(|known| known.instruments.as_ref());
        self.draft.instruments.iter().chain(own).flatten().any(|item| item.text.contains('*'))
    }

    /// How long the start may wait for lists.
    #[must_use]
    pub const fn patience(&self) -> Duration {
        Duration::from_millis(self.draft.discovery.wait_ms)
    }

    /// The venues that are configured, with the REST addresses of their lists. What is wrong with them is told by
    /// [`Self::resolve`].
    #[must_use]
    pub fn wanted(&self) -> Vec<Wanted> {
        let named = |name: &str| self.draft.venues.as_ref().is_none_or(|all| all.iter().any(|item| item.text == name));
        let mut chosen: Vec<_> = self.draft.known.iter().filter(|known| named(known.venue.facts().name)).collect();
        if self.draft.venues.is_none() {
            chosen.truncate(DEFAULT_VENUES);
        }
        let wanted = chosen.into_iter().filter_map(|known| {
            let ca_file = Some(&known.settings.ca_file).filter(|file| !file.is_empty());
            let trust = Trust::new(ca_file.map(|file| self.directory.join(file)).as_deref());
            let trust = trust.or_else(|_| Trust::new(None)).ok()?;
            Some(Wanted { venue: known.venue, address: resolve::rest_address(known), trust })
        });
        wanted.collect()
    }

    /// Looks up names and holds the parts against each other; `catalogue` holds what venues list, as far as known.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn resolve(self, catalogue: &Catalogue) -> Result<Config, ConfigError> {
        resolve::resolve(self.draft, &self.directory, catalogue).map_err(|mut problems| {
            problems.sort_by_key(|problem| match problem.place {
                Place::File(line) => line,
                _ => usize::MAX,
            });
            ConfigError { file: self.file, problems }
        })
    }
}

/// The text of a file of reasonable size; or the line (0: none) and what is wrong.
fn read_text(path: &Path) -> Result<String, (usize, String)> {
    let unreadable = |why: std::io::Error| (0, format!("cannot be read: {why}"));
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(unreadable)?;
    file.take(FILE_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > FILE_MAX {
        return Err((0, format!("is larger than {} MiB, expected a configuration", FILE_MAX >> 20)));
    }
    String::from_utf8(bytes).map_err(|why| {
        let good = &why.as_bytes()[..why.utf8_error().valid_up_to()];
        (1 + good.iter().filter(|&&b| b == b'\n').count(), "is not UTF-8 text".to_owned())
    })
}

/// Whether whoever sits at the terminal wants no colours: `NO_COLOR` is set and not empty (<https://no-color.org>,
/// read 2026-11-21).
#[must_use]
pub fn wants_no_colours() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
}

/// The variables of this process that may be ours.
fn environment() -> Vec<(String, String)> {
    let lossy = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
    std::env::vars_os().map(|(name, value)| (lossy(name), lossy(value))).collect()
}

/// The sentence about a name that is no venue.
#[must_use]
pub fn unknown_venue(name: &str) -> String {
    resolve::unknown_venue(name, VENUES.iter().map(|venue| venue.facts().name))
}
