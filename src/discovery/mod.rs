//! Reads the venues' lists of instruments from their REST APIs, with a copy on disk for the time when one is down; for
//! venues whose list does not state what is traded, the status pages of single instruments.
//!
//! Cold: runs before the start if the configuration needs it, and on a schedule. The wait for answers is bounded. A venue
//! that does not answer in time is served from disk, or reported as missing.

pub mod status;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crossbeam::channel::{Receiver, Sender, bounded, never};

use crate::discovery::status::{PagesOf, StatusPages, TradingStatus};
use crate::log;
use crate::market::directory::HaltedBy;
use crate::market::{Decimal, Directory};
use crate::net::dial::{self, DialOrder, Job, Reached, Version, http_address};
use crate::net::tls::Trust;
use crate::settings::section;
use crate::stage::{self, Alarm, Idle, Stage, Stop};
use crate::time::{Clock, MonoNs};
use crate::venues::listing::{Fee, ListingEntry};
use crate::venues::{self, HaltSource, Venue};

section! {
    /// Lists that venues publish: how often they are read, and what patterns such as `*/USDT` select from them.
    #[derive(Copy)]
    DiscoveryOptions {
        /// Seconds between two readings of the venues' lists of instruments, which contain the trading status and some
        /// fees. 0: never.
        every_s: u64 = 60, 0..=604_800;
        /// Milliseconds that the start waits for lists, if `instruments` contains patterns and no lists are on disk.
        wait_ms: u64 = 10_000, 100..=120_000;
        /// A pattern selects only instruments that at least this many venues list.
        common_to: usize = 1, 1..=64;
        /// A pattern selects at most this many instruments, starting with those that most venues list. 0: all.
        top: usize = 0, 0..=10_000;
    }
}

/// A venue whose list is to be read.
pub struct ListRequest {
    /// The venue.
    pub venue: &'static dyn Venue,
    /// Its REST address, `https://` or `http://`; empty: only the copy on disk is read.
    pub address: String,
    /// The authorities of its certificate.
    pub trust: Trust,
}

/// Where a list came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// The venue, just now.
    Venue,
    /// The disk; age in seconds.
    Disk(u64),
}

/// One venue's list.
#[derive(Clone, Debug)]
pub struct List {
    /// The venue's name.
    pub venue: &'static str,
    /// Every spot instrument.
    pub entries: Vec<ListingEntry>,
    /// Where it came from.
    pub from: From,
}

/// The lists that could be read, and why the others could not.
#[derive(Clone, Debug, Default)]
pub struct Catalogue {
    lists: Vec<List>,
    missing: Vec<(&'static str, String)>,
    /// When the lists were requested; 0 if they were not.
    asked: MonoNs,
}

impl Catalogue {
    /// A catalogue of these lists.
    #[must_use]
    pub fn new(lists: Vec<List>) -> Self {
        Self { lists, ..Self::default() }
    }

    /// The same, of lists that were requested at `asked`.
    #[must_use]
    pub(crate) fn requested_at(self, asked: MonoNs) -> Self {
        Self { asked, ..self }
    }

    /// The list of the venue named `venue`.
    #[must_use]
    pub fn of(&self, venue: &str) -> Option<&List> {
        self.lists.iter().find(|list| list.venue == venue)
    }

