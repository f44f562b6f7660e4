//! The list of waiters that every primitive of [`sync`](super) is built on.
//!
//! A [`Waiter`] is a future that carries its own list node. It is linked while it waits and unlinks itself in
//! constant time when it is dropped. Whoever serves the list hands a *grant* to the waiter in front, which leaves the
//! list at that moment. A waiter that is dropped with a grant it never looked at returns it through
//! [`Waitable::returned`], so no wake is lost.
//!
//! This is the only unsafe part of the module. Its invariants:
//!
//! 1. A node's `list` is set exactly while the node is linked, and then it points to that list.
//! 2. A linked node is part of a pinned `Waiter`. By the guarantee of `Pin` its memory stays valid until
//!    `Waiter::drop` has run, and that unlinks it. A forgotten waiter is memory that is never reused.
//! 3. The list lives at least as long as the borrow in the waiter and does not move during it.
//! 4. Links are only written here, through shared references and `Cell`s, on one thread (everything is `!Send`).
//!    `Waiter` is `!Unpin`, so a unique reference to the future claims no exclusive access to the node in it.
//! 5. No foreign code (wakers, methods of `Waitable`) runs while links are inconsistent.

use core::cell::Cell;
use core::future::Future;
use core::marker::PhantomPinned;
use core::pin::Pin;
use core::ptr;
use core::task::{Context, Poll, Waker};

/// A queue of waiters that ask for an `R` and are answered by a `G`, first in, first out.
pub(crate) struct WaitList<R, G> {
    head: Cell<*const Node<R, G>>,
    tail: Cell<*const Node<R, G>>,
    len: Cell<usize>,
}

struct Node<R, G> {
    list: Cell<*const WaitList<R, G>>,
    previous: Cell<*const Node<R, G>>,
    next: Cell<*const Node<R, G>>,
    waker: Cell<Option<Waker>>,
    grant: Cell<Option<G>>,
    request: R,
    _pinned: PhantomPinned,
}

impl<R, G> WaitList<R, G> {
    pub(crate) const fn new() -> Self {
        Self { head: Cell::new(ptr::null()), tail: Cell::new(ptr::null()), len: Cell::new(0) }
    }

    pub(crate) fn len(&self) -> usize {
        self.len.get()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.head.get().is_null()
    }

    /// What the waiter in front asks for.
    pub(crate) fn front(&self) -> Option<R>
    where
        R: Copy,
    {
        // SAFETY: a linked node is valid (invariant 2).
        unsafe { self.head.get().as_ref() }.map(|node| node.request)
    }

    /// Serves the waiter in front and wakes it; gives the grant back if nobody waits.
    ///
    /// The waker may run anything, so the caller's own books must be in order before the call.
    pub(crate) fn grant_front(&self, grant: G) -> Result<(), G> {
        // SAFETY: a linked node is valid (invariant 2), and no foreign code runs before its last use here.
        let Some(node) = (unsafe { self.head.get().as_ref() }) else { return Err(grant) };
        node.grant.set(Some(grant));
        let waker = node.waker.take();
        self.unlink(node);
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(())
    }

    /// Serves all who wait now.
    pub(crate) fn grant_all(&self, grant: G)
    where
        G: Clone,
    {
        for _ in 0..self.len() {
            if self.grant_front(grant.clone()).is_err() {
                return;
            }
        }
    }

    /// Links `node` in at the end.
    ///
    /// # Safety
    /// The node must be unlinked, pinned together with this list's borrow, and unlinked before it is dropped.
    unsafe fn push_back(&self, node: &Node<R, G>) {
        debug_assert!(node.list.get().is_null(), "a node is linked once at a time");
        let last = self.tail.replace(node);
        node.list.set(self);
        node.previous.set(last);
        node.next.set(ptr::null());
        // SAFETY: a linked node is valid (invariant 2).
        match unsafe { last.as_ref() } {
            Some(last) => last.next.set(node),
            None => self.head.set(node),
        }
        self.len.set(self.len.get() + 1);
    }

    /// Takes `node`, which is linked into this list, out of it.
    fn unlink(&self, node: &Node<R, G>) {
        debug_assert!(ptr::eq(node.list.get(), self), "a node is unlinked from the list that it is in");
        let (previous, next) = (node.previous.get(), node.next.get());
        // SAFETY: the neighbours of a linked node are linked, hence valid (invariant 2).
        match unsafe { previous.as_ref() } {
            Some(previous) => previous.next.set(next),
            None => self.head.set(next),
        }
        // SAFETY: as above.
        match unsafe { next.as_ref() } {
            Some(next) => next.previous.set(previous),
            None => self.tail.set(previous),
        }
        node.list.set(ptr::null());
        self.len.set(self.len.get() - 1);
    }
}

