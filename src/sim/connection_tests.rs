use super::*;
use crate::sim::plain::{PLAIN, line};
use crate::sim::prices::Liveliness;
use crate::sim::scenario::Scenario;
use crate::venues::Market;
use proptest::prelude::*;

const LISTEN: &str = "127.0.0.1:9000";

fn prices() -> SimPrices {
    let lively = Liveliness { rate: 100.0, opportunity_every_ms: 4000 };
    SimPrices::new(PLAIN, &[("BTC".into(), "USDT".into()), ("ETH".into(), "USD".into())], 4, lively, UnixNs(0))
}

fn world(prices: &SimPrices) -> World<'_> {
    World {
        venues: PLAIN,
        prices,
        unix: UnixNs::from_ms(5000),
        listen: LISTEN.parse().unwrap(),
        refusing: &[],
        troubles: &[],
        tls: false,
        sockets: &[],
    }
}

fn at(ms: u64) -> MonoNs {
    MonoNs(ms * MS)
}

/// The response to these bytes as text, and how the connection ended.
fn ask(bytes: &[u8]) -> (String, Option<Ending>) {
    let prices = prices();
    let mut connection = SimConnection::new(ClientLimits::default(), at(0));
    connection.receive(bytes, at(0), &world(&prices));
    (String::from_utf8_lossy(connection.output()).into_owned(), connection.ending())
}

/// A client that is connected to `path` and has received the upgrade response.
fn opened(prices: &SimPrices, path: &str, limits: ClientLimits) -> (WebSocket, SimConnection) {
    let mut client = WebSocket::client(&format!("ws://{LISTEN}{path}"), SOCKET_LIMITS).unwrap();
    let mut connection = SimConnection::new(limits, at(0));
    connection.receive(&std::mem::take(client.output()), at(0), &world(prices));
    client.receive(&std::mem::take(connection.output()));
    assert_eq!(client.next(), Ok(Some(Event::Open(Some("simulated".into())))));
    (client, connection)
}

fn heard(client: &mut WebSocket, connection: &mut SimConnection) -> Vec<String> {
    client.receive(&std::mem::take(connection.output()));
    let mut texts = Vec::new();
    while let Ok(Some(event)) = client.next() {
        match event {
            Event::Text(text) => texts.push(text.to_string()),
            other => texts.push(format!("{other:?}")),
        }
    }
    texts
}

#[test]
fn programs_are_told_how_often_a_venue_is_connected_to() {
    let prices = prices();
    let sockets = [Sockets { open: 1, most: 2, opened: 7 }];
    let mut connection = SimConnection::new(ClientLimits::default(), at(0));
    let world = World { sockets: &sockets, ..world(&prices) };
    connection.receive(b"GET /connections HTTP/1.1\r\nHost: a\r\n\r\n", at(0), &world);
    let text = String::from_utf8_lossy(connection.output()).into_owned();
    let (_, body) = text.split_once("\r\n\r\n").unwrap();
    assert_eq!(body, "{\"plain\":{\"open\":1,\"most\":2,\"opened\":7}}\n");
}

#[test]
fn a_client_subscribes_and_hears_its_quotes_only() {
    let prices = prices();
    let (mut client, mut connection) = opened(&prices, "/plain/v1/ws?x=1", ClientLimits::default());
    assert_eq!(heard(&mut client, &mut connection), ["hello /v1/ws?x=1"]);
    let quote = prices.market(0, UnixNs(0)).quote("BTC-USDT").unwrap();
    let other = prices.market(0, UnixNs(0)).quote("ETH-USD").unwrap();
    connection.quote(&quote, at(1));
    assert!(connection.output().is_empty());
    client.send_text("sub BTC-USDT");
    client.send_text("sub DOGE-USDT");
    connection.receive(&std::mem::take(client.output()), at(2), &world(&prices));
    assert_eq!(heard(&mut client, &mut connection), ["ok BTC-USDT 5000", &line(&quote), "no DOGE-USDT"]);
    connection.quote(&other, at(3));
    connection.quote(&quote, at(3));
    connection.heartbeat(UnixNs::from_ms(6000), at(3));
    assert_eq!(heard(&mut client, &mut connection), [line(&quote), "beat 6000".to_owned()]);
}

