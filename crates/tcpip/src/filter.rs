//! Packet filters: functions of the application that see packets before the stack takes them in, and when it has made them.
//!
//! Every filter is asked in the order in which they were added, until one of them decides. What is shown is a well-formed IP packet whose
//! header has the right checksum; what is not goes to the stack, which drops and counts it. Fragments are shown one by one as they come,
//! and once more as the packet that they make, which is again to be decided about; as they leave, one by one. Large segments that a
//! device or the stack cuts later are shown as one. Packets from ourselves to ourselves are not shown.
//!
//! ```
//! use sunstar_tcpip::filter::{Direction, Verdict};
//! use sunstar_tcpip::stack::{Limits, Stack};
//!
//! let mut stack = Stack::new([7; 16], Limits::DEFAULT);
//! let echo = stack.add_filter(Direction::Input, |packet| match packet.udp() {
//!     Some(request) if request.dst.port() == 7 => {
//!         let answer = sunstar_packet::Buffer::copy_from_slice(request.payload);
//!         packet.answer_udp(answer.into())
//!     }
//!     _ => Verdict::Pass,
//! })?;
//! stack.remove_filter(echo);
//! # Ok::<(), sunstar_tcpip::filter::TooManyFilters>(())
//! ```

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;
use core::net::SocketAddr;

use sunstar_packet::{Checksum, CopyCounter, Offload, Packet};
use sunstar_wire::checksum::{Fill, Sum, pseudo_header};
use sunstar_wire::{AddressPair, IpProtocol, Ipv4Header, Ipv6Header, MacAddr, UdpDatagram, UdpHeader};

use crate::interface::InterfaceId;
use crate::time::Instant;

/// Filters of one direction at most.
pub const MAX_FILTERS: usize = 16;

/// Whether packets come or go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// They come in, and the stack has not seen them.
    Input,
    /// They leave, and the device has not seen them.
    Output,
}

/// What becomes of a packet.
#[derive(Debug)]
pub enum Verdict {
    /// The next filter is asked; after the last one the packet goes on.
    Pass,
    /// It is dropped and counted ([`DropReason::Filtered`](crate::drops::DropReason::Filtered)). Of a segment that leaves TCP finds out as of any loss.
    Drop,
    /// The filter has dealt with it, see [`Filtered::take`]. It goes no further.
    Consume,
    /// It goes no further, and this IP packet goes the other way: to the station that sent what came in, unless it is longer than the link
    /// takes, which is dropped; to ourselves if it would have left.
    Answer(Packet),
}

/// A filter of a stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FilterId(u32);

/// There are [`MAX_FILTERS`] of that direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyFilters;

impl fmt::Display for TooManyFilters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "there are {MAX_FILTERS} packet filters of that direction already")
    }
}

impl core::error::Error for TooManyFilters {}

/// A UDP datagram that asks for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// Who sent it.
    pub src: SocketAddr,
    /// One of our addresses.
    pub dst: SocketAddr,
    /// What it carries.
    pub payload: &'a [u8],
}

/// What the headers of a packet say.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Headers {
    /// The station that sent it, where there are stations.
    pub(crate) station: Option<MacAddr>,
    pub(crate) link_len: usize,
    pub(crate) ip_len: usize,
    pub(crate) payload_len: usize,
    pub(crate) addresses: AddressPair,
    pub(crate) protocol: IpProtocol,
    pub(crate) is_fragment: bool,
    /// Whether it was sent by another host to one of our addresses.
    pub(crate) is_for_us: bool,
}

/// A packet as a filter sees it.
pub struct Filtered<'a> {
    pub(crate) now: Instant,
    pub(crate) interface: InterfaceId,
    pub(crate) direction: Direction,
    pub(crate) headers: Headers,
    pub(crate) packet: &'a mut Packet,
    pub(crate) copies: &'a CopyCounter,
}

