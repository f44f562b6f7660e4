//! TCP from stack to stack.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::time::Duration;

use sunstar_packet::{Buffer, Packet};

use super::world::{ADDRESSES, World, address, bare, ethernet};
use crate::drops::DropReason;
use crate::interface::{Capabilities, InterfaceOptions};
use crate::stack::{Event, Limits, Stack};
use crate::tcp::connection::{Options, State};
use crate::tcp::sockets::{self, OpenError};
use crate::tcp::test_stream::data;
use crate::time::Instant;

/// As much as the link takes.
const WIDE: Options = Options { mss: u16::MAX, ..Options::DEFAULT };

#[test]
fn carries_a_stream_over_bare_ip() {
    let mut world = World::new([bare(), bare()]);
    let sockets = world.connected(WIDE);
    world.transfer(sockets, 300_000);
    assert_eq!(world.hosts[0].sent.iter().max(), Some(&1_500), "full packets");
    assert_eq!(world.hosts.each_ref().map(|host| host.stack.drops().total()), [0; 2]);
    let joined = world.hosts[1].stack.counters().segments_joined;
    assert!(joined > 100, "{joined} segments came right behind others");
    // What came is handed out where it lies.
    assert_eq!(world.hosts.each_ref().map(|host| host.stack.copies().copies()), [0; 2]);
}

/// What one write was cut into lies in one piece of memory again when it is read.
#[test]
fn segments_of_a_burst_that_lie_together_are_read_together() {
    let mut world = World::new([bare(), bare()]);
    let [client, server] = world.connected(Options { burst_segments: 10, ..WIDE });
    world.hosts[0].stack.tcp().send(client, Buffer::copy_from_slice(&[7; 7_000])).expect("there is room");
    world.run_for(Duration::from_secs(1));
    assert!(world.hosts[0].sent.iter().filter(|len| **len > 1_000).count() >= 5, "it was cut");
    let parts: Vec<Buffer> = core::iter::from_fn(|| world.hosts[1].stack.tcp().receive(server)).collect();
    assert_eq!(parts.iter().map(|part| part.len()).collect::<Vec<_>>(), [7_000]);
}

#[test]
fn carries_a_stream_over_ethernet() {
    let mut world = World::new([ethernet(0), ethernet(1)]);
    let sockets = world.connected(WIDE);
    world.transfer(sockets, 300_000);
    assert_eq!(world.hosts[0].sent.iter().max(), Some(&1_514), "full frames");
    assert_eq!(world.hosts.each_ref().map(|host| host.stack.drops().total()), [0; 2]);
    assert_eq!(world.hosts[0].stack.counters().arp_requests_sent, 1);
    assert_eq!(world.hosts[1].stack.counters().arp_requests_sent, 0, "the client's request has told");
}

#[test]
fn carries_streams_over_lossy_links() {
    for one_of in [10, 30, 100] {
        let mut world = World::new([ethernet(0), ethernet(1)]);
        world.disturb(one_of);
        let sockets = world.connected(WIDE);
        world.transfer(sockets, 300_000);
    }
}

/// Each side has its own MTU: the smaller one counts (RFC 9293 §3.7.1).
#[test]
fn segments_fit_the_narrower_link() {
    for mtus in [[1_500, 576], [576, 1_500], [9_000, 9_000], [9_000, 1_400]] {
        let mut world = World::new(mtus.map(|mtu| InterfaceOptions { mtu, ..bare() }));
        let sockets = world.connected(WIDE);
        world.transfer(sockets, 100_000);
        assert_eq!(world.hosts[0].sent.iter().max(), Some(&usize::from(mtus[0].min(mtus[1]))));
    }
}

/// A device that completes checksums gets them partial; who receives such a packet trusts it.
#[test]
fn leaves_checksums_to_the_device() {
    let capabilities = Capabilities { completes_checksums: true, segmentation_bytes: None };
    let mut world = World::new([InterfaceOptions { capabilities, ..bare() }, bare()]);
    let sockets = world.connected(WIDE);
    world.hosts[0].fate = Box::new(|packet| {
        use sunstar_packet::Checksum;
        assert_eq!(packet.offload.checksum, Checksum::Partial { csum_start: 20, csum_offset: 16 });
        vec![Duration::from_millis(1)]
    });
    world.transfer(sockets, 100_000);
}

