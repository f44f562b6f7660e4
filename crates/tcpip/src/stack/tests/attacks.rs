//! Attackers beside a stream: it arrives whole and in time, what they can take is bounded, and counters name it.
//!
//! The clients' link is not the attacker's, so what he sends takes no room there.

use core::net::Ipv4Addr;
use core::time::Duration;

use sunstar_packet::{Buffer, Packet};
use sunstar_wire::checksum::{Fill, Sum, pseudo_header_v4};
use sunstar_wire::{
    Arp, EtherType, EthernetHeader, FourTuple, Fragment, IpProtocol, Ipv4Header, MacAddr, SackBlock, Seq, TcpFlags,
    TcpHeader, UdpHeader, Vlan,
};

use super::world::{ADDRESSES, Dice, World, ethernet, mac};
use crate::drops::DropReason;
use crate::prefix::Prefix;
use crate::routes::Route;
use crate::stack::{Limits, NeighbourLimits, ReassemblyLimits};
use crate::tcp::connection::{Failure, Options, State};
use crate::tcp::sockets::{self, ListenerId, SocketId};

const SECOND: Duration = Duration::from_secs(1);
const BYTES: u32 = 400_000;
const ATTACKER: MacAddr = MacAddr([6, 6, 6, 0, 0, 6]);

/// Less than by default, so that floods are soon over.
const LIMITS: Limits = Limits {
    tcp: sockets::Limits { half_open: 64, ..sockets::Limits::DEFAULT },
    neighbours: NeighbourLimits { neighbours: 64, waiting_packets: 8 },
    reassembly: ReassemblyLimits { packets: 32, bytes: 1 << 20 },
    ..Limits::DEFAULT
};

/// A client and a server, both with a stream, and somebody else who sends to the server.
struct Attack {
    world: World,
    ids: [SocketId; 2],
    listener: ListenerId,
    dice: Dice,
    sent: u32,
}

impl Attack {
    fn new() -> Self {
        let mut world = World::with_limits([ethernet(0), ethernet(1)], LIMITS);
        world.run_for(10 * SECOND);
        let listener = world.listen(Options::DEFAULT);
        let client = world.connect(Options::DEFAULT);
        world.run_for(SECOND / 2);
        let server = world.stack(1).tcp().accept(listener).expect("it is open");
        Self { world, ids: [client, server], listener, dice: Dice::new(5), sent: 0 }
    }

    /// A frame arrives at the server.
    fn frame(&mut self, ethertype: EtherType, dst: MacAddr, parts: &[&[u8]]) {
        let header = EthernetHeader { dst, src: ATTACKER, vlan: Vlan::Untagged, ethertype }.to_bytes();
        let frame = [&header[..], &parts.concat()].concat();
        let (now, link) = (self.world.now, self.world.hosts[1].link);
        self.world.stack(1).handle_packets(now, link, [Packet::from(Buffer::from(frame))]);
        self.sent += 1;
    }

    fn ip(&mut self, header: &Ipv4Header, payload: &[u8]) {
        let ip = header.to_bytes(payload.len()).expect("short");
        self.frame(EtherType::IPV4, mac(1), &[&ip, payload]);
    }

    fn tcp(&mut self, src: Ipv4Addr, header: &TcpHeader, payload: &[u8]) {
        let len = u16::try_from(header.header_len() + payload.len()).expect("short");
        let pseudo = pseudo_header_v4(src, ADDRESSES[1], IpProtocol::TCP, len);
        let tcp = header.to_bytes(Fill::Complete(pseudo + Sum::of(payload)));
        self.ip(&Ipv4Header::new(IpProtocol::TCP, src, ADDRESSES[1]), &[&tcp, payload].concat());
    }

    /// Somebody of very many.
    fn stranger(&mut self) -> Ipv4Addr {
        Ipv4Addr::from(
            u32::from(Ipv4Addr::new(198, 18, 0, 0)) + u32::try_from(self.dice.roll(1 << 17)).expect("17 bits"),
        )
    }

    fn number(&mut self) -> u32 {
        u32::try_from(self.dice.roll(1 << 32)).expect("32 bits")
    }

    fn port(&mut self) -> u16 {
        u16::try_from(self.dice.roll(1 << 16)).expect("16 bits")
    }

