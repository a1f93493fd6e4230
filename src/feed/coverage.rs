//! Which instruments of one connection are acknowledged, quoted, silent, halted or failing, and the connection's share in
//! the venue's gauges. One per connection, on its feed's thread; [`Coverage::heard`] is on the path of every quote and
//! allocates nothing.

use std::sync::Arc;

use crate::feed::failing::Failing;
use crate::feed::halts::Halts;
use crate::feed::kind::ChannelGauges;
use crate::feed::options::FIRST_PRICE_NS;
use crate::feed::silence::{Finding, Silence, SilenceOptions};
use crate::market::directory::HaltedBy;
use crate::market::{Directory, InstrumentId, VenueId};
use crate::metrics::LinkState;
use crate::time::{MonoNs, SECOND};
use crate::venues::{HaltSource, VoidReason};

/// Instruments of one connection.
pub(crate) struct Coverage {
    id: VenueId,
    gauges: ChannelGauges,
    directory: Arc<Directory>,
    is_open: bool,
    /// By instrument.
    acknowledged: Vec<bool>,
    acknowledged_count: usize,
    /// When a missing first price is reported; `None` after the first price.
    price_by: Option<MonoNs>,
    has_flowed: bool,
    silence: Silence,
    halts: Halts,
    /// Instruments whose checksums fail.
    checksums: Failing,
    /// Instruments whose frames cannot be read.
    unreadable: Failing,
    in_maintenance: bool,
    /// [`Directory::facts`] when the halted instruments were last read from it.
    facts: u64,
    /// Where the venue says whether an instrument is traded.
    source: HaltSource,
    /// Whether the venue's gauges include this connection.
    is_counted: bool,
    counts: CoverageCounts,
}

/// Share of one connection in the venue's gauges.
#[derive(Clone, Copy, Debug, Default)]
struct CoverageCounts {
    subscribed: u64,
    silent: u64,
    missing: u64,
    checksums: u64,
    unreadable: u64,
}

impl Coverage {
    /// Coverage of `instruments` of the venue with `id`. Takes its memory here.
    #[must_use]
    pub fn new(
        id: VenueId,
        gauges: ChannelGauges,
        directory: &Arc<Directory>,
        silence: SilenceOptions,
        instruments: Box<[InstrumentId]>,
        source: HaltSource,
    ) -> Self {
        Self {
            id,
            gauges,
            directory: Arc::clone(directory),
            is_open: false,
            acknowledged: vec![false; directory.rows()],
            acknowledged_count: 0,
            price_by: None,
            has_flowed: false,
            silence: Silence::new(silence, instruments),
            halts: Halts::default(),
            checksums: Failing::default(),
            unreadable: Failing::default(),
            in_maintenance: false,
            facts: 0,
            source,
            is_counted: true,
            counts: CoverageCounts::default(),
        }
    }

    /// Copies what is usual for each instrument from another connection.
    pub(crate) fn learn_from(&mut self, other: &Self) {
        self.silence.learn_from(&other.silence);
    }

    /// A new connection begins.
    pub fn begin(&mut self) {
        self.close();
        self.halts.clear();
        (self.has_flowed, self.in_maintenance) = (false, false);
    }

    /// The upgrade is complete.
    pub fn opened(&mut self, now: MonoNs) {
        self.is_open = true;
        if self.source == HaltSource::List {
            // Reported by another instance that led the venue, and this stream will not say that trading goes on.
            self.set_all(HaltedBy::Stream, false);
        }
        self.price_by = Some(now.plus(FIRST_PRICE_NS));
        self.read_facts(now);
    }

    /// The connection is closed.
    pub fn close(&mut self) {
        (self.is_open, self.price_by) = (false, None);
        self.acknowledged.fill(false);
        self.acknowledged_count = 0;
        self.silence.reset();
        self.show();
    }

    /// All instruments of the connection.
    #[must_use]
    pub fn instruments(&self) -> &[InstrumentId] {
        self.silence.instruments()
    }

    /// Whether a price has arrived on this connection.
    #[inline]
    #[must_use]
    pub(crate) const fn has_flowed(&self) -> bool {
        self.has_flowed
    }

    /// Whether the venue has acknowledged an instrument or sent a price.
    #[must_use]
    pub const fn is_subscribed(&self) -> bool {
        self.is_open && (self.has_flowed || self.acknowledged_count > 0)
    }

    /// Whether the venue is in maintenance, so that nothing that it sends holds.
    #[inline]
    #[must_use]
    pub(crate) const fn is_in_maintenance(&self) -> bool {
        self.in_maintenance
    }

    /// Instruments whose trading is halted according to the stream.
    pub fn halted(&self) -> impl Iterator<Item = InstrumentId> {
        self.halts.iter()
    }

