//! The set of instruments and exchanges has changed: what is derived from it here is derived again, and extended
//! clients are told.

use super::*;
use crate::gateway::deliver::deliver_kept;

/// What was there when it was last looked at.
#[derive(Default)]
pub(super) struct Seen {
    edition: u64,
    symbols: Vec<String>,
    exchanges: Vec<String>,
}

impl Seen {
    /// What is there now.
    pub fn of(directory: &Directory) -> Self {
        Self {
            edition: directory.edition(),
            symbols: directory.instruments_on().map(|(_, symbol)| symbol.clone()).collect(),
            exchanges: directory.venues_on().map(|(_, venue)| venue.name.clone()).collect(),
        }
    }
}

impl Gateway {
    /// Looks whether the set has changed since the last turn.
    pub(super) fn look_at_set(&mut self) {
        let is_new = self.directory.edition() != self.seen.edition;
        if is_new {
            self.desk.renew(&self.eye.view());
        }
        self.desk.renew_some(&self.eye.view());
        if !is_new {
            return;
        }
        let before = std::mem::replace(&mut self.seen, Seen::of(&self.directory));
        let less = |of: &[String], not_in: &[String]| -> Vec<String> {
            of.iter().filter(|name| !not_in.contains(name)).cloned().collect()
        };
        let now = &self.seen;
        let names = message::SetNames {
            added: less(&now.symbols, &before.symbols),
            removed: less(&before.symbols, &now.symbols),
            exchanges_added: less(&now.exchanges, &before.exchanges),
            exchanges_removed: less(&before.exchanges, &now.exchanges),
        };
        if names == message::SetNames::default() {
            return;
        }
        let mut frame = Vec::new();
        frame_text(&mut frame, |out| message::set(&names, out));
        for key in self.clients.keys() {
            let is_told = |client: &&mut Client| client.kind == Kind::Socket && client.extended && client.listens;
            let Some(client) = self.clients.get_mut(key).filter(is_told) else { continue };
            if deliver_kept(client, &frame, &self.options, self.eye.now, &mut self.totals) == Sent::Gone {
                self.gone.push(key);
            }
        }
        self.settle_blocked();
    }
}
