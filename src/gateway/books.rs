//! Order books to the clients that watch them: once per beat the books that changed, whole, all of one client in one
//! write. Who does not read misses states in between; that a book became void it hears in any case.

use super::*;
use crate::gateway::shelf::Told;
use crate::protocol::request::BookName;

/// Bytes of books that are written to one client before it is asked whether it takes more.
const BOOKS_AT_ONCE: usize = 16 * 1024;

/// One book of a client.
#[derive(Clone, Copy, Debug)]
pub struct Seat {
    /// Which watch of the [`shelf`].
    pub watch: u32,
    /// The number of the last state that it was told.
    told: u64,
}

impl Gateway {
    /// Writes what is new of books, to a bounded number of clients per turn. Nothing is done while nobody watches any.
    pub(super) fn deliver_books(&mut self) -> usize {
        if self.shelf.is_empty() {
            // Whoever was owed something has left.
            self.owed.clear();
            self.sweeping = false;
            return 0;
        }
        if self.owed.is_empty() && !self.sweeping && self.books_at <= self.eye.now {
            (self.sweeping, self.books_at) = (true, self.eye.now.plus(self.options.book_beat_ns));
        }
        if self.sweeping {
            let Self { shelf, clients, owed, eye, books, directory, .. } = self;
            let look = Look { table: books, directory, view: eye.view() };
            self.sweeping = !shelf.sweep(&look, |members| owe(clients, owed, members));
            // One write has all books of a client.
            if self.sweeping {
                return 1;
            }
        }
        let mut count = 0;
        while count < BEATS_MAX
            && let Some(call) = self.owed.pop_front()
        {
            count += 1;
            if self.clients.get(call.key).is_some_and(|client| client.generation == call.generation) {
                self.write_books(call.key);
            }
        }
        count
    }

    /// What a client has not been told; all of it, unless it ceases to read.
    fn write_books(&mut self, key: u32) {
        let Some(client) = self.clients.get_mut(key).filter(|client| client.owes_books && client.listens) else {
            return;
        };
        if client.outbox.is_blocked() {
            return;
        }
        client.owes_books = false;
        let mut out = std::mem::take(&mut self.out);
        // For each book in `out` its seat, what the client knew of it, what it is told, and where that ends.
        let mut written: Vec<(usize, u64, Told, usize)> = Vec::new();
        let mut sent = Sent::All;
        for at in 0..=client.books.len() {
            if let Some(seat) = client.books.get_mut(at)
                && let Some(watch) = self.shelf.watch(seat.watch).filter(|watch| watch.has_news(seat.told))
            {
                let told = watch.tell(seat.told, &mut out);
                written.push((at, seat.told, told, out.len()));
                seat.told = told.version;
            }
            let is_last = at == client.books.len();
            if out.len() <= if is_last { 0 } else { BOOKS_AT_ONCE } {
                continue;
            }
            let kept;
            (sent, kept) = client.write_newest(&out, self.eye.now, &mut self.totals);
            for (at, known, told, end) in written.drain(..) {
                if end <= kept {
                    self.totals.books += told.messages;
                    self.totals.books_conflated += told.missed;
                } else {
                    // It hears the newest when it reads again.
                    (client.books[at].told, client.owes_books) = (known, true);
                }
            }
            out.clear();
            if sent != Sent::All {
                client.owes_books |= !is_last;
                break;
            }
        }
        out.clear();
        self.out = out;
        match sent {
            Sent::All => {}
            Sent::Partly => self.settle(key),
            Sent::Gone => self.gone.push(key),
        }
    }

    /// A client reads again: the newest of each book that changed meanwhile, as it is now.
    pub(super) fn catch_up_books(&mut self, key: u32) {
        let Self { shelf, clients, owed, eye, books, directory, .. } = self;
        let Some(client) = clients.get(key).filter(|client| client.owes_books) else { return };
        let look = Look { table: books, directory, view: eye.view() };
        let has_news = |seat: &Seat| shelf.watch(seat.watch).is_some_and(|watch| watch.has_news(seat.told));
        let watches: Vec<u32> = client.books.iter().filter(|seat| has_news(seat)).map(|seat| seat.watch).collect();
        for watch in watches {
            shelf.renew(watch, &look, |members| owe(clients, owed, members));
        }
        self.write_books(key);
    }

    /// The books that a client watches from now on, instead of those before.
    pub(super) fn watch_books(&mut self, key: u32, wanted: &[(BookName, usize)]) {
        let Self { shelf, clients, owed, eye, books, directory, .. } = self;
        let look = Look { table: books, directory, view: eye.view() };
        let Some(before) = clients.get_mut(key).map(|client| std::mem::take(&mut client.books)) else { return };
        let mut after = Vec::with_capacity(wanted.len());
        for (name, levels) in wanted {
            let watch = shelf.join(&name.symbol, &name.exchange, *levels, key, &look);
            let known = before.iter().find(|seat| seat.watch == watch);
            after.push(known.copied().unwrap_or_else(|| {
                shelf.renew(watch, &look, |members| owe(clients, owed, members));
                Seat { watch, told: shelf.known_to_joiner(watch) }
            }));
        }
        for seat in &before {
            shelf.leave(seat.watch, key);
        }
        let Some(client) = clients.get_mut(key) else { return };
        self.watched = self.watched + after.len() as u64 - before.len() as u64;
        client.owes_books = !after.is_empty();
        client.books = after;
    }

    /// What a client watches is new, after the reply that says so.
    pub(super) fn begin_books(&mut self, key: u32) {
        self.write_books(key);
        self.remove_gone();
    }
}

/// These clients have something to be told; each is in the queue once.
fn owe(clients: &mut Slots<Client>, owed: &mut VecDeque<Call>, members: &[u32]) {
    for key in members {
        let Some(client) = clients.get_mut(*key).filter(|client| !client.owes_books) else { continue };
        client.owes_books = true;
        owed.push_back(Call { key: *key, generation: client.generation });
    }
}
