//! Whether ports lead to all shards.

use std::net::{Ipv4Addr, Ipv6Addr};

use sunstar_tcpip::free_ports::FreePorts;
use sunstar_wire::toeplitz::Toeplitz;
use sunstar_wire::{AddressPair, FourTuple};

/// So many keys are tried for one by which the ports lead to all shards. Of eight ports in a row one in ten does for eight shards.
pub(super) const MAX_KEYS: usize = 512;

/// How many of the highest bits of hashes matter: if they have all their values among some hashes, some of those are of each shard. For a
/// power of two each value is one shard's; else a shard's part is longer than those of two values, so one lies within, wherever it begins.
const fn bits(shards: u32) -> u32 {
    match shards {
        0 | 1 => 0,
        _ if shards.is_power_of_two() => shards.ilog2(),
        _ => shards.ilog2() + 2,
    }
}

/// How many ports there have to be at least.
pub(super) const fn fewest(shards: u32) -> usize {
    1 << bits(shards)
}

/// Whether answers to one of the ports come to each shard, whatever the addresses and the other port, over either version of IP.
///
/// The hash is linear: whatever else goes into it changes which port leads where, and not whether the highest bits have all their values
/// among the ports.
pub(super) fn reaches_all(hash: &Toeplitz, shards: u32, ports: &FreePorts) -> bool {
    let (bits, fewest) = (bits(shards), fewest(shards));
    if bits == 0 || ports.count() < fewest {
        return bits == 0 && ports.count() > 0;
    }
    let pairs = [
        AddressPair::V4 { src: Ipv4Addr::UNSPECIFIED, dst: Ipv4Addr::UNSPECIFIED },
        AddressPair::V6 { src: Ipv6Addr::UNSPECIFIED, dst: Ipv6Addr::UNSPECIFIED },
    ];
    pairs.into_iter().all(|addresses| {
        let mut is_reached = vec![false; fewest];
        let mut missing = fewest;
        for dst_port in ports.all_from(0) {
            let highest = hash.hash_flow(FourTuple { addresses, src_port: 0, dst_port }) >> (u32::BITS - bits);
            let place = usize::try_from(highest).ok().and_then(|place| is_reached.get_mut(place));
            missing -= usize::from(place.is_some_and(|place| !std::mem::replace(place, true)));
            if missing == 0 {
                return true;
            }
        }
        false
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use sunstar_wire::toeplitz::MICROSOFT_KEY;

    use super::super::place;
    use super::*;

    fn ports(first: u16, count: u16) -> FreePorts {
        (first..first + count).collect()
    }

    #[test]
    fn ports_that_are_fewer_than_needed_never_do() {
        let hash = Toeplitz::new(&MICROSOFT_KEY);
        for (shards, needed) in [(1, 1), (2, 2), (3, 8), (4, 4), (5, 16), (8, 8), (9, 32)] {
            assert_eq!(fewest(shards), needed, "{shards}");
            let few = u16::try_from(needed - 1).unwrap();
            assert!(!reaches_all(&hash, shards, &ports(5_000, few)), "{shards}");
            assert!(reaches_all(&hash, shards, &FreePorts::default()), "{shards}");
        }
        assert!(reaches_all(&hash, 1, &ports(80, 1)));
    }

    /// For some hundred destinations, each with what it adds to the hash.
    #[test]
    fn all_shards_are_reached_wherever_connections_go() {
        let hash = Toeplitz::new(&MICROSOFT_KEY);
        let mut seen = BTreeSet::new();
        for shards in 1..=9 {
            for ports in (1..9).map(|count| ports(5_000, 1 << count)) {
                let is_sure = reaches_all(&hash, shards, &ports);
                let reaches = |last: u8| {
                    let addresses = AddressPair::V4 { src: [192, 0, 2, last].into(), dst: [10, 9, 0, 2].into() };
                    let flow = |dst_port| FourTuple { addresses, src_port: u16::from(last) * 7, dst_port };
                    let reached = ports.all_from(0).map(|port| place(hash.hash_flow(flow(port)), shards));
                    reached.collect::<BTreeSet<_>>().len() == shards as usize
                };
                let always = (0..=u8::MAX).all(reaches);
                assert!(always || !is_sure, "{shards} shards, {} ports", ports.count());
                seen.insert((is_sure, always));
            }
        }
        assert!(seen.contains(&(true, true)) && seen.contains(&(false, false)));
    }
}
