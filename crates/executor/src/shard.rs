//! All that one shard owns, and its round.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::cell::Cell;
use core::ptr::NonNull;
use core::time::Duration;

use sunstar_packet::{Home, HomeOwner};

use crate::counter::{Counters, Stats};
use crate::group::Groups;
use crate::local::Locals;
use crate::message::{Exchange, MeshLinks};
use crate::panic::catch;
use crate::platform::Platform;
use crate::poller::Pollers;
use crate::preempt::Turn;
use crate::progress::{Activity, Progress};
use crate::reserve::Reserves;
use crate::sharded::Services;
use crate::task::header::{AllTasks, report_foreign_panic};
use crate::task::raw;
use crate::task::recycler::Recycler;
use crate::time::Instant;
use crate::timer::{Ration, Timers};

/// Timers, arrivals, messages and what pollers take in that a round receives before it reads the clock again.
const RECEIVED_IN_NO_TIME: usize = 16;

/// The state of one shard. Fields that hold tasks are emptied by [`Shard::stop_tasks`] before it is dropped.
pub(crate) struct Shard {
    pub(crate) platform: Box<dyn Platform>,
    pub(crate) progress: Arc<Progress>,
    pub(crate) groups: Groups,
    pub(crate) turn: Turn,
    pub(crate) tasks: AllTasks,
    /// How many tasks run within the waits of others.
    pub(crate) nested_runs: Cell<u32>,
    pub(crate) counters: Counters,
    pub(crate) timers: Timers,
    ration: Ration,
    pub(crate) exchange: Exchange,
    pub(crate) services: Services,
    pub(crate) locals: Locals,
    pub(crate) pollers: Pollers,
    pub(crate) reserves: Reserves,
    task_quota: Duration,
    in_round: Cell<bool>,
    /// Whether the last round found nothing to do.
    was_idle: Cell<bool>,
    /// Whether the last round was busy only because messages waited for room elsewhere.
    pub(crate) only_waits_for_room: Cell<bool>,
    /// Counts tasks as residents; dropped before the recycler, which holds their memory.
    pub(crate) home: HomeOwner,
    pub(crate) recycler: Recycler,
}

/// What a round found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Round {
    /// Something happened or is waiting: call again soon.
    Busy,
    /// Nothing to do before `deadline` unless something comes in from outside.
    Idle {
        /// When the next timer is due, if one is armed.
        deadline: Option<Instant>,
    },
}

impl Round {
    /// Whether there was nothing to do.
    pub fn is_idle(self) -> bool {
        matches!(self, Self::Idle { .. })
    }
}

impl Shard {
    pub(crate) fn new(platform: Box<dyn Platform>, home: HomeOwner, links: MeshLinks, task_quota: Duration) -> Self {
        let now = platform.now();
        Self {
            platform,
            progress: Arc::default(),
            groups: Groups::new(task_quota),
            turn: Turn::default(),
            tasks: AllTasks::default(),
            nested_runs: Cell::new(0),
            counters: Counters::default(),
            timers: Timers::new(now),
            ration: Ration::new(),
            exchange: Exchange::new(links, Arc::clone(home.home())),
            services: Services::default(),
            locals: Locals::default(),
            pollers: Pollers::default(),
            reserves: Reserves::default(),
            task_quota,
            in_round: Cell::new(false),
            was_idle: Cell::new(false),
            only_waits_for_room: Cell::new(false),
            home,
            recycler: Recycler::new(),
        }
    }

    /// The address that identifies the shard: its home's.
    #[inline]
    pub(crate) fn home_address(&self) -> NonNull<Home> {
        NonNull::from(&**self.home.home())
    }

    /// The clock as it was when the present round began.
    pub(crate) fn round_start(&self) -> Instant {
        self.timers.now()
    }

    /// The clock, read now.
    pub(crate) fn now(&self) -> Instant {
        self.platform.now()
    }

    /// Runs `f`, which polls or drops tasks, and keeps it from being entered a second time.
    ///
    /// # Panics
    /// Within itself, and while a task is being polled or dropped.
    fn exclusively<R>(&self, f: impl FnOnce() -> R) -> R {
        struct Leave<'a>(&'a Cell<bool>);

