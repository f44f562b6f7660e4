//! A network in memory for tests: seeded delays and splits, several shards on one thread.

mod datagrams;
mod network;
mod sockets;
mod world;

pub(crate) use network::Random;
pub(crate) use world::{World, give_up_after, never, tick};
