//! Every fault of the script on every venue: simulator, feed and detector in one process over real sockets, on a
//! hand-turned clock. One test a fault; half of the venues suffer, then the other half, and who does not suffer must
//! not notice. Checked all the time: each leg of an alert is a price that its venue truly had within the age limit,
//! by the simulator's own journal. Afterwards: all prices are back, and true, within the row's bound.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use spreadwire::detector::{Detector, DetectorParts, Subscriber};
use spreadwire::feed::{Feed, FeedOptions, FeedParts, FeedVenue};
use spreadwire::market::book::{BookView, Side};
use spreadwire::market::directory::VenueEntry;
use spreadwire::market::opportunity::{CloseReason, Leg, OpportunityEvent};
use spreadwire::market::quote::QuoteOptions;
use spreadwire::market::rule::DetectorOptions;
use spreadwire::market::{Decimal, Directory, InstrumentId, Level, VenueId};
use spreadwire::matrix::books::BookTable;
use spreadwire::matrix::changes::Changes;
use spreadwire::matrix::days::DayTable;
use spreadwire::matrix::{CellState, QuoteMatrix, SharedMatrix};
use spreadwire::metrics::reasons::{DecodeReason, DropReason};
use spreadwire::metrics::{Board, LinkState, VenueGauges};
use spreadwire::net::dial;
use spreadwire::net::listen::Listener;
use spreadwire::net::switch::Switch;
use spreadwire::net::tls::Trust;
use spreadwire::sim::certificates::Certificates;
use spreadwire::sim::prices::CellId;
use spreadwire::sim::scenario::Scenario;
use spreadwire::sim::{self, Sim, SimParts, address_of, rest_address_of};
use spreadwire::stage::{Alarm, Idle, Stage, Stop, spawn};
use spreadwire::time::{Clock, HandClock, MS, MonoNs, SECOND, UnixNs};
use spreadwire::venues::{Check, VENUES, VenueQuote};

const INSTRUMENTS: [(&str, &str); 2] = [("BTC", "USDT"), ("ETH", "USDT")];
/// Legs of alerts may be this old.
const AGE_NS: u64 = 2 * SECOND;
/// What lies between the simulator's writing and the feed's reading: a few turns of the loop, and the quarter of a
/// second that a quote may be late before its age is corrected.
const HAIR_NS: u64 = 350 * MS;
/// Levels of books.
const LEVELS: usize = 20;
/// One turn of all.
const STEP_NS: u64 = 5 * MS;
/// Real time after which a test that makes no progress fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// A top of book, and since when the venue had it.
type Had = (MonoNs, Level, Level);

struct Rig {
    sim: Sim,
    feed: Feed,
    detector: Detector,
    alerts: rtrb::Consumer<OpportunityEvent>,
    /// What was alerted since a test last looked.
    told: Vec<OpportunityEvent>,
    matrix: SharedMatrix,
    directory: Arc<Directory>,
    board: Arc<Board>,
    books: Arc<BookTable>,
    hand: HandClock,
    /// What each pair's venue had, and since when, oldest first: its order book follows from it.
    deep: Vec<VecDeque<(MonoNs, VenueQuote)>>,
    /// Books that were held against those.
    books_checked: usize,
    view: BookView,
    /// The prices of each pair of instrument and venue, oldest first.
    had: Vec<VecDeque<Had>>,
    cells: Vec<CellId>,
    checked: usize,
    /// How much older than we say a price of a venue may be.
    hair_ns: fn(&str) -> u64,
    stepped: Instant,
    stop: Stop,
    ca: Option<PathBuf>,
}

/// Whose books begin with a page of them: when the market runs through it, less is held until there is another one, and
/// here pages come in real time.
const PAGED: [&str; 4] = ["binance", "binanceus", "kucoin", "mexc"];

impl Drop for Rig {
    fn drop(&mut self) {
        self.stop.request();
        if let Some(file) = &self.ca {
            let _ = std::fs::remove_file(file);
        }
    }
}

