//! Link-local addresses on several links: RFC 4007, RFC 4291 §2.5.6. Both neighbours have the same address.

use core::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};

use sunstar_packet::{Buffer, Packet};
use sunstar_wire::checksum::{Fill, Sum};
use sunstar_wire::{
    EtherType, EthernetHeader, Icmpv6Header, Icmpv6Unreachable, IpProtocol, Ipv6Header, Ipv6Packet, MacAddr,
    NdpMessage, NdpOption, RouterAdvertisement, UdpHeader, Vlan,
};

use super::{ALL_NODES, icmp, mac, ndp_bytes, prefix};
use crate::configuration::{Change, Origin};
use crate::drops::DropReason;
use crate::interface::InterfaceId;
use crate::path::PathError;
use crate::stack::tests::world::{bare, ethernet};
use crate::stack::{AutoconfOptions, Limits, Stack};
use crate::tcp::connection::{Failure, Options, State};
use crate::tcp::sockets::{OpenError, SocketId};
use crate::time::Instant;
use crate::udp::{UdpOptions, UdpSendError};

/// What both neighbours are called.
const PEER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
const OURS: [Ipv6Addr; 2] =
    [Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0xa), Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0xb)];
const NOW: Instant = Instant::from_micros(1_000_000);

/// A host on two links, and a neighbour on each.
struct World {
    host: Stack,
    links: [InterfaceId; 2],
    neighbours: [(Stack, InterfaceId); 2],
}

fn stack(key: u8, addresses: &[Ipv6Addr]) -> (Stack, Vec<InterfaceId>) {
    let mut stack = Stack::new([key; 16], Limits::DEFAULT);
    let links: Vec<_> = addresses.iter().map(|_| stack.add_interface(bare()).expect("there is room")).collect();
    for (interface, address) in links.iter().zip(addresses) {
        let change = Change::AddAddress { interface: *interface, address: prefix(*address) };
        stack.apply(NOW, &change).expect("it is a station's");
    }
    (stack, links)
}

fn on(address: Ipv6Addr, port: u16, link: InterfaceId) -> SocketAddr {
    SocketAddrV6::new(address, port, 0, link.0.into()).into()
}

impl World {
    fn new() -> Self {
        let (host, links) = stack(1, &OURS);
        let neighbour = |key| {
            let (stack, links) = stack(key, &[PEER]);
            (stack, links[0])
        };
        Self { host, links: [links[0], links[1]], neighbours: [neighbour(2), neighbour(3)] }
    }

    /// Carries packets until there are none. Answers how many have left the host by each link.
    fn run(&mut self) -> [usize; 2] {
        let mut sent = [0; 2];
        loop {
            let mut is_quiet = true;
            while let Some((link, packet)) = self.host.poll_transmit(NOW) {
                let at = usize::from(link == self.links[1]);
                sent[at] += 1;
                is_quiet = false;
                let bytes = packet.clone_bytes();
                let ip = Ipv6Packet::parse(&bytes).expect("well formed");
                assert_eq!((ip.src(), ip.dst().segments()[1]), (OURS[at], 0), "nothing of links is on the wire");
                let (neighbour, link) = &mut self.neighbours[at];
                neighbour.handle_packets(NOW, *link, [packet]);
            }
            for (at, (neighbour, _)) in self.neighbours.iter_mut().enumerate() {
                while let Some((_, packet)) = neighbour.poll_transmit(NOW) {
                    is_quiet = false;
                    self.host.handle_packets(NOW, self.links[at], [packet]);
                }
            }
            if is_quiet {
                return sent;
            }
        }
    }

    fn state(&mut self, id: SocketId) -> (State, Option<Failure>) {
        let connection = self.host.tcp().connection(id).expect("it is ours");
        (connection.state(), connection.failure())
    }
}

trait CloneBytes {
    fn clone_bytes(&self) -> Vec<u8>;
}

impl CloneBytes for Packet {
    fn clone_bytes(&self) -> Vec<u8> {
        self.buffers().iter().flat_map(|part| part.to_vec()).collect()
    }
}

