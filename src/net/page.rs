//! Pages of an HTTP server, one blocking GET after the other, for a process that only looks: `spreadwire top`.
//! Never on a thread of the gateway's.

use std::fmt;
use std::time::Duration;

/// How long a page may take, from the connection to its last byte.
const WITHIN: Duration = Duration::from_secs(3);
/// Bytes of one page.
const PAGE_MAX: u64 = 16 << 20;

/// Why there is no page. Caused by the environment, or by a wrong address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PageError {
    /// No answer, a late one, or one that is not HTTP; the reason as text.
    Unreachable(String),
    /// The server answered with this status.
    Status(u16),
}

impl fmt::Display for PageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(why) => f.write_str(why),
            Self::Status(status) => write!(f, "answers {status}"),
        }
    }
}

impl std::error::Error for PageError {}

/// A server, and the open connection to it.
pub(crate) struct PageClient {
    base: String,
    agent: ureq::Agent,
}

impl PageClient {
    /// A client of the server at `base`, such as `http://127.0.0.1:3000`, without a slash at its end. Connects to nothing
    /// yet. Follows no redirect, asks no proxy.
    #[must_use]
    pub fn new(base: &str) -> Self {
        let agent = ureq::Agent::config_builder()
            .timeout_global(Some(WITHIN))
            .max_redirects(0)
            .http_status_as_error(false)
            .proxy(None)
            .user_agent(concat!("spreadwire/", env!("CARGO_PKG_VERSION")))
            .tls_config(ureq::tls::TlsConfig::builder().root_certs(ureq::tls::RootCerts::WebPki).build())
            .build()
            .into();
        Self { base: base.to_owned(), agent }
    }

    /// Where it is.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.base
    }

    /// The page at `target`, a path that may have a query.
    ///
    /// # Errors
    /// [`PageError`]; any status but 200 is one.
    pub fn get(&self, target: &str) -> Result<Vec<u8>, PageError> {
        let unreachable = |why: ureq::Error| PageError::Unreachable(words(why));
        let mut reply = self.agent.get(format!("{}{target}", self.base)).call().map_err(unreachable)?;
        if reply.status().as_u16() != 200 {
            return Err(PageError::Status(reply.status().as_u16()));
        }
        reply.body_mut().with_config().limit(PAGE_MAX).read_to_vec().map_err(unreachable)
    }
}

fn words(why: ureq::Error) -> String {
    match why {
        ureq::Error::Io(why) => why.to_string(),
        ureq::Error::Timeout(_) => format!("no answer within {} s", WITHIN.as_secs()),
        other => other.to_string(),
    }
}
