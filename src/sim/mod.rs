//! The simulator: listens as all venues at once, each below its own path, and uses each venue's own wire format over
//! real WebSockets. In: venues, instruments, a seed. Out: sockets that a client of the real exchange can connect to.
//! All its responses are marked as `simulated`.
//!
//! One stage with one poll, on a thread of its own in `demo` and `sim`. It sleeps between updates. A client that does
//! not read is dropped and never slows another. The simulator never reads the state of a detector or gateway.

pub mod certificates;
pub mod clients;
pub mod connection;
pub mod control;
pub mod distortion;
mod entrance;
pub mod late;
pub mod lively;
#[cfg(test)]
mod plain;
pub mod prices;
pub(crate) mod records;
pub(crate) mod rolling_24h;
pub mod scenario;
pub mod script;
pub mod stale;
pub(crate) mod ticks;
pub mod truth;
pub mod watcher;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crossbeam::channel::Receiver;
use mio::{Events, Poll, Token};

use crate::net::Link;
use crate::net::listen::Listener;
use crate::sim::certificates::Certificates;
use crate::sim::clients::{SimClient, SimClients};
use crate::sim::connection::{ClientLimits, Ending, SimConnection, Sockets, World};
use crate::sim::control::{SimCommand, SimControl};
use crate::sim::entrance::Entrance;
use crate::sim::prices::{CellId, Liveliness, Openings, SimPrices};
use crate::sim::records::{QuoteChange, SimRecords};
use crate::sim::scenario::{FaultKind, Scenario, Trouble};
use crate::sim::script::Script;
use crate::sim::truth::Truth;
use crate::stage::{Alarm, Stage};
use crate::time::{Clock, MonoNs, SECOND};
use crate::venues::{Maintenance, Venue};

/// Constructor arguments of [`Sim`].
pub struct SimParts {
    /// Venues to simulate.
    pub venues: Vec<&'static dyn Venue>,
    /// Base and quote in upper case. A venue gets the instruments that it can name and is known to list.
    pub instruments: Vec<(String, String)>,
    /// Where it listens.
    pub listener: Listener,
    /// The same seed gives the same prices in the same order.
    pub seed: u64,
    /// Changed tops of book per second, over all venues and instruments. 0: prices change only when set by hand.
    pub rate: f64,
    /// The clock that determines the pace and the venues' timestamps.
    pub clock: Clock,
    /// Limits and behaviour.
    pub options: SimOptions,
}

/// Limits and behaviour of the simulator.
#[derive(Clone, Copy, Debug)]
pub struct SimOptions {
    /// Most sockets at the same time; further ones are closed without a response.
    pub clients_max: usize,
    /// Limits for one client.
    pub client: ClientLimits,
    /// Mean time between two openings of an opportunity, in milliseconds; 0: none opens.
    pub opportunity_every_ms: u64,
    /// How large opportunities are, and how long they last.
    pub openings: Openings,
}

impl Default for SimOptions {
    fn default() -> Self {
        Self {
            clients_max: 1024,
            client: ClientLimits::default(),
            opportunity_every_ms: 4000,
            openings: Openings::default(),
        }
    }
}

/// Default for [`SimParts::rate`].
pub const RATE_DEFAULT: f64 = 200.0;

/// What the simulator has counted since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SimCounts {
    /// Sockets accepted.
    pub accepted: u64,
    /// Sockets closed at once because of [`SimOptions::clients_max`].
    pub(crate) over_limit: u64,
    /// Clients dropped because they did not read.
    pub slow: u64,
    /// Clients dropped because they violated a protocol, or were silent when they had to send something.
    pub fault: u64,
    /// Changed tops of book.
    pub updates: u64,
    /// Updates skipped because the thread was late by more than the catch-up limit.
    pub(crate) skipped: u64,
}

/// The simulated venues.
pub struct Sim {
    venues: Vec<&'static dyn Venue>,
    prices: SimPrices,
    /// The pace of price changes; `None`: prices do not change by themselves.
    pace: Option<UpdatePace>,
    next_second: MonoNs,
    entrance: Entrance,
    poll: Poll,
    events: Events,
    alarm: Alarm,
    commands: Receiver<SimCommand>,
    control: SimControl,
    clients: SimClients,
    /// By venue index: venues that push nothing, and venues that refuse upgrades.
    silent: Vec<bool>,
    refusing: Vec<bool>,
    script: Script,
    records: SimRecords,
    sockets: Vec<Sockets>,
    buffer: Vec<u8>,
    clock: Clock,
    options: SimOptions,
    counts: SimCounts,
}

