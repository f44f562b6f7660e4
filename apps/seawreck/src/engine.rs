//! The engine: on each shard a share of the connections, each of which is a task that sends when it may and reads what comes.
//!
//! Nothing is done per request but what sending, reading and counting cost: no task, no timer, no memory. In a closed loop a latency is the
//! time from when a request left ([`departures`]) until its answer was read, and so nothing that seawreck did before and after; in an open
//! loop it counts from when the request was due.

mod connection;
mod conversation;
mod departures;
mod link;
mod slot;
#[cfg(test)]
mod tests;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::{Rc, Weak};
use std::time::Duration;

use sunstar::executor::sync::{Gate, Semaphore};
use sunstar::executor::timer::{Timer, lowres, now, sleep_until};
use sunstar::executor::{Instant, Service, spawn};
use sunstar::reactor::{TimeStats, time_stats};

use crate::arrivals::Schedule;
use crate::fault::Fault;
use crate::plan::{Plan, Share};
use crate::protocol::Protocol;
use crate::tally::Tally;
use departures::{Burst, Departures};
use slot::Slot;

/// Connections of a shard that are being made at the same time. More would overflow queues on the way, and what is lost there is sent again
/// after a second.
const CONNECTING: usize = 128;
/// Connections of a shard that were held and that are asked at the same time. All at once would be a burst that measures itself.
const ASKED_AT_ONCE: usize = 256;
/// How many times within a timeout it is looked for connections that have waited for too long, and how long between at most and at least.
const LOOKS: u32 = 20;
const LONGEST_LOOK: Duration = Duration::from_millis(500);
const SHORTEST_LOOK: Duration = Duration::from_millis(5);
/// How often it is looked whether all has been sent and answered.
const FINISH_LOOK: Duration = Duration::from_millis(2);
/// How often it is looked how late a shard looks.
const PROBE: Duration = Duration::from_millis(10);

/// How far a load is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    /// Connections are made.
    Opening,
    /// Requests are sent.
    Sending,
    /// No more requests are sent but those of an open loop that were due before; answers are waited for.
    Draining,
    /// Nothing is waited for.
    Over,
}

/// A shard's part of a load.
pub(crate) struct Load<P: Protocol> {
    protocol: P,
    plan: Plan,
    share: Share,
    phase: Cell<Phase>,
    /// From when on requests are sent, which may be later than a shard's round has begun.
    since: Cell<Instant>,
    /// From when on requests are measured: those that were due before are not.
    begin: Cell<Instant>,
    /// What is due from then on is not sent.
    end: Cell<Instant>,
    /// Requests that may still be sent.
    left: Cell<u64>,
    /// Whether connections are kept though nothing may be sent, until they are released.
    is_holding: bool,
    /// How many of them have been.
    released: Cell<usize>,
    /// In an open loop, once it has begun.
    schedule: RefCell<Option<Schedule>>,
    /// Fires when the next request is due, while somebody has nothing to send.
    pacer: Timer,
    /// When it has fired last: what was due before has not been sent until then by nobody else's fault.
    paced: Cell<Instant>,
    slots: Box<[Slot]>,
    /// Connections that could send.
    idle: RefCell<VecDeque<usize>>,
    tally: RefCell<Tally>,
    departures: Departures,
    /// Tasks of connections that were started.
    started: Cell<usize>,
    /// Connections that are open.
    open: Cell<usize>,
    /// What has no answer at the end has a latency if it has waited for so long: for longer than others took where it ended before each had the time
    /// that it may take.
    known: Cell<Duration>,
    connecting: Rc<Semaphore>,
    /// Holds one for each connection's task.
    tasks: Rc<Gate>,
}

impl<P: Protocol> Service for Load<P> {}

/// What a shard tells when it is asked.
pub(crate) struct Taken {
    /// Connections that are open.
    pub(crate) open: usize,
    /// What was counted since the last time.
    pub(crate) tally: Tally,
    /// What the shard has done with its time until now.
    pub(crate) times: TimeStats,
}

