//! What WebSocket clients and streams subscribe to: prices, order books and opportunities. Carries out subscribe and
//! unsubscribe requests, and delivers in an order that holds over all three. Runs on the gateway's thread.

use std::collections::HashSet;
use std::sync::Arc;

use crate::gateway::books::deliver::Books;
use crate::gateway::client::{Client, ClientKind};
use crate::gateway::clients::Clients;
use crate::gateway::opportunities::deliver::Opportunities;
use crate::gateway::opportunities::demand::NewSymbol;
use crate::gateway::outbox::IndexSet;
use crate::gateway::prices::deliver::{BURSTS_MAX, Prices};
use crate::gateway::prices::subscriptions::{MemoryLimit, SubscriptionRequest};
use crate::gateway::set_changes::SetChanges;
use crate::gateway::view::{PriceFormat, Snapshot};
use crate::gateway::wanted::Wanted;
use crate::metrics::latency::Recorder;
use crate::protocol::message;
use crate::protocol::request::{Action, Command, RequestError};
use crate::time::MS;
use crate::wire::websocket::frame_text;

/// See the file's head.
pub(crate) struct Services {
    /// Prices.
    pub prices: Prices,
    /// Order books.
    pub books: Books,
    /// Opportunities.
    pub opportunities: Opportunities,
    set_changes: SetChanges,
    recorder: Recorder,
    out: Vec<u8>,
}

impl Services {
    /// Without subscriptions. Latencies go to `recorder`; changes of the set count from `set_changes` on.
    #[must_use]
    pub fn new(
        prices: Prices,
        books: Books,
        opportunities: Opportunities,
        set_changes: SetChanges,
        recorder: Recorder,
    ) -> Self {
        Self { prices, books, opportunities, set_changes, recorder, out: Vec::with_capacity(4096) }
    }

    /// Whether there is work that does not wait for a time.
    #[must_use]
    pub(crate) fn is_busy(&self) -> bool {
        self.prices.is_busy() || self.books.is_busy()
    }

    // Delivery.

    /// Handles events of the detector. Returns how many.
    pub(crate) fn deliver_events(&mut self, clients: &mut Clients, snapshot: &Snapshot<'_>) -> usize {
        let Self { prices, opportunities, recorder, .. } = self;
        opportunities.deliver(&prices.subscriptions, clients, recorder, snapshot)
    }

    /// Writes changed prices to clients that receive every change. Returns how many cells changed.
    pub(crate) fn deliver_changes(&mut self, clients: &mut Clients, snapshot: &Snapshot<'_>) -> usize {
        self.prices.deliver_changes(clients, &mut self.recorder, snapshot)
    }

    /// Writes the bursts that are due, a limited number per turn. Returns how many clients were handled.
    pub(crate) fn deliver_bursts(&mut self, clients: &mut Clients, snapshot: &Snapshot<'_>) -> usize {
        let Self { prices, opportunities, .. } = self;
        let mut count = 0;
        while count < BURSTS_MAX
            && let Some(id) = prices.next_due(snapshot.client_now)
        {
            count += 1;
            if prices.send_burst(id, clients, snapshot) {
                opportunities.send_updates(id.key, &prices.subscriptions, clients, snapshot);
            }
        }
        count
    }

    /// Sends the newest of everything to a client that reads again.
    pub fn catch_up(&mut self, key: u32, clients: &mut Clients, snapshot: &Snapshot<'_>) {
        if self.prices.catch_up(key, clients, snapshot) {
            self.opportunities.send_updates(key, &self.prices.subscriptions, clients, snapshot);
        }
        self.books.catch_up(key, clients, snapshot);
    }

    /// A client has left.
    pub fn remove(&mut self, client: &Client) {
        let key = client.id.key;
        self.books.remove(key, &client.books.watched);
        if client.opportunities.follows {
            self.opportunities.leave(key);
        }
        if let Some(set) = client.prices.set {
            self.prices.remove(set, key, client.kind == ClientKind::Socket);
        }
    }

    // Changes of the set of instruments and exchanges.

