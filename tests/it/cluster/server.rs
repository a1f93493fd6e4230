//! A private redis-server or redis-sentinel: on loopback, without files, killed when dropped.

#![allow(dead_code)]

use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// What has not happened by then never will: a test fails rather than hangs, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(120);

/// A running server.
pub struct Server {
    child: Child,
    pub port: u16,
    folder: PathBuf,
    arguments: Vec<String>,
}

impl Server {
    /// An empty Redis; `extra` are further arguments, such as `["--maxmemory", "1mb"]`.
    pub fn start(extra: &[&str]) -> Self {
        let fixed = ["--save", "", "--appendonly", "no", "--bind", "127.0.0.1"];
        Self::start_as("redis-server", fixed.iter().chain(extra).map(|a| (*a).to_owned()).collect())
    }

    /// A Sentinel that watches the Redis at `master` under the name `prices` and needs nobody's consent.
    pub fn start_sentinel(master: u16) -> Self {
        Self::start_sentinel_with(master, "")
    }

    /// The same with another line in its file.
    pub fn start_sentinel_with(master: u16, line: &str) -> Self {
        let lines = [
            format!("sentinel monitor prices 127.0.0.1 {master} 1"),
            "sentinel down-after-milliseconds prices 500".to_owned(),
            "sentinel failover-timeout prices 3000".to_owned(),
            line.to_owned(),
        ];
        Self::start_as("redis-sentinel", vec![lines.join("\n")])
    }

    fn start_as(program: &str, arguments: Vec<String>) -> Self {
        for _ in 0..5 {
            let port = free_port();
            let folder = folder(port);
            if let Some(child) = spawn(program, port, &folder, &arguments) {
                return Self { child, port, folder, arguments };
            }
        }
        panic!("{program} does not start");
    }

    /// Where a client finds it.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    /// A plain client of it.
    pub fn client(&self) -> redis::Connection {
        client(&self.url())
    }

    /// Kills it, as a power cut does.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// It answers nobody until [`Self::go_on`].
    pub fn stop(&self) {
        self.signal(Signal::STOP);
    }

    /// It answers again, those who asked meanwhile first.
    pub fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Starts it again where it was, empty.
    pub fn start_again(&mut self) {
        self.child = spawn("redis-server", self.port, &self.folder, &self.arguments).expect("it starts again");
    }

    /// Runs a command, given as words.
    pub fn tell(&self, words: &str) {
        let mut words = words.split(' ');
        let mut command = redis::cmd(words.next().unwrap());
        for word in words {
            command.arg(word);
        }
        command.query::<redis::Value>(&mut self.client()).unwrap();
    }

    /// Waits until this Sentinel has found the master's replica.
    pub fn await_replica(&self) {
        let end = Instant::now() + PATIENCE;
        let mut link = self.client();
        loop {
            let facts: String = redis::cmd("INFO").arg("sentinel").query(&mut link).unwrap();
            if facts.contains("slaves=1") {
                return;
            }
            assert!(Instant::now() < end, "the sentinel does not find the replica");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The folder it would write to.
    pub fn folder(&self) -> &std::path::Path {
        &self.folder
    }

    /// Removes the folder it would write to.
    pub fn lose_folder(&self) {
        std::fs::remove_dir_all(&self.folder).unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// A plain client of the Redis at `url`, which fails rather than waits.
pub fn client(url: &str) -> redis::Connection {
    let limit = PATIENCE;
    let link = redis::Client::open(url).unwrap().get_connection_with_timeout(limit).unwrap();
    link.set_read_timeout(Some(limit)).unwrap();
    link
}

pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn folder(port: u16) -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let folder = std::env::temp_dir().join(format!("spreadwire-redis-{}-{port}-{count}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// Starts it and waits until it answers; `None` when it ends before, since somebody else took the port.
fn spawn(program: &str, port: u16, folder: &PathBuf, arguments: &[String]) -> Option<Child> {
    let mut command = Command::new(program);
    if program == "redis-sentinel" {
        let file = folder.join("sentinel.conf");
        let head = format!("port {port}\nbind 127.0.0.1\ndir {}\n", folder.display());
        std::fs::write(&file, head + &arguments.join("\n") + "\n").unwrap();
        command.arg(file);
    } else {
        command.arg("--port").arg(port.to_string()).arg("--dir").arg(folder).args(arguments);
    }
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let mut child = child.unwrap_or_else(|why| panic!("{program}: {why}; apt-get install redis-server redis-sentinel"));
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        if child.try_wait().unwrap().is_some() {
            return None;
        }
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return Some(child);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let _ = child.kill();
    let _ = child.wait();
    None
}
