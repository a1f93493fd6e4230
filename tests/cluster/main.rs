//! The promises of a cluster, kept by processes: `spreadwire serve` three times, a real Redis, simulated venues that
//! count who is connected to them, clients that write down every price, and a witness who listens to Redis itself.
//!
//! A binary of its own, so that nothing else of ours runs beside. Nothing here says how fast: what is waited for comes or
//! does not. How long it takes is measured by `cargo bench --bench cluster`.

#[path = "../it/cluster/history.rs"]
mod history;
mod rig;
#[path = "../it/cluster/server.rs"]
mod server;

use rustix::process::Signal;
use serde_json::Value;
use spreadwire::random::Random;
use spreadwire::time::{MS, MonoNs};

use rig::{
    Busy, Client, Exchange, Gateway, PATIENCE, Rig, Settings, SlowWay, VENUES, Witness, check_order, fail_over, ms,
    now, pause, quantile, redis, wait,
};
use server::Server;

/// Short, so that fifty of them pass in a minute.
const LEASE_MS: u64 = 1000;
/// Turns of the tests that repeat a fault.
const TURNS: usize = 50;

fn three(lease_ms: u64) -> Vec<Settings> {
    vec![Settings::lease(lease_ms); 3]
}

/// Waits until every client has heard so many prices of every venue since `from`.
fn await_counts(rig: &Rig, clients: &[Client], from: MonoNs, count: usize) {
    let has = |client: &Client| VENUES.iter().all(|venue| client.counts(venue, from, now()).len() >= count);
    assert!(wait(PATIENCE, || clients.iter().all(has)), "prices do not come: {}", rig.logs());
}

/// Nothing that was accepted or published may contradict the fencing, nothing that a client heard the order.
fn check_all(rig: &Rig, witness: &Witness, clients: &[Client], may_repeat: bool) -> history::Summary {
    witness.check().unwrap_or_else(|why| panic!("{why}\n{}", rig.logs()));
    for client in clients {
        check_order(&client.heard(), may_repeat).unwrap_or_else(|why| panic!("{why}\n{}", rig.logs()));
    }
    history::check(&rig.history()).unwrap_or_else(|why| panic!("{why}\n{}", rig.logs()))
}

#[test]
fn each_venue_is_connected_once_and_newcomers_get_their_share() {
    let server = redis();
    let rig = Rig::start(&server.url(), &three(5000));
    rig.settle();
    let clients: Vec<Client> = rig.gateways.iter().map(Client::connect).collect();
    // The first that a client hears is what there was before, maybe from when another led.
    await_counts(&rig, &clients, now(), 10);
    let (begun, opened) = (now(), rig.exchange.connections());
    await_counts(&rig, &clients, begun, 100);
    assert_eq!(rig.exchange.connections(), opened, "in steady state nothing is connected anew");
    for (at, client) in clients.iter().enumerate() {
        for venue in VENUES {
            let counts = client.counts(venue, begun, now());
            let levels: Vec<&str> = counts.iter().map(|it| it.level.as_str()).collect();
            let odd = counts.iter().find(|it| it.level != levels[0]);
            assert!(odd.is_none(), "client {at}: another level than {}: {odd:?}\n{}", levels[0], rig.logs());
        }
        check_order(&client.heard(), false).unwrap();
    }
    assert!(rig.exchange.connections().values().all(|[_, most, _]| *most <= 2), "{:?}", rig.exchange.connections());
}