    /// The stream of the client goes on beside what the attacker does, a hundred times in each of ten milliseconds. Whole it takes no
    /// longer than without him, for he is not on its way.
    fn beside(&mut self, mut attacker: impl FnMut(&mut Self)) {
        let begun = self.world.now;
        for _ in 0..40 {
            for _ in 0..100 {
                attacker(self);
            }
            self.world.transfer(self.ids, BYTES / 40);
            self.world.run_for(Duration::from_millis(1));
        }
        let taken = self.world.now - begun;
        assert!(taken < 3 * SECOND, "{taken:?} for {BYTES} bytes");
        for (host, id) in (0..).zip(self.ids) {
            assert_eq!(self.world.state(host, id), State::Established);
        }
        let levels = self.world.stack(1).levels();
        let tcp = levels.tcp;
        assert!(tcp.half_open <= 64 && tcp.connections <= 2 && tcp.replies <= 1_024, "{tcp:?}");
        assert!(levels.neighbours <= 64 && levels.incomplete_packets <= 32 && levels.incomplete_bytes <= 1 << 20);
        assert_eq!(self.sent, 4_000);
    }

    fn server(&mut self) -> sockets::Counters {
        self.world.stack(1).tcp_counters()
    }

    /// The flow of the stream, as the client sends.
    fn flow(&mut self) -> FourTuple {
        let id = self.ids[0];
        self.world.stack(0).tcp().flow(id).expect("it is ours")
    }
}

fn syn(src_port: u16, seq: u32) -> TcpHeader {
    let mut header =
        TcpHeader { flags: TcpFlags::SYN, seq: Seq::new(seq), window: 9_999, ..TcpHeader::new(src_port, 80) };
    header.options.mss = 1_460.try_into().ok();
    header
}

#[test]
fn syns_of_strangers() {
    let mut attack = Attack::new();
    // Answers to them have a way: through somebody who drops them.
    let anywhere = Prefix::new(core::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0).expect("none");
    let link = attack.world.hosts[1].link;
    attack
        .world
        .stack(1)
        .add_route(Route { prefix: anywhere, interface: link, gateway: Some(ADDRESSES[0].into()), metric: 0 })
        .expect("there is room");
    attack.beside(|attack| {
        let (src, port, seq) = (attack.stranger(), attack.port(), attack.number());
        attack.tcp(src, &syn(port, seq), &[]);
    });
    let counters = attack.server();
    assert!(counters.cookies_sent > 3_900 && counters.cookies_accepted == 0, "{counters:?}");
    // Who comes now comes in.
    let client = attack.world.connect(Options::DEFAULT);
    attack.world.run_for(SECOND / 10);
    assert_eq!((attack.world.state(0, client), attack.server().cookies_accepted), (State::Established, 1));
}

/// Their sources are of the link, and nobody has them.
#[test]
fn syns_of_neighbours_who_are_not_there() {
    let mut attack = Attack::new();
    attack.beside(|attack| {
        let last = u8::try_from(3 + attack.dice.roll(250)).expect("small");
        let (port, seq) = (attack.port(), attack.number());
        attack.tcp(Ipv4Addr::new(192, 0, 2, last), &syn(port, seq), &[]);
    });
    let counters = attack.world.stack(1).counters();
    assert!(counters.answers_sent_back > 3_700 && counters.arp_requests_sent < 200, "{counters:?}");
}

/// The same beside a client of the link of whom nothing is known, as by a shard that has not spoken with it: nobody has to answer questions
/// for it to be served.
#[test]
fn a_neighbour_beside_them_is_answered_where_it_is() {
    let mut attack = Attack::new();
    for _ in 0..1_000 {
        let last = u8::try_from(3 + attack.dice.roll(200)).expect("small");
        let (port, seq) = (attack.port(), attack.number());
        attack.tcp(Ipv4Addr::new(192, 0, 2, last), &syn(port, seq), &[]);
    }
    attack.world.transmit();
    let (client, port) = (Ipv4Addr::new(192, 0, 2, 250), 4_444);
    attack.tcp(client, &syn(port, 1_000), &[]);
    let [(to, answer)] = segments(&mut attack, port)[..] else { panic!("it is answered once") };
    assert_eq!((to, answer.flags), (ATTACKER, TcpFlags::SYN | TcpFlags::ACK));
    let confirmation = TcpHeader { flags: TcpFlags::ACK, seq: Seq::new(1_001), ack: answer.seq + 1, ..syn(port, 0) };
    attack.tcp(client, &TcpHeader { window: 60_000, ..confirmation }, b"request");
    let stack = attack.world.stack(1);
    let id = stack.tcp().accept(attack.listener).expect("it is open");
    assert!(stack.tcp().send(id, crate::tcp::test_stream::data(0, 100)).is_ok());
    let sent = segments(&mut attack, port);
    assert!(!sent.is_empty() && sent.iter().all(|(to, _)| *to == ATTACKER), "{sent:?}");
}