impl<P: Protocol> Load<P> {
    /// A load that has not begun.
    pub(crate) fn new(protocol: P, plan: Plan, share: Share) -> Rc<Self> {
        Rc::new_cyclic(|load: &Weak<Self>| {
            let (giving, leaving) = (load.clone(), load.clone());
            let pacer = Timer::new(move |_| {
                if let Some(load) = giving.upgrade() {
                    load.give_out();
                }
            });
            let departures = Departures::new(move || {
                if let Some(load) = leaving.upgrade() {
                    load.leave(lowres::now());
                }
            });
            Self {
                protocol,
                phase: Cell::new(Phase::Opening),
                since: Cell::new(Instant::ORIGIN),
                begin: Cell::new(Instant::FAR_FUTURE),
                end: Cell::new(Instant::FAR_FUTURE),
                left: Cell::new(if plan.is_idle { 0 } else { share.requests.unwrap_or(u64::MAX) }),
                is_holding: plan.is_idle,
                released: Cell::new(0),
                schedule: RefCell::new(None),
                pacer,
                paced: Cell::new(Instant::ORIGIN),
                slots: (0..share.connections).map(|_| Slot::default()).collect(),
                idle: RefCell::new(VecDeque::with_capacity(share.connections)),
                tally: RefCell::new(Tally::new()),
                departures,
                started: Cell::new(0),
                open: Cell::new(0),
                known: Cell::new(Duration::ZERO),
                connecting: Rc::new(Semaphore::new(CONNECTING)),
                tasks: Rc::new(Gate::new()),
                plan,
                share,
            }
        })
    }

    /// Starts the tasks of all connections, one after the other over the time of the ramp, and waits until each has tried once to connect.
    pub(crate) async fn open(self: Rc<Self>) {
        let begin = lowres::now();
        spawn(Rc::clone(&self).look_after());
        let ramp = self.plan.ramp.as_secs_f64();
        for number in 0..self.share.connections {
            if !self.plan.ramp.is_zero() {
                #[expect(clippy::cast_precision_loss, reason = "there are not so many connections")]
                let part = (number as f64 + self.share.phase) / self.share.connections as f64;
                sleep_until(begin + Duration::from_secs_f64(ramp * part)).await;
            }
            // When the load ends, nobody needs one more.
            if self.phase.get() > Phase::Sending {
                return;
            }
            let Ok(permit) = Rc::clone(&self.connecting).acquire_owned(1).await else { return };
            let Ok(holder) = self.tasks.enter_owned() else { return };
            self.started.set(number + 1);
            let load = Rc::clone(&self);
            spawn(async move {
                connection::run(&load, number, permit).await;
                if load.slots[number].is_released.get() {
                    load.release();
                }
                drop(holder);
            });
        }
        // Whoever is still connecting has one.
        let _ = self.connecting.acquire(CONNECTING).await;
    }

    /// Lets requests be sent from `now` until `end`. They are measured if they are due at `begin` or later.
    pub(crate) fn send(self: &Rc<Self>, now: Instant, begin: Instant, end: Instant) {
        self.end.set(end);
        self.since.set(now);
        self.begin.set(begin);
        self.phase.set(Phase::Sending);
        if let Some(arrivals) = self.plan.arrivals {
            let rate = arrivals.rate.share(self.share.rate);
            let schedule = Schedule::new(rate, arrivals.spacing, now, self.share.phase, self.share.seed);
            *self.schedule.borrow_mut() = Some(schedule);
        }
        spawn(Rc::clone(self).watch_rounds());
        self.wake_all();
    }

    /// Has each connection ask once, some at a time; then it ends.
    pub(crate) fn ask_each(&self) {
        self.end.set(Instant::FAR_FUTURE);
        (0..ASKED_AT_ONCE).for_each(|_| self.release());
    }

    /// Has the next connection that is held ask once, and end then.
    fn release(&self) {
        // At the end each that has waited would have the next one wait.
        let is_asking = self.phase.get() == Phase::Sending;
        let Some(slot) = self.slots.get(self.released.get()).filter(|_| is_asking) else { return };
        self.released.set(self.released.get() + 1);
        slot.is_released.set(true);
        slot.given.set(Some(lowres::now()));
        slot.wake();
    }

    /// Waits until all connections have ended, because no request is left to be sent and all answers have come.
    pub(crate) async fn finished(self: Rc<Self>) {
        // When the last answer came is counted, so it need not be noticed at once.
        while (self.phase.get() < Phase::Draining && self.started.get() < self.share.connections)
            || self.tasks.holders() > 0
        {
            lowres::sleep(FINISH_LOOK).await;
        }
    }

