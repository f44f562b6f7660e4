//! The request to stop, and those who wait for it.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::context;

/// Asks the runtime of the calling shard to stop; answers false outside of any.
///
/// The main function is told by [`stop_requested`]. When it returns, or [`Config::stop_timeout`] later, or at once if nobody
/// has asked to be told, all tasks of all shards are dropped and [`run`](crate::run) returns.
///
/// [`Config::stop_timeout`]: crate::Config::stop_timeout
pub fn request_stop() -> bool {
    context::try_with(|context| context.control().request_stop()).is_some()
}

/// Waits until the runtime of the calling shard is asked to stop, by [`request_stop`] or a signal.
///
/// May be called on any shard, by any number of tasks. Dropping the future ends the wait.
///
/// # Panics
/// Outside of a runtime's shard.
pub fn stop_requested() -> StopRequested {
    let stop = context::try_with(|context| Arc::clone(context.control().stop()));
    let stop = stop.expect("stop_requested is called by tasks of a running runtime");
    stop.is_listened_to.store(true, Ordering::Relaxed);
    StopRequested { stop, key: None }
}

/// The future of [`stop_requested`].
pub struct StopRequested {
    stop: Arc<Stop>,
    /// Under which the task's waker is kept, once it waits.
    key: Option<u64>,
}

/// The request of one runtime, shared by its shards.
#[derive(Default)]
pub(crate) struct Stop {
    requests: AtomicU32,
    is_listened_to: AtomicBool,
    waiters: Mutex<Waiters>,
}

#[derive(Default)]
struct Waiters {
    wakers: BTreeMap<u64, Waker>,
    next_key: u64,
}

impl Stop {
    /// Notes a request and wakes who waits for the first one.
    pub(crate) fn request(&self) {
        // Under the lock, so that nobody looks before and waits after.
        let wakers = {
            let mut waiters = self.waiters();
            self.requests.fetch_add(1, Ordering::Relaxed);
            std::mem::take(&mut waiters.wakers)
        };
        wakers.into_values().for_each(Waker::wake);
    }

    /// How often a stop was requested.
    pub(crate) fn requests(&self) -> u32 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Whether anybody has asked to be told.
    pub(crate) fn is_listened_to(&self) -> bool {
        self.is_listened_to.load(Ordering::Relaxed)
    }

    fn waiters(&self) -> MutexGuard<'_, Waiters> {
        self.waiters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Future for StopRequested {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let mut waiters = this.stop.waiters();
        if this.stop.requests() > 0 {
            return Poll::Ready(());
        }
        let key = *this.key.get_or_insert(waiters.next_key);
        waiters.next_key = waiters.next_key.max(key + 1);
        let old = waiters.wakers.insert(key, cx.waker().clone());
        drop(waiters);
        drop(old);
        Poll::Pending
    }
}

impl Drop for StopRequested {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            let waker = self.stop.waiters().wakers.remove(&key);
            drop(waker);
        }
    }
}

impl fmt::Debug for StopRequested {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StopRequested").field("requests", &self.stop.requests()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn waiting(stop: &Arc<Stop>) -> StopRequested {
        StopRequested { stop: Arc::clone(stop), key: None }
    }

    #[test]
    fn wakes_all_who_wait_once() {
        let stop = Arc::<Stop>::default();
        let count = Arc::new(Count::default());
        let waker = Waker::from(Arc::clone(&count));
        let mut cx = Context::from_waker(&waker);
        let (mut first, mut second) = (waiting(&stop), waiting(&stop));
        for _ in 0..3 {
            assert!(Pin::new(&mut first).poll(&mut cx).is_pending());
            assert!(Pin::new(&mut second).poll(&mut cx).is_pending());
        }
        stop.request();
        stop.request();
        assert_eq!(count.0.load(Ordering::Relaxed), 2);
        assert!(Pin::new(&mut first).poll(&mut cx).is_ready());
        assert!(Pin::new(&mut waiting(&stop)).poll(&mut cx).is_ready());
    }

    #[test]
    fn a_dropped_wait_leaves_nothing_behind() {
        let stop = Arc::<Stop>::default();
        let count = Arc::new(Count::default());
        let waker = Waker::from(Arc::clone(&count));
        let mut dropped = waiting(&stop);
        assert!(Pin::new(&mut dropped).poll(&mut Context::from_waker(&waker)).is_pending());
        drop(dropped);
        assert!(stop.waiters().wakers.is_empty());
        drop(waker);
        assert_eq!(Arc::strong_count(&count), 1);
    }

    #[test]
    fn outside_of_a_runtime_nobody_stops() {
        assert!(!request_stop());
    }
}
