//! What a network must provide: the contract between sockets and whoever carries their bytes.
//!
//! The *socket* owns an operation that is under way and what has arrived; futures only wait for it. So dropping a future
//! loses nothing: bytes and connections that came meanwhile are there for the next one, and what was queued to be sent is
//! sent.
//!
//! All methods are called on the socket's own shard. A method that waits keeps the waker of its last caller only: of each
//! kind of operation (accept, read, write) one task at a time waits on a socket, which the types above see to. Dropping the
//! last handle to a socket closes it.

use alloc::boxed::Box;
use alloc::rc::Rc;
use core::any::Any;
use core::fmt;
use core::future::Future;
use core::net::{IpAddr, Ipv4Addr};
use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;

use sunstar_executor::local;
use sunstar_packet::{Buffer, BufferMut};

use crate::address::Address;
use crate::error::Error;

/// Bytes that a stream socket takes to be sent before it asks its writer to wait, unless it is told otherwise.
pub const DEFAULT_SEND_QUEUE_BYTES: usize = 256 * 1024;

/// Connections that wait to be accepted before the peer's next ones are dropped, unless it is told otherwise.
pub const DEFAULT_BACKLOG: u32 = 4096;

/// The network of one shard.
pub trait Stack: 'static {
    /// Starts to listen for streams. An IP address with port 0 gets a free port.
    ///
    /// # Errors
    /// If the address can't be had.
    fn listen(&self, address: &Address, options: &ListenOptions) -> Result<Rc<dyn ListenSocket>, Error>;

    /// Starts to connect a stream. Dropping the future gives the connection up.
    fn connect(&self, address: &Address, options: &ConnectOptions) -> Connecting;

    /// Makes a stream socket of what another shard [let go](StreamSocket::poll_detach) or
    /// [accepted](ListenSocket::poll_accept).
    ///
    /// # Errors
    /// If it is not of this network.
    fn attach(&self, stream: Detached) -> Result<Rc<dyn StreamSocket>, Error>;

    /// Makes a datagram socket at an address.
    ///
    /// # Errors
    /// If the address can't be had.
    fn bind(&self, address: &Address, options: &DatagramOptions) -> Result<Rc<dyn DatagramSocket>, Error>;

    /// An empty buffer with room for `bytes` at least, in memory from which the network's devices send without copying it, if they have such
    /// memory and some of it is left; otherwise on the heap. With several devices of which each has its own, it is one of them.
    fn allocate_buffer(&self, bytes: usize) -> BufferMut {
        BufferMut::with_capacity(0, bytes)
    }

    /// Where a server listens that was not told where: at loopback on a network that it shares with other programs, at the network's
    /// own address on one that is its own.
    fn default_address(&self) -> IpAddr {
        IpAddr::V4(Ipv4Addr::LOCALHOST)
    }

    /// Whether the network itself spreads over the shards what comes to an address. Then each shard listens there on its own, and what it
    /// accepts stays.
    fn is_spread(&self, address: &Address) -> bool {
        let _ = address;
        false
    }
}

/// A future that has a connected socket in the end.
pub type BoxedConnecting = Pin<Box<dyn Future<Output = Result<Rc<dyn StreamSocket>, Error>>>>;

/// A connection in the making. Dropping it gives the connection up.
pub enum Connecting {
    /// A future.
    Future(BoxedConnecting),
    /// The socket, which is [of use when it is connected](StreamSocket::poll_connected).
    Socket(Rc<dyn StreamSocket>),
}

impl Connecting {
    /// Of a future.
    pub fn new(future: impl Future<Output = Result<Rc<dyn StreamSocket>, Error>> + 'static) -> Self {
        Self::Future(Box::pin(future))
    }
}

impl Future for Connecting {
    type Output = Result<Rc<dyn StreamSocket>, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut *self {
            Self::Future(future) => future.as_mut().poll(cx),
            Self::Socket(socket) => socket.poll_connected(cx).map_ok(|()| Rc::clone(socket)),
        }
    }
}

impl fmt::Debug for Connecting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connecting").finish_non_exhaustive()
    }
}

/// A stream on its way between shards, with all that has arrived and was not read.
///
/// Dropping it closes the stream.
pub struct Detached {
    /// What the network knows it by.
    stream: Box<dyn Any + Send>,
    peer: Option<Address>,
}

impl Detached {
    /// Wraps what the network knows the stream by, and the peer's address where that is known without asking.
    pub fn new(stream: impl Any + Send, peer: Option<Address>) -> Self {
        Self { stream: Box::new(stream), peer }
    }

    /// The peer's address, where the network knows it without asking.
    pub fn peer(&self) -> Option<&Address> {
        self.peer.as_ref()
    }

    /// Whether the network knows it by a `T`.
    pub fn is<T: Any>(&self) -> bool {
        self.stream.is::<T>()
    }

    /// What the network knows the stream by.
    ///
    /// # Errors
    /// [`Error::Unsupported`] if it is of another type, and so of another network.
    pub fn into_inner<T: Any>(self) -> Result<T, Error> {
        self.stream.downcast().map(|stream| *stream).map_err(|_| Error::Unsupported)
    }
}

