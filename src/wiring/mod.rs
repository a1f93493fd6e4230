//! Builds all parts, rings and readers; starts, stops and joins threads. The only module that knows all stages.

mod clustering;
mod reloading;
mod replaying;
mod terminal;
mod threads;

pub use threads::detach_log;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crossbeam::channel::Sender;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;

use crate::cli::{CommandFailure, DemoArgs, ReplayArgs, SimArgs};
use crate::cluster::{self, lead};
use crate::config::{Config, Plan, VenueConfig};
use crate::detector::{Detector, DetectorParts, Subscriber};
use crate::discovery::Catalogue;
use crate::feed::{Feed, FeedParts, FeedVenue};
use crate::gateway::http::admin::AdminPort;
use crate::gateway::{Clocks, Gateway, GatewayOptions, GatewayParts, GatewaySettings};
use crate::last_known::{self, LastKnownParts, LastKnownStore};
use crate::log;
use crate::market::quote::FeedEvent;
use crate::market::{Directory, VenueId};
use crate::matrix::books::BookTable;
use crate::matrix::changes::Changes;
use crate::matrix::days::DayTable;
use crate::matrix::{MatrixWriter, QuoteMatrix, SharedMatrix};
use crate::metrics::Board;
use crate::metrics::cluster::ClusterBoard;
use crate::net::dial;
use crate::net::listen::{self, Listener};
use crate::net::switch::Switch;
use crate::net::tls::Trust;
use crate::reload::FeedPort;
use crate::sim::certificates::{self, Certificates};
use crate::sim::lively;
use crate::sim::prices::Openings;
use crate::sim::scenario::Scenario;
use crate::sim::truth::{Truth, TruthFile};
use crate::sim::{self, Sim, SimParts};
use crate::stage::{Alarm, Stage};
use crate::time::{Clock, MS, MonoNs};
use crate::venues::Venue;
use reloading::Reloading;
use threads::{Running, ThreadRow};

/// Capacity of the ring from a feed to the detector. While it is full, the newest quote of each instrument wins.
const FEED_RING: usize = 4096;
/// Capacity of the ring of opportunity events to a gateway.
const OPPORTUNITY_RING: usize = 4096;
/// File descriptors reserved for our own use: connections to venues, polls and files, with a reserve of the same size.
const DESCRIPTORS_OURS: usize = 256;
/// The longest time from the signal, or from the end of handing over in a cluster, until the process exits.
const STOP_MAX_NS: u64 = 1900 * MS;
/// The longest that handing over in a cluster may take.
const HAND_OVER_MAX_NS: u64 = lead::STOP_NS + 500 * MS;

/// Simulated venues, feeds, detector and gateway in one process.
///
/// # Errors
/// If a port is in use, a file cannot be written or a thread cannot be created.
pub fn demo(mut config: Config, args: &DemoArgs) -> Result<(), CommandFailure> {
    let signals = signals()?;
    signals.add_signal(SIGUSR1).map_err(|why| unavailable("signals", &why))?;
    // A demo never joins a cluster, since its simulated prices must not reach other instances.
    let parts = SharedParts::new(&config, config.directory(), Clock::System, None, None)?;
    let listener = bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
    let pairs = config.instruments.iter().filter_map(|symbol| symbol.split_once('/'));
    let instruments: Vec<_> = pairs.map(|(base, quote)| (base.to_owned(), quote.to_owned())).collect();
    let venues: Vec<&'static dyn Venue> = config.venues.iter().map(|v| v.venue).collect();
    let script = match &args.scenario {
        Some(file) => scenario(file, &venues).and_then(|script| without_tls(&script).map(|()| script))?,
        None => lively::script(args.seed, &venues, &instruments),
    };
    let mut sim = simulator(SimParts {
        venues: venues.clone(),
        instruments,
        listener,
        seed: args.seed,
        rate: sim::RATE_DEFAULT,
        clock: Clock::System,
        options: sim::SimOptions {
            opportunity_every_ms: lively::OPPORTUNITY_EVERY_MS,
            openings: Openings::Varied,
            ..sim::SimOptions::default()
        },
    })?;
    if let Some(file) = &args.truth {
        sim.record_truth(truth(file)?);
    }
    let played = lively::describe(&script, &venues);
    sim.follow(script);
    for venue in &mut config.venues {
        venue.address = sim::address_of(venue.venue, sim.address());
        venue.rest_address = sim::rest_address_of(venue.venue, sim.address());
    }
    let mut beside = vec![ThreadRow::cold(Box::new(sim))];
    let watcher = sim::watcher::Watcher::new(parts.address, &config.instruments, Clock::System);
    beside.push(ThreadRow::cold(Box::new(watcher.map_err(|why| unavailable("the demo's own client", &why))?)));
    terminal::greet(parts.address, "simulated", &parts.directory);
    terminal::say("The demo plays opportunities of 10 ms to 8 s, about one per second, and:");
    played.iter().for_each(|sentence| terminal::say(&format!("  {sentence}")));
    run_live(&config, parts, beside, None, signals)
}

