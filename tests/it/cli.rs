//! The binary as it is typed: exit codes, help, streams.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use rustix::process::Signal;
use spreadwire::cli::{CommandFailure, EXIT_CODES};

/// The binary, without variables of the machine that runs the tests.
fn spreadwire(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_spreadwire"));
    command.args(arguments).env_clear().stdin(Stdio::null());
    command
}

fn run(arguments: &[&str]) -> Output {
    spreadwire(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Runs, and expects this exit code with these words on the standard error, and nothing printed.
fn check_failure(arguments: &[&str], code: i32, words: &[&str]) {
    let output = run(arguments);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
    assert!(output.stdout.is_empty(), "{arguments:?}");
    for word in words {
        assert!(said.contains(word), "{arguments:?}: `{word}` is not in: {said}");
    }
}

/// A file of this test, gone when dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str, content: &[u8]) -> Self {
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("cli-{}-{name}", std::process::id()));
        std::fs::write(&path, content).unwrap();
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Two Binance top-of-book changes, one frame that repeats the second, one broken frame, one trade and
/// an answer. The frames follow the venue's documentation of the `bookTicker` stream.
const CAPTURE: &str = r#"{"ts":1.0,"dir":"connect","conn":1,"url":"wss://data-stream.binance.vision/ws"}
{"ts":1.1,"dir":"in","conn":1,"frame":"{\"result\":null,\"id\":1}"}
{"ts":1.2,"dir":"in","conn":1,"frame":"{\"u\":1,\"s\":\"BTCUSDT\",\"b\":\"42500.50000000\",\"B\":\"1.50000000\",\"a\":\"42501.00000000\",\"A\":\"0.25000000\"}"}
{"ts":1.3,"dir":"in","conn":1,"frame":"{\"u\":2,\"s\":\"BTCUSDT\",\"b\":\"oops\",\"B\":\"1\",\"a\":\"2\",\"A\":\"1\"}"}

{"ts":1.4,"dir":"in","conn":1,"frame":"{\"u\":3,\"s\":\"BTCUSDT\",\"b\":\"42500.60000000\",\"B\":\"1.50000000\",\"a\":\"42501.00000000\",\"A\":\"0.25000000\"}"}
not a line of a capture
{"ts":1.5,"dir":"in","conn":1,"frame":"{\"u\":4,\"s\":\"BTCUSDT\",\"b\":\"42500.60000000\",\"B\":\"1.50000000\",\"a\":\"42501.00000000\",\"A\":\"0.25000000\"}"}
"#;

const QUOTES: &str = r#"{"venue":"binance","symbol":"BTC/USDT","native":"BTCUSDT","bid":"42500.5","bidSize":"1.5","ask":"42501","askSize":"0.25","channel":"bookTicker","exchangeTs":null,"line":3}
{"venue":"binance","symbol":"BTC/USDT","native":"BTCUSDT","bid":"42500.6","bidSize":"1.5","ask":"42501","askSize":"0.25","channel":"bookTicker","exchangeTs":null,"line":6}
"#;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn decode_prints_quotes_tells_bad_frames_and_goes_on() {
    let file = Scratch::new("capture.jsonl", CAPTURE.as_bytes());
    let output = run(&["decode", "--venue", "binance", file.path()]);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert_eq!(text(&output.stdout), QUOTES);
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), 3, "{said}");
    assert!(lines[0].contains(":4: `b` is not a decimal number"), "{said}");
    assert!(lines[1].contains(":7: not a capture line"), "{said}");
    assert!(lines[2].contains("2 quotes from") && lines[2].contains("2 that could not be decoded"), "{said}");
}

#[test]
fn decode_reads_gzip_and_the_standard_input() {
    let file = Scratch::new("capture.jsonl.gz", &gzip(CAPTURE.as_bytes()));
    assert_eq!(text(&run(&["decode", "--venue", "binance", file.path()]).stdout), QUOTES);
    for input in [CAPTURE.as_bytes().to_vec(), gzip(CAPTURE.as_bytes())] {
        let mut child = spreadwire(&["decode", "--venue", "binance", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(&input).unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0));
        assert_eq!(text(&output.stdout), QUOTES);
    }
}

