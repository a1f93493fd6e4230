//! What goes to clients by itself: alerts at once, every change to those who asked for it, bursts on
//! each client's beat, the word that a price has gone stale.

use super::*;

/// Bytes of prices that are put together for one client before it is asked whether it takes more.
const PRICES_AT_ONCE: usize = 8 * 1024;

/// The first beat after `now` of a client that hears every `period` nanoseconds. Long beats begin on a
/// multiple of [`BEAT_ALIGN_NS`], so that one wake-up serves many clients.
fn first_beat(now: MonoNs, period: u64) -> MonoNs {
    let at = now.plus(period);
    if period < 2 * BEAT_ALIGN_NS { at } else { MonoNs(at.0.next_multiple_of(BEAT_ALIGN_NS)) }
}

impl Gateway {
    // Alerts.

    /// Takes what the detector found. Alerts go to every client that has the symbol, in its spelling.
    pub(super) fn deliver_alerts(&mut self) -> usize {
        let (mut taken, mut updated) = (0, false);
        while taken < EVENTS_MAX
            && let Ok(event) = self.opportunities.pop()
        {
            taken += 1;
            if let Some(end) = self.ledger.lost_end(&event) {
                self.record(&end);
            }
            if event.alert {
                self.broadcast(&event.opportunity);
            }
            updated |= self.record(&event);
        }
        self.remove_gone();
        if updated {
            self.follow_live();
        }
        taken
    }

    fn broadcast(&mut self, opportunity: &Opportunity) {
        let trigger = *opportunity.trigger();
        let mut frames = [Vec::new(), Vec::new()];
        for (spelling, name) in self.desk.spellings(opportunity.instrument) {
            frames.iter_mut().for_each(Vec::clear);
            for id in &name.bundles {
                let Some(bundle) = self.desk.bundle(*id) else { continue };
                let extended = bundle.format == Format::Extended;
                let frame = &mut frames[usize::from(extended)];
                if frame.is_empty() {
                    let symbol = self.desk.symbols.json(spelling);
                    alert_frame(&self.eye, &self.directory, opportunity, symbol, extended, frame);
                }
                for key in &bundle.members {
                    let Some(client) = self.clients.get_mut(*key) else { continue };
                    match deliver_kept(client, frame, &self.options, self.eye.now, &mut self.totals) {
                        Sent::All => {
                            self.totals.alerts += 1;
                            let written = self.clock.now();
                            self.recorder.record(Hop::WireToAlert, trigger.venue.index(), trigger.received, written);
                        }
                        Sent::Partly => {}
                        Sent::Gone => self.gone.push(*key),
                    }
                }
            }
        }
        self.settle_blocked();
    }

    /// The open opportunities of `instruments` as they are now, for a client that has just joined.
    pub(super) fn open_frames(&self, spellings: &[u32], extended: bool, out: &mut Vec<u8>) -> u64 {
        let mut count = 0;
        for spelling in spellings {
            let Some(instrument) = self.desk.instrument(*spelling) else { continue };
            for entry in self.ledger.of(instrument) {
                if let Some(now) = self.as_of_now(&entry.opportunity) {
                    let symbol = self.desk.symbols.json(*spelling);
                    alert_frame(&self.eye, &self.directory, &now, symbol, extended, out);
                    count += 1;
                }
            }
        }
        count
    }

    /// An open opportunity by the prices of this moment; `None` when a leg is stale or nothing is left.
    fn as_of_now(&self, known: &Opportunity) -> Option<Opportunity> {
        let view = self.eye.view();
        let cell = |venue: VenueId| view.fresh(self.directory.pair(known.instrument, venue));
        let (buy, sell) = (cell(known.buy.venue)?, cell(known.sell.venue)?);
        let mut o = *known;
        (o.buy.level, o.buy.received) = (buy.ask, buy.received);
        (o.sell.level, o.sell.received) = (sell.bid, sell.received);
        let fee = |venue: VenueId| self.directory.taker_fee_pct(known.instrument, venue);
        let (b, s) = (o.buy.level.price, o.sell.level.price);
        o.gross_pct = gross_pct(b, s);
        o.net_pct = net_pct(b, s, fee(o.buy.venue), fee(o.sell.venue));
        (s > b).then_some(o)
    }

