//! A shard without time and a stream without a network: the same bytes come again and again, and what is sent is dropped.

mod by_hand;

use std::any::Any;
use std::cell::Cell;
use std::rc::Rc;
use std::task::{Context, Poll};

use sunstar_executor::{Executor, ExecutorConfig};
use sunstar_net::socket::{Detached, StreamOption, StreamSocket};
use sunstar_net::{Address, Error, Stream};
use sunstar_packet::Buffer;

use by_hand::ByHand;

/// Whether whoever reads has to wait.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pauses {
    Never,
    /// Until its task runs again.
    BeforeEach,
}

/// A stream from which `bytes` are read `count` times, and then the end.
pub(crate) fn stream(bytes: Buffer, count: u64, pauses: Pauses) -> Stream {
    Stream::new(Rc::new(Replay { bytes, left: Cell::new(count), pauses, is_there: Cell::new(false) }))
}

struct Replay {
    bytes: Buffer,
    left: Cell<u64>,
    pauses: Pauses,
    /// What comes next was waited for.
    is_there: Cell<bool>,
}

impl StreamSocket for Replay {
    fn local_address(&self) -> Result<Address, Error> {
        Err(Error::Unsupported)
    }

    fn peer_address(&self) -> Result<Address, Error> {
        Err(Error::Unsupported)
    }

    fn poll_read(&self, cx: &mut Context<'_>) -> Poll<Result<Buffer, Error>> {
        if self.pauses == Pauses::BeforeEach && !self.is_there.replace(!self.is_there.get()) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let Some(left) = self.left.get().checked_sub(1) else { return Poll::Ready(Ok(Buffer::new())) };
        self.left.set(left);
        Poll::Ready(Ok(self.bytes.clone()))
    }

    fn poll_writable(&self, _cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn enqueue(&self, bytes: Buffer) {
        std::hint::black_box(bytes);
    }

    fn enqueue_file(&self, _file: &Rc<dyn Any>, _offset: u64, _len_bytes: u64) -> Result<(), Error> {
        Err(Error::Unsupported)
    }

    fn poll_flush(&self, _cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn unacknowledged_bytes(&self) -> u64 {
        0
    }

    fn shutdown(&self) {}

    fn abort(&self) {}

    fn poll_detach(&self, _cx: &mut Context<'_>) -> Poll<Result<Detached, Error>> {
        Poll::Ready(Err(Error::Unsupported))
    }

    fn set_option(&self, _option: StreamOption) -> Result<(), Error> {
        Ok(())
    }
}

/// A shard that is driven by hand, at a time that stands still.
pub(crate) fn executor() -> Executor {
    Executor::new(ExecutorConfig::default(), Box::new(ByHand::default()))
}
