//! Where sockets are.

use alloc::vec::Vec;
use core::fmt;
use core::net::SocketAddr;

use crate::error::Error;

/// The longest path or name of a Unix socket in bytes (`unix(7)`).
pub const UNIX_ADDRESS_BYTES: usize = 107;

/// Where a socket is.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Address {
    /// An IP address and a port.
    Inet(SocketAddr),
    /// A Unix socket of this host.
    Unix(UnixAddress),
}

/// Where a Unix socket is.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum UnixAddress {
    /// A path in the file system.
    Path(Vec<u8>),
    /// A name outside of the file system (`unix(7)`, "abstract").
    Abstract(Vec<u8>),
    /// None: a socket that was not bound.
    Unnamed,
}

impl Address {
    /// The IP address and port, if it is one.
    pub fn inet(&self) -> Option<SocketAddr> {
        match self {
            Self::Inet(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }
}

impl UnixAddress {
    /// The address of a socket at a path. A path that begins with `@` is an abstract name, as `ss` and `netstat` show it.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] if the path is empty, longer than [`UNIX_ADDRESS_BYTES`], or holds a zero byte.
    pub fn new(path: impl AsRef<[u8]>) -> Result<Self, Error> {
        let path = path.as_ref();
        if path.is_empty() || path.len() > UNIX_ADDRESS_BYTES || path.contains(&0) {
            return Err(Error::InvalidInput);
        }
        Ok(match path.strip_prefix(b"@") {
            Some(name) => Self::Abstract(name.to_vec()),
            None => Self::Path(path.to_vec()),
        })
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self::Inet(address)
    }
}

impl From<UnixAddress> for Address {
    fn from(address: UnixAddress) -> Self {
        Self::Unix(address)
    }
}

impl TryFrom<Address> for SocketAddr {
    type Error = Error;

    /// [`Error::Unsupported`] if it is of another kind.
    fn try_from(address: Address) -> Result<Self, Error> {
        address.inet().ok_or(Error::Unsupported)
    }
}

impl TryFrom<Address> for UnixAddress {
    type Error = Error;

    /// [`Error::Unsupported`] if it is of another kind.
    fn try_from(address: Address) -> Result<Self, Error> {
        match address {
            Address::Unix(address) => Ok(address),
            Address::Inet(_) => Err(Error::Unsupported),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inet(address) => address.fmt(f),
            Self::Unix(address) => address.fmt(f),
        }
    }
}

impl fmt::Display for UnixAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => write!(f, "unix:{}", path.escape_ascii()),
            Self::Abstract(name) => write!(f, "unix:@{}", name.escape_ascii()),
            Self::Unnamed => f.write_str("unix:"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unix_addresses_obey_the_kernels_limits() {
        assert_eq!(UnixAddress::new(""), Err(Error::InvalidInput));
        assert_eq!(UnixAddress::new("a\0b"), Err(Error::InvalidInput));
        assert_eq!(UnixAddress::new([b'x'; UNIX_ADDRESS_BYTES + 1]), Err(Error::InvalidInput));
        assert!(UnixAddress::new([b'x'; UNIX_ADDRESS_BYTES]).is_ok());
        assert_eq!(UnixAddress::new("@name"), Ok(UnixAddress::Abstract(b"name".to_vec())));
    }

    #[test]
    fn addresses_show_what_they_are() {
        let unix = UnixAddress::new("/tmp/a b").expect("a good path");
        assert_eq!(Address::from(unix).to_string(), "unix:/tmp/a b");
        assert_eq!(Address::from(SocketAddr::from(([127, 0, 0, 1], 80))).to_string(), "127.0.0.1:80");
    }
}
