//! The integration tests: one binary, a module per subject.

mod cli;
mod client_frames;
mod cluster;
mod config;
mod decimals;
mod discovery;
mod documents;
mod episodes;
mod faults;
mod feed;
mod floors;
mod gateway;
mod halts;
mod lag;
mod last_known;
mod one_thread;
mod phantoms;
mod pipeline;
mod refusals;
mod reload;
mod sim;
mod survival;
mod top;
mod venues;
