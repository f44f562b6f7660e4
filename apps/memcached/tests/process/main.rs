//! memcached as a process, with each driver, on one shard and on two.

mod abuse;
mod beside;
mod classes;
mod datagrams;
mod memory;
mod misbehave;
#[path = "../../../../crates/device/tests/tap/namespace.rs"]
mod namespace;
mod native;
mod order;
mod requests;
mod server;
mod tools;
