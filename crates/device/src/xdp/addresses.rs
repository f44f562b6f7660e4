//! The IP addresses by which the stack is known at an interface whose hardware address is the kernel's, too.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::sync::Arc;

use super::bpf::AddressMap;
use super::options::{MAX_XDP_ADDRESSES, XdpError, XdpPorts};

/// Where the program looks for addresses.
#[derive(Debug)]
pub(super) struct AddressMaps {
    pub(super) v4: AddressMap<4>,
    pub(super) v6: AddressMap<16>,
}

impl AddressMaps {
    /// With no address yet.
    pub(super) fn new() -> io::Result<Self> {
        let limit = u32::try_from(MAX_XDP_ADDRESSES).map_err(io::Error::other)?;
        Ok(Self { v4: AddressMap::new(limit)?, v6: AddressMap::new(limit)? })
    }
}

/// The stack's IP addresses at an interface whose hardware address it shares with the kernel, which change while the device is in use.
///
/// Clones are the same. They may be on any thread, and outlive the device, for which nothing comes of it.
#[derive(Clone, Debug)]
pub struct XdpAddresses {
    name: String,
    maps: Arc<AddressMaps>,
    has_ports: bool,
}

impl XdpAddresses {
    pub(super) fn new(name: &str, maps: &Arc<AddressMaps>, ports: &XdpPorts) -> Self {
        Self { name: name.to_owned(), maps: Arc::clone(maps), has_ports: !ports.is_empty() }
    }

    /// From now on the stack receives what comes for an address, or for its ports of it. Those do not matter for link-local addresses of
    /// IPv6, which are never the kernel's, too.
    ///
    /// # Errors
    /// [`XdpError::KernelAddress`] if the kernel has the address and there are no ports, [`XdpError::Addresses`] if there are
    /// [`MAX_XDP_ADDRESSES`], and what the kernel says.
    pub fn add(&self, address: IpAddr) -> Result<(), XdpError> {
        if !self.has_ports && is_kernels(address) {
            return Err(XdpError::KernelAddress { address });
        }
        let added = match address {
            IpAddr::V4(v4) => self.maps.v4.put(v4.octets(), !self.has_ports),
            IpAddr::V6(v6) => self.maps.v6.put(v6.octets(), !self.has_ports || v6.is_unicast_link_local()),
        };
        added.map_err(|error| match error.raw_os_error() {
            Some(libc::E2BIG) => XdpError::Addresses { name: self.name.clone() },
            _ => XdpError::System { name: self.name.clone(), what: "adding an address", error },
        })
    }

    /// From now on the stack receives nothing that comes for an address.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn remove(&self, address: IpAddr) -> Result<(), XdpError> {
        let removed = match address {
            IpAddr::V4(v4) => self.maps.v4.remove(v4.octets()),
            IpAddr::V6(v6) => self.maps.v6.remove(v6.octets()),
        };
        removed.map_err(|error| XdpError::System { name: self.name.clone(), what: "removing an address", error })
    }
}

/// Whether the kernel has an address, at whatever interface: then it speaks with itself by that address.
fn is_kernels(address: IpAddr) -> bool {
    let from: IpAddr = match address {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    // Nothing is sent: a socket of datagrams only looks for the way.
    let source = UdpSocket::bind((from, 0)).and_then(|socket| {
        socket.connect((address, 9))?;
        socket.local_addr()
    });
    source.is_ok_and(|source| source.ip() == address)
}
