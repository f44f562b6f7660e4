//! A request to stop that many parts can listen to.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use core::cell::{Cell, RefCell};
use core::fmt;
use core::future::Future;
use core::ops::Deref;
use core::pin::Pin;
use core::task::{Context, Poll};

use super::wait_list::{WaitList, Waitable, Waiter};
use crate::combine::Unless;

/// Abort was requested.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Aborted;

impl fmt::Display for Aborted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("abort was requested")
    }
}

impl core::error::Error for Aborted {}

/// Where abort is requested, once and for all, and from where it is learned.
///
/// Learned by asking ([`check`](Self::check)), by waiting ([`aborted`](Self::aborted), [`with_abort`]) or by a call
/// ([`subscribe`](Self::subscribe)).
#[derive(Default)]
pub struct AbortSource {
    requested: Cell<bool>,
    waiters: WaitList<(), ()>,
    next_subscription: Cell<u64>,
    /// In the order of subscription.
    callbacks: RefCell<BTreeMap<u64, Box<dyn FnOnce()>>>,
}

impl AbortSource {
    /// A source at which nobody has requested abort.
    pub const fn new() -> Self {
        Self {
            requested: Cell::new(false),
            waiters: WaitList::new(),
            next_subscription: Cell::new(0),
            callbacks: RefCell::new(BTreeMap::new()),
        }
    }

    /// Requests abort: wakes all who wait and runs the callbacks in the order of their subscription. A second request
    /// does nothing.
    ///
    /// # Panics
    /// If a callback panics; the later ones run nevertheless. If another one of them panics too, the program ends.
    pub fn request_abort(&self) {
        if self.requested.replace(true) {
            return;
        }
        let _rest = Rest(self);
        self.tell();
    }

    /// Wakes who waits and runs the callbacks that are left.
    fn tell(&self) {
        self.waiters.grant_all(());
        // One at a time and with nothing borrowed, because a callback may drop another's subscription.
        while let Some(callback) = self.take_first_callback() {
            callback();
        }
    }

    /// Whether abort was requested.
    pub fn abort_requested(&self) -> bool {
        self.requested.get()
    }

    /// The same as a result, for use with `?`.
    ///
    /// # Errors
    /// [`Aborted`] once abort was requested.
    pub fn check(&self) -> Result<(), Aborted> {
        if self.requested.get() { Err(Aborted) } else { Ok(()) }
    }

    /// Waits until abort is requested.
    pub async fn aborted(&self) {
        self.waiter().await;
    }

    fn waiter(&self) -> Waiter<'_, Self> {
        Waiter::new(self, ())
    }

    /// Has `callback` called when abort is requested, unless the subscription is dropped before.
    ///
    /// # Errors
    /// [`Aborted`] if that has already happened; then `callback` is dropped.
    pub fn subscribe(&self, callback: impl FnOnce() + 'static) -> Result<Subscription<&Self>, Aborted> {
        Subscription::new(self, Box::new(callback))
    }

    /// Like [`subscribe`](Self::subscribe), with a subscription that keeps the source alive.
    ///
    /// # Errors
    /// [`Aborted`] if abort was already requested; then `callback` is dropped.
    pub fn subscribe_owned(
        self: &alloc::rc::Rc<Self>,
        callback: impl FnOnce() + 'static,
    ) -> Result<Subscription<alloc::rc::Rc<Self>>, Aborted> {
        Subscription::new(alloc::rc::Rc::clone(self), Box::new(callback))
    }

    fn take_first_callback(&self) -> Option<Box<dyn FnOnce()>> {
        self.callbacks.borrow_mut().pop_first().map(|(_, callback)| callback)
    }
}

/// Tells the rest when a callback or a waker has panicked, so that nobody is stranded.
struct Rest<'a>(&'a AbortSource);

impl Drop for Rest<'_> {
    fn drop(&mut self) {
        self.0.tell();
    }
}

impl Waitable for AbortSource {
    type Request = ();
    type Grant = ();

    fn list(&self) -> &WaitList<(), ()> {
        &self.waiters
    }

    fn try_grant(&self, (): &()) -> Option<()> {
        self.requested.get().then_some(())
    }

    fn returned(&self, (): &(), (): ()) {}
}

impl fmt::Debug for AbortSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AbortSource").field("requested", &self.requested).finish_non_exhaustive()
    }
}

/// A callback registered at an [`AbortSource`]; dropping it takes the callback back.
#[must_use = "dropping the subscription takes the callback back"]
pub struct Subscription<A: Deref<Target = AbortSource>> {
    source: A,
    id: u64,
}

impl<A: Deref<Target = AbortSource>> Subscription<A> {
    fn new(source: A, callback: Box<dyn FnOnce()>) -> Result<Self, Aborted> {
        source.check()?;
        let id = source.next_subscription.replace(source.next_subscription.get() + 1);
        source.callbacks.borrow_mut().insert(id, callback);
        Ok(Self { source, id })
    }
}

impl<A: Deref<Target = AbortSource>> Drop for Subscription<A> {
    fn drop(&mut self) {
        let callback = self.source.callbacks.borrow_mut().remove(&self.id);
        // What the callback holds may have a subscription itself: dropped with nothing borrowed.
        drop(callback);
    }
}

impl<A: Deref<Target = AbortSource>> fmt::Debug for Subscription<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Runs `future` until abort is requested at `source`, and then drops it.
///
/// If both happen before the next poll, the future's output wins.
///
/// # Errors
/// [`Aborted`] if abort came first; if it came before the first poll, `future` has not run at all.
pub fn with_abort<F: Future>(source: &AbortSource, future: F) -> impl Future<Output = Result<F::Output, Aborted>> {
    WithAbort { unchecked: Some(source), running: Unless::new(source.waiter(), future, Aborted) }
}

/// As [`Unless`], which lets the future run before it looks at the end.
struct WithAbort<'a, E, F> {
    /// What is to be looked at before the first poll.
    unchecked: Option<&'a AbortSource>,
    running: Unless<E, F, Aborted>,
}

impl<E: Future, F: Future> Future for WithAbort<'_, E, F> {
    type Output = Result<F::Output, Aborted>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // SAFETY: `running` is pinned with its owner: nothing moves it out of it, it has no `Drop` of its own, and it is `Unpin` only if
        // this field is.
        let (unchecked, running) = unsafe {
            let this = self.get_unchecked_mut();
            (&mut this.unchecked, Pin::new_unchecked(&mut this.running))
        };
        if let Some(source) = unchecked.take() {
            source.check()?;
        }
        running.poll(cx)
    }
}
