//! All of a shard's TCP/IP: interfaces, routes, neighbours and sockets. Packets in, packets out.

mod arp;
mod autoconf;
mod batch;
mod configure;
mod dhcpv4;
mod dhcpv6;
mod express;
mod filters;
mod groups;
mod icmp;
mod icmp_v6;
mod input;
mod input_v6;
mod leased;
mod ndp;
mod network;
mod outgoing;
mod output;
mod output_v6;
mod paths;
mod rare;
mod selection;
mod tcp;
mod tentative;
mod transmit;
mod udp;

#[cfg(test)]
mod tests;

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::borrow::BorrowMut;
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::time::Duration;

use sunstar_packet::{CopyCounter, Packet, Pool, PoolOptions};
use sunstar_wire::MacAddr;

use crate::configuration::Configuration;
use crate::drops::{DropReason, Drops};
use crate::filter::{Direction, Filters};
use crate::interface::{Interface, InterfaceId, InterfaceOptions};
use crate::neighbours::Neighbours;
use crate::path::PathMtus;
use crate::rate::TokenBucket;
use crate::reassembly::Reassembly;
use crate::routes::TooManyRoutes;
use crate::tcp::connection::{Options, Outgoing};
use crate::tcp::secret::Secret;
use crate::tcp::sockets::{self, Sockets};
use crate::time::Instant;
use crate::udp::{UdpId, UdpSockets};
use arp::Announcement;
use autoconf::Autoconf;
use batch::Batch;
use dhcpv4::Dhcpv4;
use dhcpv6::Dhcpv6;
use groups::Groups;
use network::Network;
use outgoing::Waiting;
use paths::Paths;
use tcp::Cut;
use tentative::Tentative;

pub use self::autoconf::AutoconfOptions;
pub use self::groups::GroupChange;
pub use crate::neighbours::NeighbourLimits;
pub use crate::reassembly::ReassemblyLimits;

/// How much there may be of everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// TCP.
    pub tcp: sockets::Limits,
    /// Neighbours.
    pub neighbours: NeighbourLimits,
    /// Fragments.
    pub reassembly: ReassemblyLimits,
    /// UDP sockets.
    pub udp_sockets: usize,
    /// Routes, those to the networks of our addresses included.
    pub routes: usize,
    /// Paths that are known to be narrower than their first link.
    pub path_mtus: usize,
    /// Packets that are ready to be sent by one interface and do not come from TCP, which waits itself; further ones are dropped.
    pub outgoing_packets: usize,
    /// Packets from ourselves to ourselves; further ones are dropped.
    pub loopback_packets: usize,
    /// Headers that are kept by those who send the packets, in memory that is used again; further ones come from the heap.
    pub header_frames: usize,
}

impl Limits {
    /// For servers.
    pub const DEFAULT: Self = Self {
        tcp: sockets::Limits::DEFAULT,
        neighbours: NeighbourLimits::DEFAULT,
        reassembly: ReassemblyLimits::DEFAULT,
        udp_sockets: 65_536,
        routes: 1_024,
        path_mtus: 1_024,
        outgoing_packets: 4_096,
        loopback_packets: 4_096,
        header_frames: 65_536,
    };
}

