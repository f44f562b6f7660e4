//! What a shard keeps for sending to one shard: the ring, and those who wait for room in it.

use alloc::collections::VecDeque;
use alloc::rc::Rc;
use core::cell::{Cell, RefCell};
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};

use super::INBOX_MESSAGES;
use super::mesh::Mesh;
use super::ring::Producer;
use super::shard_id::ShardId;
use super::slot::{Label, Message};
use crate::current;
use crate::shard::Shard;
use crate::sync::Semaphore;

/// Why a closure was not taken; it comes back.
pub(crate) enum Refused<F> {
    /// There is no room now.
    Full(F),
    /// The destination takes no messages any more.
    Stopped(F),
}

/// The destination takes no messages any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stopped;

impl core::fmt::Display for Stopped {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("the shard has stopped")
    }
}

impl core::error::Error for Stopped {}

/// The way from one shard to another, or to itself.
pub(crate) struct Lane {
    to: ShardId,
    /// None on the lane to the own shard, which leads to the inboxes. It is borrowed during a call to foreign code
    /// only while messages that a stopped shard left behind are dropped.
    producer: Option<RefCell<Producer>>,
    /// Replies that found no room. They go before all that waits.
    overflow: RefCell<VecDeque<Message>>,
    /// One unit: who has it is the next to send, the others wait in order.
    turn: Semaphore,
    /// Wakes who has the turn, when there is room.
    room: Cell<Option<Waker>>,
    stopped: Cell<bool>,
    /// Has messages that are staged, and is on the exchange's list of such lanes.
    touched: Cell<bool>,
    /// Somebody waits for room, and the lane is on the exchange's list of such lanes.
    blocked: Cell<bool>,
}

impl Lane {
    pub(super) fn new(to: ShardId, producer: Option<Producer>) -> Rc<Self> {
        Rc::new(Self {
            to,
            producer: producer.map(RefCell::new),
            overflow: RefCell::default(),
            turn: Semaphore::new(1),
            room: Cell::new(None),
            stopped: Cell::new(false),
            touched: Cell::new(false),
            blocked: Cell::new(false),
        })
    }

    /// Sends a closure if there is room and nobody waits for it.
    #[inline]
    pub(crate) fn try_send<F>(self: &Rc<Self>, shard: &Shard, label: Label, f: F) -> Result<(), Refused<F>>
    where
        F: FnOnce() + Send + 'static,
    {
        if self.turn.available_units() == 0 { Err(Refused::Full(f)) } else { self.push(shard, label, f) }
    }

    /// Sends a closure, behind those who wait already. Dropping the future drops the closure, unless it was sent.
    pub(crate) async fn send<F>(self: Rc<Self>, label: Label, f: F) -> Result<(), Stopped>
    where
        F: FnOnce() + Send + 'static,
    {
        let mut f = match current::with(|shard| self.try_send(shard, label, f)) {
            Ok(()) => return Ok(()),
            Err(Refused::Stopped(_)) => return Err(Stopped),
            Err(Refused::Full(f)) => f,
        };
        current::with(|shard| shard.counters.waits_for_room.add(1));
        let _turn = self.turn.acquire(1).await.map_err(|_| Stopped)?;
        loop {
            f = match current::with(|shard| self.push(shard, label, f)) {
                Ok(()) => return Ok(()),
                Err(Refused::Stopped(_)) => return Err(Stopped),
                Err(Refused::Full(f)) => f,
            };
            Room { lane: &self, waited: false }.await;
        }
    }

    /// Sends a reply: it never waits, but what finds no room is kept here.
    pub(crate) fn reply<F>(self: &Rc<Self>, shard: &Shard, label: Label, f: F)
    where
        F: FnOnce() + Send + 'static,
    {
        match self.push(shard, label, f) {
            // Dropping a reply sends its call home.
            Ok(()) | Err(Refused::Stopped(_)) => {}
            Err(Refused::Full(f)) => {
                shard.counters.overflowed_replies.add(1);
                self.overflow.borrow_mut().push_back(Message::new(label, f));
                self.block(shard);
            }
        }
    }

