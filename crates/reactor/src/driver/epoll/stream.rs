//! Stream sockets.

mod core;
mod file;
mod send;

use std::any::Any;
use std::rc::Rc;
use std::task::{Context, Poll};

use sunstar_net::socket::{Detached, StreamOption, StreamSocket};
use sunstar_net::{Address, Error};
use sunstar_packet::{Buffer, ForeignBuffer};

pub(super) use self::core::Core;
use super::EpollDriver;
use crate::posix::{self, DetachedStream, address};

/// The handle of a stream: dropping it closes the stream, whose core may go on sending for a while.
pub(super) struct Stream(Rc<Core>);

impl Stream {
    /// A stream that comes from elsewhere.
    pub(super) fn attach(driver: Rc<EpollDriver>, stream: DetachedStream) -> Rc<dyn StreamSocket> {
        let DetachedStream { descriptor, unread, is_tcp, .. } = stream;
        let unread = unread.into_iter().map(ForeignBuffer::into_buffer);
        Rc::new(Self(Core::new(driver, descriptor, is_tcp, unread)))
    }

    /// A stream whose connection has been made.
    pub(super) fn connected(core: Rc<Core>) -> Rc<dyn StreamSocket> {
        Rc::new(Self(core))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl StreamSocket for Stream {
    fn local_address(&self) -> Result<Address, Error> {
        self.0.descriptor.with(address::local)
    }

    fn peer_address(&self) -> Result<Address, Error> {
        self.0.descriptor.with(address::peer)
    }

    fn poll_read(&self, cx: &mut Context<'_>) -> Poll<Result<Buffer, Error>> {
        self.0.poll_read(cx)
    }

    fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.0.outgoing.poll_writable(cx)
    }

    fn enqueue(&self, bytes: Buffer) {
        if self.0.outgoing.enqueue(bytes) {
            self.0.flush_later();
        }
    }

    fn enqueue_file(&self, file: &Rc<dyn Any>, offset: u64, len_bytes: u64) -> Result<(), Error> {
        if self.0.outgoing.enqueue_file(file, offset, len_bytes)? {
            self.0.flush_later();
        }
        Ok(())
    }

    fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.0.outgoing.poll_flush(cx)
    }

    fn unacknowledged_bytes(&self) -> u64 {
        // Of a connection that was reset the kernel tells a number that means nothing.
        if self.0.outgoing.failure().is_some() {
            return 0;
        }
        let in_kernel = self.0.descriptor.with(|socket| Ok(posix::stream::unacknowledged_bytes(socket)));
        // What is failed is closed.
        self.0.outgoing.queued_bytes() + in_kernel.unwrap_or(0)
    }

    fn shutdown(&self) {
        if self.0.outgoing.shutdown() {
            self.0.flush_later();
        }
    }

    fn abort(&self) {
        self.0.abort(Error::ConnectionAborted);
    }

    fn poll_detach(&self, cx: &mut Context<'_>) -> Poll<Result<Detached, Error>> {
        self.0.poll_detach(cx)
    }

    fn set_option(&self, option: StreamOption) -> Result<(), Error> {
        if let StreamOption::SendQueueBytes(limit_bytes) = option {
            self.0.outgoing.set_limit(limit_bytes);
            return Ok(());
        }
        self.0.descriptor.with(|socket| posix::stream::set_option(socket, option))
    }
}
