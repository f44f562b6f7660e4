//! Local concurrency: what tasks of one shard wait on.
//!
//! Everything here belongs to one shard: it is `!Send`, uses no atomics, and needs nothing of an executor but
//! the [`Waker`](core::task::Waker). Waiting allocates nothing, because a waiter is linked into the list of what it
//! waits for while it lives in the pinned future itself.
//!
//! **Order.** Waiters are served first in, first out. A waiter takes its place when its future is first polled,
//! and nobody overtakes it, so a large request is not starved by small ones, nor a writer by readers.
//!
//! **Cancellation.** Any future may be dropped at any point. What was already granted to a waiter that went away
//! before looking at it (permits, a lock, an item, a notification) passes to the next one.
//!
//! **Waiting with a limit.** [`with_deadline`](crate::combine::with_deadline) and [`with_abort`] put a timer or an
//! [`AbortSource`] on any of these futures; they do it by dropping it.

pub mod abort_source;
pub mod condvar;
pub mod gate;
pub mod pipe;
pub mod promise;
pub mod queue;
pub mod rw_lock;
pub mod semaphore;
pub mod shared_future;
pub(crate) mod wait_list;

#[cfg(all(test, not(loom)))]
mod random;
#[cfg(all(test, not(loom)))]
pub(crate) mod test_executor;
#[cfg(all(test, not(loom)))]
mod tests;

pub use abort_source::{AbortSource, Aborted, with_abort};
pub use condvar::{Condvar, CondvarBroken};
pub use gate::{Gate, GateClosed, GateHolder};
pub use pipe::{BrokenPipe, PipeReader, PipeWriter, pipe};
pub use promise::{BrokenPromise, Promise, Promised, promise};
pub use queue::{Queue, QueueClosed, Rejected, TryPopError, TryPushError};
pub use rw_lock::{OwnedReadGuard, OwnedWriteGuard, ReadGuard, RwLock, WriteGuard};
pub use semaphore::{AcquireError, OwnedPermit, Permit, Semaphore, SemaphoreClosed};
pub use shared_future::SharedFuture;
