//! Requests and answers on one connection.

use std::collections::VecDeque;
use std::task::{Context, Poll};

use sunstar::executor::Instant;
use sunstar::executor::timer::{lowres, now};
use sunstar::packet::Buffer;

use super::departures::Burst;
use super::link::Link;
use super::{Load, Phase};
use crate::fault::Fault;
use crate::protocol::{Heard, Protocol, Verdict};

/// Buffers that are taken in before others get their turn.
const BUFFERS_PER_TURN: usize = 16;

/// A connection that is open.
pub(super) struct Conversation<'a, P: Protocol> {
    load: &'a Load<P>,
    number: usize,
    link: Link,
    session: P::Session,
    /// Requests without answer, the oldest first.
    asked: VecDeque<Asked>,
    /// Requests that may still be sent here.
    left: u64,
    /// The next request to be sent, by when it is due, if it was taken already.
    given: Option<Instant>,
    /// Whether the server has said that it ends the connection.
    is_closing: bool,
    was_answered: bool,
    /// Since when there is room for another request.
    free_since: Instant,
}

/// A request without answer.
#[derive(Clone, Copy)]
struct Asked {
    due: Instant,
    /// When it was sent.
    at: Instant,
    /// With what it left, in a closed loop: there it was due when it was sent and not before.
    burst: Option<Burst>,
}

/// How a connection has ended.
pub(super) struct Ending {
    /// Nothing if it has ended in order.
    pub(super) fault: Option<Fault>,
    /// A request that was to be sent.
    pub(super) given: Option<Instant>,
}

impl<'a, P: Protocol> Conversation<'a, P> {
    pub(super) fn new(load: &'a Load<P>, number: usize, link: Link, given: Option<Instant>) -> Self {
        Self {
            load,
            number,
            link,
            session: load.protocol.session(),
            asked: VecDeque::new(),
            left: load.plan.requests_per_connection.unwrap_or(u64::MAX),
            given,
            is_closing: false,
            was_answered: false,
            free_since: lowres::now(),
        }
    }

