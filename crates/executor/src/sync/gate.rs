//! A gate that work in progress holds open, for an orderly stop.

use alloc::rc::Rc;
use core::cell::Cell;
use core::fmt;
use core::future::Future;
use core::ops::Deref;

use super::wait_list::{WaitList, Waitable, Waiter};

/// The gate is closed: nobody may enter any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct GateClosed;

impl fmt::Display for GateClosed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the gate is closed")
    }
}

impl core::error::Error for GateClosed {}

/// Counts work in progress, and waits for its end once no more may begin.
///
/// Who starts something enters and holds on until it ends. Who wants to stop [closes](Self::close) the gate: from
/// then on nobody enters, and the future that `close` answers is ready when the last holder is gone.
#[derive(Default)]
pub struct Gate {
    holders: Cell<usize>,
    closed: Cell<bool>,
    closers: WaitList<(), ()>,
}

impl Gate {
    /// An open gate.
    pub const fn new() -> Self {
        Self { holders: Cell::new(0), closed: Cell::new(false), closers: WaitList::new() }
    }

    /// Enters; the gate counts the caller as inside until the holder is dropped.
    ///
    /// # Errors
    /// [`GateClosed`] once [`close`](Self::close) was called.
    pub fn enter(&self) -> Result<GateHolder<&Self>, GateClosed> {
        self.check()?;
        Ok(GateHolder::new(self))
    }

    /// Like [`enter`](Self::enter), with a holder that keeps the gate alive, for tasks that outlive the caller.
    ///
    /// # Errors
    /// [`GateClosed`] once [`close`](Self::close) was called.
    pub fn enter_owned(self: &Rc<Self>) -> Result<GateHolder<Rc<Self>>, GateClosed> {
        self.check()?;
        Ok(GateHolder::new(Rc::clone(self)))
    }

    /// Enters if the gate is open.
    pub fn try_enter(&self) -> Option<GateHolder<&Self>> {
        self.enter().ok()
    }

    /// Answers whether one could enter, for loops that should end when the gate closes.
    ///
    /// # Errors
    /// [`GateClosed`] once [`close`](Self::close) was called.
    pub fn check(&self) -> Result<(), GateClosed> {
        if self.closed.get() { Err(GateClosed) } else { Ok(()) }
    }

    /// Runs `future` inside the gate; dropping it leaves.
    ///
    /// # Errors
    /// [`GateClosed`] if the gate is closed at the first poll; then `future` has not run.
    pub async fn run<F: Future>(&self, future: F) -> Result<F::Output, GateClosed> {
        let _holder = self.enter()?;
        Ok(future.await)
    }

    /// Closes the gate at once; the answered future waits until nobody is inside.
    ///
    /// May be called several times. Dropping the future only stops waiting: the gate stays closed.
    pub fn close(&self) -> impl Future<Output = ()> {
        self.closed.set(true);
        Waiter::new(self, ())
    }

    /// Whether [`close`](Self::close) was called.
    pub fn is_closed(&self) -> bool {
        self.closed.get()
    }

    /// How many are inside.
    pub fn holders(&self) -> usize {
        self.holders.get()
    }

    fn leave(&self) {
        self.holders.set(self.holders.get() - 1);
        if self.holders.get() == 0 && self.closed.get() {
            self.closers.grant_all(());
        }
    }
}

impl Waitable for Gate {
    type Request = ();
    type Grant = ();

    fn list(&self) -> &WaitList<(), ()> {
        &self.closers
    }

    fn try_grant(&self, (): &()) -> Option<()> {
        (self.holders.get() == 0).then_some(())
    }

    fn returned(&self, (): &(), (): ()) {}
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").field("holders", &self.holders).field("closed", &self.closed).finish_non_exhaustive()
    }
}

/// Somebody inside a [`Gate`]; dropping it leaves.
///
/// A clone counts on its own. It may be made after the gate was closed, since the original still keeps it from ending.
#[must_use = "who drops the holder has left the gate"]
pub struct GateHolder<G: Deref<Target = Gate>> {
    gate: G,
}

impl<G: Deref<Target = Gate>> GateHolder<G> {
    fn new(gate: G) -> Self {
        gate.holders.set(gate.holders.get() + 1);
        Self { gate }
    }
}

impl<G: Deref<Target = Gate> + Clone> Clone for GateHolder<G> {
    fn clone(&self) -> Self {
        Self::new(self.gate.clone())
    }
}

impl<G: Deref<Target = Gate>> Drop for GateHolder<G> {
    fn drop(&mut self) {
        self.gate.leave();
    }
}

impl<G: Deref<Target = Gate>> fmt::Debug for GateHolder<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GateHolder").finish_non_exhaustive()
    }
}
