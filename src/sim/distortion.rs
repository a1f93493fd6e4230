//! Applies faults to the output of a venue: wrong clock, crossed books, another asset or unit, frames lost, duplicated,
//! late or damaged. The simulated prices themselves do not change. Pure; runs on the simulator's thread.

use crate::market::decimal::{POW10, SCALE_MAX};
use crate::market::{Decimal, Level};
use crate::random::Random;
use crate::sim::prices::VenueMarket;
use crate::sim::scenario::{self, FaultKind, Trouble};
use crate::sim::stale::StaleQuotes;
use crate::time::{MS, MonoNs, UnixNs};
use crate::venues::{Listed, Market, Message, Messages, VenueQuote};

/// A venue's market with its faults applied.
pub struct DistortedMarket<'a> {
    /// The market without faults.
    pub market: VenueMarket<'a>,
    /// The faults in effect.
    pub trouble: &'a Trouble,
    /// The quotes that come first on this connection.
    pub stale: Option<&'a StaleQuotes>,
    /// Whether it is used for a page, not for the stream.
    pub is_page: bool,
}

impl Market for DistortedMarket<'_> {
    fn quote(&self, native: &str) -> Option<VenueQuote> {
        let quote = self.market.quote(native)?;
        let stale = self.stale.and_then(|stale| stale.instead_of(&quote));
        Some(stale.unwrap_or_else(|| distort_quote(&quote, self.trouble)))
    }

    fn now(&self) -> UnixNs {
        distort_time(self.market.now(), self.trouble)
    }

    fn listed(&self) -> Vec<Listed> {
        let mut listed = self.market.listed();
        let is_halted = if self.is_page { is_halted_in_list } else { is_halted_in_stream };
        listed.iter_mut().for_each(|it| it.is_trading = !is_halted(self.trouble, &it.native));
        listed
    }
}

/// The quote as a venue with these faults sends it.
#[must_use]
pub fn distort_quote(quote: &VenueQuote, trouble: &Trouble) -> VenueQuote {
    let mut quote = quote.clone();
    quote.time = distort_time(quote.time, trouble);
    quote.day.exchange_time = distort_time(quote.day.exchange_time, trouble);
    quote.is_trading = !is_halted_in_stream(trouble, &quote.native);
    let (bid, ask) = book(&quote, trouble);
    (quote.bid, quote.ask) = (bid, ask);
    if trouble.of(FaultKind::Crossed, &quote.native).is_some() {
        std::mem::swap(&mut quote.bid, &mut quote.ask);
    }
    quote
}

/// Best bid and ask that the venue really has for this quote. They include another asset, another unit and a premium,
/// but no errors of frames.
#[must_use]
pub fn book(quote: &VenueQuote, trouble: &Trouble) -> (Level, Level) {
    let (mut bid, mut ask) = (quote.bid, quote.ask);
    let asset = trouble.of(FaultKind::Alien, &quote.native).unwrap_or(scenario::ONE);
    let premium = trouble.of(FaultKind::Basis, &quote.native).unwrap_or(0);
    for millionths in [asset, scenario::ONE + premium] {
        if millionths != scenario::ONE {
            bid.price = scaled(bid.price, millionths, false);
            ask.price = scaled(ask.price, millionths, true);
        }
    }
    if let Some(factor) = trouble.of(FaultKind::Unit, &quote.native).and_then(|factor| u64::try_from(factor).ok()) {
        for level in [&mut bid, &mut ask] {
            let mantissa = level.price.mantissa().saturating_mul(factor);
            *level = Level { price: Decimal::new(mantissa, level.price.scale()), size: divided(level.size, factor) };
        }
    }
    (bid, ask)
}

/// `price` times `millionths`, with as many digits as before, rounded down or up, at least one tick.
fn scaled(price: Decimal, millionths: i64, is_up: bool) -> Decimal {
    let factor = u128::from(millionths.unsigned_abs());
    let one = scenario::ONE.unsigned_abs();
    // A ratio of a third needs one more decimal.
    let more = (0..6).find(|more| 2 * factor * POW10[usize::from(*more)] >= u128::from(one)).unwrap_or(6);
    let more = more.min(SCALE_MAX - price.scale());
    let product = u128::from(price.mantissa()) * factor * POW10[usize::from(more)];
    let mantissa = if is_up { product.div_ceil(u128::from(one)) } else { product / u128::from(one) };
    Decimal::new(u64::try_from(mantissa).unwrap_or(u64::MAX).max(u64::from(!price.is_zero())), price.scale() + more)
}

