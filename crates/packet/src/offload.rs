//! What a device has done for a packet, or shall do.

/// Work on a packet that is shared with the device. The default is: none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offload {
    /// The state of the transport checksum.
    pub checksum: Checksum,
    /// How the device shall cut the packet, or from what size of pieces it was put together.
    pub segmentation: Option<Segmentation>,
    /// The hash by which the device chose the queue.
    pub rss_hash: Option<u32>,
    /// The tag that the device has taken off or shall put in.
    pub vlan: Option<VlanTag>,
}

/// The state of a packet's transport checksum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Checksum {
    /// Nobody vouches for it: received, it must be verified; to be sent, it is complete.
    #[default]
    Complete,
    /// Received: the device has verified it (`VIRTIO_NET_HDR_F_DATA_VALID`).
    Verified,
    /// Only the pseudo-header is in it (`VIRTIO_NET_HDR_F_NEEDS_CSUM`). To be sent: the device shall complete it.
    /// Received: it comes from this very machine, so nothing can have damaged it.
    Partial {
        /// From which byte of the packet to its end the sum goes.
        csum_start: u32,
        /// How many bytes after that the 16 bits of the sum are stored.
        csum_offset: u16,
    },
}

/// What the pieces of a large packet are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SegmentationKind {
    /// TCP over IPv4 (`VIRTIO_NET_HDR_GSO_TCPV4`).
    Tcpv4,
    /// TCP over IPv6 (`VIRTIO_NET_HDR_GSO_TCPV6`).
    Tcpv6,
    /// UDP datagrams of one flow (`VIRTIO_NET_HDR_GSO_UDP_L4`).
    UdpL4,
}

/// How a large packet is cut into pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segmentation {
    /// What the pieces are.
    pub kind: SegmentationKind,
    /// Whether only the first piece carries the congestion window reduced flag (`VIRTIO_NET_HDR_GSO_ECN`).
    pub has_ecn: bool,
    /// Bytes of transport payload in each piece but the last.
    pub gso_size: u16,
    /// Bytes of headers, which each piece gets a copy of.
    pub hdr_len: u32,
}

/// The tag control information of a VLAN tag, IEEE 802.1Q.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VlanTag(pub u16);

impl VlanTag {
    /// The VLAN identifier, 12 bits.
    pub const fn vid(self) -> u16 {
        self.0 & 0xfff
    }

    /// Whether the frame may be dropped first.
    pub const fn is_drop_eligible(self) -> bool {
        self.0 & 0x1000 != 0
    }

    /// The priority code point, 3 bits.
    pub const fn pcp(self) -> u8 {
        self.0.to_be_bytes()[0] >> 5
    }
}

impl Offload {
    /// Keeps the positions right when `count` bytes are put in front.
    pub(crate) fn on_pushed_front(&mut self, count: usize) {
        let count = saturated(count);
        if let Checksum::Partial { csum_start, .. } = &mut self.checksum {
            *csum_start = csum_start.saturating_add(count);
        }
        if let Some(segmentation) = &mut self.segmentation {
            segmentation.hdr_len = segmentation.hdr_len.saturating_add(count);
        }
    }

    /// Keeps the positions right when `count` bytes are cut off in front, and drops what loses its headers by that.
    pub(crate) fn on_trimmed_front(&mut self, count: usize) {
        let count = saturated(count);
        if let Checksum::Partial { csum_start, csum_offset } = self.checksum {
            self.checksum = match csum_start.checked_sub(count) {
                Some(csum_start) => Checksum::Partial { csum_start, csum_offset },
                // Only the receiving side takes transport headers off, and there a partial sum is as good as verified.
                None => Checksum::Verified,
            };
        }
        if let Some(segmentation) = &mut self.segmentation {
            match segmentation.hdr_len.checked_sub(count) {
                Some(hdr_len) => segmentation.hdr_len = hdr_len,
                None => self.segmentation = None,
            }
        }
    }

    /// What holds for each part of a packet: how it came, but nothing about its size and positions.
    pub(crate) fn of_parts(self) -> Self {
        let checksum = if self.checksum == Checksum::Verified { Checksum::Verified } else { Checksum::Complete };
        Self { checksum, segmentation: None, ..self }
    }
}

/// Positions are of 32 bits; packets of more bytes than that don't exist.
fn saturated(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
