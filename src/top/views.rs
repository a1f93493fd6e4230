//! The views as tables: their content, words and order. Pure.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use serde_json::Value;

use crate::log;
use crate::time::MonoNs;
use crate::top::pages::{OpportunityEntry, Percentiles, PriceEntry, RefusalEntry, Sample, StatusPage, Text, VenuePage};
use crate::top::state::{Display, DisplayView};
use crate::top::table::{Cell, Column, TableLine, TextTable, Tone, cell, cut, left, rest, right};

/// The first lines: the gateway, the source of its numbers, and present problems.
#[must_use]
pub(crate) fn banner(state: &Display, now: MonoNs, most: usize) -> Vec<TableLine> {
    let mut lines = Vec::new();
    let url = log::tamed(&state.url);
    match &state.sample {
        None => lines.push(vec![cell("spreadwire", Tone::Head), cell(format!("  {url}  not seen yet"), Tone::Dim)]),
        Some(sample) => {
            let (status, process) = (&sample.status, &sample.status.process);
            let mut line = vec![cell(format!("spreadwire {}", &*process.version), Tone::Head), "  ".into()];
            line.push(cell(format!(" {} ", process.source.to_uppercase()), source_tone(&process.source)));
            line.push("  ".into());
            if !matches!(&*status.level, "" | "websocket") {
                line.extend([cell(&*status.level, level_tone(&status.level)), "  ".into()]);
            }
            line.push(cell(&*status.status, if &*status.status == "healthy" { Tone::Good } else { Tone::Bad }));
            line.push(cell(format!("  {url}  up {}  {}", ms(process.uptime_ms), &*process.instance), Tone::Dim));
            lines.push(line);
        }
    }
    if let Some((why, since)) = &state.gone {
        let seen =
            state.seen.map_or_else(String::new, |at| format!(", last seen {} ago", ms(now.since(at) / 1_000_000)));
        let long = ms(now.since(*since) / 1_000_000);
        lines.push(vec![cell(format!("GONE for {long}{seen}: {}; trying again", log::tamed(why)), Tone::Bad)]);
    } else if let Some(sample) = &state.sample {
        let alerts = &sample.status.alerts;
        if let Some(first) = alerts.first() {
            let more = if alerts.len() > 1 { format!("  (and {} more)", alerts.len() - 1) } else { String::new() };
            lines.push(vec![cell(format!("! {}{more}", &**first), Tone::Warn)]);
        }
    }
    lines.into_iter().map(|line| fit(line, most)).collect()
}

/// `line` cut to `most` terminal columns.
fn fit(line: TableLine, most: usize) -> TableLine {
    let mut room = most;
    let mut kept = Vec::new();
    for Cell { text, tone } in line {
        let text = cut(&text, room);
        room -= crate::top::table::width(&text).min(room);
        kept.push(cell(text, tone));
    }
    kept
}

fn source_tone(source: &str) -> Tone {
    match source {
        "live" => Tone::Good,
        "none" | "" => Tone::Dim,
        _ => Tone::Warn,
    }
}

/// The lines of the view.
#[must_use]
pub fn body(state: &Display, most: usize) -> Vec<TableLine> {
    let Some(sample) = &state.sample else { return Vec::new() };
    let mut lines = Vec::new();
    for (at, table) in tables(state, sample, state.view).iter().enumerate() {
        if at > 0 {
            lines.push(Vec::new());
        }
        lines.push(vec![cell(cut(&table.title, most), Tone::Head)]);
        lines.extend(table.lines(most));
    }
    lines
}

/// All views as text, for output without a terminal.
#[must_use]
pub fn text(state: &Display, now: MonoNs) -> String {
    let Some(sample) = &state.sample else { return String::new() };
    let mut text = String::new();
    for line in banner(state, now, usize::MAX / 2) {
        let line: String = line.into_iter().map(|cell| cell.text).collect();
        text.push_str(line.trim_end());
        text.push('\n');
    }
    for table in [DisplayView::Venues, DisplayView::Opportunities, DisplayView::Latency, DisplayView::Clients]
        .into_iter()
        .flat_map(|view| tables(state, sample, view))
    {
        text.push('\n');
        text.push_str(&table.text(ROWS_IN_TEXT));
    }
    text
}