/// RFC 4007 §6: without scope nobody knows who is meant, and who is meant is asked.
#[test]
fn connections_go_by_the_link_that_is_named() {
    let mut world = World::new();
    let connect = |world: &mut World, to: SocketAddr| world.host.connect(NOW, None, to, Options::DEFAULT);
    assert_eq!(connect(&mut world, (PEER, 80).into()), Err(OpenError::NoScope));
    assert_eq!(connect(&mut world, on(PEER, 80, InterfaceId(9))), Err(OpenError::NoRoute));
    let marked = Ipv6Addr::new(0xfe80, 1, 0, 0, 0, 0, 0, 1);
    assert_eq!(connect(&mut world, (marked, 80).into()), Err(OpenError::NoRoute), "that is no address");
    let local = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 80));
    let (neighbour, link) = &mut world.neighbours[1];
    let listener = neighbour.listen(local, 5, Options::DEFAULT).expect("it is free");
    let theirs = *link;
    let links = world.links;
    let ids = links.map(|link| connect(&mut world, on(PEER, 80, link)).expect("there is a way"));
    world.run();
    assert_eq!(world.state(ids[0]), (State::Closed, Some(Failure::Refused)), "on the first link nobody listens");
    assert_eq!(world.state(ids[1]), (State::Established, None));
    let tcp = world.host.tcp();
    assert_eq!(tcp.peer(ids[1]), Some(on(PEER, 80, links[1])));
    let port = tcp.flow(ids[1]).expect("it is ours").src_port;
    assert_eq!(tcp.local(ids[1]), Some(on(OURS[1], port, links[1])));
    assert_eq!(tcp.flow(ids[1]).map(|flow| flow.dst()), Some((PEER, 80).into()));
    // Who has one link needs no scope, and sees it all the same.
    let (neighbour, _) = &mut world.neighbours[1];
    let accepted = neighbour.tcp().accept(listener).expect("one has connected");
    assert_eq!(neighbour.tcp().peer(accepted), Some(on(OURS[1], port, theirs)));
    let back = SocketAddr::from((OURS[1], 7));
    let again = neighbour.connect(NOW, None, back, Options::DEFAULT).expect("there is a way");
    world.run();
    let (neighbour, _) = &mut world.neighbours[1];
    let refused = neighbour.tcp().connection(again).and_then(|connection| connection.failure());
    assert_eq!(refused, Some(Failure::Refused), "it was answered");
}

/// The same address and port on both links are two stations.
#[test]
fn equal_neighbours_are_told_apart() {
    let mut world = World::new();
    let local = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 80));
    let listener = world.host.listen(local, 5, Options::DEFAULT).expect("it is free");
    for ((neighbour, _), ours) in world.neighbours.iter_mut().zip(OURS) {
        let from = Some(SocketAddr::from((PEER, 5_000)));
        neighbour.connect(NOW, from, (ours, 80).into(), Options::DEFAULT).expect("there is a way");
    }
    world.run();
    let tcp = world.host.tcp();
    let accepted: Vec<SocketId> = core::iter::from_fn(|| tcp.accept(listener)).collect();
    let mut peers: Vec<_> = accepted.into_iter().filter_map(|id| tcp.peer(id)).collect();
    peers.sort_unstable();
    assert_eq!(peers, world.links.map(|link| on(PEER, 5_000, link)));
}

/// Our own address may be the same on both links: taken from one of them, what goes by the other is not cut off, and what goes by it is.
#[test]
fn an_address_is_taken_from_its_link_alone() {
    let (mut host, links) = stack(1, &[OURS[0]; 2]);
    let ids: Vec<_> = links
        .iter()
        .map(|link| host.connect(NOW, None, on(PEER, 80, *link), Options::DEFAULT).expect("there is a way"))
        .collect();
    let failures = |host: &mut Stack| -> Vec<_> {
        ids.iter().map(|id| host.tcp().connection(*id).and_then(|connection| connection.failure())).collect()
    };
    for (at, expected) in [[None, Some(Failure::Unreachable)], [Some(Failure::Unreachable); 2]].into_iter().enumerate()
    {
        let (interface, address) = (links[1 - at], IpAddr::V6(OURS[0]));
        host.apply(NOW, &Change::RemoveAddress { interface, address }).expect("it is there");
        assert_eq!(failures(&mut host), expected);
    }
}

