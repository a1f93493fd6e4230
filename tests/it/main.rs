//! The integration tests: one binary, a module per subject.

mod cli;
mod cluster;
mod config;
mod decimals;
mod discovery;
mod faults;
mod feed;
mod floors;
mod gateway;
mod keep;
mod lag;
mod reload;
mod sim;
mod top;
mod venues;
