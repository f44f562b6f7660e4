//! A station, and a network that tells it anything: ARP, ICMP, neighbours, routers, groups, DHCP. The check behind the fuzz target and the
//! property.
//!
//! Bytes say what comes. Lengths and checksums are made right, or nothing else would ever be read. What nobody may believe is made too, and
//! changes nothing.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::time::Duration;

use sunstar_packet::{Buffer, Packet};
use sunstar_tcpip::configuration::Change;
use sunstar_tcpip::dhcpv4;
use sunstar_tcpip::interface::{Capabilities, InterfaceId, InterfaceOptions, Link};
use sunstar_tcpip::prefix::Prefix;
use sunstar_tcpip::stack::{AutoconfOptions, Limits, NeighbourLimits, Stack};
use sunstar_tcpip::time::Instant;
use sunstar_wire::checksum::{Fill, Sum, pseudo_header, pseudo_header_v4};
use sunstar_wire::dhcpv4::{CLIENT_PORT, Code, Header, Kind, Message, SERVER_PORT, Writer};
use sunstar_wire::{
    AddressPair, Arp, ArpOperation, EtherType, EthernetFrame, EthernetHeader, Icmpv4Header, Icmpv4Packet, Icmpv6Packet,
    IpProtocol, Ipv4Header, Ipv4Options, Ipv4Packet, Ipv6Header, Ipv6Packet, MacAddr, UdpDatagram, UdpHeader, Vlan,
};

const LIMITS: Limits = Limits {
    neighbours: NeighbourLimits { neighbours: 4, waiting_packets: 8 },
    routes: 8,
    outgoing_packets: 64,
    path_mtus: 4,
    header_frames: 64,
    ..Limits::DEFAULT
};

const OWN: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const OWN_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
const SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 254);
const NEIGHBOUR: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 9);
const ALL: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const SOLICITED: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00, 1);
/// Routers and others, the first two of the link.
const SOURCES_V6: [Ipv6Addr; 4] = [
    Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x99),
    Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x98),
    Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 9),
    Ipv6Addr::UNSPECIFIED,
];

/// Own addresses, those that routers tell of, which are 16 at most, and that of a lease.
const MAX_ADDRESSES: usize = 19;
/// A step lets no more leave than this.
const MAX_SENT: u32 = 200;
/// Nobody has to be woken more often in an hour in which nothing comes.
const MAX_WAKES: u32 = 4_000;

fn mac(station: u8) -> MacAddr {
    MacAddr([2, 0, 0, 0, 0, station])
}

/// What is left of the bytes. Behind their end there are zeros.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn byte(&mut self) -> u8 {
        self.0.split_off_first().copied().unwrap_or_default()
    }

    /// So many bytes as the next one says, if there are.
    fn bytes(&mut self) -> &'a [u8] {
        let len = usize::from(self.byte()).min(self.0.len());
        self.0.split_off(..len).unwrap_or_default()
    }
}

struct Station {
    now: Instant,
    stack: Stack,
    link: InterfaceId,
    is_static: bool,
    /// The number of the latest question to DHCP servers.
    xid: u32,
    /// Whether an echo was answered.
    has_answered: bool,
    /// Who is asked for by ARP, and answers.
    asked: Option<Arp>,
}

/// Does what the bytes say, and looks at all that must hold.
pub(crate) fn check(bytes: &[u8]) {
    let mut input = Input(bytes);
    let mut station = Station::new(input.byte());
    while !input.0.is_empty() {
        station.step(&mut input);
        station.drain();
        station.check_bounds();
    }
    station.end();
}

impl Station {
    fn new(flags: u8) -> Self {
        let now = Instant::from_micros(1_000_000);
        let mut stack = Stack::new([3; 16], LIMITS);
        let options =
            InterfaceOptions { link: Link::Ethernet(mac(0)), mtu: 1_500, capabilities: Capabilities::default() };
        let link = stack.add_interface(options).expect("the first one");
        let is_static = flags & 4 == 0;
        if is_static {
            for (address, len) in [(IpAddr::from(OWN), 24), (OWN_V6.into(), 64)] {
                let address = Prefix::new(address, len).expect("so many bits");
                stack.apply(now, &Change::AddAddress { interface: link, address }).expect("it is a station's");
            }
        }
        if flags & 1 == 0 {
            let options = AutoconfOptions { secret: [5; 16], follows_routers: true };
            stack.autoconfigure(now, link, options).expect("it is an Ethernet");
        }
        if flags & 2 == 0 {
            stack.start_dhcpv4(now, link, dhcpv4::Options::default()).expect("it is an Ethernet");
        }
        let mut station = Self { now, stack, link, is_static, xid: 0, has_answered: false, asked: None };
        station.drain();
        station
    }