/// Most rows per table in text output; the terminal view and JSON show all.
const ROWS_IN_TEXT: usize = 40;

fn tables(state: &Display, sample: &Sample, view: DisplayView) -> Vec<TextTable> {
    match view {
        DisplayView::Overview => vec![venues(state, sample, false), open(state, sample), latency(state, sample, false)],
        DisplayView::Opportunities => {
            vec![open(state, sample), refusals(state, sample), refused(state, sample), closed(state, sample)]
        }
        DisplayView::Prices => vec![prices(state, sample), instruments(state)],
        DisplayView::Latency => vec![latency(state, sample, true)],
        DisplayView::Venues => vec![venues(state, sample, true), losses(state, sample)],
        DisplayView::Clients => {
            let mut tables = vec![clients(state, sample), limits(state, sample)];
            if !sample.status.cluster.is_null() {
                tables.push(cluster(state, sample));
            }
            tables
        }
    }
}

/// The order as shown in a title.
fn by(state: &Display) -> String {
    format!("by {}{}", state.order(), if state.is_reversed { ", reversed" } else { "" })
}

/// Sorts `rows` by the order of the state, which `compare` receives as its last argument.
fn order<T>(state: &Display, rows: &mut [T], compare: impl Fn(&T, &T, &str) -> Ordering) {
    let by = state.order();
    rows.sort_by(|a, b| compare(a, b, by));
    if state.is_reversed {
        rows.reverse();
    }
}

/// Growth of a count per second, between the previous sample and this one.
fn rate(state: &Display, status: &StatusPage, read: impl Fn(&StatusPage) -> Option<u64>) -> Option<f64> {
    let before = state.before.as_ref()?;
    let passed = status.timestamp.checked_sub(before.timestamp).filter(|ms| *ms > 0)?;
    let grown = read(status)?.saturating_sub(read(before)?);
    Some(grown as f64 * 1000.0 / passed as f64)
}

fn venue_rate(state: &Display, status: &StatusPage, name: &str, read: fn(&VenuePage) -> u64) -> Option<f64> {
    let find = |status: &StatusPage| status.venues.iter().find(|v| &*v.exchange == name).map(read);
    rate(state, status, find)
}

fn sorted_venues<'a>(state: &Display, sample: &'a Sample) -> Vec<&'a VenuePage> {
    let status = &sample.status;
    let mut rows: Vec<&VenuePage> = status.venues.iter().filter(|v| state.passes(&[&v.exchange, &v.state])).collect();
    if state.view == DisplayView::Venues {
        let speed = |v: &VenuePage| {
            venue_rate(state, status, &v.exchange, |v| v.received.quotes).unwrap_or(v.received.quotes as f64)
        };
        order(state, &mut rows, |a, b, by| match by {
            "quotes/s" => speed(b).total_cmp(&speed(a)),
            "heard" => {
                b.connection.last_bytes_ms.unwrap_or(u64::MAX).cmp(&a.connection.last_bytes_ms.unwrap_or(u64::MAX))
            }
            "reconnects" => b.connection.reconnects.cmp(&a.connection.reconnects),
            "lost" => b.received.lost().cmp(&a.received.lost()),
            _ => a.exchange.cmp(&b.exchange),
        });
    }
    rows
}

