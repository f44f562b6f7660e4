//! What a shard keeps for sending to one shard: the ring, and those who wait for room in it.

use alloc::collections::VecDeque;
use alloc::rc::Rc;
use core::cell::{Cell, RefCell, UnsafeCell};

use super::contained::contain;
use super::mesh::Mesh;
use super::ring::Producer;
use super::shard_id::ShardId;
use super::slot::{Label, Message};
use super::waiting::{Waiter, Waiting};
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
    to: ShardId,
    /// None on the lane to the own shard, which leads to the inboxes. No reference to it lives during a call to foreign
    /// code.
    producer: Option<UnsafeCell<Producer>>,
    /// Replies that found no room. They go before all that waits.
    overflow: RefCell<VecDeque<Message>>,
    /// Messages whose senders wait for room.
    waiting: Waiting,
    state: Cell<State>,
    /// Has messages that are staged, and is on the exchange's list of such lanes.
    touched: Cell<bool>,
}

/// What becomes of a closure.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// It is sent if there is room.
    Open,
    /// Something waits for room, or has given up since the last round; the lane is on the exchange's list of such lanes.
    Blocked,
    /// Nothing is sent any more.
    Stopped,
}

impl Lane {
    pub(super) fn new(to: ShardId, producer: Option<Producer>) -> Rc<Self> {
        Rc::new(Self {
            to,
            producer: producer.map(UnsafeCell::new),
            overflow: RefCell::default(),
            waiting: Waiting::default(),
            state: Cell::new(State::Open),
            touched: Cell::new(false),
        })
    }

    /// Whether the lane leads to the shard that it starts from.
    #[inline]
    pub(super) fn leads_home(&self) -> bool {
        self.producer.is_none()
    }

    /// Sends a closure if there is room and nobody waits for it.
    #[inline(always)]
    pub(crate) fn try_send<F>(self: &Rc<Self>, shard: &Shard, label: Label, f: F) -> Result<(), Refused<F>>
    where
        F: FnOnce() + Send + 'static,
    {
        match self.state.get() {
            State::Open => self.push(shard, label, f).map_err(Refused::Full),
            State::Blocked if self.is_waited_for() => Err(Refused::Full(f)),
            State::Blocked => self.push(shard, label, f).map_err(Refused::Full),
            State::Stopped => Err(Refused::Stopped(f)),
        }
    }

    /// How many messages and replies wait for room.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len() + self.overflow.borrow().len()
    }

    /// Whether a message or a reply waits for room.
    #[cold]
    fn is_waited_for(&self) -> bool {
        !self.waiting.is_empty() || !self.overflow.borrow().is_empty()
    }

    /// Has a message wait for room. It is sent by the shard's round, whether anybody polls the waiter or not.
    #[cold]
    pub(super) fn wait_for_room(self: &Rc<Self>, shard: &Shard, message: Message) -> Rc<Waiter> {
        shard.counters.waits_for_room.add(1);
        let waiter = self.waiting.add(message);
        self.block(shard);
        waiter
    }

    /// Takes back a message that waits, unless it was sent.
    pub(super) fn forget(&self, waiter: &Rc<Waiter>) {
        self.waiting.remove(waiter);
    }

    /// Sends a reply: it never waits, but what finds no room is kept here.
    pub(crate) fn reply<F>(self: &Rc<Self>, shard: &Shard, label: Label, f: F)
    where
        F: FnOnce() + Send + 'static,
    {
        if self.state.get() == State::Stopped {
            // Dropping a reply sends its call home.
            return;
        }
        let may_pass = self.overflow.borrow().is_empty();
        let refused = if may_pass { self.push(shard, label, f).err() } else { Some(f) };
        if let Some(f) = refused {
            shard.counters.overflowed_replies.add(1);
            self.overflow.borrow_mut().push_back(Message::new(label, f));
            self.block(shard);
        }
    }

    /// Sends a closure, or gives it back if there is no room.
    #[inline(always)]
    fn push<F>(self: &Rc<Self>, shard: &Shard, label: Label, f: F) -> Result<(), F>
    where
        F: FnOnce() + Send + 'static,
    {
        let pushed = self.with_producer(|producer| match producer {
            Some(producer) => producer.push(label, f),
            None => push_home(shard, label, f),
        });
        if pushed.is_ok() {
            self.count_sent(shard);
        }
        pushed
    }

    /// As [`Lane::push`], for a message that waited.
    fn push_message(self: &Rc<Self>, shard: &Shard, message: Message) -> Result<(), Message> {
        let pushed = self.with_producer(|producer| match producer {
            Some(producer) => producer.push_message(message),
            None => deliver_home(shard, message),
        });
        if pushed.is_ok() {
            self.count_sent(shard);
        }
        pushed
    }

    /// Runs `f`, which calls no foreign code, on the sending end of the ring, if there is one.
    #[inline(always)]
    fn with_producer<R>(&self, f: impl FnOnce(Option<&mut Producer>) -> R) -> R {
        // SAFETY: a lane stays on its thread, and `f` calls no foreign code that could come here again.
        f(self.producer.as_ref().map(|producer| unsafe { &mut *producer.get() }))
    }

    #[inline(always)]
    fn count_sent(self: &Rc<Self>, shard: &Shard) {
        shard.counters.sent_messages.add(1);
        if !self.touched.get() && !self.leads_home() {
            self.touch(shard);
        }
    }

    #[cold]
    fn touch(self: &Rc<Self>, shard: &Shard) {
        self.touched.set(true);
        shard.exchange.add_touched(Rc::clone(self));
    }

    fn block(self: &Rc<Self>, shard: &Shard) {
        if self.state.get() == State::Open {
            self.state.set(State::Blocked);
            shard.exchange.add_blocked(Rc::clone(self));
        }
    }

    /// Publishes what is staged.
    #[inline]
    pub(super) fn publish(&self) {
        self.with_producer(|producer| producer.map(Producer::flush));
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
        let all_sent = self.send_overflow(shard)
            && self.waiting.send(|message| self.push_message(shard, message))
            // Who was woken may have replied.
            && self.overflow.borrow().is_empty();
        if self.state.get() == State::Blocked {
            self.state.set(State::Open);
            if !all_sent {
                self.block(shard);
            }
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
        let left = self.with_producer(|producer| producer.and_then(Producer::reclaim));
        if let Some(left) = left {
            if self.state.get() != State::Stopped {
                self.stop();
            }
            left.drop_messages();
        }
    }

    /// Sends no more. What waits is dropped, and who waits learns it.
    pub(super) fn stop(&self) {
        self.state.set(State::Stopped);
        for reply in self.overflow.take() {
            contain("dropping a reply", || drop(reply));
        }
        self.waiting.stop();
    }
}

fn push_home<F>(shard: &Shard, label: Label, f: F) -> Result<(), F>
where
    F: FnOnce() + Send + 'static,
{
    let place = shard.groups.place_of(label);
    if !shard.groups.has_inbox_room(place) {
        return Err(f);
    }
    shard.groups.deliver(place, Message::new(label, f));
    Ok(())
}

fn deliver_home(shard: &Shard, message: Message) -> Result<(), Message> {
    let place = shard.groups.place_of(message.label());
    if !shard.groups.has_inbox_room(place) {
        return Err(message);
    }
    shard.groups.deliver(place, message);
    Ok(())
}
