//! Prices to clients: every change for clients that asked for it, bursts at the interval of each other client, and
//! notifications that a price became stale. A client that does not read is marked, and receives the newest prices when it
//! reads again. Runs on the gateway's thread.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::gateway::client::{Client, Sent, UNARMED};
use crate::gateway::clients::{Clients, WHEEL_SLOTS};
use crate::gateway::outbox::IndexSet;
use crate::gateway::prices::subscriptions::{Arrival, Burst, MemoryLimit, Portion, SubscriptionRequest, Subscriptions};
use crate::gateway::timers::{ClientId, Timers};
use crate::gateway::view::Snapshot;
use crate::matrix::changes::Changes;
use crate::metrics::latency::{Hop, Recorder};
use crate::time::{MS, MonoNs};

/// Bytes of prices that are composed for one client before its socket is checked again.
const PRICES_AT_ONCE: usize = 8 * 1024;
/// Bursts written in one turn before alerts and changes are handled again.
pub(crate) const BURSTS_MAX: usize = 64;
/// Resolution of bursts: the shortest interval that a client may ask for.
const BURST_TICK_NS: u64 = 10 * MS;
/// Bursts with an interval of at least twice this begin on a multiple of it.
const BURST_ALIGN_NS: u64 = 100 * MS;
/// How often extended prices are checked for staleness.
const STALE_CHECK_NS: u64 = 50 * MS;

/// The first burst after `now` of a client with this interval. Long intervals begin on a multiple of [`BURST_ALIGN_NS`],
/// so that one wake-up serves many clients.
fn first_burst(now: MonoNs, interval: u64) -> MonoNs {
    let at = now.plus(interval);
    if interval < 2 * BURST_ALIGN_NS { at } else { MonoNs(at.0.next_multiple_of(BURST_ALIGN_NS)) }
}

/// See the file's head.
pub struct Prices {
    /// The subscriptions of all clients.
    pub subscriptions: Subscriptions,
    /// Cells that changed.
    changes: Arc<Changes>,
    timers: Timers,
    /// Clients whose burst is due.
    due: VecDeque<ClientId>,
    stale_check_at: MonoNs,
    /// Pairs of all WebSocket clients.
    pairs: u64,
    /// The names in use changed since they were published.
    names_changed: bool,
    arrivals: Vec<Arrival>,
}

impl Prices {
    /// No subscriptions. `changes` marks the cells that changed.
    #[must_use]
    pub fn new(subscriptions: Subscriptions, changes: Arc<Changes>, now: MonoNs) -> Self {
        Self {
            subscriptions,
            changes,
            timers: Timers::new(WHEEL_SLOTS, BURST_TICK_NS, now),
            due: VecDeque::new(),
            stale_check_at: now,
            pairs: 0,
            names_changed: false,
            arrivals: Vec::new(),
        }
    }

    /// Whether a cell changed that some client must receive at once.
    #[must_use]
    pub(crate) fn has_changes(&self) -> bool {
        self.changes.is_marked()
    }

    /// Whether there is work that does not wait for a timer.
    #[must_use]
    pub(crate) fn is_busy(&self) -> bool {
        !self.due.is_empty() || self.subscriptions.is_renewing()
    }

    /// When the next burst or check is due.
    #[must_use]
    pub fn deadline(&self) -> Option<MonoNs> {
        let check = self.subscriptions.has_extended().then_some(self.stale_check_at);
        [self.timers.next(), check].into_iter().flatten().min()
    }

    /// Pairs of all WebSocket clients.
    #[must_use]
    pub fn pairs(&self) -> u64 {
        self.pairs
    }

    /// Whether the names in use changed since the last call.
    pub(crate) fn take_names_changed(&mut self) -> bool {
        std::mem::take(&mut self.names_changed)
    }

    // Subscriptions.

    /// Subscribes a stream.
    ///
    /// # Errors
    /// If there is not enough memory.
    pub(crate) fn subscribe_stream(
        &mut self,
        key: u32,
        request: &SubscriptionRequest<'_>,
        clients: &mut Clients,
        snapshot: &Snapshot<'_>,
    ) -> Result<IndexSet, MemoryLimit> {
        let set = self.subscriptions.join(None, key, request, snapshot.quote_now)?;
        self.names_changed = true;
        if let Some(client) = clients.get_mut(key) {
            client.prices.set = set;
            client.prices.interval = (!request.live).then_some(snapshot.settings.gateway.sse_beat_ms * MS);
        }
        Ok(set.map(|set| self.subscriptions.added(None, set)).unwrap_or_default())
    }

