//! `spreadwire top`: a gateway in a terminal. Polls the pages of a running gateway once a second and shows venues,
//! opportunities, prices, latency and clients. Starts no stage of the gateway and needs no mouse.
//!
//! ```text
//! pages - poller (a thread) - Sample -> state <- keys ; state -> views: tables -> screen, or text
//! ```

mod keys;
pub mod pages;
pub(crate) mod poller;
pub mod screen;
pub mod state;
pub mod table;
pub(crate) mod views;

use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::time::Duration;

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event};
use ratatui::crossterm::terminal::disable_raw_mode;
use rustix::event::{PollFd, PollFlags, Timespec};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::cli::CommandFailure;
use crate::net::page::PageClient;
use crate::stage::{self, Idle, Stage, Stop};
use crate::time::Clock;
use pages::Sample;
use poller::PagePoller;
use state::{Act, Display, DisplayView};

/// Longest wait for a key before new samples are taken; short enough not to be noticed.
const KEY_WAIT: Duration = Duration::from_millis(100);

/// Time between the two samples of a snapshot. Rates are computed from their difference.
const RATE_OVER: Duration = Duration::from_secs(1);

/// A snapshot of the gateway at `url`, as text or JSON.
///
/// # Errors
/// If it cannot be reached, or is not spreadwire.
pub fn snapshot(url: &str, as_json: bool) -> Result<String, CommandFailure> {
    let pages = PageClient::new(url);
    if as_json {
        return poller::json(&pages).map(|json| json + "\n").map_err(CommandFailure::Unavailable);
    }
    let mut state = Display::new(url);
    for pause in [RATE_OVER, Duration::ZERO] {
        let sample = poller::poll(&pages, None).map_err(CommandFailure::Unavailable)?;
        state.take(Ok(sample), Clock::System.now());
        std::thread::sleep(pause);
    }
    Ok(views::text(&state, Clock::System.now()))
}

/// Shows the gateway on the whole terminal until `q`.
///
/// # Errors
/// If there is no terminal.
pub fn run(url: &str, colours: bool) -> Result<(), CommandFailure> {
    if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        return Err(CommandFailure::Unavailable("not a terminal; --once prints a snapshot".to_owned()));
    }
    let (want, wanted) = mpsc::sync_channel(WAITING_MAX);
    let (tell, seen) = mpsc::sync_channel(WAITING_MAX);
    let unavailable = |why: io::Error| CommandFailure::Unavailable(format!("the terminal: {why}"));
    let stop = Stop::default();
    let poller = PagePoller::new(PageClient::new(url), wanted, tell);
    // The thread is not joined, since it may be waiting for a page.
    stage::spawn(vec![Box::new(poller)], None, Idle::Wait, stop.clone())
        .map_err(|why| CommandFailure::Unavailable(format!("cannot create a thread: {why}")))?;
    // Set up before the terminal is changed, so that a signal that ends the program also restores the terminal.
    let ended = Arc::new(AtomicBool::new(false));
    let signals = Signals::new([SIGHUP, SIGINT, SIGQUIT, SIGTERM]).map_err(unavailable)?;
    let watch = SignalWatch { signals, ended: Arc::clone(&ended), turns: 0 };
    stage::spawn(vec![Box::new(watch)], None, Idle::Wait, stop.clone())
        .map_err(|why| CommandFailure::Unavailable(format!("cannot create a thread: {why}")))?;
    let mut terminal = ratatui::try_init().map_err(unavailable)?;
    let shown = show(&mut terminal, Display::new(url), (&want, &seen), &ended, colours);
    ratatui::restore();
    stop.request();
    shown.map_err(unavailable)
}

/// Ends the program on a signal, or when its terminal is gone. Runs on its own thread: the main thread may be waiting
/// for the terminal, and crossterm reads a closed terminal forever.
struct SignalWatch {
    signals: Signals,
    ended: Arc<AtomicBool>,
    /// Turns since the program should have ended.
    turns: u32,
}

/// Requests to the poller, and samples from it, that may wait.
const WAITING_MAX: usize = 16;
/// How long the program may take to end by itself, in multiples of [`KEY_WAIT`].
const END_TURNS_MAX: u32 = 5;

impl Stage for SignalWatch {
    fn name(&self) -> &str {
        "signals"
    }

    fn turn(&mut self, _: Duration) -> usize {
        std::thread::sleep(KEY_WAIT);
        if self.signals.pending().count() > 0 || is_gone() {
            self.ended.store(true, Ordering::Relaxed);
        }
        if self.ended.load(Ordering::Relaxed) {
            self.turns += 1;
        }
        if self.turns > END_TURNS_MAX {
            give_back();
            std::process::exit(0);
        }
        0
    }
}

/// Whether the other end of the terminal is closed.
fn is_gone() -> bool {
    let input = io::stdin();
    let mut polled = [PollFd::new(&input, PollFlags::empty())];
    let now = Timespec::default();
    rustix::event::poll(&mut polled, Some(&now)).is_ok() && !polled[0].revents().is_empty()
}

/// Restores the terminal without waiting for it or for the thread that draws.
fn give_back() {
    let _ = disable_raw_mode();
    let output = rustix::stdio::stdout();
    let mut polled = [PollFd::new(&output, PollFlags::OUT)];
    let now = Timespec::default();
    if rustix::event::poll(&mut polled, Some(&now)).is_ok() && polled[0].revents().contains(PollFlags::OUT) {
        // Leaves the alternate screen, shows the cursor.
        let _ = rustix::io::write(output, b"\x1b[?1049l\x1b[?25h");
    }
}

fn show(
    terminal: &mut DefaultTerminal,
    mut state: Display,
    (want, seen): (&SyncSender<Option<String>>, &Receiver<Result<Sample, String>>),
    ended: &AtomicBool,
    colours: bool,
) -> io::Result<()> {
    let mut asked = None;
    while !ended.load(Ordering::Relaxed) {
        for sample in seen.try_iter() {
            state.take(sample, Clock::System.now());
        }
        terminal.draw(|frame| screen::draw(frame, &state, Clock::System.now(), colours))?;
        let symbol = if state.view == DisplayView::Prices { state.symbol().map(str::to_owned) } else { None };
        if symbol != asked {
            // Fails while earlier requests wait for a slow page; the next turn tries again.
            if want.try_send(symbol.clone()).is_ok() {
                asked = symbol;
            }
        }
        if event::poll(KEY_WAIT)?
            && let Event::Key(key) = event::read()?
            && state.press(key) == Some(Act::Quit)
        {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
