//! Builds the parts that change the set at run time: the reload stage, the reader of the venues' lists, and the sources
//! of signals, file changes and admin calls.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crossbeam::channel::{Receiver, Sender, bounded, never};

use crate::cli::CommandFailure;
use crate::config::{Config, Plan, WatchFile};
use crate::discovery::{ListingWatch, Scope};
use crate::feed::SetChange;
use crate::gateway::http::admin::{AdminPort, Order};
use crate::log;
use crate::market::Directory;
use crate::metrics::Board;
use crate::net::switch::Switch;
use crate::reload::watch::FileWatch;
use crate::reload::{FeedPort, Reload, ReloadParts};
use crate::stage::Alarm;
use crate::time::Clock;
use crate::wiring::threads::ThreadRow;

/// Capacity of the channel of changes to a feed, which takes all of them in its next turn.
const CHANGES_MAX: usize = 64;
/// Capacity of the channel of scope changes to the reader of the lists, which checks it only at its reading interval.
const SCOPES_MAX: usize = 256;

/// Parts created before the feeds and gateways.
pub(crate) struct Reloading {
    config: Config,
    plan: Plan,
    path: PathBuf,
    orders: Receiver<Order>,
    /// The feed threads.
    pub feeds: Vec<FeedPort>,
}

impl Reloading {
    /// Parts for `config`, which was resolved from `plan`, read from `path`; and the port for admin calls, if they are
    /// enabled.
    pub fn new(config: &Config, plan: Plan, path: &Path) -> (Self, Option<AdminPort>) {
        let (port, orders) = if config.admin.token.is_empty() {
            (None, never())
        } else {
            let (port, orders) = AdminPort::new(config.admin.token.clone());
            (Some(port), orders)
        };
        (Self { config: config.clone(), plan, path: path.to_owned(), orders, feeds: Vec::new() }, port)
    }

    /// The threads, and the sender for SIGHUP. `others` are woken when the set has changed.
    ///
    /// # Errors
    /// If a file of authorities cannot be used.
    pub fn rows(
        self,
        directory: &Arc<Directory>,
        others: Vec<Alarm>,
        switch: &Arc<Switch>,
        board: &Arc<Board>,
        clock: &Clock,
    ) -> Result<(Vec<ThreadRow>, Sender<()>), CommandFailure> {
        // One waiting message stands for all later ones.
        let (signal, signals) = bounded(1);
        let (sign, signs) = bounded(1);
        // The file may have changed since it was read.
        let _ = sign.try_send(());
        let watch = match self.config.admin.watch_file {
            WatchFile::On => FileWatch::new(&self.path, sign).map_err(|why| {
                log::say(format_args!("warning: admin.watch_file: the file cannot be watched, use SIGHUP: {why}"));
            }),
            WatchFile::Off => Err(()),
        };
        let (scope, heard) = bounded(SCOPES_MAX);
        let (list, lists) = bounded(1);
        let mut rows = Vec::new();
        let every = Duration::from_secs(self.config.discovery.every_s);
        if !every.is_zero() {
            let Scope { wanted, quoted } = self.config.scope().map_err(CommandFailure::Unavailable)?;
            let reader = ListingWatch::new(wanted, quoted, self.config.state_dir.clone(), every, clock.clone());
            let reader = reader.with(heard, list).into_directory(Arc::clone(directory), others.clone());
            rows.push(ThreadRow::left_behind(Box::new(reader)));
        }
        let reload = Reload::new(ReloadParts {
            path: self.path,
            plan: self.plan,
            running: self.config,
            directory: Arc::clone(directory),
            feeds: self.feeds,
            others,
            signals,
            signs: if watch.is_ok() { signs } else { never() },
            _watch: watch.ok(),
            orders: self.orders,
            lists,
            scope,
            switch: Arc::clone(switch),
            board: Arc::clone(board),
            clock: clock.clone(),
        });
        // It may have to wait for lists.
        rows.push(ThreadRow::left_behind(Box::new(reload)));
        Ok((rows, signal))
    }
}

/// The channel to a feed thread. Without reloading, its receiver never yields a message.
pub(crate) fn feed_channel(is_live: bool) -> (Sender<SetChange>, Receiver<SetChange>) {
    let (sender, receiver) = bounded(CHANGES_MAX);
    (sender, if is_live { receiver } else { never() })
}