    // Every change.

    /// Writes each changed price to the clients that take every change: one write per client and turn.
    pub(super) fn deliver_changes(&mut self) -> usize {
        let mut changed = 0;
        let (view, desk) = (self.eye.view(), &mut self.desk);
        self.changes.drain(|pair| {
            changed += 1;
            desk.changed(pair, &view);
        });
        let mut stamps = std::mem::take(&mut self.stamps);
        let mut blocked = false;
        while let Some((id, burst, dirty)) = self.desk.next_touched(&self.eye.view(), &mut stamps) {
            let (bytes, places) = self.desk.bytes(&burst);
            let Some(bundle) = self.desk.bundle(id).filter(|_| !burst.is_empty()) else { continue };
            for key in &bundle.live {
                let Some(client) = self.clients.get_mut(*key).filter(|c| c.listens) else { continue };
                if client.outbox.is_blocked() {
                    for place in &dirty {
                        self.totals.conflated += u64::from(client.outbox.mark(*place));
                    }
                    continue;
                }
                match client.write_prices(bytes, places, self.eye.now, &mut self.totals) {
                    Sent::All => {}
                    Sent::Partly => blocked = true,
                    Sent::Gone => {
                        self.gone.push(*key);
                        continue;
                    }
                }
                let written = self.clock.now();
                for (venue, received) in &stamps {
                    self.recorder.record(Hop::WireToPrice, venue.index(), *received, written);
                }
            }
            self.desk.done_touched(id, dirty);
        }
        self.stamps = stamps;
        self.remove_gone();
        if blocked {
            self.settle_blocked();
        }
        changed
    }

    // Bursts.

    /// Writes the bursts that are due, a bounded number per turn.
    pub(super) fn deliver_beats(&mut self) -> usize {
        self.beats.take_due(self.eye.now, &mut self.due);
        let mut count = 0;
        while count < BEATS_MAX
            && let Some(call) = self.due.pop_front()
        {
            count += 1;
            self.beat(call);
        }
        count
    }

    fn beat(&mut self, call: Call) {
        let now = self.eye.now;
        let Some(client) = self.clients.get_mut(call.key) else { return };
        if client.generation != call.generation || client.beat_at > now {
            return;
        }
        // A client without a beat or a subscription stays unarmed: `burst_now` arms the next beat.
        let due = std::mem::replace(&mut client.beat_at, UNARMED);
        let (Some(period), Some(bundle)) = (client.beat, client.bundle.filter(|_| client.listens)) else { return };
        let next = due.plus(period);
        client.beat_at = if next > now { next } else { first_beat(now, period) };
        self.beats.arm(client.beat_at, call);
        if client.outbox.is_blocked() {
            let places = self.desk.bundle(bundle).map_or(0, desk::Bundle::places) as u64;
            self.totals.conflated += places;
            client.outbox.owes_all = true;
            return;
        }
        let burst = match client.held.take() {
            None => self.desk.burst(bundle, &self.eye.view()),
            Some(held) => self.desk.burst_of(bundle, &self.eye.view(), |place| !held.has(place)),
        };
        self.write_burst(call.key, &burst);
        self.follow_up(call.key);
    }

    /// Whether the client took all of it.
    fn write_burst(&mut self, key: u32, burst: &desk::Burst) -> bool {
        let Some(client) = self.clients.get_mut(key).filter(|_| !burst.is_empty()) else { return true };
        let (bytes, places) = self.desk.bytes(burst);
        let sent = client.write_prices(bytes, places, self.eye.now, &mut self.totals);
        match sent {
            Sent::All => {}
            Sent::Partly => self.settle(key),
            Sent::Gone => self.remove(key),
        }
        sent == Sent::All
    }