/// Catches SIGHUP and SIGUSR1 from now on, for [`serve`], so that they do not end the process while it prepares.
///
/// # Errors
/// If the system refuses.
pub fn signals_of_serve() -> Result<Signals, CommandFailure> {
    Signals::new([SIGHUP, SIGUSR1]).map_err(|why| unavailable("signals", &why))
}

/// Runs the gateway on the configured venues until a signal. `config` was resolved from `plan`, which was read from the
/// file at `path`, with the lists of `catalogue`.
///
/// # Errors
/// If a port is in use or a thread cannot be created.
pub fn serve(
    config: Config,
    plan: Plan,
    catalogue: &Catalogue,
    path: &Path,
    signals: Signals,
) -> Result<(), CommandFailure> {
    for signal in [SIGINT, SIGTERM] {
        signals.add_signal(signal).map_err(|why| unavailable("signals", &why))?;
    }
    let cluster = clustering::settings(&config);
    let (reloading, admin) = Reloading::new(&config, plan, path);
    let directory = config.directory_with_room();
    catalogue.apply(&config.quoted(), &directory);
    let parts = SharedParts::new(&config, directory, Clock::System, cluster, admin)?;
    terminal::greet(parts.address, "", &parts.directory);
    run_live(&config, parts, Vec::new(), Some(reloading), signals)
}

/// Runs only the simulated venues, until a signal.
///
/// # Errors
/// If the port is in use.
pub fn sim(args: SimArgs) -> Result<(), CommandFailure> {
    let signals = signals()?;
    let venues = args.chosen_venues();
    let scenario = args.scenario.as_deref().map(|file| scenario(file, &venues)).transpose()?;
    if args.tls.is_none() {
        scenario.iter().try_for_each(without_tls)?;
    }
    let mut sim = simulator(SimParts {
        venues: venues.clone(),
        instruments: sim::default_instruments(),
        listener: bind(args.listen)?,
        seed: args.seed,
        rate: args.rate,
        clock: Clock::System,
        options: sim::SimOptions::default(),
    })?;
    let address = sim.address();
    let s = if args.tls.is_some() { "s" } else { "" };
    terminal::say(&format!("spreadwire simulates {} venues on http{s}://{address}/", venues.len()));
    for venue in venues {
        let plain = sim::address_of(venue, address);
        terminal::say(&format!("  {:<10} ws{s}{}", venue.facts().name, plain.trim_start_matches("ws")));
    }
    if let Some(folder) = &args.tls {
        let file = secure(&mut sim, folder)?;
        terminal::say(&format!("  CA certificate, for ca_file in a configuration: {}", file.display()));
    }
    if let Some(scenario) = scenario {
        terminal::say(&format!("  scripted faults: {}", scenario.faults.len()));
        lively::describe(&scenario, &args.chosen_venues()).iter().for_each(|it| terminal::say(&format!("    {it}")));
        sim.follow(scenario);
    }
    if let Some(file) = &args.truth {
        sim.record_truth(truth(file)?);
        terminal::say(&format!("  truth about the books: {}", file.display()));
    }
    let rows = vec![ThreadRow::cold(Box::new(sim))];
    let rows = vec![threads::start(rows, &crate::config::ThreadOptions::default(), None)?];
    until_signal(signals, None, rows, &Heed::default())
}

