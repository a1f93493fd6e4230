//! A stage is work without a thread: [`Stage::turn`] does one bounded slice of it. This file runs stages on threads,
//! and is the only place that creates threads.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::os::fd::RawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam::sync::{Parker, Unparker};

use crate::log;
use crate::metrics::turns::{Span, TurnBoard, TurnMeter};
use crate::time::{Clock, MS, MonoNs};

/// Work in slices. Tests run single turns; [`spawn`] runs turns in a loop.
pub trait Stage: Send {
    /// Name of the stage, for threads and messages.
    fn name(&self) -> &str;

    /// Does at most one bounded slice of work. May sleep up to `wait` for input if there is no work. Returns the amount
    /// of work done; 0 if there was none.
    fn turn(&mut self, wait: Duration) -> usize;

    /// The poll in which this stage sleeps, if any, so that another stage of its thread can sleep for it.
    fn poll_fd(&self) -> Option<RawFd> {
        None
    }

    /// Makes the sleep of this stage also end when `fd`, the poll of another stage of its thread, has an event.
    ///
    /// # Errors
    /// If the stage does not support this.
    fn wait_for(&mut self, _fd: RawFd) -> std::io::Result<()> {
        Err(std::io::ErrorKind::Unsupported.into())
    }

    /// The longest time that the stage may go without a turn, if limited. Used when it shares a thread with a stage
    /// that sleeps.
    fn patience(&self) -> Option<Duration> {
        None
    }

    /// The last sleep, for a stage whose turns are measured. `None`: the stage does not report its sleep, so its turns
    /// are not measured.
    fn slept(&self) -> Option<Sleep> {
        None
    }

    /// Called once after the last turn, to close connections and flush. Must be quick.
    fn finish(&mut self) {}
}

/// One sleep of a stage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sleep {
    /// When it began.
    pub from: MonoNs,
    /// When it ended.
    pub to: MonoNs,
    /// The longest intended duration, in nanoseconds.
    pub(crate) meant_ns: u64,
}

impl Sleep {
    /// A sleep from `from` to `to`, intended to take at most `meant`. If a signal ended it, all of it counts as
    /// overrun: a stopped process is continued by a signal, and other signals are not usual.
    #[must_use]
    pub fn new(from: MonoNs, to: MonoNs, meant: Duration, is_interrupted: bool) -> Self {
        Self { from, to, meant_ns: if is_interrupted { 0 } else { meant.as_nanos() as u64 } }
    }

    /// How much longer than intended it took, in nanoseconds.
    #[must_use]
    pub(crate) const fn overrun_ns(&self) -> u64 {
        self.to.since(self.from).saturating_sub(self.meant_ns)
    }
}

impl Stage for log::LogWriter {
    fn name(&self) -> &str {
        "log"
    }

    fn turn(&mut self, wait: Duration) -> usize {
        log::LogWriter::turn(self, wait)
    }
}

/// How a thread waits when its stages have nothing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Idle {
    /// Sleep until there is input: idle CPU is near zero.
    Wait,
    /// Start the next turn immediately: uses a whole core.
    Spin,
    /// Sleep longer: for a thread whose end is not awaited.
    Doze,
}