/// A device that cuts segments gets large ones, and is told how to cut them.
#[test]
fn leaves_segmentation_to_the_device() {
    let capabilities = Capabilities { completes_checksums: true, segmentation_bytes: Some(65_535) };
    let mut world = World::new([0, 1].map(|host| InterfaceOptions { capabilities, ..ethernet(host) }));
    let sockets = world.connected(WIDE);
    world.hosts[0].fate = Box::new(|packet| {
        if packet.len() > 1_514 {
            let segmentation = packet.offload.segmentation.expect("it is too large");
            assert_eq!((segmentation.gso_size, segmentation.hdr_len), (1_448, 14 + 20 + 32));
        } else {
            assert_eq!(packet.offload.segmentation, None);
        }
        vec![Duration::from_millis(1)]
    });
    world.transfer(sockets, 500_000);
    let largest = world.hosts[0].sent.iter().max().copied().unwrap_or_default();
    assert!(largest > 20_000 && largest < 65_536, "{largest}");
}

/// What is damaged on its way is dropped and sent again (RFC 9293 §3.1).
#[test]
fn damage_is_noticed() {
    let mut world = World::new([bare(), bare()]);
    let sockets = world.connected(WIDE);
    let (now, link) = (world.now, world.hosts[1].link);
    let mut bytes = vec![0_u8; 60];
    let header = sunstar_wire::Ipv4Header::new(sunstar_wire::IpProtocol::TCP, ADDRESSES[0], ADDRESSES[1]);
    bytes[..20].copy_from_slice(&header.to_bytes(40).expect("short"));
    bytes[32] = 0x50;
    world.stack(1).handle_packets(now, link, [Packet::from(Buffer::from(bytes))]);
    assert_eq!(world.stack(1).drops().count(DropReason::TcpChecksum), 1);
    world.transfer(sockets, 50_000);
}

/// Own addresses stay inside (RFC 1122 §3.2.1.3, g).
#[test]
fn connects_to_itself() {
    for to in [Ipv4Addr::LOCALHOST, Ipv4Addr::new(127, 1, 2, 3), ADDRESSES[0]] {
        let mut world = World::new([bare(), bare()]);
        world.transmit();
        world.hosts[0].sent.clear();
        let now = world.now;
        let stack = world.stack(0);
        let listener = stack.listen((Ipv4Addr::UNSPECIFIED, 80).into(), 1, WIDE).expect("the port is free");
        let client = stack.connect(now, None, SocketAddr::new(to.into(), 80), WIDE).expect("there is a way");
        assert!(stack.poll_transmit(now).is_none());
        let server = stack.tcp().accept(listener).expect("it is open");
        stack.tcp().send(client, data(0, 100_000)).expect("there is room");
        assert!(stack.poll_transmit(now).is_none());
        let mut received = Vec::new();
        while let Some(part) = stack.tcp().receive(server) {
            received.extend_from_slice(&part);
        }
        assert_eq!(received, data(0, 100_000).to_vec());
        assert_eq!(world.stack(0).counters().sent, 0);
    }
}

#[test]
fn events_name_what_has_changed() {
    let mut world = World::new([bare(), bare()]);
    let listener = world.listen(WIDE);
    let client = world.connect(WIDE);
    world.run_for(Duration::from_secs(1));
    assert_eq!(world.stack(1).poll_event(), Some(Event::Tcp(sockets::Event::Listener(listener))));
    assert_eq!(world.stack(0).poll_event(), Some(Event::Tcp(sockets::Event::Socket(client))));
    assert_eq!((world.stack(0).poll_event(), world.state(0, client)), (None, State::Established));
}

#[test]
fn unreachable_destinations_are_refused() {
    let mut stack = Stack::new([0; 16], Limits::DEFAULT);
    let now = Instant::from_micros(1);
    let mut connect = |to: [u8; 4], from: Option<[u8; 4]>| {
        let from = from.map(|from| SocketAddr::from((from, 0)));
        stack.connect(now, from, SocketAddr::from((to, 80)), Options::DEFAULT).map(|_| ())
    };
    assert_eq!(connect([192, 0, 2, 1], None), Err(OpenError::NoRoute));
    assert_eq!(connect([127, 0, 0, 1], Some([192, 0, 2, 1])), Err(OpenError::NotOurs));
    assert_eq!(connect([255; 4], None), Err(OpenError::NoRoute), "RFC 9293 §3.9.2");
    assert_eq!(connect([127, 0, 0, 1], None), Ok(()));
    for address in
        [Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1), Ipv6Addr::UNSPECIFIED, Ipv6Addr::from_bits(0xff02 << 112)]
    {
        let v6 = SocketAddr::new(IpAddr::V6(address), 80);
        assert_eq!(stack.connect(now, None, v6, Options::DEFAULT), Err(OpenError::NoRoute));
    }
    assert_eq!(stack.listen(address(0, 80), 1, Options::DEFAULT), Err(OpenError::NotOurs));
}