/// Replays captures through the whole data path. Limits and fees are those of `config`.
///
/// # Errors
/// If a file cannot be read or a port is in use.
pub fn replay(config: Config, args: ReplayArgs) -> Result<(), CommandFailure> {
    replaying::run(config, &args)
}

/// Parts that all ways of running share, created before any thread: the matrix and its readers.
struct SharedParts {
    directory: Arc<Directory>,
    matrix: SharedMatrix,
    writer: MatrixWriter,
    days: Arc<DayTable>,
    books: Arc<BookTable>,
    board: Arc<Board>,
    clock: Clock,
    address: SocketAddr,
    gateways: Vec<Gateway>,
    subscribers: Vec<Subscriber>,
    /// The cluster to join, if any.
    cluster: Option<cluster::ClusterSettings>,
    /// Receives admin calls, if they are enabled.
    admin: Option<AdminPort>,
}

impl SharedParts {
    /// Binds the port first, so that a port in use is reported before anything is connected.
    fn new(
        config: &Config,
        directory: Directory,
        clock: Clock,
        cluster: Option<cluster::ClusterSettings>,
        admin: Option<AdminPort>,
    ) -> Result<Self, CommandFailure> {
        let count = config.gateway.threads;
        let settings = gateway_settings(config);
        let listener = bind(config.gateway.listen)?;
        let address = listener.address();
        let directory = Arc::new(directory);
        let (matrix, writer) = QuoteMatrix::new(directory.pairs());
        let days = Arc::new(DayTable::new(directory.pairs()));
        let books = Arc::new(BookTable::new(directory.pairs(), config.books.levels));
        let mut board = Board::new(clock.now(), directory.columns(), count);
        board.cluster = cluster.as_ref().map(|it| ClusterBoard::new(it.id.clone(), directory.columns()));
        let board = Arc::new(board);
        let mut parts = Self {
            directory,
            matrix: Arc::clone(&matrix),
            writer,
            days,
            books,
            board,
            clock,
            address,
            gateways: Vec::new(),
            subscribers: Vec::new(),
            cluster,
            admin,
        };
        for index in 1..count {
            let shared = listener.share().map_err(|why| unavailable(&address.to_string(), &why))?;
            parts.add_gateway(&settings, &matrix, shared, index)?;
        }
        parts.add_gateway(&settings, &matrix, listener, 0)?;
        Ok(parts)
    }

    fn add_gateway(
        &mut self,
        settings: &GatewaySettings,
        matrix: &SharedMatrix,
        listener: Listener,
        index: usize,
    ) -> Result<(), CommandFailure> {
        let (producer, consumer) = rtrb::RingBuffer::new(OPPORTUNITY_RING);
        let changes = Arc::new(Changes::new(self.directory.pairs()));
        let mut settings = settings.clone();
        if let Some(cluster) = &self.cluster {
            settings.instance.clone_from(&cluster.id);
        }
        let parts = GatewayParts {
            directory: Arc::clone(&self.directory),
            matrix: Arc::clone(matrix),
            days: Arc::clone(&self.days),
            books: Arc::clone(&self.books),
            changes: Arc::clone(&changes),
            opportunities: consumer,
            board: Arc::clone(&self.board),
            index,
            // Clients stay on the system clock, also while quotes of a replay follow another.
            clocks: Clocks { quotes: self.clock.clone(), clients: Clock::System },
            settings,
            listener: Some(listener),
            admin: self.admin.clone(),
        };
        let (gateway, alarm) = Gateway::new(parts).map_err(|why| unavailable("the gateway", &why))?;
        self.gateways.push(gateway);
        self.subscribers.push(Subscriber { changes, opportunities: Some(producer), alarm });
        Ok(())
    }

