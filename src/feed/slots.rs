//! Numbers for the sockets and page requests of lines. They stay the same when a line changes its role, so they serve as
//! tokens on the poll and as numbers of orders to the dialers.

/// What a slot belongs to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    /// Index of the channel.
    pub channel: usize,
    /// Index of the pair in the channel.
    pub pair: usize,
    /// Whether it is for book pages of the line, not for its socket.
    pub is_page: bool,
}

/// All slots of a feed.
#[derive(Debug, Default)]
pub(super) struct Slots(Vec<Slot>);

impl Slots {
    /// Slots for the socket and the pages of a new line.
    pub fn add(&mut self, channel: usize, pair: usize) -> [usize; 2] {
        [false, true].map(|is_page| {
            self.0.push(Slot { channel, pair, is_page });
            self.0.len() - 1
        })
    }

    /// What a slot belongs to; `None` for a number that is no slot.
    pub fn get(&self, slot: usize) -> Option<Slot> {
        self.0.get(slot).copied()
    }

    /// How many there are.
    pub const fn len(&self) -> usize {
        self.0.len()
    }
}