fn venues(state: &Display, sample: &Sample, whole: bool) -> TextTable {
    let rows = sorted_venues(state, sample);
    // Columns that are empty without a cluster, or without open circuit breakers.
    let has_roles = rows.iter().any(|v| !v.role.is_empty());
    let has_late = rows.iter().any(|v| v.quote_lag_ms.is_some());
    let has_breakers = rows.iter().any(|v| !matches!(&*v.connection.circuit_breaker.state, "" | "closed"));
    let is_awaited = rows.iter().any(|v| v.connection.next_attempt_ms.is_some());
    let mut columns = vec![left("exchange", 0), left("link", 0), right("fresh", 0)];
    let optional = [
        (has_late, right("late", 1)),
        (has_roles, left("role", 1)),
        (has_roles, left("level", 2)),
        (has_breakers, left("breaker", 1)),
        (is_awaited, right("next try", 1)),
    ];
    columns.extend(optional.into_iter().filter(|(is_there, _)| *is_there).map(|(_, column)| column));
    columns.extend([left("source", 5), right("quotes/s", 1), right("heard", 3)]);
    if whole {
        columns.extend(has_roles.then_some(right("lag", 4)));
        columns.extend([right("for", 8), right("quotes", 7), right("again", 4), right("silent", 9), right("clock", 6)]);
        columns.push(right("score", 5));
    }
    columns.push(rest("last error"));
    let cells = |v: &VenuePage| -> Vec<Cell> {
        let speed = venue_rate(state, &sample.status, &v.exchange, |v| v.received.quotes);
        let is_connected = &*v.state == "connected";
        let cell_of = |column: &Column| match column.name {
            "exchange" => (*v.exchange).into(),
            "link" => cell(&*v.state, link_tone(v)),
            "fresh" => cell(format!("{}/{}", v.fresh_pairs, v.quoted_pairs), data_tone(&v.data)),
            "late" => v.quote_lag_ms.map_or_else(|| "".into(), |lag| cell(ms(lag as u64), Tone::Bad)),
            "role" => cell(&*v.role, word_tone(&v.role)),
            "level" => cell(&*v.level, level_tone(&v.level)),
            "breaker" => cell(&*v.connection.circuit_breaker.state, word_tone(&v.connection.circuit_breaker.state)),
            "next try" => {
                v.connection.next_attempt_ms.map_or_else(String::new, |next| format!("in {}", ms(next))).into()
            }
            "source" => cell(v.source.as_deref().unwrap_or("-"), source_tone(v.source.as_deref().unwrap_or_default())),
            "quotes/s" => known(speed, |speed| format!("{speed:.0}")),
            "heard" => known(v.connection.last_bytes_ms, ms),
            "lag" => known(v.lag_ms, |lag| format!("{lag:.1}ms")),
            "for" => known(v.connection.connected_ms, ms),
            "quotes" => grouped(v.received.quotes).into(),
            "again" => cell(
                grouped(v.connection.reconnects),
                if v.connection.reconnects > 0 { Tone::Warn } else { Tone::Plain },
            ),
            "silent" => grouped(v.connection.silences).into(),
            "clock" => known(v.clock_offset_ms, |offset| format!("{offset:.1}ms")),
            "score" => match (v.feed_score, v.quarantined_ms) {
                (Some(score), Some(_)) => cell(format!("{score} quarantined"), Tone::Bad),
                (score, _) => known(score, |score| score.to_string()),
            },
            _ => {
                cell(v.connection.last_error.as_deref().unwrap_or(""), if is_connected { Tone::Dim } else { Tone::Bad })
            }
        };
        columns.iter().map(cell_of).collect()
    };
    let rows = rows.into_iter().map(cells).collect();
    let title =
        if whole && state.view == DisplayView::Venues { format!("Venues, {}", by(state)) } else { "Venues".to_owned() };
    TextTable { title, columns, rows, empty: "no venue passes the filter" }
}

/// A number, or `-` if it is unknown.
fn known<T>(value: Option<T>, shown: impl Fn(T) -> String) -> Cell {
    value.map_or_else(|| "-".to_owned(), shown).into()
}

/// A lost connection is not a problem if prices arrive from another instance.
fn link_tone(venue: &VenuePage) -> Tone {
    match &*venue.state {
        "connected" => Tone::Good,
        _ if venue.fresh_pairs > 0 => Tone::Dim,
        _ => Tone::Bad,
    }
}

fn data_tone(data: &str) -> Tone {
    match data {
        "fresh" => Tone::Good,
        "partial" => Tone::Warn,
        _ => Tone::Bad,
    }
}

fn level_tone(level: &str) -> Tone {
    match level {
        "websocket" | "" => Tone::Good,
        "shared" => Tone::Plain,
        _ => Tone::Bad,
    }
}

/// Tones of cluster roles and circuit breaker states.
fn word_tone(word: &str) -> Tone {
    match word {
        "leader" | "joined" | "closed" => Tone::Good,
        "alone" | "cut_off" | "open" | "half_open" => Tone::Bad,
        _ => Tone::Plain,
    }
}

