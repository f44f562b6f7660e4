//! The server on simulated hosts.

mod access_log;
mod bodies;
mod client;
mod endings;
#[cfg(feature = "files")]
mod files;
pub(crate) mod fuzzed;
mod keep_alive;
mod limits;
mod metrics;
mod refusals;
mod routes;
mod site;
mod stop;
mod stuck;
mod sweep;
mod time;
