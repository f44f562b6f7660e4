//! TAP devices: an Ethernet interface of the kernel whose other end is this process, tun(4).

mod queue;
mod sys;

use std::fmt;
use std::fs::File;
use std::io;
use std::str::FromStr;

use sunstar_wire::MacAddr;

use crate::capabilities::{Capabilities, Offloads};
use crate::netdevice::{Control, MAX_NAME_BYTES, beside, is_name};
use crate::queue::{DetachedQueue, Device, Queue, TakeError};
use queue::TapQueue;

#[cfg(test)]
mod tests;

/// An interface has at most this many queues (`MAX_TAP_QUEUES` of the kernel).
pub const MAX_TAP_QUEUES: usize = 256;

/// Which TAP, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TapOptions {
    /// The name of the interface, at most 15 bytes; the kernel puts a number for `%d`.
    pub name: String,
    /// How many queues, at most [`MAX_TAP_QUEUES`]. The kernel spreads flows over them.
    pub queues: usize,
    /// The offloads to be used, both ways, as far as the kernel has them. VLAN tags always stay in the frame.
    pub offloads: Offloads,
    /// The MTU to be set at the interface, in bytes; without it, the interface's own is taken.
    pub mtu_bytes: Option<usize>,
    /// How many packets may wait in the kernel until they are received, for each queue, to be set at the interface; without it, the
    /// interface's own is taken. What is more is lost: most often the kernel begins with 1,000.
    pub tx_queue_packets: Option<u32>,
    /// The stack's address; without it, one that differs from the kernel's at the interface in one bit.
    pub mac: Option<MacAddr>,
}

impl TapOptions {
    /// One queue of that interface, with all offloads.
    pub fn new(name: &str) -> Self {
        let offloads = Offloads { vlan: false, ..Offloads::ALL };
        Self { name: name.to_owned(), queues: 1, offloads, mtu_bytes: None, tx_queue_packets: None, mac: None }
    }

    fn check(&self) -> Result<(), TapError> {
        let name = || self.name.clone();
        match self.name.as_str() {
            "" => return Err(TapError::NoName),
            long if long.len() > MAX_NAME_BYTES => return Err(TapError::NameTooLong { name: name() }),
            other if !is_name(other) => return Err(TapError::Name { name: name() }),
            _ => {}
        }
        match self.queues {
            1..=MAX_TAP_QUEUES => Ok(()),
            queues => Err(TapError::Queues { queues }),
        }
    }
}

/// Reads what follows `tap:` on a command line: `NAME[,queues=N][,mtu=BYTES][,txqueue=PACKETS][,offload=on|off]`.
impl FromStr for TapOptions {
    type Err = TapError;

    fn from_str(text: &str) -> Result<Self, TapError> {
        let mut parts = text.split(',');
        let mut options = Self::new(parts.next().unwrap_or_default());
        for part in parts {
            let wrong = || TapError::Option { option: part.to_owned() };
            match part.split_once('=').ok_or_else(wrong)? {
                ("queues", count) => options.queues = count.parse().map_err(|_| wrong())?,
                ("mtu", bytes) => options.mtu_bytes = Some(bytes.parse().map_err(|_| wrong())?),
                // Of none the kernel loses every packet.
                ("txqueue", packets) => match packets.parse().map_err(|_| wrong())? {
                    0 => return Err(wrong()),
                    packets => options.tx_queue_packets = Some(packets),
                },
                ("offload", "on") => {}
                ("offload", "off") => options.offloads = Offloads::NONE,
                _ => return Err(wrong()),
            }
        }
        options.check()?;
        Ok(options)
    }
}

