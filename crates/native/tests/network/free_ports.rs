//! Ports where none is named, of which some are others' (see `Network::with_free_ports`).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use sunstar_device::{FlowHash, Indirection, IndirectionTable, LinkOptions, Queue, link};
use sunstar_executor::timer::sleep;
use sunstar_executor::{ShardId, submit_to};
use sunstar_native::{FreePorts, Network, NetworkOptions, Spread, SpreadOptions};
use sunstar_net::socket::{DatagramOptions, ListenOptions};
use sunstar_net::{Address, Error};
use sunstar_sim::Sim;
use sunstar_wire::toeplitz::MICROSOFT_KEY;

use crate::support::*;

fn port_of(address: &Address) -> u16 {
    address.inet().expect("it is of IP").port()
}

#[test]
fn only_those_are_chosen_that_are_free() {
    let (here, there) = link(LinkOptions::default());
    let mut sim = Sim::new(1);
    sim.host("server", 1, move || {
        start(here, SERVER, NetworkOptions::DEFAULT);
        async {
            let listener = listen(80);
            let mut streams = Vec::new();
            for _ in 0..3 {
                streams.push(accept(&listener).await);
            }
            sleep(Duration::from_secs(10)).await;
        }
    });
    sim.host("client", 1, move || {
        let made = Network::new(NetworkOptions::DEFAULT);
        let made = made.with_free_ports((5_000..=5_002).collect(), [6_000].into_iter().collect());
        start_network(made, there, CLIENT);
        async {
            let mut streams = Vec::new();
            for _ in 0..3 {
                streams.push(connect(&server(80)).await.unwrap());
            }
            let ports = streams.iter().map(|stream| port_of(&stream.local_address().unwrap()));
            assert_eq!(ports.collect::<BTreeSet<u16>>(), BTreeSet::from([5_000, 5_001, 5_002]));
            assert_eq!(connect(&server(80)).await.err(), Some(Error::AddressNotAvailable));

            let listeners = [(); 3].map(|()| listen(0));
            let ports = listeners.iter().map(|listener| port_of(&listener.local_address().unwrap()));
            assert_eq!(ports.collect::<BTreeSet<u16>>(), BTreeSet::from([5_000, 5_001, 5_002]));
            assert_eq!(network().listen(&any(0), &ListenOptions::default()).err(), Some(Error::AddressInUse));
            drop(listen(80));

            let bind = |port| network().bind(&any(port), &DatagramOptions::default());
            let socket = bind(0).unwrap();
            assert_eq!(port_of(&socket.local_address().unwrap()), 6_000);
            assert_eq!(bind(0).err(), Some(Error::AddressNotAvailable));
            bind(7_000).unwrap();
        }
    });
    sim.run().expect("the world ends well");
}

/// Installs networks on so many shards of the current host, with one device, whose connections take those ports.
async fn start_shards(shards: usize, queue: impl Queue + 'static, ports: &FreePorts) -> Arc<Spread> {
    let spread = Spread::with_options(SpreadOptions { rss: None, free_tcp: ports.clone(), free_udp: ports.clone() });
    let (device, capabilities) = (spread.add_device(1), queue.capabilities().clone());
    let make = |ports: FreePorts| Network::new(NetworkOptions::DEFAULT).with_free_ports(ports.clone(), ports);
    start_network_spread(make(ports.clone()), &spread, vec![(device.attach(Box::new(queue)), CLIENT)]);
    for shard in ShardId::all(shards).skip(1) {
        let (spread, device, capabilities, ports) =
            (Arc::clone(&spread), device.clone(), capabilities.clone(), ports.clone());
        let start = move || async move {
            let end = device.attach_without_queue(capabilities);
            start_network_spread(make(ports), &spread, vec![(end, CLIENT)]);
        };
        submit_to(shard, start).await.expect("the shard runs");
    }
    spread
}

#[test]
fn each_shard_finds_one_of_few_ports_for_its_connections() {
    for seed in 0..12 {
        let (here, there) = link(LinkOptions::default());
        let mut sim = Sim::new(seed);
        sim.background_host("server", 1, move || {
            start(here, SERVER, NetworkOptions::DEFAULT);
            async {
                let listener = listen(80);
                let mut streams = Vec::new();
                loop {
                    streams.push(accept(&listener).await);
                }
            }
        });
        sim.host("client", 8, move || async move {
            let spread = start_shards(8, there, &(5_000..=5_007).collect()).await;
            assert!(spread.reaches_all_shards(), "there is one for each");
            for shard in ShardId::all(8) {
                let open = || async { connect(&server(80)).await.map(drop) };
                submit_to(shard, open).await.expect("the shard runs").expect("it has a port");
            }
        });
        sim.run().expect("the world ends well");
    }
}

#[test]
fn fewer_ports_than_shards_are_told_of() {
    let mut sim = Sim::new(1);
    sim.host("host", 8, || async {
        let of = |ports: FreePorts| {
            Spread::with_options(SpreadOptions { free_tcp: ports, ..SpreadOptions::default() }).reaches_all_shards()
        };
        assert!(!of((5_000..=5_006).collect()) && !of([].into_iter().collect()));
        assert!(of((5_000..=5_999).collect()) && Spread::new().reaches_all_shards());
    });
    sim.run().expect("the world ends well");
}

/// Who can't open a connection has lost more than who forwards; who opens none anyway has lost nothing.
#[test]
fn the_hash_of_a_device_is_followed_unless_a_shard_would_miss_flows_or_ports() {
    let mut sim = Sim::new(1);
    sim.host("host", 4, || async {
        let of = |entries: &[u16], free_tcp: FreePorts| {
            let table = IndirectionTable::new(entries).expect("its length is a power of two");
            let rss = Some(FlowHash { key: MICROSOFT_KEY, indirection: Indirection::Table(table) });
            let spread = Spread::with_options(SpreadOptions { rss, free_tcp, ..SpreadOptions::default() });
            (spread.follows_devices(), spread.reaches_all_shards())
        };
        let [all, none] = [FreePorts::default(), [].into_iter().collect()];
        assert_eq!(of(&[0, 1, 2, 3], all.clone()), (true, true));
        assert_eq!(of(&[0, 1, 0, 1], all.clone()), (false, true), "the others have no queue");
        assert_eq!(of(&[0, 1, 2, 4], all), (false, true), "there is no such shard");
        // Of the 64 places these ports lead to a part.
        let few: FreePorts = (5_000..=5_007).collect();
        let mut entries = [0; 64];
        entries[..3].copy_from_slice(&[1, 2, 3]);
        assert_eq!(of(&entries, few), (false, true));
        assert_eq!(of(&entries, none), (true, false));
    });
    sim.run().expect("the world ends well");
}
