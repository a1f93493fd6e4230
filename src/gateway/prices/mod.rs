//! Prices: names and subscriptions of clients, and when each client receives which price.

pub mod deliver;
pub mod names;
pub mod subscriptions;
pub mod topics;
