use super::*;

const READ_ONLY: Refusal = Refusal::Method { allowed: "GET, HEAD, OPTIONS" };
use proptest::prelude::*;

const LIMITS: HeadLimits =
    HeadLimits { head_max: 8192, lines_max: 64, line_max: 4096, posts: Posts::Only(&[]), body_max: 0 };

fn check(request: &[u8]) -> Result<Option<(Request, usize)>, Refusal> {
    parse(request, LIMITS)
}

/// The refusal of a request with these lines; adds a host and the end of the head.
fn refusal(lines: &str) -> Option<Refusal> {
    check(format!("{lines}\r\nHost: a\r\n\r\n").as_bytes()).err()
}

const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

fn upgrade(lines: &str) -> Upgrade {
    check(format!("GET /ws HTTP/1.1\r\nHost: a\r\n{lines}\r\n").as_bytes()).unwrap().unwrap().0.upgrade
}

#[test]
fn a_plain_request_is_read() {
    let bytes = b"GET /a/b?x=%2F&y HTTP/1.1\r\nHost: localhost:3000\r\nAccept: */*\r\n\r\nGET";
    let (request, length) = check(bytes).unwrap().unwrap();
    assert_eq!((request.path.as_str(), request.query.as_str()), ("/a/b", "x=%2F&y"));
    assert!(request.keep_alive);
    assert_eq!(length, bytes.len() - 3);
    let (old, _) = check(b"GET / HTTP/1.0\r\n\r\n").unwrap().unwrap();
    assert!(!old.keep_alive);
    let (absolute, _) = check(b"GET http://a:1/x HTTP/1.1\r\nHost: a:1\r\n\r\n").unwrap().unwrap();
    assert_eq!(absolute.path, "/x");
}

#[test]
fn lines_of_forwarded_addresses_are_joined_in_their_order() {
    let bytes = b"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 1.2.3.4, 10.0.0.1\r\nx-forwarded-for:10.0.0.2\r\n\r\n";
    let (request, _) = check(bytes).unwrap().unwrap();
    assert_eq!(request.forwarded_for, "1.2.3.4, 10.0.0.1,10.0.0.2");
}

#[test]
fn a_head_is_the_same_however_it_is_cut() {
    let bytes = b"GET /ws?x=1 HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n";
    for cut in 0..bytes.len() {
        assert_eq!(check(&bytes[..cut]), Ok(None), "cut at {cut}");
    }
    assert!(matches!(check(bytes), Ok(Some(_))));
}

#[test]
fn one_empty_line_before_a_request_is_ignored() {
    let bytes = b"\r\nGET /x HTTP/1.1\r\nHost: a\r\n\r\nGET";
    for cut in 0..bytes.len() - 3 {
        assert_eq!(check(&bytes[..cut]), Ok(None), "cut at {cut}");
    }
    let (request, length) = check(bytes).unwrap().unwrap();
    assert_eq!((request.path.as_str(), length), ("/x", bytes.len() - 3));
}

#[test]
fn smuggling_is_refused() {
    use Refusal::{Body, Chunked, Malformed};
    for (lines, expected) in [
        ("GET / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked", Malformed),
        ("GET / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6", Malformed),
        ("GET / HTTP/1.1\r\nContent-Length: 0\r\nContent-Length: 0", Malformed),
        ("GET / HTTP/1.1\r\nContent-Length: 5, 5", Malformed),
        ("GET / HTTP/1.1\r\nContent-Length: +5", Malformed),
        ("GET / HTTP/1.1\r\nContent-Length: -5", Malformed),
        ("GET / HTTP/1.1\r\nContent-Length: 0x5", Malformed),
        ("GET / HTTP/1.1\r\nContent-Length: 5 5", Malformed),
        ("GET / HTTP/1.1\r\nContent-Length:", Malformed),
        ("GET / HTTP/1.1\r\nContent-Length: 99999999999999999999", Malformed),
        ("GET / HTTP/1.1\r\nTransfer-Encoding: chunked, x", Malformed),
        ("GET / HTTP/1.1\r\nTransfer-Encoding: x, chunked", Malformed),
        ("GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity", Malformed),
        ("GET / HTTP/1.1\r\nTransfer-Encoding: \tchunked\x0b", Malformed),
        ("GET / HTTP/1.1\r\nTransfer-Encoding : chunked", Malformed),
        ("GET / HTTP/1.1\r\n Transfer-Encoding: chunked", Malformed),
        ("GET / HTTP/1.1\r\nX: a\r\n b", Malformed),
        ("GET / HTTP/1.1\r\nX: a\nY: b", Malformed),
        ("GET / HTTP/1.1\r\nX: a\rY: b", Malformed),
        ("GET / HTTP/1.1\r\nX: a\0b", Malformed),
        ("GET / HTTP/1.1\r\nX", Malformed),
        ("GET / HTTP/1.1\r\n: x", Malformed),
        ("GET / HTTP/1.1\r\nX Y: x", Malformed),
        ("\r\n\r\nGET / HTTP/1.1", Malformed),
        ("\nGET / HTTP/1.1", Malformed),
        (" \r\nGET / HTTP/1.1", Malformed),
        ("GET / HTTP/1.1\r\nContent-Length: 5", Body),
        ("GET / HTTP/1.1\r\nTransfer-Encoding: chunked", Chunked),
        ("GET / HTTP/1.1\r\nContent-Length: 1048576", Body),
        ("GET / HTTP/1.1\r\nExpect: 200-ok", Refusal::Expectation),
        ("GET / HTTP/1.1\r\nExpect:", Refusal::Expectation),
        ("GET / HTTP/1.1\r\nAuthorization: Bearer a\r\nAuthorization: Bearer b", Malformed),
    ] {
        assert_eq!(refusal(lines), Some(expected), "{lines:?}");
    }
}

