//! Addresses with the length of what they share with their neighbours (RFC 4632).

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

#[cfg(test)]
mod tests;

/// An address and how many of its first bits name its network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Prefix {
    address: IpAddr,
    len: u8,
}

/// A prefix has more bits than its address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrefixTooLong;

impl fmt::Display for PrefixTooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a prefix has at most as many bits as its address")
    }
}

impl core::error::Error for PrefixTooLong {}

impl Prefix {
    /// All addresses of IPv4: the prefix of its default route.
    pub const ALL_V4: Self = Self { address: IpAddr::V4(Ipv4Addr::UNSPECIFIED), len: 0 };

    /// All addresses of IPv6: the prefix of its default route.
    pub const ALL_V6: Self = Self { address: IpAddr::V6(Ipv6Addr::UNSPECIFIED), len: 0 };

    /// An address whose first `len` bits name its network.
    ///
    /// # Errors
    /// [`PrefixTooLong`] if `len` is more than 32 or 128.
    pub fn new(address: impl Into<IpAddr>, len: u8) -> Result<Self, PrefixTooLong> {
        let address = address.into();
        let max = if address.is_ipv4() { 32 } else { 128 };
        if len > max { Err(PrefixTooLong) } else { Ok(Self { address, len }) }
    }

    /// The address.
    pub const fn address(self) -> IpAddr {
        self.address
    }

    /// How many bits name the network.
    #[expect(clippy::len_without_is_empty, reason = "of bits; a prefix of none is the default route's")]
    pub const fn len(self) -> u8 {
        self.len
    }

    /// Whether an address belongs to the network.
    pub fn contains(self, other: IpAddr) -> bool {
        self.address.is_ipv4() == other.is_ipv4() && (bits(self.address) ^ bits(other)) & self.mask() == 0
    }

    /// Whether both name the same network.
    pub fn is_same_network(self, other: Self) -> bool {
        self.len == other.len && self.contains(other.address)
    }

    /// The address of all stations of an IPv4 network (RFC 919 §7); none if it has at most two (RFC 3021).
    pub fn broadcast(self) -> Option<Ipv4Addr> {
        match self.address {
            IpAddr::V4(address) if self.len < 31 => {
                Some(Ipv4Addr::from_bits(address.to_bits() | (u32::MAX >> self.len)))
            }
            _ => None,
        }
    }

    /// The same network, with zeros behind its bits.
    pub(crate) fn network(self) -> Self {
        let network = bits(self.address) & self.mask();
        let address = match self.address {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::from_bits(u32::try_from(network >> 96).unwrap_or(0))),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::from_bits(network)),
        };
        Self { address, ..self }
    }

    /// The bits that name the network, from the top.
    fn mask(self) -> u128 {
        u128::MAX.checked_shl(128 - u32::from(self.len)).unwrap_or(0)
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.len)
    }
}

/// The bits of an address, from the top.
fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()) << 96,
        IpAddr::V6(v6) => v6.to_bits(),
    }
}
