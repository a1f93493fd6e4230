//! Requests of a `/ws/prices` client: one JSON text in, a [`Command`] or the error for the client out.
//!
//! A request may have unknown members, which are ignored; known members must have the right type. Types are checked
//! exactly, since `"5"` and `5` are different mistakes.

use serde_json::Value;

use crate::market::opportunity::Proof;

/// Most symbols, and most exchanges, of one client.
pub(crate) const NAMES_MAX: usize = 1024;
/// Most bytes of one name.
pub(crate) const NAME_BYTES_MAX: usize = 64;
/// Most bytes of all names of a client as JSON, as its replies repeat them.
pub(crate) const NAMES_BYTES_MAX: usize = 48 * 1024;

/// A parsed request, in the order in which it is applied.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Command {
    /// Whether names are added or removed.
    pub action: Action,
    /// Symbols as the client spells them.
    pub symbols: Vec<String>,
    /// Exchanges as the client spells them; `None` if they are not a list of strings. In that case the symbols still
    /// count, and the client receives [`RequestError::Invalid`].
    pub exchanges: Option<Vec<String>>,
    /// `intervalMs`: 0 means every change. `None` leaves the client's interval as it is.
    pub interval_ms: Option<u64>,
    /// `extended`; `None` leaves the setting as it is.
    pub extended: Option<bool>,
    /// `opportunities`; `None` leaves the setting as it is.
    pub opportunities: Option<bool>,
    /// `minProof`; `None` leaves the setting as it is. [`Proof::Unproven`]: any proof.
    pub(crate) min_proof: Option<Proof>,
    /// `books`: order books as the client spells them; `None` if the member is missing.
    pub books: Option<Vec<BookName>>,
    /// `levels`: number of levels per side; `None`: the default.
    pub levels: Option<u64>,
}

/// An order book: a symbol on an exchange.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BookName {
    /// Symbol.
    pub symbol: String,
    /// Exchange.
    pub exchange: String,
}

/// What a request does with the names in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Action {
    /// Adds them to the client's sets.
    #[default]
    Subscribe,
    /// Removes them.
    Unsubscribe,
}

/// What is wrong with a request. The client's mistake: it receives [`RequestError::message`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestError {
    /// Not JSON, `null`, or a member of the wrong type.
    Invalid,
    /// The action as text, cut at [`SHOWN_MAX`] characters.
    UnknownAction(String),
    /// `minProof` as text, cut in the same way.
    UnknownProof(String),
    /// A limit that the request would exceed, as text.
    Limit(String),
}

impl RequestError {
    /// The text of the error message.
    #[must_use]
    pub fn message(&self) -> String {
        match self {
            Self::Invalid => "Invalid message format".into(),
            Self::UnknownAction(action) => format!("Unknown action: {action}"),
            Self::UnknownProof(text) => {
                format!("Unknown minProof: {text}, expected one of {}", PROOFS.map(|(word, _)| word).join(", "))
            }
            Self::Limit(text) => text.clone(),
        }
    }
}

/// Longest part of an unknown word that is repeated to the client, in characters.
pub(crate) const SHOWN_MAX: usize = 200;

/// What `minProof` can be.
const PROOFS: [(&str, Proof); 3] = [("none", Proof::Unproven), ("likely", Proof::Likely), ("proven", Proof::Proven)];

/// Parses one message of a client.
///
/// # Errors
/// [`RequestError`] if nothing of the message is to be applied.
pub fn parse(frame: &[u8]) -> Result<Command, RequestError> {
    let root: Value = serde_json::from_slice(frame).map_err(|_| RequestError::Invalid)?;
    if root.is_null() {
        return Err(RequestError::Invalid);
    }
    let action = match root.get("action") {
        Some(Value::String(word)) if word == "subscribe" => Action::Subscribe,
        Some(Value::String(word)) if word == "unsubscribe" => Action::Unsubscribe,
        Some(other) => return Err(RequestError::UnknownAction(cut(other))),
        None => return Err(RequestError::UnknownAction("undefined".into())),
    };
    Ok(Command {
        action,
        interval_ms: whole(root.get("intervalMs"))?,
        levels: whole(root.get("levels"))?,
        books: books(root.get("books"))?,
        extended: truth(root.get("extended"))?,
        opportunities: truth(root.get("opportunities"))?,
        min_proof: min_proof(root.get("minProof"))?,
        symbols: names(root.get("symbols")).ok_or(RequestError::Invalid)?,
        exchanges: names(root.get("exchanges")),
    })
}

/// A missing list is an empty one.
fn names(value: Option<&Value>) -> Option<Vec<String>> {
    let Some(value) = value else { return Some(Vec::new()) };
    value.as_array()?.iter().map(|item| item.as_str().map(str::to_owned)).collect()
}

fn truth(value: Option<&Value>) -> Result<Option<bool>, RequestError> {
    value.map(|v| v.as_bool().ok_or(RequestError::Invalid)).transpose()
}

fn min_proof(value: Option<&Value>) -> Result<Option<Proof>, RequestError> {
    let Some(value) = value else { return Ok(None) };
    let known = PROOFS.iter().find(|(word, _)| value.as_str() == Some(word));
    known.map(|(_, proof)| Some(*proof)).ok_or_else(|| RequestError::UnknownProof(cut(value)))
}

fn books(value: Option<&Value>) -> Result<Option<Vec<BookName>>, RequestError> {
    let Some(value) = value else { return Ok(None) };
    let text = |item: &Value, name: &str| item.get(name).and_then(Value::as_str).map(str::to_owned);
    let book = |item| Some(BookName { symbol: text(item, "symbol")?, exchange: text(item, "exchange")? });
    let books: Option<Vec<BookName>> = value.as_array().and_then(|items| items.iter().map(book).collect());
    books.map(Some).ok_or(RequestError::Invalid)
}

fn whole(value: Option<&Value>) -> Result<Option<u64>, RequestError> {
    let Some(value) = value else { return Ok(None) };
    let whole = |n: f64| (n.fract() == 0.0 && (0.0..=9e15).contains(&n)).then_some(n as u64);
    value.as_u64().or_else(|| value.as_f64().and_then(whole)).map(Some).ok_or(RequestError::Invalid)
}

/// An unknown word for the error text.
fn cut(value: &Value) -> String {
    let mut text = String::new();
    shown(value, &mut text);
    text.chars().take(SHOWN_MAX).collect()
}

/// Formats a value as system 1 prints it in its error text. The JSON parser has limited the nesting.
fn shown(value: &Value, out: &mut String) {
    if out.len() > 4 * SHOWN_MAX {
        return;
    }
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(truth) => out.push_str(if *truth { "true" } else { "false" }),
        Value::Number(number) => out.push_str(&number.to_string()),
        Value::String(text) => out.push_str(text),
        Value::Object(_) => out.push_str("[object Object]"),
        Value::Array(items) => {
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                if !item.is_null() {
                    shown(item, out);
                }
            }
        }
    }
}
