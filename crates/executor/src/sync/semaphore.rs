//! A counting semaphore that is fair.

use alloc::rc::Rc;
use core::cell::Cell;
use core::fmt;
use core::future::Future;
use core::ops::Deref;

use super::abort_source::{AbortSource, Aborted, with_abort};
use super::wait_list::{WaitList, Waitable, Waiter};
use crate::combine::{TimedOut, with_deadline};

/// The semaphore was closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SemaphoreClosed;

impl fmt::Display for SemaphoreClosed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the semaphore was closed")
    }
}

impl core::error::Error for SemaphoreClosed {}

/// Why units could not be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AcquireError {
    /// The semaphore was closed.
    Closed,
    /// The timer ended first.
    TimedOut,
    /// Abort was requested first.
    Aborted,
}

impl fmt::Display for AcquireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed => "the semaphore was closed",
            Self::TimedOut => "timed out waiting for a semaphore",
            Self::Aborted => "aborted waiting for a semaphore",
        })
    }
}

impl core::error::Error for AcquireError {}

impl From<SemaphoreClosed> for AcquireError {
    fn from(SemaphoreClosed: SemaphoreClosed) -> Self {
        Self::Closed
    }
}

impl From<TimedOut> for AcquireError {
    fn from(TimedOut: TimedOut) -> Self {
        Self::TimedOut
    }
}

impl From<Aborted> for AcquireError {
    fn from(Aborted: Aborted) -> Self {
        Self::Aborted
    }
}

/// Counts units of something limited: requests in flight, bytes of memory, slots.
///
/// Requests are served strictly in order. One that asks for more than there is holds up those behind it until it
/// is served or dropped, so it is not starved. A request for more units than will ever exist waits until somebody
/// adds them or closes the semaphore.
///
/// ```
/// # use core::{future::Future, pin::pin, task::{Context, Poll, Waker}};
/// # fn now<F: Future>(future: F) -> F::Output {
/// #     match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
/// #         Poll::Ready(output) => output,
/// #         Poll::Pending => unreachable!(),
/// #     }
/// # }
/// use sunstar_executor::sync::Semaphore;
///
/// # now(async {
/// let memory = Semaphore::new(1024);
/// let mut permit = memory.acquire(512).await?;
/// assert_eq!(memory.available_units(), 512);
/// permit.return_units(500);
/// drop(permit);
/// assert_eq!(memory.available_units(), 1024);
/// # Ok::<(), sunstar_executor::sync::SemaphoreClosed>(())
/// # }).unwrap();
/// ```
pub struct Semaphore {
    available: Cell<usize>,
    /// Units consumed beyond what was available; paid off before anything becomes available.
    debt: Cell<usize>,
    closed: Cell<bool>,
    waiters: WaitList<usize, Result<(), SemaphoreClosed>>,
}

impl Semaphore {
    /// A semaphore with `units` available.
    pub const fn new(units: usize) -> Self {
        Self { available: Cell::new(units), debt: Cell::new(0), closed: Cell::new(false), waiters: WaitList::new() }
    }

    /// Waits for `units`, behind everybody who came before.
    ///
    /// Dropping the future gives up its place, and gives back what it was granted.
    ///
    /// # Errors
    /// [`SemaphoreClosed`] once the semaphore is closed.
    pub async fn acquire(&self, units: usize) -> Result<Permit<&Self>, SemaphoreClosed> {
        Waiter::new(self, units).await?;
        Ok(Permit { semaphore: self, units })
    }

    /// Like [`acquire`](Self::acquire), with a permit that keeps the semaphore alive, for tasks that outlive the caller.
    ///
    /// # Errors
    /// [`SemaphoreClosed`] once the semaphore is closed.
    pub async fn acquire_owned(self: Rc<Self>, units: usize) -> Result<OwnedPermit, SemaphoreClosed> {
        Waiter::new(&*self, units).await?;
        Ok(Permit { semaphore: self, units })
    }

    /// Like [`acquire`](Self::acquire), until `timer` ends.
    ///
    /// # Errors
    /// [`AcquireError::TimedOut`] if the timer ends first, [`AcquireError::Closed`] once the semaphore is closed.
    pub async fn acquire_before(&self, timer: impl Future, units: usize) -> Result<Permit<&Self>, AcquireError> {
        Ok(with_deadline(timer, self.acquire(units)).await??)
    }

    /// Like [`acquire`](Self::acquire), until `source` requests abort.
    ///
    /// # Errors
    /// [`AcquireError::Aborted`] on abort, [`AcquireError::Closed`] once the semaphore is closed.
    pub async fn acquire_unless(&self, source: &AbortSource, units: usize) -> Result<Permit<&Self>, AcquireError> {
        Ok(with_abort(source, self.acquire(units)).await??)
    }

    /// Takes `units` if they are available, nobody waits and the semaphore is open.
    pub fn try_acquire(&self, units: usize) -> Option<Permit<&Self>> {
        self.try_take(units).then(|| Permit { semaphore: self, units })
    }

    /// Like [`try_acquire`](Self::try_acquire), with a permit that keeps the semaphore alive.
    pub fn try_acquire_owned(self: &Rc<Self>, units: usize) -> Option<OwnedPermit> {
        self.try_take(units).then(|| Permit { semaphore: Rc::clone(self), units })
    }