    /// Venues whose list could not be read: name and reason.
    #[must_use]
    pub fn missing(&self) -> &[(&'static str, String)] {
        &self.missing
    }

    /// Reads the copies below `folder` of the lists of `wanted`, without any request.
    #[must_use]
    pub fn of_disk(wanted: &[ListRequest], folder: &Path) -> Self {
        let lists = wanted.iter().filter_map(|wanted| read(wanted.venue, folder));
        Self::new(lists.collect())
    }

    /// Requests the lists of all venues of `wanted` at the same time and waits up to `patience` for all. Lists are
    /// stored below `folder`; a list that cannot be read is taken from there.
    ///
    /// # Errors
    /// When the system cannot make a thread.
    pub fn gather(
        wanted: &[ListRequest],
        folder: Option<&Path>,
        patience: Duration,
        clock: &Clock,
    ) -> io::Result<Self> {
        Self::gather_again(wanted, folder, patience, clock, &mut KnownLists::default())
    }

    /// The same, with the lists of the last time in `known`: a venue whose list has not changed does not send it. The
    /// requests run on temporary threads, one per venue, since megabytes are received and read within a second.
    ///
    /// # Errors
    /// As [`Self::gather`].
    pub fn gather_again(
        wanted: &[ListRequest],
        folder: Option<&Path>,
        patience: Duration,
        clock: &Clock,
        known: &mut KnownLists,
    ) -> io::Result<Self> {
        let asked: Vec<usize> = (0..wanted.len()).filter(|at| !wanted[*at].address.is_empty()).collect();
        let (dialer, stages) = dial::pool(asked.len(), clock)?;
        let stop = Stop::default();
        for stage in stages {
            // The system's resolver may hang, so these threads are not joined.
            stage::spawn(vec![stage], None, Idle::Doze, stop.clone())?;
        }
        let (answers, replies) = bounded(asked.len().max(1));
        let began = clock.now();
        let (alarm, _) = Alarm::of_parker();
        let mut results: Vec<Result<List, String>> =
            wanted.iter().map(|_| Err("its list was not asked for".to_owned())).collect();
        for at in &asked {
            let ListRequest { venue, address, trust } = &wanted[*at];
            let address = http_address(address, venue.listing().path);
            let version = known.0.get(&address).map(|(version, _)| version.clone());
            let job = Job::Get(address, version.unwrap_or_default());
            let order =
                DialOrder { slot: *at, job, trust: trust.clone(), answers: answers.clone(), alarm: alarm.clone() };
            results[*at] = Err(match dialer.dial(order) {
                Ok(()) => "no answer in time".to_owned(),
                Err(why) => why.to_string(),
            });
        }
        let deadline = began.plus(patience.as_nanos() as u64);
        for _ in &asked {
            let left = Duration::from_nanos(deadline.since(clock.now()));
            let Ok(answer) = replies.recv_timeout(left) else { break };
            let ListRequest { venue, address, .. } = &wanted[answer.slot];
            let address = http_address(address, venue.listing().path);
            results[answer.slot] = match answer.result {
                Ok(Reached::List(Some((body, version)))) => {
                    let list = taken(*venue, &body, folder);
                    match &list {
                        Ok(list) if version != Version::default() => {
                            known.0.insert(address, (version, list.clone()));
                        }
                        _ => drop(known.0.remove(&address)),
                    }
                    list
                }
                Ok(Reached::List(None)) => match known.0.get(&address) {
                    Some((_, list)) => Ok(list.clone()),
                    None => Err("its list is said to be unchanged, and was never read".to_owned()),
                },
                Ok(Reached::Link(_) | Reached::Page(_) | Reached::Body(_)) => Err("not an answer".to_owned()),
                Err(why) => Err(why.to_string()),
            };
        }
        stop.request();
        let mut catalogue = Self::default().requested_at(began);
        for (wanted, result) in wanted.iter().zip(results) {
            match result {
                Ok(list) => catalogue.lists.push(list),
                Err(why) => {
                    let kept = folder.and_then(|folder| read(wanted.venue, folder));
                    catalogue.lists.extend(kept);
                    catalogue.missing.push((wanted.venue.facts().name, why));
                }
            }
        }
        Ok(catalogue)
    }
}

/// Lists that came with a version, by the address that they were read from.
#[derive(Default)]
pub struct KnownLists(HashMap<String, (Version, List)>);

/// The instruments that are requested from a venue.
#[derive(Clone, Debug, Default)]
pub struct QuotedSymbols {
    /// The venue's name.
    pub venue: &'static str,
    /// `BASE/QUOTE` and the venue's own symbol.
    pub symbols: Vec<(String, String)>,
    /// Taker fee of its other instruments.
    pub fee: VenueFee,
}

/// The taker fee that is configured for a venue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VenueFee {
    /// In percent of the notional.
    pub pct: Decimal,
    /// Whether the configuration sets it. Then fees that lists state in percent are ignored.
    pub(crate) is_set: bool,
}

/// Where the fee of an instrument comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FeeFrom {
    /// The venue's list.
    List,
    /// The configuration.
    Configured,
    /// The venue's base tier, as known at the time of this version.
    Default,
}

