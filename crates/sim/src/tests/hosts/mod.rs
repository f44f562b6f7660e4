//! Hosts with native networks.

mod faults;
mod links;
mod sweep;
