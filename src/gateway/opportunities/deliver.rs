//! Opportunities to clients. Alerts are sent at once to every client that subscribes to the symbol. Followers receive
//! openings and ends at once, which are never dropped, and updates at their own pace, only the newest of each
//! opportunity. Runs on the gateway's thread.

use crate::gateway::client::{Client, ClientOpportunities, Sent};
use crate::gateway::clients::Clients;
use crate::gateway::opportunities::demand::{NewSymbol, ProofDemand};
use crate::gateway::opportunities::log::{LoggedOpportunity, OpportunityLog, evidence_of, id_of, leader_of, less_real};
use crate::gateway::prices::subscriptions::Subscriptions;
use crate::gateway::view::{PriceFormat, Snapshot};
use crate::market::VenueId;
use crate::market::opportunity::{Opportunity, OpportunityEvent, Proof, gross_pct, net_pct};
use crate::metrics::latency::{Hop, Recorder};
use crate::protocol::message::{self, Alert, AlertMore};
use crate::protocol::opportunity::{self as lifecycle, GroupOf, OpportunityUpdate};
use crate::time::{MS, MonoNs};
use crate::wire::websocket::frame_text;

/// Events handled in one turn.
const EVENTS_MAX: usize = 256;
/// Bytes of updates that are written to one client before its socket is checked again.
const UPDATES_AT_ONCE: usize = 16 * 1024;

/// See the file's head.
pub(crate) struct Opportunities {
    events: rtrb::Consumer<OpportunityEvent>,
    log: OpportunityLog,
    /// Clients that follow opportunities.
    followers: Vec<u32>,
    out: Vec<u8>,
}

impl Opportunities {
    /// Receives `events` of the detector.
    #[must_use]
    pub fn new(events: rtrb::Consumer<OpportunityEvent>) -> Self {
        Self { events, log: OpportunityLog::default(), followers: Vec::new(), out: Vec::new() }
    }

    /// Whether events wait.
    #[must_use]
    pub(crate) fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    /// Open and recently closed opportunities.
    #[must_use]
    pub fn log(&self) -> &OpportunityLog {
        &self.log
    }

    /// Number of followers.
    #[must_use]
    pub fn followers(&self) -> usize {
        self.followers.len()
    }

    /// Handles the events of the detector, a limited number per turn. Returns how many.
    pub fn deliver(
        &mut self,
        subscriptions: &Subscriptions,
        clients: &mut Clients,
        recorder: &mut Recorder,
        snapshot: &Snapshot<'_>,
    ) -> usize {
        let (mut taken, mut is_updated) = (0, false);
        while taken < EVENTS_MAX
            && let Ok(event) = self.events.pop()
        {
            taken += 1;
            if let Some(end) = self.log.lost_end(&event) {
                self.record(&end, subscriptions, clients, snapshot);
            }
            self.send_alerts(&event, subscriptions, clients, recorder, snapshot);
            is_updated |= self.record(&event, subscriptions, clients, snapshot);
        }
        if is_updated {
            self.send_live_updates(subscriptions, clients, snapshot);
        }
        taken
    }

    /// Records an event and notifies followers of an opening or end. `true` if it is an update for followers that receive
    /// every change.
    fn record(
        &mut self,
        event: &OpportunityEvent,
        subscriptions: &Subscriptions,
        clients: &mut Clients,
        snapshot: &Snapshot<'_>,
    ) -> bool {
        let Some((change, number, entry)) = self.log.record(event, snapshot) else { return false };
        if self.followers.is_empty() {
            return false;
        }
        let is_update = change == OpportunityUpdate::Updated;
        if is_update && !entry.reached.is_new_at(number) {
            return true;
        }
        // To a client that asks for more proof, an update that brings it is the opening.
        let change = if is_update { OpportunityUpdate::Opened } else { change };
        let is_end = change != OpportunityUpdate::Opened;
        let mut frame = Vec::new();
        for (spelling, name) in subscriptions.spellings(entry.opportunity.instrument) {
            frame.clear();
            for set in name.sets.iter().filter_map(|id| subscriptions.set(*id)) {
                for key in &set.members {
                    let Some(wish) = clients.get(*key).map(|client| &client.opportunities) else { continue };
                    let first = wish.demand.first_event(&entry.reached);
                    if !wish.follows || first.is_none_or(|at| !is_end && at != number) {
                        continue;
                    }
                    if frame.is_empty() {
                        encode(entry, change, subscriptions.names.symbols.json(spelling), snapshot, &mut frame);
                    }
                    if clients.deliver(*key, &frame, snapshot) {
                        clients.totals.opportunities += 1;
                    }
                }
            }
        }
        clients.settle_blocked(snapshot);
        is_update
    }

