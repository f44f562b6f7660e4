//! Whether ports lead to all shards.

use std::collections::BTreeSet;

use sunstar_device::{Indirection, IndirectionTable};
use sunstar_tcpip::free_ports::FreePorts;
use sunstar_wire::{AddressPair, FourTuple};

use super::placement::{NOWHERE, Placement};

/// So many keys are tried for one by which the ports lead to all shards. Of eight ports in a row one in ten does for eight shards.
pub(super) const MAX_KEYS: usize = 512;

/// The end of a flow, as it comes, whose port is looked at.
#[derive(Clone, Copy, Debug)]
pub(super) enum End {
    /// The other side's.
    Source,
    /// This side's, as of answers.
    Destination,
}

impl End {
    /// A flow with that port at this end, and none at the other one.
    pub(super) const fn flow(self, addresses: AddressPair, port: u16) -> FourTuple {
        match self {
            Self::Source => FourTuple { addresses, src_port: port, dst_port: 0 },
            Self::Destination => FourTuple { addresses, src_port: 0, dst_port: port },
        }
    }
}

/// How many of the highest bits of hashes matter: if they have all their values among some hashes, some of those are of each shard. For a
/// power of two each value is one shard's; else a shard's part is longer than those of two values, so one lies within, wherever it begins.
const fn bits(shards: u32) -> u32 {
    match shards {
        0 | 1 => 0,
        _ if shards.is_power_of_two() => shards.ilog2(),
        _ => shards.ilog2() + 2,
    }
}

/// How many ports there have to be at least where the highest bits choose.
pub(super) const fn fewest(shards: u32) -> usize {
    1 << bits(shards)
}

/// Whether what has one of the ports at that end comes to each shard, whatever the addresses and the other port, over either version of IP.
///
/// The hash is linear: whatever else goes into it changes which port leads where in one way for all of them.
pub(super) fn reaches_all(placement: &Placement, ports: &FreePorts, end: End) -> bool {
    let Placement { hash, indirection, shards } = placement;
    NOWHERE.into_iter().all(|addresses| {
        let hashes = ports.all_from(0).map(|port| hash.hash_flow(end.flow(addresses, port)));
        match indirection {
            Indirection::Highest => have_all_values(hashes, *shards),
            Indirection::Table(table) => lead_to_all(hashes, table, *shards),
        }
    })
}

/// Whether the highest bits have all their values among the hashes: what is added to all of them changes nothing about that.
fn have_all_values(mut hashes: impl Iterator<Item = u32>, shards: u32) -> bool {
    let (bits, mut missing) = (bits(shards), fewest(shards));
    let mut is_reached = vec![false; missing];
    hashes.any(|hash| {
        let highest = u64::from(hash) << bits >> u32::BITS;
        let place = usize::try_from(highest).ok().and_then(|place| is_reached.get_mut(place));
        missing -= usize::from(place.is_some_and(|place| !std::mem::replace(place, true)));
        missing == 0
    })
}

/// Whether the table's places of the hashes lead to all shards, whatever is added to all of them: a table may lead anywhere, so all is tried.
fn lead_to_all(hashes: impl Iterator<Item = u32>, table: &IndirectionTable, shards: u32) -> bool {
    let places: BTreeSet<usize> = hashes.map(|hash| table.place(hash)).collect();
    let queues = table.queues();
    (0..queues.len()).all(|added| {
        let mut missing = shards;
        let mut is_reached = vec![false; shards as usize];
        places.iter().any(|place| {
            let shard = is_reached.get_mut(usize::from(queues[place ^ added]));
            missing -= u32::from(shard.is_some_and(|is_reached| !std::mem::replace(is_reached, true)));
            missing == 0
        })
    })
}

#[cfg(test)]
mod tests {
    use sunstar_device::FlowHash;
    use sunstar_wire::toeplitz::{KEY_BYTES, MICROSOFT_KEY};

    use super::*;

    fn ports(first: u16, count: u16) -> FreePorts {
        (first..first + count).collect()
    }

