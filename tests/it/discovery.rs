//! What a user writes as instruments, against exchanges that list theirs over REST: the simulator as a process, and the
//! binary as it is typed.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use spreadwire::discovery::{Catalogue, From, KnownLists, List, ListRequest, ListingWatch, QuotedSymbols};
use spreadwire::market::directory::VenueEntry;
use spreadwire::market::{Decimal, Directory, InstrumentId, VenueId};
use spreadwire::net::tls::Trust;
use spreadwire::stage::{Alarm, Stage};
use spreadwire::time::Clock;
use spreadwire::venues::listing::ListingEntry;
use spreadwire::venues::{VENUES, venue};
use spreadwire::wire::gzip::Gzip;

fn spreadwire(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_spreadwire"));
    command.args(arguments).env_clear().stdin(Stdio::null());
    command
}

/// The simulator as a process, with every venue that there is.
struct Exchanges {
    child: Child,
    address: String,
}

impl Exchanges {
    fn start() -> Self {
        let mut child = spreadwire(&["sim", "--listen", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.split("http://").nth(1).and_then(|rest| rest.split('/').next()).unwrap().to_owned();
        Self { child, address }
    }

    fn wanted(&self, names: &[&str]) -> Vec<ListRequest> {
        let of = |name: &&str| ListRequest {
            venue: venue(name).unwrap(),
            address: format!("http://{}/{name}", self.address),
            trust: Trust::new(None).unwrap(),
        };
        names.iter().map(of).collect()
    }

    /// Where the lists of these venues are, as lines of a configuration.
    fn lines(&self, names: &[&str]) -> String {
        let line = |name: &&str| format!("[venue.{name}]\nrest_address = \"http://{}/{name}\"\n", self.address);
        names.iter().map(line).collect()
    }
}

impl Drop for Exchanges {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A folder of this test, gone when dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("discovery-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn config(&self, text: &str) -> String {
        let file = self.0.join("spreadwire.toml");
        std::fs::write(&file, text).unwrap();
        file.to_str().unwrap().to_owned()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// What `instruments --json` says of `config`: (symbol, venue, native, status).
fn instruments(config: &str) -> Vec<(String, String, String, String)> {
    let output = spreadwire(&["instruments", "--json", "--config", config]).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let row = |line: &str| {
        let row: serde_json::Value = serde_json::from_str(line).unwrap();
        let member = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
        (member("symbol"), member("venue"), member("native"), member("status"))
    };
    text(&output.stdout).lines().map(row).collect()
}

const SOON: Duration = Duration::from_secs(120);

#[test]
fn every_simulated_venue_lists_its_instruments_over_rest() {
    let exchanges = Exchanges::start();
    let names: Vec<&str> = VENUES.iter().map(|venue| venue.facts().name).collect();
    let catalogue = Catalogue::gather(&exchanges.wanted(&names), None, SOON, &Clock::System).unwrap();
    assert_eq!(catalogue.missing(), []);
    for name in names {
        let list = catalogue.of(name).unwrap();
        assert_eq!(list.from, From::Venue);
        assert!(list.entries.len() > 3 && list.entries.iter().all(|entry| entry.is_trading), "{name}: {list:?}");
    }
}

/// A server of one list, on a thread of its own: it packs what it sends for clients that can unpack it, and sends nothing
/// to those that have its last version. Says which of both it did.
fn serve(list: &'static str, replies: usize) -> (String, std::thread::JoinHandle<Vec<&'static str>>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let served = std::thread::spawn(move || {
        let reply = |_| {
            let (mut socket, _) = listener.accept().unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                socket.read_exact(&mut byte).unwrap();
                head.push(byte[0]);
            }
            let head = text(&head).to_lowercase();
            if head.contains("if-none-match: \"v1\"") {
                socket.write_all(b"HTTP/1.1 304 Not Modified\r\nETag: \"v1\"\r\nConnection: close\r\n\r\n").unwrap();
                return "unchanged";
            }
            assert!(head.contains("accept-encoding: gzip"), "{head}");
            let body = Gzip::default().pack(list.as_bytes());
            let head = format!(
                "HTTP/1.1 200 OK\r\nETag: \"v1\"\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                body.len()
            );
            socket.write_all(&[head.as_bytes(), &body].concat()).unwrap();
            "packed"
        };
        (0..replies).map(reply).collect()
    });
    (address, served)
}

#[test]
fn a_list_comes_packed_and_not_again_while_it_is_unchanged() {
    let list = r#"{"code":"0","data":[{"instId":"BTC-USDT","baseCcy":"BTC","quoteCcy":"USDT","state":"suspend"}]}"#;
    let (address, served) = serve(list, 3);
    let wanted = [ListRequest { venue: venue("okx").unwrap(), address, trust: Trust::new(None).unwrap() }];
    let mut known = KnownLists::default();
    for _ in 0..3 {
        let catalogue = Catalogue::gather_again(&wanted, None, SOON, &Clock::System, &mut known).unwrap();
        let list = catalogue.of("okx").unwrap_or_else(|| panic!("{:?}", catalogue.missing()));
        assert_eq!((list.from, list.entries.len(), list.entries[0].is_trading), (From::Venue, 1, false));
    }
    assert_eq!(served.join().unwrap(), ["packed", "unchanged", "unchanged"]);
}

#[test]
fn a_list_that_cannot_be_read_is_taken_from_disk_and_said_to_be_old() {
    let folder = Scratch::new("kept");
    let exchanges = Exchanges::start();
    let wanted = exchanges.wanted(&["okx", "kraken"]);
    let before = Catalogue::gather(&wanted, Some(&folder.0), SOON, &Clock::System).unwrap();
    drop(exchanges);
    let after = Catalogue::gather(&wanted, Some(&folder.0), SOON, &Clock::System).unwrap();
    assert_eq!(after.missing().len(), 2, "both are down: {:?}", after.missing());
    for name in ["okx", "kraken"] {
        assert_eq!(after.of(name).unwrap().entries, before.of(name).unwrap().entries);
        assert!(matches!(after.of(name).unwrap().from, From::Disk(seconds) if seconds < 60));
    }
    assert_eq!(Catalogue::of_disk(&wanted, &folder.0).of("okx").unwrap().entries, before.of("okx").unwrap().entries);
    std::fs::write(folder.0.join("instruments/okx.json"), b"{\"code\":").unwrap();
    let damaged = Catalogue::of_disk(&wanted, &folder.0);
    assert!(damaged.of("okx").is_none() && damaged.of("kraken").is_some());
    assert!(Catalogue::of_disk(&wanted, Path::new("/nowhere")).of("kraken").is_none());
}

#[test]
fn patterns_choose_what_venues_list_and_the_user_sees_what_would_be_subscribed() {
    let folder = Scratch::new("patterns");
    let exchanges = Exchanges::start();
    let venues = ["binance", "kraken", "kucoin"];
    let head = "venues = [\"binance\", \"kraken\", \"kucoin\"]\n";
    let config = |more: &str| folder.config(&format!("{head}{more}\n{}", exchanges.lines(&venues)));

    let rows = instruments(&config("instruments = [\"*/USDT\", \"BTC/*\"]"));
    let of = |symbol: &str| rows.iter().filter(|row| row.0 == symbol).map(|row| row.1.as_str()).collect::<Vec<_>>();
    assert_eq!(of("BTC/USDT"), venues);
    assert!(rows.iter().all(|row| row.0.ends_with("/USDT") || row.0.starts_with("BTC/")), "{rows:?}");
    assert!(rows.iter().any(|row| row.0 == "BTC/USD" && row.1 == "kraken"), "only Kraken has dollars: {rows:?}");
    assert!(rows.iter().all(|row| row.3 == "trading"));
    assert!(rows.iter().any(|row| row.2 == "BTC-USDT" && row.1 == "kucoin"));

    let rows = instruments(&config("instruments = [\"*/*\"]\n[discovery]\ncommon_to = 3\ntop = 4"));
    let mut symbols: Vec<&str> = rows.iter().map(|row| row.0.as_str()).collect();
    symbols.dedup();
    symbols.sort_unstable();
    symbols.dedup();
    assert_eq!((symbols.len(), rows.len()), (4, 12), "{rows:?}");
}

#[test]
fn a_pattern_without_any_list_is_one_line_that_names_the_place() {
    let folder = Scratch::new("none");
    let lines = "[venue.okx]\naddress = \"ws://127.0.0.1:9/okx\"\n";
    let config = folder.config(&format!("venues = [\"okx\"]\ninstruments = [\"*/USDT\", \"B*/X\"]\n{lines}"));
    let output: Output = spreadwire(&["instruments", "--config", &config]).output().unwrap();
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(78), "{said}");
    assert!(
        said.contains(":2: instruments: `*/USDT` selects from the venues' lists, but no list could be read"),
        "{said}"
    );
    assert!(said.contains(":2: instruments: `B*/X` is not a pattern, expected BTC/*, */USDT or */*"), "{said}");
}

#[test]
fn what_is_written_out_beside_a_pattern_is_quoted_without_any_list() {
    let folder = Scratch::new("none-beside");
    let lines = "[venue.okx]\naddress = \"ws://127.0.0.1:9/okx\"\nrest_address = \"http://127.0.0.1:9\"\n";
    let config = folder.config(&format!("venues = [\"okx\"]\ninstruments = [\"*/USDT\", \"BTC/USDT\"]\n{lines}"));
    let output: Output = spreadwire(&["instruments", "--config", &config, "--json"]).output().unwrap();
    let (listed, said) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(listed.contains("BTC-USDT") && listed.lines().count() == 1, "{listed}");
    assert!(said.contains("the list of okx could not be read; until it is, patterns select nothing there"), "{said}");
}

#[test]
fn the_table_of_venues_has_every_venue_and_its_facts() {
    let output = spreadwire(&["venues"]).output().unwrap();
    let table = text(&output.stdout);
    let json = text(&spreadwire(&["venues", "--json"]).output().unwrap().stdout);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["venues"].as_array().unwrap().len(), VENUES.len());
    for venue in VENUES {
        let facts = venue.facts();
        let row = table.lines().find(|line| line.starts_with(&format!("{} ", facts.name))).unwrap();
        for fact in [facts.channel, facts.taker_fee_pct, facts.docs] {
            assert!(row.contains(fact), "{row}: {fact}");
        }
    }
}

#[test]
fn what_a_venue_no_longer_lists_or_trades_is_told_once() {
    let entry = |native: &str, is_trading| ListingEntry {
        base: native[..3].to_owned(),
        quote: native[3..].to_owned(),
        native: native.to_owned(),
        is_trading,
        ..ListingEntry::default()
    };
    let list = |entries: Vec<ListingEntry>| Catalogue::new(vec![List { venue: "binance", entries, from: From::Venue }]);
    let symbols = ["BTC", "ETH"].map(|base| (format!("{base}/USDT"), format!("{base}USDT"))).to_vec();
    let quoted = vec![QuotedSymbols { venue: "binance", symbols, ..QuotedSymbols::default() }];
    let mut watch = ListingWatch::new(Vec::new(), quoted, None, SOON, Clock::System);
    let all = list(vec![entry("BTCUSDT", true), entry("ETHUSDT", true)]);
    let halted = list(vec![entry("BTCUSDT", true), entry("ETHUSDT", false)]);
    let gone = list(vec![entry("BTCUSDT", true)]);
    assert_eq!(watch.news(&all), [""; 0]);
    assert_eq!(watch.news(&halted), ["binance has halted ETH/USDT (ETHUSDT)"]);
    assert_eq!(watch.news(&halted), [""; 0], "told once");
    assert_eq!(watch.news(&gone), ["binance does not list ETH/USDT (ETHUSDT) any more"]);
    assert_eq!(watch.news(&all), [""; 0]);
    assert_eq!(watch.news(&halted), ["binance has halted ETH/USDT (ETHUSDT)"], "it had come back");
}

#[test]
fn what_a_list_no_longer_has_is_halted_in_the_directory_and_the_detector_is_woken() {
    let exchanges = Exchanges::start();
    let symbols = ["BTC", "NOPE"].map(|base| (format!("{base}/USDT"), format!("{base}-USDT")));
    let native = symbols.iter().map(|(_, native)| Some(native.clone())).collect();
    let okx = VenueEntry { name: "okx".to_owned(), taker_fee_pct: Decimal::ZERO, native };
    let names = symbols.iter().map(|(symbol, _)| symbol.clone()).collect();
    let directory = Arc::new(Directory::new(names, vec![okx]));
    let quoted = vec![QuotedSymbols { venue: "okx", symbols: symbols.to_vec(), ..QuotedSymbols::default() }];
    let (alarm, parker) = Alarm::of_parker();
    alarm.set();
    let mut watch = ListingWatch::new(exchanges.wanted(&["okx"]), quoted, None, SOON, Clock::System)
        .into_directory(Arc::clone(&directory), vec![alarm]);
    assert_eq!(watch.turn(Duration::ZERO), 1, "lists are read at once");
    let halted = |at| directory.is_halted(InstrumentId(at), VenueId(0));
    assert!(!halted(0) && halted(1));
    parker.park();
    assert_eq!(directory.facts(), 1);
}

#[test]
fn what_patterns_and_lists_leave_out_is_told_by_name() {
    let folder = Scratch::new("left-out");
    let exchanges = Exchanges::start();
    // The list of Gate cannot be read.
    let config = folder.config(&format!(
        "venues = [\"okx\", \"kraken\", \"gateio\"]\ninstruments = [\"*/USDT\", \"NOPE/USD\"]\n{}\
         [venue.gateio]\nrest_address = \"http://127.0.0.1:9\"\n",
        exchanges.lines(&["okx", "kraken"])
    ));
    let output = spreadwire(&["instruments", "--json", "--config", &config]).output().unwrap();
    let (said, rows) = (text(&output.stderr), text(&output.stdout));
    assert!(
        said.contains("the list of gateio could not be read; until it is, patterns select nothing there"),
        "{said}"
    );
    let gate: Vec<&str> = rows.lines().filter(|row| row.contains("gateio")).collect();
    assert!(gate.len() == 1 && gate[0].contains("NOPE_USD"), "only what is written out: {gate:?}");
    assert!(said.contains("instruments: NOPE/USD is not listed by okx, kraken, left out there"), "{said}");
    assert!(rows.lines().all(|row| row.contains("takerFeePct") && row.contains("feeFrom")), "{rows}");
}