#[test]
fn a_frame_that_waits_for_its_follower_is_sent_after_100_ms_at_the_latest() {
    let prices = prices();
    let (mut client, mut connection) = opened(&prices, "/plain/v1/ws", ClientLimits::default());
    client.send_text("sub BTC-USDT");
    connection.receive(&std::mem::take(client.output()), at(1), &world(&prices));
    let quote = prices.market(0, UnixNs(0)).quote("BTC-USDT").unwrap();
    let [first, second] = [1, 2].map(|n| VenueQuote { sequence: quote.sequence + n, ..quote.clone() });
    assert_eq!(heard(&mut client, &mut connection).last(), Some(&line(&quote)));
    let text = "[[fault]]\nkind = \"reorder\"\nfor_s = 1\none_in = 1";
    let trouble = Scenario::read(text, PLAIN).unwrap().at(0, PLAIN).swap_remove(0);
    let mut random = Random::new(1);
    // Its follower comes in time: first the follower, then the frame, and nothing is due any more.
    connection.troubled_quote(&first, at(10), &trouble, &mut random);
    assert_eq!((heard(&mut client, &mut connection).len(), connection.deadline()), (0, Some(at(110))));
    connection.troubled_quote(&second, at(60), &trouble, &mut random);
    assert_eq!(heard(&mut client, &mut connection), [line(&second), line(&first)]);
    assert!(connection.deadline().is_none_or(|due| due > at(160)), "{:?}", connection.deadline());
    // Nothing follows: it goes when its time has come, by the clock that the connection is given.
    connection.troubled_quote(&first, at(200), &trouble, &mut random);
    assert_eq!(connection.deadline(), Some(at(300)));
    connection.elapsed(at(299));
    assert_eq!(heard(&mut client, &mut connection).len(), 0);
    connection.elapsed(at(300));
    assert_eq!(heard(&mut client, &mut connection), [line(&first)]);
    connection.elapsed(at(400));
    assert_eq!(heard(&mut client, &mut connection).len(), 0, "once");
    // The trouble is over: with the next quote, after it.
    connection.troubled_quote(&first, at(500), &trouble, &mut random);
    connection.quote(&second, at(520));
    assert_eq!(heard(&mut client, &mut connection), [line(&second), line(&first)]);
}

#[test]
fn a_request_in_pieces_is_the_same_request() {
    let prices = prices();
    let mut client = WebSocket::client("ws://localhost:1/bare", SOCKET_LIMITS).unwrap();
    let mut connection = SimConnection::new(ClientLimits::default(), at(0));
    for byte in std::mem::take(client.output()) {
        assert!(connection.output().is_empty());
        connection.receive(&[byte], at(0), &world(&prices));
    }
    client.receive(&std::mem::take(connection.output()));
    assert!(matches!(client.next(), Ok(Some(Event::Open(_)))));
    assert_eq!(client.next(), Ok(Some(Event::Text("hello /".into()))));
}

#[test]
fn frames_that_came_with_the_upgrade_are_read() {
    let prices = prices();
    let mut client = WebSocket::client("ws://localhost:1/bare", SOCKET_LIMITS).unwrap();
    let mut bytes = std::mem::take(client.output());
    bytes.extend_from_slice(&[0x81, 0x85, 0, 0, 0, 0, b's', b'u', b'b', b' ', b'X']);
    let mut connection = SimConnection::new(ClientLimits::default(), at(0));
    connection.receive(&bytes, at(0), &world(&prices));
    client.receive(&std::mem::take(connection.output()));
    assert!(matches!(client.next(), Ok(Some(Event::Open(_)))));
    assert_eq!(client.next(), Ok(Some(Event::Text("hello /".into()))));
    assert_eq!(client.next(), Ok(Some(Event::Text("no X".into()))));
}

#[test]
fn every_page_says_simulated_and_where_to_go() {
    for path in ["/", "/plain", "/bare/"] {
        let (reply, ending) = ask(format!("GET {path} HTTP/1.1\r\nHost: sim.test:81\r\n\r\n").as_bytes());
        assert!(reply.starts_with("HTTP/1.1 200 OK\r\n"), "{reply}");
        assert!(reply.contains("x-spreadwire-source: simulated\r\n"), "{reply}");
        assert!(reply.contains("every price here is simulated"), "{reply}");
        for address in ["ws://sim.test:81/plain/v1/ws\n", "ws://sim.test:81/bare\n", "ws://sim.test:81/asked\n"] {
            assert!(reply.contains(address), "{reply}");
        }
        assert_eq!(ending, Some(Ending::Done));
    }
}

