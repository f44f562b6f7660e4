//! What all hosts share: the clock, the events to come, and who is to be run.

use std::cell::{Cell, RefCell};
use std::cmp::Ordering;
use std::collections::{BinaryHeap, VecDeque};
use std::rc::Rc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::task::Waker;

use sunstar_executor::Instant;

use crate::network::{self, Connection};
use crate::trace::{Place, Record, Side, Trace};

/// Something that is going to happen.
pub(crate) enum Event {
    /// A shard's next round is due.
    Round(usize),
    /// A timer of a shard may be due.
    Timer(usize),
    /// What is left of a host whose main function has ended is to be stopped.
    HostEnd(usize),
    /// The network has something to do.
    Network(network::Event),
    /// Frames may arrive by a direction of a link.
    Frames(usize),
}

/// Events leave the queue by time, then in the order in which they were scheduled.
struct Entry {
    at: Instant,
    number: u64,
    event: Event,
}

impl Entry {
    fn key(&self) -> (Instant, u64) {
        (self.at, self.number)
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    /// The earliest is the greatest, which the heap answers first.
    fn cmp(&self, other: &Self) -> Ordering {
        other.key().cmp(&self.key())
    }
}

/// What comes from where no reference to the world can be kept, since it must be `Send`.
pub(crate) enum Signal {
    /// A shard's doorbell was rung.
    Ring(usize),
    /// A stream that belongs to no shard was dropped.
    Abandoned(u64),
}

/// What all hosts share.
pub(crate) struct World {
    now: Cell<Instant>,
    events: RefCell<BinaryHeap<Entry>>,
    scheduled: Cell<u64>,
    /// Shards that somebody has woken, in that order. Each at most once.
    woken: RefCell<Vec<usize>>,
    sender: Sender<Signal>,
    signals: Receiver<Signal>,
    trace: Trace,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let (sender, signals) = channel();
        Self {
            now: Cell::new(Instant::ORIGIN),
            events: RefCell::default(),
            scheduled: Cell::new(0),
            woken: RefCell::default(),
            sender,
            signals,
            trace: Trace::new(seed),
        }
    }

    #[inline]
    pub(crate) fn now(&self) -> Instant {
        self.now.get()
    }

    pub(crate) fn trace(&self) -> &Trace {
        &self.trace
    }

    /// Puts a record into the trace.
    #[inline]
    pub(crate) fn note(&self, record: &Record) {
        self.trace.note(self.now(), record);
    }

    pub(crate) fn sender(&self) -> Sender<Signal> {
        self.sender.clone()
    }

    pub(crate) fn next_signal(&self) -> Option<Signal> {
        self.signals.try_recv().ok()
    }

    pub(crate) fn schedule(&self, at: Instant, event: Event) {
        let number = self.scheduled.get();
        self.scheduled.set(number + 1);
        self.events.borrow_mut().push(Entry { at, number, event });
    }

    /// How many events were scheduled so far.
    pub(crate) fn scheduled(&self) -> u64 {
        self.scheduled.get()
    }

    /// How many events wait for their time.
    #[cfg(test)]
    pub(crate) fn events_to_come(&self) -> usize {
        self.events.borrow().len()
    }

    /// When the next event is due.
    pub(crate) fn next_event_at(&self) -> Option<Instant> {
        self.events.borrow().peek().map(|entry| entry.at)
    }

    /// The shard whose alarm is the next event, and when that is; none if it is another.
    pub(crate) fn next_alarm(&self) -> Option<(usize, Instant)> {
        match self.events.borrow().peek()? {
            Entry { at, event: Event::Timer(shard), .. } => Some((*shard, *at)),
            _ => None,
        }
    }

    /// Takes out the next event as if it had never been scheduled.
    pub(crate) fn forget_next(&self) {
        let next = self.events.borrow_mut().pop();
        drop(next);
    }

    /// Advances the clock to the next event and answers it.
    pub(crate) fn advance(&self) -> Option<Event> {
        let Entry { at, event, .. } = self.events.borrow_mut().pop()?;
        self.now.set(self.now().max(at));
        Some(event)
    }

    /// Moves the clock forward to a time before which nothing is due.
    pub(crate) fn pass_until(&self, at: Instant) {
        self.now.set(self.now().max(at));
    }

    /// Drops the events to come.
    pub(crate) fn forget_events(&self) {
        drop(self.events.take());
    }

    /// Takes the shards that were woken.
    pub(crate) fn take_woken(&self, into: &mut Vec<usize>) {
        into.append(&mut self.woken.borrow_mut());
    }
}

/// Where the network leaves what concerns a shard, and takes what the shard has for it.
pub(crate) struct ShardIo {
    /// Among all shards of the world.
    pub(crate) index: usize,
    pub(crate) place: Place,
    world: Rc<World>,
    wakes: RefCell<VecDeque<Waker>>,
    output: RefCell<Vec<(Rc<Connection>, Side)>>,
    is_woken: Cell<bool>,
    is_stopped: Cell<bool>,
}

impl ShardIo {
    pub(crate) fn new(world: Rc<World>, index: usize, place: Place) -> Self {
        Self {
            index,
            place,
            world,
            wakes: RefCell::default(),
            output: RefCell::default(),
            is_woken: Cell::new(false),
            is_stopped: Cell::new(false),
        }
    }

    /// Lets a task run that waits on this shard.
    pub(crate) fn wake(&self, waker: Waker) {
        if !self.is_stopped.get() {
            self.wakes.borrow_mut().push_back(waker);
            self.wake_shard();
        }
    }

    /// Notes that a connection has something to send, which it does when the shard polls.
    pub(crate) fn list(&self, connection: Rc<Connection>, side: Side) {
        if self.is_stopped.get() {
            connection.transmit(side);
        } else {
            self.output.borrow_mut().push((connection, side));
            self.wake_shard();
        }
    }

    /// Has the shard run soon.
    pub(crate) fn wake_shard(&self) {
        if !self.is_woken.replace(true) {
            self.world.woken.borrow_mut().push(self.index);
        }
    }

    /// Wakes those who wait for what has happened, and sends what was put into send queues; answers whether there was
    /// anything.
    pub(crate) fn poll(&self) -> bool {
        self.is_woken.set(false);
        let mut found = false;
        // What is woken or dropped may come back here, so neither list is borrowed meanwhile.
        while let Some(waker) = { self.wakes.borrow_mut().pop_front() } {
            waker.wake();
            found = true;
        }
        let mut output = self.output.take();
        found |= !output.is_empty();
        for (connection, side) in output.drain(..) {
            connection.transmit(side);
        }
        // Keeps the memory for the next time, unless there is a next time already.
        if self.output.borrow().capacity() == 0 {
            self.output.replace(output);
        }
        found
    }

    /// From now on nobody polls: tasks are not woken, and what is left to be sent is sent at once.
    pub(crate) fn stop(&self) {
        self.poll();
        self.is_stopped.set(true);
        drop(self.wakes.take());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_by_time_and_then_in_order() {
        let world = World::new(0);
        for (at, shard) in [(5, 0), (3, 1), (5, 2), (3, 3)] {
            world.schedule(Instant::from_nanos(at), Event::Round(shard));
        }
        let mut seen = Vec::new();
        while let Some(event) = world.advance() {
            let Event::Round(shard) = event else { panic!("only rounds were scheduled") };
            seen.push((world.now().as_nanos(), shard));
        }
        assert_eq!(seen, [(3, 1), (3, 3), (5, 0), (5, 2)]);
    }
}
