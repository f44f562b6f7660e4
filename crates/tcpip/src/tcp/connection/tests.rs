//! Packet scripts, and pairs of connections on a simulated wire.

mod pair;
mod transfer;
