//! Order books: which ones clients watch, and when each client receives which state.

pub mod deliver;
pub(crate) mod watches;
