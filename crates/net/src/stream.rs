//! Connected streams of any kind.

mod half;
mod io;
#[cfg(test)]
pub(crate) mod tests;

use alloc::rc::Rc;
use core::any::Any;
use core::fmt;
use core::future::{Future, poll_fn};
use core::task::{Context, Poll};
use core::time::Duration;

use sunstar_executor::combine::with_timeout;
use sunstar_executor::{ShardId, SubmitError, spawn, submit_to};
use sunstar_packet::{Buffer, BufferMut};

pub use half::{BorrowedReadHalf, BorrowedWriteHalf, OwnedReadHalf, OwnedWriteHalf, ReadHalf, WriteHalf};
pub(crate) use io::writable;
pub use io::{Read, Write};

use crate::address::Address;
use crate::error::Error;
use crate::socket::{self, Accepted, ConnectOptions, Detached, StreamOption, StreamSocket};
use crate::spread::Live;

/// A connected stream of bytes of any kind: TCP, Unix, or what else the shard's network has.
///
/// It belongs to its shard. All waits are safe to drop: the socket owns what is under way, so a dropped read loses no
/// byte, and a dropped write was made wholly or not at all.
///
/// Dropping the stream closes it. What was written before is still sent, for a limited time; what has arrived and was not
/// read is lost.
///
/// ```no_run
/// use sunstar_net::{Error, TcpStream};
///
/// async fn echo_once() -> Result<(), Error> {
///     let mut stream = TcpStream::connect("127.0.0.1:7".parse().expect("an address")).await?;
///     stream.write("hello").await?;
///     stream.shutdown();
///     loop {
///         let bytes = stream.read().await?;
///         if bytes.is_empty() {
///             return Ok(());
///         }
///     }
/// }
/// ```
pub struct Stream {
    socket: Rc<dyn StreamSocket>,
    /// Counts the stream among those of the listener that accepted it.
    live: Option<Live>,
}

impl Stream {
    /// Connects to an address. Dropping the future gives the connection up.
    ///
    /// # Errors
    /// What the network says, most often [`Error::ConnectionRefused`]; [`Error::Unsupported`] if the shard has no network,
    /// or one that has no such addresses.
    ///
    /// # Panics
    /// When polled outside of any shard.
    pub async fn connect(address: impl Into<Address>) -> Result<Self, Error> {
        Self::connect_with(address, &ConnectOptions::default()).await
    }

    /// As [`Stream::connect`], with options.
    ///
    /// # Errors
    /// As for [`Stream::connect`].
    ///
    /// # Panics
    /// When polled outside of any shard.
    pub async fn connect_with(address: impl Into<Address>, options: &ConnectOptions) -> Result<Self, Error> {
        let connecting = socket::stack()?.connect(&address.into(), options);
        Ok(Self::new(connecting.await?))
    }

    /// As [`Stream::connect`], for at most `timeout`.
    ///
    /// # Errors
    /// [`Error::TimedOut`] when the time is over; otherwise as for [`Stream::connect`].
    ///
    /// # Panics
    /// When polled outside of any shard.
    pub async fn connect_timeout(address: impl Into<Address>, timeout: Duration) -> Result<Self, Error> {
        with_timeout(timeout, Self::connect(address)).await.unwrap_or(Err(Error::TimedOut))
    }

    /// A stream over a socket: for networks, and for protocols that are streams over streams.
    pub fn new(socket: Rc<dyn StreamSocket>) -> Self {
        Self { socket, live: None }
    }

    /// Makes what another shard [let go](Stream::detach) a stream of this one. It begins with the bytes that were not read.
    ///
    /// # Errors
    /// [`Error::Unsupported`] if it is of another network than this shard's; what the network says. The connection is closed
    /// then.
    ///
    /// # Panics
    /// Outside of any shard.
    pub fn attach(detached: Detached) -> Result<Self, Error> {
        Ok(Self::new(socket::stack()?.attach(detached)?))
    }

    /// A stream of what was accepted, counted by a listener.
    pub(crate) fn accepted(connection: Accepted, live: Live) -> Result<Self, Error> {
        let socket = match connection {
            Accepted::Here(socket) => socket,
            Accepted::Detached(detached) => socket::stack()?.attach(detached)?,
        };
        Ok(Self { socket, live: Some(live) })
    }

