//! One result for many who wait.

use alloc::boxed::Box;
use alloc::rc::Rc;
use core::cell::{Cell, RefCell};
use core::fmt;
use core::future::{Future, poll_fn};
use core::pin::Pin;
use core::task::{Context, Poll};

use super::wait_list::{WaitList, Waitable, Waiter};

/// A future whose output goes, cloned, to everybody who waits for it.
///
/// It runs while somebody waits: one of the waiters, the *driver*, polls the inner future; if it goes away, the next in
/// line drives. So a waiter that is neither polled nor dropped when it is woken may hold up the others. With nobody waiting
/// it rests, and goes on with the next one who comes.
///
/// The clones share the inner future. If it panics, so does everybody who waits.
pub struct SharedFuture<F: Future + ?Sized> {
    shared: Rc<Shared<F>>,
}

struct Shared<F: Future + ?Sized> {
    state: RefCell<State<F>>,
    /// Whether there is a driver.
    driven: Cell<bool>,
    waiters: WaitList<(), Turn>,
}

enum State<F: Future + ?Sized> {
    Running(Pin<Box<F>>),
    Done(F::Output),
}

#[derive(Clone, Copy)]
pub(crate) enum Turn {
    Drive,
    Done,
}

impl<F: Future> SharedFuture<F> {
    /// Shares `future`, which begins with the first who waits.
    pub fn new(future: F) -> Self {
        Self::from_boxed(Box::pin(future))
    }
}

impl<F: Future + ?Sized> SharedFuture<F> {
    /// Shares a future that is already boxed, so that `F` may be `dyn Future<Output = T>`.
    pub fn from_boxed(future: Pin<Box<F>>) -> Self {
        let state = RefCell::new(State::Running(future));
        Self { shared: Rc::new(Shared { state, driven: Cell::new(false), waiters: WaitList::new() }) }
    }

    /// Waits for the output.
    ///
    /// Dropping the future passes the duty to drive to another one who waits.
    #[expect(clippy::missing_panics_doc, reason = "the state in which it would panic does not occur")]
    pub async fn get(&self) -> F::Output
    where
        F::Output: Clone,
    {
        let shared = &*self.shared;
        if let Turn::Drive = Waiter::new(shared, ()).await {
            let _driver = Driver { shared };
            poll_fn(|cx| shared.poll_inner(cx)).await;
        }
        shared.output().expect("a turn ends when the output is there")
    }

    /// The output, if it is there.
    pub fn peek(&self) -> Option<F::Output>
    where
        F::Output: Clone,
    {
        self.shared.output()
    }

    /// Whether the output is there, so that waiting takes no time.
    pub fn is_ready(&self) -> bool {
        self.shared.is_done()
    }
}

impl<F: Future + ?Sized> Clone for SharedFuture<F> {
    fn clone(&self) -> Self {
        Self { shared: Rc::clone(&self.shared) }
    }
}

impl<F: Future + ?Sized> fmt::Debug for SharedFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedFuture").field("is_ready", &self.is_ready()).finish_non_exhaustive()
    }
}

impl<F: Future + ?Sized> Shared<F> {
    /// Polls the inner future; called by the driver only, so the state is not borrowed.
    fn poll_inner(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state.borrow_mut();
        let State::Running(inner) = &mut *state else { return Poll::Ready(()) };
        let Poll::Ready(output) = inner.as_mut().poll(cx) else { return Poll::Pending };
        let finished = core::mem::replace(&mut *state, State::Done(output));
        drop(state);
        // What the inner future held may look at this one: dropped with nothing borrowed.
        drop(finished);
        Poll::Ready(())
    }

    // The state is borrowed uniquely only while the inner future runs, and then there is no output.
    fn output(&self) -> Option<F::Output>
    where
        F::Output: Clone,
    {
        match &*self.state.try_borrow().ok()? {
            State::Done(output) => Some(output.clone()),
            State::Running(_) => None,
        }
    }

    fn is_done(&self) -> bool {
        self.state.try_borrow().is_ok_and(|state| matches!(*state, State::Done(_)))
    }

    fn end_drive(&self) {
        if self.is_done() {
            self.waiters.grant_all(Turn::Done);
        } else if self.waiters.grant_front(Turn::Drive).is_err() {
            self.driven.set(false);
        }
    }
}

impl<F: Future + ?Sized> Waitable for Shared<F> {
    type Request = ();
    type Grant = Turn;

    fn list(&self) -> &WaitList<(), Turn> {
        &self.waiters
    }

    fn try_grant(&self, (): &()) -> Option<Turn> {
        if self.is_done() { Some(Turn::Done) } else { (!self.driven.replace(true)).then_some(Turn::Drive) }
    }

    fn returned(&self, (): &(), turn: Turn) {
        if let Turn::Drive = turn {
            self.end_drive();
        }
    }
}

/// The duty to poll the inner future; dropping it passes it on.
struct Driver<'a, F: Future + ?Sized> {
    shared: &'a Shared<F>,
}

impl<F: Future + ?Sized> Drop for Driver<'_, F> {
    fn drop(&mut self) {
        self.shared.end_drive();
    }
}
