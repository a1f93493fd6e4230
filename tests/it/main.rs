//! The integration tests: one binary, a module per subject.

mod sim;
mod cli;
mod config;
mod venues;
