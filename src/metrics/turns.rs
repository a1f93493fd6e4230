//! Turns of the stages: how long each takes, and by how much the sleep before it overran. A stopped process, a starved
//! core or a slow turn shows here even when no quotes arrive, because the hops of a quote start only at our own read.
//! Each thread owns its [`TurnMeter`]s and adds them to the shared board at an interval, between turns.

use std::sync::{Arc, Mutex, PoisonError};

use hdrhistogram::Histogram;

use crate::metrics::Counter;
use crate::metrics::latency::{PUBLISH_EVERY_NS, Summary, histogram, summary_of};
use crate::time::{MS, MonoNs};

/// A turn or a sleep overrun that is longer than this counts as a stall, in nanoseconds.
pub(crate) const STALL_NS: u64 = 100 * MS;

/// Measured spans of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Span {
    /// Duration of the turn without its sleep.
    Turn = 0,
    /// Time that the stage slept beyond the intended duration.
    Overrun = 1,
}

impl Span {
    /// All spans, in order.
    pub const ALL: [Self; 2] = [Self::Turn, Self::Overrun];

    /// Its name in metrics and in `/api/latency`.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Turn => "turn",
            Self::Overrun => "overrun",
        }
    }
}

/// The measured stages of all threads. Threads register at the start.
#[derive(Debug, Default)]
pub struct TurnBoard {
    stages: Mutex<Vec<Arc<StageTurns>>>,
}

/// Measurements of one stage.
#[derive(Debug)]
pub struct StageTurns {
    /// Name of the stage.
    pub stage: String,
    /// Name of its thread, which consists of the names of all its stages.
    pub thread: String,
    /// Turns and overruns longer than [`STALL_NS`].
    pub(crate) stalls: Counter,
    slots: [Mutex<Histogram<u64>>; Span::ALL.len()],
}

impl StageTurns {
    /// The histogram of `span`, since the start, in nanoseconds.
    #[must_use]
    pub fn summary(&self, span: Span) -> Summary {
        self.slots[span as usize].lock().map(|histogram| summary_of(&histogram)).unwrap_or_default()
    }
}

impl TurnBoard {
    /// Adds a stage. Its thread records into the returned meter.
    #[must_use]
    pub fn register(&self, stage: &str, thread: &str) -> TurnMeter {
        let shared = Arc::new(StageTurns {
            stage: stage.to_owned(),
            thread: thread.to_owned(),
            stalls: Counter::default(),
            slots: Span::ALL.map(|_| Mutex::new(histogram())),
        });
        self.stages.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&shared));
        TurnMeter { shared, mine: Span::ALL.map(|_| histogram()), published: MonoNs(0) }
    }

    /// The stages, in order of registration. Allocates.
    #[must_use]
    pub fn stages(&self) -> Vec<Arc<StageTurns>> {
        self.stages.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// One stage's histograms, on its thread.
#[derive(Debug)]
pub struct TurnMeter {
    shared: Arc<StageTurns>,
    mine: [Histogram<u64>; Span::ALL.len()],
    published: MonoNs,
}

impl TurnMeter {
    /// Records a span of `ns` nanoseconds.
    #[inline]
    pub fn record(&mut self, span: Span, ns: u64) {
        self.mine[span as usize].saturating_record(ns.max(1));
        if ns > STALL_NS {
            self.shared.stalls.add(1);
        }
    }

    /// Adds the recorded values to the board if the interval has passed. Called between turns. A histogram that is
    /// being read keeps its values until the next call.
    #[inline]
    pub fn publish(&mut self, now: MonoNs) {
        if now.since(self.published) < PUBLISH_EVERY_NS {
            return;
        }
        self.published = now;
        for (mine, shared) in self.mine.iter_mut().zip(&self.shared.slots) {
            if !mine.is_empty()
                && let Ok(mut shared) = shared.try_lock()
            {
                // All have the same bounds, so adding cannot fail.
                let _ = shared.add(&*mine);
                mine.reset();
            }
        }
    }
}