impl Rig {
    fn new(tls: bool, seed: u64) -> Self {
        let hand = HandClock::new(MonoNs(3600 * SECOND), UnixNs::from_ms(1_786_613_159_748));
        let instruments = INSTRUMENTS.map(|(base, quote)| (base.to_owned(), quote.to_owned())).to_vec();
        let mut sim = Sim::new(SimParts {
            venues: VENUES.to_vec(),
            instruments,
            listener: Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap(),
            seed,
            rate: 320.0,
            clock: hand.clock(),
            options: sim::SimOptions { opportunity_every_ms: 250, ..sim::SimOptions::default() },
        })
        .unwrap();
        sim.keep_journal();
        let ca = tls.then(|| {
            let certificates = Certificates::new(sim.address().ip()).unwrap();
            let name = format!("spreadwire-faults-{}-{}.pem", std::process::id(), sim.address().port());
            let file = std::env::temp_dir().join(name);
            std::fs::write(&file, certificates.authority()).unwrap();
            sim.secure(certificates);
            file
        });
        let entries = VENUES.iter().map(|venue| VenueEntry {
            name: venue.facts().name.into(),
            taker_fee_pct: Decimal::new(1, 1),
            native: INSTRUMENTS.iter().map(|(base, quote)| venue.native(base, quote).ok()).collect(),
        });
        let symbols = INSTRUMENTS.iter().map(|(base, quote)| format!("{base}/{quote}")).collect();
        let directory = Arc::new(Directory::new(symbols, entries.collect()));
        let trust = Trust::new(ca.as_deref()).unwrap();
        let secured = |plain: String| if tls { plain.replacen("://", "s://", 1) } else { plain };
        let venues = (0..).zip(VENUES).map(|(at, venue)| FeedVenue {
            id: VenueId(at),
            venue: *venue,
            address: secured(address_of(*venue, sim.address())),
            rest_address: secured(rest_address_of(*venue, sim.address())),
            trust: trust.clone(),
            witness: true,
        });
        let venues: Vec<FeedVenue> = venues.collect();
        let board = Arc::new(Board::new(MonoNs(0), VENUES.len(), 1));
        let (dialer, stages) = dial::pool(VENUES.len(), &Clock::System).unwrap();
        let stop = Stop::default();
        for stage in stages {
            spawn(vec![stage], None, Idle::Wait, stop.clone()).unwrap();
        }
        let (producer, ring) = rtrb::RingBuffer::new(4096);
        let (told, alerts) = rtrb::RingBuffer::new(4096);
        let (matrix, writer) = QuoteMatrix::new(directory.pairs());
        let changes = Arc::new(Changes::new(directory.pairs()));
        let options = DetectorOptions {
            debounce_ms: 0,
            leg_age_max_ms: AGE_NS / MS,
            leg_skew_max_ms: AGE_NS / MS,
            ..Default::default()
        };
        let (detector, alarm) = Detector::new(DetectorParts {
            directory: Arc::clone(&directory),
            matrix: writer,
            rings: vec![ring],
            subscribers: vec![Subscriber { changes, opportunities: Some(told), alarm: Alarm::of_parker().0 }],
            board: Arc::clone(&board),
            clock: hand.clock(),
            options,
        });
        let books = Arc::new(BookTable::new(directory.pairs(), LEVELS));
        let (feed, _) = Feed::new(FeedParts {
            days: Arc::new(DayTable::new(directory.pairs())),
            books: Arc::clone(&books),
            directory: Arc::clone(&directory),
            venues,
            ring: producer,
            detector: alarm,
            board: Arc::clone(&board),
            switch: Arc::new(Switch::new(VENUES.len(), true)),
            changes: crossbeam::channel::never(),
            dialer,
            clock: hand.clock(),
            options: FeedOptions::default(),
            quotes: QuoteOptions::default(),
            seed: Some(1),
        })
        .unwrap();
        let (mut cells, mut had) = (Vec::new(), vec![VecDeque::new(); directory.pairs()]);
        let mut deep = vec![VecDeque::new(); directory.pairs()];
        for (venue, id) in (0..VENUES.len()).zip((0..).map(VenueId)) {
            for (instrument, (base, quote)) in (0..).map(InstrumentId).zip(INSTRUMENTS) {
                let cell = sim.prices().cell_of(venue, &format!("{base}/{quote}")).unwrap();
                let (_, now) = sim.prices().quote(cell);
                had[directory.pair(instrument, id).index()].push_back((MonoNs(0), now.bid, now.ask));
                deep[directory.pair(instrument, id).index()].push_back((MonoNs(0), now.clone()));
                cells.push(cell);
            }
        }
        Self {
            sim,
            feed,
            detector,
            alerts,
            told: Vec::new(),
            matrix,
            directory,
            board,
            books,
            hand,
            deep,
            books_checked: 0,
            view: BookView::default(),
            had,
            cells,
            checked: 0,
            hair_ns: |_| HAIR_NS,
            stepped: Instant::now(),
            stop,
            ca,
        }
    }

