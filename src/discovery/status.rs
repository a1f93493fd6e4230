//! Trading status of single instruments, for venues whose list does not contain it: one page per instrument.
//!
//! Pages are requested in turn, on dialling threads, with the venue's gap between two requests. Each page is requested
//! at most once per interval. Cold: runs on the thread that reads the lists, and never waits.

use std::collections::HashMap;
use std::io;
use std::time::Duration;

use crossbeam::channel::{Receiver, Sender, bounded};

use crate::log;
use crate::net::backoff::Wait;
use crate::net::dial::{self, DialAnswer, DialError, DialOrder, DialerHandle, Job, Reached, Version, http_address};
use crate::net::tls::Trust;
use crate::stage::{self, Alarm, Idle, Stop};
use crate::time::{Clock, MS, MonoNs, SECOND};
use crate::venues::Venue;
use crate::venues::listing::TradingStatusPage;

/// The trading status of an instrument, as its page states it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TradingStatus {
    /// The venue's name.
    pub venue: &'static str,
    /// `BASE/QUOTE`.
    pub symbol: String,
    /// The venue's own symbol.
    pub native: String,
    /// Whether a taker can buy and sell it now.
    pub is_trading: bool,
}

/// A venue whose pages are read, if it has any.
#[derive(Clone, Copy)]
pub struct PagesOf<'a> {
    /// The venue.
    pub venue: &'static dyn Venue,
    /// Its REST address, `https://` or `http://`; empty: no page is read.
    pub address: &'a str,
    /// The authorities of its certificate.
    pub trust: &'a Trust,
    /// `BASE/QUOTE` and the venue's own symbol.
    pub symbols: &'a [(String, String)],
}

/// Reads the status pages of venues.
pub struct StatusPages {
    rounds: Vec<StatusRound>,
    every_ns: u64,
    clock: Clock,
    /// `None` until the first page is requested.
    dialer: Option<DialerHandle>,
    stop: Stop,
    answers: Sender<DialAnswer>,
    replies: Receiver<DialAnswer>,
    alarm: Alarm,
    /// Number of the last request.
    ticket: usize,
}

/// The pages of one venue.
struct StatusRound {
    venue: &'static dyn Venue,
    page: TradingStatusPage,
    address: String,
    trust: Trust,
    rows: Vec<StatusRow>,
    /// The request that is not answered yet.
    asked: Option<StatusRequest>,
    /// The row that is looked at first for the next request.
    next: usize,
    /// No request before this time.
    due: MonoNs,
}

#[derive(Clone, Copy)]
struct StatusRequest {
    ticket: usize,
    row: usize,
    at: MonoNs,
}

struct StatusRow {
    symbol: String,
    native: String,
    /// No request for this page before this time.
    due: MonoNs,
    version: Version,
    /// `None` until its page was read.
    is_trading: Option<bool>,
    is_unread: bool,
}

/// Most venues with status pages.
const VENUES_MAX: usize = 64;
/// How often replies are looked for, in nanoseconds.
const REPLY_CHECK_NS: u64 = 100 * MS;
/// A request without an answer is given up after this time, in nanoseconds. Dialling threads answer earlier.
const REPLY_NS_MAX: u64 = 60 * SECOND;

impl StatusPages {
    /// No pages yet. Each page is requested at most once per `every_ns`.
    #[must_use]
    pub fn new(every_ns: u64, clock: Clock) -> Self {
        let (answers, replies) = bounded(VENUES_MAX);
        let (alarm, _) = Alarm::of_parker();
        let (rounds, dialer, stop) = (Vec::new(), None, Stop::default());
        Self { rounds, every_ns, clock, dialer, stop, answers, replies, alarm, ticket: 0 }
    }