/// Losses of each venue by reason.
fn losses(state: &Display, sample: &Sample) -> TextTable {
    let mut rows = Vec::new();
    for v in sorted_venues(state, sample) {
        let named = |what: &'static str, counts: &BTreeMap<Text, u64>| -> Vec<(String, u64)> {
            counts.iter().map(|(reason, count)| (format!("{what}: {}", &**reason), *count)).collect()
        };
        let mut lost = named("not decoded", &v.received.decode_errors);
        lost.extend(named("not believed", &v.received.dropped));
        lost.push(("conflated before the ring".to_owned(), v.received.ring_conflated));
        for (what, count) in lost.into_iter().filter(|(_, count)| *count > 0) {
            rows.push(vec![(*v.exchange).into(), what.into(), cell(grouped(count), Tone::Warn)]);
        }
    }
    let columns = vec![left("exchange", 0), left("what", 0), right("count", 0)];
    TextTable { title: "Lost".to_owned(), columns, rows, empty: "nothing" }
}

fn passing<'a>(state: &Display, all: &'a [OpportunityEntry]) -> Vec<&'a OpportunityEntry> {
    all.iter().filter(|o| state.passes(&[&o.symbol, &o.buy_exchange, &o.sell_exchange])).collect()
}

fn open(state: &Display, sample: &Sample) -> TextTable {
    let mut rows = passing(state, &sample.opportunities.open);
    order(state, &mut rows, |a, b, by| match by {
        "gross" => b.spread_pct.total_cmp(&a.spread_pct),
        "lived" => b.lived_ms.cmp(&a.lived_ms),
        "symbol" => a.symbol.cmp(&b.symbol),
        _ => b.net_spread_pct.total_cmp(&a.net_spread_pct),
    });
    let rows: Vec<_> = rows.into_iter().map(open_row).collect();
    let columns = vec![
        left("symbol", 0),
        left("buy at", 0),
        left("sell at", 0),
        right("net %", 0),
        right("gross %", 1),
        right("buy", 3),
        right("sell", 3),
        right("size", 4),
        right("lived", 2),
        right("ages", 5),
        right("peak %", 7),
        left("source", 6),
        left("proof", 1),
        left("interval", 8),
        right("lags", 9),
    ];
    let by = if matches!(state.view, DisplayView::Overview | DisplayView::Opportunities) {
        format!(", {}", by(state))
    } else {
        String::new()
    };
    let title = format!("Open opportunities: {}{by}", sample.opportunities.open.len());
    TextTable { title, columns, rows, empty: "none" }
}

fn open_row(o: &OpportunityEntry) -> Vec<Cell> {
    let mut row = vec![
        (*o.symbol).into(),
        (*o.buy_exchange).into(),
        (*o.sell_exchange).into(),
        cell(pct(o.net_spread_pct), if o.net_spread_pct > 0.0 { Tone::Best } else { Tone::Warn }),
        pct(o.spread_pct).into(),
        o.buy_price.to_string().into(),
        o.sell_price.to_string().into(),
        o.executable_size.to_string().into(),
        ms(o.lived_ms).into(),
        format!("{} {}", ms(o.buy_age_ms), ms(o.sell_age_ms)).into(),
        pct(o.peak_spread_pct).into(),
        cell(&*o.source, source_tone(&o.source)),
    ];
    row.extend(evidence(o));
    row
}

/// Whether both legs existed at the same moment, for how long with which error, and how late they arrived.
fn evidence(o: &OpportunityEntry) -> [Cell; 3] {
    let tone = match &*o.proof {
        "proven" => Tone::Good,
        "refuted" => Tone::Bad,
        "likely" => Tone::Plain,
        _ => Tone::Dim,
    };
    let whole = |value: f64| ms(value as u64);
    let interval = match (o.proof_ms, o.proof_error_ms) {
        (Some(length), Some(error)) => format!("{} ±{}", whole(length), whole(error)),
        (None, Some(error)) => format!("±{}", whole(error)),
        (length, None) => length.map(whole).unwrap_or_default(),
    };
    let lag = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), whole);
    [
        cell(&*o.proof, tone),
        interval.into(),
        format!("{} {}", lag(o.buy_excess_lag_ms), lag(o.sell_excess_lag_ms)).into(),
    ]
}