    /// Changes the subscription of a WebSocket client to `request`. `interval` is the requested interval, if there is one:
    /// a new interval begins now. Returns the indexes of prices that are new to the client.
    ///
    /// # Errors
    /// If there is not enough memory; then nothing is changed.
    pub fn subscribe(
        &mut self,
        client: &mut Client,
        request: &SubscriptionRequest<'_>,
        interval: Option<Option<u64>>,
        snapshot: &Snapshot<'_>,
    ) -> Result<IndexSet, MemoryLimit> {
        let before = client.prices.set;
        let after = self.subscriptions.join(before, client.id.key, request, snapshot.quote_now)?;
        self.names_changed = true;
        let (quote_now, client_now) = (snapshot.quote_now.0, snapshot.client_now.0);
        // Until when a client that receives every change from now on knows its prices.
        let known_until =
            client.prices.interval.filter(|_| request.live).map(|interval| match client.prices.burst_at {
                UNARMED => MonoNs(0),
                next => MonoNs(quote_now.saturating_sub((client_now + interval).saturating_sub(next.0))),
            });
        client.prices.extended = request.format.is_extended();
        client.prices.set = after;
        client.prices.skipped = None;
        client.outbox.clear_marks();
        if let Some(interval) = interval {
            (client.prices.interval, client.prices.burst_at) = (interval, UNARMED);
        }
        let mut new = IndexSet::default();
        if let Some(after) = after {
            new = self.subscriptions.added(before, after);
            if let Some(known_until) = known_until {
                new.insert_all(&self.subscriptions.newer(after, known_until, snapshot));
            }
        }
        self.pairs = self.pairs + self.subscriptions.pairs_of(after) - self.subscriptions.pairs_of(before);
        Ok(new)
    }

    /// `key` leaves its former set after [`Self::subscribe`].
    pub fn leave(&mut self, set: u32, key: u32) {
        self.subscriptions.leave(set, key);
    }

    /// A client has left. `is_socket`: its pairs were counted.
    pub fn remove(&mut self, set: u32, key: u32, is_socket: bool) {
        if is_socket {
            self.pairs -= self.subscriptions.pairs_of(Some(set));
        }
        self.subscriptions.leave(set, key);
        self.names_changed = true;
    }

    // Every change.

    /// Writes each changed price to the clients that receive every change: one write per client and turn.
    pub(crate) fn deliver_changes(
        &mut self,
        clients: &mut Clients,
        recorder: &mut Recorder,
        snapshot: &Snapshot<'_>,
    ) -> usize {
        let mut count = 0;
        let Self { subscriptions, changes, arrivals, .. } = self;
        changes.drain(|pair| {
            count += 1;
            subscriptions.changed(pair, snapshot);
        });
        let mut is_any_blocked = false;
        while let Some((id, burst, changed)) = subscriptions.next_touched(snapshot, arrivals) {
            let (bytes, indexes) = subscriptions.bytes(&burst);
            let Some(set) = subscriptions.set(id).filter(|_| !burst.is_empty()) else { continue };
            for key in &set.live {
                let Some((client, totals)) = clients.entry(*key) else { continue };
                if !client.listens {
                    continue;
                }
                if client.outbox.is_blocked() {
                    for index in &changed {
                        totals.conflated += u64::from(client.outbox.mark(*index));
                    }
                    continue;
                }
                match client.write_prices(bytes, indexes, snapshot.client_now, totals) {
                    Sent::All => {}
                    Sent::Partly => is_any_blocked = true,
                    Sent::Gone => {
                        clients.discard(*key);
                        continue;
                    }
                }
                let written = snapshot.clocks.quotes.now();
                for (venue, received) in arrivals.iter() {
                    recorder.record(Hop::WireToPrice, venue.index(), *received, written);
                }
            }
            subscriptions.recycle_touched(id, changed);
        }
        if is_any_blocked {
            clients.settle_blocked(snapshot);
        }
        count
    }

    // Bursts.

    /// Takes the next client whose burst is due at `now`.
    pub(crate) fn next_due(&mut self, now: MonoNs) -> Option<ClientId> {
        self.timers.take_due(now, &mut self.due);
        self.due.pop_front()
    }

    /// Writes the burst of a client whose timer is due, and arms the next one. `false` if the client receives nothing now.
    pub(crate) fn send_burst(&mut self, id: ClientId, clients: &mut Clients, snapshot: &Snapshot<'_>) -> bool {
        let now = snapshot.client_now;
        let Some((client, totals)) = clients.entry(id.key) else { return false };
        if client.id != id || client.prices.burst_at > now {
            return false;
        }
        // The timer of a client without an interval or subscription remains unarmed: `send_now` arms it.
        let due = std::mem::replace(&mut client.prices.burst_at, UNARMED);
        let set = client.prices.set.filter(|_| client.listens);
        let (Some(interval), Some(set)) = (client.prices.interval, set) else { return false };
        let next = due.plus(interval);
        client.prices.burst_at = if next > now { next } else { first_burst(now, interval) };
        self.timers.arm(client.prices.burst_at, id);
        if client.outbox.is_blocked() {
            totals.conflated += self.subscriptions.set(set).map_or(0, |set| set.topics() as u64);
            client.outbox.is_all_due = true;
            return false;
        }
        let burst = match client.prices.skipped.take() {
            None => self.subscriptions.burst(set, snapshot),
            Some(skipped) => self.subscriptions.burst_of(set, snapshot, |index| !skipped.contains(index)),
        };
        self.write_burst(id.key, &burst, clients, snapshot);
        true
    }