    /// Builds the detector that reads `rings`, and the alarm that wakes it. The gateways are notified from now on.
    fn detector(self, config: &Config, rings: Vec<rtrb::Consumer<FeedEvent>>) -> (Detector, Alarm, Vec<Gateway>) {
        let (detector, alarm) = Detector::new(DetectorParts {
            directory: self.directory,
            matrix: self.writer,
            rings,
            subscribers: self.subscribers,
            board: self.board,
            clock: self.clock,
            options: config.detector.within(&config.quotes),
        });
        (detector, alarm, self.gateways)
    }
}

/// Runs feeds, detector and gateways on their threads, together with the threads of `beside`, until a signal.
fn run_live(
    config: &Config,
    mut parts: SharedParts,
    beside: Vec<ThreadRow>,
    mut reloading: Option<Reloading>,
    signals: Signals,
) -> Result<(), CommandFailure> {
    let (directory, days, board, clock) =
        (Arc::clone(&parts.directory), Arc::clone(&parts.days), Arc::clone(&parts.board), parts.clock.clone());
    let (matrix, books) = (Arc::clone(&parts.matrix), Arc::clone(&parts.books));
    let shares = shares(config)?;
    let (producers, mut consumers): (Vec<_>, Vec<_>) = shares.iter().map(|_| rtrb::RingBuffer::new(FEED_RING)).unzip();
    let kept = config.state_dir.as_ref().map(|_| rtrb::RingBuffer::new(FEED_RING));
    let (kept, found) = kept.unzip();
    consumers.extend(found);
    let cluster = clustering::prepare(&mut parts, &mut consumers)?;
    let mut others: Vec<Alarm> = parts.subscribers.iter().map(|port| port.alarm.clone()).collect();
    let (detector, alarm, gateways) = parts.detector(config, consumers);
    // In a cluster it is decided later which instance connects to which venue.
    let switch = Arc::new(Switch::new(directory.columns(), cluster.is_none()));
    let (dialer, dialers) =
        dial::pool(dialers(config, &directory), &clock).map_err(|why| unavailable("dialling", &why))?;

    let (mut rows, mut feeds) = (Vec::new(), Vec::new());
    for (venues, ring) in shares.into_iter().zip(producers) {
        let ids = venues.iter().map(|venue| venue.id).collect();
        let (orders, changes) = reloading::feed_channel(reloading.is_some());
        let (feed, feed_alarm) = Feed::new(FeedParts {
            directory: Arc::clone(&directory),
            venues,
            ring,
            detector: alarm.clone(),
            days: Arc::clone(&days),
            books: Arc::clone(&books),
            board: Arc::clone(&board),
            switch: Arc::clone(&switch),
            changes,
            dialer: dialer.clone(),
            clock: clock.clone(),
            options: config.feed,
            quotes: config.quotes,
            seed: None,
        })
        .map_err(|why| unavailable("a feed", &why))?;
        rows.push(vec![Box::new(feed) as Box<dyn Stage>]);
        if let Some(reloading) = &mut reloading {
            reloading.feeds.push(FeedPort { changes: orders, alarm: feed_alarm.clone(), venues: ids });
        }
        feeds.push(feed_alarm);
    }
    let mut followers: Vec<Box<dyn Stage>> = vec![Box::new(detector)];
    followers.extend(gateways.into_iter().map(|gateway| Box::new(gateway) as Box<dyn Stage>));
    // Wakes the detector on behalf of stages other than feeds. If it shares a thread with a feed, the feed sleeps for
    // it.
    let alarm = if threads::each_alone(&config.threads, config.gateway.threads) {
        rows.extend(followers.into_iter().map(|stage| vec![stage]));
        alarm
    } else {
        rows[0].extend(followers);
        feeds[0].always()
    };
    let keeper = kept.zip(state_of(config)).map(|(ring, (state_dir, boot))| {
        let (names, detector) = (Arc::clone(&directory), alarm.clone());
        let (board, clock) = (Arc::clone(&board), clock.clone());
        LastKnownStore::new(LastKnownParts { directory: state_dir, names, matrix, ring, detector, board, clock, boot })
    });
    let mut rows: Vec<ThreadRow> = rows.into_iter().map(ThreadRow::hot).collect();
    rows.extend(dialers.into_iter().map(ThreadRow::left_behind));
    rows.extend(keeper.map(|keeper| ThreadRow::cold(Box::new(keeper))));
    let mut heed = Heed { hang_up: None, retry: Some((Arc::clone(&switch), feeds.clone())) };
    match reloading {
        Some(reloading) => {
            others.push(alarm.clone());
            let (beside, signal) = reloading.rows(&directory, others, &switch, &board, &clock)?;
            rows.extend(beside);
            heed.hang_up = Some(signal);
        }
        None => rows.push(ThreadRow::cold(Box::new(terminal::LiveLine::new(Arc::clone(&board))))),
    }
    let (lead, follow) = match cluster {
        Some(cluster) => cluster.rows(config, &alarm, &switch, feeds)?,
        None => (Vec::new(), Vec::new()),
    };
    rows.extend(follow);
    let lead = threads::start(lead, &config.threads, Some(&board))?;
    let groups = [rows, beside].into_iter().map(|rows| threads::start(rows, &config.threads, Some(&board)));
    until_signal(signals, Some(lead), groups.collect::<Result<_, _>>()?, &heed)
}

