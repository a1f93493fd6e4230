//! The lives of opportunities, for the clients that follow them: openings and endings at once and never
//! lost, what lies between at each client's pace, the newest only.

use super::*;
use crate::gateway::deliver::deliver_kept;
use crate::gateway::ledger::Entry;
use crate::protocol::opportunity::{self as life, Change as Told};

/// Updates that are written to one client before it is asked whether it takes more, in bytes.
const UPDATES_AT_ONCE: usize = 16 * 1024;

impl Gateway {
    /// Takes an event into the ledger and tells its followers. `true` when there is an update for those who
    /// take every change.
    pub(super) fn record(&mut self, event: &OpportunityEvent) -> bool {
        let view = self.eye.view();
        let Some((change, entry)) = self.ledger.record(event, &self.directory, &view) else { return false };
        if self.followers.is_empty() || change == Told::Updated {
            return !self.followers.is_empty();
        }
        let mut frame = Vec::new();
        for (spelling, name) in self.desk.spellings(entry.opportunity.instrument) {
            frame.clear();
            for bundle in name.bundles.iter().filter_map(|id| self.desk.bundle(*id)) {
                for key in &bundle.members {
                    let Some(client) = self.clients.get_mut(*key).filter(|client| client.follows) else { continue };
                    if frame.is_empty() {
                        life_frame(entry, change, self.desk.symbols.json(spelling), &self.directory, &view, &mut frame);
                    }
                    match deliver_kept(client, &frame, &self.options, self.eye.now, &mut self.totals) {
                        Sent::All => self.totals.opportunities += 1,
                        Sent::Partly => {}
                        Sent::Gone => self.gone.push(*key),
                    }
                }
            }
        }
        self.settle_blocked();
        false
    }

    /// What is new, to the followers that take every change.
    pub(super) fn follow_live(&mut self) {
        for at in 0..self.followers.len() {
            let Some(key) = self.followers.get(at).copied() else { break };
            if self.clients.get(key).is_some_and(|client| client.beat.is_none()) {
                self.follow_up(key);
            }
        }
        self.remove_gone();
    }

    /// The newest state of each opportunity that changed since this client was last told, the longest waiting
    /// first. A client that does not read hears only what is newest when it reads again.
    pub(super) fn follow_up(&mut self, key: u32) {
        let (view, newest) = (self.eye.view(), self.ledger.updates());
        let Some(client) = self.clients.get_mut(key).filter(|client| client.follows && client.listens) else { return };
        if client.followed == newest || client.outbox.is_blocked() {
            return;
        }
        let symbols = self.desk.symbols_of(client.bundle);
        let named = symbols.iter().filter_map(|id| Some((*id, self.desk.instrument(*id)?)));
        let entries = named.flat_map(|(id, instrument)| self.ledger.of(instrument).map(move |entry| (id, entry)));
        let mut changed: Vec<(u32, &Entry)> = entries.filter(|(_, entry)| entry.changed > client.followed).collect();
        changed.sort_by_key(|(_, entry)| entry.changed);
        let mut out = std::mem::take(&mut self.out);
        let mut sent = Sent::All;
        let mut rest = changed.into_iter().peekable();
        while sent == Sent::All && rest.peek().is_some() {
            out.clear();
            let mut ends = Vec::new();
            while let Some((spelling, entry)) = rest.next() {
                let symbol = self.desk.symbols.json(spelling);
                life_frame(entry, Told::Updated, symbol, &self.directory, &view, &mut out);
                ends.push((out.len(), entry.changed));
                // Two spellings of one instrument belong together.
                if out.len() > UPDATES_AT_ONCE && rest.peek().is_none_or(|(_, next)| next.changed > entry.changed) {
                    break;
                }
            }
            let kept;
            (sent, kept) = client.write_newest(&out, self.eye.now, &mut self.totals);
            // What was cut off is owed in its newest state, with all that changed at the same moment.
            let told = ends.iter().take_while(|(end, _)| *end <= kept).count();
            self.totals.opportunities += told as u64;
            client.followed = match ends.get(told) {
                Some((_, lost)) => lost - 1,
                None => ends.last().map_or(client.followed, |(_, changed)| *changed),
            };
        }
        if sent == Sent::All {
            client.followed = newest;
        }
        out.clear();
        self.out = out;
        match sent {
            Sent::All => {}
            Sent::Partly => self.settle(key),
            Sent::Gone => self.gone.push(key),
        }
    }

    /// Appends the open opportunities of `spellings`, for a client that follows them from now on.
    pub(super) fn open_lives(&self, spellings: &[u32], out: &mut Vec<u8>) -> u64 {
        let mut count = 0;
        for spelling in spellings {
            let Some(instrument) = self.desk.instrument(*spelling) else { continue };
            for entry in self.ledger.of(instrument) {
                let symbol = self.desk.symbols.json(*spelling);
                life_frame(entry, Told::Opened, symbol, &self.directory, &self.eye.view(), out);
                count += 1;
            }
        }
        count
    }

    /// `key` follows opportunities from now on, or no longer.
    pub(super) fn set_follows(&mut self, key: u32, follows: bool) {
        let Some(client) = self.clients.get_mut(key).filter(|client| client.follows != follows) else { return };
        client.follows = follows;
        client.followed = self.ledger.updates();
        self.followers.retain(|other| *other != key);
        if follows {
            self.followers.push(key);
        }
    }
}

fn life_frame(entry: &Entry, change: Told, symbol: &[u8], directory: &Directory, view: &View<'_>, out: &mut Vec<u8>) {
    frame_text(out, |out| life::opportunity(&entry.moment(change, symbol, directory, view), out));
}
