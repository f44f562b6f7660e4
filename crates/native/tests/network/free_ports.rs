//! Ports where none is named, of which some are others' (see `Network::with_free_ports`).

use std::collections::BTreeSet;
use std::time::Duration;

use sunstar_device::{LinkOptions, link};
use sunstar_executor::timer::sleep;
use sunstar_native::{Network, NetworkOptions};
use sunstar_net::socket::{DatagramOptions, ListenOptions};
use sunstar_net::{Address, Error};
use sunstar_sim::Sim;

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
