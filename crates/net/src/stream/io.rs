//! The directions of a stream, whichever form it has: what buffered reading and writing need.

use alloc::rc::Rc;
use core::any::Any;
use core::future::poll_fn;
use core::mem;
use core::ops::DerefMut;
use core::task::{Context, Poll, ready};

use sunstar_packet::Buffer;

use super::Stream;
use crate::error::Error;

/// Something that bytes come from: a stream, its reading half, or a protocol over one.
///
/// The types have a `read` of their own; this is for what is generic over them.
pub trait Read {
    /// The next bytes. An empty buffer is the end. What has come and was not taken is there for the next call.
    ///
    /// # Errors
    /// What became of the connection, after all bytes that arrived before it, and again on every later call.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<Buffer, Error>>;
}

/// Something that takes bytes to be sent: a stream, its writing half, or a protocol over one.
///
/// The types have a `write` of their own; this is for what is generic over them.
pub trait Write {
    /// Waits until the send queue is below its bound.
    ///
    /// # Errors
    /// If it takes no more, because it was shut down or failed.
    fn poll_writable(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>>;

    /// Puts bytes into the send queue without waiting. They are dropped if it takes no more.
    fn enqueue(&mut self, bytes: Buffer);

    /// Waits until the network has taken all that was put into the send queue, and the end of it after a shutdown.
    ///
    /// # Errors
    /// If the stream failed.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>>;

    /// Ends the sending side after what is in the send queue.
    fn shutdown(&mut self);
}

impl Read for Stream {
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<Buffer, Error>> {
        self.socket.poll_read(cx)
    }
}

impl Write for Stream {
    fn poll_writable(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.socket.poll_writable(cx)
    }

    fn enqueue(&mut self, bytes: Buffer) {
        self.socket.enqueue(bytes);
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.socket.poll_flush(cx)
    }

    fn shutdown(&mut self) {
        self.socket.shutdown();
    }
}

/// What is a stream in another form, such as [`TcpStream`](crate::TcpStream), or borrows one.
impl<T: DerefMut<Target: Read> + ?Sized> Read for T {
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<Buffer, Error>> {
        (**self).poll_read(cx)
    }
}

/// What is a stream in another form, such as [`TcpStream`](crate::TcpStream), or borrows one.
impl<T: DerefMut<Target: Write> + ?Sized> Write for T {
    fn poll_writable(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        (**self).poll_writable(cx)
    }

    fn enqueue(&mut self, bytes: Buffer) {
        (**self).enqueue(bytes);
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        (**self).poll_flush(cx)
    }

    fn shutdown(&mut self) {
        (**self).shutdown();
    }
}

/// Waits until the send queue of `to` is below its bound.
pub(crate) async fn writable(to: &mut impl Write) -> Result<(), Error> {
    poll_fn(|cx| to.poll_writable(cx)).await
}

/// Puts `bytes` into the send queue when there is room. No `async fn`: that would move them once more, for which the processor waits if they
/// were made just now.
pub(super) fn write(to: &mut impl Write, mut bytes: Buffer) -> impl Future<Output = Result<(), Error>> {
    poll_fn(move |cx| {
        ready!(to.poll_writable(cx))?;
        to.enqueue(mem::take(&mut bytes));
        Poll::Ready(Ok(()))
    })
}

pub(super) async fn write_buffers(to: &mut impl Write, buffers: impl IntoIterator<Item = Buffer>) -> Result<(), Error> {
    writable(to).await?;
    buffers.into_iter().for_each(|buffer| to.enqueue(buffer));
    Ok(())
}

pub(super) async fn send_file(stream: &Stream, file: &Rc<dyn Any>, offset: u64, len_bytes: u64) -> Result<(), Error> {
    poll_fn(|cx| stream.socket.poll_writable(cx)).await?;
    stream.socket.enqueue_file(file, offset, len_bytes)
}
