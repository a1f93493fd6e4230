//! Terms and arithmetic of trading: exact decimals, quotes, books, opportunities. No bytes, no clock.

pub mod book;
pub mod decimal;
pub mod directory;
pub mod opportunity;
pub(crate) mod precision;
pub mod quote;
pub(crate) mod refusal;
pub mod rule;
pub mod statistics;
pub mod survival;

pub use decimal::Decimal;
pub(crate) use decimal::Figure;
pub use directory::{Directory, InstrumentId, PairId, VenueId};
pub use quote::{Level, Quote};