    /// Takes the stream off its shard with all that has arrived and was not read, after what was written has been sent.
    ///
    /// Afterwards every operation here fails with [`Error::NotConnected`], and the listener that accepted the stream no longer
    /// counts it. Dropping the future leaves the stream as it is.
    ///
    /// # Errors
    /// If the stream has failed, or was shut down.
    pub async fn detach(&mut self) -> Result<Detached, Error> {
        let detached = poll_fn(|cx| self.socket.poll_detach(cx)).await?;
        self.live = None;
        Ok(detached)
    }

    /// Hands the stream to another shard, with its unread bytes, and lets `serve` have it there as a task of its own.
    ///
    /// It is ready when the task has started. Dropping the future before the stream was taken off this shard leaves it as
    /// it is; after that the hand-over goes on by itself, and every operation here fails with [`Error::NotConnected`].
    ///
    /// # Errors
    /// As for [`Stream::detach`], and then the stream is still here; as for [`Stream::attach`], and [`Error::Stopped`] if the
    /// shard has stopped, and then the connection is closed.
    ///
    /// # Panics
    /// When polled outside of any shard, and if there is no such shard.
    ///
    /// ```no_run
    /// # use sunstar_executor::ShardId;
    /// # use sunstar_net::{Error, Stream};
    /// async fn to_its_session(mut stream: Stream, home: ShardId) -> Result<(), Error> {
    ///     stream.hand_over(home, |mut stream| async move {
    ///         // On shard `home`.
    ///         while let Ok(bytes) = stream.read().await && !bytes.is_empty() {}
    ///     }).await
    /// }
    /// ```
    pub async fn hand_over<F, Fut>(&mut self, to: ShardId, serve: F) -> Result<(), Error>
    where
        F: FnOnce(Self) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + 'static,
    {
        let detached = self.detach().await?;
        let there = move || async move {
            drop(spawn(serve(Self::attach(detached)?)));
            Ok(())
        };
        // A task of its own, so that dropping this future does not drop the connection on its way.
        let sent = spawn(submit_to(to, there)).await;
        sent.unwrap_or(Err(SubmitError::Stopped)).unwrap_or(Err(Error::Stopped))
    }

    /// The next bytes, in the memory to which they came. An empty buffer says that the peer sends no more.
    ///
    /// # Errors
    /// What became of the connection, after all bytes that arrived before it, and again on every later call.
    pub async fn read(&mut self) -> Result<Buffer, Error> {
        poll_fn(|cx| self.poll_read(cx)).await
    }

    /// [`Stream::read`] for futures written by hand.
    ///
    /// # Errors
    /// As for [`Stream::read`].
    pub fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<Buffer, Error>> {
        self.socket.poll_read(cx)
    }

    /// Waits for room in the send queue and puts all of `bytes` into it.
    ///
    /// The future is ready as soon as they are queued. Dropping it before means that nothing was.
    ///
    /// # Errors
    /// If the stream was shut down for writing, or failed.
    pub fn write(&mut self, bytes: impl Into<Buffer>) -> impl Future<Output = Result<(), Error>> {
        io::write(self, bytes.into())
    }

    /// Waits for room in the send queue and puts all buffers into it, in order: wholly or not at all.
    ///
    /// # Errors
    /// As for [`Stream::write`].
    pub async fn write_buffers(&mut self, buffers: impl IntoIterator<Item = Buffer>) -> Result<(), Error> {
        io::write_buffers(self, buffers).await
    }

    /// An empty buffer with room for `bytes` at least, from which the network sends without copying it, for what is to be [written](Stream::write).
    ///
    /// It lies in the memory of the device by which the stream is sent, if that has any, as [`allocate_buffer`](crate::allocate_buffer)
    /// says. On the kernel's sockets, which copy whatever they are given, it is an ordinary buffer on the heap.
    ///
    /// Ends the program as the global allocator does when there is no memory at all.
    ///
    /// ```no_run
    /// use sunstar_net::{Error, TcpStream};
    ///
    /// async fn answer(stream: &mut TcpStream, rows: &[String]) -> Result<(), Error> {
    ///     let mut answer = stream.allocate_buffer(rows.iter().map(String::len).sum());
    ///     for row in rows {
    ///         answer.extend_from_slice(row.as_bytes()).expect("there is room for all of them");
    ///     }
    ///     stream.write(answer.freeze()).await
    /// }
    /// ```
    pub fn allocate_buffer(&self, bytes: usize) -> BufferMut {
        self.socket.allocate_buffer(bytes)
    }

    /// Waits for room in the send queue and puts a part of a file into it, in order with the bytes.
    ///
    /// The file is one of the platform's that the network is of. If it ends early, the stream fails, since the peer can't
    /// be told otherwise.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where there are no files, or this is none; otherwise as for [`Stream::write`].
    pub async fn send_file(&mut self, file: &Rc<dyn Any>, offset: u64, len_bytes: u64) -> Result<(), Error> {
        io::send_file(self, file, offset, len_bytes).await
    }

