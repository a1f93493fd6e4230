//! The integration tests: one binary, a module per subject.

mod cli;
mod config;
mod gateway;
mod sim;
mod venues;
