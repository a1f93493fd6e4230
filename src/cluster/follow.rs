//! The follower: a connection of its own that listens to the leaders' batches, and hands their quotes to the
//! detector through a ring, as a feed does. A stage with a thread of its own, since its reads wait.
//!
//! Believes no lower fencing token, counts what is missing in a sequence and then asks the leader to tell the whole
//! venue. After every (re)connection it reads the latest values first, so that a newcomer has every price at once,
//! and asks for the whole of every venue.
//!
//! A venue whose leader has fallen silent is not declared void here: within a lease another one leads, and until
//! then its last prices are the best there are. They are not renewed, so they age: past the age limit of an alert's
//! leg they make no alert, past that of a price they are none. A quiet venue with a leader keeps its prices, since
//! the leader tells again what the venue repeats; and when the leader's own connection to the venue dies, it says
//! that its quotes are void.
//!
//! Proves itself: every [`PULSE_EVERY_NS`] it sends a message to itself. What does not come back within
//! `DEAF_NS` was lost with the connection, which is then made again. [`Pulse`] shows it to other threads.

use std::sync::Arc;
use std::time::Duration;

use redis::{Connection, PushKind, Value};
use rustc_hash::FxHashMap;

use crate::cluster::ClusterSettings;
use crate::cluster::address::Address;
use crate::cluster::age::{PeerClocks, Trips};
use crate::cluster::batch::{BatchEntry, BatchError, BatchReader, Head};
use crate::cluster::error::StoreError;
use crate::cluster::history::History;
use crate::cluster::signals::{LeaderProgress, Pulse, SnapshotRequests};
use crate::cluster::store::{Control, Keys, Said, Store};
use crate::handover::Handover;
use crate::log;
use crate::market::book::BookVoid;
use crate::market::directory::HaltedBy;
use crate::market::quote::{Delay, ExcessLag, FeedEvent, LineId, Origin};
use crate::market::{Directory, InstrumentId, Quote, VenueId};
use crate::matrix::CellState;
use crate::matrix::days::DayTable;
use crate::metrics::cluster::ClusterVenue;
use crate::metrics::{Board, LinkState};
use crate::net::backoff::doubled;
use crate::stage::{Alarm, Stage};
use crate::time::{Clock, Lowest, MS, MonoNs, SECOND, UnixNs};

/// A message to ourselves goes out this often, in nanoseconds.
pub(crate) const PULSE_EVERY_NS: u64 = 100 * MS;
/// A connection on which nothing came for so long is dead, in nanoseconds: five of our own messages are missing.
const DEAF_NS: u64 = 500 * MS;
/// Every so many of them goes to all, who learn from it how our clock stands before we ever lead.
const PULSES_PER_HELLO: u64 = 10;
/// The longest that a read waits: how exact the times above are.
const READ_WAIT: Duration = Duration::from_millis(20);
/// Shortest and longest pause before connecting again, in nanoseconds.
const RETRY_NS: (u64, u64) = (50 * MS, SECOND);
/// The whole of one venue is asked for no more often than this, and again until it has come, in nanoseconds.
const ASK_EVERY_NS: u64 = 100 * MS;
/// Latest values are asked for again after so long when they could not be read, in nanoseconds.
const LATEST_AGAIN_NS: u64 = SECOND;
/// A token that exceeds all known ones by more than this was not given out by a lease: tokens are at least Redis'
/// milliseconds, and a venue may be led for long under one.
const TOKEN_JUMP_MAX: u64 = 1 << 40;
/// Other clusters that the log has reported.
const FOREIGNERS_MAX: usize = 16;
/// Longest message of a pulse, in bytes.
const PULSE_MAX: usize = 300;

/// What a follower is made of.
pub struct FollowParts {
    /// Names and ids of instruments and venues.
    pub directory: Arc<Directory>,
    /// To the detector; for all venues, with voids of [`Origin::Shared`].
    pub handover: Handover,
    /// Day statistics.
    pub days: Arc<DayTable>,
    /// Counters; with those of the cluster.
    pub board: Arc<Board>,
    /// What others want of us while we lead.
    pub wanted: Arc<SnapshotRequests>,
    /// Our proof of life.
    pub pulse: Arc<Pulse>,
    /// How far the leaders' quotes have come.
    pub progress: Arc<LeaderProgress>,
    /// What is said on the control channel, to the lead thread.
    pub control: rtrb::Producer<Control>,
    /// Wakes the lead thread.
    pub lead: Alarm,
    /// Time.
    pub clock: Clock,
    /// Where Redis is, and who we are.
    pub settings: ClusterSettings,
    /// Where accepted batches are written down, if anywhere.
    pub history: Option<History>,
}