/// What the clock has repeated for a stranger goes where its first answer went, though nobody may be asked for.
#[test]
fn answers_are_repeated_beside_floods() {
    let mut attack = Attack::new();
    let flood = |attack: &mut Attack| {
        for at in 0..1_000 {
            let header = TcpHeader { flags: TcpFlags::ACK, ack: Seq::new(at), ..TcpHeader::new(5, 80) };
            let last = u8::try_from(3 + attack.dice.roll(200)).expect("small");
            attack.tcp(Ipv4Addr::new(192, 0, 2, last), &header, &[]);
        }
        attack.world.transmit();
    };
    flood(&mut attack);
    let (client, port) = (Ipv4Addr::new(192, 0, 2, 250), 4_444);
    attack.tcp(client, &syn(port, 1_000), &[]);
    assert_eq!(segments(&mut attack, port).len(), 1);
    attack.world.now = attack.world.now + SECOND + Duration::from_millis(10);
    flood(&mut attack);
    let now = attack.world.now;
    attack.world.stack(1).handle_timeout(now);
    let [(to, answer)] = segments(&mut attack, port)[..] else { panic!("it is answered again") };
    assert_eq!((to, answer.flags), (ATTACKER, TcpFlags::SYN | TcpFlags::ACK));
}

#[test]
fn acknowledgements_of_strangers() {
    let mut attack = Attack::new();
    let acknowledge = |attack: &mut Attack| {
        let (src, port) = (attack.stranger(), attack.port());
        let [seq, ack] = [attack.number(), attack.number()].map(Seq::new);
        let header = TcpHeader { flags: TcpFlags::ACK, seq, ack, ..TcpHeader::new(port, 80) };
        attack.tcp(src, &header, &[]);
    };
    attack.beside(acknowledge);
    // All at once.
    let before = attack.server().resets_sent;
    (0..2_000).for_each(|_| acknowledge(&mut attack));
    let counters = attack.server();
    assert_eq!(counters.accepted, 1);
    assert_eq!(counters.resets_sent + counters.resets_suppressed, 6_000);
    assert!(counters.resets_sent - before <= 1_000, "{counters:?}");
}

/// RFC 5961: who guesses at the numbers of a connection neither ends it nor makes it answer each time.
#[test]
fn segments_out_of_the_window() {
    let mut attack = Attack::new();
    let flow = attack.flow();
    let before = attack.server().segments_sent;
    attack.beside(|attack| {
        let flags = [TcpFlags::ACK, TcpFlags::RST, TcpFlags::SYN, TcpFlags::RST | TcpFlags::ACK];
        let flags = flags[usize::try_from(attack.dice.roll(4)).expect("small")];
        let [seq, ack] = [attack.number(), attack.number()].map(Seq::new);
        let header = TcpHeader { flags, seq, ack, ..TcpHeader::new(flow.src_port, 80) };
        let payload = [0; 10];
        let len = if attack.dice.roll(2) == 0 { 0 } else { payload.len() };
        attack.tcp(ADDRESSES[0], &header, &payload[..len]);
    });
    // Beside the acknowledgements of the stream, one for two segments or so.
    let counters = attack.server();
    let answers = counters.segments_sent - before;
    assert!(answers < 600, "{answers}");
    assert!(counters.challenges_suppressed > 1_000, "{counters:?}");
}

/// They are never whole.
#[test]
fn fragments() {
    let mut attack = Attack::new();
    attack.beside(|attack| {
        let (src, identification) = (attack.stranger(), attack.port());
        let offset = u16::try_from(8 * attack.dice.roll(1_000)).expect("short");
        let fragment = Fragment::new(offset, true).expect("a multiple of eight");
        let header = Ipv4Header {
            fragment,
            identification,
            dont_fragment: false,
            ..Ipv4Header::new(IpProtocol::UDP, src, ADDRESSES[1])
        };
        attack.ip(&header, &[0; 64]);
    });
    assert!(attack.world.stack(1).drops().count(DropReason::FragmentMemory) >= 3_900);
}

