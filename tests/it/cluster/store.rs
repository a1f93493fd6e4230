//! What the cluster keeps in Redis: leases and their tokens, refusals told apart, a deadline for every call.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use spreadwire::cluster::error::{RefusalClass, StoreError};
use spreadwire::cluster::store::{Claim, ClusterMember, Control, LATEST_NS, Outgoing, Store, TOKEN_MAX};
use spreadwire::cluster::{ClusterOptions, ClusterSettings};
use spreadwire::time::{MS, SECOND};

use super::server::{Server, free_port};

/// What has not happened by then never will: a test fails rather than hangs, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(120);

/// Asks again and again until it is so.
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "{what}: does not happen");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn settings(url: &str, instance: &str) -> ClusterSettings {
    changed(url, instance, |_| {})
}

/// Settings with a change of the options.
fn changed(url: &str, instance: &str, change: impl FnOnce(&mut ClusterOptions)) -> ClusterSettings {
    let mut cluster = ClusterOptions {
        redis: url.to_owned(),
        // Nothing ends because the machine stood still; what is about deadlines sets its own.
        lease_ms: 600_000,
        call_ms: 60_000,
        ..ClusterOptions::default()
    };
    change(&mut cluster);
    ClusterSettings { cluster, id: instance.to_owned(), hostname: format!("host of {instance}") }
}

fn store(server: &Server, instance: &str) -> Store {
    Store::new(&settings(&server.url(), instance)).unwrap()
}

fn member(id: &str) -> ClusterMember {
    ClusterMember { id: id.to_owned(), hostname: format!("host of {id}"), leads: 1, lag_ns: 5 }
}

fn won(claim: Result<Claim, StoreError>) -> u64 {
    match claim {
        Ok(Claim::Won(token)) => token,
        other => panic!("{other:?}"),
    }
}

fn publish(store: &mut Store, venue: &str, token: u64) -> bool {
    store.publish(&[Outgoing { venue, token, text: b"a batch" }]).unwrap() == [true]
}

#[test]
fn a_thousand_claims_at_once_have_one_winner_each() {
    const ROUNDS: u64 = 1000;
    let server = Server::start(&[]);
    let (names, barrier) = (["a", "b", "c", "d"], Barrier::new(4));
    let wins: Vec<Vec<Option<u64>>> = std::thread::scope(|scope| {
        let claimants = names.map(|name| {
            let (barrier, server) = (&barrier, &server);
            scope.spawn(move || {
                let mut store = store(server, name);
                store.check().unwrap();
                let mut tokens = Vec::new();
                for round in 0..ROUNDS {
                    barrier.wait();
                    // One lease for all rounds: the tokens of its winners must grow.
                    let claim = store.claim("okx", 0).unwrap();
                    let token = if let Claim::Won(token) = claim { Some(token) } else { None };
                    barrier.wait();
                    if let Some(token) = token {
                        assert_eq!(store.release("okx", token), Ok(true), "round {round}");
                    }
                    tokens.push(token);
                }
                tokens
            })
        });
        claimants.map(|claimant| claimant.join().unwrap()).into()
    });
    let mut last = 0;
    for round in 0..ROUNDS as usize {
        let winners: Vec<u64> = wins.iter().filter_map(|tokens| tokens[round]).collect();
        assert_eq!(winners.len(), 1, "round {round}");
        assert!(winners[0] > last, "round {round}: {} after {last}", winners[0]);
        last = winners[0];
    }
}

