//! UDP sockets (RFC 768, RFC 1122 §4.1).

use alloc::collections::{BTreeMap, VecDeque};
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use sunstar_packet::Packet;
use sunstar_wire::FourTuple;

use crate::free_ports::FreePorts;
use crate::interface::InterfaceId;
use crate::path::{Large, PathError};
use crate::slab::Slab;
use crate::tcp::sockets::OpenError;
use crate::zone;

/// What a datagram takes of [`UdpOptions::receive_capacity`] beside its bytes, so that empty ones are bounded too.
pub const DATAGRAM_OVERHEAD: usize = 256;

/// What a socket is made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UdpOptions {
    /// Bytes that wait for the application at most, [`DATAGRAM_OVERHEAD`] for each datagram included; one is taken in any case.
    pub receive_capacity: usize,
    /// Whether it may send to all stations (`SO_BROADCAST`).
    pub may_broadcast: bool,
}

impl UdpOptions {
    /// As Linux (`rmem_default`).
    pub const DEFAULT: Self = Self { receive_capacity: 212_992, may_broadcast: false };
}

/// Names a socket until it is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UdpId {
    place: u32,
    generation: u32,
}

impl UdpId {
    /// A small number that no other socket has at the same time, for tables.
    pub const fn index(self) -> usize {
        self.place as usize
    }
}

/// A datagram that has come.
#[derive(Debug)]
pub struct Received {
    /// Who has sent it.
    pub from: SocketAddr,
    /// To which address: one of ours, or that of all stations.
    pub to: IpAddr,
    /// Where it came in.
    pub interface: InterfaceId,
    /// Its bytes, where the device has put them.
    pub payload: Packet,
}

/// Why a datagram was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UdpSendError {
    /// The socket is closed.
    Closed,
    /// The socket is not connected, and no destination was named (`EDESTADDRREQ`).
    NoDestination,
    /// There is no way to the destination (`ENETUNREACH`).
    NoRoute,
    /// The destination is link-local, there are several links, and it is not said which one is meant (`EINVAL`; RFC 4007 §6).
    NoScope,
    /// It is longer than a packet can be (`EMSGSIZE`).
    TooLong,
    /// The destination stands for all stations, and the socket may not send there (`EACCES`).
    Broadcast,
    /// As many packets wait to be sent as may (`ENOBUFS`).
    Full,
}

impl fmt::Display for UdpSendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed => "the socket is closed",
            Self::NoDestination => "the socket is not connected and no destination was named",
            Self::NoRoute => "there is no way to the destination",
            Self::NoScope => "the destination is link-local, and it is not said on which of several links",
            Self::TooLong => "the datagram is longer than a packet can be",
            Self::Broadcast => "the socket may not send to all stations",
            Self::Full => "as many packets wait to be sent as may",
        })
    }
}

impl core::error::Error for UdpSendError {}

/// Ports that are chosen from if nothing else is said (RFC 6335 §6).
const FIRST_PORT: u16 = 49_152;
const PORTS: u16 = 16_384;

/// Where datagrams go: local port and address, and whom they must come from.
type Key = (u16, IpAddr, Option<SocketAddr>);

#[derive(Debug)]
struct Socket {
    generation: u32,
    key: Key,
    options: UdpOptions,
    queue: VecDeque<Received>,
    queued_bytes: usize,
    /// Datagrams that found the queue full.
    overflows: u64,
    error: Option<PathError>,
    has_event: bool,
}

/// All of a shard's UDP sockets.
#[derive(Debug)]
pub struct UdpSockets {
    sockets: Slab<Socket>,
    bound: BTreeMap<Key, u32>,
    events: VecDeque<UdpId>,
    next_generation: u32,
    limit: usize,
    pub(crate) free_ports: FreePorts,
    /// To whom sockets without a peer have sent much at once.
    large: Large,
}

impl UdpSockets {
    /// At most so many sockets.
    pub(crate) fn new(limit: usize) -> Self {
        let (sockets, bound, events) = (Slab::default(), BTreeMap::new(), VecDeque::new());
        let free_ports = FreePorts::range(FIRST_PORT, PORTS);
        Self { sockets, bound, events, next_generation: 0, limit, free_ports, large: Large::default() }
    }

    /// From now on ports of sockets are chosen from these.
    pub fn set_free_ports(&mut self, ports: FreePorts) {
        self.free_ports = ports;
    }

    /// The next datagram that has come.
    pub fn receive(&mut self, id: UdpId) -> Option<Received> {
        let socket = self.socket_mut(id)?;
        let received = socket.queue.pop_front()?;
        socket.queued_bytes -= received.payload.len() + DATAGRAM_OVERHEAD;
        Some(received)
    }

    /// What was heard about a datagram that a connected socket has sent, once.
    pub fn take_error(&mut self, id: UdpId) -> Option<PathError> {
        self.socket_mut(id)?.error.take()
    }

    /// How many datagrams were dropped since the socket's queue was full.
    pub fn overflows(&self, id: UdpId) -> u64 {
        self.socket(id).map_or(0, |socket| socket.overflows)
    }

    /// The address at which a socket receives.
    pub fn local(&self, id: UdpId) -> Option<SocketAddr> {
        self.socket(id).map(|socket| SocketAddr::new(socket.key.1, socket.key.0))
    }

    /// Whom a connected socket speaks with.
    pub fn remote(&self, id: UdpId) -> Option<SocketAddr> {
        self.marked_remote(id).map(zone::shown)
    }

    /// The same as the stack knows him (`zone`).
    pub(crate) fn marked_remote(&self, id: UdpId) -> Option<SocketAddr> {
        self.socket(id).and_then(|socket| socket.key.2)
    }

