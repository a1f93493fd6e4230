//! Minimal venues for the simulator's own tests. A client sends `sub NATIVE` and receives `ok NATIVE` or `no NATIVE`,
//! then quotes as one line of words.

use crate::market::InstrumentId;
use crate::time::{MonoNs, UnixNs};
use crate::venues::listing::{Listing, ListingEntry};
use crate::venues::{
    Cut, DecodeError, Decoded, ExchangeSide, Facts, FeedCodec, Frame, Keepalive, Market, Messages, Opening, Requests,
    StampFacts, Symbols, Venue, VenueLimits, VenueQuote,
};

/// Three venues: one that pings, one whose address has no path, and one that hands out a token over HTTP and lists no
/// dollar markets.
pub static PLAIN: &[&dyn Venue] = &[
    &Plain { facts: &PINGS, dollars: true },
    &Plain { facts: &BARE, dollars: true },
    &Plain { facts: &ASKED, dollars: false },
];

static PINGS: Facts = facts("plain", "wss://plain.example:9443/v1/ws", Opening::Direct, Keepalive::Server);
static BARE: Facts = facts(
    "bare",
    "wss://bare.example",
    Opening::Direct,
    Keepalive::Client { every_ms: 18_000, cut: Cut::Unheard { ms: 28_000 } },
);
static ASKED: Facts = facts("asked", "https://asked.example", Opening::Token { path: "/token" }, Keepalive::Server);

const fn facts(name: &'static str, address: &'static str, opening: Opening, keepalive: Keepalive) -> Facts {
    Facts {
        name,
        title: name,
        address,
        opening,
        taker_fee_pct: "0.1",
        keepalive,
        message_max: 64 * 1024,
        request_gap_ms: 0,
        books: None,
        channel: "toy",
        stamps: StampFacts::MILLISECONDS,
        limits: VenueLimits::UNPUBLISHED,
        docs: "none",
    }
}

struct Plain {
    facts: &'static Facts,
    dollars: bool,
}

impl Venue for Plain {
    fn facts(&self) -> &'static Facts {
        self.facts
    }

    fn native(&self, base: &str, quote: &str) -> Result<String, String> {
        if quote == "USD" && !self.dollars { Err("no dollars here".to_owned()) } else { Ok(format!("{base}-{quote}")) }
    }

    fn symbol_of(&self) -> fn(&str) -> Option<String> {
        |native| Some(native.replacen('-', "/", 1))
    }

    fn codec(&self, symbols: Symbols) -> Box<dyn FeedCodec> {
        Box::new(Deaf(symbols))
    }

    fn exchange_side(&self) -> Box<dyn ExchangeSide> {
        Box::new(PlainSide::default())
    }

    fn listing(&self) -> Listing {
        Listing { address: "http://127.0.0.1", path: "/" }
    }

    fn read_listing(&self, _: &[u8]) -> Result<Vec<ListingEntry>, DecodeError> {
        Err(DecodeError::Shape("it lists nothing"))
    }

    fn rest(&self, method: &str, target: &str, base: &str, _: &dyn Market) -> Option<String> {
        ((method, target) == ("POST", "/token")).then(|| format!("{{\"endpoint\":\"{base}/\"}}"))
    }
}

/// A codec that reads nothing; the simulator does not use it.
struct Deaf(Symbols);

impl FeedCodec for Deaf {
    fn opened(&mut self, _: &mut Requests) {}

    fn read(&mut self, _: &[u8], _: MonoNs, _: &mut Decoded) -> Result<Frame, DecodeError> {
        Ok(Frame::Unused)
    }

    fn resubscribe(&mut self, _: &[InstrumentId], _: &mut Requests) {}

    fn symbols(&self) -> &Symbols {
        &self.0
    }
}

#[derive(Default)]
struct PlainSide(Vec<String>);

impl ExchangeSide for PlainSide {
    fn opened(&mut self, target: &str, _: &dyn Market, out: &mut Messages) {
        out.push(format!("hello {target}"));
    }

    fn receive(&mut self, text: &str, market: &dyn Market, out: &mut Messages) {
        let native = text.strip_prefix("sub ").unwrap_or(text);
        match market.quote(native) {
            None => out.push(format!("no {native}")),
            Some(quote) => {
                self.0.push(native.to_owned());
                out.push(format!("ok {native} {}", market.now().ms()));
                out.push(line(&quote));
            }
        }
    }

    fn quote(&mut self, quote: &VenueQuote, out: &mut Messages) {
        if self.0.contains(&quote.native) {
            out.push(line(quote));
        }
    }

    fn statistics(&mut self, quote: &VenueQuote, out: &mut Messages) {
        if self.0.contains(&quote.native) {
            out.push(format!(
                "day {} {} {} {}",
                quote.native,
                quote.day.high,
                quote.day.low,
                quote.day.exchange_time.ms()
            ));
        }
    }

    fn heartbeat(&mut self, now: UnixNs, out: &mut Messages) {
        out.push(format!("beat {}", now.ms()));
    }
}

/// The line that represents a quote.
pub fn line(q: &VenueQuote) -> String {
    format!("quote {} {} {} {} {} {}", q.native, q.bid.price, q.bid.size, q.ask.price, q.ask.size, q.sequence)
}
