//! A task with its future: how it is polled, and what becomes of its output.

use alloc::alloc::Layout;
use alloc::boxed::Box;
use core::cell::UnsafeCell;
use core::future::Future;
use core::mem::{self, ManuallyDrop};
use core::pin::Pin;
use core::ptr::NonNull;
use core::task::{Context, Poll, RawWaker, RawWakerVTable, Waker};

use super::header::{self, ABORTED, Header, RUNNING, SCHEDULED, TaskName, VTable};
use super::join::JoinError;
use crate::panic::{Panic, catch};
use crate::shard::Shard;

/// Turns an output that nobody took into the text of an error, if it is one.
pub(super) type Describe<T> = fn(&T) -> Option<Box<str>>;

#[repr(C)]
struct Task<F: Future> {
    header: Header,
    describe: Describe<F::Output>,
    stage: UnsafeCell<Stage<F>>,
}

enum Stage<F: Future> {
    Future(F),
    Output(Result<F::Output, JoinError>),
    Gone,
}

static WAKER: RawWakerVTable = RawWakerVTable::new(
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
        header: Header::new(shard.home_address(), Vtables::<F>::VTABLE, group, name),
        describe,
        stage: UnsafeCell::new(Stage::Future(future)),
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
    const VTABLE: &'static VTable =
        &VTable { poll: poll::<F>, drop_output: drop_output::<F>, take_output: take_output::<F>, free: free::<F> };
}

/// The stage of a task.
///
/// # Safety
/// Called at home, for a task of this future, and no other borrow of the stage is in use.
unsafe fn stage<'a, F: Future>(task: NonNull<Header>) -> &'a mut Stage<F> {
    // SAFETY: as the caller vouches.
    unsafe { &mut *(*task.cast::<Task<F>>().as_ptr()).stage.get() }
}

unsafe fn poll<F: Future>(task: NonNull<Header>) -> bool {
    // SAFETY: the executor calls this for a scheduled task, whose header is valid.
    let header = unsafe { task.as_ref() };
    let output = if header.has(ABORTED) {
        Err(JoinError::Aborted)
    } else {
        // The waker borrows the executor's handle: no count, and no drop.
        // SAFETY: the vtable treats the pointer as the task that it is.
        let waker = ManuallyDrop::new(unsafe { Waker::from_raw(RawWaker::new(task.as_ptr().cast(), &WAKER)) });
        let polled = catch(|| {
            // SAFETY: the running flag keeps everybody else from the stage. The future is not moved before it is
            // dropped in place below.
            let Stage::Future(future) = (unsafe { stage::<F>(task) }) else { return Poll::Pending };
            // SAFETY: as above.
            unsafe { Pin::new_unchecked(future) }.poll(&mut Context::from_waker(&waker))
        });
        match polled {
            Ok(Poll::Pending) if header.has(ABORTED) => Err(JoinError::Aborted),
            Ok(Poll::Pending) => return false,
            Ok(Poll::Ready(output)) => Ok(output),
            Err(panic) => Err(panicked(task, panic)),
        }
    };
    // SAFETY: still exclusive. `Gone` replaces the future after it was dropped in place, which the assignment does.
    let dropped = catch(|| unsafe { *stage::<F>(task) = Stage::Gone });
    let output = match dropped {
        Ok(()) => output,
        Err(panic) => {
            // SAFETY: a future whose drop panicked counts as dropped; it is overwritten, not dropped again.
            unsafe { core::ptr::write(stage::<F>(task), Stage::Gone) };
            // One panic is reported; what dropping the output adds to it is not.
            drop(catch(|| drop(output)));
            Err(panicked(task, panic))
        }
    };
    // SAFETY: still exclusive; what is overwritten is `Gone`.
    unsafe { *stage::<F>(task) = Stage::Output(output) };
    true
}

#[cold]
fn panicked(task: NonNull<Header>, panic: Panic) -> JoinError {
    crate::current::with(|shard| header::report_panic(task, Some(shard), &panic));
    JoinError::Panicked(panic)
}

unsafe fn take_output<F: Future>(task: NonNull<Header>, to: NonNull<()>) {
    // SAFETY: called once the task is complete, by the only join handle.
    let taken = mem::replace(unsafe { stage::<F>(task) }, Stage::Gone);
    let output = match taken {
        Stage::Output(output) => output,
        Stage::Future(_) | Stage::Gone => Err(JoinError::Aborted),
    };
    // SAFETY: the caller gives room for exactly this type.
    unsafe { to.cast::<Result<F::Output, JoinError>>().write(output) };
}

unsafe fn drop_output<F: Future>(task: NonNull<Header>) {
    // SAFETY: the header is valid: a handle is still held.
    let name = unsafe { task.as_ref() }.name;
    // SAFETY: as above; `describe` is constant.
    let describe = unsafe { (*task.cast::<Task<F>>().as_ptr()).describe };
    // SAFETY: called once the task is complete and nobody else can take the output.
    let taken = mem::replace(unsafe { stage::<F>(task) }, Stage::Gone);
    let dropped = catch(|| {
        if let Stage::Output(Ok(output)) = &taken
            && let Some(error) = describe(output)
        {
            header::report_abandoned(error, name);
        }
        drop(taken);
    });
    if let Err(panic) = dropped {
        crate::current::try_with(|shard| header::report_panic(task, Some(shard), &panic));
    }
}

unsafe fn free<F: Future>(task: NonNull<Header>, shard: &Shard) {
    // SAFETY: no handle is left, so the output, if it is still there, goes with the task.
    unsafe {
        debug_assert!(!matches!(stage::<F>(task), Stage::Future(_)), "the executor's handle outlives the future");
        task.cast::<Task<F>>().as_ptr().drop_in_place();
        shard.recycler.release(task.cast(), Layout::new::<Task<F>>());
    }
    shard.home.remove_resident();
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
    // SAFETY: neither running nor complete; with the flag, `poll` drops the future.
    let completed = unsafe { (header.vtable.poll)(task) };
    header.clear(RUNNING);
    debug_assert!(completed, "an aborted task completes");
    header::complete(task, shard);
}
