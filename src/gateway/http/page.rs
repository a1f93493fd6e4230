//! What a request is answered with. Pure.

use std::borrow::Cow;

use crate::protocol::object;

/// Answer to a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// A page.
    Page(Page),
    /// A stream of these pairs.
    Stream {
        /// Pairs as the client spells them, each once.
        pairs: Vec<String>,
        /// Every change, instead of bursts.
        raw: bool,
        /// More fields with each price, and last known prices, too.
        extended: bool,
    },
}

/// A page.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    /// HTTP status.
    pub status: u16,
    /// Content type; empty for a page without a body.
    pub kind: &'static str,
    /// Further header lines, each ending with CR LF.
    pub lines: Cow<'static, str>,
    /// Body; borrowed if it is an embedded file.
    pub body: Cow<'static, [u8]>,
}

impl Page {
    /// The reason phrase of the status.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self.status {
            200 => "OK",
            204 => "No Content",
            304 => "Not Modified",
            400 => "Bad Request",
            401 => "Unauthorized",
            404 => "Not Found",
            429 => "Too Many Requests",
            503 => "Service Unavailable",
            _ => "Error",
        }
    }

    /// A page without a body.
    #[must_use]
    pub fn empty(status: u16, kind: &'static str, lines: impl Into<Cow<'static, str>>) -> Self {
        Self { status, kind, lines: lines.into(), body: Cow::Borrowed(&[]) }
    }

    /// A page of JSON.
    #[must_use]
    pub fn json(status: u16, lines: &'static str, body: Vec<u8>) -> Self {
        Self { status, kind: "application/json", lines: lines.into(), body: body.into() }
    }

    /// An error as JSON.
    #[must_use]
    pub fn failure(status: u16, text: &str) -> Self {
        let lines = if status == 503 { "Retry-After: 5\r\n" } else { "" };
        let body = object(|o| {
            o.text("error", text);
        });
        Self::json(status, lines, body)
    }

    /// The limit of streams is reached.
    #[must_use]
    pub(crate) fn at_capacity() -> Self {
        Self::failure(503, "Service temporarily at capacity. Please try again in a moment.")
    }
}
