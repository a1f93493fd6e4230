//! Admin calls: requests and replies. Unlike client messages they are parsed strictly: an unknown member may be a
//! misspelt one, and no call is applied in part.

use serde::Deserialize;

use crate::protocol::{array, object};

/// The body of `POST /api/admin/set`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SetWish {
    /// Instruments to add.
    pub add: Vec<String>,
    /// Instruments to remove.
    pub remove: Vec<String>,
    /// Exchanges to add and to remove.
    pub venues: VenuesWish,
}

/// The exchanges of a [`SetWish`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct VenuesWish {
    /// Exchanges to add.
    pub add: Vec<String>,
    /// Exchanges to remove.
    pub remove: Vec<String>,
}

/// The body of `POST /api/admin/retry`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RetryWish {
    /// The exchange; `None`: all exchanges.
    pub exchange: Option<String>,
}

/// Parses the body of `POST /api/admin/retry`; an empty body means all exchanges.
///
/// # Errors
/// What is wrong with the body, for the caller.
pub(crate) fn parse_retry(body: &[u8]) -> Result<RetryWish, String> {
    if body.trim_ascii().is_empty() {
        return Ok(RetryWish::default());
    }
    serde_json::from_slice(body).map_err(|why| format!("unexpected body: {why}"))
}

/// Exchanges retried by an admin call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Retried {
    /// Exchanges that are dialled now.
    pub dialled: Vec<String>,
    /// Exchanges that asked us to wait and are not dialled before that time.
    pub held: Vec<String>,
    /// Exchanges with all connections open; nothing is done for them.
    pub connected: Vec<String>,
    /// Exchanges that another instance is connected to; nothing is done for them.
    pub(crate) standby: Vec<String>,
    /// Exchanges whose circuit breaker was open. It is closed, except for held exchanges.
    pub(crate) breakers: Vec<String>,
}

/// Parses the body of `POST /api/admin/set`.
///
/// # Errors
/// What is wrong with the body, for the caller.
pub fn parse(body: &[u8]) -> Result<SetWish, String> {
    let wish: SetWish = serde_json::from_slice(body).map_err(|why| format!("unexpected body: {why}"))?;
    if wish == SetWish::default() {
        return Err("empty, expected add, remove or venues".to_owned());
    }
    Ok(wish)
}

/// The outcome of an admin call, or of its dry run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Whether this is a dry run.
    pub(crate) is_dry: bool,
    /// Added exchanges.
    pub(crate) exchanges_added: Vec<String>,
    /// Removed exchanges.
    pub(crate) exchanges_removed: Vec<String>,
    /// Added instruments: exchange, symbol, native symbol.
    pub added: Vec<(String, String, String)>,
    /// Removed instruments: exchange, symbol, native symbol.
    pub(crate) removed: Vec<(String, String, String)>,
    /// Retried exchanges, if the call was a retry.
    pub(crate) retried: Option<Retried>,
    /// What is wrong; if there is anything, nothing was changed.
    pub(crate) mistakes: Vec<String>,
}

impl Outcome {
    /// HTTP status.
    #[must_use]
    pub fn status(&self) -> u16 {
        if self.mistakes.is_empty() { 200 } else { 400 }
    }

    /// Whether anything was changed.
    #[must_use]
    pub fn is_change(&self) -> bool {
        let is_any = [&self.added, &self.removed].iter().any(|items| !items.is_empty())
            || [&self.exchanges_added, &self.exchanges_removed].iter().any(|names| !names.is_empty());
        is_any && !self.is_dry && self.mistakes.is_empty()
    }

    /// The body of the response.
    #[must_use]
    pub fn text(&self) -> Vec<u8> {
        object(|root| {
            if !self.mistakes.is_empty() {
                root.text("error", "Nothing was changed").texts("mistakes", &self.mistakes);
                return;
            }
            if let Some(retried) = &self.retried {
                root.boolean("dry", self.is_dry);
                root.texts("dialled", &retried.dialled).texts("held", &retried.held);
                root.texts("connected", &retried.connected).texts("standby", &retried.standby);
                root.texts("breakersOpen", &retried.breakers);
                return;
            }
            root.boolean("changed", self.is_change()).boolean("dry", self.is_dry);
            root.texts("exchangesAdded", &self.exchanges_added).texts("exchangesRemoved", &self.exchanges_removed);
            for (name, items) in [("added", &self.added), ("removed", &self.removed)] {
                array(items, root.key(name), |(exchange, symbol, native), out| {
                    out.extend(object(|o| {
                        o.text("exchange", exchange).text("symbol", symbol).text("native", native);
                    }));
                });
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_is_read_strictly() {
        let wish = parse(br#"{"add":["SOL/USDT"],"venues":{"remove":["okx"]}}"#).unwrap();
        assert_eq!((wish.add, wish.venues.remove), (vec!["SOL/USDT".to_owned()], vec!["okx".to_owned()]));
        for wrong in
            [r#"{"added":[]}"#, r#"{"add":"SOL/USDT"}"#, r#"{"venues":{"ad":[]}}"#, "{}", "[]", "", "{\"add\":[]}"]
        {
            assert!(parse(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_retry_is_of_one_exchange_or_of_all() {
        assert_eq!(parse_retry(b" \n"), Ok(RetryWish { exchange: None }));
        assert_eq!(parse_retry(b"{}"), Ok(RetryWish { exchange: None }));
        assert_eq!(parse_retry(br#"{"exchange":"okx"}"#), Ok(RetryWish { exchange: Some("okx".into()) }));
        assert!(parse_retry(br#"{"exchanges":["okx"]}"#).is_err() && parse_retry(b"okx").is_err());
        let retried = Retried { dialled: vec!["okx".into()], held: vec!["kraken".into()], ..Retried::default() };
        let outcome = Outcome { retried: Some(retried), ..Outcome::default() };
        let text = String::from_utf8(outcome.text()).unwrap();
        assert_eq!(
            text.trim_end(),
            r#"{"dry":false,"dialled":["okx"],"held":["kraken"],"connected":[],"standby":[],"breakersOpen":[]}"#
        );
    }

    #[test]
    fn what_was_changed_is_told_by_name() {
        let item = |symbol: &str| ("okx".to_owned(), symbol.to_owned(), symbol.replace('/', "-"));
        let outcome =
            Outcome { added: vec![item("SOL/USDT")], exchanges_removed: vec!["kraken".into()], ..Outcome::default() };
        let text = String::from_utf8(outcome.text()).unwrap();
        assert_eq!(
            text.trim_end(),
            r#"{"changed":true,"dry":false,"exchangesAdded":[],"exchangesRemoved":["kraken"],"added":[{"exchange":"okx","symbol":"SOL/USDT","native":"SOL-USDT"}],"removed":[]}"#
        );
        let wrong = Outcome { mistakes: vec!["a:1: no".into()], ..outcome };
        assert_eq!(wrong.status(), 400);
        assert!(String::from_utf8(wrong.text()).unwrap().contains(r#""mistakes":["a:1: no"]"#));
    }
}