#[test]
fn order_books_come_from_the_instance_that_leads_the_venue_and_the_others_name_it() {
    let server = redis();
    let mut rig = Rig::start(&server.url(), &vec![Settings { book_levels: 5, ..Settings::lease(LEASE_MS) }; 2]);
    let book = |gateway: &Gateway| -> Value {
        serde_json::from_str(&gateway.get("/api/book?symbol=BTC/USDT&exchange=okx").1).unwrap()
    };
    let leads = |gateway: &Gateway| gateway.cluster()["leads"].to_string().contains("okx");
    let is_live = |gateway: &Gateway| book(gateway)["state"] == "live" && book(gateway)["bids"][4].is_array();
    // Both are asked at once, or the venue may have changed hands in between.
    let settled = wait(PATIENCE, || {
        let [a, b] = &rig.gateways[..] else { panic!() };
        let (leader, follower) = if leads(a) { (a, b) } else { (b, a) };
        let told = book(follower);
        let is_named = told["leader"].as_str().is_some_and(|id| id.starts_with(&format!("{}_", leader.name)));
        is_live(leader) && told["state"] == "none" && told["reason"] == "not_leader" && is_named && leads(leader)
    });
    let books: Vec<Value> = rig.gateways.iter().map(book).collect();
    assert!(settled, "{books:?}\n{}", rig.logs());
    let at = rig.gateways.iter().position(leads).unwrap();
    rig.gateways[at].kill();
    let successor = &rig.gateways[1 - at];
    assert!(wait(PATIENCE, || is_live(successor)), "{}\n{}", book(successor), rig.logs());
}

#[test]
fn fifty_leaders_are_killed_and_each_venue_is_published_again() {
    let server = redis();
    let mut rig = Rig::start(&server.url(), &three(LEASE_MS));
    let witness = Witness::start(&server.url());
    rig.settle();
    let mut clients: Vec<Client> = rig.gateways.iter().map(Client::connect).collect();
    let mut took = fail_over(&mut rig, &witness, TURNS, Gateway::kill, |gateway, _| {
        gateway.start_again();
        clients.push(Client::connect(gateway));
    });
    println!("killed {TURNS}: p50 {:.0} ms, max {:.0} ms", quantile(&mut took, 0.5), quantile(&mut took, 1.0));
    let summary = check_all(&rig, &witness, &clients, false);
    assert!(summary.tokens >= TURNS as u64, "{summary:?}");
}

#[test]
fn fifty_leaders_that_slept_beyond_their_lease_publish_nothing_more_under_it() {
    let server = redis();
    let mut rig = Rig::start(&server.url(), &three(LEASE_MS));
    let witness = Witness::start(&server.url());
    rig.settle();
    let clients: Vec<Client> = rig.gateways.iter().map(Client::connect).collect();
    let mut took = fail_over(
        &mut rig,
        &witness,
        TURNS,
        |gateway| gateway.signal(Signal::STOP),
        |gateway, _| {
            gateway.signal(Signal::CONT);
            // It has the time to do wrong.
            assert!(wait(PATIENCE, || gateway.redis() == "joined"), "{}", gateway.log());
        },
    );
    println!("stopped {TURNS}: p50 {:.0} ms, max {:.0} ms", quantile(&mut took, 0.5), quantile(&mut took, 1.0));
    check_all(&rig, &witness, &clients, false);
    let fenced: f64 = rig.gateways.iter().map(|it| it.metric("cluster_venue_fenced_total")).sum();
    assert_eq!(fenced, 0.0, "Redis passes nothing on under an old token");
}

#[test]
fn clocks_ten_minutes_apart_change_no_leader_and_no_age() {
    let server = redis();
    let offsets = ["", "+10m", "-10m"];
    let settings = offsets.map(|clock| Settings { clock, ..Settings::lease(LEASE_MS) });
    let rig = Rig::start(&server.url(), &settings);
    let witness = Witness::start(&server.url());
    rig.settle();
    let clients: Vec<Client> = rig.gateways.iter().map(Client::connect).collect();
    // An id ends with the wall clock at its start.
    let started = |at: usize| -> i64 {
        let cluster = rig.gateways[at].cluster();
        cluster["instance"].as_str().and_then(|id| id.rsplit('_').next()?.parse().ok()).unwrap()
    };
    let [ahead, behind] = [started(1) - started(0), started(2) - started(0)];
    assert!(ahead > 590_000 && behind < -590_000, "the clocks are not wrong: {ahead} ms, {behind} ms");
    await_counts(&rig, &clients, now(), 10);
    let (begun, leaders) = (now(), VENUES.map(|venue| witness.last(venue).unwrap().token));
    let lasts = |it: &Witness| it.last(VENUES[0]).is_some_and(|it| it.at >= begun.plus(5 * LEASE_MS * MS));
    assert!(wait(PATIENCE, || lasts(&witness)), "{}", rig.logs());
    await_counts(&rig, &clients, begun, 100);
    assert_eq!(VENUES.map(|venue| witness.last(venue).unwrap().token), leaders, "no leader changes");
    for (at, client) in clients.iter().enumerate() {
        for venue in VENUES {
            let counts = client.counts(venue, begun, now());
            for it in counts {
                let age_ms = ms(rig.exchange.set_at(it.count().unwrap()), it.at);
                // Errs to the older side, by round trips. A clock that counted would be off by 600 s.
                assert!(it.age_ms >= 0.0 && it.age_ms < age_ms + 60_000.0, "gateway {at}: is {age_ms} ms old: {it:?}");
            }
        }
    }
    check_all(&rig, &witness, &clients, false);
}