/// Computes when the next update is due. Counts from a fixed start, so that the pace does not drift.
#[derive(Clone, Copy, Debug)]
struct UpdatePace {
    start: MonoNs,
    step_ns: u64,
    done: u64,
}

const LISTENER: Token = Token(0);
const WAKER: Token = Token(1);
/// The first token of clients; the difference is the slab index.
const CLIENTS: usize = 2;
/// Most updates of one turn.
const UPDATES_MAX: u64 = 256;
/// Updates that are later than this are skipped, since old prices have no value.
const CATCH_UP_NS: u64 = SECOND / 4;
/// Most connections accepted in one turn.
const ACCEPTS_MAX: usize = 64;
/// Size of the kernel's send buffer per client, in bytes.
const SEND_BUFFER: usize = 128 * 1024;

/// Ten instruments against USDT, and BTC and ETH against USD.
#[must_use]
pub fn default_instruments() -> Vec<(String, String)> {
    let tether = ["BTC", "ETH", "SOL", "XRP", "DOGE", "ADA", "LTC", "AVAX", "LINK", "DOT"].map(|b| (b, "USDT"));
    tether.into_iter().chain([("BTC", "USD"), ("ETH", "USD")]).map(|(b, q)| (b.to_owned(), q.to_owned())).collect()
}

/// The address to configure for `venue` when a simulator listens on `listen`. It always begins with `ws://`, even for
/// venues that hand out a token over HTTP; the token is requested at the same host and path.
#[must_use]
pub fn address_of(venue: &dyn Venue, listen: SocketAddr) -> String {
    connection::address_below(&format!("ws://{listen}"), venue.facts())
}

/// The base address of REST requests to `venue` (lists and pages of books) when a simulator listens on `listen`.
#[must_use]
pub fn rest_address_of(venue: &dyn Venue, listen: SocketAddr) -> String {
    format!("http://{listen}/{}", venue.facts().name)
}

impl Sim {
    /// A simulator that is listening. It serves clients once its turns run.
    ///
    /// # Errors
    /// If the system cannot create a poll.
    pub fn new(parts: SimParts) -> io::Result<Self> {
        let poll = Poll::new()?;
        let alarm = Alarm::of_poll(Arc::new(mio::Waker::new(poll.registry(), WAKER)?));
        let now = parts.clock.now();
        let entrance = Entrance::new(parts.listener, poll.registry(), LISTENER, now)?;
        let moving = parts.rate.is_finite() && parts.rate > 0.0;
        let liveliness = Liveliness {
            rate: if moving { parts.rate } else { 1.0 },
            opportunity_every_ms: parts.options.opportunity_every_ms,
        };
        let mut prices = SimPrices::new(&parts.venues, &parts.instruments, parts.seed, liveliness, parts.clock.unix());
        prices.open_as(parts.options.openings);
        let (control, commands) = SimControl::new(&parts.venues, &prices, alarm.clone());
        Ok(Self {
            pace: moving.then(|| UpdatePace { start: now, step_ns: prices.step_ns(), done: 0 }),
            next_second: now.plus(SECOND),
            silent: vec![false; parts.venues.len()],
            refusing: vec![false; parts.venues.len()],
            script: Script::new(parts.venues.len(), parts.seed, now),
            records: SimRecords::default(),
            sockets: vec![Sockets::default(); parts.venues.len()],
            venues: parts.venues,
            prices,
            entrance,
            poll,
            events: Events::with_capacity(256),
            alarm,
            commands,
            control,
            clients: SimClients::default(),
            buffer: vec![0; 16 * 1024],
            clock: parts.clock,
            options: parts.options,
            counts: SimCounts::default(),
        })
    }