/// The follower stage.
pub struct Follow {
    parts: FollowParts,
    address: Address,
    keys: Keys,
    cluster: String,
    /// Other clusters that the log knows of.
    foreigners: Vec<String>,
    /// For what must be asked; a listening connection only listens.
    store: Store,
    channels: FxHashMap<String, RedisChannel>,
    link: Option<Listening>,
    retry: MonoNs,
    failures: u32,
    reader: BatchReader,
    clocks: PeerClocks,
    trips: Trips,
    /// By venue.
    streams: Vec<LeaderStream>,
    /// By pair.
    last: Vec<Last>,
    /// By venue: our monotonic clock minus the stamps of its quotes that are not late.
    usual: Vec<Lowest>,
    /// Edition of the directory when the pairs were last read.
    edition: u64,
}

/// What a channel carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RedisChannel {
    Quotes(VenueId),
    Control,
    Pulse,
    OwnPulse,
}

/// A connection that listens.
struct Listening {
    link: Connection,
    /// Channels that are not confirmed yet.
    pending: usize,
    since: MonoNs,
    heard: MonoNs,
    pulsed: MonoNs,
    pulses: u64,
    /// When the latest values shall be read, if they still shall.
    latest: Option<MonoNs>,
}

/// What was heard of one venue.
#[derive(Clone, Debug, Default)]
struct LeaderStream {
    token: u64,
    from: String,
    sequence: u64,
    /// From this number on nothing was missing.
    unbroken: u64,
    /// Whether something was missed that a whole telling since then has not made up for.
    behind: bool,
    /// The leader's connection to the venue is behind: the detector knows.
    is_line_behind: bool,
    asked: MonoNs,
}

/// What was handed over of one pair.
#[derive(Clone, Copy, Debug, Default)]
struct Last {
    received: MonoNs,
    /// The venue's stamp.
    stamped: UnixNs,
    /// Whether the detector has a quote of it that was believed by a leader.
    known: bool,
}

impl Follow {
    /// Not connected yet. Touches no network.
    ///
    /// # Errors
    /// A sentence about the address.
    pub fn new(parts: FollowParts) -> Result<Self, String> {
        let ClusterSettings { cluster, id, .. } = &parts.settings;
        let keys = Keys::of(cluster)?;
        let mut channels = FxHashMap::default();
        for (at, venue) in parts.directory.venues().iter().enumerate() {
            channels.insert(keys.quotes(&venue.name), RedisChannel::Quotes(VenueId(at as u16)));
        }
        channels.insert(keys.control(), RedisChannel::Control);
        channels.insert(keys.pulse(), RedisChannel::Pulse);
        channels.insert(keys.own_pulse(id), RedisChannel::OwnPulse);
        Ok(Self {
            address: Address::of(cluster)?,
            store: Store::new(&parts.settings)?,
            channels,
            link: None,
            retry: MonoNs(0),
            failures: 0,
            reader: BatchReader::of(keys.cluster()),
            cluster: keys.cluster(),
            foreigners: Vec::new(),
            clocks: PeerClocks::default(),
            trips: Trips::new(cluster.call_ns()),
            edition: parts.directory.edition(),
            streams: vec![LeaderStream::default(); parts.directory.columns()],
            last: vec![Last::default(); parts.directory.pairs()],
            usual: vec![Lowest::default(); parts.directory.columns()],
            keys,
            parts,
        })
    }

    /// Whether every channel is subscribed to and the latest values are read.
    #[must_use]
    pub fn is_joined(&self) -> bool {
        self.link.as_ref().is_some_and(|l| l.pending == 0 && l.latest.is_none())
    }

