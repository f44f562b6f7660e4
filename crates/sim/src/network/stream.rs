//! Stream sockets of the simulated network.

use std::any::Any;
use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::task::{Context, Poll};

use sunstar_net::socket::{Detached, StreamOption, StreamSocket};
use sunstar_net::{Address, Error};
use sunstar_packet::Buffer;

use super::connection::Connection;
use super::half::{Half, Holder, Item};
use super::{Gauges, Network, add, subtract};
use crate::storage::Content;
use crate::trace::{Record, Side};
use crate::world::{ShardIo, Signal};

/// Tells networks apart, and takes the numbers of streams that were dropped between shards.
pub(super) struct Tag(Sender<Signal>);

impl Tag {
    pub(super) fn new(signals: Sender<Signal>) -> Self {
        Self(signals)
    }
}

/// A stream between shards: `Send`, so it is a number only.
struct Token {
    number: u64,
    /// None once it was attached.
    tag: Option<Arc<Tag>>,
}

impl Drop for Token {
    fn drop(&mut self) {
        if let Some(tag) = self.tag.take() {
            // Once the world is gone there is nothing to close.
            let _gone = tag.0.send(Signal::Abandoned(self.number));
        }
    }
}

impl Network {
    /// Takes a side of a connection into the network's hands until some shard attaches it.
    pub(super) fn detach(&self, connection: Rc<Connection>, side: Side) -> Detached {
        connection.with(side, |half, _| half.holder = Holder::Network);
        connection.note(&Record::Detach { direction: connection.direction(side) });
        let peer = connection.end(side.other()).address;
        let number = self.next_detached.get();
        self.next_detached.set(number + 1);
        self.detached.borrow_mut().insert(number, (connection, side));
        Detached::new(Token { number, tag: Some(Arc::clone(&self.tag)) }, Some(Address::Inet(peer.into())))
    }

    /// Makes a socket of it.
    pub(super) fn attach(&self, io: &Rc<ShardIo>, stream: Detached) -> Result<Rc<SimStream>, Error> {
        let mut token: Token = stream.into_inner()?;
        if !token.tag.as_ref().is_some_and(|tag| Arc::ptr_eq(tag, &self.tag)) {
            return Err(Error::Unsupported);
        }
        let is_of_host = |(connection, side): &(Rc<Connection>, Side)| connection.end(*side).host == io.place.host;
        if !self.detached.borrow().get(&token.number).is_some_and(is_of_host) {
            return Err(Error::Unsupported);
        }
        let attached = self.detached.borrow_mut().remove(&token.number);
        token.tag = None;
        let (connection, side) = attached.ok_or(Error::NotConnected)?;
        connection.end(side).io.replace(Some(Rc::clone(io)));
        connection.note(&Record::Attach { place: io.place, direction: connection.direction(side) });
        Ok(SimStream::new(connection, side))
    }
}

/// Bytes that were read, until their last buffer is gone.
struct Received {
    bytes: Vec<u8>,
    gauges: Rc<Gauges>,
}

impl Received {
    fn buffer(bytes: Vec<u8>, gauges: &Rc<Gauges>) -> Buffer {
        add(&gauges.buffers, 1);
        Buffer::from_owner(Self { bytes, gauges: Rc::clone(gauges) })
    }
}

impl AsRef<[u8]> for Received {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Received {
    fn drop(&mut self) {
        subtract(&self.gauges.buffers, 1);
    }
}

/// A buffer of bytes that a socket has received, counted while it lives.
pub(super) fn received(bytes: Vec<u8>, network: &Network) -> Buffer {
    Received::buffer(bytes, &network.gauges)
}

/// A socket with one side of a connection.
pub(super) struct SimStream {
    connection: Rc<Connection>,
    side: Side,
    /// Whether the side was taken off this socket.
    is_detached: Cell<bool>,
}

/// What a read finds.
enum Found {
    Bytes(Vec<u8>),
    Failure(Error),
    End,
    Nothing,
}

impl SimStream {
    pub(super) fn new(connection: Rc<Connection>, side: Side) -> Rc<Self> {
        add(&connection.network.gauges.sockets, 1);
        connection.with(side, |half, _| half.holder = Holder::Socket);
        Rc::new(Self { connection, side, is_detached: Cell::new(false) })
    }

    fn network(&self) -> &Network {
        &self.connection.network
    }

    fn check_attached(&self) -> Result<(), Error> {
        if self.is_detached.get() { Err(Error::NotConnected) } else { Ok(()) }
    }

    /// Takes what has arrived off the network, and lets it send more.
    fn find(&self) -> Found {
        let (connection, side) = (&self.connection, self.side);
        connection.with(side, |half, other| {
            let Some(mut bytes) = half.arrived.pop_front() else {
                return match half.failure {
                    Some(error) => Found::Failure(error),
                    None if half.has_end_arrived => Found::End,
                    None => Found::Nothing,
                };
            };
            let merge = self.network().options.merge;
            while !half.arrived.is_empty() && merge.happens(&mut self.network().random()) {
                half.arrived.pop_front().into_iter().for_each(|more| bytes.extend(more));
            }
            self.credit(half, other, bytes.len());
            Found::Bytes(bytes)
        })
    }

    /// The other side may send as many bytes more. If it waits for that, the news take their time.
    fn credit(&self, half: &mut Half, other: &mut Half, bytes: usize) {
        if other.queued_bytes > 0 && half.failure.is_none() {
            self.connection.send(self.side, half, Item::Window(bytes));
        } else {
            other.outstanding_bytes -= bytes;
        }
    }

