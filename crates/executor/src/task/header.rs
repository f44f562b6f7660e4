//! The part of a task that does not depend on its future.

use alloc::boxed::Box;
use core::cell::{Cell, UnsafeCell};
use core::mem::ManuallyDrop;
use core::panic::Location;
use core::ptr::NonNull;
use core::task::Waker;

use sunstar_packet::{Home, HomeNode};

use super::foreign_word::{Abroad, ForeignWord};
use super::raw;
use super::recycler::BlockKind;
use crate::counter::Counter;
use crate::current;
use crate::panic::{Panic, catch};
use crate::shard::Shard;

/// The task is in a run queue (or being put there).
pub(crate) const SCHEDULED: u32 = 1;
/// The task's future is being polled.
pub(crate) const RUNNING: u32 = 2;
/// The future is gone; the output waits for the join handle, or was taken.
pub(crate) const COMPLETE: u32 = 4;
/// The future shall be dropped instead of polled.
pub(crate) const ABORTED: u32 = 8;
/// The join handle is gone.
pub(crate) const DETACHED: u32 = 16;

/// The task ended without an output: an error is in its place.
pub(crate) const FAILED: u32 = 32;

/// The memory was given back: left there for the models, which look for late use.
#[cfg(any(test, loom))]
const FREED: u32 = 64;

/// What a task is called in logs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TaskName {
    /// The name that its spawner gave, if any.
    pub(crate) name: Option<&'static str>,
    /// Where it was spawned.
    pub(crate) location: &'static Location<'static>,
}

impl core::fmt::Display for TaskName {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self.name {
            Some(name) => write!(f, "\"{name}\" (spawned at {})", self.location),
            None => write!(f, "spawned at {}", self.location),
        }
    }
}

/// What can be done with a task whose future's type is forgotten.
pub(crate) struct VTable {
    /// Polls the future, or drops it if the task was aborted; true when the task has completed.
    pub(crate) poll: unsafe fn(NonNull<Header>) -> bool,
    /// Reports an output that nobody takes, if it is an error.
    pub(crate) report: unsafe fn(output: NonNull<()>, TaskName),
    /// Of the task's memory.
    pub(crate) memory: BlockKind,
}

/// Links of the list of all living tasks of a shard. They mean something only while the task is on the list.
#[repr(C)]
pub(crate) struct AllLinks {
    pub(crate) next: Cell<Option<NonNull<Header>>>,
    pub(crate) prev: Cell<Option<NonNull<Header>>>,
}

/// The head of a task's memory. Its first field is the node by which the task travels home.
///
/// What is zero at first lies together, and the count beside the state, so that few stores make a header.
#[repr(C)]
pub(crate) struct Header {
    node: HomeNode,
    foreign: ForeignWord,
    /// The next task in the run queue; means nothing for the last one there.
    pub(crate) next: Cell<Option<NonNull<Header>>>,
    pub(crate) all: AllLinks,
    /// Who waits for the output. Touched at home only, never during a call into foreign code.
    joiner: UnsafeCell<Joiner>,
    home: NonNull<Home>,
    pub(crate) vtable: &'static VTable,
    /// Handles (wakers, the join handle, the executor's own while the future lives), less what moved abroad.
    refs: Cell<i32>,
    pub(crate) state: Cell<u32>,
    pub(crate) group: Cell<u8>,
    pub(crate) name: TaskName,
}

impl Header {
    /// The header of a new task in this state, held by the executor and, unless it is detached, by its join handle.
    #[inline]
    pub(crate) fn new(home: NonNull<Home>, vtable: &'static VTable, state: u32, group: u8, name: TaskName) -> Self {
        Self {
            node: HomeNode::new(arrive),
            foreign: ForeignWord::new(),
            next: Cell::new(None),
            all: AllLinks { next: Cell::new(None), prev: Cell::new(None) },
            joiner: UnsafeCell::new(Joiner::Nobody),
            home,
            vtable,
            refs: Cell::new(if state & DETACHED == 0 { 2 } else { 1 }),
            state: Cell::new(state),
            group: Cell::new(group),
            name,
        }
    }

