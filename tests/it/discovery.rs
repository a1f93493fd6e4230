//! What a user writes as instruments, against exchanges that list theirs over REST: the simulator as a process, and the
//! binary as it is typed.

use std::collections::{HashMap, VecDeque};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use spreadwire::discovery::{Catalogue, From, KnownLists, List, ListRequest, ListingWatch, QuotedSymbols};
use spreadwire::market::directory::VenueEntry;
use spreadwire::market::{Decimal, Directory, InstrumentId, VenueId};
use spreadwire::net::tls::Trust;
use spreadwire::stage::{Alarm, Stage};
use spreadwire::time::{Clock, HandClock, MonoNs, SECOND, UnixNs};
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
        Self::with(&[])
    }

    fn with(arguments: &[&str]) -> Self {
        let mut child = spreadwire(&["sim", "--listen", "127.0.0.1:0"])
            .args(arguments)
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
fn a_pattern_that_selects_nothing_is_named() {
    let exchanges = Exchanges::start();
    let folder = Scratch::new("nothing");
    let names = ["okx", "kraken"];
    let lines = exchanges.lines(&names);
    let config =
        folder.config(&format!("venues = {names:?}\ninstruments = [\"FOO/*\", \"BTC/*\", \"BTC/USDT\"]\n{lines}"));
    let output = spreadwire(&["instruments", "--config", &config]).output().unwrap();
    let said = text(&output.stderr) + &text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains("instruments: `FOO/*` selects nothing, because no list has a traded instrument"), "{said}");
    assert!(!said.contains("`BTC/*` selects nothing"), "{said}");
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

/// A venue's REST API, on a thread of its own: each request for a path gets the next body of `pages`, and the last one
/// again. Counts the requests for status pages.
struct RestOfVenue {
    address: String,
    asked: Arc<AtomicUsize>,
}

impl RestOfVenue {
    fn start(pages: Vec<(String, Vec<String>)>) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        std::thread::spawn(move || {
            let mut pages: HashMap<String, VecDeque<String>> =
                pages.into_iter().map(|(path, bodies)| (path, bodies.into())).collect();
            for socket in listener.incoming() {
                let mut socket = socket.unwrap();
                let mut head = String::new();
                let mut lines = BufReader::new(socket.try_clone().unwrap());
                while !head.ends_with("\r\n\r\n") && lines.read_line(&mut head).is_ok_and(|read| read > 0) {}
                let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
                count.fetch_add(usize::from(path.contains("details")), Ordering::SeqCst);
                let bodies = pages.get_mut(&path);
                let body = bodies.map(|all| if all.len() > 1 { all.pop_front().unwrap() } else { all[0].clone() });
                let (status, body) = body.map_or(("404 Not Found", String::new()), |body| ("200 OK", body));
                let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
                let _ = socket.write_all(format!("{head}{body}").as_bytes());
            }
        });
        Self { address, asked }
    }

    /// Gemini's list of these symbols, and the states that each symbol's page shows one after the other.
    fn gemini(symbols: &[(&str, &[&str])]) -> Self {
        let list: Vec<&str> = symbols.iter().map(|(native, _)| *native).collect();
        let pages = symbols.iter().map(|(native, states)| {
            let page =
                |state: &&str| serde_json::json!({ "symbol": native.to_uppercase(), "status": state }).to_string();
            (format!("/v1/symbols/details/{native}"), states.iter().map(page).collect())
        });
        let list = ("/v1/symbols".to_owned(), vec![serde_json::json!(list).to_string()]);
        Self::start(pages.chain([list]).collect())
    }
}

/// Symbols of Gemini, the reader of their pages with a hand-turned clock, and what it stores.
fn pages_of_gemini(rest: &RestOfVenue, symbols: &[(&str, &str)]) -> (ListingWatch, HandClock, Arc<Directory>) {
    let symbols: Vec<_> = symbols.iter().map(|(name, native)| ((*name).to_owned(), (*native).to_owned())).collect();
    let native = symbols.iter().map(|(_, native)| Some(native.clone())).collect();
    let gemini = VenueEntry { name: "gemini".to_owned(), taker_fee_pct: Decimal::ZERO, native };
    let names = symbols.iter().map(|(symbol, _)| symbol.clone()).collect();
    let directory = Arc::new(Directory::new(names, vec![gemini]));
    let quoted = vec![QuotedSymbols { venue: "gemini", symbols, ..QuotedSymbols::default() }];
    let trust = Trust::new(None).unwrap();
    let wanted = vec![ListRequest { venue: venue("gemini").unwrap(), address: rest.address.clone(), trust }];
    let hand = HandClock::new(MonoNs(SECOND), UnixNs(0));
    let watch = ListingWatch::new(wanted, quoted, None, Duration::from_secs(60), hand.clock())
        .into_directory(Arc::clone(&directory), Vec::new());
    (watch, hand, directory)
}