impl fmt::Debug for Detached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Detached").field("peer", &self.peer).finish_non_exhaustive()
    }
}

/// What a listening socket has accepted.
pub enum Accepted {
    /// What belongs to no shard yet.
    Detached(Detached),
    /// A stream of the shard that accepted it.
    Here(Rc<dyn StreamSocket>),
}

impl fmt::Debug for Accepted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Detached(detached) => detached.fmt(f),
            Self::Here(_) => f.write_str("Here"),
        }
    }
}

/// A socket that listens for streams.
pub trait ListenSocket: 'static {
    /// The address that it listens at, with the port that it got.
    ///
    /// # Errors
    /// What the network says.
    fn local_address(&self) -> Result<Address, Error>;

    /// The next connection. It belongs to no shard yet: [`Stack::attach`] gives it one.
    ///
    /// # Errors
    /// An error concerns one connection or the moment (no descriptor is left): later calls may succeed. After
    /// [`ListenSocket::close`] and the last connection it is [`Error::Stopped`].
    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<Result<Detached, Error>>;

    /// The next connection, for who has it on this shard: networks that know it by little make a stream of it at once.
    ///
    /// # Errors
    /// As for [`ListenSocket::poll_accept`].
    fn poll_accept_here(&self, cx: &mut Context<'_>) -> Poll<Result<Accepted, Error>> {
        self.poll_accept(cx).map_ok(Accepted::Detached)
    }

    /// Lets no more connections in. Those that are established already are still accepted, then [`Error::Stopped`].
    fn close(&self);
}

