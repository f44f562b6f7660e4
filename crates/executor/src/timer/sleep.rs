//! Waiting for an instant.

use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;

use super::timers::{Action, Timers};
use super::wheel::Node;
use crate::current;
use crate::time::Instant;

/// Waits for `duration`, counted from the call.
///
/// # Panics
/// Outside of any shard.
#[track_caller]
pub fn sleep(duration: Duration) -> Sleep {
    sleep_until(super::now() + duration)
}

/// Waits until the shard's clock shows `deadline` or later.
pub fn sleep_until(deadline: Instant) -> Sleep {
    Sleep { node: Node::new(deadline.as_nanos()) }
}

/// A future that is ready once its deadline has passed; made by [`sleep`] and [`sleep_until`].
///
/// It is armed by its first poll, in the shard that is current then. If the deadline has passed at the start of
/// the round, that poll is ready at once. Once ready it stays ready until [`Sleep::reset`]. Dropping it
/// cancels it.
#[must_use = "a future does nothing unless it is awaited"]
pub struct Sleep {
    node: Node<Action>,
}

impl Sleep {
    /// The instant that it waits for.
    pub fn deadline(&self) -> Instant {
        Instant::from_nanos(self.node.deadline())
    }

    /// Whether it has been ready, that is fired, since the last [`Sleep::reset`].
    pub fn is_elapsed(&self) -> bool {
        self.node.has_fired()
    }

    /// Waits for `deadline` instead, also if it is ready already. If it was waiting, the task that polled it last is
    /// woken at the new deadline; if it was ready, it has to be polled again.
    pub fn reset(self: Pin<&mut Self>, deadline: Instant) {
        self.as_ref().node().reset(deadline.as_nanos());
    }

    /// Polls it as a timer of `timers` instead of the current shard's.
    pub(super) fn poll_in(self: Pin<&Self>, timers: &Timers, cx: &Context<'_>) -> Poll<()> {
        let deadline = self.deadline();
        if deadline <= timers.now() {
            self.node.settle();
            return Poll::Ready(());
        }
        timers.arm(self.node(), deadline, Action::Wake(cx.waker().clone()));
        Poll::Pending
    }

    /// What a poll answers without arming anything; `None` if it has to be armed.
    pub(super) fn poll_armed(&self, cx: &Context<'_>) -> Option<Poll<()>> {
        if self.node.has_fired() {
            return Some(Poll::Ready(()));
        }
        if !self.node.is_armed() {
            return None;
        }
        self.node.update(|action| match action {
            Action::Wake(waker) => waker.clone_from(cx.waker()),
            Action::Call(_) => *action = Action::Wake(cx.waker().clone()),
        });
        Some(Poll::Pending)
    }

    fn node(self: Pin<&Self>) -> Pin<&Node<Action>> {
        // SAFETY: the node is pinned whenever its `Sleep` is: nothing here moves it out of a pinned `Sleep`.
        unsafe { self.map_unchecked(|sleep| &sleep.node) }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let sleep = self.as_ref();
        sleep.poll_armed(cx).unwrap_or_else(|| current::with(|shard| sleep.poll_in(&shard.timers, cx)))
    }
}

impl core::fmt::Debug for Sleep {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Sleep").field("deadline", &self.deadline()).field("elapsed", &self.is_elapsed()).finish()
    }
}
