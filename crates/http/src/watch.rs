//! What may end a connection's wait for its client: the time.

use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};

use sunstar_executor::Instant;
use sunstar_executor::timer::Sleep;

/// A connection's only timer.
///
/// The timer is moved when a wait needs it earlier, and when it rings, but not when a wait ends: one that rings too early is set to
/// what is waited for then. So a connection that is kept alive moves it once per idle time, not twice per request.
pub(crate) struct Watch<'a> {
    alarm: Pin<&'a mut Sleep>,
}

impl<'a> Watch<'a> {
    pub(crate) fn new(alarm: Pin<&'a mut Sleep>) -> Self {
        Self { alarm }
    }

    /// The same, for somebody else to use meanwhile.
    pub(crate) fn lend(&mut self) -> Watch<'_> {
        Watch { alarm: self.alarm.as_mut() }
    }

    /// Ready when the time has come. Until then the task is woken then, and perhaps before.
    pub(crate) fn poll_until(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        if deadline == Instant::FAR_FUTURE {
            return Poll::Pending;
        }
        if self.alarm.deadline() > deadline && !planted::is("alarm_not_moved") {
            self.alarm.as_mut().reset(deadline);
        }
        if self.alarm.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        if self.alarm.deadline() < deadline && !planted::is("alarm_too_early") {
            // It was set for an earlier wait.
            self.alarm.as_mut().reset(deadline);
            return self.alarm.as_mut().poll(cx);
        }
        Poll::Ready(())
    }
}
