//! What is asked for, and why it can't be had.

use std::io;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::str::FromStr;

use sunstar_wire::MacAddr;

use crate::netdevice::{MAX_NAME_BYTES, is_name};

#[cfg(test)]
mod tests;

/// A device has at most this many queues.
pub const MAX_XDP_QUEUES: usize = 256;

/// The ports of each protocol are at most so many ranges.
pub const MAX_XDP_PORT_RANGES: usize = 64;

/// The stack has at most so many addresses of each version of IP at an interface whose hardware address it shares.
pub const MAX_XDP_ADDRESSES: usize = 256;

/// The hardware address of the stack at an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum XdpMac {
    /// One that differs from the kernel's in one bit.
    Beside,
    /// This one.
    Own(MacAddr),
    /// The kernel's. The stack is told from the kernel by its IP addresses ([`Xdp::addresses`](super::Xdp::addresses)), and by ports if
    /// there are any here: then all else that is for those addresses is the kernel's.
    Shared(XdpPorts),
}

/// Ports of the stack, by protocol.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct XdpPorts {
    /// Those of TCP, at most [`MAX_XDP_PORT_RANGES`].
    pub tcp: Vec<RangeInclusive<u16>>,
    /// Those of UDP, at most as many.
    pub udp: Vec<RangeInclusive<u16>>,
}

impl XdpPorts {
    /// Whether there are none, so that ports do not matter.
    pub const fn is_empty(&self) -> bool {
        self.tcp.is_empty() && self.udp.is_empty()
    }
}

/// Which interface, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct XdpOptions {
    /// The name of the interface, at most 15 bytes.
    pub name: String,
    /// How many queues, at most [`MAX_XDP_QUEUES`]; without it, as many as the interface receives by.
    pub queues: Option<usize>,
    /// How many frames the pool of each queue may have, for what is received, is being sent, and is held by the application.
    pub frames: usize,
    /// Whether checksums of what is received are taken to be right. It is for peers that leave theirs to a device and can't be told not to, as
    /// the other ends of virtual interfaces do.
    pub ignores_checksums: bool,
    /// The stack's hardware address.
    pub mac: XdpMac,
}

impl XdpOptions {
    /// All queues of that interface, with 16,384 frames each, and a hardware address beside the kernel's.
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), queues: None, frames: 16_384, ignores_checksums: false, mac: XdpMac::Beside }
    }

    /// The ports of the stack, if it has the kernel's hardware address.
    pub(super) const fn shared_ports(&self) -> Option<&XdpPorts> {
        match &self.mac {
            XdpMac::Shared(ports) => Some(ports),
            XdpMac::Beside | XdpMac::Own(_) => None,
        }
    }

    pub(super) fn check(&self) -> Result<(), XdpError> {
        let name = || self.name.clone();
        match self.name.as_str() {
            "" => return Err(XdpError::NoName),
            long if long.len() > MAX_NAME_BYTES => return Err(XdpError::NameTooLong { name: name() }),
            other if !is_name(other) => return Err(XdpError::Name { name: name() }),
            _ => {}
        }
        if let Some(ports) = self.shared_ports()
            && ports.tcp.len().max(ports.udp.len()) > MAX_XDP_PORT_RANGES
        {
            return Err(XdpError::PortRanges);
        }
        match self.queues {
            None | Some(1..=MAX_XDP_QUEUES) => Ok(()),
            Some(queues) => Err(XdpError::Queues { queues }),
        }
    }
}

/// Reads what follows `xdp:` on a command line: `IFNAME[,queues=N][,checksum=ignore][,mac=shared[,tcp=PORTS]...[,udp=PORTS]...]`, where
/// `PORTS` is a port, or a range such as `8000-8999`.
impl FromStr for XdpOptions {
    type Err = XdpError;

    fn from_str(text: &str) -> Result<Self, XdpError> {
        let mut parts = text.split(',');
        let mut options = Self::new(parts.next().unwrap_or_default());
        let (mut is_shared, mut ports) = (false, XdpPorts::default());
        for part in parts {
            let wrong = || XdpError::Option { option: part.to_owned() };
            let not_ports = || XdpError::Ports { option: part.to_owned() };
            match part.split_once('=').ok_or_else(wrong)? {
                ("queues", count) => options.queues = Some(count.parse().map_err(|_| wrong())?),
                ("checksum", "ignore") => options.ignores_checksums = true,
                ("mac", "shared") => is_shared = true,
                ("tcp", range) => ports.tcp.push(port_range(range).ok_or_else(not_ports)?),
                ("udp", range) => ports.udp.push(port_range(range).ok_or_else(not_ports)?),
                _ => return Err(wrong()),
            }
        }
        match is_shared {
            true => options.mac = XdpMac::Shared(ports),
            false if !ports.is_empty() => return Err(XdpError::PortsAlone),
            false => {}
        }
        options.check()?;
        Ok(options)
    }
}

/// A port, or the first and the last one of several.
pub(super) fn port_range(text: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let range = first.parse().ok()?..=last.parse().ok()?;
    (*range.start() > 0 && !range.is_empty()).then_some(range)
}

/// What helps beside another address: ports do not matter where the address is link-local.
pub(super) fn or_ports(address: IpAddr) -> &'static str {
    match address {
        IpAddr::V6(v6) if v6.is_unicast_link_local() => "",
        _ => ", or ports of its own, as in tcp=80",
    }
}

