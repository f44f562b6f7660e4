//! TCP over IPv6 from stack to stack.

use core::time::Duration;

use sunstar_packet::{Packet, SegmentationKind};

use super::{PEER, US, prefix};
use crate::configuration::Change;
use crate::interface::{Capabilities, InterfaceOptions};
use crate::stack::tests::world::{World, bare, ethernet};
use crate::tcp::connection::Options;
use crate::tcp::sockets::SocketId;

/// As much as the link takes.
const WIDE: Options = Options { mss: u16::MAX, ..Options::DEFAULT };

fn world(interfaces: [InterfaceOptions; 2]) -> World {
    let mut world = World::new(interfaces);
    for (host, address) in world.hosts.iter_mut().zip([US, PEER]) {
        let change = Change::AddAddress { interface: host.link, address: prefix(address) };
        host.stack.apply(world.now, &change).expect("it is a station's");
    }
    world
}

fn connected(world: &mut World, options: Options) -> [SocketId; 2] {
    let now = world.now;
    let any = core::net::Ipv6Addr::UNSPECIFIED;
    let listener = world.stack(1).listen((any, 80).into(), 8, options).expect("the port is free");
    let client = world.stack(0).connect(now, None, (PEER, 80).into(), options).expect("there is a way");
    let mut server = None;
    world.run_until(|world| {
        server = world.stack(1).tcp().accept(listener);
        server.is_some()
    });
    [client, server.expect("it was accepted")]
}

#[test]
fn carries_a_stream() {
    for (interfaces, front) in [([bare(), bare()], 0), ([ethernet(0), ethernet(1)], 14)] {
        let mut world = world(interfaces);
        let sockets = connected(&mut world, WIDE);
        world.transfer(sockets, 300_000);
        assert_eq!(world.hosts[0].sent.iter().max(), Some(&(1_500 + front)), "full packets");
        assert_eq!(world.hosts.each_ref().map(|host| host.stack.drops().total()), [0; 2]);
        assert_eq!(world.hosts.each_ref().map(|host| host.stack.copies().copies()), [0; 2]);
        let solicitations = world.hosts.each_ref().map(|host| host.stack.counters().neighbour_solicitations_sent);
        assert_eq!(solicitations, [u64::from(front > 0), 0], "the client's question has told");
    }
}

#[test]
fn carries_streams_over_lossy_links() {
    for one_of in [10, 30, 100] {
        let mut world = world([ethernet(0), ethernet(1)]);
        world.disturb(one_of);
        let sockets = connected(&mut world, WIDE);
        world.transfer(sockets, 300_000);
    }
}

/// Each side has its own MTU: the smaller one counts (RFC 9293 §3.7.1, RFC 8200 §5).
#[test]
fn segments_fit_the_narrower_link() {
    for mtus in [[1_500, 1_280], [1_280, 1_500], [9_000, 9_000]] {
        let mut world = world(mtus.map(|mtu| InterfaceOptions { mtu, ..bare() }));
        let sockets = connected(&mut world, WIDE);
        world.transfer(sockets, 100_000);
        let most = usize::from(mtus[0].min(mtus[1]));
        assert_eq!(world.hosts[0].sent.iter().max(), Some(&most));
        assert_eq!(world.hosts[1].stack.counters().fragments_received, 0);
    }
}

/// What the device cuts says so, with room for the longer header.
#[test]
fn devices_cut_segments() {
    let capabilities = Capabilities { completes_checksums: true, segmentation_bytes: Some(65_535) };
    let mut world = world([bare(), bare()].map(|options| InterfaceOptions { capabilities, ..options }));
    let sockets = connected(&mut world, WIDE);
    world.hosts[0].fate = Box::new(|packet: &Packet| {
        assert!(packet.len() <= 65_535);
        if let Some(segmentation) = packet.offload.segmentation {
            assert_eq!(segmentation.kind, SegmentationKind::Tcpv6);
            assert_eq!(usize::from(segmentation.gso_size) + 40 + 32, 1_500);
        }
        vec![Duration::from_millis(5)]
    });
    world.transfer(sockets, 300_000);
    assert!(world.hosts[0].sent.iter().any(|len| *len > 10_000));
}

/// RFC 8201 §4: a router in between is narrower.
#[test]
fn narrow_paths_are_learnt() {
    use sunstar_packet::Buffer;
    use sunstar_wire::{Icmpv6Header, IpProtocol, Ipv6Header};

    let mut world = world([bare(), bare()]);
    let sockets = connected(&mut world, WIDE);
    let now = world.now;
    let data = crate::tcp::test_stream::data(0, 5_000);
    world.stack(0).tcp().send(sockets[0], data).expect("there is room");
    let (_, packet) = world.stack(0).poll_transmit(now).expect("it is sent");
    let mut quoted = vec![0; packet.len()];
    packet.copy_to_slice(0, &mut quoted).expect("so many");
    let message = super::icmp((PEER, US), &Icmpv6Header::PacketTooBig { mtu: 1_300 }, &quoted[..1_200]);
    let header = Ipv6Header::new(IpProtocol::ICMPV6, PEER, US).to_bytes(message.len()).expect("short");
    let error = Packet::from(Buffer::from([&header[..], &message].concat()));
    let link = world.hosts[0].link;
    world.stack(0).handle_packets(now, link, [error]);
    world.run_for(Duration::from_millis(1));
    assert!(world.hosts[0].sent.contains(&1_300), "sent again at once");
    world.hosts[0].sent.clear();
    world.hosts[1].received = 0;
    let data = crate::tcp::test_stream::data(5_000, 5_000);
    world.stack(0).tcp().send(sockets[0], data).expect("there is room");
    world.run_for(Duration::from_millis(100));
    assert_eq!(world.hosts[0].sent.iter().max(), Some(&1_300));
}

/// Loopback.
#[test]
fn speaks_with_itself() {
    let mut world = world([ethernet(0), ethernet(1)]);
    let now = world.now;
    let to = (core::net::Ipv6Addr::LOCALHOST, 80).into();
    let listener = world.stack(0).listen(to, 8, WIDE).expect("the port is free");
    world.stack(0).connect(now, None, to, WIDE).expect("there is a way");
    world.run_until(|world| world.stack(0).tcp().accept(listener).is_some());
}

/// RFC 4861 §7.3.1: a connection that gets on shows that the neighbour is there.
#[test]
fn progress_confirms_neighbours() {
    let mut world = world([ethernet(0), ethernet(1)]);
    let sockets = connected(&mut world, WIDE);
    for _ in 0..60 {
        world.transfer(sockets, 5_000);
        world.run_for(Duration::from_secs(2));
    }
    assert_eq!(world.hosts[0].stack.counters().neighbour_solicitations_sent, 1);
}