    /// Writes a burst. Returns whether the client took all of it.
    fn write_burst(&self, key: u32, burst: &Burst, clients: &mut Clients, snapshot: &Snapshot<'_>) -> bool {
        if burst.is_empty() {
            return true;
        }
        let Some((client, totals)) = clients.entry(key) else { return true };
        let (bytes, indexes) = self.subscriptions.bytes(burst);
        let sent = client.write_prices(bytes, indexes, snapshot.client_now, totals);
        clients.after_write(key, sent, snapshot);
        sent == Sent::All
    }

    /// Sends the prices of `indexes` immediately. A client with a running interval receives them again only with the burst
    /// after the next one, so that none is sent twice within its interval.
    pub(crate) fn send_now(&mut self, key: u32, indexes: IndexSet, clients: &mut Clients, snapshot: &Snapshot<'_>) {
        let now = snapshot.client_now;
        let Some(client) = clients.get_mut(key) else { return };
        let Some(set) = client.prices.set.filter(|_| client.listens) else { return };
        let burst = self.subscriptions.burst_of(set, snapshot, |index| indexes.contains(index));
        match client.prices.interval {
            None => self.subscriptions.set_delivered(set, &indexes),
            Some(interval) if client.prices.burst_at == UNARMED => {
                client.prices.burst_at = first_burst(now, interval);
                self.timers.arm(client.prices.burst_at, client.id);
            }
            Some(_) if !indexes.is_empty() => client.prices.skipped = Some(Box::new(indexes)),
            Some(_) => {}
        }
        if client.outbox.is_blocked() {
            client.outbox.is_all_due = true;
            return;
        }
        self.write_burst(key, &burst, clients, snapshot);
    }

    /// Sends the newest prices to a client that reads again. Prices that were dropped precede those that it received before
    /// it missed a burst, so that none of many prices is left out forever. `false` if the client has no subscription.
    pub fn catch_up(&mut self, key: u32, clients: &mut Clients, snapshot: &Snapshot<'_>) -> bool {
        let now = snapshot.client_now;
        let Some(client) = clients.get_mut(key) else { return false };
        let Some(set) = client.prices.set.filter(|_| client.listens) else { return false };
        let marks = client.outbox.take_marks();
        let is_all_due = std::mem::take(&mut client.outbox.is_all_due);
        if !is_all_due && marks.is_empty() {
            return true;
        }
        if let Some(interval) = client.prices.interval.filter(|_| is_all_due) {
            client.prices.burst_at = first_burst(now, interval);
            client.prices.skipped = None;
            self.timers.arm(client.prices.burst_at, client.id);
        }
        if !self.write_newest((key, set), |index| marks.contains(index), true, clients, snapshot) {
            if let Some(client) = clients.get_mut(key) {
                client.outbox.is_all_due |= is_all_due;
            }
        } else if is_all_due {
            self.write_newest((key, set), |index| !marks.contains(index), false, clients, snapshot);
        }
        true
    }

    /// Writes the `wanted` prices of a set in portions. `false` if the client does not take all of them; then the others
    /// are marked.
    fn write_newest(
        &mut self,
        (key, set): (u32, u32),
        wanted: impl Fn(usize) -> bool,
        with_stale: bool,
        clients: &mut Clients,
        snapshot: &Snapshot<'_>,
    ) -> bool {
        let mut from = 0;
        let end = self.subscriptions.set(set).map_or(0, |set| set.topics());
        while from < end {
            let portion = Portion { from, bytes_max: PRICES_AT_ONCE, with_stale };
            let (burst, next) = self.subscriptions.burst_from(set, snapshot, portion, &wanted);
            from = next;
            if !self.write_burst(key, &burst, clients, snapshot) {
                if let Some(client) = clients.get_mut(key) {
                    (from..end).filter(|index| wanted(*index)).for_each(|index| {
                        client.outbox.mark(index as u32);
                    });
                }
                return false;
            }
        }
        true
    }

    // Staleness.

    /// Notifies extended clients once that a price became stale.
    pub(crate) fn notify_stale(&mut self, clients: &mut Clients, snapshot: &Snapshot<'_>) {
        if !self.subscriptions.has_extended() || self.stale_check_at > snapshot.client_now {
            return;
        }
        self.stale_check_at = snapshot.client_now.plus(STALE_CHECK_NS);
        self.subscriptions.take_stale(snapshot, |frame, members, find_index| {
            let mut index = None;
            for key in members {
                let Some(client) = clients.get_mut(*key) else { continue };
                if client.outbox.is_blocked() {
                    // It receives the newest state when it reads again.
                    if let Some(index) = *index.get_or_insert_with(find_index) {
                        client.outbox.mark(index);
                    }
                } else if clients.deliver(*key, frame, snapshot) {
                    clients.totals.prices += 1;
                }
            }
        });
        clients.settle_blocked(snapshot);
    }
}
