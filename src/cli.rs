//! The command line: subcommands, flags and exit codes. Texts in, checked values out; starts nothing.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::config;
use crate::settings;
use crate::venues::{VENUES, Venue};

/// Cross-exchange quotes and arbitrage alerts: many venues in, WebSocket and SSE out, in microseconds.
#[derive(Parser)]
#[command(version, after_help = after_help(), args_conflicts_with_subcommands = true, disable_help_subcommand = true)]
pub struct Cli {
    /// The subcommand; without one, the demo runs.
    #[command(subcommand)]
    pub command: Option<CliCommand>,
    /// Flags of the demo, accepted without naming it.
    #[command(flatten)]
    pub demo: DemoArgs,
}

const EXAMPLES: &str = "\
Examples:
  spreadwire                                   the demo on http://127.0.0.1:3000
  spreadwire serve --config spreadwire.toml    the gateway on the venues of a file
  spreadwire top http://127.0.0.1:3000         a running gateway in this terminal
  spreadwire cluster status --config FILE      the leaders of a cluster of gateways
  spreadwire check-config spreadwire.toml      the errors of a file, or its effective settings
  spreadwire sim --listen 127.0.0.1:9000       only the simulated venues
  spreadwire replay okx.jsonl.gz --speed 10    captured frames through the whole path
  spreadwire decode --venue okx okx.jsonl.gz   captured frames to quotes, as JSON Lines
  spreadwire venues                            the venues and their facts
  spreadwire instruments --config a.toml       the instruments to subscribe to, by venue";

/// All exit codes with their meaning; 69, 70 and 78 as in sysexits.h. docs/operating.md has the same table.
pub const EXIT_CODES: &[(u8, &str)] = &[
    (0, "done, or stopped by a signal"),
    (2, "wrong usage: an unknown command, flag or value"),
    (
        69,
        "something is unavailable: a port in use, a capture or scenario that cannot be read, no gateway, no Redis, no leader",
    ),
    (
        70,
        "an internal error: a thread panicked; standard error has the message. Restart spreadwire and report the error",
    ),
    (78, "a configuration error: the file cannot be read, or has errors; each is reported with its line"),
    (130, "stopped by a second signal"),
];

fn after_help() -> String {
    let codes = EXIT_CODES.iter().map(|(code, meaning)| format!("\n  {code:<4} {meaning}"));
    format!("{EXAMPLES}\n\nExit codes:{}", codes.collect::<String>())
}

/// The subcommands.
#[derive(Subcommand)]
pub enum CliCommand {
    /// Simulated venues, feeds, detector and gateway in one process
    #[command(after_help = DEMO_EXAMPLES)]
    Demo(DemoArgs),
    /// The gateway on the venues that a file names
    #[command(after_help = SERVE_EXAMPLES)]
    Serve(ServeArgs),
    /// Only the simulated venues, each in its own wire format under its own path
    #[command(after_help = SIM_EXAMPLES)]
    Sim(SimArgs),
    /// Captured frames through feed connection, ring, matrix and detector on the recorded clock
    #[command(after_help = REPLAY_EXAMPLES)]
    Replay(ReplayArgs),
    /// Captured frames to normalised quotes, JSON Lines on the standard output
    #[command(after_help = DECODE_EXAMPLES)]
    Decode(DecodeArgs),
    /// A running gateway in this terminal: venues, opportunities, prices, latency, clients
    #[command(after_help = TOP_EXAMPLES)]
    Top(TopArgs),
    /// Several gateways that work as a cluster
    #[command(after_help = CLUSTER_EXAMPLES, subcommand_required = true, arg_required_else_help = true)]
    Cluster(ClusterArgs),
    /// The supported venues with their fixed properties
    #[command(after_help = VENUES_EXAMPLES)]
    Venues(VenuesArgs),
    /// The instruments to subscribe to, with each venue's own symbol, steps and status
    #[command(after_help = INSTRUMENTS_EXAMPLES)]
    Instruments(InstrumentsArgs),
    /// Reports the errors of a configuration, or prints the effective one
    #[command(after_help = CHECK_EXAMPLES)]
    CheckConfig(CheckArgs),
}

const DEMO_EXAMPLES: &str = "\
Examples:
  spreadwire demo
  spreadwire demo --listen 127.0.0.1:8080 --seed 7
  spreadwire demo --scenario docs/phantoms/lag.toml
  curl -N 'http://127.0.0.1:3000/api/market-data/stream?pairs=BTC/USDT'";