/// Beside two busy loops: whoever is asked to end, or gives a venue to one that has less to do, goes on publishing until the
/// next leader's first batch is out. See [`Witness::changes`] for what a lost event is.
#[test]
fn twenty_leaders_that_are_asked_to_end_hand_over_and_no_event_is_lost() {
    let server = redis();
    let mut rig = Rig::start(&server.url(), &three(5000));
    let witness = Witness::start(&server.url());
    rig.settle();
    let busy = Busy::start(2);
    let mut clients: Vec<Client> = Vec::new();
    for turn in 0..20 {
        clients = rig.gateways.iter().map(Client::connect).collect();
        let venue = VENUES[turn % 3];
        let hears = |client: &Client| VENUES.iter().all(|venue| client.last_count(venue).is_some());
        assert!(wait(PATIENCE, || clients.iter().all(hears)), "turn {turn}: {}", rig.logs());
        let before = witness.last(venue).unwrap();
        let leader = rig.place(&before.from).unwrap();
        rig.gateways[leader].signal(Signal::TERM);
        let status = rig.gateways[leader].child.wait().unwrap();
        assert_eq!(status.code(), Some(0), "{}", rig.gateways[leader].log());
        assert!(wait(PATIENCE, || witness.first_above(venue, before.token).is_some()), "{}", rig.logs());
        let first = witness.first_above(venue, before.token).unwrap().count.unwrap();
        for (at, client) in clients.iter().enumerate().filter(|(at, _)| *at != leader) {
            let goes_on = wait(PATIENCE, || client.last_count(venue) > Some(first));
            assert!(goes_on, "turn {turn}: client of {at} hears nothing of {venue}: {}", rig.logs());
            check_order(&client.heard(), false).unwrap_or_else(|why| panic!("turn {turn}: {why}\n{}", rig.logs()));
        }
        rig.gateways[leader].start_again();
        rig.settle();
    }
    drop((busy, clients));
    check_all(&rig, &witness, &[], false);
    let changes = witness.changes();
    let lost: Vec<_> = changes.iter().filter(|change| change.lost > 0).collect();
    let partial: Vec<_> = changes.iter().filter(|change| change.first.quotes < 3).collect();
    println!("{} venues changed hands, {} lost events", changes.len(), lost.len());
    assert!(changes.len() >= 20, "{changes:?}");
    assert!(lost.is_empty(), "of {} changes: {lost:?}\n{}", changes.len(), rig.logs());
    assert!(partial.is_empty(), "a new leader tells the whole venue first: {partial:?}");
    assert!(rig.exchange.connections().values().all(|[_, most, _]| *most <= 2), "{:?}", rig.exchange.connections());
}

