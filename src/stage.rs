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

    /// Called once after the last turn: say goodbye, flush. Must be quick.
    fn finish(&mut self) {}
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

/// Runs `stages` in turn on a thread of their own until `stop`, pinned to `core` if one is given. The
/// first stage is the one that may sleep; the others follow each of its turns.
///
/// # Errors
/// When the system cannot make a thread.
///
/// # Panics
/// When `stages` is empty: our own mistake.
pub fn spawn(
    mut stages: Vec<Box<dyn Stage>>,
    core: Option<usize>,
    idle: Idle,
    stop: Stop,
) -> std::io::Result<JoinHandle<()>> {
    let name = stages.iter().map(|stage| stage.name()).collect::<Vec<_>>().join("+");
    assert!(!stages.is_empty(), "a thread needs a stage");
    let (sleeper, others) = stages.split_at_mut(1);
    others.iter().filter_map(|stage| stage.poll_fd()).try_for_each(|fd| sleeper[0].wait_for(fd))?;
    std::thread::Builder::new().name(name).spawn(move || {
        if let Some(id) = core {
            core_affinity::set_for_current(core_affinity::CoreId { id });
        }
        let longest = match idle {
            Idle::Wait => WAIT_MAX,
            Idle::Spin => Duration::ZERO,
            Idle::Doze => DOZE_MAX,
        };
        while !stop.is_requested() {
            let wait = stages[1..].iter().filter_map(|stage| stage.patience()).fold(longest, Duration::min);
            let first = stages[0].turn(wait);
            let others = stages[1..].iter_mut().map(|stage| stage.turn(Duration::ZERO)).sum::<usize>();
            if first + others == 0 && idle == Idle::Spin {
                std::hint::spin_loop();
            }
        }
        stages.iter_mut().for_each(|stage| stage.finish());
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
    use std::sync::atomic::AtomicU64;

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