/// Flags of `demo`.
#[derive(Args, Clone, Debug)]
pub struct DemoArgs {
    /// Address to serve on [default: 127.0.0.1:3000]
    #[arg(long, value_name = "IP:PORT", value_parser = parse_address)]
    pub listen: Option<SocketAddr>,
    /// Seed of the simulated prices; the same seed gives the same prices
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Faults and when they happen, instead of the demo's own; an empty file plays none
    #[arg(long, value_name = "FILE")]
    pub scenario: Option<PathBuf>,
    /// Writes to FILE what each venue's book really was, as JSON Lines
    #[arg(long, value_name = "FILE")]
    pub truth: Option<PathBuf>,
}

const SERVE_EXAMPLES: &str = "\
Examples:
  spreadwire serve --config spreadwire.toml
  SPREADWIRE_GATEWAY_LISTEN=127.0.0.1:8080 spreadwire serve --config spreadwire.toml

A file that holds only `venues = [\"binance\", \"okx\"]` is enough.";

/// Flags of `serve`.
#[derive(Args, Clone, Debug)]
pub struct ServeArgs {
    /// Configuration in TOML; docs/configuration.md lists every key
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
}

const SIM_EXAMPLES: &str = "\
Examples:
  spreadwire sim --listen 127.0.0.1:9000
  spreadwire sim --listen 127.0.0.1:9000 --venues binance,okx --seed 7 --rate 1000
  spreadwire sim --listen 127.0.0.1:9000 --scenario bad-day.toml --tls certificates
  spreadwire sim --listen 127.0.0.1:9000 --scenario bad-day.toml --truth truth.jsonl

Each venue is under its own path, such as ws://127.0.0.1:9000/binance/ws; GET / lists them.";

/// Flags of `sim`.
#[derive(Args, Clone)]
pub struct SimArgs {
    /// Address to listen on; port 0 picks a free one
    #[arg(long, value_name = "IP:PORT", value_parser = parse_address)]
    pub listen: SocketAddr,
    /// Venues to simulate, separated by commas [default: all]
    #[arg(long, value_name = "NAMES", value_delimiter = ',', value_parser = parse_venue)]
    pub venues: Vec<&'static dyn Venue>,
    /// Seed of the prices; the same seed gives the same prices
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Top-of-book updates per second, over all instruments and venues
    #[arg(long, value_name = "UPDATES_PER_S", default_value_t = 200.0, value_parser = parse_rate)]
    pub rate: f64,
    /// Faults and when they happen, in TOML; docs/simulator.md lists every fault
    #[arg(long, value_name = "FILE")]
    pub scenario: Option<PathBuf>,
    /// Writes to FILE what each venue's book really was, as JSON Lines
    #[arg(long, value_name = "FILE")]
    pub truth: Option<PathBuf>,
    /// Serves wss:// and https://, and writes the CA certificate to trust to DIR/ca.pem
    #[arg(long, value_name = "DIR")]
    pub tls: Option<PathBuf>,
}

impl SimArgs {
    /// The chosen venues, or all.
    #[must_use]
    pub(crate) fn chosen_venues(&self) -> Vec<&'static dyn Venue> {
        if self.venues.is_empty() { VENUES.to_vec() } else { self.venues.clone() }
    }
}

const REPLAY_EXAMPLES: &str = "\
Examples:
  spreadwire replay binance.jsonl okx.jsonl.gz
  spreadwire replay okx.jsonl.gz --speed 10 --listen 127.0.0.1:3000
  zcat okx.jsonl.gz | spreadwire replay - --venue okx

The venue of a file is --venue, or its name up to the first `.` or `-`.";

/// Flags of `replay`.
#[derive(Args, Clone)]
pub struct ReplayArgs {
    /// Captures, `.jsonl` or `.jsonl.gz`; `-` is the standard input. Several are merged by time
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Speed as a multiple of the recorded one, or `max` [default: max, or 1 with --listen]
    #[arg(long, value_name = "X|max", value_parser = parse_speed)]
    pub(crate) speed: Option<Speed>,
    /// Serve on this address instead of printing
    #[arg(long, value_name = "IP:PORT", value_parser = parse_address)]
    pub listen: Option<SocketAddr>,
    /// Venue of all files, regardless of their names
    #[arg(long, value_name = "NAME", value_parser = parse_venue)]
    pub venue: Option<&'static dyn Venue>,
}

impl ReplayArgs {
    /// The chosen speed. By default, as fast as possible for printing and as recorded for serving.
    #[must_use]
    pub(crate) fn chosen_speed(&self) -> Speed {
        let default = if self.listen.is_some() { Speed::Times(1.0) } else { Speed::Max };
        self.speed.unwrap_or(default)
    }
}

/// How fast a recording is replayed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Speed {
    /// A multiple of the recorded speed; above 0, at most 1,000,000.
    Times(f64),
    /// Without waiting.
    Max,
}