    /// Goes on until the connection or the load ends.
    pub(super) async fn run(mut self) -> Ending {
        let fault = std::future::poll_fn(|cx| self.poll(cx)).await.err();
        let now = lowres::now();
        for asked in &self.asked {
            match fault {
                Some(fault) => self.load.fail(fault, asked.due, asked.at + self.load.plan.timeout <= now),
                None => self.load.leave_unanswered(asked.due),
            }
        }
        Ending { fault, given: self.given }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        let slot = &self.load.slots[self.number];
        slot.keep_waker(cx);
        let round = lowres::now();
        if slot.take_overdue() {
            if P::IS_ORDERED {
                return Poll::Ready(Err(Fault::TimedOut));
            }
            self.forget(round);
        }
        for _ in 0..BUFFERS_PER_TURN {
            if self.send(cx, round)? {
                return Poll::Ready(Ok(()));
            }
            let Poll::Ready(bytes) = self.link.poll_read(cx) else {
                self.expect(round);
                return Poll::Pending;
            };
            let bytes = bytes?;
            // It may have come since the round began.
            let now = now();
            if bytes.is_empty() {
                return Poll::Ready(self.on_end(now));
            }
            self.take_in(bytes, now)?;
        }
        self.expect(round);
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Says until when an answer is waited for, if there is one to come.
    #[inline]
    fn expect(&self, now: Instant) {
        let since = match self.asked.front() {
            Some(asked) => Some(asked.at),
            // The server has said that it closes, so that is waited for, as long as for an answer.
            None if self.is_closing => Some(now),
            None => None,
        };
        let deadline = since.map(|since| since + self.load.plan.timeout);
        self.load.slots[self.number].wait_until(deadline);
    }

    /// Gives up requests that have waited for too long, and none of the others.
    #[cold]
    fn forget(&mut self, now: Instant) {
        let is_full = self.asked.len() == self.load.plan.pipeline;
        while let Some(asked) = self.asked.pop_front_if(|asked| asked.at + self.load.plan.timeout <= now) {
            self.load.protocol.forget(&mut self.session);
            self.load.fail(Fault::TimedOut, asked.due, true);
            if is_full {
                self.free_since = now;
            }
        }
    }

    /// Sends what may be sent; answers whether nothing is left to do here.
    #[inline]
    fn send(&mut self, cx: &mut Context<'_>, now: Instant) -> Result<bool, Fault> {
        if !P::ASKS {
            return self.flow(cx);
        }
        let load = self.load;
        let slot = &load.slots[self.number];
        let room = load.plan.pipeline - self.asked.len();
        let may_ask = room > 0 && !self.is_closing && self.left > 0;
        if may_ask && let Poll::Ready(writable) = self.link.poll_writable(cx) {
            writable?;
            self.ask(room, now);
        }
        if self.asked.is_empty()
            && !self.is_closing
            && (self.left == 0 || (load.is_done(self.number) && slot.given.get().is_none()))
        {
            return Ok(true);
        }
        Ok(load.phase.get() == Phase::Over)
    }

    /// Sends what is sent without end, as much as there is room for; answers whether it is over.
    fn flow(&mut self, cx: &mut Context<'_>) -> Result<bool, Fault> {
        let load = self.load;
        let (true, Some(block)) = (load.phase.get() == Phase::Sending, load.protocol.block()) else {
            return Ok(load.phase.get() > Phase::Sending);
        };
        for _ in 0..BUFFERS_PER_TURN {
            let Poll::Ready(writable) = self.link.poll_writable(cx) else { return Ok(false) };
            writable?;
            self.link.enqueue(block.clone());
            load.tally.borrow_mut().sent_bytes += block.len() as u64;
        }
        // Others get their turn before it goes on.
        cx.waker().wake_by_ref();
        Ok(false)
    }

    /// Asks as often as there is room for, if so much is due.
    #[inline]
    fn ask(&mut self, room: usize, now: Instant) {
        let load = self.load;
        let slot = &load.slots[self.number];
        let before = self.asked.len();
        let room = if self.left < room as u64 { usize::try_from(self.left).unwrap_or(room) } else { room };
        while self.asked.len() < before + room {
            let asked = if let Some(due) = self.given.take() {
                // Since then it has waited for a connection.
                Asked { due, at: now, burst: None }
            } else if let Some(due) = slot.given.take() {
                Asked { due, at: now, burst: load.depart(due, Instant::ORIGIN) }
            } else if let Some(due) = load.take_request(self.number, now) {
                let burst = load.depart(due, self.free_since);
                // The load may have begun later than the round.
                Asked { due, at: due.max(now), burst }
            } else {
                break;
            };
            self.asked.push_back(asked);
        }
        let count = self.asked.len() - before;
        if count < room && load.plan.arrivals.is_some() {
            load.wait_for_request(self.number);
        }
        if count == 0 {
            return;
        }
        if self.load.plan.requests_per_connection.is_some() {
            self.left -= count as u64;
        }
        let mut sent_bytes = 0;
        let (link, session) = (&mut self.link, &mut self.session);
        let mut put = |bytes: Buffer| {
            sent_bytes += bytes.len() as u64;
            link.enqueue(bytes);
        };
        // The last one says so, and goes alone.
        if self.left == 0 {
            if count > 1 {
                load.protocol.ask(session, count - 1, false, &mut put);
            }
            load.protocol.ask(session, 1, true, &mut put);
        } else {
            load.protocol.ask(session, count, false, &mut put);
        }
        load.tally.borrow_mut().sent_bytes += sent_bytes;
    }

    /// Finds the answers in what has come.
    #[inline]
    fn take_in(&mut self, mut bytes: Buffer, now: Instant) -> Result<(), Fault> {
        let load = self.load;
        load.tally.borrow_mut().received_bytes += bytes.len() as u64;
        loop {
            match load.protocol.hear(&mut self.session, &mut bytes)? {
                Heard::More => return Ok(()),
                Heard::Answer { place, verdict, is_last } => {
                    let is_full = self.asked.len() == load.plan.pipeline;
                    let asked = if place == 0 { self.asked.pop_front() } else { self.asked.remove(place) };
                    // Nobody has asked for more.
                    let asked = asked.ok_or(Fault::BadAnswer)?;
                    if is_full {
                        self.free_since = now;
                    }
                    self.was_answered = true;
                    self.count(asked, verdict, now);
                    if is_last {
                        self.is_closing = true;
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Takes note of an answer that came `now`.
    #[inline]
    fn count(&self, asked: Asked, verdict: Verdict, now: Instant) {
        let load = self.load;
        if !load.is_measured(asked.due) {
            return;
        }
        let mut tally = load.tally.borrow_mut();
        match verdict {
            Verdict::Good => {
                let left = asked.burst.and_then(|burst| load.departures.when(burst));
                tally.answer(now - left.unwrap_or(asked.due));
            }
            Verdict::Bad(fault) => tally.fail(fault, 1),
        }
        tally.last_answer = now;
        if load.phase.get() == Phase::Draining && load.plan.arrivals.is_some() && asked.at >= load.end.get() {
            tally.last_overdue = now;
        }
        load.protocol.measured(&self.session);
    }

    /// The server sends no more.
    #[cold]
    fn on_end(&mut self, now: Instant) -> Result<(), Fault> {
        if let Some(verdict) = self.load.protocol.hear_end(&mut self.session)
            && let Some(asked) = self.asked.pop_front()
        {
            self.count(asked, verdict, now);
        }
        if !self.asked.is_empty() {
            return Err(Fault::ClosedEarly);
        }
        if !P::ASKS {
            return if self.load.has_ended() { Ok(()) } else { Err(Fault::ClosedEarly) };
        }
        if !self.is_closing && self.left > 0 && !self.load.is_done(self.number) {
            self.load.tally.borrow_mut().closed_idle += 1;
            // Who lets nobody ask is not asked again at once.
            if !self.was_answered {
                return Err(Fault::ClosedEarly);
            }
        }
        Ok(())
    }
}
