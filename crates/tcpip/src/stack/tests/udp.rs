//! RFC 768, RFC 1122 §4.1.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use sunstar_packet::{Buffer, CopyCounter, Packet};
use sunstar_wire::{Icmpv4Header, IpProtocol, Ipv4Header, MacAddr, UdpDatagram, UnreachableCode};

use super::icmp::message;
use super::script::{NETWORK, PEER, Script, US, udp};
use super::world::mac;
use crate::drops::DropReason;
use crate::interface::InterfaceId;
use crate::path::PathError;
use crate::stack::{Event, Limits};
use crate::tcp::sockets::OpenError;
use crate::udp::{DATAGRAM_OVERHEAD, UdpId, UdpOptions, UdpSendError};

const ANY: Ipv4Addr = Ipv4Addr::UNSPECIFIED;

fn bind(script: &mut Script, ip: Ipv4Addr, port: u16) -> UdpId {
    script.stack.udp_bind((ip, port).into(), UdpOptions::DEFAULT).expect("it is free")
}

fn read(script: &mut Script, socket: UdpId) -> Option<Vec<u8>> {
    let received = script.stack.udp().receive(socket)?;
    Some(received.payload.into_buffer(&CopyCounter::default()).to_vec())
}

fn send(script: &mut Script, socket: UdpId, to: Option<SocketAddr>, bytes: &[u8]) -> Result<(), UdpSendError> {
    script.stack.udp_send(script.now, socket, to, Packet::from(Buffer::copy_from_slice(bytes)))
}

#[test]
fn datagrams_come_and_go() {
    let mut script = Script::with_peer();
    let socket = bind(&mut script, ANY, 53);
    script.payload(IpProtocol::UDP, &udp(1_000, 53, b"question"));
    assert_eq!((script.stack.poll_event(), script.stack.poll_event()), (Some(Event::Udp(socket)), None));
    let received = script.stack.udp().receive(socket).expect("it has come");
    assert_eq!((received.from, received.to, received.interface), ((PEER, 1_000).into(), US.into(), script.link));
    assert_eq!(received.payload.into_buffer(&CopyCounter::default()), *b"question");
    send(&mut script, socket, Some(received.from), b"answer").expect("there is a way");
    let sent = script.sent_one();
    let ip = sent.ip();
    let datagram = UdpDatagram::parse(ip.payload()).expect("well formed");
    assert!(datagram.has_valid_checksum(ip.addresses()));
    assert_eq!((datagram.src_port(), datagram.dst_port(), datagram.payload()), (53, 1_000, &b"answer"[..]));
    assert_eq!((ip.src(), ip.dst()), (US, PEER));
    let counters = script.stack.counters();
    assert_eq!((counters.datagrams_received, counters.datagrams_sent), (1, 1));
}

/// A socket that is connected with the sender comes before one that is not, one at the address before one at all.
#[test]
fn the_most_exact_socket_gets_it() {
    let mut script = Script::with_peer();
    let connected = bind(&mut script, ANY, 53);
    script.stack.udp_connect(connected, (PEER, 1_000).into()).expect("there is a way");
    assert_eq!(script.stack.udp().local(connected), Some((US, 53).into()));
    let wildcard = bind(&mut script, ANY, 53);
    let exact = bind(&mut script, US, 53);
    script.payload(IpProtocol::UDP, &udp(1_000, 53, b"from the peer"));
    script.payload(IpProtocol::UDP, &udp(1_001, 53, b"from another port"));
    script.stack.udp().close(exact);
    script.payload(IpProtocol::UDP, &udp(1_002, 53, b"to all"));
    assert_eq!(read(&mut script, connected).as_deref(), Some(&b"from the peer"[..]));
    assert_eq!(read(&mut script, wildcard).as_deref(), Some(&b"to all"[..]));
    assert_eq!((read(&mut script, connected), read(&mut script, exact)), (None, None));
    send(&mut script, connected, None, b"to whom it is connected with").expect("there is a way");
    assert_eq!(script.sent_one().ip().dst(), PEER);
    assert_eq!(send(&mut script, wildcard, None, b""), Err(UdpSendError::NoDestination));
}

/// RFC 1122 §4.1.3.4.
#[test]
fn checksums_are_verified_unless_there_is_none() {
    let mut script = Script::with_peer();
    let socket = bind(&mut script, ANY, 53);
    let mut datagram = udp(1, 53, b"body");
    datagram[8] ^= 1;
    script.payload(IpProtocol::UDP, &datagram);
    assert_eq!(script.dropped(DropReason::UdpChecksum), 1);
    [datagram[6], datagram[7]] = [0, 0];
    script.payload(IpProtocol::UDP, &datagram);
    assert_eq!(read(&mut script, socket).as_deref(), Some(&b"cody"[..]));
    datagram[5] = 100;
    script.payload(IpProtocol::UDP, &datagram);
    assert_eq!(script.dropped(DropReason::UdpMalformed), 1);
}