/// What was counted since the start, beside what TCP counts, and [`Drops`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Packets and frames that came in, those from ourselves included.
    pub received: u64,
    /// Packets and frames that left.
    pub sent: u64,
    /// ARP requests that were sent: those that look for a neighbour.
    pub arp_requests_sent: u64,
    /// ARP replies that were sent.
    pub arp_replies_sent: u64,
    /// ARP messages from others who use one of our addresses (RFC 5227 §2.4).
    pub arp_conflicts: u64,
    /// Neighbour solicitations that were sent (RFC 4861 §4.3).
    pub neighbour_solicitations_sent: u64,
    /// Neighbour advertisements that were sent (RFC 4861 §4.4).
    pub neighbour_advertisements_sent: u64,
    /// Router advertisements that were listened to (RFC 4861 §4.2).
    pub router_advertisements_received: u64,
    /// Routes of which router advertisements have told and for which there was no room.
    pub router_routes_refused: u64,
    /// Redirected destinations that were forgotten for others (RFC 4861 §8.3).
    pub redirects_forgotten: u64,
    /// Messages from others who have one of our addresses of IPv6, or one that we wanted (RFC 4862 §5.4).
    pub address_conflicts_v6: u64,
    /// Reports of multicast groups that were sent (RFC 3376, RFC 3810).
    pub group_reports_sent: u64,
    /// Fragments that came in.
    pub fragments_received: u64,
    /// Fragments that were made.
    pub fragments_sent: u64,
    /// Echo replies that were sent.
    pub echo_replies_sent: u64,
    /// ICMP errors that sockets were told of.
    pub icmp_errors_received: u64,
    /// ICMP errors that were sent.
    pub icmp_errors_sent: u64,
    /// ICMP errors that were not sent, since there were too many.
    pub icmp_errors_suppressed: u64,
    /// Datagrams that UDP sockets have received.
    pub datagrams_received: u64,
    /// Datagrams that UDP sockets have sent.
    pub datagrams_sent: u64,
    /// TCP segments that were cut in two since their options left too little room.
    pub segments_cut: u64,
    /// TCP segments that were put behind others of their burst.
    pub segments_joined: u64,
    /// Changes of the configuration that others had asked for and that could not be made.
    pub changes_refused: u64,
    /// Answers that were sent to the station from which that came what they answer, since as many neighbours were asked for as may be.
    pub answers_sent_back: u64,
    /// Neighbours that were forgotten for others, since as many were known or asked for as may be.
    pub neighbours_displaced: u64,
    /// Packets that filters have consumed.
    pub packets_consumed: u64,
    /// Packets that filters have answered.
    pub packets_answered: u64,
}

/// How full everything is, see [`Limits`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Levels {
    /// TCP.
    pub tcp: sockets::Levels,
    /// Neighbours that are known or asked for.
    pub neighbours: usize,
    /// Packets that are put together from fragments.
    pub incomplete_packets: usize,
    /// Bytes that are counted for them, see [`ReassemblyLimits::bytes`].
    pub incomplete_bytes: usize,
    /// Packets that are ready to be sent.
    pub outgoing_packets: usize,
    /// Packets from ourselves to ourselves.
    pub loopback_packets: usize,
    /// Frames for headers that somebody holds.
    pub header_frames: usize,
}

/// What the application should look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Something of TCP.
    Tcp(sockets::Event),
    /// A UDP socket has received something, or heard of an error.
    Udp(UdpId),
    /// Another station uses one of our addresses (RFC 5227 §2.4).
    AddressConflict {
        /// Where.
        interface: InterfaceId,
        /// The address.
        address: Ipv4Addr,
        /// The other station.
        mac: MacAddr,
    },
    /// Another station has an address of IPv6 that is ours, and stays so, or that was to be ours, and is not (RFC 4862 §5.4).
    AddressTaken {
        /// Where.
        interface: InterfaceId,
        /// The address.
        address: Ipv6Addr,
    },
}

/// Why an address or an interface was not added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigError {
    /// There is no such interface.
    NoInterface,
    /// No station can have that address.
    Address,
    /// There are as many routes, or interfaces, as may be.
    Full,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoInterface => "there is no such interface",
            Self::Address => "no station can have that address",
            Self::Full => "there are as many routes or interfaces as may be",
        })
    }
}

impl core::error::Error for ConfigError {}

impl From<TooManyRoutes> for ConfigError {
    fn from(TooManyRoutes: TooManyRoutes) -> Self {
        Self::Full
    }
}

/// Conflicts that wait to be told; further ones are only counted.
const MAX_CONFLICT_EVENTS: usize = 16;

/// ICMP errors and echo replies are sent so often at most, and so many at once (RFC 1812 §4.3.2.8; as `icmp_msgs_per_sec` and
/// `icmp_msgs_burst` of Linux).
const ICMP_INTERVAL: Duration = Duration::from_millis(1);
const ICMP_BURST: u32 = 50;

/// Counters of identifications, over which pairs of addresses are spread.
const IDENTIFICATIONS: usize = 256;