    /// Changes the options of a socket. What waits stays. Answers whether there is such a socket.
    pub fn set_options(&mut self, id: UdpId, options: UdpOptions) -> bool {
        self.socket_mut(id).map(|socket| socket.options = options).is_some()
    }

    /// Closes a socket; what waits is dropped. Answers whether there was one.
    pub fn close(&mut self, id: UdpId) -> bool {
        let Some(key) = self.socket(id).map(|socket| socket.key) else { return false };
        self.bound.remove(&key);
        self.events.retain(|other| *other != id);
        self.sockets.remove(id.place).is_some()
    }

    pub(crate) fn options(&self, id: UdpId) -> Option<UdpOptions> {
        self.socket(id).map(|socket| socket.options)
    }

    /// Whether there is a socket to look at.
    pub(crate) fn has_event(&self) -> bool {
        !self.events.is_empty()
    }

    /// The next socket to look at.
    pub(crate) fn poll_event(&mut self) -> Option<UdpId> {
        let id = self.events.pop_front()?;
        if let Some(socket) = self.socket_mut(id) {
            socket.has_event = false;
        }
        Some(id)
    }

    /// Whether nobody has the port at this address, or at all of them; nor, for all of them, at any. Who is connected has it too: with
    /// the same port another could not be connected with the same remote end.
    pub(crate) fn is_free(&self, local: SocketAddr) -> bool {
        let (ip, least) = (local.ip(), IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let of_port =
            self.bound.range((local.port(), least, None)..).take_while(|((port, ..), _)| *port == local.port());
        let mut others = of_port.map(|((_, other, _), _)| *other).filter(|other| other.is_ipv4() == ip.is_ipv4());
        !others.any(|other| other == ip || other.is_unspecified() || ip.is_unspecified())
    }

    pub(crate) fn bind(&mut self, local: SocketAddr, options: UdpOptions) -> Result<UdpId, OpenError> {
        let key = (local.port(), local.ip(), None);
        if self.bound.contains_key(&key) {
            return Err(OpenError::InUse);
        }
        if self.sockets.len() >= self.limit {
            return Err(OpenError::Full);
        }
        let generation = self.next_generation;
        self.next_generation = generation.wrapping_add(1);
        let place = self.sockets.insert(Socket {
            generation,
            key,
            options,
            queue: VecDeque::new(),
            queued_bytes: 0,
            overflows: 0,
            error: None,
            has_event: false,
        });
        self.bound.insert(key, place);
        Ok(UdpId { place, generation })
    }

    /// From now on only what comes from `remote` to `local` is for this socket.
    pub(crate) fn connect(&mut self, id: UdpId, local: IpAddr, remote: SocketAddr) -> Result<(), OpenError> {
        let Some(old) = self.socket(id).map(|socket| socket.key) else { return Err(OpenError::NotOurs) };
        let key = (old.0, local, Some(remote));
        if self.bound.get(&key).is_some_and(|place| *place != id.place) {
            return Err(OpenError::InUse);
        }
        self.bound.remove(&old);
        self.bound.insert(key, id.place);
        if let Some(socket) = self.socket_mut(id) {
            socket.key = key;
            socket.error = None;
        }
        Ok(())
    }

    /// The socket that gets what `flow`'s sender sends: who is connected with it before who is not, who is bound to the address
    /// before who is bound to all.
    pub(crate) fn find(&self, flow: &FourTuple) -> Option<u32> {
        let (local, remote) = (flow.dst(), flow.src());
        let any = match local.ip() {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        let keys = [(local.ip(), Some(remote)), (any, Some(remote)), (local.ip(), None), (any, None)];
        keys.into_iter().find_map(|(ip, from)| self.bound.get(&(local.port(), ip, from)).copied())
    }

    /// A datagram has come. Answers whether there was room for it.
    pub(crate) fn deliver(&mut self, place: u32, received: Received) -> bool {
        let Some(socket) = self.sockets.get_mut(place) else { return false };
        let bytes = received.payload.len() + DATAGRAM_OVERHEAD;
        if !socket.queue.is_empty() && socket.queued_bytes + bytes > socket.options.receive_capacity {
            socket.overflows += 1;
            return false;
        }
        socket.queued_bytes += bytes;
        socket.queue.push_back(received);
        self.notify(place);
        true
    }

    /// A socket has sent a datagram of so many bytes.
    pub(crate) fn note_sent(&mut self, id: UdpId, to: IpAddr, bytes: usize) {
        if self.remote(id).is_none() {
            self.large.note(to, bytes);
        }
    }

    /// A datagram, as we have sent it, was refused on its way. Answers whether a socket may have sent it. Only connected ones
    /// are told (RFC 1122 §4.1.3.3): others can't know which one is meant.
    pub(crate) fn handle_path_error(&mut self, flow: &FourTuple, error: PathError) -> bool {
        let Some(place) = self.find(&flow.reversed()) else { return false };
        let Some(socket) = self.sockets.get_mut(place) else { return false };
        if socket.key.2 == Some(flow.dst()) {
            socket.error = Some(error);
            self.notify(place);
            return true;
        }
        !matches!(error, PathError::TooBig { .. }) || self.large.has(flow.dst().ip())
    }

    fn notify(&mut self, place: u32) {
        let Some(socket) = self.sockets.get_mut(place) else { return };
        if !core::mem::replace(&mut socket.has_event, true) {
            self.events.push_back(UdpId { place, generation: socket.generation });
        }
    }

    fn socket(&self, id: UdpId) -> Option<&Socket> {
        self.sockets.get(id.place).filter(|socket| socket.generation == id.generation)
    }

    fn socket_mut(&mut self, id: UdpId) -> Option<&mut Socket> {
        self.sockets.get_mut(id.place).filter(|socket| socket.generation == id.generation)
    }
}