impl VenueFee {
    /// The taker fee of an instrument in percent, and its source; `listed` is the fee in the venue's list. A fee in the
    /// list is that of the base tier, so a configured fee replaces it. A multiple in the list applies to both.
    #[must_use]
    pub fn of(&self, listed: Option<Fee>) -> (Decimal, FeeFrom) {
        let own = if self.is_set { FeeFrom::Configured } else { FeeFrom::Default };
        match listed {
            Some(Fee::Percent(pct)) if !self.is_set => (pct, FeeFrom::List),
            Some(Fee::Times(times)) => (self.times(times), if self.is_set { own } else { FeeFrom::List }),
            _ => (self.pct, own),
        }
    }

    /// A multiple of it, to six decimals.
    fn times(&self, times: Decimal) -> Decimal {
        let product = u128::from(self.pct.to_units(6)) * u128::from(times.to_units(6)) / 1_000_000;
        Decimal::new(u64::try_from(product).unwrap_or(u64::MAX), 6).normalised()
    }
}

impl Catalogue {
    /// Adds what status pages state: an instrument that its page reports as halted is not traded.
    pub(crate) fn add_statuses(&mut self, statuses: &StatusPages) {
        for list in &mut self.lists {
            for entry in &mut list.entries {
                entry.is_trading &= statuses.of(list.venue, &entry.native).unwrap_or(true);
            }
        }
    }

    /// Stores in `directory` what the lists state about the quoted instruments: fees, and for venues that have just
    /// answered the trading status. An instrument that is not listed is not traded. Returns whether anything changed.
    pub fn apply(&self, quoted: &[QuotedSymbols], directory: &Directory) -> bool {
        let mut changes = 0;
        for QuotedSymbols { venue, symbols, fee } in quoted {
            let (Some(list), Some(id)) = (self.of(venue), directory.venue_named(venue)) else { continue };
            let entries = list.by_native();
            let ends_halts = venues::venue(list.venue).is_none_or(|venue| venue.halts() != HaltSource::Stream);
            for (symbol, native) in symbols {
                let Some(instrument) = directory.instrument_named(symbol) else { continue };
                let entry = entries.get(native.as_str());
                let listed = entry.and_then(|entry| entry.fee);
                let pct = listed.map(|listed| fee.of(Some(listed)).0);
                changes += u32::from(directory.set_taker_fee(instrument, id, pct));
                if list.from == From::Venue {
                    let is_halted = entry.is_none_or(|entry| !entry.is_trading);
                    changes += u32::from(directory.set_halted(instrument, id, HaltedBy::List, is_halted));
                    if !is_halted && ends_halts {
                        changes += u32::from(directory.resume_by_list(instrument, id, self.asked));
                    }
                }
            }
        }
        if changes > 0 {
            directory.publish_facts();
        }
        changes > 0
    }
}

impl List {
    /// Its entries by the venue's own symbols.
    #[must_use]
    pub(crate) fn by_native(&self) -> HashMap<&str, &ListingEntry> {
        self.entries.iter().map(|entry| (entry.native.as_str(), entry)).collect()
    }
}

/// The venues whose lists are read, and the instruments that are requested from them.
pub struct Scope {
    /// The venues.
    pub wanted: Vec<ListRequest>,
    /// The same venues.
    pub quoted: Vec<QuotedSymbols>,
}

impl Scope {
    /// The venues, addresses and symbols for [`StatusPages::set`].
    pub fn pages(&self) -> impl Iterator<Item = PagesOf<'_>> {
        pages(&self.wanted, &self.quoted)
    }
}

fn pages<'a>(wanted: &'a [ListRequest], quoted: &'a [QuotedSymbols]) -> impl Iterator<Item = PagesOf<'a>> {
    quoted.iter().filter_map(|QuotedSymbols { venue, symbols, .. }| {
        let ListRequest { venue, address, trust } = wanted.iter().find(|wanted| wanted.venue.facts().name == *venue)?;
        Some(PagesOf { venue: *venue, address, trust, symbols })
    })
}

