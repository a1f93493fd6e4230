//! Capture files: one JSON object per line, plain or gzip. Reads one line at a time; never the whole file.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;
use serde::Deserialize;

/// One line of a capture.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Record {
    /// Seconds since 1970 at which it was received or sent, as recorded; `None` where the source kept none.
    pub ts: Option<f64>,
    /// What happened.
    pub dir: Direction,
    /// Connection number inside the file; 0 for REST.
    #[serde(default)]
    pub conn: u32,
    /// Address, on `connect` and `http` lines.
    #[serde(default)]
    pub url: String,
    /// The message as text; empty on `connect` lines.
    #[serde(default)]
    pub frame: String,
}

/// What a line records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// A socket was opened.
    Connect,
    /// We sent a text.
    Out,
    /// We received a message.
    In,
    /// A REST reply.
    Http,
}

/// The lines of a capture, with their 1-based numbers.
pub struct Capture {
    input: Box<dyn BufRead + Send>,
    line: usize,
    text: Vec<u8>,
}

/// A line longer than this is refused: 64 MiB.
const LINE_MAX: u64 = 64 << 20;

impl Capture {
    /// Opens `path`; `-` is the standard input. Gzip is recognised by its first bytes, whatever the name.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn open(path: &Path) -> io::Result<Self> {
        if path == Path::new("-") {
            return Self::new(io::stdin());
        }
        Self::new(File::open(path)?)
    }

    /// Reads from `input`, plain or gzip.
    ///
    /// # Errors
    /// When the first bytes cannot be read.
    pub fn new(input: impl Read + Send + 'static) -> io::Result<Self> {
        let mut input = BufReader::with_capacity(1 << 16, input);
        let gzip = input.fill_buf()?.starts_with(&[0x1f, 0x8b]);
        let input: Box<dyn BufRead + Send> = if gzip {
            Box::new(BufReader::with_capacity(1 << 16, MultiGzDecoder::new(input)))
        } else {
            Box::new(input)
        };
        Ok(Self { input, line: 0, text: Vec::new() })
    }

    /// The next line and its number; `None` at the end. Blank lines are passed over.
    ///
    /// # Errors
    /// The outer error ends the capture (reading failed); the inner one says what is wrong with this line only.
    #[allow(clippy::type_complexity)]
    pub fn next_record(&mut self) -> io::Result<Option<(usize, Result<Record, String>)>> {
        loop {
            self.text.clear();
            let length = self.input.by_ref().take(LINE_MAX).read_until(b'\n', &mut self.text)?;
            if length == 0 {
                return Ok(None);
            }
            self.line += 1;
            if self.text.trim_ascii().is_empty() {
                continue;
            }
            let record = serde_json::from_slice(&self.text).map_err(|e| format!("not a capture line: {e}"));
            return Ok(Some((self.line, record)));
        }
    }
}
