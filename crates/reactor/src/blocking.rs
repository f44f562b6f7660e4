//! System calls that block, on a thread beside the shard.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};

use sunstar_executor::current::shard_id;
use sunstar_executor::sync::{OwnedPermit, Promise, Semaphore, promise};
use sunstar_packet::Doorbell;
use thiserror::Error;

use crate::bell::EventBell;
use crate::context;
use crate::platform::{LinuxPlatform, Source};

#[cfg(test)]
mod tests;

/// Calls that a shard's helper thread has, the one that it runs included. Further ones wait in their futures.
pub const MAX_BLOCKING_CALLS: usize = 128;

/// Why a call has no result.
#[derive(Debug, Error)]
pub enum BlockingError {
    /// It panicked, with this message.
    #[error("the call panicked: {0}")]
    Panicked(String),
    /// The helper thread could not be started.
    #[error("cannot start the helper thread: {0}")]
    NoThread(#[source] io::Error),
    /// The shard ends.
    #[error("the shard ends")]
    Stopped,
}

/// What a shard's helper thread has been given.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct BlockingStats {
    /// Calls that it was given.
    pub calls: u64,
    /// Those of them that it has and whose results did not come back yet; at most [`MAX_BLOCKING_CALLS`].
    pub under_way: usize,
    /// How often a caller found as many calls there as may be, and had to wait.
    pub waits: u64,
    /// Calls that panicked.
    pub panicked: u64,
}

/// What the calling shard's helper thread has been given; nothing if there is none yet.
///
/// # Panics
/// If the calling thread is no shard's.
pub fn blocking_stats() -> BlockingStats {
    let helper = context::try_with(|context| context.started_helper()).expect("called on a shard of a runtime");
    helper.map(|helper| helper.stats()).unwrap_or_default()
}

/// Runs `f`, which may block, on the shard's helper thread, and answers its result.
///
/// The thread is started when it is first needed. It runs one call after the other, in the order in which they were given to
/// it, so `f` should not wait for another call. When it has [`MAX_BLOCKING_CALLS`], further callers wait. Dropping the future
/// before `f` was given to the thread drops `f`; afterwards `f` runs, and its result is dropped.
///
/// A call that still blocks when the shard ends is not waited for, and its result is dropped on the helper thread.
///
/// # Errors
/// If `f` panics, the thread can't be started, or the shard ends.
///
/// # Panics
/// If the calling thread is no shard's.
///
/// # Example
/// ```
/// use sunstar_reactor::{Config, blocking, run};
///
/// let config = Config { smp: Some(1), ..Config::default() };
/// let read = run(config, || async { blocking(|| std::fs::read("/proc/self/comm")).await })?;
/// assert!(!read.expect("it does not panic").expect("it can be read").is_empty());
/// # Ok::<(), sunstar_reactor::RunError>(())
/// ```
pub async fn blocking<F, R>(f: F) -> Result<R, BlockingError>
where
    F: FnOnce() -> R + Send + 'static,
    R: Send + 'static,
{
    let helper = context::try_with(|context| context.helper()).expect("called on a shard of a runtime");
    let helper = helper.map_err(BlockingError::NoThread)?;
    helper.waits.set(helper.waits.get() + u64::from(helper.room.available_units() == 0));
    let permit = Rc::clone(&helper.room).acquire_owned(1).await.map_err(|_| BlockingError::Stopped)?;
    let call = move || catch_unwind(AssertUnwindSafe(|| Box::new(f()) as Box<dyn Any + Send>));
    let (promise, promised) = promise();
    helper.give(Box::new(call), promise, permit)?;
    match promised.await.map_err(|_| BlockingError::Stopped)? {
        Ok(result) => Ok(*result.downcast().expect("the result is that of the call")),
        Err(panic) => Err(BlockingError::Panicked(message(&*panic))),
    }
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("(no message)").to_owned()
}

type Outcome = thread::Result<Box<dyn Any + Send>>;
type Call = Box<dyn FnOnce() -> Outcome + Send>;

