//! One-way messages.

use core::fmt;
use core::future::Future;

use super::lane::{Refused, Stopped};
use super::sending::Sending;
use super::shard_id::ShardId;
use super::slot::Label;
use crate::current;
use crate::shard::Shard;

/// Why a closure was not posted; it comes back.
#[derive(PartialEq, Eq)]
pub enum TryPostError<F> {
    /// There is no room, or others wait for it.
    Full(F),
    /// The shard has stopped.
    Stopped(F),
}

impl<F> TryPostError<F> {
    /// The closure that was not posted.
    pub fn into_inner(self) -> F {
        match self {
            Self::Full(f) | Self::Stopped(f) => f,
        }
    }

    /// Whether there may be room later.
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Full(_))
    }
}

impl<F> fmt::Debug for TryPostError<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_full() { "Full(..)" } else { "Stopped(..)" })
    }
}

impl<F> fmt::Display for TryPostError<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_full() { f.write_str("there is no room for a message") } else { Stopped.fmt(f) }
    }
}

impl<F> core::error::Error for TryPostError<F> {}

/// A request of the group that runs now.
#[inline]
pub(super) fn request_label(shard: &Shard) -> Label {
    Label::request(shard.groups.running_group())
}

/// Has `f` run on a shard, if there is room for the message and nobody waits for it.
///
/// `f` runs in a later turn of the caller's scheduling group there, also if the shard is this one. Messages to one
/// shard under one group run in the order in which they were posted. A panic of `f` is logged and counted there.
///
/// # Errors
/// The closure comes back if there is no room or the shard has stopped. A closure that was taken can still be
/// dropped without being run, if the shard stops first.
///
/// # Panics
/// Outside of any shard, and if there is no such shard.
#[inline(always)]
#[track_caller]
pub fn try_post<F>(shard: ShardId, f: F) -> Result<(), TryPostError<F>>
where
    F: FnOnce() + Send + 'static,
{
    current::with(|here| {
        here.exchange.lane(shard).try_send(here, request_label(here), f).map_err(|refused| match refused {
            Refused::Full(f) => TryPostError::Full(f),
            Refused::Stopped(f) => TryPostError::Stopped(f),
        })
    })
}

/// Has `f` run on a shard; waits for room for the message. Otherwise as [`try_post`].
///
/// The future is ready when the message is on its way. Dropping it before drops `f`. Nothing happens before it is
/// first polled; from then on the message keeps its place among those that wait and is sent in its turn, whether the
/// future is polled again or not.
///
/// # Errors
/// [`Stopped`] if the shard has stopped.
///
/// # Panics
/// Outside of any shard, and if there is no such shard. When the future is polled on another shard than the one
/// where it was made, which can happen where several executors live on one thread.
#[inline(always)]
#[track_caller]
pub fn post<F>(shard: ShardId, f: F) -> impl Future<Output = Result<(), Stopped>>
where
    F: FnOnce() + Send + 'static,
{
    current::with(|here| Sending::new(here, shard, request_label(here), f))
}