/// `size / factor` with as many decimals as it needs, at most six more, rounded up.
fn divided(size: Decimal, factor: u64) -> Decimal {
    let (mut mantissa, mut scale) = (size.mantissa(), size.scale());
    for _ in 0..6 {
        if mantissa.is_multiple_of(factor) || scale == SCALE_MAX || mantissa > u64::MAX / 10 {
            break;
        }
        (mantissa, scale) = (mantissa * 10, scale + 1);
    }
    Decimal::new(mantissa.div_ceil(factor), scale)
}

/// Whether trading in the instrument with this native symbol is halted.
#[must_use]
pub fn is_halted(trouble: &Trouble, native: &str) -> bool {
    trouble.of(FaultKind::Halt, native).is_some()
}

/// Whether the venue's stream reports that trading in the instrument with this native symbol is halted.
#[must_use]
pub(crate) fn is_halted_in_stream(trouble: &Trouble, native: &str) -> bool {
    trouble.of(FaultKind::Halt, native).is_some_and(|by| by != scenario::BY_LIST)
}

fn is_halted_in_list(trouble: &Trouble, native: &str) -> bool {
    trouble.of(FaultKind::Halt, native).is_some_and(|by| by != scenario::BY_STREAM)
}

/// Whether the change from `before` to `trouble` changes the book of the quote at once.
#[must_use]
pub(crate) fn changes_book(before: &Trouble, trouble: &Trouble, native: &str) -> bool {
    [FaultKind::Alien, FaultKind::Basis, FaultKind::Unit].iter().any(|&k| before.of(k, native) != trouble.of(k, native))
}

/// The time on the venue's own clock.
#[must_use]
pub fn distort_time(time: UnixNs, trouble: &Trouble) -> UnixNs {
    let [offset_ms, drift_ms] = [FaultKind::Clock, FaultKind::Drift].map(|kind| trouble.whole(kind).unwrap_or(0));
    UnixNs(time.0.saturating_add_signed(offset_ms.saturating_add(drift_ms).saturating_mul(MS as i64)))
}

/// Applies faults to the price frames of `native`. `held` is a frame that waits for the next one, with the latest time
/// to send it; a frame that begins to wait now waits until `until` at most.
pub(crate) fn distort_frames(
    messages: &mut Messages,
    native: &str,
    trouble: &Trouble,
    (held, until): (&mut Option<(MonoNs, Message)>, MonoNs),
    random: &mut Random,
) {
    let mut happens = |kind| {
        let one_in = trouble.of(kind, native).and_then(|n| usize::try_from(n).ok());
        one_in.is_some_and(|one_in| random.one_in(one_in))
    };
    let frames: Vec<Message> = messages.drain().collect();
    for mut frame in frames {
        if happens(FaultKind::Lose) {
            continue;
        }
        if happens(FaultKind::Damage) {
            damage(&mut frame);
        }
        if trouble.of(FaultKind::Checksum, native).is_some() {
            change_checksum(&mut frame);
        }
        if held.is_none() && happens(FaultKind::Reorder) {
            *held = Some((until, frame));
            continue;
        }
        if happens(FaultKind::Duplicate) {
            push(messages, frame.clone());
        }
        push(messages, frame);
        if let Some((_, late)) = held.take() {
            push(messages, late);
        }
    }
}

/// Adds a message unchanged.
pub fn push(messages: &mut Messages, message: Message) {
    match message {
        Message::Text(text) => messages.push(text),
        Message::Binary(bytes) => messages.push(bytes),
    }
}

/// The first two bytes of a gzip stream.
const GZIP: [u8; 2] = [0x1f, 0x8b];

fn damage(frame: &mut Message) {
    match frame {
        Message::Binary(bytes) if bytes.starts_with(&GZIP) => {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 0x55;
        }
        Message::Binary(bytes) => bytes.truncate(bytes.len() / 2),
        Message::Text(text) => {
            let half = (0..=text.len() / 2).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
            text.truncate(half);
        }
    }
}