    fn step(&mut self, input: &mut Input<'_>) {
        match input.byte() % 8 {
            0 => {
                let millis = [0, 100, 1_000, 5_000, 70_000, 1_000_000, 8_000_000][usize::from(input.byte()) % 7];
                self.run_for(Duration::from_millis(millis));
            }
            1 => self.arp(input),
            2..=4 => self.icmp_v6(input),
            5 => self.icmp(input),
            _ => self.dhcp(input),
        }
    }

    /// All that messages may change for long.
    fn configuration(&self) -> String {
        let interface = self.stack.interface(self.link).expect("it is there");
        let routes: Vec<_> = self.stack.routes().collect();
        let names = (self.stack.name_servers(), self.stack.search_domains());
        let mtus = (interface.mtu_v4(), interface.mtu_v6());
        format!("{:?} {routes:?} {names:?} {mtus:?} {:?}", interface.addresses(), self.stack.dhcpv4_state(self.link))
    }

    fn frame(&mut self, dst: MacAddr, ethertype: EtherType, payload: &[u8]) {
        let header = EthernetHeader { dst, src: mac(9), vlan: Vlan::Untagged, ethertype };
        let bytes = [&header.to_bytes()[..], payload].concat();
        self.stack.handle_packets(self.now, self.link, [Packet::from(Buffer::from(bytes))]);
    }

    fn arp(&mut self, input: &mut Input<'_>) {
        let how = input.byte();
        let of = |choice: u8| [OWN, SERVER, Ipv4Addr::UNSPECIFIED, NEIGHBOUR][usize::from(choice & 3)];
        let operation = if how & 1 == 0 { ArpOperation::Request } else { ArpOperation::Reply };
        let arp = Arp { operation, sha: mac(how >> 5), spa: of(how >> 1), tha: mac(0), tpa: of(how >> 3) };
        self.frame(mac(0), EtherType::ARP, &arp.to_bytes());
    }

    fn icmp_v6(&mut self, input: &mut Input<'_>) {
        let (kind, code, how) = (input.byte(), input.byte(), input.byte());
        let kind = if kind < 8 { [134, 135, 136, 137, 128, 130, 2, 1][usize::from(kind)] } else { kind };
        let rest = input.bytes();
        let src = SOURCES_V6[usize::from(how >> 2 & 3)];
        let own = self.stack.interface(self.link).expect("it is there").addresses().iter().map(|own| own.address());
        let local = own.rev().find_map(|own| if let IpAddr::V6(own) = own { Some(own) } else { None });
        let dst = [ALL, OWN_V6, SOLICITED, local.unwrap_or(OWN_V6)][usize::from(how >> 4 & 3)];
        let mut message = [&[kind, code, 0, 0], rest].concat();
        let addresses = AddressPair::V6 { src, dst };
        let len = u32::try_from(message.len()).expect("short");
        let sum = (pseudo_header(addresses, IpProtocol::ICMPV6, len) + Sum::of(&message)).checksum();
        let (is_from_afar, is_damaged) = (how & 1 != 0, how & 2 != 0);
        message[2..4].copy_from_slice(&(sum ^ u16::from(is_damaged)).to_be_bytes());
        // Queries of groups have a router alert.
        let front: &[u8] = if kind == 130 { &[58, 0, 5, 2, 0, 0, 1, 0] } else { &[] };
        let next_header = if kind == 130 { IpProtocol::HOP_BY_HOP } else { IpProtocol::ICMPV6 };
        let hop_limit = if kind == 130 {
            1
        } else if is_from_afar {
            64
        } else {
            255
        };
        let header = Ipv6Header { hop_limit, ..Ipv6Header::new(next_header, src, dst) };
        let header = header.to_bytes(front.len() + message.len()).expect("short");
        let [.., a, b, c, d] = dst.octets();
        let to = if dst.is_multicast() { MacAddr([0x33, 0x33, a, b, c, d]) } else { mac(0) };
        let is_discovery = matches!(kind, 133..=137);
        let is_stranger = kind == 134 && !src.is_unicast_link_local();
        let means_nothing = is_damaged || is_discovery && (is_from_afar || code != 0) || is_stranger;
        let before = means_nothing.then(|| self.configuration());
        self.frame(to, EtherType::IPV6, &[&header[..], front, &message].concat());
        if let Some(before) = before {
            assert_eq!(self.configuration(), before, "{kind} {code} from {src}, {hop_limit}, changes something");
        }
    }

