//! Hosts with native networks.

mod attacker;
mod attacks;
mod black_holes;
mod faults;
mod frames;
mod goodput;
mod links;
mod sweep;
