//! Polls a gateway: fetches its pages one after the other. A stage on its own thread, because a page may be slow and
//! keys must not wait for it.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::Duration;

use serde::de::DeserializeOwned;

use crate::log;
use crate::net::page::{PageClient, PageError};
use crate::stage::Stage;
use crate::time::{Clock, MonoNs, SECOND};
use crate::top::pages::{Instruments, PricesPage, RefusalsPage, Sample, StatusPage};
use crate::wire::query;

/// Interval between two samples.
const EVERY_NS: u64 = SECOND;

/// The pages of a sample in JSON, in the order of their members in [`json`].
const TARGETS: [(&str, &str); 4] = [
    ("status", "/api/status"),
    ("opportunities", "/api/opportunities"),
    ("latency", "/api/latency"),
    ("instruments", "/api/instruments"),
];

/// Further pages, which earlier gateways do not have: they are `null` then.
const LATER_TARGETS: [(&str, &str); 3] =
    [("refusals", "/api/refusals"), ("survival", "/api/survival"), ("precision", "/api/precision")];

/// Fetches one sample.
///
/// # Errors
/// The page and the reason, as text.
pub fn poll(pages: &PageClient, symbol: Option<&str>) -> Result<Sample, String> {
    let status: StatusPage = read(pages, "/api/status")?;
    if status.process.version.is_empty() {
        return Err(format!("{}/api/status is not spreadwire's", pages.base()));
    }
    let prices = symbol.map(|symbol| prices(pages, symbol)).transpose()?;
    Ok(Sample {
        status,
        opportunities: read(pages, "/api/opportunities")?,
        refusals: refusals(pages)?,
        latency: read(pages, "/api/latency")?,
        instruments: read::<Instruments>(pages, "/api/instruments")?.instruments,
        prices,
    })
}

/// Refusals. Earlier gateways do not have the page.
fn refusals(pages: &PageClient) -> Result<RefusalsPage, String> {
    match pages.get("/api/refusals") {
        Err(PageError::Status(404)) => Ok(RefusalsPage::default()),
        got => parsed(pages, "/api/refusals", got),
    }
}

/// Prices of one instrument. No price on any exchange is not an error.
fn prices(pages: &PageClient, symbol: &str) -> Result<PricesPage, String> {
    let target = format!("/api/exchanges/prices?extended=1&symbol={}", query::encoded(symbol));
    match pages.get(&target) {
        Err(PageError::Status(404)) => Ok(PricesPage::default()),
        got => parsed(pages, &target, got),
    }
}

/// The same pages as one JSON object, unchanged except for characters that would disturb a terminal.
///
/// # Errors
/// The page and the reason, as text.
pub fn json(pages: &PageClient) -> Result<String, String> {
    let mut text = String::from("{");
    for (at, (name, target)) in TARGETS.into_iter().chain(LATER_TARGETS).enumerate() {
        let got = match pages.get(target) {
            Err(PageError::Status(404)) if at >= TARGETS.len() => Ok(b"null".to_vec()),
            got => got,
        };
        let page = got.clone().ok().and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default();
        parsed::<serde::de::IgnoredAny>(pages, target, got)?;
        text.push_str(if at > 0 { "," } else { "" });
        text.push_str(&format!("\"{name}\":"));
        text.push_str(page.trim());
    }
    text.push('}');
    Ok(escape_unruly(&text))
}

/// Escapes characters that would disturb a terminal. In JSON they can occur only within strings, where an escape means
/// the same.
fn escape_unruly(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        if log::is_unruly(c) && !c.is_ascii_whitespace() {
            c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| text.push_str(&format!("\\u{unit:04x}")));
        } else {
            text.push(c);
        }
    }
    text
}

fn read<T: DeserializeOwned>(pages: &PageClient, target: &str) -> Result<T, String> {
    parsed(pages, target, pages.get(target))
}

fn parsed<T: DeserializeOwned>(pages: &PageClient, target: &str, got: Result<Vec<u8>, PageError>) -> Result<T, String> {
    let page = || format!("{}{}", pages.base(), target.split('?').next().unwrap_or_default());
    let bytes = got.map_err(|why| format!("{}: {why}", page()))?;
    serde_json::from_slice(&bytes).map_err(|why| format!("{}: unexpected response: {why}", page()))
}

/// Polls repeatedly, and immediately when another symbol is requested.
pub(crate) struct PagePoller {
    pages: PageClient,
    symbol: Option<String>,
    wanted: Receiver<Option<String>>,
    seen: SyncSender<Result<Sample, String>>,
    next: MonoNs,
}

impl PagePoller {
    /// Polls `pages`. Receives on `wanted` the symbol whose prices are requested, and sends samples on `seen`.
    #[must_use]
    pub fn new(pages: PageClient, wanted: Receiver<Option<String>>, seen: SyncSender<Result<Sample, String>>) -> Self {
        Self { pages, symbol: None, wanted, seen, next: MonoNs(0) }
    }
}

impl Stage for PagePoller {
    fn name(&self) -> &str {
        "poller"
    }

    fn turn(&mut self, wait: Duration) -> usize {
        let left = Duration::from_nanos(self.next.since(Clock::System.now()));
        match self.wanted.recv_timeout(left.min(wait)) {
            Ok(symbol) => {
                self.symbol = self.wanted.try_iter().last().unwrap_or(symbol);
                self.next = MonoNs(0);
            }
            Err(RecvTimeoutError::Timeout) => {}
            // The display has ended.
            Err(RecvTimeoutError::Disconnected) => std::thread::sleep(wait),
        }
        if Clock::System.now() < self.next {
            return 0;
        }
        // Fails only if the display has ended.
        let _ = self.seen.send(poll(&self.pages, self.symbol.as_deref()));
        self.next = Clock::System.now().plus(EVERY_NS);
        1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_that_disturb_a_terminal_are_escaped_and_mean_the_same() {
        let json = "{\"a\":\"x\u{85}\u{202e}y\u{e0001}z\\u001b\"}\n";
        let shown = escape_unruly(json);
        assert_eq!(shown, "{\"a\":\"x\\u0085\\u202ey\\udb40\\udc01z\\u001b\"}\n");
        let read = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!(read(&shown), read(json));
    }
}
