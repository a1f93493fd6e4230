//! spreadwire: quotes of many exchanges in, prices and arbitrage alerts out, in microseconds.
//!
//! A quote takes one path through the program, and the modules follow that path:
//!
//! ```text
//! bytes - net -> feed connection - venue codec -> Quote - SPSC ring -> detector: merge -> matrix row
//! matrix row - detector: scan -> Opportunity - SPSC ring -> gateway - protocol -> client
//! matrix row - gateway, at each client's pace (conflation) - protocol -> client
//! matrix row - cluster: leader -> Redis -> cluster: follower - SPSC ring -> merge -> its own matrix
//! matrix row - last_known -> disk; at the next start: disk -> last_known - SPSC ring -> merge, as a last known value
//! ```
//!
//! A module imports only modules of lower floors; `tests/it/floors.rs` checks this. The floors, from the bottom: base
//! (`log`, `os`, `random`, `settings`, `time`, `metrics`, `stage`), trading terms and framing (`market`, `wire`), formats
//! (`protocol`, `venues`), shared data and network (`handover`, `matrix`, `net`), stages (`cluster`, `detector`, `discovery`,
//! `feed`, `gateway`, `last_known`, `sim`, `record`), assembly (`config`, `reload`, `cli`, `tables`, `top`, `wiring`).
//!
//! The same test checks that sockets are opened only in `net` and, for Redis, in `cluster`; that only `time` reads a
//! clock, only `stage` creates threads, only `config` reads the environment, and only `os` has `unsafe` code; and that
//! no channel is unbounded.
//!
//! Prices and sizes are decimals. Floating point finds candidates and marks quotes as suspect; integers decide whether
//! an alert is sent.

pub mod log;
pub mod metrics;
pub mod os;
pub mod random;
pub mod settings;
pub mod stage;
pub mod time;

pub mod market;
pub mod wire;

pub mod protocol;
pub mod venues;

pub mod handover;
pub mod matrix;
pub mod net;

pub mod cluster;
pub mod detector;
pub mod discovery;
pub mod feed;
pub mod gateway;
pub mod last_known;
pub mod record;
pub mod sim;

pub mod cli;
pub mod config;
pub mod reload;
pub mod tables;
pub mod top;
pub mod wiring;
