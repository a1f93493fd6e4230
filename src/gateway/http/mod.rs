//! HTTP: pages, the dashboard, streams and admin calls.

pub mod admin;
pub mod assets;
pub mod page;
pub mod pages;
pub mod refusals;
pub mod respond;
pub mod routes;
pub mod survey;
