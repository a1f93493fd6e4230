//! Order books to clients: once per interval the whole state of each book that changed, all books of a client in one
//! write. A slow client misses states in between, but always receives that a book became void. Runs on the gateway's
//! thread.

use std::collections::VecDeque;

use crate::gateway::books::watches::{BookUpdate, BookWatch, BookWatches, WatchedBook};
use crate::gateway::client::Sent;
use crate::gateway::clients::Clients;
use crate::gateway::timers::ClientId;
use crate::gateway::view::Snapshot;
use crate::protocol::request::{BookName, RequestError};
use crate::time::{MS, MonoNs};

/// Bytes of books that are written to one client before its socket is checked again.
const BOOKS_AT_ONCE: usize = 16 * 1024;
/// Clients that receive books in one turn before alerts and changes are handled again.
const CLIENTS_MAX: usize = 64;
/// Most order books of one client that are not quoted. Each takes memory that no other client shares, and none ever has
/// content.
pub const UNQUOTED_BOOKS_MAX: usize = 64;

/// See the file's head.
pub struct Books {
    watches: BookWatches,
    /// When the watched books are compared next,
    sweep_at: MonoNs,
    /// and whether that is in progress.
    is_sweeping: bool,
    /// Clients with a changed book, each once.
    due: VecDeque<ClientId>,
    /// Watched books of all clients.
    watched: u64,
    out: Vec<u8>,
}

impl Books {
    /// No watches.
    #[must_use]
    pub fn new(now: MonoNs) -> Self {
        Self {
            watches: BookWatches::default(),
            sweep_at: now,
            is_sweeping: false,
            due: VecDeque::new(),
            watched: 0,
            out: Vec::new(),
        }
    }

    /// Watched books of all clients.
    #[must_use]
    pub(crate) fn watched(&self) -> u64 {
        self.watched
    }

    /// Whether there is work that does not wait for a time.
    #[must_use]
    pub(crate) fn is_busy(&self) -> bool {
        self.is_sweeping || !self.due.is_empty()
    }

    /// When the watched books are compared next.
    #[must_use]
    pub fn deadline(&self) -> Option<MonoNs> {
        (!self.watches.is_empty()).then_some(self.sweep_at)
    }

    /// The watches of a client, in the order of its subscription.
    pub(crate) fn watches_of<'a>(&'a self, watched: &'a [WatchedBook]) -> impl Iterator<Item = &'a BookWatch> + Clone {
        watched.iter().filter_map(|book| self.watches.get(book.watch))
    }

    /// Writes changed books to a limited number of clients. Does nothing while no book is watched.
    pub fn deliver(&mut self, clients: &mut Clients, snapshot: &Snapshot<'_>) -> usize {
        if self.watches.is_empty() {
            // The clients in the queue have left.
            self.due.clear();
            self.is_sweeping = false;
            return 0;
        }
        if !self.is_busy() && self.sweep_at <= snapshot.client_now {
            (self.is_sweeping, self.sweep_at) = (true, snapshot.client_now.plus(snapshot.settings.books.beat_ms * MS));
        }
        if self.is_sweeping {
            let Self { watches, due, .. } = self;
            self.is_sweeping = !watches.sweep(snapshot, |members| mark_due(members, clients, due));
            // A client receives all its changed books in one write.
            if self.is_sweeping {
                return 1;
            }
        }
        let mut count = 0;
        while count < CLIENTS_MAX
            && let Some(id) = self.due.pop_front()
        {
            count += 1;
            if clients.holds(id) {
                self.send(id.key, clients, snapshot);
            }
        }
        count
    }

    /// Sends every changed book of a client, unless it stops reading.
    pub fn send(&mut self, key: u32, clients: &mut Clients, snapshot: &Snapshot<'_>) {
        let Self { watches, out, .. } = self;
        let Some((client, totals)) = clients.entry(key) else { return };
        if !client.books.is_due || !client.listens || client.outbox.is_blocked() {
            return;
        }
        let books = &mut client.books;
        let mut is_due = false;
        // The index of each book in `out`, the version before, the update, and where its messages end.
        let mut written: Vec<(usize, u64, BookUpdate, usize)> = Vec::new();
        let mut watched = std::mem::take(&mut books.watched);
        let mut sent = Sent::All;
        out.clear();
        for at in 0..=watched.len() {
            if let Some(book) = watched.get_mut(at)
                && let Some(watch) = watches.get(book.watch).filter(|watch| watch.is_newer_than(book.sent))
            {
                let update = watch.append_update(book.sent, out);
                written.push((at, book.sent, update, out.len()));
                book.sent = update.version;
            }
            let is_last = at == watched.len();
            if out.len() <= if is_last { 0 } else { BOOKS_AT_ONCE } {
                continue;
            }
            let taken;
            (sent, taken) = client.write_newest(out, snapshot.client_now, totals);
            for (at, before, update, end) in written.drain(..) {
                if end <= taken {
                    totals.books += update.messages;
                    totals.books_conflated += update.missed;
                } else {
                    // It receives the newest state when it reads again.
                    (watched[at].sent, is_due) = (before, true);
                }
            }
            out.clear();
            if sent != Sent::All {
                is_due |= !is_last;
                break;
            }
        }
        out.clear();
        (client.books.watched, client.books.is_due) = (watched, is_due);
        clients.after_write(key, sent, snapshot);
    }