    /// Prices out of turn: those of `marks`, at once. A client whose beat is running gets them next on
    /// the beat after the coming one, so that none comes twice within its interval.
    pub(super) fn burst_now(&mut self, key: u32, marks: Marks) {
        let now = self.eye.now;
        let Some(client) = self.clients.get_mut(key) else { return };
        let Some(bundle) = client.bundle.filter(|_| client.listens) else { return };
        let burst = self.desk.burst_of(bundle, &self.eye.view(), |place| marks.has(place));
        match client.beat {
            None => self.desk.caught_up(bundle, &marks),
            Some(period) if client.beat_at == UNARMED => {
                client.beat_at = first_beat(now, period);
                self.beats.arm(client.beat_at, Call { key, generation: client.generation });
            }
            Some(_) if !marks.is_empty() => client.held = Some(Box::new(marks)),
            Some(_) => {}
        }
        if client.outbox.is_blocked() {
            client.outbox.owes_all = true;
            return;
        }
        self.write_burst(key, &burst);
    }

    /// A client reads again: the newest of what it missed, at once. What was cut off comes before what it had when it
    /// missed a beat, so that none of many prices is left out for ever.
    pub(super) fn catch_up(&mut self, key: u32) {
        let now = self.eye.now;
        let Some(client) = self.clients.get_mut(key) else { return };
        let Some(bundle) = client.bundle.filter(|_| client.listens) else { return };
        let marks = client.outbox.take_marks();
        let all = std::mem::take(&mut client.outbox.owes_all);
        if !all && marks.is_empty() {
            return self.follow_up(key);
        }
        if let Some(period) = client.beat.filter(|_| all) {
            client.beat_at = first_beat(now, period);
            client.held = None;
            self.beats.arm(client.beat_at, Call { key, generation: client.generation });
        }
        if !self.write_newest(key, bundle, |place| marks.has(place), true) {
            if let Some(client) = self.clients.get_mut(key) {
                client.outbox.owes_all |= all;
            }
        } else if all {
            self.write_newest(key, bundle, |place| !marks.has(place), false);
        }
        self.follow_up(key);
    }

    /// The prices of a bundle that `wanted` names, put together as the client takes them. `false` when it does not take
    /// all of them: then the others are marked.
    fn write_newest(&mut self, key: u32, bundle: u32, wanted: impl Fn(usize) -> bool, tells_stale: bool) -> bool {
        let mut next = 0;
        let end = self.desk.bundle(bundle).map_or(0, desk::Bundle::places);
        while next < end {
            let from = (next, PRICES_AT_ONCE);
            let (burst, after) = self.desk.burst_from(bundle, &self.eye.view(), from, &wanted, tells_stale);
            next = after;
            if !self.write_burst(key, &burst) {
                if let Some(client) = self.clients.get_mut(key) {
                    for place in (next..end).filter(|place| wanted(*place)) {
                        client.outbox.mark(place as u32);
                    }
                }
                return false;
            }
        }
        true
    }

    /// Tells extended clients once that a price they know is none any more.
    pub(super) fn tell_stale(&mut self) {
        if !self.desk.tells_stale() || self.sweep_at > self.eye.now {
            return;
        }
        self.sweep_at = self.eye.now.plus(SWEEP_NS);
        let Self { desk, clients, options, totals, gone, eye, .. } = self;
        desk.gone_stale(&eye.view(), |frame, members, place| {
            let mut found = None;
            for key in members {
                let Some(client) = clients.get_mut(*key) else { continue };
                if client.outbox.is_blocked() {
                    // It hears the newest when it reads again, its age too.
                    if let Some(place) = *found.get_or_insert_with(place) {
                        client.outbox.mark(place);
                    }
                    continue;
                }
                match deliver_kept(client, frame, options, eye.now, totals) {
                    Sent::All => totals.prices += 1,
                    Sent::Partly => {}
                    Sent::Gone => gone.push(*key),
                }
            }
        });
        self.remove_gone();
        self.settle_blocked();
    }

