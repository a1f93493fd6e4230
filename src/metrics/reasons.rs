//! Reasons that are counted, each with the word that the pages and the metrics show, and the counters by reason.

use std::marker::PhantomData;

use crate::metrics::Counter;

/// An enum without data, whose variants have their own counters.
pub trait Reason: Copy + 'static {
    /// All variants, in the order of the counters.
    const ALL: &'static [Self];

    /// The word for clients and metrics.
    fn word(self) -> &'static str;

    /// Position in [`Self::ALL`].
    fn index(self) -> usize;
}

/// One counter for each variant of `R`. One thread writes it.
#[derive(Debug)]
pub struct Counts<R> {
    /// The first `R::ALL.len()` are used.
    counters: [Counter; REASONS_MAX],
    reasons: PhantomData<R>,
}

/// Most variants of a [`Reason`].
const REASONS_MAX: usize = 16;

impl<R: Reason> Default for Counts<R> {
    fn default() -> Self {
        const { assert!(R::ALL.len() <= REASONS_MAX, "too many reasons") }
        Self { counters: Default::default(), reasons: PhantomData }
    }
}

impl<R: Reason> Counts<R> {
    /// Adds `n` to the counter of `reason`.
    #[inline]
    pub fn add(&self, reason: R, n: u64) {
        self.counters[reason.index()].add(n);
    }

    /// The counter of `reason`.
    #[must_use]
    pub fn value(&self, reason: R) -> u64 {
        self.counters[reason.index()].value()
    }

    /// The words of all reasons and their counters.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        R::ALL.iter().map(|reason| (reason.word(), self.value(*reason)))
    }

    /// The sum of all counters.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.iter().map(|(_, count)| count).sum()
    }
}

