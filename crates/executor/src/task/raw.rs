//! A task with its future: how it is polled, and what becomes of its output.

use alloc::alloc::Layout;
use alloc::boxed::Box;
use core::cell::UnsafeCell;
use core::future::Future;
use core::mem::ManuallyDrop;
use core::pin::Pin;
use core::ptr::NonNull;
use core::task::{Context, Poll, RawWaker, RawWakerVTable, Waker};

use super::header::{self, ABORTED, DETACHED, Header, RUNNING, SCHEDULED, TaskName, VTable};
use super::join::JoinError;
use crate::current;
use crate::panic::{Panic, catch};
use crate::shard::Shard;

/// Turns an output that nobody took into the text of an error, if it is one.
pub(super) type Describe<T> = fn(&T) -> Option<Box<str>>;

/// What a join handle knows of a task: the beginning of a [`Task`] whose output has this type.
#[repr(C)]
pub(super) struct Joined<T> {
    header: Header,
    describe: Describe<T>,
    /// Set when the future is gone, unless nobody waits for it.
    output: UnsafeCell<Option<Result<T, JoinError>>>,
}

#[repr(C)]
struct Task<F: Future> {
    joined: Joined<F::Output>,
    /// Dropped in place when the task completes.
    future: UnsafeCell<ManuallyDrop<F>>,
}

pub(super) static WAKER: RawWakerVTable = RawWakerVTable::new(
    |task| {
        header::clone_ref(task_of(task));
        RawWaker::new(task, &WAKER)
    },
    |task| header::wake(task_of(task)),
    |task| header::wake_by_ref(task_of(task)),
    |task| header::drop_ref(task_of(task)),
);

fn task_of(waker: *const ()) -> NonNull<Header> {
    NonNull::new(waker.cast_mut().cast()).expect("wakers are made from task addresses only")
}

/// Makes a task of `future` on `shard`; it is linked and in no run queue yet.
#[inline]
pub(super) fn create<F: Future>(
    shard: &Shard,
    future: F,
    group: u8,
    name: TaskName,
    describe: Describe<F::Output>,
) -> NonNull<Header> {
    let memory = shard.recycler.allocate(Layout::new::<Task<F>>()).cast::<Task<F>>();
    let task = Task {
        joined: Joined {
            header: Header::new(shard.home_address(), Vtables::<F>::VTABLE, group, name),
            describe,
            output: UnsafeCell::new(None),
        },
        future: UnsafeCell::new(ManuallyDrop::new(future)),
    };
    // SAFETY: fresh memory of the right layout.
    unsafe { memory.write(task) };
    shard.home.add_resident();
    let task = memory.cast();
    shard.tasks.link(task);
    task
}

struct Vtables<F>(F);

impl<F: Future> Vtables<F> {
    const VTABLE: &'static VTable = &VTable { poll: poll::<F>, layout: Layout::new::<Task<F>>() };
}

unsafe fn poll<F: Future>(task: NonNull<Header>) -> bool {
    // SAFETY: the caller passes a living task of this future; the future's place is nobody else's while it is polled.
    let (header, future) = unsafe { (task.as_ref(), &mut *(*task.cast::<Task<F>>().as_ptr()).future.get()) };
    let mut future_is_whole = true;
    if !header.has(ABORTED) {
        // The waker borrows the executor's handle: no count, and no drop.
        // SAFETY: the vtable treats the pointer as the task that it is.
        let waker = ManuallyDrop::new(unsafe { Waker::from_raw(RawWaker::new(task.as_ptr().cast(), &WAKER)) });
        let polled = catch(|| {
            // SAFETY: the future stays in its place until it is dropped there.
            match unsafe { Pin::new_unchecked(&mut **future) }.poll(&mut Context::from_waker(&waker)) {
                Poll::Pending => false,
                Poll::Ready(output) => {
                    future_is_whole = false;
                    // SAFETY: it is neither polled nor dropped again: the task completes.
                    unsafe { ManuallyDrop::drop(future) };
                    // SAFETY: the task's output has this type.
                    unsafe { put_output(task, Ok(output)) };
                    true
                }
            }
        });
        match polled {
            Ok(true) => return true,
            Ok(false) if header.has(ABORTED) => {}
            Ok(false) => return false,
            Err(panic) => {
                let error = panicked(task, panic);
                // SAFETY: the future is dropped if that has not begun yet; a drop that panicked counts as done.
                unsafe { finish::<F>(task, future_is_whole.then_some(future), error) };
                return true;
            }
        }
    }
    // SAFETY: as above.
    unsafe { finish::<F>(task, Some(future), JoinError::Aborted) };
    true
}

/// Ends a task without an output: drops the future, if it is still whole.
///
/// # Safety
/// The future is not used again, and the task's output has the future's type.
#[cold]
unsafe fn finish<F: Future>(task: NonNull<Header>, future: Option<&mut ManuallyDrop<F>>, error: JoinError) {
    let dropped = catch(|| {
        if let Some(future) = future {
            // SAFETY: as the caller vouches.
            unsafe { ManuallyDrop::drop(future) };
        }
    });
    let error = match dropped {
        Ok(()) => error,
        Err(panic) => panicked(task, panic),
    };
    // SAFETY: as the caller vouches.
    unsafe { put_output::<F::Output>(task, Err(error)) };
}

