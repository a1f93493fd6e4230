//! What a leader publishes: changed cells of the venues that it leads, as batches and as latest values. Runs on the
//! cluster's lead thread, between its other calls of Redis.
//!
//! Cells are taken from the matrix, as a gateway takes them: while Redis is slow they change under way, and the
//! newest is sent. So nothing queues, and nothing grows. Only what this process has read from the venue itself is
//! published: another leader's quotes are that leader's to publish.
//!
//! A batch goes out as soon as there is something to say, and at least every [`BEAT_NS`], so that followers can tell a
//! quiet market from a leader that is gone. Quotes that were repeated by the venue without a change are published again
//! after `RENEW_NS`: they are as young as the venue's last word.

use std::sync::Arc;

use crate::cluster::batch::{BatchEntry, BatchWriter, Head, SnapshotPart};
use crate::cluster::error::{RefusalClass, StoreError};
use crate::cluster::signals::{Pulse, SnapshotRequests};
use crate::cluster::store::{Outgoing, Store, TOKEN_MARK, Tokenless};
use crate::market::quote::{Delay, Origin};
use crate::market::statistics::DayStatistics;
use crate::market::{Directory, InstrumentId, VenueId};
use crate::matrix::changes::Changes;
use crate::matrix::days::DayTable;
use crate::matrix::{CellQuote, CellState, SharedMatrix};
use crate::metrics::Board;
use crate::time::{Clock, MS, MonoNs, SECOND};

/// A leader with nothing to say says so this often, in nanoseconds.
pub(crate) const BEAT_NS: u64 = 200 * MS;
/// A quote that is repeated without a change is published again after this time, in nanoseconds.
const RENEW_NS: u64 = SECOND;
/// Latest values are written this often, in nanoseconds: they must not hold up batches.
const KEEP_EVERY_NS: u64 = 50 * MS;
/// A latest value that has not changed is written again after so long, in nanoseconds: well before it would expire.
const KEEP_AGAIN_NS: u64 = 5 * SECOND;
/// Day statistics are looked at this often, in nanoseconds.
const DAYS_EVERY_NS: u64 = SECOND;
/// Quotes of one batch; more go into the next.
const QUOTES_PER_BATCH: usize = 256;
/// Calls with batches in one turn: leases must be renewed in between.
const CALLS_PER_TURN: usize = 4;
/// Latest values of one venue that are written in one turn, for the same reason.
const KEPT_PER_TURN: usize = 256;

/// What a publisher is made of.
pub struct PublisherParts {
    /// Who is who.
    pub directory: Arc<Directory>,
    /// The quotes.
    pub matrix: SharedMatrix,
    /// Which of them changed; the detector marks.
    pub changes: Arc<Changes>,
    /// Day statistics.
    pub days: Arc<DayTable>,
    /// Counters; with those of the cluster.
    pub board: Arc<Board>,
    /// Who wants to hear all.
    pub wanted: Arc<SnapshotRequests>,
    /// Our round trip.
    pub pulse: Arc<Pulse>,
    /// Time.
    pub clock: Clock,
    /// The cluster, see [`super::store::Keys::cluster`].
    pub cluster: String,
    /// Id of this instance.
    pub instance: String,
}

/// The leader's mouth.
pub struct Publisher {
    parts: PublisherParts,
    /// By venue of the directory.
    venues: Vec<Telling>,
    swept: MonoNs,
    days_seen: MonoNs,
    written: MonoNs,
    /// Edition of the directory when the watched pairs were last read.
    edition: u64,
}

/// What was published of one venue.
struct Telling {
    /// Our token, while we lead.
    token: Option<u64>,
    sequence: u64,
    /// Batches that may have gone out under a token that we do not know yet, see [`Publisher::took`].
    offered: u64,
    sent: MonoNs,
    /// What the last batch said of [`Head::is_behind`].
    is_behind: bool,
    /// While a snapshot is being published: sequence of its first batch, 0 before that.
    whole: Option<u64>,
    queue: Vec<InstrumentId>,
    days: Vec<DayStatistics>,
    /// By instrument.
    published: Vec<Published>,
    text: Vec<u8>,
}