    /// Answers what was counted since it was asked last.
    pub(crate) fn take(&self) -> Taken {
        let tally = self.tally.replace(Tally::new());
        Taken { open: self.open.get(), tally, times: time_stats() }
    }

    /// What the protocol has counted.
    pub(crate) fn figures(&self) -> Vec<(&'static str, u64)> {
        self.protocol.figures()
    }

    /// Sends no more that is due at `end` or later.
    pub(crate) fn drain(&self, end: Instant) {
        if self.phase.get() == Phase::Sending && self.slots.iter().any(|slot| slot.is_idle.get()) {
            // What was due just before has waited though there was a connection. What waits for one is not late by seawreck's fault.
            self.give_out();
        }
        self.phase.set(Phase::Draining);
        self.end.set(end);
        self.wake_all();
    }

    /// Ends all connections, whatever they wait for. What has waited for less than `known` has no latency: that is zero if each has had the time that
    /// it may take, and else the longest that is known.
    pub(crate) async fn cut(self: Rc<Self>, known: Duration) {
        self.known.set(known);
        self.leave_unsent(lowres::now());
        if self.is_holding {
            self.tally.borrow_mut().unasked += (self.slots.len() - self.released.get()) as u64;
        }
        self.phase.set(Phase::Over);
        self.wake_all();
        self.tasks.close().await;
    }

    /// Takes note of requests that were due before the end, and had no connection until `now`.
    fn leave_unsent(&self, now: Instant) {
        let (mut schedule, end) = (self.schedule.borrow_mut(), self.end.get());
        let Some(schedule) = &mut *schedule else { return };
        let due = std::iter::from_fn(|| schedule.take(end)).filter(|due| self.is_measured(*due) && *due < end);
        let most = usize::try_from(self.left.get()).unwrap_or(usize::MAX);
        for due in due.take(most) {
            let mut tally = self.tally.borrow_mut();
            tally.unsent += 1;
            // As with each that found a connection: what it has waited for one is latency.
            tally.give_up(now - due);
        }
    }

    fn wake_all(&self) {
        self.slots.iter().for_each(Slot::wake);
    }

    /// Looks for connections that have waited for too long, as long as there is anybody to look after.
    async fn look_after(self: Rc<Self>) {
        let shortest = self.plan.timeout.min(self.plan.connect_timeout);
        let period = (shortest / LOOKS).clamp(SHORTEST_LOOK, LONGEST_LOOK);
        while self.phase.get() < Phase::Over {
            lowres::sleep(period).await;
            let now = lowres::now();
            self.slots.iter().for_each(|slot| slot.look_after(now));
        }
    }

    /// Looks how late the shard is when something is to happen, at times that it does not choose.
    async fn watch_rounds(self: Rc<Self>) {
        let mut next = lowres::now();
        while self.phase.get() < Phase::Over {
            next += PROBE;
            sleep_until(next).await;
            let now = now();
            if self.phase.get() < Phase::Over && self.is_measured(next) {
                self.tally.borrow_mut().lag(now - next);
            }
            // What was missed is one delay, and not many.
            next = next.max(now);
        }
    }

    /// Takes a request that connection `number` is to send now; answers by when it is due.
    ///
    /// Whoever takes one is not idle any more, and is given no other one.
    #[inline]
    fn take_request(&self, number: usize, now: Instant) -> Option<Instant> {
        let due = self.next_due(now)?;
        self.slots[number].is_idle.set(false);
        Some(due)
    }

    /// A request is sent on a connection that is free `since`; answers in a closed loop with what it leaves.
    #[inline]
    fn depart(&self, due: Instant, since: Instant) -> Option<Burst> {
        if self.plan.arrivals.is_none() {
            return Some(self.departures.join());
        }
        if self.is_measured(due) {
            // Until the pacer fired, it waited in spite of connections that were free; from then on, for one.
            let paced = self.paced.get();
            self.departures.join_late(if due < paced { due + (since - paced) } else { due.max(since) });
        }
        None
    }

    /// A round begins: what was sent in the one before leaves.
    fn leave(&self, now: Instant) {
        self.departures.leave(now, |by| self.tally.borrow_mut().late(by));
    }