    fn now(&self) -> MonoNs {
        self.hand.clock().now()
    }

    /// One step of time for all, and what was alerted is held against the journal.
    fn step(&mut self) {
        self.hand.advance(STEP_NS);
        self.sim.turn(Duration::ZERO);
        // Dialers live in real time: while one is at work, the others do so, too.
        if self.board.venues.iter().any(|v| v.connection.state() == LinkState::Connecting) || self.waits_for_pages() {
            std::thread::sleep(Duration::from_nanos(STEP_NS).saturating_sub(self.stepped.elapsed()));
        }
        self.stepped = Instant::now();
        self.feed.turn(Duration::ZERO);
        self.detector.turn(Duration::ZERO);
        for change in self.sim.take_journal() {
            let at = self.cells.iter().position(|cell| *cell == change.cell).unwrap();
            let (venue, instrument) = (at / INSTRUMENTS.len(), at % INSTRUMENTS.len());
            let pair = self.directory.pair(InstrumentId(instrument as u32), VenueId(venue as u16));
            let had = &mut self.had[pair.index()];
            had.push_back((change.at, change.bid, change.ask));
            while had.len() > 2 && had[1].0.plus(4 * AGE_NS) < change.at {
                had.pop_front();
            }
            let deep = &mut self.deep[pair.index()];
            let before = &deep.back().unwrap().1;
            let (bid, ask, sequence) = (change.bid, change.ask, before.sequence + 1);
            let now = VenueQuote { bid, ask, sequence, ..before.clone() };
            deep.push_back((change.at, now));
            while deep.len() > 2 && deep[1].0.plus(10 * AGE_NS) < change.at {
                deep.pop_front();
            }
        }
        if self.now().0.is_multiple_of(20 * STEP_NS) {
            self.check_books();
        }
        while let Ok(event) = self.alerts.pop() {
            if event.change.reason().is_none() {
                self.checked += 1;
                self.check_leg(&event, &event.opportunity.buy, |had| had.2);
                self.check_leg(&event, &event.opportunity.sell, |had| had.1);
            }
            self.told.push(event);
        }
    }

    /// Whether a venue whose books begin with pages is connected and has not all of them.
    fn waits_for_pages(&mut self) -> bool {
        (0..VENUES.len()).filter(|venue| PAGED.contains(&VENUES[*venue].facts().name)).any(|venue| {
            self.board.books[venue].connection.state() == LinkState::Connected
                && (0..INSTRUMENTS.len() as u32).map(InstrumentId).any(|instrument| {
                    self.books.load(self.directory.pair(instrument, VenueId(venue as u16)), 1, &mut self.view);
                    self.view.changes == 0 || self.view.void.is_some()
                })
        })
    }

    /// The oracle of books: whatever is held, the venue had it, all of its levels, when we say that we read it or later.
    fn check_books(&mut self) {
        for venue in (0..VENUES.len()).filter(|venue| VENUES[*venue].facts().books.is_some()) {
            for instrument in (0..INSTRUMENTS.len() as u32).map(InstrumentId) {
                let pair = self.directory.pair(instrument, VenueId(venue as u16));
                self.books.load(pair, LEVELS, &mut self.view);
                if self.view.changes == 0 || self.view.void.is_some() {
                    continue;
                }
                self.books_checked += 1;
                let from = MonoNs(self.view.stamp.received.0.saturating_sub(HAIR_NS));
                let name = VENUES[venue].facts().name;
                assert!(self.had_book(venue, instrument, from), "{name}: the venue had no such book: {:?}", self.view);
            }
        }
    }

    /// Whether since `from` the venue ever had the book that was loaded.
    fn had_book(&self, venue: usize, instrument: InstrumentId, from: MonoNs) -> bool {
        let deep = &self.deep[self.directory.pair(instrument, VenueId(venue as u16)).index()];
        let first = deep.partition_point(|(at, _)| *at <= from).saturating_sub(1);
        let Some(books) = VENUES[venue].facts().books else { return false };
        let levels = books.levels_max.min(LEVELS);
        // Whatever is lost, the venue vouches for so many.
        let vouched = if let Check::ChecksumOf(vouched) = books.check { vouched } else { levels };
        let may_be_short = PAGED.contains(&VENUES[venue].facts().name);
        let is_best = |held: &[Level], meant: Vec<Level>| {
            meant.starts_with(&held[..held.len().min(vouched)])
                && (held.len() == meant.len() || (may_be_short && !held.is_empty()))
        };
        let is_it = |quote: &VenueQuote| {
            is_best(&self.view.bids, quote.levels(Side::Bid, levels))
                && is_best(&self.view.asks, quote.levels(Side::Ask, levels))
        };
        deep.iter().skip(first).rev().any(|(_, quote)| is_it(quote))
    }