#[test]
fn heads_have_limits_and_one_host() {
    let long = "x".repeat(4096);
    assert_eq!(refusal(&format!("GET / HTTP/1.1\r\nX: {long}")), Some(Refusal::Head));
    assert_eq!(refusal(&format!("GET / HTTP/1.1\r\n{}Y: z", "X: y\r\n".repeat(100))), Some(Refusal::Head));
    assert_eq!(refusal(&format!("GET / HTTP/1.1\r\n{}Y: z", "X: y\r\n".repeat(62))), None);
    assert_eq!(refusal(&format!("GET / HTTP/1.1\r\n{}Y: z", "X: y\r\n".repeat(63))), Some(Refusal::Head));
    assert_eq!(refusal(&format!("GET /{long}{long} HTTP/1.1")), Some(Refusal::Target));
    assert_eq!(refusal(&format!("GET /{long} HTTP/1.1")), Some(Refusal::Target));
    let fits = "x".repeat(4096 - "GET / HTTP/1.1\r\n".len());
    assert_eq!(refusal(&format!("GET /{fits} HTTP/1.1")), None);
    // Rejected before the head is complete.
    assert_eq!(check(&[b'x'; 4097]), Err(Refusal::Target));
    for head in [
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost:\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: :\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: :80\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a:b:c:d\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a:b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a:80:80\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a:99999\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a:65536\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a:-1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a:+1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: [::1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: ::1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: []\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: [::1]80\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: [::1]:x\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: [1.2.3.4]\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: [::1]]\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a]\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: [g::1]\r\n\r\n",
        "GET http://a:99999/ HTTP/1.1\r\nHost: a:99999\r\n\r\n",
        "GET http://u@a/ HTTP/1.0\r\n\r\n",
        "GET http:/// HTTP/1.0\r\n\r\n",
        "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        assert_eq!(check(head.as_bytes()), Err(Refusal::Malformed), "{head:?}");
    }
    for host in [
        "a",
        "a:",
        "a:0",
        "a:65535",
        "a.b-c_d.example:3000",
        "127.0.0.1:80",
        "[::1]",
        "[::1]:3000",
        "[::ffff:1.2.3.4]:1",
    ] {
        assert!(matches!(check(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes()), Ok(Some(_))), "{host}");
    }
}

