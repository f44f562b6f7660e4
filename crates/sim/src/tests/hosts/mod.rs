//! Hosts with native networks.

mod attacker;
mod attacks;
mod faults;
mod goodput;
mod links;
mod sweep;