    /// Whether all books of the venue are here, young and true; so are those of one that offers none.
    fn has_books(&mut self, venue: usize) -> bool {
        let is_here = |rig: &mut Self, instrument: InstrumentId| {
            rig.books.load(rig.directory.pair(instrument, VenueId(venue as u16)), LEVELS, &mut rig.view);
            let from = MonoNs(rig.now().0 - SECOND / 2);
            rig.view.void.is_none()
                && rig.view.changes > 0
                && rig.view.stamp.received >= from
                && rig.had_book(venue, instrument, from)
        };
        VENUES[venue].facts().books.is_none()
            || (0..INSTRUMENTS.len() as u32).map(InstrumentId).all(|instrument| is_here(self, instrument))
    }

    /// The oracle: the venue had this price within the age limit, and we read it within the age limit.
    #[track_caller]
    fn check_leg(&self, event: &OpportunityEvent, leg: &Leg, side: impl Fn(&Had) -> Level) {
        let found = &event.opportunity;
        let name = VENUES[leg.venue.index()].facts().name;
        assert!(
            found.detected.since(leg.received) <= AGE_NS + HAIR_NS,
            "{name}: a leg that was read long ago: {event:?}"
        );
        let from = MonoNs(found.detected.0 - AGE_NS - (self.hair_ns)(name));
        assert!(self.had_since(found.instrument, leg.venue, from, |had| side(had) == leg.level), "{name}: {event:?}");
    }

    /// Whether since `from` the venue ever had such a top of book.
    fn had_since(&self, instrument: InstrumentId, venue: VenueId, from: MonoNs, is_it: impl Fn(&Had) -> bool) -> bool {
        let had = &self.had[self.directory.pair(instrument, venue).index()];
        // The one that held at `from`, and all that came later.
        let first = had.partition_point(|had| had.0 <= from).saturating_sub(1);
        had.iter().skip(first).any(is_it)
    }

    /// Whether all prices of the venue are here, young and true.
    fn is_well(&self, venue: usize) -> bool {
        let id = VenueId(venue as u16);
        (0..INSTRUMENTS.len() as u32).map(InstrumentId).all(|instrument| {
            let cell = self.matrix.load().load(self.directory.pair(instrument, id));
            let from = MonoNs(self.now().0 - SECOND / 2);
            let is_it = |had: &Had| (had.1, had.2) == (cell.bid, cell.ask);
            cell.state == CellState::Live && cell.received >= from && self.had_since(instrument, id, from, is_it)
        })
    }

    /// Prices and books.
    fn is_whole(&mut self, venue: usize) -> bool {
        self.is_well(venue) && self.has_books(venue)
    }

    fn run(&mut self, ms: u64) {
        (0..ms * MS / STEP_NS).for_each(|_| self.step());
    }

    /// Steps until `met`; says how long that took, in milliseconds. `Err` after `ms_max`.
    fn until(&mut self, ms_max: u64, met: impl Fn(&mut Self) -> bool) -> Result<u64, u64> {
        let (begun, began) = (self.now(), Instant::now());
        while !met(self) {
            let ms = self.now().since(begun) / MS;
            if ms > ms_max || began.elapsed() > PATIENCE {
                return Err(ms);
            }
            self.step();
        }
        Ok(self.now().since(begun) / MS)
    }

    fn well(&mut self) -> Vec<bool> {
        (0..VENUES.len()).map(|venue| self.is_whole(venue)).collect()
    }
}

/// A fault, and what is expected of all that suffer it.
struct Row {
    /// The lines of a `[[fault]]` besides `venue` and `for_s`.
    fault: &'static str,
    /// How long it lasts.
    for_ms: u64,
    /// How long it may take afterwards until all prices are back.
    bound_ms: u64,
    /// The counter that it moves.
    counter: fn(&VenueGauges) -> u64,
    /// On whom it does.
    moves: fn(&str) -> bool,
    /// Whether at the end of the fault all prices of who suffers it are well; `None`: that is a matter of luck.
    well: fn(&str) -> Option<bool>,
    tls: bool,
    /// Seed of the market and of the faults.
    seed: u64,
    hair_ns: fn(&str) -> u64,
}

/// Longer than a price is well.
const MOMENT_MS: u64 = 600;

