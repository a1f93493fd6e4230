//! Why a session ended, and what follows from it.

use std::fmt;

use crate::net::backoff::Wait;
use crate::wire::websocket::Failure;

/// Why a session ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The WebSocket failed: the upgrade was refused, or the protocol violated.
    WebSocket(Failure),
    /// The venue closed the WebSocket with this code.
    Closed(u16),
    /// The upgrade request was not answered in time.
    NoUpgrade,
    /// No byte arrived for too long, not even a pong.
    Silent,
    /// Too many frames could not be decoded and name no instrument.
    BadFrames,
    /// The codec wants a new connection, because the venue asked for one or the state of the codec is lost.
    Wanted(&'static str),
    /// Too many requests or bytes are waiting to be sent.
    Backlog,
    /// The socket ended or failed, with a description.
    Socket(String),
    /// This process did not run for so long that the bytes in the socket are stale.
    Overslept,
    /// This process closes it.
    Ours,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WebSocket(failure) => failure.fmt(f),
            Self::Closed(code) => write!(f, "closed by the venue ({code})"),
            Self::NoUpgrade => f.write_str("no answer to the upgrade"),
            Self::Silent => f.write_str("silent"),
            Self::BadFrames => f.write_str("too many frames that cannot be decoded"),
            Self::Wanted(why) => f.write_str(why),
            Self::Backlog => f.write_str("the venue does not read"),
            Self::Socket(why) => f.write_str(why),
            Self::Overslept => f.write_str("this process stood still"),
            Self::Ours => f.write_str("stopping"),
        }
    }
}

impl End {
    /// What it says about the next attempt. `ban_s` is the duration of a ban that states none, in seconds.
    #[must_use]
    pub fn wait(&self, ban_s: u64) -> Wait {
        match self {
            Self::WebSocket(Failure::Refused { status, retry_after }) => Wait::of_status(*status, *retry_after, ban_s),
            Self::Wanted(_) => Wait::AtOnce,
            _ => Wait::Usual,
        }
    }

    /// Whether the venue itself ended the session, which proves that it can be reached; `None` if this proves nothing.
    #[must_use]
    pub(crate) const fn is_answer(&self) -> Option<bool> {
        match self {
            Self::WebSocket(_) | Self::Closed(_) | Self::BadFrames | Self::Wanted(_) => Some(true),
            Self::NoUpgrade | Self::Silent | Self::Backlog | Self::Socket(_) => Some(false),
            Self::Overslept | Self::Ours => None,
        }
    }

    /// The close frame to send; `None` where the WebSocket has already sent one, or nobody would read it.
    #[must_use]
    pub(crate) const fn close_frame(&self) -> Option<(u16, &'static str)> {
        match self {
            Self::WebSocket(_)
            | Self::Closed(_)
            | Self::Socket(_)
            | Self::NoUpgrade
            | Self::Silent
            | Self::Backlog
            | Self::Overslept => None,
            Self::BadFrames => Some((1007, "frames cannot be decoded")),
            Self::Wanted(_) | Self::Ours => Some((1000, "")),
        }
    }
}
