//! The binary: subcommands in, exit codes out. What takes a thread is in `wiring`; `decode` and
//! `check-config` are done here, on the main thread.

use std::fmt::Display;
use std::io::{self, BufWriter, ErrorKind, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use spreadwire::cli::{
    Cli, CliCommand, ClusterCommand, ClusterStatusArgs, CommandFailure, DecodeArgs, DemoArgs, InstrumentsArgs, TopArgs,
};
use spreadwire::cluster::{self, error::StoreError, status};
use spreadwire::config::{self, Config, Plan};
use spreadwire::discovery::Catalogue;
use spreadwire::discovery::status::StatusPages;
use spreadwire::record::capture::Capture;
use spreadwire::record::decode;
use spreadwire::time::Clock;
use spreadwire::venues::Venue;
use spreadwire::{log, os, stage, tables, top, wiring};

/// Longest wait for Redis in milliseconds: a person can wait longer than a gateway.
const STATUS_CALL_MS: u64 = 2000;

fn main() -> ExitCode {
    os::limit_kept_memory();
    stage::stop_process_on_panic();
    let cli = Cli::try_parse().unwrap_or_else(|error| leave_with_usage(&error));
    // A log that is not read must not keep a server from ending with its exit code.
    let ended = if is_server(&cli) { wiring::detach_log() } else { Ok(()) };
    let code = match ended.and_then(|()| run(cli)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            tell(&failure);
            ExitCode::from(failure.code())
        }
    };
    log::flush();
    code
}

/// Prints the help, the version or a usage error, and ends the process.
fn leave_with_usage(error: &clap::Error) -> ! {
    // A terminal gets colours. Elsewhere the error may be for a log that nobody reads.
    if error.use_stderr() && !io::stderr().is_terminal() && wiring::detach_log().is_ok() {
        log::say(format_args!("{}", error.render().to_string().trim_end()));
        log::flush();
        std::process::exit(error.exit_code());
    }
    error.exit()
}

/// Whether the command runs until it is stopped.
fn is_server(cli: &Cli) -> bool {
    match &cli.command {
        None | Some(CliCommand::Demo(_) | CliCommand::Serve(_) | CliCommand::Sim(_)) => true,
        Some(CliCommand::Replay(args)) => args.listen.is_some(),
        Some(_) => false,
    }
}

fn run(cli: Cli) -> Result<(), CommandFailure> {
    match cli.command.unwrap_or(CliCommand::Demo(cli.demo)) {
        CliCommand::Demo(args) => run_demo(&args),
        CliCommand::Serve(args) => run_serve(&args.config),
        CliCommand::Sim(args) => wiring::sim(args),
        CliCommand::Replay(args) => wiring::replay(Config::defaults()?, args),
        CliCommand::Decode(args) => run_decode(&args),
        CliCommand::Top(args) => run_top(&args),
        CliCommand::Cluster(args) => match args.command {
            ClusterCommand::Status(args) => run_cluster_status(&args),
        },
        CliCommand::Venues(args) => print(tables::venues(args.json).as_bytes()),
        CliCommand::Instruments(args) => run_instruments(&args),
        CliCommand::CheckConfig(args) => print(load(&args.file)?.0.to_toml().as_bytes()),
    }
}

fn run_demo(args: &DemoArgs) -> Result<(), CommandFailure> {
    let mut config = Config::defaults()?;
    if let Some(address) = args.listen {
        config = config.listening_on(address);
    }
    warn(&config);
    wiring::demo(config, args)
}

fn run_serve(path: &Path) -> Result<(), CommandFailure> {
    let plan = Plan::load(path)?;
    let asks = plan.has_patterns();
    let signals = wiring::signals_of_serve()?;
    let (config, catalogue) = resolve(plan.clone(), asks)?;
    wiring::serve(config, plan, &catalogue, path, signals)
}

/// The configuration of a file, and what is known of the venues' lists. Venues are asked only where it matters.
fn load(path: &Path) -> Result<(Config, Catalogue), CommandFailure> {
    let plan = Plan::load(path)?;
    let asks = plan.has_patterns();
    resolve(plan, asks)
}

fn resolve(plan: Plan, asks: bool) -> Result<(Config, Catalogue), CommandFailure> {
    let catalogue = if asks { gather(&plan)? } else { plan.kept() };
    let config = plan.resolve(&catalogue)?;
    warn(&config);
    Ok((config, catalogue))
}

fn gather(plan: &Plan) -> Result<Catalogue, CommandFailure> {
    let catalogue = Catalogue::gather(&plan.wanted(), plan.state_dir().as_deref(), plan.patience(), &Clock::System)
        .map_err(|why| CommandFailure::Unavailable(format!("asking for lists of instruments: {why}")))?;
    for (venue, why) in catalogue.missing() {
        tell(&format_args!("warning: the list of {venue} could not be read: {why}"));
    }
    Ok(catalogue)
}

fn run_instruments(args: &InstrumentsArgs) -> Result<(), CommandFailure> {
    let plan = match &args.config {
        Some(path) => Plan::load(path)?,
        None => Plan::defaults(),
    };
    let patience = plan.patience();
    let (config, catalogue) = resolve(plan, true)?;
    let statuses = read_status_pages(&config, args.venue, patience)?;
    print(tables::instruments(&config, &catalogue, &statuses, args.venue, args.json).as_bytes())
}