/// Requests that all threads end.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Asks all threads to finish.
    pub fn request(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether the end was requested.
    #[must_use]
    pub(crate) fn is_requested(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// The longest sleep of a waiting stage, so that it notices a stop and meets deadlines.
pub(crate) const WAIT_MAX: Duration = Duration::from_millis(250);
/// The longest sleep of a thread that need not notice a stop.
const DOZE_MAX: Duration = Duration::from_secs(5);
/// A turn without work is measured only if it takes longer than this, including its sleep, in nanoseconds.
const SHORT_NS: u64 = MS;

/// The stages of one thread. Only the first may sleep; the others run after each of its turns.
pub struct Stages {
    name: String,
    stages: Vec<Box<dyn Stage>>,
    /// By stage; `None` if its turns are not measured.
    meters: Vec<Option<TurnMeter>>,
    clock: Clock,
    /// When the last turn ended.
    turned: MonoNs,
}

impl Stages {
    /// Combines `stages`. If there is a `board`, it receives the turns of the stages that report their sleep.
    ///
    /// # Errors
    /// If the first stage cannot sleep for the others.
    ///
    /// # Panics
    /// If `stages` is empty, which is our own mistake.
    pub fn new(mut stages: Vec<Box<dyn Stage>>, board: Option<&TurnBoard>, clock: Clock) -> std::io::Result<Self> {
        let name = stages.iter().map(|stage| stage.name()).collect::<Vec<_>>().join("+");
        assert!(!stages.is_empty(), "a thread needs a stage");
        let (sleeper, others) = stages.split_at_mut(1);
        others.iter().filter_map(|stage| stage.poll_fd()).try_for_each(|fd| sleeper[0].wait_for(fd))?;
        let meters = stages
            .iter()
            .map(|stage| {
                stage.slept()?;
                Some(board?.register(stage.name(), &name))
            })
            .collect();
        Ok(Self { turned: clock.now(), name, stages, meters, clock })
    }

    /// Runs one turn of each stage; the first may sleep up to `longest`. Returns the amount of work done.
    pub fn turn(&mut self, longest: Duration) -> usize {
        let mut wait = self.stages[1..].iter().filter_map(|stage| stage.patience()).fold(longest, Duration::min);
        let mut work = 0;
        for (stage, meter) in self.stages.iter_mut().zip(&mut self.meters) {
            let done = stage.turn(std::mem::take(&mut wait));
            work += done;
            let begun = std::mem::replace(&mut self.turned, self.clock.now());
            if let Some(meter) = meter {
                measure(meter, stage.slept().filter(|sleep| sleep.from >= begun), begun, self.turned, done);
            }
        }
        work
    }

    fn finish(&mut self) {
        self.stages.iter_mut().for_each(|stage| stage.finish());
    }
}

/// Records one turn. Short turns without work are left out: a spinning stage would record nothing else.
fn measure(meter: &mut TurnMeter, sleep: Option<Sleep>, begun: MonoNs, ended: MonoNs, work: usize) {
    let slept_ns = sleep.map_or(0, |sleep| sleep.to.since(sleep.from));
    let turn_ns = ended.since(begun).saturating_sub(slept_ns);
    if work > 0 || turn_ns + slept_ns > SHORT_NS {
        meter.record(Span::Turn, turn_ns);
        if let Some(sleep) = sleep {
            meter.record(Span::Overrun, sleep.overrun_ns());
        }
    }
    meter.publish(ended);
}

/// Runs `stages` on a new thread until `stop`, pinned to `core` if one is given. Their turns are not measured.
///
/// # Errors
/// If the system cannot create a thread.
///
/// # Panics
/// If `stages` is empty, which is our own mistake.
pub fn spawn(
    stages: Vec<Box<dyn Stage>>,
    core: Option<usize>,
    idle: Idle,
    stop: Stop,
) -> std::io::Result<JoinHandle<()>> {
    spawn_stages(Stages::new(stages, None, Clock::System)?, core, idle, stop)
}

/// The same for combined stages, which may be measured.
///
/// # Errors
/// If the system cannot create a thread.
pub(crate) fn spawn_stages(
    mut stages: Stages,
    core: Option<usize>,
    idle: Idle,
    stop: Stop,
) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(stages.name.clone()).spawn(move || {
        if let Some(id) = core {
            core_affinity::set_for_current(core_affinity::CoreId { id });
        }
        let longest = match idle {
            Idle::Wait => WAIT_MAX,
            Idle::Spin => Duration::ZERO,
            Idle::Doze => DOZE_MAX,
        };
        while !stop.is_requested() {
            if stages.turn(longest) == 0 && idle == Idle::Spin {
                std::hint::spin_loop();
            }
        }
        stages.finish();
    })
}

/// Makes a panic in any thread end the process with exit code 70: a partly working gateway is worse than none.
pub fn stop_process_on_panic() {
    // The report of the standard library would block on a log that is not read.
    std::panic::set_hook(Box::new(|info| {
        let thread = std::thread::current();
        let name = thread.name().unwrap_or("?");
        log::say(format_args!("thread `{name}`: {info}"));
        let trace = Backtrace::capture();
        if trace.status() == BacktraceStatus::Captured {
            log::say(format_args!("{trace}"));
        }
        log::say(format_args!("spreadwire: thread `{name}` panicked; stopping the process"));
        log::flush();
        std::process::exit(70);
    }));
}

/// Wakes a stage that sleeps, from another thread. Ringing costs a system call only if the stage has announced that it
/// is going to sleep.
#[derive(Clone)]
pub struct Alarm {
    asleep: Arc<AtomicBool>,
    /// Whether each ring is delivered, even if the stage is awake.
    always: bool,
    bell: Bell,
}

#[derive(Clone)]
enum Bell {
    Park(Unparker),
    Poll(Arc<mio::Waker>),
}

impl Alarm {
    /// An alarm for a stage that sleeps in a poll.
    #[must_use]
    pub(crate) fn of_poll(waker: Arc<mio::Waker>) -> Self {
        Self { asleep: Arc::default(), always: false, bell: Bell::Poll(waker) }
    }

    /// An alarm for a stage that sleeps in the returned parker.
    #[must_use]
    pub fn of_parker() -> (Self, Parker) {
        let parker = Parker::new();
        (Self { asleep: Arc::default(), always: false, bell: Bell::Park(parker.unparker().clone()) }, parker)
    }

    /// The same alarm, but each ring is delivered. For producers whose work is for another stage of the thread, which
    /// the sleeping stage does not check before it sleeps. A ring before the sleep ends the sleep immediately.
    #[must_use]
    pub(crate) fn always(&self) -> Self {
        Self { always: true, ..self.clone() }
    }

    /// Wakes the stage if it sleeps. Call after the work is visible to it.
    #[inline]
    pub fn ring(&self) {
        fence(Ordering::SeqCst);
        let is_asleep = self.asleep.load(Ordering::Relaxed) && self.asleep.swap(false, Ordering::AcqRel);
        if is_asleep || self.always {
            match &self.bell {
                Bell::Park(unparker) => unparker.unpark(),
                // If the poll is closed, its stage has ended and need not be woken.
                Bell::Poll(waker) => drop(waker.wake()),
            }
        }
    }

    /// Announces that the stage is going to sleep, so that a ring wakes it. The stage must check for work once more
    /// after this call.
    pub fn set(&self) {
        self.asleep.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// Announces that the stage is awake.
    pub fn clear(&self) {
        self.asleep.store(false, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::{HandClock, SECOND, UnixNs};
    use std::sync::atomic::AtomicU64;

    /// Each turn works for the first of these times, then sleeps for the second, in nanoseconds. The intended sleep is
    /// 10 ms.
    struct Script {
        name: &'static str,
        hand: HandClock,
        turns: std::vec::IntoIter<(u64, u64)>,
        slept: Sleep,
    }

    impl Stage for Script {
        fn name(&self) -> &str {
            self.name
        }

        fn turn(&mut self, wait: Duration) -> usize {
            let (work, sleep) = self.turns.next().unwrap();
            self.hand.advance(work);
            if !wait.is_zero() {
                let from = self.hand.clock().now();
                self.hand.advance(sleep);
                self.slept = Sleep::new(from, self.hand.clock().now(), Duration::from_millis(10), false);
            }
            1
        }

        fn slept(&self) -> Option<Sleep> {
            Some(self.slept)
        }
    }

    #[test]
    fn a_stalled_turn_and_an_overrun_sleep_are_seen_at_their_stage() {
        let hand = HandClock::new(MonoNs(SECOND), UnixNs::from_ms(1_000_000));
        let script = |name, turns: Vec<(u64, u64)>| -> Box<dyn Stage> {
            Box::new(Script { name, hand: hand.clone(), turns: turns.into_iter(), slept: Sleep::default() })
        };
        let sleeper = script("feed", vec![(MS, 10 * MS), (MS, 210 * MS), (MS, 5 * MS), (MS, SECOND)]);
        let other = script("detector", vec![(MS, 0), (MS, 0), (200 * MS, 0), (MS, 0)]);
        let board = TurnBoard::default();
        let mut stages = Stages::new(vec![sleeper, other], Some(&board), hand.clock()).unwrap();
        (0..4).for_each(|_| assert_eq!(stages.turn(WAIT_MAX), 2));
        let [feed, detector] = &board.stages()[..] else { panic!("two stages are measured") };
        assert_eq!((&*feed.stage, &*feed.thread), ("feed", "feed+detector"));
        let turn = feed.summary(Span::Turn);
        assert_eq!((turn.count, turn.p50 / MS, turn.max / MS), (4, 1, 1));
        let overrun = feed.summary(Span::Overrun);
        assert!(overrun.count == 4 && overrun.p50 == 1, "{overrun:?}");
        assert!((985..=1000).contains(&(overrun.max / MS)), "{overrun:?}");
        assert_eq!(feed.stalls.value(), 2);
        let turn = detector.summary(Span::Turn);
        assert!(turn.count == 4 && (198..=202).contains(&(turn.max / MS)), "{turn:?}");
        assert_eq!((detector.summary(Span::Overrun).count, detector.stalls.value()), (0, 1));
    }

    #[test]
    fn a_sleep_that_a_signal_ended_is_an_overrun_whole() {
        let sleep = |meant_ms, is_interrupted| {
            Sleep::new(MonoNs(0), MonoNs(200 * MS), Duration::from_millis(meant_ms), is_interrupted).overrun_ns() / MS
        };
        assert_eq!((sleep(250, false), sleep(50, false), sleep(250, true)), (0, 150, 200));
    }

    #[test]
    fn a_ring_before_the_sleep_ends_it() {
        let mut poll = mio::Poll::new().unwrap();
        let alarm = Alarm::of_poll(Arc::new(mio::Waker::new(poll.registry(), mio::Token(0)).unwrap()));
        let mut events = mio::Events::with_capacity(4);
        let mut sleep = || {
            poll.poll(&mut events, Some(Duration::from_millis(20))).unwrap();
            !events.is_empty()
        };
        alarm.ring();
        assert!(!sleep(), "a stage that is awake needs no ring");
        alarm.always().ring();
        assert!(sleep());
    }

    #[test]
    fn no_ring_is_lost_between_looking_and_sleeping() {
        let (alarm, parker) = Alarm::of_parker();
        let work = Arc::new(AtomicU64::new(0));
        let producer = {
            let (alarm, work) = (alarm.clone(), Arc::clone(&work));
            std::thread::spawn(move || {
                for n in 1..=20_000 {
                    work.store(n, Ordering::Release);
                    alarm.ring();
                }
            })
        };
        // This would hang if a ring were lost.
        while work.load(Ordering::Acquire) < 20_000 {
            alarm.set();
            if work.load(Ordering::Acquire) < 20_000 {
                parker.park();
            }
            alarm.clear();
        }
        producer.join().unwrap();
    }
}