    /// Sends an alert to every client that subscribes to the symbol, in its spelling, unless it asks for more proof. Such a
    /// client receives the alert when there is that proof.
    fn send_alerts(
        &self,
        event: &OpportunityEvent,
        subscriptions: &Subscriptions,
        clients: &mut Clients,
        recorder: &mut Recorder,
        snapshot: &Snapshot<'_>,
    ) {
        let (above, to) = self.log.audience(event);
        if above >= to {
            return;
        }
        let opportunity = &event.opportunity;
        let trigger = *opportunity.trigger();
        let mut frames = [Vec::new(), Vec::new()];
        for (spelling, name) in subscriptions.spellings(opportunity.instrument) {
            frames.iter_mut().for_each(Vec::clear);
            for set in name.sets.iter().filter_map(|id| subscriptions.set(*id)) {
                let extended = set.format == PriceFormat::Extended;
                let frame = &mut frames[usize::from(extended)];
                if frame.is_empty() {
                    encode_alert(opportunity, subscriptions.names.symbols.json(spelling), extended, snapshot, frame);
                }
                for key in &set.members {
                    let min = clients.get(*key).map(|client| client.opportunities.demand.min());
                    if min.is_some_and(|min| above < min && min <= to) && clients.deliver(*key, frame, snapshot) {
                        clients.totals.alerts += 1;
                        let written = snapshot.clocks.quotes.now();
                        recorder.record(Hop::WireToAlert, trigger.venue.index(), trigger.received, written);
                    }
                }
            }
        }
        clients.settle_blocked(snapshot);
    }

    /// Sends updates to the followers that receive every change.
    fn send_live_updates(&mut self, subscriptions: &Subscriptions, clients: &mut Clients, snapshot: &Snapshot<'_>) {
        for at in 0..self.followers.len() {
            let key = self.followers[at];
            if clients.get(key).is_some_and(|client| client.prices.interval.is_none()) {
                self.send_updates(key, subscriptions, clients, snapshot);
            }
        }
    }

    /// Sends the newest state of each opportunity that changed since this client's last update, the oldest change first. A
    /// client that does not read receives only the newest state when it reads again.
    pub(crate) fn send_updates(
        &mut self,
        key: u32,
        subscriptions: &Subscriptions,
        clients: &mut Clients,
        snapshot: &Snapshot<'_>,
    ) {
        let newest = self.log.events();
        let Some((client, totals)) = clients.entry(key) else { return };
        if !client.opportunities.follows || !client.listens {
            return;
        }
        if client.opportunities.sent == newest || client.outbox.is_blocked() {
            return;
        }
        let symbols = subscriptions.symbols_of(client.prices.set);
        let named = symbols.iter().filter_map(|id| Some((*id, subscriptions.instrument(*id)?)));
        let entries = named.flat_map(|(id, instrument)| self.log.of(instrument).map(move |entry| (id, entry)));
        let (sent_before, demand) = (client.opportunities.sent, client.opportunities.demand);
        let is_due = |entry: &LoggedOpportunity| {
            let first = demand.first_event(&entry.reached);
            first.is_some_and(|at| entry.changed > sent_before.max(at))
        };
        let mut changed: Vec<(u32, &LoggedOpportunity)> = entries.filter(|(_, entry)| is_due(entry)).collect();
        changed.sort_by_key(|(_, entry)| entry.changed);
        let mut sent = Sent::All;
        let mut rest = changed.into_iter().peekable();
        while sent == Sent::All && rest.peek().is_some() {
            self.out.clear();
            let mut ends = Vec::new();
            while let Some((spelling, entry)) = rest.next() {
                let symbol = subscriptions.names.symbols.json(spelling);
                encode(entry, OpportunityUpdate::Updated, symbol, snapshot, &mut self.out);
                ends.push((self.out.len(), entry.changed));
                // Two spellings of one instrument are sent together.
                let is_last = rest.peek().is_none_or(|(_, next)| next.changed > entry.changed);
                if self.out.len() > UPDATES_AT_ONCE && is_last {
                    break;
                }
            }
            let taken;
            (sent, taken) = client.write_newest(&self.out, snapshot.client_now, totals);
            // What was dropped is sent later in its newest state, with everything that changed at the same time.
            let whole = ends.iter().take_while(|(end, _)| *end <= taken).count();
            totals.opportunities += whole as u64;
            client.opportunities.sent = match ends.get(whole) {
                Some((_, lost)) => lost - 1,
                None => ends.last().map_or(client.opportunities.sent, |(_, changed)| *changed),
            };
        }
        if sent == Sent::All {
            client.opportunities.sent = newest;
        }
        self.out.clear();
        clients.after_write(key, sent, snapshot);
    }

    /// Sends the open opportunities of `symbols` that are new to a client that follows them.
    pub(crate) fn send_open(
        &mut self,
        key: u32,
        symbols: &[NewSymbol],
        subscriptions: &Subscriptions,
        clients: &mut Clients,
        snapshot: &Snapshot<'_>,
    ) {
        let Some(wish) = clients.get(key).map(|client| &client.opportunities).filter(|wish| wish.follows) else {
            return;
        };
        let demand = wish.demand;
        self.out.clear();
        for new in symbols {
            let Some(instrument) = subscriptions.instrument(new.symbol) else { continue };
            for entry in self.log.of(instrument).filter(|entry| new.is_new(&entry.reached, &demand)) {
                let symbol = subscriptions.names.symbols.json(new.symbol);
                encode(entry, OpportunityUpdate::Opened, symbol, snapshot, &mut self.out);
                clients.totals.opportunities += 1;
            }
        }
        clients.write(key, &self.out, snapshot.client_now);
    }