#[test]
fn a_token_venue_is_asked_over_http_and_names_this_simulator() {
    let (reply, ending) = ask(b"POST /asked/token HTTP/1.1\r\nHost: localhost:9\r\nContent-Length: 2\r\n\r\n{}");
    assert!(reply.ends_with("\r\n\r\n{\"endpoint\":\"ws://localhost:9/asked/\"}"), "{reply}");
    assert_eq!(ending, Some(Ending::Done));
    // A body that has not arrived completely is awaited: closing with unread bytes would lose the response.
    let (_, ending) = ask(b"POST /asked/token HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{");
    assert_eq!(ending, None);
    // A host that is not valid in JSON is rejected; without one, the address is the listener's.
    let (reply, _) = ask(b"POST /asked/token HTTP/1.1\r\nHost: a\"b\r\n\r\n");
    assert!(reply.starts_with("HTTP/1.1 400 "), "{reply}");
    let (reply, _) = ask(b"POST /asked/token HTTP/1.0\r\n\r\n");
    assert!(reply.contains("ws://127.0.0.1:9000/asked/"), "{reply}");
}

#[test]
fn bad_requests_get_an_answer_and_the_end() {
    let long = format!("GET /plain HTTP/1.1\r\nX: {}", "a".repeat(HEAD_MAX));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "X: 1\r\n".repeat(HEADERS_MAX + 1));
    for (request, status) in [
        ("\0\x01garbage\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nbad header\r\n\r\n", "400"),
        (long.as_str(), "431"),
        (many.as_str(), "431"),
        ("GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n", "404"),
        ("GET /plain/other HTTP/1.1\r\nHost: a\r\n\r\n", "404"),
        ("DELETE /plain HTTP/1.1\r\nHost: a\r\n\r\n", "405"),
        ("GET /plain/ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n", "400"),
        (
            "GET /plain/ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 8\r\n\r\n",
            "426",
        ),
        (
            "GET /plain/ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: short\r\n\r\n",
            "400",
        ),
    ] {
        let (reply, ending) = ask(request.as_bytes());
        assert!(reply.starts_with(&format!("HTTP/1.1 {status} ")), "{request}: {reply}");
        assert!(ending.is_some(), "{request}");
    }
}

#[test]
fn a_venue_that_refuses_says_503() {
    let prices = prices();
    let mut client = WebSocket::client("ws://localhost:1/bare", SOCKET_LIMITS).unwrap();
    let mut connection = SimConnection::new(ClientLimits::default(), at(0));
    let world = World { refusing: &[false, true, false], ..world(&prices) };
    connection.receive(&std::mem::take(client.output()), at(0), &world);
    client.receive(&std::mem::take(connection.output()));
    assert_eq!(client.next(), Err(Failure::Refused { status: 503, retry_after: None }));
}

#[test]
fn a_head_that_never_ends_is_given_up() {
    let prices = prices();
    let mut connection = SimConnection::new(ClientLimits::default(), at(0));
    connection.receive(b"GET / HT", at(9_000), &world(&prices));
    connection.elapsed(at(9_999));
    assert_eq!(connection.ending(), None);
    connection.elapsed(at(10_000));
    assert_eq!(connection.ending(), Some(Ending::Fault));
}

#[test]
fn a_client_that_answers_no_ping_is_given_up() {
    let prices = prices();
    let (mut client, mut connection) = opened(&prices, "/plain/ws", ClientLimits::default());
    heard(&mut client, &mut connection);
    connection.elapsed(at(20_000));
    assert_eq!(heard(&mut client, &mut connection), ["Ping"]);
    connection.receive(&std::mem::take(client.output()), at(20_001), &world(&prices));
    connection.elapsed(at(40_000));
    assert_eq!(connection.ending(), None);
    connection.elapsed(at(60_000));
    assert_eq!(connection.ending(), Some(Ending::Fault));
}

