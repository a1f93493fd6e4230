//! HTTP: pages, the dashboard, streams and admin calls.

pub mod admin;
pub mod assets;
pub mod page;
pub mod pages;
pub mod refusals;
pub(crate) mod respond;
pub mod routes;
pub(crate) mod survey;
