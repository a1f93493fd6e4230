//! Bytes that no venue should send: nothing panics, nothing impossible is published.

use std::sync::LazyLock;

use proptest::prelude::*;
use spreadwire::time::MonoNs;
use spreadwire::venues::{Decoded, FeedCodec, Symbols, Update, VENUES, VoidReason};
use spreadwire::wire::gzip::MAGIC;

use super::captures::captures;
use super::{recorded_frames, single_frames};

/// Frames longer than this are left out: they would only make the tests slow.
const FRAME_MAX: usize = 4000;

/// Real frames of each venue, in the order of `VENUES`.
static FRAMES: LazyLock<Vec<Vec<Vec<u8>>>> = LazyLock::new(|| {
    let frames = |name: &str| {
        let recorded = captures(name).into_iter().flat_map(|path| recorded_frames(&path, 200));
        let mut frames: Vec<Vec<u8>> = recorded.chain(single_frames(name)).collect();
        frames.retain(|frame| frame.len() <= FRAME_MAX);
        assert!(!frames.is_empty(), "{name}");
        frames
    };
    VENUES.iter().map(|venue| frames(venue.facts().name)).collect()
});

/// Decodes, and checks what must hold of anything that is published.
fn feed(name: &str, codec: &mut dyn FeedCodec, frame: &[u8]) {
    let mut out = Decoded::default();
    let _ = codec.decode(frame, MonoNs(0), &mut out);
    let tops = out.updates.iter().filter_map(|u| if let Update::Top(top) = u { Some(top) } else { None });
    for top in tops {
        for level in [top.bid, top.ask] {
            let is_absent = level.price.is_zero() && level.size.is_zero();
            assert!(level.is_present() || is_absent, "{name}: {level:?} of {}", String::from_utf8_lossy(frame));
        }
    }
    assert!(out.updates.len() + out.requests.len() <= 4096, "{name}: more out than in");
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(frames in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 1..8)) {
        for venue in VENUES.iter() {
            let mut codec = venue.codec(Symbols::discovering(venue.symbol_of()));
            frames.iter().for_each(|frame| feed(venue.facts().name, &mut *codec, frame));
        }
    }

    #[test]
    fn real_frames_with_wounds_publish_nothing_impossible(
        wounds in proptest::collection::vec((any::<prop::sample::Index>(), 0u8..5, any::<prop::sample::Index>(), any::<u8>()), 1..20)
    ) {
        for (venue, frames) in VENUES.iter().zip(FRAMES.iter()) {
            let mut codec = venue.codec(Symbols::discovering(venue.symbol_of()));
            for (which, wound, place, byte) in &wounds {
                let mut frame = frames[which.index(frames.len())].clone();
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
fn every_cut_of_a_real_frame_is_refused() {
    for (venue, frames) in VENUES.iter().zip(FRAMES.iter()) {
        let is_whole_only = |frame: &&Vec<u8>| frame.starts_with(b"{") || frame.starts_with(&MAGIC);
        for frame in frames.iter().filter(is_whole_only).take(60) {
            let mut codec = venue.codec(Symbols::discovering(venue.symbol_of()));
            for cut in 1..frame.trim_ascii_end().len() {
                let mut out = Decoded::default();
                let result = codec.decode(&frame[..cut], MonoNs(0), &mut out);
                let shown = String::from_utf8_lossy(&frame[..cut]);
                // What a cut frame names may be quoted otherwise by now.
                let is_void = |update: &Update| matches!(update, Update::Void(_, VoidReason::Undecodable));
                assert!(result.is_err() && out.updates.iter().all(is_void), "{}: {shown}", venue.facts().name);
            }
        }
    }
}

#[test]
fn deep_nesting_is_refused_and_the_codec_lives() {
    for (venue, frames) in VENUES.iter().zip(FRAMES.iter()) {
        let mut codec = venue.codec(Symbols::discovering(venue.symbol_of()));
        let mut out = Decoded::default();
        for deep in ["[".repeat(100_000), "{\"data\":".repeat(100_000), format!("{{\"a\":{}", "[".repeat(100_000))] {
            assert!(codec.decode(deep.as_bytes(), MonoNs(0), &mut out).is_err(), "{}", venue.facts().name);
        }
        frames.iter().take(50).for_each(|frame| feed(venue.facts().name, &mut *codec, frame));
    }
}
