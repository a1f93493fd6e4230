//! Log of open and recently closed opportunities: for clients that connect later, for clients that follow them, and for
//! the page. Pure; each gateway maintains its own from the events of the detector.

use std::collections::{BTreeMap, VecDeque};

use crate::gateway::opportunities::demand::ProofsReached;
use crate::gateway::view::Snapshot;
use crate::market::opportunity::{self, Class, CloseReason, Group, Opportunity, OpportunityEvent, Proof};
use crate::market::quote::Source;
use crate::market::{Directory, InstrumentId, VenueId};
use crate::protocol::opportunity::{GroupOf, Moment, OpportunityUpdate, ProofOf};
use crate::time::{MS, MonoNs, UnixNs};

/// Most open opportunities in the log. Further ones are dropped.
const OPEN_MAX: usize = 4096;
/// Most closed ones in the log. The oldest are dropped.
const CLOSED_MAX: usize = 100;

/// Instrument, venue of the buy leg, venue of the sell leg.
type LogKey = (InstrumentId, VenueId, VenueId);

fn key(o: &Opportunity) -> LogKey {
    (o.instrument, o.buy.venue, o.sell.venue)
}

/// An opportunity in the log.
pub struct LoggedOpportunity {
    /// Its last state.
    pub opportunity: Opportunity,
    /// Its public id.
    id: Box<str>,
    /// The public id of its group.
    group: Box<str>,
    /// When it opened, as wall-clock time. Stored, so that it is the same in every message.
    opened_at: UnixNs,
    /// When it closed, as wall-clock time; 0 while it is open.
    closed_at: UnixNs,
    /// Why it closed, and what it was; `None` while it is open.
    end: Option<(CloseReason, Class)>,
    /// Number of its last update, over the events of all opportunities; 0 before the first.
    pub changed: u64,
    /// The proofs that it has reached.
    pub reached: ProofsReached,
    /// It has been alerted.
    is_alerted: bool,
}

impl LoggedOpportunity {
    /// Its last change, for a page.
    #[must_use]
    pub fn change(&self) -> OpportunityUpdate {
        self.end.map_or(OpportunityUpdate::Opened, |(reason, class)| OpportunityUpdate::Closed(reason, class))
    }

    /// Its message for `change` now; `opened` and `updated` only while it is open. `symbol` is a JSON string.
    #[must_use]
    pub(crate) fn moment<'a>(
        &'a self,
        change: OpportunityUpdate,
        symbol: &'a [u8],
        snapshot: &Snapshot<'a>,
    ) -> Moment<'a> {
        let o = &self.opportunity;
        let is_open = self.closed_at.0 == 0;
        let until = if is_open { snapshot.quote_now } else { o.detected };
        let ms_since = |at: MonoNs| until.since(at) / MS;
        let name = |venue: VenueId| snapshot.directory.venue(venue).name.as_str();
        Moment {
            change,
            id: &self.id,
            symbol,
            buy_exchange: name(o.buy.venue),
            sell_exchange: name(o.sell.venue),
            buy: o.buy.level.price,
            sell: o.sell.level.price,
            spread_pct: o.gross_pct,
            net_spread_pct: o.net_pct,
            basis_pct: o.basis_pct,
            executable_size: o.executable_size(),
            ages_ms: [ms_since(o.buy.received), ms_since(o.sell.received)],
            opened_at: self.opened_at.ms(),
            lived_ms: ms_since(o.opened),
            peak_spread_pct: o.peak_gross_pct,
            group: GroupOf { leader: &self.group, leg: o.group.leg, size: o.group.size },
            evidence: evidence_of(o),
            survival: snapshot.survival(o),
            source: less_real(o.buy.source, o.sell.source).word(),
            timestamp: if is_open { snapshot.unix.ms() } else { self.closed_at.ms() },
        }
    }
}

/// The source of an opportunity: that of its less real leg.
#[must_use]
pub(crate) const fn less_real(buy: Source, sell: Source) -> Source {
    match (buy, sell) {
        (Source::Simulated, _) | (_, Source::Simulated) => Source::Simulated,
        (Source::Replay, _) | (_, Source::Replay) => Source::Replay,
        (Source::Live, Source::Live) => Source::Live,
    }
}

/// Evidence for an opportunity.
#[must_use]
pub(crate) const fn evidence_of(o: &Opportunity) -> ProofOf {
    ProofOf { coexistence: o.coexistence, buy_excess: o.buy.excess, sell_excess: o.sell.excess }
}

/// The public id of an opportunity: constant from its opening to its end, and unique in this process.
#[must_use]
pub(crate) fn id_of(directory: &Directory, o: &Opportunity) -> String {
    id(directory, o.instrument, (o.buy.venue, o.sell.venue, o.opened))
}

/// The public id of the leading opportunity of its group; its own without a group.
#[must_use]
pub(crate) fn leader_of(directory: &Directory, o: &Opportunity) -> String {
    if o.group.number == 0 { id_of(directory, o) } else { id(directory, o.instrument, o.group.leader) }
}