#[test]
fn a_ping_of_the_client_is_answered_at_once() {
    let prices = prices();
    let (mut client, mut connection) = opened(&prices, "/bare", ClientLimits::default());
    heard(&mut client, &mut connection);
    client.ping();
    connection.receive(&std::mem::take(client.output()), at(1), &world(&prices));
    assert_eq!(heard(&mut client, &mut connection), ["Pong"]);
    assert_eq!(connection.deadline(), Some(at(28_001)), "only silence ends it");
}

#[test]
fn a_client_that_does_not_read_is_dropped_at_the_limit() {
    let prices = prices();
    let (mut client, mut connection) =
        opened(&prices, "/bare", ClientLimits { output_max: 2000, ..Default::default() });
    client.send_text("sub BTC-USDT");
    connection.receive(&std::mem::take(client.output()), at(1), &world(&prices));
    let quote = prices.market(1, UnixNs(0)).quote("BTC-USDT").unwrap();
    for _ in 0..100 {
        connection.quote(&quote, at(2));
        assert!(connection.output().len() <= 2000);
    }
    assert_eq!(connection.ending(), Some(Ending::Slow));
}

#[test]
fn goodbyes_are_said_in_order() {
    let prices = prices();
    // The client closes first.
    let (mut client, mut connection) = opened(&prices, "/bare", ClientLimits::default());
    heard(&mut client, &mut connection);
    client.close(1000, "bye");
    connection.receive(&std::mem::take(client.output()), at(1), &world(&prices));
    assert_eq!(connection.ending(), Some(Ending::Done));
    assert_eq!(heard(&mut client, &mut connection), ["Closed(1000)"]);
    // The simulator closes first; nothing follows its close frame.
    let (mut client, mut connection) = opened(&prices, "/bare", ClientLimits::default());
    heard(&mut client, &mut connection);
    connection.close(1001, "going away", at(2));
    connection.heartbeat(UnixNs(0), at(2));
    assert_eq!(heard(&mut client, &mut connection), ["Closed(1001)"]);
    connection.receive(&std::mem::take(client.output()), at(3), &world(&prices));
    assert_eq!(connection.ending(), Some(Ending::Done));
    // A client that does not answer the close frame is disconnected.
    let (_client, mut connection) = opened(&prices, "/bare", ClientLimits::default());
    connection.close(1001, "going away", at(2));
    connection.elapsed(at(1002));
    assert!(connection.ending().is_some());
    connection.elapsed(at(2002));
    assert!(connection.output().is_empty());
}

proptest! {
    #[test]
    fn any_bytes_are_survived(pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 0..8)) {
        let prices = prices();
        let mut connection = SimConnection::new(ClientLimits::default(), at(0));
        for piece in &pieces {
            connection.receive(piece, at(0), &world(&prices));
        }
        let (_client, mut connection) = opened(&prices, "/plain/ws", ClientLimits::default());
        for piece in &pieces {
            connection.receive(piece, at(0), &world(&prices));
        }
    }

    #[test]
    fn any_header_text_is_survived(path in "[ -~]{0,30}", name in "[!-~]{1,12}", value in "[ -~]{0,40}") {
        let request = format!("GET /plain{path} HTTP/1.1\r\nUpgrade: websocket\r\n{name}: {value}\r\nHost: {value}\r\n\r\n");
        let _ = ask(request.as_bytes());
    }
}

#[test]
fn a_client_that_says_nothing_for_too_long_is_sent_away_and_one_that_speaks_is_not() {
    let prices = prices();
    let (mut quiet, mut cut) = opened(&prices, "/bare", ClientLimits::default());
    let (mut lively, mut kept) = opened(&prices, "/bare", ClientLimits::default());
    let quote = prices.market(1, UnixNs(0)).quote("BTC-USDT").unwrap();
    for second in 1..60 {
        if second % 18 == 0 {
            lively.send_text("ping");
            kept.receive(&std::mem::take(lively.output()), at(second * 1000), &world(&prices));
        }
        for connection in [&mut cut, &mut kept] {
            // Our own messages do not count as activity of the client.
            connection.quote(&quote, at(second * 1000));
            connection.elapsed(at(second * 1000));
        }
        let is_closed = heard(&mut quiet, &mut cut).iter().any(|text| text.starts_with("Closed"));
        assert_eq!(is_closed, second == 28, "after {second} s");
        assert!(heard(&mut lively, &mut kept).iter().all(|text| !text.starts_with("Closed")));
        if is_closed {
            return;
        }
    }
    panic!("it was not sent away");
}