    /// Sends the present state of each changed book to a client that reads again.
    pub fn catch_up(&mut self, key: u32, clients: &mut Clients, snapshot: &Snapshot<'_>) {
        let Some(client) = clients.get(key).filter(|client| client.books.is_due) else { return };
        let is_newer = |book: &&WatchedBook| self.watches.get(book.watch).is_some_and(|it| it.is_newer_than(book.sent));
        let changed: Vec<u32> = client.books.watched.iter().filter(is_newer).map(|book| book.watch).collect();
        for watch in changed {
            self.watches.renew(watch, snapshot, |members| mark_due(members, clients, &mut self.due));
        }
        self.send(key, clients, snapshot);
    }

    /// Approximate memory of all watches, in bytes.
    #[must_use]
    pub const fn size(&self) -> usize {
        self.watches.size()
    }

    /// Checks whether there is memory for the books `wanted` of a client. A client receives at most an eighth of the
    /// remaining memory, so that a few books always fit.
    ///
    /// # Errors
    /// The limit that is exceeded; the client receives it.
    pub fn check(
        &self,
        wanted: &[(BookName, usize)],
        watched: &[WatchedBook],
        snapshot: &Snapshot<'_>,
    ) -> Result<(), RequestError> {
        let limits = &snapshot.settings.gateway;
        let books = wanted.iter().map(|(name, levels)| (name.symbol.as_str(), name.exchange.as_str(), *levels));
        let cost = self.watches.cost(books, watched, snapshot);
        if cost.new == 0 {
            return Ok(());
        }
        if cost.unquoted > UNQUOTED_BOOKS_MAX {
            return Err(RequestError::Limit(format!(
                "Too many books that are not quoted: at most {}",
                UNQUOTED_BOOKS_MAX
            )));
        }
        let left = limits.books_bytes_max().saturating_sub(self.size()) / 8;
        if cost.own > limits.client_bytes_max || cost.new > left {
            return Err(RequestError::Limit("Too many books: there is no memory for all of these now".to_owned()));
        }
        Ok(())
    }

    /// Replaces the watched books of a client. `wanted`: names and levels a side.
    pub fn watch(&mut self, key: u32, wanted: &[(BookName, usize)], clients: &mut Clients, snapshot: &Snapshot<'_>) {
        let Self { watches, due, .. } = self;
        let Some(before) = clients.get_mut(key).map(|client| std::mem::take(&mut client.books.watched)) else { return };
        let mut after = Vec::with_capacity(wanted.len());
        for (name, levels) in wanted {
            let watch = watches.join((&name.symbol, &name.exchange, *levels), key, snapshot);
            let known = before.iter().find(|book| book.watch == watch);
            after.push(known.copied().unwrap_or_else(|| {
                watches.renew(watch, snapshot, |members| mark_due(members, clients, due));
                WatchedBook { watch, sent: watches.version_at_join(watch) }
            }));
        }
        for book in &before {
            watches.leave(book.watch, key);
        }
        let Some(client) = clients.get_mut(key) else { return };
        self.watched = self.watched + after.len() as u64 - before.len() as u64;
        client.books.is_due = !after.is_empty();
        client.books.watched = after;
    }

    /// A client has left.
    pub fn remove(&mut self, key: u32, watched: &[WatchedBook]) {
        watched.iter().for_each(|book| self.watches.leave(book.watch, key));
        self.watched -= watched.len() as u64;
    }
}

/// Queues these clients, each once.
fn mark_due(members: &[u32], clients: &mut Clients, due: &mut VecDeque<ClientId>) {
    for key in members {
        let Some(client) = clients.get_mut(*key).filter(|client| !client.books.is_due) else { continue };
        client.books.is_due = true;
        due.push_back(client.id);
    }
}
