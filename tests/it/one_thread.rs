//! The path of a quote in one thread, on a clock that only the test moves: simulated venues with their faults, feed
//! sessions, the ring and the detector. `pipeline` adds gateway and clients, `phantoms` the truth, `refusals` the gateway.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use spreadwire::detector::{Detector, DetectorParts, Subscriber};
use spreadwire::feed;
use spreadwire::feed::end::End;
use spreadwire::feed::session::{Session, SessionParts, entries};
use spreadwire::gateway::{Clocks, Gateway, GatewayParts, GatewaySettings};
use spreadwire::handover::Handover;
use spreadwire::market::directory::{HaltedBy, VenueEntry};
use spreadwire::market::opportunity::OpportunityEvent;
use spreadwire::market::quote::{Origin, QuoteOptions};
use spreadwire::market::rule::DetectorOptions;
use spreadwire::market::{Decimal, Directory, InstrumentId, VenueId};
use spreadwire::matrix::books::BookTable;
use spreadwire::matrix::changes::Changes;
use spreadwire::matrix::days::DayTable;
use spreadwire::matrix::{CellQuote, QuoteMatrix, SharedMatrix};
use spreadwire::metrics::Board;
use spreadwire::random::Random;
use spreadwire::sim::address_of;
use spreadwire::sim::connection::{self as venue_side, ClientLimits, World};
use spreadwire::sim::distortion::{self, DistortedMarket};
use spreadwire::sim::prices::{CellId, Liveliness, SimPrices};
use spreadwire::sim::scenario::{FaultKind, Scenario};
use spreadwire::sim::script::Script;
use spreadwire::sim::truth::Truth;
use spreadwire::stage::{Alarm, Stage};
use spreadwire::time::{Clock, HandClock, MS, MonoNs, SECOND, UnixNs};
use spreadwire::venues::{Venue, venue};

/// Pause before a lost connection is opened again, in milliseconds.
pub(crate) const REOPEN_MS: u64 = 250;
/// The venues' output buffers are as large as the delayed bytes can be.
const LIMITS: ClientLimits = ClientLimits { output_max: 16 << 20, ping_every_ms: 20_000, head_ms: 10_000 };

/// What is traded, where, and how.
pub(crate) struct Setting<'a> {
    pub seed: u64,
    pub venues: &'a [&'a str],
    /// Base and quote.
    pub instruments: &'a [(&'a str, &'a str)],
    pub liveliness: Liveliness,
    pub options: DetectorOptions,
}

/// Tables that stages share.
pub(crate) struct Tables {
    pub directory: Arc<Directory>,
    pub matrix: SharedMatrix,
    pub days: Arc<DayTable>,
    pub board: Arc<Board>,
    pub clock: Clock,
}

impl Tables {
    /// A gateway without a listener, and what the detector sends it.
    pub fn gateway(&self) -> (Gateway, Subscriber) {
        let changes = Arc::new(Changes::new(self.directory.pairs()));
        let (to_gateway, opportunities) = rtrb::RingBuffer::new(256);
        let parts = GatewayParts {
            directory: Arc::clone(&self.directory),
            matrix: Arc::clone(&self.matrix),
            days: Arc::clone(&self.days),
            books: Arc::new(BookTable::new(self.directory.pairs(), 0)),
            changes: Arc::clone(&changes),
            opportunities,
            board: Arc::clone(&self.board),
            index: 0,
            admin: None,
            clocks: Clocks::both(&self.clock),
            settings: GatewaySettings::default(),
            listener: None,
        };
        let (gateway, alarm) = Gateway::new(parts).unwrap();
        (gateway, Subscriber { changes, opportunities: Some(to_gateway), alarm })
    }
}

/// One venue's connection: both ends, and the network between them.
pub(crate) struct Pipe {
    pub venue: &'static dyn Venue,
    pub feed: Session,
    /// The venue's end; `None` while nothing is connected.
    pub far: Option<venue_side::SimConnection>,
    opens_at: MonoNs,
    /// Until then the network delays the venue's bytes.
    pub held_until: MonoNs,
    /// When a fault last had an effect.
    pub troubled: MonoNs,
    /// Most bytes that are read in one turn, those that wait for the next one, and since when how many of them wait.
    pub read_max: usize,
    waiting: VecDeque<u8>,
    since: VecDeque<(MonoNs, usize)>,
}

