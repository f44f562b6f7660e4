//! Addresses as the kernel writes them.

use std::net::SocketAddr;
use std::os::fd::BorrowedFd;

use rustix::net::{AddressFamily, SocketAddrAny, SocketAddrUnix, getpeername, getsockname};
use sunstar_net::{Address, Error, UnixAddress};

use super::error::from_errno;

/// The kernel's form of an address.
///
/// # Errors
/// [`Error::InvalidInput`] if it can't have one.
pub(crate) fn to_system(address: &Address) -> Result<SocketAddrAny, Error> {
    let unix = match address {
        Address::Inet(address) => return Ok((*address).into()),
        Address::Unix(UnixAddress::Path(path)) if path.is_empty() => return Err(Error::InvalidInput),
        Address::Unix(UnixAddress::Path(path)) => SocketAddrUnix::new(path.as_slice()),
        Address::Unix(UnixAddress::Abstract(name)) => SocketAddrUnix::new_abstract_name(name),
        Address::Unix(UnixAddress::Unnamed) => Ok(SocketAddrUnix::new_unnamed()),
    };
    unix.map(Into::into).map_err(from_errno)
}

/// What an address of the kernel's says.
///
/// # Errors
/// [`Error::Unsupported`] if it is of a family that is not known here.
pub(crate) fn from_system(address: SocketAddrAny) -> Result<Address, Error> {
    if address.address_family() != AddressFamily::UNIX {
        return SocketAddr::try_from(address).map(Address::from).map_err(|_| Error::Unsupported);
    }
    let unix = SocketAddrUnix::try_from(address).map_err(from_errno)?;
    Ok(Address::Unix(match (unix.path_bytes(), unix.abstract_name()) {
        // The longest path has its terminating zero where others may do without.
        (Some(path), _) => UnixAddress::Path(path.strip_suffix(b"\0").unwrap_or(path).to_vec()),
        (_, Some(name)) if !name.is_empty() => UnixAddress::Abstract(name.to_vec()),
        _ => UnixAddress::Unnamed,
    }))
}

/// Where a socket is.
pub(crate) fn local(socket: BorrowedFd<'_>) -> Result<Address, Error> {
    getsockname(socket).map_err(from_errno).and_then(from_system)
}

/// Where the other end of a connected socket is.
pub(crate) fn peer(socket: BorrowedFd<'_>) -> Result<Address, Error> {
    match getpeername(socket).map_err(from_errno)? {
        Some(address) => from_system(address),
        None => Ok(Address::Unix(UnixAddress::Unnamed)),
    }
}