    fn connect(&mut self, now: MonoNs) -> Result<(), StoreError> {
        let within = Duration::from_nanos(self.parts.settings.cluster.call_ns());
        let mut link = self.address.connect_to_listen(within)?;
        link.set_read_timeout(Some(READ_WAIT))?;
        let names: Vec<&String> = self.channels.keys().collect();
        link.send_packed_command(&redis::cmd("SUBSCRIBE").arg(names).get_packed_command())?;
        let pending = self.channels.len();
        let heard = self.parts.clock.now();
        let listening =
            Listening { link, pending, since: heard, heard, pulsed: MonoNs(0), pulses: 0, latest: Some(now) };
        self.link = Some(listening);
        self.trips = Trips::new(self.parts.settings.cluster.call_ns());
        Ok(())
    }

    /// The connection is over; why, in words.
    fn give_up(&mut self, why: &StoreError) {
        self.link = None;
        let (first, longest) = RETRY_NS;
        let wait = doubled(first, self.failures, longest);
        self.failures += 1;
        self.retry = self.parts.clock.now().plus(wait);
        self.note(&format!("listening: {why}"));
    }

    fn note(&self, words: &str) {
        self.parts.board.cluster.iter().for_each(|board| board.set_last_error(words));
    }

    /// Reads one message, or waits a little for one. Whether there was one.
    fn listen(&mut self) -> Result<bool, StoreError> {
        let now = self.parts.clock.now();
        self.pulse(now)?;
        let Some(listening) = &mut self.link else { return Ok(false) };
        let read = listening.link.recv_response();
        let now = self.parts.clock.now();
        match read {
            Err(error) if error.is_timeout() => {
                if now.since(listening.heard) >= DEAF_NS {
                    return Err(StoreError::Late);
                }
                return Ok(false);
            }
            Err(error) => return Err(error.into()),
            Ok(value) => {
                listening.heard = now;
                self.take(value, now)?;
            }
        }
        Ok(true)
    }

    fn pulse(&mut self, now: MonoNs) -> Result<(), StoreError> {
        let Some(listening) = &mut self.link else { return Ok(()) };
        if now.since(listening.pulsed) < PULSE_EVERY_NS {
            return Ok(());
        }
        let instance = &self.parts.settings.id;
        let text = format!("1 {} {instance}", now.0);
        let mut pipe = redis::cmd("PUBLISH").arg(self.keys.own_pulse(instance)).arg(&text).get_packed_command();
        if listening.pulses.is_multiple_of(PULSES_PER_HELLO) {
            pipe.extend(redis::cmd("PUBLISH").arg(self.keys.pulse()).arg(&text).get_packed_command());
        }
        listening.pulses += 1;
        listening.pulsed = now;
        Ok(listening.link.send_packed_command(&pipe)?)
    }

    fn take(&mut self, value: Value, now: MonoNs) -> Result<(), StoreError> {
        match value {
            Value::Push { kind: PushKind::Message, data } => {
                let mut data = data.into_iter();
                if let (Some(Value::BulkString(channel)), Some(Value::BulkString(text))) = (data.next(), data.next()) {
                    self.hear(&channel, &text, now);
                }
            }
            Value::Push { kind: PushKind::Subscribe, .. } => {
                if let Some(listening) = &mut self.link {
                    listening.pending = listening.pending.saturating_sub(1);
                }
            }
            // Only while subscribing: later it would concern a pulse, whose absence shows the same.
            Value::ServerError(error) => return Err(redis::RedisError::from(error).into()),
            _ => {}
        }
        Ok(())
    }

    fn hear(&mut self, channel: &[u8], text: &[u8], now: MonoNs) {
        let channel = std::str::from_utf8(channel).ok().and_then(|name| self.channels.get(name));
        match channel.copied() {
            Some(RedisChannel::Quotes(venue)) => self.hear_batch(venue, text, now),
            Some(RedisChannel::Control) => self.hear_control(text),
            Some(RedisChannel::Pulse) => {
                if let Some((sent, from)) = pulse(text) {
                    self.clocks.transit_ns(from, sent, now, &self.trips, 0);
                }
            }
            Some(RedisChannel::OwnPulse) => self.hear_ourselves(text, now),
            None => {}
        }
    }

