//! Assigns stages to threads and cores, and decides how threads wait. The only place for these decisions.

use std::thread::JoinHandle;

use crate::cli::CommandFailure;
use crate::config::{Pin, Spin, ThreadOptions};
use crate::log;
use crate::metrics::Board;
use crate::stage::{self, Idle, Stage, Stages, Stop};
use crate::time::Clock;

/// The stages of one thread.
pub(crate) struct ThreadRow {
    stages: Vec<Box<dyn Stage>>,
    /// Whether it is on the data path, and may get its own core. Other threads always wait and are never pinned.
    hot: bool,
    /// Whether shutdown does not wait for this thread, because it may hang in a system call.
    left_behind: bool,
}

impl ThreadRow {
    /// A thread on the data path. Only the first stage may sleep.
    #[must_use]
    pub(crate) fn hot(stages: Vec<Box<dyn Stage>>) -> Self {
        Self { stages, hot: true, left_behind: false }
    }

    /// A thread off the data path.
    #[must_use]
    pub(crate) fn cold(stage: Box<dyn Stage>) -> Self {
        Self { stages: vec![stage], hot: false, left_behind: false }
    }

    /// A thread off the data path that may hang in a system call. Stopping does not wait for it.
    #[must_use]
    pub(crate) fn left_behind(stage: Box<dyn Stage>) -> Self {
        Self { left_behind: true, ..Self::cold(stage) }
    }

    fn name(&self) -> String {
        self.stages.iter().map(|stage| stage.name()).collect::<Vec<_>>().join("+")
    }
}

/// With fewer cores than this, feed, detector and gateway share one thread: waking another thread for a quote takes
/// longer than all the work on the quote.
const CORES_FOR_EACH: usize = 4;

/// Whether feed, detector and gateway get threads of their own.
#[must_use]
pub(crate) fn each_alone(threads: &ThreadOptions, gateways: usize) -> bool {
    threads.spin == Spin::On || threads.feeds > 1 || gateways > 1 || cores().len() >= CORES_FOR_EACH
}

/// Running threads, and the request to stop them.
pub struct Running {
    /// Requests their end.
    pub stop: Stop,
    handles: Vec<JoinHandle<()>>,
}

impl Running {
    /// Whether all threads whose end is awaited have ended.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.handles.iter().all(JoinHandle::is_finished)
    }
}

/// From now on, no caller waits for readers of the standard streams. The writing threads are not joined at the end.
///
/// # Errors
/// If the system cannot create a thread.
pub fn detach_log() -> Result<(), CommandFailure> {
    for writer in [&log::ERROR, &log::OUTPUT].into_iter().filter_map(|outlet| outlet.writer()) {
        stage::spawn(vec![Box::new(writer)], None, Idle::Doze, Stop::default())
            .map_err(|why| CommandFailure::Unavailable(format!("cannot create the log thread: {why}")))?;
    }
    Ok(())
}

/// Starts all threads and logs where the threads of the data path run. Their turns are measured on `board`, if one is
/// given.
///
/// # Errors
/// If the system cannot create a thread.
pub fn start(rows: Vec<ThreadRow>, threads: &ThreadOptions, board: Option<&Board>) -> Result<Running, CommandFailure> {
    let stop = Stop::default();
    let cores = cores();
    let hot = rows.iter().filter(|row| row.hot).count();
    // One core stays free for the rest of the machine.
    let plenty = cores.len() > hot;
    let idle = if threads.spin == Spin::On && plenty { Idle::Spin } else { Idle::Wait };
    let mut free = cores.iter().skip(1).copied();
    let mut said = Vec::new();
    let mut handles = Vec::new();
    for row in rows {
        let core = if row.hot && plenty && threads.pin == Pin::Auto { free.next() } else { None };
        let idle = match (row.hot, row.left_behind) {
            (true, _) => idle,
            (_, true) => Idle::Doze,
            _ => Idle::Wait,
        };
        let place = core.map_or_else(String::new, |core| format!(" on core {core}"));
        let way = if idle == Idle::Spin { " spinning" } else { "" };
        let (name, left_behind) = (row.name(), row.left_behind);
        if row.hot {
            said.push(format!("{name}{place}{way}"));
        }
        let handle = Stages::new(row.stages, board.map(|board| &board.turns), Clock::System)
            .and_then(|stages| stage::spawn_stages(stages, core, idle, stop.clone()))
            .map_err(|why| CommandFailure::Unavailable(format!("cannot create thread {name}: {why}")))?;
        if !left_behind {
            handles.push(handle);
        }
    }
    if !said.is_empty() {
        log::say(format_args!(
            "threads: {} ({} cores{})",
            said.join(", "),
            cores.len(),
            shortage(threads, plenty, hot)
        ));
    }
    Ok(Running { stop, handles })
}

fn shortage(threads: &ThreadOptions, plenty: bool, hot: usize) -> String {
    match (plenty, threads.spin, threads.pin) {
        (false, Spin::On, _) => format!(": too few to spin {hot} threads, so all wait and none is pinned"),
        (false, _, Pin::Auto) => format!(": too few to pin {hot} threads, so none is pinned"),
        _ => String::new(),
    }
}

/// The cores that this process may use.
fn cores() -> Vec<usize> {
    core_affinity::get_core_ids().unwrap_or_default().into_iter().map(|core| core.id).collect()
}
