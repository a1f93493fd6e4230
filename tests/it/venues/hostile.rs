//! Bytes that no venue should send: nothing panics, nothing impossible is published.

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use proptest::prelude::*;
use spreadwire::record::capture::{Capture, Direction};
use spreadwire::time::MonoNs;
use spreadwire::venues::{Decoded, FeedCodec, Symbols, Update, VENUES};

use super::captures::captures;
use super::fixtures;

/// Frames longer than this are left out: they would only make the tests slow.
const FRAME_MAX: usize = 4000;

/// Real frames of each venue, in the order of `VENUES`.
static FRAMES: LazyLock<Vec<Vec<String>>> = LazyLock::new(|| {
    let frames = |name: &str| {
        let text = fs::read_to_string(fixtures(name).join("frames.txt")).unwrap_or_default();
        let single = text.lines().filter_map(|line| line.strip_prefix("> ")).map(str::to_owned);
        let mut frames: Vec<String> = captures(name).iter().flat_map(|path| sample(path)).chain(single).collect();
        frames.retain(|frame| frame.len() <= FRAME_MAX);
        assert!(!frames.is_empty(), "{name}");
        frames
    };
    VENUES.iter().map(|venue| frames(venue.facts().name)).collect()
});

/// The first frames of a capture, of all channels.
fn sample(path: &Path) -> Vec<String> {
    let mut capture = Capture::open(path).unwrap();
    let mut frames = Vec::new();
    while frames.len() < 200 {
        let Some((_, Ok(record))) = capture.next_record().unwrap() else { break };
        if record.dir == Direction::In {
            frames.push(record.frame);
        }
    }
    frames
}

/// Decodes, and checks what must hold of anything that is published.
fn feed(name: &str, codec: &mut dyn FeedCodec, frame: &[u8]) {
    let mut out = Decoded::default();
    let result = codec.decode(frame, MonoNs(0), &mut out);
    let tops = out.updates.iter().filter_map(|u| if let Update::Top(top) = u { Some(top) } else { None });
    for top in tops {
        assert!(result.is_ok(), "{name}: a quote of a refused frame: {}", String::from_utf8_lossy(frame));
        for level in [top.bid, top.ask] {
            let is_absent = level.price.is_zero() && level.size.is_zero();
            assert!(level.is_present() || is_absent, "{name}: {level:?} of {}", String::from_utf8_lossy(frame));
        }
    }
    assert!(out.updates.len() + out.requests.len() <= 4096, "{name}: more out than in");
}

proptest! {
    #[test]
    fn f31_f33_any_bytes_are_read_or_refused(frames in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 1..8)) {
        for venue in VENUES.iter() {
            let mut codec = venue.codec(Symbols::discovering(venue.symbol_of()));
            frames.iter().for_each(|frame| feed(venue.facts().name, &mut *codec, frame));
        }
    }

    #[test]
    fn f31_f34_real_frames_with_wounds_publish_nothing_impossible(
        wounds in proptest::collection::vec((any::<prop::sample::Index>(), 0u8..5, any::<prop::sample::Index>(), any::<u8>()), 1..20)
    ) {
        for (venue, frames) in VENUES.iter().zip(FRAMES.iter()) {
            let mut codec = venue.codec(Symbols::discovering(venue.symbol_of()));
            for (which, wound, place, byte) in &wounds {
                let mut frame = frames[which.index(frames.len())].clone().into_bytes();
                let at = place.index(frame.len().max(1));
                match wound {
                    0 => frame.truncate(at),
                    1 if at < frame.len() => frame[at] = *byte,
                    2 if at < frame.len() => frame[at] = b"0-.eE\"[]{},:9"[usize::from(*byte) % 13],
                    3 => frame.insert(at, *byte),
                    4 if at < frame.len() => drop(frame.remove(at)),
                    _ => {}
                }
                feed(venue.facts().name, &mut *codec, &frame);
            }
        }
    }
}

#[test]
fn f31_every_cut_of_a_real_frame_is_refused() {
    for (venue, frames) in VENUES.iter().zip(FRAMES.iter()) {
        for frame in frames.iter().filter(|frame| frame.starts_with('{')).take(60) {
            let mut codec = venue.codec(Symbols::discovering(venue.symbol_of()));
            for cut in 1..frame.trim_end().len() {
                let mut out = Decoded::default();
                let result = codec.decode(&frame.as_bytes()[..cut], MonoNs(0), &mut out);
                assert!(result.is_err() && out.updates.is_empty(), "{}: {}", venue.facts().name, &frame[..cut]);
            }
        }
    }
}

#[test]
fn f32_deep_nesting_is_refused_and_the_codec_lives() {
    for (venue, frames) in VENUES.iter().zip(FRAMES.iter()) {
        let mut codec = venue.codec(Symbols::discovering(venue.symbol_of()));
        let mut out = Decoded::default();
        for deep in ["[".repeat(100_000), "{\"data\":".repeat(100_000), format!("{{\"a\":{}", "[".repeat(100_000))] {
            assert!(codec.decode(deep.as_bytes(), MonoNs(0), &mut out).is_err(), "{}", venue.facts().name);
        }
        frames.iter().take(50).for_each(|frame| feed(venue.facts().name, &mut *codec, frame.as_bytes()));
    }
}
