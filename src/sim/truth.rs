//! The truth: the simulator's record of what the venues' books really were, with which alerts can be compared. In: each
//! top of book when it may have changed. Out: one record per change of the top, of the trading state, or of the faults
//! in effect, to a sink: memory, or a file of JSON Lines. Runs on the simulator's thread. Never blocks on a reader; a
//! file that cannot be written ends the record.

use std::io::{self, BufWriter, Write};

use crate::log;
use crate::market::Level;
use crate::sim::distortion;
use crate::sim::prices::{CellId, SimPrices};
use crate::sim::scenario::Trouble;
use crate::time::UnixNs;

/// A top of book as the venue really has it, regardless of what its frames say and when they arrive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrueTop {
    /// When it changed, on this machine's clock.
    pub time: UnixNs,
    /// The instrument and venue.
    pub cell: CellId,
    /// Best bid since then.
    pub bid: Level,
    /// Best ask since then.
    pub ask: Level,
    /// Whether the instrument is traded.
    pub is_trading: bool,
    /// The words of the faults in effect for this instrument on this venue.
    pub faults: Vec<&'static str>,
}

/// Receives the record.
pub trait TruthSink: Send {
    /// A top changed. `venue` is the name of its venue, `symbol` is `BASE/QUOTE`.
    fn record(&mut self, top: &TrueTop, venue: &str, symbol: &str);

    /// Makes what was recorded so far readable.
    fn flush(&mut self) {}
}

/// The last record of each top, and the sink.
pub struct Truth {
    sink: Box<dyn TruthSink>,
    last: Vec<Option<TrueTop>>,
}

impl Truth {
    /// Nothing recorded yet.
    #[must_use]
    pub fn new(sink: Box<dyn TruthSink>) -> Self {
        Self { sink, last: Vec::new() }
    }

    /// Records the top of `cell` at `time` if anything about it changed. `trouble`: the faults of its `venue`.
    pub fn see(&mut self, cell: CellId, prices: &SimPrices, trouble: &Trouble, venue: &str, time: UnixNs) {
        let (_, quote) = prices.quote(cell);
        let (bid, ask) = distortion::book(quote, trouble);
        let is_trading = !distortion::is_halted(trouble, &quote.native);
        let at = cell.0 as usize;
        if self.last.len() <= at {
            self.last.resize(at + 1, None);
        }
        let is_same = |last: &TrueTop| {
            (last.bid, last.ask, last.is_trading) == (bid, ask, is_trading)
                && last.faults.iter().copied().eq(trouble.words(&quote.native))
        };
        if self.last[at].as_ref().is_some_and(is_same) {
            return;
        }
        let faults = trouble.words(&quote.native).collect();
        let top = TrueTop { time, cell, bid, ask, is_trading, faults };
        self.sink.record(&top, venue, prices.symbol(cell));
        self.last[at] = Some(top);
    }

    /// See [`TruthSink::flush`].
    pub fn flush(&mut self) {
        self.sink.flush();
    }
}

/// A file of JSON Lines.
pub(crate) struct TruthFile<W: Write + Send> {
    out: BufWriter<W>,
    /// Whether writing failed; nothing is written after that.
    is_over: bool,
}

/// Size of the write buffer in bytes.
const BUFFER: usize = 64 * 1024;

impl<W: Write + Send> TruthFile<W> {
    /// Writes to `out`.
    pub fn new(out: W) -> Self {
        Self { out: BufWriter::with_capacity(BUFFER, out), is_over: false }
    }

    fn check(&mut self, written: io::Result<()>) {
        if let (false, Err(why)) = (self.is_over, written) {
            self.is_over = true;
            log::say(format_args!("the record of the truth ends here: {why}"));
        }
    }
}