    /// Handles a change of the set since the last turn: looks up names again, and notifies extended clients.
    pub(crate) fn refresh_set(&mut self, clients: &mut Clients, snapshot: &Snapshot<'_>) {
        let is_changed = self.set_changes.is_changed(snapshot.directory);
        if is_changed {
            self.prices.subscriptions.renew(snapshot);
        }
        self.prices.subscriptions.renew_some(snapshot);
        if !is_changed {
            return;
        }
        let Some(names) = self.set_changes.take(snapshot.directory) else { return };
        let mut frame = Vec::new();
        frame_text(&mut frame, |out| message::set(&names, out));
        for key in clients.keys() {
            let is_notified = |client: &Client| client.kind == ClientKind::Socket && client.prices.extended;
            if clients.get(key).is_some_and(is_notified) {
                clients.deliver(key, &frame, snapshot);
            }
        }
        clients.settle_blocked(snapshot);
    }

    // Requests.

    /// Carries out a subscribe or unsubscribe request and replies.
    pub fn apply(&mut self, key: u32, command: &Command, clients: &mut Clients, snapshot: &Snapshot<'_>) {
        let Some(client) = clients.get(key) else { return };
        let requested = self.prices.subscriptions.requested(client.prices.set);
        let mut wanted = Wanted::of(requested, self.books.watches_of(&client.books.watched));
        wanted.apply(command, snapshot.books.levels());
        let watched = &client.books.watched;
        let checked = wanted.check(&snapshot.settings.gateway).and_then(|()| match command.books {
            Some(_) => self.books.check(&wanted.books, watched, snapshot),
            None => Ok(()),
        });
        let news = match checked.and_then(|()| self.subscribe(key, command, &wanted, clients, snapshot)) {
            Ok(news) => news,
            Err(error) => return clients.reject(key, &error, snapshot),
        };
        if command.books.is_some() {
            self.books.watch(key, &wanted.books, clients, snapshot);
        }
        let is_valid = command.exchanges.is_some();
        if is_valid && !self.confirm(key, command, &news, clients, snapshot) {
            return;
        }
        let Self { prices, opportunities, books, .. } = self;
        opportunities.send_open(key, &news.followed, &prices.subscriptions, clients, snapshot);
        prices.send_now(key, news.prices, clients, snapshot);
        books.send(key, clients, snapshot);
        if !is_valid {
            // The valid part is applied; the client receives an error for the rest.
            clients.reject(key, &RequestError::Invalid, snapshot);
        }
    }

    /// Gives the client its new subscription. Returns what is new in it.
    fn subscribe(
        &mut self,
        key: u32,
        command: &Command,
        wanted: &Wanted,
        clients: &mut Clients,
        snapshot: &Snapshot<'_>,
    ) -> Result<ServiceNews, RequestError> {
        let Self { prices, opportunities, .. } = self;
        let Some(client) = clients.get_mut(key) else { return Ok(ServiceNews::default()) };
        let subscribes = command.action == Action::Subscribe;
        let (before, followed_before) = (client.prices.set, client.opportunities.follows);
        let demand_before = client.opportunities.demand;
        let extended = command.extended.filter(|_| subscribes).unwrap_or(client.prices.extended);
        let interval = command.interval_ms.filter(|_| subscribes).map(interval_ns);
        let request = SubscriptionRequest {
            live: interval.unwrap_or(client.prices.interval).is_none(),
            format: if extended { PriceFormat::Extended } else { PriceFormat::Plain },
            symbols: &wanted.symbols,
            exchanges: &wanted.exchanges,
        };
        let new_prices = prices.subscribe(client, &request, interval, snapshot).map_err(|MemoryLimit { pairs }| {
            RequestError::Limit(format!("Too many pairs: there is memory for at most {pairs} of these now"))
        })?;
        let after = client.prices.set;
        if subscribes {
            let proof_min = command.min_proof.unwrap_or(demand_before.min());
            opportunities.set_wish(key, command.opportunities.unwrap_or(followed_before), proof_min, clients);
        }
        let known: HashSet<u32> = prices.subscriptions.symbols_of(before).iter().copied().collect();
        let symbols = prices.subscriptions.symbols_of(after);
        let wish = clients.get(key).map(|client| &client.opportunities);
        let follows_anew = !followed_before && wish.is_some_and(|wish| wish.follows);
        let asks_anew = wish.is_some_and(|wish| wish.demand.min() != demand_before.min());
        let new = |are_all_new: bool| -> Vec<NewSymbol> {
            let all = symbols.iter().map(|symbol| {
                let before = (!are_all_new && known.contains(symbol)).then_some(demand_before);
                NewSymbol { symbol: *symbol, before }
            });
            all.filter(|new| asks_anew || new.before.is_none()).collect()
        };
        let (alerted, followed) = (new(false), new(follows_anew));
        if let Some(before) = before.filter(|before| after != Some(*before)) {
            prices.leave(before, key);
        }
        Ok(ServiceNews { alerted, followed, prices: new_prices })
    }

