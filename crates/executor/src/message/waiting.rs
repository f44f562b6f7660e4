//! Messages that wait for room, with the futures of those who sent them.

use alloc::collections::VecDeque;
use alloc::rc::Rc;
use core::cell::{Cell, RefCell};
use core::task::{Context, Poll, Waker};

use super::contained::contain;
use super::lane::Stopped;
use super::slot::Message;

/// A message that waits, shared by the queue and by the sender's future.
pub(super) struct Waiter {
    /// None once it was sent, taken back or dropped.
    message: Cell<Option<Message>>,
    waker: Cell<Option<Waker>>,
    /// What became of the message.
    outcome: Cell<Option<Result<(), Stopped>>>,
}

impl Waiter {
    pub(super) fn poll(&self, cx: &Context<'_>) -> Poll<Result<(), Stopped>> {
        if let Some(outcome) = self.outcome.get() {
            return Poll::Ready(outcome);
        }
        drop(self.waker.replace(Some(cx.waker().clone())));
        Poll::Pending
    }

    /// Tells the sender what became of the message. Calls foreign code.
    fn finish(&self, outcome: Result<(), Stopped>) {
        self.outcome.set(Some(outcome));
        if let Some(waker) = self.waker.take() {
            contain("waking who waits for room", || waker.wake());
        }
    }
}

/// The queue of a lane. It has no more entries than there are futures that wait.
#[derive(Default)]
pub(super) struct Waiting {
    queue: RefCell<VecDeque<Rc<Waiter>>>,
}

impl Waiting {
    pub(super) fn is_empty(&self) -> bool {
        self.queue.borrow().is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.queue.borrow().len()
    }

    /// Appends a message.
    pub(super) fn add(&self, message: Message) -> Rc<Waiter> {
        let message = Cell::new(Some(message));
        let waiter = Rc::new(Waiter { message, waker: Cell::new(None), outcome: Cell::new(None) });
        self.queue.borrow_mut().push_back(Rc::clone(&waiter));
        waiter
    }

    /// Sends messages with `send`, oldest first, until it gives one back; answers whether none is left.
    pub(super) fn send(&self, mut send: impl FnMut(Message) -> Result<(), Message>) -> bool {
        loop {
            let Some(waiter) = self.queue.borrow_mut().pop_front() else { return true };
            let Some(message) = waiter.message.take() else { continue };
            if let Err(message) = send(message) {
                waiter.message.set(Some(message));
                self.queue.borrow_mut().push_front(waiter);
                return false;
            }
            waiter.finish(Ok(()));
        }
    }

    /// Takes a message that was not sent off the queue and drops it.
    pub(super) fn remove(&self, waiter: &Rc<Waiter>) {
        let message = waiter.message.take();
        if message.is_some() {
            self.queue.borrow_mut().retain(|other| !Rc::ptr_eq(other, waiter));
        }
        // What is dropped may run anything, so it comes last.
        drop((message, waiter.waker.take()));
    }

    /// Drops all messages and tells their senders.
    pub(super) fn stop(&self) {
        for waiter in self.queue.take() {
            let message = waiter.message.take();
            contain("dropping a message that waited", || drop(message));
            waiter.finish(Err(Stopped));
        }
    }
}