#[test]
fn a_halt_that_only_the_page_of_an_instrument_states_is_known_until_it_is_over() {
    let rest =
        RestOfVenue::gemini(&[("btcusd", &["open", "closed", "open"]), ("ethusd", &["cancel_only", "limit_only"])]);
    let (mut watch, hand, directory) = pages_of_gemini(&rest, &[("BTC/USD", "btcusd"), ("ETH/USD", "ethusd")]);
    let halted = || [0, 1].map(|at| directory.is_halted(InstrumentId(at), VenueId(0)));
    // Each page is read once per minute; the lists between them do not end a halt.
    for meant in [[false, true], [true, false], [false, false]] {
        let before = rest.asked.load(Ordering::SeqCst);
        while halted() != meant || rest.asked.load(Ordering::SeqCst) < before + 2 {
            watch.turn(Duration::from_millis(1));
            hand.advance(SECOND / 10);
        }
        hand.advance(60 * SECOND);
    }
}

#[test]
fn status_pages_are_requested_one_at_a_time_and_a_second_apart() {
    let states: &[&str] = &["open"];
    let rest = RestOfVenue::gemini(&[("btcusd", states), ("ethusd", states), ("solusd", states)]);
    let symbols = [("BTC/USD", "btcusd"), ("ETH/USD", "ethusd"), ("SOL/USD", "solusd")];
    let (mut watch, hand, _directory) = pages_of_gemini(&rest, &symbols);
    for count in [1, 2, 3, 3, 3] {
        while rest.asked.load(Ordering::SeqCst) < count {
            watch.turn(Duration::from_millis(1));
        }
        // Without time that passes, nothing is requested, however often it is tried.
        for _ in 0..20 {
            watch.turn(Duration::from_millis(1));
        }
        assert_eq!(rest.asked.load(Ordering::SeqCst), count);
        hand.advance(SECOND);
    }
}

#[test]
fn the_table_of_instruments_has_the_state_of_each_page() {
    let folder = Scratch::new("pages");
    let states = [("aa0usd", "open"), ("aa1usd", "closed"), ("aa2usd", "cancel_only"), ("aa3usd", "post_only")];
    let states = states.iter().chain(&[("aa4usd", "limit_only"), ("aa5usd", "new")]).collect::<Vec<_>>();
    let pages: Vec<(&str, &[&str])> =
        states.iter().map(|(native, state)| (*native, std::slice::from_ref(state))).collect();
    let rest = RestOfVenue::gemini(&pages);
    let symbols: Vec<String> = (0..6).map(|at| format!("\"AA{at}/USD\"")).collect();
    let config = folder.config(&format!(
        "venues = [\"gemini\"]\ninstruments = [{}]\n[discovery]\nwait_ms = 120000\n[venue.gemini]\nrest_address = \"{}\"\n",
        symbols.join(","),
        rest.address
    ));
    let rows = instruments(&config);
    let told: Vec<&str> = rows.iter().map(|row| row.3.as_str()).collect();
    assert_eq!(told, ["trading", "halted", "halted", "halted", "trading", "halted"]);
    assert_eq!(rest.asked.load(Ordering::SeqCst), 6);
}

#[test]
fn a_halt_at_the_simulated_gemini_is_on_the_page_of_its_instrument() {
    let folder = Scratch::new("page-of-sim");
    let script = folder.0.join("halt.toml");
    let halt = "[[fault]]\nkind = \"halt\"\nvenue = \"gemini\"\ninstrument = \"BTC/USD\"\nfor_s = 100000\n";
    std::fs::write(&script, halt).unwrap();
    let exchanges = Exchanges::with(&["--scenario", script.to_str().unwrap()]);
    let lines = exchanges.lines(&["gemini"]);
    let config = folder.config(&format!("venues = [\"gemini\"]\ninstruments = [\"BTC/USD\", \"ETH/USD\"]\n{lines}"));
    let rows = instruments(&config);
    let told: Vec<_> = rows.iter().map(|row| (row.2.as_str(), row.3.as_str())).collect();
    assert_eq!(told, [("btcusd", "halted"), ("ethusd", "trading")]);
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
