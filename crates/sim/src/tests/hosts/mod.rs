//! Hosts with native networks.

mod attacker;
mod attacks;
mod black_holes;
mod configured;
mod fairness;
mod faults;
mod frames;
mod goodput;
mod links;
mod streams;
mod sweep;
