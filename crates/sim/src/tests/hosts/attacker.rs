//! A hostile station: what it sends, and how it opens connections of its own.

use std::net::Ipv4Addr;

use sunstar_wire::checksum::{Fill, Sum, pseudo_header_v4};
use sunstar_wire::{
    Arp, ArpOperation, EtherType, EthernetHeader, Fragment, IpProtocol, Ipv4Header, MacAddr, SackBlock, Seq, TcpFlags,
    TcpHeader, TcpSegment, Vlan,
};

use crate::{Random, Sim, StationId};

/// Where it is at home.
const HOME: Ipv4Addr = Ipv4Addr::new(10, 66, 6, 6);
/// Bytes of the headers of Ethernet and IP before a segment.
const BEFORE_TCP: usize = 34;
const ETHERNET_BYTES: usize = 14;
/// Ports from here on are those of its connections.
const FIRST_PORT: u16 = 20_000;

/// What it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attack {
    /// SYNs from addresses of the link that nobody has.
    Syns,
    /// SYNs from its own address, whose answers it leaves alone.
    OwnSyns,
    /// Acknowledgements of connections that do not exist.
    Acknowledgements,
    /// Segments with any numbers and flags, in the name of a client and of its own connection.
    OutOfWindow,
    /// Every second byte of a window, each in a segment of its own.
    TinySegments,
    /// Reports that every second byte has arrived (CVE-2019-11477).
    Reports,
    /// Requests on many connections whose windows stay closed.
    ClosedWindows,
    /// Fragments of packets that are never whole.
    Fragments,
    /// Neighbours that it makes up.
    Neighbours,
    /// SYNs whose addresses and ports have the same sum, for tables without a key.
    LikeSums,
}

impl Attack {
    pub(super) const ALL: [Self; 10] = [
        Self::Syns,
        Self::OwnSyns,
        Self::Acknowledgements,
        Self::OutOfWindow,
        Self::TinySegments,
        Self::Reports,
        Self::ClosedWindows,
        Self::Fragments,
        Self::Neighbours,
        Self::LikeSums,
    ];

    /// How many connections of its own it needs.
    fn connections(self) -> u16 {
        match self {
            Self::OutOfWindow | Self::TinySegments | Self::Reports => 1,
            Self::ClosedWindows => 100,
            _ => 0,
        }
    }
}

/// A connection of its own that the victim has answered.
#[derive(Clone, Copy)]
struct Peer {
    port: u16,
    /// The victim's first byte.
    theirs: Seq,
}

/// The first byte of each of its streams.
const OURS: Seq = Seq::new(1_000_001);

pub(super) struct Attacker {
    station: StationId,
    victim: Ipv4Addr,
    /// Known when the victim has answered.
    victim_mac: Option<MacAddr>,
    port: u16,
    clients: Vec<Ipv4Addr>,
    attack: Attack,
    random: Random,
    peers: Vec<Peer>,
    count: u32,
}

impl Attacker {
    pub(super) fn new(
        station: StationId,
        (victim, port): (Ipv4Addr, u16),
        clients: Vec<Ipv4Addr>,
        attack: Attack,
        random: Random,
    ) -> Self {
        Self { station, victim, victim_mac: None, port, clients, attack, random, peers: Vec::new(), count: 0 }
    }

    fn number(&mut self) -> u32 {
        u32::try_from(self.random.below(1 << 32)).expect("32 bits")
    }

    fn port(&mut self) -> u16 {
        u16::try_from(self.random.below(1 << 16)).expect("16 bits")
    }

    /// An address of the link that nobody has, and not that of all stations.
    fn stranger(&mut self) -> Ipv4Addr {
        let [_, high, low, last] = self.number().to_be_bytes();
        Ipv4Addr::new(10, 128 | high >> 2, low, last)
    }