#[test]
fn decode_of_a_cut_file_prints_what_was_there_and_fails() {
    let mut bytes = gzip(CAPTURE.repeat(50).as_bytes());
    bytes.truncate(bytes.len() - 10);
    let file = Scratch::new("cut.jsonl.gz", &bytes);
    let output = run(&["decode", "--venue", "binance", file.path()]);
    assert_eq!(output.status.code(), Some(69), "{}", text(&output.stderr));
    assert!(text(&output.stdout).starts_with(QUOTES));
}

#[test]
fn a_file_that_is_no_capture_is_refused_in_one_line_that_names_it() {
    let files = [
        Scratch::new("binance-text.jsonl", b"this is\nno capture\n"),
        Scratch::new("binance-binary.jsonl", &[0xff; 5000].map(|byte: u8| byte)),
        Scratch::new("binance-frames.jsonl", &b"{\"u\":1,\"s\":\"BTCUSDT\"}\n".repeat(5000)),
        Scratch::new("binance-text.jsonl.gz", &gzip(b"\n\nthis is\nno capture\n")),
    ];
    for file in &files {
        let named = format!("binance={}", file.path());
        for command in [
            ["decode", "--venue", "binance", file.path()].as_slice(),
            &["replay", &named],
            &["replay", "--listen", "127.0.0.1:0", &named],
        ] {
            let output = run(command);
            let said = text(&output.stderr);
            assert_eq!(output.status.code(), Some(69), "{command:?}: {said}");
            assert!(output.stdout.is_empty(), "{command:?}: {}", text(&output.stdout));
            assert_eq!(said.lines().count(), 1, "{command:?}: {said}");
            assert!(said.contains(file.path()) && said.contains("not a capture: line "), "{command:?}: {said}");
        }
    }
    // One whose first lines are damaged is a capture all the same, and one without a line is an empty one.
    let damaged = Scratch::new("binance-damaged.jsonl", format!("damaged\n{{\n{CAPTURE}").as_bytes());
    let output = run(&["decode", "--venue", "binance", damaged.path()]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(text(&output.stderr).matches("not a capture line").count(), 3);
    let empty = Scratch::new("binance-empty.jsonl", b"");
    assert_eq!(run(&["decode", "--venue", "binance", empty.path()]).status.code(), Some(0));
}

#[test]
fn what_cannot_be_read_is_unavailable() {
    check_failure(&["decode", "--venue", "binance", "/nowhere/a.jsonl"], 69, &["/nowhere/a.jsonl", "cannot be read"]);
    check_failure(&["decode", "--venue", "binance", env!("CARGO_TARGET_TMPDIR")], 69, &["cannot be read"]);
    for arguments in [["check-config", "/nowhere/a.toml"].as_slice(), &["serve", "--config", "/nowhere/a.toml"]] {
        check_failure(arguments, 78, &["/nowhere/a.toml: cannot be read"]);
    }
}

#[test]
fn usage_mistakes_end_with_2_and_a_hint() {
    check_failure(&["decode", "--venue", "binanse", "-"], 2, &["unknown venue `binanse`", "did you mean `binance`?"]);
    check_failure(&["decode", "-"], 2, &["--venue"]);
    check_failure(&["decoed"], 2, &["'decoed'", "decode"]);
    check_failure(&["demo", "--lisen", "127.0.0.1:0"], 2, &["'--lisen'", "'--listen'"]);
    check_failure(&["demo", "--listen", "3000"], 2, &["'3000'", "IP:PORT"]);
    check_failure(&["--seed", "x"], 2, &["'x'"]);
    check_failure(&["serve"], 2, &["--config"]);
    check_failure(&["sim"], 2, &["--listen"]);
    check_failure(&["sim", "--listen", "127.0.0.1:0", "--venues", "okx,krakn"], 2, &["did you mean `kraken`?"]);
    check_failure(&["sim", "--listen", "127.0.0.1:0", "--rate", "0"], 2, &["'0'", "expected a number"]);
    check_failure(&["replay"], 2, &["FILE"]);
    check_failure(&["replay", "a.jsonl", "--speed", "fast"], 2, &["'fast'", "max"]);
}

#[test]
fn a_wrong_configuration_ends_with_78_and_every_mistake() {
    let file = Scratch::new("wrong.toml", b"venues = [\"binanse\"]\n[gateway]\nbeat_ms = 1\nlisen = 2\n");
    for arguments in [["check-config", file.path()].as_slice(), &["serve", "--config", file.path()]] {
        let words = ["wrong.toml:1: venues: ", "wrong.toml:3: gateway.beat_ms: ", "wrong.toml:4: gateway.lisen: "];
        check_failure(arguments, 78, &words);
    }
    let binary = Scratch::new("binary.toml", b"a = 1\n\xff\xfe");
    check_failure(&["check-config", binary.path()], 78, &["binary.toml:2: is not UTF-8 text"]);
    let output = spreadwire(&["demo"]).env("SPREADWIRE_GATEWAY_LISTEN", "x").output().unwrap();
    assert_eq!(output.status.code(), Some(78));
    assert!(text(&output.stderr).starts_with("environment: SPREADWIRE_GATEWAY_LISTEN: gateway.listen: "));
}

#[test]
fn check_config_prints_a_configuration_that_says_where_it_comes_from() {
    let file = Scratch::new("good.toml", b"venues = [\"okx\", \"kraken\"]\n[detector]\nthreshold_pct = 0.25\n");
    let output = spreadwire(&["check-config", file.path()]).env("SPREADWIRE_GATEWAY_BEAT_MS", "250").output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(output.stderr.is_empty(), "{}", text(&output.stderr));
    let printed = text(&output.stdout);
    let origin = |key: &str| {
        let line = printed.lines().find(|line| line.starts_with(key)).unwrap();
        line.split_once('#').unwrap().1.trim().to_owned()
    };
    assert_eq!(origin("venues = [\"okx\", \"kraken\"]"), "file, line 1");
    assert_eq!(origin("threshold_pct = 0.25 "), "file, line 3");
    assert_eq!(origin("beat_ms = 250 "), "environment, SPREADWIRE_GATEWAY_BEAT_MS");
    assert_eq!(origin("debounce_ms = 60000 "), "default");
}

#[test]
fn help_has_examples_and_version_is_told() {
    for arguments in [
        ["--help"].as_slice(),
        &["demo", "--help"],
        &["serve", "--help"],
        &["sim", "--help"],
        &["replay", "--help"],
        &["decode", "--help"],
        &["check-config", "--help"],
    ] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        assert!(text(&output.stdout).contains("Examples:\n  spreadwire"), "{arguments:?}");
    }
    assert_eq!(text(&run(&["--version"]).stdout), concat!("spreadwire ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let file = Scratch::new("long.jsonl", CAPTURE.repeat(2000).as_bytes());
    let mut child = spreadwire(&["decode", "--venue", "binance", file.path()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // One byte, then gone, as `| head` does; and nobody reads the complaints either.
    child.stdout.take().unwrap().read_exact(&mut [0]).unwrap();
    drop(child.stderr.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn an_output_that_cannot_be_written_is_told() {
    let Ok(full) = std::fs::OpenOptions::new().write(true).open("/dev/full") else { return };
    let file = Scratch::new("full.jsonl", CAPTURE.as_bytes());
    let output = spreadwire(&["decode", "--venue", "binance", file.path()]).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(69));
    assert!(text(&output.stderr).contains("cannot write the output"));
}

/// The simulator with its standard error closed, once it has said that it plays.
fn sim_without_stderr() -> std::process::Child {
    let mut child =
        spreadwire(&["sim", "--listen", "127.0.0.1:0"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stderr.take());
    let mut first = [0; 1];
    child.stdout.as_mut().unwrap().read_exact(&mut first).unwrap();
    child
}

#[test]
fn a_closed_terminal_does_not_end_it_and_a_stop_right_after_the_start_is_orderly() {
    let mut child = sim_without_stderr();
    let id = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
    let status = child.wait().unwrap();
    assert_eq!(status.code(), Some(0), "{status}");
}

/// The answer of the server at `address`.
fn page(address: &str, target: &str) -> String {
    let mut client = TcpStream::connect(address).unwrap();
    client.write_all(format!("GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").as_bytes()).unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    answer
}

/// A pipe into which nothing more goes, and its reader.
fn full_pipe() -> (std::io::PipeReader, std::io::PipeWriter) {
    let (reader, mut writer) = std::io::pipe().unwrap();
    rustix::io::ioctl_fionbio(&writer, true).unwrap();
    for size in [4096, 1] {
        while writer.write(&vec![b'.'; size]).is_ok() {}
    }
    rustix::io::ioctl_fionbio(&writer, false).unwrap();
    (reader, writer)
}

#[test]
fn a_log_that_nobody_reads_stops_nothing_and_goes_on_when_it_is_read() {
    for (is_output, is_read) in [(false, false), (false, true), (true, false)] {
        let (mut reader, writer) = full_pipe();
        let mut command = spreadwire(&["demo", "--listen", "127.0.0.1:0"]);
        let mut child = match is_output {
            false => command.stdout(Stdio::piped()).stderr(writer).spawn().unwrap(),
            true => command.stdout(writer).stderr(Stdio::piped()).spawn().unwrap(),
        };
        drop(command);
        if is_output {
            // Its threads run.
            let mut lines = std::io::BufReader::new(child.stderr.take().unwrap());
            let mut said = String::new();
            while !said.contains("threads: ") {
                assert_ne!(std::io::BufRead::read_line(&mut lines, &mut said).unwrap(), 0, "{said}");
            }
        } else {
            let mut lines = std::io::BufReader::new(child.stdout.take().unwrap());
            let mut said = String::new();
            while !said.contains("Ctrl-C") {
                assert_ne!(std::io::BufRead::read_line(&mut lines, &mut said).unwrap(), 0, "{said}");
            }
            let address = said.split("http://").nth(1).unwrap().split('/').next().unwrap();
            let page = page(address, "/metrics");
            assert!(page.contains("spreadwire_log_lines_dropped_total 0\n"), "{page}");
        }
        if is_read {
            let mut read = Vec::new();
            while !String::from_utf8_lossy(&read).contains("threads: ") {
                let mut some = [0; 4096];
                let length = reader.read(&mut some).unwrap();
                assert_ne!(length, 0);
                read.extend_from_slice(&some[..length]);
            }
        }
        let id = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(0), "{is_output} {is_read}");
    }
}

#[test]
fn a_server_that_cannot_start_ends_with_its_exit_code_although_nobody_reads_the_log() {
    let wrong = Scratch::new("unread.toml", b"venues = [\"binanse\"]\n");
    let busy = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = busy.local_addr().unwrap().to_string();
    let script = Scratch::new("unread-script.toml", b"[[fault]]\nkind = \"no\"\n");
    for (arguments, code) in [
        (["serve", "--config", wrong.path()].as_slice(), 78),
        (&["demo", "--listen", &listen], 69),
        (&["sim", "--listen", "127.0.0.1:0", "--scenario", script.path()], 78),
        (&["replay", "--listen", "127.0.0.1:0", "binance=/nowhere/a.jsonl"], 69),
        (&["serve"], 2),
    ] {
        let (reader, writer) = full_pipe();
        let mut command = spreadwire(arguments);
        let mut child = command.stdout(Stdio::null()).stderr(writer).spawn().unwrap();
        drop(command);
        // Only ends a test that hangs.
        let limit = std::time::Instant::now() + std::time::Duration::from_secs(60);
        let ended = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status.code();
            }
            if std::time::Instant::now() > limit {
                child.kill().unwrap();
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        };
        assert_eq!(ended, Some(code), "{arguments:?}");
        drop(reader);
    }
}

#[test]
fn a_stopped_process_shows_as_an_overrun_of_a_stage() {
    let mut child =
        spreadwire(&["demo", "--listen", "127.0.0.1:0"]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = std::io::BufReader::new(child.stdout.take().unwrap());
    let mut said = String::new();
    while !said.contains("Ctrl-C") {
        assert_ne!(std::io::BufRead::read_line(&mut lines, &mut said).unwrap(), 0, "{said}");
    }
    let address = said.split("http://").nth(1).unwrap().split('/').next().unwrap();
    let id = rustix::process::Pid::from_child(&child);
    // A stop may meet a turn instead of a sleep, and a histogram is published twice a second.
    let shown = (0..100).find_map(|_| {
        rustix::process::kill_process(id, Signal::STOP).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(200));
        rustix::process::kill_process(id, Signal::CONT).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(600));
        let page = page(address, "/api/latency");
        let body = page.split("\r\n\r\n").nth(1).unwrap();
        let latency: serde_json::Value = serde_json::from_str(body).unwrap();
        let stages = latency["stages"].as_array().unwrap();
        assert!(["feed", "detector"].iter().all(|name| stages.iter().any(|one| one["stage"] == *name)), "{body}");
        stages.iter().find(|one| one["overrun"]["max"].as_u64().unwrap() >= 150_000_000).cloned()
    });
    let shown = shown.expect("no overrun after a hundred stops");
    assert!(shown["stalls"].as_u64().unwrap() > 0, "{shown}");
    let metrics = page(address, "/metrics");
    let line = format!("spreadwire_stage_overrun_seconds{{stage={},quantile=\"1\"}} ", shown["stage"]);
    let max = metrics.split(&line).nth(1).unwrap().lines().next().unwrap();
    assert!(max.parse::<f64>().unwrap() >= 0.15, "{max}");
    child.kill().unwrap();
    child.wait().unwrap();
}

/// What the demo says on its standard error when it is started under this `ulimit`, until its threads run.
fn said_under(limit: &str) -> String {
    let script = format!("ulimit {limit} && exec \"$0\" demo --listen 127.0.0.1:0");
    let mut child = Command::new("/bin/sh")
        .args(["-c", &script, env!("CARGO_BIN_EXE_spreadwire")])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = String::new();
    let mut lines = std::io::BufReader::new(child.stderr.take().unwrap());
    while !said.contains("threads: ") {
        assert_ne!(std::io::BufRead::read_line(&mut lines, &mut said).unwrap(), 0, "{said}");
    }
    child.kill().unwrap();
    child.wait().unwrap();
    said
}

#[test]
fn the_soft_limit_of_descriptors_is_raised_and_clients_never_take_the_last_ones() {
    let said = said_under("-Sn 300");
    assert!(!said.contains("300 descriptors"), "{said}");
    let said = said_under("-n 300");
    assert!(said.contains("with 300 descriptors (ulimit -n) only 150 are possible"), "{said}");
}

/// A replay at full speed that is served, with these settings of the gateway, and where it is.
fn served_replay(name: &str, settings: &[(&str, &str)]) -> (std::process::Child, String) {
    let capture = Scratch::new(&format!("{name}.jsonl"), CAPTURE.as_bytes());
    let mut command = spreadwire(&["replay", "--venue", "binance", "--speed", "max", "--listen", "127.0.0.1:0"]);
    command.arg(&capture.0).stdout(Stdio::piped()).stderr(Stdio::null());
    for (key, value) in settings {
        command.env(format!("SPREADWIRE_GATEWAY_{key}"), value);
    }
    let mut child = command.spawn().unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
    let page = lines.find_map(|line| Some(line.unwrap().split_once("http://")?.1.to_owned())).unwrap();
    let address = page.trim_end_matches('/').to_owned();
    // It answers only after it has opened its files, which are gone then.
    let mut client = TcpStream::connect(&address).unwrap();
    client.write_all(b"GET /livez HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
    client.read_to_end(&mut Vec::new()).unwrap();
    (child, address)
}

#[test]
fn the_limit_of_connections_is_that_of_all_gateway_threads_together() {
    let (mut child, address) = served_replay("threads", &[("THREADS", "3"), ("CLIENTS_MAX", "30")]);
    let ask = || {
        let mut client = TcpStream::connect(&address).unwrap();
        let _ = client.write_all(b"GET /api HTTP/1.1\r\nHost: a\r\n\r\n");
        let mut reply = [0; 12];
        client.read_exact(&mut reply).is_ok_and(|()| &reply == b"HTTP/1.1 200").then_some(client)
    };
    // The one that asked first may still be leaving.
    let held: Vec<TcpStream> = (0..1000).filter_map(|_| ask()).take(30).collect();
    let beyond = ask();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(held.len(), 30);
    assert!(beyond.is_none());
}

#[test]
fn names_are_counted_once_over_all_gateway_threads() {
    let (mut child, address) = served_replay("names", &[("THREADS", "3")]);
    let subscribe = |n: usize| {
        let tcp = TcpStream::connect(&address).unwrap();
        let (mut socket, _) = tungstenite::client(format!("ws://{address}/ws/prices"), tcp).unwrap();
        let request = format!(r#"{{"action":"subscribe","symbols":["BTC/USDT","S{n}/USDT"],"exchanges":["binance"]}}"#);
        socket.send(tungstenite::Message::text(request)).unwrap();
        socket.read().unwrap();
        socket
    };
    let held: Vec<_> = (0..30).map(subscribe).collect();
    let stats = || {
        let mut client = TcpStream::connect(&address).unwrap();
        client.write_all(b"GET /api/websocket/stats HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
        let mut reply = String::new();
        client.read_to_string(&mut reply).unwrap();
        reply.split_once("\r\n\r\n").unwrap().1.to_owned()
    };
    let expected = r#"{"status":"active","stats":{"clientCount":30,"totalSubscriptions":60,"uniqueSymbols":31,"uniqueExchanges":1}}"#;
    // Another thread's names are a moment old.
    let begun = std::time::Instant::now();
    let mut told = stats();
    while told != expected && begun.elapsed().as_secs() < 120 {
        std::thread::sleep(std::time::Duration::from_millis(20));
        told = stats();
    }
    drop(held);
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(told, expected);
}

#[test]
fn a_replay_that_has_ended_still_times_slow_clients_out_and_stops() {
    let (mut child, address) = served_replay("ended", &[("HEADER_WAIT_MS", "200")]);
    let mut client = TcpStream::connect(address).unwrap();
    client.set_read_timeout(Some(std::time::Duration::from_secs(120))).unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nHo").unwrap();
    let mut reply = [0; 12];
    let read = client.read_exact(&mut reply);
    let id = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    read.unwrap();
    assert_eq!(&reply, b"HTTP/1.1 408");
}

/// Each quote that `replay` prints: its bid and its time.
fn replayed(capture: &str, name: &str) -> Vec<(String, u64)> {
    let file = Scratch::new(name, capture.as_bytes());
    let output = run(&["replay", "--venue", "binance", file.path()]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let quotes = text(&output.stdout);
    let quotes = quotes.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    quotes.map(|q| (q["bid"].as_str().unwrap().to_owned(), q["timestamp"].as_u64().unwrap())).collect()
}

/// A line of a capture with a `bookTicker` frame of the venue's documentation.
fn ticker_line(ts: &str, sequence: u32, bid: &str) -> String {
    let frame = format!(
        r#"{{\"u\":{sequence},\"s\":\"BNBUSDT\",\"b\":\"{bid}\",\"B\":\"31.21\",\"a\":\"25.3652\",\"A\":\"40.66\"}}"#
    );
    format!("{{\"ts\":{ts},\"dir\":\"in\",\"conn\":1,\"frame\":\"{frame}\"}}\n")
}

#[test]
fn replay_prints_every_quote_also_of_lines_without_a_time() {
    let capture = ["25.1", "25.2", "25.3"].map(|bid| ticker_line("null", 1, bid)).concat();
    let bids: Vec<String> = replayed(&capture, "timeless.jsonl").into_iter().map(|(bid, _)| bid).collect();
    assert_eq!(bids, ["25.1", "25.2", "25.3"]);
}

#[test]
fn a_replay_without_times_is_the_same_in_each_run() {
    let quote =
        |n: u32| format!(r#"{{\"u\":{n},\"s\":\"BTCUSDT\",\"b\":\"{n}\",\"B\":\"1\",\"a\":\"9\",\"A\":\"1\"}}"#);
    let lines: String = (1..6).map(|n| format!("{{\"dir\":\"in\",\"frame\":\"{}\"}}\n", quote(n))).collect();
    let unstamped = Scratch::new("no-time-at-all.jsonl", lines.as_bytes());
    let stamped = Scratch::new(
        "stamps-only.jsonl",
        br#"{"dir":"in","frame":"{\"arg\":{\"channel\":\"bbo-tbt\",\"instId\":\"BTC-USDT\"},\"data\":[{\"asks\":[[\"3\",\"4\",\"0\",\"1\"]],\"bids\":[[\"1\",\"2\",\"0\",\"2\"]],\"ts\":\"1795000000000\",\"seqId\":6}]}"}"#,
    );
    for (venue, file, begins) in [("binance", &unstamped, 1_577_836_800_000), ("okx", &stamped, 1_795_000_000_000_u64)]
    {
        let runs = [(); 2].map(|()| text(&run(&["replay", "--venue", venue, file.path()]).stdout));
        assert_eq!(runs[0], runs[1], "{venue}");
        assert!(runs[0].contains(&format!("\"timestamp\":{begins}")), "{venue}: {}", runs[0]);
    }
}

#[test]
fn a_snapshot_at_the_head_of_a_file_and_a_wild_stamp_do_not_turn_the_recorded_clock() {
    let mut capture = "{\"ts\":1000.0,\"dir\":\"http\",\"conn\":0,\"url\":\"x\",\"frame\":\"{}\"}\n".to_owned();
    for (ts, sequence) in [("900.5", 1), ("1e300", 2), ("-7", 3), ("901.5", 4)] {
        capture += &ticker_line(ts, sequence, "25.1");
    }
    let times: Vec<u64> = replayed(&capture, "snapshot-first.jsonl").into_iter().map(|(_, time)| time).collect();
    assert_eq!(times, [900_500, 900_500, 900_500, 901_500]);
}

#[test]
fn a_wrong_scenario_is_one_line_with_file_line_key_and_what_was_expected() {
    let file = Scratch::new("wrong.toml", b"[[fault]]\nkind = \"cut\"\nvenue = \"mtgox\"\n");
    let said = format!("{}:3: venue: expected \"all\" or a simulated venue: binance, ", file.path());
    check_failure(&["sim", "--listen", "127.0.0.1:0", "--scenario", file.path()], 78, &[&said]);
    let output = run(&["sim", "--listen", "127.0.0.1:0", "--scenario", file.path()]);
    assert_eq!(text(&output.stderr).lines().count(), 1);
    check_failure(&["sim", "--listen", "127.0.0.1:0", "--scenario", "no-such-file.toml"], 69, &["no-such-file.toml"]);
    let file = Scratch::new("tls.toml", b"[[fault]]\nkind = \"tls_expired\"\nfor_s = 1\n");
    check_failure(&["sim", "--listen", "127.0.0.1:0", "--scenario", file.path()], 78, &["--tls DIR"]);
}

/// The rows of the first table of `text` whose head is `| code | |`.
fn table_of_codes(text: &str) -> Vec<(u8, String)> {
    let rows = text.lines().skip_while(|line| *line != "| code | |").skip(2).take_while(|line| line.starts_with('|'));
    rows.map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        (cells[0].parse().unwrap(), cells[1].to_owned())
    })
    .collect()
}

#[test]
fn help_documents_and_program_agree_on_every_exit_code() {
    let told: Vec<(u8, String)> = EXIT_CODES.iter().map(|(code, meaning)| (*code, (*meaning).to_owned())).collect();
    let documents = format!("{}/docs/operating.md", env!("CARGO_MANIFEST_DIR"));
    assert_eq!(table_of_codes(&std::fs::read_to_string(documents).unwrap()), told);
    let help = text(&run(&["--help"]).stdout);
    for (code, meaning) in &told {
        assert!(help.contains(&format!("\n  {code:<4} {meaning}")), "{code}: {help}");
    }
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken_address = taken.local_addr().unwrap().to_string();
    let gone = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().to_string()
    };
    let redis = format!("redis://{gone}");
    let wrong = Scratch::new("codes.toml", b"venues = 1\n");
    let absent = "/nowhere/absent.toml";
    let mut seen = std::collections::BTreeSet::from([
        // A fault of our own cannot be asked for.
        CommandFailure::Internal(String::new()).code(),
    ]);
    for (code, arguments) in [
        (0, ["venues"].as_slice()),
        (0, &["--help"]),
        (0, &["--version"]),
        (2, &["--nonsense"]),
        (2, &["nonsense"]),
        (2, &["serve"]),
        (69, &["demo", "--listen", &taken_address]),
        (69, &["sim", "--listen", &taken_address]),
        (69, &["decode", "--venue", "okx", "/nowhere/a.jsonl"]),
        (69, &["replay", "/nowhere/okx.jsonl"]),
        (69, &["top", &gone, "--once"]),
        (69, &["top", &gone]),
        (69, &["cluster", "status", "--redis", &redis]),
        (78, &["check-config", absent]),
        (78, &["check-config", wrong.path()]),
        (78, &["serve", "--config", absent]),
        (78, &["serve", "--config", wrong.path()]),
        (78, &["instruments", "--config", absent]),
        (78, &["cluster", "status", "--config", absent]),
        (69, &["sim", "--listen", "127.0.0.1:0", "--scenario", absent]),
        (78, &["sim", "--listen", "127.0.0.1:0", "--scenario", wrong.path()]),
    ] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", text(&output.stderr));
        seen.insert(code as u8);
    }
    // Both signals wait while it is stopped, so that it finds the second one while it ends.
    let child = sim_without_stderr();
    let id = rustix::process::Pid::from_child(&child);
    for signal in [Signal::STOP, Signal::TERM, Signal::INT, Signal::CONT] {
        rustix::process::kill_process(id, signal).unwrap();
    }
    let code = child.wait_with_output().unwrap().status.code().unwrap();
    assert_eq!(code, 130);
    seen.insert(code as u8);
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), told.iter().map(|(code, _)| *code).collect::<Vec<_>>());
}
