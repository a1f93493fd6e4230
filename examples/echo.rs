//! An echo server on [`spreadwire::wire::websocket`], for WebSocket conformance suites: raised limits, one
//! thread per connection. Not a part of the product.
//!
//! `cargo run --release --example echo 127.0.0.1:9001`

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use spreadwire::wire::http::{self, Upgrade};
use spreadwire::wire::websocket::{Event, Limits, WebSocket, text_frame_header};

fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9001".into());
    for tcp in TcpListener::bind(address)?.incoming().flatten() {
        std::thread::spawn(move || drop(serve(tcp)));
    }
    Ok(())
}

fn serve(mut tcp: TcpStream) -> std::io::Result<()> {
    tcp.set_nodelay(true)?;
    let mut bytes = vec![0; 64 * 1024];
    let mut head = Vec::new();
    let limits = http::Limits { head_max: 16 * 1024, lines_max: 64, line_max: 8192, posts: &[], body_max: 0 };
    let (accept, length) = loop {
        let read = tcp.read(&mut bytes)?;
        head.extend_from_slice(&bytes[..read]);
        match http::parse(&head, limits) {
            Ok(None) if read > 0 => {}
            Ok(Some((request, length))) => match request.upgrade {
                Upgrade::WebSocket(accept) => break (accept, length),
                _ => return Ok(()),
            },
            _ => return Ok(()),
        }
    };
    let mut reply = Vec::new();
    http::write_switch(&accept, "", &mut reply);
    tcp.write_all(&reply)?;
    reply.clear();
    let limits = Limits { message_max: 64 << 20, read_buffer: 64 * 1024, fragments_max: u32::MAX };
    let mut socket = WebSocket::server(limits, &head[length..]);
    loop {
        let open = echo(&mut socket, &mut reply);
        tcp.write_all(&reply)?;
        reply.clear();
        let read = if open { tcp.read(&mut bytes)? } else { 0 };
        if read == 0 {
            tcp.shutdown(std::net::Shutdown::Write)?;
            while tcp.read(&mut bytes)? > 0 {}
            return Ok(());
        }
        socket.receive(&bytes[..read]);
    }
}

/// Answers all that is there; `false` when the conversation is over.
fn echo(socket: &mut WebSocket, reply: &mut Vec<u8>) -> bool {
    loop {
        let event = socket.next();
        reply.append(socket.output());
        match event {
            Ok(Some(Event::Text(text))) => {
                text_frame_header(text.len(), reply);
                reply.extend_from_slice(text.as_bytes());
            }
            Ok(Some(Event::Binary(data))) => {
                let start = reply.len();
                text_frame_header(data.len(), reply);
                reply[start] = 0x82;
                reply.extend_from_slice(&data);
            }
            Ok(Some(Event::Closed(_))) | Err(_) => return false,
            Ok(Some(_)) => {}
            Ok(None) => return true,
        }
    }
}