/// What was published of one instrument, under this token.
#[derive(Clone, Copy, Default)]
struct Published {
    changes: u64,
    received: MonoNs,
    delay: Delay,
    queued: bool,
    /// Published, but not yet written as a latest value.
    keep: bool,
    written: MonoNs,
    day: Option<DayStatistics>,
}

impl Publisher {
    /// Leads nothing yet.
    #[must_use]
    pub fn new(parts: PublisherParts) -> Self {
        let instruments = parts.directory.rows();
        let telling = || Telling {
            token: None,
            sequence: 0,
            offered: 0,
            sent: MonoNs(0),
            is_behind: false,
            whole: None,
            queue: Vec::new(),
            days: Vec::new(),
            published: vec![Published::default(); instruments],
            text: Vec::new(),
        };
        let venues = parts.directory.venues().iter().map(|_| telling()).collect();
        let edition = parts.directory.edition();
        Self { parts, venues, swept: MonoNs(0), days_seen: MonoNs(0), written: MonoNs(0), edition }
    }

    /// From now on `venue` is published under `token`, a snapshot first.
    pub fn lead(&mut self, venue: VenueId, token: u64) {
        self.watch(venue, true);
        let telling = &mut self.venues[venue.index()];
        let sequence = std::mem::take(&mut telling.offered);
        (telling.token, telling.sequence, telling.sent) = (Some(token), sequence, MonoNs(0));
        telling.forget();
        self.tell_whole(venue);
    }

    /// All known quotes of `venue`, whose successor we are, for [`Store::take`]. Pass the result to [`Self::took`]
    /// before any other call. For instruments on which our own connection was silent, it contains the quotes that the
    /// leader published, with their age.
    pub fn offer(&mut self, venue: VenueId) -> Vec<Tokenless> {
        // First of all: what changes from now on is published afterwards.
        self.watch(venue, true);
        let telling = &mut self.venues[venue.index()];
        (telling.token, telling.sequence) = (None, 0);
        telling.forget();
        self.tell_whole(venue);
        let now = self.parts.clock.now();
        let mut batches = Vec::new();
        loop {
            self.write(venue, TOKEN_MARK, now, is_pushed);
            let telling = &self.venues[venue.index()];
            batches.push(Tokenless::of(&telling.text));
            if telling.queue.is_empty() {
                return batches;
            }
        }
    }

    /// What became of the batches of [`Self::offer`]: they went out under `token`, or nothing did; an error when that
    /// is not known. In that case [`Self::lead`] numbers its batches after them, whatever its token.
    pub fn took(&mut self, venue: VenueId, token: Result<Option<u64>, ()>) {
        let telling = &mut self.venues[venue.index()];
        match token {
            Ok(Some(token)) => {
                (telling.token, telling.offered) = (Some(token), 0);
                if let Some(board) = &self.parts.board.cluster {
                    board.venues[venue.index()].published.add(telling.sequence);
                }
            }
            Ok(None) => self.stop(venue),
            Err(()) => {
                telling.offered = telling.offered.max(telling.sequence);
                self.stop(venue);
            }
        }
    }

    /// Stops publishing `venue`.
    pub fn stop(&mut self, venue: VenueId) {
        self.watch(venue, false);
        let telling = &mut self.venues[venue.index()];
        telling.token = None;
        telling.forget();
    }

    /// The token under which `venue` is published, if it is.
    #[must_use]
    pub fn token(&self, venue: VenueId) -> Option<u64> {
        self.venues[venue.index()].token
    }

    /// When there may be something to do though nothing changed.
    #[must_use]
    pub fn deadline(&self) -> Option<MonoNs> {
        let led = || self.venues.iter().filter(|telling| telling.token.is_some());
        let beat = led().map(|telling| telling.sent.plus(BEAT_NS)).min()?;
        let keeps = led().any(|telling| telling.published.iter().any(|published| published.keep));
        Some(if keeps { beat.min(self.written.plus(KEEP_EVERY_NS)) } else { beat })
    }

