//! What a task leaves behind: an output or an error, for its join handle or for the log.

use alloc::boxed::Box;
use alloc::format;
use core::cell::UnsafeCell;
use core::fmt::Display;
use core::mem::{ManuallyDrop, MaybeUninit};
use core::ptr::NonNull;

use super::header::{self, DETACHED, FAILED, Header, TaskName, VTable};
use super::join::JoinError;

/// Turns an output that nobody took into the text of an error, if it is one.
pub(super) trait Describe<T> {
    fn describe(output: &T) -> Option<Box<str>>;
}

/// For tasks whose outputs may be left alone.
pub(super) struct Unwatched;

impl<T> Describe<T> for Unwatched {
    fn describe(_: &T) -> Option<Box<str>> {
        None
    }
}

/// For tasks whose errors somebody should look at.
pub(super) struct Fallible;

impl<T, E: Display> Describe<Result<T, E>> for Fallible {
    fn describe(output: &Result<T, E>) -> Option<Box<str>> {
        output.as_ref().err().map(|error| format!("{error}").into())
    }
}

/// What a join handle knows of a task: the beginning of a task whose output has this type.
#[repr(C)]
pub(super) struct Joined<T> {
    pub(super) header: Header,
    /// Written when the task completes while it has a join handle, and taken by that one.
    output: UnsafeCell<MaybeUninit<Output<T>>>,
}

impl<T> Joined<T> {
    #[inline]
    pub(super) fn new(header: Header) -> Self {
        Self { header, output: UnsafeCell::new(MaybeUninit::uninit()) }
    }
}

/// What a task leaves behind; its [`FAILED`] flag tells which.
///
/// A `Result` with its tag would be read in larger pieces than it was just written in. No store can be forwarded to such
/// a load: the processor waits until all of them have reached its cache, some nanoseconds per join.
#[repr(C)]
union Output<T> {
    output: ManuallyDrop<T>,
    error: ManuallyDrop<JoinError>,
}

/// The `report` of a task with such an output.
///
/// # Safety
/// The output has this type; it stays the caller's.
pub(super) unsafe fn report<T, D: Describe<T>>(output: NonNull<()>, name: TaskName) {
    // SAFETY: as the caller vouches.
    if let Some(error) = D::describe(unsafe { output.cast::<T>().as_ref() }) {
        header::report_abandoned(error, name);
    }
}

/// Leaves the output for the join handle, or drops it if there is none any more.
///
/// # Safety
/// Called at home, for a task with this output, once, and followed by nothing but the task's completion.
#[inline]
pub(super) unsafe fn put_output<T>(task: NonNull<Header>, output: T) {
    // SAFETY: as the caller vouches. The join handle looks at the output only once the task is complete.
    let joined = unsafe { task.cast::<Joined<T>>().as_ref() };
    if joined.header.has(DETACHED) {
        // SAFETY: as the caller vouches.
        unsafe { drop_output(output, joined.header.vtable, joined.header.name) };
    } else {
        // SAFETY: as above.
        unsafe { (*joined.output.get()).write(Output { output: ManuallyDrop::new(output) }) };
    }
}

/// As [`put_output`], for a task that ends without an output.
///
/// # Safety
/// As for [`put_output`].
pub(super) unsafe fn put_error<T>(task: NonNull<Header>, error: JoinError) {
    // SAFETY: as the caller vouches.
    let joined = unsafe { task.cast::<Joined<T>>().as_ref() };
    joined.header.set(FAILED);
    if !joined.header.has(DETACHED) {
        // SAFETY: as in `put_output`.
        unsafe { (*joined.output.get()).write(Output { error: ManuallyDrop::new(error) }) };
    }
}

/// Drops an output that nobody takes; reports it if it is an error.
///
/// # Safety
/// The table is that of a task with this output.
unsafe fn drop_output<T>(output: T, vtable: &VTable, name: TaskName) {
    // SAFETY: as the caller vouches.
    unsafe { (vtable.report)(NonNull::from(&output).cast(), name) };
}

/// Takes the output and gives the join handle's count up.
///
/// # Safety
/// Called on the task's thread by its only join handle, which forgets it, once the task is complete; the output has this
/// type.
#[inline]
pub(super) unsafe fn take_output<T>(task: NonNull<Header>) -> Result<T, JoinError> {
    // SAFETY: as the caller vouches.
    let joined = unsafe { task.cast::<Joined<T>>().as_ref() };
    // SAFETY: the task had its join handle when it completed, so the output is there.
    let left = unsafe { (*joined.output.get()).assume_init_ref() };
    if joined.header.has(FAILED) {
        // SAFETY: as the flag says; it is read once.
        let error = unsafe { core::ptr::read(&left.error) };
        header::drop_ref(task);
        return Err(ManuallyDrop::into_inner(error));
    }
    // SAFETY: as the flag says; it is read once.
    let output = unsafe { core::ptr::read(&left.output) };
    header::drop_ref(task);
    Ok(ManuallyDrop::into_inner(output))
}

/// Drops the output and gives the join handle's count up; reports the output if it is an error.
///
/// # Safety
/// As for [`take_output`].
pub(super) unsafe fn discard_output<T>(task: NonNull<Header>) {
    // SAFETY: as the caller vouches.
    let (vtable, name) = unsafe { (task.as_ref().vtable, task.as_ref().name) };
    // SAFETY: as the caller vouches.
    if let Ok(output) = unsafe { take_output::<T>(task) } {
        // SAFETY: the table is the task's.
        unsafe { drop_output(output, vtable, name) };
    }
}
