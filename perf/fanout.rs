//! What does a delivered message cost the server in CPU, and a client in memory?
//!
//!     cargo bench --bench fanout [SECONDS]
//!
//! First the load of the replaced system: clients x 15 pairs at the 500 ms beat. Then every change immediately,
//! compared with a bare loop that writes the same bytes to as many sockets in the same run. Then start time and idle
//! memory. The server is the real binary in its own process; venues and clients are in this one.

#[path = "rig.rs"]
mod rig;

use std::io::Write;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rig::{Server, Swarm, VENUES, VenueSocket};

/// Updates per second over all pairs at the beat. Each of the 15 pairs changes once per 500 ms, so that every message
/// contains a new price.
const BEAT_UPDATES_PER_SECOND: u32 = 30;
/// Updates per second over all pairs in the interval-0 measurement.
const UPDATES_PER_SECOND: u32 = 1_000;

fn main() {
    if std::env::args().nth(1).as_deref() == Some("bare-loop") {
        return bare_loop();
    }
    let seconds = rig::seconds(10);
    let sizes: &[usize] = if rig::is_smoke() { &[50] } else { &[500, 2_000, 10_000] };
    println!("load of the replaced system: clients x 15 pairs at the 500 ms beat, {seconds} s each");
    println!(
        "{:>8} {:>12} {:>14} {:>14} {:>12}",
        "clients", "messages/s", "CPU/message", "server CPU", "memory/client"
    );
    for &clients in sizes {
        beat(clients, seconds);
    }
    let clients = if rig::is_smoke() { 20 } else { 500 };
    println!("\nevery change at once (interval 0): {clients} clients, 15 pairs, {UPDATES_PER_SECOND} updates/s in all");
    every_change(clients, seconds);
    start_and_idle();
}

fn beat(clients: usize, seconds: u64) {
    let (server, venues) = serve();
    let feeding = Feeding::start(venues, BEAT_UPDATES_PER_SECOND);
    let before = server.resident();
    let hello = rig::client_hello(server.address, 5, &VENUES, "");
    let mut swarm = Swarm::connect(server.address, clients, &hello);
    swarm.read_for(Duration::from_secs(2));
    let (frames, cpu, begun) = (swarm.frames(), server.cpu_ns(), Instant::now());
    swarm.read_for(Duration::from_secs(seconds));
    let (frames, cpu, took) = (swarm.frames() - frames, server.cpu_ns() - cpu, begun.elapsed());
    let memory = server.resident().saturating_sub(before) / clients as u64;
    println!(
        "{clients:>8} {:>12.0} {:>11.3} us {:>12.1} % {:>8.2} KiB",
        frames as f64 / took.as_secs_f64(),
        cpu as f64 / 1e3 / frames.max(1) as f64,
        cpu as f64 / took.as_nanos() as f64 * 100.0,
        memory as f64 / 1024.0,
    );
    let expected = clients as u64 * 15 * 2 * seconds;
    assert!(frames >= expected * 9 / 10, "only {frames} of {expected} messages came");
    drop(feeding);
}

