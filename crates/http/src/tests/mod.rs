//! The server on simulated hosts.

mod bodies;
mod client;
mod endings;
#[cfg(feature = "files")]
mod files;
mod keep_alive;
mod refusals;
mod site;
mod stop;
mod sweep;