/// A stream socket.
///
/// Sending is in two steps so that a write happens wholly or not at all: wait until the send queue is below its bound, then
/// put everything into it, which can't fail and may take the queue over the bound by that much.
pub trait StreamSocket: 'static {
    /// Waits until the socket is connected, which most are when anybody has them; see [`Connecting::Socket`].
    ///
    /// # Errors
    /// Why it can't be connected.
    fn poll_connected(&self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let _ = cx;
        Poll::Ready(Ok(()))
    }

    /// This side's address.
    ///
    /// # Errors
    /// What the network says.
    fn local_address(&self) -> Result<Address, Error>;

    /// The other side's address.
    ///
    /// # Errors
    /// What the network says.
    fn peer_address(&self) -> Result<Address, Error>;

    /// The next bytes, in the memory to which they came. An empty buffer says that the peer sends no more.
    ///
    /// # Errors
    /// An error comes after all bytes that arrived before it, and again on every later call.
    fn poll_read(&self, cx: &mut Context<'_>) -> Poll<Result<Buffer, Error>>;

    /// Waits until the send queue is below its bound.
    ///
    /// # Errors
    /// If the stream was shut down for writing, or failed.
    fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<Result<(), Error>>;

    /// Puts bytes into the send queue. They are dropped if the stream was shut down for writing, or failed.
    fn enqueue(&self, bytes: Buffer);

    /// As [`Stack::allocate_buffer`], for the device by which the stream is sent.
    fn allocate_buffer(&self, bytes: usize) -> BufferMut {
        BufferMut::with_capacity(0, bytes)
    }

    /// Puts a part of a file into the send queue, in order with the bytes. The file is one that the network's platform knows;
    /// if it ends early, the stream fails, since the peer can't be told otherwise. A part of no bytes changes nothing.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where there are no files, or this is none, also for a part of no bytes.
    fn enqueue_file(&self, file: &Rc<dyn Any>, offset: u64, len_bytes: u64) -> Result<(), Error>;

    /// Waits until the network has taken all that was put into the send queue, and the end of it where
    /// [`StreamSocket::shutdown`] was called. It says nothing about what the peer has received.
    ///
    /// # Errors
    /// If the stream failed.
    fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<Result<(), Error>>;

    /// How many bytes of those that were put into the send queue the peer's side has not acknowledged, as far as the network knows;
    /// zero if the stream has failed. It may be as costly as a system call.
    fn unacknowledged_bytes(&self) -> u64;

    /// Ends the sending side after what is in the send queue; the peer reads an end. Reading goes on.
    fn shutdown(&self);

    /// Ends both sides at once: what is in the send queue is dropped, and the peer sees a reset where there is such a thing.
    fn abort(&self);

    /// Takes the stream off its shard, with what has arrived and was not read, once the send queue is empty. The socket
    /// is closed then: all that waits fails with [`Error::NotConnected`]. Dropping the wait leaves the socket as it is.
    ///
    /// # Errors
    /// If the stream has failed, or is shut down.
    fn poll_detach(&self, cx: &mut Context<'_>) -> Poll<Result<Detached, Error>>;

    /// Sets an option.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where the network does not have it, and what the network says.
    fn set_option(&self, option: StreamOption) -> Result<(), Error>;
}

/// A datagram socket.
pub trait DatagramSocket: 'static {
    /// This side's address.
    ///
    /// # Errors
    /// What the network says.
    fn local_address(&self) -> Result<Address, Error>;

    /// The next datagram and its sender. What comes while the receive queue is full is dropped, and counted by the
    /// network.
    ///
    /// # Errors
    /// An error concerns a datagram that was sent before (nobody listens there) or the moment.
    fn poll_receive(&self, cx: &mut Context<'_>) -> Poll<Result<(Buffer, Address), Error>>;

    /// Waits until the send queue is below its bound.
    ///
    /// # Errors
    /// What became of earlier datagrams, as far as the network tells.
    fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<Result<(), Error>>;

    /// Puts a datagram into the send queue; to the connected peer if no address is given.
    fn enqueue(&self, bytes: Buffer, to: Option<&Address>);

    /// Sends to `peer` from now on where no address is given, and receives only from there.
    ///
    /// # Errors
    /// What the network says.
    fn connect(&self, peer: &Address) -> Result<(), Error>;

    /// Receives from now on what is sent to a multicast group and the socket's port (RFC 1112 §7.1, RFC 3493 §5.2), by the interface with the
    /// number `scope_id`, or by the one that the network chooses if that is zero. It ends with the socket.
    ///
    /// # Errors
    /// [`Error::AddressInUse`] if the socket has joined it there; [`Error::InvalidInput`] if it is no group; [`Error::Unsupported`] if the
    /// network knows none; what else the network says.
    fn join_group(&self, group: IpAddr, scope_id: u32) -> Result<(), Error> {
        let _ = (group, scope_id);
        Err(Error::Unsupported)
    }

    /// The opposite, with the same interface.
    ///
    /// # Errors
    /// [`Error::AddressNotAvailable`] if the socket has not joined it there; as for [`DatagramSocket::join_group`].
    fn leave_group(&self, group: IpAddr, scope_id: u32) -> Result<(), Error> {
        let _ = (group, scope_id);
        Err(Error::Unsupported)
    }
}

/// How to listen.
#[derive(Clone, Debug)]
pub struct ListenOptions {
    /// Connections that wait to be accepted before the peer's next ones are dropped. The system may have a lower limit.
    pub backlog: u32,
    /// Whether several sockets share the address and each gets a part of the connections (`SO_REUSEPORT`).
    pub reuse_port: bool,
    /// Whether other shards listen at the address too, each for its part. It matters where the network itself spreads what comes
    /// ([`Stack::is_spread`]): there, what comes to an address that is not shared is all for this shard.
    pub is_shared: bool,
    /// Whether a socket at `[::]` takes IPv6 only.
    pub ipv6_only: bool,
    /// Whether what is accepted must know its peer ([`Detached::peer`]), even if asking costs extra.
    pub with_peer: bool,
}

impl Default for ListenOptions {
    fn default() -> Self {
        Self { backlog: DEFAULT_BACKLOG, reuse_port: false, is_shared: false, ipv6_only: false, with_peer: false }
    }
}

/// How to connect.
#[derive(Clone, Debug, Default)]
pub struct ConnectOptions {
    /// The address to connect from; one that suits without it.
    pub from: Option<Address>,
}

/// How a datagram socket is made.
#[derive(Clone, Debug, Default)]
pub struct DatagramOptions {
    /// Whether several sockets share the address (`SO_REUSEPORT`).
    pub reuse_port: bool,
    /// Whether it may send to broadcast addresses.
    pub broadcast: bool,
}

/// Keepalive probes (RFC 9293, 3.8.4).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Keepalive {
    /// Silence before the first probe; whole seconds.
    pub idle: Duration,
    /// Time between probes; whole seconds.
    pub interval: Duration,
    /// Probes without an answer before the connection fails.
    pub probes: u32,
}

/// An option of a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum StreamOption {
    /// Whether small segments are sent without waiting for acknowledgements (`TCP_NODELAY`). On for new streams.
    NoDelay(bool),
    /// Keepalive probes, or none.
    Keepalive(Option<Keepalive>),
    /// How long sent data may stay unacknowledged before the connection fails (RFC 5482); none means the system's.
    UserTimeout(Option<Duration>),
    /// Bytes of the network's receive buffer.
    ReceiveBufferBytes(u32),
    /// Bytes of the network's send buffer.
    SendBufferBytes(u32),
    /// Bytes that the send queue in front of the network takes before writers wait.
    SendQueueBytes(usize),
}

/// What a shard finds its network by.
struct Installed(Rc<dyn Stack>);

/// Makes a network the current shard's.
///
/// # Panics
/// Outside of any shard.
#[track_caller]
pub fn install(stack: Rc<dyn Stack>) {
    local::set(Rc::new(Installed(stack)));
}

/// The current shard's network.
///
/// # Errors
/// [`Error::Unsupported`] if none was installed.
///
/// # Panics
/// Outside of any shard.
#[track_caller]
pub fn stack() -> Result<Rc<dyn Stack>, Error> {
    local::get::<Installed>().map(|installed| Rc::clone(&installed.0)).ok_or(Error::Unsupported)
}
