//! Behaviour of a cluster under faults: how long a venue is without a leader, and how clients are affected when Redis
//! is gone, late or full.
//!
//!     cargo bench --bench cluster [TURNS]
//!
//! Three `spreadwire serve`, a redis-server, simulated venues and clients, as in tests/cluster, on this machine. Prices
//! are timed from the moment they are set at the venue until a client has received them. For each fault, the same
//! clients are measured before, during and after it. The ratio is the 99th percentile during the fault, divided by the
//! mean of those before and after. "During" starts when Redis breaks and includes all prices that arrive; missing
//! prices show as silence.

#[path = "../tests/it/cluster/history.rs"]
mod history;
#[path = "../tests/cluster/rig.rs"]
mod rig;
#[path = "../tests/it/cluster/server.rs"]
mod server;

use std::cell::RefCell;

use rustix::process::Signal;
use spreadwire::time::{MS, MonoNs, SECOND};

use rig::{
    Client, Exchange, Gateway, Heard, Rig, Settings, SlowWay, VENUES, Witness, fail_over, ms, now, pause, quantile,
};

/// How long clients are measured before, during and after a fault, in milliseconds.
const LISTEN_MS: u64 = 10_000;
/// Time between two prices of a venue, in microseconds.
const EVERY_US: u64 = 4000;

fn main() {
    let is_smoke = std::env::args().any(|a| a == "--test");
    let turns = if is_smoke { 2 } else { std::env::args().find_map(|a| a.parse().ok()).unwrap_or(50) };
    leaders_end(turns);
    handovers(turns.min(10));
    if !is_smoke {
        faults();
    }
}

fn three() -> Vec<Settings> {
    vec![Settings::lease(1000); 3]
}

fn print(what: &str, took: &mut [f64]) {
    let [p50, p99, max] = [0.5, 0.99, 1.0].map(|part| quantile(took, part));
    println!("{what:<44} {:>4} times   p50 {p50:>7.1} ms   p99 {p99:>7.1} ms   max {max:>7.1} ms", took.len());
}

/// The leader is killed, or stopped for longer than its lease.
fn leaders_end(turns: usize) {
    let server = rig::redis();
    let mut rig = Rig::start(&server.url(), &three());
    let witness = Witness::start(&server.url());
    rig.settle();
    let mut took = fail_over(&mut rig, &witness, turns, Gateway::kill, |gateway, _| gateway.start_again());
    print("SIGKILL of a leader, to the next price", &mut took);
    let stop = |gateway: &mut Gateway| gateway.signal(Signal::STOP);
    let mut took = fail_over(&mut rig, &witness, turns, stop, |gateway, _| gateway.signal(Signal::CONT));
    print("SIGSTOP beyond its lease, to the next price", &mut took);
    pause(1000);
    witness.check().expect("nothing was published under an old token");
    let summary = history::check(&rig.history()).expect("nothing was accepted under an old token");
    let history::Summary { batches, tokens, gaps, .. } = summary;
    println!(
        "accepted by all: {batches} batches under {tokens} tokens, {gaps} missing in a sequence, none out of order"
    );
}

/// The leader is asked to end.
fn handovers(turns: usize) {
    let server = rig::redis();
    let mut settings = three();
    settings.iter_mut().for_each(|it| it.cluster = "lease_ms = 5000\ntenure_ms = 300\n".to_owned());
    let mut rig = Rig::start_on(Exchange::start(EVERY_US, 60.0), &server.url(), &settings);
    let witness = Witness::start(&server.url());
    rig.settle();
    let (mut took, mut silences, mut missed) = (Vec::new(), Vec::new(), 0);
    for turn in 0..turns {
        let clients: Vec<Client> = rig.gateways.iter().map(Client::connect).collect();
        pause(500);
        let (venue, begun) = (VENUES[turn % VENUES.len()], now());
        let before = witness.last(venue).expect("it is led");
        let leader = rig.place(&before.from).expect("one of ours leads");
        rig.gateways[leader].signal(Signal::TERM);
        assert!(rig::wait(rig::PATIENCE, || witness.first_above(venue, before.token).is_some()), "{}", rig.logs());
        took.push(ms(begun, witness.first_above(venue, before.token).expect("just seen").at));
        rig.gateways[leader].child.wait().expect("it ends");
        pause(500);
        for client in clients.iter().enumerate().filter(|(at, _)| *at != leader).map(|(_, client)| client) {
            let counts = client.counts(venue, MonoNs(begun.0 - 200 * MS), begun.plus(500 * MS));
            silences.push(rig::longest(&counts.iter().map(|it| it.at).collect::<Vec<_>>()));
            let count = |it: Option<&Heard>| it.and_then(Heard::count).expect("prices were heard");
            missed += count(counts.last()) - count(counts.first()) + 1 - counts.len() as u64;
        }
        rig.gateways[leader].start_again();
        rig.settle();
    }
    print("SIGTERM of a leader, to the next price", &mut took);
    print("  longest silence at other clients", &mut silences);
    println!("  prices missed by them, of one every {} ms: {missed}", EVERY_US / 1000);
    println!("upstream connections per venue (now, most at once): {:?}", connections(&rig));
}