fn id(directory: &Directory, instrument: InstrumentId, (buy, sell, opened): (VenueId, VenueId, MonoNs)) -> String {
    let name = |venue: VenueId| &directory.venue(venue).name;
    format!("{}:{}:{}:{}", directory.symbol(instrument), name(buy), name(sell), opened.0)
}

/// See the file's head.
#[derive(Default)]
pub struct OpportunityLog {
    open: BTreeMap<LogKey, LoggedOpportunity>,
    closed: VecDeque<LoggedOpportunity>,
    /// Openings and updates so far.
    events: u64,
}

impl OpportunityLog {
    /// Records an event. Returns the change for followers, the number of the last opening or update, and the opportunity;
    /// `None` if nothing changed. An event contains the whole state, so that an opportunity whose opening was lost opens
    /// with the next event.
    pub fn record(
        &mut self,
        event: &OpportunityEvent,
        snapshot: &Snapshot<'_>,
    ) -> Option<(OpportunityUpdate, u64, &LoggedOpportunity)> {
        let key = key(&event.opportunity);
        if let Some(reason) = event.change.reason() {
            let mut entry = self.open.remove(&key)?;
            entry.opportunity = event.opportunity;
            let class = event.class.unwrap_or(Class::Unclear);
            (entry.closed_at, entry.end) = (snapshot.unix_at(event.opportunity.detected), Some((reason, class)));
            self.closed.truncate(CLOSED_MAX - 1);
            self.closed.push_front(entry);
            return self.closed.front().map(|entry| (OpportunityUpdate::Closed(reason, class), self.events, entry));
        }
        self.events += 1;
        let proof = event.opportunity.coexistence.proof;
        if let Some(entry) = self.open.get_mut(&key) {
            (entry.opportunity, entry.changed) = (event.opportunity, self.events);
            entry.reached.reach(proof, self.events);
            entry.is_alerted |= event.alert;
            return self.open.get(&key).map(|entry| (OpportunityUpdate::Updated, self.events, entry));
        }
        if self.open.len() >= OPEN_MAX {
            return None;
        }
        let o = event.opportunity;
        let mut reached = ProofsReached::default();
        reached.reach(proof, self.events);
        let entry = LoggedOpportunity {
            opportunity: o,
            id: id_of(snapshot.directory, &o).into(),
            group: leader_of(snapshot.directory, &o).into(),
            end: None,
            opened_at: snapshot.unix_at(o.opened),
            closed_at: UnixNs(0),
            changed: 0,
            reached,
            is_alerted: event.alert,
        };
        Some((OpportunityUpdate::Opened, self.events, self.open.entry(key).or_insert(entry)))
    }

    /// The clients that receive an alert of `event`, which is not recorded yet: those that ask for more than the first
    /// proof, and for at most the second. Clients that ask for more proof than the event has receive the alert later.
    #[must_use]
    pub(crate) fn audience(&self, event: &OpportunityEvent) -> (Proof, Proof) {
        let proof = event.opportunity.coexistence.proof;
        let known = || self.open.get(&key(&event.opportunity)).filter(|entry| entry.is_alerted);
        match event.change.reason() {
            None if event.alert => (Proof::Refuted, proof),
            None => (known().map_or(proof, |entry| entry.reached.strongest()), proof),
            Some(_) => (proof, proof),
        }
    }

    /// The end of an open opportunity that `event` replaces by another of the same pair: its own end was lost.
    #[must_use]
    pub(crate) fn lost_end(&self, event: &OpportunityEvent) -> Option<OpportunityEvent> {
        let known = self.open.get(&key(&event.opportunity))?.opportunity;
        let is_other = known.opened != event.opportunity.opened;
        let ended = Opportunity { detected: event.opportunity.opened, ..known };
        let change = opportunity::Change::Closed(CloseReason::Unknown);
        is_other.then_some(OpportunityEvent { opportunity: ended, change, alert: false, class: Some(Class::Unclear) })
    }

    /// The open ones of `instrument`.
    pub fn of(&self, instrument: InstrumentId) -> impl Iterator<Item = &LoggedOpportunity> {
        let ends = [VenueId(0), VenueId(u16::MAX)].map(|venue| (instrument, venue, venue));
        self.open.range(ends[0]..=ends[1]).map(|(_, entry)| entry)
    }

    /// All open ones, by instrument.
    pub fn open(&self) -> impl Iterator<Item = &LoggedOpportunity> {
        self.open.values()
    }

    /// The ends of all open ones at `now`, on the clock of quotes, because the server stops.
    #[must_use]
    pub(crate) fn last_ends(&self, now: MonoNs) -> Vec<OpportunityEvent> {
        let change = opportunity::Change::Closed(CloseReason::Shutdown);
        let end = |entry: &LoggedOpportunity| {
            let group = Group { size: 0, ..entry.opportunity.group };
            let opportunity = Opportunity { detected: now, group, ..entry.opportunity };
            OpportunityEvent { opportunity, change, alert: false, class: Some(Class::Unclear) }
        };
        self.open().map(end).collect()
    }

    /// The closed ones, the newest first.
    pub fn closed(&self) -> impl Iterator<Item = &LoggedOpportunity> {
        self.closed.iter()
    }

    /// Number of the last opening or update.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.events
    }
}
