//! Recorded frames: reading captures, decoding them to quotes, replaying them on their own clock.

pub mod capture;
pub mod decode;
pub mod lines;
pub mod replay;