    #[inline]
    pub(crate) fn has(&self, flags: u32) -> bool {
        self.state.get() & flags != 0
    }

    #[inline]
    pub(crate) fn set(&self, flags: u32) {
        self.state.set(self.state.get() | flags);
    }

    #[inline]
    pub(crate) fn clear(&self, flags: u32) {
        self.state.set(self.state.get() & !flags);
    }

    /// Remembers who waits for the output, in place of whoever waited before.
    #[inline]
    pub(crate) fn set_joiner(&self, waker: &Waker) {
        // SAFETY: only the task's thread comes here, and comparing calls nobody.
        let joiner = unsafe { &*self.joiner.get() };
        if !joiner.is(waker) {
            let joiner = Joiner::of(waker);
            // SAFETY: as above; the old one is dropped after the borrow has ended.
            drop(core::mem::replace(unsafe { &mut *self.joiner.get() }, joiner));
        }
    }

    #[inline]
    pub(crate) fn take_joiner(&self) -> Joiner {
        // SAFETY: as below.
        if matches!(unsafe { &*self.joiner.get() }, Joiner::Nobody) {
            return Joiner::Nobody;
        }
        // SAFETY: only the task's thread comes here; the borrow ends before anybody else is called.
        core::mem::replace(unsafe { &mut *self.joiner.get() }, Joiner::Nobody)
    }
}

/// Who waits for a task's output. Most often that is a task too, which is woken without a call through a table.
pub(crate) enum Joiner {
    Nobody,
    Task(TaskRef),
    Other(Waker),
}

impl Joiner {
    #[inline]
    fn of(waker: &Waker) -> Self {
        match task_behind(waker) {
            Some(task) => {
                clone_ref(task);
                Self::Task(TaskRef(task))
            }
            None => Self::Other(waker.clone()),
        }
    }

    #[inline]
    fn is(&self, waker: &Waker) -> bool {
        match self {
            Self::Nobody => false,
            Self::Task(task) => task_behind(waker) == Some(task.0),
            Self::Other(other) => other.will_wake(waker),
        }
    }
}

/// The task that a waker wakes, if it is one of this crate's.
#[inline]
fn task_behind(waker: &Waker) -> Option<NonNull<Header>> {
    if core::ptr::eq(waker.vtable(), &raw const raw::WAKER) {
        NonNull::new(waker.data().cast_mut().cast())
    } else {
        None
    }
}

/// A counted handle on a task.
pub(crate) struct TaskRef(NonNull<Header>);

impl TaskRef {
    /// Takes over a handle that is counted already.
    pub(crate) fn of_counted(task: NonNull<Header>) -> Self {
        Self(task)
    }
}

impl Drop for TaskRef {
    #[inline]
    fn drop(&mut self) {
        drop_ref(self.0);
    }
}

/// The home shard of `task`, if it is the current one.
///
/// A home lives (or is leaked) as long as any of its tasks' memory, so equal addresses mean the same home.
#[inline]
pub(super) fn at_home<'a>(task: NonNull<Header>) -> Option<&'a Shard> {
    // SAFETY: the current shard stays valid while it is entered, which outlasts the caller's operation.
    let shard = unsafe { current::address().as_ref() }?;
    // SAFETY: the caller holds a handle, so the header is valid; `home` is never written after creation.
    let home = unsafe { (*task.as_ptr()).home };
    (shard.home_address() == home).then_some(shard)
}

fn abroad(task: NonNull<Header>, operation: Abroad) {
    // SAFETY: the caller holds a handle, so the header is valid until `record`, and until arrival if that
    // answers true. Abroad, only the atomic word, the node and the constant fields are touched.
    unsafe {
        let home = (*task.as_ptr()).home;
        if (*task.as_ptr()).foreign.record(operation) {
            // A resident's home is never freed before the resident.
            home.as_ref().post(task.cast());
        }
    }
}

