//! Interfaces of the kernel whose frames come and go by AF_XDP, past its network stack.

mod addresses;
mod assembler;
mod attached;
mod beside;
mod bpf;
mod chunks;
mod flow_hash;
mod group;
mod kernel_ports;
mod kernel_watch;
mod netlink;
mod options;
mod pieces;
mod posting;
mod queue;
mod ring;
mod segments;
mod sending;
mod socket;
mod steering;

use std::fmt;
use std::io;
use std::sync::Arc;

use rustix::io::Errno;
use sunstar_packet::{Checksum, PoolOptions, SLAB_BYTES, SlabMemory};
use sunstar_wire::MacAddr;

use crate::capabilities::{Capabilities, MAX_LINK_HEADER_BYTES, Offloads};
use crate::netdevice::{Control, beside};
use crate::queue::{DetachedQueue, Device, DeviceMemory, Queue, TakeError};
use crate::send_memory::{SendMemory, Share};
use crate::shared_memory::SharedMemory;
pub use addresses::XdpAddresses;
use attached::Attached;
use beside::{Beside, Sender};
use bpf::Mode;
use chunks::HEADROOM_BYTES;
use group::{Copies, GroupSocket};
use kernel_watch::{KernelWatch, LinkState, warn_of_port};
pub use options::{MAX_XDP_ADDRESSES, MAX_XDP_PORT_RANGES, MAX_XDP_QUEUES, XdpError, XdpMac, XdpOptions, XdpPorts};
use queue::{Parts, XdpQueue};
use socket::{Neighbour, Rings, Socket};

/// Frames are of the first of these sizes into which the longest packet fits. The kernel knows powers of two, from 2,048 to a page.
const CHUNK_BYTES: [u32; 2] = [2_048, 4_096];

/// So many shards may send beside a queue; more would share the ring that tells what was sent, and each has memory of its own there.
const MAX_SENDERS: usize = 8;

/// The memory of each of those, for what lies elsewhere and is copied to be sent.
const SENDER_BYTES: usize = SLAB_BYTES;

/// Memory of each queue for headers, and for what applications send from where it lies.
const HEADER_BYTES: usize = 4 << 20;
const BUFFER_BYTES: usize = 16 << 20;

/// An interface of the kernel, of which the stack has some of the frames, by AF_XDP.
///
/// The stack is another host on the same wire: it has a hardware address of its own, and what comes for that is its alone. What comes
/// for everybody both get. All else is the kernel's, as ever, and so are the addresses at the interface. A program of a few
/// instructions tells the frames apart, in the driver if it can; it goes away with the device and its queues, and with the process.
///
/// Where only one hardware address works, stack and kernel can share that one ([`XdpMac::Shared`]). Then the program takes what is for the
/// stack's IP addresses ([`Xdp::addresses`]), fragments and ICMP included, or of that only some ports of TCP and UDP: then the kernel may have the
/// same addresses, and keeps all else that is for them, among it fragments, and what has extension headers of IPv6. Frames with VLAN
/// tags pass, unless the device takes the tags out, which no program sees (`ethtool -K IFNAME rxvlan off` has it leave
/// them). What both need to know of neighbours, and then of errors, comes to both.
///
/// What is received lies in frames of the shard's pool, and is not copied by the process; what is sent goes from where it lies if that is one of these
/// frames, and is copied to one otherwise ([`Counters::tx_copies`](crate::Counters::tx_copies)). Checksums are the stack's in both directions. Peers
/// that leave theirs to the device, as the other end of a pair of virtual interfaces does, must be told not to
/// (`ethtool -K PEER tx off`), or be believed ([`XdpOptions::ignores_checksums`]).
///
/// Each queue of the interface has a socket, and hears only what comes by its own. So all that receive should be taken: what comes for the stack by
/// another one is lost. If the driver tells by which hash the interface chooses a queue, the device tells it
/// ([`Capabilities::rss`]), as it is when the device is opened.
///
/// Shards beyond the queues send by sockets of their own, which share the memory of a queue ([`Device::take_sender`]); of what the kernel has
/// sent, and where it is to receive, it speaks with the queue's shard alone. So do up to eight for each queue, and where the kernel copies only
/// with versions that tell whose packets it has sent: not with 6.6 to 6.17.
pub struct Xdp {
    name: String,
    capabilities: Capabilities,
    kernel_mac: MacAddr,
    addresses: Option<XdpAddresses>,
    chunk_bytes: usize,
    frames: usize,
    /// Those that are not taken.
    queues: Vec<Option<Parts>>,
    /// What shards have of each of them, those included that send beside it.
    places: Vec<Place>,
}

/// What all have who send by a queue.
struct Place {
    neighbour: Neighbour,
    beside: Arc<Beside>,
    sends: SendMemory,
    /// How many send beside the queue.
    senders: usize,
}

