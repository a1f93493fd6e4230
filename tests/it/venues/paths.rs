//! The fast path of a codec and its general one read the same. A blank behind a frame is still JSON, but no
//! fast path takes it, so each frame is decoded with and without one.

use std::sync::LazyLock;

use proptest::prelude::*;
use spreadwire::time::MonoNs;
use spreadwire::venues::{Decoded, FeedCodec, Symbols, Update, VENUES, VoidReason};

use super::captures::captures;
use super::{is_json, recorded_frames, single_frames};

/// Two codecs of one venue that hear the same frames, one of them with a blank behind each.
struct Twins {
    fast: Box<dyn FeedCodec>,
    general: Box<dyn FeedCodec>,
}

impl Twins {
    fn check(&mut self, frame: &[u8]) {
        // What is no JSON (packed, protobuf, OKX's answer to a ping) has no other spelling.
        if !is_json(frame) {
            return;
        }
        let (mut fast, mut general) = (Decoded::default(), Decoded::default());
        let of_fast = self.fast.decode(frame, MonoNs(7), &mut fast);
        let blank = [frame, b" "].concat();
        let of_general = self.general.decode(&blank, MonoNs(7), &mut general);
        let shown = String::from_utf8_lossy(frame);
        // Where both refuse a frame, one may have numbered a symbol before that the other has not met.
        let is_met = |other: &dyn FeedCodec, codec: &dyn FeedCodec, update: &Update| match update {
            Update::Void(id, VoidReason::Undecodable) => {
                codec.symbols().entry(*id).is_none_or(|entry| other.symbols().known(entry.native.as_bytes()).is_some())
            }
            _ => true,
        };
        fast.updates.retain(|update| is_met(&*self.general, &*self.fast, update));
        general.updates.retain(|update| is_met(&*self.fast, &*self.general, update));
        assert_eq!(of_fast, of_general, "{shown:.2000}");
        assert_eq!(
            (named(&*self.fast, &fast.updates), fast.requests, fast.answers),
            (named(&*self.general, &general.updates), general.requests, general.answers),
            "{shown:.2000}"
        );
    }
}

/// The updates with names in place of ids: of a frame that both refuse, one may have numbered the symbol before.
fn named(codec: &dyn FeedCodec, updates: &[Update]) -> Vec<String> {
    let mut texts: Vec<String> = updates.iter().map(|update| format!("{update:?}")).collect();
    for text in &mut texts {
        for entry in codec.symbols().entries() {
            *text = text.replace(&format!("{:?}", entry.id), &entry.native);
        }
    }
    texts
}

fn twins() -> Vec<Twins> {
    let codec = |at: usize| VENUES[at].codec(Symbols::discovering(VENUES[at].symbol_of()));
    (0..VENUES.len()).map(|at| Twins { fast: codec(at), general: codec(at) }).collect()
}

#[test]
fn both_paths_read_every_recorded_frame_alike() {
    for (venue, mut twins) in VENUES.iter().zip(twins()) {
        for path in captures(venue.facts().name) {
            recorded_frames(&path, 3000).iter().for_each(|frame| twins.check(frame));
        }
    }
}

/// The single frames of each venue that are short enough to wound often.
static FRAMES: LazyLock<Vec<Vec<Vec<u8>>>> = LazyLock::new(|| {
    let of_venue = |name: &str| single_frames(name).into_iter().filter(|frame| frame.len() < 600).collect();
    VENUES.iter().map(|venue| of_venue(venue.facts().name)).collect()
});

proptest! {
    #[test]
    fn both_paths_read_a_wounded_frame_alike(
        wounds in proptest::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u8>(), 0u8..4), 1..30)
    ) {
        for (mut twins, frames) in twins().into_iter().zip(FRAMES.iter()) {
            for (which, place, byte, wound) in &wounds {
                let mut frame = frames[which.index(frames.len())].clone();
                let at = place.index(frame.len());
                match wound {
                    0 => frame[at] = *byte,
                    1 => frame[at] = b"0123456789-+.eE\"[]{},:"[usize::from(*byte) % 22],
                    2 => frame.insert(at, b"0.-9\""[usize::from(*byte) % 5]),
                    _ => drop(frame.remove(at)),
                }
                twins.check(&frame);
            }
        }
    }
}
