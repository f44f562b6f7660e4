//! The IP addresses by which the stack is known at an interface whose hardware address is the kernel's, too.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::bpf::AddressMap;
use super::options::{MAX_XDP_ADDRESSES, XdpError, XdpPorts, or_ports};
use crate::netdevice::kernel_addresses;

/// Where the program looks for addresses.
#[derive(Debug)]
pub(super) struct AddressMaps {
    pub(super) v4: AddressMap<4>,
    pub(super) v6: AddressMap<16>,
    /// Those of which the stack has all ports, and whose they are.
    whole: Mutex<BTreeMap<IpAddr, Owner>>,
}

/// Who has an address of which the stack is to have all ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    Stack,
    /// It has got it later, and has it until it gives it up.
    Kernel,
}

impl AddressMaps {
    /// With no address yet.
    pub(super) fn new() -> io::Result<Self> {
        let limit = u32::try_from(MAX_XDP_ADDRESSES).map_err(io::Error::other)?;
        Ok(Self { v4: AddressMap::new(limit)?, v6: AddressMap::new(limit)?, whole: Mutex::default() })
    }

    fn whole(&self) -> MutexGuard<'_, BTreeMap<IpAddr, Owner>> {
        // Nobody panics with the lock.
        self.whole.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, address: IpAddr, is_whole: bool) -> io::Result<()> {
        match address {
            IpAddr::V4(v4) => self.v4.put(v4.octets(), is_whole),
            IpAddr::V6(v6) => self.v6.put(v6.octets(), is_whole),
        }
    }

    fn remove(&self, address: IpAddr) -> io::Result<()> {
        match address {
            IpAddr::V4(v4) => self.v4.remove(v4.octets()),
            IpAddr::V6(v6) => self.v6.remove(v6.octets()),
        }
    }
}

/// The stack's IP addresses at an interface whose hardware address it shares with the kernel, which change while the device is in use.
///
/// One that the kernel gets later, and that no ports could share, is the kernel's until it gives it up: the log says so.
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
        let mut whole = self.maps.whole();
        if is_whole && self.is_kernels(address)? {
            return Err(XdpError::KernelAddress { address });
        }
        self.maps.put(address, is_whole).map_err(|error| match error.raw_os_error() {
            Some(libc::E2BIG) => XdpError::Addresses { name: self.name.clone() },
            _ => XdpError::System { name: self.name.clone(), what: "adding an address", error },
        })?;
        if is_whole {
            whole.insert(address, Owner::Stack);
        }
        Ok(())
    }

    /// From now on the stack receives nothing that comes for an address.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn remove(&self, address: IpAddr) -> Result<(), XdpError> {
        let mut whole = self.maps.whole();
        whole.remove(&address);
        let removed = self.maps.remove(address);
        removed.map_err(|error| XdpError::System { name: self.name.clone(), what: "removing an address", error })
    }

    /// The addresses of which the stack has all ports, or would if the kernel had not got them.
    pub(super) fn whole(&self) -> Vec<IpAddr> {
        self.maps.whole().keys().copied().collect()
    }

    /// The kernel may have got an address, or have given it up: if it is to be the stack's alone, it is whoever's it is now.
    pub(super) fn follow_kernel(&self, address: IpAddr) {
        let Self { name, maps, .. } = self;
        let mut whole = maps.whole();
        let Some(owner) = whole.get_mut(&address) else { return };
        let is_kernels = match self.is_kernels(address) {
            Ok(is_kernels) => is_kernels,
            Err(error) => return log::error!("{error}"),
        };
        let changed = match (*owner, is_kernels) {
            (Owner::Stack, true) => {
                *owner = Owner::Kernel;
                log::error!(
                    "xdp:{name}: the kernel has got {address}, which is the stack's: what comes for it is the kernel's until it gives that \
                     up; the stack needs another one{}",
                    or_ports(address)
                );
                maps.remove(address)
            }
            (Owner::Kernel, false) => {
                *owner = Owner::Stack;
                log::warn!("xdp:{name}: {address} is the stack's again");
                maps.put(address, true)
            }
            _ => Ok(()),
        };
        if let Err(error) = changed {
            log::error!("xdp:{name}: {address} can't be given to whoever has it: {error}");
        }
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
