//! Prints each price and alert of one symbol as one line of JSON. Needs no part of the `spreadwire` library.
//!
//! `cargo run --example prices -- 127.0.0.1:3000 BTC/USDT binance,okx`

use std::net::TcpStream;

use serde_json::{Value, json};
use tungstenite::{Message, client};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:3000".into());
    let symbol = arguments.next().unwrap_or_else(|| "BTC/USDT".into());
    let exchanges = arguments.next().unwrap_or_else(|| "binance,okx".into());

    let (mut socket, _) = client(format!("ws://{address}/ws/prices"), TcpStream::connect(&address)?)?;
    let request = json!({
        "action": "subscribe",
        "symbols": [symbol],
        "exchanges": exchanges.split(',').collect::<Vec<_>>(),
        "intervalMs": 0,    // each change at once
        "extended": true,   // sizes, ages and states
    });
    socket.send(Message::text(request.to_string()))?;

    loop {
        match socket.read()? {
            Message::Text(text) => {
                let message: Value = serde_json::from_str(&text)?;
                match message["type"].as_str() {
                    Some("price" | "arbitrage") => println!("{message}"),
                    Some("error") => eprintln!("{message}"),
                    _ => {}
                }
            }
            Message::Close(reason) => return Err(format!("closed by the gateway: {reason:?}").into()),
            // `read` answers pings automatically.
            _ => {}
        }
    }
}