fn everyone(_: &str) -> bool {
    true
}

/// `is_half`: one half of the venues, then the other; else all at once.
fn check(row: &Row, is_half: bool) {
    let mut rig = Rig::new(row.tls, row.seed);
    rig.hair_ns = row.hair_ns;
    let begun = rig.until(30_000, |rig| rig.well().iter().all(|well| *well));
    assert!(begun.is_ok(), "not all prices flow: {:?}", names(&rig.well(), false));
    let mut failures = Vec::new();
    for half in 0..if is_half { 2 } else { 1 } {
        let suffers = |venue: usize| !is_half || venue % 2 == half;
        let entry = |name: &str| {
            format!("[[fault]]\nvenue = \"{name}\"\nfor_s = {}\n{}\n", row.for_ms as f64 / 1000.0, row.fault)
        };
        let text: String = match is_half {
            true => {
                VENUES.iter().enumerate().filter(|(v, _)| suffers(*v)).map(|(_, v)| entry(v.facts().name)).collect()
            }
            false => entry("all"),
        };
        let text = if row.fault.contains("\"cut\"") { without_span(&text) } else { text };
        let before: Vec<(u64, u64)> =
            rig.board.venues.iter().map(|v| ((row.counter)(v), v.connection.disconnects.value())).collect();
        let before_of_books: Vec<u64> = rig.board.books.iter().map(row.counter).collect();
        rig.sim.follow(Scenario::read(&text, VENUES).unwrap());
        // Who asks again for a silent instrument may be told its price of that moment: well is who stays so.
        rig.run(row.for_ms.saturating_sub(MOMENT_MS));
        let was_well = rig.well();
        rig.run(row.for_ms.min(MOMENT_MS));
        let end = rig.now();
        for venue in 0..VENUES.len() {
            let name = VENUES[venue].facts().name;
            let gauges = &rig.board.venues[venue];
            let (counted, disconnects) = before[venue];
            // What one of a venue's lines is told holds for the other, which need not ask.
            let books_moved = (row.counter)(&rig.board.books[venue]) > before_of_books[venue];
            let moved = (row.counter)(gauges) > counted || (books_moved && (row.moves)(name));
            if suffers(venue) && moved != (row.moves)(name) {
                failures.push(format!("{name}: the counter moved: {moved}"));
            }
            let well = rig.is_well(venue);
            let is_other = |expected| if expected { !well } else { well && was_well[venue] };
            if suffers(venue) && (row.well)(name).is_some_and(is_other) {
                failures.push(format!("{name}: in the fault its prices are well: {well}"));
            }
            if !suffers(venue) && gauges.connection.disconnects.value() != disconnects {
                failures.push(format!("{name}: disturbed by others"));
            }
        }
        let mut back = vec![None; VENUES.len()];
        while rig.now().since(end) <= row.bound_ms * MS && back.iter().any(Option::is_none) {
            rig.step();
            for (venue, back) in back.iter_mut().enumerate().filter(|(_, back)| back.is_none()) {
                *back = rig.is_whole(venue).then(|| rig.now().since(end) / MS);
            }
        }
        for (venue, back) in VENUES.iter().zip(&back).map(|(v, back)| (v.facts().name, back)) {
            if back.is_none() {
                let gauges = rig.board.venues.iter().zip(VENUES).find(|(_, v)| v.facts().name == venue).unwrap().0;
                let why = gauges.connection.last_error().map(|why| why.to_string());
                failures.push(format!(
                    "{venue}: not back {} ms later ({:?}, {why:?})",
                    row.bound_ms,
                    gauges.connection.state()
                ));
            }
        }
        println!("{}: back after ms: {back:?}", row.fault.replace('\n', ", "));
        rig.run(500);
    }
    assert!(rig.books_checked > 20, "only {} books: nothing was proven", rig.books_checked);
    assert!(rig.checked > 10, "only {} alerts: nothing was proven", rig.checked);
    assert!(failures.is_empty(), "{}:\n{}", row.fault, failures.join("\n"));
}

fn without_span(text: &str) -> String {
    text.lines().filter(|line| !line.starts_with("for_s")).map(|line| format!("{line}\n")).collect()
}

fn names(flags: &[bool], wanted: bool) -> Vec<&'static str> {
    VENUES.iter().zip(flags).filter(|(_, flag)| **flag == wanted).map(|(v, _)| v.facts().name).collect()
}