    /// Instruments whose trading has resumed since the last call.
    #[must_use]
    pub(crate) fn take_resumed(&mut self) -> Vec<InstrumentId> {
        self.halts.take_resumed()
    }

    /// When the instrument was last quoted on this connection; `None` if it never was, or is silent.
    #[must_use]
    pub fn last(&self, instrument: InstrumentId) -> Option<MonoNs> {
        self.silence.last(instrument)
    }

    /// Whether the last quote of the instrument on this connection still holds.
    #[must_use]
    pub fn holds(&self, instrument: InstrumentId) -> bool {
        self.silence.holds(instrument)
    }

    /// Whether the venue's gauges include this connection; those of a standby line do not count.
    pub(crate) fn set_counted(&mut self, is_counted: bool) {
        self.is_counted = is_counted;
        self.show();
    }

    /// A price of the instrument arrived. Returns whether it holds: the instrument is traded and the venue is not in
    /// maintenance.
    #[inline]
    pub fn heard(&mut self, instrument: InstrumentId, received: MonoNs) -> bool {
        if self.halts.has(instrument) && !self.has_resumed(instrument, received) {
            return false;
        }
        let before = self.silence.silent() + self.silence.missing();
        self.silence.heard(instrument, received);
        if self.silence.silent() + self.silence.missing() != before {
            self.show();
        }
        !self.in_maintenance
    }

    /// The first price of this connection arrived.
    #[cold]
    pub(crate) fn first_price(&mut self, now: MonoNs) {
        self.has_flowed = true;
        self.price_by = None;
        self.gauges.dial.consecutive_errors.set(0);
        // It may show the lag that a leader reported for its own line.
        self.gauges.lag.lag_ns.set(0);
        self.connected(now);
    }

    /// The venue acknowledged the subscription.
    pub fn acknowledge(&mut self, instrument: InstrumentId, now: MonoNs) {
        let Some(known) = self.acknowledged.get_mut(instrument.index()) else { return };
        if !std::mem::replace(known, true) {
            self.acknowledged_count += 1;
            self.show();
            self.connected(now);
        }
    }

    /// An open socket is not yet a connection: the venue must have acknowledged something or sent a price.
    fn connected(&self, now: MonoNs) {
        if self.gauges.connection.state() != LinkState::Connected {
            self.gauges.connection.set_state(LinkState::Connected, now);
        }
    }

    /// The last quote of the instrument became void.
    pub(crate) fn voided(&mut self, instrument: InstrumentId, reason: VoidReason, now: MonoNs) {
        match reason {
            VoidReason::Halt => self.silence.rests(instrument),
            _ => self.silence.voided(instrument),
        }
        if reason == VoidReason::Checksum {
            self.checksums.failed(instrument, now);
        }
        if matches!(reason, VoidReason::Halt | VoidReason::Checksum) {
            self.show();
        }
    }

    /// The venue's stream says whether the instrument is traded. Returns whether its last quote is void by that. The
    /// directory remembers it beyond this connection.
    pub(crate) fn set_traded(&mut self, instrument: InstrumentId, is_traded: bool, now: MonoNs) -> bool {
        let is_change = match is_traded {
            true => self.directory.set_halted(instrument, self.id, HaltedBy::Stream, false),
            false => self.directory.halt_by_stream(instrument, self.id, now),
        };
        if is_change {
            self.directory.publish_facts();
        }
        let is_other = self.halts.set(instrument, !is_traded);
        if is_change || is_other {
            let is_halted = self.is_halted(instrument);
            self.silence.halted(instrument, is_halted, now);
            self.show();
        }
        is_other && !is_traded
    }

    /// The venue's stream says whether the venue trades at all.
    #[cold]
    pub(crate) fn set_system(&self, is_trading: bool) {
        self.set_all(HaltedBy::System, !is_trading);
    }

    /// Stores for all instruments of the connection whether they are halted according to `by`.
    fn set_all(&self, by: HaltedBy, is_halted: bool) {
        let mut changes = 0;
        for instrument in self.instruments() {
            changes += u32::from(self.directory.set_halted(*instrument, self.id, by, is_halted));
        }
        if changes > 0 {
            self.directory.publish_facts();
        }
    }

    /// Whether the instrument is not expected to be quoted.
    fn is_halted(&self, instrument: InstrumentId) -> bool {
        let is_reported = |by| self.directory.is_halted_by(instrument, self.id, by);
        self.halts.has(instrument) || is_reported(HaltedBy::List) || is_reported(HaltedBy::Stream)
    }

