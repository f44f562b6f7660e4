//! What happened to a task's wakers on other threads since its home last looked.

use crate::atomic::{AtomicU64, Ordering};

const WAKE: u64 = 1 << 32;
const QUEUED: u64 = 1 << 33;
const BALANCE: u64 = 0xffff_ffff;

/// Clones minus drops made abroad, whether a wake was asked for, and whether the task is on its way home.
///
/// Whoever sets the queued bit posts the task; while it is set, home does not free the task. Together with
/// the home's own count the balance gives the number of handles, exactly at the moment when home takes the word,
/// and never too small when home only looks: a clone abroad is always made from a handle that is still counted.
#[derive(Debug)]
pub(crate) struct ForeignWord(AtomicU64);

/// What [`ForeignWord::take`] found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Arrived {
    /// To be added to the home's count of handles.
    pub(crate) balance: i32,
    /// Whether somebody abroad woke the task.
    pub(crate) woken: bool,
}

/// What an operation abroad changes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Abroad {
    /// A handle was cloned.
    Clone,
    /// A handle was dropped.
    Drop,
    /// The task was woken.
    Wake,
    /// The task was woken by a handle that is gone with it.
    WakeAndDrop,
}

impl ForeignWord {
    pub(crate) fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Records an operation made abroad. If the answer is true, the caller must post the task home.
    ///
    /// # Panics
    /// When two thousand million clones are leaked.
    #[must_use]
    pub(crate) fn record(&self, operation: Abroad) -> bool {
        let (delta, bits) = match operation {
            Abroad::Clone => (1, 0),
            Abroad::Drop => (-1, QUEUED),
            Abroad::Wake => (0, WAKE | QUEUED),
            Abroad::WakeAndDrop => (-1, WAKE | QUEUED),
        };
        let mut word = self.0.load(Ordering::Relaxed);
        loop {
            let balance = balance_of(word).checked_add(delta).expect("fewer than 2^31 wakers of one task exist");
            let new = (word & !BALANCE) | u64::from(balance.cast_unsigned()) | bits;
            // Release: what the waker did before is visible at home. Acquire is not needed abroad.
            let order = if planted::is("task_relaxed_word") { Ordering::Relaxed } else { Ordering::Release };
            match self.0.compare_exchange_weak(word, new, order, Ordering::Relaxed) {
                Ok(_) => return new & QUEUED != word & QUEUED,
                Err(now) => word = now,
            }
        }
    }

    /// Takes all that was recorded; called at home when the task has arrived.
    pub(crate) fn take(&self) -> Arrived {
        let word = if planted::is("task_lost_wake") {
            let word = self.0.load(Ordering::Acquire);
            self.0.store(0, Ordering::Release);
            word
        } else {
            self.0.swap(0, Ordering::Acquire)
        };
        Arrived { balance: balance_of(word), woken: word & WAKE != 0 }
    }

    /// Whether a task with `local` handles counted at home has none left anywhere; called at home.
    ///
    /// A queued task answers false: it is decided when it arrives.
    #[inline]
    pub(crate) fn is_last(&self, local: i32) -> bool {
        let word = self.0.load(Ordering::Acquire);
        let queued = word & QUEUED != 0 && !planted::is("task_double_free");
        !queued && local.wrapping_add(balance_of(word)) == 0
    }
}

fn balance_of(word: u64) -> i32 {
    #[expect(clippy::cast_possible_truncation, reason = "the balance is the lower half of the word")]
    let low = word as u32;
    low.cast_signed()
}
