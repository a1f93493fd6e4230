//! Stage: changes the venues and instruments that are quoted, at run time. Off the hot path, on its own thread, which
//! may wait for a file and for the venues' lists.
//!
//! In: SIGHUP, changes of the configuration file, admin calls, lists with new instruments. Each one is resolved to a
//! complete configuration and compared with the running one. The differences are logged, one line each, and applied as
//! a whole; if there is any error, none is applied. Out: the directory (this stage is its only writer), orders to the
//! feeds, replies to admin calls. Changes are handled one after the other.

pub mod change;
pub mod watch;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crossbeam::channel::select;
use crossbeam::channel::{Receiver, Sender, never};

use crate::config::{Amendment, Config, Plan, VenueConfig};
use crate::discovery::{Catalogue, From, ListRequest, Scope};
use crate::feed::{FeedVenue, SetChange};
use crate::gateway::http::admin::{Order, Wish};
use crate::log;
use crate::market::{Directory, VenueId};
use crate::metrics::{Board, BreakerState, LinkState};
use crate::net::switch::Switch;
use crate::net::tls::Trust;
use crate::protocol::admin::{Outcome, Retried, RetryWish, SetWish};
use crate::stage::{Alarm, Stage};
use crate::time::{Clock, MS, MonoNs};

use change::SetDifference;
use watch::FileWatch;

/// Delay from the first sign of a change of the file until it is read, because editors write more than once.
const SETTLE_NS: u64 = 200 * MS;

/// One feed thread.
pub(crate) struct FeedPort {
    /// Orders to the thread.
    pub changes: Sender<SetChange>,
    /// Wakes it.
    pub alarm: Alarm,
    /// The venues that it runs.
    pub venues: Vec<VenueId>,
}

/// Constructor arguments of [`Reload`].
pub(crate) struct ReloadParts {
    /// Path of the configuration file.
    pub path: PathBuf,
    /// The configuration as it was read at the start.
    pub plan: Plan,
    /// The running configuration.
    pub running: Config,
    /// Names and ids.
    pub directory: Arc<Directory>,
    /// The feed threads.
    pub feeds: Vec<FeedPort>,
    /// Alarms of the other readers of the directory: the detector and the gateways.
    pub others: Vec<Alarm>,
    /// Receives one message per SIGHUP.
    pub signals: Receiver<()>,
    /// Signs that the file may have changed.
    pub(crate) signs: Receiver<()>,
    /// The watcher that sends these signs, for as long as it lives.
    pub _watch: Option<FileWatch>,
    /// Admin calls.
    pub(crate) orders: Receiver<Order>,
    /// Lists of instruments that are fetched from the venues periodically.
    pub(crate) lists: Receiver<Catalogue>,
    /// Passes what runs to the stage that fetches those lists.
    pub scope: Sender<Scope>,
    /// Makes the feeds retry venues.
    pub switch: Arc<Switch>,
    /// Counters of changes.
    pub board: Arc<Board>,
    /// Time.
    pub clock: Clock,
}

/// The stage.
pub(crate) struct Reload {
    parts: ReloadParts,
    /// Changes by admin calls since the file was last read.
    amendment: Amendment,
    /// Content of the file when it was last checked for a change, so that each content is reported only once.
    seen: Option<String>,
    /// When to check the file, after a sign that it may have changed.
    look_at: Option<MonoNs>,
}

/// A resolved configuration and the change that leads to it.
struct Next {
    plan: Plan,
    config: Config,
    change: SetDifference,
}

impl Reload {
    /// A stage that has handled nothing yet.
    #[must_use]
    pub fn new(parts: ReloadParts) -> Self {
        let seen = Some(parts.plan.text().to_owned());
        Self { parts, amendment: Amendment::default(), seen, look_at: None }
    }

    /// Logs and counts the outcome, unless this was a dry run. A file that cannot be used causes a health alert until
    /// it can be used again, whatever admin calls change meanwhile; an error in an admin call is reported to its caller
    /// only.
    fn conclude(&self, outcome: &Outcome, is_of_file: bool) {
        if outcome.is_dry {
            return;
        }
        let is_refused = !outcome.mistakes.is_empty();
        outcome.mistakes.iter().for_each(|what| log::say(format_args!("reload: {what}")));
        if is_refused {
            log::say(format_args!("reload: nothing was changed"));
        }
        let gauges = &self.parts.board.reload;
        if is_of_file {
            gauges.is_refused.set(u64::from(is_refused));
            gauges.set_mistakes(&outcome.mistakes);
        }
        gauges.refused.add(u64::from(is_refused));
        gauges.applied.add(u64::from(outcome.is_change()));
    }