    fn hear_ourselves(&mut self, text: &[u8], now: MonoNs) {
        let Some(listening) = &self.link else { return };
        // What was sent on an earlier connection, or by another process, says nothing about this one.
        let ours = pulse(text).filter(|(sent, _)| *sent >= listening.since && *sent <= now);
        if let Some((sent, _)) = ours {
            self.trips.add(sent, now);
            self.failures = 0;
            self.parts.pulse.heard.set(now.0);
            self.parts.pulse.trip_ns.set(self.trips.shortest_ns());
        }
    }

    fn hear_control(&mut self, text: &[u8]) {
        match serde_json::from_slice(text) {
            Ok(Said { cluster, .. }) if cluster != self.cluster => {
                self.reader.foreign = cluster;
                self.refuse_foreign(None, self.parts.clock.now());
            }
            Ok(Said { message: Control::Again { venue }, .. }) => {
                if let Some(venue) = self.parts.directory.venue_named(&venue) {
                    self.parts.wanted.ask(venue);
                }
            }
            Ok(Said { message, .. }) => {
                // A full ring loses it; the lead thread's next look at Redis shows the same.
                let _ = self.parts.control.push(message);
                self.parts.lead.ring();
            }
            // Another version's, or not ours at all.
            Err(_) => self.note("a message on the control channel was not understood"),
        }
    }

    /// A process outside this cluster uses its keys or channels in Redis. Its data is rejected, and the log reports it.
    fn refuse_foreign(&mut self, venue: Option<VenueId>, now: MonoNs) {
        if let Some(venue) = venue {
            self.count(venue, |board| board.foreign.add(1));
        }
        let other = match self.reader.foreign.as_str() {
            "" => "one that does not say which, such as an older version",
            name => name,
        };
        let other = log::tamed(other);
        if let Some(board) = &self.parts.board.cluster {
            board.foreign_at.set(now.0);
            if board.foreign.load().as_deref() != Some(&other) {
                board.foreign.store(Some(Arc::new(other.clone())));
            }
        }
        if self.foreigners.len() < FOREIGNERS_MAX && !self.foreigners.contains(&other) {
            let ours = &self.cluster;
            log::say(format_args!(
                "error: cluster.prefix: another cluster publishes on our channels in Redis: {other}; we are {ours}; \
                 nothing of it is taken"
            ));
            self.foreigners.push(other);
        }
    }

    fn board(&self, venue: VenueId) -> Option<&ClusterVenue> {
        self.parts.board.cluster.as_ref().and_then(|board| board.venues.get(venue.index()))
    }

    fn count(&self, venue: VenueId, count: impl FnOnce(&ClusterVenue)) {
        if let Some(board) = self.board(venue) {
            count(board);
        }
    }

    fn hear_batch(&mut self, venue: VenueId, text: &[u8], arrived: MonoNs) {
        let head = match self.reader.read(text, venue, &self.parts.directory) {
            Ok(head) => head,
            Err(BatchError::Foreign) => return self.refuse_foreign(Some(venue), arrived),
            Err(why) => {
                self.note(&format!("a batch of {} was refused: {why}", self.parts.directory.venue(venue).name));
                return self.count(venue, |board| board.refused.add(1));
            }
        };
        if !self.is_next(&head) {
            return;
        }
        if let Some(history) = &mut self.parts.history
            && let Err(why) = history.add(&head, &self.parts.directory, arrived)
        {
            self.parts.history = None;
            self.note(&format!("cluster.history: {why}"));
        }
        let transit_ns = self.clocks.transit_ns(&head.from, head.sent, arrived, &self.trips, head.trip_ns);
        let unknown = self.reader.unknown;
        self.count(venue, |board| {
            board.last_batch.set(arrived.0);
            board.lag_ns.set(transit_ns);
            board.refused.add(unknown);
        });
        // What we published is in our matrix already.
        if head.from == self.parts.settings.id {
            return;
        }
        let quotes = std::mem::take(&mut self.reader.quotes);
        self.count(venue, |board| {
            board.accepted.add(1);
            board.quotes.add(quotes.len() as u64);
        });
        if let Some(entry) = quotes.last() {
            // Our own connection would have said so; the leader's has.
            self.parts.board.venues[venue.index()].set_source(entry.source as u8);
        }
        // Before its quotes when it falls behind, after them when it has caught up.
        if head.is_behind {
            self.tell_behind(venue, head.token, true);
        }
        for entry in &quotes {
            self.hand_over(venue, head.token, entry, (arrived, transit_ns));
        }
        if !head.is_behind {
            self.tell_behind(venue, head.token, false);
        }
        let gauges = &self.parts.board.venues[venue.index()];
        if gauges.connection.state() != LinkState::Connected {
            gauges.lag.lag_ns.set(head.lag_ns);
        }
        self.reader.quotes = quotes;
        for day in &self.reader.days {
            self.parts.days.store(self.parts.directory.pair(day.instrument, venue), day);
        }
    }