/// The stage that reads the lists and status pages periodically. It stores lists on disk, stores in the directory what
/// they state about the quoted instruments, and logs once what a venue no longer lists or trades.
pub struct ListingWatch {
    wanted: Vec<ListRequest>,
    quoted: Vec<QuotedSymbols>,
    folder: Option<PathBuf>,
    every: Duration,
    due: MonoNs,
    clock: Clock,
    told: HashSet<String>,
    known: KnownLists,
    /// Why lists could not be read the last time, by venue.
    unread: BTreeMap<&'static str, String>,
    heard: Receiver<Scope>,
    lists: Option<Sender<Catalogue>>,
    /// Where facts are stored, and the stages to wake when they change.
    directory: Option<(Arc<Directory>, Vec<Alarm>)>,
    statuses: StatusPages,
}

impl ListingWatch {
    /// The longest wait for an answer.
    const PATIENCE: Duration = Duration::from_secs(30);

    /// Watches the lists of `wanted`, from which the instruments of `quoted` are requested.
    #[must_use]
    pub fn new(
        wanted: Vec<ListRequest>,
        quoted: Vec<QuotedSymbols>,
        folder: Option<PathBuf>,
        every: Duration,
        clock: Clock,
    ) -> Self {
        let due = clock.now();
        let (told, known, unread) = (HashSet::new(), KnownLists::default(), BTreeMap::new());
        let (heard, lists, directory) = (never(), None, None);
        let statuses = StatusPages::new(every.as_nanos() as u64, clock.clone());
        let mut watch =
            Self { wanted, quoted, folder, every, due, clock, told, known, unread, heard, lists, directory, statuses };
        watch.statuses.set(pages(&watch.wanted, &watch.quoted));
        watch
    }

    /// The same; `heard` changes what is watched, and `lists` receives what is read.
    #[must_use]
    pub fn with(self, heard: Receiver<Scope>, lists: Sender<Catalogue>) -> Self {
        Self { heard, lists: Some(lists), ..self }
    }

    /// The same; what is read is stored in `directory`, and `others` are woken when that changes it.
    #[must_use]
    pub fn into_directory(self, directory: Arc<Directory>, others: Vec<Alarm>) -> Self {
        Self { directory: Some((directory, others)), ..self }
    }

    /// Stores and logs what a status page states.
    fn take_status(&mut self, status: &TradingStatus) {
        let TradingStatus { venue, symbol, native, is_trading } = status;
        let text = halt_line(venue, symbol, native);
        if *is_trading {
            if self.told.remove(&text) {
                log::say(format_args!("{} trades {} ({}) again", venue, log::tamed(symbol), log::tamed(native)));
            }
        } else if self.told.insert(text.clone()) {
            log::say(format_args!("warning: {}", log::tamed(&text)));
        }
        let Some((directory, others)) = &self.directory else { return };
        let pair = directory.instrument_named(symbol).zip(directory.venue_named(venue));
        if pair.is_some_and(|(instrument, id)| directory.set_halted(instrument, id, HaltedBy::List, !is_trading)) {
            directory.publish_facts();
            others.iter().for_each(Alarm::ring);
        }
    }

    /// Logs which lists can no longer be read, and which can be read again.
    fn tell_unread(&mut self, catalogue: &Catalogue) {
        let unread: BTreeMap<_, _> = catalogue.missing().iter().cloned().collect();
        for (venue, why) in unread.iter().filter(|(venue, _)| !self.unread.contains_key(*venue)) {
            log::say(format_args!("warning: the list of {venue} could not be read: {}", log::tamed(why)));
        }
        for venue in self.unread.keys().filter(|venue| !unread.contains_key(*venue)) {
            log::say(format_args!("the list of {venue} is read again"));
        }
        self.unread = unread;
    }

    /// The lines to log about `catalogue` that were not logged before. A line whose cause has ended may be logged again.
    pub fn news(&mut self, catalogue: &Catalogue) -> Vec<String> {
        let mut now = HashSet::new();
        for quoted in &self.quoted {
            let Some(list) = catalogue.of(quoted.venue).filter(|list| list.from == From::Venue) else { continue };
            let entries = list.by_native();
            for (symbol, native) in &quoted.symbols {
                match entries.get(native.as_str()) {
                    None => now.insert(format!("{} does not list {symbol} ({native}) any more", list.venue)),
                    Some(entry) if !entry.is_trading => now.insert(halt_line(list.venue, symbol, native)),
                    Some(_) => false,
                };
            }
        }
        // Without an answer of the venue, nothing has changed.
        let silent =
            |text: &String| catalogue.missing().iter().any(|(venue, _)| text.starts_with(&format!("{venue} ")));
        now.extend(self.told.iter().filter(|text| silent(text)).cloned());
        let mut news: Vec<String> = now.difference(&self.told).cloned().collect();
        news.sort_unstable();
        self.told = now;
        news
    }
}

