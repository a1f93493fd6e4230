//! The body of `/api/refusals`: why candidates above the threshold are not alerted.

use crate::market::refusal::{Deciding, RefusedCandidate};
use crate::market::{Directory, Figure};
use crate::metrics::reasons::{AlertRefusal, Reason};
use crate::protocol::{Object, array, object};
use crate::time::{MonoNs, UnixNs};

/// What the page contains.
pub(crate) struct RefusalPage<'a> {
    /// Names.
    pub directory: &'a Directory,
    /// The requested symbol.
    pub symbol: Option<&'a str>,
    /// By reason: how often a refusal began.
    pub reasons: [u64; AlertRefusal::ALL.len()],
    /// The same by names of buy and sell exchange.
    pub routes: Vec<(&'a str, &'a str, [u64; AlertRefusal::ALL.len()])>,
    /// Candidates that are refused now, the first of them.
    pub current: &'a [RefusedCandidate],
    /// Number of candidates that are refused now.
    pub(crate) current_count: usize,
    /// Examples, the newest first.
    pub examples: &'a [RefusedCandidate],
    /// How often a refused candidate was not counted.
    pub(crate) untracked: u64,
    /// The wall-clock time of a moment.
    pub(crate) unix_at: &'a dyn Fn(MonoNs) -> UnixNs,
    /// Now.
    pub timestamp: UnixNs,
}

impl RefusalPage<'_> {
    /// The page as JSON.
    #[must_use]
    pub fn text(&self) -> Vec<u8> {
        object(|root| {
            if let Some(symbol) = self.symbol {
                root.text("symbol", symbol);
            }
            root.integer("timestamp", self.timestamp.ms());
            root.object("reasons", |o| counts(&self.reasons, |_| true, o));
            array(&self.routes, root.key("routes"), |(buy, sell, reasons), out| {
                let mut o = Object::open(out);
                o.text("buyExchange", buy).text("sellExchange", sell);
                o.object("reasons", |o| counts(reasons, |count| count > 0, o));
                o.close();
            });
            array(self.current, root.key("current"), |it, out| self.candidate(it, out));
            root.integer("currentCount", self.current_count as u64);
            array(self.examples, root.key("examples"), |it, out| self.candidate(it, out));
            root.integer("untracked", self.untracked);
        })
    }

    fn candidate(&self, it: &RefusedCandidate, out: &mut Vec<u8>) {
        let mut o = Object::open(out);
        o.text("reason", it.grounds.reason.word());
        if let Some(leg) = it.grounds.leg {
            o.text("leg", leg.word());
        }
        if let Some(fault) = it.grounds.fault {
            o.text("fault", fault.word());
        }
        match it.grounds.figure {
            Some(Deciding::Time { ns, limit_ns }) => {
                milliseconds(ns).write(o.key("value"));
                milliseconds(limit_ns).write(o.key("limit"));
                o.text("unit", "ms");
            }
            Some(Deciding::Share { pct, limit_pct }) => {
                o.percent("value", pct).percent("limit", limit_pct).text("unit", "pct");
            }
            None => {}
        }
        let name = |venue| &self.directory.venue(venue).name;
        o.text("symbol", self.directory.symbol(it.instrument));
        o.text("buyExchange", name(it.buy.venue)).text("sellExchange", name(it.sell.venue));
        it.buy.price.write(o.key("buyPrice"));
        it.sell.price.write(o.key("sellPrice"));
        o.percent("spreadPct", it.gross_pct).percent("netSpreadPct", it.net_pct);
        let age = |received| it.seen.since(received) / crate::time::MS;
        o.integer("buyAgeMs", age(it.buy.received)).integer("sellAgeMs", age(it.sell.received));
        o.integer("since", (self.unix_at)(it.since).ms()).integer("timestamp", (self.unix_at)(it.seen).ms());
        o.close();
    }
}

/// Adds the counters that `is_shown`, by reason.
fn counts(counts: &[u64; AlertRefusal::ALL.len()], is_shown: impl Fn(u64) -> bool, o: &mut Object<'_>) {
    for (reason, count) in AlertRefusal::ALL.iter().zip(counts).filter(|(_, count)| is_shown(**count)) {
        o.integer(reason.word(), *count);
    }
}

/// Nanoseconds as exact milliseconds.
fn milliseconds(ns: u64) -> Figure {
    Figure::new(false, u128::from(ns), 6)
}