    fn because(&mut self, cause: &str) {
        log::say(format_args!("reload: {cause}: reading {}", self.parts.path.display()));
        let outcome = self.reload(false);
        self.conclude(&outcome, true);
    }

    fn called(&mut self, order: Order) {
        if let Wish::Retry(wish) = &order.wish {
            let outcome = self.retry(wish, order.is_dry);
            return order.reply(outcome);
        }
        if !order.is_dry {
            log::say(format_args!("reload: admin call"));
        }
        let outcome = match &order.wish {
            Wish::Reload => self.reload(order.is_dry),
            Wish::Set(wish) => self.amend(wish, order.is_dry),
            Wish::Retry(_) => Outcome::default(),
        };
        let outcome = Outcome { is_dry: order.is_dry, ..outcome };
        self.conclude(&outcome, order.wish == Wish::Reload);
        order.reply(outcome);
    }

    /// Makes the feeds retry one venue, or all, immediately. Connected venues are not affected.
    fn retry(&self, wish: &RetryWish, is_dry: bool) -> Outcome {
        let ReloadParts { directory, board, switch, feeds, clock, .. } = &self.parts;
        let names = || directory.venues_on().map(|(_, venue)| venue.name.as_str()).collect::<Vec<_>>().join(", ");
        let only = match &wish.exchange {
            Some(name) => match directory.venues_on().find(|(_, venue)| venue.name == *name) {
                Some((id, _)) => Some(id),
                None => {
                    let what =
                        format!("exchange `{}` does not run here, expected one of {}", log::tamed(name), names());
                    return refused(vec![what]);
                }
            },
            None => None,
        };
        let now = clock.now().0;
        let mut retried = Retried::default();
        for (id, venue) in directory.venues_on().filter(|(id, _)| only.is_none_or(|only| only == *id)) {
            let gauges = &board.venues[id.index()];
            let name = &venue.name;
            let is_whole = gauges.connection.open.value() >= gauges.connection.wanted.value();
            match gauges.connection.state() {
                LinkState::Connected if is_whole => retried.connected.push(name.clone()),
                LinkState::Standby => retried.standby.push(name.clone()),
                _ if gauges.dial.held_until.value() > now => retried.held.push(name.clone()),
                _ => retried.dialled.push(name.clone()),
            }
            if gauges.dial.breaker.state() == BreakerState::Open {
                retried.breakers.push(name.clone());
            }
        }
        if !is_dry {
            let what = if retried.dialled.is_empty() { "nothing".to_owned() } else { retried.dialled.join(", ") };
            log::say(format_args!("feed: admin call: retrying immediately: {what}"));
            switch.retry(only);
            feeds.iter().for_each(|feed| feed.alarm.ring());
        }
        Outcome { is_dry, retried: Some(retried), ..Outcome::default() }
    }

    /// Reads the file again if its content has changed since it was last checked. Signs that arrive together are handled
    /// together.
    fn look(&mut self) {
        self.look_at = None;
        while self.parts.signs.try_recv().is_ok() {}
        if self.has_changed() {
            self.because("the file has changed");
        }
    }

    fn has_changed(&mut self) -> bool {
        let now = match Plan::load(&self.parts.path) {
            Ok(plan) => plan.text().to_owned(),
            Err(why) => why.to_string(),
        };
        self.seen.replace(now.clone()) != Some(now)
    }

    /// Reads the file and reverts the changes by admin calls.
    fn reload(&mut self, is_dry: bool) -> Outcome {
        let plan = match Plan::load(&self.parts.path) {
            Ok(plan) => plan,
            Err(why) => return refused(why.to_string().lines().map(str::to_owned).collect()),
        };
        if !is_dry {
            self.seen = Some(plan.text().to_owned());
        }
        // At the start an empty file means all defaults. At run time it more likely means that the file is still being
        // written.
        if plan.text().trim().is_empty() {
            return refused(vec![format!("{}: is empty", self.parts.path.display())]);
        }
        let next = match self.next(plan, &Amendment::default(), None) {
            Ok(next) => next,
            Err(mistakes) => return refused(mistakes),
        };
        if !self.amendment.is_empty() && next.change.refused.is_empty() && !is_dry {
            log::say(format_args!("reload: changes by admin calls since the last reload are reverted"));
        }
        let outcome = self.finish(next, is_dry);
        if outcome.mistakes.is_empty() && !is_dry {
            self.amendment = Amendment::default();
        }
        outcome
    }

