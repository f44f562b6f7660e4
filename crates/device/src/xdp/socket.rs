//! Sockets of AF_XDP: one queue of an interface, and the frames of memory that it shares with the kernel.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::xdp::{
    SocketAddrXdp, SocketAddrXdpFlags, SocketAddrXdpWithSharedUmem, XDP_PGOFF_RX_RING, XDP_PGOFF_TX_RING,
    XDP_UMEM_PGOFF_COMPLETION_RING, XDP_UMEM_PGOFF_FILL_RING, XdpOptionsFlags, XdpStatistics, XdpUmemReg,
    XdpUmemRegFlags,
};
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, bind, send, socket_with, sockopt};
use rustix::system::uname;

use super::pieces;
use super::ring::{Consumer, Piece, Producer};
use crate::queue::QueueError;
use crate::shared_memory::SharedMemory;

/// Frames that wait to be received into, and packets that wait to be received, in the rings of a queue.
pub(super) const RX_ENTRIES: u32 = 2_048;

/// Pieces of packets that wait to be sent by a socket, or that were sent and whose frames have not come back.
pub(super) const TX_ENTRIES: u32 = 2_048;

/// Pieces that all sockets of a queue's memory have sent, until its keeper looks.
const COMPLETION_ENTRIES: u32 = 4 * TX_ENTRIES;

/// How much the kernel may have copied and not sent, with what it keeps beside each packet.
const SEND_BUFFER_BYTES: usize = 8 << 20;

/// A queue that was just given up is free a little later: the kernel takes its socket down when nobody looks.
const BIND_TRIES: u32 = 200;
const BIND_PAUSE: Duration = Duration::from_millis(1);

/// A socket that is bound to a queue, and sends by it.
pub(super) struct Socket {
    descriptor: Arc<OwnedFd>,
    pub(super) tx: Producer<Piece>,
    /// How many pieces packets may have.
    pub(super) max_pieces: usize,
    /// Whether the device itself reads and writes the frames.
    pub(super) is_zero_copy: bool,
    /// What the frames lie in, which the kernel has pinned.
    pub(super) memory: Arc<SharedMemory>,
}

/// What the keeper of a queue has beside its socket: the other rings.
pub(super) struct Rings {
    pub(super) rx: Consumer<Piece>,
    /// Addresses of frames for the kernel to receive into.
    pub(super) fill: Producer<u64>,
    /// Addresses of what the kernel has sent, for whichever socket of this memory.
    pub(super) completion: Consumer<u64>,
}

/// A queue's socket, as long as that is open, beside which others can be bound.
pub(super) struct Neighbour {
    descriptor: Weak<OwnedFd>,
    interface: u32,
    queue: u32,
    max_pieces: usize,
    is_zero_copy: bool,
    memory: Arc<SharedMemory>,
}