    /// Asks for the victim, which so learns where it is, and opens its connections.
    pub(super) fn begin(&mut self, sim: &mut Sim) {
        let request = Arp::request(sim.station_address(self.station), HOME, self.victim);
        self.frame(sim, EtherType::ARP, MacAddr::BROADCAST, &[&request.to_bytes()]);
        sim.run_for(std::time::Duration::from_millis(10)).unwrap();
        self.listen(sim);
        assert!(self.victim_mac.is_some(), "the victim has answered");
        // Each shard of the victim asks where it is, and then answers; some of what waits for that is lost.
        for _ in 0..4 {
            for port in (FIRST_PORT..).take(self.attack.connections().into()) {
                if self.peers.iter().all(|peer| peer.port != port) {
                    let mut syn = self.header(port, TcpFlags::SYN, OURS + u32::MAX, Seq::new(0));
                    syn.options.mss = 1_460.try_into().ok();
                    syn.options.is_sack_permitted = true;
                    self.tcp(sim, HOME, &syn, &[]);
                }
            }
            sim.run_for(std::time::Duration::from_millis(10)).unwrap();
            self.listen(sim);
        }
        assert_eq!(self.peers.len(), usize::from(self.attack.connections()));
        for peer in self.peers.clone() {
            let (window, request) = match self.attack {
                Attack::ClosedWindows => (0, 1_400),
                Attack::Reports => (65_000, 1_400),
                _ => (65_000, 0),
            };
            let header = self.header(peer.port, TcpFlags::ACK, OURS, peer.theirs);
            self.tcp(sim, HOME, &TcpHeader { window, ..header }, &vec![b'x'; request]);
        }
    }

    /// Notes what has come: where the victim is, and its answers.
    fn listen(&mut self, sim: &mut Sim) {
        while let Some(frame) = sim.received_frame(self.station) {
            if frame.len() < BEFORE_TCP {
                continue;
            }
            // An ARP packet has the sender's address behind its hardware address.
            if frame[12..14] == [8, 6] && frame[28..32] == self.victim.octets() {
                self.victim_mac = Some(MacAddr(frame[6..12].try_into().expect("six bytes")));
            }
            if let Ok(asked) = Arp::parse(&frame[ETHERNET_BYTES..])
                && frame[12..14] == [8, 6]
                && asked.tpa == HOME
                && asked.operation == ArpOperation::Request
            {
                let reply = asked.reply(sim.station_address(self.station));
                self.frame(sim, EtherType::ARP, asked.sha, &[&reply.to_bytes()]);
            }
            let is_tcp = frame[12..14] == [8, 0] && frame[23] == 6;
            let Ok(segment) = TcpSegment::parse(&frame[BEFORE_TCP..]) else { continue };
            let header = segment.header();
            if is_tcp
                && header.flags.contains(TcpFlags::SYN)
                && !self.peers.iter().any(|peer| peer.port == header.dst_port)
            {
                self.peers.push(Peer { port: header.dst_port, theirs: header.seq + 1 });
            }
        }
    }

    fn header(&self, src_port: u16, flags: TcpFlags, seq: Seq, ack: Seq) -> TcpHeader {
        TcpHeader { flags, seq, ack, window: 65_000, ..TcpHeader::new(src_port, self.port) }
    }

    fn frame(&mut self, sim: &mut Sim, ethertype: EtherType, dst: MacAddr, parts: &[&[u8]]) {
        let src = sim.station_address(self.station);
        let header = EthernetHeader { dst, src, vlan: Vlan::Untagged, ethertype }.to_bytes();
        sim.send_frame(self.station, &[&header[..], &parts.concat()].concat());
    }

    fn ip(&mut self, sim: &mut Sim, header: &Ipv4Header, payload: &[u8]) {
        let ip = header.to_bytes(payload.len()).expect("short");
        let dst = self.victim_mac.expect("it was asked");
        self.frame(sim, EtherType::IPV4, dst, &[&ip, payload]);
    }