#[test]
fn only_the_owner_with_its_token_renews_names_gives_publishes_and_releases() {
    let server = Server::start(&[]);
    let [mut a, mut b] = ["a", "b"].map(|name| store(&server, name));
    let token = won(a.claim("okx", 0));
    match b.claim("okx", 0).unwrap() {
        Claim::Held(lease) => {
            assert_eq!((lease.token, lease.owner.as_str(), lease.hostname.as_str()), (token, "a", "host of a"));
            assert!(lease.left_ns > 400 * SECOND && lease.left_ns <= 600 * SECOND, "{lease:?}");
        }
        won => panic!("{won:?}"),
    }
    for (is_a, token) in [(false, token), (true, token + 1), (true, token * 10)] {
        let store = if is_a { &mut a } else { &mut b };
        assert_eq!(store.renew(&[("okx", token), ("kraken", token)]).unwrap(), [false, false]);
        assert_eq!(store.name_successor("okx", token, "b"), Ok(false));
        assert_eq!(store.take("okx", token, &[]), Ok(None));
        assert!(!publish(store, "okx", token));
        assert_eq!(store.keep_latest("okx", token, &[("BTC/USDT", b"x")]), Ok(false));
        assert_eq!(store.release("okx", token), Ok(false));
    }
    assert_eq!(a.renew(&[("okx", token)]).unwrap(), [true]);
    assert!(publish(&mut a, "okx", token));
    assert_eq!(a.name_successor("okx", token, "b"), Ok(true));
    assert_eq!(a.renew(&[("okx", token)]).unwrap(), [true], "an heir changes nothing until it leads");
    assert_eq!(a.take("okx", token, &[]), Ok(None), "only the heir takes it");
    let next = b.take("okx", token, &[]).unwrap().unwrap();
    assert!(next > token);
    assert_eq!(b.take("okx", token, &[]), Ok(None), "and only once");
    assert!(!publish(&mut a, "okx", token) && !publish(&mut a, "okx", next), "it is b's now");
    assert!(publish(&mut b, "okx", next));
    assert_eq!(b.release("okx", next), Ok(true));
    assert!(won(a.claim("okx", 0)) > next);
}

#[test]
fn names_with_quotes_and_backslashes_are_not_taken_for_others() {
    let server = Server::start(&[]);
    let names = ["a", "a\",\"hostname\":\"x", "\\", "é\n"];
    for name in names {
        let mut owner = store(&server, name);
        let token = won(owner.claim("okx", 0));
        for other in names.iter().filter(|other| **other != name) {
            assert_eq!(store(&server, other).renew(&[("okx", token)]).unwrap(), [false], "{other} as {name}");
        }
        let view = owner.beat(&member(name), &["okx"]).unwrap();
        assert_eq!(view.leases[0].1.owner, name);
        assert_eq!(owner.release("okx", token), Ok(true));
        owner.leave().unwrap();
    }
}

#[test]
fn a_token_is_above_all_that_the_caller_and_redis_have_seen() {
    let server = Server::start(&[]);
    let mut a = store(&server, "a");
    // Beyond what Redis' own clock would give.
    let known = 1 << 45;
    assert_eq!(won(a.claim("okx", known + 41)), known + 42);
    server.tell("FLUSHALL");
    assert_eq!(won(a.claim("okx", known + 42)), known + 43, "a Redis that forgot is reminded");
    assert!(matches!(a.claim("okx", 0), Ok(Claim::Held(lease)) if lease.token == known + 43));
    assert_eq!(a.release("okx", known + 43), Ok(true));
    assert_eq!(won(a.claim("okx", 7)), known + 44, "and a claimant that knows less");
    assert_eq!(won(a.claim("kraken", TOKEN_MAX - 2)), TOKEN_MAX - 1, "large numbers stay exact");
    // Both have forgotten: the clock has not.
    let before = won(a.claim("binance", 0));
    server.tell("FLUSHALL");
    std::thread::sleep(Duration::from_millis(2));
    assert!(won(a.claim("binance", 0)) > before);
}

#[test]
fn a_lease_that_was_flushed_or_ran_out_is_lost() {
    let server = Server::start(&[]);
    let mut a = Store::new(&changed(&server.url(), "a", |o| o.lease_ms = 300)).unwrap();
    let token = won(a.claim("okx", 0));
    server.tell("FLUSHALL");
    assert_eq!(a.renew(&[("okx", token)]).unwrap(), [false]);
    assert!(!publish(&mut a, "okx", token));
    let token = won(a.claim("okx", token));
    until("the lease running out", || !publish(&mut a, "okx", token));
    assert_eq!(a.renew(&[("okx", token)]).unwrap(), [false]);
}