fn closed(state: &Display, sample: &Sample) -> TextTable {
    let now = sample.status.timestamp;
    let rows = passing(state, &sample.opportunities.closed).into_iter().map(|o| {
        let mut row = vec![
            (*o.symbol).into(),
            (*o.buy_exchange).into(),
            (*o.sell_exchange).into(),
            pct(o.peak_spread_pct).into(),
            ms(o.lived_ms).into(),
            ms(now.saturating_sub(o.timestamp)).into(),
            cell(&*o.source, source_tone(&o.source)),
        ];
        row.extend(evidence(o));
        row
    });
    let columns = vec![
        left("symbol", 0),
        left("buy at", 0),
        left("sell at", 0),
        right("peak %", 0),
        right("lived", 1),
        right("ago", 2),
        left("source", 3),
        left("proof", 1),
        left("interval", 4),
        right("lags", 5),
    ];
    TextTable { title: "Closed".to_owned(), columns, rows: rows.collect(), empty: "none yet" }
}

/// How often spreads above the threshold were refused, by reason.
fn refusals(_: &Display, sample: &Sample) -> TextTable {
    let counts = sample.refusals.reasons.iter().filter(|(_, count)| **count > 0);
    let rows = counts.map(|(reason, count)| vec![(**reason).into(), grouped(*count).into()]).collect();
    let columns = vec![left("why not", 0), right("refused", 0)];
    TextTable { title: "Refused since the start".to_owned(), columns, rows, empty: "nothing" }
}

/// Spreads above the threshold that are not alerted: those of now, then the last examples.
fn refused(state: &Display, sample: &Sample) -> TextTable {
    let now = sample.status.timestamp;
    let refusals = &sample.refusals;
    let is_passed = |it: &&RefusalEntry| state.passes(&[&it.symbol, &it.buy_exchange, &it.sell_exchange, &it.reason]);
    let rows = refusals.current.iter().chain(&refusals.examples).filter(is_passed).map(|it| {
        let leg = match &*it.leg {
            "buy" => &*it.buy_exchange,
            "sell" => &*it.sell_exchange,
            _ => "",
        };
        let figure = match (it.value, it.limit, &*it.unit) {
            (Some(value), Some(limit), "ms") => format!("{} of {}", ms(value as u64), ms(limit as u64)),
            (Some(value), Some(limit), _) => format!("{} of {}", pct(value), pct(limit)),
            _ => String::new(),
        };
        vec![
            (*it.symbol).into(),
            (*it.buy_exchange).into(),
            (*it.sell_exchange).into(),
            pct(it.net_spread_pct).into(),
            pct(it.spread_pct).into(),
            cell(&*it.reason, Tone::Warn),
            leg.into(),
            figure.into(),
            ms(now.saturating_sub(it.timestamp)).into(),
        ]
    });
    let columns = vec![
        left("symbol", 0),
        left("buy at", 0),
        left("sell at", 0),
        right("net %", 1),
        right("gross %", 0),
        left("why not", 0),
        left("leg", 2),
        right("figure", 1),
        right("ago", 3),
    ];
    let title = format!("Refused now: {}, and last examples", refusals.current.len());
    TextTable { title, columns, rows: rows.collect(), empty: "nothing" }
}

fn prices(state: &Display, sample: &Sample) -> TextTable {
    let symbol = state.symbol().unwrap_or_default();
    let found = sample.prices.as_ref().filter(|prices| &*prices.symbol == symbol).map(|prices| &prices.prices);
    let quoting = sample.instruments.iter().find(|i| &*i.symbol == symbol).map_or(&[][..], |i| &i.exchanges);
    let mut rows: Vec<(&Text, Option<PriceEntry>)> =
        quoting.iter().map(|name| (name, found.and_then(|prices| prices.get(name).copied().flatten()))).collect();
    let fresh = || rows.iter().filter_map(|(_, price)| *price);
    let best_bid = fresh().map(|price| price.bid).fold(f64::MIN, f64::max);
    let best_ask = fresh().map(|price| price.ask).fold(f64::MAX, f64::min);
    if state.view == DisplayView::Prices {
        let of = |price: Option<PriceEntry>, read: fn(PriceEntry) -> f64| price.map_or(f64::MAX, read);
        order(state, &mut rows, |a, b, by| match by {
            "bid" => of(a.1, |p| -p.bid).total_cmp(&of(b.1, |p| -p.bid)),
            "ask" => of(a.1, |p| p.ask).total_cmp(&of(b.1, |p| p.ask)),
            "age" => of(a.1, |p| p.age_ms as f64).total_cmp(&of(b.1, |p| p.age_ms as f64)),
            _ => a.0.cmp(b.0),
        });
    }
    let row = |(name, price): (&Text, Option<PriceEntry>)| match price {
        None => {
            let mut row = vec![Cell::from(&**name), cell("no fresh price", Tone::Bad)];
            row.resize(7, Cell::default());
            row
        }
        Some(p) => {
            let tone = |is_best: bool| if is_best { Tone::Best } else { Tone::Plain };
            let mark =
                |value: f64, is_best: bool| cell(format!("{value}{}", if is_best { "*" } else { " " }), tone(is_best));
            vec![
                (**name).into(),
                mark(p.bid, p.bid == best_bid),
                mark(p.ask, p.ask == best_ask),
                p.bid_size.to_string().into(),
                p.ask_size.to_string().into(),
                pct((p.ask - p.bid) / p.bid * 100.0).into(),
                ms(p.age_ms).into(),
            ]
        }
    };
    let columns = vec![
        left("exchange", 0),
        right("bid", 0),
        right("ask", 0),
        right("bid size", 3),
        right("ask size", 3),
        right("spread %", 2),
        right("age", 1),
    ];
    let rows = rows.into_iter().map(row).collect();
    TextTable {
        title: format!("{symbol}, {}; * best", by(state)),
        columns,
        rows,
        empty: "no instrument passes the filter",
    }
}

