//! Builds the cluster's two threads around the parts that every gateway has.

use std::sync::Arc;

use crossbeam::sync::Parker;

use crate::cli::CommandFailure;
use crate::cluster::follow::{Follow, FollowParts};
use crate::cluster::history::History;
use crate::cluster::lead::{Lead, LeadParts};
use crate::cluster::legacy::{Legacy, LegacyParts};
use crate::cluster::publisher::{Publisher, PublisherParts};
use crate::cluster::signals::{LeaderProgress, Pulse, SnapshotRequests};
use crate::cluster::store::{Keys, Store};
use crate::cluster::{ClusterSettings, LegacyKeys};
use crate::config::Config;
use crate::detector::Subscriber;
use crate::handover::Handover;
use crate::log;
use crate::market::quote::{FeedEvent, Origin};
use crate::market::{Directory, VenueId};
use crate::matrix::SharedMatrix;
use crate::matrix::changes::Changes;
use crate::matrix::days::DayTable;
use crate::metrics::Board;
use crate::net::switch::Switch;
use crate::stage::Alarm;
use crate::time::Clock;
use crate::wiring::threads::ThreadRow;
use crate::wiring::{FEED_RING, SharedParts};

/// Capacity of the ring of messages from other instances to the lead thread.
const CONTROL_RING: usize = 1024;

/// The settings of the cluster, if one is configured. Gives this process a unique id, even if several have the same name.
pub fn settings(config: &Config) -> Option<ClusterSettings> {
    let cluster = config.cluster.clone();
    if cluster.redis.is_empty() {
        return None;
    }
    let hostname = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let called = if cluster.instance.is_empty() { &hostname } else { &cluster.instance };
    let id = format!("{called}_{}_{}", std::process::id(), Clock::System.unix().ms());
    Some(ClusterSettings { cluster, id, hostname })
}

/// Parts created before the detector, which writes to them and reads from them.
pub(crate) struct Prepared {
    settings: ClusterSettings,
    directory: Arc<Directory>,
    matrix: SharedMatrix,
    days: Arc<DayTable>,
    board: Arc<Board>,
    clock: Clock,
    changes: Arc<Changes>,
    ring: rtrb::Producer<FeedEvent>,
    alarm: Alarm,
    parker: Parker,
}

/// Gives the detector a ring to read and a port to notify, if there is a cluster.
///
/// # Errors
/// For errors that do not pass by themselves: a wrong password, a Redis that is too old. A Redis that is down is no
/// error.
pub(crate) fn prepare(
    parts: &mut SharedParts,
    rings: &mut Vec<rtrb::Consumer<FeedEvent>>,
) -> Result<Option<Prepared>, CommandFailure> {
    let Some(settings) = parts.cluster.clone() else { return Ok(None) };
    let checked = Store::new(&settings).map_err(wrong_address)?.check();
    match checked {
        Ok(()) => {}
        Err(why) if why.is_lasting() => return Err(CommandFailure::Unavailable(format!("cluster.redis: {why}"))),
        Err(why) => log::say(format_args!("warning: cluster.redis: {why}; starting without it")),
    }
    let changes = Arc::new(Changes::new(parts.directory.pairs()));
    let (alarm, parker) = Alarm::of_parker();
    parts.subscribers.push(Subscriber { changes: Arc::clone(&changes), opportunities: None, alarm: alarm.clone() });
    let (ring, events) = rtrb::RingBuffer::new(FEED_RING);
    rings.push(events);
    Ok(Some(Prepared {
        settings,
        directory: Arc::clone(&parts.directory),
        matrix: Arc::clone(&parts.matrix),
        days: Arc::clone(&parts.days),
        board: Arc::clone(&parts.board),
        clock: parts.clock.clone(),
        changes,
        ring,
        alarm,
        parker,
    }))
}

impl Prepared {
    /// The lead thread, which stops before all others and then hands over its venues, and the follower thread.
    ///
    /// # Errors
    /// If the address is invalid.
    pub fn rows(
        self,
        config: &Config,
        detector: &Alarm,
        switch: &Arc<Switch>,
        feeds: Vec<Alarm>,
    ) -> Result<(Vec<ThreadRow>, Vec<ThreadRow>), CommandFailure> {
        let Self { settings, directory, matrix, days, board, clock, changes, ring, alarm, parker } = self;
        let venues: Vec<VenueId> = (0..directory.venues().len()).map(|at| VenueId(at as u16)).collect();
        let wanted = Arc::new(SnapshotRequests::new(venues.len(), alarm.clone()));
        let (pulse, progress) = (Arc::new(Pulse::default()), Arc::new(LeaderProgress::new(directory.pairs())));
        let (control, messages) = rtrb::RingBuffer::new(CONTROL_RING);
        let instruments = directory.rows();
        let follow = Follow::new(FollowParts {
            directory: Arc::clone(&directory),
            handover: Handover::new(ring, detector.clone(), Arc::clone(&board), venues, instruments, Origin::Shared),
            days: Arc::clone(&days),
            board: Arc::clone(&board),
            wanted: Arc::clone(&wanted),
            pulse: Arc::clone(&pulse),
            progress: Arc::clone(&progress),
            control,
            lead: alarm.clone(),
            clock: clock.clone(),
            history: History::open(&settings).map_err(CommandFailure::Unavailable)?,
            settings: settings.clone(),
        })
        .map_err(wrong_address)?;
        let legacy = (settings.cluster.legacy_keys == LegacyKeys::On).then(|| {
            Legacy::new(LegacyParts {
                directory: Arc::clone(&directory),
                matrix: Arc::clone(&matrix),
                days: Arc::clone(&days),
                clock: clock.clone(),
                instance: settings.id.clone(),
                hostname: settings.hostname.clone(),
                order: config.price_order.clone(),
                quotes: config.quotes,
            })
        });
        let publisher = Publisher::new(PublisherParts {
            directory: Arc::clone(&directory),
            matrix: Arc::clone(&matrix),
            changes: Arc::clone(&changes),
            days,
            board: Arc::clone(&board),
            wanted,
            pulse: Arc::clone(&pulse),
            clock: clock.clone(),
            cluster: Keys::of(&settings.cluster).map_err(wrong_address)?.cluster(),
            instance: settings.id.clone(),
        });
        let lead = Lead::new(LeadParts {
            directory,
            publisher,
            legacy,
            changes,
            control: messages,
            pulse,
            progress,
            matrix,
            board,
            switch: Arc::clone(switch),
            feeds,
            alarm: (alarm, parker),
            clock,
            settings,
        })
        .map_err(wrong_address)?;
        Ok((vec![ThreadRow::cold(Box::new(lead))], vec![ThreadRow::left_behind(Box::new(follow))]))
    }
}

fn wrong_address(why: String) -> CommandFailure {
    CommandFailure::Unavailable(format!("cluster.redis: {why}"))
}
