//! The two directions of a stream, taken apart.

use alloc::rc::Rc;
use core::any::Any;
use core::fmt;
use core::future::poll_fn;
use core::ops::Deref;
use core::task::{Context, Poll};

use sunstar_packet::Buffer;

use super::Stream;
use super::io::{self, Read, Write};
use crate::error::Error;

/// The reading direction of a stream. There is one, so one task at a time reads.
pub struct ReadHalf<S>(S);

/// The writing direction of a stream. There is one, so one task at a time writes.
///
/// Dropping it does not end the sending side: [`WriteHalf::shutdown`] does.
pub struct WriteHalf<S>(S);

/// The reading direction of a stream that was [lent](Stream::split).
pub type BorrowedReadHalf<'a> = ReadHalf<&'a Stream>;
/// The writing direction of a stream that was [lent](Stream::split).
pub type BorrowedWriteHalf<'a> = WriteHalf<&'a Stream>;
/// The reading direction of a stream that was [taken apart](Stream::into_split).
pub type OwnedReadHalf = ReadHalf<Rc<Stream>>;
/// The writing direction of a stream that was [taken apart](Stream::into_split).
pub type OwnedWriteHalf = WriteHalf<Rc<Stream>>;

pub(super) fn split<S: Clone>(stream: S) -> (ReadHalf<S>, WriteHalf<S>) {
    (ReadHalf(stream.clone()), WriteHalf(stream))
}

impl<S: Deref<Target = Stream>> ReadHalf<S> {
    /// The next bytes; see [`Stream::read`].
    ///
    /// # Errors
    /// As for [`Stream::read`].
    pub async fn read(&mut self) -> Result<Buffer, Error> {
        poll_fn(|cx| self.poll_read(cx)).await
    }

    /// The stream, for its addresses and options.
    pub fn stream(&self) -> &Stream {
        &self.0
    }
}

impl<S: Deref<Target = Stream>> WriteHalf<S> {
    /// Waits for room in the send queue and puts all of `bytes` into it; see [`Stream::write`].
    ///
    /// # Errors
    /// As for [`Stream::write`].
    pub fn write(&mut self, bytes: impl Into<Buffer>) -> impl Future<Output = Result<(), Error>> {
        io::write(self, bytes.into())
    }

    /// Waits for room in the send queue and puts all buffers into it; see [`Stream::write_buffers`].
    ///
    /// # Errors
    /// As for [`Stream::write`].
    pub async fn write_buffers(&mut self, buffers: impl IntoIterator<Item = Buffer>) -> Result<(), Error> {
        io::write_buffers(self, buffers).await
    }

    /// Waits for room in the send queue and puts a part of a file into it; see [`Stream::send_file`].
    ///
    /// # Errors
    /// As for [`Stream::send_file`].
    pub async fn send_file(&mut self, file: &Rc<dyn Any>, offset: u64, len_bytes: u64) -> Result<(), Error> {
        io::send_file(&self.0, file, offset, len_bytes).await
    }

    /// Waits until the network has taken all that was written; see [`Stream::flush`].
    ///
    /// # Errors
    /// As for [`Stream::flush`].
    pub async fn flush(&mut self) -> Result<(), Error> {
        poll_fn(|cx| self.poll_flush(cx)).await
    }

    /// Ends the sending side after what was written; see [`Stream::shutdown`].
    pub fn shutdown(&mut self) {
        self.0.socket.shutdown();
    }

    /// Ends both sides at once; see [`Stream::abort`].
    pub fn abort(&mut self) {
        self.0.socket.abort();
    }

    /// The stream, for its addresses and options.
    pub fn stream(&self) -> &Stream {
        &self.0
    }
}

impl OwnedReadHalf {
    /// Puts the halves of one stream together again.
    ///
    /// # Errors
    /// The halves come back if they are of two streams.
    pub fn reunite(self, writer: OwnedWriteHalf) -> Result<Stream, (Self, OwnedWriteHalf)> {
        if !Rc::ptr_eq(&self.0, &writer.0) {
            return Err((self, writer));
        }
        drop(writer);
        Rc::try_unwrap(self.0).map_err(split)
    }
}

impl<S: Deref<Target = Stream>> Read for ReadHalf<S> {
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<Buffer, Error>> {
        self.0.socket.poll_read(cx)
    }
}

impl<S: Deref<Target = Stream>> Write for WriteHalf<S> {
    fn poll_writable(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.0.socket.poll_writable(cx)
    }

    fn enqueue(&mut self, bytes: Buffer) {
        self.0.socket.enqueue(bytes);
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.0.socket.poll_flush(cx)
    }

    fn shutdown(&mut self) {
        self.0.socket.shutdown();
    }
}

impl<S: Deref<Target = Stream>> fmt::Debug for ReadHalf<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ReadHalf").field(&*self.0).finish()
    }
}

impl<S: Deref<Target = Stream>> fmt::Debug for WriteHalf<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WriteHalf").field(&*self.0).finish()
    }
}