/// Declares an enum of reasons with its words.
macro_rules! reasons {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident $(= $number:literal)? => $word:literal,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum $name { $($(#[$doc])* $variant $(= $number)?,)* }

        impl $name {
            /// The word for clients and metrics.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }
        }

        impl Reason for $name {
            const ALL: &'static [Self] = &[$(Self::$variant),*];

            fn word(self) -> &'static str {
                Self::word(self)
            }

            fn index(self) -> usize {
                self as usize - Self::ALL[0] as usize
            }
        }
    };
}

reasons! {
    /// Why a frame of a venue could not be decoded.
    DecodeReason {
        /// Not JSON, or nested too deep.
        Json => "json",
        /// A price or size is not a number as venues write them.
        Number => "number",
        /// A required field is missing or of another type.
        MissingField => "missing_field",
        /// Nothing that this venue sends.
        Shape => "shape",
        /// Sequence numbers are not consecutive.
        Gap => "gap",
        /// The checksum does not match.
        Checksum => "checksum",
        /// The book is crossed for too long.
        Crossed => "crossed",
        /// A compressed frame cannot be decompressed, or exceeds the limit.
        Gzip => "gzip",
        /// Not a protobuf message.
        Protobuf => "protobuf",
        /// Reserved: this version does not count it.
        Other => "other",
    }
}

reasons! {
    /// Why a decoded quote was rejected.
    DropReason {
        /// Older than the quote in the matrix: by the venue's sequence number, or between two connections by its timestamp.
        Late => "late",
        /// A side is missing.
        OneSided => "one_sided",
        /// The bid is above the ask.
        Crossed => "crossed",
        /// Far from the venue's last mid and from all other venues': a decimal slip, until it is confirmed.
        Suspect => "suspect",
        /// The instrument or venue is not configured, or not any longer.
        NotWanted => "not_wanted",
    }
}

reasons! {
    /// Why a candidate above the threshold raises no alert, in the order of the checks: the first that applies is counted.
    AlertRefusal {
        /// The venue of a leg reports that the instrument cannot be traded now.
        NotTrading => "not_trading",
        /// The quote of a leg is too old, too old compared with the other leg, or silent for longer than usual.
        StaleLeg => "stale_leg",
        /// The quote of a leg is no longer valid: lost connection, gap, failed checksum.
        VoidLeg => "void_leg",
        /// A side was missing in the last quote of a leg.
        OneSided => "one_sided",
        /// The bid was above the ask in the last quote of a leg.
        CrossedLeg => "crossed_leg",
        /// The price of a leg jumped, and is not confirmed yet.
        SuspectJump => "suspect_jump",
        /// A leg's connection is new and its second quote has not come, or its venue reconnects too often.
        Reconnect => "reconnect",
        /// This process is behind, or a leg's connection has a backlog or is unusually silent: a newer quote of the leg may
        /// be on its way.
        LaggingOwn => "lagging_own",
        /// A leg arrived much later than usual by its venue's timestamps.
        LaggingVenue => "lagging_venue",
        /// The feed of a leg's venue had too many faults lately, see `detector::scorecard`.
        Quarantined => "quarantined",
        /// The two venues never agreed on the price: another asset or another unit under the same symbol, see
        /// `detector::identity`.
        Identity => "identity",
        /// The net spread is above the ceiling of what is plausible.
        Implausible => "implausible",
        /// The usual net spread of the route, its basis, is more than half of the threshold, and the present net spread is at
        /// most the basis plus the threshold; see `detector::basis`.
        StandingBasis => "standing_basis",
        /// The threshold is on the net spread, and only the gross spread is above it.
        Fees => "fees",
        /// It is not known that both legs could have been hit at the same moment, and such a proof is required.
        NotCoexistent => "not_coexistent",
    }
}

reasons! {
    /// What a closed opportunity was, see `detector::class`.
    Class {
        /// Both legs could have been hit at the same moment, with a profit after fees.
        Real => "real",
        /// Not proven, and gone within 100 ms.
        Flicker => "flicker",
        /// The view of one leg was outdated: a later frame refuted the opportunity, or it ended because a leg was late.
        LaggedView => "lagged_view",
        /// The legs are not the same asset, or not in the same unit.
        Alien => "alien",
        /// None of the others.
        Unclear => "unclear",
    }
}

reasons! {
    /// Faults that lower the feed score of a venue.
    ScorePart {
        /// Gaps in the sequence, failed checksums, crossed books.
        Gaps => "gaps",
        /// Frames that could not be decoded.
        Undecodable => "undecodable",
        /// Connections and instruments that were silent for too long.
        Silences => "silences",
        /// Connections that were lost.
        Lost => "lost",
        /// Quotes whose bid was above the ask.
        Crossed => "crossed",
        /// Quotes that arrived much later than usual.
        Lagging => "lagging",
    }
}

reasons! {
    /// Why an order book is void.
    BookVoid {
        /// Sequence numbers are not consecutive.
        Gap = 1 => "gap",
        /// The checksum does not match.
        Checksum = 2 => "checksum",
        /// The book is crossed. After one second it is requested again.
        Crossed = 3 => "crossed",
        /// The venue reports that trading is halted.
        Halt = 4 => "halt",
        /// No update arrived for longer than usual.
        Silent = 5 => "silent",
        /// The connection was lost or closed.
        Lost = 6 => "lost",
    }
}

impl BookVoid {
    /// The reverse of `as u8`; `None` for 0 and for unknown numbers.
    #[must_use]
    pub(crate) fn from_u8(n: u8) -> Option<Self> {
        Self::ALL.iter().copied().find(|it| *it as u8 == n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_its_own_counter() {
        let voids = Counts::<BookVoid>::default();
        voids.add(BookVoid::Lost, 2);
        voids.add(BookVoid::Gap, 1);
        assert_eq!((voids.value(BookVoid::Lost), voids.value(BookVoid::Halt), voids.total()), (2, 0, 3));
        let words: Vec<_> = voids.iter().collect();
        assert_eq!((words[0], words[5], words.len()), (("gap", 1), ("lost", 2), 6));
        assert_eq!((0..8).filter_map(BookVoid::from_u8).collect::<Vec<_>>(), BookVoid::ALL);
    }
}
