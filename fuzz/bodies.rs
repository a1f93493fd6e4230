//! The bodies of the fuzz targets. The libFuzzer targets in `fuzz_targets/` call them, and so does `tests/fuzz.rs`,
//! which runs them over the corpus and seeded mutations on stable Rust. A target fails by panicking.

use std::io::Cursor;
use std::path::Path;

use spreadwire::cluster::batch;
use spreadwire::config::Config;
use spreadwire::last_known::file;
use spreadwire::market::directory::VenueEntry;
use spreadwire::market::{Decimal, Directory, VenueId};
use spreadwire::protocol::request;
use spreadwire::record::capture::Capture;
use spreadwire::sim::scenario::Scenario;
use spreadwire::time::MonoNs;
use spreadwire::venues::{Decoded, FeedCodec, Symbols, Update, VENUES};
use spreadwire::wire::gzip::Gunzip;
use spreadwire::wire::http;
use spreadwire::wire::protobuf::Fields;
use spreadwire::wire::query;
use spreadwire::wire::websocket::{Limits, WebSocket};

/// A target: its name, which is also the name of its corpus, and its function.
pub type Target = (&'static str, fn(&[u8]));

/// All targets. For the codecs, [`codec`] and [`twins`] can also be called for a single venue.
pub const TARGETS: &[Target] = &[
    ("codec", codec_of_any),
    ("twins", twins_of_any),
    ("listing", listing),
    ("number", number),
    ("http", http_head),
    ("websocket", websocket),
    ("request", client_request),
    ("capture", capture),
    ("state", state),
    ("batch", cluster_batch),
    ("config", configuration),
    ("scenario", scenario),
    ("packed", packed),
];

/// The venue selected by the first byte, a number from the same byte, and the rest.
fn venue_of(bytes: &[u8]) -> Option<(usize, u8, &[u8])> {
    let (&first, rest) = bytes.split_first()?;
    Some((usize::from(first) % VENUES.len(), first / 16, rest))
}

/// Splits frames at line feeds, which are white space in JSON. A protobuf frame that contains one is cut.
fn frames(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.split(|byte| *byte == b'\n').take(64)
}

/// Reads the frames of one connection. The first byte selects the venue, and whether the connection is for order books.
fn codec_of_any(bytes: &[u8]) {
    let Some((at, kind, rest)) = venue_of(bytes) else { return };
    codec(at, kind % 2 == 1, rest);
}

/// Lets the codec of venue `at` read the frames in `bytes`. Its output must be valid and bounded.
pub fn codec(at: usize, wants_books: bool, bytes: &[u8]) {
    let venue = VENUES[at];
    let symbols = Symbols::discovering(venue.symbol_of());
    let codec = if wants_books { venue.book_codec(symbols.clone(), 20) } else { None };
    let mut codec = codec.unwrap_or_else(|| venue.codec(symbols));
    let mut out = Decoded::default();
    codec.opened(&mut out.requests);
    for (number, frame) in frames(bytes).enumerate() {
        out.clear();
        let received = MonoNs(number as u64 * 300_000_000);
        let _ = match frame.strip_prefix(b"@") {
            Some(rest) => {
                let (url, body) = rest.split_at(rest.iter().position(|byte| *byte == b' ').unwrap_or(rest.len()));
                codec.snapshot(&String::from_utf8_lossy(url), body, &mut out)
            }
            None => codec.decode(frame, received, &mut out),
        };
        for update in &out.updates {
            let Update::Top(top) = update else { continue };
            for level in [top.bid, top.ask] {
                assert!(level.is_present() || (level.price.is_zero() && level.size.is_zero()), "half a level");
            }
        }
        assert!(out.updates.len() <= 16 + frame.len(), "more out than in");
    }
    let ids: Vec<_> = codec.symbols().entries().iter().map(|entry| entry.id).collect();
    codec.resubscribe(&ids, &mut out.requests);
    codec.keepalive(&mut out.requests);
}

fn twins_of_any(bytes: &[u8]) {
    let Some((at, _, rest)) = venue_of(bytes) else { return };
    twins(at, rest);
}

/// Compares the scanner of venue `at` with its parser. A blank after a frame is still valid JSON, but no scanner
/// accepts it.
pub fn twins(at: usize, bytes: &[u8]) {
    let codec = || VENUES[at].codec(Symbols::discovering(VENUES[at].symbol_of()));
    let (mut scanning, mut parsing) = (codec(), codec());
    let (mut scanned, mut parsed) = (Decoded::default(), Decoded::default());
    for frame in frames(bytes).filter(|frame| matches!(frame.first(), Some(b'{' | b'['))) {
        scanned.clear();
        parsed.clear();
        let one = scanning.decode(frame, MonoNs(7), &mut scanned);
        let other = parsing.decode(&[frame, b" "].concat(), MonoNs(7), &mut parsed);
        assert_eq!(one, other);
        assert_eq!(named(&*scanning, &scanned), named(&*parsing, &parsed));
        assert_eq!((scanned.requests.len(), scanned.answers.len()), (parsed.requests.len(), parsed.answers.len()));
    }
}

/// The updates with symbols in place of ids. If both reject a frame, one of them may already have assigned an id to the
/// symbol.
fn named(codec: &dyn FeedCodec, out: &Decoded) -> Vec<String> {
    let name = |update: &Update| {
        let entries = codec.symbols().entries().iter();
        entries.fold(format!("{update:?}"), |text, it| text.replace(&format!("{:?}", it.id), &it.native))
    };
    out.updates.iter().map(name).collect()
}

/// A venue's list of instruments, and its reply with the address for a connection.
fn listing(bytes: &[u8]) {
    let Some((at, _, rest)) = venue_of(bytes) else { return };
    if let Ok(entries) = VENUES[at].read_listing(rest) {
        assert!(entries.iter().all(|entry| !entry.native.is_empty()));
    }
    let _ = VENUES[at].endpoint(rest);
}

/// A parsed number must be equal after writing and parsing it again.
fn number(bytes: &[u8]) {
    let Ok(number) = Decimal::parse(bytes) else { return };
    let mut text = Vec::new();
    number.write(&mut text);
    assert_eq!(Decimal::parse(&text), Ok(number));
    text.clear();
    number.write_verbatim(&mut text);
    assert_eq!(Decimal::parse(&text).map(|it| (it, it.scale())), Ok((number, number.scale())));
}

/// A request head, complete and in two parts: what is accepted from a part must stay the same when the rest arrives.
fn http_head(bytes: &[u8]) {
    const LIMITS: http::HeadLimits = http::HeadLimits {
        head_max: 2048,
        lines_max: 32,
        line_max: 1024,
        posts: http::Posts::Only(&["/api/x"]),
        body_max: 512,
    };
    let whole = http::parse(bytes, LIMITS);
    for cut in [bytes.len() / 3, bytes.len() / 2] {
        if let Ok(Some((request, length))) = http::parse(&bytes[..cut], LIMITS) {
            assert_eq!(whole, Ok(Some((request, length))), "a part says something else than the whole");
        }
    }
    if let Ok(Some((request, length))) = whole {
        assert!(length <= bytes.len());
        let _ = query::value(&request.query, "symbols");
    }
}

/// A server must read the same events from bytes in one piece and in many.
fn websocket(bytes: &[u8]) {
    const LIMITS: Limits = Limits { message_max: 1 << 16, read_buffer: 4096, fragments_max: 64 };
    let run = |step: usize| {
        let mut socket = WebSocket::server(LIMITS, b"");
        let mut events = Vec::new();
        for part in bytes.chunks(step) {
            socket.receive(part);
            loop {
                match socket.next() {
                    Ok(Some(event)) => events.push(format!("{event:?}")),
                    Ok(None) => break,
                    Err(why) => {
                        events.push(format!("{why:?}"));
                        return events;
                    }
                }
            }
        }
        events
    };
    assert_eq!(run(bytes.len().max(1)), run(3));
    if let Ok(mut client) = WebSocket::client("ws://venue.example/ws", LIMITS) {
        client.receive(bytes);
        while let Ok(Some(_)) = client.next() {}
    }
}

/// A request from a client of the gateway.
fn client_request(bytes: &[u8]) {
    if let Err(why) = request::parse(bytes) {
        assert!(!why.message().is_empty());
    }
}

/// A recording, plain or gzip.
fn capture(bytes: &[u8]) {
    let Ok(mut capture) = Capture::new(Cursor::new(bytes.to_vec())) else { return };
    for _ in 0..256 {
        let Ok(Some(_)) = capture.next_record() else { return };
    }
}

/// Two instruments at two venues.
pub fn directory() -> Directory {
    let venue = |name: &str| VenueEntry {
        name: name.to_owned(),
        taker_fee_pct: Decimal::new(1, 1),
        native: vec![Some("BTCUSDT".to_owned()), None],
    };
    Directory::new(vec!["BTC/USDT".to_owned(), "ETH/USDT".to_owned()], vec![venue("binance"), venue("bybit")])
}

/// The file of last known quotes.
fn state(bytes: &[u8]) {
    let _ = file::decode(bytes, "boot", MonoNs(1 << 40), &directory());
}

/// A batch from another instance.
fn cluster_batch(bytes: &[u8]) {
    let _ = batch::BatchReader::default().read(bytes, VenueId(0), &directory());
}

/// A configuration file: every error must have a text.
fn configuration(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Err(why) = Config::build("fuzz.toml", text, Path::new("/nowhere"), &[], VENUES) {
        assert!(!why.to_string().is_empty());
    }
}

/// A fault script of the simulator.
fn scenario(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(scenario) = Scenario::read(text, VENUES) {
        for elapsed_ns in [0, 1 << 30, 1 << 40, u64::MAX] {
            let _ = scenario.at(elapsed_ns, VENUES);
        }
    }
}

/// Packed frames: gzip, and protobuf fields.
fn packed(bytes: &[u8]) {
    let _ = Gunzip::new(1 << 16).unpack(bytes);
    for field in Fields::new(bytes) {
        let Ok((number, _)) = field else { break };
        assert!(number > 0);
    }
}

/// Runs the target of this name.
///
/// # Panics
/// If the target fails or does not exist.
#[allow(dead_code)]
pub fn run(name: &str, bytes: &[u8]) {
    let (_, target) = TARGETS.iter().find(|(known, _)| *known == name).expect("a target of this name");
    target(bytes);
}