/// They ask for us, from addresses that they make up.
#[test]
fn neighbours_who_were_made_up() {
    let mut attack = Attack::new();
    attack.beside(|attack| {
        let [_, _, high, low] = attack.number().to_be_bytes();
        let src = Ipv4Addr::new(192, 0, 2, 3 + low % 250);
        let request = Arp::request(MacAddr([6, 6, 6, 6, high, low]), src, ADDRESSES[1]);
        attack.frame(EtherType::ARP, MacAddr::BROADCAST, &[&request.to_bytes()]);
    });
    assert_eq!(attack.world.stack(1).levels().neighbours, 33);
}

#[test]
fn datagrams_for_nobody() {
    let mut attack = Attack::new();
    attack.beside(|attack| {
        let (src, port) = (attack.stranger(), attack.port());
        let pseudo = pseudo_header_v4(src, ADDRESSES[1], IpProtocol::UDP, 8);
        let udp = UdpHeader { src_port: 9, dst_port: port }.to_bytes(0, Fill::Complete(pseudo)).expect("short");
        attack.ip(&Ipv4Header::new(IpProtocol::UDP, src, ADDRESSES[1]), &udp);
    });
    let stack = attack.world.stack(1);
    assert!(stack.drops().count(DropReason::UdpNoPort) == 4_000 && stack.counters().icmp_errors_suppressed > 2_000);
}

/// A client of its own connection opens a window, lets it be filled, reports every second byte, and closes the window. What it gets of us
/// is its send buffer, and when the application's time is over nothing.
#[test]
fn a_peer_that_reports_holes_and_reads_nothing() {
    let mut attack = Attack::new();
    let (port, evil) = (4_444, Ipv4Addr::new(192, 0, 2, 66));
    let request = Arp::request(MacAddr([6, 6, 6, 0, 0, 6]), evil, ADDRESSES[1]);
    attack.frame(EtherType::ARP, MacAddr::BROADCAST, &[&request.to_bytes()]);
    let us = TcpHeader { flags: TcpFlags::ACK, seq: Seq::new(1_001), window: 65_000, ..TcpHeader::new(port, 80) };
    let mut asks = syn(port, 1_000);
    asks.options.is_sack_permitted = true;
    attack.tcp(evil, &asks, &[]);
    let answer = answer(&mut attack);
    attack.tcp(evil, &TcpHeader { ack: answer + 1, ..us }, &[]);
    let victim = attack.world.stack(1).tcp().accept(attack.listener).expect("it is open");
    let options = Options { user_timeout: Some(30 * SECOND), ..Options::DEFAULT };
    assert!(attack.world.stack(1).tcp().set_options(victim, options));
    while attack.world.stack(1).tcp().send(victim, crate::tcp::test_stream::data(0, 10_000)).is_ok() {}
    attack.sent = 0;
    let mut at = 0;
    attack.beside(|attack| {
        at += 2;
        let mut header = TcpHeader { ack: answer + 1, window: if at < 2_000 { 65_000 } else { 0 }, ..us };
        let hole = answer + 1 + at % 10_000;
        header.options.sack = [SackBlock { left: hole, right: hole + 1 }].into_iter().collect();
        attack.tcp(evil, &header, &[]);
    });
    attack.world.run_for(60 * SECOND);
    let connection = attack.world.stack(1).tcp().connection(victim).expect("it is ours");
    assert_eq!((connection.state(), connection.failure()), (State::Closed, Some(Failure::TimedOut)));
}

/// The segments that leave the server now for a port, and to which stations.
fn segments(attack: &mut Attack, port: u16) -> Vec<(MacAddr, TcpHeader)> {
    let now = attack.world.now;
    let mut segments = Vec::new();
    while let Some((_, packet)) = attack.world.stack(1).poll_transmit(now) {
        let bytes = packet.buffers().concat();
        let frame = sunstar_wire::EthernetFrame::parse(&bytes).expect("it is a frame").header();
        if frame.ethertype == EtherType::IPV4 {
            let segment = sunstar_wire::TcpSegment::parse(&bytes[34..]).expect("it is a segment");
            segments.push((frame.dst, segment.header()));
        }
    }
    segments.retain(|(_, header)| header.dst_port == port);
    segments
}

/// The number of the SYN that leaves the server next.
fn answer(attack: &mut Attack) -> Seq {
    let now = attack.world.now;
    while let Some((_, packet)) = attack.world.stack(1).poll_transmit(now) {
        let bytes = packet.buffers().concat();
        let Ok(segment) = sunstar_wire::TcpSegment::parse(&bytes[34..]) else { continue };
        if segment.flags().contains(TcpFlags::SYN) {
            return segment.seq();
        }
    }
    panic!("there is no answer");
}
