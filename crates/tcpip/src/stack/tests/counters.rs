//! What is dropped for lack of room or of a way is counted.

use core::net::Ipv4Addr;
use core::time::Duration;

use sunstar_packet::{Buffer, MAX_BUFFERS, Packet};
use sunstar_wire::{EtherType, IpProtocol, Ipv4Header, MacAddr};

use super::script::{NETWORK, PEER, Script, US};
use super::world::{World, bare, ethernet, mac};
use crate::drops::DropReason;
use crate::interface::InterfaceOptions;
use crate::prefix::Prefix;
use crate::routes::Route;
use crate::stack::Limits;
use crate::tcp::connection::Options;
use crate::tcp::test_stream::data;
use crate::udp::UdpOptions;

const ANY: Ipv4Addr = Ipv4Addr::UNSPECIFIED;

#[test]
fn segments_that_make_no_sense() {
    let mut script = Script::with_peer();
    let segment = [0; 20];
    script.payload(IpProtocol::TCP, &segment);
    assert_eq!(script.dropped(DropReason::TcpChecksum), 1);
    // RFC 9293 §3.9.2: not for all stations.
    script.ip(&Ipv4Header::new(IpProtocol::TCP, PEER, NETWORK), &segment);
    let packet = [&Ipv4Header::new(IpProtocol::TCP, PEER, US).to_bytes(20).expect("short")[..], &segment].concat();
    script.frame(mac(1), MacAddr::BROADCAST, EtherType::IPV4, &packet);
    assert_eq!(script.dropped(DropReason::TcpBroadcast), 2);
    let frame = [&mac(0).0[..], &mac(1).0, &[8, 0], &packet].concat();
    let mut verified = Packet::from(Buffer::from(frame));
    verified.offload.checksum = sunstar_packet::Checksum::Verified;
    script.stack.handle_packets(script.now, script.link, [verified]);
    assert_eq!((script.dropped(DropReason::TcpMalformed), script.stack.drops().total()), (1, 4));
}

#[test]
fn queues_that_are_full() {
    let limits = Limits { outgoing_packets: 2, loopback_packets: 2, ..Limits::DEFAULT };
    let mut script = Script::with_limits(limits);
    script.meet();
    for _ in 0..5 {
        script.payload(IpProtocol::UDP, &super::script::udp(1, 9, b""));
    }
    assert_eq!((script.dropped(DropReason::OutgoingQueueFull), script.sent().len()), (3, 2));
    let socket = script.stack.udp_bind((ANY, 53).into(), UdpOptions::DEFAULT).expect("it is free");
    let to = Some((Ipv4Addr::LOCALHOST, 53).into());
    let sent = (0..5).filter(|_| script.stack.udp_send(script.now, socket, to, Packet::new()).is_ok()).count();
    assert_eq!(sent, 2);
    for _ in 0..300 {
        let any = (Ipv4Addr::LOCALHOST, 53).into();
        script.stack.connect(script.now, None, any, Options::DEFAULT).expect("there is room");
    }
    script.sent();
    script.sent();
    assert_eq!(script.dropped(DropReason::LoopbackQueueFull), 0, "connections wait until there is room");
}

#[test]
fn packets_to_itself_without_room() {
    let mut script = Script::with_limits(Limits { loopback_packets: 0, ..Limits::DEFAULT });
    script.stack.connect(script.now, None, (US, 80).into(), Options::DEFAULT).expect("there is a way");
    assert_eq!((script.sent().len(), script.dropped(DropReason::LoopbackQueueFull)), (0, 1));
}

/// The way of an open connection is gone: nothing leaves, and it is counted.
#[test]
fn ways_that_are_gone() {
    let mut world = World::new([bare(), bare()]);
    let [client, _] = world.connected(Options::DEFAULT);
    world.run_for(Duration::from_secs(1));
    let link = world.hosts[0].link;
    assert!(world.stack(0).remove_address(link, super::world::ADDRESSES[0].into()));
    world.stack(0).tcp().send(client, data(0, 10)).expect("there is room");
    world.transmit();
    assert_eq!(world.hosts[0].stack.drops().count(DropReason::NoRoute), 1);
}