    /// Publishes what is due. `may` gives the token under which a venue may be published at this moment; a
    /// venue is skipped unless that is the one it is led with. Adds to `lost` the venues whose lease, Redis says, is
    /// not ours any more; they are no longer published. Returns the number of batches sent.
    ///
    /// # Errors
    /// The call that failed. Its venues are published again as snapshots; latest values are written again.
    pub fn turn(
        &mut self,
        store: &mut Store,
        may: impl Fn(VenueId, MonoNs) -> Option<u64>,
        lost: &mut Vec<VenueId>,
    ) -> Result<usize, StoreError> {
        let now = self.parts.clock.now();
        self.look_at_set();
        self.gather(now);
        let sent = self.send(store, &may, lost)?;
        if now.since(self.written) >= KEEP_EVERY_NS {
            self.written = now;
            self.keep(store, &may, lost)?;
        }
        Ok(sent)
    }

    /// Instruments that were added to the venues that we lead are published too.
    fn look_at_set(&mut self) {
        let edition = self.parts.directory.edition();
        if std::mem::replace(&mut self.edition, edition) != edition {
            let led = (0..self.venues.len()).filter(|at| self.venues[*at].token.is_some());
            led.for_each(|at| self.watch(VenueId(at as u16), true));
        }
    }

    fn watch(&self, venue: VenueId, watch: bool) {
        let directory = &self.parts.directory;
        for instrument in instruments(directory, venue) {
            self.parts.changes.watch(directory.pair(instrument, venue), watch);
        }
    }

    fn tell_whole(&mut self, venue: VenueId) {
        let telling = &mut self.venues[venue.index()];
        telling.whole = Some(0);
        for instrument in instruments(&self.parts.directory, venue) {
            telling.push(instrument);
            telling.published[instrument.index()].day = None;
        }
        // Their statistics go with them, not up to a second later.
        self.days_seen = MonoNs(0);
        self.swept = MonoNs(0);
    }

    /// Queues what changed, and now and then what was renewed.
    fn gather(&mut self, now: MonoNs) {
        for at in 0..self.venues.len() {
            let venue = VenueId(at as u16);
            if self.venues[at].token.is_some() && self.parts.wanted.take(venue) {
                self.tell_whole(venue);
            }
        }
        let Self { parts, venues, .. } = self;
        let directory = &parts.directory;
        parts.changes.drain(|pair| {
            let (instrument, venue) = directory.split(pair);
            let telling = &mut venues[venue.index()];
            if telling.token.is_some() {
                telling.push(instrument);
            }
        });
        if now.since(self.swept) >= BEAT_NS {
            self.swept = now;
            let with_days = now.since(self.days_seen) >= DAYS_EVERY_NS;
            if with_days {
                self.days_seen = now;
            }
            self.sweep(with_days);
        }
    }

    fn sweep(&mut self, with_days: bool) {
        let Self { parts, venues, .. } = self;
        let matrix = parts.matrix.load();
        for (at, telling) in venues.iter_mut().enumerate().filter(|(_, telling)| telling.token.is_some()) {
            let venue = VenueId(at as u16);
            for instrument in instruments(&parts.directory, venue) {
                let pair = parts.directory.pair(instrument, venue);
                let (cell, published) = (matrix.load(pair), &mut telling.published[instrument.index()]);
                let is_renewed = cell.state == CellState::Live && cell.received.since(published.received) >= RENEW_NS;
                let is_other = cell.changes != published.changes || cell.delay != published.delay;
                if is_ours(&cell) && (is_other || is_renewed) {
                    telling.push(instrument);
                }
                if with_days {
                    telling.look_at_day(instrument, parts.days.load(pair));
                }
            }
        }
    }

