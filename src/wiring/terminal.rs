//! Output for people in the terminal: the addresses, and one live line. On the standard output; log lines of the stages
//! go to the standard error.

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::log;
use crate::market::Directory;
use crate::metrics::latency::{Hop, Summary};
use crate::metrics::{Board, LinkState};
use crate::stage::Stage;
use crate::time::{Clock, MonoNs, SECOND};

/// Prints what is served, and where. `source` is empty if it depends on the venues whether prices are real.
pub(crate) fn greet(address: SocketAddr, source: &str, directory: &Directory) {
    let blank = if source.is_empty() { "" } else { " " };
    let venues = directory.venues().iter().map(|v| v.name.as_str()).collect::<Vec<_>>().join(", ");
    let symbol = directory.instruments().get(0).map_or("BTC/USDT", String::as_str);
    let text = format!(
        "spreadwire serves {source}{blank}prices of {} instruments on {venues}\n\
         \x20 page        http://{address}/\n\
         \x20 WebSocket   ws://{address}/ws/prices\n\
         \x20 SSE         http://{address}/api/market-data/stream?pairs={symbol}\n\
         \x20 health      http://{address}/api/market-data/health\n\
         \x20 latency     http://{address}/api/latency\n\
         Ctrl-C stops.",
        directory.instruments().len(),
    );
    say(&text);
}

/// Writes a line to the standard output. It is lost if there is no reader.
pub fn say(text: &str) {
    log::OUTPUT.write(format!("{text}\n"));
}

/// Update interval of the line on a terminal.
const RENEW_NS: u64 = SECOND;
/// Interval of lines elsewhere.
const REPEAT_NS: u64 = 10 * SECOND;

/// Quotes per second, open opportunities and latency, renewed in place.
pub(crate) struct LiveLine {
    board: Arc<Board>,
    shown: MonoNs,
    quotes: u64,
    in_place: bool,
}

impl LiveLine {
    /// A line that has not been shown yet.
    #[must_use]
    pub fn new(board: Arc<Board>) -> Self {
        Self { board, shown: Clock::System.now(), quotes: 0, in_place: std::io::stdout().is_terminal() }
    }

    fn show(&mut self) {
        let now = Clock::System.now();
        let passed_ns = now.since(std::mem::replace(&mut self.shown, now));
        let quotes = self.board.venues.iter().map(|v| v.quotes.decoded.value()).sum::<u64>();
        let rate = quotes.saturating_sub(self.quotes) as f64 / (passed_ns as f64 / 1e9);
        self.quotes = quotes;
        let connected = self.board.venues.iter().filter(|v| v.connection.state() == LinkState::Connected).count();
        let line = format!(
            "venues {connected}/{}   {rate:.0} quotes/s   {} open opportunities, {} alerts   wire to alert {}",
            self.board.venues.len(),
            self.board.detector.open.value(),
            self.board.detector.alerts.value(),
            latency(&self.board.latency.summary_of_all(Hop::WireToAlert)),
        );
        if self.in_place {
            log::OUTPUT.write(format!("\r\x1b[2K{line}"));
        } else {
            say(&line);
        }
    }
}

impl Stage for LiveLine {
    fn name(&self) -> &str {
        "terminal"
    }

    fn turn(&mut self, wait: Duration) -> usize {
        std::thread::sleep(wait);
        let every_ns = if self.in_place { RENEW_NS } else { REPEAT_NS };
        if Clock::System.now().since(self.shown) >= every_ns {
            self.show();
        }
        0
    }

    fn finish(&mut self) {
        if self.in_place {
            say("");
        }
    }
}

fn latency(summary: &Summary) -> String {
    if summary.count == 0 {
        return "not yet measured".to_owned();
    }
    format!("p50 {} p99 {}", duration(summary.p50), duration(summary.p99))
}

fn duration(ns: u64) -> String {
    match ns {
        0..1_000 => format!("{ns} ns"),
        1_000..1_000_000 => format!("{:.1} us", ns as f64 / 1e3),
        _ => format!("{:.2} ms", ns as f64 / 1e6),
    }
}