#[test]
fn a_beat_shows_members_and_leases_and_forgets_who_is_gone() {
    let server = Server::start(&[]);
    let short = |name: &str| Store::new(&changed(&server.url(), name, |o| o.lease_ms = 6000)).unwrap();
    let [mut a, mut b] = ["a", "b"].map(short);
    b.beat(&member("b"), &[]).unwrap();
    let token = won(b.claim("okx", 0));
    b.name_successor("okx", token, "a").unwrap();
    let view = a.beat(&member("a"), &["kraken", "okx"]).unwrap();
    assert_eq!(view.members, [member("a"), member("b")]);
    let [(venue, lease)] = view.leases.as_slice() else { panic!("{view:?}") };
    assert_eq!((venue.as_str(), lease.owner.as_str(), lease.successor.as_deref()), ("okx", "b", Some("a")));
    until("the other being forgotten", || {
        let view = a.beat(&member("a"), &["okx"]).unwrap();
        view.members == [member("a")] && view.leases.is_empty()
    });
    a.leave().unwrap();
    assert_eq!(b.beat(&member("b"), &[]).unwrap().members, [member("b")]);
}

#[test]
fn changes_of_leaders_are_told_to_all() {
    let server = Server::start(&[]);
    let mut a = store(&server, "a");
    let mut ears = server.client();
    let mut ears = ears.as_pubsub();
    ears.subscribe(a.keys().control()).unwrap();
    let token = won(a.claim("okx", 0));
    a.name_successor("okx", token, "b").unwrap();
    let mut b = store(&server, "b");
    let next = b.take("okx", token, &[]).unwrap().unwrap();
    b.release("okx", next).unwrap();
    let venue = || "okx".to_owned();
    let said = [
        Control::Leads { venue: venue(), token, owner: "a".into() },
        Control::Successor { venue: venue(), token, successor: "b".into() },
        Control::Leads { venue: venue(), token: next, owner: "b".into() },
        Control::Free { venue: venue(), token: next },
    ];
    for message in said {
        let heard = ears.get_message().unwrap();
        assert_eq!(serde_json::from_slice::<Control>(heard.get_payload_bytes()).unwrap(), message);
    }
}

#[test]
fn foreign_values_under_our_keys_are_counted_and_hold_nobody_up() {
    let server = Server::start(&[]);
    let mut a = store(&server, "a");
    let mut other = server.client();
    let mut set = |key: String, value: &str| redis::cmd("SET").arg(key).arg(value).exec(&mut other).unwrap();
    set(a.keys().lease("okx"), "{\"token\":\"seven\"}");
    set(a.keys().lease("kraken"), "{\"token\":7,\"owner\":\"nobody\",\"hostname\":\"\"}");
    set(a.keys().fence("okx"), "not a number");
    redis::cmd("ZADD").arg(a.keys().members()).arg("1e15").arg("ghost").exec(&mut other).unwrap();
    redis::cmd("HSET").arg(a.keys().member()).arg("ghost").arg("[]").exec(&mut other).unwrap();
    let view = a.beat(&member("a"), &["okx", "kraken"]).unwrap();
    assert_eq!((view.refused, view.members), (2, vec![member("a")]));
    won(a.claim("okx", 5));
    won(a.claim("kraken", 0));
}

#[test]
fn latest_values_are_kept_with_their_age() {
    let server = Server::start(&[]);
    let mut a = store(&server, "a");
    let token = won(a.claim("okx", 0));
    let symbols: Vec<String> = (0..600).map(|n| format!("C{n}/USDT")).collect();
    let values: Vec<(&str, &[u8])> = symbols.iter().map(|s| (s.as_str(), s.as_bytes())).collect();
    assert_eq!(a.keep_latest("okx", token, &values), Ok(true));
    std::thread::sleep(Duration::from_millis(50));
    let mut wanted: Vec<(&str, &str)> = symbols.iter().map(|s| ("okx", s.as_str())).collect();
    wanted.insert(3, ("okx", "NONE/USDT"));
    let kept = a.latest(&wanted).unwrap();
    assert_eq!(kept.len(), 600);
    for one in kept {
        assert_eq!(one.value, wanted[one.at].1.as_bytes());
        assert!(one.since_ns >= 49 * MS && one.since_ns < LATEST_NS, "{} ns", one.since_ns);
    }
}

