//! What a device can do, and which packets it therefore takes.

use std::fmt;

use sunstar_packet::{Checksum, Packet, SegmentationKind};
use sunstar_wire::MacAddr;

use crate::flow_hash::FlowHash;

/// Bytes of an Ethernet header with two VLAN tags: so much may come on top of the MTU.
pub const MAX_LINK_HEADER_BYTES: usize = 22;

/// The longest packet that segmentation offload makes: the longest of IP, and its Ethernet header.
pub const MAX_SEGMENTED_BYTES: usize = 65_535 + MAX_LINK_HEADER_BYTES;

/// Work that is shared between device and stack, in one direction. The names are those of `ethtool` and virtio.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offloads {
    /// Transport checksums: completed when sent, verified or left partial when received.
    pub checksum: bool,
    /// Large packets of TCP over IPv4 (TSO, GRO).
    pub tso4: bool,
    /// Large packets of TCP over IPv6.
    pub tso6: bool,
    /// Large packets of TCP whose first piece alone has the congestion window reduced flag.
    pub tso_ecn: bool,
    /// Large packets of UDP (USO), which are cut into datagrams.
    pub uso: bool,
    /// VLAN tags are in the metadata and not in the frame.
    pub vlan: bool,
}

impl Offloads {
    /// The device does nothing.
    pub const NONE: Self = Self { checksum: false, tso4: false, tso6: false, tso_ecn: false, uso: false, vlan: false };

    /// The device does all of it.
    pub const ALL: Self = Self { checksum: true, tso4: true, tso6: true, tso_ecn: true, uso: true, vlan: true };

    /// Whether there are large packets of any kind.
    pub const fn has_segmentation(self) -> bool {
        self.tso4 || self.tso6 || self.uso
    }

    const fn segments(self, kind: SegmentationKind) -> bool {
        match kind {
            SegmentationKind::Tcpv4 => self.tso4,
            SegmentationKind::Tcpv6 => self.tso6,
            SegmentationKind::UdpL4 => self.uso,
        }
    }
}

/// What a device, or a queue with something before it, can do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// The address of the stack that uses the device.
    pub mac: MacAddr,
    /// The longest IP packet that is sent in one piece, in bytes.
    pub mtu_bytes: usize,
    /// How many queues there are.
    pub queues: usize,
    /// What the device does for packets that are sent.
    pub tx: Offloads,
    /// What it may have done for packets that are received. Stacks take no large packets of UDP: a device that gets such cuts them.
    pub rx: Offloads,
    /// The hash by which the other end of the device chooses the queue of a packet for us, if it does so and tells.
    pub rss: Option<FlowHash>,
}

impl Capabilities {
    /// The longest packet that can be received, in bytes, Ethernet header included.
    pub const fn max_rx_bytes(&self) -> usize {
        if self.rx.has_segmentation() { MAX_SEGMENTED_BYTES } else { self.mtu_bytes + MAX_LINK_HEADER_BYTES }
    }

    /// Whether the device can send a packet as it is.
    ///
    /// # Errors
    /// The rule that it breaks. Queues drop and count such packets ([`Counters::tx_refused`](crate::Counters::tx_refused)).
    pub fn check(&self, packet: &Packet) -> Result<(), Refusal> {
        let offload = &packet.offload;
        if let Checksum::Partial { csum_start, csum_offset } = offload.checksum {
            if !self.tx.checksum {
                return Err(Refusal::Checksum);
            }
            if csum_start as usize + usize::from(csum_offset) + 2 > packet.len() {
                return Err(Refusal::Position);
            }
        }
        if offload.vlan.is_some() && !self.tx.vlan {
            return Err(Refusal::Vlan);
        }
        let Some(segmentation) = offload.segmentation else {
            return match packet.len() {
                0 => Err(Refusal::Empty),
                len if len > self.mtu_bytes + MAX_LINK_HEADER_BYTES => Err(Refusal::Length),
                _ => Ok(()),
            };
        };
        if !self.tx.segments(segmentation.kind) || (segmentation.has_ecn && !self.tx.tso_ecn) {
            return Err(Refusal::Segmentation);
        }
        if segmentation.gso_size == 0 || segmentation.hdr_len as usize > packet.len() {
            return Err(Refusal::Position);
        }
        if packet.len() > MAX_SEGMENTED_BYTES { Err(Refusal::Length) } else { Ok(()) }
    }
}

/// Why a device can't send a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It has no bytes.
    Empty,
    /// It is longer than the MTU, or a large one longer than IP allows.
    Length,
    /// Its checksum is partial, and the device completes none.
    Checksum,
    /// The device does not cut packets of this kind.
    Segmentation,
    /// The device puts in no VLAN tags.
    Vlan,
    /// A position in its metadata lies beyond its end, or its pieces would have no bytes.
    Position,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "the packet is empty",
            Self::Length => "the packet is too long",
            Self::Checksum => "the device completes no checksums",
            Self::Segmentation => "the device does not cut packets of this kind",
            Self::Vlan => "the device puts in no VLAN tags",
            Self::Position => "the metadata point beyond the end of the packet",
        })
    }
}

impl std::error::Error for Refusal {}
