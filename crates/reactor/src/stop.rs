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
/// has been told or waits for it, all tasks of all shards are dropped and [`run`](crate::run) returns. Requesting it again
/// changes nothing; signals do ([`Config::stop_on_signals`]).
///
/// [`Config::stop_timeout`]: crate::Config::stop_timeout
/// [`Config::stop_on_signals`]: crate::Config::stop_on_signals
pub fn request_stop() -> bool {
    context::try_with(|context| context.control().request_stop()).is_some()
}

/// Waits until the runtime of the calling shard is asked to stop, by [`request_stop`] or a signal.
///
/// May be called on any shard, by any number of tasks. The wait begins with this call, not with the first poll: a main function
/// that makes the future before it takes work is given time from then on. Dropping the future ends it: if nobody waits any more
/// when the stop is requested, and nobody has been told, the main function is given no time.
///
/// # Panics
/// Outside of a runtime's shard.
pub fn stop_requested() -> StopRequested {
    let stop = context::try_with(|context| Arc::clone(context.control().stop()));
    StopRequested::new(stop.expect("stop_requested is called by tasks of a running runtime"))
}

/// The future of [`stop_requested`].
pub struct StopRequested {
    stop: Arc<Stop>,
    /// Under which the task's waker is kept.
    key: u64,
}

/// The request of one runtime, shared by its shards.
#[derive(Default)]
pub(crate) struct Stop {
    requested: AtomicBool,
    /// How many signals have requested it.
    signals: AtomicU32,
    waiters: Mutex<Waiters>,
}

#[derive(Default)]
struct Waiters {
    /// Those who wait; there is no waker before the first poll, and none once it was woken.
    wakers: BTreeMap<u64, Option<Waker>>,
    /// Whether somebody has been told.
    told: bool,
    next_key: u64,
}

impl Stop {
    /// Notes a request and wakes who waits for it.
    pub(crate) fn request(&self) {
        // Under the lock, so that nobody looks before and waits after.
        let wakers = {
            let mut waiters = self.waiters();
            self.requested.store(true, Ordering::Relaxed);
            waiters.wakers.values_mut().filter_map(Option::take).collect::<Vec<_>>()
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Notes that a signal has requested it.
    pub(crate) fn note_signal(&self) {
        self.signals.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether a stop was requested.
    pub(crate) fn is_requested(&self) -> bool {
        self.requested.load(Ordering::Relaxed)
    }

    /// How many signals have requested it.
    pub(crate) fn signals(&self) -> u32 {
        self.signals.load(Ordering::Relaxed)
    }

    /// Whether anybody waits for the request or has been told of it.
    pub(crate) fn is_listened_to(&self) -> bool {
        let waiters = self.waiters();
        waiters.told || !waiters.wakers.is_empty()
    }

    fn waiters(&self) -> MutexGuard<'_, Waiters> {
        self.waiters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StopRequested {
    fn new(stop: Arc<Stop>) -> Self {
        let mut waiters = stop.waiters();
        let key = waiters.next_key;
        waiters.next_key += 1;
        waiters.wakers.insert(key, None);
        drop(waiters);
        Self { stop, key }
    }
}

impl Future for StopRequested {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut waiters = self.stop.waiters();
        if self.stop.is_requested() {
            waiters.told = true;
            return Poll::Ready(());
        }
        let old = waiters.wakers.insert(self.key, Some(cx.waker().clone()));
        drop(waiters);
        drop(old);
        Poll::Pending
    }
}

impl Drop for StopRequested {
    fn drop(&mut self) {
        let waker = self.stop.waiters().wakers.remove(&self.key);
        drop(waker);
    }
}

impl fmt::Debug for StopRequested {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StopRequested").field("requested", &self.stop.is_requested()).finish_non_exhaustive()
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
        StopRequested::new(Arc::clone(stop))
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
    fn who_waits_or_has_been_told_listens() {
        let stop = Arc::<Stop>::default();
        let mut cx = Context::from_waker(Waker::noop());
        assert!(!stop.is_listened_to());
        let mut first = waiting(&stop);
        assert!(stop.is_listened_to(), "not only once it was polled");
        assert!(Pin::new(&mut first).poll(&mut cx).is_pending());
        drop(first);
        assert!(!stop.is_listened_to(), "nobody waits any more");
        let mut second = waiting(&stop);
        assert!(Pin::new(&mut second).poll(&mut cx).is_pending());
        stop.request();
        assert!(stop.is_listened_to(), "woken, but not told yet");
        assert!(Pin::new(&mut second).poll(&mut cx).is_ready());
        drop(second);
        assert!(stop.is_listened_to(), "told");
    }

    #[test]
    fn requests_are_no_signals() {
        let stop = Stop::default();
        stop.request();
        stop.request();
        assert_eq!((stop.is_requested(), stop.signals()), (true, 0));
        stop.note_signal();
        assert_eq!(stop.signals(), 1);
    }

    #[test]
    fn outside_of_a_runtime_nobody_stops() {
        assert!(!request_stop());
    }
}