#[test]
fn a_call_ends_at_its_deadline_and_the_next_gets_no_late_answer() {
    let server = Server::start(&[]);
    let mut a = Store::new(&changed(&server.url(), "a", |o| o.call_ms = 100)).unwrap();
    let token = won(a.claim("okx", 0));
    // A caller that waited for the answer would get it at the end of the pause.
    server.stop();
    assert_eq!(a.renew(&[("okx", token)]), Err(StoreError::Late));
    assert!(!a.is_connected());
    assert!(a.beat(&member("a"), &[]).is_err(), "still paused");
    server.go_on();
    // Were the connection used again, this would get the answer to the renewal.
    let mut again = None;
    until("an answer", || {
        again = a.claim("okx", 0).ok();
        again.is_some()
    });
    assert!(matches!(again, Some(Claim::Held(lease)) if lease.token == token));
}

#[test]
fn a_full_redis_refuses_values_but_no_lease_and_no_batch() {
    let server = Server::start(&[]);
    let mut a = store(&server, "a");
    let first = won(a.claim("okx", 0));
    server.tell("CONFIG SET maxmemory 1");
    let refused = a.keep_latest("okx", first, &[("BTC/USDT", b"x")]);
    assert!(matches!(refused, Err(StoreError::Refused(RefusalClass::Oom, _))), "{refused:?}");
    assert!(a.is_connected(), "a refusal is no reason to connect anew");
    assert_eq!(a.renew(&[("okx", first)]).unwrap(), [true]);
    assert!(publish(&mut a, "okx", first));
    assert_eq!(a.latest(&[("okx", "BTC/USDT")]), Ok(vec![]));
    a.beat(&member("a"), &["okx"]).unwrap();
    assert_eq!(a.name_successor("okx", first, "b"), Ok(true));
    let mut b = store(&server, "b");
    let second = b.take("okx", first, &[]).unwrap().unwrap();
    assert_eq!(b.release("okx", second), Ok(true));
    won(a.claim("okx", 0));
    a.leave().unwrap();
}

#[test]
fn scripts_that_redis_forgot_are_loaded_again() {
    let server = Server::start(&[]);
    let mut a = store(&server, "a");
    let token = won(a.claim("okx", 0));
    for _ in 0..3 {
        server.tell("SCRIPT FLUSH");
        assert_eq!(a.renew(&[("okx", token)]).unwrap(), [true]);
        assert!(publish(&mut a, "okx", token));
    }
}

#[test]
fn a_restarted_empty_redis_is_connected_to_again() {
    let mut server = Server::start(&[]);
    let mut a = store(&server, "a");
    let token = won(a.claim("okx", 0));
    server.kill();
    assert!(matches!(a.renew(&[("okx", token)]), Err(StoreError::Gone(_))));
    assert!(matches!(a.check(), Err(StoreError::Gone(_))));
    server.start_again();
    assert_eq!(a.renew(&[("okx", token)]).unwrap(), [false], "it knows nothing of the lease");
    assert!(won(a.claim("okx", token)) > token);
}

#[test]
fn a_replica_is_told_apart() {
    let (master, replica) = (Server::start(&[]), Server::start(&[]));
    let mut a = store(&replica, "a");
    a.claim("okx", 0).unwrap();
    replica.tell(&format!("REPLICAOF 127.0.0.1 {}", master.port));
    let refused = a.claim("okx", 0);
    assert!(matches!(refused, Err(StoreError::Refused(RefusalClass::ReadOnly, _))), "{refused:?}");
    assert!(!a.is_connected(), "the next call looks for the master");
    replica.tell("REPLICAOF NO ONE");
    a.claim("okx", 0).unwrap();
}

#[test]
fn a_disk_that_fails_is_told_apart() {
    let server = Server::start(&["--save", "3600 1"]);
    let mut a = store(&server, "a");
    a.check().unwrap();
    server.lose_folder();
    server.tell("BGSAVE");
    let mut refused = None;
    until("the failed save being noticed", || {
        refused = a.claim("okx", 0).err();
        refused.is_some()
    });
    assert!(matches!(refused, Some(StoreError::Refused(RefusalClass::Misconf, _))), "{refused:?}");
}