#[test]
fn datagrams_know_their_link() {
    let mut world = World::new();
    let send = |world: &mut World, id, to: Option<SocketAddr>| {
        world.host.udp_send(NOW, id, to, Packet::from(Buffer::from(vec![7; 10])))
    };
    let any = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 9));
    let id = world.host.udp_bind(any, UdpOptions::DEFAULT).expect("it is free");
    assert_eq!(send(&mut world, id, Some((PEER, 9).into())), Err(UdpSendError::NoScope));
    for at in 0..2 {
        let (neighbour, _) = &mut world.neighbours[at];
        let theirs = neighbour.udp_bind(any, UdpOptions::DEFAULT).expect("it is free");
        let payload = Packet::from(Buffer::from(vec![7; 10]));
        neighbour.udp_send(NOW, theirs, Some((OURS[at], 9).into()), payload).expect("there is a way");
        world.run();
        let from = world.host.udp().receive(id).expect("it has come").from;
        assert_eq!(from, on(PEER, 9, world.links[at]));
        send(&mut world, id, Some(from)).expect("there is a way");
        let mut expected = [0; 2];
        expected[at] = 1;
        assert_eq!(world.run(), expected);
        assert!(world.neighbours[at].0.udp().receive(theirs).is_some());
    }
    // To a group by the link that is named (RFC 3493 §3.3).
    let group: Ipv6Addr = "ff02::7".parse().expect("a group");
    let (links, host) = (world.links, &mut world.host);
    for link in links {
        let payload = Packet::from(Buffer::from(vec![7; 10]));
        host.udp_send(NOW, id, Some(on(group, 9, link)), payload).expect("there is a way");
        assert_eq!(host.poll_transmit(NOW).map(|(by, _)| by), Some(link));
    }
    for (link, port) in links.into_iter().zip(10..) {
        let local = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
        let id = host.udp_bind(local, UdpOptions::DEFAULT).expect("it is free");
        assert_eq!(host.udp_connect(id, on(group, 9, InterfaceId(9))), Err(OpenError::NoRoute));
        host.udp_connect(id, on(group, 9, link)).expect("there is a way");
        assert_eq!(host.udp().remote(id), Some(on(group, 9, link)));
        host.udp_send(NOW, id, None, Packet::from(Buffer::from(vec![7; 10]))).expect("there is a way");
        assert_eq!(host.poll_transmit(NOW).map(|(by, _)| by), Some(link));
    }
    // Who is connected needs to say it once, and hears of errors.
    world.host.udp_connect(id, on(PEER, 7, links[1])).expect("there is a way");
    assert_eq!(world.host.udp().remote(id), Some(on(PEER, 7, links[1])));
    send(&mut world, id, None).expect("there is a way");
    assert_eq!(world.run(), [0, 1]);
    assert_eq!(world.host.udp().take_error(id), Some(PathError::Port));
}

/// Nobody on one link knows what becomes of packets to link-local addresses on another one (RFC 4007 §6).
#[test]
fn errors_count_from_their_link() {
    let mut world = World::new();
    let local = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 9));
    let id = world.host.udp_bind(local, UdpOptions::DEFAULT).expect("it is free");
    world.host.udp_connect(id, on(PEER, 7, world.links[1])).expect("there is a way");
    let datagram = UdpHeader { src_port: 9, dst_port: 7 }.to_bytes(0, Fill::Complete(Sum::default())).expect("short");
    let quoted = Ipv6Header::new(IpProtocol::UDP, OURS[1], PEER).to_bytes(datagram.len()).expect("short");
    let quoted = [&quoted[..], &datagram[..]].concat();
    for (at, expected) in [(0, None), (1, Some(PathError::Port))] {
        let error = Icmpv6Header::DestinationUnreachable { code: Icmpv6Unreachable::PORT };
        let message = icmp((PEER, OURS[at]), &error, &quoted);
        let header = Ipv6Header::new(IpProtocol::ICMPV6, PEER, OURS[at]).to_bytes(message.len()).expect("short");
        let packet = Packet::from(Buffer::from([&header[..], &message].concat()));
        world.host.handle_packets(NOW, world.links[at], [packet]);
        assert_eq!(world.host.udp().take_error(id), expected);
    }
    assert_eq!(world.host.drops().count(DropReason::IcmpUnrelated), 1);
}

/// A neighbour that does not answer on one link says nothing of who has the same address on another one.
#[test]
fn who_is_silent_is_silent_on_his_link() {
    let mut host = Stack::new([1; 16], Limits::DEFAULT);
    let links = [0, 1].map(|station| host.add_interface(ethernet(station)).expect("there is room"));
    for interface in links {
        let change = Change::AddAddress { interface, address: prefix(OURS[0]) };
        host.apply(NOW, &change).expect("it is a station's");
    }
    let local = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 9));
    let id = host.udp_bind(local, UdpOptions::DEFAULT).expect("it is free");
    let mut now = NOW;
    let mut error_after = |host: &mut Stack, sent_by: InterfaceId, connected_to: InterfaceId| {
        host.udp_connect(id, on(PEER, 7, sent_by)).expect("there is a way");
        host.udp_send(now, id, None, Packet::from(Buffer::from(vec![7; 10]))).expect("there is a way");
        host.udp_connect(id, on(PEER, 7, connected_to)).expect("there is a way");
        let silent = host.drops().count(DropReason::NeighbourSilent);
        while host.drops().count(DropReason::NeighbourSilent) == silent {
            while host.poll_transmit(now).is_some() {}
            now = host.deadline().expect("it is asked again");
            host.handle_timeout(now);
        }
        host.udp().take_error(id)
    };
    assert_eq!(error_after(&mut host, links[1], links[0]), None);
    assert_eq!(error_after(&mut host, links[1], links[1]), Some(PathError::Host));
}