#[test]
fn the_last_gateway_ends_at_once_and_two_that_end_together_leave_all_to_the_third() {
    let server = redis();
    let mut rig = Rig::start(&server.url(), &three(5000));
    let witness = Witness::start(&server.url());
    rig.settle();
    for at in [0, 1] {
        rig.gateways[at].signal(Signal::TERM);
    }
    for at in [0, 1] {
        assert_eq!(rig.gateways[at].child.wait().unwrap().code(), Some(0), "{}", rig.gateways[at].log());
    }
    let leads_all = |it: &Gateway| it.cluster()["leads"].as_array().map(Vec::len) == Some(VENUES.len());
    assert!(wait(PATIENCE, || leads_all(&rig.gateways[2])), "{}", rig.gateways[2].log());
    let lost: Vec<_> = witness.changes().into_iter().filter(|change| change.lost > 0).collect();
    assert!(lost.is_empty(), "{lost:?}\n{}", rig.gateways[2].log());
    let log = rig.gateways[2].log();
    rig.gateways[2].signal(Signal::TERM);
    assert_eq!(rig.gateways[2].child.wait().unwrap().code(), Some(0), "{log}");
    let mut link = server.client();
    let leases: Vec<String> = redis::cmd("KEYS").arg("spreadwire:lease:*").query(&mut link).unwrap();
    assert!(leases.is_empty(), "nothing was waited for, and nothing is left: {leases:?}");
}

/// A fault of Redis, and its end: prices go on, levels are told, and all is as before without anybody's help.
fn check_fault(what: &str, rig: &Rig, clients: &[Client], fault: impl FnOnce(), end: impl FnOnce(), is_cut_off: bool) {
    rig.settle();
    await_counts(rig, clients, now(), 25);
    let begun = now();
    fault();
    if is_cut_off {
        let shown = |it: &Gateway| it.redis() == "cut_off" || it.redis() == "returning";
        let all = wait(PATIENCE, || rig.gateways.iter().all(shown));
        assert!(all, "{what}: not noticed: {}", rig.logs());
        println!("{what}: shown by all after {:.0} ms", ms(begun, now()));
        // Until the own connections are open, the last prices are those of the leaders.
        let is_own = |client: &Client, venue: &str| {
            client.counts(venue, begun, now()).last().is_some_and(|it| it.level == "websocket")
        };
        let own = |client: &Client| VENUES.iter().all(|venue| is_own(client, venue));
        assert!(wait(PATIENCE, || clients.iter().all(own)), "{what}: no own connections: {}", rig.logs());
    }
    let (during, mut until) = (now(), now());
    let has = |client: &Client| VENUES.iter().all(|venue| client.counts(venue, during, now()).len() >= 50);
    // Some faults end by themselves.
    let goes_on = wait(PATIENCE, || {
        let looked = now();
        let is_back = is_cut_off && rig.gateways.iter().any(|it| it.redis() == "joined");
        until = if is_back { until } else { looked };
        is_back || clients.iter().all(has)
    });
    assert!(goes_on, "{what}: prices do not come: {}", rig.logs());
    if is_cut_off {
        for (at, client) in clients.iter().enumerate() {
            for venue in VENUES {
                let shared = client.counts(venue, during, until).into_iter().find(|it| it.level != "websocket");
                assert!(shared.is_none(), "{what}: client of {at} still told another level: {shared:?}");
            }
        }
    }
    end();
    let ended = now();
    rig.settle();
    println!("{what}: settled {:.0} ms after its end", ms(ended, now()));
    await_counts(rig, clients, ended, 25);
}

#[test]
fn whatever_redis_suffers_clients_have_prices_and_all_is_well_afterwards() {
    let mut server = redis();
    let way = SlowWay::to(server.port);
    let exchange = Exchange::start(20_000, 60.0);
    let mut settings = three(LEASE_MS);
    settings.iter_mut().for_each(|it| it.cluster += "stable_ms = 1000\n");
    let rig = Rig::start_on(exchange, &way.url(), &settings);
    rig.settle();
    let clients: Vec<Client> = rig.gateways.iter().map(Client::connect).collect();
    check_fault("slow by 200 ms", &rig, &clients, || way.delay(200), || way.delay(0), true);
    check_fault("CLIENT PAUSE", &rig, &clients, || server.tell("CLIENT PAUSE 20000 ALL"), || (), true);
    let full = || server.tell("CONFIG SET maxmemory 1");
    check_fault("full", &rig, &clients, full, || server.tell("CONFIG SET maxmemory 0"), false);
    check_fault("flushed", &rig, &clients, || server.tell("FLUSHALL"), || (), false);
    let server = std::cell::RefCell::new(&mut server);
    let killed = || server.borrow_mut().kill();
    check_fault("killed, and started again empty", &rig, &clients, killed, || server.borrow_mut().start_again(), true);
    for client in &clients {
        check_order(&client.heard(), false).unwrap_or_else(|why| panic!("{why}\n{}", rig.logs()));
    }
    history::check(&rig.history()).unwrap_or_else(|why| panic!("{why}\n{}", rig.logs()));
}