    /// ICMP, or a query of groups.
    fn icmp(&mut self, input: &mut Input<'_>) {
        let (how, is_query) = (input.byte(), input.byte() & 1 != 0);
        let mut message = input.bytes().to_vec();
        message.resize(message.len().max(8), 0);
        message[2..4].fill(0);
        let sum = Sum::of(&message).checksum();
        message[2..4].copy_from_slice(&sum.to_be_bytes());
        let protocol = if is_query { IpProtocol::IGMP } else { IpProtocol::ICMP };
        let src = [SERVER, NEIGHBOUR][usize::from(how & 1)];
        let dst = [OWN, Ipv4Addr::BROADCAST, Ipv4Addr::new(224, 0, 0, 1)][usize::from(how >> 1) % 3];
        let options = if is_query { Ipv4Options::ROUTER_ALERT } else { Ipv4Options::NONE };
        let ttl = if is_query { 1 } else { 64 };
        let header = Ipv4Header { options, ttl, ..Ipv4Header::new(protocol, src, dst) };
        let header = header.to_bytes(message.len()).expect("short");
        let to = if how & 8 == 0 { mac(0) } else { MacAddr([255; 6]) };
        self.frame(to, EtherType::IPV4, &[&header[..], &message].concat());
    }

    /// A server's message, which says what is needed if it is not told otherwise.
    fn dhcp(&mut self, input: &mut Input<'_>) {
        let (how, host) = (input.byte(), input.byte());
        let kind = [Kind::Offer, Kind::Ack, Kind::Nak, Kind::Decline][usize::from(how & 3)];
        let (is_damaged, is_anothers) = (how & 4 != 0, how & 8 != 0);
        let header = Header {
            is_reply: how & 16 == 0,
            xid: self.xid ^ u32::from(is_anothers),
            secs: 0,
            is_broadcast: false,
            ciaddr: Ipv4Addr::UNSPECIFIED,
            yiaddr: Ipv4Addr::new(192, 0, 2, host),
            chaddr: mac(how >> 7),
        };
        let mut writer = Writer::new(&header, kind);
        let usual = [(Code::SERVER_ID, SERVER.octets()), (Code::LEASE_TIME, 1_000_u32.to_be_bytes())];
        for (code, data) in usual.into_iter().filter(|_| how & 32 == 0) {
            writer.option(code, &data).expect("there is room");
        }
        for _ in 0..input.byte() % 8 {
            let (code, data) = (Code(input.byte().clamp(1, 254)), input.bytes());
            // What does not fit is left out.
            let _ = writer.option(code, data);
        }
        let payload = writer.as_bytes();
        let dst = if how & 64 == 0 { header.yiaddr } else { Ipv4Addr::BROADCAST };
        let len = u16::try_from(payload.len() + UdpHeader::LEN).expect("short");
        let wrong = Sum::of_word(u16::from(is_damaged));
        let sum = pseudo_header_v4(SERVER, dst, IpProtocol::UDP, len) + Sum::of(payload) + wrong;
        let udp = UdpHeader { src_port: SERVER_PORT, dst_port: CLIENT_PORT };
        let udp = udp.to_bytes(payload.len(), Fill::Complete(sum)).expect("short");
        let ip = Ipv4Header::new(IpProtocol::UDP, SERVER, dst).to_bytes(len.into()).expect("short");
        let means_nothing = is_damaged || is_anothers || !header.is_reply || header.chaddr != mac(0);
        let before = means_nothing.then(|| self.configuration());
        self.frame(mac(0), EtherType::IPV4, &[&ip[..], &udp, payload].concat());
        if let Some(before) = before {
            assert_eq!(self.configuration(), before, "{header:?} is not for this station");
        }
    }

