//! What one turn of the gateway reads: quotes, day statistics, order books, gauges, limits and the time. [`View`] owns
//! it and is refreshed once per turn; the parts of the gateway receive a [`Snapshot`].

use std::sync::Arc;

use arc_swap::Cache;

use crate::gateway::options::GatewaySettings;
use crate::market::opportunity::Opportunity;
use crate::market::quote::Origin;
use crate::market::{Directory, PairId, VenueId};
use crate::matrix::books::BookTable;
use crate::matrix::days::DayTable;
use crate::matrix::{CellQuote, CellState, QuoteMatrix, SharedMatrix};
use crate::metrics::{Board, GatewayGauges, LinkState};
use crate::protocol::survival::SurvivalOf;
use crate::time::{Clock, MonoNs, UnixNs};

/// The two clocks of a gateway. They differ in a replay, whose clock may run fast, jump or stand still, while clients
/// and their timeouts follow the system clock.
#[derive(Clone, Debug, Default)]
pub struct Clocks {
    /// Time of quotes, opportunities and of what messages show.
    pub quotes: Clock,
    /// Time of clients: intervals, timeouts, limits per second.
    pub clients: Clock,
}

impl Clocks {
    /// Both on one clock.
    #[must_use]
    pub fn both(clock: &Clock) -> Self {
        Self { quotes: clock.clone(), clients: clock.clone() }
    }

    fn read(&self) -> (MonoNs, MonoNs) {
        let clients = self.clients.now();
        match (&self.quotes, &self.clients) {
            (Clock::System, Clock::System) => (clients, clients),
            (quotes, _) => (quotes.now(), clients),
        }
    }
}

/// Which fields a client receives with a price.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PriceFormat {
    /// WebSocket: the fields of the replaced system 1.
    Plain,
    /// WebSocket: those and more.
    Extended,
    /// Event of a stream.
    Stream,
    /// Event of a stream with more fields.
    ExtendedStream,
}

impl PriceFormat {
    /// Whether it is a format of pairs without exchanges.
    #[must_use]
    pub(crate) const fn is_stream(self) -> bool {
        matches!(self, Self::Stream | Self::ExtendedStream)
    }

    /// Whether its clients asked for more fields, and therefore understand a price that cannot be traded on.
    #[must_use]
    pub const fn is_extended(self) -> bool {
        matches!(self, Self::Extended | Self::ExtendedStream)
    }
}

/// Owner of what a turn reads.
pub(crate) struct View {
    settings: GatewaySettings,
    directory: Arc<Directory>,
    cache: Cache<SharedMatrix, Arc<QuoteMatrix>>,
    matrix: Arc<QuoteMatrix>,
    days: Arc<DayTable>,
    books: Arc<BookTable>,
    board: Arc<Board>,
    index: usize,
    clocks: Clocks,
    turn: u64,
    client_now: MonoNs,
    quote_now: MonoNs,
    unix: UnixNs,
}

/// What a [`View`] is built from.
pub(crate) struct Sources {
    /// Limits and choices.
    pub settings: GatewaySettings,
    /// Names.
    pub directory: Arc<Directory>,
    /// Quotes.
    pub matrix: SharedMatrix,
    /// Day statistics.
    pub days: Arc<DayTable>,
    /// Order books.
    pub books: Arc<BookTable>,
    /// Counters and gauges.
    pub board: Arc<Board>,
    /// Index of this gateway on the board.
    pub index: usize,
    /// Clocks.
    pub clocks: Clocks,
}

impl View {
    /// A view at the present time.
    #[must_use]
    pub fn new(sources: Sources) -> Self {
        let Sources { settings, directory, matrix, days, books, board, index, clocks } = sources;
        let (quote_now, client_now) = clocks.read();
        Self {
            matrix: matrix.load_full(),
            cache: Cache::new(matrix),
            unix: clocks.quotes.unix(),
            turn: 0,
            settings,
            directory,
            days,
            books,
            board,
            index,
            clocks,
            client_now,
            quote_now,
        }
    }

    /// Begins a turn: reads the clocks and loads the current matrix.
    pub(crate) fn refresh(&mut self) {
        self.turn += 1;
        (self.quote_now, self.client_now) = self.clocks.read();
        self.unix = self.clocks.quotes.unix();
        let newest = self.cache.load();
        if !Arc::ptr_eq(newest, &self.matrix) {
            self.matrix = Arc::clone(newest);
        }
    }

