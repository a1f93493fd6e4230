//! The poll of a gateway: sleeps until a socket, an alarm or a deadline needs it. Runs on the gateway's thread.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

use mio::{Events, Poll, Registry, Token, Waker};

use crate::stage::{Alarm, Sleep};
use crate::time::Clock;

/// Token of the listener.
pub(crate) const LISTENER: Token = Token(usize::MAX - 1);
/// Token of the alarm.
pub const WAKER: Token = Token(usize::MAX - 2);
/// Socket events taken in one turn.
const EVENTS_MAX: usize = 1024;

/// See the file's head.
pub(crate) struct Poller {
    poll: Poll,
    /// `None` while a turn handles them.
    events: Option<Events>,
    slept: Sleep,
    alarm: Alarm,
    /// The last poll returned as many events as fit; there may be more.
    is_full: bool,
}

impl Poller {
    /// A poll with an alarm.
    ///
    /// # Errors
    /// If the system provides no poll.
    pub fn new() -> io::Result<Self> {
        let poll = Poll::new()?;
        let alarm = Alarm::of_poll(Arc::new(Waker::new(poll.registry(), WAKER)?));
        let events = Some(Events::with_capacity(EVENTS_MAX));
        Ok(Self { poll, events, slept: Sleep::default(), alarm, is_full: false })
    }

    /// Where sockets are registered.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        self.poll.registry()
    }

    /// Wakes the poll.
    #[must_use]
    pub fn alarm(&self) -> &Alarm {
        &self.alarm
    }

    /// Whether more events wait than the last poll returned.
    #[must_use]
    pub(crate) fn is_full(&self) -> bool {
        self.is_full
    }

    /// The last sleep.
    #[must_use]
    pub fn slept(&self) -> Sleep {
        self.slept
    }

    /// Descriptor of the poll.
    #[must_use]
    pub(crate) fn fd(&self) -> RawFd {
        self.poll.as_raw_fd()
    }

    /// Sleeps for at most `timeout`, not at all if `has_work` after the alarm is set. Return the events with
    /// [`Self::restore`]; `None` until then.
    pub fn wait(&mut self, mut timeout: Duration, clock: &Clock, has_work: impl FnOnce() -> bool) -> Option<Events> {
        let mut events = self.events.take()?;
        if !timeout.is_zero() {
            self.alarm.set();
            if has_work() {
                timeout = Duration::ZERO;
            }
        }
        let from = clock.now();
        let is_interrupted = self.poll.poll(&mut events, Some(timeout)).is_err();
        if is_interrupted {
            // The next turn polls again.
            events.clear();
        }
        self.slept = Sleep::new(from, clock.now(), timeout, is_interrupted);
        self.alarm.clear();
        self.is_full = events.iter().count() == EVENTS_MAX;
        Some(events)
    }

    /// Returns the events of [`Self::wait`].
    pub(crate) fn restore(&mut self, events: Events) {
        self.events = Some(events);
    }

    /// Sleeps for at most `timeout` without looking at the events. `false` if the poll failed.
    pub fn pause(&mut self, timeout: Duration) -> bool {
        let Some(events) = &mut self.events else { return false };
        self.poll.poll(events, Some(timeout)).is_ok()
    }
}