/// The directory for last known quotes, and the boot of this host that their times refer to. `None` without either.
fn state_of(config: &Config) -> Option<(PathBuf, String)> {
    let directory = config.state_dir.clone()?;
    let Some(boot) = last_known::boot_id() else {
        log::say(format_args!(
            "warning: state_dir: last known prices are not stored, because this host has no boot ID"
        ));
        return None;
    };
    Some((directory, boot))
}

fn trust(venue: &VenueConfig) -> Result<Trust, CommandFailure> {
    venue.trust().map_err(CommandFailure::Unavailable)
}

/// Enough dialers that no venue waits for another, nor for one of its own pages.
fn dialers(config: &Config, directory: &Directory) -> usize {
    directory.columns() * if config.books.levels > 0 { 2 } else { 1 }
}

/// The venues, divided evenly among the feed threads.
fn shares(config: &Config) -> Result<Vec<Vec<FeedVenue>>, CommandFailure> {
    let count = config.threads.feeds.clamp(1, config.venues.len().max(1));
    let mut shares: Vec<Vec<FeedVenue>> = (0..count).map(|_| Vec::new()).collect();
    for (at, venue) in config.venues.iter().enumerate() {
        let (address, rest_address, trust) = (venue.address.clone(), venue.rest_address.clone(), trust(venue)?);
        let id = VenueId(at as u16);
        shares[at % count].push(FeedVenue {
            id,
            venue: venue.venue,
            address,
            rest_address,
            trust,
            witness: venue.witness,
        });
    }
    Ok(shares)
}

/// Catches SIGINT and SIGTERM from now on. Called before anything is printed or started, since a user who sees the
/// start may stop the process immediately.
fn signals() -> Result<Signals, CommandFailure> {
    Signals::new([SIGINT, SIGTERM]).map_err(|why| unavailable("signals", &why))
}

/// Reactions to signals that do not stop the process.
#[derive(Default)]
struct Heed {
    /// Receives SIGHUP; one waiting message stands for all. `None`: SIGHUP stops the process.
    hang_up: Option<Sender<()>>,
    /// On SIGUSR1 these feeds retry every venue immediately.
    retry: Option<(Arc<Switch>, Vec<Alarm>)>,
}

/// Waits for SIGINT or SIGTERM, then stops one group of threads after the other: first `lead`, which hands over its
/// venues while everything else continues, then `groups`, users before the parts that they use.
fn until_signal(
    mut signals: Signals,
    lead: Option<Running>,
    groups: Vec<Running>,
    heed: &Heed,
) -> Result<(), CommandFailure> {
    for signal in signals.forever() {
        match (signal, heed) {
            (SIGHUP, Heed { hang_up: Some(hang_up), .. }) => drop(hang_up.try_send(())),
            (SIGUSR1, Heed { retry: Some((switch, feeds)), .. }) => {
                log::say(format_args!("feed: SIGUSR1: retrying all exchanges that are not connected"));
                switch.retry(None);
                feeds.iter().for_each(Alarm::ring);
            }
            _ => break,
        }
    }
    if let Some(lead) = lead {
        stop(&lead, &mut signals, Clock::System.now(), HAND_OVER_MAX_NS);
    }
    let begun = Clock::System.now();
    for group in groups {
        stop(&group, &mut signals, begun, STOP_MAX_NS);
    }
    Ok(())
}

