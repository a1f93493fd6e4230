//! A stage is work without a thread: [`Stage::turn`] does one bounded slice of it. This file turns
//! stages into threads, and is the only place that makes one.

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

/// Work in slices. Tests turn stages by hand; [`spawn`] turns them for ever.
pub trait Stage: Send {
    /// For thread names and messages.
    fn name(&self) -> &str;

    /// Does at most one bounded slice of work. May sleep up to `wait` for input when there is none.
    /// Returns how much it did; 0 means that nothing was there.
    fn turn(&mut self, wait: Duration) -> usize;

    /// The poll that this stage sleeps in, if it does, so that another stage of its thread can sleep for it.
    fn poll_fd(&self) -> Option<RawFd> {
        None
    }

    /// From now on its sleep also ends when `fd`, the poll of another stage of its thread, has something.
    ///
    /// # Errors
    /// When it cannot.
    fn wait_for(&mut self, _fd: RawFd) -> std::io::Result<()> {
        Err(std::io::ErrorKind::Unsupported.into())
    }

    /// How long it can do without a turn, if it minds: for a stage that shares a thread with one that sleeps.
    fn patience(&self) -> Option<Duration> {
        None
    }

    /// How it last slept, for a stage whose turns are measured; `None`: they are not, because it does not tell.
    fn slept(&self) -> Option<Sleep> {
        None
    }

    /// Called once after the last turn: say goodbye, flush. Must be quick.
    fn finish(&mut self) {}
}

/// One sleep of a stage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sleep {
    /// When it began.
    pub from: MonoNs,
    /// When the stage went on.
    pub to: MonoNs,
    /// The longest that it was meant to take, in nanoseconds.
    pub meant_ns: u64,
}

impl Sleep {
    /// From `from` to `to`, meant to take `meant` at most. A sleep that a signal ended counts as not meant at all: a
    /// stopped process is continued by a signal, and no other is usual.
    #[must_use]
    pub fn new(from: MonoNs, to: MonoNs, meant: Duration, is_interrupted: bool) -> Self {
        Self { from, to, meant_ns: if is_interrupted { 0 } else { meant.as_nanos() as u64 } }
    }

    /// By how much it took longer than it was meant to, in nanoseconds.
    #[must_use]
    pub const fn overrun_ns(&self) -> u64 {
        self.to.since(self.from).saturating_sub(self.meant_ns)
    }
}

impl Stage for log::Writer {
    fn name(&self) -> &str {
        "log"
    }

    fn turn(&mut self, wait: Duration) -> usize {
        log::Writer::turn(self, wait)
    }
}

/// How a thread waits when its stages have nothing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Idle {
    /// Sleep for input: idle CPU is near zero.
    Wait,
    /// Turn again at once: one core is used whole.
    Spin,
    /// Sleep long: for a thread whose end nobody waits for.
    Doze,
}

/// Told to every thread when the process should end.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Asks all threads to finish.
    pub fn request(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether somebody asked.
    #[must_use]
    pub fn is_requested(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// The longest that a waiting stage sleeps, so that a stop is noticed and deadlines are met.
pub const WAIT_MAX: Duration = Duration::from_millis(250);
/// The longest sleep of a thread that need not notice a stop.
const DOZE_MAX: Duration = Duration::from_secs(5);
/// A turn that did nothing is measured if it takes longer than this with its sleep, in nanoseconds.
const SHORT_NS: u64 = MS;

/// The stages of one thread. The first is the one that may sleep; the others follow each of its turns.
pub struct Stages {
    name: String,
    stages: Vec<Box<dyn Stage>>,
    /// By stage; `None` where turns are not measured.
    meters: Vec<Option<TurnMeter>>,
    clock: Clock,
    /// When the last turn ended.
    turned: MonoNs,
}

impl Stages {
    /// These stages, whose turns are measured on `board` where there is one and they tell how they sleep.
    ///
    /// # Errors
    /// When the first cannot sleep for the others.
    ///
    /// # Panics
    /// When `stages` is empty: our own mistake.
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

    /// One turn of each stage; the first may sleep up to `longest`. Returns how much they did.
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

/// Records one turn. One that did nothing and did not last is left out: a spinning stage would record nothing else.
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

/// Runs `stages` in turn on a thread of their own until `stop`, pinned to `core` if one is given. Their turns are not
/// measured.
///
/// # Errors
/// When the system cannot make a thread.
///
/// # Panics
/// When `stages` is empty: our own mistake.
pub fn spawn(
    stages: Vec<Box<dyn Stage>>,
    core: Option<usize>,
    idle: Idle,
    stop: Stop,
) -> std::io::Result<JoinHandle<()>> {
    spawn_stages(Stages::new(stages, None, Clock::System)?, core, idle, stop)
}

/// The same for stages that may be measured.
///
/// # Errors
/// When the system cannot make a thread.
pub fn spawn_stages(
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

/// A panic in any thread ends the process: a half-alive gateway is worse than none. Exit code 70.
pub fn stop_process_on_panic() {
    // The standard library's own report would wait for a reader of the log.
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

/// How others wake a stage that sleeps. Ringing costs a system call only when the stage said that it
/// is going to sleep.
#[derive(Clone)]
pub struct Alarm {
    asleep: Arc<AtomicBool>,
    /// Rings whether the stage sleeps or not.
    always: bool,
    bell: Bell,
}

#[derive(Clone)]
enum Bell {
    Park(Unparker),
    Poll(Arc<mio::Waker>),
}

impl Alarm {
    /// For a stage that sleeps in `poll`.
    #[must_use]
    pub fn of_poll(waker: Arc<mio::Waker>) -> Self {
        Self { asleep: Arc::default(), always: false, bell: Bell::Poll(waker) }
    }

    /// For a stage that sleeps in the returned parker.
    #[must_use]
    pub fn of_parker() -> (Self, Parker) {
        let parker = Parker::new();
        (Self { asleep: Arc::default(), always: false, bell: Bell::Park(parker.unparker().clone()) }, parker)
    }

    /// The same, ringing each time: for whoever has work for another stage of the thread, which the one that sleeps
    /// does not look for before it does. A ring before the sleep ends the sleep at once.
    #[must_use]
    pub fn always(&self) -> Self {
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
                // A closed poll means that its stage is gone; nobody is left to wake.
                Bell::Poll(waker) => drop(waker.wake()),
            }
        }
    }

    /// The stage is going to sleep: from now on a ring is a real one. Look once more for work after this.
    pub fn set(&self) {
        self.asleep.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// The stage is awake.
    pub fn clear(&self) {
        self.asleep.store(false, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::{HandClock, SECOND, UnixNs};
    use std::sync::atomic::AtomicU64;

    /// Each turn works for the first and then sleeps for the second of these, in nanoseconds, which was meant to be 10 ms.
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
        assert!(!sleep(), "whoever looks before it sleeps needs no ring");
        alarm.always().ring();
        assert!(sleep());
    }

    #[test]
    fn f62_no_ring_is_lost_between_looking_and_sleeping() {
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
        // Would hang for good if a ring were lost.
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
