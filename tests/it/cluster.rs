//! The cluster against a real redis-server, started by each test for itself on a free port of this machine.

mod follow;
mod legacy;
mod server;
mod store;