/// Why an interface can't be used by AF_XDP.
#[derive(Debug, thiserror::Error)]
pub enum XdpError {
    /// The name is empty.
    #[error("AF_XDP needs the name of an interface: xdp:IFNAME")]
    NoName,
    /// The name is too long.
    #[error("{name:?} is no name of an interface: it may have {MAX_NAME_BYTES} bytes")]
    NameTooLong {
        /// The name.
        name: String,
    },
    /// The name has characters that no interface may have.
    #[error("{name:?} is no name of an interface: it may have no spaces, slashes and colons")]
    Name {
        /// The name.
        name: String,
    },
    /// The number of queues is out of range.
    #[error("{queues} queues: AF_XDP has 1 to {MAX_XDP_QUEUES}")]
    Queues {
        /// The number that was asked for.
        queues: usize,
    },
    /// The command line is wrong.
    #[error(
        "{option:?} is no option of AF_XDP: there are queues=N, checksum=ignore, mac=shared, tcp=PORTS and udp=PORTS"
    )]
    Option {
        /// What was not understood.
        option: String,
    },
    /// What should be ports is something else.
    #[error("{option:?}: ports are one, as in tcp=80, or a range of them, as in tcp=8000-8999")]
    Ports {
        /// What was not understood.
        option: String,
    },
    /// There are ports, and the hardware address is not shared.
    #[error("tcp=PORTS and udp=PORTS need mac=shared: all that comes for its own hardware address is the stack's")]
    PortsAlone,
    /// There are too many ranges of ports.
    #[error("the ports of a protocol may be {MAX_XDP_PORT_RANGES} ranges")]
    PortRanges,
    /// The kernel has the IP address that the stack is to have at a hardware address of both, and nothing tells what is whose: there are no
    /// ports, or they do not matter as the address is link-local.
    #[error("the kernel has {address} as well: with mac=shared the stack needs another one{}", or_ports(*address))]
    KernelAddress {
        /// The address.
        address: IpAddr,
    },
    /// The stack has too many IP addresses at a hardware address that it shares.
    #[error("{name} is shared for {MAX_XDP_ADDRESSES} addresses of each version of IP, not more")]
    Addresses {
        /// The interface.
        name: String,
    },
    /// It is a port of another interface, whose addresses are the kernel's, and the stack was to share them.
    #[error(
        "{name} is a port of {master}: the kernel's addresses are that one's, and mac=shared needs xdp:IFNAME of it, or an interface that is \
         no port"
    )]
    Port {
        /// The interface.
        name: String,
        /// What it is a port of.
        master: String,
    },
    /// There is no such interface.
    #[error("there is no interface {name}")]
    NoInterface {
        /// The interface.
        name: String,
    },
    /// The interface receives by fewer queues.
    #[error("{name} has {has} queues that receive, not {queues}")]
    FewerQueues {
        /// The interface.
        name: String,
        /// How many there are.
        has: usize,
        /// How many were asked for.
        queues: usize,
    },
    /// The process may not do it.
    #[error(
        "no permission to {what} {name}: run as root, or with CAP_NET_ADMIN, CAP_NET_RAW and CAP_BPF of the host: {error}"
    )]
    Permission {
        /// The interface.
        name: String,
        /// What was tried there.
        what: &'static str,
        /// What the kernel says.
        #[source]
        error: io::Error,
    },
    /// The kernel refuses the program that tells frames apart.
    #[error("the kernel refuses the program for {name}: {error}: {log}")]
    Program {
        /// The interface.
        name: String,
        /// What the kernel says.
        #[source]
        error: io::Error,
        /// What its verifier says.
        log: String,
    },
    /// Another program is attached.
    #[error("{name} is in use: another XDP program is attached to it (`ip link show {name}` tells which)")]
    Busy {
        /// The interface.
        name: String,
    },
    /// Another socket has the queue.
    #[error("{name} is in use: another process has its queue {queue}")]
    QueueBusy {
        /// The interface.
        name: String,
        /// Which queue.
        queue: usize,
    },
    /// Packets of the interface may be longer than frames.
    #[error("{name} has an MTU of {mtu_bytes} bytes; AF_XDP has room for {limit_bytes}")]
    Mtu {
        /// The interface.
        name: String,
        /// Its MTU.
        mtu_bytes: usize,
        /// The largest one.
        limit_bytes: usize,
    },
    /// The driver does not run programs at the interface as it is.
    #[error(
        "the driver of {name} runs no XDP program with packets that long: the MTU of the interface, or of its peer if it is virtual, is too large: {error}"
    )]
    DriverMtu {
        /// The interface.
        name: String,
        /// What the kernel says.
        #[source]
        error: io::Error,
    },
    /// The driver has too few queues for a program.
    #[error(
        "the driver of {name} runs no XDP program with so few queues: a virtual interface has to receive by as many as its peer sends by \
         (`ethtool -L`): {error}"
    )]
    DriverQueues {
        /// The interface.
        name: String,
        /// What the kernel says.
        #[source]
        error: io::Error,
    },
    /// Something that should succeed does not.
    #[error("{name}: {what}: {error}")]
    System {
        /// The interface.
        name: String,
        /// What was tried.
        what: &'static str,
        /// What the kernel says.
        #[source]
        error: io::Error,
    },
}
