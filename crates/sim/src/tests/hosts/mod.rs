//! Hosts with native networks.

mod black_holes;
mod attacker;
mod attacks;
mod faults;
mod goodput;
mod links;
mod sweep;