/// The TCP/IP of one shard, as pure state.
///
/// Four kinds of methods, none of which waits. What arrives is told by [`Stack::handle_packets`]; what the application wants, by
/// the calls of sockets and configuration; what must leave is asked for by [`Stack::poll_transmit`] until there is nothing, after
/// each of those; and [`Stack::deadline`] names when [`Stack::handle_timeout`] is due though nothing arrives.
/// [`Stack::poll_event`] names the sockets that the application should look at.
///
/// Addresses are of either version of IP. Link-local addresses of IPv6 have no scope here: a packet to one goes where the route to it leads.
#[derive(Debug)]
pub struct Stack {
    limits: Limits,
    network: Network,
    neighbours: Neighbours,
    paths: Paths,
    path_mtus: PathMtus,
    secret: Secret,
    reassembly: Reassembly,
    identifications: Box<[u16; IDENTIFICATIONS]>,
    identifications_v6: Box<[u32; IDENTIFICATIONS]>,
    /// How many numbers were drawn.
    draws: u64,
    /// Addresses that are to be ours.
    tentative: Vec<Tentative>,
    autoconf: Autoconf,
    groups: Groups,
    icmp_errors: TokenBucket,
    echo_replies: TokenBucket,
    tcp: Sockets,
    udp: UdpSockets,
    next_udp_port: u32,
    /// What the latest connection was to be opened with, and was for its link.
    bounded_options: Option<[Rc<Options>; 2]>,
    /// Ready to be sent.
    outgoing: Waiting,
    /// From ourselves to ourselves.
    local: VecDeque<Packet>,
    /// Packets that were put together here and belong elsewhere, if that is asked for.
    reassembled: Option<VecDeque<(InterfaceId, Packet)>>,
    announcements: VecDeque<Announcement>,
    /// When the next of them is due, or was to be, as was found when some were sent.
    next_announcement: Option<Instant>,
    conflicts: VecDeque<Event>,
    configuration: Configuration,
    dhcpv4: Vec<Dhcpv4>,
    dhcpv6: Vec<Dhcpv6>,
    filters: Filters,
    batch: Batch,
    /// Memory for the segment that is being sent; between calls it has what is left of one that is being cut.
    segment: Option<Box<Outgoing>>,
    cut: Option<Cut>,
    /// There was more to do than one call may.
    is_interrupted: bool,
    headers: Option<Pool>,
    copies: CopyCounter,
    counters: Counters,
    drops: Drops,
}

impl Stack {
    /// A stack with no interface but loopback. `key` is random, see [`Secret`].
    pub fn new(key: [u8; 16], limits: Limits) -> Self {
        let headers = PoolOptions { frame_bytes: 0, headroom_bytes: 128, limit_frames: limits.header_frames };
        Self {
            limits,
            network: Network::new(limits.routes),
            neighbours: Neighbours::new(limits.neighbours),
            paths: Paths::default(),
            path_mtus: PathMtus::new(limits.path_mtus),
            secret: Secret::new(key),
            reassembly: Reassembly::new(limits.reassembly),
            identifications: Box::new([0; IDENTIFICATIONS]),
            identifications_v6: Box::new([0; IDENTIFICATIONS]),
            draws: 0,
            tentative: Vec::new(),
            autoconf: Autoconf::default(),
            groups: Groups::default(),
            icmp_errors: TokenBucket::new(ICMP_INTERVAL, ICMP_BURST),
            echo_replies: TokenBucket::new(ICMP_INTERVAL, ICMP_BURST),
            tcp: Sockets::new(Secret::new(key), limits.tcp),
            udp: UdpSockets::new(limits.udp_sockets),
            next_udp_port: 0,
            bounded_options: None,
            outgoing: Waiting::default(),
            local: VecDeque::new(),
            reassembled: None,
            announcements: VecDeque::new(),
            next_announcement: None,
            conflicts: VecDeque::new(),
            configuration: Configuration::default(),
            dhcpv4: Vec::new(),
            dhcpv6: Vec::new(),
            filters: Filters::default(),
            batch: Batch::default(),
            segment: None,
            cut: None,
            is_interrupted: false,
            headers: Pool::new(headers).ok(),
            copies: CopyCounter::default(),
            counters: Counters::default(),
            drops: Drops::default(),
        }
    }

