//! Taking connections from a listening socket, over all that may go wrong with one of them.

use alloc::boxed::Box;
use alloc::rc::Rc;
use core::cell::{Cell, RefCell};
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use core::time::Duration;

use sunstar_executor::timer::{Sleep, sleep};

use super::tally::{Live, Tally, Totals, add};
use crate::error::Error;
use crate::socket::{Accepted, Detached, ListenSocket};
use crate::stream::Stream;

/// How long accepting rests when the network could not: a descriptor or memory may be free then.
const PAUSE: Duration = Duration::from_millis(10);

/// A listening socket whose errors are dealt with.
pub(super) struct Intake {
    pub(super) socket: Rc<dyn ListenSocket>,
    /// The rest after an error.
    pause: RefCell<Option<Pin<Box<Sleep>>>>,
    /// The last outcome was an error, which was logged.
    is_failing: Cell<bool>,
    failures: Cell<u64>,
    totals: Rc<Totals>,
}

impl Intake {
    pub(super) fn new(socket: Rc<dyn ListenSocket>) -> Self {
        Self {
            socket,
            pause: RefCell::default(),
            is_failing: Cell::new(false),
            failures: Cell::new(0),
            totals: Totals::here(),
        }
    }

    /// How often accepting failed.
    pub(super) fn failures(&self) -> u64 {
        self.failures.get()
    }

    /// The next connection, for whichever shard; none after the last one.
    pub(super) fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Option<Detached>> {
        self.poll_with(cx, |socket, cx| socket.poll_accept(cx))
    }

    /// The next connection, for this shard; none after the last one.
    pub(super) fn poll_next_here(&self, cx: &mut Context<'_>) -> Poll<Option<Accepted>> {
        self.poll_with(cx, |socket, cx| socket.poll_accept_here(cx))
    }

    fn poll_with<T>(
        &self,
        cx: &mut Context<'_>,
        accept: impl Fn(&dyn ListenSocket, &mut Context<'_>) -> Poll<Result<T, Error>>,
    ) -> Poll<Option<T>> {
        loop {
            if let Some(pause) = &mut *self.pause.borrow_mut() {
                ready!(pause.as_mut().poll(cx));
            }
            self.pause.take();
            match ready!(accept(&*self.socket, cx)) {
                Ok(connection) => {
                    self.is_failing.set(false);
                    return Poll::Ready(Some(connection));
                }
                Err(Error::Stopped) => return Poll::Ready(None),
                Err(error) => self.fail(error),
            }
        }
    }

    fn fail(&self, error: Error) {
        add(&self.failures);
        add(&self.totals.failures);
        // These concern the connection that was to be accepted; the next one can be had at once.
        if matches!(error, Error::ConnectionAborted | Error::ConnectionReset) {
            return;
        }
        if !self.is_failing.replace(true) {
            log::warn!("accepting failed, and is tried again every {} ms: {error}", PAUSE.as_millis());
        }
        *self.pause.borrow_mut() = Some(Box::pin(sleep(PAUSE)));
    }
}

/// Makes a stream of a connection; none if that failed, which closes it.
pub(super) fn attach(connection: Accepted, tally: &Tally, live: Live) -> Option<Stream> {
    match Stream::accepted(connection, live) {
        Ok(stream) => {
            tally.accept();
            Some(stream)
        }
        Err(error) => {
            tally.refuse();
            log::warn!("a connection was closed because no stream could be made of it: {error}");
            None
        }
    }
}