/// Padding behind the datagram is no part of it.
#[test]
fn padding_is_cut_off() {
    let mut script = Script::with_peer();
    let socket = bind(&mut script, ANY, 53);
    let datagram = [&udp(1, 53, b"body")[..], b"padding"].concat();
    script.payload(IpProtocol::UDP, &datagram);
    assert_eq!(read(&mut script, socket).as_deref(), Some(&b"body"[..]));
}

#[test]
fn queues_are_bounded() {
    let mut script = Script::with_peer();
    let options = UdpOptions { receive_capacity: 3 * (DATAGRAM_OVERHEAD + 10), ..UdpOptions::DEFAULT };
    let socket = script.stack.udp_bind((ANY, 53).into(), options).expect("it is free");
    for _ in 0..5 {
        script.payload(IpProtocol::UDP, &udp(1, 53, &[0; 10]));
    }
    assert_eq!((script.dropped(DropReason::UdpQueueFull), script.stack.udp().overflows(socket)), (2, 2));
    assert_eq!(core::iter::from_fn(|| read(&mut script, socket)).count(), 3);
    script.payload(IpProtocol::UDP, &udp(1, 53, &[0; 1_400]));
    assert!(read(&mut script, socket).is_some(), "one has room in any case");
}

/// RFC 1122 §3.3.6, RFC 919.
#[test]
fn broadcasts_are_sent_by_who_may_and_received() {
    let mut script = Script::with_peer();
    let socket = bind(&mut script, ANY, 53);
    for (to, seen) in [(NETWORK, NETWORK), (Ipv4Addr::BROADCAST, Ipv4Addr::BROADCAST)] {
        let to = Some((to, 9).into());
        script.stack.udp().set_options(socket, UdpOptions::DEFAULT);
        assert_eq!(send(&mut script, socket, to, b"all"), Err(UdpSendError::Broadcast));
        script.stack.udp().set_options(socket, UdpOptions { may_broadcast: true, ..UdpOptions::DEFAULT });
        send(&mut script, socket, to, b"all").expect("it may");
        let sent = script.sent_one();
        assert_eq!((sent.ethernet.dst, sent.ip().dst(), sent.ip().src()), (MacAddr::BROADCAST, seen, US));
        // Its checksum is that of another destination, so it is left out.
        let mut datagram = udp(1, 53, b"hello");
        [datagram[6], datagram[7]] = [0, 0];
        script.ip(&Ipv4Header::new(IpProtocol::UDP, PEER, seen), &datagram);
        let received = script.stack.udp().receive(socket).expect("it has come");
        assert_eq!(received.to, IpAddr::V4(seen));
    }
}

/// RFC 1122 §4.1.3.3: connected sockets hear of it, others can't know what it is about.
#[test]
fn errors_reach_connected_sockets() {
    let mut script = Script::with_peer();
    let [connected, other] = [53, 54].map(|port| bind(&mut script, ANY, port));
    script.stack.udp_connect(connected, (PEER, 9).into()).expect("there is a way");
    for socket in [connected, other] {
        send(&mut script, socket, Some((PEER, 9).into()), b"anybody there?").expect("there is a way");
        let refused = script.sent_one().bytes[..28].to_vec();
        let header = Icmpv4Header::DestinationUnreachable { code: UnreachableCode::PORT, next_hop_mtu: 0 };
        script.payload(IpProtocol::ICMP, &message(&header, &refused));
    }
    assert_eq!((script.stack.poll_event(), script.stack.poll_event()), (Some(Event::Udp(connected)), None));
    assert_eq!(script.stack.udp().take_error(connected), Some(PathError::Port));
    assert_eq!(script.stack.udp().take_error(connected), None, "once");
    assert_eq!((script.stack.udp().take_error(other), script.stack.counters().icmp_errors_received), (None, 2));
}

#[test]
fn speaks_with_itself() {
    let mut script = Script::with_peer();
    let [one, two] = [1_000, 2_000].map(|port| bind(&mut script, ANY, port));
    for to in [Ipv4Addr::LOCALHOST, US] {
        send(&mut script, one, Some((to, 2_000).into()), &[7; 60_000]).expect("there is a way");
        assert_eq!(script.sent().len(), 0);
        let received = script.stack.udp().receive(two).expect("it has come");
        assert_eq!((received.from, received.interface), ((to, 1_000).into(), InterfaceId::LOOPBACK));
        assert_eq!(received.payload.len(), 60_000);
    }
    // Nobody is there: it hears of that at once.
    script.stack.udp_connect(one, (Ipv4Addr::LOCALHOST, 3_000).into()).expect("there is a way");
    send(&mut script, one, None, b"").expect("there is a way");
    assert_eq!(script.sent().len(), 0);
    assert_eq!(script.stack.udp().take_error(one), Some(PathError::Port));
}

