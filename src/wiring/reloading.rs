//! What changes the set at run time, built around the parts that every gateway has: the reload stage, who reads the
//! venues' lists for it, and who tells it of signals, of the file and of admin calls.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crossbeam::channel::{Receiver, Sender, bounded, never};

use crate::cli::Failure;
use crate::config::{Config, Plan, WatchFile};
use crate::discovery::{Scope, Watch};
use crate::feed::SetChange;
use crate::gateway::admin::{Order, Port};
use crate::log;
use crate::market::Directory;
use crate::metrics::Board;
use crate::net::switch::Switch;
use crate::reload::watch::FileWatch;
use crate::reload::{FeedPort, Reload, ReloadParts};
use crate::stage::Alarm;
use crate::time::Clock;
use crate::wiring::threads::Row;

/// Changes that a feed may be behind; it takes all of them in its next turn.
const CHANGES_MAX: usize = 64;
/// Changes of what is watched that whoever reads the lists may be behind: it looks once in so many minutes.
const SCOPES_MAX: usize = 256;

/// What is made before the feeds and gateways, which it will order about and hear from.
pub struct Reloading {
    plan: Plan,
    path: PathBuf,
    orders: Receiver<Order>,
    /// Each feed thread.
    pub feeds: Vec<FeedPort>,
}

impl Reloading {
    /// For the configuration that `plan`, read from `path`, has become; and the way for admin calls, if there are any.
    pub fn new(config: &Config, plan: Plan, path: &Path) -> (Self, Option<Port>) {
        let (port, orders) = match config.admin.token.is_empty() {
            true => (None, never()),
            false => {
                let (port, orders) = Port::new(config.admin.token.clone());
                (Some(port), orders)
            }
        };
        (Self { plan, path: path.to_owned(), orders, feeds: Vec::new() }, port)
    }

    /// The threads, and where SIGHUP goes. `others` are told that the set has changed.
    ///
    /// # Errors
    /// When a file of authorities cannot be used.
    pub fn rows(
        self,
        config: &Config,
        directory: &Arc<Directory>,
        others: Vec<Alarm>,
        switch: &Arc<Switch>,
        board: &Arc<Board>,
        clock: &Clock,
    ) -> Result<(Vec<Row>, Sender<()>), Failure> {
        // One that waits stands for all that come after it.
        let (signal, signals) = bounded(1);
        let (sign, signs) = bounded(1);
        // It may have been changed since it was read.
        let _ = sign.try_send(());
        let watch = match config.admin.watch_file {
            WatchFile::On => FileWatch::new(&self.path, sign).map_err(|why| {
                log::say(format_args!("warning: admin.watch_file: the file is not watched, SIGHUP is needed: {why}"));
            }),
            WatchFile::Off => Err(()),
        };
        let (scope, heard) = bounded(SCOPES_MAX);
        let (list, lists) = bounded(1);
        let mut rows = Vec::new();
        let every = Duration::from_secs(config.discovery.every_s);
        if !every.is_zero() {
            let Scope { wanted, quoted } = config.scope().map_err(Failure::Unavailable)?;
            let reader = Watch::new(wanted, quoted, config.state_dir.clone(), every, clock.clone());
            let reader = reader.with(heard, list).into_directory(Arc::clone(directory), others.clone());
            rows.push(Row::left_behind(Box::new(reader)));
        }
        let reload = Reload::new(ReloadParts {
            path: self.path,
            plan: self.plan,
            running: config.clone(),
            directory: Arc::clone(directory),
            feeds: self.feeds,
            others,
            signals,
            signs: if watch.is_ok() { signs } else { never() },
            watch: watch.ok(),
            orders: self.orders,
            lists,
            scope,
            switch: Arc::clone(switch),
            board: Arc::clone(board),
            clock: clock.clone(),
        });
        // It may wait for lists.
        rows.push(Row::left_behind(Box::new(reload)));
        Ok((rows, signal))
    }
}

/// The way to a feed thread: nothing ever comes by it where nothing is reloaded.
pub fn feed_channel(is_live: bool) -> (Sender<SetChange>, Receiver<SetChange>) {
    let (sender, receiver) = bounded(CHANGES_MAX);
    (sender, if is_live { receiver } else { never() })
}
