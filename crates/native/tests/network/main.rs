//! Native networks keep the contract of `sunstar_net::socket`: two hosts in a simulated world, each with a stack of its own, and a
//! link between them.

mod closing;
mod datagrams;
mod devices;
mod free_ports;
mod listening;
mod sending;
mod spread;
mod streams;
mod support;
