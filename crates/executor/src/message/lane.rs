//! What a shard keeps for sending to one shard: the ring, and those who wait for room in it.

use alloc::collections::VecDeque;
use alloc::rc::Rc;
use alloc::sync::Arc;
use core::cell::{Cell, RefCell};
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};

use sunstar_packet::Home;

use super::contained::contain;
use super::mesh::Mesh;
use super::ring::Producer;
use super::shard_id::ShardId;
use super::slot::{Label, Message};
use super::waiting::{Waiter, Waiting};
use crate::current;
use crate::shard::Shard;

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
    /// The home of the shard that sends here. Kept, so that no other shard has its address.
    owner: Arc<Home>,
    to: ShardId,
    /// None on the lane to the own shard, which leads to the inboxes. It is borrowed during a call to foreign code
    /// only while messages that a stopped shard left behind are dropped.
    producer: Option<RefCell<Producer>>,
    /// Replies that found no room. They go before all that waits.
    overflow: RefCell<VecDeque<Message>>,
    /// Messages whose senders wait for room.
    waiting: Waiting,
    stopped: Cell<bool>,
    /// Has messages that are staged, and is on the exchange's list of such lanes.
    touched: Cell<bool>,
    /// Something waits for room, and the lane is on the exchange's list of such lanes.
    blocked: Cell<bool>,
}

impl Lane {
    pub(super) fn new(owner: Arc<Home>, to: ShardId, producer: Option<Producer>) -> Rc<Self> {
        Rc::new(Self {
            owner,
            to,
            producer: producer.map(RefCell::new),
            overflow: RefCell::default(),
            waiting: Waiting::default(),
            stopped: Cell::new(false),
            touched: Cell::new(false),
            blocked: Cell::new(false),
        })
    }

    /// Whether the lane leads to the shard that it starts from.
    #[inline]
    pub(super) fn leads_home(&self) -> bool {
        self.producer.is_none()
    }

    /// # Panics
    /// If this is not a lane of `shard`.
    #[inline]
    #[track_caller]
    pub(super) fn check_owner(&self, shard: &Shard) {
        if !Arc::ptr_eq(&self.owner, shard.home.home()) {
            elsewhere();
        }
    }

    /// Sends a closure if there is room and nobody waits for it.
    ///
    /// # Panics
    /// If this is not a lane of `shard`.
    #[inline(always)]
    pub(crate) fn try_send<F>(self: &Rc<Self>, shard: &Shard, label: Label, f: F) -> Result<(), Refused<F>>
    where
        F: FnOnce() + Send + 'static,
    {
        if self.waiting.is_empty() { self.push(shard, label, f) } else { Err(Refused::Full(f)) }
    }

    /// Sends a closure, behind those that wait already. Dropping the future drops the closure, unless it was sent.
    ///
    /// Once it waits, it is sent by the shard's round, whether the future is polled meanwhile or not: so nobody holds
    /// up those behind.
    pub(crate) async fn send<F>(self: Rc<Self>, label: Label, f: F) -> Result<(), Stopped>
    where
        F: FnOnce() + Send + 'static,
    {
        let waiter = match current::with(|shard| self.send_or_wait(shard, label, f)) {
            Ok(waiter) => waiter,
            Err(sent) => return sent,
        };
        Room { lane: &self, waiter }.await
    }

    /// Answers what became of the closure, or who waits with it.
    #[inline]
    fn send_or_wait<F>(self: &Rc<Self>, shard: &Shard, label: Label, f: F) -> Result<Rc<Waiter>, Result<(), Stopped>>
    where
        F: FnOnce() + Send + 'static,
    {
        match self.try_send(shard, label, f) {
            Ok(()) => Err(Ok(())),
            Err(Refused::Stopped(_)) => Err(Err(Stopped)),
            Err(Refused::Full(f)) => {
                shard.counters.waits_for_room.add(1);
                let waiter = self.waiting.add(Message::new(label, f));
                self.block(shard);
                Ok(waiter)
            }
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

    #[inline(always)]
    fn push<F>(self: &Rc<Self>, shard: &Shard, label: Label, f: F) -> Result<(), Refused<F>>
    where
        F: FnOnce() + Send + 'static,
    {
        self.check_owner(shard);
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
        let place = shard.groups.place_of(label);
        if !shard.groups.has_inbox_room(place) {
            return Err(Refused::Full(f));
        }
        shard.counters.sent_messages.add(1);
        shard.groups.deliver(place, Message::new(label, f));
        Ok(())
    }

    /// As [`Lane::push`], for a message that waited.
    fn push_message(self: &Rc<Self>, shard: &Shard, message: Message) -> Result<(), Message> {
        if let Some(producer) = &self.producer {
            let Ok(mut producer) = producer.try_borrow_mut() else { return Err(message) };
            producer.push_message(message)?;
            self.touch(shard);
        } else {
            let place = shard.groups.place_of(message.label());
            if !shard.groups.has_inbox_room(place) {
                return Err(message);
            }
            shard.groups.deliver(place, message);
        }
        shard.counters.sent_messages.add(1);
        Ok(())
    }

    #[inline(always)]
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
        let all_sent = self.send_overflow(shard) && self.waiting.send(|message| self.push_message(shard, message));
        if !all_sent {
            self.block(shard);
        }
    }

    /// Sends replies that wait, and answers whether none is left.
    fn send_overflow(self: &Rc<Self>, shard: &Shard) -> bool {
        let mut overflow = self.overflow.borrow_mut();
        while let Some(message) = overflow.pop_front() {
            if let Err(message) = self.push_message(shard, message) {
                overflow.push_front(message);
                return false;
            }
        }
        true
    }

    /// If the destination has stopped, drops what was sent and not received; who waits learns that it has.
    pub(super) fn reclaim(&self) {
        let Some(producer) = &self.producer else { return };
        let reclaimed = producer.try_borrow_mut().is_ok_and(|mut producer| producer.reclaim());
        if reclaimed && !self.stopped.get() {
            self.stop();
        }
    }

    /// Sends no more. What waits is dropped, and who waits learns it.
    pub(super) fn stop(&self) {
        self.stopped.set(true);
        for reply in self.overflow.take() {
            contain("dropping a reply", || drop(reply));
        }
        self.waiting.stop();
    }
}

/// Waits until a waiting message was sent. Dropping it takes the message back.
struct Room<'a> {
    lane: &'a Lane,
    waiter: Rc<Waiter>,
}

impl Future for Room<'_> {
    type Output = Result<(), Stopped>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.waiter.poll(cx)
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        self.lane.waiting.remove(&self.waiter);
    }
}

#[cold]
#[track_caller]
fn elsewhere() -> ! {
    panic!("a message was sent on another shard than the one where its future was made");
}