    /// The leader's connection to the venue is behind, or is not: none of its quotes is a leg while it is.
    fn tell_behind(&mut self, venue: VenueId, token: u64, is_behind: bool) {
        let stream = &mut self.streams[venue.index()];
        if std::mem::replace(&mut stream.is_line_behind, is_behind) != is_behind {
            self.parts.handover.push(FeedEvent::Behind(venue, LineId::of_leader(token), is_behind));
        }
    }

    /// What the stamps of a venue that another instance leads say of the time of day, as our own connection would.
    fn vote(&mut self, venue: VenueId, entry: &BatchEntry, received: MonoNs) {
        let gauges = &self.parts.board.venues[venue.index()];
        if entry.exchange_time.0 == 0 || entry.delay != Delay::None || gauges.connection.state() == LinkState::Connected
        {
            return;
        }
        let usual = &mut self.usual[venue.index()];
        usual.add(i128::from(received.0) - i128::from(entry.exchange_time.0), received);
        if let Some(ns) = usual.value().and_then(|ns| i64::try_from(ns).ok()) {
            gauges.lag.usual.set(ns);
        }
    }

    /// Whether the batch is to be believed: by its token and sequence. Asks for the whole venue when some are missing.
    fn is_next(&mut self, head: &Head) -> bool {
        let stream = &mut self.streams[head.venue.index()];
        if head.token < stream.token {
            self.count(head.venue, |board| board.fenced.add(1));
            return false;
        }
        let is_forged = match head.token == stream.token {
            // Nobody shares a token.
            true => !stream.from.is_empty() && stream.from != head.from,
            false => stream.token > 0 && head.token - stream.token > TOKEN_JUMP_MAX,
        };
        if is_forged {
            self.note(&format!("a batch of {} has a token that is not its sender's", head.from));
            self.count(head.venue, |board| board.refused.add(1));
            return false;
        }
        let is_first = stream.token == 0;
        if head.token > stream.token {
            let is_change = !is_first;
            *stream =
                LeaderStream { token: head.token, from: head.from.clone(), sequence: 0, unbroken: 1, ..stream.clone() };
            // What the former leader's connection brought stays no leg.
            stream.is_line_behind = false;
            self.count(head.venue, |board| {
                board.token.set(head.token);
                board.changes.add(u64::from(is_change));
                board.leader.store(Some(Arc::new(head.from.clone())));
            });
        }
        let stream = &mut self.streams[head.venue.index()];
        if head.sequence <= stream.sequence {
            // Again, or out of order, which pub/sub never is.
            self.count(head.venue, |board| board.refused.add(1));
            return false;
        }
        let missing = head.sequence - stream.sequence - 1;
        stream.sequence = head.sequence;
        if missing > 0 {
            (stream.unbroken, stream.behind) = (head.sequence, true);
            // A newcomer has missed what was said before, but nothing that was said to it.
            self.count(head.venue, |board| board.gaps.add(if is_first { 0 } else { missing }));
        }
        let stream = &mut self.streams[head.venue.index()];
        if head.whole.is_some_and(|whole| whole.left == 0 && whole.from >= stream.unbroken) {
            stream.behind = false;
        }
        if stream.behind {
            self.ask(head.venue);
        }
        true
    }

    /// Requests a snapshot of `venue` from its leader.
    fn ask(&mut self, venue: VenueId) {
        let now = self.parts.clock.now();
        let stream = &mut self.streams[venue.index()];
        if now.since(stream.asked) < ASK_EVERY_NS {
            return;
        }
        stream.asked = now;
        let message = Control::Again { venue: self.parts.directory.venue(venue).name.clone() };
        let text = Said { cluster: self.cluster.clone(), message }.json();
        if let Some(listening) = &mut self.link {
            // A connection that fails here fails at the next read too.
            let ask = redis::cmd("PUBLISH").arg(self.keys.control()).arg(text).get_packed_command();
            let _ = listening.link.send_packed_command(&ask);
        }
    }

