//! What the handler notes of a stall, and how it crosses to the reporter.

use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sunstar_executor::RunningTask;

/// Deeper stacks are cut off: the innermost frames are the ones that tell.
const MAX_FRAMES: usize = 64;

/// A stall as the handler saw it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stall {
    /// Whose code runs, unless it is the executor's own.
    pub(super) task: Option<RunningTask>,
    /// For how long at least it has been running.
    pub(super) duration: Duration,
    /// How much of that time the thread was on a processor, rather than waiting for one or in the kernel.
    pub(super) processor_time: Duration,
    /// Reports that were suppressed since the last one.
    pub(super) suppressed: u64,
    pub(super) trace: Trace,
}

/// Instruction pointers, innermost first.
#[derive(Debug, Clone, Copy)]
pub(super) struct Trace {
    frames: [usize; MAX_FRAMES],
    depth: usize,
    /// The instruction that was interrupted; frames before it belong to the handler.
    interrupted: usize,
}

impl Trace {
    /// The calling stack, within a handler that interrupted `interrupted`. Allocates nothing.
    pub(super) fn of_this_thread(interrupted: usize) -> Self {
        let mut trace = Self { frames: [0; MAX_FRAMES], depth: 0, interrupted };
        // SAFETY: not synchronised with other users of the unwinder, which only concerns platforms whose
        // unwinder has global state; here it finds unwind tables through the dynamic loader without a lock
        // (`_dl_find_object`, glibc 2.35) and keeps its state on the stack. The closure can't panic.
        unsafe {
            backtrace::trace_unsynchronized(|frame| {
                if let Some(slot) = trace.frames.get_mut(trace.depth) {
                    *slot = frame.ip().addr();
                    trace.depth += 1;
                }
                trace.depth < MAX_FRAMES
            });
        }
        trace
    }

    /// The frames of what was interrupted, innermost first. All are return addresses or, for the first, treated like
    /// one: one byte past the start of an instruction that belongs to the call.
    pub(super) fn return_addresses(&self) -> impl Iterator<Item = usize> + '_ {
        let frames = &self.frames[..self.depth];
        let first = frames.iter().position(|&address| address == self.interrupted);
        let past_handler = &frames[first.unwrap_or(0)..];
        let exact = first.is_some();
        past_handler.iter().enumerate().map(move |(index, &address)| address + usize::from(index == 0 && exact))
    }
}

/// Lets the unwinder do what it does once per process outside of any handler.
pub(super) fn warm_up() {
    std::hint::black_box(Trace::of_this_thread(0));
}

/// The instruction that a handler's `context` says was interrupted, or 0 where that is not known.
pub(super) fn interrupted_at(context: *mut libc::c_void) -> usize {
    let context = context.cast::<libc::ucontext_t>();
    // SAFETY: the kernel gives handlers that ask for it a valid context.
    let Some(context) = (unsafe { context.as_ref() }) else { return 0 };
    #[cfg(target_arch = "x86_64")]
    let address = {
        let register = usize::try_from(libc::REG_RIP).expect("registers have small numbers");
        usize::try_from(context.uc_mcontext.gregs[register]).unwrap_or(0)
    };
    #[cfg(target_arch = "aarch64")]
    let address = usize::try_from(context.uc_mcontext.pc).unwrap_or(0);
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let address = {
        let _ = context;
        0
    };
    address
}

/// Room for one stall, from the handler to the reporter. Neither waits for the other.
#[derive(Debug, Default)]
pub(super) struct Slot {
    full: AtomicBool,
    stall: UnsafeCell<Option<Stall>>,
}

// SAFETY: `full` says who may touch the stall: the handler while it is false, the reporter while it is true.
unsafe impl Sync for Slot {}

impl Slot {
    /// Whether [`Slot::put`] would find room.
    pub(super) fn has_room(&self) -> bool {
        !self.full.load(Ordering::Acquire)
    }

    /// Puts a stall there if there is room, and answers whether there was.
    ///
    /// # Safety
    /// Only one thread may put, and not while it is doing so already.
    pub(super) unsafe fn put(&self, stall: Stall) -> bool {
        if !self.has_room() {
            return false;
        }
        // SAFETY: the slot is empty, so the reporter keeps off, and the caller is the only one that puts.
        unsafe { *self.stall.get() = Some(stall) };
        self.full.store(true, Ordering::Release);
        true
    }

    /// Takes what is there.
    ///
    /// # Safety
    /// Only one thread may take.
    pub(super) unsafe fn take(&self) -> Option<Stall> {
        if !self.full.load(Ordering::Acquire) {
            return None;
        }
        // SAFETY: the slot is full, so the handler keeps off, and the caller is the only one that takes.
        let stall = unsafe { (*self.stall.get()).take() };
        self.full.store(false, Ordering::Release);
        stall
    }
}