/// Why a TAP can't be had.
#[derive(Debug, thiserror::Error)]
pub enum TapError {
    /// The name is empty.
    #[error("a TAP needs the name of an interface: tap:NAME")]
    NoName,
    /// The name is too long.
    #[error("{name:?} is no name of an interface: it may have {} bytes", MAX_NAME_BYTES)]
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
    #[error("{queues} queues: a TAP has 1 to {MAX_TAP_QUEUES}")]
    Queues {
        /// The number that was asked for.
        queues: usize,
    },
    /// The command line is wrong.
    #[error("{option:?} is no option of a TAP: there are queues=N, mtu=BYTES, txqueue=PACKETS and offload=on|off")]
    Option {
        /// What was not understood.
        option: String,
    },
    /// The kernel has no TAP devices, or the node is missing.
    #[error("there are no TAP devices here: /dev/net/tun: {0}")]
    NoTun(#[source] io::Error),
    /// The node may not be opened.
    #[error("no permission to use TAP devices: /dev/net/tun: {0}")]
    NodePermission(#[source] io::Error),
    /// There is no such interface, and none may be made.
    #[error(
        "there is no interface {name}, and no permission to make it: run with CAP_NET_ADMIN, or have it made by \
         `ip tuntap add dev {name} mode tap user USER multi_queue`"
    )]
    MakePermission {
        /// The interface.
        name: String,
    },
    /// The interface belongs to somebody else.
    #[error("no permission to attach to {name}: it was made for another user")]
    AttachPermission {
        /// The interface.
        name: String,
    },
    /// The interface is no TAP, or one of another kind.
    #[error(
        "{name} is no TAP that has {queues} queues: it is another kind of interface, or was made with other flags \
         (`ip tuntap` shows them; wanted are tap and, for several queues, multi_queue)"
    )]
    Kind {
        /// The interface.
        name: String,
        /// How many queues were asked for.
        queues: usize,
    },
    /// All of its queues are attached to.
    #[error("{name} is in use: another process is attached to it")]
    Busy {
        /// The interface.
        name: String,
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

/// A TAP device.
///
/// An interface that does not exist is made, put up, and goes away with the process; one that exists stays as it is. The kernel's end
/// of it is configured like any interface: the addresses there are the kernel's, not those of the stack behind this device.
///
/// Frames of the pool should be large when segmentation offload is on: the longest packets have 64 KiB, and the queue keeps as many frames
/// ready as one of those takes.
pub struct Tap {
    name: String,
    capabilities: Capabilities,
    kernel_mac: MacAddr,
    /// Those that are not taken.
    queues: Vec<Option<File>>,
}

impl Tap {
    /// Attaches to an interface, or makes it.
    ///
    /// # Errors
    /// [`TapError`] says what is missing.
    pub fn open(options: &TapOptions) -> Result<Self, TapError> {
        options.check()?;
        let control = Control::new().map_err(system(&options.name, "socket"))?;
        let existed = control.exists(&options.name);
        let (name, queues) = attach_all(options, existed)?;
        let (first, what) = (&queues[0], "setting the packet header");
        sys::set_header(first).map_err(system(&name, what))?;
        let (tx, rx) = negotiate(first, options.offloads).map_err(system(&name, "setting offloads"))?;
        if let Some(mtu_bytes) = options.mtu_bytes {
            control.set_mtu(&name, mtu_bytes).map_err(system(&name, "setting the MTU"))?;
        }
        if let Some(packets) = options.tx_queue_packets {
            control.set_tx_queue(&name, packets).map_err(system(&name, "setting the length of its queue"))?;
        }
        if !existed {
            control.set_up(&name).map_err(system(&name, "putting it up"))?;
        }
        let mtu_bytes = control.mtu(&name).map_err(system(&name, "reading the MTU"))?;
        let kernel_mac = control.mac(&name).map_err(system(&name, "reading the address"))?;
        let capabilities = Capabilities {
            mac: options.mac.unwrap_or_else(|| beside(kernel_mac)),
            mtu_bytes,
            queues: queues.len(),
            tx,
            rx,
            rss: None,
        };
        Ok(Self { name, capabilities, kernel_mac, queues: queues.into_iter().map(Some).collect() })
    }

    /// The kernel's own address at the interface.
    pub fn kernel_mac(&self) -> MacAddr {
        self.kernel_mac
    }
}

impl Device for Tap {
    fn name(&self) -> &str {
        &self.name
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn take_queue(&mut self, index: usize) -> Result<DetachedQueue, TakeError> {
        let queues = self.queues.len();
        let place = self.queues.get_mut(index).ok_or(TakeError::NoSuchQueue { index, queues })?;
        let file = place.take().ok_or(TakeError::Taken { index })?;
        let capabilities = self.capabilities.clone();
        Ok(DetachedQueue::new(move |pool| {
            TapQueue::new(file, capabilities, pool).map(|queue| -> Box<dyn Queue> { Box::new(queue) })
        }))
    }
}

impl fmt::Debug for Tap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tap")
            .field("name", &self.name)
            .field("capabilities", &self.capabilities)
            .finish_non_exhaustive()
    }
}

