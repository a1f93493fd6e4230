//! The page of precision: how many of the closed opportunities were real.

use crate::market::Directory;
use crate::market::precision::{ClassCounts, PairPrecision};
use crate::metrics::reasons::{Class, Reason};
use crate::protocol::{Object, array, object};
use crate::time::{SECOND, UnixNs};
use crate::wire::timestamp::write_rfc3339;

/// The body of `/api/precision`.
#[must_use]
pub fn page(pairs: &[PairPrecision], directory: &Directory) -> Vec<u8> {
    object(|root| {
        array(pairs, root.key("pairs"), |pair, out| {
            let mut o = Object::open(out);
            o.text("buyExchange", &directory.venue(pair.buy).name);
            o.text("sellExchange", &directory.venue(pair.sell).name);
            counts(&pair.total(), &mut o);
            array(&pair.days, o.key("days"), |(day, of_day), out| {
                let mut o = Object::open(out);
                o.text("day", &date(*day));
                counts(of_day, &mut o);
                o.close();
            });
            o.close();
        });
    })
}

fn counts(counts: &ClassCounts, o: &mut Object<'_>) {
    o.integer("closed", counts.closed().into()).integer("real", counts.of(Class::Real).into());
    match counts.precision() {
        Some(precision) => o.float("precision", precision),
        None => o.null("precision"),
    };
    o.object("classes", |o| {
        for class in Class::ALL {
            o.integer(class.word(), counts.of(*class).into());
        }
    });
}

/// A day since 1970-01-01 as `2026-11-30`.
fn date(day: u64) -> String {
    let mut text = String::new();
    write_rfc3339(UnixNs(day.saturating_mul(86_400 * SECOND)), 0, &mut text);
    text.truncate("1970-01-01".len());
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_a_date() {
        assert_eq!(date(0), "1970-01-01");
        assert_eq!(date(20_787), "2026-11-30");
    }
}