/// Called by the home list, at home.
unsafe fn arrive(node: NonNull<HomeNode>) {
    let task: NonNull<Header> = node.cast();
    // SAFETY: the queued bit, which is still set, keeps the task from being freed until `take`.
    let header = unsafe { task.as_ref() };
    #[cfg(any(test, loom))]
    assert!(!header.has(FREED), "a task that was freed comes home");
    let arrived = header.foreign.take();
    header.refs.set(header.refs.get().wrapping_add(arrived.balance));
    // Otherwise the shard ends: nobody will run the task again, and its memory may be needed by late handles.
    if let Some(shard) = at_home(task) {
        if arrived.woken {
            schedule(task, shard);
        }
        free_if_last(task, shard);
    }
}

/// Puts a task of this shard into its group's run queue unless it is there, or done.
#[inline]
fn schedule(task: NonNull<Header>, shard: &Shard) {
    // SAFETY: the caller holds a handle.
    let header = unsafe { task.as_ref() };
    if !header.has(SCHEDULED | COMPLETE) {
        header.set(SCHEDULED);
        shard.groups.enqueue(task, header.group.get());
    }
}

/// Puts the task into its group's run queue unless it is there, or done.
#[inline]
pub(crate) fn wake_by_ref(task: NonNull<Header>) {
    match at_home(task) {
        Some(shard) => schedule(task, shard),
        None => abroad(task, Abroad::Wake),
    }
}

/// Wakes the task and gives the caller's handle up.
#[inline]
pub(crate) fn wake(task: NonNull<Header>) {
    match at_home(task) {
        Some(shard) => {
            schedule(task, shard);
            drop_ref_at(task, shard);
        }
        None => abroad(task, Abroad::WakeAndDrop),
    }
}

/// Counts one more handle.
#[inline]
pub(crate) fn clone_ref(task: NonNull<Header>) {
    if at_home(task).is_some() {
        // SAFETY: the caller holds a handle.
        let header = unsafe { task.as_ref() };
        header.refs.set(header.refs.get().checked_add(1).expect("fewer than 2^31 wakers of one task exist"));
    } else {
        abroad(task, Abroad::Clone);
    }
}

/// Gives the caller's handle up.
#[inline(never)]
pub(crate) fn drop_ref(task: NonNull<Header>) {
    match at_home(task) {
        Some(shard) => drop_ref_at(task, shard),
        None => abroad(task, Abroad::Drop),
    }
}

/// Gives the caller's handle on a task of this shard up.
#[inline]
pub(super) fn drop_ref_at(task: NonNull<Header>, shard: &Shard) {
    // SAFETY: the caller holds a handle.
    let header = unsafe { task.as_ref() };
    header.refs.set(header.refs.get().wrapping_sub(1));
    free_if_last(task, shard);
}

/// Frees a task of this shard if no handle is left.
#[inline]
fn free_if_last(task: NonNull<Header>, shard: &Shard) {
    // SAFETY: called at home with the task not freed yet: only this function frees it.
    let header = unsafe { task.as_ref() };
    if header.foreign.is_last(header.refs.get()) {
        #[cfg(any(test, loom))]
        {
            assert!(!header.has(FREED), "a task is freed twice");
            header.set(FREED);
        }
        let memory = header.vtable.memory;
        // SAFETY: no handle is left anywhere and the task is not on its way home, so nobody else knows it. The
        // executor's handle goes after the future, the join handle's after the output, and the joiner went when
        // the task completed: nothing in the memory is left to be dropped.
        unsafe { shard.recycler.release_as(task.cast(), memory) };
        // SAFETY: the task was counted when it was created, and is gone.
        unsafe { shard.home.remove_resident() };
    }
}