/// Leaves the output for the join handle, or drops it if there is none any more.
///
/// # Safety
/// Called at home, for a task with this output, which is there at most once.
unsafe fn put_output<T>(task: NonNull<Header>, output: Result<T, JoinError>) {
    // SAFETY: as the caller vouches. The join handle looks at the output only once the task is complete.
    let joined = unsafe { task.cast::<Joined<T>>().as_ref() };
    if joined.header.has(DETACHED) {
        drop_output(joined, output);
    } else {
        // SAFETY: as above.
        unsafe { *joined.output.get() = Some(output) };
    }
}

/// Drops an output that nobody takes; reports it if it is an error.
fn drop_output<T>(joined: &Joined<T>, output: Result<T, JoinError>) {
    if let Ok(output) = &output
        && let Some(error) = (joined.describe)(output)
    {
        header::report_abandoned(error, joined.header.name);
    }
}

/// Takes the output, if it was not taken before.
///
/// # Safety
/// Called on the task's thread by its only join handle, once the task is complete; the output has this type.
pub(super) unsafe fn take_output<T>(task: NonNull<Header>) -> Option<Result<T, JoinError>> {
    // SAFETY: as the caller vouches; nobody else touches the output of a complete task.
    unsafe { (*task.cast::<Joined<T>>().as_ref().output.get()).take() }
}

/// Drops the output, if it was not taken, because the join handle goes; reports it if it is an error.
///
/// # Safety
/// As for [`take_output`].
pub(super) unsafe fn discard_output<T>(task: NonNull<Header>) {
    // SAFETY: as the caller vouches.
    if let Some(output) = unsafe { take_output::<T>(task) } {
        // SAFETY: the caller's handle keeps the task.
        drop_output(unsafe { task.cast::<Joined<T>>().as_ref() }, output);
    }
}

#[cold]
fn panicked(task: NonNull<Header>, panic: Panic) -> JoinError {
    current::with(|shard| header::report_panic(task, Some(shard), &panic));
    JoinError::Panicked(panic)
}

/// Polls a scheduled task once and ends it if it has completed. Called at home.
///
/// # Safety
/// The task came from a run queue, or was just created, and the executor's handle on it is held.
#[inline]
pub(crate) unsafe fn run(task: NonNull<Header>, shard: &Shard) {
    // SAFETY: the executor's handle keeps the task.
    let header = unsafe { task.as_ref() };
    header.clear(SCHEDULED);
    if header.has(header::COMPLETE) {
        header::drop_ref(task);
        return;
    }
    assert!(!header.has(RUNNING), "a task is polled within itself");
    header.set(RUNNING);
    let outer = shard.progress.begin(task.cast());
    // SAFETY: not complete, so the future is there; nobody else polls it.
    let completed = unsafe { (header.vtable.poll)(task) };
    shard.progress.end(outer);
    header.clear(RUNNING);
    if completed {
        header::complete(task, shard);
    }
}

/// How deep tasks may run within the waits of others: what the stack bears.
const MAX_NESTED_RUNS: u32 = 8;

/// Runs a task inside the wait for it, if it would be the next of the running group anyhow, and answers whether it has
/// completed. That spares its waker a way through the run queue.
#[inline]
pub(super) fn run_if_next(task: NonNull<Header>) -> bool {
    current::try_with(|shard| {
        let nested = shard.nested_runs.get();
        if nested >= MAX_NESTED_RUNS || !shard.progress.is_running() || shard.is_turn_over() {
            return false;
        }
        // A task that is woken while it runs is queued too; it must not run within itself.
        // SAFETY: the caller's handle keeps the task.
        if unsafe { task.as_ref() }.has(RUNNING) || !shard.groups.take_if_next(task) {
            return false;
        }
        shard.nested_runs.set(nested + 1);
        // SAFETY: the task came from a run queue of this shard.
        unsafe { run(task, shard) };
        shard.nested_runs.set(nested);
        // SAFETY: the caller's handle keeps the task.
        unsafe { task.as_ref() }.has(header::COMPLETE)
    })
    .unwrap_or(false)
}

/// Drops the future of a living task that is not running. Called at home.
///
/// # Safety
/// The task is on its shard's list of living tasks.
pub(crate) unsafe fn stop(task: NonNull<Header>, shard: &Shard) {
    header::clone_ref(task);
    abort(task, shard);
    header::drop_ref(task);
}

/// Drops the future of a task that is not running and ends the task as aborted. Called at home.
pub(super) fn abort(task: NonNull<Header>, shard: &Shard) {
    // SAFETY: the caller holds a handle.
    let header = unsafe { task.as_ref() };
    header.set(ABORTED);
    if header.has(RUNNING | header::COMPLETE) {
        return;
    }
    header.set(RUNNING);
    let outer = shard.progress.begin(task.cast());
    // SAFETY: neither running nor complete; with the flag, `poll` drops the future.
    let completed = unsafe { (header.vtable.poll)(task) };
    shard.progress.end(outer);
    header.clear(RUNNING);
    debug_assert!(completed, "an aborted task completes");
    header::complete(task, shard);
}
