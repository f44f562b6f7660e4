use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;

use proptest::prelude::*;
use sunstar_device::IndirectionTable;
use sunstar_tcpip::tcp::connection::Options;
use sunstar_tcpip::tcp::secret::Secret;
use sunstar_tcpip::tcp::sockets::{Limits, Sockets};
use sunstar_tcpip::time::Instant;
use sunstar_wire::IpProtocol;
use sunstar_wire::toeplitz::{MICROSOFT_KEY, SYMMETRIC_KEY};

use super::super::Spread;
use super::*;

fn highest(shards: u32, key: [u8; KEY_BYTES]) -> Placement {
    Placement::told(shards, FlowHash { key, indirection: Indirection::Highest })
}

fn table(shards: u32, key: [u8; KEY_BYTES], queues: &[u16]) -> Placement {
    let table = IndirectionTable::new(queues).expect("its length is a power of two");
    Placement::told(shards, FlowHash { key, indirection: Indirection::Table(table) })
}

/// As network cards have it at first.
fn round_robin(shards: u32, key: [u8; KEY_BYTES], entries: usize) -> Placement {
    let in_turn = (0..u16::try_from(shards).expect("there are few")).cycle();
    table(shards, key, &in_turn.take(entries).collect::<Vec<_>>())
}

/// Opens connections on a shard, each of which has to have a port whose answers come there; answers how many ports were looked at.
fn ports_looked_at(placement: &Placement, here: usize, connections: u32) -> u32 {
    let (src, dst) = (Ipv4Addr::new(10, 0, 0, 1), SocketAddr::from(([10, 0, 0, 2], 80)));
    let spread = Rc::new(Spread { placement: placement.clone(), ..Spread::of(placement.shards) });
    let (looked_at, known) = (Rc::new(Cell::new(0)), Rc::clone(&spread));
    let counted = Rc::clone(&looked_at);
    let mut sockets = Sockets::new(Secret::new([7; 16]), Limits::DEFAULT);
    sockets.set_port_filter(move |flow| {
        counted.set(counted.get() + 1);
        known.owner(IpProtocol::TCP, flow.reversed()) == here
    });
    for _ in 0..connections {
        let id = sockets.connect(Instant::from_micros(0), (src, 0).into(), dst, Options::DEFAULT);
        let flow = sockets.flow(id.expect("there are more")).expect("it is ours");
        assert_eq!(spread.owner(IpProtocol::TCP, flow.reversed()), here);
    }
    looked_at.get()
}

/// As many as there are shards, on average, each of which would be found by chance: not more since there are many, or since many are in use.
/// By the lowest bits of this hash the ports of a shard lie in rows, so where most are in use the search goes on by lot more often.
#[test]
fn each_shard_finds_ports_for_its_answers_among_few() {
    for (shards, key) in [2, 4, 8].into_iter().flat_map(|shards| [(shards, MICROSOFT_KEY), (shards, SYMMETRIC_KEY)]) {
        for (placement, most_each) in [(highest(shards, key), 2), (round_robin(shards, key, 512), 4)] {
            assert!(placement.shares_out());
            for here in 0..shards as usize {
                // Most of the ports that this shard can have.
                let most = 28_232 * 8 / 10 / shards;
                let (looked_at, bound) = (ports_looked_at(&placement, here, most), most_each * shards * most);
                assert!(looked_at < bound, "shard {here} of {shards}: {looked_at} for {most} connections");
            }
        }
    }
}

prop_compose! {
    fn tables()(bits in 0_u32..=7, shards in 1_u16..=8)
        (queues in prop::collection::vec(0..shards, 1_usize << bits), shards in Just(shards)) -> (u32, Vec<u16>) {
        (shards.into(), queues)
    }
}