impl Xdp {
    /// Attaches the program to an interface and binds a socket to each of its queues.
    ///
    /// # Errors
    /// [`XdpError`] says what is missing.
    pub fn open(options: &XdpOptions) -> Result<Self, XdpError> {
        options.check()?;
        let name = &options.name;
        let system = |what| move |error| XdpError::System { name: name.clone(), what, error };
        let control = Control::new().map_err(system("making a socket"))?;
        let index = control.index(name).map_err(system("looking for it"))?;
        let index = index.ok_or_else(|| XdpError::NoInterface { name: name.clone() })?;
        let state = LinkState::ask(index).map_err(system("asking about it"))?;
        let kernel_mac = state.mac;
        let mtu_bytes = control.mtu(name).map_err(system("reading the MTU"))?;
        let chunk_bytes = chunk_bytes(mtu_bytes).ok_or_else(|| XdpError::Mtu {
            name: name.clone(),
            mtu_bytes,
            limit_bytes: room(CHUNK_BYTES[1]) - MAX_LINK_HEADER_BYTES,
        })?;
        let has = control.rx_queues(name).map_err(system("counting its queues"))?.unwrap_or(1);
        let queues = options.queues.unwrap_or(has);
        if queues > has {
            return Err(XdpError::FewerQueues { name: name.clone(), has, queues });
        }
        if queues < has {
            log::warn!("xdp:{name}: what comes for the stack by {} of its {has} queues is lost", has - queues);
        }
        let (mac, copies) = match &options.mac {
            XdpMac::Beside => (beside(kernel_mac), Copies::Groups(beside(kernel_mac))),
            XdpMac::Own(mac) => (*mac, Copies::Groups(*mac)),
            XdpMac::Shared(ports) if ports.is_empty() => (kernel_mac, Copies::Neighbours),
            XdpMac::Shared(_) => (kernel_mac, Copies::NeighboursAndErrors),
        };
        let ports = options.shared_ports();
        check_port(name, &state, ports.is_some())?;
        let attached = Arc::new(Attached::new(name, index, mac, ports, queues)?);
        let addresses =
            attached.addresses.as_ref().zip(ports).map(|(maps, ports)| XdpAddresses::new(name, index, maps, ports));
        let watch = KernelWatch::open(name, index, state, addresses.clone().map(|addresses| (mac, addresses)))
            .map_err(system("hearing of its changes"))?;
        let group = GroupSocket::open(index, copies).map_err(|error| match error.raw_os_error() {
            Some(libc::EPERM) => XdpError::Permission { name: name.clone(), what: "receive packets of", error },
            _ => system("receiving what is for everybody")(error),
        })?;
        let (opened, places) = open_queues(options, (index, queues), chunk_bytes, &attached, (group, watch))?;
        let is_zero_copy = opened.iter().all(|parts| parts.socket.is_zero_copy);
        tell(name, queues, is_zero_copy, attached.mode, mac);
        if let Some(ports) = ports {
            kernel_ports::warn(name, ports);
        }
        let rss = if queues > 1 { flow_hash::read(&control, name, queues) } else { None };
        let rx = Offloads { checksum: options.ignores_checksums, ..Offloads::NONE };
        let capabilities = Capabilities { mac, mtu_bytes, queues, tx: Offloads::NONE, rx, rss };
        Ok(Self {
            name: name.clone(),
            capabilities,
            kernel_mac,
            addresses,
            chunk_bytes: chunk_bytes as usize,
            frames: options.frames,
            queues: opened.into_iter().map(Some).collect(),
            places,
        })
    }

    /// The kernel's own address at the interface.
    pub fn kernel_mac(&self) -> MacAddr {
        self.kernel_mac
    }

    /// Where the stack's IP addresses are to be told, if its hardware address is the kernel's; nothing comes for others.
    pub fn addresses(&self) -> Option<XdpAddresses> {
        self.addresses.clone()
    }

    /// What an end at a queue has, with so many frames at most, of that memory.
    fn memory(&self, sends: &SendMemory, frames: Arc<dyn SlabMemory>, limit_frames: usize) -> DeviceMemory {
        let options = PoolOptions {
            frame_bytes: self.chunk_bytes - HEADROOM_BYTES,
            headroom_bytes: HEADROOM_BYTES,
            limit_frames,
        };
        DeviceMemory { frames, options: Some(options), sends: sends.clone() }
    }
}

/// An interface that is a port is of little use, and its hardware address is not what is to be shared.
fn check_port(name: &str, state: &LinkState, is_shared: bool) -> Result<(), XdpError> {
    match state.port_of() {
        Some(master) if is_shared => return Err(XdpError::Port { name: name.to_owned(), master }),
        Some(master) => warn_of_port(name, &master),
        None => {}
    }
    Ok(())
}

fn tell(name: &str, queues: usize, is_zero_copy: bool, mode: Mode, mac: MacAddr) {
    let how = if is_zero_copy { "without copies" } else { "by copies" };
    let what = if mode == Mode::Driver { "in its driver" } else { "in the kernel's common code" };
    log::info!("xdp:{name}: {queues} queues, {how}; the program runs {what}; the stack is {mac}");
}

/// Room for a packet in a frame.
const fn room(chunk_bytes: u32) -> usize {
    chunk_bytes as usize - HEADROOM_BYTES
}

