//! The kernel's network: making, binding and configuring sockets. What happens on them is the driver's business.
//! And its files.

pub(crate) mod address;
pub(crate) mod error;
pub(crate) mod groups;
pub(crate) mod listener;
mod path;
pub(crate) mod storage;
pub(crate) mod stream;

use std::fmt;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

use rustix::net::{AddressFamily, SocketAddrAny, SocketFlags, SocketType, bind, listen, socket_with, sockopt};
use sunstar_net::socket::{
    ConnectOptions, Connecting, DatagramOptions, DatagramSocket, Detached, ListenOptions, ListenSocket, Stack,
    StreamSocket,
};
use sunstar_net::{Address, Error, UnixAddress};

use crate::driver::Driver;
use error::{from_errno, from_io};
use path::{AtPath, BoundPath};
pub(crate) use stream::DetachedStream;

#[cfg(test)]
mod tests;

/// The kernel's network, by a driver.
pub(crate) struct PosixStack {
    driver: Rc<dyn Driver>,
}

impl PosixStack {
    /// The network of the driver's shard.
    pub(crate) fn new(driver: Rc<dyn Driver>) -> Self {
        Self { driver }
    }

    fn driver(&self) -> Rc<dyn Driver> {
        Rc::clone(&self.driver)
    }
}

impl fmt::Debug for PosixStack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PosixStack").finish_non_exhaustive()
    }
}

impl Stack for PosixStack {
    fn listen(&self, address: &Address, options: &ListenOptions) -> Result<Rc<dyn ListenSocket>, Error> {
        let system = address::to_system(address)?;
        let socket = make(&system, SocketType::STREAM)?;
        if matches!(address, Address::Inet(_)) {
            // Connections that have ended leave the port in use for a while (TIME-WAIT); that keeps nobody else out.
            sockopt::set_socket_reuseaddr(&socket, true).map_err(from_errno)?;
            sockopt::set_socket_reuseport(&socket, options.reuse_port).map_err(from_errno)?;
            // Accepted sockets inherit it.
            sockopt::set_tcp_nodelay(&socket, true).map_err(from_errno)?;
        }
        if system.address_family() == AddressFamily::INET6 {
            sockopt::set_ipv6_v6only(&socket, options.ipv6_only).map_err(from_errno)?;
        }
        let path = bind_to(&socket, address, &system, SocketType::STREAM)?;
        listen(&socket, options.backlog.try_into().unwrap_or(i32::MAX)).map_err(from_errno)?;
        let listener = self.driver().listener(socket, options.with_peer).map_err(from_io)?;
        Ok(match path {
            Some(path) => Rc::new(AtPath::new(listener, path)),
            None => listener,
        })
    }

    fn connect(&self, address: &Address, options: &ConnectOptions) -> Connecting {
        match connecting_socket(address, options) {
            Ok(socket) => self.driver().connect(socket, address),
            Err(error) => Connecting::new(async move { Err(error) }),
        }
    }

    fn attach(&self, stream: Detached) -> Result<Rc<dyn StreamSocket>, Error> {
        self.driver().stream(stream.into_inner()?).map_err(from_io)
    }

    fn bind(&self, address: &Address, options: &DatagramOptions) -> Result<Rc<dyn DatagramSocket>, Error> {
        let system = address::to_system(address)?;
        let socket = make(&system, SocketType::DGRAM)?;
        if matches!(address, Address::Inet(_)) {
            sockopt::set_socket_reuseport(&socket, options.reuse_port).map_err(from_errno)?;
            sockopt::set_socket_broadcast(&socket, options.broadcast).map_err(from_errno)?;
        }
        let path = bind_to(&socket, address, &system, SocketType::DGRAM)?;
        let datagrams = self.driver().datagram(socket).map_err(from_io)?;
        Ok(match path {
            Some(path) => Rc::new(AtPath::new(datagrams, path)),
            None => datagrams,
        })
    }
}

/// A socket that suits an address and does not block.
fn make(address: &SocketAddrAny, kind: SocketType) -> Result<OwnedFd, Error> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    socket_with(address.address_family(), kind, flags, None).map_err(from_errno)
}

/// Binds a socket, and answers the path that is to be removed with it, if it has one.
fn bind_to(
    socket: &OwnedFd,
    address: &Address,
    system: &SocketAddrAny,
    kind: SocketType,
) -> Result<Option<BoundPath>, Error> {
    match address {
        Address::Unix(UnixAddress::Path(path)) => path::bind_to(socket.as_fd(), path, system, kind).map(Some),
        // Not to be bound is what having no name means; binding would make one up.
        Address::Unix(UnixAddress::Unnamed) => Ok(None),
        _ => bind(socket, system).map(|()| None).map_err(from_errno),
    }
}

fn connecting_socket(address: &Address, options: &ConnectOptions) -> Result<OwnedFd, Error> {
    let socket = make(&address::to_system(address)?, SocketType::STREAM)?;
    if matches!(address, Address::Inet(_)) {
        sockopt::set_tcp_nodelay(&socket, true).map_err(from_errno)?;
    }
    match &options.from {
        Some(from @ Address::Inet(_)) => {
            sockopt::set_socket_reuseaddr(&socket, true).map_err(from_errno)?;
            bind(&socket, &address::to_system(from)?).map_err(from_errno)?;
        }
        // A path would be left behind, and nobody needs to know where the client of a Unix socket is.
        Some(Address::Unix(_)) => return Err(Error::Unsupported),
        None => {}
    }
    Ok(socket)
}