impl Pipe {
    fn take_waiting(&mut self, mut length: usize) -> Vec<u8> {
        let read = self.waiting.drain(..length).collect();
        while let Some((_, bytes)) = self.since.front_mut() {
            let taken = length.min(*bytes);
            (*bytes, length) = (*bytes - taken, length - taken);
            if *bytes > 0 {
                break;
            }
            self.since.pop_front();
        }
        read
    }

    /// Since when the oldest unread byte waits; `None`: there is none.
    pub fn unread_since(&self) -> Option<MonoNs> {
        self.since.front().map(|(at, _)| *at)
    }
}

pub(crate) struct OneThread {
    pub hand: HandClock,
    pub random: Random,
    pub venues: Vec<&'static dyn Venue>,
    pub prices: SimPrices,
    pub script: Script,
    pub pipes: Vec<Pipe>,
    pub directory: Arc<Directory>,
    pub board: Arc<Board>,
    pub handover: Handover,
    pub detector: Detector,
    pub matrix: SharedMatrix,
    /// What the detector publishes.
    pub events: rtrb::Consumer<OpportunityEvent>,
    pub truth: Option<Truth>,
    pub began: MonoNs,
    next_second: MonoNs,
}

impl OneThread {
    /// `subscribers`: readers of the detector besides [`Self::events`].
    pub fn new(setting: &Setting<'_>, subscribers: impl FnOnce(&Tables) -> Vec<Subscriber>) -> Self {
        let Setting { seed, venues: names, instruments, liveliness, options } = *setting;
        let hand = HandClock::new(MonoNs(1000 * SECOND), UnixNs::from_ms(1_700_000_000_000));
        let clock = hand.clock();
        let venues: Vec<&'static dyn Venue> = names.iter().map(|name| venue(name).unwrap()).collect();
        let traded: Vec<_> =
            instruments.iter().map(|(base, quote)| ((*base).to_owned(), (*quote).to_owned())).collect();
        let prices = SimPrices::new(&venues, &traded, seed, liveliness, clock.unix());
        let listed = venues.iter().map(|venue| VenueEntry {
            name: venue.facts().name.into(),
            taker_fee_pct: Decimal::new(1, 1),
            native: instruments.iter().map(|(base, quote)| venue.native(base, quote).ok()).collect(),
        });
        let symbols = instruments.iter().map(|(base, quote)| format!("{base}/{quote}")).collect();
        let directory = Arc::new(Directory::new(symbols, listed.collect()));
        let board = Arc::new(Board::new(clock.now(), venues.len(), 1));
        let days = Arc::new(DayTable::new(directory.pairs()));
        let (matrix, writer) = QuoteMatrix::new(directory.pairs());
        let tables = Tables {
            directory: Arc::clone(&directory),
            matrix: Arc::clone(&matrix),
            days: Arc::clone(&days),
            board: Arc::clone(&board),
            clock: clock.clone(),
        };
        let (to_test, events) = rtrb::RingBuffer::new(4096);
        let mut subscribers = subscribers(&tables);
        subscribers.push(Subscriber {
            changes: Arc::new(Changes::new(directory.pairs())),
            opportunities: Some(to_test),
            alarm: Alarm::of_parker().0,
        });
        // So small that a burst fills it.
        let (producer, consumer) = rtrb::RingBuffer::new(64);
        let (detector, detector_alarm) = Detector::new(DetectorParts {
            directory: Arc::clone(&directory),
            matrix: writer,
            rings: vec![consumer],
            subscribers,
            board: Arc::clone(&board),
            clock: clock.clone(),
            options,
        });
        let ids = (0..venues.len()).map(|at| VenueId(at as u16)).collect();
        let handover = Handover::new(producer, detector_alarm, Arc::clone(&board), ids, directory.rows(), Origin::Own);
        let pipes = venues
            .iter()
            .enumerate()
            .map(|(at, venue)| Pipe {
                venue: *venue,
                feed: Session::tops(
                    SessionParts {
                        id: VenueId(at as u16),
                        venue: *venue,
                        directory: Arc::clone(&directory),
                        board: Arc::clone(&board),
                        options: feed::FeedOptions::default(),
                        quotes: QuoteOptions::default(),
                        pairs: 1,
                    },
                    Arc::clone(&days),
                    entries(&directory, VenueId(at as u16)),
                )
                .with_witness(true),
                far: None,
                opens_at: clock.now(),
                held_until: MonoNs(0),
                troubled: MonoNs(0),
                read_max: usize::MAX,
                waiting: VecDeque::new(),
                since: VecDeque::new(),
            })
            .collect();
        let now = clock.now();
        Self {
            script: Script::new(venues.len(), seed, now),
            began: now,
            next_second: now.plus(SECOND),
            random: Random::new(seed),
            hand,
            venues,
            prices,
            pipes,
            directory,
            board,
            handover,
            detector,
            matrix,
            events,
            truth: None,
        }
    }

