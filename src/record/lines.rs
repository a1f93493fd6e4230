//! Output of `spreadwire replay`: one JSON object per line, for quotes when they enter the matrix and for opportunities
//! when they open, repeat and close. Prices and sizes are exact decimal texts.

use std::io::Write as _;

use crate::market::opportunity::{Change, OpportunityEvent};
use crate::market::{Decimal, Directory, PairId};
use crate::matrix::{CellQuote, CellState};
use crate::time::UnixNs;
use crate::wire::json::escape_into;

/// Appends the line of a changed cell, newline included. `now` is the recorded time.
pub(crate) fn write_quote(directory: &Directory, pair: PairId, cell: &CellQuote, now: UnixNs, out: &mut Vec<u8>) {
    let (instrument, venue) = directory.split(pair);
    out.extend_from_slice(b"{\"type\":\"quote\"");
    text("symbol", directory.symbol(instrument), out);
    text("exchange", &directory.venue(venue).name, out);
    number("bid", cell.bid.price, out);
    number("bidSize", cell.bid.size, out);
    number("ask", cell.ask.price, out);
    number("askSize", cell.ask.size, out);
    let state = match cell.state {
        CellState::Live => "live",
        CellState::Halted => "halted",
        CellState::Void | CellState::Suspect | CellState::Empty => "void",
    };
    text("state", state, out);
    // Writing to a Vec cannot fail.
    let _ = match cell.exchange_time.ms() {
        0 => write!(out, ",\"exchangeTs\":null"),
        ms => write!(out, ",\"exchangeTs\":{ms}"),
    };
    close(now, out);
}

/// Appends the line of an opportunity, newline included. `now` is the recorded time.
pub(crate) fn write_opportunity(directory: &Directory, event: &OpportunityEvent, now: UnixNs, out: &mut Vec<u8>) {
    let opportunity = &event.opportunity;
    out.extend_from_slice(b"{\"type\":\"opportunity\"");
    let change = match event.change {
        Change::Opened => "opened",
        Change::Repeated => "repeated",
        Change::Updated => "updated",
        Change::Closed(_) => "closed",
    };
    text("change", change, out);
    text("symbol", directory.symbol(opportunity.instrument), out);
    text("buyExchange", &directory.venue(opportunity.buy.venue).name, out);
    text("sellExchange", &directory.venue(opportunity.sell.venue).name, out);
    number("buyPrice", opportunity.buy.level.price, out);
    number("sellPrice", opportunity.sell.level.price, out);
    number("executableSize", opportunity.executable_size(), out);
    for (key, value) in [
        (",\"spreadPct\":", opportunity.gross_pct),
        (",\"netSpreadPct\":", opportunity.net_pct),
        (",\"peakSpreadPct\":", opportunity.peak_gross_pct),
    ] {
        out.extend_from_slice(key.as_bytes());
        value.write(out);
    }
    let _ = write!(out, ",\"alert\":{}", event.alert);
    if let Some(reason) = event.change.reason() {
        text("reason", reason.word(), out);
    }
    close(now, out);
}

fn text(key: &str, value: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(key.as_bytes());
    out.extend_from_slice(b"\":\"");
    escape_into(value, out);
    out.push(b'"');
}

fn number(key: &str, value: Decimal, out: &mut Vec<u8>) {
    text(key, &value.to_string(), out);
}

fn close(now: UnixNs, out: &mut Vec<u8>) {
    text("source", "replay", out);
    let _ = writeln!(out, ",\"timestamp\":{}}}", now.ms());
}