const DECODE_EXAMPLES: &str = "\
Examples:
  spreadwire decode --venue kraken kraken.jsonl.gz
  zcat okx.jsonl.gz | spreadwire decode --venue okx -

A frame that cannot be decoded is reported on the standard error with its line and the reason.";

/// Flags of `decode`.
#[derive(Args, Clone)]
pub struct DecodeArgs {
    /// Venue of the captured frames
    #[arg(long, value_name = "NAME", value_parser = parse_venue)]
    pub venue: &'static dyn Venue,
    /// Capture, `.jsonl` or `.jsonl.gz`; `-` is the standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

const TOP_EXAMPLES: &str = "\
Examples:
  spreadwire top
  spreadwire top http://10.0.0.7:3000
  spreadwire top --once
  spreadwire top --once --json | jq .status.venues

Keys: q quits, ? lists all keys. NO_COLOR is honoured. Exit code 69 if --once finds no gateway.";

/// Flags of `top`.
#[derive(Args, Clone, Debug)]
pub struct TopArgs {
    /// Address of the gateway
    #[arg(value_name = "URL", default_value = "http://127.0.0.1:3000", value_parser = parse_url)]
    pub url: String,
    /// Prints a snapshot as text and exits
    #[arg(long)]
    pub once: bool,
    /// Prints the snapshot as JSON: the underlying pages as one object
    #[arg(long, requires = "once")]
    pub json: bool,
}

const CLUSTER_EXAMPLES: &str = "\
Examples:
  spreadwire cluster status --config spreadwire.toml
  spreadwire cluster status --redis redis://127.0.0.1:6379 --json

Without flags, the environment gives the address of Redis: SPREADWIRE_CLUSTER_REDIS keeps a password off the command line.
Exit codes: 0 every exchange has a leader, 69 one has none or Redis does not answer, 78 configuration.";

/// Flags of `cluster`.
#[derive(Args, Clone, Debug)]
pub struct ClusterArgs {
    /// The subcommand.
    #[command(subcommand)]
    pub command: ClusterCommand,
}

/// The subcommands of `cluster`.
#[derive(Subcommand, Clone, Debug)]
pub enum ClusterCommand {
    /// The instances, and the leader, fencing token and delay of each exchange
    #[command(after_help = CLUSTER_EXAMPLES)]
    Status(ClusterStatusArgs),
}

/// Flags of `cluster status`.
#[derive(Args, Clone, Debug)]
pub struct ClusterStatusArgs {
    /// Configuration of one of the gateways: gives the address of Redis, and the exchanges that must have a leader
    #[arg(long, value_name = "FILE", conflicts_with = "redis")]
    pub config: Option<PathBuf>,
    /// Address of Redis, instead of a configuration
    #[arg(long, value_name = "URL")]
    pub redis: Option<String>,
    /// Prefix of all keys [default: that of the configuration]
    #[arg(long, value_name = "TEXT")]
    pub prefix: Option<String>,
    /// Prints JSON instead of tables
    #[arg(long)]
    pub json: bool,
}

const VENUES_EXAMPLES: &str = "\
Examples:
  spreadwire venues
  spreadwire venues --json";

/// Flags of `venues`.
#[derive(Args, Clone, Debug)]
pub struct VenuesArgs {
    /// Prints JSON instead of a table
    #[arg(long)]
    pub json: bool,
}

const INSTRUMENTS_EXAMPLES: &str = "\
Examples:
  spreadwire instruments
  spreadwire instruments --config spreadwire.toml --venue kraken
  spreadwire instruments --config spreadwire.toml --json

Requests the list of each venue over REST; if that fails, the list stored on disk is used.";

/// Flags of `instruments`.
#[derive(Args, Clone)]
pub struct InstrumentsArgs {
    /// Configuration in TOML [default: the venues and instruments of the demo]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Only this venue
    #[arg(long, value_name = "NAME", value_parser = parse_venue)]
    pub venue: Option<&'static dyn Venue>,
    /// Prints JSON Lines instead of a table
    #[arg(long)]
    pub json: bool,
}

const CHECK_EXAMPLES: &str = "\
Examples:
  spreadwire check-config spreadwire.toml
  spreadwire check-config spreadwire.toml > effective.toml";

/// Flags of `check-config`.
#[derive(Args, Clone, Debug)]
pub struct CheckArgs {
    /// Configuration in TOML; docs/configuration.md lists every key
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

fn parse_address(text: &str) -> Result<SocketAddr, String> {
    settings::socket_address(text).ok_or_else(|| "expected IP:PORT such as 127.0.0.1:3000".to_owned())
}

fn parse_venue(name: &str) -> Result<&'static dyn Venue, String> {
    crate::venues::venue(name).ok_or_else(|| config::unknown_venue(name))
}

/// Parses the address of a server: scheme and host, optionally a port, no path. `HOST:PORT` alone means http.
fn parse_url(text: &str) -> Result<String, String> {
    let whole = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let url = whole.trim_end_matches('/');
    let host = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '[' | ']' | '%');
    match host {
        Some(host) if !host.is_empty() && host.chars().all(is_plain) => Ok(url.to_owned()),
        _ => Err("expected an address such as http://127.0.0.1:3000".to_owned()),
    }
}

