//! What venues list: read from their REST sides, kept on disk for the day when one of those is down.
//!
//! Cold: before the start where the configuration needs it, and on a schedule. Bounded by a patience; a venue that
//! does not answer in time is served from disk, or told to be missing.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crossbeam::channel::{Receiver, Sender, bounded, never};

use crate::log;
use crate::net::dial::{self, Job, Order, Reached, http_address};
use crate::net::tls::Trust;
use crate::stage::{self, Alarm, Idle, Stage, Stop};
use crate::time::{Clock, MonoNs, SECOND};
use crate::venues::Venue;
use crate::venues::listing::Entry;

/// A venue whose list is wanted.
pub struct Wanted {
    /// The venue.
    pub venue: &'static dyn Venue,
    /// Its REST address, `https://` or `http://`; empty: only what is on disk.
    pub address: String,
    /// Who may vouch for it.
    pub trust: Trust,
}

/// Where a list came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// The venue, just now.
    Venue,
    /// The disk; so many seconds old.
    Disk(u64),
}

/// One venue's list.
#[derive(Clone, Debug)]
pub struct List {
    /// The venue's name.
    pub venue: &'static str,
    /// Every spot instrument.
    pub entries: Vec<Entry>,
    /// Where it came from.
    pub from: From,
}

/// All lists that could be had, and why the others could not.
#[derive(Clone, Debug, Default)]
pub struct Catalogue {
    lists: Vec<List>,
    missing: Vec<(&'static str, String)>,
}

impl Catalogue {
    /// A catalogue of these lists.
    #[must_use]
    pub fn new(lists: Vec<List>) -> Self {
        Self { lists, missing: Vec::new() }
    }

    /// The list of the venue named `venue`.
    #[must_use]
    pub fn of(&self, venue: &str) -> Option<&List> {
        self.lists.iter().find(|list| list.venue == venue)
    }