    /// The address that it listens on.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.entrance.address()
    }

    /// Starts this fault script now, replacing an earlier one. The script must have been read for the same venues.
    pub fn follow(&mut self, scenario: Scenario) {
        self.script.follow(scenario, self.clock.now());
    }

    /// Starts to record what the books really are.
    pub fn record_truth(&mut self, truth: Truth) {
        self.records.truth = Some(truth);
        self.prices.cells().for_each(|cell| self.record(cell));
    }

    fn record(&mut self, cell: CellId) {
        if let Some(truth) = &mut self.records.truth {
            let (venue, _) = self.prices.quote(cell);
            let (trouble, name) = (&self.script.troubles[venue], self.venues[venue].facts().name);
            truth.see(cell, &self.prices, trouble, name, self.clock.unix());
        }
    }

    /// Requires TLS of clients from now on.
    pub fn secure(&mut self, certificates: Certificates) {
        self.entrance.secure(certificates);
    }

    /// Records all price changes in a journal from now on, including those that are not sent to clients.
    pub fn keep_journal(&mut self) {
        self.records.journal = Some(Vec::new());
    }

    /// Takes the recorded changes, in the order in which they happened.
    pub fn take_journal(&mut self) -> Vec<QuoteChange> {
        self.records.take_journal()
    }

    /// A handle that sets prices and causes faults from another thread.
    #[must_use]
    pub fn control(&self) -> SimControl {
        self.control.clone()
    }

    /// The current tops of book.
    #[must_use]
    pub const fn prices(&self) -> &SimPrices {
        &self.prices
    }

    /// The counts so far.
    #[must_use]
    pub const fn counts(&self) -> SimCounts {
        self.counts
    }

    /// Number of open sockets.
    #[must_use]
    pub fn clients(&self) -> usize {
        self.clients.len()
    }

    /// How long the poll may block.
    fn sleep(&self, wait: Duration) -> Duration {
        let now = self.clock.now();
        let is_due = self.entrance.is_due(now);
        if wait.is_zero() || is_due || !self.commands.is_empty() || self.clients.iter().any(|c| c.readable) {
            return Duration::ZERO;
        }
        if self.clients.is_empty() {
            // Without clients, prices advance in larger steps.
            return wait;
        }
        let next = self.pace.map_or(self.next_second, |p| p.next().min(self.next_second));
        let next = self.clients.iter().filter_map(|client| client.connection.next_due()).fold(next, MonoNs::min);
        wait.min(Duration::from_nanos(next.since(now)))
    }

    fn hear(&mut self, wait: Duration) {
        self.alarm.set();
        let sleep = self.sleep(wait);
        // If the poll was interrupted, the turn continues without events.
        if self.poll.poll(&mut self.events, Some(sleep)).is_err() {
            self.events.clear();
        }
        self.alarm.clear();
        for event in &self.events {
            match event.token() {
                LISTENER => self.entrance.wake(),
                WAKER => {}
                Token(token) => {
                    if let Some(client) = self.clients.at(token - CLIENTS) {
                        client.readable |= event.is_readable() || event.is_read_closed() || event.is_error();
                        client.writable |= event.is_writable();
                    }
                }
            }
        }
    }

    fn obey(&mut self) -> usize {
        let unix = self.clock.unix();
        let mut work = 0;
        // At most the capacity of the channel, so that a busy sender cannot prolong the turn.
        while let (true, Ok(command)) = (work < control::WAITING_MAX, self.commands.try_recv()) {
            work += 1;
            match command {
                SimCommand::Set { cell, bid, ask } => {
                    self.prices.set_quote(cell, bid, ask, unix);
                    self.tell(cell);
                }
                SimCommand::Release(cell) => self.prices.release(cell),
                SimCommand::Silent(venue, silent) => {
                    self.silent[venue] = silent;
                    // Sends what changed during the silence. If a silence begins, this sends nothing.
                    for cell in self.prices.cells() {
                        if self.prices.quote(cell).0 == venue {
                            self.tell(cell);
                        }
                    }
                }
                SimCommand::Refuse(venue, refuse) => self.refusing[venue] = refuse,
                SimCommand::Cut(venue) => self.clients.retain(|c| c.connection.venue() != Some(venue)),
            }
        }
        work
    }

    fn accept(&mut self, now: MonoNs) -> usize {
        for accepted in 0..ACCEPTS_MAX {
            let Some(link) = self.entrance.accept(now) else { return accepted };
            self.admit(link, now);
        }
        ACCEPTS_MAX
    }

    fn admit(&mut self, link: Link, now: MonoNs) {
        if self.clients.len() >= self.options.clients_max {
            self.counts.over_limit += 1;
            return;
        }
        link.limit_send_buffer(SEND_BUFFER);
        let Some(mut link) = self.entrance.secured(link, self.script.listener) else { return };
        if link.register(self.poll.registry(), Token(CLIENTS + self.clients.next_place())).is_ok() {
            self.counts.accepted += 1;
            self.clients.insert(SimClient::new(link, SimConnection::new(self.options.client, now)));
        }
    }

    fn read(&mut self, now: MonoNs) -> usize {
        let world = World {
            venues: &self.venues,
            prices: &self.prices,
            unix: self.clock.unix(),
            listen: self.entrance.address(),
            refusing: &self.refusing,
            troubles: &self.script.troubles,
            tls: self.entrance.is_secure(),
            sockets: &self.sockets,
        };
        let (mut work, mut opened) = (0, Vec::new());
        self.clients.retain(|client| {
            if !client.readable {
                return true;
            }
            work += 1;
            let before = client.connection.venue();
            let kept = client.read(&mut self.buffer, now, &world).is_ok();
            if let (None, Some(venue)) = (before, client.connection.venue()) {
                opened.push(venue);
            }
            kept
        });
        opened.into_iter().for_each(|venue| self.sockets[venue].opened += 1);
        work
    }

    /// Counts the WebSockets of each venue.
    fn count(&mut self) {
        self.sockets.iter_mut().for_each(|sockets| sockets.open = 0);
        for venue in self.clients.iter().filter_map(|client| client.connection.venue()) {
            self.sockets[venue].open += 1;
        }
        self.sockets.iter_mut().for_each(|sockets| sockets.most = sockets.most.max(sockets.open));
    }

    /// Makes the due updates.
    fn move_prices(&mut self, now: MonoNs) -> usize {
        let Some(pace) = &mut self.pace else { return 0 };
        self.counts.skipped += pace.forget_late(now);
        let due = pace.take_due(now);
        let unix = self.clock.unix();
        for _ in 0..due {
            if let Some(cell) = self.prices.step(unix) {
                self.counts.updates += 1;
                self.tell(cell);
            }
        }
        due as usize
    }

    fn tell(&mut self, cell: CellId) {
        self.record(cell);
        let (venue, quote) = self.prices.quote(cell);
        let now = self.clock.now();
        if let Some(journal) = &mut self.records.journal {
            journal.push(QuoteChange { cell, at: now, bid: quote.bid, ask: quote.ask });
        }
        if self.silent[venue] {
            return;
        }
        let Script { troubles, random, .. } = &mut self.script;
        let trouble = &troubles[venue];
        if trouble.of(FaultKind::Silence, &quote.native).is_some() || is_halted(trouble, self.venues[venue]) {
            return;
        }
        for client in self.clients.iter_mut().filter(|c| c.connection.venue() == Some(venue)) {
            if trouble.is_none() {
                client.connection.quote(quote, now);
            } else {
                client.connection.troubled_quote(quote, now, trouble, random);
            }
        }
    }

    /// Once a second: statistics, heartbeats, deadlines.
    fn each_second(&mut self, now: MonoNs) -> usize {
        if now < self.next_second {
            return 0;
        }
        // Seconds missed during a pause of the machine are skipped.
        self.next_second = self.next_second.plus(SECOND).max(now.plus(SECOND / 2));
        self.records.flush();
        let unix = self.clock.unix();
        for client in self.clients.iter_mut() {
            client.connection.elapsed(now);
            let Some(venue) = client.connection.venue().filter(|&v| !self.silent[v]) else { continue };
            let trouble = &self.script.troubles[venue];
            if trouble.whole(FaultKind::Silence).is_some() {
                continue;
            }
            client.connection.troubled_heartbeat(unix, now, trouble);
            for (of, quote) in self.prices.cells().map(|c| self.prices.quote(c)) {
                let is_told =
                    trouble.of(FaultKind::Silence, &quote.native).is_none() && !is_halted(trouble, self.venues[of]);
                if of == venue && is_told {
                    let mut quote = distortion::distort_quote(quote, trouble);
                    // The statistics have the current time. The quote in them keeps its own, since it has not changed.
                    quote.day.exchange_time = distortion::distort_time(unix, trouble);
                    client.connection.statistics(&quote, now);
                }
            }
        }
        1
    }

    /// Begins and ends the faults that are due.
    fn suffer(&mut self, now: MonoNs) {
        if let Some(before) = self.script.advance(now, &self.venues, &mut self.prices) {
            (0..before.len()).for_each(|venue| self.turn_to(venue, &before[venue], now));
        }
        self.entrance.refuse(self.script.listener == Some(FaultKind::Refused), self.poll.registry());
    }

    /// Applies a change of the faults of a venue.
    fn turn_to(&mut self, venue: usize, before: &Trouble, now: MonoNs) {
        let unix = self.clock.unix();
        let consequences = self.script.consequences(venue, before, &mut self.prices, unix);
        let trouble = &self.script.troubles[venue];
        if trouble == before {
            return;
        }
        if trouble.cuts_after(before) {
            self.clients.retain(|c| c.connection.venue() != Some(venue));
        }
        let unix = distortion::distort_time(unix, trouble);
        let [was_half, is_half] = [before, trouble].map(|t| t.whole(FaultKind::HalfOpen).is_some());
        let [was_shut, is_shut] = [before, trouble].map(|t| t.whole(FaultKind::Maintenance).is_some());
        for client in self.clients.iter_mut().filter(|c| c.connection.venue() == Some(venue)) {
            client.connection.delay(connection::late_ns(trouble), now);
            if was_shut != is_shut {
                client.connection.maintain(is_shut, unix, now);
            }
            if is_half && !was_half {
                client.connection.fall_mute();
            }
        }
        for cell in consequences.trading {
            let quote = distortion::distort_quote(self.prices.quote(cell).1, trouble);
            for client in self.clients.iter_mut().filter(|c| c.connection.venue() == Some(venue)) {
                client.connection.trading(&quote, now);
            }
        }
        consequences.books.into_iter().for_each(|cell| self.tell(cell));
        if self.records.truth.is_some() {
            let cells = self.prices.cells().filter(|cell| self.prices.quote(*cell).0 == venue);
            cells.collect::<Vec<_>>().into_iter().for_each(|cell| self.record(cell));
        }
    }

    /// Writes pending output and removes clients whose connections have ended.
    fn write(&mut self) {
        let (counts, troubles, now) = (&mut self.counts, &self.script.troubles, self.clock.now());
        self.clients.retain(|client| {
            client.connection.release_due(now);
            let slow = client.connection.venue().and_then(|venue| troubles[venue].whole(FaultKind::Slow));
            let kept = client.write(slow.and_then(|rate| u64::try_from(rate).ok()), now).is_ok();
            match client.connection.ending() {
                Some(Ending::Slow) if !kept => counts.slow += 1,
                Some(Ending::Fault) if !kept => counts.fault += 1,
                Some(Ending::Reset) if !kept => client.link.forget_unsent(),
                _ => {}
            }
            kept
        });
    }
}

