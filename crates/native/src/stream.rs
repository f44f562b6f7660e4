//! Streams: connections of TCP.

use std::any::Any;
use std::cell::Cell;
use std::fmt;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use sunstar_executor::Foreign;
use sunstar_net::socket::{DEFAULT_SEND_QUEUE_BYTES, Detached, StreamOption, StreamSocket};
use sunstar_net::{Address, Error};
use sunstar_packet::{Buffer, BufferMut};
use sunstar_tcpip::tcp::connection::{self, Connection, Keepalive, State};
use sunstar_tcpip::tcp::sockets::{SocketId, Sockets};

use crate::error::of_failure;
use crate::network::in_v6_form;
use crate::shared::Shared;
use crate::wakers::StreamWaiters;

/// A connection that the application has, or is going to have. Dropping it lets the connection go.
pub(crate) struct Held {
    /// None once somebody else has the connection.
    network: Option<Rc<Shared>>,
    id: SocketId,
}

impl Held {
    pub(crate) fn new(network: Rc<Shared>, id: SocketId) -> Self {
        network.open_streams.set(network.open_streams.get() + 1);
        Self { network: Some(network), id }
    }

    fn named(&self) -> Option<Named<'_>> {
        Some(Named { network: self.network.as_ref()?, id: self.id })
    }

    pub(crate) fn abort(&self) {
        if let Some(named) = self.named() {
            named.abort();
        }
    }

    /// How another shard, or who accepts, gets it.
    pub(crate) fn detached(self) -> Detached {
        let peer = self.named().and_then(|named| named.peer()).map(Address::Inet);
        Detached::new(Foreign::new(self), peer)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(named) = self.named() {
            named.release();
        }
    }
}

/// The stack's name for a connection.
#[derive(Clone, Copy)]
struct Named<'a> {
    network: &'a Rc<Shared>,
    id: SocketId,
}

impl Named<'_> {
    /// An address of the connection, as the application sees it.
    fn address(&self, of: impl FnOnce(&Sockets, SocketId) -> Option<SocketAddr>) -> Option<SocketAddr> {
        self.network.look(|state| {
            let tcp = state.stack.tcp();
            let address = of(tcp, self.id)?;
            Some(if tcp.is_shown_as_v6(self.id) { in_v6_form(address) } else { address })
        })
    }

    /// The other side's address.
    fn peer(&self) -> Option<SocketAddr> {
        self.address(Sockets::peer)
    }

    fn local(&self) -> Option<SocketAddr> {
        self.address(Sockets::local)
    }

    /// Looks at the connection.
    fn connection<R>(&self, f: impl FnOnce(&Connection) -> R) -> Result<R, Error> {
        self.network.look(|state| state.stack.tcp().connection(self.id).map(f)).ok_or(Error::NotConnected)
    }

    /// Calls the stack.
    fn tcp<R>(&self, f: impl FnOnce(&mut Sockets, SocketId) -> R) -> R {
        f(self.network.state().stack.tcp(), self.id)
    }

    /// How much may wait to be acknowledged where all connections hold much.
    fn send_bound(&self) -> u32 {
        if !self.network.look(|state| state.stack.tcp().is_short_of_memory()) {
            return u32::MAX;
        }
        let now = self.network.now();
        self.tcp(|tcp, _| tcp.send_bound(now))
    }

    /// The next received bytes, or who waits for them.
    fn read(&self, cx: &Context<'_>) -> Result<Poll<Buffer>, Error> {
        let bytes = self.network.look(|state| {
            if let Some(bytes) = state.stack.tcp().receive(self.id) {
                return Ok(Poll::Ready(bytes));
            }
            let connection = state.stack.tcp().connection(self.id).ok_or(Error::NotConnected)?;
            match connection.failure() {
                Some(failure) => Err(of_failure(failure)),
                None if connection.is_at_end() || connection.state() == State::Closed => Ok(Poll::Ready(Buffer::new())),
                None => {
                    state.streams.at(self.id.index()).wait_to_read(cx);
                    Ok(Poll::Pending)
                }
            }
        })?;
        if bytes.is_ready() {
            // The other side may have to hear of the room.
            self.network.was_asked();
        }
        Ok(bytes)
    }

    fn abort(&self) {
        let now = self.network.now();
        self.tcp(|tcp, id| tcp.abort(now, id));
    }

    /// Wakes all who wait.
    fn wake_all(&self) {
        let waiting = self.network.look(|state| state.streams.get(self.id.index()).map(|waiters| waiters.all()));
        waiting.into_iter().flatten().flatten().for_each(std::task::Waker::wake);
    }

    /// Nobody has it any more.
    fn release(&self) {
        self.network.open_streams.set(self.network.open_streams.get() - 1);
        let now = self.network.now();
        let mut state = self.network.state();
        state.stack.tcp().release(now, self.id);
        let waiting = state.streams.get(self.id.index()).map(std::mem::take);
        drop(state);
        drop(waiting);
    }
}