/// What was tried when there came an error.
pub(super) type Step = (&'static str, Errno);

impl Socket {
    /// Binds a socket to a queue of an interface, for frames of `chunk_bytes` in `memory`, which begin at multiples of that. With
    /// `copies` the kernel is not to let the device itself have the frames.
    pub(super) fn open(
        interface: u32,
        queue: u32,
        memory: Arc<SharedMemory>,
        chunk_bytes: u32,
        copies: bool,
    ) -> Result<(Self, Rings), Step> {
        let step = |what| move |error| (what, error);
        let descriptor = new_socket()?;
        memory.keep_pages();
        let frames = XdpUmemReg {
            addr: memory.start().as_ptr().expose_provenance() as u64,
            len: memory.len() as u64,
            chunk_size: chunk_bytes,
            headroom: 0,
            flags: XdpUmemRegFlags::empty(),
            tx_metadata_len: 0,
        };
        sockopt::set_xdp_umem_reg(&descriptor, frames).map_err(step("registering the frames"))?;
        let sizes = [
            sockopt::set_xdp_umem_fill_ring_size(&descriptor, RX_ENTRIES),
            sockopt::set_xdp_umem_completion_ring_size(&descriptor, COMPLETION_ENTRIES),
            sockopt::set_xdp_rx_ring_size(&descriptor, RX_ENTRIES),
            sockopt::set_xdp_tx_ring_size(&descriptor, TX_ENTRIES),
        ];
        sizes.into_iter().collect::<Result<(), Errno>>().map_err(step("making the rings"))?;
        let at = sockopt::xdp_mmap_offsets(&descriptor).map_err(step("asking for the rings"))?;
        let socket = descriptor.as_fd();
        let tx = Producer::map(socket, XDP_PGOFF_TX_RING, &at.tx, TX_ENTRIES).map_err(unmapped)?;
        let (fill, completion) = (XDP_UMEM_PGOFF_FILL_RING, XDP_UMEM_PGOFF_COMPLETION_RING);
        let rings = Rings {
            rx: Consumer::map(socket, XDP_PGOFF_RX_RING, &at.rx, RX_ENTRIES).map_err(unmapped)?,
            fill: Producer::map(socket, fill, &at.fr, RX_ENTRIES).map_err(unmapped)?,
            completion: Consumer::map(socket, completion, &at.cr, COMPLETION_ENTRIES).map_err(unmapped)?,
        };
        let has_pieces = bind_to(socket, interface, queue, copies).map_err(step("binding the socket"))?;
        let options = sockopt::xdp_options(&descriptor).map_err(step("asking for the mode"))?;
        let is_zero_copy = options.contains(XdpOptionsFlags::XDP_OPTIONS_ZEROCOPY);
        let max_pieces = if has_pieces { pieces::limit(interface, is_zero_copy) } else { 1 };
        let descriptor = Arc::new(descriptor);
        Ok((Self { descriptor, tx, max_pieces, is_zero_copy, memory }, rings))
    }

    /// What others need who want to send beside it.
    pub(super) fn neighbour(&self, interface: u32, queue: u32) -> Neighbour {
        Neighbour {
            // Were it kept open, the kernel would receive into frames that are somebody else's after the queue has gone.
            descriptor: Arc::downgrade(&self.descriptor),
            interface,
            queue,
            max_pieces: self.max_pieces,
            is_zero_copy: self.is_zero_copy,
            memory: Arc::clone(&self.memory),
        }
    }

    /// Has the kernel send what waits.
    pub(super) fn kick(&self) -> Result<(), Errno> {
        send(&*self.descriptor, &[], SendFlags::DONTWAIT).map(drop)
    }

    /// Whether the interface is up, as far as its socket tells.
    pub(super) fn is_up(&self) -> Result<bool, QueueError> {
        match self.kick() {
            Err(Errno::NXIO) => Err(QueueError::Gone),
            Err(Errno::NETDOWN) => Ok(false),
            _ => Ok(true),
        }
    }

    /// Has the kernel see that there are frames again.
    pub(super) fn kick_rx(&self) {
        // It receives nothing this way; whether there is anything the ring tells.
        let _ = rustix::net::recv(&*self.descriptor, &mut [0_u8; 0][..], rustix::net::RecvFlags::DONTWAIT);
    }

    /// What the kernel has counted.
    pub(super) fn statistics(&self) -> Option<XdpStatistics> {
        sockopt::xdp_statistics(&*self.descriptor).ok()
    }
}

impl Neighbour {
    /// Binds a socket to the same queue, for the same memory, by which only is sent (`XDP_SHARED_UMEM`): the kernel tells the queue's keeper
    /// what it has sent. None if the queue has gone, or the kernel mistakes one socket's packets for another's.
    pub(super) fn open(&self) -> Result<Option<Socket>, Step> {
        let step = |what| move |error| (what, error);
        let Some(keeper) = self.descriptor.upgrade() else { return Ok(None) };
        let system = uname();
        if !self.is_zero_copy && mistakes_copies(&system.release().to_string_lossy()) {
            return Ok(None);
        }
        let descriptor = new_socket()?;
        sockopt::set_xdp_tx_ring_size(&descriptor, TX_ENTRIES).map_err(step("making the ring"))?;
        let at = sockopt::xdp_mmap_offsets(&descriptor).map_err(step("asking for the ring"))?;
        let tx = Producer::map(descriptor.as_fd(), XDP_PGOFF_TX_RING, &at.tx, TX_ENTRIES).map_err(unmapped)?;
        // All else is as the keeper's socket has it.
        let addr = SocketAddrXdp::new(SocketAddrXdpFlags::XDP_SHARED_UMEM, self.interface, self.queue);
        let address = SocketAddrXdpWithSharedUmem { addr, shared_umem_fd: keeper.as_fd() };
        bind(&descriptor, &address).map_err(step("binding the socket"))?;
        let (max_pieces, is_zero_copy) = (self.max_pieces, self.is_zero_copy);
        let (descriptor, memory) = (Arc::new(descriptor), Arc::clone(&self.memory));
        Ok(Some(Socket { descriptor, tx, max_pieces, is_zero_copy, memory }))
    }

    pub(super) fn memory(&self) -> &Arc<SharedMemory> {
        &self.memory
    }
}

/// Whether a kernel of that release may tell of other packets than those that it has sent, if several sockets share a memory and it copies: packets in
/// several pieces came with a place in the ring for each as soon as its copy was made, which is another socket's after one was taken back. It was
/// mended in 6.18 ("xsk: Fix immature cq descriptor production"), and here and there before.
fn mistakes_copies(release: &str) -> bool {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map_while(|number| number.parse::<u32>().ok());
    let version = numbers.next().zip(numbers.next());
    version.is_none_or(|version| ((6, 6)..(6, 18)).contains(&version))
}

fn new_socket() -> Result<OwnedFd, Step> {
    let made = socket_with(AddressFamily::XDP, SocketType::RAW, SocketFlags::CLOEXEC, None);
    let descriptor = made.map_err(|error| ("making a socket", error))?;
    // Copies wait in the kernel until the device has sent them. If there may not be more of them than usual, there are fewer.
    let _ = sockopt::set_socket_send_buffer_size_force(&descriptor, SEND_BUFFER_BYTES);
    Ok(descriptor)
}

fn unmapped(error: io::Error) -> Step {
    ("mapping the rings", Errno::from_io_error(&error).unwrap_or(Errno::INVAL))
}

/// Binds a socket; answers whether its packets may have several pieces.
fn bind_to(socket: BorrowedFd<'_>, interface: u32, queue: u32, copies: bool) -> Result<bool, Errno> {
    let mut flags = SocketAddrXdpFlags::XDP_USE_NEED_WAKEUP | SocketAddrXdpFlags::XDP_USE_SG;
    flags.set(SocketAddrXdpFlags::XDP_COPY, copies);
    let mut tries = 0;
    loop {
        match bind(socket, &SocketAddrXdp::new(flags, interface, queue)) {
            Ok(()) => return Ok(flags.contains(SocketAddrXdpFlags::XDP_USE_SG)),
            // Kernels before 6.6 know no such packets, and some devices have no way to send them.
            Err(Errno::INVAL | Errno::OPNOTSUPP) if flags.contains(SocketAddrXdpFlags::XDP_USE_SG) => {
                flags.remove(SocketAddrXdpFlags::XDP_USE_SG);
            }
            Err(Errno::BUSY) if tries < BIND_TRIES => {
                tries += 1;
                thread::sleep(BIND_PAUSE);
            }
            Err(error) => return Err(error),
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        self.descriptor.as_raw_fd()
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket")
            .field("max_pieces", &self.max_pieces)
            .field("is_zero_copy", &self.is_zero_copy)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::mistakes_copies;

    #[test]
    fn kernels_that_mistake_copies_are_known() {
        for release in ["6.6.0", "6.8.0-45-generic", "6.12.41+deb13-amd64", "6.17.9", "6.6", "unknown", "7"] {
            assert!(mistakes_copies(release), "{release}");
        }
        for release in
            ["5.15.0-100-generic", "6.1.0-28-amd64", "6.5.13", "6.18.44-fc-v669", "6.18-rc1", "7.0.1", "10.2"]
        {
            assert!(!mistakes_copies(release), "{release}");
        }
    }
}
