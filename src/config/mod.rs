//! The configuration: file, environment and flags in, one checked [`Config`] out. Precedence: defaults < file <
//! environment < flags; each value records its origin. The only module that reads the environment.
//!
//! Read once, on the main thread, before anything is started. All errors are reported together, one line each:
//! `file:line: key: what is wrong, what was expected`. Nothing is guessed, renamed or ignored.

mod amend;
mod differ;
mod listing;
mod read;
mod resolve;
mod sections;
mod select;

use std::fmt;
use std::io::Read as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::cluster::ClusterOptions;
use crate::discovery::{Catalogue, DiscoveryOptions, ListRequest, QuotedSymbols, Scope, VenueFee};
use crate::feed::FeedOptions;
use crate::gateway::GatewayOptions;
use crate::market::book::BookOptions;
use crate::market::directory::{AssetClaim, Room, VenueEntry};
use crate::market::quote::QuoteOptions;
use crate::market::rule::DetectorOptions;
use crate::market::{Decimal, Directory, VenueId};
use crate::net::tls::Trust;
use crate::venues::{DEFAULT_VENUES, VENUES, Venue};

pub(crate) use amend::Amendment;
pub(crate) use sections::{AdminOptions, ThreadOptions, WatchFile};
pub use sections::{Pin, Spin};

/// All settings, checked and with names resolved.
#[derive(Clone, Debug)]
pub struct Config {
    /// Configured venues; the index is the [`VenueId`].
    pub venues: Vec<VenueConfig>,
    /// All instruments, `BASE/QUOTE`; the index is the [`crate::market::InstrumentId`].
    pub instruments: Vec<String>,
    /// All venues, in the order of preference for the prices of SSE and REST.
    pub price_order: Vec<VenueId>,
    /// Directory for data that survives a restart; `None`: nothing is stored.
    pub state_dir: Option<PathBuf>,
    /// Listening address and limits of clients.
    pub gateway: GatewayOptions,
    /// Validity of quotes.
    pub quotes: QuoteOptions,
    /// When a spread is an opportunity, and when it is alerted.
    pub detector: DetectorOptions,
    /// Threads and cores.
    pub threads: ThreadOptions,
    /// Connections to venues.
    pub feed: FeedOptions,
    /// Lists of instruments that venues publish.
    pub discovery: DiscoveryOptions,
    /// Changes at run time.
    pub admin: AdminOptions,
    /// Order books.
    pub books: BookOptions,
    /// Several gateways as a cluster.
    pub cluster: ClusterOptions,
    warnings: Vec<String>,
    listing: String,
}

/// One configured venue.
#[derive(Clone)]
pub struct VenueConfig {
    /// Its facts and codec.
    pub venue: &'static dyn Venue,
    /// Address to connect to.
    pub address: String,
    /// Taker fee in percent of the notional.
    pub taker_fee_pct: Decimal,
    /// Whether the file or the environment sets the fee.
    pub(crate) is_fee_set: bool,
    /// Additional certificate authorities (PEM) that are trusted for this address.
    pub ca_file: Option<PathBuf>,
    /// REST address from which the list of instruments is read; empty: no list is read.
    pub rest_address: String,
    /// Whether to subscribe to a stream with timestamps where tops have none.
    pub witness: bool,
    /// Native symbol per instrument of the configuration; `None` if this venue does not quote it.
    pub native: Vec<Option<String>>,
    /// What the operator states about the assets of single instruments.
    pub claims: Vec<(String, AssetClaim)>,
}

impl VenueConfig {
    /// Lower-case id, such as `binance`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.venue.facts().name
    }

    /// Its taker fee, for comparison with the fees of lists.
    #[must_use]
    pub const fn fee(&self) -> VenueFee {
        VenueFee { pct: self.taker_fee_pct, is_set: self.is_fee_set }
    }

    /// The instruments about which the operator states `claim`.
    pub fn claimed(&self, claim: AssetClaim) -> impl Iterator<Item = &str> {
        self.claims.iter().filter(move |(_, it)| *it == claim).map(|(symbol, _)| symbol.as_str())
    }

    /// Certificate authorities that are trusted for this venue.
    ///
    /// # Errors
    /// If its file of authorities cannot be used.
    pub fn trust(&self) -> Result<Trust, String> {
        Trust::new(self.ca_file.as_deref()).map_err(|why| format!("venue.{}.ca_file: {why}", self.name()))
    }
}

