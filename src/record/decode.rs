//! Decodes captured frames to normalised quotes: the output of `spreadwire decode`, which the tests compare with
//! expected results. Each connection of a capture has its own codec, as in the original session.

use std::collections::{BTreeMap, HashMap};
use std::io;

use crate::market::Level;
use crate::record::capture::{Capture, Direction, Record};
use crate::time::MonoNs;
use crate::venues::{Decoded, FeedCodec, Frame, Symbols, Update, Venue};

/// Counts of a decoded capture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CaptureSummary {
    /// Lines fed to a codec.
    pub frames: usize,
    /// Lines of unused channels.
    pub unused: usize,
    /// Lines that could not be decoded.
    pub errors: usize,
    /// Top-of-book changes found.
    pub quotes: usize,
}

/// Decodes all of `capture` as frames of `venue`. `quote` receives each top-of-book change as a JSON line (without a
/// newline); `error` receives the line number of each frame that cannot be decoded, with the reason.
///
/// # Errors
/// Only if reading fails. A bad frame is passed to `error`, and decoding continues.
pub fn decode(
    venue: &'static dyn Venue,
    capture: &mut Capture,
    mut quote: impl FnMut(&[u8]),
    mut error: impl FnMut(usize, &str),
) -> io::Result<CaptureSummary> {
    let mut decoder = Decoder::new(venue);
    while let Some((line, record)) = capture.next_record()? {
        let result = match record {
            Ok(record) => decoder.feed(line, record, &mut quote),
            Err(why) => Err((line, why)),
        };
        if let Err((line, why)) = result {
            decoder.summary.errors += 1;
            error(line, &why);
        }
    }
    Ok(decoder.summary)
}

struct Decoder {
    venue: &'static dyn Venue,
    codecs: BTreeMap<u32, Box<dyn FeedCodec>>,
    /// REST replies before the first connection, with their line numbers.
    early: Vec<(usize, Record)>,
    last: HashMap<(String, &'static str), (Level, Level)>,
    decoded: Decoded,
    out: Vec<u8>,
    summary: CaptureSummary,
}

impl Decoder {
    fn new(venue: &'static dyn Venue) -> Self {
        Self {
            venue,
            codecs: BTreeMap::new(),
            early: Vec::new(),
            last: HashMap::new(),
            decoded: Decoded::default(),
            out: Vec::with_capacity(256),
            summary: CaptureSummary::default(),
        }
    }

    fn feed(&mut self, line: usize, record: Record, quote: &mut impl FnMut(&[u8])) -> Result<(), (usize, String)> {
        match record.dir {
            Direction::Out => Ok(()),
            Direction::Connect => {
                self.codecs.remove(&record.conn);
                self.connect(record.conn, quote)
            }
            Direction::In => {
                if !self.codecs.contains_key(&record.conn) {
                    self.connect(record.conn, quote)?;
                }
                self.step(record.conn, line, &record, quote)
            }
            Direction::Http if self.codecs.is_empty() => {
                self.early.push((line, record));
                Ok(())
            }
            Direction::Http => {
                let connections: Vec<u32> = self.codecs.keys().copied().collect();
                connections.into_iter().try_for_each(|conn| self.step(conn, line, &record, quote))
            }
        }
    }

    /// Creates a codec for a new connection and passes the waiting snapshots to it.
    fn connect(&mut self, conn: u32, quote: &mut impl FnMut(&[u8])) -> Result<(), (usize, String)> {
        let mut codec = self.venue.codec(Symbols::discovering(self.venue.symbol_of()));
        codec.opened(&mut self.decoded.requests);
        self.codecs.insert(conn, codec);
        for (line, record) in std::mem::take(&mut self.early) {
            self.step(conn, line, &record, quote)?;
        }
        Ok(())
    }

    fn step(
        &mut self,
        conn: u32,
        line: usize,
        record: &Record,
        quote: &mut impl FnMut(&[u8]),
    ) -> Result<(), (usize, String)> {
        let Some(codec) = self.codecs.get_mut(&conn) else { return Ok(()) };
        self.decoded.clear();
        let result = if record.dir == Direction::Http {
            codec.snapshot(&record.url, &record.frame, &mut self.decoded)
        } else {
            codec.decode(&record.frame, MonoNs(0), &mut self.decoded)
        };
        self.summary.frames += 1;
        self.summary.unused += usize::from(result == Ok(Frame::Unused));
        for update in &self.decoded.updates {
            match update {
                Update::Top(top) => {
                    let Some(entry) = codec.symbols().entry(top.instrument) else { continue };
                    let key = (entry.native.clone(), top.channel);
                    if !top.bid.is_present() || !top.ask.is_present() {
                        self.last.remove(&key);
                        continue;
                    }
                    if self.last.insert(key, (top.bid, top.ask)) == Some((top.bid, top.ask)) {
                        continue;
                    }
                    self.summary.quotes += 1;
                    self.out.clear();
                    write_quote(self.venue.facts().name, entry, top, line, &mut self.out);
                    quote(&self.out);
                }
                Update::Void(instrument, _) | Update::Trading(instrument, false) => {
                    let native = codec.symbols().entry(*instrument).map(|e| e.native.clone());
                    self.last.retain(|key, _| Some(&key.0) != native.as_ref());
                }
                Update::Trading(_, true)
                | Update::System(_)
                | Update::Book(_)
                | Update::Statistics(_)
                | Update::Subscribed(_)
                | Update::Stamp(..)
                | Update::Refused(_)
                | Update::Reconnect(_)
                | Update::Notice(_) => {}
            }
        }
        result.map(drop).map_err(|e| (line, e.to_string()))
    }
}

fn write_quote(
    venue: &str,
    entry: &crate::venues::SymbolEntry,
    top: &crate::venues::Top,
    line: usize,
    out: &mut Vec<u8>,
) {
    use crate::wire::json::escape_into;
    use std::io::Write as _;

    let mut text = |key: &str, value: &str| {
        out.extend_from_slice(if out.is_empty() { b"{\"" } else { b",\"" });
        out.extend_from_slice(key.as_bytes());
        out.extend_from_slice(b"\":\"");
        escape_into(value, out);
        out.push(b'"');
    };
    text("venue", venue);
    text("symbol", &entry.symbol);
    text("native", &entry.native);
    for (key, value) in
        [("bid", top.bid.price), ("bidSize", top.bid.size), ("ask", top.ask.price), ("askSize", top.ask.size)]
    {
        text(key, &value.to_string());
    }
    text("channel", top.channel);
    out.extend_from_slice(b",\"exchangeTs\":");
    // Writing to a Vec cannot fail.
    let _ = match top.exchange_time.ms() {
        0 => write!(out, "null"),
        ms => write!(out, "{ms}"),
    };
    let _ = write!(out, ",\"line\":{line}}}");
}
