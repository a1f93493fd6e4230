//! Why Redis gave no answer, and what kind of refusal it was.

use redis::RedisError;

/// Why a call has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreError {
    /// None came in time. What was asked for may have happened or not.
    Late,
    /// There is no connection; why, in words.
    Gone(String),
    /// Redis answered that it does not do it; its words.
    Refused(RefusalClass, String),
}

/// What kind of refusal it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalClass {
    /// Memory is full.
    Oom,
    /// A replica: the master is elsewhere.
    ReadOnly,
    /// Still reading its files after a start.
    Loading,
    /// A replica without its master.
    MasterDown,
    /// Password or user are wrong, or may not do this.
    NoAuth,
    /// A Redis Cluster, which is not supported.
    Moved,
    /// A script is not known, though it was just loaded.
    NoScript,
    /// Its disk fails, so it takes no writes.
    Misconf,
    /// A long script holds it.
    Busy,
    /// Older than 7.0.
    TooOld,
    /// It takes no connection: too many clients, protected mode.
    Unavailable,
    /// Anything else.
    Other,
}

impl StoreError {
    /// Whether it is a mistake in the configuration, which no retry resolves.
    #[must_use]
    pub const fn is_lasting(&self) -> bool {
        matches!(self, Self::Refused(RefusalClass::NoAuth | RefusalClass::TooOld | RefusalClass::Moved, _))
    }
}

impl std::fmt::Display for StoreError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Late => f.write_str("Redis does not answer in time"),
            Self::Gone(why) => write!(f, "Redis cannot be reached: {why}"),
            Self::Refused(_, words) => f.write_str(words),
        }
    }
}

impl From<RedisError> for StoreError {
    fn from(error: RedisError) -> Self {
        if error.is_timeout() {
            return Self::Late;
        }
        let class = match error.code() {
            Some("OOM") => RefusalClass::Oom,
            Some("READONLY") => RefusalClass::ReadOnly,
            Some("LOADING") => RefusalClass::Loading,
            Some("MASTERDOWN") => RefusalClass::MasterDown,
            Some("NOAUTH" | "WRONGPASS" | "NOPERM") => RefusalClass::NoAuth,
            Some("MOVED" | "ASK" | "CLUSTERDOWN" | "CROSSSLOT") => RefusalClass::Moved,
            Some("NOSCRIPT") => RefusalClass::NoScript,
            Some("MISCONF") => RefusalClass::Misconf,
            Some("BUSY") => RefusalClass::Busy,
            _ if error.kind() == redis::ErrorKind::AuthenticationFailed => RefusalClass::NoAuth,
            Some(_) => RefusalClass::Other,
            None => return Self::Gone(error.to_string()),
        };
        match class {
            RefusalClass::NoAuth => Self::Refused(class, format!("Redis refuses us: {error}")),
            _ => Self::Refused(class, error.to_string()),
        }
    }
}
