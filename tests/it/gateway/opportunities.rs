//! Clients that follow opportunities, and the pages about them.

use super::*;

const BUY: (&str, &str) = ("kraken", "42500");

impl Rig {
    /// An event of BTC/USDT bought on kraken and sold on binance at `sell`, opened `age` ago.
    fn life(&mut self, sell: &str, change: Change, age: Duration) {
        let opened = MonoNs(self.clock.now().0 - age.as_nanos() as u64);
        self.life_of("BTC/USDT", sell, change, opened);
    }

    fn life_of(&mut self, symbol: &str, sell: &str, change: Change, opened: MonoNs) {
        let event = self.event(symbol, BUY, ("binance", sell), change, false);
        let opportunity = Opportunity { opened, ..event.opportunity };
        self.events.push(OpportunityEvent { opportunity, ..event }).unwrap();
        self.alarm.ring();
    }

    /// The same with this proof, alerted if it opens.
    fn proof(&mut self, sell: &str, change: Change, opened: MonoNs, proof: Proof) {
        let event = self.event("BTC/USDT", BUY, ("binance", sell), change, change == Change::Opened);
        let coexistence = Coexistence { proof, ..event.opportunity.coexistence };
        let opportunity = Opportunity { opened, coexistence, ..event.opportunity };
        self.events.push(OpportunityEvent { opportunity, ..event }).unwrap();
        self.alarm.ring();
    }
}

impl Client {
    /// Subscribes to `symbols` on no exchange, following, at this interval.
    fn follow(&mut self, symbols: &[&str], interval_ms: u64) {
        self.send(json!({"action": "subscribe", "symbols": symbols, "intervalMs": interval_ms, "opportunities": true}));
        assert_eq!(self.next()["type"], "subscribed");
    }

    /// The next opportunity message; skips alerts.
    fn life(&mut self) -> Value {
        std::iter::repeat_with(|| self.next()).find(|message| message["type"] == "opportunity").unwrap()
    }

    /// What arrives within `time`: the change and the sell price of each message.
    fn lives(&mut self, time: Duration) -> Vec<(String, u64)> {
        let values = self.collect(time).into_iter().map(|text| serde_json::from_str::<Value>(&text).unwrap());
        values
            .map(|v| (v["change"].as_str().unwrap_or_default().to_owned(), v["sellPrice"].as_u64().unwrap()))
            .collect()
    }
}

/// What arrives within a short time: the change of each opportunity message, `alert` for an alert, and the proof.
fn heard(client: &mut Client) -> Vec<String> {
    let values = client.collect(SHORT).into_iter().map(|text| serde_json::from_str::<Value>(&text).unwrap());
    let word = |value: &Value| value["change"].as_str().unwrap_or("alert").to_owned();
    values.map(|value| format!("{} {}", word(&value), value["proof"].as_str().unwrap_or_default())).collect()
}

const SHORT: Duration = Duration::from_millis(200);

fn told(change: &str, price: u64) -> (String, u64) {
    (change.to_owned(), price)
}