/// Upper limit of `--rate`. No machine sends a million updates per second.
const RATE_MAX: f64 = 1e6;

fn parse_rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate| (0.001..=RATE_MAX).contains(rate));
    rate.ok_or_else(|| format!("expected a number from 0.001 to {RATE_MAX}"))
}

fn parse_speed(text: &str) -> Result<Speed, String> {
    if text == "max" {
        return Ok(Speed::Max);
    }
    let times = text.parse().ok().filter(|times| (0.001..=1e6).contains(times));
    times.map(Speed::Times).ok_or_else(|| "expected a number from 0.001 to 1000000, or max".to_owned())
}

/// Why the process ends before its work is done. The text is printed on the standard error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommandFailure {
    /// The configuration is wrong. The user's mistake; nothing has been started.
    Configuration(String),
    /// An external resource is missing: a port is in use, a file cannot be read.
    Unavailable(String),
    /// An internal error.
    Internal(String),
}

impl CommandFailure {
    /// The exit code of the process, as in sysexits.h.
    #[must_use]
    pub const fn code(&self) -> u8 {
        match self {
            Self::Configuration(_) => 78,
            Self::Unavailable(_) => 69,
            Self::Internal(_) => 70,
        }
    }
}

impl fmt::Display for CommandFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // These lines already begin with the file and the line number.
            Self::Configuration(text) => f.write_str(text),
            Self::Unavailable(text) => write!(f, "spreadwire: {text}"),
            Self::Internal(text) => write!(f, "spreadwire: internal error: {text}"),
        }
    }
}

impl std::error::Error for CommandFailure {}

impl From<config::ConfigError> for CommandFailure {
    fn from(error: config::ConfigError) -> Self {
        Self::Configuration(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_subcommand_has_examples() {
        for command in Cli::command().get_subcommands() {
            let examples = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(examples.contains(&format!("spreadwire {}", command.get_name())), "{}", command.get_name());
        }
    }

    #[test]
    fn demo_may_go_unnamed() {
        let cli = Cli::try_parse_from(["spreadwire", "--listen", "localhost:8080", "--seed", "7"]).ok().unwrap();
        assert!(cli.command.is_none());
        assert_eq!(cli.demo.listen, Some(SocketAddr::from(([127, 0, 0, 1], 8080))));
        assert_eq!(cli.demo.seed, 7);
    }

    #[test]
    fn an_address_of_a_gateway_is_scheme_and_host() {
        for (typed, url) in [
            ("http://127.0.0.1:3000", "http://127.0.0.1:3000"),
            ("https://desk.example/", "https://desk.example"),
            ("localhost:3000", "http://localhost:3000"),
            ("[::1]:3000", "http://[::1]:3000"),
        ] {
            assert_eq!(parse_url(typed).as_deref(), Ok(url));
        }
        for typed in
            ["", "http://", "ftp://a", "http://a/b", "http://u@a", "http://a?b", "http://a b", "ws://a", "\u{1b}"]
        {
            assert!(parse_url(typed).is_err(), "{typed}");
        }
    }

    #[test]
    fn speeds_and_rates_are_positive_and_finite() {
        assert_eq!(parse_speed("max"), Ok(Speed::Max));
        assert_eq!(parse_speed("2.5"), Ok(Speed::Times(2.5)));
        for text in ["0", "-1", "nan", "inf", "", "fast", "1e9"] {
            assert!(parse_speed(text).is_err(), "{text}");
            assert!(parse_rate(text).is_err(), "{text}");
        }
    }

    #[test]
    fn replay_prints_at_once_and_serves_as_recorded() {
        let args = |more: &[&str]| {
            let typed = ["spreadwire", "replay", "okx.jsonl"].iter().chain(more);
            match Cli::try_parse_from(typed).ok().unwrap().command {
                Some(CliCommand::Replay(args)) => args.chosen_speed(),
                _ => panic!("not replay"),
            }
        };
        assert_eq!(args(&[]), Speed::Max);
        assert_eq!(args(&["--listen", "127.0.0.1:0"]), Speed::Times(1.0));
        assert_eq!(args(&["--listen", "127.0.0.1:0", "--speed", "max"]), Speed::Max);
    }
}