    pub fn follow(&mut self, script: &str) {
        let scenario = Scenario::read(script, &self.venues).unwrap();
        self.script.follow(scenario, self.now());
    }

    pub fn now(&self) -> MonoNs {
        self.hand.clock().now()
    }

    pub fn elapsed_ms(&self) -> u64 {
        self.now().since(self.began) / MS
    }

    /// Starts to record what the books really are.
    pub fn record_truth(&mut self, truth: Truth) {
        self.truth = Some(truth);
        self.prices.cells().for_each(|cell| self.record(cell));
    }

    fn record(&mut self, cell: CellId) {
        if let Some(truth) = &mut self.truth {
            let (venue, _) = self.prices.quote(cell);
            let name = self.venues[venue].facts().name;
            truth.see(cell, &self.prices, &self.script.troubles[venue], name, self.hand.clock().unix());
        }
    }

    /// Begins and ends the faults that are due.
    pub fn trouble(&mut self) {
        let (now, unix) = (self.now(), self.hand.clock().unix());
        if let Some(before) = self.script.advance(now, &self.venues, &mut self.prices) {
            for (at, before) in before.iter().enumerate() {
                self.turn_to(at, before, now, unix);
            }
        }
        for (pipe, _) in self.pipes.iter_mut().zip(&self.script.troubles).filter(|(_, trouble)| !trouble.is_none()) {
            pipe.troubled = now;
        }
    }

    fn turn_to(&mut self, at: usize, before: &spreadwire::sim::scenario::Trouble, now: MonoNs, unix: UnixNs) {
        let changes = self.script.consequences(at, before, &mut self.prices, unix);
        let trouble = &self.script.troubles[at];
        if trouble == before {
            return;
        }
        if trouble.cuts_after(before) {
            self.pipes[at].far = None;
        }
        if let Some(far) = &mut self.pipes[at].far {
            far.delay(venue_side::late_ns(trouble), now);
            for cell in changes.trading {
                far.trading(&distortion::distort_quote(self.prices.quote(cell).1, trouble), now);
            }
        }
        changes.books.into_iter().for_each(|cell| self.publish(cell));
        let cells = self.prices.cells().filter(|cell| self.prices.quote(*cell).0 == at);
        cells.collect::<Vec<_>>().into_iter().for_each(|cell| self.record(cell));
    }

    /// Opens the connections that are due, and removes those that have ended.
    pub fn open(&mut self) {
        let now = self.now();
        for pipe in &mut self.pipes {
            let handover = &mut self.handover;
            if pipe.far.is_none() && pipe.feed.is_open() {
                pipe.waiting.clear();
                pipe.since.clear();
                pipe.feed.lose(End::Socket("cut".to_owned()), &mut |event| handover.push(event));
            }
            if pipe.feed.end().is_some() && pipe.opens_at == MonoNs(u64::MAX) {
                pipe.far = None;
                pipe.opens_at = now.plus(REOPEN_MS * MS);
            }
            if now >= pipe.opens_at {
                pipe.opens_at = MonoNs(u64::MAX);
                pipe.feed.open(&address_of(pipe.venue, simulator()), now).unwrap();
                pipe.far = Some(venue_side::SimConnection::new(LIMITS, now));
            }
        }
    }

    /// Changes `updates` prices.
    pub fn step_prices(&mut self, updates: usize) {
        for _ in 0..updates {
            let unix = self.hand.clock().unix();
            if let Some(cell) = self.prices.step(unix) {
                self.publish(cell);
            }
        }
    }