    /// Takes the next request, if it may be sent now; answers by when it is due.
    #[inline]
    fn next_due(&self, now: Instant) -> Option<Instant> {
        let is_sending = self.phase.get() == Phase::Sending;
        if self.left.get() == 0 || !(is_sending || self.phase.get() == Phase::Draining) {
            return None;
        }
        let due = match &mut *self.schedule.borrow_mut() {
            None if !is_sending || now >= self.end.get() => return None,
            None => now.max(self.since.get()),
            Some(schedule) if schedule.next() >= self.end.get() => return None,
            Some(schedule) => schedule.take(now)?,
        };
        self.left.set(self.left.get() - 1);
        Some(due)
    }

    /// Whether no request will be sent any more.
    #[inline]
    fn has_ended(&self) -> bool {
        match self.phase.get() {
            Phase::Over => true,
            Phase::Draining => !self.has_more_due(),
            Phase::Opening | Phase::Sending => self.left.get() == 0 && !self.is_holding,
        }
    }

    /// Whether requests were due before the end that nobody has sent yet.
    #[cold]
    fn has_more_due(&self) -> bool {
        self.left.get() > 0 && self.schedule.borrow().as_ref().is_some_and(|schedule| schedule.next() < self.end.get())
    }

    /// Whether a connection will send no request any more but one that it was given.
    #[inline]
    fn is_done(&self, number: usize) -> bool {
        self.has_ended() || self.slots[number].is_released.get()
    }

    /// A connection could send, but nothing is due.
    fn wait_for_request(&self, number: usize) {
        if !self.slots[number].is_idle.replace(true) {
            let mut idle = self.idle.borrow_mut();
            // Those that have found something to send by themselves still stand in it, until it is twice as long as it may have to be.
            if idle.len() >= 2 * self.slots.len() {
                idle.clear();
                idle.extend((0..self.slots.len()).filter(|&other| other != number && self.slots[other].is_idle.get()));
            }
            idle.push_back(number);
        }
        if !self.pacer.is_armed() {
            self.arm();
        }
    }

    fn arm(&self) {
        let next = self.schedule.borrow().as_ref().map(Schedule::next);
        if let Some(next) = next.filter(|next| *next < self.end.get() && !self.has_ended()) {
            self.pacer.rearm(next);
        }
    }

    /// Gives what is due to connections that could send.
    fn give_out(&self) {
        // How late it is shows only by the clock itself.
        let now = now();
        self.paced.set(now);
        loop {
            let Some(number) = self.idle.borrow_mut().pop_front() else { return };
            let slot = &self.slots[number];
            // It may have gone, or have found something to send, since.
            if !slot.is_idle.get() {
                continue;
            }
            match self.take_request(number, now) {
                Some(due) => {
                    slot.given.set(Some(due));
                    slot.wake();
                }
                None => {
                    self.idle.borrow_mut().push_front(number);
                    return self.arm();
                }
            }
        }
    }

    /// A connection has ended for good, and with it what it was to send.
    fn give_up(&self, number: usize, carried: Option<Instant>) {
        let given = self.slots[number].given.take();
        carried.into_iter().chain(given).for_each(|due| self.leave_unanswered(due));
    }

    /// A request that nobody waits for any more since the load is over.
    fn leave_unanswered(&self, due: Instant) {
        if self.is_measured(due) {
            let (mut tally, waited) = (self.tally.borrow_mut(), lowres::now() - due);
            tally.unanswered += 1;
            // How long it would have taken is not known, but that it is no less: it makes nothing shorter than it is if it is among the longest.
            if waited >= self.known.get() {
                tally.give_up(waited);
            } else {
                tally.unknown += 1;
            }
        }
    }

    /// Whether a request that is due then is measured.
    #[inline]
    fn is_measured(&self, due: Instant) -> bool {
        due >= self.begin.get()
    }

    /// A request whose answer will not come. How soon something went wrong is no latency, but that it took too long is one, if the request `has_expired`
    /// itself: if only an older one has, on whose connection it was, nobody knows how long it would have taken.
    fn fail(&self, fault: Fault, due: Instant, has_expired: bool) {
        if !self.is_measured(due) {
            return;
        }
        let mut tally = self.tally.borrow_mut();
        tally.fail(fault, 1);
        match (fault, has_expired) {
            (Fault::TimedOut, true) => tally.give_up(lowres::now() - due),
            (Fault::TimedOut, false) => tally.lose(),
            _ => {}
        }
    }
}
