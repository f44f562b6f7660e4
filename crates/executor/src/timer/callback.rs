//! Closures that run when the time has come.

use alloc::boxed::Box;
use alloc::rc::Rc;
#[cfg(feature = "std")]
use alloc::string::String;
use core::cell::Cell;
use core::pin::Pin;
use core::time::Duration;

use super::interval::next_in_schedule;
use super::timers::{Action, Timers};
use super::wheel::Node;
use crate::current;
use crate::group::SchedulingGroup;
use crate::shard::Shard;
use crate::time::Instant;

type Closure = Box<dyn FnMut(&Timer)>;

/// Runs a closure at a deadline, once or periodically.
///
/// The closure runs at the start of a round, outside of any task, and should be short: spawn a task for more. Such a task
/// inherits the scheduling group in which the timer was armed last. The closure's own time is charged to no group. It is
/// given its own timer and may arm, cancel or drop that timer or any other. Dropping a timer
/// cancels it. A periodic timer is armed for its next deadline before its closure runs; deadlines that were
/// missed meanwhile are skipped and the schedule does not shift.
///
/// A panic of the closure is logged and counted ([`Timers::panicked`]), and the timer is cancelled for good. Without
/// the feature `std` a panic ends the program.
pub struct Timer {
    callback: Pin<Rc<Callback>>,
    /// A closure that runs is given a second handle, whose end means nothing.
    is_owner: bool,
}

/// What a timer and its armed node share.
pub(super) struct Callback {
    node: Node<Action>,
    /// Absent while it runs, and after it has panicked.
    closure: Cell<Option<Closure>>,
    /// Zero if the timer fires once.
    period: Cell<Duration>,
    /// In which it was armed last.
    group: Cell<SchedulingGroup>,
    /// Set when the timer has been dropped or the closure has panicked: nothing arms it any more.
    is_over: Cell<bool>,
}

impl Timer {
    /// A timer that is not armed yet.
    pub fn new(closure: impl FnMut(&Self) + 'static) -> Self {
        let callback = Callback {
            node: Node::new(0),
            closure: Cell::new(Some(Box::new(closure))),
            period: Cell::new(Duration::ZERO),
            group: Cell::new(SchedulingGroup::MAIN),
            is_over: Cell::new(false),
        };
        Self { callback: Rc::pin(callback), is_owner: true }
    }

    /// Fires once at `deadline`; in the next round, if that has passed.
    ///
    /// # Panics
    /// If the timer is armed ([`Timer::rearm`] is for that), and outside of any shard.
    #[track_caller]
    pub fn arm(&self, deadline: Instant) {
        assert!(!self.is_armed(), "the timer is armed already");
        self.rearm(deadline);
    }

    /// Fires once, after `delay` from now.
    ///
    /// # Panics
    /// As [`Timer::arm`].
    #[track_caller]
    pub fn arm_after(&self, delay: Duration) {
        self.arm(super::now() + delay);
    }

    /// Fires every `period`, for the first time one period from now.
    ///
    /// # Panics
    /// As [`Timer::arm`], and if `period` is zero.
    #[track_caller]
    pub fn arm_periodic(&self, period: Duration) {
        assert!(!self.is_armed(), "the timer is armed already");
        self.rearm_periodic(period);
    }

    /// Fires once at `deadline`, whatever it was armed for before.
    ///
    /// # Panics
    /// Outside of any shard.
    #[track_caller]
    pub fn rearm(&self, deadline: Instant) {
        self.set(deadline, Duration::ZERO);
    }

    /// Fires every `period` from now on, whatever it was armed for before.
    ///
    /// # Panics
    /// If `period` is zero, and outside of any shard.
    #[track_caller]
    pub fn rearm_periodic(&self, period: Duration) {
        assert!(!period.is_zero(), "a periodic timer needs a period");
        self.set(super::now() + period, period);
    }

    /// Makes it not fire any more until it is armed again; answers whether it was armed.
    pub fn cancel(&self) -> bool {
        self.callback.node.cancel().is_some()
    }

    /// Whether it is going to fire.
    pub fn is_armed(&self) -> bool {
        self.callback.node.is_armed()
    }

    /// When it is going to fire.
    pub fn deadline(&self) -> Option<Instant> {
        self.is_armed().then(|| Instant::from_nanos(self.callback.node.deadline()))
    }

    #[track_caller]
    fn set(&self, deadline: Instant, period: Duration) {
        current::with(|shard| {
            self.callback.group.set(shard.groups.running_group());
            self.callback.arm(&self.callback, &shard.timers, deadline, period);
        });
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        if self.is_owner {
            self.callback.is_over.set(true);
            self.cancel();
        }
    }
}

impl core::fmt::Debug for Timer {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Timer")
            .field("deadline", &self.deadline())
            .field("period", &self.callback.period.get())
            .finish_non_exhaustive()
    }
}

/// The closure of a timer panicked.
pub(super) struct Panicked;

impl Callback {
    /// Arms the node; it keeps its callback alive until it fires or is cancelled.
    fn arm(&self, this: &Pin<Rc<Self>>, timers: &Timers, deadline: Instant, period: Duration) {
        if !self.is_over.get() {
            self.period.set(period);
            timers.arm(this.as_ref().node(), deadline, Action::Call(this.clone()));
        }
    }

    /// Runs the closure of a timer that fired; a periodic one is armed anew in `timers` first.
    pub(super) fn run(self: Pin<Rc<Self>>, timers: &Timers, scheduled: Instant) -> Result<(), Panicked> {
        let period = self.period.get();
        if !period.is_zero() {
            self.arm(&self, timers, next_in_schedule(scheduled, period, timers.now()), period);
        }
        // A closure that advances the timers itself may find its own timer due; it isn't run within itself.
        let Some(mut closure) = self.closure.take() else { return Ok(()) };
        let timer = Timer { callback: self, is_owner: false };
        let group = timer.callback.group.get();
        let outcome = contain(|| {
            let mut closure = Some(|| closure(&timer));
            let run = |shard: &Shard| closure.take().map(|closure| shard.groups.run_as(group, closure));
            // Timers fire within their shard, or within none while that is being dropped.
            current::try_with(run);
        });
        let callback = &timer.callback;
        if outcome.is_ok() {
            callback.closure.set(Some(closure));
        } else {
            callback.is_over.set(true);
            timer.cancel();
        }
        outcome
    }

    fn node(self: Pin<&Self>) -> Pin<&Node<Action>> {
        // SAFETY: the node is pinned whenever its `Callback` is, which exists only in a pinned `Rc`.
        unsafe { self.map_unchecked(|callback| &callback.node) }
    }
}

#[cfg(feature = "std")]
fn contain(run: impl FnOnce()) -> Result<(), Panicked> {
    std::panic::catch_unwind(core::panic::AssertUnwindSafe(run)).map_err(|payload| {
        let message = payload.downcast_ref::<&str>().copied();
        let message = message.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        log::error!("a timer's closure panicked: {}", message.unwrap_or("(no message)"));
        Panicked
    })
}

#[cfg(not(feature = "std"))]
fn contain(run: impl FnOnce()) -> Result<(), Panicked> {
    run();
    Ok(())
}
