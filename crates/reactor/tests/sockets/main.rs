//! Sockets, operation by operation, on each driver that the machine has.

mod acknowledged;
mod closing;
mod connecting;
mod datagrams;
mod files;
mod listening;
mod net_spread;
mod net_streams;
mod random;
mod shortage;
mod streams;
mod support;