    /// Takes `units` at once, ahead of everybody and even if they are not available.
    ///
    /// What was missing is a debt: nothing is available until it is paid by units that come back.
    pub fn consume(&self, units: usize) -> Permit<&Self> {
        let taken = units.min(self.available.get());
        self.available.set(self.available.get() - taken);
        self.debt.set(self.debt.get().saturating_add(units - taken));
        Permit { semaphore: self, units }
    }

    /// Runs `future` with `units` held, and gives them back when it ends or is dropped.
    ///
    /// # Errors
    /// [`SemaphoreClosed`] once the semaphore is closed; then `future` has not run.
    pub async fn with_units<F: Future>(&self, units: usize, future: F) -> Result<F::Output, SemaphoreClosed> {
        let _permit = self.acquire(units).await?;
        Ok(future.await)
    }

    /// Adds `units`, new ones or those of a forgotten permit, and serves who waits. The count saturates.
    pub fn add_units(&self, units: usize) {
        let paid = units.min(self.debt.get());
        self.debt.set(self.debt.get() - paid);
        self.available.set(self.available.get().saturating_add(units - paid));
        self.serve();
    }

    /// Closes the semaphore: all who wait and all who come get [`SemaphoreClosed`]. Permits stay valid.
    pub fn close(&self) {
        self.closed.set(true);
        self.waiters.grant_all(Err(SemaphoreClosed));
    }

    /// Whether the semaphore was closed.
    pub fn is_closed(&self) -> bool {
        self.closed.get()
    }

    /// Units that nobody holds.
    pub fn available_units(&self) -> usize {
        self.available.get()
    }

    /// Units that were [consumed](Self::consume) beyond what was available and have not come back.
    pub fn debt(&self) -> usize {
        self.debt.get()
    }

    /// How many wait.
    pub fn waiters(&self) -> usize {
        self.waiters.len()
    }

    fn take(&self, units: usize) -> bool {
        let left = self.available.get().checked_sub(units);
        if let Some(left) = left {
            self.available.set(left);
        }
        left.is_some()
    }

    fn try_take(&self, units: usize) -> bool {
        let first = self.waiters.is_empty() || planted::is("overtaking");
        !self.closed.get() && first && self.take(units)
    }

    fn serve(&self) {
        while let Some(units) = self.waiters.front()
            && self.take(units)
        {
            self.waiters.grant_front(Ok(())).expect("there is a waiter in front, and taking units does not wake it");
        }
    }
}

impl Waitable for Semaphore {
    type Request = usize;
    type Grant = Result<(), SemaphoreClosed>;

    fn list(&self) -> &WaitList<usize, Self::Grant> {
        &self.waiters
    }

    fn try_grant(&self, units: &usize) -> Option<Self::Grant> {
        if self.closed.get() { Some(Err(SemaphoreClosed)) } else { self.try_take(*units).then_some(Ok(())) }
    }

    fn left(&self) {
        self.serve();
    }

    fn returned(&self, units: &usize, grant: Self::Grant) {
        if grant.is_ok() {
            self.add_units(*units);
        }
    }
}

impl fmt::Debug for Semaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Semaphore")
            .field("available", &self.available)
            .field("debt", &self.debt)
            .field("closed", &self.closed)
            .field("waiters", &self.waiters())
            .finish()
    }
}

/// Units taken from a [`Semaphore`]; dropping it gives them back.
///
/// `S` is `&Semaphore`, or `Rc<Semaphore>` for an [`OwnedPermit`].
#[must_use = "a permit gives its units back as soon as it is dropped"]
pub struct Permit<S: Deref<Target = Semaphore>> {
    semaphore: S,
    units: usize,
}

/// A permit that keeps its semaphore alive.
pub type OwnedPermit = Permit<Rc<Semaphore>>;

impl<S: Deref<Target = Semaphore>> Permit<S> {
    /// How many units it holds.
    pub fn units(&self) -> usize {
        self.units
    }

    /// Splits `units` off into a permit of their own; `None` if it holds fewer.
    pub fn split(&mut self, units: usize) -> Option<Self>
    where
        S: Clone,
    {
        self.units = self.units.checked_sub(units)?;
        Some(Self { semaphore: self.semaphore.clone(), units })
    }

    /// Takes over the units of `other`.
    ///
    /// # Panics
    /// If `other` belongs to another semaphore.
    pub fn merge(&mut self, mut other: Self) {
        assert!(core::ptr::eq(&*self.semaphore, &*other.semaphore), "permits of different semaphores can't be merged");
        self.units += core::mem::take(&mut other.units);
    }

    /// Gives some of the units back early.
    ///
    /// # Panics
    /// If it holds fewer than `units`.
    pub fn return_units(&mut self, units: usize) {
        self.units = self.units.checked_sub(units).expect("a permit returns no more units than it holds");
        self.semaphore.add_units(units);
    }

    /// Takes the units out of the semaphore's circulation and answers how many; [`Semaphore::add_units`] brings
    /// them back.
    pub fn forget(mut self) -> usize {
        core::mem::take(&mut self.units)
    }
}

impl<S: Deref<Target = Semaphore>> Drop for Permit<S> {
    fn drop(&mut self) {
        if self.units > 0 {
            self.semaphore.add_units(self.units);
            if planted::is("double_release") {
                self.semaphore.add_units(self.units);
            }
        }
    }
}

impl<S: Deref<Target = Semaphore>> fmt::Debug for Permit<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").field("units", &self.units).finish_non_exhaustive()
    }
}