    /// Reports a changed price to the venue's connection.
    pub fn publish(&mut self, cell: CellId) {
        self.record(cell);
        let (at, quote) = self.prices.quote(cell);
        let (trouble, now) = (&self.script.troubles[at], self.hand.clock().now());
        if trouble.of(FaultKind::Silence, &quote.native).is_some() {
            return;
        }
        let Some(far) = &mut self.pipes[at].far else { return };
        if trouble.is_none() {
            far.quote(quote, now);
        } else {
            far.troubled_quote(quote, now, trouble, &mut self.random);
        }
    }

    /// Sends heartbeats and statistics once a second.
    pub fn each_second(&mut self) {
        let now = self.now();
        if now < self.next_second {
            return;
        }
        self.next_second = now.plus(SECOND);
        let unix = self.hand.clock().unix();
        for (at, pipe) in self.pipes.iter_mut().enumerate() {
            let trouble = &self.script.troubles[at];
            let Some(far) = pipe.far.as_mut().filter(|_| trouble.whole(FaultKind::Silence).is_none()) else { continue };
            far.troubled_heartbeat(unix, now, trouble);
            for (_, quote) in self.prices.cells().map(|cell| self.prices.quote(cell)).filter(|(of, _)| *of == at) {
                let mut quote = distortion::distort_quote(quote, trouble);
                quote.day.exchange_time = distortion::distort_time(unix, trouble);
                far.statistics(&quote, now);
            }
        }
    }

    /// Reads every venue's list of instruments, as discovery does about once a minute.
    pub fn read_lists(&mut self) {
        let unix = self.hand.clock().unix();
        for (at, venue) in self.venues.iter().enumerate() {
            let trouble = &self.script.troubles[at];
            let market = DistortedMarket { market: self.prices.market(at, unix), trouble, stale: None, is_page: true };
            let page = venue.rest("GET", venue.listing().path, "ws://simulator", &market).unwrap();
            for entry in venue.read_listing(page.as_bytes()).unwrap() {
                let symbol = format!("{}/{}", entry.base, entry.quote);
                let known =
                    (0..self.directory.rows() as u32).map(InstrumentId).find(|i| self.directory.symbol(*i) == symbol);
                if let Some(instrument) = known {
                    self.directory.set_halted(instrument, VenueId(at as u16), HaltedBy::List, !entry.is_trading);
                }
            }
        }
    }

    /// Carries bytes both ways until neither end has more to send, or the limit of one turn is reached.
    pub fn pump(&mut self) {
        let (now, clock) = (self.now(), self.hand.clock());
        let sockets = [];
        let world = World {
            venues: &self.venues,
            prices: &self.prices,
            unix: clock.unix(),
            listen: simulator(),
            refusing: &[],
            troubles: &self.script.troubles,
            tls: false,
            sockets: &sockets,
        };
        for pipe in &mut self.pipes {
            let handover = &mut self.handover;
            let mut push = |event| handover.push(event);
            if pipe.feed.deadline().is_some_and(|at| now >= at) {
                pipe.feed.elapsed(now, &mut push);
            }
            let mut room = pipe.read_max;
            while let Some(far) = &mut pipe.far {
                far.elapsed(now);
                let asked = pipe.feed.output().map(std::mem::take).unwrap_or_default();
                if !asked.is_empty() {
                    far.receive(&asked, now, &world);
                }
                if now < pipe.held_until {
                    break;
                }
                let (said, is_over) = (std::mem::take(far.output()), far.ending().is_some());
                pipe.waiting.extend(&said);
                if !said.is_empty() {
                    pipe.since.push_back((now, said.len()));
                }
                let length = pipe.waiting.len().min(room);
                room -= length;
                let read = pipe.take_waiting(length);
                if length > 0 {
                    let waiting = if pipe.feed.wants_waiting(now) { pipe.waiting.len() } else { 0 };
                    pipe.feed.receive_some(&read, waiting, now, &clock, &mut push);
                }
                if is_over {
                    pipe.far = None;
                }
                if asked.is_empty() && length == 0 {
                    break;
                }
            }
        }
    }

    /// Passes all that was read to the detector.
    pub fn detect(&mut self) {
        self.handover.settle();
        while self.detector.turn(Duration::ZERO) > 0 {
            self.handover.settle();
        }
    }

    pub fn cell(&self, instrument: InstrumentId, venue: VenueId) -> CellQuote {
        self.matrix.load().load(self.directory.pair(instrument, venue))
    }
}

/// Where the feeds find the simulated venues; nothing listens there.
fn simulator() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 9000))
}
