//! What the handler notes of a stall, and how it crosses to the reporter.

use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sunstar_executor::{Activity, RunningTask};

/// Deeper stacks are cut off: the innermost frames are the ones that tell.
const MAX_FRAMES: usize = 64;

/// A stall as the handler saw it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stall {
    /// Whose code runs, if it is a task's.
    pub(super) task: Option<RunningTask>,
    /// What runs, if it is no task.
    pub(super) activity: Activity,
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
    /// The calling stack, within a handler that interrupted `interrupted`; only that address where the stack can't be
    /// walked safely. Allocates nothing.
    pub(super) fn of_this_thread(interrupted: usize) -> Self {
        if UNWINDER_IS_SAFE.load(Ordering::Relaxed) { Self::unwound(interrupted) } else { Self::only(interrupted) }
    }

    fn only(interrupted: usize) -> Self {
        let mut trace = Self { frames: [0; MAX_FRAMES], depth: 1, interrupted };
        trace.frames[0] = interrupted;
        trace
    }

    fn unwound(interrupted: usize) -> Self {
        let mut trace = Self { frames: [0; MAX_FRAMES], depth: 0, interrupted };
        // SAFETY: not synchronised with other users of the unwinder, which only concerns platforms whose
        // unwinder has global state; here it finds unwind tables through the dynamic loader without a lock
        // (`_dl_find_object`, which `warm_up` has found) and keeps its state on the stack. The closure can't panic.
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

/// Whether the unwinder takes no locks: then it may be used in handlers.
static UNWINDER_IS_SAFE: AtomicBool = AtomicBool::new(false);

/// Finds out whether handlers may use the unwinder, and lets it do what it does once per process outside of any handler.
///
/// Without `_dl_find_object` (glibc before 2.35, other C libraries) it asks `dl_iterate_phdr`, which takes the dynamic
/// loader's lock: a handler that interrupts the loader would wait for it for ever.
pub(super) fn warm_up() {
    // SAFETY: the name is a C string, and only whether there is such a symbol is looked at.
    let found = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"_dl_find_object".as_ptr()) };
    if found.is_null() {
        log::info!("this C library lacks _dl_find_object: reports of stalls show one address instead of a backtrace");
        return;
    }
    std::hint::black_box(Trace::unwound(0));
    UNWINDER_IS_SAFE.store(true, Ordering::Relaxed);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_safe_unwinder_the_interrupted_instruction_is_all() {
        let addresses: Vec<_> = Trace::only(0x1000).return_addresses().collect();
        assert_eq!(addresses, [0x1001], "treated like a return address");
    }

    #[test]
    fn a_stack_that_may_be_walked_has_many_frames() {
        // No frame has this address, so all are kept.
        let count = Trace::unwound(usize::MAX).return_addresses().count();
        assert!(count > 3, "only {count} frames");
    }
}
