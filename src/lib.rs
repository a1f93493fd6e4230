//! spreadwire: quotes of many exchanges in, prices and arbitrage alerts out, in microseconds.
//!
//! A quote travels one way, and the source tree is drawn along that way:
//!
//! ```text
//! bytes - net -> feed connection - venue codec -> Quote - SPSC ring -> detector: merge -> matrix row
//! matrix row - detector: scan -> Opportunity - SPSC ring -> gateway - protocol -> client
//! matrix row - gateway, at each client's pace (conflation) - protocol -> client
//! ```
//!
//! Modules import from floors below only: ground (`time`, `log`, `metrics`, `stage`), nouns and framing
//! (`market`, `wire`), languages (`venues`, `protocol`), machinery (`matrix`, `net`), stages (`feed`,
//! `detector`, `gateway`, `record`, `sim`), roof (`cli`, `config`, `wiring`).

pub mod log;
pub mod metrics;
pub mod stage;
pub mod time;

pub mod market;
pub mod wire;

pub mod protocol;
pub mod venues;

pub mod matrix;
pub mod net;

pub mod detector;
pub mod feed;
pub mod gateway;
pub mod record;
pub mod sim;

pub mod cli;
pub mod config;
pub mod wiring;
