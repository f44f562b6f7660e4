//! Hosts with native networks.

mod faults;
mod goodput;
mod links;
mod sweep;
