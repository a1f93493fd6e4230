//! What a mistake with Redis looks like at start: one clear line, the right exit code, and no password.

use std::io::Read;
use std::process::{Command, Stdio};

use super::server::{Server, free_port};

/// Runs `serve` on a Redis address until it ends by itself or has said that it serves. Its exit code, and its words.
fn serve(redis: &str) -> (Option<i32>, String) {
    let port = free_port();
    let file = std::env::temp_dir().join(format!("spreadwire-start-{}-{port}.toml", std::process::id()));
    let venue = format!("venues = [\"okx\", \"kraken\"]\n[venue.okx]\naddress = \"ws://127.0.0.1:{port}/\"\n");
    let text = format!("{venue}[gateway]\nlisten = \"127.0.0.1:0\"\n[cluster]\nredis = \"{redis}\"\n");
    // A machine that is busy may be slow, which would be another fault.
    let text = format!("{text}lease_ms = 60000\ncall_ms = 10000\n");
    let text = text.replace("[gateway]", &format!("[venue.kraken]\naddress = \"ws://127.0.0.1:{port}/\"\n[gateway]"));
    std::fs::write(&file, text).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_spreadwire"))
        .args(["serve", "--config"])
        .arg(&file)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut pipe = child.stderr.take().unwrap();
    let words = std::thread::spawn(move || {
        let (mut words, mut buffer) = (String::new(), [0; 4096]);
        while let Ok(length @ 1..) = pipe.read(&mut buffer) {
            words += &String::from_utf8_lossy(&buffer[..length]);
            if words.contains("threads: ") {
                break;
            }
        }
        words
    });
    // Ends when it has started, or when it is gone.
    let words = words.join().unwrap();
    if words.contains("threads: ") {
        child.kill().unwrap();
    }
    let code = child.wait().unwrap().code();
    let _ = std::fs::remove_file(file);
    (code, words)
}

fn line<'a>(words: &'a str, part: &str) -> &'a str {
    words.lines().find(|line| line.contains(part)).unwrap_or_else(|| panic!("no line with {part:?} in {words}"))
}

#[test]
fn a_wrong_address_ends_the_start_with_78_and_a_wrong_password_with_69() {
    let (code, words) = serve("redis://:secret@127.0.0.1:notaport/");
    assert_eq!(code, Some(78), "{words}");
    line(&words, "cluster.redis: not an address of Redis");
    assert!(!words.contains("secret"), "{words}");
    let server = Server::start(&["--requirepass", "right"]);
    let (code, words) = serve(&format!("redis://:secret@127.0.0.1:{}/", server.port));
    assert_eq!(code, Some(69), "{words}");
    line(&words, "cluster.redis: Redis refuses us: ");
    assert!(!words.contains("secret"), "{words}");
}

#[test]
fn a_redis_that_is_down_at_start_is_a_warning() {
    let (code, words) = serve(&format!("redis://127.0.0.1:{}/", free_port()));
    assert_eq!(code, None, "{words}");
    line(&words, "warning: cluster.redis: Redis cannot be reached");
}
