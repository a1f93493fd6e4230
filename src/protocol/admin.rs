//! Admin calls: what may be asked to change, and what is answered. Strict, unlike what clients say: a member that is
//! not known may have been meant, and nothing is changed by half.

use serde::Deserialize;

use crate::protocol::{array, object};

/// The body of `POST /api/admin/set`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SetWish {
    /// Instruments that come.
    pub add: Vec<String>,
    /// Instruments that go.
    pub remove: Vec<String>,
    /// Exchanges that come and go.
    pub venues: VenuesWish,
}

/// See [`SetWish`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct VenuesWish {
    /// Those that come.
    pub add: Vec<String>,
    /// Those that go.
    pub remove: Vec<String>,
}

/// The body of `POST /api/admin/retry`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RetryWish {
    /// The exchange; `None`: all of them.
    pub exchange: Option<String>,
}

/// Reads the body of `POST /api/admin/retry`; an empty one asks for all exchanges.
///
/// # Errors
/// What is wrong with it, for whoever sent it.
pub fn parse_retry(body: &[u8]) -> Result<RetryWish, String> {
    if body.trim_ascii().is_empty() {
        return Ok(RetryWish::default());
    }
    serde_json::from_slice(body).map_err(|why| format!("not what was expected: {why}"))
}

/// Exchanges that an admin call has tried again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Retried {
    /// Those that are dialled now.
    pub dialled: Vec<String>,
    /// Those that asked us to wait, and are left alone until then.
    pub held: Vec<String>,
    /// Those of which all connections are there: nothing is done.
    pub connected: Vec<String>,
    /// Those that another instance is connected to: nothing is done.
    pub standby: Vec<String>,
    /// Those whose circuit breaker was open; it is closed, unless they are held.
    pub breakers: Vec<String>,
}

/// Reads the body of `POST /api/admin/set`.
///
/// # Errors
/// What is wrong with it, for whoever sent it.
pub fn parse(body: &[u8]) -> Result<SetWish, String> {
    let wish: SetWish = serde_json::from_slice(body).map_err(|why| format!("not what was expected: {why}"))?;
    if wish == SetWish::default() {
        return Err("asks for nothing, expected add, remove or venues".to_owned());
    }
    Ok(wish)
}

/// What became of an admin call, or what would.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// It was only asked what would change.
    pub is_dry: bool,
    /// Exchanges that came and went.
    pub exchanges_added: Vec<String>,
    /// See above.
    pub exchanges_removed: Vec<String>,
    /// Exchange, symbol, and the exchange's own name of it, that came.
    pub added: Vec<(String, String, String)>,
    /// And that went.
    pub removed: Vec<(String, String, String)>,
    /// What was tried again, where that was asked for.
    pub retried: Option<Retried>,
    /// What is wrong; then nothing was changed.
    pub mistakes: Vec<String>,
}

impl Told {
    /// HTTP status.
    #[must_use]
    pub fn status(&self) -> u16 {
        if self.mistakes.is_empty() { 200 } else { 400 }
    }

    /// Whether something was changed.
    #[must_use]
    pub fn is_change(&self) -> bool {
        let is_any = [&self.added, &self.removed].iter().any(|items| !items.is_empty())
            || [&self.exchanges_added, &self.exchanges_removed].iter().any(|names| !names.is_empty());
        is_any && !self.is_dry && self.mistakes.is_empty()
    }

    /// The answer's text.
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
        let told = Told { retried: Some(retried), ..Told::default() };
        let text = String::from_utf8(told.text()).unwrap();
        assert_eq!(
            text.trim_end(),
            r#"{"dry":false,"dialled":["okx"],"held":["kraken"],"connected":[],"standby":[],"breakersOpen":[]}"#
        );
    }

    #[test]
    fn what_was_changed_is_told_by_name() {
        let item = |symbol: &str| ("okx".to_owned(), symbol.to_owned(), symbol.replace('/', "-"));
        let told = Told { added: vec![item("SOL/USDT")], exchanges_removed: vec!["kraken".into()], ..Told::default() };
        let text = String::from_utf8(told.text()).unwrap();
        assert_eq!(
            text.trim_end(),
            r#"{"changed":true,"dry":false,"exchangesAdded":[],"exchangesRemoved":["kraken"],"added":[{"exchange":"okx","symbol":"SOL/USDT","native":"SOL-USDT"}],"removed":[]}"#
        );
        let wrong = Told { mistakes: vec!["a:1: no".into()], ..told };
        assert_eq!(wrong.status(), 400);
        assert!(String::from_utf8(wrong.text()).unwrap().contains(r#""mistakes":["a:1: no"]"#));
    }
}
