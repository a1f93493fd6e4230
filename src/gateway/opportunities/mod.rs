//! Opportunities: the log of open and closed ones, alerts, and the messages to clients that follow them.

pub mod deliver;
pub(crate) mod demand;
pub mod log;
