//! All messages from and to clients: the only module that knows the JSON of clients.
//!
//! Trading terms in, text out, and the reverse; no socket, no clock, no thread. Names, order and types of fields are a
//! contract with existing clients; `tests/fixtures/protocol` holds one example of each message. The code uses the words
//! venue and instrument; clients see `exchange` and `symbol`.

pub mod admin;
pub mod book;
pub mod health;
pub mod message;
pub mod opportunity;
pub(crate) mod precision;
pub mod refusals;
pub mod report;
pub mod request;
pub mod status;
pub mod stream;
pub mod survival;

use std::io::Write as _;

use crate::market::opportunity::Percent;
use crate::metrics::reasons::{Counts, Reason};

/// Appends `text` as a JSON string with its quotes.
pub(crate) fn string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    crate::wire::json::escape_into(text, out);
    out.push(b'"');
}

/// Appends a whole number.
pub fn integer(number: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Appends a float in its shortest form. NaN and infinity, which JSON cannot represent, become 0.
pub(crate) fn float(number: f64, out: &mut Vec<u8>) {
    let number = if number.is_finite() { number } else { 0.0 };
    // Writing to memory cannot fail.
    let _ = write!(out, "{number}");
}

/// Appends an array of `items`, each written by `each`.
pub fn array<T>(items: impl IntoIterator<Item = T>, out: &mut Vec<u8>, mut each: impl FnMut(T, &mut Vec<u8>)) {
    out.push(b'[');
    for (at, item) in items.into_iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        each(item, out);
    }
    out.push(b']');
}

/// Writes the members of an object, in the order of the calls.
pub struct Object<'a> {
    out: &'a mut Vec<u8>,
    first: bool,
}

impl<'a> Object<'a> {
    /// Opens an object at the end of `out`.
    pub fn open(out: &'a mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, first: true }
    }

    /// Adds a member whose value the caller appends.
    pub fn key(&mut self, name: &str) -> &mut Vec<u8> {
        if !self.first {
            self.out.push(b',');
        }
        self.first = false;
        string(name, self.out);
        self.out.push(b':');
        self.out
    }

    /// Adds a text.
    pub fn text(&mut self, name: &str, value: &str) -> &mut Self {
        string(value, self.key(name));
        self
    }

    /// Adds a whole number.
    pub fn integer(&mut self, name: &str, value: u64) -> &mut Self {
        integer(value, self.key(name));
        self
    }

    /// Adds a float.
    pub(crate) fn float(&mut self, name: &str, value: f64) -> &mut Self {
        float(value, self.key(name));
        self
    }

    /// Adds a percentage.
    pub fn percent(&mut self, name: &str, value: Percent) -> &mut Self {
        value.write(self.key(name));
        self
    }

    /// Adds `true` or `false`.
    pub(crate) fn boolean(&mut self, name: &str, value: bool) -> &mut Self {
        self.key(name).extend_from_slice(if value { b"true" } else { b"false" });
        self
    }

    /// Adds `null`.
    pub fn null(&mut self, name: &str) -> &mut Self {
        self.key(name).extend_from_slice(b"null");
        self
    }

    /// Adds a counter for each reason.
    pub(crate) fn counts<R: Reason>(&mut self, name: &str, counts: &Counts<R>) -> &mut Self {
        self.object(name, |o| {
            for (reason, count) in counts.iter() {
                o.integer(reason, count);
            }
        })
    }

    /// Adds an object whose members `fill` writes.
    pub(crate) fn object(&mut self, name: &str, fill: impl FnOnce(&mut Object<'_>)) -> &mut Self {
        let mut inner = Object::open(self.key(name));
        fill(&mut inner);
        inner.close();
        self
    }

    /// Adds an array of texts.
    pub fn texts<T: AsRef<str>>(&mut self, name: &str, items: impl IntoIterator<Item = T>) -> &mut Self {
        array(items, self.key(name), |item, out| string(item.as_ref(), out));
        self
    }

    /// Closes the object.
    pub fn close(self) {
        self.out.push(b'}');
    }
}

/// One object as JSON text.
#[must_use]
pub(crate) fn object(fill: impl FnOnce(&mut Object<'_>)) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    let mut object = Object::open(&mut out);
    fill(&mut object);
    object.close();
    out
}

#[cfg(test)]
mod tests;