    fn hand_over(&mut self, venue: VenueId, token: u64, entry: &BatchEntry, (arrived, transit_ns): (MonoNs, u64)) {
        let pair = self.parts.directory.pair(entry.instrument, venue);
        self.parts.progress.set(pair, entry);
        let last = &mut self.last[pair.index()];
        let age_ns = entry.age_ns.saturating_add(transit_ns);
        // May step back: the leader's next quote may have lain on the way from the venue for longer.
        let received = MonoNs(arrived.0.saturating_sub(age_ns));
        let holds = match entry.state {
            CellState::Live => true,
            // Our own merge has the same doubts, if it knows what the leader knew before.
            CellState::Suspect => last.known,
            CellState::Void | CellState::Halted | CellState::Empty => false,
        };
        last.known = holds;
        self.take_trading(venue, entry, arrived);
        let last = &mut self.last[pair.index()];
        if holds {
            last.received = last.received.max(received);
            let is_repeated = std::mem::replace(&mut last.stamped, entry.exchange_time) == entry.exchange_time;
            let line = LineId::of_leader(token);
            let quote = Quote { line, ..quote(venue, entry, received, self.parts.clock.now(), Origin::Shared) };
            if !is_repeated {
                self.vote(venue, entry, received);
            }
            self.parts.board.venues[venue.index()].set_source(quote.source as u8);
            self.parts.handover.push(FeedEvent::Quote(quote));
        } else {
            let why = if entry.state == CellState::Halted { BookVoid::Halt } else { BookVoid::Gap };
            self.parts.handover.push(FeedEvent::Void(entry.instrument, venue, Origin::Shared, why));
        }
    }

    /// What a leader says about trading outlives the leader. Where we have a connection, the venue tells us.
    #[inline]
    fn take_trading(&self, venue: VenueId, entry: &BatchEntry, arrived: MonoNs) {
        let (directory, instrument) = (&self.parts.directory, entry.instrument);
        let is_halted = match entry.state {
            CellState::Halted => true,
            CellState::Live if directory.is_halted(instrument, venue) => false,
            _ => return,
        };
        if self.parts.board.venues[venue.index()].connection.state() == LinkState::Connected {
            return;
        }
        let is_change = match is_halted {
            true => directory.halt_by_stream(instrument, venue, arrived),
            false => [HaltedBy::Stream, HaltedBy::System]
                .map(|by| directory.set_halted(instrument, venue, by, false))
                .contains(&true),
        };
        if is_change {
            directory.publish_facts();
        }
    }

    /// Reads all latest values, and requests snapshots from the leaders.
    fn catch_up(&mut self) -> Result<(), StoreError> {
        let directory = Arc::clone(&self.parts.directory);
        let pairs: Vec<(VenueId, InstrumentId)> = (0..directory.venues().len())
            .flat_map(|venue| (0..directory.instruments().len()).map(move |at| (venue as u16, at as u32)))
            .map(|(venue, at)| (VenueId(venue), InstrumentId(at)))
            .filter(|(venue, instrument)| directory.is_quoted(*instrument, *venue))
            .collect();
        let wanted: Vec<(&str, &str)> = pairs
            .iter()
            .map(|(venue, instrument)| (directory.venue(*venue).name.as_str(), directory.symbol(*instrument)))
            .collect();
        let asked = self.parts.clock.now();
        let kept = self.store.latest(&wanted)?;
        let arrived = self.parts.clock.now();
        for value in kept {
            let (venue, instrument) = pairs[value.at];
            // Redis reports how long it has had the value. Before that it may have been on its way for as long as a call may take.
            let since_ns = value.since_ns + arrived.since(asked) + self.parts.settings.cluster.call_ns();
            self.take_kept(venue, instrument, &value.value, arrived, since_ns);
        }
        (0..directory.venues().len()).for_each(|at| self.ask(VenueId(at as u16)));
        Ok(())
    }