/// Ends a running task whose future has just been dropped: wakes who waits for the output and gives up the
/// executor's handle. Called at home.
#[inline(always)]
pub(crate) fn complete(task: NonNull<Header>, shard: &Shard) {
    // SAFETY: the executor's handle, given up below, keeps the task.
    let header = unsafe { task.as_ref() };
    let state = header.state.get();
    header.state.set(state & !RUNNING | COMPLETE);
    shard.tasks.unlink(task);
    let joiner = header.take_joiner();
    // A task in a run queue is given up when it is taken from there.
    if state & SCHEDULED == 0 {
        drop_ref_at(task, shard);
    }
    match joiner {
        Joiner::Nobody => {}
        Joiner::Task(task) => wake(ManuallyDrop::new(task).0),
        // Last, since the waker may be anybody's code.
        Joiner::Other(waker) => {
            if let Err(panic) = catch(|| waker.wake()) {
                report_foreign_panic(shard, "waking who waits for a task", &panic);
            }
        }
    }
}

/// All living tasks of a shard, so that the shard can drop them when it ends.
#[derive(Default)]
pub(crate) struct AllTasks {
    first: Cell<Option<NonNull<Header>>>,
    linked: Counter,
    unlinked: Counter,
}

impl AllTasks {
    /// How many tasks live.
    pub(crate) fn len(&self) -> u64 {
        self.linked.value() - self.unlinked.value()
    }

    /// How many tasks there have been, the living ones included.
    pub(crate) fn linked(&self) -> u64 {
        self.linked.value()
    }

    pub(crate) fn first(&self) -> Option<NonNull<Header>> {
        self.first.get()
    }

    #[inline]
    pub(crate) fn link(&self, task: NonNull<Header>) {
        let next = self.first.replace(Some(task));
        // SAFETY: tasks on the list are living, and the new one is about to live.
        unsafe {
            task.as_ref().all.next.set(next);
            if let Some(next) = next {
                next.as_ref().all.prev.set(Some(task));
            }
        }
        self.linked.add(1);
    }

    #[inline]
    pub(crate) fn unlink(&self, task: NonNull<Header>) {
        // SAFETY: the task and its neighbours on the list are living.
        unsafe {
            let links = &task.as_ref().all;
            let (prev, next) = (links.prev.get(), links.next.get());
            match prev {
                Some(prev) => prev.as_ref().all.next.set(next),
                None => self.first.set(next),
            }
            if let Some(next) = next {
                next.as_ref().all.prev.set(prev);
            }
        }
        self.unlinked.add(1);
    }

    /// Calls `f` with each living task; `f` must not start or end any.
    pub(crate) fn for_each(&self, mut f: impl FnMut(&Header)) {
        let mut next = self.first.get();
        while let Some(task) = next {
            // SAFETY: tasks on the list are living.
            let header = unsafe { task.as_ref() };
            f(header);
            next = header.all.next.get();
        }
    }
}

/// Logs and counts a task that ended in a panic.
#[cold]
pub(crate) fn report_panic(task: NonNull<Header>, shard: Option<&Shard>, panic: &Panic) {
    // SAFETY: called while the task is being polled or dropped.
    let name = unsafe { task.as_ref() }.name;
    if let Some(shard) = shard {
        shard.counters.panicked_tasks.add(1);
    }
    // A logger that panics must not take the shard with it.
    drop(catch(|| log::error!("a task panicked: {name}: {panic}")));
}

/// Logs and counts a panic of code that the executor called outside of any task.
#[cold]
pub(crate) fn report_foreign_panic(shard: &Shard, doing: &str, panic: &Panic) {
    shard.counters.foreign_panics.add(1);
    drop(catch(|| log::error!("{doing} panicked: {panic}")));
}

/// Logs and counts an error that nobody looked at.
#[cold]
pub(crate) fn report_abandoned(what: Box<str>, name: TaskName) {
    log::warn!("nobody looked at the error of a task: {name}: {what}");
    current::try_with(|shard| shard.counters.abandoned_errors.add(1));
}
