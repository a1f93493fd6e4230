//! The cluster: the election and its simulation, the offline checker; and all that stands on Redis, against a real
//! redis-server that each test starts for itself on a free port of this machine.

mod election;
mod follow;
pub mod history;
mod lead;
mod legacy;
mod server;
mod simulation;
mod start;
mod store;