    fn highest(shards: u32) -> Placement {
        Placement::told(shards, FlowHash { key: MICROSOFT_KEY, indirection: Indirection::Highest })
    }

    fn table(key: [u8; KEY_BYTES], queues: &[u16]) -> Placement {
        let indirection = Indirection::Table(IndirectionTable::new(queues).unwrap());
        let shards = queues.iter().max().map_or(1, |most| u32::from(*most) + 1);
        Placement::told(shards, FlowHash { key, indirection })
    }

    fn answers_reach_all(placement: &Placement, ports: &FreePorts) -> bool {
        reaches_all(placement, ports, End::Destination)
    }

    #[test]
    fn ports_that_are_fewer_than_needed_never_do() {
        for (shards, needed) in [(1, 1), (2, 2), (3, 8), (4, 4), (5, 16), (8, 8), (9, 32)] {
            assert_eq!(fewest(shards), needed, "{shards}");
            let few = u16::try_from(needed - 1).unwrap();
            assert!(!answers_reach_all(&highest(shards), &ports(5_000, few)), "{shards}");
            assert!(answers_reach_all(&highest(shards), &FreePorts::default()), "{shards}");
        }
        assert!(answers_reach_all(&highest(1), &ports(80, 1)));
        let placement = table(MICROSOFT_KEY, &[0, 1, 2, 3]);
        assert!(!answers_reach_all(&placement, &ports(5_000, 3)) && !answers_reach_all(&placement, &ports(5_000, 0)));
        assert!(answers_reach_all(&placement, &FreePorts::default()));
    }

    /// For some hundred destinations, each with what it adds to the hash.
    #[test]
    fn all_shards_are_reached_wherever_connections_go() {
        let tables = [1, 2, 5, 8].into_iter().flat_map(|shards: u16| {
            let round_robin: Vec<u16> = (0..128).map(|place| place % shards).collect();
            // But for the first shard each has two places.
            let others = 2 * (shards - 1);
            let uneven: Vec<u16> = (0..128).map(|place| if place < others { 1 + place / 2 } else { 0 }).collect();
            [table(MICROSOFT_KEY, &round_robin), table(MICROSOFT_KEY, &uneven)]
        });
        let mut seen = BTreeSet::new();
        for (at, placement) in (1..=9).map(highest).chain(tables).enumerate() {
            for ports in (1..9).map(|count| ports(5_000, 1 << count)) {
                let is_sure = answers_reach_all(&placement, &ports);
                let reaches = |last: u8| {
                    let addresses = AddressPair::V4 { src: [192, 0, 2, last].into(), dst: [10, 9, 0, 2].into() };
                    let flow = |dst_port| FourTuple { addresses, src_port: u16::from(last) * 7, dst_port };
                    let reached = ports.all_from(0).map(|port| placement.of_flow(flow(port)));
                    reached.collect::<BTreeSet<_>>().len() == placement.shards as usize
                };
                let always = (0..=u8::MAX).all(reaches);
                assert!(always || !is_sure, "{at}: {} shards, {} ports", placement.shards, ports.count());
                seen.insert((matches!(placement.indirection, Indirection::Highest), is_sure, always));
            }
        }
        for is_highest in [true, false] {
            assert!(seen.contains(&(is_highest, true, true)) && seen.contains(&(is_highest, false, false)));
        }
    }

    /// What a port adds to the place reaches two of four values: which shards these are depends on the rest of the hash.
    #[test]
    fn a_shard_that_is_reached_by_luck_alone_is_not() {
        let mut key = [0; KEY_BYTES];
        // The lowest bit of a hash is that of the destination's port, which ends at byte 12 or 36 of what is hashed.
        for byte in [12, 36] {
            key[byte + 3] = 2;
        }
        assert!(answers_reach_all(&table(key, &[0, 1, 0, 1]), &ports(5_000, 2)));
        assert!(!answers_reach_all(&table(key, &[0, 1, 1, 1]), &ports(5_000, 2)));
    }
}