    /// Adds an interface, which has no address yet.
    ///
    /// # Errors
    /// [`ConfigError::Full`] if there are 65,536.
    pub fn add_interface(&mut self, options: InterfaceOptions) -> Result<InterfaceId, ConfigError> {
        self.network.add_interface(options).ok_or(ConfigError::Full)
    }

    /// An interface.
    pub fn interface(&self, id: InterfaceId) -> Option<&Interface> {
        self.network.interface(id)
    }

    /// What was counted.
    pub fn counters(&self) -> Counters {
        Counters { neighbours_displaced: self.neighbours.displaced(), ..self.counters }
    }

    /// What was dropped.
    pub fn drops(&self) -> &Drops {
        &self.drops
    }

    /// What had to be copied.
    pub fn copies(&self) -> &CopyCounter {
        &self.copies
    }

    /// What TCP has counted.
    pub fn tcp_counters(&self) -> sockets::Counters {
        self.tcp.counters()
    }

    /// How full everything is.
    pub fn levels(&self) -> Levels {
        let (incomplete_packets, incomplete_bytes) = self.reassembly.level();
        Levels {
            tcp: self.tcp.levels(),
            neighbours: self.neighbours.len(),
            incomplete_packets,
            incomplete_bytes,
            outgoing_packets: self.outgoing.len(),
            loopback_packets: self.local.len(),
            header_frames: self.header_pools().map(|headers| headers.counters().in_use_frames).sum(),
        }
    }

    /// How many neighbours are known or asked for.
    pub fn neighbours(&self) -> usize {
        self.neighbours.len()
    }

    /// How many packets are put together from fragments, and bytes that are counted for them, see [`ReassemblyLimits::bytes`].
    pub fn incomplete_packets(&self) -> (usize, usize) {
        self.reassembly.level()
    }

    /// Packets have come in by an interface. Ask [`Stack::poll_transmit`] and [`Stack::poll_event`] afterwards.
    ///
    /// Packets that are lent are left without what was taken.
    pub fn handle_packets<P: BorrowMut<Packet>>(
        &mut self,
        now: Instant,
        id: InterfaceId,
        burst: impl IntoIterator<Item = P>,
    ) {
        for mut packet in burst {
            self.counters.received += 1;
            let packet = packet.borrow_mut();
            if !self.filters.is_empty(Direction::Input) && !self.passes(Direction::Input, now, id, packet) {
                continue;
            }
            if self.input_express(now, id, packet) {
                continue;
            }
            if let Err(reason) = self.input(now, id, packet) {
                self.drops.add(reason);
            }
        }
        self.end_batch(now);
    }

    /// When to call [`Stack::handle_timeout`], if nothing happens before. May be early, and up to 1,024 µs late, so that what ends at
    /// about the same time ends together. What [`Stack::poll_transmit`] was not asked for, since a device was full, does not count.
    pub fn deadline(&self) -> Option<Instant> {
        if self.is_interrupted {
            return Some(Instant::default());
        }
        let announcement = self.next_announcement.unwrap_or(Instant::NEVER);
        let first = self.tcp.next_micros().min(self.neighbours.next_micros()).min(announcement.as_micros());
        let usual = (first != u64::MAX).then(|| Instant::from_micros(first));
        if self.has_rare_deadlines() { earliest(usual, self.rare_deadline()) } else { usual }
    }

    /// Gives back memory that is kept for reuse, as far as nobody uses it. It looks at all tables, so it is for when there is nothing to
    /// do.
    pub fn free_unused_memory(&mut self) {
        self.tcp.free_unused_memory();
        self.outgoing.shrink_to_fit();
        self.local.shrink_to_fit();
        self.header_pools().for_each(Pool::free_unused_memory);
    }

    /// Time has passed. Ask [`Stack::poll_transmit`] and [`Stack::poll_event`] afterwards.
    pub fn handle_timeout(&mut self, now: Instant) {
        // Strangers who can't be answered are forgotten before they are answered again: to neighbours who are sought anew, that answer would go when
        // nobody knows of it any more.
        self.neighbours.handle_timeout(now);
        self.network.forgive(now);
        self.give_up_neighbours(now);
        self.tcp.handle_timeout(now);
        if self.next_announcement.is_some_and(|due| due <= now) {
            self.send_announcements(now);
        }
        if self.has_rare_deadlines() {
            self.handle_rare_timeouts(now);
        }
    }