    fn amend(&mut self, wish: &SetWish, is_dry: bool) -> Outcome {
        let mistakes = self.mistakes_of(wish);
        if !mistakes.is_empty() {
            return refused(mistakes);
        }
        let set = |names: &[String]| names.iter().cloned().collect::<BTreeSet<String>>();
        let wish = Amendment {
            add: set(&wish.add),
            remove: set(&wish.remove),
            add_venues: set(&wish.venues.add),
            remove_venues: set(&wish.venues.remove),
        };
        let amendment = self.amendment.then(&wish);
        let next = match self.next(self.parts.plan.clone(), &amendment, None) {
            Ok(next) => next,
            Err(mistakes) => return refused(mistakes),
        };
        let is_quoted = |symbol: &String| {
            let at = next.config.instruments.iter().position(|known| known == symbol);
            at.is_some_and(|at| next.config.venues.iter().any(|venue| venue.native[at].is_some()))
        };
        if let Some(nobody) = wish.add.iter().find(|symbol| !is_quoted(symbol)) {
            let what = format!("admin call: instruments: no venue that uses the general list can quote {nobody}");
            return refused(vec![what]);
        }
        let outcome = self.finish(next, is_dry);
        if outcome.mistakes.is_empty() && !is_dry {
            self.amendment = amendment;
        }
        outcome
    }

    /// Errors of the request itself: names to remove that are not present, and names to both add and remove.
    fn mistakes_of(&self, wish: &SetWish) -> Vec<String> {
        let running = &self.parts.running;
        let mut mistakes = Vec::new();
        let mut wrong = |key: &str, what: String| mistakes.push(format!("admin call: {key}: {what}"));
        for symbol in wish.remove.iter().filter(|symbol| !running.instruments.contains(symbol)) {
            wrong("instruments", format!("{} is not quoted", log::tamed(symbol)));
        }
        for name in wish.venues.remove.iter().filter(|name| !running.venues.iter().any(|v| v.name() == **name)) {
            wrong("venues", format!("{} is not running", log::tamed(name)));
        }
        for (key, add, remove) in
            [("instruments", &wish.add, &wish.remove), ("venues", &wish.venues.add, &wish.venues.remove)]
        {
            for both in add.iter().filter(|name| remove.contains(name)) {
                wrong(key, format!("{} cannot be added and removed at the same time", log::tamed(both)));
            }
        }
        mistakes
    }

    /// Adds instruments that match the patterns and are not quoted yet: new instruments, and those of a venue whose
    /// list could not be read before. Delisted instruments stay until the file is read again: an incomplete list is no
    /// reason to drop the rest.
    fn listed(&mut self, catalogue: &Catalogue) {
        if !self.parts.plan.has_patterns() {
            return;
        }
        // Without the list of a venue, a pattern could select instruments that the venue does not have.
        let has_list = |wanted: &ListRequest| catalogue.of(wanted.venue.facts().name).is_some();
        if !self.parts.running.scope().is_ok_and(|scope| scope.wanted.iter().all(has_list)) {
            return;
        }
        let plan = self.parts.plan.clone();
        let Ok(next) = self.next(plan.clone(), &self.amendment.clone(), Some(catalogue)) else { return };
        let symbols: BTreeSet<String> = next.change.added.iter().map(|item| item.symbol.clone()).collect();
        let known = |symbol: &String| self.parts.running.instruments.contains(symbol);
        let mut fresh: Vec<String> = symbols.into_iter().filter(|symbol| !known(symbol)).collect();
        let free = self.parts.directory.rows() - self.parts.directory.instruments().len();
        if fresh.len() > free {
            log::say(format_args!(
                "warning: {} new instruments are listed, but there is room for only {free}; the others need a restart",
                fresh.len()
            ));
            fresh.truncate(free);
        }
        let mut config = self.parts.running.clone();
        for symbol in fresh {
            config.instruments.push(symbol);
            config.venues.iter_mut().for_each(|venue| venue.native.push(None));
        }
        for item in &next.change.added {
            let at = config.instruments.iter().position(|known| *known == item.symbol);
            let venue = config.venues.iter_mut().find(|venue| venue.name() == item.venue);
            if let Some((at, venue)) = at.zip(venue) {
                venue.native[at] = Some(item.native.clone());
            }
        }
        if config.venues == self.parts.running.venues {
            return;
        }
        let change = SetDifference::between(&self.parts.running, &config, &self.parts.directory);
        log::say(format_args!("reload: venues list new instruments"));
        let outcome = self.finish(Next { plan, config, change }, false);
        self.conclude(&outcome, false);
    }