const ROW: Row = Row {
    fault: "",
    for_ms: 4000,
    bound_ms: 3000,
    counter: |_| 0,
    moves: |_| false,
    well: |_| Some(false),
    tls: false,
    seed: 5,
    hair_ns: |_| HAIR_NS,
};

#[test]
fn silence_of_all_instruments() {
    check(&Row { fault: "kind = \"silence\"", bound_ms: 1500, ..ROW }, true);
}

#[test]
fn silence_of_one_instrument() {
    check(&Row { fault: "kind = \"silence\"\ninstrument = \"BTC/USDT\"", bound_ms: 1500, ..ROW }, true);
}

#[test]
fn a_cut() {
    let row = Row {
        fault: "kind = \"cut\"",
        for_ms: 1000,
        counter: |v| v.connection.disconnects.value(),
        moves: everyone,
        well: |_| None,
        ..ROW
    };
    check(&row, true);
}

#[test]
fn half_open_sockets() {
    let counter = |v: &VenueGauges| v.silence.closed.value();
    let row = Row { fault: "kind = \"half_open\"", for_ms: 6000, bound_ms: 12_000, counter, moves: everyone, ..ROW };
    check(&row, true);
}

#[test]
fn doubled_frames() {
    check(&Row { fault: "kind = \"duplicate\"\none_in = 2", well: |_| Some(true), ..ROW }, true);
}

/// What tells of a frame that is missing or comes too late.
fn order(gauges: &VenueGauges) -> u64 {
    gauges.read.decode_errors.value(DecodeReason::Gap)
        + gauges.read.decode_errors.value(DecodeReason::Checksum)
        + gauges.quotes.dropped.value(DropReason::Late)
}

#[test]
fn frames_out_of_order() {
    let fault = "kind = \"reorder\"\none_in = 4";
    // Without numbers a frame out of order looks like a clock that was set back: the connection's own order holds.
    let moves = |name: &str| !["bitstamp", "upbit"].contains(&name);
    // Long enough that chance leaves nobody out.
    check(&Row { fault, for_ms: 10_000, bound_ms: 8000, counter: order, moves, well: |_| None, ..ROW }, true);
}

#[test]
fn lost_frames() {
    let fault = "kind = \"lose\"\none_in = 4";
    // The others send a whole top of book each time, in no chain: the next one mends it.
    let moves = |name: &str| ["coinbase", "cryptocom", "bitfinex"].contains(&name);
    check(&Row { fault, bound_ms: 8000, counter: order, moves, well: |_| None, ..ROW }, true);
}

#[test]
fn wrong_checksums() {
    let counter = |v: &VenueGauges| v.read.decode_errors.value(DecodeReason::Checksum);
    check(
        &Row { fault: "kind = \"checksum\"", counter, moves: |name| name == "bitfinex", well: |_| None, ..ROW },
        true,
    );
}

#[test]
fn crossed_books() {
    let counter =
        |v: &VenueGauges| v.quotes.dropped.value(DropReason::Crossed) + v.read.decode_errors.value(DecodeReason::Gap);
    check(&Row { fault: "kind = \"crossed\"", bound_ms: 8000, counter, moves: everyone, ..ROW }, true);
}

#[test]
fn damaged_frames() {
    let counter = |v: &VenueGauges| v.read.decode_errors.total();
    let row =
        Row { fault: "kind = \"damage\"\none_in = 5", bound_ms: 8000, counter, moves: everyone, well: |_| None, ..ROW };
    check(&row, true);
}

#[test]
fn too_many_requests() {
    let counter = |v: &VenueGauges| v.dial.breaker.opened.value();
    let fault = "kind = \"too_many_requests\"\nretry_after_s = 4";
    check(&Row { fault, bound_ms: 8000, counter, moves: everyone, ..ROW }, true);
}

#[test]
fn maintenance() {
    let counter = |v: &VenueGauges| v.connection.disconnects.value() + v.replies.notices.value();
    // Who keeps the connection says when it is over; who asks for another one serves it.
    let well = |name: &str| Some(["binance", "binanceus", "okx", "bitstamp"].contains(&name));
    let row = Row { fault: "kind = \"maintenance\"", bound_ms: 8000, counter, moves: everyone, well, ..ROW };
    check(&row, true);
    // In this market Kraken's books moved while it said nothing.
    check(&Row { seed: 6, ..row }, true);
}

/// Whose streams say that an instrument is halted.
const TELLS_HALTS: [&str; 5] = ["coinbase", "kraken", "okx", "kucoin", "upbit"];