/// The size of frames for packets of an MTU.
fn chunk_bytes(mtu_bytes: usize) -> Option<u32> {
    CHUNK_BYTES.into_iter().find(|bytes| room(*bytes) >= mtu_bytes + MAX_LINK_HEADER_BYTES)
}

/// Opens the queues, of which the first one has what is for everybody, with what there is for those who send beside them.
fn open_queues(
    options: &XdpOptions,
    (index, queues): (u32, usize),
    chunk_bytes: u32,
    attached: &Arc<Attached>,
    group: (GroupSocket, KernelWatch),
) -> Result<(Vec<Parts>, Vec<Place>), XdpError> {
    let checksum = if options.ignores_checksums { Checksum::Verified } else { Checksum::default() };
    let mut group = Some(group);
    let (mut opened, mut places) = (Vec::new(), Vec::new());
    for queue in 0..queues {
        let (socket, rings, neighbour) = open_socket(options, index, queue, chunk_bytes, attached)?;
        let (attached, chunk_bytes) = (Arc::clone(attached), chunk_bytes as usize);
        let beside = Beside::new(socket.memory.len(), chunk_bytes);
        let frames: Arc<dyn SlabMemory> = socket.memory.clone();
        let sends = SendMemory::new(&frames, HEADER_BYTES, BUFFER_BYTES, chunk_bytes);
        places.push(Place { neighbour, beside: Arc::clone(&beside), sends, senders: 0 });
        opened.push(Parts { socket, rings, beside, group: group.take(), attached, chunk_bytes, checksum });
    }
    Ok((opened, places))
}

/// Binds a socket to a queue, with memory for its frames, and has the program give it what comes there.
fn open_socket(
    options: &XdpOptions,
    index: u32,
    queue: usize,
    chunk_bytes: u32,
    attached: &Attached,
) -> Result<(Socket, Rings, Neighbour), XdpError> {
    let name = || options.name.clone();
    let system = |what, error| XdpError::System { name: name(), what, error };
    let number = u32::try_from(queue).map_err(|error| system("counting queues", io::Error::other(error)))?;
    // The pool takes memory in slabs.
    let frames = (options.frames * chunk_bytes as usize).next_multiple_of(SLAB_BYTES) * 17 / 16 + SLAB_BYTES;
    let bytes = frames + HEADER_BYTES + BUFFER_BYTES + MAX_SENDERS * SENDER_BYTES;
    let memory = SharedMemory::new(bytes).map_err(|error| system("memory for frames", io::Error::other(error)))?;
    let copies = attached.mode == Mode::Generic;
    let opened = Socket::open(index, number, memory, chunk_bytes, copies);
    let (socket, rings) = opened.map_err(|(what, error)| match error {
        Errno::BUSY => XdpError::QueueBusy { name: name(), queue },
        Errno::PERM => XdpError::Permission { name: name(), what: "use AF_XDP at", error: error.into() },
        _ => system(what, error.into()),
    })?;
    let added = attached.sockets.put_socket(number, &socket);
    added.map_err(|error| system("giving the socket its frames", error))?;
    let neighbour = socket.neighbour(index, number);
    Ok((socket, rings, neighbour))
}

impl Device for Xdp {
    fn name(&self) -> &str {
        &self.name
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn take_queue(&mut self, index: usize) -> Result<DetachedQueue, TakeError> {
        let queues = self.queues.len();
        let none = TakeError::NoSuchQueue { index, queues };
        let parts = self.queues.get_mut(index).ok_or(none)?.take().ok_or(TakeError::Taken { index })?;
        let place = self.places.get(index).ok_or(none)?;
        let memory = self.memory(&place.sends, place.neighbour.memory().clone(), self.frames);
        let capabilities = self.capabilities.clone();
        let queue = DetachedQueue::new(move |pool| {
            XdpQueue::new(parts, capabilities, pool).map(|queue| -> Box<dyn Queue> { Box::new(queue) })
        });
        Ok(queue.with_memory(memory))
    }

    fn take_sender(&mut self, shard: usize) -> Option<DetachedQueue> {
        let at = shard.checked_rem(self.places.len())?;
        let place = self.places.get_mut(at).filter(|place| place.senders < MAX_SENDERS)?;
        let socket = place.neighbour.open().inspect_err(|(what, error)| {
            log::warn!("xdp:{}: from shard {shard} on, others send for shards: {what}: {error}", self.name);
        });
        let socket = socket.ok().flatten()?;
        place.senders += 1;
        place.beside.expect_senders();
        let (beside, sends) = (Arc::clone(&place.beside), place.sends.clone());
        let frames: Arc<dyn SlabMemory> = place.neighbour.memory().clone();
        let memory = self.memory(&sends, Share::of(&frames, SENDER_BYTES), SENDER_BYTES / self.chunk_bytes);
        let capabilities = self.capabilities.clone();
        let queue = DetachedQueue::new(move |pool| Ok(Box::new(Sender::new(socket, beside, capabilities, pool))));
        Some(queue.with_memory(memory))
    }
}

impl fmt::Debug for Xdp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Xdp")
            .field("name", &self.name)
            .field("capabilities", &self.capabilities)
            .finish_non_exhaustive()
    }
}