#[test]
fn after_a_failover_by_sentinel_the_cluster_goes_on_with_higher_tokens() {
    let mut master = redis();
    let port = master.port.to_string();
    let replica = Server::start(&["--replicaof", "127.0.0.1", &port]);
    let sentinel = Server::start_sentinel(master.port);
    sentinel.await_replica();
    let url = format!("redis+sentinel://127.0.0.1:{}/prices", sentinel.port);
    let mut settings = three(LEASE_MS);
    settings.iter_mut().for_each(|it| it.cluster += "stable_ms = 1000\n");
    let rig = Rig::start(&url, &settings);
    rig.settle();
    let clients: Vec<Client> = rig.gateways.iter().map(Client::connect).collect();
    check_fault("failover by Sentinel", &rig, &clients, || master.kill(), || (), true);
    let begun = now();
    server_is_master(&replica);
    for (at, client) in clients.iter().enumerate() {
        check_order(&client.heard(), false).unwrap_or_else(|why| panic!("client of {at}: {why}\n{}", rig.logs()));
        let heard = wait(PATIENCE, || VENUES.iter().all(|venue| !client.counts(venue, begun, now()).is_empty()));
        assert!(heard, "client of {at} hears nothing: {}", rig.logs());
    }
    history::check(&rig.history()).unwrap_or_else(|why| panic!("{why}\n{}", rig.logs()));
}

fn server_is_master(server: &Server) {
    let role: Vec<redis::Value> = redis::cmd("ROLE").query(&mut server.client()).unwrap();
    assert_eq!(role.first(), Some(&redis::Value::BulkString(b"master".to_vec())));
}

/// Whatever comes together: gateways that are killed or sleep, a Redis that is late, deaf or empty, exchanges that hang
/// up. Another run with the seed that a failure names gives the same faults, not the same instants.
#[test]
fn faults_that_come_together_make_no_two_leaders_and_no_older_price() {
    let seed = now().0;
    println!("seed {seed}");
    let mut random = Random::new(seed);
    let server = redis();
    let way = SlowWay::to(server.port);
    let mut settings = three(LEASE_MS);
    settings.iter_mut().for_each(|it| it.cluster += "stable_ms = 500\n");
    let mut rig = Rig::start_on(Exchange::start(20_000, 60.0), &way.url(), &settings);
    let witness = Witness::start(&server.url());
    rig.settle();
    let mut clients: Vec<Client> = rig.gateways.iter().map(Client::connect).collect();
    for _ in 0..40 {
        let at = random.below(3);
        match random.below(6) {
            0 => {
                rig.gateways[at].kill();
                rig.gateways[at].start_again();
                clients.push(Client::connect(&rig.gateways[at]));
            }
            1 => {
                rig.gateways[at].signal(Signal::STOP);
                pause(random.below(1800) as u64);
                rig.gateways[at].signal(Signal::CONT);
            }
            2 => server.tell(&format!("CLIENT PAUSE {} ALL", random.below(900))),
            3 => server.tell("FLUSHALL"),
            4 => way.delay([0, 5, 40, 150][random.below(4)]),
            _ => rig.exchange.control.cut(VENUES[at]).unwrap(),
        }
        pause(random.below(500) as u64);
    }
    way.delay(0);
    let served = wait(PATIENCE, || rig.is_served());
    assert!(served, "seed {seed}: {:?}\n{}", rig.exchange.connections(), rig.logs());
    println!("{:?}", check_all(&rig, &witness, &clients, true));
}