    fn send(
        &mut self,
        store: &mut Store,
        may: &impl Fn(VenueId, MonoNs) -> Option<u64>,
        lost: &mut Vec<VenueId>,
    ) -> Result<usize, StoreError> {
        let mut sent = 0;
        for _ in 0..CALLS_PER_TURN {
            // Read last of all: from here to the call nothing waits.
            let now = self.parts.clock.now();
            let ready: Vec<VenueId> = (0..self.venues.len())
                .filter(|at| self.venues[*at].has_something(now) || self.is_news(*at))
                .map(|at| VenueId(at as u16))
                .filter(|venue| self.token(*venue).is_some() && may(*venue, now) == self.token(*venue))
                .collect();
            if ready.is_empty() {
                break;
            }
            for venue in &ready {
                let token = self.token(*venue).unwrap_or(0);
                self.write(*venue, token, now, is_ours);
            }
            let outgoing: Vec<Outgoing<'_>> = ready
                .iter()
                .map(|venue| {
                    let telling = &self.venues[venue.index()];
                    let name = self.parts.directory.venue(*venue).name.as_str();
                    Outgoing { venue: name, token: telling.token.unwrap_or(0), text: &telling.text }
                })
                .collect();
            let answers = store.publish(&outgoing);
            drop(outgoing);
            match answers {
                Ok(ours) => {
                    sent += ready.len();
                    ready.into_iter().zip(ours).for_each(|(venue, is_ours)| self.was_sent(venue, is_ours, lost));
                }
                Err(error) => {
                    ready.into_iter().for_each(|venue| self.tell_whole(venue));
                    return Err(error);
                }
            }
        }
        Ok(sent)
    }

    /// Whether our connection to the venue fell behind, or caught up.
    fn is_news(&self, at: usize) -> bool {
        self.venues[at].token.is_some() && self.venues[at].is_behind != self.parts.is_behind(at)
    }

    fn was_sent(&mut self, venue: VenueId, is_ours: bool, lost: &mut Vec<VenueId>) {
        if is_ours {
            if let Some(board) = &self.parts.board.cluster {
                board.venues[venue.index()].published.add(1);
            }
        } else {
            self.stop(venue);
            lost.push(venue);
        }
    }

    /// Writes the next batch of `venue` under `token`, with the cells that are due.
    fn write(&mut self, venue: VenueId, token: u64, now: MonoNs, is_published: fn(&CellQuote) -> bool) {
        let Self { parts, venues, .. } = self;
        let telling = &mut venues[venue.index()];
        telling.sequence += 1;
        telling.sent = now;
        telling.text.clear();
        let count = telling.queue.len().min(QUOTES_PER_BATCH);
        let whole = telling.whole.map(|from| SnapshotPart {
            from: if from == 0 { telling.sequence } else { from },
            left: (telling.queue.len() - count) as u64,
        });
        telling.whole = whole.filter(|whole| whole.left > 0).map(|whole| whole.from);
        let matrix = parts.matrix.load();
        let head = Head { token, whole, ..parts.head(telling, venue, now) };
        telling.is_behind = head.is_behind;
        let mut writer = BatchWriter::begin(&head, &parts.directory, &mut telling.text);
        for instrument in telling.queue.drain(..count) {
            let cell = matrix.load(parts.directory.pair(instrument, venue));
            let published = &mut telling.published[instrument.index()];
            published.queued = false;
            if is_published(&cell) {
                writer.quote(&entry(instrument, &cell, now));
                published.keep |=
                    cell.changes != published.changes || cell.received.since(published.written) >= KEEP_AGAIN_NS;
                (published.changes, published.received, published.delay) = (cell.changes, cell.received, cell.delay);
            }
        }
        let count = telling.days.len().min(QUOTES_PER_BATCH);
        writer.days(&telling.days[..count]);
        telling.days.drain(..count);
    }