#[test]
fn after_a_failover_the_new_master_is_found_and_tokens_go_on() {
    let (mut master, replica) = (Server::start(&[]), Server::start(&[]));
    replica.tell(&format!("REPLICAOF 127.0.0.1 {}", master.port));
    let sentinel = Server::start_sentinel(master.port);
    let url = format!("redis+sentinel://127.0.0.1:1,127.0.0.1:{}/prices", sentinel.port);
    let mut a = Store::new(&settings(&url, "a")).unwrap();
    let token = won(a.claim("okx", 0));
    sentinel.await_replica();
    master.kill();
    let mut next = 0;
    until("a new master", || {
        match a.claim("okx", token) {
            // Replication may have brought the lease over; what it has not brought, the floor makes up for.
            Ok(Claim::Held(lease)) if lease.token == token => {
                assert_eq!(a.release("okx", token), Ok(true));
            }
            Ok(Claim::Won(won)) => next = won,
            Ok(held) => panic!("{held:?}"),
            Err(_) => {}
        }
        next > 0
    });
    assert!(next > token);
    let role: Vec<redis::Value> = redis::cmd("ROLE").query(&mut replica.client()).unwrap();
    assert_eq!(role[0], redis::Value::BulkString(b"master".to_vec()));
}

#[test]
fn a_wrong_password_is_one_clear_line_that_does_not_show_it() {
    let server = Server::start(&["--requirepass", "right"]);
    let at = |user: &str| format!("redis://{user}127.0.0.1:{}/", server.port);
    for user in ["", ":wrong@", "nobody:wrong@"] {
        let error = Store::new(&settings(&at(user), "a")).unwrap().check().unwrap_err();
        assert!(error.is_lasting(), "{error:?}");
        let words = error.to_string();
        assert!(words.starts_with("Redis refuses us: ") && !words.contains('\n'), "{words}");
        assert!(!words.contains("wrong@") && !words.contains(":wrong"), "{words}");
    }
    Store::new(&settings(&at(":right@"), "a")).unwrap().check().unwrap();
}

#[test]
fn the_sentinels_have_a_password_of_their_own() {
    let master = Server::start(&[]);
    let sentinel = Server::start_sentinel_with(master.port, "requirepass \"its own\"");
    let url = format!("redis+sentinel://127.0.0.1:{}/prices", sentinel.port);
    let error = Store::new(&settings(&url, "a")).unwrap().check().unwrap_err();
    assert!(error.is_lasting(), "{error:?}");
    assert!(error.to_string().contains("cluster.sentinel_password"), "{error}");
    let settings = changed(&url, "a", |o| o.sentinel_password = "its own".to_owned());
    Store::new(&settings).unwrap().check().unwrap();
}

#[test]
fn a_redis_with_too_many_clients_is_quoted() {
    let server = Server::start(&[]);
    server.tell("CONFIG SET maxclients 1");
    let mut only = server.client();
    redis::cmd("PING").exec(&mut only).unwrap();
    let mut a = store(&server, "a");
    let error = a.check().unwrap_err();
    assert_eq!(error.to_string(), "Redis refuses us: max number of clients reached");
    drop(only);
    until("an answer", || a.check().is_ok());
}

/// An authority and a certificate of it for 127.0.0.1: three PEM files.
fn certificates(folder: &std::path::Path) -> [String; 3] {
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
    let keys = [KeyPair::generate().unwrap(), KeyPair::generate().unwrap()];
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.distinguished_name.push(DnType::CommonName, "authority of this test");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = authority.self_signed(&keys[0]).unwrap();
    let issuer = Issuer::from_params(&authority, &keys[0]);
    let ours = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().signed_by(&keys[1], &issuer).unwrap();
    let texts = [("ca.pem", ca.pem()), ("cert.pem", ours.pem()), ("key.pem", keys[1].serialize_pem())];
    texts.map(|(name, text)| {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    })
}

