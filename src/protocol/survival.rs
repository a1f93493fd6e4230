//! Survival of opportunities: the page, and the member of alerts and opportunity messages.

use crate::market::survival::{HORIZONS_MS, SurvivalCurve, SurvivalPoint};
use crate::protocol::{Object, array, float, integer, object};

/// The survival that applies to one opportunity.
#[derive(Clone, Copy, Debug)]
pub struct SurvivalOf {
    /// The curve of its instrument on its pair of exchanges, or of all instruments of the pair.
    pub(crate) curve: SurvivalCurve,
    /// Whether it is that of all instruments.
    pub(crate) is_pooled: bool,
}

impl SurvivalOf {
    /// Adds it to a message: one entry for each time.
    pub(super) fn write(&self, object: &mut Object<'_>) {
        object.object("survival", |o| {
            o.integer("episodes", self.curve.episodes.into()).boolean("pooled", self.is_pooled);
            let each = |o: &mut Object<'_>, name: &str, of: fn(&SurvivalPoint) -> Option<f64>| {
                array(&self.curve.points, o.key(name), |point, out| write_rounded(point.as_ref().and_then(of), out));
            };
            each(o, "alive", |point| Some(point.alive));
            each(o, "netKept", |point| point.net_kept);
        });
    }
}

/// Writes four decimals, which is more than the number of opportunities supports.
fn write_rounded(value: Option<f64>, out: &mut Vec<u8>) {
    match value {
        Some(value) => float((value * 1e4).round() / 1e4, out),
        None => out.extend_from_slice(b"null"),
    }
}

/// One curve of the page.
#[derive(Clone, Copy, Debug)]
pub struct SurvivalRow<'a> {
    /// Name of the exchange where the opportunities are bought.
    pub buy_exchange: &'a str,
    /// Name of the exchange where they are sold.
    pub sell_exchange: &'a str,
    /// The symbol that was requested or that has a curve of its own; `None`: all symbols.
    pub symbol: Option<&'a str>,
    /// The curve.
    pub survival: SurvivalOf,
}

/// The body of `/api/survival`.
#[must_use]
pub fn page<'a>(rows: impl Iterator<Item = SurvivalRow<'a>>) -> Vec<u8> {
    object(|root| {
        array(HORIZONS_MS, root.key("timesMs"), integer);
        array(rows, root.key("pairs"), |row, out| {
            let mut o = Object::open(out);
            o.text("buyExchange", row.buy_exchange).text("sellExchange", row.sell_exchange);
            match row.symbol {
                Some(symbol) => o.text("symbol", symbol),
                None => o.null("symbol"),
            };
            let SurvivalOf { curve, is_pooled } = row.survival;
            o.integer("episodes", curve.episodes.into()).boolean("pooled", is_pooled);
            array(HORIZONS_MS.iter().zip(&curve.points), o.key("points"), |(ms, point), out| {
                let mut o = Object::open(out);
                o.integer("ms", *ms);
                write_point(point.as_ref(), &mut o);
                o.close();
            });
            o.close();
        });
    })
}

fn write_point(point: Option<&SurvivalPoint>, o: &mut Object<'_>) {
    let number = |o: &mut Object<'_>, name: &str, value: Option<f64>| {
        match value {
            Some(value) => o.float(name, value),
            None => o.null(name),
        };
    };
    let count = |o: &mut Object<'_>, name: &str, value: Option<u32>| {
        match value {
            Some(value) => o.integer(name, value.into()),
            None => o.null(name),
        };
    };
    number(o, "alive", point.map(|it| it.alive));
    number(o, "low", point.map(|it| it.band.0));
    number(o, "high", point.map(|it| it.band.1));
    count(o, "atRisk", point.map(|it| it.at_risk));
    count(o, "censored", point.map(|it| it.censored));
    number(o, "netKept", point.and_then(|it| it.net_kept));
}