/// Changes each checksum: `"checksum":N` of books, `"cs",N` of Bitfinex.
pub(crate) fn change_checksum(frame: &mut Message) {
    let Message::Text(text) = frame else { return };
    for mark in ["\"checksum\":", "\"cs\","] {
        let Some(from) = text.find(mark).map(|at| at + mark.len()) else { continue };
        let length = text[from..].bytes().take_while(|b| b.is_ascii_digit() || *b == b'-').count();
        if let Ok(sum) = text[from..from + length].parse::<i64>() {
            text.replace_range(from..from + length, &(sum ^ 1).to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::plain::PLAIN;
    use crate::sim::scenario::Scenario;

    fn trouble(kind: &str, one_in: &str) -> Trouble {
        let text = format!("[[fault]]\nkind = \"{kind}\"\nfor_s = 1\n{one_in}");
        Scenario::read(&text, PLAIN).unwrap().at(0, PLAIN).swap_remove(0)
    }

    /// The result for these frames, each sent by itself.
    fn distorted(trouble: &Trouble, frames: &[&str]) -> Vec<String> {
        let (mut held, mut random, mut said) = (None, Random::new(1), Vec::new());
        for frame in frames {
            let mut messages = Messages::default();
            messages.push((*frame).to_owned());
            distort_frames(&mut messages, "A-B", trouble, (&mut held, MonoNs(0)), &mut random);
            said.extend(messages.drain().map(|m| String::from_utf8(m.as_bytes().to_vec()).unwrap()));
        }
        said
    }

    #[test]
    fn frames_are_lost_doubled_late_or_cut() {
        for (kind, said) in [
            ("lose", &[] as &[&str]),
            ("duplicate", &["one", "one", "two", "two", "3", "3"]),
            ("reorder", &["two", "one"]),
            ("damage", &["o", "t", ""]),
        ] {
            assert_eq!(distorted(&trouble(kind, "one_in = 1"), &["one", "two", "3"]), said, "{kind}");
        }
        assert_eq!(distorted(&trouble("lose", "one_in = 1000000"), &["one"]), ["one"]);
    }

    #[test]
    fn a_checksum_becomes_another_number_and_the_frame_stays_whole() {
        let spoilt = distorted(&trouble("checksum", ""), &[r#"{"checksum":12,"x":1}"#, r#"[7,"cs",-4,1]"#, "{}"]);
        assert_eq!(spoilt, [r#"{"checksum":13,"x":1}"#, r#"[7,"cs",-3,1]"#, "{}"]);
    }

    #[test]
    fn another_asset_another_unit_and_a_premium_are_exact() {
        let level = |price: &str, size: &str| {
            let [price, size] = [price, size].map(|text| Decimal::parse(text.as_bytes()).unwrap());
            Level { price, size }
        };
        let quote = VenueQuote {
            native: "A-B".to_owned(),
            bid: level("63704.10", "0.7"),
            ask: level("63704.11", "12"),
            sequence: 1,
            time: UnixNs(0),
            day: Default::default(),
            is_trading: true,
        };
        for (kind, own, bid, ask) in [
            ("unit", "", ("63704100", "0.0007"), ("63704110", "0.012")),
            ("unit", "factor = 7", ("445928.7", "0.1"), ("445928.77", "1.714286")),
            ("basis", "", ("64978.18", "0.7"), ("64978.20", "12")),
            ("basis", "percent = -0.5", ("63385.57", "0.7"), ("63385.59", "12")),
            ("alien", "ratio = 0.3", ("19111.230", "0.7"), ("19111.233", "12")),
        ] {
            let trouble = trouble(kind, own);
            assert_eq!(book(&quote, &trouble), (level(bid.0, bid.1), level(ask.0, ask.1)), "{kind} {own}");
            let sent = distort_quote(&quote, &trouble);
            assert_eq!((sent.bid, sent.ask), book(&quote, &trouble), "{kind} {own}");
        }
        assert_eq!(book(&quote, &trouble("crossed", "")), (quote.bid, quote.ask));
    }

    #[test]
    fn a_halt_is_reported_where_the_script_says() {
        for (by, in_stream, in_list) in [("both", true, true), ("list", false, true), ("stream", true, false)] {
            let trouble = trouble("halt", &format!("by = \"{by}\""));
            let reported = [is_halted_in_stream(&trouble, "A-B"), is_halted_in_list(&trouble, "A-B")];
            assert_eq!((reported, is_halted(&trouble, "A-B")), ([in_stream, in_list], true), "{by}");
        }
    }

    #[test]
    fn a_flipped_byte_leaves_gzip_its_length() {
        let mut frame = Message::Binary(vec![0x1f, 0x8b, 8, 0, 1, 2, 3, 4]);
        damage(&mut frame);
        assert_eq!(frame.as_bytes(), [0x1f, 0x8b, 8, 0, 1 ^ 0x55, 2, 3, 4]);
    }
}