/// The way of an open connection leads over a link that takes less: segments are cut, until the path says how much it takes.
#[test]
fn segments_of_a_narrower_way_are_cut() {
    let mut world = World::new([bare(), bare()]);
    let [client, _] = world.connected(Options { mss: u16::MAX, ..Options::DEFAULT });
    world.run_for(Duration::from_secs(1));
    let narrow = world.stack(0).add_interface(InterfaceOptions { mtu: 600, ..bare() }).expect("there is room");
    let prefix = Prefix::new(super::world::ADDRESSES[1], 32).expect("it is one");
    let route = Route { prefix, gateway: None, interface: narrow, metric: 0 };
    world.stack(0).add_route(route).expect("there is room");
    world.stack(0).tcp().send(client, data(0, 1_000)).expect("there is room");
    let now = world.now;
    let left = core::iter::from_fn(|| world.stack(0).poll_transmit(now));
    let sizes: Vec<_> = left.map(|(interface, packet)| (interface, packet.len())).collect();
    assert_eq!(sizes, [(narrow, 600), (narrow, 504)]);
    assert_eq!(world.hosts[0].stack.counters().segments_cut, 1);
}

/// Data with reports of gaps carry so much less (RFC 6691 §2): no packet is too long, and none has to be cut.
#[test]
fn segments_with_many_options_are_shorter() {
    let mut world = World::new([bare(), bare()]);
    let [client, server] = world.connected(Options { mss: u16::MAX, ..Options::DEFAULT });
    world.disturb(12);
    let (mut sent, mut received) = ([0_u32; 2], [0_u32; 2]);
    world.run_until(|world| {
        for (host, socket) in [client, server].into_iter().enumerate() {
            while sent[host] < 400_000 && world.stack(host).tcp().send(socket, data(sent[host], 8_000)).is_ok() {
                sent[host] += 8_000;
            }
            while let Some(part) = world.stack(host).tcp().receive(socket) {
                assert_eq!(part, data(received[host], part.len()));
                received[host] += u32::try_from(part.len()).expect("short");
            }
        }
        received == [400_000; 2]
    });
    assert!(world.hosts.iter().all(|host| host.stack.counters().segments_cut == 0));
    assert_eq!(world.hosts.iter().flat_map(|host| &host.sent).max(), Some(&1_500));
}

/// Bytes in more buffers than a packet has are copied together, and headers without a frame come from the heap.
#[test]
fn what_is_scattered_is_copied() {
    let limits = Limits { header_frames: 1, ..Limits::DEFAULT };
    let mut world = World::with_limits([0, 1].map(|host| InterfaceOptions { mtu: 9_000, ..ethernet(host) }), limits);
    let options = Options { mss: u16::MAX, ..Options::DEFAULT };
    let [client, server] = world.connected(options);
    for at in 0..1_000 {
        world.stack(0).tcp().send(client, data(at * 8, 8)).expect("there is room");
    }
    let mut received = Vec::new();
    world.run_until(|world| {
        while let Some(part) = world.stack(1).tcp().receive(server) {
            received.extend_from_slice(&part);
        }
        received.len() == 8_000
    });
    assert_eq!(received, data(0, 8_000).to_vec());
    assert!(world.stack(0).copies().copies() > 0);
    let now = world.now;
    let socket = world.stack(0).udp_bind((ANY, 53).into(), UdpOptions::DEFAULT).expect("it is free");
    let mut scattered = Packet::new();
    for _ in 0..MAX_BUFFERS {
        scattered.push_back(Buffer::from_static(b"piece")).expect("there is room");
    }
    let before = world.stack(0).copies().copies();
    let to = Some(super::world::address(1, 53));
    world.stack(0).udp_send(now, socket, to, scattered).expect("there is a way");
    assert_eq!(world.stack(0).copies().copies(), before + 1);
}