    /// Resolves `plan`. If it has patterns, the venues' lists are fetched.
    fn next(&self, plan: Plan, amendment: &Amendment, lists: Option<&Catalogue>) -> Result<Next, Vec<String>> {
        let amended = plan.clone().amended(amendment);
        let catalogue = match lists {
            Some(lists) => lists.clone(),
            None if amended.has_patterns() => self.gather(&amended)?,
            None => amended.kept(),
        };
        let config = amended
            .resolve(&catalogue)
            .map_err(|why| why.to_string().lines().map(str::to_owned).collect::<Vec<_>>())?;
        let change = SetDifference::between(&self.parts.running, &config, &self.parts.directory);
        Ok(Next { plan, config, change })
    }

    /// The lists of all venues, or an error: without its list, patterns would select other instruments on a venue.
    fn gather(&self, plan: &Plan) -> Result<Catalogue, Vec<String>> {
        let (wanted, state_dir) = (plan.wanted(), plan.state_dir());
        let catalogue = Catalogue::gather(&wanted, state_dir.as_deref(), plan.patience(), &self.parts.clock)
            .map_err(|why| vec![format!("lists of instruments could not be requested: {why}")])?;
        let mut mistakes = Vec::new();
        for (venue, why) in catalogue.missing() {
            let is_asked = wanted.iter().any(|it| it.venue.facts().name == *venue && !it.address.is_empty());
            match catalogue.of(venue).map(|list| list.from) {
                None if is_asked => {
                    mistakes.push(format!("the list of {venue} could not be read: {}", log::tamed(why)))
                }
                Some(From::Disk(seconds)) => log::say(format_args!(
                    "warning: the list of {venue} is {seconds} s old, a newer one could not be read: {}",
                    log::tamed(why)
                )),
                _ => {}
            }
        }
        if mistakes.is_empty() { Ok(catalogue) } else { Err(mistakes) }
    }

    /// Logs and applies the change, unless this is a dry run or the change is rejected.
    fn finish(&mut self, next: Next, is_dry: bool) -> Outcome {
        let Next { plan, config, change } = next;
        let outcome = change.outcome(is_dry);
        if is_dry || !change.refused.is_empty() {
            return outcome;
        }
        let known = self.parts.running.warnings();
        for warning in config.warnings().iter().filter(|warning| !known.contains(warning)) {
            log::say(format_args!("warning: {warning}"));
        }
        let places = match places(&config, &change) {
            Ok(places) => places,
            Err(why) => return refused(vec![why]),
        };
        if change.is_empty() {
            log::say(format_args!("reload: no change"));
        }
        for line in change.lines() {
            log::say(format_args!("reload: {line}"));
        }
        self.apply(&change, &config, places);
        (self.parts.plan, self.parts.running) = (plan, config);
        if let Ok(scope) = self.parts.running.scope() {
            // The receiver reads it before it fetches the lists again. If the channel is full, this one is skipped.
            let _ = self.parts.scope.try_send(scope);
        }
        outcome
    }

