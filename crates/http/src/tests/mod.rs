//! The server on simulated hosts.

mod bodies;
mod client;
mod endings;
mod keep_alive;
mod metrics;
mod refusals;
mod site;
mod stop;
mod sweep;
