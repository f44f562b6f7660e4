//! memcached as a process, with each driver, on one shard and on two.

mod abuse;
mod beside;
mod datagrams;
mod memory;
mod misbehave;
mod requests;
mod server;
mod tools;