    /// Whether an instrument that this stream reported as halted is traded according to a later report from elsewhere.
    #[cold]
    fn has_resumed(&mut self, instrument: InstrumentId, now: MonoNs) -> bool {
        if self.directory.is_halted_by(instrument, self.id, HaltedBy::Stream) {
            return false;
        }
        self.halts.set(instrument, false);
        let is_halted = self.is_halted(instrument);
        self.silence.halted(instrument, is_halted, now);
        true
    }

    /// The venue announced maintenance: no instrument is expected to be quoted.
    pub(crate) fn begin_maintenance(&mut self) {
        self.in_maintenance = true;
        for at in 0..self.silence.instruments().len() {
            self.silence.rests(self.silence.instruments()[at]);
        }
        self.show();
    }

    /// The venue has resumed trading.
    pub(crate) const fn end_maintenance(&mut self) {
        self.in_maintenance = false;
    }

    /// A frame about these instruments could not be read.
    pub fn unreadable(&mut self, instruments: Vec<InstrumentId>, now: MonoNs) {
        instruments.into_iter().for_each(|instrument| self.unreadable.failed(instrument, now));
        self.show();
    }

    /// All subscriptions have been sent.
    pub(crate) fn requested(&mut self, now: MonoNs) {
        self.silence.asked(now);
    }

    /// Time has passed. Calls `silent` with each instrument that has become silent, and returns one to resubscribe.
    pub fn elapsed(&mut self, now: MonoNs, silent: &mut dyn FnMut(InstrumentId)) -> Option<InstrumentId> {
        self.report_missing_price(now);
        if self.facts != self.directory.facts() {
            self.read_facts(now);
            self.show();
        }
        let again = self.check_silence(now, silent);
        let is_mended = [&mut self.checksums, &mut self.unreadable].map(|failing| failing.check(now));
        if is_mended.contains(&true) {
            self.show();
        }
        again
    }

    /// When [`Self::elapsed`] is to be called.
    #[must_use]
    pub fn deadline(&self) -> Option<MonoNs> {
        self.price_by.into_iter().chain(self.silence.check_at()).min()
    }

    fn report_missing_price(&mut self, now: MonoNs) {
        if self.price_by.is_none_or(|by| now < by) {
            return;
        }
        self.price_by = None;
        self.gauges.silence.mute.add(1);
        self.gauges.connection.set_last_error(&format!(
            "no price {} s after subscribing; {} of {} instruments acknowledged",
            FIRST_PRICE_NS / SECOND,
            self.acknowledged_count,
            self.instruments().len()
        ));
    }

    /// A halted instrument is not expected to be quoted, and is not resubscribed before trading resumes.
    fn read_facts(&mut self, now: MonoNs) {
        self.facts = self.directory.facts();
        for at in 0..self.silence.instruments().len() {
            let instrument = self.silence.instruments()[at];
            if !self.halts.has(instrument) || !self.has_resumed(instrument, now) {
                let is_halted = self.is_halted(instrument);
                self.silence.halted(instrument, is_halted, now);
            }
        }
    }

    fn check_silence(&mut self, now: MonoNs, silent: &mut dyn FnMut(InstrumentId)) -> Option<InstrumentId> {
        if self.silence.check_at().is_none_or(|at| now < at) {
            return None;
        }
        let (mut again, mut silenced) = (None, 0);
        self.silence.check(now, &mut |finding| match finding {
            Finding::Silent(instrument) => {
                silenced += 1;
                silent(instrument);
            }
            Finding::Again(instrument) => again = Some(instrument),
            Finding::Missing(_) => {}
        });
        if self.is_counted {
            self.gauges.silence.silenced.add(silenced);
        }
        self.show();
        again
    }

    /// Updates this connection's share in the venue's gauges.
    fn show(&mut self) {
        let before = self.counts;
        self.counts = if self.is_open && self.is_counted {
            CoverageCounts {
                subscribed: self.acknowledged_count as u64,
                silent: self.silence.silent() as u64,
                missing: self.silence.missing() as u64,
                checksums: self.checksums.flagged() as u64,
                unreadable: self.unreadable.flagged() as u64,
            }
        } else {
            CoverageCounts::default()
        };
        let (gauges, now) = (&*self.gauges, self.counts);
        let index = |one: Option<InstrumentId>| one.map(|one| u64::from(one.0));
        gauges.silence.pairs.replace(before.silent, now.silent);
        let coverage = &gauges.coverage;
        coverage.subscribed.replace(before.subscribed, now.subscribed);
        coverage.missing.replace(before.missing, now.missing, || index(self.silence.missing_one()));
        coverage.checksum.replace(before.checksums, now.checksums, || index(self.checksums.flagged_one()));
        coverage.unreadable.replace(before.unreadable, now.unreadable, || index(self.unreadable.flagged_one()));
    }
}