impl Stage for Sim {
    fn name(&self) -> &str {
        "sim"
    }

    fn turn(&mut self, wait: Duration) -> usize {
        self.hear(wait);
        let now = self.clock.now();
        self.suffer(now);
        let mut work = self.obey();
        work += self.accept(now);
        work += self.read(now);
        self.count();
        work += self.move_prices(now);
        work += self.each_second(now);
        self.write();
        work
    }

    fn finish(&mut self) {
        self.entrance.close(self.poll.registry());
        let now = self.clock.now();
        self.clients.iter_mut().for_each(|c| c.connection.close(1001, "going away", now));
        self.write();
        self.clients.retain(|_| false);
        self.records.flush();
    }
}

/// Whether the venue keeps its connections but sends no quotes.
fn is_halted(trouble: &Trouble, venue: &dyn Venue) -> bool {
    trouble.whole(FaultKind::Maintenance).is_some() && connection::maintenance_of(venue) == Maintenance::Halts
}

impl UpdatePace {
    fn next(&self) -> MonoNs {
        self.start.plus((self.done + 1).saturating_mul(self.step_ns))
    }

    /// Skips updates that are too late; returns how many.
    fn forget_late(&mut self, now: MonoNs) -> u64 {
        let late_ns = now.since(self.next());
        if late_ns <= CATCH_UP_NS {
            return 0;
        }
        let late = (late_ns - CATCH_UP_NS) / self.step_ns;
        self.done += late;
        late
    }

    /// Number of updates to make now, within a limit.
    fn take_due(&mut self, now: MonoNs) -> u64 {
        let due = (now.since(self.start) / self.step_ns).saturating_sub(self.done).min(UPDATES_MAX);
        self.done += due;
        due
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
