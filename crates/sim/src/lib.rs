//! Simulation.
#![forbid(unsafe_code)]

mod failure;
mod host;
mod network;
mod options;
mod platform;
mod random;
mod report;
mod scheduler;
mod seeds;
mod sim;
#[cfg(test)]
mod tests;
mod trace;
mod world;

pub use failure::{Failure, SimError};
pub use host::{Host, resolve};
pub use network::NetworkCounters;
pub use options::{Chance, NetworkOptions, SimOptions};
pub use random::Random;
pub use report::{HostReport, Report};
pub use seeds::{SEEDS_VARIABLE, for_each_seed};
pub use sim::{Sim, TRACE_VARIABLE};
