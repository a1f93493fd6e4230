//! Addresses of servers: scheme, host, port, path. Text in, parts out; resolves no name.

use std::fmt;
use std::net::IpAddr;

/// The parts of an address such as `wss://host:8443/path?query`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Url<'a> {
    /// As written, without `://`.
    pub(crate) scheme: &'a str,
    /// A name or an IP address, without brackets; never empty.
    pub host: &'a str,
    /// The port, if one is written; never 0.
    pub port: Option<u16>,
}

/// What is wrong with an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UrlError {
    /// No `scheme://`.
    Scheme,
    /// Blanks, control characters or characters outside ASCII.
    Text,
    /// A user name, which would be sent nowhere.
    User,
    /// No host.
    Host,
    /// A port that is not a number from 1 to 65535.
    Port,
}

impl fmt::Display for UrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scheme => "has no scheme",
            Self::Text => "contains blanks or characters outside ASCII",
            Self::User => "contains a user name",
            Self::Host => "has no host",
            Self::Port => "has a bad port",
        })
    }
}

impl<'a> Url<'a> {
    /// The parts of `text`.
    ///
    /// # Errors
    /// [`UrlError`].
    pub fn parse(text: &'a str) -> Result<Self, UrlError> {
        let (scheme, rest) = text.split_once("://").ok_or(UrlError::Scheme)?;
        if scheme.is_empty() || !scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'+') {
            return Err(UrlError::Scheme);
        }
        if !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(UrlError::Text);
        }
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        if authority.contains('@') {
            return Err(UrlError::User);
        }
        let (host, port) = host_and_port(authority)?;
        Ok(Self { scheme, host, port })
    }

    /// Whether the connection is encrypted: `wss` or `https`.
    #[must_use]
    pub(crate) fn is_tls(&self) -> bool {
        matches!(self.scheme, "wss" | "https")
    }

    /// Whether the host is this machine.
    #[must_use]
    pub(crate) fn is_local(&self) -> bool {
        self.host == "localhost" || self.host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }
}

/// `HOST` or `HOST:PORT`; an IPv6 address with a port needs brackets, which are removed.
///
/// # Errors
/// [`UrlError::Host`] or [`UrlError::Port`].
pub(crate) fn host_and_port(text: &str) -> Result<(&str, Option<u16>), UrlError> {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if host.is_empty() {
        return Err(UrlError::Host);
    }
    match port.map(|port| port.parse().ok().filter(|port| *port > 0)) {
        Some(None) => Err(UrlError::Port),
        port => Ok((host, port.flatten())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_scheme_a_host_and_perhaps_a_port() {
        let parts = |text| Url::parse(text).map(|url| (url.scheme, url.host, url.port));
        for (text, expected) in [
            ("wss://ws.okx.com:8443/ws/v5/public", Ok(("wss", "ws.okx.com", Some(8443)))),
            ("ws://[::1]/x", Ok(("ws", "::1", None))),
            ("ws://[::1]:9", Ok(("ws", "::1", Some(9)))),
            ("https://a.b?c=d@e:f", Ok(("https", "a.b", None))),
            ("", Err(UrlError::Scheme)),
            ("a.b", Err(UrlError::Scheme)),
            ("ws:/a", Err(UrlError::Scheme)),
            ("://a", Err(UrlError::Scheme)),
            ("ws://a b", Err(UrlError::Text)),
            ("ws://é", Err(UrlError::Text)),
            ("ws://u@a", Err(UrlError::User)),
            ("ws://", Err(UrlError::Host)),
            ("ws://:80", Err(UrlError::Host)),
            ("ws://a:0", Err(UrlError::Port)),
            ("ws://a:65536", Err(UrlError::Port)),
            ("ws://a:b", Err(UrlError::Port)),
            ("ws://a:", Err(UrlError::Port)),
        ] {
            assert_eq!(parts(text), expected, "{text}");
        }
    }

    #[test]
    fn a_host_of_this_machine_is_recognised() {
        for (text, is_local) in [
            ("ws://127.0.0.1:1/x", true),
            ("ws://localhost:1", true),
            ("ws://[::1]:1", true),
            ("ws://10.0.0.1/x", false),
            ("ws://localhost.example:1", false),
            ("ws://127.example", false),
        ] {
            assert_eq!(Url::parse(text).unwrap().is_local(), is_local, "{text}");
        }
    }
}
