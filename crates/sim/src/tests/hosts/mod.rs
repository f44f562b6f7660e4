//! Hosts with native networks.

mod attacker;
mod attacks;
mod black_holes;
mod configured;
mod faults;
mod goodput;
mod links;
mod sweep;