impl<W: Write + Send> TruthSink for TruthFile<W> {
    fn record(&mut self, top: &TrueTop, venue: &str, symbol: &str) {
        if self.is_over {
            return;
        }
        let TrueTop { time, bid, ask, is_trading, faults, .. } = top;
        let faults: Vec<String> = faults.iter().map(|word| format!("\"{word}\"")).collect();
        let written = writeln!(
            self.out,
            "{{\"unixNs\":{},\"exchange\":\"{venue}\",\"symbol\":\"{symbol}\",\"bid\":{},\"bidSize\":{},\"ask\":{},\
             \"askSize\":{},\"trading\":{is_trading},\"faults\":[{}]}}",
            time.0,
            bid.price,
            bid.size,
            ask.price,
            ask.size,
            faults.join(","),
        );
        self.check(written);
    }

    fn flush(&mut self) {
        if !self.is_over {
            let written = self.out.flush();
            self.check(written);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::market::Decimal;
    use crate::sim::plain::PLAIN;
    use crate::sim::prices::Liveliness;
    use crate::sim::scenario::Scenario;
    use std::sync::{Arc, Mutex};

    /// Bytes that a test can read while a sink writes them.
    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// A disk that is full.
    struct Full;

    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::Error::from(io::ErrorKind::StorageFull))
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn trouble(text: &str) -> Trouble {
        Scenario::read(text, PLAIN).unwrap().at(0, PLAIN).swap_remove(0)
    }

    #[test]
    fn a_line_per_change_says_what_the_book_really_is() {
        let instruments = [("BTC".to_owned(), "USDT".to_owned())];
        let liveliness = Liveliness { rate: 1.0, opportunity_every_ms: 0 };
        let mut prices = SimPrices::new(&PLAIN[..1], &instruments, 1, liveliness, UnixNs(0));
        let cell = prices.cells().next().unwrap();
        let level = |price| Level { price: Decimal::new(price, 2), size: Decimal::new(15, 1) };
        prices.set_quote(cell, level(1_000_010), level(1_000_020), UnixNs(5));
        let shared = Shared::default();
        let mut truth = Truth::new(Box::new(TruthFile::new(shared.clone())));
        let (none, crossed) = (Trouble::NONE, trouble("[[fault]]\nkind = \"crossed\"\nfor_s = 1"));
        let unit = trouble("[[fault]]\nkind = \"unit\"\nfor_s = 1\n[[fault]]\nkind = \"halt\"\nfor_s = 1");
        for (time, trouble) in [(6, &none), (7, &none), (8, &crossed), (1_795_000_000_000_000_009, &unit), (9, &unit)] {
            truth.see(cell, &prices, trouble, "plain", UnixNs(time));
        }
        truth.flush();
        let text = String::from_utf8(shared.0.lock().unwrap().clone()).unwrap();
        let head = r#""exchange":"plain","symbol":"BTC/USDT","#;
        let book = r#""bid":10000.1,"bidSize":1.5,"ask":10000.2,"askSize":1.5,"trading":true"#;
        let thousand = r#""bid":10000100,"bidSize":0.0015,"ask":10000200,"askSize":0.0015,"trading":false"#;
        let expected = [
            format!(r#"{{"unixNs":6,{head}{book},"faults":[]}}"#),
            format!(r#"{{"unixNs":8,{head}{book},"faults":["crossed"]}}"#),
            format!(r#"{{"unixNs":1795000000000000009,{head}{thousand},"faults":["unit","halt"]}}"#),
        ];
        assert_eq!(text.lines().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_full_disk_ends_the_record_and_nothing_else() {
        let mut file = TruthFile::new(Full);
        let level = Level { price: Decimal::new(1, 0), size: Decimal::new(1, 0) };
        let faults = Vec::new();
        let top = TrueTop { time: UnixNs(1), cell: CellId(0), bid: level, ask: level, is_trading: true, faults };
        for _ in 0..10_000 {
            file.record(&top, "plain", "BTC/USDT");
        }
        file.flush();
        assert!(file.is_over);
    }
}