    /// The next packet that has to leave, and by which interface. Ask until there is none, or the device takes no more: what is not
    /// asked for waits. If one device takes no more and others do, [pause](Stack::pause) its interface and go on.
    pub fn poll_transmit(&mut self, now: Instant) -> Option<(InterfaceId, Packet)> {
        if !self.may_transmit() {
            return None;
        }
        // Made where the caller gets it: what has just been written is not moved.
        let mut next = Some((InterfaceId::LOOPBACK, Packet::new()));
        let (interface, packet) = next.as_mut()?;
        match self.transmit_something(now, packet) {
            Some(id) => *interface = id,
            None => next = None,
        }
        next
    }

    /// The same, put where it is wanted, since it is large; what was there is gone. Where there is nothing to send, nothing is there either.
    #[inline]
    pub fn transmit_into(&mut self, now: Instant, packet: &mut Packet) -> Option<InterfaceId> {
        if !self.may_transmit() {
            packet.clear();
            return None;
        }
        self.transmit_something(now, packet)
    }

    #[inline]
    fn transmit_something(&mut self, now: Instant, packet: &mut Packet) -> Option<InterfaceId> {
        let mut segment = self.segment.take().unwrap_or_default();
        let mut interface = self.next_packet(now, &mut segment, packet);
        if !self.filters.is_empty(Direction::Output) {
            interface = self.next_passing(now, interface, &mut segment, packet);
        }
        if self.cut.is_none() {
            // Of what could not be sent.
            segment.payload.clear();
        }
        self.segment = Some(segment);
        match interface {
            Some(_) => self.counters.sent += 1,
            None => packet.clear(),
        }
        interface
    }

    /// The device of an interface takes nothing for now: what is to leave by it waits until [`Stack::resume`], so that
    /// [`Stack::poll_transmit`] has only what leaves by others, and the rest of a large segment that was begun.
    pub fn pause(&mut self, id: InterfaceId) {
        if id != InterfaceId::LOOPBACK {
            self.network.set_paused(id, true);
        }
    }

    /// The device of an interface takes packets again, those that have waited longest first.
    pub fn resume(&mut self, id: InterfaceId) {
        if self.network.set_paused(id, false) {
            self.tcp.resume(id);
        }
    }

    /// From now on packets that were put together from fragments are not taken in but handed out by [`Stack::poll_reassembled`], since
    /// only now can be seen for whom they are.
    pub fn hand_out_reassembled(&mut self) {
        self.reassembled.get_or_insert_default();
    }

    /// The next packet that was put together from fragments, and where they had come in. Hand it to [`Stack::handle_packets`] of whom it
    /// is for, which may be this one.
    pub fn poll_reassembled(&mut self) -> Option<(InterfaceId, Packet)> {
        self.reassembled.as_mut()?.pop_front()
    }

    /// Whether there is something that the application should look at, [`Stack::poll_change`] included.
    pub fn has_event(&self) -> bool {
        self.tcp.has_event() || self.udp.has_event() || !self.conflicts.is_empty() || self.configuration.has_change()
    }

    /// What the application should look at next.
    pub fn poll_event(&mut self) -> Option<Event> {
        let tcp = self.tcp.poll_event().map(Event::Tcp);
        tcp.or_else(|| self.udp.poll_event().map(Event::Udp)).or_else(|| self.conflicts.pop_front())
    }

    fn drop(&mut self, reason: DropReason) {
        self.drops.add(reason);
    }
}

/// The earlier one of two points in time, either of which may be never.
pub(crate) fn earliest(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        _ => one.or(other),
    }
}

/// Whether a station can have an address (RFC 1122 §3.2.1.3).
fn is_station(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_v4_station(v4),
        IpAddr::V6(v6) => !v6.is_unspecified() && !v6.is_multicast(),
    }
}

pub(crate) fn is_v4_station(v4: Ipv4Addr) -> bool {
    // "This network", groups, and what is reserved, the broadcast address among it.
    !matches!(v4.octets(), [0 | 224..=255, ..])
}