impl Stage for ListingWatch {
    fn name(&self) -> &str {
        "discovery"
    }

    fn turn(&mut self, wait: Duration) -> usize {
        while let Ok(Scope { wanted, quoted }) = self.heard.try_recv() {
            (self.wanted, self.quoted) = (wanted, quoted);
            self.statuses.set(pages(&self.wanted, &self.quoted));
        }
        let changed = self.statuses.turn();
        changed.iter().for_each(|status| self.take_status(status));
        let now = self.clock.now();
        if now < self.due {
            if changed.is_empty() {
                let next = self.statuses.due().map_or(self.due, |due| due.min(self.due));
                std::thread::sleep(wait.min(Duration::from_nanos(next.since(now))));
            }
            return changed.len();
        }
        self.due = now.plus(self.every.as_nanos() as u64);
        let Self { wanted, folder, clock, known, .. } = self;
        match Catalogue::gather_again(wanted, folder.as_deref(), Self::PATIENCE, clock, known) {
            Ok(mut catalogue) => {
                catalogue.add_statuses(&self.statuses);
                self.tell_unread(&catalogue);
                for text in self.news(&catalogue) {
                    log::say(format_args!("warning: {}", log::tamed(&text)));
                }
                if let Some((directory, others)) = &self.directory
                    && catalogue.apply(&self.quoted, directory)
                {
                    others.iter().for_each(Alarm::ring);
                }
                if let Some(lists) = &self.lists {
                    // A receiver that has not taken the last ones is busy, and gets the next ones.
                    let _ = lists.try_send(catalogue);
                }
            }
            Err(why) => log::say(format_args!("warning: lists of instruments could not be requested: {why}")),
        }
        1
    }
}

/// The line about an instrument that its venue no longer trades.
fn halt_line(venue: &str, symbol: &str, native: &str) -> String {
    format!("{venue} has halted {symbol} ({native})")
}

/// Reads a reply, and stores it if it is a list.
fn taken(venue: &'static dyn Venue, body: &[u8], folder: Option<&Path>) -> Result<List, String> {
    let entries = venue.read_listing(body).map_err(|why| why.to_string())?;
    if let Some(folder) = folder.filter(|folder| is_due(&file(venue, folder)))
        && let Err(why) = keep(venue, body, folder)
    {
        log::say(format_args!("warning: {} cannot be kept: {why}", file(venue, folder).display()));
    }
    Ok(List { venue: venue.facts().name, entries, from: From::Venue })
}

/// A stored list is replaced at most this often, since lists are read every minute and are megabytes large.
const KEEP_EVERY: Duration = Duration::from_secs(3600);

fn is_due(file: &Path) -> bool {
    let age = fs::metadata(file).and_then(|meta| meta.modified()).ok().and_then(|at| at.elapsed().ok());
    age.is_none_or(|age| age >= KEEP_EVERY)
}

fn file(venue: &dyn Venue, folder: &Path) -> PathBuf {
    folder.join("instruments").join(format!("{}.json", venue.facts().name))
}

/// Written to a temporary file and renamed, so that a reader never sees half of it.
fn keep(venue: &dyn Venue, body: &[u8], folder: &Path) -> io::Result<()> {
    let file = file(venue, folder);
    fs::create_dir_all(file.parent().unwrap_or(folder))?;
    let beside = file.with_extension("json.new");
    fs::write(&beside, body)?;
    fs::rename(&beside, &file)
}

