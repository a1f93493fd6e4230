//! Clients in memory: the gateway is turned by hand on a clock that only the test moves, and no client has a socket.

use spreadwire::gateway::transport::LocalClient;

use super::turned::Turned;
use super::*;
use crate::client_frames::{masked, texts_of};

struct Peer {
    client: LocalClient,
    input: Vec<u8>,
}

impl Peer {
    /// A WebSocket client with room for `capacity` unread bytes.
    fn connect(turned: &mut Turned, capacity: usize) -> Self {
        let mut peer = Self { client: turned.gateway.connect(capacity), input: Vec::new() };
        peer.client.send(UPGRADE.as_bytes());
        turned.rest();
        peer.client.receive(usize::MAX, &mut peer.input);
        let end = peer.input.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
        assert!(peer.input.starts_with(b"HTTP/1.1 101"));
        peer.input.drain(..end + 4);
        peer
    }

    fn say(&self, request: &Value) {
        self.client.send(&masked(&request.to_string()));
    }

    fn received(&mut self) -> Vec<Value> {
        self.client.receive(usize::MAX, &mut self.input);
        texts_of(&mut self.input).iter().map(|text| serde_json::from_str(text).unwrap()).collect()
    }
}

fn subscribe(interval_ms: u64) -> Value {
    json!({"action": "subscribe", "symbols": ["BTC/USDT"], "exchanges": ["binance"], "intervalMs": interval_ms})
}

#[test]
fn a_client_in_memory_receives_its_prices_at_its_interval_and_is_counted() {
    let mut turned = Turned::new(GatewaySettings::default());
    turned.rig.quote("BTC/USDT", "binance", "42500", "42501");
    let mut peer = Peer::connect(&mut turned, 1 << 20);
    peer.say(&subscribe(500));
    turned.rest();
    let first = peer.received();
    assert_eq!((first[0]["type"].as_str(), first[1]["bid"].to_string()), (Some("subscribed"), "42500".to_owned()));
    turned.rig.quote("BTC/USDT", "binance", "42600", "42601");
    turned.pass(400);
    assert!(peer.received().is_empty());
    turned.pass(200);
    let burst = peer.received();
    assert_eq!((burst.len(), burst[0]["bid"].to_string()), (1, "42600".to_owned()));
    let gauges = Arc::clone(&turned.rig.board);
    assert_eq!(gauges.gateways[0].clients.websocket.value(), 1);
    drop(peer);
    turned.rest();
    assert_eq!(gauges.gateways[0].clients.websocket.value(), 0);
}

#[test]
fn a_slow_client_in_memory_has_its_prices_conflated_and_receives_the_newest_when_it_reads() {
    let mut turned = Turned::new(GatewaySettings::default());
    let mut peer = Peer::connect(&mut turned, 1000);
    peer.say(&subscribe(0));
    turned.rest();
    peer.received();
    for bid in 1..=1000 {
        turned.rig.quote("BTC/USDT", "binance", &bid.to_string(), "2000");
        turned.rest();
    }
    assert!(turned.rig.board.gateways[0].sent.prices_conflated.value() > 900);
    let mut bids = Vec::new();
    for _ in 0..3 {
        bids.extend(peer.received().iter().map(|price| price["bid"].as_u64().unwrap()));
        turned.rest();
    }
    assert!(bids.len() < 100 && bids.is_sorted() && bids.last() == Some(&1000), "{bids:?}");
}