/// What the application has done with a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Open,
    ShutDown,
    Aborted,
    /// Another socket has it, or will have it.
    Detached,
}

/// A stream.
///
/// Bytes are handed to the stack as they come; what is called the send queue are those that are more than the stack's send
/// capacity, as if the stack were a kernel.
pub(crate) struct Stream {
    network: Rc<Shared>,
    id: SocketId,
    phase: Cell<Phase>,
    send_queue_bytes: Cell<u32>,
}

impl Drop for Stream {
    fn drop(&mut self) {
        if self.phase.get() != Phase::Detached {
            Named { network: &self.network, id: self.id }.release();
        }
    }
}

/// What an idle stream takes beside the stack's connection, which is a test's business there: the socket with its two counts, and who
/// waits for it. Together, with what finds the connection, they stay within 512 bytes, as `cargo xtask bench connections` shows.
const _: () = assert!(size_of::<Stream>() + 2 * size_of::<usize>() + size_of::<StreamWaiters>() <= 56);

impl Stream {
    /// A stream of what nobody else has.
    pub(crate) fn open(mut held: Held) -> Option<Rc<dyn StreamSocket>> {
        let send_queue_bytes = Cell::new(u32::try_from(DEFAULT_SEND_QUEUE_BYTES).unwrap_or(u32::MAX));
        let network = held.network.take()?;
        Some(Rc::new(Self { network, id: held.id, phase: Cell::new(Phase::Open), send_queue_bytes }))
    }

    /// Makes a stream of what was accepted or detached.
    pub(crate) fn attach(stream: Foreign<Held>) -> Result<Rc<dyn StreamSocket>, Error> {
        // Its packets come to the shard on which it is; what is dropped elsewhere travels there and is closed.
        stream.into_inner().ok().and_then(Self::open).ok_or(Error::Unsupported)
    }

    fn with<R>(&self, f: impl FnOnce(Named<'_>) -> Result<R, Error>) -> Result<R, Error> {
        if self.phase.get() == Phase::Detached {
            return Err(Error::NotConnected);
        }
        f(Named { network: &self.network, id: self.id })
    }

    /// Whether the sending side is as it should be.
    fn check_writing(&self, connection: &Connection) -> Result<(), Error> {
        match (self.phase.get(), connection.failure()) {
            (Phase::Aborted, _) => Err(Error::ConnectionAborted),
            (_, Some(failure)) => Err(of_failure(failure)),
            _ => Ok(()),
        }
    }

    /// Waits until fewer bytes than `below` are not acknowledged; `below` follows from the stack's send capacity.
    fn poll_below(&self, cx: &Context<'_>, below: impl FnOnce(u32) -> u32) -> Poll<Result<(), Error>> {
        if self.phase.get() == Phase::Aborted {
            return Poll::Ready(Err(Error::ConnectionAborted));
        }
        let answer = self.with(|held| {
            let (check, unacknowledged, below) = held.connection(|connection| {
                let below = below(connection.send_capacity());
                (self.check_writing(connection), connection.unacknowledged(), below)
            })?;
            check?;
            // Who has nothing under way needs not to ask how short memory is.
            let below = if unacknowledged == 0 { below } else { below.min(held.send_bound()) };
            if unacknowledged < below {
                return Ok(Poll::Ready(()));
            }
            held.network.look(|state| state.streams.at(held.id.index()).wait_to_write(below, cx));
            Ok(Poll::Pending)
        });
        flat(answer)
    }

    fn set(&self, change: impl FnOnce(&mut connection::Options)) -> Result<(), Error> {
        self.with(|held| {
            let mut options = held.connection(|connection| *connection.options())?;
            change(&mut options);
            held.tcp(|tcp, id| tcp.set_options(id, options));
            Ok(())
        })
    }
}

fn flat<T>(answer: Result<Poll<T>, Error>) -> Poll<Result<T, Error>> {
    match answer {
        Ok(poll) => poll.map(Ok),
        Err(error) => Poll::Ready(Err(error)),
    }
}

impl StreamSocket for Stream {
    fn poll_connected(&self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        flat(self.with(|held| match held.connection(|connection| (connection.state(), connection.failure()))? {
            (State::SynSent | State::SynReceived, _) => {
                held.network.look(|state| state.streams.at(held.id.index()).wait_to_write(u32::MAX, cx));
                Ok(Poll::Pending)
            }
            (_, Some(failure)) => Err(of_failure(failure)),
            _ => Ok(Poll::Ready(())),
        }))
    }