/// RFC 4007 §6: somebody on the first link has the address that we have on the second one. He is heard, and reached by naming his link.
#[test]
fn our_address_on_another_link_is_somebody_elses() {
    let theirs = OURS[1];
    let mut world = World::new();
    let (mut neighbour, links) = stack(4, &[theirs]);
    let local = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 80));
    for stack in [&mut neighbour, &mut world.host] {
        stack.listen(local, 5, Options::DEFAULT).expect("it is free");
    }
    world.neighbours[0] = (neighbour, links[0]);
    let to = on(theirs, 80, world.links[0]);
    let id = world.host.connect(NOW, None, to, Options::DEFAULT).expect("there is a way");
    let sent = world.run();
    assert_eq!((world.state(id), sent[1]), ((State::Established, None), 0));
    assert_eq!(world.host.tcp().peer(id), Some(to));
    assert_eq!(world.host.drops().count(DropReason::Source), 0);
    // By the link on which it is ours, and without one, that is us.
    for to in [on(theirs, 80, world.links[1]), (theirs, 80).into()] {
        let id = world.host.connect(NOW, None, to, Options::DEFAULT).expect("there is a way");
        world.host.handle_timeout(NOW);
        assert_eq!((world.run(), world.state(id)), ([0, 0], (State::Established, None)));
    }
}

/// The same of a router that has it.
#[test]
fn a_router_may_have_our_address_on_another_link() {
    let mut host = Stack::new([1; 16], Limits::DEFAULT);
    let links = [0, 1].map(|station| host.add_interface(ethernet(station)).expect("there is room"));
    let address = Change::AddAddress { interface: links[1], address: prefix(PEER) };
    host.apply(NOW, &address).expect("it is a station's");
    for interface in links {
        let options = AutoconfOptions { secret: [1; 16], follows_routers: true };
        host.autoconfigure(NOW, interface, options).expect("it is an Ethernet");
        let message = NdpMessage::RouterAdvertisement(RouterAdvertisement { lifetime_s: 60, ..Default::default() });
        let body = ndp_bytes((PEER, ALL_NODES), &message, &[NdpOption::SourceLinkLayer(mac(7))]);
        let header = Ipv6Header { hop_limit: 255, ..Ipv6Header::new(IpProtocol::ICMPV6, PEER, ALL_NODES) };
        let dst = MacAddr::from_ipv6_multicast(ALL_NODES);
        let front = EthernetHeader { dst, src: mac(7), vlan: Vlan::Untagged, ethertype: EtherType::IPV6 };
        let fixed = header.to_bytes(body.len()).expect("short");
        let frame = [&front.to_bytes()[..], &fixed[..], &body[..]].concat();
        host.handle_packets(NOW, interface, [Packet::from(Buffer::from(frame))]);
    }
    let by: Vec<_> =
        host.routes().filter(|route| route.gateway == Some(PEER.into())).map(|route| route.interface).collect();
    assert_eq!((by, host.drops().count(DropReason::Source)), (vec![links[0]], 1));
}

/// What has a number where link-local addresses have none is nobody's.
#[test]
fn marks_do_not_come_from_outside() {
    let mut world = World::new();
    let src = Ipv6Addr::new(0xfe80, 2, 0, 0, 0, 0, 0, 1);
    let error = Icmpv6Header::DestinationUnreachable { code: Icmpv6Unreachable::PORT };
    let message = icmp((src, OURS[0]), &error, &[0; 48]);
    let header = Ipv6Header::new(IpProtocol::ICMPV6, src, OURS[0]).to_bytes(message.len()).expect("short");
    let packet = Packet::from(Buffer::from([&header[..], &message].concat()));
    world.host.handle_packets(NOW, world.links[0], [packet]);
    assert_eq!(world.host.drops().count(DropReason::Source), 1);
}

/// RFC 8106 §5.1: routers' own addresses may be those of name servers, each on its link.
#[test]
fn name_servers_know_their_link() {
    let mut world = World::new();
    let wide: IpAddr = "2001:db8::53".parse().expect("an address");
    for interface in world.links {
        let (origin, servers) = (Origin::RouterAdvertisement, vec![PEER.into(), wide]);
        world.host.apply(NOW, &Change::SetNameServers { interface, origin, servers }).expect("it is there");
    }
    let [one, other] = world.links.map(|link| on(PEER, 53, link));
    assert_eq!(world.host.name_servers_at(53), [one, SocketAddr::new(wide, 53), other]);
}