impl<R, G> Default for WaitList<R, G> {
    fn default() -> Self {
        Self::new()
    }
}

/// A primitive that can be waited for; `S` tells apart the lists of one that has several.
pub(crate) trait Waitable<S = ()> {
    /// What a waiter asks for.
    type Request;
    /// What it is answered.
    type Grant;

    /// Where its waiters queue.
    fn list(&self) -> &WaitList<Self::Request, Self::Grant>;

    /// Serves a newcomer at once, or answers `None` to let it queue.
    fn try_grant(&self, request: &Self::Request) -> Option<Self::Grant>;

    /// A waiter left the queue before it was served, which may be good news for those behind it.
    fn left(&self) {}

    /// A waiter went away with a grant that it never looked at.
    fn returned(&self, request: &Self::Request, grant: Self::Grant);
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// Not polled yet, so without a place in the queue.
    New,
    /// Linked, or unlinked again with a grant.
    Waiting,
    /// The grant was handed out.
    Done,
}

/// A future that waits in the list of a primitive for its grant.
///
/// It queues when it is first polled. Dropping it leaves the queue and returns a grant not yet looked at.
#[must_use = "a waiter waits only while it is polled"]
pub(crate) struct Waiter<'a, T: Waitable<S>, S = ()> {
    target: &'a T,
    progress: Cell<Progress>,
    node: Node<T::Request, T::Grant>,
}

impl<'a, T: Waitable<S>, S> Waiter<'a, T, S> {
    pub(crate) fn new(target: &'a T, request: T::Request) -> Self {
        let node = Node {
            list: Cell::new(ptr::null()),
            previous: Cell::new(ptr::null()),
            next: Cell::new(ptr::null()),
            waker: Cell::new(None),
            grant: Cell::new(None),
            request,
            _pinned: PhantomPinned,
        };
        Self { target, progress: Cell::new(Progress::New), node }
    }

    fn enqueue(self: Pin<&Self>, waker: Waker) {
        let this = self.get_ref();
        this.node.waker.set(Some(waker));
        this.progress.set(Progress::Waiting);
        // SAFETY: `self` is pinned, borrows the list's owner, and `drop` unlinks the node; a new one is unlinked.
        unsafe { this.target.list().push_back(&this.node) };
    }

    fn renew_waker(&self, waker: &Waker) {
        let stale = match self.node.waker.take() {
            Some(kept) if kept.will_wake(waker) => {
                self.node.waker.set(Some(kept));
                return;
            }
            stale => stale,
        };
        self.node.waker.set(Some(waker.clone()));
        // Dropping a waker may run anything, so it comes last.
        drop(stale);
    }
}

impl<T: Waitable<S>, S> Future for Waiter<'_, T, S> {
    type Output = T::Grant;

    /// # Panics
    /// If polled again after it was ready.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T::Grant> {
        let this = self.into_ref();
        let grant = match this.progress.get() {
            Progress::New => this.target.try_grant(&this.node.request),
            Progress::Waiting => this.node.grant.take(),
            Progress::Done => panic!("a waiter was polled after it was ready"),
        };
        match grant {
            Some(grant) => {
                this.progress.set(Progress::Done);
                return Poll::Ready(grant);
            }
            None if this.progress.get() == Progress::New => this.enqueue(cx.waker().clone()),
            None => this.renew_waker(cx.waker()),
        }
        Poll::Pending
    }
}

impl<T: Waitable<S>, S> Drop for Waiter<'_, T, S> {
    fn drop(&mut self) {
        let node = &self.node;
        // SAFETY: `list` is set only while linked (invariant 1), and then the list is alive (invariant 3).
        if let Some(list) = unsafe { node.list.get().as_ref() } {
            list.unlink(node);
            let waker = node.waker.take();
            if planted::is("leaked_waiter") {
                core::mem::forget(waker.clone());
            }
            drop(waker);
            if !planted::is("blocked_by_gone") {
                self.target.left();
            }
        } else if let Some(grant) = node.grant.take() {
            if planted::is("lost_wake") {
                drop(grant);
            } else {
                self.target.returned(&node.request, grant);
            }
        }
    }
}