fn stop(group: &Running, signals: &mut Signals, begun: MonoNs, most_ns: u64) {
    group.stop.request();
    while !group.is_finished() {
        let again = signals.pending().any(|signal| ![SIGHUP, SIGUSR1].contains(&signal));
        if again || Clock::System.now().since(begun) > most_ns {
            // A second signal means that the user does not want to wait, and a hanging thread must not keep the process
            // alive.
            log::flush();
            std::process::exit(if again { 130 } else { 0 });
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Most connections of all gateways together: the configured number, limited by the file descriptors. If clients took
/// the last descriptor, a lost venue could not be connected again.
fn clients_max(config: &Config) -> usize {
    let wanted = config.gateway.clients_max;
    let limit = listen::raise_descriptors();
    let most = limit.saturating_sub(DESCRIPTORS_OURS).max(limit / 2);
    if wanted > most {
        log::say(format_args!(
            "warning: gateway.clients_max is {wanted}, but with {limit} descriptors (ulimit -n) only {most} are possible"
        ));
    }
    wanted.min(most)
}

fn bind(address: SocketAddr) -> Result<Listener, CommandFailure> {
    Listener::bind(address).map_err(|why| unavailable(&format!("cannot listen on {address}"), &why))
}

/// Reads a fault script from a file.
fn scenario(file: &Path, venues: &[&'static dyn Venue]) -> Result<Scenario, CommandFailure> {
    let shown = file.display();
    let text = std::fs::read_to_string(file)
        .map_err(|why| CommandFailure::Unavailable(format!("{shown} cannot be read: {why}")))?;
    Scenario::read(&text, venues).map_err(|why| CommandFailure::Configuration(format!("{shown}:{why}")))
}

/// Refuses a scenario that needs `sim --tls`.
fn without_tls(script: &Scenario) -> Result<(), CommandFailure> {
    match script.faults.iter().any(|fault| fault.kind.is_of_tls()) {
        true => {
            Err(CommandFailure::Configuration("the scenario has TLS faults, which require sim --tls DIR".to_owned()))
        }
        false => Ok(()),
    }
}

/// A record of the truth in a new file.
fn truth(file: &Path) -> Result<Truth, CommandFailure> {
    let out = std::fs::File::create(file).map_err(|why| unavailable(&file.display().to_string(), &why))?;
    Ok(Truth::new(Box::new(TruthFile::new(out))))
}

/// Makes the simulator use TLS. Returns the path of its CA certificate.
fn secure(sim: &mut Sim, folder: &Path) -> Result<PathBuf, CommandFailure> {
    let certificates = Certificates::new(sim.address().ip()).map_err(CommandFailure::Internal)?;
    let file = folder.join(certificates::CA_FILE);
    std::fs::create_dir_all(folder)
        .and_then(|()| std::fs::write(&file, certificates.authority()))
        .map_err(|why| unavailable(&file.display().to_string(), &why))?;
    sim.secure(certificates);
    Ok(file)
}

fn simulator(parts: SimParts) -> Result<Sim, CommandFailure> {
    Sim::new(parts).map_err(|why| unavailable("the simulator", &why))
}

fn unavailable(what: &str, why: &std::io::Error) -> CommandFailure {
    CommandFailure::Unavailable(format!("{what}: {why}"))
}

/// What all gateways are set to. The limits of one address are shared by all of them.
fn gateway_settings(config: &Config) -> GatewaySettings {
    let hostname = rustix::system::uname().nodename().to_string_lossy().into_owned();
    GatewaySettings {
        gateway: GatewayOptions { clients_max: clients_max(config), ..config.gateway.clone() },
        quotes: config.quotes,
        books: config.books,
        detector: config.detector,
        price_order: config.price_order.clone(),
        addresses: config.gateway.addresses(),
        instance: format!("{hostname}_{}_{}", std::process::id(), Clock::System.unix().ms()),
        hostname,
    }
}