/// Opens as many queues as are wanted, and answers the name that the interface has in the end.
fn attach_all(options: &TapOptions, existed: bool) -> Result<(String, Vec<File>), TapError> {
    let mut name = options.name.clone();
    let mut queues = Vec::new();
    for index in 0..options.queues {
        let node = sys::open_node().map_err(|error| match error.kind() {
            io::ErrorKind::PermissionDenied => TapError::NodePermission(error),
            _ => TapError::NoTun(error),
        })?;
        let mut result = sys::attach(&node, &name, true);
        // One that was made for one queue does not allow for several.
        if existed && options.queues == 1 && is_invalid(&result) {
            result = sys::attach(&node, &name, false);
        }
        name = result.map_err(|error| refused(error, name, options.queues, existed || index > 0))?;
        queues.push(node);
    }
    Ok((name, queues))
}

fn is_invalid<T>(result: &io::Result<T>) -> bool {
    result.as_ref().is_err_and(|error| error.raw_os_error() == Some(libc::EINVAL))
}

/// What it means that the kernel attaches nobody.
fn refused(error: io::Error, name: String, queues: usize, exists: bool) -> TapError {
    match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) if exists => TapError::AttachPermission { name },
        Some(libc::EPERM | libc::EACCES) => TapError::MakePermission { name },
        Some(libc::EBUSY | libc::E2BIG) => TapError::Busy { name },
        Some(libc::EINVAL) => TapError::Kind { name, queues },
        _ => TapError::System { name, what: "attaching to it", error },
    }
}

fn system(name: &str, what: &'static str) -> impl FnOnce(io::Error) -> TapError {
    let name = name.to_owned();
    move |error| TapError::System { name, what, error }
}

/// Asks the kernel for offloads, and for less if it does not know all of them. Answers what there is for packets that are sent, and for those
/// that are received: of UDP only such as were on the wire, since a datagram's end means something.
fn negotiate(queue: &File, wanted: Offloads) -> io::Result<(Offloads, Offloads)> {
    // Large packets come with partial checksums, and ECN is a property of TCP's.
    let wanted = if wanted.checksum { Offloads { vlan: false, ..wanted } } else { Offloads::NONE };
    let wanted = Offloads { tso_ecn: wanted.tso_ecn && (wanted.tso4 || wanted.tso6), ..wanted };
    // Kernels before 6.2 don't cut UDP.
    let rx = Offloads { uso: false, ..wanted };
    let all = sys::set_offload(queue, bits(wanted));
    let has_uso = wanted.uso && !is_invalid(&all);
    if has_uso {
        all?;
    }
    // What is set is what the kernel leaves to us; what it takes from us is what it knows.
    sys::set_offload(queue, bits(rx))?;
    Ok((Offloads { uso: has_uso, ..wanted }, rx))
}

fn bits(offloads: Offloads) -> libc::c_uint {
    let table = [
        (offloads.checksum, libc::TUN_F_CSUM),
        (offloads.tso4, libc::TUN_F_TSO4),
        (offloads.tso6, libc::TUN_F_TSO6),
        (offloads.tso_ecn, libc::TUN_F_TSO_ECN),
        (offloads.uso, libc::TUN_F_USO4 | libc::TUN_F_USO6),
    ];
    table.iter().filter(|(wanted, _)| *wanted).fold(0, |bits, (_, bit)| bits | bit)
}
