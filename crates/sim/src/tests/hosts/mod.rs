//! Hosts with native networks.

mod faults;
mod links;