    fn apply(&mut self, change: &SetDifference, config: &Config, places: Vec<AddedVenue>) {
        if change.is_empty() {
            return;
        }
        let directory = Arc::clone(&self.parts.directory);
        for venue in config.venues.iter().filter(|venue| change.venues_added.contains(&venue.name())) {
            // There is room: this was checked, and no other thread adds entries.
            let _ = directory.add_venue(venue.name(), venue.taker_fee_pct);
        }
        let ids = |item: &change::Item| directory.venue_named(item.venue).zip(directory.instrument_named(&item.symbol));
        for (venue, instrument) in change.removed.iter().filter_map(ids) {
            directory.drop_quote(instrument, venue);
        }
        for item in &change.added {
            if let (Ok(instrument), Some(venue)) =
                (directory.add_instrument(&item.symbol), directory.venue_named(item.venue))
            {
                directory.quote(instrument, venue, &item.native);
            }
        }
        for symbol in change.removed.iter().map(|item| &item.symbol) {
            if let Some(id) = directory.instrument_named(symbol).filter(|_| !config.instruments.contains(symbol)) {
                directory.remove_instrument(id);
            }
        }
        for id in change.venues_removed.iter().filter_map(|name| directory.venue_named(name)) {
            directory.remove_venue(id);
        }
        directory.publish();
        self.parts.others.iter().for_each(Alarm::ring);
        self.order(change, places);
    }

    /// Sends the orders to the feeds. An added venue goes to the thread with the fewest venues.
    fn order(&mut self, change: &SetDifference, mut places: Vec<AddedVenue>) {
        for name in change.touched() {
            let Some(venue) = self.parts.directory.venue_named(name) else { continue };
            let place = places.iter().position(|place| place.venue.name() == name).map(|at| places.swap_remove(at));
            let place = place.map(|place| place.of(venue));
            let has = |port: &FeedPort| port.venues.contains(&venue);
            let at = self.parts.feeds.iter().position(has);
            let fewest = || (0..self.parts.feeds.len()).min_by_key(|at| self.parts.feeds[*at].venues.len());
            let Some(port) = at.or_else(fewest).and_then(|at| self.parts.feeds.get_mut(at)) else { continue };
            if at.is_none() {
                port.venues.push(venue);
            }
            // A feed takes orders in each of its turns. If it does not, it has ended, and the process is about to end.
            let _ = port.changes.send_timeout(SetChange { venue, place }, Duration::from_secs(5));
            port.alarm.ring();
        }
    }
}

/// Connection settings of an added venue.
struct AddedVenue {
    venue: VenueConfig,
    trust: Trust,
}

impl AddedVenue {
    /// The settings for the feed, once the id is known.
    fn of(self, id: VenueId) -> FeedVenue {
        let VenueConfig { venue, address, rest_address, witness, .. } = self.venue;
        FeedVenue { id, venue, address, rest_address, trust: self.trust, witness }
    }
}

fn places(config: &Config, change: &SetDifference) -> Result<Vec<AddedVenue>, String> {
    let place = |venue: &VenueConfig| Ok(AddedVenue { venue: venue.clone(), trust: venue.trust()? });
    config.venues.iter().filter(|venue| change.venues_added.contains(&venue.name())).map(place).collect()
}

fn refused(mistakes: Vec<String>) -> Outcome {
    Outcome { mistakes, ..Outcome::default() }
}

impl Stage for Reload {
    fn name(&self) -> &str {
        "reload"
    }