#[test]
fn a_path_names_the_methods_that_it_accepts() {
    let posts = HeadLimits { posts: Posts::Only(&["/p"]), body_max: 10, ..LIMITS };
    let allowed = |head: &str| match parse(format!("{head} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes(), posts) {
        Ok(_) => "",
        Err(Refusal::Method { allowed }) => allowed,
        Err(other) => panic!("{head}: {other:?}"),
    };
    for head in ["POST /p", "OPTIONS /p", "GET /", "HEAD /", "OPTIONS /"] {
        assert_eq!(allowed(head), "", "{head}");
    }
    for head in ["GET /p", "HEAD /p", "DELETE /p", "PUT /p?a=1"] {
        assert_eq!(allowed(head), "POST, OPTIONS", "{head}");
    }
    for head in ["POST /", "POST /p/", "DELETE /"] {
        assert_eq!(allowed(head), "GET, HEAD, OPTIONS", "{head}");
    }
}

#[test]
fn what_waits_for_100_continue_is_served() {
    let posts = HeadLimits { posts: Posts::Only(&["/p"]), body_max: 10, ..LIMITS };
    let chunks = b"POST /p HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    assert_eq!(parse(chunks, posts).err().map(Refusal::status), Some((411, "Length Required")));
    let read = |head: &str, lines: &str| {
        let text = format!("{head}\r\nHost: a\r\nExpect: 100-Continue\r\n{lines}\r\n");
        parse(text.as_bytes(), posts).map(|read| read.unwrap().0.expects_continue)
    };
    assert_eq!(read("GET / HTTP/1.1", ""), Ok(false));
    assert_eq!(read("POST /p HTTP/1.1", ""), Ok(false));
    assert_eq!(read("POST /p HTTP/1.1", "Content-Length: 5\r\n"), Ok(true));
    assert_eq!(read("POST /p HTTP/1.0", "Content-Length: 5\r\n"), Ok(false));
    assert_eq!(read("POST /p HTTP/1.1", "Content-Length: 11\r\n"), Err(Refusal::Body), "before it is sent");
}

#[test]
fn paths_mean_what_they_say() {
    for path in [
        "/../x",
        "/a/../b",
        "/%2e%2e/x",
        "/.%2E/x",
        "/./x",
        "/a%00",
        "/a%2fb",
        "/a%5cb",
        "/a\\b",
        "/%c0%af",
        "/%ff",
        "/%zz",
        "/%",
        "//x",
        "/a%0d%0ab",
        "x",
        "/a#b",
        "/\u{e9}",
        "/a\u{7f}",
        "/a\"b",
        "/<script>",
    ] {
        assert_eq!(refusal(&format!("GET {path} HTTP/1.1")), Some(Refusal::Malformed), "{path:?}");
    }
}

#[test]
fn methods_and_versions() {
    for (line, expected) in [
        ("POST / HTTP/1.1", READ_ONLY),
        ("TRACE / HTTP/1.1", READ_ONLY),
        ("CONNECT a:1 HTTP/1.1", READ_ONLY),
        ("BREW / HTTP/1.1", Refusal::UnknownMethod),
        ("get / HTTP/1.1", Refusal::UnknownMethod),
        ("GET /", Refusal::Version),
        ("GET / HTTP/1.2", Refusal::Version),
        ("GET / HTTP/2.0", Refusal::Version),
        ("GET / HTTP/0.9", Refusal::Version),
        ("GET / http/1.1", Refusal::Malformed),
        ("GET  / HTTP/1.1", Refusal::Malformed),
        ("GET /a b HTTP/1.1", Refusal::Malformed),
        ("GET", Refusal::Malformed),
        ("GET * HTTP/1.1", Refusal::Malformed),
        ("\x16\x03\x01", Refusal::Malformed),
    ] {
        assert_eq!(refusal(line), Some(expected), "{line:?}");
    }
    assert_eq!(check(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), Err(Refusal::Version));
    assert_eq!(refusal("OPTIONS * HTTP/1.1"), None);
}

#[test]
fn upgrades_are_read_as_the_rfc_says() {
    let good = format!("Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n{KEY}");
    assert_eq!(upgrade(&good), Upgrade::WebSocket("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=".into()));
    let shouted =
        format!("UPGRADE: WebSocket\r\nConnection: keep-alive, UPGRADE\r\nsec-websocket-version: 13\r\n{KEY}");
    assert!(matches!(upgrade(&shouted), Upgrade::WebSocket(_)));
    let without = |part: &str| good.replace(part, "");
    assert_eq!(upgrade(&without("Upgrade: websocket\r\n")), Upgrade::None);
    assert_eq!(upgrade(&without("Connection: Upgrade\r\n")), Upgrade::Broken);
    assert_eq!(upgrade(&without(KEY)), Upgrade::Broken);
    assert_eq!(upgrade(&without("Sec-WebSocket-Version: 13\r\n")), Upgrade::Version);
    assert_eq!(upgrade(&good.replace("13", "12")), Upgrade::Version);
    assert_eq!(upgrade(&good.replace("dGhlIHNhbXBsZSBub25jZQ==", "c2hvcnQ=")), Upgrade::Broken);
    assert_eq!(upgrade(&format!("{good}{KEY}")), Upgrade::Broken);
    for version in ["13", "8", ""] {
        assert_eq!(upgrade(&format!("{good}Sec-WebSocket-Version: {version}\r\n")), Upgrade::Broken, "{version}");
        assert_eq!(upgrade(&format!("Sec-WebSocket-Version: {version}\r\n{good}")), Upgrade::Broken, "{version}");
    }
    assert_eq!(upgrade(&good.replace("Upgrade: websocket", "Upgrade: h2c")), Upgrade::None);
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = check(&bytes);
    }
}
