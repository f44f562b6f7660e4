//! Addresses as they lie in memory: `struct sockaddr_in` and `struct sockaddr_in6`.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::errno::Errno;
use crate::numbers::family;

/// Bytes of `struct sockaddr_in`, and of `struct sockaddr_in6`.
const V4_BYTES: usize = 16;
const V6_BYTES: usize = 28;

/// Which addresses a socket speaks with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4 (`AF_INET`).
    V4,
    /// IPv6 (`AF_INET6`), and IPv4 by mapped addresses (RFC 4291 §2.5.5.2).
    V6,
}

impl Family {
    /// The family with that number.
    ///
    /// # Errors
    /// [`Errno::AFNOSUPPORT`] for all but `AF_INET` and `AF_INET6`.
    pub fn from_number(number: i32) -> Result<Self, Errno> {
        match u16::try_from(number) {
            Ok(family::INET) => Ok(Self::V4),
            Ok(family::INET6) => Ok(Self::V6),
            _ => Err(Errno::AFNOSUPPORT),
        }
    }

    /// Its number.
    pub const fn number(self) -> u16 {
        match self {
            Self::V4 => family::INET,
            Self::V6 => family::INET6,
        }
    }

    /// An address as the stack takes it: mapped ones are of IPv4.
    ///
    /// # Errors
    /// [`Errno::FAULT`] is the caller's business; [`Errno::INVAL`] if there are too few bytes, [`Errno::AFNOSUPPORT`] if it is of another
    /// family.
    pub fn read(self, bytes: &[u8]) -> Result<SocketAddr, Errno> {
        let number = bytes.first_chunk().map(|family| u16::from_ne_bytes(*family)).ok_or(Errno::INVAL)?;
        let needed = if self == Self::V4 { V4_BYTES } else { V6_BYTES };
        if bytes.len() < needed && !(self == Self::V6 && number == family::INET) {
            return Err(Errno::INVAL);
        }
        if number != self.number() {
            return Err(Errno::AFNOSUPPORT);
        }
        let port = u16::from_be_bytes([bytes[2], bytes[3]]);
        let ip = match self {
            Self::V4 => {
                let octets: [u8; 4] = bytes[4..8].try_into().map_err(|_| Errno::INVAL)?;
                IpAddr::V4(Ipv4Addr::from(octets))
            }
            Self::V6 => {
                let octets: [u8; 16] = bytes[8..24].try_into().map_err(|_| Errno::INVAL)?;
                Ipv6Addr::from(octets).to_canonical()
            }
        };
        Ok(SocketAddr::new(ip, port))
    }

    /// The bytes of an address, as many as fit; answers how many it has.
    pub fn write(self, address: SocketAddr, to: &mut [u8]) -> usize {
        let mut bytes = [0; V6_BYTES];
        bytes[..2].copy_from_slice(&self.number().to_ne_bytes());
        bytes[2..4].copy_from_slice(&address.port().to_be_bytes());
        let len = match (self, address.ip()) {
            (Self::V4, IpAddr::V4(v4)) => {
                bytes[4..8].copy_from_slice(&v4.octets());
                V4_BYTES
            }
            (_, IpAddr::V4(v4)) => {
                bytes[8..24].copy_from_slice(&v4.to_ipv6_mapped().octets());
                V6_BYTES
            }
            (_, IpAddr::V6(v6)) => {
                bytes[8..24].copy_from_slice(&v6.octets());
                V6_BYTES
            }
        };
        let most = len.min(to.len());
        to[..most].copy_from_slice(&bytes[..most]);
        len
    }

    /// The address that stands for all of ours.
    pub(crate) fn unspecified(self) -> IpAddr {
        match self {
            Self::V4 => Ipv4Addr::UNSPECIFIED.into(),
            Self::V6 => Ipv6Addr::UNSPECIFIED.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        for (family, text) in
            [(Family::V4, "192.0.2.1:80"), (Family::V6, "[2001:db8::1]:443"), (Family::V6, "192.0.2.1:80")]
        {
            let address: SocketAddr = text.parse().expect("an address");
            let mut bytes = [0; 64];
            let len = family.write(address, &mut bytes);
            assert_eq!(family.read(&bytes[..len]), Ok(address));
            assert_eq!(family.read(&bytes[..len - 1]), Err(Errno::INVAL));
        }
    }

    #[test]
    fn what_has_no_room_is_cut_and_another_family_refused() {
        let address: SocketAddr = "192.0.2.1:80".parse().expect("an address");
        let mut short = [0; 4];
        assert_eq!(Family::V4.write(address, &mut short), 16);
        let mut bytes = [0; 28];
        Family::V6.write(address, &mut bytes);
        assert_eq!(Family::V4.read(&bytes), Err(Errno::AFNOSUPPORT));
        assert_eq!(Family::V4.read(&[]), Err(Errno::INVAL));
    }
}