    fn turn(&mut self, mut wait: Duration) -> usize {
        if let Some(at) = self.look_at {
            let left = at.since(self.parts.clock.now());
            if left == 0 {
                self.look();
                return 1;
            }
            wait = wait.min(Duration::from_nanos(left));
        }
        let ReloadParts { signals, signs, orders, lists, .. } = &self.parts;
        let (signals, signs, orders, lists) = (signals.clone(), signs.clone(), orders.clone(), lists.clone());
        select! {
            recv(signals) -> signal => match signal {
                Ok(()) => self.because("SIGHUP"),
                Err(_) => self.parts.signals = never(),
            },
            recv(signs) -> sign => match sign {
                Ok(()) if self.look_at.is_none() => self.look_at = Some(self.parts.clock.now().plus(SETTLE_NS)),
                Ok(()) => {}
                Err(_) => self.parts.signs = never(),
            },
            recv(orders) -> order => match order {
                Ok(order) => self.called(order),
                Err(_) => self.parts.orders = never(),
            },
            recv(lists) -> lists => match lists {
                Ok(lists) => self.listed(&lists),
                Err(_) => self.parts.lists = never(),
            },
            default(wait) => return 0,
        }
        1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discovery::List;
    use crate::market::InstrumentId;
    use crate::time::{HandClock, UnixNs};
    use crate::venues::VENUES;
    use crate::venues::listing::ListingEntry;
    use crossbeam::channel::{bounded, unbounded};
    use std::path::Path;

    const PATTERN: &str = "venues = [\"okx\", \"bybit\"]\ninstruments = [\"*/USDT\"]";

    fn list(venue: &'static str, bases: &[&str]) -> List {
        let dash = if venue == "okx" { "-" } else { "" };
        let entries = bases.iter().map(|base| ListingEntry {
            base: (*base).to_owned(),
            quote: "USDT".to_owned(),
            native: format!("{base}{dash}USDT"),
            is_trading: true,
            ..ListingEntry::default()
        });
        List { venue, entries: entries.collect(), from: From::Venue }
    }

    /// The stage with this configuration and these lists, and the orders that its only feed receives.
    fn stage(text: &str, catalogue: &Catalogue) -> (Reload, Receiver<SetChange>) {
        let plan = Plan::build("c.toml", text, Path::new("."), &[], VENUES);
        let running = plan.clone().resolve(catalogue).unwrap();
        let directory = Arc::new(running.directory_with_room());
        let (changes, orders) = unbounded();
        let venues = directory.venues_on().map(|(id, _)| id).collect();
        let reload = Reload::new(ReloadParts {
            path: PathBuf::from("no-such-folder/c.toml"),
            plan,
            running,
            directory,
            feeds: vec![FeedPort { changes, alarm: Alarm::of_parker().0, venues }],
            others: Vec::new(),
            signals: never(),
            signs: never(),
            _watch: None,
            orders: never(),
            lists: never(),
            scope: bounded(1).0,
            switch: Arc::new(Switch::new(2, true)),
            board: Arc::new(Board::new(crate::time::MonoNs(0), 0, 0)),
            clock: Clock::System,
        });
        (reload, orders)
    }

    /// The stage with its own file, which contains `text`, and a clock that is moved by hand.
    struct Watched {
        reload: Reload,
        sign: Sender<()>,
        hand: HandClock,
    }

    impl Watched {
        fn new(name: &str, text: &str) -> Self {
            let folder = std::env::temp_dir().join(format!("spreadwire-reload-{}-{name}", std::process::id()));
            std::fs::create_dir_all(&folder).unwrap();
            let (mut reload, _orders) = stage(text, &Catalogue::new(Vec::new()));
            let hand = HandClock::new(MonoNs(MS), UnixNs(0));
            let (sign, signs) = unbounded();
            reload.parts.path = folder.join("c.toml");
            (reload.parts.signs, reload.parts.clock) = (signs, hand.clock());
            let watched = Self { reload, sign, hand };
            watched.write(text);
            watched
        }

        fn write(&self, text: &str) {
            std::fs::write(&self.reload.parts.path, text).unwrap();
        }

        /// Runs turns until no work is left. Returns how many changes were applied and rejected so far.
        fn turned(&mut self) -> (u64, u64) {
            while self.reload.turn(Duration::ZERO) > 0 {}
            let gauges = &self.reload.parts.board.reload;
            (gauges.applied.value(), gauges.refused.value())
        }

        fn pass(&mut self, ms: u64) -> (u64, u64) {
            self.hand.advance(ms * MS);
            self.turned()
        }
    }

    impl Drop for Watched {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(self.reload.parts.path.parent().unwrap());
        }
    }

    const PLAIN: &str = "venues = [\"okx\", \"bybit\"]\ninstruments = [\"BTC/USDT\", \"ETH/USDT\"]";
    const OTHER: &str = "venues = [\"okx\", \"bybit\"]\ninstruments = [\"BTC/USDT\"]";

    #[test]
    fn a_file_is_read_200_ms_after_the_first_sign_of_its_change() {
        let mut watched = Watched::new("settles", PLAIN);
        // First half of the content, then all of it.
        watched.write("venues = [\"okx\", ");
        watched.sign.send(()).unwrap();
        assert_eq!(watched.turned(), (0, 0));
        assert_eq!(watched.pass(199), (0, 0));
        watched.write(OTHER);
        watched.sign.send(()).unwrap();
        assert_eq!(watched.turned(), (0, 0));
        assert_eq!(watched.pass(1), (1, 0), "once, and never the half");
        assert_eq!(quoted(&watched.reload, "okx"), ["BTC/USDT"]);
        assert_eq!(watched.pass(1000), (1, 0));
    }