    /// Takes what leaves, which is well formed.
    fn drain(&mut self) {
        for _ in 0..MAX_SENT {
            let Some((_, packet)) = self.stack.poll_transmit(self.now) else {
                while self.stack.poll_event().is_some() {}
                while self.stack.poll_change().is_some() {}
                return;
            };
            let bytes = packet.buffers().concat();
            let frame = EthernetFrame::parse(&bytes).expect("it is well formed");
            match frame.ethertype() {
                EtherType::ARP => self.on_arp(&Arp::parse(frame.payload()).expect("it is well formed")),
                EtherType::IPV4 => self.on_packet(frame.payload()),
                _ => on_packet_v6(frame.payload()),
            }
        }
        panic!("more leaves than anybody has asked for");
    }

    fn on_arp(&mut self, arp: &Arp) {
        assert_eq!(arp.sha, mac(0));
        self.asked = Some(*arp).filter(|arp| arp.operation == ArpOperation::Request && !arp.spa.is_unspecified());
    }

    fn on_packet(&mut self, bytes: &[u8]) {
        let ip = Ipv4Packet::parse(bytes).expect("it is well formed");
        assert!(bytes.len() <= 1_500);
        match ip.protocol() {
            IpProtocol::ICMP => {
                let message = Icmpv4Packet::parse(ip.payload()).expect("it is well formed");
                assert!(message.has_valid_checksum());
                self.has_answered |= matches!(message.header(), Icmpv4Header::EchoReply { .. });
            }
            IpProtocol::UDP => {
                let datagram = UdpDatagram::parse(ip.payload()).expect("it is well formed");
                assert!(datagram.has_valid_checksum(ip.addresses()));
                if datagram.dst_port() == SERVER_PORT {
                    self.xid = Message::parse(datagram.payload()).expect("it is well formed").header().xid;
                }
            }
            _ => {}
        }
    }

    fn check_bounds(&self) {
        let levels = self.stack.levels();
        assert!(levels.neighbours <= 4 && levels.outgoing_packets <= 64 && levels.loopback_packets == 0, "{levels:?}");
        let addresses = self.stack.interface(self.link).expect("it is there").addresses();
        assert!(addresses.len() <= MAX_ADDRESSES, "{addresses:?}");
        assert!(self.stack.routes().count() <= LIMITS.routes);
    }

    fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        let hours = u32::try_from(time.as_secs() / 3_600 + 1).expect("few");
        for _ in 0..MAX_WAKES * hours {
            let Some(next) = self.stack.deadline().filter(|next| *next <= end) else {
                self.now = end;
                return;
            };
            self.now = self.now.max(next);
            self.stack.handle_timeout(self.now);
            self.drain();
        }
        panic!("it wakes again and again");
    }

    /// Whatever came, the station lives, and answers who asks it.
    fn end(&mut self) {
        self.run_for(Duration::from_secs(600));
        self.check_bounds();
        if !self.is_static {
            return;
        }
        let body = [0; 8];
        let echo = Icmpv4Header::EchoRequest { identifier: 1, sequence: 2 }.to_bytes(Sum::of(&body));
        let ip = Ipv4Header::new(IpProtocol::ICMP, NEIGHBOUR, OWN).to_bytes(echo.len() + body.len()).expect("short");
        (self.has_answered, self.asked) = (false, None);
        self.frame(mac(0), EtherType::IPV4, &[&ip[..], &echo, &body].concat());
        self.drain();
        if let Some(asked) = self.asked {
            let answer =
                Arp { operation: ArpOperation::Reply, sha: mac(9), spa: asked.tpa, tha: mac(0), tpa: asked.spa };
            self.frame(mac(0), EtherType::ARP, &answer.to_bytes());
            self.drain();
        }
        assert!(self.has_answered, "it does not answer any more");
    }
}

fn on_packet_v6(bytes: &[u8]) {
    let ip = Ipv6Packet::parse(bytes).expect("it is well formed");
    assert!(bytes.len() <= 1_500);
    if ip.next_header() == IpProtocol::ICMPV6 {
        let message = Icmpv6Packet::parse(ip.payload()).expect("it is well formed");
        assert!(message.has_valid_checksum(ip.addresses()));
        assert!(!matches!(message.kind(), 133..=137) || ip.hop_limit() == 255, "discovery stays on the link");
    }
}
