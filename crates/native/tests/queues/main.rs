//! Hosts with a queue for each shard: no packet of a flow is forwarded, if shards are computed as queues are chosen.

mod memory;
mod nic;
mod talk;
mod vhost_user;