fn instruments(state: &Display) -> TextTable {
    let rows = state.instruments().enumerate().map(|(at, instrument)| {
        let names: Vec<&str> = instrument.exchanges.iter().map(|name| &**name).collect();
        let is_selected = at == state.selected;
        let tone = if is_selected { Tone::Head } else { Tone::Plain };
        vec![
            cell(if is_selected { ">" } else { " " }, tone),
            cell(&*instrument.symbol, tone),
            cell(names.join(" "), Tone::Dim),
        ]
    });
    let columns = vec![left("", 0), left("instrument", 0), left("quoted on", 1)];
    TextTable { title: "Instruments".to_owned(), columns, rows: rows.collect(), empty: "none passes the filter" }
}

/// Percentiles of each hop over all venues, and of each venue and stage if `whole`.
fn latency(state: &Display, sample: &Sample, whole: bool) -> TextTable {
    let hops = || sample.latency.hops.iter();
    let mut rows: Vec<(&str, &str, Percentiles)> = hops().map(|hop| (&*hop.hop, "all", hop.all)).collect();
    if whole {
        rows.extend(hops().flat_map(|hop| hop.exchanges.iter().map(|(name, p)| (&*hop.hop, &**name, *p))));
        let stages = || sample.latency.stages.iter();
        rows.extend(stages().map(|one| ("turn", &*one.stage, one.turn)));
        rows.extend(stages().map(|one| ("overrun", &*one.stage, one.overrun)));
        rows.retain(|(hop, name, _)| state.passes(&[hop, name]));
        // Stages come after the hops.
        let place = |name: &str| hops().position(|hop| &*hop.hop == name).unwrap_or(usize::MAX);
        if state.view == DisplayView::Latency {
            order(state, &mut rows, |a, b, by| match by {
                "p99" => b.2.p99.cmp(&a.2.p99),
                "count" => b.2.count.cmp(&a.2.count),
                _ => place(a.0).cmp(&place(b.0)),
            });
        }
    }
    let rows = rows.into_iter().filter(|(_, name, p)| p.count > 0 || *name == "all").map(|(hop, name, p)| {
        let is_all = name == "all";
        let mut row =
            vec![cell(hop, if is_all { Tone::Head } else { Tone::Plain }), name.into(), grouped(p.count).into()];
        row.extend([p.p50, p.p90, p.p99, p.p999, p.max].map(|value| match p.count {
            0 => Cell::from("-"),
            _ => Cell::from(ns(value)),
        }));
        row
    });
    let columns = vec![
        left("hop", 0),
        left(if whole { "exchange, stage" } else { "exchange" }, 1),
        right("count", 3),
        right("p50", 0),
        right("p90", 2),
        right("p99", 0),
        right("p99.9", 4),
        right("max", 5),
    ];
    let title = if whole && state.view == DisplayView::Latency {
        format!("Latency since the start, {}", by(state))
    } else {
        "Latency since the start".to_owned()
    };
    TextTable { title, columns, rows: rows.collect(), empty: "nothing measured yet" }
}