    #[test]
    fn a_sign_without_another_text_changes_nothing_and_one_mistake_is_said_once() {
        let mut watched = Watched::new("same", PLAIN);
        for _ in 0..3 {
            watched.sign.send(()).unwrap();
            assert_eq!(watched.turned(), (0, 0));
            assert_eq!(watched.pass(200), (0, 0));
        }
        watched.write("venues = [\"okx\", ");
        for _ in 0..3 {
            watched.sign.send(()).unwrap();
            watched.turned();
            assert_eq!(watched.pass(200), (0, 1));
        }
        // With the original content nothing changes, and the error is resolved.
        watched.write(PLAIN);
        watched.sign.send(()).unwrap();
        watched.turned();
        assert_eq!(watched.pass(200), (0, 1));
        assert_eq!(watched.reload.parts.board.reload.is_refused.value(), 0);
    }

    fn quoted(reload: &Reload, venue: &str) -> Vec<String> {
        let directory = &reload.parts.directory;
        let symbol = |(id, _): (InstrumentId, &str)| directory.symbol(id).to_owned();
        directory.quoted_by(directory.venue_named(venue).unwrap()).map(symbol).collect()
    }

    #[test]
    fn what_a_venue_lists_anew_joins_and_what_it_lists_no_more_stays() {
        let first = Catalogue::new(vec![list("okx", &["BTC", "ETH"]), list("bybit", &["BTC", "ETH"])]);
        let (mut reload, orders) = stage(PATTERN, &first);
        reload.listed(&first);
        assert!(orders.is_empty());
        reload.listed(&Catalogue::new(vec![list("okx", &["BTC", "ETH", "SOL"]), list("bybit", &["BTC"])]));
        assert_eq!(quoted(&reload, "okx"), ["BTC/USDT", "ETH/USDT", "SOL/USDT"]);
        assert_eq!(quoted(&reload, "bybit"), ["BTC/USDT", "ETH/USDT"]);
        let okx = reload.parts.directory.venue_named("okx").unwrap();
        assert_eq!(orders.try_iter().map(|order| order.venue).collect::<Vec<_>>(), [okx]);
        // Without a list, patterns could select instruments that the venue does not have.
        reload.listed(&Catalogue::new(vec![list("okx", &["BTC", "ETH", "SOL", "ADA"])]));
        assert_eq!(quoted(&reload, "okx").len(), 3);
    }

    #[test]
    fn more_listings_than_there_is_room_for_join_as_far_as_there_is() {
        let first = Catalogue::new(vec![list("okx", &["BTC"]), list("bybit", &["BTC"])]);
        let (mut reload, _orders) = stage(PATTERN, &first);
        let names: Vec<String> = (0..100).map(|n| format!("C{n}")).collect();
        let many: Vec<&str> = names.iter().map(String::as_str).collect();
        reload.listed(&Catalogue::new(vec![list("okx", &many), list("bybit", &many)]));
        let directory = &reload.parts.directory;
        assert_eq!((directory.instruments().len(), directory.rows()), (65, 65));
        assert_eq!(quoted(&reload, "okx").len(), 65);
    }

    #[test]
    fn without_the_lists_that_patterns_need_nothing_changes() {
        let both = Catalogue::new(vec![list("okx", &["BTC"]), list("bybit", &["BTC"])]);
        let text = format!(
            "{PATTERN}\n[discovery]\nwait_ms = 2000\n[venue.okx]\nrest_address = \"http://127.0.0.1:1\"\n\
             [venue.bybit]\nrest_address = \"http://127.0.0.1:1\""
        );
        let (reload, _orders) = stage(&text, &both);
        let mistakes = reload.next(reload.parts.plan.clone(), &Amendment::default(), None).err().unwrap();
        assert!(mistakes.iter().all(|what| what.contains("could not be read")), "{mistakes:?}");
        assert_eq!(mistakes.len(), 2);
    }

    #[test]
    fn a_file_that_is_gone_changes_nothing() {
        let both = Catalogue::new(vec![list("okx", &["BTC"]), list("bybit", &["BTC"])]);
        let (mut reload, orders) = stage(PATTERN, &both);
        let outcome = reload.reload(false);
        assert!(outcome.mistakes[0].contains("cannot be read"), "{outcome:?}");
        assert!(orders.is_empty() && quoted(&reload, "okx") == ["BTC/USDT"]);
    }
}
