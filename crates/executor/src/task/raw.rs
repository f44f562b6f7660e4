//! A task with its future: how it is made, polled and ended.

use alloc::alloc::Layout;
use core::cell::UnsafeCell;
use core::future::Future;
use core::mem::ManuallyDrop;
use core::pin::Pin;
use core::ptr::NonNull;
use core::task::{Context, Poll, RawWaker, RawWakerVTable, Waker};

use super::header::{self, ABORTED, COMPLETE, Header, RUNNING, SCHEDULED, TaskName, VTable};
use super::join::JoinError;
use super::output::{Describe, Joined, put_error, put_output, report};
use super::recycler::BlockKind;
use crate::current;
use crate::panic::{Panic, catch};
use crate::shard::Shard;

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

/// Makes a task of `future` on `shard`, in this state; it is linked and in no run queue yet.
#[inline]
pub(super) fn create<F: Future, D: Describe<F::Output>>(
    shard: &Shard,
    future: F,
    state: u32,
    group: u8,
    name: TaskName,
) -> NonNull<Header> {
    let memory = shard.recycler.allocate(Layout::new::<Task<F>>()).cast::<Task<F>>();
    let task = Task {
        joined: Joined::new(Header::new(shard.home_address(), Vtables::<F, D>::VTABLE, state, group, name)),
        future: UnsafeCell::new(ManuallyDrop::new(future)),
    };
    // SAFETY: fresh memory of the right layout.
    unsafe { memory.write(task) };
    shard.home.add_resident();
    let task = memory.cast();
    shard.tasks.link(task);
    task
}

struct Vtables<F, D>(F, D);

impl<F: Future, D: Describe<F::Output>> Vtables<F, D> {
    const VTABLE: &'static VTable =
        &VTable { poll: poll::<F>, report: report::<F::Output, D>, memory: BlockKind::of(Layout::new::<Task<F>>()) };
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
                    unsafe { put_output(task, output) };
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
    unsafe { put_error::<F::Output>(task, error) };
}

#[cold]
fn panicked(task: NonNull<Header>, panic: Panic) -> JoinError {
    current::with(|shard| header::report_panic(task, Some(shard), &panic));
    JoinError::Panicked(panic)
}

/// Polls a scheduled task once and ends it if it has completed, which it answers. Called at home.
///
/// # Safety
/// The task came from a run queue, or was just created, and the executor's handle on it is held.
#[inline(always)]
pub(crate) unsafe fn run(task: NonNull<Header>, shard: &Shard) -> bool {
    // SAFETY: the executor's handle keeps the task.
    let header = unsafe { task.as_ref() };
    let state = header.state.get();
    if state & COMPLETE != 0 {
        header.clear(SCHEDULED);
        header::drop_ref_at(task, shard);
        return true;
    }
    assert!(state & RUNNING == 0, "a task is polled within itself");
    header.state.set(state & !SCHEDULED | RUNNING);
    // SAFETY: as the caller vouches; it is marked as running, and was not before.
    unsafe { poll_marked(task, shard) }
}

/// Polls a task once that was created as detached. Called at home.
///
/// Kept out of line, for it is called for each type of task.
///
/// # Safety
/// The task was just created and is in no run queue.
#[inline(never)]
pub(super) unsafe fn run_detached(task: NonNull<Header>, shard: &Shard) {
    // SAFETY: as the caller vouches; the executor holds it.
    unsafe { run(task, shard) };
}

/// Polls a task that was just marked as running and ends it if it has completed, which it answers. Called at home.
///
/// # Safety
/// The task is not complete, and nobody else polls it.
#[inline(always)]
unsafe fn poll_marked(task: NonNull<Header>, shard: &Shard) -> bool {
    // SAFETY: the executor holds tasks that are not complete.
    let header = unsafe { task.as_ref() };
    let outer = shard.progress.begin(task.cast());
    // SAFETY: not complete, so the future is there; nobody else polls it.
    let completed = unsafe { (header.vtable.poll)(task) };
    shard.progress.end(outer);
    if completed {
        header::complete(task, shard);
    } else {
        header.clear(RUNNING);
    }
    completed
}

/// Whether a task has completed. If not, it runs now if it is the next one, or else wakes `waker` when it has.
///
/// Kept out of line, so that the wait itself is small enough to be part of the waiting future, for every type of output.
#[inline(never)]
pub(super) fn wait_for(task: NonNull<Header>, waker: &Waker) -> bool {
    if header::at_home(task).is_some_and(|shard| run_if_next(task, shard)) {
        return true;
    }
    // SAFETY: the caller's handle keeps the task.
    let header = unsafe { task.as_ref() };
    header.set_joiner(waker);
    // Cloning a waker may run anything.
    if header.has(COMPLETE) {
        drop(header.take_joiner());
    }
    header.has(COMPLETE)
}

/// How deep tasks may run within the waits of others: what the stack bears.
const MAX_NESTED_RUNS: u32 = 8;

/// Runs a task inside the wait for it, if it would be the next of the running group anyhow, and answers whether it has
/// completed. That spares its waker a way through the run queue. Called at home, for a task that is not complete.
#[inline]
fn run_if_next(task: NonNull<Header>, shard: &Shard) -> bool {
    let group = shard.groups.running();
    if !shard.groups.is_next_task(group, task)
        || shard.nested_runs.get() >= MAX_NESTED_RUNS
        || !shard.progress.is_running()
        || shard.is_turn_over()
    {
        return false;
    }
    // SAFETY: the caller's handle keeps the task.
    let header = unsafe { task.as_ref() };
    let state = header.state.get();
    // A task that is woken while it runs is queued too; it must not run within itself. The clock, which was just asked, is
    // the platform's code: it may have ended the task.
    if state & (RUNNING | COMPLETE) != 0 || !shard.groups.is_next_task(group, task) {
        return false;
    }
    shard.groups.next_task(group);
    shard.nested_runs.set(shard.nested_runs.get() + 1);
    header.state.set(state & !SCHEDULED | RUNNING);
    // SAFETY: the task came from a run queue of this shard, so the executor holds it; it was neither complete nor running.
    let completed = unsafe { poll_marked(task, shard) };
    shard.nested_runs.set(shard.nested_runs.get() - 1);
    completed
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
    if header.has(RUNNING | COMPLETE) {
        return;
    }
    header.set(RUNNING);
    // SAFETY: neither running nor complete until now; with the flag, `poll` drops the future.
    let completed = unsafe { poll_marked(task, shard) };
    debug_assert!(completed, "an aborted task completes");
}