    /// From now on, reads the pages of `venues`. Venues without status pages are ignored. What is known of symbols that
    /// stay is not lost.
    pub fn set<'a>(&mut self, venues: impl Iterator<Item = PagesOf<'a>>) {
        let now = self.clock.now();
        let mut old = std::mem::take(&mut self.rounds);
        for PagesOf { venue, address, trust, symbols } in venues.filter(|of| !of.address.is_empty()) {
            let Some(page) = venue.status_page().filter(|_| self.rounds.len() < VENUES_MAX) else { continue };
            let place = old.iter().position(|round| round.venue.facts().name == venue.facts().name);
            let (due, rows) = match place.map(|at| old.swap_remove(at)) {
                Some(round) => (round.due, round.rows),
                None => (now, Vec::new()),
            };
            let mut known: HashMap<String, StatusRow> = rows.into_iter().map(|row| (row.native.clone(), row)).collect();
            let row = |(symbol, native): &(String, String)| {
                known.remove(native).unwrap_or_else(|| StatusRow::new(symbol, native, now))
            };
            let rows = symbols.iter().map(row).collect();
            let (address, trust) = (address.to_owned(), trust.clone());
            self.rounds.push(StatusRound { venue, page, address, trust, rows, asked: None, next: 0, due });
        }
    }

    /// Takes the replies that have come and requests the pages that are due. Returns each status that differs from the
    /// one before, or that is the first of its instrument.
    pub fn turn(&mut self) -> Vec<TradingStatus> {
        let now = self.clock.now();
        let mut changed = Vec::new();
        while let Ok(answer) = self.replies.try_recv() {
            let round =
                self.rounds.iter_mut().find(|round| round.asked.is_some_and(|asked| asked.ticket == answer.slot));
            changed.extend(round.and_then(|round| round.take(answer.result, now)));
        }
        if self.rounds.iter().any(|round| round.next_at() <= now) {
            self.request(now);
        }
        changed
    }

    /// When [`Self::turn`] should be called next; `None` without pages.
    #[must_use]
    pub fn due(&self) -> Option<MonoNs> {
        let soon = self.clock.now().plus(REPLY_CHECK_NS);
        self.rounds.iter().map(|round| if round.asked.is_some() { soon } else { round.next_at() }).min()
    }

    /// What is known of the instrument that `venue` calls `native`: whether it is traded.
    #[must_use]
    pub fn of(&self, venue: &str, native: &str) -> Option<bool> {
        let round = self.rounds.iter().find(|round| round.venue.facts().name == venue)?;
        round.rows.iter().find(|row| row.native == native)?.is_trading
    }

    /// Whether each page was requested and answered at least once.
    fn is_complete(&self) -> bool {
        self.rounds.iter().flat_map(|round| &round.rows).all(|row| row.is_trading.is_some() || row.is_unread)
    }

    /// Requests each page once and waits for the replies, up to `patience`. For commands that end by themselves.
    pub fn read_all(&mut self, patience: Duration) {
        let deadline = self.clock.now().plus(patience.as_nanos() as u64);
        loop {
            self.turn();
            let now = self.clock.now();
            let Some(due) = self.due().filter(|_| now < deadline && !self.is_complete()) else { return };
            std::thread::sleep(Duration::from_nanos(due.min(deadline).since(now)));
        }
    }

    /// The number of instruments whose page was not read.
    #[must_use]
    pub fn unread(&self) -> usize {
        self.rounds.iter().flat_map(|round| &round.rows).filter(|row| row.is_trading.is_none()).count()
    }

    fn request(&mut self, now: MonoNs) {
        let dialer = match self.dialer() {
            Ok(dialer) => dialer,
            Err(why) => {
                log::say(format_args!("warning: status pages cannot be requested: {why}"));
                return self.rounds.iter_mut().for_each(|round| round.due = now.plus(self.every_ns));
            }
        };
        for round in self.rounds.iter_mut().filter(|round| round.next_at() <= now) {
            round.due = now.plus(round.page.gap_ms * MS);
            let Some(at) = round.next_row(now) else { continue };
            self.ticket += 1;
            let row = &mut round.rows[at];
            row.due = now.plus(self.every_ns);
            let job = Job::Get(http_address(&round.address, &(round.page.path)(&row.native)), row.version.clone());
            let (trust, answers, alarm) = (round.trust.clone(), self.answers.clone(), self.alarm.clone());
            // A queue that is full is tried again after the gap.
            if dialer.dial(DialOrder { slot: self.ticket, job, trust, answers, alarm }).is_ok() {
                round.asked = Some(StatusRequest { ticket: self.ticket, row: at, at: now });
                round.next = at + 1;
            } else {
                row.due = now;
            }
        }
    }

    fn dialer(&mut self) -> io::Result<DialerHandle> {
        if let Some(dialer) = &self.dialer {
            return Ok(dialer.clone());
        }
        let (dialer, stages) = dial::pool(1, &self.clock)?;
        for stage in stages {
            stage::spawn(vec![stage], None, Idle::Doze, self.stop.clone())?;
        }
        self.dialer = Some(dialer.clone());
        Ok(dialer)
    }
}