    fn take_kept(&mut self, venue: VenueId, instrument: InstrumentId, text: &[u8], arrived: MonoNs, since_ns: u64) {
        let head = self.reader.read(text, venue, &self.parts.directory);
        let entry = self.reader.quotes.first().copied().filter(|entry| entry.instrument == instrument);
        if head == Err(BatchError::Foreign) {
            return self.refuse_foreign(Some(venue), arrived);
        }
        let (Ok(head), Some(entry)) = (head, entry) else {
            self.note(&format!("a latest value of {} was refused", self.parts.directory.venue(venue).name));
            return self.count(venue, |board| board.refused.add(1));
        };
        let pair = self.parts.directory.pair(instrument, venue);
        let age_ns = entry.age_ns.saturating_add(since_ns);
        let received = MonoNs(arrived.0.saturating_sub(age_ns));
        let last = &mut self.last[pair.index()];
        let is_news = entry.state == CellState::Live && received > last.received;
        if is_news && head.from != self.parts.settings.id {
            // What the leader says of it next is not older, whatever the two estimates say.
            last.received = received;
            let quote = quote(venue, &entry, received, self.parts.clock.now(), Origin::Redis);
            self.parts.handover.push(FeedEvent::Quote(quote));
        }
        let day = self.reader.days.first().filter(|day| day.instrument == instrument);
        if let (Some(day), None) = (day, self.parts.days.load(pair)) {
            self.parts.days.store(pair, day);
        }
    }

    /// What is to do beside listening.
    fn attend(&mut self) -> Result<(), StoreError> {
        let now = self.parts.clock.now();
        let edition = self.parts.directory.edition();
        if std::mem::replace(&mut self.edition, edition) != edition {
            // What was added here may have been published long ago.
            self.link.iter_mut().for_each(|listening| listening.latest = Some(now));
        }
        let call_ns = self.parts.settings.cluster.call_ns();
        let Some(listening) = &mut self.link else { return Ok(()) };
        if listening.pending > 0 && now.since(listening.since) > call_ns.max(READ_WAIT.as_nanos() as u64 * 2) {
            return Err(StoreError::Late);
        }
        if listening.pending == 0 && listening.latest.is_some_and(|due| now >= due) {
            listening.latest = None;
            if let Err(why) = self.catch_up() {
                self.note(&format!("latest values: {why}"));
                let again = self.parts.clock.now().plus(LATEST_AGAIN_NS);
                self.link.iter_mut().for_each(|listening| listening.latest = Some(again));
            }
        }
        Ok(())
    }
}

impl Stage for Follow {
    fn name(&self) -> &str {
        "follower"
    }

    fn turn(&mut self, wait: Duration) -> usize {
        let now = self.parts.clock.now();
        if self.link.is_none() {
            if now < self.retry {
                std::thread::sleep(wait.min(Duration::from_nanos(self.retry.since(now))));
                self.parts.handover.settle();
                return 0;
            }
            if let Err(why) = self.connect(now) {
                self.give_up(&why);
            }
            return 1;
        }
        let heard = self.listen().and_then(|heard| self.attend().map(|()| heard));
        self.parts.handover.settle();
        match heard {
            Ok(heard) => usize::from(heard),
            Err(why) => {
                self.give_up(&why);
                1
            }
        }
    }
}

fn quote(venue: VenueId, entry: &BatchEntry, received: MonoNs, now: MonoNs, origin: Origin) -> Quote {
    Quote {
        instrument: entry.instrument,
        venue,
        bid: entry.bid,
        ask: entry.ask,
        sequence: entry.sequence,
        exchange_time: entry.exchange_time,
        received,
        decoded: now,
        source: entry.source,
        origin,
        line: LineId::NONE,
        delay: entry.delay,
        excess: ExcessLag::NONE,
        is_conflated: false,
    }
}

/// When it was sent by its sender's clock, and the sender.
fn pulse(text: &[u8]) -> Option<(MonoNs, &str)> {
    let text = std::str::from_utf8(text).ok().filter(|text| text.len() <= PULSE_MAX)?;
    let (sent, from) = text.strip_prefix("1 ")?.split_once(' ')?;
    let sent = sent.parse().ok().filter(|sent| *sent < u64::MAX / 4)?;
    (!from.is_empty()).then_some((MonoNs(sent), from))
}