        impl Drop for Leave<'_> {
            fn drop(&mut self) {
                self.0.set(false);
            }
        }

        assert!(
            !self.progress.is_running() && !self.in_round.replace(true),
            "an executor was driven from inside of one of its tasks or rounds"
        );
        let _leave = Leave(&self.in_round);
        f()
    }

    pub(crate) fn round(&self) -> Round {
        self.exclusively(|| self.round_inside())
    }

    fn round_inside(&self) -> Round {
        let now = self.platform.now();
        self.counters.rounds.add(1);
        self.ration.begin_round(now, self.task_quota, self.groups.has_work());
        self.progress.turn_to(Activity::Platform);
        let is_any = self.poll_platform();
        let others = self.pollers.poll(now);
        self.counters.polled.add(u64::from(others > 0));
        let received = self.receive(now) + others;
        self.progress.turn_back();
        let mut found = received > 0 || is_any;
        let mut ended = now;
        if self.groups.has_work() {
            // What receiving and polling took is nobody's run time, if it can have been much.
            let began = if is_any || received > RECEIVED_IN_NO_TIME { self.platform.now() } else { now };
            ended = self.run_groups(began);
            found = true;
        }
        if !self.pollers.is_empty() {
            self.progress.turn_to(Activity::Platform);
            found |= self.pollers.submit(ended);
            self.progress.turn_back();
        }
        let blocked = self.exchange.flush(self);
        let found = found || self.groups.has_work();
        self.only_waits_for_room.set(blocked && !found);
        self.was_idle.set(!found && !blocked);
        if found || blocked { Round::Busy } else { Round::Idle { deadline: self.deadline() } }
    }

    /// Asks the platform what has happened. In a round after an idle one it is asked several times if it may be, until something
    /// has come in from there or elsewhere: who asks more often sees it sooner, and most of an idle round is not about input.
    #[inline]
    fn poll_platform(&self) -> bool {
        if self.platform.poll() {
            return true;
        }
        let repeats = if self.was_idle.get() && self.pollers.is_empty() { self.platform.idle_polls() } else { 1 };
        (1..repeats).any(|_| self.home.has_arrivals() || self.exchange.has_arrivals() || self.platform.poll())
    }

    /// Takes in what has come from elsewhere: from timers that are due, from other threads and from other shards.
    fn receive(&self, now: Instant) -> usize {
        self.progress.turn_to(Activity::Timers);
        let fired = self.contain("firing a timer", || self.timers.advance_up_to(now, self.ration.most()));
        self.ration.fired(fired);
        self.progress.turn_to(Activity::Arrivals);
        let arrivals =
            if self.home.has_arrivals() { self.contain("receiving what came home", || self.home.drain()) } else { 0 };
        self.counters.arrivals.add(arrivals as u64);
        // The messages come last: who waits for an answer to one waits for all that comes after.
        self.progress.turn_to(Activity::Messages);
        let messages = self.exchange.receive(self);
        self.counters.received_messages.add(u64::from(messages));
        fired + arrivals + messages as usize
    }

    /// Runs `f`, which may call anybody's wakers and destructors; a panic counts as something that happened.
    fn contain(&self, doing: &str, f: impl FnOnce() -> usize) -> usize {
        catch(f).unwrap_or_else(|panic| {
            report_foreign_panic(self, doing, &panic);
            1
        })
    }

    /// Gives turns to groups until the task quota is used up or nothing is left to run; answers when that was.
    fn run_groups(&self, start: Instant) -> Instant {
        let end = start + self.task_quota;
        let mut began = start;
        while let Some(group) = self.groups.begin_turn() {
            self.turn.begin(began, end);
            self.run_turn(group);
            // Before the look at the clock, which takes as long as it takes the other side to see this.
            self.exchange.publish();
            let now = self.platform.now();
            self.groups.end_turn(group, began, now);
            if now >= end || self.turn.is_exhausted() {
                return now;
            }
            began = now;
        }
        began
    }

    fn run_turn(&self, group: u8) {
        loop {
            if let Some(task) = self.groups.next_task(group) {
                // SAFETY: tasks in run queues are held by the executor, which is this shard.
                unsafe { raw::run(task, self) };
            }
            self.run_messages(group);
            if self.groups.is_group_idle(group) || self.is_turn_over() {
                return;
            }
        }
    }

    /// Whether the running group's turn is over. When the clock is read to tell, what was sent is published: a turn may
    /// be long.
    #[inline]
    pub(crate) fn is_turn_over(&self) -> bool {
        self.turn.is_over(|| {
            self.exchange.publish();
            self.platform.now()
        })
    }

    /// Runs one of a group's messages, if it has any, and those after it until a task is to run or the turn is over.
    #[inline]
    fn run_messages(&self, group: u8) {
        if !self.groups.has_message(group) {
            return;
        }
        self.progress.turn_to(Activity::Messages);
        let goes_on = || {
            self.progress.turn_to(Activity::Messages);
            !self.is_turn_over()
        };
        if let Err(panic) = catch(|| self.groups.run_messages(group, goes_on)) {
            log::error!("a message panicked: {panic}");
            self.counters.panicked_messages.add(1);
        }
        self.progress.turn_back();
    }

    /// Announces a sleep and looks at every source of work once more, as a round that does nothing.
    pub(crate) fn prepare_sleep(&self) -> Round {
        // What was sent since the last round, from outside of tasks, goes out first.
        let blocked = self.exchange.flush(self);
        self.home.prepare_sleep();
        self.progress.set_idle(true);
        let quiet = !blocked && !self.groups.has_work() && !self.home.has_arrivals() && !self.exchange.has_arrivals();
        let quiet = quiet && self.pollers.prepare_sleep(&*self.platform);
        self.counters.sleeps.add(u64::from(quiet));
        if quiet { Round::Idle { deadline: self.deadline() } } else { Round::Busy }
    }

    /// When there is something to do though nothing comes in.
    fn deadline(&self) -> Option<Instant> {
        [self.timers.next_deadline(), self.pollers.deadline()].into_iter().flatten().min()
    }

    pub(crate) fn end_sleep(&self) {
        self.home.end_sleep();
        self.progress.set_idle(false);
    }

    /// Drops the messages that have arrived and the futures of all tasks, those too that come up meanwhile.
    pub(crate) fn stop_tasks(&self) {
        self.exclusively(|| self.stop_tasks_inside());
    }

    fn stop_tasks_inside(&self) {
        loop {
            self.progress.turn_to(Activity::Messages);
            self.groups.drop_messages();
            self.progress.turn_back();
            if let Some(task) = self.tasks.first() {
                // SAFETY: a task on the list is living, and none is being polled between rounds.
                unsafe { raw::stop(task, self) };
            } else if let Some(group) = self.groups.begin_turn() {
                // What is left in the run queues are tasks that have ended.
                self.turn.begin(self.round_start(), Instant::FAR_FUTURE);
                self.run_turn(group);
                self.groups.end_turn(group, self.round_start(), self.round_start());
            } else {
                return;
            }
        }
    }

    /// Sends and receives no more; once this is done, doing it again does nothing.
    pub(crate) fn stop_messages(&self) {
        self.services.clear();
        self.exchange.stop(self);
    }

    pub(crate) fn stats(&self) -> Stats {
        let (counters, timers) = (&self.counters, self.timers.counters());
        Stats {
            rounds: counters.rounds.value(),
            sleeps: counters.sleeps.value(),
            spawned_tasks: self.tasks.linked(),
            living_tasks: self.tasks.len(),
            panicked_tasks: counters.panicked_tasks.value(),
            abandoned_errors: counters.abandoned_errors.value(),
            foreign_panics: counters.foreign_panics.value(),
            arrivals: counters.arrivals.value(),
            polled: counters.polled.value(),
            sent_messages: counters.sent_messages.value(),
            received_messages: counters.received_messages.value(),
            waits_for_room: counters.waits_for_room.value(),
            waits_for_service: counters.waits_for_service.value(),
            overflowed_replies: counters.overflowed_replies.value(),
            held_rings: counters.held_rings.value(),
            panicked_messages: counters.panicked_messages.value(),
            waiting_messages: self.exchange.waiting() as u64,
            refused_aliens: self.exchange.refused_aliens() as u64,
            residents: self.home.residents() as u64,
            armed_timers: self.timers.len() as u64,
            started_timers: timers.armed,
            fired_timers: timers.fired,
            cancelled_timers: timers.cancelled,
            panicked_timers: self.timers.panicked(),
        }
    }
}

impl Drop for Shard {
    fn drop(&mut self) {
        crate::current::enter(self, || {
            self.stop_tasks();
            self.stop_messages();
            self.pollers.clear();
            self.locals.clear();
            // Dropping what was under way may have started tasks.
            self.stop_tasks();
            while self.home.drain() > 0 {}
        });
    }
}