/// A halt of BTC/USDT on one venue, beside another fault of it.
fn halted(name: &str, other: &str) -> Scenario {
    let fault = format!("[[fault]]\nvenue = \"{name}\"\nkind = \"halt\"\ninstrument = \"BTC/USDT\"\nfor_s = 4\n");
    Scenario::read(&(fault + other), VENUES).unwrap()
}

#[test]
fn a_halt_that_a_stream_tells_marks_the_price_at_once_and_closes_its_alerts() {
    let mut rig = Rig::new(false, 5);
    let begun = rig.until(30_000, |rig| rig.well().iter().all(|well| *well));
    assert!(begun.is_ok(), "not all prices flow: {:?}", names(&rig.well(), false));
    let [btc, eth] = [0, 1].map(InstrumentId);
    for name in TELLS_HALTS {
        let at = VENUES.iter().position(|venue| venue.facts().name == name).unwrap();
        let id = VenueId(at as u16);
        let is_leg = |event: &OpportunityEvent| {
            let found = &event.opportunity;
            found.instrument == btc && [found.buy.venue, found.sell.venue].contains(&id)
        };
        let cell = |rig: &Rig, instrument| rig.matrix.load().load(rig.directory.pair(instrument, id));
        // Far above the others, so that there is an alert.
        let (_, now) = rig.sim.prices().quote(rig.cells[at * INSTRUMENTS.len()]);
        let [bid, ask] = [now.bid, now.ask].map(|level| {
            let price = Decimal::new(level.price.mantissa() + level.price.mantissa() / 70, level.price.scale());
            Level { price, ..level }
        });
        let control = rig.sim.control();
        control.set_quote(name, "BTC/USDT", bid, ask).unwrap();
        rig.told.clear();
        let opened = |rig: &mut Rig| rig.told.iter().any(|event| is_leg(event) && event.change.reason().is_none());
        assert!(rig.until(5000, opened).is_ok(), "{name}: no alert");
        rig.told.clear();
        rig.sim.follow(halted(name, ""));
        let marked = rig.until(1000, |rig| cell(rig, btc).state == CellState::Halted);
        assert!(marked.is_ok(), "{name}: {:?}", cell(&rig, btc).state);
        let is_closed =
            |event: &OpportunityEvent| is_leg(event) && event.change.reason() == Some(CloseReason::NotTrading);
        assert!(rig.told.iter().any(is_closed), "{name}: {:?}", rig.told);
        // Its prices go on, and are no legs.
        rig.told.clear();
        let before = rig.board.venues[at].quotes.decoded.value();
        for size in 1..100 {
            control.set_quote(name, "BTC/USDT", Level { size: Decimal::new(size, 2), ..bid }, ask).unwrap();
            rig.run(10);
        }
        assert!(rig.board.venues[at].quotes.decoded.value() > before + 10, "{name} quotes nothing");
        assert_eq!((cell(&rig, btc).state, cell(&rig, eth).state), (CellState::Halted, CellState::Live), "{name}");
        assert!(!rig.told.iter().any(is_leg), "{name}: {:?}", rig.told);
        control.release(name, "BTC/USDT").unwrap();
        assert!(rig.until(10_000, |rig| rig.is_well(at)).is_ok(), "{name}: trading resumed");
    }
}

#[test]
fn a_halt_outlasts_the_connection_that_told_of_it() {
    let mut rig = Rig::new(false, 5);
    assert!(rig.until(30_000, |rig| rig.well().iter().all(|well| *well)).is_ok());
    for name in TELLS_HALTS {
        let at = VENUES.iter().position(|venue| venue.facts().name == name).unwrap();
        let [btc, eth] = [0, 1].map(|of| rig.directory.pair(InstrumentId(of), VenueId(at as u16)));
        let state = |rig: &Rig, pair| rig.matrix.load().load(pair).state;
        rig.sim.follow(halted(name, &format!("[[fault]]\nvenue = \"{name}\"\nkind = \"cut\"\nfrom_s = 1\n")));
        assert!(rig.until(1000, |rig| state(rig, btc) == CellState::Halted).is_ok(), "{name}");
        let disconnects = rig.board.venues[at].connection.disconnects.value();
        assert!(
            rig.until(3000, |rig| rig.board.venues[at].connection.disconnects.value() > disconnects).is_ok(),
            "{name}: no cut"
        );
        let is_back = |rig: &mut Rig| {
            assert_eq!(state(rig, btc), CellState::Halted, "{name}");
            state(rig, eth) == CellState::Live
        };
        assert!(rig.until(3000, is_back).is_ok(), "{name}: not back");
        assert!(rig.until(10_000, |rig| rig.is_well(at)).is_ok(), "{name}: trading resumed");
    }
}