    fn tcp(&mut self, sim: &mut Sim, src: Ipv4Addr, header: &TcpHeader, payload: &[u8]) {
        let len = u16::try_from(header.header_len() + payload.len()).expect("short");
        let pseudo = pseudo_header_v4(src, self.victim, IpProtocol::TCP, len);
        let tcp = header.to_bytes(Fill::Complete(pseudo + Sum::of(payload)));
        self.ip(sim, &Ipv4Header::new(IpProtocol::TCP, src, self.victim), &[&tcp, payload].concat());
    }

    /// Sends one more.
    pub(super) fn send(&mut self, sim: &mut Sim) {
        self.count += 1;
        match self.attack {
            Attack::Syns | Attack::OwnSyns | Attack::LikeSums => self.send_syn(sim),
            Attack::Acknowledgements => {
                let (src, port) = (self.stranger(), self.port());
                let [seq, ack] = [self.number(), self.number()].map(Seq::new);
                let header = self.header(port, TcpFlags::ACK, seq, ack);
                self.tcp(sim, src, &header, &[]);
            }
            Attack::OutOfWindow => {
                let flags = [TcpFlags::ACK, TcpFlags::RST, TcpFlags::SYN, TcpFlags::RST | TcpFlags::ACK];
                let flags = flags[self.random.index(4)];
                let [seq, ack] = [self.number(), self.number()].map(Seq::new);
                let (src, port) = if self.count.is_multiple_of(2) {
                    (HOME, self.peers[0].port)
                } else {
                    (self.clients[self.random.index(self.clients.len())], self.port())
                };
                let header = self.header(port, flags, seq, ack);
                self.tcp(sim, src, &header, &[]);
            }
            Attack::TinySegments | Attack::Reports | Attack::ClosedWindows => self.send_on_connection(sim),
            Attack::Fragments => {
                let (src, identification) = (self.stranger(), self.port());
                let offset = u16::try_from(8 * self.random.below(1_000)).expect("short");
                let fragment = Fragment::new(offset, true).expect("a multiple of eight");
                let header = Ipv4Header {
                    fragment,
                    identification,
                    dont_fragment: false,
                    ..Ipv4Header::new(IpProtocol::UDP, src, self.victim)
                };
                self.ip(sim, &header, &[0; 64]);
            }
            Attack::Neighbours => {
                let (src, [_, _, high, low]) = (self.stranger(), self.number().to_be_bytes());
                let request = Arp::request(MacAddr([6, 6, 6, 6, high, low]), src, self.victim);
                self.frame(sim, EtherType::ARP, MacAddr::BROADCAST, &[&request.to_bytes()]);
            }
        }
    }

    fn send_syn(&mut self, sim: &mut Sim) {
        let seq = Seq::new(self.number());
        let (src, port) = match self.attack {
            Attack::OwnSyns => (HOME, self.port()),
            Attack::LikeSums => {
                let port = self.port();
                (Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 200, 0, 0)) + u32::from(u16::MAX - port)), port)
            }
            _ => (self.stranger(), self.port()),
        };
        let mut header = self.header(port, TcpFlags::SYN, seq, Seq::new(0));
        header.options.mss = 1_460.try_into().ok();
        self.tcp(sim, src, &header, &[]);
    }

    fn send_on_connection(&mut self, sim: &mut Sim) {
        let peer = self.peers[self.count as usize % self.peers.len()];
        let mut header = self.header(peer.port, TcpFlags::ACK, OURS, peer.theirs);
        match self.attack {
            Attack::TinySegments => {
                header.seq = OURS + 1 + 2 * (self.count % 30_000);
                self.tcp(sim, HOME, &header, b"x");
            }
            Attack::Reports => {
                header.seq = OURS + 1_400;
                let hole = peer.theirs + 1 + 2 * (self.count % 699);
                header.options.sack = [SackBlock { left: hole, right: hole + 1 }].into_iter().collect();
                self.tcp(sim, HOME, &header, &[]);
            }
            _ => {
                header.seq = OURS + 1_400;
                self.tcp(sim, HOME, &TcpHeader { window: 0, ..header }, &[]);
            }
        }
    }
}
