//! Integration tests: one binary, a module per subject.

mod gateway;
//! The integration tests: one binary, a module per subject.

mod cli;
mod config;
mod sim;
mod venues;