    /// Arms the time-outs of clients that began to block while many were written to.
    pub(super) fn settle_blocked(&mut self) {
        let fresh = |client: &Client| client.outbox.blocked_since() == Some(self.eye.now);
        let keys: Vec<u32> = self.clients.iter().filter(|(_, c)| fresh(c)).map(|(key, _)| key).collect();
        for key in keys {
            self.settle(key);
        }
        self.relieve();
    }

    /// Closes the clients for which most waits, while more waits for all together than [`Options::outboxes_max`]. A quarter
    /// of that is freed at once, so that the search for them is rare.
    pub(super) fn relieve(&mut self) {
        if self.totals.waiting <= self.options.outboxes_max {
            return;
        }
        let waits = self.clients.iter().map(|(key, client)| (client.outbox.held(), key));
        let mut waits: Vec<(usize, u32)> = waits.filter(|(held, _)| *held > 0).collect();
        waits.sort_unstable_by(|one, other| other.cmp(one));
        for (_, key) in waits {
            if self.totals.waiting <= self.options.outboxes_max / 4 * 3 {
                break;
            }
            self.shed(key);
        }
    }

    /// Closes a client that does not read and drops what waits for it. A WebSocket is told why.
    fn shed(&mut self, key: u32) {
        let Some(client) = self.clients.get_mut(key) else { return };
        if client.kind == Kind::Socket && client.listens {
            client.drop_waiting(&mut self.totals);
            end_slow(client, self.eye.now, &mut self.totals);
            return self.settle(key);
        }
        // One that was told before is counted already.
        self.totals.slow += u64::from(client.listens || client.kind == Kind::Http);
        client.link.forget_unsent();
        self.remove(key);
    }
}

/// Writes what must not be lost, or keeps it until the client reads. A client that has too much waiting
/// already is told and closed; what does not fit after that is dropped with it.
pub(super) fn deliver_kept(
    client: &mut Client,
    frame: &[u8],
    options: &Options,
    now: MonoNs,
    totals: &mut Totals,
) -> Sent {
    if !client.listens {
        return Sent::Partly;
    }
    if client.outbox.waiting() + frame.len() > options.outbox_max {
        end_slow(client, now, totals);
        return Sent::Partly;
    }
    client.write_kept(frame, now, totals)
}

/// Tells a client that it does not read fast enough, and ends its connection.
fn end_slow(client: &mut Client, now: MonoNs, totals: &mut Totals) {
    let mut out = Vec::new();
    frame_text(&mut out, |out| message::error("Too slow: alerts were lost", out));
    client.connection.close(1013, "too slow", now, &mut out);
    client.listens = false;
    totals.slow += 1;
    client.keep(&out, 0, now, totals);
}

fn alert_frame(eye: &Eye, directory: &Directory, o: &Opportunity, symbol: &[u8], extended: bool, out: &mut Vec<u8>) {
    let name = |venue: VenueId| directory.venue(venue).name.as_str();
    let age_ms = |at: MonoNs| eye.quoted.since(at) / MS;
    let ids = extended.then(|| (id_of(directory, o), leader_of(directory, o)));
    let alert = Alert {
        symbol,
        buy_exchange: name(o.buy.venue),
        sell_exchange: name(o.sell.venue),
        buy: o.buy.level.price,
        sell: o.sell.level.price,
        spread_pct: o.gross_pct,
        timestamp: eye.unix.ms(),
        more: ids.as_ref().map(|(id, leader)| AlertMore {
            net_spread_pct: o.net_pct,
            executable_size: o.executable_size(),
            buy_age_ms: age_ms(o.buy.received),
            sell_age_ms: age_ms(o.sell.received),
            source: less_real(o.buy.source, o.sell.source).word(),
            id,
            group: GroupOf { leader, leg: o.group.leg, size: o.group.size },
        }),
    };
    frame_text(out, |out| message::alert(&alert, out));
}