fn connections(rig: &Rig) -> Vec<(u64, u64)> {
    rig.exchange.connections().values().map(|[open, most, _]| (*open, *most)).collect()
}

fn faults() {
    let server = rig::redis();
    let way = SlowWay::to(server.port);
    let mut settings = three();
    settings.iter_mut().for_each(|it| it.cluster += "stable_ms = 1000\n");
    let rig = Rig::start_on(Exchange::start(EVERY_US, 60.0), &way.url(), &settings);
    println!(
        "\n{:<28} {:>10} {:>10} {:>10} {:>7} {:>10} {:>7}",
        "fault", "p99 before", "with", "after", "ratio", "silence", "shown"
    );
    let server = RefCell::new(server);
    let tell = |words: &str| server.borrow().tell(words);
    let pause_all = format!("CLIENT PAUSE {LISTEN_MS} ALL");
    fault("none", &rig, || (), || ());
    fault("slow by 200 ms", &rig, || way.delay(200), || way.delay(0));
    fault("CLIENT PAUSE", &rig, || tell(&pause_all), || ());
    fault("full (OOM)", &rig, || tell("CONFIG SET maxmemory 1"), || tell("CONFIG SET maxmemory 0"));
    fault("emptied (FLUSHALL)", &rig, || tell("FLUSHALL"), || ());
    fault("read-only replica", &rig, || tell("REPLICAOF 127.0.0.1 1"), || tell("REPLICAOF NO ONE"));
    fault("killed, restarted empty", &rig, || server.borrow_mut().kill(), || server.borrow_mut().start_again());
}

/// What clients of every gateway receive from every venue before, during and after a fault.
fn fault(what: &str, rig: &Rig, begin: impl FnOnce(), end: impl FnOnce()) {
    rig.settle();
    let clients: Vec<Client> = rig.gateways.iter().map(Client::connect).collect();
    pause(1000);
    let started = now();
    pause(LISTEN_MS);
    let begun = now();
    begin();
    let cut_off =
        rig::wait(std::time::Duration::from_secs(1), || rig.gateways.iter().all(|it| it.redis() == "cut_off"));
    let shown = if cut_off { format!("{:.0} ms", ms(begun, now())) } else { "-".to_owned() };
    pause((LISTEN_MS * MS).saturating_sub(now().since(begun)) / MS);
    let ended = now();
    end();
    rig.settle();
    pause(1000);
    let settled = now();
    pause(LISTEN_MS);
    let [before, with, after] = [(started, begun), (begun, ended), (settled, now())].map(|(from, to)| {
        let all = |venue: &&str| clients.iter().flat_map(|it| it.counts(venue, from, to)).collect::<Vec<_>>();
        let heard = VENUES.iter().flat_map(all);
        let mut ways: Vec<f64> = heard.filter_map(|it| Some(ms(rig.exchange.set_at(it.count()?), it.at))).collect();
        quantile(&mut ways, 0.99)
    });
    let silence = rig::fared(rig, &clients, begun, ended).silence_ms;
    let ratio = with / ((before + after) / 2.0);
    println!("{what:<28} {before:>7.2} ms {with:>7.2} ms {after:>7.2} ms {ratio:>7.2} {silence:>7.0} ms {shown:>7}",);
    clients.iter().for_each(|it| rig::check_order(&it.heard(), false).expect("no price twice, none that is older"));
    assert!(now().since(started) < 300 * SECOND, "it takes too long");
}
