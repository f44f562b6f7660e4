//! The future of who sends a closure.

use alloc::rc::Rc;
use core::future::Future;
use core::mem;
use core::pin::Pin;
use core::task::{Context, Poll};

use super::exchange::Origin;
use super::lane::{Lane, Refused, Stopped};
use super::shard_id::ShardId;
use super::slot::{Label, Message};
use super::waiting::Waiter;
use crate::current;
use crate::shard::Shard;

/// Sends a closure, behind those that wait already. Dropping it drops the closure, unless that was sent.
///
/// Once it waits, it is sent by the shard's round, whether the future is polled meanwhile or not: so nobody holds
/// up those behind.
pub(super) struct Sending<F> {
    origin: Origin,
    to: ShardId,
    label: Label,
    stage: Stage<F>,
}

enum Stage<F> {
    New(F),
    Waiting(Room),
    Sent,
}

// The closure is moved, not pinned.
impl<F> Unpin for Sending<F> {}

impl<F: FnOnce() + Send + 'static> Sending<F> {
    /// # Panics
    /// If there is no such shard.
    #[inline(always)]
    #[track_caller]
    pub(super) fn new(here: &Shard, to: ShardId, label: Label, f: F) -> Self {
        here.exchange.check(to);
        Self { origin: here.exchange.origin(), to, label, stage: Stage::New(f) }
    }

    /// Answers what became of the closure, or who waits with it.
    #[inline(always)]
    fn send(&self, here: &Shard, f: F) -> Result<Result<(), Stopped>, Room> {
        let lane = here.exchange.lane(self.to);
        match lane.try_send(here, self.label, f) {
            Ok(()) => Ok(Ok(())),
            Err(Refused::Stopped(_)) => Ok(Err(Stopped)),
            Err(Refused::Full(f)) => {
                let waiter = lane.wait_for_room(here, Message::new(self.label, f));
                Err(Room { lane: Rc::clone(lane), waiter })
            }
        }
    }
}

impl<F: FnOnce() + Send + 'static> Future for Sending<F> {
    type Output = Result<(), Stopped>;

    /// It is inlined for the reason that [`Producer::push`](super::ring::Producer::push) tells.
    ///
    /// # Panics
    /// On another shard than the one where it was made, and if it was ready before.
    #[inline(always)]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if matches!(self.stage, Stage::New(_)) {
            let sent = current::with(|here| {
                here.exchange.check_origin(self.origin);
                let Stage::New(f) = mem::replace(&mut self.stage, Stage::Sent) else {
                    unreachable!("as was just seen")
                };
                self.send(here, f)
            });
            match sent {
                Ok(outcome) => return Poll::Ready(outcome),
                Err(room) => self.stage = Stage::Waiting(room),
            }
        }
        let Stage::Waiting(room) = &self.stage else { panic!("a message's future is not polled after it was ready") };
        room.waiter.poll(cx)
    }
}

/// A place among those who wait. Dropping it takes the message back, unless it was sent.
struct Room {
    lane: Rc<Lane>,
    waiter: Rc<Waiter>,
}

impl Drop for Room {
    fn drop(&mut self) {
        self.lane.forget(&self.waiter);
    }
}