#[test]
fn a_clock_that_jumps_back_and_forth() {
    // Nothing tells a clock that is behind from quotes that are late.
    let counter = |v: &VenueGauges| v.lag.lagged.value();
    let fault = "kind = \"clock\"\noffset_ms = -3600000";
    check(&Row { fault, bound_ms: 1500, counter, moves: everyone, ..ROW }, true);
    // When one that was ahead is set right, that is taken for lag during the ten seconds until it is sure.
    let fault = "kind = \"clock\"\noffset_ms = 3600000";
    check(&Row { fault, bound_ms: 15_000, well: |_| None, ..ROW }, true);
}

#[test]
fn a_clock_that_is_a_little_late() {
    // Nothing tells it from quotes that are late.
    let counter = |v: &VenueGauges| v.lag.lagged.value();
    let row = Row { fault: "kind = \"clock\"\noffset_ms = -1500", counter, moves: everyone, ..ROW };
    check(&row, true);
}

#[test]
fn refused_connections() {
    let counter = |v: &VenueGauges| v.connection.disconnects.value();
    check(&Row { fault: "kind = \"refused\"", bound_ms: 8000, counter, moves: everyone, ..ROW }, true);
    check(&Row { fault: "kind = \"refused\"", bound_ms: 8000, counter, moves: everyone, ..ROW }, false);
}

#[test]
fn certificates_that_do_not_hold() {
    let counter = |v: &VenueGauges| v.dial.tls_refused.value();
    for fault in ["kind = \"tls_expired\"", "kind = \"tls_wrong_name\""] {
        // The wait for the next attempt is drawn, up to the longest one of the backoff.
        let bound_ms = FeedOptions::default().backoff_max_ms + 5000;
        check(&Row { fault, bound_ms, counter, moves: everyone, tls: true, ..ROW }, false);
    }
}

/// What is said again is as late as what came before it, and at 1 KB/s a frame takes a third of a second. Binance's quotes
/// have no stamps: its statistics tell of the line, once a second.
fn lateness_unseen(name: &str) -> u64 {
    let seconds_of_statistics = if name.starts_with("binance") { SECOND } else { 0 };
    HAIR_NS + 350 * MS + seconds_of_statistics
}

#[test]
fn slow_frames() {
    let (fault, counter) = ("kind = \"slow\"\nbytes_per_s = 1024", |v: &VenueGauges| v.lag.lagged.value());
    let row = Row { fault, bound_ms: 8000, counter, moves: everyone, well: |_| None, hair_ns: lateness_unseen, ..ROW };
    check(&row, true);
    // In these markets KuCoin's two instruments are stamped alike and come one after the other, and Kraken says a price
    // again while the line grows slower.
    check(&Row { seed: 10, ..row }, true);
    check(&Row { seed: 22, ..row }, true);
}

#[test]
fn late_frames_at_the_full_rate() {
    let (fault, counter) = ("kind = \"lag\"\nlate_ms = 1000", |v: &VenueGauges| v.lag.lagged.value());
    let row = Row { fault, bound_ms: 3000, counter, moves: everyone, well: |_| None, hair_ns: lateness_unseen, ..ROW };
    check(&row, true);
}

#[test]
fn a_clock_that_drifts() {
    let counter = |v: &VenueGauges| v.lag.lagged.value();
    check(&Row { fault: "kind = \"drift\"\nppm = 200", counter, well: |_| Some(true), ..ROW }, true);
}

#[test]
fn a_reconnect_whose_first_prices_are_stale() {
    let counter = |v: &VenueGauges| v.connection.disconnects.value();
    let fault = "kind = \"reconnect\"\nstale_ms = 2000";
    check(&Row { fault, counter, moves: everyone, well: |_| None, hair_ns: staleness_unseen, ..ROW }, true);
}

/// Binance's quotes have no stamps: the first one of a connection may be as old as the fault makes it.
fn staleness_unseen(name: &str) -> u64 {
    let stale = if name.starts_with("binance") { 2 * SECOND } else { 0 };
    HAIR_NS + stale
}

#[test]
fn the_scenario_of_the_documentation_can_be_read() {
    let page = include_str!("../../docs/simulator.md");
    let example = page.split("```").find(|block| block.starts_with("toml\n[[fault]]")).unwrap();
    assert_eq!(Scenario::read(&example["toml".len()..], VENUES).unwrap().faults.len(), 3);
}