    /// Venues that were asked in vain: name and reason.
    #[must_use]
    pub fn missing(&self) -> &[(&'static str, String)] {
        &self.missing
    }

    /// Reads what is on disk below `folder` for the venues of `wanted`; asks nobody.
    #[must_use]
    pub fn of_disk(wanted: &[Wanted], folder: &Path) -> Self {
        let lists = wanted.iter().filter_map(|wanted| read(wanted.venue, folder));
        Self::new(lists.collect())
    }

    /// Asks every venue of `wanted` at once and waits up to `patience` for all. What is read is kept below
    /// `folder`, and what cannot be read is taken from there.
    ///
    /// # Errors
    /// When the system cannot make a thread.
    pub fn gather(wanted: &[Wanted], folder: Option<&Path>, patience: Duration, clock: &Clock) -> io::Result<Self> {
        let asked: Vec<usize> = (0..wanted.len()).filter(|at| !wanted[*at].address.is_empty()).collect();
        let (dialer, stages) = dial::pool(asked.len(), clock)?;
        let stop = Stop::default();
        for stage in stages {
            // A resolver may hang for as long as the system's does: nobody waits for the end of these threads.
            stage::spawn(vec![stage], None, Idle::Doze, stop.clone())?;
        }
        let (answers, replies) = bounded(asked.len().max(1));
        let (alarm, _) = Alarm::of_parker();
        let mut results: Vec<Result<List, String>> =
            wanted.iter().map(|_| Err("its list was not asked for".to_owned())).collect();
        for at in &asked {
            let Wanted { venue, address, trust } = &wanted[*at];
            let job = Job::Get(http_address(address, venue.listing().path));
            let order = Order { slot: *at, job, trust: trust.clone(), answers: answers.clone(), alarm: alarm.clone() };
            results[*at] = Err(match dialer.dial(order) {
                Ok(()) => "no answer in time".to_owned(),
                Err(why) => why.to_string(),
            });
        }
        let deadline = clock.now().plus(patience.as_nanos() as u64);
        for _ in &asked {
            let left = Duration::from_nanos(deadline.since(clock.now()));
            let Ok(answer) = replies.recv_timeout(left) else { break };
            let venue = wanted[answer.slot].venue;
            results[answer.slot] = match answer.result {
                Ok(Reached::Body(body)) => taken(venue, &body, folder),
                Ok(Reached::Link(_)) => Err("not an answer".to_owned()),
                Err(why) => Err(why.to_string()),
            };
        }
        stop.request();
        let mut catalogue = Self::default();
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

/// What a venue is asked for: symbols with the venue's own names.
pub struct Quoted {
    /// The venue's name.
    pub venue: &'static str,
    /// `BASE/QUOTE` and the venue's own symbol.
    pub symbols: Vec<(String, String)>,
}

/// Whose lists are read, and what those venues are asked for.
pub struct Scope {
    /// The venues.
    pub wanted: Vec<Wanted>,
    /// The same venues.
    pub quoted: Vec<Quoted>,
}

/// The stage that reads the lists again and again: keeps them on disk, and tells what the venues no longer list or
/// trade of what they are asked for. Each change is told once.
pub struct Watch {
    wanted: Vec<Wanted>,
    quoted: Vec<Quoted>,
    folder: Option<PathBuf>,
    every: Duration,
    due: MonoNs,
    clock: Clock,
    told: HashSet<String>,
    heard: Receiver<Scope>,
    lists: Option<Sender<Catalogue>>,
}

impl Watch {
    /// The longest wait for an answer.
    const PATIENCE: Duration = Duration::from_secs(30);
    /// After the start venues have more urgent things to answer.
    const FIRST_NS: u64 = 5 * SECOND;

    /// Watches the lists of `wanted`, which are asked for what `quoted` says.
    #[must_use]
    pub fn new(
        wanted: Vec<Wanted>,
        quoted: Vec<Quoted>,
        folder: Option<PathBuf>,
        every: Duration,
        clock: Clock,
    ) -> Self {
        let due = clock.now().plus(Self::FIRST_NS);
        let (heard, lists) = (never(), None);
        Self { wanted, quoted, folder, every, due, clock, told: HashSet::new(), heard, lists }
    }

    /// The same: what it watches is changed by `heard`, and what it reads goes to `lists` too.
    #[must_use]
    pub fn with(self, heard: Receiver<Scope>, lists: Sender<Catalogue>) -> Self {
        Self { heard, lists: Some(lists), ..self }
    }

    /// What is to be told of `catalogue` that was not told before; what is right again may be told anew.
    pub fn news(&mut self, catalogue: &Catalogue) -> Vec<String> {
        let mut now = HashSet::new();
        for quoted in &self.quoted {
            let Some(list) = catalogue.of(quoted.venue).filter(|list| list.from == From::Venue) else { continue };
            for (symbol, native) in &quoted.symbols {
                match list.entries.iter().find(|entry| entry.native == *native) {
                    None => now.insert(format!("{} does not list {symbol} ({native}) any more", list.venue)),
                    Some(entry) if !entry.is_trading => {
                        now.insert(format!("{} has halted {symbol} ({native})", list.venue))
                    }
                    Some(_) => false,
                };
            }
        }
        // Of venues that gave no answer, what was told still stands.
        let silent =
            |text: &String| catalogue.missing().iter().any(|(venue, _)| text.starts_with(&format!("{venue} ")));
        now.extend(self.told.iter().filter(|text| silent(text)).cloned());
        let mut news: Vec<String> = now.difference(&self.told).cloned().collect();
        news.sort_unstable();
        self.told = now;
        news
    }
}

impl Stage for Watch {
    fn name(&self) -> &str {
        "discovery"
    }

    fn turn(&mut self, wait: Duration) -> usize {
        let now = self.clock.now();
        if now < self.due {
            std::thread::sleep(wait.min(Duration::from_nanos(self.due.since(now))));
            return 0;
        }
        self.due = now.plus(self.every.as_nanos() as u64);
        while let Ok(Scope { wanted, quoted }) = self.heard.try_recv() {
            (self.wanted, self.quoted) = (wanted, quoted);
        }
        match Catalogue::gather(&self.wanted, self.folder.as_deref(), Self::PATIENCE, &self.clock) {
            Ok(catalogue) => {
                for (venue, why) in catalogue.missing() {
                    log::say(format_args!("warning: the list of {venue} could not be read: {}", log::tamed(why)));
                }
                for text in self.news(&catalogue) {
                    log::say(format_args!("warning: {}", log::tamed(&text)));
                }
                if let Some(lists) = &self.lists {
                    // Whoever has not taken the ones before is busy, and these come again.
                    let _ = lists.try_send(catalogue);
                }
            }
            Err(why) => log::say(format_args!("warning: lists of instruments could not be asked for: {why}")),
        }
        1
    }
}

/// Reads a reply, and keeps it when it is a list.
fn taken(venue: &'static dyn Venue, body: &[u8], folder: Option<&Path>) -> Result<List, String> {
    let entries = venue.read_listing(body).map_err(|why| why.to_string())?;
    if let Some(folder) = folder
        && let Err(why) = keep(venue, body, folder)
    {
        log::say(format_args!("warning: {} cannot be kept: {why}", file(venue, folder).display()));
    }
    Ok(List { venue: venue.facts().name, entries, from: From::Venue })
}

fn file(venue: &dyn Venue, folder: &Path) -> PathBuf {
    folder.join("instruments").join(format!("{}.json", venue.facts().name))
}

/// Written beside and renamed, so that nobody ever reads half of it.
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