impl Drop for StatusPages {
    fn drop(&mut self) {
        self.stop.request();
    }
}

impl StatusRound {
    /// When the next page may be requested and one is due.
    fn next_at(&self) -> MonoNs {
        if let Some(asked) = self.asked {
            return asked.at.plus(REPLY_NS_MAX);
        }
        let row = self.rows.iter().map(|row| row.due).min().unwrap_or(MonoNs(u64::MAX));
        row.max(self.due)
    }

    /// The next row whose page is due, in turn.
    fn next_row(&self, now: MonoNs) -> Option<usize> {
        let count = self.rows.len();
        (0..count).map(|step| (self.next + step) % count).find(|at| self.rows[*at].due <= now)
    }

    /// Takes the reply to the page that was requested. Returns the status if it changed.
    fn take(&mut self, reply: Result<Reached, DialError>, now: MonoNs) -> Option<TradingStatus> {
        let asked = self.asked.take()?;
        let was_unread = self.rows.iter().any(|row| row.is_unread);
        let (name, read) = (self.venue.facts().name, self.page.read);
        let row = self.rows.get_mut(asked.row)?;
        let before = row.is_trading;
        let read = match reply {
            Ok(Reached::List(None)) if before.is_some() => Ok(()),
            Ok(Reached::List(Some((body, version)))) => read(&body).map_err(|why| why.to_string()).map(|is_trading| {
                (row.is_trading, row.version) = (Some(is_trading), version);
            }),
            Ok(_) => Err("not a status page".to_owned()),
            Err(why) => {
                if let Wait::AtLeast(ns) | Wait::Banned(ns) = why.wait(self.venue.facts().limits.ban_s) {
                    self.due = now.plus(ns);
                }
                Err(why.to_string())
            }
        };
        row.is_unread = read.is_err();
        let (symbol, native, is_trading) = (row.symbol.clone(), row.native.clone(), row.is_trading);
        match read {
            // One line for all pages of the venue, until all are read again.
            Err(why) if !was_unread => {
                let what = log::tamed(&format!("the status of {symbol} ({native}) on {name} could not be read: {why}"));
                log::say(format_args!("warning: {what}"));
            }
            Ok(()) if was_unread && !self.rows.iter().any(|row| row.is_unread) => {
                log::say(format_args!("the status pages of {name} are read again"));
            }
            _ => {}
        }
        let is_trading = is_trading.filter(|_| is_trading != before)?;
        Some(TradingStatus { venue: name, symbol, native, is_trading })
    }
}

impl StatusRow {
    fn new(symbol: &str, native: &str, due: MonoNs) -> Self {
        let (symbol, native) = (symbol.to_owned(), native.to_owned());
        Self { symbol, native, due, version: Version::default(), is_trading: None, is_unread: false }
    }
}
