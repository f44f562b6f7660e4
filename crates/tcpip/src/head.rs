//! What the IP header of a packet that has come said.

use alloc::vec::Vec;

use sunstar_wire::{AddressPair, Fragment, IpProtocol, Ipv4Header, Ipv6Fragment, Ipv6Header};

/// The header of a packet of either version.
#[derive(Clone, Debug)]
pub(crate) enum Head {
    V4(Ipv4Header),
    V6(HeadV6),
}

/// The headers of an IPv6 packet in front of what it carries.
#[derive(Clone, Debug)]
pub(crate) struct HeadV6 {
    pub(crate) header: Ipv6Header,
    /// The extension headers, as they came.
    pub(crate) extensions: Vec<u8>,
    /// What lies behind all of them.
    pub(crate) protocol: IpProtocol,
    /// Where the byte lies that says so, from the begin of the fixed header.
    pub(crate) named_at: usize,
    /// Of a packet that is not whole.
    pub(crate) fragment: Option<Ipv6Fragment>,
    /// Whether there is a fragment header, though the packet is whole (RFC 6946).
    pub(crate) is_atomic: bool,
}

/// By what the pieces of one packet are known (RFC 791 §3.2, RFC 8200 §4.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PieceKey {
    addresses: AddressPair,
    /// Of IPv4 only.
    protocol: Option<IpProtocol>,
    identification: u32,
}

impl HeadV6 {
    /// A head without extension headers.
    pub(crate) const fn new(header: Ipv6Header) -> Self {
        let protocol = header.next_header;
        Self { header, extensions: Vec::new(), protocol, named_at: 6, fragment: None, is_atomic: false }
    }
}

impl Head {
    pub(crate) const fn addresses(&self) -> AddressPair {
        match self {
            Self::V4(header) => AddressPair::V4 { src: header.src, dst: header.dst },
            Self::V6(head) => AddressPair::V6 { src: head.header.src, dst: head.header.dst },
        }
    }

    pub(crate) const fn protocol(&self) -> IpProtocol {
        match self {
            Self::V4(header) => header.protocol,
            Self::V6(head) => head.protocol,
        }
    }

    pub(crate) fn fragment(&self) -> Fragment {
        match self {
            Self::V4(header) => header.fragment,
            Self::V6(head) => head.fragment.map_or(Fragment::WHOLE, |fragment| fragment.fragment),
        }
    }

    /// Bytes that the payload of a whole packet can have.
    pub(crate) fn max_payload(&self) -> usize {
        match self {
            Self::V4(_) => 65_535 - 20,
            // The fragment header is not there any more.
            Self::V6(head) => 65_535 + Ipv6Fragment::LEN - head.extensions.len(),
        }
    }

    pub(crate) fn piece_key(&self) -> PieceKey {
        let addresses = self.addresses();
        match self {
            Self::V4(Ipv4Header { protocol, identification, .. }) => {
                PieceKey { addresses, protocol: Some(*protocol), identification: (*identification).into() }
            }
            Self::V6(head) => {
                let identification = head.fragment.map_or(0, |fragment| fragment.identification);
                PieceKey { addresses, protocol: None, identification }
            }
        }
    }

    /// The head of the whole packet of which this was the first piece. What stood in front of a fragment header has been looked at and
    /// is left out.
    pub(crate) fn into_whole(self) -> Self {
        match self {
            Self::V4(header) => Self::V4(Ipv4Header { fragment: Fragment::WHOLE, ..header }),
            Self::V6(HeadV6 { header, fragment, .. }) => {
                let next_header = fragment.map_or(header.next_header, |fragment| fragment.next_header);
                Self::V6(HeadV6::new(Ipv6Header { next_header, ..header }))
            }
        }
    }
}
