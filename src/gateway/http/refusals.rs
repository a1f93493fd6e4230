//! `/api/refusals`: selects what was requested from the refusals that the detector published.

use crate::gateway::http::page::{Answer, Page};
use crate::gateway::view::Snapshot;
use crate::market::refusal::RefusedCandidate;
use crate::market::{InstrumentId, VenueId};
use crate::metrics::reasons::{AlertRefusal, Reason};
use crate::protocol::object;
use crate::protocol::refusals::RefusalPage;
use crate::wire::http::Request;
use crate::wire::query;

/// Most refused candidates of one page.
const CURRENT_MAX: usize = 500;

const NO_STORE: &str = "Cache-Control: no-store\r\n";

/// What a request selects; `None`: all.
#[derive(Default)]
struct RefusalFilter {
    symbol: Option<InstrumentId>,
    buy: Option<VenueId>,
    sell: Option<VenueId>,
    reason: Option<AlertRefusal>,
}

impl RefusalFilter {
    fn route(&self, buy: VenueId, sell: VenueId, reason: AlertRefusal) -> bool {
        self.buy.is_none_or(|asked| asked == buy)
            && self.sell.is_none_or(|asked| asked == sell)
            && self.reason.is_none_or(|asked| asked == reason)
    }

    fn candidate(&self, it: &RefusedCandidate) -> bool {
        self.symbol.is_none_or(|asked| asked == it.instrument)
            && self.route(it.buy.venue, it.sell.venue, it.grounds.reason)
    }
}

/// The page, or 400 or 404 for a parameter that names nothing.
pub fn answer(snapshot: &Snapshot<'_>, request: &Request) -> Answer {
    let directory = snapshot.directory;
    let value = |name: &str| query::value(&request.query, name).filter(|value| !value.is_empty());
    let symbol = value("symbol");
    let mut asked = RefusalFilter::default();
    if let Some(symbol) = &symbol {
        asked.symbol = directory.instrument_named(symbol);
        if asked.symbol.is_none() {
            let body = object(|o| {
                o.text("error", &format!("Unknown symbol: {symbol}")).text("symbol", symbol);
            });
            return Answer::Page(Page::json(404, NO_STORE, body));
        }
    }
    for (name, slot) in [("buy", &mut asked.buy), ("sell", &mut asked.sell)] {
        let Some(exchange) = value(name) else { continue };
        *slot = directory.venue_named(&exchange);
        if slot.is_none() {
            let available = directory.venues_on().map(|(_, venue)| venue.name.as_str());
            return unknown(&format!("Invalid exchange: {exchange}"), available);
        }
    }
    if let Some(word) = value("reason") {
        asked.reason = AlertRefusal::ALL.iter().copied().find(|it| it.word() == word);
        if asked.reason.is_none() {
            return unknown(&format!("Invalid reason: {word}"), AlertRefusal::ALL.iter().map(|it| it.word()));
        }
    }
    let found = snapshot.matrix.findings();
    let report = &found.refusals;
    let select = |all: &[RefusedCandidate]| all.iter().filter(|it| asked.candidate(it)).copied().collect::<Vec<_>>();
    let (current, examples) = (select(&report.current), select(&report.examples));
    let mut reasons = [0; AlertRefusal::ALL.len()];
    let mut routes: Vec<(&str, &str, [u64; AlertRefusal::ALL.len()])> = Vec::new();
    let name = |venue: VenueId| directory.venue(venue).name.as_str();
    for (buy, sell, reason, count) in report.routes.iter().filter(|it| asked.route(it.0, it.1, it.2)) {
        if asked.symbol.is_none() {
            reasons[reason.index()] += count;
        }
        // The counts of one route are adjacent.
        let route = (name(*buy), name(*sell));
        if routes.last().is_none_or(|last| (last.0, last.1) != route) {
            routes.push((route.0, route.1, [0; AlertRefusal::ALL.len()]));
        }
        if let Some(last) = routes.last_mut() {
            last.2[reason.index()] += count;
        }
    }
    let of_symbol = report.instruments.iter().filter(|it| asked.symbol == Some(it.0));
    for (_, reason, count) in of_symbol.filter(|it| asked.reason.is_none_or(|reason| reason == it.1)) {
        reasons[reason.index()] += count;
    }
    let page = RefusalPage {
        directory,
        symbol: symbol.as_deref(),
        reasons,
        routes,
        current: &current[..current.len().min(CURRENT_MAX)],
        current_count: current.len(),
        examples: &examples,
        untracked: report.untracked,
        unix_at: &|at| snapshot.unix_at(at),
        timestamp: snapshot.unix,
    };
    Answer::Page(Page::json(200, NO_STORE, page.text()))
}

fn unknown<'a>(error: &str, available: impl Iterator<Item = &'a str>) -> Answer {
    let body = object(|o| {
        o.text("error", error).texts("available", available);
    });
    Answer::Page(Page::json(400, NO_STORE, body))
}