    /// Waits until the send queue is below its bound; then [`Stream::enqueue`] does not take it far beyond.
    ///
    /// # Errors
    /// As for [`Stream::write`].
    pub fn poll_writable(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.socket.poll_writable(cx)
    }

    /// Puts bytes into the send queue without waiting. They are dropped if the stream was shut down for writing, or failed.
    ///
    /// Who does not wait by [`Stream::poll_writable`] before fills the queue without bound.
    pub fn enqueue(&mut self, bytes: impl Into<Buffer>) {
        self.socket.enqueue(bytes.into());
    }

    /// Puts a part of a file into the send queue without waiting, as [`Stream::enqueue`] does bytes; see [`Stream::send_file`].
    ///
    /// # Errors
    /// [`Error::Unsupported`] where there are no files, or this is none.
    pub fn enqueue_file(&mut self, file: &Rc<dyn Any>, offset: u64, len_bytes: u64) -> Result<(), Error> {
        self.socket.enqueue_file(file, offset, len_bytes)
    }

    /// Waits until the network has taken all that was written. It says nothing about what the peer has received.
    ///
    /// # Errors
    /// If the stream failed.
    pub async fn flush(&mut self) -> Result<(), Error> {
        poll_fn(|cx| self.poll_flush(cx)).await
    }

    /// [`Stream::flush`] for futures written by hand.
    ///
    /// # Errors
    /// As for [`Stream::flush`].
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.socket.poll_flush(cx)
    }

    /// How many bytes of those that were written the peer's side has not acknowledged, as far as the network knows; zero if the
    /// stream has failed. It says nothing about what the peer has read. It may be as costly as a system call.
    pub fn unacknowledged_bytes(&self) -> u64 {
        self.socket.unacknowledged_bytes()
    }

    /// Ends the sending side after what was written; the peer reads an end. Reading goes on.
    ///
    /// [`Stream::flush`] waits until it is done.
    pub fn shutdown(&mut self) {
        self.socket.shutdown();
    }

    /// Ends both sides at once: what is in the send queue is dropped, and the peer sees a reset where there is such a thing.
    pub fn abort(&mut self) {
        self.socket.abort();
    }

    /// Lends the two directions to two futures of one task. Afterwards the stream is whole again.
    pub fn split(&mut self) -> (BorrowedReadHalf<'_>, BorrowedWriteHalf<'_>) {
        half::split(&*self)
    }

    /// Takes the two directions apart, for two tasks. The stream closes when both are gone.
    pub fn into_split(self) -> (OwnedReadHalf, OwnedWriteHalf) {
        half::split(Rc::new(self))
    }

    /// This side's address.
    ///
    /// # Errors
    /// What the network says.
    pub fn local_address(&self) -> Result<Address, Error> {
        self.socket.local_address()
    }

    /// The other side's address.
    ///
    /// # Errors
    /// What the network says.
    pub fn peer_address(&self) -> Result<Address, Error> {
        self.socket.peer_address()
    }

    /// Sets an option. New streams have the system's values, and `NoDelay` on.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where the network does not have it, and what the network says.
    pub fn set_option(&self, option: StreamOption) -> Result<(), Error> {
        self.socket.set_option(option)
    }

    /// Sets how many bytes the send queue takes before writers wait, instead of
    /// [`DEFAULT_SEND_QUEUE_BYTES`](crate::socket::DEFAULT_SEND_QUEUE_BYTES).
    ///
    /// # Errors
    /// As for [`Stream::set_option`].
    pub fn set_send_queue_bytes(&self, bytes: usize) -> Result<(), Error> {
        self.set_option(StreamOption::SendQueueBytes(bytes))
    }

    /// Sets the size of the network's receive buffer in bytes.
    ///
    /// # Errors
    /// As for [`Stream::set_option`].
    pub fn set_receive_buffer_bytes(&self, bytes: u32) -> Result<(), Error> {
        self.set_option(StreamOption::ReceiveBufferBytes(bytes))
    }

    /// Sets the size of the network's send buffer in bytes, which is behind the send queue.
    ///
    /// # Errors
    /// As for [`Stream::set_option`].
    pub fn set_send_buffer_bytes(&self, bytes: u32) -> Result<(), Error> {
        self.set_option(StreamOption::SendBufferBytes(bytes))
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").field("peer", &self.peer_address()).finish_non_exhaustive()
    }
}