/// Reads the status pages of the venues whose lists do not state what is traded, or only of `only`.
fn read_status_pages(
    config: &Config,
    only: Option<&'static dyn Venue>,
    patience: Duration,
) -> Result<StatusPages, CommandFailure> {
    let mut scope = config.scope().map_err(CommandFailure::Unavailable)?;
    scope.quoted.retain(|quoted| only.is_none_or(|only| only.facts().name == quoted.venue));
    let mut pages = StatusPages::new(u64::MAX, Clock::System);
    pages.set(scope.pages());
    pages.read_all(patience);
    if pages.unread() > 0 {
        let count = pages.unread();
        tell(&format_args!("warning: status pages of {count} instruments were not read, so their status is unknown"));
    }
    Ok(pages)
}

fn warn(config: &Config) {
    for warning in config.warnings() {
        tell(&format_args!("warning: {warning}"));
    }
}

/// One line on the standard error.
fn tell(line: &dyn Display) {
    log::say(format_args!("{line}"));
}

fn run_cluster_status(args: &ClusterStatusArgs) -> Result<(), CommandFailure> {
    let plan = match &args.config {
        Some(path) => Plan::load(path)?,
        None => Plan::defaults(),
    };
    // No venue is asked for its list: symbols tell no more here than how old their values are.
    let kept = plan.kept();
    let config = plan.resolve(&kept)?;
    let redis = args.redis.clone().unwrap_or_else(|| config.cluster.redis.clone());
    if redis.is_empty() {
        let what = "cluster.redis: is empty, expected an address of Redis: name a file with --config, or use --redis";
        return Err(CommandFailure::Configuration(what.to_owned()));
    }
    let prefix = args.prefix.clone().unwrap_or_else(|| config.cluster.prefix.clone());
    let options =
        cluster::ClusterOptions { redis, prefix, call_ms: STATUS_CALL_MS, ..cluster::ClusterOptions::default() };
    let settings = cluster::ClusterSettings { cluster: options, ..cluster::ClusterSettings::default() };
    cluster::address::Address::parse(&settings.cluster.redis)
        .map_err(|what| CommandFailure::Configuration(format!("cluster.redis: {what}")))?;
    let symbols = |venue: &config::VenueConfig| {
        let quoted = config.instruments.iter().zip(&venue.native).filter(|(_, native)| native.is_some());
        quoted.map(|(symbol, _)| symbol.as_str()).collect()
    };
    let venues: Vec<(&str, Vec<&str>)> = config.venues.iter().map(|venue| (venue.name(), symbols(venue))).collect();
    let mut status =
        status::look(&settings, &venues).map_err(|why: StoreError| CommandFailure::Unavailable(why.to_string()))?;
    if args.config.is_none() {
        // Which exchanges the gateways have is not known here: those with a leader are.
        status.venues.retain(|led| led.lease.is_some());
    }
    if args.json {
        print(&[status.json(), b"\n".to_vec()].concat())?
    } else {
        print(status.text().as_bytes())?
    }
    let without: Vec<&str> = status.leaderless().collect();
    match (without.is_empty(), status.venues.is_empty()) {
        (true, false) => Ok(()),
        (false, _) => Err(CommandFailure::Unavailable(format!("without a leader: {}", without.join(", ")))),
        (true, true) => Err(CommandFailure::Unavailable("no exchange has a leader".to_owned())),
    }
}

fn run_top(args: &TopArgs) -> Result<(), CommandFailure> {
    if args.once {
        return print(top::snapshot(&args.url, args.json)?.as_bytes());
    }
    top::run(&args.url, !config::wants_no_colours())
}

fn run_decode(args: &DecodeArgs) -> Result<(), CommandFailure> {
    let name = args.file.display();
    let unreadable = |why: io::Error| CommandFailure::Unavailable(format!("{name}: cannot be read: {why}"));
    let mut capture = Capture::open(&args.file).map_err(unreadable)?;
    let mut out = BufWriter::with_capacity(1 << 16, io::stdout().lock());
    let mut written = Ok(());
    let quote = |line: &[u8]| {
        if written.is_ok() {
            written = out.write_all(line).and_then(|()| out.write_all(b"\n"));
            leave_if_unread(&written);
        }
    };
    let error = |line: usize, why: &str| tell(&format_args!("{name}:{line}: {why}"));
    let read = decode::decode(args.venue, &mut capture, quote, error);
    let written = written.and_then(|()| out.flush());
    leave_if_unread(&written);
    written.map_err(unwritable)?;
    let summary = read.map_err(unreadable)?;
    tell(&format_args!(
        "{name}: {} quotes from {} frames; {} frames of channels that are not used, {} that could not be decoded",
        summary.quotes, summary.frames, summary.unused, summary.errors
    ));
    Ok(())
}

/// Writes `bytes` to the standard output.
fn print(bytes: &[u8]) -> Result<(), CommandFailure> {
    let mut out = io::stdout().lock();
    let written = out.write_all(bytes).and_then(|()| out.flush());
    leave_if_unread(&written);
    written.map_err(unwritable)
}

/// The reader has gone (`| head`): there is nobody left to work for, which is no failure.
fn leave_if_unread(written: &io::Result<()>) {
    if written.as_ref().is_err_and(|why| why.kind() == ErrorKind::BrokenPipe) {
        std::process::exit(0);
    }
}

fn unwritable(why: io::Error) -> CommandFailure {
    CommandFailure::Unavailable(format!("cannot write the output: {why}"))
}
