//! The client on simulated hosts.

mod bodies;
mod endless;
mod expect;
mod faults;
mod kept;
mod metrics;
mod pool;
mod sweep;
mod timeouts;
mod uris;
mod world;