fn every_change(clients: usize, seconds: u64) {
    let (server, venues) = serve();
    let feeding = Feeding::start(venues, UPDATES_PER_SECOND);
    let hello = rig::client_hello(server.address, 5, &VENUES, r#","intervalMs":0"#);
    let mut swarm = Swarm::connect(server.address, clients, &hello);
    swarm.read_for(Duration::from_secs(1));
    let (frames, cpu) = (swarm.frames(), server.cpu_ns());
    swarm.read_for(Duration::from_secs(seconds));
    let (ours, our_cpu) = (swarm.frames() - frames, server.cpu_ns() - cpu);
    drop((swarm, feeding, server));

    let (theirs, their_cpu) = measure_bare_loop(clients, seconds);
    let per = |cpu: u64, n: u64| cpu as f64 / 1e3 / n.max(1) as f64;
    let (a, b) = (per(our_cpu, ours), per(their_cpu, theirs));
    println!("spreadwire: {:>9.0} messages/s, {a:.3} us CPU per message", ours as f64 / seconds as f64);
    println!("bare loop:  {:>9.0} messages/s, {b:.3} us CPU per message", theirs as f64 / seconds as f64);
    println!("ratio: {:.2} (bar: 1.15)", a / b);
}

fn start_and_idle() {
    let listeners = rig::venue_listeners(VENUES.len());
    let addresses: Vec<_> = listeners.iter().map(|l| l.local_addr().expect("bound")).collect();
    let (server, took) = Server::start(&addresses, "");
    thread::sleep(Duration::from_secs(1));
    let cpu = server.cpu_ns();
    thread::sleep(Duration::from_secs(2));
    println!("\nready to serve after {:.0} ms (bar: 2000)", took.as_secs_f64() * 1e3);
    println!("idle memory {:.1} MiB (bar: 40)", server.resident() as f64 / 1048576.0);
    println!("idle CPU {:.2} % (bar: 1)", (server.cpu_ns() - cpu) as f64 / 2e9 * 100.0);
}

fn serve() -> (Server, Vec<VenueSocket>) {
    let listeners = rig::venue_listeners(VENUES.len());
    let addresses: Vec<_> = listeners.iter().map(|l| l.local_addr().expect("bound")).collect();
    let (server, _) = Server::start(&addresses, "");
    let mut venues = rig::accept_venues(&listeners);
    venues.iter_mut().for_each(VenueSocket::all_quotes);
    thread::sleep(Duration::from_millis(300));
    (server, venues)
}

/// Venues that change one pair after the other, `rate` times a second in total, until dropped.
struct Feeding {
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Feeding {
    fn start(mut venues: Vec<VenueSocket>, rate: u32) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let begun = Instant::now();
            for n in 0.. {
                let due = begun + Duration::from_secs(1) / rate * n;
                thread::sleep(due.saturating_duration_since(Instant::now()));
                if flag.load(Ordering::Relaxed) {
                    return;
                }
                let venue = n as usize % venues.len();
                venues[venue].quote(n as usize / 3 % rig::SYMBOLS.len(), 6_370_400);
            }
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Feeding {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().map(thread::JoinHandle::join);
    }
}

/// Messages and CPU nanoseconds of the bare loop, which runs in its own process like the server.
fn measure_bare_loop(clients: usize, seconds: u64) -> (u64, u64) {
    let address = rig::free_address();
    let mut child = std::process::Command::new(std::env::current_exe().expect("this binary"))
        .args(["bare-loop", &address.to_string(), &clients.to_string()])
        .spawn()
        .expect("this binary starts again");
    let begun = Instant::now();
    while std::net::TcpStream::connect(address).is_err() {
        assert!(begun.elapsed() < Duration::from_secs(10), "the bare loop does not listen");
        thread::sleep(Duration::from_millis(10));
    }
    let mut swarm = Swarm::connect(address, clients, b"");
    swarm.read_for(Duration::from_secs(1));
    let (frames, cpu) = (swarm.frames(), rig::cpu_ns(child.id()));
    swarm.read_for(Duration::from_secs(seconds));
    let result = (swarm.frames() - frames, rig::cpu_ns(child.id()) - cpu);
    let _ = child.kill();
    let _ = child.wait();
    result
}

/// Accepts clients, then writes one pre-encoded message to each of them, as often as the venues change a pair.
fn bare_loop() {
    let arguments: Vec<String> = std::env::args().collect();
    let clients: usize = arguments[3].parse().expect("a count");
    let listener = TcpListener::bind(&arguments[2]).expect("the address is free");
    // The first connection only checks that we listen.
    drop(listener.accept());
    let mut sockets: Vec<_> = (0..clients)
        .map(|_| {
            let (socket, _) = listener.accept().expect("a client connects");
            socket.set_nodelay(true).expect("a fresh socket");
            socket
        })
        .collect();
    let text = br#"{"type":"price","symbol":"BTC/USDT","exchange":"binance","bid":63704,"ask":63704.01,"timestamp":1786613159749}"#;
    let mut message = Vec::new();
    spreadwire::wire::websocket::text_frame_header(text.len(), &mut message);
    message.extend_from_slice(text);
    let begun = Instant::now();
    for n in 0.. {
        let due = begun + Duration::from_secs(1) / UPDATES_PER_SECOND * n;
        thread::sleep(due.saturating_duration_since(Instant::now()));
        for socket in &mut sockets {
            if socket.write_all(&message).is_err() {
                return;
            }
        }
    }
}
