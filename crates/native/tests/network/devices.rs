//! Several devices of one host.

use std::future::poll_fn;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use sunstar_device::{LinkOptions, link};
use sunstar_executor::timer::sleep;
use sunstar_native::{NetworkOptions, TX_BURST};
use sunstar_net::Address;
use sunstar_net::socket::{DatagramOptions, Stack};
use sunstar_sim::Sim;

use crate::support::*;

/// The server's other address, and who is there.
const OTHER: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 1);
const OTHER_CLIENT: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 2);

fn at(ip: Ipv4Addr, port: u16) -> Address {
    SocketAddr::from((ip, port)).into()
}

/// Answers as many connections with the bytes that come by them.
async fn echo(count: usize) {
    let listener = listen(80);
    for _ in 0..count {
        let stream = accept(&listener).await;
        let bytes = read_all(&stream).await.expect("the link is a good one");
        write(&stream, bytes).await.expect("the link is a good one");
        flush(&stream).await.expect("the link is a good one");
    }
}

async fn ask(server: Ipv4Addr) {
    let stream = connect(&at(server, 80)).await.expect("the link is a good one");
    write(&stream, pattern(0, 100_000)).await.expect("the link is a good one");
    stream.shutdown();
    assert!(read_all(&stream).await.expect("the link is a good one") == pattern(0, 100_000));
}

#[test]
fn each_device_has_its_addresses_and_its_neighbours() {
    let [(one, here), (other, there)] = [link(LinkOptions::default()), link(LinkOptions::default())];
    let mut sim = Sim::new(1);
    sim.host("server", 1, move || {
        start_over(vec![(Box::new(one), SERVER), (Box::new(other), OTHER)]);
        async {
            assert_eq!(network().default_address(), Ipv4Addr::UNSPECIFIED, "all of them");
            echo(2).await;
            // What is opened from here comes from the address of its device.
            for client in [CLIENT, OTHER_CLIENT] {
                let stream = connect(&at(client, 81)).await.unwrap();
                let source = stream.local_address().unwrap().inet().unwrap().ip();
                assert_eq!(source, if client == CLIENT { SERVER } else { OTHER });
            }
        }
    });
    for (name, queue, server, client) in
        [("client", here, SERVER, CLIENT), ("other client", there, OTHER, OTHER_CLIENT)]
    {
        sim.host(name, 1, move || {
            start(queue, client, NetworkOptions::DEFAULT);
            async move {
                let listener = listen(81);
                ask(server).await;
                accept(&listener).await;
            }
        });
    }
    sim.run().expect("the world ends well");
}

/// Nobody takes what is sent by the first device.
#[test]
fn a_device_that_is_full_stops_only_what_leaves_by_it() {
    let narrow = LinkOptions { ring_packets: 8, ..LinkOptions::default() };
    let [(one, nobody), (other, there)] = [link(narrow), link(LinkOptions::default())];
    let mut sim = Sim::new(1);
    sim.host("server", 1, move || {
        let network = start_over(vec![(Box::new(one), SERVER), (Box::new(other), OTHER)]);
        async move {
            let options = DatagramOptions { broadcast: true, ..DatagramOptions::default() };
            let socket = network.bind(&any(9), &options).unwrap();
            let all = at(Ipv4Addr::new(10, 0, 0, 255), 9);
            for _ in 0..5_000 {
                poll_fn(|cx| socket.poll_writable(cx)).await.unwrap();
                socket.enqueue(pattern(0, 100).into(), Some(&all));
            }
            echo(3).await;
            let levels = network.with_stack(|stack| stack.levels());
            // As many as may be wait in the stack, for the device and in it.
            assert_eq!(levels.outgoing_packets, 4_096 - TX_BURST - narrow.ring_packets);
            drop(nobody);
        }
    });
    sim.host("client", 1, move || {
        start(there, OTHER_CLIENT, NetworkOptions::DEFAULT);
        async {
            for _ in 0..3 {
                ask(OTHER).await;
            }
            sleep(Duration::from_secs(1)).await;
        }
    });
    sim.run().expect("the world ends well");
}
