//! `spreadwire top` against the real gateway: a snapshot, and a whole session on a pseudo-terminal.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::num::NonZero;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};
use serde_json::{Value, json};

/// The demo on `listen`, and where it is.
struct Demo {
    child: Child,
    address: String,
}

impl Demo {
    fn on(listen: &str) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_spreadwire"))
            .args(["demo", "--listen", listen])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let page = lines.find_map(|line| Some(line.unwrap().split_once("http://")?.1.to_owned())).unwrap();
        // It goes on talking, and nobody listens.
        std::thread::Builder::new().spawn(move || lines.for_each(drop)).unwrap();
        Self { child, address: page.trim_end_matches('/').to_owned() }
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn top(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_spreadwire")).arg("top").args(arguments).stdin(Stdio::null()).output().unwrap()
}

fn said(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (text(&output.stdout), text(&output.stderr))
}

#[test]
fn once_prints_a_snapshot_as_text_or_json() {
    let demo = Demo::on("127.0.0.1:0");
    let begun = Instant::now();
    // Its first quotes take a moment.
    while !said(&top(&[&demo.address, "--once", "--json"])).0.contains(r#""source":"simulated","connectedMs""#) {
        assert!(begun.elapsed() < Duration::from_secs(120), "the demo has no venue");
    }
    let output = top(&[&demo.address, "--once"]);
    let (text, complaints) = said(&output);
    assert_eq!((output.status.code(), complaints.as_str()), (Some(0), ""));
    for words in ["SIMULATED", "binance", "Open opportunities: ", "wire_to_alert", "clientsMax"] {
        assert!(text.contains(words), "{words}: {text}");
    }
    assert!(!text.contains('\x1b'), "no colours, no cursor: {text}");
    let output = top(&[&format!("http://{}/", demo.address), "--once", "--json"]);
    let (text, complaints) = said(&output);
    assert_eq!((output.status.code(), complaints.as_str()), (Some(0), ""));
    let pages: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(pages["status"]["process"]["source"], "simulated");
    assert!(pages["opportunities"]["open"].is_array() && pages["latency"]["hops"].is_array());
    assert_eq!(pages["instruments"]["instruments"][0]["symbol"], "BTC/USDT");
    assert_eq!(pages["refusals"]["reasons"]["not_coexistent"], 0);
    assert!(pages["survival"]["timesMs"].is_array() && pages["precision"]["pairs"].is_array());
    assert_eq!(
        (&pages["status"]["limits"]["closeRatio"], &pages["status"]["limits"]["proofMin"]),
        (&json!(0.8), &json!("none"))
    );
}

/// A server that answers each connection with `reply`.
fn answering(reply: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let answer = move |mut tcp: TcpStream| {
        let _ = tcp.read(&mut [0; 2000]);
        let _ = tcp.write_all(reply.as_bytes());
    };
    std::thread::Builder::new().spawn(move || listener.incoming().flatten().take(4).for_each(answer)).unwrap();
    address
}

#[test]
fn who_is_no_gateway_is_unavailable_and_said_so() {
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let other = answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}");
    let html = answering("HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\n<html>");
    let older = answering("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    let rude = answering("SSH-2.0-OpenSSH\x1b[2J\r\n");
    for (address, words) in [
        (gone, "Connection refused"),
        (other, "is not spreadwire's"),
        (html, "unexpected response"),
        (older, "answers 404"),
        (rude, "/api/status: "),
    ] {
        for arguments in [&[&*address, "--once"][..], &[&address, "--once", "--json"]] {
            // As JSON, any JSON is passed on.
            if words == "is not spreadwire's" && arguments.len() == 3 {
                continue;
            }
            let output = top(arguments);
            let (text, complaint) = said(&output);
            assert_eq!((output.status.code(), text.as_str()), (Some(69), ""), "{complaint}");
            assert!(complaint.contains(&address) && complaint.contains(words), "{complaint}");
            assert!(complaint.lines().count() == 1 && !complaint.contains('\x1b'), "{complaint:?}");
        }
    }
    let output = top(&["127.0.0.1:9"]);
    assert_eq!(output.status.code(), Some(69), "without a terminal");
    assert!(said(&output).1.contains("--once"));
    for wrong in [&["ftp://a"][..], &["--json"], &["http://a/b", "--once"]] {
        assert_eq!(top(wrong).status.code(), Some(2), "{wrong:?}");
    }
}

/// `top` on a pseudo-terminal: what is on its screen, keys for it.
struct Session {
    child: Child,
    master: File,
    screen: Arc<Mutex<vt100::Parser>>,
}

const ROWS: u16 = 40;
const COLUMNS: u16 = 110;

/// A pseudo-terminal: the end of who looks at it, and the end of the program. `None` where the system has none.
fn terminal() -> Option<(File, File)> {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).ok()?;
    grantpt(&master).ok()?;
    unlockpt(&master).ok()?;
    let name = ptsname(&master, Vec::new()).ok()?;
    let size = Winsize { ws_row: ROWS, ws_col: COLUMNS, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(&master, size).ok()?;
    let terminal = File::options().read(true).write(true).open(name.to_str().ok()?).ok()?;
    Some((File::from(master), terminal))
}

/// How `child` ended; `None` where it goes on.
fn ended(child: &mut Child) -> Option<i32> {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(120) {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    None
}

impl Session {
    /// On a terminal of its own, which whoever runs the tests does not see. `None` where the system has none, or
    /// no `setsid`.
    fn new(address: &str, environment: &[(&str, &str)]) -> Option<Self> {
        let (master, terminal) = terminal()?;
        let end = || Stdio::from(terminal.try_clone().unwrap());
        let child = Command::new("setsid")
            .args(["--ctty", "--wait", env!("CARGO_BIN_EXE_spreadwire"), "top", address])
            .env("TERM", "xterm-256color")
            .env_remove("NO_COLOR")
            .envs(environment.iter().copied())
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .spawn()
            .ok()?;
        let (rows, columns) = (NonZero::new(ROWS), NonZero::new(COLUMNS));
        let screen = Arc::new(Mutex::new(vt100::Parser::new(rows?, columns?, 0)));
        let (mut reader, shown) = (master.try_clone().unwrap(), Arc::clone(&screen));
        let read = move || {
            let mut bytes = [0; 4096];
            while let Ok(length @ 1..) = reader.read(&mut bytes) {
                shown.lock().unwrap().process(&bytes[..length]);
            }
        };
        std::thread::Builder::new().spawn(read).unwrap();
        Some(Self { child, master, screen })
    }

    fn contents(&self) -> String {
        self.screen.lock().unwrap().screen().contents()
    }

    fn wait_for(&self, what: &str, is_there: impl Fn(&str) -> bool) {
        let begun = Instant::now();
        while !is_there(&self.contents()) {
            assert!(begun.elapsed() < Duration::from_secs(120), "no {what}:\n{}", self.contents());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn sees(&self, text: &str) {
        self.wait_for(text, |screen| screen.contains(text));
    }

    fn press(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).unwrap();
    }

    fn is_coloured(&self) -> bool {
        let screen = self.screen.lock().unwrap();
        let cells = (0..ROWS).flat_map(|row| (0..COLUMNS).map(move |column| (row, column)));
        cells
            .filter_map(|(row, column)| screen.screen().cell(row, column))
            .any(|cell| cell.fgcolor() != vt100::Color::Default)
    }

    /// How it ended.
    fn end(&mut self) -> Option<i32> {
        ended(&mut self.child)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_session_with_keys_over_the_loss_and_the_return_of_the_gateway() {
    let demo = Demo::on("127.0.0.1:0");
    let address = demo.address.clone();
    let Some(mut session) = Session::new(&address, &[]) else { return };
    session.sees("SIMULATED");
    session.sees("wire_to_alert");
    // A rate needs two looks.
    session.wait_for("a rate of binance", |screen| {
        screen.lines().any(|line| line.starts_with("binance") && line.split_whitespace().nth(4) != Some("-"))
    });
    assert!(session.is_coloured());
    session.press("2");
    session.sees("Closed");
    session.press("s");
    session.sees("by gross");
    session.press("3");
    session.sees("BTC/USDT, by exchange");
    session
        .wait_for("a best price", |screen| screen.lines().any(|line| line.contains("binance") && line.contains('.')));
    session.press("\x1b[B");
    session.sees("ETH/USDT, by exchange");
    session.press("/sol\r");
    session.sees("SOL/USDT, by exchange");
    session.wait_for("the others gone", |screen| !screen.contains("BTC/USDT"));
    session.press("\t");
    session.sees("Latency since the start");
    session.press("?");
    session.sees("The gateway is polled once a second");
    session.press("5");
    session.wait_for("venues", |screen| screen.contains("Venues, by exchange"));

    drop(demo);
    session.sees("GONE for ");
    session.sees("binance");
    let demo = Demo::on(&address);
    session.wait_for("its return", |screen| !screen.contains("GONE"));
    session.press("q");
    assert_eq!(session.end(), Some(0));
    session.wait_for("the terminal as it was", |screen| !screen.contains("SIMULATED"));
    assert!(!session.screen.lock().unwrap().screen().alternate_screen());
    assert!(!session.screen.lock().unwrap().screen().hide_cursor());
    drop(demo);
}

#[test]
fn colours_are_left_out_on_request_and_a_gateway_that_never_was_is_waited_for() {
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let Some(mut session) = Session::new(&gone, &[("NO_COLOR", "1")]) else { return };
    session.sees("not seen yet");
    session.sees("GONE for ");
    let demo = Demo::on(&gone);
    session.sees("SIMULATED");
    assert!(!session.is_coloured());
    // Ctrl-C
    session.press("\x03");
    assert_eq!(session.end(), Some(0));
    drop(demo);
}

#[test]
fn ended_from_outside_it_gives_the_terminal_back() {
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    for signal in [Signal::TERM, Signal::INT, Signal::QUIT, Signal::HUP] {
        let Some(mut session) = Session::new(&gone, &[]) else { return };
        session.sees("GONE for ");
        assert!(session.screen.lock().unwrap().screen().alternate_screen());
        let is_raw = |session: &Session| !tcgetattr(&session.master).unwrap().local_modes.contains(LocalModes::ICANON);
        assert!(is_raw(&session));
        rustix::process::kill_process(Pid::from_child(&session.child), signal).unwrap();
        assert_eq!(session.end(), Some(0), "{signal:?}");
        session.wait_for("the terminal as it was", |screen| !screen.contains("GONE"));
        assert!(!session.screen.lock().unwrap().screen().alternate_screen());
        assert!(!is_raw(&session), "{signal:?}");
    }
}

#[test]
fn it_ends_when_its_terminal_is_closed_whether_that_is_signalled_or_not() {
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    for is_signalled in [true, false] {
        let Some((mut master, terminal)) = terminal() else { return };
        let end = || Stdio::from(terminal.try_clone().unwrap());
        let binary = env!("CARGO_BIN_EXE_spreadwire");
        let mut command = match is_signalled {
            true => Command::new("setsid"),
            false => Command::new(binary),
        };
        if is_signalled {
            command.args(["--ctty", "--wait", binary]);
        }
        command.args(["top", &gone]).env("TERM", "xterm-256color").stdin(end()).stdout(end()).stderr(Stdio::null());
        let Ok(mut child) = command.spawn() else { return };
        drop((command, terminal));
        let mut seen = Vec::new();
        while !String::from_utf8_lossy(&seen).contains("GONE") {
            let mut bytes = [0; 4096];
            let length = master.read(&mut bytes).unwrap();
            seen.extend_from_slice(&bytes[..length]);
        }
        drop(master);
        let status = ended(&mut child);
        let _ = child.kill();
        let _ = child.wait();
        // Its last picture may have found nobody either, which it says.
        assert!(matches!(status, Some(0 | 69)), "{is_signalled}: {status:?}");
    }
}