#[test]
fn bad_calls_are_refused() {
    let mut script = Script::with_limits(Limits { udp_sockets: 2, outgoing_packets: 1, ..Limits::DEFAULT });
    script.meet();
    let socket = bind(&mut script, ANY, 53);
    let bind_at = |script: &mut Script, at: SocketAddr| script.stack.udp_bind(at, UdpOptions::DEFAULT).map(|_| ());
    assert_eq!(bind_at(&mut script, (ANY, 53).into()), Err(OpenError::InUse));
    assert_eq!(bind_at(&mut script, (PEER, 53).into()), Err(OpenError::NotOurs));
    assert_eq!(bind_at(&mut script, (US, 0).into()), Ok(()));
    assert_eq!(bind_at(&mut script, (ANY, 55).into()), Err(OpenError::Full));
    let to = Some((PEER, 9).into());
    assert_eq!(send(&mut script, socket, to, &[0; 65_508]), Err(UdpSendError::TooLong));
    let nowhere = Some((Ipv4Addr::new(203, 0, 113, 1), 9).into());
    assert_eq!(send(&mut script, socket, nowhere, b""), Err(UdpSendError::NoRoute));
    assert_eq!(send(&mut script, socket, Some((Ipv6Addr::LOCALHOST, 9).into()), b""), Err(UdpSendError::NoRoute));
    assert_eq!(send(&mut script, socket, to, b"1"), Ok(()));
    assert_eq!(send(&mut script, socket, to, b"2"), Err(UdpSendError::Full));
    assert!(script.stack.udp().close(socket) && !script.stack.udp().close(socket));
    assert_eq!(send(&mut script, socket, to, b"3"), Err(UdpSendError::Closed));
    assert_eq!(script.sent_one().ethernet.dst, mac(1));
}

/// RFC 6056 §3.3: ports are all different, and do not follow each other.
#[test]
fn free_ports_are_found() {
    let mut script = Script::new();
    let mut ports: Vec<u16> = (0..200)
        .map(|_| {
            let socket = bind(&mut script, ANY, 0);
            script.stack.udp().local(socket).expect("it is ours").port()
        })
        .collect();
    assert!(ports.windows(2).filter(|pair| pair[1].wrapping_sub(pair[0]) == 1).count() < 5);
    ports.sort_unstable();
    ports.dedup();
    assert_eq!((ports.len(), ports.iter().all(|port| *port >= 49_152)), (200, true));
}

#[test]
fn a_port_is_found_as_long_as_one_is_free() {
    for drawn in 0..20 {
        let mut script = Script::new();
        // Which port is tried first follows from how many were.
        script.stack.next_udp_port = drawn;
        script.stack.udp().set_free_ports((6_000..=6_002).collect());
        let mut ports: Vec<u16> = (0..3)
            .map(|_| {
                let socket = bind(&mut script, ANY, 0);
                script.stack.udp().local(socket).expect("it is ours").port()
            })
            .collect();
        ports.sort_unstable();
        assert_eq!(ports, [6_000, 6_001, 6_002], "{drawn}");
        let refused = script.stack.udp_bind((ANY, 0).into(), UdpOptions::DEFAULT);
        assert_eq!(refused.err(), Some(OpenError::NoPort));
    }
}

#[test]
fn a_port_that_somebody_has_who_is_connected_is_not_free() {
    for drawn in 0..20 {
        let mut script = Script::with_peer();
        script.stack.next_udp_port = drawn;
        script.stack.udp().set_free_ports((6_000..=6_002).collect());
        let mut port = |ip| {
            let socket = bind(&mut script, ip, 0);
            script.stack.udp_connect(socket, (PEER, 1_000).into()).expect("nobody else is");
            script.stack.udp().local(socket).expect("it is ours").port()
        };
        let mut ports = [port(ANY), port(US), port(ANY)];
        ports.sort_unstable();
        assert_eq!(ports, [6_000, 6_001, 6_002], "{drawn}");
        let all = [ANY, US].map(|ip| script.stack.udp_bind((ip, 0).into(), UdpOptions::DEFAULT).err());
        assert_eq!(all, [Some(OpenError::NoPort); 2]);
        // That is another one.
        let socket = script.stack.udp_bind((Ipv6Addr::UNSPECIFIED, 0).into(), UdpOptions::DEFAULT);
        assert!(socket.is_ok(), "{socket:?}");
    }
}
