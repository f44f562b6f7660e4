//! Clients that take too long, and streams that fail.

use core::task::{Context, Poll, ready};

use sunstar_executor::Instant;
use sunstar_http1::{Awaits, Status};

use super::{Connection, Overdue};
use crate::error::Error;
use crate::server::{GRACE, add_one};
use crate::waits::Wait;
use crate::watch::Watch;

impl Connection {
    /// Whether the client has taken too long, or the server has waited long enough after a stop.
    pub(super) fn poll_overdue(
        &mut self,
        cx: &mut Context<'_>,
        watch: &mut Watch<'_>,
        wait: &mut Wait,
    ) -> Poll<Overdue> {
        let shared = &*self.shared;
        let stop = if shared.stop.abort_requested() {
            if planted::is("grace_unbounded") { Instant::FAR_FUTURE } else { shared.stopped_at.get() + GRACE }
        } else {
            shared.ears.listen(&mut self.ear, cx);
            if wait.is_idle {
                if shared.ears.is_to_leave() {
                    return Poll::Ready(Overdue::Place);
                }
                shared.ears.rest(&self.ear);
            }
            Instant::FAR_FUTURE
        };
        loop {
            let end = wait.input.min(wait.output).min(stop);
            ready!(watch.poll_until(cx, end.min(wait.look)));
            let is_over = end <= wait.look;
            if is_over && end == stop {
                return Poll::Ready(Overdue::Stop);
            }
            let unacknowledged_bytes = if is_over && !wait.is_idle { 0 } else { self.stream.unacknowledged_bytes() };
            if is_over && unacknowledged_bytes == 0 {
                return Poll::Ready(if end == wait.input { Overdue::Input } else { Overdue::Output });
            }
            if !self.waits.look(wait, self.sent_bytes, unacknowledged_bytes, &shared.patience) {
                return Poll::Ready(Overdue::Output);
            }
        }
    }

    /// The stream has failed.
    pub(super) fn on_failure(&mut self, error: sunstar_net::Error) -> Error {
        self.is_broken = true;
        Error::Net(error)
    }

    /// Ends what is waited for no longer.
    pub(super) fn on_overdue(&mut self, overdue: Overdue) -> Error {
        match overdue {
            Overdue::Input => {
                self.give_up_input(Awaits::Body);
                Error::TimedOut
            }
            Overdue::Place => unreachable!("only idle connections are asked for their places"),
            Overdue::Output => {
                self.is_broken = true;
                if !planted::is("output_timeout_uncounted") {
                    add_one(&self.shared.output_timeouts);
                }
                // What waits to be sent holds memory, and more of it in the network.
                if !planted::is("slow_reader_not_reset") {
                    self.stream.abort();
                }
                self.http.abort();
                Error::TimedOut
            }
            Overdue::Stop => {
                if self.http.in_flight() > 0 {
                    self.give_up();
                }
                self.on_failure(sunstar_net::Error::Stopped)
            }
        }
    }

    /// Waits no longer for the rest of what the client is sending.
    pub(super) fn give_up_input(&mut self, awaits: Awaits) {
        let shared = &*self.shared;
        add_one(match awaits {
            Awaits::Body if !planted::is("body_timeout_miscounted") => &shared.body_timeouts,
            Awaits::Request if planted::is("idle_timeout_miscounted") => &shared.head_timeouts,
            Awaits::Request if !self.waits.is_new() => &shared.idle_timeouts,
            _ => &shared.head_timeouts,
        });
        self.has_timed_out = true;
        self.http.give_up_input();
        match awaits {
            // Nobody has asked anything.
            Awaits::Request | Awaits::Nothing => {
                self.lingers = false;
                self.http.abort();
            }
            // Nobody waits if the request was answered already.
            Awaits::Head | Awaits::Body => {
                if !planted::is("overdue_unanswered")
                    && let Ok(response) = self.respond(Status::REQUEST_TIMEOUT)
                {
                    response.send("");
                }
            }
        }
    }
}