impl PartialEq for VenueConfig {
    fn eq(&self, other: &Self) -> bool {
        let all = |v: &Self| {
            let address = (v.address.clone(), v.ca_file.clone(), v.witness);
            (v.name(), address, v.taker_fee_pct, v.native.clone(), v.claims.clone())
        };
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

/// Origin of a value, or location of an error.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum ConfigPlace {
    /// The default.
    #[default]
    Default,
    /// The file, at this 1-based line; 0 means the file as a whole.
    File(usize),
    /// The environment variable of this name.
    Environment(String),
    /// An admin call.
    Admin,
}

impl fmt::Display for ConfigPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(line) => write!(f, "file, line {line}"),
            Self::Environment(name) => write!(f, "environment, {name}"),
            Self::Admin => f.write_str("admin call"),
        }
    }
}

/// One error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    /// Location.
    pub place: ConfigPlace,
    /// The key, such as `gateway.listen`; empty if the error concerns no single key.
    pub key: String,
    /// What is wrong and what was expected.
    pub what: String,
}

/// All errors of a configuration. The user's mistake; nothing has been started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// Name of the file as given.
    pub file: String,
    /// All errors, sorted by line; those of the environment come last.
    pub(crate) problems: Vec<Problem>,
}

impl fmt::Display for ConfigError {
    /// One line per error, without a newline at the end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, problem) in self.problems.iter().enumerate() {
            let separator = if at == 0 { "" } else { "\n" };
            match &problem.place {
                ConfigPlace::Default => write!(f, "{separator}default: ")?,
                ConfigPlace::File(0) => write!(f, "{separator}{}: ", self.file)?,
                ConfigPlace::File(line) => write!(f, "{separator}{}:{line}: ", self.file)?,
                ConfigPlace::Environment(name) => write!(f, "{separator}environment: {name}: ")?,
                ConfigPlace::Admin => write!(f, "{separator}admin call: ")?,
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

/// Minimum number of instruments that can be added at run time.
const ROOM_MIN: usize = 64;
/// Largest accepted file in bytes.
const FILE_MAX: u64 = 4 << 20;

impl Config {
    /// Reads the file and the environment of this process.
    ///
    /// # Errors
    /// All errors together.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        Plan::load(path)?.resolve(&Catalogue::default())
    }

    /// The defaults, changed only by the environment of this process.
    ///
    /// # Errors
    /// All errors of the environment together.
    pub fn defaults() -> Result<Self, ConfigError> {
        Self::build("", "", Path::new("."), &environment(), VENUES)
    }

    /// The same from texts: `source` is the content of `file`, `known` are the existing venues. Relative paths are
    /// resolved below `directory`.
    ///
    /// # Errors
    /// All errors together.
    pub fn build(
        file: &str,
        source: &str,
        directory: &Path,
        environment: &[(String, String)],
        known: &[&'static dyn Venue],
    ) -> Result<Self, ConfigError> {
        Plan::build(file, source, directory, environment, known).resolve(&Catalogue::default())
    }

    /// Replaces the listening address, as requested by the flag `--listen`.
    #[must_use]
    pub fn listening_on(mut self, address: SocketAddr) -> Self {
        self.gateway.listen = address;
        self
    }

    /// Names and ids for the rest of the process.
    #[must_use]
    pub fn directory(&self) -> Directory {
        self.with_claims(Directory::new(self.instruments.clone(), self.members()))
    }

    fn with_claims(&self, directory: Directory) -> Directory {
        for venue in &self.venues {
            for (symbol, claim) in &venue.claims {
                let ids = (directory.instrument_named(symbol), directory.venue_named(venue.name()));
                if let (Some(instrument), Some(venue)) = ids {
                    directory.set_claim(instrument, venue, *claim);
                }
            }
        }
        directory
    }

    fn members(&self) -> Vec<VenueEntry> {
        let venues = self.venues.iter().map(|venue| VenueEntry {
            name: venue.name().to_owned(),
            taker_fee_pct: venue.taker_fee_pct,
            native: venue.native.clone(),
        });
        venues.collect()
    }

    /// The same, with room for additions at run time: as many instruments again, at least `ROOM_MIN`, and all existing
    /// venues. In a cluster no venues can be added.
    #[must_use]
    pub(crate) fn directory_with_room(&self) -> Directory {
        let instruments = self.instruments.len().max(ROOM_MIN);
        let venues = if self.cluster.redis.is_empty() { VENUES.len().saturating_sub(self.venues.len()) } else { 0 };
        self.with_claims(Directory::with_room(self.instruments.clone(), self.members(), Room { venues, instruments }))
    }

    /// The venues whose lists of instruments are read periodically, and the instruments that are requested from them.
    ///
    /// # Errors
    /// If a file of authorities cannot be used.
    pub fn scope(&self) -> Result<Scope, String> {
        let mut scope = Scope { wanted: Vec::new(), quoted: Vec::new() };
        for venue in self.venues.iter().filter(|venue| !venue.rest_address.is_empty()) {
            let trust = venue.trust()?;
            scope.wanted.push(ListRequest { venue: venue.venue, address: venue.rest_address.clone(), trust });
        }
        scope.quoted = self.quoted();
        Ok(scope)
    }

    /// The instruments that are requested from each venue.
    #[must_use]
    pub fn quoted(&self) -> Vec<QuotedSymbols> {
        let of = |venue: &VenueConfig| {
            let symbols = self.instruments.iter().zip(&venue.native);
            let symbols = symbols.filter_map(|(symbol, native)| Some((symbol.clone(), native.clone()?))).collect();
            QuotedSymbols { venue: venue.name(), symbols, fee: venue.fee() }
        };
        self.venues.iter().map(of).collect()
    }

    /// Settings that are valid but may be unintended, one sentence each.
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

    /// The effective configuration as TOML; a comment on each line names the origin of the value.
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

/// A configuration that has been read but not resolved. Resolving it may need the venues' lists.
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
    /// If the file cannot be read. Errors in its content are reported by [`Self::resolve`].
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let file = path.display().to_string();
        let text = read_text(path).map_err(|(line, what)| ConfigError {
            file: file.clone(),
            problems: vec![Problem { place: ConfigPlace::File(line), key: String::new(), what }],
        })?;
        let directory = path.parent().unwrap_or(Path::new("."));
        Ok(Self::build(&file, &text, directory, &environment(), VENUES))
    }

    /// The defaults, changed only by the environment of this process.
    #[must_use]
    pub fn defaults() -> Self {
        Self::build("", "", Path::new("."), &environment(), VENUES)
    }

    /// The lists stored on disk. Does not access the venues.
    #[must_use]
    pub fn kept(&self) -> Catalogue {
        self.state_dir().map(|folder| Catalogue::of_disk(&self.wanted(), &folder)).unwrap_or_default()
    }

    /// Directory for data that survives a restart, if configured.
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

    /// Whether some instruments are patterns, which can be resolved only with the venues' lists.
    #[must_use]
    pub fn has_patterns(&self) -> bool {
        let own = self.draft.known.iter().filter_map(|known| known.instruments.as_ref());
        self.draft.instruments.iter().chain(own).flatten().any(|item| item.text.contains('*'))
    }

    /// Longest time that the start may wait for lists.
    #[must_use]
    pub const fn patience(&self) -> Duration {
        Duration::from_millis(self.draft.discovery.wait_ms)
    }

    /// The configured venues, with the REST addresses of their lists. Errors are reported by [`Self::resolve`].
    #[must_use]
    pub fn wanted(&self) -> Vec<ListRequest> {
        let named = |name: &str| self.draft.venues.as_ref().is_none_or(|all| all.iter().any(|item| item.text == name));
        let mut chosen: Vec<_> = self.draft.known.iter().filter(|known| named(known.venue.facts().name)).collect();
        if self.draft.venues.is_none() {
            chosen.truncate(DEFAULT_VENUES);
        }
        let wanted = chosen.into_iter().filter_map(|known| {
            let ca_file = Some(&known.settings.ca_file).filter(|file| !file.is_empty());
            let trust = Trust::new(ca_file.map(|file| self.directory.join(file)).as_deref());
            let trust = trust.or_else(|_| Trust::new(None)).ok()?;
            Some(ListRequest { venue: known.venue, address: resolve::rest_address(known), trust })
        });
        wanted.collect()
    }

    /// Resolves names and checks that the parts are consistent. `catalogue` contains the venues' lists, as far as
    /// known.
    ///
    /// # Errors
    /// All errors together.
    pub fn resolve(self, catalogue: &Catalogue) -> Result<Config, ConfigError> {
        resolve::resolve(self.draft, &self.directory, catalogue).map_err(|mut problems| {
            problems.sort_by_key(|problem| match problem.place {
                ConfigPlace::File(line) => line,
                _ => usize::MAX,
            });
            ConfigError { file: self.file, problems }
        })
    }
}

/// The text of a file of reasonable size; otherwise the line (0: none) and what is wrong.
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

/// Whether the user wants no colours: `NO_COLOR` is set and not empty (<https://no-color.org>, read 2026-11-21).
#[must_use]
pub fn wants_no_colours() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
}

/// The environment variables of this process.
fn environment() -> Vec<(String, String)> {
    let lossy = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
    std::env::vars_os().map(|(name, value)| (lossy(name), lossy(value))).collect()
}

/// The error text for a name that is not a venue.
#[must_use]
pub(crate) fn unknown_venue(name: &str) -> String {
    read::unknown_venue(name, VENUES.iter().map(|venue| venue.facts().name))
}