#[test]
fn a_redis_with_an_authority_of_its_own_is_trusted_by_file_and_shown_our_certificate() {
    let server = Server::start(&[]);
    let [ca_file, cert_file, key_file] = certificates(server.folder());
    let port = free_port();
    for (name, value) in [
        ("tls-cert-file", cert_file.clone()),
        ("tls-key-file", key_file.clone()),
        ("tls-ca-cert-file", ca_file.clone()),
        ("tls-port", port.to_string()),
    ] {
        redis::cmd("CONFIG").arg("SET").arg(name).arg(value).exec(&mut server.client()).unwrap();
    }
    let url = format!("rediss://127.0.0.1:{port}/");
    let check = |settings: &ClusterSettings| Store::new(settings).unwrap().check();
    let mut it = settings(&url, "a");
    assert!(check(&it).is_err(), "an authority that nobody knows is trusted");
    it.cluster.ca_file = ca_file;
    assert!(check(&it).is_err(), "Redis wants to see a certificate");
    (it.cluster.cert_file, it.cluster.key_file) = (cert_file, key_file);
    assert_eq!(check(&it), Ok(()));
    it.cluster.ca_file = "/nowhere/ca.pem".to_owned();
    assert!(Store::new(&it).err().unwrap().starts_with("/nowhere/ca.pem: "));
}

/// Answers the n-th command with the n-th line, then goes on with the last.
fn parrot(lines: &'static [&'static str]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("redis://{}/", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut reader = BufReader::new(socket.try_clone().unwrap());
        for at in 0.. {
            let mut words = String::new();
            if reader.read_line(&mut words).unwrap_or(0) == 0 {
                return;
            }
            // "*<parts>", then two lines for each part.
            let parts: usize = words.trim()[1..].parse().unwrap();
            for _ in 0..parts * 2 {
                reader.read_line(&mut words).unwrap();
            }
            let answer = if words.contains("SETINFO") { "+OK\r\n" } else { lines[at.min(lines.len() - 1)] };
            if socket.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    });
    url
}

const SEVEN: &str = "$22\r\nredis_version:7.0.15\r\n\r\n";

#[test]
fn every_refusal_has_its_class() {
    for (line, class, stays) in [
        ("-LOADING Redis is loading the dataset in memory\r\n", RefusalClass::Loading, false),
        ("-MASTERDOWN Link with MASTER is down\r\n", RefusalClass::MasterDown, false),
        ("-MOVED 3999 127.0.0.1:6381\r\n", RefusalClass::Moved, false),
        ("-CLUSTERDOWN Hash slot not served\r\n", RefusalClass::Moved, false),
        ("-NOAUTH Authentication required.\r\n", RefusalClass::NoAuth, false),
        ("-NOPERM this user has no permissions\r\n", RefusalClass::NoAuth, false),
        ("-BUSY Redis is busy running a script\r\n", RefusalClass::Busy, true),
        ("-MISCONF Errors writing to the disk\r\n", RefusalClass::Misconf, true),
        ("-OOM command not allowed\r\n", RefusalClass::Oom, true),
        ("-READONLY You can't write against a read only replica.\r\n", RefusalClass::ReadOnly, false),
        ("-ERR something else\r\n", RefusalClass::Other, true),
    ] {
        let lines: &'static [&'static str] = Vec::leak(vec!["", "", SEVEN, line]);
        let mut store = Store::new(&settings(&parrot(lines), "a")).unwrap();
        match store.say(&Control::Again { venue: String::new() }) {
            Err(StoreError::Refused(got, words)) => {
                assert_eq!((got, store.is_connected()), (class, stays), "{words}");
            }
            other => panic!("{line}: {other:?}"),
        }
    }
}

#[test]
fn a_redis_that_is_too_old_is_one_clear_line() {
    let mut store = Store::new(&settings(&parrot(&["", "", "$22\r\nredis_version:6.2.14\r\n\r\n"]), "a")).unwrap();
    let error = store.check().unwrap_err();
    assert!(error.is_lasting());
    assert_eq!(error.to_string(), "Redis 6.2.14 is too old: 7.0 or newer is needed");
}

#[test]
fn a_redis_that_is_down_is_no_lasting_mistake() {
    let port = super::server::free_port();
    let mut store = Store::new(&settings(&format!("redis://127.0.0.1:{port}/"), "a")).unwrap();
    let error = store.check().unwrap_err();
    assert!(!error.is_lasting() && error.to_string().starts_with("Redis cannot be reached: "), "{error}");
    let sentinels = format!("redis+sentinel://127.0.0.1:{port}/prices");
    let error = Store::new(&settings(&sentinels, "a")).unwrap().check().unwrap_err();
    assert!(!error.is_lasting(), "{error}");
}