    /// The state of this turn.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot<'_> {
        Snapshot {
            settings: &self.settings,
            directory: &self.directory,
            matrix: &self.matrix,
            days: &self.days,
            books: &self.books,
            board: &self.board,
            index: self.index,
            clocks: &self.clocks,
            turn: self.turn,
            client_now: self.client_now,
            quote_now: self.quote_now,
            unix: self.unix,
        }
    }

    /// The clock of clients.
    #[must_use]
    pub(crate) fn client_clock(&self) -> &Clock {
        &self.clocks.clients
    }

    /// The present time of clients, which may be later than the time of the turn.
    #[must_use]
    pub(crate) fn client_clock_now(&self) -> MonoNs {
        self.clocks.clients.now()
    }
}

/// What the parts of the gateway read in a turn.
#[derive(Clone, Copy)]
pub struct Snapshot<'a> {
    /// Limits and choices.
    pub settings: &'a GatewaySettings,
    /// Names.
    pub directory: &'a Directory,
    /// Quotes.
    pub matrix: &'a QuoteMatrix,
    /// Day statistics.
    pub days: &'a DayTable,
    /// Order books.
    pub books: &'a BookTable,
    /// State of links, sources of numbers, counters.
    pub board: &'a Board,
    /// Index of this gateway on the board.
    pub index: usize,
    /// For times that must be later than the start of the turn.
    pub clocks: &'a Clocks,
    /// Number of the turn. A topic is encoded at most once per turn.
    pub turn: u64,
    /// Start of the turn on the clock of clients.
    pub(crate) client_now: MonoNs,
    /// Start of the turn on the clock of quotes.
    pub(crate) quote_now: MonoNs,
    /// The same as wall-clock time.
    pub unix: UnixNs,
}

impl<'a> Snapshot<'a> {
    /// Counters and gauges of this gateway.
    #[must_use]
    pub fn gauges(&self) -> &'a GatewayGauges {
        &self.board.gateways[self.index]
    }

    /// The wall-clock time of a past instant on the clock of quotes.
    #[must_use]
    pub(crate) fn unix_at(&self, at: MonoNs) -> UnixNs {
        UnixNs(self.unix.0.saturating_sub(self.quote_now.since(at)))
    }

    /// How long opportunities such as `opportunity` lived, if any has ended.
    #[must_use]
    pub fn survival(&self, opportunity: &Opportunity) -> Option<SurvivalOf> {
        let findings = self.matrix.findings();
        let pair = findings.survival.pair(opportunity.buy.venue, opportunity.sell.venue)?;
        let (curve, is_pooled) = pair.of(opportunity.instrument);
        Some(SurvivalOf { curve: *curve, is_pooled })
    }

    /// The quote of `pair`, if it is fresh.
    #[must_use]
    pub(crate) fn fresh(&self, pair: PairId) -> Option<CellQuote> {
        let cell = self.matrix.load(pair);
        cell.is_fresh(self.quote_now, self.settings.quotes.stale_after_ns()).then_some(cell)
    }

    /// The state under which a client of `format` receives `cell`: a fresh price, a halted one, a last known one, or
    /// `None` if it receives nothing.
    #[must_use]
    pub fn shown(&self, cell: &CellQuote, format: PriceFormat) -> Option<&'static str> {
        let stale_after_ns = self.settings.quotes.stale_after_ns();
        if cell.is_fresh(self.quote_now, stale_after_ns) {
            return Some("fresh");
        }
        if cell.state == CellState::Halted {
            return format.is_extended().then_some("halted");
        }
        (format.is_extended() && cell.is_cached(self.quote_now, stale_after_ns)).then_some("cached")
    }

    /// The timestamp that clients receive with a quote, in milliseconds: that of the venue, otherwise when it was read.
    #[must_use]
    pub fn timestamp(&self, cell: &CellQuote) -> u64 {
        if cell.exchange_time.0 != 0 { cell.exchange_time.ms() } else { self.unix_at(cell.received).ms() }
    }

    /// The same for a pair of a stream. While the link is connected, its last bytes confirm the quote; for a quote that
    /// the leader shares, its last batch does.
    #[must_use]
    pub(crate) fn stream_timestamp(&self, cell: &CellQuote, venue: VenueId) -> u64 {
        let gauges = &self.board.venues[venue.index()];
        let confirmed = match cell.origin {
            Origin::Own if gauges.connection.state() == LinkState::Connected => gauges.read.last_bytes.value(),
            Origin::Shared => self.board.cluster.as_ref().map_or(0, |c| c.venues[venue.index()].last_batch.value()),
            _ => 0,
        };
        let confirmed = if confirmed > 0 { self.unix_at(MonoNs(confirmed)).ms() } else { 0 };
        self.timestamp(cell).max(confirmed)
    }
}
