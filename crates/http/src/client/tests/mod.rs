//! The client on simulated hosts.

mod bodies;
mod endless;
mod faults;
mod metrics;
mod pool;
mod sweep;
mod timeouts;
mod uris;
mod world;
