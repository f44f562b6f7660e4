//! Ethernet II frames (RFC 894) and their VLAN tags (IEEE 802.1Q).

use sunstar_packet::VlanTag;

use crate::error::Error;
use crate::header_bytes::HeaderBytes;
use crate::mac::MacAddr;

/// Bytes of a header without tags.
const HEADER_BYTES: usize = 14;
/// Bytes of a tag.
const TAG_BYTES: usize = 4;
/// The tag protocol identifier of customer tags, which most are.
const TPID_CUSTOMER: u16 = 0x8100;
/// The one of service tags, which stand in front of customer tags (IEEE 802.1ad, QinQ).
const TPID_SERVICE: u16 = 0x88a8;

/// What a frame carries. It is at least 0x600, since less is a length, and not what announces a tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EtherType(u16);

impl EtherType {
    /// IPv4.
    pub const IPV4: Self = Self(0x0800);
    /// ARP.
    pub const ARP: Self = Self(0x0806);
    /// IPv6.
    pub const IPV6: Self = Self(0x86dd);

    /// A type, or nothing if that number says something else.
    pub const fn new(value: u16) -> Option<Self> {
        match value {
            0..0x600 | TPID_CUSTOMER | TPID_SERVICE => None,
            _ => Some(Self(value)),
        }
    }

    /// The number of the type.
    pub const fn value(self) -> u16 {
        self.0
    }
}

/// The VLAN tags of a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Vlan {
    /// No tag.
    #[default]
    Untagged,
    /// One tag. It is built as a customer tag and understood as a service tag too.
    Tagged(VlanTag),
    /// Two tags (QinQ). They are built as service and customer tag; the outer one is understood as a customer tag too.
    DoubleTagged {
        /// The provider's tag, which comes first.
        outer: VlanTag,
        /// The customer's tag.
        inner: VlanTag,
    },
}

impl Vlan {
    /// These tags and one more behind them.
    fn followed_by(self, tag: VlanTag) -> Result<Self, Error> {
        match self {
            Self::Untagged => Ok(Self::Tagged(tag)),
            Self::Tagged(outer) => Ok(Self::DoubleTagged { outer, inner: tag }),
            Self::DoubleTagged { .. } => Err(Error::TooManyTags),
        }
    }

    const fn len(self) -> usize {
        match self {
            Self::Untagged => 0,
            Self::Tagged(_) => TAG_BYTES,
            Self::DoubleTagged { .. } => 2 * TAG_BYTES,
        }
    }
}

/// A view of an Ethernet II frame.
#[derive(Clone, Copy, Debug)]
pub struct EthernetFrame<'a> {
    header: EthernetHeader,
    payload: &'a [u8],
}

impl<'a> EthernetFrame<'a> {
    /// Looks at a frame, without preamble and frame check sequence.
    ///
    /// # Errors
    /// [`Error::Truncated`], [`Error::TooManyTags`], [`Error::NotEthernet2`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        let ([d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5, type_0, type_1], mut payload) =
            bytes.split_first_chunk::<HEADER_BYTES>().ok_or(Error::Truncated)?;
        let mut ethertype = u16::from_be_bytes([*type_0, *type_1]);
        let mut vlan = Vlan::Untagged;
        while let TPID_CUSTOMER | TPID_SERVICE = ethertype {
            let (tag, behind) = split_tag(payload).ok_or(Error::Truncated)?;
            let [tci_0, tci_1, type_0, type_1] = *tag;
            vlan = vlan.followed_by(VlanTag(u16::from_be_bytes([tci_0, tci_1])))?;
            ethertype = u16::from_be_bytes([type_0, type_1]);
            payload = behind;
        }
        let header = EthernetHeader {
            dst: MacAddr([*d0, *d1, *d2, *d3, *d4, *d5]),
            src: MacAddr([*s0, *s1, *s2, *s3, *s4, *s5]),
            vlan,
            ethertype: EtherType::new(ethertype).ok_or(Error::NotEthernet2)?,
        };
        Ok(Self { header, payload })
    }

    /// The header as a value.
    pub const fn header(&self) -> EthernetHeader {
        self.header
    }

    /// Bytes of the header with its tags.
    pub const fn header_len(&self) -> usize {
        self.header.header_len()
    }

    /// To whom the frame goes.
    pub const fn dst(&self) -> MacAddr {
        self.header.dst
    }

    /// Who sends it.
    pub const fn src(&self) -> MacAddr {
        self.header.src
    }

    /// Its tags.
    pub const fn vlan(&self) -> Vlan {
        self.header.vlan
    }

    /// What it carries.
    pub const fn ethertype(&self) -> EtherType {
        self.header.ethertype
    }

    /// What lies behind the header, perhaps with padding, which only the carried protocol can tell.
    pub const fn payload(&self) -> &'a [u8] {
        self.payload
    }
}

fn split_tag(bytes: &[u8]) -> Option<(&[u8; TAG_BYTES], &[u8])> {
    if planted::is("vlan_unchecked") {
        return Some((bytes[..TAG_BYTES].as_array().expect("four bytes"), &bytes[TAG_BYTES..]));
    }
    bytes.split_first_chunk()
}

/// The header of an Ethernet II frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EthernetHeader {
    /// To whom the frame goes.
    pub dst: MacAddr,
    /// Who sends it.
    pub src: MacAddr,
    /// Its tags.
    pub vlan: Vlan,
    /// What it carries.
    pub ethertype: EtherType,
}

impl EthernetHeader {
    /// Bytes of the header with its tags.
    pub const fn header_len(&self) -> usize {
        HEADER_BYTES + self.vlan.len()
    }

    /// The header to be put in front of its payload. Padding to the least length of a frame is the device's business.
    pub fn to_bytes(&self) -> HeaderBytes<22> {
        let mut bytes = HeaderBytes::EMPTY;
        bytes.extend(&self.dst.0);
        bytes.extend(&self.src.0);
        match self.vlan {
            Vlan::Untagged => {}
            Vlan::Tagged(tag) => bytes.extend(&tag_bytes(TPID_CUSTOMER, tag)),
            Vlan::DoubleTagged { outer, inner } => {
                bytes.extend(&tag_bytes(TPID_SERVICE, outer));
                bytes.extend(&tag_bytes(TPID_CUSTOMER, inner));
            }
        }
        bytes.extend(&self.ethertype.0.to_be_bytes());
        bytes
    }
}

const fn tag_bytes(tpid: u16, VlanTag(tci): VlanTag) -> [u8; TAG_BYTES] {
    let ([tpid_0, tpid_1], [tci_0, tci_1]) = (tpid.to_be_bytes(), tci.to_be_bytes());
    [tpid_0, tpid_1, tci_0, tci_1]
}