    fn local_address(&self) -> Result<Address, Error> {
        self.with(|held| held.local().map(Address::Inet).ok_or(Error::NotConnected))
    }

    fn peer_address(&self) -> Result<Address, Error> {
        self.with(|held| held.peer().map(Address::Inet).ok_or(Error::NotConnected))
    }

    fn poll_read(&self, cx: &mut Context<'_>) -> Poll<Result<Buffer, Error>> {
        if self.phase.get() == Phase::Aborted {
            return Poll::Ready(Err(Error::ConnectionAborted));
        }
        flat(self.with(|held| held.read(cx)))
    }

    fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if self.phase.get() == Phase::ShutDown {
            return Poll::Ready(Err(Error::BrokenPipe));
        }
        self.poll_below(cx, |capacity| capacity.saturating_add(self.send_queue_bytes.get()))
    }

    fn enqueue(&self, bytes: Buffer) {
        // What a stream that is over is given is dropped.
        let _ = self.with(|held| {
            let _ = held.tcp(|tcp, id| tcp.send_beyond(id, bytes));
            Ok(())
        });
    }

    fn allocate_buffer(&self, bytes: usize) -> BufferMut {
        let buffer = self.with(|held| {
            Ok(held.network.look(|state| {
                let to = state.stack.tcp().peer(held.id).map(|peer| peer.ip());
                state.allocate_buffer(bytes, to)
            }))
        });
        // Who has no connection any more sends nothing, but may have the bytes.
        buffer.unwrap_or_else(|_| BufferMut::with_capacity(0, bytes))
    }

    fn enqueue_file(&self, _file: &Rc<dyn Any>, _offset: u64, _len_bytes: u64) -> Result<(), Error> {
        Err(Error::Unsupported)
    }

    fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.poll_below(cx, |capacity| capacity.saturating_add(1))
    }

    fn unacknowledged_bytes(&self) -> u64 {
        let answer = self.with(|held| {
            held.connection(|connection| if connection.failure().is_some() { 0 } else { connection.unacknowledged() })
        });
        answer.unwrap_or(0).into()
    }

    fn shutdown(&self) {
        if self.phase.get() == Phase::Open {
            self.phase.set(Phase::ShutDown);
            let _ = self.with(|held| {
                let now = held.network.now();
                held.tcp(|tcp, id| tcp.close(now, id));
                Ok(())
            });
        }
    }

    fn abort(&self) {
        if self.phase.get() != Phase::Detached && self.phase.replace(Phase::Aborted) != Phase::Aborted {
            let held = Named { network: &self.network, id: self.id };
            held.abort();
            held.wake_all();
        }
    }

    fn poll_detach(&self, cx: &mut Context<'_>) -> Poll<Result<Detached, Error>> {
        if self.phase.get() != Phase::Open {
            return Poll::Ready(Err(Error::NotConnected));
        }
        ready!(self.poll_flush(cx))?;
        // First, so that somebody has the connection whatever wakers do.
        let held = Held { network: Some(Rc::clone(&self.network)), id: self.id };
        self.phase.set(Phase::Detached);
        Named { network: &self.network, id: self.id }.wake_all();
        Poll::Ready(Ok(held.detached()))
    }

    fn set_option(&self, option: StreamOption) -> Result<(), Error> {
        match option {
            StreamOption::NoDelay(is_on) => self.set(|options| options.is_no_delay = is_on),
            StreamOption::Keepalive(keepalive) => self.set(|options| {
                options.keepalive = keepalive.map(|keepalive| Keepalive {
                    idle: keepalive.idle,
                    interval: keepalive.interval,
                    probes: u8::try_from(keepalive.probes).unwrap_or(u8::MAX),
                });
            }),
            StreamOption::UserTimeout(timeout) => self.set(|options| options.user_timeout = timeout),
            // Who says how much there is to be means it: nothing grows any more.
            StreamOption::ReceiveBufferBytes(bytes) => {
                let bytes = bytes.max(1);
                self.set(|options| (options.receive_capacity, options.max_receive_capacity) = (bytes, bytes))
            }
            StreamOption::SendBufferBytes(bytes) => {
                let bytes = bytes.max(1);
                self.set(|options| (options.send_capacity, options.max_send_capacity) = (bytes, bytes))
            }
            StreamOption::SendQueueBytes(bytes) => {
                self.send_queue_bytes.set(u32::try_from(bytes).unwrap_or(u32::MAX));
                Ok(())
            }
            _ => Err(Error::Unsupported),
        }
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").field("phase", &self.phase).finish_non_exhaustive()
    }
}