    /// Writes the reply, followed by alerts of the open opportunities of new symbols. `false` if the client is gone.
    fn confirm(
        &mut self,
        key: u32,
        command: &Command,
        news: &ServiceNews,
        clients: &mut Clients,
        snapshot: &Snapshot<'_>,
    ) -> bool {
        let Self { prices, books, opportunities, out, .. } = self;
        let Some(client) = clients.get(key) else { return false };
        let requested = prices.subscriptions.requested(client.prices.set);
        out.clear();
        frame_text(out, |out| {
            let symbols = requested.into_iter().flat_map(|names| names.symbols.iter());
            let exchanges = requested.into_iter().flat_map(|names| names.exchanges.iter());
            let watched = &client.books.watched;
            let watches = books.watches_of(watched).map(|watch| watch.requested());
            let watches = (command.books.is_some() || !watched.is_empty()).then_some(watches);
            message::subscription(command.action == Action::Subscribe, symbols, exchanges, watches, out);
        });
        let alerts = opportunities.append_open_alerts(&news.alerted, client, &prices.subscriptions, snapshot, out);
        clients.totals.alerts += alerts;
        clients.write(key, out, snapshot.client_now)
    }

    // Gauges.

    /// Updates the gauges of this gateway.
    pub fn publish(&mut self, clients: &mut Clients, snapshot: &Snapshot<'_>) {
        clients.publish(snapshot);
        let gauges = &snapshot.gauges().subscriptions;
        gauges.followers.set(self.opportunities.followers() as u64);
        gauges.pairs.set(self.prices.pairs());
        gauges.books.set(self.books.watched());
        let names = &self.prices.subscriptions.names;
        gauges.symbols.count.set(names.symbols.len() as u64);
        gauges.exchanges.count.set(names.exchanges.len() as u64);
        gauges.sse_pairs.count.set(names.pairs.len() as u64);
        self.recorder.publish(&snapshot.board.latency, snapshot.client_now);
    }

    /// Publishes the names in use for the pages of other gateways, if they changed.
    pub(crate) fn publish_names(&mut self, snapshot: &Snapshot<'_>) {
        if !self.prices.take_names_changed() || snapshot.board.gateways.len() < 2 {
            return;
        }
        let (gauges, names) = (&snapshot.gauges().subscriptions, &self.prices.subscriptions.names);
        for (names, published) in [
            (&names.pairs, &gauges.sse_pairs),
            (&names.symbols, &gauges.symbols),
            (&names.exchanges, &gauges.exchanges),
        ] {
            published.names.store(Some(Arc::new(names.texts().map(str::to_owned).collect())));
        }
    }

    /// Ends all open opportunities, because the server stops.
    pub(crate) fn close_opportunities(&mut self, clients: &mut Clients, snapshot: &Snapshot<'_>) {
        self.opportunities.close_all(&self.prices.subscriptions, clients, snapshot);
    }
}

/// What a request added.
#[derive(Default)]
struct ServiceNews {
    /// Symbols whose open opportunities it may be alerted of,
    alerted: Vec<NewSymbol>,
    /// and those whose open opportunities it may receive, if it follows them.
    followed: Vec<NewSymbol>,
    prices: IndexSet,
}

/// Shortest and longest interval of a client in milliseconds. A request for another one is moved to the nearer limit.
const INTERVAL_MS: (u64, u64) = (10, 60_000);

/// The interval of a client that asked for `interval_ms`, in nanoseconds; `None` means every change.
fn interval_ns(interval_ms: u64) -> Option<u64> {
    (interval_ms > 0).then(|| interval_ms.clamp(INTERVAL_MS.0, INTERVAL_MS.1) * MS)
}
