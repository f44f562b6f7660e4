//! What a world that ended well has to tell.

use std::net::Ipv4Addr;

use sunstar_executor::{Instant, Stats};

use crate::ether::LinkCounters;
use crate::network::NetworkCounters;

/// What became of a world.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// The seed that it came from.
    pub seed: u64,
    /// When the last host with a purpose was stopped, before the network came to rest.
    pub ended_at: Instant,
    /// The digest of the whole trace: equal for equal traces.
    pub digest: u64,
    /// Rounds of all shards.
    pub rounds: u64,
    /// Events that were scheduled: arrivals, timers, rounds that waited for their time.
    pub events: u64,
    /// What the network did.
    pub network: NetworkCounters,
    /// What happened on the wires between hosts with native networks.
    pub links: LinkCounters,
    /// The hosts in the order in which they were made.
    pub hosts: Vec<HostReport>,
}

/// What became of a host.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HostReport {
    /// Its name.
    pub name: String,
    /// Its address.
    pub ip: Ipv4Addr,
    /// The counters of each shard when the host was stopped.
    pub shards: Vec<Stats>,
}
