//! Changing the set at run time: a real `serve` on a simulator, told by SIGHUP, by its file, and by admin calls.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use spreadwire::market::Level;
use spreadwire::net::listen::Listener;
use spreadwire::sim::control::SimControl;
use spreadwire::sim::{Sim, SimOptions, SimParts, address_of, default_instruments};
use spreadwire::stage::{Idle, Stop, spawn};
use spreadwire::time::Clock;
use spreadwire::venues::{VENUES, Venue};
use tungstenite::stream::MaybeTlsStream;
use tungstenite::{Message, WebSocket};

const TOKEN: &str = "a-token-of-the-test";
/// The longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(120);

static COUNT: AtomicU32 = AtomicU32::new(0);

/// A simulator in this process, and the binary that is connected to it.
struct Rig {
    sim: SocketAddr,
    control: SimControl,
    stop: Stop,
    folder: PathBuf,
    child: Child,
    said: Arc<Mutex<Vec<String>>>,
    address: String,
}

fn venue(name: &str) -> &'static dyn Venue {
    *VENUES.iter().find(|venue| venue.facts().name == name).unwrap()
}

impl Rig {
    /// `serve` with the configuration that `head` begins.
    fn new(head: &str) -> Self {
        let clock = Clock::System;
        let sim = Sim::new(SimParts {
            venues: ["binance", "okx", "kraken", "bybit"].map(venue).into(),
            instruments: default_instruments(),
            listener: Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap(),
            seed: 1,
            rate: 500.0,
            clock,
            options: SimOptions { opportunity_every_ms: 0, ..SimOptions::default() },
        })
        .unwrap();
        let (address, control, stop) = (sim.address(), sim.control(), Stop::default());
        spawn(vec![Box::new(sim)], None, Idle::Wait, stop.clone()).unwrap();
        let name = format!("reload-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("c.toml"), whole(address, head)).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_spreadwire"))
            .args(["serve", "--config", folder.join("c.toml").to_str().unwrap()])
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let said = Arc::new(Mutex::new(Vec::new()));
        for stream in
            [Box::new(child.stdout.take().unwrap()) as Box<dyn Read + Send>, Box::new(child.stderr.take().unwrap())]
        {
            let said = Arc::clone(&said);
            std::thread::spawn(move || {
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    said.lock().unwrap().push(line);
                }
            });
        }
        let mut rig = Self { sim: address, control, stop, folder, child, said, address: String::new() };
        let page = rig.wait_for("page        http://");
        rig.address = page.rsplit_once("http://").unwrap().1.trim_end_matches('/').to_owned();
        rig.wait_until("prices", |rig| rig.get("/readyz").0 == 200);
        rig
    }

    /// Writes the file in its place, as an operator's `cp` does.
    fn write(&self, head: &str) {
        std::fs::write(self.folder.join("c.toml"), whole(self.sim, head)).unwrap();
    }

    fn hang_up(&self) {
        let id = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(id, rustix::process::Signal::HUP).unwrap();
    }

    fn alerts(&self) -> String {
        let health: Value = serde_json::from_str(&self.get("/api/market-data/health").1).unwrap();
        health["alerts"].to_string()
    }

    fn said(&self) -> Vec<String> {
        self.said.lock().unwrap().clone()
    }

    /// The first line that holds `words`.
    #[track_caller]
    fn wait_for(&self, words: &str) -> String {
        self.wait_for_after(0, words)
    }

    /// The first after so many lines.
    #[track_caller]
    fn wait_for_after(&self, lines: usize, words: &str) -> String {
        let begun = Instant::now();
        loop {
            let found = self.said().into_iter().skip(lines).find(|line| line.contains(words));
            if let Some(line) = found {
                return line;
            }
            assert!(begun.elapsed() < PATIENCE, "`{words}` was not said: {:#?}", self.said());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    #[track_caller]
    fn wait_until(&self, what: &str, mut done: impl FnMut(&Self) -> bool) {
        let begun = Instant::now();
        while !done(self) {
            assert!(begun.elapsed() < PATIENCE, "no {what}: {:#?}", self.said());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn ask(&self, address: &str, request: &str, body: &str) -> (u16, String) {
        let mut tcp = TcpStream::connect(address).unwrap();
        tcp.set_read_timeout(Some(PATIENCE)).unwrap();
        let length = body.len();
        let head = format!("{request}\r\nHost: a\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}");
        tcp.write_all(head.as_bytes()).unwrap();
        let mut reply = String::new();
        tcp.read_to_string(&mut reply).unwrap();
        let (head, body) = reply.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    fn get(&self, target: &str) -> (u16, String) {
        self.ask(&self.address, &format!("GET {target} HTTP/1.1"), "")
    }

    /// An admin call that bears `token`.
    fn post(&self, target: &str, token: &str, body: &str) -> (u16, Value) {
        let request = format!("POST {target} HTTP/1.1\r\nAuthorization: Bearer {token}");
        let (status, body) = self.ask(&self.address, &request, body);
        (status, serde_json::from_str(&body).unwrap_or_default())
    }

    /// How often `venue` was connected to, and how many connections it has.
    fn connections(&self, venue: &str) -> (u64, u64) {
        let (_, body) = self.ask(&self.sim.to_string(), "GET /connections HTTP/1.1", "");
        let all: Value = serde_json::from_str(&body).unwrap();
        (all[venue]["opened"].as_u64().unwrap(), all[venue]["open"].as_u64().unwrap())
    }

    /// What is quoted: symbol and exchanges.
    fn quoted(&self) -> Vec<String> {
        let all: Value = serde_json::from_str(&self.get("/api/instruments").1).unwrap();
        let row = |it: &Value| {
            let exchanges: Vec<&str> =
                it["exchanges"].as_array().unwrap().iter().map(|e| e.as_str().unwrap()).collect();
            format!("{} {}", it["symbol"].as_str().unwrap(), exchanges.join("+"))
        };
        all["instruments"].as_array().unwrap().iter().map(row).collect()
    }

    /// Whether `symbol` has a fresh price on `exchange`.
    fn has_price(&self, symbol: &str, exchange: &str) -> bool {
        self.get(&format!("/api/exchanges/prices?symbol={symbol}&exchanges={exchange}")).0 == 200
    }

    fn client(&self, request: &Value) -> Client {
        let (mut socket, _) = tungstenite::connect(format!("ws://{}/ws/prices", self.address)).unwrap();
        if let MaybeTlsStream::Plain(tcp) = socket.get_mut() {
            tcp.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        }
        socket.send(Message::text(request.to_string())).unwrap();
        Client { socket, heard: Vec::new() }
    }

    /// A price of the simulator's, set by hand.
    fn set(&self, venue: &str, symbol: &str, bid: &str, ask: &str) {
        let level = |price: &str| Level { price: price.parse().unwrap(), size: "1".parse().unwrap() };
        self.control.set_quote(venue, symbol, level(bid), level(ask)).unwrap();
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.stop.request();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// The configuration that begins with `head`: addresses of the simulator, a port of the system's choice.
fn whole(sim: SocketAddr, head: &str) -> String {
    let mut text = head.to_owned();
    if !head.contains("[gateway]") {
        text += "\n[gateway]\nlisten = \"127.0.0.1:0\"";
    }
    if !head.contains("[admin]") {
        text += &format!("\n[admin]\ntoken = \"{TOKEN}\"");
    }
    let has_books = head.contains("[books]");
    if !has_books {
        text += "\n[books]\nlevels = 0";
    }
    text += "\n";
    for name in ["binance", "okx", "kraken", "bybit"] {
        let own = if name == "okx" && !has_books { "instruments = [\"BTC/USDT\"]\n" } else { "" };
        text += &format!("[venue.{name}]\naddress = \"{}\"\n{own}", address_of(venue(name), sim));
    }
    text
}

struct Client {
    socket: WebSocket<MaybeTlsStream<TcpStream>>,
    /// With the time of arrival.
    heard: Vec<(Instant, Value)>,
}

impl Client {
    /// Listens until `done`; `false` when it is not within `time`.
    fn listen(&mut self, time: Duration, mut done: impl FnMut(&Value) -> bool) -> bool {
        let begun = Instant::now();
        while begun.elapsed() < time {
            if let Ok(Message::Text(text)) = self.socket.read() {
                let message: Value = serde_json::from_str(&text).unwrap();
                let is_done = done(&message);
                self.heard.push((Instant::now(), message));
                if is_done {
                    return true;
                }
            }
        }
        false
    }

    /// Listens until `is_it` was heard once since the beginning.
    #[track_caller]
    fn hears(&mut self, what: &str, is_it: fn(&Value) -> bool) {
        let was_heard = self.heard.iter().any(|(_, message)| is_it(message));
        assert!(was_heard || self.listen(PATIENCE, is_it), "never heard {what}: {:?}", self.heard.last());
    }

    /// All that was on its way is heard.
    #[track_caller]
    fn catch_up(&mut self) {
        self.socket.send(Message::text(json!({"action": "subscribe"}).to_string())).unwrap();
        assert!(self.listen(PATIENCE, |it| it["type"] == "subscribed"), "no answer");
    }

    /// What was heard of one price: when, and its state.
    fn prices<'a>(&'a self, exchange: &'a str, symbol: &'a str) -> impl Iterator<Item = (Instant, &'a str)> {
        let all = self.heard.iter().filter(move |(_, it)| it["exchange"] == exchange && it["symbol"] == symbol);
        all.map(|(at, it)| (*at, it["state"].as_str().unwrap()))
    }

    /// It goes on, and never came as anything but fresh.
    #[track_caller]
    fn check_steady(&mut self, exchange: &str, symbol: &str) {
        let mut left = 10;
        let goes_on = self.listen(PATIENCE, |it| {
            left -= i32::from(it["exchange"] == exchange && it["symbol"] == symbol);
            left == 0
        });
        assert!(goes_on, "{exchange} {symbol}: no prices any more");
        let prices: Vec<_> = self.prices(exchange, symbol).collect();
        assert!(prices.iter().all(|(_, state)| *state == "fresh"), "{exchange} {symbol}: {prices:?}");
    }
}

fn subscription(symbols: &[&str], exchanges: &[&str]) -> Value {
    json!({"action": "subscribe", "symbols": symbols, "exchanges": exchanges, "extended": true, "intervalMs": 0})
}

const BEFORE: &str = "venues = [\"binance\", \"okx\"]\ninstruments = [\"BTC/USDT\", \"ETH/USDT\"]";
const AFTER: &str = "venues = [\"binance\", \"okx\", \"kraken\"]\ninstruments = [\"BTC/USDT\", \"SOL/USDT\"]";

#[test]
fn sighup_changes_the_set_and_touches_nothing_else() {
    let rig = Rig::new(&format!("{BEFORE}\n[admin]\nwatch_file = \"off\""));
    let names = ["BTC/USDT", "ETH/USDT", "SOL/USDT"];
    let mut client = rig.client(&subscription(&names, &["binance", "okx", "kraken"]));
    client.hears("okx", |it| it["exchange"] == "okx" && it["symbol"] == "BTC/USDT");
    client.hears("binance", |it| it["exchange"] == "binance" && it["symbol"] == "BTC/USDT");
    client.hears("what will go", |it| it["exchange"] == "binance" && it["symbol"] == "ETH/USDT");
    assert_eq!((rig.connections("okx"), rig.connections("binance")), ((1, 1), (1, 1)));

    rig.write(&format!("{AFTER}\n[admin]\nwatch_file = \"off\""));
    rig.hang_up();
    let has_come = |it: &Value| it["exchange"] == "kraken" && it["symbol"] == "SOL/USDT";
    assert!(client.listen(PATIENCE, has_come), "what comes is quoted: {:#?}", rig.said());
    client.hears("the new set", |it| it["type"] == "instruments");
    client.hears("what came", |it| it["exchange"] == "binance" && it["symbol"] == "SOL/USDT" && it["state"] == "fresh");
    client.hears("the end of what went", |it| it["symbol"] == "ETH/USDT" && it["state"] == "stale");

    for line in [
        "reload: + exchange kraken",
        "reload: + binance SOL/USDT (SOLUSDT)",
        "reload: + kraken BTC/USDT (BTC/USDT)",
        "reload: - binance ETH/USDT (ETHUSDT)",
    ] {
        assert!(rig.said().iter().any(|said| said == line), "{line}: {:#?}", rig.said());
    }
    assert_eq!(rig.connections("okx"), (1, 1), "another venue's connection is not touched");
    rig.wait_until("take-over", |rig| rig.connections("binance") == (2, 1));
    client.check_steady("okx", "BTC/USDT");
    client.check_steady("binance", "BTC/USDT");
    assert_eq!(client.prices("binance", "ETH/USDT").last().unwrap().1, "stale");
    let told = client.heard.iter().find(|(_, it)| it["type"] == "instruments").map(|(_, it)| it.clone());
    assert_eq!(
        told.unwrap(),
        json!({"type": "instruments", "added": ["SOL/USDT"], "removed": ["ETH/USDT"],
            "exchangesAdded": ["kraken"], "exchangesRemoved": []})
    );
    assert_eq!(rig.quoted(), ["BTC/USDT binance+okx+kraken", "SOL/USDT binance+kraken"]);

    // And back: what was removed is there again, what had come has gone, as has its connection.
    rig.write(&format!("{BEFORE}\n[admin]\nwatch_file = \"off\""));
    rig.hang_up();
    rig.wait_until("price of what came back", |rig| rig.has_price("ETH/USDT", "binance"));
    rig.wait_until("end of what went", |rig| rig.connections("kraken").1 == 0);
    assert_eq!(rig.quoted(), ["BTC/USDT binance+okx", "ETH/USDT binance"]);
    assert_eq!(rig.connections("okx"), (1, 1));
    let status: Value = serde_json::from_str(&rig.get("/api/status").1).unwrap();
    assert_eq!(status["alerts"], json!([]), "what was removed is no alarm");
    assert_eq!(status["venues"].as_array().unwrap().len(), 2);
    assert!(!rig.get("/metrics").1.contains("kraken"));
}

#[test]
fn an_invalid_file_changes_nothing_and_names_the_line() {
    let rig = Rig::new(BEFORE);
    rig.write("venues = [\"binance\", \"okx\"]\ninstruments = [\"BTC/USDT\", \"ETH-USDT\"]");
    let said = rig.wait_for("is not a symbol");
    assert!(said.contains("c.toml:2: instruments: `ETH-USDT` is not a symbol"), "{said}");
    rig.wait_for("reload: nothing was changed");

    // Applicable in part: none of it is applied, and what needs a restart is named.
    let lines = rig.said().len();
    rig.write(&format!("{AFTER}\n[detector]\nthreshold_pct = 2"));
    rig.wait_for_after(lines, "reload: detector.threshold_pct: cannot be changed at run time, needs a restart");
    rig.wait_for_after(lines, "reload: nothing was changed");

    // More than there is room for.
    let lines = rig.said().len();
    let many: Vec<String> = (0..70).map(|n| format!("\"C{n}/USDT\"")).collect();
    rig.write(&format!("venues = [\"binance\", \"okx\"]\ninstruments = [{}]", many.join(", ")));
    rig.wait_for_after(lines, "reload: instruments: 70 are new, but there is room for only 64; needs a restart");
    rig.wait_for_after(lines, "reload: nothing was changed");

    assert_eq!(rig.quoted(), ["BTC/USDT binance+okx", "ETH/USDT binance"]);
    assert_eq!((rig.connections("binance"), rig.connections("okx")), ((1, 1), (1, 1)));
    let metrics = rig.get("/metrics").1;
    assert!(rig.alerts().contains("The configuration file was refused: "), "{}", rig.alerts());
    for line in ["reload_applied_total 0", "reload_refused_total 3", "reload_last_refused 1"] {
        assert!(metrics.contains(&format!("\nspreadwire_{line}\n")), "{line}");
    }
    rig.write(BEFORE);
    rig.wait_until("end of the alert", |rig| !rig.alerts().contains("refused"));
}

#[test]
fn a_file_that_is_replaced_is_read_again() {
    let rig = Rig::new(BEFORE);
    // As editors do it.
    let beside = rig.folder.join("c.toml.new");
    std::fs::write(&beside, whole(rig.sim, AFTER)).unwrap();
    std::fs::rename(&beside, rig.folder.join("c.toml")).unwrap();
    rig.wait_until("price", |rig| rig.has_price("SOL/USDT", "kraken"));

    // As mounted volumes do it: the file is a link into a directory, to which another link leads, that is swapped.
    let lines = rig.said().len();
    for (name, head) in [("one", AFTER), ("two", BEFORE)] {
        std::fs::create_dir(rig.folder.join(name)).unwrap();
        std::fs::write(rig.folder.join(name).join("c.toml"), whole(rig.sim, head)).unwrap();
    }
    let link = |to: &str, name: &str| std::os::unix::fs::symlink(to, rig.folder.join(name)).unwrap();
    link("one", "data");
    link("data/c.toml", "c.toml.link");
    std::fs::rename(rig.folder.join("c.toml.link"), rig.folder.join("c.toml")).unwrap();
    link("two", "data.new");
    std::fs::rename(rig.folder.join("data.new"), rig.folder.join("data")).unwrap();
    rig.wait_for_after(lines, "reload: - exchange kraken");
    rig.wait_until("price", |rig| rig.has_price("ETH/USDT", "binance"));
    let changes = rig.said()[lines..].iter().filter(|line| line.contains("the file has changed")).count();
    assert_eq!(changes, 1, "a link to the same text is no change: {:#?}", rig.said());
}

#[test]
fn an_empty_file_changes_nothing() {
    let rig = Rig::new(AFTER);
    rig.wait_until("price", |rig| rig.has_price("SOL/USDT", "kraken"));
    // An empty one means all defaults at a start, and nothing to a gateway that runs.
    std::fs::write(rig.folder.join("c.toml"), "\n").unwrap();
    rig.wait_for("c.toml: is empty");
    assert!(rig.has_price("SOL/USDT", "kraken"));
}

#[test]
fn a_storm_of_signals_during_changes_ends_at_what_the_file_says() {
    let rig = Rig::new(&format!("{BEFORE}\n[admin]\nwatch_file = \"off\""));
    let mut client = rig.client(&subscription(&["BTC/USDT"], &["okx", "binance"]));
    for round in 0..20 {
        let head = if round % 2 == 0 { AFTER } else { BEFORE };
        rig.write(&format!("{head}\n[admin]\nwatch_file = \"off\""));
        rig.hang_up();
        // The next one in the middle of it.
        let mut more = 50;
        let is_later = |it: &Value| {
            more -= i32::from(it["type"] == "price");
            more == 0
        };
        assert!(client.listen(PATIENCE, is_later), "no prices any more");
    }
    rig.write(&format!("{AFTER}\n[admin]\nwatch_file = \"off\""));
    rig.hang_up();
    rig.wait_until("end of the storm", |rig| {
        rig.quoted() == ["BTC/USDT binance+okx+kraken", "SOL/USDT binance+kraken"]
            && rig.has_price("SOL/USDT", "kraken")
            && rig.has_price("SOL/USDT", "binance")
    });
    rig.wait_until("one connection each", |rig| rig.connections("binance").1 == 1 && rig.connections("kraken").1 == 1);
    client.check_steady("okx", "BTC/USDT");
    client.check_steady("binance", "BTC/USDT");
    assert_eq!(rig.connections("okx"), (1, 1));
}

#[test]
fn wrong_tokens_make_their_address_wait_and_no_other() {
    let rig = Rig::new(&format!("{BEFORE}\n[admin]\ntoken = \"{TOKEN}\"\nwatch_file = \"off\""));
    let body = r#"{"remove":["ETH/USDT"]}"#;
    let statuses: Vec<u16> = (0..20).map(|_| rig.post("/api/admin/set?dry=1", "wrong", body).0).collect();
    assert_eq!(statuses[..3], [401; 3]);
    assert!(statuses.contains(&429) && statuses.iter().all(|status| matches!(status, 401 | 429)), "{statuses:?}");
    let call = |token: &str, waits: bool, from: [u8; 4]| {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&std::net::SocketAddr::from((from, 0)).into()).unwrap();
        socket.connect(&rig.address.parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
        let mut tcp = TcpStream::from(socket);
        tcp.set_read_timeout(Some(PATIENCE)).unwrap();
        let expect = if waits { "Expect: 100-continue\r\n" } else { "" };
        let length = body.len();
        let head = format!(
            "POST /api/admin/set?dry=1 HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n{expect}Content-Length: {length}\r\n\r\n"
        );
        tcp.write_all(head.as_bytes()).unwrap();
        if waits {
            let mut asked = [0; 25];
            tcp.read_exact(&mut asked).unwrap();
            assert_eq!(&asked, b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        tcp.write_all(body.as_bytes()).unwrap();
        let mut reply = String::new();
        tcp.read_to_string(&mut reply).unwrap();
        reply
    };
    let refused = call(TOKEN, false, [127, 0, 0, 1]);
    // The wait is short yet, and may be over.
    assert!(
        refused.starts_with("HTTP/1.1 429 ") && refused.contains("\r\nRetry-After: ")
            || refused.starts_with("HTTP/1.1 200 "),
        "{refused}"
    );
    for waits in [false, true] {
        let served = call(TOKEN, waits, [127, 0, 0, 2]);
        assert!(served.starts_with("HTTP/1.1 200 "), "{served}");
    }
}

#[test]
fn behind_a_proxy_wrong_tokens_make_only_their_sender_wait() {
    let rig = Rig::new(&format!("{BEFORE}\n[admin]\ntoken = \"{TOKEN}\"\nwatch_file = \"off\""));
    let body = r#"{"remove":["ETH/USDT"]}"#;
    let post = |token: &str, sender: &str| {
        let lines = format!("Authorization: Bearer {token}\r\nX-Forwarded-For: {sender}");
        rig.ask(&rig.address, &format!("POST /api/admin/set?dry=1 HTTP/1.1\r\n{lines}"), body).0
    };
    let statuses: Vec<u16> = (0..20).map(|_| post("wrong", "198.51.100.1")).collect();
    assert!(statuses.contains(&429), "{statuses:?}");
    assert_eq!(post(TOKEN, "198.51.100.2"), 200);
    // What the sender wrote itself stands before what the proxy added.
    let statuses: Vec<u16> = (0..20).map(|n| post("wrong", &format!("192.0.2.{n}, 198.51.100.3"))).collect();
    assert!(statuses.contains(&429), "{statuses:?}");
    assert_eq!(post(TOKEN, "198.51.100.3, 198.51.100.2"), 200);
}

#[test]
fn an_admin_call_changes_the_set_until_the_file_is_read_again() {
    let file = format!("{BEFORE}\n[admin]\ntoken = \"{TOKEN}\"\nwatch_file = \"off\"");
    let rig = Rig::new(&file);
    let wish = r#"{"add":["SOL/USDT"],"remove":["ETH/USDT"],"venues":{"add":["kraken"]}}"#;
    for wrong in ["", "a-token-of-the-tesT", "a-token-of-the-test-and-more"] {
        assert_eq!(rig.post("/api/admin/set", wrong, wish).0, 401, "{wrong}");
    }
    let expected = json!([
        {"exchange": "binance", "symbol": "SOL/USDT", "native": "SOLUSDT"},
        {"exchange": "kraken", "symbol": "BTC/USDT", "native": "BTC/USDT"},
        {"exchange": "kraken", "symbol": "SOL/USDT", "native": "SOL/USDT"},
    ]);
    let (status, dry) = rig.post("/api/admin/set?dry=1", TOKEN, wish);
    assert_eq!((status, &dry["dry"], &dry["changed"], &dry["added"]), (200, &json!(true), &json!(false), &expected));
    assert_eq!(rig.quoted(), ["BTC/USDT binance+okx", "ETH/USDT binance"], "only asked");

    let (status, done) = rig.post("/api/admin/set", TOKEN, wish);
    assert_eq!((status, &done["changed"], &done["added"]), (200, &json!(true), &expected));
    assert_eq!(done["exchangesAdded"], json!(["kraken"]));
    assert_eq!(done["removed"], json!([{"exchange": "binance", "symbol": "ETH/USDT", "native": "ETHUSDT"}]));
    rig.wait_until("price", |rig| rig.has_price("SOL/USDT", "kraken") && rig.has_price("SOL/USDT", "binance"));

    for (wrong, words) in [
        (r#"{"add":["sol-usdt"]}"#, "is not a symbol"),
        (r#"{"add":["BTC/USDT"],"venues":{"add":["mtgox"]}}"#, "unknown venue `mtgox`"),
        (r#"{"remove":["DOGE/USDT"]}"#, "DOGE/USDT is not quoted"),
        (r#"{"addd":["DOGE/USDT"]}"#, "unknown field"),
        (r#"{"remove":["BTC/USDT","SOL/USDT"]}"#, "instruments: is empty"),
        ("", "unexpected body"),
    ] {
        let (status, told) = rig.post("/api/admin/set", TOKEN, wrong);
        assert_eq!(status, 400, "{wrong}");
        assert!(told.to_string().contains(words), "{wrong}: {told}");
    }
    let (status, _) = rig.post("/api/admin/set", TOKEN, &" ".repeat(70_000));
    assert_eq!(status, 413);
    assert_eq!(rig.quoted(), ["BTC/USDT binance+okx+kraken", "SOL/USDT binance+kraken"]);
    let is_file_refused = |rig: &Rig| {
        let gauge = rig.get("/metrics").1.contains("\nspreadwire_reload_last_refused 1\n");
        assert_eq!(rig.alerts().contains("The configuration file was refused: "), gauge);
        gauge
    };
    assert!(!is_file_refused(&rig), "a wrong call says nothing about the file");

    // A refused file stays refused, whatever admin calls change.
    rig.write("venues = [\"krakn\"]");
    let (status, told) = rig.post("/api/admin/reload", TOKEN, "");
    assert!(status == 400 && told.to_string().contains("unknown venue `krakn`"), "{status} {told}");
    assert!(is_file_refused(&rig));
    for (wish, changed) in [(r#"{"add":["SOL/USDT"]}"#, false), (r#"{"add":["XRP/USDT"]}"#, true)] {
        let (status, done) = rig.post("/api/admin/set", TOKEN, wish);
        assert_eq!((status, &done["changed"]), (200, &json!(changed)));
        assert!(is_file_refused(&rig), "{wish}");
    }
    rig.write(&file);

    let (status, back) = rig.post("/api/admin/reload", TOKEN, "");
    assert_eq!((status, &back["changed"], &back["exchangesRemoved"]), (200, &json!(true), &json!(["kraken"])));
    rig.wait_for("reload: changes by admin calls since the last reload are reverted");
    assert!(!is_file_refused(&rig));
    assert_eq!(rig.quoted(), ["BTC/USDT binance+okx", "ETH/USDT binance"]);
    let (status, again) = rig.post("/api/admin/reload", TOKEN, "");
    assert_eq!((status, &again["changed"]), (200, &json!(false)));
    assert!(!rig.said().iter().any(|line| line.contains(TOKEN)));
}

#[test]
fn what_goes_and_comes_back_at_once_has_its_price_however_quiet_it_is() {
    let rig = Rig::new(BEFORE);
    // It tells its price once on each connection, and then never again.
    rig.set("binance", "ETH/USDT", "2400", "2401");
    rig.wait_until("price", |rig| rig.has_price("ETH/USDT", "binance"));
    for _ in 0..10 {
        let [gone, back] = [r#"{"remove":["ETH/USDT"]}"#, r#"{"add":["ETH/USDT"]}"#];
        assert_eq!(rig.post("/api/admin/set", TOKEN, gone).0, 200);
        assert!(!rig.has_price("ETH/USDT", "binance"));
        assert_eq!(rig.post("/api/admin/set", TOKEN, back).0, 200);
        rig.wait_until("price again", |rig| rig.has_price("ETH/USDT", "binance"));
        assert!(rig.has_price("BTC/USDT", "binance"));
    }
    assert_eq!(rig.connections("okx"), (1, 1));
}

#[test]
fn a_change_while_a_venue_is_away_holds_when_it_is_back() {
    let rig = Rig::new(BEFORE);
    rig.control.refuse("binance", true).unwrap();
    rig.control.cut("binance").unwrap();
    rig.wait_until("end", |rig| rig.connections("binance").1 == 0);
    rig.write(AFTER);
    rig.wait_for("reload: - binance ETH/USDT (ETHUSDT)");
    rig.wait_until("price of the others", |rig| {
        rig.has_price("SOL/USDT", "kraken") && rig.has_price("BTC/USDT", "okx")
    });
    rig.control.refuse("binance", false).unwrap();
    rig.wait_until("price", |rig| rig.has_price("SOL/USDT", "binance") && rig.has_price("BTC/USDT", "binance"));
    assert!(!rig.has_price("ETH/USDT", "binance"));
}

#[test]
fn order_books_come_and_go_with_their_instruments() {
    let with =
        |symbols: &str| format!("venues = [\"binance\", \"okx\"]\ninstruments = [{symbols}]\n[books]\nlevels = 5");
    let rig = Rig::new(&with("\"BTC/USDT\", \"ETH/USDT\""));
    let state = |symbol: &str| {
        let page = rig.get(&format!("/api/book?symbol={symbol}&exchange=okx")).1;
        let page: Value = serde_json::from_str(&page).unwrap();
        page["state"].as_str().unwrap_or_default().to_owned()
    };
    rig.wait_until("books", |_| state("BTC/USDT") == "live" && state("ETH/USDT") == "live");
    let request = json!({"action": "subscribe", "symbols": ["BTC/USDT"], "exchanges": [], "extended": true,
        "levels": 5, "books": [{"symbol": "ETH/USDT", "exchange": "okx"}, {"symbol": "BTC/USDT", "exchange": "okx"}]});
    let mut client = rig.client(&request);
    let is_live = |it: &Value| it["type"] == "book" && it["symbol"] == "ETH/USDT" && it["state"] == "live";
    assert!(client.listen(PATIENCE, is_live), "{:?}", client.heard.last());
    rig.write(&with("\"BTC/USDT\", \"SOL/USDT\""));
    let is_gone = |it: &Value| it["type"] == "book" && it["symbol"] == "ETH/USDT" && it["state"] == "none";
    assert!(client.listen(PATIENCE, is_gone), "{:?}", client.heard.last());
    rig.wait_until("book of what came", |_| state("SOL/USDT") == "live");
    assert_eq!((state("ETH/USDT").as_str(), state("BTC/USDT").as_str()), ("none", "live"));
    let mut more = 5;
    let is_next = |it: &Value| {
        more -= i32::from(it["type"] == "book" && it["symbol"] == "BTC/USDT");
        more == 0
    };
    assert!(client.listen(PATIENCE, is_next), "its book does not go on");
    let books = client.heard.iter().filter(|(_, it)| it["type"] == "book" && it["symbol"] == "BTC/USDT");
    let states: Vec<&Value> = books.map(|(_, it)| &it["state"]).collect();
    assert!(!states.is_empty() && states.iter().all(|state| *state == "live"), "{states:?}");
}

#[test]
fn lost_exchanges_are_tried_again_by_an_admin_call_and_by_sigusr1() {
    let rig = Rig::new(&format!("{BEFORE}\n[admin]\ntoken = \"{TOKEN}\"\nwatch_file = \"off\""));
    rig.wait_until("prices", |rig| rig.get("/api/market-data/health").0 == 200);
    assert_eq!(rig.post("/api/admin/retry", "another-token-than-the-one", "").0, 401);
    for (wrong, words) in [(r#"{"exchange":"kraken"}"#, "does not run here"), (r#"{"venue":"okx"}"#, "unknown field")] {
        let (status, told) = rig.post("/api/admin/retry", TOKEN, wrong);
        assert_eq!(status, 400, "{wrong}");
        assert!(told.to_string().contains(words), "{wrong}: {told}");
    }
    assert!(!rig.alerts().contains("refused"), "a wrong call is told to its caller");
    let (status, mut told) = rig.post("/api/admin/retry", TOKEN, "");
    told["connected"].as_array_mut().unwrap().sort_by_key(ToString::to_string);
    let nothing = json!({
        "dry": false, "dialled": [], "held": [], "connected": ["binance", "okx"], "standby": [], "breakersOpen": []
    });
    assert_eq!((status, told), (200, nothing), "all are connected");
    rig.control.refuse("okx", true).unwrap();
    rig.control.cut("okx").unwrap();
    rig.wait_until("loss of okx", |rig| rig.alerts().contains("Exchange okx is reconnecting"));
    let (status, told) = rig.post("/api/admin/retry", TOKEN, r#"{"exchange":"okx"}"#);
    assert_eq!((status, &told["dialled"], &told["held"]), (200, &json!(["okx"]), &json!([])));
    rig.wait_for("feed: admin call: retrying immediately");
    rig.wait_until("degraded", |rig| rig.get("/api/market-data/health").0 == 503);
    let id = rustix::process::Pid::from_child(&rig.child);
    rustix::process::kill_process(id, rustix::process::Signal::USR1).unwrap();
    rig.wait_for("feed: SIGUSR1");
    assert_eq!(rig.connections("binance"), (1, 1), "what is connected stays as it is");
}

#[test]
fn without_a_token_there_are_no_admin_calls() {
    let rig = Rig::new(&format!("{BEFORE}\n[admin]\nwatch_file = \"on\""));
    for target in ["/api/admin/set", "/api/admin/reload"] {
        assert_eq!(rig.post(target, "", "{}").0, 404);
        assert_eq!(rig.get(target).0, 405);
    }
    let (status, _) = rig.ask(&rig.address, "POST /api/instruments HTTP/1.1", "");
    assert_eq!(status, 405);
}

#[test]
fn what_was_removed_never_makes_an_alert() {
    let with = |venues: &str| format!("venues = [{venues}]\ninstruments = [\"BTC/USDT\", \"ETH/USDT\"]");
    let rig = Rig::new(&with("\"binance\", \"kraken\", \"bybit\""));
    let mut client = rig.client(&subscription(&["BTC/USDT", "ETH/USDT"], &["binance", "kraken", "bybit"]));
    rig.wait_until("prices", |rig| ["binance", "kraken", "bybit"].iter().all(|it| rig.has_price("ETH/USDT", it)));
    // Open while both are there.
    rig.set("binance", "ETH/USDT", "2000", "2001");
    rig.set("bybit", "ETH/USDT", "2000", "2001");
    rig.set("kraken", "ETH/USDT", "2030", "2031");
    assert!(client.listen(PATIENCE, |it| it["type"] == "arbitrage" && it["symbol"] == "ETH/USDT"));
    rig.write(&with("\"binance\", \"bybit\""));
    rig.wait_for("reload: - exchange kraken");
    rig.wait_until("end of the opportunity", |rig| {
        let page: Value = serde_json::from_str(&rig.get("/api/opportunities").1).unwrap();
        page["open"].as_array().unwrap().iter().all(|it| it["symbol"] != "ETH/USDT")
    });
    rig.write("venues = [\"binance\", \"bybit\"]\ninstruments = [\"BTC/USDT\"]");
    rig.wait_for("reload: - bybit ETH/USDT");
    client.catch_up();
    client.heard.clear();
    rig.set("binance", "ETH/USDT", "1000", "1001");
    rig.set("bybit", "ETH/USDT", "2000", "2001");
    // What is still wanted alerts as ever, and later than what came before it would.
    rig.set("binance", "BTC/USDT", "50000", "50001");
    rig.set("bybit", "BTC/USDT", "51000", "51001");
    assert!(client.listen(PATIENCE, |it| it["type"] == "arbitrage" && it["symbol"] == "BTC/USDT"));
    let wrong = client.heard.iter().find(|(_, it)| it["symbol"] == "ETH/USDT" && it["state"] != "stale");
    assert!(wrong.is_none(), "{wrong:?}");
}