fn clients(state: &Display, sample: &Sample) -> TextTable {
    let status = &sample.status;
    let rows = [("gateway", &status.gateway), ("detector", &status.detector)].into_iter().flat_map(|(part, counts)| {
        counts.0.iter().filter(|(name, _)| state.passes(&[name])).map(move |(name, count)| {
            let speed = rate(state, status, |status| {
                let counts = if part == "gateway" { &status.gateway } else { &status.detector };
                counts.of(name)
            });
            let is_loss = LOSSES.contains(&&**name) && *count > 0;
            let speed = speed.filter(|speed| *speed > 0.0).map_or_else(String::new, |speed| format!("{speed:.0}/s"));
            vec![
                part.into(),
                (**name).into(),
                cell(grouped(*count), if is_loss { Tone::Warn } else { Tone::Plain }),
                speed.into(),
            ]
        })
    });
    let columns = vec![left("part", 1), left("what", 0), right("now", 0), right("grows", 0)];
    TextTable {
        title: "Clients and detector".to_owned(),
        columns,
        rows: rows.collect(),
        empty: "nothing passes the filter",
    }
}

/// Counters of losses and errors.
const LOSSES: [&str; 7] =
    ["conflated", "slowClosed", "misbehavedClosed", "errors", "refused", "badRequests", "eventsLost"];

fn limits(state: &Display, sample: &Sample) -> TextTable {
    let rows = sample.status.limits.iter().filter(|(name, _)| state.passes(&[name]));
    let rows = rows.map(|(name, value)| vec![(**name).into(), shown(value).into()]);
    let columns = vec![left("limit", 0), right("", 0)];
    TextTable { title: "Limits".to_owned(), columns, rows: rows.collect(), empty: "nothing passes the filter" }
}

/// The cluster section, one row for each value.
fn cluster(state: &Display, sample: &Sample) -> TextTable {
    let mut flat = Vec::new();
    flatten(String::new(), &sample.status.cluster, &mut flat);
    flat.retain(|(name, value)| state.passes(&[name, value]));
    let rows = flat.into_iter().map(|(name, value)| {
        let tone = word_tone(&value);
        vec![name.into(), cell(value, tone)]
    });
    let columns = vec![left("what", 0), left("", 0)];
    TextTable { title: "Cluster".to_owned(), columns, rows: rows.collect(), empty: "nothing passes the filter" }
}

fn flatten(path: String, value: &Value, flat: &mut Vec<(String, String)>) {
    let under = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    match value {
        Value::Object(members) => {
            members.iter().for_each(|(name, inner)| flatten(under(&log::tamed(name)), inner, flat))
        }
        Value::Array(items) if items.iter().any(|item| item.is_object() || item.is_array()) => {
            for (at, item) in items.iter().enumerate() {
                // A row of a list is named by its exchange, if it has one.
                let name = item.get("exchange").and_then(Value::as_str).map_or_else(|| at.to_string(), log::tamed);
                flatten(under(&name), item, flat);
            }
        }
        other => flat.push((path, shown(other))),
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => log::tamed(text),
        Value::Array(items) => items.iter().map(shown).collect::<Vec<_>>().join(" "),
        other => other.to_string(),
    }
}

fn pct(value: f64) -> String {
    format!("{value:.3}")
}

/// A count with thousands separators.
fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Milliseconds in a readable unit.
fn ms(ms: u64) -> String {
    let (s, m, h) = (ms / 1000, ms / 60_000, ms / 3_600_000);
    match ms {
        0..1000 => format!("{ms}ms"),
        1000..60_000 => format!("{}.{}s", s, ms % 1000 / 100),
        60_000..3_600_000 => format!("{m}m{:02}s", s % 60),
        3_600_000..86_400_000 => format!("{h}h{:02}m", m % 60),
        _ => format!("{}d{:02}h", h / 24, h % 24),
    }
}

/// Nanoseconds in a readable unit.
fn ns(ns: u64) -> String {
    match ns {
        0..1000 => format!("{ns}ns"),
        1000..1_000_000 => format!("{:.1}us", ns as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1}ms", ns as f64 / 1e6),
        _ => format!("{:.1}s", ns as f64 / 1e9),
    }
}