/// A shard's helper thread, as the shard knows it.
pub(crate) struct Helper {
    /// Nothing when the shard ends.
    calls: Option<Sender<Call>>,
    thread: Option<JoinHandle<()>>,
    outcomes: Receiver<Outcome>,
    arrival: Arc<Arrival>,
    /// Who waits for the outcomes, in the order of the calls. A permit is free again when its outcome is there.
    waiting: RefCell<VecDeque<(Promise<Outcome>, OwnedPermit)>>,
    room: Rc<Semaphore>,
    given: Cell<u64>,
    waits: Cell<u64>,
    panicked: Cell<u64>,
}

/// Tells the shard that there are outcomes.
struct Arrival {
    is_pending: AtomicBool,
    bell: EventBell,
}

impl Helper {
    /// Starts a helper thread, whose outcomes `platform` takes in.
    pub(crate) fn start(platform: &LinuxPlatform) -> io::Result<Rc<Self>> {
        let arrival = Arc::new(Arrival { is_pending: AtomicBool::new(false), bell: EventBell::new()? });
        let (calls, thread_calls) = channel();
        let (thread_outcomes, outcomes) = channel();
        let thread_arrival = Arc::clone(&arrival);
        let builder = thread::Builder::new().name(format!("helper-{}", shard_id()));
        let thread = builder.spawn(move || help(&thread_calls, &thread_outcomes, &thread_arrival))?;
        let room = Rc::new(Semaphore::new(MAX_BLOCKING_CALLS));
        let (calls, thread) = (Some(calls), Some(thread));
        let helper = Rc::new(Self {
            calls,
            thread,
            outcomes,
            arrival,
            waiting: RefCell::default(),
            room,
            given: Cell::new(0),
            waits: Cell::new(0),
            panicked: Cell::new(0),
        });
        platform.add_source(helper.arrival.bell.as_fd(), Rc::clone(&helper) as Rc<dyn Source>)?;
        Ok(helper)
    }

    fn give(&self, call: Call, promise: Promise<Outcome>, permit: OwnedPermit) -> Result<(), BlockingError> {
        self.calls.as_ref().and_then(|calls| calls.send(call).ok()).ok_or(BlockingError::Stopped)?;
        self.waiting.borrow_mut().push_back((promise, permit));
        self.given.set(self.given.get() + 1);
        Ok(())
    }

    fn stats(&self) -> BlockingStats {
        BlockingStats {
            calls: self.given.get(),
            under_way: self.waiting.borrow().len(),
            waits: self.waits.get(),
            panicked: self.panicked.get(),
        }
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        self.calls = None;
        // A thread with nothing to do ends at once. One that has a call may block for ever.
        if self.waiting.get_mut().is_empty()
            && let Some(thread) = self.thread.take()
        {
            let _ = thread.join();
        }
    }
}

/// The helper thread: runs calls until nobody can send any.
fn help(calls: &Receiver<Call>, outcomes: &Sender<Outcome>, arrival: &Arrival) {
    for call in calls {
        if outcomes.send(call()).is_err() {
            return;
        }
        // The flag is set after the outcome was sent, so who has seen it finds the outcome.
        if !arrival.is_pending.swap(true, Ordering::Release) {
            arrival.bell.ring();
        }
    }
}

impl Source for Helper {
    #[inline]
    fn is_pending(&self) -> bool {
        self.arrival.is_pending.load(Ordering::Relaxed)
    }

    fn handle(&self) {
        self.arrival.is_pending.swap(false, Ordering::Acquire);
        while let Ok(outcome) = self.outcomes.try_recv() {
            let first = self.waiting.borrow_mut().pop_front();
            let (promise, permit) = first.expect("each outcome has a call");
            drop(permit);
            self.panicked.set(self.panicked.get() + u64::from(outcome.is_err()));
            // A result that nobody waits for any more comes back, and is dropped here. That it panics then is its owner's
            // mistake, which shall not end the shard.
            let unwanted = promise.resolve(outcome);
            let dropped = catch_unwind(AssertUnwindSafe(|| drop(unwanted)));
            if dropped.is_err() {
                log::error!("the result of a blocking call panicked when it was dropped");
            }
        }
    }
}

impl fmt::Debug for Helper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Helper").field("calls", &self.waiting.borrow().len()).finish_non_exhaustive()
    }
}