#[test]
fn only_followers_receive_an_opportunity_from_its_opening_to_its_end() {
    let mut rig = Rig::on_hand(GatewaySettings::default());
    let (mut follower, mut other, mut elsewhere) = (rig.client(), rig.client(), rig.client());
    follower.follow(&["btc/usdt"], 0);
    elsewhere.follow(&["ETH/USDT"], 0);
    other.subscribe(&["BTC/USDT"], &["binance"]);
    rig.wait_until("followers", |board| board.gateways[0].subscriptions.followers.value() == 2);
    let opened = MonoNs(rig.clock.now().0);
    rig.life_of("BTC/USDT", "42925", Change::Opened, opened);
    let first = follower.text();
    assert!(
        first.starts_with(r#"{"type":"opportunity","change":"opened","id":"BTC/USDT:kraken:binance:"#)
            && first.contains(r#","symbol":"btc/usdt","buyExchange":"kraken","sellExchange":"binance","buyPrice":42500,"sellPrice":42925,"spreadPct":1,"netSpreadPct":0.8,"executableSize":0.5,"buyAgeMs":0,"sellAgeMs":"#),
        "{first}"
    );
    let first: Value = serde_json::from_str(&first).unwrap();
    rig.life_of("BTC/USDT", "42930", Change::Updated, opened);
    let second = follower.next();
    assert_eq!((&second["change"], &second["sellPrice"]), (&json!("updated"), &json!(42930)));
    rig.life_of("BTC/USDT", "42930", Change::Closed(CloseReason::SellMoved), opened);
    let third = follower.next();
    assert_eq!(third["change"], "closed");
    for later in [&second, &third] {
        assert_eq!((&later["id"], &later["openedAt"]), (&first["id"], &first["openedAt"]));
    }
    assert_eq!(elsewhere.collect(SHORT), [""; 0]);
    assert_eq!(other.collect(SHORT), [""; 0]);
    rig.wait_until("counted", |board| board.gateways[0].sent.opportunities.value() == 3);
    // The next opportunity of the same pair has another id.
    rig.life("42925", Change::Opened, Duration::ZERO);
    assert_ne!(follower.next()["id"], first["id"]);
}

#[test]
fn clients_that_follow_later_receive_open_opportunities_with_their_age() {
    let mut rig = Rig::on_hand(GatewaySettings::default());
    let mut early = rig.client();
    early.follow(&["BTC/USDT"], 0);
    let opened = MonoNs(rig.clock.now().0 - 40 * SECOND);
    rig.life_of("BTC/USDT", "42925", Change::Opened, opened);
    let first = early.next();
    rig.life_of("BTC/USDT", "42950", Change::Updated, opened);
    early.next();
    let mut late = rig.client();
    late.follow(&["BTC/USDT"], 0);
    let joined = late.next();
    assert_eq!((&joined["change"], &joined["sellPrice"]), (&json!("opened"), &json!(42950)));
    assert_eq!(joined["openedAt"], first["openedAt"]);
    assert!((40_000..45_000).contains(&joined["livedMs"].as_u64().unwrap()), "{joined}");
    assert_eq!(late.collect(SHORT), [""; 0]);
    // A new symbol adds only its own opportunities.
    rig.life_of("ETH/USDT", "42600", Change::Opened, MonoNs(1));
    late.send(json!({"action": "subscribe", "symbols": ["ETH/USDT"]}));
    assert_eq!(late.next()["symbols"], json!(["BTC/USDT", "ETH/USDT"]));
    let added = late.collect(SHORT);
    assert!(added.len() == 1 && added[0].contains(r#""symbol":"ETH/USDT""#), "{added:?}");
}

#[test]
fn a_client_follows_until_it_asks_not_to() {
    let mut rig = Rig::on_hand(GatewaySettings::default());
    let mut client = rig.client();
    client.subscribe(&["BTC/USDT"], &[]);
    let opened = rig.clock.now();
    rig.life_of("BTC/USDT", "42925", Change::Opened, opened);
    assert_eq!(client.collect(SHORT), [""; 0]);
    // Switched on by a request without new symbols; then a request without the option.
    client.follow(&[], 0);
    assert_eq!(client.lives(SHORT), [told("opened", 42925)]);
    client.subscribe(&["SOL/USDT"], &[]);
    rig.life_of("BTC/USDT", "42930", Change::Updated, opened);
    assert_eq!(client.lives(SHORT), [told("updated", 42930)]);
    client.send(json!({"action": "unsubscribe", "symbols": ["SOL/USDT"], "opportunities": false}));
    assert_eq!(client.next()["type"], "unsubscribed");
    rig.life_of("BTC/USDT", "42931", Change::Updated, opened);
    assert_eq!(client.lives(SHORT), [told("updated", 42931)], "only subscribe changes what a client hears");
    client.send(json!({"action": "subscribe", "opportunities": false}));
    assert_eq!(client.next()["type"], "subscribed");
    rig.life_of("BTC/USDT", "42932", Change::Updated, opened);
    rig.life_of("BTC/USDT", "42932", Change::Closed(CloseReason::SellMoved), opened);
    assert_eq!(client.collect(SHORT), [""; 0]);
    rig.wait_until("nobody follows", |board| board.gateways[0].subscriptions.followers.value() == 0);
    client.follow(&["BTC/USDT"], 0);
    rig.wait_until("one follows", |board| board.gateways[0].subscriptions.followers.value() == 1);
    drop(client);
    rig.wait_until("nobody follows", |board| board.gateways[0].subscriptions.followers.value() == 0);
}

#[test]
fn at_an_interval_only_the_newest_update_is_sent_but_openings_and_ends_at_once() {
    let mut rig = Rig::on_hand(GatewaySettings::default());
    let (mut patient, mut client) = (rig.client(), rig.client());
    patient.follow(&["BTC/USDT", "ETH/USDT"], LONG_BEAT_MS);
    client.follow(&["BTC/USDT", "ETH/USDT"], 1000);
    let opened = rig.clock.now();
    rig.life_of("BTC/USDT", "42925", Change::Opened, opened);
    assert_eq!(patient.next()["change"], "opened");
    assert_eq!(client.next()["change"], "opened");
    for price in ["42926", "42927", "42928"] {
        rig.life_of("BTC/USDT", price, Change::Updated, opened);
    }
    assert_eq!(client.lives(Duration::from_millis(1500)), [told("updated", 42928)]);
    // Nothing is sent while nothing changes.
    assert_eq!(client.collect(Duration::from_millis(1200)), [""; 0]);
    rig.life_of("BTC/USDT", "42929", Change::Updated, opened);
    rig.life_of("BTC/USDT", "42930", Change::Closed(CloseReason::SellMoved), opened);
    assert_eq!(client.lives(Duration::from_millis(1300)), [told("closed", 42930)]);
}

#[test]
fn a_slow_follower_receives_every_opening_and_end_and_the_newest_update() {
    let mut rig = Rig::on_hand(settings(|o| o.gateway.send_buffer_bytes = 4096));
    let mut client = rig.client();
    client.follow(&["BTC/USDT", "ETH/USDT"], 0);
    let opened = rig.clock.now();
    rig.life_of("BTC/USDT", "42925", Change::Opened, opened);
    assert_eq!(client.next()["change"], "opened");
    // Until the socket buffer is full, after some kilobytes.
    let sent = |rig: &Rig| rig.board.gateways[0].sent.opportunities.value();
    let mut price = 43_000_u64;
    let mut quiet = 0;
    while quiet < 20 && price < 60_000 {
        let before = sent(&rig);
        price += 1;
        rig.life_of("BTC/USDT", &price.to_string(), Change::Updated, opened);
        rig.pass(1);
        quiet = if sent(&rig) == before { quiet + 1 } else { 0 };
    }
    assert!(quiet == 20, "the socket takes everything");
    rig.life_of("ETH/USDT", "42600", Change::Opened, opened);
    rig.life_of("BTC/USDT", &(price + 1).to_string(), Change::Updated, opened);
    rig.life_of("BTC/USDT", &(price + 2).to_string(), Change::Updated, opened);
    rig.life_of("ETH/USDT", "42600", Change::Closed(CloseReason::SellMoved), opened);
    let heard = client.lives(Duration::from_secs(2));
    let updates: Vec<u64> = heard.iter().filter(|(c, _)| c == "updated").map(|(_, price)| *price).collect();
    assert!(updates.is_sorted(), "{updates:?}");
    assert_eq!(updates.last(), Some(&(price + 2)));
    assert!(!updates.contains(&(price + 1)) && updates.len() < (price - 43_000) as usize, "{}", updates.len());
    let ends: Vec<&str> = heard.iter().filter(|(c, _)| c != "updated").map(|(change, _)| change.as_str()).collect();
    assert_eq!(ends, ["opened", "closed"]);
}

#[test]
fn an_opportunity_whose_end_was_lost_ends_before_the_next_opens() {
    let mut rig = Rig::on_hand(GatewaySettings::default());
    let mut client = rig.client();
    client.follow(&["BTC/USDT"], 0);
    rig.life("42925", Change::Opened, Duration::from_secs(9));
    rig.life("42930", Change::Opened, Duration::ZERO);
    // An opportunity whose opening was lost opens with its next event.
    rig.life_of("BTC/USDT", "42930", Change::Closed(CloseReason::SellMoved), MonoNs(2));
    rig.life_of("BTC/USDT", "42931", Change::Updated, MonoNs(3));
    let heard = client.lives(SHORT);
    let expected = [("opened", 42925), ("closed", 42925), ("opened", 42930)];
    assert_eq!(heard[..3], expected.map(|(change, price)| told(change, price)));
    assert_eq!(heard.last(), Some(&told("opened", 42931)));
}

#[test]
fn the_page_of_opportunities_has_the_open_and_the_last_hundred_closed_ones() {
    let mut rig = Rig::on_hand(GatewaySettings::default());
    assert_eq!(rig.json("/api/opportunities"), (200, json!({"open": [], "closed": []})));
    for n in 0..120_u64 {
        let opened = MonoNs(rig.clock.now().0 - 5 * SECOND);
        rig.life_of("BTC/USDT", &(43_000 + n).to_string(), Change::Opened, opened);
        rig.life_of("BTC/USDT", &(43_000 + n).to_string(), Change::Closed(CloseReason::SellMoved), opened);
        rig.rest();
    }
    rig.life("42925", Change::Opened, Duration::from_secs(3));
    rig.pass(200);
    let (_, page) = rig.json("/api/opportunities");
    let open = page["open"].as_array().unwrap();
    assert_eq!(open.len(), 1);
    assert_eq!((&open[0]["type"], &open[0]["change"]), (&json!("opportunity"), &json!("opened")));
    assert_eq!((&open[0]["symbol"], &open[0]["source"]), (&json!("BTC/USDT"), &json!("simulated")));
    assert!((3000..10_000).contains(&open[0]["livedMs"].as_u64().unwrap()), "{page}");
    let closed = page["closed"].as_array().unwrap();
    let prices: Vec<u64> = closed.iter().map(|o| o["sellPrice"].as_u64().unwrap()).collect();
    assert_eq!(prices, (43_020..43_120).rev().collect::<Vec<_>>());
    let (lived, opened) = (&closed[0]["livedMs"], closed[0]["openedAt"].as_u64().unwrap());
    assert!(lived.as_u64().unwrap() >= 5000, "{lived}");
    assert!(closed[0]["timestamp"].as_u64().unwrap().abs_diff(opened + lived.as_u64().unwrap()) <= 1);
    // The age of a closed one does not grow.
    rig.pass(5000);
    assert_eq!(&rig.json("/api/opportunities").1["closed"][0]["livedMs"], lived);
}

#[test]
fn the_pages_of_instruments_and_status_show_the_present_state() {
    let mut rig = Rig::on_hand(GatewaySettings::default());
    rig.quote("BTC/USDT", "binance", "1", "2");
    rig.board.venues[2].connection.set_state(LinkState::Backoff, rig.clock.now());
    rig.board.venues[2].connection.set_last_error("closed by the venue (1001)");
    let mut client = rig.client();
    client.subscribe(&["BTC/USDT"], &["binance"]);
    client.next();
    let (status, page) = rig.json("/api/status");
    assert_eq!((status, &page["status"]), (200, &json!("degraded")));
    let alerts =
        ["Exchange kraken gives no fresh price", "Exchange coinbase is reconnecting: closed by the venue (1001)"];
    assert_eq!(page["alerts"], json!(alerts));
    let venue = |at: usize| &page["venues"][at];
    let seen = |at: usize| ["exchange", "state", "data", "source"].map(|key| venue(at)[key].as_str());
    assert_eq!(seen(0), [Some("binance"), Some("connected"), Some("partial"), Some("simulated")]);
    assert_eq!(seen(1), [Some("kraken"), Some("connected"), Some("none"), Some("simulated")]);
    assert_eq!((&venue(0)["freshPairs"], &venue(0)["quotedPairs"]), (&json!(1), &json!(3)));
    assert_eq!(venue(2)["lastError"], "closed by the venue (1001)");
    assert_eq!((&venue(2)["connectedMs"], &venue(0)["clockOffsetMs"]), (&Value::Null, &Value::Null));
    assert_eq!((&page["gateway"]["clients"], &page["gateway"]["subscriptions"]), (&json!(1), &json!(1)));
    assert_eq!((&page["limits"]["pairsMax"], &page["limits"]["staleAfterMs"]), (&json!(4096), &json!(30_000)));
    assert_eq!((&page["process"]["source"], &page["cluster"]), (&json!("simulated"), &Value::Null));
    // It is also answered without fresh prices: it is not a health check.
    rig.void("BTC/USDT", "binance");
    rig.pass(200);
    let (status, page) = rig.json("/api/status");
    assert_eq!((status, &page["status"]), (200, &json!("degraded")));
    let (_, page) = rig.json("/api/instruments");
    assert_eq!(page["instruments"][0], json!({"symbol": "BTC/USDT", "exchanges": ["binance", "kraken"]}));
    assert_eq!(page["instruments"][2], json!({"symbol": "SOL/USD", "exchanges": ["coinbase"]}));
}

#[test]
fn a_jump_of_one_venue_is_one_group_and_its_ends_have_a_reason() {
    let mut rig = Rig::new();
    let (mut follower, mut extended, mut plain) = (rig.client(), rig.client(), rig.client());
    follower.follow(&["BTC/USDT"], 0);
    extended.send(json!({"action": "subscribe", "symbols": ["BTC/USDT"], "extended": true}));
    extended.next();
    plain.subscribe(&["BTC/USDT"], &[]);
    let (opened, venue) = (rig.clock.now(), |rig: &Rig, name| rig.directory.venue_named(name).unwrap());
    let leader = (venue(&rig, "kraken"), venue(&rig, "binance"), opened);
    let tell = |rig: &mut Rig, buy, change, size, alert| {
        let event = rig.event("BTC/USDT", (buy, "42500"), ("binance", "42925"), change, alert);
        let group = Group { number: 7, leader, leg: LegSide::Sell, size };
        let opportunity = Opportunity { opened, group, ..event.opportunity };
        rig.events.push(OpportunityEvent { opportunity, ..event }).unwrap();
        rig.alarm.ring();
    };
    let id = |buy: &str| json!(format!("BTC/USDT:{buy}:binance:{}", opened.0));
    for buy in ["kraken", "coinbase"] {
        tell(&mut rig, buy, Change::Opened, 2, true);
        for told in [follower.life(), extended.next()] {
            assert_eq!(told["id"], id(buy), "{told}");
            assert_eq!((&told["group"], &told["groupLeg"]), (&id("kraken"), &json!("sell")), "{told}");
            assert_eq!((&told["groupSize"], &told["reason"]), (&json!(2), &Value::Null), "{told}");
        }
        let told = plain.text();
        assert!(
            told.starts_with(r#"{"type":"arbitrage""#) && !told.contains("group") && !told.contains("id\""),
            "{told}"
        );
    }
    // Another one joins that this client does not receive; the group grows nevertheless.
    tell(&mut rig, "kraken", Change::Updated, 3, false);
    let grown = follower.life();
    assert_eq!((&grown["change"], &grown["id"], &grown["groupSize"]), (&json!("updated"), &id("kraken"), &json!(3)));
    let reason = Change::Closed(CloseReason::Quarantined);
    tell(&mut rig, "kraken", reason, 2, false);
    assert_eq!(follower.life()["reason"], "quarantined");
    tell(&mut rig, "kraken", Change::Opened, 2, false);
    follower.life();
    tell(&mut rig, "coinbase", Change::Closed(CloseReason::VenueLost), 1, false);
    let ended = follower.life();
    assert_eq!((&ended["change"], &ended["reason"]), (&json!("closed"), &json!("venue_lost")));
    assert_eq!((&ended["group"], &ended["groupSize"]), (&id("kraken"), &json!(1)));
    let (_, page) = rig.json("/api/opportunities");
    assert_eq!((&page["closed"][0]["reason"], &page["open"][0]["group"]), (&json!("venue_lost"), &id("kraken")));
    // Followers receive the end of open opportunities before the server stops.
    rig.stop.request();
    let last = follower.life();
    assert_eq!(
        (&last["change"], &last["reason"], &last["groupSize"]),
        (&json!("closed"), &json!("shutdown"), &json!(0))
    );
    assert_eq!(follower.close_code(), Some(1001));
}

#[test]
fn a_client_that_asks_for_proof_hears_of_an_opportunity_from_its_proof_to_its_end() {
    let mut rig = Rig::on_hand(GatewaySettings::default());
    let mut clients = ["proven", "likely", "none"].map(|min| {
        let mut client = rig.client();
        client.send(json!({"action": "subscribe", "symbols": ["BTC/USDT"], "intervalMs": 0, "opportunities": true,
                           "extended": true, "minProof": min}));
        assert_eq!(client.next()["type"], "subscribed");
        client
    });
    rig.wait_until("followers", |board| board.gateways[0].subscriptions.followers.value() == 3);
    let opened = rig.clock.now();
    let expect = |clients: &mut [Client; 3], expected: [&[&str]; 3]| {
        for (client, expected) in clients.iter_mut().zip(expected) {
            assert_eq!(heard(client), expected);
        }
    };
    rig.proof("42925", Change::Opened, opened, Proof::Unproven);
    expect(&mut clients, [&[], &[], &["alert unproven", "opened unproven"]]);
    rig.proof("42926", Change::Updated, opened, Proof::Likely);
    expect(&mut clients, [&[], &["alert likely", "opened likely"], &["updated likely"]]);
    rig.proof("42927", Change::Updated, opened, Proof::Unproven);
    expect(&mut clients, [&[], &["updated unproven"], &["updated unproven"]]);
    rig.proof("42928", Change::Updated, opened, Proof::Proven);
    expect(&mut clients, [&["alert proven", "opened proven"], &["updated proven"], &["updated proven"]]);
    rig.proof("42929", Change::Updated, opened, Proof::Proven);
    expect(&mut clients, [&["updated proven"]; 3]);
    rig.proof("42500", Change::Closed(CloseReason::SellMoved), opened, Proof::Proven);
    expect(&mut clients, [&["closed proven"]; 3]);

    // An end that proves it is no opening.
    let opened = MonoNs(opened.0 + 1);
    rig.proof("42925", Change::Opened, opened, Proof::Likely);
    rig.proof("42500", Change::Closed(CloseReason::SellMoved), opened, Proof::Proven);
    let both: &[&str] = &["alert likely", "opened likely", "closed proven"];
    expect(&mut clients, [&[], both, both]);
    // Within the debounce time.
    let opened = MonoNs(opened.0 + 1);
    let event = rig.event("BTC/USDT", BUY, ("binance", "42925"), Change::Opened, false);
    let opportunity = Opportunity { opened, ..event.opportunity };
    rig.events.push(OpportunityEvent { opportunity, ..event }).unwrap();
    rig.proof("42926", Change::Updated, opened, Proof::Proven);
    expect(&mut clients, [&["opened proven"], &["opened proven"], &["opened unproven", "updated proven"]]);
}

#[test]
fn a_client_that_asks_for_more_proof_still_hears_the_end_of_what_it_knows() {
    let mut rig = Rig::on_hand(GatewaySettings::default());
    let mut client = rig.client();
    let ask = |client: &mut Client, min: &str| {
        client.send(json!({"action": "subscribe", "minProof": min}));
        assert_eq!(client.next()["type"], "subscribed");
    };
    client.follow(&["BTC/USDT"], 0);
    client.send(json!({"action": "subscribe", "extended": true}));
    assert_eq!(client.next()["type"], "subscribed");
    let first = rig.clock.now();
    rig.proof("42925", Change::Opened, first, Proof::Likely);
    assert_eq!(heard(&mut client), ["alert likely", "opened likely"]);
    ask(&mut client, "proven");
    rig.proof("42926", Change::Updated, first, Proof::Proven);
    assert_eq!(heard(&mut client), ["alert proven", "updated proven"], "its first alert with that proof");
    rig.proof("42926", Change::Closed(CloseReason::SellMoved), first, Proof::Proven);
    assert_eq!(heard(&mut client), ["closed proven"]);

    let second = MonoNs(first.0 + 1);
    rig.proof("42925", Change::Opened, second, Proof::Likely);
    assert_eq!(heard(&mut client), [""; 0]);
    ask(&mut client, "likely");
    assert_eq!(heard(&mut client), ["opened likely"], "no quote is fresh, so there is no alert");
    ask(&mut client, "none");
    assert_eq!(heard(&mut client), [""; 0], "nothing new");
    client.send(json!({"action": "subscribe", "symbols": ["ETH/USDT"], "minProof": "certain"}));
    let error = client.next();
    assert_eq!(error["message"], "Unknown minProof: certain, expected one of none, likely, proven");
    ask(&mut client, "none");
}
