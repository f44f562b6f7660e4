//! The IP addresses by which the stack is known at an interface whose hardware address is the kernel's, too.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use super::bpf::AddressMap;
use super::options::{MAX_XDP_ADDRESSES, XdpError, XdpPorts};
use crate::netdevice::kernel_addresses;

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
    /// The interface's index.
    index: u32,
    maps: Arc<AddressMaps>,
    has_ports: bool,
}

impl XdpAddresses {
    pub(super) fn new(name: &str, index: u32, maps: &Arc<AddressMaps>, ports: &XdpPorts) -> Self {
        Self { name: name.to_owned(), index, maps: Arc::clone(maps), has_ports: !ports.is_empty() }
    }

    /// From now on the stack receives what comes for an address, or for its ports of it. Those do not matter for link-local addresses of
    /// IPv6, which the kernel may not have at this interface, but at others. The kernel is asked in the network namespace of this thread.
    ///
    /// # Errors
    /// [`XdpError::KernelAddress`] if the kernel has the address and ports do not matter, [`XdpError::Addresses`] if there are
    /// [`MAX_XDP_ADDRESSES`], and what the kernel says.
    pub fn add(&self, address: IpAddr) -> Result<(), XdpError> {
        let is_whole = !self.has_ports || is_link_local(address);
        if is_whole && self.is_kernels(address)? {
            return Err(XdpError::KernelAddress { address });
        }
        let added = match address {
            IpAddr::V4(v4) => self.maps.v4.put(v4.octets(), is_whole),
            IpAddr::V6(v6) => self.maps.v6.put(v6.octets(), is_whole),
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

    /// Whether the kernel has an address, at whatever interface, or at this one if it is link-local.
    fn is_kernels(&self, address: IpAddr) -> Result<bool, XdpError> {
        let failed =
            |error| XdpError::System { name: self.name.clone(), what: "asking for the kernel's addresses", error };
        let is_here = |scope: u32| !is_link_local(address) || scope == self.index;
        Ok(kernel_addresses().map_err(failed)?.iter().any(|known| known.ip == address && is_here(known.scope)))
    }
}

/// Whether an address is one that each interface has for itself.
fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local())
}