    /// Writes latest values of what was published since the last time.
    fn keep(
        &mut self,
        store: &mut Store,
        may: &impl Fn(VenueId, MonoNs) -> Option<u64>,
        lost: &mut Vec<VenueId>,
    ) -> Result<(), StoreError> {
        for at in 0..self.venues.len() {
            let venue = VenueId(at as u16);
            let now = self.parts.clock.now();
            let Some(token) = self.token(venue).filter(|token| may(venue, now) == Some(*token)) else { continue };
            let values = self.values(venue, now);
            if values.is_empty() {
                continue;
            }
            let directory = Arc::clone(&self.parts.directory);
            let named: Vec<(&str, &[u8])> =
                values.iter().map(|(instrument, text)| (directory.symbol(*instrument), text.as_slice())).collect();
            match store.keep_latest(&directory.venue(venue).name, token, &named) {
                Ok(true) => {}
                Ok(false) => {
                    self.stop(venue);
                    lost.push(venue);
                }
                // A full Redis takes no values, but leases and batches: go on without.
                Err(StoreError::Refused(RefusalClass::Oom, words)) => {
                    self.parts.board.cluster.iter().for_each(|board| board.set_last_error(&words));
                }
                Err(error) => {
                    for (instrument, _) in &values {
                        self.venues[at].published[instrument.index()].keep = true;
                    }
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    fn values(&mut self, venue: VenueId, now: MonoNs) -> Vec<(InstrumentId, Vec<u8>)> {
        let Self { parts, venues, .. } = self;
        let telling = &mut venues[venue.index()];
        let matrix = parts.matrix.load();
        let head = parts.head(telling, venue, now);
        let mut values = Vec::new();
        for (at, published) in
            telling.published.iter_mut().enumerate().filter(|(_, published)| published.keep).take(KEPT_PER_TURN)
        {
            let instrument = InstrumentId(at as u32);
            let cell = matrix.load(parts.directory.pair(instrument, venue));
            (published.keep, published.written) = (false, cell.received);
            if is_ours(&cell) {
                let mut text = Vec::with_capacity(320);
                let mut writer = BatchWriter::begin(&head, &parts.directory, &mut text);
                writer.quote(&entry(instrument, &cell, now));
                writer.days(&published.day);
                values.push((instrument, text));
            }
        }
        values
    }
}

impl PublisherParts {
    fn head(&self, telling: &Telling, venue: VenueId, now: MonoNs) -> Head {
        Head {
            cluster: self.cluster.clone(),
            venue,
            from: self.instance.clone(),
            token: telling.token.unwrap_or(0),
            sequence: telling.sequence.max(1),
            sent: now,
            trip_ns: self.pulse.trip_ns(),
            whole: None,
            lag_ns: self.board.venues[venue.index()].lag.lag_ns.value(),
            is_behind: self.is_behind(venue.index()),
        }
    }

    fn is_behind(&self, at: usize) -> bool {
        self.board.venues[at].backlog.behind.value() > 0
    }
}

impl Telling {
    fn push(&mut self, instrument: InstrumentId) {
        if !std::mem::replace(&mut self.published[instrument.index()].queued, true) {
            self.queue.push(instrument);
        }
    }

    fn forget(&mut self) {
        self.whole = None;
        self.queue.clear();
        self.days.clear();
        self.published.fill(Published::default());
    }

    fn look_at_day(&mut self, instrument: InstrumentId, day: Option<DayStatistics>) {
        let day = day.map(|day| DayStatistics { instrument, ..day });
        let published = &mut self.published[instrument.index()];
        if let Some(day) = day.filter(|day| published.day.as_ref() != Some(day)) {
            published.day = Some(day);
            self.days.retain(|queued| queued.instrument != instrument);
            self.days.push(day);
        }
    }

    fn has_something(&self, now: MonoNs) -> bool {
        !self.queue.is_empty() || !self.days.is_empty() || self.whole.is_some() || now.since(self.sent) >= BEAT_NS
    }
}

fn instruments(directory: &Directory, venue: VenueId) -> impl Iterator<Item = InstrumentId> + '_ {
    let all = (0..directory.instruments().len()).map(|at| InstrumentId(at as u32));
    all.filter(move |instrument| directory.is_quoted(*instrument, venue))
}

/// Whether this process has read it from the venue.
fn is_ours(cell: &CellQuote) -> bool {
    cell.origin == Origin::Own && cell.state != CellState::Empty
}

/// Whether it was read from the venue by this process or by its leader.
fn is_pushed(cell: &CellQuote) -> bool {
    cell.origin.is_pushed() && cell.state != CellState::Empty
}

fn entry(instrument: InstrumentId, cell: &CellQuote, now: MonoNs) -> BatchEntry {
    BatchEntry {
        instrument,
        bid: cell.bid,
        ask: cell.ask,
        sequence: cell.sequence,
        exchange_time: cell.exchange_time,
        age_ns: cell.age(now),
        source: cell.source,
        state: cell.state,
        delay: cell.delay,
    }
}