    /// Compares what was read with what the other side has sent.
    fn check(&self, read: Option<&[u8]>) {
        let verdict = self.connection.with(self.side, |_, other| match read {
            Some(bytes) => other.ledger.read(bytes),
            None => other.ledger.ended(),
        });
        if let Err(what) = verdict {
            let direction = self.connection.direction(self.side.other());
            self.network().violate(format!("stream {direction}: {what}"));
        }
    }

    fn list(&self) {
        let io = self.connection.with(self.side, |half, _| self.connection.list(self.side, half));
        if let Some(io) = io {
            io.list(Rc::clone(&self.connection), self.side);
        }
    }
}

impl StreamSocket for SimStream {
    fn local_address(&self) -> Result<Address, Error> {
        Ok(Address::Inet(self.connection.end(self.side).address.into()))
    }

    fn peer_address(&self) -> Result<Address, Error> {
        Ok(Address::Inet(self.connection.end(self.side.other()).address.into()))
    }

    fn poll_read(&self, cx: &mut Context<'_>) -> Poll<Result<Buffer, Error>> {
        self.check_attached()?;
        match self.find() {
            Found::Bytes(bytes) => {
                self.check(Some(&bytes));
                Poll::Ready(Ok(received(bytes, self.network())))
            }
            Found::End => {
                self.check(None);
                Poll::Ready(Ok(Buffer::new()))
            }
            Found::Failure(error) => Poll::Ready(Err(error)),
            Found::Nothing => {
                self.connection.end(self.side).reader.register(cx);
                Poll::Pending
            }
        }
    }

    fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.check_attached()?;
        let answer = self.connection.with(self.side, |half, _| match half.failure {
            Some(error) => Some(Err(error)),
            None if half.is_shut_down => Some(Err(Error::BrokenPipe)),
            None => (half.queued_bytes < half.queue_limit_bytes).then_some(Ok(())),
        });
        answer.map_or_else(
            || {
                self.connection.end(self.side).writer.register(cx);
                Poll::Pending
            },
            Poll::Ready,
        )
    }

    fn enqueue(&self, bytes: Buffer) {
        let mut bytes = Some(bytes).filter(|bytes| !bytes.is_empty() && !self.is_detached.get());
        self.connection.with(self.side, |half, _| {
            if half.failure.is_none()
                && !half.is_shut_down
                && let Some(bytes) = bytes.take()
            {
                half.ledger.sent(&bytes);
                half.queued_bytes += bytes.len();
                half.queue.push_back(bytes);
            }
        });
        self.list();
    }

    /// What the file has now is sent.
    fn enqueue_file(&self, file: &Rc<dyn Any>, offset: u64, len_bytes: u64) -> Result<(), Error> {
        let content = file.downcast_ref::<Content>().ok_or(Error::Unsupported)?;
        let bytes = content.slice(offset, len_bytes);
        let is_whole = bytes.len() as u64 == len_bytes;
        self.enqueue(bytes);
        if !is_whole {
            self.abort();
        }
        Ok(())
    }

    fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.check_attached()?;
        let answer = self.connection.with(self.side, |half, _| match half.failure {
            Some(error) => Some(Err(error)),
            None => half.is_flushed().then_some(Ok(())),
        });
        answer.map_or_else(
            || {
                self.connection.end(self.side).flusher.register(cx);
                Poll::Pending
            },
            Poll::Ready,
        )
    }

    fn unacknowledged_bytes(&self) -> u64 {
        self.connection.with(self.side, |half, _| match half.failure {
            None if !self.is_detached.get() => (half.queued_bytes + half.outstanding_bytes) as u64,
            _ => 0,
        })
    }

    fn shutdown(&self) {
        if !self.is_detached.get()
            && !self.connection.with(self.side, |half, _| std::mem::replace(&mut half.is_shut_down, true))
        {
            self.list();
        }
    }

    fn abort(&self) {
        if !self.is_detached.get() {
            self.connection.reset(self.side);
        }
    }

    fn poll_detach(&self, cx: &mut Context<'_>) -> Poll<Result<Detached, Error>> {
        self.check_attached()?;
        let answer = self.connection.with(self.side, |half, _| match half.failure {
            Some(error) => Some(Err(error)),
            None if half.is_shut_down => Some(Err(Error::BrokenPipe)),
            None => (half.queued_bytes == 0).then_some(Ok(())),
        });
        match answer {
            Some(Ok(())) => {
                self.is_detached.set(true);
                self.connection.end(self.side).io.take();
                Poll::Ready(Ok(self.network().detach(Rc::clone(&self.connection), self.side)))
            }
            Some(Err(error)) => Poll::Ready(Err(error)),
            None => {
                self.connection.end(self.side).detacher.register(cx);
                Poll::Pending
            }
        }
    }

    fn set_option(&self, option: StreamOption) -> Result<(), Error> {
        self.check_attached()?;
        self.connection.with(self.side, |half, other| match option {
            StreamOption::SendQueueBytes(bytes) => half.queue_limit_bytes = bytes.max(1),
            StreamOption::ReceiveBufferBytes(bytes) => {
                other.window_bytes = usize::try_from(bytes).unwrap_or(usize::MAX).max(1)
            }
            // Nothing here depends on them.
            _ => {}
        });
        Ok(())
    }
}

impl Drop for SimStream {
    fn drop(&mut self) {
        subtract(&self.network().gauges.sockets, 1);
        if !self.is_detached.get() {
            self.connection.close(self.side);
        }
    }
}
