//! The cluster: the election and its simulation, the offline checker.

mod election;
pub mod history;
mod simulation;
