//! ARP for IPv4 over Ethernet (RFC 826).

use core::net::Ipv4Addr;

use crate::error::Error;
use crate::mac::MacAddr;

/// Hardware type Ethernet, protocol type IPv4, and the lengths of their addresses.
const ETHERNET_AND_IPV4: [u8; 6] = [0, 1, 8, 0, 6, 4];

/// An ARP message about IPv4 over Ethernet, with RFC 826's names for its fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arp {
    /// What the message is for.
    pub operation: ArpOperation,
    /// The sender's hardware address.
    pub sha: MacAddr,
    /// The sender's protocol address; unspecified in a probe (RFC 5227 §2.1.1).
    pub spa: Ipv4Addr,
    /// The target's hardware address, which means nothing in a request.
    pub tha: MacAddr,
    /// The target's protocol address.
    pub tpa: Ipv4Addr,
}

/// What an ARP message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArpOperation {
    /// Asks who has the target address.
    Request,
    /// Tells the sender's hardware address.
    Reply,
}

impl Arp {
    /// Bytes of a message.
    pub const LEN: usize = 28;

    /// Asks who has `tpa`.
    pub const fn request(sha: MacAddr, spa: Ipv4Addr, tpa: Ipv4Addr) -> Self {
        Self { operation: ArpOperation::Request, sha, spa, tha: MacAddr::UNSPECIFIED, tpa }
    }

    /// Tells everybody who has `spa`, unasked (RFC 5227 §2.3).
    pub const fn announcement(sha: MacAddr, spa: Ipv4Addr) -> Self {
        Self::request(sha, spa, spa)
    }

    /// Answers this request: the station `sha` has the address that was asked for.
    #[must_use]
    pub const fn reply(&self, sha: MacAddr) -> Self {
        Self { operation: ArpOperation::Reply, sha, spa: self.tpa, tha: self.sha, tpa: self.spa }
    }

    /// Reads a message; what lies behind it is padding.
    ///
    /// # Errors
    /// [`Error::Truncated`], [`Error::ArpAddresses`], [`Error::ArpOperation`].
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let (about, rest) = bytes.split_first_chunk().ok_or(Error::Truncated)?;
        let (operation, rest) = rest.split_first_chunk().ok_or(Error::Truncated)?;
        let (sha, rest) = rest.split_first_chunk().ok_or(Error::Truncated)?;
        let (spa, rest) = rest.split_first_chunk::<4>().ok_or(Error::Truncated)?;
        let (tha, rest) = rest.split_first_chunk().ok_or(Error::Truncated)?;
        let (tpa, _) = rest.split_first_chunk::<4>().ok_or(Error::Truncated)?;
        if *about != ETHERNET_AND_IPV4 {
            return Err(Error::ArpAddresses);
        }
        let operation = match u16::from_be_bytes(*operation) {
            1 => ArpOperation::Request,
            2 => ArpOperation::Reply,
            _ => return Err(Error::ArpOperation),
        };
        Ok(Self { operation, sha: MacAddr(*sha), spa: (*spa).into(), tha: MacAddr(*tha), tpa: (*tpa).into() })
    }

    /// The message as it is sent.
    pub fn to_bytes(&self) -> [u8; Self::LEN] {
        let operation = match self.operation {
            ArpOperation::Request => 1,
            ArpOperation::Reply => 2,
        };
        let mut bytes = [0; Self::LEN];
        bytes[..6].copy_from_slice(&ETHERNET_AND_IPV4);
        bytes[7] = operation;
        bytes[8..14].copy_from_slice(&self.sha.0);
        bytes[14..18].copy_from_slice(&self.spa.octets());
        bytes[18..24].copy_from_slice(&self.tha.0);
        bytes[24..].copy_from_slice(&self.tpa.octets());
        bytes
    }
}