    /// Appends alerts of the open opportunities of `symbols` that are new to `client`, at present prices. Returns how many.
    pub(crate) fn append_open_alerts(
        &self,
        symbols: &[NewSymbol],
        client: &Client,
        subscriptions: &Subscriptions,
        snapshot: &Snapshot<'_>,
        out: &mut Vec<u8>,
    ) -> u64 {
        let (demand, extended) = (&client.opportunities.demand, client.prices.extended);
        let mut count = 0;
        for new in symbols {
            let Some(instrument) = subscriptions.instrument(new.symbol) else { continue };
            for entry in self.log.of(instrument).filter(|entry| new.is_new(&entry.reached, demand)) {
                if let Some(now) = at_present_prices(&entry.opportunity, snapshot)
                    && now.coexistence.proof >= demand.min()
                {
                    encode_alert(&now, subscriptions.names.symbols.json(new.symbol), extended, snapshot, out);
                    count += 1;
                }
            }
        }
        count
    }

    /// What a client receives from now on: the life of opportunities or only alerts, with this proof at least.
    pub(crate) fn set_wish(&mut self, key: u32, follows: bool, proof_min: Proof, clients: &mut Clients) {
        let number = self.log.events();
        let Some(client) = clients.get_mut(key) else { return };
        let wish = &mut client.opportunities;
        wish.demand.ask(proof_min, number);
        if wish.follows == follows {
            return;
        }
        *wish = ClientOpportunities { follows, sent: number, demand: ProofDemand::of(proof_min) };
        self.leave(key);
        if follows {
            self.followers.push(key);
        }
    }

    /// A client has left.
    pub fn leave(&mut self, key: u32) {
        self.followers.retain(|follower| *follower != key);
    }

    /// Ends all open opportunities, because the server stops.
    pub(crate) fn close_all(&mut self, subscriptions: &Subscriptions, clients: &mut Clients, snapshot: &Snapshot<'_>) {
        for event in self.log.last_ends(snapshot.quote_now) {
            self.record(&event, subscriptions, clients, snapshot);
        }
    }
}

/// An open opportunity at present prices; `None` if a leg is stale or the spread is not above the
/// threshold, below which an opportunity may stay open.
fn at_present_prices(known: &Opportunity, snapshot: &Snapshot<'_>) -> Option<Opportunity> {
    let directory = snapshot.directory;
    let cell = |venue: VenueId| snapshot.fresh(directory.pair(known.instrument, venue));
    let (buy, sell) = (cell(known.buy.venue)?, cell(known.sell.venue)?);
    let mut o = *known;
    (o.buy.level, o.buy.received, o.buy.excess) = (buy.ask, buy.received, buy.excess);
    (o.sell.level, o.sell.received, o.sell.excess) = (sell.bid, sell.received, sell.excess);
    let fee = |venue: VenueId| directory.taker_fee_pct(known.instrument, venue);
    let (b, s) = (o.buy.level.price, o.sell.level.price);
    let (buy_fee, sell_fee) = (fee(o.buy.venue), fee(o.sell.venue));
    (o.gross_pct, o.net_pct) = (gross_pct(b, s), net_pct(b, s, buy_fee, sell_fee));
    let bar = snapshot.settings.detector.bar(buy_fee, sell_fee);
    bar.is_exceeded(b, s).then_some(o)
}

fn encode_alert(o: &Opportunity, symbol: &[u8], extended: bool, snapshot: &Snapshot<'_>, out: &mut Vec<u8>) {
    let directory = snapshot.directory;
    let name = |venue: VenueId| directory.venue(venue).name.as_str();
    let age_ms = |at: MonoNs| snapshot.quote_now.since(at) / MS;
    let ids = extended.then(|| (id_of(directory, o), leader_of(directory, o)));
    let alert = Alert {
        symbol,
        buy_exchange: name(o.buy.venue),
        sell_exchange: name(o.sell.venue),
        buy: o.buy.level.price,
        sell: o.sell.level.price,
        spread_pct: o.gross_pct,
        timestamp: snapshot.unix.ms(),
        more: ids.as_ref().map(|(id, leader)| AlertMore {
            net_spread_pct: o.net_pct,
            basis_pct: o.basis_pct,
            executable_size: o.executable_size(),
            buy_age_ms: age_ms(o.buy.received),
            sell_age_ms: age_ms(o.sell.received),
            source: less_real(o.buy.source, o.sell.source).word(),
            id,
            group: GroupOf { leader, leg: o.group.leg, size: o.group.size },
            evidence: evidence_of(o),
            survival: snapshot.survival(o),
        }),
    };
    frame_text(out, |out| message::alert(&alert, out));
}

fn encode(
    entry: &LoggedOpportunity,
    change: OpportunityUpdate,
    symbol: &[u8],
    snapshot: &Snapshot<'_>,
    out: &mut Vec<u8>,
) {
    frame_text(out, |out| lifecycle::opportunity(&entry.moment(change, symbol, snapshot), out));
}