fn read(venue: &'static dyn Venue, folder: &Path) -> Option<List> {
    let file = file(venue, folder);
    let age = fs::metadata(&file).and_then(|meta| meta.modified()).ok().and_then(|at| at.elapsed().ok());
    let body = fs::read(&file).ok()?;
    let entries = match venue.read_listing(&body) {
        Ok(entries) => entries,
        Err(why) => {
            log::say(format_args!("warning: {} is not used: {why}", file.display()));
            return None;
        }
    };
    let from = From::Disk(age.map_or(0, |age| age.as_secs()));
    Some(List { venue: venue.facts().name, entries, from })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::market::directory::VenueEntry;
    use crate::market::{InstrumentId, VenueId};

    fn d(text: &str) -> Decimal {
        text.parse().unwrap()
    }

    #[test]
    fn a_configured_fee_goes_before_the_list_and_a_multiple_holds_for_both() {
        let known = VenueFee { pct: d("0.1"), is_set: false };
        let set = VenueFee { is_set: true, ..known };
        let (percent, times) = (Some(Fee::Percent(d("0.2"))), Some(Fee::Times(d("3.00"))));
        assert_eq!(known.of(percent), (d("0.2"), FeeFrom::List));
        assert_eq!(known.of(times), (d("0.3"), FeeFrom::List));
        assert_eq!(known.of(None), (d("0.1"), FeeFrom::Default));
        assert_eq!(set.of(percent), (d("0.1"), FeeFrom::Configured));
        assert_eq!(set.of(times), (d("0.3"), FeeFrom::Configured));
        assert_eq!(set.of(None), (d("0.1"), FeeFrom::Configured));
    }

    #[test]
    fn what_a_list_says_is_taken_over_and_an_old_list_halts_nothing() {
        let symbols = ["A", "B", "C"].map(|base| (format!("{base}/USDT"), format!("{base}-USDT")));
        let native = symbols.iter().map(|(_, native)| Some(native.clone())).collect();
        let entry = VenueEntry { name: "okx".into(), taker_fee_pct: d("0.1"), native };
        let directory = Directory::new(symbols.iter().map(|(symbol, _)| symbol.clone()).collect(), vec![entry]);
        let fee = VenueFee { pct: d("0.1"), is_set: false };
        let quoted = [QuotedSymbols { venue: "okx", symbols: symbols.to_vec(), fee }];
        let row = |native: &str, is_trading, fee| ListingEntry {
            native: native.into(),
            is_trading,
            fee,
            ..ListingEntry::default()
        };
        let list = |from| {
            let entries = vec![row("A-USDT", true, Some(Fee::Percent(d("0.05")))), row("B-USDT", false, None)];
            Catalogue::new(vec![List { venue: "okx", entries, from }])
        };
        let halted = || [0, 1, 2].map(|at| directory.is_halted(InstrumentId(at), VenueId(0)));
        assert!(list(From::Disk(60)).apply(&quoted, &directory));
        assert_eq!((halted(), directory.facts()), ([false; 3], 1));
        assert_eq!(directory.taker_fee_pct(InstrumentId(0), VenueId(0)), d("0.05"));
        assert!(list(From::Venue).apply(&quoted, &directory));
        assert_eq!(halted(), [false, true, true], "what is not listed is not traded");
        assert!(!list(From::Venue).apply(&quoted, &directory), "nothing new");
        assert!(!Catalogue::default().apply(&quoted, &directory), "what was said stands");
        assert_eq!((halted(), directory.facts()), ([false, true, true], 2));
    }

    #[test]
    fn a_list_that_was_requested_after_the_halt_of_a_stream_ends_it_where_lists_tell_halts() {
        for (name, can_end) in [("okx", true), ("upbit", false)] {
            let entry = VenueEntry { name: name.into(), taker_fee_pct: d("0.1"), native: vec![Some("A".into())] };
            let directory = Directory::new(vec!["A/USDT".into()], vec![entry]);
            let fee = VenueFee { pct: d("0.1"), is_set: false };
            let quoted = [QuotedSymbols { venue: name, symbols: vec![("A/USDT".into(), "A".into())], fee }];
            let list = |is_trading, asked| {
                let entries = vec![ListingEntry { native: "A".into(), is_trading, ..ListingEntry::default() }];
                let list = List { venue: name, entries, from: From::Venue };
                Catalogue::new(vec![list]).requested_at(MonoNs(asked)).apply(&quoted, &directory);
                directory.is_halted(InstrumentId(0), VenueId(0))
            };
            let halt = |at| directory.halt_by_stream(InstrumentId(0), VenueId(0), MonoNs(at));
            assert!(halt(100));
            assert!(list(true, 90), "{name}: it may have been written before the halt");
            assert!(!halt(200), "{name}: said again");
            assert!(list(true, 150) && list(false, 300), "{name}");
            assert_eq!(list(true, 400), !can_end, "{name}");
        }
    }
}
