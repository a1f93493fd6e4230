//! An echo server and an echo client on [`spreadwire::wire::websocket`], for WebSocket conformance suites: raised
//! limits, one thread per connection. Not a part of the product.
//!
//! `cargo run --release --example echo 127.0.0.1:9001` listens. `cargo run --release --example echo ws://127.0.0.1:9002`
//! runs the cases of an Autobahn fuzzing server there.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use spreadwire::wire::http::{self, Upgrade};
use spreadwire::wire::websocket::{Event, Limits, WebSocket, text_frame_header};

const LIMITS: Limits = Limits { message_max: 64 << 20, read_buffer: 64 * 1024, fragments_max: u32::MAX };

fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9001".into());
    if address.starts_with("ws://") {
        return run_cases(&address);
    }
    for tcp in TcpListener::bind(address)?.incoming().flatten() {
        std::thread::spawn(move || drop(serve(tcp)));
    }
    Ok(())
}

fn serve(mut tcp: TcpStream) -> std::io::Result<()> {
    tcp.set_nodelay(true)?;
    let mut bytes = vec![0; 64 * 1024];
    let mut head = Vec::new();
    let limits = http::HeadLimits {
        head_max: 16 * 1024,
        lines_max: 64,
        line_max: 8192,
        posts: http::Posts::Only(&[]),
        body_max: 0,
    };
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
    converse(tcp, WebSocket::server(LIMITS, &head[length..]), &mut |_, event, reply| match event {
        Event::Text(text) => {
            text_frame_header(text.len(), reply);
            reply.extend_from_slice(text.as_bytes());
        }
        Event::Binary(data) => {
            let start = reply.len();
            text_frame_header(data.len(), reply);
            reply[start] = 0x82;
            reply.extend_from_slice(&data);
        }
        _ => {}
    })
}

/// Asks for the number of cases, runs each, and has the report made.
fn run_cases(server: &str) -> std::io::Result<()> {
    let mut count = 0;
    connect(&format!("{server}/getCaseCount"), &mut |_, event, _| {
        if let Event::Text(text) = event {
            count = text.parse().unwrap_or(0);
        }
    })?;
    for case in 1..=count {
        connect(&format!("{server}/runCase?case={case}&agent=spreadwire"), &mut |socket, event, _| match event {
            Event::Text(text) => socket.send_text(&text),
            Event::Binary(data) => socket.send_binary(data.to_vec()),
            _ => {}
        })?;
    }
    for page in ["updateReports?agent=spreadwire", "stopServer"] {
        connect(&format!("{server}/{page}"), &mut |_, _, _| {})?;
    }
    Ok(())
}

/// Takes an event, and may add to what is sent.
type Answer<'a> = &'a mut dyn FnMut(&mut WebSocket, Event, &mut Vec<u8>);

fn connect(url: &str, answer: Answer<'_>) -> std::io::Result<()> {
    let host = url.trim_start_matches("ws://").split('/').next().unwrap_or_default();
    let socket = WebSocket::client(url, LIMITS).map_err(|why| std::io::Error::other(why.to_string()))?;
    converse(TcpStream::connect(host)?, socket, answer)
}

fn converse(mut tcp: TcpStream, mut socket: WebSocket, answer: Answer<'_>) -> std::io::Result<()> {
    tcp.set_nodelay(true)?;
    let (mut bytes, mut reply) = (vec![0; 64 * 1024], Vec::new());
    loop {
        let open = answer_all(&mut socket, answer, &mut reply);
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
fn answer_all(socket: &mut WebSocket, answer: Answer<'_>, reply: &mut Vec<u8>) -> bool {
    loop {
        let event = socket.next();
        reply.append(socket.output());
        match event {
            Ok(Some(Event::Closed(_))) | Err(_) => return false,
            Ok(Some(event)) => answer(socket, event, reply),
            Ok(None) => return true,
        }
        reply.append(socket.output());
    }
}
