//! Applies faults to the output of a venue: wrong clock, crossed books, frames lost, duplicated, late or damaged. The
//! simulated prices themselves do not change. Pure; runs on the simulator's thread.

use crate::random::Random;
use crate::sim::prices::VenueMarket;
use crate::sim::scenario::{FaultKind, Trouble};
use crate::time::{MS, MonoNs, UnixNs};
use crate::venues::{Listed, Market, Message, Messages, VenueQuote};

/// A venue's market with its faults applied.
pub struct DistortedMarket<'a> {
    /// The market without faults.
    pub market: VenueMarket<'a>,
    /// The faults in effect.
    pub trouble: &'a Trouble,
}

impl Market for DistortedMarket<'_> {
    fn quote(&self, native: &str) -> Option<VenueQuote> {
        self.market.quote(native).map(|quote| distort_quote(&quote, self.trouble))
    }

    fn now(&self) -> UnixNs {
        distort_time(self.market.now(), self.trouble)
    }

    fn listed(&self) -> Vec<Listed> {
        let mut listed = self.market.listed();
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
    quote.is_trading = !is_halted(trouble, &quote.native);
    if trouble.of(FaultKind::Crossed, &quote.native).is_some() {
        std::mem::swap(&mut quote.bid, &mut quote.ask);
    }
    quote
}

/// Whether trading in the instrument with this native symbol is halted.
#[must_use]
pub fn is_halted(trouble: &Trouble, native: &str) -> bool {
    trouble.of(FaultKind::Halt, native).is_some()
}

/// The time on the venue's own clock.
#[must_use]
pub fn distort_time(time: UnixNs, trouble: &Trouble) -> UnixNs {
    let offset_ns = trouble.whole(FaultKind::Clock).unwrap_or(0).saturating_mul(MS as i64);
    UnixNs(time.0.saturating_add_signed(offset_ns))
}

/// Applies faults to the price frames of `native`. `held` is a frame that waits for the next one, with the latest time
/// to send it; a frame that begins to wait now waits until `until` at most.
pub fn distort_frames(
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
pub fn change_checksum(frame: &mut Message) {
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
    fn a_flipped_byte_leaves_gzip_its_length() {
        let mut frame = Message::Binary(vec![0x1f, 0x8b, 8, 0, 1, 2, 3, 4]);
        damage(&mut frame);
        assert_eq!(frame.as_bytes(), [0x1f, 0x8b, 8, 0, 1 ^ 0x55, 2, 3, 4]);
    }
}