prop_compose! {
    fn flows()(is_v6: bool, src: [u8; 16], dst: [u8; 16], src_port: u16, dst_port: u16) -> FourTuple {
        let v4 = |[a, b, c, d, ..]: [u8; 16]| Ipv4Addr::new(a, b, c, d);
        let addresses = if is_v6 {
            AddressPair::V6 { src: src.into(), dst: dst.into() }
        } else {
            AddressPair::V4 { src: v4(src), dst: v4(dst) }
        };
        FourTuple { addresses, src_port, dst_port }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// A table that is taken leads to all shards. Nearly the same number of ports leads to each of the places that are reached, in rows, so a shard
    /// with one entry looks at a run of sixteen ports for each entry of the table, on average, and twice as often at most, as ports are no power of two.
    #[test]
    fn a_flow_has_the_shard_at_its_place_in_the_table(
        (shards, queues) in tables(),
        key in prop::collection::vec(any::<u8>(), KEY_BYTES),
        flows in prop::collection::vec(flows(), 16),
    ) {
        const CONNECTIONS: u32 = 20;

        let key = *key.first_chunk().unwrap();
        let hash = Toeplitz::new(&key);
        let placement = table(shards, key, &queues);
        let spread = Spread { placement: placement.clone(), ..Spread::of(shards) };
        for flow in flows {
            let at = |hash: u32| usize::from(queues[hash as usize % queues.len()]);
            prop_assert_eq!(spread.owner(IpProtocol::TCP, flow), at(hash.hash_flow(flow)));
            prop_assert_eq!(spread.owner_of_fragments(flow.addresses), at(hash.hash_addresses(flow.addresses)));
        }
        let all_have_entries = (0..shards).all(|shard| queues.iter().any(|queue| u32::from(*queue) == shard));
        prop_assert!(all_have_entries || !placement.shares_out());
        if placement.shares_out() {
            let entries = u32::try_from(queues.len()).unwrap();
            for here in 0..shards as usize {
                let looked_at = ports_looked_at(&placement, here, CONNECTIONS);
                prop_assert!(looked_at < 64 * entries * CONNECTIONS, "{} for {} entries", looked_at, entries);
            }
        }
    }
}

/// Both ends of a flow find the same shard, if both have as many.
#[test]
fn a_symmetric_key_leads_both_directions_to_one_shard() {
    let placement = highest(4, SYMMETRIC_KEY);
    let mut counts = [0; 4];
    for src_port in 1_000..2_000 {
        let addresses = AddressPair::V4 { src: Ipv4Addr::new(10, 0, 0, 1), dst: Ipv4Addr::new(10, 0, 0, 2) };
        let flow = FourTuple { addresses, src_port, dst_port: 80 };
        let shard = placement.of_flow(flow);
        assert_eq!(shard, placement.of_flow(flow.reversed()));
        counts[shard] += 1;
    }
    assert!(counts.iter().all(|count| (200..300).contains(count)), "{counts:?}");
}

/// A key whose bits are the same wherever ports lie makes one shard of all ports.
#[test]
fn keys_that_hide_ports_are_not_taken() {
    let share_out = |shards, key| [highest(shards, key), round_robin(shards, key, 128)].map(|it| it.shares_out());
    for byte in [0, 0xff] {
        assert_eq!(share_out(4, [byte; KEY_BYTES]), [false; 2]);
    }
    let published = MICROSOFT_KEY;
    for shards in [1, 2, 3, 7, 64] {
        for key in [published, SYMMETRIC_KEY] {
            assert_eq!(share_out(shards, key), [true; 2], "{shards} shards");
        }
    }
    let mut hidden = published;
    // What the highest bits of the hash take of the destination's port over IPv4.
    hidden[10..14].fill(0);
    assert!(!highest(2, hidden).shares_out());
    // The same but for the highest bit of the port, which all have that are chosen.
    hidden[10] = 0x80;
    assert!(!highest(2, hidden).shares_out());
    // What the lowest bits take of it.
    hidden = published;
    hidden[13..16].fill(0);
    assert_eq!(share_out(2, hidden), [true, false]);
}

#[test]
fn tables_that_leave_out_shards_or_lead_to_others_are_not_taken() {
    let shares_out = |shards, queues: &[u16]| table(shards, MICROSOFT_KEY, queues).shares_out();
    assert!(shares_out(3, &[0, 1, 2, 0]));
    assert!(!shares_out(4, &[0, 1, 2, 0]) && !shares_out(2, &[0, 1, 2, 0]));
}
