//! How a flow's shard follows from its addresses and ports.

use std::net::{Ipv4Addr, Ipv6Addr};

use sunstar_device::{FlowHash, Indirection};
use sunstar_executor::current;
use sunstar_tcpip::free_ports::FreePorts;
use sunstar_wire::toeplitz::{KEY_BYTES, Toeplitz};
use sunstar_wire::{AddressPair, FourTuple};

use super::ports::FREE_BITS;
use super::reach::{self, End};

#[cfg(test)]
mod tests;

/// A hash, and which of its values stand for which shard.
#[derive(Clone)]
pub(super) struct Placement {
    pub(super) hash: Toeplitz,
    pub(super) indirection: Indirection,
    pub(super) shards: u32,
}

/// What was chosen.
pub(super) struct Choice {
    pub(super) placement: Placement,
    /// Whether some of the ports that connections are opened from lead to each shard: if not, ports are missing.
    pub(super) reaches_all: bool,
    /// Whether it is as devices tell.
    pub(super) is_told: bool,
}

/// Chooses for so many shards, whose connections are opened from those ports. It is as devices tell, unless ports lead to all shards by another key alone:
/// who can't open a connection has lost more than who forwards.
pub(super) fn choose(shards: u32, told: Option<FlowHash>, ports: &FreePorts) -> Choice {
    let told = told.map(|told| Placement::told(shards, told)).filter(Placement::shares_out);
    let chosen = |placement, reaches_all, is_told| Choice { placement, reaches_all, is_told };
    let reaches_all = |placement: &Placement| reach::reaches_all(placement, ports, End::Destination);
    let told = match told {
        Some(told) if reaches_all(&told) => return chosen(told, true, true),
        told => told,
    };
    let most = if ports.count() < reach::fewest(shards) { 1 } else { reach::MAX_KEYS };
    match ((0..most).map(|_| Placement::secret(shards)).find(reaches_all), told) {
        (Some(secret), _) => chosen(secret, true, false),
        (None, Some(told)) => chosen(told, false, true),
        (None, None) => chosen(Placement::secret(shards), false, false),
    }
}

impl Placement {
    pub(super) fn told(shards: u32, FlowHash { key, indirection }: FlowHash) -> Self {
        Self { hash: Toeplitz::new(&key), indirection, shards }
    }

    /// By a key that nobody knows. One in some thousand keys hides ports from those bits of the hash that choose the shard:
    /// with some of them a shard would find no port for a connection, so none is taken.
    fn secret(shards: u32) -> Self {
        loop {
            let mut key = [0; KEY_BYTES];
            current::entropy(&mut key);
            let placement = Self::told(shards, FlowHash { key, indirection: Indirection::Highest });
            if placement.shares_out() {
                return placement;
            }
        }
    }

    /// By a key that everybody knows.
    #[cfg(test)]
    pub(super) fn of(shards: u32) -> Self {
        Self::told(shards, FlowHash { key: [0x55; KEY_BYTES], indirection: Indirection::Highest })
    }

    /// The shard of a flow.
    pub(super) fn of_flow(&self, flow: FourTuple) -> usize {
        self.shard(self.hash.hash_flow(flow))
    }

    /// The shard of what has no ports.
    pub(super) fn of_addresses(&self, addresses: AddressPair) -> usize {
        self.shard(self.hash.hash_addresses(addresses))
    }

    fn shard(&self, hash: u32) -> usize {
        match &self.indirection {
            Indirection::Highest => usize::try_from((u64::from(hash) * u64::from(self.shards)) >> 32).unwrap_or(0),
            Indirection::Table(table) => table.queue(hash),
        }
    }

    /// Whether ports alone lead to all shards, and to no others, whatever the addresses: those of either side that are chosen for connections, over
    /// either version of IP.
    fn shares_out(&self) -> bool {
        match &self.indirection {
            Indirection::Highest => self.shares_out_evenly(),
            Indirection::Table(table) => {
                let ports = FreePorts::default();
                table.queues().iter().all(|queue| u32::from(*queue) < self.shards)
                    && [End::Source, End::Destination].into_iter().all(|end| reach::reaches_all(self, &ports, end))
            }
        }
    }

    /// The hash is linear. If the port's bits reach all values of the hash's highest bits, of which a shard has four values at least, they do so
    /// beside any other input.
    fn shares_out_evenly(&self) -> bool {
        let bits = (u32::BITS - self.shards.saturating_sub(1).leading_zeros() + 2).min(FREE_BITS);
        let reaches_all = |addresses, end: End| {
            let mut basis: Vec<u32> = Vec::new();
            for port in (0..FREE_BITS).map(|bit| 1_u16 << bit) {
                let highest = self.hash.hash_flow(end.flow(addresses, port)) >> (u32::BITS - bits);
                let rest = basis.iter().fold(highest, |rest, known| rest.min(rest ^ known));
                basis.extend((rest != 0).then_some(rest));
            }
            basis.len() == bits as usize
        };
        NOWHERE
            .into_iter()
            .all(|addresses| reaches_all(addresses, End::Destination) && reaches_all(addresses, End::Source))
    }
}

/// Addresses of either version that add nothing to a hash.
pub(super) const NOWHERE: [AddressPair; 2] = [
    AddressPair::V4 { src: Ipv4Addr::UNSPECIFIED, dst: Ipv4Addr::UNSPECIFIED },
    AddressPair::V6 { src: Ipv6Addr::UNSPECIFIED, dst: Ipv6Addr::UNSPECIFIED },
];
