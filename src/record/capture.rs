//! Capture files: one JSON object per line, plain or gzip. Reads one line at a time, never the whole file.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use data_encoding::{BASE64, HEXLOWER_PERMISSIVE};
use flate2::read::MultiGzDecoder;
use serde::Deserialize;

use crate::log;

/// One line of a capture.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(try_from = "CaptureLine")]
pub struct Record {
    /// Seconds since 1970 when it was received or sent, as recorded; `None` if the source did not record it.
    pub ts: Option<f64>,
    /// Kind of the line.
    pub dir: Direction,
    /// Connection number within the file; 0 for REST.
    pub conn: u32,
    /// Address, on `connect` and `http` lines.
    pub url: String,
    /// The message as sent; empty on `connect` lines.
    pub frame: Vec<u8>,
    /// Whether it was a binary WebSocket message.
    pub(crate) is_binary: bool,
}

/// A line as written.
#[derive(Deserialize)]
struct CaptureLine {
    ts: Option<f64>,
    dir: Direction,
    #[serde(default)]
    conn: u32,
    #[serde(default)]
    url: String,
    #[serde(default)]
    frame: String,
    /// Whether the message was binary, although its bytes are written as plain text.
    #[serde(default)]
    bin: bool,
    /// Encoding of the bytes of a binary message.
    enc: Option<Spelling>,
}

/// Text encoding of bytes.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Spelling {
    Base64,
    Hex,
}

impl TryFrom<CaptureLine> for Record {
    type Error = String;

    fn try_from(line: CaptureLine) -> Result<Self, String> {
        let text = line.frame.as_bytes();
        let frame = match line.enc {
            None => Ok(line.frame.into_bytes()),
            Some(Spelling::Base64) => BASE64.decode(text),
            Some(Spelling::Hex) => HEXLOWER_PERMISSIVE.decode(text),
        };
        Ok(Self {
            ts: line.ts,
            dir: line.dir,
            conn: line.conn,
            url: line.url,
            frame: frame.map_err(|why| format!("invalid bytes of the frame: {why}"))?,
            is_binary: line.bin || line.enc.is_some(),
        })
    }
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
    /// Whether there was a valid line: this is a capture.
    is_one: bool,
    /// Lines that were read to find the first valid one, in order.
    ahead: VecDeque<(usize, Result<Record, String>)>,
}

/// Longest accepted line in bytes: 64 MiB.
const LINE_MAX: u64 = 64 << 20;
/// A file whose first lines are all invalid is no capture; blank lines do not count.
const INVALID_MAX: usize = 64;

impl Capture {
    /// Opens `path`; `-` is the standard input. Gzip is detected by its first bytes, regardless of the name.
    ///
    /// # Errors
    /// If the file cannot be opened.
    pub fn open(path: &Path) -> io::Result<Self> {
        if path == Path::new("-") {
            return Self::new(io::stdin());
        }
        Self::new(File::open(path)?)
    }

    /// Reads from `input`, plain or gzip.
    ///
    /// # Errors
    /// If the first bytes cannot be read.
    pub fn new(input: impl Read + Send + 'static) -> io::Result<Self> {
        let mut input = BufReader::with_capacity(1 << 16, input);
        let gzip = input.fill_buf()?.starts_with(&[0x1f, 0x8b]);
        let input: Box<dyn BufRead + Send> = if gzip {
            Box::new(BufReader::with_capacity(1 << 16, MultiGzDecoder::new(input)))
        } else {
            Box::new(input)
        };
        Ok(Self { input, line: 0, text: Vec::new(), is_one: false, ahead: VecDeque::new() })
    }

    /// The next line and its number; `None` at the end. Blank lines are skipped.
    ///
    /// # Errors
    /// The outer error ends the capture: reading failed, or no line is valid, so that this is no capture. The inner one
    /// describes an error of this line only.
    #[allow(clippy::type_complexity)]
    pub fn next_record(&mut self) -> io::Result<Option<(usize, Result<Record, String>)>> {
        while !self.is_one {
            let next = self.read_record()?;
            self.is_one = next.as_ref().is_none_or(|(_, record)| record.is_ok());
            let is_end = next.is_none();
            self.ahead.extend(next);
            if (is_end && !self.ahead.is_empty()) || self.ahead.len() >= INVALID_MAX && !self.is_one {
                let (line, why) =
                    self.ahead.front().map_or((0, ""), |(line, it)| (*line, it.as_ref().err().map_or("", |why| why)));
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("not a capture: line {line}: {}", log::tamed(why)),
                ));
            }
        }
        match self.ahead.pop_front() {
            Some(record) => Ok(Some(record)),
            None => self.read_record(),
        }
    }

    #[allow(clippy::type_complexity)]
    fn read_record(&mut self) -> io::Result<Option<(usize, Result<Record, String>)>> {
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