    #[inline]
    fn push<F>(self: &Rc<Self>, shard: &Shard, label: Label, f: F) -> Result<(), Refused<F>>
    where
        F: FnOnce() + Send + 'static,
    {
        if self.stopped.get() {
            return Err(Refused::Stopped(f));
        }
        if !self.overflow.borrow().is_empty() {
            return Err(Refused::Full(f));
        }
        let Some(producer) = &self.producer else { return Self::push_home(shard, label, f) };
        let Ok(mut producer) = producer.try_borrow_mut() else { return Err(Refused::Stopped(f)) };
        producer.push(label, f).map_err(Refused::Full)?;
        shard.counters.sent_messages.add(1);
        self.touch(shard);
        Ok(())
    }

    fn push_home<F>(shard: &Shard, label: Label, f: F) -> Result<(), Refused<F>>
    where
        F: FnOnce() + Send + 'static,
    {
        if shard.groups.messages() >= INBOX_MESSAGES {
            return Err(Refused::Full(f));
        }
        shard.counters.sent_messages.add(1);
        shard.groups.deliver(label.group, Message::new(label, f));
        Ok(())
    }

    #[inline]
    fn touch(self: &Rc<Self>, shard: &Shard) {
        if !self.touched.replace(true) {
            shard.exchange.add_touched(Rc::clone(self));
        }
    }

    fn block(self: &Rc<Self>, shard: &Shard) {
        if !self.blocked.replace(true) {
            shard.exchange.add_blocked(Rc::clone(self));
        }
    }

    /// Publishes what is staged.
    #[inline]
    pub(super) fn publish(&self) {
        if let Some(producer) = &self.producer
            && let Ok(mut producer) = producer.try_borrow_mut()
        {
            producer.flush();
        }
    }

    /// Publishes what is staged and wakes the destination if it sleeps. Called for a lane that was just taken off the
    /// list of touched ones.
    pub(super) fn flush(&self, mesh: &Mesh) {
        self.touched.set(false);
        self.publish();
        mesh.notify(self.to);
    }

    /// Sends what waits, as far as there is room. Called for a lane that was just taken off the list of blocked ones.
    pub(super) fn retry(self: &Rc<Self>, shard: &Shard) {
        self.blocked.set(false);
        if self.send_overflow(shard) && self.has_room(shard) {
            if let Some(waker) = self.room.take() {
                waker.wake();
            }
        } else {
            self.block(shard);
        }
    }

    /// Sends replies that wait, and answers whether none is left.
    fn send_overflow(self: &Rc<Self>, shard: &Shard) -> bool {
        let mut overflow = self.overflow.borrow_mut();
        while let Some(message) = overflow.pop_front() {
            let Some(producer) = &self.producer else { return true };
            let Ok(mut producer) = producer.try_borrow_mut() else { return true };
            if let Err(message) = producer.push_message(message) {
                overflow.push_front(message);
                return false;
            }
            shard.counters.sent_messages.add(1);
            self.touch(shard);
        }
        true
    }

    fn has_room(&self, shard: &Shard) -> bool {
        match &self.producer {
            _ if self.stopped.get() => true,
            Some(producer) => producer.try_borrow_mut().map_or(true, |mut producer| producer.has_room()),
            None => shard.groups.messages() < INBOX_MESSAGES,
        }
    }

    /// If the destination has stopped, drops what was sent and not received; who waits learns that it has.
    pub(super) fn reclaim(&self) {
        let Some(producer) = &self.producer else { return };
        let reclaimed = producer.try_borrow_mut().is_ok_and(|mut producer| producer.reclaim());
        if reclaimed && !self.stopped.get() {
            self.stop();
        }
    }

    /// Sends no more. What waits is dropped.
    pub(super) fn stop(&self) {
        self.stopped.set(true);
        drop(self.overflow.take());
        if let Some(waker) = self.room.take() {
            waker.wake();
        }
    }
}

/// A future that waits until there may be room; awaited by who has the turn.
struct Room<'a> {
    lane: &'a Rc<Lane>,
    waited: bool,
}

impl Future for Room<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.waited {
            return Poll::Ready(());
        }
        self.waited = true;
        self.lane.room.set(Some(cx.waker().clone()));
        current::with(|shard| self.lane.block(shard));
        Poll::Pending
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        drop(self.lane.room.take());
    }
}
