//! What is asked for, and why it can't be had.

use std::io;
use std::str::FromStr;

use sunstar_wire::MacAddr;

use crate::netdevice::{MAX_NAME_BYTES, is_name};

#[cfg(test)]
mod tests;

/// A device has at most this many queues.
pub const MAX_XDP_QUEUES: usize = 256;

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
    /// The stack's address; without it, one that differs from the kernel's at the interface in one bit.
    pub mac: Option<MacAddr>,
}

impl XdpOptions {
    /// All queues of that interface, with 16,384 frames each.
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), queues: None, frames: 16_384, ignores_checksums: false, mac: None }
    }

    pub(super) fn check(&self) -> Result<(), XdpError> {
        let name = || self.name.clone();
        match self.name.as_str() {
            "" => return Err(XdpError::NoName),
            long if long.len() > MAX_NAME_BYTES => return Err(XdpError::NameTooLong { name: name() }),
            other if !is_name(other) => return Err(XdpError::Name { name: name() }),
            _ => {}
        }
        match self.queues {
            None | Some(1..=MAX_XDP_QUEUES) => Ok(()),
            Some(queues) => Err(XdpError::Queues { queues }),
        }
    }
}

/// Reads what follows `xdp:` on a command line: `IFNAME[,queues=N][,checksum=ignore]`.
impl FromStr for XdpOptions {
    type Err = XdpError;

    fn from_str(text: &str) -> Result<Self, XdpError> {
        let mut parts = text.split(',');
        let mut options = Self::new(parts.next().unwrap_or_default());
        for part in parts {
            let wrong = || XdpError::Option { option: part.to_owned() };
            match part.split_once('=').ok_or_else(wrong)? {
                ("queues", count) => options.queues = Some(count.parse().map_err(|_| wrong())?),
                ("checksum", "ignore") => options.ignores_checksums = true,
                _ => return Err(wrong()),
            }
        }
        options.check()?;
        Ok(options)
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
    #[error("{option:?} is no option of AF_XDP: there are queues=N and checksum=ignore")]
    Option {
        /// What was not understood.
        option: String,
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
        "no permission to {what}: run as root, or with CAP_NET_ADMIN, CAP_NET_RAW and CAP_BPF of the host: {error}"
    )]
    Permission {
        /// What was tried.
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
