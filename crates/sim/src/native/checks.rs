//! What must hold of a native network: while it works, and when it has nothing more to do.

use std::time::Duration;

use sunstar_tcpip::stack::Limits;

use super::{Native, NativeShard};
use crate::failure::Failure;
use crate::host::Phase;
use crate::sim::Sim;

/// Bounds are looked at in one round of so many.
const ROUNDS_PER_CHECK: u64 = 16;

/// What is over is forgotten within this time: as long as TCP keeps anything for those who are gone.
const SETTLE_TIME: Duration = Duration::from_secs(3_600);

/// How often it is asked whether it is so far.
const SETTLE_STEP: Duration = Duration::from_secs(5);

impl Sim {
    /// Looks whether the bounds of a shard's network hold.
    pub(crate) fn check_bounds(&self, host: usize, shard: usize) -> Result<(), Failure> {
        let Some(native) = self.hosts[host].native.as_ref().filter(|_| self.rounds.is_multiple_of(ROUNDS_PER_CHECK))
        else {
            return Ok(());
        };
        match native.shards.get(shard).and_then(|shard| shard.exceeded(&native.options.network.limits)) {
            Some(what) => Err(Failure::Bound(format!("{what} on shard {shard} of {}", self.hosts[host].host.name))),
            None => Ok(()),
        }
    }

    /// Stops the tasks of all hosts with a native network, lets what they have left be sent on wires that are good ones now, and looks
    /// whether anything is kept for ever.
    pub(crate) fn settle(&mut self) -> Result<(), Failure> {
        if !self.hosts.iter().any(|host| host.has_network()) {
            return Ok(());
        }
        self.heal();
        for number in 0..self.hosts.len() {
            let state = &mut self.hosts[number];
            if !state.has_network() {
                continue;
            }
            state.main = None;
            state.phase = Phase::Settling;
            self.shards[state.shards.clone()].iter().filter_map(|shard| shard.executor.as_ref()).for_each(|executor| {
                executor.stop_tasks();
            });
            state.shards.clone().for_each(|shard| self.make_ready(shard));
        }
        let end = self.now() + SETTLE_TIME;
        // Main functions have had their time.
        self.limit_time(2 * SETTLE_TIME);
        let leaks = loop {
            let until = self.now() + SETTLE_STEP;
            while self.step(Some(until))? {}
            self.world.pass_until(until);
            let leaks = self.network_leaks();
            if leaks.is_empty() || until >= end {
                break leaks;
            }
        };
        if leaks.is_empty() { Ok(()) } else { Err(Failure::Leak(leaks)) }
    }

    /// What is left in the networks.
    fn network_leaks(&self) -> Vec<String> {
        let hosts = self.hosts.iter().filter(|host| host.has_network());
        hosts
            .flat_map(|state| {
                let shards = state.native.iter().flat_map(|native: &Native| &native.shards).enumerate();
                shards.flat_map(move |(shard, network)| {
                    let left = network.left().into_iter();
                    left.map(move |what| format!("{what} on shard {shard} of {}", state.host.name))
                })
            })
            .collect()
    }
}

impl NativeShard {
    /// What is left of those who are gone.
    fn left(&self) -> Vec<String> {
        let levels = self.network.levels();
        let tcp = levels.tcp;
        let kinds = [
            (tcp.connections, "connections"),
            (tcp.half_open, "strangers who have not confirmed"),
            (tcp.time_wait, "connections that are over"),
            (tcp.flows, "entries in the table of flows"),
            (tcp.timers, "timers of connections"),
            (tcp.replies, "answers of no connection"),
            (usize::try_from(tcp.growth_bytes).unwrap_or(usize::MAX), "bytes by which buffers have grown"),
            (tcp.orphans, "connections that were let go"),
            (usize::try_from(tcp.send_bytes).unwrap_or(usize::MAX), "bytes that wait to be acknowledged"),
            (levels.incomplete_packets, "packets of which fragments are missing"),
            (levels.outgoing_packets, "packets that wait to be sent"),
            (levels.loopback_packets, "packets to ourselves"),
            (levels.header_frames, "frames of headers"),
            (self.pools.iter().map(|pool| pool.counters().in_use_frames).sum(), "frames of the device"),
        ];
        kinds.into_iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect()
    }

    /// The first bound that does not hold.
    fn exceeded(&self, limits: &Limits) -> Option<String> {
        let levels = self.network.levels();
        let (tcp, most) = (levels.tcp, limits.tcp);
        let number = |limit: u32| usize::try_from(limit).unwrap_or(usize::MAX);
        let kinds = [
            (tcp.connections, number(most.connections), "connections"),
            (tcp.half_open, number(most.half_open), "strangers"),
            (tcp.time_wait, number(most.time_wait), "connections that are over"),
            (tcp.replies, number(most.replies), "answers of no connection"),
            (tcp.flows, tcp.connections + tcp.half_open + tcp.time_wait, "entries in the table of flows"),
            (levels.neighbours, limits.neighbours.neighbours, "neighbours"),
            (levels.incomplete_packets, limits.reassembly.packets, "packets of which fragments are missing"),
            (levels.incomplete_bytes, limits.reassembly.bytes, "bytes of fragments"),
            (levels.outgoing_packets, limits.outgoing_packets, "packets that wait to be sent"),
            (levels.loopback_packets, limits.loopback_packets, "packets to ourselves"),
        ];
        let (count, limit, what) = kinds.into_iter().find(|(count, limit, _)| count > limit)?;
        Some(format!("{count} {what}, of which there may be {limit},"))
    }
}
