//! The server on simulated hosts.

mod bodies;
mod client;
mod endings;
mod keep_alive;
mod limits;
mod refusals;
mod site;
mod stop;
mod stuck;
mod sweep;
mod time;
