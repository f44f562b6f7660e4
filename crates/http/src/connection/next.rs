//! What comes next from a client: its bytes, or the stop of the server.

use core::future::poll_fn;
use core::task::{Context, Poll, Waker};
use core::time::Duration;

use sunstar_executor::timer::now;
use sunstar_http1::Awaits;
use sunstar_packet::Buffer;

use super::{Connection, Input, Overdue, Phase};
use crate::error::Error;
use crate::machine::LastInput;
use crate::server::add_one;
use crate::waits::Wait;
use crate::watch::Watch;

/// When the server stops, a connection waits so long for bytes that have arrived and were not yet handed over by the network.
const LAST_LOOK: Duration = Duration::from_millis(2);

/// When the server stops, a connection takes in at most so many bytes more: no receive buffer holds more than that.
const LAST_BYTES: usize = 8 << 20;

impl Connection {
    /// Waits for bytes, or for the request to stop, for which it answers none. Meanwhile the connection rests if it may.
    pub(super) fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
        watch: &mut Watch<'_>,
        wait: &mut Wait,
    ) -> Poll<Result<Option<Input>, Error>> {
        // The request to stop comes first: a client that always has more to say must not put it off.
        let next = if self.shared.stop.abort_requested() {
            Poll::Ready(Ok(None))
        } else {
            self.poll_input(cx, watch, wait).map_ok(Some)
        };
        if next.is_pending() {
            self.http.rest(&self.shared.spares);
        } else {
            self.http.wake(&self.shared.spares, &self.shared.endpoint);
            self.shared.ears.rouse(&self.ear);
        }
        next
    }

    /// Takes in what came of a wait.
    pub(super) fn on_next(&mut self, awaits: Awaits, next: Result<Option<Input>, Error>) -> Result<(), Error> {
        match next {
            Ok(Some(Input::Bytes(bytes))) if awaits == Awaits::Body => self.take_in_body(bytes),
            Ok(Some(Input::Bytes(bytes))) => self.take_in(bytes),
            Ok(Some(Input::Overdue(Overdue::Input))) => self.give_up_input(awaits),
            Ok(Some(Input::Overdue(Overdue::Place))) => {
                add_one(&self.shared.displaced);
                self.phase = Phase::Leaving;
                self.lingers = false;
                self.http.abort();
            }
            Ok(Some(Input::Overdue(overdue))) => return Err(self.on_overdue(overdue)),
            // Many clients leave by a reset when they have all that they asked for.
            Err(_) if self.http.is_idle() => self.take_in(Buffer::new()),
            Err(error) => return Err(error),
            Ok(None) => {
                self.phase = Phase::Draining;
                *self.http.last_input() = LastInput { until: now() + LAST_LOOK, left_bytes: LAST_BYTES };
                // What was sent before was sent to a client that has been waited for since.
                self.lingers = false;
                if planted::is("no_last_look") {
                    self.stop_after_input();
                }
            }
        }
        Ok(())
    }

    /// Takes in what has arrived when the server stops.
    pub(super) async fn drain(&mut self, watch: &mut Watch<'_>) -> Result<(), Error> {
        match self.phase {
            Phase::Serving | Phase::Leaving => {}
            Phase::Draining => {
                let LastInput { until, left_bytes } = *self.http.last_input();
                let read = poll_fn(|cx| match self.stream.poll_read(cx) {
                    Poll::Ready(bytes) => Poll::Ready(Some(bytes)),
                    Poll::Pending => watch.poll_until(cx, until).map(|()| None),
                });
                let Some(bytes) = read.await else {
                    self.stop_after_input();
                    return Ok(());
                };
                let bytes = bytes.map_err(|error| self.on_failure(error))?;
                let left_bytes = left_bytes.checked_sub(bytes.len());
                self.take_in(bytes);
                match left_bytes {
                    Some(left_bytes) => self.http.last_input().left_bytes = left_bytes,
                    None => self.stop_after_input(),
                }
            }
            // What is there of a next request is not all of it.
            Phase::Drained => self.http.abort(),
        }
        Ok(())
    }

    /// Takes in what has arrived, so that the last response can say that it is the last one.
    pub(super) fn drain_at_once(&mut self) {
        if matches!(self.phase, Phase::Drained) || now() < self.shared.stopped_at.get() + LAST_LOOK {
            return;
        }
        if planted::is("no_last_look") {
            return self.stop_after_input();
        }
        // Nobody else waits to read, and who will asks again.
        let mut cx = Context::from_waker(Waker::noop());
        while self.http.wants_input() {
            match self.stream.poll_read(&mut cx) {
                Poll::Ready(Ok(bytes)) => self.take_in(bytes),
                // It will be noticed when it matters.
                Poll::Ready(Err(_)) => return,
                Poll::Pending => return self.stop_after_input(),
            }
        }
    }

    fn stop_after_input(&mut self) {
        self.phase = Phase::Drained;
        self.http.stop();
    }
}
