//! The files of the dashboard, embedded when the program was built; none if Node was not installed then. A page borrows
//! its file: nothing is copied, and the file system is not used.

use std::borrow::Cow;

use crate::gateway::http::page::Page;
use crate::wire::http::Request;

/// An embedded file.
#[derive(Clone, Copy, Debug)]
pub struct Asset {
    /// Path in the request; `/` for the page itself.
    pub path: &'static str,
    /// Entity tag with its quotes, derived from the content. Sent as a weak tag, since it is the same for both encodings.
    pub(crate) etag: &'static str,
    /// Content.
    pub plain: &'static [u8],
    /// Content, compressed with gzip.
    pub gzip: &'static [u8],
}

/// All files, listed by `build.rs`.
pub const FILES: &[Asset] = &include!(concat!(env!("OUT_DIR"), "/page.rs"));

/// Content type of pages.
pub(crate) const HTML: &str = "text/html; charset=utf-8";

/// Header lines of every HTML page: it may load scripts and styles only from this server, connect only to this server,
/// and not be framed. `'self'` covers WebSockets of the same host (CSP 3, 6.7.2.8).
pub(crate) const PAGE_LINES: &str = "Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; \
    img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'\r\n\
    Referrer-Policy: no-referrer\r\n";

/// Files under this path have a hash of their content in their name and never change.
const HASHED: &str = "/assets/";

/// The page for `request`; `None` if none of `files` has its path.
#[must_use]
pub fn answer(files: &[Asset], request: &Request) -> Option<Page> {
    let file = files.iter().find(|file| file.path == request.path)?;
    let kind = kind(file.path);
    let caching = if file.path.starts_with(HASHED) { "public, max-age=31536000, immutable" } else { "no-cache" };
    let mut lines = format!("Cache-Control: {caching}\r\nETag: W/{}\r\nVary: Accept-Encoding\r\n", file.etag);
    if kind == HTML {
        lines.push_str(PAGE_LINES);
    }
    if request.knows(file.etag) {
        return Some(Page { status: 304, kind: "", lines: lines.into(), body: Cow::Borrowed(&[]) });
    }
    // A file that compression does not make smaller is sent uncompressed.
    let gzip = request.gzip && file.gzip.len() < file.plain.len();
    if gzip {
        lines.push_str("Content-Encoding: gzip\r\n");
    }
    let body = if gzip { file.gzip } else { file.plain };
    Some(Page { status: 200, kind, lines: lines.into(), body: Cow::Borrowed(body) })
}

fn kind(path: &str) -> &'static str {
    match path.rsplit_once('.').map_or("html", |(_, extension)| extension) {
        "html" => HTML,
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        "json" | "webmanifest" => "application/json",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::http::{self, HeadLimits, Posts};

    const FILES: &[Asset] = &[
        Asset { path: "/", etag: "\"aa\"", plain: b"<!doctype html><p>page", gzip: b"gz" },
        Asset { path: "/assets/page-1f.js", etag: "\"bb\"", plain: b"let a", gzip: b"longer than it was" },
    ];

    fn ask(path: &str, headers: &str) -> Option<Page> {
        let limits = HeadLimits { head_max: 8192, lines_max: 64, line_max: 4096, posts: Posts::Only(&[]), body_max: 0 };
        let text = format!("GET {path} HTTP/1.1\r\nHost: a\r\n{headers}\r\n");
        let (request, _) = http::parse(text.as_bytes(), limits).unwrap().unwrap();
        answer(FILES, &request)
    }

    #[test]
    fn a_file_is_compressed_for_clients_that_accept_it() {
        let page = ask("/", "Accept-Encoding: br, gzip;q=0.8\r\n").unwrap();
        assert_eq!((page.status, page.kind, &*page.body), (200, HTML, b"gz".as_slice()));
        assert!(page.lines.contains("Content-Encoding: gzip\r\n") && page.lines.contains("Vary: Accept-Encoding\r\n"));
        for headers in ["", "Accept-Encoding: br\r\n", "Accept-Encoding: gzip;q=0, br\r\n"] {
            let page = ask("/", headers).unwrap();
            assert!(page.body.starts_with(b"<!doctype") && !page.lines.contains("Content-Encoding"), "{headers}");
        }
        let page = ask("/assets/page-1f.js", "Accept-Encoding: gzip\r\n").unwrap();
        assert_eq!(&*page.body, b"let a", "a file that grows is sent uncompressed");
    }

    #[test]
    fn a_page_is_revalidated_and_hashed_files_are_not() {
        let (page, script) = (ask("/", "").unwrap(), ask("/assets/page-1f.js", "").unwrap());
        assert!(page.lines.contains("Cache-Control: no-cache\r\n") && page.lines.contains("ETag: W/\"aa\"\r\n"));
        assert!(script.lines.contains("max-age=31536000, immutable"));
        assert_eq!(script.kind, "text/javascript; charset=utf-8");
        for known in ["\"aa\"", "W/\"aa\"", "\"x\", \"aa\"", "*"] {
            let page = ask("/", &format!("If-None-Match: {known}\r\n")).unwrap();
            assert_eq!((page.status, page.body.len()), (304, 0), "{known}");
            assert!(page.lines.contains("ETag: W/\"aa\""));
        }
        assert_eq!(ask("/", "If-None-Match: \"bb\"\r\n").unwrap().status, 200);
    }

    #[test]
    fn a_page_may_load_from_and_connect_to_this_server_only() {
        let lines = ask("/", "").unwrap().lines;
        for part in ["default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'"] {
            assert!(lines.contains(part), "{lines}");
        }
        assert!(!lines.contains("unsafe") && lines.contains("Referrer-Policy: no-referrer\r\n"), "{lines}");
        assert!(ask("/assets/nothing.js", "").is_none() && ask("/index.html", "").is_none());
    }
}
