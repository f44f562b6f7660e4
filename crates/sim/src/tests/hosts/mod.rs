//! Hosts with native networks.

mod black_holes;
mod faults;
mod goodput;
mod links;
mod sweep;
