//! The shard's side: who waits for which signal.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};

use super::Signal;
use super::handler::{Ear, Installation};
use crate::platform::{LinuxPlatform, Source};

/// All subscriptions of one shard.
pub(crate) struct Hub {
    ear: Ear,
    subscriptions: RefCell<Vec<Weak<Subscription>>>,
}

/// One subscription to one signal.
pub(super) struct Subscription {
    signal: Signal,
    arrived: Cell<bool>,
    waiting: RefCell<Option<Waker>>,
    hub: Rc<Hub>,
    _installation: Installation,
}

impl Hub {
    /// A hub that `platform` asks on every poll.
    pub(crate) fn new(platform: &LinuxPlatform) -> io::Result<Rc<Self>> {
        let hub = Rc::new(Self { ear: Ear::new()?, subscriptions: RefCell::default() });
        platform.add_source(hub.ear.bell(), Rc::clone(&hub) as Rc<dyn Source>)?;
        Ok(hub)
    }

    pub(super) fn subscribe(self: &Rc<Self>, signal: Signal) -> io::Result<Rc<Subscription>> {
        // Listen first: from the moment that the handler is installed no signal is lost.
        self.ear.listen_to(self.wanted() | signal.bit());
        let installation = Installation::new(signal).inspect_err(|_| self.ear.listen_to(self.wanted()))?;
        let subscription = Rc::new(Subscription {
            signal,
            arrived: Cell::new(false),
            waiting: RefCell::default(),
            hub: Rc::clone(self),
            _installation: installation,
        });
        self.subscriptions.borrow_mut().push(Rc::downgrade(&subscription));
        Ok(subscription)
    }

    /// The bits of the signals that are subscribed to.
    fn wanted(&self) -> u64 {
        let subscriptions = self.subscriptions.borrow();
        subscriptions.iter().filter_map(Weak::upgrade).fold(0, |bits, subscription| bits | subscription.signal.bit())
    }
}

impl Source for Hub {
    #[inline]
    fn is_pending(&self) -> bool {
        self.ear.is_pending()
    }

    fn handle(&self) {
        let arrived = self.ear.take();
        // Collected first: a woken task may subscribe or unsubscribe.
        let concerned: Vec<_> = self.subscriptions.borrow().iter().filter_map(Weak::upgrade).collect();
        for subscription in concerned.iter().filter(|subscription| arrived & subscription.signal.bit() != 0) {
            subscription.arrived.set(true);
            if let Some(waker) = subscription.waiting.take() {
                waker.wake();
            }
        }
    }
}

impl Subscription {
    pub(super) fn poll_arrived(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.arrived.take() {
            return Poll::Ready(());
        }
        let mut waiting = self.waiting.borrow_mut();
        match &mut *waiting {
            Some(waker) => waker.clone_from(cx.waker()),
            None => *waiting = Some(cx.waker().clone()),
        }
        Poll::Pending
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.hub.subscriptions.borrow_mut().retain(|other| other.strong_count() > 0);
        self.hub.ear.listen_to(self.hub.wanted());
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").field("signal", &self.signal).field("arrived", &self.arrived).finish()
    }
}