impl Filtered<'_> {
    /// The time of the burst.
    pub const fn now(&self) -> Instant {
        self.now
    }

    /// Where it came in, or is to leave.
    pub const fn interface(&self) -> InterfaceId {
        self.interface
    }

    /// Whether it comes or goes.
    pub const fn direction(&self) -> Direction {
        self.direction
    }

    /// Where it comes from and goes to.
    pub const fn addresses(&self) -> AddressPair {
        self.headers.addresses
    }

    /// What the packet carries; of IPv6 what its fixed header says, which may be an extension header.
    pub const fn protocol(&self) -> IpProtocol {
        self.headers.protocol
    }

    /// Whether it is a part of a packet only.
    pub const fn is_fragment(&self) -> bool {
        self.headers.is_fragment
    }

    /// Bytes behind the IP header.
    pub const fn payload_len(&self) -> usize {
        self.headers.payload_len
    }

    /// The IP header, and `count` bytes of what it carries, or as many as there are. What lies in several buffers is copied together.
    pub fn front(&mut self, count: usize) -> &[u8] {
        let Headers { link_len, ip_len, payload_len, .. } = self.headers;
        let end = link_len + ip_len + count.min(payload_len);
        self.packet.contiguous(end, self.copies).map_or(&[], |bytes| &bytes[link_len..])
    }

    /// The packet's pieces from the IP header on, without padding. Their memory is the device's.
    pub fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        let Headers { link_len, ip_len, payload_len, .. } = self.headers;
        let (mut skip, mut left) = (link_len, ip_len + payload_len);
        self.packet.buffers().iter().filter_map(move |buffer| {
            let begin = skip.min(buffer.len());
            skip -= begin;
            let len = (buffer.len() - begin).min(left);
            left -= len;
            (len > 0).then(|| &buffer[begin..begin + len])
        })
    }

    /// Takes the packet out, from the IP header on; whoever does answers [`Verdict::Consume`]. What is left has no bytes.
    pub fn take(&mut self) -> Packet {
        let Headers { link_len, ip_len, payload_len, .. } = self.headers;
        let mut packet = core::mem::take(self.packet);
        let padding = packet.len().saturating_sub(link_len + ip_len + payload_len);
        // They are there: the headers were looked at.
        let _ = packet.trim_back(padding);
        let _ = packet.trim_front(link_len);
        packet
    }

    /// The packet as a datagram that another host has sent to one of our addresses, whole and with the right checksum; nothing if it
    /// is none.
    pub fn udp(&mut self) -> Option<Request<'_>> {
        let Headers { addresses, protocol, is_fragment, is_for_us, .. } = self.headers;
        if !is_for_us || is_fragment || protocol != IpProtocol::UDP || self.direction == Direction::Output {
            return None;
        }
        let is_verified = !matches!(self.packet.offload.checksum, Checksum::Complete);
        let (ip_len, len) = (self.headers.ip_len, self.headers.payload_len);
        let datagram = UdpDatagram::parse(self.front(len).get(ip_len..)?).ok()?;
        if !is_verified && !planted::is("filter_unverified") && !datagram.has_valid_checksum(addresses) {
            return None;
        }
        let src = SocketAddr::new(addresses.src(), datagram.src_port());
        let dst = SocketAddr::new(addresses.dst(), datagram.dst_port());
        // Zero expects no answer.
        (src.port() != 0).then(|| Request { src, dst, payload: datagram.payload() })
    }

    /// What answers a datagram that [`Filtered::udp`] has shown. Where there is none, or the answer is longer than a datagram may be,
    /// the packet is dropped.
    pub fn answer_udp(&mut self, mut payload: Packet) -> Verdict {
        let Some(Request { src, dst, .. }) = self.udp() else { return Verdict::Drop };
        let Some(addresses) = AddressPair::new(dst.ip(), src.ip()) else { return Verdict::Drop };
        payload.offload = Offload::default();
        let header = UdpHeader { src_port: dst.port(), dst_port: src.port() };
        let len = payload.len() + UdpHeader::LEN;
        let Ok(length) = u32::try_from(len) else { return Verdict::Drop };
        let sum = pseudo_header(addresses, IpProtocol::UDP, length) + Sum::of_chain(payload.buffers());
        let Ok(udp) = header.to_bytes(payload.len(), Fill::Complete(sum)) else { return Verdict::Drop };
        let is_done = payload.prepend(&udp).is_ok() && prepend_ip(&mut payload, addresses);
        if is_done { Verdict::Answer(payload) } else { Verdict::Drop }
    }
}

fn prepend_ip(packet: &mut Packet, addresses: AddressPair) -> bool {
    let len = packet.len();
    match addresses {
        AddressPair::V4 { src, dst } => {
            let header = Ipv4Header::new(IpProtocol::UDP, src, dst).to_bytes(len);
            header.is_ok_and(|bytes| packet.prepend(&bytes).is_ok())
        }
        AddressPair::V6 { src, dst } => {
            let header = Ipv6Header::new(IpProtocol::UDP, src, dst).to_bytes(len);
            header.is_ok_and(|bytes| packet.prepend(&bytes).is_ok())
        }
    }
}

impl fmt::Debug for Filtered<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { interface, direction, headers, .. } = self;
        f.debug_struct("Filtered")
            .field("interface", interface)
            .field("direction", direction)
            .field("headers", headers)
            .finish()
    }
}

/// A function that is asked.
pub type Filter = Box<dyn FnMut(&mut Filtered<'_>) -> Verdict>;

/// The filters of a stack.
#[derive(Default)]
pub(crate) struct Filters {
    input: Vec<(FilterId, Filter)>,
    output: Vec<(FilterId, Filter)>,
    next: u32,
}

impl Filters {
    #[inline]
    pub(crate) fn is_empty(&self, direction: Direction) -> bool {
        match direction {
            Direction::Input => self.input.is_empty(),
            Direction::Output => self.output.is_empty(),
        }
    }

    fn of(&mut self, direction: Direction) -> &mut Vec<(FilterId, Filter)> {
        match direction {
            Direction::Input => &mut self.input,
            Direction::Output => &mut self.output,
        }
    }

    pub(crate) fn has_room(&self, direction: Direction) -> bool {
        let filters = match direction {
            Direction::Input => &self.input,
            Direction::Output => &self.output,
        };
        filters.len() < MAX_FILTERS
    }

    pub(crate) fn add(&mut self, direction: Direction, filter: Filter) -> Result<FilterId, TooManyFilters> {
        if !self.has_room(direction) {
            return Err(TooManyFilters);
        }
        let id = FilterId(self.next);
        self.of(direction).push((id, filter));
        self.next = self.next.wrapping_add(1);
        Ok(id)
    }

    pub(crate) fn remove(&mut self, id: FilterId) -> Option<Filter> {
        for filters in [&mut self.input, &mut self.output] {
            if let Some(at) = filters.iter().position(|(other, _)| *other == id) {
                return Some(filters.remove(at).1);
            }
        }
        None
    }

    /// Asks one after the other.
    pub(crate) fn judge(&mut self, filtered: &mut Filtered<'_>) -> Verdict {
        for (_, filter) in self.of(filtered.direction) {
            match filter(filtered) {
                Verdict::Pass => {}
                verdict => return verdict,
            }
        }
        Verdict::Pass
    }
}

impl fmt::Debug for Filters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Filters").field("input", &self.input.len()).field("output", &self.output.len()).finish()
    }
}
